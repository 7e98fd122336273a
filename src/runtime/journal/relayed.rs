//! Records that other processes of this instance relay: written here, each once.
//! Not here: the way they come (`succession`).

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::{Journal, Unavailable};
use crate::decision_log::sealed::Facet;
use crate::decision_log::{CommitError, Criteria, Entry, Query, Step, StoreError};
use crate::runtime::archive::Archive;

/// A record stands in the log at its own time or a little later; segments are looked through from so much before it, as clocks step.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);

impl Journal {
    /// Makes records durable that another process has made, and waits until they are. `again`: those that the log has are left out.
    /// Blocks. Nobody gets a permit by it.
    ///
    /// # Errors
    /// Not all of them are durable; none of the others is going to be.
    pub fn keep_all(&self, entries: Vec<Entry>, again: bool) -> Result<(), Unavailable> {
        let directory = self.house.place().as_ref().map(|place| place.path().to_owned());
        let entries = match directory {
            Some(directory) if again => missing(&directory, entries).map_err(|_| Unavailable::Ill)?,
            Some(_) => entries,
            None => return Err(Unavailable::Closed),
        };
        let asked: Vec<_> = entries.into_iter().map(|entry| self.ask(entry)).collect();
        // Each is waited for, whatever became of another: who asks again must find them all.
        let settled = asked.into_iter().map(|asked| match asked? {
            super::Asked::Granted(_) => Ok(()),
            super::Asked::Waits(waiting) => waiting.blocking_recv().map(drop).map_err(|_| Unavailable::Ill),
        });
        settled.fold(Ok(()), Result::and)
    }
}

/// Those of these records that the log does not have, by id and kind. A permit that is owed is owed still: its record was withdrawn when
/// it could not be relayed, and this is another.
///
/// # Errors
/// The log can't be read; the batch comes back.
pub(super) fn missing(directory: &Path, batch: Vec<Entry>) -> Result<Vec<Entry>, CommitError> {
    match known(directory, &batch) {
        Ok(known) => {
            let key = |entry: &Entry| (entry.id().to_string(), entry.kind().as_str().to_owned());
            Ok(batch.into_iter().filter(|entry| !known.contains(&key(entry))).collect())
        }
        Err(error) => {
            let source = StoreError { step: Step::Reopen, source: std::io::Error::other(error) };
            Err(CommitError { batch, source })
        }
    }
}

type Known = HashSet<(String, String)>;

fn known(directory: &Path, entries: &[Entry]) -> Result<Known, Box<dyn std::error::Error + Send + Sync>> {
    let first = entries.iter().filter_map(Entry::time).min().unwrap_or(Timestamp::UNIX_EPOCH);
    let id = entries.iter().map(|entry| entry.id().to_string()).collect();
    let since = first.checked_sub(MARGIN).unwrap_or(Timestamp::UNIX_EPOCH);
    let query = Query::new(Criteria { since: Some(since), id, ..Criteria::default() })?;
    let archive = Archive::open(directory)?;
    let mut known = Known::new();
    for segment in archive.segments()? {
        if archive.may_match(segment, &query)? {
            let _ = archive.walk(segment, &query, &mut |found| {
                let word = |facet| found.facets.get(facet).unwrap_or_default().to_owned();
                known.insert((word(Facet::Id), word(Facet::Kind)));
                ControlFlow::<()>::Continue(())
            })?;
        }
    }
    Ok(known)
}
