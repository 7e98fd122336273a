//! The log as `policy stale`, `replay` and `suggest` read it: from a time on, on all cores, with progress.
//! Not here: what they gather (`foresight`), how segments are read (`runtime::archive`).

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;

use super::Failure;
use crate::cli::audit::directory;
use crate::cli::progress::Progress;
use crate::decision_log::sealed::RecordTime;
use crate::decision_log::{Criteria, Query};
use crate::runtime::archive::{Archive, Gather, Segment};
use crate::runtime::clock::{self, when};

/// Which records.
#[derive(Args)]
pub(super) struct WindowArgs {
    /// From this time on: `2026-03-01T08:00:00Z`, `2026-03-01` (its beginning, UTC), or an age such as `30d`
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// The log's directory; by default the configuration's
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
}

/// A log, and from when on it is read.
pub(super) struct Swept {
    archive: Archive,
    segments: Vec<Segment>,
    /// From this time on; `None`: all of it.
    pub(super) since: Option<Timestamp>,
    /// Now.
    pub(super) now: Timestamp,
}

impl Swept {
    /// Opens the log.
    pub(super) fn open(config: &Path, args: &WindowArgs) -> Result<Self, Failure> {
        let now = clock::now();
        let since = args.since.as_deref().map(|text| when(text, now)).transpose();
        let since = since.map_err(|error| Failure::Usage(anyhow::anyhow!("`--since`: {error}")))?;
        let directory = directory(args.log.as_deref(), config)?;
        let outside = |error| Failure::Outside(anyhow::Error::from(error));
        let archive = Archive::open(&directory).map_err(outside)?;
        let segments = archive.segments().map_err(outside)?;
        if segments.is_empty() {
            let shown = directory.display();
            return Err(Failure::Outside(anyhow::anyhow!("`{shown}` has no segments; name the directory of a log")));
        }
        Ok(Self { archive, segments, since, now })
    }

    /// The time of its first record.
    pub(super) fn begin(&self) -> Result<RecordTime, Failure> {
        let query = Query::new(Criteria::default()).map_err(|error| Failure::Usage(error.into()))?;
        for segment in &self.segments {
            let first = self.archive.walk(*segment, &query, &mut |found| ControlFlow::Break(found.facets.time()));
            if let ControlFlow::Break(time) = first.map_err(|error| Failure::Outside(error.into()))? {
                return Ok(time);
            }
        }
        Ok(RecordTime::at_or_after(self.now))
    }

    /// What threads gather of the records of these kinds since then.
    pub(super) fn gather<T: Send>(&self, kinds: Vec<String>, gather: &Gather<'_, T>) -> Result<Vec<T>, Failure> {
        self.all(Criteria { since: self.since, kind: kinds, ..Criteria::default() }, gather)
    }

    /// What threads gather of the records that fit.
    pub(super) fn all<T: Send>(&self, criteria: Criteria, gather: &Gather<'_, T>) -> Result<Vec<T>, Failure> {
        let query = Query::new(criteria).map_err(|error| Failure::Usage(error.into()))?;
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let (mut progress, of) = (Progress::counting("segments"), count(self.segments.len()));
        let swept = self.archive.sweep(&self.segments, &query, gather, &mut |done| progress.at(count(done), of));
        swept.map_err(|error| Failure::Outside(error.into()))
    }
}
