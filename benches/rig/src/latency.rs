//! Latencies of one load, kept whole, and its failures by kind.
//! Not here: figures and their names (`figure`).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::figure::{Figure, Sample};

/// Upper bound of latencies that one load keeps, 8 bytes each. The busiest shape makes some 400,000.
const MAX_SAMPLES: usize = 4_000_000;

/// Latencies in nanoseconds.
#[derive(Default)]
pub struct Latencies(Vec<u64>);

impl Latencies {
    /// Adds one; drops it if there are too many.
    pub fn record(&mut self, latency: Duration) {
        if self.0.len() < MAX_SAMPLES {
            self.0.push(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        u64::try_from(self.0.len()).unwrap_or(u64::MAX)
    }

    /// Puts the median and the 99th percentile, in microseconds, into `sample`. Nothing, if there are no latencies.
    pub fn put(mut self, sample: &mut Sample, median: Figure, high: Figure) {
        self.0.sort_unstable();
        for (figure, percent) in [(median, 50), (high, 99)] {
            let place = self.0.len().saturating_sub(1).saturating_mul(percent) / 100;
            if let Some(nanoseconds) = self.0.get(place) {
                sample.put(figure, Duration::from_nanos(*nanoseconds).as_secs_f64() * 1e6);
            }
        }
    }
}

/// What went wrong, and how often. A load with failures is reported, never hidden.
#[derive(Default)]
pub struct Failures(pub BTreeMap<String, u64>);

impl Failures {
    /// Counts one.
    pub fn add(&mut self, what: &str) {
        let count = self.0.entry(what.to_owned()).or_default();
        *count = count.saturating_add(1);
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

/// What one worker of a load has seen.
#[derive(Default)]
pub struct Tally {
    /// Of the whole exchange.
    pub whole: Latencies,
    /// Until the tunnel stood.
    pub tunnel: Latencies,
    /// What went wrong.
    pub failures: Failures,
}

impl Tally {
    /// Adds what another worker has seen.
    pub fn add(&mut self, other: Self) {
        self.whole.0.extend(other.whole.0);
        self.tunnel.0.extend(other.tunnel.0);
        for (what, times) in other.failures.0 {
            let count = self.failures.0.entry(what).or_default();
            *count = count.saturating_add(times);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_all_workers() {
        for (micros, want) in
            [(vec![], None), (vec![7], Some((7.0, 7.0))), ((1..=101).rev().collect::<Vec<u64>>(), Some((51.0, 100.0)))]
        {
            let mut sum = Tally::default();
            for half in micros.chunks(micros.len().div_ceil(2).max(1)) {
                let mut tally = Tally::default();
                half.iter().for_each(|micros| tally.whole.record(Duration::from_micros(*micros)));
                sum.add(tally);
            }
            let mut sample = Sample::default();
            sum.whole.put(&mut sample, Figure::RequestP50, Figure::RequestP99);
            let found = sample.get(Figure::RequestP50).zip(sample.get(Figure::RequestP99));
            assert_eq!(found, want, "{micros:?}");
        }
    }

    #[test]
    fn failures_add_up_by_kind() {
        let (mut sum, mut other) = (Tally::default(), Tally::default());
        sum.failures.add("timeout");
        other.failures.add("timeout");
        other.failures.add("connect-status-503");
        other.whole.record(Duration::from_micros(1));
        sum.add(other);
        assert_eq!((sum.failures.0["timeout"], sum.failures.total(), sum.whole.count()), (2, 3, 1));
    }
}
