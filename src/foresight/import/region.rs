//! Who may reach what, as a region of sources × destinations × ports, and what is left of one when another is taken out.
//! Not here: whose lines these are (`squid`). Every answer is a part of the exact one: what can't be said exactly is left out.
//! Source: ours.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::draft::{covers, overlap};
use crate::name::HostPattern;

/// Sources, names, literal addresses and ports: all pairs of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) clients: Prefixes,
    pub(super) names: Names,
    pub(super) literals: Prefixes,
    pub(super) ports: Ports,
}

/// Names. There are no one-label wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// Those that one of these holds.
    Some(Vec<HostPattern>),
    /// All but those.
    AllBut(Vec<HostPattern>),
}

/// Addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Prefixes(pub(super) Vec<IpNet>);

/// Ports, as ascending ranges with both ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ports(Vec<(u16, u16)>);

/// A wildcard some of whose names were taken out, so that no pattern holds the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Torn {
    pub(super) wildcard: HostPattern,
    /// All that was taken out of it.
    pub(super) parts: Vec<HostPattern>,
}

/// What is left of names.
pub(super) struct Rest {
    pub(super) names: Names,
    pub(super) torn: Vec<Torn>,
}

impl Region {
    /// Everything.
    pub(super) fn all() -> Self {
        Self {
            clients: Prefixes::all(),
            names: Names::AllBut(Vec::new()),
            literals: Prefixes::all(),
            ports: Ports::all(),
        }
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        let reaches = !self.names.is_empty() || !self.literals.0.is_empty();
        self.clients.0.is_empty() || self.ports.0.is_empty() || !reaches
    }

    /// What is left without `other`; wildcards that were torn are told. `may_keep`: the caller refuses all their parts elsewhere, so
    /// that they may stay.
    pub(super) fn without(&self, other: &Self, may_keep: bool) -> (Vec<Self>, Vec<Torn>) {
        let clients = self.clients.without(&other.clients);
        let shared = self.clients.and(&other.clients);
        let ports = self.ports.without(&other.ports);
        let inner = self.ports.and(&other.ports);
        let Rest { names, torn } = if shared.0.is_empty() || inner.0.is_empty() {
            Rest { names: self.names.clone(), torn: Vec::new() }
        } else {
            self.names.without(&other.names, may_keep)
        };
        let literals = self.literals.without(&other.literals);
        let pieces = [
            Self { clients, ..self.clone() },
            Self { clients: shared.clone(), ports, ..self.clone() },
            Self { clients: shared, ports: inner, names, literals },
        ];
        (pieces.into_iter().filter(|piece| !piece.is_empty()).collect(), torn)
    }
}

impl Names {
    fn is_empty(&self) -> bool {
        matches!(self, Self::Some(patterns) if patterns.is_empty())
    }

    /// What both have.
    pub(super) fn and(&self, patterns: &[HostPattern]) -> Self {
        match self {
            Self::Some(own) => Self::Some(shared(own, patterns)),
            Self::AllBut(_) => Self::Some(patterns.to_vec()).without(&Self::Some(self.taken().to_vec()), false).names,
        }
    }

    fn taken(&self) -> &[HostPattern] {
        match self {
            Self::Some(_) => &[],
            Self::AllBut(taken) => taken,
        }
    }

    pub(super) fn without(&self, other: &Self, may_keep: bool) -> Rest {
        let mut torn = Vec::new();
        let names = match (self, other) {
            (Self::Some(own), Self::Some(taken)) => Self::Some(
                own.iter()
                    .filter(|pattern| {
                        if taken.iter().any(|taken| covers(taken, pattern)) {
                            return false;
                        }
                        let parts: Vec<_> = taken.iter().filter(|taken| overlap(taken, pattern)).cloned().collect();
                        let is_torn = !parts.is_empty();
                        if is_torn {
                            torn.push(Torn { wildcard: (*pattern).clone(), parts });
                        }
                        !is_torn || may_keep
                    })
                    .cloned()
                    .collect(),
            ),
            (Self::Some(own), Self::AllBut(kept)) => Self::Some(shared(own, kept)),
            (Self::AllBut(taken), Self::AllBut(kept)) => {
                Self::Some(kept.clone()).without(&Self::Some(taken.clone()), false).names
            }
            (Self::AllBut(own), Self::Some(taken)) => Self::AllBut(own.iter().chain(taken).cloned().collect()),
        };
        Rest { names, torn }
    }
}

/// The patterns of either that the other's hold.
fn shared(one: &[HostPattern], other: &[HostPattern]) -> Vec<HostPattern> {
    let within = |inner: &[HostPattern], outer: &[HostPattern]| -> Vec<HostPattern> {
        inner.iter().filter(|pattern| outer.iter().any(|outer| covers(outer, pattern))).cloned().collect()
    };
    let mut all = [within(one, other), within(other, one)].concat();
    all.sort();
    all.dedup();
    all
}

impl Prefixes {
    /// Every address.
    pub(super) fn all() -> Self {
        Self(vec![IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())])
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        let pairs = self.0.iter().flat_map(|one| other.0.iter().map(move |other| (one, other)));
        let mut both: Vec<IpNet> = pairs.filter_map(|(one, other)| narrower(one, other)).collect();
        both.sort_unstable();
        both.dedup();
        Self(both)
    }

    pub(super) fn without(&self, other: &Self) -> Self {
        let take = |rest: Vec<IpNet>, taken: &IpNet| rest.iter().flat_map(|prefix| cut(*prefix, *taken)).collect();
        Self(other.0.iter().fold(self.0.clone(), take))
    }

    /// Whether all of `prefix` is in it.
    pub(super) fn covers(&self, prefix: &IpNet) -> bool {
        self.0.iter().any(|own| own.contains(prefix))
    }
}

fn narrower(one: &IpNet, other: &IpNet) -> Option<IpNet> {
    if one.contains(other) { Some(*other) } else { other.contains(one).then_some(*one) }
}

/// What is left of a prefix: at most one piece for each bit.
fn cut(prefix: IpNet, taken: IpNet) -> Vec<IpNet> {
    let (mut left, mut rest) = (Vec::new(), prefix);
    if taken.contains(&rest) {
        return left;
    }
    while rest.contains(&taken) && rest != taken {
        let Ok(halves) = rest.subnets(rest.prefix_len().saturating_add(1)) else { break };
        let (inner, outer): (Vec<IpNet>, Vec<IpNet>) = halves.partition(|half| half.contains(&taken));
        left.extend(outer);
        let Some(inner) = inner.first() else { break };
        rest = *inner;
    }
    if rest != taken {
        left.push(rest);
    }
    left
}

impl Ports {
    /// Every port.
    pub(super) fn all() -> Self {
        Self(vec![(1, u16::MAX)])
    }

    /// One more range.
    pub(super) fn add(&mut self, first: u16, last: u16) {
        self.0.push((first, last));
        self.0.sort_unstable();
        let mut joined: Vec<(u16, u16)> = Vec::new();
        for (first, last) in self.0.drain(..) {
            match joined.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                Some(_) | None => joined.push((first, last)),
            }
        }
        self.0 = joined;
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        let pairs = self.0.iter().flat_map(|one| other.0.iter().map(move |other| (one, other)));
        let both = pairs.map(|(one, other)| (one.0.max(other.0), one.1.min(other.1)));
        Self(both.filter(|(first, last)| first <= last).collect())
    }

    pub(super) fn without(&self, other: &Self) -> Self {
        let mut gaps = Vec::new();
        let mut next = Some(0_u16);
        for (first, last) in &other.0 {
            let before = next.zip(first.checked_sub(1)).filter(|(start, end)| start <= end);
            gaps.extend(before);
            next = last.checked_add(1);
        }
        gaps.extend(next.map(|start| (start, u16::MAX)));
        self.and(&Self(gaps))
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|(first, last)| usize::from(last.saturating_sub(*first)).saturating_add(1)).sum()
    }

    /// Each.
    pub(super) fn iter(&self) -> impl Iterator<Item = u16> {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }
}

/// The prefixes from one address to another.
pub(super) fn range(first: IpAddr, last: IpAddr) -> Option<Vec<IpNet>> {
    match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => {
            Some(ipnet::Ipv4Subnets::new(first, last, 0).map(IpNet::V4).collect())
        }
        (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => {
            Some(ipnet::Ipv6Subnets::new(first, last, 0).map(IpNet::V6).collect())
        }
        (IpAddr::V4(_) | IpAddr::V6(_), IpAddr::V4(_) | IpAddr::V6(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefixes() -> impl Strategy<Value = Prefixes> {
        prop::collection::vec((0_u8..16, 28_u8..=32), 0..5).prop_map(|list| {
            let net = |(last, length)| IpNet::new([10, 0, 0, last].into(), length).unwrap().trunc();
            Prefixes(list.into_iter().map(net).collect())
        })
    }

    fn ports() -> impl Strategy<Value = Ports> {
        prop::collection::vec((1_u16..12, 0_u16..5), 0..5).prop_map(|list| {
            let mut ports = Ports::default();
            list.into_iter().for_each(|(first, more)| ports.add(first, first + more));
            ports
        })
    }

    proptest! {
        #[test]
        fn sets_are_exact(one in prefixes(), other in prefixes(), ports in ports(), others in ports()) {
            let has = |set: &Prefixes, last: u8| set.covers(&IpNet::from(IpAddr::from([10, 0, 0, last])));
            let in_it = |set: &Ports, port: u16| set.iter().any(|one| one == port);
            for last in 0..20 {
                prop_assert_eq!(has(&one.and(&other), last), has(&one, last) && has(&other, last));
                prop_assert_eq!(has(&one.without(&other), last), has(&one, last) && !has(&other, last));
            }
            for port in 1..20 {
                prop_assert_eq!(in_it(&ports.and(&others), port), in_it(&ports, port) && in_it(&others, port));
                prop_assert_eq!(in_it(&ports.without(&others), port), in_it(&ports, port) && !in_it(&others, port));
            }
            prop_assert_eq!(ports.iter().count(), ports.len());
        }
    }

    #[test]
    fn what_is_left_of_everything() {
        let all = Prefixes::all();
        let rest = all.without(&Prefixes(vec!["10.0.0.0/8".parse().unwrap()]));
        assert_eq!(rest.0.len(), 9, "eight pieces, and IPv6");
        assert!(!rest.covers(&"10.1.2.3/32".parse().unwrap()) && rest.covers(&"11.0.0.0/8".parse().unwrap()));
        assert_eq!(range([10, 0, 0, 1].into(), [10, 0, 0, 4].into()).unwrap().len(), 3);
        assert_eq!(range([10, 0, 0, 4].into(), [10, 0, 0, 1].into()), None);
    }
}
