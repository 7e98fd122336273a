//! The admin port: liveness, readiness, metrics, and what tokens open; closed to whoever comes through the proxy.
//! Not here: what single metrics count. Source: the Prometheus text format 0.0.4; RFC 9110 (methods).

mod access;
mod calls;
mod files;
mod keys;
mod log;
mod operate;
mod queries;

use std::collections::{BTreeMap, BTreeSet};
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

/// Names of the contract that this version has, and the labels that each may have.
const NAMES: [(&str, &str); 22] = [
    ("sallyport_decisions_total", "customer listener outcome reason"),
    ("sallyport_tunnels", "customer"),
    ("sallyport_tunnel_bytes_total", "customer direction"),
    ("sallyport_tunnel_duration_seconds", ""),
    ("sallyport_setup_duration_seconds", "step"),
    ("sallyport_dns_lookups_total", "result"),
    ("sallyport_decision_log_records_total", "kind"),
    ("sallyport_decision_log_size", ""),
    ("sallyport_decision_log_commit_duration_seconds", ""),
    ("sallyport_decision_log_failures_total", ""),
    ("sallyport_redactions_total", "detector"),
    ("sallyport_policy_info", "sha256"),
    ("sallyport_policy_rules", ""),
    ("sallyport_policy_reloads_total", "result"),
    ("sallyport_policy_loaded_timestamp_seconds", ""),
    ("sallyport_rule_review_timestamp_seconds", "rule"),
    ("sallyport_build_info", "version"),
    ("process_cpu_seconds_total", ""),
    ("process_resident_memory_bytes", ""),
    ("process_open_fds", ""),
    ("process_max_fds", ""),
    ("process_start_time_seconds", ""),
];

#[test]
fn metrics_have_the_names_that_are_promised_and_no_label_from_a_peer() {
    let origin = Origin::start();
    let policy = policy(&origin.port().to_string());
    let proxy = Proxy::start(&Setup { policy: &policy, more: HOSTS, ..Setup::default() });
    let (mut socket, answer) = origins::open(proxy.edge, origin.port(), 1);
    assert_eq!(answer, Answer::Open);
    assert!(origins::echoes(&mut socket, b"0123456789"));
    drop(socket);
    for target in ["peer-made-name.example:443", "4111111111111111.example:443", "peer made name"] {
        proxy.ask(
            format!("CONNECT {target} HTTP/1.1\r\nHost: peer-made-name\r\nUser-Agent: peer-made-name\r\n\r\n")
                .as_bytes(),
        );
    }
    proxy.ask(b"PEERMADENAME / HTTP/1.1\r\n\r\n");
    fs::write(proxy.dir.path().join("policy.yaml"), format!("{SOURCE}{policy}# the same rules\n")).unwrap();
    proxy.signal("HUP");
    proxy.record("the reload", |record| record["kind"] == "policy");
    proxy.record("the close", |record| record["kind"] == "close");
    let page = proxy.admin_page("/metrics").1;
    let samples = parse(&page);
    for (name, labels) in NAMES {
        let Some(seen) = samples.get(name) else { panic!("no {name} in\n{page}") };
        assert_eq!(
            seen.labels,
            labels.split(' ').filter(|label| !label.is_empty()).map(str::to_owned).collect(),
            "{name}"
        );
    }
    for peer in ["peer-made", "PEERMADE", "4111111111111111", "127.0.0.1"] {
        assert!(!page.contains(peer), "`{peer}` in\n{page}");
    }
    for line in [
        "sallyport_decisions_total{customer=\"acme\",listener=\"edge\",outcome=\"allow\",reason=\"allowed\"} 1",
        "sallyport_decisions_total{customer=\"-\",listener=\"edge\",outcome=\"deny\",reason=\"destination_not_listed\"} 1",
        "sallyport_tunnels{customer=\"acme\"} 0",
        "sallyport_rule_review_timestamp_seconds{rule=\"acme/api\"} 1893542399",
        "sallyport_policy_reloads_total{result=\"ok\"} 1",
    ] {
        assert!(page.lines().any(|one| one == line), "no {line} in\n{page}");
    }
}

/// One metric as the page has it.
#[derive(Default)]
struct Metric {
    kind: String,
    labels: BTreeSet<String>,
    samples: usize,
}

/// Reads the text format as strictly as its description: HELP and TYPE once and first, samples together, no sample twice.
fn parse(page: &str) -> BTreeMap<String, Metric> {
    assert!(page.ends_with('\n'), "the last line ends");
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    let (mut current, mut seen) = (String::new(), BTreeSet::new());
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            current = help.split(' ').next().unwrap().to_owned();
            assert!(help.len() > current.len() + 1, "{line}: no text");
            assert!(metrics.insert(current.clone(), Metric::default()).is_none(), "{line}: twice");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, current, "{line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}: counters end in _total");
            metrics.get_mut(name).unwrap().kind = kind.to_owned();
        } else {
            let (key, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(seen.insert(key), "{line}: twice");
            let (name, labels) = key.split_once('{').unwrap_or((key, ""));
            let metric = metrics.get_mut(&current).unwrap_or_else(|| panic!("{line}: before its TYPE"));
            let histogram = metric.kind == "histogram";
            let base =
                ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end).filter(|_| histogram));
            assert_eq!(base.unwrap_or(name), current, "{line}: not with its own");
            metric.samples += 1;
            metric.labels.extend(label_names(labels).filter(|label| !(histogram && label == "le")));
        }
    }
    assert!(metrics.values().all(|metric| metric.samples > 0 && !metric.kind.is_empty()));
    metrics
}

fn label_names(labels: &str) -> impl Iterator<Item = String> {
    let pairs = labels.trim_end_matches('}').split("\",").filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (name, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("{pair} is no label"));
        assert!(!value.trim_end_matches('"').contains('"'), "{pair}");
        name.to_owned()
    })
}
