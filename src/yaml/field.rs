//! Typed takers: a node becomes a value of the type its key wants, or a fault that says what to write.
//! Not here: which keys there are (`map`). A fault never stops the reading; the taker returns `None`.
//! Source: the contract's page on `sallyport.yaml` (booleans, durations, sizes).

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::fault::{Faults, Located, Place};
use super::map::{MapReader, not_available};
use super::node::{Entry, Node, Style, Value};
use super::{scalar, units};

/// A key's value, or an item of a key's list, about to be read.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    name: &'a str,
    key_place: Place,
    node: &'a Node,
}

impl<'a> Field<'a> {
    /// The value `node` of the key `name` at `key_place`.
    pub fn new(name: &'a str, key_place: Place, node: &'a Node) -> Self {
        Self { name, key_place, node }
    }

    /// The key; for a list's item, the list's key.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Where the value starts.
    pub fn place(&self) -> Place {
        self.node.place
    }

    /// Where the key starts; for a list's item, the list's key.
    pub fn key_place(&self) -> Place {
        self.key_place
    }

    /// The value itself.
    pub fn node(&self) -> &'a Node {
        self.node
    }

    /// `value` with this field's place.
    pub fn located<T>(&self, value: T) -> Located<T> {
        Located { value, place: self.place() }
    }

    /// Reports a fault at this value.
    pub fn fault(&self, message: impl Into<String>, faults: &mut Faults) {
        faults.at(self.place(), message);
    }

    /// A text. Numbers and booleans without quotes, and empty texts, are faults.
    pub fn text(&self, faults: &mut Faults) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text, _) if text.is_empty() => {
                self.fault(format!("`{}` is empty; write a text", self.name), faults);
                None
            }
            Value::Text(text, _) => Some(text),
            Value::Number(written) => self.quote("a number", written, faults),
            Value::Bool(value) => self.quote("a boolean", &value.to_string(), faults),
            Value::Null | Value::List(_) | Value::Map(_) | Value::Refused => self.wrong("a text", faults),
        }
    }

    /// A text that `T` accepts; its error's text is the fault.
    pub fn parse<T: FromStr<Err: Display>>(&self, faults: &mut Faults) -> Option<T> {
        self.read(str::parse, faults)
    }

    /// A text that `read` accepts; its error's text is the fault.
    pub fn read<T, E: Display>(&self, read: impl FnOnce(&str) -> Result<T, E>, faults: &mut Faults) -> Option<T> {
        match read(self.text(faults)?) {
            Ok(value) => Some(value),
            Err(error) => {
                self.fault(error.to_string(), faults);
                None
            }
        }
    }

    /// `true` or `false`.
    pub fn boolean(&self, faults: &mut Faults) -> Option<bool> {
        match &self.node.value {
            Value::Bool(value) => Some(*value),
            Value::Text(text, Style::Expanded) if &**text == "true" => Some(true),
            Value::Text(text, Style::Expanded) if &**text == "false" => Some(false),
            Value::Null | Value::Number(_) | Value::Text(..) | Value::List(_) | Value::Map(_) | Value::Refused => {
                self.wrong("`true` or `false`, without quotes", faults)
            }
        }
    }

    /// A whole number in decimal digits within `range`.
    pub fn number(&self, range: RangeInclusive<u64>, faults: &mut Faults) -> Option<u64> {
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        let value = match &self.node.value {
            Value::Number(written) | Value::Text(written, Style::Expanded) => units::whole(written),
            Value::Text(text, Style::Quoted) if units::whole(text).is_some() => {
                self.fault(format!("`{}` is a text; write the number without quotes", self.name), faults);
                return None;
            }
            Value::Null | Value::Bool(_) | Value::Text(..) | Value::List(_) | Value::Map(_) | Value::Refused => None,
        };
        match value {
            Some(value) if range.contains(&value) => Some(value),
            _ => self.wrong(&wanted, faults),
        }
    }

    /// A duration such as `500ms 10s 5m 2h 30d` within `range`.
    pub fn duration(&self, range: RangeInclusive<Duration>, faults: &mut Faults) -> Option<Duration> {
        let value = self.measured("s", "a duration", units::duration, faults)?;
        let (least, most) = (units::duration_text(*range.start()), units::duration_text(*range.end()));
        self.within(value, &range, (&least, &most), faults)
    }

    /// A size in bytes such as `64KiB 2GiB` within `range`.
    pub fn size(&self, range: RangeInclusive<u64>, faults: &mut Faults) -> Option<u64> {
        let value = self.measured("KiB", "a size", units::size, faults)?;
        let (least, most) = (units::size_text(*range.start()), units::size_text(*range.end()));
        self.within(value, &range, (&least, &most), faults)
    }

    /// One of a closed set of words.
    pub fn word<T: Copy>(&self, words: &[(&str, T)], faults: &mut Faults) -> Option<T> {
        self.word_of(words, &[], faults)
    }

    /// A key of which this version has `word` alone, which is what it does anyway; the words in `later` are
    /// `not available in this version`.
    pub fn only(&self, word: &str, later: &[&str], faults: &mut Faults) {
        self.word_of(&[(word, ())], later, faults);
    }

    fn word_of<T: Copy>(&self, words: &[(&str, T)], later: &[&str], faults: &mut Faults) -> Option<T> {
        match &self.node.value {
            Value::Text(text, style) => {
                let found = words.iter().find(|(word, _)| *word == &**text).map(|(_, value)| *value);
                if found.is_none() && later.contains(&&**text) {
                    self.fault(not_available(&format!("{}: {text}", self.name)), faults);
                } else if found.is_none() {
                    let old = *style == Style::Plain && scalar::is_old_boolean(text);
                    let why = if old { ", which many YAML readers take for a boolean" } else { "" };
                    let (found, wanted) = (faults.shown(text), words_wanted(words, later));
                    self.fault(format!("`{}` is {found}{why}; write {wanted}", self.name), faults);
                }
                found
            }
            Value::Number(written) if words.iter().any(|(word, _)| *word == &**written) => {
                self.quote("a number", written, faults)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_) | Value::Refused => {
                self.wrong(&words_wanted(words, later), faults)
            }
        }
    }

    /// The items of a list, each a field of the list's name.
    pub fn list(&self, faults: &mut Faults) -> Option<impl ExactSizeIterator<Item = Field<'a>> + use<'a>> {
        let field = *self;
        match &self.node.value {
            Value::List(items) => Some(items.iter().map(move |node| Field { node, ..field })),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(..) | Value::Map(_) | Value::Refused => {
                self.wrong("a list, as `[…]` or a `- …` a line", faults)
            }
        }
    }

    /// The items of a list through `read`; those that it refuses, and reports, are left out.
    pub fn list_of<T>(
        &self,
        faults: &mut Faults,
        mut read: impl FnMut(Field<'a>, &mut Faults) -> Option<T>,
    ) -> Option<Vec<T>> {
        Some(self.list(faults)?.filter_map(|item| read(item, faults)).collect())
    }

    /// A mapping with known keys. `what` names it in faults: `a rule`, `` `limits` ``.
    pub fn map(&self, what: &'static str, faults: &mut Faults) -> Option<MapReader<'a>> {
        MapReader::new(self.node, what, faults)
    }

    /// The entries of a mapping whose keys are free, such as names of pools: each a field of its key's name. One that
    /// is `none` is left out.
    pub fn entries(&self, faults: &mut Faults) -> Option<impl Iterator<Item = Field<'a>> + use<'a>> {
        match &self.node.value {
            Value::Map(entries) => {
                let there = entries.iter().filter(|entry| !entry.node.is_none());
                Some(there.map(|Entry { key, node }| Field::new(&key.value, key.place, node)))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(..) | Value::List(_) | Value::Refused => {
                self.wrong("a mapping, as `name: value`", faults)
            }
        }
    }

    /// A text with a unit; a bare number lacks it.
    fn measured<T, E: Display>(
        &self,
        unit: &str,
        what: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
        faults: &mut Faults,
    ) -> Option<T> {
        match &self.node.value {
            Value::Number(written) => {
                let (found, instead) = (faults.shown(written), faults.shown(&format!("{written}{unit}")));
                self.fault(
                    format!("`{}` is {found}, without a unit; write {what} such as {instead}", self.name),
                    faults,
                );
                None
            }
            Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) | Value::Refused => self.wrong(what, faults),
            Value::Text(..) => self.read(read, faults),
        }
    }

    fn within<T: PartialOrd>(
        &self,
        value: T,
        range: &RangeInclusive<T>,
        (least, most): (&str, &str),
        faults: &mut Faults,
    ) -> Option<T> {
        if range.contains(&value) {
            return Some(value);
        }
        self.wrong(&format!("from `{least}` to `{most}`"), faults)
    }

    fn quote<T>(&self, what: &str, written: &str, faults: &mut Faults) -> Option<T> {
        let (found, instead) = (faults.shown(written), faults.shown(&format!("\"{written}\"")));
        self.fault(format!("`{}` is {what}, {found}; write it in quotes: {instead}", self.name), faults);
        None
    }

    fn wrong<T>(&self, wanted: &str, faults: &mut Faults) -> Option<T> {
        match &self.node.value {
            Value::Refused => {}
            Value::Null => self.fault(format!("`{}` has no value; write {wanted}, or remove it", self.name), faults),
            found @ (Value::Bool(_) | Value::Number(_) | Value::Text(..) | Value::List(_) | Value::Map(_)) => {
                let found = describe(found, faults);
                self.fault(format!("`{}` is {found}; write {wanted}", self.name), faults);
            }
        }
        None
    }
}

/// The words there are, for a fault, and those that only the contract has.
fn words_wanted<T>(words: &[(&str, T)], later: &[&str]) -> String {
    let list = |words: &mut dyn Iterator<Item = &str>| words.map(|word| format!("`{word}`")).collect::<Vec<_>>();
    let (now, later) = (list(&mut words.iter().map(|(word, _)| *word)), list(&mut later.iter().copied()));
    let of = if now.len() == 1 { "" } else { "one of " };
    let now = now.join(", ");
    match later.as_slice() {
        [] => format!("{of}{now}"),
        [word] => format!("{of}{now} ({word} is not available in this version)"),
        several => format!("{of}{now} ({} are not available in this version)", several.join(", ")),
    }
}

/// A value in a fault: `a list`, or the scalar itself.
pub fn describe(value: &Value, faults: &Faults) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => faults.shown(&value.to_string()),
        Value::Number(text) | Value::Text(text, _) => faults.shown(text),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a mapping".to_owned(),
        Value::Refused => "refused".to_owned(),
    }
}

#[cfg(test)]
#[path = "field_tests.rs"]
mod tests;
