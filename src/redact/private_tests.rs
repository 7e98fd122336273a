//! Which values are found behind which names, by tables; the laws stand with the whole redaction.

use super::*;
use crate::redact::card::Strength;
use crate::redact::key;
use crate::redact::kind::Kind;
use crate::redact::scan::{self, Rules};

fn fields(names: &[&str]) -> Fields {
    Fields::new(&names.iter().map(|name| name.parse().unwrap()).collect::<Vec<_>>())
}

fn hidden(names: &[&str], text: &str) -> String {
    let rules = Rules { fields: fields(names), patterns: Vec::new() };
    let found = |text: &str| {
        let mut hits = scan::find(text.as_bytes(), Strength::Text, &rules);
        hits.retain(|hit| matches!(hit.kind, Kind::Private(_)));
        hits.into_iter().map(|hit| (hit.start..hit.end, hit.kind.to_string())).collect::<Vec<_>>()
    };
    let mut out = text.to_owned();
    for (place, mark) in found(text).into_iter().rev() {
        out.replace_range(place, &mark);
    }
    assert_eq!(found(&out), [], "{text}: {out}");
    out
}

#[test]
fn names_are_read() {
    let long = "a".repeat(64);
    for text in ["account_number", "X-Account.Id", "1", "pan", "12345678901", long.as_str()] {
        assert_eq!(text.parse::<FieldName>().map(|name| name.to_string()), Ok(text.to_owned()), "{text}");
    }
    let longer = format!("{long}a");
    for (text, want) in [
        ("", FieldNameError::Form),
        (longer.as_str(), FieldNameError::Form),
        ("account number", FieldNameError::Form),
        ("account=", FieldNameError::Form),
        ("[a]", FieldNameError::Form),
        ("kontonümmer", FieldNameError::Form),
        ("4111-1111-1111-1111", FieldNameError::Digits),
        ("a1234567890123", FieldNameError::Digits),
    ] {
        assert_eq!(text.parse::<FieldName>(), Err(want), "`{text}`");
        assert!(text.is_empty() || !want.to_string().contains(&format!("`{text}`")), "{want} repeats what was written");
    }
}

#[test]
fn values_are_hidden_by_table() {
    for (text, want) in [
        ("account=12345", "account=[private:account]"),
        ("ACCOUNT=12345", "ACCOUNT=[private:account]"),
        ("x?account=12345&b=2", "x?account=[private:account]&b=2"),
        (
            "account=1;account=2,account=3",
            "account=[private:account];account=[private:account],account=[private:account]",
        ),
        ("account%3D12345&b", "account%3D[private:account]&b"),
        ("account%3d12345", "account%3d[private:account]"),
        ("a%26account%3D1", "a%26account%3D[private:account]"),
        ("account: 12345 rest", "account: [private:account] rest"),
        ("X-Account: 12345", "X-Account: [private:account]"),
        ("account:12345\\u{d}\\u{a}b: c", "account:[private:account]\\u{d}\\u{a}b: c"),
        ("\\u{a}account:\\u{9}12345", "\\u{a}account:\\u{9}[private:account]"),
        ("\\naccount: 12345", "\\naccount: [private:account]"),
        ("account = 12345", "account = [private:account]"),
        ("account:\u{a0}1\u{2003}2", "account:\u{a0}[private:account]\u{2003}2"),
        (r#"{"account":"12 3,4","b":1}"#, r#"{"account":"[private:account]","b":1}"#),
        (r#"{"account" : 1234, "b":1}"#, r#"{"account" : [private:account], "b":1}"#),
        (r#"{'account': '1"2'}"#, r#"{'account': '[private:account]'}"#),
        (r#"{"account":"1\"2\\","b":1}"#, r#"{"account":"[private:account]","b":1}"#),
        (r#"{\"account\":\"1 2\",\"b\":1}"#, r#"{\"account\":\"[private:account]\",\"b\":1}"#),
        ("account=\"12 34", "account=\"[private:account]"),
        ("account=account=5", "account=[private:account]"),
        ("account=[private:account]5", "account=[private:account]"),
        ("account=[private:acc…5", "account=[private:account]"),
        ("account=…5", "account=[private:account]"),
        ("account=1…", "account=[private:account]"),
    ] {
        assert_eq!(hidden(&["account"], text), want, "`{text}`");
    }
}

#[test]
fn other_text_is_left_alone() {
    for text in [
        "",
        "account",
        "account=",
        "account=&b=1",
        "account:",
        "account: ",
        "\"account\": \"\"",
        "account 12345",
        "account-12345",
        "account%2D5",
        "my_account=5",
        "account_id=5",
        "account.id=5",
        "myaccount=5",
        "xaccount=5",
        "%2account=5",
        "éaccoünt=5",
        "account=[private:account]",
        "account=[private:account]&b",
        "account: \"[private:account]\"",
        "account=[private:account]…",
        "account=…",
        "account=\"…",
    ] {
        assert_eq!(hidden(&["account"], text), text, "`{text}`");
    }
    assert_eq!(hidden(&[], "account=5"), "account=5");
}

#[test]
fn of_several_names_the_whole_one_counts_and_marks_are_no_fields() {
    let names = ["id", "account.id", "pan", "visa", "private"];
    for (text, want) in [
        ("account.id=5", "account.id=[private:account.id]"),
        ("x.id=5", "x.id=[private:id]"),
        ("id=id:5", "id=[private:id]"),
        ("[PAN:visa:16].example", "[PAN:visa:16].example"),
        ("pan=[PAN:visa:16]", "pan=[PAN:visa:16]"),
        ("[PAN:visa:12345]", "[PAN:[private:pan]]"),
        ("x[PAN:mastercard:…", "x[PAN:[private:pan]"),
        ("[private:id]id=5", "[private:id]id=[private:id]"),
        ("[private:acc…", "[private:[private:private]"),
        ("[private:other]", "[private:other]"),
        ("id=[private:account.id]", "id=[private:account.id]"),
    ] {
        assert_eq!(hidden(&names, text), want, "`{text}`");
    }
}

#[test]
fn stays_linear_on_long_texts() {
    for unit in
        ["a", "a ", "a=", "a=\"", "[private:a", "[PAN:visa:16]", "a%3D", "a=\\", "a \\u{9}", "\\\"a", "[", "a.a-a."]
    {
        let text = unit.repeat(300_000 / unit.len());
        let (fields, mut hits) = (fields(&["a", "pan", "private"]), Vec::new());
        key::find(text.as_bytes(), &fields, &mut hits);
        assert!(hits.len() <= text.len(), "`{unit}`");
    }
}
