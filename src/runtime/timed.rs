//! What the clock changes in a policy without a reload: report mode that ends, last days, hours. Open tunnels are judged again each minute
//! where a policy has any of these. Not here: the judgement (`policy`).
//! Source: the contract's "Report mode": it ends by itself, and nobody can miss that it is on.

use std::sync::Arc;

use jiff::Timestamp;

use crate::decision_log::{Detail, Kind, Value};
use crate::policy::Policy;
use crate::runtime::events;
use crate::runtime::shared::Shared;

/// How often open tunnels are judged by the clock.
const JUDGE_INTERVAL_S: i64 = 60;

/// What the last look saw.
#[derive(Debug)]
pub struct Clockwork {
    policy: Arc<str>,
    reporting: Vec<Arc<str>>,
    minute: i64,
}

impl Clockwork {
    /// Begins with what is so at `now`.
    pub fn new(policy: &Policy, now: Timestamp) -> Self {
        Self { policy: Arc::clone(policy.hash()), reporting: names(policy, now), minute: minute(now) }
    }

    /// Tells of each source whose report mode has ended since the last look. Gives whether open tunnels are to be judged again.
    pub fn look(&mut self, shared: &Shared, now: Timestamp) -> bool {
        let policy = shared.policy();
        let before = std::mem::replace(self, Self::new(&policy, now));
        if before.policy != self.policy {
            return false;
        }
        let ended: Vec<_> = before.reporting.into_iter().filter(|source| !self.reporting.contains(source)).collect();
        if !ended.is_empty() {
            tracing::warn!(
                sources = ended.join(" "),
                "report mode has ended; what no rule lets through is refused now"
            );
            shared.metrics().policy.set_reporting(&policy, now);
            let ended = ended.into_iter().map(Value::from).collect::<Vec<_>>();
            events::note(
                shared,
                Kind::Policy,
                Detail::new().with("result", "report_ended").with("report_ended", ended),
            );
            return true;
        }
        policy.is_timed() && before.minute != self.minute
    }
}

/// The sources in report mode, with their last days, for records; nothing if there is none.
pub fn reporting(detail: Detail, policy: &Policy, now: Timestamp) -> Detail {
    let names: Vec<Value> = names(policy, now).into_iter().map(Value::from).collect();
    if names.is_empty() { detail } else { detail.with("reporting", names) }
}

fn names(policy: &Policy, now: Timestamp) -> Vec<Arc<str>> {
    let reporting = policy.sources().iter().filter(|source| source.reporting(now).is_some());
    reporting.map(|source| Arc::clone(&source.name)).collect()
}

fn minute(now: Timestamp) -> i64 {
    now.as_second().div_euclid(JUDGE_INTERVAL_S)
}
