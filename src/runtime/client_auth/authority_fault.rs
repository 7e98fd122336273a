//! What can be wrong with the authorities of client certificates and with their lists: one text each, at the place of its file.
//! Not here: the checks (`authorities`, `revocation`). No message repeats what a certificate says: it may be anything.
//! Source: RFC 5280.

use super::authorities::MAX_AUTHORITIES;
use super::revocation::{MAX_CRL_BYTES, MAX_CRLS};

/// Which of the two files is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorityFile {
    /// `client_ca`
    Authorities,
    /// `crl`
    Lists,
}

/// What is wrong with authorities or lists. Positions count from 1 in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityFault {
    /// Nothing to judge by.
    #[error("no certificate in PEM; write one that begins `-----BEGIN CERTIFICATE-----`")]
    NoAuthority,
    /// Each is named to each client.
    #[error("{0} certificates; write at most {MAX_AUTHORITIES}")]
    TooManyAuthorities(usize),
    /// Not to be understood.
    #[error("certificate {0} cannot be read; write X.509 version 3 in PEM")]
    Unreadable(usize),
    /// Of a client or server, most likely.
    #[error(
        "certificate {0} is no authority's (basic constraints `CA`, key usage `keyCertSign`); write those of authorities alone"
    )]
    NoCa(usize),
    /// Past its end.
    #[error("certificate {0} has ended; write the authority's new one, or take it out")]
    Ended(usize),
    /// Before its beginning.
    #[error("certificate {0} has not begun yet; check the host's clock, or add it later")]
    NotBegun(usize),
    /// Twice the same.
    #[error("certificate {0} is certificate {1} again; write it once")]
    AuthorityTwice(usize, usize),
    /// They only lead to one another.
    #[error(
        "none of the certificates stands at the top: each was signed by another one; add the authority that signs itself"
    )]
    NoTop,
    /// It could not vouch for a list.
    #[error(
        "certificate {0} may not sign lists of revoked certificates (key usage `cRLSign`); ask its authority for one that may"
    )]
    MayNotSignLists(usize),
    /// No list.
    #[error("no list of revoked certificates; write one that begins `-----BEGIN X509 CRL-----`")]
    NoList,
    /// Too many, or too long.
    #[error("{0} lists of {1} bytes; write at most {MAX_CRLS}, of {MAX_CRL_BYTES} bytes together")]
    TooManyLists(usize, usize),
    /// Not to be understood.
    #[error(
        "list {0} cannot be read; write one of X.509 version 2 with a next update, neither a delta nor for other issuers"
    )]
    UnreadableList(usize),
    /// Nobody's.
    #[error(
        "list {0} comes from none of the authorities in `client_ca`; add that authority there, or take the list out"
    )]
    ForeignList(usize),
    /// Somebody else signed it.
    #[error("list {0} has a wrong signature; fetch it again from its authority")]
    UnsignedList(usize),
    /// One of the two would never be looked at.
    #[error("list {0} speaks of the same certificates as list {1}; keep the newer one")]
    ListTwice(usize, usize),
    /// Its clients would all be refused.
    #[error("no list comes from certificate {0} of `client_ca`; add it: without one all its clients are refused")]
    NoListOf(usize),
}

impl AuthorityFault {
    /// Which of the two files it is in.
    pub fn file(&self) -> AuthorityFile {
        match self {
            Self::NoAuthority
            | Self::TooManyAuthorities(_)
            | Self::Unreadable(_)
            | Self::NoCa(_)
            | Self::Ended(_)
            | Self::NotBegun(_)
            | Self::AuthorityTwice(..)
            | Self::NoTop
            | Self::MayNotSignLists(_) => AuthorityFile::Authorities,
            Self::NoList
            | Self::TooManyLists(..)
            | Self::UnreadableList(_)
            | Self::ForeignList(_)
            | Self::UnsignedList(_)
            | Self::ListTwice(..)
            | Self::NoListOf(_) => AuthorityFile::Lists,
        }
    }
}
