//! Report mode: what it lets through, as what that is told, and what it refuses all the same.
//! Not here: how it is written (`file`).

use super::*;

const REPORTING: &str = "
sources:
  - {name: a, subnets: [10.20.0.0/24], class: general, mode: report, report_until: 2027-01-10, egress: static-a}
  - {name: b, subnets: [10.30.0.0/24]}
never: {hosts: [never.example]}
rules:
  - {id: api, customer: c, sources: [a, b], hosts: [api.acme.example], tls: {min_version: '1.3'}}
  - {id: old, customer: c, sources: [a], hosts: [old.acme.example], expires: 2026-12-31}
  - id: shop
    customer: c
    sources: [a]
    hosts: [shop.acme.example]
    hours: {days: [mon], from: '06:00', to: '07:00', zone: UTC}
";

/// The first stage from `client` at `when`, as `OUTCOME REASON RULE`.
fn judged(client: &str, to: &str, when: &str) -> String {
    let identified = policy(REPORTING).identify(&ip(client).into()).unwrap();
    let told = |rule: Option<&Arc<Rule>>| rule.map_or("-".to_owned(), |rule| rule.id.to_string());
    match identified.request(&target(to), at(when)) {
        Ok(admitted) => {
            let decided =
                admitted.observed().map_or(Reason::Allowed.into(), |denial| Decided::observed(denial.reason()));
            format!("{} {} {}", decided.outcome, decided.reason, told(admitted.chosen()))
        }
        Err(denial) => format!("{} {} {}", denial.reason().outcome(), denial.reason(), told(denial.rule())),
    }
}

#[test]
fn it_lets_through_what_is_not_listed_and_keeps_the_reason() {
    for (row, to, want) in [
        ("allowed as ever", "api.acme.example:443", "allow allowed api"),
        ("not listed", "new.example:443", "observe destination_not_listed -"),
        ("other port", "api.acme.example:8443", "observe port_not_allowed -"),
        ("expired", "old.acme.example:443", "observe rule_expired old"),
        ("outside hours", "shop.acme.example:443", "observe outside_hours shop"),
        ("literal address", "8.8.8.8:443", "deny destination_not_listed -"),
        ("never", "never.example:443", "deny destination_denied -"),
        ("a card number", "4111111111111111.example:443", "deny sensitive_data_in_target -"),
    ] {
        assert_eq!(judged(CLIENT, to, AT), want, "{row}");
    }
    assert_eq!(judged("10.30.0.7", "new.example:443", AT), "deny destination_not_listed -", "a source beside it");
}

#[test]
fn it_ends_by_itself() {
    for (when, want) in [
        ("2027-01-10T23:59:59Z", "observe destination_not_listed -"),
        ("2027-01-11T00:00:00Z", "deny destination_not_listed -"),
    ] {
        assert_eq!(judged(CLIENT, "new.example:443", when), want, "{when}");
    }
}

#[test]
fn what_it_lets_through_meets_all_other_stages_with_default_terms() {
    let policy = policy(REPORTING);
    let to = "new.example:443";
    let refused = |answer: &[&str]| word(&route(&policy, to, answer));
    assert_eq!(refused(&["8.8.8.8"]), "allowed");
    assert_eq!(refused(&["8.8.8.8", "10.0.0.1"]), "address_forbidden");
    assert_eq!(refused(&["169.254.169.254"]), "address_forbidden");
    let routed = route(&policy, to, &["8.8.8.8"]).unwrap();
    assert_eq!(routed.egress(), Some("static-a"), "it leaves from the source's pool");
    assert_eq!(word(&routed.hello(&client_hello(None))), "sni_missing");
    assert_eq!(word(&routed.hello(&client_hello(Some("other.example")))), "sni_mismatch");
    let allowed = routed.hello(&client_hello(Some("new.example"))).unwrap();
    assert_eq!(allowed.decided(), Decided::observed(Reason::DestinationNotListed));
    let late = allowed.deny(Reason::ServerNotTls);
    assert!(late.rule().is_none(), "no rule is blamed for what none let through");
    let old = route(&policy, "old.acme.example:443", &["8.8.8.8"]).unwrap();
    assert_eq!(old.deny(Reason::UpstreamTimeout).rule().map(|rule| rule.id.to_string()), Some("old".to_owned()));
}

#[test]
fn what_a_rule_let_through_is_not_kept_by_report_mode() {
    let source =
        "{name: a, subnets: [10.20.0.0/24], class: general, mode: report, report_until: 2027-01-10, egress: static-a}";
    let with = |rules: &str| policy(&format!("sources: [{source}]\nrules: [{rules}]\n"));
    let rule = "{id: r, customer: c, sources: [a], hosts: [a.example], existing: cut}";
    let tunnel = |policy: &Arc<Policy>, to: &str| {
        let routed = route(policy, &format!("{to}:443"), &["8.8.8.8"]).unwrap();
        Standing::new(routed.hello(&client_hello(Some(to))).unwrap(), ip("8.8.8.8"))
    };
    let own = OwnAddresses::default();
    let (before, after) = (with(rule), with(""));
    let gone = after.judge_again(&tunnel(&before, "a.example"), &own, at(AT));
    assert_eq!(gone, Verdict::Gone(Existing::Cut), "its rule is gone");
    for (row, policy, when, stays) in [
        ("still in report mode", &after, AT, true),
        ("a rule lists it now", &with(&rule.replace("a.example", "b.example")), AT, true),
        ("report mode is over", &after, "2027-01-11T00:00:00Z", false),
    ] {
        let verdict = policy.judge_again(&tunnel(&before, "b.example"), &own, at(when));
        assert_eq!(matches!(verdict, Verdict::Allowed(..)), stays, "{row}: {verdict:?}");
    }
}
