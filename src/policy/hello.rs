//! Stage 3: what the client offers in its TLS hello, and what the server chooses.
//! Not here: reading hellos (`tls`), and the certificate, which TLS 1.3 hides.
//! Source: the contract's "TLS" and its order: not TLS, malformed, version, ECH, SNI, ALPN; RFC 6066, RFC 7301, RFC 9849.

use std::net::SocketAddr;
use std::sync::Arc;

use super::addresses::Routed;
use super::client::Client;
use super::compile::Policy;
use super::decision::{Decided, Denial};
use super::reason::Reason;
use super::request::Admitted;
use super::rule::{Ech, Existing, Rule, Sni, Source};
use crate::name::{Fqdn, Host, Target};
use crate::tls::{ClientHello, ExchangeError, HelloError, ProtocolVersion, ServerHello, ServerName};

/// A request that may be forwarded once its record is committed. Holds no policy, so that a reload frees the old one.
#[derive(Clone, Debug)]
pub struct Allowed {
    client: Client,
    source: Arc<Source>,
    rule: Arc<Rule>,
    observed: Option<Denial>,
    target: Target,
    original: Option<SocketAddr>,
    cnames: Box<[Fqdn]>,
    hello: ClientHello,
}

impl Routed {
    /// Judges what the client offers.
    pub fn hello(&self, hello: &ClientHello) -> Result<Allowed, Denial> {
        let admitted = self.admitted();
        admitted.judge_hello(hello)?;
        Ok(Allowed {
            client: admitted.client().clone(),
            source: Arc::clone(admitted.source()),
            rule: Arc::clone(self.rule()),
            observed: admitted.observed().cloned(),
            target: self.target().clone(),
            original: admitted.original(),
            cnames: self.cnames().into(),
            hello: hello.clone(),
        })
    }

    /// A hello that could not be read is refused.
    pub fn hello_error(&self, error: &HelloError) -> Denial {
        self.deny(hello_reason(error))
    }
}

/// Why a hello that could not be read is refused.
pub fn hello_reason(error: &HelloError) -> Reason {
    match error {
        HelloError::NotTls | HelloError::SslV2 => Reason::NotTls,
        HelloError::Malformed(_) | HelloError::TooLong => Reason::HelloMalformed,
    }
}

/// The name that a client asks for, if it asks for one at all.
///
/// # Errors
/// What stands there is no name, so it is none that a rule could have.
pub(super) fn server_name(hello: &ClientHello) -> Result<Option<&Fqdn>, Denial> {
    match &hello.server_name {
        None => Ok(None),
        Some(ServerName::Name(name)) => Ok(Some(name)),
        Some(ServerName::Unusable { .. }) => Err(Denial::new(Reason::SniMismatch)),
    }
}

impl Admitted {
    /// Judges what the client offers. Allows nothing by itself: for `explain`, where addresses may be unknown.
    pub fn judge_hello(&self, hello: &ClientHello) -> Result<(), Denial> {
        let tls = &self.rule().tls;
        if hello.max_version < tls.min_version {
            return Err(self.deny(Reason::TlsVersionTooLow));
        }
        // Draft ESNI hides the name and has no outer one that could count.
        if hello.esni || (hello.ech && tls.ech == Ech::Deny) {
            return Err(self.deny(Reason::EchPresent));
        }
        self.judge_name(hello.server_name.as_ref(), self.policy())?;
        if !hello.alpn.iter().all(|offered| tls.alpn.iter().any(|listed| listed.as_bytes() == &**offered)) {
            return Err(self.deny(Reason::AlpnNotAllowed));
        }
        Ok(())
    }

    fn judge_name(&self, name: Option<&ServerName>, policy: &Policy) -> Result<(), Denial> {
        let tls = &self.rule().tls;
        let name = match (name, tls.sni) {
            (None, Sni::Required) => return Err(self.deny(Reason::SniMissing)),
            (None, Sni::Optional | Sni::Absent) => return Ok(()),
            (Some(ServerName::Unusable { .. }), Sni::Required | Sni::Optional | Sni::Absent) => {
                return Err(self.deny(Reason::SniMismatch));
            }
            (Some(ServerName::Name(name)), Sni::Required | Sni::Optional | Sni::Absent) => name,
        };
        if let Some(block) = self.name_block(name) {
            return Err(self.deny_blocked(block));
        }
        if policy.never().holds_name(name) {
            return Err(self.deny(Reason::DestinationDenied));
        }
        let is_target = matches!(self.target().host(), Host::Name(target) if target == name);
        let counts = match tls.sni {
            Sni::Required | Sni::Optional => is_target || tls.sni_names.contains(name),
            Sni::Absent => false,
        };
        if counts { Ok(()) } else { Err(self.deny(Reason::SniMismatch)) }
    }
}

impl Allowed {
    /// The rule whose terms hold; in report mode the terms of that.
    pub fn rule(&self) -> &Arc<Rule> {
        &self.rule
    }

    /// What was decided: allowed, or observed with the reason that would have refused it.
    pub fn decided(&self) -> Decided {
        match &self.observed {
            Some(denial) => Decided::observed(denial.reason()),
            None => Decided::ALLOWED,
        }
    }

    /// Whether report mode let it through, and no rule.
    pub(super) fn is_observed(&self) -> bool {
        self.observed.is_some()
    }

    /// The client's source.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// Where the tunnel goes.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The address that a captured client called.
    pub(super) fn original(&self) -> Option<SocketAddr> {
        self.original
    }

    /// The client.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The names that the answer of the lookup went through.
    pub(super) fn cnames(&self) -> &[Fqdn] {
        &self.cnames
    }

    /// What the client offered.
    pub fn client_hello(&self) -> &ClientHello {
        &self.hello
    }

    /// What becomes of the tunnel when nothing allows it any more.
    pub fn existing(&self) -> Existing {
        self.rule.existing
    }

    /// Judges what the server chose: `min_version` binds the choice, and the suite must be strong.
    pub fn server(&self, hello: &ServerHello) -> Result<(), Denial> {
        self.server_version(hello.version)?;
        if !hello.cipher.is_strong() {
            return Err(self.deny(Reason::ServerCipherWeak));
        }
        Ok(())
    }

    /// Judges the version alone.
    pub fn server_version(&self, version: ProtocolVersion) -> Result<(), Denial> {
        if version < self.rule.tls.min_version {
            return Err(self.deny(Reason::ServerTlsVersionTooLow));
        }
        Ok(())
    }

    /// What may not happen before the ServerHello is refused.
    pub fn exchange_error(&self, error: &ExchangeError) -> Denial {
        self.deny(match error {
            ExchangeError::Client(_) | ExchangeError::Over => Reason::HelloMalformed,
            ExchangeError::SecondHello(_) => Reason::SecondHelloMismatch,
            ExchangeError::Server(_) => Reason::ServerNotTls,
        })
    }

    /// Judges the client's second hello after a HelloRetryRequest: it must offer what the first did (RFC 8446 4.1.2).
    pub fn second_hello(&self, second: &ClientHello) -> Result<(), Denial> {
        self.hello.check_second(second).map_err(|_| self.deny(Reason::SecondHelloMismatch))
    }

    /// A refusal of this tunnel for what happened outside the policy, such as a hello that does not come.
    pub fn deny(&self, reason: Reason) -> Denial {
        match &self.observed {
            Some(denial) => Denial::of(denial.rule(), reason),
            None => Denial::by(&self.rule, reason),
        }
    }
}
