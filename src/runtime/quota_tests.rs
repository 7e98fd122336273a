//! Limits by the clock of the test and by threads that race; through whole policies, as the proxy does.

use std::sync::atomic::AtomicUsize;
use std::thread;

use super::*;
use crate::policy::{PolicyFile, Setting};
use crate::yaml::{self, Faults};

/// A policy with one source and one rule, and what these say of limits.
fn policy(source: &str, rule: &str) -> Policy {
    let text = format!(
        "version: 1\nsources: [{{name: s, subnets: [10.0.0.0/24], limits: {{{source}}}}}]\n\
         rules: [{{id: r, customer: c, sources: [s], hosts: [a.example], limits: {{{rule}}}}}]\n"
    );
    let file = PolicyFile { path: "p".into(), shown: "p".into(), text };
    Policy::load(&[file], &Setting::default(), &mut Faults::new()).unwrap()
}

/// The quotas of that policy, and how to enter them.
fn quotas(source: &str, rule: &str) -> (Quotas, Policy) {
    let policy = policy(source, rule);
    let quotas = Quotas::default();
    quotas.serve(&policy);
    (quotas, policy)
}

fn enter(quotas: &Quotas, policy: &Policy) -> Result<Places, Reason> {
    quotas.enter(policy.rules().next().unwrap(), &policy.sources()[0])
}

#[test]
fn each_limit_of_rule_or_source_refuses_with_its_reason() {
    for (source, rule, enters, want) in [
        ("", "", 5, None),
        ("", "tunnels: 2", 2, Some(Reason::TunnelLimit)),
        ("tunnels: 2", "", 2, Some(Reason::TunnelLimit)),
        ("tunnels: 3", "tunnels: 2", 2, Some(Reason::TunnelLimit)),
        ("", "rate: 3/h", 1, Some(Reason::RateLimited)),
        ("rate: 1/h", "rate: 1000000/s", 1, Some(Reason::RateLimited)),
        ("", "rate: 1000000/s", 5, None),
        ("", "idle_timeout: 1m", 5, None),
    ] {
        let (quotas, policy) = quotas(source, rule);
        let held: Vec<Places> = (0..enters).map(|_| enter(&quotas, &policy).unwrap()).collect();
        assert_eq!(enter(&quotas, &policy).err(), want, "source {source}, rule {rule}");
        if want == Some(Reason::TunnelLimit) {
            drop(held);
            assert!(enter(&quotas, &policy).is_ok(), "places are given back: {source} {rule}");
        }
    }
}

#[test]
fn a_rate_lets_a_second_pass_at_once_and_then_as_many_as_it_says() {
    const SECOND: u64 = 1_000_000_000;
    for (rate, burst, per_minute) in
        [("100/s", 100, 6000), ("1/s", 1, 60), ("20/m", 1, 20), ("120/m", 2, 120), ("5/h", 1, 1)]
    {
        let limits = Limits { rate: Some(yaml::rate(rate).unwrap()), ..Limits::default() };
        let quota = Quota { limits: ArcSwap::from_pointee(limits), ..Quota::default() };
        let began = 7 * SECOND;
        let passed = (0..1000).filter(|_| quota.may_pass(began)).count();
        assert_eq!(passed, burst, "{rate} at once");
        // A millisecond between tries, for a minute.
        let passed = (1..=60_000).filter(|tick| quota.may_pass(began + tick * SECOND / 1000)).count();
        assert!(passed.abs_diff(per_minute) <= 1, "{rate} gave {passed} in a minute");
        assert!(quota.may_pass(began + 10_000 * SECOND), "{rate} after a long silence");
    }
}

#[test]
fn what_runs_into_its_own_rate_leaves_the_rules_to_others() {
    let text = "version: 1\nsources: [{name: wild, subnets: [10.0.0.0/24], limits: {rate: 1/h}}, {name: calm, subnets: [10.0.1.0/24]}]\n\
                rules: [{id: r, customer: c, sources: [wild, calm], hosts: [a.example], limits: {rate: 2/s}}]\n";
    let file = PolicyFile { path: "p".into(), shown: "p".into(), text: text.into() };
    let policy = Policy::load(&[file], &Setting::default(), &mut Faults::new()).unwrap();
    let quotas = Quotas::default();
    quotas.serve(&policy);
    let rule = policy.rules().next().unwrap();
    let [wild, calm] = policy.sources() else { panic!("two sources") };
    assert!(quotas.enter(rule, wild).is_ok());
    assert!((0..100).all(|_| quotas.enter(rule, wild).err() == Some(Reason::RateLimited)));
    assert!(quotas.enter(rule, calm).is_ok(), "one of two is left");
}

#[test]
fn a_days_bytes_are_never_exceeded_whoever_asks_for_them() {
    let (quotas, policy) = quotas("bytes_out: 2MiB/day", "bytes_out: 1MiB/day");
    let sent = AtomicUsize::new(0);
    let all: Vec<Places> = (0..4).map(|_| enter(&quotas, &policy).unwrap()).collect();
    thread::scope(|scope| {
        for places in all {
            let sent = &sent;
            scope.spawn(move || {
                while let granted @ 1.. = places.reserve(1000) {
                    // A part of it does not come to be sent.
                    let gone = granted.div_ceil(2);
                    places.give_back(granted - gone);
                    sent.fetch_add(gone, Ordering::Relaxed);
                }
            });
        }
    });
    let sent = sent.into_inner();
    assert!((1_000_000..=1 << 20).contains(&sent), "{sent}");
    let sent = sent as u64;
    let want = Spent { rules: [("r".to_owned(), sent)].into(), sources: [("s".to_owned(), sent)].into() };
    assert_eq!(quotas.spent(), want, "what was given back is not counted");
}

#[test]
fn a_spent_budget_refuses_until_the_day_is_over() {
    let (quotas, policy) = quotas("", "bytes_out: 1KiB/day");
    let places = enter(&quotas, &policy).unwrap();
    assert_eq!((places.reserve(1000), places.reserve(1000), places.reserve(1000)), (1000, 24, 0));
    assert_eq!(enter(&quotas, &policy).err(), Some(Reason::ByteBudgetSpent));
    quotas.begin_day();
    assert!(enter(&quotas, &policy).is_ok());
    assert_eq!(places.reserve(10), 10, "the tunnel that is open goes on");
    places.give_back(1000);
    assert_eq!(quotas.spent(), Spent::default(), "bytes of yesterday make no credit");
}

#[test]
fn counts_outlive_policies() {
    let (quotas, first) = quotas("", "tunnels: 1, bytes_out: 1KiB/day");
    let held = enter(&quotas, &first).unwrap();
    assert_eq!(held.reserve(1024), 1024);
    quotas.serve(&policy("", ""));
    assert_eq!(held.reserve(9000), 9000, "the limit went with its policy");
    quotas.serve(&policy("", "tunnels: 1, bytes_out: 2KiB/day"));
    assert_eq!(enter(&quotas, &first).err(), Some(Reason::TunnelLimit), "the tunnel is still counted");
    assert_eq!(held.reserve(9000), 1024, "what had gone is still counted, and the new limit holds");
    drop(held);
    assert_eq!(enter(&quotas, &first).err(), Some(Reason::ByteBudgetSpent));
    let again = Quotas::default();
    again.restore(&quotas.spent());
    again.serve(&policy("", "bytes_out: 2KiB/day"));
    assert_eq!(enter(&again, &first).err(), Some(Reason::ByteBudgetSpent), "after a restart too");
}

#[test]
fn the_shortest_deadline_holds() {
    let instance = Deadlines { idle: Duration::from_secs(60), lifetime: Duration::from_secs(600) };
    for (source, rule, idle, lifetime) in [
        ("", "", 60, 600),
        ("", "idle_timeout: 5s", 5, 600),
        ("", "idle_timeout: 1h, lifetime: 2h", 60, 600),
        ("idle_timeout: 7s, lifetime: 8s", "idle_timeout: 9s, lifetime: 6s", 7, 6),
    ] {
        let (quotas, policy) = quotas(source, rule);
        let places = enter(&quotas, &policy).unwrap();
        let Deadlines { idle: is_idle, lifetime: lives } = places.deadlines(instance);
        assert_eq!((is_idle.as_secs(), lives.as_secs()), (idle, lifetime), "source {source}, rule {rule}");
    }
}

#[test]
fn the_metrics_tell_limits_and_use() {
    let (quotas, policy) = quotas("tunnels: 7", "bytes_out: 1KiB/day, rate: 5/s");
    let places = enter(&quotas, &policy).unwrap();
    places.reserve(100);
    let mut rows = quotas.rows();
    rows.sort();
    let told: Vec<String> =
        rows.iter().map(|row| format!("{} {} {} {} of {}", row.of, row.name, row.limit, row.used, row.most)).collect();
    assert_eq!(told, ["rule r bytes_out 100 of 1024", "source s tunnels 1 of 7"]);
}
