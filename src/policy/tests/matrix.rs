//! The matrix: which rows there are, and in which order.

use super::*;

/// Rows as `SOURCE CUSTOMER DESTINATION PORT RULE`.
fn rows(text: &str) -> Vec<String> {
    let row = |Row { source, destination, port, rule }: &Row| {
        format!("{source} {} {destination} {port} {}", rule.customer, rule.id)
    };
    Matrix::new(&policy(text)).rows().map(|one| row(&one)).collect()
}

#[test]
fn a_row_for_each_source_destination_and_port() {
    let text = "
sources: [{name: b, subnets: [10.30.0.0/24]}, {name: a, subnets: [10.20.0.0/24]}]
rules:
  - {id: z, customer: z, sources: [b, a], hosts: [b.z.example, '**.a.z.example', '*.a.z.example', a.z.example, b.z.example], ports: [8443, 443]}
  - {id: y, customer: c, sources: [a], networks: [198.51.100.16/28, 198.51.100.0/28, '2001:db8::/64'], tls: {sni: absent}}
  - {id: old, customer: c, sources: [a], hosts: [x.c.example], expires: 2020-01-01}
";
    let names = ["a.z.example", "*.a.z.example", "**.a.z.example", "b.z.example"];
    let of_z = |source: &str| {
        let row = |name, port| format!("{source} z {name} {port} z");
        names.into_iter().flat_map(move |name| [row(name, 443), row(name, 8443)]).collect::<Vec<_>>()
    };
    let of_c = [
        "a c x.c.example 443 old",
        "a c 198.51.100.0/28 443 y",
        "a c 198.51.100.16/28 443 y",
        "a c 2001:db8::/64 443 y",
    ];
    let want: Vec<String> = of_c.map(str::to_owned).into_iter().chain(of_z("a")).chain(of_z("b")).collect();
    assert_eq!(rows(text), want);
}

#[test]
fn what_can_not_be_reached_has_no_row() {
    let text = "
sources: [{name: a, subnets: [10.20.0.0/24]}, {name: b, subnets: [10.20.0.0/25]}, {name: c, subnets: [10.20.0.128/25]}]
never: {hosts: ['**.bad.example', x.good.example], networks: [198.51.100.0/28]}
rules:
  - {id: all, customer: c, sources: [b], hosts: [x.bad.example, '*.bad.example', '**.y.bad.example', bad.example]}
  - {id: some, customer: c, sources: [b], hosts: ['*.good.example', x.good.example]}
  - {id: card, customer: c, sources: [b], hosts: ['*.4111111111111111.example', 4111111111111111.example]}
  - {id: net, customer: c, sources: [b], networks: [198.51.100.1/32, 198.51.100.16/28], tls: {sni: absent}}
  - {id: meta, customer: c, sources: [b], networks: [169.254.169.254/32], tls: {sni: absent}}
  - {id: shadow, customer: c, sources: [a], hosts: [of-nobody.example]}
";
    assert_eq!(
        rows(text),
        [
            "b c 4111111111111111.example 443 card",
            "b c bad.example 443 all",
            "b c *.good.example 443 some",
            "b c 198.51.100.16/28 443 net",
        ]
    );
}

#[test]
fn a_network_that_longer_ones_fill_keeps_what_is_its_own() {
    let text = "
sources: [{name: a, subnets: [10.20.0.0/24]}]
rules:
  - {id: whole, customer: c, sources: [a], networks: [198.51.100.0/24], ports: [443, 8443], tls: {sni: absent}}
  - {id: halves, customer: c, sources: [a], networks: [198.51.100.0/25, 198.51.100.128/25], tls: {sni: absent}}
";
    assert_eq!(
        rows(text),
        [
            "a c 198.51.100.0/24 443 whole",
            "a c 198.51.100.0/24 8443 whole",
            "a c 198.51.100.0/25 443 halves",
            "a c 198.51.100.128/25 443 halves",
        ]
    );
}

#[test]
fn order_of_files_and_rules_does_not_show() {
    let sources = file("a.yaml", "version: 1\nsources: [{name: a, subnets: [10.20.0.0/24]}]\n");
    let rule = |id: &str| format!("  - {{id: {id}, customer: c, sources: [a], hosts: [{id}.example]}}\n");
    let rules = |path: &str, ids: [&str; 2]| file(path, &format!("version: 1\nrules:\n{}", ids.map(rule).concat()));
    let told = |files: &[PolicyFile]| {
        format!(
            "{:?}",
            Matrix::new(&load(files).unwrap())
                .rows()
                .map(|row| (row.source, row.destination, Arc::clone(&row.rule.id)))
                .collect::<Vec<_>>()
        )
    };
    let one = told(&[sources.clone(), rules("b.yaml", ["r", "s"]), rules("c.yaml", ["t", "u"])]);
    assert_eq!(one, told(&[rules("x.yaml", ["u", "t"]), sources, rules("z.yaml", ["s", "r"])]));
}

#[test]
fn sources_that_share_a_subnet_or_have_users_have_their_rows() {
    let text = "
sources:
  - {name: b, subnets: [10.20.0.0/24], identities: ['spiffe://v/*/b']}
  - {name: a, subnets: [10.20.0.0/24], identities: ['login:a', a.example]}
  - {name: u, uids: [1000]}
rules: [{id: r, customer: c, sources: [a, b, u], hosts: [x.example]}, {id: s, customer: c, sources: [b], hosts: [y.example]}]
";
    assert_eq!(
        rows(text),
        ["a c x.example 443 r", "b c x.example 443 r", "b c y.example 443 s", "u c x.example 443 r"]
    );
}
