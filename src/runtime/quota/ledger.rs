//! The bytes of a day: what has gone out, and what is about to. Two counters without a lock, so that what is only about to go never makes
//! a budget look spent. Not here: which limit holds (`quota`), which day it is (`budgets`).

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that have gone out, and those that somebody is about to send.
#[derive(Debug, Default)]
pub struct Ledger {
    gone: AtomicU64,
    /// `gone`, and what is reserved.
    taken: AtomicU64,
}

impl Ledger {
    /// With what has gone out before.
    pub fn new(gone: u64) -> Self {
        Self { gone: gone.into(), taken: gone.into() }
    }

    /// Bytes that have gone out.
    pub fn gone(&self) -> u64 {
        self.gone.load(Ordering::Relaxed)
    }

    /// Reserves up to `most` bytes of what `limit` leaves; none: all is gone, or reserved for a moment by others. Whoever reserves settles.
    pub fn reserve(&self, most: usize, limit: u64) -> usize {
        let mut granted = 0;
        let more = |taken: u64| {
            granted = limit.saturating_sub(taken).min(most as u64);
            Some(taken.saturating_add(granted))
        };
        // Always `Ok`: `more` never refuses.
        let _ = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        usize::try_from(granted).unwrap_or(most)
    }

    /// Of what was reserved so many bytes have gone; the others are free again.
    pub fn settle(&self, reserved: usize, gone: usize) {
        self.gone.fetch_add(gone as u64, Ordering::Relaxed);
        self.taken.fetch_sub(reserved.saturating_sub(gone) as u64, Ordering::Relaxed);
    }

    /// So many bytes have gone out elsewhere.
    pub fn add(&self, gone: u64) {
        self.gone.fetch_add(gone, Ordering::Relaxed);
        self.taken.fetch_add(gone, Ordering::Relaxed);
    }

    /// A new day: nothing has gone out yet. What is reserved just now will count to it.
    pub fn begin_day(&self) {
        let gone = self.gone.swap(0, Ordering::Relaxed);
        self.taken.fetch_sub(gone, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_is_free_again_or_gone() {
        let ledger = Ledger::new(10);
        assert_eq!((ledger.reserve(50, 100), ledger.reserve(50, 100), ledger.reserve(50, 100)), (50, 40, 0));
        assert_eq!(ledger.gone(), 10, "nothing has gone yet");
        ledger.settle(50, 20);
        assert_eq!((ledger.gone(), ledger.reserve(50, 100)), (30, 30));
        ledger.settle(40, 40);
        ledger.settle(30, 0);
        ledger.add(25);
        assert_eq!((ledger.gone(), ledger.reserve(50, 100)), (95, 5), "what has gone elsewhere counts");
    }

    #[test]
    fn a_new_day_owes_nothing_to_the_old_one() {
        let ledger = Ledger::new(0);
        assert_eq!((ledger.reserve(60, 100), ledger.reserve(30, 100)), (60, 30));
        ledger.settle(60, 60);
        ledger.begin_day();
        assert_eq!((ledger.gone(), ledger.reserve(100, 100)), (0, 70), "30 are still reserved");
        ledger.settle(30, 10);
        assert_eq!((ledger.gone(), ledger.reserve(100, 100)), (10, 20));
    }
}
