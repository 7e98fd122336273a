//! Which addresses of a pool have no port left for a destination.
//! Not here: how that shows (`dial`). Source: connect(2), EADDRNOTAVAIL: all ephemeral ports are in use.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long an address that had no port for a destination is not tried for it. To find none the kernel looks at every port, which takes 3 ms of
/// a worker for 28,000; at 500 requests a second that would be all of its time. Ports come free one by one, so nobody misses them for so long.
const FULL_TIME: Duration = Duration::from_millis(250);

/// Upper bound of pairs of address and destination; what is beyond is tried each time. Each holds a whole range of ports in use.
const MAX_FULL: usize = 1024;

/// Pairs of address and destination without a free port, each until it is tried again.
#[derive(Debug, Default)]
pub struct Full {
    /// How many there are: where none are, as nearly always, the lock is left alone.
    count: AtomicUsize,
    until: Mutex<HashMap<(IpAddr, SocketAddr), Instant>>,
}

impl Full {
    /// `from` has no port for `to`.
    pub fn note(&self, from: IpAddr, to: SocketAddr, now: Instant) {
        let mut until = self.until();
        until.retain(|_, until| *until > now);
        if until.len() < MAX_FULL {
            until.insert((from, to), now + FULL_TIME);
        }
        self.count.store(until.len(), Ordering::Relaxed);
    }

    /// The addresses that are not to be tried for `to`.
    pub fn of(&self, to: SocketAddr, now: Instant) -> Vec<IpAddr> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let mut all = self.until();
        all.retain(|_, until| *until > now);
        self.count.store(all.len(), Ordering::Relaxed);
        all.keys().filter(|(_, destination)| *destination == to).map(|(from, _)| *from).collect()
    }

    /// Nothing panics behind this lock.
    fn until(&self) -> MutexGuard<'_, HashMap<(IpAddr, SocketAddr), Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_address_is_left_out_for_that_destination_and_a_moment() {
        let full = Full::default();
        let (one, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let (to, elsewhere): (SocketAddr, SocketAddr) =
            ("198.51.100.1:443".parse().unwrap(), "198.51.100.1:444".parse().unwrap());
        let now = Instant::now();
        assert!(full.of(to, now).is_empty());
        full.note(one, to, now);
        full.note(other, to, now + FULL_TIME / 2);
        assert!(full.of(elsewhere, now).is_empty(), "another port is another destination");
        assert_eq!(full.of(to, now + FULL_TIME / 2).len(), 2);
        assert_eq!(full.of(to, now + FULL_TIME), [other]);
        assert!(full.of(to, now + FULL_TIME * 2).is_empty());
        assert_eq!(full.count.load(Ordering::Relaxed), 0, "the lock is left alone again");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let full = Full::default();
        let (from, now) = ("192.0.2.1".parse().unwrap(), Instant::now());
        let to = |port| SocketAddr::new("198.51.100.1".parse().unwrap(), port);
        (1..3000).for_each(|port| full.note(from, to(port), now));
        assert_eq!(full.until().len(), MAX_FULL);
        assert_eq!((full.of(to(1), now), full.of(to(2999), now)), (vec![from], vec![]));
        full.note(from, to(2999), now + FULL_TIME);
        assert_eq!(full.of(to(2999), now + FULL_TIME), [from], "there is room again");
    }
}
