//! Limits of rules and sources, from outside: each refuses with its reason, ends what is open, and outlives reload, restart and crash.
//! Not here: counting by table (`runtime::quota`), the instance's own limits (`limits`). Source: the contract's "Limits".

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use socket2::{Domain, Socket, Type};

use super::ends::{Origin, Tunnel, await_metric, close_of, finish, head, read_all, read_exactly, refusal};
use super::harness::{PATIENCE, Proxy, SOURCE, Setup, eventually, read_answer};

const NAME: &str = "api.acme.test";

/// `limited` with limits, `free` without, in front of the same origin.
fn rules(origin: &Origin, limits: &str) -> String {
    let port = origin.port();
    let rule = |id: &str, more: &str| {
        format!(
            "  - {{id: {id}, customer: acme, sources: [tests, quiet], hosts: [{id}.acme.test], ports: [{port}], addresses: [127.0.0.1/32]{more}}}\n"
        )
    };
    // Without limits the rule is gone.
    let limited = if limits.is_empty() { String::new() } else { rule("api", &format!(", limits: {{{limits}}}")) };
    format!("  - {{name: quiet, subnets: [127.0.0.9/32]}}\nrules:\n{limited}{}", rule("free", ""))
}

fn proxy(origin: &Origin, limits: &str, more: &str) -> Proxy {
    let more = format!("state: state\ndns: {{hosts: {{{NAME}: [127.0.0.1], free.acme.test: [127.0.0.1]}}}}\n{more}");
    Proxy::start(&Setup { policy: &rules(origin, limits), more: &more, ..Setup::default() })
}

/// Replaces the limits and waits until they are in force.
fn reload(proxy: &Proxy, origin: &Origin, limits: &str) {
    let of_policy = || proxy.records().into_iter().filter(|record| record["kind"] == "policy").count();
    let before = of_policy();
    fs::write(proxy.dir.path().join("policy.yaml"), format!("{SOURCE}{}", rules(origin, limits))).unwrap();
    proxy.signal("HUP");
    eventually("a reload", Instant::now() + PATIENCE, || (of_policy() > before).then_some(()));
}

/// The reason why the rule with limits refuses, checked in answer and record.
fn refused(proxy: &Proxy, origin: &Origin) -> String {
    let (status, reason, socket) = refusal(proxy, &format!("{NAME}:{}", origin.port()));
    let record = proxy.decision_of(socket.local_addr().unwrap());
    assert_eq!((status, &record["outcome"], &record["rule"]), (429, &"deny".into(), &"api".into()), "{record}");
    assert_eq!(record["reason"], reason.as_str(), "{record}");
    reason
}

/// A connection from the source that has no tunnels yet.
fn from_quiet(proxy: &Proxy) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.9:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.connect(&proxy.edge.into()).unwrap();
    let socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

#[test]
fn a_rule_has_so_many_tunnels_at_a_time_and_others_are_not_its_concern() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "tunnels: 2", "");
    let mut tunnels: Vec<Tunnel> = (0..2).map(|_| Tunnel::open(&proxy, NAME, &origin)).collect();
    assert_eq!(refused(&proxy, &origin), "tunnel_limit");
    await_metric(&proxy, "sallyport_limit_used{limit=\"tunnels\",name=\"api\",of=\"rule\"}", 2.0);
    finish(Tunnel::open(&proxy, "free.acme.test", &origin));
    close_of(&proxy, finish(tunnels.pop().unwrap()));
    tunnels.push(Tunnel::open(&proxy, NAME, &origin));
    assert_eq!(refused(&proxy, &origin), "tunnel_limit");
    // What was open before the limit counts as well.
    reload(&proxy, &origin, "tunnels: 3");
    tunnels.push(Tunnel::open(&proxy, NAME, &origin));
    assert_eq!(refused(&proxy, &origin), "tunnel_limit");
    reload(&proxy, &origin, "idle_timeout: 1h");
    tunnels.push(Tunnel::open(&proxy, NAME, &origin));
    reload(&proxy, &origin, "tunnels: 4");
    assert_eq!(refused(&proxy, &origin), "tunnel_limit");
}

#[test]
fn a_rate_that_is_used_up_refuses_before_anything_is_dialled() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "rate: 1/h", "");
    finish(Tunnel::open(&proxy, NAME, &origin));
    assert!((0..3).all(|_| refused(&proxy, &origin) == "rate_limited"));
    assert!(origin.is_untouched());
    reload(&proxy, &origin, "rate: 1/h");
    assert_eq!(refused(&proxy, &origin), "rate_limited", "a reload gives nothing back");
    let (_, page) = proxy.admin_page("/metrics");
    assert!(page.contains("customer=\"acme\",listener=\"edge\",outcome=\"deny\",reason=\"rate_limited\"} 4"), "{page}");
}

#[test]
fn the_bytes_of_a_day_end_the_tunnel_in_flight_and_outlive_reload_restart_and_crash() {
    const BUDGET: usize = 1 << 20;
    let origin = Origin::new();
    let proxy = proxy(&origin, "bytes_out: 1MiB/day", "");
    let mut tunnel = Tunnel::open(&proxy, NAME, &origin);
    let mut client = tunnel.client.try_clone().unwrap();
    let sending = std::thread::spawn(move || client.write_all(&vec![7; 3 * BUDGET]));
    tunnel.server.write_all(b"answer").unwrap();
    let passed = read_all(&mut tunnel.server).len();
    // What could not be sent is an error or the end behind the answer.
    let _ = sending.join().unwrap();
    assert!(b"answer".starts_with(&read_all(&mut tunnel.client)), "the client is told, and nothing else");
    let record = tunnel.close_record(&proxy);
    assert_eq!((&record["reason"], &record["outcome"]), (&"byte_budget_spent".into(), &"allow".into()), "{record}");
    assert_eq!(record["bytes_out"], BUDGET, "not a byte more: {record}");
    assert_eq!(tunnel.hello as usize + passed, BUDGET);
    assert_eq!(refused(&proxy, &origin), "byte_budget_spent");
    reload(&proxy, &origin, "bytes_out: 1MiB/day");
    assert_eq!(refused(&proxy, &origin), "byte_budget_spent");
    let (dir, code) = proxy.stop();
    assert_eq!(code, Some(0));
    let proxy = Proxy::start_in(dir);
    assert_eq!(refused(&proxy, &origin), "byte_budget_spent");
    reload(&proxy, &origin, "bytes_out: 2MiB/day");
    let mut tunnel = Tunnel::open(&proxy, NAME, &origin);
    tunnel.client.write_all(&vec![7; 100_000]).unwrap();
    assert_eq!(read_exactly(&mut tunnel.server, 100_000).len(), 100_000);
    let gone = (BUDGET + 100_000) as u64 + tunnel.hello;
    let kept = proxy.dir.path().join("state/budgets.tests.json");
    eventually("what has gone out is kept", Instant::now() + PATIENCE, || {
        fs::read_to_string(&kept).unwrap_or_default().contains(&gone.to_string()).then_some(())
    });
    let proxy = Proxy::start_in(proxy.kill());
    let used = "sallyport_limit_used{limit=\"bytes_out\",name=\"api\",of=\"rule\"}";
    await_metric(&proxy, used, gone as f64);
}

#[test]
fn a_rule_that_goes_and_comes_back_has_its_tunnels_and_its_bytes() {
    let (origin, limits) = (Origin::new(), "tunnels: 1, bytes_out: 1MiB/day");
    let proxy = proxy(&origin, limits, "");
    let mut tunnel = Tunnel::open(&proxy, NAME, &origin);
    let mut gone = tunnel.hello;
    // Between the two it goes on in the time that `existing` gives it.
    for rules in [limits, "", limits] {
        reload(&proxy, &origin, rules);
        if rules.is_empty() {
            let (status, reason, _) = refusal(&proxy, &format!("{NAME}:{}", origin.port()));
            assert_eq!((status, reason.as_str()), (403, "destination_not_listed"));
        } else {
            assert_eq!(refused(&proxy, &origin), "tunnel_limit", "its tunnel counts");
        }
        tunnel.client.write_all(&[7; 1000]).unwrap();
        assert_eq!(read_exactly(&mut tunnel.server, 1000), [7; 1000], "`{rules}`");
        gone += 1000;
    }
    close_of(&proxy, finish(tunnel));
    await_metric(&proxy, "sallyport_limit_used{limit=\"bytes_out\",name=\"api\",of=\"rule\"}", gone as f64);
}

#[test]
fn a_budgets_file_that_is_damaged_stops_the_start_by_name() {
    let origin = Origin::new();
    let (dir, _) = proxy(&origin, "bytes_out: 1MiB/day", "").stop();
    fs::write(dir.path().join("state/budgets.tests.json"), "{\"day\":").unwrap();
    let config = dir.path().join("sallyport.yaml");
    let run =
        std::process::Command::new(env!("CARGO_BIN_EXE_sallyport")).arg("run").arg("-c").arg(config).output().unwrap();
    let told = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(3), "{told}");
    assert!(told.contains("state/budgets.tests.json: not what was written") && told.contains("remove it"), "{told}");
}

#[test]
fn the_deadlines_of_a_rule_are_its_own_and_reach_what_is_open() {
    let origin = Origin::new();
    for (limits, reason) in [("idle_timeout: 1s", "idle_timeout"), ("lifetime: 1s", "lifetime_exceeded")] {
        let proxy = proxy(&origin, limits, "");
        let mut free = Tunnel::open(&proxy, "free.acme.test", &origin);
        let mut tunnel = Tunnel::open(&proxy, NAME, &origin);
        assert!(read_all(&mut tunnel.client).is_empty(), "{limits}");
        assert_eq!(tunnel.close_record(&proxy)["reason"], reason);
        free.client.write_all(b"still here").unwrap();
        assert_eq!(read_exactly(&mut free.server, 10), b"still here", "{limits}");
    }
    let proxy = proxy(&origin, "tunnels: 5", "");
    let mut tunnel = Tunnel::open(&proxy, NAME, &origin);
    reload(&proxy, &origin, "idle_timeout: 1s");
    assert!(read_all(&mut tunnel.client).is_empty());
    assert_eq!(tunnel.close_record(&proxy)["reason"], "idle_timeout", "a limit that a reload brings");
}

#[test]
fn a_source_that_runs_wild_leaves_the_last_places_to_others() {
    let origin = Origin::new();
    // Of 16 places, 2 are kept: there are three sources.
    let proxy = proxy(&origin, "lifetime: 1h", "limits: {connections: 16, connections_per_source: 16}\n");
    let target = format!("free.acme.test:{}", origin.port());
    let mut held: Vec<TcpStream> = (0..14).map(|_| proxy.ask(head(&target).as_bytes()).0).collect();
    let (status, reason, _) = refusal(&proxy, &target);
    assert_eq!((status, reason.as_str()), (503, "overloaded"));
    for place in 1..=2 {
        let mut quiet = from_quiet(&proxy);
        quiet.write_all(head(&target).as_bytes()).unwrap();
        let answer = read_answer(&mut quiet);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{place}: {answer}");
        held.push(quiet);
    }
    let mut late = from_quiet(&proxy);
    late.write_all(head(&target).as_bytes()).unwrap();
    assert!(read_answer(&mut late).contains("overloaded"), "the whole is full");
    assert_eq!(held.len(), 16);
}
