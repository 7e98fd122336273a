//! A record each minute that the proxy lives: what it has counted, how its clock stands, and the newest checkpoint of the log.
//! So quiet minutes are provable, and signed tree heads stand in the log itself, about one a minute.
//! Not here: what is counted (`metrics`). Source: PCI DSS 10.6 (clocks), 10.7 (controls that fail are noticed).

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval_at};

use crate::decision_log::{Detail, Kind};
use crate::policy::Outcome;
use crate::runtime::shared::Shared;
use crate::runtime::{events, sys};

/// From one to the next.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(60);

/// Leaves one each minute until the task is dropped.
pub async fn beat(shared: Arc<Shared>) {
    let started = Instant::now();
    let mut beats = interval_at((started + HEARTBEAT_INTERVAL).into(), HEARTBEAT_INTERVAL);
    // A process that was stopped for an hour has not lived sixty times at once.
    beats.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        beats.tick().await;
        events::note(&shared, Kind::Heartbeat, said(&shared, started.elapsed()));
    }
}

fn said(shared: &Shared, uptime: Duration) -> Detail {
    let metrics = shared.metrics();
    let mut decisions = Detail::new();
    let decided = metrics.decided();
    for outcome in Outcome::ALL {
        decisions = decisions.with(outcome.as_str(), decided.get(outcome.as_str()).copied().unwrap_or_default());
    }
    let mut detail = Detail::new()
        .with("uptime_s", uptime.as_secs())
        .with("decisions", decisions)
        .with("connections", u64::try_from(shared.gate().connections()).unwrap_or(u64::MAX))
        .with("log_size", metrics.log.size());
    // A kernel that does not say how its clock is kept leaves that out.
    if let Ok(clock) = sys::clock_discipline() {
        let clock = Detail::new()
            .with("synchronized", clock.synchronized)
            .with("offset_us", clock.offset_us)
            .with("max_error_us", clock.max_error_us);
        detail = detail.with("clock", clock);
    }
    match shared.journal().checkpoint() {
        Some(checkpoint) => detail.with("checkpoint", checkpoint),
        None => detail,
    }
}
