//! Values of private fields in cleaned text: what follows a configured name and `=`, `%3D` or `:`. Pure, linear in the text.
//! Not here: control characters (written out before), card numbers (`card`), which names are private (the configuration).
//! Source: HTML forms and cookies (`name=value`), RFC 8259 (`"name": "value"`), RFC 9110 section 5 (`Name: value`).

use std::fmt;
use std::str::FromStr;

use super::card;
use super::kind::{self, Hit, Kind};

/// Upper bound in bytes of the name of a private field: names in use are a few words long.
const MAX_NAME: usize = 64;

/// The name of a field whose values are private: 1 to 64 of `A-Z`, `a-z`, `0-9` and `. _ -`, with fewer digits than
/// a card number has, so that its mark never holds one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldName(Box<str>);

impl FieldName {
    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A text is no name of a private field. It is not shown: it might be a value put in the wrong place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldNameError {
    /// Other characters, none, or too many.
    #[error("not the name of a field; write 1 to 64 of A-Z, a-z, 0-9 and `. _ -`, such as `account_number`")]
    Form,
    /// As many digits as a card number.
    #[error("a field's name with 12 digits or more; write the name of the field, not a value")]
    Digits,
}

impl FromStr for FieldName {
    type Err = FieldNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !(1..=MAX_NAME).contains(&text.len()) || !text.bytes().all(is_name_byte) {
            return Err(FieldNameError::Form);
        }
        if text.bytes().filter(u8::is_ascii_digit).count() >= card::MIN_DIGITS {
            return Err(FieldNameError::Digits);
        }
        Ok(Self(text.into()))
    }
}

/// The private fields, as text is searched for them.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    /// The longest name first: of two that end at the same place, the one that begins earlier counts.
    fields: Vec<FieldName>,
}

impl Fields {
    /// No private fields.
    pub(super) const NONE: Fields = Fields { fields: Vec::new() };

    pub(super) fn new(names: &[FieldName]) -> Self {
        let mut fields = names.to_vec();
        fields.sort_by_key(|name| std::cmp::Reverse(name.0.len()));
        Self { fields }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Appends the values of private fields in `text`, from the left; not those that are marks already.
    pub(super) fn find<'r>(&'r self, text: &[u8], hits: &mut Vec<Hit<'r>>) {
        if self.is_empty() {
            return;
        }
        let mut from = 0_usize;
        for chunk in text.utf8_chunks() {
            self.find_in(chunk.valid(), from, hits);
            from = from.saturating_add(chunk.valid().len()).saturating_add(chunk.invalid().len());
        }
    }

    fn find_in<'r>(&'r self, text: &str, from: usize, hits: &mut Vec<Hit<'r>>) {
        let bytes = text.as_bytes();
        let (mut at, mut word) = (0_usize, 0_usize);
        while let Some(byte) = bytes.get(at) {
            if is_name_byte(*byte) {
                at = at.saturating_add(1);
                continue;
            }
            if let Some(name) =
                self.named(bytes.get(..word).unwrap_or_default(), bytes.get(word..at).unwrap_or_default())
                && let Some(value) = text.get(at..).and_then(assigned)
            {
                let start = at.saturating_add(value.start);
                let end = at.saturating_add(value.end);
                if bytes.get(start..end).is_some_and(|value| !is_marked(value)) {
                    let kind = Kind::Private(name.as_str());
                    hits.push(Hit { start: from.saturating_add(start), end: from.saturating_add(end), kind });
                }
                at = end;
            } else {
                let width = bytes.get(at..).and_then(kind::mark).unwrap_or(1);
                at = at.saturating_add(width);
            }
            word = at;
        }
    }

    /// The field whose name ends `word`, the run of characters of names behind `before`.
    fn named(&self, before: &[u8], word: &[u8]) -> Option<&FieldName> {
        if word.is_empty() {
            return None;
        }
        let is_end = |name: &FieldName| {
            let Some((inner, tail)) = word.len().checked_sub(name.0.len()).and_then(|at| word.split_at_checked(at))
            else {
                return false;
            };
            tail.eq_ignore_ascii_case(name.0.as_bytes()) && is_boundary(before, inner)
        };
        self.fields.iter().find(|name| is_end(name))
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// Whether a name can begin behind `before` and `inner`, the start of its run: at the run's start, behind `.` or `-`,
/// or behind an escape such as `%26` or `\n`, whose last characters the run begins with.
fn is_boundary(before: &[u8], inner: &[u8]) -> bool {
    match inner {
        [] | [.., b'.' | b'-'] => true,
        [_] => before.last() == Some(&b'\\'),
        [high, low] => before.last() == Some(&b'%') && high.is_ascii_hexdigit() && low.is_ascii_hexdigit(),
        _ => false,
    }
}

/// The place of the value in `text`, which begins right behind a name; none if the name is given no value there.
fn assigned(text: &str) -> Option<std::ops::Range<usize>> {
    let quote = quote(text).map_or(0, |(_, width)| width);
    let before = blanks(text, quote);
    let sign = match text.as_bytes().get(before..)? {
        [b'=' | b':', ..] => 1,
        [b'%', b'3', b'd' | b'D', ..] => 3,
        _ => return None,
    };
    let start = blanks(text, before.saturating_add(sign));
    let rest = text.get(start..)?;
    Some(match self::quote(rest) {
        Some((quote, width)) => {
            let start = start.saturating_add(width);
            start..start.saturating_add(quoted(text.get(start..)?, quote, width > 1))
        }
        None => start..start.saturating_add(bare(rest)),
    })
}

/// The quotation mark that `text` begins with, and its bytes: more than one if it stands in a quoted text itself (`\"`).
fn quote(text: &str) -> Option<(u8, usize)> {
    match text.as_bytes() {
        [quote @ (b'"' | b'\''), ..] => Some((*quote, 1)),
        [b'\\', quote @ (b'"' | b'\''), ..] => Some((*quote, 2)),
        _ => None,
    }
}

/// Bytes of a value behind its opening quotation mark: up to the closing one, else all.
fn quoted(text: &str, quote: u8, is_nested: bool) -> usize {
    let mut escaped = false;
    let closes = |byte: u8| {
        let ends = byte == quote && (is_nested || !escaped);
        escaped = byte == b'\\' && !escaped;
        ends
    };
    let end = text.bytes().position(closes).unwrap_or(text.len());
    let value = text.get(..end).unwrap_or_default();
    if is_nested { value.trim_end_matches('\\').len() } else { end }
}

/// Bytes of a value without quotation marks: up to `& ; , " '`, white space or the end.
fn bare(text: &str) -> usize {
    let ends = |(at, c): (usize, char)| {
        let is_end = matches!(c, '&' | ';' | ',' | '"' | '\'') || text.get(at..).and_then(blank).is_some();
        is_end.then_some(at)
    };
    text.char_indices().find_map(ends).unwrap_or(text.len())
}

/// Where the white space at `from` ends.
fn blanks(text: &str, from: usize) -> usize {
    let mut at = from;
    while let Some(width) = text.get(at..).and_then(blank) {
        at = at.saturating_add(width);
    }
    at
}

/// White space that is a control character, as cleaned text writes it.
const WRITTEN_OUT: [&str; 8] = ["\\u{9}", "\\u{a}", "\\u{b}", "\\u{c}", "\\u{d}", "\\u{85}", "\\u{2028}", "\\u{2029}"];

/// Bytes of the white space that `text` begins with.
fn blank(text: &str) -> Option<usize> {
    let c = text.chars().next()?;
    match c {
        '\\' => WRITTEN_OUT.iter().find(|blank| text.starts_with(**blank)).map(|blank| blank.len()),
        _ => c.is_whitespace().then_some(c.len_utf8()),
    }
}

/// Whether a value says nothing any more: empty, a mark, or what a cut left of either.
fn is_marked(value: &[u8]) -> bool {
    let value = value.strip_suffix("…".as_bytes()).unwrap_or(value);
    value.is_empty() || kind::mark(value) == Some(value.len())
}

#[cfg(test)]
#[path = "private_tests.rs"]
mod tests;
