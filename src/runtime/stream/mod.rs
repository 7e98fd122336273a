//! The ends of a tunnel: a client's socket, TLS over one, or one stream of an HTTP/2 connection; upstream a socket.
//! Not here: which bytes may move (`tunnel`), how a stream came in (`front`, `http2`).
//!
//! All are read and written by polling: what moves bytes owns no end and no buffer of one. Sockets alone are what splice(2) moves.

mod http2;
mod meter;
mod socket;
mod tls;

use std::future::{pending, poll_fn};
use std::io;
use std::task::{Context, Poll, ready};

use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};

pub use http2::{GOODBYE, Http2End};
pub use meter::{Meter, Metered, STREAM_WINDOW};
pub use socket::Socket;
pub use tls::TlsEnd;

/// The client's end.
pub enum ClientStream {
    /// A TCP connection.
    Tcp(TcpStream),
    /// A connection to a Unix socket.
    Unix(UnixStream),
    /// TLS over TCP.
    Tls(Box<TlsEnd>),
    /// A stream of an HTTP/2 connection.
    Http2(Box<Http2End>),
}

/// Any end, borrowed.
#[derive(Clone, Copy)]
pub enum End<'a> {
    /// What the kernel moves by itself.
    Socket(Socket<'a>),
    /// TLS of a client.
    Tls(&'a TlsEnd),
    /// A client's stream.
    Http2(&'a Http2End),
}

impl ClientStream {
    /// It, to read from and write to.
    pub fn end(&self) -> End<'_> {
        match self {
            Self::Tcp(socket) => End::Socket(Socket::Tcp(socket)),
            Self::Unix(socket) => End::Socket(Socket::Unix(socket)),
            Self::Tls(end) => End::Tls(end),
            Self::Http2(end) => End::Http2(end),
        }
    }
}

impl<'a> From<&'a TcpStream> for End<'a> {
    fn from(socket: &'a TcpStream) -> Self {
        Self::Socket(Socket::Tcp(socket))
    }
}

impl<'a> End<'a> {
    /// The socket, if there is nothing above it.
    pub fn socket(self) -> Option<Socket<'a>> {
        match self {
            Self::Socket(socket) => Some(socket),
            Self::Tls(_) | Self::Http2(_) => None,
        }
    }

    /// Reads what is there. 0: the sender has ended its direction.
    pub fn poll_read(self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Socket(socket) => socket.poll_read(cx, into),
            Self::Tls(end) => end.poll_read(cx, into),
            Self::Http2(end) => end.poll_read(cx, into),
        }
    }

    /// Whether another byte has come (not taken), or none will. For who may take no more, but passes an end on.
    pub fn poll_more(self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        match self {
            Self::Socket(socket) => socket.poll_more(cx),
            Self::Tls(end) => end.poll_more(cx),
            Self::Http2(end) => end.poll_more(cx),
        }
    }

    /// Writes what is taken now, at least a byte; no bytes, no wait.
    pub fn poll_write(self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Socket(socket) => socket.poll_write(cx, bytes),
            Self::Tls(end) => end.poll_write(cx, bytes),
            Self::Http2(end) => end.poll_write(cx, bytes),
        }
    }

    /// Lets out what was taken and is not gone yet. To be called whenever the task runs; pending: it will be woken.
    pub fn poll_flush(self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Socket(_) | Self::Http2(_) => Poll::Ready(Ok(())),
            Self::Tls(end) => end.poll_flush(cx),
        }
    }

    /// Tells the receiver that no more comes; what it sends may go on.
    pub fn poll_end(self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Socket(socket) => Poll::Ready(socket.end()),
            Self::Tls(end) => end.poll_end(cx),
            Self::Http2(end) => Poll::Ready(end.end()),
        }
    }

    /// The error that it has met while nobody read from it, such as a reset.
    ///
    /// # Errors
    /// That error.
    pub fn broken(self, cx: &mut Context<'_>) -> io::Result<()> {
        match self {
            Self::Socket(socket) => socket.broken(),
            Self::Tls(end) => end.broken(),
            Self::Http2(end) => end.broken(cx),
        }
    }

    /// Lets closing reset it: a stream that was cut short must not look whole to its peer.
    pub fn reset(self) {
        match self {
            Self::Socket(socket) => socket.reset(),
            Self::Tls(end) => end.reset(),
            Self::Http2(end) => end.reset(),
        }
    }

    /// Ends once the client has left, where that shows without reading: on a stream of HTTP/2.
    pub async fn left(self) {
        match self {
            End::Socket(_) | End::Tls(_) => pending().await,
            End::Http2(end) => {
                poll_fn(|cx| if end.broken(cx).is_err() { Poll::Ready(()) } else { Poll::Pending }).await
            }
        }
    }

    /// Cuts a tunnel short: on HTTP/2 that shows to the client.
    pub fn cut(self) {
        match self {
            End::Socket(_) | End::Tls(_) => {}
            End::Http2(end) => end.reset(),
        }
    }

    /// Writes all of `bytes` and lets them out; tells each time how many were taken.
    ///
    /// # Errors
    /// What the end gives.
    pub async fn write_all(self, bytes: &[u8], mut taken: impl FnMut(usize)) -> io::Result<()> {
        let mut left = bytes;
        poll_fn(|cx| {
            while !left.is_empty() {
                let count = ready!(self.poll_write(cx, left))?;
                taken(count);
                left = left.get(count..).unwrap_or_default();
            }
            self.poll_flush(cx)
        })
        .await
    }

    /// The same, until `deadline`.
    ///
    /// # Errors
    /// What the end gives; `TimedOut`.
    pub async fn write_until(self, bytes: &[u8], deadline: Instant) -> io::Result<()> {
        timeout_at(deadline, self.write_all(bytes, |_| {})).await.unwrap_or_else(|late| Err(late.into()))
    }
}
