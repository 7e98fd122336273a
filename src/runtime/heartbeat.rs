//! A record each minute that the proxy lives: what it has counted, how its clock stands, and the newest checkpoint of the log.
//! So quiet minutes are provable, and signed tree heads stand in the log itself, about one a minute.
//! Not here: what is counted (`metrics`). Source: PCI DSS 10.6 (clocks), 10.7 (controls that fail are noticed).

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval_at};

use crate::decision_log::{Detail, Kind};
use crate::policy::Outcome;
use crate::runtime::shared::Shared;
use crate::runtime::{clock, events, sys, timed};

/// From one to the next.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(60);

/// Leaves one after each `interval` until the task is dropped.
pub async fn beat(shared: Arc<Shared>, interval: Duration) {
    let started = Instant::now();
    let mut beats = interval_at((started + interval).into(), interval);
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
    let out = shared.pools().out();
    if out > 0 {
        detail = detail.with("egress_addresses_out", u64::try_from(out).unwrap_or(u64::MAX));
    }
    // A kernel that does not say how its clock is kept leaves that out.
    if let Ok(clock) = sys::clock_discipline() {
        let clock = Detail::new()
            .with("synchronized", clock.synchronized)
            .with("offset_us", clock.offset_us)
            .with("max_error_us", clock.max_error_us);
        detail = detail.with("clock", clock);
    }
    let detail = timed::reporting(detail, &shared.policy(), clock::now());
    match shared.journal().checkpoint() {
        Some(checkpoint) => detail.with("checkpoint", checkpoint),
        None => detail,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::decision_log::{Checkpoint, Note};
    use crate::policy::Reason;
    use crate::runtime::egress::Pools;
    use crate::runtime::testing;

    const DEADLINE: Duration = Duration::from_secs(20);

    /// Waits for a heartbeat of which `fits` is true.
    async fn heartbeat(folder: &std::path::Path, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            let records = testing::records(folder).into_iter();
            if let Some(found) = records.filter(|record| record["kind"] == "heartbeat").find(&fits) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[test]
    fn it_has_counts_the_policy_the_clock_and_a_checkpoint_that_is_signed() {
        let folder = tempfile::tempdir().unwrap();
        let pools = Pools::new([("static-a", &["192.0.2.8/31".parse().unwrap()][..])].into_iter());
        let pool = pools.pool("static-a").unwrap();
        pool.lose(&pool.depart("198.51.100.1:443".parse().unwrap(), Instant::now()).unwrap());
        let (shared, opening) = testing::shared(folder.path(), "version: 1\n", pools);
        shared.metrics().decisions("edge", "-", Reason::PortNotAllowed.into()).inc_by(7);
        let signed = heartbeat(folder.path(), |record| {
            let note = record["detail"]["checkpoint"].as_str().unwrap_or_default();
            note.lines().nth(1).is_some_and(|size| size != "0")
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let found = runtime.block_on(async {
            tokio::select! {
                found = tokio::time::timeout(DEADLINE, signed) => found.unwrap(),
                () = beat(Arc::clone(&shared), Duration::from_millis(20)) => unreachable!("it goes on until it is dropped"),
            }
        });
        let detail = &found["detail"];
        assert_eq!(
            detail["decisions"],
            serde_json::json!({"allow": 0, "deny": 7, "observe": 0, "error": 0}),
            "{found}"
        );
        assert_eq!(detail["egress_addresses_out"], 1, "{found}");
        assert_eq!(found["policy"].as_str(), Some(&**shared.policy().hash()));
        assert!(detail["log_size"].as_u64() <= found["seq"].as_u64() && detail["uptime_s"].is_u64(), "{found}");
        assert!(detail["clock"].is_null() || detail["clock"]["synchronized"].is_boolean(), "{found}");
        let note = detail["checkpoint"].as_str().unwrap();
        let key = opening.vkey.parse().unwrap();
        assert_eq!(Note::parse(note).unwrap().verify(&key), Ok(()));
        assert!(Checkpoint::open(note, &[key]).unwrap().size <= found["seq"].as_u64().unwrap());
        assert!(!shared.journal().shutdown().any());
    }
}
