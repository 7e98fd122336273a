//! One lookup a name in the whole process: who comes first begins it, the others wait for what it says.
//! Not here: asking (`lookup`), what is kept (`store`).
//! Source: ours. What is known and what is under way stand behind one lock, so that no name is asked for twice in between.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use super::cuts::Cuts;
use super::servers::Health;
use super::store::{Bounds, Said, Store};
use super::{Answer, Outcome};
use crate::config::Dns as Settings;
use crate::name::Fqdn;

/// Upper bound of lookups under way: some four sockets each. Half of it for names below a wildcard: a client can invent those, and must
/// not keep the others from being looked up.
pub const MAX_LOOKUPS: usize = 512;

/// The part of these places, and of those for names below a wildcard, that is kept for sources with few lookups: an eighth.
const KEPT_PART: usize = 8;

/// Upper bound of lookups that a source has under way when it takes one of the places that are kept: a cold start asks for some names at
/// once, and whoever has more waits for lookups, not for a place.
pub const MAX_FEW: usize = 8;

/// What all workers share of their lookups.
pub struct Lookups {
    state: Mutex<State>,
    health: Arc<Health>,
    cuts: Arc<Cuts>,
}

struct State {
    store: Store,
    flights: HashMap<Fqdn, Landing>,
    /// How many of them are for names below a wildcard.
    wild: usize,
    /// How many of them each source has begun; a source without any is not there.
    begun: HashMap<Arc<str>, usize>,
}

/// What comes of wanting to look a name up.
pub enum Begun {
    /// It is known.
    Known(Outcome),
    /// Somebody is asking.
    UnderWay(Landing),
    /// Nobody is: ask, and land.
    First(Flight, Landing),
    /// Too many lookups are under way.
    Crowded,
}

/// Where to wait for what a lookup says.
#[derive(Clone)]
pub struct Landing(watch::Receiver<Option<Outcome>>);

/// The one lookup of a name. Dropped without landing, it leaves the name to whoever comes next.
pub struct Flight {
    lookups: Arc<Lookups>,
    name: Fqdn,
    source: Arc<str>,
    exact: bool,
    landed: bool,
    sender: watch::Sender<Option<Outcome>>,
}

impl Lookups {
    /// Nothing known, nothing under way, all servers well.
    pub fn new(settings: &Settings) -> Self {
        let store = Store::new(Bounds {
            min_ttl: settings.min_ttl,
            max_ttl: settings.max_ttl,
            serve_stale: settings.serve_stale,
        });
        let state = State { store, flights: HashMap::new(), wild: 0, begun: HashMap::new() };
        Self { state: Mutex::new(state), health: Arc::default(), cuts: Arc::default() }
    }

    /// What is known of zones.
    pub fn cuts(&self) -> &Arc<Cuts> {
        &self.cuts
    }

    /// Which servers are passed over for now.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// What is known of `name` at `now`, or the place to wait for it. `source`: who wants it; `exact`: whether a rule lists the name.
    pub fn begin(
        self: &Arc<Self>,
        name: &Fqdn,
        source: &Arc<str>,
        exact: impl FnOnce() -> bool,
        now: Instant,
    ) -> Begun {
        let mut state = self.state();
        if let Some(outcome) = state.store.get(name, now) {
            return Begun::Known(outcome);
        }
        if let Some(landing) = state.flights.get(name) {
            return Begun::UnderWay(landing.clone());
        }
        let exact = exact();
        if !state.has_place(source, exact) {
            return Begun::Crowded;
        }
        let (sender, landing) = watch::channel(None);
        let landing = Landing(landing);
        state.flights.insert(name.clone(), landing.clone());
        state.wild = state.wild.saturating_add(usize::from(!exact));
        let begun = state.begun.entry(Arc::clone(source)).or_default();
        *begun = begun.saturating_add(1);
        let (name, source) = (name.clone(), Arc::clone(source));
        Begun::First(Flight { lookups: Arc::clone(self), name, source, exact, landed: false, sender }, landing)
    }

    /// The answer that was over not long before `now`, if a rule lists the name.
    pub fn stale(&self, name: &Fqdn, now: Instant) -> Option<Arc<Answer>> {
        self.state().store.stale(name, now)
    }

    /// Nothing panics behind this lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The last places are for sources with few lookups: one that runs wild must not keep the others from theirs.
    fn has_place(&self, source: &Arc<str>, exact: bool) -> bool {
        let has_few = self.begun.get(source).is_none_or(|begun| *begun < MAX_FEW);
        let most = |places: usize| if has_few { places } else { places.saturating_sub(places / KEPT_PART) };
        self.flights.len() < most(MAX_LOOKUPS) && (exact || self.wild < most(MAX_LOOKUPS / 2))
    }

    fn end(&mut self, flight: &Flight) {
        self.flights.remove(&flight.name);
        self.wild = self.wild.saturating_sub(usize::from(!flight.exact));
        if let Entry::Occupied(mut begun) = self.begun.entry(Arc::clone(&flight.source)) {
            *begun.get_mut() = begun.get().saturating_sub(1);
            if *begun.get() == 0 {
                begun.remove();
            }
        }
    }
}

impl Landing {
    /// What the lookup said. `None`: it ended without a word.
    pub async fn outcome(mut self) -> Option<Outcome> {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }
}

impl Flight {
    /// The name to ask for.
    pub fn name(&self) -> &Fqdn {
        &self.name
    }

    /// Keeps what was said and tells all who wait. Whoever comes later finds it in the store, or asks anew.
    pub fn land(mut self, said: Said, now: Instant) {
        let mut state = self.lookups.state();
        state.store.keep(&self.name, &said, self.exact, now);
        state.end(&self);
        drop(state);
        self.landed = true;
        self.sender.send_replace(Some(said.outcome));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.landed {
            self.lookups.state().end(self);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Failure, settings};
    use super::*;

    fn lookups() -> Arc<Lookups> {
        Arc::new(Lookups::new(&settings()))
    }

    fn name(number: usize) -> Fqdn {
        format!("n{number}.here.test").parse().unwrap()
    }

    /// `number`'s lookup, each by a source of its own.
    fn begin(lookups: &Arc<Lookups>, number: usize, exact: bool) -> Begun {
        lookups.begin(&name(number), &number.to_string().into(), || exact, Instant::now())
    }

    fn first(lookups: &Arc<Lookups>, number: usize, exact: bool) -> (Flight, Landing) {
        match begin(lookups, number, exact) {
            Begun::First(flight, landing) => (flight, landing),
            Begun::Known(_) | Begun::UnderWay(_) | Begun::Crowded => panic!("{number} is not the first"),
        }
    }

    fn is_crowded(lookups: &Arc<Lookups>, number: usize, exact: bool) -> bool {
        matches!(begin(lookups, number, exact), Begun::Crowded)
    }

    #[tokio::test]
    async fn all_who_wait_are_told_and_who_comes_later_finds_it() {
        let lookups = lookups();
        let (flight, landing) = first(&lookups, 1, true);
        let unasked = || panic!("not needed");
        let Begun::UnderWay(other) = lookups.begin(&name(1), &"other".into(), unasked, Instant::now()) else {
            panic!("a second lookup");
        };
        let answer = Arc::new(Answer::of(&[[192, 0, 2, 1].into()]));
        flight.land(Said { outcome: Ok(Arc::clone(&answer)), ttl: None }, Instant::now());
        assert_eq!(landing.outcome().await, Some(Ok(Arc::clone(&answer))));
        assert_eq!(other.outcome().await, Some(Ok(Arc::clone(&answer))));
        let Begun::Known(known) = begin(&lookups, 1, true) else { panic!("not kept") };
        assert_eq!(known, Ok(answer));
    }

    #[tokio::test]
    async fn one_that_never_lands_leaves_the_name_to_the_next() {
        let lookups = lookups();
        let (flight, landing) = first(&lookups, 1, false);
        drop(flight);
        assert_eq!(landing.outcome().await, None);
        let (next, landing) = first(&lookups, 1, false);
        next.land(Said::failed(Failure::Failed), Instant::now());
        assert_eq!(landing.outcome().await, Some(Err(Failure::Failed)));
        // Landed, it takes no other's place away: the failure is over, and a third one is under way.
        let later = Instant::now() + Duration::from_secs(2);
        let begin_later = || lookups.begin(&name(1), &"other".into(), || false, later);
        let Begun::First(third, _) = begin_later() else { panic!("kept for too long") };
        assert!(matches!(begin_later(), Begun::UnderWay(_)));
        drop(third);
        let state = lookups.state();
        assert_eq!((state.wild, state.begun.len()), (0, 0));
    }

    #[test]
    fn lookups_are_bounded_and_invented_names_leave_room() {
        let lookups = lookups();
        let mut flights: Vec<_> = (0..MAX_LOOKUPS / 2).map(|number| first(&lookups, number, false)).collect();
        assert!(is_crowded(&lookups, MAX_LOOKUPS, false), "half of it for names below a wildcard");
        flights.extend((MAX_LOOKUPS / 2..MAX_LOOKUPS).map(|number| first(&lookups, number, true)));
        assert!(is_crowded(&lookups, MAX_LOOKUPS, true));
        assert!(matches!(begin(&lookups, 0, false), Begun::UnderWay(_)));
        flights.remove(0).0.land(Said::failed(Failure::Failed), Instant::now());
        let _other = first(&lookups, MAX_LOOKUPS, false);
        assert!(is_crowded(&lookups, MAX_LOOKUPS + 1, true));
    }
    /// As many names as it gets, beginning with `number`.
    fn flood(lookups: &Arc<Lookups>, source: &str, number: usize, exact: bool) -> Vec<Flight> {
        let names = number..number + MAX_LOOKUPS;
        let begun = names.map(|number| lookups.begin(&name(number), &source.into(), || exact, Instant::now()));
        begun.map_while(|begun| if let Begun::First(flight, _) = begun { Some(flight) } else { None }).collect()
    }

    #[test]
    fn a_source_that_runs_wild_leaves_places_to_the_others() {
        for (exact, places) in [(true, MAX_LOOKUPS), (false, MAX_LOOKUPS / 2)] {
            let lookups = lookups();
            let kept = places / KEPT_PART;
            let first = flood(&lookups, "a", 0, exact);
            assert_eq!(first.len(), places - kept);
            let second = flood(&lookups, "b", 1_000, exact);
            assert_eq!(second.len(), MAX_FEW, "of what is kept a few for each");
            let others: Vec<_> = (2..)
                .map(|number| flood(&lookups, &number.to_string(), number * 1_000, exact))
                .take(kept / MAX_FEW)
                .collect();
            assert_eq!(others.iter().map(Vec::len).sum::<usize>(), kept - MAX_FEW, "and then there are none");
            drop((second, others));
            assert_eq!(flood(&lookups, "a", 90_000, exact).len(), 0, "it has its part");
            drop(first);
            assert_eq!(flood(&lookups, "b", 1_000, exact).len(), places - kept, "all are given back");
        }
    }
}
