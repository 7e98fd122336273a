//! Sealing, on a real file system.

use std::fs;
use std::path::PathBuf;

use super::super::testing::{Log, edit, files, flip, replace, until};
use super::*;
use crate::decision_log::seal;
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

/// Lets a sealer have segments of a log that nobody else writes, as if the tree were over `lines`. Gives what it told and recorded.
fn seal_all(log: &Log, lines: &[String], due: &[Ended]) -> (Vec<String>, Vec<String>) {
    let ((says, said), (records, recorded)) = (mpsc::channel(), mpsc::channel());
    let (sender, thread) = start(Sealer {
        place: Arc::new(Place::lock(&log.directory()).unwrap()),
        tree: Tree::new(),
        kept: Arc::new(Kept::new()),
        watch: Arc::new(move |event| drop(says.send(format!("{event:?}")))),
        record: Arc::new(move |detail| drop(records.send(serde_json::to_string(&detail).unwrap()))),
    })
    .unwrap();
    for ended in due {
        let size = usize::try_from(ended.next).unwrap().min(lines.len());
        let (mut tree, mut full) = (Tree::new(), Vec::new());
        lines[..size].iter().for_each(|line| tree.push(Hash::leaf(line.as_bytes()), &mut full));
        sender.send(Due { ended: *ended, root: tree.root() }).unwrap();
    }
    drop(sender);
    thread.join().unwrap();
    (said.try_iter().collect(), recorded.try_iter().collect())
}

const SEGMENT: &str = "segments/000000000000.jsonl";
const SEALED: &str = "segments/000000000000.jsonl.zst";

/// Puts the hash of a record as it stands now into its tile.
fn put_hash(log: &Log, seq: usize) {
    let path = log.path("tile/0/000");
    let mut bytes = fs::read(&path).unwrap();
    bytes[32 * seq..][..32].copy_from_slice(Hash::leaf(log.lines()[seq].as_bytes()).as_bytes());
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_segment_is_sealed_as_it_was_signed_or_not_at_all() {
    type Harm = fn(&Log);
    let rows: [(&str, Harm, u64, &str); 5] = [
        ("records that are gone", |_| (), 301, "it ends with record 299, not 300; restore it"),
        (
            "a record that was changed",
            |log| edit(log, |lines| change_line(&mut lines[4])),
            300,
            "record 4 is not the one that was signed; restore it",
        ),
        (
            "one of the last",
            |log| edit(log, |lines| change_line(&mut lines[299])),
            300,
            "record 299 is not the one that was signed; restore it",
        ),
        (
            "a record and its hash",
            |log| {
                edit(log, |lines| change_line(&mut lines[4]));
                put_hash(log, 4);
            },
            300,
            "its records are not those that were signed; restore them",
        ),
        (
            "a record, and no tile to tell which",
            |log| {
                edit(log, |lines| change_line(&mut lines[4]));
                fs::remove_dir_all(log.path("tile")).unwrap();
            },
            300,
            "its records are not those that were signed; restore them",
        ),
    ];
    for (name, harm, next, want) in rows {
        let log = Log::new();
        log.write(300);
        let lines = log.lines();
        harm(&log);
        let before = files(&log.path("segments"));
        // That another is due behind it is no reason to try again at once.
        let (said, recorded) = seal_all(&log, &lines, &[Ended { first: 0, next }, Ended { first: 300, next: 300 }]);
        assert!(said.len() == 1 && said[0].contains(want), "{name}: {said:?}");
        let record = format!(r#"{{"what":"sealing","error":"000000000000.jsonl: {want}"}}"#);
        assert_eq!(recorded, [record], "{name}");
        assert!(files(&log.path("segments")) == before, "{name}");
    }
}

fn change_line(line: &mut String) {
    *line = line.replace("edge-1", "edge-2");
}

#[test]
fn what_is_wrong_beside_a_segment_does_not_stop_its_sealing() {
    type Harm = fn(&Log);
    let rows: [(&str, Harm); 7] = [
        ("nothing", |_| ()),
        ("a tile was changed", |log| flip(&log.path("tile/0/000"), 32 * 7)),
        ("a tile is gone", |log| fs::remove_file(log.path("tile/0/000")).unwrap()),
        ("all of them are", |log| fs::remove_dir_all(log.path("tile")).unwrap()),
        ("it was begun", |log| fs::write(log.path("segments/000000000000.jsonl.zst.new"), "x").unwrap()),
        ("there is another sealed one", |log| fs::write(log.path(SEALED), "x").unwrap()),
        ("it was put in place, and no more", |log| {
            let mut sealed = Vec::new();
            seal(&mut fs::read(log.path(SEGMENT)).unwrap().as_slice(), 0, &mut sealed).unwrap();
            fs::write(log.path(SEALED), sealed).unwrap();
        }),
    ];
    for (name, harm) in rows {
        let log = Log::new();
        log.write(300);
        let (lines, tile) = (log.lines(), fs::read(log.path("tile/0/000")).unwrap());
        harm(&log);
        assert_eq!(seal_all(&log, &lines, &[Ended { first: 0, next: 300 }]), (vec![], vec![]), "{name}");
        let names: Vec<PathBuf> = files(&log.path("segments")).into_keys().collect();
        assert_eq!(names, [log.path(SEALED)], "{name}");
        assert_eq!(log.lines(), lines, "{name}");
        assert!(fs::read(log.path("tile/0/000")).unwrap() == tile, "{name}: what was signed, whatever was there");
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
    let due = [(0, 200), (200, 500)].map(|(first, next)| Ended { first, next });
    replace(&log.path(SEGMENT), "edge-1", "edge-2");
    let (said, _) = seal_all(&log, &lines, &due);
    assert!(said.iter().all(|told| told.contains("000000000000.jsonl: record 0 is not")), "{said:?}");
    assert!(files(&log.path("segments")).keys().all(|path| path.extension().is_some_and(|suffix| suffix == "jsonl")));
    replace(&log.path(SEGMENT), "edge-2", "edge-1");
    assert_eq!(seal_all(&log, &lines, &due), (vec![], vec![]));
    assert!(files(&log.path("segments")).keys().all(|path| path.extension().is_some_and(|suffix| suffix == "zst")));
}
