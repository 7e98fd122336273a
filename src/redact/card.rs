//! Finds card numbers in text: bare or in groups, ASCII or full-width digits. Pure, linear in the text.
//! Not here: decoding (what is percent-encoded, base64 or compressed is not written to records at all).
//! Source: ISO/IEC 7812 (12 to 19 digits); how card numbers are printed (groups of three and more).

use super::issuer;

/// Digits of the shortest card number (old Maestro).
pub(super) const MIN_DIGITS: usize = 12;

/// Digits of the longest card number.
const MAX_DIGITS: usize = 19;

/// Digits of the shortest group that counts as a part: less would join the parts of addresses and dates.
const MIN_GROUP: usize = 3;

/// How often a separator may stand between two groups.
const MAX_WIDTH: usize = 3;

/// From this length on a word of `0-9a-fA-F-` is taken for an identifier, and digits amid its letters are no number.
const IDENTIFIER: usize = 20;

/// Where a card number stands (bytes), whose it is, and its digits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) brand: &'static str,
    pub(super) digits: usize,
}

/// The card numbers in `text`, from the left, the longest at each place, without overlaps.
pub(super) fn find(text: &str) -> Vec<Hit> {
    let groups = groups(text);
    let mut hits = Vec::new();
    let mut rest = groups.as_slice();
    while let Some((first, others)) = rest.split_first() {
        match longest(text, first, others) {
            Some((hit, used)) => {
                hits.push(hit);
                rest = others.get(used..).unwrap_or_default();
            }
            None => rest = others,
        }
    }
    hits
}

/// Digits that stand together.
struct Group {
    start: usize,
    end: usize,
    /// At most [`MAX_DIGITS`] and one more.
    digits: Vec<u8>,
    /// What stands between this group and the next, if that is a separator alone.
    joint: Option<(Separator, usize)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Separator {
    Space,
    Dash,
    Dot,
    Underscore,
    Plus,
    NoBreakSpace,
    ThinSpace,
    Invisible,
}

fn groups(text: &str) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if let Some((digit, width)) = digit(rest) {
            let end = at.saturating_add(width);
            match groups.last_mut().filter(|group| group.end == at && group.joint.is_none()) {
                Some(group) => {
                    group.end = end;
                    if group.digits.len() <= MAX_DIGITS {
                        group.digits.push(digit);
                    }
                }
                None => groups.push(Group { start: at, end, digits: vec![digit], joint: None }),
            }
            at = end;
        } else {
            let joint = joint(rest);
            let width = joint.map(|(_, _, bytes)| bytes).or_else(|| rest.chars().next().map(char::len_utf8));
            let after = at.saturating_add(width.unwrap_or(1));
            if let (Some(group), Some((separator, count, _))) = (groups.last_mut(), joint)
                && group.end == at
                && text.get(after..).and_then(digit).is_some()
            {
                group.joint = Some((separator, count));
            }
            at = after;
        }
    }
    groups
}

/// The value of the digit that `text` begins with, and its bytes.
fn digit(text: &str) -> Option<(u8, usize)> {
    let c = text.chars().next()?;
    let zero = if c.is_ascii() { '0' } else { '\u{ff10}' };
    let value = u32::from(c).checked_sub(u32::from(zero)).filter(|value| *value < 10)?;
    Some((u8::try_from(value).ok()?, c.len_utf8()))
}

/// The separators that `text` begins with, as long as they are of one kind: the kind, how many, their bytes.
fn joint(text: &str) -> Option<(Separator, usize, usize)> {
    let (kind, mut bytes) = separator(text)?;
    let mut count: usize = 1;
    while let Some((next, width)) = text.get(bytes..).and_then(separator)
        && next == kind
        && count < MAX_WIDTH
    {
        bytes = bytes.saturating_add(width);
        count = count.saturating_add(1);
    }
    Some((kind, count, bytes))
}

fn separator(text: &str) -> Option<(Separator, usize)> {
    let c = text.chars().next()?;
    let kind = match c {
        ' ' => Separator::Space,
        '-' => Separator::Dash,
        '.' => Separator::Dot,
        '_' => Separator::Underscore,
        '+' => Separator::Plus,
        '\u{a0}' => Separator::NoBreakSpace,
        '\u{2009}' | '\u{202f}' => Separator::ThinSpace,
        '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' => Separator::Invisible,
        '%' => {
            let code = text.get(1..3)?.to_ascii_uppercase();
            let (_, kind) = ENCODED.iter().find(|(encoded, _)| *encoded == code)?;
            return Some((*kind, 3));
        }
        _ => return None,
    };
    Some((kind, c.len_utf8()))
}

/// Percent-encoded separators: whoever forwards a half-decoded text puts these between the groups.
const ENCODED: [(&str, Separator); 5] = [
    ("20", Separator::Space),
    ("2D", Separator::Dash),
    ("2E", Separator::Dot),
    ("5F", Separator::Underscore),
    ("2B", Separator::Plus),
];

/// The longest card number that begins with `first`, and how many of the `others` belong to it.
fn longest(text: &str, first: &Group, others: &[Group]) -> Option<(Hit, usize)> {
    let mut number = first.digits.clone();
    let mut best = whole(text, first.start, first.end, &number).map(|hit| (hit, 0));
    let mut before = first;
    for (used, group) in (1_usize..).zip(others) {
        let parted = before.joint.is_none() || before.joint != first.joint;
        if parted || before.digits.len() < MIN_GROUP || group.digits.len() < MIN_GROUP {
            break;
        }
        number.extend_from_slice(&group.digits);
        if number.len() > MAX_DIGITS {
            break;
        }
        best = whole(text, first.start, group.end, &number).map(|hit| (hit, used)).or(best);
        before = group;
    }
    best
}

fn whole(text: &str, start: usize, end: usize, number: &[u8]) -> Option<Hit> {
    if !(MIN_DIGITS..=MAX_DIGITS).contains(&number.len()) {
        return None;
    }
    let brand = issuer::brand(number)?;
    (!in_identifier(text, start, end)).then_some(Hit { start, end, brand, digits: number.len() })
}

/// Whether `start..end` is a piece of a longer hexadecimal identifier: letters touch it, or the word is a UUID.
fn in_identifier(text: &str, start: usize, end: usize) -> bool {
    let bytes = text.as_bytes();
    let in_word = |byte: &&u8| byte.is_ascii_hexdigit() || **byte == b'-';
    let (left, right) = bytes.split_at_checked(start).unwrap_or_default();
    let before = left.iter().rev().take_while(in_word).take(UUID_LENGTH).count();
    let after = right.iter().take_while(in_word).take(UUID_LENGTH).count();
    let word = bytes.get(start.saturating_sub(before)..start.saturating_add(after)).unwrap_or_default();
    let touched = left.last().is_some_and(u8::is_ascii_hexdigit) || bytes.get(end).is_some_and(u8::is_ascii_hexdigit);
    touched && word.len() >= IDENTIFIER || is_uuid(word)
}

const UUID_LENGTH: usize = 36;

/// RFC 9562: 8-4-4-4-12; one of digits alone may as well be a number.
fn is_uuid(word: &[u8]) -> bool {
    word.len() == UUID_LENGTH
        && word.iter().enumerate().all(|(at, byte)| (*byte == b'-') == matches!(at, 8 | 13 | 18 | 23))
        && word.iter().any(u8::is_ascii_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(text: &str) -> Vec<String> {
        find(text)
            .iter()
            .map(|hit| format!("{}:{}:{}", hit.brand, hit.digits, text.get(hit.start..hit.end).unwrap()))
            .collect()
    }

    #[test]
    fn finds_card_numbers_however_they_are_written() {
        for (text, want) in [
            ("4111111111111111", "visa:16:4111111111111111"),
            ("4111111111111111.example.com", "visa:16:4111111111111111"),
            ("4111-1111-1111-1111.evil.example", "visa:16:4111-1111-1111-1111"),
            ("4111.1111.1111.1111.example.com", "visa:16:4111.1111.1111.1111"),
            ("x.4111.1111.1111.1111.2222.example.com", "visa:16:4111.1111.1111.1111"),
            ("4111 1111 1111 1111", "visa:16:4111 1111 1111 1111"),
            ("4111  1111  1111  1111", "visa:16:4111  1111  1111  1111"),
            ("4111_1111_1111_1111", "visa:16:4111_1111_1111_1111"),
            ("4111+1111+1111+1111", "visa:16:4111+1111+1111+1111"),
            ("4111%201111%201111%201111", "visa:16:4111%201111%201111%201111"),
            ("4111%2d1111%2D1111%2d1111", "visa:16:4111%2d1111%2D1111%2d1111"),
            ("4111\u{a0}1111\u{a0}1111\u{a0}1111", "visa:16:4111\u{a0}1111\u{a0}1111\u{a0}1111"),
            ("4111\u{200b}1111\u{200b}11111111", "visa:16:4111\u{200b}1111\u{200b}11111111"),
            ("３７８２８２２４６３１０００５", "amex:15:３７８２８２２４６３１０００５"),
            ("3782-822463-10005", "amex:15:3782-822463-10005"),
            ("3056-930902-5904", "diners:14:3056-930902-5904"),
            ("PAN4111111111111111", "visa:16:4111111111111111"),
            ("pan=4111111111111111&x", "visa:16:4111111111111111"),
            ("4111111111111111-deadbeef.example", "visa:16:4111111111111111"),
            ("card-5555555555554444-", "mastercard:16:5555555555554444"),
            ("4111111111111111=25121010000", "visa:16:4111111111111111"),
            ("12-4111-1111-1111-1111-3", "visa:16:4111-1111-1111-1111"),
        ] {
            assert_eq!(marks(text), [want], "`{text}`");
        }
    }

    #[test]
    fn leaves_other_numbers_alone() {
        for text in [
            "",
            "4111111111111112",                // check digit
            "41111111111111110",               // longer
            "4111-1111 1111-1111",             // two kinds of separator
            "4-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1", // groups of one
            "41-11-11-11-11-11-11-11",         // groups of two
            "10.20.3.77",
            "192.168.100.200",
            "255.255.255.255",
            "2001:db8:4111:1111:1111:1111::1",
            "1763763412",
            "1763763412345",
            "1763763412345678",
            "1763763412345678901",
            "2026-11-21T22:30:45.123456Z",
            "20261121223045",
            "3b4111111111111111a0c9e7d5f2b1a6", // hexadecimal, 32
            "4111111111111111abcdef0123456789",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "018f4111-1111-7111-8111-411111111111", // UUID-like, but its letter makes it one
            "+1 800 555 1234",
        ] {
            assert!(marks(text).is_empty(), "`{text}`: {:?}", marks(text));
        }
    }

    #[test]
    fn finds_every_one_of_several() {
        assert_eq!(
            marks("4111111111111111,378282246310005 5555555555554444"),
            ["visa:16:4111111111111111", "amex:15:378282246310005", "mastercard:16:5555555555554444"]
        );
    }

    #[test]
    fn stays_linear_on_long_runs() {
        for unit in ["4", "4-", "411-", "4111111111111112 ", "a4111111111111111", "％2"] {
            assert!(marks(&unit.repeat(100_000 / unit.len())).len() < 100_000, "`{unit}`");
        }
    }
}
