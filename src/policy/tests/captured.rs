//! Connections that the kernel captured: by table, and held against what the same CONNECT would have come to.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;

const POLICY: &str = r#"
sources:
  - {name: a, subnets: [10.20.0.0/24]}
  - {name: r, subnets: [10.30.0.0/24], class: general, mode: report, report_until: 2027-01-20, egress: static-a}
never: {hosts: ["**.bad.example"], networks: [198.51.100.128/25]}
rules:
  - {id: host, customer: c, sources: [a, r], hosts: [api.c.example], ports: [443, 8443]}
  - {id: old, customer: c, sources: [a, r], hosts: [old.c.example], expires: 2020-01-01}
  - {id: net, customer: c, sources: [a, r], networks: [198.51.100.0/25, 10.1.2.0/24], ports: [443, 3128], tls: {sni: optional, sni_names: [gw.c.example]}}
  - {id: mute, customer: c, sources: [a], networks: [203.0.113.0/24], tls: {sni: absent}}
  - {id: strict, customer: c, sources: [a], networks: [192.0.2.0/24], tls: {sni: required, sni_names: [s.c.example]}}
"#;

fn hello(name: &str) -> ClientHello {
    match name {
        "-" => client_hello(None),
        "!" => ClientHello {
            server_name: Some(ServerName::Unusable { raw: b"198.51.100.7"[..].into() }),
            ..client_hello(None)
        },
        name => client_hello(Some(name)),
    }
}

fn own() -> OwnAddresses {
    OwnAddresses::new([ip("10.1.2.3")], ["0.0.0.0:3128".parse().unwrap(), "203.0.113.9:443".parse().unwrap()])
}

fn captured(policy: &Arc<Policy>, client: &str, original: &str, name: &str) -> Result<Admitted, Denial> {
    let original: SocketAddr = original.parse().unwrap();
    policy.identify(&ip(client).into())?.captured(original, &hello(name), &own(), at(AT))
}

/// The first stage, then the hello: as `RULE TARGET`, or the reason.
fn outcome(policy: &Arc<Policy>, client: &str, original: &str, name: &str) -> String {
    let judged = captured(policy, client, original, name).and_then(|admitted| {
        admitted.judge_hello(&hello(name))?;
        Ok(admitted)
    });
    match judged {
        Ok(admitted) => format!("{} {}", admitted.chosen().map_or("observed", |rule| &rule.id), admitted.target()),
        Err(denial) => denial.reason().to_string(),
    }
}

#[test]
fn by_name_first_then_by_address() {
    let policy = policy(POLICY);
    for (row, original, name, want) in [
        ("a listed name, whatever the address", "8.8.8.8:443", "api.c.example", "host api.c.example:443"),
        ("the port is the client's", "8.8.8.8:8443", "api.c.example", "host api.c.example:8443"),
        ("a listed name, on an address of a network", "198.51.100.7:443", "api.c.example", "host api.c.example:443"),
        ("no name, a network", "198.51.100.7:443", "-", "net 198.51.100.7:443"),
        ("no name, mapped", "[::ffff:198.51.100.7]:443", "-", "net 198.51.100.7:443"),
        ("a name that the network's rule has", "198.51.100.7:443", "gw.c.example", "net 198.51.100.7:443"),
        ("another name on a network", "198.51.100.7:443", "x.c.example", "sni_mismatch"),
        ("a name on a network that takes none", "203.0.113.7:443", "gw.c.example", "sni_mismatch"),
        ("no name on a network that wants one", "192.0.2.7:443", "-", "sni_missing"),
        ("the one that it wants", "192.0.2.7:443", "s.c.example", "strict 192.0.2.7:443"),
        ("no name, no network", "8.8.8.8:443", "-", "destination_not_listed"),
        ("neither", "8.8.8.8:443", "x.c.example", "destination_not_listed"),
        ("a name that networks have, elsewhere", "8.8.8.8:443", "gw.c.example", "destination_not_listed"),
        ("the name's rule has another port", "8.8.8.8:80", "api.c.example", "port_not_allowed"),
        ("the name's rule has another port, a network has it", "10.1.2.9:3128", "api.c.example", "port_not_allowed"),
        ("the network's rule has another port", "198.51.100.7:80", "gw.c.example", "port_not_allowed"),
        ("the name's rule is over, a network would do", "198.51.100.7:443", "old.c.example", "rule_expired"),
        ("no name at all in the hello", "198.51.100.7:443", "!", "sni_mismatch"),
        ("never, the name", "198.51.100.7:443", "x.bad.example", "destination_denied"),
        ("never, the address", "198.51.100.200:443", "api.c.example", "destination_denied"),
        ("never, the address, without a name", "198.51.100.200:443", "-", "destination_denied"),
        ("never, the address, with what is no name", "198.51.100.200:443", "!", "destination_denied"),
        ("the proxy itself", "10.1.2.3:3128", "-", "address_forbidden"),
        ("the proxy itself, by a listed name", "203.0.113.9:443", "api.c.example", "address_forbidden"),
        ("the proxy itself, translated", "[64:ff9b::10.1.2.3]:3128", "api.c.example", "address_forbidden"),
        ("the proxy itself, never", "10.1.2.3:3128", "x.bad.example", "destination_denied"),
        ("another port of this host", "10.1.2.3:443", "-", "net 10.1.2.3:443"),
        ("a card number", "8.8.8.8:443", "4111111111111111.c.example", "sensitive_data_in_target"),
        ("no port", "8.8.8.8:0", "api.c.example", "malformed_target"),
    ] {
        assert_eq!(outcome(&policy, CLIENT, original, name), want, "{row}");
    }
}

#[test]
fn report_mode_observes_names() {
    let policy = policy(POLICY);
    for (row, original, name, want) in [
        ("a name that no rule has", "8.8.8.8:443", "x.c.example", "observed x.c.example:443"),
        ("its rule is over", "8.8.8.8:443", "old.c.example", "old old.c.example:443"),
        ("on another port of a network", "198.51.100.7:80", "x.c.example", "observed x.c.example:80"),
        ("a rule holds before", "198.51.100.7:443", "gw.c.example", "net 198.51.100.7:443"),
        ("no name", "8.8.8.8:443", "-", "destination_not_listed"),
        ("never", "8.8.8.8:443", "x.bad.example", "destination_denied"),
    ] {
        assert_eq!(outcome(&policy, "10.30.0.1", original, name), want, "{row}");
    }
}

/// A tunnel that was let through to one place is not let through to another by what the policy now says of its hello.
#[test]
fn an_open_tunnel_is_judged_as_what_it_is() {
    let rules = |rules: &str| policy(&format!("sources: [{{name: a, subnets: [10.20.0.0/24]}}]\nrules: [{rules}]\n"));
    let host = "{id: host, customer: c, sources: [a], hosts: [g.example]}";
    let net = "{id: net, customer: c, sources: [a], networks: [93.184.216.0/24], tls: {sni: optional, sni_names: [g.example]}}";
    let other = net.replace("[g.example]", "[]");
    for (row, before, after, want) in [
        ("by name, the same", host, host.to_owned(), "allowed"),
        ("by name, the rule is gone", host, String::new(), "destination_not_listed"),
        ("by name, now only by address", host, net.to_owned(), "destination_not_listed"),
        ("by address, the same", net, net.to_owned(), "allowed"),
        ("by address, the rule takes the name no more", net, other, "sni_mismatch"),
        ("by address, now by name, which may be elsewhere", net, host.to_owned(), "destination_not_listed"),
        ("by address, the rule has another port", net, net.replace("tls", "ports: [8443], tls"), "port_not_allowed"),
    ] {
        let (own, hello) = (OwnAddresses::default(), client_hello(Some("g.example")));
        let before = rules(before);
        let admitted = before.identify(&ip(CLIENT).into()).unwrap();
        let admitted = admitted.captured("93.184.216.34:443".parse().unwrap(), &hello, &own, at(AT)).unwrap();
        assert_eq!(admitted.original(), Some("93.184.216.34:443".parse().unwrap()));
        let answer = Answer { addresses: &[ip("93.184.216.34")], cnames: &[] };
        let allowed = admitted.addresses(&answer, &own).unwrap().hello(&hello).unwrap();
        let standing = Standing::new(allowed, ip("93.184.216.34"));
        assert_eq!(word(&rules(&after).still_allows(&standing, &own, at(AT))), want, "{row}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// No way around the rules: a captured connection reaches nothing that a CONNECT of the same source does not.
    #[test]
    fn what_is_admitted_a_connect_is_admitted_to_as_well(
        original in prop::sample::select(vec!["8.8.8.8", "198.51.100.7", "198.51.100.200", "203.0.113.9", "192.0.2.1", "10.1.2.3", "::ffff:192.0.2.1"]),
        port in prop::sample::select(vec![80, 443, 3128, 8443]),
        name in prop::sample::select(vec!["-", "!", "api.c.example", "old.c.example", "gw.c.example", "s.c.example", "x.c.example", "x.bad.example", "bad.example"]),
        client in prop::sample::select(vec!["10.20.0.1", "10.30.0.1"]),
    ) {
        let policy = policy(POLICY);
        let original = SocketAddr::new(ip(original), port);
        let identified = policy.identify(&ip(client).into()).unwrap();
        let called = Target::new(crate::name::Host::Address(original.ip()), port).unwrap();
        let own = own();
        match identified.captured(original, &hello(name), &own, at(AT)) {
            Ok(admitted) => {
                let asked = identified.request(admitted.target(), at(AT));
                prop_assert_eq!(asked.as_ref().map(|asked| &asked.rule().id).ok(), Some(&admitted.rule().id));
                prop_assert_eq!(asked.unwrap().observed().is_some(), admitted.observed().is_some());
                prop_assert!(!own.listens(original.ip(), port), "the proxy called itself");
                let named = hello(name).server_name.is_some_and(|said| matches!(admitted.target().host(), crate::name::Host::Name(host) if said.name() == Some(host)));
                prop_assert!(named || *admitted.target() == called, "it leads where the client called, or to what it named");
            }
            // Without a name it is a CONNECT to the address, but for calls to the proxy.
            Err(denial) if name == "-" && denial.reason() != Reason::AddressForbidden => {
                prop_assert_eq!(word(&identified.request(&called, at(AT))), denial.reason().as_str());
            }
            Err(_) => {}
        }
    }
}
