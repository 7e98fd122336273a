//! Reads the PROXY header in which a load balancer names the client, versions 1 and 2, in any split, and keeps what came behind it.
//! Not here: sockets and deadlines, who must send one and who must not (`front::proxied`). Addresses are read by proxy-header; what it lets
//! through and the specification does not is here. Source: HAProxy's proxy-protocol.txt (2020/03/05), sections 2.1 and 2.2.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::net::SocketAddr;
use std::ops::Range;

use bytes::Bytes;
use proxy_header::{ParseConfig, ProxyHeader as Parsed};

use crate::address::canonical;

/// Upper bound in bytes for a header of version 1, CRLF included: the longest that section 2.1 knows.
pub const MAX_PROXY_LINE: usize = 107;

/// Upper bound in bytes for a header of version 2: 16 that are always there, and addresses and extensions. Section 2 has every header
/// fit into the smallest TCP segment, 536 bytes.
pub const MAX_PROXY_HEADER: usize = 16 + 512;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Who connected to the load balancer. `None`: the load balancer itself (LOCAL), or somebody whom it cannot name (UNKNOWN, UNSPEC, a
    /// Unix socket): that is no source.
    pub client: Option<SocketAddr>,
}

/// Why the first bytes are no PROXY header to go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Something else: known at the first byte that shows it.
    #[error("no PROXY header")]
    Missing,
    /// More than [`MAX_PROXY_LINE`] or [`MAX_PROXY_HEADER`] bytes.
    #[error("the PROXY header is too long")]
    TooLong,
    /// A version or command that nobody has defined.
    #[error("the PROXY header has an unknown version or command")]
    Command,
    /// Datagrams, which nobody tunnels, or a family or protocol that nobody has defined.
    #[error("the PROXY header names a family or protocol other than TCP")]
    Family,
    /// Its parts are not written as they must be, or do not fit into its length.
    #[error("the PROXY header is malformed")]
    Malformed,
    /// It is not what its checksum was made of.
    #[error("the checksum of the PROXY header is wrong")]
    Checksum,
}

/// Whether bytes look like the beginning of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looks {
    /// They do.
    Yes,
    /// They do not.
    No,
    /// More bytes have to tell.
    More,
}

/// How version 1 begins.
const GREETING: &[u8] = b"PROXY ";

/// How version 2 begins.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes in front of the addresses of version 2: signature, version and command, family and protocol, length of the rest.
const FIXED: usize = 16;

/// The extension that holds the checksum of the header (2.2.3).
const CRC32C: u8 = 0x03;

/// Whether a connection's first bytes are the beginning of a PROXY header: from who must not send one that is told from mere nonsense.
pub fn looks_like_header(first: &[u8]) -> Looks {
    if first.starts_with(GREETING) || first.starts_with(SIGNATURE) {
        Looks::Yes
    } else if GREETING.starts_with(first) || SIGNATURE.starts_with(first) {
        Looks::More
    } else {
        Looks::No
    }
}

/// Reads one header. Holds at most [`MAX_PROXY_HEADER`] bytes and the last push.
#[derive(Debug, Default)]
pub struct ProxyHeaderReader {
    bytes: Vec<u8>,
    /// Bytes of the header, once it is whole.
    length: usize,
}

impl ProxyHeaderReader {
    /// Takes the next bytes. `None`: right so far, push more. Push nothing behind a header or an error.
    ///
    /// # Errors
    /// As soon as the bytes show it, or the bound is reached.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<ProxyHeader>, Refused> {
        self.bytes.extend_from_slice(bytes);
        let read = read(&self.bytes)?;
        Ok(read.map(|(header, length)| {
            self.length = length;
            header
        }))
    }

    /// What came behind the header: the client's own first bytes.
    pub fn into_unread(self) -> Bytes {
        let mut bytes = Bytes::from(self.bytes);
        bytes.split_off(self.length.min(bytes.len()))
    }
}

/// A whole header and its length, if it is there. More bytes behind never change an answer that is given.
fn read(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, Refused> {
    match looks_like_header(bytes) {
        Looks::No => Err(Refused::Missing),
        Looks::More => Ok(None),
        Looks::Yes if bytes.starts_with(GREETING) => read_line(bytes),
        Looks::Yes => read_binary(bytes),
    }
}

/// Version 1: a line, whose end no other byte may stand for.
fn read_line(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, Refused> {
    let within = bytes.get(..MAX_PROXY_LINE).unwrap_or(bytes);
    let is_full = within.len() == MAX_PROXY_LINE;
    let end = within.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(within.len());
    let (line, behind) = within.split_at_checked(end).unwrap_or_default();
    match behind {
        [b'\r', b'\n', ..] => {
            let length = end.saturating_add(2);
            let header = within.get(..length).unwrap_or_default();
            Ok(Some((ProxyHeader { client: client_of_line(line, header)? }, length)))
        }
        [] | [b'\r'] if is_full => Err(Refused::TooLong),
        [] | [b'\r'] => Ok(None),
        [_, ..] => Err(Refused::Malformed),
    }
}

/// Exactly one space between words. What follows UNKNOWN must be ignored.
fn client_of_line(line: &[u8], header: &[u8]) -> Result<Option<SocketAddr>, Refused> {
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    match words.as_slice() {
        [_, b"UNKNOWN", ..] => Ok(None),
        [_, b"TCP4" | b"TCP6", _, _, source_port, own_port] if is_port(source_port) && is_port(own_port) => {
            stream_client(header).map(Some)
        }
        [_, b"TCP4" | b"TCP6", ..] => Err(Refused::Malformed),
        _ => Err(Refused::Family),
    }
}

/// Whether it is a number without sign or leading zero. That it is none above 65535 is for who reads it.
fn is_port(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_digit) && (text == b"0" || !text.starts_with(b"0"))
}

/// Version 2.
fn read_binary(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, Refused> {
    let Some([.., command, family, high, low]) = bytes.first_chunk::<FIXED>() else { return Ok(None) };
    let length = FIXED.saturating_add(u16::from_be_bytes([*high, *low]).into());
    let addresses = match (command, family) {
        // Of LOCAL all else must be ignored, and of what cannot be named nobody knows where its addresses end.
        (0x20, _) | (0x21, 0x00) => None,
        (0x21, 0x11) => Some(2 * 4 + 2 * 2),
        (0x21, 0x21) => Some(2 * 16 + 2 * 2),
        (0x21, 0x31) => Some(2 * 108),
        (0x21, _) => return Err(Refused::Family),
        _ => return Err(Refused::Command),
    };
    let extensions = addresses.map(|addresses| FIXED.saturating_add(addresses));
    if extensions.is_some_and(|begin| begin > length) {
        return Err(Refused::Malformed);
    }
    if length > MAX_PROXY_HEADER {
        return Err(Refused::TooLong);
    }
    let Some(header) = bytes.get(..length) else { return Ok(None) };
    extensions.map_or(Ok(()), |begin| check_extensions(header, begin))?;
    let is_named = extensions.is_some() && *family != 0x31;
    let client = is_named.then(|| stream_client(header)).transpose()?;
    Ok(Some((ProxyHeader { client }, length)))
}

/// The client of a whole header with addresses. IPv4-mapped IPv6 is IPv4.
fn stream_client(header: &[u8]) -> Result<SocketAddr, Refused> {
    let (parsed, _) = Parsed::parse(header, ParseConfig::default()).map_err(|_| Refused::Malformed)?;
    let source = parsed.proxied_address().map(|address| address.source).ok_or(Refused::Malformed)?;
    Ok(SocketAddr::new(canonical(source.ip()), source.port()))
}

/// Extensions say nothing here that is believed, but they must fill the header, and its checksum must be right.
fn check_extensions(header: &[u8], begin: usize) -> Result<(), Refused> {
    let mut rest = header.get(begin..).unwrap_or_default();
    while let Some((kind, behind)) = rest.split_first() {
        let (length, behind) = behind.split_first_chunk().ok_or(Refused::Malformed)?;
        let length = u16::from_be_bytes(*length).into();
        let (value, behind) = behind.split_at_checked(length).ok_or(Refused::Malformed)?;
        if *kind == CRC32C {
            let given: [u8; 4] = value.try_into().map_err(|_| Refused::Malformed)?;
            let end = header.len().saturating_sub(behind.len());
            if checksum(header, &(end.saturating_sub(given.len())..end)) != u32::from_be_bytes(given) {
                return Err(Refused::Checksum);
            }
        }
        rest = behind;
    }
    Ok(())
}

/// The CRC32c (RFC 4960, appendix B) of a header, with zeros where it stands itself. Bit by bit: few headers have one, and none is long.
fn checksum(header: &[u8], own: &Range<usize>) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let step = |crc: u32, _| (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
    let bytes = header.iter().enumerate().map(|(index, byte)| if own.contains(&index) { 0 } else { *byte });
    !bytes.fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(byte), step))
}

/// Fuzz entry: any split of any bytes gives one answer, within the bound, and no byte behind a header is lost.
///
/// # Panics
/// If one of these does not hold.
pub fn fuzz_proxy_header(data: &[u8]) {
    let mut whole = ProxyHeaderReader::default();
    let at_once = whole.push(data);
    let mut split = ProxyHeaderReader::default();
    let mut piecewise = Ok(None);
    for byte in data {
        piecewise = split.push(&[*byte]);
        assert!(split.bytes.len() <= MAX_PROXY_HEADER, "more is held than the bound");
        if piecewise != Ok(None) {
            break;
        }
    }
    assert_eq!(at_once, piecewise, "the split changes the answer");
    if matches!(at_once, Ok(Some(_))) {
        let (behind, unread) = (data.get(split.bytes.len()..), whole.into_unread());
        assert_eq!(behind, Some(&*unread), "a byte behind the header is lost or kept");
        assert_eq!(looks_like_header(data), Looks::Yes, "a header looks like one");
    }
}

#[cfg(test)]
#[path = "proxy_header_tests.rs"]
mod tests;
