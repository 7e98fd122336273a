//! Reads the ClientHello from the client's end, whole and in time, before a byte goes anywhere.
//! Not here: parsing (`tls`), judging (`policy::hello`). Source: RFC 8446 section 4.1.2.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use crate::policy::{self, Denial, Reason, Routed};
use crate::runtime::lane::Lane;
use crate::runtime::stream::End;
use crate::tls::{ClientHello, HelloError, HelloReader, Progress};

/// A whole ClientHello and every byte that came with it.
pub struct Heard {
    /// What it says.
    pub hello: ClientHello,
    /// The records that it came in, to be sent on as they are.
    pub bytes: Vec<u8>,
    /// What came behind it.
    pub trailing: Vec<u8>,
}

/// Why there is no ClientHello.
#[derive(Debug)]
pub enum HelloFailure {
    /// It was not whole at the deadline; also how a protocol shows in which the server speaks first.
    Late,
    /// The client closed without a byte, or the proxy stops before one came.
    Silent,
    /// The client closed or reset.
    Gone,
    /// The bytes are not one.
    Refused(HelloError),
}

/// Bytes taken in one call: a hello with a post-quantum key share has about 2 KiB.
const READ_SIZE: usize = 4 * 1024;

/// Reads one hello, beginning with what came behind the head, until `deadline` for all of it.
///
/// # Errors
/// See [`HelloFailure`].
pub async fn read(from: End<'_>, unread: Bytes, lane: &Lane, deadline: Instant) -> Result<Heard, HelloFailure> {
    let mut reader = HelloReader::new();
    if let Progress::Complete(hello) = reader.push(&unread).map_err(HelloFailure::Refused)? {
        return Ok(heard(hello, reader));
    }
    drop(unread);
    let hello = timeout_at(deadline, poll_fn(|cx| poll_hello(from, lane, &mut reader, cx)));
    let hello = hello.await.unwrap_or(Err(HelloFailure::Late))?;
    Ok(heard(hello, reader))
}

/// Reads the hello of a client that has said nothing before, until `deadline` or until `cut_off` ends.
///
/// # Errors
/// See [`HelloFailure`].
pub async fn read_first(
    from: End<'_>,
    lane: &Lane,
    deadline: Instant,
    cut_off: impl Future<Output = ()>,
) -> Result<Heard, HelloFailure> {
    let reading = async {
        match poll_fn(|cx| from.poll_more(cx)).await {
            Ok(true) => read(from, Bytes::new(), lane, deadline).await,
            Ok(false) | Err(_) => Err(HelloFailure::Silent),
        }
    };
    tokio::select! {
        biased;
        heard = timeout_at(deadline, reading) => heard.unwrap_or(Err(HelloFailure::Late)),
        () = cut_off => Err(HelloFailure::Silent),
    }
}

/// Reads what is there.
fn poll_hello(
    from: End<'_>,
    lane: &Lane,
    reader: &mut HelloReader,
    cx: &mut Context<'_>,
) -> Poll<Result<ClientHello, HelloFailure>> {
    loop {
        let came = lane.poll_read(cx, from, READ_SIZE, |_, bytes| (!bytes.is_empty()).then(|| reader.push(bytes)));
        let progress = ready!(came).map_err(|_| HelloFailure::Gone)?.ok_or(HelloFailure::Gone)?;
        if let Progress::Complete(hello) = progress.map_err(HelloFailure::Refused)? {
            return Poll::Ready(Ok(hello));
        }
    }
}

fn heard(hello: ClientHello, reader: HelloReader) -> Heard {
    let trailing = reader.trailing().to_vec();
    Heard { hello, bytes: reader.into_bytes(), trailing }
}

/// The refusal that follows from a failure.
pub fn denial(routed: &Routed, failure: &HelloFailure) -> Denial {
    match failure {
        HelloFailure::Late => Denial::by(routed.rule(), Reason::HelloTimeout),
        HelloFailure::Silent | HelloFailure::Gone => Denial::by(routed.rule(), Reason::ClientGone),
        HelloFailure::Refused(error) => routed.hello_error(error),
    }
}

/// The same where nothing but the hello tells where the client wants to go.
pub fn early_denial(failure: &HelloFailure) -> Denial {
    Denial::new(match failure {
        HelloFailure::Late => Reason::HelloTimeout,
        HelloFailure::Silent | HelloFailure::Gone => Reason::ClientGone,
        HelloFailure::Refused(error) => policy::hello_reason(error),
    })
}
