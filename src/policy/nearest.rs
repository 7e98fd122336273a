//! For `explain`: the rule that comes nearest to a refused request, and what differs.
//! Not here: any decision. May look at every name of a policy; nobody waits for it but the one who asked.
//! Source: the contract's `explain`.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::compile::{Found, Grant};
use super::decision::Denial;
use super::index;
use super::reason::Reason;
use super::request::Identified;
use super::rule::Rule;
use crate::name::{Fqdn, Host, HostPattern, Target};
use crate::yaml;

/// The rule that comes nearest, and what would have to differ.
#[derive(Clone, Debug)]
pub struct Nearest {
    /// The rule.
    pub rule: Arc<Rule>,
    /// What differs: lower case, no full stop.
    pub differs: String,
}

impl Nearest {
    fn new(grant: &Grant, differs: String) -> Self {
        Self { rule: Arc::clone(grant.rule()), differs }
    }
}

impl Identified {
    /// The rule nearest to a request that was refused with `denial`; none if nothing looks like it.
    pub fn nearest(&self, target: &Target, denial: &Denial) -> Option<Nearest> {
        if let Some(rule) = denial.rule() {
            let differs = differs_in_rule(rule, denial);
            return Some(Nearest { rule: Arc::clone(rule), differs });
        }
        if denial.reason() == Reason::DestinationDenied {
            // No rule can allow it, however near.
            return None;
        }
        let alike = self.other_port(target).or_else(|| self.other_source(target)).or_else(|| match target.host() {
            Host::Name(name) => self.like_name(name),
            Host::Address(_) => None,
        });
        let unlisted = denial.reason() == Reason::DestinationNotListed;
        alike.or_else(|| if unlisted { self.least_unlike(target.host()) } else { None })
    }

    fn other_port(&self, target: &Target) -> Option<Nearest> {
        match self.policy().find(self.index(), target.host(), target.port()) {
            Found::OtherPort(grant) => {
                let differs = format!("the port: the rule has {}, not {}", ports(grant.rule()), target.port());
                Some(Nearest::new(grant, differs))
            }
            Found::Grant(_) | Found::Nothing => None,
        }
    }

    fn other_source(&self, target: &Target) -> Option<Nearest> {
        let find = |index| match self.policy().find(index, target.host(), target.port()) {
            Found::Grant(grant) => Some(grant),
            Found::OtherPort(_) | Found::Nothing => None,
        };
        let (source, grant) = (0..).zip(self.policy().sources()).find_map(|(index, source)| {
            let grant = find(index).filter(|_| index != self.index())?;
            Some((source, grant))
        })?;
        let differs = format!("the source: the rule is for `{}`, not `{}`", source.name, self.source().name);
        Some(Nearest::new(grant, differs))
    }

    /// First patterns that stand above the name or are it, then names that look alike.
    fn like_name(&self, name: &Fqdn) -> Option<Nearest> {
        let mine = || self.policy().grants().iter().filter(|grant| grant.serves(self.index()));
        let related = mine().find_map(|grant| {
            let differs = grant.hosts().iter().find_map(|pattern| relation(pattern, name))?;
            Some(Nearest::new(grant, differs))
        });
        related.or_else(|| {
            let names = mine().flat_map(Grant::hosts).map(|pattern| pattern.base().as_str());
            let near = yaml::nearest(name.as_str(), names)?;
            let has = |grant: &&Grant| grant.hosts().iter().any(|pattern| pattern.base().as_str() == near);
            let pattern = |grant: &Grant| grant.hosts().iter().find(|one| one.base().as_str() == near).cloned();
            let grant = mine().find(has)?;
            Some(Nearest::new(grant, format!("the name: the rule has `{}`", pattern(grant)?)))
        })
    }

    /// Where nothing looks alike: the source's pattern or network at the least distance.
    fn least_unlike(&self, host: &Host) -> Option<Nearest> {
        let mine = self.policy().grants().iter().filter(|grant| grant.serves(self.index()));
        let destinations = mine.flat_map(|grant| {
            let hosts = grant.hosts().iter().map(|pattern| (far(host, pattern.base().as_str()), pattern.to_string()));
            let networks = grant.networks().iter().map(|network| (away(host, network), network.to_string()));
            hosts.chain(networks).map(move |(distance, text)| (distance, grant, text))
        });
        let (_, grant, text) = destinations.min_by_key(|(distance, ..)| *distance)?;
        Some(Nearest::new(grant, format!("the destination: the rule has `{text}`")))
    }
}

/// How far a host is from a name: edits; an address is farther than any name.
fn far(host: &Host, name: &str) -> usize {
    match host {
        Host::Name(asked) => strsim::levenshtein(asked.as_str(), name),
        Host::Address(_) => usize::MAX,
    }
}

/// How far a host is from a network: bits that differ from the first one on; a name, and the other family, are farther than that.
fn away(host: &Host, network: &IpNet) -> usize {
    match (host, network) {
        (Host::Address(IpAddr::V4(asked)), IpNet::V4(network)) => {
            let same = (asked.to_bits() ^ network.addr().to_bits()).leading_zeros();
            usize::try_from(32_u32.saturating_sub(same)).unwrap_or(usize::MAX)
        }
        (Host::Address(IpAddr::V6(asked)), IpNet::V6(network)) => {
            let same = (asked.to_bits() ^ network.addr().to_bits()).leading_zeros();
            usize::try_from(128_u32.saturating_sub(same)).unwrap_or(usize::MAX)
        }
        (Host::Address(_), IpNet::V4(_) | IpNet::V6(_)) => 1024,
        (Host::Name(_), IpNet::V4(_) | IpNet::V6(_)) => usize::MAX,
    }
}

/// In words, how a name misses a pattern that stands above it or is it.
fn relation(pattern: &HostPattern, name: &Fqdn) -> Option<String> {
    let base = pattern.base();
    let is_base = name == base;
    let is_below = index::parents(name).any(|parent| parent == base.as_str());
    match pattern {
        HostPattern::OneLabel(_) | HostPattern::AnyLabels(_) if is_base => {
            Some(format!("the name: `{pattern}` does not hold `{base}` itself"))
        }
        HostPattern::OneLabel(_) if is_below => {
            Some(format!("the name: `{pattern}` holds exactly one label below `{base}`, and here are more"))
        }
        HostPattern::Exact(_) if is_below => Some(format!("the name: `{base}` does not hold the names below it")),
        HostPattern::Exact(_) | HostPattern::OneLabel(_) | HostPattern::AnyLabels(_) => None,
    }
}

/// In words, what a rule that was chosen holds against a request.
fn differs_in_rule(rule: &Rule, denial: &Denial) -> String {
    let reason = denial.reason();
    let day = rule.expires.filter(|_| reason == Reason::RuleExpired);
    let hours = rule.hours.as_ref().filter(|_| reason == Reason::OutsideHours);
    match (day, hours) {
        (Some(last), _) => format!("the day: the rule's last was {last} (UTC)"),
        (None, Some(hours)) => format!("the hour: the rule holds {hours}"),
        (None, None) => reason.facts().title.to_owned(),
    }
}

fn ports(rule: &Rule) -> String {
    rule.ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
