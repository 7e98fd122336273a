//! Sealing, on a real file system.

use std::fs;
use std::path::PathBuf;

use super::super::testing::{Log, edit, files, flip, replace, until};
use super::*;
use crate::runtime::journal::JournalError;

#[test]
fn a_segment_that_ended_and_is_signed_is_sealed() {
    let log = Log::new();
    log.write(500);
    let all = log.lines();
    let segments = log.path("segments");
    let cut = |from: usize, to: usize| all[from..to].iter().map(|line| format!("{line}\n")).collect::<String>();
    for (from, to) in [(0, 200), (200, 450), (450, 500)] {
        fs::write(segments.join(format!("{from:012}.jsonl")), cut(from, to)).unwrap();
    }
    // What crashes leave of sealing: a file that is not finished, and one whose open segment is still there.
    fs::write(segments.join("000000000000.jsonl.zst.new"), "x").unwrap();
    let mut sealed = Vec::new();
    seal(&mut cut(200, 450).as_bytes(), 200, &mut sealed).unwrap();
    fs::write(segments.join("000000000200.jsonl.zst"), sealed).unwrap();
    let (journal, _, said) = log.open().unwrap();
    until("sealed", || !segments.join("000000000200.jsonl").exists() && !segments.join("000000000000.jsonl").exists());
    assert!(!journal.shutdown().any());
    assert_eq!(said.try_iter().find(|event| event.contains("NotSealed")), None);
    let names: Vec<PathBuf> = files(&segments).into_keys().collect();
    let want = ["000000000000.jsonl.zst", "000000000200.jsonl.zst", "000000000450.jsonl"];
    assert_eq!(names, want.map(|name| segments.join(name)));
    for (from, to) in [(0, 200), (200, 450)] {
        let sealed = fs::File::open(segments.join(format!("{from:012}.jsonl.zst"))).unwrap();
        assert_eq!(zstd::decode_all(sealed).unwrap(), cut(from, to).into_bytes(), "{from}");
    }
    assert!(!log.write(5).rebuilt, "goes on");
    fs::remove_dir_all(log.path("tile")).unwrap();
    assert!(log.write(5).rebuilt, "from sealed segments too");
    assert_eq!(log.signed().size, 510);
    fs::write(segments.join("000000000200.jsonl.zst"), "x").unwrap();
    fs::remove_dir_all(log.path("tile")).unwrap();
    assert!(log.open().is_err(), "not without them");
    fs::write(segments.join("000000000000.jsonl"), "").unwrap();
    let error = log.open().map(drop).unwrap_err();
    assert!(matches!(error, JournalError::Differ(_)), "none is taken for the other: {error}");
    assert!(segments.join("000000000000.jsonl.zst").exists());
}

/// Lets a sealer have segments of a log that nobody else writes. Gives what it told, and what it recorded.
fn seal_all(log: &Log, due: &[Due]) -> (Vec<String>, Vec<String>) {
    let ((says, said), (records, recorded)) = (mpsc::channel(), mpsc::channel());
    let (sender, thread) = start(Sealer {
        place: Arc::new(Place::lock(&log.directory()).unwrap()),
        kept: Arc::new(Kept::new()),
        watch: Arc::new(move |event| drop(says.send(format!("{event:?}")))),
        note: Arc::new(move |detail| drop(records.send(serde_json::to_string(&detail).unwrap()))),
    })
    .unwrap();
    due.iter().for_each(|due| sender.send(*due).unwrap());
    drop(sender);
    thread.join().unwrap();
    (said.try_iter().collect(), recorded.try_iter().collect())
}

#[test]
fn a_segment_is_sealed_as_it_was_signed_or_not_at_all() {
    type Harm = fn(&Log);
    let rows: [(&str, Harm, Ended, &str); 6] = [
        ("nothing", |_| (), Ended { first: 0, next: 300 }, ""),
        (
            "records that are gone",
            |_| (),
            Ended { first: 0, next: 301 },
            "it ends with record 299, not 300; restore it",
        ),
        (
            "a record that was changed",
            |log| edit(log, |lines| lines[4] = lines[4].replace("edge-1", "edge-2")),
            Ended { first: 0, next: 300 },
            "record 4 is not the one that was signed; restore it",
        ),
        (
            "one of the last",
            |log| edit(log, |lines| lines[299] = lines[299].replace("edge-1", "edge-2")),
            Ended { first: 0, next: 300 },
            "record 299 is not the one that was signed; restore it",
        ),
        (
            "a tile that was changed",
            |log| flip(&log.path("tile/0/000"), 32 * 7),
            Ended { first: 0, next: 300 },
            "record 7 is not the one that was signed; restore it",
        ),
        (
            "a tile that is gone",
            |log| fs::remove_file(log.path("tile/0/001.p/44")).unwrap(),
            Ended { first: 0, next: 300 },
            "`tile/0/001.p/44` is gone or cut off; a restart makes it anew",
        ),
    ];
    for (name, harm, ended, want) in rows {
        let log = Log::new();
        log.write(300);
        harm(&log);
        let before = files(&log.path("segments"));
        let due = |ended| Due { ended, signed: 300 };
        // One that is due behind it: it is told again, and recorded once.
        let (said, recorded) = seal_all(&log, &[due(ended), due(Ended { first: 300, next: 300 })]);
        if want.is_empty() {
            let (path, sealed) = files(&log.path("segments")).pop_first().unwrap();
            assert!(path.ends_with("000000000000.jsonl.zst"), "{name}");
            assert_eq!(Some(&zstd::decode_all(sealed.as_slice()).unwrap()), before.values().next(), "{name}");
            continue;
        }
        assert!(said.len() == 2 && said.iter().all(|told| told.contains(want)), "{name}: {said:?}");
        let record = format!(r#"{{"what":"sealing","error":"000000000000.jsonl: {want}"}}"#);
        assert_eq!(recorded, [record], "{name}");
        assert!(files(&log.path("segments")) == before, "{name}");
    }
}

#[test]
fn none_is_sealed_before_the_one_before_it() {
    let log = Log::new();
    log.write(500);
    let lines = log.lines();
    let cut = |from: usize, to: usize| lines[from..to].iter().map(|line| format!("{line}\n")).collect::<String>();
    for (from, to) in [(0, 200), (200, 500)] {
        fs::write(log.path(&format!("segments/{from:012}.jsonl")), cut(from, to)).unwrap();
    }
    let due = [(0, 200), (200, 500)].map(|(first, next)| Due { ended: Ended { first, next }, signed: 500 });
    replace(&log.path("segments/000000000000.jsonl"), "edge-1", "edge-2");
    let (said, _) = seal_all(&log, &due);
    assert!(said.iter().all(|told| told.contains("000000000000.jsonl: record 0 is not")), "{said:?}");
    assert!(files(&log.path("segments")).keys().all(|path| path.extension().is_some_and(|suffix| suffix == "jsonl")));
    replace(&log.path("segments/000000000000.jsonl"), "edge-2", "edge-1");
    assert_eq!(seal_all(&log, &due), (vec![], vec![]));
    assert!(files(&log.path("segments")).keys().all(|path| path.extension().is_some_and(|suffix| suffix == "zst")));
}
