//! Prefixes as people write them, checked. Pure.
//! Not here: sets and maps of them (`trie`).
//! Source: RFC 4632 and RFC 4291 2.3 for the notation.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use thiserror::Error;

use super::canonical;

/// Why a text is no prefix. Holds the input escaped and cut to 64 characters.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PrefixError {
    /// What stands before the slash is no address in its plain spelling.
    #[error("bad prefix `{prefix}`; write an address and a length, such as `203.0.113.0/24` or `2001:db8::/32`")]
    Address {
        /// The input.
        prefix: String,
    },
    /// An address alone.
    #[error("no length in `{prefix}`; write `{instead}` for this address alone")]
    NoLength {
        /// The input.
        prefix: String,
        /// The prefix of this one address.
        instead: IpNet,
    },
    /// No plain number, or too large.
    #[error("bad length in `{prefix}`; write 0 to {max} in decimal digits behind the slash")]
    Length {
        /// The input.
        prefix: String,
        /// The longest for its kind of address.
        max: u8,
    },
    /// Bits behind the length: a typing error in one of the two.
    #[error("host bits in `{prefix}`; write `{network}` for the network or `{address}` for the address alone")]
    HostBits {
        /// The input.
        prefix: String,
        /// The same without host bits.
        network: IpNet,
        /// The prefix of this one address.
        address: IpNet,
    },
    /// IPv4 written as IPv6: it would hold nothing, as such addresses are IPv4 here.
    #[error("IPv4-mapped prefix `{prefix}`; write `{instead}`")]
    Mapped {
        /// The input.
        prefix: String,
        /// The IPv4 prefix.
        instead: IpNet,
    },
}

/// Reads `ADDRESS/LENGTH` in its plain spelling, without host bits.
pub fn parse_prefix(text: &str) -> Result<IpNet, PrefixError> {
    let prefix = || shown(text);
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return Err(PrefixError::Address { prefix: prefix() });
    };
    let alone = IpNet::from(canonical(address));
    let Some(length) = length else {
        return Err(PrefixError::NoLength { prefix: prefix(), instead: alone });
    };
    let max = IpNet::from(address).max_prefix_len();
    let Some(net) = parse_length(length).and_then(|length| IpNet::new(address, length).ok()) else {
        return Err(PrefixError::Length { prefix: prefix(), max });
    };
    let instead = canonical_net(net);
    if instead.max_prefix_len() != max {
        return Err(PrefixError::Mapped { prefix: prefix(), instead });
    }
    if instead != net {
        return Err(PrefixError::HostBits { prefix: prefix(), network: instead, address: alone });
    }
    Ok(net)
}

/// Whether a prefix is so short that a rule must own up to it: shorter than /16, or /32 for IPv6.
pub fn is_wide(prefix: &IpNet) -> bool {
    match prefix {
        IpNet::V4(net) => net.prefix_len() < 16,
        IpNet::V6(net) => net.prefix_len() < 32,
    }
}

/// The prefix without host bits, and as IPv4 if all of its addresses are IPv4-mapped.
pub(super) fn canonical_net(net: IpNet) -> IpNet {
    /// Length in bits of `::ffff:0:0/96`, the prefix of all IPv4-mapped addresses.
    const MAPPED: u8 = 96;
    let mapped = match net {
        IpNet::V4(_) => None,
        IpNet::V6(net) => net.addr().to_ipv4_mapped().zip(net.prefix_len().checked_sub(MAPPED)),
    };
    match mapped.and_then(|(address, length)| Ipv4Net::new(address, length).ok()) {
        Some(net) => net.trunc().into(),
        None => net.trunc(),
    }
}

fn parse_length(text: &str) -> Option<u8> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

/// Most characters of an input that an error message repeats: enough to find it, too few to flood a terminal.
const MAX_SHOWN: usize = 64;

/// The input as an error message may repeat it: escaped, at most [`MAX_SHOWN`] characters.
fn shown(input: &str) -> String {
    let mut escaped = input.chars().flat_map(char::escape_debug);
    let mut text: String = escaped.by_ref().take(MAX_SHOWN).collect();
    if escaped.next().is_some() {
        text.pop();
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_prefixes() {
        for (text, want, wide) in [
            ("203.0.113.0/24", "203.0.113.0/24", false),
            ("10.0.0.0/8", "10.0.0.0/8", true),
            ("10.0.0.0/15", "10.0.0.0/15", true),
            ("10.0.0.0/16", "10.0.0.0/16", false),
            ("0.0.0.0/0", "0.0.0.0/0", true),
            ("198.51.100.77/32", "198.51.100.77/32", false),
            ("2001:DB8:0::/32", "2001:db8::/32", false),
            ("2001:d00::/24", "2001:d00::/24", true),
            ("2600::/31", "2600::/31", true),
            ("::/0", "::/0", true),
            ("::1/128", "::1/128", false),
        ] {
            let net = parse_prefix(text).expect(text);
            assert_eq!((net.to_string().as_str(), is_wide(&net)), (want, wide), "`{text}`");
        }
    }

    #[test]
    fn errors_say_what_to_write() {
        for (text, want) in [
            ("10.0.0.1", "no length in `10.0.0.1`; write `10.0.0.1/32` for this address alone"),
            ("2001:db8::1", "no length in `2001:db8::1`; write `2001:db8::1/128` for this address alone"),
            ("::ffff:10.0.0.1", "no length in `::ffff:10.0.0.1`; write `10.0.0.1/32` for this address alone"),
            (
                "10.0.0.1/8",
                "host bits in `10.0.0.1/8`; write `10.0.0.0/8` for the network or `10.0.0.1/32` for the address alone",
            ),
            ("2001:db8::1/32", "write `2001:db8::/32` for the network or `2001:db8::1/128` for the address alone"),
            ("::ffff:10.0.0.0/104", "IPv4-mapped prefix `::ffff:10.0.0.0/104`; write `10.0.0.0/8`"),
            ("::ffff:10.0.0.1/104", "IPv4-mapped prefix `::ffff:10.0.0.1/104`; write `10.0.0.0/8`"),
            ("::ffff:0:0/96", "write `0.0.0.0/0`"),
            ("::ffff:10.0.0.1/80", "write `::/80` for the network or `10.0.0.1/32` for the address alone"),
            ("10.0.0.0/33", "bad length in `10.0.0.0/33`; write 0 to 32 in decimal digits behind the slash"),
            ("2001:db8::/129", "write 0 to 128 in decimal"),
            ("10.0.0.0/08", "bad length"),
            ("10.0.0.0/00", "bad length"),
            ("10.0.0.0/+8", "bad length"),
            ("10.0.0.0/", "bad length"),
            ("10.0.0.0/8 ", "bad length"),
            ("10.0.0.0/8/8", "bad length"),
            ("10.0.0.0/300", "bad length"),
            ("10.0.0.0/255.0.0.0", "bad length"),
            ("010.0.0.0/8", "bad prefix `010.0.0.0/8`; write an address and a length, such as `203.0.113.0/24` or"),
            ("10/8", "bad prefix"),
            ("10.0.0/24", "bad prefix"),
            ("[::1]/128", "bad prefix"),
            ("fe80::1%eth0/64", "bad prefix"),
            ("acme.example", "bad prefix"),
            ("", "bad prefix ``"),
            ("a\u{1b}[2J", "bad prefix `a\\u{1b}[2J`"),
        ] {
            let error = parse_prefix(text).expect_err(text).to_string();
            assert!(error.contains(want), "`{text}`: {error}");
        }
    }

    #[test]
    fn shown_input_is_bounded() {
        assert_eq!(shown(&"1".repeat(64)), "1".repeat(64));
        assert_eq!(shown(&"1".repeat(65)), format!("{}…", "1".repeat(63)));
    }

    proptest! {
        #[test]
        fn every_canonical_prefix_reads_back(address: IpAddr, length in 0u8..=128) {
            if let Ok(net) = IpNet::new(address, length) {
                let net = canonical_net(net);
                prop_assert_eq!(parse_prefix(&net.to_string()), Ok(net));
                prop_assert_eq!(canonical_net(net), net);
            }
        }

        #[test]
        fn no_input_panics(text in "[0-9a-f:./]{0,50}|.{0,50}") {
            if let Ok(net) = parse_prefix(&text) {
                prop_assert_eq!(net, canonical_net(net));
            }
        }
    }
}
