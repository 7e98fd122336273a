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
#[path = "suggest_tests.rs"]
mod tests;
