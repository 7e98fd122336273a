//! Rules that let nothing leave a host, or a network behind it, but the proxy's own connections; and nobody in but to the proxy.
//! Not here: bringing connections to the proxy (`capture`), how rules are spelt (`nft`, `iptables`).
//! Source: the contract: `firewall`; RFC 4890 (ICMPv6 that must pass), RFC 4861 (neighbour discovery), RFC 2710 and 3810 (MLD).

use std::net::SocketAddr;

use ipnet::IpNet;

use super::capture::{astray, refusal};
use super::rule::{Chain, Family, Hook, Match, Rule, Ruleset, Verdict, excluded, rule};
use super::{FirewallError, Wanted, with_port};
use crate::config::{Capture, Config, DnsServer, Mode};

/// ICMPv6 without which IPv6 does not work on a link: routers, neighbours, and who listens to which group (RFC 4890 4.4.1).
const ON_LINK: [u8; 8] = [130, 131, 132, 133, 134, 135, 136, 143];

const TOLD: [&str; 15] = [
    "Lets nothing out but sallyport, and nobody in but to it. Goes with either way of capturing, or with none.",
    "",
    "Goes out: TCP of the proxy's user, its questions to its DNS servers, what is excluded.",
    "Comes in: connections to the proxy's listeners, admin port and probes.",
    "Everything else is refused: other users, other protocols, other UDP, DNS, ICMP, and whatever would be forwarded.",
    "IPv6 goes as IPv4 does; of ICMPv6 what a link needs passes as well.",
    "What is excluded is reached by this host, and through it from private addresses (10.0.0.0/8, fc00::/7 and the like),",
    "on whatever side those are; answers go back, errors of ICMP about them do not.",
    "Not here, so add what this host needs, each in front of what refuses: ssh, time, updates, a resolver of its own, DHCP.",
    "  nft add rule inet sallyport_only input tcp dport 22 ip saddr 10.0.0.0/24 accept",
    "  nft insert rule inet sallyport_only output meta skuid systemd-timesync udp dport 123 accept",
    "  nft insert rule inet sallyport_only output meta skuid systemd-resolve udp dport 53 accept",
    "Whom a resolver of this host asks, everybody here asks through it: that is a way out.",
    "Connections of this host that are open now go on as they were; `conntrack -F` ends them, yours too.",
    "Who has CAP_NET_ADMIN or CAP_NET_RAW here, or runs as the proxy's user, can go round all of this.",
];

/// The rules for a configuration.
pub(super) fn ruleset(config: &Config, wanted: &Wanted) -> Result<Ruleset, FirewallError> {
    if let Some(name) = wanted.listeners.first() {
        return Err(FirewallError::Named(name.clone()));
    }
    let is_tproxy = |mode| mode == Mode::Transparent(Capture::Tproxy);
    let marks = config.listeners.iter().any(|listener| is_tproxy(listener.mode));
    let marked = || marks.then(|| rule("captured by TPROXY", [Match::Marked], Verdict::Pass));

    let known = || rule("of a connection that may be", [Match::Established], Verdict::Pass);

    let mut input = vec![rule("this host itself", [Match::FromLoopback], Verdict::Pass), known()];
    input.extend(errors());
    input.extend(marked());
    input.extend(doors(config)?);
    input.extend(on_link());

    let mut forward: Vec<Rule> = wanted.exclude.iter().flat_map(through).collect();
    forward.extend(refused());

    let mut output = vec![
        rule("this host itself", [Match::ByLoopback], Verdict::Pass),
        rule("this host itself", [Match::Local], Verdict::Pass),
        known(),
        refusal(),
    ];
    output.extend(marked());
    output.extend(excluded(&wanted.exclude));
    output.push(rule("the proxy", [Match::Of(wanted.user.clone()), Match::Tcp], Verdict::Pass));
    output.extend(questions(config, wanted));
    output.extend(on_link());
    output.extend(refused());

    let mut chains = vec![
        Chain { hook: Hook::Input, closed: true, rules: input },
        Chain { hook: Hook::Forward, closed: true, rules: forward },
        Chain { hook: Hook::Output, closed: true, rules: output },
    ];
    if marks {
        chains.push(Chain { hook: Hook::ManglePostrouting, closed: false, rules: vec![astray()] });
    }
    Ok(Ruleset { told: TOLD.map(str::to_owned).into(), name: "sallyport_only", chains })
}

/// What is heard about this host's own connections. No error is forwarded: a client can write one about a captured connection, with what
/// it likes behind it, and the tracking of connections takes it for related.
fn errors() -> [Rule; 2] {
    [Family::Four, Family::Six]
        .map(|family| rule("an error about one: path MTU", [Match::Error(family)], Verdict::Pass))
}

/// What is excluded, for those behind this host: who comes from elsewhere is no client. Which interface is which isn't known here, but
/// nobody has a private address on the Internet.
fn through(prefix: &IpNet) -> [Rule; 2] {
    let family = Family::of(prefix);
    let answer = [Match::Established, Match::Answer, Match::From(*prefix), Match::ToPrivate(family)];
    [
        rule("excluded, from within", [Match::FromPrivate(family), Match::To(*prefix)], Verdict::Pass),
        rule("its answers", answer, Verdict::Pass),
    ]
}

/// Who may come in: to everything that listens for others.
fn doors(config: &Config) -> Result<Vec<Rule>, FirewallError> {
    let listeners =
        config.listeners.iter().filter_map(|listener| Some((format!("listener `{}`", listener.name), listener.tcp()?)));
    let admin = std::iter::once(("the admin port".to_owned(), config.admin.address));
    let probes = config.probes.map(|address| ("the probes".to_owned(), address));
    let mut rules = Vec::new();
    for (name, address) in listeners.chain(admin).chain(probes).filter(|(_, address)| !address.ip().is_loopback()) {
        rules.push(to(&name, with_port(&name, address)?));
    }
    Ok(rules)
}

fn to(name: &str, address: SocketAddr) -> Rule {
    let place = if address.ip().is_unspecified() {
        Match::Family(if address.is_ipv4() { Family::Four } else { Family::Six })
    } else {
        Match::To(address.ip().into())
    };
    rule(name, [place, Match::TcpTo(address.port())], Verdict::Pass)
}

/// The proxy's questions over UDP; those over TCP, TLS and HTTPS are TCP of its user.
fn questions(config: &Config, wanted: &Wanted) -> impl Iterator<Item = Rule> {
    config.dns.servers.iter().filter_map(|server| {
        let mut on = vec![Match::Of(wanted.user.clone())];
        let why = match server {
            // Which those are stands in /etc/resolv.conf and may change.
            DnsServer::System => {
                on.push(Match::UdpTo(53));
                "the proxy's questions to the system's DNS servers".to_owned()
            }
            DnsServer::Udp(address) => {
                on.extend([Match::To(address.ip().into()), Match::UdpTo(address.port())]);
                format!("the proxy's questions to {address}")
            }
            DnsServer::Tcp(_) | DnsServer::Tls { .. } | DnsServer::Https { .. } => return None,
        };
        Some(rule(why, on, Verdict::Pass))
    })
}

/// A reset is heard at once; many clients wait a second or more where they are told that something is prohibited.
fn refused() -> [Rule; 2] {
    [rule("everything else over TCP", [Match::Tcp], Verdict::Reset), rule("everything else", [], Verdict::Reject)]
}

fn on_link() -> impl Iterator<Item = Rule> {
    ON_LINK.into_iter().map(|kind| rule("IPv6 on the link", [Match::Icmpv6(kind)], Verdict::Pass))
}
