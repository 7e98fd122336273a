//! What is told of the proxy's test of itself. Not here: the test (`runtime::canary`).

use jiff::Timestamp;
use prometheus::{Gauge, IntCounterVec, Registry};

use super::{counters, gauge, known};

/// How a run of the canary ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CanaryResult {
    /// Its requests are on record, and no number is where it was looked for.
    Ok,
    /// There were too many refusals for any of its own to have a record.
    Incomplete,
    /// A number was found, or a run could not be done.
    Failed,
}

impl CanaryResult {
    const ALL: [Self; 3] = [Self::Ok, Self::Incomplete, Self::Failed];

    /// Its word, in records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
        }
    }
}

/// `sallyport_canary_*`.
pub struct CanaryMetrics {
    runs: IntCounterVec,
    came_through: Gauge,
}

impl CanaryMetrics {
    pub(super) fn new(r: &Registry) -> prometheus::Result<Self> {
        let runs = counters(r, "canary_runs_total", "Runs of the canary.", &["result"])?;
        Ok(Self {
            runs: known(runs, CanaryResult::ALL.map(CanaryResult::as_str)),
            came_through: gauge(
                r,
                "canary_timestamp_seconds",
                "When the canary last came through; 0: not in this run.",
            )?,
        })
    }

    /// A run has ended at `at`.
    pub fn ran(&self, result: CanaryResult, at: Timestamp) {
        self.runs.with_label_values(&[result.as_str()]).inc();
        if result == CanaryResult::Ok {
            self.came_through.set(at.as_second() as f64);
        }
    }
}
