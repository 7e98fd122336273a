//! What `explain` says of refused requests.

use super::*;

const RULES: &str = "
sources: [{name: a, subnets: [10.20.0.0/24]}, {name: b, subnets: [10.30.0.0/24]}]
rules:
  - {id: pay, customer: c, sources: [a], hosts: ['*.pay.example'], ports: [443, 8443]}
  - {id: deep, customer: c, sources: [a], hosts: ['**.deep.example']}
  - {id: api, customer: c, sources: [a], hosts: [api.acme.example]}
  - {id: of-b, customer: c, sources: [b], hosts: [b.example]}
  - {id: net, customer: c, sources: [a], networks: [198.51.100.0/24], tls: {sni: absent}}
  - {id: old, customer: c, sources: [a], hosts: [old.example], expires: 2026-12-31}
  - {id: night, customer: c, sources: [a], hosts: [night.example], hours: {days: [fri], from: '22:00', to: '06:00', zone: UTC}}
";

#[test]
fn the_nearest_rule_and_what_differs() {
    let policy = policy(RULES);
    let identified = policy.identify(&ip(CLIENT).into()).unwrap();
    for (to, want) in [
        ("x.pay.example:80", Some(("pay", "the port: the rule has 443, 8443, not 80"))),
        ("198.51.100.7:8443", Some(("net", "the port: the rule has 443, not 8443"))),
        ("b.example:443", Some(("of-b", "the source: the rule is for `b`, not `a`"))),
        (
            "x.y.pay.example:443",
            Some(("pay", "the name: `*.pay.example` holds exactly one label below `pay.example`, and here are more")),
        ),
        ("pay.example:443", Some(("pay", "the name: `*.pay.example` does not hold `pay.example` itself"))),
        ("deep.example:443", Some(("deep", "the name: `**.deep.example` does not hold `deep.example` itself"))),
        ("v2.api.acme.example:443", Some(("api", "the name: `api.acme.example` does not hold the names below it"))),
        ("api.acne.example:443", Some(("api", "the name: the rule has `api.acme.example`"))),
        ("old.example:443", Some(("old", "the day: the rule's last was 2026-12-31 (UTC)"))),
        ("night.example:443", Some(("night", "the hour: the rule holds fri 22:00-06:00 UTC"))),
        ("something.entirely.different.test:443", Some(("api", "the destination: the rule has `api.acme.example`"))),
        ("203.0.113.1:443", Some(("net", "the destination: the rule has `198.51.100.0/24`"))),
        ("[2001:db8::1]:443", Some(("net", "the destination: the rule has `198.51.100.0/24`"))),
    ] {
        let target = target(to);
        let denial = identified.request(&target, at(AT)).unwrap_err();
        let nearest = identified.nearest(&target, &denial);
        let found = nearest.as_ref().map(|nearest| (&*nearest.rule.id, nearest.differs.as_str()));
        assert_eq!(found, want, "{to}");
    }
}

#[test]
fn a_later_refusal_is_told_by_its_rule() {
    let policy = policy(RULES);
    let identified = policy.identify(&ip(CLIENT).into()).unwrap();
    let to = target("api.acme.example:443");
    let denial = route(&policy, "api.acme.example:443", &["10.0.0.1"]).unwrap_err();
    let nearest = identified.nearest(&to, &denial).unwrap();
    assert_eq!((&*nearest.rule.id, nearest.differs.as_str()), ("api", Reason::AddressForbidden.facts().title));
}

#[test]
fn names_without_end_are_not_all_compared() {
    // All of the same letters, so that a look at these spares none: 60,000 letters compared with letters for each name.
    let label = |number: usize| {
        let mut letters = vec!['a'; 58];
        letters.insert(number / 50, 'x');
        letters.insert(number % 50, 'y');
        letters.into_iter().collect::<String>()
    };
    let long = |number| format!("{0}.{0}.{0}.{1}b.example", label(number), "b".repeat(50));
    let before: Vec<String> = (0..1800).map(long).collect();
    let (near, asked) = (long(2400), long(2400).replace("b.example", "c.example"));
    let nearest = |hosts: &[String]| {
        let rule = format!("{{id: r, customer: c, sources: [a], hosts: [{}]}}", hosts.join(", "));
        let policy = policy(&format!("sources: [{{name: a, subnets: [10.20.0.0/24]}}]\nrules: [{rule}]\n"));
        let (identified, to) = (policy.identify(&ip(CLIENT).into()).unwrap(), target(&format!("{asked}:443")));
        let denial = identified.request(&to, at(AT)).unwrap_err();
        identified.nearest(&to, &denial).unwrap().differs
    };
    let behind: Vec<String> = before.iter().chain([&near]).cloned().collect();
    let ahead: Vec<String> = [&near].into_iter().chain(&before).cloned().collect();
    assert!(nearest(&ahead).contains(&near));
    assert_eq!(nearest(&behind), nearest(&before), "nobody looks so far");
}
