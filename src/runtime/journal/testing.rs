//! A log in a folder of its own, for the tests of this module.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Journal, JournalError, Opening, Setup};
use crate::decision_log::{Checkpoint, Durability, Entry, Kind, Pace, Record, VerifierKey};
use crate::runtime::clock;

/// What is waited for comes within this.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

/// A journal that was opened, what it found, and what its threads say.
type Opened = (Journal, Opening, mpsc::Receiver<String>);

pub(super) struct Log {
    pub(super) folder: TempDir,
}

impl Log {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(super) fn directory(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.directory().join(below)
    }

    pub(super) fn key(&self) -> PathBuf {
        self.folder.path().join("log.key")
    }

    pub(super) fn open(&self) -> Result<Opened, JournalError> {
        let (setup, said) = self.setup();
        Journal::open(setup).map(|(journal, opening)| (journal, opening, said))
    }

    /// With the lock that another journal has handed over.
    pub(super) fn open_inherited(&self, lock: OwnedFd) -> Result<(Journal, Opening), JournalError> {
        Journal::open_inherited(self.setup().0, lock)
    }

    fn setup(&self) -> (Setup, mpsc::Receiver<String>) {
        let (says, said) = mpsc::channel();
        let setup = Setup {
            instance: "edge-1".into(),
            directory: self.directory(),
            key: self.key(),
            pace: Pace { durability: Durability::Async, commit_interval: Duration::from_millis(1) },
            copy: None,
            watch: Arc::new(move |event| drop(says.send(format!("{event:?}")))),
        };
        (setup, said)
    }

    /// Adds so many records in one run.
    pub(super) fn write(&self, count: u128) -> Opening {
        let (journal, opening, _said) = self.open().unwrap();
        (0..count).for_each(|_| journal.note(record()));
        assert!(!journal.shutdown().any());
        opening
    }

    pub(super) fn vkey(&self) -> VerifierKey {
        fs::read_to_string(self.path("log.vkey")).unwrap().trim_end().parse().unwrap()
    }

    pub(super) fn signed(&self) -> Checkpoint {
        Checkpoint::open(&fs::read_to_string(self.path("checkpoint")).unwrap(), &[self.vkey()]).unwrap()
    }

    /// The lines of all segments.
    pub(super) fn lines(&self) -> Vec<String> {
        let plain = |(path, bytes): (PathBuf, Vec<u8>)| match path.extension().and_then(|suffix| suffix.to_str()) {
            Some("zst") => zstd::decode_all(bytes.as_slice()).unwrap(),
            _ => bytes,
        };
        let bytes: Vec<u8> = files(&self.path("segments")).into_iter().flat_map(plain).collect();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }
}

/// A small record of now: one of another hour would begin a segment.
pub(super) fn record() -> Entry {
    Record::new(Kind::Close, clock::now(), clock::new_id(), "edge-1".into()).line()
}

/// Brings a key back as it was.
pub(super) fn write_key(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Every file below a folder, with what it holds.
pub(super) fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
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

pub(super) fn until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < DEADLINE, "{what}");
        std::thread::yield_now();
    }
}

pub(super) fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

pub(super) fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from));
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

pub(super) fn edit(log: &Log, edit: fn(&mut Vec<String>)) {
    let mut lines = log.lines();
    edit(&mut lines);
    lines.push(String::new());
    fs::write(log.path("segments/000000000000.jsonl"), lines.join("\n")).unwrap();
}
