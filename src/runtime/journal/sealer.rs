//! The thread that seals segments: compresses one that gets no more records and that is signed, and puts it in place of the open one.
//! Not here: the format (`decision_log::seal`). One that can't be sealed stays as it is, is told, and is tried again.
//! It is read back and must make the keeper's root: somebody else may have written to it. Its tiles are made durable before the lines go:
//! what is not sealed makes its tiles anew at a start, what is does not.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::disk::name;
use super::keeper::Kept;
use super::place::{self, Place};
use super::tree_files::TreeFiles;
use super::{Event, Recorder, Watch};
use crate::decision_log::{Detail, Hash, Sealed, Tile, TileId, Tree, seal};
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

/// One that is to be sealed, and the root of the tree where it ends, by the keeper: all of it is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) ended: Ended,
    pub(super) root: Hash,
}

/// What seals.
pub(super) struct Sealer {
    pub(super) place: Arc<Place>,
    /// Over the sealed records.
    pub(super) tree: Tree,
    pub(super) kept: Arc<Kept>,
    pub(super) watch: Watch,
    /// Takes a record of a failure.
    pub(super) record: Recorder,
}

impl Sealer {
    /// Seals what comes until nobody sends any more.
    fn run(mut self, ended: &mpsc::Receiver<Due>) {
        // Works without, only less politely.
        let _ = rustix::process::setpriority_process(None, NICENESS);
        let mut left: VecDeque<Due> = VecDeque::new();
        // The first record of the one that was recorded as not sealed.
        let mut recorded = None;
        let mut retry = Instant::now();
        loop {
            let news = if left.is_empty() {
                ended.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected)
            } else {
                ended.recv_timeout(retry.saturating_duration_since(Instant::now()))
            };
            match news {
                Ok(due) => left.push_back(due),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            // In order: what is not sealed is what a start reads, from its first record on.
            while let Some(due) = left.front().copied().filter(|_| retry <= Instant::now()) {
                if self.kept.is_closing() {
                    // What is left is sealed by the next run.
                    return;
                }
                self.kept.set_sealing(true);
                let sealed = self.seal(due);
                self.kept.set_sealing(false);
                if let Err(error) = sealed {
                    let is_new = recorded.replace(due.ended.first) != Some(due.ended.first);
                    self.failed(due.ended, &error, is_new);
                    retry = Instant::now() + RETRY_INTERVAL;
                }
                left.pop_front();
            }
        }
    }

    fn seal(&mut self, due: Due) -> io::Result<()> {
        let Ended { first, next } = due.ended;
        let segments = place::folder(&*self.place.directory(), SEGMENTS, false)?;
        let (open, sealed, begun) = (name(first), Segment::sealed(first).file(), begun(first));
        let mut written = write(&segments, due.ended)?;
        let (tree, full) = self.read_back(&mut written)?;
        if tree.size() != next || tree.root() != due.root {
            return Err(io::Error::other(self.what_differs(&mut written)?));
        }
        // Written anew: whoever changed a segment may have changed them, and a sync that failed is not tried twice.
        let files = TreeFiles::at(Arc::clone(&self.place));
        files.write(&full)?;
        files.sync(full.iter().map(|tile| tile.id))?;
        // In place of one that a try left which failed behind this.
        rustix::fs::renameat(&segments, &begun, &segments, &sealed)?;
        rustix::fs::fsync(&segments)?;
        place::remove(&segments, &open)?;
        self.tree = tree;
        Ok(())
    }

    /// The tree over all records up to its end, and the tiles that it fills.
    fn read_back(&self, sealed: &mut Sealed<File>) -> io::Result<(Tree, Vec<Tile>)> {
        let (mut tree, mut full, first) = (self.tree.clone(), Vec::new(), sealed.summary().first_seq);
        let each = &mut |_, line: &[u8]| {
            tree.push(Hash::leaf(line), &mut full);
            ControlFlow::Continue(())
        };
        sealed.lines_from(first, each).map_err(io::Error::other)?;
        Ok((tree, full))
    }

    /// What to say of one that is not as it was signed. The stored tiles know which record it is, unless they were changed too.
    fn what_differs(&self, sealed: &mut Sealed<File>) -> io::Result<String> {
        let files = TreeFiles::at(Arc::clone(&self.place));
        let (mut tile, mut differs): (Option<Tile>, _) = (None, None);
        let (first, size) = (sealed.summary().first_seq, sealed.summary().last_seq.saturating_add(1));
        let each = &mut |seq: u64, line: &[u8]| {
            if tile.as_ref().is_none_or(|tile| tile.id.index() != seq / 256) {
                tile = stored(&files, seq / 256, size);
            }
            let place = usize::try_from(seq % 256).unwrap_or_default();
            if tile.as_ref().and_then(|tile| tile.hashes.get(place)).is_some_and(|hash| *hash != Hash::leaf(line)) {
                differs = Some(seq);
            }
            if differs.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        sealed.lines_from(first, each).map_err(io::Error::other)?;
        Ok(match differs {
            Some(seq) => format!("record {seq} is not the one that was signed; restore it"),
            None => "its records are not those that were signed; restore them".to_owned(),
        })
    }

    fn failed(&self, ended: Ended, error: &io::Error, is_new: bool) {
        // What is on the disk of it takes room from records.
        let _ = self.abandon(ended);
        let error = format!("{}: {error}", name(ended.first));
        (self.watch)(Event::NotSealed(&error));
        if is_new {
            let error = clean(error.as_bytes(), 300).text;
            (self.record)(Detail::new().with("what", "sealing").with("error", error));
        }
    }

    /// Removes what a try that failed has left.
    fn abandon(&self, ended: Ended) -> io::Result<()> {
        let segments = place::folder(&*self.place.directory(), SEGMENTS, false)?;
        place::remove(&segments, &begun(ended.first))
    }
}

/// The stored hashes of the leaves below `size` that stand in a tile, or more of them.
fn stored(files: &TreeFiles, index: u64, size: u64) -> Option<Tile> {
    let id = TileId::in_tree(0, index, size)?;
    let full = files.read(id.full()).ok()?;
    full.or_else(|| files.read(id).ok()?)
}

/// Writes a segment sealed, under the name of one that is not finished. Gives what then stands there.
fn write(segments: &OwnedFd, ended: Ended) -> io::Result<Sealed<File>> {
    let Ended { first, next } = ended;
    let begun = begun(first);
    let mut lines = BufReader::with_capacity(256 * 1024, place::open(segments, &name(first), OFlags::RDONLY)?);
    place::remove(segments, &begun)?;
    let file = place::open(segments, &begun, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
    let mut out = BufWriter::new(&file);
    let summary = seal(&mut lines, first, &mut out).map_err(io::Error::other)?;
    out.flush()?;
    drop(out);
    if summary.last_seq.saturating_add(1) != next {
        let (has, last) = (summary.last_seq, next.saturating_sub(1));
        return Err(io::Error::other(format!("it ends with record {has}, not {last}; restore it")));
    }
    File::sync_all(&file)?;
    let written = Sealed::open(place::open(segments, &begun, OFlags::RDONLY)?).map_err(io::Error::other)?;
    if *written.summary() == summary {
        Ok(written)
    } else {
        Err(io::Error::other("what was written is not what was sealed; look at the disk"))
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
