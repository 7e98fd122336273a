//! A rule's terms and its control record in words: for tables, and for what differs between two policies.
//! Not here: where a rule reaches (`classes`). The order in which lists were written does not show.

use std::fmt::Display;
use std::sync::Arc;

use super::rule::{Class, Ech, Existing, Rule, Sni, Source};
use crate::yaml;

/// Names of fields with what stands there; none: absent.
pub type Words<const N: usize> = [(&'static str, Option<String>); N];

/// What a rule asks of those whom it lets through.
pub fn terms(rule: &Rule) -> Words<10> {
    let tls = &rule.tls;
    let addresses = rule.addresses.as_deref().map(sorted);
    let sni = match tls.sni {
        Sni::Required => "required",
        Sni::Optional => "optional",
        Sni::Absent => "absent",
    };
    let ech = match tls.ech {
        Ech::Deny => "deny",
        Ech::Allow => "allow",
    };
    let existing = match rule.existing {
        Existing::Keep => "keep".to_owned(),
        Existing::Drain(time) => format!("drain {}", yaml::duration_text(time)),
        Existing::Cut => "cut".to_owned(),
    };
    [
        ("addresses", addresses),
        ("tls.min_version", Some(tls.min_version.to_string())),
        ("tls.alpn", some(sorted(&tls.alpn))),
        ("tls.sni", Some(sni.to_owned())),
        ("tls.sni_names", some(sorted(&tls.sni_names))),
        ("tls.ech", Some(ech.to_owned())),
        ("egress", rule.egress.as_deref().map(str::to_owned)),
        ("existing", Some(existing)),
        ("hours", rule.hours.as_ref().map(ToString::to_string)),
        ("expires", rule.expires.map(|day| day.to_string())),
    ]
}

/// Who answers for a rule, and why it is there.
pub fn control(rule: &Rule) -> Words<5> {
    let record = &rule.control;
    let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
    [
        ("owner", text(&record.owner)),
        ("purpose", text(&record.purpose)),
        ("ticket", text(&record.ticket)),
        ("review_by", record.review_by.map(|day| day.to_string())),
        ("location", text(&record.location)),
    ]
}

/// What a source is, and what it may use up.
pub(super) fn source(source: &Source) -> impl Iterator<Item = (&'static str, Option<String>)> {
    let class = match source.class {
        Class::Cde => "cde",
        Class::General => "general",
    };
    let report = source.report.as_ref();
    let own = [
        ("subnets", some(sorted(&source.subnets))),
        ("identities", some(sorted(&source.identities))),
        ("uids", some(sorted(&source.uids))),
        ("class", Some(class.to_owned())),
        ("environment", source.environment.as_deref().map(str::to_owned)),
        ("mode", Some(if report.is_some() { "report" } else { "enforce" }.to_owned())),
        ("report_until", report.map(|report| report.until.to_string())),
        ("egress", report.and_then(|report| report.terms.egress.as_deref()).map(str::to_owned)),
    ];
    own.into_iter().chain(source.limits.words())
}

/// Each once, in order, with spaces between.
fn sorted(items: &[impl Display]) -> String {
    let mut words: Vec<String> = items.iter().map(ToString::to_string).collect();
    words.sort_unstable();
    words.dedup();
    words.join(" ")
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}
