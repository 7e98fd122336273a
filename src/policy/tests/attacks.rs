//! CONNECT authorities that have got past other proxies, from the text to the last address.
//! Other tests name the rows by these numbers. Source: `docs/attacks.md`.

use super::*;

const POLICY: &str = "
sources: [{name: ivr, subnets: [10.20.0.0/24]}]
rules:
  - {id: partner, customer: p, sources: [ivr], hosts: [api.partner.com]}
  - {id: pay, customer: p, sources: [ivr], hosts: ['*.pay.example']}
  - {id: nip, customer: p, sources: [ivr], hosts: ['*.nip.io'], public_suffix: true}
  - {id: bank, customer: p, sources: [ivr], networks: [203.0.113.10/32], ports: [8443],
     tls: {sni: optional, sni_names: [gw.bank.example]}}
";

/// What an authority comes to, if its name resolves to `answer`.
fn verdict(client: &str, authority: &str, answer: &[&str], own: &OwnAddresses) -> &'static str {
    let Ok(target) = authority.parse::<Target>() else { return "malformed_target" };
    let addresses: Vec<IpAddr> = answer.iter().copied().map(ip).collect();
    let answer = Answer { addresses: &addresses, cnames: &[] };
    let identified = policy(POLICY).identify(&ip(client).into());
    word(&identified.and_then(|who| who.request(&target, at(AT))).and_then(|it| it.addresses(&answer, own)))
}

#[test]
fn authorities() {
    let long_label = format!("{}.example:443", "a".repeat(64));
    let long_name = format!("{}example:443", "a.".repeat(124));
    for (row, authority, want) in [
        (1, "api.partner.com:443", "allowed"),
        (2, "API.Partner.COM:443", "allowed"),
        (3, "api.partner.com.:443", "allowed"),
        (4, "api.partner.com..:443", "malformed_target"),
        (5, ".api.partner.com:443", "malformed_target"),
        (6, "[api.partner.com]:443", "malformed_target"),
        (7, "api.partner.com", "malformed_target"),
        (8, "api.partner.com:0443", "malformed_target"),
        (8, "api.partner.com:+443", "malformed_target"),
        (8, "api.partner.com:443 ", "malformed_target"),
        (8, "api.partner.com:0", "malformed_target"),
        (8, "api.partner.com:65979", "malformed_target"),
        (9, "api.partner.com:8443", "port_not_allowed"),
        (10, "user@api.partner.com:443", "malformed_target"),
        (10, "api.partner.com:443@evil", "malformed_target"),
        (11, "api.partner.com#evil:443", "malformed_target"),
        (11, "api.partner.com?evil:443", "malformed_target"),
        (11, "api.partner.com/evil:443", "malformed_target"),
        (11, "api.partner.com\\evil:443", "malformed_target"),
        (11, "api%2epartner.com:443", "malformed_target"),
        (11, "api.partner.com\t:443", "malformed_target"),
        (11, "evil.example\0.api.partner.com:443", "malformed_target"),
        (12, "evilapi.partner.com:443", "destination_not_listed"),
        (12, "api.partner.com.evil.com:443", "destination_not_listed"),
        (13, "notpay.example:443", "destination_not_listed"),
        (13, "pay.example:443", "destination_not_listed"),
        (14, "x.pay.example:443", "allowed"),
        (15, "a.b.pay.example:443", "destination_not_listed"),
        (16, "*.pay.example:443", "malformed_target"),
        (17, "xn--api-.partner.com:443", "malformed_target"),
        (18, "\u{430}pi.partner.com:443", "malformed_target"),
        (19, "api\u{3002}partner.com:443", "malformed_target"),
        (20, &long_label, "malformed_target"),
        (20, &long_name, "malformed_target"),
        (21, "203.0.113.10:8443", "allowed"),
        (22, "203.0.113.010:8443", "malformed_target"),
        (22, "0xcb.0x00.0x71.0x0a:8443", "malformed_target"),
        (22, "3405803786:8443", "malformed_target"),
        (22, "203.0.28938:8443", "malformed_target"),
        (23, "[::ffff:203.0.113.10]:8443", "allowed"),
        (23, "[::ffff:203.0.113.11]:8443", "destination_not_listed"),
        (24, "[64:ff9b::cb00:710a]:8443", "destination_not_listed"),
        (24, "[2002:cb00:710a::]:8443", "destination_not_listed"),
        (25, "[fe80::1%25eth0]:443", "malformed_target"),
        (25, "[::1]:443", "destination_not_listed"),
        (25, "[::]:443", "destination_not_listed"),
        (26, "127.0.0.1:443", "destination_not_listed"),
        (26, "localhost:443", "destination_not_listed"),
        (26, "169.254.169.254:443", "destination_not_listed"),
        (26, "[fd00:ec2::254]:443", "destination_not_listed"),
        (26, "168.63.129.16:443", "destination_not_listed"),
    ] {
        assert_eq!(verdict(CLIENT, authority, &["8.8.8.8"], &OwnAddresses::default()), want, "{row}: {authority:?}");
    }
}

#[test]
fn answers_and_sources() {
    let own = OwnAddresses::new([ip("8.8.4.4")], []);
    for (row, client, authority, answer, want) in [
        ("27 own address", CLIENT, "x.pay.example:443", &["8.8.4.4"][..], "address_forbidden"),
        ("28 address in a name", CLIENT, "10-0-0-5.nip.io:443", &["10.0.0.5"], "address_forbidden"),
        ("29 mixed answer", CLIENT, "x.pay.example:443", &["8.8.8.8", "10.0.0.5"], "address_forbidden"),
        ("31 internal zone", CLIENT, "x.pay.example:443", &["172.16.0.1"], "address_forbidden"),
        ("32 outside", "10.20.1.5", "api.partner.com:443", &["8.8.8.8"], "source_unknown"),
    ] {
        assert_eq!(verdict(client, authority, answer, &own), want, "{row}");
    }
}

#[test]
fn row_30_the_first_answer_is_the_one_that_counts() {
    let routed = route(&policy(POLICY), "x.pay.example:443", &["8.8.8.8"]).unwrap();
    assert_eq!(routed.addresses(), [ip("8.8.8.8")]);
}
