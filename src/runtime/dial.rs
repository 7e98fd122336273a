//! Connects to one of the addresses that the policy judged, and to nothing else.
//! Not here: which addresses those are (`policy::addresses`), names (`dns`).
//! Source: RFC 8305 sections 4 and 5 (order of addresses, racing them), RFC 6555.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustix::io::Errno;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout_at};

use crate::policy::Reason;
use crate::runtime::egress::Pool;
use crate::runtime::sys;

/// How long one attempt has for itself before the next address is tried beside it (RFC 8305 section 5, "Connection Attempt Delay").
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Upper bound of attempts under way for one request: sockets beside the one that the tunnel will have.
const MAX_ATTEMPTS: usize = 3;

/// Upper bound of addresses tried for one request; the deadline seldom allows more.
const MAX_TRIED: usize = 8;

/// An open connection to a judged address.
#[derive(Debug)]
pub struct Dialled {
    /// The socket.
    pub socket: TcpStream,
    /// The judged address that it leads to.
    pub upstream: IpAddr,
    /// The address that it leaves from.
    pub local: IpAddr,
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
    let Some(pool) = pool else {
        let unbound =
            if address.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
        return connect(address, port, unbound).await.map_err(|error| reason(&error));
    };
    for from in pool.turn(address) {
        match connect(address, port, from).await {
            Ok(dialled) if dialled.local == from => return Ok(dialled),
            Ok(_) => return Err(Reason::EgressAddressMismatch),
            Err(error) if is_unavailable(&error) => {}
            Err(error) => return Err(reason(&error)),
        }
    }
    Err(Reason::EgressAddressUnavailable)
}

async fn connect(address: IpAddr, port: u16, from: IpAddr) -> io::Result<Dialled> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if !from.is_unspecified() {
        sys::bind_address_no_port(socket.as_fd())?;
        socket.bind(SocketAddr::new(from, 0))?;
    }
    let socket = socket.connect(SocketAddr::new(address, port)).await?;
    socket.set_nodelay(true)?;
    let local = socket.local_addr()?.ip();
    Ok(Dialled { socket, upstream: address, local })
}

/// The source address is gone or has no port left for this destination: another one may do.
fn is_unavailable(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse)
}

fn reason(error: &io::Error) -> Reason {
    match Errno::from_io_error(error) {
        Some(Errno::CONNREFUSED) => Reason::UpstreamRefused,
        Some(Errno::TIMEDOUT) => Reason::UpstreamTimeout,
        Some(Errno::ADDRNOTAVAIL) => Reason::EgressAddressUnavailable,
        _ => Reason::UpstreamUnreachable,
    }
}
