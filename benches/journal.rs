//! What the decision log costs as a whole, all its threads, with tiles, checkpoints and sealing: CPU a record, records a second, and how
//! long a decision waits for its permit. `cargo bench --bench journal [-- SECONDS [TUNNELS]]`. Compare rows of one run, not absolute times.
//! Not here: the log's parts alone (`line`, `commit`, `seal`).
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot be set up stops; it prints a table"
)]

#[path = "shared/entry.rs"]
mod entry;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use sallyport::decision_log::{Durability, Pace};
use sallyport::runtime::journal::{Event, Journal, Setup};
use tempfile::TempDir;

/// Tunnels a second in the paced rows, if no other number is given: each has two records.
const TUNNELS: u64 = 10_000;

/// How long a requester waits that was refused.
const PAUSE: Duration = Duration::from_millis(1);

/// Requests that wait at one moment in the saturated rows.
const AT_ONCE: usize = 256;

/// Each durability with the configuration's default for `commit_interval`; and no log at all.
const ROWS: [(&str, Option<(Durability, Duration)>); 3] = [
    ("no log", None),
    ("async", Some((Durability::Async, Duration::from_millis(20)))),
    ("sync", Some((Durability::Sync, Duration::from_millis(2)))),
];

/// What one row came to.
struct Row {
    tally: Tally,
    took: Duration,
    cpu: Duration,
}

/// What came of the tunnels of one row.
#[derive(Default)]
struct Tally {
    /// How long each waited for its permit.
    waits: Vec<Duration>,
    /// Those that got none: the disk is slower than what makes records.
    refused: u64,
}

impl Extend<Option<Duration>> for Tally {
    fn extend<T: IntoIterator<Item = Option<Duration>>>(&mut self, tunnels: T) {
        for wait in tunnels {
            self.refused += u64::from(wait.is_none());
            self.waits.extend(wait);
        }
    }
}

fn main() {
    // Cargo passes `--bench`.
    let mut numbers = std::env::args().filter_map(|word| word.parse().ok());
    let (seconds, tunnels) = (numbers.next().unwrap_or(10), numbers.next().unwrap_or(TUNNELS));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    println!("{:<22}{:>12}{:>14}{:>12}{:>12}{:>12}", "", "records/s", "CPU us/record", "p50 us", "p99 us", "refused");
    for (name, pace) in ROWS {
        let row = measured(pace, |journal| runtime.block_on(paced(journal, tunnels, Duration::from_secs(seconds))));
        print(&format!("{name}, paced"), row);
    }
    for (name, pace) in ROWS.into_iter().filter(|(_, pace)| pace.is_some()) {
        let row = measured(pace, |journal| runtime.block_on(saturated(journal, Duration::from_secs(seconds))));
        print(&format!("{name}, saturated"), row);
    }
}

/// Runs with a log of its own, and counts what all threads of the process use, until the log is closed.
fn measured(pace: Option<(Durability, Duration)>, run: impl FnOnce(Option<&Journal>) -> Tally) -> Row {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let journal = pace.map(|(durability, commit_interval)| {
        let setup = Setup {
            instance: "edge-1".into(),
            directory: folder.path().join("decisions"),
            key: folder.path().join("log.key"),
            pace: Pace { durability, commit_interval },
            copy: None,
            watch: Arc::new(|event| {
                if let Event::Failed(why) | Event::Unsigned(why) | Event::NotSealed(why) = event {
                    eprintln!("{why}");
                }
            }),
        };
        Journal::open(setup).expect("a log").0
    });
    let (start, cpu) = (Instant::now(), used());
    let tally = run(journal.as_ref());
    let took = start.elapsed();
    let lost = journal.is_some_and(|journal| journal.shutdown().any());
    assert!(!lost || tally.refused > 0, "every record is written");
    Row { tally, took, cpu: used().saturating_sub(cpu) }
}

/// So many tunnels a second: a decision that is waited for, and a close that is not.
async fn paced(journal: Option<&Journal>, tunnels: u64, time: Duration) -> Tally {
    let at_once = tunnels.div_ceil(1000).max(1);
    let beat = Duration::from_nanos(1_000_000_000 * at_once / tunnels.max(1));
    let (start, mut tally, mut beats) = (Instant::now(), Tally::default(), tokio::time::interval(beat));
    let mut flying = FuturesUnordered::new();
    while start.elapsed() < time {
        tokio::select! {
            _ = beats.tick() => flying.extend((0..at_once).map(|_| tunnel(journal))),
            Some(wait) = flying.next() => tally.extend([wait]),
        }
    }
    tally.extend(flying.collect::<Vec<_>>().await);
    tally
}

/// As many as there can be, so many waiting.
async fn saturated(journal: Option<&Journal>, time: Duration) -> Tally {
    let (start, mut tally) = (Instant::now(), Tally::default());
    while start.elapsed() < time {
        let before = tally.refused;
        tally.extend(join_all((0..AT_ONCE).map(|_| tunnel(journal))).await);
        if tally.refused > before {
            tokio::time::sleep(PAUSE).await;
        }
    }
    tally
}

/// One tunnel's two records; `None`: it is refused.
async fn tunnel(journal: Option<&Journal>) -> Option<Duration> {
    let (decision, close) = entry::tunnel();
    let start = Instant::now();
    match journal {
        Some(journal) => {
            let permit = journal.commit(decision).await.ok()?;
            journal.note(close);
            drop(black_box(permit));
        }
        None => drop(black_box((decision, close))),
    }
    Some(start.elapsed())
}

/// CPU time of all threads, those that have ended too: in hundredths of a second, proc(5).
fn used() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("proc");
    let (_, behind) = stat.rsplit_once(')').expect("a name");
    let ticks: u64 = behind.split(' ').skip(12).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}

fn print(name: &str, row: Row) {
    let Tally { mut waits, refused } = row.tally;
    waits.sort_unstable();
    let records = 2 * waits.len() as u64;
    let at = |part: usize| waits.get(waits.len() * part / 100).map_or(0.0, |wait| wait.as_secs_f64() * 1e6);
    let rate = records as f64 / row.took.as_secs_f64();
    let cpu = row.cpu.as_secs_f64() * 1e6 / records as f64;
    println!("{name:<22}{rate:>12.0}{cpu:>14.2}{:>12.1}{:>12.1}{refused:>12}", at(50), at(99));
}
