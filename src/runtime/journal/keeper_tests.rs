//! The tree, its checkpoints, sealing and changes of key, on a real file system.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use tempfile::TempDir;

use super::super::{Journal, JournalError, Opening, Setup, next_key_path};
use super::*;
use crate::decision_log::{Durability, Entry, Kind, Pace, Record, key_change, origin, seal};
use crate::runtime::journal::key_file::head_path;
use crate::runtime::{clock, journal};

const DEADLINE: Duration = Duration::from_secs(20);

struct Log {
    folder: TempDir,
}

impl Log {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn directory(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn path(&self, below: &str) -> PathBuf {
        self.directory().join(below)
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("log.key")
    }

    fn open(&self) -> Result<(Journal, Opening, mpsc::Receiver<String>), JournalError> {
        let (says, said) = mpsc::channel();
        let (journal, opening) = Journal::open(Setup {
            instance: "edge-1".into(),
            directory: self.directory(),
            key: self.key(),
            pace: Pace { durability: Durability::Async, commit_interval: Duration::from_millis(1) },
            copy: None,
            watch: Arc::new(move |event| drop(says.send(format!("{event:?}")))),
        })?;
        Ok((journal, opening, said))
    }

    /// Adds so many records in one run.
    fn write(&self, count: u128) -> Opening {
        let (journal, opening, _said) = self.open().unwrap();
        (0..count).for_each(|_| journal.note(record()));
        assert!(!journal.shutdown().any());
        opening
    }

    fn vkey(&self) -> VerifierKey {
        fs::read_to_string(self.path("log.vkey")).unwrap().trim_end().parse().unwrap()
    }

    fn signed(&self) -> Checkpoint {
        Checkpoint::open(&fs::read_to_string(self.path("checkpoint")).unwrap(), &[self.vkey()]).unwrap()
    }

    /// The lines of all segments.
    fn lines(&self) -> Vec<String> {
        let plain = |(path, bytes): (PathBuf, Vec<u8>)| match path.extension().and_then(|suffix| suffix.to_str()) {
            Some("zst") => zstd::decode_all(bytes.as_slice()).unwrap(),
            _ => bytes,
        };
        let bytes: Vec<u8> = files(&self.path("segments")).into_iter().flat_map(plain).collect();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }
}

/// A small record of now: one of another hour would begin a segment.
fn record() -> Entry {
    Record::new(Kind::Close, clock::now(), clock::new_id(), "edge-1".into()).line()
}

/// Brings a key back as it was.
fn write_key(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Every file below a folder, with what it holds.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.append(&mut files(&path));
        } else {
            found.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    found
}

fn until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < DEADLINE, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn tiles_and_checkpoint_are_those_of_the_records() {
    let log = Log::new();
    for more in [3, 0, 252, 1, 45, 700] {
        log.write(more);
        let (mut tree, mut full) = (Tree::new(), Vec::new());
        log.lines().iter().for_each(|line| tree.push(Hash::leaf(line.as_bytes()), &mut full));
        let want: BTreeMap<PathBuf, Vec<u8>> =
            full.iter().chain(&tree.edge()).map(|tile| (log.path(&tile.id.to_string()), tile.bytes())).collect();
        let mut found = if tree.size() > 0 { files(&log.path("tile")) } else { BTreeMap::new() };
        // Older partial tiles stay until theirs is full.
        found.retain(|path, _| want.contains_key(path) || !path.to_str().unwrap().contains(".p/"));
        assert!(found == want, "{} records: {:?} instead of {:?}", tree.size(), found.keys(), want.keys());
        let Checkpoint { origin, size, root } = log.signed();
        assert_eq!((origin.as_str(), size, root), ("sallyport/edge-1", tree.size(), tree.root()));
    }
    assert!(!log.path("tile/0/000.p").exists(), "of a full tile no part is kept");
}

#[test]
fn a_running_log_is_signed_soon() {
    let log = Log::new();
    let (journal, _, said) = log.open().unwrap();
    journal.note(record());
    until("signed while it runs", || log.signed().size == 1);
    until("told", || said.recv_timeout(DEADLINE).is_ok_and(|event| event == "Signed(1)"));
    until("told", || journal.checkpoint().is_some_and(|note| note.contains("sallyport/edge-1\n1\n")));
    assert!(!journal.shutdown().any());
}

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

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from));
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

fn edit(log: &Log, edit: fn(&mut Vec<String>)) {
    let mut lines = log.lines();
    edit(&mut lines);
    lines.push(String::new());
    fs::write(log.path("segments/000000000000.jsonl"), lines.join("\n")).unwrap();
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

#[test]
fn a_segment_that_lacks_records_is_not_sealed() {
    let log = Log::new();
    log.write(9);
    let segment = log.path("segments/000000000000.jsonl");
    fs::write(log.path("segments/000000000009.jsonl"), "").unwrap();
    let (says, said) = mpsc::channel();
    let watch: Watch = Arc::new(move |event| drop(says.send(format!("{event:?}"))));
    let place = Arc::new(super::super::place::Place::lock(&log.directory()).unwrap());
    let (sender, thread) = crate::runtime::journal::sealer::start(place, Arc::new(Kept::new()), watch).unwrap();
    sender.send(Ended { first: 0, next: 10 }).unwrap();
    let told = said.recv_timeout(DEADLINE).unwrap();
    assert!(told.contains("ends with record 8, not 9"), "{told}");
    assert!(segment.exists() && !log.path("segments/000000000000.jsonl.zst").exists());
    drop((sender, thread));
}

#[test]
fn what_waits_for_its_checkpoint_is_bounded_in_time_and_count() {
    let kept = Kept::new();
    let now = Instant::now();
    assert!(!kept.is_late(now + 2 * SIGN_DEADLINE), "nothing waits");
    kept.grow(&[Hash::EMPTY]);
    assert!(!kept.is_late(now + SIGN_DEADLINE / 2));
    assert!(kept.is_late(Instant::now() + SIGN_DEADLINE));
    let round = Round::of(&mut kept.lock());
    kept.grow(&vec![Hash::EMPTY; MAX_UNSIGNED - 2]);
    assert!(kept.has_room());
    kept.grow(&[Hash::EMPTY]);
    assert!(!kept.has_room(), "those that the keeper has count too");
    kept.signed(round.leaves.len(), round.taken, "".into());
    assert!(kept.has_room());
    kept.signed(MAX_UNSIGNED - 1, Instant::now(), "".into());
    assert!(!kept.is_late(Instant::now() + 2 * SIGN_DEADLINE), "all is signed");
}

#[test]
fn a_tree_that_cannot_be_written_is_told_and_recorded_when_it_can_be_again() {
    let log = Log::new();
    let (journal, _, said) = log.open().unwrap();
    fs::write(log.path("tile"), "in the way").unwrap();
    journal.note(record());
    let told = |what: &str| said.recv_timeout(DEADLINE).is_ok_and(|event| event.contains(what));
    until("told", || told("Unsigned"));
    fs::remove_file(log.path("tile")).unwrap();
    until("signed", || told("Signed(1)"));
    until("recorded", || {
        log.lines().iter().any(|line| line.contains(r#""what":"checkpoint","error":"Not a directory"#))
    });
    assert!(!journal.shutdown().any());
    assert_eq!(log.signed().size, 2);
}

#[test]
fn a_new_key_takes_over_with_the_old_ones_word() {
    let log = Log::new();
    log.write(5);
    let old = log.vkey();
    let old_files = [log.key(), log.path("log.vkey")].map(|path| (fs::read(&path).unwrap(), path));
    let new: VerifierKey =
        journal::key_file::make(&next_key_path(&log.key()), &origin("edge-1")).unwrap().parse().unwrap();
    let next = fs::read(next_key_path(&log.key())).unwrap();
    let opening = log.write(2);
    assert!(opening.key_changed);
    assert_eq!((opening.vkey, log.vkey()), (new.to_string(), new.clone()));
    assert!(!next_key_path(&log.key()).exists());
    let retired = files(log.folder.path()).into_keys().find(|path| path.to_str().unwrap().contains("log.key.retired."));
    assert_eq!(fs::read(retired.unwrap()).unwrap(), old_files[0].0, "the old key is kept aside");
    assert_eq!(log.signed().size, 8);
    let change: serde_json::Value = serde_json::from_str(&log.lines()[5]).unwrap();
    assert_eq!((change["kind"].as_str(), change["detail"]["what"].as_str()), (Some("admin"), Some("log_key_rotated")));
    assert_eq!(key_change::check(change["detail"]["statement"].as_str().unwrap(), &old), Ok(new.clone()));
    assert!(!log.write(1).key_changed);

    // A crash behind the verifier key: the key's files are as before.
    write_key(&log.key(), &old_files[0].0);
    write_key(&next_key_path(&log.key()), &next);
    assert!(!log.write(1).key_changed, "it is finished, not done again");
    assert_eq!((log.vkey(), next_key_path(&log.key()).exists()), (new.clone(), false));
    assert_eq!(log.signed().size, 10);
}

#[test]
fn a_crash_before_the_verifier_key_begins_the_change_again() {
    let log = Log::new();
    log.write(5);
    let old = log.vkey();
    let kept = [log.key(), log.path("log.vkey")].map(|path| (fs::read(&path).unwrap(), path));
    journal::key_file::make(&next_key_path(&log.key()), &origin("edge-1")).unwrap();
    let next = fs::read(next_key_path(&log.key())).unwrap();
    let (journal, opening, _) = log.open().unwrap();
    assert!(opening.key_changed);
    // The checkpoint that stands now has both signatures.
    let both = fs::read_to_string(log.path("checkpoint")).unwrap();
    assert!([old, log.vkey()].iter().all(|key| Checkpoint::open(&both, std::slice::from_ref(key)).is_ok()), "{both}");
    assert!(!journal.shutdown().any());
    kept.iter().for_each(|(bytes, path)| write_key(path, bytes));
    fs::write(log.path("checkpoint"), &both).unwrap();
    fs::write(head_path(&log.key()), both).unwrap();
    write_key(&next_key_path(&log.key()), &next);
    assert!(log.write(1).key_changed);
    assert_eq!(log.signed().size, 8, "two records of the change");
}
