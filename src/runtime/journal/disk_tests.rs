//! Segments, locks and torn tails on a real file system.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::decision_log::{Kind, Log, Record};
use crate::runtime::journal::key_file::HeldKey;
use crate::runtime::journal::place::make;
use crate::runtime::journal::{JournalError, Opening, opening};

const LIMIT: u64 = 1 << 20;

/// A log that is open, with its lock and its key.
struct Held {
    disk: Disk,
    _key: HeldKey,
}

impl std::ops::Deref for Held {
    type Target = Disk;
    fn deref(&self) -> &Disk {
        &self.disk
    }
}

impl std::ops::DerefMut for Held {
    fn deref_mut(&mut self) -> &mut Disk {
        &mut self.disk
    }
}

fn open_as(folder: &TempDir, log: &str, key: &str, instance: &str) -> Result<(Held, Opening), JournalError> {
    let kept = Arc::new(Kept::new());
    let opened =
        opening::open(Arc::new(Place::lock(&folder.path().join(log))?), &folder.path().join(key), instance, &kept)?;
    Ok((Held { disk: opened.disk, _key: opened.key }, opened.opening))
}

fn open(folder: &TempDir) -> Result<(Held, Opening), JournalError> {
    open_as(folder, "log", "log.key", "edge-1")
}

fn segment(folder: &TempDir, first: u64) -> PathBuf {
    folder.path().join("log/segments").join(name(first))
}

fn write(log: &mut Log, disk: &mut Disk, count: usize) -> Result<(), String> {
    let record = Record::new(Kind::Heartbeat, jiff::Timestamp::UNIX_EPOCH, uuid::Uuid::nil(), "edge-1".into());
    let batch = std::iter::repeat_with(|| record.line()).take(count).collect();
    log.commit(batch, disk).map(drop).map_err(|error| error.to_string())
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).unwrap().lines().count()
}

#[test]
fn makes_what_is_missing_and_finds_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let (mut disk, opening) = open(&folder).unwrap();
    assert!(opening.key_made && opening.log_made && opening.scan.torn == 0 && opening.scan.end == End::default());
    assert_eq!(opening.scan.last, None, "no run before");
    assert!(opening.vkey.starts_with("sallyport/edge-1+"), "{}", opening.vkey);
    let vkey = fs::read_to_string(folder.path().join("log/log.vkey")).unwrap();
    assert_eq!(vkey.trim_end(), opening.vkey);
    let mut log = Log::resume(opening.scan.end, LIMIT);
    write(&mut log, &mut disk.disk, 3).unwrap();
    for (name, mode) in [
        ("log", 0o750),
        ("log/segments", 0o750),
        ("log/log.vkey", 0o640),
        ("log.key", 0o600),
        ("log/segments/000000000000.jsonl", 0o640),
    ] {
        let metadata = fs::metadata(folder.path().join(name)).unwrap();
        assert_eq!(
            metadata.permissions().mode() & 0o777 & !mode,
            0,
            "{name}: no more than that, less if the umask says so"
        );
    }
    drop(disk);
    let (_disk, again) = open(&folder).unwrap();
    assert!(again.scan.last.is_some_and(|last| !last.is_stop), "a heartbeat");
    let scan = Scan { end: log.end(), torn: 0, torn_lines: 0, last: again.scan.last };
    assert_eq!(again, Opening { scan, unsigned: 3, key_made: false, log_made: false, ..opening });
    assert_eq!(lines(&segment(&folder, 0)), 3);
}

#[test]
fn one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let (_disk, _) = open(&folder).unwrap();
    assert!(matches!(open(&folder), Err(JournalError::Locked(_))));
}

#[test]
fn cuts_a_torn_tail_and_says_how_much() {
    let folder = tempfile::tempdir().unwrap();
    let (mut disk, opening) = open(&folder).unwrap();
    let mut log = Log::resume(opening.scan.end, LIMIT);
    write(&mut log, &mut disk.disk, 2).unwrap();
    disk.append(br#"{"v":1,"seq":2,"time":"19"#).unwrap();
    drop(disk);
    let (_disk, opening) = open(&folder).unwrap();
    assert_eq!((opening.scan.end, opening.scan.torn, opening.scan.torn_lines), (log.end(), 25, 0));
    assert_eq!(fs::metadata(segment(&folder, 0)).unwrap().len(), log.end().length);
}

#[test]
fn refuses_what_is_not_of_a_log() {
    type Setting = fn(&Path);
    let settings: [(&str, Setting, bool); 8] = [
        ("nothing else", |_| (), true),
        ("lost+found", |log| fs::create_dir(log.join("lost+found")).unwrap(), true),
        ("a vkey that a crash left", |log| fs::write(log.join("log.vkey.new"), "").unwrap(), true),
        ("a foreign file", |log| fs::write(log.join("notes.txt"), "").unwrap(), false),
        ("a foreign segment", |log| fs::write(log.join("segments/1.jsonl"), "").unwrap(), false),
        ("a segment's copy", |log| fs::write(log.join("segments/000000000000.jsonl.bak"), "").unwrap(), false),
        ("a linked segment", |log| symlink("/dev/null", log.join("segments/000000000007.jsonl")).unwrap(), false),
        ("a folder as a segment", |log| fs::create_dir(log.join("segments/000000000007.jsonl")).unwrap(), false),
    ];
    for (name, setting, want) in settings {
        let folder = tempfile::tempdir().unwrap();
        drop(open(&folder).unwrap());
        setting(&folder.path().join("log"));
        assert_eq!(open(&folder).map(drop).is_ok(), want, "{name}");
    }
    let folder = tempfile::tempdir().unwrap();
    symlink("/tmp", folder.path().join("log")).unwrap();
    assert!(matches!(open(&folder), Err(JournalError::System { .. })), "a linked directory");
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder).unwrap());
    let other = open_as(&folder, "log", "log.key", "edge-2");
    assert!(matches!(other, Err(JournalError::OtherKey { .. })), "another instance");
    let other = open_as(&folder, "log", "other.key", "edge-1");
    assert!(matches!(other, Err(JournalError::OtherKey { .. })), "another key");
    let named = open_as(&folder, "log", "log.key", "edge 1");
    assert!(matches!(named, Err(JournalError::Name(_))), "a name with a space");
}

#[test]
fn damage_in_the_middle_is_not_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let (mut disk, opening) = open(&folder).unwrap();
    write(&mut Log::resume(opening.scan.end, u64::MAX), &mut disk.disk, 20_000).unwrap();
    drop(disk);
    let path = segment(&folder, 0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] = 0;
    fs::write(&path, &bytes).unwrap();
    let error = open(&folder).map(drop).unwrap_err();
    assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes, "nothing is cut");
}

#[test]
fn begins_a_new_segment_named_by_its_first_record() {
    let folder = tempfile::tempdir().unwrap();
    let (mut disk, opening) = open(&folder).unwrap();
    let mut log = Log::resume(opening.scan.end, 500);
    for _ in 0..4 {
        write(&mut log, &mut disk.disk, 3).unwrap();
    }
    drop(disk);
    assert_eq!([0, 6].map(|first| lines(&segment(&folder, first))), [6, 6]);
    let (disk, opening) = open(&folder).unwrap();
    assert_eq!((opening.scan.end, disk.segment.first), (log.end(), 6));
    drop(disk);
    // A crash between making a segment and its first record.
    fs::write(segment(&folder, 12), "").unwrap();
    let (mut disk, opening) = open(&folder).unwrap();
    assert_eq!(opening.scan.end, End { next: 12, length: 0 });
    write(&mut Log::resume(opening.scan.end, 500), &mut disk.disk, 1).unwrap();
    assert!(fs::read_to_string(segment(&folder, 12)).unwrap().starts_with(r#"{"v":1,"seq":12,"#));
}

#[test]
fn an_empty_segment_is_gone_on_with_only_behind_a_whole_one() {
    type Setting = fn(&Path);
    let rows: [(&str, Setting, Option<u64>); 7] = [
        ("right behind", |log| fs::write(log.join(name(3)), "").unwrap(), None),
        ("far behind", |log| fs::write(log.join(name(999_999)), "").unwrap(), Some(3)),
        ("inside", |log| fs::write(log.join(name(2)), "").unwrap(), Some(3)),
        ("torn, far behind", |log| fs::write(log.join(name(999_999)), "{\"v\":1").unwrap(), Some(3)),
        ("two of them", |log| [3, 4].iter().for_each(|at| fs::write(log.join(name(*at)), "").unwrap()), Some(3)),
        ("alone", |log| fs::rename(log.join(name(0)), log.join(name(3))).unwrap(), Some(0)),
        (
            "behind a torn one",
            |log| {
                let whole = fs::read_to_string(log.join(name(0))).unwrap();
                fs::write(log.join(name(0)), format!("{whole}{{")).unwrap();
                fs::write(log.join(name(3)), "").unwrap();
            },
            Some(1),
        ),
    ];
    for (row, setting, want) in rows {
        let folder = tempfile::tempdir().unwrap();
        let (mut disk, opening) = open(&folder).unwrap();
        write(&mut Log::resume(opening.scan.end, LIMIT), &mut disk.disk, 3).unwrap();
        drop(disk);
        setting(&folder.path().join("log/segments"));
        match (open(&folder).map(|(_, opening)| opening.scan), want) {
            (Ok(scan), None) => {
                assert_eq!(scan.end, End { next: 3, length: 0 }, "{row}");
                assert!(scan.last.is_some(), "{row}: said by the one before");
            }
            (Err(JournalError::Damaged { why: Damage::Gap { before, .. }, .. }), Some(want)) => {
                assert_eq!(before, want, "{row}");
            }
            (Err(JournalError::Damaged { why: Damage::Behind { bytes }, .. }), Some(want)) => {
                assert_eq!(bytes, want, "{row}");
            }
            (other, _) => panic!("{row}: {other:?}"),
        }
    }
}

#[test]
fn a_log_whose_segments_are_gone_is_not_begun_again() {
    type Setting = fn(&Path);
    let rows: [(&str, Setting, bool); 4] = [
        ("nothing is gone", |_| (), true),
        ("the folder is gone", |log| fs::remove_dir_all(log.join("segments")).unwrap(), false),
        ("the segments are gone", |log| fs::remove_file(log.join("segments").join(name(0))).unwrap(), false),
        ("a crash before the first record", |log| fs::remove_file(log.join("log.vkey")).unwrap(), true),
    ];
    for (row, setting, want) in rows {
        let folder = tempfile::tempdir().unwrap();
        drop(open(&folder).unwrap());
        let log = folder.path().join("log");
        setting(&log);
        match open(&folder) {
            Ok((_, opening)) => assert_eq!((want, opening.log_made), (true, row.contains("crash")), "{row}"),
            Err(error) => {
                assert!(!want && matches!(error, JournalError::Lost(_)), "{row}: {error}");
                assert!(open(&folder).is_err(), "{row}: nor by the next try");
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder).unwrap());
    fs::remove_dir_all(folder.path().join("log")).unwrap();
    let (_disk, opening) = open(&folder).unwrap();
    assert!(!opening.key_made && opening.log_made, "a key that was there, and a new log: that is said");
}

#[test]
fn one_key_writes_one_log_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, _) = open(&folder).unwrap();
    let second = || open_as(&folder, "second", "log.key", "edge-1");
    assert!(matches!(second(), Err(JournalError::KeyInUse(_))));
    drop(disk);
    assert!(second().is_ok());
}

#[test]
fn every_folder_that_is_made_is_known_to_be_synced() {
    let folder = tempfile::tempdir().unwrap();
    let path = |below: &str| folder.path().join(below);
    assert_eq!(make(&path("a/b/c")).unwrap(), [path("a/b/c"), path("a/b"), path("a")]);
    assert_eq!(make(&path("a/b/d")).unwrap(), [path("a/b/d")]);
    assert_eq!(make(&path("a/b/d")).unwrap(), [] as [PathBuf; 0]);
}

#[test]
fn a_new_segment_that_is_not_empty_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let (mut disk, opening) = open(&folder).unwrap();
    let mut log = Log::resume(opening.scan.end, 10);
    write(&mut log, &mut disk.disk, 1).unwrap();
    fs::write(segment(&folder, 1), "x").unwrap();
    let error = write(&mut log, &mut disk.disk, 1).unwrap_err();
    assert!(error.contains("start a segment"), "{error}");
    fs::remove_file(segment(&folder, 1)).unwrap();
    log.recover(&mut disk.disk).unwrap();
    write(&mut log, &mut disk.disk, 1).unwrap();
    assert_eq!(lines(&segment(&folder, 1)), 1);
}

type Step = fn(&Path, &Path);

#[test]
fn notices_that_its_files_are_gone_and_goes_on_when_they_are_back() {
    let folder = tempfile::tempdir().unwrap();
    let (log_path, away) = (folder.path().join("log"), folder.path().join("away"));
    let cases: [(&str, Step, Step); 5] = [
        (
            "the segment is removed and brought back",
            |log, away| fs::rename(log.join("segments/000000000000.jsonl"), away).unwrap(),
            |log, away| fs::rename(away, log.join("segments/000000000000.jsonl")).unwrap(),
        ),
        (
            "the directory is moved away",
            |log, away| fs::rename(log, away).unwrap(),
            |log, away| fs::rename(away, log).unwrap(),
        ),
        (
            "the folder of the segments is moved away and another made",
            |log, away| {
                fs::rename(log.join("segments"), away).unwrap();
                fs::create_dir(log.join("segments")).unwrap();
            },
            |log, away| {
                fs::remove_dir(log.join("segments")).unwrap();
                fs::rename(away, log.join("segments")).unwrap();
            },
        ),
        (
            "the directory is replaced by a copy",
            |log, away| {
                fs::create_dir_all(away.join("segments")).unwrap();
                for file in ["checkpoint", "log.vkey", "segments/000000000000.jsonl"] {
                    fs::copy(log.join(file), away.join(file)).unwrap();
                }
                fs::remove_dir_all(log).unwrap();
            },
            |log, away| fs::rename(away, log).unwrap(),
        ),
        (
            "the segment is cut shorter and brought back",
            |log, away| {
                fs::rename(log.join("segments/000000000000.jsonl"), away).unwrap();
                fs::write(log.join("segments/000000000000.jsonl"), "{}\n").unwrap();
            },
            |log, away| fs::rename(away, log.join("segments/000000000000.jsonl")).unwrap(),
        ),
    ];
    for (name, harm, repair) in cases {
        let (mut disk, opening) = open(&folder).unwrap();
        let mut log = Log::resume(opening.scan.end, LIMIT);
        write(&mut log, &mut disk.disk, 2).unwrap();
        let end = log.end();
        harm(&log_path, &away);
        assert!(write(&mut log, &mut disk.disk, 1).is_err(), "{name}");
        assert!(log.recover(&mut disk.disk).is_err() && log.is_ill(), "{name}");
        repair(&log_path, &away);
        log.recover(&mut disk.disk).unwrap();
        assert_eq!(log.end(), end, "{name}");
        write(&mut log, &mut disk.disk, 1).unwrap();
        assert!(matches!(open(&folder), Err(JournalError::Locked(_))), "{name}: the lock goes with the directory");
        drop(disk);
        assert_eq!(open(&folder).unwrap().1.scan.end, log.end(), "{name}");
    }
}

#[test]
fn what_a_failed_commit_left_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let (mut disk, opening) = open(&folder).unwrap();
    let mut log = Log::resume(opening.scan.end, LIMIT);
    write(&mut log, &mut disk.disk, 2).unwrap();
    disk.append(b"{\"v\":1,\"seq\":2,\"half a li").unwrap();
    log.recover(&mut disk.disk).unwrap();
    write(&mut log, &mut disk.disk, 1).unwrap();
    drop(disk);
    let scan = open(&folder).unwrap().1.scan;
    assert_eq!((scan.end, scan.torn), (log.end(), 0));
}

#[test]
fn a_full_disk_makes_it_ill() {
    // /dev/full takes nothing: the same code with a file that says so.
    let folder = tempfile::tempdir().unwrap();
    let (mut disk, opening) = open(&folder).unwrap();
    disk.segment.file = fs::OpenOptions::new().append(true).open("/dev/full").unwrap();
    let mut log = Log::resume(opening.scan.end, LIMIT);
    let error = write(&mut log, &mut disk.disk, 1).unwrap_err();
    assert!(error.contains("append: No space left on device"), "{error}");
    log.recover(&mut disk.disk).unwrap();
    write(&mut log, &mut disk.disk, 1).unwrap();
}
