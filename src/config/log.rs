//! Where and how decisions are recorded.
//! Not here: recording (`decision_log`), nor whether the paths exist (`runtime::journal`).
//! Source: the contract: `decision_log`.

use std::time::Duration;

use super::{DecisionLog, Durability};
use crate::yaml::{self, Faults, Field, shown};

/// With `sync` a client waits it out: about what a sync of a good disk takes, and what comes meanwhile shares the next one.
const SYNC_INTERVAL: Duration = Duration::from_millis(2);

/// With `async` nobody waits: one sync costs about as much CPU as half a tunnel, so at 500 tunnels a second ten should share one.
const ASYNC_INTERVAL: Duration = Duration::from_millis(20);

/// A client waits this long for its record; more than a second is a fault of its own.
const MOST_COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// A scan shows with fewer; a day of a flood from one source has 60 GB of records with so many.
const DENIAL_RATE: u32 = 1000;

/// `N/s`: denials are counted by the second.
fn rate(text: &str) -> Result<u32, String> {
    let rate = yaml::rate(text).ok().filter(|rate| rate.period == Duration::from_secs(1));
    rate.map(|rate| rate.count).ok_or_else(|| {
        let text = shown(text);
        format!("`denial_rate` is {text}; write a number a second, such as `{DENIAL_RATE}/s`, or `none` to record each")
    })
}

/// Reads `decision_log`; what it leaves out lies below `state`.
pub fn decision_log(field: Option<Field<'_>>, state: &str, faults: &mut Faults) -> DecisionLog {
    let state = state.trim_end_matches('/');
    let mut log = DecisionLog {
        directory: format!("{state}/decisions"),
        durability: Durability::Sync,
        commit_interval: SYNC_INTERVAL,
        key: format!("{state}/log.key"),
        stdout: false,
        denial_rate: Some(DENIAL_RATE),
    };
    let Some(mut map) = field.and_then(|field| field.map("`decision_log`", faults)) else { return log };
    if let Some(field) = map.take("directory")
        && let Some(directory) = field.text(faults)
    {
        // The log takes no other files beside its own.
        if directory.trim_end_matches('/') == state {
            field.fault(
                format!("`directory` is `state` itself; write a folder of its own, such as `{state}/decisions`"),
                faults,
            );
        }
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
    if map.is_none("denial_rate") {
        log.denial_rate = None;
    }
    if let Some(rate) = map.take("denial_rate").and_then(|field| field.read(rate, faults)) {
        log.denial_rate = Some(rate);
    }
    map.finish(&["retention"], faults);
    log
}

#[cfg(test)]
mod tests {
    use super::super::tests::{LEAST, read};
    use super::*;

    #[test]
    fn denials_are_counted_by_the_second() {
        for (text, want) in [("1/s", Some(1)), ("1000/s", Some(1000)), ("5/m", None), ("0/s", None), ("5", None)] {
            assert_eq!(rate(text).ok(), want, "`{text}`");
        }
        let want = "`denial_rate` is `5/m`; write a number a second, such as `1000/s`, or `none` to record each";
        assert_eq!(rate("5/m"), Err(want.to_owned()));
    }

    #[test]
    fn the_log_has_a_folder_of_its_own() {
        for (text, is_fault) in [
            ("state: /srv/s/\ndecision_log: {directory: /srv/s}", true),
            ("decision_log: {directory: /var/lib/sallyport/}", true),
            ("state: /srv/s\ndecision_log: {directory: /srv/s/log}", false),
        ] {
            let (_, found) = read(&format!("{LEAST}{text}\n"));
            let told = found
                .iter()
                .any(|line| line.contains("`directory` is `state` itself; write a folder of its own, such as"));
            assert_eq!((told, found.is_empty()), (is_fault, !is_fault), "{text}: {found:?}");
        }
    }
}
