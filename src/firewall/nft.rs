//! Rules as `nft -f` reads them: one table, replaced as a whole and at once.
//! Not here: which rules there are. Source: nft(8).

use std::fmt::Write;
use std::net::SocketAddr;

use super::rule::{Chain, Family, Hook, MARK, Match, Ruleset, Verdict};

/// The file.
pub(super) fn write(ruleset: &Ruleset) -> String {
    let name = ruleset.name;
    let mut text = String::from("#!/usr/sbin/nft -f\n");
    for line in &ruleset.told {
        push(&mut text, format_args!("{}\n", format!("# {line}").trim_end()));
    }
    // Declared, so that there is one to delete.
    push(&mut text, format_args!("\ntable inet {name}\ndelete table inet {name}\ntable inet {name} {{\n"));
    for chain in &ruleset.chains {
        write_chain(&mut text, chain);
    }
    text.push_str("}\n");
    text
}

/// Writing to a text never fails.
fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(what);
}

fn write_chain(text: &mut String, chain: &Chain) {
    let (name, hooked) = match chain.hook {
        Hook::NatPrerouting => ("nat_prerouting", "type nat hook prerouting priority dstnat"),
        Hook::NatOutput => ("nat_output", "type nat hook output priority -100"),
        Hook::ManglePrerouting => ("mangle_prerouting", "type filter hook prerouting priority mangle"),
        Hook::MangleOutput => ("mangle_output", "type route hook output priority mangle"),
        Hook::ManglePostrouting => ("mangle_postrouting", "type filter hook postrouting priority mangle"),
        Hook::Input => ("input", "type filter hook input priority filter"),
        Hook::Forward => ("forward", "type filter hook forward priority filter"),
        Hook::Output => ("output", "type filter hook output priority filter"),
    };
    let policy = if chain.closed { "drop" } else { "accept" };
    push(text, format_args!("\tchain {name} {{\n\t\t{hooked}; policy {policy};\n"));
    for rule in &chain.rules {
        push(text, format_args!("\t\t# {}\n\t\t", rule.why));
        for each in &rule.on {
            push(text, format_args!("{} ", condition(each)));
        }
        push(text, format_args!("{}\n", statement(&rule.then)));
    }
    text.push_str("\t}\n");
}

fn condition(each: &Match) -> String {
    match each {
        Match::Family(Family::Four) => "meta nfproto ipv4".to_owned(),
        Match::Family(Family::Six) => "meta nfproto ipv6".to_owned(),
        Match::Tcp => "meta l4proto tcp".to_owned(),
        Match::TcpTo(port) => format!("tcp dport {port}"),
        Match::UdpTo(port) => format!("udp dport {port}"),
        Match::To(prefix) => format!("{} daddr {prefix}", header(Family::of(prefix))),
        Match::ToPrivate(family) => format!("{} daddr {}", header(*family), private(*family)),
        Match::From(prefix) => format!("{} saddr {prefix}", header(Family::of(prefix))),
        Match::FromPrivate(family) => format!("{} saddr {}", header(*family), private(*family)),
        Match::Local => "fib daddr type local".to_owned(),
        Match::FromLoopback => "iifname \"lo\"".to_owned(),
        Match::ByLoopback => "oifname \"lo\"".to_owned(),
        Match::NotByLoopback => "oifname != \"lo\"".to_owned(),
        Match::Of(user) => format!("meta skuid \"{user}\""),
        Match::Answer => "ct direction reply".to_owned(),
        Match::Established => "ct state established".to_owned(),
        Match::Related => "ct state related".to_owned(),
        Match::Error(Family::Four) => "meta l4proto icmp ct state related".to_owned(),
        Match::Error(Family::Six) => "meta l4proto ipv6-icmp ct state related".to_owned(),
        Match::New => "ct state new".to_owned(),
        Match::Marked => format!("meta mark {MARK:#x}"),
        Match::ConnectionMarked => format!("ct mark {MARK:#x}"),
        Match::Icmpv6(kind) => format!("icmpv6 type {kind}"),
    }
}

fn statement(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Pass => "accept".to_owned(),
        Verdict::Drop => "counter drop".to_owned(),
        Verdict::Reject => "counter reject with icmpx type admin-prohibited".to_owned(),
        Verdict::Reset => "counter reject with tcp reset".to_owned(),
        Verdict::Redirect(port) => format!("counter redirect to :{port}"),
        Verdict::To(at) => format!("counter dnat {} to {at}", family(*at)),
        Verdict::Tproxy(at) if at.ip().is_unspecified() => {
            format!("meta mark set {MARK:#x} counter tproxy {} to :{} accept", family(*at), at.port())
        }
        Verdict::Tproxy(at) => format!("meta mark set {MARK:#x} counter tproxy {} to {at} accept", family(*at)),
        Verdict::MarkConnection => format!("ct mark set {MARK:#x}"),
        Verdict::Mark => format!("counter meta mark set {MARK:#x}"),
    }
}

fn family(at: SocketAddr) -> &'static str {
    header(if at.is_ipv4() { Family::Four } else { Family::Six })
}

fn header(family: Family) -> &'static str {
    match family {
        Family::Four => "ip",
        Family::Six => "ip6",
    }
}

fn private(family: Family) -> String {
    format!("{{ {} }}", family.private().join(", "))
}
