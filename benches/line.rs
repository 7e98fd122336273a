//! What the pure steps of the straight line cost: policy by size, hello, record, redaction. Compare runs, not absolute times.
#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up stops; criterion makes undocumented items")]

#[path = "shared/client_hello.rs"]
mod client_hello;
#[path = "shared/policy.rs"]
mod policy;

use std::hint::black_box;
use std::sync::Arc;

use client_hello::client_hello;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use policy::policy;
use sallyport::decision_log::{Kind, Record};
use sallyport::name::Target;
use sallyport::policy::{Outcome, Policy, PolicyFile, Setting};
use sallyport::redact;
use sallyport::tls::{HelloReader, Progress};
use sallyport::yaml::Faults;
use uuid::Uuid;

/// A policy of so many exact names, a hundred a rule.
fn loaded(names: usize) -> Arc<Policy> {
    let name = "policy.yaml".to_owned();
    let files = [PolicyFile { path: name.clone(), shown: name, text: policy(names, "10.20.0.0/16", "") }];
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
        let policy = loaded(names);
        let client = "10.20.3.4".parse::<std::net::IpAddr>().expect("an address").into();
        for (what, target) in [("allowed", "h7.c5.customer.example:443"), ("refused", "h7.c5.evil.example:443")] {
            group.bench_function(format!("{what}, {names} names"), |b| {
                b.iter(|| {
                    let target: Target = black_box(target).parse().expect("a target");
                    let identified = policy.identify(&client).expect("a source");
                    identified.request(&target, now).is_ok()
                });
            });
        }
    }
    group.finish();
}

fn hellos(c: &mut Criterion) {
    let bytes = client_hello("api.acme.example");
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
