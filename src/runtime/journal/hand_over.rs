//! The log changes hands while the process goes on: its threads come to rest, another process gets the lock, and what is recorded here
//! from then on is relayed there. Not here: the way to that process (`runtime::succession`).
//!
//! One writer at every moment: this process touches the log no more once its threads rest, and takes it back only from one that has
//! never been told to go on, or that is gone.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::book::{Book, Turn};
use super::house::{Begun, House};
use super::place::Place;
use super::{Journal, JournalError, Opening, Running, Threads, still_runs, system};
use crate::decision_log::{Relay, Successor};

/// How long the writer may take to come to rest: as long as anybody waits for a commit.
const REST_DEADLINE: Duration = Duration::from_secs(5);

/// How long a segment of 64 MiB may take to be sealed before the log comes to rest: a second or two, and more beside load.
const SEALED_DEADLINE: Duration = Duration::from_secs(10);

/// How often it is looked whether it is.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A log whose threads rest. Records wait meanwhile, at most as long as anybody waits for a commit.
pub struct HandedOver<'a> {
    journal: &'a Journal,
    next: mpsc::Sender<Book>,
    size: u64,
    /// One that hangs: until it has ended nobody else may write the tree.
    keeper: Option<Running>,
    /// Whether the writer has its next book.
    is_done: bool,
}

impl Journal {
    /// Lets the log's threads come to rest, with all signed that is written. Records wait until the log is relayed or taken back. Blocks.
    ///
    /// # Errors
    /// The log is ill, or was handed over before; it goes on as it was.
    pub fn hand_over(&self) -> Result<HandedOver<'_>, JournalError> {
        // Nothing interrupts that, and records are written meanwhile as long as nobody waits for it.
        let patience = Instant::now() + SEALED_DEADLINE;
        while self.house.kept.is_sealing() && Instant::now() < patience {
            std::thread::sleep(LOOK_AGAIN);
        }
        let (yielded, rests) = mpsc::channel();
        let (next, turn) = mpsc::channel();
        {
            let mut state = self.house.shared.lock();
            if state.closing || self.house.place().is_none() {
                return Err(JournalError::Kept("this process has it no more"));
            }
            state.turn = Some(Turn { yielded, next: turn });
        }
        self.house.shared.tell_writer(true);
        let Ok(size) = rests.recv_timeout(REST_DEADLINE) else {
            self.house.shared.lock().turn = None;
            return Err(JournalError::Kept("it can't be written at the moment"));
        };
        self.house.kept.close();
        let keeper = self.threads.take_keeper().and_then(still_runs);
        let is_whole = keeper.is_none();
        let handed = HandedOver { journal: self, next, size, keeper, is_done: false };
        if is_whole { Ok(handed) } else { Err(JournalError::Kept("its tree can't be written")) }
    }
}

impl HandedOver<'_> {
    /// The descriptor that holds the lock, for another process.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn lock(&self) -> Result<OwnedFd, JournalError> {
        let place = self.journal.house.place().clone().ok_or(JournalError::Kept("another process has it"))?;
        place.directory().try_clone().map_err(system("hand over", place.path()))
    }

    /// From now on the log is another process's, and this one lets go of the lock: what is recorded here is relayed. Until `has_left`, or
    /// when this process ends, a log that nobody has any more is taken back.
    pub fn relay(mut self, successor: Box<dyn Successor + Send>, has_left: Arc<AtomicBool>) {
        let journal = self.journal;
        let (house, threads) = (Arc::clone(&journal.house), Arc::clone(&journal.threads));
        house.given.store(true, Ordering::Release);
        let directory = house.place().take().map(|place| place.path().to_owned());
        let reclaim = Box::new(move || match &directory {
            Some(directory) => reclaimed(&house, directory, &threads),
            None => Err(JournalError::Kept("its directory is not known")),
        });
        self.go_on(Book::Relayed { relay: Relay::default(), successor, size: self.size, reclaim, has_left });
    }

    /// Goes on with the log, which nobody else has touched, or only someone who is gone: it is opened as at a start.
    ///
    /// # Errors
    /// It can't be opened now. It is tried again until it can, and until then no record is written.
    pub fn take_back(mut self) -> Result<Opening, JournalError> {
        let (book, opening) = begun_anew(&self.journal.house, &self.journal.threads)?;
        self.go_on(book);
        Ok(opening)
    }

    fn go_on(&mut self, book: Book) {
        self.is_done = true;
        // The writer goes when the journal does, which is borrowed here.
        let _ = self.next.send(book);
    }
}

/// Whatever went wrong, the log is nobody else's: it is opened again as soon as it can be.
impl Drop for HandedOver<'_> {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let (house, threads) = (Arc::clone(&self.journal.house), Arc::clone(&self.journal.threads));
        let mut keeper = self.keeper.take();
        let reopen = Box::new(move || {
            if let Some((_, ended)) = &keeper
                && ended.try_recv() == Err(mpsc::TryRecvError::Empty)
            {
                return Err(JournalError::Kept("its tree is still being written"));
            }
            keeper = None;
            begun_anew(&house, &threads).map(|(book, _)| book)
        });
        self.go_on(Book::Closed { reopen });
    }
}

/// Opens the log, whose lock is held, for the writer that there is, and starts its keeper.
fn begun_anew(house: &House, threads: &Threads) -> Result<(Book, Opening), JournalError> {
    house.kept.begin_anew();
    let Begun { log, disk, keeper, opening, .. } = house.open()?;
    let directory = house.place().as_ref().map(|place| place.path().to_owned()).unwrap_or_default();
    threads.add("decision-tree", move || keeper.run()).map_err(system("start the threads of", &directory))?;
    Ok((Book::own(log, disk), opening))
}

/// The log, if nobody has it any more.
fn reclaimed(house: &House, directory: &Path, threads: &Threads) -> Result<Book, JournalError> {
    *house.place() = Some(Arc::new(Place::lock(directory)?));
    let (book, _) = begun_anew(house, threads).inspect_err(|_| drop(house.place().take()))?;
    house.given.store(false, Ordering::Release);
    // It may have what was relayed last.
    Ok(book.that_may_have_more(directory.to_owned()))
}

#[cfg(test)]
#[path = "hand_over_tests.rs"]
mod tests;
