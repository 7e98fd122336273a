//! What a start finds, and what it does about it, on a real file system.

use std::fs;
use std::path::PathBuf;

use super::super::testing::{Log, edit, files, flip, record, replace, until};
use super::*;
use crate::decision_log::{Kind, Record, TileId};
use crate::runtime::archive::Archive;
use crate::runtime::archive::verify::{Trust, verify};
use crate::runtime::clock;
use crate::runtime::journal::key_file::head_path;

#[test]
fn nothing_but_what_was_signed_is_gone_on_with() {
    type Harm = fn(&Log);
    type Want = fn(&Result<Opening, JournalError>) -> bool;
    let as_it_is: Want = |got| matches!(got, Ok(Opening { rebuilt: false, .. }));
    let mended: Want = |got| matches!(got, Ok(Opening { rebuilt: true, .. }));
    let other_root: Want = |got| matches!(got, Err(JournalError::OtherRoot { size: 600, .. }));
    let short: Want = |got| matches!(got, Err(JournalError::Short { signed: 600, .. }));
    let checkpoint: Want = |got| matches!(got, Err(JournalError::Checkpoint { .. }));
    let foreign: Want = |got| matches!(got, Err(JournalError::Foreign(_)));
    let rows: [(&str, Harm, Want); 17] = [
        ("nothing", |_| (), as_it_is),
        ("no tiles", |log| fs::remove_dir_all(log.path("tile")).unwrap(), mended),
        ("no partial tile", |log| fs::remove_dir_all(log.path("tile/0/002.p")).unwrap(), mended),
        ("another full tile", |log| flip(&log.path("tile/0/001"), 100), mended),
        ("a tile cut off", |log| fs::write(log.path("tile/0/000"), "x").unwrap(), mended),
        ("another tile above", |log| flip(&log.path("tile/1/000.p/2"), 40), mended),
        ("a record changed", |log| edit(log, |lines| lines[17] = lines[17].replace("edge-1", "edge-2")), other_root),
        (
            "the last record changed",
            |log| edit(log, |lines| lines[599] = lines[599].replace("edge-1", "edge-2")),
            other_root,
        ),
        ("records gone from the end", |log| edit(log, |lines| lines.truncate(598)), short),
        ("a record gone", |log| edit(log, |lines| drop(lines.remove(300))), short),
        ("two swapped", |log| edit(log, |lines| lines.swap(5, 6)), short),
        (
            "no checkpoint",
            |log| fs::remove_file(log.path("checkpoint")).unwrap(),
            |got| matches!(got, Err(JournalError::NoCheckpoint(_))),
        ),
        (
            "neither checkpoint nor verifier key",
            |log| ["checkpoint", "log.vkey"].iter().for_each(|name| fs::remove_file(log.path(name)).unwrap()),
            |got| matches!(got, Err(JournalError::NoCheckpoint(_))),
        ),
        ("another size", |log| replace(&log.path("checkpoint"), "\n600\n", "\n599\n"), checkpoint),
        ("another name", |log| replace(&log.path("checkpoint"), "edge-1", "edge-2"), checkpoint),
        ("a foreign tile", |log| fs::write(log.path("tile/notes"), "").unwrap(), foreign),
        (
            "a linked tile",
            |log| {
                fs::rename(log.path("tile"), log.folder.path().join("tiles")).unwrap();
                std::os::unix::fs::symlink("../tiles", log.path("tile")).unwrap();
            },
            foreign,
        ),
    ];
    for (name, harm, want) in rows {
        let log = Log::new();
        log.write(600);
        let whole = files(&log.directory());
        harm(&log);
        let harmed = files(&log.directory());
        let got = log.open().map(|(journal, opening, _)| {
            assert!(!journal.shutdown().any());
            opening
        });
        assert!(want(&got), "{name}: {got:?}");
        // As it was before, or nothing is touched.
        let left = if got.is_ok() { whole } else { harmed };
        assert!(files(&log.directory()) == left, "{name}");
    }
}

#[test]
fn records_behind_the_checkpoint_are_signed_by_the_next_run_and_an_older_one_is_not_taken() {
    let log = Log::new();
    log.write(300);
    let old = fs::read(log.path("checkpoint")).unwrap();
    log.write(400);
    fs::write(log.path("checkpoint"), &old).unwrap();
    let error = log.open().map(drop).unwrap_err();
    assert!(matches!(error, JournalError::PutBack { signed: 300, head: 700, .. }), "{error}");
    // As a crash leaves it that comes between records and checkpoint.
    fs::write(head_path(&log.key()), &old).unwrap();
    let opening = log.write(0);
    assert_eq!((opening.signed.size, opening.unsigned, opening.scan.end.next), (300, 400, 700));
    assert_eq!(log.signed().size, 700);
    assert!(!log.write(1).rebuilt);
    fs::remove_dir_all(log.directory()).unwrap();
    let error = log.open().map(drop).unwrap_err();
    assert!(matches!(error, JournalError::PutBack { signed: 0, head: 701, .. }), "all of it is gone: {error}");
}

#[test]
fn a_verifier_key_that_is_gone_is_brought_back() {
    let log = Log::new();
    assert!(log.write(9).log_made);
    let whole = files(&log.directory());
    fs::remove_file(log.path("log.vkey")).unwrap();
    assert!(!log.write(0).log_made, "there was one");
    assert!(files(&log.directory()) == whole);
}

/// A log of 600 records in three segments, of which two are sealed: 0 to 199, 200 to 299.
fn sealed() -> Log {
    let log = Log::new();
    log.write(600);
    let lines = log.lines();
    for (from, to) in [(0, 200), (200, 300), (300, 600)] {
        let lines: String = lines[from..to].iter().map(|line| format!("{line}\n")).collect();
        fs::write(log.path(&format!("segments/{from:012}.jsonl")), lines).unwrap();
    }
    let (journal, _, _) = log.open().unwrap();
    until("sealed", || !log.path("segments/000000000200.jsonl").exists());
    assert!(!journal.shutdown().any());
    log
}

const SEALED: [&str; 2] = ["segments/000000000000.jsonl.zst", "segments/000000000200.jsonl.zst"];
const NEWEST: &str = "segments/000000000300.jsonl";

#[test]
fn every_segment_is_looked_for() {
    type Harm = fn(&Log);
    let rows: [(&str, Harm, &str); 8] = [
        (
            "the first is gone",
            |log| fs::remove_file(log.path(SEALED[0])).unwrap(),
            "000000000200.jsonl.zst` begins with record 200, but what is before it, or is signed, ends at 0",
        ),
        (
            "one in between is gone",
            |log| fs::remove_file(log.path(SEALED[1])).unwrap(),
            "000000000300.jsonl` begins with record 300, but what is before it, or is signed, ends at 200",
        ),
        (
            "the newest is gone",
            |log| fs::remove_file(log.path(NEWEST)).unwrap(),
            "of the 600 records that were signed, the log in `",
        ),
        (
            "something is behind one that is not the newest",
            |log| {
                let mut lines = fs::read(log.path(NEWEST)).unwrap();
                lines.push(b'x');
                fs::write(log.path(NEWEST), lines).unwrap();
                fs::write(log.path("segments/000000000600.jsonl"), "").unwrap();
            },
            "000000000300.jsonl` ends with 1 bytes that are no record, and is not the newest segment",
        ),
        (
            "a sealed one is cut off",
            |log| fs::write(log.path(SEALED[1]), "x").unwrap(),
            "000000000200.jsonl.zst` has no seek table at its end",
        ),
        (
            "a sealed one has another's name",
            |log| assert!(fs::copy(log.path(SEALED[1]), log.path(SEALED[0])).is_ok()),
            "000000000000.jsonl.zst` has a summary whose first record and its name contradict",
        ),
        (
            "a record of one that is not sealed was changed",
            |log| replace(&log.path(NEWEST), "edge-1", "edge-2"),
            "the first 600 records of the log in `",
        ),
        ("the folder is gone", |log| fs::remove_dir_all(log.path("segments")).unwrap(), "has no segment any more"),
    ];
    for (name, harm, want) in rows {
        let log = sealed();
        harm(&log);
        let harmed = files(&log.directory());
        let error = log.open().map(drop).unwrap_err().to_string();
        assert!(error.contains(want), "{name}: {error}");
        assert!(files(&log.directory()) == harmed, "{name}");
    }
}

#[test]
fn tiles_that_a_power_failure_took_are_made_anew_without_reading_what_is_sealed() {
    let log = sealed();
    let whole = files(&log.directory());
    let mut broken = fs::read(log.path(SEALED[0])).unwrap();
    broken[100] ^= 1;
    fs::write(log.path(SEALED[0]), &broken).unwrap();
    // Of those that sealing made durable there is one: 0 to 255.
    fs::write(log.path("tile/0/001"), "").unwrap();
    fs::remove_dir_all(log.path("tile/0/002.p")).unwrap();
    fs::write(log.path("tile/1/000.p/2"), "").unwrap();
    let opening = log.write(0);
    assert!(opening.rebuilt && opening.unsigned == 0, "{opening:?}");
    assert!(files(&log.path("tile")).iter().all(|(path, bytes)| whole.get(path) == Some(bytes)));
    fs::remove_file(log.path("tile/0/000")).unwrap();
    let error = log.open().map(drop).unwrap_err();
    assert!(matches!(error, JournalError::Damaged { .. }), "this one needs the record that was changed: {error}");
}

#[test]
fn what_the_last_run_said_is_found_wherever_it_stands() {
    let log = Log::new();
    let (journal, _, _) = log.open().unwrap();
    let stop = || Record::new(Kind::Stop, clock::now(), clock::new_id(), "edge-1".into()).line();
    (0..3).map(|_| record()).chain([stop()]).for_each(|record| journal.note(record));
    assert!(!journal.shutdown().any());
    // A crash between beginning a segment and its first record.
    fs::write(log.path("segments/000000000004.jsonl"), "").unwrap();
    for sealed in [false, true, true] {
        assert_eq!(log.path("segments/000000000000.jsonl.zst").exists(), sealed);
        let (journal, opening, _) = log.open().unwrap();
        assert!(opening.scan.last.is_some_and(|last| last.is_stop), "{opening:?}");
        until("sealed", || !log.path("segments/000000000000.jsonl").exists());
        assert!(!journal.shutdown().any());
    }
    fs::remove_file(log.path("segments/000000000004.jsonl")).unwrap();
    let error = log.open().map(drop).unwrap_err();
    assert!(matches!(error, JournalError::NoNewest(_)), "it is always there: {error}");
}

/// Empties every tile that a power failure may take: all but the full ones over sealed records. Brings parts back that had gone.
fn fail_power(log: &Log, sealed: u64) {
    let durable: Vec<PathBuf> = TileId::filled(0, sealed).map(|id| log.path(&id.to_string())).collect();
    for path in files(&log.path("tile")).into_keys().filter(|path| !durable.contains(path)) {
        fs::write(path, "").unwrap();
    }
    for full in ["tile/0/000", "tile/0/001"].map(|full| log.path(full)).iter().filter(|full| !durable.contains(full)) {
        fs::create_dir_all(full.with_extension("p")).unwrap();
        fs::write(full.with_extension("p").join("7"), "").unwrap();
    }
}

/// Seals all of a log's records but those from `from` on.
fn seal_until(log: &Log, from: usize) {
    let lines = log.lines();
    for (from, to) in [(0, from), (from, lines.len())] {
        let lines: String = lines[from..to].iter().map(|line| format!("{line}\n")).collect();
        fs::write(log.path(&format!("segments/{from:012}.jsonl")), lines).unwrap();
    }
    let (journal, _, _) = log.open().unwrap();
    until("sealed", || !log.path("segments/000000000000.jsonl").exists());
    assert!(!journal.shutdown().any());
}

#[test]
fn a_log_is_whole_behind_a_power_failure() {
    let all_signed = [(0, 600, 0), (0, 600, 1), (300, 600, 0), (300, 600, 5), (300, 600, 170), (512, 600, 40)];
    let not_all: [(usize, u128, u128); 4] = [(0, 517, 0), (0, 300, 1), (0, 511, 0), (0, 520, 300)];
    for (sealed, signed, more) in all_signed.into_iter().chain(not_all) {
        let log = Log::new();
        log.write(signed);
        let [checkpoint, head] =
            [log.path("checkpoint"), head_path(&log.key())].map(|path| (fs::read(&path).unwrap(), path));
        log.write(600 - signed);
        if sealed > 0 {
            seal_until(&log, sealed);
        }
        if signed < 600 && sealed == 0 {
            // The tiles of the last round were written, and its checkpoint was not.
            [checkpoint, head].iter().for_each(|(bytes, path)| fs::write(path, bytes).unwrap());
        }
        fail_power(&log, u64::try_from(sealed).unwrap());
        assert!(log.write(more).rebuilt, "{sealed}, {signed}, {more}");
        let archive = Archive::open(&log.directory()).unwrap();
        let report = verify(&archive, Trust::default(), &mut |_, _| ());
        let size = report.map(|report| report.verified.checkpoint.size).map_err(|error| error.to_string());
        assert_eq!(size, Ok(600 + u64::try_from(more).unwrap()), "{sealed}, {signed}, {more}");
    }
}
