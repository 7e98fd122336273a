//! Credentials as clients show them, from a file as it is kept.

use std::fs;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use zeroize::Zeroizing;

use super::*;
use crate::yaml::Place;

/// A file with two credentials, and their secrets.
struct Fixture {
    folder: tempfile::TempDir,
    secrets: [Zeroizing<String>; 2],
    checker: Arc<Checker>,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let (batch, first) = Credential::new("batch.1", &[1; 32], &[2; 16]).unwrap();
    let (mail, second) = Credential::new("mail", &[3; 32], &[4; 16]).unwrap();
    fs::write(folder.path().join("credentials.yaml"), format!("credentials:\n  - {batch}\n  - {mail}\n")).unwrap();
    Fixture { folder, secrets: [first, second], checker: Arc::default() }
}

impl Fixture {
    fn path(&self) -> PathBuf {
        self.folder.path().join("credentials.yaml")
    }

    fn read(&self) -> Result<Credentials, Vec<String>> {
        self.read_behind(None)
    }

    /// Reads the file again.
    fn read_behind(&self, before: Option<&Credentials>) -> Result<Credentials, Vec<String>> {
        let mut reading = Reading::behind("sallyport.yaml".to_owned());
        let place = Place { file: 0, line: 1, column: 1 };
        let file = Located { value: self.path().display().to_string(), place };
        let credentials = Credentials::read(&file, before, &self.checker, &mut reading);
        credentials.filter(|_| reading.faults.is_empty()).ok_or_else(|| reading.end().lines().to_vec())
    }
}

fn basic(name: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{secret}")))
}

fn bearer(name: &str, secret: &str) -> String {
    format!("Bearer {name}.{secret}")
}

fn known(credentials: &Credentials, field: &str) -> Option<String> {
    credentials.known.remembered(&Presented::read(field.as_bytes()).unwrap()).map(|shown| shown.name().to_string())
}

async fn check(credentials: &Credentials, field: &str, who: &str) -> Result<String, Reason> {
    credentials.check(field.as_bytes(), who).await.map(|shown| shown.name().to_string())
}

#[tokio::test]
async fn a_secret_is_its_owners_alone() {
    let fixture = fixture();
    let credentials = fixture.read().unwrap();
    let [first, second] = &fixture.secrets;
    for (row, field, want) in [
        ("Basic", basic("batch.1", first), Ok("batch.1".to_owned())),
        ("Bearer", bearer("batch.1", first), Ok("batch.1".to_owned())),
        ("the other one", bearer("mail", second), Ok("mail".to_owned())),
        ("another's secret", bearer("mail", first), Err(Reason::CredentialsWrong)),
        (
            "a secret too short",
            bearer("mail", second.trim_end_matches(char::is_alphanumeric)),
            Err(Reason::CredentialsWrong),
        ),
        ("nobody's name", bearer("nobody", first), Err(Reason::CredentialsWrong)),
        ("a name in capitals", bearer("MAIL", second), Err(Reason::CredentialsWrong)),
        ("another scheme", format!("Digest mail.{}", **second), Err(Reason::CredentialsWrong)),
        ("nothing", String::new(), Err(Reason::CredentialsWrong)),
    ] {
        for time in ["first", "second"] {
            assert_eq!(check(&credentials, &field, row).await, want, "{row}, the {time} time");
        }
    }
}

#[tokio::test]
async fn guessing_is_slowed_down_and_who_is_known_goes_on() {
    let fixture = fixture();
    let credentials = fixture.read().unwrap();
    let (good, bad) = (bearer("mail", &fixture.secrets[1]), bearer("mail", "guess"));
    assert_eq!(check(&credentials, &good, "ivr").await, Ok("mail".to_owned()));
    let guesses = join_all((0..30).map(|_| check(&credentials, &bad, "ivr"))).await;
    let told = |reason| guesses.iter().filter(|guess| **guess == Err(reason)).count();
    assert_eq!((told(Reason::CredentialsWrong), told(Reason::RateLimited)), (10, 20), "{guesses:?}");
    assert_eq!(check(&credentials, &good, "ivr").await, Ok("mail".to_owned()), "who is known goes on");
    assert_eq!(
        check(&credentials, &bad, "web").await,
        Err(Reason::CredentialsWrong),
        "each source has its own guesses"
    );
    let other = bearer("batch.1", &fixture.secrets[0]);
    assert_eq!(check(&credentials, &other, "ivr").await, Ok("batch.1".to_owned()), "each name has its own guesses");
}

#[tokio::test]
async fn what_was_good_is_good_as_long_as_it_stands_in_the_file() {
    let fixture = fixture();
    let credentials = fixture.read().unwrap();
    let [first, second] = &fixture.secrets;
    let (batch, mail) = (bearer("batch.1", first), bearer("mail", second));
    assert_eq!(known(&credentials, &mail), None, "never shown");
    for good in [&batch, &mail] {
        check(&credentials, good, "ivr").await.unwrap();
    }
    assert_eq!(known(&credentials, &mail).as_deref(), Some("mail"));
    for other in [bearer("mail", "x"), bearer("batch.1", second), bearer("nobody", second)] {
        assert_eq!(known(&credentials, &other), None, "{other}");
    }
    assert_eq!(known(&fixture.read().unwrap(), &mail), None, "another process knows nothing");

    let (fresh, secret) = Credential::new("mail", &[5; 32], &[6; 16]).unwrap();
    let [old_batch, old_mail] = &credentials.iter().map(ToString::to_string).collect::<Vec<_>>()[..] else { panic!() };
    let fresh = fresh.to_string();
    for (row, lines, of_batch, of_mail) in [
        ("all stays, in another order", vec![old_mail, old_batch], true, true),
        ("one goes", vec![old_batch], true, false),
        ("one has another secret", vec![old_batch, &fresh], true, false),
    ] {
        let lines: String = lines.iter().map(|line| format!("  - {line}\n")).collect();
        fs::write(fixture.path(), format!("credentials:\n{lines}")).unwrap();
        let again = fixture.read_behind(Some(&credentials)).unwrap();
        for (field, want) in [(&batch, of_batch), (&mail, of_mail)] {
            let shown = credentials.check(field.as_bytes(), "ivr").await.unwrap();
            assert_eq!(known(&again, field), want.then(|| shown.name().to_string()), "{row}");
            assert_eq!(again.have(&shown), want, "{row}");
        }
        assert_eq!(known(&again, &bearer("mail", &secret)), None, "{row}: not shown yet");
    }
}

#[tokio::test]
async fn no_more_wait_than_may() {
    let fixture = fixture();
    let credentials = fixture.read().unwrap();
    let (holds, held) = std::sync::mpsc::channel::<()>();
    fixture.checker.order(Box::new(move || held.recv().unwrap_or_default())).unwrap();
    let begun = || fixture.checker.order(Box::new(|| {}));
    // The thread may have taken the first job from the queue, or not yet.
    let waiting = std::iter::repeat_with(begun).take_while(Result::is_ok).count();
    assert!((MAX_WAITING_CHECKS - 1..=MAX_WAITING_CHECKS).contains(&waiting), "{waiting}");
    let good = bearer("mail", &fixture.secrets[1]);
    for time in 0..20 {
        assert_eq!(check(&credentials, &good, "ivr").await, Err(Reason::Overloaded), "that was no guess, time {time}");
    }
    drop(holds);
}

#[test]
fn a_name_that_nobody_has_takes_the_time_of_one_that_there_is() {
    let fixture = fixture();
    let known = fixture.read().unwrap().known;
    let stand_ins: std::collections::BTreeSet<usize> =
        (0..100).map(|number| known.stand_in(&format!("x{number}"))).collect();
    assert_eq!(stand_ins, [0, 1].into(), "all costs that there are");
    assert!((0..100).all(|_| known.stand_in("x") == known.stand_in("x")));
}

#[test]
fn a_file_that_everybody_may_write_is_refused() {
    let fixture = fixture();
    for (mode, want) in [(0o644, None), (0o664, None), (0o666, Some("everybody may write it, and so make credentials"))]
    {
        fs::set_permissions(fixture.path(), <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(mode))
            .unwrap();
        let faults = fixture.read().err();
        assert_eq!(faults.is_some(), want.is_some(), "{mode:o}: {faults:?}");
        assert!(faults.iter().flatten().all(|fault| fault.contains(want.unwrap_or_default())), "{mode:o}: {faults:?}");
    }
}
