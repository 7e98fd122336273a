//! Finds numbers that are told in words: `cvv 123`, `CVC2 #123`, `PIN is 1234`, `SSN 123456789`. Pure, linear in the text.
//! Not here: names with a sign and a value of any form (`key`), codes beside a card number (`near`).
//! Source: PCI DSS 3.3.1.2 and 3.3.1.3; ISO 9564-1 (PINs of 4 to 12 digits).

use std::ops::RangeInclusive;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

use super::account;
use super::kind::{self, Hit, Kind};
use super::value::{after, before, blank};

/// Upper bound in bytes of what stands between the word and its digits: ` number is: `.
const MAX_BETWEEN: usize = 24;

/// Digits of the shortest code.
pub(super) const MIN_DIGITS: usize = 3;

/// Digits of a security code, and of a PIN.
const CODE: RangeInclusive<usize> = MIN_DIGITS..=4;
const PIN: RangeInclusive<usize> = 4..=12;

/// What a code is told to be of.
const CARD: &[u8] = b"card";

/// A word, what must stand before it, and what it tells. `cid` in small letters is a name for too much else.
struct Word {
    head: &'static str,
    tail: &'static [&'static str],
    kind: Kind<'static>,
}

static WORDS: [Word; 7] = [
    Word {
        head: "",
        tail: &["cvv", "CVV", "Cvv", "cvc", "CVC", "Cvc", "cvn", "CVN", "csc", "CSC", "CID"],
        kind: Kind::SecurityCode,
    },
    Word { head: "", tail: &["pin", "PIN", "Pin"], kind: Kind::Pin },
    Word { head: "securi", tail: &["ty code", "TY CODE", "ty Code"], kind: Kind::SecurityCode },
    Word { head: "verificati", tail: &["on code", "ON CODE", "on Code"], kind: Kind::SecurityCode },
    Word { head: "verificati", tail: &["on value", "ON VALUE", "on Value"], kind: Kind::SecurityCode },
    Word { head: "", tail: &["ssn", "SSN", "Ssn"], kind: Kind::Ssn },
    Word { head: "s", tail: &["ocial secur", "ocial Secur", "OCIAL SECUR"], kind: Kind::Ssn },
];

/// What is searched for (leftmost first, which is what makes the search a vector one), and to which of [`WORDS`] each belongs.
static SEARCH: LazyLock<Option<(AhoCorasick, Vec<&'static Word>)>> = LazyLock::new(|| {
    let tails = WORDS.iter().flat_map(|word| word.tail.iter().map(move |tail| (*tail, word)));
    let (tails, words): (Vec<&str>, Vec<&Word>) = tails.unzip();
    Some((AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(tails).ok()?, words))
});

/// The digits behind the words.
pub(super) fn find(text: &[u8], hits: &mut Vec<Hit<'_>>) {
    let Some((search, words)) = SEARCH.as_ref() else { return };
    for found in search.find_iter(text) {
        let Some(word) = words.get(found.pattern().as_usize()) else { continue };
        let digits = if word.kind == Kind::Ssn {
            account::told(text, found.end())
        } else {
            told(text, word, found.start(), found.end())
        };
        let is_known = |end: usize| {
            !word.is_weak(text.get(found.range()).unwrap_or_default())
                || is_of_card(text, end)
                || kind::tell_of_a_card(hits)
        };
        if let Some((start, end)) = digits.filter(|_| is_known(found.start().saturating_sub(word.head.len()))) {
            hits.push(Hit { start, end, kind: word.kind });
        }
    }
}

impl Word {
    /// Whether it counts where a card is told of alone: it names other codes as well.
    fn is_weak(&self, tail: &[u8]) -> bool {
        self.head == "verificati" || tail == b"CID"
    }
}

/// Whether `card` stands right before `at`.
fn is_of_card(text: &[u8], at: usize) -> bool {
    let head = before(text, at).trim_ascii_end();
    let word = head.len().checked_sub(CARD.len()).map(|start| after(head, start));
    word.is_some_and(|word| word.eq_ignore_ascii_case(CARD))
}

/// The place of the digits behind a word whose tail stands at `start..end`.
fn told(text: &[u8], word: &Word, start: usize, end: usize) -> Option<(usize, usize)> {
    let lengths = if word.kind == Kind::Pin { PIN } else { CODE };
    let head = start.checked_sub(word.head.len())?;
    let is_head = text.get(head..start)?.eq_ignore_ascii_case(word.head.as_bytes());
    if !is_head || before(text, head).last().is_some_and(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let start = end.saturating_add(between(after(text, end))?);
    let rest = after(text, start);
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let is_more = match after(rest, digits) {
        [b'-' | b'/' | b':' | b'.' | b',', next, ..] => next.is_ascii_digit(),
        [next, ..] => next.is_ascii_alphanumeric() || *next == b'_',
        [] => false,
    };
    (lengths.contains(&digits) && !is_more).then_some((start, start.saturating_add(digits)))
}

/// Bytes between the word and its digits, if that is white space and signs, or `code`, `number`, `no`, `is`, `was`.
fn between(text: &[u8]) -> Option<usize> {
    let mut at = match text {
        [b'2', ..] => 1,
        _ => 0,
    };
    let from = at;
    while at < MAX_BETWEEN {
        let rest = after(text, at);
        let word = ["code", "number", "no", "is", "was"]
            .iter()
            .find(|word| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes())));
        let width = match (rest, blank(rest), word) {
            (_, Some(width), _) => width,
            ([b'#' | b':' | b'=' | b'(' | b'.' | b'"' | b'\'' | b'\\', ..], ..) => 1,
            (_, _, Some(word)) if at > from => word.len(),
            _ => break,
        };
        at = at.saturating_add(width);
    }
    (at > from).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::testing::told;

    fn found(text: &str) -> Vec<String> {
        let mut hits = Vec::new();
        find(text.as_bytes(), &mut hits);
        told(text, &hits)
    }

    #[test]
    fn codes_that_are_told_are_found() {
        for (text, want) in [
            ("cvv 123", "[erased:security_code]123"),
            ("CVV2: 123.", "[erased:security_code]123"),
            ("Cvc #1234,", "[erased:security_code]1234"),
            ("(cvc2) cvc code is 123", "[erased:security_code]123"),
            ("Card CID 1234", "[erased:security_code]1234"),
            ("Security Code 123", "[erased:security_code]123"),
            ("the security code was: \"123\"", "[erased:security_code]123"),
            ("{\"msg\":\"pin \\\"1234\\\"\"}", "[erased:pin]1234"),
            ("card verification code 123", "[erased:security_code]123"),
            ("card verification value 123", "[erased:security_code]123"),
            ("PIN is 1234", "[erased:pin]1234"),
            ("pin number is 123456789012", "[erased:pin]123456789012"),
            ("pin\\u{9}1234", "[erased:pin]1234"),
        ] {
            assert_eq!(found(text), [want], "`{text}`");
        }
    }

    #[test]
    fn other_words_and_numbers_are_left() {
        for text in [
            "cvv 12",
            "cvv 12345",
            "cvv2",
            "cvv123",
            "xcvv 123",
            "cvv 123x",
            "cid 123",
            "spin 1234",
            "pin 123",
            "pin1234",
            "pin 2026-11-21",
            "pin 1234:5",
            "pin 1234567890123",
            "pinned 1234",
            "CID 1234",
            "verification code 404",
            "status code 404",
            "cvv is it 123",
            "code 123",
            "cvv [erased:security_code]",
            "PIN is …",
            "obscurity code 123",
            "pin                          1234",
        ] {
            assert!(found(text).is_empty(), "`{text}`: {:?}", found(text));
        }
    }
}
