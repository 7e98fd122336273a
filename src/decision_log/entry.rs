//! One record as bytes, without the number it will get: what workers hand to the one writer.
//! Not here: the fields (`record`), the number (`log`).

use std::io::Write;

use uuid::Uuid;

use super::record::Kind;

/// Bytes of the longest line, its newline included. 16 KiB is what the format of the log promises its readers.
pub const MAX_LINE: usize = 16 * 1024;

/// Bytes of the most that one commit appends. So a tear at the end of the newest segment can be no longer, while
/// 1 MiB still holds what 60 ms bring at 20,000 records of 800 bytes a second.
pub const MAX_BATCH: usize = 1024 * 1024;

/// What every line begins with, up to its number.
pub(super) const FRAME: &str = r#"{"v":1,"seq":"#;

/// Bytes of `{"v":1,"seq":N,` with the longest number, and of the newline.
pub(super) const MAX_FRAME: usize = FRAME.len() + 20 + 1 + 1;

/// Bytes of the longest object that [`Record::line`](super::Record::line) may make.
pub(super) const MAX_OBJECT: usize = MAX_LINE - MAX_FRAME;

/// A record, redacted and serialised from `"time":` on. Made by [`Record::line`](super::Record::line) alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    id: Uuid,
    kind: Kind,
    lets_through: bool,
    object: Vec<u8>,
}

impl Entry {
    /// The record's id.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The record's kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Bytes that its line takes at most.
    pub fn size(&self) -> usize {
        self.object.len().saturating_add(MAX_FRAME)
    }

    /// Whether a permit is owed for it: it lets something through, and none was given yet.
    pub(super) fn is_owed(&self) -> bool {
        self.lets_through
    }

    /// The same entry with no permit owed.
    pub(super) fn without_permit(mut self) -> Self {
        self.lets_through = false;
        self
    }

    /// `object` is the whole JSON object, `{"time":…}`.
    pub(super) fn new(id: Uuid, kind: Kind, lets_through: bool, object: Vec<u8>) -> Self {
        Self { id, kind, lets_through, object }
    }

    /// Appends the line that this is as number `seq`.
    pub(crate) fn write_as(&self, seq: u64, out: &mut Vec<u8>) {
        // Writing to memory doesn't fail.
        let _ = write!(out, "{}", Frame(seq));
        out.extend_from_slice(self.object.get(1..).unwrap_or_default());
        out.push(b'\n');
    }
}

/// What every line begins with.
pub(super) struct Frame(pub(super) u64);

impl std::fmt::Display for Frame {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{FRAME}{},", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_number_fits_its_frame() {
        let mut line = Vec::new();
        let entry = Entry::new(Uuid::nil(), Kind::Close, false, br#"{"time":1}"#.to_vec());
        entry.write_as(u64::MAX, &mut line);
        assert_eq!(
            line,
            br#"{"v":1,"seq":18446744073709551615,"time":1}
"#
        );
        assert!(line.len() <= entry.size());
    }
}
