//! Records of an allowed tunnel, with the fields that such ones have.
//! Not here: what becomes of them.

use jiff::Timestamp;
use sallyport::decision_log::{Entry, Kind, Record};
use sallyport::policy::Outcome;
use sallyport::redact;
use uuid::Uuid;

/// A decision, and the close that belongs to it.
pub fn tunnel() -> (Entry, Entry) {
    let id = Uuid::now_v7();
    let mut close = record(Kind::Close, id);
    close.reason = Some("client_closed");
    close.tls_version = Some("1.3");
    close.tls_cipher = Some("TLS_AES_128_GCM_SHA256".into());
    (close.bytes_out, close.bytes_in, close.duration_us) = (Some(1_893), Some(5_120), Some(81_234));
    (record(Kind::Decision, id).line(), close.line())
}

fn record(kind: Kind, id: Uuid) -> Record {
    let mut record = Record::new(kind, Timestamp::now(), id, "edge-1".into());
    record.environment = Some("production".into());
    record.listener = Some("edge".into());
    record.outcome = Some(Outcome::Allow);
    record.reason = Some("allowed");
    record.rule = Some("acme/payments".into());
    record.customer = Some("acme".into());
    record.source = Some("ivr-east".into());
    record.policy = Some("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef".into());
    record.client_ip = "10.20.0.7".parse().ok();
    record.client_port = Some(40_000);
    record.method = Some(redact::clean(b"CONNECT", 32).text);
    record.host = Some(redact::clean_name(b"api.acme.example", 253).text);
    record.port = Some(443);
    record.addresses = "192.0.2.7".parse().into_iter().collect();
    record.upstream_ip = record.addresses.first().copied();
    record.egress_ip = "198.51.100.1".parse().ok();
    record.sni = record.host.clone();
    record
}
