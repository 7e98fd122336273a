//! Who asks: where a client comes from, and what it has proved to be. Each way in makes one of these; the policy asks for nothing else.
//! Not here: how a way in finds out (`runtime`), which source that is (`request`). Source: the contract's "Which source".

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use crate::address;
use crate::name::Identity;

/// A client as its way in shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Where it comes from.
    pub origin: Origin,
    /// What it has proved to be; empty: nothing.
    pub identities: Arc<[Identity]>,
    /// Whether its way in takes credentials, so that it can be asked for one.
    pub takes_credentials: bool,
    /// Its certificate.
    pub certificate: Certificate,
}

/// What became of a client's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Certificate {
    /// Its way in asks for none.
    #[default]
    NotAsked,
    /// It has none where one is required: it comes no further.
    Missing,
    /// It is good, be there an identity in it or not.
    Shown,
}

/// Where a client comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// An address, canonical: its own, or what a listed load balancer says of it.
    Address(IpAddr),
    /// A user of this host, over a Unix socket (unix(7), SO_PEERCRED).
    User(u32),
    /// Nobody says: PROXY `LOCAL` and `UNKNOWN`. No source has it.
    Unknown,
}

/// Why a text says nowhere that a client could come from. Not shown: it may hold anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no address; write one such as `192.0.2.1` or `2001:db8::1`, or `user:1000` for a user who comes over a Unix socket"
)]
pub struct OriginError;

/// How users are written.
const USER: &str = "user:";

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix(USER) {
            Some(uid) if uid.bytes().all(|byte| byte.is_ascii_digit()) => {
                uid.parse().map(Self::User).map_err(|_| OriginError)
            }
            Some(_) => Err(OriginError),
            None => text.parse().map(|address| Self::Address(address::canonical(address))).map_err(|_| OriginError),
        }
    }
}

impl Client {
    /// A client that has proved nothing.
    pub fn new(origin: Origin) -> Self {
        Self { origin, identities: Arc::default(), takes_credentials: false, certificate: Certificate::default() }
    }

    /// Its address, if it has one.
    pub fn address(&self) -> Option<IpAddr> {
        match self.origin {
            Origin::Address(address) => Some(address),
            Origin::User(_) | Origin::Unknown => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::User(uid) => write!(f, "{USER}{uid}"),
            Self::Unknown => f.write_str("a client without an address"),
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.origin.fmt(f)?;
        self.identities.iter().try_for_each(|identity| write!(f, ", {identity}"))
    }
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        Self::new(Origin::Address(address::canonical(address)))
    }
}
