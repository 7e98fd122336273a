//! Finds the end of a segment when the log is opened: the last whole record, and what was torn behind it.
//! Not here: opening and cutting files (`runtime::journal`). Reads a line at a time, so memory is bounded.
//! Source: a crash leaves what was appended since the last sync in any state: missing, partly there, or as zeros.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::io::{self, BufRead, Read};

use jiff::Timestamp;
use serde::Deserialize;

use super::entry::{FRAME, Frame, MAX_BATCH, MAX_LINE};
use super::log::End;
use super::record::Kind;

/// What a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// The end of its whole records.
    pub end: End,
    /// Bytes behind that, to be cut off.
    pub torn: u64,
    /// Whole lines of records among those bytes: they may have been acknowledged.
    pub torn_lines: u64,
    /// What the last whole record says; `None`: there is none.
    pub last: Option<Last>,
}

/// What the last record of a run tells the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Last {
    /// Its time, if it can be read.
    pub time: Option<Timestamp>,
    /// Whether it is the `stop` that a run ends with.
    pub is_stop: bool,
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
    /// It is not the newest one, and ends with something else than a record.
    #[error("ends with {bytes} bytes that are no record, and is not the newest segment; restore the file")]
    Behind {
        /// From the first line on that is no record.
        bytes: u64,
    },
    /// What is before it does not end where it begins.
    #[error(
        "begins with record {first}, but what is before it, or is signed, ends at {before}; bring back what is missing"
    )]
    Gap {
        /// The number of its first record, by its name.
        first: u64,
        /// The number that the next record would have; 0: there is none before.
        before: u64,
    },
}

/// Reads the segment whose first record is number `first`. `each` gets the whole records in order, without their newlines.
///
/// # Errors
/// See [`Damage`].
pub fn scan(segment: &mut dyn BufRead, first: u64, each: &mut dyn FnMut(&[u8])) -> Result<Scan, Damage> {
    let mut end = End { next: first, length: 0 };
    let (mut line, mut last_line) = (Vec::new(), Vec::new());
    loop {
        let read = read_line(segment, &mut line)?;
        if read == 0 {
            return Ok(Scan { end, torn: 0, torn_lines: 0, last: Last::of(&last_line) });
        }
        if !is_record(&line, end.next) {
            let (torn, torn_lines) = rest(segment, &mut line)?;
            let torn = torn.saturating_add(read);
            if torn > u64::try_from(MAX_BATCH).unwrap_or(u64::MAX) {
                let line = end.next.saturating_sub(first).saturating_add(1);
                return Err(Damage::NotARecord { line, seq: end.next, bytes: torn });
            }
            return Ok(Scan { end, torn, torn_lines, last: Last::of(&last_line) });
        }
        each(line.strip_suffix(b"\n").unwrap_or(&line));
        end = End { next: end.next.saturating_add(1), length: end.length.saturating_add(read) };
        std::mem::swap(&mut line, &mut last_line);
    }
}

impl Last {
    /// What a line says, without its newline or with it. `None`: it is no record.
    pub fn of(line: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Said {
            time: String,
            kind: String,
        }
        let said: Said = serde_json::from_slice(line).ok()?;
        Some(Self { time: said.time.parse().ok(), is_stop: said.kind == Kind::Stop.as_str() })
    }
}

/// Reads up to the next newline, or as much as the longest line has.
fn read_line(segment: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    line.clear();
    let read = segment.take(u64::try_from(MAX_LINE).unwrap_or(u64::MAX)).read_until(b'\n', line)?;
    Ok(u64::try_from(read).unwrap_or(u64::MAX))
}

/// Bytes and whole records up to the end of the segment, whatever their numbers.
fn rest(segment: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<(u64, u64)> {
    let (mut bytes, mut records) = (0_u64, 0_u64);
    loop {
        let read = read_line(segment, line)?;
        if read == 0 {
            return Ok((bytes, records));
        }
        bytes = bytes.saturating_add(read);
        records = records.saturating_add(u64::from(number(line).is_some_and(|seq| is_record(line, seq))));
    }
}

/// The number that a line claims.
fn number(line: &[u8]) -> Option<u64> {
    let claimed = line.strip_prefix(FRAME.as_bytes())?;
    let digits = claimed.iter().take_while(|byte| byte.is_ascii_digit()).count();
    str::from_utf8(claimed.get(..digits)?).ok()?.parse().ok()
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

    fn nothing(end: End) -> Scan {
        Scan { end, torn: 0, torn_lines: 0, last: None }
    }

    #[test]
    fn finds_the_end_by_table() {
        let whole = lines(5, 3);
        assert_eq!(scan(&mut io::empty(), 5, &mut |_| ()).unwrap(), nothing(End { next: 5, length: 0 }));
        for (name, tail, torn_lines) in [
            ("nothing", Vec::new(), 0),
            ("half a line", br#"{"v":1,"seq":8,"ti"#.to_vec(), 0),
            ("no newline", br#"{"v":1,"seq":8,"time":1}"#.to_vec(), 0),
            ("zeros", vec![0; 4096], 0),
            ("zeros within", b"{\"v\":1,\"seq\":8,\"a\":\"\0\0\"}\n".to_vec(), 0),
            ("a gap", lines(9, 1), 0),
            ("a repeat", lines(7, 1), 0),
            ("a number that goes on", b"{\"v\":1,\"seq\":80,\"a\":1}\n".to_vec(), 0),
            ("whole lines behind a torn one", [b"\0\n", &lines(9, 2)[..]].concat(), 2),
            ("whole lines and a half", [b"\0\n", &lines(9, 3)[..lines(9, 3).len() - 2]].concat(), 2),
            ("not UTF-8", b"{\"v\":1,\"seq\":8,\"a\":\"\xff\"}\n".to_vec(), 0),
            ("too long", vec![b'x'; MAX_LINE + 9], 0),
        ] {
            let scan = scan(&mut [&whole[..], &tail].concat().as_slice(), 5, &mut |_| ()).unwrap();
            let end = End { next: 8, length: length(&whole) };
            let last = Some(Last { time: None, is_stop: false });
            assert_eq!(scan, Scan { end, torn: length(&tail), torn_lines, last }, "{name}");
        }
    }

    #[test]
    fn says_what_the_last_record_says() {
        let line = |time: &str, kind: &str| format!(r#""time":"{time}","kind":"{kind}","id":1}}"#);
        let time = "2026-11-21T10:00:00.000001Z";
        for (name, rest, want) in [
            ("a stop", line(time, "stop"), Some(Last { time: time.parse().ok(), is_stop: true })),
            ("another", line(time, "close"), Some(Last { time: time.parse().ok(), is_stop: false })),
            ("no time", line("x", "stop"), Some(Last { time: None, is_stop: true })),
            ("not a record of ours", r#""a":1}"#.to_owned(), None),
        ] {
            let bytes = [&lines(0, 4)[..], br#"{"v":1,"seq":4,"#, rest.as_bytes(), b"\n{\"v\":1,"].concat();
            assert_eq!(scan(&mut bytes.as_slice(), 0, &mut |_| ()).unwrap().last, want, "{name}");
        }
    }

    #[test]
    fn more_than_a_commit_behind_a_bad_line_is_damage() {
        let bytes = [&lines(0, 2)[..], b"bad\n", &lines(2, 40_000)].concat();
        let error = scan(&mut bytes.as_slice(), 0, &mut |_| ()).unwrap_err();
        assert!(matches!(error, Damage::NotARecord { line: 3, seq: 2, bytes } if bytes > 1 << 20), "{error}");
    }

    proptest! {
        #[test]
        fn a_cut_anywhere_leaves_the_whole_records(count in 0_u64..20, cut in 0_usize..2000) {
            let bytes = lines(3, count);
            let kept = &bytes[..cut.min(bytes.len())];
            let mut seen = Vec::new();
            let scan = scan(&mut &kept[..], 3, &mut |line| seen.extend_from_slice(&[line, b"\n"].concat())).unwrap();
            prop_assert_eq!(&seen, &kept[..seen.len()]);
            prop_assert_eq!(length(&seen), scan.end.length);
            let whole = kept.iter().filter(|byte| **byte == b'\n').count();
            prop_assert_eq!(scan.end.next, 3 + u64::try_from(whole).unwrap());
            prop_assert_eq!(scan.end.length + scan.torn, length(kept));
            prop_assert!(kept[usize::try_from(scan.end.length).unwrap()..].iter().all(|byte| *byte != b'\n'));
        }
    }
}
