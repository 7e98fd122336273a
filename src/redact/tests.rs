//! What is found and what is let through, by tables and by laws.

use proptest::prelude::*;

use super::*;

fn redactor(names: &[&str]) -> Redactor {
    Redactor::new(&names.iter().map(|name| name.parse().unwrap()).collect::<Vec<_>>(), &[])
}

fn words(found: Found) -> String {
    found.iter().map(Detector::name).collect::<Vec<_>>().join(" ")
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
        (b"{\"pan\":4111111111111111}", "{\"pan\":\"[PAN:visa:16]\"}", "pan"),
        (
            b"{\"n\": 4111111111111111 , \"a\": \"4111111111111111\"}",
            "{\"n\": \"[PAN:visa:16]\" , \"a\": \"[PAN:visa:16]\"}",
            "pan",
        ),
        (b"{\\\"n\\\":4111111111111111}", "{\\\"n\\\":\\\"[PAN:visa:16]\\\"}", "pan"),
        (b"\"said\": 4111111111111111 and more", "\"said\": [PAN:visa:16] and more", "pan"),
        (b"\\u{202e}", "\\u{202e}", ""),
    ] {
        let Cleaned { text, found: got } = clean(raw, 4096);
        assert_eq!((text.as_str(), words(got).as_str()), (want, found), "{}", raw.escape_ascii());
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
        ("55555555555544440000", 19, "…"), // and its mark is longer than the number was: a mark stays whole or goes
        ("5555555555554444", 18, "…"),
    ] {
        let Cleaned { text, found } = clean(raw.as_bytes(), limit);
        assert_eq!(text.as_str(), want, "`{raw}` in {limit}");
        assert_eq!(found.contains(Detector::TooLong), raw != want, "`{raw}` in {limit}");
    }
    assert_eq!(clean(b"abcdef", 100).text.shortened(5).as_str(), "ab…");
}

#[test]
fn names_of_destinations_are_cleaned_without_exemption() {
    for (raw, in_name, in_text) in [
        ("api.acme.example", "api.acme.example", "api.acme.example"),
        ("4111111111111111caf.example", "[PAN:visa:16]caf.example", "[PAN:visa:16]caf.example"),
        ("4111-1111-1111-1111a.example", "[PAN:visa:16]a.example", "[PAN:visa:16]a.example"),
        (
            "4111111111111111cafecafecafecafe.example",
            "[PAN:visa:16]cafecafecafecafe.example",
            "4111111111111111cafecafecafecafe.example",
        ),
    ] {
        assert_eq!(clean_name(raw.as_bytes(), 253).text.as_str(), in_name, "`{raw}`");
        assert_eq!(clean(raw.as_bytes(), 253).text.as_str(), in_text, "`{raw}`");
        assert_eq!(holds_card_number(raw), raw != in_name, "`{raw}`");
    }
}

#[test]
fn a_cut_cannot_lay_bare_what_an_identifier_hid() {
    let raw = "4111111111111111cafe and more";
    assert_eq!(clean(raw.as_bytes(), 100).text.as_str(), raw);
    assert_eq!(clean(raw.as_bytes(), 22).text.as_str(), "[PAN:visa:16]caf…");
    assert_eq!(clean(raw.as_bytes(), 100).text.shortened(22).as_str(), "[PAN:visa:16]cafe a…");
    assert_eq!(clean(raw.as_bytes(), 100).text.shortened(100).as_str(), raw, "what is not cut stays");
}

#[test]
fn a_mark_cannot_lay_bare_what_an_identifier_hid() {
    // The first number is part of a UUID, until the second, which begins in that UUID and ends behind it, is marked.
    let uuid = "41111111-1111-1111-a111-649826438453";
    assert_eq!(clean(uuid.as_bytes(), 100).text.as_str(), uuid);
    let raw = format!("{uuid}-1115");
    assert_eq!(clean(raw.as_bytes(), 100).text.as_str(), "[PAN:visa:16]-a111-[PAN:discover:16]");
}

#[test]
fn private_fields_are_hidden_beside_all_else() {
    let private = redactor(&["account_number", "pan"]);
    for (raw, want, found) in [
        (&b"api.acme.example:443"[..], "api.acme.example:443", ""),
        (b"account_number=12345", "account_number=[private:account_number]", "private_field"),
        (b"x?Account_Number%3D12345&y=1", "x?Account_Number%3D[private:account_number]&y=1", "private_field"),
        (
            b"a\r\nAccount_number:\t1\r\nb",
            "a\\u{d}\\u{a}Account_number:\\u{9}[private:account_number]\\u{d}\\u{a}b",
            "private_field control",
        ),
        (b"account_number=1\x002\xff3", "account_number=[private:account_number]", "private_field"),
        (b"account_number=4111111111111111", "account_number=[PAN:visa:16]", "pan"),
        (b"account_number=4111 1111 1111 1111 x", "account_number=[PAN:visa:16] x", "pan"),
        (
            b"account_number=9,4111 1111 1111 1111",
            "account_number=[private:account_number],[PAN:visa:16]",
            "pan private_field",
        ),
        (
            b"4111111111111111account_number=5",
            "[PAN:visa:16]account_number=[private:account_number]",
            "pan private_field",
        ),
        (b"4111111111111111", "[PAN:visa:16]", "pan"),
    ] {
        let Cleaned { text, found: got } = private.clean(raw, 4096);
        assert_eq!((text.as_str(), words(got).as_str()), (want, found), "{}", raw.escape_ascii());
        assert_eq!(private.clean_name(raw, 4096), Cleaned { text, found: got }, "{}", raw.escape_ascii());
    }
    for (raw, limit, want) in [
        ("pan=12345678901234567890", 20, "pan=[private:pan]"),
        ("pan=1&account_number=2", 22, "pan=[private:pan]&a…"),
        ("account_number=1", 22, "account_number=…"),
        ("account_number=1", 16, "account_numbe…"),
        ("pan='123'", 8, "pan='…"),
        ("pan=\\'123\\'", 8, "pan=…"),
    ] {
        assert_eq!(private.clean(raw.as_bytes(), limit).text.as_str(), want, "`{raw}` in {limit}");
    }
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

/// Text made of what matters to private fields, and of what their marks are made of.
fn fields_and_marks() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => prop::sample::select(vec![
            "acct", "Acct", "pan", "private", "acct.id", "=", ":", "%3D", "%26", "\"", "'", "\\", "&", ";", " ", "\t",
            "\n", "[private:acct]", "[private:", "[PAN:visa:16]", "[PAN:", "]", "…", "\\u{a}", "4111111111111111",
            "4111 1111 1111 1111", "-", ".", "\u{200b}", "deadbeef",
        ]).prop_map(str::to_owned),
        1 => "[a-z0-9]{1,6}",
    ];
    prop::collection::vec(word, 0..24).prop_map(|words| words.concat())
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
        prop_assert!(scan::find(once.as_str().as_bytes(), Strength::Text, &Rules::NONE).is_empty(), "{}", once);
        prop_assert_eq!(clean(once.as_str().as_bytes(), limit).text, once);
        let once = clean_name(text.as_bytes(), limit).text;
        prop_assert!(!holds_card_number(once.as_str()), "{}", once);
        prop_assert_eq!(clean_name(once.as_str().as_bytes(), limit).text, once);
    }

    #[test]
    fn every_brand_is_found_in_every_form(
        at in 0_usize..40, length in 0_usize..8, seed in any::<u64>(), format in 0_usize..10,
        before in "|[g-z]{1,9}[.=:/]|PAN|https://|\n", after in "|[.:/?&=][g-z]{1,12}|;|\n",
    ) {
        let (number, _) = issuer::example(at, length, seed);
        let text = format!("{before}{}{after}", written(&number, format));
        prop_assert_eq!(holds_card_number(&text), number.len() >= REFUSED_DIGITS, "{}", text);
        let Cleaned { text: clean, found } = clean(text.as_bytes(), 1000);
        prop_assert!(found.contains(Detector::CardNumber));
        prop_assert!(clean.as_str().contains("[PAN:"), "{}", clean);
        prop_assert!(!clean.as_str().contains(&number), "{}", clean);
    }

    #[test]
    fn every_number_in_a_name_is_found_whatever_touches_it(
        at in 0_usize..40, length in 0_usize..8, seed in any::<u64>(), format in 0_usize..9,
        before in "([a-z0-9_-]{0,30}[a-z])?-?", after in "-?([a-z][a-z0-9-]{0,30})?(\\.example)?",
    ) {
        let (number, _) = issuer::example(at, length, seed);
        let text = format!("{before}{}{after}", written(&number, format));
        prop_assert_eq!(holds_card_number(&text), number.len() >= REFUSED_DIGITS, "{}", text);
        let Cleaned { text: clean, found } = clean_name(text.as_bytes(), 1000);
        prop_assert!(found.contains(Detector::CardNumber));
        prop_assert!(!clean.as_str().contains(&number), "{}", clean);
    }

    #[test]
    fn private_values_do_not_come_through(
        before in "|[g-z]{1,5}[?&; .]|\\{\"|\n", name in "(a|A)(c|C)ct[_.]id", sign in "=|%3[dD]|: ?|\": ?\"|' : '| = ",
        value in "[0-9g-z]{6,20}", after in "|[&;,\"' \n][a-f]{0,5}",
    ) {
        let text = format!("{before}{name}{sign}{value}{after}");
        let private = redactor(&["acct_id", "acct.id"]);
        let Cleaned { text: clean, found } = private.clean(text.as_bytes(), 1000);
        prop_assert!(found.contains(Detector::PrivateField), "{}", text);
        prop_assert!(!clean.as_str().contains(&value), "{}", clean);
        prop_assert!(clean.as_str().contains(&format!("[private:{}]", name.to_ascii_lowercase())), "{}", clean);
    }

    #[test]
    fn private_fields_add_to_the_other_detectors(text in fields_and_marks(), limit in 0_usize..150) {
        let private = redactor(&["acct", "acct.id", "pan", "private", "d"]);
        let none = Rules::NONE;
        let more = scan::find(text.as_bytes(), Strength::Text, &private.rules);
        for hit in scan::find(text.as_bytes(), Strength::Text, &none) {
            let is_covered = more.iter().any(|other| other.start <= hit.start && hit.end <= other.end);
            prop_assert!(is_covered, "{:?} of `{}` is not within {:?}", hit, text, more);
        }
        for limit in [limit, 4096] {
            let once = private.clean(text.as_bytes(), limit).text;
            prop_assert!(once.as_str().len() <= limit);
            let again = clean(once.as_str().as_bytes(), limit);
            prop_assert!(again.found.is_empty() && again.text == once, "`{}` is cleaned to `{}`", once, again.text);
            let twice = private.clean(once.as_str().as_bytes(), limit);
            prop_assert!(twice.found.is_empty() && twice.text == once, "`{}` is cleaned to `{}`", once, twice.text);
        }
        fuzz(text.as_bytes());
    }

    #[test]
    fn without_private_fields_it_is_clean(text in fields_and_marks(), limit in 0_usize..150) {
        prop_assert_eq!(redactor(&[]).clean(text.as_bytes(), limit), clean(text.as_bytes(), limit));
        prop_assert_eq!(redactor(&[]).clean_name(text.as_bytes(), limit), clean_name(text.as_bytes(), limit));
    }
}
