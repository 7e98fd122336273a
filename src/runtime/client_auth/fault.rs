//! What is wrong with a client's certificate: one closed list, and its words in records.
//! Not here: the checks (`verifier`), handshakes that fail for another reason (`handshake`).
//! Source: RFC 5280 section 6; the libraries' errors, whose texts never leave this file.

use std::sync::Arc;

use rustls::{CertificateError, OtherError};

use crate::policy::Reason;

/// What is wrong with a client's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.as_str())]
pub enum CertificateFault {
    /// It, or an authority above it, has ended.
    Expired,
    /// It, or an authority above it, has not begun.
    NotYetValid,
    /// No way leads from it to one of the authorities.
    UnknownIssuer,
    /// It, or an authority between, is on its issuer's list.
    Revoked,
    /// The list that would speak of it is past its next update.
    CrlStale,
    /// No list speaks of it, or the one that does is not good.
    RevocationUnknown,
    /// The client shows more certificates than anybody looks at.
    ChainTooLong,
    /// A signature is wrong: an authority's, or the client's own.
    BadSignature,
    /// It was not made for clients.
    NotForClients,
    /// It uses an algorithm that does not count any more, or none that is known.
    UnsupportedAlgorithm,
    /// An authority above it may not sign such a certificate, or it is an authority itself.
    NotPermitted,
    /// It is no certificate, or one that can't be understood.
    Malformed,
}

impl CertificateFault {
    /// Its word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::UnknownIssuer => "unknown_issuer",
            Self::Revoked => "revoked",
            Self::CrlStale => "crl_stale",
            Self::RevocationUnknown => "revocation_unknown",
            Self::ChainTooLong => "chain_too_long",
            Self::BadSignature => "bad_signature",
            Self::NotForClients => "not_for_clients",
            Self::UnsupportedAlgorithm => "unsupported_algorithm",
            Self::NotPermitted => "not_permitted",
            Self::Malformed => "malformed",
        }
    }

    /// Whether time alone makes it, or takes it away.
    pub fn is_of_time(self) -> bool {
        match self {
            Self::Expired | Self::NotYetValid | Self::CrlStale => true,
            Self::UnknownIssuer
            | Self::Revoked
            | Self::RevocationUnknown
            | Self::ChainTooLong
            | Self::BadSignature
            | Self::NotForClients
            | Self::UnsupportedAlgorithm
            | Self::NotPermitted
            | Self::Malformed => false,
        }
    }

    /// The reason of a refusal for it.
    pub fn reason(self) -> Reason {
        match self {
            Self::Revoked => Reason::ClientCertificateRevoked,
            Self::Expired
            | Self::NotYetValid
            | Self::UnknownIssuer
            | Self::CrlStale
            | Self::RevocationUnknown
            | Self::ChainTooLong
            | Self::BadSignature
            | Self::NotForClients
            | Self::UnsupportedAlgorithm
            | Self::NotPermitted
            | Self::Malformed => Reason::ClientCertificateInvalid,
        }
    }
}

/// As the TLS library takes it: its own errors where there is one, since they choose the alert that the client gets.
impl From<CertificateFault> for CertificateError {
    fn from(fault: CertificateFault) -> Self {
        match fault {
            CertificateFault::Expired => Self::Expired,
            CertificateFault::NotYetValid => Self::NotValidYet,
            CertificateFault::UnknownIssuer => Self::UnknownIssuer,
            CertificateFault::Revoked => Self::Revoked,
            CertificateFault::CrlStale => Self::ExpiredRevocationList,
            CertificateFault::RevocationUnknown => Self::UnknownRevocationStatus,
            CertificateFault::BadSignature => Self::BadSignature,
            CertificateFault::NotForClients => Self::InvalidPurpose,
            CertificateFault::Malformed => Self::BadEncoding,
            CertificateFault::ChainTooLong
            | CertificateFault::UnsupportedAlgorithm
            | CertificateFault::NotPermitted => Self::Other(OtherError(Arc::new(fault))),
        }
    }
}

/// What the TLS library gives back of it. The client's own signature it judges itself.
impl From<&CertificateError> for CertificateFault {
    fn from(error: &CertificateError) -> Self {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the library's list is open; what is not known is malformed"
        )]
        match error {
            CertificateError::Expired => Self::Expired,
            CertificateError::NotValidYet => Self::NotYetValid,
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::Revoked => Self::Revoked,
            CertificateError::ExpiredRevocationList => Self::CrlStale,
            CertificateError::UnknownRevocationStatus => Self::RevocationUnknown,
            CertificateError::BadSignature => Self::BadSignature,
            CertificateError::InvalidPurpose => Self::NotForClients,
            CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Self::UnsupportedAlgorithm,
            CertificateError::Other(OtherError(other)) => other.downcast_ref().copied().unwrap_or(Self::Malformed),
            _ => Self::Malformed,
        }
    }
}

/// What the library for paths says. A list that is not good speaks of nobody.
impl From<webpki::Error> for CertificateFault {
    fn from(error: webpki::Error) -> Self {
        use webpki::Error;
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the library's list is open; what is not known is malformed"
        )]
        match error {
            Error::CertExpired { .. } | Error::InvalidCertValidity => Self::Expired,
            Error::CertNotValidYet { .. } => Self::NotYetValid,
            Error::UnknownIssuer => Self::UnknownIssuer,
            Error::CertRevoked => Self::Revoked,
            Error::CrlExpired { .. } => Self::CrlStale,
            Error::UnknownRevocationStatus
            | Error::IssuerNotCrlSigner
            | Error::InvalidCrlSignatureForPublicKey
            | Error::UnsupportedCrlSignatureAlgorithmContext(_)
            | Error::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_) => Self::RevocationUnknown,
            Error::MaximumPathDepthExceeded
            | Error::MaximumPathBuildCallsExceeded
            | Error::MaximumSignatureChecksExceeded => Self::ChainTooLong,
            Error::InvalidSignatureForPublicKey | Error::SignatureAlgorithmMismatch => Self::BadSignature,
            Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => Self::NotForClients,
            Error::UnsupportedSignatureAlgorithmContext(_)
            | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Self::UnsupportedAlgorithm,
            Error::CaUsedAsEndEntity
            | Error::EndEntityUsedAsCa
            | Error::NameConstraintViolation
            | Error::MaximumNameConstraintComparisonsExceeded
            | Error::PathLenConstraintViolated => Self::NotPermitted,
            _ => Self::Malformed,
        }
    }
}
