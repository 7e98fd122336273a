//! `redaction`: what must not be written beside what is known everywhere, and how often the proxy tests that on itself.
//! Not here: finding it (`redact`), the test (`runtime::canary`).
//! Source: the contract's `redaction` key.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::redact::{FieldName, Pattern, Redactor};
use crate::yaml::{Faults, Field};

/// Upper bound for the patterns: every text is searched for each of them.
const MAX_PATTERNS: usize = 32;

/// How often the canary may run: each run leaves four records, and less than once in a month is no test.
const CANARY: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_hours(30 * 24);

/// What redaction looks for beside what it knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redaction {
    /// Names of fields whose values are never written.
    pub private_fields: Vec<FieldName>,
    /// What is never written wherever it stands.
    pub patterns: Vec<Pattern>,
    /// How often the proxy tests its redaction on itself; `None`: never.
    pub canary: Option<Duration>,
}

impl Redaction {
    /// What cleans by it.
    pub fn redactor(&self) -> Redactor {
        Redactor::new(&self.private_fields, &self.patterns)
    }
}

/// Reads `redaction`.
pub fn redaction(field: Option<Field<'_>>, faults: &mut Faults) -> Redaction {
    let Some(mut map) = field.and_then(|field| field.map("`redaction`", faults)) else { return Redaction::default() };
    let fields = map.take("private_fields");
    let names = fields.and_then(|field| field.list_of(faults, |item, faults| item.parse::<FieldName>(faults)));
    let private_fields = names.unwrap_or_default();
    let patterns = map.take("patterns").and_then(|field| patterns(field, &private_fields, faults)).unwrap_or_default();
    let canary = map.take("canary").and_then(|field| field.duration(CANARY, faults));
    map.finish(&[], faults);
    Redaction { private_fields, patterns, canary }
}

fn patterns(field: Field<'_>, private_fields: &[FieldName], faults: &mut Faults) -> Option<Vec<Pattern>> {
    let read: Vec<(Field<'_>, Pattern)> = field.list_of(faults, |item, faults| Some((item, pattern(item, faults)?)))?;
    if read.len() > MAX_PATTERNS {
        field.fault(format!("{} patterns; write at most {MAX_PATTERNS}", read.len()), faults);
    }
    for (at, (item, pattern)) in read.iter().enumerate() {
        let name = pattern.name();
        if read.iter().take(at).any(|(_, other)| other.name() == name) {
            item.fault(format!("a pattern named `{name}` stands above already; write another name"), faults);
        }
        let names = read.iter().map(|(_, other)| other.name()).chain(private_fields);
        if let Some(error) = names.filter_map(|name| pattern.check(name).err()).next() {
            item.fault(error.to_string(), faults);
        }
    }
    Some(read.into_iter().map(|(_, pattern)| pattern).collect())
}

fn pattern(item: Field<'_>, faults: &mut Faults) -> Option<Pattern> {
    let mut map = item.map("a pattern", faults)?;
    let name = map.require("name", faults).and_then(|field| field.parse::<FieldName>(faults));
    let text = map.require("pattern", faults).and_then(|field| Some((field, field.text(faults)?)));
    map.finish(&[], faults);
    let (name, (field, text)) = (name?, text?);
    Pattern::new(name, text).map_err(|error| field.fault(error.to_string(), faults)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{LEAST, read};
    use crate::yaml;

    #[test]
    fn the_canary_runs_each_minute_to_each_month() {
        let hours = |hours| Ok(Some(Duration::from_hours(hours)));
        for (text, want) in [
            ("canary: 1d", hours(24)),
            ("canary: 60s", Ok(Some(Duration::from_secs(60)))),
            ("canary: 30d", hours(720)),
            ("canary: none", Ok(None)),
            ("private_fields: []", Ok(None)),
            ("canary: 59s", Err("f:1:9: `canary` is `59s`; write from `1m` to `30d`")),
            ("canary: 31d", Err("f:1:9: `canary` is `31d`; write from `1m` to `30d`")),
            ("canary: 7", Err("f:1:9: `canary` is `7`, without a unit; write a duration such as `7s`")),
        ] {
            let mut faults = Faults::new();
            let root = yaml::parse(text, 0, &mut faults).unwrap();
            let read = redaction(Some(Field::new("redaction", root.place, &root)), &mut faults);
            let faults: Vec<String> = faults.iter().map(|fault| fault.line(&["f"])).collect();
            match want {
                Ok(want) => assert_eq!((read.canary, faults), (want, Vec::new()), "{text}"),
                Err(want) => assert_eq!(faults, [want], "{text}"),
            }
        }
    }

    #[test]
    fn patterns_are_bounded_in_number() {
        let patterns = |count: usize| {
            let all: Vec<String> = (0..count).map(|at| format!("{{name: p{at}, pattern: ORD-{at}}}")).collect();
            read(&format!("{LEAST}redaction: {{patterns: [{}]}}\n", all.join(", "))).1
        };
        assert_eq!(patterns(32), Vec::<String>::new());
        assert!(patterns(33)[0].starts_with("f:3:23: 33 patterns; write at most 32"), "{:?}", patterns(33));
    }

    /// One line behind the least configuration, so at line 3, and its only fault.
    #[test]
    fn faults_of_patterns() {
        for (inner, column, want) in [
            ("patterns: [{name: a}]", 24, "a pattern lacks `pattern`; add it"),
            ("patterns: [{name: a b, pattern: ORD}]", 31, "not the name of a field; write 1 to 64 of"),
            ("patterns: [{name: a, pattern: 'O(?=R)'}]", 43, "not a pattern: look-around, including"),
            ("patterns: [{name: a, pattern: 'O*'}]", 43, "the pattern also matches where nothing stands"),
            (
                "patterns: [{name: a, pattern: O-1}, {name: a, pattern: O-2}]",
                49,
                "a pattern named `a` stands above already; write another name",
            ),
            (
                "private_fields: [cust], patterns: [{name: a, pattern: cu.t}]",
                48,
                "the pattern also matches a part of the mark `[private:cust]`; write one",
            ),
        ] {
            let (_, faults) = read(&format!("{LEAST}redaction: {{{inner}}}\n"));
            assert_eq!(faults.len(), 1, "`{inner}`: {faults:#?}");
            let want = format!("f:3:{column}: {want}");
            assert!(faults[0].starts_with(&want), "`{inner}`:\n  {}\n  {want}", faults[0]);
        }
    }
}
