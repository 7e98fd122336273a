//! The static addresses that customers let in: which address the next connection leaves from, and which of them are out.
//! Not here: connecting (`dial`), looking after them (`egress::watch`). An address outside the pool is never used, whatever fails.
//! Source: the contract: `egress.pools`; ip(7), IP_BIND_ADDRESS_NO_PORT.

mod full;
#[cfg(test)]
mod tests;
pub mod watch;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use ipnet::IpNet;
use tokio::net::TcpSocket;
use tokio::sync::Notify;

use self::full::Full;
use crate::config::Config;
use crate::runtime::metrics::EgressMetrics;
use crate::runtime::sys;

/// Upper bound of addresses in one pool; the configuration refuses more.
pub const MAX_POOL: usize = 1024;

/// All pools by name.
#[derive(Debug, Default)]
pub struct Pools {
    pools: BTreeMap<Arc<str>, Arc<Pool>>,
    losses: Arc<Notify>,
}

/// One pool: its name and every address that may be bound.
#[derive(Debug)]
pub struct Pool {
    name: Arc<str>,
    v4: Family,
    v6: Family,
    full: Full,
    losses: Arc<Notify>,
}

/// The addresses of one family.
#[derive(Debug, Default)]
struct Family {
    addresses: Vec<Arc<Address>>,
    /// Where the next search begins, so that those with as many connections have their turns.
    next: AtomicUsize,
}

/// One address of a pool.
#[derive(Debug)]
pub struct Address {
    ip: IpAddr,
    /// Connections that leave from it, those that are only tried included.
    open: AtomicUsize,
    state: AtomicU8,
    exhausted: AtomicU64,
    unroutable: AtomicU64,
}

/// It can be bound, as far as anybody knows.
const UP: u8 = 0;
/// It can't be bound, which is not told yet.
const LOST: u8 = 1;
/// It can't be bound, which is told.
const OUT: u8 = 2;

/// A connection that leaves from an address, or tries to, counted while this lives.
#[derive(Debug)]
pub struct Departure(Arc<Address>);

impl Departure {
    fn new(address: &Arc<Address>) -> Self {
        address.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(address))
    }

    /// The address.
    pub fn ip(&self) -> IpAddr {
        self.0.ip
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pools {
    /// The pools of the configuration: name and the prefixes to bind. All addresses count as up until one can't be bound.
    pub fn new<'a>(pools: impl Iterator<Item = (&'a str, &'a [IpNet])>) -> Self {
        let losses = Arc::default();
        let pools = pools.map(|(name, bind)| Pool::new(name, bind, &losses));
        Self { pools: pools.map(|pool| (Arc::clone(&pool.name), Arc::new(pool))).collect(), losses }
    }

    /// Those of this configuration.
    pub fn of(config: &Config) -> Self {
        Self::new(config.pools.iter().map(|(name, pool)| (name.as_str(), pool.bind.as_slice())))
    }

    /// The pool of that name.
    pub fn pool(&self, name: &str) -> Option<&Arc<Pool>> {
        self.pools.get(name)
    }

    /// Every address of every pool: the proxy's own, and so never a destination.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.each().map(|(_, address)| address.ip)
    }

    /// How many addresses are out.
    pub fn out(&self) -> usize {
        self.each().filter(|(_, address)| !address.is_up()).count()
    }

    /// What of each pool this host can't bind now, in as few prefixes as it takes; pools of which it can bind all are left out.
    pub fn missing(&self) -> BTreeMap<Arc<str>, Vec<IpNet>> {
        let mut missing = BTreeMap::<_, Vec<IpNet>>::new();
        for (pool, address) in self.each().filter(|(_, address)| is_gone(address.ip)) {
            missing.entry(Arc::clone(pool)).or_default().push(address.ip.into());
        }
        missing.into_iter().map(|(pool, addresses)| (pool, IpNet::aggregate(&addresses))).collect()
    }

    /// Puts connections and states of all addresses into the metrics.
    pub fn show(&self, metrics: &EgressMetrics) {
        for (pool, address) in self.each() {
            let ip = address.ip.to_string();
            let labels = [&**pool, ip.as_str()];
            let open = i64::try_from(address.open.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
            metrics.connections.with_label_values(&labels).set(open);
            metrics.up.with_label_values(&labels).set(i64::from(address.is_up()));
            metrics.exhausted.with_label_values(&labels).inc_by(address.exhausted.swap(0, Ordering::Relaxed));
            metrics.unroutable.with_label_values(&labels).inc_by(address.unroutable.swap(0, Ordering::Relaxed));
        }
    }

    /// Every address with its pool's name.
    fn each(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Address>)> {
        self.pools.values().flat_map(|pool| pool.addresses().map(|address| (&pool.name, address)))
    }
}

impl Pool {
    fn new(name: &str, bind: &[IpNet], losses: &Arc<Notify>) -> Self {
        let (v4, v6): (Vec<_>, Vec<_>) = bind.iter().flat_map(usable).partition(IpAddr::is_ipv4);
        let (v4, v6) = (Family::new(v4), Family::new(v6));
        Self { name: name.into(), v4, v6, full: Full::default(), losses: Arc::clone(losses) }
    }

    /// The pool's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How many addresses there are for destinations of `to`'s family.
    pub fn size(&self, to: IpAddr) -> usize {
        self.family(to).addresses.len()
    }

    /// The address from which the next connection to `to` leaves: of those that are up and are not known to be full, the one with the fewest
    /// connections, in turn if several have as few. `None`: there is none.
    pub fn depart(&self, to: SocketAddr, now: Instant) -> Option<Departure> {
        self.family(to.ip()).least(&self.full.of(to, now)).map(Departure::new)
    }

    /// The address of `departure` can't be bound: it is out until the watch has bound it again.
    pub fn lose(&self, departure: &Departure) {
        if departure.0.lose() {
            self.losses.notify_one();
        }
    }

    /// No port of that address is free for `to`: it is not tried for that destination again for a moment.
    pub fn exhausted(&self, departure: &Departure, to: SocketAddr, now: Instant) {
        departure.0.exhausted.fetch_add(1, Ordering::Relaxed);
        self.full.note(departure.ip(), to, now);
    }

    /// The host has no way from that address to `to`: it is not tried for that destination again for a moment.
    pub fn unroutable(&self, departure: &Departure, to: SocketAddr, now: Instant) {
        departure.0.unroutable.fetch_add(1, Ordering::Relaxed);
        self.full.note(departure.ip(), to, now);
    }

    fn addresses(&self) -> impl Iterator<Item = &Arc<Address>> {
        self.v4.addresses.iter().chain(&self.v6.addresses)
    }

    fn family(&self, of: IpAddr) -> &Family {
        if of.is_ipv4() { &self.v4 } else { &self.v6 }
    }
}

impl Family {
    fn new(addresses: Vec<IpAddr>) -> Self {
        Self { addresses: addresses.into_iter().map(Address::new).collect(), next: AtomicUsize::new(0) }
    }

    /// A look at each: the exact answer, and for 1024 addresses it takes a microsecond.
    fn least(&self, full: &[IpAddr]) -> Option<&Arc<Address>> {
        let first = self.next.fetch_add(1, Ordering::Relaxed).checked_rem(self.addresses.len())?;
        let (behind, before) = (self.addresses.get(first..)?, self.addresses.get(..first)?);
        let usable = behind.iter().chain(before).filter(|address| address.is_up() && !full.contains(&address.ip));
        usable.min_by_key(|address| address.open.load(Ordering::Relaxed))
    }
}

impl Address {
    fn new(ip: IpAddr) -> Arc<Self> {
        Arc::new(Self {
            ip,
            open: AtomicUsize::new(0),
            state: AtomicU8::new(UP),
            exhausted: AtomicU64::new(0),
            unroutable: AtomicU64::new(0),
        })
    }

    fn is_up(&self) -> bool {
        self.state.load(Ordering::Relaxed) == UP
    }

    /// Whether it was up until now.
    fn lose(&self) -> bool {
        self.changes(UP, LOST)
    }

    fn changes(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// A socket that leaves from that address; `None`: it can't be bound. What else the host knows of it, such as a route, does not count.
///
/// # Errors
/// There is no socket to be had, which says nothing of the address.
pub fn bound(from: IpAddr) -> io::Result<Option<TcpSocket>> {
    let socket = if from.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    sys::bind_address_no_port(socket.as_fd())?;
    Ok(socket.bind(SocketAddr::new(from, 0)).is_ok().then_some(socket))
}

/// Whether nothing can leave from that address, as far as the host knows: it can't be bound, or it is a link's broadcast address, which can,
/// but then connections leave from another.
///
/// # Errors
/// There is no socket to be had, which says nothing of the address.
pub fn is_unusable(address: IpAddr) -> io::Result<bool> {
    Ok(bound(address)?.is_none() || is_broadcast(address)?)
}

/// Whether that address is known to be unusable.
pub fn is_gone(address: IpAddr) -> bool {
    is_unusable(address).is_ok_and(|unusable| unusable)
}

/// Without SO_BROADCAST nothing may be sent to a broadcast address (socket(7)); this sends nothing.
fn is_broadcast(address: IpAddr) -> io::Result<bool> {
    if address.is_ipv6() {
        return Ok(false);
    }
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    Ok(socket.connect((address, DISCARD)).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied))
}

/// A port that has to be named (RFC 863).
const DISCARD: u16 = 9;

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
