//! Finds the end of a segment when the log is opened: the last whole record, and what was torn behind it.
//! Not here: opening and cutting files (`runtime::journal`). Reads a line at a time, so memory is bounded.
//! Source: a crash leaves what was appended since the last sync in any state: missing, partly there, or as zeros.

use std::io::{self, BufRead, Read};

use super::entry::{Frame, MAX_BATCH, MAX_LINE};
use super::log::End;

/// What a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// The end of its whole records.
    pub end: End,
    /// Bytes behind that, to be cut off.
    pub torn: u64,
}

/// A segment can't be continued.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// It can't be read.
    #[error("can't be read: {0}")]
    Read(#[from] io::Error),
    /// A line is not the record that belongs there, and what follows is more than one commit could have torn.
    #[error("line {line} is not record {seq}, and {bytes} bytes follow, more than a crash leaves; restore the file")]
    NotARecord {
        /// Counted from 1.
        line: u64,
        /// The number that the record should have.
        seq: u64,
        /// From the line on.
        bytes: u64,
    },
}

/// Reads the segment whose first record is number `first`.
///
/// # Errors
/// See [`Damage`].
pub fn scan(segment: &mut dyn BufRead, first: u64) -> Result<Scan, Damage> {
    let mut end = End { next: first, length: 0 };
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
        let read = segment.take(limit).read_until(b'\n', &mut line)?;
        let read = u64::try_from(read).unwrap_or(u64::MAX);
        if read == 0 {
            return Ok(Scan { end, torn: 0 });
        }
        if !is_record(&line, end.next) {
            let torn = io::copy(segment, &mut io::sink())?.saturating_add(read);
            if torn > u64::try_from(MAX_BATCH).unwrap_or(u64::MAX) {
                let line = end.next.saturating_sub(first).saturating_add(1);
                return Err(Damage::NotARecord { line, seq: end.next, bytes: torn });
            }
            return Ok(Scan { end, torn });
        }
        end = End { next: end.next.saturating_add(1), length: end.length.saturating_add(read) };
    }
}

/// Whether `line` is a whole record with this number. Records are UTF-8 without control characters, so a page of
/// zeros in the middle shows too.
pub(crate) fn is_record(line: &[u8], seq: u64) -> bool {
    let frame = Frame(seq).to_string();
    line.starts_with(frame.as_bytes())
        && line.strip_suffix(b"}\n").is_some_and(|inner| !inner.iter().any(u8::is_ascii_control))
        && str::from_utf8(line).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::decision_log::Kind;
    use crate::decision_log::entry::Entry;

    fn lines(first: u64, count: u64) -> Vec<u8> {
        let mut out = Vec::new();
        let entry = Entry::new(Uuid::nil(), Kind::Close, false, br#"{"time":"x","kind":"close"}"#.to_vec());
        (first..first + count).for_each(|seq| entry.write_as(seq, &mut out));
        out
    }

    fn length(bytes: &[u8]) -> u64 {
        u64::try_from(bytes.len()).unwrap()
    }

    #[test]
    fn finds_the_end_by_table() {
        let whole = lines(5, 3);
        assert_eq!(scan(&mut io::empty(), 5).unwrap(), Scan { end: End { next: 5, length: 0 }, torn: 0 });
        for (name, tail) in [
            ("nothing", Vec::new()),
            ("half a line", br#"{"v":1,"seq":8,"ti"#.to_vec()),
            ("no newline", br#"{"v":1,"seq":8,"time":1}"#.to_vec()),
            ("zeros", vec![0; 4096]),
            ("zeros within", b"{\"v\":1,\"seq\":8,\"a\":\"\0\0\"}\n".to_vec()),
            ("a gap", lines(9, 1)),
            ("a repeat", lines(7, 1)),
            ("a number that goes on", b"{\"v\":1,\"seq\":80,\"a\":1}\n".to_vec()),
            ("whole lines behind a torn one", [b"\0\n", &lines(9, 2)[..]].concat()),
            ("not UTF-8", b"{\"v\":1,\"seq\":8,\"a\":\"\xff\"}\n".to_vec()),
            ("too long", vec![b'x'; MAX_LINE + 9]),
        ] {
            let scan = scan(&mut [&whole[..], &tail].concat().as_slice(), 5).unwrap();
            let end = End { next: 8, length: length(&whole) };
            assert_eq!(scan, Scan { end, torn: length(&tail) }, "{name}");
        }
    }

    #[test]
    fn more_than_a_commit_behind_a_bad_line_is_damage() {
        let bytes = [&lines(0, 2)[..], b"bad\n", &lines(2, 40_000)].concat();
        let error = scan(&mut bytes.as_slice(), 0).unwrap_err();
        assert!(matches!(error, Damage::NotARecord { line: 3, seq: 2, bytes } if bytes > 1 << 20), "{error}");
    }

    proptest! {
        #[test]
        fn a_cut_anywhere_leaves_the_whole_records(count in 0_u64..20, cut in 0_usize..2000) {
            let bytes = lines(3, count);
            let kept = &bytes[..cut.min(bytes.len())];
            let scan = scan(&mut &kept[..], 3).unwrap();
            let whole = kept.iter().filter(|byte| **byte == b'\n').count();
            prop_assert_eq!(scan.end.next, 3 + u64::try_from(whole).unwrap());
            prop_assert_eq!(scan.end.length + scan.torn, length(kept));
            prop_assert!(kept[usize::try_from(scan.end.length).unwrap()..].iter().all(|byte| *byte != b'\n'));
        }
    }
}
