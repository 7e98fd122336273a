//! Rules as written → checked, one by one.
//! Not here: rules that would tie (`compile`), and the parts that stand in `terms`.
//! Source: the contract's page on policy files and its defaults of a rule.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::compile::{CheckedRule, Reach};
use super::super::rule::{Rule, Word};
use super::limits::limits;
use super::profile;
use super::source::Sources;
use super::terms::{self, ControlField};
use super::{Context, flag, prefix, some_of};
use crate::name::HostPattern;
use crate::yaml::{Faults, Field, Located, MapReader, Place};

/// What checking rules needs to know of all files.
pub(super) struct Rules<'a> {
    context: &'a Context<'a>,
    sources: &'a Sources<'a>,
    required: &'a [Located<ControlField>],
    ids: HashMap<Arc<str>, Place>,
}

/// What a rule owns up to.
#[derive(Clone, Copy)]
struct Flags {
    public_suffix: bool,
    wide: bool,
}

impl<'a> Rules<'a> {
    /// No rule yet.
    pub(super) fn new(
        context: &'a Context<'a>,
        sources: &'a Sources<'a>,
        required: &'a [Located<ControlField>],
    ) -> Self {
        Self { context, sources, required, ids: HashMap::new() }
    }

    /// Reads one more. `None` if it lacks what makes it a rule; a rule with other faults goes on, to find more.
    pub(super) fn read(&mut self, field: Field<'_>, faults: &mut Faults) -> Option<CheckedRule> {
        let mut map = field.map("a rule", faults)?;
        let id = self.id(&mut map, faults);
        let customer = map.require("customer", faults).and_then(|field| field.parse::<Word>(faults));
        let sources = map.require("sources", faults);
        let sources: Option<Vec<u32>> = sources.map(|field| {
            let found = some_of(field, faults, |item, faults| Some((self.sources.find(item, faults)?, item.place())));
            self.sources.check_together(&found, faults);
            found.into_iter().map(|(source, _)| source).collect()
        });
        let flags =
            Flags { public_suffix: flag(&mut map, "public_suffix", faults), wide: flag(&mut map, "wide", faults) };
        let (hosts, networks) = (map.take("hosts"), map.take("networks"));
        let reach = reach((hosts, networks), flags, map.place(), faults);
        let ports = map.take("ports").map_or_else(|| vec![443], |field| ports(field, faults));
        let addresses = map.take("addresses");
        if let Some(field) = addresses.filter(|_| networks.is_some()) {
            faults
                .at(field.key_place(), "`addresses` goes with `hosts` only; `networks` says it already, so remove it");
        }
        let addresses =
            addresses.map(|field| some_of(field, faults, |item, faults| prefix(item, flags.wide, faults)).into());
        let tls = terms::tls(map.take("tls"), (networks.is_some() && hosts.is_none(), map.place()), faults);
        let egress = map.take("egress").and_then(|field| self.context.pool(field, faults));
        let existing = map.take("existing").and_then(|field| field.parse(faults)).unwrap_or_default();
        let limits = limits(&mut map, faults);
        let hours = map.take("hours").and_then(|field| terms::hours(field, faults));
        let (control, expires) = terms::control(&mut map, faults);
        self.check_required(&mut map, id.as_deref(), faults);
        if self.context.setting.pci {
            let has_cde = self.sources.have_cde(sources.as_deref().unwrap_or_default());
            profile::rule(&mut map, has_cde, self.context.today(), faults);
        }
        map.finish(&[], faults);
        let (reach, places) = reach?;
        let rule = Rule {
            number: 0,
            id: id?,
            customer: customer?.0,
            ports: ports.into(),
            addresses,
            tls,
            egress,
            existing,
            limits,
            hours,
            expires,
            control,
            public_suffix: flags.public_suffix,
            wide: flags.wide,
        };
        Some(CheckedRule { rule, sources: sources?, reach, places })
    }

    fn id(&mut self, map: &mut MapReader<'_>, faults: &mut Faults) -> Option<Arc<str>> {
        let field = map.require("id", faults)?;
        let Word(id) = field.parse(faults)?;
        match self.ids.get(&id) {
            Some(first) => {
                let first = self.context.at(*first);
                field.fault(format!("rule `{id}` is defined at {first} already; give it another id"), faults);
            }
            None => {
                self.ids.insert(Arc::clone(&id), field.place());
            }
        }
        Some(id)
    }

    /// A field that is there but wrong has its own fault.
    fn check_required(&self, map: &mut MapReader<'_>, id: Option<&str>, faults: &mut Faults) {
        let mut seen: Vec<ControlField> = Vec::new();
        for Located { value, place } in self.required {
            if seen.contains(value) || map.take(value.word()).is_some() {
                continue;
            }
            seen.push(*value);
            let rule = id.map_or_else(|| "a rule".to_owned(), |id| format!("rule `{id}`"));
            let at = self.context.at(*place);
            faults
                .at(map.place(), format!("{rule} lacks `{}`, which `require` at {at} asks for; add it", value.word()));
        }
    }
}

type Placed = (Reach, Vec<Place>);

fn reach(
    fields: (Option<Field<'_>>, Option<Field<'_>>),
    flags: Flags,
    place: Place,
    faults: &mut Faults,
) -> Option<Placed> {
    match fields {
        (Some(field), None) => {
            let hosts = some_of(field, faults, |item, faults| host(item, flags, faults));
            let (hosts, places) = hosts.into_iter().unzip::<_, _, Vec<HostPattern>, _>();
            Some((Reach::Hosts(hosts.into()), places))
        }
        (None, Some(field)) => {
            let read = |item: Field<'_>, faults: &mut Faults| Some((prefix(item, flags.wide, faults)?, item.place()));
            let (networks, places) = some_of(field, faults, read).into_iter().unzip::<_, _, Vec<ipnet::IpNet>, _>();
            Some((Reach::Networks(networks.into()), places))
        }
        (Some(_), Some(field)) => {
            faults.at(field.key_place(), "a rule has `hosts` or `networks`, never both; make two rules of it");
            None
        }
        (None, None) => {
            faults.at(place, "a rule lacks both `hosts` and `networks`; write one of them");
            None
        }
    }
}

fn host(field: Field<'_>, flags: Flags, faults: &mut Faults) -> Option<(HostPattern, Place)> {
    let pattern: HostPattern = field.parse(faults)?;
    if pattern.is_public_suffix_wide() && !flags.public_suffix {
        field.fault(
            format!(
                "`{pattern}` is right below a public suffix, where strangers have names too; \
                 write a longer name, or `public_suffix: true` in the rule"
            ),
            faults,
        );
    }
    Some((pattern, field.place()))
}

/// Ascending, each once.
fn ports(field: Field<'_>, faults: &mut Faults) -> Vec<u16> {
    let read = |item: Field<'_>, faults: &mut Faults| {
        item.number(1..=u64::from(u16::MAX), faults).and_then(|port| u16::try_from(port).ok())
    };
    let mut ports = some_of(field, faults, read);
    ports.sort_unstable();
    ports.dedup();
    ports
}
