//! Files of cases: what they may say, and what comes of cases.

use std::collections::BTreeMap;

use super::*;

/// Cases of a file `c` at index 0, or every fault.
fn read(text: &str) -> Result<Vec<Case>, Vec<String>> {
    let mut faults = Faults::new();
    let cases = Case::read_all(text, (0, "c"), &mut faults);
    if faults.is_empty() { Ok(cases) } else { Err(faults.iter().map(|fault| fault.line(&["c"])).collect()) }
}

/// A file with one case that says `rest` beside its name.
fn one(rest: &str) -> String {
    format!("cases: [{{name: n, {rest}}}]\n")
}

const REQUEST: &str = "source: 10.20.0.7, target: 'api.acme.example:443'";

/// A file of cases, where `REQUEST` stands for a request, and its faults.
type Faulty = (&'static str, &'static str, &'static [&'static str]);

const FAULTY: &[Faulty] = &[
    ("nothing", "", &["c:1:1: a file of cases is empty; write its keys, one a line, as `key: value`"]),
    (
        "no cases",
        "case: []\n",
        &["c:1:1: a file of cases lacks `cases`; add it", "c:1:1: unknown key `case`; did you mean `cases`?"],
    ),
    ("a version", "version: 1\ncases: []\n", &["c:1:1: unknown key `version` in a file of cases; remove it"]),
    (
        "only a name",
        "cases: [{name: n}]\n",
        &[
            "c:1:9: a case lacks `source`; add it",
            "c:1:9: a case lacks `target`; add it",
            "c:1:9: a case lacks `expect`; add it",
        ],
    ),
    (
        "a name for a source",
        "cases: [{name: n, source: ivr, target: 'a:1', expect: {outcome: deny}}]\n",
        &[
            "c:1:27: `ivr` is no address; write one such as `192.0.2.1` or `2001:db8::1`, or `user:1000` for a user who comes over a \
           Unix socket",
        ],
    ),
    (
        "a slip of the pen",
        "cases: [{name: n, REQUEST, expct: {outcome: deny}}]\n",
        &["c:1:9: a case lacks `expect`; add it", "c:1:70: unknown key `expct`; did you mean `expect`?"],
    ),
    (
        "a pattern of identities",
        "cases: [{name: n, REQUEST, identity: 'spiffe://a/*', expect: {outcome: deny}}]\n",
        &[
            "c:1:80: bad SPIFFE ID `spiffe://a/*`; write `spiffe://trust.domain/path` with a-z, 0-9, `.`, `-`, `_` in the domain \
           and those and A-Z in the path",
        ],
    ),
    ("an identity", "cases: [{name: n, REQUEST, identity: 'spiffe://a/b', expect: {outcome: deny}}]\n", &[]),
    ("no identity", "cases: [{name: n, REQUEST, identity: none, expect: {outcome: deny}}]\n", &[]),
    (
        "TLS as a number",
        "cases: [{name: n, REQUEST, tls: 1.2, expect: {outcome: deny}}]\n",
        &["c:1:75: `tls` is a number, `1.2`; write it in quotes: `\"1.2\"`"],
    ),
    (
        "no addresses",
        "cases: [{name: n, REQUEST, addresses: [], expect: {outcome: deny}}]\n",
        &["c:1:81: `addresses` is empty; write at least one"],
    ),
    (
        "a day",
        "cases: [{name: n, REQUEST, at: 2027-05-03, expect: {outcome: deny}}]\n",
        &["c:1:74: `2027-05-03` is no point in time; write one such as `2027-05-03T23:00:00Z`"],
    ),
    (
        "nothing expected",
        "cases: [{name: n, REQUEST, expect: {}}]\n",
        &["c:1:78: `expect` says nothing; write `outcome`, `reason` or `rule`"],
    ),
    (
        "none expected",
        "cases: [{name: n, REQUEST, expect: {rule: none}}]\n",
        &["c:1:78: `expect` says nothing; write `outcome`, `reason` or `rule`"],
    ),
    (
        "an unknown reason",
        "cases: [{name: n, REQUEST, expect: {reason: sni_mising}}]\n",
        &["c:1:87: unknown reason `sni_mising`; did you mean `sni_missing`?"],
    ),
    (
        "no reason at all",
        "cases: [{name: n, REQUEST, expect: {reason: because}}]\n",
        &["c:1:87: unknown reason `because`; write one that `explain` prints, such as `destination_not_listed`"],
    ),
    (
        "an unknown outcome",
        "cases: [{name: n, REQUEST, expect: {outcome: denied}}]\n",
        &["c:1:88: `outcome` is `denied`; write one of `allow`, `deny`, `observe`, `error`"],
    ),
    (
        "what report mode refuses",
        "cases: [{name: n, REQUEST, expect: {outcome: observe, reason: sni_missing}}]\n",
        &["c:1:105: reason `sni_missing` has outcome `deny`, not `observe`; correct one of the two"],
    ),
    (
        "a contradiction",
        "cases: [{name: n, REQUEST, expect: {outcome: allow, reason: sni_missing}}]\n",
        &["c:1:103: reason `sni_missing` has outcome `deny`, not `allow`; correct one of the two"],
    ),
    ("observed", "cases: [{name: n, REQUEST, expect: {outcome: observe, reason: port_not_allowed}}]\n", &[]),
    ("no contradiction", "cases: [{name: n, REQUEST, expect: {outcome: error, reason: dns_failure}}]\n", &[]),
    (
        "a rule's id",
        "cases: [{name: n, REQUEST, expect: {rule: 'a b'}}]\n",
        &["c:1:85: bad name `a b`; use 1 to 128 of A-Z, a-z, 0-9 and `. _ - / : @ +`, a letter or digit first"],
    ),
    (
        "twice the same name",
        "cases:\n  - {name: n, REQUEST, expect: {outcome: deny}}\n  - {name: n, REQUEST, expect: {outcome: deny}}\n",
        &["c:3:12: case `n` stands at c:2:12 already; give it another name"],
    ),
    ("no YAML", "cases: [", &["c:1:8: unclosed bracket `[`; close each `[` with `]` and each `{` with `}`"]),
];

#[test]
fn every_fault_has_its_place_and_what_to_write_instead() {
    for (row, text, want) in FAULTY {
        let text = text.replace("REQUEST", REQUEST);
        let faults = read(&text).err().unwrap_or_default();
        assert_eq!(&faults, want, "{row}: {text}");
    }
}

const RULES: &str = "
sources: [{name: a, subnets: [10.20.0.0/24, '2001:db8:20::/64']}]
rules:
  - {id: api, customer: c, sources: [a], hosts: [api.acme.example]}
  - {id: strict, customer: c, sources: [a], hosts: [strict.acme.example], tls: {min_version: '1.3', alpn: [h2]}}
  - {id: old, customer: c, sources: [a], hosts: [old.acme.example], expires: 2026-12-31}
  - {id: net, customer: c, sources: [a], networks: [198.51.100.0/28], tls: {sni: optional, sni_names: [gw.acme.example]}}
";

/// What comes of the one case of a file, as `OUTCOME REASON RULE`, and the difference from what it expects.
fn tried(rest: &str) -> (String, Option<String>) {
    let cases = read(&one(rest)).unwrap_or_else(|faults| panic!("{rest}: {faults:#?}"));
    let hosts = BTreeMap::from([(name("api.acme.example"), vec![ip("10.0.0.1")])]);
    let own = OwnAddresses::default();
    let Tried { decided: Decided { outcome, reason }, rule, difference } =
        cases[0].try_on(&policy(RULES), &Surroundings { own: &own, hosts: &hosts, now: at(AT) });
    let came = format!("{outcome} {reason} {}", rule.as_deref().unwrap_or("-"));
    (came, difference.map(|difference| difference.to_string()))
}

#[test]
fn a_case_is_the_request_that_it_says() {
    for (case, want) in [
        ("target: 'strict.acme.example:443'", "allow allowed strict"),
        ("target: 'strict.acme.example:443', tls: '1.2'", "deny tls_version_too_low strict"),
        ("target: 'strict.acme.example:443', alpn: [h2]", "allow allowed strict"),
        ("target: 'strict.acme.example:443', alpn: [h2, http/1.1]", "deny alpn_not_allowed strict"),
        ("target: 'strict.acme.example:443', sni: none", "deny sni_missing strict"),
        ("target: 'strict.acme.example:443', sni: other.example", "deny sni_mismatch strict"),
        ("target: 'strict.acme.example:443', sni: 10.0.0.1", "deny sni_mismatch strict"),
        ("target: 'strict.acme.example:443', addresses: [8.8.8.8, 10.0.0.1]", "deny address_forbidden strict"),
        ("target: 'strict.acme.example:443', addresses: none", "allow allowed strict"),
        ("target: 'api.acme.example:443'", "deny address_forbidden api"),
        ("target: 'api.acme.example:443', addresses: [8.8.8.8]", "allow allowed api"),
        ("target: '198.51.100.1:443'", "allow allowed net"),
        ("target: '198.51.100.1:443', sni: gw.acme.example", "allow allowed net"),
        ("target: 'old.acme.example:443'", "deny rule_expired old"),
        ("target: 'old.acme.example:443', at: 2026-12-31T23:59:59Z", "allow allowed old"),
        ("target: old.acme.example", "deny malformed_target -"),
        ("target: 'strict.acme.example:22'", "deny port_not_allowed -"),
    ] {
        assert_eq!(tried(&format!("source: 10.20.0.7, {case}, expect: {{rule: x}}")).0, want, "{case}");
    }
    let other =
        |source: &str| tried(&format!("source: '{source}', target: 'strict.acme.example:443', expect: {{rule: x}}")).0;
    assert_eq!(other("2001:db8:20::9"), "allow allowed strict");
    assert_eq!(other("10.9.9.9"), "deny source_unknown -");
}

#[test]
fn what_was_expected_and_what_came() {
    let expecting = |to: &str, what: &str| tried(&format!("source: 10.20.0.7, target: '{to}', expect: {what}")).1;
    let strict = "strict.acme.example:443";
    for (to, expected, want) in [
        (strict, "{outcome: allow}", None),
        (strict, "{reason: allowed}", None),
        (strict, "{rule: strict}", None),
        (strict, "{outcome: allow, reason: allowed, rule: strict}", None),
        (strict, "{rule: api}", Some("expected rule `api`; came outcome `allow`, reason `allowed`, rule `strict`")),
        (
            strict,
            "{outcome: deny}",
            Some("expected outcome `deny`; came outcome `allow`, reason `allowed`, rule `strict`"),
        ),
        ("strict.acme.example:22", "{outcome: deny}", None),
        (
            "strict.acme.example:22",
            "{outcome: deny, reason: rule_expired, rule: strict}",
            Some(
                "expected outcome `deny`, reason `rule_expired`, rule `strict`; came outcome `deny`, reason `port_not_allowed`, no rule; \
                 nearest is rule `strict`, what differs: the port: the rule has 443, not 22",
            ),
        ),
    ] {
        assert_eq!(expecting(to, expected).as_deref(), want, "{to} {expected}");
    }
}
