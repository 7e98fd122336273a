//! One emergency block: what it hits, until when, and why. Pure.
//! Not here: how many hold together (`blocks`), keeping them and who asks for them (`runtime::blocks`). Source: the contract's `POST /v1/block`.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::ser::{Serialize, SerializeMap, Serializer};
use uuid::Uuid;

use super::rule::{Word, WordError};
use crate::address::{self, PrefixError};
use crate::name::{HostPattern, NameError};
use crate::redact::{Redacted, holds_card_number};

/// What is blocked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Blocked {
    /// Names, as targets, in hellos and on the way to an address.
    Host(HostPattern),
    /// Addresses to connect to.
    Network(IpNet),
    /// All that this source asks for.
    Source(Arc<str>),
    /// All that rules of this customer let through.
    Customer(Arc<str>),
}

/// A kind of what can be blocked: its word in calls, files and records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// A name or a pattern of names.
    Host,
    /// A prefix or an address.
    Network,
    /// A source's name.
    Source,
    /// A customer's name.
    Customer,
}

impl BlockKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Host, Self::Network, Self::Source, Self::Customer];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Network => "network",
            Self::Source => "source",
            Self::Customer => "customer",
        }
    }
}

/// What cannot be blocked, and how to write it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockedError {
    /// No name and no pattern.
    #[error(transparent)]
    Host(#[from] NameError),
    /// It would bring the number into records.
    #[error("the host holds what looks like a card number; block a pattern above it, such as `*.acme.example`")]
    CardNumber,
    /// An address where a name belongs.
    #[error("an address is no host; block it as `network`")]
    Address,
    /// No prefix and no address.
    #[error(transparent)]
    Network(#[from] PrefixError),
    /// No name of a source or customer.
    #[error(transparent)]
    Name(#[from] WordError),
}

impl Blocked {
    /// Reads what stands beside a kind's word.
    ///
    /// # Errors
    /// See [`BlockedError`].
    pub fn read(kind: BlockKind, text: &str) -> Result<Self, BlockedError> {
        Ok(match kind {
            BlockKind::Host if text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() => {
                return Err(BlockedError::Address);
            }
            BlockKind::Host if holds_card_number(text) => return Err(BlockedError::CardNumber),
            BlockKind::Host => Self::Host(text.parse()?),
            BlockKind::Network => Self::Network(match text.parse::<IpAddr>() {
                Ok(address) => address::canonical(address).into(),
                Err(_) => address::parse_prefix(text)?,
            }),
            BlockKind::Source => Self::Source(text.parse::<Word>()?.0),
            BlockKind::Customer => Self::Customer(text.parse::<Word>()?.0),
        })
    }

    /// Its kind.
    pub fn kind(&self) -> BlockKind {
        match self {
            Self::Host(_) => BlockKind::Host,
            Self::Network(_) => BlockKind::Network,
            Self::Source(_) => BlockKind::Source,
            Self::Customer(_) => BlockKind::Customer,
        }
    }

    /// What stands beside the kind's word; [`Blocked::read`] reads it again.
    pub fn text(&self) -> String {
        match self {
            Self::Host(pattern) => pattern.to_string(),
            Self::Network(network) => network.to_string(),
            Self::Source(name) | Self::Customer(name) => name.to_string(),
        }
    }
}

/// With its kind, for people.
impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind().as_str(), self.text())
    }
}

/// An emergency block: deny-only, until it ends by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its id in records and answers.
    pub id: Uuid,
    /// What it hits.
    pub what: Blocked,
    /// Why, in the words of whoever asked for it.
    pub reason: Redacted,
    /// When it was first asked for.
    pub since: Timestamp,
    /// Its end: from then on it hits nothing.
    pub until: Timestamp,
}

impl Block {
    /// Whether it hits what is asked at `at`.
    pub fn holds(&self, at: Timestamp) -> bool {
        at < self.until
    }
}

/// As files, calls and answers have it: `id`, the kind's word, `reason`, `since`, `until`.
impl Serialize for Block {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { id, what, reason, since, until } = self;
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("id", id)?;
        map.serialize_entry(what.kind().as_str(), &what.text())?;
        map.serialize_entry("reason", reason)?;
        map.serialize_entry("since", since)?;
        map.serialize_entry("until", until)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_blocked_comes_back_as_it_was_written() {
        for (kind, text, want) in [
            (BlockKind::Host, "API.Acme.example.", Some("api.acme.example")),
            (BlockKind::Host, "*.acme.example", Some("*.acme.example")),
            (BlockKind::Host, "**.example", Some("**.example")),
            (BlockKind::Host, "a.*.example", None),
            (BlockKind::Host, "203.0.113.7", None),
            (BlockKind::Host, "[2001:db8::1]", None),
            (BlockKind::Host, "4111111111111111.acme.example", None),
            (BlockKind::Host, "", None),
            (BlockKind::Network, "203.0.113.0/24", Some("203.0.113.0/24")),
            (BlockKind::Network, "203.0.113.7", Some("203.0.113.7/32")),
            (BlockKind::Network, "0.0.0.0/0", Some("0.0.0.0/0")),
            (BlockKind::Network, "::ffff:203.0.113.7", Some("203.0.113.7/32")),
            (BlockKind::Network, "2001:db8::1", Some("2001:db8::1/128")),
            (BlockKind::Network, "203.0.113.7/24", None),
            (BlockKind::Network, "acme.example", None),
            (BlockKind::Source, "ivr-east", Some("ivr-east")),
            (BlockKind::Source, "a b", None),
            (BlockKind::Customer, "acme", Some("acme")),
            (BlockKind::Customer, "4111111111111111", None),
        ] {
            let read = Blocked::read(kind, text);
            assert_eq!(read.as_ref().map(Blocked::text).ok().as_deref(), want, "{kind:?} {text}: {read:?}");
            if let Ok(read) = read {
                assert_eq!(Blocked::read(read.kind(), &read.text()).as_ref(), Ok(&read), "{text}");
                assert_eq!(read.to_string(), format!("{} `{}`", kind.as_str(), read.text()));
            }
        }
    }
}
