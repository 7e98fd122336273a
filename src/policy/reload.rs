//! Is an open tunnel still allowed under another policy? By the very stages that let it in.
//! Not here: finding the tunnels and ending them. Source: the contract's "Reload".

use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use super::addresses::{Answer, OwnAddresses};
use super::compile::Policy;
use super::decision::Denial;
use super::hello::Allowed;
use super::reason::Reason;
use super::rule::{Existing, Report, Rule, Source};
use crate::name::Host;
use crate::tls::{ServerHello, ServerName};

/// What an open tunnel was allowed for, as much as judging it again takes.
#[derive(Clone, Debug)]
pub struct Standing {
    allowed: Allowed,
    upstream: IpAddr,
    server: OnceCell<ServerHello>,
}

/// What becomes of an open tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This rule allows it for this source, maybe another one than before; it stays.
    Allowed(Arc<Rule>, Arc<Source>),
    /// Nothing allows it: what its old rule says of that, or `Cut`.
    Gone(Existing),
}

impl Standing {
    /// An allowed request, connected to `upstream`; its server has chosen nothing yet.
    pub fn new(allowed: Allowed, upstream: IpAddr) -> Self {
        Self { allowed, upstream, server: OnceCell::new() }
    }

    /// Notes what the server chose, once: the caller leaves a HelloRetryRequest out, behind which the choice comes.
    pub fn choose(&self, hello: &ServerHello) {
        // A second choice cannot come: the exchange is over after the first.
        let _ = self.server.set(*hello);
    }

    /// What the server chose, once it has.
    pub fn server(&self) -> Option<&ServerHello> {
        self.server.get()
    }

    /// What it was allowed for.
    pub fn allowed(&self) -> &Allowed {
        &self.allowed
    }
}

impl Policy {
    /// Whether the clock alone changes what it allows: last days, hours, report mode.
    pub fn is_timed(&self) -> bool {
        self.rules().any(|rule| rule.expires.is_some() || rule.hours.is_some())
            || self.sources().iter().any(|source| source.report.is_some())
    }

    /// The sources that are in report mode at `at`.
    pub fn reporting(&self, at: Timestamp) -> impl Iterator<Item = (&Arc<Source>, &Report)> {
        self.sources().iter().filter_map(move |source| Some((source, source.reporting(at)?)))
    }

    /// Judges an open tunnel at `at`.
    pub fn judge_again(self: &Arc<Self>, standing: &Standing, own: &OwnAddresses, at: Timestamp) -> Verdict {
        match self.still_allows(standing, own, at) {
            // Report mode is for finding rules, not for keeping what a rule let through.
            Ok(allowed) if allowed.is_observed() && !standing.allowed.is_observed() => {
                Verdict::Gone(standing.allowed.existing())
            }
            Ok(allowed) => Verdict::Allowed(Arc::clone(allowed.rule()), Arc::clone(allowed.source())),
            Err(denial) if self.cuts(standing, denial.reason()) || self.denies(standing, at) => {
                Verdict::Gone(Existing::Cut)
            }
            Err(_) => Verdict::Gone(standing.allowed.existing()),
        }
    }

    /// What every stage says of an open tunnel at `at`.
    pub fn still_allows(
        self: &Arc<Self>,
        standing: &Standing,
        own: &OwnAddresses,
        at: Timestamp,
    ) -> Result<Allowed, Denial> {
        let Standing { allowed, upstream, server } = standing;
        let answer = Answer { addresses: &[*upstream], cnames: allowed.cnames() };
        let identified = self.identify(allowed.client())?;
        let admitted = match allowed.original() {
            Some(original) => identified.captured_again(original, allowed, own, at)?,
            None => identified.request(allowed.target(), at)?,
        };
        let routed = admitted.addresses(&answer, own)?;
        let allowed = routed.hello(allowed.client_hello())?;
        server.get().map_or(Ok(()), |hello| allowed.server(hello))?;
        Ok(allowed)
    }

    /// Whether `never` or an emergency block hits a tunnel for which there is no rule any more: its old one may have kept it.
    fn denies(&self, Standing { allowed, upstream, .. }: &Standing, at: Timestamp) -> bool {
        let (never, blocks) = (self.never(), self.blocks());
        let (name, literal) = match allowed.target().host() {
            Host::Name(name) => (Some(name), None),
            Host::Address(address) => (None, Some(*address)),
        };
        let offered = allowed.client_hello().server_name.as_ref().and_then(ServerName::name);
        let mut names = name.into_iter().chain(offered).chain(allowed.cnames());
        let original = allowed.original().map(|original| original.ip());
        let mut addresses = std::iter::once(*upstream).chain(literal).chain(original);
        blocks.of_source(&allowed.source().name, at).is_some()
            || blocks.of_customer(&allowed.rule().customer, at).is_some()
            || names.any(|name| never.holds_name(name) || blocks.of_name(name, at).is_some())
            || addresses.any(|address| never.holds_address(address) || blocks.of_address(address, at).is_some())
    }

    /// `never`, removed sources, and sources that now ask for another identity cut, whatever the old rule says.
    fn cuts(&self, standing: &Standing, reason: Reason) -> bool {
        let refused = matches!(
            reason,
            Reason::DestinationDenied
                | Reason::SourceUnknown
                | Reason::EnvironmentMismatch
                | Reason::IdentityRequired
                | Reason::IdentityNotAllowed
                | Reason::CredentialsMissing
        );
        refused || !self.sources().iter().any(|source| source.name == standing.allowed.source().name)
    }
}
