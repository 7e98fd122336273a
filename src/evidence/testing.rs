//! Records and lines for the tests of this module.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use crate::decision_log::faulty::{Fault, FaultyStore};
use crate::decision_log::{Detail, End, Kind, Log, Mark, Record};
use crate::policy::{Matrix, Outcome, testing};
use crate::redact::{Detector, Redacted, clean};

/// A record of the connection `number`, written `number` seconds after the epoch; a refusal if it is a decision.
pub(crate) fn record(kind: Kind, number: u32) -> Record {
    let time = Timestamp::from_second(number.into()).unwrap();
    let mut record = Record::new(kind, time, Uuid::from_u128(number.into()), "edge-1".into());
    if matches!(kind, Kind::Decision | Kind::Close) {
        record.outcome = Some(Outcome::Deny);
        record.reason = Some("destination_not_listed");
        record.client_ip = Some(IpAddr::from([10, 20, 0, 7]));
        record.host = Some(text("api.acme.example"));
        record.port = Some(443);
    }
    record
}

/// A decision that lets connection `number` through.
pub(crate) fn allowed(number: u32) -> Record {
    let mut record = record(Kind::Decision, number);
    (record.outcome, record.reason) = (Some(Outcome::Allow), Some("allowed"));
    record
}

/// The end of connection `number`, a second later.
pub(crate) fn closed(number: u32) -> Record {
    let mut record = record(Kind::Close, number);
    record.time = Timestamp::from_second(i64::from(number) + 1).unwrap();
    (record.outcome, record.reason) = (Some(Outcome::Allow), Some("client_closed"));
    (record.bytes_out, record.bytes_in) = (Some(100), Some(2000));
    record
}

/// Every field there is, each with a value of its own.
pub(crate) fn full(kind: Kind) -> Record {
    let name = |name: &str| Some(Arc::<str>::from(name));
    let ip = |last: u8| Some(IpAddr::from([192, 0, 2, last]));
    Record {
        time: "2026-11-21T10:00:01.000002Z".parse().unwrap(),
        kind,
        id: Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001),
        parent_id: Some(Uuid::from_u128(2)),
        instance: "edge-1".into(),
        environment: name("production"),
        listener: name("edge"),
        outcome: Some(Outcome::Allow),
        reason: Some(if kind == Kind::Close { "client_closed" } else { "allowed" }),
        rule: name("acme/payments"),
        customer: name("acme"),
        source: name("ivr-east"),
        policy: name("5f0c"),
        client_ip: ip(1),
        client_port: Some(40_001),
        peer_ip: ip(2),
        client_identity: Some(text("spiffe://voice.example/ivr/7")),
        method: Some(text("CONNECT")),
        host: Some(text("api.acme.example")),
        port: Some(443),
        path_template: name("/v1/charges/{id}"),
        original_ip: ip(3),
        addresses: vec![IpAddr::from([203, 0, 113, 4])],
        upstream_ip: Some(IpAddr::from([203, 0, 113, 5])),
        egress_ip: ip(6),
        egress_pool: name("static-a"),
        sni: Some(text("pay.acme.example")),
        tls_version: Some("1.3"),
        tls_cipher: name("TLS_AES_128_GCM_SHA256"),
        alpn: vec![text("h2")],
        ech: Some(true),
        verify: Some("require"),
        bytes_out: Some(1_001),
        bytes_in: Some(20_002),
        duration_us: Some(3_000_300),
        dns_us: Some(404),
        dial_us: Some(505),
        hello_us: Some(606),
        actor: Some(text("ops-1")),
        detail: Detail::new().with("what", "clock"),
        redacted: vec![Mark { field: "host", detector: Detector::CardNumber }],
    }
}

/// The record as the line with this number.
pub(crate) fn line(record: &Record, seq: u64) -> Vec<u8> {
    let mut log = Log::resume(End { next: seq, length: 0 }, u64::MAX);
    log.commit(vec![record.line()], &mut FaultyStore::failing(usize::MAX, 0, Fault::Nothing)).unwrap();
    log.committed().to_vec()
}

/// A text from a peer.
pub(crate) fn text(text: &str) -> Redacted {
    clean(text.as_bytes(), 1000).text
}

/// The matrix of a small policy with most of what a row can say.
pub(crate) fn matrix() -> Matrix {
    let text = "version: 1
sources: [{name: a, subnets: [10.20.0.0/24]}]
rules:
  - {id: c/names, customer: c, sources: [a], hosts: [api.c.example], owner: '=1+1', purpose: 'first, and last'}
  - {id: c/net, customer: c, sources: [a], networks: [198.51.100.0/28], ports: [8443], egress: pool, location: DEU,
     limits: {tunnels: 5, rate: 10/m, bytes_out: 1GiB/day, idle_timeout: 10m, lifetime: 1h},
     tls: {min_version: '1.3', alpn: [h2, a], sni: optional, sni_names: [y.example, x.example], ech: allow}, expires: 2027-12-31,
     hours: {days: [fri], from: '22:00', to: '06:00', zone: UTC}, review_by: 2027-05-01, ticket: T-1, existing: cut}
";
    Matrix::new(&Arc::new(testing::policy(text)))
}
