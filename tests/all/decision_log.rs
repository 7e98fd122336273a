//! The decision log's promises from outside: kills under load, torn tails, both durabilities, whose directory it is.
//! Not here: full and read-only disks (`full_disk`). Source: PCI DSS 10.2 and 10.3; the promise that the record comes first.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::harness::{PATIENCE, Proxy, Setup, eventually, records, write_setup};
use super::kills::{self, HOSTS, folder, policy};
use super::origins::{self, Answer, Origin};
use super::programs::{self, Logged, sallyport};

/// Writes the configuration anew with another line in `decision_log`.
fn with_log_setting(dir: &Path, setting: &str) {
    let path = dir.join("sallyport.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("key: log.key}", &format!("key: log.key, {setting}}}"))).unwrap();
}

/// Fails unless the records are numbered from 0 on.
fn is_gapless(records: &[Value]) {
    let seqs: Vec<u64> = records.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (0..seqs.len() as u64).collect::<Vec<_>>(), "numbers without gaps");
}

/// How often a proxy is killed; `make accept` does it 200 times.
const KILLS: usize = 20;

#[test]
fn a_tunnel_whose_byte_reached_the_origin_has_its_record_whenever_the_proxy_is_killed() {
    kills::leave_a_record_for_every_tunnel_that_reached_the_origin(KILLS);
}

#[test]
fn a_torn_tail_is_cut_and_said() {
    let dir = folder(443, "");
    let (dir, _) = Proxy::start_in(dir).stop();
    let log = dir.path().join("decisions");
    let before = records(&log);
    let tails = [
        ("half a line", format!(r#"{{"v":1,"seq":{},"time":"2026-01-0"#, before.len()), 0),
        ("zeros", "\0".repeat(700), 0),
        ("a line of another number", "{\"v\":1,\"seq\":7777}\n".to_owned(), 0),
        (
            "whole lines behind a bad one",
            "?\n{\"v\":1,\"seq\":77,\"a\":1}\n{\"v\":1,\"seq\":78,\"a\":1}\n".to_owned(),
            2,
        ),
    ];
    let mut dir = dir;
    for (name, tail, lines) in tails {
        let end = records(&dir.path().join("decisions")).len();
        let segment = dir.path().join("decisions/segments/000000000000.jsonl");
        let whole = fs::read(&segment).unwrap();
        OpenOptions::new().append(true).open(&segment).unwrap().write_all(tail.as_bytes()).unwrap();
        let proxy = Proxy::start_in(dir);
        let starts = || proxy.records().into_iter().filter(|record| record["kind"] == "start").collect::<Vec<_>>();
        let said = eventually("the start is recorded", Instant::now() + PATIENCE, || {
            starts().pop().filter(|start| start["detail"]["torn_bytes"] == tail.len())
        });
        let said = &said["detail"];
        assert_eq!((&said["key_made"], &said["log_made"]), (&false.into(), &false.into()), "{name}");
        assert_eq!((&said["torn_seq"], &said["torn_lines"]), (&end.into(), &lines.into()), "{name}");
        dir = proxy.stop().0;
        assert_eq!(fs::read(segment_of(&dir)).unwrap()[..whole.len()], whole, "{name}: what was whole stays");
        is_gapless(&records(&dir.path().join("decisions")));
    }
}

fn segment_of(dir: &TempDir) -> PathBuf {
    dir.path().join("decisions/segments/000000000000.jsonl")
}

#[test]
fn sync_has_the_record_before_the_server_answers_and_a_close_with_the_same_id() {
    let origin = Origin::start();
    let proxy = Proxy::start_in(folder(origin.port(), ""));
    let mut ports = Vec::new();
    for number in 0..30 {
        let (mut socket, answer) = origins::open(proxy.edge, origin.port(), number);
        assert_eq!(answer, Answer::Open);
        let port = socket.local_addr().unwrap().port();
        let of_it = |record: &Value| record["kind"] == "decision" && record["client_port"] == port;
        assert!(proxy.records().iter().any(of_it), "tunnel {number}: its bytes went first");
        assert!(origins::echoes(&mut socket, b"0123456789"));
        ports.push(port);
    }
    let (dir, code) = proxy.stop();
    assert_eq!(code, Some(0));
    let log = records(&dir.path().join("decisions"));
    let sent = origins::client_hello(0).len() as u64 + 10;
    for port in ports {
        let of_it: Vec<&Value> = log.iter().filter(|record| record["client_port"] == port).collect();
        let [decision, close] = of_it[..] else { panic!("port {port}: {of_it:#?}") };
        assert_eq!(
            (&decision["kind"], &decision["outcome"], &decision["reason"]),
            (&"decision".into(), &"allow".into(), &"allowed".into())
        );
        assert_eq!(
            (&close["kind"], &close["outcome"], &close["reason"]),
            (&"close".into(), &"allow".into(), &"client_closed".into())
        );
        assert_eq!(close["id"], decision["id"]);
        assert!(close["seq"].as_u64() > decision["seq"].as_u64(), "{close}");
        assert_eq!(close["bytes_out"], sent, "{close}");
        assert_eq!((&close["tls_version"], &close["rule"]), (&"1.3".into(), &"acme/api".into()), "{close}");
    }
    is_gapless(&log);
}

#[test]
fn async_lets_through_at_once_and_has_the_record_within_the_interval() {
    let origin = Origin::start();
    let dir = folder(origin.port(), "");
    with_log_setting(dir.path(), "durability: async, commit_interval: 1s");
    let proxy = Proxy::start_in(dir);
    for number in 0..4 {
        let begun = Instant::now();
        let (socket, answer) = origins::open(proxy.edge, origin.port(), number);
        assert_eq!(answer, Answer::Open);
        let opened = begun.elapsed();
        proxy.decision_of(socket.local_addr().unwrap());
        let recorded = begun.elapsed();
        // Half a second beyond the interval is for a machine that runs other tests as well.
        assert!(
            recorded - opened < Duration::from_millis(1500),
            "recorded after {recorded:?}, opened after {opened:?}"
        );
    }
    is_gapless(&proxy.records());
}

#[test]
fn a_second_run_on_the_same_log_ends_before_it_binds() {
    let proxy = Proxy::start_in(folder(443, ""));
    // The second one's listener is taken as well: had it bound first, it would say so.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = TempDir::new().unwrap();
    let log = proxy.dir.path().join("decisions");
    let (policy, log_directory) = (policy(443), Some(&*log));
    write_setup(
        dir.path(),
        &Setup { policy: &policy, more: HOSTS, listen: &address, log_directory, ..Setup::default() },
    );
    let second = programs::finish(sallyport().args(["run", "-c"]).arg(dir.path().join("sallyport.yaml")), "");
    assert_eq!(second.code, Some(3), "{second:?}");
    assert!(second.err.contains("another process writes the decision log"), "{second:?}");
    assert!(!second.err.contains(&address), "{second:?}");
    assert!(!dir.path().join("log.key").exists(), "it made no key");
    assert_eq!(proxy.admin_page("/readyz").0, 200, "the first goes on");
}

/// Puts something below a log's directory that does not belong there.
type Spoil = fn(&Path);

#[test]
fn what_does_not_belong_to_the_log_is_refused() {
    let rows: [(&str, Spoil, &str, i32); 9] = [
        ("no segments", |log| fs::remove_dir_all(log.join("segments")).unwrap(), "bring back `segments`", 3),
        (
            "a number skipped",
            |log| fs::write(log.join("segments/000000999999.jsonl"), "").unwrap(),
            "begins with record 999999",
            3,
        ),
        ("a file", |log| fs::write(log.join("notes.txt"), "x").unwrap(), "notes.txt", 3),
        ("a folder", |log| fs::create_dir(log.join("old")).unwrap(), "old", 3),
        ("a file among segments", |log| fs::write(log.join("segments/1.jsonl"), "").unwrap(), "segments/1.jsonl", 3),
        ("a link for the segments", |log| link(&log.join("segments")), "segments", 3),
        ("a link for a segment", |log| link(&log.join("segments/000000000000.jsonl")), "000000000000.jsonl", 3),
        ("another log's key", |log| fs::write(log.join("log.vkey"), "sallyport/other+1+x\n").unwrap(), "log.vkey", 2),
        ("a link for the directory", |log| link(log), "decisions", 3),
    ];
    for (name, spoil, names, code) in rows {
        let (dir, _) = Proxy::start_in(folder(443, "")).stop();
        spoil(&dir.path().join("decisions"));
        let config = dir.path().join("sallyport.yaml");
        let ended = programs::finish(sallyport().args(["run", "-c"]).arg(config), "");
        assert_eq!(ended.code, Some(code), "{name}: {ended:?}");
        assert!(ended.err.contains(names), "{name}: {ended:?}");
    }
    let (dir, _) = Proxy::start_in(folder(443, "")).stop();
    fs::create_dir(dir.path().join("decisions/lost+found")).unwrap();
    assert_eq!(Proxy::start_in(dir).stop().1, Some(0), "a file system's own folder may be there");
}

#[test]
fn a_start_says_how_the_run_before_ended_and_whether_the_log_is_new() {
    let start = |proxy: &Proxy, count: usize| {
        eventually("the start is recorded", Instant::now() + PATIENCE, || {
            let mut starts = proxy.records().into_iter().filter(|record| record["kind"] == "start");
            starts.nth(count).map(|start| start["detail"].clone())
        })
    };
    let proxy = Proxy::start_in(folder(443, ""));
    let said = start(&proxy, 0);
    assert_eq!((&said["clean"], &said["key_made"], &said["log_made"]), (&Value::Null, &true.into(), &true.into()));
    let proxy = Proxy::start_in(proxy.stop().0);
    assert_eq!(start(&proxy, 1)["clean"], true, "it was stopped");
    let proxy = Proxy::start_in(proxy.kill());
    assert_eq!(start(&proxy, 2)["clean"], false, "it was killed");
    let (dir, _) = proxy.stop();
    fs::remove_dir_all(dir.path().join("decisions")).unwrap();
    fs::remove_file(dir.path().join("log.key.head")).unwrap();
    let proxy = Proxy::start_in(dir);
    let said = start(&proxy, 0);
    assert_eq!((&said["clean"], &said["key_made"], &said["log_made"]), (&Value::Null, &false.into(), &true.into()));
}

#[test]
fn a_log_that_is_moved_away_is_not_written_and_not_begun_a_second_time() {
    let origin = Origin::start();
    let proxy = Proxy::start_in(folder(origin.port(), ""));
    let (log, away) = (proxy.dir.path().join("decisions"), proxy.dir.path().join("away"));
    let (_held, answer) = origins::open(proxy.edge, origin.port(), 1);
    assert_eq!(answer, Answer::Open);
    fs::rename(&log, &away).unwrap();
    let config = proxy.dir.path().join("sallyport.yaml");
    let second = programs::finish(sallyport().args(["run", "-c"]).arg(config), "");
    assert_eq!(second.code, Some(3), "{second:?}");
    assert!(second.err.contains("another process holds the key"), "{second:?}");
    let (_, answer) = origins::open(proxy.edge, origin.port(), 2);
    assert!(matches!(answer, Answer::Alert(_)), "{answer:?}");
    assert_eq!(proxy.admin_page("/readyz").0, 503);
    fs::remove_dir_all(&log).unwrap();
    fs::rename(&away, &log).unwrap();
    eventually("it goes on", Instant::now() + PATIENCE, || (proxy.admin_page("/readyz").0 == 200).then_some(()));
    let (_held, answer) = origins::open(proxy.edge, origin.port(), 3);
    assert_eq!(answer, Answer::Open);
    is_gapless(&proxy.records());
    assert!(!origin.numbers().contains(&2), "nothing was forwarded in between");
}

/// Moves what is there out of the log and leaves a symbolic link to it.
fn link(path: &Path) {
    let root = path.ancestors().find(|folder| folder.join("sallyport.yaml").exists()).unwrap();
    fs::rename(path, root.join("elsewhere")).unwrap();
    symlink(root.join("elsewhere"), path).unwrap();
}

#[test]
fn the_key_is_made_once_and_its_verifier_may_be_read_by_the_group() {
    let proxy = Proxy::start_in(folder(443, ""));
    let start = proxy.record("the start", |record| record["kind"] == "start");
    assert_eq!(start["detail"]["key_made"], true);
    let (dir, _) = proxy.stop();
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    let (key, vkey) = (read("log.key"), read("decisions/log.vkey"));
    for (name, mode) in [("log.key", 0o600), ("decisions/log.vkey", 0o640)] {
        assert_eq!(fs::metadata(dir.path().join(name)).unwrap().mode() & 0o777, mode, "{name}");
    }
    assert!(vkey.starts_with("sallyport/tests+"), "{vkey}");
    assert_eq!(start["detail"]["vkey"], vkey.trim_end());
    let (dir, _) = Proxy::start_in(dir).stop();
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!((read("log.key"), read("decisions/log.vkey")), (key, vkey), "made once");
}

#[test]
fn stdout_has_true_copies() {
    let origin = Origin::start();
    let dir = folder(origin.port(), "");
    with_log_setting(dir.path(), "stdout: true");
    let mut proxy = Logged::start_in(dir);
    let edge: SocketAddr = proxy.edge;
    for number in 0..20 {
        let (mut socket, answer) = origins::open(edge, origin.port(), number);
        assert_eq!(answer, Answer::Open);
        assert!(origins::echoes(&mut socket, b"x"));
    }
    let closes = |text: &str| text.lines().filter(|line| line.contains(r#""kind":"close""#)).count();
    eventually("the copies", Instant::now() + PATIENCE, || (closes(&proxy.out()) == 20).then_some(()));
    assert_eq!(proxy.stop(), Some(0));
    let log = fs::read_to_string(segment_of(&proxy.dir)).unwrap();
    let out = proxy.out();
    assert!(log.starts_with(&out), "each line is the log's, in its order");
    assert_eq!(out.lines().count(), log.lines().count(), "the last record is copied too");
}

/// One that is denied for ever leaves a few records a second and exact counts; others are recorded as ever.
#[test]
fn a_flood_of_denials_is_counted_to_the_last_one() {
    const DENIED: u64 = 400;
    let dir = folder(443, "");
    with_log_setting(dir.path(), "denial_rate: 5/s");
    let proxy = Proxy::start_in(dir);
    for request in 0..DENIED {
        let host = if request == 17 { "[::1]:1" } else { "not.listed.test:443" };
        let (_, answer) = proxy.ask(format!("CONNECT {host} HTTP/1.1\r\n\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
    let get = b"GET http://not.listed.test/ HTTP/1.1\r\nHost: not.listed.test\r\n\r\n";
    assert!(proxy.ask(get).1.starts_with("HTTP/1.1 403 plaintext_http"));
    // What was counted in the last second is told before the stop.
    let (dir, code) = proxy.stop();
    assert_eq!(code, Some(0));
    let records = records(&dir.path().join("decisions"));
    let of = |kind: &str, reason: &str| {
        records.iter().filter(|record| record["kind"] == kind && record["reason"] == reason).collect::<Vec<_>>()
    };
    let (recorded, summaries) = (of("decision", "destination_not_listed"), of("summary", "destination_not_listed"));
    let counted: u64 = summaries.iter().map(|summary| summary["detail"]["count"].as_u64().unwrap()).sum();
    assert_eq!(recorded.len() as u64 + counted, DENIED);
    assert!(recorded.len() <= 5 * (summaries.len() + 1), "{} in {} seconds", recorded.len(), summaries.len());
    for summary in &summaries {
        assert_eq!((&summary["outcome"], &summary["source"]), (&"deny".into(), &recorded[0]["source"]), "{summary}");
        assert!(summary["detail"]["since"].as_str() < summary["time"].as_str(), "{summary}");
    }
    assert_eq!((of("decision", "plaintext_http").len(), of("summary", "plaintext_http").len()), (1, 0));
    assert_eq!(records.last().unwrap()["kind"], "stop");
    is_gapless(&records);
}
