//! Rules together: ties, the policy's hash and order, and its size.

use std::fmt::Write;
use std::time::Instant;

use super::*;

/// Sources `a` and `b`, and these rules, one on each of the lines from 3 on.
fn faults(rules: &[&str]) -> Vec<String> {
    let mut text =
        "version: 1\nsources: [{name: a, subnets: [10.1.0.0/16]}, {name: b, subnets: [10.2.0.0/16]}]\nrules:\n"
            .to_owned();
    for (index, rule) in rules.iter().enumerate() {
        writeln!(text, "- {{id: r{index}, customer: c, {rule}}}").unwrap();
    }
    load(&[file("p.yaml", &text)]).err().unwrap_or_default()
}

#[test]
fn rules_that_tie_are_faults_at_both_places() {
    let a = "sources: [a], hosts: [x.example]";
    for (row, rules, tie) in [
        ("the same name", [a, "sources: [a], hosts: [X.example.]"], true),
        ("sources that overlap", [a, "sources: [b, a], hosts: [x.example]"], true),
        ("other sources", [a, "sources: [b], hosts: [x.example]"], false),
        ("ports that overlap", ["sources: [a], hosts: [x.example], ports: [443, 8443]", a], true),
        ("other ports", [a, "sources: [a], hosts: [x.example], ports: [8443]"], false),
        ("another kind", [a, "sources: [a], hosts: ['*.x.example']"], false),
        ("kinds of wildcard", ["sources: [a], hosts: ['**.x.example']", "sources: [a], hosts: ['*.x.example']"], false),
        ("the same wildcard", ["sources: [a], hosts: ['**.x.example']", "sources: [a], hosts: ['**.x.example']"], true),
        (
            "the same network",
            [
                "sources: [a], networks: [192.0.2.0/24], tls: {sni: absent}",
                "sources: [a], networks: [192.0.2.0/24], tls: {sni: absent}",
            ],
            true,
        ),
        (
            "a network within",
            [
                "sources: [a], networks: [192.0.2.0/24], tls: {sni: absent}",
                "sources: [a], networks: [192.0.2.0/25], tls: {sni: absent}",
            ],
            false,
        ),
        (
            "twice in one rule",
            ["sources: [a, a], hosts: [x.example, x.example]", "sources: [a], hosts: [y.example]"],
            false,
        ),
    ] {
        let found = faults(&rules);
        assert_eq!(found.len(), usize::from(tie), "{row}: {found:#?}");
        assert!(!tie || found[0].starts_with("p.yaml:5:"), "{row}: {found:#?}");
        assert!(!tie || found[0].contains("rule `r1` ties with rule `r0` at p.yaml:4:"), "{row}: {found:#?}");
    }
}

#[test]
fn every_tie_is_told_and_says_what_to_do() {
    let rule = "sources: [a], hosts: [x.example, y.example]";
    let found = faults(&[rule, rule, rule]);
    assert_eq!(found.len(), 4, "{found:#?}");
    assert_eq!(
        found[0],
        "p.yaml:5:47: rule `r1` ties with rule `r0` at p.yaml:4:47: both have `x.example` with port 443 for source `a`; \
         remove it from one of the two"
    );
}

#[test]
fn a_tie_across_files_names_both() {
    let sources = "version: 1\nsources: [{name: a, subnets: [10.1.0.0/16]}]\n";
    let rule = |id: &str| format!("version: 1\nrules: [{{id: {id}, customer: c, sources: [a], hosts: [x.example]}}]\n");
    let files = [file("z.yaml", &rule("first-given")), file("b.yaml", &rule("first-by-path")), file("a.yaml", sources)];
    let found = load(&files).unwrap_err();
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("z.yaml:2:") && found[0].contains("`first-by-path` at b.yaml:2:"), "{found:#?}");
}

#[test]
fn the_hash_is_over_path_length_and_bytes_in_the_order_of_the_paths() {
    // printf 'a.yaml\n11\nversion: 1\nb.yaml\n22\nversion: 1\nrules: []\n\n' | sha256sum
    let files = [file("b.yaml", "version: 1\nrules: []\n\n"), file("a.yaml", "version: 1\n")];
    let policy = load(&files).unwrap();
    assert_eq!(&**policy.hash(), HASH);
    let turned = [files[1].clone(), files[0].clone()];
    assert_eq!(load(&turned).unwrap().hash().as_ref(), HASH, "the order given decides nothing");
    let renamed = [file("c.yaml", &files[0].text), files[1].clone()];
    assert_ne!(load(&renamed).unwrap().hash().as_ref(), HASH, "the path counts");
}

const HASH: &str = "4d8238cd52cb8ea40f0ef9d41de52576965a07fc46c1c5a752fdcab39078f1ef";

#[test]
fn what_a_policy_tells_of_itself() {
    let policy = policy(
        "sources: [{name: b, subnets: [10.1.0.0/16]}, {name: a, subnets: [10.2.0.0/16], class: general}]\n\
         rules:\n\
         - {id: z, customer: zeta, sources: [a, b], hosts: [x.example]}\n\
         - {id: y, customer: acme, sources: [a], networks: [192.0.2.0/24], tls: {sni: absent}}\n\
         - {id: x, customer: acme, sources: [b], hosts: [y.example]}\n",
    );
    let sources: Vec<&str> = policy.sources().iter().map(|source| &*source.name).collect();
    assert_eq!(sources, ["b", "a"]);
    assert_eq!(policy.sources()[1].class, Class::General);
    assert_eq!(policy.rules().map(|rule| &*rule.id).collect::<Vec<_>>(), ["z", "y", "x"]);
    assert_eq!(policy.customers(), ["acme".into(), "zeta".into()]);
    let [z, y, _] = policy.grants() else { panic!("three rules") };
    assert_eq!(policy.sources_of(z).map(|source| &*source.name).collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(z.reach(), &Reach::Hosts(Box::new(["x.example".parse().unwrap()])));
    assert_eq!(y.reach(), &Reach::Networks(Box::new(["192.0.2.0/24".parse().unwrap()])));
    assert_eq!(&*y.rule().id, "y");
}

#[test]
fn many_names_are_found_as_fast_as_few() {
    // A million takes seconds without optimisation; run with `--release` to see it.
    let count = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };
    let mut text = "sources: [{name: a, subnets: [10.20.0.0/24]}]\nrules:\n".to_owned();
    for half in ["e", "o"] {
        write!(text, "- {{id: {half}, customer: c, sources: [a], hosts: [x.example.{half}.test").unwrap();
        (0..count / 2).for_each(|number| write!(text, ", api-{number}.customer{half}.example").unwrap());
        text.push_str("]}\n");
    }
    let started = Instant::now();
    let policy = policy(&text);
    println!("{count} names read, checked and compiled in {:?}", started.elapsed());
    let identified = policy.identify(&ip(CLIENT).into()).unwrap();
    let (listed, unlisted) = (target("api-77.customere.example:443"), target("api-77.customerx.example:443"));
    let started = Instant::now();
    for _ in 0..1000 {
        assert_eq!(word(&identified.request(&listed, at(AT))), "allowed");
        assert_eq!(word(&identified.request(&unlisted, at(AT))), "destination_not_listed");
    }
    println!("2000 requests in {:?}", started.elapsed());
}
