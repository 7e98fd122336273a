//! Sources as written → checked: names and subnets that no two of them share.
//! Not here: which of them a client belongs to (`request`).
//! Source: the contract's "Which source" and "Report mode"; identities are not in this version.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Span;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::super::rule::{Class, Report, Rule, Source, Word};
use super::limits::limits;
use super::terms;
use super::{Context, flag, prefix, some_of};
use crate::address::PrefixMap;
use crate::yaml::{Faults, Field, MapReader, Place, nearest, shown};

/// Keys of a source that a later version has.
const LATER: &[&str] = &["identities"];

/// How many days ahead report mode may end: longer, and nobody remembers that it is on.
const MAX_REPORT_DAYS: i64 = 30;

/// The sources of all files.
pub(super) struct Sources<'a> {
    context: &'a Context<'a>,
    list: Vec<Source>,
    names: BTreeMap<Arc<str>, (u32, Place)>,
    subnets: PrefixMap<(Arc<str>, Place)>,
}

impl<'a> Sources<'a> {
    /// None yet.
    pub(super) fn new(context: &'a Context<'a>) -> Self {
        Self { context, list: Vec::new(), names: BTreeMap::new(), subnets: PrefixMap::new() }
    }

    /// Reads one more. One with a fault is kept too, so that rules that name it bring no further faults.
    pub(super) fn read(&mut self, field: Field<'_>, faults: &mut Faults) {
        let Some(mut map) = field.map("a source", faults) else { return };
        let name = self.name(&mut map, faults);
        let wide = flag(&mut map, "wide", faults);
        let subnets = map.require("subnets", faults);
        let subnets =
            subnets.map(|field| some_of(field, faults, |item, faults| self.subnet(item, (&name, wide), faults)));
        let environment = map.take("environment").and_then(|field| field.parse::<Word>(faults));
        let class = map.take("class").and_then(|field| field.word(CLASSES, faults));
        let report = self.report(&mut map, class.unwrap_or_default(), faults);
        let limits = limits(&mut map, faults);
        map.finish(LATER, faults);
        self.list.push(Source {
            name,
            subnets: subnets.unwrap_or_default().into(),
            environment: environment.map(|word| word.0),
            class: class.unwrap_or_default(),
            limits,
            report,
        });
    }

    /// The index of the source that a rule names.
    pub(super) fn find(&self, field: Field<'_>, faults: &mut Faults) -> Option<u32> {
        let name = field.text(faults)?;
        if let Some((index, _)) = self.names.get(name) {
            return Some(*index);
        }
        if self.context.partial {
            return None;
        }
        let instead = match nearest(name, self.names.keys().map(AsRef::as_ref)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write the name of one of `sources`".to_owned(),
        };
        field.fault(format!("unknown source {}; {instead}", shown(name)), faults);
        None
    }

    /// All of them, in the order of their indexes.
    pub(super) fn into_list(self) -> Vec<Source> {
        self.list
    }

    fn name(&mut self, map: &mut MapReader<'_>, faults: &mut Faults) -> Arc<str> {
        let index = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        let Some(field) = map.require("name", faults) else { return Arc::default() };
        let Some(Word(name)) = field.parse(faults) else { return Arc::default() };
        match self.names.get(&name) {
            Some((_, first)) => {
                let first = self.context.at(*first);
                field.fault(format!("source `{name}` is defined at {first} already; give it another name"), faults);
            }
            None => {
                self.names.insert(Arc::clone(&name), (index, field.place()));
            }
        }
        name
    }

    /// Report mode, if `mode` asks for it. What goes with it alone is a fault without it.
    fn report(&self, map: &mut MapReader<'_>, class: Class, faults: &mut Faults) -> Option<Report> {
        let mode = map.take("mode").filter(|field| field.word(MODES, faults) == Some(Mode::Report));
        let Some(mode) = mode else {
            for field in [map.take("report_until"), map.take("egress")].into_iter().flatten() {
                let name = field.name();
                faults.at(field.key_place(), format!("`{name}` goes with `mode: report` alone; remove it"));
            }
            return None;
        };
        if class == Class::Cde {
            mode.fault("report mode is not for sources of class `cde`, the default; write `mode: enforce`", faults);
        }
        let until = map.require("report_until", faults).and_then(|field| self.until(field, faults));
        let pool = map.require("egress", faults).and_then(|field| self.context.pool(field, faults));
        Some(Report { until: until?, terms: Arc::new(Rule::of_report(pool?)) })
    }

    /// A day at most a month ahead. One that is over is none of report mode's, and no fault: it has ended by itself.
    fn until(&self, field: Field<'_>, faults: &mut Faults) -> Option<Date> {
        let until = terms::day(field, faults)?;
        let today = self.context.setting.now.to_zoned(TimeZone::UTC).date();
        let last = today.checked_add(Span::new().days(MAX_REPORT_DAYS)).unwrap_or(today);
        if until > last {
            let message =
                format!("report mode ends at most {MAX_REPORT_DAYS} days ahead; write {last} or a day before");
            field.fault(message, faults);
        }
        Some(until)
    }

    fn subnet(
        &mut self,
        field: Field<'_>,
        (name, wide): (&Arc<str>, bool),
        faults: &mut Faults,
    ) -> Option<ipnet::IpNet> {
        let subnet = prefix(field, wide, faults)?;
        match self.subnets.get_exact(&subnet) {
            Some((first, place)) => {
                let place = self.context.at(*place);
                field.fault(
                    format!(
                        "`{subnet}` belongs to source `{first}` already, at {place}; remove it from one of the two"
                    ),
                    faults,
                );
            }
            None => {
                self.subnets.insert(subnet, (Arc::clone(name), field.place()));
            }
        }
        Some(subnet)
    }
}

const CLASSES: &[(&str, Class)] = &[("cde", Class::Cde), ("general", Class::General)];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Enforce,
    Report,
}

const MODES: &[(&str, Mode)] = &[("enforce", Mode::Enforce), ("report", Mode::Report)];
