//! What a rule says beside where it reaches: TLS, hours, and who answers for it.
//! Not here: the rule as a whole (`rule`).
//! Source: the contract's "TLS" and defaults of a rule; PCI DSS 1.2.5 for the control record.

use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::super::hours::{self, DAYS, Hours};
use super::super::rule::{ControlRecord, Ech, Sni, TlsTerms};
use super::some_of;
use crate::redact::holds_card_number;
use crate::tls::ProtocolVersion;
use crate::yaml::{Faults, Field, MapReader, Place, shown};

/// A field that `require` may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ControlField {
    Owner,
    Purpose,
    Ticket,
    ReviewBy,
    Expires,
    Location,
}

impl ControlField {
    /// Their words.
    pub(super) const WORDS: &[(&str, Self)] = &[
        ("owner", Self::Owner),
        ("purpose", Self::Purpose),
        ("ticket", Self::Ticket),
        ("review_by", Self::ReviewBy),
        ("expires", Self::Expires),
        ("location", Self::Location),
    ];

    /// Its key.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Purpose => "purpose",
            Self::Ticket => "ticket",
            Self::ReviewBy => "review_by",
            Self::Expires => "expires",
            Self::Location => "location",
        }
    }
}

/// Who answers for a rule, and its last day.
pub(super) fn control(map: &mut MapReader<'_>, faults: &mut Faults) -> (ControlRecord, Option<Date>) {
    let mut take = |key, faults: &mut Faults| map.take(key).and_then(|field| text(field, faults));
    let record = ControlRecord {
        owner: take("owner", faults),
        purpose: take("purpose", faults),
        ticket: take("ticket", faults),
        location: take("location", faults),
        review_by: map.take("review_by").and_then(|field| day(field, faults)),
    };
    (record, map.take("expires").and_then(|field| day(field, faults)))
}

/// Upper bound in bytes for one text of a control record: a sentence or two, which tables can show.
const MAX_TEXT: usize = 500;

/// One line of text without a card number.
pub(in crate::policy) fn text(field: Field<'_>, faults: &mut Faults) -> Option<Arc<str>> {
    let text = field.text(faults)?;
    if text.trim().is_empty() || text.len() > MAX_TEXT || text.chars().any(char::is_control) {
        field.fault(format!("`{}` is not one line; write 1 to {MAX_TEXT} bytes of text", field.name()), faults);
        return None;
    }
    if holds_card_number(text) {
        field.fault(format!("`{}` holds what looks like a card number; remove it", field.name()), faults);
        return None;
    }
    Some(text.into())
}

/// A day, `YYYY-MM-DD`.
pub(super) fn day(field: Field<'_>, faults: &mut Faults) -> Option<Date> {
    let read =
        |text: &str| hours::date(text).ok_or_else(|| format!("{} is not a day; write `YYYY-MM-DD`", shown(text)));
    field.read(read, faults)
}

/// The words for `min_version`. TLS 1.1 and older are no strong cryptography (PCI DSS 2.2.7, 4.2.1).
const VERSIONS: &[(&str, ProtocolVersion)] = &[("1.2", ProtocolVersion::Tls12), ("1.3", ProtocolVersion::Tls13)];

const SNI: &[(&str, Sni)] = &[("required", Sni::Required), ("optional", Sni::Optional), ("absent", Sni::Absent)];

const ECH: &[(&str, Ech)] = &[("deny", Ech::Deny), ("allow", Ech::Allow)];

/// What `tls` says, with the defaults; `literal` if the rule has networks. `place` is the rule's.
pub(super) fn tls(field: Option<Field<'_>>, (literal, place): (bool, Place), faults: &mut Faults) -> TlsTerms {
    let mut terms = TlsTerms::default();
    let Some(field) = field else {
        check_sni(&terms, (literal, place), faults);
        return terms;
    };
    let Some(mut map) = field.map("`tls`", faults) else { return terms };
    let mut sni_place = map.place();
    if let Some(version) = map.take("min_version").and_then(|field| field.word(VERSIONS, faults)) {
        terms.min_version = version;
    }
    if let Some(ids) = map.take("alpn").and_then(|field| field.list_of(faults, alpn)) {
        terms.alpn = ids.into();
    }
    if let Some(field) = map.take("sni") {
        sni_place = field.place();
        terms.sni = field.word(SNI, faults).unwrap_or_default();
    }
    let names = map.take("sni_names");
    terms.sni_names =
        names.and_then(|field| field.list_of(faults, |name, faults| name.parse(faults))).unwrap_or_default().into();
    if let Some(ech) = map.take("ech").and_then(|field| field.word(ECH, faults)) {
        terms.ech = ech;
    }
    if let Some(verify) = map.take("verify") {
        verify.only("none", &["warn", "require"], faults);
    }
    map.finish(&[], faults);
    let unread = names.is_some_and(|field| terms.sni_names.is_empty() && !is_empty_list(field));
    if !unread {
        check_sni(&terms, (literal, sni_place), faults);
    }
    terms
}

fn is_empty_list(field: Field<'_>) -> bool {
    field.list(&mut Faults::new()).is_some_and(|list| list.len() == 0)
}

/// Which of the ways to treat SNI go with names, and which with literal addresses.
fn check_sni(terms: &TlsTerms, (literal, place): (bool, Place), faults: &mut Faults) {
    let message = match (terms.sni, literal, terms.sni_names.is_empty()) {
        (Sni::Optional | Sni::Absent, false, _) => {
            "`sni` must be `required` for `hosts`; only `networks` may have another"
        }
        (Sni::Required, true, true) => {
            "`networks` with `sni: required`, the default, lack `sni_names`; write them, or `sni: optional` or `absent`"
        }
        (Sni::Absent, true, false) => "`sni: absent` leaves `sni_names` no meaning; remove one of the two",
        (Sni::Required, false, _)
        | (Sni::Required, true, false)
        | (Sni::Optional, true, _)
        | (Sni::Absent, true, true) => {
            return;
        }
    };
    faults.at(place, message);
}

/// An ALPN id.
pub(in crate::policy) fn alpn(field: Field<'_>, faults: &mut Faults) -> Option<Box<str>> {
    /// Upper bound in bytes for an ALPN id (RFC 7301, section 3.1).
    const MAX_ALPN: usize = 255;
    let id = field.text(faults)?;
    if id.len() > MAX_ALPN || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        field.fault(format!("{} is not an ALPN id; write one of IANA's registry, such as `h2`", shown(id)), faults);
        return None;
    }
    Some(id.into())
}

/// When a rule holds. All four keys must be there: a guess would open the rule at the wrong hours.
pub(super) fn hours(field: Field<'_>, faults: &mut Faults) -> Option<Hours> {
    let mut map = field.map("`hours`", faults)?;
    let days = map.require("days", faults).map(|field| some_of(field, faults, |day, faults| day.word(&DAYS, faults)));
    let time =
        |text: &str| hours::time(text).ok_or_else(|| format!("{} is not a time of day; write `HH:MM`", shown(text)));
    let from = map.require("from", faults).and_then(|field| field.read(time, faults));
    let to = map.require("to", faults).and_then(|field| field.read(time, faults));
    let zone = map.require("zone", faults).and_then(|field| field.read(zone, faults));
    map.finish(&[], faults);
    let hours = Hours::new(&days?, from?, to?, zone?);
    if hours.is_none() {
        field.fault("`from` and `to` are the same; remove `hours` if the whole day is meant", faults);
    }
    hours
}

fn zone(text: &str) -> Result<TimeZone, String> {
    hours::zone(text)
        .ok_or_else(|| format!("unknown time zone {}; write a name such as `UTC` or `Europe/Berlin`", shown(text)))
}
