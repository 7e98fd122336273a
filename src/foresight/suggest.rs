//! Least-privilege rules from what report mode observed: the names, ports and sources that were seen, and nothing else.
//! Not here: gathering (`observed`), printing (`cli`). It is never in force by itself: what only people know stays empty, and an empty
//! field makes the load fail at its place. Source: the contract's `policy suggest`; PCI DSS 1.2.5.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use serde::Serialize;

use super::observed::{Observed, Place, Requests};
use super::window::Window;
use crate::name::Fqdn;
use crate::redact::holds_card_number;
use crate::tls::ProtocolVersion;

/// Names below one domain from which on it is said how many there are.
const MANY_HOSTS: usize = 20;

/// A label of this length may carry data out; shorter ones name machines.
const MIN_RANDOM: usize = 16;

/// Bits of a character in such a label: words have about 2.5 to 3.3 at that length, base 32 about 3.6 and more.
const RANDOM_BITS: f64 = 3.4;

/// Characters of a domain in a rule's id, so that the id keeps within its bound.
const MAX_DOMAIN: usize = 100;

/// What was observed, as rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Suggestion {
    /// The requests that it is made from.
    #[serde(flatten)]
    pub window: Window,
    /// By id.
    pub rules: Vec<Suggested>,
    /// Names that no rule is suggested for: asked for once, with a label that looks like data.
    pub doubtful: Vec<SuggestedHost>,
    /// Rules that would have refused requests for the time alone, and how many.
    pub timed: BTreeMap<Box<str>, u64>,
    /// Requests whose names were redacted.
    pub nameless: u64,
    /// Requests beyond the first 100,000 sources, names and ports.
    pub others: u64,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Suggested {
    /// Its id.
    pub id: String,
    /// What all of its names are below.
    pub domain: String,
    /// Names of that domain in all rules.
    pub hosts_of_domain: usize,
    /// Each reaches each of the hosts on each of the ports: all of these were seen.
    pub sources: Vec<Box<str>>,
    /// Exact names.
    pub hosts: Vec<SuggestedHost>,
    /// Ascending.
    pub ports: Vec<u16>,
    /// `1.3` if no server chose less; absent: the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_version: Option<&'static str>,
    /// What clients offered; empty: nothing, and the default holds.
    pub alpn: Vec<String>,
}

/// A name, and the requests for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SuggestedHost {
    /// The name.
    pub host: String,
    /// How many requests, and when: for people.
    pub seen: String,
}

/// What is the same for all names of a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    domain: String,
    sources: BTreeSet<Box<str>>,
    ports: BTreeSet<u16>,
}

impl Suggestion {
    /// The rules for what was observed.
    pub fn new(observed: Observed) -> Self {
        let Observed { window, places, timed, nameless, others } = observed;
        let mut told = Self { window, timed, nameless, others, ..Self::default() };
        let mut hosts: BTreeMap<Fqdn, Vec<(Place, Requests)>> = BTreeMap::new();
        for (place, requests) in places {
            hosts.entry(place.host.clone()).or_default().push((place, requests));
        }
        let mut rules: BTreeMap<Key, BTreeMap<Fqdn, Requests>> = BTreeMap::new();
        for (host, places) in hosts {
            let all = places.iter().fold(Requests::default(), |mut all, (_, requests)| {
                all.merge(requests.clone());
                all
            });
            if holds_card_number(host.as_str()) || (all.count <= 1 && host.labels().any(looks_random)) {
                told.doubtful.push(SuggestedHost::new(&host, &all));
                continue;
            }
            for (key, requests) in keys(&host, places) {
                rules.entry(key).or_default().insert(host.clone(), requests);
            }
        }
        told.add(rules);
        told
    }

    fn add(&mut self, rules: BTreeMap<Key, BTreeMap<Fqdn, Requests>>) {
        let mut names: BTreeMap<&str, BTreeSet<&Fqdn>> = BTreeMap::new();
        for (key, hosts) in &rules {
            names.entry(&key.domain).or_default().extend(hosts.keys());
        }
        let names: BTreeMap<String, usize> =
            names.into_iter().map(|(domain, hosts)| (domain.to_owned(), hosts.len())).collect();
        let mut before: (String, usize) = (String::new(), 0);
        for (key, hosts) in rules {
            let number = if before.0 == key.domain { before.1.saturating_add(1) } else { 1 };
            before = (key.domain.clone(), number);
            let all = hosts.values().fold(Requests::default(), |mut all, requests| {
                all.merge(requests.clone());
                all
            });
            self.rules.push(Suggested {
                id: id(&key.domain, number),
                hosts_of_domain: names.get(&key.domain).copied().unwrap_or_default(),
                domain: key.domain,
                sources: key.sources.into_iter().collect(),
                hosts: hosts.iter().map(|(host, requests)| SuggestedHost::new(host, requests)).collect(),
                ports: key.ports.into_iter().collect(),
                min_version: all
                    .version
                    .filter(|version| *version >= ProtocolVersion::Tls13)
                    .map(ProtocolVersion::as_str),
                alpn: all.alpn.into_iter().collect(),
            });
        }
    }
}

/// The rules that a name belongs to: together they allow the sources and ports that were seen, and no other pair of the two.
fn keys(host: &Fqdn, places: Vec<(Place, Requests)>) -> Vec<(Key, Requests)> {
    let mut by_source: BTreeMap<Box<str>, (BTreeSet<u16>, Requests)> = BTreeMap::new();
    for (place, requests) in places {
        let (ports, all) = by_source.entry(place.source).or_default();
        ports.insert(place.port);
        all.merge(requests);
    }
    let mut by_ports: BTreeMap<BTreeSet<u16>, (BTreeSet<Box<str>>, Requests)> = BTreeMap::new();
    for (source, (ports, requests)) in by_source {
        let (sources, all) = by_ports.entry(ports).or_default();
        sources.insert(source);
        all.merge(requests);
    }
    let domain = host.registrable().unwrap_or(host.as_str());
    let key = |sources, ports| Key { domain: domain.to_owned(), sources, ports };
    by_ports.into_iter().map(|(ports, (sources, requests))| (key(sources, ports), requests)).collect()
}

fn id(domain: &str, number: usize) -> String {
    let start = domain.len().saturating_sub(MAX_DOMAIN);
    let domain = domain.get(start..).unwrap_or(domain).trim_start_matches(['.', '-']);
    if number == 1 { format!("suggested/{domain}") } else { format!("suggested/{domain}-{number}") }
}

/// Whether a label looks like data: a part of it is long, and its characters are as good as any others. Letters alone are words.
fn looks_random(label: &str) -> bool {
    label.split('-').any(|part| {
        let mut counts: BTreeMap<u8, f64> = BTreeMap::new();
        part.bytes().for_each(|byte| *counts.entry(byte).or_default() += 1.0);
        let length: f64 = counts.values().sum();
        let bits: f64 = counts.values().map(|count| -(count / length) * (count / length).log2()).sum();
        part.len() >= MIN_RANDOM && part.bytes().any(|byte| byte.is_ascii_digit()) && bits >= RANDOM_BITS
    })
}

impl SuggestedHost {
    fn new(host: &Fqdn, requests: &Requests) -> Self {
        Self { host: host.to_string(), seen: requests.text() }
    }
}

/// A policy file that loads once its empty fields are filled in.
impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# From what report mode observed: {}.", self.window.text())?;
        writeln!(
            f,
            "# Put it beside the other files of the policy, which has the sources. It does not load before somebody has filled in each"
        )?;
        writeln!(
            f,
            "# `customer`, `owner`, `purpose`, `ticket` and `review_by`, and has thrown away what nobody answers for."
        )?;
        for (rule, count) in &self.timed {
            writeln!(f, "# No rule for {count} requests that `{rule}` has, but for its hours or its last day.")?;
        }
        for (count, what) in [(self.nameless, "names were redacted"), (self.others, "names found no place here")] {
            if count > 0 {
                writeln!(f, "# No rule for {count} requests whose {what}.")?;
            }
        }
        for SuggestedHost { host, seen } in &self.doubtful {
            writeln!(f, "# No rule for {host}, which may carry data out by its name: {seen}.")?;
        }
        writeln!(f, "version: 1")?;
        if !self.rules.is_empty() {
            writeln!(f, "rules:")?;
        }
        self.rules.iter().try_for_each(|rule| write!(f, "{rule}"))
    }
}

impl fmt::Display for Suggested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, domain, hosts_of_domain, sources, hosts, ports, min_version, alpn } = self;
        if *hosts_of_domain > MANY_HOSTS {
            writeln!(
                f,
                "  # {hosts_of_domain} names of {domain} were asked for; a wildcard would let through every other one too."
            )?;
        }
        writeln!(f, "  - id: {id}")?;
        writeln!(f, "    customer:        # whom {domain} belongs to")?;
        writeln!(f, "    sources: [{}]", sources.join(", "))?;
        writeln!(f, "    hosts:")?;
        for SuggestedHost { host, seen } in hosts {
            writeln!(f, "      - {host}   # {seen}")?;
        }
        let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
        writeln!(f, "    ports: [{}]", ports.join(", "))?;
        let mut terms = Vec::new();
        terms.extend(min_version.map(|version| format!("min_version: \"{version}\"")));
        if !alpn.is_empty() {
            let mut list = String::new();
            alpn.iter()
                .enumerate()
                .try_for_each(|(place, id)| write!(list, "{}{id}", if place == 0 { "" } else { ", " }))?;
            terms.push(format!("alpn: [{list}]"));
        }
        if !terms.is_empty() {
            writeln!(f, "    tls: {{{}}}   # what servers chose and clients offered", terms.join(", "))?;
        }
        writeln!(f, "    owner:           # who answers for it")?;
        writeln!(f, "    purpose:         # the business need")?;
        writeln!(f, "    ticket:          # the change that brings it")?;
        writeln!(f, "    review_by:       # YYYY-MM-DD")
    }
}

#[cfg(test)]
mod tests {
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
        let filled = text[at..].replace("customer: ", "customer: c ").replace("review_by: ", "review_by: 1970-02-01 ");
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
        let body = &written[written.find("\nrules:").unwrap() + 1..];
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
            written
                .contains("  # 21 names of a.test were asked for; a wildcard would let through every other one too."),
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
        assert_eq!(suggested(&[base.clone()]).rules.len(), 0);
        assert_eq!(suggested(&[base.clone(), base]).rules.len(), 1);
    }

    #[test]
    fn names_beyond_the_bound_are_counted() {
        let mut observed = Observed::default();
        give(&records()[..1], |found| observed.add(found));
        let (place, requests) = observed.places.pop_first().unwrap();
        for number in 0..100_003 {
            let mut more = Observed::default();
            more.places.insert(
                Place { host: format!("h{number}.a.test").parse().unwrap(), ..place.clone() },
                requests.clone(),
            );
            observed.merge(more);
        }
        assert_eq!((observed.places.len(), observed.others), (100_000, 3));
        assert!(
            Suggestion::new(observed).to_string().contains("# No rule for 3 requests whose names found no place here.")
        );
    }
}
