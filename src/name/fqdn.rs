//! `Fqdn`: a DNS name in its only form, and what is wrong with text that is none.
//! Not here: wildcards (`pattern`), literal addresses and ports (`target`).
//! Source: RFC 1123 2.1, RFC 5890 2.3, UTS 46, the WHATWG URL standard on hosts that end in a number.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use thiserror::Error;

use super::shown;

/// A DNS name in its only form: lower case, no final dot, LDH and `_` labels (RFC 1123, RFC 5890 A-labels).
/// At most 253 bytes, labels of 1 to 63; the last label is not a number, so that no resolver takes it for an address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fqdn(Box<str>);

/// Why a text is no name or no host pattern. Holds the input escaped and cut to 64 characters.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing, or a dot alone.
    #[error("empty name; write a host name such as `api.acme.example`")]
    Empty,
    /// Longer than DNS carries.
    #[error("name `{name}` has {length} bytes; use at most 253")]
    TooLong {
        /// The name, cut.
        name: String,
        /// Its length in bytes without the final dot.
        length: usize,
    },
    /// Two dots in a row, or one in front.
    #[error("empty label in `{name}`; write one dot between labels and none in front")]
    EmptyLabel {
        /// The name.
        name: String,
    },
    /// A label with other characters, too long, or with a hyphen at an end.
    #[error("bad label `{label}`; use 1 to 63 of a-z, 0-9, `_` and inner `-`")]
    Label {
        /// The label.
        label: String,
    },
    /// Letters beyond ASCII: one look, many names.
    #[error("name `{name}` is not ASCII; write {instead}")]
    NotAscii {
        /// The name.
        name: String,
        /// Its A-labels in backticks, or in words what to do.
        instead: String,
    },
    /// An `xn--` label that other programs decode to something else, or not at all.
    #[error("name `{name}` has a bad `xn--` label; write it as an IDNA 2008 converter gives it")]
    Punycode {
        /// The name.
        name: String,
    },
    /// A last label such as `10` or `0x7f`, which many resolvers read as an IPv4 address.
    #[error(
        "name `{name}` ends in a number; write a name whose last label is a word, \
         or an IPv4 address as four decimal numbers where an address may stand"
    )]
    Number {
        /// The name.
        name: String,
    },
    /// A star anywhere but as the whole first label of a pattern.
    #[error("bad wildcard in `{pattern}`; write `*.` (one label) or `**.` (one or more) in front of a name")]
    Wildcard {
        /// The pattern.
        pattern: String,
    },
}

impl Fqdn {
    /// The name as text, in its only form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The labels from left to right; at least one.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }

    /// The name without its first label; `None` for a name of one label.
    pub fn parent(&self) -> Option<&str> {
        self.0.split_once('.').map(|(_, parent)| parent)
    }

    /// The name or its parent that somebody has registered: one label below a public suffix of the list, private part included. `None`:
    /// it is a public suffix itself.
    pub fn registrable(&self) -> Option<&str> {
        psl::domain_str(&self.0)
    }
}

impl FromStr for Fqdn {
    type Err = NameError;

    /// Folds case and exactly one final dot; refuses whatever else is not the name's only form.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let name = text.strip_suffix('.').unwrap_or(text);
        let has_punycode = check_labels(name)?;
        let mut name = Box::<str>::from(name);
        name.make_ascii_lowercase();
        if has_punycode && !is_valid_idna(&name) {
            return Err(NameError::Punycode { name: shown(&name) });
        }
        Ok(Self(name))
    }
}

impl fmt::Display for Fqdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Fqdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fqdn({})", self.0)
    }
}

/// Lets a map keyed by `Fqdn` be searched with text that is canonical already, such as [`Fqdn::parent`].
impl Borrow<str> for Fqdn {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Longest name in bytes in its text form without final dot (RFC 1035 2.3.4: 255 on the wire).
const MAX_NAME: usize = 253;

/// Longest label in bytes (RFC 1035 2.3.4).
const MAX_LABEL: usize = 63;

/// Checks everything but punycode; true if a label is punycode.
fn check_labels(name: &str) -> Result<bool, NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > MAX_NAME {
        return Err(NameError::TooLong { name: shown(name), length: name.len() });
    }
    if !name.is_ascii() {
        return Err(not_ascii(name));
    }
    let (mut has_punycode, mut last) = (false, name.as_bytes());
    for label in name.as_bytes().split(|byte| *byte == b'.') {
        if label.is_empty() {
            return Err(NameError::EmptyLabel { name: shown(name) });
        }
        if !is_label(label) {
            return Err(NameError::Label { label: shown(&String::from_utf8_lossy(label)) });
        }
        has_punycode |= starts_with(label, b"xn--");
        last = label;
    }
    // getaddrinfo and URL parsers read `10`, `0x7f` and `1.0x7f` as IPv4 addresses; no TLD starts with a digit.
    if last.iter().all(u8::is_ascii_digit) || starts_with(last, b"0x") {
        return Err(NameError::Number { name: shown(name) });
    }
    Ok(has_punycode)
}

fn is_label(label: &[u8]) -> bool {
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    label.len() <= MAX_LABEL
        && label.iter().all(is_allowed)
        && label.first() != Some(&b'-')
        && label.last() != Some(&b'-')
}

fn starts_with(label: &[u8], prefix: &[u8]) -> bool {
    label.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

/// Whether every `xn--` label decodes to a valid U-label and back to itself (UTS 46 with all checks but STD3,
/// which `check_labels` does with `_` added). The whole name at once: the bidi rule looks at all labels.
fn is_valid_idna(name: &str) -> bool {
    Uts46::new()
        .to_ascii(name.as_bytes(), AsciiDenyList::URL, Hyphens::CheckFirstLast, DnsLength::Verify)
        .is_ok_and(|ascii| ascii == name)
}

fn not_ascii(name: &str) -> NameError {
    let instead = idna::domain_to_ascii_strict(name).map_or_else(
        |_| "it in ASCII, letters beyond a-z as punycode (`xn--…`)".to_owned(),
        |ascii| format!("`{}` if that is what is meant", shown(&ascii)),
    );
    NameError::NotAscii { name: shown(name), instead }
}

#[cfg(test)]
#[path = "fqdn_tests.rs"]
mod tests;
