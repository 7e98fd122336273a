//! What a source may say, and what is said of one that may not.
//! Not here: rules.

use super::*;

/// The only fault of a source behind source `a`, which has 10.20.0.0/24.
fn assert_fault(row: &str, source: &str, want: &str) {
    let text = format!("version: 1\nsources: [{{name: a, subnets: [10.20.0.0/24]}}, {source}]\n");
    let found = faults(&[("p", &text)]);
    assert!(found.len() == 1 && found[0].contains(want), "{row}: {found:#?}");
}

#[test]
fn subnets_and_words() {
    for (row, source, want) in [
        ("name", "{subnets: [10.0.0.0/24]}", "a source lacks `name`; add it"),
        ("subnets", "{name: b}", "a source lacks `subnets`; add it"),
        ("no subnet", "{name: b, subnets: []}", "`subnets` is empty; write at least one"),
        ("bad name", "{name: 'b c', subnets: [10.0.0.0/24]}", "bad name `b c`"),
        ("name of none", "{name: '-', subnets: [10.0.0.0/24]}", "bad name `-`"),
        ("twice", "{name: a, subnets: [10.0.0.0/24]}", "source `a` is defined at p:2:18 already"),
        (
            "equal subnets",
            "{name: b, subnets: [10.20.0.0/24]}",
            "`10.20.0.0/24` belongs to source `a` already, at p:2:",
        ),
        ("listed twice", "{name: b, subnets: [10.0.0.0/24, 10.0.0.0/24]}", "belongs to source `b` already"),
        ("host bits", "{name: b, subnets: [10.0.0.1/24]}", "10.0.0.0/24"),
        ("wide", "{name: b, subnets: [10.0.0.0/8]}", "`10.0.0.0/8` is shorter than /16 (/32 for IPv6)"),
        ("wide, IPv6", "{name: b, subnets: ['2001::/16']}", "`2001::/16` is shorter than /16 (/32 for IPv6)"),
        ("class", "{name: b, subnets: [10.0.0.0/24], class: pci}", "write one of `cde`, `general`"),
        ("mode", "{name: b, subnets: [10.0.0.0/24], mode: reprot}", "write one of `enforce`, `report`"),
        (
            "limits",
            "{name: b, subnets: [10.0.0.0/24], limits: {tunnels: 0}}",
            "`tunnels` is `0`; write a whole number from 1 to 1000000",
        ),
    ] {
        assert_fault(row, source, want);
    }
    let owned =
        "version: 1\nsources: [{name: b, subnets: [10.0.0.0/8, '::/0'], wide: true, class: general, mode: enforce}]\n";
    assert_eq!(faults(&[("p", owned)]), [""; 0]);
}

#[test]
fn identities_and_users() {
    for (row, source, want) in [
        (
            "no identity",
            "{name: b, subnets: [10.0.0.0/24], identities: []}",
            "`identities` is empty; write at least one",
        ),
        (
            "a bad identity",
            "{name: b, subnets: [10.0.0.0/24], identities: ['*.v.example']}",
            "bad `*` in `*.v.example`; it is",
        ),
        (
            "a card number",
            "{name: b, subnets: [10.0.0.0/24], identities: ['login:4111111111111111']}",
            "the identity holds what looks like a card number; use another one",
        ),
        ("neither", "{name: b, subnets: none, uids: none}", "`subnets` is `none`, but a source needs one; write it"),
        ("no user", "{name: b, uids: []}", "`uids` is empty; write at least one"),
        ("a user's name", "{name: b, uids: [root]}", "`uids` is `root`; write a whole number from 0 to 4294967294"),
        ("no user at all", "{name: b, uids: [4294967295]}", "write a whole number from 0 to 4294967294"),
        (
            "anybody",
            "{name: b, uids: [65534]}",
            "user 65534 is how users of other namespaces appear, all of them; write",
        ),
        ("a user twice", "{name: b, uids: [7, 7]}", "user 7 belongs to source `b` already, at p:2:"),
        (
            "users with identities",
            "{name: b, uids: [7], identities: [a.example], subnets: [10.0.0.0/24]}",
            "`uids` does not go with `identities`: who comes over a Unix socket can show none; make it",
        ),
    ] {
        assert_fault(row, source, want);
    }
    let users =
        "version: 1\nsources: [{name: a, uids: [0, 4294967294]}, {name: b, uids: [7], subnets: [10.0.0.0/24]}]\n";
    assert_eq!(faults(&[("p", users)]), [""; 0]);
}

#[test]
fn report_mode_is_for_general_sources_ends_and_has_a_pool() {
    let now: Timestamp = "2027-01-01T12:00:00Z".parse().unwrap();
    let whole = "class: general, mode: report, report_until: 2027-01-31, egress: static-a";
    for (row, says, want) in [
        ("whole", whole, None),
        ("over", "class: general, mode: report, report_until: 2026-12-31, egress: static-a", None),
        ("enforced", "class: general, mode: enforce, report_until: none", None),
        (
            "a day too far",
            "class: general, mode: report, report_until: 2027-02-01, egress: static-a",
            Some("report mode ends at most 30 days ahead; write 2027-01-31 or a day before"),
        ),
        ("no end", "class: general, mode: report, egress: static-a", Some("a source lacks `report_until`")),
        ("no pool", "class: general, mode: report, report_until: 2027-01-31", Some("a source lacks `egress`")),
        (
            "unknown pool",
            "class: general, mode: report, report_until: 2027-01-31, egress: static-c",
            Some("unknown pool `static-c`; write `egress.pools`"),
        ),
        (
            "card data",
            "class: cde, mode: report, report_until: 2027-01-31, egress: static-a",
            Some("report mode is not for sources of class `cde`, the default; write `mode: enforce`"),
        ),
        (
            "no class",
            "mode: report, report_until: 2027-01-31, egress: static-a",
            Some("report mode is not for sources of class `cde`, the default; write `mode: enforce`"),
        ),
        ("an end alone", "report_until: 2027-01-31", Some("`report_until` goes with `mode: report` alone; remove it")),
        ("a pool alone", "mode: enforce, egress: static-a", Some("`egress` goes with `mode: report` alone; remove it")),
        ("no day", "class: general, mode: report, report_until: soon, egress: static-a", Some("`soon` is not a day")),
    ] {
        let text = format!("version: 1\nsources: [{{name: a, subnets: [10.20.0.0/24], {says}}}]\n");
        let file = PolicyFile { path: "p".into(), shown: "p".into(), text };
        let mut faults = Faults::new();
        let setting = Setting { pools: &["static-a"], now, ..Setting::default() };
        let policy = Policy::load(&[file], &setting, &mut faults);
        let want = want.map(|want| want.replace("write `egress.pools`", "write one of `static-a`"));
        match want {
            None => assert!(policy.is_some(), "{row}: {faults:#?}"),
            Some(want) => assert!(
                faults.len() == 1 && faults.iter().any(|fault| fault.message.contains(&want)),
                "{row}: {faults:#?}"
            ),
        }
    }
}

/// Sources of one policy, all of subnet 10.20.0.0/24 but where they say otherwise.
#[test]
fn equal_subnets_are_told_apart_by_identities_or_not_at_all() {
    for (row, sources, want) in [
        (
            "none has any",
            &["", ""][..],
            Some("p:4:24: `10.20.0.0/24` belongs to source `s0` already, at p:3:24; remove it from one"),
        ),
        (
            "the first has none",
            &["", "identities: [a.example]"],
            Some("p:4:24: `10.20.0.0/24` belongs to source `s0` already"),
        ),
        (
            "the second has none",
            &["identities: [a.example]", ""],
            Some("p:4:24: `10.20.0.0/24` belongs to source `s0` already"),
        ),
        ("apart", &["identities: [a.example]", "identities: [b.example, 'spiffe://v/*', login:a.example]"], None),
        (
            "the same name",
            &["identities: [b.example, a.example]", "identities: [c.example, A.example]"],
            Some(
                "p:4:63: `a.example` overlaps `a.example` of source `s0`, at p:3:63, which has `10.20.0.0/24` too; make one",
            ),
        ),
        (
            "a wildcard",
            &["identities: ['spiffe://v/*/a']", "identities: ['spiffe://v/b/*']"],
            Some("p:4:52: `spiffe://v/b/*` overlaps `spiffe://v/*/a` of source `s0`, at p:3:52, which has"),
        ),
        (
            "the third and the first",
            &["identities: [a.example]", "identities: [b.example]", "identities: [a.example]"],
            Some("p:5:52: `a.example` overlaps `a.example` of source `s0`, at p:3:52"),
        ),
    ] {
        let line = |(number, rest): (usize, &&str)| format!("- {{name: s{number}, subnets: [10.20.0.0/24], {rest}}}\n");
        let text = format!("version: 1\nsources:\n{}", sources.iter().enumerate().map(line).collect::<String>());
        let found = faults(&[("p", &text)]);
        assert_eq!(found.len(), usize::from(want.is_some()), "{row}: {found:#?}");
        assert!(want.is_none_or(|want| found[0].starts_with(want)), "{row}: {found:#?}");
    }
    let other = "version: 1\nsources: [{name: a, subnets: [10.20.0.0/24]}, {name: b, subnets: [10.20.0.0/25], identities: [a.example]}]\n";
    assert_eq!(faults(&[("p", other)]), [""; 0], "a longer subnet is another one");
}

#[test]
fn identities_of_one_subnet_are_bounded() {
    let list = |name: &str, count: usize| {
        let identities: Vec<String> = (0..count).map(|number| format!("login:{name}-{number}")).collect();
        format!("- {{name: {name}, subnets: [10.20.0.0/24], identities: [{}]}}\n", identities.join(", "))
    };
    for (counts, want) in [(&[4096][..], 0), (&[4097], 1), (&[4000, 96], 0), (&[4000, 97], 1), (&[4000, 97, 1], 1)] {
        let sources = counts.iter().zip(["a", "b", "c"]).map(|(count, name)| list(name, *count)).collect::<String>();
        let found = faults(&[("p", &format!("version: 1\nsources:\n{sources}"))]);
        assert_eq!(found.len(), want, "{counts:?}: {found:?}");
        assert!(
            found.iter().all(|fault| fault.contains("more than 4096 identities for `10.20.0.0/24`; give")),
            "{found:?}"
        );
    }
}

/// A source that none of its clients could come to, or whose clients somebody else speaks for, is a fault.
#[test]
fn what_sources_ask_for_some_listener_must_take() {
    let every = Ways {
        transparent: None,
        certificates: true,
        credentials: true,
        users: true,
        proxies: vec![("10.0.0.0/28".parse().unwrap(), "`lb` at s:2:3".into())],
    };
    let transparent = Ways { transparent: Some("`nat` at s:9:3".into()), ..every.clone() };
    let none = Ways::default();
    for (row, ways, source, want) in [
        ("all", &every, "identities: [a.example, login:a], subnets: [10.20.0.0/24]", None),
        ("users", &every, "uids: [7]", None),
        (
            "captured",
            &transparent,
            "identities: [a.example], subnets: [10.20.0.0/24]",
            Some(
                "1:21: clients of listener `nat` at s:9:3, which is `mode: transparent`, can show no identity; remove",
            ),
        ),
        ("captured, without identities", &transparent, "subnets: [10.20.0.0/24]", None),
        (
            "no certificates",
            &none,
            "identities: [a.example], subnets: [10.20.0.0/24]",
            Some("1:34: `a.example`: no listener asks for client certificates; write `client_auth: required`"),
        ),
        (
            "no credentials",
            &none,
            "identities: ['login:a', 'login:b'], subnets: [10.20.0.0/24]",
            Some("1:34: `login:a`: no listener takes credentials; write `credentials: FILE` beside"),
        ),
        ("no unix socket", &none, "uids: [7]", Some("1:21: no listener is a Unix socket; write `address: unix:PATH`")),
        (
            "within the load balancers'",
            &every,
            "subnets: [10.0.0.4/32]",
            Some(
                "1:31: `10.0.0.4/32` overlaps `10.0.0.0/28`, from which listener `lb` at s:2:3 takes the PROXY header",
            ),
        ),
        (
            "around them",
            &every,
            "subnets: [10.0.0.0/16]",
            Some("1:31: `10.0.0.0/16` overlaps `10.0.0.0/28`, from which"),
        ),
        ("beside them", &every, "subnets: [10.0.0.16/28, '2001:db8::/64']", None),
    ] {
        let text = format!("sources: [{{name: a, {source}}}]\nversion: 1\n");
        let file = PolicyFile { path: "p".into(), shown: "p".into(), text };
        let mut found = Faults::new();
        let _ = Policy::load(&[file], &Setting { ways: Some(ways), ..Setting::default() }, &mut found);
        let found: Vec<String> = found.iter().map(|fault| fault.line(&["p"])).collect();
        assert_eq!(found.len(), usize::from(want.is_some()), "{row}: {found:#?}");
        assert!(want.is_none_or(|want| found[0].starts_with(&format!("p:{want}"))), "{row}: {found:#?}");
    }
}

#[test]
fn a_rule_serves_sources_of_one_environment() {
    let file = |first: &str, second: &str| {
        format!(
            "version: 1\nsources:\n  - {{name: a, subnets: [10.1.0.0/24]{first}}}\n  - {{name: b, subnets: [10.2.0.0/24]{second}}}\n\
             rules: [{{id: r, customer: c, sources: [a, b], hosts: [x.example]}}]\n"
        )
    };
    let (production, test) = (", environment: production", ", environment: test");
    for (first, second) in [("", ""), (production, ""), ("", test), (production, production)] {
        assert_eq!(faults(&[("p", &file(first, second))]), [""; 0], "{first} {second}");
    }
    let want = "p:5:43: source `b` at p:4:12 is of environment `test`, and source `a` at p:3:12 of `production`; make a rule for each";
    assert_eq!(faults(&[("p", &file(production, test))]), [want]);
}

/// Every fault under `profile: pci` on 2026-11-22, without its file.
fn forbidden(text: &str) -> Vec<String> {
    let file = PolicyFile { path: "p".into(), shown: "p".into(), text: text.into() };
    let now = "2026-11-22T12:00:00Z".parse().unwrap();
    let setting = Setting { pools: &["static-a"], pci: true, now, ..Setting::default() };
    let mut faults = Faults::new();
    let policy = Policy::load(&[file], &setting, &mut faults);
    assert_eq!(policy.is_some(), faults.is_empty());
    faults.iter().map(|fault| fault.line(&["p"])).collect()
}

/// A row: its name, what the source says, what the rule says, and the beginnings of the faults.
type Row<'a> = (&'a str, &'a str, String, &'a [&'a str]);

fn are_forbidden(rows: &[Row<'_>]) {
    for (row, source, rule, want) in rows {
        let text = format!(
            "version: 1\nsources: [{{name: a, subnets: [10.1.0.0/24]{source}}}]\n\
             rules: [{{id: r, customer: c, sources: [a]{rule}}}]\n"
        );
        let found = forbidden(&text);
        assert_eq!(found.len(), want.len(), "{row}: {found:#?}");
        assert!(found.iter().zip(*want).all(|(fault, want)| fault.starts_with(want)), "{row}: {found:#?}");
        assert!(want.is_empty() || faults(&[("p", &text)]).iter().all(|fault| !fault.contains("PCI")), "{row}");
    }
}

const OF_E: &str = ", environment: e";

const CONTROL: &str = ", owner: o, purpose: p, ticket: t, review_by: ";

#[test]
fn what_a_requirement_forbids_is_told_with_it() {
    let (source, control) = (OF_E, CONTROL);
    let good = format!(", hosts: [a.example]{control}2027-05-22");
    are_forbidden(&[
        ("good", source, good.clone(), &[]),
        ("overdue, which is no fault", source, format!(", hosts: [a.example]{control}2020-01-01"), &[]),
        (
            "no environment",
            "",
            good.clone(),
            &["p:2:11: a source without `environment` is not for `profile: pci` (PCI DSS 6.5.3: "],
        ),
        (
            "report mode",
            ", environment: e, class: general, mode: report, report_until: 2026-11-30, egress: static-a",
            good.clone(),
            &["p:2:83: `mode: report` is not for `profile: pci` (PCI DSS 1.3.2: "],
        ),
        (
            "no control record",
            source,
            ", hosts: [a.example]".to_owned(),
            &[
                "p:3:9: a rule without `owner` is not for `profile: pci` (PCI DSS 1.2.5: ",
                "p:3:9: a rule without `purpose` is not for `profile: pci` (PCI DSS 1.2.5: ",
                "p:3:9: a rule without `ticket` is not for `profile: pci` (PCI DSS 1.2.2: ",
                "p:3:9: a rule without `review_by` is not for `profile: pci` (PCI DSS 1.2.7: ",
            ],
        ),
        (
            "a late review",
            source,
            format!(", hosts: [a.example]{control}2027-05-23"),
            &["p:3:108: a review more than six months ahead is not for"],
        ),
        (
            "keep",
            source,
            format!("{good}, existing: keep"),
            &["p:3:130: `existing: keep` is not for `profile: pci` (PCI DSS 1.2.5: "],
        ),
    ]);
}

#[test]
fn where_card_data_lives_rules_are_narrow() {
    let (source, control) = (OF_E, CONTROL);
    let general = ", environment: e, class: general";
    let good = format!(", hosts: [a.example]{control}2027-05-22");
    are_forbidden(&[
        (
            "ech",
            source,
            format!("{good}, tls: {{ech: allow}}"),
            &["p:3:131: `ech: allow` for a source of class `cde` is not for"],
        ),
        ("ech of another class", general, format!("{good}, tls: {{ech: allow}}"), &[]),
        (
            "a public suffix",
            source,
            format!(", public_suffix: true, hosts: ['*.example']{control}2027-05-22"),
            &["p:3:59: `public_suffix: true` for a source of class `cde` is not for"],
        ),
        (
            "a public suffix of another class",
            general,
            format!(", public_suffix: true, hosts: ['*.example']{control}2027-05-22"),
            &[],
        ),
        (
            "wide",
            source,
            format!(", wide: true, networks: [10.0.0.0/8], tls: {{sni: absent}}{control}2027-05-22"),
            &["p:3:50: `wide: true` for a source of class `cde` is not for"],
        ),
        (
            "wide itself",
            ", environment: e, wide: true",
            good.clone(),
            &["p:2:67: `wide: true` for a source of class `cde` is not for"],
        ),
        ("wide of another class", ", environment: e, class: general, wide: true", good, &[]),
    ]);
}
