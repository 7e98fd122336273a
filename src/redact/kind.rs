//! What can be found in a text, and the mark that stands for it afterwards. Pure.
//! Not here: finding it (`scan` and its detectors).
//! Source: PCI DSS 3.3.1 (what is never kept), 3.5.1 (card numbers unreadable); the contract's `[PAN:visa:16]`.

use std::fmt;

use super::{Detector, api_key, issuer};

/// What was found. A mark never holds a digit of what it stands for: no key and no truncation rule hangs on the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind<'r> {
    /// A card number: its brand and how many digits it has.
    Card { brand: &'static str, digits: usize },
    /// A card's security code: CVV2, CVC2, CID, CVN.
    SecurityCode,
    /// A PIN or a PIN block.
    Pin,
    /// Track 1, track 2, or the chip's copy of it (EMV tag 57).
    Track,
    /// What is printed on the card beside its number: expiry date, cardholder's name.
    Holder,
    /// A social security number of the United States.
    Ssn,
    /// An international bank account number: its country, and how many characters it has.
    Iban { country: [u8; 2], length: usize },
    /// What follows the scheme of an `Authorization` or `Proxy-Authorization`, and what stands before the `@` of a URL.
    Credential,
    /// The value of a cookie.
    Cookie,
    /// A JSON web token.
    Jwt,
    /// A key by the form that its issuer gives it.
    ApiKey { issuer: &'static str },
    /// The value of a field whose name says that it is secret: a password, a token, a key.
    Secret,
    /// The value of a field that the configuration calls private.
    Private(&'r str),
    /// A match of a pattern of the configuration.
    Pattern(&'r str),
}

/// Where something stands in a text (bytes), and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hit<'r> {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) kind: Kind<'r>,
}

impl Kind<'_> {
    /// The detector that is told to have found it.
    pub(super) fn detector(self) -> Detector {
        match self {
            Kind::Card { .. } => Detector::CardNumber,
            Kind::SecurityCode => Detector::SecurityCode,
            Kind::Pin => Detector::Pin,
            Kind::Track => Detector::Track,
            Kind::Holder => Detector::Holder,
            Kind::Ssn => Detector::Ssn,
            Kind::Iban { .. } => Detector::Iban,
            Kind::Credential => Detector::Credential,
            Kind::Cookie => Detector::Cookie,
            Kind::Jwt => Detector::Jwt,
            Kind::ApiKey { .. } => Detector::ApiKey,
            Kind::Secret => Detector::Secret,
            Kind::Private(_) => Detector::PrivateField,
            Kind::Pattern(_) => Detector::Pattern,
        }
    }

    /// In words: the detector, and what a mark says beside it.
    pub(super) fn words(self) -> String {
        let detector = self.detector().name();
        match self {
            Kind::Card { brand, digits } => format!("{detector} {brand} {digits} digits"),
            Kind::Iban { country: [first, second], length } => {
                format!("{detector} {}{} {length} characters", char::from(first), char::from(second))
            }
            Kind::ApiKey { issuer } => format!("{detector} {issuer}"),
            Kind::Private(name) | Kind::Pattern(name) => format!("{detector} {name}"),
            Kind::SecurityCode
            | Kind::Pin
            | Kind::Track
            | Kind::Holder
            | Kind::Ssn
            | Kind::Credential
            | Kind::Cookie
            | Kind::Jwt
            | Kind::Secret => detector.to_owned(),
        }
    }

    /// Of two that overlap, the lower one names the whole: what is surely card data first.
    pub(super) fn rank(self) -> u8 {
        match self {
            Kind::Track => 0,
            Kind::Card { .. } => 1,
            Kind::Pin => 2,
            Kind::SecurityCode => 3,
            Kind::Credential => 4,
            Kind::Cookie => 5,
            Kind::Secret => 6,
            Kind::Jwt => 7,
            Kind::ApiKey { .. } => 8,
            Kind::Iban { .. } => 9,
            Kind::Ssn => 10,
            Kind::Holder => 11,
            Kind::Private(_) => 12,
            Kind::Pattern(_) => 13,
        }
    }
}

impl fmt::Display for Kind<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Card { brand, digits } => write!(out, "[PAN:{brand}:{digits}]"),
            Kind::SecurityCode => out.write_str("[erased:security_code]"),
            Kind::Pin => out.write_str("[erased:pin]"),
            Kind::Track => out.write_str("[erased:track]"),
            Kind::Holder => out.write_str("[erased:holder]"),
            Kind::Ssn => out.write_str("[SSN]"),
            Kind::Iban { country: [first, second], length } => {
                write!(out, "[IBAN:{}{}:{length}]", char::from(*first), char::from(*second))
            }
            Kind::Credential => out.write_str("[erased:credential]"),
            Kind::Cookie => out.write_str("[erased:cookie]"),
            Kind::Jwt => out.write_str("[JWT]"),
            Kind::ApiKey { issuer } => write!(out, "[key:{issuer}]"),
            Kind::Secret => out.write_str("[erased:secret]"),
            Kind::Private(name) => write!(out, "[private:{name}]"),
            Kind::Pattern(name) => write!(out, "[pattern:{name}]"),
        }
    }
}

/// Every mark that there is, but for the configuration's names; of IBANs' one.
pub(super) fn examples() -> impl Iterator<Item = String> {
    let cards = issuer::kinds().map(|(brand, digits)| Kind::Card { brand, digits });
    let keys = api_key::issuers().map(|issuer| Kind::ApiKey { issuer });
    let others = [
        Kind::SecurityCode,
        Kind::Pin,
        Kind::Track,
        Kind::Holder,
        Kind::Ssn,
        Kind::Iban { country: *b"DE", length: 22 },
        Kind::Credential,
        Kind::Cookie,
        Kind::Jwt,
        Kind::Secret,
    ];
    others.into_iter().chain(keys).chain(cards).map(|kind| kind.to_string())
}

/// The quotation marks that a mark needs where it takes the place of `start..end`: in JSON a value that had none, as a number has
/// not, would be no JSON any more.
pub(super) fn quotation(text: &[u8], start: usize, end: usize) -> &'static str {
    let behind = text.get(end..).unwrap_or_default().trim_ascii_start();
    let before = text.get(..start).unwrap_or_default().trim_ascii_end();
    match before.split_last() {
        Some((b':', name)) if matches!(behind, [] | [b',' | b'}' | b']', ..]) => match name.trim_ascii_end() {
            [.., b'\\', b'"'] => "\\\"",
            [.., b'"'] => "\"",
            _ => "",
        },
        _ => "",
    }
}

/// Upper bound in bytes of a mark: `[private:NAME]` with the longest name.
pub(super) const MAX_MARK: usize = 80;

/// Bytes of the mark that `text` begins with, if it does. Whoever writes such a text is believed: it names a kind, no value.
pub(super) fn mark(text: &[u8]) -> Option<usize> {
    if text.first() != Some(&b'[') {
        return None;
    }
    let end = text.iter().take(MAX_MARK).position(|byte| *byte == b']')?;
    let inside = str::from_utf8(text.get(1..end)?).ok()?;
    is_mark(inside).then(|| end.saturating_add(1))
}

fn is_mark(inside: &str) -> bool {
    let mut parts = inside.splitn(3, ':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("PAN"), Some(brand), Some(digits)) => {
            issuer::kinds().any(|(known, length)| known == brand && length.to_string() == digits)
        }
        (Some("erased"), Some(what), None) => {
            matches!(what, "security_code" | "pin" | "track" | "holder" | "credential" | "cookie" | "secret")
        }
        (Some("SSN" | "JWT"), None, None) => true,
        (Some("IBAN"), Some(country), Some(length)) => {
            country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase()) && is_number(length)
        }
        (Some("key"), Some(issuer), None) => {
            !issuer.is_empty() && issuer.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        }
        (Some("private" | "pattern"), Some(name), None) => {
            name.bytes().any(|byte| byte.is_ascii_alphabetic())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
        }
        _ => false,
    }
}

/// One or two digits.
fn is_number(text: &str) -> bool {
    (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}
