//! The log itself: numbers records, appends and syncs them as one, and hands out the permits.
//! Not here: how long a batch is gathered (`queue`), where the bytes go (`Store`; the disk is `runtime::journal`).
//! Source: the promise that no client byte is forwarded without a record on disk.

use std::{fmt, io};

use super::entry::Entry;
use super::permit::Permit;
use super::tree::Hash;

/// Where the log's bytes go: one segment after the other, each append behind the last.
/// Two implementations: the disk (`runtime::journal`) and one for tests that fails on purpose.
pub trait Store {
    /// Writes `bytes` behind what was appended before. After an error any part of them may have been written.
    ///
    /// # Errors
    /// Not everything was written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes durable what was appended. After an error it is not called again before [`Store::reopen`]: a second
    /// sync of the same descriptor may report success for what the first has lost.
    ///
    /// # Errors
    /// It is not known what is durable of what was appended since the last sync.
    fn sync(&mut self) -> io::Result<()>;

    /// Opens the newest segment anew, checks that it holds what is durable up to `end`, and cuts off the rest.
    ///
    /// # Errors
    /// The segment can't be opened, lacks something that was durable, or can't be cut.
    fn reopen(&mut self, end: End) -> io::Result<()>;

    /// Starts the segment whose first record is `first`, durably; one that is there and empty will do.
    ///
    /// # Errors
    /// There is no such segment; the one before is still the newest.
    fn roll(&mut self, first: u64) -> io::Result<()>;
}

/// The end of what is durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct End {
    /// The number of the next record, and so how many there are.
    pub next: u64,
    /// Bytes of the newest segment.
    pub length: u64,
}

/// The one writer's view of the log.
#[derive(Debug)]
pub struct Log {
    end: End,
    ill: bool,
    segment_limit: u64,
    segment_ends: bool,
    batch: Vec<u8>,
}

/// What a store was doing when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing: it has failed before and was not reopened since.
    Ill,
    /// Starting a segment.
    Roll,
    /// Appending.
    Append,
    /// Syncing.
    Sync,
    /// Opening the segment anew.
    Reopen,
    /// Giving records over to whoever has taken the log.
    Relay,
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Step::Ill => "wait for recovery",
            Step::Roll => "start a segment",
            Step::Append => "append",
            Step::Sync => "sync",
            Step::Reopen => "reopen",
            Step::Relay => "relay",
        })
    }
}

/// The store failed.
#[derive(Debug, thiserror::Error)]
#[error("decision log can't {step}: {source}")]
pub struct StoreError {
    /// At what.
    pub step: Step,
    /// Why.
    pub source: io::Error,
}

/// A batch was not committed: no permit was given and no number was used.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct CommitError {
    /// The batch, as it was given.
    pub batch: Vec<Entry>,
    /// Why.
    #[source]
    pub source: StoreError,
}

impl Log {
    /// Goes on at `end`. A segment of more than `segment_limit` bytes is followed by a new one.
    pub fn resume(end: End, segment_limit: u64) -> Self {
        Self { end, ill: false, segment_limit, segment_ends: false, batch: Vec::new() }
    }

    /// The end of what is durable.
    pub fn end(&self) -> End {
        self.end
    }

    /// Whether the store failed and [`Log::recover`] did not succeed since.
    pub fn is_ill(&self) -> bool {
        self.ill
    }

    /// The lines of the last batch that was committed.
    pub fn committed(&self) -> &[u8] {
        &self.batch
    }

    /// The hashes of those lines as leaves of the tree, in order: of the bytes that were handed to the store, not of what it would give
    /// back.
    pub fn leaves(&self) -> impl Iterator<Item = Hash> {
        self.batch
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| Hash::leaf(line.strip_suffix(b"\n").unwrap_or(line)))
    }

    /// The next batch begins a new segment, if the newest has any record.
    pub fn end_segment(&mut self) {
        self.segment_ends = true;
    }

    /// Makes a batch durable: numbers its records in order, appends them at once and syncs.
    /// Returns a permit for each record that lets something through and has none yet, in order.
    ///
    /// # Errors
    /// Nothing of the batch counts; it comes back. The log is ill from then on, and refuses without touching the
    /// store until [`Log::recover`] has succeeded.
    pub fn commit(&mut self, batch: Vec<Entry>, store: &mut impl Store) -> Result<Vec<Permit>, CommitError> {
        match self.write(&batch, store) {
            Ok(end) => {
                self.end = end;
                Ok(permits(&batch))
            }
            Err(source) => {
                self.ill = true;
                self.batch.clear();
                Err(CommitError { batch, source })
            }
        }
    }

    /// Opens the store anew behind what is durable.
    ///
    /// # Errors
    /// The log is as ill as before.
    pub fn recover(&mut self, store: &mut impl Store) -> Result<(), StoreError> {
        store.reopen(self.end).map_err(|source| StoreError { step: Step::Reopen, source })?;
        self.ill = false;
        Ok(())
    }

    fn write(&mut self, batch: &[Entry], store: &mut impl Store) -> Result<End, StoreError> {
        let at = |step| move |source| StoreError { step, source };
        if self.ill {
            return Err(at(Step::Ill)(io::Error::other("it failed before")));
        }
        if self.end.length > self.segment_limit || (self.segment_ends && self.end.length > 0) {
            store.roll(self.end.next).map_err(at(Step::Roll))?;
            self.end.length = 0;
        }
        self.segment_ends = false;
        let mut next = self.end.next;
        self.batch.clear();
        for entry in batch {
            entry.write_as(next, &mut self.batch);
            next = next.saturating_add(1);
        }
        store.append(&self.batch).map_err(at(Step::Append))?;
        store.sync().map_err(at(Step::Sync))?;
        let written = u64::try_from(self.batch.len()).unwrap_or(u64::MAX);
        Ok(End { next, length: self.end.length.saturating_add(written) })
    }
}

/// One for each record of a batch that is durable, lets something through and has none yet, in order.
pub(super) fn permits(durable: &[Entry]) -> Vec<Permit> {
    durable.iter().filter(|entry| entry.is_owed()).map(|entry| Permit::new(entry.id())).collect()
}

#[cfg(test)]
mod tests;
