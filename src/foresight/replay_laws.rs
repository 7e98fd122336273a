//! Laws of replays, on small worlds with terms of every kind.

use proptest::prelude::*;

use super::tests::{replayed, while_blocked};
use super::*;
use crate::decision_log::Record;
use crate::foresight::testing::{Request, request};
use crate::policy::BlockKind;
use crate::policy::testing::policy;

/// Rules of a small world with terms of every kind.
fn rules() -> impl Strategy<Value = String> {
    let terms = prop::sample::select(vec![
        "",
        ", ports: [443, 8443]",
        ", expires: 1970-01-06",
        ", hours: {days: [wed], from: '11:00', to: '13:00', zone: UTC}",
        ", hours: {days: [wed], from: '13:00', to: '15:00', zone: UTC}",
        ", addresses: [10.9.9.0/24, 93.184.216.0/24]",
        ", tls: {min_version: '1.3'}",
        ", tls: {alpn: [http/1.1], sni_names: [gw.x.test]}",
    ]);
    let sources = prop::sample::select(vec!["ivr", "web", "mesh", "ivr, web, mesh"]);
    let rule = ("(\\*\\.|\\*\\*\\.)?([ab]\\.){0,2}x\\.test", sources, terms);
    let never = prop::sample::select(vec!["", "never: {hosts: ['**.b.x.test'], networks: [203.0.114.9/32]}\n"]);
    (prop::collection::btree_map("[a-f]", rule, 0..6), never).prop_map(|(rules, never)| {
        let mut patterns = std::collections::BTreeSet::new();
        let fresh = rules.into_iter().filter(|(_, (pattern, _, _))| patterns.insert(pattern.clone()));
        let lines = fresh.map(|(id, (pattern, sources, terms))| {
            format!("  - {{id: {id}, customer: c, sources: [{sources}], hosts: ['{pattern}']{terms}}}\n")
        });
        let net = "  - {id: net, customer: c, sources: [ivr], networks: [203.0.114.0/24], tls: {sni: optional, sni_names: [a.x.test]}}\n";
        format!("{never}rules:\n{}{net}", lines.collect::<String>())
    })
}

/// What is blocked while a policy decides.
fn blocked() -> impl Strategy<Value = Option<(BlockKind, &'static str)>> {
    prop::option::of(prop::sample::select(vec![
        (BlockKind::Host, "**.x.test"),
        (BlockKind::Network, "93.184.216.0/24"),
        (BlockKind::Network, "203.0.114.9"),
        (BlockKind::Source, "web"),
        (BlockKind::Customer, "c"),
    ]))
}

const SOURCES: &str = "version: 1
sources:
  - {name: ivr, subnets: [10.1.0.0/16]}
  - {name: web, subnets: [10.2.0.0/16], class: general, mode: report, report_until: 1970-01-08, egress: p}
  - {name: mesh, subnets: [10.3.0.0/16], identities: ['spiffe://x.test/mesh/*']}
";

fn requests() -> impl Strategy<Value = Request> {
    let client = prop::sample::select(vec!["10.1.0.7", "10.2.0.7", "10.3.0.7", "192.0.2.1"]);
    let identity = prop::sample::select(vec![None, Some("spiffe://x.test/mesh/1"), Some("spiffe://x.test/other")]);
    let to = prop::sample::select(vec![
        ("x.test:443", false),
        ("a.x.test:443", false),
        ("b.x.test:8443", false),
        ("a.b.x.test:443", false),
        ("203.0.114.9:443", false),
        ("203.0.114.10:443", false),
        ("x.test", false),
        ("203.0.114.10:443", true),
        ("198.51.100.1:443", true),
    ]);
    let addresses: Vec<&'static [&'static str]> =
        vec![&["93.184.216.34"], &["10.9.9.9"], &["93.184.216.34", "203.0.114.9"], &["93.184.216.34", "127.0.0.1"]];
    let sni = prop::sample::select(vec![None, Some("x.test"), Some("a.x.test"), Some("gw.x.test"), Some("not a name")]);
    let version = prop::sample::select(vec![ProtocolVersion::Tls11, ProtocolVersion::Tls12, ProtocolVersion::Tls13]);
    let alpn: Vec<&'static [&'static str]> = vec![&[], &["h2"], &["http/1.1"], &["h2", "grpc"]];
    (client, identity, to, prop::sample::select(addresses), sni, version, prop::sample::select(alpn)).prop_map(
        |(client, identity, (target, captured), addresses, sni, version, alpn)| Request {
            client,
            identity,
            captured,
            addresses,
            sni,
            version,
            alpn,
            ..request(target)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// What decided is not judged again; so judging it again must change nothing.
    #[test]
    fn the_policy_that_decided_decides_the_same_again(
        rules in rules(), requests in prop::collection::vec(requests(), 1..30), blocked in blocked()
    ) {
        let text = format!("{SOURCES}{rules}");
        let (old, again) = (Arc::new(policy(&text)), Arc::new(policy(&format!("{text}# again\n"))));
        let old = blocked.map_or(Arc::clone(&old), |blocked| while_blocked(&old, blocked));
        let records: Vec<Record> = (0..).zip(&requests).map(|(id, request)| request.record(&old, id)).collect();
        let report = replayed(&records, &again);
        prop_assert!(!report.differs(), "{:#?}", report.changes);
        let apart = report.unjudged.values().chain(report.not_replayed.values()).sum::<u64>();
        prop_assert_eq!(report.unchanged + apart, records.len() as u64);
        prop_assert!(report.not_replayed.keys().all(|what| *what == "emergency_block"), "{:?}", report.not_replayed);
        prop_assert!(report.unjudged.keys().all(|what| *what == "tls_version"), "{:?}", report.unjudged);
        let same = replayed(&records, &old);
        prop_assert_eq!(same.same_policy, records.len() as u64);
    }

    /// What is remembered is what would be judged: another order finds the same.
    #[test]
    fn what_is_remembered_is_what_would_be_judged(
        old in rules(), new in rules(), requests in prop::collection::vec(requests(), 1..30), hours in prop::collection::vec(0_i64..72, 30)
    ) {
        let [old, new] = [old, new].map(|rules| Arc::new(policy(&format!("{SOURCES}{rules}"))));
        let at = |hour: i64, request: &Request| Request { at: request.at + jiff::SignedDuration::from_hours(hour), ..request.clone() };
        let timed = requests.iter().zip(hours).flat_map(|(request, hour)| [at(hour, request), at(0, request), at(30 - hour, request)]);
        let records: Vec<Record> = (0..).zip(timed).map(|(id, request)| request.record(&old, id)).collect();
        let together = replayed(&records, &new);
        let alone = records.iter().map(|record| replayed(std::slice::from_ref(record), &new));
        let sum = alone.fold([0; 4], |sum, one| {
            [sum[0] + one.refused, sum[1] + one.let_through, sum[2] + one.otherwise, sum[3] + one.unchanged]
        });
        prop_assert_eq!([together.refused, together.let_through, together.otherwise, together.unchanged], sum);
    }
}
