//! What recorded decisions have used of a policy's rules: names, networks, ports, sources, protocols, identities. One of these a thread.
//! Not here: what follows from it (`stale`), reading the log (`runtime::archive`). Source: the contract's `policy stale`.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Serialize;

use super::seen::Seen;
use super::window::Window;
use crate::decision_log::Found;
use crate::decision_log::sealed::RecordTime;
use crate::name::{Fqdn, HostPattern, Identity};
use crate::policy::{Grant, Outcome, Policy, Reach};

/// Names or addresses that are told of what one wildcard or network was used for. Of one that was used for more, nothing is said.
pub(super) const MAX_NAMED: usize = 16;

/// Names that a thread remembers to have counted for a rule, beside those that the rule writes out; more hosts are not counted.
const MAX_HOSTS: usize = 1_024;

/// Identities that a thread remembers to have compared with their source's. More are compared each time.
const MAX_IDENTITIES: usize = 16_384;

/// What was used.
#[derive(Debug)]
pub struct Usage {
    policy: Arc<Policy>,
    /// The rules' places by their ids.
    places: Arc<HashMap<Arc<str>, usize>>,
    rules: Vec<Used>,
    /// By source, which of its identities were shown, by their places.
    pub(super) identities: HashMap<Arc<str>, BTreeSet<usize>>,
    compared: HashSet<(Box<str>, Box<str>)>,
    pub(super) window: Window,
    /// When this policy was first seen in force, and when another was.
    pub(super) in_force: Option<RecordTime>,
    pub(super) other: Option<RecordTime>,
}

/// What was used of one rule.
#[derive(Debug, Default)]
pub(super) struct Used {
    pub(super) counts: Counts,
    /// Names and literal addresses that were reached.
    pub(super) hosts: HashSet<Box<str>>,
    /// By the place of a pattern or network, what was reached by it.
    pub(super) reached: HashMap<usize, Few<Box<str>>>,
    /// By the place in `addresses`, what was in answers.
    pub(super) addresses: HashMap<usize, Few<IpAddr>>,
    pub(super) ports: BTreeSet<u16>,
    pub(super) sources: BTreeSet<Box<str>>,
    pub(super) alpn: BTreeSet<String>,
    /// Whether any request came as far as an answer for its name, and as far as a hello: else nobody knows what it would have shown.
    pub(super) has_answer: bool,
    pub(super) has_hello: bool,
}

/// How a rule's decisions came out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Let through.
    pub allowed: u64,
    /// Let through by report mode, where it would have refused.
    pub observed: u64,
    /// Refused.
    pub refused: u64,
    /// Allowed, and then something failed.
    pub failed: u64,
    /// The time of the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<RecordTime>,
}

/// A few values, or too many to name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Few<T> {
    pub(super) values: BTreeSet<T>,
    pub(super) is_many: bool,
}

impl Usage {
    /// Nothing used yet.
    pub fn new(policy: &Arc<Policy>) -> Self {
        let places = policy.rules().enumerate().map(|(place, rule)| (Arc::clone(&rule.id), place)).collect();
        Self::of(policy, Arc::new(places))
    }

    /// The same for another thread.
    #[must_use]
    pub fn another(&self) -> Self {
        Self::of(&self.policy, Arc::clone(&self.places))
    }

    fn of(policy: &Arc<Policy>, places: Arc<HashMap<Arc<str>, usize>>) -> Self {
        let mut rules = Vec::new();
        rules.resize_with(places.len(), Used::default);
        Self {
            policy: Arc::clone(policy),
            places,
            rules,
            identities: HashMap::new(),
            compared: HashSet::new(),
            window: Window::default(),
            in_force: None,
            other: None,
        }
    }

    /// Adds a decision, or a record that says which policy was in force.
    pub fn add(&mut self, found: Found<'_>) {
        let seen = Seen::of(found);
        self.window.add(seen.time);
        if let Some(hash) = seen.policy() {
            let first = if hash == &**self.policy.hash() { &mut self.in_force } else { &mut self.other };
            *first = first.iter().copied().chain([seen.time]).min();
        }
        if seen.kind != "decision" {
            return;
        }
        self.identity(&seen);
        let place = seen.rule.and_then(|id| self.places.get(id)).copied();
        let Some((place, outcome)) = place.zip(seen.outcome) else { return };
        let (Some(used), Some(grant)) = (self.rules.get_mut(place), self.policy.grants().get(place)) else { return };
        used.counts.add(outcome, seen.time);
        if matches!(outcome, Outcome::Allow | Outcome::Error) {
            used.add(&seen, grant);
        }
    }

    /// Adds what another thread has.
    pub fn merge(&mut self, other: Self) {
        self.window.merge(&other.window);
        self.in_force = self.in_force.into_iter().chain(other.in_force).min();
        self.other = self.other.into_iter().chain(other.other).min();
        for (source, places) in other.identities {
            self.identities.entry(source).or_default().extend(places);
        }
        self.rules.iter_mut().zip(other.rules).for_each(|(used, more)| used.merge(more));
    }

    /// The rules with what was used of each, in the policy's order.
    pub(super) fn rules(&self) -> impl Iterator<Item = (&Grant, &Used)> {
        self.policy.grants().iter().zip(&self.rules)
    }

    /// The rules that nothing used, at most so many.
    pub fn unused(&self, most: usize) -> Vec<String> {
        let unused = self.rules().filter(|(_, used)| used.counts.total() == 0);
        unused.map(|(grant, _)| grant.rule().id.to_string()).take(most).collect()
    }

    /// The policy whose rules these are.
    pub(super) fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Which of its source's identities a client has shown.
    fn identity(&mut self, seen: &Seen<'_>) {
        let (Some(name), Some(shown)) = (seen.source, seen.client_identity()) else { return };
        let Some(source) = self.policy.sources().iter().find(|source| &*source.name == name) else { return };
        let key = (Box::from(name), Box::from(shown));
        if source.identities.is_empty() || self.compared.contains(&key) {
            return;
        }
        if let Ok(identity) = shown.parse::<Identity>() {
            let matching = source.identities.iter().enumerate().filter(|(_, pattern)| pattern.matches(&identity));
            self.identities.entry(Arc::clone(&source.name)).or_default().extend(matching.map(|(place, _)| place));
        }
        if self.compared.len() < MAX_IDENTITIES {
            self.compared.insert(key);
        }
    }
}

impl Used {
    fn add(&mut self, seen: &Seen<'_>, grant: &Grant) {
        self.ports.extend(seen.port);
        self.has_answer = self.has_answer || seen.addresses().next().is_some();
        self.has_hello = self.has_hello || seen.ech.is_some();
        if let Some(source) = seen.source.filter(|source| !self.sources.contains(*source)) {
            self.sources.insert(source.into());
        }
        if grant.rule().tls.alpn.len() > self.alpn.len() {
            self.alpn.extend(seen.alpn());
        }
        for (place, prefix) in grant.rule().addresses.iter().flatten().enumerate() {
            for address in seen.addresses().filter(|address| prefix.contains(address)) {
                self.addresses.entry(place).or_default().add(address);
            }
        }
        let Some(host) = seen.host.filter(|host| !self.hosts.contains(*host)) else { return };
        let place = place_of(grant.reach(), host);
        if let Some(place) = place {
            self.reached.entry(place).or_default().add(host.into());
        }
        if self.hosts.len() < MAX_HOSTS || place.is_some_and(|place| is_exact(grant.reach(), place)) {
            self.hosts.insert(host.into());
        }
    }

    fn merge(&mut self, more: Self) {
        self.counts.merge(&more.counts);
        self.hosts.extend(more.hosts);
        self.ports.extend(more.ports);
        self.sources.extend(more.sources);
        self.alpn.extend(more.alpn);
        self.has_answer = self.has_answer || more.has_answer;
        self.has_hello = self.has_hello || more.has_hello;
        more.reached.into_iter().for_each(|(place, few)| self.reached.entry(place).or_default().merge(few));
        more.addresses.into_iter().for_each(|(place, few)| self.addresses.entry(place).or_default().merge(few));
    }
}

/// The place of the most specific pattern or network that holds a host: as the policy chooses.
fn place_of(reach: &Reach, host: &str) -> Option<usize> {
    match reach {
        Reach::Hosts(patterns) => {
            let name: Fqdn = host.parse().ok()?;
            let matching = patterns.iter().enumerate().filter(|(_, pattern)| pattern.matches(&name));
            let rank = |pattern: &HostPattern| match pattern {
                HostPattern::Exact(_) => (2, 0),
                HostPattern::OneLabel(base) => (1, base.as_str().len()),
                HostPattern::AnyLabels(base) => (0, base.as_str().len()),
            };
            matching.max_by_key(|(_, pattern)| rank(pattern)).map(|(place, _)| place)
        }
        Reach::Networks(networks) => {
            let address: IpAddr = host.parse().ok()?;
            let matching = networks.iter().enumerate().filter(|(_, network)| network.contains(&address));
            matching.max_by_key(|(_, network)| network.prefix_len()).map(|(place, _)| place)
        }
    }
}

fn is_exact(reach: &Reach, place: usize) -> bool {
    match reach {
        Reach::Hosts(patterns) => matches!(patterns.get(place), Some(HostPattern::Exact(_))),
        Reach::Networks(networks) => {
            networks.get(place).is_some_and(|network| network.prefix_len() == network.max_prefix_len())
        }
    }
}

impl Counts {
    /// All together.
    pub fn total(&self) -> u64 {
        [self.allowed, self.observed, self.refused, self.failed].into_iter().fold(0, u64::saturating_add)
    }

    fn add(&mut self, outcome: Outcome, time: RecordTime) {
        let count = match outcome {
            Outcome::Allow => &mut self.allowed,
            Outcome::Observe => &mut self.observed,
            Outcome::Deny => &mut self.refused,
            Outcome::Error => &mut self.failed,
        };
        *count = count.saturating_add(1);
        self.last = self.last.into_iter().chain([time]).max();
    }

    fn merge(&mut self, more: &Self) {
        self.allowed = self.allowed.saturating_add(more.allowed);
        self.observed = self.observed.saturating_add(more.observed);
        self.refused = self.refused.saturating_add(more.refused);
        self.failed = self.failed.saturating_add(more.failed);
        self.last = self.last.into_iter().chain(more.last).max();
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self { values: BTreeSet::new(), is_many: false }
    }
}

impl<T: Ord> Few<T> {
    fn add(&mut self, value: T) {
        if self.is_many {
            return;
        }
        self.values.insert(value);
        if self.values.len() > MAX_NAMED {
            (self.values, self.is_many) = (BTreeSet::new(), true);
        }
    }

    fn merge(&mut self, more: Self) {
        if more.is_many {
            (self.values, self.is_many) = (BTreeSet::new(), true);
        }
        more.values.into_iter().for_each(|value| self.add(value));
    }
}

/// How many addresses a prefix has; `u128::MAX` for all of IPv6.
pub(super) fn size(prefix: &IpNet) -> u128 {
    let bits = u32::from(prefix.max_prefix_len().saturating_sub(prefix.prefix_len()));
    1_u128.checked_shl(bits).unwrap_or(u128::MAX)
}
