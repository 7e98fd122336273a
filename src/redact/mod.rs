//! Text from peers made fit for records and logs: no card numbers, no private fields, no control characters, bounded. Pure.
//! Not here: which fields a record has, what is refused for what was found (`decision_log`, `policy`).
//! Source: PCI DSS 3.4.1, 3.5.1, 10.3; ISO/IEC 7812 (card numbers); Unicode Standard Annex 9 (bidirectional controls).
//!
//! | where | what |
//! |---|---|
//! | `gist` `scan` | one cheap pass that tells what a text can hold; every detector over the text and its decoded forms |
//! | `decode` `packed` | percent-encoding, escapes, entities, full-width forms; base64 and hexadecimal digits |
//! | `card` `issuer` `near` `track` | card numbers, whose they are, what stands beside them, tracks and chip data |
//! | `key` `names` `private` `place` `value` `strings` `prose` `option` | values by the names of their fields: ours, the configuration's; where a value stands and ends; what only reads like one |
//! | `word` `account` `credential` `api_key` `pattern` | what is told in words; SSN, IBAN; credentials by form; keys by issuer; the configuration's patterns |
//! | `kind` | what can be found, and its mark |
//! | `span` `stream` `open` `counts` | texts that come in pieces, for files |
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod account;
mod api_key;
mod card;
mod counts;
mod credential;
mod decode;
mod gist;
mod issuer;
mod key;
mod kind;
mod names;
mod near;
mod open;
mod option;
mod packed;
mod pattern;
mod place;
mod private;
mod prose;
mod scan;
mod span;
mod stream;
mod strings;
#[cfg(test)]
mod testing;
mod track;
mod value;
mod word;

use std::fmt::{self, Write as _};

use serde::Serialize;

use card::Strength;
pub use counts::Counts;
use kind::{Hit, Kind};
pub use pattern::{Pattern, PatternError};
use private::Fields;
pub use private::{FieldName, FieldNameError};
use scan::Rules;
pub use stream::{Find, MAX_WINDOW, Piece, Place, Stream};

/// Text that has been cleaned, its only door: valid UTF-8, no control characters, no card numbers, no values of
/// private fields, at most as many bytes as the caller's limit. The only text from peers that records and logs accept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Redacted(Box<str>);

impl Redacted {
    /// The cleaned text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same text in at most `limit` bytes; what had to be cut ends in `…` and is a name's, so cleaned as one.
    pub fn shortened(&self, limit: usize) -> Redacted {
        if self.0.len() <= limit { self.clone() } else { clean_name(self.0.as_bytes(), limit).text }
    }
}

impl fmt::Display for Redacted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// What changed a text. What each stands for is described with its mark in `docs/operators.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detector {
    /// A card number: Luhn-valid, of a known issuer range and length. Replaced by `[PAN:visa:16]`.
    CardNumber,
    /// A card's security code, by its name or beside a card number. Erased.
    SecurityCode,
    /// A PIN or PIN block, by its name. Erased.
    Pin,
    /// Track 1 or 2, or the chip's copy. Erased.
    Track,
    /// Expiry date or cardholder's name. Erased.
    Holder,
    /// A social security number of the United States. Replaced by `[SSN]`.
    Ssn,
    /// An international bank account number. Replaced by `[IBAN:DE:22]`.
    Iban,
    /// The credentials of an `Authorization` header or a URL. Erased; the scheme stays.
    Credential,
    /// The value of a cookie. Erased; its name stays.
    Cookie,
    /// A JSON web token. Replaced by `[JWT]`.
    Jwt,
    /// An API key by its issuer's form. Replaced by `[key:aws]`.
    ApiKey,
    /// The value of a field whose name says that it is secret. Erased.
    Secret,
    /// The value of a field that the configuration calls private. Replaced by `[private:NAME]`.
    PrivateField,
    /// A match of a pattern of the configuration. Replaced by `[pattern:NAME]`.
    Pattern,
    /// Text that could not be made fit to be written in a bounded time. All of it is left out.
    Withheld,
    /// Control, bidirectional and invisible format characters. Written as `\u{202e}`.
    Control,
    /// Bytes that are not UTF-8. Written as `\x{ff}`.
    InvalidUtf8,
    /// More bytes than the limit. Cut; the last character is `…`.
    TooLong,
}

impl Detector {
    /// Every detector, in the order in which [`Found`] lists them.
    pub const ALL: [Detector; 18] = [
        Detector::CardNumber,
        Detector::SecurityCode,
        Detector::Pin,
        Detector::Track,
        Detector::Holder,
        Detector::Ssn,
        Detector::Iban,
        Detector::Credential,
        Detector::Cookie,
        Detector::Jwt,
        Detector::ApiKey,
        Detector::Secret,
        Detector::PrivateField,
        Detector::Pattern,
        Detector::Withheld,
        Detector::Control,
        Detector::InvalidUtf8,
        Detector::TooLong,
    ];

    /// The word for it in records (`redacted`) and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Detector::CardNumber => "pan",
            Detector::SecurityCode => "security_code",
            Detector::Pin => "pin",
            Detector::Track => "track",
            Detector::Holder => "holder",
            Detector::Ssn => "ssn",
            Detector::Iban => "iban",
            Detector::Credential => "credential",
            Detector::Cookie => "cookie",
            Detector::Jwt => "jwt",
            Detector::ApiKey => "api_key",
            Detector::Secret => "secret",
            Detector::PrivateField => "private_field",
            Detector::Pattern => "pattern",
            Detector::Withheld => "withheld",
            Detector::Control => "control",
            Detector::InvalidUtf8 => "utf8",
            Detector::TooLong => "length",
        }
    }

    fn bit(self) -> u32 {
        1_u32.wrapping_shl(self as u32)
    }
}

/// A set of detectors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found(u32);

impl Found {
    /// Whether nothing was changed.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `detector` changed the text.
    pub fn contains(self, detector: Detector) -> bool {
        self.0 & detector.bit() != 0
    }

    /// The detectors that changed the text, in the order of [`Detector::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Detector> {
        Detector::ALL.into_iter().filter(move |detector| self.contains(*detector))
    }

    fn insert(&mut self, detector: Detector) {
        self.0 |= detector.bit();
    }
}

/// A text and what was done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleaned {
    /// The text as it may be written.
    pub text: Redacted,
    /// What was changed.
    pub found: Found,
}

/// Makes free text fit to be written, in at most `limit` bytes. Cleaning what is clean changes nothing; for short printable
/// text with nothing that a detector looks at it costs one pass and one allocation. Digits within identifiers (UUIDs, 20
/// and more hexadecimal digits) are left: names of destinations go through [`clean_name`].
pub fn clean(raw: &[u8], limit: usize) -> Cleaned {
    cleaned(raw, limit, Strength::Text, &Rules::NONE)
}

/// Like [`clean`], for names of destinations (targets, SNI): a card number is one whatever touches it.
pub fn clean_name(raw: &[u8], limit: usize) -> Cleaned {
    cleaned(raw, limit, Strength::Strict, &Rules::NONE)
}

/// Digits from which on a card number in a name refuses the request. Those of 12 are marked in records, but refuse nothing:
/// the account ids in the names of cloud hosts have 12, and one in 140 of them would be taken for a card of Maestro.
const REFUSED_DIGITS: usize = 13;

/// Whether the name of a destination holds a card number of 13 digits and more, by the detector of [`clean_name`].
pub fn holds_card_number(name: &str) -> bool {
    let is_card = |hit: &Hit<'_>| {
        hit.kind == Kind::Track || matches!(hit.kind, Kind::Card { digits, .. } if digits >= REFUSED_DIGITS)
    };
    scan::find(name.as_bytes(), Strength::Strict, &Rules::NONE).iter().any(is_card)
}

/// Cleans like [`clean`] and [`clean_name`], and hides what the configuration calls private as well.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    rules: Rules,
}

impl Redactor {
    /// With the private fields and the patterns of the configuration; without any it is [`clean`] and costs no more.
    pub fn new(private_fields: &[FieldName], patterns: &[Pattern]) -> Self {
        Self { rules: Rules { fields: Fields::new(private_fields), patterns: patterns.to_vec() } }
    }

    /// Makes free text fit to be written.
    pub fn clean(&self, raw: &[u8], limit: usize) -> Cleaned {
        cleaned(raw, limit, Strength::Text, &self.rules)
    }

    /// Makes the name of a destination fit to be written.
    pub fn clean_name(&self, raw: &[u8], limit: usize) -> Cleaned {
        cleaned(raw, limit, Strength::Strict, &self.rules)
    }
}

/// Fuzz entry: cleaning must not panic, what it leaves must be fit to be written, and stay as it is.
pub fn fuzz(raw: &[u8]) {
    let names = ["account", "pan", "private", "a"].iter().filter_map(|name| name.parse().ok());
    let names: Vec<FieldName> = names.collect();
    let patterns = ["ORD-[0-9]{4}", "4{3}.*;"].iter().filter_map(|text| Pattern::new("a".parse().ok()?, text).ok());
    let patterns: Vec<Pattern> = patterns.collect();
    for Redactor { rules } in [Redactor::default(), Redactor::new(&names, &patterns)] {
        for (strength, limit) in
            [(Strength::Text, raw.len()), (Strength::Text, 40), (Strength::Strict, raw.len()), (Strength::Strict, 40)]
        {
            let once = cleaned(raw, limit, strength, &rules).text;
            let left = scan::find(once.0.as_bytes(), strength, &rules);
            assert!(once.0.len() <= limit && left.is_empty(), "not fit to be written: {once}");
            let twice = cleaned(once.0.as_bytes(), limit, strength, &rules);
            assert!(twice.text == once && twice.found.is_empty(), "`{once}` is cleaned to `{}`", twice.text);
        }
    }
}

/// Stands at the end of what was cut.
const CUT: char = '…';

/// How often a text is gone through until nothing is found in what was written of it: a mark or a cut can lay bare what an
/// identifier hid, or take a quotation mark away. What takes longer was made to.
const MAX_ROUNDS: usize = 6;

/// Stands for a text that could not be made fit in [`MAX_ROUNDS`].
const WITHHELD: &str = "[withheld]";

fn cleaned(raw: &[u8], limit: usize, strength: Strength, rules: &Rules) -> Cleaned {
    let mut found = Found::default();
    let mut hits = scan::find(raw, strength, rules);
    if hits.is_empty()
        && raw.len() <= limit
        && raw.iter().all(|byte| (0x20..=0x7e).contains(byte))
        && let Ok(text) = str::from_utf8(raw)
    {
        return Cleaned { text: Redacted(text.into()), found };
    }
    let mut text = written(raw, &hits, &mut found);
    cut(&mut text, limit, &mut found);
    for _ in 0..MAX_ROUNDS {
        hits = scan::find(text.as_bytes(), strength, rules);
        if hits.is_empty() {
            return Cleaned { text: Redacted(text.into()), found };
        }
        text = written(text.as_bytes(), &hits, &mut found);
        cut(&mut text, limit, &mut found);
    }
    found.insert(Detector::Withheld);
    let withheld = if WITHHELD.len() <= limit { WITHHELD } else { "" };
    Cleaned { text: Redacted(withheld.into()), found }
}

/// `raw` with marks in the place of what was found in it, and control characters and invalid bytes written out.
fn written(raw: &[u8], hits: &[Hit<'_>], found: &mut Found) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut from = 0;
    for hit in hits {
        found.insert(hit.kind.detector());
        copy(raw.get(from..hit.start).unwrap_or_default(), &mut out, found);
        let quotation = kind::quotation(raw, hit.start, hit.end);
        let _ = write!(out, "{quotation}{}{quotation}", hit.kind);
        from = hit.end;
    }
    copy(raw.get(from..).unwrap_or_default(), &mut out, found);
    out
}

fn copy(raw: &[u8], out: &mut String, found: &mut Found) {
    for chunk in raw.utf8_chunks() {
        escape(chunk.valid(), out, found);
        for byte in chunk.invalid() {
            found.insert(Detector::InvalidUtf8);
            let _ = write!(out, "\\x{{{byte:x}}}");
        }
    }
}

fn escape(text: &str, out: &mut String, found: &mut Found) {
    for c in text.chars() {
        if is_hidden(c) {
            found.insert(Detector::Control);
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
}

/// Characters that move the cursor, reorder what stands around them, end a line somewhere, or show nothing.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Cuts `text` to `limit` bytes with [`CUT`] as its end, if that fits. A mark stays whole or goes: a piece of one would be
/// taken for a value.
fn cut(text: &mut String, limit: usize, found: &mut Found) {
    if text.len() <= limit {
        return;
    }
    found.insert(Detector::TooLong);
    let room = text.floor_char_boundary(limit.saturating_sub(CUT.len_utf8()));
    let bytes = text.as_bytes();
    let is_split = |start: &usize| {
        let mark = bytes.get(*start..).and_then(kind::mark);
        mark.is_some_and(|length| start.saturating_add(length) > room)
    };
    let end = (room.saturating_sub(kind::MAX_MARK)..room).find(is_split).unwrap_or(room);
    text.truncate(end);
    if CUT.len_utf8() <= limit {
        text.push(CUT);
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod text_tests;
