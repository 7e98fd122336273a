//! What has gone out today, kept over a restart: a small file below `state`, renewed each second in which bytes have gone out. A crash
//! forgets that second at most. Not here: counting (`quota`).
//! Source: the contract: `limits: {bytes_out: SIZE/day}`, days in UTC; `state`.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
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

/// The file of an instance below `state`: several may share that.
fn name(instance: &str) -> String {
    format!("budgets.{instance}.json")
}

/// How often the file is renewed, and how late a new day may begin.
const KEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How long a stop waits for the last bytes to be kept.
const LAST_DEADLINE: Duration = Duration::from_secs(2);

/// Upper bound in bytes of the file: a hundred thousand rules and sources with budgets.
const MAX_BUDGETS: u64 = 16 * 1024 * 1024;

/// The file, and what it says.
pub struct Budgets {
    path: PathBuf,
    page: Page,
    /// Whether the file may say something else.
    is_dirty: bool,
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
    /// The file is of a day that is not to come before tomorrow is over.
    #[error("{}: of {day}, and today is {today}; correct the clock, or remove it to count today's bytes from nothing", path.display())]
    Ahead {
        /// The file.
        path: PathBuf,
        /// Its day.
        day: Date,
        /// The clock's.
        today: Date,
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
    /// Reads what has gone out today already. If `policy` has any budget, tries too whether it can be written.
    ///
    /// # Errors
    /// The policy has a budget, and the file is there but says nothing that can be trusted, or can't be written: nobody knows then what
    /// may still go out. Without a budget nobody asks.
    pub fn open((state, instance): (&Path, &str), policy: &Policy, now: Timestamp) -> Result<Self, BudgetsError> {
        let (path, today) = (state.join(name(instance)), day(now));
        let found = match found(&path, today) {
            Err(error) if !has_budgets(policy) => {
                tracing::warn!(%error, "byte budgets begin with nothing gone");
                None
            }
            found => found?,
        };
        let page = found.unwrap_or_else(|| Page { day: today, spent: Spent::default() });
        let budgets = Self { path, page, is_dirty: false, is_ill: false };
        if has_budgets(policy) {
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
        if today > self.page.day {
            quotas.begin_day();
            (self.page.day, self.is_dirty) = (today, true);
        } else if is_ahead(self.page.day, today) {
            // The clock had been wrong, and is right now. That brings no new budgets; tomorrow does.
            (self.page.day, self.is_dirty) = (today, true);
        }
        let spent = quotas.spent();
        self.is_dirty |= spent != self.page.spent;
        self.page.spent = spent;
        if self.is_dirty && quotas.has_budgets() {
            self.write()?;
            self.is_dirty = false;
        }
        Ok(())
    }

    fn write(&self) -> Result<(), BudgetsError> {
        let write = || {
            DirBuilder::new().recursive(true).mode(0o750).create(folder_of(&self.path))?;
            replace(&self.path, serde_json::to_string(&self.page)?.as_bytes())
        };
        write().map_err(|error| BudgetsError::Io { path: self.path.clone(), error })
    }
}

/// What opening would find wrong for `policy`; writes nothing.
///
/// # Errors
/// As [`Budgets::open`], but for what writing would show.
pub fn check((state, instance): (&Path, &str), policy: &Policy, now: Timestamp) -> Result<(), BudgetsError> {
    if has_budgets(policy) { found(&state.join(name(instance)), day(now)).map(drop) } else { Ok(()) }
}

fn has_budgets(policy: &Policy) -> bool {
    let of_sources = policy.sources().iter().map(|source| source.limits);
    policy.rules().map(|rule| rule.limits).chain(of_sources).any(|limits| limits.bytes_out.is_some())
}

/// What the file says of today, or of tomorrow: a clock may have been put back a little.
fn found(path: &Path, today: Date) -> Result<Option<Page>, BudgetsError> {
    match read(path)?.filter(|page| page.day >= today) {
        Some(Page { day, .. }) if is_ahead(day, today) => {
            Err(BudgetsError::Ahead { path: path.to_owned(), day, today })
        }
        found => Ok(found),
    }
}

/// Whether `day` is later than tomorrow.
fn is_ahead(day: Date, today: Date) -> bool {
    today.tomorrow().is_ok_and(|tomorrow| day > tomorrow)
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

/// Keeps them a last time. Who else keeps them at this moment, maybe on a disk that hangs, is waited for two seconds at most.
pub fn keep_last(shared: &Arc<Shared>, budgets: &Arc<Mutex<Budgets>>) {
    let (shared, budgets) = (Arc::clone(shared), Arc::clone(budgets));
    let (done, kept) = mpsc::channel();
    let keeping = std::thread::Builder::new().name("budgets".to_owned()).spawn(move || {
        keep(&shared, &budgets);
        // Nobody waits any more if it took too long.
        let _ = done.send(());
    });
    if keeping.is_err() || kept.recv_timeout(LAST_DEADLINE).is_err() {
        tracing::error!("the last byte budgets could not be kept");
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
    use crate::policy::{Reason, testing};

    fn policy() -> Policy {
        let text = "version: 1\nsources: [{name: s, subnets: [10.0.0.0/24], limits: {bytes_out: 5KiB/day}}]\n\
                    rules: [{id: r, customer: c, sources: [s], hosts: [a.example], limits: {bytes_out: 1KiB/day}}]\n";
        testing::policy(text)
    }

    /// Quotas and budgets of a process that starts at `now`.
    fn start(state: &Path, now: &str) -> (Quotas, Budgets) {
        let quotas = Quotas::default();
        let budgets = Budgets::open((state, "edge-1"), &policy(), now.parse().unwrap()).unwrap();
        budgets.restore(&quotas);
        quotas.serve(&policy());
        (quotas, budgets)
    }

    /// How many of 2000 bytes may go out.
    fn send(quotas: &Quotas) -> Result<usize, Reason> {
        let policy = policy();
        let places = quotas.enter(policy.rules().next().unwrap(), &policy.sources()[0])?;
        Ok(places.within(2000, Ok::<_, ()>, |bytes| *bytes).unwrap().unwrap_or_default())
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
    fn a_clock_that_was_far_ahead_is_told_at_a_start_and_forgotten_while_it_runs() {
        let folder = tempfile::tempdir().unwrap();
        let (quotas, mut budgets) = start(folder.path(), "2099-06-01T00:00:00Z");
        assert_eq!(send(&quotas), Ok(1024));
        budgets.keep(&quotas, "2099-06-01T00:00:00Z".parse().unwrap()).unwrap();
        let now = "2027-01-01T12:00:00Z".parse().unwrap();
        let opened = Budgets::open((folder.path(), "edge-1"), &policy(), now).err();
        let error = opened.map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("of 2099-06-01, and today is 2027-01-01; correct the clock"), "{error}");
        budgets.keep(&quotas, now).unwrap();
        assert_eq!(send(&quotas), Err(Reason::ByteBudgetSpent), "no new budget today");
        assert!(Budgets::open((folder.path(), "edge-1"), &policy(), now).is_ok(), "and the file is right again");
        budgets.keep(&quotas, "2027-01-02T00:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(send(&quotas), Ok(1024), "but tomorrow");
    }

    #[test]
    fn instances_that_share_a_state_count_for_themselves() {
        let folder = tempfile::tempdir().unwrap();
        let now = "2027-01-01T12:00:00Z";
        let (quotas, mut budgets) = start(folder.path(), now);
        assert_eq!(send(&quotas), Ok(1024));
        budgets.keep(&quotas, now.parse().unwrap()).unwrap();
        let other = Quotas::default();
        Budgets::open((folder.path(), "edge-2"), &policy(), now.parse().unwrap()).unwrap().restore(&other);
        other.serve(&policy());
        assert_eq!(send(&other), Ok(1024));
    }

    #[test]
    fn a_file_that_is_none_stops_the_start_and_says_what_to_do() {
        for text in
            ["", "{}", "{\"day\":\"2027-01-01\",\"spent\":{\"rules\":{\"r\":-1},\"sources\":{}}}", "[]", "\u{0}"]
        {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(name("edge-1")), text).unwrap();
            let (at, now) = ((folder.path(), "edge-1"), "2027-01-01T00:00:00Z".parse().unwrap());
            let none = testing::policy("version: 1\n");
            assert!(Budgets::open(at, &none, now).is_ok(), "nobody asks: {text}");
            let opened = Budgets::open(at, &policy(), now);
            assert!(check(at, &policy(), now).is_err() && check(at, &none, now).is_ok(), "{text}");
            let error = opened.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(
                error.contains("budgets.edge-1.json: not what was written") && error.contains("remove it"),
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
        let opened =
            Budgets::open((&state, "edge-1"), &policy(), now).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(opened.contains("check `state`"), "{opened}");
        assert!(budgets.keep(&quotas, now).is_err() && budgets.keep(&quotas, now).is_err(), "not forgotten");
        fs::remove_file(&state).unwrap();
        budgets.keep(&quotas, now).unwrap();
        let (quotas, _) = start(&state, "2027-01-01T12:00:02Z");
        assert_eq!(send(&quotas), Err(Reason::ByteBudgetSpent));
    }
}
