//! What is looked for in the log, and what need not be read for it. Pure.
//! Not here: reading (`query/walk`), counting (`query/count`), where segments come from (`runtime::archive`).
//! Source: the contract, section 2: `audit query` and `audit export`.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use jiff::Timestamp;
use uuid::Uuid;

use super::record::Kind;
use super::sealed::{Facet, Facets, Filters, Group, Key, LineFault, RecordTime, Summary};
use crate::name::{Fqdn, Host, HostPattern, NameError};
use crate::policy::{Ending, Outcome, Reason};

mod count;
mod walk;

pub use count::{Count, Counts};
pub use walk::{Found, WalkError};

/// What is looked for, as typed. A record must fit each that is given, and of a list one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the format's; the manual describes each")]
pub struct Criteria {
    /// From this time on.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    pub kind: Vec<String>,
    pub outcome: Vec<String>,
    pub reason: Vec<String>,
    pub customer: Vec<String>,
    pub source: Vec<String>,
    pub rule: Vec<String>,
    /// Names, addresses, `*.x` for those one label below `x`, `**.x` for all below it.
    pub host: Vec<String>,
    pub id: Vec<String>,
}

/// What is looked for, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    since: Option<RecordTime>,
    until: Option<RecordTime>,
    /// In the order of [`Facet::ALL`]; an empty list asks for nothing. Hosts stand apart.
    words: [Vec<String>; Facet::ALL.len()],
    hosts: Vec<WantedHost>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum WantedHost {
    One(String),
    Below(HostPattern),
}

/// Why nothing can be looked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Not a word of a closed list.
    #[error("unknown {field} `{word}`; {instead}")]
    Word {
        /// The field.
        field: &'static str,
        /// What was typed.
        word: String,
        /// What to type.
        instead: String,
    },
    /// Not an id.
    #[error("bad id `{id}`; write it as answers and records have it, such as `01a200a0-035a-7608-913d-104c55972faf`")]
    Id {
        /// What was typed.
        id: String,
    },
    /// Neither a name, nor an address, nor a pattern.
    #[error("bad host: {0}")]
    Host(#[from] NameError),
    /// No time is in between.
    #[error("since {since} is not before until {until}; give an earlier since or a later until")]
    Times {
        /// The first time.
        since: Timestamp,
        /// The first time that is too late.
        until: Timestamp,
    },
}

impl Query {
    /// Checks what was typed.
    ///
    /// # Errors
    /// Something could fit no record.
    pub fn new(criteria: Criteria) -> Result<Self, QueryError> {
        let Criteria { since, until, kind, outcome, reason, customer, source, rule, host, id } = criteria;
        if let (Some(since), Some(until)) = (since, until)
            && since >= until
        {
            return Err(QueryError::Times { since, until });
        }
        check(Facet::Kind, &kind, &Kind::ALL.map(Kind::as_str))?;
        check(Facet::Outcome, &outcome, &Outcome::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>())?;
        let reasons = Reason::ALL.iter().map(|word| word.as_str());
        let endings = Ending::WORDS.iter().map(|word| word.as_str()).filter(|word| word.parse::<Reason>().is_err());
        check(Facet::Reason, &reason, &reasons.chain(endings).collect::<Vec<_>>())?;
        let id = id.iter().map(|id| wanted_id(id)).collect::<Result<_, _>>()?;
        let hosts = host.iter().map(|host| WantedHost::read(host)).collect::<Result<_, _>>()?;
        let words = Facet::ALL.map(|facet| match facet {
            Facet::Kind => kind.clone(),
            Facet::Outcome => outcome.clone(),
            Facet::Reason => reason.clone(),
            Facet::Customer => customer.clone(),
            Facet::Source => source.clone(),
            Facet::Rule => rule.clone(),
            Facet::Host => Vec::new(),
            Facet::Id => Vec::clone(&id),
        });
        let [since, until] = [since, until].map(|time| time.map(RecordTime::at_or_after));
        Ok(Self { since, until, words, hosts })
    }

    /// Whether this line without its newline is looked for.
    ///
    /// # Errors
    /// It is no record.
    pub fn matches(&self, line: &[u8]) -> Result<bool, LineFault> {
        Facets::of(line).map(|facets| self.fits(&facets))
    }

    /// Whether this record is looked for.
    pub fn fits(&self, record: &Facets<'_>) -> bool {
        self.overlaps(record.time(), record.time())
            && Facet::ALL.into_iter().all(|facet| self.fits_word(facet, record.get(facet)))
            && (self.hosts.is_empty() || record.get(Facet::Host).is_some_and(|host| self.fits_host(host)))
    }

    /// Whether a segment with this summary may have a record that is looked for.
    pub fn may_match(&self, summary: &Summary) -> bool {
        self.overlaps(summary.earliest, summary.latest)
            && summary.groups.iter().any(|group| self.fits_group(group, summary.complete))
    }

    /// Whether this frame of the segment may have one.
    pub fn may_match_frame(&self, summary: &Summary, frame: usize, filters: Option<&Filters>) -> bool {
        let Some(told) = summary.frames.get(frame) else { return false };
        let group = |place: &u32| usize::try_from(*place).ok().and_then(|place| summary.groups.get(place));
        self.overlaps(told.earliest, told.latest)
            && (!summary.complete || told.groups.iter().filter_map(group).any(|group| self.fits_group(group, true)))
            && filters.is_none_or(|filters| self.may_hold(filters, frame))
    }

    /// Whether filters can say that a frame has nothing that is looked for.
    fn asks_filters(&self) -> bool {
        !self.ids().is_empty() || self.exact_hosts().is_some()
    }

    fn may_hold(&self, filters: &Filters, frame: usize) -> bool {
        let ids = self.ids();
        let id = ids.is_empty() || ids.iter().any(|id| filters.may_hold(frame, Key::id(id)));
        id && self.exact_hosts().is_none_or(|mut hosts| hosts.any(|host| filters.may_hold(frame, Key::host(host))))
    }

    /// The hosts, if there are any and each is one.
    fn exact_hosts(&self) -> Option<impl Iterator<Item = &str>> {
        let one = |host: &WantedHost| matches!(host, WantedHost::One(_));
        let names = self.hosts.iter().filter_map(|host| match host {
            WantedHost::One(name) => Some(name.as_str()),
            WantedHost::Below(_) => None,
        });
        (!self.hosts.is_empty() && self.hosts.iter().all(one)).then_some(names)
    }

    fn ids(&self) -> &[String] {
        self.words(Facet::Id)
    }

    fn words(&self, facet: Facet) -> &[String] {
        self.words.get(facet as usize).map(Vec::as_slice).unwrap_or_default()
    }

    fn overlaps(&self, earliest: RecordTime, latest: RecordTime) -> bool {
        self.since.is_none_or(|since| latest >= since) && self.until.is_none_or(|until| earliest < until)
    }

    fn fits_word(&self, facet: Facet, value: Option<&str>) -> bool {
        let words = self.words(facet);
        words.is_empty() || value.is_some_and(|value| words.iter().any(|word| word == value))
    }

    /// Whether the records of this group fit, as far as it tells: of a list that is not complete, kind and outcome.
    fn fits_group(&self, group: &Group, complete: bool) -> bool {
        let told: &[Facet] = if complete { &Facet::COUNTED } else { &[Facet::Kind, Facet::Outcome] };
        told.iter().all(|facet| self.fits_word(*facet, group.get(*facet)))
    }

    fn fits_host(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let mut name: Option<Option<Fqdn>> = None;
        self.hosts.iter().any(|wanted| match wanted {
            WantedHost::One(one) => one.eq_ignore_ascii_case(host),
            WantedHost::Below(pattern) => {
                let name = name.get_or_insert_with(|| host.parse().ok());
                name.as_ref().is_some_and(|name| pattern.matches(name))
            }
        })
    }

    /// Whether a summary says all that is needed to count by `by` what is looked for.
    fn is_answered_by(&self, summary: &Summary, by: Facet) -> bool {
        let told: &[Facet] = if summary.complete { &Facet::COUNTED } else { &[Facet::Kind, Facet::Outcome] };
        let is_within = self.since.is_none_or(|since| since <= summary.earliest)
            && self.until.is_none_or(|until| summary.latest < until);
        let asked = Facet::ALL.into_iter().filter(|facet| !self.words(*facet).is_empty());
        is_within && self.hosts.is_empty() && asked.chain([by]).all(|facet| told.contains(&facet))
    }
}

impl WantedHost {
    /// As records hold it: names in their only form, addresses without brackets.
    fn read(text: &str) -> Result<Self, NameError> {
        if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>() {
            return Ok(Self::One(Host::Address(address.to_canonical()).to_string()));
        }
        Ok(match text.parse()? {
            HostPattern::Exact(name) => Self::One(name.to_string()),
            pattern @ (HostPattern::OneLabel(_) | HostPattern::AnyLabels(_)) => Self::Below(pattern),
        })
    }
}

/// An id in the form that records have.
fn wanted_id(text: &str) -> Result<String, QueryError> {
    let id = Uuid::try_parse(text).map_err(|_| QueryError::Id { id: shown(text) })?;
    Ok(id.to_string())
}

/// Whether each of the words is one of those that there are.
fn check(facet: Facet, words: &[String], known: &[&str]) -> Result<(), QueryError> {
    match words.iter().find(|word| !known.contains(&word.as_str())) {
        None => Ok(()),
        Some(word) => {
            let instead = match nearest(word, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("use one of `{}`", known.join("` `")),
            };
            Err(QueryError::Word { field: facet.as_str(), word: shown(word), instead })
        }
    }
}

/// The word that looks most like it, if any does: at most one typing mistake in three characters.
fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    // Words are shorter, and the comparison is quadratic.
    let word = Some(word).filter(|word| word.len() <= SHOWN)?;
    let bound = word.chars().count().checked_div(3).unwrap_or_default().max(1);
    let distances = known.iter().map(|known| (strsim::damerau_levenshtein(word, known), *known));
    distances.filter(|(distance, _)| *distance <= bound).min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

/// Characters of an input that an error repeats.
const SHOWN: usize = 64;

fn shown(input: &str) -> String {
    input.chars().flat_map(char::escape_debug).take(SHOWN).collect()
}

#[cfg(test)]
mod criteria_tests;
#[cfg(test)]
mod tests;
