//! Counts connections: of the whole instance and of each source. A place is given back when it is dropped.
//! Not here: limits of rules (`policy`), deadlines. Counting takes no lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;

/// Connections that are only refused, at one moment: of strangers, beyond a limit, or during a drain. They are read, so that each refusal
/// has its reason and its record, and they take no place from those that are served.
pub const MAX_REFUSALS: usize = 256;

/// The counters of one instance.
pub struct Gate {
    served: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    sources: ArcSwap<HashMap<Arc<str>, Arc<AtomicUsize>>>,
    limit: usize,
    source_limit: usize,
}

/// A connection's place; it is given back when this is dropped.
pub struct Connection {
    counter: Arc<AtomicUsize>,
    admission: Admission,
}

/// How far a connection may come.
enum Admission {
    /// Its source has a place for it.
    Served(#[expect(dead_code, reason = "held, not read: dropping it gives the place back")] SourcePlace),
    /// The instance serves as many as it may.
    Overloaded,
    /// Its source has as many as it may.
    SourceFull,
    /// It comes from no source.
    Stranger,
}

/// A connection's place among those of its source.
struct SourcePlace(Arc<AtomicUsize>);

impl Gate {
    /// Counters with the limits of the whole and of one source.
    pub fn new(limit: usize, source_limit: usize) -> Self {
        Self { served: Arc::default(), refused: Arc::default(), sources: ArcSwap::default(), limit, source_limit }
    }

    /// The sources of a policy, before it is in force. Those that were there keep their counts; others stay as long as they have connections.
    pub fn serve<'a>(&self, names: impl Iterator<Item = &'a Arc<str>>) {
        let before = self.sources.load();
        let busy = before.iter().filter(|(_, counter)| counter.load(Ordering::Relaxed) > 0);
        let mut after: HashMap<_, _> = busy.map(|(name, counter)| (Arc::clone(name), Arc::clone(counter))).collect();
        for name in names {
            after.entry(Arc::clone(name)).or_insert_with(|| before.get(name).map(Arc::clone).unwrap_or_default());
        }
        self.sources.store(Arc::new(after));
    }

    /// A place for one more connection of `source`, or of a stranger. `None`: even refusals are too many; close it unread.
    pub fn enter(&self, source: Option<&str>) -> Option<Connection> {
        let admission = match source.map(|name| self.enter_source(name)) {
            _ if self.served.load(Ordering::Relaxed) >= self.limit => Admission::Overloaded,
            None => Admission::Stranger,
            Some(None) => Admission::SourceFull,
            Some(Some(place)) => Admission::Served(place),
        };
        let (counter, most) = match admission {
            Admission::Served(_) => (&self.served, usize::MAX),
            Admission::Overloaded | Admission::SourceFull | Admission::Stranger => (&self.refused, MAX_REFUSALS),
        };
        let before = counter.fetch_add(1, Ordering::Relaxed);
        let connection = Connection { counter: Arc::clone(counter), admission };
        (before < most).then_some(connection)
    }

    /// A place for a connection that comes while the proxy drains: all that it gets is a refusal.
    pub fn enter_refused(&self) -> Option<Connection> {
        let before = self.refused.fetch_add(1, Ordering::Relaxed);
        let connection = Connection { counter: Arc::clone(&self.refused), admission: Admission::Overloaded };
        (before < MAX_REFUSALS).then_some(connection)
    }

    /// How many connections are served.
    pub fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }

    /// How many connections there are, those that are only refused included.
    pub fn connections(&self) -> usize {
        self.served().saturating_add(self.refused.load(Ordering::Relaxed))
    }

    fn enter_source(&self, source: &str) -> Option<SourcePlace> {
        let sources = self.sources.load();
        let counter = sources.get(source)?;
        let place = SourcePlace(Arc::clone(counter));
        (counter.fetch_add(1, Ordering::Relaxed) < self.source_limit).then_some(place)
    }
}

impl Connection {
    /// Whether the instance has a place for it; else all that it gets is `overloaded`.
    pub fn is_within_limit(&self) -> bool {
        !matches!(self.admission, Admission::Overloaded)
    }

    /// Whether its source has a place for it; else all that it gets is `connection_limit`. A stranger has no source to be full.
    pub fn is_within_source_limit(&self) -> bool {
        matches!(self.admission, Admission::Served(_))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.counter.fetch_sub(1, Ordering::Relaxed);
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

    fn gate(limit: usize, source_limit: usize) -> Gate {
        let gate = Gate::new(limit, source_limit);
        let names: [Arc<str>; 2] = ["east".into(), "west".into()];
        gate.serve(names.iter());
        gate
    }

    #[test]
    fn beyond_the_limit_comes_a_reserve_for_refusals_and_then_nothing() {
        let gate = gate(2, 2);
        let served: Vec<Connection> = (0..2).map(|_| gate.enter(Some("east")).unwrap()).collect();
        assert!(served.iter().all(|one| one.is_within_limit() && one.is_within_source_limit()));
        let refused: Vec<Connection> = (0..MAX_REFUSALS).map(|_| gate.enter(Some("west")).unwrap()).collect();
        assert!(refused.iter().all(|one| !one.is_within_limit()));
        assert!(gate.enter(Some("west")).is_none(), "even refusals are too many");
        assert_eq!((gate.served(), gate.connections()), (2, 2 + MAX_REFUSALS));
        drop((served, refused));
        assert_eq!(gate.connections(), 0);
        assert!(gate.enter(Some("west")).is_some_and(|one| one.is_within_source_limit()));
    }

    #[test]
    fn neither_strangers_nor_a_full_source_take_a_place_from_others() {
        let gate = gate(10, 1);
        let strangers: Vec<Connection> = (0..100).map(|_| gate.enter(None).unwrap()).collect();
        let first = gate.enter(Some("east")).unwrap();
        let more: Vec<Connection> = (0..100).map(|_| gate.enter(Some("east")).unwrap()).collect();
        assert!(more.iter().chain(&strangers).all(|one| one.is_within_limit() && !one.is_within_source_limit()));
        assert_eq!(gate.served(), 1);
        assert!(gate.enter(Some("west")).is_some_and(|one| one.is_within_source_limit()));
        drop(first);
        assert!(gate.enter(Some("east")).is_some_and(|one| one.is_within_source_limit()), "its place is free again");
    }

    #[test]
    fn a_source_keeps_its_count_over_a_reload() {
        let (east, north): (Arc<str>, Arc<str>) = ("east".into(), "north".into());
        let gate = gate(10, 2);
        let first = gate.enter(Some("east")).unwrap();
        gate.serve([&east, &north].into_iter());
        let _second = gate.enter(Some("east")).unwrap();
        assert!(!gate.enter(Some("east")).unwrap().is_within_source_limit(), "two are there");
        drop(first);
        assert!(gate.enter(Some("east")).unwrap().is_within_source_limit(), "one has gone");
        assert!(!gate.enter(Some("west")).unwrap().is_within_source_limit(), "a source that has gone has no place");
        assert!(gate.enter(Some("north")).unwrap().is_within_source_limit());
    }
}
