//! Recorded decisions judged again by another policy, and those that would change, in groups. One of these a thread; together they are one.
//! Not here: the judgement (`judge`), reading the log (`runtime::archive`), printing (`cli`). Rates, budgets, connection limits,
//! emergency blocks, the log's and lookups' failures depend on what else went on: such records are counted apart.
//! Source: the contract's `policy replay`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::judge::{Judged, Missing, Reached, Recorded, Ruled, origin};
use super::replay_report::{Change, Kind, ReplayReport, Side};
use super::seen::Seen;
use crate::decision_log::Found;
use crate::policy::{Decided, Outcome, Policy, Reason};
use crate::tls::ProtocolVersion;

/// Requests that a thread remembers with what came of them, so that alike ones are judged once: some 40 MiB. More are judged each time.
const MAX_REMEMBERED: usize = 131_072;

/// Bytes of a day at the beginning of a time: `2026-03-01`.
const DAY: usize = 10;

/// What is counted in place of a reason where an emergency block refused: no policy has blocks, and nobody knows which hold by then.
const EMERGENCY_BLOCK: &str = "emergency_block";

/// Changes that are told apart by source, target, before and after: some 40 MiB. Records of more are counted.
const MAX_CHANGES: usize = 65_536;

/// Decisions judged so far.
#[derive(Debug)]
pub struct Replay {
    policy: Arc<Policy>,
    /// The rules that hold at some hours alone.
    by_hours: HashSet<Arc<str>>,
    remembered: HashMap<Box<[u8]>, Judged>,
    /// Kept to be used again.
    key: Vec<u8>,
    changes: HashMap<ChangeKey, Times>,
    told: ReplayReport,
}

/// What a record's decision would change from and to.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct ChangeKey {
    source: Option<Box<str>>,
    target: Box<str>,
    before: Ruled,
    after: Ruled,
}

/// How often, and when.
#[derive(Debug)]
struct Times {
    count: u64,
    first: (u64, String),
    last: (u64, String),
    id: String,
}

impl Replay {
    /// Nothing judged yet.
    pub fn new(policy: &Arc<Policy>) -> Self {
        Self {
            policy: Arc::clone(policy),
            by_hours: policy.rules().filter(|rule| rule.hours.is_some()).map(|rule| Arc::clone(&rule.id)).collect(),
            remembered: HashMap::new(),
            key: Vec::new(),
            changes: HashMap::new(),
            told: ReplayReport { policy: Arc::clone(policy.hash()), ..ReplayReport::default() },
        }
    }

    /// The kinds of records that are to be added. Ends of tunnels say which version the server chose, which only rules for TLS 1.3 ask for.
    pub fn kinds(policy: &Policy) -> Vec<String> {
        let strict = policy.rules().any(|rule| rule.tls.min_version > ProtocolVersion::Tls12);
        let kinds: &[&str] = if strict { &["decision", "summary", "close"] } else { &["decision", "summary"] };
        kinds.iter().map(|kind| (*kind).to_owned()).collect()
    }

    /// Judges one more record.
    pub fn add(&mut self, found: Found<'_>) {
        let seen = Seen::of(found);
        self.told.window.add(seen.time);
        match seen.kind {
            "decision" => self.decision(&seen),
            "summary" => self.summary(&seen),
            _ => self.close(&seen),
        }
    }

    /// Adds what another thread has judged.
    pub fn merge(&mut self, other: Self) {
        let (told, more) = (&mut self.told, other.told);
        told.window.merge(&more.window);
        let pairs = [
            (&mut told.decisions, more.decisions),
            (&mut told.same_policy, more.same_policy),
            (&mut told.unchanged, more.unchanged),
            (&mut told.refused, more.refused),
            (&mut told.let_through, more.let_through),
            (&mut told.otherwise, more.otherwise),
            (&mut told.tunnels, more.tunnels),
            (&mut told.others, more.others),
        ];
        pairs.into_iter().for_each(|(sum, more)| *sum = sum.saturating_add(more));
        more.unjudged.into_iter().for_each(|(what, count)| count_in(&mut told.unjudged, what, count));
        more.not_replayed.into_iter().for_each(|(what, count)| count_in(&mut told.not_replayed, what, count));
        for (key, times) in other.changes {
            self.change(key, times);
        }
    }

    /// What came of all, the most frequent change of each kind first.
    pub fn finish(self) -> ReplayReport {
        let mut told = self.told;
        let mut changes: Vec<_> =
            self.changes.into_iter().map(|(key, times)| (kind(&key.before, &key.after), key, times)).collect();
        changes.sort_by(|(kind, key, times), (other_kind, other_key, other)| {
            (kind, other.count, key).cmp(&(other_kind, times.count, other_key))
        });
        told.changes = changes.into_iter().map(|(change, key, times)| Change::new(change, key, times)).collect();
        told
    }

    fn decision(&mut self, seen: &Seen<'_>) {
        self.told.decisions = self.told.decisions.saturating_add(1);
        if seen.policy() == Some(&**self.policy.hash()) {
            self.told.same_policy = self.told.same_policy.saturating_add(1);
            return;
        }
        let recorded = seen.outcome.zip(seen.reason.and_then(|word| word.parse::<Reason>().ok()));
        let Some((outcome, reason)) = recorded else {
            return count_in(&mut self.told.unjudged, Missing::Request.as_str(), 1);
        };
        if seen.is_blocked() {
            return count_in(&mut self.told.not_replayed, EMERGENCY_BLOCK, 1);
        }
        // What report mode let through is on record by the reason that it has otherwise.
        if Reached::by(reason) == Reached::Elsewhere {
            return count_in(&mut self.told.not_replayed, reason.as_str(), 1);
        }
        let before = Ruled { outcome, reason, rule: seen.rule.map(Arc::from), open: None };
        match self.judge(seen, reason) {
            Judged::Unjudged(missing) => count_in(&mut self.told.unjudged, missing.as_str(), 1),
            Judged::Ruled(after) if after == before => self.told.unchanged = self.told.unchanged.saturating_add(1),
            Judged::Ruled(after) => {
                let sum = match kind(&before, &after) {
                    Kind::Refused => &mut self.told.refused,
                    Kind::LetThrough => &mut self.told.let_through,
                    Kind::Otherwise => &mut self.told.otherwise,
                };
                *sum = sum.saturating_add(1);
                self.changed(seen, before, after);
            }
        }
    }

    /// Many refusals of one source and reason: nobody knows where to.
    fn summary(&mut self, seen: &Seen<'_>) {
        let count = seen.count();
        self.told.decisions = self.told.decisions.saturating_add(count);
        if seen.policy() == Some(&**self.policy.hash()) {
            self.told.same_policy = self.told.same_policy.saturating_add(count);
            return;
        }
        match seen.reason.and_then(|word| word.parse::<Reason>().ok()) {
            Some(reason) if Reached::by(reason) == Reached::Elsewhere => {
                count_in(&mut self.told.not_replayed, reason.as_str(), count);
            }
            Some(_) | None => count_in(&mut self.told.unjudged, Missing::Request.as_str(), count),
        }
    }

    /// The end of a tunnel: only what the server chose is new in it.
    fn close(&mut self, seen: &Seen<'_>) {
        let was_allowed = seen.outcome == Some(Outcome::Allow) && seen.tls_version().is_some();
        if !was_allowed || seen.policy() == Some(&**self.policy.hash()) {
            return;
        }
        let reason = seen.reason.and_then(|word| word.parse().ok()).unwrap_or(Decided::ALLOWED.reason);
        match self.judge(seen, Decided::ALLOWED.reason) {
            Judged::Ruled(after) if after.reason == Reason::ServerTlsVersionTooLow && after.reason != reason => {
                self.told.tunnels = self.told.tunnels.saturating_add(1);
                let before = Ruled { outcome: Outcome::Allow, reason, rule: seen.rule.map(Arc::from), open: None };
                self.changed(seen, before, after);
            }
            Judged::Ruled(_) | Judged::Unjudged(_) => {}
        }
    }

    /// By what is remembered of a request that is the same in all that counts, or anew.
    fn judge(&mut self, seen: &Seen<'_>, reason: Reason) -> Judged {
        self.set_key(seen, reason);
        if let Some(known) = self.remembered.get(self.key.as_slice()) {
            return known.clone();
        }
        let judged = Recorded { seen, reason }.judge(&self.policy);
        if self.remembered.len() < MAX_REMEMBERED && !self.depends_on_hours(seen, &judged) {
            self.remembered.insert(self.key.as_slice().into(), judged.clone());
        }
        judged
    }

    /// All that a judgement depends on but the hour. Of the client's address that is the sources that it may be of; of the time the day
    /// (UTC), by which last days and report mode end.
    fn set_key(&mut self, seen: &Seen<'_>, reason: Reason) {
        let Self { key, policy, .. } = self;
        key.clear();
        // No text has this byte.
        let mut push = |text: &str| {
            key.extend_from_slice(text.as_bytes());
            key.push(0xff);
        };
        policy.candidates(origin(seen)).for_each(|source| push(&source.name));
        push("");
        push(reason.as_str());
        push(seen.time.as_str().get(..DAY).unwrap_or_default());
        let texts =
            [seen.environment(), seen.client_identity(), seen.method(), seen.host, seen.sni(), seen.tls_version()];
        texts.into_iter().for_each(|text| push(text.map_or("\0", |text| text)));
        seen.lists().into_iter().for_each(&mut push);
        let original = seen.original_ip().map(|address| address.to_string());
        push(original.as_deref().unwrap_or_default());
        let [high, low] = seen.port.unwrap_or_default().to_be_bytes();
        key.extend([high, low, seen.ech.map_or(2, u8::from)]);
    }

    /// Whether the hour of its day may count: its rule has hours. Which rule it has is not known of what is unjudged, and of what was captured
    /// two count.
    fn depends_on_hours(&self, seen: &Seen<'_>, judged: &Judged) -> bool {
        let has_hours = match judged {
            Judged::Ruled(ruled) => ruled.rule.as_ref().is_some_and(|rule| self.by_hours.contains(rule)),
            Judged::Unjudged(_) => true,
        };
        !self.by_hours.is_empty() && (has_hours || seen.original_ip().is_some())
    }

    fn changed(&mut self, seen: &Seen<'_>, before: Ruled, after: Ruled) {
        let port = seen.port.map(|port| format!(":{port}")).unwrap_or_default();
        let target = match seen.host {
            Some(host) if host.contains(':') => format!("[{host}]{port}"),
            host => format!("{}{port}", host.unwrap_or("-")),
        };
        let key = ChangeKey { source: seen.source.map(Box::from), target: target.into(), before, after };
        let at = (seen.seq, seen.time.to_string());
        self.change(key, Times { count: 1, first: at.clone(), last: at, id: seen.id.to_owned() });
    }

    fn change(&mut self, key: ChangeKey, times: Times) {
        if let Some(known) = self.changes.get_mut(&key) {
            known.merge(times);
        } else if self.changes.len() < MAX_CHANGES {
            self.changes.insert(key, times);
        } else {
            self.told.others = self.told.others.saturating_add(times.count);
        }
    }
}

impl Times {
    fn merge(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        if other.first < self.first {
            (self.first, self.id) = (other.first, other.id);
        }
        if other.last > self.last {
            self.last = other.last;
        }
    }
}

impl Change {
    fn new(change: Kind, key: ChangeKey, times: Times) -> Self {
        Self {
            change,
            source: key.source,
            target: key.target,
            before: Side::new(key.before),
            after: Side::new(key.after),
            count: times.count,
            first: times.first.1,
            last: times.last.1,
            id: times.id,
        }
    }
}

fn kind(before: &Ruled, after: &Ruled) -> Kind {
    let passes = |ruled: &Ruled| matches!(ruled.outcome, Outcome::Allow | Outcome::Observe);
    match (passes(before), passes(after)) {
        (true, false) => Kind::Refused,
        (false, true) => Kind::LetThrough,
        (true, true) | (false, false) => Kind::Otherwise,
    }
}

fn count_in(counts: &mut BTreeMap<&'static str, u64>, what: &'static str, more: u64) {
    let count = counts.entry(what).or_default();
    *count = count.saturating_add(more);
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "replay_laws.rs"]
mod laws;
