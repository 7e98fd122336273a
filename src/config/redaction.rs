//! `redaction`: what must not be written beside what is known everywhere.
//! Not here: finding it (`redact`).
//! Source: the contract's `redaction` key.

use crate::redact::{FieldName, Pattern, Redactor};
use crate::yaml::{Faults, Field};

/// Upper bound for the patterns: every text is searched for each of them.
const MAX_PATTERNS: usize = 32;

/// What redaction looks for beside what it knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redaction {
    /// Names of fields whose values are never written.
    pub private_fields: Vec<FieldName>,
    /// What is never written wherever it stands.
    pub patterns: Vec<Pattern>,
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
    map.finish(&[], faults);
    Redaction { private_fields, patterns }
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
