//! Makes of a segment's lines the one file that it is kept as: small, and any record read without the rest.
//! Not here: when, from where and whereto (`runtime::journal`). The same lines give the same bytes with one version of zstd.
//! Source: RFC 8878 (zstd), its seekable format; the frames are told in `sealed`.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::io::{self, BufRead, Read, Write};

use zstd::bulk::Compressor;
use zstd::zstd_safe::{CParameter, compress_bound};

use super::contents::{Contents, LineError, Place};
use super::seek_table::{self, Entry};
use super::summary::Summary;
use super::{FILTERS, FRAME, MAX_FRAMES, MAX_SUMMARY, SUMMARY};
use crate::decision_log::MAX_LINE;

/// The cheapest that makes records ten times smaller: 0.75 µs a record of 740 bytes. Level 3 took a quarter longer for
/// nothing, the first fast level left a third more.
const LEVEL: i32 = 1;

/// A segment can't be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Its lines can't be read.
    #[error("can't be read: {0}")]
    Read(#[source] io::Error),
    /// The sealed segment can't be written.
    #[error("can't be written: {0}")]
    Write(#[source] io::Error),
    /// zstd failed.
    #[error("can't be compressed: {0}")]
    Compress(#[source] io::Error),
    /// A line is not the record that belongs there.
    #[error("{0}; restore the file")]
    Line(#[from] LineError),
    /// There is nothing to seal.
    #[error("has no records")]
    Empty,
    /// More than a sealed segment may have.
    #[error("has more than {MAX_FRAMES} MiB; restore the file: the log never makes one so long")]
    TooLong,
}

/// Reads the lines of the segment whose first record is number `first`, and writes it sealed.
///
/// # Errors
/// See [`SealError`]; something may have been written.
pub fn seal(lines: &mut dyn BufRead, first: u64, out: &mut dyn Write) -> Result<Summary, SealError> {
    let mut compressor = Compressor::new(LEVEL).map_err(SealError::Compress)?;
    compressor.set_parameter(CParameter::ChecksumFlag(true)).map_err(SealError::Compress)?;
    let mut contents = Contents::new(first);
    let (mut plain, mut packed, mut entries, mut offset) = (Vec::new(), Vec::new(), Vec::new(), 0);
    while next_lines(lines, &mut plain).map_err(SealError::Read)? {
        if entries.len() == MAX_FRAMES {
            return Err(SealError::TooLong);
        }
        packed.clear();
        packed.reserve(compress_bound(plain.len()));
        compressor.compress_to_buffer(&plain, &mut packed).map_err(SealError::Compress)?;
        let compressed = u64::try_from(packed.len()).unwrap_or(u64::MAX);
        contents.frame(&plain, Place { offset, compressed })?;
        offset = offset.saturating_add(compressed);
        entries.push(entry(packed.len(), plain.len())?);
        out.write_all(&packed).map_err(SealError::Write)?;
    }
    let (summary, filters) = contents.finish().ok_or(SealError::Empty)?;
    let json = serde_json::to_vec(&summary).map_err(|error| SealError::Write(error.into()))?;
    if json.len() > MAX_SUMMARY {
        return Err(SealError::TooLong);
    }
    for frame in [super::skippable(FILTERS, filters.as_bytes()), super::skippable(SUMMARY, &json)] {
        entries.push(entry(frame.len(), 0)?);
        out.write_all(&frame).map_err(SealError::Write)?;
    }
    out.write_all(&seek_table::write(&entries)).map_err(SealError::Write)?;
    Ok(summary)
}

/// Reads whole lines up to the first line end at or behind the length of a frame. Returns whether there were any.
pub(in crate::decision_log) fn next_lines(mut lines: &mut dyn BufRead, plain: &mut Vec<u8>) -> io::Result<bool> {
    plain.clear();
    let limit = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
    Read::take(&mut lines, limit(FRAME)).read_to_end(plain)?;
    if plain.last().is_some_and(|last| *last != b'\n') {
        lines.take(limit(MAX_LINE)).read_until(b'\n', plain)?;
    }
    Ok(!plain.is_empty())
}

fn entry(compressed: usize, plain: usize) -> Result<Entry, SealError> {
    let [compressed, plain] = [compressed, plain].map(u32::try_from);
    match (compressed, plain) {
        (Ok(compressed), Ok(plain)) => Ok(Entry { compressed, plain }),
        (Err(_), _) | (_, Err(_)) => Err(SealError::TooLong),
    }
}
