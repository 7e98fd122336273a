//! TLS messages in the clear, right ones by default and wrong ones part by part, as they stand on the wire.
//! Not here: keys. Nothing behind a ServerHello in these tests is encrypted; the proxy cannot tell.
//! Source: RFC 8446 sections 4.1 and 5.1, RFC 6066 section 3, RFC 7301 section 3.1.

/// Record types.
pub const ALERT: u8 = 21;
pub const HANDSHAKE: u8 = 22;
pub const APPLICATION_DATA: u8 = 23;

/// Extension numbers (IANA).
pub const SERVER_NAME: u16 = 0;
pub const ALPN: u16 = 16;
pub const SUPPORTED_VERSIONS: u16 = 43;
pub const KEY_SHARE: u16 = 51;
pub const ECH: u16 = 0xfe0d;
pub const ESNI: u16 = 0xffce;

/// A change_cipher_spec record.
pub const CHANGE_CIPHER_SPEC: [u8; 6] = [20, 3, 3, 0, 1, 1];

/// The random that makes a ServerHello a HelloRetryRequest (RFC 8446 section 4.1.3).
const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// The parts of a ClientHello.
#[derive(Clone)]
pub struct Hello {
    pub legacy_version: u16,
    pub extensions: Vec<(u16, Vec<u8>)>,
}

impl Hello {
    /// A TLS 1.3 hello for `name`, without ALPN.
    pub fn to(name: &str) -> Self {
        Self::bare().with(SERVER_NAME, names(&[name.as_bytes()])).with(SUPPORTED_VERSIONS, versions(&[0x0304, 0x0303]))
    }

    /// A TLS 1.2 hello without any extension.
    pub fn bare() -> Self {
        Self { legacy_version: 0x0303, extensions: Vec::new() }
    }

    pub fn with(mut self, number: u16, body: Vec<u8>) -> Self {
        self.extensions.push((number, body));
        self
    }

    /// The handshake message.
    pub fn message(&self) -> Vec<u8> {
        let start = [&self.legacy_version.to_be_bytes()[..], &[9; 32]].concat();
        let suites = vec16(&[0x13, 0x01, 0xc0, 0x2f]);
        message(1, &[start, vec8(&[7; 32]), suites, vec8(&[0]), extensions(&self.extensions)].concat())
    }

    /// In one record.
    pub fn record(&self) -> Vec<u8> {
        record(HANDSHAKE, &self.message())
    }

    /// In records of at most `size` bytes each.
    pub fn records(&self, size: usize) -> Vec<u8> {
        self.message().chunks(size).flat_map(|part| record(HANDSHAKE, part)).collect()
    }
}

/// A ServerHello in one record. TLS 1.3 is chosen by its extension (RFC 8446 section 4.2.1).
pub fn server_hello(version: u16, suite: u16) -> Vec<u8> {
    server_message(version, suite, [5; 32])
}

/// A HelloRetryRequest in one record.
pub fn retry_request() -> Vec<u8> {
    server_message(0x0304, 0x1301, RETRY_RANDOM)
}

fn server_message(version: u16, suite: u16, random: [u8; 32]) -> Vec<u8> {
    let chosen = if version == 0x0304 { vec![(SUPPORTED_VERSIONS, vec![3, 4])] } else { Vec::new() };
    let start = [&version.min(0x0303).to_be_bytes()[..], &random, &vec8(&[7; 32])].concat();
    record(HANDSHAKE, &message(2, &[start, suite.to_be_bytes().to_vec(), vec![0], extensions(&chosen)].concat()))
}

/// A fatal alert, as the proxy sends it.
pub fn alert(number: u8) -> Vec<u8> {
    record_of(ALERT, 3, &[2, number])
}

/// A record of version 3.1, as first hellos have it.
pub fn record(content: u8, body: &[u8]) -> Vec<u8> {
    record_of(content, 1, body)
}

fn record_of(content: u8, minor: u8, body: &[u8]) -> Vec<u8> {
    [&[content, 3, minor][..], &vec16(body)].concat()
}

/// The body of a server_name extension with these host names.
pub fn names(names: &[&[u8]]) -> Vec<u8> {
    vec16(&names.iter().flat_map(|name| [vec![0], vec16(name)].concat()).collect::<Vec<_>>())
}

/// The body of an ALPN extension.
pub fn alpn(ids: &[&str]) -> Vec<u8> {
    vec16(&ids.iter().flat_map(|id| vec8(id.as_bytes())).collect::<Vec<_>>())
}

/// The body of a supported_versions extension.
pub fn versions(numbers: &[u16]) -> Vec<u8> {
    vec8(&numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<_>>())
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind], &length[1..], body].concat()
}

fn extensions(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    if extensions.is_empty() {
        return Vec::new();
    }
    let list = extensions.iter().flat_map(|(number, body)| [number.to_be_bytes().to_vec(), vec16(body)].concat());
    vec16(&list.collect::<Vec<_>>())
}

fn vec8(body: &[u8]) -> Vec<u8> {
    [&[u8::try_from(body.len()).unwrap()], body].concat()
}

fn vec16(body: &[u8]) -> Vec<u8> {
    [&u16::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}
