//! Sockets of both ends: listening, connecting from many source addresses, and the exchange of a CONNECT.
//! Not here: what flows through a tunnel (`conn`, `wire`). Source: RFC 9110, 9.3.6.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::names::Target;

/// Clients take so many addresses in turn, 127.0.2.1 and up: ports of one alone, in TIME-WAIT for a minute, would run out.
const SOURCES: u32 = 200;

/// Connections that the kernel holds for a listener.
const BACKLOG: i32 = 4096;

/// Upper bound in bytes of the head of an answer to CONNECT. Peers send up to 300.
const MAX_REPLY: usize = 4096;

/// Hands out client addresses in turn.
#[derive(Default)]
pub struct Sources(AtomicU32);

impl Sources {
    /// The next client's address.
    pub fn next(&self) -> Ipv4Addr {
        let number = self.0.fetch_add(1, Ordering::Relaxed) % SOURCES;
        Ipv4Addr::new(127, 0, 2, u8::try_from(number).unwrap_or_default().saturating_add(1))
    }
}

/// A proxy's answer to a CONNECT.
pub struct Reply {
    /// The connection, from behind the head on.
    pub stream: TcpStream,
    /// The status code, 0 if there is none.
    pub status: u16,
}

/// Connects from `source`, without Nagle's algorithm.
///
/// # Errors
/// What the sockets give.
pub async fn connect(source: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.bind(&SocketAddrV4::new(source, 0).into())?;
    let stream = TcpSocket::from_std_stream(socket.into()).connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A listener; with `shared`, one of several on the same address (SO_REUSEPORT).
///
/// # Errors
/// What the socket gives.
pub fn listen(address: SocketAddr, shared: bool) -> Result<TcpListener> {
    let open = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(shared)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    open().with_context(|| format!("cannot listen on {address}"))
}

/// Asks `proxy` for a tunnel to `target`.
///
/// # Errors
/// The socket's; an answer that ends, is too long, or says 200 and goes on.
pub async fn ask(proxy: SocketAddr, source: Ipv4Addr, target: &Target) -> Result<Reply> {
    let mut stream = connect(source, proxy).await?;
    let authority = target.authority();
    let head = format!(
        "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: rig/1\r\nProxy-Connection: keep-alive\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut reply = Vec::with_capacity(MAX_REPLY);
    loop {
        if stream.read_buf(&mut reply).await? == 0 {
            bail!("eof-in-connect-reply");
        }
        if let Some((head, rest)) = split_head(&reply) {
            let status = status(head).unwrap_or_default();
            if status == 200 && !rest.is_empty() {
                bail!("bytes-after-connect-reply");
            }
            return Ok(Reply { stream, status });
        }
        if reply.len() >= MAX_REPLY {
            bail!("connect-reply-too-long");
        }
    }
}

/// Asks for a tunnel and insists on it.
///
/// # Errors
/// Those of [`ask`], and any status but 200.
pub async fn tunnel(proxy: SocketAddr, source: Ipv4Addr, target: &Target) -> Result<TcpStream> {
    let reply = ask(proxy, source, target).await?;
    if reply.status != 200 {
        bail!("connect-status-{}", reply.status);
    }
    Ok(reply.stream)
}

/// A head with its empty line, and what follows it. `None`: not all there yet.
pub fn split_head(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    bytes.split_at_checked(end.checked_add(4)?)
}

/// The status code of an answer's head.
pub fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    std::str::from_utf8(line).ok()?.split(' ').nth(1)?.parse().ok()
}

/// The value of `Content-Length` in a head.
pub fn content_length(head: &[u8]) -> Option<u64> {
    std::str::from_utf8(head).ok()?.lines().find_map(|line| line.strip_prefix("Content-Length: "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_split_from_what_follows() {
        for (bytes, want) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nrest", Some((Some(200), Some(7), "rest"))),
            ("HTTP/1.0 403 No\r\n\r\n", Some((Some(403), None, ""))),
            ("HTTP/1.1\r\n\r\n", Some((None, None, ""))),
            ("HTTP/1.1 200 OK\r\n\r", None),
            ("", None),
        ] {
            let found = split_head(bytes.as_bytes());
            let found = found.map(|(head, rest)| (status(head), content_length(head), str::from_utf8(rest).unwrap()));
            assert_eq!(found, want, "{bytes:?}");
        }
    }

    #[test]
    fn sources_come_in_turn() {
        let sources = Sources::default();
        let all: Vec<Ipv4Addr> = (0..=SOURCES).map(|_| sources.next()).collect();
        assert_eq!(all[0], Ipv4Addr::new(127, 0, 2, 1));
        assert_eq!(all[199], Ipv4Addr::new(127, 0, 2, 200));
        assert_eq!(all[200], all[0]);
    }
}
