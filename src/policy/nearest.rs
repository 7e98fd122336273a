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
        if denial.block().is_some() {
            return None;
        }
        if let Some(rule) = denial.rule() {
            let differs = differs_in_rule(rule, denial);
            return Some(Nearest { rule: Arc::clone(rule), differs });
        }
        if denial.reason() == Reason::DestinationDenied {
            // No rule can allow it, however near.
            return None;
        }
        let unlisted = denial.reason() == Reason::DestinationNotListed;
        let alike = self.other_port(target).or_else(|| self.other_source(target)).or_else(|| match target.host() {
            Host::Name(name) => self.related(name).or_else(|| self.like_name(name, unlisted)),
            Host::Address(address) => self.like_address(*address).filter(|_| unlisted),
        });
        alike.or_else(|| self.any().filter(|_| unlisted))
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

    fn grants(&self) -> impl Iterator<Item = &Grant> {
        self.policy().grants().iter().filter(|grant| grant.serves(self.index()))
    }

    fn patterns(&self) -> impl Iterator<Item = (&Grant, &HostPattern)> {
        self.grants().flat_map(|grant| grant.hosts().iter().map(move |pattern| (grant, pattern)))
    }

    fn networks(&self) -> impl Iterator<Item = (&Grant, &IpNet)> {
        self.grants().flat_map(|grant| grant.networks().iter().map(move |network| (grant, network)))
    }

    /// A pattern that stands above the name or is it.
    fn related(&self, name: &Fqdn) -> Option<Nearest> {
        self.patterns().find_map(|(grant, pattern)| Some(Nearest::new(grant, relation(pattern, name)?)))
    }

    /// The name that is the fewest edits away: one that looks alike, or `however` unlike it is.
    fn like_name(&self, name: &Fqdn, however: bool) -> Option<Nearest> {
        let asked = name.as_str();
        let alike = asked.len().checked_div(3).unwrap_or_default().max(1);
        let letters = Letters::of(asked);
        let (mut most, mut work, mut best) = (if however { usize::MAX } else { alike }, 0_usize, None);
        for (grant, pattern) in self.patterns() {
            let base = pattern.base().as_str();
            if letters.apart(base) > most {
                continue;
            }
            work = work.saturating_add(asked.len().saturating_mul(base.len()));
            if work > MAX_WORK {
                break;
            }
            let edits = strsim::osa_distance(asked, base);
            if edits <= most {
                most = edits.saturating_sub(1);
                best = Some((edits, grant, pattern));
            }
        }
        let (edits, grant, pattern) = best?;
        let what = if edits <= alike { "name" } else { "destination" };
        Some(Nearest::new(grant, format!("the {what}: the rule has `{pattern}`")))
    }

    /// The network that shares the most leading bits; of the other family only if there is no other.
    fn like_address(&self, address: IpAddr) -> Option<Nearest> {
        let (grant, network) = self.networks().min_by_key(|(_, network)| away(address, network))?;
        Some(Nearest::new(grant, format!("the destination: the rule has `{network}`")))
    }

    /// Any destination, where none is of the kind that was asked for.
    fn any(&self) -> Option<Nearest> {
        let name = self.patterns().next().map(|(grant, pattern)| (grant, pattern.to_string()));
        let network = || self.networks().next().map(|(grant, network)| (grant, network.to_string()));
        let (grant, text) = name.or_else(network)?;
        Some(Nearest::new(grant, format!("the destination: the rule has `{text}`")))
    }
}

/// Upper bound of letters that are compared with letters for one answer: half a second. A policy may have a million names; of those
/// behind it nothing is said.
const MAX_WORK: usize = 100_000_000;

/// How often a name has each letter: a look that spares most comparisons.
struct Letters {
    counts: [i32; 128],
    length: usize,
}

impl Letters {
    fn of(name: &str) -> Self {
        let mut counts = [0_i32; 128];
        for byte in name.bytes() {
            if let Some(count) = counts.get_mut(usize::from(byte)) {
                *count = count.saturating_add(1);
            }
        }
        Self { counts, length: name.len() }
    }

    /// What has to be put in, or to be taken out: so many edits two names are apart at least.
    fn apart(&self, name: &str) -> usize {
        let mut left = self.counts;
        let mut shared = 0_usize;
        for byte in name.bytes() {
            if let Some(count) = left.get_mut(usize::from(byte)).filter(|count| **count > 0) {
                *count = count.saturating_sub(1);
                shared = shared.saturating_add(1);
            }
        }
        self.length.max(name.len()).saturating_sub(shared)
    }
}

/// How far an address is from a network: bits from the first one on that differs; the other family is farther than that.
fn away(asked: IpAddr, network: &IpNet) -> u32 {
    match (asked, network) {
        (IpAddr::V4(asked), IpNet::V4(network)) => {
            32_u32.saturating_sub((asked.to_bits() ^ network.addr().to_bits()).leading_zeros())
        }
        (IpAddr::V6(asked), IpNet::V6(network)) => {
            128_u32.saturating_sub((asked.to_bits() ^ network.addr().to_bits()).leading_zeros())
        }
        (IpAddr::V4(_), IpNet::V6(_)) | (IpAddr::V6(_), IpNet::V4(_)) => u32::MAX,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn letters_by_table() {
        for (one, other, want) in
            [("", "", 0), ("a.b", "b.a", 0), ("abc", "abd", 1), ("abc", "ab", 1), ("aab", "abb", 1), ("abc", "xyzw", 4)]
        {
            assert_eq!(Letters::of(one).apart(other), want, "`{one}` and `{other}`");
        }
    }

    proptest! {
        #[test]
        fn letters_are_never_farther_apart_than_names(one in "[a-d.]{0,12}", other in "[a-d.]{0,12}") {
            prop_assert!(Letters::of(&one).apart(&other) <= strsim::osa_distance(&one, &other));
        }
    }
}
