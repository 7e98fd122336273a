//! Whether a new policy changes more than may come into force without somebody's word: `policy_guard`, held against the diff.
//! Not here: the diff (`policy`), who confirms (`server::control`). Whatever is asked for, it is asked of what the diff says, by meaning.
//! Source: PCI DSS 1.2.2 and 6.5.1 (changes to rule sets are approved).

use std::sync::Arc;
use std::time::Duration;

use crate::config::{MaxRows, PolicyGuard};
use crate::policy::{Change, Diff, DiffCounts, Edit, Grant, Mark, Policy, Reach, ReachEdit};
use crate::runtime::reloads::DiffTold;
use crate::yaml;

/// What a new policy changes, and what of that the guard stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weighed {
    /// How much differs.
    pub counts: DiffCounts,
    /// The diff's name: by this it is confirmed.
    pub sha256: String,
    /// Each rail that it is beyond, and by how much. Empty: it may come into force.
    pub beyond: Vec<String>,
}

impl Weighed {
    /// From the policy in force to a new one. Of the same files nothing differs, and nothing is compared.
    pub fn between(guard: &PolicyGuard, old: &Arc<Policy>, new: &Arc<Policy>) -> Self {
        let diff = if old.hash() == new.hash() { Diff::default() } else { Diff::between(old, new) };
        Self { counts: diff.counts(), sha256: diff.sha256(), beyond: beyond(guard, &diff, rows(old)) }
    }
}

impl Weighed {
    /// What may come into force, and whether that is because this very diff is confirmed.
    ///
    /// # Errors
    /// It may not: why, and how it could.
    pub fn let_through(self, confirm: Option<&str>) -> Result<(DiffTold, bool), Box<Stopped>> {
        let Self { counts, sha256, mut beyond } = self;
        let is_this = confirm.is_some_and(|confirm| confirm.eq_ignore_ascii_case(&sha256));
        let told = DiffTold { sha256, counts };
        if confirm.is_some() && !is_this {
            beyond.insert(0, OTHER.to_owned());
        } else if is_this || beyond.is_empty() {
            return Ok((told, is_this && !beyond.is_empty()));
        }
        beyond.push(HOW.to_owned());
        Err(Box::new((told, beyond)))
    }
}

/// A diff that may not come into force, why, and how it could.
pub type Stopped = (DiffTold, Vec<String>);

/// What is confirmed is not what would come into force.
const OTHER: &str = "another diff was confirmed: the files or the policy in force have changed since; look at this one";

/// How a change comes into force that the guard stops.
const HOW: &str = "if that is meant, run `sallyport reload --confirm SHA256`, or send `{\"confirm\": \"SHA256\"}` to POST /v1/policy/reload, with \
                   this diff's SHA-256, which `sallyport policy diff OLD NEW -o json` prints too";

/// How many rows the rules of a policy write: sources, destinations and ports, multiplied.
fn rows(policy: &Policy) -> u64 {
    let of = |grant: &Grant| {
        let destinations = match grant.reach() {
            Reach::Hosts(hosts) => hosts.len(),
            Reach::Networks(networks) => networks.len(),
        };
        let sources = policy.sources_of(grant).count();
        count(destinations.saturating_mul(sources).saturating_mul(grant.rule().ports.len()))
    };
    policy.grants().iter().map(of).fold(0, u64::saturating_add)
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn beyond(guard: &PolicyGuard, diff: &Diff, rows: u64) -> Vec<String> {
    let of = |mark: Mark| diff.reach.iter().filter(move |edit| edit.mark == mark);
    let is_wildcard = |edit: &&ReachEdit| edit.destination.starts_with('*');
    let is_network = |edit: &&ReachEdit| edit.destination.contains('/');
    let told = |edit: &ReachEdit| format!("{} → {}:{} by `{}`", edit.source, edit.destination, edit.port, edit.rule);
    let wider = |edit: &&ReachEdit| edit.changes.iter().any(is_wider);
    let moved = diff.clients.iter().filter(|edit| edit.changes.iter().any(|change| change.new.is_some()));
    // Whose clients a change of identities lets in depends on all sources of a subnet: any change needs the word.
    let shown = diff.sources.iter().filter(|edit| edit.mark == Mark::Changed);
    let shown = shown.filter(|edit| edit.changes.iter().any(|change| change.field == "identities"));
    let clients =
        moved.map(|edit| edit.name.clone()).chain(shown.map(|edit| format!("`identities` of source `{}`", edit.name)));
    let terms = diff.sources.iter().filter_map(wider_source).chain(of(Mark::Changed).filter(wider).map(told));
    let gone = diff.never.iter().filter(|edit| edit.mark == Mark::Removed);
    let (removed, added) = (count(diff.counts().reach_removed), count(diff.counts().reach_added));
    [
        guard.max_removed.and_then(|most| too_many("max_removed", most, (removed, "go"), rows)),
        guard.max_added.and_then(|most| too_many("max_added", most, (added, "come"), rows)),
        any(guard.no_new_wildcards, "no_new_wildcards", of(Mark::Added).filter(is_wildcard).map(told)),
        any(guard.no_new_networks, "no_new_networks", of(Mark::Added).filter(is_network).map(told)),
        any(guard.no_new_clients, "no_new_clients", clients),
        any(guard.no_wider_terms, "no_wider_terms", terms),
        any(guard.no_shorter_never, "no_shorter_never", gone.map(|edit| edit.name.clone())),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn too_many(key: &str, most: MaxRows, (found, what): (u64, &str), rows: u64) -> Option<String> {
    let (bound, may) = match most {
        MaxRows::Rows(most) => (most.to_string(), most),
        // Rounded down: of few rows, less than one may change.
        MaxRows::Percent(percent) => (format!("{percent}%"), rows.saturating_mul(percent) / 100),
    };
    let beyond =
        format!("`policy_guard.{key}: {bound}`: {found} rows of what is reached {what}; of {rows} rows {may} may");
    (found > may).then_some(beyond)
}

/// The first of what must not be there, and how many there are.
fn any(is_asked: bool, key: &str, mut found: impl Iterator<Item = String>) -> Option<String> {
    let first = if is_asked { found.next()? } else { return None };
    let others = match found.count() {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    Some(format!("`policy_guard.{key}: true`: {first}{others}"))
}

/// A source that asks for less than before, or comes in report mode, which opens every name to it; and by what.
fn wider_source(edit: &Edit) -> Option<String> {
    let is_wider = |change: &&Change| {
        let Change { field, old, new } = *change;
        match *field {
            "mode" => new.as_deref() == Some("report"),
            // Days as they are written sort by time.
            "report_until" => old.is_some() && new > old,
            "class" => edit.mark == Mark::Changed && new.as_deref() == Some("general"),
            "environment" => edit.mark == Mark::Changed && old.is_some(),
            field => {
                edit.mark == Mark::Changed && old.as_deref().is_some_and(|old| is_raised(field, old, new.as_deref()))
            }
        }
    };
    let change = edit.changes.iter().find(is_wider)?;
    Some(format!("`{}` of source `{}`", change.field, edit.name))
}

/// Whether a term lets more through than before, or may: of hours that are others it can't be told in a few words.
fn is_wider(Change { field, old, new }: &Change) -> bool {
    let gains = || {
        let had: Vec<&str> = old.iter().flat_map(|words| words.split(' ')).collect();
        new.iter().flat_map(|words| words.split(' ')).any(|word| !had.contains(&word))
    };
    match *field {
        "tls.ech" => new.as_deref() == Some("allow"),
        "tls.min_version" | "tls.sni" => new < old,
        "tls.alpn" | "tls.sni_names" => gains(),
        "addresses" => new.is_none() || gains(),
        "hours" => old.is_some(),
        // Days as they are written sort by time.
        "expires" => old.is_some() && (new.is_none() || new > old),
        field => old.as_deref().is_some_and(|old| is_raised(field, old, new.as_deref())),
    }
}

/// The longest time that a rate can name.
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Whether a bound of `limits` goes or is higher than before.
fn is_raised(field: &str, old: &str, new: Option<&str>) -> bool {
    let Some(new) = new else { return field.starts_with("limits.") };
    let day = |text: &str| yaml::size(text.strip_suffix("/day").unwrap_or(text)).ok();
    let hourly = |text: &str| {
        let rate = yaml::rate(text).ok()?;
        u128::from(rate.count).saturating_mul(HOUR.as_millis()).checked_div(rate.period.as_millis())
    };
    match field {
        "limits.tunnels" => yaml::whole(new) > yaml::whole(old),
        "limits.rate" => hourly(new) > hourly(old),
        "limits.bytes_out" => day(new) > day(old),
        "limits.idle_timeout" | "limits.lifetime" => yaml::duration(new).ok() > yaml::duration(old).ok(),
        _ => false,
    }
}

#[cfg(test)]
#[path = "change_guard_tests.rs"]
mod tests;
