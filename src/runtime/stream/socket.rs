//! A TCP or Unix socket as an end of a tunnel, read and written without waiting.
//! Not here: moving bytes between two of them inside the kernel (`lane`). Source: epoll(7) on edges, shutdown(2), socket(7) SO_LINGER.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::retry_on_intr;
use rustix::net::{RecvFlags, recv};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

/// A stream socket.
#[derive(Clone, Copy)]
pub enum Socket<'a> {
    /// Over TCP.
    Tcp(&'a TcpStream),
    /// Of this host.
    Unix(&'a UnixStream),
}

impl AsFd for Socket<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

impl Socket<'_> {
    /// Ready once something may be there to read.
    pub fn poll_read_ready(self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(socket) => socket.poll_read_ready(cx),
            Self::Unix(socket) => socket.poll_read_ready(cx),
        }
    }

    /// Ready once something may be taken.
    pub fn poll_write_ready(self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(socket) => socket.poll_write_ready(cx),
            Self::Unix(socket) => socket.poll_write_ready(cx),
        }
    }

    /// Does `call`; what comes to `WouldBlock` waits for the next edge.
    ///
    /// # Errors
    /// What the call gives; `WouldBlock` without a call if no edge has come.
    pub fn try_io<T>(self, interest: Interest, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self {
            Self::Tcp(socket) => socket.try_io(interest, call),
            Self::Unix(socket) => socket.try_io(interest, call),
        }
    }

    /// See `End::poll_read`.
    pub(super) fn poll_read(self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_read_ready(cx))?;
            if let Some(count) = self.read(into)? {
                return Poll::Ready(Ok(count));
            }
        }
    }

    /// One read; 0: the sender has ended. `None`: nothing there now. What does not fill `into` has emptied the socket, and more will be a
    /// new event (epoll(7), edge-triggered): so the socket counts as empty at once, without another read to find that out. The one
    /// exception are TCP's urgent data, which TLS never sends: a peer that does stalls its own stream until its next segment.
    fn read(self, into: &mut [u8]) -> io::Result<Option<usize>> {
        let mut came = None;
        let tried = self.try_io(Interest::READABLE, || {
            let count = retry_on_intr(|| rustix::io::read(self, &mut *into))?;
            came = Some(count);
            if count == 0 || count == into.len() { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
        });
        match (came, tried) {
            (Some(count), _) => Ok(Some(count)),
            (None, Err(error)) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            (None, _) => Ok(None),
        }
    }

    /// See `End::poll_more`.
    pub(super) fn poll_more(self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            ready!(self.poll_read_ready(cx))?;
            let peeked = self.try_io(Interest::READABLE, || {
                let mut byte = [0_u8];
                let (count, _) = retry_on_intr(|| recv(self, &mut byte, RecvFlags::PEEK))?;
                Ok(count)
            });
            match peeked {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                peeked => return Poll::Ready(peeked.map(|count| count > 0)),
            }
        }
    }

    /// See `End::poll_write`.
    pub(super) fn poll_write(self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_write_ready(cx))?;
            match self.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // One that takes nothing though it could is broken.
                Ok(0) if !bytes.is_empty() => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => return Poll::Ready(written),
            }
        }
    }

    /// One write.
    ///
    /// # Errors
    /// `WouldBlock`: it takes nothing now. Else what write(2) gives.
    pub fn try_write(self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.try_write(bytes),
            Self::Unix(socket) => socket.try_write(bytes),
        }
    }

    /// See `End::poll_end`.
    pub(super) fn end(self) -> io::Result<()> {
        match SockRef::from(&self).shutdown(std::net::Shutdown::Write) {
            // The receiver is gone already; the other direction will tell how.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }

    /// See `End::broken`.
    pub(super) fn broken(self) -> io::Result<()> {
        SockRef::from(&self).take_error()?.map_or(Ok(()), Err)
    }

    /// See `End::reset`.
    pub(super) fn reset(self) {
        // A socket that does not take the option is closed as usual.
        let _ = SockRef::from(&self).set_linger(Some(Duration::ZERO));
    }
}
