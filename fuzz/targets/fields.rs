//! The fields of a line: parts of it in their order, and nothing behind an error.
#![no_main]

use sallyport::decision_log::sealed::{Facets, Fields};

libfuzzer_sys::fuzz_target!(|line: &str| {
    let mut rest = line;
    let mut is_whole = true;
    for field in Fields::of(line) {
        let Ok((key, raw)) = field else {
            is_whole = false;
            continue;
        };
        assert!(is_whole, "a field behind the error");
        let json = std::str::from_utf8(raw.json()).expect("a part of a text");
        let stands = format!("\"{key}\":{json}");
        let at = rest.find(&stands).unwrap_or_else(|| panic!("{stands} stands nowhere"));
        rest = &rest[at + stands.len()..];
        let _ = raw.text();
    }
    let _ = Facets::of(line.as_bytes());
});
