//! What rules there are for which configuration, and when there are none.

use super::*;
use crate::config::{ListenAddress, Mode as How};

/// A configuration with such transparent listeners, and a listener for CONNECT.
fn config(listeners: &[(&str, &str, Capture)], more: &str) -> Config {
    let text = format!("listeners: [{{name: edge, address: '0.0.0.0:3128'}}]\npolicy: p.yaml\n{more}");
    let mut faults = Default::default();
    let mut config = config::load(&text, 0, &|_| None, "host-1", &mut faults).unwrap();
    assert!(faults.is_empty(), "{more}");
    let edge = config.listeners[0].clone();
    config.listeners.extend(listeners.iter().map(|(name, address, capture)| Listener {
        name: (*name).into(),
        address: ListenAddress::Tcp(address.parse().unwrap()),
        mode: How::Transparent(*capture),
        ..edge.clone()
    }));
    config
}

fn wanted(mode: Mode) -> Wanted {
    Wanted { mode, user: "sallyport".parse().unwrap(), exclude: Vec::new(), listeners: Vec::new() }
}

const BOTH: [(&str, &str, Capture); 2] =
    [("four", "0.0.0.0:15001", Capture::Redirect), ("six", "[::]:15001", Capture::Redirect)];

/// The rules of one chain, without comments.
fn chain(text: &str, name: &str) -> Vec<String> {
    let begin = format!("\tchain {name} {{");
    let lines = text.lines().skip_while(|line| *line != begin).skip(2).take_while(|line| *line != "\t}");
    lines.map(|line| line.trim().to_owned()).filter(|line| !line.starts_with('#')).collect()
}

#[test]
fn both_families_are_captured_or_refused() {
    let (all, four) = (config(&BOTH, ""), config(&BOTH[..1], ""));
    let with = |config, mode| rules(config, &wanted(mode), Format::Nft).unwrap();
    let text = with(&all, Mode::Redirect);
    let captured = [
        "meta nfproto ipv4 meta l4proto tcp counter redirect to :15001",
        "meta nfproto ipv6 meta l4proto tcp counter redirect to :15001",
    ];
    assert_eq!(chain(&text, "nat_prerouting"), [&["fib daddr type local accept"][..], &captured].concat());
    let own = "meta skuid \"sallyport\" accept";
    assert_eq!(chain(&text, "nat_output"), [&[own, "fib daddr type local accept"][..], &captured].concat());
    let stopped = [
        "ct state established accept",
        "fib daddr type local accept",
        "udp dport 443 counter reject with icmpx type admin-prohibited",
        "meta l4proto tcp counter reject with tcp reset",
    ];
    assert_eq!(chain(&text, "forward"), stopped);
    let refusal = ["ct state established accept", "ct state related accept"];
    let output = [&[own], &refusal[..], &stopped[1..]].concat();
    assert_eq!(chain(&text, "output"), output);

    let text = with(&four, Mode::Redirect);
    assert_eq!(chain(&text, "nat_output")[2..], captured[..1], "no listener takes IPv6");
    assert_eq!(chain(&text, "output"), output, "and so it is refused");
}

#[test]
fn where_captured_connections_are_brought_to() {
    for (address, prerouting, output) in [
        ("0.0.0.0:15001", Some("redirect to :15001"), "redirect to :15001"),
        ("[::]:15001", Some("redirect to :15001"), "redirect to :15001"),
        ("10.0.0.5:15001", Some("dnat ip to 10.0.0.5:15001"), "dnat ip to 10.0.0.5:15001"),
        ("[2001:db8::5]:15001", Some("dnat ip6 to [2001:db8::5]:15001"), "dnat ip6 to [2001:db8::5]:15001"),
        ("127.0.0.1:15001", None, "dnat ip to 127.0.0.1:15001"),
        ("[::1]:15001", None, "dnat ip6 to [::1]:15001"),
    ] {
        let config = config(&[("door", address, Capture::Redirect)], "");
        let text = rules(&config, &wanted(Mode::Redirect), Format::Nft).unwrap();
        let last = |name| chain(&text, name).pop().unwrap_or_default();
        assert!(last("nat_output").ends_with(output), "{address}");
        match prerouting {
            Some(ending) => assert!(last("nat_prerouting").ends_with(ending), "{address}"),
            None => assert_eq!(last("nat_prerouting"), "fib daddr type local accept", "{address}"),
        }
    }
}

#[test]
fn what_tproxy_takes_it_takes_from_the_first_packet_on() {
    let listeners = [("four", "127.0.0.1:15001", Capture::Tproxy), ("six", "[::]:15001", Capture::Tproxy)];
    let text = rules(&config(&listeners, ""), &wanted(Mode::Tproxy), Format::Nft).unwrap();
    assert_eq!(
        chain(&text, "mangle_prerouting"),
        [
            "ct direction reply accept",
            "fib daddr type local accept",
            "meta nfproto ipv4 meta l4proto tcp meta mark set 0x5a1 counter tproxy ip to 127.0.0.1:15001 accept",
            "meta nfproto ipv6 meta l4proto tcp meta mark set 0x5a1 counter tproxy ip6 to :15001 accept",
        ]
    );
    assert_eq!(
        chain(&text, "mangle_output")[3..],
        [
            "meta nfproto ipv4 meta l4proto tcp ct state new ct mark set 0x5a1",
            "meta nfproto ipv6 meta l4proto tcp ct state new ct mark set 0x5a1",
            "meta l4proto tcp ct mark 0x5a1 counter meta mark set 0x5a1",
        ]
    );
    assert_eq!(chain(&text, "mangle_postrouting"), ["meta mark 0x5a1 oifname != \"lo\" counter drop"]);
    for line in ["ip -4 rule add fwmark 0x5a1 lookup 1441", "ip -6 route add local ::/0 dev lo table 1441"] {
        assert!(text.contains(&format!("#   {line}\n")), "{line}");
    }
}

#[test]
fn nothing_else_leaves_and_nobody_else_comes_in() {
    let more = "dns: {servers: ['udp://192.0.2.53', 'udp://[2001:db8::53]:5353', 'tls://dns.example@192.0.2.54']}
admin: {address: '127.0.0.1:9901'}
probes: {address: '10.0.0.5:9902'}
";
    let wanted = Wanted { exclude: vec!["10.9.0.0/16".parse().unwrap()], ..wanted(Mode::OnlyWayOut) };
    let text = rules(&config(&[], more), &wanted, Format::Nft).unwrap();
    let on_link = [130, 131, 132, 133, 134, 135, 136, 143].map(|kind| format!("icmpv6 type {kind} accept"));
    let on_link = || on_link.iter().map(String::as_str);
    let input: Vec<&str> = [
        "iifname \"lo\" accept",
        "ct state established accept",
        "meta l4proto icmp ct state related accept",
        "meta l4proto ipv6-icmp ct state related accept",
        "meta nfproto ipv4 tcp dport 3128 accept",
        "ip daddr 10.0.0.5/32 tcp dport 9902 accept",
    ]
    .into_iter()
    .chain(on_link())
    .collect();
    assert_eq!(chain(&text, "input"), input);
    let refused = ["meta l4proto tcp counter reject with tcp reset", "counter reject with icmpx type admin-prohibited"];
    let private = "{ 10.0.0.0/8, 100.64.0.0/10, 172.16.0.0/12, 192.168.0.0/16 }";
    let passes = [
        format!("ip saddr {private} ip daddr 10.9.0.0/16 accept"),
        format!("ct state established ct direction reply ip saddr 10.9.0.0/16 ip daddr {private} accept"),
    ];
    assert_eq!(chain(&text, "forward"), [passes, refused.map(str::to_owned)].concat());
    let output: Vec<&str> = [
        "oifname \"lo\" accept",
        "fib daddr type local accept",
        "ct state established accept",
        "ct state related accept",
        "ip daddr 10.9.0.0/16 accept",
        "meta skuid \"sallyport\" meta l4proto tcp accept",
        "meta skuid \"sallyport\" ip daddr 192.0.2.53/32 udp dport 53 accept",
        "meta skuid \"sallyport\" ip6 daddr 2001:db8::53/128 udp dport 5353 accept",
    ]
    .into_iter()
    .chain(on_link())
    .chain(refused)
    .collect();
    assert_eq!(chain(&text, "output"), output);
    for hook in ["input", "forward", "output"] {
        assert!(text.contains(&format!("hook {hook} priority filter; policy drop;")), "{hook}");
    }
    assert!(!text.contains("0x5a1"), "nothing has a mark");
    let text = rules(&config(&[("t", "0.0.0.0:1", Capture::Tproxy)], ""), &wanted, Format::Nft).unwrap();
    assert!(chain(&text, "input").contains(&"meta mark 0x5a1 accept".to_owned()));
    assert_eq!(chain(&text, "mangle_postrouting"), ["meta mark 0x5a1 oifname != \"lo\" counter drop"]);
    assert!(text.contains("\"sallyport\" udp dport 53 accept"), "the system's servers are not known here");
}

#[test]
fn iptables_says_the_same_for_both_families_in_one_file() {
    let wanted = Wanted { exclude: vec!["2001:db8:9::/48".parse().unwrap()], ..wanted(Mode::Redirect) };
    let text = rules(&config(&BOTH, ""), &wanted, Format::Iptables).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        lines[..17],
        [
            "*nat",
            ":sallyport_prerouting - [0:0]",
            ":sallyport_output - [0:0]",
            "-I PREROUTING -j sallyport_prerouting",
            "-I OUTPUT -j sallyport_output",
            "-A sallyport_prerouting -m addrtype --dst-type LOCAL -j RETURN",
            "-6 -A sallyport_prerouting -d 2001:db8:9::/48 -j RETURN",
            "-4 -A sallyport_prerouting -p tcp -j REDIRECT --to-ports 15001",
            "-6 -A sallyport_prerouting -p tcp -j REDIRECT --to-ports 15001",
            "-A sallyport_output -m owner --uid-owner sallyport -j RETURN",
            "-A sallyport_output -m addrtype --dst-type LOCAL -j RETURN",
            "-6 -A sallyport_output -d 2001:db8:9::/48 -j RETURN",
            "-4 -A sallyport_output -p tcp -j REDIRECT --to-ports 15001",
            "-6 -A sallyport_output -p tcp -j REDIRECT --to-ports 15001",
            "COMMIT",
            "*mangle",
            ":sallyport_prerouting - [0:0]",
        ]
    );
    // What TPROXY had there is gone.
    let tables = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with([':', '*'])).map(|line| line.replace(" - [0:0]", "")).collect()
    };
    let tproxy = config(&[("t", "0.0.0.0:1", Capture::Tproxy)], "");
    let other = rules(&tproxy, &super::tests::wanted(Mode::Tproxy), Format::Iptables).unwrap();
    assert_eq!(tables(&text), tables(&other), "each way empties the chains of the other");
    for line in [
        "-4 -A sallyport_output -p udp --dport 443 -j REJECT --reject-with icmp-admin-prohibited",
        "-6 -A sallyport_output -p udp --dport 443 -j REJECT --reject-with icmp6-adm-prohibited",
        "-A sallyport_output -p tcp -j REJECT --reject-with tcp-reset",
    ] {
        assert!(lines.contains(&line), "{line}");
    }
    let exclude = ["10.9.0.0/16", "2001:db8:9::/48"].map(|prefix| prefix.parse().unwrap());
    let wanted = Wanted { exclude: exclude.into(), ..super::tests::wanted(Mode::OnlyWayOut) };
    let text = rules(&config(&[], ""), &wanted, Format::Iptables).unwrap();
    for line in [
        "-4 -A sallyport_only_forward -s 10.0.0.0/8,100.64.0.0/10,172.16.0.0/12,192.168.0.0/16 -d 10.9.0.0/16 -j RETURN",
        "-6 -A sallyport_only_forward -m conntrack --ctstate ESTABLISHED -m conntrack --ctdir REPLY -s 2001:db8:9::/48 \
         -d fc00::/7 -j RETURN",
        "-4 -A sallyport_only_input -p icmp -m conntrack --ctstate RELATED -j RETURN",
        "-A sallyport_only_output -m conntrack --ctstate RELATED -j RETURN",
    ] {
        assert!(text.lines().any(|each| each == line), "{line}\n{text}");
    }
    for chain in ["input", "forward", "output"] {
        let own = format!("-A sallyport_only_{chain} ");
        let last = text.lines().rfind(|line| line.contains(&own)).unwrap();
        assert_eq!(last, format!("{own}-j DROP"), "{chain}");
    }
}

#[test]
fn what_has_no_rules_is_told() {
    let named = |mode, names: &[&str]| Wanted {
        listeners: names.iter().map(|name| (*name).to_owned()).collect(),
        ..wanted(mode)
    };
    let three = [BOTH[0], BOTH[1], ("more", "10.0.0.5:1", Capture::Redirect)];
    let free = [("door", "0.0.0.0:0", Capture::Redirect)];
    let without = |mode, prefix: &str| Wanted { exclude: vec![prefix.parse().unwrap()], ..wanted(mode) };
    for (config, wanted, want) in [
        (
            config(&[], ""),
            wanted(Mode::Redirect),
            "no listener has `mode: transparent` and `capture: redirect`; write one",
        ),
        (
            config(&BOTH, ""),
            wanted(Mode::Tproxy),
            "no listener has `mode: transparent` and `capture: tproxy`; write one",
        ),
        (config(&BOTH, ""), named(Mode::Redirect, &["five"]), "no listener is called `five`"),
        (config(&BOTH, ""), named(Mode::Redirect, &["edge"]), "listener `edge` is none with"),
        (config(&BOTH, ""), named(Mode::Tproxy, &["four"]), "listener `four` is none with"),
        (config(&three, ""), wanted(Mode::Redirect), "`four` and `more` both take captured IPv4 connections; name one"),
        (config(&free, ""), wanted(Mode::Redirect), "port 0 of listener `door` is another one at each start"),
        (config(&free, ""), wanted(Mode::OnlyWayOut), "port 0 of listener `door`"),
        (config(&[], ""), named(Mode::OnlyWayOut, &["edge"]), "`--mode only-way-out` is for all listeners; leave"),
        (config(&[], ""), named(Mode::OnlyWayOut, &["five"]), "`--mode only-way-out` is for all listeners; leave"),
        (config(&BOTH, ""), without(Mode::Redirect, "0.0.0.0/0"), "`--exclude 0.0.0.0/0` is shorter than /16 (/32 for"),
        (config(&[], ""), without(Mode::OnlyWayOut, "::/0"), "`--exclude ::/0` is shorter than /16 (/32 for"),
        (config(&[], ""), without(Mode::OnlyWayOut, "10.0.0.0/15"), "`--exclude 10.0.0.0/15` is shorter"),
        (config(&[], "probes: {address: '0.0.0.0:0'}\n"), wanted(Mode::OnlyWayOut), "port 0 of the probes"),
    ] {
        let error = rules(&config, &wanted, Format::Nft).unwrap_err().to_string();
        assert!(error.starts_with(want), "{error}");
    }
    for names in [&["four", "six"][..], &["more"], &["six"]] {
        assert!(rules(&config(&three, ""), &named(Mode::Redirect, names), Format::Nft).is_ok(), "{names:?}");
    }
}

#[test]
fn a_proxy_that_is_root_is_told_of() {
    for (user, want) in [("root", true), ("0", true), ("sallyport", false), ("1000", false)] {
        for mode in [Mode::Redirect, Mode::OnlyWayOut] {
            let wanted = Wanted { user: user.parse().unwrap(), ..wanted(mode) };
            let text = rules(&config(&BOTH, ""), &wanted, Format::Nft).unwrap();
            assert_eq!(text.contains("# the proxy's user is root: everything"), want, "{user}");
        }
    }
}
