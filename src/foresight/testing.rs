//! Records of requests as a policy decides them, and what gathers them, for the tests of this module.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use crate::decision_log::sealed::Facets;
use crate::decision_log::{Found, Kind, Record};
use crate::name::{Host, Target};
use crate::policy::{
    Client, Denial, Judged, Lookup, Offer, OfferedName, OwnAddresses, Policy, Question, Ruling, Wanted,
};
use crate::redact::{Redacted, clean};
use crate::tls::ProtocolVersion;

/// A request, whole.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) client: &'static str,
    pub(super) identity: Option<&'static str>,
    /// What CONNECT asks for, or the address that a captured client called.
    pub(super) target: &'static str,
    pub(super) captured: bool,
    pub(super) addresses: &'static [&'static str],
    pub(super) sni: Option<&'static str>,
    pub(super) version: ProtocolVersion,
    pub(super) alpn: &'static [&'static str],
    pub(super) at: Timestamp,
}

/// A request of `10.1.0.7` for this name, like most others.
pub(super) fn request(target: &'static str) -> Request {
    Request {
        client: "10.1.0.7",
        identity: None,
        target,
        captured: false,
        addresses: &["93.184.216.34"],
        sni: target.rsplit_once(':').map(|(name, _)| name),
        version: ProtocolVersion::Tls13,
        alpn: &["h2"],
        at: "1970-01-07T12:00:00Z".parse().unwrap(),
    }
}

impl Request {
    /// The record that the proxy writes of it under this policy.
    pub(super) fn record(&self, policy: &Arc<Policy>, id: u128) -> Record {
        let mut client = Client::from(self.client.parse::<IpAddr>().unwrap());
        client.identities = self.identity.iter().map(|text| text.parse().unwrap()).collect();
        let wanted = match self.captured {
            true => Wanted::Called(self.target.parse().unwrap()),
            false => Wanted::connect(self.target),
        };
        let name = self.sni.map_or(OfferedName::Absent, |name| OfferedName::Text(name.into()));
        let alpn = self.alpn.iter().map(|id| (*id).into()).collect();
        let question = Question {
            client: &client,
            wanted: &wanted,
            offer: &Offer { version: self.version, name, alpn },
            at: self.at,
            own: &OwnAddresses::default(),
        };
        let addresses: Vec<IpAddr> = self.addresses.iter().map(|text| text.parse().unwrap()).collect();
        let mut looked_up = false;
        let ruling = question.ask(policy, &mut |_, _| {
            looked_up = true;
            Ok(Some(Lookup { addresses: addresses.clone(), aliases: Vec::new() }))
        });
        let mut record = Record::new(Kind::Decision, self.at, Uuid::from_u128(id), "edge-1".into());
        (record.outcome, record.reason) = (Some(ruling.decided().outcome), Some(ruling.decided().reason.as_str()));
        record.policy = Some(Arc::clone(policy.hash()));
        let block = ruling.denial.as_ref().and_then(Denial::block);
        block.into_iter().for_each(|block| record.detail.add("block", block.id));
        record.client_ip = client.address();
        record.client_identity = self.identity.map(text);
        record.source = ruling.identified.as_ref().map(|identified| Arc::clone(&identified.source().name));
        record.rule = ruling.rule.as_ref().map(|rule| Arc::clone(&rule.id));
        record.customer = ruling.rule.as_ref().map(|rule| Arc::clone(&rule.customer));
        self.to(&ruling, &mut record);
        if looked_up {
            record.addresses = addresses;
        }
        if self.captured || matches!(ruling.addresses, Some(Judged::Good(_))) {
            record.sni = self.sni.map(text);
            record.alpn = self.alpn.iter().map(|id| text(id)).collect();
            record.ech = Some(false);
        }
        record
    }

    /// Where it wanted to go, as the session notes it.
    fn to(&self, ruling: &Ruling, record: &mut Record) {
        if !self.captured {
            record.method = Some(text("CONNECT"));
            let Ok(target) = self.target.parse::<Target>() else { return };
            record.host = Some(text(&target.host().to_string()));
            record.port = Some(target.port());
            if let (Host::Address(address), Some(_)) = (target.host(), &ruling.addresses) {
                record.addresses = vec![*address];
            }
            return;
        }
        let called: SocketAddr = self.target.parse().unwrap();
        (record.original_ip, record.port) = (Some(called.ip()), Some(called.port()));
        let host = ruling.target.as_ref().map(|target| target.host().to_string());
        record.host = Some(text(&host.unwrap_or_else(|| called.ip().to_string())));
    }
}

/// The end of a tunnel that was let through, whose server chose this version.
pub(super) fn close(decision: &Record, version: &'static str) -> Record {
    let mut record = decision.clone();
    (record.kind, record.reason, record.tls_version) = (Kind::Close, Some("client_closed"), Some(version));
    record
}

/// Gives the records, numbered from 0, to `take`.
pub(super) fn give(records: &[Record], mut take: impl FnMut(Found<'_>)) {
    for (seq, record) in (0..).zip(records) {
        let mut line = Vec::new();
        record.line().write_as(seq, &mut line);
        let line = line.strip_suffix(b"\n").unwrap();
        take(Found { line, facets: &Facets::of(line).unwrap() });
    }
}

/// A text from a peer.
pub(super) fn text(text: &str) -> Redacted {
    clean(text.as_bytes(), 1000).text
}
