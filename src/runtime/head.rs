//! Reads one HTTP/1 request head through hyper and hands the socket back, with the bytes that came behind it.
//! Not here: what the head may say (`policy::head`), answers (`answer`). hyper's own answers never reach the client.
//! Source: RFC 9112 (message syntax), RFC 9110 section 9.3.6 (CONNECT).
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, Pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::Service;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::policy::{Denial, Reason, RequestHead};

/// Upper bound in bytes for one head, blank line included. A CONNECT with every header that a browser adds stays below 2 KiB.
pub const MAX_HEAD: usize = 8 * 1024;

/// Upper bound for the number of header fields in one head.
pub const MAX_FIELDS: usize = 64;

/// Bytes taken from the socket in one call while a head is read: a head and the first flight behind it.
const READ_SIZE: usize = 4 * 1024;

/// What the parser gave for one request.
#[derive(Debug)]
pub struct Head {
    /// The method as sent; its case counts.
    pub method: Method,
    /// The request target as sent.
    pub target: String,
    /// The host and port of an absolute URI, which is all of it that may be written down.
    pub absolute: Option<(String, Option<u16>)>,
    /// How many Host fields came.
    pub hosts: usize,
    /// Whether a body was announced: `Content-Length` other than 0, or any `Transfer-Encoding`.
    pub has_body: bool,
}

impl Head {
    /// The head as the policy judges it.
    pub fn request(&self) -> RequestHead<'_> {
        RequestHead { method: self.method.as_str(), target: &self.target, hosts: self.hosts, has_body: self.has_body }
    }

    /// Whether the answer must have no body.
    pub fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }
}

impl HeadError {
    /// The refusal that follows from it.
    pub fn denial(self) -> Denial {
        Denial::new(match self {
            // What is cut off is refused as draining before this is asked.
            Self::Silent | Self::Gone | Self::CutOff => Reason::ClientGone,
            Self::Late => Reason::HeadTimeout,
            Self::Malformed => Reason::MalformedRequest,
        })
    }
}

/// Why there is no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadError {
    /// The connection ended without a byte from the client: counted, not recorded.
    Silent,
    /// The client closed or reset in the middle of the head.
    Gone,
    /// The head was not complete at the deadline.
    Late,
    /// The proxy stops.
    CutOff,
    /// The parser, or one of the bounds above, refused it.
    Malformed,
}

/// The socket and the bytes behind the head, and what was read.
pub struct Reading {
    /// The client's socket, ours alone again.
    pub socket: TcpStream,
    /// Bytes that came behind the head: the start of the ClientHello.
    pub unread: Bytes,
    /// The head, or why there is none.
    pub head: Result<Head, HeadError>,
}

/// Reads one head from `socket` until `deadline`, for the whole head and not per read, or until `cut_off` ends. Never answers.
pub async fn read(socket: TcpStream, deadline: Instant, cut_off: impl Future<Output = ()>) -> Reading {
    let slot = Slot::default();
    let mut connection = http1::Builder::new()
        .half_close(true)
        .keep_alive(false)
        .auto_date_header(false)
        .max_headers(MAX_FIELDS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(HeadIo::new(socket), slot.clone());
    let mut deadline = std::pin::pin!(sleep_until(deadline));
    let mut cut_off = std::pin::pin!(cut_off);
    let ended = poll_fn(|cx| {
        let polled = connection.poll_without_shutdown(cx);
        if slot.0.borrow().is_some() {
            return Poll::Ready(Ended::Head);
        }
        match polled {
            Poll::Ready(Err(error)) if error.is_parse() => return Poll::Ready(Ended::Refused),
            Poll::Ready(Err(_)) => return Poll::Ready(Ended::Closed),
            Poll::Ready(Ok(())) => return Poll::Ready(Ended::Closed),
            Poll::Pending => {}
        }
        if cut_off.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ended::CutOff);
        }
        deadline.as_mut().poll(cx).map(|()| Ended::Late)
    })
    .await;
    let parts = connection.into_parts();
    let HeadIo { socket, watch } = parts.io;
    let head = match (ended, slot.0.take()) {
        (Ended::Head, Some(head)) if !watch.broken => Ok(head),
        (Ended::Closed | Ended::CutOff, _) if watch.seen == 0 => Err(HeadError::Silent),
        (Ended::CutOff, _) => Err(HeadError::CutOff),
        (Ended::Closed, _) => Err(HeadError::Gone),
        (Ended::Late, _) => Err(HeadError::Late),
        (Ended::Head | Ended::Refused, _) => Err(HeadError::Malformed),
    };
    Reading { socket, unread: parts.read_buf, head }
}

#[derive(Clone, Copy)]
enum Ended {
    Head,
    Refused,
    Closed,
    Late,
    CutOff,
}

/// The service that hyper calls once: it keeps the head and never answers.
#[derive(Clone, Default)]
struct Slot(Rc<RefCell<Option<Head>>>);

impl Service<Request<Incoming>> for Slot {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Pending<Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (parts, _) = request.into_parts();
        self.0.replace(Some(Head {
            hosts: parts.headers.get_all(header::HOST).iter().count(),
            has_body: has_body(&parts.headers),
            absolute: absolute(&parts.uri),
            target: parts.uri.to_string(),
            method: parts.method,
        }));
        std::future::pending()
    }
}

fn absolute(uri: &Uri) -> Option<(String, Option<u16>)> {
    uri.scheme()?;
    Some((uri.host()?.to_owned(), uri.port_u16()))
}

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get_all(header::CONTENT_LENGTH).iter().count() > 1
        || headers.get_all(header::CONTENT_LENGTH).iter().any(|length| length.as_bytes() != b"0")
}

/// The socket as hyper sees it: reads are watched, writes are swallowed (hyper's own `400` and `100 Continue` must not go out).
struct HeadIo {
    socket: TcpStream,
    watch: Watch,
}

impl HeadIo {
    fn new(socket: TcpStream) -> Self {
        Self { socket, watch: Watch::default() }
    }
}

impl Read for HeadIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let mut buffer = [0_u8; READ_SIZE];
        let room = into.remaining().min(READ_SIZE);
        let Some(window) = buffer.get_mut(..room) else { return Poll::Ready(Ok(())) };
        loop {
            ready!(self.socket.poll_read_ready(cx))?;
            match self.socket.try_read(window) {
                Ok(count) => {
                    let bytes = window.get(..count).unwrap_or_default();
                    self.watch.see(bytes);
                    into.put_slice(bytes);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Write for HeadIo {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Sees the head's raw bytes pass and notes what hyper lets through: a line feed without a carriage return (RFC 9112 section 2.2 lets a
/// recipient take it; two parsers that differ on it is how requests are smuggled), control characters, and more than [`MAX_HEAD`] bytes.
#[derive(Default)]
struct Watch {
    seen: usize,
    line: usize,
    last: u8,
    started: bool,
    ended: bool,
    broken: bool,
}

impl Watch {
    fn see(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.ended {
                return;
            }
            self.seen = self.seen.saturating_add(1);
            self.step(byte);
            self.last = byte;
        }
    }

    fn step(&mut self, byte: u8) {
        match byte {
            b'\n' => {
                self.broken |= self.last != b'\r';
                self.ended = self.started && self.line == 0;
                self.line = 0;
            }
            b'\r' => {}
            _ => {
                self.broken |= self.last == b'\r' || (byte < b' ' && byte != b'\t') || byte == 0x7f;
                self.line = self.line.saturating_add(1);
                self.started = true;
            }
        }
        self.broken |= self.seen > MAX_HEAD;
    }
}
