//! What rules and sources with limits have used up: tunnels, requests, bytes of the day. A count lives as long as the process, whatever
//! policies come and go: a reload gives nothing back. Workers take no lock; a place is given back when it is dropped.
//! Not here: the limits (`policy::Limits`), connections (`gate`), what survives a restart (`budgets`).
//! Source: the contract's "Limits"; for rates the generic cell rate algorithm (ITU-T I.371, annex A).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::policy::{Limits, Policy, Reason, Rule, Source};
use crate::runtime::tunnel::Deadlines;
use crate::yaml::Rate;

/// The counts of all rules and sources that have limits.
pub struct Quotas {
    rules: ArcSwap<ByName>,
    sources: ArcSwap<ByName>,
    /// What rates are counted from.
    began: Instant,
}

type ByName = HashMap<Arc<str>, Arc<Quota>>;

/// Bytes that have gone out today, by what counts them; what has sent none is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// By the rule's id.
    pub rules: BTreeMap<String, u64>,
    /// By the source's name.
    pub sources: BTreeMap<String, u64>,
}

/// A limit, and how much of it is used up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LimitRow {
    /// `rule` or `source`.
    pub of: &'static str,
    /// The rule's id or the source's name.
    pub name: Arc<str>,
    /// `bytes_out` (of today) or `tunnels` (of this moment).
    pub limit: &'static str,
    /// The limit.
    pub most: u64,
    /// What is used.
    pub used: u64,
}

/// The counts of one rule or one source, and its limits under the policy in force.
#[derive(Default)]
struct Quota {
    limits: ArcSwap<Limits>,
    tunnels: AtomicUsize,
    /// When the next request comes at the full rate, in nanoseconds since `began`: the theoretical arrival time.
    due: AtomicU64,
    bytes_out: AtomicU64,
}

/// A request's or tunnel's places, in the quota of its source and in that of its rule, as far as these have limits.
#[derive(Default)]
pub struct Places {
    source: Option<Place>,
    rule: Option<Place>,
}

/// One place in a quota.
struct Place(Arc<Quota>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.tunnels.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for Quotas {
    fn default() -> Self {
        Self { rules: ArcSwap::default(), sources: ArcSwap::default(), began: Instant::now() }
    }
}

impl Quotas {
    /// Puts the limits of a policy in force. What has none any more is kept while it counts anything: it may come back.
    pub fn serve(&self, policy: &Policy) {
        let rules = policy.rules().map(|rule| (&rule.id, &rule.limits));
        self.rules.store(Arc::new(renewed(&self.rules.load(), rules)));
        let sources = policy.sources().iter().map(|source| (&source.name, &source.limits));
        self.sources.store(Arc::new(renewed(&self.sources.load(), sources)));
    }

    /// Places for a request that `rule` lets `source` make.
    ///
    /// # Errors
    /// `tunnel_limit`, `rate_limited` or `byte_budget_spent`. What runs into a limit of its source takes nothing of the rule's, which others
    /// share.
    pub fn enter(&self, rule: &Rule, source: &Source) -> Result<Places, Reason> {
        if rule.limits.is_empty() && source.limits.is_empty() {
            return Ok(Places::default());
        }
        let within =
            |quota: Option<Arc<Quota>>| quota.map(|quota| quota.enter().ok_or(Reason::TunnelLimit)).transpose();
        let places = Places { source: within(self.of_source(source))?, rule: within(self.of_rule(rule))? };
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if !places.quotas().all(|quota| quota.may_pass(now)) {
            return Err(Reason::RateLimited);
        }
        if places.quotas().any(Quota::is_spent) {
            return Err(Reason::ByteBudgetSpent);
        }
        Ok(places)
    }

    /// Places for a tunnel that is open already, whatever the limits say: a reload counts it where it belongs now.
    pub fn places(&self, rule: &Rule, source: &Source) -> Places {
        let place = |quota: Arc<Quota>| {
            quota.tunnels.fetch_add(1, Ordering::Relaxed);
            Place(quota)
        };
        Places { source: self.of_source(source).map(place), rule: self.of_rule(rule).map(place) }
    }

    /// What has gone out today.
    pub fn spent(&self) -> Spent {
        let told = |quotas: &ArcSwap<ByName>| {
            let quotas = quotas.load();
            let counts = quotas.iter().map(|(name, quota)| (name.to_string(), quota.bytes_out.load(Ordering::Relaxed)));
            counts.filter(|(_, bytes)| *bytes > 0).collect()
        };
        Spent { rules: told(&self.rules), sources: told(&self.sources) }
    }

    /// Takes over what has gone out today already, before any policy is served.
    pub fn restore(&self, spent: &Spent) {
        let counted = |spent: &BTreeMap<String, u64>| {
            let quota = |bytes: u64| Arc::new(Quota { bytes_out: bytes.into(), ..Quota::default() });
            Arc::new(spent.iter().map(|(name, bytes)| (Arc::from(name.as_str()), quota(*bytes))).collect::<ByName>())
        };
        self.rules.store(counted(&spent.rules));
        self.sources.store(counted(&spent.sources));
    }

    /// A new day: no bytes have gone out yet.
    pub fn begin_day(&self) {
        for quotas in [&self.rules, &self.sources] {
            quotas.load().values().for_each(|quota| quota.bytes_out.store(0, Ordering::Relaxed));
        }
    }

    /// The limits that have a number to compare with, as they stand now.
    pub fn rows(&self) -> Vec<LimitRow> {
        let mut rows = Vec::new();
        for (of, quotas) in [("rule", &self.rules), ("source", &self.sources)] {
            for (name, quota) in &**quotas.load() {
                let limits = quota.limits.load();
                let mut add = |limit, most, used| rows.push(LimitRow { of, name: Arc::clone(name), limit, most, used });
                if let Some(most) = limits.bytes_out {
                    add("bytes_out", most, quota.bytes_out.load(Ordering::Relaxed));
                }
                if let Some(most) = limits.tunnels {
                    add("tunnels", most.into(), quota.tunnels.load(Ordering::Relaxed) as u64);
                }
            }
        }
        rows
    }

    fn of_rule(&self, rule: &Rule) -> Option<Arc<Quota>> {
        if rule.limits.is_empty() { None } else { self.rules.load().get(&rule.id).cloned() }
    }

    fn of_source(&self, source: &Source) -> Option<Arc<Quota>> {
        if source.limits.is_empty() { None } else { self.sources.load().get(&source.name).cloned() }
    }
}

/// The quotas of all that has limits now, and of what is still counted.
fn renewed<'a>(before: &ByName, limited: impl Iterator<Item = (&'a Arc<str>, &'a Limits)>) -> ByName {
    let mut after = ByName::new();
    for (name, limits) in limited.filter(|(_, limits)| !limits.is_empty()) {
        let quota = before.get(name).cloned().unwrap_or_default();
        quota.limits.store(Arc::new(*limits));
        after.insert(Arc::clone(name), quota);
    }
    for (name, quota) in before.iter().filter(|(_, quota)| quota.is_counting()) {
        after.entry(Arc::clone(name)).or_insert_with(|| {
            quota.limits.store(Arc::default());
            Arc::clone(quota)
        });
    }
    after
}

impl Quota {
    fn is_counting(&self) -> bool {
        self.tunnels.load(Ordering::Relaxed) > 0 || self.bytes_out.load(Ordering::Relaxed) > 0
    }

    /// A place, if there is one.
    fn enter(self: Arc<Self>) -> Option<Place> {
        let most = self.limits.load().tunnels.map_or(usize::MAX, |most| most as usize);
        let more = |tunnels: usize| tunnels.checked_add(1).filter(|tunnels| *tunnels <= most);
        let entered = self.tunnels.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        entered.then(|| Place(self))
    }

    /// Whether a request at `now` is within the rate; if so it is counted.
    fn may_pass(&self, now: u64) -> bool {
        let Some(Rate { count, period }) = self.limits.load().rate else { return true };
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let interval = nanos(period.checked_div(count).unwrap_or(period));
        let tolerance = nanos(BURST).saturating_sub(interval);
        let next = |due: u64| {
            let due = due.max(now);
            (due.saturating_sub(now) <= tolerance).then(|| due.saturating_add(interval))
        };
        self.due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    fn is_spent(&self) -> bool {
        self.limits.load().bytes_out.is_some_and(|most| self.bytes_out.load(Ordering::Relaxed) >= most)
    }

    /// Up to `most` bytes of what is left of the day's; they count as gone.
    fn reserve(&self, most: usize) -> usize {
        let Some(limit) = self.limits.load().bytes_out else { return most };
        let mut granted = 0;
        let more = |gone: u64| {
            granted = limit.saturating_sub(gone).min(most as u64);
            Some(gone.saturating_add(granted))
        };
        // Always `Ok`: `more` never refuses.
        let _ = self.bytes_out.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        usize::try_from(granted).unwrap_or(most)
    }

    /// Takes back what was reserved and has not gone. A day may have begun between.
    fn give_back(&self, bytes: usize) {
        if self.limits.load().bytes_out.is_some() {
            let less = |gone: u64| Some(gone.saturating_sub(bytes as u64));
            // Always `Ok`, as above.
            let _ = self.bytes_out.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }
}

/// How much of a rate may come at once: a second's worth, and at least one request.
const BURST: Duration = Duration::from_secs(1);

impl Places {
    /// The source's first: see [`Quotas::enter`].
    fn quotas(&self) -> impl Iterator<Item = &Quota> {
        self.source.iter().chain(&self.rule).map(|place| &*place.0)
    }

    /// How many of `most` bytes may go out; they count as gone. None: a budget is spent.
    pub fn reserve(&self, most: usize) -> usize {
        let (source, rule) = (self.source.as_ref(), self.rule.as_ref());
        let of_source = source.map_or(most, |place| place.0.reserve(most));
        let granted = rule.map_or(of_source, |place| place.0.reserve(of_source));
        if let Some(place) = source {
            place.0.give_back(of_source.saturating_sub(granted));
        }
        granted
    }

    /// Takes back what was reserved and has not gone.
    pub fn give_back(&self, bytes: usize) {
        if bytes > 0 {
            self.quotas().for_each(|quota| quota.give_back(bytes));
        }
    }

    /// The instance's deadlines, or shorter ones of source and rule.
    pub fn deadlines(&self, instance: Deadlines) -> Deadlines {
        self.quotas().fold(instance, |Deadlines { idle, lifetime }, quota| {
            let limits = quota.limits.load();
            Deadlines {
                idle: limits.idle_timeout.map_or(idle, |own| own.min(idle)),
                lifetime: limits.lifetime.map_or(lifetime, |own| own.min(lifetime)),
            }
        })
    }
}

#[cfg(test)]
#[path = "quota_tests.rs"]
mod tests;
