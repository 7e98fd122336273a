//! Which destinations can fare otherwise in another policy: so that a few changes among a hundred thousand rules are found at once.
//! Not here: how they fare (`diff`). A name or address fares alike in both policies if each rule that matches it is alike in both, serves
//! the same sources and none that only one policy has, and if `never` says the same of it: the most specific of the same rules is the same,
//! since rules that would tie are an error at load.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::compile::{Grant, Policy};
use super::index::{HostIndex, Spot};
use crate::address::{self, PrefixMap};
use crate::name::{Host, HostPattern};

/// What may fare otherwise: whatever one of these matches.
pub(super) struct Touched {
    patterns: Vec<HostPattern>,
    index: HostIndex,
    networks: PrefixMap<()>,
    is_empty: bool,
}

/// A policy, and the names of its sources that have clients.
pub(super) type Side<'a> = (&'a Policy, &'a HashSet<Arc<str>>);

impl Touched {
    /// By what differs between the two.
    pub(super) fn between(old: Side<'_>, new: Side<'_>) -> Self {
        let (mut patterns, mut networks) = (BTreeSet::new(), BTreeSet::new());
        for (one, other) in [(old, new), (new, old)] {
            let known: HashMap<&str, &Grant> =
                other.0.grants().iter().map(|grant| (&*grant.rule().id, grant)).collect();
            let is_touched = |grant: &&Grant| {
                let same = known.get(&*grant.rule().id).is_some_and(|known| is_alike((one.0, grant), (other.0, known)));
                !same
                    || one
                        .0
                        .sources_of(grant)
                        .any(|source| one.1.contains(&source.name) != other.1.contains(&source.name))
            };
            for grant in one.0.grants().iter().filter(is_touched) {
                patterns.extend(grant.hosts().iter().cloned());
                networks.extend(grant.networks().iter().copied());
            }
            let (never, others) = (one.0.never(), other.0.never());
            let known: HashSet<&HostPattern> = others.hosts().iter().collect();
            patterns.extend(never.hosts().iter().filter(|host| !known.contains(host)).cloned());
            let known: HashSet<IpNet> = others.networks().collect();
            networks.extend(never.networks().filter(|network| !known.contains(network)));
        }
        Self::new(patterns.into_iter().collect(), networks)
    }

    fn new(patterns: Vec<HostPattern>, networks: BTreeSet<IpNet>) -> Self {
        let is_empty = patterns.is_empty() && networks.is_empty();
        let spots = (0..).map(|item| Spot { owner: 0, item });
        let index = HostIndex::new(spots.zip(&patterns));
        let mut map = PrefixMap::new();
        networks.into_iter().for_each(|network| {
            map.insert(network, ());
        });
        Self { patterns, index, networks: map, is_empty }
    }

    /// Whether nothing does.
    pub(super) fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Whether `host` may.
    pub(super) fn holds(&self, host: &Host) -> bool {
        match host {
            Host::Name(name) => {
                let pattern = |spot: Spot| self.patterns.get(usize::try_from(spot.item).ok()?);
                self.index.candidates(name).filter_map(pattern).any(|pattern| pattern.matches(name))
            }
            Host::Address(address) => {
                let inner = address::embedded(*address).map(IpAddr::from);
                inner.chain([*address]).any(|address| self.networks.matching(address).next().is_some())
            }
        }
    }
}

/// Whether two rules let the same sources reach the same on the same terms.
fn is_alike((one, grant): (&Policy, &Grant), (other, known): (&Policy, &Grant)) -> bool {
    let names = |policy: &Policy, grant: &Grant| {
        policy.sources_of(grant).map(|source| Arc::clone(&source.name)).collect::<BTreeSet<_>>()
    };
    let (reach, same) = (grant.reach(), known.reach());
    grant.rule().is_alike(known.rule()) && reach == same && names(one, grant) == names(other, known)
}
