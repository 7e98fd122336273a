//! Connections to judged addresses: raced families, failures and their reasons, and the pools that they leave from.
//! Not here: which addresses may be dialled (`names`).
//! Source: RFC 8305; the contract's words on egress pools; IDs such as B7 are those of `docs/attacks.md`.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use super::dns_server::{DnsServer, table};
use super::ends::{Origin, Tunnel, await_metric, dialled, finish, metric, refusal};
use super::harness::{PATIENCE, Proxy, SOURCE, Setup, eventually, records};

const NAME: &str = "api.here.test";

/// One rule for `*.here.test` to loopback, with more of its keys; and more of the configuration.
fn start(dns: &DnsServer, port: u16, (rule, config): (&str, &str)) -> Proxy {
    let policy = format!(
        "rules:\n  - {{id: here, customer: acme, sources: [tests], hosts: [\"*.here.test\"], ports: [{port}], \
         addresses: [127.0.0.0/8, \"::1/128\"], wide: true{rule}}}\n"
    );
    let more = format!("{}{config}", dns.settings("udp", ""));
    Proxy::start(&Setup { policy: &policy, more: &more, ..Setup::default() })
}

/// A refusal before the tunnel, with its record.
fn refused(proxy: &Proxy, name: &str, port: u16) -> (u16, String, Value) {
    let (status, reason, socket) = refusal(proxy, &format!("{name}:{port}"));
    (status, reason, proxy.decision_of(socket.local_addr().unwrap()))
}

/// An address at which connections neither open nor fail: a listener whose queue is full drops what comes (listen(2)).
pub struct BlackHole {
    pub address: SocketAddr,
    _held: (Socket, Vec<TcpStream>),
}

impl BlackHole {
    /// On a free port, or on that of `address`.
    pub fn at(address: SocketAddr) -> Self {
        let listener = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        if address.is_ipv6() {
            listener.set_only_v6(true).unwrap();
        }
        listener.bind(&address.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut waiting = Vec::new();
        loop {
            assert!(waiting.len() < 64, "the queue of {address} does not fill");
            match TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
                Ok(socket) => waiting.push(socket),
                Err(error) if error.kind() == ErrorKind::TimedOut => break,
                Err(error) => panic!("{address}: {error}"),
            }
        }
        Self { address, _held: (listener, waiting) }
    }
}

fn address(text: &str, port: u16) -> SocketAddr {
    SocketAddr::new(text.parse().unwrap(), port)
}

/// A port at which nobody listens.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// How many ports are tried until one is free at both addresses.
const PORTS: usize = 20;

/// Nobody who answers at `dark`, and a server at each of `listens`, all at one port; nothing if that port is taken somewhere.
fn servers(dark: Option<&str>, listens: &[&str]) -> Option<(Option<BlackHole>, Vec<Origin>)> {
    let dark = dark.map(|text| BlackHole::at(address(text, 0)));
    let mut port = dark.as_ref().map_or(0, |dark| dark.address.port());
    let mut origins = Vec::new();
    for text in listens {
        let origin = Origin::try_on(address(text, port)).ok()?;
        port = origin.port();
        origins.push(origin);
    }
    Some((dark, origins))
}

#[test]
fn the_families_are_raced() {
    let dns = DnsServer::start(table(&[(NAME, &["127.0.0.1", "::1"])]));
    let (v4, v6) = ("127.0.0.1", "::1");
    // Who listens where, and who answers. With v6 in the dark, v4 has to come without waiting for a timeout of the system.
    for (name, dark, listens, want) in [
        ("both", None, vec![v4, v6], v6),
        ("v6 alone", None, vec![v6], v6),
        ("v4 alone: v6 refuses", None, vec![v4], v4),
        ("v6 is a black hole", Some(v6), vec![v4], v4),
        ("v4 is a black hole", Some(v4), vec![v6], v6),
    ] {
        let (_dark, origins) =
            (0..PORTS).find_map(|_| servers(dark, &listens)).expect("a port that is free at each address");
        let (first, others) = origins.split_first().unwrap();
        let wanted = others.iter().chain([first]).find(|origin| origin.address().ip().to_string() == want).unwrap();
        let proxy = start(&dns, first.port(), ("", ""));
        let begin = Instant::now();
        let tunnel = Tunnel::open(&proxy, NAME, wanted);
        assert!(begin.elapsed() < Duration::from_secs(2), "{name}: {:?}", begin.elapsed());
        assert_eq!(dialled(&tunnel.server).to_string(), want, "{name}");
        let record = proxy.decision_of(tunnel.address);
        assert_eq!((&record["upstream_ip"], &record["egress_ip"]), (&want.into(), &want.into()), "{name}: {record}");
        assert_eq!(record["addresses"].as_array().unwrap().len(), 2, "{name}: {record}");
        finish(tunnel);
    }
}

#[test]
fn every_failed_connection_has_its_reason() {
    let hole = BlackHole::at(address("127.0.0.1", 0));
    let dark = hole.address.port();
    let closed = closed_port();
    // Connecting to the broadcast address of lo fails at once: tcp(7) has no broadcast.
    let dns = DnsServer::start(table(&[
        ("closed.here.test", &["127.0.0.1"]),
        ("closed-both.here.test", &["127.0.0.1", "::1"]),
        ("nowhere.here.test", &["127.255.255.255"]),
        ("dark.here.test", &["127.0.0.1"]),
    ]));
    for (name, port, status, reason) in [
        ("closed.here.test", closed, 502, "upstream_refused"),
        ("closed-both.here.test", closed, 502, "upstream_refused"),
        ("nowhere.here.test", closed, 502, "upstream_unreachable"),
        ("dark.here.test", dark, 504, "upstream_timeout"),
    ] {
        let proxy = start(&dns, port, ("", "limits: {dial_timeout: 500ms}\n"));
        let begin = Instant::now();
        let (got, word, record) = refused(&proxy, name, port);
        assert_eq!((got, word.as_str()), (status, reason), "{name}");
        assert!(begin.elapsed() < Duration::from_secs(3), "{name}: {:?}", begin.elapsed());
        assert_eq!((&record["outcome"], &record["rule"]), (&"error".into(), &"here".into()), "{name}: {record}");
        assert!(!record["addresses"].as_array().unwrap().is_empty(), "{name}: {record}");
    }
}

#[test]
fn a_pools_addresses_are_used_alike_and_no_others() {
    let dns = DnsServer::start(table(&[(NAME, &["127.0.0.1"])]));
    let origin = Origin::new();
    let pool = "egress: {pools: {static-a: {bind: [127.0.0.40/30]}, static-b: {bind: [127.0.0.48/32]}}}\n";
    let proxy = start(&dns, origin.port(), (", egress: static-a", pool));
    let mut used: BTreeMap<String, usize> = BTreeMap::new();
    let mut tunnels = Vec::new();
    for _ in 0..12 {
        let tunnel = Tunnel::open(&proxy, NAME, &origin);
        let from = tunnel.server.peer_addr().unwrap().ip().to_string();
        let record = proxy.decision_of(tunnel.address);
        assert_eq!((&record["egress_ip"], &record["egress_pool"]), (&json!(from), &"static-a".into()), "{record}");
        *used.entry(from).or_default() += 1;
        tunnels.push(tunnel);
    }
    let want = ["127.0.0.40", "127.0.0.41", "127.0.0.42", "127.0.0.43"].map(|from| (from.to_owned(), 3));
    assert_eq!(used, BTreeMap::from(want), "how often the origin saw each address");
    let row = |from: &str| format!("sallyport_egress_connections{{address=\"{from}\",pool=\"static-a\"}}");
    assert_eq!(metric(&proxy, &row("127.0.0.40")), Some(3.0));
    for tunnel in tunnels {
        finish(tunnel);
    }
    await_metric(&proxy, &row("127.0.0.40"), 0.0);
}

/// G3: an address that the host does not have costs nothing but a try; without any other the request fails, and no other address is used.
#[test]
fn an_address_that_cannot_be_bound_is_passed_over() {
    let dns = DnsServer::start(table(&[(NAME, &["127.0.0.1"]), ("six.here.test", &["127.0.0.1", "::1"])]));
    let origin = Origin::new();
    let missing = "192.0.2.8/32";
    for (bind, from, lost) in [
        (format!("{missing}, 127.0.0.40/32"), Some("127.0.0.40"), &["192.0.2.8"][..]),
        (format!("127.0.0.40/32, {missing}, 192.0.2.9/32"), Some("127.0.0.40"), &["192.0.2.8", "192.0.2.9"]),
        (missing.to_owned(), None, &["192.0.2.8"]),
        ("\"::1/128\"".to_owned(), None, &[]),
    ] {
        let pool = format!("egress: {{pools: {{static-a: {{bind: [{bind}]}}}}}}\n");
        let proxy = start(&dns, origin.port(), (", egress: static-a", &pool));
        for turn in 0..4 {
            match from {
                Some(from) => {
                    let tunnel = Tunnel::open(&proxy, NAME, &origin);
                    assert_eq!(tunnel.server.peer_addr().unwrap().ip().to_string(), from, "{bind}, {turn}");
                    finish(tunnel);
                }
                None => {
                    let (status, reason, record) = refused(&proxy, NAME, origin.port());
                    assert_eq!((status, reason.as_str()), (502, "egress_address_unavailable"), "{bind}: {record}");
                }
            }
        }
        assert!(origin.is_untouched(), "{bind}: another address was used");
        for address in lost {
            let up = format!("sallyport_egress_address_up{{address=\"{address}\",pool=\"static-a\"}}");
            await_metric(&proxy, &up, 0.0);
        }
        let (dir, _) = proxy.stop();
        let all = records(&dir.path().join("decisions"));
        let told: Vec<&Value> =
            all.iter().filter(|record| record["kind"] == "control_failure").map(|record| &record["detail"]).collect();
        let lost: Vec<IpNet> = lost.iter().map(|ip| ip.parse::<IpAddr>().unwrap().into()).collect();
        let text = |prefix: &IpNet| prefix.to_string().replace("/32", "").replace("/128", "");
        let want: Vec<String> = IpNet::aggregate(&lost).iter().map(text).collect();
        let want = match want.as_slice() {
            [] => vec![],
            [address] => vec![json!({"what": "egress_address", "pool": "static-a", "address": address})],
            several => vec![json!({"what": "egress_address", "pool": "static-a", "addresses": several})],
        };
        assert_eq!(told, want.iter().collect::<Vec<_>>(), "{bind}: once and together, whoever asked");
    }
}

/// A pool of one family serves destinations of both: the other family is no failure that hides the real one.
#[test]
fn a_pool_of_one_family_reaches_what_it_can() {
    let dns = DnsServer::start(table(&[(NAME, &["127.0.0.1", "::1"])]));
    let pool = "egress: {pools: {static-a: {bind: [127.0.0.40/32]}}}\n";
    let origin = Origin::new();
    let proxy = start(&dns, origin.port(), (", egress: static-a", pool));
    let tunnel = Tunnel::open(&proxy, NAME, &origin);
    assert_eq!(tunnel.server.peer_addr().unwrap().ip(), IpAddr::from([127, 0, 0, 40]));
    finish(tunnel);
    let closed = closed_port();
    let proxy = start(&dns, closed, (", egress: static-a", pool));
    let (status, reason, record) = refused(&proxy, NAME, closed);
    assert_eq!((status, reason.as_str()), (502, "upstream_refused"), "{record}");
}

#[test]
fn a_pool_of_ipv6_is_bound_too() {
    let dns = DnsServer::start(table(&[(NAME, &["::1"])]));
    let origin = Origin::on(address("::1", 0));
    let pool = "egress: {pools: {static-a: {bind: [\"::1/128\"]}}}\n";
    let proxy = start(&dns, origin.port(), (", egress: static-a", pool));
    let tunnel = Tunnel::open(&proxy, NAME, &origin);
    assert_eq!(proxy.decision_of(tunnel.address)["egress_ip"], "::1");
    finish(tunnel);
}

/// B7, B8, row 27: no rule leads back into the proxy or to its admin port, by name or by address.
#[test]
fn the_proxys_own_sockets_are_never_a_destination() {
    let dns = DnsServer::start(table(&[(NAME, &["127.0.0.1"]), ("zero.here.test", &["0.0.0.0"])]));
    let proxy = start(&dns, 443, ("", ""));
    for port in [proxy.edge.port(), proxy.admin.port()] {
        let policy = format!(
            "{SOURCE}rules:
  - {{id: here, customer: acme, sources: [tests], hosts: [\"*.here.test\"], ports: [{port}], addresses: [127.0.0.0/8, 0.0.0.0/32], wide: true}}
  - {{id: literal, customer: acme, sources: [tests], networks: [127.0.0.1/32, 0.0.0.0/32], ports: [{port}], tls: {{sni: absent}}}}
"
        );
        fs::write(proxy.dir.path().join("policy.yaml"), policy).unwrap();
        proxy.signal("HUP");
        let reloaded = || (refused(&proxy, NAME, port).1 != "port_not_allowed").then_some(());
        eventually("the reload", Instant::now() + PATIENCE, reloaded);
        for host in [NAME, "zero.here.test", "127.0.0.1", "0.0.0.0", "[::ffff:127.0.0.1]"] {
            assert_eq!(refused(&proxy, host, port).1, "address_forbidden", "{host}:{port}");
        }
    }
}
