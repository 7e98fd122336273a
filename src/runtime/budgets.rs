//! What has gone out today, kept over a restart: a small file below `state`, renewed each second in which bytes have gone out. A crash
//! forgets that second at most. Not here: counting (`quota`).
//! Source: the contract: `limits: {bytes_out: SIZE/day}`, days in UTC; `state`.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::decision_log::{Detail, Kind};
use crate::policy::Policy;
use crate::runtime::quota::{Quotas, Spent};
use crate::runtime::shared::Shared;
use crate::runtime::whole_file::{folder_of, replace};
use crate::runtime::{clock, events};

/// Below `state`.
const NAME: &str = "budgets.json";

/// How often the file is renewed, and how late a new day may begin.
const KEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Upper bound in bytes of the file: a hundred thousand rules and sources with budgets.
const MAX_BUDGETS: u64 = 16 * 1024 * 1024;

/// The file, and what it says.
pub struct Budgets {
    path: PathBuf,
    page: Page,
    /// Whether it could not be written the last time.
    is_ill: bool,
}

/// What the file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Page {
    day: Date,
    spent: Spent,
}

/// Why budgets can't be kept.
#[derive(Debug, thiserror::Error)]
pub enum BudgetsError {
    /// The file or its folder can't be used.
    #[error("{}: {error}; byte budgets are kept there, so check `state` and its permissions", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file is not what was written.
    #[error("{}: not what was written ({error}); remove it to count today's bytes from nothing", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where and what.
        error: serde_json::Error,
    },
}

impl Budgets {
    /// Reads what has gone out today already, and tries whether it can be written, if `policy` has any budget.
    ///
    /// # Errors
    /// The file is there and can't be read, or is damaged: nobody knows then what may still go out. Or it can't be written.
    pub fn open(state: &Path, policy: &Policy, now: Timestamp) -> Result<Self, BudgetsError> {
        let path = state.join(NAME);
        let today = day(now);
        let found = read(&path)?.filter(|found| found.day >= today);
        let page = found.unwrap_or_else(|| Page { day: today, spent: Spent::default() });
        let budgets = Self { path, page, is_ill: false };
        let of_sources = policy.sources().iter().map(|source| source.limits);
        if policy.rules().map(|rule| rule.limits).chain(of_sources).any(|limits| limits.bytes_out.is_some()) {
            budgets.write()?;
        }
        Ok(budgets)
    }

    /// Counts in `quotas` what has gone out already, before a policy is served.
    pub fn restore(&self, quotas: &Quotas) {
        quotas.restore(&self.page.spent);
    }

    /// Begins a new day if there is one, and writes down what has gone out since.
    ///
    /// # Errors
    /// The file can't be written. What is counted in memory holds all the same.
    pub fn keep(&mut self, quotas: &Quotas, now: Timestamp) -> Result<(), BudgetsError> {
        let today = day(now);
        // A clock that was put back brings no new budgets.
        if today > self.page.day {
            quotas.begin_day();
            self.page.day = today;
        }
        let spent = quotas.spent();
        if spent == self.page.spent {
            return Ok(());
        }
        self.page.spent = spent;
        let written = self.write();
        if written.is_err() {
            // Written again the next time, whatever goes out until then.
            self.page.spent = Spent::default();
        }
        written
    }

    fn write(&self) -> Result<(), BudgetsError> {
        let write = || {
            DirBuilder::new().recursive(true).mode(0o750).create(folder_of(&self.path))?;
            replace(&self.path, serde_json::to_string(&self.page)?.as_bytes())
        };
        write().map_err(|error| BudgetsError::Io { path: self.path.clone(), error })
    }
}

fn day(now: Timestamp) -> Date {
    now.to_zoned(TimeZone::UTC).date()
}

fn read(path: &Path) -> Result<Option<Page>, BudgetsError> {
    let failed = |error| BudgetsError::Io { path: path.to_owned(), error };
    let length = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata.map_err(failed)?.len(),
    };
    if length > MAX_BUDGETS {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    serde_json::from_str(&text).map_err(|error| BudgetsError::Damaged { path: path.to_owned(), error })
}

/// Keeps them each second until the task is dropped.
pub async fn keep_up(shared: Arc<Shared>, budgets: Arc<Mutex<Budgets>>) {
    let mut ticks = interval(KEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (shared, budgets) = (Arc::clone(&shared), Arc::clone(&budgets));
        // A disk may take its time; a task that panics has nothing left to keep.
        let _ = spawn_blocking(move || keep(&shared, &budgets)).await;
    }
}

/// Keeps them now. The first failure in a row is told, and so is its end.
pub fn keep(shared: &Shared, budgets: &Mutex<Budgets>) {
    let mut budgets = budgets.lock().unwrap_or_else(PoisonError::into_inner);
    let was_ill = budgets.is_ill;
    let kept = budgets.keep(shared.quotas(), clock::now());
    budgets.is_ill = kept.is_err();
    match kept {
        Err(error) if !was_ill => {
            tracing::error!(%error, "byte budgets can't be kept; they hold until the proxy stops");
            events::note(shared, Kind::ControlFailure, Detail::new().with("what", "byte_budgets"));
        }
        Ok(()) if was_ill => tracing::warn!("byte budgets can be kept again"),
        Err(_) | Ok(()) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{PolicyFile, Reason, Setting};
    use crate::yaml::Faults;

    fn policy() -> Policy {
        let text = "version: 1\nsources: [{name: s, subnets: [10.0.0.0/24], limits: {bytes_out: 5KiB/day}}]\n\
                    rules: [{id: r, customer: c, sources: [s], hosts: [a.example], limits: {bytes_out: 1KiB/day}}]\n";
        let file = PolicyFile { path: "p".into(), shown: "p".into(), text: text.into() };
        Policy::load(&[file], &Setting::default(), &mut Faults::new()).unwrap()
    }

    /// Quotas and budgets of a process that starts at `now`.
    fn start(state: &Path, now: &str) -> (Quotas, Budgets) {
        let quotas = Quotas::default();
        let budgets = Budgets::open(state, &policy(), now.parse().unwrap()).unwrap();
        budgets.restore(&quotas);
        quotas.serve(&policy());
        (quotas, budgets)
    }

    /// How many of 2000 bytes may go out.
    fn send(quotas: &Quotas) -> Result<usize, Reason> {
        let policy = policy();
        let places = quotas.enter(policy.rules().next().unwrap(), &policy.sources()[0])?;
        Ok(places.reserve(2000))
    }

    #[test]
    fn what_has_gone_out_is_known_after_a_restart_of_the_same_day() {
        for (row, stopped, started, want) in [
            ("at once", "2027-01-01T23:59:58Z", "2027-01-01T23:59:59Z", Err(Reason::ByteBudgetSpent)),
            ("the next day", "2027-01-01T23:59:58Z", "2027-01-02T00:00:00Z", Ok(1024)),
            ("with the clock put back", "2027-01-02T00:00:00Z", "2027-01-01T12:00:00Z", Err(Reason::ByteBudgetSpent)),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let state = folder.path().join("deep/state");
            let (quotas, mut budgets) = start(&state, stopped);
            assert_eq!(send(&quotas), Ok(1024));
            budgets.keep(&quotas, stopped.parse().unwrap()).unwrap();
            let (quotas, _) = start(&state, started);
            assert_eq!(send(&quotas), want, "{row}");
        }
    }

    #[test]
    fn a_new_day_begins_while_it_runs_and_only_forwards() {
        let folder = tempfile::tempdir().unwrap();
        let (quotas, mut budgets) = start(folder.path(), "2027-01-01T23:59:58Z");
        assert_eq!(send(&quotas), Ok(1024));
        for (now, want) in [
            ("2027-01-01T23:59:59Z", Err(Reason::ByteBudgetSpent)),
            ("2027-01-02T00:00:00Z", Ok(1024)),
            ("2027-01-01T23:00:00Z", Err(Reason::ByteBudgetSpent)),
            ("2027-01-02T00:00:01Z", Err(Reason::ByteBudgetSpent)),
        ] {
            budgets.keep(&quotas, now.parse().unwrap()).unwrap();
            assert_eq!(send(&quotas), want, "{now}");
        }
    }

    #[test]
    fn a_file_that_is_none_stops_the_start_and_says_what_to_do() {
        for text in
            ["", "{}", "{\"day\":\"2027-01-01\",\"spent\":{\"rules\":{\"r\":-1},\"sources\":{}}}", "[]", "\u{0}"]
        {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(NAME), text).unwrap();
            let opened = Budgets::open(folder.path(), &policy(), "2027-01-01T00:00:00Z".parse().unwrap());
            let error = opened.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(
                error.contains("budgets.json: not what was written") && error.contains("remove it"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn a_state_that_takes_nothing_is_told_and_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let (quotas, mut budgets) = start(&state, "2027-01-01T12:00:00Z");
        fs::remove_dir_all(&state).unwrap();
        fs::write(&state, "a file where the folder should be").unwrap();
        assert_eq!(send(&quotas), Ok(1024));
        let now = "2027-01-01T12:00:01Z".parse().unwrap();
        let opened = Budgets::open(&state, &policy(), now).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(opened.contains("check `state`"), "{opened}");
        assert!(budgets.keep(&quotas, now).is_err() && budgets.keep(&quotas, now).is_err(), "not forgotten");
        fs::remove_file(&state).unwrap();
        budgets.keep(&quotas, now).unwrap();
        let (quotas, _) = start(&state, "2027-01-01T12:00:02Z");
        assert_eq!(send(&quotas), Err(Reason::ByteBudgetSpent));
    }
}
