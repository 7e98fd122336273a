//! Load balancers of others in front of the proxy, HAProxy and Envoy: whom they name by the PROXY protocol is the client, and whom nobody
//! may name himself is refused. Not here: every way in which a header can be wrong (`runtime::proxy_header`).

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::certificates::{Client, Dial, REQUIRED, RIGHT, folder};
use super::ends::metric;
use super::harness::{PATIENCE, Proxy, Setup, eventually, write_setup};
use super::nginx::free_port;
use super::origins::{self, Answer, Origin, connect_from};
use super::programs::program;

/// Where load balancers come from, and clients.
const BALANCER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const CLIENT: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Connections that ended without a byte of a request.
const SILENT: &str = "sallyport_connections_silent_total";

/// A proxy behind load balancers, whose source is the client alone.
fn behind(origin: &Origin) -> Proxy {
    let dir = TempDir::new().unwrap();
    let port = origin.port();
    let policy = format!(
        "rules:\n  - {{id: acme, customer: acme, sources: [tests], hosts: [api.acme.test], ports: [{port}], addresses: [127.0.0.1/32]}}\n"
    );
    let more = "dns: {hosts: {api.acme.test: [127.0.0.1]}}\nlimits: {head_timeout: 1s}\n";
    write_setup(dir.path(), &Setup { policy: &policy, more, ..Setup::default() });
    for (file, from, to) in [
        ("sallyport.yaml", "mode: connect", &*format!("mode: connect, proxy_protocol: {{from: [{BALANCER}/32]}}")),
        ("policy.yaml", "127.0.0.0/8], wide: true", "127.0.0.1/32]"),
    ] {
        let path = dir.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file}");
        fs::write(path, text.replace(from, to)).unwrap();
    }
    Proxy::start_in(dir)
}

/// A load balancer that runs until this is dropped.
struct Balancer {
    address: SocketAddr,
    child: Child,
    _dir: TempDir,
}

impl Balancer {
    /// Starts `name` on a configuration that is written for an address to listen on.
    fn start(name: &str, file: &str, words: &[&str], configuration: impl FnOnce(SocketAddr) -> String) -> Self {
        let dir = TempDir::new().unwrap();
        let address = SocketAddr::from((CLIENT, free_port()));
        fs::write(dir.path().join(file), configuration(address)).unwrap();
        let mut command = program(name);
        command.args(words).arg(file).current_dir(dir.path()).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let balancer = Self { address, child, _dir: dir };
        eventually(name, Instant::now() + PATIENCE, || TcpStream::connect(address).ok());
        balancer
    }

    fn haproxy(proxy: SocketAddr, options: &str) -> Self {
        Self::start("haproxy", "haproxy.cfg", &["-q", "-f"], |address| {
            format!(
                "defaults
    mode tcp
    timeout connect 10s
    timeout client 60s
    timeout server 60s
listen edge
    bind {address}
    unique-id-format %[uuid()]
    server edge-1 {proxy} source {BALANCER} {options}
"
            )
        })
    }

    fn envoy(proxy: SocketAddr, version: &str) -> Self {
        let words = ["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "off", "-c"];
        let socket =
            |address: SocketAddr| json!({"socket_address": {"address": address.ip(), "port_value": address.port()}});
        Self::start("envoy", "envoy.json", &words, |address| {
            let types = "type.googleapis.com/envoy.extensions";
            let raw = json!({"name": "envoy.transport_sockets.raw_buffer", "typed_config": {"@type": format!("{types}.transport_sockets.raw_buffer.v3.RawBuffer")}});
            let transport = json!({
                "@type": format!("{types}.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport"),
                "config": {"version": version},
                "transport_socket": raw,
            });
            let tcp = json!({"@type": format!("{types}.filters.network.tcp_proxy.v3.TcpProxy"), "stat_prefix": "edge", "cluster": "sallyport"});
            let endpoint = json!({"endpoint": {"address": socket(proxy)}});
            json!({"static_resources": {
                "listeners": [{
                    "address": socket(address),
                    "filter_chains": [{"filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": tcp}]}],
                }],
                "clusters": [{
                    "name": "sallyport",
                    "type": "STATIC",
                    "load_assignment": {"cluster_name": "sallyport", "endpoints": [{"lb_endpoints": [endpoint]}]},
                    "upstream_bind_config": {"source_address": {"address": BALANCER, "port_value": 0}},
                    "transport_socket": {"name": "envoy.transport_sockets.upstream_proxy_protocol", "typed_config": transport},
                }],
            }})
            .to_string()
        })
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_client_is_whom_the_load_balancer_names() {
    let origin = Origin::start();
    let proxy = behind(&origin);
    let edge = proxy.edge;
    let crc = "send-proxy-v2 proxy-v2-options crc32c,unique-id";
    let balancers: [(&str, &dyn Fn() -> Balancer); 5] = [
        ("HAProxy, version 1", &|| Balancer::haproxy(edge, "send-proxy")),
        ("HAProxy, version 2", &|| Balancer::haproxy(edge, "send-proxy-v2")),
        ("HAProxy, extensions", &|| Balancer::haproxy(edge, crc)),
        ("Envoy, version 1", &|| Balancer::envoy(edge, "V1")),
        ("Envoy, version 2", &|| Balancer::envoy(edge, "V2")),
    ];
    for (number, (name, start)) in (1..).zip(balancers) {
        let balancer = start();
        let (mut socket, answer) = origins::open(balancer.address, origin.port(), number);
        assert_eq!(answer, Answer::Open, "{name}");
        assert!(origins::echoes(&mut socket, b"hello"), "{name}");
        let record = proxy.decision_of(socket.local_addr().unwrap());
        let told = ["outcome", "client_ip", "peer_ip"].map(|field| record[field].clone());
        assert_eq!(told, [json!("allow"), json!(CLIENT), json!(BALANCER)], "{name}: {record}");
    }
}

/// A load balancer passes TLS on as it is: what it says of the client stands in front of the handshake.
#[test]
fn behind_the_header_comes_tls() {
    let origin = Origin::start();
    let listener = format!("mode: connect, proxy_protocol: {{from: [{BALANCER}/32]}}, {REQUIRED}");
    let proxy = Proxy::start_in(folder(&listener, &[RIGHT], origin.port(), "").0);
    let balancers = [
        ("HAProxy, version 2", Balancer::haproxy(proxy.edge, "send-proxy-v2")),
        ("Envoy, version 1", Balancer::envoy(proxy.edge, "V1")),
    ];
    for ((name, balancer), alpn) in balancers.iter().flat_map(|balancer| [(balancer, "h2"), (balancer, "http/1.1")]) {
        let mut client = Client::connect(proxy.dir.path(), balancer.address, &Dial { alpn, ..Dial::default() });
        let stream = client.open(origin.port());
        assert!(client.echoes(stream, 10_000), "{name} {alpn}");
        let is_its = |record: &Value| record["kind"] == "decision" && record["client_port"] == client.port();
        let record = proxy.record(name, is_its);
        let told = ["outcome", "client_ip", "peer_ip", "client_identity"].map(|field| record[field].clone());
        assert_eq!(told, [json!("allow"), json!(CLIENT), json!(BALANCER), json!(RIGHT)], "{name} {alpn}: {record}");
    }
    let mut before = 4;
    for (name, from, bytes) in [
        ("a line of a client", CLIENT, &b"PROXY TCP4 127.0.0.1 127.0.0.1 258 772\r\n"[..]),
        ("none of a load balancer", BALANCER, &origins::hello_for("proxy.test")),
    ] {
        let (_, record) = refused(&proxy, from, bytes, &mut before);
        assert_eq!(record["reason"], "proxy_protocol_refused", "{name}: {record}");
    }
}

/// HAProxy connects, says LOCAL and closes: nobody has asked for anything.
#[test]
fn health_checks_leave_no_record() {
    let origin = Origin::start();
    let proxy = behind(&origin);
    let balancer = Balancer::haproxy(proxy.edge, "send-proxy-v2 check check-send-proxy inter 50ms");
    eventually("health checks", Instant::now() + PATIENCE, || metric(&proxy, SILENT).filter(|checks| *checks >= 5.0));
    assert!(!proxy.records().iter().any(|record| record["kind"] == "decision"), "{:#?}", proxy.records());
    let (mut socket, answer) = origins::open(balancer.address, origin.port(), 9);
    assert!(answer == Answer::Open && origins::echoes(&mut socket, b"hello"), "clients come through: {answer:?}");
}

/// What a refused connection is answered with, and its record.
fn refused(proxy: &Proxy, from: Ipv4Addr, bytes: &[u8], before: &mut usize) -> (String, Value) {
    let mut socket = connect_from(from, proxy.edge);
    socket.write_all(bytes).unwrap();
    answered(socket, proxy, before)
}

/// What a connection is answered with until it ends, and its record.
fn answered(mut socket: TcpStream, proxy: &Proxy, before: &mut usize) -> (String, Value) {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = Vec::new();
    // A reset is an end too.
    let _ = socket.read_to_end(&mut answer);
    let is_decision = |record: &Value| record["kind"] == "decision";
    let record = eventually("its record", Instant::now() + PATIENCE, || {
        proxy.records().into_iter().filter(is_decision).nth(*before)
    });
    *before += 1;
    (String::from_utf8_lossy(&answer).into_owned(), record)
}

#[test]
fn who_names_himself_is_refused_and_who_names_nobody_is_no_source() {
    let origin = Origin::start();
    let proxy = behind(&origin);
    let head = format!("CONNECT api.acme.test:{} HTTP/1.1\r\n\r\n", origin.port());
    let binary = |command: u8, rest: &[u8]| {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [b"\r\n\r\n\0\r\nQUIT\n", &[command, 0x11][..], &length, rest].concat()
    };
    let four = [127, 0, 0, 1, 127, 0, 0, 1, 1, 2, 3, 4];
    let line = b"PROXY TCP4 127.0.0.1 127.0.0.1 258 772\r\n".to_vec();
    let mut records = 0;
    for (name, from, header, want) in [
        ("a line of a client", CLIENT, line.clone(), "proxy_protocol_refused"),
        ("a binary header of a client", CLIENT, binary(0x21, &four), "proxy_protocol_refused"),
        ("LOCAL of a client", CLIENT, binary(0x20, b""), "proxy_protocol_refused"),
        ("none of a load balancer", BALANCER, Vec::new(), "proxy_protocol_refused"),
        ("half of one", BALANCER, b"PROXY TCP4 127.0.0.1 127.0.0.1\r\n".to_vec(), "proxy_protocol_refused"),
        ("another version", BALANCER, binary(0x31, &four), "proxy_protocol_refused"),
        ("a stranger", BALANCER, b"PROXY TCP4 192.0.2.1 127.0.0.1 258 772\r\n".to_vec(), "source_unknown"),
        ("nobody", BALANCER, b"PROXY UNKNOWN\r\n".to_vec(), "source_unknown"),
        ("the load balancer", BALANCER, binary(0x20, b""), "source_unknown"),
    ] {
        let (answer, record) = refused(&proxy, from, &[&header, head.as_bytes()].concat(), &mut records);
        assert_eq!((&record["outcome"], &record["reason"]), (&json!("deny"), &json!(want)), "{name}: {record}");
        assert!(!answer.starts_with("HTTP/1.1 200"), "{name}: {answer}");
    }
    assert_eq!(origin.peers().len(), 0, "nobody came through");
    let (mut socket, name) = (connect_from(BALANCER, proxy.edge), origins::client_hello(7));
    socket.write_all(&line).unwrap();
    let target = format!("api.acme.test:{}", origin.port());
    assert_eq!(origins::ask(&mut socket, &target, &name), Answer::Open, "as it should be");
}

/// A header that does not come to its end meets the deadline of the head.
#[test]
fn a_header_that_never_ends_is_refused_in_time() {
    let origin = Origin::start();
    let proxy = behind(&origin);
    let (_, record) = refused(&proxy, BALANCER, b"PROXY TCP4 127.0.0.1 ", &mut 0);
    assert_eq!(record["reason"], "head_timeout", "{record}");
}

/// Ticks of a processor's time, a hundredth of a second each, that the proxy has had (proc_pid_stat(5): utime and stime).
fn ticks(proxy: &Proxy) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", proxy.pid())).unwrap();
    let (_, behind_the_name) = stat.rsplit_once(") ").unwrap();
    behind_the_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

/// An end in the middle of what may be a header is the client's end at once, not what is looked at until the deadline.
#[test]
fn a_header_that_breaks_off_is_an_end() {
    const MOST: u64 = 40;
    let origin = Origin::start();
    let proxy = behind(&origin);
    let mut records = 0;
    for (name, from, bytes) in [
        ("half a line of a load balancer", BALANCER, &b"PROXY TCP4 127.0.0.1 "[..]),
        ("half a binary header of a load balancer", BALANCER, b"\r\n\r\n\0\r\nQUIT\n\x21\x11"),
        ("a letter of a client", CLIENT, b"P"),
    ] {
        let before = ticks(&proxy);
        let mut socket = connect_from(from, proxy.edge);
        socket.write_all(bytes).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        let (_, record) = answered(socket, &proxy, &mut records);
        assert_eq!(
            (&record["outcome"], &record["reason"]),
            (&json!("error"), &json!("client_gone")),
            "{name}: {record}"
        );
        let spent = ticks(&proxy) - before;
        assert!(spent < MOST, "{name}: {spent} ticks");
    }
}
