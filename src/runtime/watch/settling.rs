//! When a change of files is over: a checkout writes hundreds, an editor takes one away before it puts another one there.
//! Not here: a clock, which the caller has; what the kernel tells (`eyes`); what the files hold (`load::Inventory`).

use std::time::Duration;

use tokio::time::Instant;

use crate::runtime::load::Inventory;

/// How long nothing may stir before files are looked at, and again before what they hold is believed: what writes a file does so at a go.
pub const QUIET: Duration = Duration::from_millis(500);

/// After so long they are judged as they are: in a folder in which something writes all the time a change must count too.
pub const MAX_SETTLE: Duration = Duration::from_secs(5);

/// A change that may still be under way.
#[derive(Debug, Default)]
pub struct Settling(Option<Stirred>);

#[derive(Debug)]
struct Stirred {
    first: Instant,
    last: Instant,
    /// What the last look saw, if that was new.
    seen: Option<Inventory>,
}

impl Settling {
    /// Something stirs at `now`.
    pub fn stir(&mut self, now: Instant) {
        let stirred = self.0.get_or_insert(Stirred { first: now, last: now, seen: None });
        stirred.last = now;
    }

    /// When to look next; `None`: nothing stirs.
    pub fn due(&self) -> Option<Instant> {
        self.0.as_ref().map(|Stirred { first, last, .. }| (*last + QUIET).min(*first + MAX_SETTLE))
    }

    /// Takes what a look at `now` saw. Gives it once it is another one than what is `known`, whole, and the same for two looks.
    pub fn look(&mut self, now: Instant, seen: Inventory, known: &Inventory) -> Option<Inventory> {
        if seen.is_same(known) {
            self.0 = None;
            return None;
        }
        let stirred = self.0.get_or_insert(Stirred { first: now, last: now, seen: None });
        let is_steady = stirred.seen.as_ref().is_some_and(|before| before.is_same(&seen)) && !seen.lacks_any();
        if is_steady || now >= stirred.first + MAX_SETTLE {
            self.0 = None;
            return Some(seen);
        }
        (stirred.last, stirred.seen) = (now, Some(seen));
        None
    }

    /// Forgets what was under way and begins anew at `now`.
    pub fn restart(&mut self, now: Instant) {
        self.0 = None;
        self.stir(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One file that holds `text`; none: it is gone.
    fn seen(text: Option<&str>) -> Inventory {
        Inventory::of("a", text.map(str::as_bytes))
    }

    #[test]
    fn a_change_is_told_once_it_is_over() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let known = seen(Some("old"));
        let mut settling = Settling::default();
        assert_eq!(settling.due(), None);
        settling.stir(at(0));
        settling.stir(at(300));
        assert_eq!(settling.due(), Some(at(800)), "quiet since the last one");
        assert!(settling.look(at(800), seen(None), &known).is_none(), "it is away for a moment");
        assert!(settling.look(at(1300), seen(None), &known).is_none(), "still");
        assert!(settling.look(at(1800), seen(Some("ne")), &known).is_none(), "half of it is there");
        assert!(settling.look(at(2300), seen(Some("new")), &known).is_none(), "seen once");
        assert_eq!(settling.due(), Some(at(2800)));
        assert!(
            settling.look(at(2800), seen(Some("new")), &known).is_some_and(|told| told.is_same(&seen(Some("new"))))
        );
        assert_eq!(settling.due(), None);
    }

    #[test]
    fn what_was_only_touched_is_no_change() {
        let now = Instant::now();
        let known = seen(Some("old"));
        let mut settling = Settling::default();
        settling.stir(now);
        assert!(settling.look(now + QUIET, seen(Some("old")), &known).is_none());
        assert_eq!(settling.due(), None);
        settling.stir(now);
        settling.restart(now + MAX_SETTLE);
        assert_eq!(settling.due(), Some(now + MAX_SETTLE + QUIET));
    }

    #[test]
    fn what_never_comes_to_rest_is_judged_after_a_while() {
        let start = Instant::now();
        let known = seen(Some("old"));
        let mut settling = Settling::default();
        let mut told = None;
        for number in 0..100_u64 {
            let now = start + Duration::from_millis(100 * number);
            settling.stir(now);
            if settling.due().is_some_and(|due| due <= now) {
                told = settling.look(now, seen(None), &known);
                assert_eq!(now.duration_since(start), MAX_SETTLE);
                break;
            }
        }
        assert!(told.is_some(), "a file that stays away is a fault to be told");
    }
}
