//! Which source a client belongs to, by where it comes from and what it proves to be.

use proptest::prelude::*;

use super::*;
use crate::name::Identity;

const SOURCES: &str = r#"
sources:
  - {name: all, subnets: [10.0.0.0/16], identities: ["spiffe://v.example/any"]}
  - {name: ivr, subnets: [10.0.1.0/24], identities: ["spiffe://v.example/ivr/*", ivr.v.example]}
  - {name: batch, subnets: [10.0.1.0/24], identities: ["login:batch", "spiffe://v.example/batch/*/run"]}
  - {name: plain, subnets: [10.0.1.128/25, 10.0.2.0/24], uids: [0, 1000]}
  - {name: named, subnets: [10.0.3.0/24], identities: [a.v.example, b.v.example]}
  - {name: staging, subnets: [10.0.4.0/24], environment: staging, identities: [a.v.example]}
"#;

fn client(origin: &str, identities: &[&str], takes_credentials: bool) -> Client {
    let origin = if origin == "-" { Origin::Unknown } else { origin.parse().unwrap() };
    let identities = identities.iter().map(|text| text.parse().unwrap()).collect();
    Client { identities, takes_credentials, ..Client::new(origin) }
}

#[test]
fn the_longest_subnet_then_an_identity_and_no_wider_source() {
    let policy = policy(SOURCES);
    for (row, origin, identities, want) in [
        ("nothing shown", "10.0.1.1", &[][..], "identity_required"),
        ("one of a list", "10.0.1.1", &["spiffe://v.example/ivr/east"], "ivr spiffe://v.example/ivr/east"),
        ("another of it", "10.0.1.1", &["ivr.v.example"], "ivr ivr.v.example"),
        (
            "a source that shares the subnet",
            "10.0.1.1",
            &["spiffe://v.example/batch/7/run"],
            "batch spiffe://v.example/batch/7/run",
        ),
        ("a credential", "10.0.1.1", &["login:batch"], "batch login:batch"),
        ("the second that is shown", "10.0.1.1", &["x.v.example", "login:batch"], "batch login:batch"),
        ("a segment too many", "10.0.1.1", &["spiffe://v.example/ivr/east/1"], "identity_not_allowed"),
        ("what a wider source takes", "10.0.1.1", &["spiffe://v.example/any"], "identity_not_allowed"),
        ("the wider source's own", "10.0.9.1", &["spiffe://v.example/any"], "all spiffe://v.example/any"),
        ("two sources' at once", "10.0.1.1", &["ivr.v.example", "login:batch"], "identity_not_allowed"),
        ("two of one source", "10.0.3.1", &["b.v.example", "a.v.example"], "named b.v.example"),
        ("a source without identities", "10.0.1.200", &[], "plain -"),
        ("one that takes any client", "10.0.2.1", &["login:batch"], "plain -"),
        ("a user", "user:1000", &[], "plain -"),
        ("the superuser", "user:0", &[], "plain -"),
        ("another user", "user:1001", &[], "source_unknown"),
        ("a stranger", "192.0.2.1", &["spiffe://v.example/any"], "source_unknown"),
        ("nobody says", "-", &["spiffe://v.example/any"], "source_unknown"),
        ("another environment", "10.0.4.1", &["a.v.example"], "environment_mismatch"),
        ("another environment, nothing shown", "10.0.4.1", &[], "identity_required"),
    ] {
        let found = match policy.identify(&client(origin, identities, false)) {
            Ok(found) => {
                let matched = found.matched().map_or("-".to_owned(), Identity::to_string);
                format!("{} {matched}", found.source().name)
            }
            Err(denial) => denial.reason().to_string(),
        };
        assert_eq!(found, want, "{row}");
    }
}

/// The only refusal that a client of a browser's kind can answer, so it comes only where an answer would help.
#[test]
fn credentials_are_asked_for_where_one_would_help() {
    let policy = policy(SOURCES);
    for (row, origin, identities, takes, want) in [
        ("a listener that takes them", "10.0.1.1", &[][..], true, "credentials_missing"),
        ("one that does not", "10.0.1.1", &[], false, "identity_required"),
        ("another identity is shown", "10.0.1.1", &["x.v.example"], true, "credentials_missing"),
        ("another credential is shown", "10.0.1.1", &["login:other"], true, "identity_not_allowed"),
        ("a source that takes none", "10.0.3.1", &[], true, "identity_required"),
        ("a stranger", "192.0.2.1", &[], true, "source_unknown"),
    ] {
        assert_eq!(word(&policy.identify(&client(origin, identities, takes))), want, "{row}");
    }
    for (origin, want) in
        [("10.0.1.1", true), ("10.0.3.1", false), ("10.0.1.200", false), ("user:0", false), ("-", false)]
    {
        assert_eq!(policy.asks_credential(client(origin, &[], false).origin), want, "{origin}");
    }
}

#[test]
fn before_identities_are_known_there_are_candidates() {
    let policy = policy(SOURCES);
    let certified = Client { certificate: Certificate::Shown, ..client("10.0.3.1", &[], false) };
    assert_eq!(word(&policy.identify(&certified)), "identity_not_allowed", "a certificate that names nobody");
    for (origin, want) in [
        ("10.0.1.1", "ivr batch"),
        ("10.0.9.1", "all"),
        ("10.0.2.1", "plain"),
        ("user:1000", "plain"),
        ("user:7", ""),
        ("-", ""),
    ] {
        let names: Vec<&str> =
            policy.candidates(client(origin, &[], false).origin).map(|source| &*source.name).collect();
        assert_eq!(names.join(" "), want, "{origin}");
    }
    for (origin, identities) in [("10.0.1.200", &[][..]), ("10.0.3.1", &["a.v.example"]), ("192.0.2.1", &[])] {
        let missing = Client { certificate: Certificate::Missing, ..client(origin, identities, false) };
        let refused = policy.identify(&missing).unwrap_err();
        assert_eq!(refused.reason(), Reason::IdentityRequired, "{origin} does not get through its handshake");
    }
}

/// Sources as written down a second time: name, subnet, identities.
fn sources() -> impl Strategy<Value = Vec<(String, usize, Vec<String>)>> {
    let identity = "spiffe://v/(a|b|\\*)(/(a|b|\\*))?|login:[ab]";
    let source = (0_usize..4, prop::collection::vec(identity, 0..3));
    prop::collection::vec(source, 1..6).prop_map(|sources| {
        (0..).zip(sources).map(|(number, (subnet, identities))| (format!("s{number}"), subnet, identities)).collect()
    })
}

const SUBNETS: [&str; 4] = ["10.0.0.0/16", "10.0.1.0/24", "10.0.2.0/24", "10.0.1.128/25"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// What loads leaves nobody in two sources, and everybody in the one that an exhaustive look finds.
    #[test]
    fn a_client_belongs_to_one_source_or_the_policy_does_not_load(
        sources in sources(),
        shown in "spiffe://v/[ab](/[ab])?|login:[ab]",
        address in prop::sample::select(vec!["10.0.9.1", "10.0.1.1", "10.0.1.200", "10.0.2.1"]),
    ) {
        let line = |(name, subnet, identities): &(String, usize, Vec<String>)| {
            let identities = if identities.is_empty() { "none".to_owned() } else { format!("{identities:?}") };
            format!("  - {{name: {name}, subnets: [{}], identities: {identities}}}\n", SUBNETS[*subnet])
        };
        let text = format!("version: 1\nsources:\n{}", sources.iter().map(line).collect::<String>());
        let Ok(policy) = load(&[file("p", &text)]) else {
            let apart = sources.iter().map(|(_, subnet, _)| subnet).collect::<std::collections::BTreeSet<_>>();
            prop_assert!(apart.len() < sources.len(), "no two share a subnet: {}", text);
            return Ok(());
        };
        let net = |subnet: usize| SUBNETS[subnet].parse::<ipnet::IpNet>().unwrap();
        let here = sources.iter().filter(|(_, subnet, _)| net(*subnet).contains(&ip(address)));
        let longest = here.clone().map(|(_, subnet, _)| net(*subnet).prefix_len()).max();
        let matches = |pattern: &String| {
            let (one, other) = (pattern.split('/'), shown.split('/'));
            one.clone().count() == other.clone().count() && one.zip(other).all(|(one, other)| one == "*" || one == other)
        };
        let mine: Vec<&str> = here
            .filter(|(_, subnet, _)| Some(net(*subnet).prefix_len()) == longest)
            .filter(|(_, _, identities)| identities.is_empty() || identities.iter().any(matches))
            .map(|(name, _, _)| name.as_str())
            .collect();
        prop_assert!(mine.len() < 2, "{:?} in {}", mine, text);
        let want = match (longest, mine.first()) {
            (None, _) => "source_unknown",
            (Some(_), None) => "identity_not_allowed",
            (Some(_), Some(name)) => name,
        };
        let found = policy.identify(&client(address, &[&shown], false));
        let found = found.as_ref().map_or_else(|denial| denial.reason().as_str(), |found| &found.source().name);
        prop_assert_eq!(found, want, "{}", text);
    }
}
