//! SIGHUP: a good policy takes force as a whole, a faulty one not at all, and open tunnels are judged again.
//! Not here: what a policy says of single requests. Source: the promise that a change of policy loses no tunnel that is still allowed.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::harness::{PATIENCE, Proxy, Setup, eventually, read_answer, records, status_of, write_setup};
use super::origins::{self, Answer, Origin, ask, connect_from, echoes, hello_for};
use super::programs::Logged;

#[path = "../accept/reloads.rs"]
mod reloads;

/// A client of the source that the second policy lacks.
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

const NAMES: [&str; 6] = ["stay", "keep", "drain", "cut", "never", "other"];

/// What the first policy says of tunnels to each name that nothing allows any more.
const EXISTING: [&str; 6] = ["cut", "keep", "drain 1s", "cut", "keep", "keep"];

fn rule(number: usize, port: u16) -> String {
    let (name, existing) = (NAMES[number], EXISTING[number]);
    let source = if name == "other" { "other" } else { "tests" };
    format!(
        "  - {{id: acme/{name}, customer: acme, sources: [{source}], hosts: [{name}.acme.test], ports: [{port}], addresses: [127.0.0.1/32], existing: {existing}}}\n"
    )
}

/// Everything is allowed.
fn wide(port: u16) -> String {
    let rules: String = (0..NAMES.len()).map(|number| rule(number, port)).collect();
    format!(
        "version: 1\nsources:\n  - {{name: tests, subnets: [127.0.0.0/16]}}\n  - {{name: other, subnets: [127.0.0.9/32]}}\nrules:\n{rules}"
    )
}

/// `stay` is all that is left; one name is on the never list, one source has gone.
fn narrow(port: u16) -> String {
    let never = "never: {hosts: [never.acme.test]}\n";
    let rules = rule(0, port) + &rule(4, port);
    format!("version: 1\n{never}sources:\n  - {{name: tests, subnets: [127.0.0.0/16]}}\nrules:\n{rules}")
}

fn folder(policy: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    let hosts: Vec<String> = NAMES.iter().map(|name| format!("{name}.acme.test: [127.0.0.1]")).collect();
    let more = format!("dns: {{hosts: {{{}}}}}\n", hosts.join(", "));
    write_setup(dir.path(), &Setup { more: &more, ..Setup::default() });
    write_policy(dir.path(), policy);
    dir
}

fn write_policy(dir: &Path, policy: &str) {
    fs::write(dir.join("policy.yaml"), policy).unwrap();
}

/// An open tunnel to `NAME.acme.test`, from the address that the name's source has.
fn tunnel(edge: SocketAddr, name: &str, port: u16) -> TcpStream {
    let (mut socket, answer) = request(edge, name, port);
    assert_eq!(answer, Answer::Open, "{name}");
    assert!(echoes(&mut socket, b"before"), "{name}");
    socket
}

fn request(edge: SocketAddr, name: &str, port: u16) -> (TcpStream, Answer) {
    let mut socket = connect_from(if name == "other" { OTHER } else { Ipv4Addr::LOCALHOST }, edge);
    let host = format!("{name}.acme.test");
    let answer = ask(&mut socket, &format!("{host}:{port}"), &hello_for(&host));
    (socket, answer)
}

/// Writes the policy, sends the signal, and waits for the record.
pub fn reload(proxy: &Proxy, policy: &str) -> Value {
    write_policy(proxy.dir.path(), policy);
    let of_policy = || proxy.records().into_iter().filter(|record| record["kind"] == "policy").collect::<Vec<_>>();
    let before = of_policy().len();
    proxy.signal("HUP");
    eventually("a record of the reload", Instant::now() + PATIENCE, || of_policy().into_iter().nth(before))
}

fn metric(proxy: &Proxy, name: &str) -> String {
    let page = proxy.admin_page("/metrics").1;
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {page}")).trim().to_owned()
}

#[test]
fn open_tunnels_are_judged_by_the_new_policy() {
    let origin = Origin::start();
    let port = origin.port();
    let proxy = Proxy::start_in(folder(&wide(port)));
    let mut tunnels = NAMES.map(|name| tunnel(proxy.edge, name, port));
    let places = tunnels.each_ref().map(|socket| socket.local_addr().unwrap().port());
    let old = proxy.record("a decision", |record| record["kind"] == "decision")["policy"].clone();
    let begun = Instant::now();
    let record = reload(&proxy, &narrow(port));
    assert_eq!((&record["detail"]["result"], &record["detail"]["rules"]), (&"in_force".into(), &2.into()), "{record}");
    assert_ne!(record["policy"], old, "the hash is that of the new policy");
    let counts = ["tunnels_kept", "tunnels_drained", "tunnels_cut"].map(|field| record["detail"][field].as_u64());
    assert_eq!(counts, [Some(1), Some(1), Some(3)], "{record}");

    let [stay, keep, drain, gone @ ..] = &mut tunnels;
    for (name, socket) in NAMES[3..].iter().zip(gone) {
        assert!(origins::ends(socket), "{name} is cut");
    }
    assert!(origins::ends(drain), "its time is over");
    assert!(begun.elapsed() >= Duration::from_secs(1), "a drain gives the time that it says");
    assert!(echoes(stay, &[b'x'; 300_000]), "it is still allowed");
    assert!(echoes(keep, &[b'x'; 300_000]), "its rule lets it live");
    for (number, revoked) in [(2, true), (3, true), (4, true), (5, true), (0, false), (1, false)] {
        let of_it = |record: &Value| record["kind"] == "close" && record["client_port"] == places[number];
        if revoked {
            let close = proxy.record(NAMES[number], of_it);
            assert_eq!((&close["reason"], &close["outcome"]), (&"revoked".into(), &"allow".into()), "{close}");
            assert_eq!(close["policy"], old, "it was decided by the old one: {close}");
        } else {
            assert!(!proxy.records().iter().any(of_it), "{} is open", NAMES[number]);
        }
    }
    for (name, reason) in
        [("keep", "destination_not_listed"), ("never", "destination_denied"), ("other", "destination_not_listed")]
    {
        let (socket, answer) = request(proxy.edge, name, port);
        assert!(matches!(&answer, Answer::Refused(text) if text.contains(reason)), "{name}: {answer:?}");
        assert_eq!(proxy.decision_of(socket.local_addr().unwrap())["policy"], record["policy"], "{name}");
    }
}

#[test]
fn a_tunnel_that_stays_allowed_loses_no_byte_over_many_reloads() {
    let origin = Origin::start();
    let port = origin.port();
    let proxy = Proxy::start_in(folder(&wide(port)));
    let mut socket = tunnel(proxy.edge, "stay", port);
    let over = AtomicBool::new(false);
    let moved = std::thread::scope(|scope| {
        let moving = scope.spawn(|| {
            let mut moved = 6_u64;
            while !over.load(Ordering::SeqCst) {
                let piece: Vec<u8> = (0..50_000_u64).map(|place| ((moved + place) % 251) as u8).collect();
                assert!(echoes(&mut socket, &piece), "after {moved} bytes");
                moved += 50_000;
            }
            moved
        });
        for number in 0..10 {
            let policy = if number % 2 == 0 { narrow(port) } else { wide(port) };
            assert_eq!(reload(&proxy, &policy)["detail"]["result"], "in_force");
        }
        over.store(true, Ordering::SeqCst);
        moving.join().unwrap()
    });
    let client = socket.local_addr().unwrap().port();
    drop(socket);
    let close = proxy.record("the close", |record| record["kind"] == "close" && record["client_port"] == client);
    assert_eq!(close["reason"], "client_closed", "{close}");
    assert_eq!(close["bytes_out"], moved + hello_for("stay.acme.test").len() as u64, "{close}");
    assert_eq!(metric(&proxy, "sallyport_policy_reloads_total{result=\"ok\"}"), "10");
}

#[test]
fn metrics_and_records_name_the_policy_in_force() {
    let proxy = Proxy::start_in(folder(&wide(443)));
    let hash = |record: &Value| record["policy"].as_str().unwrap().to_owned();
    let first = hash(&proxy.record("the start", |record| record["kind"] == "start"));
    assert_eq!(metric(&proxy, &format!("sallyport_policy_info{{sha256=\"{first}\"}}")), "1");
    assert_eq!(metric(&proxy, "sallyport_policy_rules"), "6");
    let second = hash(&reload(&proxy, &narrow(443)));
    assert_eq!(metric(&proxy, &format!("sallyport_policy_info{{sha256=\"{second}\"}}")), "1");
    assert_eq!(metric(&proxy, "sallyport_policy_rules"), "2");
    assert!(!proxy.admin_page("/metrics").1.contains(&first), "the old one is in force no more");
    let loaded: f64 = metric(&proxy, "sallyport_policy_loaded_timestamp_seconds").parse().unwrap();
    assert!(loaded > 1.7e9, "{loaded}");
    assert_eq!(hash(&reload(&proxy, &wide(443))), first, "the same bytes have the same hash");
}

/// Makes a folder's policy one that cannot take force; the port is the origin's.
type Spoil = fn(&Path, u16);

#[test]
fn a_faulty_policy_leaves_the_old_one_in_force() {
    let origin = Origin::start();
    let port = origin.port();
    let proxy = Logged::start_in(folder(&wide(port)));
    let mut open = tunnel(proxy.edge, "cut", port);
    let of_policy = || {
        let all = records(&proxy.dir.path().join("decisions")).into_iter();
        all.filter(|record| record["kind"] == "policy").collect::<Vec<_>>()
    };
    let rows: [(&str, Spoil, &str); 4] = [
        ("a fault", |dir, port| write_policy(dir, &narrow(port).replace("ports:", "portz:")), "policy.yaml:6:"),
        ("no YAML", |dir, _| write_policy(dir, "version: 1\nrules: [\n"), "policy.yaml:"),
        ("no file", |dir, _| fs::remove_file(dir.join("policy.yaml")).unwrap(), "policy.yaml"),
        ("not UTF-8", |dir, _| fs::write(dir.join("policy.yaml"), b"version: \xff").unwrap(), "policy.yaml"),
    ];
    for (number, (name, spoil, place)) in rows.into_iter().enumerate() {
        spoil(proxy.dir.path(), port);
        proxy.signal("HUP");
        let record = eventually(name, Instant::now() + PATIENCE, || of_policy().into_iter().nth(number));
        assert_eq!(record["detail"]["result"], "refused", "{name}");
        assert!(record["detail"]["error"].as_str().unwrap().contains(place), "{name}: {record}");
        let start = &records(&proxy.dir.path().join("decisions"))[0];
        assert_eq!(record["policy"], start["policy"], "{name}: the one in force");
        proxy.line(name, |line| {
            let said = line["fields"]["error"].as_str().unwrap_or_default();
            line["level"] == "ERROR" && said.contains(place) && line.to_string().contains("stays in force")
        });
        assert!(echoes(&mut open, b"still here"), "{name}");
        drop(tunnel(proxy.edge, "keep", port));
    }
    write_policy(proxy.dir.path(), &narrow(port));
    proxy.signal("HUP");
    eventually("a good one takes force", Instant::now() + PATIENCE, || {
        of_policy().into_iter().find(|record| record["detail"]["result"] == "in_force")
    });
    assert!(origins::ends(&mut open), "and cuts");
}

#[test]
fn a_refused_reload_is_counted_and_the_proxy_stays_ready() {
    let proxy = Proxy::start_in(folder(&wide(443)));
    assert_eq!(reload(&proxy, "version: 2\n")["detail"]["result"], "refused");
    assert_eq!(metric(&proxy, "sallyport_policy_reloads_total{result=\"refused\"}"), "1");
    assert_eq!(metric(&proxy, "sallyport_policy_rules"), "6");
    assert_eq!(proxy.admin_page("/readyz").0, 200);
}

#[test]
fn a_tunnel_that_opens_after_a_reload_is_judged_by_the_new_policy_at_once() {
    let origin = Origin::start();
    let port = origin.port();
    let proxy = Proxy::start_in(folder(&wide(port)));
    let mut sockets: Vec<TcpStream> = (0..20).map(|_| proxy.connect()).collect();
    for socket in &mut sockets {
        write!(socket, "CONNECT cut.acme.test:{port} HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!(status_of(&read_answer(socket)), 200);
    }
    let new = reload(&proxy, &narrow(port));
    for socket in &mut sockets {
        socket.write_all(&hello_for("cut.acme.test")).unwrap();
        assert!(origins::ends(socket), "it is cut");
        let decision = proxy.decision_of(socket.local_addr().unwrap());
        assert_eq!(decision["reason"], "allowed", "the policy in force when the head was complete judges: {decision}");
        assert_ne!(decision["policy"], new["policy"]);
        let close = proxy.record("its end", |record| record["kind"] == "close" && record["id"] == decision["id"]);
        assert_eq!((&close["reason"], &close["bytes_out"]), (&"revoked".into(), &0.into()), "{close}");
    }
}

#[test]
fn reloads_under_load_fail_no_request_that_is_still_allowed() {
    reloads::disturb_nobody(&reloads::Load { reloads: 50, by_file: 10, rate: 120, others: 200 });
}
