//! Made-up hellos for tests: right ones by default, and wrong ones part by part.
//! Not here: captured ones (`fixtures`).
//! Source: RFC 8446 section 4.1.

use super::{HelloError, HelloReader, Progress};

pub(super) fn vec8(body: Vec<u8>) -> Vec<u8> {
    [vec![u8::try_from(body.len()).unwrap()], body].concat()
}

pub(super) fn vec16(body: Vec<u8>) -> Vec<u8> {
    [u16::try_from(body.len()).unwrap().to_be_bytes().to_vec(), body].concat()
}

pub(super) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// A handshake message of this type.
pub(super) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind], &length[1..], body].concat()
}

pub(super) fn record(content: u8, body: &[u8]) -> Vec<u8> {
    [&[content, 3, 1][..], &vec16(body.to_vec())].concat()
}

/// The message in handshake records of at most `size` bytes each.
pub(super) fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|fragment| record(22, fragment)).collect()
}

/// A server_name extension with these entries: type and name.
pub(super) fn names(entries: &[(u8, &[u8])]) -> Vec<u8> {
    vec16(entries.iter().flat_map(|(kind, name)| [vec![*kind], vec16(name.to_vec())].concat()).collect())
}

pub(super) fn alpn(ids: &[&[u8]]) -> Vec<u8> {
    vec16(ids.iter().flat_map(|id| vec8(id.to_vec())).collect())
}

pub(super) fn versions(numbers: &[u16]) -> Vec<u8> {
    vec8(numbers.iter().flat_map(|number| number.to_be_bytes()).collect())
}

/// The parts of a ClientHello, each as it stands on the wire.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) legacy_version: u16,
    pub(super) session_id: Vec<u8>,
    pub(super) suites: Vec<u8>,
    pub(super) compression: Vec<u8>,
    pub(super) extensions: Vec<(u16, Vec<u8>)>,
}

impl Client {
    /// A TLS 1.3 hello for `api.acme.example` without ALPN.
    pub(super) fn new() -> Self {
        Self::bare().with(0, names(&[(0, b"api.acme.example")])).with(43, versions(&[0x0304, 0x0303]))
    }

    /// Without any extension.
    pub(super) fn bare() -> Self {
        let suites = vec16(vec![0x13, 0x01, 0xc0, 0x2f]);
        Self {
            legacy_version: 0x0303,
            session_id: vec8(vec![7; 32]),
            suites,
            compression: vec![1, 0],
            extensions: vec![],
        }
    }

    pub(super) fn with(mut self, number: u16, body: Vec<u8>) -> Self {
        self.extensions.push((number, body));
        self
    }

    pub(super) fn body(&self) -> Vec<u8> {
        let start = [&self.legacy_version.to_be_bytes()[..], &[9; 32]].concat();
        [start, self.session_id.clone(), self.suites.clone(), self.compression.clone(), list(&self.extensions)].concat()
    }

    pub(super) fn message(&self) -> Vec<u8> {
        message(1, &self.body())
    }

    /// In one record.
    pub(super) fn record(&self) -> Vec<u8> {
        record(22, &self.message())
    }

    /// What a reader makes of it in one push.
    pub(super) fn read(&self) -> Result<Progress, HelloError> {
        HelloReader::new().push(&self.record())
    }
}

/// The parts of a ServerHello.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) legacy_version: u16,
    pub(super) random: Vec<u8>,
    pub(super) suite: u16,
    pub(super) compression: u8,
    pub(super) extensions: Vec<(u16, Vec<u8>)>,
}

impl Server {
    pub(super) fn tls12(suite: u16) -> Self {
        Self { legacy_version: 0x0303, random: vec![5; 32], suite, compression: 0, extensions: vec![] }
    }

    pub(super) fn tls13(suite: u16) -> Self {
        Self::tls12(suite).with(43, vec![3, 4])
    }

    pub(super) fn with(mut self, number: u16, body: Vec<u8>) -> Self {
        self.extensions.push((number, body));
        self
    }

    pub(super) fn body(&self) -> Vec<u8> {
        let start = [&self.legacy_version.to_be_bytes()[..], &self.random, &vec8(vec![7; 32])].concat();
        [start, self.suite.to_be_bytes().to_vec(), vec![self.compression], list(&self.extensions)].concat()
    }

    pub(super) fn message(&self) -> Vec<u8> {
        message(2, &self.body())
    }

    pub(super) fn record(&self) -> Vec<u8> {
        record(22, &self.message())
    }
}

/// No list at all if there is no extension.
fn list(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    if extensions.is_empty() {
        return vec![];
    }
    vec16(
        extensions
            .iter()
            .flat_map(|(number, body)| [number.to_be_bytes().to_vec(), vec16(body.clone())].concat())
            .collect(),
    )
}
