//! Prefixes by the addresses that they hold: a set, and a map with longest match. Pure.
//! Not here: reading them (`prefix`). Every address and prefix is canonicalised on the way in.
//! Source: the crate `prefix-trie` does the work, one tree a family.

use std::net::IpAddr;

use ipnet::IpNet;
use prefix_trie::joint::{JointPrefixMap, JointPrefixSet};

use super::canonical;
use super::prefix::canonical_net;

/// A set of prefixes, asked by address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrefixSet(JointPrefixSet<IpNet>);

impl PrefixSet {
    /// The set that holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a prefix of the set holds the address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.is_covered(&host(address))
    }

    /// All prefixes: IPv4 before IPv6, each family in the order of its addresses.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.0.iter()
    }

    /// Whether the set has no prefix.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<IpNet> for PrefixSet {
    fn from_iter<I: IntoIterator<Item = IpNet>>(prefixes: I) -> Self {
        Self(prefixes.into_iter().map(canonical_net).collect())
    }
}

/// Values by prefix, asked by address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixMap<T>(JointPrefixMap<IpNet, T>);

impl<T> PrefixMap<T> {
    /// The map that holds nothing.
    pub fn new() -> Self {
        Self(JointPrefixMap::new())
    }

    /// Sets the value of exactly this prefix; gives back the one that it had.
    pub fn insert(&mut self, prefix: IpNet, value: T) -> Option<T> {
        self.0.insert(canonical_net(prefix), value)
    }

    /// The value of exactly this prefix.
    pub fn get_exact(&self, prefix: &IpNet) -> Option<&T> {
        self.0.get(&canonical_net(*prefix))
    }

    /// The longest prefix that holds the address, and its value.
    pub fn longest(&self, address: IpAddr) -> Option<(IpNet, &T)> {
        self.0.get_lpm(&host(address))
    }

    /// All prefixes that hold the address, from the shortest to the longest.
    pub fn matching(&self, address: IpAddr) -> impl Iterator<Item = (IpNet, &T)> {
        self.0.cover(&host(address))
    }

    /// All prefixes: IPv4 before IPv6, each family in the order of its addresses.
    pub fn iter(&self) -> impl Iterator<Item = (IpNet, &T)> {
        self.0.iter()
    }

    /// Whether the map has no prefix.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> Default for PrefixMap<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// The prefix of one address.
fn host(address: IpAddr) -> IpNet {
    canonical(address).into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().expect(text)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    fn map(prefixes: &[&'static str]) -> PrefixMap<&'static str> {
        let mut map = PrefixMap::new();
        for prefix in prefixes {
            assert_eq!(map.insert(net(prefix), *prefix), None, "`{prefix}` twice");
        }
        map
    }

    #[test]
    fn longest_match() {
        let map = map(&["0.0.0.0/0", "10.0.0.0/8", "10.20.0.0/24", "10.20.0.5/32", "::/0", "2001:db8::/32"]);
        for (text, want) in [
            ("10.20.0.5", "10.20.0.5/32"),
            ("10.20.0.6", "10.20.0.0/24"),
            ("::ffff:10.20.0.6", "10.20.0.0/24"),
            ("10.20.1.6", "10.0.0.0/8"),
            ("11.0.0.0", "0.0.0.0/0"),
            ("2001:db8::1", "2001:db8::/32"),
            ("::1", "::/0"),
        ] {
            assert_eq!(map.longest(address(text)), Some((net(want), &want)), "`{text}`");
        }
        let all: Vec<IpNet> = map.matching(address("10.20.0.5")).map(|(prefix, _)| prefix).collect();
        assert_eq!(all, ["0.0.0.0/0", "10.0.0.0/8", "10.20.0.0/24", "10.20.0.5/32"].map(net));
    }

    #[test]
    fn prefixes_are_canonical_inside() {
        let mut map = PrefixMap::new();
        assert!(map.is_empty());
        assert_eq!(map.insert(net("::ffff:10.0.0.1/104"), 1), None);
        assert_eq!(map.insert(net("10.9.9.9/8"), 2), Some(1));
        assert_eq!(map.get_exact(&net("10.0.0.0/8")), Some(&2));
        assert_eq!(map.get_exact(&net("10.0.0.0/9")), None);
        assert_eq!(map.iter().collect::<Vec<_>>(), [(net("10.0.0.0/8"), &2)]);
    }

    #[test]
    fn sets() {
        assert!(PrefixSet::new().is_empty());
        let set: PrefixSet = ["10.0.0.0/8", "::ffff:192.0.2.0/120", "2001:db8::/32"].map(net).into_iter().collect();
        for (text, want) in [
            ("10.255.255.255", true),
            ("::ffff:10.0.0.1", true),
            ("192.0.2.9", true),
            ("11.0.0.0", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
        ] {
            assert_eq!(set.contains(address(text)), want, "`{text}`");
        }
        assert!(!PrefixSet::new().contains(address("10.0.0.1")));
        let whole: PrefixSet = [net("::/0")].into_iter().collect();
        assert!(
            !whole.contains(address("10.0.0.1")) && !whole.contains(address("::ffff:10.0.0.1")),
            "IPv6 holds no IPv4"
        );
    }

    /// Addresses that share long heads, so that random prefixes overlap.
    fn close_address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            (0u8..4, 0u8..4).prop_map(|(c, d)| IpAddr::from(Ipv4Addr::new(10, 0, c << 6, d << 6))),
            (0u128..16).prop_map(|bits| IpAddr::from((0x2001_0db8_u128 << 96 | bits << 60).to_be_bytes())),
            (0u32..4).prop_map(|bits| Ipv4Addr::from_bits(bits).to_ipv6_mapped().into()),
        ]
    }

    fn close_prefix() -> impl Strategy<Value = IpNet> {
        (close_address(), 0u8..=128).prop_map(|(address, length)| {
            let host = IpNet::from(address);
            canonical_net(IpNet::new(address, length.min(host.max_prefix_len())).unwrap())
        })
    }

    proptest! {
        #[test]
        fn every_search_equals_a_naive_scan(prefixes in prop::collection::vec(close_prefix(), 0..24), address in close_address()) {
            let naive: BTreeMap<IpNet, usize> = prefixes.iter().copied().zip(0..).collect();
            let mut map = PrefixMap::new();
            for (prefix, value) in prefixes.iter().zip(0usize..) {
                map.insert(*prefix, value);
            }
            let mut want: Vec<(IpNet, &usize)> =
                naive.iter().filter(|(prefix, _)| prefix.contains(&canonical(address))).map(|(p, v)| (*p, v)).collect();
            want.sort_by_key(|(prefix, _)| prefix.prefix_len());
            prop_assert_eq!(map.longest(address), want.last().copied());
            prop_assert_eq!(map.matching(address).collect::<Vec<_>>(), want.clone());
            prop_assert_eq!(prefixes.iter().copied().collect::<PrefixSet>().contains(address), !want.is_empty());
            prop_assert_eq!(map.iter().map(|(prefix, value)| (prefix, *value)).collect::<BTreeMap<_, _>>(), naive);
        }
    }
}
