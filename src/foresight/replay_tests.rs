//! Replays of records that policies have made.

use super::*;
use crate::decision_log::{Detail, Record};
use crate::foresight::testing::{Request, close, give, request, text};
use crate::policy::testing::policy;
use crate::policy::{Block, BlockKind, Blocked, Blocks};

const BASE: &str = "version: 1
sources: [{name: ivr, subnets: [10.1.0.0/16], environment: production}, {name: web, subnets: [10.2.0.0/16], class: general}]
";

fn loaded(rules: &str) -> Arc<Policy> {
    Arc::new(policy(&format!("{BASE}{rules}")))
}

pub(super) fn replayed(records: &[Record], new: &Arc<Policy>) -> ReplayReport {
    let mut replay = Replay::new(new);
    give(records, |found| replay.add(found));
    replay.finish()
}

const API: &str = "rules:\n  - {id: a/api, customer: a, sources: [ivr], hosts: [api.a.test]}\n";

/// What the only change says: kind, before and after.
fn change(records: &[Record], new: &Arc<Policy>) -> String {
    let report = replayed(records, new);
    let told = |side: &Side| {
        let rule = side.rule.as_deref().map(|rule| format!(" {rule}")).unwrap_or_default();
        format!("{}{rule}{}", side.reason, side.unjudged.map(|open| format!(" ({open})")).unwrap_or_default())
    };
    let changes = report.changes.iter().map(|change| {
        format!("{} {}: {} → {}", change.change.as_str(), change.target, told(&change.before), told(&change.after))
    });
    let unjudged = report.unjudged.iter().map(|(what, count)| format!("{count} lack {what}"));
    let apart = report.not_replayed.iter().map(|(what, count)| format!("{count} {what}"));
    changes.chain(unjudged).chain(apart).collect::<Vec<_>>().join("; ")
}

/// The same rule on other terms.
fn rule(rest: &str) -> String {
    format!("rules:\n  - {{id: a/api, customer: a, sources: [ivr], hosts: [api.a.test]{rest}}}\n")
}

#[test]
fn each_stage_changes_its_decisions() {
    let api = request("api.a.test:443");
    for (name, request, old, new, want) in [
        ("the same", &api, API.to_owned(), rule(", owner: x"), ""),
        (
            "no rule",
            &api,
            API.to_owned(),
            String::new(),
            "refused api.a.test:443: allowed a/api → destination_not_listed",
        ),
        (
            "another port",
            &api,
            API.to_owned(),
            rule(", ports: [8443]"),
            "refused api.a.test:443: allowed a/api → port_not_allowed",
        ),
        (
            "expired",
            &api,
            API.to_owned(),
            rule(", expires: 1970-01-06"),
            "refused api.a.test:443: allowed a/api → rule_expired a/api",
        ),
        ("not yet", &api, API.to_owned(), rule(", expires: 1970-01-07"), ""),
        (
            "never",
            &api,
            API.to_owned(),
            format!("never: {{hosts: [api.a.test]}}\n{API}"),
            "refused api.a.test:443: allowed a/api → destination_denied",
        ),
        (
            "addresses",
            &api,
            API.to_owned(),
            rule(", addresses: [10.9.9.0/24]"),
            "refused api.a.test:443: allowed a/api → address_forbidden a/api",
        ),
        (
            "ALPN",
            &api,
            API.to_owned(),
            rule(", tls: {alpn: [http/1.1]}"),
            "refused api.a.test:443: allowed a/api → alpn_not_allowed a/api",
        ),
        (
            "another rule",
            &api,
            API.to_owned(),
            API.replace("a/api", "a/new"),
            "otherwise api.a.test:443: allowed a/api → allowed a/new",
        ),
    ] {
        let record = request.record(&loaded(&old), 1);
        assert_eq!(change(&[record], &loaded(&new)), want, "{name}");
    }
}

#[test]
fn what_was_refused_is_let_through_as_far_as_its_record_goes() {
    let api = request("api.a.test:443");
    let other = request("other.a.test:443");
    let near = Request { addresses: &["10.9.9.9"], ..api.clone() };
    let grpc = Request { alpn: &["grpc"], ..api.clone() };
    let old_tls = Request { version: ProtocolVersion::Tls12, ..api.clone() };
    let stranger = Request { client: "192.0.2.1", ..api.clone() };
    let literal = Request { sni: None, ..request("203.0.114.9:443") };
    for (name, request, old, new, want) in [
        (
            "a rule more",
            &other,
            API.to_owned(),
            rule(", ports: [443]").replace("[api.a.test]", "['*.a.test']"),
            "let_through other.a.test:443: destination_not_listed → allowed a/api (addresses, hello)",
        ),
        (
            "an address more",
            &near,
            API.to_owned(),
            rule(", addresses: [10.9.9.0/24]"),
            "let_through api.a.test:443: address_forbidden a/api → allowed a/api (hello, and whether the address is the proxy's own)",
        ),
        (
            "a protocol more",
            &grpc,
            API.to_owned(),
            rule(", tls: {alpn: [grpc]}"),
            "let_through api.a.test:443: alpn_not_allowed a/api → allowed a/api",
        ),
        ("a lower version", &old_tls, rule(", tls: {min_version: '1.3'}"), API.to_owned(), "1 lack tls_version"),
        (
            "as low a version",
            &old_tls,
            rule(", tls: {min_version: '1.3'}"),
            rule(", tls: {min_version: '1.3'}, owner: x"),
            "",
        ),
        ("still a stranger", &stranger, API.to_owned(), rule(", owner: x"), ""),
        (
            "a literal address",
            &literal,
            API.to_owned(),
            "rules: [{id: a/net, customer: a, sources: [ivr], networks: [203.0.114.0/24], tls: {sni: absent}}]\n"
                .to_owned(),
            "let_through 203.0.114.9:443: destination_not_listed → allowed a/net (hello)",
        ),
    ] {
        let record = request.record(&loaded(&old), 1);
        assert_eq!(change(&[record], &loaded(&new)), want, "{name}");
    }
}

#[test]
fn what_no_policy_decides_is_counted_apart() {
    let mut record = request("api.a.test:443").record(&loaded(API), 1);
    let new = loaded("");
    for (reason, want) in [
        ("rate_limited", "1 rate_limited"),
        ("dns_timeout", "1 dns_timeout"),
        ("decision_log_unavailable", "1 decision_log_unavailable"),
        ("server_cipher_weak", "1 server_cipher_weak"),
        ("a later version's", "1 lack request"),
    ] {
        (record.outcome, record.reason) = (Some(Outcome::Deny), Some(reason));
        assert_eq!(change(std::slice::from_ref(&record), &new), want, "{reason}");
    }
    record.reason = Some("plaintext_http");
    (record.host, record.rule) = (None, None);
    assert_eq!(change(std::slice::from_ref(&record), &new), "", "its head is refused by any policy");
    record.client_ip = Some("192.0.2.1".parse().unwrap());
    assert_eq!(change(std::slice::from_ref(&record), &new), "otherwise -:443: plaintext_http → source_unknown");
}

/// The same policy while this is blocked.
pub(super) fn while_blocked(policy: &Policy, (kind, text): (BlockKind, &str)) -> Arc<Policy> {
    let block = Block {
        id: uuid::Uuid::from_u128(7),
        what: Blocked::read(kind, text).unwrap(),
        reason: crate::foresight::testing::text("a leak"),
        since: "1970-01-01T00:00:00Z".parse().unwrap(),
        until: "1970-02-01T00:00:00Z".parse().unwrap(),
    };
    Arc::new(policy.with_blocks(Arc::new(Blocks::new([Arc::new(block)]))))
}

#[test]
fn what_an_emergency_block_refused_is_no_policy_s() {
    let (api, old) = (request("api.a.test:443"), loaded(API));
    for (name, kind, text) in [
        ("host", BlockKind::Host, "api.a.test"),
        ("network", BlockKind::Network, "93.184.216.0/24"),
        ("source", BlockKind::Source, "ivr"),
        ("customer", BlockKind::Customer, "a"),
    ] {
        let record = api.record(&while_blocked(&old, (kind, text)), 1);
        assert_eq!(record.reason, Some("destination_denied"), "{name}");
        for new in [rule(", owner: x"), String::new()] {
            assert_eq!(change(std::slice::from_ref(&record), &loaded(&new)), "1 emergency_block", "{name}");
        }
        let never = Record { detail: Detail::new().with("said", "block"), ..record };
        let told = change(&[never], &loaded(&rule(", owner: x")));
        assert!(told.starts_with("let_through api.a.test:443: destination_denied"), "{name}: {told}");
    }
}

#[test]
fn what_is_redacted_is_not_made_up() {
    let api = request("api.a.test:443").record(&loaded(API), 1);
    let same = loaded(&format!("{API}# again\n"));
    let mark = |field| crate::decision_log::Mark { field, detector: crate::redact::Detector::CardNumber };
    for (field, want) in
        [("host", "1 lack target"), ("sni", "1 lack hello"), ("alpn", "1 lack hello"), ("path_template", "")]
    {
        let record = Record { redacted: vec![mark(field)], ..api.clone() };
        assert_eq!(change(&[record], &same), want, "{field}");
    }
    let asks = "version: 1\nsources: [{name: ivr, subnets: [10.1.0.0/16], identities: ['spiffe://x.test/ivr']}]\n";
    let asks = Arc::new(policy(asks));
    let shown = Record { client_identity: Some(text("spiffe://x.test/[PAN]")), ..api };
    assert_eq!(change(&[shown], &asks), "1 lack identity");
}

#[test]
fn the_environment_is_the_record_s() {
    let mut record = request("api.a.test:443").record(&loaded(API), 1);
    record.environment = Some("staging".into());
    let want = "refused api.a.test:443: allowed a/api → environment_mismatch";
    assert_eq!(change(&[record], &loaded(&format!("{API}# again\n"))), want);
}

#[test]
fn summaries_count_as_many_as_they_stand_for() {
    let old = loaded(API);
    let mut record = request("x.test:443").record(&old, 1);
    record.kind = crate::decision_log::Kind::Summary;
    record.detail = Detail::new().with("count", 1_234_u64).with("since", "x");
    let same = replayed(std::slice::from_ref(&record), &old);
    assert_eq!((same.decisions, same.same_policy, same.window.records), (1234, 1234, 1));
    assert_eq!(change(std::slice::from_ref(&record), &loaded("")), "1234 lack request");
    record.reason = Some("rate_limited");
    assert_eq!(change(&[record], &loaded("")), "1234 rate_limited");
}

#[test]
fn what_the_server_chose_is_judged_where_a_rule_asks_for_more() {
    let (old, strict) = (loaded(API), loaded(&API.replace("]}\n", "], tls: {min_version: '1.3'}}\n")));
    let decision = request("api.a.test:443").record(&old, 1);
    assert_eq!((Replay::kinds(&old).len(), Replay::kinds(&strict).len()), (2, 3));
    let want = "refused api.a.test:443: allowed a/api → server_tls_version_too_low a/api";
    for (version, want) in [("1.2", want), ("1.3", "")] {
        let records = [decision.clone(), close(&decision, version)];
        assert_eq!(change(&records, &strict), want, "{version}");
        let report = replayed(&records, &strict);
        assert_eq!(
            (report.decisions, report.unchanged, report.tunnels),
            (1, 1, u64::from(!want.is_empty())),
            "{version}"
        );
        assert_eq!(report.differs(), !want.is_empty());
    }
}

#[test]
fn alike_ones_are_one_change_with_its_first_and_last() {
    let old = loaded(API);
    let records: Vec<Record> = (0..10)
        .map(|number| {
            let at = request("").at + jiff::SignedDuration::from_secs(number);
            let target = if number % 2 == 0 { "api.a.test:443" } else { "b.a.test:443" };
            Request { at, ..request(target) }.record(&old, number as u128)
        })
        .collect();
    let new = loaded(&API.replace("api.a.test", "b.a.test"));
    let whole = replayed(&records, &new);
    let counts = [whole.decisions, whole.refused, whole.let_through, whole.otherwise, whole.unchanged];
    assert_eq!(counts, [10, 5, 5, 0, 0]);
    let told: Vec<_> = whole
        .changes
        .iter()
        .map(|change| (&*change.target, change.count, change.first.get(17..19), change.last.get(17..19)))
        .collect();
    assert_eq!(told, [("api.a.test:443", 5, Some("00"), Some("08")), ("b.a.test:443", 5, Some("01"), Some("09"))]);
    assert_eq!(whole.changes[1].id, uuid::Uuid::from_u128(1).to_string());
    // However the records are shared out among threads.
    let mut parts = [Replay::new(&new), Replay::new(&new), Replay::new(&new)];
    let mut next = 0;
    give(&records, |found| {
        parts[[2, 0, 1, 1][next % 4]].add(found);
        next += 1;
    });
    let merged = parts.into_iter().reduce(|mut one, other| {
        one.merge(other);
        one
    });
    assert_eq!(merged.unwrap().finish(), whole);
}

#[test]
fn changes_beyond_the_bound_are_counted() {
    let mut replay = Replay::new(&loaded(""));
    let ruled = |reason: Reason| Ruled { outcome: reason.outcome(), reason, rule: None, open: None };
    for number in 0..MAX_CHANGES + 3 {
        let (before, after) = (ruled(Reason::Allowed), ruled(Reason::DestinationNotListed));
        let key = ChangeKey { source: None, target: number.to_string().into(), before, after };
        let at = (number as u64, String::new());
        replay.change(key, Times { count: 2, first: at.clone(), last: at, id: String::new() });
    }
    assert_eq!(replay.told.others, 6);
    assert_eq!(replay.finish().changes.len(), MAX_CHANGES);
}
