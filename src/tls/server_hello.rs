//! What a server chose: version and cipher suite, which stand in the clear in every version of TLS.
//! Not here: whether the choice is good enough (`policy`), and the hellos' order (`exchange`).
//! Source: RFC 8446 section 4.1.3 and 4.1.4, RFC 5246 section 7.4.1.3.

use super::cipher::CipherSuite;
use super::extensions::{self, SUPPORTED_VERSIONS};
use super::handshake::{Expected, Fault, FirstMessage, MAX_HELLO, Piece};
use super::reader::Reader;
use super::version::ProtocolVersion;

/// The random that marks a HelloRetryRequest: SHA-256 of "HelloRetryRequest" (RFC 8446 4.1.3).
const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// A ServerHello, parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerHello {
    /// The version that was chosen.
    pub version: ProtocolVersion,
    /// The cipher suite that was chosen; it is one of that version.
    pub cipher: CipherSuite,
    /// A HelloRetryRequest: TLS 1.3, and the client has to send a second hello.
    pub retry: bool,
}

impl ServerHello {
    /// Parses the message without its handshake header. The error says which part is wrong.
    pub(super) fn parse(message: &[u8]) -> Result<Self, &'static str> {
        let mut reader = Reader::new(message);
        let legacy = reader.u16().and_then(ProtocolVersion::of_number).ok_or("legacy version")?;
        let random = reader.take(32).ok_or("random")?;
        reader.vec8().filter(|id| id.len() <= 32).ok_or("session id")?;
        let cipher = CipherSuite(reader.u16().ok_or("cipher suite")?);
        if reader.u8() != Some(0) {
            return Err("compression method");
        }
        let found = extensions::split(reader)?;
        let chosen = found.iter().find(|(number, _)| *number == SUPPORTED_VERSIONS).map(|(_, body)| *body);
        let version = match (chosen, legacy) {
            (Some([3, 4]), ProtocolVersion::Tls12) => ProtocolVersion::Tls13,
            (Some(_), _) => return Err("supported_versions"),
            (None, ProtocolVersion::Tls13) => return Err("legacy version"),
            (None, older) => older,
        };
        let retry = random == RETRY_RANDOM;
        if retry && version != ProtocolVersion::Tls13 {
            return Err("HelloRetryRequest below TLS 1.3");
        }
        if !cipher.belongs_to(version) {
            return Err("cipher suite of another version");
        }
        Ok(Self { version, cipher, retry })
    }
}

/// How far the server's first message has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerProgress {
    /// Right so far; push more.
    Incomplete,
    /// An alert instead: the server refuses.
    Alert,
    /// The hello is whole.
    Complete(ServerHello),
}

/// Why a server's first bytes are no ServerHello that can be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ServerHelloError {
    /// Something else than TLS: known at the first byte that shows it.
    #[error("not tls")]
    NotTls,
    /// TLS, but wrong; the word says where.
    #[error("malformed hello: {0}")]
    Malformed(&'static str),
    /// More than `MAX_HELLO` bytes.
    #[error("hello longer than {MAX_HELLO} bytes")]
    TooLong,
}

impl From<Fault> for ServerHelloError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NotTls => Self::NotTls,
            Fault::Malformed(place) => Self::Malformed(place),
            Fault::TooLong => Self::TooLong,
        }
    }
}

/// Reads one ServerHello in any split of segments and records. Holds at most `MAX_HELLO` bytes and the last push.
#[derive(Debug)]
pub struct ServerHelloReader {
    message: FirstMessage,
    over: Option<ServerHelloError>,
}

impl ServerHelloReader {
    /// A reader that has seen nothing.
    pub fn new() -> Self {
        Self { message: FirstMessage::new(Expected::Server), over: None }
    }

    /// A reader for what follows a HelloRetryRequest: a change_cipher_spec may stand before the hello.
    pub fn after_retry() -> Self {
        Self { message: FirstMessage::new(Expected::ServerAgain), over: None }
    }

    /// Takes the server's next bytes, however many. After an error it repeats that error; after a whole hello or an alert,
    /// more bytes are an error.
    pub fn push(&mut self, bytes: &[u8]) -> Result<ServerProgress, ServerHelloError> {
        if let Some(error) = self.over {
            return Err(error);
        }
        let progress = self.step(bytes);
        self.over = match &progress {
            Ok(ServerProgress::Incomplete) => None,
            Ok(ServerProgress::Alert | ServerProgress::Complete(_)) => {
                Some(ServerHelloError::Malformed("bytes pushed after the whole hello"))
            }
            Err(error) => Some(*error),
        };
        progress
    }

    /// The bytes up to the end of the hello or alert, with warnings before it. At most `MAX_HELLO`.
    pub fn bytes(&self) -> &[u8] {
        self.message.bytes()
    }

    /// What came behind them in the last push.
    pub fn trailing(&self) -> &[u8] {
        self.message.trailing()
    }

    /// `bytes()` and `trailing()`, without a copy of the first.
    pub fn into_parts(self) -> (Vec<u8>, Vec<u8>) {
        self.message.into_parts()
    }

    fn step(&mut self, bytes: &[u8]) -> Result<ServerProgress, ServerHelloError> {
        match self.message.push(bytes)? {
            Piece::Incomplete => Ok(ServerProgress::Incomplete),
            Piece::Alert => Ok(ServerProgress::Alert),
            Piece::Whole => {
                let hello = ServerHello::parse(&self.message.body()).map_err(ServerHelloError::Malformed)?;
                // RFC 8446 5.1: a message right before a change of keys ends its record. TLS 1.2 puts its whole flight into one.
                if hello.version == ProtocolVersion::Tls13 && !self.message.ends_its_record() {
                    return Err(ServerHelloError::Malformed("bytes behind the hello in its record"));
                }
                Ok(ServerProgress::Complete(hello))
            }
        }
    }
}

impl Default for ServerHelloReader {
    fn default() -> Self {
        Self::new()
    }
}

/// Fuzz entry: any split gives the same answer, and what is held is the input's prefix within its bound.
///
/// # Panics
/// If one of these does not hold.
pub fn fuzz_server_hello(data: &[u8]) {
    for new in [ServerHelloReader::new, ServerHelloReader::after_retry] {
        let whole = read_in_steps(new(), data, data.len());
        let step = usize::from(data.last().copied().unwrap_or(0) % 7).saturating_add(2);
        assert_eq!(whole, read_in_steps(new(), data, 1), "one byte at a time");
        assert_eq!(whole, read_in_steps(new(), data, step), "{step} bytes at a time");
    }
}

/// The last answer, and how many bytes the reader then held as the hello's.
fn read_in_steps(
    mut reader: ServerHelloReader,
    data: &[u8],
    step: usize,
) -> (Result<ServerProgress, ServerHelloError>, usize) {
    let mut answer = Ok(ServerProgress::Incomplete);
    for chunk in data.chunks(step.max(1)) {
        answer = reader.push(chunk);
        if answer != Ok(ServerProgress::Incomplete) {
            break;
        }
    }
    let held = reader.bytes();
    assert!(held.len() <= MAX_HELLO, "held {} bytes", held.len());
    let rest = data.strip_prefix(held);
    assert!(rest.is_some_and(|rest| rest.starts_with(reader.trailing())), "not a prefix of the input");
    (answer, held.len())
}

#[cfg(test)]
#[path = "server_hello_tests.rs"]
mod tests;
