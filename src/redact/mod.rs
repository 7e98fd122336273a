//! Text from peers made fit for records and logs: no card numbers, no private fields, no control characters, bounded. Pure.
//! Not here: which fields a record has, what is refused for what was found (`decision_log`, `policy`).
//! Source: PCI DSS 3.4.1, 3.5.1, 10.3; ISO/IEC 7812 (card numbers); Unicode Standard Annex 9 (bidirectional controls).
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod card;
mod issuer;
mod private;

use std::fmt;

use serde::Serialize;

use card::Strength;
use private::Fields;
pub use private::{FieldName, FieldNameError};

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

/// What changed a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detector {
    /// A card number: Luhn-valid, of a known issuer range and length. Replaced by `[PAN:visa:16]`.
    CardNumber,
    /// The value of a field that the configuration calls private. Replaced by `[private:NAME]`.
    PrivateField,
    /// Control, bidirectional and invisible format characters. Written as `\u{202e}`.
    Control,
    /// Bytes that are not UTF-8. Written as `\x{ff}`.
    InvalidUtf8,
    /// More bytes than the limit. Cut; the last character is `…`.
    TooLong,
}

impl Detector {
    /// Every detector, in the order in which [`Found`] lists them.
    pub const ALL: [Detector; 5] =
        [Detector::CardNumber, Detector::PrivateField, Detector::Control, Detector::InvalidUtf8, Detector::TooLong];

    /// The word for it in records (`redacted`) and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Detector::CardNumber => "pan",
            Detector::PrivateField => "private_field",
            Detector::Control => "control",
            Detector::InvalidUtf8 => "utf8",
            Detector::TooLong => "length",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Detector::CardNumber => 1,
            Detector::Control => 2,
            Detector::InvalidUtf8 => 4,
            Detector::TooLong => 8,
            Detector::PrivateField => 16,
        }
    }
}

/// A set of detectors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found(u8);

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

/// Makes free text fit to be written, in at most `limit` bytes. Cleaning what is clean changes nothing; for printable
/// ASCII with fewer than thirteen digits it costs one pass and one allocation. Digits within identifiers (UUIDs, 32
/// and more hexadecimal digits) are left: names of destinations go through [`clean_name`].
pub fn clean(raw: &[u8], limit: usize) -> Cleaned {
    cleaned(raw, limit, Strength::Text, &Fields::NONE)
}

/// Like [`clean`], for names of destinations (targets, SNI): a card number is one whatever touches it.
pub fn clean_name(raw: &[u8], limit: usize) -> Cleaned {
    cleaned(raw, limit, Strength::Strict, &Fields::NONE)
}

/// Whether the name of a destination holds a card number, by the same detector as [`clean_name`].
pub fn holds_card_number(name: &str) -> bool {
    holds(name, Strength::Strict)
}

/// Cleans like [`clean`] and [`clean_name`], and hides the values of private fields as well: what follows a field's name
/// in any case, at a word's start, and `=`, `%3D` or `:`, up to `& ; , " '`, white space or the closing quotation mark.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    fields: Fields,
}

impl Redactor {
    /// With the private fields of the configuration; without any it is [`clean`] and costs no more.
    pub fn new(private_fields: &[FieldName]) -> Self {
        Self { fields: Fields::new(private_fields) }
    }

    /// Makes free text fit to be written.
    pub fn clean(&self, raw: &[u8], limit: usize) -> Cleaned {
        cleaned(raw, limit, Strength::Text, &self.fields)
    }

    /// Makes the name of a destination fit to be written.
    pub fn clean_name(&self, raw: &[u8], limit: usize) -> Cleaned {
        cleaned(raw, limit, Strength::Strict, &self.fields)
    }
}

/// Fuzz entry: cleaning must not panic, what it leaves must be fit to be written, and stay as it is.
pub fn fuzz(raw: &[u8]) {
    let names = ["account", "pan", "private", "a"].iter().filter_map(|name| name.parse().ok());
    let names: Vec<FieldName> = names.collect();
    for Redactor { fields } in [Redactor::default(), Redactor::new(&names)] {
        for (strength, limit) in
            [(Strength::Text, raw.len()), (Strength::Text, 40), (Strength::Strict, raw.len()), (Strength::Strict, 40)]
        {
            let once = cleaned(raw, limit, strength, &fields).text;
            assert!(once.0.len() <= limit && !holds(&once.0, strength), "not fit to be written: {once}");
            let twice = cleaned(once.0.as_bytes(), limit, strength, &fields);
            assert!(twice.text == once && twice.found.is_empty(), "`{once}` is cleaned to `{}`", twice.text);
        }
    }
}

/// Stands at the end of what was cut.
const CUT: char = '…';

fn cleaned(raw: &[u8], limit: usize, strength: Strength, fields: &Fields) -> Cleaned {
    if raw.len() <= limit
        && is_plain(raw)
        && (fields.is_empty() || !raw.iter().any(|byte| b"=:%".contains(byte)))
        && let Ok(text) = str::from_utf8(raw)
    {
        return Cleaned { text: Redacted(text.into()), found: Found::default() };
    }
    thorough(raw, limit, strength, fields)
}

/// Printable ASCII, and too few digits (wherever they stand) for a card number.
fn is_plain(raw: &[u8]) -> bool {
    raw.iter().all(|byte| (0x20..=0x7e).contains(byte)) && digits(raw) < card::MIN_DIGITS
}

fn digits(raw: &[u8]) -> usize {
    raw.iter().filter(|byte| byte.is_ascii_digit()).count()
}

fn holds(text: &str, strength: Strength) -> bool {
    (digits(text.as_bytes()) >= card::MIN_DIGITS || !text.is_ascii()) && !card::find(text, strength).is_empty()
}

fn thorough(raw: &[u8], limit: usize, strength: Strength, fields: &Fields) -> Cleaned {
    let mut found = Found::default();
    let mut text = String::with_capacity(raw.len());
    for chunk in raw.utf8_chunks() {
        copy(chunk.valid(), strength, &mut text, &mut found);
        for byte in chunk.invalid() {
            found.insert(Detector::InvalidUtf8);
            text.push_str(&format!("\\x{{{byte:x}}}"));
        }
    }
    // A cut can lay a card number bare (the head of a longer run of digits, a hexadecimal word that is now short) or take
    // a quotation mark away, and a mark can be longer than what it stands for. Every round takes at least eleven digits
    // away or leaves nothing behind a field's name but its mark, so this ends.
    loop {
        // Card numbers go first: the value of a field can be a part of one.
        hide(&mut text, fields, &mut found);
        cut(&mut text, limit, &mut found);
        if !holds(&text, strength) && fields.find(&text).is_empty() {
            return Cleaned { text: Redacted(text.into()), found };
        }
        let mut next = String::with_capacity(text.len());
        copy(&text, strength, &mut next, &mut found);
        text = next;
    }
}

/// Puts marks in the place of the values of private fields.
fn hide(text: &mut String, fields: &Fields, found: &mut Found) {
    let hits = fields.find(text);
    if hits.is_empty() {
        return;
    }
    found.insert(Detector::PrivateField);
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for hit in hits {
        out.push_str(text.get(from..hit.start).unwrap_or_default());
        out.push_str(hit.mark);
        from = hit.end;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    *text = out;
}

/// Appends `text` with marks for its card numbers and its control characters written out.
fn copy(text: &str, strength: Strength, out: &mut String, found: &mut Found) {
    let mut from = 0;
    for hit in card::find(text, strength) {
        found.insert(Detector::CardNumber);
        escape(text.get(from..hit.start).unwrap_or_default(), out, found);
        out.push_str(&card::mark(hit.brand, hit.digits));
        from = hit.end;
    }
    escape(text.get(from..).unwrap_or_default(), out, found);
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

/// Cuts `text` to `limit` bytes with [`CUT`] as its end, if that fits.
fn cut(text: &mut String, limit: usize, found: &mut Found) {
    if text.len() <= limit {
        return;
    }
    found.insert(Detector::TooLong);
    let room = limit.saturating_sub(CUT.len_utf8());
    text.truncate(text.floor_char_boundary(room));
    if CUT.len_utf8() <= limit {
        text.push(CUT);
    }
}

#[cfg(test)]
mod tests;
