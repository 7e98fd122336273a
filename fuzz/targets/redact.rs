//! Redaction: any bytes become text without card numbers, within the limit; what is clean stays as it is.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    sallyport::redact::fuzz(data);
    for limit in [0, 1, 16, 64, 253] {
        let cleaned = sallyport::redact::clean_name(data, limit);
        assert!(cleaned.text.as_str().len() <= limit, "longer than {limit}: {}", cleaned.text);
        assert!(!sallyport::redact::holds_card_number(cleaned.text.as_str()), "a card number in {}", cleaned.text);
    }
});
