//! The store on disk: the newest segment, open for appending.
//! Not here: when what is written (`decision_log`, `writer`), what there is at a start (`opening`), the tree (`tree_files`).

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;

use super::keeper::Kept;
use super::place::{self, Place};
use crate::decision_log::{Damage, End, MAX_LINE, Scan, Store, is_record, scan};
use crate::runtime::layout::{self, SEGMENTS};

/// Bytes read at once from a segment.
const READ_AT_ONCE: usize = 256 * 1024;

/// The newest segment in its folder.
pub(super) struct Disk {
    place: Arc<Place>,
    segments: OwnedFd,
    segment: Segment,
    kept: Arc<Kept>,
}

/// A segment that may grow.
pub(super) struct Segment {
    first: u64,
    file: File,
}

impl Disk {
    pub(super) fn new(place: Arc<Place>, segments: OwnedFd, segment: Segment, kept: Arc<Kept>) -> Self {
        Self { place, segments, segment, kept }
    }

    /// Whether directory, segments and segment stand where the configuration says. What was moved aside or replaced
    /// takes everything, but another process may begin a second log in its place, and what was removed keeps nothing.
    fn stands(&self) -> io::Result<()> {
        let moved = |what| Err(io::Error::other(format!("{what} was moved or replaced; put it back")));
        if !self.place.stands()? {
            return moved("the log's directory");
        }
        if !place::is_at(&self.segments, &*self.place.directory(), Path::new(SEGMENTS))? {
            return moved("the folder of the segments");
        }
        if !place::is_at(&self.segment.file, &self.segments, Path::new(&self.segment.name()))? {
            return moved("the segment");
        }
        Ok(())
    }
}

impl Store for Disk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.kept.has_room() {
            return Err(io::Error::other("the tree over the records can't be written, and too many wait for it"));
        }
        (&self.segment.file).write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.segment.file.sync_data()?;
        self.stands()
    }

    fn reopen(&mut self, end: End) -> io::Result<()> {
        self.place.reopen()?;
        self.segments = place::folder(&*self.place.directory(), SEGMENTS, false)?;
        let segment = Segment::open(&self.segments, self.segment.first, false)?;
        segment.check(end)?;
        segment.cut(end)?;
        segment.check(end)?;
        self.segment = segment;
        Ok(())
    }

    fn roll(&mut self, first: u64) -> io::Result<()> {
        let segment = Segment::open(&self.segments, first, true)?;
        if segment.file.metadata()?.len() > 0 {
            return Err(io::Error::other("the next segment is not empty"));
        }
        segment.file.sync_all()?;
        rustix::fs::fsync(&self.segments)?;
        let before = std::mem::replace(&mut self.segment, segment);
        self.kept.ended(before.first, first);
        Ok(())
    }
}

impl Segment {
    /// Opens the one whose first record is `first`.
    pub(super) fn open(segments: &OwnedFd, first: u64, create: bool) -> io::Result<Self> {
        let mut flags = OFlags::RDWR | OFlags::APPEND;
        flags.set(OFlags::CREATE, create);
        Ok(Self { first, file: place::open(segments, &name(first), flags)? })
    }

    /// Its name in the folder of the segments.
    pub(super) fn name(&self) -> String {
        name(self.first)
    }

    /// What it holds. `each` gets its whole records.
    pub(super) fn scan(&self, each: &mut dyn FnMut(&[u8])) -> Result<Scan, Damage> {
        scan(&mut BufReader::with_capacity(READ_AT_ONCE, &self.file), self.first, each)
    }

    /// Whether it is as long as is durable, and ends in the right record there.
    fn check(&self, end: End) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        if length < end.length {
            return Err(io::Error::other(format!("the segment has {length} bytes of {}; restore it", end.length)));
        }
        let mut tail = vec![0; MAX_LINE.min(usize::try_from(end.length).unwrap_or(usize::MAX))];
        let start = end.length.saturating_sub(u64::try_from(tail.len()).unwrap_or_default());
        self.file.read_exact_at(&mut tail, start)?;
        let last = tail.split_inclusive(|byte| *byte == b'\n').next_back();
        match last {
            Some(last) if !is_record(last, end.next.saturating_sub(1)) => {
                Err(io::Error::other("the segment does not end in its last record; restore it"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Cuts off what is behind `end`.
    pub(super) fn cut(&self, end: End) -> io::Result<()> {
        self.file.set_len(end.length)?;
        self.file.sync_all()
    }
}

/// The name of the open segment whose first record is `first`.
pub(super) fn name(first: u64) -> String {
    layout::Segment::plain(first).file()
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
