//! Open tunnels under another policy.

use std::time::Duration;

use super::*;
use crate::tls::{CipherSuite, ServerHello};

const RULE: &str = "id: r, customer: c, sources: [a], hosts: [a.example]";

fn with(sources: &str, never: &str, rule: &str) -> Arc<Policy> {
    policy(&format!("sources: [{sources}]\nnever: {{{never}}}\nrules: [{rule}]\n"))
}

/// A tunnel that a policy with `existing: keep` let through, over TLS 1.2.
fn standing(existing: &str) -> Standing {
    let old = with("{name: a, subnets: [10.20.0.0/24]}", "", &format!("{{{RULE}, existing: {existing}}}"));
    let cnames = [name("edge.cdn.example")];
    let answer = Answer { addresses: &[ip("8.8.8.8")], cnames: &cnames };
    let routed = admit(&old, "a.example:443").unwrap().addresses(&answer, &OwnAddresses::default()).unwrap();
    let allowed = routed.hello(&client_hello(Some("a.example"))).unwrap();
    let server = ServerHello { version: ProtocolVersion::Tls12, cipher: CipherSuite(0xc02f), retry: false };
    let standing = Standing::new(allowed, ip("8.8.8.8"));
    standing.choose(&server);
    standing
}

#[test]
fn what_is_still_allowed_stays_and_the_rest_goes_as_its_old_rule_says() {
    let a = "{name: a, subnets: [10.20.0.0/24]}";
    let renamed = "{name: b, subnets: [10.20.0.0/24]}";
    let moved = "{name: a, subnets: [10.30.0.0/24]}, {name: b, subnets: [10.20.0.0/24]}";
    let rule = format!("{{{RULE}}}");
    let of_b = rule.replace("[a]", "[b]");
    let keep = Err(Existing::Keep);
    let cut = Err(Existing::Cut);
    for (row, policy, want) in [
        ("nothing changed", with(a, "", &rule), Ok("r for a")),
        (
            "another rule allows it",
            with(a, "", "{id: x, customer: c, sources: [a], hosts: ['**.example'], public_suffix: true}"),
            Ok("x for a"),
        ),
        ("the rule is gone", with(a, "", ""), keep),
        ("the rule has another port", with(a, "", &format!("{{{RULE}, ports: [8443]}}")), keep),
        ("the rule has expired", with(a, "", &format!("{{{RULE}, expires: 2026-01-01}}")), keep),
        // It is noon of a Friday.
        (
            "the rule's hours are over",
            with(a, "", &format!("{{{RULE}, hours: {{days: [fri], from: '06:00', to: '12:00', zone: UTC}}}}")),
            keep,
        ),
        ("the rule is for other addresses", with(a, "", &format!("{{{RULE}, addresses: [1.1.1.0/24]}}")), keep),
        (
            "what the server chose would do no more",
            with(a, "", &format!("{{{RULE}, tls: {{min_version: '1.3'}}}}")),
            keep,
        ),
        ("another source allows it", with(renamed, "", &of_b), Ok("r for b")),
        ("the source is gone", with("", "", ""), cut),
        ("the source's subnet is gone", with("{name: a, subnets: [10.30.0.0/24]}", "", &rule), cut),
        ("the source is another, without a rule", with(renamed, "", ""), cut),
        ("the client moved to a source without a rule", with(moved, "", &rule), keep),
        ("the source's environment", with("{name: a, subnets: [10.20.0.0/24], environment: test}", "", &rule), cut),
        ("never: the name", with(a, "hosts: [a.example]", &rule), cut),
        ("never: the address", with(a, "networks: [8.8.8.0/24]", &rule), cut),
        ("never: a name on the way", with(a, "hosts: ['**.cdn.example']", &rule), cut),
    ] {
        let verdict = match policy.judge_again(&standing("keep"), &OwnAddresses::default(), at(AT)) {
            Verdict::Allowed(rule, source) => Ok(format!("{} for {}", rule.id, source.name)),
            Verdict::Gone(existing) => Err(existing),
        };
        assert_eq!(verdict.as_deref(), want.as_ref().copied(), "{row}");
    }
}

/// As a source that is gone: what the client has shown is not what is asked for now.
#[test]
fn a_source_that_asks_for_another_identity_cuts() {
    let sources = |identities: &str| {
        policy(&format!(
            "sources: [{{name: a, subnets: [10.20.0.0/24], identities: {identities}}}]\n\
             rules: [{{id: r, customer: c, sources: [a], hosts: [a.example], existing: keep}}]\n"
        ))
    };
    let tunnel = |policy: &Arc<Policy>, identities: &[&str]| {
        let identities = identities.iter().map(|text| text.parse().unwrap()).collect();
        let client = Client { identities, takes_credentials: true, ..Client::from(ip(CLIENT)) };
        let admitted = policy.identify(&client).unwrap().request(&target("a.example:443"), at(AT)).unwrap();
        let answer = Answer { addresses: &[ip("8.8.8.8")], cnames: &[] };
        let routed = admitted.addresses(&answer, &OwnAddresses::default()).unwrap();
        Standing::new(routed.hello(&client_hello(Some("a.example"))).unwrap(), ip("8.8.8.8"))
    };
    let spiffe = ["spiffe://v.example/ivr/east"];
    for (row, before, shown, after, reason, want) in [
        ("the same", "['spiffe://v.example/ivr/east']", &spiffe[..], "['spiffe://v.example/ivr/*']", "allowed", None),
        ("no longer any", "['spiffe://v.example/ivr/east']", &spiffe, "none", "allowed", None),
        ("another", "['spiffe://v.example/*/*']", &spiffe, "[a.example]", "identity_not_allowed", Some(Existing::Cut)),
        ("now one at all", "none", &[], "[a.example]", "identity_required", Some(Existing::Cut)),
        ("now a credential", "none", &[], "['login:a']", "credentials_missing", Some(Existing::Cut)),
    ] {
        let standing = tunnel(&sources(before), shown);
        let after = sources(after);
        assert_eq!(word(&after.still_allows(&standing, &OwnAddresses::default(), at(AT))), reason, "{row}");
        let verdict = after.judge_again(&standing, &OwnAddresses::default(), at(AT));
        let gone = if let Verdict::Gone(existing) = verdict { Some(existing) } else { None };
        assert_eq!(gone, want, "{row}");
    }
}

#[test]
fn the_old_rule_says_how() {
    let gone = policy("sources: [{name: a, subnets: [10.20.0.0/24]}]\n");
    for (existing, want) in
        [("keep", Existing::Keep), ("cut", Existing::Cut), ("drain 1m", Existing::Drain(Duration::from_secs(60)))]
    {
        let standing = standing(existing);
        assert_eq!(standing.allowed().existing(), want);
        let verdict = gone.judge_again(&standing, &OwnAddresses::default(), at(AT));
        assert_eq!(verdict, Verdict::Gone(want), "{existing}");
    }
}

#[test]
fn a_reload_does_not_disturb_what_a_session_holds() {
    let old = one_rule("hosts: [a.example]");
    let identified = old.identify(&ip(CLIENT).into()).unwrap();
    let before = Arc::downgrade(&old);
    drop(old);
    assert_eq!(word(&identified.request(&target("a.example:443"), at(AT))), "allowed");
    drop(identified);
    assert!(before.upgrade().is_none(), "nothing else keeps the old policy");
    let standing = standing("keep");
    assert_eq!(&*standing.allowed().rule().id, "r", "an open tunnel holds its rule, not the policy");
}

#[test]
fn what_the_server_chose_is_judged_again() {
    let strict = one_rule("hosts: [a.example], tls: {min_version: '1.3'}");
    let own = OwnAddresses::default();
    let chosen = standing("keep");
    assert_eq!(word(&strict.still_allows(&chosen, &own, at(AT))), "server_tls_version_too_low");
    let before = Standing::new(chosen.allowed().clone(), ip("8.8.8.8"));
    assert_eq!(word(&strict.still_allows(&before, &own, at(AT))), "allowed", "before the server has chosen");
}
