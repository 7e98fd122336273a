//! Finds card numbers in text: bare or in groups, ASCII or full-width digits. Pure, linear in the text.
//! Not here: decoding (what is percent-encoded, base64 or compressed is not written to records at all).
//! Source: ISO/IEC 7812 (up to 19 digits); how card numbers are printed (groups of three and more).

use super::issuer;

/// Digits of the shortest card number. Maestro once had some of 12, gone for years; what has 12 digits today are the
/// account ids in the names of cloud hosts, and one in 140 of those would be refused as a card number.
pub(super) const MIN_DIGITS: usize = 13;

/// Digits of the longest card number.
const MAX_DIGITS: usize = 19;

/// Digits of the shortest group that counts as a part: less would join the parts of addresses and dates.
const MIN_GROUP: usize = 3;

/// How often a separator may stand between two groups.
const MAX_WIDTH: usize = 3;

/// From this length on hexadecimal digits in a row are an identifier (MD5 and UUIDs without dashes have 32).
const HEX_LENGTH: usize = 32;

/// A UUID: 8-4-4-4-12 (RFC 9562).
const UUID_LENGTH: usize = 36;

/// What counts as a card number. A text that holds none by the strict form holds none by the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strength {
    /// For names of destinations: a number counts whatever touches it, for whoever asks for a name can put anything beside it.
    Strict,
    /// For other text, which holds identifiers by the thousand: not the digits of a UUID, nor of hexadecimal runs of [`HEX_LENGTH`].
    Text,
}

/// Where a card number stands (bytes), whose it is, and its digits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) brand: &'static str,
    pub(super) digits: usize,
}

/// The card numbers in `text`, from the left, the longest at each place, without overlaps.
pub(super) fn find(text: &str, strength: Strength) -> Vec<Hit> {
    let groups = groups(text);
    let mut hits = Vec::new();
    let mut rest = groups.as_slice();
    while let Some((first, others)) = rest.split_first() {
        match longest(text, strength, first, others) {
            Some((hit, used)) => {
                hits.push(hit);
                rest = others.get(used..).unwrap_or_default();
            }
            None => rest = others,
        }
    }
    hits
}

/// What stands instead of a card number.
pub(super) fn mark(brand: &str, digits: usize) -> String {
    format!("[PAN:{brand}:{digits}]")
}

/// Every mark that there is.
pub(super) fn marks() -> impl Iterator<Item = String> {
    issuer::kinds().map(|(brand, digits)| mark(brand, digits))
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
fn longest(text: &str, strength: Strength, first: &Group, others: &[Group]) -> Option<(Hit, usize)> {
    let counts = |hit: &Hit| strength == Strength::Strict || !in_identifier(text.as_bytes(), hit.start, hit.end);
    let mut number = first.digits.clone();
    let mut best = whole(first.start, first.end, &number).filter(counts).map(|hit| (hit, 0));
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
        best = whole(first.start, group.end, &number).filter(counts).map(|hit| (hit, used)).or(best);
        before = group;
    }
    best
}

fn whole(start: usize, end: usize, number: &[u8]) -> Option<Hit> {
    if !(MIN_DIGITS..=MAX_DIGITS).contains(&number.len()) {
        return None;
    }
    let brand = issuer::brand(number)?;
    Some(Hit { start, end, brand, digits: number.len() })
}

/// Whether `start..end` is a piece of a UUID or of a long hexadecimal run.
fn in_identifier(text: &[u8], start: usize, end: usize) -> bool {
    in_hex_run(text, start, end) || in_uuid(text, start, end)
}

fn in_hex_run(text: &[u8], start: usize, end: usize) -> bool {
    let inside = text.get(start..end).unwrap_or_default();
    let before = text.get(..start).unwrap_or_default().iter().rev().take(HEX_LENGTH);
    let after = text.get(end..).unwrap_or_default().iter().take(HEX_LENGTH);
    let outside = [before.take_while(is_hex).count(), after.take_while(is_hex).count()];
    inside.iter().all(|byte| is_hex(&byte))
        && outside.into_iter().fold(inside.len(), usize::saturating_add) >= HEX_LENGTH
}

/// Every place where a UUID that holds `start..end` can begin is tried.
fn in_uuid(text: &[u8], start: usize, end: usize) -> bool {
    (end.saturating_sub(UUID_LENGTH)..=start).any(|begin| {
        let end = begin.saturating_add(UUID_LENGTH);
        let alone = !begin.checked_sub(1).and_then(|before| text.get(before)).is_some_and(|byte| is_hex(&byte))
            && !text.get(end).is_some_and(|byte| is_hex(&byte));
        alone && text.get(begin..end).is_some_and(is_uuid)
    })
}

/// One of digits alone may as well be a number.
fn is_uuid(word: &[u8]) -> bool {
    let fits = |(at, byte): (usize, &u8)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    word.iter().enumerate().all(fits) && word.iter().any(u8::is_ascii_alphabetic)
}

fn is_hex(byte: &&u8) -> bool {
    byte.is_ascii_hexdigit()
}

#[cfg(test)]
#[path = "card_tests.rs"]
mod tests;
