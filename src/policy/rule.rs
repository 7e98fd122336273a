//! Sources and rules as the stages use them: checked, canonical, shared with the sessions that they let in.
//! Not here: hosts and networks of a rule (`compile::Grant`), which are many and which no session needs.
//! Source: the contract's page on policy files, with its defaults.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use jiff::civil::Date;

use super::hours::{self, Hours};
use super::limits::Limits;
use crate::name::{Fqdn, IdentityPattern};
use crate::tls::ProtocolVersion;
use crate::yaml;

/// A named set of clients that may use the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub name: Arc<str>,
    /// Its static subnets; another source that has an equal one has identities, as this one, and none in common.
    pub subnets: Box<[IpNet]>,
    /// What its clients prove to be, any one of these; empty: where they come from is enough.
    pub identities: Box<[IdentityPattern]>,
    /// The users of this host that are its clients, over Unix sockets; no other source has one of them.
    pub uids: Box<[u32]>,
    /// The environment that it belongs to.
    pub environment: Option<Arc<str>>,
    /// Whether card data lives there.
    pub class: Class,
    /// What its clients together may use up.
    pub limits: Limits,
    /// Report mode, if it is on; `None`: the policy is enforced.
    pub report: Option<Report>,
}

/// What lets a source through where no rule does, until it ends by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its last day (UTC); from then on the source enforces.
    pub until: Date,
    /// The terms of what is let through: those of a rule that says nothing but its pool.
    pub terms: Arc<Rule>,
}

impl Source {
    /// Report mode, if it is on at `at`.
    pub fn reporting(&self, at: Timestamp) -> Option<&Report> {
        self.report.as_ref().filter(|report| !hours::is_over(report.until, at))
    }
}

/// Whether card data lives in a source. Default `cde`: a source that nobody classed is treated as the stricter one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Class {
    /// The cardholder data environment.
    #[default]
    Cde,
    /// Anything else.
    General,
}

/// What a rule says, but for where it reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its place among the policy's rules, in the order of the files.
    pub number: usize,
    /// Its id, unique in the policy.
    pub id: Arc<str>,
    /// The party that the destination belongs to.
    pub customer: Arc<str>,
    /// Its ports, ascending.
    pub ports: Box<[u16]>,
    /// Where every address of an answer must lie; `None`: anywhere global.
    pub addresses: Option<Box<[IpNet]>>,
    /// What TLS must look like.
    pub tls: TlsTerms,
    /// The pool that its connections leave from; `None`: the system's address.
    pub egress: Option<Arc<str>>,
    /// What becomes of open tunnels that nothing allows any more.
    pub existing: Existing,
    /// What all its sources together may use up.
    pub limits: Limits,
    /// When it holds; `None`: always.
    pub hours: Option<Hours>,
    /// Its last day (UTC).
    pub expires: Option<Date>,
    /// Who answers for it, and why it is there.
    pub control: ControlRecord,
    /// Whether it may hold wildcards right below a public suffix.
    pub public_suffix: bool,
    /// Whether it may hold wide prefixes.
    pub wide: bool,
}

impl Rule {
    /// The terms of report mode: all defaults, and the pool. It is no rule of the policy: it has no number, id or customer of its own.
    pub(super) fn of_report(pool: Arc<str>) -> Self {
        Self {
            number: usize::MAX,
            id: "-".into(),
            customer: "-".into(),
            ports: Box::default(),
            addresses: None,
            tls: TlsTerms::default(),
            egress: Some(pool),
            existing: Existing::default(),
            limits: Limits::default(),
            hours: None,
            expires: None,
            control: ControlRecord::default(),
            public_suffix: false,
            wide: false,
        }
    }

    /// Whether both let the same through on the same terms, whatever their places and control records.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        let Self { number: _, control: _, public_suffix: _, wide: _, id, customer, ports, addresses, .. } = self;
        let Self { tls, egress, existing, limits, hours, expires, .. } = self;
        (id, customer, ports, addresses) == (&other.id, &other.customer, &other.ports, &other.addresses)
            && (tls, egress, existing) == (&other.tls, &other.egress, &other.existing)
            && (limits, hours, expires) == (&other.limits, &other.hours, &other.expires)
    }

    /// Whether it has `port`.
    pub fn has_port(&self, port: u16) -> bool {
        self.ports.binary_search(&port).is_ok()
    }
}

/// Who answers for a rule and why it is there (PCI DSS 1.2.5 and 1.2.7: business need, approval, review).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlRecord {
    /// Who answers for it.
    pub owner: Option<Arc<str>>,
    /// The business need.
    pub purpose: Option<Arc<str>>,
    /// The change that brought it.
    pub ticket: Option<Arc<str>>,
    /// The day by which somebody must look at it again.
    pub review_by: Option<Date>,
    /// Where the destination's data is kept.
    pub location: Option<Arc<str>>,
}

/// What TLS must look like inside a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsTerms {
    /// The lowest version that the server may choose: 1.2 or 1.3. Default 1.2: PCI DSS counts less as early TLS.
    pub min_version: ProtocolVersion,
    /// The ALPN ids that a client may offer. Default `h2` and `http/1.1`: others make TLS a carrier of anything.
    pub alpn: Box<[Box<str>]>,
    /// Whether the hello must name the server.
    pub sni: Sni,
    /// Names that count beside the target's own.
    pub sni_names: Box<[Fqdn]>,
    /// Whether encrypted client hello is refused. Default deny: the name that counts would be hidden.
    pub ech: Ech,
}

impl Default for TlsTerms {
    fn default() -> Self {
        Self {
            min_version: ProtocolVersion::Tls12,
            alpn: Box::new(["h2".into(), "http/1.1".into()]),
            sni: Sni::default(),
            sni_names: Box::default(),
            ech: Ech::default(),
        }
    }
}

/// Whether the hello must name the server. Default required: the name is all that a tunnel shows of its purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sni {
    /// Equal to the target's name or one of `sni_names`.
    #[default]
    Required,
    /// Absent, or one of `sni_names`; for literal addresses only.
    Optional,
    /// Absent; for literal addresses only.
    Absent,
}

/// Whether encrypted client hello is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ech {
    /// Extension 0xfe0d is refused, GREASE or not.
    #[default]
    Deny,
    /// The outer name counts, which is as wide as a wildcard.
    Allow,
}

/// What becomes of a rule's open tunnels that nothing allows any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// They stay.
    Keep,
    /// They end after this time.
    Drain(Duration),
    /// They end at once.
    Cut,
}

impl Default for Existing {
    /// Five minutes: a card authorisation in flight ends well within, a tunnel kept open for later does not.
    fn default() -> Self {
        Self::Drain(Duration::from_secs(300))
    }
}

/// Upper bound of a drain: a month; whoever wants longer means `keep`.
const MAX_DRAIN: Duration = Duration::from_secs(30 * 24 * 3600);

/// A text is not `keep`, `drain DURATION` or `cut`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a way to treat open tunnels; write `keep`, `cut`, or `drain` with a duration of at most 30d, such as `drain 5m`"
)]
pub struct ExistingError;

impl FromStr for Existing {
    type Err = ExistingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(' ') {
            None if text == "keep" => Ok(Self::Keep),
            None if text == "cut" => Ok(Self::Cut),
            Some(("drain", time)) => match yaml::duration(time) {
                Ok(time) if time <= MAX_DRAIN => Ok(Self::Drain(time)),
                Ok(_) | Err(_) => Err(ExistingError),
            },
            None | Some(_) => Err(ExistingError),
        }
    }
}

/// Upper bound in bytes for an id or a name: they stand in records, metrics and tables.
const MAX_WORD: usize = 128;

/// An id or a name from the configuration, fit for records and metrics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Word(pub(super) Arc<str>);

/// A text is not fit to be an id or a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// Other characters, or too long.
    #[error(
        "bad name {}; use 1 to 128 of A-Z, a-z, 0-9 and `. _ - / : @ +`, a letter or digit first",
        yaml::shown(text)
    )]
    Form {
        /// The input.
        text: String,
    },
    /// Not shown: it would bring the number into the messages.
    #[error("the name holds what looks like a card number; use another name")]
    CardNumber,
}

impl FromStr for Word {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if crate::redact::holds_card_number(text) {
            return Err(WordError::CardNumber);
        }
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@+".contains(&byte);
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if first && text.len() <= MAX_WORD && text.bytes().all(inner) {
            Ok(Self(text.into()))
        } else {
            Err(WordError::Form { text: text.to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn existing_is_read() {
        let drain = |seconds| Ok(Existing::Drain(Duration::from_secs(seconds)));
        for (text, want) in [
            ("keep", Ok(Existing::Keep)),
            ("cut", Ok(Existing::Cut)),
            ("drain 5m", drain(300)),
            ("drain 30d", drain(30 * 24 * 3600)),
            ("drain 31d", Err(ExistingError)),
            ("drain", Err(ExistingError)),
            ("drain soon", Err(ExistingError)),
            ("drain  5m", Err(ExistingError)),
            ("cut 5m", Err(ExistingError)),
            ("Keep", Err(ExistingError)),
            ("", Err(ExistingError)),
        ] {
            assert_eq!(text.parse(), want, "{text:?}");
        }
    }

    #[test]
    fn words_are_fit_for_records() {
        let long = "a".repeat(MAX_WORD);
        for text in ["a", "acme/payments", "ivr-east", "7", "a.b_c:d@e+f", long.as_str()] {
            assert_eq!(text.parse::<Word>().map(|word| word.0.to_string()), Ok(text.to_owned()));
        }
        let longer = format!("{long}a");
        for text in ["", "-", "-a", "a b", "a\n", "é", "a\u{202e}", "a`", longer.as_str()] {
            assert!(text.parse::<Word>().is_err(), "{text:?}");
        }
        assert_eq!("acme-4111111111111111".parse::<Word>(), Err(WordError::CardNumber));
    }
}
