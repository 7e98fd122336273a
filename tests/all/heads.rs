//! Heads of every kind through a real socket: each bad one gets a refusal with its reason, one record, and no byte goes on.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};

use super::harness::{Proxy, Setup, read_answer, status_of};

/// A rule that reaches one name on every port that the tests use.
const POLICY: &str = "rules:
  - {id: acme/api, customer: acme, sources: [tests, tests6], hosts: [api.acme.test], ports: [443, 8443], addresses: [127.0.0.0/8], wide: true}
";
const HOSTS: &str = "dns: {hosts: {api.acme.test: [127.0.0.1]}}
limits: {head_timeout: 300ms}
";

fn proxy() -> Proxy {
    Proxy::start(&Setup { policy: POLICY, more: HOSTS, ..Setup::default() })
}

/// A row: name, head, status, reason or how it begins.
type Row = (&'static str, String, u16, &'static str);

fn bad_heads() -> Vec<Row> {
    let mut rows: Vec<Row> = BAD_AUTHORITIES
        .iter()
        .map(|&(name, authority, status, reason)| {
            (name, format!("CONNECT {authority} HTTP/1.1\r\n\r\n"), status, reason)
        })
        .collect();
    let rest = "HTTP/1.1\r\nHost: api.acme.test\r\n\r\n";
    rows.extend(BAD_METHODS.iter().map(|&(name, line, reason)| (name, format!("{line} {rest}"), 403, reason)));
    rows.extend(BROKEN.iter().map(|&(name, head)| (name, head.to_owned(), 400, "malformed_request")));
    let long = format!("CONNECT api.acme.test:443 HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(9000));
    let many = format!("CONNECT api.acme.test:443 HTTP/1.1\r\n{}\r\n", "X: a\r\n".repeat(65));
    rows.push(("long", long, 400, "malformed_request"));
    rows.push(("many fields", many, 400, "malformed_request"));
    rows
}

/// Targets of a CONNECT.
const BAD_AUTHORITIES: &[(&str, &str, u16, &str)] = &[
    ("no port", "api.acme.test", 400, "malformed_target"),
    ("empty port", "api.acme.test:", 400, "malformed_target"),
    ("port with a zero", "api.acme.test:0443", 400, "malformed_target"),
    ("port with a sign", "api.acme.test:+443", 400, "malformed_target"),
    ("port too large", "api.acme.test:65979", 400, "malformed_target"),
    ("two dots", "api.acme.test..:443", 400, "malformed_target"),
    ("brackets", "[api.acme.test]:443", 400, "malformed_"),
    ("user", "user@api.acme.test:443", 400, "malformed_target"),
    ("wildcard", "*:443", 400, "malformed_target"),
    ("octal address", "0177.0.0.1:443", 400, "malformed_target"),
    ("hex address", "0x7f.1:443", 400, "malformed_target"),
    ("number", "2130706433:443", 400, "malformed_target"),
    ("zone", "[fe80::1%25eth0]:443", 400, "malformed_"),
    ("bare v6", "::1:443", 400, "malformed_"),
    ("absolute form", "http://api.acme.test:443/", 400, "malformed_target"),
    ("path", "api.acme.test:443/path", 400, "malformed_"),
    ("utf-8", "аpi.acme.test:443", 400, "malformed_"),
    ("nul", "api.acme.test\0.evil.example:443", 400, "malformed_"),
    ("unlisted", "evil.example:443", 403, "destination_not_listed"),
    ("other port", "api.acme.test:22", 403, "port_not_allowed"),
    ("card number", "4111-1111-1111-1111.evil.example:443", 403, "sensitive_data_in_target"),
];

/// First lines that ask for no tunnel.
const BAD_METHODS: &[(&str, &str, &str)] = &[
    ("plaintext", "GET http://api.acme.test/?card=4111111111111111", "plaintext_http"),
    ("https by get", "GET https://api.acme.test/", "method_not_allowed"),
    ("origin form", "GET /", "method_not_allowed"),
    ("post", "POST /", "method_not_allowed"),
    ("options", "OPTIONS *", "method_not_allowed"),
    ("lower case", "connect api.acme.test:443", "method_not_allowed"),
];

/// Heads that are not HTTP/1.1 as it should be.
const BROKEN: &[(&str, &str)] = &[
    ("two hosts", "CONNECT api.acme.test:443 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("length", "CONNECT api.acme.test:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"),
    ("chunked", "CONNECT api.acme.test:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("bare line feeds", "CONNECT api.acme.test:443 HTTP/1.1\n\n"),
    ("folded", "CONNECT api.acme.test:443 HTTP/1.1\r\nX: a\r\n b\r\n\r\n"),
    ("space before colon", "CONNECT api.acme.test:443 HTTP/1.1\r\nHost : a\r\n\r\n"),
    ("two spaces", "CONNECT  api.acme.test:443 HTTP/1.1\r\n\r\n"),
    ("nul in a field", "CONNECT api.acme.test:443 HTTP/1.1\r\nX: a\0b\r\n\r\n"),
    ("http/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("tls", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\r\n\r\n"),
];

#[test]
fn every_bad_head_is_refused_with_its_reason_and_one_record() {
    let proxy = proxy();
    for (name, head, status, reason) in bad_heads() {
        let (socket, answer) = proxy.ask(head.as_bytes());
        assert_eq!(status_of(&answer), status, "{name}: {answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{name}: {answer}"));
        let problem: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{name}: {e}: {answer}"));
        let given = problem["reason"].as_str().unwrap();
        assert!(given.starts_with(reason), "{name}: {given}");
        assert!(head.starts_with(&format!("HTTP/1.1 {status} {given}")), "{name}: {head}");
        assert!(head.contains("Content-Type: application/problem+json"), "{name}: {head}");
        assert!(head.contains(&format!("details=\"{given}\"")), "{name}: {head}");
        assert!(!answer.contains("evil.example"), "{name} repeats the request: {answer}");
        let record = proxy.decision_of(socket.local_addr().unwrap());
        assert_eq!(record["reason"], given, "{name}");
        assert_eq!(record["id"], problem["decision_id"], "{name}");
        let mut written = record.clone();
        // These are hexadecimal, and may hold any digits.
        for ours in ["id", "policy"] {
            written.as_object_mut().unwrap().remove(ours);
        }
        assert!(!written.to_string().contains("4111"), "{name}: {record}");
    }
    let seqs: Vec<u64> = proxy.records().iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (0..seqs.len() as u64).collect::<Vec<_>>(), "numbers without gaps");
}

/// Paths, queries, users and passwords are never written, not even of a target that is none.
#[test]
fn of_a_malformed_target_only_the_host_is_written() {
    let proxy = proxy();
    for (target, host) in [
        ("/secret/path?token=abc", None),
        ("user:hunter2@api.acme.test:443", Some("api.acme.test:443")),
        ("api.acme.test:443/secret?token=abc", Some("api.acme.test:443")),
        ("hunter2/hunter2@api.acme.test:443", None),
        ("hunter2?hunter2@api.acme.test:443", None),
        ("hunter2#hunter2@api.acme.test:443", None),
        ("http://user:hunter2@api.acme.test:443/secret", Some("api.acme.test")),
        ("api.acme.test", Some("api.acme.test")),
    ] {
        let (socket, answer) = proxy.ask(format!("CONNECT {target} HTTP/1.1\r\n\r\n").as_bytes());
        assert_eq!(status_of(&answer), 400, "{target}: {answer}");
        let record = proxy.decision_of(socket.local_addr().unwrap());
        for secret in ["secret", "hunter2", "token"] {
            assert!(!record.to_string().contains(secret), "{target}: {record}");
        }
        // A target that hyper refuses has no host in its record.
        if record["reason"] == "malformed_target" {
            assert_eq!(record["host"].as_str(), host, "{target}");
        }
    }
}

#[test]
fn a_head_may_come_in_any_pieces() {
    let proxy = proxy();
    let head = b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n";
    for cut in 1..head.len() - 1 {
        let mut socket = proxy.connect();
        socket.write_all(&head[..cut]).unwrap();
        socket.write_all(&head[cut..]).unwrap();
        assert_eq!(status_of(&read_answer(&mut socket)), 403, "cut at {cut}");
    }
}

#[test]
fn a_slow_head_meets_its_deadline_and_a_silent_connection_leaves_no_record_if_it_closes() {
    let proxy = proxy();
    let mut slow = proxy.connect();
    slow.write_all(b"CONNECT api.acme.test:443 HTTP/1.1\r\nHost: ").unwrap();
    let answer = read_answer(&mut slow);
    assert!(answer.starts_with("HTTP/1.1 403 head_timeout"), "{answer}");

    let silent = proxy.connect();
    let address = silent.local_addr().unwrap();
    drop(silent);
    let mut cut = proxy.connect();
    cut.write_all(b"CONNECT api.ac").unwrap();
    cut.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    let _ = cut.read_to_end(&mut rest);
    assert_eq!(proxy.decision_of(cut.local_addr().unwrap())["reason"], "client_gone");
    assert!(!proxy.records().iter().any(|record| record["client_port"] == address.port()), "a silent one is counted");
    let (_, page) = proxy.admin_page("/metrics");
    assert!(page.contains("sallyport_connections_silent_total 1"), "{page}");
}

#[test]
fn an_unread_body_does_not_cost_the_answer() {
    let proxy = proxy();
    for _ in 0..20 {
        let mut socket = proxy.connect();
        socket.write_all(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n").unwrap();
        let _ = socket.write_all(&[b'x'; 100_000]);
        let answer = read_answer(&mut socket);
        assert!(answer.starts_with("HTTP/1.1 403 method_not_allowed"), "{answer}");
    }
}

#[test]
fn http_1_0_and_no_host_field_work() {
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = origin.local_addr().unwrap().port();
    let policy = POLICY.replace("443, 8443", &port.to_string());
    let proxy = Proxy::start(&Setup { policy: &policy, more: HOSTS, ..Setup::default() });
    for head in [
        format!("CONNECT api.acme.test:{port} HTTP/1.0\r\n\r\n"),
        format!("CONNECT api.acme.test:{port} HTTP/1.1\r\n\r\n"),
        format!("CONNECT API.Acme.Test.:{port} HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n"),
    ] {
        let (_, answer) = proxy.ask(head.as_bytes());
        assert_eq!(answer, "HTTP/1.1 200 Connection established\r\n\r\n", "{head}");
    }
}
