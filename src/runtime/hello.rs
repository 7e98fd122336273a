//! Reads the ClientHello from the client's socket, whole and in time, before a byte goes anywhere.
//! Not here: parsing (`tls`), judging (`policy::hello`). Source: RFC 8446 section 4.1.2.

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::policy::{Denial, Reason, Routed};
use crate::runtime::lane::Lane;
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
    /// The client closed or reset.
    Gone,
    /// The bytes are not one.
    Refused(HelloError),
}

/// Bytes taken from the socket in one call: a hello with a post-quantum key share has about 2 KiB.
const READ_SIZE: usize = 4 * 1024;

/// Reads one hello, beginning with what came behind the head, until `deadline` for all of it.
///
/// # Errors
/// See [`HelloFailure`].
pub async fn read(socket: &TcpStream, unread: Bytes, lane: &Lane, deadline: Instant) -> Result<Heard, HelloFailure> {
    let mut reader = HelloReader::new();
    if let Progress::Complete(hello) = reader.push(&unread).map_err(HelloFailure::Refused)? {
        return Ok(heard(hello, reader));
    }
    drop(unread);
    timeout_at(deadline, async {
        loop {
            socket.readable().await.map_err(|_| HelloFailure::Gone)?;
            let came = lane.read(socket, READ_SIZE, |bytes| (!bytes.is_empty()).then(|| reader.push(bytes)));
            match came.map_err(|_| HelloFailure::Gone)? {
                None => {}
                Some(None) => return Err(HelloFailure::Gone),
                Some(Some(progress)) => {
                    if let Progress::Complete(hello) = progress.map_err(HelloFailure::Refused)? {
                        return Ok(heard(hello, reader));
                    }
                }
            }
        }
    })
    .await
    .unwrap_or(Err(HelloFailure::Late))
}

fn heard(hello: ClientHello, reader: HelloReader) -> Heard {
    let trailing = reader.trailing().to_vec();
    Heard { hello, bytes: reader.into_bytes(), trailing }
}

/// The refusal that follows from a failure.
pub fn denial(routed: &Routed, failure: &HelloFailure) -> Denial {
    match failure {
        HelloFailure::Late => Denial::by(routed.rule(), Reason::HelloTimeout),
        HelloFailure::Gone => Denial::by(routed.rule(), Reason::ClientGone),
        HelloFailure::Refused(error) => routed.hello_error(error),
    }
}
