//! Reads the ClientHello from the client's socket, whole and in time, before a byte goes anywhere.
//! Not here: parsing (`tls`), judging (`policy::hello`). Source: RFC 8446 section 4.1.2.

use std::io;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::policy::{Denial, Reason, Routed};
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
pub async fn read(socket: &TcpStream, unread: Bytes, deadline: Instant) -> Result<Heard, HelloFailure> {
    let mut reader = HelloReader::new();
    if let Progress::Complete(hello) = reader.push(&unread).map_err(HelloFailure::Refused)? {
        return Ok(heard(hello, reader));
    }
    drop(unread);
    timeout_at(deadline, async {
        loop {
            socket.readable().await.map_err(|_| HelloFailure::Gone)?;
            let progress = match step(socket, &mut reader) {
                Ok(Some(progress)) => progress.map_err(HelloFailure::Refused)?,
                Ok(None) => return Err(HelloFailure::Gone),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(_) => return Err(HelloFailure::Gone),
            };
            if let Progress::Complete(hello) = progress {
                return Ok(heard(hello, reader));
            }
        }
    })
    .await
    .unwrap_or(Err(HelloFailure::Late))
}

/// One read. `None`: the client has ended. No array is held across a wait, so the future stays small.
fn step(socket: &TcpStream, reader: &mut HelloReader) -> io::Result<Option<Result<Progress, HelloError>>> {
    let mut bytes = [0_u8; READ_SIZE];
    let count = socket.try_read(&mut bytes)?;
    Ok((count > 0).then(|| reader.push(bytes.get(..count).unwrap_or_default())))
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
