//! One JSON object as it grows, field by field.
//! Not here: which fields (`Record`). Source: RFC 8259 sections 4 and 7.
//!
//! Nearly every text of a record is free of what JSON escapes; finding that out at once and copying it whole made a record a third cheaper
//! than escaping byte by byte.

use std::fmt::Display;
use std::io::Write;

use serde::Serialize;

/// An object whose fields are written in the order in which they are added.
pub(super) struct Object(Vec<u8>);

impl Object {
    /// An object without fields that may grow to `capacity` bytes without moving.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.push(b'{');
        Self(bytes)
    }

    /// A text; `None` is not written.
    pub(super) fn text(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.key(key);
            self.string(text);
        }
    }

    /// Anything else that serde writes; `None` is not written.
    pub(super) fn value(&mut self, key: &str, value: Option<impl Serialize>) {
        if let Some(value) = value {
            self.key(key);
            self.serialised(&value);
        }
    }

    /// A list; an empty one is not written.
    pub(super) fn list(&mut self, key: &str, list: &[impl Serialize]) {
        self.value(key, Some(list).filter(|list| !list.is_empty()));
    }

    /// What shows itself without a character that JSON escapes.
    pub(super) fn shown(&mut self, key: &str, shown: impl Display) {
        self.key(key);
        // Memory takes every byte.
        let _ = write!(self.0, "\"{shown}\"");
    }

    /// The whole object.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }

    fn key(&mut self, key: &str) {
        self.0.extend_from_slice(if self.0.len() > 1 { b",\"" } else { b"\"" });
        self.0.extend_from_slice(key.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn string(&mut self, text: &str) {
        if is_plain(text) {
            self.0.push(b'"');
            self.0.extend_from_slice(text.as_bytes());
            self.0.push(b'"');
        } else {
            self.serialised(&text);
        }
    }

    #[expect(clippy::expect_used, reason = "every key is a string and memory takes every byte, so this can't fail")]
    fn serialised(&mut self, value: &impl Serialize) {
        serde_json::to_writer(&mut self.0, value).expect("a field serialises");
    }
}

/// Whether a text stands in JSON as it is. Without an early end, so that it is done in wide registers.
fn is_plain(text: &str) -> bool {
    text.bytes().fold(true, |plain, byte| plain & (byte >= b' ') & (byte != b'"') & (byte != b'\\'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_a_text_holds_reads_back(text in "[\\x00-\\x7f\u{7f}-\u{10ffff}]{0,40}", other in any::<u64>()) {
            let mut object = Object::with_capacity(0);
            object.text("a", Some(&text));
            object.text("b", None);
            object.value("c", Some(other));
            object.list("d", &[&text]);
            object.list("e", &[(); 0]);
            object.shown("f", 7);
            let read: serde_json::Value = serde_json::from_slice(&object.finish()).unwrap();
            prop_assert_eq!(read, serde_json::json!({"a": text, "c": other, "d": [text], "f": "7"}));
        }
    }

    #[test]
    fn nothing_is_an_object_too() {
        assert_eq!(Object::with_capacity(0).finish(), b"{}");
    }
}
