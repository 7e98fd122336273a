//! The metrics of the policy in force. What is gone with a policy goes from the page.
//! Not here: other metrics (`metrics`), when a policy is loaded (`events`).

use std::collections::HashSet;

use jiff::Timestamp;
use prometheus::{Gauge, GaugeVec, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::{counters, gauge, gauges, int_gauge, int_gauges, known};
use crate::policy::Policy;
use crate::runtime::clock;
use crate::runtime::quota::LimitRow;

/// `sallyport_policy_*`.
pub struct PolicyMetrics {
    /// `sallyport_policy_info{sha256}`
    info: IntGaugeVec,
    /// `sallyport_policy_rules`
    rules: IntGauge,
    /// `sallyport_policy_reloads_total{result}`
    pub reloads: IntCounterVec,
    /// `sallyport_policy_loaded_timestamp_seconds`
    loaded: Gauge,
    /// `sallyport_rule_review_timestamp_seconds{rule}`
    reviews: GaugeVec,
    /// `sallyport_source_report_until_timestamp_seconds{source}`
    reporting: GaugeVec,
    /// `sallyport_blocks`
    blocks: IntGauge,
    /// `sallyport_limit{of,name,limit}`
    limit: IntGaugeVec,
    /// `sallyport_limit_used{of,name,limit}`
    limit_used: IntGaugeVec,
}

/// The labels of limits.
const LIMIT_LABELS: [&str; 3] = ["of", "name", "limit"];

impl PolicyMetrics {
    /// A policy is in force since `since`, instead of the one `before` if there was one. What both have is never gone in between.
    pub fn in_force(&self, policy: &Policy, since: Timestamp, before: Option<&Policy>) {
        self.info.with_label_values(&[&**policy.hash()]).set(1);
        self.rules.set(i64::try_from(policy.grants().len()).unwrap_or(i64::MAX));
        self.loaded.set(since.as_second() as f64);
        self.set_reporting(policy, clock::now());
        let mut reviewed = HashSet::new();
        for rule in policy.rules() {
            if let Some(due) = rule.control.review_by.and_then(clock::end_of_day) {
                self.reviews.with_label_values(&[&rule.id]).set(due.as_second() as f64);
                reviewed.insert(&rule.id);
            }
        }
        let Some(before) = before else { return };
        if before.hash() != policy.hash() {
            // What is not there is gone already.
            let _ = self.info.remove_label_values(&[&**before.hash()]);
        }
        for gone in before.rules().filter(|rule| !reviewed.contains(&rule.id)) {
            let _ = self.reviews.remove_label_values(&[&*gone.id]);
        }
    }

    /// Shows how many emergency blocks are in force.
    pub fn set_blocks(&self, count: usize) {
        self.blocks.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Shows these limits, and no others.
    pub fn set_limits(&self, rows: &[LimitRow]) {
        self.limit.reset();
        self.limit_used.reset();
        for LimitRow { of, name, limit, most, used } in rows {
            let labels = [of, &**name, limit];
            self.limit.with_label_values(&labels).set(i64::try_from(*most).unwrap_or(i64::MAX));
            self.limit_used.with_label_values(&labels).set(i64::try_from(*used).unwrap_or(i64::MAX));
        }
    }

    /// Shows the sources that are in report mode at `now`, and no others.
    pub fn set_reporting(&self, policy: &Policy, now: Timestamp) {
        self.reporting.reset();
        for (source, report) in policy.reporting(now) {
            if let Some(end) = clock::end_of_day(report.until) {
                self.reporting.with_label_values(&[&source.name]).set(end.as_second() as f64);
            }
        }
    }

    /// At zero.
    pub(super) fn new(r: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            info: int_gauges(r, "policy_info", "The policy in force; 1.", &["sha256"])?,
            rules: int_gauge(r, "policy_rules", "Rules of the policy in force.")?,
            reloads: known(
                counters(r, "policy_reloads_total", "Reloads of the policy.", &["result"])?,
                ["ok", "refused", "guarded"],
            ),
            loaded: gauge(r, "policy_loaded_timestamp_seconds", "When the policy in force was loaded.")?,
            reviews: gauges(r, "rule_review_timestamp_seconds", "When a rule's review is due.", &["rule"])?,
            reporting: gauges(
                r,
                "source_report_until_timestamp_seconds",
                "When report mode of a source ends; absent where the policy is enforced.",
                &["source"],
            )?,
            blocks: int_gauge(r, "blocks", "Emergency blocks in force.")?,
            limit: int_gauges(r, "limit", "Limits of rules and sources.", &LIMIT_LABELS)?,
            limit_used: int_gauges(r, "limit_used", "How much of a limit is used up.", &LIMIT_LABELS)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::policy::testing;
    use crate::runtime::metrics::Metrics;

    /// A policy with these rules, each with its review date if it has one.
    fn policy(rules: &[(&str, Option<&str>)]) -> Policy {
        let rule = |(id, review): &(&str, Option<&str>)| {
            let review = review.map(|day| format!(", review_by: {day}")).unwrap_or_default();
            format!("  - {{id: {id}, customer: c, sources: [s], hosts: [{id}.example]{review}}}\n")
        };
        let rules: String = rules.iter().map(rule).collect();
        let text = format!("version: 1\nsources: [{{name: s, subnets: [10.0.0.0/24]}}]\nrules:\n{rules}");
        testing::policy(&text)
    }

    #[test]
    fn a_policy_that_is_replaced_leaves_nothing() {
        let metrics = Metrics::new().unwrap();
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        let told = || {
            let page = String::from_utf8(metrics.page().unwrap()).unwrap();
            let told = page.lines().filter(|line| {
                let ours = [
                    "sallyport_policy_info",
                    "sallyport_policy_rules ",
                    "sallyport_rule_review",
                    "sallyport_policy_loaded",
                ];
                ours.iter().any(|name| line.starts_with(name))
            });
            told.map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let lines = |policy: &Policy, rules: usize, reviews: &[(&str, u64)]| {
            let review =
                |(id, due): &(&str, u64)| format!("sallyport_rule_review_timestamp_seconds{{rule=\"{id}\"}} {due}");
            let info = format!("sallyport_policy_info{{sha256=\"{}\"}} 1", policy.hash());
            let rules = format!("sallyport_policy_rules {rules}");
            let loaded = "sallyport_policy_loaded_timestamp_seconds 1800000000".to_owned();
            reviews.iter().map(review).chain([info, rules, loaded]).collect::<BTreeSet<_>>()
        };
        let first = policy(&[("a", Some("2030-01-01")), ("b", Some("2030-01-02")), ("c", None)]);
        metrics.policy.in_force(&first, at, None);
        assert_eq!(told(), lines(&first, 3, &[("a", 1_893_542_399), ("b", 1_893_628_799)]));
        metrics.policy.in_force(&first, at, Some(&first));
        assert_eq!(told(), lines(&first, 3, &[("a", 1_893_542_399), ("b", 1_893_628_799)]), "read again");
        let second = policy(&[("a", None), ("b", Some("2031-01-02")), ("d", Some("2030-01-01"))]);
        metrics.policy.in_force(&second, at, Some(&first));
        assert_eq!(told(), lines(&second, 3, &[("b", 1_925_164_799), ("d", 1_893_542_399)]));
        let none = policy(&[("a", None)]);
        metrics.policy.in_force(&none, at, Some(&second));
        assert_eq!(told(), lines(&none, 1, &[]));
    }
}
