//! The log as other tools read it: checkpoint, tiles of hashes, and bundles of lines made from the segments when asked for.
//! Not here: queries (`decisions`), what tiles and checkpoints prove (`decision_log`).
//! Source: C2SP tlog-tiles, "Log entries": each entry as its length in two bytes, big-endian, and its bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::ops::{ControlFlow, Range};

use super::decisions::WantedError;
use crate::decision_log::{MAX_LINE, Sealed, SealedError, TileId, WalkError};
use crate::evidence::{LineError, TableError, TreeHead};
use crate::runtime::archive::{Archive, ArchiveError, Opened, Segment, SegmentError};

/// Bytes that are read from a segment at a time.
const BUFFER: usize = 256 * 1024;

/// Why something of the log could not be given.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file or folder.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A segment.
    #[error("`{name}` {why}")]
    Segment {
        /// The segment.
        name: String,
        /// What is wrong with it.
        why: WalkError,
    },
    /// A record can't be read back.
    #[error(transparent)]
    Line(#[from] LineError),
    /// A row can't be written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A query can't be made.
    #[error(transparent)]
    Wanted(#[from] WantedError),
    /// A segment, or whoever gets what is read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Records are not where they must be.
    #[error("no record {0} where it must be")]
    Missing(u64),
}

impl From<SegmentError> for LogError {
    fn from(error: SegmentError) -> Self {
        match error {
            SegmentError::Archive(error) => Self::Archive(error),
            SegmentError::Segment { name, why } => Self::Segment { name, why },
        }
    }
}

/// Lines of the log that a bundle has: their numbers, and the segments from the one on that has the first.
pub struct Bundle {
    archive: Archive,
    numbers: Range<u64>,
    segments: Vec<Segment>,
}

impl Bundle {
    /// The bundle below a tile of level 0. `None`: the signed tree has not so many records.
    ///
    /// # Errors
    /// The directory, its checkpoint or its segments can't be read.
    pub fn find(archive: Archive, id: TileId) -> Result<Option<Self>, LogError> {
        let first = id.index().saturating_mul(256);
        let end = first.saturating_add(u64::try_from(id.width()).unwrap_or(u64::MAX));
        let head = archive.checkpoint()?.as_deref().and_then(TreeHead::read);
        if head.is_none_or(|head| head.size < end) {
            return Ok(None);
        }
        let mut segments = archive.segments()?;
        let before = segments.partition_point(|segment| segment.first <= first);
        segments.drain(..before.saturating_sub(1));
        Ok(Some(Self { archive, numbers: first..end, segments }))
    }

    /// Writes it.
    ///
    /// # Errors
    /// It can't be read, or `out` takes no more.
    pub fn write(self, out: &mut dyn Write) -> Result<(), LogError> {
        let Self { archive, mut numbers, segments } = self;
        for segment in segments {
            if numbers.is_empty() || segment.first > numbers.start {
                break;
            }
            match archive.read(segment)? {
                Opened::Plain(file) => {
                    let mut lines = BufReader::with_capacity(BUFFER, file);
                    bundle(&mut lines, segment.first, &mut numbers, out)?;
                }
                Opened::Sealed(file) => sealed(file, segment, &mut numbers, out)?,
            }
        }
        if numbers.is_empty() { Ok(()) } else { Err(LogError::Missing(numbers.start)) }
    }
}

fn sealed(file: File, segment: Segment, numbers: &mut Range<u64>, out: &mut dyn Write) -> Result<(), LogError> {
    let damaged = |why: SealedError| LogError::Segment { name: segment.name(), why: why.into() };
    let mut sealed = Sealed::open(BufReader::new(file)).map_err(damaged)?;
    let (from, mut written) = (numbers.start, Ok(()));
    let each = &mut |_, line: &[u8]| {
        if !numbers.is_empty() && written.is_ok() {
            written = entry(line, numbers, out);
        }
        if numbers.is_empty() || written.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    sealed.lines_from(from, each).map_err(damaged)?;
    written
}

/// Writes those of `numbers` that are among `lines`, whose first one is `first`, and takes them off.
fn bundle(lines: &mut dyn BufRead, first: u64, numbers: &mut Range<u64>, out: &mut dyn Write) -> Result<(), LogError> {
    for _ in first..numbers.start {
        if lines.skip_until(b'\n')? == 0 {
            return Ok(());
        }
    }
    let mut line = Vec::new();
    while !numbers.is_empty() {
        line.clear();
        io::Read::take(&mut *lines, MAX_LINE as u64).read_until(b'\n', &mut line)?;
        let Some(line) = line.strip_suffix(b"\n") else { return Ok(()) };
        entry(line, numbers, out)?;
    }
    Ok(())
}

/// Writes the first of `numbers`, and takes it off.
fn entry(line: &[u8], numbers: &mut Range<u64>, out: &mut dyn Write) -> Result<(), LogError> {
    let length = u16::try_from(line.len()).map_err(|_| LogError::Missing(numbers.start))?;
    out.write_all(&length.to_be_bytes())?;
    out.write_all(line)?;
    numbers.start = numbers.start.saturating_add(1);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::decision_log::seal;

    fn line(seq: u64) -> String {
        format!(
            "{{\"v\":1,\"seq\":{seq},\"time\":\"2026-03-01T00:00:00.{seq:06}Z\",\"kind\":\"start\",\"id\":\"{:032x}\",\"instance\":\"a\"}}",
            seq * 7919
        )
    }

    fn lines(numbers: Range<u64>) -> String {
        numbers.map(|seq| line(seq) + "\n").collect()
    }

    /// Three segments, of which the first is sealed, and a head over some of their records.
    fn log(size: u64) -> (tempfile::TempDir, Archive) {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("segments")).unwrap();
        let mut first = Vec::new();
        seal(&mut lines(0..700).as_bytes(), 0, &mut first).unwrap();
        fs::write(path("segments/000000000000.jsonl.zst"), first).unwrap();
        fs::write(path("segments/000000000700.jsonl"), lines(700..900)).unwrap();
        fs::write(path("segments/000000000900.jsonl"), lines(900..1030) + "{\"v\":1,\"se").unwrap();
        fs::write(path("checkpoint"), format!("sallyport/a\n{size}\nroot\n\n— sallyport/a x\n")).unwrap();
        let archive = Archive::open(folder.path()).unwrap();
        (folder, archive)
    }

    fn read(bytes: &[u8]) -> Vec<String> {
        let (mut entries, mut rest) = (Vec::new(), bytes);
        while let Some((length, behind)) = rest.split_first_chunk::<2>() {
            let (entry, behind) = behind.split_at(u16::from_be_bytes(*length).into());
            entries.push(String::from_utf8(entry.to_vec()).unwrap());
            rest = behind;
        }
        entries
    }

    #[test]
    fn bundles_hold_their_lines_across_segments_and_no_more_than_is_signed() {
        for (index, width, size, there) in [
            (0, 256, 1030, true),
            (1, 256, 1030, true),
            (2, 256, 1030, true),
            (3, 256, 1030, true),
            (4, 6, 1030, true),
            (4, 5, 1030, true),
            (4, 7, 1030, false),
            (4, 256, 1030, false),
            (5, 1, 1030, false),
            (3, 132, 900, true),
            (3, 133, 900, false),
            (u64::MAX / 256, 1, 1030, false),
        ] {
            let (_folder, archive) = log(size);
            let found = Bundle::find(archive, TileId::new(0, index, width).unwrap()).unwrap();
            assert_eq!(found.is_some(), there, "{index} of {width} in {size}");
            let Some(found) = found else { continue };
            let mut out = Vec::new();
            found.write(&mut out).unwrap();
            let want: Vec<String> = (index * 256..index * 256 + width as u64).map(line).collect();
            assert_eq!(read(&out), want, "{index} of {width} in {size}");
        }
    }

    #[test]
    fn records_that_are_gone_are_missed() {
        let (folder, archive) = log(2000);
        let mut out = Vec::new();
        let torn = Bundle::find(archive, TileId::new(0, 4, 256).unwrap()).unwrap().unwrap();
        assert!(matches!(torn.write(&mut out), Err(LogError::Missing(1030))), "half a line is none");
        fs::remove_file(folder.path().join("segments/000000000700.jsonl")).unwrap();
        let archive = Archive::open(folder.path()).unwrap();
        let gap = Bundle::find(archive, TileId::new(0, 2, 256).unwrap()).unwrap().unwrap();
        assert!(matches!(gap.write(&mut out), Err(LogError::Missing(700))));
    }
}
