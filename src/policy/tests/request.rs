//! Stage 1: sources, `never`, sensitive data, rules, ports, expiry, hours, and which of them comes first.

use super::*;

#[test]
fn the_longest_subnet_is_the_source() {
    let policy = policy(
        "sources:\n\
         - {name: wide, subnets: [10.0.0.0/8], wide: true}\n\
         - {name: east, subnets: [10.20.0.0/24, 'fd00:20::/48'], environment: production}\n\
         - {name: one, subnets: [10.20.0.9/32]}\n\
         - {name: test, subnets: [10.30.0.0/24], environment: test}\n",
    );
    for (client, want) in [
        ("10.1.2.3", Ok("wide")),
        ("10.20.0.8", Ok("east")),
        ("10.20.0.9", Ok("one")),
        ("::ffff:10.20.0.9", Ok("one")),
        ("fd00:20::1", Ok("east")),
        ("10.30.0.1", Err(Reason::EnvironmentMismatch)),
        ("192.0.2.1", Err(Reason::SourceUnknown)),
        ("::1", Err(Reason::SourceUnknown)),
        ("64:ff9b::a14:9", Err(Reason::SourceUnknown)),
    ] {
        let found = policy.identify(&ip(client).into()).map(|identified| identified.source().name.to_string());
        assert_eq!(found.map_err(|denial| denial.reason()), want.map(str::to_owned), "{client}");
    }
}

#[test]
fn environments_are_compared_if_both_are_stated() {
    let text = "version: 1\nsources: [{name: a, subnets: [10.20.0.0/24], environment: production}, {name: b, subnets: [10.30.0.0/24]}]\n";
    for (ours, client, want) in [
        (None, CLIENT, "allowed"),
        (Some("production"), CLIENT, "allowed"),
        (Some("Production"), CLIENT, "environment_mismatch"),
        (Some("test"), CLIENT, "environment_mismatch"),
        (Some("test"), "10.30.0.1", "allowed"),
    ] {
        let setting = Setting { environment: ours, ..Setting::default() };
        let policy = Policy::load(&[file("p.yaml", text)], &setting, &mut Faults::new()).unwrap();
        assert_eq!(word(&Arc::new(policy).identify(&ip(client).into())), want, "{ours:?} {client}");
    }
}

const RULES: &str = "
sources: [{name: a, subnets: [10.20.0.0/24]}, {name: b, subnets: [10.30.0.0/24]}]
never:
  hosts: ['**.onion.example', bad.acme.example]
  networks: [192.0.2.0/24]
rules:
  - {id: exact, customer: c, sources: [a], hosts: [api.acme.example], ports: [443, 9443]}
  - {id: one, customer: c, sources: [a], hosts: ['*.acme.example'], ports: [443, 8443]}
  - {id: any, customer: c, sources: [a], hosts: ['**.acme.example'], ports: [443, 8443, 10443]}
  - {id: longer, customer: c, sources: [a], hosts: ['**.pay.acme.example'], ports: [443]}
  - {id: expired, customer: c, sources: [a], hosts: [old.acme.example], ports: [443], expires: 2026-12-31}
  - {id: last-day, customer: c, sources: [a], hosts: [last.acme.example], ports: [443], expires: 2027-01-01}
  - {id: night, customer: c, sources: [a], hosts: [night.acme.example], ports: [443],
     hours: {days: [fri], from: '22:00', to: '06:00', zone: UTC}}
  - {id: both, customer: c, sources: [a], hosts: [both.acme.example], ports: [443], expires: 2026-12-31,
     hours: {days: [sat], from: '22:00', to: '06:00', zone: UTC}}
  - {id: net, customer: c, sources: [a], networks: [198.51.100.0/24], ports: [8443], tls: {sni: absent}}
  - {id: host-of-net, customer: c, sources: [a], networks: [198.51.100.7/32], ports: [9443], tls: {sni: absent}}
  - {id: six, customer: c, sources: [a], networks: ['2001:db8:7::/48'], ports: [443], tls: {sni: absent}}
  - {id: of-b, customer: c, sources: [b], hosts: [b.example, api.acme.example], ports: [443]}
  - {id: card, customer: c, sources: [b], hosts: [pay-4111111111111111.example, '*.4111111111111111.example']}
";

#[test]
fn the_rule_or_the_reason() {
    let policy = policy(RULES);
    for (to, want) in [
        ("api.acme.example:443", Ok("exact")),
        ("API.acme.example.:443", Ok("exact")),
        ("api.acme.example:9443", Ok("exact")),
        ("api.acme.example:8443", Ok("one")),
        ("api.acme.example:10443", Ok("any")),
        ("api.acme.example:80", Err("port_not_allowed")),
        ("x.acme.example:443", Ok("one")),
        ("x.y.acme.example:443", Ok("any")),
        ("x.y.acme.example:9443", Err("port_not_allowed")),
        ("x.pay.acme.example:443", Ok("longer")),
        ("x.pay.acme.example:8443", Ok("any")),
        ("pay.acme.example:443", Ok("one")),
        ("acme.example:443", Err("destination_not_listed")),
        ("xacme.example:443", Err("destination_not_listed")),
        ("b.example:443", Err("destination_not_listed")),
        ("old.acme.example:443", Err("rule_expired")),
        ("old.acme.example:8443", Ok("one")),
        ("last.acme.example:443", Ok("last-day")),
        ("night.acme.example:443", Err("outside_hours")),
        ("both.acme.example:443", Err("rule_expired")),
        ("198.51.100.9:8443", Ok("net")),
        ("198.51.100.7:9443", Ok("host-of-net")),
        ("198.51.100.7:8443", Ok("net")),
        ("198.51.100.7:443", Err("port_not_allowed")),
        ("198.51.101.7:8443", Err("destination_not_listed")),
        ("[::ffff:198.51.100.9]:8443", Ok("net")),
        ("[2001:db8:7::1]:443", Ok("six")),
        ("[2001:db8:8::1]:443", Err("destination_not_listed")),
        ("x.onion.example:443", Err("destination_denied")),
        ("onion.example:443", Err("destination_not_listed")),
        ("bad.acme.example:443", Err("destination_denied")),
        ("bad.acme.example:1", Err("destination_denied")),
        ("192.0.2.1:443", Err("destination_denied")),
        ("[64:ff9b::c000:201]:443", Err("destination_denied")),
        ("4111111111111111.onion.example:443", Err("destination_denied")),
        ("4111111111111111.acme.example:443", Err("sensitive_data_in_target")),
        ("4111-1111-1111-1111.acme.example:443", Err("sensitive_data_in_target")),
        ("x.4111111111111111.example:443", Err("sensitive_data_in_target")),
        ("pay-4111111111111111.example:443", Err("destination_not_listed")),
        ("4111111111111112.acme.example:443", Ok("one")),
    ] {
        let found = admit(&policy, to);
        let found = found.as_ref().map(|admitted| &*admitted.rule().id).map_err(|denial| denial.reason().as_str());
        assert_eq!(found, want, "{to}");
    }
}

#[test]
fn a_denial_names_its_rule_once_one_was_chosen() {
    let policy = policy(RULES);
    for (to, rule) in [
        ("old.acme.example:443", Some("expired")),
        ("night.acme.example:443", Some("night")),
        ("api.acme.example:80", None),
        ("x.onion.example:443", None),
        ("nowhere.example:443", None),
    ] {
        let denial = admit(&policy, to).unwrap_err();
        assert_eq!(denial.rule().map(|rule| &*rule.id), rule, "{to}");
    }
}

#[test]
fn expiry_and_hours_are_judged_at_the_moment_given() {
    let policy = policy(RULES);
    let identified = policy.identify(&ip(CLIENT).into()).unwrap();
    for (to, moment, want) in [
        ("old.acme.example:443", "2026-12-31T23:59:59Z", "allowed"),
        ("old.acme.example:443", "2027-01-01T00:00:00Z", "rule_expired"),
        ("night.acme.example:443", "2027-01-01T22:00:00Z", "allowed"),
        ("night.acme.example:443", "2027-01-02T05:59:59Z", "allowed"),
        ("night.acme.example:443", "2027-01-02T22:00:00Z", "outside_hours"),
    ] {
        assert_eq!(word(&identified.request(&target(to), at(moment))), want, "{to} {moment}");
    }
}

#[test]
fn a_policy_that_says_nothing_allows_nothing() {
    let empty = policy("sources: [{name: a, subnets: [10.20.0.0/24]}]\nrules: []\n");
    assert_eq!(word(&admit(&empty, "api.acme.example:443")), "destination_not_listed");
    assert_eq!(word(&policy("").identify(&ip(CLIENT).into())), "source_unknown");
}

#[test]
fn what_an_admitted_request_tells() {
    let policy = policy(RULES);
    let admitted = admit(&policy, "api.acme.example:443").unwrap();
    assert_eq!(admitted.lookup(), Some(&name("api.acme.example")));
    assert_eq!(admitted.source().name, "a".into());
    assert_eq!(admitted.rule().customer, "c".into());
    assert_eq!(admitted.target().to_string(), "api.acme.example:443");
    assert_eq!(admitted.policy().hash(), policy.hash());
    assert_eq!(admit(&policy, "198.51.100.9:8443").unwrap().lookup(), None);
    let denial = admitted.deny(Reason::DnsTimeout);
    assert_eq!((denial.reason(), denial.rule().map(|rule| &*rule.id)), (Reason::DnsTimeout, Some("exact")));
}
