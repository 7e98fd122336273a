//! Fatal alerts that the proxy itself sends when it refuses after the `200`.
//! Not here: which refusal gets which alert (`policy`).
//! Source: RFC 8446 section 6.

/// Why a handshake is refused, as the peer's TLS library reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AlertDescription {
    /// 10: a message that may not stand there.
    UnexpectedMessage,
    /// 40: no acceptable set of parameters.
    HandshakeFailure,
    /// 42: the peer's certificate is bad.
    BadCertificate,
    /// 47: a field with a value that it may not have.
    IllegalParameter,
    /// 48: the peer's certificate leads to no known authority.
    UnknownCa,
    /// 49: understood, but not allowed.
    AccessDenied,
    /// 50: not decodable.
    DecodeError,
    /// 70: understood, but of a version that is not allowed.
    ProtocolVersion,
    /// 71: parameters that are too weak.
    InsufficientSecurity,
    /// 80: nothing to do with the peer.
    InternalError,
    /// 109: an extension that must be there is not.
    MissingExtension,
    /// 112: no such server name here.
    UnrecognizedName,
    /// 120: none of the offered protocols is allowed.
    NoApplicationProtocol,
}

impl AlertDescription {
    /// Its code point.
    pub fn number(self) -> u8 {
        match self {
            Self::UnexpectedMessage => 10,
            Self::HandshakeFailure => 40,
            Self::BadCertificate => 42,
            Self::IllegalParameter => 47,
            Self::UnknownCa => 48,
            Self::AccessDenied => 49,
            Self::DecodeError => 50,
            Self::ProtocolVersion => 70,
            Self::InsufficientSecurity => 71,
            Self::InternalError => 80,
            Self::MissingExtension => 109,
            Self::UnrecognizedName => 112,
            Self::NoApplicationProtocol => 120,
        }
    }
}

/// A whole record with one fatal alert. Its version is 3.3, which every client takes before a version is agreed.
pub fn alert(description: AlertDescription) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, description.number()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_record_that_openssl_sends_for_the_same() {
        assert_eq!(alert(AlertDescription::HandshakeFailure), [0x15, 3, 3, 0, 2, 2, 0x28]);
        assert_eq!(alert(AlertDescription::UnrecognizedName), [0x15, 3, 3, 0, 2, 2, 0x70]);
    }
}
