//! TLS towards a client as an end of a tunnel.
//! Not here: the handshake and whose certificate it was (`client_auth`). Source: RFC 8446 section 6.1 (close_notify closes one direction).

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::socket::Socket;

/// A handshaken connection.
pub struct TlsEnd(RefCell<TlsStream<TcpStream>>);

impl TlsEnd {
    /// One of which nothing has been read.
    pub fn new(stream: TlsStream<TcpStream>) -> Self {
        Self(RefCell::new(stream))
    }

    /// See `End::poll_read`. A peer that closes without `close_notify` has ended all the same: what it sent inside is TLS of its own.
    pub(super) fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(into);
        match ready!(Pin::new(&mut *self.0.borrow_mut()).poll_read(cx, &mut buffer)) {
            Ok(()) => Poll::Ready(Ok(buffer.filled().len())),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(0)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// See `End::poll_more`.
    pub(super) fn poll_more(&self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        match ready!(Pin::new(&mut *self.0.borrow_mut()).poll_fill_buf(cx)) {
            Ok(bytes) => Poll::Ready(Ok(!bytes.is_empty())),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(false)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// See `End::poll_write`. What is taken is encrypted; what of that the socket does not take goes out by `poll_flush`.
    pub(super) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write(cx, bytes)
    }

    /// See `End::poll_flush`.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_flush(cx)
    }

    /// See `End::poll_end`.
    pub(super) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut *self.0.borrow_mut()).poll_shutdown(cx)) {
            // The receiver is gone already; the other direction will tell how.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }

    /// See `End::broken`.
    pub(super) fn broken(&self) -> io::Result<()> {
        Socket::Tcp(self.0.borrow().get_ref().0).broken()
    }

    /// See `End::reset`.
    pub(super) fn reset(&self) {
        Socket::Tcp(self.0.borrow().get_ref().0).reset();
    }
}
