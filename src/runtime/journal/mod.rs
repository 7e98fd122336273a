//! The decision log on disk: one writer's thread, the queue before it, and how workers wait for their permits.
//! Not here: what a record says, numbering, bounds and batches (`decision_log`).
//! Source: PCI DSS 10.3 (protected logs), 10.7 (failures of a control are noticed and recorded).

mod book;
mod copy;
mod disk;
mod error;
mod hand_over;
mod house;
mod keeper;
mod key_change;
mod key_file;
mod opening;
mod place;
mod relayed;
mod sealer;
mod segments;
mod shared;
#[cfg(test)]
mod testing;
mod tree_files;
mod writer;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::oneshot;

use crate::decision_log::{Checkpoint, Detail, Entry, Kind, Pace, Permit, Push, Refusal, Scan, Unwritten, origin};
use crate::runtime::layout::VKEY;
use book::Book;
use copy::Copier;
use error::system;
use house::{Begun, House};
use keeper::Kept;
use place::Place;
use shared::Shared;
use writer::Writer;

pub use error::JournalError;
pub use hand_over::HandedOver;
pub use key_change::next_path as next_key_path;

/// How long anybody waits for a commit. A disk that takes longer is as good as gone, and the client waits too.
const COMMIT_DEADLINE: Duration = Duration::from_secs(5);

/// How long the end of the process waits for the last commit.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);

/// Bytes after which a segment is followed by a new one: some 100,000 records, read in under a second at a start.
const SEGMENT_LIMIT: u64 = 64 * 1024 * 1024;

/// Where the log is and how it is kept.
pub struct Setup {
    /// Names the log's origin, and stands in the records that the log writes about itself.
    pub instance: Arc<str>,
    /// The log's directory; made if missing.
    pub directory: PathBuf,
    /// The key's file; made if missing.
    pub key: PathBuf,
    /// How batches are gathered.
    pub pace: Pace,
    /// Gets a copy of every durable line, as well as it can: what it is too slow for is dropped and counted.
    pub copy: Option<Box<dyn io::Write + Send>>,
    /// Is told what happens, on the log's threads; for metrics and messages. Must not block.
    pub watch: Watch,
}

/// An observer of the log.
pub type Watch = Arc<dyn Fn(Event<'_>) + Send + Sync>;

/// Takes a record of a failure of the log itself.
type Recorder = Arc<dyn Fn(Detail) + Send + Sync>;

/// What happened to the log.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A batch is durable.
    Committed {
        /// How many records of each kind it had.
        kinds: &'a [(Kind, u64)],
        /// From taking the batch to its sync.
        took: Duration,
        /// Records in the log.
        size: u64,
    },
    /// A commit or a try to recover failed: at what, and why. The log is ill.
    Failed(&'a str),
    /// The log is well again after so long.
    Recovered(Duration),
    /// So many records could not be written and are gone, since it was last told.
    Lost(Unwritten),
    /// A checkpoint over so many records is written.
    Signed(u64),
    /// Tiles or checkpoint can't be written, and why. It is tried again, and told once.
    Unsigned(&'a str),
    /// A segment can't be sealed: which, and why. It is tried again.
    NotSealed(&'a str),
    /// So many lines were not copied, since the copy's reader is too slow or gone.
    NotCopied(u64),
}

/// What was found on opening; for the `start` record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The end of the log, what the run before left there, and what of that was cut off.
    pub scan: Scan,
    /// What the run before signed last.
    pub signed: Checkpoint,
    /// Records behind that: of the last second before a crash.
    pub unsigned: u64,
    /// Whether the newest checkpoint is kept beside the key too. A folder that can't be written has none.
    pub head_kept: bool,
    /// Whether tiles were gone or wrong, and had to be made anew from the records.
    pub rebuilt: bool,
    /// Whether the key was made just now.
    pub key_made: bool,
    /// Whether the log was changed over to another key just now.
    pub key_changed: bool,
    /// Whether the log was begun just now: its directory had no `log.vkey`, and nothing was signed.
    pub log_made: bool,
    /// The verifier key, as in `log.vkey`.
    pub vkey: String,
}

/// A record was not made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The log is ill, or fell ill over this record. The record is gone.
    #[error("the decision log can't be written")]
    Ill,
    /// Too much waits. The record is gone.
    #[error("the decision log is behind")]
    Full,
    /// It took too long. The record may still come to the log.
    #[error("the decision log takes too long")]
    Late,
    /// The process ends.
    #[error("the decision log is closed")]
    Closed,
    /// The record lets nothing through, so there is no permit for it. It is in the log.
    #[error("no permit for a record that lets nothing through")]
    NoPermit,
}

/// What came of asking for a record to be written.
enum Asked {
    /// It is as good as durable.
    Granted(Permit),
    /// It will be settled; an error: it is not durable and is not going to be.
    Waits(oneshot::Receiver<Option<Permit>>),
}

/// The door to the log, for all workers.
pub struct Journal {
    house: Arc<House>,
    threads: Arc<Threads>,
}

/// The log's threads. The writer first: the keeper signs what it has written.
#[derive(Default)]
struct Threads(Mutex<Vec<Running>>);

/// A thread, and what is closed when it ends.
type Running = (JoinHandle<()>, mpsc::Receiver<()>);

impl Journal {
    /// Takes the lock, finds the log's end, cuts off what a crash has torn, checks what there is against what was signed, and starts
    /// writer, keeper and sealer. The lock is held until the process ends or hands the log over. Blocks; for the start of the process.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn open(setup: Setup) -> Result<(Self, Opening), JournalError> {
        let place = Place::lock(&setup.directory)?;
        Self::begin(setup, place)
    }

    /// The same with the lock that another process has handed over: the descriptor of the directory.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn open_inherited(setup: Setup, directory: OwnedFd) -> Result<(Self, Opening), JournalError> {
        let place = Place::inherited(&setup.directory, directory)?;
        Self::begin(setup, place)
    }

    fn begin(setup: Setup, place: Place) -> Result<(Self, Opening), JournalError> {
        let (kept, shared) = (Arc::new(Kept::new()), Arc::new(Shared::new(setup.pace)));
        let Setup { instance, key, copy, watch, .. } = setup;
        let (place, given) = (Mutex::new(Some(Arc::new(place))), AtomicBool::new(false));
        let house = House { instance, key, watch, place, given, shared, kept };
        let Begun { log, disk, keeper, latest, opening } = house.open()?;
        let cannot = system("start the threads of", &setup.directory);
        let journal = Self::start(house, (Book::own(log, disk), latest), copy).map_err(&cannot)?;
        journal.threads.add("decision-tree", move || keeper.run()).map_err(cannot)?;
        Ok((journal, opening))
    }

    /// Whether records can be written, as far as is known. Asked before an allowed destination is looked up.
    pub fn healthy(&self) -> bool {
        let now = Instant::now();
        self.house.shared.is_healthy(now) && !self.house.kept.is_late(now)
    }

    /// The newest signed tree head, as in `checkpoint`.
    pub fn checkpoint(&self) -> Option<Arc<str>> {
        self.house.kept.checkpoint()
    }

    /// Hands over a record that nobody waits for: a refusal, an end. Never waits; what can't be kept is counted, and
    /// the count is written when the log can be.
    pub fn note(&self, entry: Entry) {
        self.house.shared.note(entry);
    }

    /// Waits until the record of a decision is durable, or with `async` until it may be taken as such, at most five
    /// seconds. Dropping the future gives up the permit, not the record.
    ///
    /// # Errors
    /// No permit: see [`Unavailable`]. After [`Unavailable::Late`] the record may still be written.
    pub async fn commit(&self, entry: Entry) -> Result<Permit, Unavailable> {
        self.wait_for(entry).await?.ok_or(Unavailable::NoPermit)
    }

    /// Waits until a record of any kind is durable: what must be on record before it is done.
    ///
    /// # Errors
    /// See [`Journal::commit`].
    pub async fn record(&self, entry: Entry) -> Result<(), Unavailable> {
        self.wait_for(entry).await.map(drop)
    }

    /// Writes what waits, takes nothing more, signs it, and ends the log's threads. Returns what was not written, as far as is known:
    /// of a commit that hangs, all of it. Blocks for at most twice ten seconds; for the end of the process.
    pub fn shutdown(&self) -> Unwritten {
        self.house.shared.close();
        let writer = self.threads.take_writer();
        if writer.and_then(still_runs).is_some() {
            // It hangs: nobody will be there any more to see what comes of it.
            self.house.shared.lock().queue.close();
        }
        self.house.kept.close();
        // What is not signed now is signed by the next run. A writer that took the log back had a keeper begin.
        let keepers = std::mem::take(&mut *self.threads.lock());
        for keeper in keepers {
            let _ = still_runs(keeper);
        }
        // Threads that hang hold the lock all the same.
        drop(self.house.place().take());
        self.house.shared.lock().queue.unwritten()
    }

    /// Whether another process has the log.
    pub fn is_anothers(&self) -> bool {
        self.house.is_anothers()
    }

    /// Whoever had the log that this process gave away is gone: the writer looks for who has it now, without waiting for a record.
    pub fn seek(&self) {
        self.house.shared.lock().seeks = true;
        self.house.shared.tell_writer(true);
    }

    async fn wait_for(&self, entry: Entry) -> Result<Option<Permit>, Unavailable> {
        let waiting = match self.ask(entry)? {
            Asked::Granted(permit) => return Ok(Some(permit)),
            Asked::Waits(waiting) => waiting,
        };
        match tokio::time::timeout(COMMIT_DEADLINE, waiting).await {
            Ok(settled) => settled.map_err(|_| Unavailable::Ill),
            Err(_) => {
                self.house.shared.stalled();
                Err(Unavailable::Late)
            }
        }
    }

    /// Queues a record for which somebody waits.
    fn ask(&self, entry: Entry) -> Result<Asked, Unavailable> {
        let (asked, news) = {
            let mut state = self.house.shared.lock();
            if state.closing {
                return Err(Unavailable::Closed);
            }
            match state.queue.request(entry, Instant::now()) {
                Push::Refused(Refusal::Ill) => return Err(Unavailable::Ill),
                Push::Refused(Refusal::Full) => return Err(Unavailable::Full),
                Push::Granted(permit) => (Asked::Granted(permit), state.queue.changed_due()),
                Push::Wait(ticket) => {
                    let (holder, waiting) = oneshot::channel();
                    state.holders.push_back((ticket, holder));
                    (Asked::Waits(waiting), state.queue.changed_due())
                }
            }
        };
        self.house.shared.tell_writer(news);
        Ok(asked)
    }

    fn start(
        house: House,
        (book, latest): (Book, Option<Timestamp>),
        copy: Option<Box<dyn io::Write + Send>>,
    ) -> io::Result<Self> {
        let copier = copy.map(Copier::start).transpose()?;
        let company = (Arc::clone(&house.instance), copier, Arc::clone(&house.watch));
        let writer = Writer::new((Arc::clone(&house.shared), Arc::clone(&house.kept)), book, company).after(latest);
        let journal = Self { house: Arc::new(house), threads: Arc::default() };
        journal.threads.add("decision-log", move || writer.run())?;
        Ok(journal)
    }
}

impl Threads {
    fn add(&self, name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let (ends, ended) = mpsc::channel();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            run();
            drop::<mpsc::Sender<()>>(ends);
        })?;
        self.lock().push((thread, ended));
        Ok(())
    }

    /// The newest keeper; never the writer.
    fn take_keeper(&self) -> Option<Running> {
        let mut threads = self.lock();
        if threads.len() > 1 { threads.pop() } else { None }
    }

    fn take_writer(&self) -> Option<Running> {
        let mut threads = self.lock();
        (!threads.is_empty()).then(|| threads.remove(0))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the end of a thread, but not for long; one that has not come.
fn still_runs((thread, ended): Running) -> Option<Running> {
    match ended.recv_timeout(SHUTDOWN_DEADLINE) {
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            // A panic there was reported there.
            let _ = thread.join();
            None
        }
        Ok(()) | Err(mpsc::RecvTimeoutError::Timeout) => Some((thread, ended)),
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.house.shared.close();
        self.house.kept.close();
    }
}

/// Whether [`Journal::open`] would accept the key for the log in `directory`. Only reads: makes nothing, locks nothing.
///
/// # Errors
/// What `open` would say of key and instance.
pub fn check(directory: &Path, key: &Path, instance: &str) -> Result<(), JournalError> {
    key_file::check((directory, &directory.join(VKEY)), key, &origin(instance))
}

/// Makes a key for the instance's log, never over another file, and gives its verifier key.
///
/// # Errors
/// [`JournalError::Name`], or what the system says.
pub fn make_key(path: &Path, instance: &str) -> Result<String, JournalError> {
    key_file::make(path, &origin(instance))
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
