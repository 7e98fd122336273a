//! Regions said as sources and rules: a source for the clients that the same regions have, a rule for what they reach alike.
//! Not here: how regions come about (`squid`). Clients belong to the source with the longest subnet, so subnets within others are told apart.
//! Source: the contract's "Which source" and "Which rule".

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::draft::{self, Draft, DraftRule, DraftSource};
use super::region::{Names, Ports, Prefixes, Region};
use crate::name::HostPattern;

/// Ports that a rule lists; of a line with more only 443 is kept.
const MAX_PORTS: usize = 64;

/// What a line allows.
#[derive(Clone, Debug)]
pub(super) struct Allowed {
    pub(super) line: u32,
    pub(super) text: String,
    pub(super) region: Region,
    /// Where the addresses of its names must lie.
    pub(super) addresses: Option<Prefixes>,
    /// The lists of clients that it names.
    pub(super) clients: Vec<String>,
}

/// Where a rule reaches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Host(HostPattern),
    Network(IpNet),
}

/// For one destination and source: port → where its addresses must lie, and the first line that allows it.
type Ways = BTreeMap<u16, (Option<BTreeSet<IpNet>>, u32)>;

/// Where the addresses must lie, the ports, and the first line that allows them.
type Terms = (Option<BTreeSet<IpNet>>, BTreeSet<u16>, u32);

/// What the destinations of one rule have in common. Whether names are right below a public suffix comes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    line: u32,
    is_network: bool,
    is_open: bool,
    addresses: Option<BTreeSet<IpNet>>,
    ports: BTreeSet<u16>,
    sources: BTreeSet<usize>,
}

/// Adds sources and rules for all that is allowed.
pub(super) fn write(allowed: Vec<Allowed>, draft: &mut Draft) {
    let allowed: Vec<Allowed> = allowed.into_iter().filter_map(|one| sayable(one, draft)).collect();
    let groups = sources(&allowed, draft);
    let mut ways: BTreeMap<Reach, BTreeMap<usize, Ways>> = BTreeMap::new();
    for (source, members) in groups.iter().enumerate() {
        for one in members.iter().filter_map(|member| allowed.get(*member)) {
            let addresses = one.addresses.as_ref().map(|prefixes| prefixes.0.iter().copied().collect::<BTreeSet<_>>());
            for reach in reaches(&one.region) {
                let addresses = addresses.clone().filter(|_| matches!(reach, Reach::Host(_)));
                let ways = ways.entry(reach).or_default().entry(source).or_default();
                one.region.ports.iter().for_each(|port| add(ways, port, (addresses.clone(), one.line)));
            }
        }
    }
    rules(ways, draft);
}

/// Why addresses are left out that a line allows.
const BY_NAME: &str =
    "a line before it denies by name without `-n`, so an address may have a name that is denied; left out";

/// What can be said of it: exact destinations and not too many ports.
fn sayable(mut one: Allowed, draft: &mut Draft) -> Option<Allowed> {
    let Allowed { line, text, region, addresses, .. } = &mut one;
    let place = (*line, text.as_str());
    if matches!(region.names, Names::AllBut(_)) {
        region.names = Names::Some(Vec::new());
        if region.literals.0.is_empty() {
            draft.note(
                place,
                if addresses.is_some() {
                    BY_NAME
                } else {
                    "allows every destination, or all but some: no equal; left out"
                },
            );
            return None;
        }
        draft.note(place, "names that resolve to its addresses have no equal; the addresses themselves are there");
    }
    if region.ports.len() > MAX_PORTS {
        let mut only = Ports::default();
        only.add(443, 443);
        draft.note(place, format!("allows {} ports; 443 alone is kept, if it is one of them", region.ports.len()));
        region.ports = region.ports.and(&only);
    }
    Some(one).filter(|one| !one.region.is_empty())
}

fn reaches(region: &Region) -> Vec<Reach> {
    let names = match &region.names {
        Names::Some(patterns) => patterns.as_slice(),
        Names::AllBut(_) => &[],
    };
    let networks = region.literals.0.iter().copied().map(Reach::Network);
    names.iter().cloned().map(Reach::Host).chain(networks).collect()
}

/// Two lines that allow the same allow what either does: addresses of both, or any.
fn add(ways: &mut Ways, port: u16, (addresses, line): (Option<BTreeSet<IpNet>>, u32)) {
    let Some((known, first)) = ways.get_mut(&port) else {
        ways.insert(port, (addresses, line));
        return;
    };
    *known = known.take().zip(addresses).map(|(mut one, other)| {
        one.extend(other);
        one
    });
    *first = line.min(*first);
}

/// Adds the sources; for each of them the places of what it may reach.
fn sources(allowed: &[Allowed], draft: &mut Draft) -> Vec<BTreeSet<usize>> {
    let subnets: BTreeSet<IpNet> = allowed.iter().flat_map(|one| one.region.clients.0.iter().copied()).collect();
    let mut groups: BTreeMap<BTreeSet<usize>, Vec<IpNet>> = BTreeMap::new();
    for subnet in subnets {
        let members = allowed.iter().enumerate().filter(|(_, one)| one.region.clients.covers(&subnet));
        groups.entry(members.map(|(place, _)| place).collect()).or_default().push(subnet);
    }
    let mut taken = BTreeSet::new();
    for (members, subnets) in &groups {
        let lists = members.iter().filter_map(|member| allowed.get(*member)).find(|one| !one.clients.is_empty());
        let name = lists.map_or("everyone".to_owned(), |one| one.clients.join("-"));
        let name = draft::fresh(&name, &mut taken);
        draft.sources.push(DraftSource { name, subnets: subnets.clone(), report: false });
    }
    groups.into_keys().collect()
}

fn rules(ways: BTreeMap<Reach, BTreeMap<usize, Ways>>, draft: &mut Draft) {
    let mut rules: BTreeMap<Key, Vec<Reach>> = BTreeMap::new();
    for (reach, sources) in ways {
        let mut alike: BTreeMap<Terms, BTreeSet<usize>> = BTreeMap::new();
        for (source, ways) in sources {
            let mut by_addresses: BTreeMap<Option<BTreeSet<IpNet>>, (BTreeSet<u16>, u32)> = BTreeMap::new();
            for (port, (addresses, line)) in ways {
                let (ports, first) = by_addresses.entry(addresses).or_insert((BTreeSet::new(), line));
                ports.insert(port);
                *first = line.min(*first);
            }
            for (addresses, (ports, line)) in by_addresses {
                alike.entry((addresses, ports, line)).or_default().insert(source);
            }
        }
        let (is_network, is_open) = match &reach {
            Reach::Host(pattern) => (false, pattern.is_public_suffix_wide()),
            Reach::Network(_) => (true, false),
        };
        for ((addresses, ports, line), sources) in alike {
            let key = Key { line, is_network, is_open, addresses, ports, sources };
            rules.entry(key).or_default().push(reach.clone());
        }
    }
    let mut taken = BTreeSet::new();
    for (key, reaches) in rules {
        let names = key.sources.iter().filter_map(|source| draft.sources.get(*source));
        let mut rule = DraftRule {
            id: draft::fresh(&format!("squid/line-{}", key.line), &mut taken),
            sources: names.map(|source| source.name.clone()).collect(),
            addresses: key.addresses.into_iter().flatten().collect(),
            ports: key.ports.into_iter().collect(),
            ..DraftRule::default()
        };
        for reach in reaches {
            match reach {
                Reach::Host(pattern) => rule.hosts.push(pattern),
                Reach::Network(network) => rule.networks.push(network),
            }
        }
        draft.rules.push(rule);
    }
}
