//! A recorded request judged again by another policy, stage by stage, as far as its record goes.
//! Not here: counting what comes out (`replay`). What a record lacks is never made up: it is said.
//! Source: the contract's order of reasons, and what records hold of each stage.

use std::net::SocketAddr;
use std::sync::Arc;

use super::seen::Seen;
use crate::name::{Fqdn, Host, Target};
use crate::policy::{
    Admitted, Allowed, Answer, Certificate, Client, Decided, Denial, Identified, Origin, Outcome, OwnAddresses, Policy,
    Reason, RequestHead, Routed,
};
use crate::tls::{ClientHello, ProtocolVersion, ServerName};

/// What comes of a recorded request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Judged {
    /// This.
    Ruled(Ruled),
    /// Nobody can say: the record lacks this.
    Unjudged(Missing),
}

/// A decision, as records tell it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Ruled {
    pub(super) outcome: Outcome,
    pub(super) reason: Reason,
    pub(super) rule: Option<Arc<str>>,
    /// What could still refuse it and is not on record.
    pub(super) open: Option<Open>,
}

/// What a refused request never came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Open {
    /// Neither its name's addresses nor its hello are known.
    Addresses,
    /// Its hello is not known.
    Hello,
    /// The same, and it was refused for addresses that may have been the proxy's own, which no record says.
    OwnAddress,
}

/// What a record lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Missing {
    /// Where the request wanted to go: it did not say, or that was redacted.
    Target,
    /// What the client proved to be, before it was redacted.
    Identity,
    /// The hello, by which captured connections are judged; or it was redacted.
    Hello,
    /// Which TLS version below the old rule's the client offered.
    TlsVersion,
    /// Everything but source and reason: it is one of many in a summary.
    Request,
}

/// How far a request came that has this reason, and so what its record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// Its target was judged, or could have been.
    Request,
    /// Its head was refused, whatever a policy says of its target.
    Head,
    /// What refused it is not the policy: limits, the log, lookups, the network, bytes that are no TLS.
    Elsewhere,
}

impl Reached {
    /// By the reason of a decision.
    pub(super) fn by(reason: Reason) -> Self {
        use Reason as R;
        match reason {
            R::Allowed | R::SourceUnknown | R::EnvironmentMismatch | R::IdentityRequired | R::IdentityNotAllowed => {
                Self::Request
            }
            R::CredentialsMissing | R::SensitiveDataInTarget | R::DestinationDenied | R::DestinationNotListed => {
                Self::Request
            }
            R::PortNotAllowed | R::RuleExpired | R::OutsideHours | R::AddressForbidden => Self::Request,
            R::SniMissing | R::SniMismatch | R::EchPresent | R::TlsVersionTooLow | R::AlpnNotAllowed => Self::Request,
            R::PlaintextHttp | R::MethodNotAllowed | R::MalformedTarget => Self::Head,
            R::ClientCertificateInvalid
            | R::ClientCertificateRevoked
            | R::CredentialsWrong
            | R::ProxyProtocolRefused => Self::Elsewhere,
            R::MalformedRequest | R::HeadTimeout | R::Overloaded | R::ConnectionLimit | R::TunnelLimit => {
                Self::Elsewhere
            }
            R::RateLimited | R::ByteBudgetSpent | R::Draining | R::DnsFailure | R::DnsTimeout => Self::Elsewhere,
            R::DnssecBogus | R::UpstreamRefused | R::UpstreamTimeout | R::UpstreamUnreachable => Self::Elsewhere,
            R::EgressAddressUnavailable | R::EgressAddressMismatch | R::NotTls | R::HelloTimeout => Self::Elsewhere,
            R::HelloMalformed | R::ServerNotTls | R::ServerTlsVersionTooLow | R::ServerCipherWeak => Self::Elsewhere,
            R::SecondHelloMismatch | R::CertificateUntrusted | R::DecisionLogUnavailable | R::ClientGone => {
                Self::Elsewhere
            }
            R::Internal | R::HttpHostMismatch | R::HttpMethodNotAllowed | R::HttpPathNotAllowed => Self::Elsewhere,
            R::SensitiveDataNotAllowed | R::TestCardInProduction => Self::Elsewhere,
        }
    }
}

/// A recorded request, and what it was decided by.
pub(super) struct Recorded<'a> {
    pub(super) seen: &'a Seen<'a>,
    pub(super) reason: Reason,
}

/// Why judging ends before its end.
enum Ended {
    Denied(Denial),
    Unjudged(Missing),
}

impl From<Denial> for Ended {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

impl From<Missing> for Ended {
    fn from(missing: Missing) -> Self {
        Self::Unjudged(missing)
    }
}

impl Recorded<'_> {
    /// What `policy` makes of it at its own time.
    pub(super) fn judge(&self, policy: &Arc<Policy>) -> Judged {
        match self.stages(policy) {
            Ok(ruled) => Judged::Ruled(ruled),
            Err(Ended::Unjudged(missing)) => Judged::Unjudged(missing),
            Err(Ended::Denied(denial)) => Judged::Ruled(Ruled {
                outcome: denial.reason().outcome(),
                reason: denial.reason(),
                rule: denial.rule().map(|rule| Arc::clone(&rule.id)),
                open: None,
            }),
        }
    }

    fn stages(&self, policy: &Arc<Policy>) -> Result<Ruled, Ended> {
        let identified = self.identified(policy)?;
        if Reached::by(self.reason) == Reached::Head {
            return Err(Denial::new(self.reason).into());
        }
        let hello = self.hello();
        let admitted = self.admitted(&identified, hello.as_ref())?;
        let routed = self.routed(&admitted)?;
        if self.reason == Reason::TlsVersionTooLow && admitted.rule().tls.min_version < ProtocolVersion::Tls13 {
            return Err(Missing::TlsVersion.into());
        }
        match (&hello, &routed) {
            (Some(hello), Some(routed)) => self.server(&routed.hello(hello)?)?,
            (Some(hello), None) => admitted.judge_hello(hello)?,
            (None, _) if self.seen.ech.is_some() => return Err(Missing::Hello.into()),
            (None, _) => {}
        }
        let decided = admitted.observed().map_or(Decided::ALLOWED, |denial| Decided::observed(denial.reason()));
        let open = match (routed.is_some(), hello.is_some(), self.reason) {
            (true, _, Reason::AddressForbidden) => Some(Open::OwnAddress),
            (false, _, _) => Some(Open::Addresses),
            (true, false, _) => Some(Open::Hello),
            (true, true, _) => None,
        };
        let rule = admitted.chosen().map(|rule| Arc::clone(&rule.id));
        Ok(Ruled { outcome: decided.outcome, reason: decided.reason, rule, open })
    }

    fn identified(&self, policy: &Arc<Policy>) -> Result<Identified, Ended> {
        let seen = self.seen;
        let origin = origin(seen);
        let shown = seen.client_identity().filter(|_| !matches!(origin, Origin::User(_)));
        let identity = shown.and_then(|text| text.parse().ok());
        let asks = policy.candidates(origin).any(|source| !source.identities.is_empty());
        if asks && shown.is_some() && (identity.is_none() || seen.is_redacted("client_identity")) {
            return Err(Missing::Identity.into());
        }
        let certificate = match (self.reason, seen.host) {
            // Refused in the handshake, before it could ask for anything.
            (Reason::IdentityRequired, None) => Certificate::Missing,
            (Reason::IdentityNotAllowed, _) => Certificate::Shown,
            _ => Certificate::NotAsked,
        };
        let client = Client {
            origin,
            identities: identity.into_iter().collect(),
            takes_credentials: self.reason == Reason::CredentialsMissing,
            certificate,
        };
        // A policy that is read without a configuration compares no environments; the record has its proxy's.
        Ok(policy.identify(&client)?.within(seen.environment())?)
    }

    fn admitted(&self, identified: &Identified, hello: Option<&ClientHello>) -> Result<Admitted, Ended> {
        let seen = self.seen;
        let own = OwnAddresses::default();
        if let Some(original) = seen.original_ip() {
            let port = seen.port.ok_or(Missing::Target)?;
            let hello = hello.ok_or(Missing::Hello)?;
            return Ok(identified.captured(SocketAddr::new(original, port), hello, &own, seen.at())?);
        }
        let host = seen.host.filter(|_| !seen.is_redacted("host")).ok_or(Missing::Target)?;
        let host = match host.parse() {
            Ok(address) => Host::Address(address),
            Err(_) => Host::Name(host.parse().map_err(|_| Missing::Target)?),
        };
        let target = seen.port.and_then(|port| Target::new(host, port)).ok_or(Missing::Target)?;
        let (method, target) = (seen.method().unwrap_or("CONNECT"), target.to_string());
        let target = RequestHead { method, target: &target, hosts: 1, has_body: false, is_extended: false }.target()?;
        Ok(identified.request(&target, seen.at())?)
    }

    /// Judges what the name resolved to; `None`: that is not on record, or not as it was. A literal address needs no lookup. Of an
    /// answer whose aliases were refused there are no addresses.
    fn routed(&self, admitted: &Admitted) -> Result<Option<Routed>, Ended> {
        let seen = self.seen;
        let addresses: Vec<_> = seen.addresses().collect();
        let aliases = seen.aliases();
        let cnames: Vec<Fqdn> = aliases.iter().filter_map(|alias| alias.parse().ok()).collect();
        if cnames.len() != aliases.len() || seen.is_redacted("addresses") || seen.is_redacted("aliases") {
            return Ok(None);
        }
        match admitted.addresses(&Answer { addresses: &addresses, cnames: &cnames }, &OwnAddresses::default()) {
            Ok(routed) => Ok(Some(routed)),
            Err(denial) if denial.reason() == Reason::DnsFailure => Ok(None),
            Err(denial) => Err(denial.into()),
        }
    }

    /// The hello, if it was read and is on record as it was. Which version it offered is not: the best that it can have been.
    fn hello(&self) -> Option<ClientHello> {
        let seen = self.seen;
        let ech = seen.ech.filter(|_| !seen.is_redacted("sni") && !seen.is_redacted("alpn"))?;
        let server_name = seen.sni().map(|text| match text.parse() {
            Ok(name) => ServerName::Name(name),
            Err(_) => ServerName::Unusable { raw: text.as_bytes().into() },
        });
        Some(ClientHello {
            server_name,
            max_version: if self.reason == Reason::TlsVersionTooLow {
                ProtocolVersion::Tls12
            } else {
                ProtocolVersion::Tls13
            },
            alpn: seen.alpn().into_iter().map(|id| id.into_bytes().into()).collect(),
            ech,
            // The record has no field for it, but nothing else has this reason.
            esni: self.reason == Reason::EchPresent && !ech,
            early_data: false,
        })
    }

    /// Judges the version that the server chose, which the record of the tunnel's end has.
    fn server(&self, allowed: &Allowed) -> Result<(), Denial> {
        let Some(version) = self.seen.tls_version().and_then(ProtocolVersion::of_tls) else { return Ok(()) };
        allowed.server_version(version)
    }
}

/// Where the client came from.
pub(super) fn origin(seen: &Seen<'_>) -> Origin {
    let user = || seen.client_identity()?.parse().ok().filter(|origin| matches!(origin, Origin::User(_)));
    match seen.client_ip() {
        Some(address) => Origin::Address(crate::address::canonical(address)),
        None => user().unwrap_or(Origin::Unknown),
    }
}

impl Missing {
    /// In words, behind "the record lacks".
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Identity => "identity",
            Self::Hello => "hello",
            Self::TlsVersion => "tls_version",
            Self::Request => "request",
        }
    }
}

impl Open {
    /// In words, behind "unjudged".
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Addresses => "addresses, hello",
            Self::Hello => "hello",
            Self::OwnAddress => "hello, and whether the address is the proxy's own",
        }
    }
}
