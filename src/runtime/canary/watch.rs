//! The running proxy's test of itself: the canary each `redaction.canary`, its result as a record, a metric and a line for the operator.
//! Not here: requests and search (`canary`). Source: PCI DSS 10.7.2 (a control that fails is noticed).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{CanaryError, Place, Refused, Searched, begin, holds_number, reachable, search, send};
use crate::decision_log::{Detail, Kind, Value};
use crate::redact;
use crate::runtime::metrics::CanaryResult;
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
            let mut refused = Vec::new();
            let came = self.run(&shared, &mut refused).await;
            // A proxy that ends refuses for another reason, and keeps no promise any more.
            if !shared.is_draining() {
                tell(&shared, &refused, came);
            }
        }
    }

    /// Leaves in `refused` how each request ended.
    async fn run(&self, shared: &Shared, refused: &mut Vec<Refused>) -> Result<Searched, CanaryError> {
        let since = begin();
        for place in Place::ALL {
            refused.push(send(reachable(self.proxy), place).await?);
        }
        let searched = search(&self.log, since, refused).await?;
        let metrics = shared.metrics_page().map_err(|_| CanaryError::NoMetrics)?;
        if holds_number(&metrics) { Err(CanaryError::Counted) } else { Ok(searched) }
    }
}

fn tell(shared: &Shared, refused: &[Refused], came: Result<Searched, CanaryError>) {
    let result = match &came {
        Ok(Searched { recorded: 0, .. }) => CanaryResult::Incomplete,
        Ok(_) => CanaryResult::Ok,
        Err(_) => CanaryResult::Failed,
    };
    shared.metrics().canary.ran(result, clock::now());
    let ids = refused.iter().map(|refused| Value::from(Arc::<str>::from(refused.decision_id.to_string())));
    let reasons = refused.iter().map(|refused| Value::from(refused.reason.as_str()));
    let detail = Detail::new().with("what", "canary").with("result", result.as_str());
    let detail = detail.with("ids", ids.collect::<Vec<_>>()).with("reasons", reasons.collect::<Vec<_>>());
    match came {
        Ok(Searched { recorded, counted }) => {
            let places = SEARCHED.map(Value::from).to_vec();
            let (recorded, counted) = (recorded as u64, counted as u64);
            let detail = detail.with("recorded", recorded).with("counted", counted).with("places", places);
            events::note(shared, Kind::Admin, detail);
        }
        Err(error) => {
            let error = redact::clean(error.to_string().as_bytes(), MAX_ERROR).text;
            tracing::error!(error = error.as_str(), "the canary did not come through: redaction may not hold");
            events::note(shared, Kind::ControlFailure, detail.with("error", error));
        }
    }
}
