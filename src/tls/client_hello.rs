//! What a ClientHello offers, as far as a policy judges it.
//! Not here: how it comes in (`hello_reader`), and whether it is allowed (`policy`).
//! Source: RFC 8446 section 4.1.2 and 4.2, RFC 6066 section 3, RFC 7301 section 3.1, RFC 8701, RFC 9849 section 5.

use super::extensions::{self, ALPN, EARLY_DATA, ECH, ESNI, PRE_SHARED_KEY, SERVER_NAME, SUPPORTED_VERSIONS};
use super::reader::Reader;
use super::version::ProtocolVersion;
use crate::name::Fqdn;

/// Upper bound in cipher suites for one hello. IANA knows about 350; OpenSSL's `ALL` offers about 160.
const MAX_SUITES: usize = 512;

/// Upper bound in ALPN ids for one hello. IANA knows about 40; browsers offer two.
const MAX_ALPN: usize = 64;

/// Upper bound in bytes for a server name that is kept for the record though it is no DNS name (those have 253).
const MAX_RAW_NAME: usize = 255;

/// A ClientHello, parsed. GREASE and unknown values have been left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello {
    /// The one `host_name` of the server_name extension. With ECH it is the outer name.
    pub server_name: Option<ServerName>,
    /// The best version on offer: of supported_versions, or `legacy_version` (at most TLS 1.2) without that extension.
    pub max_version: ProtocolVersion,
    /// The application protocols on offer, in their order, at most 64. Empty: none, or none but GREASE.
    pub alpn: Vec<Box<[u8]>>,
    /// Encrypted ClientHello (0xfe0d) is there, real or GREASE: nobody on the way can tell which.
    pub ech: bool,
    /// Draft encrypted SNI (0xffce) is there.
    pub esni: bool,
    /// Early data may follow before the ServerHello.
    pub early_data: bool,
}

/// What stands in the server_name extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerName {
    /// A DNS name, in canonical form.
    Name(Fqdn),
    /// An address literal, or not a DNS name: equal to no name of a policy.
    Unusable {
        /// The text as it came, for the record, cut at 255 bytes.
        raw: Box<[u8]>,
    },
}

impl ServerName {
    /// The name, if it is one.
    pub fn name(&self) -> Option<&Fqdn> {
        match self {
            Self::Name(name) => Some(name),
            Self::Unusable { .. } => None,
        }
    }

    /// What a record may show once it is redacted: at most 255 bytes.
    pub fn raw(&self) -> &[u8] {
        match self {
            Self::Name(name) => name.as_str().as_bytes(),
            Self::Unusable { raw } => raw,
        }
    }
}

/// How a second ClientHello strays from the first, which RFC 8446 4.1.2 forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecondHelloDiffers {
    /// Another name, or one where there was none, or none where there was one.
    #[error("the second hello has another server name")]
    ServerName,
    /// Another list of application protocols.
    #[error("the second hello has other application protocols")]
    Alpn,
    /// Another best version.
    #[error("the second hello has other versions")]
    Version,
    /// ECH or ESNI in one of the two only.
    #[error("only one of the two hellos has ech")]
    Ech,
    /// Early data is not allowed after a HelloRetryRequest.
    #[error("the second hello has early data")]
    EarlyData,
}

impl ClientHello {
    /// Whether `second`, which came after a HelloRetryRequest, asks for what this first one did.
    pub fn check_second(&self, second: &Self) -> Result<(), SecondHelloDiffers> {
        if self.max_version != second.max_version {
            Err(SecondHelloDiffers::Version)
        } else if (self.ech, self.esni) != (second.ech, second.esni) {
            Err(SecondHelloDiffers::Ech)
        } else if self.server_name != second.server_name {
            Err(SecondHelloDiffers::ServerName)
        } else if self.alpn != second.alpn {
            Err(SecondHelloDiffers::Alpn)
        } else if second.early_data {
            Err(SecondHelloDiffers::EarlyData)
        } else {
            Ok(())
        }
    }

    /// Parses the message without its handshake header. The error says which part is wrong.
    pub(super) fn parse(message: &[u8]) -> Result<Self, &'static str> {
        let mut reader = Reader::new(message);
        let legacy_version = reader.u16().ok_or("legacy version")?;
        reader.take(32).ok_or("random")?;
        reader.vec8().filter(|id| id.len() <= 32).ok_or("session id")?;
        let suites = reader.vec16().ok_or("cipher suites")?;
        if suites.is_empty() || suites.len() % 2 != 0 || suites.len() / 2 > MAX_SUITES {
            return Err("number of cipher suites");
        }
        let compression = reader.vec8().ok_or("compression methods")?;
        if !compression.rest().contains(&0) {
            return Err("no null compression");
        }
        let found = extensions::split(reader)?;
        let mut hello = Self {
            server_name: None,
            max_version: of_legacy(legacy_version)?,
            alpn: Vec::new(),
            ech: false,
            esni: false,
            early_data: false,
        };
        for (number, body) in &found {
            hello.extension(*number, Reader::new(body))?;
        }
        let key = found.iter().rposition(|(number, _)| *number == PRE_SHARED_KEY);
        if key.is_some_and(|at| at.saturating_add(1) != found.len()) {
            return Err("pre_shared_key is not the last extension");
        }
        if hello.early_data && (key.is_none() || hello.max_version != ProtocolVersion::Tls13) {
            return Err("early_data without pre_shared_key in TLS 1.3");
        }
        Ok(hello)
    }

    fn extension(&mut self, number: u16, body: Reader<'_>) -> Result<(), &'static str> {
        match number {
            SERVER_NAME => self.server_name = Some(server_name(body)?),
            ALPN => self.alpn = alpn(body)?,
            SUPPORTED_VERSIONS => self.max_version = best_version(body)?,
            EARLY_DATA if body.is_empty() => self.early_data = true,
            EARLY_DATA => return Err("early_data with a body"),
            // The inner form (1) exists only behind a server that has decrypted it.
            ECH if body.rest().first() == Some(&0) => self.ech = true,
            ECH => return Err("ech that is not of the outer form"),
            ESNI => self.esni = true,
            _ => {}
        }
        Ok(())
    }
}

/// Without supported_versions a server chooses TLS 1.2 at most, whatever stands here (RFC 8446 4.2.1).
fn of_legacy(number: u16) -> Result<ProtocolVersion, &'static str> {
    match ProtocolVersion::of_number(number.min(0x0303)) {
        Some(version) => Ok(version),
        None => Err("legacy version"),
    }
}

/// A list without any version that exists is refused: no server could choose from it, so nothing good would follow.
fn best_version(mut body: Reader<'_>) -> Result<ProtocolVersion, &'static str> {
    let list = body.vec8().ok_or("supported_versions")?;
    if !body.is_empty() || list.is_empty() {
        return Err("length of supported_versions");
    }
    let (pairs, odd) = list.rest().as_chunks::<2>();
    if !odd.is_empty() {
        return Err("length of supported_versions");
    }
    let known = pairs.iter().filter_map(|pair| ProtocolVersion::of_number(u16::from_be_bytes(*pair)));
    known.max().ok_or("no known version in supported_versions")
}

fn server_name(mut body: Reader<'_>) -> Result<ServerName, &'static str> {
    let mut list = body.vec16().ok_or("server_name")?;
    if !body.is_empty() {
        return Err("length of server_name");
    }
    let (Some(kind), Some(name)) = (list.u8(), list.vec16()) else {
        return Err("entry of server_name");
    };
    if kind != 0 {
        return Err("server_name of an unknown type");
    }
    if !list.is_empty() {
        return Err("more than one server name");
    }
    if name.is_empty() {
        return Err("empty server name");
    }
    let text = std::str::from_utf8(name.rest()).ok();
    Ok(match text.and_then(|text| text.parse().ok()) {
        Some(name) => ServerName::Name(name),
        None => ServerName::Unusable { raw: Reader::take_up_to(&mut name.clone(), MAX_RAW_NAME).into() },
    })
}

fn alpn(mut body: Reader<'_>) -> Result<Vec<Box<[u8]>>, &'static str> {
    let mut list = body.vec16().ok_or("alpn")?;
    if !body.is_empty() || list.is_empty() {
        return Err("length of alpn");
    }
    let (mut count, mut ids) = (0_usize, Vec::new());
    while !list.is_empty() {
        let id = list.vec8().ok_or("id in alpn")?.rest();
        count = count.saturating_add(1);
        if id.is_empty() || count > MAX_ALPN {
            return Err("empty or too many ids in alpn");
        }
        if !is_grease(id) {
            ids.push(id.into());
        }
    }
    Ok(ids)
}

/// The sixteen ALPN ids of RFC 8701: 0x0a0a, 0x1a1a … 0xfafa.
fn is_grease(id: &[u8]) -> bool {
    matches!(id, [a, b] if a == b && a & 0x0f == 0x0a)
}

#[cfg(test)]
#[path = "client_hello_tests.rs"]
mod tests;
