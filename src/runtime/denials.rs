//! How many denials are on record one by one: of each source and reason so many a second, and the others as one `summary` with their count.
//! So a client that is denied for ever can neither fill the disk nor hide what others do. Metrics count all of them.
//! Not here: the record of a denial (`facts`). Source: the contract: `decision_log.denial_rate`; PCI DSS 10.7.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval};

use crate::decision_log::{Detail, Kind, Record};
use crate::policy::{Outcome, Reason};
use crate::runtime::clock;
use crate::runtime::shared::Shared;

/// What the rate counts by, and how often summaries are written.
const WINDOW: Duration = Duration::from_secs(1);

/// The denials of this second.
pub struct Denials {
    /// So many of each source and reason are recorded; the largest number: all.
    rate: AtomicU32,
    /// As many as there are sources and reasons, at most.
    windows: Mutex<HashMap<Denied, Window>>,
}

/// Who was denied, by its source if it has one, and why.
type Denied = (Option<Arc<str>>, Reason);

#[derive(Debug, Default)]
struct Window {
    recorded: u32,
    counted: u64,
    /// When the first of those came that are only counted.
    since: Option<Timestamp>,
}

impl Denials {
    /// None yet.
    pub fn new(rate: Option<u32>) -> Self {
        let denials = Self { rate: AtomicU32::default(), windows: Mutex::default() };
        denials.set_rate(rate);
        denials
    }

    /// So many of each source and reason are recorded from now on; `None`: all.
    pub fn set_rate(&self, rate: Option<u32>) {
        self.rate.store(rate.unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Whether a refusal that happens now is to be recorded; if not, it is counted.
    pub fn is_recorded(&self, source: Option<&Arc<str>>, reason: Reason) -> bool {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == u32::MAX || reason.outcome() != Outcome::Deny {
            return true;
        }
        let mut windows = self.windows();
        let window = windows.entry((source.cloned(), reason)).or_default();
        let is_recorded = window.recorded < rate;
        if is_recorded {
            window.recorded = window.recorded.saturating_add(1);
        } else {
            window.counted = window.counted.saturating_add(1);
            window.since.get_or_insert_with(clock::now);
        }
        is_recorded
    }

    /// Ends the second: what was only counted in it.
    fn take(&self) -> Vec<(Denied, Window)> {
        let windows = std::mem::take(&mut *self.windows());
        windows.into_iter().filter(|(_, window)| window.counted > 0).collect()
    }

    /// Nothing panics behind this lock.
    fn windows(&self) -> MutexGuard<'_, HashMap<Denied, Window>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes summaries each second until the task is dropped.
pub async fn summarise(shared: Arc<Shared>) {
    let mut ticks = interval(WINDOW);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        tell(&shared);
    }
}

/// Writes what was counted and not told yet.
pub fn tell(shared: &Shared) {
    let mut summaries = shared.denials().take();
    summaries.sort_unstable_by(|(one, _), (other, _)| (&one.0, one.1.as_str()).cmp(&(&other.0, other.1.as_str())));
    for ((source, reason), window) in summaries {
        let mut record = Record::new(Kind::Summary, clock::now(), clock::new_id(), Arc::clone(shared.instance()));
        record.environment = shared.environment().cloned();
        record.policy = Some(Arc::clone(shared.policy().hash()));
        record.outcome = Some(reason.outcome());
        record.reason = Some(reason.as_str());
        record.source = source;
        record.detail = Detail::new().with("count", window.counted);
        if let Some(since) = window.since {
            record.detail = record.detail.with("since", Arc::<str>::from(format!("{since:.6}")));
        }
        shared.journal().note(record.line());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(denials: &Denials) -> Vec<(Option<String>, &'static str, u64)> {
        let mut counts: Vec<_> = denials
            .take()
            .into_iter()
            .map(|((source, reason), window)| {
                assert!(window.since.is_some());
                (source.map(|source| source.to_string()), reason.as_str(), window.counted)
            })
            .collect();
        counts.sort();
        counts
    }

    #[test]
    fn beyond_the_rate_each_source_and_reason_is_counted() {
        let (ivr, web): (Arc<str>, Arc<str>) = ("ivr".into(), "web".into());
        let denials = Denials::new(Some(3));
        let recorded = |source: Option<&Arc<str>>, reason, times: u32| {
            (0..times).filter(|_| denials.is_recorded(source, reason)).count()
        };
        for second in ["the first", "the next"] {
            assert_eq!(recorded(Some(&ivr), Reason::DestinationNotListed, 10), 3, "{second}");
            assert_eq!(recorded(Some(&ivr), Reason::PortNotAllowed, 3), 3, "{second}");
            assert_eq!(recorded(Some(&web), Reason::DestinationNotListed, 4), 3, "{second}");
            assert_eq!(recorded(None, Reason::SourceUnknown, 5), 3, "{second}");
            assert_eq!(recorded(Some(&ivr), Reason::DnsFailure, 10), 10, "{second}: no denial");
            let want = [
                (None, "source_unknown", 2),
                (Some("ivr".to_owned()), "destination_not_listed", 7),
                (Some("web".to_owned()), "destination_not_listed", 1),
            ];
            assert_eq!(counts(&denials), want, "{second}");
            assert_eq!(counts(&denials), [], "{second}: told once");
        }
    }

    #[test]
    fn without_a_rate_all_are_recorded() {
        let denials = Denials::new(None);
        assert!((0..10_000).all(|_| denials.is_recorded(None, Reason::SourceUnknown)));
        assert_eq!(counts(&denials), []);
    }
}
