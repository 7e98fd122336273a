//! What the pure steps of the straight line cost: policy by size, hello, record, redaction. Compare runs, not absolute times.
#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up stops; criterion makes undocumented items")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use sallyport::decision_log::{Kind, Record};
use sallyport::name::Target;
use sallyport::policy::{Outcome, Policy, PolicyFile, Setting};
use sallyport::redact;
use sallyport::tls::{HelloReader, Progress};
use sallyport::yaml::Faults;
use uuid::Uuid;

/// A policy of so many exact names, a hundred a rule.
fn policy(names: usize) -> Arc<Policy> {
    let mut text = "version: 1\nsources: [{name: load, subnets: [10.20.0.0/16]}]\nrules:\n".to_owned();
    for rule in 0..names.div_ceil(100) {
        let hosts: Vec<String> = (0..100).map(|host| format!("h{host}.c{rule}.customer.example")).collect();
        text.push_str(&format!(
            "  - {{id: c{rule}/https, customer: c{rule}, sources: [load], hosts: [{}]}}\n",
            hosts.join(", ")
        ));
    }
    let name = "policy.yaml".to_owned();
    let files = [PolicyFile { path: name.clone(), shown: name, text }];
    let mut faults = Faults::new();
    let policy = Policy::load(&files, &Setting::default(), &mut faults);
    assert!(faults.is_empty(), "{:?}", faults.iter().next());
    Arc::new(policy.expect("a policy without faults"))
}

fn requests(c: &mut Criterion) {
    let mut group = c.benchmark_group("policy");
    group.throughput(Throughput::Elements(1));
    let now = Timestamp::now();
    for names in [1_000, 1_000_000] {
        let policy = policy(names);
        let client = "10.20.3.4".parse().expect("an address");
        for (what, target) in [("allowed", "h7.c5.customer.example:443"), ("refused", "h7.c5.evil.example:443")] {
            group.bench_function(format!("{what}, {names} names"), |b| {
                b.iter(|| {
                    let target: Target = black_box(target).parse().expect("a target");
                    let identified = policy.identify(client).expect("a source");
                    identified.request(&target, now).is_ok()
                });
            });
        }
    }
    group.finish();
}

/// A ClientHello for TLS 1.3 with SNI and ALPN, by rustls.
fn client_hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = "api.acme.example".try_into().expect("a name");
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("a hello");
    bytes
}

fn hellos(c: &mut Criterion) {
    let bytes = client_hello();
    let mut group = c.benchmark_group("hello");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("in one segment", |b| {
        b.iter(|| {
            let mut reader = HelloReader::new();
            assert!(matches!(reader.push(black_box(&bytes)), Ok(Progress::Complete(_))));
        });
    });
    group.finish();
}

fn records(c: &mut Criterion) {
    let mut record = Record::new(Kind::Decision, Timestamp::now(), Uuid::now_v7(), "edge-1".into());
    record.outcome = Some(Outcome::Allow);
    record.reason = Some("allowed");
    record.rule = Some("acme/payments".into());
    record.customer = Some("acme".into());
    record.source = Some("ivr-east".into());
    record.client_ip = "10.20.0.7".parse().ok();
    record.host = Some(redact::clean_name(b"api.acme.example", 253).text);
    record.port = Some(443);
    let mut group = c.benchmark_group("record");
    group.throughput(Throughput::Elements(1));
    group.bench_function("serialise", |b| b.iter(|| black_box(&record).line()));
    group.bench_function("clean a host", |b| b.iter(|| redact::clean_name(black_box(b"api.acme.example"), 253)));
    group.finish();
}

criterion_group!(benches, requests, hellos, records);
criterion_main!(benches);
