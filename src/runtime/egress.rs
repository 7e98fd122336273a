//! The static addresses that customers let in: which address the next connection leaves from.
//! Not here: connecting (`dial`). An address outside the pool is never used, whatever fails.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use ipnet::IpNet;
use prometheus::IntGauge;

use crate::runtime::metrics::Metrics;

/// One pool: its name and every address that may be bound.
#[derive(Debug)]
pub struct Pool {
    name: Arc<str>,
    v4: Ring,
    v6: Ring,
}

/// Addresses of one family, used in turn.
#[derive(Debug, Default)]
struct Ring {
    addresses: Vec<IpAddr>,
    /// For each address the count of its open connections, looked up once.
    open: Vec<OnceLock<IntGauge>>,
    next: AtomicUsize,
}

/// One open connection from a pool's address, counted while this lives.
pub struct Departure(IntGauge);

impl Departure {
    /// Counts a connection of `pool` that leaves from `address`.
    pub fn new(metrics: &Metrics, pool: &Pool, address: IpAddr) -> Self {
        let gauge = pool.open(metrics, address);
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// All pools by name.
#[derive(Debug, Default)]
pub struct Pools(BTreeMap<Arc<str>, Arc<Pool>>);

impl Pools {
    /// The pools of the configuration: name and the prefixes to bind.
    pub fn new<'a>(pools: impl Iterator<Item = (&'a str, &'a [IpNet])>) -> Self {
        Self(
            pools
                .map(|(name, bind)| Pool::new(name, bind))
                .map(|pool| (Arc::clone(&pool.name), Arc::new(pool)))
                .collect(),
        )
    }

    /// The pool of that name.
    pub fn pool(&self, name: &str) -> Option<&Arc<Pool>> {
        self.0.get(name)
    }

    /// Every address of every pool: the proxy's own, and so never a destination.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.0.values().flat_map(|pool| pool.v4.addresses.iter().chain(&pool.v6.addresses).copied())
    }
}

impl Pool {
    fn new(name: &str, bind: &[IpNet]) -> Self {
        let (v4, v6) = bind.iter().flat_map(usable).partition(IpAddr::is_ipv4);
        Self { name: name.into(), v4: Ring::new(v4), v6: Ring::new(v6) }
    }

    /// The pool's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn open(&self, metrics: &Metrics, address: IpAddr) -> IntGauge {
        let ring = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        let look_up = || metrics.egress_connections(&self.name, address);
        // At most `MAX_POOL` of them, mostly fewer than ten.
        let at = ring.addresses.iter().position(|known| *known == address);
        let open = at.and_then(|at| ring.open.get(at));
        open.map_or_else(look_up, |open| open.get_or_init(look_up).clone())
    }

    /// The addresses of `target`'s family to try, each once, beginning with the one whose turn it is. Empty: the pool has none of that family.
    pub fn turn(&self, target: IpAddr) -> impl Iterator<Item = IpAddr> {
        if target.is_ipv4() { self.v4.turn() } else { self.v6.turn() }
    }
}

/// Every address of the prefix: a pool lists what may be bound, so network and broadcast addresses are its own business.
fn usable(prefix: &IpNet) -> Vec<IpAddr> {
    match prefix {
        IpNet::V4(prefix) => (u32::from(prefix.network())..=u32::from(prefix.broadcast()))
            .take(MAX_POOL)
            .map(|bits| IpAddr::V4(bits.into()))
            .collect(),
        IpNet::V6(prefix) => (u128::from(prefix.network())..=u128::from(prefix.broadcast()))
            .take(MAX_POOL)
            .map(|bits| IpAddr::V6(bits.into()))
            .collect(),
    }
}

/// Upper bound of addresses in one pool; the configuration refuses more.
pub const MAX_POOL: usize = 1024;

impl Ring {
    fn new(addresses: Vec<IpAddr>) -> Self {
        let open = addresses.iter().map(|_| OnceLock::new()).collect();
        Self { addresses, open, next: AtomicUsize::new(0) }
    }

    fn turn(&self) -> impl Iterator<Item = IpAddr> {
        let count = self.addresses.len();
        let first = self.next.fetch_add(1, Ordering::Relaxed).checked_rem(count).unwrap_or(0);
        self.addresses.iter().cycle().skip(first).take(count).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pools(bind: &[&str]) -> Pools {
        let bind: Vec<IpNet> = bind.iter().map(|prefix| prefix.parse().unwrap()).collect();
        Pools::new([("static-a", bind.as_slice())].into_iter())
    }

    #[test]
    fn every_address_of_the_family_is_tried_once_and_the_first_one_moves_on() {
        let pools = pools(&["192.0.2.8/30", "2001:db8::7/128"]);
        let pool = pools.pool("static-a").unwrap();
        let target: IpAddr = "198.51.100.1".parse().unwrap();
        let first: Vec<IpAddr> = pool.turn(target).collect();
        let second: Vec<IpAddr> = pool.turn(target).collect();
        assert_eq!(
            first.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["192.0.2.8", "192.0.2.9", "192.0.2.10", "192.0.2.11"]
        );
        assert_eq!(second.first(), first.get(1));
        let v6: Vec<IpAddr> = pool.turn("2001:db8:1::1".parse().unwrap()).collect();
        assert_eq!(v6, ["2001:db8::7".parse::<IpAddr>().unwrap()]);
        assert_eq!(pools.addresses().count(), 5);
    }

    #[test]
    fn a_pool_without_the_family_gives_nothing() {
        let pools = pools(&["192.0.2.8/32"]);
        assert_eq!(pools.pool("static-a").unwrap().turn("2001:db8::1".parse().unwrap()).count(), 0);
        assert!(pools.pool("other").is_none());
    }
}
