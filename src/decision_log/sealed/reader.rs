//! Reads a sealed segment in parts: its summary, one frame, whether a frame may have a record.
//! Not here: the file (`runtime::archive`), whether the log is whole (`verify`). Nothing in the file is trusted: every length is
//! held against the file's own and a bound before memory is taken for it.
//! Source: `sealed` has the layout.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::ControlFlow;

use zstd::bulk::Decompressor;
use zstd::zstd_safe::compress_bound;

use super::contents::lines;
use super::filter::{Filters, Key, NoFilters};
use super::seek_table::{self, Entry, FOOTER};
use super::summary::{Frame, Summary};
use super::{FILTERS, MAX_FILTERS, MAX_FRAMES, MAX_PLAIN, MAX_SUMMARY, SKIPPABLE_HEADER, SUMMARY};

/// A sealed segment, open for reading.
pub struct Sealed<R> {
    file: R,
    summary: Summary,
    filters_at: u64,
    filters_entry: Entry,
    filters: Option<Filters>,
    decompressor: Decompressor<'static>,
}

/// A sealed segment can't be read.
#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    /// The file can't be read.
    #[error("can't be read: {0}")]
    Read(#[from] io::Error),
    /// There is no seek table where one must be.
    #[error("has no seek table at its end: it is no sealed segment, or was cut off; restore the file")]
    NoSeekTable,
    /// The seek table doesn't account for the file.
    #[error("has {bytes} bytes before its seek table, which is about {told}; restore the file")]
    Length {
        /// Before the seek table.
        bytes: u64,
        /// Of all frames in the table.
        told: u64,
    },
    /// There is no summary where one must be.
    #[error("has no summary before its seek table; restore the file")]
    NoSummary,
    /// The summary is not one.
    #[error("has a summary that can't be read: {0}; restore the file")]
    Summary(#[source] serde_json::Error),
    /// The summary contradicts itself or the seek table.
    #[error("has a summary whose {what} contradict each other or the seek table; restore the file")]
    Contradiction {
        /// What of it.
        what: &'static str,
    },
    /// The filters are not there.
    #[error("{0}; restore the file")]
    NoFilters(#[from] NoFilters),
    /// There is no such frame.
    #[error("has no frame {frame}")]
    NoFrame {
        /// Counted from 0.
        frame: usize,
    },
    /// A frame is damaged.
    #[error("frame {frame} can't be decompressed: {error}; restore the file")]
    Frame {
        /// Counted from 0.
        frame: usize,
        /// What zstd says.
        error: io::Error,
    },
}

impl<R: Read + Seek> Sealed<R> {
    /// Reads seek table and summary.
    ///
    /// # Errors
    /// The file can't be read, or is no sealed segment.
    pub fn open(mut file: R) -> Result<Self, SealedError> {
        let bytes = file.seek(SeekFrom::End(0))?;
        let table = read_table(&mut file, bytes)?;
        let [data @ .., filters_entry, summary_entry] = table.as_slice() else { return Err(SealedError::NoSeekTable) };
        let table_at = bytes.saturating_sub(extent(seek_table::length(table.len())));
        let told = table.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.compressed.into()));
        if told != table_at {
            return Err(SealedError::Length { bytes: table_at, told });
        }
        let summary_at = table_at.saturating_sub(summary_entry.compressed.into());
        let filters_at = summary_at.saturating_sub(filters_entry.compressed.into());
        let summary = read_summary(&mut file, summary_at, *summary_entry)?;
        if !agrees(&summary.frames, data) || filters_entry.plain != 0 {
            return Err(SealedError::Contradiction { what: "frames" });
        }
        if let Some(what) = summary.fault() {
            return Err(SealedError::Contradiction { what });
        }
        let filters_entry = *filters_entry;
        let decompressor = Decompressor::new()?;
        Ok(Self { file, summary, filters_at, filters_entry, filters: None, decompressor })
    }

    /// What it says about itself.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The frame that has record `seq`.
    pub fn frame_of(&self, seq: u64) -> Option<usize> {
        self.summary.frame_of(seq)
    }

    /// The lines of a frame with their newlines: at most 1 MiB and 16 KiB.
    ///
    /// # Errors
    /// There is no such frame, or it can't be read.
    pub fn frame(&mut self, frame: usize) -> Result<Vec<u8>, SealedError> {
        let told = self.summary.frames.get(frame).ok_or(SealedError::NoFrame { frame })?;
        let packed = read_part(&mut self.file, told.offset, told.compressed)?;
        // Bounded when the summary was read.
        let length = usize::try_from(told.plain).unwrap_or_default();
        let mut plain = Vec::with_capacity(length);
        let error = |error| SealedError::Frame { frame, error };
        self.decompressor.decompress_to_buffer(&packed, &mut plain).map_err(error)?;
        if plain.len() != length {
            let found = plain.len();
            return Err(error(io::Error::other(format!("it has {found} bytes, and not {length}"))));
        }
        Ok(plain)
    }

    /// Gives the lines from record `from` on, without their newlines, each with the number that it must have, until `each` has enough.
    ///
    /// # Errors
    /// A frame can't be read.
    pub fn lines_from(
        &mut self,
        from: u64,
        each: &mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), SealedError> {
        let frames = self.summary.frame_of(from.max(self.summary.first_seq)).unwrap_or(self.summary.frames.len());
        for frame in frames..self.summary.frames.len() {
            let first = self.summary.frames.get(frame).map_or(0, |frame| frame.first_seq);
            let plain = self.frame(frame)?;
            for (line, seq) in lines(&plain).zip(first..).filter(|(_, seq)| *seq >= from) {
                if each(seq, line.strip_suffix(b"\n").unwrap_or(line)).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// What frames surely lack. Read when first asked for.
    ///
    /// # Errors
    /// The filters can't be read.
    pub fn filters(&mut self) -> Result<&Filters, SealedError> {
        let filters = match self.filters.take() {
            Some(filters) => filters,
            None => self.read_filters()?,
        };
        Ok(self.filters.insert(filters))
    }

    /// Whether a record of this frame may have the key.
    ///
    /// # Errors
    /// The filters can't be read.
    pub fn may_hold(&mut self, frame: usize, key: Key) -> Result<bool, SealedError> {
        Ok(self.filters()?.may_hold(frame, key))
    }

    fn read_filters(&mut self) -> Result<Filters, SealedError> {
        let frames = self.summary.frames.len();
        let none = NoFilters { frames };
        if u64::from(self.filters_entry.compressed) > extent(MAX_FILTERS.saturating_add(SKIPPABLE_HEADER)) {
            return Err(none.into());
        }
        let part = read_part(&mut self.file, self.filters_at, self.filters_entry.compressed.into())?;
        let content = super::skipped(FILTERS, &part).ok_or(none)?;
        Ok(Filters::read(content.to_vec(), frames)?)
    }
}

fn read_table(file: &mut (impl Read + Seek), bytes: u64) -> Result<Vec<Entry>, SealedError> {
    let footer_at = bytes.checked_sub(extent(FOOTER)).ok_or(SealedError::NoSeekTable)?;
    let footer = read_part(file, footer_at, extent(FOOTER))?;
    // Filters and summary have no lines.
    let count = seek_table::count(&footer).filter(|count| *count <= MAX_FRAMES.saturating_add(2));
    let length = extent(seek_table::length(count.ok_or(SealedError::NoSeekTable)?));
    let table_at = bytes.checked_sub(length).ok_or(SealedError::NoSeekTable)?;
    seek_table::read(&read_part(file, table_at, length)?).ok_or(SealedError::NoSeekTable)
}

fn read_summary(file: &mut (impl Read + Seek), offset: u64, entry: Entry) -> Result<Summary, SealedError> {
    let is_bounded = u64::from(entry.compressed) <= extent(MAX_SUMMARY.saturating_add(SKIPPABLE_HEADER));
    if !is_bounded || entry.plain != 0 {
        return Err(SealedError::NoSummary);
    }
    let part = read_part(file, offset, entry.compressed.into())?;
    let content = super::skipped(SUMMARY, &part).ok_or(SealedError::NoSummary)?;
    serde_json::from_slice(content).map_err(SealedError::Summary)
}

/// Whether the frames stand as the seek table has them, from the beginning of the file.
fn agrees(frames: &[Frame], entries: &[Entry]) -> bool {
    let mut offset = 0_u64;
    let bound = extent(compress_bound(usize::try_from(MAX_PLAIN).unwrap_or(usize::MAX)));
    let is_there = |(frame, entry): (&Frame, &Entry)| {
        let begins = frame.offset == offset;
        offset = offset.saturating_add(frame.compressed);
        begins
            && frame.compressed <= bound
            && frame.compressed == u64::from(entry.compressed)
            && frame.plain == u64::from(entry.plain)
    };
    frames.len() == entries.len() && frames.iter().zip(entries).all(is_there)
}

/// Whoever calls this has bounded the length.
fn read_part(file: &mut (impl Read + Seek), offset: u64, length: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut part = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.take(length).read_to_end(&mut part)?;
    if extent(part.len()) == length { Ok(part) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn extent(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
