//! `run --take-over`: one process takes over from another, and what becomes of both when something goes wrong in between.
//! Not here: under load at full length (`make accept`). Source: the promise that a change of the program loses nothing.

use std::fs;
use std::io::{BufRead, Read};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::harness::{Old, PATIENCE, Proxy, eventually};
use super::origins::{Answer, Origin, echoes, ends, open};
use super::programs::{Finished, finish, program, sallyport};

#[path = "../accept/upgrades.rs"]
mod upgrades;

use upgrades::{Load, each_tunnel_is_on_record_once, life, lose_nothing, proxy};

fn tunnel(proxy: &Proxy, origin: &Origin) -> TcpStream {
    let (mut socket, answer) = open(proxy.edge, origin.port(), 0);
    assert_eq!(answer, Answer::Open);
    assert!(echoes(&mut socket, b"open"));
    socket
}

/// A new process that fails on purpose; what it heard.
fn heir(proxy: &Proxy, instance: &str, environment: &str, how: &str) -> Finished {
    let door = proxy.dir.path().join("state/take-over.tests.sock");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/heir.py");
    finish(program("python3").arg(script).arg(door).args([instance, environment, how]), "")
}

#[test]
fn upgrades_lose_neither_connection_nor_tunnel_nor_record() {
    lose_nothing(&Load { upgrades: 3, tunnels: 60, rate: 120 });
}

#[test]
fn whoever_must_not_take_over_is_refused_and_the_old_one_goes_on() {
    let origin = Origin::start();
    let proxy = proxy(&origin, "environment: production\n");
    let mut socket = tunnel(&proxy, &origin);
    for (instance, environment, want) in [
        ("edge-9", "production", "this is instance `tests`, not `edge-9`"),
        ("tests", "staging", "this is environment `production`, not `staging`: they never mix"),
        ("tests", "", "this is environment `production`, not `none`: they never mix"),
    ] {
        let Finished { out, .. } = heir(&proxy, instance, environment, "leaves-go");
        assert_eq!(out.trim_end(), format!("refused 0\n{want}"), "{instance} {environment}");
    }
    let door = proxy.dir.path().join("state/take-over.tests.sock");
    assert_eq!(fs::metadata(&door).unwrap().permissions().mode() & 0o777, 0o600, "other users do not get in");
    // A second one that does not take over, and one whose files have faults.
    let config = proxy.dir.path().join("sallyport.yaml");
    let run =
        |arguments: &[&str]| finish(sallyport().args(["-c", config.to_str().unwrap(), "run"]).args(arguments), "");
    let second = run(&[]);
    assert!(second.code == Some(3) && second.err.contains("another process writes the decision log"), "{}", second.err);
    let good = fs::read_to_string(proxy.dir.path().join("policy.yaml")).unwrap();
    fs::write(proxy.dir.path().join("policy.yaml"), "version: 1\nsorces: []\n").unwrap();
    let faulty = run(&["--take-over"]);
    assert!(faulty.code == Some(2) && faulty.err.contains("policy.yaml:2:1"), "{}", faulty.err);
    fs::write(proxy.dir.path().join("policy.yaml"), good).unwrap();
    assert!(echoes(&mut socket, b"undisturbed"));
    tunnel(&proxy, &origin);
    assert_eq!(life(&proxy), [("start".to_owned(), serde_json::Value::Null)]);
}

#[test]
fn one_that_fails_on_the_way_leaves_the_old_one_as_it_was() {
    let origin = Origin::start();
    let proxy = proxy(&origin, "");
    let mut socket = tunnel(&proxy, &origin);
    let rows = [
        ("leaves-sockets", "sockets", 0),
        ("refuses-sockets", "sockets", 0),
        ("babbles-sockets", "sockets", 0),
        ("leaves-ready", "log", 1),
        ("refuses-ready", "log", 2),
        ("babbles-ready", "log", 3),
        // It says nothing more, and is killed: it might be writing.
        ("waits-ready", "log", 4),
        // The log is its own by then, and its death gives it back.
        ("leaves-go", "go", 5),
        ("waits-go", "go", 6),
    ];
    for (how, last, taken_back) in rows {
        let Finished { out, code, .. } = heir(&proxy, "tests", "", how);
        assert!(out.lines().any(|line| line.starts_with(last)), "{how}: {out}");
        assert!(code.is_none() || !how.starts_with("waits"), "{how}: it was not killed");
        assert!(echoes(&mut socket, b"undisturbed"), "{how}");
        drop(eventually(&format!("{how}: it serves"), Instant::now() + PATIENCE, || {
            match open(proxy.edge, origin.port(), 1) {
                (socket, Answer::Open) => Some(socket),
                _ => None,
            }
        }));
        let told = || life(&proxy).into_iter().filter(|(_, told)| told == "taken_back").count();
        eventually(&format!("{how}: it says so"), Instant::now() + PATIENCE, || (told() == taken_back).then_some(()));
    }
    // And one that does not fail.
    let (proxy, old) = proxy.upgrade();
    drop((tunnel(&proxy, &origin), socket));
    assert_eq!(old.wait(), Some(0));
    let (dir, code) = proxy.stop();
    assert_eq!(code, Some(0));
    let verified = finish(sallyport().args(["audit", "verify"]).arg(dir.path().join("decisions")), "");
    assert!(verified.code == Some(0), "{}{}", verified.out, verified.err);
}

#[test]
fn tunnels_of_an_old_process_obey_the_new_policy_and_the_end_of_the_new_one() {
    let origin = Origin::start();
    let proxy = proxy(&origin, "limits: {drain_timeout: 500ms}\n");
    let mut cut = tunnel(&proxy, &origin);
    let (proxy, old) = proxy.upgrade();
    let policy = proxy.dir.path().join("policy.yaml");
    let good = fs::read_to_string(&policy).unwrap();
    fs::write(&policy, "version: 1\nsources: [{name: other, subnets: [10.0.0.0/24]}]\n").unwrap();
    proxy.signal("HUP");
    assert!(ends(&mut cut), "its source has gone");
    let close = proxy.record("its end", |record| record["kind"] == "close");
    assert_eq!(close["reason"], "revoked");
    assert_eq!(old.wait(), Some(0), "it has nothing left to do");
    fs::write(&policy, good).unwrap();
    proxy.signal("HUP");
    let mut left =
        eventually("it is allowed again", Instant::now() + PATIENCE, || match open(proxy.edge, origin.port(), 0) {
            (socket, Answer::Open) => Some(socket),
            _ => None,
        });
    let (proxy, old) = proxy.upgrade();
    proxy.signal("TERM");
    assert!(ends(&mut left));
    assert_eq!(old.wait(), Some(0), "the end of the new one is the end of the old one");
    let (dir, code) = proxy.wait();
    assert_eq!(code, Some(0));
    each_end_is(dir.path(), &["revoked", "shutdown"]);
}

fn each_end_is(dir: &std::path::Path, reasons: &[&str]) {
    let records = super::harness::records(&dir.join("decisions"));
    let closes: Vec<_> =
        records.iter().filter(|record| record["kind"] == "close").map(|record| &record["reason"]).collect();
    assert_eq!(closes, reasons);
}

#[test]
fn a_new_process_that_can_have_no_log_says_why_and_disturbs_nothing() {
    let origin = Origin::start();
    let proxy = proxy(&origin, "");
    let config = proxy.dir.path().join("sallyport.yaml");
    let text = fs::read_to_string(&config).unwrap();
    let run = || finish(sallyport().args(["run", "--take-over", "-c", config.to_str().unwrap()]), "");
    fs::write(proxy.dir.path().join("bad.key"), "no key\n").unwrap();
    fs::set_permissions(proxy.dir.path().join("bad.key"), fs::Permissions::from_mode(0o600)).unwrap();
    for (from, to, want) in
        [("key: log.key", "key: bad.key", "bad.key"), ("decisions, key", "elsewhere, key", "elsewhere")]
    {
        fs::write(&config, text.replace(from, to)).unwrap();
        let ended = run();
        assert!(ended.code.is_some_and(|code| code > 1) && ended.err.contains(want), "{to}: {ended:?}");
        drop(tunnel(&proxy, &origin));
        assert!(proxy.admin_page("/readyz").0 == 200, "{to}");
    }
    fs::write(&config, text).unwrap();
    let (proxy, old) = proxy.upgrade();
    assert_eq!(old.wait(), Some(0));
    assert_eq!(proxy.stop().1, Some(0));
}

#[test]
fn every_generation_obeys_the_newest() {
    let origin = Origin::start();
    let socket = tempfile::TempDir::new().unwrap();
    let path = socket.path().join("edge.sock");
    let proxy = proxy(&origin, "limits: {drain_timeout: 500ms}\n");
    let config = proxy.dir.path().join("sallyport.yaml");
    let text = fs::read_to_string(&config).unwrap();
    let local = format!("mode: connect}}, {{name: local, address: \"unix:{}\"}}]", path.display());
    fs::write(&config, text.replace("mode: connect}]", &local)).unwrap();
    let mut cut = vec![tunnel(&proxy, &origin)];
    let mut left = vec![tunnel(&proxy, &origin)];
    let (mut proxy, mut olds) = (proxy, Vec::new());
    for _ in 0..3 {
        olds.push(proxy.upgrade_in_place());
        cut.push(tunnel(&proxy, &origin));
        left.push(tunnel(&proxy, &origin));
        assert!(UnixStream::connect(&path).is_ok(), "its path stays");
    }
    // One that fails takes nothing along.
    let text = fs::read_to_string(&config).unwrap();
    fs::write(
        &config,
        text.replace(
            "listeners: [",
            &format!("listeners: [{{name: taken, address: \"127.0.0.1:{}\"}}, ", origin.port()),
        ),
    )
    .unwrap();
    let failed = finish(sallyport().args(["run", "--take-over", "-c", config.to_str().unwrap()]), "");
    assert!(failed.code == Some(3) && failed.err.contains("cannot listen"), "{failed:?}");
    assert!(UnixStream::connect(&path).is_ok(), "its path stays");
    fs::write(&config, text).unwrap();
    let policy = proxy.dir.path().join("policy.yaml");
    let good = fs::read_to_string(&policy).unwrap();
    fs::write(&policy, good.replace("rules:", "never: {hosts: [api.acme.test]}\nrules:")).unwrap();
    proxy.signal("HUP");
    for (generation, tunnel) in cut.iter_mut().enumerate() {
        assert!(ends(tunnel), "generation {generation}");
    }
    drop((cut, left));
    for (generation, old) in olds.drain(..).enumerate() {
        assert_eq!(old.wait(), Some(0), "generation {generation}");
    }
    let (dir, code) = proxy.stop();
    assert_eq!((code, path.exists()), (Some(0), false));
    nothing_has_failed(dir.path());
}

#[test]
fn every_generation_ends_with_the_newest() {
    let origin = Origin::start();
    let mut proxy = proxy(&origin, "limits: {drain_timeout: 500ms}\n");
    let mut olds = Vec::new();
    let mut left = Vec::new();
    for _ in 0..2 {
        left.push(tunnel(&proxy, &origin));
        olds.push(proxy.upgrade_in_place());
    }
    left.push(tunnel(&proxy, &origin));
    proxy.signal("TERM");
    assert!(left.iter_mut().all(ends), "the newest ends, and so do all");
    for (generation, old) in olds.into_iter().enumerate() {
        assert_eq!(old.wait(), Some(0), "generation {generation}");
    }
    let (dir, code) = proxy.wait();
    assert_eq!(code, Some(0));
    nothing_has_failed(dir.path());
}

/// Each tunnel has its end, and no control has failed.
fn nothing_has_failed(dir: &std::path::Path) {
    let records = super::harness::records(&dir.join("decisions"));
    let failures: Vec<_> = records.iter().filter(|record| record["kind"] == "control_failure").collect();
    assert!(failures.is_empty(), "nothing has failed: {failures:?}");
    let count =
        |kind: &str| records.iter().filter(|record| record["kind"] == kind && record["outcome"] == "allow").count();
    assert_eq!(count("decision"), count("close"));
}

#[test]
fn a_stop_in_the_middle_of_a_take_over_is_a_stop_of_one_of_them() {
    let origin = Origin::start();
    let proxy = proxy(&origin, "limits: {drain_timeout: 500ms}\n");
    let mut socket = tunnel(&proxy, &origin);
    // It has asked and waits; the old one is told to stop meanwhile.
    let door = proxy.dir.path().join("state/take-over.tests.sock");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/heir.py");
    let mut heir = program("python3");
    heir.arg(script).arg(door).args(["tests", "", "asks-sockets"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut heir = heir.spawn().unwrap();
    let mut said = std::io::BufReader::new(heir.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().starts_with("all_sockets")));
    proxy.signal("TERM");
    eventually("it drains", Instant::now() + PATIENCE, || (proxy.admin_page("/readyz").0 == 503).then_some(()));
    drop(heir.stdin.take());
    let told: Vec<String> = said.map(Result::unwrap).collect();
    assert_eq!(told, ["refused 0", "this process drains"]);
    assert!(heir.wait().unwrap().success());
    assert!(ends(&mut socket));
    assert_eq!(proxy.wait().1, Some(0));
}

#[test]
fn two_processes_have_one_budget_of_bytes() {
    let origin = Origin::start();
    let proxy = proxy(&origin, "");
    let path = proxy.dir.path().join("policy.yaml");
    let policy = fs::read_to_string(&path).unwrap();
    fs::write(&path, policy.replace("ports:", "limits: {bytes_out: 100KiB/day}, ports:")).unwrap();
    proxy.signal("HUP");
    proxy.record("the reload", |record| record["kind"] == "policy");
    let send = |socket: &mut TcpStream, kib: usize| echoes(socket, &vec![7; kib * 1024]);
    let mut first = tunnel(&proxy, &origin);
    assert!(send(&mut first, 30));
    let (proxy, _old) = proxy.upgrade();
    assert!(send(&mut first, 40));
    let used = || {
        let (_, page) = proxy.admin_page("/metrics");
        let line = page.lines().find(|line| line.starts_with("sallyport_limit_used") && line.contains("bytes_out"));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or_default()
    };
    eventually("the new one knows", Instant::now() + PATIENCE, || (used() >= 70.0 * 1024.0).then_some(()));
    let mut second = tunnel(&proxy, &origin);
    assert!(!send(&mut second, 40), "there was less left");
    // What that had of it counts in the old one too, once it says what it has sent.
    eventually("the old one knows", Instant::now() + PATIENCE, || (!echoes(&mut first, b"x")).then_some(()));
    let ends = eventually("two ends", Instant::now() + PATIENCE, || {
        let closes = proxy.records().into_iter().filter(|record| record["kind"] == "close").collect::<Vec<_>>();
        (closes.len() == 2).then_some(closes)
    });
    assert!(ends.iter().all(|close| close["reason"] == "byte_budget_spent"), "{ends:?}");
    let bytes: u64 = ends.iter().map(|close| close["bytes_out"].as_u64().unwrap()).sum();
    // One byte at a time is what the old one may send before it knows.
    assert!(bytes <= 101 * 1024, "{bytes} bytes of 100 KiB");
}

#[test]
fn what_an_old_process_records_comes_to_whoever_has_the_log_and_once() {
    let origin = Origin::start();
    let proxy = proxy(&origin, "");
    let (first, second) = (tunnel(&proxy, &origin), tunnel(&proxy, &origin));
    let (proxy, old) = proxy.upgrade();
    let says = |old: &Old, what: &str| {
        let log = || old.log().iter().any(|line| line.contains(what));
        eventually(what, Instant::now() + PATIENCE, || log().then_some(()));
    };
    says(&old, "another process has taken over");
    // The new one dies, and the end of a tunnel finds nobody.
    let dir = proxy.kill();
    drop(first);
    says(&old, "the decision log cannot be written");
    let mut command = sallyport();
    command.args(["run", "--take-over", "-c"]).arg(dir.path().join("sallyport.yaml"));
    let proxy = Proxy::serving(command, dir);
    proxy.record("the end that waited", |record| record["kind"] == "close");
    drop(second);
    assert_eq!(old.wait(), Some(0));
    drop(tunnel(&proxy, &origin));
    let (dir, code) = proxy.stop();
    assert_eq!(code, Some(0));
    each_tunnel_is_on_record_once(dir.path(), 3);
}

#[test]
fn a_service_manager_gives_sockets_and_is_told() {
    let origin = Origin::start();
    let started = proxy(&origin, "");
    let (dir, _) = started.stop();
    let manager = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/manager.py");
    let mut command = program("python3");
    command.arg(manager).arg(env!("CARGO_BIN_EXE_sallyport")).arg(dir.path().join("sallyport.yaml"));
    let mut child = command.args(["edge", "admin"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut told = String::new();
    child.stdout.take().unwrap().read_to_string(&mut told).unwrap();
    let code = child.wait().unwrap().code();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines, ["READY=1", "MAINPID=its own", "answered 403", "healthy 200", "STOPPING=1"], "{told}");
    assert_eq!(code, Some(0));
    // One that nothing is configured for.
    let unheard = finish(
        Command::new("python3")
            .arg(manager)
            .arg(env!("CARGO_BIN_EXE_sallyport"))
            .arg(dir.path().join("sallyport.yaml"))
            .arg("other-address"),
        "",
    );
    assert!(
        unheard.out.contains("exit 3")
            && unheard.err.contains("no listener, admin port or probes' port is configured for"),
        "{}{}",
        unheard.out,
        unheard.err
    );
}
