//! Rules that bring TCP connections to the proxy, of this host's processes and of a gateway's clients, and stop what would go past it.
//! Not here: everything else that leaves a host (`only_way_out`), how rules are spelt (`nft`, `iptables`).
//! Source: the contract: `firewall`; RFC 9000 (QUIC), ip-rule(8).

use std::net::SocketAddr;

use super::rule::{Chain, Family, Hook, MARK, Match, Rule, Ruleset, Verdict, excluded, rule};
use super::{Doors, Mode, Wanted};

/// The table of either way of capturing: the one replaces the other.
const TABLE: &str = "sallyport";

/// What both ways do and do not.
const TOLD: [&str; 8] = [
    "",
    "Captured: every new TCP connection, to whatever port. The proxy refuses what is not TLS.",
    "Stopped: UDP to port 443 (QUIC), so that clients fall back to TCP; TCP of an address family that no listener takes.",
    "Not stopped: other UDP, ICMP, every other protocol. `--mode only-way-out` stops those; load its rules beside these.",
    "Not captured: the proxy's own user, destinations that are excluded, this host's own addresses.",
    "Connections that are open now go on as they were; `conntrack -F` ends those that went past the proxy.",
    "A gateway captures what comes to the hosts behind it as well: exclude their networks if they serve others.",
    "Who has CAP_NET_ADMIN or CAP_NET_RAW here, or runs as the proxy's user, can go round all of this.",
];

fn told(first: &str) -> Vec<String> {
    std::iter::once(first).chain(TOLD).map(str::to_owned).collect()
}

/// NAT: the address that a client wanted is known to the tracking of connections.
pub(super) fn redirect(doors: &Doors, wanted: &Wanted) -> Ruleset {
    let own = rule("the proxy itself", [Match::Of(wanted.user.clone())], Verdict::Pass);
    let inner: Vec<Rule> =
        doors.each().map(|(family, at)| rule("captured", [Match::Family(family), Match::Tcp], nat(at))).collect();
    // Nothing that comes from elsewhere can be brought to a loopback address.
    let outer: Vec<Rule> = doors
        .each()
        .filter(|(_, at)| !at.ip().is_loopback())
        .map(|(family, at)| rule("captured", [Match::Family(family), Match::Tcp], nat(at)))
        .collect();
    let mut told = told("Brings TCP connections to sallyport by NAT (REDIRECT).");
    if doors.each().any(|(_, at)| at.ip().is_loopback()) {
        told.push("A listener on loopback takes connections of this host's processes alone.".to_owned());
    }
    let mut output = vec![own];
    output.extend(left_alone(wanted));
    output.extend(inner);
    let mut prerouting: Vec<Rule> = left_alone(wanted).collect();
    prerouting.extend(outer);
    let chains = vec![
        Chain { hook: Hook::NatPrerouting, closed: false, rules: prerouting },
        Chain { hook: Hook::NatOutput, closed: false, rules: output },
        stopped(Hook::Forward, wanted),
        stopped(Hook::Output, wanted),
    ];
    Ruleset { told, name: TABLE, chains }
}

fn nat(at: SocketAddr) -> Verdict {
    if at.ip().is_unspecified() { Verdict::Redirect(at.port()) } else { Verdict::To(at) }
}

/// TPROXY: packets stay as they are, and sockets have the addresses that clients wanted.
pub(super) fn tproxy(doors: &Doors, wanted: &Wanted) -> Ruleset {
    let mut prerouting = vec![rule("answers to what was not captured", [Match::Answer], Verdict::Pass)];
    prerouting.extend(left_alone(wanted));
    prerouting.extend(
        doors.each().map(|(family, at)| rule("captured", [Match::Family(family), Match::Tcp], Verdict::Tproxy(at))),
    );
    let mut output = vec![
        rule("answers", [Match::Answer], Verdict::Pass),
        rule("the proxy itself", [Match::Of(wanted.user.clone())], Verdict::Pass),
    ];
    output.extend(left_alone(wanted));
    // What the kernel sends for a socket that its process has closed has no user: a connection is what its first packet was.
    output.extend(doors.each().map(|(family, _)| {
        let first = [Match::Family(family), Match::Tcp, Match::New];
        rule("captured from its first packet on", first, Verdict::MarkConnection)
    }));
    output.push(rule("captured: routed to this host", [Match::Tcp, Match::ConnectionMarked], Verdict::Mark));
    let chains = vec![
        Chain { hook: Hook::ManglePrerouting, closed: false, rules: prerouting },
        Chain { hook: Hook::MangleOutput, closed: false, rules: output },
        Chain { hook: Hook::ManglePostrouting, closed: false, rules: vec![astray()] },
        stopped(Hook::Forward, wanted),
        stopped(Hook::Output, wanted),
    ];
    let mut told = told("Brings TCP connections to sallyport as they are (TPROXY).");
    told.extend(routes(doors));
    Ruleset { told, name: TABLE, chains }
}

/// What the kernel itself says of a connection: that it is refused, or that a packet is too long.
pub(super) fn refusal() -> Rule {
    rule("what this host says about one", [Match::Related], Verdict::Pass)
}

/// What has the mark and leaves all the same: the route is missing. It is not let go.
pub(super) fn astray() -> Rule {
    rule("captured, but the route to this host is missing", [Match::Marked, Match::NotByLoopback], Verdict::Drop)
}

/// What no rule of a firewall can say.
fn routes(doors: &Doors) -> Vec<String> {
    let mut lines = vec![
        String::new(),
        "Needed beside these rules, at each start of the host; without them what is captured is dropped:".to_owned(),
    ];
    for (family, _) in doors.each() {
        let (flag, all) = match family {
            Family::Four => ("-4", "0.0.0.0/0"),
            Family::Six => ("-6", "::/0"),
        };
        lines.push(format!("  ip {flag} rule add fwmark {MARK:#x} lookup {MARK}"));
        lines.push(format!("  ip {flag} route add local {all} dev lo table {MARK}"));
    }
    lines.push(format!("The mark {MARK:#x} and the routing table {MARK} must be nobody else's. The proxy needs CAP_NET_ADMIN for its listener."));
    lines
}

fn left_alone(wanted: &Wanted) -> impl Iterator<Item = Rule> {
    let local = rule("to this host itself", [Match::Local], Verdict::Pass);
    std::iter::once(local).chain(excluded(&wanted.exclude))
}

/// What goes past a proxy for TCP, and TCP that nothing captured.
fn stopped(hook: Hook, wanted: &Wanted) -> Chain {
    let mut rules = Vec::new();
    if hook == Hook::Output {
        rules.push(rule("the proxy itself", [Match::Of(wanted.user.clone())], Verdict::Pass));
    }
    rules.push(rule("of a connection that may be", [Match::Established], Verdict::Pass));
    if hook == Hook::Output {
        rules.push(refusal());
    }
    if wanted.mode == Mode::Tproxy {
        rules.push(rule("on its way to the proxy", [Match::Marked], Verdict::Pass));
    }
    rules.extend(left_alone(wanted));
    rules.push(rule("QUIC", [Match::UdpTo(443)], Verdict::Reject));
    rules.push(rule("not captured", [Match::Tcp], Verdict::Reset));
    Chain { hook, closed: false, rules }
}
