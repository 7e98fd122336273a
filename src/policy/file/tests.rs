//! What policy files may say, and what is said of those that may not.

use super::super::{Class, Ech, Existing, Reach, Sni};
use super::*;
use crate::tls::ProtocolVersion;

#[path = "tests/sources.rs"]
mod sources;

/// Every fault of these files, as a user sees them.
fn faults(files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<PolicyFile> = files
        .iter()
        .map(|(path, text)| PolicyFile { path: (*path).into(), shown: (*path).into(), text: (*text).into() })
        .collect();
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let mut faults = Faults::new();
    let setting = Setting { pools: &["static-a", "static-b"], ..Setting::default() };
    let policy = Policy::load(&files, &setting, &mut faults);
    assert_eq!(policy.is_some(), faults.is_empty());
    faults.iter().map(|fault| fault.line(&paths)).collect()
}

/// Every fault of a policy with a source `a` on line 2, and `rest` from line 3.
fn faults_of(rest: &str) -> Vec<String> {
    faults(&[("p", &format!("version: 1\nsources: [{{name: a, subnets: [10.20.0.0/24]}}]\n{rest}\n"))])
}

/// Every fault of a rule that says `rest` too, without its place.
fn faults_of_rule(rest: &str) -> Vec<String> {
    let found = faults_of(&format!("rules: [{{id: r, customer: c, sources: [a], {rest}}}]"));
    let told = |line: String| line.splitn(4, ':').nth(3).unwrap().trim_start().to_owned();
    found.into_iter().map(told).collect()
}

/// The contract's own example, less what this version lacks.
const EXAMPLE: &str = r#"
version: 1
require: [owner, purpose, ticket, review_by]
sources:
  - name: ivr-east
    subnets: [10.20.0.0/24]
    environment: production
    class: cde
    mode: enforce
never: {hosts: ["**.onion.example"], networks: [192.0.2.0/24, 0.0.0.0/8]}
rules:
  - id: acme/payments
    customer: acme
    sources: [ivr-east]
    hosts: [api.acme.example, "*.pay.acme.example"]
    ports: [8443, 443, 443]
    addresses: [203.0.113.0/24]
    tls: {min_version: "1.3", alpn: [h2], sni: required, sni_names: [alt.acme.example], ech: allow, verify: none}
    egress: static-a
    existing: drain 10m
    hours: {days: [mon, tue, wed, thu, fri], from: "06:00", to: "22:00", zone: UTC}
    owner: payments@voice.example
    purpose: card authorisation for the Acme IVR
    ticket: CHG-1042
    review_by: 2027-05-01
    expires: 2027-06-30
    location: USA
  - id: acme/settlement
    customer: acme
    sources: [ivr-east]
    networks: [198.51.100.77/32]
    ports: [8443]
    tls: {sni: optional, sni_names: [gw.acme.example]}
    owner: payments@voice.example
    purpose: nightly settlement
    ticket: CHG-1077
    review_by: 2020-05-01
  - {id: plain, customer: acme, sources: [ivr-east], hosts: [plain.acme.example], owner: o, purpose: p, ticket: t, review_by: 2027-05-01}
"#;

#[test]
fn the_contracts_example_is_read() {
    let files = [PolicyFile { path: "p".into(), shown: "p".into(), text: EXAMPLE.into() }];
    let setting = Setting { pools: &["static-a"], ..Setting::default() };
    let mut found = Faults::new();
    let policy = Policy::load(&files, &setting, &mut found).unwrap_or_else(|| panic!("{found:?}"));
    let [source] = policy.sources() else { panic!("one source") };
    assert_eq!((source.environment.as_deref(), source.class), (Some("production"), Class::Cde));
    let [payments, settlement, plain] = policy.grants() else { panic!("three rules") };
    let rule = payments.rule();
    assert_eq!(*rule.ports, [443, 8443]);
    assert_eq!(rule.addresses.as_deref().map(<[_]>::len), Some(1));
    assert_eq!((rule.tls.min_version, rule.tls.sni, rule.tls.ech), (ProtocolVersion::Tls13, Sni::Required, Ech::Allow));
    assert_eq!((rule.tls.alpn.len(), rule.tls.sni_names.len()), (1, 1));
    assert_eq!(rule.egress.as_deref(), Some("static-a"));
    assert_eq!(rule.existing, "drain 10m".parse().unwrap());
    assert_eq!(rule.hours.as_ref().unwrap().to_string(), "mon,tue,wed,thu,fri 06:00-22:00 UTC");
    assert_eq!(rule.expires.unwrap().to_string(), "2027-06-30");
    assert_eq!(rule.control.review_by.unwrap().to_string(), "2027-05-01");
    assert_eq!(rule.control.location.as_deref(), Some("USA"));
    assert!(matches!(settlement.reach(), Reach::Networks(networks) if networks.len() == 1));
    assert_eq!(settlement.rule().tls.sni, Sni::Optional);
    let (rule, tls) = (plain.rule(), &plain.rule().tls);
    assert_eq!((&*rule.ports, rule.existing, &rule.egress), (&[443][..], Existing::default(), &None));
    assert_eq!((tls.min_version, tls.sni, tls.ech), (ProtocolVersion::Tls12, Sni::Required, Ech::Deny));
    assert_eq!(tls.alpn.iter().map(|id| &**id).collect::<Vec<_>>(), ["h2", "http/1.1"]);
}

#[test]
fn all_faults_of_all_files_are_told_at_once() {
    let sources = "version: 1\nsources:\n- {name: a, subnets: [10.20.0.0/24]}\n- {name: b, subnets: [10.20.0.0/24]}\nrequire: [owner]\n";
    let rules = "version: 2\nrules:\n\
        - id: r 1\n  customer: c\n  sources: [aa]\n  hosts: [a_.example, '*.co.uk', 10.0.0.1]\n  portz: [443]\n  owner: o\n\
        - {id: r2, customer: c, sources: [a], ports: [0], limits: x, egress: static-c, tls: {min_version: 1.2}}\n";
    let found = faults(&[("b.yaml", rules), ("a.yaml", sources)]);
    for (place, part) in [
        ("b.yaml:1:10:", "`version` is `2`; write `1`, the only version there is"),
        ("b.yaml:3:7:", "bad name `r 1`"),
        ("b.yaml:5:13:", "unknown source `aa`; did you mean `a`?"),
        ("b.yaml:6:23:", "`*.co.uk` is right below a public suffix"),
        ("b.yaml:6:34:", "10.0.0.1"),
        ("b.yaml:7:3:", "unknown key `portz`; did you mean `ports`?"),
        ("b.yaml:9:", "rule `r2` lacks `owner`, which `require` at a.yaml:5:11 asks for; add it"),
        ("b.yaml:9:", "a rule lacks both `hosts` and `networks`"),
        ("b.yaml:9:47:", "`ports`"),
        ("b.yaml:9:59:", "`limits` is `x`; write a mapping"),
        ("b.yaml:9:70:", "unknown pool `static-c`; write one of `static-a`, `static-b`"),
        ("b.yaml:9:99:", "write it in quotes: `\"1.2\"`"),
        ("a.yaml:4:23:", "`10.20.0.0/24` belongs to source `a` already, at a.yaml:3:23; remove it from one of the two"),
    ] {
        assert!(found.iter().any(|line| line.starts_with(place) && line.contains(part)), "{place} {part}: {found:#?}");
    }
    assert_eq!(found.len(), 13, "{found:#?}");
}

#[test]
fn documents() {
    for (row, text, want) in [
        ("empty", "", &["p:1:1: a policy file is empty; write its keys, one a line, as `key: value`"][..]),
        ("no version", "rules: []\n", &["p:1:1: a policy file lacks `version`; add it"]),
        ("unknown key", "version: 1\nrulez: []\n", &["p:2:1: unknown key `rulez`; did you mean `rules`?"]),
        (
            "unknown field",
            "version: 1\nrequire: [name]\n",
            &[
                "p:2:11: `require` is `name`; write one of `owner`, `purpose`, `ticket`, `review_by`, `expires`, `location`",
            ],
        ),
        (
            "unknown key of never",
            "version: 1\nnever: {names: []}\n",
            &["p:2:9: unknown key `names` in `never`; remove it"],
        ),
        ("nothing but the version", "version: 1\n", &[]),
    ] {
        assert_eq!(faults(&[("p", text)]), want, "{row}");
    }
    assert_eq!(faults(&[]), ["the policy has no file; write one that ends in `.yaml`"]);
}

#[test]
fn where_a_rule_reaches() {
    for (row, rest, want) in [
        ("both", "hosts: [x.example], networks: [192.0.2.0/24]", "`hosts` or `networks`, never both"),
        ("no hosts", "hosts: []", "`hosts` is empty"),
        ("no networks", "networks: [], tls: {sni: absent}", "`networks` is empty"),
        (
            "addresses of networks",
            "networks: [192.0.2.0/24], addresses: [192.0.2.0/24], tls: {sni: absent}",
            "`addresses` goes with `hosts` only",
        ),
        ("a wildcard inside", "hosts: ['a.*.example']", "*"),
        ("public suffix", "hosts: ['**.github.io']", "right below a public suffix"),
        ("top level", "hosts: ['*.com']", "right below a public suffix"),
        ("wide network", "networks: [10.0.0.0/15], tls: {sni: absent}", "shorter than /16"),
        ("wide addresses", "hosts: [x.example], addresses: ['2001:db8::/31']", "shorter than /16"),
        ("host bits", "networks: [192.0.2.1/24], tls: {sni: absent}", "192.0.2.0/24"),
        ("port 0", "hosts: [x.example], ports: [0]", "1 to 65535"),
        ("port too high", "hosts: [x.example], ports: [65536]", "1 to 65535"),
        ("no port", "hosts: [x.example], ports: []", "`ports` is empty"),
        ("a port alone", "hosts: [x.example], ports: 443", "`ports` is `443`; write a list"),
        ("a port as text", "hosts: [x.example], ports: ['443']", "without quotes"),
    ] {
        let found = faults_of_rule(rest);
        assert!(found.len() == 1 && found[0].contains(want), "{row}: {found:#?}");
    }
    for rest in [
        "hosts: ['*.co.uk', '**.github.io'], public_suffix: true",
        "hosts: [co.uk, '*.example.co.uk']",
        "hosts: [x.example], addresses: [0.0.0.0/0], wide: true",
        "networks: [10.0.0.0/8], wide: true, tls: {sni: absent}",
        "hosts: [x.example], expires: 2001-01-01, review_by: 2001-01-01",
    ] {
        assert_eq!(faults_of_rule(rest), [""; 0], "{rest}");
    }
}

#[test]
fn what_else_a_rule_says() {
    for (row, rest, want) in [
        ("sni of hosts", "hosts: [x.example], tls: {sni: optional}", "`sni` must be `required` for `hosts`"),
        ("absent sni of hosts", "hosts: [x.example], tls: {sni: absent}", "`sni` must be `required` for `hosts`"),
        ("networks without tls", "networks: [192.0.2.0/24]", "lack `sni_names`"),
        ("networks without names", "networks: [192.0.2.0/24], tls: {sni: required}", "lack `sni_names`"),
        ("absent with names", "networks: [192.0.2.0/24], tls: {sni: absent, sni_names: [x.example]}", "no meaning"),
        ("bad names", "networks: [192.0.2.0/24], tls: {sni_names: ['*.x.example']}", "*"),
        ("version as a number", "hosts: [x.example], tls: {min_version: 1.3}", "quotes"),
        ("old version", "hosts: [x.example], tls: {min_version: '1.1'}", "write one of `1.2`, `1.3`"),
        ("alpn", "hosts: [x.example], tls: {alpn: ['h 2']}", "is not an ALPN id"),
        ("ech", "hosts: [x.example], tls: {ech: on}", "write one of `deny`, `allow`"),
        ("verify", "hosts: [x.example], tls: {verify: require}", "`verify: require` is not available in this version"),
        ("no verify", "hosts: [x.example], tls: {verify: no}", "write `none` (`warn`, `require` are not available in"),
        ("unknown key of tls", "hosts: [x.example], tls: {sni_name: []}", "did you mean `sni_names`?"),
        ("existing", "hosts: [x.example], existing: drain", "`drain 5m`"),
        ("pool", "hosts: [x.example], egress: static-z", "unknown pool `static-z`"),
        ("tunnels", "hosts: [x.example], limits: {tunnels: 1000001}", "write a whole number from 1 to 1000000"),
        ("rate", "hosts: [x.example], limits: {rate: 5/d}", "`5/d` is not a rate; write `1/s` to `1000000/s`"),
        (
            "bytes",
            "hosts: [x.example], limits: {bytes_out: 10GiB}",
            "`10GiB` is no size a day; write one such as `10GiB/day`",
        ),
        ("no bytes", "hosts: [x.example], limits: {bytes_out: 0B/day}", "`0B/day` is no size a day"),
        ("idle", "hosts: [x.example], limits: {idle_timeout: 31d}", "30d"),
        ("lifetime", "hosts: [x.example], limits: {lifetime: 10ms}", "100ms"),
        (
            "other limit",
            "hosts: [x.example], limits: {bytes_in: 1GiB/day}",
            "unknown key `bytes_in` in `limits`; remove it",
        ),
    ] {
        let found = faults_of_rule(rest);
        assert!(found.len() == 1 && found[0].contains(want), "{row}: {found:#?}");
    }
    for rest in [
        "networks: [192.0.2.0/24], tls: {sni: required, sni_names: [x.example]}",
        "networks: [192.0.2.0/24], tls: {sni: optional}",
        "hosts: [x.example], tls: {alpn: [], min_version: '1.2', ech: deny, verify: none}",
        "hosts: [x.example], existing: cut",
        "hosts: [x.example], limits: {tunnels: 1, rate: 20/m, bytes_out: 10GiB/day, idle_timeout: 10m, lifetime: 1h}",
        "hosts: [x.example], limits: {tunnels: none, rate: none, bytes_out: none, idle_timeout: none, lifetime: none}",
    ] {
        assert_eq!(faults_of_rule(rest), [""; 0], "{rest}");
    }
}

#[test]
fn who_answers_for_a_rule_and_when_it_holds() {
    let long = format!("hosts: [x.example], purpose: {}", "p".repeat(501));
    for (row, rest, want) in [
        ("day", "hosts: [x.example], expires: 2027-02-30", "`2027-02-30` is not a day; write `YYYY-MM-DD`"),
        ("day of review", "hosts: [x.example], review_by: soon", "`soon` is not a day"),
        ("empty owner", "hosts: [x.example], owner: ''", "`owner` is empty"),
        ("blank owner", "hosts: [x.example], owner: ' '", "`owner` is not one line"),
        ("lines", "hosts: [x.example], purpose: \"a\\nb\"", "`purpose` is not one line"),
        ("long", &long, "1 to 500 bytes"),
        ("card", "hosts: [x.example], ticket: CHG 4111 1111 1111 1111", "`ticket` holds what looks like a card number"),
        ("hours", "hosts: [x.example], hours: {days: [mon], from: '06:00', to: '06:00', zone: UTC}", "are the same"),
        (
            "day of the week",
            "hosts: [x.example], hours: {days: [monday], from: '06:00', to: '07:00', zone: UTC}",
            "`mon`, `tue`",
        ),
        (
            "time",
            "hosts: [x.example], hours: {days: [mon], from: '6', to: '07:00', zone: UTC}",
            "`6` is not a time of day",
        ),
        (
            "zone",
            "hosts: [x.example], hours: {days: [mon], from: '06:00', to: '07:00', zone: Mars}",
            "unknown time zone `Mars`",
        ),
        ("no zone", "hosts: [x.example], hours: {days: [mon], from: '06:00', to: '07:00'}", "`hours` lacks `zone`"),
    ] {
        let found = faults_of_rule(rest);
        assert!(found.len() == 1 && found[0].contains(want), "{row}: {found:#?}");
    }
}

#[test]
fn a_missing_file_brings_no_faults_of_its_own() {
    let rule = "version: 1\nrules: [{id: r, customer: c, sources: [b], hosts: [x.example], portz: [1]}]\n";
    let portz = "r:2:64: unknown key `portz`; did you mean `ports`?";
    let found = faults(&[("s", "version: 1\nsources: [{name: b, subnets: [10.0.0.0/24]\n"), ("r", rule)]);
    assert!(found.len() == 2 && found[0].starts_with("s:") && found[1] == portz, "not YAML: {found:#?}");
    let files = [PolicyFile { path: "r".into(), shown: "/etc/r".into(), text: rule.into() }];
    let mut found = Faults::new();
    assert!(Policy::load(&files, &Setting { partial: true, ..Setting::default() }, &mut found).is_none());
    assert_eq!(found.iter().map(|fault| fault.line(&["r"])).collect::<Vec<_>>(), [portz], "not readable");
}

#[test]
fn places_in_faults_are_shown_as_the_caller_shows_them() {
    let rule = "{id: r, customer: c, sources: [a], hosts: [x.example]}";
    let text = format!("version: 1\nsources: [{{name: a, subnets: [10.0.0.0/24]}}]\nrules: [{rule}, {rule}]\n");
    let files = [PolicyFile { path: "r".into(), shown: "/etc/r".into(), text }];
    let mut found = Faults::new();
    Policy::load(&files, &Setting::default(), &mut found);
    let found: Vec<String> = found.iter().map(|fault| fault.line(&["/etc/r"])).collect();
    assert!(found.len() == 2, "{found:#?}");
    assert!(found[0].contains("rule `r` is defined at /etc/r:3:14 already"), "{found:#?}");
    assert!(found[1].contains("ties with rule `r` at /etc/r:3:52:"), "{found:#?}");
}

#[test]
fn absence_is_always_accepted() {
    let rule = "id: r, customer: c, sources: [a]";
    let keys = "ports: none, addresses: none, egress: none, existing: none, hours: none, limits: none, wide: none, \
                public_suffix: none, owner: none, purpose: none, ticket: none, review_by: none, expires: none, location: none";
    let tls = "tls: {min_version: none, alpn: none, sni: none, sni_names: none, ech: none, verify: none}";
    for text in [
        format!("rules: [{{{rule}, hosts: [x.example], networks: none, tls: none, {keys}}}]"),
        format!("rules: [{{{rule}, hosts: [x.example], {tls}}}]"),
        format!("rules: [{{{rule}, hosts: none, networks: [192.0.2.0/24], tls: {{sni: absent, sni_names: none}}}}]"),
        "rules: none\nnever: none\nrequire: none".to_owned(),
        "never: {hosts: none, networks: none}".to_owned(),
    ] {
        assert_eq!(faults_of(&text), [""; 0], "{text}");
    }
    let source = "name: b, subnets: [10.0.0.0/24], environment: none, class: none, mode: none, wide: none, \
                  identities: none, report_until: none, egress: none, limits: none";
    assert_eq!(faults(&[("p", &format!("version: 1\nsources: [{{{source}}}]\n"))]), [""; 0]);
    let found = faults_of(&format!("require: [ticket]\nrules: [{{{rule}, hosts: [x.example], ticket: none}}]"));
    assert!(found.len() == 1 && found[0].contains("rule `r` lacks `ticket`"), "none is no ticket: {found:#?}");
}

#[test]
fn rules_must_be_whole() {
    for (row, rules, want) in [
        ("id", "[{customer: c, sources: [a], hosts: [x.example]}]", "a rule lacks `id`"),
        ("customer", "[{id: r, sources: [a], hosts: [x.example]}]", "a rule lacks `customer`"),
        ("customer of none", "[{id: r, customer: '-', sources: [a], hosts: [x.example]}]", "bad name `-`"),
        ("sources", "[{id: r, customer: c, hosts: [x.example]}]", "a rule lacks `sources`"),
        ("no source", "[{id: r, customer: c, sources: [], hosts: [x.example]}]", "`sources` is empty"),
        ("not a mapping", "[r]", "a rule is `r`; write a mapping"),
        ("not a list", "{id: r}", "`rules` is a mapping; write a list"),
        (
            "twice",
            "[{id: r, customer: c, sources: [a], hosts: [x.example]}, {id: r, customer: c, sources: [a], hosts: [y.example]}]",
            "rule `r` is defined at p:3:14 already; give it another id",
        ),
    ] {
        let found = faults_of(&format!("rules: {rules}"));
        assert!(found.len() == 1 && found[0].contains(want), "{row}: {found:#?}");
    }
}

#[test]
fn what_is_required_of_every_rule_of_every_file() {
    let rule = "rules: [{id: r, customer: c, sources: [a], hosts: [x.example], owner: o, expires: never}]\n";
    let files = [
        ("a", "version: 1\nsources: [{name: a, subnets: [10.20.0.0/24]}]\nrequire: [owner, expires]\n"),
        ("b", &format!("version: 1\n{rule}")),
        ("c", "version: 1\nrequire: [location, location]\n"),
    ];
    let found = faults(&files);
    assert_eq!(found.len(), 2, "a field that is there but wrong is not missing too: {found:#?}");
    assert!(found[0].contains("rule `r` lacks `location`, which `require` at c:2:11 asks for; add it"), "{found:#?}");
    assert!(found[1].contains("`never` is not a day"), "{found:#?}");
}
