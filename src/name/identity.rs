//! What a client has proved to be: the URI or a DNS name of its certificate, or the name of its credential.
//! Not here: patterns of identities (`identity_pattern`), certificates and credentials themselves (`runtime`). The CN is never read.
//! Source: the contract's "Which source"; SPIFFE-ID (standards/SPIFFE-ID.md, 2: syntax, 2.3: at most 2048 bytes), RFC 5280 4.2.1.6.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use super::{Fqdn, NameError, shown};

/// One identity of a client. A certificate has one URI, or its DNS names; beside that a client may have shown a credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The one URI SAN of its certificate.
    Spiffe(SpiffeId),
    /// A DNS SAN of its certificate.
    Name(Fqdn),
    /// The name of the credential that it showed.
    Credential(Arc<str>),
}

/// A SPIFFE ID in its only form: `spiffe://TRUST-DOMAIN/SEGMENT/…`, at most 2048 bytes, no `.`, `..` or empty segment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpiffeId(Box<str>);

/// Why a text is no identity. Holds the input escaped and cut to 64 characters.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// It begins like a SPIFFE ID.
    #[error(
        "bad SPIFFE ID `{id}`; write `spiffe://trust.domain/path` with a-z, 0-9, `.`, `-`, `_` in the domain and those and A-Z in the path"
    )]
    Spiffe {
        /// The text.
        id: String,
    },
    /// It begins like a credential.
    #[error("bad name of a credential `{name}`; write 1 to 128 letters, digits, `.`, `_` and `-` behind `login:`")]
    Credential {
        /// The text.
        name: String,
    },
    /// It is no DNS name either.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// How SPIFFE IDs begin.
pub(super) const SPIFFE: &str = "spiffe://";

/// How the names of credentials are written among identities. Not by the word itself: what stands behind that is taken for a secret,
/// in records and in every message.
pub(super) const CREDENTIAL: &str = "login:";

/// Upper bound in bytes of a SPIFFE ID (SPIFFE-ID, 2.3).
const MAX_SPIFFE_ID: usize = 2048;

/// Upper bound in bytes of a trust domain (SPIFFE-ID, 2.3).
const MAX_TRUST_DOMAIN: usize = 255;

/// Upper bound in bytes of a credential's name: it stands in records.
const MAX_CREDENTIAL: usize = 128;

impl SpiffeId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Trust domain and path segments, which are what patterns compare.
    pub(super) fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.get(SPIFFE.len()..).unwrap_or_default().split('/')
    }
}

impl FromStr for SpiffeId {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.strip_prefix(SPIFFE).filter(|_| text.len() <= MAX_SPIFFE_ID).map(|rest| rest.split('/'));
        let fits = parts.is_some_and(|mut parts| parts.next().is_some_and(is_trust_domain) && parts.all(is_segment));
        if fits { Ok(Self(text.into())) } else { Err(IdentityError::Spiffe { id: shown(text) }) }
    }
}

/// Whether a text can be a trust domain.
fn is_trust_domain(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_');
    (1..=MAX_TRUST_DOMAIN).contains(&text.len()) && text.bytes().all(plain)
}

/// Whether a text can be one segment of a path.
fn is_segment(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !matches!(text, "" | "." | "..") && text.bytes().all(plain)
}

/// Whether a text can be a credential's name.
pub fn is_credential_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=MAX_CREDENTIAL).contains(&text.len()) && text.bytes().all(plain)
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with(SPIFFE) {
            return text.parse().map(Self::Spiffe);
        }
        match text.strip_prefix(CREDENTIAL) {
            Some(name) if is_credential_name(name) => Ok(Self::Credential(name.into())),
            Some(name) => Err(IdentityError::Credential { name: shown(name) }),
            None => Ok(Self::Name(text.parse()?)),
        }
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spiffe(id) => id.fmt(f),
            Self::Name(name) => name.fmt(f),
            Self::Credential(name) => write!(f, "{CREDENTIAL}{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_by_table() {
        let long = format!("spiffe://a/{}", "b".repeat(2048 - 11));
        for (text, good) in [
            ("spiffe://voice.example/ivr/east", true),
            ("spiffe://voice.example", true),
            ("spiffe://voice.example/A_b-c.d", true),
            (long.as_str(), true),
            (&format!("{long}b"), false),
            ("spiffe://", false),
            ("spiffe:///ivr", false),
            ("spiffe://Voice.example/ivr", false),
            ("SPIFFE://voice.example/ivr", false),
            ("spiffe://voice.example/", false),
            ("spiffe://voice.example//ivr", false),
            ("spiffe://voice.example/../ivr", false),
            ("spiffe://voice.example/i%76r", false),
            ("spiffe://voice.example:1/ivr", false),
            ("spiffe://u@voice.example/ivr", false),
            ("spiffe://voice.example/ivr?x", false),
            ("spiffe://voice.example/*", false),
            ("login:batch-1", true),
            ("login:", false),
            ("login:a b", false),
            ("ivr-1.voice.example", true),
            ("*.voice.example", false),
            ("https://voice.example/ivr", false),
            ("", false),
        ] {
            let read = text.parse::<Identity>();
            assert_eq!(read.is_ok(), good, "{text}: {read:?}");
            if let Ok(identity) = read {
                assert_eq!(identity.to_string(), text);
            }
        }
    }
}
