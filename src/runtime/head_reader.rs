//! Reads one HTTP/1 request head from a client's first bytes, in any split, and keeps what came behind it.
//! Not here: sockets and deadlines (`head`), what the head may say (`policy::head`). The syntax of a line is httparse's; what it lets
//! through and we do not is here. Source: RFC 9112 (message syntax), RFC 9110 section 9.3.6 (CONNECT).
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{Method, Uri};
use httparse::{Header, Request, Status};

use crate::policy::RequestHead;
use crate::runtime::authorization::Authorization;
use crate::runtime::proxy_header::{Looks, looks_like_header};

/// Upper bound in bytes for one head, blank line included. A CONNECT with every header that a browser adds stays below 2 KiB.
pub const MAX_HEAD: usize = 8 * 1024;

/// Upper bound for the number of header fields in one head.
pub const MAX_FIELDS: usize = 64;

/// What the parser gave for one request.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// The method as sent; its case counts.
    pub method: Method,
    /// The request target as sent.
    pub target: String,
    /// The host and port of an absolute URI, which is all of it that may be written down.
    pub absolute: Option<(String, Option<u16>)>,
    /// How many Host fields came.
    pub hosts: usize,
    /// Whether a body was announced: `Content-Length` other than 0, or any `Transfer-Encoding`.
    pub has_body: bool,
    /// Whether it asks for another protocol than a tunnel (RFC 8441); in HTTP/2 alone.
    pub is_extended: bool,
    /// What it shows of credentials.
    pub authorization: Authorization,
}

impl Head {
    /// The head as the policy judges it.
    pub fn request(&self) -> RequestHead<'_> {
        RequestHead {
            method: self.method.as_str(),
            target: &self.target,
            hosts: self.hosts,
            has_body: self.has_body,
            is_extended: self.is_extended,
        }
    }

    /// Whether the answer must have no body.
    pub fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }
}

/// The bytes are no head, or one beyond its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Reads one head. Holds at most [`MAX_HEAD`] bytes and the last push.
#[derive(Default)]
pub struct HeadReader {
    bytes: Vec<u8>,
    watch: Watch,
    /// Bytes of whole lines that were parsed: they are parsed again only once another line is whole.
    parsed: usize,
    /// Bytes of the head, once it is whole.
    length: usize,
}

impl HeadReader {
    /// Takes the client's next bytes. `None`: right so far, push more. Push nothing behind a head or an error.
    ///
    /// # Errors
    /// As soon as a line shows it, or the bound is reached.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<Head>, Malformed> {
        self.bytes.extend_from_slice(bytes);
        self.watch.see(bytes);
        if self.watch.broken {
            return Err(Malformed);
        }
        let lines = self.watch.lines;
        if self.parsed == lines {
            return Ok(None);
        }
        self.parsed = lines;
        let head = self.parse(lines)?;
        // A head that ends elsewhere for another reader is two requests.
        if head.is_some() == self.watch.ended { Ok(head) } else { Err(Malformed) }
    }

    /// Whether not a byte has come.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether what came is a PROXY header.
    pub fn is_proxied(&self) -> bool {
        looks_like_header(&self.bytes) == Looks::Yes
    }

    /// What came behind the head: the start of the ClientHello.
    pub fn into_unread(self) -> Bytes {
        let mut bytes = Bytes::from(self.bytes);
        bytes.split_off(self.length.min(bytes.len()))
    }

    /// Parses the first `lines` bytes.
    fn parse(&mut self, lines: usize) -> Result<Option<Head>, Malformed> {
        let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut request = Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(self.bytes.get(..lines).unwrap_or_default(), &mut fields);
        match parsed.map_err(|_| Malformed)? {
            Status::Partial => Ok(None),
            Status::Complete(length) if length == lines => {
                self.length = length;
                read(&request).map(Some)
            }
            Status::Complete(_) => Err(Malformed),
        }
    }
}

fn read(request: &Request<'_, '_>) -> Result<Head, Malformed> {
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(Malformed);
    };
    let uri = Uri::try_from(target).map_err(|_| Malformed)?;
    Ok(Head {
        method: Method::from_bytes(method.as_bytes()).map_err(|_| Malformed)?,
        absolute: absolute(&uri),
        target: target.to_owned(),
        hosts: named(request.headers, "host").count(),
        has_body: announces_body(request.headers, version)?,
        is_extended: false,
        authorization: Authorization::of(named(request.headers, "proxy-authorization")),
    })
}

fn named<'a>(fields: &'a [Header<'a>], name: &'static str) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

fn absolute(uri: &Uri) -> Option<(String, Option<u16>)> {
    uri.scheme()?;
    Some((uri.host()?.to_owned(), uri.port_u16()))
}

/// Whether a body is announced (RFC 9112 section 6.3).
///
/// # Errors
/// In a way that two readers may take for two lengths: that is how requests are smuggled.
fn announces_body(fields: &[Header<'_>], version: u8) -> Result<bool, Malformed> {
    let lengths: Vec<&[u8]> = named(fields, "content-length").collect();
    match (named(fields, "transfer-encoding").last(), lengths.as_slice()) {
        (None, []) => Ok(false),
        (None, [length]) if is_number(length) => Ok(*length != b"0"),
        (None, [first, others @ ..]) if is_number(first) && others.iter().all(|other| other == first) => Ok(true),
        (Some(coding), []) if version == 1 && ends_in_chunked(coding) => Ok(true),
        (_, _) => Err(Malformed),
    }
}

/// Whether the last coding is `chunked`, without which the body has no end.
fn ends_in_chunked(coding: &[u8]) -> bool {
    let last = coding.rsplit(|byte| *byte == b',').next().unwrap_or_default();
    last.trim_ascii().eq_ignore_ascii_case(b"chunked")
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// Fuzz entry: any split of any bytes gives one answer, within the bound.
///
/// # Panics
/// If one of these does not hold.
pub fn fuzz_head(data: &[u8]) {
    let mut whole = HeadReader::default();
    let at_once = whole.push(data);
    let mut split = HeadReader::default();
    let mut piecewise = Ok(None);
    for byte in data {
        piecewise = split.push(&[*byte]);
        assert!(split.bytes.len() <= MAX_HEAD.saturating_add(1), "more is held than the bound");
        if !matches!(piecewise, Ok(None)) {
            break;
        }
    }
    assert_eq!(at_once, piecewise, "the split changes the answer");
}

/// Sees the head's raw bytes pass and notes what httparse lets through: a line feed without a carriage return (RFC 9112 section 2.2 lets a
/// recipient take it; two parsers that differ on it is how requests are smuggled), control characters, and more than [`MAX_HEAD`] bytes.
#[derive(Default)]
struct Watch {
    seen: usize,
    line: usize,
    /// Bytes up to the end of the last whole line; 0 as long as there are but empty ones.
    lines: usize,
    last: u8,
    started: bool,
    ended: bool,
    broken: bool,
}

impl Watch {
    fn see(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !self.ended {
            let text = rest.iter().take_while(|byte| is_text(**byte)).count();
            let (line, behind) = rest.split_at_checked(text).unwrap_or_default();
            self.text(line);
            let Some((control, behind)) = behind.split_first() else { break };
            self.control(*control);
            rest = behind;
        }
        self.broken |= self.seen > MAX_HEAD;
    }

    /// A stretch of a line.
    fn text(&mut self, text: &[u8]) {
        let (Some(first), Some(last)) = (text.first(), text.last()) else { return };
        // A head begins with a method, so TLS, SOCKS and the like show with their first byte.
        self.broken |= self.last == b'\r' || (!self.started && !first.is_ascii_graphic());
        self.line = self.line.saturating_add(text.len());
        self.seen = self.seen.saturating_add(text.len());
        self.started = true;
        self.last = *last;
    }

    fn control(&mut self, byte: u8) {
        match byte {
            b'\n' => {
                self.broken |= self.last != b'\r';
                self.ended = self.started && self.line == 0;
                self.line = 0;
            }
            b'\r' => {}
            _ => {
                self.broken = true;
                self.line = self.line.saturating_add(1);
                self.started = true;
            }
        }
        self.seen = self.seen.saturating_add(1);
        self.last = byte;
        if byte == b'\n' && self.started {
            self.lines = self.seen;
        }
    }
}

/// What may stand in a line: all but control characters; a tab is none here.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
#[path = "head_reader_tests.rs"]
mod tests;
