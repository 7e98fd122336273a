//! The special-purpose address blocks and the cloud metadata addresses, as tables. Pure.
//! Not here: IPv4 addresses within IPv6 ones (`super`). N/A as reachability counts as not reachable.
//! Source: iana-ipv4-special-registry and iana-ipv6-special-registry (RFC 6890, 8190, …, 9780), names in lower case.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// The block that makes an IPv4 address special-purpose; `None` if it is globally reachable.
pub(super) fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    let block = V4.iter().find(|block| block.net.contains(&address))?;
    (!block.is_global).then_some(block.name)
}

/// The block that makes an IPv6 address special-purpose; `None` if it is globally reachable.
pub(super) fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    let block = V6.iter().find(|block| block.net.contains(&address))?;
    (!block.is_global).then_some(block.name)
}

/// Whose metadata service listens at the address.
pub(super) fn metadata_owner(address: IpAddr) -> Option<&'static str> {
    METADATA.iter().find(|(of, _)| *of == address).map(|(_, owner)| *owner)
}

/// A block of a registry. The first of a table that holds an address decides, so the more specific stand first.
struct Block<N> {
    net: N,
    name: &'static str,
    is_global: bool,
}

const fn special4([a, b, c, d]: [u8; 4], length: u8, name: &'static str) -> Block<Ipv4Net> {
    Block { net: Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length), name, is_global: false }
}

const fn global4(octets: [u8; 4], length: u8, name: &'static str) -> Block<Ipv4Net> {
    Block { is_global: true, ..special4(octets, length, name) }
}

/// A block of which all but the first four segments are zero.
const fn special6([a, b, c, d]: [u16; 4], length: u8, name: &'static str) -> Block<Ipv6Net> {
    Block { net: Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), length), name, is_global: false }
}

const fn global6(segments: [u16; 4], length: u8, name: &'static str) -> Block<Ipv6Net> {
    Block { is_global: true, ..special6(segments, length, name) }
}

const fn special6_host(address: Ipv6Addr, name: &'static str) -> Block<Ipv6Net> {
    Block { net: Ipv6Net::new_assert(address, 128), name, is_global: false }
}

const fn global6_host(address: Ipv6Addr, name: &'static str) -> Block<Ipv6Net> {
    Block { is_global: true, ..special6_host(address, name) }
}

static V4: [Block<Ipv4Net>; 28] = [
    special4([0, 0, 0, 0], 32, "this host on this network"),
    special4([0, 0, 0, 0], 8, "this network"),
    special4([10, 0, 0, 0], 8, "private-use"),
    special4([100, 64, 0, 0], 10, "shared address space"),
    special4([127, 0, 0, 0], 8, "loopback"),
    special4([169, 254, 0, 0], 16, "link local"),
    special4([172, 16, 0, 0], 12, "private-use"),
    special4([192, 0, 0, 8], 32, "ipv4 dummy address"),
    global4([192, 0, 0, 9], 32, "port control protocol anycast"),
    global4([192, 0, 0, 10], 32, "traversal using relays around nat anycast"),
    special4([192, 0, 0, 170], 32, "nat64/dns64 discovery"),
    special4([192, 0, 0, 171], 32, "nat64/dns64 discovery"),
    special4([192, 0, 0, 0], 29, "ipv4 service continuity prefix"),
    special4([192, 0, 0, 0], 24, "ietf protocol assignments"),
    special4([192, 0, 2, 0], 24, "documentation (test-net-1)"),
    global4([192, 31, 196, 0], 24, "as112-v4"),
    global4([192, 52, 193, 0], 24, "amt"),
    special4([192, 88, 99, 2], 32, "6a44-relay anycast address"),
    special4([192, 88, 99, 0], 24, "deprecated (6to4 relay anycast)"),
    special4([192, 168, 0, 0], 16, "private-use"),
    global4([192, 175, 48, 0], 24, "direct delegation as112 service"),
    special4([198, 18, 0, 0], 15, "benchmarking"),
    special4([198, 51, 100, 0], 24, "documentation (test-net-2)"),
    special4([203, 0, 113, 0], 24, "documentation (test-net-3)"),
    special4([255, 255, 255, 255], 32, "limited broadcast"),
    special4([240, 0, 0, 0], 4, "reserved"),
    // Not in the special-purpose registry, but in that of the whole space.
    special4([224, 0, 0, 0], 4, "multicast"),
    global4([0, 0, 0, 0], 0, "unicast"),
];

static V6: [Block<Ipv6Net>; 29] = [
    special6_host(Ipv6Addr::LOCALHOST, "loopback address"),
    special6_host(Ipv6Addr::UNSPECIFIED, "unspecified address"),
    // `::ffff:0:0/96` (IPv4-mapped) is IPv4 before it comes here.
    global6([0x64, 0xff9b, 0, 0], 96, "ipv4-ipv6 translation"),
    special6([0x64, 0xff9b, 1, 0], 48, "ipv4-ipv6 translation, local-use"),
    special6([0x100, 0, 0, 0], 64, "discard-only address block"),
    special6([0x100, 0, 0, 1], 64, "dummy ipv6 prefix"),
    special6([0x2001, 0, 0, 0], 32, "teredo"),
    global6_host(Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 1), "port control protocol anycast"),
    global6_host(Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 2), "traversal using relays around nat anycast"),
    global6_host(Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 3), "dns-sd service registration protocol anycast"),
    special6([0x2001, 2, 0, 0], 48, "benchmarking"),
    global6([0x2001, 3, 0, 0], 32, "amt"),
    global6([0x2001, 4, 0x112, 0], 48, "as112-v6"),
    special6([0x2001, 0x10, 0, 0], 28, "deprecated (previously orchid)"),
    global6([0x2001, 0x20, 0, 0], 28, "orchidv2"),
    global6([0x2001, 0x30, 0, 0], 28, "drone remote id protocol entity tags"),
    special6([0x2001, 0, 0, 0], 23, "ietf protocol assignments"),
    special6([0x2001, 0xdb8, 0, 0], 32, "documentation"),
    special6([0x2002, 0, 0, 0], 16, "6to4"),
    global6([0x2620, 0x4f, 0x8000, 0], 48, "direct delegation as112 service"),
    special6([0x3fff, 0, 0, 0], 20, "documentation"),
    special6([0x5f00, 0, 0, 0], 16, "segment routing (srv6) sids"),
    special6([0xfc00, 0, 0, 0], 7, "unique-local"),
    special6([0xfe80, 0, 0, 0], 10, "link-local unicast"),
    // Not in the special-purpose registry, but in that of the whole space (RFC 4291 2.4 to 2.7).
    special6([0, 0, 0, 0], 96, "ipv4-compatible (deprecated)"),
    special6([0xfec0, 0, 0, 0], 10, "site-local (deprecated)"),
    special6([0xff00, 0, 0, 0], 8, "multicast"),
    global6([0x2000, 0, 0, 0], 3, "global unicast"),
    // What IANA has not handed out is not reachable.
    special6([0, 0, 0, 0], 0, "outside global unicast"),
];

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn v6([a, b, c, d]: [u16; 4], [e, f]: [u16; 2]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, e, f))
}

/// From the clouds' own manuals. Some lie in globally reachable blocks, so the registries don't cover them.
static METADATA: [(IpAddr, &str); 13] = [
    (v4(169, 254, 169, 254), "cloud instance metadata"),
    (v4(169, 254, 170, 2), "aws ecs task metadata"),
    (v4(169, 254, 170, 23), "aws eks pod identity"),
    (v6([0xfd00, 0xec2, 0, 0], [0, 0x254]), "aws instance metadata"),
    (v6([0xfd00, 0xec2, 0, 0], [0, 0x23]), "aws eks pod identity"),
    (v4(168, 63, 129, 16), "azure platform"),
    (v6([0xfd20, 0xce, 0, 0], [0, 0x254]), "google instance metadata"),
    (v4(100, 100, 100, 200), "alibaba instance metadata"),
    (v4(169, 254, 0, 23), "tencent instance metadata"),
    (v4(192, 0, 0, 192), "oracle instance metadata"),
    (v4(169, 254, 42, 42), "scaleway instance metadata"),
    (v6([0xfd00, 0x42, 0, 0], [0, 0x42]), "scaleway instance metadata"),
    (v6([0xfe80, 0, 0, 0], [0xa9fe, 0xa9fe]), "openstack instance metadata"),
];

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
