//! From text to tree, within named bounds. What YAML has and this product refuses is reported, and reading goes on.
//! Not here: YAML's grammar, which is granit-parser's (the reader below serde-saphyr, which re-exports it).
//! Source: YAML 1.2.2; the contract: no merge keys, no duplicate keys; anchors and tags are refused as well.

use std::collections::{HashMap, HashSet};

use serde_saphyr::granit_parser::{Event, Marker, Options, Parser, ScalarStyle, ScanError, Tag};

use super::fault::{Faults, Located, Place};
use super::node::{Entry, Node, Style, Value};
use super::scalar;
use super::syntax;

/// Upper bound in bytes for a document: a policy of a million names has about 30 MB.
pub const MAX_BYTES: usize = 64 << 20;

/// Upper bound for lists and mappings inside each other: a policy needs six.
pub const MAX_DEPTH: usize = 32;

/// Upper bound for values in a document, and so for the tree's memory (about 50 bytes each):
/// a million names need one million, 100,000 rules with every key about three.
pub const MAX_NODES: usize = 8_000_000;

/// Reads one document; `file` is the caller's index of it. A document without anything is [`Value::Null`].
/// What the grammar forbids, and what exceeds a bound, is one fault at its place and no tree.
pub fn parse(text: &str, file: u32, faults: &mut Faults) -> Option<Node> {
    let start = Place { file, line: 1, column: 1 };
    if text.len() > MAX_BYTES {
        faults.at(start, format!("the file has more than {} MiB; split it", MAX_BYTES >> 20));
        return None;
    }
    let mut composer = Composer { file, stack: Vec::new(), nodes: 0, root: None, faults };
    for event in Parser::new_from_str_with_options(text, options()) {
        match event {
            Ok((Event::StreamEnd, _)) => break,
            Ok((event, span)) => {
                let tag = span.tag_start.map(|mark| composer.place(mark));
                let place = composer.place(span.start);
                composer.event(event, place, tag.unwrap_or(place)).ok()?;
            }
            Err(error) => {
                composer.syntax(&error);
                return None;
            }
        }
    }
    Some(composer.root.unwrap_or(Node { place: start, value: Value::Null }))
}

/// Directives would change what a document means; the nesting bounds keep the scanner's memory small.
fn options() -> Options {
    serde_saphyr::granit_parser::options! {
        disallow_directives: true,
        emit_anchor_events: true,
        emit_unresolved_aliases: true,
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    }
}

/// A bound is exceeded; the fault is reported and nothing more is read.
struct Exceeded;

/// A list or mapping that is not closed yet.
struct Open {
    place: Place,
    kind: Kind,
}

enum Kind {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, key: Key },
}

/// What a mapping waits for.
enum Key {
    /// A key.
    Wanted,
    /// The value of this key.
    Of(Located<Box<str>>),
    /// The value of a key that was refused; it is read and left out.
    Refused,
}

struct Composer<'f> {
    file: u32,
    stack: Vec<Open>,
    nodes: usize,
    root: Option<Node>,
    faults: &'f mut Faults,
}

impl Composer<'_> {
    fn place(&self, mark: Marker) -> Place {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Place { file: self.file, line: number(mark.line().max(1)), column: number(mark.col().saturating_add(1)) }
    }

    fn syntax(&mut self, error: &ScanError) {
        let place = self.place(*error.marker());
        self.faults.at(place, syntax::message(error));
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the enum is open; an event that is unknown must not be skipped"
    )]
    fn event(&mut self, event: Event<'_>, place: Place, tag_place: Place) -> Result<(), Exceeded> {
        match event {
            Event::StreamStart | Event::DocumentEnd => {}
            Event::DocumentStart(..) => return self.document(place),
            Event::Scalar(text, style, _, tag) => {
                self.tag(tag.as_deref(), tag_place);
                let value = match style {
                    ScalarStyle::Plain => scalar::resolve(&text),
                    _ => Value::Text(text.into(), Style::Quoted),
                };
                return self.add(Node { place, value });
            }
            Event::SequenceStart(_, _, tag) => {
                self.tag(tag.as_deref(), tag_place);
                return self.open(place, Kind::List(Vec::new()));
            }
            Event::MappingStart(_, _, tag) => {
                self.tag(tag.as_deref(), tag_place);
                return self.open(place, Kind::Map { entries: Vec::new(), key: Key::Wanted });
            }
            Event::SequenceEnd | Event::MappingEnd => return self.close(),
            Event::Anchor(..) => {
                self.faults.at(place, "anchors (`&name`) are not accepted; write the value out where it is needed")
            }
            Event::Alias(_) => {
                return self.alias(place, "aliases (`*name`) are not accepted; write the value out".to_owned());
            }
            Event::UnresolvedAlias(name) => {
                let text = self.faults.shown(&format!("\"*{name}\""));
                return self.alias(place, format!("a text that starts with `*` needs quotes; write {text}"));
            }
            _ => {
                self.faults.at(place, "this piece of YAML is not accepted; write plain keys, lists and values");
                return Err(Exceeded);
            }
        }
        Ok(())
    }

    /// One document a file: a reader that took only the first would lose the rest.
    fn document(&mut self, place: Place) -> Result<(), Exceeded> {
        if self.root.is_none() {
            return Ok(());
        }
        self.faults
            .at(place, "a second document begins here; write one document a file, without `---` or `...` inside");
        Err(Exceeded)
    }

    fn alias(&mut self, place: Place, message: String) -> Result<(), Exceeded> {
        self.faults.at(place, message);
        self.add(Node { place, value: Value::Refused })
    }

    fn tag(&mut self, tag: Option<&Tag>, place: Place) {
        if tag.is_some() {
            self.faults.at(
                place,
                "tags (`!name`) are not accepted; remove it (a text that looks like a number goes in quotes)",
            );
        }
    }

    fn open(&mut self, place: Place, kind: Kind) -> Result<(), Exceeded> {
        if self.stack.len() >= MAX_DEPTH {
            self.faults.at(place, format!("more than {MAX_DEPTH} lists and mappings inside each other; write fewer"));
            return Err(Exceeded);
        }
        self.stack.push(Open { place, kind });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Exceeded> {
        let Some(Open { place, kind }) = self.stack.pop() else { return Ok(()) };
        let value = match kind {
            Kind::List(items) => Value::List(items.into_boxed_slice()),
            Kind::Map { entries, .. } => Value::Map(unique(entries, self.faults).into_boxed_slice()),
        };
        self.add(Node { place, value })
    }

    /// Puts a finished value where it belongs: a list, a mapping's key or value, or the root.
    fn add(&mut self, node: Node) -> Result<(), Exceeded> {
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > MAX_NODES {
            self.faults.at(node.place, format!("more than {MAX_NODES} values in one file; split it"));
            return Err(Exceeded);
        }
        match self.stack.last_mut().map(|open| &mut open.kind) {
            None => self.root = Some(node),
            Some(Kind::List(items)) => items.push(node),
            Some(Kind::Map { entries, key }) => match std::mem::replace(key, Key::Wanted) {
                Key::Wanted => *key = as_key(node, self.faults),
                Key::Refused => {}
                Key::Of(key) => entries.push(Entry { key, node }),
            },
        }
        Ok(())
    }
}

fn as_key(node: Node, faults: &mut Faults) -> Key {
    let message = match node.value {
        Value::Text(text, Style::Plain) if &*text == "<<" => "merge keys (`<<`) are not accepted; write the keys out",
        Value::Text(text, _) | Value::Number(text) => return Key::Of(Located { value: text, place: node.place }),
        Value::Bool(value) => return Key::Of(Located { value: value.to_string().into(), place: node.place }),
        Value::Null => "a key is empty; write its name before the `:`",
        Value::List(_) | Value::Map(_) => {
            "a key is a list or mapping; write a name (a text with `[` or `{` goes in quotes)"
        }
        Value::Refused => return Key::Refused,
    };
    faults.at(node.place, message);
    Key::Refused
}

/// The entries whose key stands for the first time; the others are faults at their keys.
fn unique(mut entries: Vec<Entry>, faults: &mut Faults) -> Vec<Entry> {
    let mut first: HashMap<&str, Place> = HashMap::with_capacity(entries.len());
    let mut repeated: HashSet<Place> = HashSet::new();
    for Entry { key, .. } in &entries {
        let place = *first.entry(&key.value).or_insert(key.place);
        if place != key.place {
            let (name, line) = (faults.shown(&key.value), place.line);
            let message = format!("{name} is given twice, first in line {line}; remove one of the two");
            faults.at(key.place, message);
            repeated.insert(key.place);
        }
    }
    entries.retain(|entry| !repeated.contains(&entry.key.place));
    entries
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
