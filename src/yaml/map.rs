//! Takes the known keys of a mapping one by one; what is left at the end is a fault.
//! Not here: the values' types (`field`).
//! Source: the contract: unknown keys are errors; keys of a later version are refused, never ignored.

use super::fault::{Faults, Place, shown};
use super::field::{Field, describe};
use super::node::{Entry, Node, Value};

/// A mapping being read. Ask for each known key, then call [`MapReader::finish`].
#[derive(Debug)]
#[must_use = "keys that nobody knows are found by `finish`"]
pub struct MapReader<'a> {
    what: &'static str,
    place: Place,
    entries: &'a [Entry],
    known: Vec<&'static str>,
}

impl<'a> MapReader<'a> {
    /// Reads `node` as a mapping; anything else is a fault. `what` names it there: `the configuration`, `a rule`.
    pub fn new(node: &'a Node, what: &'static str, faults: &mut Faults) -> Option<Self> {
        match &node.value {
            Value::Map(entries) => Some(Self { what, place: node.place, entries, known: Vec::new() }),
            Value::Null => {
                faults.at(node.place, format!("{what} is empty; write its keys, one a line, as `key: value`"));
                None
            }
            Value::Refused => None,
            Value::Bool(_) | Value::Number(_) | Value::Text(..) | Value::List(_) => {
                let found = describe(&node.value, faults);
                faults.at(node.place, format!("{what} is {found}; write a mapping, as `key: value`"));
                None
            }
        }
    }

    /// Where the mapping starts: at its first key, or its `{`.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The value of `key`, if it is given; `none` is the same as no key at all, for every key. From now on the key is known.
    pub fn take(&mut self, key: &'static str) -> Option<Field<'a>> {
        self.written(key).filter(|field| !field.node().is_none())
    }

    /// Whether `key` is written as `none`: for a key whose default is something, where `none` turns it off.
    pub fn is_none(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| &*entry.key.value == key && entry.node.is_none())
    }

    /// The value of `key`; if it is not given, that is a fault at the mapping's place, or at the `none`.
    pub fn require(&mut self, key: &'static str, faults: &mut Faults) -> Option<Field<'a>> {
        let field = self.written(key);
        match field {
            Some(field) if field.node().is_none() => {
                field.fault(format!("`{key}` is `none`, but {} needs one; write it", self.what), faults);
                None
            }
            None => {
                faults.at(self.place, format!("{} lacks `{key}`; add it", self.what));
                None
            }
            Some(_) => field,
        }
    }

    /// The value of `key`, `none` too: for a key of which `none` says something that no key at all doesn't.
    pub fn written(&mut self, key: &'static str) -> Option<Field<'a>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let entry = self.entries.iter().find(|entry| &*entry.key.value == key)?;
        Some(Field::new(&entry.key.value, entry.key.place, &entry.node))
    }

    /// Every key that nobody asked for is a fault: `not available in this version` for those in `later`, unless
    /// their value is `none`, which is what this version does; else unknown, with the known key most like it.
    pub fn finish(self, later: &[&str], faults: &mut Faults) {
        for Entry { key, node } in self.entries {
            let name = &*key.value;
            let later_key = later.contains(&name);
            if self.known.contains(&name) || (later_key && node.is_none()) {
                continue;
            }
            let message = if later_key {
                not_available(name)
            } else if let Some(near) = nearest(name, self.known.iter().copied()) {
                format!("unknown key {}; did you mean `{near}`?", faults.shown(name))
            } else {
                format!("unknown key {} in {}; remove it", faults.shown(name), self.what)
            };
            faults.at(key.place, message);
        }
    }
}

/// The fault for what the contract has and this version lacks.
pub fn not_available(what: &str) -> String {
    format!("{} is not available in this version; remove it", shown(what))
}

/// The candidate that looks most like `text`, if any does: at most one typing mistake in three characters.
pub fn nearest<'c>(text: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    /// Upper bound in bytes for a text worth comparing; names are shorter, and the comparison is quadratic.
    const MAX_COMPARED: usize = 64;
    if text.len() > MAX_COMPARED {
        return None;
    }
    let bound = text.chars().count().checked_div(3).unwrap_or_default().max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= MAX_COMPARED)
        .map(|candidate| (strsim::damerau_levenshtein(text, candidate), candidate))
        .filter(|(distance, _)| *distance <= bound)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn faults_of(text: &str) -> Vec<String> {
        let mut faults = Faults::new();
        let node = parse(text, 0, &mut faults).unwrap();
        if let Some(mut map) = MapReader::new(&node, "a rule", &mut faults) {
            map.require("id", &mut faults);
            map.take("ports");
            map.take("purpose");
            map.finish(&["limits"], &mut faults);
        }
        faults.iter().map(|fault| fault.line(&["f"])).collect()
    }

    #[test]
    fn keys() {
        for (name, text, want) in [
            ("all is well", "id: a\nports: 1\npurpose: x\n", &[][..]),
            ("a typing mistake", "id: a\nportz: 1\n", &["f:2:1: unknown key `portz`; did you mean `ports`?"]),
            ("nothing like it", "id: a\n  \nzzz: 1\n", &["f:3:1: unknown key `zzz` in a rule; remove it"]),
            (
                "of a later version",
                "id: a\nlimits: {}\n",
                &["f:2:1: `limits` is not available in this version; remove it"],
            ),
            ("of a later version, but absent", "id: a\nlimits: none\n", &[]),
            ("a key that must be there", "\nports: 1\n", &["f:2:1: a rule lacks `id`; add it"]),
            ("none is absence", "id: a\nports: none\npurpose: none\n", &[]),
            ("absent where it must be", "id: none\n", &["f:1:5: `id` is `none`, but a rule needs one; write it"]),
            ("nothing", "", &["f:1:1: a rule is empty; write its keys, one a line, as `key: value`"]),
            ("a list", "- id\n", &["f:1:1: a rule is a list; write a mapping, as `key: value`"]),
            ("a text", "id\n", &["f:1:1: a rule is `id`; write a mapping, as `key: value`"]),
        ] {
            assert_eq!(faults_of(text), want, "{name}");
        }
    }

    #[test]
    fn what_looks_alike() {
        let keys = ["ports", "purpose", "owner", "sni"];
        for (text, want) in [
            ("portz", Some("ports")),
            ("Purpose", Some("purpose")),
            ("onwer", Some("owner")),
            ("sin", Some("sni")),
            ("tls", None),
            ("", None),
        ] {
            assert_eq!(nearest(text, keys), want, "`{text}`");
        }
        assert_eq!(nearest(&"x".repeat(1 << 20), keys), None);
    }
}
