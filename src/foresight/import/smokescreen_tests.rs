//! Smokescreen's ACLs against its own order of decisions, written down a second time.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::policy::{Policy, Reason, testing::policy};

fn imported(text: &str) -> Draft {
    let mut faults = Faults::new();
    let given = Given {
        subnets: ["a", "b", "c", "default"]
            .iter()
            .zip(1..)
            .map(|(name, net)| ((*name).to_owned(), vec![format!("10.{net}.0.0/16").parse().unwrap()]))
            .collect(),
        customer: Some("c".to_owned()),
    };
    smokescreen(text, &given, &mut faults).unwrap_or_else(|| panic!("{faults:?}"))
}

const ACL: &str = "---
version: v1
services:
  - name: a
    project: usersec
    action: enforce
    allowed_domains:
      - api.x.test # ours
      - \"*.pay.x.test\"
      - sts.*.amazonaws.com
      - 93.184.216.34
      - 10.0.0.1
      - \"*.com\"
    mitm_domains:
      - domain: api.x.test
    allowed_external_proxies: [proxy.x.test]
  - name: b
    project: x
    action: open
default:
  project: other
  action: report
global_allow_list: [good.test, bad.test, api.x.test]
global_deny_list: [bad.test, worse.test]
unsafe_allow_wildcards_across_public_suffixes: true
";

const IMPORTED: &str = r##"# From a configuration of Smokescreen: 3 sources, 5 rules, 2 hosts and 0 networks never reached; 7 lines have no equal, 2 fields are to be filled in.
# Its ACL has no ports: rules have 443 alone, and `ports` is where others are added.
# Smokescreen knows a service by its client certificate's common name, which is never read here: sources are told apart by subnets, and may ask for `identities` too.
# line 10, `- sts.*.amazonaws.com`: not a name, or one with `*` elsewhere than in front; left out
# line 12, `- 10.0.0.1`: not a public address, which Smokescreen refuses by default; left out
# line 14, `mitm_domains:`: no inspection in this version; its domains are tunnelled like the others
# line 16, `allowed_external_proxies: [proxy.x.test]`: no equal; left out
# line 25, `unsafe_allow_wildcards_across_public_suffixes: true`: no equal; left out
# line 17, `b`: `open`, every destination: no equal; what is not listed is refused
# line 23, `bad.test`: line 24 of the global deny list comes before it; left out
version: 1
sources:
  - name: "a"
    subnets: ["10.1.0.0/16"]
  - name: "b"
    subnets: ["10.2.0.0/16"]
  - name: "default"
    subnets: ["10.4.0.0/16"]
    class: general   # report mode is not for sources with card data
    mode: report
    report_until:    # YYYY-MM-DD, at most 30 days ahead
    egress:          # the pool that its unlisted connections leave from
never:
  hosts: ["bad.test", "worse.test"]
rules:
  - id: "a/allowed"
    customer: "c"
    sources: ["a"]
    hosts: ["api.x.test", "**.pay.x.test"]
    ports: [443]
    owner: "usersec"
  - id: "a/allowed/public-suffix"
    customer: "c"
    sources: ["a"]
    hosts: ["**.com"]
    public_suffix: true   # strangers have names there
    ports: [443]
    owner: "usersec"
  - id: "a/addresses"
    customer: "c"
    sources: ["a"]
    networks: ["93.184.216.34/32"]
    ports: [443]
    tls: {sni: absent}
    owner: "usersec"
  - id: "global/allowed"
    customer: "c"
    sources: ["a", "b", "default"]
    hosts: ["good.test"]
    ports: [443]
  - id: "global/allowed-2"
    customer: "c"
    sources: ["b", "default"]
    hosts: ["api.x.test"]
    ports: [443]
"##;

#[test]
fn what_has_no_equal_is_said_with_its_line() {
    assert_eq!(imported(ACL).to_string(), IMPORTED);
    let loaded = IMPORTED.replace("report_until: ", "report_until: 1970-01-20 ").replace("egress: ", "egress: p ");
    assert_eq!(policy(&loaded).rules().count(), 5);
}

#[test]
fn addresses_on_the_global_lists() {
    let written = imported(
        "version: v1
services:
  - {name: a, project: p, action: enforce, allowed_domains: [93.184.216.34]}
  - {name: b, project: p, action: report}
global_allow_list: [good.test, 198.41.0.4]
global_deny_list:
  - 93.184.216.34
  - 203.0.114.9
  - \"2606:4700::1\"
  - 10.0.0.1
",
    )
    .to_string();
    for want in [
        "# line 5, `global_allow_list: [good.test, 198.41.0.4]`: an address for every service: no equal",
        "# line 7, `93.184.216.34`: a service lists it, which comes first: not in `never`",
        "# line 8, `203.0.114.9`: in `never`, where names that resolve to it are refused too",
        "# line 9, `2606:4700::1`: in `never`",
        "# line 10, `- 10.0.0.1`: not a public address",
        "# line 4, `b`: `report` would let through what the global deny list has",
        "never:\n  networks: [\"203.0.114.9/32\", \"2606:4700::1/128\"]\n",
    ] {
        assert!(written.contains(want), "{want}\n{written}");
    }
    assert!(!written.contains("mode: report") && !written.contains("\"198.41.0.4"), "{written}");
}

#[test]
fn what_is_no_acl_is_refused_with_its_place() {
    for (text, want) in [
        ("version: v2\nservices: []\n", (1, "not a Smokescreen ACL of `version: v1`")),
        ("services: []\n", (1, "not a Smokescreen ACL of `version: v1`")),
        ("version: v1\nservices:\n  - {name: a, action: deny}\n", (3, "unknown action `deny`")),
        ("version: v1\nservices:\n  - {name: a}\n", (3, "a service without `action`")),
        ("version: v1\nservices: x\n", (2, "not a list")),
        ("version: v1\nservices:\n  - {name: a, action: open, allowed_domains: [[x]]}\n", (3, "not a text")),
        ("- a\n", (1, "not an ACL")),
    ] {
        let mut faults = Faults::new();
        assert!(smokescreen(text, &Given::default(), &mut faults).is_none(), "{text}");
        let first = faults.iter().next().unwrap();
        assert!(first.place.unwrap().line == want.0 && first.message.starts_with(want.1), "{text}: {faults:?}");
    }
}

const NAMES: [&str; 7] = ["x.test", "a.x.test", "b.x.test", "a.b.x.test", "y.test", "a.y.test", "z.test"];

#[derive(Clone, Debug)]
struct Written {
    services: Vec<(&'static str, Vec<String>)>,
    deny: Vec<String>,
    allow: Vec<String>,
}

/// Smokescreen's answer: own domains, global deny, global allow, action.
fn reference(acl: &Written, service: usize, host: &str) -> &'static str {
    let holds = |globs: &[String]| {
        globs.iter().any(|glob| match glob.strip_prefix("*.") {
            Some(base) => host.ends_with(&format!(".{base}")),
            None => glob == host,
        })
    };
    let (action, own) = &acl.services[service];
    match () {
        () if holds(own) => "allow",
        () if holds(&acl.deny) => "deny",
        () if holds(&acl.allow) => "allow",
        () => match *action {
            "enforce" => "deny",
            "report" => "observe",
            _ => "open",
        },
    }
}

fn written() -> impl Strategy<Value = Written> {
    let globs = || {
        prop::collection::vec(
            "(\\*\\.)?(([ab]\\.)?x|y|z)\\.test".prop_filter("no suffix", |glob| glob != "*.test"),
            0..3,
        )
    };
    let action = prop::sample::select(vec!["enforce", "report", "open"]);
    (prop::collection::vec((action, globs()), 1..=3), globs(), globs()).prop_map(|(services, deny, allow)| Written {
        services,
        deny,
        allow,
    })
}

fn loaded(acl: &Written) -> Arc<Policy> {
    let services = ["a", "b", "c"].iter().zip(&acl.services).map(|(name, (action, own))| {
        format!("  - {{name: {name}, project: p, action: {action}, allowed_domains: {own:?}}}\n")
    });
    let services: String = services.collect();
    let text = format!(
        "version: v1\nservices:\n{services}global_deny_list: {:?}\nglobal_allow_list: {:?}\n",
        acl.deny, acl.allow
    );
    let draft = imported(&text).to_string().replace("report_until: ", "report_until: 1970-01-20 ");
    Arc::new(policy(&draft.replace("egress: ", "egress: p ")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// The same answers but for what is said: never more, and less only where `open` or a denied part of a list has no equal.
    #[test]
    fn answers_are_smokescreen_s(acl in written()) {
        let policy = loaded(&acl);
        for (service, net) in (0..acl.services.len()).zip(1_u8..) {
            let identified = policy.identify(&std::net::IpAddr::from([10, net, 0, 1]).into()).unwrap();
            for host in NAMES {
                let target = format!("{host}:443").parse().unwrap();
                let answer = match identified.request(&target, "1970-01-05T00:00:00Z".parse().unwrap()) {
                    Ok(admitted) if admitted.observed().is_some() => "observe",
                    Ok(_) => "allow",
                    Err(denial) => {
                        prop_assert!(matches!(denial.reason(), Reason::DestinationDenied | Reason::DestinationNotListed));
                        "deny"
                    }
                };
                let wanted = reference(&acl, service, host);
                let has_conflict = acl.deny.iter().any(|glob| {
                    let base = |glob: &str| glob.trim_start_matches("*.").to_owned();
                    let covers = |other: &str| other.ends_with(&base(glob)) || glob.ends_with(&base(other));
                    acl.services.iter().flat_map(|(_, own)| own).chain(&acl.allow).any(|other| covers(other))
                });
                let is_same = answer == wanted;
                let is_less = matches!((wanted, answer), ("open", "deny") | ("observe" | "allow", "deny"));
                prop_assert!(is_same || wanted == "open" && answer == "deny" || has_conflict && is_less,
                    "{host} of service {service}: wanted {wanted}, got {answer}");
            }
        }
    }
}
