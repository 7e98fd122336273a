//! Rules before they are written: what a packet must be, and what becomes of it. Both languages say the same.
//! Not here: their spelling (`nft`, `iptables`), which rules there are (`capture`, `only_way_out`).

use std::net::SocketAddr;

use ipnet::IpNet;

use super::User;

/// The mark of connections that TPROXY brings, on packets and in the tracking of connections; the routing table has the same number.
pub(super) const MARK: u32 = 0x5a1;

/// All rules of one mode.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ruleset {
    /// What it is for and what it needs, a line each.
    pub(super) told: Vec<String>,
    /// How its table is called.
    pub(super) name: &'static str,
    /// Its chains, in any order.
    pub(super) chains: Vec<Chain>,
}

/// The rules of one hook.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chain {
    /// Where packets come by.
    pub(super) hook: Hook,
    /// Whether what no rule lets pass is dropped.
    pub(super) closed: bool,
    /// In order; the first that fits decides.
    pub(super) rules: Vec<Rule>,
}

/// Where packets come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// New connections from elsewhere, before they are routed.
    NatPrerouting,
    /// New connections of this host.
    NatOutput,
    /// Every packet from elsewhere, before it is routed.
    ManglePrerouting,
    /// Every packet of this host; a mark that is set routes it anew.
    MangleOutput,
    /// Every packet that leaves.
    ManglePostrouting,
    /// What is for this host.
    Input,
    /// What goes through this host.
    Forward,
    /// What comes from this host.
    Output,
}

/// A rule: all of what it is about must hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// What it is for.
    pub(super) why: String,
    /// What a packet must be.
    pub(super) on: Vec<Match>,
    /// What becomes of it.
    pub(super) then: Verdict,
}

/// A rule, with what it is for in front.
pub(super) fn rule(why: impl Into<String>, on: impl Into<Vec<Match>>, then: Verdict) -> Rule {
    Rule { why: why.into(), on: on.into(), then }
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// IPv4.
    Four,
    /// IPv6.
    Six,
}

impl Family {
    /// Of a prefix.
    pub(super) fn of(prefix: &IpNet) -> Self {
        match prefix {
            IpNet::V4(_) => Self::Four,
            IpNet::V6(_) => Self::Six,
        }
    }

    /// Addresses that nobody has on the Internet (RFC 1918, RFC 6598, RFC 4193).
    pub(super) fn private(self) -> &'static [&'static str] {
        match self {
            Self::Four => &["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16"],
            Self::Six => &["fc00::/7"],
        }
    }
}

/// What a packet must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// Of this family.
    Family(Family),
    /// TCP.
    Tcp,
    /// TCP to this port.
    TcpTo(u16),
    /// UDP to this port.
    UdpTo(u16),
    /// To this prefix.
    To(IpNet),
    /// To a private address of this family.
    ToPrivate(Family),
    /// From this prefix.
    From(IpNet),
    /// From a private address of this family.
    FromPrivate(Family),
    /// To an address of this host.
    Local,
    /// It came in by loopback.
    FromLoopback,
    /// It goes out by loopback.
    ByLoopback,
    /// It goes out by anything else.
    NotByLoopback,
    /// A process of this user sends it.
    Of(User),
    /// An answer: it goes back to who began.
    Answer,
    /// Of a connection that is known.
    Established,
    /// About a connection that is known, or that is being refused.
    Related,
    /// An error about a connection that is known, as ICMP of this family says it.
    Error(Family),
    /// The first of a connection.
    New,
    /// It has the mark.
    Marked,
    /// Its connection has the mark.
    ConnectionMarked,
    /// ICMPv6 of this type.
    Icmpv6(u8),
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// These rules have no more to say.
    Pass,
    /// Away, without a word.
    Drop,
    /// Refused, and its sender is told so.
    Reject,
    /// A TCP connection refused.
    Reset,
    /// To this host's own address in its way, to this port.
    Redirect(u16),
    /// To this address.
    To(SocketAddr),
    /// As it is to the socket that listens there, with the mark.
    Tproxy(SocketAddr),
    /// The mark onto its connection; the next rule follows.
    MarkConnection,
    /// The mark onto it; the next rule follows.
    Mark,
}

/// Rules that leave the excluded destinations alone.
pub(super) fn excluded(prefixes: &[IpNet]) -> impl Iterator<Item = Rule> {
    prefixes.iter().map(|prefix| rule("excluded", [Match::To(*prefix)], Verdict::Pass))
}
