//! Egress addresses that come and go, and ports that run out: on real interfaces, under load, seen by the origin.
//! Not here: which address is next (`runtime::egress`), what loopback is enough for (`dials`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::ends::{await_metric, metric, reset};
use super::harness::{PATIENCE, Proxy, eventually, records};
use super::namespaces::{FAR, Far, NEAR, ip};
use super::origins::{self, Answer, Origin};

/// Where the customer's server is.
const SERVER: &str = "198.51.100.1";

/// How long an address that is gone may be taken for one that is there, and one that is back for one that is gone.
const LATEST: Duration = Duration::from_secs(2);

/// Between two requests: 200 a second.
const PACE: Duration = Duration::from_millis(5);

/// The first addresses of the pool.
fn pool<const N: usize>() -> [Ipv4Addr; N] {
    std::array::from_fn(|last| Ipv4Addr::new(203, 0, 113, u8::try_from(last).unwrap()))
}

fn origin() -> Origin {
    ip(&["addr", "add", &format!("{SERVER}/32"), "dev", "lo"]);
    Origin::on(SocketAddr::new(SERVER.parse().unwrap(), 0))
}

/// A row of an address's metric.
fn row(metric: &str, address: Ipv4Addr) -> String {
    format!("sallyport_egress_{metric}{{address=\"{address}\",pool=\"static-a\"}}")
}

/// A proxy in the far namespace, of which every rule leaves from the pool.
fn start(far: &Far, origin: &Origin, bind: &str) -> Proxy {
    let policy = format!(
        "  - {{name: near, subnets: [{NEAR}/32]}}
rules:
  - {{id: acme/api, customer: acme, sources: [near], hosts: [api.acme.test], ports: [{0}, {1}], addresses: [{SERVER}/32], egress: static-a}}
",
        origin.port(),
        origin.port() - 1
    );
    let more =
        format!("dns: {{hosts: {{api.acme.test: [{SERVER}]}}}}\negress: {{pools: {{static-a: {{bind: [{bind}]}}}}}}\n");
    far.proxy(&policy, &more)
}

/// Requests at [`PACE`] until it is dropped or ended, each in a thread of its own.
struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    running: JoinHandle<Vec<(u64, Answer)>>,
}

impl Load {
    fn start(edge: SocketAddr, port: u16) -> Self {
        let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (told, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let running = std::thread::spawn(move || {
            let begin = Instant::now();
            let mut requests = Vec::new();
            while !told.load(Ordering::Relaxed) {
                let number = count.fetch_add(1, Ordering::Relaxed);
                requests.push(std::thread::spawn(move || (number, one(edge, port, number))));
                let due = begin + PACE * u32::try_from(number + 1).unwrap();
                std::thread::park_timeout(due.saturating_duration_since(Instant::now()));
            }
            requests.into_iter().map(|request| request.join().unwrap()).collect()
        });
        Self { stop, sent, running }
    }

    /// Goes on until so many more were sent.
    fn more(&self, count: u64) {
        let least = self.sent.load(Ordering::Relaxed) + count;
        eventually("the load goes on", Instant::now() + PATIENCE, || {
            (self.sent.load(Ordering::Relaxed) >= least).then_some(())
        });
    }

    fn end(self) -> Vec<(u64, Answer)> {
        self.stop.store(true, Ordering::Relaxed);
        self.running.join().unwrap()
    }
}

/// A request, a byte to and fro, and the end.
fn one(edge: SocketAddr, port: u16, number: u64) -> Answer {
    let (mut socket, answer) = origins::open(edge, port, number);
    if answer == Answer::Open && !origins::echoes(&mut socket, b"x") { Answer::Gone } else { answer }
}

/// Who came to the origin since `before`.
fn since(origin: &Origin, before: &BTreeMap<IpAddr, usize>) -> BTreeSet<IpAddr> {
    let now = origin.peers();
    now.into_iter().filter(|(ip, count)| before.get(ip) != Some(count)).map(|(ip, _)| ip).collect()
}

fn failures(all: &[Value]) -> Vec<&Value> {
    all.iter().filter(|record| record["kind"] == "control_failure").map(|record| &record["detail"]).collect()
}

fn is_unavailable(answer: &Answer) -> bool {
    matches!(answer, Answer::Refused(text) if text.contains("egress_address_unavailable"))
}

/// One of four addresses is taken away and given back, at 200 requests a second.
#[test]
fn an_address_that_is_taken_away_under_load_costs_no_request() {
    let Some(far) = Far::of("egress_namespaces::an_address_that_is_taken_away_under_load_costs_no_request") else {
        return;
    };
    let origin = origin();
    let all: [_; 4] = pool();
    all.iter().for_each(|address| far.add(*address));
    let proxy = start(&far, &origin, "203.0.113.0/30");
    let all_seen: Vec<IpAddr> = all.map(IpAddr::from).to_vec();
    let taken = all[2];
    let load = Load::start(proxy.edge, origin.port());
    load.more(200);
    assert_eq!(origin.peers().into_keys().collect::<Vec<_>>(), all_seen, "the origin sees the pool and nobody else");
    far.remove(taken);
    let begin = Instant::now();
    await_metric(&proxy, &row("address_up", taken), 0.0);
    let out = begin.elapsed();
    // What was there before has been accepted by then.
    load.more(40);
    let with = origin.peers();
    load.more(200);
    let without = since(&origin, &with);
    far.add(taken);
    let begin = Instant::now();
    await_metric(&proxy, &row("address_up", taken), 1.0);
    let back = begin.elapsed();
    let before = origin.peers();
    load.more(100);
    assert_eq!(since(&origin, &before).into_iter().collect::<Vec<_>>(), all_seen, "it is used again");
    let answers = load.end();
    let (dir, code) = proxy.stop();
    let records = records(&dir.path().join("decisions"));
    let decided: BTreeSet<&str> = records.iter().filter_map(|record| record["outcome"].as_str()).collect();
    let broken = answers.iter().filter(|(_, answer)| *answer != Answer::Open).count();
    println!(
        "{} requests, {broken} cut by the loss; from {:?}; out after {out:?}, back after {back:?}; {:?}",
        answers.len(),
        origin.peers(),
        failures(&records)
    );
    assert_eq!(code, Some(0));
    assert!(!without.contains(&taken.into()), "it is left alone once it is gone: {without:?}");
    assert!(out < LATEST && back < LATEST, "out after {out:?}, back after {back:?}");
    assert_eq!(failures(&records), [&json!({"what": "egress_address", "pool": "static-a", "address": taken})]);
    assert_eq!(decided, BTreeSet::from(["allow"]), "no request was refused");
    // What was open from the address at that moment has lost its way: no proxy can mend that.
    assert!(broken <= 3, "{broken} tunnels ended without their byte: {answers:?}");
}

/// Neither the host's own address nor one of another family stands in for a pool.
#[test]
fn a_pool_of_which_nothing_is_left_leaves_by_no_other_way() {
    let Some(far) = Far::of("egress_namespaces::a_pool_of_which_nothing_is_left_leaves_by_no_other_way") else {
        return;
    };
    let origin = origin();
    let all: [_; 2] = pool();
    let proxy = start(&far, &origin, "203.0.113.0/31");
    all.iter().for_each(|address| await_metric(&proxy, &row("address_up", *address), 0.0));
    let ask = |number| origins::open(proxy.edge, origin.port(), number).1;
    let answer = ask(1);
    assert!(is_unavailable(&answer), "none at the start: {answer:?}");
    far.add(all[1]);
    let begin = Instant::now();
    eventually("it is used", begin + LATEST, || (ask(2) == Answer::Open).then_some(()));
    // A tunnel that is cut off from its server would keep the stop waiting.
    await_metric(&proxy, "sallyport_tunnels{customer=\"acme\"}", 0.0);
    far.remove(all[1]);
    let answer = ask(3);
    assert!(is_unavailable(&answer), "the last one is gone: {answer:?}");
    assert_eq!(origin.peers().into_keys().collect::<Vec<_>>(), [all[1]]);
    let (dir, _) = proxy.stop();
    let told: Vec<Value> = records(&dir.path().join("decisions"));
    let lost: Vec<&str> = failures(&told).into_iter().filter_map(|detail| detail["address"].as_str()).collect();
    assert_eq!(lost, ["203.0.113.0/31", "203.0.113.1"], "each loss once, and those of one moment together");
}

/// A link's broadcast address can be bound, and then connections leave from another. A host without a way from one address has it from others.
#[test]
fn addresses_that_nothing_can_leave_from_are_passed_over() {
    let Some(far) = Far::of("egress_namespaces::addresses_that_nothing_can_leave_from_are_passed_over") else { return };
    let origin = origin();
    let host = |last: u8| Ipv4Addr::new(203, 0, 113, last);
    (9..=14).for_each(|last| far.ip(&["addr", "add", &format!("{}/29", host(last)), "dev", "far"]));
    ip(&["route", "replace", "203.0.113.8/29", "via", FAR]);
    far.ip(&["rule", "add", "from", "203.0.113.9", "table", "77"]);
    far.ip(&["route", "add", "unreachable", "default", "table", "77"]);
    let proxy = start(&far, &origin, "203.0.113.8/29");
    for last in [8, 15] {
        await_metric(&proxy, &row("address_up", host(last)), 0.0);
    }
    let opened: Vec<_> = (0..40).map(|number| origins::open(proxy.edge, origin.port(), number)).collect();
    assert!(
        opened.iter().all(|(_, answer)| *answer == Answer::Open),
        "{:?}",
        opened.iter().map(|(_, a)| a).collect::<Vec<_>>()
    );
    assert_eq!(
        origin.peers().into_keys().collect::<Vec<_>>(),
        (10..=14).map(host).map(Into::into).collect::<Vec<IpAddr>>()
    );
    assert!(metric(&proxy, &row("unroutable_total", host(9))) >= Some(1.0));
    let told = failures(&proxy.records()).into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(
        told,
        [json!({"what": "egress_address", "pool": "static-a", "addresses": ["203.0.113.8", "203.0.113.15"]})]
    );
}

/// What was sent from an address that is gone is never answered. The request does not wait for that.
#[test]
fn an_attempt_goes_on_from_another_address_when_its_own_is_taken_away() {
    let test = "egress_namespaces::an_attempt_goes_on_from_another_address_when_its_own_is_taken_away";
    let Some(far) = Far::of(test) else { return };
    let origin = origin();
    let all: [_; 2] = pool();
    all.iter().for_each(|address| far.add(*address));
    let proxy = start(&far, &origin, "203.0.113.0/31");
    let (edge, port) = (proxy.edge, origin.port());
    // No answer finds its way back, so the first attempt stays one.
    all.iter().for_each(|address| ip(&["route", "del", &format!("{address}/32")]));
    let asking = std::thread::spawn(move || one(edge, port, 1));
    let first = eventually("an attempt is under way", Instant::now() + PATIENCE, || {
        all.into_iter().find(|address| metric(&proxy, &row("connections", *address)) == Some(1.0))
    });
    let other = if first == all[0] { all[1] } else { all[0] };
    far.remove(first);
    ip(&["route", "add", &format!("{other}/32"), "via", FAR]);
    assert_eq!(asking.join().unwrap(), Answer::Open);
    assert_eq!(origin.peers().into_keys().collect::<Vec<_>>(), [other]);
}

/// Four ports an address: they serve each destination anew, then the next address has its turn, then there is no way out.
#[test]
fn addresses_without_a_free_port_leave_it_to_the_next_one() {
    let Some(far) = Far::of("egress_namespaces::addresses_without_a_free_port_leave_it_to_the_next_one") else {
        return;
    };
    let origin = origin();
    let second = Origin::on(SocketAddr::new(SERVER.parse().unwrap(), origin.port() - 1));
    let all: [_; 2] = pool();
    all.iter().for_each(|address| far.add(*address));
    let proxy = start(&far, &origin, "203.0.113.0/31");
    // The proxy's own sockets have theirs already.
    far.set("ipv4/ip_local_port_range", "40000 40003");
    let mut held = Vec::new();
    for number in 0..8 {
        for origin in [&origin, &second] {
            let (socket, answer) = origins::open(proxy.edge, origin.port(), number);
            assert_eq!(answer, Answer::Open, "{number}");
            held.push(socket);
        }
    }
    for each in [&origin, &second] {
        assert_eq!(
            each.peers(),
            all.map(|address| (address.into(), 4)).into(),
            "all ports of both, for each destination"
        );
    }
    let answer = origins::open(proxy.edge, origin.port(), 8).1;
    assert!(is_unavailable(&answer), "{answer:?}");
    for address in all {
        await_metric(&proxy, &row("exhausted_total", address), 1.0);
        await_metric(&proxy, &row("address_up", address), 1.0);
    }
    // A connection that is reset gives its port back at once; a port that is free is found again.
    reset(held.swap_remove(0));
    let begin = Instant::now();
    eventually("the port is used", begin + LATEST, || {
        (origins::open(proxy.edge, origin.port(), 9).1 == Answer::Open).then_some(())
    });
    assert_eq!(failures(&proxy.records()), Vec::<&Value>::new(), "no address is gone");
}
