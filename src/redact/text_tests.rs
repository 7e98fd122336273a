//! Laws of the detectors of secrets in texts, through the whole of cleaning.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

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

proptest! {
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
