//! Suggestions for what small policies have observed.

use std::sync::Arc;

use super::*;
use crate::decision_log::Record;
use crate::foresight::testing::{Request, close, give, request, text};
use crate::policy::{Policy, testing::policy};

const SOURCES: &str = "version: 1
sources:
  - {name: web, subnets: [10.2.0.0/16], class: general, mode: report, report_until: 1970-01-08, egress: p}
  - {name: lab, subnets: [10.3.0.0/16], class: general, mode: report, report_until: 1970-01-08, egress: p}
";

fn seen(client: &'static str, target: &'static str, at: &str) -> Request {
    Request { client, at: at.parse().unwrap(), ..request(target) }
}

fn suggested(records: &[Record]) -> Suggestion {
    let mut observed = Observed::default();
    give(records, |found| observed.add(found));
    Suggestion::new(observed)
}

fn records() -> Vec<Record> {
    let policy = Arc::new(policy(&format!(
        "{SOURCES}rules: [{{id: old, customer: c, sources: [web], hosts: [old.c.test], expires: 1970-01-01}}]"
    )));
    let (web, lab) = ("10.2.0.7", "10.3.0.7");
    let requests = [
        seen(web, "api.a.test:443", "1970-01-05T10:00:00Z"),
        seen(lab, "api.a.test:443", "1970-01-05T11:00:00Z"),
        seen(web, "pay.a.test:443", "1970-01-05T12:00:00Z"),
        seen(lab, "pay.a.test:443", "1970-01-05T12:00:01Z"),
        seen(lab, "pay.a.test:8443", "1970-01-05T12:00:02Z"),
        Request { alpn: &[], ..seen(web, "x.b.co.uk:443", "1970-01-05T13:00:00Z") },
        seen(web, "k7f3q9x2m5t8w1z4b6.evil.test:443", "1970-01-05T14:00:00Z"),
        seen(web, "old.c.test:443", "1970-01-05T15:00:00Z"),
        seen("192.0.2.1", "no.test:443", "1970-01-05T16:00:00Z"),
    ];
    let mut records: Vec<Record> = (1..).zip(&requests).map(|(id, request)| request.record(&policy, id)).collect();
    let ends: Vec<Record> = records[..5].iter().map(|decision| close(decision, "1.3")).collect();
    let old_tls = close(&records[5], "1.2");
    records.extend(ends);
    records.push(old_tls);
    records
}

const WANT: &str = r##"# From what report mode observed: 8 records, 1970-01-05T10:00:00.000000Z to 1970-01-05T15:00:00.000000Z.
# Put it beside the other files of the policy, which has the sources. It does not load before somebody has filled in each
# `customer`, `owner`, `purpose`, `ticket` and `review_by`, and has thrown away what nobody answers for.
# No rule for 1 requests that `old` has, but for its hours or its last day.
# No rule for k7f3q9x2m5t8w1z4b6.evil.test, which may carry data out by its name: 1 request, first 1970-01-05T14:00:00.000000Z, last 1970-01-05T14:00:00.000000Z.
version: 1
rules:
  - id: suggested/a.test
    customer:        # whom a.test belongs to
    sources: [lab]
    hosts:
      - pay.a.test   # 2 requests, first 1970-01-05T12:00:01.000000Z, last 1970-01-05T12:00:02.000000Z
    ports: [443, 8443]
    tls: {min_version: "1.3", alpn: [h2]}   # what servers chose and clients offered
    owner:           # who answers for it
    purpose:         # the business need
    ticket:          # the change that brings it
    review_by:       # YYYY-MM-DD
  - id: suggested/a.test-2
    customer:        # whom a.test belongs to
    sources: [lab, web]
    hosts:
      - api.a.test   # 2 requests, first 1970-01-05T10:00:00.000000Z, last 1970-01-05T11:00:00.000000Z
    ports: [443]
"##;

#[test]
fn rules_allow_what_was_seen_and_nothing_else() {
    let told = suggested(&records());
    let written = told.to_string();
    assert!(written.starts_with(WANT), "{written}");
    let of = |id: &str| told.rules.iter().find(|rule| rule.id == id).unwrap();
    assert_eq!(of("suggested/a.test-3").sources, [Box::from("web")]);
    let old_tls = of("suggested/b.co.uk");
    assert_eq!((old_tls.min_version, old_tls.alpn.len(), old_tls.hosts.len()), (None, 0, 1));
    assert_eq!(told.rules.len(), 4);
    // Filled in, it is a policy that lets each of them through, and none of them before.
    let filled = filled(&written);
    let all = Arc::new(policy(&format!("{SOURCES}{}", filled.trim_start_matches(|c| c != 'r'))));
    assert_eq!(
        reaches(&all),
        [
            "10.2.0.7 api.a.test:443",
            "10.2.0.7 pay.a.test:443",
            "10.2.0.7 x.b.co.uk:443",
            "10.3.0.7 api.a.test:443",
            "10.3.0.7 pay.a.test:443",
            "10.3.0.7 pay.a.test:8443"
        ]
    );
}

/// The file from `rules:` on, with everything filled in.
fn filled(text: &str) -> String {
    let at = text.find("\nrules:").unwrap() + 1;
    let filled =
        text.get(at..).unwrap().replace("customer: ", "customer: c ").replace("review_by: ", "review_by: 1970-02-01 ");
    ["owner", "purpose", "ticket"]
        .iter()
        .fold(filled, |text, key| text.replace(&format!("{key}: "), &format!("{key}: x ")))
}

fn reaches(policy: &Arc<Policy>) -> Vec<String> {
    let hosts = ["api.a.test", "pay.a.test", "x.b.co.uk", "a.test", "k7f3q9x2m5t8w1z4b6.evil.test"];
    let mut found = Vec::new();
    for client in ["10.2.0.7", "10.3.0.7"] {
        let identified = policy.identify(&client.parse::<std::net::IpAddr>().unwrap().into()).unwrap();
        for (host, port) in hosts.iter().flat_map(|host| [(host, 443), (host, 8443)]) {
            let target = format!("{host}:{port}");
            let admitted = identified.request(&target.parse().unwrap(), "1970-01-09T00:00:00Z".parse().unwrap());
            if admitted.is_ok() {
                found.push(format!("{client} {target}"));
            }
        }
    }
    found
}

#[test]
fn it_does_not_load_before_it_is_filled_in() {
    use crate::policy::{PolicyFile, Setting};
    use crate::yaml::Faults;
    let written = suggested(&records()).to_string();
    let (_, body) = written.split_once("version: 1\n").unwrap();
    let file = PolicyFile { path: "p".into(), shown: "p".into(), text: format!("{SOURCES}{body}") };
    let mut faults = Faults::new();
    let _ = Policy::load(&[file], &Setting { any_pool: true, ..Setting::default() }, &mut faults);
    for key in ["customer", "owner", "purpose", "ticket", "review_by"] {
        let count = faults.iter().filter(|fault| fault.message.contains(&format!("`{key}`"))).count();
        assert_eq!(count, 4, "{key}: {faults:?}");
    }
}

#[test]
fn many_names_are_told_and_still_written_out() {
    let base = records().remove(0);
    let some = |count: u32| -> String {
        let named = |number| Record { host: Some(text(&format!("h{number}.a.test"))), ..base.clone() };
        suggested(&(0..count).map(named).collect::<Vec<_>>()).to_string()
    };
    assert!(!some(20).contains("wildcard"));
    let written = some(21);
    assert!(
        written.contains("  # 21 names of a.test were asked for; a wildcard would let through every other one too."),
        "{written}"
    );
    assert_eq!((written.matches("      - h").count(), written.contains('*')), (21, false));
}

#[test]
fn what_looks_like_data() {
    for (label, want) in [
        ("k7f3q9x2m5t8w1z4b6", true),
        ("mzxw6ytboi4dsmrqgeztinjw", true),
        ("4a6f686e20446f65", false),
        ("d111111abcdef8", false),
        ("authorization-service-production", false),
        ("eu-west-1-api-gateway-2", false),
        ("api", false),
    ] {
        assert_eq!(looks_random(label), want, "{label}");
    }
    // Asked for again, it is a name like any other.
    let base = records().remove(6);
    assert_eq!(suggested(std::slice::from_ref(&base)).rules.len(), 0);
    assert_eq!(suggested(&[base.clone(), base]).rules.len(), 1);
}

#[test]
fn names_beyond_the_bound_are_counted() {
    let mut observed = Observed::default();
    give(&records()[..1], |found| observed.add(found));
    let (place, requests) = observed.places.pop_first().unwrap();
    for number in 0..100_003 {
        let mut more = Observed::default();
        more.places
            .insert(Place { host: format!("h{number}.a.test").parse().unwrap(), ..place.clone() }, requests.clone());
        observed.merge(more);
    }
    assert_eq!((observed.places.len(), observed.others), (100_000, 3));
    assert!(
        Suggestion::new(observed).to_string().contains("# No rule for 3 requests whose names found no place here.")
    );
}
