//! How many may come in at once, and how the proxy stops: who is refused says so, and what is open may finish.
//! Not here: deadlines of heads (`heads`), hellos (`hellos`) and idle tunnels (`tunnels`).
//! Source: the contract's limits, 429 and 503 among its statuses, and its words on SIGTERM.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::ends::{Origin, Tunnel, await_metric, close_of, established, finish, head, read_all, read_exactly, refusal};
use super::harness::{PATIENCE, Proxy, Setup, eventually, read_answer, records};

const NAME: &str = "api.acme.test";

fn proxy(origin: &Origin, limits: &str) -> Proxy {
    let policy = format!(
        "  - {{name: other, subnets: [127.0.0.9/32]}}
rules:
  - {{id: api, customer: acme, sources: [tests, other], hosts: [{NAME}], ports: [{}], addresses: [127.0.0.1/32]}}
",
        origin.port()
    );
    let more = format!("dns: {{hosts: {{{NAME}: [127.0.0.1]}}}}\nlimits: {{{limits}}}\n");
    Proxy::start(&Setup { policy: &policy, more: &more, ..Setup::default() })
}

fn target(origin: &Origin) -> String {
    format!("{NAME}:{}", origin.port())
}

/// A refusal of the request for the origin, with its record.
fn refused(proxy: &Proxy, origin: &Origin) -> (u16, String, Value) {
    let (status, reason, socket) = refusal(proxy, &target(origin));
    let record = proxy.decision_of(socket.local_addr().unwrap());
    (status, reason, record)
}

#[test]
fn beyond_the_limit_requests_are_refused_until_a_place_is_free() {
    let origin = Origin::new();
    for (limit, status, reason, source) in [
        ("connections: 3", 503, "overloaded", "tests"),
        ("connections_per_source: 3", 429, "connection_limit", "tests"),
    ] {
        let proxy = proxy(&origin, limit);
        let mut tunnels: Vec<Tunnel> = (0..3).map(|_| Tunnel::open(&proxy, NAME, &origin)).collect();
        for _ in 0..5 {
            let (got, word, record) = refused(&proxy, &origin);
            assert_eq!((got, word.as_str()), (status, reason));
            assert_eq!((&record["reason"], &record["outcome"]), (&reason.into(), &"deny".into()), "{record}");
            assert_eq!((&record["host"], &record["source"]), (&NAME.into(), &source.into()), "{record}");
        }
        assert!(origin.is_untouched(), "{reason}: a refused request was dialled");
        let address = finish(tunnels.pop().unwrap());
        assert_eq!(close_of(&proxy, address)["reason"], "client_closed");
        await_metric(&proxy, "sallyport_connections", 2.0);
        tunnels.push(Tunnel::open(&proxy, NAME, &origin));
        assert_eq!(refused(&proxy, &origin).1, reason);
        let (_, page) = proxy.admin_page("/metrics");
        let row = format!("outcome=\"deny\",reason=\"{reason}\"}} 6");
        assert!(page.contains(&row), "{row} in {page}");
    }
}

#[test]
fn one_source_that_is_full_leaves_room_for_another() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "connections_per_source: 1");
    let _tunnel = Tunnel::open(&proxy, NAME, &origin);
    assert_eq!(refused(&proxy, &origin).1, "connection_limit");
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.9:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.connect(&proxy.edge.into()).unwrap();
    let mut other = TcpStream::from(socket);
    other.set_read_timeout(Some(PATIENCE)).unwrap();
    other.write_all(head(&target(&origin)).as_bytes()).unwrap();
    let answer = read_answer(&mut other);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// A refusal costs no place for good, whatever kind it is (G2).
#[test]
fn refused_requests_give_their_places_back() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "connections: 4, connections_per_source: 2");
    for round in 0..20 {
        let mut client = established(&proxy, &target(&origin));
        client.write_all(b"not tls at all").unwrap();
        read_all(&mut client);
        assert_eq!(read_all(&mut origin.accept()), b"", "round {round}");
        drop(client);
        assert_eq!(refusal(&proxy, "evil.example:443").1, "destination_not_listed", "round {round}");
    }
    await_metric(&proxy, "sallyport_connections", 0.0);
    finish(Tunnel::open(&proxy, NAME, &origin));
}

/// Everything that a stopped proxy has written: the last record is `stop`.
fn records_of_stopped(proxy: Proxy) -> Vec<Value> {
    let (dir, code) = proxy.wait();
    assert_eq!(code, Some(0), "exit code");
    let records = records(&dir.path().join("decisions"));
    assert_eq!(records.last().unwrap()["kind"], "stop", "the last record");
    records
}

fn close_in(records: &[Value], client: SocketAddr) -> &Value {
    let of_client = |record: &&Value| record["kind"] == "close" && record["client_port"] == client.port();
    records.iter().find(of_client).expect("a close record")
}

#[test]
fn a_drain_refuses_new_requests_and_lets_tunnels_finish() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "");
    let mut tunnel = Tunnel::open(&proxy, NAME, &origin);
    // A request whose head is not whole yet belongs to those that are refused.
    let mut begun = proxy.connect();
    begun.write_all(b"CONNECT api.acme.test:").unwrap();
    assert_eq!(proxy.admin_page("/readyz").0, 200);
    proxy.signal("TERM");
    let end = Instant::now() + PATIENCE;
    let (status, _, record) = eventually("draining", end, || {
        let (status, reason, socket) = refusal(&proxy, "evil.example:443");
        (reason == "draining").then(|| (status, reason, proxy.decision_of(socket.local_addr().unwrap())))
    });
    assert_eq!((status, &record["host"]), (503, &"evil.example".into()), "{record}");
    begun.write_all(format!("{} HTTP/1.1\r\n\r\n", origin.port()).as_bytes()).unwrap();
    assert!(read_answer(&mut begun).starts_with("HTTP/1.1 503 draining"));
    tunnel.client.write_all(b"still").unwrap();
    assert_eq!(read_exactly(&mut tunnel.server, 5), b"still");
    tunnel.server.write_all(b"open").unwrap();
    assert_eq!(read_exactly(&mut tunnel.client, 4), b"open");
    drop(begun);
    let (hello, address) = (tunnel.hello, finish(tunnel));
    let records = records_of_stopped(proxy);
    let close = close_in(&records, address);
    assert_eq!((&close["reason"], &close["bytes_out"]), (&"client_closed".into(), &(hello + 5).into()), "{close}");
    assert!(origin.is_untouched(), "a request was dialled while draining");
}

#[test]
fn after_the_drain_timeout_tunnels_are_cut() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "drain_timeout: 400ms");
    let mut tunnels: Vec<Tunnel> = (0..20).map(|_| Tunnel::open(&proxy, NAME, &origin)).collect();
    let begin = Instant::now();
    proxy.signal("TERM");
    for tunnel in &mut tunnels {
        assert_eq!(read_all(&mut tunnel.client), b"");
        assert_eq!(read_all(&mut tunnel.server), b"");
    }
    assert!(begin.elapsed() >= Duration::from_millis(400), "too early");
    let records = records_of_stopped(proxy);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    for tunnel in tunnels {
        let close = close_in(&records, tunnel.address);
        assert_eq!((&close["reason"], &close["bytes_out"]), (&"shutdown".into(), &tunnel.hello.into()), "{close}");
        assert_eq!(
            (&close["bytes_in"], &close["tls_version"]),
            (&tunnel.server_hello.into(), &"1.3".into()),
            "{close}"
        );
    }
}

/// PCI DSS 10.2: a request that the stop has cut off in its set-up is recorded like any other.
#[test]
fn a_request_that_waits_for_its_hello_at_the_end_of_a_drain_is_recorded() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "drain_timeout: 200ms");
    let mut client = established(&proxy, &target(&origin));
    let address = client.local_addr().unwrap();
    proxy.signal("TERM");
    read_all(&mut client);
    let records = records_of_stopped(proxy);
    let of_client = |record: &&Value| record["kind"] == "decision" && record["client_port"] == address.port();
    let decisions: Vec<&Value> = records.iter().filter(of_client).collect();
    assert_eq!(decisions.len(), 1, "{records:#?}");
    assert_eq!(decisions[0]["reason"], "draining", "{}", decisions[0]);
    assert_eq!(read_all(&mut origin.accept()), b"");
}

#[test]
fn an_idle_proxy_stops_at_once() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "");
    let address = finish(Tunnel::open(&proxy, NAME, &origin));
    let mut silent = proxy.connect();
    silent.shutdown(Shutdown::Write).unwrap();
    read_all(&mut silent);
    await_metric(&proxy, "sallyport_connections", 0.0);
    let begin = Instant::now();
    proxy.signal("TERM");
    let records = records_of_stopped(proxy);
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert_eq!(records.first().unwrap()["kind"], "start");
    close_in(&records, address);
}

/// From its first connection on, a signal means what it should: a reload is no end, and an end is a drain with its record.
#[test]
fn signals_count_from_the_start() {
    let origin = Origin::new();
    for round in 0..10 {
        let proxy = proxy(&origin, "");
        if round % 2 == 0 {
            proxy.signal("HUP");
        }
        proxy.signal("TERM");
        let records = records_of_stopped(proxy);
        assert_eq!(records.first().unwrap()["kind"], "start", "round {round}");
    }
}
