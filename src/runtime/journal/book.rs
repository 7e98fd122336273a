//! Where the writer's batches go: to the log of this process, or to whoever has taken it over.
//! Not here: gathering batches (`writer`), how the log changes hands (`hand_over`).

use std::io;
use std::sync::mpsc;

use super::JournalError;
use crate::decision_log::{CommitError, End, Entry, Hash, Log, Permit, Relay, Store, StoreError, Successor};

/// The log, as the writer sees it.
pub(super) enum Book {
    /// It is this process's.
    Own {
        /// What numbers the records.
        log: Log,
        /// What keeps them.
        store: Box<dyn Store + Send>,
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
        Self::Own { log, store: Box::new(store) }
    }

    /// Makes a batch durable; see [`Log::commit`] and [`Relay::commit`].
    pub(super) fn commit(&mut self, batch: Vec<Entry>) -> Result<Vec<Permit>, CommitError> {
        match self {
            Self::Own { log, store } => log.commit(batch, store),
            Self::Relayed { relay, successor, .. } => relay.commit(batch, &mut **successor),
        }
    }

    /// Tries to be able to commit again. `is_last`: nobody will try later, so a log that nobody has any more is taken back.
    pub(super) fn recover(&mut self, is_last: bool) -> Result<(), StoreError> {
        let (failed, reclaimed) = match self {
            Self::Own { log, store } => return log.recover(store),
            Self::Relayed { relay, successor, reclaim, .. } => match relay.recover(&mut **successor) {
                Err(failed) if is_last => (failed, reclaim()),
                recovered => return recovered,
            },
        };
        *self = reclaimed.map_err(|_| failed)?;
        Ok(())
    }

    /// Whether the last commit failed, and nothing was recovered since.
    pub(super) fn is_ill(&self) -> bool {
        match self {
            Self::Own { log, .. } => log.is_ill(),
            Self::Relayed { relay, .. } => relay.is_ill(),
        }
    }

    /// The next batch begins a new segment, where this process has the log.
    pub(super) fn end_segment(&mut self) {
        match self {
            Self::Own { log, .. } => log.end_segment(),
            Self::Relayed { .. } => {}
        }
    }

    /// Records in the log, as far as is known.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Own { log, .. } => log.end().next,
            Self::Relayed { size, .. } => *size,
        }
    }

    /// The leaves of the last batch, which whoever has the log adds to its tree.
    pub(super) fn leaves(&self, leaves: &mut Vec<Hash>) {
        leaves.clear();
        match self {
            Self::Own { log, .. } => leaves.extend(log.leaves()),
            Self::Relayed { .. } => {}
        }
    }

    /// The lines of the last batch, which whoever has the log copies.
    pub(super) fn committed(&self) -> &[u8] {
        match self {
            Self::Own { log, .. } => log.committed(),
            Self::Relayed { .. } => &[],
        }
    }
}
