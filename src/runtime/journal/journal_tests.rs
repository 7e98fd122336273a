//! The whole journal: open, write, close, open again.

use std::fs;
use std::sync::mpsc;

use super::*;
use crate::decision_log::faulty::entry;
use crate::decision_log::{Damage, Durability, KeyError};
use crate::policy::Outcome;

fn setup(folder: &Path) -> Setup {
    Setup {
        instance: "edge-1".into(),
        directory: folder.join("log"),
        key: folder.join("log.key"),
        pace: Pace { durability: Durability::Sync, commit_interval: Duration::from_millis(1) },
        copy: None,
        watch: Arc::new(|_| ()),
    }
}

struct Sent(mpsc::Sender<Vec<u8>>);

impl io::Write for Sent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn allow(id: u128) -> Entry {
    entry(Kind::Decision, Some(Outcome::Allow), id)
}

/// What all segments hold: records of another hour are in another one.
fn text(folder: &Path) -> String {
    let segments = fs::read_dir(folder.join("log/segments")).unwrap();
    let mut paths: Vec<_> = segments.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let plain = |path: &PathBuf| match path.extension().and_then(|suffix| suffix.to_str()) {
        Some("zst") => zstd::decode_all(fs::File::open(path).unwrap()).unwrap(),
        _ => fs::read(path).unwrap(),
    };
    String::from_utf8(paths.iter().flat_map(plain).collect()).unwrap()
}

#[test]
fn goes_on_where_it_stopped_with_a_copy_and_an_observer() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for round in 0..3 {
        let ((copies, copied), (says, said)) = (mpsc::channel(), mpsc::channel());
        let setup = Setup {
            copy: Some(Box::new(Sent(copies))),
            watch: Arc::new(move |event| drop(says.send(format!("{event:?}")))),
            ..setup(folder.path())
        };
        let (journal, opening) = Journal::open(setup).unwrap();
        assert_eq!((opening.scan.end.next, opening.scan.torn, opening.key_made), (2 * round, 0, round == 0), "{round}");
        let again = Journal::open(self::setup(folder.path())).map(drop).unwrap_err();
        assert!(matches!(again, JournalError::Locked(_)), "{again}");
        assert!(journal.healthy());
        let permit = runtime.block_on(journal.commit(allow(7))).unwrap();
        assert_eq!(permit.id().as_u128(), 7);
        journal.note(entry(Kind::Close, Some(Outcome::Allow), 7));
        assert!(!journal.shutdown().any());
        let text = text(folder.path());
        let lines: Vec<&str> = text.lines().skip(usize::try_from(2 * round).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{round}");
        assert!(lines[0].starts_with(&format!(r#"{{"v":1,"seq":{},"time":""#, 2 * round)), "{}", lines[0]);
        let copy: Vec<u8> = (0..2).flat_map(|_| copied.recv_timeout(COMMIT_DEADLINE).unwrap()).collect();
        assert!(text.ends_with(std::str::from_utf8(&copy).unwrap()), "{round}");
        assert!(said.try_iter().any(|event| event.starts_with("Committed") && event.contains("(Decision, 1)")));
    }
}

#[test]
fn errors_say_what_to_do() {
    for (error, want) in [
        (
            JournalError::Locked("/log".into()),
            "another process writes the decision log in `/log`; stop it, or give this one a directory of its own",
        ),
        (
            JournalError::Key { path: "/k".into(), why: KeyError::Pem },
            "`/k` is not a private key in PEM; make one with `openssl genpkey -algorithm ed25519`",
        ),
        (system("open", Path::new("/log"))(io::ErrorKind::NotFound.into()), "can't open `/log`: entity not found"),
    ] {
        assert_eq!(error.to_string(), want);
        assert_eq!(format!("{:#}", anyhow::Error::from(error)), want, "each part once");
    }
    let gap = JournalError::Damaged { path: "/s".into(), why: Damage::Gap { first: 9, before: 3 } };
    let want = "`/s` begins with record 9, but what is before it, or is signed, ends at 3; bring back what is missing";
    assert_eq!(format!("{:#}", anyhow::Error::from(gap)), want);
}

#[test]
fn the_end_waits_until_the_last_record_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    let (copies, copied) = mpsc::channel();
    struct Slow(mpsc::Sender<Vec<u8>>);
    impl io::Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            std::thread::park_timeout(Duration::from_millis(100));
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let setup = Setup { copy: Some(Box::new(Slow(copies))), ..setup(folder.path()) };
    let (journal, _) = Journal::open(setup).unwrap();
    journal.note(entry(Kind::Stop, None, 7));
    assert!(!journal.shutdown().any());
    assert_eq!(copied.try_iter().flatten().filter(|byte| *byte == b'\n').count(), 1);
}

#[test]
fn the_clock_is_watched_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(setup(folder.path())).unwrap();
    let mut record = crate::decision_log::Record::new(
        Kind::Stop,
        crate::runtime::clock::now() + jiff::SignedDuration::from_hours(1),
        uuid::Uuid::nil(),
        "edge-1".into(),
    );
    journal.note(record.line());
    journal.shutdown();
    let (journal, opening) = Journal::open(setup(folder.path())).unwrap();
    assert!(opening.scan.last.is_some_and(|last| last.is_stop && last.time.is_some()), "{opening:?}");
    record.time = crate::runtime::clock::now();
    journal.note(record.line());
    journal.shutdown();
    let text = text(folder.path());
    assert_eq!(text.matches(r#""what":"clock","offset_ms":-3"#).count(), 1, "{text}");
}
