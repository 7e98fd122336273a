//! How often each source may guess: at one name ten times at once and then once a second, at all names eight times as often. Pure: the
//! clock is an argument. Not here: guesses (`credentials`).
//! Source: PCI DSS 8.3.4 (guessing is limited); the bucket is GCRA's, which keeps one time for each.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// Guesses that a source may make at once at one name, whether anybody has it or not.
const MAX_GUESSES: u32 = 10;

/// Guesses that a source may make at once at all names: each costs a check, and a thread makes some 40 of these a second. Who guesses at a
/// few names leaves those who have another one their turn.
const MAX_SOURCE_GUESSES: u32 = 80;

/// How long it takes until all of either are back.
const ALL_BACK: Duration = Duration::from_secs(10);

/// Upper bound of sources and names that are watched at a time, some 160 of one source at the most; of those that would be more none may
/// guess until another one's are back.
const MAX_WATCHED: usize = 4096;

/// Who guesses at which name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Guess {
    source: Box<str>,
    name: Box<str>,
}

/// What each source has left.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    /// When it would have all its guesses back: at one name, and with no name at all of them. Whoever is not here has all of them.
    full_at: HashMap<Guess, Instant>,
}

impl Guess {
    /// Of a client of this source.
    pub(super) fn new(source: &str, name: &str) -> Self {
        Self { source: source.into(), name: name.into() }
    }

    /// Where it counts, and how long it takes to come back there. No credential has an empty name.
    fn buckets(&self) -> [(Self, Duration); 2] {
        let own = ALL_BACK.checked_div(MAX_GUESSES).unwrap_or(ALL_BACK);
        let all = ALL_BACK.checked_div(MAX_SOURCE_GUESSES).unwrap_or(ALL_BACK);
        [(self.clone(), own), (Self::new(&self.source, ""), all)]
    }
}

impl Throttle {
    /// Takes one guess. `false`: there is none left.
    pub(super) fn take(&mut self, guess: &Guess, now: Instant) -> bool {
        let buckets = guess.buckets();
        self.make_room(&buckets, now);
        let new = buckets.iter().filter(|(one, _)| !self.full_at.contains_key(one)).count();
        let is_room = self.full_at.len().saturating_add(new) <= MAX_WATCHED;
        let is_left = |(one, every): &(Guess, Duration)| {
            let taken = self.full_at.get(one).map_or(Duration::ZERO, |full_at| full_at.saturating_duration_since(now));
            taken <= ALL_BACK.saturating_sub(*every)
        };
        if !is_room || !buckets.iter().all(is_left) {
            return false;
        }
        for (one, every) in buckets {
            let full_at = self.full_at.entry(one).or_insert(now);
            *full_at = (*full_at).max(now) + every;
        }
        true
    }

    /// Gives one back: it was no guess, the secret was right.
    pub(super) fn give_back(&mut self, guess: &Guess) {
        for (one, every) in guess.buckets() {
            if let Some(full_at) = self.full_at.get_mut(&one) {
                *full_at = full_at.checked_sub(every).unwrap_or(*full_at);
            }
        }
    }

    /// Forgets who has all back, if there is no room for these.
    fn make_room(&mut self, buckets: &[(Guess, Duration); 2], now: Instant) {
        if self.full_at.len().saturating_add(buckets.len()) > MAX_WATCHED {
            self.full_at.retain(|_, full_at| *full_at > now);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    fn guess(source: &str, name: &str) -> Guess {
        Guess::new(source, name)
    }

    #[test]
    fn ten_at_once_then_one_a_second_for_each_name() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let taken = |throttle: &mut Throttle, at| {
            (0..100).filter(|_| throttle.take(&guess("ivr", "batch"), after(start, at))).count()
        };
        for (at, want) in [(0, 10), (999, 0), (1000, 1), (1000, 0), (3500, 2), (4000, 1), (1_000_000, 10)] {
            assert_eq!(taken(&mut throttle, at), want, "after {at} ms");
        }
        assert!(throttle.take(&guess("ivr", "mail"), after(start, 1_000_000)), "each name has its own");
        assert!(throttle.take(&guess("web", "batch"), after(start, 1_000_000)), "each source has its own");
    }

    #[test]
    fn all_names_of_a_source_have_an_end_together() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let taken = |throttle: &mut Throttle, at: u64| {
            (0..1000).filter(|number| throttle.take(&guess("ivr", &format!("{at}-{number}")), after(start, at))).count()
        };
        for (at, want) in [(0, 80), (124, 0), (125, 1), (1125, 8), (1_000_000, 80)] {
            assert_eq!(taken(&mut throttle, at), want, "after {at} ms");
        }
        assert!(throttle.take(&guess("web", "batch"), after(start, 0)), "each source has its own");
    }

    #[test]
    fn what_was_no_guess_costs_none() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..100 {
            assert!(throttle.take(&guess("ivr", "batch"), now));
            throttle.give_back(&guess("ivr", "batch"));
        }
        throttle.give_back(&guess("nobody", "batch"));
        assert_eq!((0..100).filter(|_| throttle.take(&guess("ivr", "batch"), now)).count(), 10);
        let others = (0..100).filter(|number| throttle.take(&guess("ivr", &number.to_string()), now)).count();
        assert_eq!(others, 70, "nor of those at all names");
    }

    #[test]
    fn there_is_an_end_to_who_is_watched() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        for number in 0..MAX_WATCHED / 2 {
            assert!(throttle.take(&guess(&number.to_string(), "batch"), start));
        }
        assert!(!throttle.take(&guess("one more", "batch"), start));
        assert!(!throttle.take(&guess("0", "mail"), start), "nor one more name");
        assert!(throttle.take(&guess("0", "batch"), start), "who is known goes on");
        assert!(throttle.take(&guess("one more", "batch"), after(start, 1000)), "those that have all back make room");
        assert_eq!(throttle.full_at.len(), 3);
    }

    proptest! {
        /// Whatever the times and names are, no more than the burst and what has come back since.
        #[test]
        fn no_more_than_the_burst_and_one_a_second(
            guesses in proptest::collection::vec((0_u64..500, 0..12_usize), 1..300)
        ) {
            let (mut throttle, start) = (Throttle::default(), Instant::now());
            let (mut at, mut taken) = (0, [0_u64; 12]);
            for (wait, name) in guesses {
                at += wait;
                taken[name] += u64::from(throttle.take(&guess("ivr", &name.to_string()), after(start, at)));
                prop_assert!(taken[name] <= u64::from(MAX_GUESSES) + at / 1000);
                prop_assert!(taken.iter().sum::<u64>() <= u64::from(MAX_SOURCE_GUESSES) + at / 125);
            }
        }
    }
}
