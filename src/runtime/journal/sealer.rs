//! The thread that seals segments: compresses one that gets no more records and that is signed, and puts it in place of the open one.
//! Not here: the format (`decision_log::seal`). One that can't be sealed stays as it is, and is tried again.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::{OFlags, RenameFlags};

use super::disk::name;
use super::keeper::Kept;
use super::place::{self, Place};
use super::{Event, Watch};
use crate::decision_log::{Sealed, seal};
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

/// Seals what comes until nobody sends any more.
fn run(place: &Place, kept: &Kept, ended: &mpsc::Receiver<Ended>, watch: &Watch) {
    // Works without, only less politely.
    let _ = rustix::process::setpriority_process(None, NICENESS);
    let mut left: Vec<Ended> = Vec::new();
    loop {
        let news = if left.is_empty() {
            ended.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected)
        } else {
            ended.recv_timeout(RETRY_INTERVAL)
        };
        match news {
            Ok(news) => left.push(news),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        }
        if kept.is_closing() {
            // What is left is sealed by the next run.
            return;
        }
        left.retain(|ended| match one(place, *ended) {
            Ok(()) => false,
            Err(error) => {
                // What is on the disk of it takes room from records.
                let _ = abandon(place, *ended);
                watch(Event::NotSealed(&format!("{}: {error}", name(ended.first))));
                true
            }
        });
    }
}

fn one(place: &Place, ended: Ended) -> io::Result<()> {
    let segments = place::folder(&*place.directory(), SEGMENTS, false)?;
    let (open, sealed) = (name(ended.first), Segment::sealed(ended.first).file());
    let begun = begun(ended.first);
    let mut lines = BufReader::with_capacity(256 * 1024, place::open(&segments, &open, OFlags::RDONLY)?);
    place::remove(&segments, &begun)?;
    let file = place::open(&segments, &begun, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
    let mut out = BufWriter::new(&file);
    let summary = seal(&mut lines, ended.first, &mut out).map_err(io::Error::other)?;
    out.flush()?;
    drop(out);
    if summary.last_seq.saturating_add(1) != ended.next {
        let has = summary.last_seq;
        return Err(io::Error::other(format!(
            "it ends with record {has}, not {}; restore it",
            ended.next.saturating_sub(1)
        )));
    }
    File::sync_all(&file)?;
    // Read back before the lines go.
    let written = Sealed::open(place::open(&segments, &begun, OFlags::RDONLY)?).map_err(io::Error::other)?;
    if *written.summary() != summary {
        return Err(io::Error::other("what was written is not what was sealed; look at the disk"));
    }
    rustix::fs::renameat_with(&segments, &begun, &segments, &sealed, RenameFlags::NOREPLACE)?;
    rustix::fs::fsync(&segments)?;
    place::remove(&segments, &open)
}

/// Removes what a try that failed has left.
fn abandon(place: &Place, ended: Ended) -> io::Result<()> {
    let segments = place::folder(&*place.directory(), SEGMENTS, false)?;
    place::remove(&segments, &begun(ended.first))
}

/// The name of a sealed segment that is not finished.
fn begun(first: u64) -> String {
    format!("{}{UNFINISHED}", Segment::sealed(first).file())
}

/// Starts it. What is sent is sealed in order; it ends when nobody can send any more.
pub(super) fn start(
    place: Arc<Place>,
    kept: Arc<Kept>,
    watch: Watch,
) -> io::Result<(mpsc::Sender<Ended>, JoinHandle<()>)> {
    let (sender, ended) = mpsc::channel();
    let thread = std::thread::Builder::new().name("decision-seal".to_owned());
    Ok((sender, thread.spawn(move || run(&place, &kept, &ended, &watch))?))
}
