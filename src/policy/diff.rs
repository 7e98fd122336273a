//! What another policy lets through that this one doesn't, the other way round, and on which other terms: by meaning, not by text.
//! Not here: printing (`cli`). Hours and last days are terms; what a name resolves to is not known.
//! Source: the contract's `policy diff`. Every destination of either policy that can fare otherwise (`touched`) is asked for in both, by each
//! source and port of each rule that matches it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::{self, Write};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use serde::Serialize;

use super::classes::{self, Classes, DestinationRef};
use super::client::Origin;
use super::compile::Policy;
use super::decision::Denial;
use super::request::Identified;
use super::rule::{Rule, Source};
use super::touched::Touched;
use super::words;
use crate::name::{Host, Target};

/// Which way something differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// In the new policy alone.
    Added,
    /// In the old policy alone.
    Removed,
    /// In both, and not the same.
    Changed,
}

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The field.
    pub field: &'static str,
    /// What the old policy has.
    pub old: Option<String>,
    /// What the new policy has.
    pub new: Option<String>,
}

/// What a source reaches on other terms, or in one of the policies alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReachEdit {
    /// Which way.
    pub mark: Mark,
    /// The source's name.
    pub source: Arc<str>,
    /// A name with or without wildcard, or a network; what is more specific has a row of its own.
    pub destination: String,
    /// The port.
    pub port: u16,
    /// The rule that allows it: the new policy's, or if that refuses, the old one's.
    pub rule: Arc<str>,
    /// That rule's customer.
    pub customer: Arc<str>,
    /// Why the other policy refuses, if it has the source.
    pub refused: Option<&'static str>,
    /// The terms that differ.
    pub changes: Arc<[Change]>,
}

/// A source, a rule, or something else with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Edit {
    /// Which way.
    pub mark: Mark,
    /// Its name.
    pub name: String,
    /// The fields that differ.
    pub changes: Vec<Change>,
}

/// What differs between two policies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// What is reached, by source, destination and port.
    pub reach: Vec<ReachEdit>,
    /// The sources.
    pub sources: Vec<Edit>,
    /// Subnets and users whose clients belong to another source, or no longer to one.
    pub clients: Vec<Edit>,
    /// What no rule can allow.
    pub never: Vec<Edit>,
    /// The rules' control records, by id.
    pub rules: Vec<Edit>,
}

impl Diff {
    /// From `old` to `new`.
    pub fn between(old: &Arc<Policy>, new: &Arc<Policy>) -> Self {
        Self {
            reach: reach(old, new),
            sources: edits(old.sources().iter().map(told_source), new.sources().iter().map(told_source)),
            clients: moved(old, new),
            never: edits(never(old), never(new)),
            rules: rules(old, new),
        }
    }

    /// The diff's name: the SHA-256 of its JSON, in hexadecimal. Whoever has both policies can work it out.
    pub fn sha256(&self) -> String {
        let mut hashing = Hashing(Context::new(&SHA256));
        // Plain structs, and a writer that takes everything.
        let _ = serde_json::to_writer(&mut hashing, self);
        hashing.0.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// How much differs.
    pub fn counts(&self) -> DiffCounts {
        let reach = Marks::of(self.reach.iter().map(|edit| edit.mark));
        let [sources, never, rules] =
            [&self.sources, &self.never, &self.rules].map(|edits| Marks::of(edits.iter().map(|edit| edit.mark)));
        DiffCounts {
            reach_added: reach.added,
            reach_removed: reach.removed,
            reach_changed: reach.changed,
            sources_added: sources.added,
            sources_removed: sources.removed,
            sources_changed: sources.changed,
            clients_moved: self.clients.len(),
            never_added: never.added,
            never_removed: never.removed,
            rules_added: rules.added,
            rules_removed: rules.removed,
            rules_changed: rules.changed,
        }
    }

    /// Whether the two are the same but for their text.
    pub fn is_empty(&self) -> bool {
        let Self { reach, sources, clients, never, rules } = self;
        reach.is_empty() && [sources, clients, never, rules].into_iter().all(Vec::is_empty)
    }
}

/// How much differs between two policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DiffCounts {
    /// Rows of what is reached, by source, destination and port, that only the new policy has.
    pub reach_added: usize,
    /// Those that only the old policy has.
    pub reach_removed: usize,
    /// Those that both have, on other terms.
    pub reach_changed: usize,
    /// Sources that only the new policy has.
    pub sources_added: usize,
    /// Sources that only the old policy has.
    pub sources_removed: usize,
    /// Sources that are not as they were.
    pub sources_changed: usize,
    /// Subnets and users whose clients belong to another source, or no longer to one.
    pub clients_moved: usize,
    /// What `never` has more.
    pub never_added: usize,
    /// What `never` has no more.
    pub never_removed: usize,
    /// Rules, by id, that only the new policy has.
    pub rules_added: usize,
    /// Rules that only the old policy has.
    pub rules_removed: usize,
    /// Rules whose control record is not as it was.
    pub rules_changed: usize,
}

#[derive(Default)]
struct Marks {
    added: usize,
    removed: usize,
    changed: usize,
}

impl Marks {
    fn of(marks: impl Iterator<Item = Mark>) -> Self {
        marks.fold(Self::default(), |mut counts, mark| {
            let count = match mark {
                Mark::Added => &mut counts.added,
                Mark::Removed => &mut counts.removed,
                Mark::Changed => &mut counts.changed,
            };
            *count = count.saturating_add(1);
            counts
        })
    }
}

/// Hashes what is written.
struct Hashing(Context);

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A name with its fields.
type Told = (String, Vec<(&'static str, Option<String>)>);

fn told_source(source: &Arc<Source>) -> Told {
    (source.name.to_string(), words::source(source).collect())
}

fn told_rule(rule: &Arc<Rule>) -> Told {
    (rule.id.to_string(), words::control(rule).into())
}

/// Rules by id, those left out whose control record is the same: putting a hundred thousand into words takes its time.
fn rules(old: &Policy, new: &Policy) -> Vec<Edit> {
    let known: HashMap<&str, &Arc<Rule>> = old.rules().map(|rule| (&*rule.id, rule)).collect();
    let is_same = |rule: &&Arc<Rule>| known.get(&*rule.id).is_some_and(|known| known.control == rule.control);
    let same: HashSet<&str> = new.rules().filter(is_same).map(|rule| &*rule.id).collect();
    let [old, new] = [old, new].map(|policy| policy.rules().filter(|rule| !same.contains(&*rule.id)).map(told_rule));
    edits(old, new)
}

fn never(policy: &Arc<Policy>) -> impl Iterator<Item = Told> + '_ {
    let never = policy.never();
    let hosts = never.hosts().iter().map(ToString::to_string);
    hosts.chain(never.networks().map(|network| network.to_string())).map(|name| (name, Vec::new()))
}

fn edits(old: impl Iterator<Item = Told>, new: impl Iterator<Item = Told>) -> Vec<Edit> {
    let (old, mut new): (BTreeMap<_, _>, BTreeMap<_, _>) = (old.collect(), new.collect());
    let mut edits = Vec::new();
    for (name, before) in old {
        let (mark, after) = match new.remove(&name) {
            Some(after) => (Mark::Changed, after),
            None => (Mark::Removed, before.iter().map(|(field, _)| (*field, None)).collect()),
        };
        let changes = changes(before, after);
        if mark == Mark::Removed || !changes.is_empty() {
            edits.push(Edit { mark, name, changes });
        }
    }
    edits.extend(new.into_iter().map(|(name, after)| {
        let before = after.iter().map(|(field, _)| (*field, None)).collect::<Vec<_>>();
        Edit { mark: Mark::Added, name, changes: changes(before, after) }
    }));
    edits.sort_by(|one, two| one.name.cmp(&two.name));
    edits
}

/// The fields that are not the same; both sides have the same ones.
fn changes<F>(old: F, new: F) -> Vec<Change>
where
    F: IntoIterator<Item = (&'static str, Option<String>)>,
{
    let pairs = old.into_iter().zip(new).filter(|((_, old), (_, new))| old != new);
    pairs.map(|((field, old), (_, new))| Change { field, old, new }).collect()
}

/// Clients that may belong to other sources than before: each user, and each subnet for what no longer one of either policy has. What
/// sources that share a subnet ask of identities is told with the sources.
fn moved(old: &Policy, new: &Policy) -> Vec<Edit> {
    let names = |policy: &Policy, origin| {
        let names: BTreeSet<&str> = policy.candidates(origin).map(|source| &*source.name).collect();
        let names: Vec<&str> = names.into_iter().collect();
        Some(names.join(" ")).filter(|names| !names.is_empty())
    };
    let subnets = classes::clients(&[old, new]).into_iter();
    let subnets = subnets.map(|(subnet, client)| (subnet.to_string(), Origin::Address(client)));
    let users: BTreeSet<u32> = old.clients().users().chain(new.clients().users()).collect();
    let users = users.into_iter().map(Origin::User).map(|user| (user.to_string(), user));
    let told = subnets.chain(users).map(|(name, origin)| (name, names(old, origin), names(new, origin)));
    let moved = told.filter(|(_, old, new)| old != new).map(|(name, old, new)| Edit {
        mark: Mark::Changed,
        name,
        changes: vec![Change { field: "source", old, new }],
    });
    moved.collect()
}

/// One of the two policies, and its sources by name.
struct Side<'a> {
    policy: &'a Arc<Policy>,
    sources: HashMap<Arc<str>, Identified>,
}

impl<'a> Side<'a> {
    fn new(policy: &'a Arc<Policy>) -> Self {
        let members = classes::members(policy).into_iter();
        let sources = members.map(|identified| (Arc::clone(&identified.source().name), identified)).collect();
        Self { policy, sources }
    }

    /// Who could reach `host` on which port, by rules that match it.
    fn claims(&self, host: &Host) -> Vec<(Arc<str>, u16)> {
        let grants = self.policy.matching(host);
        let claims = grants.flat_map(|grant| {
            let sources = self.policy.sources_of(grant);
            sources.flat_map(|source| grant.rule().ports.iter().map(|port| (Arc::clone(&source.name), *port)))
        });
        claims.collect()
    }

    /// The rule, or why not; a source that this policy does not have reaches nothing.
    fn reaches(&self, source: &str, target: &Target) -> Result<Arc<Rule>, Option<Denial>> {
        let identified = self.sources.get(source).ok_or(None)?;
        classes::reaches(identified, target).map_err(Some)
    }
}

fn reach(old: &Arc<Policy>, new: &Arc<Policy>) -> Vec<ReachEdit> {
    let (old, new) = (Side::new(old), Side::new(new));
    let names = |side: &Side<'_>| side.sources.keys().cloned().collect::<HashSet<_>>();
    let touched = Touched::between((old.policy, &names(&old)), (new.policy, &names(&new)));
    if touched.is_empty() { Vec::new() } else { reach_where(&old, &new, |host| touched.holds(host)) }
}

/// Of those destinations alone whose representative is `relevant`.
fn reach_where(old: &Side<'_>, new: &Side<'_>, relevant: impl Fn(&Host) -> bool) -> Vec<ReachEdit> {
    let all = || DestinationRef::all(old.policy).chain(DestinationRef::all(new.policy));
    let classes = Classes::new(all);
    let standing = |destination| Some((destination, classes.representative(destination)?));
    let destinations: BTreeMap<DestinationRef<'_>, Host> =
        all().filter_map(standing).filter(|(_, host)| relevant(host)).collect();
    let mut terms = Terms::default();
    let mut edits = Vec::new();
    for (destination, host) in destinations {
        let claims: BTreeSet<(Arc<str>, u16)> = old.claims(&host).into_iter().chain(new.claims(&host)).collect();
        for (source, port) in claims {
            let Some(target) = Target::new(host.clone(), port) else { continue };
            let (before, after) = (old.reaches(&source, &target), new.reaches(&source, &target));
            let (mark, rule, refused, changes) = match (before, after) {
                (Err(_), Err(_)) => continue,
                (Err(denial), Ok(rule)) => (Mark::Added, rule, denial, Arc::default()),
                (Ok(rule), Err(denial)) => (Mark::Removed, rule, denial, Arc::default()),
                (Ok(before), Ok(after)) => {
                    let changes = terms.changes(&before, &after);
                    if changes.is_empty() {
                        continue;
                    }
                    (Mark::Changed, after, None, changes)
                }
            };
            edits.push(ReachEdit {
                mark,
                source,
                destination: destination.owned().to_string(),
                port,
                rule: Arc::clone(&rule.id),
                customer: Arc::clone(&rule.customer),
                refused: refused.map(|denial| denial.reason().as_str()),
                changes,
            });
        }
    }
    // Within a source the destinations are in order already.
    edits.sort_by(|one, two| one.source.cmp(&two.source));
    edits
}

/// What differs between an old and a new rule, worked out once for each two.
#[derive(Default)]
struct Terms(HashMap<(usize, usize), Arc<[Change]>>);

impl Terms {
    fn changes(&mut self, old: &Rule, new: &Rule) -> Arc<[Change]> {
        let differing = || {
            let told = |rule: &Rule| {
                let names = [("rule", &rule.id), ("customer", &rule.customer)];
                let names = names.map(|(field, name)| (field, Some(name.to_string())));
                names.into_iter().chain(words::terms(rule)).chain(rule.limits.words()).collect::<Vec<_>>()
            };
            changes(told(old), told(new)).into()
        };
        Arc::clone(self.0.entry((old.number, new.number)).or_insert_with(differing))
    }
}

#[cfg(test)]
impl Diff {
    /// The same, every destination looked at: what [`Diff::between`] must come to.
    pub(super) fn the_slow_way(old: &Arc<Policy>, new: &Arc<Policy>) -> Self {
        let reach = reach_where(&Side::new(old), &Side::new(new), |_| true);
        let rules = edits(old.rules().map(told_rule), new.rules().map(told_rule));
        Self { reach, rules, ..Self::between(old, new) }
    }
}
