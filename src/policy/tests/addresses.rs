//! Stage 2: every address of an answer, every name on the way to it, and the proxy's own.

use super::*;

const RULES: &str = "
sources: [{name: a, subnets: [10.20.0.0/24]}]
never: {hosts: ['**.onion.example'], networks: [93.184.0.0/16, 10.66.0.0/16]}
rules:
  - {id: plain, customer: c, sources: [a], hosts: [plain.example]}
  - {id: pinned, customer: c, sources: [a], hosts: [pinned.example],
     addresses: [10.1.0.0/24, 203.0.113.0/24, '64:ff9b::cb00:7100/120', 127.0.0.0/8, 169.254.0.0/16, 10.66.0.0/24], wide: true}
  - {id: literal, customer: c, sources: [a], ports: [8443, 3128, 9901], wide: true, tls: {sni: absent},
     networks: [10.2.0.0/24, 198.51.100.7/32, 127.0.0.0/8, 169.254.0.0/16, '64:ff9b::/96', '100.100.100.0/24']}
";

fn judge(to: &str, answer: &[&str], cnames: &[&str], own: &OwnAddresses) -> &'static str {
    let addresses: Vec<IpAddr> = answer.iter().copied().map(ip).collect();
    let cnames: Vec<Fqdn> = cnames.iter().copied().map(name).collect();
    let answer = Answer { addresses: &addresses, cnames: &cnames };
    word(&admit(&policy(RULES), to).unwrap().addresses(&answer, own))
}

/// An address that came to this host after it was last looked at: attack B7.
#[test]
fn a_connection_from_an_address_to_itself_must_not_have_come_to_the_proxy() {
    let own =
        OwnAddresses::new([ip("198.51.100.1")], ["0.0.0.0:9901".parse().unwrap(), "192.0.2.1:3128".parse().unwrap()]);
    for (row, to, local, upstream, want) in [
        ("another host", "198.51.100.7:9901", "198.51.100.1", "198.51.100.7", "allowed"),
        ("this host, a wildcard socket", "198.51.100.7:9901", "198.51.100.7", "198.51.100.7", "address_forbidden"),
        ("this host, another address's socket", "198.51.100.7:3128", "198.51.100.7", "198.51.100.7", "allowed"),
        ("this host, another program", "198.51.100.7:8443", "198.51.100.7", "198.51.100.7", "allowed"),
    ] {
        let admitted = admit(&policy(RULES), to).unwrap();
        let routed = admitted.addresses(&Answer { addresses: &[], cnames: &[] }, &own).unwrap();
        assert_eq!(word(&routed.connected(ip(local), ip(upstream), &own)), want, "{row}");
    }
}

#[test]
fn every_address_is_judged() {
    let plain = "plain.example:443";
    let pinned = "pinned.example:443";
    for (row, to, answer, want) in [
        ("one", plain, &["8.8.8.8"][..], "allowed"),
        ("both families", plain, &["8.8.8.8", "2606:4700::1"], "allowed"),
        ("none", plain, &[], "dns_failure"),
        ("private", plain, &["10.0.0.5"], "address_forbidden"),
        ("mixed", plain, &["8.8.8.8", "10.0.0.5"], "address_forbidden"),
        ("mixed, other order", plain, &["10.0.0.5", "8.8.8.8"], "address_forbidden"),
        ("loopback", plain, &["127.0.0.1"], "address_forbidden"),
        ("unspecified", plain, &["0.0.0.0"], "address_forbidden"),
        ("multicast", plain, &["224.0.0.1"], "address_forbidden"),
        ("documentation", plain, &["203.0.113.10"], "address_forbidden"),
        ("mapped private", plain, &["::ffff:10.0.0.5"], "address_forbidden"),
        ("mapped global", plain, &["::ffff:8.8.8.8"], "allowed"),
        ("NAT64 of global", plain, &["64:ff9b::808:808"], "allowed"),
        ("NAT64 of private", plain, &["64:ff9b::a00:5"], "address_forbidden"),
        ("6to4 of loopback", plain, &["2002:7f00:1::1"], "address_forbidden"),
        ("ISATAP of private behind global", plain, &["2606:4700::5efe:a00:5"], "address_forbidden"),
        ("unique local", plain, &["fd00::1"], "address_forbidden"),
        ("metadata", plain, &["169.254.169.254"], "address_forbidden"),
        ("metadata on a global address", plain, &["168.63.129.16"], "address_forbidden"),
        ("never", plain, &["93.184.216.34"], "destination_denied"),
        ("never comes before forbidden", plain, &["10.0.0.5", "93.184.216.34"], "destination_denied"),
        ("never within NAT64", plain, &["64:ff9b::5db8:d822"], "destination_denied"),
        ("pinned, special-purpose", pinned, &["10.1.0.9", "203.0.113.9", "127.0.0.9"], "allowed"),
        ("pinned, global but outside", pinned, &["8.8.8.8"], "address_forbidden"),
        ("pinned, one outside", pinned, &["10.1.0.9", "10.1.1.9"], "address_forbidden"),
        ("pinned, NAT64 with its inner address", pinned, &["64:ff9b::cb00:710a"], "allowed"),
        ("pinned metadata", pinned, &["169.254.169.254"], "address_forbidden"),
        ("pinned never", pinned, &["10.66.0.1"], "destination_denied"),
    ] {
        assert_eq!(judge(to, answer, &[], &OwnAddresses::default()), want, "{row}");
    }
}

#[test]
fn names_on_the_way_are_judged_against_never() {
    let own = OwnAddresses::default();
    for (row, cnames, want) in [
        ("none", &[][..], "allowed"),
        ("harmless", &["edge.cdn.example", "e7.cdn.example"], "allowed"),
        ("the last is never", &["edge.cdn.example", "x.onion.example"], "destination_denied"),
        ("the first is never", &["x.onion.example", "edge.cdn.example"], "destination_denied"),
        ("apex of never", &["onion.example"], "allowed"),
    ] {
        assert_eq!(judge("plain.example:443", &["8.8.8.8"], cnames, &own), want, "{row}");
    }
    assert_eq!(judge("plain.example:443", &["10.0.0.1"], &["x.onion.example"], &own), "destination_denied");
}

#[test]
fn literals_are_judged_themselves_whatever_is_passed() {
    for (row, to, answer, want) in [
        ("listed, special-purpose", "10.2.0.9:8443", &["10.2.0.9"][..], "allowed"),
        ("nothing passed", "10.2.0.9:8443", &[], "allowed"),
        ("another passed", "10.2.0.9:8443", &["8.8.8.8"], "allowed"),
        ("documentation", "198.51.100.7:8443", &[], "allowed"),
        ("metadata", "169.254.169.254:8443", &[], "address_forbidden"),
        ("metadata of another cloud", "100.100.100.200:8443", &[], "address_forbidden"),
        ("metadata, another passed", "169.254.169.254:8443", &["10.2.0.9"], "address_forbidden"),
        ("NAT64 of listed", "[64:ff9b::c633:6407]:8443", &[], "allowed"),
        ("NAT64 of unlisted", "[64:ff9b::a03:9]:8443", &[], "address_forbidden"),
        ("NAT64 of metadata", "[64:ff9b::a9fe:a9fe]:8443", &[], "address_forbidden"),
        ("NAT64 of never", "[64:ff9b::a42:1]:8443", &[], "destination_denied"),
    ] {
        let found = match admit(&policy(RULES), to) {
            Ok(_) => judge(to, answer, &[], &OwnAddresses::default()),
            Err(denial) => denial.reason().as_str(),
        };
        assert_eq!(found, want, "{row}");
    }
    let routed = route(&policy(RULES), "10.2.0.9:8443", &["8.8.8.8"]).unwrap();
    assert_eq!(routed.addresses(), [ip("10.2.0.9")], "what was judged is what is dialled");
}

#[test]
fn the_proxy_does_not_call_itself() {
    let sockets = ["0.0.0.0:3128", "127.0.0.1:9901"].map(|socket| socket.parse().unwrap());
    let own = OwnAddresses::new(["8.8.4.4", "10.2.0.1", "::ffff:10.2.0.2"].map(ip), sockets);
    for (row, to, answer, want) in [
        ("own address", "plain.example:443", &["8.8.4.4"][..], "address_forbidden"),
        ("own address within NAT64", "plain.example:443", &["64:ff9b::808:404"], "address_forbidden"),
        ("own address, but listed", "10.2.0.1:8443", &[], "allowed"),
        ("own listener, listed", "10.2.0.1:3128", &[], "address_forbidden"),
        ("own listener, mapped address", "10.2.0.2:3128", &[], "address_forbidden"),
        ("another host's port", "10.2.0.9:3128", &[], "allowed"),
        ("listener through loopback", "127.0.0.2:3128", &[], "address_forbidden"),
        ("admin", "127.0.0.1:9901", &[], "address_forbidden"),
        ("admin's port on another loopback address", "127.0.0.2:9901", &[], "allowed"),
        ("listed NAT64 of a listener", "[64:ff9b::a02:1]:3128", &[], "address_forbidden"),
    ] {
        assert_eq!(judge(to, answer, &[], &own), want, "{row}");
    }
    assert!(own.listens(ip("0.0.0.0"), 9901), "the wildcard address reaches any");
    assert!(own.listens(ip("::"), 3128), "a wildcard of the other family may reach it too");
    assert!(!own.listens(ip("0.0.0.0"), 443));
}

#[test]
fn what_a_routed_request_tells() {
    let policy = one_rule("hosts: [plain.example], egress: static-a");
    let routed = route(&policy, "plain.example:443", &["8.8.8.8", "::ffff:8.8.8.8", "1.1.1.1"]).unwrap();
    assert_eq!(routed.addresses(), [ip("8.8.8.8"), ip("1.1.1.1")], "each once, in order");
    assert_eq!(routed.egress(), Some("static-a"));
    assert_eq!(routed.target().to_string(), "plain.example:443");
    assert_eq!(routed.deny(Reason::UpstreamRefused).rule().map(|rule| &*rule.id), Some("r"));
    assert_eq!(route(&one_rule("hosts: [x.example]"), "x.example:443", &["8.8.8.8"]).unwrap().egress(), None);
}
