//! `profile: pci`: what policy files may not say, since a requirement of PCI DSS forbids it. Each is a fault that names the requirement.
//! Not here: settings of `sallyport.yaml` (`config`). Source: PCI DSS 4.0.1, in our words; the table in docs/auditors.md has the same rows.

use jiff::Span;
use jiff::civil::Date;

use super::terms;
use crate::yaml::{Faults, MapReader, Place};

/// How many months ahead a rule's review may be: 1.2.7 wants one at least every six.
const MAX_REVIEW_MONTHS: i64 = 6;

/// What is forbidden: how it is told, the requirement, what that asks for in our words, and what to write instead.
type Forbidden = (&'static str, &'static str, &'static str, &'static str);

const NO_ENVIRONMENT: Forbidden =
    ("a source without `environment`", "6.5.3", "production is kept apart from what is not", "add it");
const REPORT_MODE: Forbidden = (
    "`mode: report`",
    "1.3.2",
    "outbound traffic is only what is necessary",
    "write `enforce`, and the rules that it needs",
);
const NO_OWNER: Forbidden = ("a rule without `owner`", "1.2.5", "connections are approved by somebody", "add it");
const NO_PURPOSE: Forbidden = ("a rule without `purpose`", "1.2.5", "connections have a business need", "add it");
const NO_TICKET: Forbidden = ("a rule without `ticket`", "1.2.2", "changes are approved and managed", "add it");
const NO_REVIEW: Forbidden = ("a rule without `review_by`", "1.2.7", "rules are reviewed every six months", "add it");
const LATE_REVIEW: Forbidden =
    ("a review more than six months ahead", "1.2.7", "rules are reviewed every six months", "write a sooner day");
const KEEP: Forbidden =
    ("`existing: keep`", "1.2.5", "only what is approved is allowed", "write `cut`, or `drain` with a duration");
const ECH: Forbidden =
    ("`ech: allow` for a source of class `cde`", "1.3.2", "outbound traffic is only what is necessary", "write `deny`");
const PUBLIC_SUFFIX: Forbidden = (
    "`public_suffix: true` for a source of class `cde`",
    "1.3.2",
    "outbound traffic is only what is necessary",
    "write longer names",
);
const WIDE: Forbidden = (
    "`wide: true` for a source of class `cde`",
    "1.3.2",
    "outbound traffic is only what is necessary",
    "write longer prefixes",
);
/// Fields of a rule's control record, each with the fault of a rule that lacks it.
const CONTROL: [(&str, Forbidden); 4] =
    [("owner", NO_OWNER), ("purpose", NO_PURPOSE), ("ticket", NO_TICKET), ("review_by", NO_REVIEW)];

/// Reports what a source may not say, which was read and checked before; `is_cde` if card data lives there.
pub(super) fn source(map: &mut MapReader<'_>, is_cde: bool, faults: &mut Faults) {
    if map.take("environment").is_none() {
        report(map.place(), NO_ENVIRONMENT, faults);
    }
    forbid(map, ("mode", "report"), REPORT_MODE, faults);
    if is_cde {
        forbid_flag(map, "wide", WIDE, faults);
    }
}

/// Reports what a rule may not say, which was read and checked before; `has_cde` if card data lives in one of its sources.
pub(super) fn rule(map: &mut MapReader<'_>, has_cde: bool, today: Date, faults: &mut Faults) {
    for (key, forbidden) in CONTROL {
        if map.take(key).is_none() {
            report(map.place(), forbidden, faults);
        }
    }
    let last = today.checked_add(Span::new().months(MAX_REVIEW_MONTHS)).unwrap_or(today);
    if let Some(field) = map.take("review_by")
        && terms::day(field, &mut Faults::new()).is_some_and(|day| day > last)
    {
        report(field.place(), LATE_REVIEW, faults);
    }
    forbid(map, ("existing", "keep"), KEEP, faults);
    if !has_cde {
        return;
    }
    for (key, forbidden) in [("public_suffix", PUBLIC_SUFFIX), ("wide", WIDE)] {
        forbid_flag(map, key, forbidden, faults);
    }
    if let Some(mut tls) = map.take("tls").and_then(|field| field.map("`tls`", &mut Faults::new())) {
        forbid(&mut tls, ("ech", "allow"), ECH, faults);
    }
}

fn forbid(map: &mut MapReader<'_>, (key, word): (&'static str, &str), forbidden: Forbidden, faults: &mut Faults) {
    if let Some(field) = map.take(key).filter(|field| field.text(&mut Faults::new()) == Some(word)) {
        report(field.place(), forbidden, faults);
    }
}

fn forbid_flag(map: &mut MapReader<'_>, key: &'static str, forbidden: Forbidden, faults: &mut Faults) {
    if let Some(field) = map.take(key).filter(|field| field.boolean(&mut Faults::new()) == Some(true)) {
        report(field.place(), forbidden, faults);
    }
}

fn report(place: Place, (what, requirement, asks, instead): Forbidden, faults: &mut Faults) {
    faults.at(place, format!("{what} is not for `profile: pci` (PCI DSS {requirement}: {asks}); {instead}"));
}
