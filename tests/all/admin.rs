//! The admin port: liveness, readiness, metrics, and what tokens open; closed to whoever comes through the proxy.
//! Not here: what single metrics count. Source: the Prometheus text format 0.0.4; RFC 9110 (methods).

pub mod access;
mod calls;
mod files;
mod keys;
mod log;
mod metrics;
mod operate;
mod queries;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::harness::{PATIENCE, Proxy, SOURCE, Setup, eventually, read_answer, status_of};
use super::origins::{self, Answer, Origin};

const HOSTS: &str = "dns: {hosts: {api.acme.test: [127.0.0.1]}}\n";

fn policy(ports: &str) -> String {
    format!(
        "rules:
  - {{id: acme/api, customer: acme, sources: [tests], hosts: [api.acme.test], ports: [{ports}], addresses: [127.0.0.1/32], review_by: 2030-01-01}}
  - {{id: acme/literal, customer: acme, sources: [tests], networks: [127.0.0.0/8, \"::1/128\"], ports: [{ports}], tls: {{sni: optional}}, wide: true}}
"
    )
}

fn ask(proxy: &Proxy, head: &str) -> String {
    let mut socket = TcpStream::connect(proxy.admin).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(socket, "{head}\r\nHost: admin\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn paths_and_methods() {
    let proxy = Proxy::start(&Setup { policy: &policy("443"), more: HOSTS, ..Setup::default() });
    for (request, status, content, body) in [
        ("GET /livez", 200, "text/plain; charset=utf-8", "ok\n"),
        ("GET /readyz", 200, "text/plain; charset=utf-8", "ok\n"),
        ("GET /livez?verbose", 200, "text/plain; charset=utf-8", "ok\n"),
        ("GET /metrics", 200, "text/plain; version=0.0.4; charset=utf-8", "# HELP "),
        ("HEAD /livez", 200, "text/plain; charset=utf-8", ""),
        ("HEAD /metrics", 200, "text/plain; version=0.0.4; charset=utf-8", ""),
        ("GET /", 404, "text/plain; charset=utf-8", ""),
        ("GET /healthz", 404, "text/plain; charset=utf-8", ""),
        ("GET /livez/", 404, "text/plain; charset=utf-8", ""),
        ("GET /v1", 403, "text/plain; charset=utf-8", "closed: /v1 and /log need `admin.tokens`"),
        ("GET /v1/status", 403, "text/plain; charset=utf-8", "closed: "),
        ("GET /log/checkpoint", 403, "text/plain; charset=utf-8", "closed: "),
        ("POST /v1/policy/reload", 403, "text/plain; charset=utf-8", "closed: "),
        ("GET /v10", 404, "text/plain; charset=utf-8", ""),
        ("POST /livez", 405, "text/plain; charset=utf-8", ""),
        ("PUT /metrics", 405, "text/plain; charset=utf-8", ""),
        ("DELETE /readyz", 405, "text/plain; charset=utf-8", ""),
        ("OPTIONS /metrics", 405, "text/plain; charset=utf-8", ""),
        ("CONNECT api.acme.test:443", 405, "text/plain; charset=utf-8", ""),
    ] {
        let answer = ask(&proxy, &format!("{request} HTTP/1.1"));
        assert_eq!(status_of(&answer), status, "{request}: {answer}");
        let (head, given) = answer.split_once("\r\n\r\n").unwrap();
        let head = head.to_lowercase();
        assert!(head.contains(&format!("\r\ncontent-type: {content}\r\n")), "{request}: {head}");
        assert!(given.starts_with(body), "{request}: {given}");
        assert!(!request.starts_with("HEAD") || given.is_empty(), "{request}: {given}");
        assert!(status != 405 || head.contains("\r\nallow: get, head"), "{request} (RFC 9110 section 15.5.6): {head}");
    }
    proxy.record("the last refused call", |record| record["detail"]["call"] == "POST /v1/policy/reload");
    let calls = proxy.records().into_iter().filter(|record| record["kind"] != "start" && record["kind"] != "heartbeat");
    let refused = |record: &Value| record["kind"] == "admin" && record["detail"]["result"] == "no_tokens_configured";
    assert!(calls.clone().all(|record| refused(&record)), "probes and scrapes leave no records");
    assert_eq!(calls.count(), 4, "refused calls leave one each");
}

#[test]
fn a_draining_proxy_lives_and_is_not_ready() {
    let origin = Origin::start();
    let policy = policy(&origin.port().to_string());
    let proxy = Proxy::start(&Setup { policy: &policy, more: HOSTS, ..Setup::default() });
    let (socket, answer) = origins::open(proxy.edge, origin.port(), 1);
    assert_eq!(answer, Answer::Open);
    proxy.signal("TERM");
    eventually("it is not ready", Instant::now() + PATIENCE, || (proxy.admin_page("/readyz").0 == 503).then_some(()));
    assert_eq!(proxy.admin_page("/readyz").1, "draining\n");
    assert_eq!(proxy.admin_page("/livez").0, 200);
    let (_, answer) = origins::open(proxy.edge, origin.port(), 2);
    assert!(matches!(&answer, Answer::Refused(text) if text.starts_with("HTTP/1.1 503 draining")), "{answer:?}");
    drop(socket);
    assert_eq!(proxy.wait().1, Some(0));
}

#[test]
fn slow_clients_and_many_of_them_do_not_stop_a_probe() {
    let proxy = Proxy::start(&Setup { policy: &policy("443"), more: HOSTS, ..Setup::default() });
    let slow: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut socket = TcpStream::connect(proxy.admin).unwrap();
            socket.write_all(b"GET /metrics HT").unwrap();
            socket
        })
        .collect();
    for path in ["/livez", "/readyz", "/metrics"] {
        let begun = Instant::now();
        assert_eq!(proxy.admin_page(path).0, 200, "{path}");
        assert!(begun.elapsed() < Duration::from_secs(3), "{path} waited for others: {:?}", begun.elapsed());
    }
    let mut first = slow.into_iter().next().unwrap();
    first.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut rest = Vec::new();
    let begun = Instant::now();
    let _ = first.read_to_end(&mut rest);
    assert!(begun.elapsed() < Duration::from_secs(10), "a head that does not come is not waited for");
}

#[test]
fn neither_the_admin_port_nor_the_listener_is_reached_through_the_proxy() {
    let proxy = Proxy::start(&Setup { policy: &policy("443"), more: HOSTS, ..Setup::default() });
    let (edge, admin) = (proxy.edge.port(), proxy.admin.port());
    // The ports are known only now: a rule that lists them, in force by a reload.
    fs::write(proxy.dir.path().join("policy.yaml"), format!("{SOURCE}{}", policy(&format!("{edge}, {admin}"))))
        .unwrap();
    proxy.signal("HUP");
    proxy.record("the reload", |record| record["kind"] == "policy" && record["detail"]["result"] == "in_force");
    for (name, host) in [
        ("by name", "api.acme.test"),
        ("the address", "127.0.0.1"),
        ("mapped into IPv6", "[::ffff:127.0.0.1]"),
        ("mapped into IPv6, in hexadecimal", "[::ffff:7f00:1]"),
    ] {
        for port in [edge, admin] {
            let head = format!("CONNECT {host}:{port} HTTP/1.1\r\n\r\n");
            let (socket, answer) = proxy.ask(head.as_bytes());
            assert!(answer.starts_with("HTTP/1.1 403 address_forbidden\r\n"), "{name} {port}: {answer}");
            assert_eq!(proxy.decision_of(socket.local_addr().unwrap())["outcome"], "deny", "{name} {port}");
        }
    }
    assert_eq!(proxy.admin_page("/livez").0, 200);
    let mut own = proxy.connect();
    own.write_all(b"GET /livez HTTP/1.1\r\nHost: admin\r\n\r\n").unwrap();
    assert_eq!(status_of(&read_answer(&mut own)), 403, "the listener is no admin port");
}
