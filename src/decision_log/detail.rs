//! What is particular to a kind of record: a small map that the proxy itself builds.
//! Not here: the fields that every kind may have (`record`).

use std::sync::Arc;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use uuid::Uuid;

use crate::redact::Redacted;

/// The field `detail`: words of ours to values, in the order in which they were put there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Detail(Vec<(&'static str, Value)>);

/// A value in [`Detail`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// Yes or no.
    Flag(bool),
    /// A count, or an amount whose unit is in its word.
    Count(u64),
    /// A difference.
    Offset(i64),
    /// A word of ours.
    Word(&'static str),
    /// A name from the configuration or the policy.
    Name(Arc<str>),
    /// The id of something that other records tell of.
    Id(Uuid),
    /// A text from outside.
    Text(Redacted),
    /// Several values.
    List(Vec<Value>),
    /// A map in the map.
    Map(Detail),
}

impl Detail {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `word: value`; each word once.
    #[must_use]
    pub fn with(mut self, word: &'static str, value: impl Into<Value>) -> Self {
        self.add(word, value);
        self
    }

    /// The same, in place.
    pub fn add(&mut self, word: &'static str, value: impl Into<Value>) {
        self.0.push((word, value.into()));
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Detail {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (word, value) in &self.0 {
            map.serialize_entry(word, value)?;
        }
        map.end()
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<i64> for Value {
    fn from(offset: i64) -> Self {
        Self::Offset(offset)
    }
}

impl From<&'static str> for Value {
    fn from(word: &'static str) -> Self {
        Self::Word(word)
    }
}

impl From<Arc<str>> for Value {
    fn from(name: Arc<str>) -> Self {
        Self::Name(name)
    }
}

impl From<Uuid> for Value {
    fn from(id: Uuid) -> Self {
        Self::Id(id)
    }
}

impl From<Redacted> for Value {
    fn from(text: Redacted) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<Value>> for Value {
    fn from(values: Vec<Value>) -> Self {
        Self::List(values)
    }
}

impl From<Detail> for Value {
    fn from(detail: Detail) -> Self {
        Self::Map(detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::clean;

    #[test]
    fn keeps_order_and_kinds() {
        let detail = Detail::new()
            .with("what", "log_failed")
            .with("count", 7_u64)
            .with("offset_ms", -3_i64)
            .with("new", true)
            .with("id", Uuid::nil())
            .with("rule", Arc::<str>::from("acme/payments"))
            .with("said", clean(b"4111111111111111\n", 100).text)
            .with("list", vec![Value::Count(1), Value::Word("a")])
            .with("inner", Detail::new().with("z", 1_u64).with("a", 2_u64));
        assert_eq!(
            serde_json::to_string(&detail).unwrap(),
            r#"{"what":"log_failed","count":7,"offset_ms":-3,"new":true,"id":"00000000-0000-0000-0000-000000000000","rule":"acme/payments","said":"[PAN:visa:16]\\u{a}","list":[1,"a"],"inner":{"z":1,"a":2}}"#
        );
        assert!(Detail::new().is_empty());
    }
}
