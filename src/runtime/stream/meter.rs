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
const OPENING: u64 = 64 * 1024;

/// Bytes a second that it may send beside all else: pings and acknowledgements.
const A_SECOND: u64 = 4 * 1024;

/// Bytes for each request: its head, as long as heads may be, and its reset.
const A_REQUEST: u64 = 9 * 1024;

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
    is_silent: Cell<bool>,
}

impl Meter {
    /// Of a connection that begins.
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            left: Cell::new(signed(OPENING)),
            at: Cell::new(Instant::now()),
            open: Cell::new(0),
            is_silent: Cell::new(true),
        })
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

    /// Whether the client has sent anything.
    pub fn is_silent(&self) -> bool {
        self.is_silent.get()
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
        self.meter.is_silent.set(self.meter.is_silent.get() && came == 0);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What a client may send still.
    fn left(meter: &Meter) -> i64 {
        meter.left.get()
    }

    fn send(meter: &Meter, bytes: u64) {
        meter.left.set(left(meter) - signed(bytes));
    }

    #[test]
    fn what_is_no_tunnel_has_a_measure() {
        let meter = Meter::new();
        let begun = meter.at.get();
        send(&meter, OPENING);
        assert!(!meter.is_over(begun));
        send(&meter, 1);
        assert!(meter.is_over(begun), "more than it may say at first");
        assert!(!meter.is_over(begun + Duration::from_secs(1)), "a second brings more");
        send(&meter, A_SECOND);
        assert!(meter.is_over(begun + Duration::from_secs(1)));
    }

    #[test]
    fn a_tunnels_bytes_are_free_and_a_window_of_them_may_be_under_way() {
        let meter = Meter::new();
        let now = meter.at.get();
        meter.begin();
        send(&meter, OPENING + A_REQUEST + u64::from(STREAM_WINDOW));
        assert!(!meter.is_over(now) && !meter.is_idle());
        for _ in 0..1000 {
            meter.came(1000);
            send(&meter, 1000 + 9);
            meter.went(16 * 1024);
            send(&meter, 2 * 13);
        }
        assert!(!meter.is_over(now), "frames, and windows that open again");
        meter.end();
        assert!(meter.is_idle());
    }

    #[test]
    fn nobody_saves_up_for_a_flood() {
        let meter = Meter::new();
        let begun = meter.at.get();
        assert!(!meter.is_over(begun + Duration::from_secs(24 * 3600)));
        assert_eq!(left(&meter), signed(MAX_SAVED));
        for _ in 0..1000 {
            meter.begin();
            meter.end();
        }
        assert_eq!(left(&meter), signed(MAX_SAVED));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_read_is_counted_and_what_is_written_is_not() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let (mut client, near) = tokio::io::duplex(1024);
        let meter = Meter::new();
        let before = left(&meter);
        let mut near = Metered::new(near, Rc::clone(&meter));
        client.write_all(b"PRI * HTTP/2.0").await.unwrap();
        near.read_exact(&mut [0; 14]).await.unwrap();
        near.write_all(b"answer").await.unwrap();
        assert_eq!(left(&meter), before - 14);
    }
}
