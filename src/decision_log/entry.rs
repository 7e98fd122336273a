//! One record as bytes, without the number it will get: what workers hand to the one writer.
//! Not here: the fields (`record`), the number (`log`).

use std::io::Write;

use jiff::Timestamp;
use serde::Deserialize;
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

/// A record, redacted and serialised from `"time":` on. Made by [`Record::line`](super::Record::line) alone, in this process or in one
/// that relays it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    id: Uuid,
    kind: Kind,
    lets_through: bool,
    object: Vec<u8>,
}

/// What another process relayed is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a record")]
pub struct NotARecord;

/// What an object must have to be a record.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    kind: &'a str,
    id: Uuid,
}

/// What tells when a record was made.
#[derive(Deserialize)]
struct Dated {
    time: Timestamp,
}

impl Entry {
    /// One that another process of this instance has made, as [`Entry::object`] gives it there. No permit is owed for it here.
    ///
    /// # Errors
    /// It is no JSON object on one line that begins with `time` and has `kind` and `id`, or is longer than a record may be.
    pub fn relayed(object: &str) -> Result<Self, NotARecord> {
        let is_line = object.starts_with(r#"{"time":"#) && !object.bytes().any(|byte| byte.is_ascii_control());
        if !is_line || object.len() > MAX_OBJECT {
            return Err(NotARecord);
        }
        let Named { kind, id } = serde_json::from_str(object).map_err(|_| NotARecord)?;
        let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind).ok_or(NotARecord)?;
        Ok(Self::new(id, kind, false, object.as_bytes().to_vec()))
    }

    /// When it was made.
    pub fn time(&self) -> Option<Timestamp> {
        serde_json::from_slice(&self.object).ok().map(|Dated { time }| time)
    }

    /// The whole JSON object, without version and number.
    pub fn object(&self) -> &[u8] {
        &self.object
    }

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
    pub(super) fn write_as(&self, seq: u64, out: &mut Vec<u8>) {
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

    #[test]
    fn what_is_relayed_is_taken_as_it_is_or_not_at_all() {
        let id = "0190163d-8694-739b-aea5-966c26f8ad91";
        let good = format!(r#"{{"time":"2027-01-01T00:00:00.000000Z","kind":"close","id":"{id}","x":[1,"\n"]}}"#);
        let entry = Entry::relayed(&good).unwrap();
        assert_eq!(
            (entry.kind(), entry.id().to_string(), entry.object()),
            (Kind::Close, id.to_owned(), good.as_bytes())
        );
        assert!(!entry.is_owed());
        let long = good.replace("[1,", &format!("[1,\"{}\",", "x".repeat(MAX_OBJECT)));
        for (name, bad) in [
            ("nothing", String::new()),
            ("two lines", good.replace("[1", "[1\n")),
            ("more behind it", format!("{good} {{}}")),
            ("with a number", good.replacen('{', r#"{"v":1,"seq":1,"#, 1)),
            ("no kind", good.replace("close", "door")),
            ("no id", good.replace(id, "1")),
            ("cut off", good.strip_suffix('}').unwrap().to_owned()),
            ("too long", long),
        ] {
            assert_eq!(Entry::relayed(&bad), Err(NotARecord), "{name}");
        }
    }
}
