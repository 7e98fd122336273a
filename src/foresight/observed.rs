//! What report mode let through, by source, name and port. One of these a thread.
//! Not here: the rules that follow from it (`suggest`), reading the log (`runtime::archive`). Source: the contract's "Report mode".

use std::collections::{BTreeMap, BTreeSet};

use super::seen::Seen;
use super::window::Window;
use crate::decision_log::Found;
use crate::decision_log::sealed::RecordTime;
use crate::name::Fqdn;
use crate::policy::{Outcome, Reason};
use crate::tls::ProtocolVersion;

/// Sources, names and ports that are told apart: some 40 MiB. Clients choose the names; requests for more are counted.
const MAX_OBSERVED: usize = 100_000;

/// What was observed.
#[derive(Debug, Default)]
pub struct Observed {
    pub(super) window: Window,
    pub(super) places: BTreeMap<Place, Requests>,
    /// Rule → how many requests it would have refused for the time alone.
    pub(super) timed: BTreeMap<Box<str>, u64>,
    /// Requests whose names were redacted, or are none.
    pub(super) nameless: u64,
    /// Requests that found no place.
    pub(super) others: u64,
}

/// Where requests went, and whose they were.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) host: Fqdn,
    pub(super) source: Box<str>,
    pub(super) port: u16,
}

/// Requests that went to one place.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    pub(super) count: u64,
    pub(super) first: Option<RecordTime>,
    pub(super) last: Option<RecordTime>,
    pub(super) alpn: BTreeSet<String>,
    /// The lowest version that a server chose.
    pub(super) version: Option<ProtocolVersion>,
}

impl Observed {
    /// Adds a decision of report mode, or the end of a tunnel that it let through.
    pub fn add(&mut self, found: Found<'_>) {
        let seen = Seen::of(found);
        if seen.outcome != Some(Outcome::Observe) {
            return;
        }
        let is_decision = seen.kind == "decision";
        if is_decision {
            self.window.add(seen.time);
        }
        let reason = seen.reason.and_then(|reason| reason.parse().ok());
        let is_timed = matches!(reason, Some(Reason::RuleExpired | Reason::OutsideHours));
        if let Some(rule) = seen.rule.filter(|_| is_decision && is_timed) {
            let count = self.timed.entry(rule.into()).or_default();
            *count = count.saturating_add(1);
            return;
        }
        let host = seen.host.filter(|_| !seen.is_redacted("host")).and_then(|host| host.parse().ok());
        let Some(((host, source), port)) = host.zip(seen.source).zip(seen.port) else {
            self.nameless = self.nameless.saturating_add(u64::from(is_decision));
            return;
        };
        let place = Place { host, source: source.into(), port };
        self.requests(place, Requests::of(&seen, is_decision));
    }

    /// Adds what another thread has.
    pub fn merge(&mut self, other: Self) {
        self.window.merge(&other.window);
        self.nameless = self.nameless.saturating_add(other.nameless);
        self.others = self.others.saturating_add(other.others);
        for (rule, more) in other.timed {
            let count = self.timed.entry(rule).or_default();
            *count = count.saturating_add(more);
        }
        other.places.into_iter().for_each(|(place, requests)| self.requests(place, requests));
    }

    fn requests(&mut self, place: Place, requests: Requests) {
        if let Some(known) = self.places.get_mut(&place) {
            known.merge(requests);
        } else if self.places.len() < MAX_OBSERVED {
            self.places.insert(place, requests);
        } else {
            self.others = self.others.saturating_add(requests.count);
        }
    }
}

impl Requests {
    fn of(seen: &Seen<'_>, is_decision: bool) -> Self {
        let time = Some(seen.time).filter(|_| is_decision);
        Self {
            count: u64::from(is_decision),
            first: time,
            last: time,
            alpn: if seen.is_redacted("alpn") { BTreeSet::new() } else { seen.alpn().into_iter().collect() },
            version: seen.tls_version().and_then(ProtocolVersion::of_tls),
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.first = self.first.into_iter().chain(other.first).min();
        self.last = self.last.into_iter().chain(other.last).max();
        self.alpn.extend(other.alpn);
        self.version = self.version.into_iter().chain(other.version).min();
    }

    /// For people, behind what they were for.
    pub(super) fn text(&self) -> String {
        let time = |time: Option<RecordTime>| time.map(|time| time.to_string()).unwrap_or_default();
        let plural = if self.count == 1 { "" } else { "s" };
        format!("{} request{plural}, first {}, last {}", self.count, time(self.first), time(self.last))
    }
}
