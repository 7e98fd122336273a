//! Finds the tracks of magnetic stripes, and their copies in chip data: track 1, track 2, EMV tags 57 and 5A. Pure, linear.
//! Not here: fields named after tracks (`names`), card numbers that stand alone (`card`).
//! Source: ISO/IEC 7813 (tracks), EMV Book 3 annex A (tags 57 and 5A); PCI DSS 3.3.1.1: never kept.

use std::ops::Range;

use memchr::memchr_iter;

use super::gist::{self, Gist};
use super::issuer;
use super::kind::{Hit, Kind};
use super::value::{after, before};

/// Digits of a card number on a track.
const MIN_DIGITS: usize = 12;
const MAX_DIGITS: usize = 19;

/// Characters of the name on track 1.
const NAME: std::ops::RangeInclusive<usize> = 2..=26;

/// Upper bound in characters of what follows the card number on track 2, and the name on track 1.
const MAX_REST: usize = 40;
const MAX_TAIL: usize = 64;

/// Characters of year, month and service code: the least that follows.
const YEAR_AND_MONTH: usize = 4;

/// The tracks in `text`, each as a whole, and the card numbers of tag 5A.
pub(super) fn find(text: &[u8], gist: Gist, hits: &mut Vec<Hit<'_>>) {
    let tracks = |place: Range<usize>| Hit { start: place.start, end: place.end, kind: Kind::Track };
    if gist.has_digits() {
        hits.extend(memchr_iter(b'^', text).filter_map(|caret| track1(text, caret)).map(tracks));
    }
    if gist.has_track() {
        hits.extend(gist::track_signs(text).filter_map(|sign| track2(text, sign)).map(tracks));
    }
    if gist.has_tag() {
        hits.extend(gist::tag_values(text).filter_map(|start| tag_5a(text, start)));
    }
}

/// The brand of the card number that these characters are.
fn brand(digits: &[u8]) -> Option<&'static str> {
    let mut number = [0; MAX_DIGITS];
    let mut length: usize = 0;
    for byte in digits.iter().filter(|byte| **byte != b' ') {
        *number.get_mut(length)? = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        length = length.saturating_add(1);
    }
    issuer::brand(number.get(..length).filter(|number| number.len() >= MIN_DIGITS)?)
}

/// Whether `text` begins with a year and a month.
fn is_date(text: &[u8]) -> bool {
    match text {
        [y, z, b'0', b'1'..=b'9', ..] | [y, z, b'1', b'0'..=b'2', ..] => y.is_ascii_digit() && z.is_ascii_digit(),
        _ => false,
    }
}

fn run(text: &[u8], most: usize, is_part: impl Fn(&u8) -> bool) -> usize {
    text.iter().take(most).take_while(|byte| is_part(byte)).count()
}

/// How many digits stand before the end of `text`, up to `most`.
fn digits_before(text: &[u8], most: usize) -> usize {
    text.iter().rev().take(most).take_while(|byte| byte.is_ascii_digit()).count()
}

/// Track 1 around its first `^`: `%B`, a card number, a name, a date. The start may be missing if the number is a card's.
fn track1(text: &[u8], caret: usize) -> Option<Range<usize>> {
    let head = before(text, caret);
    let spaced =
        head.iter().rev().take(MAX_DIGITS.saturating_add(4)).take_while(|byte| byte.is_ascii_digit() || **byte == b' ');
    let number = spaced.count();
    let start = caret.saturating_sub(number);
    let digits = text.get(start..caret)?.trim_ascii_start();
    let start = caret.saturating_sub(digits.len());
    let name =
        run(after(text, caret.saturating_add(1)), NAME.end().saturating_add(1), |byte| *byte != b'^' && *byte >= b' ');
    let second = caret.saturating_add(1).saturating_add(name);
    let tail = second.saturating_add(1);
    let has_form = text.get(second) == Some(&b'^') && NAME.contains(&name);
    let is_dated = is_date(after(text, tail)) || text.get(tail) == Some(&b'^');
    let sentinel = sentinel(before(text, start));
    let count = digits.iter().filter(|byte| byte.is_ascii_digit()).count();
    let is_number = brand(digits).is_some() || sentinel == 2 && (MIN_DIGITS..=MAX_DIGITS).contains(&count);
    if !has_form || !is_dated || !is_number {
        return None;
    }
    let rest = after(text, tail);
    let to_end = run(rest, MAX_TAIL, |byte| (b' '..=b'_').contains(byte) && !matches!(byte, b'?' | b'"'));
    let length = match rest.get(to_end) {
        Some(b'?') => to_end.saturating_add(1),
        _ => run(rest, MAX_TAIL, |byte| byte.is_ascii_alphanumeric() || *byte == b'^'),
    };
    Some(start.saturating_sub(sentinel)..tail.saturating_add(length))
}

/// Bytes of track 1's start that `head` ends with: `%B`, or the `B` alone.
fn sentinel(head: &[u8]) -> usize {
    match head {
        [.., b'%', b'B' | b'b'] => 2,
        [.., b'B' | b'b'] => 1,
        _ => 0,
    }
}

/// Track 2 around its sign, with its sentinels, or with the tag 57 and its length.
fn track2(text: &[u8], sign: usize) -> Option<Range<usize>> {
    let rest = after(text, sign.saturating_add(1));
    if !is_date(rest) {
        return None;
    }
    let digits = run(rest, MAX_REST, u8::is_ascii_digit);
    let padding = run(after(rest, digits), 1, |byte| matches!(byte, b'F' | b'f'));
    let mut end = sign.saturating_add(1).saturating_add(digits);
    let is_hex = text.get(sign) != Some(&b'=');
    if is_hex {
        end = end.saturating_add(padding);
        if let Some(place) = tag_57(text, sign) {
            return Some(place);
        }
    }
    let is_closed = text.get(end) == Some(&b'?');
    let end = end.saturating_add(usize::from(is_closed));
    let length = digits_before(before(text, sign), MAX_DIGITS.saturating_add(1));
    let start = sign.saturating_sub(length);
    let is_opened = before(text, start).last() == Some(&b';');
    let touches = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    if is_hex && (touches(before(text, start).last()) || touches(text.get(end))) {
        return None; // in the middle of an identifier
    }
    let is_number = brand(text.get(start..sign)?).is_some()
        || is_opened && is_closed && digits > YEAR_AND_MONTH && (MIN_DIGITS..=MAX_DIGITS).contains(&length);
    is_number.then(|| start.saturating_sub(usize::from(is_opened))..end)
}

/// The tag 57 whose value holds the sign at `sign`: `57`, its length, a card number, the sign, digits and padding to its end.
fn tag_57(text: &[u8], sign: usize) -> Option<Range<usize>> {
    (MIN_DIGITS..=MAX_DIGITS).find_map(|length| {
        let number = sign.checked_sub(length)?;
        let tag = number.checked_sub(4)?;
        let head = text.get(tag..number)?;
        let bytes = usize::from_str_radix(str::from_utf8(head.strip_prefix(b"57")?).ok()?, 16).ok()?;
        let end = number.checked_add(bytes.checked_mul(2)?)?;
        let rest = text.get(sign.checked_add(1)?..end)?;
        let digits = rest.strip_suffix(b"F").or_else(|| rest.strip_suffix(b"f")).unwrap_or(rest);
        let is_whole = rest.len() <= MAX_REST && digits.iter().all(u8::is_ascii_digit);
        (is_whole && brand(text.get(number..sign)?).is_some()).then_some(tag..end)
    })
}

/// The card number of the tag 5A whose value begins at `start`.
fn tag_5a<'r>(text: &[u8], start: usize) -> Option<Hit<'r>> {
    let length = char::from(*text.get(start.checked_sub(1)?)?).to_digit(16)?;
    let value = after(text, start).get(..usize::try_from(length).ok()?.checked_mul(2)?)?;
    let digits = run(value, MAX_DIGITS, u8::is_ascii_digit);
    let is_padded = after(value, digits).iter().all(|byte| matches!(byte, b'F' | b'f'));
    let brand = brand(before(value, digits)).filter(|_| is_padded)?;
    Some(Hit { start, end: start.saturating_add(value.len()), kind: Kind::Card { brand, digits } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::testing::told;

    fn found(text: &str) -> Vec<String> {
        let mut hits = Vec::new();
        find(text.as_bytes(), Gist::of(text.as_bytes()), &mut hits);
        told(text, &hits)
    }

    #[test]
    fn tracks_are_found_whole() {
        for track in [
            "%B4111111111111111^DOE/JOHN^25121011000012300000?",
            "%b4111111111111112^DOE/JOHN^2512101?",
            "B4111111111111111^DOE/JOHN MR^2512101100001230000",
            "4111111111111111^DOE/J^2512101",
            "%B3782 822463 10005^DOE/JOHN^2512101?",
            "%B4111111111111111^DOE/JOHN^^101?",
            ";4111111111111111=25121011000012300000?",
            "4111111111111111=2512101",
            "4111111111111111D2512101F",
            "4111111111111111d2512101",
            ";1234567890123=2512101?",
            "57114111111111111111D25121011000012300",
            "57104111111111111111D25121011000012F",
        ] {
            assert_eq!(found(track), [format!("[erased:track]{track}")], "`{track}`");
            assert_eq!(found(&format!("a\"{track}\" b")), [format!("[erased:track]{track}")], "`{track}`");
        }
    }

    #[test]
    fn chip_data_is_read_by_its_tags() {
        for (text, want) in [
            (
                "9F2608AABB57104111111111111111D2512101100001235F2403",
                "[erased:track]57104111111111111111D251210110000123",
            ),
            ("5A0841111111111111115F24", "[PAN:visa:16]4111111111111111"),
            ("aa5a08378282246310005fbb", "[PAN:amex:15]378282246310005f"),
            ("5A0A6212345678901234569F", "[PAN:unionpay:19]6212345678901234569F"),
        ] {
            assert_eq!(found(text), [want], "`{text}`");
        }
    }

    #[test]
    fn other_digits_are_left() {
        for text in [
            "4111111111111112=2512101",
            "4111111111111111=2513101",
            "4111111111111111=25",
            "a=1234=5678",
            "2^3^4",
            "%B^a^b",
            "%B411111111111^DOE",
            "%B4111111111111111^DOE/JOHN^25",
            "a4111111111111111D2512101",
            "4111111111111111D2512101b",
            "5A084111111111111112",
            "5A08411111111111",
            "5A05411111111111",
            "[erased:track]",
            ";1234567890123=2512101",
            "57FF4111111111111111x",
            "57",
        ] {
            assert!(found(text).is_empty(), "`{text}`: {:?}", found(text));
        }
    }

    #[test]
    fn stays_linear_on_long_texts() {
        for unit in ["^", "1111=1111", "4111111111111111=2512", "1111d1111", "5A08", "%B4111111111111111^a", "57"] {
            let text = unit.repeat(300_000 / unit.len());
            assert!(found(&text).len() <= text.len(), "`{unit}`");
        }
    }
}
