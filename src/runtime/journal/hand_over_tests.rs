//! A log that changes hands within one process: two journals, as two processes would have them.

use std::io;
use std::sync::Mutex;

use super::*;
use crate::decision_log::faulty::entry;
use crate::decision_log::{Entry, Kind};
use crate::policy::Outcome;
use crate::runtime::journal::testing::{Log as Folder, record, until};

/// Keeps what is relayed, until it is told to fail.
#[derive(Clone, Default)]
struct Heir(Arc<Mutex<(Vec<u128>, bool)>>);

impl Successor for Heir {
    fn keep(&mut self, batch: &[Entry], _again: bool) -> io::Result<()> {
        let mut heir = self.0.lock().unwrap();
        if heir.1 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        heir.0.extend(batch.iter().map(|entry| entry.id().as_u128()));
        Ok(())
    }

    fn find(&mut self) -> io::Result<()> {
        if self.0.lock().unwrap().1 { Err(io::ErrorKind::NotFound.into()) } else { Ok(()) }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

/// Numbers without a gap, and a log that can be opened again.
fn is_whole(folder: &Folder, count: usize) {
    let lines = folder.lines();
    assert_eq!(lines.len(), count);
    for (seq, line) in lines.iter().enumerate() {
        assert!(line.starts_with(&format!(r#"{{"v":1,"seq":{seq},"#)), "{line}");
    }
    drop(folder.open().unwrap());
}

#[test]
fn another_takes_the_log_and_gets_what_is_recorded_here() {
    let folder = Folder::new();
    let (first, ..) = folder.open().unwrap();
    (0..10).for_each(|_| first.note(record()));
    until("all is written", || folder.lines().len() == 10);
    let handed = first.hand_over().unwrap();
    assert_eq!(handed.size, folder.signed().size, "all that is written is signed");
    assert!(matches!(folder.open(), Err(JournalError::Locked(_))), "the lock is held");
    // What comes meanwhile waits.
    first.note(entry(Kind::Close, Some(Outcome::Allow), 7));
    let lock = handed.lock().unwrap();
    let (second, opening) = folder.open_inherited(lock).unwrap();
    assert_eq!((opening.scan.end.next, opening.unsigned), (handed.size, 0));
    let heir = Heir::default();
    handed.relay(Box::new(heir.clone()), Arc::new(AtomicBool::new(true)));
    until("what waited is relayed", || heir.0.lock().unwrap().0 == [7]);
    let permit = runtime().block_on(first.commit(entry(Kind::Decision, Some(Outcome::Allow), 8))).unwrap();
    assert_eq!(permit.id().as_u128(), 8);
    until("so is what comes", || heir.0.lock().unwrap().0 == [7, 8]);
    assert!(matches!(first.hand_over(), Err(JournalError::Kept(_))), "it is another's");
    second.note(record());
    assert!(!first.shutdown().any() && !second.shutdown().any());
    drop((first, second));
    is_whole(&folder, 11);
}

#[test]
fn a_log_that_nobody_took_is_taken_back_and_nothing_is_lost() {
    let folder = Folder::new();
    let (journal, ..) = folder.open().unwrap();
    for round in 0_usize..3 {
        journal.note(record());
        until("it is written", || folder.lines().len() == round * 2 + 1);
        let handed = journal.hand_over().unwrap();
        journal.note(record());
        assert_eq!(handed.take_back().unwrap().scan.end.next, u64::try_from(round * 2 + 1).unwrap());
        until("what waited is written", || folder.lines().len() == round * 2 + 2);
    }
    assert!(!journal.shutdown().any());
    drop(journal);
    is_whole(&folder, 6);
}

#[test]
fn the_last_records_of_one_whose_successor_is_gone_are_written_if_nobody_else_has_the_log() {
    for is_taken in [false, true] {
        let folder = Folder::new();
        let (first, ..) = folder.open().unwrap();
        let handed = first.hand_over().unwrap();
        let lock = handed.lock().unwrap();
        let heir = Heir::default();
        handed.relay(Box::new(heir.clone()), Arc::new(AtomicBool::new(true)));
        heir.0.lock().unwrap().1 = true;
        first.note(record());
        until("it notices", || !first.healthy());
        let other = is_taken.then(|| folder.open_inherited(lock).unwrap());
        let lost = first.shutdown();
        assert_eq!(lost.closes, u64::from(is_taken), "one writer at a time");
        assert!(!other.is_some_and(|(journal, _)| journal.shutdown().any()));
        // With the record that says how long none could be written.
        is_whole(&folder, if is_taken { 0 } else { 2 });
    }
}

/// Writes what is relayed with another journal, and is gone before it can say so.
struct Mute(Arc<Journal>);

impl Successor for Mute {
    fn keep(&mut self, batch: &[Entry], again: bool) -> io::Result<()> {
        self.0.keep_all(batch.to_vec(), again).map_err(io::Error::other)?;
        self.0.shutdown();
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn find(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }
}

#[test]
fn what_is_relayed_again_is_written_once() {
    let folder = Folder::new();
    let (journal, ..) = folder.open().unwrap();
    let close = |id| relayed(entry(Kind::Close, Some(Outcome::Allow), id));
    for (ids, again, want) in [(&[1, 2][..], false, 2), (&[2, 3], true, 3), (&[1, 2, 3], true, 3), (&[3], false, 4)] {
        journal.keep_all(ids.iter().map(|id| close(*id)).collect(), again).unwrap();
        assert_eq!(folder.lines().len(), want, "{ids:?}");
    }
    // The same id is another record where its kind is another.
    journal.keep_all(vec![relayed(entry(Kind::Decision, Some(Outcome::Allow), 1))], true).unwrap();
    assert!(!journal.shutdown().any());
    drop(journal);
    is_whole(&folder, 5);
}

#[test]
fn what_a_successor_has_written_and_not_said_is_not_written_twice() {
    let folder = Folder::new();
    let (first, ..) = folder.open().unwrap();
    let handed = first.hand_over().unwrap();
    let (second, _) = folder.open_inherited(handed.lock().unwrap()).unwrap();
    handed.relay(Box::new(Mute(Arc::new(second))), Arc::new(AtomicBool::new(true)));
    first.note(relayed(entry(Kind::Close, Some(Outcome::Allow), 1)));
    until("it notices", || !first.healthy());
    first.note(relayed(entry(Kind::Close, Some(Outcome::Allow), 2)));
    assert!(!first.shutdown().any());
    drop(first);
    let ids =
        ["1", "2"].map(|last| folder.lines().iter().filter(|line| line.contains(&format!("000{last}\""))).count());
    assert_eq!(ids, [1, 1], "{:#?}", folder.lines());
}

/// As it comes from another process, and with a time, by which the log is searched.
fn relayed(entry: Entry) -> Entry {
    Entry::relayed(std::str::from_utf8(entry.object()).unwrap()).unwrap()
}
