//! Fake TLS: a genuine ClientHello, a well-formed ServerHello that a proxy may judge, then records of the sizes and turns of TLS 1.3
//! without cryptography, so that load and origin cost little. Not here: real TLS (`tls`). Source: RFC 8446, 4.1 and 5.1.

use std::cell::RefCell;
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Record type of handshake messages.
pub const HANDSHAKE: u8 = 0x16;
/// Record type of application data.
pub const APPLICATION_DATA: u8 = 0x17;
/// Record type of ChangeCipherSpec.
const CHANGE_CIPHER_SPEC: u8 = 0x14;

/// Bytes of a ServerHello with supported_versions and a key share for x25519.
pub const SERVER_HELLO: usize = 122;
/// What the origin sends first: ServerHello, ChangeCipherSpec, EncryptedExtensions, Certificate (two of them), CertificateVerify,
/// Finished.
pub const SERVER_FLIGHT: [(u8, usize); 6] = [
    (HANDSHAKE, SERVER_HELLO),
    (CHANGE_CIPHER_SPEC, 1),
    (APPLICATION_DATA, 32),
    (APPLICATION_DATA, 2400),
    (APPLICATION_DATA, 97),
    (APPLICATION_DATA, 53),
];
/// What the client answers: ChangeCipherSpec, Finished.
pub const CLIENT_FLIGHT: [(u8, usize); 2] = [(CHANGE_CIPHER_SPEC, 1), (APPLICATION_DATA, 53)];

/// Payload of a full record: 16 KiB, the inner type and the tag.
const FULL_RECORD: usize = 16_384 + 17;
/// Records sent by one call on bulk: some 256 KiB.
const BULK_RECORDS: usize = 16;
/// What stands for encrypted bytes.
const FILLER: u8 = 0x5a;
/// Bytes read at once: a whole flight costs one call. Longer records come on bulk alone, which is drained.
const READ_BUFFER: usize = 4096;
/// Bytes read at once on bulk.
const DRAIN_BUFFER: usize = 256 * 1024;

/// What a client's record asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// A small reply.
    Get,
    /// A reply of the command's own size.
    Ping,
    /// So many bytes of records.
    Down(u64),
    /// So many bytes of records follow; then a small reply.
    Up(u64),
}

/// Payload of a command, if nothing else is asked.
pub const COMMAND: usize = 120;
/// Payload of the reply to [`Command::Get`].
pub const GET_REPLY: usize = 300;
/// Payload of the reply to [`Command::Up`].
pub const UP_REPLY: usize = 32;

impl Command {
    /// As a record with a payload of `size` bytes.
    pub fn record(self, size: usize) -> Vec<u8> {
        let (letter, count) = match self {
            Self::Get => (b'G', 0),
            Self::Ping => (b'P', 0),
            Self::Down(count) => (b'D', count),
            Self::Up(count) => (b'U', count),
        };
        let payload = [&[letter][..], &count.to_be_bytes()].concat();
        record_of(APPLICATION_DATA, payload, size)
    }

    /// The command in a record's payload.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (letter, rest) = payload.split_first()?;
        let count = u64::from_be_bytes(*rest.first_chunk()?);
        match letter {
            b'G' => Some(Self::Get),
            b'P' => Some(Self::Ping),
            b'D' => Some(Self::Down(count)),
            b'U' => Some(Self::Up(count)),
            _ => None,
        }
    }
}

/// A record of `kind` with a payload of `size` bytes that mean nothing.
pub fn record(kind: u8, size: usize) -> Vec<u8> {
    record_of(kind, Vec::with_capacity(size), size)
}

/// A record whose payload begins with `payload` and is filled up to `size` bytes.
fn record_of(kind: u8, mut payload: Vec<u8>, size: usize) -> Vec<u8> {
    payload.resize(size.max(payload.len()), FILLER);
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[kind, 3, 3][..], &length, &payload].concat()
}

/// The records of a flight.
pub fn flight(parts: &[(u8, usize)]) -> Vec<u8> {
    parts.iter().flat_map(|(kind, size)| record(*kind, *size)).collect()
}

/// legacy_session_id of a ClientHello without its record; zeros unless it has 32 bytes, as clients in compatibility mode send it.
pub fn session_id(hello: &[u8]) -> [u8; 32] {
    // Before it: type 1, length 3, legacy_version 2, random 32.
    match hello.get(38..) {
        Some([32, rest @ ..]) => rest.first_chunk().copied().unwrap_or_default(),
        _ => [0; 32],
    }
}

/// A ServerHello (RFC 8446, 4.1.3): TLS 1.3, TLS_AES_128_GCM_SHA256, x25519, the client's session id. Its random is neither that of
/// HelloRetryRequest nor marked as a downgrade.
fn server_hello(session_id: [u8; 32]) -> Vec<u8> {
    let mut hello = vec![2, 0, 0, 118, 3, 3];
    hello.extend([FILLER; 32]);
    hello.push(32);
    hello.extend(session_id);
    // Cipher suite, no compression, length of the extensions.
    hello.extend([0x13, 0x01, 0, 0, 46]);
    // supported_versions: 0x0304.
    hello.extend([0, 43, 0, 2, 3, 4]);
    // key_share: x25519, 32 bytes.
    hello.extend([0, 51, 0, 36, 0, 29, 0, 32]);
    hello.extend([FILLER; 32]);
    hello
}

/// The origin's whole first flight.
pub fn server_flight(session_id: [u8; 32]) -> Vec<u8> {
    let hello = record_of(HANDSHAKE, server_hello(session_id), SERVER_HELLO);
    [hello, flight(SERVER_FLIGHT.get(1..).unwrap_or_default())].concat()
}

/// Full records, to be sent over and over.
pub fn bulk() -> Vec<u8> {
    (0..BULK_RECORDS).flat_map(|_| record(APPLICATION_DATA, FULL_RECORD)).collect()
}

/// One end of a connection with fake TLS.
pub struct FakeConn {
    stream: BufReader<TcpStream>,
    payload: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; DRAIN_BUFFER]);
}

impl FakeConn {
    /// On a fresh connection.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream: BufReader::with_capacity(READ_BUFFER, stream), payload: Vec::new() }
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// The socket's.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads one record: its type and payload.
    ///
    /// # Errors
    /// The socket's; a record longer than bulk alone has.
    pub async fn record(&mut self) -> io::Result<(u8, &[u8])> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head).await?;
        let [kind, _, _, high, low] = head;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > READ_BUFFER {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "record-too-long"));
        }
        self.payload.resize(length, 0);
        self.stream.read_exact(&mut self.payload).await?;
        Ok((kind, &self.payload))
    }

    /// Sends `count` bytes of `block`, over and over.
    ///
    /// # Errors
    /// The socket's.
    pub async fn send_bulk(&mut self, block: &[u8], count: u64) -> io::Result<()> {
        let mut left = count;
        while left > 0 {
            let take = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
            self.send(block.get(..take).unwrap_or(block)).await?;
            left = left.saturating_sub(u64::try_from(take).unwrap_or(left));
        }
        Ok(())
    }

    /// Receives `count` bytes and drops them, through one buffer a thread.
    ///
    /// # Errors
    /// The socket's; an early end.
    pub async fn drain(&mut self, count: u64) -> io::Result<()> {
        let buffered = self.stream.buffer().len().min(usize::try_from(count).unwrap_or(usize::MAX));
        let mut rest = vec![0; buffered];
        self.stream.read_exact(&mut rest).await?;
        let mut left = count.saturating_sub(u64::try_from(buffered).unwrap_or(count));
        let stream = self.stream.get_ref();
        while left > 0 {
            stream.readable().await?;
            let got = SCRATCH.with_borrow_mut(|buffer| {
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                stream.try_read(buffer.get_mut(..most).unwrap_or_default())
            });
            match got {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => left = left.saturating_sub(u64::try_from(count).unwrap_or(left)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rustls::ClientConnection;
    use rustls::pki_types::ServerName;

    use super::*;
    use crate::tls;

    fn client() -> (ClientConnection, Vec<u8>) {
        let name = ServerName::try_from("t0.customer.test").unwrap();
        let mut client = ClientConnection::new(tls::client_config().unwrap(), name).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        (client, hello)
    }

    fn feed(client: &mut ClientConnection, mut bytes: &[u8]) -> Result<(), rustls::Error> {
        client.read_tls(&mut bytes).unwrap();
        client.process_new_packets().map(drop)
    }

    /// A real client takes the ServerHello, from which it derives keys, and stops only at the first record that should be encrypted.
    #[test]
    fn a_real_client_takes_the_server_hello_and_no_filler() {
        let (mut client_a, hello) = client();
        let sent = server_flight(session_id(&hello[5..]));
        feed(&mut client_a, &sent[..5 + SERVER_HELLO]).unwrap();
        assert_eq!(client_a.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
        assert!(feed(&mut client_a, &sent[5 + SERVER_HELLO..]).is_err());
        let (mut client_b, _) = client();
        assert!(feed(&mut client_b, &record(HANDSHAKE, SERVER_HELLO)).is_err());
    }

    #[test]
    fn the_flight_keeps_its_sizes_and_turns() {
        let sent = server_flight([7; 32]);
        let mut rest = &sent[..];
        for (kind, size) in SERVER_FLIGHT {
            assert_eq!((rest[0], usize::from(u16::from_be_bytes([rest[3], rest[4]]))), (kind, size));
            rest = &rest[5 + size..];
        }
        assert!(rest.is_empty());
        // Legacy version, session id, cipher suite (RFC 8446, 4.1.3).
        assert_eq!(
            (&sent[9..11], sent[43], &sent[44..76], &sent[76..78]),
            (&[3, 3][..], 32, &[7; 32][..], &[0x13, 1][..])
        );
        assert!(sent.len() < READ_BUFFER, "a flight costs one read");
    }

    #[test]
    fn the_session_id_is_the_clients_or_zeros() {
        let (_, hello) = client();
        let id = session_id(&hello[5..]);
        assert_ne!(id, [0; 32]);
        assert_eq!(id, hello[5 + 39..5 + 71]);
        assert_eq!(session_id(&hello[5..60]), [0; 32], "cut short");
        assert_eq!(session_id(&[]), [0; 32], "empty");
    }

    #[test]
    fn commands_are_parsed_as_written() {
        for command in [Command::Get, Command::Ping, Command::Down(1 << 40), Command::Up(7)] {
            let record = command.record(COMMAND);
            assert_eq!(record.len(), 5 + COMMAND);
            assert_eq!(Command::parse(&record[5..]), Some(command));
        }
        assert_eq!(Command::parse(b"X12345678"), None);
        assert_eq!(Command::parse(b"G1234567"), None, "cut short");
    }
}
