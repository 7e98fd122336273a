//! What one record says of its request, read where it stands in the line: nothing is copied that has no escapes.
//! Not here: what belongs to which kind (`decision_log::Record`), judging it again (`judge`). Source: the contract's list of fields.

use std::borrow::Cow;
use std::net::IpAddr;

use jiff::Timestamp;

use crate::decision_log::Found;
use crate::decision_log::sealed::{Facet, Fields, Raw, RecordTime};
use crate::policy::Outcome;

/// The fields that say how a request came out and what it came to that. What a line lacks is `None`; lists stand as they are written.
#[derive(Clone, Debug)]
pub(super) struct Seen<'a> {
    pub(super) time: RecordTime,
    pub(super) kind: &'a str,
    pub(super) id: &'a str,
    pub(super) outcome: Option<Outcome>,
    pub(super) reason: Option<&'a str>,
    pub(super) rule: Option<&'a str>,
    pub(super) source: Option<&'a str>,
    pub(super) host: Option<&'a str>,
    pub(super) seq: u64,
    environment: Text<'a>,
    policy: Text<'a>,
    client_ip: Text<'a>,
    client_identity: Text<'a>,
    method: Text<'a>,
    original_ip: Text<'a>,
    sni: Text<'a>,
    tls_version: Text<'a>,
    pub(super) port: Option<u16>,
    pub(super) ech: Option<bool>,
    addresses: &'a str,
    alpn: &'a str,
    detail: &'a str,
    redacted: &'a str,
}

type Text<'a> = Option<Cow<'a, str>>;

impl<'a> Seen<'a> {
    /// Reads a record. Its walk has read the line up to its host; what is malformed behind that is absent here.
    pub(super) fn of(found: Found<'a>) -> Self {
        let facets = found.facets;
        let get = |facet| facets.get(facet);
        let mut seen = Self {
            time: facets.time(),
            kind: get(Facet::Kind).unwrap_or_default(),
            id: get(Facet::Id).unwrap_or_default(),
            outcome: get(Facet::Outcome).and_then(|word| word.parse().ok()),
            reason: get(Facet::Reason),
            rule: get(Facet::Rule),
            source: get(Facet::Source),
            host: get(Facet::Host),
            seq: facets.seq(),
            environment: None,
            policy: None,
            client_ip: None,
            client_identity: None,
            method: None,
            original_ip: None,
            sni: None,
            tls_version: None,
            port: None,
            ech: None,
            addresses: "",
            alpn: "",
            detail: "",
            redacted: "",
        };
        let line = str::from_utf8(found.line).unwrap_or_default();
        Fields::of(line).map_while(Result::ok).for_each(|(key, raw)| seen.set(key, raw));
        seen
    }

    fn set(&mut self, key: &str, raw: Raw<'a>) {
        let json = || str::from_utf8(raw.json()).unwrap_or_default();
        match key {
            "environment" => self.environment = raw.text(),
            "policy" => self.policy = raw.text(),
            "client_ip" => self.client_ip = raw.text(),
            "client_identity" => self.client_identity = raw.text(),
            "method" => self.method = raw.text(),
            "port" => self.port = json().parse().ok(),
            "original_ip" => self.original_ip = raw.text(),
            "addresses" => self.addresses = json(),
            "sni" => self.sni = raw.text(),
            "tls_version" => self.tls_version = raw.text(),
            "alpn" => self.alpn = json(),
            "ech" => self.ech = json().parse().ok(),
            "detail" => self.detail = json(),
            "redacted" => self.redacted = json(),
            _ => {}
        }
    }

    pub(super) fn environment(&self) -> Option<&str> {
        self.environment.as_deref()
    }

    /// The hash of the policy that decided.
    pub(super) fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    pub(super) fn client_ip(&self) -> Option<IpAddr> {
        self.client_ip.as_deref()?.parse().ok()
    }

    pub(super) fn client_identity(&self) -> Option<&str> {
        self.client_identity.as_deref()
    }

    pub(super) fn method(&self) -> Option<&str> {
        self.method.as_deref()
    }

    pub(super) fn original_ip(&self) -> Option<IpAddr> {
        self.original_ip.as_deref()?.parse().ok()
    }

    pub(super) fn sni(&self) -> Option<&str> {
        self.sni.as_deref()
    }

    pub(super) fn tls_version(&self) -> Option<&str> {
        self.tls_version.as_deref()
    }

    /// The addresses that its name resolved to.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        items(self.addresses).filter_map(|item| item.parse().ok())
    }

    /// The protocols that its client offered.
    pub(super) fn alpn(&self) -> Vec<String> {
        serde_json::from_str(if self.alpn.is_empty() { "[]" } else { self.alpn }).unwrap_or_default()
    }

    /// The names that the answer for its name went through.
    pub(super) fn aliases(&self) -> Vec<String> {
        #[derive(serde::Deserialize)]
        struct Told {
            #[serde(default)]
            aliases: Vec<String>,
        }
        if !self.detail.contains("\"aliases\"") {
            return Vec::new();
        }
        serde_json::from_str(self.detail).map(|told: Told| told.aliases).unwrap_or_default()
    }

    /// Whether an emergency block refused it.
    pub(super) fn is_blocked(&self) -> bool {
        #[derive(serde::Deserialize)]
        struct Told {
            block: Option<serde::de::IgnoredAny>,
        }
        self.detail.contains("\"block\"")
            && serde_json::from_str(self.detail).is_ok_and(|told: Told| told.block.is_some())
    }

    /// Of a summary, how many refusals it stands for.
    pub(super) fn count(&self) -> u64 {
        #[derive(serde::Deserialize)]
        struct Told {
            count: u64,
        }
        serde_json::from_str(self.detail).map_or(0, |told: Told| told.count)
    }

    /// Whether redaction changed this field, so that it is not what the client sent.
    pub(super) fn is_redacted(&self, field: &str) -> bool {
        items(self.redacted).any(|item| item.strip_prefix(field).is_some_and(|rest| rest.starts_with(':')))
    }

    /// When, as a point in time.
    pub(super) fn at(&self) -> Timestamp {
        self.time.as_str().parse().unwrap_or_default()
    }

    /// The lists as they are written, for telling two requests apart.
    pub(super) fn lists(&self) -> [&str; 4] {
        [self.addresses, self.alpn, if self.detail.contains("\"aliases\"") { self.detail } else { "" }, self.redacted]
    }
}

/// The texts of a list that has no escapes: addresses, and our own words.
fn items(json: &str) -> impl Iterator<Item = &str> {
    let inner = json.strip_prefix('[').and_then(|json| json.strip_suffix(']')).unwrap_or_default();
    inner.split(',').map(|item| item.trim_matches('"')).filter(|item| !item.is_empty())
}
