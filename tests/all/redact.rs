//! `redact` from outside: files and streams as they come, counts, configurations, readers that go away.
//! Not here: what is found (`redact` in the library, `recall`).

use std::fs;
use std::io::{Read, Write};
use std::process::{ChildStdout, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::harness::{Setup, write_setup};
use super::programs::{Finished, finish, sallyport};

fn redact(args: &[&str], input: &str) -> Finished {
    finish(sallyport().arg("redact").args(args), input)
}

#[test]
fn a_stream_is_marked_and_erased_with_counts_on_stderr() {
    for (input, out, err) in [
        (
            "pan=4111111111111111&cvv=123",
            "pan=[PAN:visa:16]&cvv=[erased:security_code]",
            "redacted 2: 1 pan, 1 security_code\n",
        ),
        ("", "", "redacted 0\n"),
        ("a\tb\r\n\u{1b}[0m", "a\tb\r\n\u{1b}[0m", "redacted 0\n"),
        ("[PAN:visa:16]\n5555555555554444\n", "[PAN:visa:16]\n[PAN:mastercard:16]\n", "redacted 1: 1 pan\n"),
    ] {
        let ended = redact(&[], input);
        assert_eq!((ended.code, &*ended.out, &*ended.err), (Some(0), out, err), "`{input}`");
    }
    let ended = redact(&["-", "-o", "json"], "4111111111111111 378282246310005 4111111111111111");
    let want = json!({
        "total": 3, "detectors": {"pan": 3}, "marks": {"[PAN:amex:15]": 1, "[PAN:visa:16]": 2}, "config": null,
    });
    assert_eq!(serde_json::from_str::<Value>(&ended.err).unwrap(), want, "{ended:?}");
    assert_eq!(ended.out, "[PAN:visa:16] [PAN:amex:15] [PAN:visa:16]");
}

#[test]
fn a_file_s_other_bytes_stay_as_they_are() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("core");
    let other: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    fs::write(&path, [&other[..], b" 4111111111111111 ", &other[..]].concat()).unwrap();
    let done = sallyport().arg("redact").arg(&path).output().unwrap();
    assert_eq!(done.status.code(), Some(0));
    assert!(done.stdout == [&other[..], b" [PAN:visa:16] ", &other[..]].concat(), "other bytes were changed");
    assert_eq!(done.stderr, b"redacted 1: 1 pan\n");
}

#[test]
fn what_has_come_is_given_before_the_end() {
    let mut child =
        sallyport().arg("redact").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    stdin.write_all(b"card 4111111111111111\nnot yet 4111").unwrap();
    let want = b"card [PAN:visa:16]\n";
    assert_eq!(some(&mut stdout, want.len()), want);
    stdin.write_all(b"111111111111").unwrap();
    drop(stdin);
    let want = b"not yet [PAN:visa:16]";
    assert_eq!(some(&mut stdout, want.len()), want);
    assert!(child.wait().unwrap().success());
}

fn some(stdout: &mut ChildStdout, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stdout.read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child =
        sallyport().arg("redact").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    // The pipe to it breaks once it has ended.
    let _ = child.stdin.take().unwrap().write_all("a line\n".repeat(100_000).as_bytes());
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&done.stderr), "redacted 0\n");
}

#[test]
fn a_configuration_adds_its_private_fields() {
    let dir = TempDir::new().unwrap();
    let more = "redaction: {private_fields: [account]}\n";
    write_setup(dir.path(), &Setup { more, ..Setup::default() });
    let config = dir.path().join("sallyport.yaml");
    let shown = config.display().to_string();
    for command in
        [sallyport().arg("redact").arg("-c").arg(&config), sallyport().arg("redact").env("SALLYPORT_CONFIG", &config)]
    {
        let ended = finish(command, "account=7");
        assert_eq!((ended.code, &*ended.out), (Some(0), "account=[private:account]"), "{ended:?}");
        assert_eq!(ended.err, format!("redacted 1: 1 private_field (redaction as in {shown})\n"));
    }
    let ended = redact(&["-o", "json", "-c", &shown], "");
    assert_eq!(serde_json::from_str::<Value>(&ended.err).unwrap()["config"], shown.as_str(), "{ended:?}");
    fs::write(&config, "redaction: {private_fields: 7}\n").unwrap();
    let ended = redact(&["-c", &shown], "account=7");
    assert_eq!((ended.code, &*ended.out), (Some(2), ""), "{ended:?}");
    assert!(ended.err.contains("private_fields"), "{ended:?}");
}

#[test]
fn what_cannot_be_read_is_3() {
    let dir = TempDir::new().unwrap();
    let missing = dir.path().join("missing").display().to_string();
    let folder = dir.path().display().to_string();
    for (name, args, says) in [
        ("a missing file", &[missing.as_str()][..], "missing: No such file or directory"),
        ("a folder", &[folder.as_str()], "Is a directory"),
        ("a missing configuration that was named", &["-c", &missing], "missing: No such file"),
    ] {
        let ended = redact(args, "");
        assert_eq!((ended.code, &*ended.out), (Some(3), ""), "{name}: {ended:?}");
        assert!(ended.err.contains(says), "{name}: {ended:?}");
    }
    assert_eq!(redact(&["a", "b"], "").code, Some(2), "two files");
}
