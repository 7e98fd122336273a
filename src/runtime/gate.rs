//! Counts connections: of the whole instance and of each source. A place is given back when it is dropped.
//! Not here: limits of rules (`policy`), deadlines. Counting takes no lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;

/// Connections beyond the limit that are still read, so that their refusal says `overloaded` and is recorded.
const REFUSALS: usize = 256;

/// The counters of one instance.
pub struct Gate {
    all: Arc<AtomicUsize>,
    sources: ArcSwap<HashMap<Arc<str>, Arc<AtomicUsize>>>,
    limit: usize,
    source_limit: usize,
}

/// A connection's place among all.
pub struct Connection {
    all: Arc<AtomicUsize>,
    within_limit: bool,
}

/// A request's place among those of its source.
pub struct SourcePlace(Arc<AtomicUsize>);

impl Gate {
    /// Counters with the limits of the whole and of one source.
    pub fn new(limit: usize, source_limit: usize) -> Self {
        Self { all: Arc::default(), sources: ArcSwap::default(), limit, source_limit }
    }

    /// The sources of a policy, before it is in force. Those that were there keep their counts; others stay as long as they have requests.
    pub fn serve<'a>(&self, names: impl Iterator<Item = &'a Arc<str>>) {
        let before = self.sources.load();
        let busy = before.iter().filter(|(_, counter)| counter.load(Ordering::Relaxed) > 0);
        let mut after: HashMap<_, _> = busy.map(|(name, counter)| (Arc::clone(name), Arc::clone(counter))).collect();
        for name in names {
            after.entry(Arc::clone(name)).or_insert_with(|| before.get(name).map(Arc::clone).unwrap_or_default());
        }
        self.sources.store(Arc::new(after));
    }

    /// A place for one more connection. `None`: so many are there that even refusals are too many; close it unread.
    pub fn enter(&self) -> Option<Connection> {
        let before = self.all.fetch_add(1, Ordering::Relaxed);
        let connection = Connection { all: Arc::clone(&self.all), within_limit: before < self.limit };
        (before < self.limit.saturating_add(REFUSALS)).then_some(connection)
    }

    /// A place for one more request of `source`. `None`: it has as many as it may.
    pub fn enter_source(&self, source: &str) -> Option<SourcePlace> {
        let sources = self.sources.load();
        let counter = sources.get(source)?;
        if counter.fetch_add(1, Ordering::Relaxed) < self.source_limit {
            return Some(SourcePlace(Arc::clone(counter)));
        }
        counter.fetch_sub(1, Ordering::Relaxed);
        None
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }
}

impl Connection {
    /// Whether it came within the instance's limit; else all that it gets is `overloaded`.
    pub fn is_within_limit(&self) -> bool {
        self.within_limit
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for SourcePlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_limit_comes_a_reserve_for_refusals_and_then_nothing() {
        let gate = Gate::new(2, 1);
        let mut places: Vec<Connection> = (0..2 + REFUSALS).map(|_| gate.enter().unwrap()).collect();
        assert_eq!(places.iter().filter(|place| place.is_within_limit()).count(), 2);
        assert!(gate.enter().is_none());
        assert_eq!(gate.connections(), 2 + REFUSALS);
        places.clear();
        assert_eq!(gate.connections(), 0);
        assert!(gate.enter().is_some_and(|place| place.is_within_limit()));
    }

    #[test]
    fn a_source_keeps_its_count_over_a_reload() {
        let (east, west): (Arc<str>, Arc<str>) = ("east".into(), "west".into());
        let gate = Gate::new(10, 2);
        gate.serve([&east].into_iter());
        let first = gate.enter_source("east").unwrap();
        gate.serve([&east, &west].into_iter());
        let _second = gate.enter_source("east").unwrap();
        assert!(gate.enter_source("east").is_none(), "two are there");
        drop(first);
        assert!(gate.enter_source("east").is_some(), "one has gone");
        assert!(gate.enter_source("west").is_some());
        assert!(gate.enter_source("north").is_none(), "a source that the policy does not know");
    }
}
