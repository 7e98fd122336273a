//! Who is measured: bare relays, packaged peers and sallyport, each with so many names on its allowlist, on one core or two.
//! Not here: how they are started (`compare::recipe`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::floor::Relay;
use crate::shape::Shape;

/// Names on an allowlist if nothing else is said.
pub const USUAL_NAMES: usize = 1_000;

/// Upper bound of names on an allowlist.
const MAX_NAMES: usize = 10_000_000;

/// What is behind a subject. The order is that of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The yardstick: one buffer a thread.
    FloorShared64k,
    /// The yardstick for bulk.
    FloorSplice,
    /// tokio's `copy_bidirectional`.
    FloorCopy8k,
    /// The product; records reach the disk some time later.
    SallyportAsync,
    /// The product; records are on disk before a client's byte is forwarded.
    SallyportSync,
    /// A packaged peer.
    Squid,
    /// A packaged peer.
    Envoy,
    /// A packaged peer.
    Tinyproxy,
}

/// A subject of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subject {
    /// What it is.
    pub kind: Kind,
    /// Names on its allowlist.
    pub names: usize,
    /// Whether it has the load's core as well: then only CPU a unit says something.
    pub two_cores: bool,
}

/// Why a text is no subject.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "no subject `{0}`: write floor-shared64k, floor-splice, floor-copy8k, sallyport-async, sallyport-sync, squid, envoy or tinyproxy, \
     and behind it `@2cores` or the number of names, as in sallyport-async@1000000"
)]
pub struct UnknownSubject(String);

impl Kind {
    /// All, in the order of tables.
    pub const ALL: [Self; 8] = [
        Self::FloorShared64k,
        Self::FloorSplice,
        Self::FloorCopy8k,
        Self::SallyportAsync,
        Self::SallyportSync,
        Self::Squid,
        Self::Envoy,
        Self::Tinyproxy,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::FloorShared64k => "floor-shared64k",
            Self::FloorSplice => "floor-splice",
            Self::FloorCopy8k => "floor-copy8k",
            Self::SallyportAsync => "sallyport-async",
            Self::SallyportSync => "sallyport-sync",
            Self::Squid => "squid",
            Self::Envoy => "envoy",
            Self::Tinyproxy => "tinyproxy",
        }
    }

    /// Whether it is somebody else's product.
    pub fn is_peer(self) -> bool {
        matches!(self, Self::Squid | Self::Envoy | Self::Tinyproxy)
    }

    /// Whether it is this product.
    pub fn is_ours(self) -> bool {
        matches!(self, Self::SallyportAsync | Self::SallyportSync)
    }

    /// The relay of a floor.
    pub fn relay(self) -> Option<Relay> {
        match self {
            Self::FloorShared64k => Some(Relay::Shared64k),
            Self::FloorSplice => Some(Relay::Splice),
            Self::FloorCopy8k => Some(Relay::Copy8k),
            Self::SallyportAsync | Self::SallyportSync | Self::Squid | Self::Envoy | Self::Tinyproxy => None,
        }
    }
}

impl Subject {
    /// With the usual allowlist, on one core.
    pub const fn usual(kind: Kind) -> Self {
        Self { kind, names: USUAL_NAMES, two_cores: false }
    }

    /// The same on two cores.
    pub const fn on_two_cores(kind: Kind) -> Self {
        Self { two_cores: true, ..Self::usual(kind) }
    }

    /// The same with another allowlist.
    pub const fn with_names(kind: Kind, names: usize) -> Self {
        Self { names, ..Self::usual(kind) }
    }

    /// Whether it is measured on its own account: others are there to be compared with their usual self.
    pub fn is_usual(self) -> bool {
        self == Self::usual(self.kind)
    }

    /// The shapes that say something about it.
    pub fn shapes(self) -> &'static [Shape] {
        match (self.two_cores, self.names == USUAL_NAMES) {
            (true, _) => &[Shape::Connect],
            (false, false) => &[Shape::Connect, Shape::Idle],
            (false, true) => &Shape::ALL,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        if self.names != USUAL_NAMES {
            write!(f, "@{}", self.names)?;
        }
        if self.two_cores { f.write_str("@2cores") } else { Ok(()) }
    }
}

impl FromStr for Subject {
    type Err = UnknownSubject;

    fn from_str(text: &str) -> Result<Self, UnknownSubject> {
        let unknown = || UnknownSubject(text.to_owned());
        let mut parts = text.split('@');
        let name = parts.next().unwrap_or_default();
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(unknown)?;
        let mut subject = Self::usual(kind);
        for part in parts {
            match part.parse() {
                Ok(names) if (1..=MAX_NAMES).contains(&names) && kind.relay().is_none() => subject.names = names,
                Err(_) if part == "2cores" => subject.two_cores = true,
                Ok(_) | Err(_) => return Err(unknown()),
            }
        }
        Ok(subject)
    }
}

impl TryFrom<String> for Subject {
    type Error = UnknownSubject;

    fn try_from(text: String) -> Result<Self, UnknownSubject> {
        text.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_parsed_as_written() {
        for (text, want) in [
            ("floor-shared64k", Some(Subject::usual(Kind::FloorShared64k))),
            ("floor-shared64k@2cores", Some(Subject::on_two_cores(Kind::FloorShared64k))),
            ("sallyport-async@1000000", Some(Subject::with_names(Kind::SallyportAsync, 1_000_000))),
            ("squid@5000@2cores", Some(Subject { kind: Kind::Squid, names: 5_000, two_cores: true })),
            ("sallyport", None),
            ("sallyport-async@", None),
            ("sallyport-async@0", None),
            ("sallyport-async@3cores", None),
            ("floor-splice@5000", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Subject>().ok(), want, "{text}");
            assert_eq!(want.map_or(text.to_owned(), |subject| subject.to_string()), text, "as it is shown");
        }
    }

    #[test]
    fn variants_take_only_the_shapes_that_say_something() {
        for (subject, want) in [("envoy", 9), ("sallyport-async@1000000", 2), ("floor-shared64k@2cores", 1)] {
            assert_eq!(subject.parse::<Subject>().unwrap().shapes().len(), want, "{subject}");
        }
    }
}
