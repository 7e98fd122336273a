//! Counts connections: of the whole instance and of each source. A place is given back when it is dropped. When the whole is nearly full,
//! the last places are for sources that have less than their share, so that one that runs wild, or two, don't shut out the others.
//! Not here: limits of rules and sources (`quota`), deadlines. Counting takes no lock.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;

/// Connections that are only refused, at one moment: of strangers, beyond a limit, or during a drain. They are read, so that each refusal
/// has its reason and its record, and they take no place from those that are served.
pub const MAX_REFUSALS: usize = 256;

/// The part of all places that is kept for sources with less than their share, where there are several: an eighth. No tunnel is ended to
/// make room, so what is not kept free can't be given to anybody.
const KEPT_PART: usize = 8;

/// The counters of one instance.
pub struct Gate {
    served: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    sources: ArcSwap<Sources>,
    limit: AtomicUsize,
    source_limit: AtomicUsize,
}

/// The sources of the policy in force, and those that still have connections.
#[derive(Default)]
struct Sources {
    counters: HashMap<Arc<str>, Arc<AtomicUsize>>,
    /// What each would have if all of the policy's had the same.
    share: usize,
    /// Beyond so many connections there are only places for sources with less than their share.
    common: usize,
}

/// A connection's place; it is given back when this is dropped.
pub struct Connection {
    counter: Arc<AtomicUsize>,
    admission: Admission,
}

/// A connection's place as one request holds it. An HTTP/2 connection lends its own to one of its tunnels at a time, so that it counts
/// for as many as it has tunnels, and for one if it has none.
pub enum Place {
    /// The request's own.
    Own(Connection),
    /// That of the connection on which it came.
    Lent(Lease),
}

/// A connection's place while one of its requests has it.
pub struct Lease {
    home: Rc<RefCell<Connection>>,
    /// Whether the next request may be of another source.
    is_settled_anew: bool,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.is_settled_anew {
            self.home.borrow_mut().admission = Admission::Pending;
        }
    }
}

/// How far a connection may come.
enum Admission {
    /// Which source it has is not known yet.
    Pending,
    /// Its source has a place for it.
    Served(#[expect(dead_code, reason = "held, not read: dropping it gives the place back")] SourcePlace),
    /// The instance serves as many as it may, or has places left for others alone.
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
        Self {
            served: Arc::default(),
            refused: Arc::default(),
            sources: ArcSwap::default(),
            limit: limit.into(),
            source_limit: source_limit.into(),
        }
    }

    /// Other limits, before [`Self::serve`] shares them out. Who is there stays.
    pub fn set_limits(&self, limit: usize, source_limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
        self.source_limit.store(source_limit, Ordering::Relaxed);
    }

    /// How many connections there may be.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// The sources of a policy, before it is in force. Those that were there keep their counts; others stay as long as they have connections.
    pub fn serve<'a>(&self, names: impl Iterator<Item = &'a Arc<str>>) {
        let before = self.sources.load();
        let busy = before.counters.iter().filter(|(_, counter)| counter.load(Ordering::Relaxed) > 0);
        let mut counters: HashMap<_, _> = busy.map(|(name, counter)| (Arc::clone(name), Arc::clone(counter))).collect();
        let mut count = 0_usize;
        for name in names {
            let known = || before.counters.get(name).map(Arc::clone).unwrap_or_default();
            counters.entry(Arc::clone(name)).or_insert_with(known);
            count = count.saturating_add(1);
        }
        let limit = self.limit();
        let kept = if count > 1 { limit / KEPT_PART } else { 0 };
        let share = limit.checked_div(count).unwrap_or(limit);
        self.sources.store(Arc::new(Sources { counters, share, common: limit.saturating_sub(kept) }));
    }

    /// A place for one more connection of `source`, or of a stranger. `None`: even refusals are too many; close it unread.
    pub fn enter(&self, source: Option<&str>) -> Option<Connection> {
        let admission = match source {
            _ if self.served() >= self.limit() => Admission::Overloaded,
            None => Admission::Stranger,
            Some(name) => self.enter_source(name),
        };
        let (counter, most) = match admission {
            Admission::Served(_) | Admission::Pending => (&self.served, usize::MAX),
            Admission::Overloaded | Admission::SourceFull | Admission::Stranger => (&self.refused, MAX_REFUSALS),
        };
        let before = counter.fetch_add(1, Ordering::Relaxed);
        let connection = Connection { counter: Arc::clone(counter), admission };
        (before < most).then_some(connection)
    }

    /// A place for a connection whose source only its PROXY header, certificate or credential will tell; see [`Connection::settle`]. Such
    /// connections leave the last places to others.
    pub fn enter_pending(&self) -> Option<Connection> {
        if self.served() >= self.sources.load().common.min(self.limit()) {
            return self.enter_refused();
        }
        self.served.fetch_add(1, Ordering::Relaxed);
        Some(Connection { counter: Arc::clone(&self.served), admission: Admission::Pending })
    }

    /// A place for a connection that comes while the proxy drains, or is full: all that it gets is a refusal.
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

    fn enter_source(&self, source: &str) -> Admission {
        let sources = self.sources.load();
        let Some(counter) = sources.counters.get(source) else { return Admission::SourceFull };
        let place = SourcePlace(Arc::clone(counter));
        let before = counter.fetch_add(1, Ordering::Relaxed);
        if before >= self.source_limit.load(Ordering::Relaxed) {
            Admission::SourceFull
        } else if before >= sources.share && self.served() >= sources.common {
            Admission::Overloaded
        } else {
            Admission::Served(place)
        }
    }
}

impl Connection {
    /// Takes a place among those of its source, now that it is known; `None`: it has none. Does nothing to one that is settled.
    pub fn settle(&mut self, gate: &Gate, source: Option<&str>) {
        if matches!(self.admission, Admission::Pending) {
            self.admission = source.map_or(Admission::Stranger, |name| gate.enter_source(name));
        }
    }

    /// Whether the instance has a place for it; else all that it gets is `overloaded`.
    pub fn is_within_limit(&self) -> bool {
        !matches!(self.admission, Admission::Overloaded)
    }

    /// Whether its source has a place for it; else all that it gets is `connection_limit`. A stranger has no source to be full.
    pub fn is_within_source_limit(&self) -> bool {
        matches!(self.admission, Admission::Served(_))
    }
}

impl Place {
    /// That of a connection with one request.
    pub fn own(connection: Connection) -> Self {
        Self::Own(connection)
    }

    /// That of an HTTP/2 connection, if no other request holds it. `None`: find one of its own. `by_request`: each request tells by its
    /// credential which source it has, and so settles the place anew.
    pub fn lend(home: &Rc<RefCell<Connection>>, by_request: bool) -> Option<Self> {
        let is_settled_anew = by_request && matches!(home.borrow().admission, Admission::Pending);
        (Rc::strong_count(home) == 1).then(|| Self::Lent(Lease { home: Rc::clone(home), is_settled_anew }))
    }

    /// See [`Connection::settle`].
    pub fn settle(&mut self, gate: &Gate, source: Option<&str>) {
        match self {
            Self::Own(connection) => connection.settle(gate, source),
            Self::Lent(lease) => lease.home.borrow_mut().settle(gate, source),
        }
    }

    /// See [`Connection::is_within_limit`].
    pub fn is_within_limit(&self) -> bool {
        match self {
            Self::Own(connection) => connection.is_within_limit(),
            Self::Lent(lease) => lease.home.borrow().is_within_limit(),
        }
    }

    /// See [`Connection::is_within_source_limit`].
    pub fn is_within_source_limit(&self) -> bool {
        match self {
            Self::Own(connection) => connection.is_within_source_limit(),
            Self::Lent(lease) => lease.home.borrow().is_within_source_limit(),
        }
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
    fn the_last_places_are_for_sources_with_less_than_their_share() {
        let full = |gate: &Gate, source, most: usize| -> Vec<Connection> {
            let served = (0..most).map(|_| gate.enter(Some(source)).unwrap());
            served.take_while(Connection::is_within_source_limit).collect()
        };
        for (limit, names, wild, quiet) in [
            (80, vec!["a", "b"], 70, 10),
            (80, vec!["a", "b", "c", "d"], 70, 10),
            (8, vec!["a", "b"], 7, 1),
            (7, vec!["a", "b"], 7, 0),
            (80, vec!["a"], 80, 0),
        ] {
            let gate = Gate::new(limit, limit);
            let sources: Vec<Arc<str>> = names.iter().map(|name| Arc::from(*name)).collect();
            gate.serve(sources.iter());
            let first = full(&gate, names[0], limit + 1);
            let second = full(&gate, names.get(1).copied().unwrap_or("a"), limit + 1);
            assert_eq!((first.len(), second.len()), (wild, quiet), "{limit} places for {names:?}");
            assert!(!gate.enter(Some(names[0])).unwrap().is_within_limit(), "the whole is full, not the source");
        }
        let gate = Gate::new(80, 80);
        let sources: Vec<Arc<str>> = ["a", "b"].map(Arc::from).into();
        gate.serve(sources.iter());
        let (a, b) = (full(&gate, "a", 35), full(&gate, "b", 35));
        let more = full(&gate, "a", 81);
        assert_eq!((a.len(), b.len(), more.len()), (35, 35, 5), "up to its share it finds a place");
        assert_eq!(full(&gate, "b", 81).len(), 5);
    }

    #[test]
    fn a_source_that_shows_late_counts_from_then_on() {
        let gate = gate(16, 1);
        let mut pending: Vec<Connection> = (0..14).map(|_| gate.enter_pending().unwrap()).collect();
        assert_eq!(gate.served(), 14);
        assert!(!gate.enter_pending().unwrap().is_within_limit(), "the last places are for others");
        assert!(gate.enter(Some("west")).unwrap().is_within_source_limit());
        assert!(pending.iter().all(|one| one.is_within_limit() && !one.is_within_source_limit()));
        let want = [(Some("east"), true), (Some("east"), false), (None, false), (Some("gone"), false)];
        for (one, (source, served)) in pending.iter_mut().zip(want) {
            one.settle(&gate, source);
            assert_eq!((one.is_within_limit(), one.is_within_source_limit()), (true, served), "{source:?}");
            one.settle(&gate, Some("west"));
            assert_eq!(one.is_within_source_limit(), served, "settled once");
        }
        drop(pending);
        assert_eq!(gate.connections(), 0);
        assert!(gate.enter(Some("east")).unwrap().is_within_source_limit(), "its place is free again");
    }

    #[test]
    fn a_connection_lends_its_place_to_one_request_at_a_time() {
        let gate = gate(16, 1);
        let home = Rc::new(RefCell::new(gate.enter_pending().unwrap()));
        for (source, by_request, served) in
            [(None, true, false), (Some("east"), true, true), (Some("west"), true, true)]
        {
            let mut place = Place::lend(&home, by_request).unwrap();
            assert!(Place::lend(&home, by_request).is_none(), "it has but one");
            place.settle(&gate, source);
            assert_eq!(place.is_within_source_limit(), served, "{source:?}");
            assert_eq!(gate.served(), 1);
        }
        Place::lend(&home, false).unwrap().settle(&gate, Some("east"));
        let mut place = Place::lend(&home, true).unwrap();
        place.settle(&gate, Some("west"));
        drop(place);
        assert!(gate.enter(Some("west")).unwrap().is_within_source_limit(), "a certificate settles it once for all");
        assert!(!gate.enter(Some("east")).unwrap().is_within_source_limit());
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
