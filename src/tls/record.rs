//! The five bytes before each TLS record, judged as early as they arrive.
//! Not here: what a record holds, and which record may stand where.
//! Source: RFC 8446 section 5.1 and 5.2.

use super::reader::Reader;

/// Bytes of a record's header: type, version, length.
pub(super) const HEADER: usize = 5;

/// Upper bound in bytes for a record in the clear (2^14).
pub(super) const MAX_FRAGMENT: usize = 16 * 1024;

/// Upper bound in bytes for an encrypted TLS 1.3 record (2^14 + 256), which is what early data comes in.
pub(super) const MAX_CIPHERTEXT: usize = 16 * 1024 + 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContentType {
    ChangeCipherSpec,
    Alert,
    Handshake,
    ApplicationData,
}

impl ContentType {
    fn number(self) -> u8 {
        match self {
            Self::ChangeCipherSpec => 20,
            Self::Alert => 21,
            Self::Handshake => 22,
            Self::ApplicationData => 23,
        }
    }

    fn max_length(self) -> usize {
        match self {
            Self::ChangeCipherSpec | Self::Alert | Self::Handshake => MAX_FRAGMENT,
            Self::ApplicationData => MAX_CIPHERTEXT,
        }
    }
}

/// What the first five bytes of a record say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) content: ContentType,
    /// Bytes of the body, 1 to the bound of its type. RFC 8446 lets application data be empty; nobody encrypts to nothing.
    pub(super) length: usize,
}

/// The first part of a header that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderFault {
    /// Not one of the types allowed here.
    Type,
    /// The major version is not 3. The minor one says nothing (RFC 8446 5.1).
    Version,
    /// An empty record, or one that is longer than its type allows.
    Length,
}

impl Header {
    /// Reads a header from the start of `bytes`. `None`: more bytes are needed; what is there is right so far.
    pub(super) fn read(bytes: &[u8], allowed: &[ContentType]) -> Result<Option<Self>, HeaderFault> {
        let mut reader = Reader::new(bytes);
        let Some(first) = reader.u8() else { return Ok(None) };
        let content = allowed.iter().find(|content| content.number() == first).ok_or(HeaderFault::Type)?;
        let Some(major) = reader.u8() else { return Ok(None) };
        if major != 3 {
            return Err(HeaderFault::Version);
        }
        let (Some(_minor), Some(length)) = (reader.u8(), reader.u16()) else { return Ok(None) };
        let length = usize::from(length);
        if length == 0 || length > content.max_length() {
            return Err(HeaderFault::Length);
        }
        Ok(Some(Self { content: *content, length }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ContentType::{Alert, ApplicationData, Handshake};

    #[test]
    fn each_byte_is_judged_when_it_comes() {
        let fault = Err::<Option<Header>, _>;
        let header = |content, length| Ok(Some(Header { content, length }));
        let table: [(&str, &[u8], _); 14] = [
            ("nothing", &[], Ok(None)),
            ("type", &[22], Ok(None)),
            ("type not allowed", &[20], fault(HeaderFault::Type)),
            ("type unknown", b"S", fault(HeaderFault::Type)),
            ("version", &[22, 3], Ok(None)),
            ("version 2", &[22, 2], fault(HeaderFault::Version)),
            ("half a length", &[22, 3, 1, 0], Ok(None)),
            ("whole", &[22, 3, 1, 0, 5], header(Handshake, 5)),
            ("whole and more", &[21, 3, 3, 0, 2, 2, 40], header(Alert, 2)),
            ("odd minor version", &[22, 3, 0x7f, 0, 5], header(Handshake, 5)),
            ("empty", &[22, 3, 1, 0, 0], fault(HeaderFault::Length)),
            ("longest", &[22, 3, 1, 0x40, 0], header(Handshake, MAX_FRAGMENT)),
            ("too long", &[22, 3, 1, 0x40, 1], fault(HeaderFault::Length)),
            ("longest encrypted", &[23, 3, 3, 0x41, 0], header(ApplicationData, MAX_CIPHERTEXT)),
        ];
        for (name, bytes, want) in table {
            assert_eq!(Header::read(bytes, &[Handshake, Alert, ApplicationData]), want, "{name}");
        }
        assert_eq!(Header::read(&[23, 3, 3, 0x41, 1], &[ApplicationData]), fault(HeaderFault::Length));
    }
}
