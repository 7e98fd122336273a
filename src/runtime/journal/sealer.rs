//! The thread that seals segments: compresses one that gets no more records and that is signed, and puts it in place of the open one.
//! Not here: the format (`decision_log::seal`). One that can't be sealed stays as it is, is told, and is tried again.
//! Its tiles are made durable before: what is not sealed makes its tiles anew at a start, what is does not.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::ops::ControlFlow;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::{OFlags, RenameFlags};

use super::disk::name;
use super::keeper::Kept;
use super::place::{self, Place};
use super::tree_files::TreeFiles;
use super::{Event, Note, Watch};
use crate::decision_log::{Detail, Hash, Sealed, Tile, TileId, seal};
use crate::redact::clean;
use crate::runtime::layout::{SEGMENTS, Segment, UNFINISHED};

/// A segment that could not be sealed is tried again after so long: a disk is freed within minutes or days, not seconds.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// How much this thread gives way to those that serve: sealing is in bursts of some 100 ms, and nobody waits for it.
const NICENESS: i32 = 10;

/// A segment that will get no more records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    /// The number of its first record.
    pub(super) first: u64,
    /// The number behind its last record.
    pub(super) next: u64,
}

/// One that is to be sealed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    pub(super) ended: Ended,
    /// Records that are signed: all of it at least.
    pub(super) signed: u64,
}

/// What seals.
pub(super) struct Sealer {
    pub(super) place: Arc<Place>,
    pub(super) kept: Arc<Kept>,
    pub(super) watch: Watch,
    /// Takes a record of a failure.
    pub(super) note: Note,
}

impl Sealer {
    /// Seals what comes until nobody sends any more.
    fn run(&self, ended: &mpsc::Receiver<Due>) {
        // Works without, only less politely.
        let _ = rustix::process::setpriority_process(None, NICENESS);
        let mut left: VecDeque<Due> = VecDeque::new();
        // The first record of the one that was recorded as not sealed.
        let mut recorded = None;
        loop {
            let news = if left.is_empty() {
                ended.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected)
            } else {
                ended.recv_timeout(RETRY_INTERVAL)
            };
            match news {
                Ok(due) => left.push_back(due),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            // In order: what is not sealed is what a start reads, from its first record on.
            while let Some(due) = left.front().copied() {
                if self.kept.is_closing() {
                    // What is left is sealed by the next run.
                    return;
                }
                if let Err(error) = self.seal(due) {
                    let is_new = recorded.replace(due.ended.first) != Some(due.ended.first);
                    self.failed(due.ended, &error, is_new);
                    break;
                }
                left.pop_front();
            }
        }
    }

    fn seal(&self, due: Due) -> io::Result<()> {
        let (first, next) = (due.ended.first, due.ended.next);
        let segments = place::folder(&*self.place.directory(), SEGMENTS, false)?;
        let (open, sealed) = (name(first), Segment::sealed(first).file());
        let begun = begun(first);
        let mut lines = BufReader::with_capacity(256 * 1024, place::open(&segments, &open, OFlags::RDONLY)?);
        place::remove(&segments, &begun)?;
        let file = place::open(&segments, &begun, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
        let mut out = BufWriter::new(&file);
        let summary = seal(&mut lines, first, &mut out).map_err(io::Error::other)?;
        out.flush()?;
        drop(out);
        if summary.last_seq.saturating_add(1) != next {
            let (has, last) = (summary.last_seq, next.saturating_sub(1));
            return Err(io::Error::other(format!("it ends with record {has}, not {last}; restore it")));
        }
        File::sync_all(&file)?;
        // Read back before the lines go.
        let files = TreeFiles::at(Arc::clone(&self.place));
        let mut written = Sealed::open(place::open(&segments, &begun, OFlags::RDONLY)?).map_err(io::Error::other)?;
        if *written.summary() != summary {
            return Err(io::Error::other("what was written is not what was sealed; look at the disk"));
        }
        compare(&mut written, &files, due.signed)?;
        files.sync(TileId::filled(first, next))?;
        rustix::fs::renameat_with(&segments, &begun, &segments, &sealed, RenameFlags::NOREPLACE)?;
        rustix::fs::fsync(&segments)?;
        place::remove(&segments, &open)
    }

    fn failed(&self, ended: Ended, error: &io::Error, is_new: bool) {
        // What is on the disk of it takes room from records.
        let _ = self.abandon(ended);
        let error = format!("{}: {error}", name(ended.first));
        (self.watch)(Event::NotSealed(&error));
        if is_new {
            let error = clean(error.as_bytes(), 300).text;
            (self.note)(Detail::new().with("what", "sealing").with("error", error));
        }
    }

    /// Removes what a try that failed has left.
    fn abandon(&self, ended: Ended) -> io::Result<()> {
        let segments = place::folder(&*self.place.directory(), SEGMENTS, false)?;
        place::remove(&segments, &begun(ended.first))
    }
}

/// Whether each line is the one whose hash was signed: somebody else may have written to the segment.
fn compare(sealed: &mut Sealed<File>, files: &TreeFiles, signed: u64) -> io::Result<()> {
    let (mut tile, mut result): (Option<Tile>, _) = (None, Ok(()));
    let first = sealed.summary().first_seq;
    let each = &mut |seq: u64, line: &[u8]| {
        if tile.as_ref().is_none_or(|tile| tile.id.index() != seq / 256) {
            match signed_tile(files, seq / 256, signed) {
                Ok(signed) => tile = Some(signed),
                Err(error) => result = Err(error),
            }
        }
        let place = usize::try_from(seq % 256).unwrap_or_default();
        if result.is_ok() && tile.as_ref().and_then(|tile| tile.hashes.get(place)) != Some(&Hash::leaf(line)) {
            result = Err(io::Error::other(format!("record {seq} is not the one that was signed; restore it")));
        }
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    sealed.lines_from(first, each).map_err(io::Error::other)?;
    result
}

/// The hashes that a tree of `signed` records has in a tile of leaves, or more.
fn signed_tile(files: &TreeFiles, index: u64, signed: u64) -> io::Result<Tile> {
    let Some(id) = TileId::in_tree(0, index, signed) else { return Err(io::Error::other("it was never signed")) };
    let gone = || io::Error::other(format!("`{id}` is gone or cut off; a restart makes it anew"));
    match files.read(id)? {
        Some(tile) => Ok(tile),
        None => files.read(id.full())?.ok_or_else(gone),
    }
}

/// The name of a sealed segment that is not finished.
fn begun(first: u64) -> String {
    format!("{}{UNFINISHED}", Segment::sealed(first).file())
}

/// Starts it. What is sent is sealed in order; it ends when nobody can send any more.
pub(super) fn start(sealer: Sealer) -> io::Result<(mpsc::Sender<Due>, JoinHandle<()>)> {
    let (sender, ended) = mpsc::channel();
    let thread = std::thread::Builder::new().name("decision-seal".to_owned());
    Ok((sender, thread.spawn(move || sealer.run(&ended))?))
}

#[cfg(test)]
#[path = "sealer_tests.rs"]
mod tests;
