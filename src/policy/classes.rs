//! Destinations as rules write them, each with a representative: a name or address of which no more specific pattern or network speaks.
//! Not here: what may be reached (`request`), tables and comparisons (`matrix`, `diff`). Time does not count here.
//!
//! Rules tell two names apart only by the patterns that match them, so all names whose most specific pattern is the same fare alike. One of
//! them stands for all. Not exact for IPv6 networks whose addresses embed IPv4 ones: there the first address stands for all.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::addresses::{Answer, OwnAddresses};
use super::client::{Client, Origin};
use super::compile::{Grant, Policy};
use super::decision::Denial;
use super::request::Identified;
use super::rule::Rule;
use crate::address::PrefixMap;
use crate::name::{Fqdn, Host, HostPattern, IdentityPattern, Target};

/// A pattern or a network. In order: names from the base on, the exact one first, then networks by address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// Names.
    Host(HostPattern),
    /// Literal addresses.
    Network(IpNet),
}

/// The same where it stands in a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DestinationRef<'a> {
    Host(&'a HostPattern),
    Network(IpNet),
}

impl Ord for DestinationRef<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Host(one), Self::Host(two)) => one.base().cmp(two.base()).then_with(|| one.cmp(two)),
            (Self::Host(_), Self::Network(_)) => Ordering::Less,
            (Self::Network(_), Self::Host(_)) => Ordering::Greater,
            (Self::Network(one), Self::Network(two)) => one.cmp(two),
        }
    }
}

impl PartialOrd for DestinationRef<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Destination {
    fn cmp(&self, other: &Self) -> Ordering {
        self.by_ref().cmp(&other.by_ref())
    }
}

impl PartialOrd for Destination {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(pattern) => pattern.fmt(f),
            Self::Network(network) => network.fmt(f),
        }
    }
}

impl Destination {
    /// The same, not its own.
    pub(super) fn by_ref(&self) -> DestinationRef<'_> {
        match self {
            Self::Host(pattern) => DestinationRef::Host(pattern),
            Self::Network(network) => DestinationRef::Network(*network),
        }
    }
}

impl<'a> DestinationRef<'a> {
    /// Where a rule reaches.
    pub(super) fn of(grant: &'a Grant) -> impl Iterator<Item = Self> {
        let hosts = grant.hosts().iter().map(Self::Host);
        hosts.chain(grant.networks().iter().copied().map(Self::Network))
    }

    /// All that a policy speaks of, `never` too.
    pub(super) fn all(policy: &'a Policy) -> impl Iterator<Item = Self> {
        let never = policy.never();
        let hosts = never.hosts().iter().map(Self::Host);
        policy.grants().iter().flat_map(Self::of).chain(hosts).chain(never.networks().map(Self::Network))
    }

    fn host(self) -> Option<&'a HostPattern> {
        match self {
            Self::Host(pattern) => Some(pattern),
            Self::Network(_) => None,
        }
    }

    fn network(self) -> Option<IpNet> {
        match self {
            Self::Host(_) => None,
            Self::Network(network) => Some(network),
        }
    }

    /// One of its own.
    pub(super) fn owned(self) -> Destination {
        match self {
            Self::Host(pattern) => Destination::Host(pattern.clone()),
            Self::Network(network) => Destination::Network(network),
        }
    }
}

/// Finds representatives among some destinations.
#[derive(Debug)]
pub(super) struct Classes {
    /// A label that none of the names has.
    label: String,
    networks: PrefixMap<()>,
}

impl Classes {
    /// For these destinations, which are gone through more than once.
    pub(super) fn new<'a, I: Iterator<Item = DestinationRef<'a>>>(destinations: impl Fn() -> I) -> Self {
        let mut networks = PrefixMap::new();
        for network in destinations().filter_map(DestinationRef::network) {
            networks.insert(network, ());
        }
        let label = stranger(|| destinations().filter_map(DestinationRef::host).flat_map(|host| host.base().labels()));
        Self { label, networks }
    }

    /// What stands for all of a destination that no more specific one holds. `None` if those leave nothing over.
    pub(super) fn representative(&self, destination: DestinationRef<'_>) -> Option<Host> {
        match destination {
            DestinationRef::Host(pattern) => self.name(pattern).map(Host::Name),
            DestinationRef::Network(network) => gap(network, &self.networks).map(Host::Address),
        }
    }

    /// The same; where more specific ones leave nothing over, one that they hold too.
    pub(super) fn anyone(&self, destination: &Destination) -> Option<Host> {
        self.representative(destination.by_ref()).or_else(|| match destination {
            Destination::Host(_) => None,
            Destination::Network(network) => Some(Host::Address(network.addr())),
        })
    }

    /// Below a name that is as long as names may be there is none.
    fn name(&self, pattern: &HostPattern) -> Option<Fqdn> {
        let label = &self.label;
        match pattern {
            HostPattern::Exact(name) => Some(name.clone()),
            HostPattern::OneLabel(base) => format!("{label}.{base}").parse().ok(),
            HostPattern::AnyLabels(base) => format!("{label}.{label}.{base}").parse().ok(),
        }
    }
}

/// The first word of lower-case letters that is not among `labels`, of the least length of which there are more words than labels.
/// So no label of another length is kept. Letters alone, so that it makes no card number.
fn stranger<'a, I: Iterator<Item = &'a str>>(labels: impl Fn() -> I) -> String {
    let (mut length, mut words) = (1_usize, 26_usize);
    let count = labels().count();
    while words <= count {
        (length, words) = (length.saturating_add(1), words.saturating_mul(26));
    }
    let taken: HashSet<&str> = labels().filter(|label| label.len() == length).collect();
    let mut label = "a".repeat(length);
    while taken.contains(label.as_str()) {
        label = next(&label);
    }
    label
}

/// The word behind `word`: counted as with digits, `z` being the last.
fn next(word: &str) -> String {
    match word.strip_suffix('z') {
        Some("") => "aa".to_owned(),
        Some(rest) => format!("{}a", next(rest)),
        None => {
            let mut letters: Vec<char> = word.chars().collect();
            if let Some(last) = letters.last_mut() {
                *last = ('a'..='z').find(|letter| letter > last).unwrap_or('z');
            }
            letters.into_iter().collect()
        }
    }
}

/// The first address of a network that no longer one of `networks` holds. One step for each network right below it.
fn gap(network: IpNet, networks: &PrefixMap<()>) -> Option<IpAddr> {
    let mut address = network.addr();
    loop {
        let mut longer = networks.matching(address).filter(|(other, ())| other.prefix_len() > network.prefix_len());
        let Some((longer, ())) = longer.next() else { return Some(address) };
        address = behind(longer.broadcast())?;
        if !network.contains(&address) {
            return None;
        }
    }
}

fn behind(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => Some(IpAddr::V4(address.to_bits().checked_add(1)?.into())),
        IpAddr::V6(address) => Some(IpAddr::V6(address.to_bits().checked_add(1)?.into())),
    }
}

/// The subnets of a policy's sources, each with a client that belongs to no longer one.
pub(super) fn clients(policies: &[&Policy]) -> Vec<(IpNet, IpAddr)> {
    let of = |policy: &&Policy| policy.sources().iter().flat_map(|source| source.subnets.to_vec()).collect::<Vec<_>>();
    let subnets: BTreeSet<IpNet> = policies.iter().flat_map(of).collect();
    let mut map = PrefixMap::new();
    subnets.iter().for_each(|subnet| {
        map.insert(*subnet, ());
    });
    subnets.into_iter().filter_map(|subnet| Some((subnet, gap(subnet, &map)?))).collect()
}

/// A policy's sources, each by a client of its own. Those without clients, since others have all of their subnets, are left out.
pub(super) fn members(policy: &Arc<Policy>) -> Vec<Identified> {
    let mut found: Vec<Identified> = Vec::new();
    let mut seen: HashSet<Arc<str>> = HashSet::new();
    let addresses = clients(&[policy]).into_iter().map(|(_, client)| Origin::Address(client));
    let users = policy.sources().iter().filter_map(|source| source.uids.first().copied().map(Origin::User));
    for origin in addresses.chain(users) {
        for source in policy.candidates(origin).filter(|source| !seen.contains(&source.name)).collect::<Vec<_>>() {
            let identities = source.identities.first().and_then(IdentityPattern::example).into_iter().collect();
            let identified = policy.identify(&Client { identities, ..Client::new(origin) }).ok();
            found.extend(identified.inspect(|identified| {
                seen.insert(Arc::clone(&identified.source().name));
            }));
        }
    }
    found
}

/// The rule that lets a source reach a target at some time, whatever a name resolves to.
pub(super) fn reaches(identified: &Identified, target: &Target) -> Result<Arc<Rule>, Denial> {
    let admitted = identified.request_at_some_time(target)?;
    if let Host::Address(_) = target.host() {
        admitted.addresses(&Answer { addresses: &[], cnames: &[] }, &OwnAddresses::default())?;
    }
    Ok(Arc::clone(admitted.rule()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn classes(texts: &[&str]) -> Classes {
        let read = |text: &&str| match text.parse() {
            Ok(network) => Destination::Network(network),
            Err(_) => Destination::Host(text.parse().unwrap()),
        };
        let destinations: Vec<Destination> = texts.iter().map(read).collect();
        Classes::new(|| destinations.iter().map(Destination::by_ref))
    }

    #[test]
    fn representatives_by_table() {
        let names = ["a.example", "b.a.example", "**.d.c.example"];
        let label = "x".repeat(62);
        let long = format!("**.{}", [label.as_str(); 4].join("."));
        for (listed, asked, want) in [
            (&names[..], "a.example", Some("a.example")),
            (&names, "*.a.example", Some("e.a.example")),
            (&names, "**.a.example", Some("e.e.a.example")),
            (&[], "*.example", Some("a.example")),
            (&[], &long, None),
            (&["198.51.100.0/24"], "198.51.100.0/24", Some("198.51.100.0")),
            (&["198.51.100.0/24", "198.51.100.0/25"], "198.51.100.0/24", Some("198.51.100.128")),
            (&["198.51.100.0/25", "198.51.100.128/25", "198.51.100.1/32"], "198.51.100.0/24", None),
            (&["198.51.100.0/25", "198.51.100.0/32", "198.51.100.0/24"], "198.51.100.0/25", Some("198.51.100.1")),
            (&["255.255.255.0/25", "255.255.255.128/25"], "255.255.255.0/24", None),
            (&["2001:db8::/33"], "2001:db8::/32", Some("2001:db8:8000::")),
        ] {
            let destination = match asked.parse() {
                Ok(network) => Destination::Network(network),
                Err(_) => Destination::Host(asked.parse().unwrap()),
            };
            let found = classes(listed).representative(destination.by_ref()).map(|host| host.to_string());
            assert_eq!(found.as_deref(), want, "{asked} among {listed:?}");
        }
        let halves = classes(&["198.51.100.0/25", "198.51.100.128/25"]);
        let whole = Destination::Network("198.51.100.0/24".parse().unwrap());
        assert_eq!(halves.anyone(&whole).map(|host| host.to_string()).as_deref(), Some("198.51.100.0"));
    }

    #[test]
    fn labels_go_on_behind_z() {
        let letters: Vec<String> = ('a'..='z').map(String::from).collect();
        let letters = || letters.iter().map(String::as_str);
        for (name, labels, want) in [
            ("none", Vec::new(), "a"),
            ("all but one", letters().filter(|letter| *letter != "y").collect(), "y"),
            ("more words than of one letter", letters().collect(), "aa"),
            ("with the first of two letters", letters().chain(["ab", "aa", "b"]).collect(), "ac"),
        ] {
            assert_eq!(stranger(|| labels.iter().copied()), want, "{name}");
        }
        for (word, want) in [("a", "b"), ("z", "aa"), ("az", "ba"), ("zz", "aaa"), ("azz", "baa")] {
            assert_eq!(next(word), want, "{word}");
        }
    }

    #[test]
    fn names_stand_before_networks_and_by_their_base() {
        let read = |text: &str| match text.parse() {
            Ok(network) => Destination::Network(network),
            Err(_) => Destination::Host(text.parse().unwrap()),
        };
        let mut list = ["2001:db8::/32", "10.0.0.0/8", "**.a.b", "b.b", "*.a.b", "a.b"].map(read);
        list.sort();
        assert_eq!(list.map(|one| one.to_string()), ["a.b", "*.a.b", "**.a.b", "b.b", "10.0.0.0/8", "2001:db8::/32"]);
    }

    proptest! {
        #[test]
        fn a_gap_is_within_and_in_nothing_longer(nets in prop::collection::vec((0_u8..16, 28_u8..=32), 0..20), asked in (0_u8..16, 28_u8..=32)) {
            let net = |(last, length)| IpNet::new(std::net::Ipv4Addr::new(192, 0, 2, last).into(), length).unwrap().trunc();
            let (nets, asked): (Vec<IpNet>, IpNet) = (nets.into_iter().map(net).collect(), net(asked));
            let mut map = PrefixMap::new();
            nets.iter().for_each(|net| { map.insert(*net, ()); });
            let free = |address: &IpAddr| !nets.iter().any(|net| net.prefix_len() > asked.prefix_len() && net.contains(address));
            prop_assert_eq!(gap(asked, &map), asked.hosts().chain([asked.network(), asked.broadcast()]).filter(free).min());
        }
    }
}
