//! What commands write where: results to stdout, words and the process's own log to stderr, and readers that go away.
//! Not here: what the results say.

use std::fs::{self, File};
use std::io::{Write, pipe};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

use super::good;
use crate::dns_server::{DnsServer, Reply};
use crate::harness::{PATIENCE, Setup, eventually, read_answer, status_of, write_setup};
use crate::programs::{finish, sallyport};

/// A stream whose reader has gone.
fn broken() -> Stdio {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

#[test]
fn a_reader_that_goes_away_changes_no_exit_code() {
    let dir = good(443);
    let explain = "explain --source 127.0.0.1 --target";
    let code = |words: &str, out: Stdio, err: Stdio| {
        let mut command = sallyport();
        command.args(words.split(' ')).arg("-c").arg(dir.path().join("sallyport.yaml")).stdin(Stdio::null());
        command.env("TMPDIR", dir.path()).stdout(out).stderr(err).status().unwrap().code()
    };
    for (words, want, on_full_disk) in [
        ("version", 0, 3),
        ("version -o json", 0, 3),
        ("check", 0, 3),
        (&format!("{explain} api.acme.test:443"), 0, 3),
        (&format!("{explain} api.acme.test:22"), 1, 3),
        ("demo --once", 0, 3),
        ("frobnicate", 2, 2),
    ] {
        assert_eq!(code(words, broken(), broken()), Some(want), "{words}: nobody reads");
        assert_eq!(code(words, full(), full()), Some(on_full_disk), "{words}: the disk is full");
    }
}

/// Ended when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The lines of a log so far, as JSON; one that is none fails the test.
fn lines(log: &Path) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn edge(log: &Path) -> SocketAddr {
    eventually("it serves", Instant::now() + PATIENCE, || {
        let line = lines(log).into_iter().find(|line| line["fields"]["message"] == "serving")?;
        line["fields"]["listeners"].as_str()?.split_once('=')?.1.parse().ok()
    })
}

#[test]
fn libraries_have_no_say_in_the_log() {
    for level in ["info", "trace"] {
        let server = DnsServer::start(|_| Reply::Garbage);
        let dir = TempDir::new().unwrap();
        let policy = "rules: [{id: a, customer: a, sources: [tests], hosts: [\"**.acme.test\"], addresses: [127.0.0.0/8], wide: true}]\n";
        write_setup(
            dir.path(),
            &Setup { policy, more: &server.settings("udp", ", timeout: 300ms"), ..Setup::default() },
        );
        let log = dir.path().join("err");
        let mut command = sallyport();
        command.args(["run", "-c"]).arg(dir.path().join("sallyport.yaml")).env("SALLYPORT_LOG", level);
        let mut running = Running(command.stdout(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap());
        let mut socket = TcpStream::connect(edge(&log)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(b"CONNECT some-secret.acme.test:443 HTTP/1.1\r\n\r\n").unwrap();
        let answer = read_answer(&mut socket);
        assert!([502, 504].contains(&status_of(&answer)) && !server.asked().is_empty(), "{level}: {answer}");
        let sent = Command::new("kill").args(["-TERM", &running.0.id().to_string()]).status().unwrap();
        assert!(sent.success() && running.0.wait().unwrap().success(), "{level}: it ends well");
        let lines = lines(&log);
        assert!(lines.iter().any(|line| line["fields"]["message"] == "stopped"), "{level}: {lines:#?}");
        for line in lines {
            let target = line["target"].as_str().unwrap();
            assert!(target == "sallyport" || target.starts_with("sallyport::"), "{level}: {line}");
            assert!(!line.to_string().contains("some-secret"), "{level}: {line}");
        }
    }
}

#[test]
fn the_levels_of_the_log_are_words() {
    let dir = good(443);
    for level in ["", "loud", "INFO", "hickory_proto=trace", "sallyport=debug"] {
        let mut command = sallyport();
        command.args(["run", "-c"]).arg(dir.path().join("sallyport.yaml")).env("SALLYPORT_LOG", level);
        let ended = finish(&mut command, "");
        assert_eq!((ended.code, &*ended.out), (Some(2), ""), "`{level}`: {ended:?}");
        let want =
            format!("`SALLYPORT_LOG` is `{level}`; write `error`, `warn`, `info`, `debug` or `trace`, or unset it\n");
        assert_eq!(ended.err, want);
    }
}
