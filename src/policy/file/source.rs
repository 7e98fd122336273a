//! Sources as written → checked: names and users that no two of them share.
//! Not here: what their clients are told apart by (`claims`), which of them a client belongs to (`clients`).
//! Source: the contract's "Which source" and "Report mode".

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Span;
use jiff::civil::Date;

use super::super::rule::{Class, Report, Rule, Source, Word};
use super::claims::{Claims, Listed};
use super::limits::limits;
use super::profile;
use super::terms;
use super::{Context, flag, prefix, some_of};
use crate::yaml::{Faults, Field, MapReader, Place, nearest, shown};

/// How many days ahead report mode may end: longer, and nobody remembers that it is on.
const MAX_REPORT_DAYS: i64 = 30;

/// The highest user id: the one above it stands for none (chown(2)).
const LAST_UID: u64 = 4_294_967_294;

/// The user that SO_PEERCRED has for whoever has no id in this user namespace (user_namespaces(7), overflowuid).
const OVERFLOW_UID: u32 = 65_534;

/// The sources of all files.
pub(super) struct Sources<'a> {
    context: &'a Context<'a>,
    list: Vec<Source>,
    names: BTreeMap<Arc<str>, (u32, Place)>,
    users: BTreeMap<u32, (Arc<str>, Place)>,
    claims: Claims<'a>,
}

impl<'a> Sources<'a> {
    /// None yet.
    pub(super) fn new(context: &'a Context<'a>) -> Self {
        Self { context, list: Vec::new(), names: BTreeMap::new(), users: BTreeMap::new(), claims: Claims::new(context) }
    }

    /// Reads one more. One with a fault is kept too, so that rules that name it bring no further faults.
    pub(super) fn read(&mut self, field: Field<'_>, faults: &mut Faults) {
        let Some(mut map) = field.map("a source", faults) else { return };
        let name = self.name(&mut map, faults);
        let wide = flag(&mut map, "wide", faults);
        let identities = self.claims.identities(map.take("identities"), faults);
        let uids = self.uids(&mut map, &name, faults);
        let subnets = if uids.is_some() { map.take("subnets") } else { map.require("subnets", faults) };
        let claimed = (&name, &identities);
        let subnets = subnets.map(|field| {
            some_of(field, faults, |item, faults| {
                let subnet = prefix(item, wide, faults)?;
                self.claims.add(item.located(subnet), claimed, faults);
                Some(subnet)
            })
        });
        let environment = map.take("environment").and_then(|field| field.parse::<Word>(faults));
        let class = map.take("class").and_then(|field| field.word(CLASSES, faults));
        let report = self.report(&mut map, class.unwrap_or_default(), faults);
        let limits = limits(&mut map, faults);
        if self.context.setting.pci {
            profile::source(&mut map, class.unwrap_or_default() == Class::Cde, faults);
        }
        map.finish(&[], faults);
        self.list.push(Source {
            name,
            subnets: subnets.unwrap_or_default().into(),
            identities: identities.iter().map(|listed: &Listed| listed.value.clone()).collect(),
            uids: uids.unwrap_or_default().into(),
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

    /// Whether card data lives in one of these, as far as they are known.
    pub(super) fn have_cde(&self, indexes: &[u32]) -> bool {
        let class = |index: &u32| Some(self.list.get(usize::try_from(*index).ok()?)?.class);
        indexes.iter().any(|index| class(index) == Some(Class::Cde))
    }

    /// Whether one rule may serve these, each with the place where it is named: environments never mix (PCI DSS 6.5.3).
    pub(super) fn check_together(&self, named: &[(u32, Place)], faults: &mut Faults) {
        let stated = named.iter().filter_map(|(index, place)| {
            let source = self.list.get(usize::try_from(*index).ok()?)?;
            Some((source, source.environment.as_ref()?, *place))
        });
        let mut first: Option<(&Source, &Arc<str>)> = None;
        for (source, environment, place) in stated {
            match first {
                Some((other, theirs)) if theirs != environment => {
                    let at = |source: &Source| {
                        self.names.get(&source.name).map_or(String::new(), |(_, place)| self.context.at(*place))
                    };
                    let message = format!(
                        "source `{}` at {} is of environment `{environment}`, and source `{}` at {} of `{theirs}`; make a rule for each",
                        source.name,
                        at(source),
                        other.name,
                        at(other)
                    );
                    faults.at(place, message);
                }
                Some(_) => {}
                None => first = Some((source, environment)),
            }
        }
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
        let today = self.context.today();
        let last = today.checked_add(Span::new().days(MAX_REPORT_DAYS)).unwrap_or(today);
        if until > last {
            let message =
                format!("report mode ends at most {MAX_REPORT_DAYS} days ahead; write {last} or a day before");
            field.fault(message, faults);
        }
        Some(until)
    }

    /// Users, if any are listed. With identities they do not go: over a Unix socket nobody can show one.
    fn uids(&mut self, map: &mut MapReader<'_>, name: &Arc<str>, faults: &mut Faults) -> Option<Vec<u32>> {
        let field = map.take("uids")?;
        if map.take("identities").is_some() {
            let message = "`uids` does not go with `identities`: who comes over a Unix socket can show none; make it another source";
            faults.at(field.key_place(), message);
        }
        if self.context.setting.ways.is_some_and(|ways| !ways.users) {
            faults.at(
                field.key_place(),
                "no listener is a Unix socket; write `address: unix:PATH` for one, or remove `uids`",
            );
        }
        Some(some_of(field, faults, |item, faults| self.uid(item, name, faults)))
    }

    fn uid(&mut self, field: Field<'_>, name: &Arc<str>, faults: &mut Faults) -> Option<u32> {
        let uid = u32::try_from(field.number(0..=LAST_UID, faults)?).ok()?;
        if uid == OVERFLOW_UID {
            let message =
                format!("user {uid} is how users of other namespaces appear, all of them; write the uid of one user");
            field.fault(message, faults);
        }
        match self.users.get(&uid) {
            Some((first, place)) => {
                let place = self.context.at(*place);
                field.fault(
                    format!(
                        "user {uid} belongs to source `{first}` already, at {place}; remove it from one of the two"
                    ),
                    faults,
                );
            }
            None => {
                self.users.insert(uid, (Arc::clone(name), field.place()));
            }
        }
        Some(uid)
    }
}

const CLASSES: &[(&str, Class)] = &[("cde", Class::Cde), ("general", Class::General)];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Enforce,
    Report,
}

const MODES: &[(&str, Mode)] = &[("enforce", Mode::Enforce), ("report", Mode::Report)];
