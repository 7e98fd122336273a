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

/// One record. What is unknown stays `None` or empty and is not written. Texts from peers are [`Redacted`]; names
/// from the configuration and words of ours come as they are. Make one with [`Record::new`], then set fields.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the fields are the format's; the manual describes each")]
pub struct Record {
    #[serde(serialize_with = "microseconds")]
    pub time: Timestamp,
    #[serde(serialize_with = "kind")]
    pub kind: Kind,
    pub id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<Uuid>,
    pub instance: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "outcome")]
    pub outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_identity: Option<Redacted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Redacted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Redacted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_template: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress_pool: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sni: Option<Redacted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cipher: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alpn: Vec<Redacted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ech: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_out: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_in: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dial_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hello_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<Redacted>,
    #[serde(skip_serializing_if = "Detail::is_empty")]
    pub detail: Detail,
    #[serde(skip_serializing_if = "Vec::is_empty")]
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

    #[expect(clippy::expect_used, reason = "every key is a string and memory takes every byte, so this can't fail")]
    fn object(&self) -> Vec<u8> {
        let mut object = Vec::with_capacity(USUAL_OBJECT);
        serde_json::to_writer(&mut object, self).expect("a record serialises");
        object
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

/// RFC 3339 in UTC, always with six decimals.
fn microseconds<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.6}"))
}

fn kind<S: Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.as_str())
}

fn outcome<S: Serializer>(outcome: &Option<Outcome>, serializer: S) -> Result<S::Ok, S::Error> {
    outcome.map(Outcome::as_str).serialize(serializer)
}

mod shorten;

#[cfg(test)]
mod tests;
