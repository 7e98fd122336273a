//! One stream of an HTTP/2 connection as an end of a tunnel: CONNECT's DATA frames, with flow control from end to end.
//! Not here: the connection and its floods (`http2`). Source: RFC 9113 sections 5.2 (flow control), 8.5 (CONNECT), 5.4.2 (stream errors).

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::Response;

use super::meter::Meter;

/// What reading gives where the client has left in good order. Unlike an end, nobody is there to take what the server still sends.
pub const GOODBYE: io::ErrorKind = io::ErrorKind::ConnectionAborted;

/// A stream whose CONNECT was read.
pub struct Http2End(RefCell<Halves>);

struct Halves {
    /// What the client sends. Its window opens again by what is read, so a receiver that takes nothing stops this client, on this stream.
    from: RecvStream,
    /// The rest of the DATA frame that is being read.
    unread: Bytes,
    to: To,
    /// Told what flows, so that what the client sends beside it can be bounded.
    meter: Rc<Meter>,
}

/// What the client gets.
enum To {
    /// Its answer is still to come.
    Answer(SendResponse<Bytes>),
    /// The tunnel is open.
    Data(SendStream<Bytes>),
}

impl Http2End {
    /// A stream of which the head alone has been read.
    pub fn new(from: RecvStream, answer: SendResponse<Bytes>, meter: Rc<Meter>) -> Self {
        Self(RefCell::new(Halves { from, unread: Bytes::new(), to: To::Answer(answer), meter }))
    }

    /// Answers; whether the answer's body is still to come is `is_whole`.
    ///
    /// # Errors
    /// The stream is gone, or was answered before.
    pub fn answer(&self, response: Response<()>, is_whole: bool) -> io::Result<()> {
        let Halves { to, .. } = &mut *self.0.borrow_mut();
        let To::Answer(answer) = to else { return Err(io::ErrorKind::AlreadyExists.into()) };
        *to = To::Data(answer.send_response(response, is_whole).map_err(gone)?);
        Ok(())
    }

    /// See `End::poll_read`.
    pub(super) fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let Halves { from, unread, meter, .. } = &mut *self.0.borrow_mut();
        if !ready!(fill(from, unread, cx))? {
            return Poll::Ready(Ok(0));
        }
        let count = unread.len().min(into.len());
        into.get_mut(..count).unwrap_or_default().copy_from_slice(&unread.split_to(count));
        from.flow_control().release_capacity(count).map_err(gone)?;
        meter.came(count);
        Poll::Ready(Ok(count))
    }

    /// See `End::poll_more`.
    pub(super) fn poll_more(&self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let Halves { from, unread, .. } = &mut *self.0.borrow_mut();
        fill(from, unread, cx)
    }

    /// See `End::poll_write`: as much as the client's window and the bound on unsent bytes let.
    pub(super) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Halves { to, meter, .. } = &mut *self.0.borrow_mut();
        let To::Data(to) = to else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        to.reserve_capacity(bytes.len());
        while to.capacity() == 0 {
            match ready!(to.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(gone(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let part = bytes.get(..to.capacity().min(bytes.len())).unwrap_or_default();
        to.send_data(Bytes::copy_from_slice(part), false).map_err(gone)?;
        meter.went(part.len());
        Poll::Ready(Ok(part.len()))
    }

    /// See `End::poll_end`.
    pub(super) fn end(&self) -> io::Result<()> {
        match &mut self.0.borrow_mut().to {
            To::Answer(_) => Ok(()),
            // A stream that is gone has no end to be told; the other direction will tell how it went.
            To::Data(to) => to.send_data(Bytes::new(), true).or(Ok(())),
        }
    }

    /// See `End::broken`.
    pub(super) fn broken(&self, cx: &mut Context<'_>) -> io::Result<()> {
        let reset = match &mut self.0.borrow_mut().to {
            To::Answer(answer) => answer.poll_reset(cx),
            To::Data(to) => to.poll_reset(cx),
        };
        if reset.is_ready() { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }

    /// See `End::reset`. Any error of the TCP connection behind a tunnel is this one (RFC 9113 section 8.5).
    pub(super) fn reset(&self) {
        match &mut self.0.borrow_mut().to {
            To::Answer(answer) => answer.send_reset(Reason::CONNECT_ERROR),
            To::Data(to) => to.send_reset(Reason::CONNECT_ERROR),
        }
    }
}

/// Has bytes in `unread`, if more come. Empty frames are no end.
fn fill(from: &mut RecvStream, unread: &mut Bytes, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
    while unread.is_empty() {
        match ready!(from.poll_data(cx)) {
            Some(Ok(bytes)) => *unread = bytes,
            Some(Err(error)) => return Poll::Ready(Err(gone(error))),
            None => return Poll::Ready(Ok(false)),
        }
    }
    Poll::Ready(Ok(true))
}

/// A client that needs a tunnel no longer says so by CANCEL, or closes the connection; all else is a reset.
fn gone(error: h2::Error) -> io::Error {
    let is_goodbye = error.is_io() || matches!(error.reason(), Some(Reason::CANCEL | Reason::NO_ERROR));
    io::Error::new(if is_goodbye { GOODBYE } else { io::ErrorKind::ConnectionReset }, error)
}
