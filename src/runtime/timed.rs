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
    reporting: Vec<Arc<str>>,
    minute: i64,
}

impl Clockwork {
    /// Begins with what is so at `now`.
    pub fn new(policy: &Policy, now: Timestamp) -> Self {
        Self { reporting: names(policy, now), minute: minute(now) }
    }

    /// Tells of each source whose report mode has ended since the last look. Gives whether open tunnels are to be judged again.
    pub fn look(&mut self, shared: &Shared, now: Timestamp) -> bool {
        let policy = shared.policy();
        let before = std::mem::replace(self, Self::new(&policy, now));
        // One that a reload has taken out of report mode has not ended by itself.
        let has_ended = |source: &Arc<str>| {
            let known = policy.sources().iter().find(|known| known.name == *source);
            known.is_some_and(|source| source.report.is_some() && source.reporting(now).is_none())
        };
        let ended: Vec<_> = before.reporting.into_iter().filter(has_ended).collect();
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
        before.minute != self.minute && policy.is_timed()
    }
}

/// The sources in report mode, with their last days, for records; nothing if there is none.
pub fn reporting(detail: Detail, policy: &Policy, now: Timestamp) -> Detail {
    let names: Vec<Value> = names(policy, now).into_iter().map(Value::from).collect();
    if names.is_empty() { detail } else { detail.with("reporting", names) }
}

fn names(policy: &Policy, now: Timestamp) -> Vec<Arc<str>> {
    policy.reporting(now).map(|(source, _)| Arc::clone(&source.name)).collect()
}

fn minute(now: Timestamp) -> i64 {
    now.as_second().div_euclid(JUDGE_INTERVAL_S)
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use jiff::civil::Date;
    use jiff::tz::TimeZone;

    use super::*;
    use crate::runtime::egress::Pools;
    use crate::runtime::testing;

    fn end_of(day: Date) -> Timestamp {
        day.tomorrow().unwrap().to_zoned(TimeZone::UTC).unwrap().timestamp()
    }

    #[test]
    fn the_end_of_report_mode_is_told_once_and_open_tunnels_are_judged() {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let last = now.to_zoned(TimeZone::UTC).date().checked_add(5.days()).unwrap();
        let policy = format!(
            "version: 1\nsources:\n  - {{name: web, subnets: [10.0.0.0/24], class: general, mode: report, report_until: {last}, egress: static-a}}\n\
             \x20 - {{name: ivr, subnets: [10.0.1.0/24]}}\n"
        );
        let (shared, _) = testing::shared(folder.path(), &policy, Pools::default());
        let end = end_of(last);
        let mut clockwork = Clockwork::new(&shared.policy(), now);
        for (row, at, judges) in [
            ("at once", now, false),
            ("the last second", end - 1.seconds(), true),
            ("over", end, true),
            ("within the same minute", end + 1.seconds(), false),
            ("a minute later", end + 60.seconds(), true),
        ] {
            assert_eq!(clockwork.look(&shared, at), judges, "{row}");
        }
        assert!(!shared.journal().shutdown().any());
        let told: Vec<_> =
            testing::records(folder.path()).into_iter().filter(|record| record["kind"] == "policy").collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0]["detail"], serde_json::json!({"result": "report_ended", "report_ended": ["web"]}));
    }

    #[test]
    fn a_policy_without_times_is_never_judged_by_the_clock() {
        let folder = tempfile::tempdir().unwrap();
        let rule = |more: &str| {
            format!(
                "version: 1\nsources: [{{name: a, subnets: [10.0.0.0/24]}}]\n\
                 rules: [{{id: r, customer: c, sources: [a], hosts: [a.example]{more}}}]\n"
            )
        };
        let now = Timestamp::now();
        for (more, judges) in [
            ("", false),
            (", expires: 2020-01-01", true),
            (", hours: {days: [mon], from: '06:00', to: '07:00', zone: UTC}", true),
        ] {
            let (shared, _) = testing::shared(folder.path(), &rule(more), Pools::default());
            let mut clockwork = Clockwork::new(&shared.policy(), now);
            assert_eq!(clockwork.look(&shared, now + 60.seconds()), judges, "`{more}`");
            assert!(!shared.journal().shutdown().any());
        }
    }
}
