//! How often each source may guess: ten times at once, then once a second. Pure: the clock is an argument.
//! Not here: guesses (`credentials`).
//! Source: PCI DSS 8.3.4 (guessing is limited); the bucket is GCRA's, which keeps one time for each.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// Guesses that a source may make at once.
const MAX_GUESSES: u32 = 10;

/// How long one of them takes to come back.
const GUESS_EVERY: Duration = Duration::from_secs(1);

/// Upper bound of sources that are watched at a time; of those that would be more none may guess until another one's are back.
const MAX_WATCHED: usize = 4096;

/// What each source has left.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    /// When a source would have all its guesses back. Whoever is not here has all of them.
    full_at: HashMap<Box<str>, Instant>,
}

impl Throttle {
    /// Takes one guess. `false`: there is none left.
    pub(super) fn take(&mut self, who: &str, now: Instant) -> bool {
        if self.full_at.len() >= MAX_WATCHED && !self.full_at.contains_key(who) {
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= MAX_WATCHED {
                return false;
            }
        }
        let full_at = self.full_at.get(who).copied().unwrap_or(now).max(now);
        let taken = full_at.saturating_duration_since(now);
        if taken > GUESS_EVERY.saturating_mul(MAX_GUESSES.saturating_sub(1)) {
            return false;
        }
        self.full_at.insert(who.into(), full_at + GUESS_EVERY);
        true
    }

    /// Gives one back: it was no guess, the secret was right.
    pub(super) fn give_back(&mut self, who: &str) {
        if let Some(full_at) = self.full_at.get_mut(who) {
            *full_at = full_at.checked_sub(GUESS_EVERY).unwrap_or(*full_at);
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

    #[test]
    fn ten_at_once_then_one_a_second() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let taken = |throttle: &mut Throttle, at| (0..100).filter(|_| throttle.take("ivr", after(start, at))).count();
        for (at, want) in [(0, 10), (999, 0), (1000, 1), (1000, 0), (3500, 2), (4000, 1), (1_000_000, 10)] {
            assert_eq!(taken(&mut throttle, at), want, "after {at} ms");
        }
        assert!(throttle.take("web", after(start, 0)), "each source has its own");
    }

    #[test]
    fn what_was_no_guess_costs_none() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..100 {
            assert!(throttle.take("ivr", now));
            throttle.give_back("ivr");
        }
        throttle.give_back("nobody");
        assert_eq!((0..100).filter(|_| throttle.take("ivr", now)).count(), 10);
    }

    #[test]
    fn there_is_an_end_to_sources() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        for number in 0..MAX_WATCHED {
            assert!(throttle.take(&number.to_string(), start));
        }
        assert!(!throttle.take("one more", start));
        assert!(throttle.take("0", start), "who is known goes on");
        assert!(throttle.take("one more", after(start, 1000)), "those that have all back make room");
        assert_eq!(throttle.full_at.len(), 2);
    }

    proptest! {
        /// Whatever the times are, no more than the burst and one for each second that has passed.
        #[test]
        fn no_more_than_the_burst_and_one_a_second(waits in proptest::collection::vec(0_u64..3000, 1..200)) {
            let (mut throttle, start) = (Throttle::default(), Instant::now());
            let (mut at, mut taken) = (0, 0);
            for wait in waits {
                at += wait;
                taken += u64::from(throttle.take("ivr", after(start, at)));
                prop_assert!(taken <= u64::from(MAX_GUESSES) + at / 1000);
            }
        }
    }
}
