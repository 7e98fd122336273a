//! What a record's way into the log costs: the log alone with a store in memory, and the journal with its thread and a disk.
//! Not here: making the record (`line`). Compare runs, not absolute times: a sync is as fast as the disk below `target`.
#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up stops; criterion makes undocumented items")]

#[path = "shared/entry.rs"]
mod entry;
#[path = "shared/memory.rs"]
mod memory;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use memory::Memory;
use sallyport::decision_log::{Durability, End, Log, Pace};
use sallyport::runtime::journal::{Journal, Setup};
use tempfile::TempDir;

/// Both durabilities, each with the configuration's default for `commit_interval`.
const PACES: [(&str, Durability, Duration); 2] =
    [("sync", Durability::Sync, Duration::from_millis(2)), ("async", Durability::Async, Duration::from_millis(20))];

/// Requests that wait for their records at one moment.
const AT_ONCE: usize = 64;

fn in_memory(c: &mut Criterion) {
    let mut group = c.benchmark_group("log");
    for records in [1, 16, 256] {
        let batch = vec![entry::tunnel().0; records];
        let (mut log, mut store) = (Log::resume(End::default(), u64::MAX), Memory::default());
        group.throughput(Throughput::Elements(records as u64));
        group.bench_function(format!("commit {records} to memory"), |b| {
            b.iter_batched(
                || batch.clone(),
                |batch| log.commit(black_box(batch), &mut store).expect("memory that does not fail").len(),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn on_disk(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut group = c.benchmark_group("journal");
    // The log grows by some hundred megabytes a second at most: short runs leave room on the disk.
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for (word, durability, commit_interval) in PACES {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let journal = journal(&folder, Pace { durability, commit_interval });
        let entry = entry::tunnel().0;
        for waiting in [1, AT_ONCE] {
            group.throughput(Throughput::Elements(waiting as u64));
            group.bench_function(format!("{word}, {waiting} at once"), |b| {
                b.iter(|| {
                    let commits = (0..waiting).map(|_| journal.commit(entry.clone()));
                    let permits = runtime.block_on(join_all(commits));
                    assert!(permits.iter().all(Result::is_ok), "the log takes every record: {permits:?}");
                });
            });
        }
        assert!(!journal.shutdown().any(), "every record is written");
    }
    group.finish();
}

fn journal(folder: &TempDir, pace: Pace) -> Journal {
    let setup = Setup {
        instance: "edge-1".into(),
        directory: folder.path().join("decisions"),
        key: folder.path().join("log.key"),
        pace,
        copy: None,
        watch: std::sync::Arc::new(|_| {}),
    };
    Journal::open(setup).expect("a log").0
}

criterion_group!(benches, in_memory, on_disk);
criterion_main!(benches);
