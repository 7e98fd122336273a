//! Rules that nobody uses, and what of used ones goes beyond their use: what a review of rules asks.
//! Not here: gathering the use (`usage`), printing (`cli`). A rule that is younger than the log's window is not called unused.
//! Source: the contract's `policy stale`; PCI DSS 1.2.7 (review every six months), 1.2.5 (business need of each), 7.2.4.

use std::collections::HashMap;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Serialize, Serializer};

use super::usage::{Counts, Few, Usage, Used, size};
use super::window::Window;
use crate::address;
use crate::decision_log::sealed::RecordTime;
use crate::name::HostPattern;
use crate::policy::{Grant, Reach, Rule};

/// What was found of a policy. Field names are what programs rely on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Staleness {
    /// The policy.
    pub policy: Arc<str>,
    /// The records that were read.
    #[serde(flatten)]
    pub window: Window,
    /// From when on use counts: what was asked for, or the log's begin if that is later.
    pub since: RecordTime,
    /// The time of the log's first record.
    pub log_begins: RecordTime,
    /// Since when this policy is known to be in force; absent: it never was, in this log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_force_since: Option<RecordTime>,
    /// What is to be looked at.
    pub findings: Vec<Finding>,
    /// Rules that nothing used, and that may be younger than the window.
    pub young: Vec<Arc<str>>,
    /// Every rule with its use in that time.
    pub rules: Vec<RuleUse>,
}

/// A rule's use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleUse {
    /// Its id.
    pub rule: Arc<str>,
    /// Its customer.
    pub customer: Arc<str>,
    /// Its decisions.
    #[serde(flatten)]
    pub counts: Counts,
    /// How many names or addresses were reached by it; at least so many, if that is 1,024 or more.
    pub hosts: usize,
}

/// Something to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What sort.
    pub finding: Sort,
    /// The rule that it is about, or
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Arc<str>>,
    /// the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Arc<str>>,
    /// What of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// What it was used for instead; all of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub used: Vec<String>,
    /// Of an unused rule, its decisions before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Counts>,
}

/// What sort of finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "`as_str` has the words for each")]
pub enum Sort {
    Expired,
    ReviewOverdue,
    Unused,
    WildcardUnused,
    WildcardFew,
    HostUnused,
    NetworkUnused,
    NetworkWide,
    AddressesUnused,
    AddressesWide,
    PortUnused,
    SourceUnused,
    AlpnUnused,
    IdentityUnused,
    WideUnneeded,
    PublicSuffixUnneeded,
}

impl Sort {
    /// Its word, as programs read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::ReviewOverdue => "review_overdue",
            Self::Unused => "unused",
            Self::WildcardUnused => "wildcard_unused",
            Self::WildcardFew => "wildcard_few",
            Self::HostUnused => "host_unused",
            Self::NetworkUnused => "network_unused",
            Self::NetworkWide => "network_wide",
            Self::AddressesUnused => "addresses_unused",
            Self::AddressesWide => "addresses_wide",
            Self::PortUnused => "port_unused",
            Self::SourceUnused => "source_unused",
            Self::AlpnUnused => "alpn_unused",
            Self::IdentityUnused => "identity_unused",
            Self::WideUnneeded => "wide_unneeded",
            Self::PublicSuffixUnneeded => "public_suffix_unneeded",
        }
    }
}

impl Serialize for Sort {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The times that use is held against.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Now.
    pub now: Timestamp,
    /// What was asked for; `None`: all of the log.
    pub since: Option<Timestamp>,
    /// The time of the log's first record.
    pub log_begins: RecordTime,
}

impl Staleness {
    /// What the use since then shows; `before`: the use before that of what was not used since.
    pub fn new(usage: &Usage, before: &Usage, times: Times) -> Self {
        let since = times.since.map(RecordTime::at_or_after).into_iter().chain([times.log_begins]).max();
        let since = since.unwrap_or(times.log_begins);
        let in_force = usage.in_force.into_iter().chain(before.in_force).min();
        let other = usage.other.into_iter().chain(before.other).min();
        // The first that the log knows may be older than the log.
        let is_first = in_force.is_some() && other.is_none_or(|other| in_force.is_some_and(|first| first < other));
        let in_force_since = if is_first { Some(times.log_begins) } else { in_force };
        let mut told = Self {
            policy: Arc::clone(usage.policy().hash()),
            window: usage.window.clone(),
            since,
            log_begins: times.log_begins,
            in_force_since,
            findings: Vec::new(),
            young: Vec::new(),
            rules: Vec::new(),
        };
        let today = times.now.to_zoned(TimeZone::UTC).date();
        let earlier: HashMap<&str, &Used> = before.rules().map(|(grant, used)| (&*grant.rule().id, used)).collect();
        for (grant, used) in usage.rules() {
            let rule = grant.rule();
            told.dates(rule, today);
            let counts = used.counts.clone();
            let hosts = used.hosts.len();
            told.rules.push(RuleUse {
                rule: Arc::clone(&rule.id),
                customer: Arc::clone(&rule.customer),
                counts,
                hosts,
            });
            if used.counts.total() == 0 {
                told.unused(rule, earlier.get(&*rule.id).map(|used| &used.counts));
            } else if used.counts.allowed > 0 || used.counts.failed > 0 {
                told.reach(grant, used);
                told.terms(grant, used, usage);
            }
            told.flags(grant);
        }
        told.identities(usage);
        told.findings
            .sort_by(|one, two| (one.finding, &one.rule, &one.source).cmp(&(two.finding, &two.rule, &two.source)));
        told
    }

    fn dates(&mut self, rule: &Rule, today: Date) {
        for (sort, day) in [(Sort::Expired, rule.expires), (Sort::ReviewOverdue, rule.control.review_by)] {
            if let Some(day) = day.filter(|day| *day < today) {
                self.of_rule(sort, rule, Some(day.to_string()), Vec::new());
            }
        }
    }

    /// It must have been there at the window's begin: used before, or of a policy that was in force by then.
    fn unused(&mut self, rule: &Rule, before: Option<&Counts>) {
        let was_used = before.is_some_and(|counts| counts.total() > 0);
        let was_there = self.in_force_since.is_some_and(|time| time <= self.since);
        if !was_used && !was_there {
            return self.young.push(Arc::clone(&rule.id));
        }
        self.of_rule(Sort::Unused, rule, None, Vec::new());
        if let Some(last) = self.findings.last_mut() {
            last.before = before.filter(|_| was_used).cloned();
        }
    }

    fn reach(&mut self, grant: &Grant, used: &Used) {
        let rule = grant.rule();
        match grant.reach() {
            Reach::Hosts(patterns) => {
                for (place, pattern) in patterns.iter().enumerate() {
                    let is_exact = matches!(pattern, HostPattern::Exact(_));
                    let what = Some(pattern.to_string());
                    match (used.reached.get(&place), is_exact) {
                        (None, true) => self.of_rule(Sort::HostUnused, rule, what, Vec::new()),
                        (None, false) => self.of_rule(Sort::WildcardUnused, rule, what, Vec::new()),
                        (Some(few), false) if !few.is_many => self.of_rule(Sort::WildcardFew, rule, what, few.texts()),
                        (Some(_), _) => {}
                    }
                }
            }
            Reach::Networks(networks) => {
                for (place, network) in networks.iter().enumerate() {
                    self.prefix((Sort::NetworkUnused, Sort::NetworkWide), rule, network, used.reached.get(&place));
                }
            }
        }
        let prefixes = rule.addresses.iter().flatten().enumerate().filter(|_| used.has_answer);
        for (place, prefix) in prefixes {
            self.prefix((Sort::AddressesUnused, Sort::AddressesWide), rule, prefix, used.addresses.get(&place));
        }
    }

    fn prefix<T: Ord + ToString>(
        &mut self,
        (unused, wide): (Sort, Sort),
        rule: &Rule,
        prefix: &IpNet,
        few: Option<&Few<T>>,
    ) {
        let what = Some(prefix.to_string());
        match few {
            None => self.of_rule(unused, rule, what, Vec::new()),
            Some(few) if few.is_many => {}
            Some(few) if u128::try_from(few.values.len()).is_ok_and(|count| count < size(prefix)) => {
                self.of_rule(wide, rule, what, few.texts());
            }
            Some(_) => {}
        }
    }

    fn terms(&mut self, grant: &Grant, used: &Used, usage: &Usage) {
        let rule = grant.rule();
        for port in rule.ports.iter().filter(|port| !used.ports.contains(port)) {
            self.of_rule(Sort::PortUnused, rule, Some(port.to_string()), Vec::new());
        }
        let sources = usage.policy().sources_of(grant);
        for source in sources.filter(|source| !used.sources.contains(&*source.name)) {
            self.of_rule(Sort::SourceUnused, rule, Some(source.name.to_string()), Vec::new());
        }
        for id in rule.tls.alpn.iter().filter(|id| used.has_hello && !used.alpn.contains(&***id)) {
            self.of_rule(Sort::AlpnUnused, rule, Some(id.to_string()), Vec::new());
        }
    }

    /// What a rule owns up to without need.
    fn flags(&mut self, grant: &Grant) {
        let rule = grant.rule();
        let (patterns, networks): (&[HostPattern], &[IpNet]) = match grant.reach() {
            Reach::Hosts(patterns) => (patterns, &[]),
            Reach::Networks(networks) => (&[], networks),
        };
        let mut prefixes = networks.iter().chain(rule.addresses.iter().flatten());
        if rule.wide && !prefixes.any(address::is_wide) {
            self.of_rule(Sort::WideUnneeded, rule, None, Vec::new());
        }
        if rule.public_suffix && !patterns.iter().any(HostPattern::is_public_suffix_wide) {
            self.of_rule(Sort::PublicSuffixUnneeded, rule, None, Vec::new());
        }
    }

    /// Identities that nobody showed, of sources whose clients came.
    fn identities(&mut self, usage: &Usage) {
        for source in usage.policy().sources() {
            let Some(shown) = usage.identities.get(&source.name) else { continue };
            for (_, pattern) in source.identities.iter().enumerate().filter(|(place, _)| !shown.contains(place)) {
                self.findings.push(Finding {
                    finding: Sort::IdentityUnused,
                    rule: None,
                    source: Some(Arc::clone(&source.name)),
                    what: Some(pattern.to_string()),
                    used: Vec::new(),
                    before: None,
                });
            }
        }
    }

    fn of_rule(&mut self, finding: Sort, rule: &Rule, what: Option<String>, used: Vec<String>) {
        let rule = Some(Arc::clone(&rule.id));
        self.findings.push(Finding { finding, rule, source: None, what, used, before: None });
    }
}

impl<T: Ord + ToString> Few<T> {
    fn texts(&self) -> Vec<String> {
        self.values.iter().map(ToString::to_string).collect()
    }
}

#[cfg(test)]
#[path = "stale_tests.rs"]
mod tests;
