//! The policy, and cases for it: accepted without a fault, or refused with faults that are one line each.
#![no_main]

use sallyport::policy::{Case, Policy, PolicyFile, Setting};
use sallyport::yaml::Faults;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let name = "policy.yaml".to_owned();
    let file = PolicyFile { path: name.clone(), shown: name, text: text.to_owned() };
    let setting = Setting { environment: Some("production"), pools: &["static-a"], ..Setting::default() };
    let mut faults = Faults::new();
    let policy = Policy::load(&[file], &setting, &mut faults);
    assert_eq!(policy.is_some(), faults.is_empty(), "accepted with faults, or refused without");
    Case::read_all(text, (0, "policy.cases.yaml"), &mut faults);
    for fault in faults.iter() {
        assert!(!fault.message.chars().any(char::is_control), "{}", fault.message);
    }
});
