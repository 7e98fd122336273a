//! The counters of the policy in force: each is looked up by its labels once for a policy and then kept, so counting takes no lock and no
//! hash. Not here: names and labels (`metrics`), when something is counted. Nothing that is never used is made: a policy may have ten
//! thousand customers.

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use prometheus::IntCounter;

use crate::policy::{Blocks, Decided, Policy, Reason, Rule};
use crate::runtime::clock;
use crate::runtime::metrics::Metrics;
use crate::runtime::tunnel::Meters;

/// The customer of what no rule was chosen for.
const NOBODY: &str = "-";

/// A policy with its counters.
pub struct InForce {
    /// The policy.
    pub policy: Arc<Policy>,
    /// Since when it is in force.
    pub since: Timestamp,
    /// The names of the listeners.
    listeners: Arc<[Arc<str>]>,
    /// For each rule, and behind them for none, those of each listener.
    decisions: Arc<[Decisions]>,
    /// For each rule those of its tunnels.
    meters: Arc<[OnceLock<Meters>]>,
}

/// The counters of what was decided by one rule for one listener.
#[derive(Default)]
struct Decisions {
    allowed: OnceLock<IntCounter>,
    others: OnceLock<Box<[OnceLock<IntCounter>]>>,
}

impl InForce {
    /// A policy for these listeners; nothing is looked up yet.
    pub fn new(policy: Arc<Policy>, listeners: &[Arc<str>]) -> Self {
        let rules = policy.grants().len();
        let kinds = rules.saturating_add(1).saturating_mul(listeners.len());
        Self {
            policy,
            since: clock::now(),
            listeners: listeners.into(),
            decisions: (0..kinds).map(|_| Decisions::default()).collect(),
            meters: (0..rules).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The same rules and counters with these emergency blocks.
    pub fn with_blocks(&self, blocks: Arc<Blocks>) -> Self {
        Self {
            policy: Arc::new(self.policy.with_blocks(blocks)),
            since: self.since,
            listeners: Arc::clone(&self.listeners),
            decisions: Arc::clone(&self.decisions),
            meters: Arc::clone(&self.meters),
        }
    }

    /// The names of the listeners.
    pub fn listeners(&self) -> &[Arc<str>] {
        &self.listeners
    }

    /// Counts what was decided for `listener` by `rule`, which is one of this policy's.
    pub fn count(&self, metrics: &Metrics, (listener, rule): (&str, Option<&Rule>), decided: Decided) {
        let customer = rule.map_or(NOBODY, |rule| &rule.customer);
        let look_up = || metrics.decisions(listener, customer, decided);
        let Decided { outcome, reason } = decided;
        // What is observed is looked up each time: report mode ends within a month.
        match self.decisions(listener, rule).filter(|_| outcome == reason.outcome()) {
            Some(decisions) => decisions.counter(reason, look_up).inc(),
            None => look_up().inc(),
        }
    }

    /// Where the tunnels of `rule` are counted, which is one of this policy's.
    pub fn meters(&self, metrics: &Metrics, rule: &Rule) -> Meters {
        let look_up = || metrics.meters(&rule.customer);
        self.meters.get(rule.number).map_or_else(look_up, |meters| meters.get_or_init(look_up).clone())
    }

    fn decisions(&self, listener: &str, rule: Option<&Rule>) -> Option<&Decisions> {
        let listener = self.listeners.iter().position(|name| **name == *listener)?;
        let rule = rule.map_or(self.meters.len(), |rule| rule.number);
        self.decisions.get(rule.checked_mul(self.listeners.len())?.checked_add(listener)?)
    }
}

impl Decisions {
    fn counter(&self, reason: Reason, look_up: impl FnOnce() -> IntCounter) -> IntCounter {
        let none = || Reason::ALL.iter().map(|_| OnceLock::new()).collect();
        let slot = if reason == Reason::Allowed {
            Some(&self.allowed)
        } else {
            self.others.get_or_init(none).get(reason as usize)
        };
        match slot {
            Some(slot) => slot.get_or_init(look_up).clone(),
            None => look_up(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing;

    const POLICY: &str = "
version: 1
sources: [{name: s, subnets: [10.0.0.0/24]}]
rules:
  - {id: a/one, customer: a, sources: [s], hosts: [one.a.example]}
  - {id: a/two, customer: a, sources: [s], hosts: [two.a.example]}
  - {id: b/one, customer: b, sources: [s], hosts: [one.b.example]}
";

    fn in_force(listeners: &[&str]) -> InForce {
        let listeners: Vec<Arc<str>> = listeners.iter().map(|name| Arc::from(*name)).collect();
        InForce::new(Arc::new(testing::policy(POLICY)), &listeners)
    }

    #[test]
    fn each_decision_is_counted_under_its_labels() {
        let metrics = Metrics::new().unwrap();
        let in_force = in_force(&["edge", "inner"]);
        let rules: Vec<&Arc<Rule>> = in_force.policy.rules().collect();
        let counted = [
            ("edge", None, Reason::DestinationNotListed, "-"),
            ("inner", None, Reason::DestinationNotListed, "-"),
            ("edge", Some(0), Reason::Allowed, "a"),
            ("edge", Some(1), Reason::PortNotAllowed, "a"),
            ("inner", Some(2), Reason::Internal, "b"),
            ("inner", Some(2), Reason::Allowed, "b"),
            ("gone", Some(2), Reason::Allowed, "b"),
        ];
        for (times, (listener, rule, reason, customer)) in (1..).zip(counted) {
            let rule = rule.map(|rule: usize| &***rules.get(rule).unwrap());
            for _ in 0..times {
                in_force.count(&metrics, (listener, rule), reason.into());
            }
            assert_eq!(
                metrics.decisions(listener, customer, reason.into()).get(),
                times,
                "{listener} {customer} {reason:?}"
            );
        }
    }

    #[test]
    fn rules_of_one_customer_share_its_meters() {
        let metrics = Metrics::new().unwrap();
        let in_force = in_force(&["edge"]);
        for (rule, want) in in_force.policy.rules().zip([1, 2, 1]) {
            in_force.meters(&metrics, rule).open.inc();
            assert_eq!(metrics.meters(&rule.customer).open.get(), want, "{}", rule.id);
        }
    }
}
