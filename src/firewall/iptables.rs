//! Rules as `iptables-restore` and `ip6tables-restore` read them, one file for both: each skips what is marked as the other's.
//! Not here: which rules there are. Source: iptables(8), iptables-extensions(8), iptables-restore(8).

use std::fmt::Write;

use super::rule::{Chain, Family, Hook, MARK, Match, Rule, Ruleset, Verdict};

/// The file. Rules stand in chains of their own, in front of those that are there, and what passes them meets the others.
pub(super) fn write(ruleset: &Ruleset) -> String {
    let mut text = String::new();
    for line in &ruleset.told {
        push(&mut text, format_args!("{}\n", format!("# {line}").trim_end()));
    }
    push(&mut text, format_args!("#\n# iptables-restore --noflush FILE && ip6tables-restore --noflush FILE\n"));
    push(
        &mut text,
        format_args!(
            "# Loaded again, it has its chains anew; the jumps to them are then there twice, which changes nothing.\n"
        ),
    );
    for table in TABLES {
        write_table(&mut text, table, ruleset);
    }
    text
}

const TABLES: [&str; 3] = ["nat", "mangle", "filter"];

const HOOKS: [Hook; 8] = [
    Hook::NatPrerouting,
    Hook::NatOutput,
    Hook::ManglePrerouting,
    Hook::MangleOutput,
    Hook::ManglePostrouting,
    Hook::Input,
    Hook::Forward,
    Hook::Output,
];

/// Writing to a text never fails.
fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(what);
}

/// Table and chain of a hook.
fn place(hook: Hook) -> (&'static str, &'static str) {
    match hook {
        Hook::NatPrerouting => ("nat", "PREROUTING"),
        Hook::NatOutput => ("nat", "OUTPUT"),
        Hook::ManglePrerouting => ("mangle", "PREROUTING"),
        Hook::MangleOutput => ("mangle", "OUTPUT"),
        Hook::ManglePostrouting => ("mangle", "POSTROUTING"),
        Hook::Input => ("filter", "INPUT"),
        Hook::Forward => ("filter", "FORWARD"),
        Hook::Output => ("filter", "OUTPUT"),
    }
}

fn write_table(text: &mut String, table: &str, ruleset: &Ruleset) {
    push(text, format_args!("*{table}\n"));
    let own = |hook: Hook| format!("{}_{}", ruleset.name, place(hook).1.to_ascii_lowercase());
    // Each that there could be: what was loaded for another way of capturing is emptied.
    for hook in HOOKS.into_iter().filter(|hook| place(*hook).0 == table) {
        push(text, format_args!(":{} - [0:0]\n", own(hook)));
    }
    let chains = || ruleset.chains.iter().filter(|chain| place(chain.hook).0 == table);
    for Chain { hook, .. } in chains() {
        push(text, format_args!("-I {} -j {}\n", place(*hook).1, own(*hook)));
    }
    for chain in chains() {
        let own = own(chain.hook);
        for rule in &chain.rules {
            write_rule(text, &own, rule);
        }
        if chain.closed {
            push(text, format_args!("-A {own} -j DROP\n"));
        }
    }
    text.push_str("COMMIT\n");
}

/// A rule, and a second one where the two families say it differently.
fn write_rule(text: &mut String, own: &str, rule: &Rule) {
    push(text, format_args!("# {}\n", rule.why));
    let both = rule.then == Verdict::Reject;
    let families: &[Option<Family>] = match rule.on.iter().find_map(family_of) {
        Some(Family::Four) => &[Some(Family::Four)],
        Some(Family::Six) => &[Some(Family::Six)],
        None if both => &[Some(Family::Four), Some(Family::Six)],
        None => &[None],
    };
    for family in families {
        let flag = match family {
            Some(Family::Four) => "-4 ",
            Some(Family::Six) => "-6 ",
            None => "",
        };
        push(text, format_args!("{flag}-A {own}"));
        rule.on
            .iter()
            .map(condition)
            .filter(|words| !words.is_empty())
            .for_each(|words| push(text, format_args!(" {words}")));
        push(text, format_args!(" {}\n", target(&rule.then, *family)));
    }
}

fn family_of(each: &Match) -> Option<Family> {
    match each {
        Match::Family(family) => Some(*family),
        Match::ToPrivate(family) | Match::FromPrivate(family) | Match::Error(family) => Some(*family),
        Match::To(prefix) | Match::From(prefix) => Some(Family::of(prefix)),
        Match::Icmpv6(_) => Some(Family::Six),
        Match::Tcp
        | Match::TcpTo(_)
        | Match::UdpTo(_)
        | Match::Local
        | Match::FromLoopback
        | Match::ByLoopback
        | Match::NotByLoopback
        | Match::Of(_)
        | Match::Answer
        | Match::Established
        | Match::Related
        | Match::New
        | Match::Marked
        | Match::ConnectionMarked => None,
    }
}

fn condition(each: &Match) -> String {
    match each {
        Match::Family(_) => String::new(),
        Match::Tcp => "-p tcp".to_owned(),
        Match::TcpTo(port) => format!("-p tcp --dport {port}"),
        Match::UdpTo(port) => format!("-p udp --dport {port}"),
        Match::To(prefix) => format!("-d {prefix}"),
        Match::ToPrivate(family) => format!("-d {}", family.private().join(",")),
        Match::From(prefix) => format!("-s {prefix}"),
        Match::FromPrivate(family) => format!("-s {}", family.private().join(",")),
        Match::Local => "-m addrtype --dst-type LOCAL".to_owned(),
        Match::FromLoopback => "-i lo".to_owned(),
        Match::ByLoopback => "-o lo".to_owned(),
        Match::NotByLoopback => "! -o lo".to_owned(),
        Match::Of(user) => format!("-m owner --uid-owner {user}"),
        Match::Answer => "-m conntrack --ctdir REPLY".to_owned(),
        Match::Established => "-m conntrack --ctstate ESTABLISHED".to_owned(),
        Match::Related => "-m conntrack --ctstate RELATED".to_owned(),
        Match::Error(Family::Four) => "-p icmp -m conntrack --ctstate RELATED".to_owned(),
        Match::Error(Family::Six) => "-p ipv6-icmp -m conntrack --ctstate RELATED".to_owned(),
        Match::New => "-m conntrack --ctstate NEW".to_owned(),
        Match::Marked => format!("-m mark --mark {MARK:#x}"),
        Match::ConnectionMarked => format!("-m connmark --mark {MARK:#x}"),
        Match::Icmpv6(kind) => format!("-p ipv6-icmp --icmpv6-type {kind}"),
    }
}

fn target(verdict: &Verdict, family: Option<Family>) -> String {
    match verdict {
        Verdict::Pass => "-j RETURN".to_owned(),
        Verdict::Drop => "-j DROP".to_owned(),
        Verdict::Reject => match family {
            Some(Family::Six) => "-j REJECT --reject-with icmp6-adm-prohibited".to_owned(),
            Some(Family::Four) | None => "-j REJECT --reject-with icmp-admin-prohibited".to_owned(),
        },
        Verdict::Reset => "-j REJECT --reject-with tcp-reset".to_owned(),
        Verdict::Redirect(port) => format!("-j REDIRECT --to-ports {port}"),
        Verdict::To(at) => format!("-j DNAT --to-destination {at}"),
        Verdict::Tproxy(at) if at.ip().is_unspecified() => {
            format!("-j TPROXY --on-port {} --tproxy-mark {MARK:#x}", at.port())
        }
        Verdict::Tproxy(at) => {
            format!("-j TPROXY --on-ip {} --on-port {} --tproxy-mark {MARK:#x}", at.ip(), at.port())
        }
        Verdict::MarkConnection => format!("-j CONNMARK --set-mark {MARK:#x}"),
        Verdict::Mark => format!("-j MARK --set-mark {MARK:#x}"),
    }
}
