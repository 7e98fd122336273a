//! Lines into leaf hashes: each must be the record that belongs there. Also picks out what records say about the log itself.
//! Not here: where the lines come from (`segment`), whether a hash is the one that was signed (`Verifier`).
//! Source: the contract, section 7: one JSON object a line, at most 16 KiB, UTF-8 without control characters.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use memchr::memchr_iter;
use serde::Deserialize;

use crate::decision_log::entry::{FRAME, MAX_LINE};
use crate::decision_log::sealed::Fields;
use crate::decision_log::{Hash, Kind};

/// What some lines hold, up to the first that is not the record that belongs there.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Of each record.
    pub(super) leaves: Vec<Hash>,
    /// What some of them say about the log, by their numbers.
    pub(super) said: Vec<(u64, Said)>,
}

impl Piece {
    /// How many records it has.
    pub fn records(&self) -> usize {
        self.leaves.len()
    }
}

/// What a record says about the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// `start`.
    Start {
        /// The verifier key that signs from now on.
        vkey: Option<String>,
        /// Records of the run before that it had not signed.
        unsigned: u64,
    },
    /// `heartbeat`: a checkpoint.
    Checkpoint(String),
    /// `admin`: the key was changed.
    KeyChange {
        /// Verifier keys.
        from: String,
        to: String,
        /// What the old one signed.
        statement: String,
    },
}

/// A line that is not the record that belongs there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stray {
    /// What is wrong with it.
    pub(super) fault: LineFault,
    /// Its hash.
    pub(super) leaf: Hash,
    /// Bytes from its beginning to the end of the segment.
    pub(super) rest: u64,
    /// In which line behind it the record stands that belongs here.
    pub(super) instead: Option<u64>,
}

/// Why a line is not a record, or not that one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LineFault {
    #[error("is longer than 16 KiB")]
    TooLong,
    #[error("has no end")]
    Cut,
    #[error("is not UTF-8")]
    NotUtf8,
    #[error("has a control character")]
    Control,
    #[error("does not stand here, nor does any other")]
    NotARecord,
    /// Another record.
    #[error("is record {0}")]
    Number(u64),
}

/// Lines of one segment, in their order.
pub(super) struct Lines {
    next: u64,
}

impl Lines {
    /// The first record is number `first`.
    pub(super) fn new(first: u64) -> Self {
        Self { next: first }
    }

    /// The number of the next record.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Reads whole lines. Gives what they hold, and where in `block` a line begins that is not the record that belongs
    /// there, with what is wrong with it.
    pub(super) fn block(&mut self, block: &[u8]) -> (Piece, Option<(usize, LineFault)>) {
        // Both are done in wide registers, which a line at a time is too short for.
        let text = str::from_utf8(block).ok();
        let controls = block.iter().filter(|byte| byte.is_ascii_control()).count();
        let has_controls = controls != memchr_iter(b'\n', block).count();
        let mut piece = Piece::default();
        let mut start = 0;
        for end in memchr_iter(b'\n', block) {
            let bytes = block.get(start..end).unwrap_or_default();
            let line = text.map_or_else(|| str::from_utf8(bytes).ok(), |text| text.get(start..end));
            match read(bytes, line, self.next, has_controls) {
                Ok(line) => piece.said.extend(said(line).map(|said| (self.next, said))),
                Err(fault) => return (piece, Some((start, fault))),
            }
            piece.leaves.push(Hash::leaf(bytes));
            self.next = self.next.saturating_add(1);
            start = end.saturating_add(1);
        }
        let cut = (start < block.len()).then_some((start, LineFault::Cut));
        (piece, cut)
    }
}

/// A line without its newline as record `seq`; `line` is its text, if it is UTF-8.
fn read<'a>(bytes: &[u8], line: Option<&'a str>, seq: u64, may_have_controls: bool) -> Result<&'a str, LineFault> {
    if bytes.len() >= MAX_LINE {
        return Err(LineFault::TooLong);
    }
    let line = line.ok_or(LineFault::NotUtf8)?;
    if may_have_controls && bytes.iter().any(u8::is_ascii_control) {
        return Err(LineFault::Control);
    }
    match number(bytes).filter(|_| bytes.ends_with(b"}")) {
        Some(number) if number == seq => Ok(line),
        Some(number) => Err(LineFault::Number(number)),
        None => Err(LineFault::NotARecord),
    }
}

/// The number that a line claims, if it begins as records do.
pub(super) fn number(line: &[u8]) -> Option<u64> {
    let claimed = line.strip_prefix(FRAME.as_bytes())?;
    let count = claimed.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = claimed.split_at_checked(count)?;
    let is_canonical = digits.first() != Some(&b'0') || digits.len() == 1;
    let add = |sum: u64, digit: &u8| sum.checked_mul(10)?.checked_add(u64::from(digit.wrapping_sub(b'0')));
    let number = digits.iter().try_fold(0_u64, add)?;
    (is_canonical && count > 0 && rest.first() == Some(&b',')).then_some(number)
}

/// What a record says about the log. Few kinds do; the others are told by their first letters.
fn said(line: &str) -> Option<Said> {
    /// What of `detail` matters here.
    #[derive(Deserialize)]
    struct Detail {
        vkey: Option<String>,
        unsigned: Option<u64>,
        checkpoint: Option<String>,
        what: Option<String>,
        from: Option<String>,
        to: Option<String>,
        statement: Option<String>,
    }
    let mut fields = Fields::of(line);
    let kind = fields.find_map(|field| field.ok().filter(|(key, _)| *key == "kind"))?.1;
    let of = |known: Kind| kind.json().get(1..kind.json().len().saturating_sub(1)) == Some(known.as_str().as_bytes());
    if !(of(Kind::Start) || of(Kind::Heartbeat) || of(Kind::Admin)) {
        return None;
    }
    let detail = fields.find_map(|field| field.ok().filter(|(key, _)| *key == "detail"))?.1;
    let detail: Detail = serde_json::from_slice(detail.json()).ok()?;
    if of(Kind::Start) {
        return Some(Said::Start { vkey: detail.vkey, unsigned: detail.unsigned.unwrap_or_default() });
    }
    if of(Kind::Heartbeat) {
        return detail.checkpoint.map(Said::Checkpoint);
    }
    let is_change = detail.what.as_deref() == Some("log_key_rotated");
    let (from, to, statement) = (detail.from?, detail.to?, detail.statement?);
    is_change.then_some(Said::KeyChange { from, to, statement })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decision_log::is_record;

    #[test]
    fn a_number_by_table() {
        for (line, want) in [
            (r#"{"v":1,"seq":0,"#, Some(0)),
            (r#"{"v":1,"seq":18446744073709551615,"#, Some(u64::MAX)),
            (r#"{"v":1,"seq":18446744073709551616,"#, None),
            (r#"{"v":1,"seq":07,"#, None),
            (r#"{"v":1,"seq":,"#, None),
            (r#"{"v":1,"seq":7"#, None),
            (r#"{"v":1,"seq":7}"#, None),
            (r#"{"v":1,"seq":-7,"#, None),
            (r#"{"v":2,"seq":7,"#, None),
            ("", None),
        ] {
            assert_eq!(number(line.as_bytes()), want, "`{line}`");
        }
    }

    #[test]
    fn what_records_say_by_table() {
        let line = |rest: &str| format!(r#"{{"v":1,"seq":0,"time":"x",{rest}}}"#);
        let change = |what: &str| {
            format!(r#""kind":"admin","detail":{{"what":"{what}","from":"a","to":"b","statement":"c\nd"}}"#)
        };
        let start = |vkey: Option<&str>, unsigned| Some(Said::Start { vkey: vkey.map(str::to_owned), unsigned });
        let changed = || Said::KeyChange { from: "a".to_owned(), to: "b".to_owned(), statement: "c\nd".to_owned() };
        for (rest, want) in [
            (r#""kind":"start","id":"x","detail":{"version":"1","vkey":"k"}"#.to_owned(), start(Some("k"), 0)),
            (r#""kind":"start","detail":{"unsigned":7,"vkey":"k"}"#.to_owned(), start(Some("k"), 7)),
            (
                r#""kind":"heartbeat","detail":{"checkpoint":"n\nm"}"#.to_owned(),
                Some(Said::Checkpoint("n\nm".to_owned())),
            ),
            (change("log_key_rotated"), Some(changed())),
            (change("reload"), None),
            (r#""kind":"admin","detail":{"what":"log_key_rotated","from":"a"}"#.to_owned(), None),
            (r#""kind":"close","detail":{"vkey":"k","checkpoint":"n"}"#.to_owned(), None),
            (r#""kind":"start","detail":{"checkpoint":"n"}"#.to_owned(), start(None, 0)),
            (r#""kind":"start","detail":[1]"#.to_owned(), None),
            (r#""kind":"start""#.to_owned(), None),
            (r#""kind":7"#.to_owned(), None),
            (r#""a":{"kind":"start"}"#.to_owned(), None),
        ] {
            assert_eq!(said(&line(&rest)), want, "{rest}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_what_the_log_goes_on_behind(
            seq in 0_u64..3, claimed in 0_u64..3,
            text in prop::collection::vec(prop_oneof![20 => b' '..=b'~', 1 => Just(0x7f), 1 => any::<u8>()], 0..60),
            end in "(\\}|\\})|.?",
        ) {
            let line = [format!("{{\"v\":1,\"seq\":{claimed},").as_bytes(), &text, end.as_bytes(), b"\n"].concat();
            let mut lines = Lines::new(seq);
            let (piece, stray) = lines.block(&line);
            let is_one = line.iter().filter(|byte| **byte == b'\n').count() == 1;
            prop_assert_eq!(stray.is_none(), is_one && is_record(&line, seq), "{:?}", stray);
            prop_assert_eq!(piece.leaves.len() as u64, lines.next() - seq);
        }
    }
}
