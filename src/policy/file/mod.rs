//! Policy files: as written → checked, with every fault of every file at its place.
//! Not here: opening files, and what rules mean together (`compile`). Sources of one file may be used in rules of another.
//! Source: the contract's page on policy files.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod claims;
mod limits;
mod profile;
mod rule;
mod source;
pub(super) mod terms;

use std::sync::Arc;

use aws_lc_rs::digest;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use self::rule::Rules;
use self::source::Sources;
use self::terms::ControlField;
use super::compile::{Checked, Policy};
use super::ways::Ways;
use crate::address;
use crate::yaml::{self, Fault, Faults, Field, MapReader, Node, Place, shown};

/// One policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFile {
    /// Its name within the policy: its place in the policy's hash and order.
    pub path: String,
    /// Its name in faults, as the caller shows places.
    pub shown: String,
    /// All that it says.
    pub text: String,
}

/// What of the configuration a policy is checked against.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setting<'a> {
    /// The proxy's environment.
    pub environment: Option<&'a str>,
    /// The names of its pools.
    pub pools: &'a [&'a str],
    /// Whether the pools are not known: any name is taken for one.
    pub any_pool: bool,
    /// Whether files of the policy are missing here since they cannot be read: nothing is said then of names that they
    /// may define.
    pub partial: bool,
    /// How clients come in; `None`: not known, any way is taken.
    pub ways: Option<&'a Ways>,
    /// Whether what PCI DSS forbids is a fault: `profile: pci`.
    pub pci: bool,
    /// The moment of the check: report mode may last a month from then on.
    pub now: Timestamp,
}

impl Policy {
    /// Reads, checks and compiles a policy. `None` if anything is wrong; `faults` then say all of it, with `Place::file`
    /// as the index in `files`. No files at all are a fault too: who wants to refuse everything says so in one.
    pub fn load(files: &[PolicyFile], setting: &Setting<'_>, faults: &mut Faults) -> Option<Policy> {
        let mut found = Faults::new();
        if files.is_empty() {
            found.nowhere("the policy has no file; write one that ends in `.yaml`");
        }
        let ordered = ordered(files);
        let trees: Vec<Node> =
            ordered.iter().filter_map(|(index, file)| yaml::parse(&file.text, *index, &mut found)).collect();
        let paths: Vec<&str> = files.iter().map(|file| file.shown.as_str()).collect();
        let partial = setting.partial || trees.len() < files.len();
        let checked = check(&trees, &Context { setting, paths: &paths, partial }, &mut found);
        let policy = Policy::compile(checked, (hash(&ordered), setting.environment), &paths, &mut found);
        let sound = found.is_empty();
        faults.extend(found);
        sound.then_some(policy)
    }
}

/// What all parts of a check need.
struct Context<'a> {
    setting: &'a Setting<'a>,
    paths: &'a [&'a str],
    /// Whether some of the files are not among what is checked.
    partial: bool,
}

impl Context<'_> {
    /// The day of the check.
    fn today(&self) -> Date {
        self.setting.now.to_zoned(TimeZone::UTC).date()
    }

    /// A place for a message: `FILE:LINE:COLUMN`.
    fn at(&self, place: Place) -> String {
        let line = Fault { place: Some(place), message: String::new() }.line(self.paths);
        line.trim_end_matches(": ").to_owned()
    }

    /// The name of a pool that the configuration has.
    fn pool(&self, field: Field<'_>, faults: &mut Faults) -> Option<Arc<str>> {
        let name = field.text(faults)?;
        let pools = self.setting.pools;
        if self.setting.any_pool || pools.contains(&name) {
            return Some(name.into());
        }
        let known: Vec<String> = pools.iter().map(|pool| format!("`{pool}`")).collect();
        let instead = match known.is_empty() {
            true => "define it in `egress.pools` of the configuration, or remove `egress`".to_owned(),
            false => format!("write one of {}", known.join(", ")),
        };
        field.fault(format!("unknown pool {}; {instead}", shown(name)), faults);
        None
    }
}

/// The files with their indexes, in the order of their paths.
fn ordered(files: &[PolicyFile]) -> Vec<(u32, &PolicyFile)> {
    let mut ordered: Vec<(u32, &PolicyFile)> = (0..).zip(files).collect();
    ordered.sort_by(|(_, a), (_, b)| a.path.cmp(&b.path));
    ordered
}

/// SHA-256 over path, LF, length, LF, bytes of each file, in hexadecimal.
fn hash(ordered: &[(u32, &PolicyFile)]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for (_, PolicyFile { path, text, .. }) in ordered {
        context.update(format!("{path}\n{}\n", text.len()).as_bytes());
        context.update(text.as_bytes());
    }
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sources, `never` and `require` of all files first, then the rules, which refer to them.
fn check(trees: &[Node], context: &Context<'_>, faults: &mut Faults) -> Checked {
    let mut checked = Checked::default();
    let mut sources = Sources::new(context);
    let (mut required, mut rules) = (Vec::new(), Vec::new());
    for tree in trees {
        let Some(mut map) = MapReader::new(tree, "a policy file", faults) else { continue };
        version(&mut map, faults);
        if let Some(fields) = map.take("require") {
            let named = |field: Field<'_>, faults: &mut Faults| {
                let control = field.word(ControlField::WORDS, faults)?;
                Some(field.located(control))
            };
            required.extend(fields.list_of(faults, named).unwrap_or_default());
        }
        if let Some(list) = map.take("sources").and_then(|field| field.list(faults)) {
            list.for_each(|field| sources.read(field, faults));
        }
        if let Some(field) = map.take("never") {
            never(field, &mut checked, faults);
        }
        rules.extend(map.take("rules"));
        map.finish(&[], faults);
    }
    let mut reader = Rules::new(context, &sources, &required);
    for list in rules.into_iter().filter_map(|field| field.list(faults)).collect::<Vec<_>>() {
        checked.rules.extend(list.filter_map(|field| reader.read(field, faults)));
    }
    checked.sources = sources.into_list();
    checked
}

/// Only version 1 is known; a file of another is read on, to find its other faults.
fn version(map: &mut MapReader<'_>, faults: &mut Faults) {
    let Some(field) = map.require("version", faults) else { return };
    match field.number(0..=u64::MAX, faults) {
        Some(1) | None => {}
        Some(other) => field.fault(format!("`version` is `{other}`; write `1`, the only version there is"), faults),
    }
}

/// What no rule can allow; may be wide.
fn never(field: Field<'_>, checked: &mut Checked, faults: &mut Faults) {
    let Some(mut map) = field.map("`never`", faults) else { return };
    if let Some(hosts) = map.take("hosts") {
        checked.never_hosts.extend(hosts.list_of(faults, |host, faults| host.parse(faults)).unwrap_or_default());
    }
    if let Some(networks) = map.take("networks") {
        let read = |field: Field<'_>, faults: &mut Faults| field.read(address::parse_prefix, faults);
        checked.never_networks.extend(networks.list_of(faults, read).unwrap_or_default());
    }
    map.finish(&[], faults);
}

/// A key that a mapping may have once: `true` or `false`, which is also its default.
fn flag(map: &mut MapReader<'_>, key: &'static str, faults: &mut Faults) -> bool {
    map.take(key).and_then(|field| field.boolean(faults)).unwrap_or(false)
}

/// The items of a list that may not be empty.
pub(super) fn some_of<T>(
    field: Field<'_>,
    faults: &mut Faults,
    read: impl FnMut(Field<'_>, &mut Faults) -> Option<T>,
) -> Vec<T> {
    let Some(list) = field.list(faults) else { return Vec::new() };
    if list.len() == 0 {
        field.fault(format!("`{}` is empty; write at least one", field.name()), faults);
    }
    let mut read = read;
    list.filter_map(|item| read(item, faults)).collect()
}

/// A prefix of a source or rule, which may be wide only if that says so.
fn prefix(field: Field<'_>, wide: bool, faults: &mut Faults) -> Option<ipnet::IpNet> {
    let prefix = field.read(address::parse_prefix, faults)?;
    if address::is_wide(&prefix) && !wide {
        field.fault(
            format!(
                "`{prefix}` is shorter than /16 (/32 for IPv6); write a longer prefix, or `wide: true` beside the list"
            ),
            faults,
        );
    }
    Some(prefix)
}

#[cfg(test)]
mod tests;
