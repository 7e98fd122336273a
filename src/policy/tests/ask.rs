//! A request asked without a connection: how far it gets, and when a name is looked up.

use super::*;

const RULES: &str = "
sources: [{name: a, subnets: [10.20.0.0/24]}]
rules:
  - {id: api, customer: c, sources: [a], hosts: [api.acme.example]}
  - {id: old, customer: c, sources: [a], hosts: [old.acme.example], expires: 2026-12-31}
  - {id: net, customer: c, sources: [a], networks: [198.51.100.0/28], tls: {sni: absent}}
";

/// What is asked, with a lookup that finds `found`; gives the ruling and which names were looked up.
fn ask(client: &str, method: &str, to: &str, found: Result<Option<&str>, Reason>) -> (Ruling, Vec<String>) {
    let offer = Offer { version: ProtocolVersion::Tls13, name: OfferedName::Target, alpn: Box::default() };
    let own = OwnAddresses::default();
    let wanted = Wanted::Asked { method: method.into(), target: to.into() };
    let question = Question { client: &ip(client).into(), wanted: &wanted, offer: &offer, at: at(AT), own: &own };
    let mut looked_up = Vec::new();
    let ruling = question.ask(&policy(RULES), &mut |_, name| {
        looked_up.push(name.to_string());
        let lookup = |address| Lookup { addresses: vec![ip(address)], aliases: Vec::new() };
        found.map(|found| found.map(lookup))
    });
    (ruling, looked_up)
}

#[test]
fn a_request_gets_as_far_as_its_refusal() {
    let api = "api.acme.example:443";
    let (good, none) = (Ok(Some("8.8.8.8")), Ok(None));
    // What was found: source, target, rule, addresses, hello.
    for (row, client, method, to, found, reason, reached) in [
        ("allowed", CLIENT, "CONNECT", api, good, Reason::Allowed, "source target rule addresses hello"),
        ("unjudged", CLIENT, "CONNECT", api, none, Reason::Allowed, "source target rule addresses hello"),
        ("a stranger", "10.9.0.1", "CONNECT", api, good, Reason::SourceUnknown, ""),
        ("no CONNECT", CLIENT, "GET", "/", good, Reason::MethodNotAllowed, "source"),
        ("no target", CLIENT, "CONNECT", "api", good, Reason::MalformedTarget, "source"),
        ("not listed", CLIENT, "CONNECT", "x.example:443", good, Reason::DestinationNotListed, "source target"),
        ("expired", CLIENT, "CONNECT", "old.acme.example:443", good, Reason::RuleExpired, "source target rule"),
        ("no lookup", CLIENT, "CONNECT", api, Err(Reason::DnsTimeout), Reason::DnsTimeout, "source target rule"),
        ("bad address", CLIENT, "CONNECT", api, Ok(Some("10.0.0.1")), Reason::AddressForbidden, "source target rule"),
        (
            "a literal",
            CLIENT,
            "CONNECT",
            "198.51.100.1:443",
            good,
            Reason::Allowed,
            "source target rule addresses hello",
        ),
    ] {
        let (ruling, looked_up) = ask(client, method, to, found);
        let stages = [
            ("source", ruling.identified.is_some()),
            ("target", ruling.target.is_some()),
            ("rule", ruling.rule.is_some()),
            ("addresses", ruling.addresses.is_some()),
            ("hello", ruling.hello.is_some()),
        ];
        let found: Vec<&str> = stages.into_iter().filter(|(_, found)| *found).map(|(stage, _)| stage).collect();
        assert_eq!((ruling.decided().reason, found.join(" ").as_str()), (reason, reached), "{row}");
        let is_asked = to == api && !matches!(reason, Reason::SourceUnknown);
        assert_eq!(looked_up, if is_asked { vec!["api.acme.example"] } else { Vec::new() }, "{row}");
    }
}

#[test]
fn addresses_are_told_as_they_were_judged() {
    let judged = |to, found| ask(CLIENT, "CONNECT", to, Ok(found)).0.addresses.unwrap();
    assert_eq!(judged("api.acme.example:443", Some("::ffff:8.8.8.8")), Judged::Good(Box::new([ip("8.8.8.8")])));
    assert_eq!(judged("api.acme.example:443", None), Judged::Unknown);
    assert_eq!(judged("198.51.100.1:443", None), Judged::Good(Box::new([ip("198.51.100.1")])));
}

#[test]
fn the_nearest_rule_is_told_of_a_request_that_could_be_read() {
    let nearest = |to| ask(CLIENT, "CONNECT", to, Ok(None)).0.nearest().map(|nearest| nearest.rule.id.to_string());
    assert_eq!(nearest("api.acme.example:22"), Some("api".to_owned()));
    assert_eq!(nearest("api.acme.example:443"), None, "it is allowed");
    assert_eq!(nearest("api.acme.example"), None, "it is malformed");
}
