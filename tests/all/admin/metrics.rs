//! The page of metrics of a proxy that has seen all kinds of traffic: the names and labels of the contract, no text of a peer, and
//! nothing that the format's own checker finds. Not here: what single metrics count. Source: the Prometheus text format 0.0.4.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose,
};
use tempfile::TempDir;

use super::files::certify;
use crate::harness::{Proxy, SOURCE, Setup, write_setup};
use crate::origins::{self, Answer, Origin};
use crate::programs::{finish, program};
use crate::sources;

/// A proxy with TLS on its admin port and pages of its own for probes, which then stand for the admin port here.
fn start(policy: &str, more: &str) -> Proxy {
    let dir = TempDir::new().unwrap();
    certify(dir.path(), "admin", "ec -pkeyopt ec_paramgen_curve:P-256");
    let probes = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let more = format!("{more}probes: {{address: \"{probes}\"}}\n");
    let admin = "tls: {certificate: admin.pem, key: admin.key}";
    write_setup(dir.path(), &Setup { policy, more: &more, admin, ..Setup::default() });
    second_listener(dir.path());
    let mut proxy = Proxy::start_in(dir);
    proxy.admin = probes;
    proxy
}

/// One with TLS, certificates of clients and a list of revoked ones.
fn second_listener(dir: &Path) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let list = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2026, 1, 1),
        next_update: rcgen::date_time_ymd(2100, 1, 1),
        crl_number: 1_u64.into(),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    fs::write(dir.join("clients.pem"), authority.pem()).unwrap();
    fs::write(dir.join("clients.crl"), list.signed_by(&authority).unwrap().pem().unwrap()).unwrap();
    let tls = "certificate: admin.pem, key: admin.key, client_auth: required, client_ca: clients.pem, crl: clients.crl";
    let second = format!("mode: connect}}, {{name: tls, address: \"127.0.0.1:0\", tls: {{{tls}}}}}]");
    let config = dir.join("sallyport.yaml");
    fs::write(&config, fs::read_to_string(&config).unwrap().replace("mode: connect}]", &second)).unwrap();
}

/// Allowed, refused by every kind of reason that is quick, and failed; a reload that is taken and one that is not.
fn traffic(proxy: &Proxy, origin: &Origin, policy: &str) {
    let (mut socket, answer) = origins::open(proxy.edge, origin.port(), 1);
    assert_eq!(answer, Answer::Open);
    assert!(origins::echoes(&mut socket, b"0123456789"));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (target, reason) in [
        ("peer-made-name.example:443", "destination_not_listed"),
        ("4111111111111111.example:443", "sensitive_data_in_target"),
        ("peer made name", "malformed_request"),
        ("peer-made-name", "malformed_target"),
        ("api.acme.test:1", "port_not_allowed"),
        (&format!("127.0.0.1:{closed}"), "port_not_allowed"),
        ("lost.acme.test:443", "address_forbidden"),
        ("gone.acme.test:443", "upstream_refused"),
    ] {
        let head = format!("CONNECT {target} HTTP/1.1\r\nHost: peer-made-name\r\nUser-Agent: peer-made-name\r\n\r\n");
        let (_, answer) = proxy.ask(head.as_bytes());
        assert!(answer.contains(reason), "{target}: {answer}");
    }
    proxy.ask(b"PEERMADENAME / HTTP/1.1\r\n\r\n");
    let file = proxy.dir.path().join("policy.yaml");
    for (text, result) in [("peer: 1", "refused"), (&*format!("{SOURCE}{policy}# the same rules\n"), "in_force")] {
        fs::write(&file, text).unwrap();
        proxy.signal("HUP");
        proxy.record(result, |record| record["kind"] == "policy" && record["detail"]["result"] == result);
    }
    drop(socket);
    proxy.record("the close", |record| record["kind"] == "close");
}

/// The metrics that the contract names, each with its labels.
fn promised() -> BTreeMap<String, BTreeSet<String>> {
    let page = sources::repository().into_iter().find(|file| file.path == "docs/contract.md").unwrap().text;
    let section = page.split("\n## ").find(|section| section.starts_with("8. Metrics")).unwrap();
    let more = page.split("\n- ").find(|item| item.starts_with("Metrics beside those named here")).unwrap();
    let more = more.split("\n\n").next().unwrap();
    let names = section.lines().skip(1).chain(more.lines()).flat_map(|line| line.split('`').skip(1).step_by(2));
    let mut promised = BTreeMap::new();
    for name in names.filter(|name| name.starts_with("sallyport_") || name.starts_with('_')) {
        let (name, labels) = name.split_once('{').unwrap_or((name, ""));
        let name = if name.starts_with('_') { format!("sallyport_decision_log{name}") } else { name.to_owned() };
        let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()).map(str::to_owned);
        promised.insert(name, labels.collect());
    }
    promised
}

/// The usual ones (Prometheus, "Writing client libraries").
const PROCESS: [&str; 7] = [
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
];

#[test]
fn the_page_is_the_contracts_list_and_its_checker_finds_nothing() {
    let origin = Origin::start();
    let until = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().tomorrow().unwrap();
    let policy = format!(
        "  - {{name: general, subnets: [127.9.0.0/16], class: general, mode: report, report_until: {until}, egress: pool}}
rules:
  - {{id: acme/api, customer: acme, sources: [tests], hosts: [api.acme.test], ports: [{}], addresses: [127.0.0.1/32], egress: pool,
     review_by: 2030-01-01, limits: {{tunnels: 1000}}}}
  - {{id: acme/gone, customer: acme, sources: [tests], hosts: [gone.acme.test], addresses: [127.0.0.0/8], wide: true}}
  - {{id: acme/lost, customer: acme, sources: [tests], hosts: [lost.acme.test]}}
  - {{id: acme/literal, customer: acme, sources: [tests], networks: [127.0.0.0/8, \"::1/128\"], tls: {{sni: optional}}, wide: true}}
",
        origin.port()
    );
    let more = "egress: {pools: {pool: {bind: [127.0.0.1/32]}}}
dns: {hosts: {api.acme.test: [127.0.0.1], gone.acme.test: [127.91.92.93], lost.acme.test: [127.0.0.1]}}
";
    let proxy = start(&policy, more);
    traffic(&proxy, &origin, &policy);
    let page = proxy.admin_page("/metrics").1;
    let found: BTreeMap<String, BTreeSet<String>> =
        parse(&page).into_iter().map(|(name, metric)| (name, metric.labels)).collect();
    let mut want = promised();
    assert!(want.len() > 20, "{want:?}");
    want.extend(PROCESS.map(|name| (name.to_owned(), BTreeSet::new())));
    assert_eq!(found, want, "\n{page}");
    for peer in ["peer-made", "PEERMADE", "4111111111111111", "127.91"] {
        assert!(!page.contains(peer), "`{peer}` in\n{page}");
    }
    for line in [
        "sallyport_decisions_total{customer=\"acme\",listener=\"edge\",outcome=\"allow\",reason=\"allowed\"} 1",
        "sallyport_decisions_total{customer=\"acme\",listener=\"edge\",outcome=\"error\",reason=\"upstream_refused\"} 1",
        "sallyport_decisions_total{customer=\"-\",listener=\"edge\",outcome=\"deny\",reason=\"destination_not_listed\"} 1",
        "sallyport_crl_next_update_timestamp_seconds{listener=\"tls\"} 4102444800",
        "sallyport_tunnels{customer=\"acme\"} 0",
        "sallyport_tunnel_bytes_total{customer=\"acme\",direction=\"out\"} ",
        "sallyport_egress_connections{address=\"127.0.0.1\",pool=\"pool\"} 0",
        "sallyport_rule_review_timestamp_seconds{rule=\"acme/api\"} 1893542399",
        "sallyport_certificate_expiry_timestamp_seconds{name=\"admin\"} ",
        "sallyport_policy_reloads_total{result=\"ok\"} 1",
        "sallyport_policy_reloads_total{result=\"refused\"} 1",
    ] {
        assert!(page.lines().any(|one| one.starts_with(line)), "no {line} in\n{page}");
    }
    let checked = finish(program("promtool").args(["check", "metrics"]), &page);
    assert_eq!((checked.code, &*checked.out, &*checked.err), (Some(0), "", ""), "\n{page}");
}

#[test]
fn the_checker_finds_what_is_wrong() {
    let page = "# HELP sallyport_x_total Help.\n# TYPE sallyport_x_total gauge\nsallyport_x_total 1\n";
    assert_ne!(finish(program("promtool").args(["check", "metrics"]), page).code, Some(0));
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
