//! Patterns of identities, as a source lists them: a SPIFFE ID in which `*` is one path segment, a DNS name, a credential's name.
//! Not here: identities themselves (`identity`), which source they make a client's (`policy`).
//! Source: the contract's "Which source"; SPIFFE-ID (standards/SPIFFE-ID.md, 2).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use super::identity::{CREDENTIAL, SPIFFE};
use super::{Fqdn, Identity, IdentityError, shown};

/// What a source lists of its clients' identities.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IdentityPattern {
    /// SPIFFE IDs.
    Spiffe(SpiffePattern),
    /// A DNS name: exactly this one.
    Name(Fqdn),
    /// The name of a credential: exactly this one.
    Credential(Arc<str>),
}

/// A SPIFFE ID in which each `*` is exactly one whole segment of the path; the trust domain has none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpiffePattern(Box<str>);

/// Why a text is no pattern. Holds the input escaped and cut to 64 characters.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IdentityPatternError {
    /// A `*` in the trust domain, in a part of a segment, or in what is no SPIFFE ID.
    #[error(
        "bad `*` in `{pattern}`; it is one whole path segment of a SPIFFE ID, as in `spiffe://trust.domain/ivr/*`, and nothing else: list the others"
    )]
    Wildcard {
        /// The text.
        pattern: String,
    },
    /// It is no identity either.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Any one segment.
const ANY: &str = "*";

impl SpiffePattern {
    /// Trust domain and path segments.
    fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.get(SPIFFE.len()..).unwrap_or_default().split('/')
    }
}

impl IdentityPattern {
    /// Whether a client with `identity` has what this asks for.
    pub fn matches(&self, identity: &Identity) -> bool {
        match (self, identity) {
            (Self::Spiffe(pattern), Identity::Spiffe(id)) => alike(pattern.parts(), id.parts()),
            (Self::Name(one), Identity::Name(other)) => one == other,
            (Self::Credential(one), Identity::Credential(other)) => one == other,
            (
                Self::Spiffe(_) | Self::Name(_) | Self::Credential(_),
                Identity::Spiffe(_) | Identity::Name(_) | Identity::Credential(_),
            ) => false,
        }
    }

    /// Whether there is an identity that both match.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Spiffe(one), Self::Spiffe(other)) => alike(one.parts(), other.parts()),
            (Self::Name(_), _) | (Self::Credential(_), _) | (Self::Spiffe(_), Self::Name(_) | Self::Credential(_)) => {
                self == other
            }
        }
    }

    /// One that it matches, for what asks about all of them.
    pub fn example(&self) -> Option<Identity> {
        match self {
            Self::Spiffe(pattern) => {
                // As long as the pattern itself, so never too long.
                pattern.0.replace(ANY, "x").parse().ok()
            }
            Self::Name(name) => Some(Identity::Name(name.clone())),
            Self::Credential(name) => Some(Identity::Credential(Arc::clone(name))),
        }
    }
}

/// Part by part the same, `*` being any one; an identity has none.
fn alike<'a>(mut one: impl Iterator<Item = &'a str>, mut other: impl Iterator<Item = &'a str>) -> bool {
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (Some(one), Some(other)) if one == other || one == ANY || other == ANY => {}
            (Some(_) | None, Some(_) | None) => return false,
        }
    }
}

impl fmt::Display for IdentityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spiffe(SpiffePattern(text)) => f.write_str(text),
            Self::Name(name) => name.fmt(f),
            Self::Credential(name) => write!(f, "{CREDENTIAL}{name}"),
        }
    }
}

impl FromStr for IdentityPattern {
    type Err = IdentityPatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.contains(ANY) {
            return Ok(match text.parse()? {
                Identity::Spiffe(_) => Self::Spiffe(SpiffePattern(text.into())),
                Identity::Name(name) => Self::Name(name),
                Identity::Credential(name) => Self::Credential(name),
            });
        }
        let wildcard = || IdentityPatternError::Wildcard { pattern: shown(text) };
        let mut parts = text.strip_prefix(SPIFFE).ok_or_else(wildcard)?.split('/');
        if parts.next().is_some_and(|domain| domain.contains(ANY))
            || parts.any(|segment| segment != ANY && segment.contains(ANY))
        {
            return Err(wildcard());
        }
        // All else is as with a plain segment for each `*`.
        match text.replace(ANY, "x").parse::<Identity>() {
            Ok(_) => Ok(Self::Spiffe(SpiffePattern(text.into()))),
            Err(_) => Err(IdentityError::Spiffe { id: shown(text) }.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> IdentityPattern {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn what_a_pattern_matches() {
        for (text, identity, want) in [
            ("spiffe://v.example/ivr/*", "spiffe://v.example/ivr/east", true),
            ("spiffe://v.example/ivr/*", "spiffe://v.example/ivr", false),
            ("spiffe://v.example/ivr/*", "spiffe://v.example/ivr/east/1", false),
            ("spiffe://v.example/ivr/*", "spiffe://w.example/ivr/east", false),
            ("spiffe://v.example/*/east", "spiffe://v.example/ivr/east", true),
            ("spiffe://v.example/*/east", "spiffe://v.example/ivr/west", false),
            ("spiffe://v.example/*/*", "spiffe://v.example/a/b", true),
            ("spiffe://v.example", "spiffe://v.example", true),
            ("spiffe://v.example", "spiffe://v.example/a", false),
            ("spiffe://v.example/*", "spiffe://v.example", false),
            ("spiffe://v.example/A", "spiffe://v.example/a", false),
            ("a.v.example", "a.v.example", true),
            ("A.v.example.", "a.v.example", true),
            ("v.example", "a.v.example", false),
            ("v.example", "spiffe://v.example", false),
            ("v.example", "login:v.example", false),
            ("login:batch", "login:batch", true),
            ("login:batch", "login:Batch", false),
            ("login:batch", "batch", false),
        ] {
            let identity: Identity = identity.parse().unwrap();
            assert_eq!(pattern(text).matches(&identity), want, "`{text}` and `{identity}`");
        }
    }

    #[test]
    fn faults_say_what_to_write() {
        for (text, want) in [
            ("spiffe://*.example/ivr", "bad `*`"),
            ("spiffe://*/ivr", "bad `*`"),
            ("spiffe://v.example/ivr-*", "bad `*`"),
            ("spiffe://v.example/**", "bad `*`"),
            ("*.v.example", "bad `*`"),
            ("*", "bad `*`"),
            ("login:*", "bad `*`"),
            ("spiffe://v.example/*/", "bad SPIFFE ID"),
            ("spiffe://V.example/*", "bad SPIFFE ID"),
            ("spiffe:///*", "bad SPIFFE ID"),
            (&format!("spiffe://v/*/{}", "a".repeat(2048 - 12)), "bad SPIFFE ID"),
            ("spiffe://v.example/a b", "bad SPIFFE ID"),
            ("login:a b", "bad name of a credential"),
            ("a b", "bad"),
        ] {
            let error = text.parse::<IdentityPattern>().unwrap_err().to_string();
            assert!(error.starts_with(want) && error.contains(';'), "`{text}`: {error}");
        }
    }

    fn texts() -> impl Strategy<Value = String> {
        prop_oneof![
            prop::collection::vec("[ab*]", 0..3).prop_map(|segments| {
                segments.iter().fold("spiffe://v".to_owned(), |text, segment| format!("{text}/{segment}"))
            }),
            "[ab]\\.test",
            "login:[ab]",
        ]
    }

    proptest! {
        /// Over all identities of a small world.
        #[test]
        fn patterns_overlap_if_something_matches_both(one in texts(), other in texts()) {
            let mut all: Vec<String> = ["a.test", "b.test", "login:a", "login:b", "spiffe://v"].map(str::to_owned).to_vec();
            let segments = ["a", "b", "x"];
            for first in segments {
                all.push(format!("spiffe://v/{first}"));
                all.extend(segments.map(|second| format!("spiffe://v/{first}/{second}")));
            }
            let (one, other) = (pattern(&one), pattern(&other));
            let both = all.iter().any(|text| {
                let identity = text.parse().unwrap();
                one.matches(&identity) && other.matches(&identity)
            });
            prop_assert_eq!(one.overlaps(&other), both, "{} and {}", one, other);
            prop_assert_eq!(other.overlaps(&one), both);
        }

        #[test]
        fn what_is_read_is_written_and_has_an_example(text in texts()) {
            let read = pattern(&text);
            prop_assert_eq!(read.to_string(), text);
            prop_assert!(read.matches(&read.example().unwrap()));
        }
    }
}
