//! What kind of address an address is, and sets of prefixes. Pure.
//! Not here: which address a rule permits (`policy`), the proxy's own addresses (`policy::OwnAddresses`).
//! Source: the IANA special-purpose registries; RFC 2765, 3056, 4291, 4380, 5214, 6052, 8215 (embedded IPv4).

#![warn(clippy::arithmetic_side_effects)]

mod prefix;
mod registry;
mod trie;

pub use prefix::{PrefixError, is_wide, parse_prefix};
pub use trie::{PrefixMap, PrefixSet};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is for, worst of its own and those that it embeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressClass {
    /// Globally reachable.
    Global,
    /// Special-purpose: multicast, or not globally reachable; the registry's name of the block, such as `loopback`.
    Special(&'static str),
    /// A cloud's metadata service, which hands out credentials; whose it is.
    Metadata(&'static str),
}

/// The address in its only form: an IPv4-mapped IPv6 address (`::ffff:a.b.c.d`) is the IPv4 address.
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// The class of an address. One that embeds IPv4 addresses is never better than any of them.
pub fn classify(address: IpAddr) -> AddressClass {
    let own = classify_outer(canonical(address));
    embedded(address).map(|inner| classify_outer(inner.into())).fold(own, worse)
}

/// The IPv4 addresses that a translator or tunnel could read out of an IPv6 address; a mapped one is IPv4 and embeds none.
pub fn embedded(address: IpAddr) -> impl Iterator<Item = Ipv4Addr> {
    let (tunnel, local) = match canonical(address) {
        IpAddr::V4(_) => Default::default(),
        IpAddr::V6(address) => (tunnelled(address), local_nat64(address)),
    };
    tunnel.into_iter().chain(local).flatten()
}

fn classify_outer(address: IpAddr) -> AddressClass {
    if let Some(owner) = registry::metadata_owner(address) {
        return AddressClass::Metadata(owner);
    }
    let special = match address {
        IpAddr::V4(address) => registry::special_v4(address),
        IpAddr::V6(address) => registry::special_v6(address),
    };
    special.map_or(AddressClass::Global, AddressClass::Special)
}

/// The worse of two classes; of equal ones the first, so that an address's own block names it.
fn worse(first: AddressClass, second: AddressClass) -> AddressClass {
    match (first, second) {
        (AddressClass::Metadata(_), _)
        | (AddressClass::Special(_), AddressClass::Global | AddressClass::Special(_)) => first,
        (AddressClass::Special(_), AddressClass::Metadata(_)) | (AddressClass::Global, _) => second,
    }
}

/// NAT64, IPv4-compatible, IPv4-translated, 6to4 and Teredo in front; ISATAP behind, whatever stands in front.
fn tunnelled(address: Ipv6Addr) -> [Option<Ipv4Addr>; 3] {
    let (first, second) = match address.segments() {
        // Not embedded: the unspecified and the loopback address (RFC 4291 2.5.2, 2.5.3).
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => (None, None),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0, 0, 0, 0, 0, 0, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x2002, high, low, ..] => (Some(joined(high, low)), None),
        // Teredo: the server's address, then the client's with all bits turned over (RFC 4380 4).
        [0x2001, 0, high, low, _, _, client_high, client_low] => {
            (Some(joined(high, low)), Some(joined(!client_high, !client_low)))
        }
        _ => (None, None),
    };
    let isatap = match address.segments() {
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => Some(joined(high, low)),
        _ => None,
    };
    [first, second, isatap]
}

/// All places where a translator may keep the IPv4 address in the local-use NAT64 block `64:ff9b:1::/48`:
/// its prefix has 48, 56, 64 or 96 bits, and bits 64 to 71 stay unused but for the last (RFC 6052 2.2, RFC 8215).
fn local_nat64(address: Ipv6Addr) -> [Option<Ipv4Addr>; 4] {
    let [0, 0x64, 0xff, 0x9b, 0, 1, o6, o7, _, o9, o10, o11, o12, o13, o14, o15] = address.octets() else {
        return [None; 4];
    };
    [[o6, o7, o9, o10], [o7, o9, o10, o11], [o9, o10, o11, o12], [o12, o13, o14, o15]].map(|octets| Some(octets.into()))
}

fn joined(high: u16, low: u16) -> Ipv4Addr {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use AddressClass::{Global, Metadata, Special};
    use proptest::prelude::*;

    use super::*;

    fn class(text: &str) -> AddressClass {
        classify(text.parse().expect(text))
    }

    #[test]
    fn classes_of_plain_addresses() {
        for (text, want) in [
            ("8.8.8.8", Global),
            ("223.255.255.255", Global),
            ("2606:4700::1111", Global),
            ("::ffff:8.8.8.8", Global),
            ("127.0.0.1", Special("loopback")),
            ("::ffff:127.0.0.1", Special("loopback")),
            ("10.1.2.3", Special("private-use")),
            ("::ffff:10.1.2.3", Special("private-use")),
            ("203.0.113.10", Special("documentation (test-net-3)")),
            ("::1", Special("loopback address")),
            ("::", Special("unspecified address")),
            ("fe80::1", Special("link-local unicast")),
            ("fc00::1", Special("unique-local")),
        ] {
            assert_eq!(class(text), want, "`{text}`");
        }
    }

    #[test]
    fn cloud_metadata_in_every_form() {
        for text in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "fd00:ec2::254",
            "168.63.129.16",
            "100.100.100.200",
            "fd20:ce::254",
            "fe80::a9fe:a9fe",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b::a83f:8110",
            "64:ff9b:1::a9fe:a9fe",
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:a9:fe:a9fe::",
            "64:ff9b:1:0:a9:fea9:fe00:0",
            "2002:a9fe:a9fe::1",
            "2001:0:a9fe:a9fe::1",
            "2001:0:808:808:0:0:5601:5601",
            "2606:4700::5efe:a9fe:a9fe",
            "2002:808:808::200:5efe:a83f:8110",
            "::a9fe:a9fe",
            "::ffff:0:a9fe:a9fe",
        ] {
            assert!(matches!(class(text), Metadata(_)), "`{text}`: {:?}", class(text));
        }
    }

    #[test]
    fn an_embedded_address_counts() {
        for (text, want) in [
            ("64:ff9b::808:808", Global),
            ("64:ff9b::cb00:710a", Special("documentation (test-net-3)")),
            ("64:ff9b::a00:1", Special("private-use")),
            ("64:ff9b::7f00:1", Special("loopback")),
            ("64:ff9b::e000:1", Special("multicast")),
            ("64:ff9b:1::808:808", Special("ipv4-ipv6 translation, local-use")),
            ("2002:808:808::1", Special("6to4")),
            ("2002:cb00:710a::", Special("6to4")),
            ("2001:0:808:808::f7f7:f7f7", Special("teredo")),
            ("::8.8.8.8", Special("ipv4-compatible (deprecated)")),
            ("::ffff:0:808:808", Special("outside global unicast")),
            ("2606:4700::5efe:808:808", Global),
            ("2606:4700::5efe:a00:1", Special("private-use")),
            ("2606:4700::200:5efe:c0a8:1", Special("private-use")),
            ("2606:4700::100:5efe:c0a8:1", Global),
            ("2606:4700::a00:1", Global),
        ] {
            assert_eq!(class(text), want, "`{text}`");
        }
    }

    #[test]
    fn embedded_addresses() {
        for (text, want) in [
            ("10.0.0.1", &[][..]),
            ("::ffff:10.0.0.1", &[]),
            ("2606:4700::1", &[]),
            ("64:ff9b::a00:1", &["10.0.0.1"]),
            ("2002:a00:1::5efe:a00:2", &["10.0.0.1", "10.0.0.2"]),
            ("2001:0:a00:1::f5ff:fffd", &["10.0.0.1", "10.0.0.2"]),
        ] {
            let got: Vec<String> = embedded(text.parse().expect(text)).map(|inner| inner.to_string()).collect();
            assert_eq!(got, want, "`{text}`");
        }
    }

    fn rank(class: AddressClass) -> u8 {
        match class {
            Global => 0,
            Special(_) => 1,
            Metadata(_) => 2,
        }
    }

    proptest! {
        #[test]
        fn no_wrapping_makes_an_address_better(inner: Ipv4Addr, front: u64) {
            let (bits, want) = (u128::from(inner.to_bits()), rank(classify(inner.into())));
            let client = u128::from(!inner.to_bits());
            for (form, bits) in [
                ("nat64", 0x64_ff9b << 96 | bits),
                ("local nat64", 0x64_ff9b_0001 << 80 | bits),
                ("6to4", 0x2002 << 112 | bits << 80),
                ("teredo server", 0x2001 << 112 | bits << 64),
                ("teredo client", 0x2001 << 112 | client),
                ("isatap", u128::from(front) << 64 | 0x5efe << 32 | bits),
                ("isatap, global", u128::from(front) << 64 | 0x200_5efe << 32 | bits),
                ("mapped", 0xffff << 32 | bits),
                ("compatible", bits),
            ] {
                let wrapped = IpAddr::from(Ipv6Addr::from_bits(bits));
                prop_assert!(rank(classify(wrapped)) >= want, "{}: {}", form, wrapped);
            }
        }

        #[test]
        fn canonical_is_idempotent_and_keeps_the_class(address: IpAddr) {
            prop_assert_eq!(canonical(canonical(address)), canonical(address));
            prop_assert_eq!(classify(canonical(address)), classify(address));
        }

        #[test]
        fn nothing_outside_the_two_global_blocks_is_global(bits: u128) {
            let is_unicast = bits >> 125 == 1 || bits >> 32 == 0x64_ff9b << 64 || bits >> 32 == 0xffff;
            prop_assert!(is_unicast || classify(Ipv6Addr::from_bits(bits).into()) != Global);
        }
    }
}
