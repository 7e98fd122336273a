//! What rules and sources with limits have used up: tunnels, requests, bytes of the day. A count lives as long as the process, whatever
//! policies come and go: a reload gives nothing back. Workers take no lock; a place is given back when it is dropped.
//! Not here: the limits (`policy::Limits`), connections (`gate`), what survives a restart (`budgets`).
//! Source: the contract's "Limits"; for rates the generic cell rate algorithm (ITU-T I.371, annex A).

mod ledger;
mod spent;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use self::ledger::Ledger;
use crate::policy::{Limits, Policy, Reason, Rule, Source};
use crate::runtime::tunnel::Deadlines;
use crate::yaml::Rate;

pub use self::spent::Spent;

/// The counts of all rules and sources that have limits.
pub struct Quotas {
    rules: ArcSwap<ByName>,
    sources: ArcSwap<ByName>,
    /// What rates are counted from.
    began: Instant,
}

type ByName = HashMap<Arc<str>, Arc<Quota>>;

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

/// The counts of one rule or one source, and its limits: those of the policy in force, or of the last one that had it.
#[derive(Default)]
struct Quota {
    limits: ArcSwap<Limits>,
    tunnels: AtomicUsize,
    /// When the next request comes at the full rate, in nanoseconds since `began`: the theoretical arrival time.
    due: AtomicU64,
    bytes_out: Ledger,
    /// Whether the policy in force has no limits for it.
    retired: AtomicBool,
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
    /// Puts the limits of a policy in force. What a policy has no more is kept with its last limits while it counts anything: its tunnels
    /// may outlive it, requests that are being judged may still look for it, and it may come back.
    pub fn serve(&self, policy: &Policy) {
        let rules = policy.rules().map(|rule| (&rule.id, &rule.limits));
        self.rules.store(Arc::new(self.renewed(&self.rules.load(), rules)));
        let sources = policy.sources().iter().map(|source| (&source.name, &source.limits));
        self.sources.store(Arc::new(self.renewed(&self.sources.load(), sources)));
    }

    /// Places for a request that `rule` lets `source` make.
    ///
    /// # Errors
    /// `tunnel_limit`, `byte_budget_spent` or `rate_limited`. What is refused takes no part of any rate, which others share.
    pub fn enter(&self, rule: &Rule, source: &Source) -> Result<Places, Reason> {
        let enter = |quota: Option<Arc<Quota>>| quota.map(Quota::enter).transpose();
        let places = Places { source: enter(self.of_source(source))?, rule: enter(self.of_rule(rule))? };
        if places.quotas().next().is_some() {
            places.pass(self.now())?;
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
            let counts = quotas.iter().map(|(name, quota)| (name.to_string(), quota.bytes_out.gone()));
            counts.filter(|(_, bytes)| *bytes > 0).collect()
        };
        Spent { rules: told(&self.rules), sources: told(&self.sources) }
    }

    /// Counts what has gone out elsewhere: by another process of this instance. What has no limits here is not counted.
    pub fn add(&self, more: &Spent) {
        let add = |quotas: &ArcSwap<ByName>, more: &BTreeMap<String, u64>| {
            let quotas = quotas.load();
            for (name, bytes) in more {
                quotas.get(name.as_str()).into_iter().for_each(|quota| quota.bytes_out.add(*bytes));
            }
        };
        add(&self.rules, &more.rules);
        add(&self.sources, &more.sources);
    }

    /// Takes over what has gone out today already, before any policy is served.
    pub fn restore(&self, spent: &Spent) {
        let counted = |spent: &BTreeMap<String, u64>| {
            let quota = |bytes: u64| Arc::new(Quota { bytes_out: Ledger::new(bytes), ..Quota::default() });
            Arc::new(spent.iter().map(|(name, bytes)| (Arc::from(name.as_str()), quota(*bytes))).collect::<ByName>())
        };
        self.rules.store(counted(&spent.rules));
        self.sources.store(counted(&spent.sources));
    }

    /// Whether anything has a budget of bytes.
    pub fn has_budgets(&self) -> bool {
        let has =
            |quotas: &ArcSwap<ByName>| quotas.load().values().any(|quota| quota.limits.load().bytes_out.is_some());
        has(&self.rules) || has(&self.sources)
    }

    /// A new day: no bytes have gone out yet.
    pub fn begin_day(&self) {
        for quotas in [&self.rules, &self.sources] {
            quotas.load().values().for_each(|quota| quota.bytes_out.begin_day());
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
                    add("bytes_out", most, quota.bytes_out.gone());
                }
                if let Some(most) = limits.tunnels {
                    add("tunnels", most.into(), quota.tunnels.load(Ordering::Relaxed) as u64);
                }
            }
        }
        rows
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The quotas of all that has limits in a policy, and of what is still counted.
    fn renewed<'a>(&self, before: &ByName, named: impl Iterator<Item = (&'a Arc<str>, &'a Limits)>) -> ByName {
        let now = self.now();
        let (mut after, mut gone) = (ByName::new(), before.clone());
        for (name, limits) in named {
            let known = gone.remove(name);
            if !limits.is_empty() {
                known.iter().for_each(|quota| quota.adopt(*limits, now));
                let quota = known
                    .unwrap_or_else(|| Arc::new(Quota { limits: ArcSwap::from_pointee(*limits), ..Quota::default() }));
                after.insert(Arc::clone(name), quota);
            } else if let Some(quota) = known {
                // It bounds nothing any more, but goes on counting.
                quota.limits.store(Arc::default());
                if quota.retire(now) {
                    after.insert(Arc::clone(name), quota);
                }
            }
        }
        after.extend(gone.into_iter().filter(|(_, quota)| quota.retire(now)));
        after
    }

    fn of_rule(&self, rule: &Rule) -> Option<Arc<Quota>> {
        if rule.limits.is_empty() { None } else { self.rules.load().get(&rule.id).cloned() }
    }

    fn of_source(&self, source: &Source) -> Option<Arc<Quota>> {
        if source.limits.is_empty() { None } else { self.sources.load().get(&source.name).cloned() }
    }
}

impl Quota {
    /// Its limits from now on. A rate that changes begins with at most nothing left of it.
    fn adopt(&self, limits: Limits, now: u64) {
        self.retired.store(false, Ordering::Relaxed);
        let before = self.limits.swap(Arc::new(limits));
        if let Some(rate) = limits.rate.filter(|rate| before.rate != Some(*rate)) {
            let (interval, tolerance) = spacing(rate);
            self.due.fetch_min(now.saturating_add(interval).saturating_add(tolerance), Ordering::Relaxed);
        }
    }

    /// The policy to be in force has no limits for it. Whether it is still to be there: with the next policy, or as long as it counts.
    fn retire(&self, now: u64) -> bool {
        !self.retired.swap(true, Ordering::Relaxed) || self.is_counting(now)
    }

    fn is_counting(&self, now: u64) -> bool {
        let (tunnels, due) = (self.tunnels.load(Ordering::Relaxed), self.due.load(Ordering::Relaxed));
        tunnels > 0 || due > now || self.bytes_out.gone() > 0
    }

    /// A place, if the limits have one and the day's bytes are not spent.
    fn enter(self: Arc<Self>) -> Result<Place, Reason> {
        let most = self.limits.load().tunnels.map_or(usize::MAX, |most| most as usize);
        let more = |tunnels: usize| tunnels.checked_add(1).filter(|tunnels| *tunnels <= most);
        let entered = self.tunnels.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        if entered.is_err() {
            return Err(Reason::TunnelLimit);
        }
        let place = Place(self);
        if place.0.is_spent() { Err(Reason::ByteBudgetSpent) } else { Ok(place) }
    }

    /// Whether a request at `now` is within the rate; if so it is counted.
    fn may_pass(&self, now: u64) -> bool {
        let Some(rate) = self.limits.load().rate else { return true };
        let (interval, tolerance) = spacing(rate);
        let next = |due: u64| {
            let due = due.max(now);
            (due.saturating_sub(now) <= tolerance).then(|| due.saturating_add(interval))
        };
        self.due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    /// Takes back that a request has passed.
    fn not_passed(&self) {
        if let Some(rate) = self.limits.load().rate {
            let (interval, _) = spacing(rate);
            // Always `Ok`: the closure never refuses.
            let _ =
                self.due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| Some(due.saturating_sub(interval)));
        }
    }

    /// What may go out in a day; without a limit all of it, and it is counted for one that may come.
    fn budget(&self) -> u64 {
        self.limits.load().bytes_out.unwrap_or(u64::MAX)
    }

    /// What is left of the day's.
    fn left(&self) -> u64 {
        self.budget().saturating_sub(self.bytes_out.gone())
    }

    fn is_spent(&self) -> bool {
        self.left() == 0
    }
}

/// Nanoseconds between two requests at a rate, and how much earlier than that one may come.
fn spacing(Rate { count, period }: Rate) -> (u64, u64) {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let interval = nanos(period.checked_div(count).unwrap_or(period));
    (interval, nanos(BURST).saturating_sub(interval))
}

/// How much of a rate may come at once: a second's worth, and at least one request.
const BURST: Duration = Duration::from_secs(1);

/// Whether bytes may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spending {
    /// They may, and count as gone.
    Done,
    /// A budget has less left. What it had counts as gone, so that nobody tries for it again.
    Short,
    /// Others have reserved what is left, for a moment: try again.
    Busy,
}

impl Places {
    /// Counts a request at `now` in all rates, or in none.
    fn pass(&self, now: u64) -> Result<(), Reason> {
        for (index, quota) in self.quotas().enumerate() {
            if !quota.may_pass(now) {
                self.quotas().take(index).for_each(Quota::not_passed);
                return Err(Reason::RateLimited);
            }
        }
        Ok(())
    }

    fn quotas(&self) -> impl Iterator<Item = &Quota> {
        self.source.iter().chain(&self.rule).map(|place| &*place.0)
    }

    /// Moves at most `most` bytes by `step`, which tells how many came, as far as the budgets go. `None`: nothing is left, or others
    /// have reserved it for a moment; [`Places::is_spent`] tells which.
    pub fn within<T, E>(
        &self,
        most: usize,
        step: impl FnOnce(usize) -> Result<T, E>,
        came: impl FnOnce(&T) -> usize,
    ) -> Result<Option<T>, E> {
        let granted = self.reserve(most);
        if granted == 0 {
            return Ok(None);
        }
        let result = step(granted);
        self.settle(granted, result.as_ref().map_or(0, came));
        result.map(Some)
    }

    /// Counts exactly `bytes` as gone, if the budgets have them.
    pub fn spend(&self, bytes: usize) -> Spending {
        if let Some(short) = self.quotas().find(|quota| quota.left() < bytes as u64) {
            let rest = short.bytes_out.reserve(bytes, short.budget());
            short.bytes_out.settle(rest, rest);
            return Spending::Short;
        }
        let granted = self.reserve(bytes);
        let is_whole = granted == bytes;
        self.settle(granted, if is_whole { granted } else { 0 });
        if is_whole { Spending::Done } else { Spending::Busy }
    }

    /// Whether nothing is left of a budget.
    pub fn is_spent(&self) -> bool {
        self.quotas().any(Quota::is_spent)
    }

    /// The least that any of them grants; the others give the rest back.
    fn reserve(&self, most: usize) -> usize {
        let mut granted = most;
        for (index, quota) in self.quotas().enumerate() {
            let less = quota.bytes_out.reserve(granted, quota.budget());
            self.quotas().take(index).for_each(|before| before.bytes_out.settle(granted.saturating_sub(less), 0));
            granted = less;
        }
        granted
    }

    fn settle(&self, reserved: usize, gone: usize) {
        self.quotas().for_each(|quota| quota.bytes_out.settle(reserved, gone));
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
