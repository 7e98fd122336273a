//! Connects to one of the addresses that the policy judged, and to nothing else.
//! Not here: which addresses those are (`policy::addresses`), names (`dns`).
//! Source: RFC 8305 sections 4 and 5 (order of addresses, racing them), RFC 6555.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustix::io::Errno;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::policy::Reason;
use crate::runtime::egress::{self, Departure, Pool};

/// How long one attempt has for itself before the next address is tried beside it (RFC 8305 section 5, "Connection Attempt Delay").
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Upper bound of attempts under way for one request: sockets beside the one that the tunnel will have.
const MAX_ATTEMPTS: usize = 3;

/// Upper bound of a pool's addresses that one request finds without a port or a way; those are left alone for a moment, and the next request
/// begins behind them.
const MAX_PASSED_OVER: usize = 16;

/// Upper bound of addresses tried for one request; the deadline seldom allows more.
const MAX_TRIED: usize = 8;

/// How often the address that an attempt leaves from is looked at while nothing answers.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// An open connection to a judged address.
#[derive(Debug)]
pub struct Dialled {
    /// The socket.
    pub socket: TcpStream,
    /// The judged address that it leads to.
    pub upstream: IpAddr,
    /// The address that it leaves from.
    pub local: IpAddr,
    /// Its place among the connections of its pool's address, if it leaves from one.
    pub departure: Option<Departure>,
}

/// Why a connection did not come about from one address of a pool.
enum Failure {
    /// The host does not have the address, or not any more.
    Gone,
    /// No port of the address is free for this destination.
    Full,
    /// The host knows no way from the address to this destination.
    Unroutable,
    /// What would not be better from another address.
    Failed(Reason),
}

/// Races the judged `addresses`, each at most once, until one is open or `deadline` has passed.
///
/// # Errors
/// `upstream_refused`, `upstream_timeout`, `upstream_unreachable`, `egress_address_unavailable`, `egress_address_mismatch`: of several
/// failed attempts the first counts, unless it only says that the pool has no address of that family.
pub async fn dial(
    addresses: &[IpAddr],
    port: u16,
    pool: Option<&Arc<Pool>>,
    deadline: Instant,
) -> Result<Dialled, Reason> {
    let mut waiting = in_order(addresses).into_iter().take(MAX_TRIED);
    let mut attempts = FuturesUnordered::new();
    let mut failure = None;
    let race = async {
        loop {
            if attempts.len() < MAX_ATTEMPTS
                && let Some(address) = waiting.next()
            {
                attempts.push(attempt(address, port, pool));
            } else if attempts.is_empty() {
                return Err(failure.unwrap_or(Reason::UpstreamUnreachable));
            }
            tokio::select! {
                Some(ended) = attempts.next() => match ended {
                    Ok(dialled) => return Ok(dialled),
                    Err(reason) => failure = Some(more_telling(failure, reason)),
                },
                () = sleep(ATTEMPT_DELAY), if waiting.len() > 0 && attempts.len() < MAX_ATTEMPTS => {}
            }
        }
    };
    timeout_at(deadline, race).await.unwrap_or(Err(Reason::UpstreamTimeout))
}

/// The first failure counts, unless it only says that the pool has no address of that family: then the next one tells more.
fn more_telling(first: Option<Reason>, next: Reason) -> Reason {
    first.filter(|reason| *reason != Reason::EgressAddressUnavailable).unwrap_or(next)
}

/// IPv6 first, then the families in turn (RFC 8305 section 4).
fn in_order(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut v6 = addresses.iter().copied().filter(IpAddr::is_ipv6);
    let mut v4 = addresses.iter().copied().filter(IpAddr::is_ipv4);
    let mut order = Vec::with_capacity(addresses.len());
    while order.len() < addresses.len() {
        order.extend(v6.next());
        order.extend(v4.next());
    }
    order
}

async fn attempt(address: IpAddr, port: u16, pool: Option<&Arc<Pool>>) -> Result<Dialled, Reason> {
    let to = SocketAddr::new(address, port);
    match pool {
        Some(pool) => leave(pool, to).await,
        None => {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
            let connected = async { dialled(socket?.connect(to).await?, address) }.await;
            connected.map_err(|error| reason(&error))
        }
    }
}

/// Tries the pool's addresses, each at most once, until one of them tells what the destination is like.
async fn leave(pool: &Pool, to: SocketAddr) -> Result<Dialled, Reason> {
    let (mut failure, mut passed_over) = (Reason::EgressAddressUnavailable, 0);
    for _ in 0..pool.size(to.ip()) {
        let Some(departure) = pool.depart(to, std::time::Instant::now()) else { break };
        match connect(departure.ip(), to).await {
            Ok(dialled) if dialled.local == departure.ip() => {
                return Ok(Dialled { departure: Some(departure), ..dialled });
            }
            // The kernel took another address: what it does that with can't be used. Nothing was sent but the handshake.
            Ok(_) => {
                failure = Reason::EgressAddressMismatch;
                pool.lose(&departure);
            }
            Err(Failure::Gone) => pool.lose(&departure),
            Err(Failure::Unroutable) => {
                failure = Reason::UpstreamUnreachable;
                pool.unroutable(&departure, to, std::time::Instant::now());
                passed_over += 1;
            }
            Err(Failure::Full) => {
                pool.exhausted(&departure, to, std::time::Instant::now());
                passed_over += 1;
                // To find that out took as long as hundreds of other steps take.
                yield_now().await;
            }
            Err(Failure::Failed(reason)) => return Err(reason),
        }
        if passed_over == MAX_PASSED_OVER {
            break;
        }
    }
    Err(failure)
}

/// A connection from that address of a pool. What was sent from an address that is gone is never answered: so it is looked at again meanwhile.
async fn connect(from: IpAddr, to: SocketAddr) -> Result<Dialled, Failure> {
    let failed = |error: io::Error, at_once: bool| {
        let reason = reason(&error);
        if egress::is_gone(from) {
            Failure::Gone
        } else if matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse) {
            Failure::Full
        } else if at_once && reason == Reason::UpstreamUnreachable {
            Failure::Unroutable
        } else {
            Failure::Failed(reason)
        }
    };
    let Some(socket) = egress::bound(from).map_err(|error| failed(error, false))? else { return Err(Failure::Gone) };
    let mut connecting = pin!(socket.connect(to));
    let ended = |connected: io::Result<TcpStream>, at_once| {
        connected.and_then(|socket| dialled(socket, to.ip())).map_err(|error| failed(error, at_once))
    };
    // What fails before anything is sent fails for this host's own reasons: from another address it may not.
    if let Ok(connected) = timeout(Duration::ZERO, &mut connecting).await {
        return ended(connected, true);
    }
    loop {
        match timeout(LOOK_AGAIN, &mut connecting).await {
            Ok(connected) => return ended(connected, false),
            Err(_) if egress::is_gone(from) => return Err(Failure::Gone),
            Err(_) => {}
        }
    }
}

fn dialled(socket: TcpStream, upstream: IpAddr) -> io::Result<Dialled> {
    socket.set_nodelay(true)?;
    let local = socket.local_addr()?.ip();
    Ok(Dialled { socket, upstream, local, departure: None })
}

fn reason(error: &io::Error) -> Reason {
    match Errno::from_io_error(error) {
        Some(Errno::CONNREFUSED) => Reason::UpstreamRefused,
        Some(Errno::TIMEDOUT) => Reason::UpstreamTimeout,
        // Without a pool: no port of the system's address is free.
        Some(Errno::ADDRNOTAVAIL) => Reason::EgressAddressUnavailable,
        _ => Reason::UpstreamUnreachable,
    }
}
