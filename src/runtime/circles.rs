//! Our own connections to customers, by the address and port that they leave from: where rules that capture them again lead in a circle,
//! the proxy is its own client and knows it. Kept only where a listener is transparent.
//! Not here: destinations that are the proxy's own sockets (`policy::addresses`).

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::address;

/// The open ones.
#[derive(Clone, Default)]
pub struct Circles(Option<Arc<Mutex<HashSet<SocketAddr>>>>);

/// An open connection of ours; it is forgotten when this is dropped.
pub struct Own {
    circles: Circles,
    local: SocketAddr,
}

impl Circles {
    /// None yet; not kept unless connections are captured.
    pub fn new(is_kept: bool) -> Self {
        Self(is_kept.then(Arc::default))
    }

    /// A connection of ours that leaves from `local`. `None`: they are not kept.
    pub fn open(&self, local: SocketAddr) -> Option<Box<Own>> {
        let local = canonical(local);
        self.lock()?.insert(local);
        Some(Box::new(Own { circles: self.clone(), local }))
    }

    /// Whether a client's address is that of a connection of ours.
    pub fn holds(&self, client: SocketAddr) -> bool {
        self.lock().is_some_and(|open| open.contains(&canonical(client)))
    }

    fn lock(&self) -> Option<MutexGuard<'_, HashSet<SocketAddr>>> {
        self.0.as_ref().map(|open| open.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(mut open) = self.circles.lock() {
            open.remove(&self.local);
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address::canonical(address.ip()), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_of_ours_is_known_as_long_as_it_is_open() {
        let circles = Circles::new(true);
        let (local, mapped) = ("192.0.2.1:5000".parse().unwrap(), "[::ffff:192.0.2.1]:5000".parse().unwrap());
        assert!(!circles.holds(local));
        let open = circles.open(mapped).unwrap();
        assert!(circles.holds(local) && circles.holds(mapped));
        assert!(!circles.holds("192.0.2.1:5001".parse().unwrap()));
        drop(open);
        assert!(!circles.holds(local));
        let none = Circles::new(false);
        assert!(none.open(local).is_none() && !none.holds(local));
    }
}
