//! Sealed segments: a part of the log that gets no more records, compressed, and read by frame. Pure.
//! Not here: files and when to seal (`runtime::journal`), what a query wants (`query`). Proofs need nothing of this: a leaf is a line.
//! Source: RFC 8878, `zstd_seekable_compression_format.md`. `zstd -d` gives exactly the lines; so does any seekable reader, in part.
//!
//! ```text
//! zstd frames            each 1 MiB of lines, up to the first line end at or behind it; with checksum
//! skippable 0x184D2A51   filters: which ids and hosts a frame surely lacks
//! skippable 0x184D2A50   summary: numbers, times, counts by sort, frames, as JSON
//! skippable 0x184D2A5E   seek table: the lengths of all frames before it
//! ```

mod contents;
mod facets;
mod fields;
mod filter;
mod reader;
mod seal;
mod seek_table;
mod summary;
mod time;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use contents::{Contents, LineError, Place};
pub(super) use contents::{lines, record};
pub use facets::{Facet, Facets, LineFault};
pub use fields::{Fields, Malformed, Raw};
pub use filter::{Filters, Key, NoFilters};
pub use reader::{Sealed, SealedError};
pub(super) use seal::next_lines;
pub use seal::{SealError, seal};
pub use summary::{Frame, Group, Summary};
pub use time::{NotATime, RecordTime};

use super::entry::MAX_LINE;

/// Bytes of lines in a frame, at least, but in the last. One is read in a millisecond, and compresses as well as the whole.
const FRAME: usize = 1024 * 1024;

/// Bytes of lines in a frame, at most.
const MAX_PLAIN: u64 = 1024 * 1024 + 16 * 1024;
const _: () = assert!(MAX_PLAIN == (FRAME + MAX_LINE) as u64);

/// Data frames of a segment. A segment is begun at 64 MiB, so 16 times what there are.
const MAX_FRAMES: usize = 1024;

/// Bytes of the summary. The bounds of `contents` keep it below 6 MiB; a usual one has 20 KiB.
const MAX_SUMMARY: usize = 8 * 1024 * 1024;

/// Bytes of all filters: 64 KiB a frame, more than the shortest lines make; usual ones make 4 KiB.
const MAX_FILTERS: usize = 64 * 1024 * 1024;

const FILTERS: u32 = 0x184d_2a51;
const SUMMARY: u32 = 0x184d_2a50;

/// Bytes before the content of a skippable frame: mark and length (RFC 8878, section 3.1.2).
const SKIPPABLE_HEADER: usize = 8;

/// A frame that decoders skip.
fn skippable(magic: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    [&magic.to_le_bytes(), &length.to_le_bytes(), content].concat()
}

/// What such a frame holds.
fn skipped(magic: u32, frame: &[u8]) -> Option<&[u8]> {
    let rest = frame.strip_prefix(&magic.to_le_bytes())?;
    let (length, content) = rest.split_first_chunk::<4>()?;
    (usize::try_from(u32::from_le_bytes(*length)) == Ok(content.len())).then_some(content)
}
