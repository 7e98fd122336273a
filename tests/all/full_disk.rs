//! The log's directory on a disk that is full or read-only: nothing is forwarded, nothing crashes, and it comes back by itself.
//! Each test runs itself again in a mount namespace of its own, with a small tmpfs; that takes root, and without it they say so.
//! Source: PCI DSS 10.7 (a failing control is noticed, and recorded once it works again).

use std::fs::File;
use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

use super::harness::{PATIENCE, Proxy, Setup, eventually, records, write_setup};
use super::origins::{self, Answer, Origin};
use super::programs::{self, program, sallyport};

/// Says to the inner run of a test where its tmpfs is.
const MOUNT: &str = "SALLYPORT_TESTS_MOUNT";

/// The fatal alert of `decision_log_unavailable`: internal_error.
const INTERNAL_ERROR: u8 = 80;

/// Tunnels that a last page and a queue may still take once the disk is full: far fewer, of some 900 bytes each.
const MOST: u64 = 100;

/// The tmpfs, if this is the inner run of `test`; the outer one runs it and has nothing else to do.
fn own_mount(test: &str) -> Option<PathBuf> {
    if let Some(mount) = std::env::var_os(MOUNT) {
        return Some(mount.into());
    }
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can mount a small file system; run `{test}` as root");
        return None;
    }
    let dir = TempDir::new().unwrap();
    let script = "mount -t tmpfs -o size=256k,mode=750 none \"$0\" && exec \"$@\"";
    let itself = std::env::current_exe().unwrap();
    let mut command = program("unshare");
    command.args(["-m", "sh", "-c", script]).arg(dir.path()).arg(itself).args(["--exact", test, "--nocapture"]);
    let inner = programs::finish(command.env(MOUNT, dir.path()), "");
    assert_eq!(inner.code, Some(0), "{}\n{}", inner.out, inner.err);
    assert!(inner.out.contains("1 passed"), "{test} is this test's name: {}", inner.out);
    None
}

/// One name from the file, one that a name server is asked for.
fn start(log: &Path, origin: &Origin, names: &UdpSocket) -> Proxy {
    let dir = TempDir::new().unwrap();
    let port = origin.port();
    let policy = format!(
        "rules:
  - {{id: acme/api, customer: acme, sources: [tests], hosts: [api.acme.test, asked.acme.test], ports: [{port}], addresses: [127.0.0.0/8], wide: true}}
"
    );
    let more = format!(
        "dns: {{servers: [\"udp://{}\"], hosts: {{api.acme.test: [127.0.0.1]}}, timeout: 300ms}}\n",
        names.local_addr().unwrap()
    );
    write_setup(dir.path(), &Setup { policy: &policy, more: &more, log_directory: Some(log), ..Setup::default() });
    let proxy = Proxy::start_in(dir);
    eventually("the start is recorded", Instant::now() + PATIENCE, || (!records(log).is_empty()).then_some(()));
    proxy
}

/// Takes all room but what is left in pages that are begun.
fn fill(log: &Path) -> File {
    let mut file = File::create(log.join("filler")).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    while file.write_all(&[0]).is_ok() {}
    file
}

/// Opens tunnels until one gets the alert instead. Those that opened, to be held.
fn until_refused(proxy: &Proxy, origin: &Origin, from: u64) -> (Vec<TcpStream>, u64) {
    let mut held = Vec::new();
    for number in from..from + MOST {
        match origins::open(proxy.edge, origin.port(), number) {
            (socket, Answer::Open) => held.push(socket),
            (_, Answer::Alert(INTERNAL_ERROR)) => return (held, number),
            (_, other) => panic!("tunnel {number}: {other:?}"),
        }
    }
    panic!("a full disk took {MOST} records");
}

fn until_ready(proxy: &Proxy, status: u16) {
    eventually(&format!("/readyz is {status}"), Instant::now() + PATIENCE, || {
        (proxy.admin_page("/readyz").0 == status).then_some(())
    });
}

/// What the metric says of failed commits and tries to recover.
fn failures(proxy: &Proxy) -> u64 {
    let page = proxy.admin_page("/metrics").1;
    let count = page.lines().find_map(|line| line.strip_prefix("sallyport_decision_log_failures_total ")).unwrap();
    count.parse().unwrap()
}

fn refused(proxy: SocketAddr, target: &str) -> String {
    let mut socket = TcpStream::connect(proxy).unwrap();
    match origins::ask(&mut socket, target, &origins::client_hello(9999)) {
        Answer::Refused(answer) => answer,
        other @ (Answer::Open | Answer::Alert(_) | Answer::Gone) => panic!("{target}: {other:?}"),
    }
}

/// What the one `control_failure` says.
fn failure(log: &Path) -> Value {
    let all = records(log);
    let seqs: Vec<u64> = all.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (0..seqs.len() as u64).collect::<Vec<_>>(), "numbers without gaps");
    let mut failures = all.into_iter().filter(|record| record["kind"] == "control_failure");
    let failure = failures.next().unwrap();
    assert_eq!(failures.next(), None, "exactly one");
    failure["detail"].clone()
}

/// Each number that the origin has seen stands in the log, by the port of its client.
fn every_byte_has_its_record(log: &Path, origin: &Origin, held: &[TcpStream]) {
    let log = records(log);
    for socket in held {
        let port = socket.local_addr().unwrap().port();
        assert!(log.iter().any(|record| record["kind"] == "decision" && record["client_port"] == port), "{port}");
    }
    assert_eq!(origin.numbers().len(), held.len(), "nothing else was forwarded");
}

#[test]
fn a_full_disk_refuses_and_freeing_it_resumes() {
    let Some(log) = own_mount("full_disk::a_full_disk_refuses_and_freeing_it_resumes") else { return };
    let origin = Origin::start();
    let names = UdpSocket::bind("127.0.0.1:0").unwrap();
    names.set_nonblocking(true).unwrap();
    let proxy = start(&log, &origin, &names);
    let asked = format!("asked.acme.test:{}", origin.port());
    assert!(refused(proxy.edge, &asked).starts_with("HTTP/1.1 504 dns_timeout"));
    let query = &mut [0; 512];
    assert!(names.recv(query).is_ok(), "a well log lets a name be asked for");
    while names.recv(query).is_ok() {}

    let filler = fill(&log);
    let (mut held, _) = until_refused(&proxy, &origin, 1);
    until_ready(&proxy, 503);
    let mut refusals = 0;
    for (name, target, line) in [
        ("a listed name", format!("api.acme.test:{}", origin.port()), "HTTP/1.1 503 decision_log_unavailable\r\n"),
        ("a name to be asked for", asked, "HTTP/1.1 503 decision_log_unavailable\r\n"),
        ("an unlisted name", "evil.example:443".to_owned(), "HTTP/1.1 403 destination_not_listed\r\n"),
    ] {
        for _ in 0..5 {
            let answer = refused(proxy.edge, &target);
            assert!(answer.starts_with(line), "{name}: {answer}");
            refusals += 1;
        }
    }
    assert!(names.recv(query).is_err(), "no name was asked for");
    assert_eq!(proxy.admin_page("/livez").0, 200);
    every_byte_has_its_record(&log, &origin, &held);
    assert!(failures(&proxy) > 0);

    filler.set_len(0).unwrap();
    until_ready(&proxy, 200);
    let (socket, answer) = origins::open(proxy.edge, origin.port(), 5000);
    assert_eq!(answer, Answer::Open);
    held.push(socket);
    every_byte_has_its_record(&log, &origin, &held);
    let said = failure(&log);
    // Every request that was refused, and the tunnel that met the full disk first.
    assert_eq!((&said["what"], &said["refusals"]), (&"decision_log".into(), &(refusals + 1).into()), "{said}");
    assert!(said["error"].as_str().unwrap().contains("No space left"), "{said}");
    let tunnels = held.len();
    drop(held);
    assert_eq!(proxy.stop().1, Some(0));
    let log = records(&log);
    let count = |kind: &str| log.iter().filter(|record| record["kind"] == kind).count();
    assert_eq!((count("close"), count("control_failure"), count("stop")), (tunnels, 1, 1), "{log:#?}");
}

#[test]
fn a_tunnel_that_was_being_set_up_when_the_disk_filled_is_refused_and_counted() {
    let name = "full_disk::a_tunnel_that_was_being_set_up_when_the_disk_filled_is_refused_and_counted";
    let Some(log) = own_mount(name) else { return };
    let origin = Origin::start();
    let proxy = start(&log, &origin, &UdpSocket::bind("127.0.0.1:0").unwrap());
    let mut early: Vec<TcpStream> = (0..3).map(|_| half_open(&proxy, &origin)).collect();
    let filler = fill(&log);
    let (held, _) = until_refused(&proxy, &origin, 1);
    for (number, socket) in (7000..).zip(&mut early) {
        socket.write_all(&origins::client_hello(number)).unwrap();
        assert_eq!(origins::first_record(socket), Answer::Alert(INTERNAL_ERROR), "tunnel {number}");
    }
    every_byte_has_its_record(&log, &origin, &held);
    filler.set_len(0).unwrap();
    until_ready(&proxy, 200);
    let said = failure(&log);
    assert_eq!(said["refusals"], 4, "each tunnel that ended in an alert was refused: {said}");
}

#[test]
fn a_stop_over_a_full_disk_says_that_records_are_lost() {
    let Some(log) = own_mount("full_disk::a_stop_over_a_full_disk_says_that_records_are_lost") else { return };
    let origin = Origin::start();
    let proxy = start(&log, &origin, &UdpSocket::bind("127.0.0.1:0").unwrap());
    let filler = fill(&log);
    let (held, _) = until_refused(&proxy, &origin, 1);
    until_ready(&proxy, 503);
    refused(proxy.edge, "evil.example:443");
    drop(held);
    eventually("the loss is counted", Instant::now() + PATIENCE, || {
        let page = proxy.admin_page("/metrics").1;
        let line = page.lines().find(|line| line.starts_with(r#"sallyport_decision_log_lost_total{what="refusals"}"#));
        line.is_some_and(|line| !line.ends_with(" 0")).then_some(())
    });
    let (dir, code) = proxy.stop();
    assert_eq!(code, Some(3), "the stop and the ends of tunnels could not be written");
    drop(filler);
    std::fs::remove_file(log.join("filler")).unwrap();
    let proxy = Proxy::start_in(dir);
    let starts = || records(&log).into_iter().filter(|record| record["kind"] == "start").collect::<Vec<_>>();
    let start = eventually("the start", Instant::now() + PATIENCE, || starts().into_iter().nth(1));
    assert_eq!(start["detail"]["clean"], false, "{start}");
    assert_eq!(proxy.stop().1, Some(0));
}

/// A tunnel up to its `200`.
fn half_open(proxy: &Proxy, origin: &Origin) -> TcpStream {
    let (socket, answer) = proxy.ask(format!("CONNECT api.acme.test:{} HTTP/1.1\r\n\r\n", origin.port()).as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    socket
}

#[test]
fn a_read_only_disk_refuses_until_it_is_writable() {
    let Some(log) = own_mount("full_disk::a_read_only_disk_refuses_until_it_is_writable") else { return };
    let origin = Origin::start();
    let proxy = start(&log, &origin, &UdpSocket::bind("127.0.0.1:0").unwrap());
    let filler = fill(&log);
    let (mut held, _) = until_refused(&proxy, &origin, 1);
    // The kernel refuses to remount what is open for writing, so a read-only disk with the same files comes on top.
    let copy = TempDir::new().unwrap();
    mount(["-t", "tmpfs", "none", path(copy.path())]);
    run("cp", ["-r", path(&log.join("segments")), path(&log.join("log.vkey")), path(copy.path())]);
    mount(["-o", "remount,ro", path(copy.path())]);
    mount(["--bind", path(copy.path()), path(&log)]);
    filler.set_len(0).unwrap();
    let tries = failures(&proxy);
    eventually("tries to recover", Instant::now() + PATIENCE, || (failures(&proxy) >= tries + 2).then_some(()));
    assert_eq!(proxy.admin_page("/readyz").0, 503);
    let answer = refused(proxy.edge, &format!("api.acme.test:{}", origin.port()));
    assert!(answer.starts_with("HTTP/1.1 503 decision_log_unavailable\r\n"), "{answer}");
    mount(["-o", "remount,rw", path(&log)]);
    until_ready(&proxy, 200);
    let (socket, answer) = origins::open(proxy.edge, origin.port(), 5000);
    assert_eq!(answer, Answer::Open);
    held.push(socket);
    every_byte_has_its_record(&log, &origin, &held);
    failure(&log);
    drop(held);
    let (dir, code) = proxy.stop();
    assert_eq!(code, Some(0));

    mount(["-o", "remount,ro", path(&log)]);
    let config = dir.path().join("sallyport.yaml");
    let ended = programs::finish(sallyport().args(["run", "-c"]).arg(config), "");
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.err.contains("Read-only file system"), "{ended:?}");
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn mount<const N: usize>(args: [&str; N]) {
    run("mount", args);
}

fn run<const N: usize>(name: &str, args: [&str; N]) {
    let done = programs::finish(program(name).args(args), "");
    assert_eq!(done.code, Some(0), "{name}: {done:?}");
}
