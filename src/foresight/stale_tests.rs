//! Staleness of small policies, from records that they have made.

use super::*;
use crate::decision_log::{Kind, Record};
use crate::foresight::testing::{Request, give, request};
use crate::policy::{Policy, testing::policy};

const POLICY: &str = "version: 1
sources:
  - {name: ivr, subnets: [10.1.0.0/16], identities: ['spiffe://x.test/ivr/*', 'spiffe://x.test/old/*']}
  - {name: web, subnets: [10.2.0.0/16]}
rules:
  - {id: names, customer: c, sources: [ivr, web], hosts: [api.a.test, old.a.test, '*.few.test', '**.none.test'], ports: [443, 8443],
     wide: true, public_suffix: true, review_by: 1970-01-06}
  - {id: nets, customer: c, sources: [web], networks: [203.0.114.0/24, 203.0.115.7/32, 203.0.116.0/24], tls: {sni: absent}}
  - {id: pinned, customer: c, sources: [web], hosts: [pin.a.test], addresses: [93.184.216.0/24, 93.184.217.0/24], wide: true}
  - {id: gone, customer: c, sources: [web], hosts: [gone.a.test], expires: 1970-01-06}
  - {id: refusing, customer: c, sources: [web], hosts: [refusing.a.test], tls: {alpn: [http/1.1]}}
";

fn web(target: &'static str) -> Request {
    Request { client: "10.2.0.7", ..request(target) }
}

fn records(policy: &Arc<Policy>) -> Vec<Record> {
    let ivr = Request { identity: Some("spiffe://x.test/ivr/7"), ..request("api.a.test:443") };
    let requests = [
        ivr,
        web("a.few.test:443"),
        web("b.few.test:443"),
        web("a.few.test:443"),
        Request { sni: None, ..web("203.0.114.9:443") },
        Request { sni: None, ..web("203.0.115.7:443") },
        web("pin.a.test:443"),
        web("refusing.a.test:443"),
        web("other.test:443"),
    ];
    (1..).zip(&requests).map(|(id, request)| request.record(policy, id)).collect()
}

/// At noon of the 7th day of a log that began with it.
fn times(since: Option<&str>) -> Times {
    let now: Timestamp = "1970-01-07T12:00:00Z".parse().unwrap();
    let log_begins = "1970-01-05T00:00:00.000000Z".parse().unwrap();
    Times { now, since: since.map(|text| text.parse().unwrap()), log_begins }
}

fn used(policy: &Arc<Policy>, records: &[Record]) -> Usage {
    let mut usage = Usage::new(policy);
    give(records, |found| usage.add(found));
    usage
}

fn told(staleness: &Staleness) -> Vec<String> {
    let line = |finding: &Finding| {
        let Finding { finding, rule, source, what, used, .. } = finding;
        let parts = [Some(finding.as_str()), rule.as_deref(), source.as_deref(), what.as_deref()];
        let used = if used.is_empty() { String::new() } else { format!(": {}", used.join(" ")) };
        format!("{}{used}", parts.into_iter().flatten().collect::<Vec<_>>().join(" "))
    };
    staleness.findings.iter().map(line).collect()
}

#[test]
fn what_goes_beyond_its_use_is_found() {
    let policy = Arc::new(policy(POLICY));
    let usage = used(&policy, &records(&policy));
    let staleness = Staleness::new(&usage, &Usage::new(&policy), times(None));
    let want = "expired gone 1970-01-06
review_overdue names 1970-01-06
unused gone
wildcard_unused names **.none.test
wildcard_few names *.few.test: a.few.test b.few.test
host_unused names old.a.test
network_unused nets 203.0.116.0/24
network_wide nets 203.0.114.0/24: 203.0.114.9
addresses_unused pinned 93.184.217.0/24
addresses_wide pinned 93.184.216.0/24: 93.184.216.34
port_unused names 8443
alpn_unused names http/1.1
alpn_unused nets http/1.1
alpn_unused pinned http/1.1
identity_unused ivr spiffe://x.test/old/*
wide_unneeded names
wide_unneeded pinned
public_suffix_unneeded names";
    assert_eq!(told(&staleness).join("\n"), want);
    let of = |id: &str| staleness.rules.iter().find(|rule| &*rule.rule == id).unwrap();
    let counts = |id: &str| (of(id).counts.allowed, of(id).counts.refused, of(id).hosts);
    assert_eq!(["names", "nets", "refusing", "gone"].map(counts), [(4, 0, 3), (2, 0, 2), (0, 1, 0), (0, 0, 0)]);
    // However the records are shared out among threads.
    let mut parts = Usage::new(&policy);
    let mut another = parts.another();
    let mut turn = false;
    give(&records(&policy), |found| {
        turn = !turn;
        if turn { parts.add(found) } else { another.add(found) }
    });
    parts.merge(another);
    assert_eq!(Staleness::new(&parts, &Usage::new(&policy), times(None)), staleness);
}

#[test]
fn what_no_request_came_as_far_as_is_not_called_unused() {
    let policy = Arc::new(policy(POLICY));
    let whole = web("pin.a.test:443").record(&policy, 1);
    let failed = |record: &Record| Record {
        outcome: Some(crate::policy::Outcome::Error),
        reason: Some("dns_timeout"),
        addresses: Vec::new(),
        alpn: Vec::new(),
        ech: None,
        ..record.clone()
    };
    let no_hello = Record { addresses: whole.addresses.clone(), ..failed(&whole) };
    let (addresses, alpn) = ("addresses_unused pinned 93.184.217.0/24", "alpn_unused pinned http/1.1");
    for (name, records, want) in [
        ("no answer", vec![failed(&whole), failed(&whole)], vec![]),
        ("no hello", vec![failed(&whole), no_hello], vec![addresses]),
        ("one that came through", vec![failed(&whole), whole], vec![addresses, alpn]),
    ] {
        let about = |staleness: &Staleness| -> Vec<String> {
            let unused = ["addresses_unused pinned", "alpn_unused pinned"];
            told(staleness).into_iter().filter(|line| unused.iter().any(|word| line.starts_with(word))).collect()
        };
        let [used, none] = [used(&policy, &records), Usage::new(&policy)];
        assert_eq!(about(&Staleness::new(&used, &none, times(None))), want, "{name}");
        let mut merged = Usage::new(&policy);
        merged.merge(used);
        assert_eq!(about(&Staleness::new(&merged, &none, times(None))), want, "{name}, of another thread");
    }
}

#[test]
fn a_rule_that_may_be_younger_than_the_window_is_not_called_unused() {
    let (old, new) = (Arc::new(policy(&POLICY.replace("{id: gone", "{id: before"))), Arc::new(policy(POLICY)));
    let in_force = |policy: &Arc<Policy>, time: &str| {
        let mut record = Record::new(Kind::Policy, time.parse().unwrap(), uuid::Uuid::nil(), "edge-1".into());
        record.policy = Some(Arc::clone(policy.hash()));
        record
    };
    let gone = || Request { at: "1970-01-05T01:00:00Z".parse().unwrap(), ..web("gone.a.test:443") }.record(&new, 9);
    let first = "1970-01-05T00:00:00Z";
    for (name, before, since, want) in [
        ("the log's first policy", vec![in_force(&new, "1970-01-05T02:00:00Z")], None, (true, None)),
        (
            "in force since before the window",
            vec![in_force(&old, first), in_force(&new, "1970-01-06T00:00:00Z")],
            Some("1970-01-06T01:00:00Z"),
            (true, None),
        ),
        (
            "in force since within it",
            vec![in_force(&old, first), in_force(&new, "1970-01-06T02:00:00Z")],
            Some("1970-01-06T01:00:00Z"),
            (false, None),
        ),
        ("not in force at all", vec![in_force(&old, first)], Some("1970-01-06T01:00:00Z"), (false, None)),
        (
            "used before",
            vec![in_force(&old, first), gone(), in_force(&new, "1970-01-06T02:00:00Z")],
            Some("1970-01-06T01:00:00Z"),
            (true, Some("1970-01-05T01:00:00.000000Z")),
        ),
    ] {
        let staleness = Staleness::new(&Usage::new(&new), &used(&new, &before), times(since));
        let found = staleness
            .findings
            .iter()
            .find(|finding| finding.finding == Sort::Unused && finding.rule.as_deref() == Some("gone"));
        let last = found.and_then(|finding| finding.before.as_ref()?.last).map(|time| time.to_string());
        assert_eq!((found.is_some(), last.as_deref()), want, "{name}");
        assert_eq!(staleness.young.iter().any(|id| &**id == "gone"), !want.0, "{name}");
    }
}

#[test]
fn what_is_used_for_many_is_not_named() {
    let policy = Arc::new(policy(POLICY));
    let base = web("a.few.test:443").record(&policy, 1);
    let some = |count: usize| -> Vec<Record> {
        let named = |number| Record {
            host: Some(crate::foresight::testing::text(&format!("h{number}.few.test"))),
            ..base.clone()
        };
        (0..count).map(named).collect()
    };
    for (count, is_told) in [(super::super::usage::MAX_NAMED, true), (super::super::usage::MAX_NAMED + 1, false)] {
        let staleness = Staleness::new(&used(&policy, &some(count)), &Usage::new(&policy), times(None));
        assert_eq!(staleness.findings.iter().any(|finding| finding.finding == Sort::WildcardFew), is_told, "{count}");
        assert_eq!(staleness.rules[0].hosts, count);
    }
    let staleness = Staleness::new(&used(&policy, &some(2000)), &Usage::new(&policy), times(None));
    assert_eq!(staleness.rules[0].hosts, 1024);
}
