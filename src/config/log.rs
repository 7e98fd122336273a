//! Where and how decisions are recorded.
//! Not here: recording (`decision_log`), nor whether the paths exist (`runtime::journal`).
//! Source: the contract: `decision_log`.

use std::time::Duration;

use super::{DecisionLog, Durability};
use crate::yaml::{Faults, Field};

/// With `sync` a client waits it out: about what a sync of a good disk takes, and what comes meanwhile shares the next one.
const SYNC_INTERVAL: Duration = Duration::from_millis(2);

/// With `async` nobody waits: one sync costs about as much CPU as half a tunnel, so at 500 tunnels a second ten should share one.
const ASYNC_INTERVAL: Duration = Duration::from_millis(20);

/// A client waits this long for its record; more than a second is a fault of its own.
const MOST_COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// Reads `decision_log`; what it leaves out lies below `state`.
pub fn decision_log(field: Option<Field<'_>>, state: &str, faults: &mut Faults) -> DecisionLog {
    let state = state.trim_end_matches('/');
    let mut log = DecisionLog {
        directory: format!("{state}/decisions"),
        durability: Durability::Sync,
        commit_interval: SYNC_INTERVAL,
        key: format!("{state}/log.key"),
        stdout: false,
    };
    let Some(mut map) = field.and_then(|field| field.map("`decision_log`", faults)) else { return log };
    if let Some(directory) = map.take("directory").and_then(|field| field.text(faults)) {
        log.directory = directory.to_owned();
    }
    let words = [("sync", Durability::Sync), ("async", Durability::Async)];
    if let Some(durability) = map.take("durability").and_then(|field| field.word(&words, faults)) {
        log.durability = durability;
    }
    log.commit_interval = match log.durability {
        Durability::Sync => SYNC_INTERVAL,
        Durability::Async => ASYNC_INTERVAL,
    };
    let range = Duration::ZERO..=MOST_COMMIT_INTERVAL;
    if let Some(interval) = map.take("commit_interval").and_then(|field| field.duration(range, faults)) {
        log.commit_interval = interval;
    }
    if let Some(key) = map.take("key").and_then(|field| field.text(faults)) {
        log.key = key.to_owned();
    }
    if let Some(stdout) = map.take("stdout").and_then(|field| field.boolean(faults)) {
        log.stdout = stdout;
    }
    map.finish(&["denial_rate", "retention"], faults);
    log
}
