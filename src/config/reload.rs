//! When a running proxy reads its files again by itself, and how much a new policy may change without somebody's word.
//! Not here: reading (`runtime`), counting what a policy changes (`policy::Diff`). Source: the contract: `reload`, `policy_guard`.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::yaml::{Faults, Field, MapReader, Value, shown, whole};

/// Below, the proxy would do little else with a large policy; above, nobody would wait for it.
const POLL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

/// What the kernel doesn't tell of, as changes on another host's side of NFS, is found within this time.
const DEFAULT_POLL: Duration = Duration::from_secs(30);

/// More rows than a policy of 64 MiB can have.
const MOST_ROWS: u64 = 1_000_000_000;

/// When a running proxy reads its files again by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    /// Whether it does once they have changed.
    pub on_change: bool,
    /// How often it looks whether they have, beside what the kernel tells.
    pub poll: Duration,
}

/// What a reload may change of what the policy allows without somebody's confirmation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyGuard {
    /// Rows of what is reached that go.
    pub max_removed: Option<MaxRows>,
    /// Rows of what is reached that come.
    pub max_added: Option<MaxRows>,
    /// None that comes is a name with a wildcard.
    pub no_new_wildcards: bool,
    /// None that comes is a network.
    pub no_new_networks: bool,
    /// No client belongs to a source that it did not belong to.
    pub no_new_clients: bool,
    /// What is reached in both policies is reached on no wider terms.
    pub no_wider_terms: bool,
    /// Nothing goes from `never`.
    pub no_shorter_never: bool,
}

/// A bound on rows of what is reached: by source, destination and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxRows {
    /// So many.
    Rows(u64),
    /// So many in a hundred of those that the policy in force has.
    Percent(u64),
}

/// Reads `reload`.
pub fn reload(field: Option<Field<'_>>, faults: &mut Faults) -> Reload {
    let mut reload = Reload { on_change: true, poll: DEFAULT_POLL };
    let Some(mut map) = field.and_then(|field| field.map("`reload`", faults)) else { return reload };
    if let Some(on_change) = map.take("on_change").and_then(|field| field.boolean(faults)) {
        reload.on_change = on_change;
    }
    if let Some(poll) = map.take("poll").and_then(|field| field.duration(POLL, faults)) {
        reload.poll = poll;
    }
    map.finish(&[], faults);
    reload
}

/// Reads `policy_guard`.
pub fn policy_guard(field: Option<Field<'_>>, faults: &mut Faults) -> PolicyGuard {
    let mut guard = PolicyGuard::default();
    let Some(mut map) = field.and_then(|field| field.map("`policy_guard`", faults)) else { return guard };
    guard.max_removed = max_rows(&mut map, "max_removed", faults);
    guard.max_added = max_rows(&mut map, "max_added", faults);
    guard.no_new_wildcards = flag(&mut map, "no_new_wildcards", faults);
    guard.no_new_networks = flag(&mut map, "no_new_networks", faults);
    guard.no_new_clients = flag(&mut map, "no_new_clients", faults);
    guard.no_wider_terms = flag(&mut map, "no_wider_terms", faults);
    guard.no_shorter_never = flag(&mut map, "no_shorter_never", faults);
    map.finish(&[], faults);
    guard
}

fn flag(map: &mut MapReader<'_>, key: &'static str, faults: &mut Faults) -> bool {
    map.take(key).and_then(|field| field.boolean(faults)).unwrap_or(false)
}

/// A whole number, or a percentage of the rows in force.
fn max_rows(map: &mut MapReader<'_>, key: &'static str, faults: &mut Faults) -> Option<MaxRows> {
    let field = map.take(key)?;
    match &field.node().value {
        Value::Text(..) => field.read(percent, faults).map(MaxRows::Percent),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_) | Value::Refused => {
            field.number(0..=MOST_ROWS, faults).map(MaxRows::Rows)
        }
    }
}

fn percent(text: &str) -> Result<u64, String> {
    let percent = text.strip_suffix('%').and_then(whole).filter(|percent| *percent <= 100);
    percent.ok_or_else(|| {
        let text = shown(text);
        format!("{text} is no bound; write `0%` to `100%` of what is reached now, or a number of rows such as `50`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn field_of<T>(text: &str, read: fn(Option<Field<'_>>, &mut Faults) -> T) -> (T, Vec<String>) {
        let mut faults = Faults::new();
        let root = yaml::parse(text, 0, &mut faults).unwrap();
        let value = read(Some(Field::new("key", root.place, &root)), &mut faults);
        (value, faults.iter().map(|fault| fault.line(&["f"])).collect())
    }

    #[test]
    fn reload_is_read() {
        for (text, on_change, poll, fault) in [
            ("{on_change: false}", false, 30, None),
            ("{poll: 5m}", true, 300, None),
            ("{on_change: none, poll: none}", true, 30, None),
            ("{poll: 500ms}", true, 30, Some("f:1:8: `poll` is `500ms`; write from `1s` to `1d`")),
            ("{on_change: yes}", true, 30, Some("f:1:13: `on_change` is `yes`")),
            ("{on_chnge: true}", true, 30, Some("f:1:2: unknown key `on_chnge`; did you mean `on_change`?")),
        ] {
            let (read, faults) = field_of(text, reload);
            assert_eq!(read, Reload { on_change, poll: Duration::from_secs(poll) }, "{text}");
            assert_eq!(faults.len(), usize::from(fault.is_some()), "{text}: {faults:?}");
            assert!(
                fault.is_none_or(|fault| faults.iter().all(|found| found.starts_with(fault))),
                "{text}: {faults:?}"
            );
        }
    }

    #[test]
    fn the_guard_is_read() {
        let all = "{max_removed: 20%, max_added: 7, no_new_wildcards: true, no_new_networks: true, no_new_clients: true, \
                   no_wider_terms: true, no_shorter_never: true}";
        let want = PolicyGuard {
            max_removed: Some(MaxRows::Percent(20)),
            max_added: Some(MaxRows::Rows(7)),
            no_new_wildcards: true,
            no_new_networks: true,
            no_new_clients: true,
            no_wider_terms: true,
            no_shorter_never: true,
        };
        assert_eq!(field_of(all, policy_guard), (want, Vec::new()));
        assert_eq!(field_of("{max_added: none}", policy_guard), (PolicyGuard::default(), Vec::new()));
        for (text, fault) in [
            ("{max_removed: 101%}", "f:1:15: `101%` is no bound; write `0%` to `100%` of what"),
            ("{max_removed: few}", "f:1:15: `few` is no bound; write"),
            ("{max_added: -1}", "f:1:13: `max_added` is `-1`; write a whole number from 0 to 1000000000"),
            ("{no_new_wildcards: 1}", "f:1:20: `no_new_wildcards` is `1`; write `true` or `false`"),
            ("{no_new_host: true}", "f:1:2: unknown key `no_new_host`"),
        ] {
            let (guard, faults) = field_of(text, policy_guard);
            assert!(faults.len() == 1 && faults[0].starts_with(fault), "{text}: {faults:?}");
            assert_eq!(guard, PolicyGuard::default(), "{text}");
        }
    }
}
