//! The located tree: what a document says, with the place of each value and key.
//! Not here: types that a key wants (`field`). A number stays as it was written, so nothing is lost or guessed.
//! Source: YAML 1.2.2, section 10.3 (core schema), less its anchors and tags.

use super::fault::{Located, Place};

/// One value and where it starts. Kept lean: a policy may hold a million of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where the value starts; for a value left out, where it would stand.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

impl Node {
    /// Whether this is the word `none`, which means absence wherever something may be absent.
    pub fn is_none(&self) -> bool {
        matches!(&self.value, Value::Text(text, _) if &**text == "none")
    }
}

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `~`, `null`, or nothing at all.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A plain scalar that is a number in the core schema, as written.
    Number(Box<str>),
    /// Any other scalar.
    Text(Box<str>, Style),
    /// A sequence.
    List(Box<[Node]>),
    /// A mapping in the document's order, without duplicate keys.
    Map(Box<[Entry]>),
    /// Something that was refused and reported already, such as an alias; whoever reads it says no more.
    Refused,
}

/// How a text came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// In quotes, or a block.
    Quoted,
    /// Put together from environment variables; may stand for a number or a boolean too.
    Expanded,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Located<Box<str>>,
    /// Its value.
    pub node: Node,
}
