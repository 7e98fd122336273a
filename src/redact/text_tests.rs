//! Laws of the detectors of secrets in texts, through the whole of cleaning.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// A name of the tables, and the mark of its kind.
fn names() -> impl Strategy<Value = (&'static str, &'static str)> {
    prop::sample::select(vec![
        ("cvv", "[erased:security_code]"),
        ("CVC2", "[erased:security_code]"),
        ("card_security_code", "[erased:security_code]"),
        ("cardVerificationValue", "[erased:security_code]"),
        ("pin", "[erased:pin]"),
        ("newPin", "[erased:pin]"),
        ("password", "[erased:secret]"),
        ("client_secret", "[erased:secret]"),
        ("X-Api-Key", "[erased:secret]"),
        ("access_token", "[erased:secret]"),
        ("sessionId", "[erased:secret]"),
    ])
}

/// The ways in which a name is given a value.
fn given(name: &str, value: &str, form: usize) -> String {
    match form % 14 {
        0 => format!("a=1&{name}={value}&b=2"),
        1 => format!("{{\"a\":1,\"{name}\":\"{value}\",\"b\":2}}"),
        2 => format!("{{\"{name}\":{value}}}"),
        3 => format!("{{\\\"{name}\\\":\\\"{value}\\\"}}"),
        4 => format!("{name}: {value}\r\nHost: a"),
        5 => format!("level=info {name}={value} msg=x"),
        6 => format!("a%3D1%26{name}%3D{value}%26b"),
        7 => format!("<{name}>{value}</{name}>"),
        8 => format!("<card {name}=\"{value}\"/>"),
        9 => format!("form-data; name=\"{name}\"\r\n\r\n{value}\r\n--b"),
        10 => format!("{{'{name}': '{value}'}}"),
        11 => format!("card[{name}]={value}"),
        12 => format!("\\u{{a}}{name}:\\u{{9}}{value}\\u{{a}}"),
        _ => format!("{{\"name\":\"{name}\",\"value\":\"{value}\"}}"),
    }
}

/// Text without a secret: words, numbers, and the punctuation of logs.
fn harmless() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => "[b-df-hj-np-tv-z]{2,6}",
        1 => "[1-9][0-9]?", // three and more could be a card number's groups
        1 => Just("allow".to_owned()),
        1 => Just("https://api.acme.example/v1/items?page=2&size=50".to_owned()),
        1 => Just("{\"decision\":\"allow\",\"status\":200,\"target\":\"api.acme.example:443\"}".to_owned()),
        1 => Just("Accept: */*\\nContent-Length: 1234\\nUser-Agent: curl/8.5.0".to_owned()),
        1 => Just("0190a5b2-7c3d-7e4f-a5b6-0123456789ab".to_owned()),
        1 => Just("2026-11-21T12:29:21.238903Z".to_owned()),
        1 => Just("10.20.30.40:50123".to_owned()),
    ];
    prop::collection::vec(word, 0..12).prop_map(|words| words.join(" "))
}

/// Texts of harmless fields that hold what looks like structure, and the names of secret ones with nothing behind them.
fn awkward() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "bc", "\"", "\\", "'", ",", "}", "]", "{", "[", "\n", "é", "<", ">", "</b>", " ", "it's", "=", "5\" disk",
    ]);
    let end = prop::sample::select(vec![
        "",
        " password=",
        " invalid token:",
        " authorization: ",
        " cookie: ",
        " secret: {",
        " password: [",
        " <password>",
        " cvv:",
        " cookie: a=",
    ]);
    (prop::collection::vec(word, 0..6), end).prop_map(|(words, end)| format!("{}{end}", words.concat()))
}

/// A document with secret fields and harmless ones, deep in itself and within its own texts.
fn document() -> impl Strategy<Value = Value> {
    let secret = prop_oneof![
        "[ -~]{1,12}".prop_map(Value::String),
        Just(Value::Null),
        Just(Value::Bool(true)),
        Just(serde_json::json!({"a": "b"})),
        Just(serde_json::json!(["a}", "b\""])),
    ];
    let secret =
        (prop::sample::select(vec!["password", "cookie", "authorization", "client_secret", "cardholder"]), secret);
    let field = prop_oneof![
        ("[b-d]{2,3}", awkward().prop_map(Value::String)),
        ("[b-d]{2,3}", Just(Value::Null)),
        ("[b-d]{2,3}", (0..99_i32).prop_map(Value::from)),
        secret.prop_map(|(name, value)| (name.to_owned(), value)),
    ];
    let object = |fields: Vec<(String, Value)>| Value::Object(fields.into_iter().collect());
    let object = prop::collection::vec(field, 0..6).prop_map(object);
    (object.clone(), object, any::<bool>()).prop_map(|(mut outer, inner, is_text)| {
        let inner = if is_text { Value::String(inner.to_string()) } else { inner };
        outer.as_object_mut().unwrap().insert("inner".to_owned(), inner);
        outer
    })
}

/// With quotation marks around the marks of what was no text: an object, a list.
fn mended(cleaned: &str) -> String {
    let mut out = cleaned.to_owned();
    for mark in ["[erased:secret]", "[erased:credential]", "[erased:cookie]", "[erased:holder]"] {
        for (sign, quote) in [("\\\":", "\\\""), ("\":", "\""), ("\": ", "\"")] {
            out = out.replace(&format!("{sign}{mark}"), &format!("{sign}{quote}{mark}{quote}"));
        }
    }
    out
}

/// Whether `cleaned` has all that is harmless in `raw`.
fn is_kept(raw: &Value, cleaned: &Value) -> bool {
    match (raw, cleaned) {
        (Value::Object(raw), Value::Object(cleaned)) => raw.iter().all(|(name, value)| {
            let is_harmless =
                name.len() <= 3 || name == "inner" || !value.is_string() && !value.is_object() && !value.is_array();
            cleaned.get(name).is_some_and(|cleaned| !is_harmless || is_kept(value, cleaned))
        }),
        (Value::String(raw), Value::String(cleaned)) if raw.starts_with("{\"") => {
            let of = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
            of(raw).is_null() || is_kept(&of(raw), &of(cleaned))
        }
        _ => raw == cleaned,
    }
}

proptest! {
    #[test]
    fn a_document_of_json_keeps_what_is_harmless(document in document(), is_pretty in any::<bool>()) {
        let raw = if is_pretty { format!("{document:#}") } else { document.to_string() };
        let cleaned = clean(raw.as_bytes(), 100_000).text.to_string().replace("\\u{a}", "\n");
        let read: Result<Value, _> = serde_json::from_str(&mended(&cleaned));
        prop_assert!(read.is_ok(), "`{}` is cleaned to `{}`", raw, cleaned);
        prop_assert!(is_kept(&document, &read.unwrap()), "`{}` is cleaned to `{}`", raw, cleaned);
    }

    #[test]
    fn no_value_of_a_secret_name_comes_through(
        (name, mark) in names(), value in "[1-9][0-9]{3}", form in 0_usize..14, before in "|[g-k]{1,6} |\\{", limit in 60_usize..300,
    ) {
        let text = format!("{before}{}", given(name, &value, form));
        let cleaned = clean(text.as_bytes(), 1000);
        prop_assert!(cleaned.text.as_str().contains(mark), "`{}` is cleaned to `{}`", text, cleaned.text);
        prop_assert!(!cleaned.text.as_str().contains(&value), "`{}` is cleaned to `{}`", text, cleaned.text);
        let cut = clean(text.as_bytes(), limit);
        prop_assert!(!cut.text.as_str().contains(&value), "`{}` is cut to `{}`", text, cut.text);
    }

    #[test]
    fn no_credential_comes_through(name in "[a-z]{3,8}", password in "[A-Z][a-zA-Z0-9]{9,20}", form in 0_usize..8) {
        let pair = STANDARD.encode(format!("{name}:{password}"));
        let (text, secret) = match form {
            0 => (format!("Authorization: Basic {pair}\r\nHost: a"), &pair),
            1 => (format!("{{\"proxy-authorization\":\"Basic {pair}\"}}"), &pair),
            2 => (format!("sent Basic {pair} to a"), &pair),
            3 => (format!("https://{name}:{password}@api.acme.example/x"), &password),
            4 => (format!("CONNECT {name}:{password}@api.acme.example:443 HTTP/1.1"), &password),
            5 => (format!("Cookie: a={password}; b=2"), &password),
            6 => (format!("https://api.acme.example/?u=https%3A%2F%2F{name}%3A{password}%40host"), &password),
            _ => (format!("Authorization: Digest username=\"{name}\", response=\"{password}\""), &password),
        };
        let cleaned = clean(text.as_bytes(), 1000);
        prop_assert!(!cleaned.text.as_str().contains(secret.as_str()), "`{}` is cleaned to `{}`", text, cleaned.text);
    }

    #[test]
    fn harmless_text_is_left(text in harmless()) {
        let cleaned = clean(text.as_bytes(), 10_000);
        prop_assert_eq!(cleaned.text.as_str(), text.as_str());
        prop_assert!(cleaned.found.is_empty());
    }

    #[test]
    fn what_was_marked_stays_as_it_is(
        parts in prop::collection::vec(prop::sample::select(vec![
            "cvv", "pin", "password", "Authorization", "Cookie", "set-cookie", "name", "value", "ssn", "pan", "card_number",
            "=", ":", ": ", ">", "<", "\"", "'", "\\\"", "\\", "{", "}", "[", "]", "&", ";", ",", " ", "\n", "\r\n\r\n", "@",
            "//", "%3D", "%", "^", "D", "?", "123", "4111111111111111", "2512101", "536-22-1234", "DE89370400440532013000",
            "Bearer abcdefgh12345678", "Basic dXNlcjpwYXNz", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.a", "[erased:secret]",
            "[PAN:visa:16]", "[SSN]", "…", "AKIAIOSFODNN7EXAMPLE", "-----BEGIN PRIVATE KEY-----", "5A08", "5710", "null",
        ]), 0..16),
        limit in 0_usize..200,
    ) {
        let text = parts.concat();
        for limit in [limit, 4096] {
            let once = clean(text.as_bytes(), limit).text;
            let twice = clean(once.as_str().as_bytes(), limit);
            prop_assert!(twice.found.is_empty() && twice.text == once, "`{}` → `{}` → `{}`", text, once, twice.text);
        }
    }
}
