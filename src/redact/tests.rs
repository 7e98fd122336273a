//! What is found and what is let through, by tables and by laws.

use proptest::prelude::*;

use super::*;

fn cleaned(raw: &[u8]) -> String {
    clean(raw, 4096).text.to_string()
}

#[test]
fn cleans_by_table() {
    for (raw, want, found) in [
        (&b"api.acme.example"[..], "api.acme.example", ""),
        (b"", "", ""),
        (b"10.20.3.77", "10.20.3.77", ""),
        (b"a\r\nb\tc", "a\\u{d}\\u{a}b\\u{9}c", "control"),
        (b"\x1b[31m\x7f", "\\u{1b}[31m\\u{7f}", "control"),
        ("\u{85}\u{2028}\u{202e}\u{2066}".as_bytes(), "\\u{85}\\u{2028}\\u{202e}\\u{2066}", "control"),
        (b"a\xff\xc3", "a\\x{ff}\\x{c3}", "utf8"),
        (b"\x804111111111111111", "\\x{80}[PAN:visa:16]", "pan utf8"),
        ("bücher.example".as_bytes(), "bücher.example", ""),
        (b"4111111111111111.example.com", "[PAN:visa:16].example.com", "pan"),
        (b"4111-1111-1111-1111.evil.example", "[PAN:visa:16].evil.example", "pan"),
        (b"4111.1111.1111.1111.example.com", "[PAN:visa:16].example.com", "pan"),
        (b"378282246310005\n", "[PAN:amex:15]\\u{a}", "pan control"),
        ("3782\u{200b}822463\u{200b}10005".as_bytes(), "[PAN:amex:15]", "pan"),
        (b"[PAN:visa:16]", "[PAN:visa:16]", ""),
        (b"\\u{202e}", "\\u{202e}", ""),
    ] {
        let Cleaned { text, found: got } = clean(raw, 4096);
        let names: Vec<_> = got.iter().map(Detector::name).collect();
        assert_eq!((text.as_str(), names.join(" ").as_str()), (want, found), "{}", raw.escape_ascii());
        assert_eq!(got.is_empty(), found.is_empty(), "{}", raw.escape_ascii());
    }
}

#[test]
fn cuts_to_the_limit_and_says_so() {
    for (raw, limit, want) in [
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abc…"),
        ("abcdefg", 2, ""),
        ("abcdefg", 0, ""),
        ("ababü", 5, "ab…"),
        ("a\n", 5, "a\\…"),
        ("41111111111111110000", 19, "[PAN:visa:16]…"), // the cut lays a number bare
        ("55555555555544440000", 19, "[PAN:mastercard:…"), // and its mark is longer than the number was
        ("5555555555554444", 18, "[PAN:mastercard…"),
    ] {
        let Cleaned { text, found } = clean(raw.as_bytes(), limit);
        assert_eq!(text.as_str(), want, "`{raw}` in {limit}");
        assert_eq!(found.contains(Detector::TooLong), raw != want, "`{raw}` in {limit}");
    }
    assert_eq!(clean(b"abcdef", 100).text.shortened(5).as_str(), "ab…");
}

#[test]
fn a_mark_cannot_lay_bare_what_an_identifier_hid() {
    // Within 34 hexadecimal characters the first number is taken for a piece of an identifier; behind the mark it isn't.
    assert_eq!(cleaned(b"a5555555555554444b-4111111111111111"), "a[PAN:mastercard:16]b-[PAN:visa:16]");
}

#[test]
fn serialises_as_a_plain_string() {
    assert_eq!(serde_json::to_string(&clean(b"a\"b", 10).text).unwrap(), r#""a\"b""#);
}

fn written(number: &str, format: usize) -> String {
    let at = |cuts: &[usize], separator: &str| {
        let mut parts = Vec::new();
        let mut rest = number;
        for cut in cuts {
            if rest.len() >= cut + 3 {
                let (part, tail) = rest.split_at(*cut);
                parts.push(part);
                rest = tail;
            }
        }
        parts.push(rest);
        parts.join(separator)
    };
    match format % 10 {
        0 => number.to_owned(),
        1 => at(&[4, 4, 4, 4], "-"),
        2 => at(&[4, 4, 4, 4], " "),
        3 => at(&[4, 4, 4, 4], "."),
        4 => at(&[4, 6, 5], "_"),
        5 => at(&[4, 4, 4, 4], "\u{a0}"),
        6 => at(&[6, 6], "+"),
        7 => at(&[4, 4, 4, 4], "%20"),
        8 => at(&[4, 6], "  "),
        _ => number.chars().filter_map(|c| char::from_u32(u32::from(c) - 0x30 + 0xff10)).collect(),
    }
}

proptest! {
    #[test]
    fn output_is_bounded_without_control_characters_and_stays_as_it_is(
        raw in proptest::collection::vec(any::<u8>(), 0..300), limit in 0_usize..400,
    ) {
        let once = clean(&raw, limit).text;
        prop_assert!(once.as_str().len() <= limit);
        prop_assert!(!once.as_str().chars().any(is_hidden));
        let twice = clean(once.as_str().as_bytes(), limit);
        prop_assert_eq!(twice.text, once);
        prop_assert!(twice.found.is_empty());
    }

    #[test]
    fn text_full_of_digits_keeps_no_card_number(
        text in "[0-9a-f .%_\u{a0}\u{200b}２４５-]{0,200}", limit in 0_usize..250,
    ) {
        let once = clean(text.as_bytes(), limit).text;
        prop_assert!(!holds_card_number(once.as_str()), "{}", once);
        prop_assert_eq!(clean(once.as_str().as_bytes(), limit).text, once);
    }

    #[test]
    fn every_brand_is_found_in_every_form(
        at in 0_usize..40, length in 0_usize..8, seed in any::<u64>(), format in 0_usize..10,
        before in "|[g-z]{1,9}[.=:/]|PAN|https://|\n", after in "|[.:/?&=][g-z]{1,12}|;|\n",
    ) {
        let (number, _) = issuer::example(at, length, seed);
        let text = format!("{before}{}{after}", written(&number, format));
        prop_assert!(holds_card_number(&text), "{}", text);
        let Cleaned { text: clean, found } = clean(text.as_bytes(), 1000);
        prop_assert!(found.contains(Detector::CardNumber));
        prop_assert!(clean.as_str().contains("[PAN:"), "{}", clean);
        prop_assert!(!clean.as_str().contains(&number), "{}", clean);
    }

    #[test]
    fn the_short_way_gives_what_the_long_way_gives(text in "[ -~]{0,80}") {
        prop_assert_eq!(clean(text.as_bytes(), 100), thorough(text.as_bytes(), 100));
    }
}
