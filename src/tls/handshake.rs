//! Puts the first handshake message of a stream together, in any split of segments and records, and keeps its bytes.
//! Not here: what the message says. Each byte is judged once, when it comes, so the answer does not depend on the split.
//! Source: RFC 8446 section 4 and 5.1.

use super::reader::Reader;
use super::record::{ContentType, HEADER, Header, HeaderFault};
use std::borrow::Cow;

/// Upper bound in bytes for one hello as it came, with the headers of its records, and so for what a reader holds
/// beyond the caller's last push. Post-quantum key shares make hellos of about 2 KiB; 16 KiB leaves room.
pub const MAX_HELLO: usize = 16 * 1024;

/// Bytes of a handshake message's header: type and length.
const MESSAGE_HEADER: usize = 4;

/// Upper bound in small records before the ServerHello: a warning, then its fatal alert; or a change_cipher_spec.
const MAX_BEFORE: u8 = 2;

/// Alert `unrecognized_name` (RFC 6066 section 3). As a warning it does not end the handshake: Apache with OpenSSL sends it
/// before a TLS 1.2 ServerHello when it falls back to its first host.
const UNRECOGNIZED_NAME: u8 = 112;

/// Whose hello is awaited, and so what may stand before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// A ClientHello.
    Client,
    /// A ServerHello.
    Server,
    /// The ServerHello after a HelloRetryRequest: one change_cipher_spec may stand before it (RFC 8446 D.4).
    ServerAgain,
}

impl Expected {
    fn message_type(self) -> u8 {
        match self {
            Self::Client => 1,
            Self::Server | Self::ServerAgain => 2,
        }
    }

    /// The records that may come as long as the message has not begun.
    fn before(self) -> &'static [ContentType] {
        match self {
            Self::Client => &[ContentType::Handshake],
            Self::Server => &[ContentType::Handshake, ContentType::Alert],
            Self::ServerAgain => &[ContentType::Handshake, ContentType::Alert, ContentType::ChangeCipherSpec],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    Incomplete,
    /// An alert in the message's place.
    Alert,
    Whole,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    NotTls,
    Malformed(&'static str),
    TooLong,
}

/// The reader of one message. After `Whole`, `Alert` or a fault the caller pushes no more.
#[derive(Debug)]
pub(super) struct FirstMessage {
    expected: Expected,
    /// All that was pushed.
    raw: Vec<u8>,
    /// Bytes of `raw` that were judged.
    at: usize,
    /// Where the record stands in which the message begins.
    start: usize,
    /// Bytes of the record at `at` that were not judged yet.
    left: usize,
    /// Small records before the message.
    before: u8,
    /// Bytes of the message that were judged.
    got: usize,
    /// The message's header, as far as it came, in its low bytes.
    head: u32,
    /// Bytes of the whole message with its header, once known.
    total: Option<usize>,
}

impl FirstMessage {
    pub(super) fn new(expected: Expected) -> Self {
        Self { expected, raw: Vec::new(), at: 0, start: 0, left: 0, before: 0, got: 0, head: 0, total: None }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Piece, Fault> {
        self.raw.extend_from_slice(bytes);
        loop {
            let next = if self.left == 0 { HEADER } else { 0 };
            if self.at.saturating_add(next) >= MAX_HELLO {
                return Err(Fault::TooLong);
            }
            let piece = if self.left == 0 { self.record()? } else { self.fragment()? };
            if let Some(piece) = piece {
                return Ok(piece);
            }
        }
    }

    /// The judged bytes: once the message is whole, the records up to its last byte.
    pub(super) fn bytes(&self) -> &[u8] {
        self.raw.get(..self.at).unwrap_or_default()
    }

    /// What was pushed behind them.
    pub(super) fn trailing(&self) -> &[u8] {
        self.raw.get(self.at..).unwrap_or_default()
    }

    /// All that was pushed, judged or not.
    pub(super) fn pushed(&self) -> &[u8] {
        &self.raw
    }

    /// `bytes()` and `trailing()`, without a copy of the first.
    pub(super) fn into_parts(mut self) -> (Vec<u8>, Vec<u8>) {
        let trailing = self.raw.split_off(self.at.min(self.raw.len()));
        (self.raw, trailing)
    }

    /// Whether the record with the message's last byte ends with it.
    pub(super) fn ends_its_record(&self) -> bool {
        self.left == 0
    }

    /// The message without its header: a borrow if it came in one record.
    pub(super) fn body(&self) -> Cow<'_, [u8]> {
        let mut records = Reader::new(self.raw.get(self.start..self.at).unwrap_or_default());
        let first = take_fragment(&mut records).unwrap_or_default();
        if records.is_empty() {
            return Cow::Borrowed(first.get(MESSAGE_HEADER..).unwrap_or_default());
        }
        let mut message = Vec::with_capacity(self.got);
        message.extend_from_slice(first);
        while let Some(fragment) = take_fragment(&mut records) {
            message.extend_from_slice(fragment);
        }
        message.drain(..MESSAGE_HEADER.min(message.len()));
        Cow::Owned(message)
    }

    /// At a record's header. `None`: go on.
    fn record(&mut self) -> Result<Option<Piece>, Fault> {
        let begun = self.got > 0;
        let allowed = if begun { &[ContentType::Handshake][..] } else { self.expected.before() };
        let header = match Header::read(self.trailing(), allowed) {
            Ok(Some(header)) => header,
            Ok(None) => return Ok(Some(Piece::Incomplete)),
            Err(fault) => return Err(self.header_fault(fault)),
        };
        match header.content {
            ContentType::Handshake => {
                if !begun {
                    self.start = self.at;
                }
                self.at = self.at.saturating_add(HEADER);
                self.left = header.length;
                Ok(None)
            }
            ContentType::Alert => self.small(header, 2),
            ContentType::ChangeCipherSpec => self.small(header, 1),
            ContentType::ApplicationData => Err(Fault::Malformed("application data before the hello")),
        }
    }

    fn header_fault(&self, fault: HeaderFault) -> Fault {
        match fault {
            HeaderFault::Type | HeaderFault::Version if self.at == 0 => Fault::NotTls,
            HeaderFault::Type => Fault::Malformed("another record within the hello"),
            HeaderFault::Version => Fault::Malformed("version of a record"),
            HeaderFault::Length => Fault::Malformed("length of a record"),
        }
    }

    /// An alert or a change_cipher_spec before the message.
    fn small(&mut self, header: Header, length: usize) -> Result<Option<Piece>, Fault> {
        if header.length != length || self.before >= MAX_BEFORE {
            return Err(Fault::Malformed("a record before the hello"));
        }
        let mut reader = Reader::new(self.trailing());
        let (Some(_), Some(body)) = (reader.take(HEADER), reader.take(length)) else {
            return Ok(Some(Piece::Incomplete));
        };
        let piece = match (header.content, body) {
            (ContentType::ChangeCipherSpec, [1]) if self.before == 0 => None,
            (ContentType::Alert, [1, UNRECOGNIZED_NAME]) => None,
            (ContentType::Alert, [1 | 2, _]) => Some(Piece::Alert),
            _ => return Err(Fault::Malformed("a record before the hello")),
        };
        self.before = self.before.saturating_add(1);
        self.at = self.at.saturating_add(HEADER).saturating_add(length);
        Ok(piece)
    }

    /// Within a handshake record. `None`: go on.
    fn fragment(&mut self) -> Result<Option<Piece>, Fault> {
        let wanted = self.total.unwrap_or(MESSAGE_HEADER).saturating_sub(self.got);
        let bound = wanted.min(self.left).min(MAX_HELLO.saturating_sub(self.at));
        let bytes = Reader::new(self.raw.get(self.at..).unwrap_or_default()).take_up_to(bound);
        if bytes.is_empty() {
            return Ok(Some(Piece::Incomplete));
        }
        if self.total.is_none() {
            self.head = bytes.iter().fold(self.head, |head, byte| head << 8 | u32::from(*byte));
        }
        let (first, count) = (bytes.first().copied(), bytes.len());
        if self.got == 0 && first != Some(self.expected.message_type()) {
            return Err(Fault::NotTls);
        }
        self.at = self.at.saturating_add(count);
        self.got = self.got.saturating_add(count);
        self.left = self.left.saturating_sub(count);
        if self.got == MESSAGE_HEADER {
            let length = usize::try_from(self.head & 0x00ff_ffff).unwrap_or(usize::MAX);
            let total = length.saturating_add(MESSAGE_HEADER);
            if total.saturating_add(HEADER) > MAX_HELLO {
                return Err(Fault::TooLong);
            }
            self.total = Some(total);
        }
        Ok(if self.total == Some(self.got) { Some(Piece::Whole) } else { None })
    }
}

/// The body of the next handshake record, as far as it is there.
fn take_fragment<'a>(records: &mut Reader<'a>) -> Option<&'a [u8]> {
    let header = Header::read(records.rest(), &[ContentType::Handshake]).ok()??;
    records.take(HEADER)?;
    Some(records.take_up_to(header.length))
}
