//! The PROXY header in front of everything else: listed addresses must send one, all others must not.
//! Not here: what a header may say (`proxy_header`). Source: the contract's `proxy_protocol`; proxy-protocol.txt section 2.
//!
//! The header is looked at in the socket's own buffer and taken out whole, so what is behind it stays where TLS and HTTP look for it.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use rustix::io::retry_on_intr;
use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout_at;

use super::{Coming, Refusal, Turned};
use crate::address;
use crate::runtime::facts::Peer;
use crate::runtime::head::HeadError;
use crate::runtime::proxy_header::{Looks, MAX_PROXY_HEADER, ProxyHeader, ProxyHeaderReader, looks_like_header};

/// What the first bytes are.
enum First {
    /// A header, of so many bytes.
    Header(ProxyHeader, usize),
    /// None, and none is to be there.
    Other,
    /// A header that must not be there, or none that can be gone by.
    Refused,
    /// The client has ended without a byte.
    Silent,
    /// The client has ended in the middle of what might have been a header.
    Ended,
}

/// Reads the header of whoever must send one, and finds that of whoever must not.
pub(super) async fn open(socket: TcpStream, coming: &mut Coming) -> Result<TcpStream, Turned> {
    let Peer::Address(peer) = coming.came.peer() else { return Ok(socket) };
    let senders = &coming.entrance.senders;
    if senders.is_empty() {
        return Ok(socket);
    }
    let must_send = senders.contains(address::canonical(peer.ip()));
    let first = timeout_at(coming.deadline, poll_fn(|cx| poll_first(&socket, must_send, cx))).await;
    let error = match first {
        Ok(Ok(First::Header(header, length))) => {
            if take(&socket, length).is_ok() {
                coming.came.through(header);
                return Ok(socket);
            }
            HeadError::Gone
        }
        Ok(Ok(First::Other)) => return Ok(socket),
        Ok(Ok(First::Silent)) => return Err(Turned::Silent),
        Ok(Ok(First::Refused)) => HeadError::Proxied,
        Ok(Ok(First::Ended) | Err(_)) => HeadError::Gone,
        Err(_) => HeadError::Late,
    };
    // Before TLS there is nothing that a client of TLS could read.
    let socket = coming.entrance.tls().is_none().then_some(socket);
    Err(Turned::Refused(Box::new(Refusal { denial: error.denial(), certificate: None, socket })))
}

/// Looks at what is there, without taking it.
fn poll_first(socket: &TcpStream, must_send: bool, cx: &mut Context<'_>) -> Poll<io::Result<First>> {
    let mut bytes = [0_u8; MAX_PROXY_HEADER];
    let mut before = None;
    loop {
        ready!(socket.poll_read_ready(cx))?;
        let seen = socket.try_io(Interest::READABLE, || {
            let (count, _) = retry_on_intr(|| recv(socket, &mut bytes, RecvFlags::PEEK))?;
            let first = bytes.get(..count).unwrap_or_default();
            let seen = if must_send { header(first) } else { no_header(first) };
            // More bytes are a new event (epoll(7), edge-triggered). A socket that is ready at once again without any has come to its end.
            let is_over = before.replace(count) == Some(count);
            seen.or(is_over.then_some(First::Ended)).ok_or(io::ErrorKind::WouldBlock.into())
        });
        match seen {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            seen => return Poll::Ready(seen),
        }
    }
}

/// The header that must be there. `None`: more bytes have to tell.
fn header(first: &[u8]) -> Option<First> {
    if first.is_empty() {
        return Some(First::Silent);
    }
    let mut reader = ProxyHeaderReader::default();
    match reader.push(first) {
        Ok(None) => None,
        Ok(Some(header)) => Some(First::Header(header, first.len().saturating_sub(reader.into_unread().len()))),
        Err(_) => Some(First::Refused),
    }
}

/// The header that must not be there. `None`: more bytes have to tell. An end is for who reads on.
fn no_header(first: &[u8]) -> Option<First> {
    match looks_like_header(first) {
        Looks::Yes => Some(First::Refused),
        Looks::More if !first.is_empty() => None,
        Looks::No | Looks::More => Some(First::Other),
    }
}

/// Takes the header out of the socket; its bytes have been seen there.
fn take(socket: &TcpStream, length: usize) -> io::Result<()> {
    let mut bytes = [0_u8; MAX_PROXY_HEADER];
    let header = bytes.get_mut(..length).unwrap_or_default();
    let taken = socket
        .try_io(Interest::READABLE, || Ok(retry_on_intr(|| recv(socket, &mut *header, RecvFlags::empty()))?.0))?;
    if taken == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
