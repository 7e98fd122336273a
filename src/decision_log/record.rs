//! What one record says: the fields in the order in which they are written.
//! Not here: its number (`log`), redaction (`redact`: texts from peers come as `Redacted`).
//! Source: PCI DSS 10.2.2 (who, what, when, where, outcome).

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::detail::Detail;
use super::entry::{Entry, MAX_OBJECT};
use crate::policy::Outcome;
use crate::redact::{Detector, Found, Redacted};
use object::Object;

/// One record. What is unknown stays `None` or empty and is not written. Texts from peers are [`Redacted`]; names
/// from the configuration and words of ours come as they are. Make one with [`Record::new`], then set fields.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are the format's; the manual describes each")]
pub struct Record {
    pub time: Timestamp,
    pub kind: Kind,
    pub id: Uuid,
    pub parent_id: Option<Uuid>,
    pub instance: Arc<str>,
    pub environment: Option<Arc<str>>,
    pub listener: Option<Arc<str>>,
    pub outcome: Option<Outcome>,
    pub reason: Option<&'static str>,
    pub rule: Option<Arc<str>>,
    pub customer: Option<Arc<str>>,
    pub source: Option<Arc<str>>,
    pub policy: Option<Arc<str>>,
    pub client_ip: Option<IpAddr>,
    pub client_port: Option<u16>,
    pub peer_ip: Option<IpAddr>,
    pub client_identity: Option<Redacted>,
    pub method: Option<Redacted>,
    pub host: Option<Redacted>,
    pub port: Option<u16>,
    pub path_template: Option<Arc<str>>,
    pub original_ip: Option<IpAddr>,
    pub addresses: Vec<IpAddr>,
    pub upstream_ip: Option<IpAddr>,
    pub egress_ip: Option<IpAddr>,
    pub egress_pool: Option<Arc<str>>,
    pub sni: Option<Redacted>,
    pub tls_version: Option<&'static str>,
    pub tls_cipher: Option<Arc<str>>,
    pub alpn: Vec<Redacted>,
    pub ech: Option<bool>,
    pub verify: Option<&'static str>,
    pub bytes_out: Option<u64>,
    pub bytes_in: Option<u64>,
    pub duration_us: Option<u64>,
    pub dns_us: Option<u64>,
    pub dial_us: Option<u64>,
    pub hello_us: Option<u64>,
    pub actor: Option<Redacted>,
    pub detail: Detail,
    pub redacted: Vec<Mark>,
}

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A request was decided; written before a client byte is forwarded.
    Decision,
    /// An allowed tunnel ended; has the id of its decision.
    Close,
    /// Counts of refusals that were too many to write one by one.
    Summary,
    /// A policy came into force or was refused.
    Policy,
    /// A call that changes something, or a refused one.
    Admin,
    /// The proxy started.
    Start,
    /// The proxy stopped.
    Stop,
    /// The proxy lives; makes quiet times provable.
    Heartbeat,
    /// Records left the host.
    Export,
    /// A control did not work for a while: counts of what could not be written, a clock that stepped back.
    ControlFailure,
}

/// One element of `redacted`: which field was changed by which detector. Written as `"host:pan"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The field's name in the record.
    pub field: &'static str,
    /// What changed it.
    pub detector: Detector,
}

impl Record {
    /// A record with the fields that every kind has.
    pub fn new(kind: Kind, time: Timestamp, id: Uuid, instance: Arc<str>) -> Self {
        Self {
            time,
            kind,
            id,
            instance,
            parent_id: None,
            environment: None,
            listener: None,
            outcome: None,
            reason: None,
            rule: None,
            customer: None,
            source: None,
            policy: None,
            client_ip: None,
            client_port: None,
            peer_ip: None,
            client_identity: None,
            method: None,
            host: None,
            port: None,
            path_template: None,
            original_ip: None,
            addresses: Vec::new(),
            upstream_ip: None,
            egress_ip: None,
            egress_pool: None,
            sni: None,
            tls_version: None,
            tls_cipher: None,
            alpn: Vec::new(),
            ech: None,
            verify: None,
            bytes_out: None,
            bytes_in: None,
            duration_us: None,
            dns_us: None,
            dial_us: None,
            hello_us: None,
            actor: None,
            detail: Detail::new(),
            redacted: Vec::new(),
        }
    }

    /// Adds to `redacted` what was `found` in `field`.
    pub fn mark(&mut self, field: &'static str, found: Found) {
        self.redacted.extend(found.iter().map(|detector| Mark { field, detector }));
    }

    /// The record as bytes. One that would be longer than a line may be loses the ends of its texts and lists, and
    /// `redacted` says which (`host:length`); `detail` goes as a whole.
    pub fn line(&self) -> Entry {
        let mut object = self.object();
        if object.len() > MAX_OBJECT {
            let mut shorter = self.clone();
            shorter.shorten();
            object = shorter.object();
        }
        let lets_through = match (self.kind, self.outcome) {
            (Kind::Decision, Some(Outcome::Allow | Outcome::Observe)) => true,
            (_, _) => false,
        };
        Entry::new(self.id, self.kind, lets_through, object)
    }

    /// The fields in the contract's order.
    fn object(&self) -> Vec<u8> {
        let mut object = Object::with_capacity(USUAL_OBJECT);
        // RFC 3339 in UTC, always with six decimals.
        object.shown("time", format_args!("{:.6}", self.time));
        object.text("kind", Some(self.kind.as_str()));
        object.value("id", Some(self.id));
        object.value("parent_id", self.parent_id);
        object.text("instance", Some(&self.instance));
        object.text("environment", self.environment.as_deref());
        object.text("listener", self.listener.as_deref());
        object.text("outcome", self.outcome.map(Outcome::as_str));
        object.text("reason", self.reason);
        object.text("rule", self.rule.as_deref());
        object.text("customer", self.customer.as_deref());
        object.text("source", self.source.as_deref());
        object.text("policy", self.policy.as_deref());
        object.value("client_ip", self.client_ip);
        object.value("client_port", self.client_port);
        object.value("peer_ip", self.peer_ip);
        object.text("client_identity", self.client_identity.as_ref().map(Redacted::as_str));
        object.text("method", self.method.as_ref().map(Redacted::as_str));
        object.text("host", self.host.as_ref().map(Redacted::as_str));
        object.value("port", self.port);
        object.text("path_template", self.path_template.as_deref());
        object.value("original_ip", self.original_ip);
        object.list("addresses", &self.addresses);
        object.value("upstream_ip", self.upstream_ip);
        object.value("egress_ip", self.egress_ip);
        object.text("egress_pool", self.egress_pool.as_deref());
        object.text("sni", self.sni.as_ref().map(Redacted::as_str));
        object.text("tls_version", self.tls_version);
        object.text("tls_cipher", self.tls_cipher.as_deref());
        object.list("alpn", &self.alpn);
        object.value("ech", self.ech);
        object.text("verify", self.verify);
        object.value("bytes_out", self.bytes_out);
        object.value("bytes_in", self.bytes_in);
        object.value("duration_us", self.duration_us);
        object.value("dns_us", self.dns_us);
        object.value("dial_us", self.dial_us);
        object.value("hello_us", self.hello_us);
        object.text("actor", self.actor.as_ref().map(Redacted::as_str));
        object.value("detail", Some(&self.detail).filter(|detail| !detail.is_empty()));
        object.list("redacted", &self.redacted);
        object.finish()
    }
}

/// Bytes that hold most records without growing.
const USUAL_OBJECT: usize = 1024;

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 10] = [
        Kind::Decision,
        Kind::Close,
        Kind::Summary,
        Kind::Policy,
        Kind::Admin,
        Kind::Start,
        Kind::Stop,
        Kind::Heartbeat,
        Kind::Export,
        Kind::ControlFailure,
    ];

    /// Its word, as in records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Decision => "decision",
            Kind::Close => "close",
            Kind::Summary => "summary",
            Kind::Policy => "policy",
            Kind::Admin => "admin",
            Kind::Start => "start",
            Kind::Stop => "stop",
            Kind::Heartbeat => "heartbeat",
            Kind::Export => "export",
            Kind::ControlFailure => "control_failure",
        }
    }
}

impl Serialize for Mark {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}:{}", self.field, self.detector.name()))
    }
}

mod object;
mod shorten;

#[cfg(test)]
mod tests;
