//! How much of an HTTP/2 connection is not tunnels: what its client may send beside their bytes, so that floods of frames end it.
//! Not here: which frames (`h2` reads them, and bounds resets, small DATA frames and CONTINUATION by itself).
//! Source: RFC 9113 section 10.5 (SETTINGS, PING, PRIORITY, WINDOW_UPDATE and empty frames cost the receiver, and hardly the sender).

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Bytes of one tunnel that a client may send before they are read (RFC 9113 section 6.9.2): what a stalled tunnel holds at most. 64 KiB
/// within a data centre, where an answer takes half a millisecond, let through 128 MB/s on each stream.
pub const STREAM_WINDOW: u32 = 64 * 1024;

/// Bytes that a client may send before anything is said: preface, settings, windows.
const OPENING: u64 = 16 * 1024;

/// Bytes a second that it may send beside all else: pings and acknowledgements.
const A_SECOND: u64 = 4 * 1024;

/// Bytes for each request: its head, at most as long as heads may be, and its reset.
const A_REQUEST: u64 = 4 * 1024;

/// Bytes for each piece of a tunnel's bytes, either way: frame headers, and the updates of two windows.
const A_PIECE: u64 = 64;

/// Upper bound of what may be saved up beside the windows of open streams: a client that was quiet for long, or that has made many
/// requests, has no more than this to flood with.
const MAX_SAVED: u64 = 128 * 1024;

/// What a connection's client has sent, and what it might.
pub struct Meter {
    /// Bytes that it may send still; below 0: it has sent more.
    left: Cell<i64>,
    at: Cell<Instant>,
    /// Streams that are open, each of which may have a window full of bytes under way.
    open: Cell<u64>,
}

impl Meter {
    /// Of a connection that begins.
    pub fn new() -> Rc<Self> {
        Rc::new(Self { left: Cell::new(signed(OPENING)), at: Cell::new(Instant::now()), open: Cell::new(0) })
    }

    /// A request has come.
    pub fn begin(&self) {
        self.open.set(self.open.get().saturating_add(1));
        self.grant(A_REQUEST.saturating_add(u64::from(STREAM_WINDOW)));
    }

    /// A request has ended.
    pub fn end(&self) {
        self.open.set(self.open.get().saturating_sub(1));
        self.save();
    }

    /// Whether no stream is open.
    pub fn is_idle(&self) -> bool {
        self.open.get() == 0
    }

    /// So many bytes of a tunnel have come.
    pub fn came(&self, bytes: usize) {
        self.grant((bytes as u64).saturating_add(A_PIECE));
    }

    /// So many bytes of a tunnel have gone, for which the client opens its windows again.
    pub fn went(&self, bytes: usize) {
        self.grant((bytes as u64 / 64).saturating_add(A_PIECE));
    }

    /// Whether the client has sent more than it may at `now`.
    pub fn is_over(&self, now: Instant) -> bool {
        let seconds = now.saturating_duration_since(self.at.get()).as_secs();
        if seconds > 0 {
            self.at.set(now);
            self.grant(A_SECOND.saturating_mul(seconds));
            self.save();
        }
        self.left.get() < 0
    }

    fn save(&self) {
        let windows = u64::from(STREAM_WINDOW).saturating_mul(self.open.get());
        self.left.set(self.left.get().min(signed(MAX_SAVED.saturating_add(windows))));
    }

    fn grant(&self, bytes: u64) {
        self.left.set(self.left.get().saturating_add(signed(bytes)));
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A stream whose bytes are counted as they are read.
pub struct Metered<S> {
    stream: S,
    meter: Rc<Meter>,
}

impl<S> Metered<S> {
    /// Counts what is read from `stream`.
    pub fn new(stream: S, meter: Rc<Meter>) -> Self {
        Self { stream, meter }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, into))?;
        let came = into.filled().len().saturating_sub(before);
        self.meter.left.set(self.meter.left.get().saturating_sub(signed(came as u64)));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
