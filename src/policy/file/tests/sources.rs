//! What a source may say, and what is said of one that may not.
//! Not here: rules.

use super::*;

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
        (
            "identities",
            "{name: b, subnets: [10.0.0.0/24], identities: [x]}",
            "`identities` is not available in this version",
        ),
    ] {
        let text = format!("version: 1\nsources:\n- {{name: a, subnets: [10.20.0.0/24]}}\n- {source}\n")
            .replace("sources:\n- ", "sources: [");
        let text = text.replacen("\n- ", ", ", 1).trim_end().to_owned() + "]\n";
        let found = faults(&[("p", &text)]);
        assert!(found.len() == 1 && found[0].contains(want), "{row}: {found:#?}");
    }
    let owned =
        "version: 1\nsources: [{name: b, subnets: [10.0.0.0/8, '::/0'], wide: true, class: general, mode: enforce}]\n";
    assert_eq!(faults(&[("p", owned)]), [""; 0]);
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
