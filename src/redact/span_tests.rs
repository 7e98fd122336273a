//! What marks lay bare, and private keys.

use super::*;

fn found(text: &str) -> Vec<(String, &str)> {
    let rules = Rules::default();
    find(text.as_bytes(), &rules)
        .iter()
        .map(|hit| (hit.kind.to_string(), text.get(hit.start..hit.end).unwrap()))
        .collect()
}

#[test]
fn what_a_mark_lays_bare_is_found_too() {
    // The first number is part of a UUID until the second, which begins in that UUID and ends behind it, is marked.
    let text = "x 41111111-1111-1111-a111-649826438453-1115 y";
    let want = [("[PAN:visa:16]", "41111111-1111-1111"), ("[PAN:discover:16]", "649826438453-1115")];
    assert_eq!(found(text), want.map(|(mark, text)| (mark.to_owned(), text)));
    assert_eq!(found(text.get(..39).unwrap()), [], "it is part of a UUID");
}

#[test]
fn private_keys_are_known_by_their_lines() {
    for (text, want, is_open) in [
        ("a -----BEGIN PRIVATE KEY-----x-----END PRIVATE KEY----- b", 55, false),
        ("a -----BEGIN PRIVATE KEY-----x", 30, true),
        ("a -----BEGIN OPENSSH PRIVATE KEY-----x-----END OPENSSH PRIVATE KEY-----", 71, false),
        ("a -----BEGIN ENCRYPTED PRIVATE KEY-----x-----END ENCRYPTED PRIVATE KEY-----", 75, false),
    ] {
        assert_eq!(found(text), [("[erased:secret]".to_owned(), text.get(2..want).unwrap())], "`{text}`");
        assert_eq!(is_inside_private_key(text.as_bytes()), is_open, "`{text}`");
    }
    for text in [
        "-----BEGIN CERTIFICATE-----",
        "-----BEGIN PRIVATE KEY----",
        "-----BEGIN x-----PRIVATE KEY-----",
        "----BEGIN PRIVATE KEY-----",
        &format!("-----BEGIN {}PRIVATE KEY-----", " ".repeat(MAX_LINE)),
    ] {
        assert_eq!(found(text), [], "`{text}`");
    }
}
