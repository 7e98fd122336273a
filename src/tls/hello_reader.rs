//! Reads one ClientHello from a client's first bytes, and keeps them for replay.
//! Not here: what the hello says (`client_hello`), the deadline (the caller's), and what the client may send next (`exchange`).
//! Source: RFC 8446 section 5.1; RFC 6101 appendix E for the SSLv2 form.

use super::client_hello::ClientHello;
use super::handshake::{Expected, Fault, FirstMessage, MAX_HELLO, Piece};
use super::reader::Reader;

/// How far a hello has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Right so far; push more.
    Incomplete,
    /// The hello is whole.
    Complete(ClientHello),
}

/// Why a client's first bytes are no ClientHello that can be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// Something else than TLS: known at the first byte that shows it.
    #[error("not tls")]
    NotTls,
    /// The hello of SSL 2.0, which also old clients of SSL 3.0 used.
    #[error("an sslv2 hello")]
    SslV2,
    /// TLS, but wrong; the word says where.
    #[error("malformed hello: {0}")]
    Malformed(&'static str),
    /// More than `MAX_HELLO` bytes.
    #[error("hello longer than {MAX_HELLO} bytes")]
    TooLong,
}

impl From<Fault> for HelloError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NotTls => Self::NotTls,
            Fault::Malformed(place) => Self::Malformed(place),
            Fault::TooLong => Self::TooLong,
        }
    }
}

/// Reads one ClientHello in any split of segments and records. Holds at most `MAX_HELLO` bytes and the last push.
#[derive(Debug)]
pub struct HelloReader {
    message: FirstMessage,
    over: Option<HelloError>,
}

impl HelloReader {
    /// A reader that has seen nothing.
    pub fn new() -> Self {
        Self { message: FirstMessage::new(Expected::Client), over: None }
    }

    /// Takes the client's next bytes, however many. After an error it repeats that error; after a whole hello, more bytes
    /// are an error: they belong to `Exchange::client`.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Progress, HelloError> {
        if let Some(error) = self.over {
            return Err(error);
        }
        let progress = self.step(bytes);
        self.over = match &progress {
            Ok(Progress::Incomplete) => None,
            Ok(Progress::Complete(_)) => Some(HelloError::Malformed("bytes pushed after the whole hello")),
            Err(error) => Some(*error),
        };
        progress
    }

    /// The bytes of the hello as they came, up to its end: what goes to the server first. At most `MAX_HELLO`.
    pub fn bytes(&self) -> &[u8] {
        self.message.bytes()
    }

    /// What came behind the hello in the last push: it has to go through `Exchange::client`.
    pub fn trailing(&self) -> &[u8] {
        self.message.trailing()
    }

    /// `bytes()`, without a copy.
    pub fn into_bytes(self) -> Vec<u8> {
        self.message.into_parts().0
    }

    fn step(&mut self, bytes: &[u8]) -> Result<Progress, HelloError> {
        match self.message.push(bytes) {
            Ok(Piece::Incomplete) => Ok(Progress::Incomplete),
            // RFC 8446 5.1: a message right before a change of keys ends its record.
            Ok(Piece::Whole) if !self.message.ends_its_record() => {
                Err(HelloError::Malformed("bytes behind the hello in its record"))
            }
            Ok(Piece::Whole) => {
                ClientHello::parse(&self.message.body()).map(Progress::Complete).map_err(HelloError::Malformed)
            }
            Ok(Piece::Alert) => Err(HelloError::NotTls),
            Err(Fault::NotTls) => match is_sslv2(self.message.pushed()) {
                Some(true) => Err(HelloError::SslV2),
                Some(false) => Err(HelloError::NotTls),
                None => Ok(Progress::Incomplete),
            },
            Err(fault) => Err(fault.into()),
        }
    }
}

impl Default for HelloReader {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a stream begins with an SSLv2 CLIENT-HELLO: a length with its high bit set, type 1, and version 2 or 3.x.
/// `None`: five bytes are needed to know.
fn is_sslv2(stream: &[u8]) -> Option<bool> {
    let mut reader = Reader::new(stream);
    if reader.u8()? < 0x80 {
        return Some(false);
    }
    let _length = reader.u8()?;
    if reader.u8()? != 1 {
        return Some(false);
    }
    let version = reader.u16()?;
    Some(version == 0x0002 || version >> 8 == 3)
}

/// Fuzz entry: any split gives the same answer, and what is held is the input's prefix within its bound.
///
/// # Panics
/// If one of these does not hold.
pub fn fuzz_client_hello(data: &[u8]) {
    let whole = read_in_steps(data, data.len());
    let step = usize::from(data.last().copied().unwrap_or(0) % 7).saturating_add(2);
    assert_eq!(whole, read_in_steps(data, 1), "one byte at a time");
    assert_eq!(whole, read_in_steps(data, step), "{step} bytes at a time");
}

/// The last answer, and how many bytes the reader then held as the hello's.
fn read_in_steps(data: &[u8], step: usize) -> (Result<Progress, HelloError>, usize) {
    let mut reader = HelloReader::new();
    let mut answer = Ok(Progress::Incomplete);
    let mut pushed = 0_usize;
    for chunk in data.chunks(step.max(1)) {
        answer = reader.push(chunk);
        pushed = pushed.saturating_add(chunk.len());
        if answer != Ok(Progress::Incomplete) {
            break;
        }
    }
    let (bytes, trailing) = (reader.bytes(), reader.trailing());
    assert!(bytes.len() <= MAX_HELLO, "held {} bytes", bytes.len());
    assert!(data.strip_prefix(bytes).is_some_and(|rest| rest.starts_with(trailing)), "not a prefix of the input");
    assert_eq!(bytes.len().saturating_add(trailing.len()), pushed, "bytes were lost");
    (answer, bytes.len())
}

#[cfg(test)]
#[path = "hello_reader_tests.rs"]
mod tests;
