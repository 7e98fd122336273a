//! What a text can hold at all, from one pass over its bytes: the cheap test before every detector. Pure.
//! Not here: finding anything. What this test does not see, no detector has to look for.
//! Source: bit-parallel matching of short patterns (Baeza-Yates and Gonnet, 1992): one bit a place of a pattern.

use std::ops::Range;

/// Digits of the shortest card number: Maestro has some of 12.
pub(super) const MIN_DIGITS: usize = CARD_DIGITS as usize;
const CARD_DIGITS: u32 = 12;

/// Digits of a run that is kept already: far from [`CARD_DIGITS`], however many follow.
const COUNTED: u32 = 1 << 31;

/// Four characters that carry three bytes of a card number in base64: for each of the four, those that can stand there
/// if every byte is a digit or a separator (a blank, `-`, `.`, `_`, `+`).
const PACKED: [&[u8]; 4] = [b"IKLMNOX", b"CDFSTVijlyz1", b"ABEFIJMNQRUVYZcdghklst014589", b"fgrtuwxyz012345"];

/// Characters of base64 of which so many in a row must fit: nine digits of a card number, wherever the first one falls.
const PACKED_PLACES: u32 = 12;

/// Hexadecimal digits of which so many in a row must fit: five digits or separators.
const HEX_PLACES: u32 = 10;

/// The head of an international bank account number: what is no part of a word, two letters, two digits, and four more of
/// either, the first of which may be a blank.
const ACCOUNT_PLACES: u32 = 9;

/// The sign in the middle of track 2 with four digits before it, and a year and a month behind it.
const TRACK_PLACES: u32 = 9;

/// The tag 5A with its length.
const TAG_PLACES: u32 = 4;

/// A social security number with its dashes but for the last digit.
const DASHED_PLACES: u32 = 10;

const PACKED_AT: u32 = 0;
const HEX_AT: u32 = PACKED_AT + PACKED_PLACES;
const ACCOUNT_AT: u32 = HEX_AT + HEX_PLACES;
const TRACK_AT: u32 = ACCOUNT_AT + ACCOUNT_PLACES;
const TAG_AT: u32 = TRACK_AT + TRACK_PLACES;
const DASHED_AT: u32 = TAG_AT + TAG_PLACES;
const PERCENT_AT: u32 = DASHED_AT + DASHED_PLACES;
const ESCAPE_AT: u32 = PERCENT_AT + 3;
const ENTITY_AT: u32 = ESCAPE_AT + 1;
const WIDE_AT: u32 = ENTITY_AT + 2;
const SIGN_AT: u32 = WIDE_AT + 1;
const BREAK_AT: u32 = SIGN_AT + 1;

/// The first place of each pattern: a match may begin at every byte.
const FIRST: u64 = 1 << PACKED_AT
    | 1 << HEX_AT
    | 1 << ACCOUNT_AT
    | 1 << TRACK_AT
    | 1 << TAG_AT
    | 1 << DASHED_AT
    | 1 << PERCENT_AT
    | 1 << ESCAPE_AT
    | 1 << ENTITY_AT
    | 1 << WIDE_AT
    | 1 << SIGN_AT
    | 1 << BREAK_AT;

/// What stands before a text's first byte: no part of a word.
const START: u64 = 1 << ACCOUNT_AT;

const PACKED_END: u64 = 1 << (HEX_AT - 1);
const HEX_END: u64 = 1 << (ACCOUNT_AT - 1);
const ACCOUNT_END: u64 = 1 << (TRACK_AT - 1);
const TRACK_END: u64 = 1 << (TAG_AT - 1);
const TAG_END: u64 = 1 << (DASHED_AT - 1);
const DASHED_END: u64 = 1 << (PERCENT_AT - 1);
const ENCODED_END: u64 = 1 << (ESCAPE_AT - 1) | 1 << ESCAPE_AT | 1 << (WIDE_AT - 1) | 1 << WIDE_AT;
const SIGN_END: u64 = 1 << SIGN_AT;
const BREAK_END: u64 = 1 << BREAK_AT;
const DIGIT_END: u64 = 1 << TRACK_AT;

/// For each byte, the places of all patterns at which it may stand.
const PLACES: [u64; 256] = places();

/// Runs of digits whose places are kept: what comes behind them is searched as a whole.
const MAX_RUNS: usize = 8;

/// For each byte: 1 for a digit.
const DIGIT: [u32; 256] = digits();

/// For each byte: all ones if it leaves a run of digits going.
const KEEPS: [u32; 256] = keeps();

/// What a text can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gist {
    seen: u64,
    /// How many runs have as many digits as a card number, and where the first ones come to so many.
    runs: usize,
    places: [usize; MAX_RUNS],
}

impl Gist {
    pub(super) fn of(text: &[u8]) -> Self {
        let (mut at, mut seen) = (START, 0_u64);
        let (mut digits, mut runs, mut places) = (0_u32, 0_usize, [0; MAX_RUNS]);
        for (place, byte) in text.iter().enumerate() {
            let byte = usize::from(*byte);
            at = ((at << 1) | FIRST) & PLACES.get(byte).copied().unwrap_or_default();
            seen |= at;
            let kept = digits & KEEPS.get(byte).copied().unwrap_or_default();
            digits = kept.wrapping_add(DIGIT.get(byte).copied().unwrap_or_default());
            if digits == CARD_DIGITS {
                if let Some(kept) = places.get_mut(runs) {
                    *kept = place;
                }
                runs = runs.saturating_add(1);
                digits = COUNTED;
            }
        }
        Self { seen, runs, places }
    }

    /// Where there may be a card number: pieces of `text`, from the left, apart.
    pub(super) fn digit_runs(self, text: &[u8]) -> impl Iterator<Item = Range<usize>> {
        (0..self.runs.min(MAX_RUNS)).map(move |at| {
            let place = self.places.get(at).copied().unwrap_or_default();
            let before = text.get(..place).unwrap_or_default().iter().rev().take_while(|byte| is_of_a_run(**byte));
            let start = place.saturating_sub(before.count());
            if self.runs > MAX_RUNS && at.saturating_add(1) == MAX_RUNS {
                return start..text.len();
            }
            let behind = text.get(place..).unwrap_or_default().iter().take_while(|byte| is_of_a_run(**byte));
            start..place.saturating_add(behind.count())
        })
    }

    /// Whether there may be a card number.
    pub(super) fn has_digits(self) -> bool {
        self.runs > 0
    }

    /// Whether there may be digits in base64.
    pub(super) fn has_base64(self) -> bool {
        self.seen & PACKED_END != 0
    }

    /// Whether there may be digits as hexadecimal ASCII.
    pub(super) fn has_hex(self) -> bool {
        self.seen & HEX_END != 0
    }

    /// Whether there is something like the head of an international bank account number.
    pub(super) fn has_account(self) -> bool {
        self.seen & ACCOUNT_END != 0
    }

    /// Whether there is something like the middle of track 2.
    pub(super) fn has_track(self) -> bool {
        self.seen & TRACK_END != 0
    }

    /// Whether there is something like the tag 5A with its length.
    pub(super) fn has_tag(self) -> bool {
        self.seen & TAG_END != 0
    }

    /// Whether there is something like a social security number with dashes.
    pub(super) fn has_dashed(self) -> bool {
        self.seen & DASHED_END != 0
    }

    /// Whether there is a sign of percent-encoding, an escape, an entity, or a character that may stand for an ASCII one.
    pub(super) fn has_encoding(self) -> bool {
        self.seen & ENCODED_END != 0
    }

    /// Whether there is a sign that gives a name its value: `=`, `:`, or `>` behind a tag.
    pub(super) fn has_sign(self) -> bool {
        self.seen & SIGN_END != 0
    }

    /// Whether there is anything that a host name cannot have.
    pub(super) fn has_breaks(self) -> bool {
        self.seen & BREAK_END != 0
    }

    /// Whether there is a digit.
    pub(super) fn has_digit(self) -> bool {
        self.seen & DIGIT_END != 0
    }
}

/// What may stand between the groups of a card number.
pub(super) const fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'-' | b'.' | b'_' | b'+' | b'\t')
}

const fn is_of_a_run(byte: u8) -> bool {
    byte.is_ascii_digit() || is_separator(byte)
}

/// Where (one behind the last byte) [`PACKED_LENGTH`] bytes end that may be digits in base64.
pub(super) fn base64_ends(text: &[u8]) -> impl Iterator<Item = usize> {
    ends(text, PACKED_END)
}

/// Where (one behind the last byte) [`HEX_LENGTH`] bytes end that may be digits as hexadecimal ASCII.
pub(super) fn hex_ends(text: &[u8]) -> impl Iterator<Item = usize> {
    ends(text, HEX_END)
}

/// Where international bank account numbers may begin.
pub(super) fn accounts(text: &[u8]) -> impl Iterator<Item = usize> {
    // The place before the first letter is none of the number's.
    starts(text, ACCOUNT_END, ACCOUNT_PLACES - 1)
}

/// Where the signs in the middle of track 2 may stand.
pub(super) fn track_signs(text: &[u8]) -> impl Iterator<Item = usize> {
    starts(text, TRACK_END, TRACK_PLACES / 2 + 1)
}

/// Where the values of tags 5A may begin.
pub(super) fn tag_values(text: &[u8]) -> impl Iterator<Item = usize> {
    ends(text, TAG_END)
}

/// Where social security numbers with dashes may begin.
pub(super) fn dashed(text: &[u8]) -> impl Iterator<Item = usize> {
    starts(text, DASHED_END, DASHED_PLACES)
}

/// Bytes of what [`base64_ends`] and [`hex_ends`] tell the end of.
pub(super) const PACKED_LENGTH: usize = PACKED_PLACES as usize;
pub(super) const HEX_LENGTH: usize = HEX_PLACES as usize;

fn starts(text: &[u8], end: u64, length: u32) -> impl Iterator<Item = usize> {
    ends(text, end).filter_map(move |behind| behind.checked_sub(usize::try_from(length).ok()?))
}

fn ends(text: &[u8], end: u64) -> impl Iterator<Item = usize> {
    let mut at = START;
    text.iter().zip(1_usize..).filter_map(move |(byte, behind)| {
        at = ((at << 1) | FIRST) & PLACES.get(usize::from(*byte)).copied().unwrap_or_default();
        (at & end != 0).then_some(behind)
    })
}

#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "evaluated by the compiler, within 256")]
const fn places() -> [u64; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = places_of(byte as u8);
        byte += 1;
    }
    table
}

/// The places at which `byte` may stand.
const fn places_of(byte: u8) -> u64 {
    let mut places = packed_places(byte) | hex_places(byte) | account_places(byte) | dashed_places(byte);
    let (hex, digit) = (byte.is_ascii_hexdigit(), byte.is_ascii_digit());
    let single = [
        (digit, TRACK_AT),
        (digit, TRACK_AT + 1),
        (digit, TRACK_AT + 2),
        (digit, TRACK_AT + 3),
        (matches!(byte, b'=' | b'D' | b'd'), TRACK_AT + 4),
        (digit, TRACK_AT + 5),
        (digit, TRACK_AT + 6),
        (matches!(byte, b'0' | b'1'), TRACK_AT + 7),
        (digit, TRACK_AT + 8),
        (byte == b'5', TAG_AT),
        (matches!(byte, b'A' | b'a'), TAG_AT + 1),
        (byte == b'0', TAG_AT + 2),
        (matches!(byte, b'6'..=b'9' | b'A' | b'a'), TAG_AT + 3),
        (byte == b'%', PERCENT_AT),
        (hex, PERCENT_AT + 1),
        (hex, PERCENT_AT + 2),
        (byte == b'\\', ESCAPE_AT),
        (byte == b'&', ENTITY_AT),
        (byte == b'#' || byte.is_ascii_alphabetic(), ENTITY_AT + 1),
        (matches!(byte, 0 | 0xc2 | 0xe2 | 0xe3 | 0xef), WIDE_AT),
        (matches!(byte, b'=' | b':' | b'>'), SIGN_AT),
        (!(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')), BREAK_AT),
    ];
    let mut rest = single.as_slice();
    while let [(fits, place), others @ ..] = rest {
        if *fits {
            places |= 1 << *place;
        }
        rest = others;
    }
    places
}

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "evaluated by the compiler, within the set"
)]
const fn packed_places(byte: u8) -> u64 {
    let (mut places, mut place) = (0, 0);
    while place < PACKED_PLACES {
        let set = PACKED[place as usize % PACKED.len()];
        let mut at = 0;
        while at < set.len() {
            if set[at] == byte {
                places |= 1 << (PACKED_AT + place);
            }
            at += 1;
        }
        place += 1;
    }
    places
}

/// A byte's first hexadecimal digit is 3 for a digit, 2 or 5 for a separator.
#[expect(clippy::arithmetic_side_effects, reason = "evaluated by the compiler, within 64")]
const fn hex_places(byte: u8) -> u64 {
    let (mut places, mut place) = (0, 0);
    while place < HEX_PLACES {
        let fits = if place % 2 == 0 { matches!(byte, b'2' | b'3' | b'5') } else { byte.is_ascii_hexdigit() };
        if fits {
            places |= 1 << (HEX_AT + place);
        }
        place += 1;
    }
    places
}

#[expect(clippy::arithmetic_side_effects, reason = "evaluated by the compiler, within 64")]
const fn account_places(byte: u8) -> u64 {
    let (mut places, mut place) = (0, 0);
    while place < ACCOUNT_PLACES {
        let fits = match place {
            0 => !byte.is_ascii_alphanumeric(),
            1 | 2 => byte.is_ascii_alphabetic(),
            3 | 4 => byte.is_ascii_digit(),
            5 => byte.is_ascii_alphanumeric() || byte == b' ',
            _ => byte.is_ascii_alphanumeric(),
        };
        if fits {
            places |= 1 << (ACCOUNT_AT + place);
        }
        place += 1;
    }
    places
}

#[expect(clippy::arithmetic_side_effects, reason = "evaluated by the compiler, within 64")]
const fn dashed_places(byte: u8) -> u64 {
    let (mut places, mut place) = (0, 0);
    while place < DASHED_PLACES {
        let fits = if place == 3 || place == 6 { byte == b'-' } else { byte.is_ascii_digit() };
        if fits {
            places |= 1 << (DASHED_AT + place);
        }
        place += 1;
    }
    places
}

#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "evaluated by the compiler, within 256")]
const fn digits() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = b'0';
    while byte <= b'9' {
        table[byte as usize] = 1;
        byte += 1;
    }
    table
}

#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "evaluated by the compiler, within 256")]
const fn keeps() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        if is_of_a_run(byte as u8) {
            table[byte] = u32::MAX;
        }
        byte += 1;
    }
    table
}

#[cfg(test)]
#[path = "gist_tests.rs"]
mod tests;
