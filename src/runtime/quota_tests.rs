//! Limits by the clock of the test and by threads that race; through whole policies, as the proxy does.

use std::sync::atomic::AtomicUsize;
use std::thread;

use super::*;
use crate::policy::testing;
use crate::yaml;

/// A policy with one source and one rule, and what these say of limits.
fn policy(source: &str, rule: &str) -> Policy {
    let text = format!(
        "version: 1\nsources: [{{name: s, subnets: [10.0.0.0/24], limits: {{{source}}}}}]\n\
         rules: [{{id: r, customer: c, sources: [s], hosts: [a.example], limits: {{{rule}}}}}]\n"
    );
    testing::policy(&text)
}

/// The quotas of that policy, and how to enter them.
fn quotas(source: &str, rule: &str) -> (Quotas, Policy) {
    serving(policy(source, rule))
}

fn serving(policy: Policy) -> (Quotas, Policy) {
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
    let (quotas, policy) = serving(testing::policy(text));
    let rule = policy.rules().next().unwrap();
    let [wild, calm] = policy.sources() else { panic!("two sources") };
    assert!(quotas.enter(rule, wild).is_ok());
    assert!((0..100).all(|_| quotas.enter(rule, wild).err() == Some(Reason::RateLimited)));
    assert!(quotas.enter(rule, calm).is_ok(), "one of two is left");
}

#[test]
fn a_rate_that_changes_holds_from_now_on() {
    let (quotas, slow) = quotas("", "rate: 1/h");
    assert!(enter(&quotas, &slow).is_ok());
    assert_eq!(enter(&quotas, &slow).err(), Some(Reason::RateLimited));
    quotas.serve(&policy("", ""));
    quotas.serve(&slow);
    assert_eq!(enter(&quotas, &slow).err(), Some(Reason::RateLimited), "gone and back is no new rate");
    let rate = |text: &str| Limits { rate: Some(yaml::rate(text).unwrap()), ..Limits::default() };
    let quota = Quota { limits: ArcSwap::from_pointee(rate("1/h")), ..Quota::default() };
    assert!(quota.may_pass(0) && !quota.may_pass(0));
    quota.adopt(rate("100/s"), 0);
    let (second, later) = (1_000_000_000, 1_010_000_000);
    assert!(!quota.may_pass(0) && quota.may_pass(later), "an hour at the old rate is a second at the new one");
    quota.adopt(rate("1/h"), second);
    assert!(!quota.may_pass(second), "a slower rate gives nothing back");
}

/// Moves up to `most` bytes, all of them.
fn send(places: &Places, most: usize) -> usize {
    places.within(most, Ok::<_, ()>, |bytes| *bytes).unwrap().unwrap_or_default()
}

#[test]
fn what_runs_into_a_limit_of_its_own_takes_nothing_of_the_rules() {
    let text = "version: 1\nsources: [{name: wild, subnets: [10.0.0.0/24], limits: {bytes_out: 1B/day}}, {name: calm, subnets: [10.0.1.0/24]}]\n\
                rules: [{id: r, customer: c, sources: [wild, calm], hosts: [a.example], limits: {rate: 2/s}}]\n";
    let (quotas, policy) = serving(testing::policy(text));
    let rule = policy.rules().next().unwrap();
    let [wild, calm] = policy.sources() else { panic!("two sources") };
    assert_eq!(send(&quotas.enter(rule, wild).unwrap(), 9), 1);
    assert!((0..100).all(|_| quotas.enter(rule, wild).err() == Some(Reason::ByteBudgetSpent)));
    assert!(quotas.enter(rule, calm).is_ok(), "one of two is left");
}

#[test]
fn a_days_bytes_are_sent_to_the_last_and_not_one_more_whoever_asks_for_them() {
    let (quotas, policy) = quotas("bytes_out: 2MiB/day", "bytes_out: 1MiB/day");
    let sent = AtomicUsize::new(0);
    let all: Vec<Places> = (0..4).map(|_| enter(&quotas, &policy).unwrap()).collect();
    thread::scope(|scope| {
        for (number, places) in all.into_iter().enumerate() {
            let sent = &sent;
            scope.spawn(move || {
                // Another one's reservation never looks like the end.
                while !places.is_spent() {
                    let part = |granted: usize| Ok::<_, ()>(granted.div_ceil(2 + number));
                    let gone = places.within(65_536, part, |gone| *gone).unwrap().unwrap_or_default();
                    sent.fetch_add(gone, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(sent.into_inner(), 1 << 20);
    let bytes = 1 << 20;
    let want = Spent { rules: [("r".to_owned(), bytes)].into(), sources: [("s".to_owned(), bytes)].into() };
    assert_eq!(quotas.spent(), want);
}

#[test]
fn what_must_go_whole_goes_whole_or_uses_up_the_rest() {
    let (quotas, policy) = quotas("bytes_out: 1KiB/day", "bytes_out: 5KiB/day");
    let places = enter(&quotas, &policy).unwrap();
    assert_eq!((places.spend(1000), places.spend(25)), (Spending::Done, Spending::Short));
    assert_eq!(enter(&quotas, &policy).err(), Some(Reason::ByteBudgetSpent), "nobody tries for the rest again");
    let spent = quotas.spent();
    assert_eq!((spent.sources["s"], spent.rules["r"]), (1024, 1000));
    let another = || places.within(10, Ok::<_, ()>, |_| 0);
    quotas.begin_day();
    let outer = places.within(
        1024,
        |granted| {
            assert_eq!(
                (granted, places.spend(10), places.is_spent(), another()),
                (1024, Spending::Busy, false, Ok(None))
            );
            Ok::<_, ()>(0)
        },
        |gone| *gone,
    );
    assert_eq!((outer, places.spend(10)), (Ok(Some(0)), Spending::Done), "what was reserved is free again");
}

#[test]
fn a_spent_budget_refuses_until_the_day_is_over() {
    let (quotas, policy) = quotas("", "bytes_out: 1KiB/day");
    let places = enter(&quotas, &policy).unwrap();
    assert_eq!((send(&places, 1000), send(&places, 1000), send(&places, 1000)), (1000, 24, 0));
    assert_eq!(enter(&quotas, &policy).err(), Some(Reason::ByteBudgetSpent));
    quotas.begin_day();
    assert!(enter(&quotas, &policy).is_ok());
    assert_eq!(send(&places, 10), 10, "the tunnel that is open goes on");
    assert_eq!(quotas.spent().rules["r"], 10);
}

#[test]
fn counts_outlive_policies() {
    let (quotas, first) = quotas("", "tunnels: 1, bytes_out: 1KiB/day, lifetime: 5s");
    let other = || {
        let text = "version: 1\nsources: [{name: s, subnets: [10.0.0.0/24]}]\nrules: [{id: x, customer: c, sources: [s], hosts: [x.example]}]\n";
        testing::policy(text)
    };
    let held = enter(&quotas, &first).unwrap();
    assert_eq!(send(&held, 1000), 1000);
    quotas.serve(&other());
    assert_eq!(send(&held, 9000), 24, "its limits bound what outlives a rule");
    let instance = Deadlines { idle: Duration::from_secs(60), lifetime: Duration::from_secs(600) };
    assert_eq!(held.deadlines(instance).lifetime, Duration::from_secs(5));
    quotas.serve(&policy("", ""));
    assert_eq!(send(&held, 5000), 5000, "a rule that is there without limits has none");
    quotas.serve(&policy("", "tunnels: 1, bytes_out: 8KiB/day"));
    assert_eq!(enter(&quotas, &first).err(), Some(Reason::TunnelLimit), "the tunnel is still counted");
    assert_eq!(send(&held, 9000), 8192 - 6024, "and so is all that had gone");
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
    send(&places, 100);
    let mut rows = quotas.rows();
    rows.sort();
    let told: Vec<String> =
        rows.iter().map(|row| format!("{} {} {} {} of {}", row.of, row.name, row.limit, row.used, row.most)).collect();
    assert_eq!(told, ["rule r bytes_out 100 of 1024", "source s tunnels 1 of 7"]);
}
