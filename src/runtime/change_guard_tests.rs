//! Each rail: what it stops, and what it lets through.
//! Not here: who confirms, and where (`tests/all/changes.rs`).

use super::*;
use crate::policy::testing;

const GUARD: PolicyGuard = PolicyGuard {
    max_removed: None,
    max_added: None,
    no_new_wildcards: true,
    no_new_networks: true,
    no_new_clients: true,
    no_wider_terms: true,
    no_shorter_never: true,
};

const BASE: &str = "version: 1
never: {hosts: [x.example], networks: [192.0.2.0/24]}
sources:
  - {name: a, subnets: [10.0.0.0/24]}
  - {name: g, subnets: [10.1.0.0/24], class: general, environment: e, limits: {tunnels: 5, rate: 20/m, bytes_out: 2GiB/day, idle_timeout: 5m}}
  - {name: r, subnets: [10.2.0.0/24], class: general, mode: report, report_until: 1970-01-02, egress: p}
  - {name: i, subnets: [10.3.0.0/24], identities: ['login:one', 'login:two']}
  - {name: u, uids: [7]}
rules:
  - {id: one, customer: c, sources: [a], hosts: [a.example, b.example], ports: [443, 8443]}
  - {id: two, customer: c, sources: [a], hosts: [t.example], limits: {tunnels: 9}, addresses: [203.0.113.0/24], tls: {alpn: [h2], min_version: \"1.3\"}, expires: 2030-01-01, hours: {days: [mon], from: '06:00', to: '07:00', zone: UTC}}
  - {id: net, customer: c, sources: [a], networks: [198.51.100.7/32], tls: {sni: absent}}
";

fn weighed(guard: &PolicyGuard, from: &str, to: &str) -> Weighed {
    assert!(from.is_empty() || BASE.contains(from), "{from}");
    let new = if from.is_empty() { format!("{BASE}{to}") } else { BASE.replace(from, to) };
    Weighed::between(guard, &Arc::new(testing::policy(BASE)), &Arc::new(testing::policy(&new)))
}

const WILD: &str = "  - {id: new, customer: c, sources: [a], hosts: ['*.w.example']}\n";

const NET: &str = "  - {id: new, customer: c, sources: [a], networks: [198.51.100.8/32], tls: {sni: absent}}\n";

/// What in the base becomes what, and what the guard says of that.
const RAILS: &[(&str, &str, &str, Option<&str>)] = &[
    ("the same", "a.example", "a.example", None),
    ("a host more", "a.example", "a.example, c.example", None),
    ("a host less", "a.example, ", "", None),
    ("a wildcard more", "", WILD, Some("`policy_guard.no_new_wildcards: true`: a → *.w.example:443 by `new`")),
    ("a network more", "", NET, Some("`policy_guard.no_new_networks: true`: a → 198.51.100.8/32:443 by `new`")),
    (
        "more of both kinds",
        "[t.example]",
        "[t.example, '*.u.example', '**.v.example']",
        Some("`policy_guard.no_new_wildcards: true`: a → *.u.example:443 by `two`, and 1 more"),
    ),
    (
        "a subnet more",
        "[10.0.0.0/24]",
        "[10.0.0.0/24, 10.0.1.0/24]",
        Some("`policy_guard.no_new_clients: true`: 10.0.1.0/24"),
    ),
    ("a subnet less", "[10.0.0.0/24]", "[10.0.0.0/25]", None),
    (
        "ech",
        "ports: [443, 8443]",
        "ports: [443, 8443], tls: {ech: allow}",
        Some("`policy_guard.no_wider_terms: true`: a → a.example:443 by `one`, and 3 more"),
    ),
    (
        "another id in alpn",
        "alpn: [h2]",
        "alpn: [h2, x]",
        Some("`policy_guard.no_wider_terms: true`: a → t.example:443 by `two`"),
    ),
    ("no alpn", "alpn: [h2]", "alpn: []", None),
    ("an older version", "\"1.3\"", "\"1.2\"", Some("`policy_guard.no_wider_terms: true`: a → t.example:443 by `two`")),
    ("a newer version", "8443]}", "8443], tls: {min_version: \"1.3\"}}", None),
    (
        "any address",
        "addresses: [203.0.113.0/24], ",
        "",
        Some("`policy_guard.no_wider_terms: true`: a → t.example:443 by `two`"),
    ),
    ("no end", ", expires: 2030-01-01", "", Some("`policy_guard.no_wider_terms: true`: a → t.example:443 by `two`")),
    (
        "a later end",
        "2030-01-01",
        "2030-01-02",
        Some("`policy_guard.no_wider_terms: true`: a → t.example:443 by `two`"),
    ),
    ("an earlier end", "2030-01-01", "2029-01-02", None),
    ("other hours", "'07:00'", "'08:00'", Some("`policy_guard.no_wider_terms: true`: a → t.example:443 by `two`")),
    (
        "hours where there were none",
        "8443]}",
        "8443], hours: {days: [mon], from: '06:00', to: '07:00', zone: UTC}}",
        None,
    ),
    (
        "another tunnel or two",
        "tunnels: 5",
        "tunnels: 6",
        Some("`policy_guard.no_wider_terms: true`: `limits.tunnels` of source `g`"),
    ),
    ("a tunnel less", "tunnels: 5", "tunnels: 4", None),
    ("as many more often", "20/m", "1/s", Some("`policy_guard.no_wider_terms: true`: `limits.rate` of source `g`")),
    ("as many as before", "20/m", "1200/h", None),
    ("more bytes", "2GiB", "2049MiB", Some("`policy_guard.no_wider_terms: true`: `limits.bytes_out` of source `g`")),
    ("fewer bytes", "2GiB", "900MiB", None),
    ("longer", "5m}", "301s}", Some("`policy_guard.no_wider_terms: true`: `limits.idle_timeout` of source `g`")),
    ("shorter", "5m}", "40s}", None),
    (
        "no bound",
        ", bytes_out: 2GiB/day",
        "",
        Some("`policy_guard.no_wider_terms: true`: `limits.bytes_out` of source `g`"),
    ),
    ("a bound more", "limits: {", "limits: {lifetime: 1h, ", None),
    (
        "a rule's bound",
        "hosts: [t.example], limits: {tunnels: 9}",
        "hosts: [t.example]",
        Some("`policy_guard.no_wider_terms: true`: a → t.example:443 by `two`"),
    ),
    (
        "no environment",
        "environment: e, ",
        "",
        Some("`policy_guard.no_wider_terms: true`: `environment` of source `g`"),
    ),
    (
        "report mode",
        "environment: e, ",
        "environment: e, mode: report, report_until: 1970-01-02, egress: p, ",
        Some("`policy_guard.no_wider_terms: true`: `mode` of source `g`"),
    ),
    (
        "report mode for longer",
        "1970-01-02",
        "1970-01-03",
        Some("`policy_guard.no_wider_terms: true`: `report_until` of source `r`"),
    ),
    ("report mode for shorter", "1970-01-02", "1970-01-01", None),
    ("report mode no more", ", mode: report, report_until: 1970-01-02, egress: p", "", None),
    (
        "another class",
        "login:two']",
        "login:two'], class: general",
        Some("`policy_guard.no_wider_terms: true`: `class` of source `i`"),
    ),
    ("the stricter class", "class: general, environment", "class: cde, environment", None),
    (
        "an identity more",
        "login:two'",
        "login:two', 'login:three'",
        Some("`policy_guard.no_new_clients: true`: `identities` of source `i`"),
    ),
    ("an identity less", ", 'login:two'", "", Some("`policy_guard.no_new_clients: true`: `identities` of source `i`")),
    (
        "no identities",
        ", identities: ['login:one', 'login:two']",
        "",
        Some("`policy_guard.no_new_clients: true`: `identities` of source `i`"),
    ),
    ("a user more", "uids: [7]", "uids: [7, 8]", Some("`policy_guard.no_new_clients: true`: user:8")),
    ("less that is never", "x.example", "", Some("`policy_guard.no_shorter_never: true`: x.example")),
    ("more that is never", "x.example", "x.example, y.example", None),
];

#[test]
fn each_rail_stops_what_it_is_for_and_nothing_else() {
    for (name, from, to, want) in RAILS {
        let weighed = weighed(&GUARD, from, to);
        assert_eq!(weighed.beyond.first().map(String::as_str), *want, "{name}");
        assert!(weighed.beyond.len() <= 1, "{name}: {weighed:?}");
        assert_eq!(super::tests::weighed(&PolicyGuard::default(), from, to).beyond, [""; 0], "{name}: without a guard");
    }
}

#[test]
fn so_many_rows_may_come_and_go() {
    // Six rows: two hosts on two ports, one host, one network.
    for (most, key, from, to, want) in [
        (MaxRows::Rows(2), "max_removed", "a.example, ", "", None),
        (MaxRows::Rows(1), "max_removed", "a.example, ", "", Some("1`: 2 rows of what is reached go; of 6 rows 1 may")),
        (MaxRows::Percent(34), "max_removed", "a.example, ", "", None),
        (
            MaxRows::Percent(33),
            "max_removed",
            "a.example, ",
            "",
            Some("33%`: 2 rows of what is reached go; of 6 rows 1 may"),
        ),
        (MaxRows::Rows(0), "max_removed", "a.example, ", "a.example, c.example, ", None),
        (
            MaxRows::Rows(1),
            "max_added",
            "a.example, ",
            "a.example, c.example, ",
            Some("1`: 2 rows of what is reached come; of 6 rows 1 may"),
        ),
        (MaxRows::Percent(100), "max_added", "a.example, ", "a.example, c.example, ", None),
    ] {
        let guard = match key {
            "max_removed" => PolicyGuard { max_removed: Some(most), ..PolicyGuard::default() },
            _ => PolicyGuard { max_added: Some(most), ..PolicyGuard::default() },
        };
        let want: Vec<String> = want.iter().map(|want| format!("`policy_guard.{key}: {want}")).collect();
        assert_eq!(weighed(&guard, from, to).beyond, want, "{key} {most:?}");
    }
}

#[test]
fn what_is_confirmed_is_this_diff_alone() {
    let (one, again) = (weighed(&GUARD, "a.example, ", ""), weighed(&GUARD, "a.example, ", ""));
    assert_eq!(one, again);
    assert_ne!(one.sha256, weighed(&GUARD, "b.example", "c.example").sha256);
    assert_eq!((one.counts.reach_removed, one.sha256.len()), (2, 64));
    let guarded = Weighed { beyond: vec!["x".to_owned()], ..one.clone() };
    let (hash, other) = (one.sha256.as_str(), "0".repeat(64));
    for (name, weighed, confirm, want) in [
        ("nothing to confirm", &one, None, Ok(false)),
        ("confirmed all the same", &one, Some(hash), Ok(false)),
        ("another one confirmed", &one, Some(other.as_str()), Err(2)),
        ("beyond", &guarded, None, Err(2)),
        ("confirmed", &guarded, Some(hash), Ok(true)),
        ("beyond, and another one confirmed", &guarded, Some(&other), Err(3)),
    ] {
        let came = weighed.clone().let_through(confirm);
        assert_eq!(came.map(|(_, confirmed)| confirmed).map_err(|stopped| stopped.1.len()), want, "{name}");
    }
}
