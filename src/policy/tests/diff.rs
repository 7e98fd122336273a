//! What differs between two policies, by table.
//! Not here: laws, and what single requests see of it (`diff_laws`).

use super::*;

const SOURCE: &str = "sources: [{name: a, subnets: [10.20.0.0/24]}]\n";

fn between(old: &str, new: &str) -> Diff {
    Diff::between(&policy(old), &policy(new))
}

/// What is reached otherwise, as `MARK SOURCE DESTINATION PORT RULE (refused, or what differs)`.
fn reach(diff: &Diff) -> Vec<String> {
    let row = |edit: &ReachEdit| {
        let changes: Vec<String> = edit.changes.iter().map(field).collect();
        let why = edit.refused.map_or(changes.join(", "), str::to_owned);
        let ReachEdit { mark, source, destination, port, rule, .. } = edit;
        format!("{} {source} {destination} {port} {rule} ({why})", sign(*mark))
    };
    diff.reach.iter().map(row).collect()
}

fn sign(mark: Mark) -> char {
    match mark {
        Mark::Added => '+',
        Mark::Removed => '-',
        Mark::Changed => '~',
    }
}

fn field(Change { field, old, new }: &Change) -> String {
    let value = |value: &Option<String>| value.clone().unwrap_or("-".to_owned());
    format!("{field} {} > {}", value(old), value(new))
}

fn edits(edits: &[Edit]) -> Vec<String> {
    let row = |edit: &Edit| {
        let changes: Vec<String> = edit.changes.iter().map(field).collect();
        format!("{} {} ({})", sign(edit.mark), edit.name, changes.join(", "))
    };
    edits.iter().map(row).collect()
}

/// A policy of rules by their ids and what else they say.
fn rules(rules: &[(&str, &str)]) -> String {
    let rule = |(id, rest): &(&str, &str)| format!("  - {{id: {id}, customer: c, sources: [a], {rest}}}\n");
    let rules: String = rules.iter().map(rule).collect();
    if rules.is_empty() { SOURCE.to_owned() } else { format!("{SOURCE}rules:\n{rules}") }
}

type Rules = &'static [(&'static str, &'static str)];

const API: (&str, &str) = ("api", "hosts: [api.example]");
const WILD: (&str, &str) = ("wild", "hosts: ['*.x.example']");

/// Rules before, rules after, and what is reached otherwise.
const DIFFERENCES: &[(&str, Rules, Rules, &[&str])] = &[
    ("nothing", &[API], &[API], &[]),
    (
        "a name more",
        &[API],
        &[("api", "hosts: [api.example, b.example]")],
        &["+ a b.example 443 api (destination_not_listed)"],
    ),
    ("a rule less", &[API, WILD], &[API], &["- a *.x.example 443 wild (destination_not_listed)"]),
    (
        "a port more",
        &[API],
        &[("api", "hosts: [api.example], ports: [443, 8443]")],
        &["+ a api.example 8443 api (port_not_allowed)"],
    ),
    (
        "another port",
        &[API],
        &[("api", "hosts: [api.example], ports: [8443]")],
        &["- a api.example 443 api (port_not_allowed)", "+ a api.example 8443 api (port_not_allowed)"],
    ),
    ("a name below a wildcard of the same rule", &[WILD], &[("wild", "hosts: ['*.x.example', b.x.example]")], &[]),
    (
        "a name below a wildcard, by another rule",
        &[WILD],
        &[WILD, ("b", "hosts: [b.x.example]")],
        &["~ a b.x.example 443 b (rule wild > b)"],
    ),
    (
        "a wildcard that held a name",
        &[WILD, ("b", "hosts: [b.x.example]")],
        &[("b", "hosts: [b.x.example]")],
        &["- a *.x.example 443 wild (destination_not_listed)"],
    ),
    (
        "a more specific rule with fewer ports",
        &[("wild", "hosts: ['*.x.example'], ports: [443, 8443]")],
        &[("wild", "hosts: ['*.x.example'], ports: [443, 8443]"), ("b", "hosts: [b.x.example]")],
        &["~ a b.x.example 443 b (rule wild > b)"],
    ),
    (
        "a wider wildcard",
        &[WILD],
        &[("wild", "hosts: ['**.x.example']")],
        &["+ a **.x.example 443 wild (destination_not_listed)"],
    ),
    (
        "names for a wildcard",
        &[WILD],
        &[("wild", "hosts: [b.x.example]")],
        &["- a *.x.example 443 wild (destination_not_listed)"],
    ),
    (
        "a day and hours alone",
        &[("old", "hosts: [old.example], expires: 2020-01-01")],
        &[("old", "hosts: [old.example], hours: {days: [fri], from: '22:00', to: '06:00', zone: UTC}")],
        &["~ a old.example 443 old (hours - > fri 22:00-06:00 UTC, expires 2020-01-01 > -)"],
    ),
    (
        "lists in another order",
        &[("api", "hosts: [api.example], tls: {alpn: [h2, http/1.1]}, addresses: [203.0.113.0/24, 198.51.100.0/24]")],
        &[("api", "hosts: [api.example], tls: {alpn: [http/1.1, h2]}, addresses: [198.51.100.0/24, 203.0.113.0/24]")],
        &[],
    ),
    (
        "every term",
        &[("api", "hosts: [api.example]")],
        &[(
            "api",
            "hosts: [api.example], egress: static-a, existing: cut, addresses: [10.1.0.0/16], \
                   tls: {min_version: '1.3', alpn: [h2], sni_names: [b.example], ech: allow}",
        )],
        &["~ a api.example 443 api (addresses - > 10.1.0.0/16, tls.min_version 1.2 > 1.3, tls.alpn h2 http/1.1 > h2, \
             tls.sni_names - > b.example, tls.ech deny > allow, egress - > static-a, existing drain 5m > cut)"],
    ),
    (
        "a network in a network",
        &[("net", "networks: [198.51.100.0/24], tls: {sni: absent}")],
        &[
            ("net", "networks: [198.51.100.0/24], tls: {sni: absent}"),
            ("one", "networks: [198.51.100.0/32], ports: [443, 8443], tls: {sni: optional}"),
        ],
        &[
            "~ a 198.51.100.0/32 443 one (rule net > one, tls.sni absent > optional)",
            "+ a 198.51.100.0/32 8443 one (port_not_allowed)",
        ],
    ),
    (
        "halves for the whole",
        &[("net", "networks: [198.51.100.0/24], tls: {sni: absent}")],
        &[("net", "networks: [198.51.100.0/25, 198.51.100.128/25], tls: {sni: absent}")],
        &[],
    ),
    (
        "a network grown",
        &[("net", "networks: [198.51.100.0/25], tls: {sni: absent}")],
        &[("net", "networks: [198.51.100.0/24], tls: {sni: absent}")],
        &["+ a 198.51.100.0/24 443 net (destination_not_listed)"],
    ),
];

#[test]
fn what_is_reached_otherwise_by_table() {
    for (row, old, new, want) in DIFFERENCES {
        let diff = between(&rules(old), &rules(new));
        assert_eq!(&reach(&diff), want, "{row}");
        let both = |(id, _): &&(&str, &str)| [old, new].iter().all(|rules| rules.iter().any(|(one, _)| one == id));
        assert_eq!(
            diff.rules.is_empty(),
            old.iter().chain(*new).all(|rule| both(&rule)),
            "{row}: rules that came or went"
        );
    }
}

#[test]
fn never_takes_away_whatever_rules_say() {
    let with = |never: &str| {
        format!(
            "{}never: {{{never}}}\n",
            rules(&[("wild", "hosts: ['**.x.example']"), ("net", "networks: [198.51.100.0/24], tls: {sni: absent}")])
        )
    };
    let diff = between(
        &with("hosts: [gone.x.example]"),
        &with("hosts: ['*.bad.x.example', y.example], networks: [198.51.100.128/25]"),
    );
    assert_eq!(
        reach(&diff),
        [
            "- a *.bad.x.example 443 wild (destination_denied)",
            "+ a gone.x.example 443 wild (destination_denied)",
            "- a 198.51.100.128/25 443 net (destination_denied)",
        ]
    );
    assert_eq!(
        edits(&diff.never),
        ["+ *.bad.x.example ()", "+ 198.51.100.128/25 ()", "- gone.x.example ()", "+ y.example ()"]
    );
}

#[test]
fn sources_are_told_by_name_and_their_clients_by_subnet() {
    let rule = "rules: [{id: r, customer: c, sources: [a, b], hosts: [x.example]}]\n";
    let old = format!("sources: [{{name: a, subnets: [10.20.0.0/24]}}, {{name: b, subnets: [10.30.0.0/24]}}]\n{rule}");
    let new = format!(
        "sources: [{{name: a, subnets: [10.20.0.0/24, 10.40.0.0/24], class: general, environment: production}}, {{name: b, subnets: [10.20.0.0/25]}}]\n{rule}"
    );
    let diff = between(&old, &new);
    assert_eq!(reach(&diff), [""; 0], "both reach what they reached");
    assert_eq!(
        edits(&diff.sources),
        [
            "~ a (subnets 10.20.0.0/24 > 10.20.0.0/24 10.40.0.0/24, class cde > general, environment - > production)",
            "~ b (subnets 10.30.0.0/24 > 10.20.0.0/25)",
        ]
    );
    assert_eq!(
        edits(&diff.clients),
        ["~ 10.20.0.0/25 (source a > b)", "~ 10.30.0.0/24 (source b > -)", "~ 10.40.0.0/24 (source - > a)"]
    );
    let renamed = between(&old, &old.replace("name: b", "name: d").replace("[a, b]", "[a, d]"));
    assert_eq!(reach(&renamed), ["- b x.example 443 r ()", "+ d x.example 443 r ()"]);
    assert_eq!(edits(&renamed.clients), ["~ 10.30.0.0/24 (source b > d)"]);
}

#[test]
fn a_source_whose_subnets_others_have_reaches_nothing() {
    let sources = |more: &str| {
        format!(
            "sources: [{{name: a, subnets: [10.20.0.0/24]}}, {{name: b, subnets: [10.20.0.0/25]}}{more}]\n\
             rules: [{{id: r, customer: c, sources: [a], hosts: [x.example]}}]\n"
        )
    };
    let diff = between(&sources(""), &sources(", {name: d, subnets: [10.20.0.128/25]}"));
    assert_eq!(reach(&diff), ["- a x.example 443 r ()"]);
    assert_eq!(edits(&diff.clients), ["~ 10.20.0.128/25 (source a > d)"]);
}

#[test]
fn identities_and_users_of_a_source_are_told() {
    let rule = "rules: [{id: r, customer: c, sources: [a, b], hosts: [x.example]}]\n";
    let old = format!(
        "sources: [{{name: a, subnets: [10.20.0.0/24], identities: [x.example, 'spiffe://v/*']}}, {{name: b, uids: [7, 8]}}]\n{rule}"
    );
    let new = format!(
        "sources: [{{name: a, subnets: [10.20.0.0/24], identities: ['spiffe://v/*']}}, {{name: b, uids: [7]}}, \
         {{name: d, subnets: [10.20.0.0/24], identities: ['login:d'], uids: none}}, {{name: e, uids: [8]}}]\n{rule}"
    );
    let diff = between(&old, &new);
    assert_eq!(
        edits(&diff.sources),
        [
            "~ a (identities spiffe://v/* x.example > spiffe://v/*)",
            "~ b (uids 7 8 > 7)",
            "+ d (subnets - > 10.20.0.0/24, identities - > login:d, class - > cde, mode - > enforce)",
            "+ e (uids - > 8, class - > cde, mode - > enforce)",
        ]
    );
    assert_eq!(edits(&diff.clients), ["~ 10.20.0.0/24 (source a > a d)", "~ user:8 (source b > e)"]);
    assert!(diff.reach.is_empty() && between(&old, &old).is_empty());
}

#[test]
fn control_records_are_told_by_rule() {
    let old = rules(&[
        ("r", "hosts: [x.example], owner: o, ticket: T-1, review_by: 2027-01-01"),
        ("s", "hosts: [y.example]"),
    ]);
    let new = rules(&[
        ("r", "hosts: [x.example], owner: p, purpose: q, ticket: T-1, location: DEU"),
        ("t", "hosts: [y.example], owner: o"),
    ]);
    let diff = between(&old, &new);
    assert_eq!(
        edits(&diff.rules),
        ["~ r (owner o > p, purpose - > q, review_by 2027-01-01 > -, location - > DEU)", "- s ()", "+ t (owner - > o)",]
    );
    assert_eq!(reach(&diff), ["~ a y.example 443 t (rule s > t)"]);
    assert!(!diff.is_empty() && between(&old, &old).is_empty());
}
