//! What a text can hold, by tables.

use super::*;

#[test]
fn tells_by_table_what_a_text_can_hold() {
    let all = |text: &str| {
        let gist = Gist::of(text.as_bytes());
        [gist.has_digits(), gist.has_sign(), gist.has_encoding(), gist.has_breaks(), gist.has_base64(), gist.has_hex()]
    };
    for (text, want) in [
        ("", [false; 6]),
        ("api.acme.example", [false; 6]),
        ("12345678901", [false; 6]),
        ("123456789012", [true, false, false, false, false, false]),
        ("1234 5678-90.12", [true, false, false, true, false, false]),
        ("123456,789012", [false, false, false, true, false, false]),
        ("a=b", [false, true, false, true, false, false]),
        ("a:b", [false, true, false, true, false, false]),
        ("100%", [false, false, false, true, false, false]),
        ("a%20b", [false, false, true, true, false, false]),
        ("\\", [false, false, true, true, false, false]),
        ("a&b", [false, false, true, true, false, false]),
        ("a & b", [false, false, false, true, false, false]),
        ("\u{a0}", [false, false, true, true, false, false]),
        ("é\n", [false, false, false, true, false, false]),
        ("NDExMTExMTExMTExMQ", [false, false, false, false, true, false]),
        ("xNDExMTExMTExMTExMQ", [false, false, false, false, true, false]),
        ("NDEx.MTExMTEx", [false; 6]),
        ("g34313131313131313131313131x", [true, false, false, false, false, true]),
        ("34313131g3131313", [false; 6]),
        ("1111111111111111111", [true, false, false, false, false, false]),
    ] {
        assert_eq!(all(text), want, "`{text}`");
    }
}

#[test]
fn digits_are_told() {
    assert!(Gist::of(b"h2").has_digit() && !Gist::of(b"http").has_digit() && !Gist::of(b"").has_digit());
}

#[test]
fn runs_of_digits_are_told_where_they_stand() {
    let runs = |text: &str| Gist::of(text.as_bytes()).digit_runs(text.as_bytes()).collect::<Vec<_>>();
    assert!(runs("12345678901 x").is_empty());
    assert_eq!(runs("a 1234-5678 9012.b").first(), Some(&(1..17)));
    assert_eq!(runs("123456789012,1234567890123"), [0..12, 13..26]);
    let many = "123456789012,".repeat(MAX_RUNS + 2);
    assert_eq!(runs(&many).last(), Some(&(13 * (MAX_RUNS - 1)..many.len())));
    assert_eq!(runs(&many).len(), MAX_RUNS);
}

#[test]
fn places_of_what_has_a_form_are_told() {
    let text = b"DE89 3704 0044 x 4111=2512 5A08 219-09-9999 xDE89 3704";
    let gist = Gist::of(text);
    assert!(gist.has_account() && gist.has_track() && gist.has_tag() && gist.has_dashed());
    assert!(accounts(text).eq([0]) && track_signs(text).eq([21]) && tag_values(text).eq([31]) && dashed(text).eq([32]));
    let gist = Gist::of(b"DE8 9704 411=2512 5B08 2026-11-22T 21-090-9999");
    assert!(!gist.has_account() && !gist.has_track() && !gist.has_tag() && !gist.has_dashed());
}

#[test]
fn places_where_words_end_are_told() {
    let text = b"x NDExMTExMTExMTExMQ y";
    assert_eq!(base64_ends(text).next(), Some(2 + PACKED_LENGTH));
    assert_eq!(hex_ends(b"x 3431313131313131313131313131").next(), Some(2 + HEX_LENGTH));
    assert_eq!(base64_ends(b"nothing of that kind").next(), None);
}
