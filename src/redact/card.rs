//! Finds card numbers in text: bare or in groups. Pure, linear in the text.
//! Not here: other forms of digits (`decode`, `packed`), tracks (`track`), what stands beside a number (`near`).
//! Source: ISO/IEC 7812 (up to 19 digits); how card numbers are printed (groups of three and more); E.164 (telephone numbers).

use std::ops::Range;

use super::kind::{Hit, Kind};
use super::{gist, issuer};

/// Digits of the shortest card number.
pub(super) const MIN_DIGITS: usize = gist::MIN_DIGITS;

/// Digits of the longest card number.
const MAX_DIGITS: usize = 19;

/// Digits of the shortest group that counts as a part: less would join the parts of addresses and dates.
const MIN_GROUP: usize = 3;

/// From this length on a number in one piece is not read on into the next group: those are printed in short ones.
const ONE_PIECE: usize = 13;

/// Digits of the shortest number that is looked for behind zeros.
const MIN_PADDED: usize = 15;

/// How often a separator may stand between two groups.
const MAX_WIDTH: usize = 3;

/// From this length on hexadecimal digits in a row, with a letter among them, are an identifier...
const HEX_LENGTH: usize = 20;

/// ...if so many of them are not the number's.
const HEX_OTHERS: usize = 4;

/// A shorter length at which hexadecimal digits that stand alone are one too: 64 bits, such as a span's id (W3C Trace Context).
const HEX_WORD: usize = 16;

/// ...if more than one of them is not the number's: one letter may as well stand before a number of 15 digits.
const HEX_WORD_OTHERS: usize = 2;

/// Identifiers of hexadecimal digits in groups: how long they are, and where their dashes stand.
const SHAPES: [(usize, &[usize]); 2] = [
    (36, &[8, 13, 18, 23]), // a UUID (RFC 9562)
    (55, &[2, 35, 52]),     // a `traceparent` (W3C Trace Context)
];

/// Digits of the longest telephone number in use with its country's code (E.164 has room for 15; none is longer than 13).
const MAX_TELEPHONE: usize = 13;

/// Digits before the point of what is taken for a decimal fraction.
const MAX_INTEGER: usize = 3;

/// What counts as a card number. A text that holds none by the strict form holds none by the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strength {
    /// For names of destinations: a number counts whatever touches it, for whoever asks for a name can put anything beside it.
    Strict,
    /// For other text, which holds numbers of other kinds by the thousand: not the digits of a UUID, nor of hexadecimal runs of
    /// [`HEX_LENGTH`], nor of a telephone number with its `+`, nor of a decimal fraction.
    Text,
}

/// Appends the card numbers in a `piece` of `text`: at each group of digits the longest number that begins there. They may overlap.
pub(super) fn find(text: &[u8], piece: Range<usize>, strength: Strength, hits: &mut Vec<Hit<'_>>) {
    let groups = groups(text, piece);
    let mut rest = groups.as_slice();
    while let Some((first, others)) = rest.split_first() {
        hits.extend(longest(text, strength, first, others).or_else(|| unpadded(text, strength, first)));
        rest = others;
    }
}

/// Digits that stand together.
struct Group {
    start: usize,
    end: usize,
    /// What stands between this group and the next, if that is a separator alone: which one, and how often.
    joint: Option<(u8, usize)>,
}

impl Group {
    fn digits(&self) -> usize {
        self.end.saturating_sub(self.start)
    }
}

/// The groups of [`MIN_GROUP`] digits and more.
fn groups(text: &[u8], piece: Range<usize>) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut at = piece.start;
    while let Some(gap) = text.get(at..piece.end).and_then(|rest| rest.iter().position(u8::is_ascii_digit)) {
        let start = at.saturating_add(gap);
        let digits = run(text, start, u8::is_ascii_digit);
        let end = start.saturating_add(digits);
        let joint = joint(text, end);
        if digits >= MIN_GROUP {
            groups.push(Group { start, end, joint: joint.map(|(separator, count, _)| (separator, count)) });
        }
        at = joint.map_or(end, |(_, _, next)| next);
    }
    groups
}

/// How many bytes from `start` on are of a kind.
fn run(text: &[u8], start: usize, of: impl Fn(&u8) -> bool) -> usize {
    text.get(start..).unwrap_or_default().iter().take_while(|byte| of(byte)).count()
}

/// The separators at `end`, all of one kind, if a digit follows them: which one, how many, and where that digit stands.
fn joint(text: &[u8], end: usize) -> Option<(u8, usize, usize)> {
    let separator = *text.get(end).filter(|byte| gist::is_separator(**byte))?;
    let count = run(text, end, |byte| *byte == separator);
    let next = end.saturating_add(count);
    (count <= MAX_WIDTH && text.get(next)?.is_ascii_digit()).then_some((separator, count, next))
}

/// The longest card number that begins with `first`.
fn longest<'r>(text: &[u8], strength: Strength, first: &Group, others: &[Group]) -> Option<Hit<'r>> {
    let mut number = Number::default();
    number.append(text, first)?;
    let mut best = whole(text, strength, (first.start, first.end), &number);
    if best.is_some() && number.length >= ONE_PIECE {
        return best;
    }
    let mut before = first;
    for group in others {
        let width = before.joint.map_or(0, |(_, count)| count);
        let apart =
            before.joint.is_none() || before.joint != first.joint || group.start != before.end.saturating_add(width);
        if apart || number.append(text, group).is_none() {
            break;
        }
        best = whole(text, strength, (first.start, group.end), &number).or(best);
        before = group;
    }
    best
}

/// The card number that zeros pad to a fixed width, in one piece that stands alone. Telephone numbers with `00` are shorter than [`MIN_PADDED`].
fn unpadded<'r>(text: &[u8], strength: Strength, group: &Group) -> Option<Hit<'r>> {
    let zeros = run(text, group.start, |byte| *byte == b'0').min(group.digits());
    let start = group.start.saturating_add(zeros);
    let mut number = Number::default();
    number.append(text, &Group { start, end: group.end, joint: None })?;
    let beside = [group.start.checked_sub(1).and_then(|at| text.get(at)), text.get(group.end)];
    let touched = beside.into_iter().flatten().any(u8::is_ascii_alphanumeric);
    if zeros == 0 || number.length < MIN_PADDED || touched {
        return None;
    }
    // What touches the zeros touches the number.
    whole(text, strength, (group.start, group.end), &number).map(|hit| Hit { start, ..hit })
}

/// The digits of groups, one behind the other.
#[derive(Default)]
struct Number {
    digits: [u8; MAX_DIGITS],
    length: usize,
}

impl Number {
    /// Takes a group's digits; nothing if they are too many.
    fn append(&mut self, text: &[u8], group: &Group) -> Option<()> {
        let length = self.length.checked_add(group.digits())?;
        let room = self.digits.get_mut(self.length..length)?;
        let digits = text.get(group.start..group.end)?;
        for (place, byte) in room.iter_mut().zip(digits) {
            *place = byte.wrapping_sub(b'0');
        }
        self.length = length;
        Some(())
    }
}

fn whole<'r>(text: &[u8], strength: Strength, (start, end): (usize, usize), number: &Number) -> Option<Hit<'r>> {
    let digits = number.digits.get(..number.length).filter(|digits| digits.len() >= MIN_DIGITS)?;
    let brand = issuer::brand(digits)?;
    let counts = strength == Strength::Strict || !is_something_else(text, start, end, digits.len());
    counts.then_some(Hit { start, end, kind: Kind::Card { brand, digits: digits.len() } })
}

fn is_something_else(text: &[u8], start: usize, end: usize, digits: usize) -> bool {
    in_hex_run(text, start, end)
        || SHAPES.iter().any(|shape| in_shape(text, start, end, shape))
        || is_telephone(text, start, digits)
        || is_fraction(text, start, end)
}

/// Whether `start..end` is a piece of a long hexadecimal run.
fn in_hex_run(text: &[u8], start: usize, end: usize) -> bool {
    let inside = text.get(start..end).unwrap_or_default();
    let before = || text.get(..start).unwrap_or_default().iter().rev().take(HEX_LENGTH).take_while(is_hex);
    let after = || text.get(end..).unwrap_or_default().iter().take(HEX_LENGTH).take_while(is_hex);
    let length = before().count().saturating_add(after().count()).saturating_add(inside.len());
    let touched =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() && !byte.is_ascii_hexdigit());
    let alone = || {
        let first = start.saturating_sub(before().count());
        !touched(first.checked_sub(1).and_then(|at| text.get(at)))
            && !touched(text.get(end.saturating_add(after().count())))
    };
    let others = length.saturating_sub(inside.len());
    (length >= HEX_LENGTH && others >= HEX_OTHERS || length == HEX_WORD && others >= HEX_WORD_OTHERS && alone())
        && inside.iter().all(u8::is_ascii_digit)
        && before().chain(after()).any(u8::is_ascii_alphabetic)
}

/// Every place where an identifier that holds `start..end` can begin is tried.
fn in_shape(text: &[u8], start: usize, end: usize, (length, dashes): &(usize, &[usize])) -> bool {
    (end.saturating_sub(*length)..=start).any(|begin| {
        let end = begin.saturating_add(*length);
        let alone = !begin.checked_sub(1).and_then(|before| text.get(before)).is_some_and(|byte| is_hex(&byte))
            && !text.get(end).is_some_and(|byte| is_hex(&byte));
        alone && text.get(begin..end).is_some_and(|word| is_of_shape(word, dashes))
    })
}

/// One of digits alone may as well be a number.
fn is_of_shape(word: &[u8], dashes: &[usize]) -> bool {
    let fits = |(at, byte): (usize, &u8)| if dashes.contains(&at) { *byte == b'-' } else { byte.is_ascii_hexdigit() };
    word.iter().enumerate().all(fits) && word.iter().any(u8::is_ascii_alphabetic)
}

/// Whether a `+` makes a telephone number of it; not one that stands for a blank, as behind `=` and between words.
fn is_telephone(text: &[u8], start: usize, digits: usize) -> bool {
    let before = text.get(..start).unwrap_or_default();
    digits <= MAX_TELEPHONE
        && match before {
            [.., before, b'+'] => !before.is_ascii_alphanumeric() && *before != b'=',
            [b'+'] => true,
            _ => false,
        }
}

/// Whether it stands in one piece behind the point of a decimal number.
fn is_fraction(text: &[u8], start: usize, end: usize) -> bool {
    let Some((b'.', before)) = text.get(..start).and_then(<[u8]>::split_last).map(|(point, before)| (*point, before))
    else {
        return false;
    };
    let integer =
        before.iter().rev().take(MAX_INTEGER.saturating_add(1)).take_while(|byte| byte.is_ascii_digit()).count();
    let outside = before.len().checked_sub(integer).and_then(|at| before.get(..at)).and_then(<[u8]>::last);
    let follows = text.get(end..).unwrap_or_default();
    (1..=MAX_INTEGER).contains(&integer)
        && text.get(start..end).is_some_and(|piece| piece.iter().all(u8::is_ascii_digit))
        && !outside.is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_'))
        && !matches!(follows, [b'.', ..])
}

fn is_hex(byte: &&u8) -> bool {
    byte.is_ascii_hexdigit()
}

#[cfg(test)]
#[path = "card_tests.rs"]
mod tests;
