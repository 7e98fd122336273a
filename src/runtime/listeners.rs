//! Listening sockets: one a worker for the same address, accepted from for ever.
//! Not here: what becomes of a connection (`session`). Source: listen(2), accept(2), socket(7) SO_REUSEPORT.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::config::Config;

/// Connections that may wait to be accepted; the kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// How long accepting rests after an error: out of descriptors or memory passes by itself, and spinning on it helps nobody.
const REST: Duration = Duration::from_millis(5);

/// A listening socket as one worker gets it.
pub struct Ear {
    /// The listener's name.
    pub name: Arc<str>,
    /// The socket.
    pub socket: std::net::TcpListener,
}

/// Every socket that the configuration asks for, bound.
pub struct Sockets {
    /// The listeners and the addresses that they have.
    pub listeners: Vec<(Arc<str>, SocketAddr)>,
    /// For each worker its own socket of each listener.
    pub ears: Vec<Vec<Ear>>,
    /// The admin port's socket and that of the probes, with the addresses that they have.
    pub admin: Vec<(std::net::TcpListener, SocketAddr)>,
    /// The admin port's address.
    pub admin_address: SocketAddr,
}

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}; free the address or write another one")]
pub struct BindError {
    /// The address as configured.
    pub address: SocketAddr,
    /// What the system says.
    pub error: io::Error,
}

impl Sockets {
    /// Binds all of them, listeners once for each of so many workers.
    ///
    /// # Errors
    /// The first address that cannot be had.
    pub fn bind(config: &Config, workers: usize) -> Result<Self, BindError> {
        let mut ears: Vec<Vec<Ear>> = (0..workers).map(|_| Vec::new()).collect();
        let mut listeners = Vec::with_capacity(config.listeners.len());
        for listener in &config.listeners {
            for (own, (socket, address)) in ears.iter_mut().zip(bind_at(listener.address, workers)?) {
                own.push(Ear { name: Arc::clone(&listener.name), socket });
                if own.len() > listeners.len() {
                    listeners.push((Arc::clone(&listener.name), address));
                }
            }
        }
        let mut admin = bind_at(config.admin, 1)?;
        let admin_address = admin.first().map_or(config.admin, |(_, address)| *address);
        if let Some(probes) = config.probes {
            admin.extend(bind_at(probes, 1)?);
        }
        Ok(Self { listeners, ears, admin, admin_address })
    }

    /// Every address that is listened on.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.iter().map(|(_, address)| *address).chain(self.admin.iter().map(|(_, address)| *address))
    }
}

fn bind_at(address: SocketAddr, count: usize) -> Result<Vec<(std::net::TcpListener, SocketAddr)>, BindError> {
    let with_address = |socket: std::net::TcpListener| socket.local_addr().map(|address| (socket, address));
    let bound = bind(address, count).and_then(|sockets| sockets.into_iter().map(with_address).collect());
    bound.map_err(|error| BindError { address, error })
}

/// `count` listening sockets for one address (port 0: one that is free), so that the kernel spreads connections and no worker is woken
/// for another's. The first is bound alone: an address that another process has, even one that would share it, is an error.
///
/// # Errors
/// What socket(2), bind(2) and listen(2) give.
fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<std::net::TcpListener>> {
    let first = unbound(address)?;
    first.bind(&address.into())?;
    let bound = first.local_addr()?;
    let mut sockets = vec![first];
    if count > 1 {
        for socket in &sockets {
            socket.set_reuse_port(true)?;
        }
        for _ in 1..count {
            let socket = unbound(address)?;
            socket.set_reuse_port(true)?;
            socket.bind(&bound)?;
            sockets.push(socket);
        }
    }
    sockets.into_iter().map(|socket| socket.listen(BACKLOG).map(|()| socket.into())).collect()
}

fn unbound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// The next connection. Errors of accept(2) are the kernel's or the peer's; none of them ends a listener.
pub async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(_) => sleep(REST).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::io::ErrorKind;
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn several_sockets_share_an_address_that_nobody_else_gets() {
        let sockets = bind("127.0.0.1:0".parse().unwrap(), 4).unwrap();
        let address = sockets[0].local_addr().unwrap();
        assert!(sockets.iter().all(|socket| socket.local_addr().unwrap() == address));
        let again = bind(address, 4).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AddrInUse);

        let clients: Vec<TcpStream> = (0..64).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut heard = HashSet::new();
        let mut accepted = 0;
        for (number, socket) in sockets.iter().enumerate() {
            while socket.accept().is_ok() {
                heard.insert(number);
                accepted += 1;
            }
        }
        assert_eq!(accepted, clients.len());
        assert!(heard.len() > 1, "all 64 came to one of four sockets");
    }
}
