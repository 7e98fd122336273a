//! The YAML reader: a tree, or faults, within its budgets; a fault is one line.
#![no_main]

use sallyport::yaml::{Faults, parse};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut faults = Faults::new();
    let tree = parse(text, 0, &mut faults);
    assert!(tree.is_some() || !faults.is_empty(), "neither a tree nor a fault");
    for fault in faults.iter() {
        assert!(!fault.message.chars().any(char::is_control), "{}", fault.message);
    }
});
