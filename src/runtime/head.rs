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
use crate::runtime::tunnel::Lane;

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
pub async fn read(socket: TcpStream, lane: &Lane, deadline: Instant, cut_off: impl Future<Output = ()>) -> Reading {
    let slot = Slot::default();
    let mut connection = http1::Builder::new()
        .half_close(true)
        .keep_alive(false)
        .auto_date_header(false)
        .max_headers(MAX_FIELDS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(HeadIo::new(socket, lane), slot.clone());
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
    let HeadIo { socket, watch, .. } = parts.io;
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
struct HeadIo<'a> {
    socket: TcpStream,
    lane: &'a Lane,
    watch: Watch,
}

impl<'a> HeadIo<'a> {
    fn new(socket: TcpStream, lane: &'a Lane) -> Self {
        Self { socket, lane, watch: Watch::default() }
    }
}

impl Read for HeadIo<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let Self { socket, lane, watch } = &mut *self;
        let room = into.remaining().min(READ_SIZE);
        loop {
            ready!(socket.poll_read_ready(cx))?;
            let took = lane.read(socket, room, |bytes| {
                watch.see(bytes);
                into.put_slice(bytes);
            })?;
            if took.is_some() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl Write for HeadIo<'_> {
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
        let mut rest = bytes;
        while !self.ended {
            let text = rest.iter().take_while(|byte| is_text(**byte)).count();
            let (line, behind) = rest.split_at_checked(text).unwrap_or_default();
            self.text(line);
            let Some((control, behind)) = behind.split_first() else { break };
            self.control(*control);
            rest = behind;
        }
        self.broken |= self.seen > MAX_HEAD;
    }

    /// A stretch of a line.
    fn text(&mut self, text: &[u8]) {
        let Some(last) = text.last() else { return };
        self.broken |= self.last == b'\r';
        self.line = self.line.saturating_add(text.len());
        self.seen = self.seen.saturating_add(text.len());
        self.started = true;
        self.last = *last;
    }

    fn control(&mut self, byte: u8) {
        match byte {
            b'\n' => {
                self.broken |= self.last != b'\r';
                self.ended = self.started && self.line == 0;
                self.line = 0;
            }
            b'\r' => {}
            _ => {
                self.broken = true;
                self.line = self.line.saturating_add(1);
                self.started = true;
            }
        }
        self.seen = self.seen.saturating_add(1);
        self.last = byte;
    }
}

/// What may stand in a line: all but control characters; a tab is none here.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(pieces: &[&[u8]]) -> (usize, bool, bool) {
        let mut watch = Watch::default();
        pieces.iter().for_each(|piece| watch.see(piece));
        (watch.seen, watch.ended, watch.broken)
    }

    #[test]
    fn what_a_head_may_be_made_of() {
        for (head, want) in [
            ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", (35, true, false)),
            ("\r\nCONNECT a:443 HTTP/1.1\r\n\r\nmore\0", (28, true, false)),
            ("X: a\tb\u{e9}\r\n", (10, false, false)),
            ("a\n\r\n", (4, true, true)),
            ("a\rb\r\n\r\n", (7, true, true)),
            ("a\u{7f}\r\n\r\n", (6, true, true)),
            ("a\0\r\n", (4, false, true)),
        ] {
            assert_eq!(seen(&[head.as_bytes()]), want, "{head:?}");
        }
        let long = vec![b'a'; MAX_HEAD];
        assert_eq!(seen(&[&long]), (MAX_HEAD, false, false));
        assert_eq!(seen(&[&long, b"a"]), (MAX_HEAD + 1, false, true));
    }

    proptest! {
        #[test]
        fn no_split_changes_what_is_seen(head in "([ab\\t\\x00\\x7f]|\\r|\\n|\\r\\n|\\r\\n\\r\\n){0,12}") {
            let bytes = head.as_bytes();
            let each: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(seen(&[bytes]), seen(&each));
            for at in 0..=bytes.len() {
                let (first, second) = bytes.split_at(at);
                prop_assert_eq!(seen(&[bytes]), seen(&[first, second]), "split at {}", at);
            }
        }
    }
}
