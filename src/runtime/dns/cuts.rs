//! What is known of zones and where they begin: validated, bounded, each for its time; for the whole process.
//! Not here: finding out (`chain`). Source: RFC 4035 section 4.5 (data is kept with its verdict).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::proto::rr::Name;
use tokio::time::Instant;

use super::proof::Zone;

/// Upper bound of names of which it is known whether a zone begins there: a zone's keys are some 2 KiB.
pub const MAX_CUTS: usize = 4096;

/// Upper bound for how long a zone's keys, or that it has none, are taken for known: a key that was lost is of use to a thief no longer.
pub const MAX_CUT_TIME: Duration = Duration::from_secs(3600);

/// What there is at a name, seen from the zone above.
#[derive(Clone)]
pub enum Cut {
    /// A zone of its own, signed.
    Zone(Arc<Zone>),
    /// A zone of its own, of which the one above says that it is not signed.
    Insecure,
    /// No zone: the name is the one above's.
    Inside,
    /// No zone here or below: there is no such name.
    Nothing,
}

/// All of it.
#[derive(Default)]
pub struct Cuts(Mutex<HashMap<Name, (Cut, Instant)>>);

impl Cuts {
    /// What is known of `name`, in lower case, at `now`.
    pub fn get(&self, name: &Name, now: Instant) -> Option<Cut> {
        let cuts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cuts.get(name).filter(|(_, until)| *until > now).map(|(cut, _)| cut.clone())
    }

    /// Keeps `cut` for `ttl` seconds. When it is full what is over goes, then what clients may have invented, then all.
    pub fn keep(&self, name: &Name, cut: &Cut, ttl: u32, now: Instant) {
        let mut cuts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let time = Duration::from_secs(ttl.into()).min(MAX_CUT_TIME);
        if cuts.len() >= MAX_CUTS && !cuts.contains_key(name) {
            cuts.retain(|_, (_, until)| *until > now);
            if cuts.len() >= MAX_CUTS {
                cuts.retain(|_, (cut, _)| matches!(cut, Cut::Zone(_) | Cut::Insecure));
            }
            if cuts.len() >= MAX_CUTS {
                cuts.clear();
            }
        }
        cuts.insert(name.clone(), (cut.clone(), now + time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> Name {
        Name::from_ascii(format!("n{number}.test.")).unwrap()
    }

    #[test]
    fn each_has_its_time() {
        for (ttl, want) in [(0, 0), (60, 60), (86_400, 3600)] {
            let (cuts, now) = (Cuts::default(), Instant::now());
            cuts.keep(&name(1), &Cut::Insecure, ttl, now);
            let until = now + Duration::from_secs(want);
            assert!(cuts.get(&name(1), until).is_none(), "{ttl}");
            let last = (until - Duration::from_millis(1)).max(now);
            assert_eq!(cuts.get(&name(1), last).is_some(), want > 0, "{ttl}");
        }
    }

    #[test]
    fn it_is_bounded_and_what_clients_invent_goes_first() {
        let (cuts, now) = (Cuts::default(), Instant::now());
        cuts.keep(&name(0), &Cut::Insecure, 60, now);
        for number in 1..MAX_CUTS * 2 {
            cuts.keep(&name(number), &Cut::Nothing, 60, now);
            assert!(cuts.0.lock().unwrap().len() <= MAX_CUTS, "{number}");
        }
        assert!(cuts.get(&name(0), now).is_some() && cuts.get(&name(MAX_CUTS * 2 - 1), now).is_some());
        for number in 0..=MAX_CUTS {
            cuts.keep(&name(number), &Cut::Insecure, 60, now);
        }
        assert!(cuts.0.lock().unwrap().len() <= MAX_CUTS);
        assert!(cuts.get(&name(MAX_CUTS), now).is_some(), "the newest");
    }
}
