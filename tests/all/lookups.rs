//! Lookups as the process does them: one a name, none for what is known, and several servers within one deadline.
//! Not here: what is asked at all, and what becomes of an answer (`names`).
//! Source: the contract's `dns`; RFC 2308, RFC 9520; IDs such as G8 are those of `docs/attacks.md`.

use std::io::Write;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::dns_server::{A, Data, DnsServer, NXDOMAIN, Question, REFUSED, Reply, SERVFAIL, of_kind};
use super::ends::{Origin, Tunnel, await_metric, close_of, finish, metric, refusal};
use super::harness::{PATIENCE, Proxy, Setup, eventually, read_answer, status_of};

const POLICY: &str = "rules:
  - {id: here, customer: acme, sources: [tests], hosts: [api.here.test, \"*.here.test\"], ports: [PORT], addresses: [127.0.0.0/25]}
";

fn start(port: u16, dns: &str) -> Proxy {
    let policy = POLICY.replace("PORT", &port.to_string());
    Proxy::start(&Setup { policy: &policy, more: dns, ..Setup::default() })
}

fn here(question: &Question) -> Reply {
    of_kind(question.kind, &[IpAddr::from([127, 0, 0, 1])])
}

/// A server whose every answer waits until it is opened.
#[derive(Clone, Default)]
struct Dam(Arc<(Mutex<bool>, Condvar)>);

impl Dam {
    fn wait(&self) {
        let (open, opened) = &*self.0;
        let (open, _) = opened.wait_timeout_while(open.lock().unwrap(), PATIENCE, |open| !*open).unwrap();
        assert!(*open, "never opened");
    }

    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

/// G8: however many ask for a name, on whichever worker, it is looked up once.
#[test]
fn one_lookup_serves_all_who_want_the_name() {
    const CLIENTS: usize = 32;
    let origin = Origin::new();
    let dam = Dam::default();
    let behind = dam.clone();
    let dns = DnsServer::start(move |question| {
        behind.wait();
        here(question)
    });
    let proxy = start(origin.port(), &dns.settings("tcp", ", timeout: 20s"));
    let head = format!("CONNECT api.here.test:{0} HTTP/1.1\r\nHost: api.here.test:{0}\r\n\r\n", origin.port());
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| proxy.connect()).collect();
    for client in &mut clients {
        client.write_all(head.as_bytes()).unwrap();
    }
    let step = "sallyport_setup_duration_seconds_count{step=\"policy\"}";
    await_metric(&proxy, step, CLIENTS as f64);
    dam.open();
    for client in &mut clients {
        assert_eq!(status_of(&read_answer(client)), 200);
    }
    assert_eq!(dns.times("api.here.test", A), 1);
    assert_eq!(metric(&proxy, "sallyport_dns_lookups_total{result=\"answered\"}"), Some(CLIENTS as f64));
}

/// G8: a name that is not there, or cannot be looked up, is not asked for with every request.
#[test]
fn what_is_not_there_is_remembered_and_a_failure_is_for_a_second() {
    let dns = DnsServer::start(|question| match question.name.split('.').next().unwrap() {
        "none" => Reply::Absent(NXDOMAIN, 3600),
        "empty" => Reply::Absent(0, 3600),
        "bare" => Reply::Code(NXDOMAIN),
        "broken" => Reply::Code(SERVFAIL),
        _ => Reply::Code(REFUSED),
    });
    let proxy = start(443, &dns.settings("udp", ""));
    for name in ["none", "empty", "bare", "broken", "refused"] {
        let (target, begin) = (format!("{name}.here.test:443"), Instant::now());
        for _ in 0..25 {
            let (status, reason, _) = refusal(&proxy, &target);
            assert_eq!((status, reason.as_str()), (502, "dns_failure"), "{name}");
        }
        let asked = dns.times(&format!("{name}.here.test"), A);
        let most = if ["broken", "refused"].contains(&name) { 1 + begin.elapsed().as_secs() as usize } else { 1 };
        assert!((1..=most).contains(&asked), "{name}: asked {asked} times within {:?}", begin.elapsed());
    }
    let stored = metric(&proxy, "sallyport_dns_lookups_total{result=\"stored\"}").unwrap();
    assert!(stored >= 100.0, "{stored} of 125 from the store");
    eventually("a failure is over", Instant::now() + PATIENCE, || {
        refusal(&proxy, "broken.here.test:443");
        (dns.times("broken.here.test", A) > 1).then_some(())
    });
}

/// The second server has its turn within `dns.timeout`, and for a while it is asked first.
#[test]
fn a_server_that_fails_is_passed_over() {
    let origin = Origin::new();
    for (what, most) in [("silent", 1_600), ("garbage", 1_600), ("refused", 900), ("servfail", 900)] {
        let first = DnsServer::start(move |_| match what {
            "silent" => Reply::Silence,
            "garbage" => Reply::Garbage,
            "refused" => Reply::Code(REFUSED),
            _ => Reply::Code(SERVFAIL),
        });
        let second = DnsServer::start(here);
        let proxy = start(origin.port(), &DnsServer::several(&[&first, &second], ", timeout: 4s"));
        let begin = Instant::now();
        finish(Tunnel::open(&proxy, "one.here.test", &origin));
        let took = begin.elapsed();
        assert!(took < Duration::from_millis(most), "{what}: {took:?}");
        let before = first.asked().len();
        assert!(before > 0, "{what}: the order is the operator's");
        finish(Tunnel::open(&proxy, "two.here.test", &origin));
        // SERVFAIL is said of a name: the server itself is well.
        assert_eq!(first.asked().len() > before, what == "servfail", "{what}: who is asked next");
    }
}

/// Over TCP that is seen at once; over UDP it is silence.
#[test]
fn a_server_that_nobody_hears_at_is_passed_over() {
    let origin = Origin::new();
    let second = DnsServer::start(here);
    for (closed, most) in [("udp://127.0.0.1:9", 1_600), ("tcp://127.0.0.1:9", 900)] {
        let servers = second.settings("udp", ", timeout: 4s").replace("[\"", &format!("[\"{closed}\", \""));
        let proxy = start(origin.port(), &servers);
        let begin = Instant::now();
        finish(Tunnel::open(&proxy, "api.here.test", &origin));
        assert!(begin.elapsed() < Duration::from_millis(most), "{closed}: {:?}", begin.elapsed());
    }
}

/// All of them silent: the deadline holds for the whole. And whoever comes back is used again.
#[test]
fn servers_that_go_and_come_back() {
    const ANSWERS: u8 = 1;
    let origin = Origin::new();
    let modes: [Arc<AtomicU8>; 2] = Default::default();
    let [first, second] = modes.clone().map(|mode| {
        DnsServer::start(
            move |question| {
                if mode.load(Ordering::Relaxed) == ANSWERS { here(question) } else { Reply::Silence }
            },
        )
    });
    let proxy = start(origin.port(), &DnsServer::several(&[&first, &second], ", timeout: 2s"));
    let begin = Instant::now();
    let (status, reason, _) = refusal(&proxy, &format!("none.here.test:{}", origin.port()));
    assert_eq!((status, reason.as_str()), (504, "dns_timeout"));
    let took = begin.elapsed();
    assert!((Duration::from_millis(1_950)..Duration::from_millis(3_000)).contains(&took), "{took:?}");
    assert!(!first.asked().is_empty() && !second.asked().is_empty(), "both were tried");
    for (turn, (one, other)) in [(0, 1), (1, 0), (0, 1)].into_iter().enumerate() {
        modes[one].store(ANSWERS, Ordering::Relaxed);
        modes[other].store(0, Ordering::Relaxed);
        let begin = Instant::now();
        finish(Tunnel::open(&proxy, &format!("turn-{turn}.here.test"), &origin));
        assert!(begin.elapsed() < Duration::from_millis(1_500), "turn {turn}: {:?}", begin.elapsed());
    }
}

/// C8: what was decided while the only server answered, was silent, lied, and answered again. To see the records:
/// `cargo test --test all lookups::a_resolver -- --nocapture`.
#[test]
fn a_resolver_that_goes_silent_lies_and_comes_back() {
    let origin = Origin::new();
    let phase = Arc::new(AtomicU8::new(0));
    let now = Arc::clone(&phase);
    let dns = DnsServer::start(move |question| match now.load(Ordering::Relaxed) {
        1 => Reply::Silence,
        2 => of_kind(question.kind, &[IpAddr::from([10, 0, 0, 5])]),
        _ => here(question),
    });
    let proxy = start(origin.port(), &dns.settings("udp", ", timeout: 500ms"));
    let mut decided = Vec::new();
    println!("{:<12} {:<20} {:<8} {:<18} addresses", "resolver", "host", "outcome", "reason");
    for (number, what) in (0..).zip(["answers", "is silent", "lies", "is back"]) {
        phase.store(number, Ordering::Relaxed);
        let name = format!("phase-{number}.here.test");
        let client = if [0, 3].contains(&number) {
            let tunnel = Tunnel::open(&proxy, &name, &origin);
            let address = tunnel.address;
            finish(tunnel);
            address
        } else {
            refusal(&proxy, &format!("{name}:{}", origin.port())).2.local_addr().unwrap()
        };
        let record = proxy.decision_of(client);
        let [host, outcome, reason] = ["host", "outcome", "reason"].map(|field| record[field].as_str().unwrap());
        println!("{what:<12} {host:<20} {outcome:<8} {reason:<18} {}", record["addresses"]);
        decided.push(json!([record["outcome"], record["reason"], record.get("addresses").unwrap_or(&Value::Null)]));
    }
    let want = json!([
        ["allow", "allowed", ["127.0.0.1"]],
        ["error", "dns_timeout", null],
        ["deny", "address_forbidden", ["10.0.0.5"]],
        ["allow", "allowed", ["127.0.0.1"]],
    ]);
    assert_eq!(Value::from(decided), want);
}

/// C8: while its servers fail, a listed name is served from the last answer, for so long; a name below a wildcard is not, nor one that
/// the servers say is gone.
#[test]
fn a_listed_name_is_served_stale_while_servers_fail() {
    let origin = Origin::new();
    let phase = Arc::new(AtomicU8::new(0));
    let now = Arc::clone(&phase);
    let dns = DnsServer::start(move |question| match now.load(Ordering::Relaxed) {
        0 => here(question),
        1 => Reply::Silence,
        2 => Reply::Code(SERVFAIL),
        _ => Reply::Code(NXDOMAIN),
    });
    let proxy = start(origin.port(), &dns.settings("udp", ", timeout: 500ms, min_ttl: 0s, serve_stale: 1m"));
    let target = |name: &str| format!("{name}.here.test:{}", origin.port());
    for name in ["api", "wild"] {
        finish(Tunnel::open(&proxy, &format!("{name}.here.test"), &origin));
    }
    phase.store(1, Ordering::Relaxed);
    let tunnel = Tunnel::open(&proxy, "api.here.test", &origin);
    let record = proxy.decision_of(tunnel.address);
    assert_eq!((&record["outcome"], &record["addresses"]), (&json!("allow"), &json!(["127.0.0.1"])), "{record}");
    assert_eq!(record["detail"], json!({"dns": "stale"}), "{record}");
    assert_eq!(close_of(&proxy, finish(tunnel)).get("detail"), None);
    assert_eq!(refusal(&proxy, &target("wild")).1, "dns_timeout");
    // Nobody waits for dead servers again so soon.
    let begin = Instant::now();
    for _ in 0..5 {
        finish(Tunnel::open(&proxy, "api.here.test", &origin));
    }
    assert!(begin.elapsed() < Duration::from_millis(2_000), "{:?}", begin.elapsed());
    assert_eq!(metric(&proxy, "sallyport_dns_lookups_total{result=\"stale\"}"), Some(6.0));
}

/// Each word of a server that fails, and `none`, which turns it off.
#[test]
fn what_is_gone_is_not_served_stale() {
    let origin = Origin::new();
    for (what, code, stale, want) in [
        ("fails", SERVFAIL, "1m", None),
        ("refuses", REFUSED, "1m", None),
        ("gone", NXDOMAIN, "1m", Some("dns_failure")),
        ("no address", 0, "1m", Some("dns_failure")),
        ("turned off", SERVFAIL, "none", Some("dns_failure")),
    ] {
        let dns = DnsServer::start(move |question| if question.turn == 0 { here(question) } else { Reply::Code(code) });
        let proxy = start(origin.port(), &dns.settings("udp", &format!(", min_ttl: 0s, serve_stale: {stale}")));
        finish(Tunnel::open(&proxy, "api.here.test", &origin));
        match want {
            None => drop(finish(Tunnel::open(&proxy, "api.here.test", &origin))),
            Some(reason) => {
                let target = format!("api.here.test:{}", origin.port());
                assert_eq!(refusal(&proxy, &target).1, reason, "{what}");
            }
        }
        assert_eq!(dns.times("api.here.test", A), 2, "{what}");
    }
}

/// Every alias on the way is on record.
#[test]
fn aliases_are_on_record() {
    let origin = Origin::new();
    let dns = DnsServer::start(|question| match (question.name.as_str(), question.kind) {
        ("chain.here.test", _) => Reply::Records(vec![Data::Alias("one.cdn.example"), Data::Alias("two.cdn.example")]),
        ("two.cdn.example", A) => of_kind(A, &[IpAddr::from([127, 0, 0, 1])]),
        _ => Reply::Absent(0, 60),
    });
    let proxy = start(origin.port(), &dns.settings("udp", ""));
    let tunnel = Tunnel::open(&proxy, "chain.here.test", &origin);
    let record = proxy.decision_of(tunnel.address);
    assert_eq!(record["detail"], json!({"aliases": ["one.cdn.example", "two.cdn.example"]}), "{record}");
    assert_eq!(dns.times("one.cdn.example", A), 0, "the server told what is behind it");
    finish(tunnel);
}
