//! Reads one HTTP/1 request head from a client's end, in time, and hands the end back with the bytes that came behind it.
//! Not here: its syntax (`head_reader`), what it may say (`policy::head`), answers (`answer`).
//! Source: RFC 9112 (message syntax), RFC 9110 section 9.3.6 (CONNECT).

use std::future::{Future, poll_fn};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use crate::policy::{Denial, Reason};
use crate::runtime::head_reader::{Head, HeadReader, Malformed};
use crate::runtime::lane::Lane;
use crate::runtime::stream::{ClientStream, End};

/// Bytes taken from the socket in one call while a head is read: a head and the first flight behind it.
const READ_SIZE: usize = 4 * 1024;

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
    /// The parser, or one of its bounds, refused it.
    Malformed,
    /// It is a PROXY header, which must not come from there.
    Proxied,
}

impl HeadError {
    /// The refusal that follows from it.
    pub fn denial(self) -> Denial {
        Denial::new(match self {
            // What is cut off is refused as draining before this is asked.
            Self::Silent | Self::Gone | Self::CutOff => Reason::ClientGone,
            Self::Late => Reason::HeadTimeout,
            Self::Malformed => Reason::MalformedRequest,
            Self::Proxied => Reason::ProxyProtocolRefused,
        })
    }
}

/// The client's end and the bytes behind the head, and what was read.
pub struct Reading {
    /// The client's end.
    pub stream: ClientStream,
    /// Bytes that came behind the head: the start of the ClientHello.
    pub unread: Bytes,
    /// The head, or why there is none.
    pub head: Result<Head, HeadError>,
}

/// Reads one head from `stream` until `deadline`, for the whole head and not per read, or until `cut_off` ends. Never answers.
pub async fn read(stream: ClientStream, lane: &Lane, deadline: Instant, cut_off: impl Future<Output = ()>) -> Reading {
    let mut reader = HeadReader::default();
    let mut deadline = std::pin::pin!(sleep_until(deadline));
    let mut cut_off = std::pin::pin!(cut_off);
    let head = poll_fn(|cx| {
        if let Poll::Ready(head) = poll_head(stream.end(), lane, &mut reader, cx) {
            return Poll::Ready(head);
        }
        if cut_off.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(HeadError::CutOff));
        }
        deadline.as_mut().poll(cx).map(|()| Err(HeadError::Late))
    })
    .await;
    let head = match head {
        Err(HeadError::Gone | HeadError::CutOff) if reader.is_empty() => Err(HeadError::Silent),
        Err(HeadError::Malformed) if reader.is_proxied() => Err(HeadError::Proxied),
        head => head,
    };
    Reading { stream, unread: reader.into_unread(), head }
}

/// Reads what is there.
fn poll_head(
    from: End<'_>,
    lane: &Lane,
    reader: &mut HeadReader,
    cx: &mut Context<'_>,
) -> Poll<Result<Head, HeadError>> {
    loop {
        let came = lane.poll_read(cx, from, READ_SIZE, |_, bytes| (!bytes.is_empty()).then(|| reader.push(bytes)));
        match ready!(came).map_err(|_| HeadError::Gone)? {
            Some(Ok(None)) => {}
            None => return Poll::Ready(Err(HeadError::Gone)),
            Some(Ok(Some(head))) => return Poll::Ready(Ok(head)),
            Some(Err(Malformed)) => return Poll::Ready(Err(HeadError::Malformed)),
        }
    }
}
