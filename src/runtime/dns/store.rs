//! What lookups have said, for the whole process: bounded, each for its time.
//! Not here: asking (`lookup`), who waits (`flights`), clocks: the time comes in.
//! Source: RFC 2308 section 5 (what is not there), RFC 9520 section 3.2 (failures), RFC 8767 (what is stale).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Answer, Failure, Outcome};
use crate::name::Fqdn;

/// Upper bound of names kept: some 300 bytes each.
pub const MAX_ANSWERS: usize = 10_000;

/// Upper bound for what is not there. RFC 2308 section 5 has hours; a customer who makes a name should not wait for it.
pub const MAX_ABSENT: Duration = Duration::from_secs(30);

/// How long a failure is kept: the least of RFC 9520 section 3.2. A storm of requests for a dead name is one of queries once a second.
pub const FAILURE_TIME: Duration = Duration::from_secs(1);

/// How soon the servers are asked again for a name that is served stale: RFC 8767 section 5. Until then nobody waits for them.
pub const RECHECK: Duration = Duration::from_secs(30);

/// How often a full store is swept: each time costs a look at every entry.
const SWEEP: Duration = Duration::from_secs(1);

/// What a lookup has said of a name.
#[derive(Debug, Clone)]
pub struct Said {
    /// The answer, or why there is none.
    pub outcome: Outcome,
    /// For how long the servers say so. `None`: they gave no time.
    pub ttl: Option<Duration>,
}

impl Said {
    /// A lookup that came to nothing.
    pub fn failed(failure: Failure) -> Self {
        Self { outcome: Err(failure), ttl: None }
    }
}

/// The times between which answers are kept, whatever their servers say.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// `dns.min_ttl`.
    pub min_ttl: Duration,
    /// `dns.max_ttl`.
    pub max_ttl: Duration,
    /// `dns.serve_stale`.
    pub serve_stale: Duration,
}

/// Names and what was said of them last.
pub struct Store {
    held: HashMap<Fqdn, Held>,
    swept: Option<Instant>,
    bounds: Bounds,
}

/// The last answer, and what was said since.
struct Held {
    answer: Option<(Arc<Answer>, Instant)>,
    failure: Option<(Failure, Instant)>,
    /// Whether a rule lists the name exactly: clients cannot invent such names, and only they are served stale.
    exact: bool,
}

impl Held {
    fn get(&self, now: Instant) -> Option<Outcome> {
        let answer = self.answer.as_ref().filter(|(_, until)| *until > now).map(|(answer, _)| Ok(Arc::clone(answer)));
        answer.or_else(|| self.failure.filter(|(_, until)| *until > now).map(|(failure, _)| Err(failure)))
    }

    /// The answer that may still serve at `now`, and until when.
    fn stale(&self, bounds: &Bounds, now: Instant) -> Option<(&Arc<Answer>, Instant)> {
        let (answer, until) = self.answer.as_ref().filter(|_| self.exact)?;
        let last = *until + bounds.serve_stale;
        (last > now).then_some((answer, last))
    }
}

impl Store {
    /// An empty one.
    pub fn new(bounds: Bounds) -> Self {
        Self { held: HashMap::new(), swept: None, bounds }
    }

    /// What holds at `now`.
    pub fn get(&self, name: &Fqdn, now: Instant) -> Option<Outcome> {
        self.held.get(name)?.get(now)
    }

    /// An answer that was over at most `serve_stale` before `now`, of a name that a rule lists.
    pub fn stale(&self, name: &Fqdn, now: Instant) -> Option<Arc<Answer>> {
        let (answer, _) = self.held.get(name)?.stale(&self.bounds, now)?;
        Some(Arc::clone(answer))
    }

    /// Keeps what was said at `now`. A full store makes room for it once a second at most, else it is used once and looked up again.
    pub fn keep(&mut self, name: &Fqdn, said: &Said, exact: bool, now: Instant) {
        if self.held.len() >= MAX_ANSWERS && !self.held.contains_key(name) {
            self.make_room(now);
            if self.held.len() >= MAX_ANSWERS {
                return;
            }
        }
        let bounds = self.bounds;
        let held = self.held.entry(name.clone()).or_insert(Held { answer: None, failure: None, exact });
        held.exact = exact;
        let Bounds { min_ttl, max_ttl, .. } = bounds;
        let time = said.ttl.unwrap_or_default().clamp(min_ttl, max_ttl);
        match &said.outcome {
            Ok(answer) => (held.answer, held.failure) = (Some((Arc::clone(answer), now + time)), None),
            // RFC 8767 section 4: what the servers say is gone is gone.
            Err(absent @ Failure::Absent) => {
                (held.answer, held.failure) = (None, Some((*absent, now + time.clamp(FAILURE_TIME, MAX_ABSENT))));
            }
            Err(failure @ (Failure::Failed | Failure::TimedOut)) => {
                let until = held.stale(&bounds, now).map_or(now, |(_, last)| last.min(now + RECHECK));
                held.failure = Some((*failure, until.max(now + FAILURE_TIME)));
            }
            // RFC 4035 section 4.7. What went before holds no longer than it did, and nobody is served it instead.
            Err(bogus @ Failure::Bogus) => held.failure = Some((*bogus, now + FAILURE_TIME)),
        }
    }

    /// What is over goes first; if that is not enough, all that clients may have filled the store with: names below a wildcard.
    fn make_room(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now < swept + SWEEP) {
            return;
        }
        self.swept = Some(now);
        let bounds = self.bounds;
        self.held.retain(|_, held| held.get(now).is_some() || held.stale(&bounds, now).is_some());
        if self.held.len() >= MAX_ANSWERS {
            self.held.retain(|_, held| held.exact && held.answer.is_some());
        }
        // What is stale is the last to give way to what is not.
        if self.held.len() >= MAX_ANSWERS {
            self.held.retain(|_, held| held.get(now).is_some());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = bounds(5, 60, 0);

    const fn bounds(min_ttl: u64, max_ttl: u64, serve_stale: u64) -> Bounds {
        let seconds = Duration::from_secs;
        Bounds { min_ttl: seconds(min_ttl), max_ttl: seconds(max_ttl), serve_stale: seconds(serve_stale) }
    }

    fn name(number: usize) -> Fqdn {
        format!("n{number}.here.test").parse().unwrap()
    }

    fn answer() -> Outcome {
        Ok(Arc::new(Answer::of(&[[192, 0, 2, 1].into()])))
    }

    fn said(outcome: Outcome, ttl: Option<u64>) -> Said {
        Said { outcome, ttl: ttl.map(Duration::from_secs) }
    }

    #[test]
    fn each_has_its_time() {
        let (wide, short) = (bounds(0, 3600, 0), bounds(0, 0, 0));
        let (absent, failed, late) = (Err(Failure::Absent), Err(Failure::Failed), Err(Failure::TimedOut));
        let bogus = Err(Failure::Bogus);
        for (what, bounds, outcome, ttl, want) in [
            ("RFC 4035 section 4.7", BOUNDS, bogus, Some(20), 1),
            ("its own time", BOUNDS, answer(), Some(20), 20),
            ("no less than min_ttl", BOUNDS, answer(), Some(0), 5),
            ("no more than max_ttl", BOUNDS, answer(), Some(86_400), 60),
            ("half an answer", BOUNDS, answer(), None, 5),
            ("not at all", wide, answer(), Some(0), 0),
            ("nor here", short, answer(), Some(20), 0),
            ("RFC 2308", BOUNDS, absent.clone(), Some(20), 20),
            ("no name for long", wide, absent.clone(), Some(3600), 30),
            ("without a word", BOUNDS, absent.clone(), None, 5),
            ("without a word or a least time", wide, absent.clone(), None, 1),
            ("max_ttl holds here too", short, absent, Some(3600), 1),
            ("RFC 9520", BOUNDS, failed, Some(20), 1),
            ("RFC 9520, no answer", wide, late, None, 1),
        ] {
            let (mut store, now) = (Store::new(bounds), Instant::now());
            store.keep(&name(1), &said(outcome.clone(), ttl), false, now);
            let until = now + Duration::from_secs(want);
            assert_eq!(store.get(&name(1), until), None, "{what}");
            if want > 0 {
                assert_eq!(store.get(&name(1), until - Duration::from_millis(1)), Some(outcome), "{what}");
            }
        }
    }

    #[test]
    fn names_that_clients_invent_push_no_other_out() {
        let (mut store, now) = (Store::new(BOUNDS), Instant::now());
        store.keep(&name(0), &said(answer(), Some(60)), true, now);
        for number in 1..MAX_ANSWERS * 2 {
            store.keep(&name(number), &said(answer(), Some(60)), false, now);
            assert!(store.held.len() <= MAX_ANSWERS, "{number}");
        }
        assert!(store.get(&name(0), now).is_some(), "a listed name is kept");
        // Swept once a second, however many come.
        let held = store.held.len();
        let room = MAX_ANSWERS - held;
        for number in 0..room * 2 {
            store.keep(&name(MAX_ANSWERS * 3 + number), &said(answer(), Some(60)), false, now);
        }
        assert_eq!(store.held.len(), MAX_ANSWERS);
        store.keep(&name(MAX_ANSWERS * 9), &said(answer(), Some(60)), true, now + SWEEP);
        assert!(store.get(&name(MAX_ANSWERS * 9), now + SWEEP).is_some());
    }

    #[test]
    fn what_is_over_makes_room() {
        let (mut store, now) = (Store::new(BOUNDS), Instant::now());
        for number in 0..MAX_ANSWERS {
            store.keep(&name(number), &said(answer(), Some(if number == 7 { 50 } else { 5 })), true, now);
        }
        let later = now + Duration::from_secs(6);
        store.keep(&name(MAX_ANSWERS), &said(answer(), Some(60)), true, later);
        assert_eq!(store.held.len(), 2);
        assert!(store.get(&name(7), later).is_some() && store.get(&name(MAX_ANSWERS), later).is_some());
    }

    /// RFC 8767: only while servers fail, only for listed names, only for so long; and nobody waits for dead servers each time.
    #[test]
    fn what_is_stale_serves_while_servers_fail() {
        let (stale, none) = (bounds(0, 60, 300), bounds(0, 60, 0));
        let (failed, late, absent) = (Err(Failure::Failed), Err(Failure::TimedOut), Err(Failure::Absent));
        for (what, bounds, exact, then, at, want) in [
            ("failed", stale, true, failed.clone(), 100, true),
            ("no answer", stale, true, late.clone(), 100, true),
            ("to the last second", stale, true, late.clone(), 359, true),
            ("and no longer", stale, true, late.clone(), 360, false),
            ("gone", stale, true, absent, 100, false),
            ("below a wildcard", stale, false, late.clone(), 100, false),
            ("turned off", none, true, late, 100, false),
        ] {
            let (mut store, now) = (Store::new(bounds), Instant::now());
            store.keep(&name(1), &said(answer(), Some(60)), exact, now);
            let then_at = now + Duration::from_secs(at);
            store.keep(&name(1), &said(then.clone(), None), exact, then_at);
            assert_eq!(store.get(&name(1), then_at), Some(then), "{what}: the failure is told, and who asks decides");
            assert_eq!(store.stale(&name(1), then_at).map(Ok), want.then(answer), "{what}");
        }
    }

    /// A lie is no reason to wait for long, and makes nothing hold longer than it did.
    #[test]
    fn after_a_bogus_answer_servers_are_asked_at_once() {
        let (mut store, now) = (Store::new(bounds(0, 60, 300)), Instant::now());
        store.keep(&name(1), &said(answer(), Some(60)), true, now);
        for second in 100..=360 {
            let then = now + Duration::from_secs(second);
            assert_eq!(store.get(&name(1), then), None, "{second}");
            assert_eq!(store.stale(&name(1), then).is_some(), second < 360, "{second}");
            store.keep(&name(1), &Said::failed(Failure::Bogus), true, then);
            assert_eq!(store.get(&name(1), then), Some(Err(Failure::Bogus)), "{second}");
        }
    }

    #[test]
    fn dead_servers_are_asked_now_and_then() {
        for (at, want) in [(100, 30), (345, 15), (359, 1), (400, 1)] {
            let (mut store, now) = (Store::new(bounds(0, 60, 300)), Instant::now());
            store.keep(&name(1), &said(answer(), Some(60)), true, now);
            let then = now + Duration::from_secs(at);
            store.keep(&name(1), &Said::failed(Failure::TimedOut), true, then);
            let asked_again = then + Duration::from_secs(want);
            assert!(store.get(&name(1), asked_again - Duration::from_millis(1)).is_some(), "{at}");
            assert_eq!(store.get(&name(1), asked_again), None, "{at}");
        }
        // An answer is the end of it.
        let (mut store, now) = (Store::new(bounds(0, 60, 300)), Instant::now());
        store.keep(&name(1), &Said::failed(Failure::Failed), true, now);
        store.keep(&name(1), &said(answer(), Some(60)), true, now);
        assert_eq!(store.get(&name(1), now), Some(answer()));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Keep { name: usize, kind: u8, ttl: Option<u64> },
        Pass(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let keep = (0..4_usize, 0..4_u8, prop::option::of(0..90_u64)).prop_map(|(name, kind, ttl)| Step::Keep {
            name,
            kind,
            ttl,
        });
        prop::collection::vec(prop_oneof![keep, (0..20_u64).prop_map(Step::Pass)], 0..40)
    }

    proptest! {
        /// An answer holds for its time, a failure where there is none for its own; and nothing else is ever told.
        #[test]
        fn an_answer_holds_for_its_time_and_so_does_a_failure(steps in steps()) {
            let (mut store, mut now) = (Store::new(BOUNDS), Instant::now());
            let mut model: HashMap<usize, [Option<(Outcome, Instant)>; 2]> = HashMap::new();
            for step in steps {
                match step {
                    Step::Pass(seconds) => now += Duration::from_secs(seconds),
                    Step::Keep { name: number, kind, ttl } => {
                        let (outcome, seconds) = match kind {
                            0 => (answer(), ttl.unwrap_or(0).clamp(5, 60)),
                            1 => (Err(Failure::Absent), ttl.unwrap_or(0).clamp(5, 30)),
                            2 => (Err(Failure::Failed), 1),
                            _ => (Err(Failure::TimedOut), 1),
                        };
                        store.keep(&name(number), &said(outcome.clone(), ttl), false, now);
                        let word = Some((outcome, now + Duration::from_secs(seconds)));
                        let words = model.entry(number).or_default();
                        match kind {
                            0 => *words = [word, None],
                            1 => *words = [None, word],
                            _ => words[1] = word,
                        }
                    }
                }
                for number in 0..4 {
                    let mut words = model.get(&number).into_iter().flatten().flatten();
                    let want = words.find(|(_, until)| *until > now).map(|(outcome, _)| outcome.clone());
                    prop_assert_eq!(store.get(&name(number), now), want);
                }
            }
        }
    }
}
