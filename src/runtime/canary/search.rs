//! What the log has of the canary's requests: their records, found by their ids, and whether a number is in one of these.
//! Not here: records of others. Whoever sends a request can write what looks like a number, which must not make the canary fail.
//! Source: the contract, section 7; PCI DSS 3.5.1.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{CanaryError, Refused, holds_number};
use crate::decision_log::sealed::{Facet, RecordTime};
use crate::decision_log::{Criteria, Found, Kind, Query};
use crate::runtime::archive::Archive;
use crate::runtime::clock;

/// How long the records of all requests may take to be in the log.
pub(super) const RECORDS_DEADLINE: Duration = Duration::from_secs(10);

/// Before the log is looked into for the first time; each later look comes after twice the time. A commit takes milliseconds.
const FIRST_LOOK: Duration = Duration::from_millis(100);

/// What the log has of the refusals; none is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Searched {
    /// So many have a record, which holds no number.
    pub recorded: usize,
    /// So many came when there were too many like them, and are only counted with those.
    pub counted: usize,
}

/// From when on the log is searched. Its writer stamps a record some time before it is there, and clocks step back.
pub fn begin() -> Timestamp {
    let now = clock::now();
    now.checked_sub(SignedDuration::from_secs(1)).unwrap_or(now)
}

/// Waits until the log in `directory` has the records of these refusals, which came after `since`, and searches them.
///
/// # Errors
/// One holds a number, they are not there in time, or the log can't be read.
pub async fn search(directory: &Path, since: Timestamp, refused: &[Refused]) -> Result<Searched, CanaryError> {
    let answered = clock::now();
    let mut missing = refused.len();
    let looks = async {
        let mut pause = FIRST_LOOK;
        loop {
            sleep(pause).await;
            pause = pause.saturating_mul(2);
            let (directory, refused) = (directory.to_owned(), refused.to_vec());
            let looked = task::spawn_blocking(move || look(&directory, (since, answered), &refused)).await;
            let (searched, left) = looked.map_err(|_| CanaryError::Fault)??;
            missing = left;
            if missing == 0 {
                return Ok(searched);
            }
        }
    };
    let found = timeout(RECORDS_DEADLINE, looks).await;
    found.unwrap_or(Err(CanaryError::Unrecorded(missing)))
}

/// What is there, and how many of the refusals are missing. What was answered is recorded or counted before that, so the next summary
/// has what has no record.
fn look(
    directory: &Path,
    (since, answered): (Timestamp, Timestamp),
    refused: &[Refused],
) -> Result<(Searched, usize), CanaryError> {
    let archive = Archive::open(directory)?;
    let query = Query::new(Criteria { since: Some(since), ..Criteria::default() })?;
    let mut seen = Seen {
        answered: RecordTime::at_or_after(answered),
        sources: Vec::new(),
        missing: refused.to_vec(),
        summaries: Vec::new(),
    };
    for segment in archive.segments()? {
        if !archive.may_match(segment, &query)? {
            continue;
        }
        let walked = archive.walk(segment, &query, &mut |found| seen.take(found))?;
        if let ControlFlow::Break(id) = walked {
            return Err(CanaryError::Logged(id));
        }
    }
    let left = seen.missing.iter().filter(|refused| !seen.is_counted(refused)).count();
    let recorded = refused.len().saturating_sub(seen.missing.len());
    Ok((Searched { recorded, counted: seen.missing.len().saturating_sub(left) }, left))
}

/// What was found so far.
struct Seen {
    /// When all had been answered.
    answered: RecordTime,
    /// Those without a record.
    missing: Vec<Refused>,
    /// The source of each record. All requests come from the same address.
    sources: Vec<Option<String>>,
    /// Source and reason of what was counted later than the answers.
    summaries: Vec<(Option<String>, String)>,
}

impl Seen {
    /// Takes a record; breaks at one of a request of ours that holds a number.
    fn take(&mut self, found: Found<'_>) -> ControlFlow<Uuid> {
        let facet = |facet| found.facets.get(facet);
        let source = facet(Facet::Source).map(str::to_owned);
        if let Some(reason) = facet(Facet::Reason).filter(|_| facet(Facet::Kind) == Some(Kind::Summary.as_str())) {
            if found.facets.time() > self.answered {
                self.summaries.push((source, reason.to_owned()));
            }
            return ControlFlow::Continue(());
        }
        let id = facet(Facet::Id).and_then(|id| id.parse().ok());
        let Some(at) = self.missing.iter().position(|refused| Some(refused.decision_id) == id) else {
            return ControlFlow::Continue(());
        };
        let refused = self.missing.swap_remove(at);
        self.sources.push(source);
        if holds_number(found.line) { ControlFlow::Break(refused.decision_id) } else { ControlFlow::Continue(()) }
    }

    /// Whether others like it were counted, of its source as far as that is known.
    fn is_counted(&self, refused: &Refused) -> bool {
        let reason = refused.reason.as_str();
        let is_ours = |source| self.sources.first().is_none_or(|ours| ours == source);
        self.summaries.iter().any(|(source, counted)| is_ours(source) && counted == reason)
    }
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
