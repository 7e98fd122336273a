//! Listening sockets: bound once, shared by every worker, accepted from for ever.
//! Not here: what becomes of a connection (`session`). Source: listen(2), accept(2), socket(7) SO_REUSEADDR.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// Connections that may wait to be accepted; the kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// How long accepting rests after an error: out of descriptors or memory passes by itself, and spinning on it helps nobody.
const REST: Duration = Duration::from_millis(5);

/// A listening socket, or why there is none.
///
/// # Errors
/// What socket(2), bind(2) and listen(2) give.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
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
