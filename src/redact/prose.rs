//! Whether what follows a secret name in running text is prose: `unexpected token: foo`, `Authorization: denied`. Pure.
//! Not here: where the value stands (`value`), which names are secret (`names`).
//! Source: what tokens are made of (RFC 6750 section 2.1): none is a short word of small letters.

use super::value::{after, before, blank, line_end};

/// Letters of the longest word that counts as one of a language.
const MAX_WORD: usize = 16;

/// Upper bound in bytes of the blanks before the first name of a line.
const MAX_INDENT: usize = 64;

/// Bytes that the end of a line can have: itself, in UTF-8, or as cleaned text writes it (`\u{a}`, `\u{85}`, `\u{2028}`).
const LINE_ENDS: [usize; 6] = [1, 2, 3, 5, 6, 8];

/// What stands behind the colon of a package's name.
const ARCHITECTURES: [&[u8]; 8] = [b"amd64", b"arm64", b"i386", b"armhf", b"armel", b"ppc64el", b"riscv64", b"s390x"];

/// Whether this value, in no quotation marks, is no token: an architecture, or a word behind a colon and a blank.
pub(super) fn is_no_token(text: &[u8], from: usize, value: &[u8]) -> bool {
    ARCHITECTURES.contains(&value) || blank(after(text, from)).is_some() && is_word(value)
}

/// Whether the value at `start`, in no quotation marks, begins a sentence that is told: a word, a blank, another word.
pub(super) fn is_told(text: &[u8], start: usize, value: &[u8]) -> bool {
    let behind = after(text, start.saturating_add(value.len()));
    let next = behind.strip_prefix(b" ").unwrap_or_default();
    let length = next.iter().take(MAX_WORD).take_while(|byte| byte.is_ascii_alphabetic()).count();
    is_word(value) && is_word(before(next, length))
}

/// Whether `value` is made of words and nothing else.
pub(super) fn is_words(value: &[u8]) -> bool {
    value.split(|byte| matches!(byte, b' ' | b',' | b'.' | b'\'')).all(|word| word.is_empty() || is_word(word))
}

/// Whether nothing but blanks and the dash of a list stands before `start` in its line.
pub(super) fn begins_line(text: &[u8], start: usize) -> bool {
    let head = before(text, start);
    let indent = head.iter().rev().take(MAX_INDENT).take_while(|byte| matches!(byte, b' ' | b'\t' | b'-')).count();
    let line = before(head, head.len().saturating_sub(indent));
    let is_behind =
        |width: &usize| line.len().checked_sub(*width).and_then(|at| line_end(after(line, at))) == Some(*width);
    line.is_empty() || LINE_ENDS.iter().any(is_behind)
}

/// Small letters alone, or one capital before them.
fn is_word(value: &[u8]) -> bool {
    let Some((first, rest)) = value.split_first() else { return false };
    value.len() <= MAX_WORD && first.is_ascii_alphabetic() && rest.iter().all(u8::is_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_from_secrets() {
        for (text, want) in [
            ("denied", true),
            ("Denied for this user, sorry.", true),
            ("it's off", true),
            ("hunter2", false),
            ("dXNlcjpwYXNz", false),
            ("abcdefghijklmnopq", false),
            ("a=b", false),
            ("a-b", false),
        ] {
            assert_eq!(is_words(text.as_bytes()), want, "`{text}`");
        }
        for (text, value, want) in
            [(": foo", "foo", true), (":foo", "foo", false), (":amd64", "amd64", true), (": a1", "a1", false)]
        {
            assert_eq!(is_no_token(text.as_bytes(), 1, value.as_bytes()), want, "`{text}`");
        }
        for (text, want) in [
            ("too short", true),
            ("hunter2 now", false),
            ("hunter", false),
            ("a, b", false),
            ("a 1", false),
            ("AB cd", false),
        ] {
            let word = text.split([' ', ',']).next().unwrap();
            assert_eq!(is_told(text.as_bytes(), 0, word.as_bytes()), want, "`{text}`");
        }
    }

    #[test]
    fn names_that_begin_a_line_are_told() {
        for (text, want) in [
            ("|a", true),
            ("  - |a", true),
            ("b\n|a", true),
            ("b\\u{a} |a", true),
            ("b\\u{2028}|a", true),
            ("b\u{2028}|a", true),
            ("b |a", false),
            ("\"|a", false),
        ] {
            let at = text.find('|').unwrap();
            assert_eq!(begins_line(text.as_bytes(), at), want, "`{text}`");
        }
    }
}
