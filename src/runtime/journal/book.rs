//! Where the writer's batches go: to the log of this process, or to whoever has taken it over.
//! Not here: gathering batches (`writer`), how the log changes hands (`hand_over`).

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use super::JournalError;
use super::relayed::missing;
use crate::decision_log::{CommitError, End, Entry, Hash, Log, Permit, Relay, Step, Store, StoreError, Successor};

/// The log, as the writer sees it.
pub(super) enum Book {
    /// It is this process's.
    Own {
        /// What numbers the records.
        log: Log,
        /// What keeps them.
        store: Box<dyn Store + Send>,
        /// Where the log is that may have some of the next batch already: it was another's.
        doubtful: Option<PathBuf>,
    },
    /// It is another's.
    Relayed {
        /// What relays the records.
        relay: Relay,
        /// Whoever has it.
        successor: Box<dyn Successor + Send>,
        /// Records in the log when it changed hands.
        size: u64,
        /// Opens the log anew, if nobody else has it.
        reclaim: Reclaim,
        /// Whether it is opened anew only when there is no later.
        has_left: Arc<AtomicBool>,
    },
    /// It is this process's, and could not be opened again.
    Closed {
        /// Opens it.
        reopen: Reclaim,
    },
}

/// Takes the log back once its successor is gone.
pub(super) type Reclaim = Box<dyn FnMut() -> Result<Book, JournalError> + Send>;

/// The writer gives up its book for another.
pub(super) struct Turn {
    /// Is told how many records there are once the writer touches its book no more.
    pub(super) yielded: mpsc::Sender<u64>,
    /// Gives it the next one; without any it goes on with the one it has.
    pub(super) next: mpsc::Receiver<Book>,
}

impl Store for Box<dyn Store + Send> {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        (**self).append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        (**self).sync()
    }

    fn reopen(&mut self, end: End) -> io::Result<()> {
        (**self).reopen(end)
    }

    fn roll(&mut self, first: u64) -> io::Result<()> {
        (**self).roll(first)
    }
}

impl Book {
    /// A log of this process.
    pub(super) fn own(log: Log, store: impl Store + Send + 'static) -> Self {
        Self::Own { log, store: Box::new(store), doubtful: None }
    }

    /// The same, in `directory`, where some of the next batch may stand already.
    pub(super) fn that_may_have_more(self, directory: PathBuf) -> Self {
        match self {
            Self::Own { log, store, .. } => Self::Own { log, store, doubtful: Some(directory) },
            other @ (Self::Relayed { .. } | Self::Closed { .. }) => other,
        }
    }

    /// Makes a batch durable; see [`Log::commit`] and [`Relay::commit`].
    pub(super) fn commit(&mut self, batch: Vec<Entry>) -> Result<Vec<Permit>, CommitError> {
        match self {
            Self::Own { log, store, doubtful } => {
                let batch = match doubtful {
                    Some(directory) => missing(directory, batch)?,
                    None => batch,
                };
                let permits = log.commit(batch, store)?;
                *doubtful = None;
                Ok(permits)
            }
            Self::Relayed { relay, successor, .. } => relay.commit(batch, &mut **successor),
            Self::Closed { .. } => {
                let source = StoreError { step: Step::Ill, source: io::Error::other("it is not open") };
                Err(CommitError { batch, source })
            }
        }
    }

    /// Tries to be able to commit again. `is_last`: there is no later.
    pub(super) fn recover(&mut self, is_last: bool) -> Result<(), StoreError> {
        let (failed, reclaimed) = match self {
            Self::Own { log, store, .. } => return log.recover(store),
            Self::Relayed { relay, successor, reclaim, has_left, .. } => match relay.recover(&mut **successor) {
                Err(failed) if is_last || !has_left.load(Ordering::Acquire) => (failed, reclaim()),
                recovered => return recovered,
            },
            Self::Closed { reopen } => {
                let closed = StoreError { step: Step::Reopen, source: io::Error::other("it can't be opened") };
                (closed, reopen())
            }
        };
        let reclaimed =
            reclaimed.inspect_err(|error| tracing::error!(%error, "the decision log can't be opened again"));
        *self = reclaimed.map_err(|_| failed)?;
        Ok(())
    }

    /// Whether it is worth trying again until the last moment: somebody may come who has the log.
    pub(super) fn is_anothers(&self) -> bool {
        matches!(self, Self::Relayed { .. })
    }

    /// Whether the last commit failed, and nothing was recovered since.
    pub(super) fn is_ill(&self) -> bool {
        match self {
            Self::Own { log, .. } => log.is_ill(),
            Self::Relayed { relay, .. } => relay.is_ill(),
            Self::Closed { .. } => true,
        }
    }

    /// The next batch begins a new segment, where this process has the log.
    pub(super) fn end_segment(&mut self) {
        match self {
            Self::Own { log, .. } => log.end_segment(),
            Self::Relayed { .. } | Self::Closed { .. } => {}
        }
    }

    /// Records in the log, as far as is known.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Own { log, .. } => log.end().next,
            Self::Relayed { size, .. } => *size,
            Self::Closed { .. } => 0,
        }
    }

    /// The leaves of the last batch, which whoever has the log adds to its tree.
    pub(super) fn leaves(&self, leaves: &mut Vec<Hash>) {
        leaves.clear();
        match self {
            Self::Own { log, .. } => leaves.extend(log.leaves()),
            Self::Relayed { .. } | Self::Closed { .. } => {}
        }
    }

    /// The lines of the last batch, which whoever has the log copies.
    pub(super) fn committed(&self) -> &[u8] {
        match self {
            Self::Own { log, .. } => log.committed(),
            Self::Relayed { .. } | Self::Closed { .. } => &[],
        }
    }
}
