//! What is told of the proxy's test of itself. Not here: the test (`runtime::canary`).

use jiff::Timestamp;
use prometheus::{Gauge, IntCounterVec, Registry};

use super::{counters, gauge, known};

/// `sallyport_canary_*`.
pub struct CanaryMetrics {
    runs: IntCounterVec,
    came_through: Gauge,
}

impl CanaryMetrics {
    const RESULTS: [&str; 2] = ["ok", "failed"];

    pub(super) fn new(r: &Registry) -> prometheus::Result<Self> {
        let runs = counters(r, "canary_runs_total", "Runs of the canary.", &["result"])?;
        Ok(Self {
            runs: known(runs, Self::RESULTS),
            came_through: gauge(
                r,
                "canary_timestamp_seconds",
                "When the canary last came through; 0: not in this run.",
            )?,
        })
    }

    /// A run has ended at `at`.
    pub fn ran(&self, ok: bool, at: Timestamp) {
        let [came_through, failed] = Self::RESULTS;
        self.runs.with_label_values(&[if ok { came_through } else { failed }]).inc();
        if ok {
            self.came_through.set(at.as_second() as f64);
        }
    }
}
