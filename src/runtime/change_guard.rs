//! Whether a new policy changes more than may come into force without somebody's word: `policy_guard`, held against the diff.
//! Not here: the diff (`policy`), who confirms (`server::control`). Whatever is asked for, it is asked of what the diff says, by meaning.
//! Source: PCI DSS 1.2.2 and 6.5.1 (changes to rule sets are approved).

use std::sync::Arc;

use crate::config::{MaxRows, PolicyGuard};
use crate::policy::{Change, Diff, DiffCounts, Grant, Mark, Policy, Reach, ReachEdit};
use crate::runtime::reloads::DiffTold;

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
    let clients = diff.clients.iter().filter(|edit| edit.changes.iter().any(|change| change.new.is_some()));
    let gone = diff.never.iter().filter(|edit| edit.mark == Mark::Removed);
    let (removed, added) = (count(diff.counts().reach_removed), count(diff.counts().reach_added));
    [
        guard.max_removed.and_then(|most| too_many("max_removed", most, (removed, "go"), rows)),
        guard.max_added.and_then(|most| too_many("max_added", most, (added, "come"), rows)),
        any(guard.no_new_wildcards, "no_new_wildcards", of(Mark::Added).filter(is_wildcard).map(told)),
        any(guard.no_new_networks, "no_new_networks", of(Mark::Added).filter(is_network).map(told)),
        any(guard.no_new_clients, "no_new_clients", clients.map(|edit| edit.name.clone())),
        any(guard.no_wider_terms, "no_wider_terms", of(Mark::Changed).filter(wider).map(told)),
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
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing;

    const GUARD: PolicyGuard = PolicyGuard {
        max_removed: None,
        max_added: None,
        no_new_wildcards: true,
        no_new_networks: true,
        no_new_clients: true,
        no_wider_terms: true,
        no_shorter_never: true,
    };

    const BASE: &str = "version: 1
never: {hosts: [x.example], networks: [192.0.2.0/24]}
sources: [{name: a, subnets: [10.0.0.0/24]}]
rules:
  - {id: one, customer: c, sources: [a], hosts: [a.example, b.example], ports: [443, 8443]}
  - {id: two, customer: c, sources: [a], hosts: [t.example], addresses: [203.0.113.0/24], tls: {alpn: [h2], min_version: \"1.3\"}, expires: 2030-01-01, hours: {days: [mon], from: '06:00', to: '07:00', zone: UTC}}
  - {id: net, customer: c, sources: [a], networks: [198.51.100.7/32], tls: {sni: absent}}
";

    fn weighed(guard: &PolicyGuard, from: &str, to: &str) -> Weighed {
        assert!(from.is_empty() || BASE.contains(from), "{from}");
        let new = if from.is_empty() { format!("{BASE}{to}") } else { BASE.replace(from, to) };
        Weighed::between(guard, &Arc::new(testing::policy(BASE)), &Arc::new(testing::policy(&new)))
    }

    const WILD: &str = "  - {id: new, customer: c, sources: [a], hosts: ['*.w.example']}\n";

    const NET: &str = "  - {id: new, customer: c, sources: [a], networks: [198.51.100.8/32], tls: {sni: absent}}\n";

    /// What in the base becomes what, and what the guard says of that.
    const RAILS: &[(&str, &str, &str, Option<&str>)] = &[
        ("the same", "a.example", "a.example", None),
        ("a host more", "a.example", "a.example, c.example", None),
        ("a host less", "a.example, ", "", None),
        ("a wildcard more", "", WILD, Some("`policy_guard.no_new_wildcards: true`: a → *.w.example:443 by `new`")),
        ("a network more", "", NET, Some("`policy_guard.no_new_networks: true`: a → 198.51.100.8/32:443 by `new`")),
        (
            "more of both kinds",
            "t.example]",
            "t.example, '*.u.example', '**.v.example']",
            Some("`policy_guard.no_new_wildcards: true`: a → *.u.example:443 by `two`, and 1 more"),
        ),
        (
            "a subnet more",
            "[10.0.0.0/24]",
            "[10.0.0.0/24, 10.0.1.0/24]",
            Some("`policy_guard.no_new_clients: true`: 10.0.1.0/24"),
        ),
        ("a subnet less", "[10.0.0.0/24]", "[10.0.0.0/25]", None),
        (
            "ech",
            "ports: [443, 8443]",
            "ports: [443, 8443], tls: {ech: allow}",
            Some("`policy_guard.no_wider_terms: true`: a → a.example:443 by `one`, and 3 more"),
        ),
        (
            "another id in alpn",
            "alpn: [h2]",
            "alpn: [h2, x]",
            Some("`policy_guard.no_wider_terms: true`: a → t.example:443 by `two`"),
        ),
        ("no alpn", "alpn: [h2]", "alpn: []", None),
        (
            "an older version",
            "\"1.3\"",
            "\"1.2\"",
            Some("`policy_guard.no_wider_terms: true`: a → t.example:443 by `two`"),
        ),
        ("a newer version", "8443]}", "8443], tls: {min_version: \"1.3\"}}", None),
        (
            "any address",
            "addresses: [203.0.113.0/24], ",
            "",
            Some("`policy_guard.no_wider_terms: true`: a → t.example:443 by `two`"),
        ),
        (
            "no end",
            ", expires: 2030-01-01",
            "",
            Some("`policy_guard.no_wider_terms: true`: a → t.example:443 by `two`"),
        ),
        (
            "a later end",
            "2030-01-01",
            "2030-01-02",
            Some("`policy_guard.no_wider_terms: true`: a → t.example:443 by `two`"),
        ),
        ("an earlier end", "2030-01-01", "2029-01-02", None),
        ("other hours", "'07:00'", "'08:00'", Some("`policy_guard.no_wider_terms: true`: a → t.example:443 by `two`")),
        (
            "hours where there were none",
            "8443]}",
            "8443], hours: {days: [mon], from: '06:00', to: '07:00', zone: UTC}}",
            None,
        ),
        ("less that is never", "x.example", "", Some("`policy_guard.no_shorter_never: true`: x.example")),
        ("more that is never", "x.example", "x.example, y.example", None),
    ];

    #[test]
    fn each_rail_stops_what_it_is_for_and_nothing_else() {
        for (name, from, to, want) in RAILS {
            let weighed = weighed(&GUARD, from, to);
            assert_eq!(weighed.beyond.first().map(String::as_str), *want, "{name}");
            assert!(weighed.beyond.len() <= 1, "{name}: {weighed:?}");
            assert_eq!(
                super::tests::weighed(&PolicyGuard::default(), from, to).beyond,
                [""; 0],
                "{name}: without a guard"
            );
        }
    }

    #[test]
    fn so_many_rows_may_come_and_go() {
        // Six rows: two hosts on two ports, one host, one network.
        for (most, key, from, to, want) in [
            (MaxRows::Rows(2), "max_removed", "a.example, ", "", None),
            (
                MaxRows::Rows(1),
                "max_removed",
                "a.example, ",
                "",
                Some("1`: 2 rows of what is reached go; of 6 rows 1 may"),
            ),
            (MaxRows::Percent(34), "max_removed", "a.example, ", "", None),
            (
                MaxRows::Percent(33),
                "max_removed",
                "a.example, ",
                "",
                Some("33%`: 2 rows of what is reached go; of 6 rows 1 may"),
            ),
            (MaxRows::Rows(0), "max_removed", "a.example, ", "a.example, c.example, ", None),
            (
                MaxRows::Rows(1),
                "max_added",
                "a.example, ",
                "a.example, c.example, ",
                Some("1`: 2 rows of what is reached come; of 6 rows 1 may"),
            ),
            (MaxRows::Percent(100), "max_added", "a.example, ", "a.example, c.example, ", None),
        ] {
            let guard = match key {
                "max_removed" => PolicyGuard { max_removed: Some(most), ..PolicyGuard::default() },
                _ => PolicyGuard { max_added: Some(most), ..PolicyGuard::default() },
            };
            let want: Vec<String> = want.iter().map(|want| format!("`policy_guard.{key}: {want}")).collect();
            assert_eq!(weighed(&guard, from, to).beyond, want, "{key} {most:?}");
        }
    }

    #[test]
    fn what_is_confirmed_is_this_diff_alone() {
        let (one, again) = (weighed(&GUARD, "a.example, ", ""), weighed(&GUARD, "a.example, ", ""));
        assert_eq!(one, again);
        assert_ne!(one.sha256, weighed(&GUARD, "b.example", "c.example").sha256);
        assert_eq!((one.counts.reach_removed, one.sha256.len()), (2, 64));
        let guarded = Weighed { beyond: vec!["x".to_owned()], ..one.clone() };
        let (hash, other) = (one.sha256.as_str(), "0".repeat(64));
        for (name, weighed, confirm, want) in [
            ("nothing to confirm", &one, None, Ok(false)),
            ("confirmed all the same", &one, Some(hash), Ok(false)),
            ("another one confirmed", &one, Some(other.as_str()), Err(2)),
            ("beyond", &guarded, None, Err(2)),
            ("confirmed", &guarded, Some(hash), Ok(true)),
            ("beyond, and another one confirmed", &guarded, Some(&other), Err(3)),
        ] {
            let came = weighed.clone().let_through(confirm);
            assert_eq!(came.map(|(_, confirmed)| confirmed).map_err(|stopped| stopped.1.len()), want, "{name}");
        }
    }
}
