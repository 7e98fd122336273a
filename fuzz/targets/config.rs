//! The configuration: accepted, or refused with faults that are one line each.
#![no_main]

use sallyport::yaml::Faults;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let environment = |name: &str| (name == "NAME").then(|| "edge-1".to_owned());
    let mut faults = Faults::new();
    let config = sallyport::config::load(text, 0, &environment, "edge-1", &mut faults);
    assert!(config.is_some() || !faults.is_empty(), "neither a configuration nor a fault");
    for fault in faults.iter() {
        assert!(!fault.message.chars().any(char::is_control), "{}", fault.message);
    }
});
