//! Tests of `Fqdn`: one table of what folds, one of what is refused and with which words, the laws.
//! Not here: targets and patterns.
//! Source: attacks A10 to A16 and B1 of `docs/attacks.md`, RFC 1035 2.3.4, RUSTSEC-2024-0421.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn of_length(length: usize) -> String {
    let mut name = "abcdefghi.".repeat(26);
    name.truncate(length);
    name
}

#[test]
fn names_fold_to_their_only_form() {
    let (label63, name253) = ("a".repeat(63), of_length(253));
    for (row, text, want) in [
        ("clean", "api.acme.example", "api.acme.example"),
        ("case", "API.Acme.EXAMPLE", "api.acme.example"),
        ("one final dot", "api.acme.example.", "api.acme.example"),
        ("single label", "localhost", "localhost"),
        ("underscore", "_dmarc.acme_x.example", "_dmarc.acme_x.example"),
        ("inner hyphens", "r3---sn-4g5e.acme.example", "r3---sn-4g5e.acme.example"),
        ("digits first", "10-0-0-5.nip.io", "10-0-0-5.nip.io"),
        ("numbers before the last label", "1.2.3.4.in-addr.arpa", "1.2.3.4.in-addr.arpa"),
        ("digit and letter last", "a.4b", "a.4b"),
        ("punycode", "XN--bcher-kva.example", "xn--bcher-kva.example"),
        ("punycode top level", "example.xn--p1ai", "example.xn--p1ai"),
        ("punycode and underscore", "_x.xn--bcher-kva.example", "_x.xn--bcher-kva.example"),
        ("label of 63", &label63, &label63),
        ("name of 253", &name253, &name253),
    ] {
        assert_eq!(text.parse::<Fqdn>().as_ref().map(Fqdn::as_str), Ok(want), "{row}");
    }
    let dotted = format!("{name253}.").parse::<Fqdn>();
    assert_eq!(dotted.as_ref().map(Fqdn::as_str), Ok(name253.as_str()), "name of 253 with final dot");
}

#[test]
fn refuses_what_is_no_name() {
    let (label64, name254) = ("a".repeat(64), of_length(254));
    for (row, text, want) in [
        ("empty", "", "empty name; write a host name such as `api.acme.example`"),
        ("dot", ".", "empty name; write a host name such as `api.acme.example`"),
        ("two final dots", "a.b..", "empty label in `a.b.`; write one dot between labels and none in front"),
        ("dot in front", ".a.b", "empty label in `.a.b`; write one dot between labels and none in front"),
        ("dots inside", "a..b", "empty label in `a..b`; write one dot between labels and none in front"),
        ("label of 64", &label64, "bad label `aaaaaaaa"),
        ("name of 254", &name254, "has 254 bytes; use at most 253"),
        ("hyphen in front", "-a.example", "bad label `-a`; use 1 to 63 of a-z, 0-9, `_` and inner `-`"),
        ("hyphen at the end", "a-.example", "bad label `a-`"),
        ("NUL", "attacker.example\0.google.com", "bad label `example\\0`"),
        ("space", "a b.example", "bad label `a b`"),
        ("percent", "a%2eb.example", "bad label `a%2eb`"),
        ("star", "*.example", "bad label `*`"),
        ("colon", "a:b.example", "bad label `a:b`"),
        ("number", "3405803786", "name `3405803786` ends in a number; write a name whose last label is a word"),
        ("number and dot", "10.", "name `10` ends in a number"),
        ("dotted quad", "10.0.0.1", "name `10.0.0.1` ends in a number"),
        ("hexadecimal", "0x7f.0X1", "name `0x7f.0X1` ends in a number"),
        ("bare 0x", "a.0x", "name `a.0x` ends in a number"),
        ("Cyrillic а", "аpi.acme.example", "name `аpi.acme.example` is not ASCII; write `xn--pi-6kc.acme.example` if"),
        ("full-width dot", "api。acme.example", "write `api.acme.example` if that is what is meant"),
        ("joiner", "a\u{200d}b.example", "name `a\\u{200d}b.example` is not ASCII; write it in ASCII, letters beyond"),
        ("punycode of ASCII", "xn--api-.acme.example", "bad label `xn--api-`"),
        ("empty punycode", "xn--.example", "bad label `xn--`"),
        (
            "punycode that does not decode",
            "xn--99999999.example",
            "name `xn--99999999.example` has a bad `xn--` label; write it as",
        ),
        ("punycode of an upper-case letter", "xn--bcher-2pa.example", "bad `xn--` label"),
        ("punycode of a full-width letter", "xn--ti7cva.example", "bad `xn--` label"),
    ] {
        let error = text.parse::<Fqdn>().map(|name| name.to_string()).expect_err(row).to_string();
        assert!(error.contains(want), "{row}: {error}");
    }
}

#[test]
fn labels_and_parent() {
    let name: Fqdn = "a.b.example".parse().unwrap();
    assert_eq!(name.labels().collect::<Vec<_>>(), ["a", "b", "example"]);
    assert_eq!(name.labels().next_back(), Some("example"));
    assert_eq!(name.parent(), Some("b.example"));
    assert_eq!("example".parse::<Fqdn>().unwrap().parent(), None);
    assert_eq!(format!("{name:?} {name:>12}"), "Fqdn(a.b.example)  a.b.example");
}

#[test]
fn maps_can_be_searched_by_text() {
    let map = HashMap::from([("b.example".parse::<Fqdn>().unwrap(), 1)]);
    let name: Fqdn = "a.b.example".parse().unwrap();
    assert_eq!(name.parent().and_then(|parent| map.get(parent)), Some(&1));
}

proptest! {
    #[test]
    fn canonicalisation_is_idempotent(text in r"[a-zA-Z0-9_][a-zA-Z0-9_-]{0,9}(\.[a-zA-Z0-9]{1,9}){0,4}\.?") {
        if let Ok(once) = text.parse::<Fqdn>() {
            prop_assert_eq!(&once.to_string().parse::<Fqdn>().unwrap(), &once);
            prop_assert!(once.as_str().bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.')));
        }
    }

    #[test]
    fn a_valid_international_name_is_accepted_as_punycode(text in r"[a-zäöüßàéñżжщλ]{1,12}") {
        let ascii = idna::domain_to_ascii_strict(&format!("{text}.example")).unwrap();
        let name = ascii.parse::<Fqdn>().unwrap();
        prop_assert_eq!(name.as_str(), ascii.as_str());
    }

    #[test]
    fn punycode_in_any_spelling_has_one_form(text in r"(xn--|XN--)[a-z0-9-]{1,12}\.example") {
        if let Ok(name) = text.parse::<Fqdn>() {
            let (unicode, result) = idna::domain_to_unicode(name.as_str());
            prop_assert!(result.is_ok() && !unicode.is_ascii(), "`{}` is `{}`", name, unicode);
        }
    }

    #[test]
    fn no_input_panics(text in ".{0,300}") {
        if let Err(error) = text.parse::<Fqdn>() {
            prop_assert!(error.to_string().chars().count() < 300, "{}", error);
        }
    }
}

#[test]
fn what_was_registered() {
    for (name, want) in [
        ("api.pay.acme.example", Some("acme.example")),
        ("acme.example", Some("acme.example")),
        ("x.b.co.uk", Some("b.co.uk")),
        ("a.b.github.io", Some("b.github.io")),
        ("co.uk", None),
        ("localhost", None),
    ] {
        assert_eq!(name.parse::<Fqdn>().unwrap().registrable(), want, "{name}");
    }
}
