//! Stage 1: who asks, and does a rule let them reach this target now?
//! Not here: limits, the log's health, the lookup. Source: the contract's order of reasons: source, `never`, sensitive, rule, port,
//! expiry, hours. Emergency blocks come where `never` does; one of a customer, once the rule is chosen. Environments are compared only if both the proxy and the source state one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use jiff::Timestamp;

use super::block::Block;
use super::client::Client;
use super::clients::Belongs;
use super::compile::{Found, Grant, Policy};
use super::decision::Denial;
use super::hours;
use super::reason::Reason;
use super::rule::{Report, Rule, Source};
use crate::name::{Fqdn, Host, Identity, Target};
use crate::redact::holds_card_number;

/// A client whose source is known. The only way to ask for anything.
#[derive(Clone, Debug)]
pub struct Identified {
    policy: Arc<Policy>,
    client: Client,
    index: u32,
    source: Arc<Source>,
    /// Index among the client's identities.
    identity: Option<usize>,
}

impl Policy {
    /// Which source a client belongs to: of those with the longest subnet that holds its address, or of its user, the one that one of its
    /// identities is of.
    pub fn identify(self: &Arc<Self>, client: &Client) -> Result<Identified, Denial> {
        let Belongs { index, source, identity } = self.belongs(client).map_err(Denial::new)?;
        let (policy, client, source) = (Arc::clone(self), client.clone(), Arc::clone(source));
        Identified { policy, client, index, source, identity }.within(self.environment())
    }
}

impl Identified {
    /// The client's source.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// The same, if a proxy of this environment serves its source.
    ///
    /// # Errors
    /// Both state an environment, and these differ.
    pub fn within(self, environment: Option<&str>) -> Result<Self, Denial> {
        match (environment, &self.source.environment) {
            (Some(ours), Some(theirs)) if *ours != **theirs => Err(Denial::new(Reason::EnvironmentMismatch)),
            (Some(_) | None, Some(_) | None) => Ok(self),
        }
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Which of the client's identities is of the source; `None`: that asks for none.
    pub fn matched(&self) -> Option<&Identity> {
        self.client.identities.get(self.identity?)
    }

    /// The policy that judges.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The source's index in its policy.
    pub(super) fn index(&self) -> u32 {
        self.index
    }

    /// Whether a rule lets the source reach `target` at `at`, or report mode does where no rule does.
    pub fn request(&self, target: &Target, at: Timestamp) -> Result<Admitted, Denial> {
        match self.enforce(target, at) {
            Ok(rule) => Ok(self.admit(rule, None, target, Some(at))),
            Err(denial) => self.observe(denial, target, at),
        }
    }

    /// What report mode makes of a refusal.
    pub(super) fn observe(&self, denial: Denial, target: &Target, at: Timestamp) -> Result<Admitted, Denial> {
        match self.report(&denial, target, at) {
            Some(report) => {
                self.beside_customers(target, at)?;
                Ok(self.admit(&report.terms, Some(denial), target, Some(at)))
            }
            None => Err(denial),
        }
    }

    /// Report mode, if it lets through what was refused. Its terms ask for the target's name in the hello, so a literal address stays refused.
    fn report(&self, denial: &Denial, target: &Target, at: Timestamp) -> Option<&Report> {
        let is_name = matches!(target.host(), Host::Name(_));
        self.source.reporting(at).filter(|_| is_name && denial.reason().is_observable())
    }

    /// The rule that lets the source reach `target` at `at`. Expiry and hours are judged on the chosen one alone; no other takes its
    /// place.
    pub(super) fn enforce<'a>(&'a self, target: &'a Target, at: Timestamp) -> Result<&'a Arc<Rule>, Denial> {
        let blocks = self.policy.blocks();
        let early = blocks.of_source(&self.source.name, at).or_else(|| blocks.of_host(target.host(), at));
        if let Some(block) = early {
            return Err(Denial::blocked(None, block));
        }
        let rule = self.grant(target)?.rule();
        if let Some(block) = blocks.of_customer(&rule.customer, at) {
            return Err(Denial::blocked(Some(rule), block));
        }
        if rule.expires.is_some_and(|last| hours::is_over(last, at)) {
            return Err(Denial::by(rule, Reason::RuleExpired));
        }
        if rule.hours.as_ref().is_some_and(|hours| !hours.hold(at)) {
            return Err(Denial::by(rule, Reason::OutsideHours));
        }
        Ok(rule)
    }

    /// Where no rule of the source was chosen: whether some rule that lists the target is of a customer who is blocked.
    fn beside_customers(&self, target: &Target, at: Timestamp) -> Result<(), Denial> {
        let blocks = self.policy.blocks();
        let mut rules = self.policy.matching(target.host()).map(Grant::rule);
        match rules.find_map(|rule| Some((rule, blocks.of_customer(&rule.customer, at)?))) {
            Some((rule, block)) => Err(Denial::blocked(Some(rule), block)),
            None => Ok(()),
        }
    }

    /// What a rule lets through whatever the time, for tables and comparisons: hours and the last day are terms there, and no emergency
    /// block counts. Allows nothing by itself.
    pub(super) fn request_at_some_time(&self, target: &Target) -> Result<Admitted, Denial> {
        Ok(self.admit(self.grant(target)?.rule(), None, target, None))
    }

    fn grant<'a>(&'a self, target: &'a Target) -> Result<&'a Grant, Denial> {
        let host = target.host();
        let never = match host {
            Host::Name(name) => self.policy.never().holds_name(name),
            Host::Address(address) => self.policy.never().holds_address(*address),
        };
        if never {
            return Err(Denial::new(Reason::DestinationDenied));
        }
        if holds_card_number(&host.to_string()) && !self.policy.names_exactly(host) {
            return Err(Denial::new(Reason::SensitiveDataInTarget));
        }
        match self.policy.find(self.index, host, target.port()) {
            Found::Grant(grant) => Ok(grant),
            Found::OtherPort(_) => Err(Denial::new(Reason::PortNotAllowed)),
            Found::Nothing => Err(Denial::new(Reason::DestinationNotListed)),
        }
    }

    /// Lets through what was asked at `at`; `None`: at some time, where no emergency block counts.
    pub(super) fn admit(
        &self,
        rule: &Arc<Rule>,
        observed: Option<Denial>,
        target: &Target,
        at: Option<Timestamp>,
    ) -> Admitted {
        Admitted {
            policy: Arc::clone(&self.policy),
            client: self.client.clone(),
            source: Arc::clone(&self.source),
            rule: Arc::clone(rule),
            observed,
            target: target.clone(),
            original: None,
            at,
        }
    }
}

/// A request that a rule or report mode lets through, until its addresses are known.
#[derive(Clone, Debug)]
pub struct Admitted {
    policy: Arc<Policy>,
    client: Client,
    source: Arc<Source>,
    rule: Arc<Rule>,
    observed: Option<Denial>,
    target: Target,
    original: Option<SocketAddr>,
    /// When it was asked; `None`: at some time.
    at: Option<Timestamp>,
}

impl Admitted {
    /// The same, by a client that called this address and never asked.
    pub(super) fn of_captured(self, original: SocketAddr) -> Self {
        Self { original: Some(original), ..self }
    }

    /// The address that a captured client called; `None`: it asked by name or address itself.
    pub fn original(&self) -> Option<SocketAddr> {
        self.original
    }

    /// The policy that judges.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The rule whose terms hold; in report mode the terms of that.
    pub fn rule(&self) -> &Arc<Rule> {
        &self.rule
    }

    /// The rule that was chosen; none if report mode lets through what no rule does.
    pub fn chosen(&self) -> Option<&Arc<Rule>> {
        match &self.observed {
            Some(denial) => denial.rule(),
            None => Some(&self.rule),
        }
    }

    /// What would have refused it but for report mode.
    pub fn observed(&self) -> Option<&Denial> {
        self.observed.as_ref()
    }

    /// The client's source.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// Where the client wants to go.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The name to look up; none for a literal address.
    pub fn lookup(&self) -> Option<&Fqdn> {
        match self.target.host() {
            Host::Name(name) => Some(name),
            Host::Address(_) => None,
        }
    }

    /// Whether a rule lists the target exactly, and not by a wildcard alone: a client cannot invent such a name.
    pub fn is_listed_exactly(&self) -> bool {
        self.policy.names_exactly(self.target.host())
    }

    /// Whether a name that the answer leads to may be asked for.
    pub fn may_follow(&self, alias: &Fqdn) -> bool {
        !self.policy.never().holds_name(alias) && self.name_block(alias).is_none()
    }

    /// The emergency block that a name falls under.
    pub(super) fn name_block(&self, name: &Fqdn) -> Option<&Arc<Block>> {
        self.policy.blocks().of_name(name, self.at?)
    }

    /// The emergency block that an address falls under.
    pub(super) fn address_block(&self, address: IpAddr) -> Option<&Arc<Block>> {
        self.policy.blocks().of_address(address, self.at?)
    }

    /// A refusal of this request for what an emergency block hits.
    pub(super) fn deny_blocked(&self, block: &Arc<Block>) -> Denial {
        Denial::blocked(self.chosen(), block)
    }

    /// A refusal of this request for what happened outside the policy, such as a lookup that failed.
    pub fn deny(&self, reason: Reason) -> Denial {
        Denial::of(self.chosen(), reason)
    }
}
