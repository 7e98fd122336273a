//! Names of fields that the configuration calls private. Pure.
//! Not here: where they stand in a text and where their values end (`key`), names that are secret everywhere (`names`).
//! Source: HTML forms and cookies (`name=value`), RFC 8259 (`"name": "value"`), RFC 9110 section 5 (`Name: value`).

use std::fmt;
use std::str::FromStr;

use super::card;

/// Upper bound in bytes of the name of a private field: names in use are a few words long.
const MAX_NAME: usize = 64;

/// Bytes of a run of characters of names that are looked at: a name, and the end of what stands before it in the run.
pub(super) const MAX_RUN: usize = MAX_NAME + 3;

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

    /// The field whose name ends `word`, the run of characters of names behind `before`.
    pub(super) fn named(&self, before: &[u8], word: &[u8]) -> Option<&FieldName> {
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

pub(super) fn is_name_byte(byte: u8) -> bool {
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

#[cfg(test)]
#[path = "private_tests.rs"]
mod tests;
