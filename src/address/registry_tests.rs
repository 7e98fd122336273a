//! Tests of the tables: their order, both ends of every special block, and what stays reachable.
//! Not here: embedded addresses.
//! Source: the two registries' own columns, written down a second time, by address.

use super::*;

fn block(text: &str) -> Option<&'static str> {
    match text.parse().expect(text) {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

#[test]
fn ends_of_special_blocks() {
    for (first, last, want) in [
        ("0.0.0.1", "0.255.255.255", "this network"),
        ("10.0.0.0", "10.255.255.255", "private-use"),
        ("100.64.0.0", "100.127.255.255", "shared address space"),
        ("127.0.0.0", "127.255.255.255", "loopback"),
        ("169.254.0.0", "169.254.255.255", "link local"),
        ("172.16.0.0", "172.31.255.255", "private-use"),
        ("192.0.0.0", "192.0.0.7", "ipv4 service continuity prefix"),
        ("192.0.0.8", "192.0.0.8", "ipv4 dummy address"),
        ("192.0.0.11", "192.0.0.255", "ietf protocol assignments"),
        ("192.0.0.170", "192.0.0.171", "nat64/dns64 discovery"),
        ("192.0.2.0", "192.0.2.255", "documentation (test-net-1)"),
        ("192.88.99.2", "192.88.99.2", "6a44-relay anycast address"),
        ("192.88.99.0", "192.88.99.255", "deprecated (6to4 relay anycast)"),
        ("192.168.0.0", "192.168.255.255", "private-use"),
        ("198.18.0.0", "198.19.255.255", "benchmarking"),
        ("198.51.100.0", "198.51.100.255", "documentation (test-net-2)"),
        ("203.0.113.0", "203.0.113.255", "documentation (test-net-3)"),
        ("224.0.0.0", "239.255.255.255", "multicast"),
        ("240.0.0.0", "255.255.255.254", "reserved"),
        ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "ipv4-ipv6 translation, local-use"),
        ("100::", "100::ffff:ffff:ffff:ffff", "discard-only address block"),
        ("100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff", "dummy ipv6 prefix"),
        ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "teredo"),
        ("2001:1::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "ietf protocol assignments"),
        ("2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", "benchmarking"),
        ("2001:10::", "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff", "deprecated (previously orchid)"),
        ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "documentation"),
        ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "6to4"),
        ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "documentation"),
        ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "segment routing (srv6) sids"),
        ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "unique-local"),
        ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local unicast"),
        ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "site-local (deprecated)"),
        ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast"),
        ("::2", "::ffff:ffff", "ipv4-compatible (deprecated)"),
        ("4000::", "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "outside global unicast"),
    ] {
        assert_eq!((block(first), block(last)), (Some(want), Some(want)), "{first} to {last}");
    }
    for (text, want) in [
        ("0.0.0.0", "this host on this network"),
        ("255.255.255.255", "limited broadcast"),
        ("::", "unspecified address"),
        ("::1", "loopback address"),
        ("64:ff9b:0:0:0:1::", "outside global unicast"),
        ("64:ff9b:2::", "outside global unicast"),
        ("100:0:0:2::", "outside global unicast"),
        ("1fff:ffff::", "outside global unicast"),
    ] {
        assert_eq!(block(text), Some(want), "{text}");
    }
}

#[test]
fn reachable_addresses_inside_and_beside_special_blocks() {
    for text in [
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.0.9",
        "192.0.0.10",
        "192.0.1.0",
        "192.0.3.0",
        "192.31.196.0",
        "192.52.193.255",
        "192.88.98.255",
        "192.88.100.0",
        "192.167.255.255",
        "192.169.0.0",
        "192.175.48.1",
        "198.17.255.255",
        "198.20.0.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "64:ff9b::",
        "64:ff9b::ffff:ffff",
        "2000::",
        "2001:1::1",
        "2001:1::2",
        "2001:1::3",
        "2001:3:ffff::",
        "2001:4:112::1",
        "2001:20::",
        "2001:2f:ffff::",
        "2001:30::",
        "2001:200::",
        "2001:db7:ffff::",
        "2001:db9::",
        "2003::",
        "2620:4f:8000::1",
        "3ffe:ffff::",
        "3fff:1000::",
        "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ] {
        assert_eq!(block(text), None, "{text}");
    }
}

#[test]
fn no_block_hides_behind_a_wider_one_before_it() {
    for (at, block) in V4.iter().enumerate() {
        let before = V4[..at].iter().find(|earlier| earlier.net.contains(&block.net));
        assert!(before.is_none(), "{} {} is never reached", block.net, block.name);
        assert_eq!(block.net, block.net.trunc(), "{}", block.name);
    }
    for (at, block) in V6.iter().enumerate() {
        let before = V6[..at].iter().find(|earlier| earlier.net.contains(&block.net));
        assert!(before.is_none(), "{} {} is never reached", block.net, block.name);
        assert_eq!(block.net, block.net.trunc(), "{}", block.name);
    }
}

#[test]
fn metadata_addresses() {
    for (text, want) in [
        ("169.254.169.254", Some("cloud instance metadata")),
        ("fd00:ec2::254", Some("aws instance metadata")),
        ("fd20:ce::254", Some("google instance metadata")),
        ("168.63.129.16", Some("azure platform")),
        ("100.100.100.200", Some("alibaba instance metadata")),
        ("fe80::a9fe:a9fe", Some("openstack instance metadata")),
        ("169.254.169.255", None),
        ("168.63.129.17", None),
    ] {
        assert_eq!(metadata_owner(text.parse().expect(text)), want, "{text}");
    }
}
