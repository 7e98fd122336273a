//! One segment, plain or sealed, read from its beginning to its end: pieces of leaf hashes, and how it ends.
//! Not here: which segment follows which (`Verifier`), files and threads (`runtime::archive`).
//! Source: `sealed` has the layout of sealed ones; what they say about their lines is made anew and compared.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::io::{self, Read, Seek};

use memchr::memrchr;

use super::lines::{LineFault, Lines, Piece, Stray, number};
use crate::decision_log::Hash;
use crate::decision_log::entry::{FRAME, MAX_LINE};
use crate::decision_log::sealed::{Contents, LineError, Place, Sealed, SealedError};

/// Bytes of a plain segment that are read at once: as much as a frame of a sealed one, and few enough to stay in the cache.
const BLOCK: usize = 1024 * 1024;

/// How a segment ends.
#[derive(Debug, Default)]
pub struct End {
    /// The first line that is not the record that belongs there. What follows was not read as records.
    pub(super) stray: Option<Stray>,
    /// What is wrong with a sealed segment as a file, or with what it says about its lines.
    pub(super) seal: Option<SealFault>,
}

/// A sealed segment is not as it was made.
#[derive(Debug, thiserror::Error)]
pub enum SealFault {
    /// It can't be read.
    #[error(transparent)]
    Unreadable(#[from] SealedError),
    /// One of its lines could never have been sealed.
    #[error("{0}; restore the file")]
    Line(#[from] LineError),
    /// Its summary counts other records.
    #[error("has a summary that is not that of its records; restore the file")]
    Summary,
    /// Queries would pass over records.
    #[error("has filters that are not those of its records; restore the file")]
    Filters,
}

/// Reads a plain segment whose first record is number `first`. `give` gets the pieces and says whether to go on.
///
/// # Errors
/// It can't be read.
pub fn read_plain(segment: &mut dyn Read, first: u64, give: &mut dyn FnMut(Piece) -> bool) -> io::Result<End> {
    let mut lines = Lines::new(first);
    let mut block = vec![0; BLOCK];
    let mut held = 0_usize;
    loop {
        let count = read_some(segment, block.get_mut(held..).unwrap_or_default())?;
        held = held.saturating_add(count);
        let read = block.get(..held).unwrap_or_default();
        let (whole, half) = read.split_at(memrchr(b'\n', read).map_or(0, |end| end.saturating_add(1)));
        let (piece, stray) = lines.block(whole);
        let goes_on = give(piece);
        let cut = match (half.len(), count) {
            (MAX_LINE.., _) => Some((whole.len(), LineFault::TooLong)),
            (1.., 0) => Some((whole.len(), LineFault::Cut)),
            (_, _) => None,
        };
        if let Some((at, fault)) = stray.or(cut) {
            let mut rest = Rest::new(&lines, first);
            let mut more = read.get(at..).unwrap_or_default().to_vec();
            while !more.is_empty() {
                rest.push(&more);
                more.resize(BLOCK, 0);
                let count = read_some(segment, &mut more)?;
                more.truncate(count);
            }
            return Ok(End { stray: Some(rest.stray(fault)), seal: None });
        }
        if count == 0 || !goes_on {
            return Ok(End::default());
        }
        let start = whole.len();
        block.copy_within(start..held, 0);
        held = held.saturating_sub(start);
    }
}

/// Reads a sealed segment whose first record is number `first`. `give` gets the pieces and says whether to go on.
///
/// # Errors
/// It can't be read.
pub fn read_sealed<R: Read + Seek>(segment: R, first: u64, give: &mut dyn FnMut(Piece) -> bool) -> io::Result<End> {
    match frames(segment, first, give) {
        Ok(end) => Ok(end),
        // A file that is shorter than it says is damaged, whoever reads it.
        Err(SealFault::Unreadable(SealedError::Read(error))) if error.kind() != io::ErrorKind::UnexpectedEof => {
            Err(error)
        }
        Err(fault) => Ok(End { stray: None, seal: Some(fault) }),
    }
}

fn frames<R: Read + Seek>(segment: R, first: u64, give: &mut dyn FnMut(Piece) -> bool) -> Result<End, SealFault> {
    let mut sealed = Sealed::open(segment)?;
    let (mut lines, mut contents) = (Lines::new(first), Contents::new(first));
    let told = sealed.summary().clone();
    for (number, frame) in told.frames.iter().enumerate() {
        let plain = sealed.frame(number)?;
        let (piece, stray) = lines.block(&plain);
        let goes_on = give(piece);
        if let Some((at, fault)) = stray {
            let mut rest = Rest::new(&lines, first);
            rest.push(plain.get(at..).unwrap_or_default());
            for later in number.saturating_add(1)..told.frames.len() {
                rest.push(&sealed.frame(later)?);
            }
            return Ok(End { stray: Some(rest.stray(fault)), seal: None });
        }
        contents.frame(&plain, Place { offset: frame.offset, compressed: frame.compressed })?;
        if !goes_on {
            return Ok(End::default());
        }
    }
    let (summary, filters) = contents.finish().ok_or(SealFault::Summary)?;
    if summary != told {
        return Err(SealFault::Summary);
    }
    if *sealed.filters()? != filters {
        return Err(SealFault::Filters);
    }
    Ok(End::default())
}

/// What follows the first record that is missing, and that line itself.
struct Rest {
    /// The number of that record.
    wanted: u64,
    /// The line under way, counted from 1.
    line: u64,
    /// Its beginning, as far as its number stands there.
    head: Vec<u8>,
    /// The first line, until it ends.
    leaf: Option<Hash>,
    bytes: u64,
    instead: Option<u64>,
}

/// Bytes of a line's beginning that have its number.
const HEAD: usize = FRAME.len() + 20 + 1;

impl Rest {
    /// Behind the lines that were read as records.
    fn new(lines: &Lines, first: u64) -> Self {
        let line = lines.next().saturating_sub(first).saturating_add(1);
        Self { wanted: lines.next(), line, head: Vec::new(), leaf: None, bytes: 0, instead: None }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, is_whole) = line.strip_suffix(b"\n").map_or((line, false), |text| (text, true));
            self.leaf.get_or_insert_with(|| Hash::leaf(text));
            let room = HEAD.saturating_sub(self.head.len());
            self.head.extend_from_slice(text.get(..room.min(text.len())).unwrap_or_default());
            if is_whole {
                if number(&self.head) == Some(self.wanted) {
                    self.instead.get_or_insert(self.line);
                }
                self.head.clear();
                self.line = self.line.saturating_add(1);
            }
        }
    }

    fn stray(self, fault: LineFault) -> Stray {
        Stray { fault, leaf: self.leaf.unwrap_or(Hash::EMPTY), rest: self.bytes, instead: self.instead }
    }
}

fn read_some(source: &mut dyn Read, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives what it has in pieces of these lengths, over and over.
    struct InPieces<'a> {
        rest: &'a [u8],
        lengths: Vec<usize>,
    }

    impl Read for InPieces<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.lengths.rotate_left(1);
            if self.lengths[0] == 0 && !self.rest.is_empty() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let count = self.lengths[0].min(into.len()).min(self.rest.len());
            into[..count].copy_from_slice(&self.rest[..count]);
            self.rest = &self.rest[count..];
            Ok(count)
        }
    }

    fn read(segment: &mut dyn Read) -> (Vec<Hash>, Option<Stray>) {
        let mut leaves = Vec::new();
        let end = read_plain(segment, 5, &mut |piece| {
            leaves.extend(piece.leaves);
            true
        });
        (leaves, end.unwrap().stray)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn any_split_reads_the_same(
            count in 0_u64..40, tail in "(\\{|x|\n|\\{\"v\":1,\"seq\":[0-9]{1,2},\\}\n){0,4}",
            lengths in prop::collection::vec(0_usize..3000, 1..6),
        ) {
            let lines = (5..5 + count).map(|seq| format!("{{\"v\":1,\"seq\":{seq},\"a\":\"{}\"}}\n", "x".repeat(90)));
            let text = lines.collect::<String>() + &tail;
            let whole = read(&mut text.as_bytes());
            let lengths = [lengths, vec![1]].concat();
            prop_assert_eq!(&read(&mut InPieces { rest: text.as_bytes(), lengths }), &whole);
            prop_assert!(whole.0.len() as u64 >= count);
        }
    }

    #[test]
    fn who_wants_no_more_gets_no_more() {
        let lines: String =
            (5..20_000).map(|seq| format!("{{\"v\":1,\"seq\":{seq},\"a\":\"{}\"}}\n", "x".repeat(90))).collect();
        let mut pieces = 0;
        let mut give = |_| {
            pieces += 1;
            false
        };
        read_plain(&mut lines.as_bytes(), 5, &mut give).unwrap();
        assert_eq!(pieces, 1);
    }
}
