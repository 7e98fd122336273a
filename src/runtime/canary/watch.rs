//! The running proxy's test of itself: the canary each `redaction.canary`, its result as a record, a metric and a line for the operator.
//! Not here: requests and search (`canary`). Source: PCI DSS 10.7.2 (a control that fails is noticed).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{CanaryError, Place, holds_number, reachable, search, send};
use crate::decision_log::{Detail, Kind, Value};
use crate::redact;
use crate::runtime::shared::Shared;
use crate::runtime::{clock, events};

/// Before the first run: by then the proxy serves.
const FIRST_RUN: Duration = Duration::from_secs(1);

/// Where a run has looked for the numbers.
const SEARCHED: [&str; 3] = ["answers", "records", "metrics"];

/// Upper bound in bytes of an error's text in a record.
const MAX_ERROR: usize = 1000;

/// What a run goes by.
#[derive(Debug, Clone)]
pub struct Canary {
    /// From one run to the next.
    pub every: Duration,
    /// A listener of this proxy.
    pub proxy: SocketAddr,
    /// The log's directory.
    pub log: PathBuf,
}

impl Canary {
    /// Runs each `every` until the task is dropped. A run that is late leaves out those that it has missed.
    pub async fn watch(self, shared: Arc<Shared>) {
        let mut runs = interval_at(Instant::now() + FIRST_RUN, self.every);
        runs.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            runs.tick().await;
            let came = self.run(&shared).await;
            // A proxy that ends refuses for another reason, and keeps no promise any more.
            if !shared.is_draining() {
                tell(&shared, came);
            }
        }
    }

    async fn run(&self, shared: &Shared) -> Result<(), CanaryError> {
        let since = begin();
        let mut refused = Vec::new();
        for place in Place::ALL {
            refused.push(send(reachable(self.proxy), place).await?);
        }
        search(&self.log, since, &refused).await?;
        let metrics = shared.metrics_page().map_err(|_| CanaryError::NoMetrics)?;
        if holds_number(&metrics) { Err(CanaryError::Counted) } else { Ok(()) }
    }
}

/// From when on the log is searched. Its writer stamps a record some time before it is there, and clocks step back.
pub fn begin() -> Timestamp {
    let now = clock::now();
    now.checked_sub(SignedDuration::from_secs(1)).unwrap_or(now)
}

fn tell(shared: &Shared, came: Result<(), CanaryError>) {
    let detail = Detail::new().with("what", "canary");
    shared.metrics().canary.ran(came.is_ok(), clock::now());
    match came {
        Ok(()) => {
            let places = SEARCHED.map(Value::from).to_vec();
            let detail = detail.with("result", "ok").with("requests", Place::ALL.len() as u64).with("places", places);
            events::note(shared, Kind::Admin, detail);
        }
        Err(error) => {
            let error = redact::clean(error.to_string().as_bytes(), MAX_ERROR).text;
            tracing::error!(error = error.as_str(), "the canary did not come through: redaction may not hold");
            events::note(shared, Kind::ControlFailure, detail.with("error", error));
        }
    }
}
