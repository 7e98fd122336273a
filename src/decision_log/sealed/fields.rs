//! The fields of a line, found without decoding it: a line is read for a few fields, and there are millions of lines.
//! Not here: which fields matter (`facets`), whether the line is the record that belongs there (`contents`).
//! Source: RFC 8259, without the spaces that the log never writes.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::borrow::Cow;

/// The top-level fields of one JSON object in the order in which they stand, from the outermost brackets inwards.
/// Ends behind the first error. What lists and maps hold is not judged, only where they end.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    text: &'a str,
    /// Where the mark stands that the next field follows, or the end.
    at: usize,
    /// What that mark must be: `{`, then `,`.
    mark: u8,
}

/// A value as it stands in the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw<'a> {
    json: &'a str,
    /// A text whose characters stand for themselves.
    is_plain: bool,
}

/// A line is no object as the log writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no JSON object without spaces from byte {at} on")]
pub struct Malformed {
    /// Where reading stopped, in bytes from the beginning of the line.
    pub at: usize,
}

impl<'a> Fields<'a> {
    /// Of a line without its newline.
    pub fn of(line: &'a str) -> Self {
        Self { text: line, at: 0, mark: b'{' }
    }

    /// The field behind the mark at `at`, and where it ends.
    // Like `next` and `text`, a quarter faster in its caller's loop, where what it returns never goes through memory.
    #[inline(always)]
    fn field(&self) -> Option<((&'a str, Raw<'a>), usize)> {
        let bytes = self.text.as_bytes();
        let key = self.at.checked_add(2)?;
        let (key_end, is_plain) = text_end(bytes, key)?;
        let value = key_end.checked_add(1)?;
        let is_key = bytes.get(key.checked_sub(1)?) == Some(&b'"') && is_plain && bytes.get(key_end) == Some(&b':');
        if !is_key {
            return None;
        }
        let (end, is_plain) = value_end(bytes, value)?;
        let raw = Raw { json: self.text.get(value..end)?, is_plain };
        Some(((self.text.get(key..key_end.checked_sub(1)?)?, raw), end))
    }

    /// Whether the object ends here, and the text with it.
    fn is_end(&self) -> bool {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if self.mark == b'{' { rest == b"{}" } else { rest == b"}" }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(&'a str, Raw<'a>), Malformed>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.at > self.text.len() {
            return None;
        }
        let is_marked = self.text.as_bytes().get(self.at) == Some(&self.mark);
        if let Some((field, end)) = self.field().filter(|_| is_marked) {
            (self.at, self.mark) = (end, b',');
            return Some(Ok(field));
        }
        let malformed = Malformed { at: self.at };
        let ends = self.is_end();
        self.at = usize::MAX;
        (!ends).then_some(Err(malformed))
    }
}

impl<'a> Raw<'a> {
    /// The text that this is; `None`: it is none.
    #[inline(always)]
    pub fn text(self) -> Option<Cow<'a, str>> {
        if self.is_plain {
            return self.json.get(1..self.json.len().checked_sub(1)?).map(Cow::Borrowed);
        }
        serde_json::from_str(self.json).ok().map(Cow::Owned)
    }

    /// The value as it stands.
    pub fn json(self) -> &'a [u8] {
        self.json.as_bytes()
    }
}

/// Behind the value that begins at `at`, and whether it is a text without escapes.
fn value_end(bytes: &[u8], at: usize) -> Option<(usize, bool)> {
    match bytes.get(at)? {
        b'"' => text_end(bytes, at.checked_add(1)?),
        b'[' | b'{' => nested_end(bytes, at).map(|end| (end, false)),
        _ => {
            let rest = bytes.get(at..)?;
            let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'+' | b'.');
            let length = rest.iter().position(|byte| !is_part(byte))?;
            (length > 0).then_some((at.checked_add(length)?, false))
        }
    }
}

/// Behind the quotation mark that ends the text whose first character is at `at`, and whether it has no escapes.
fn text_end(bytes: &[u8], at: usize) -> Option<(usize, bool)> {
    let mut found = next_mark(bytes, at)?;
    let is_plain = bytes.get(found) == Some(&b'"');
    while bytes.get(found) == Some(&b'\\') {
        found = next_mark(bytes, found.checked_add(2)?)?;
    }
    Some((found.checked_add(1)?, is_plain))
}

/// Where the next quotation mark or backslash is, from `at` on. Eight bytes at a time: the texts of a record are so
/// short that a search in wider registers takes longer to begin than this to end.
fn next_mark(bytes: &[u8], mut at: usize) -> Option<usize> {
    const WORD: usize = 8;
    loop {
        let rest = bytes.get(at..)?;
        let Some(word) = rest.first_chunk::<WORD>() else {
            let found = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
            return at.checked_add(found);
        };
        let word = u64::from_le_bytes(*word);
        let found = zero_bytes(word ^ repeated(b'"')) | zero_bytes(word ^ repeated(b'\\'));
        if found != 0 {
            return at.checked_add(usize::try_from(found.trailing_zeros() / 8).ok()?);
        }
        at = at.checked_add(WORD)?;
    }
}

const fn repeated(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The highest bit of the lowest byte that is zero; of bytes above it, it may be set in vain (Warren, Hacker's Delight, 6-1).
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(repeated(1)) & !word & repeated(0x80)
}

/// Behind the bracket that closes the one at `at`.
fn nested_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        let byte = *bytes.get(at)?;
        at = at.checked_add(1)?;
        match byte {
            b'"' => at = text_end(bytes, at)?.0,
            b'[' | b'{' => depth = depth.checked_add(1)?,
            b']' | b'}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    fn read(line: &str) -> Result<Vec<(&str, &str)>, Malformed> {
        Fields::of(line).map(|field| field.map(|(key, raw)| (key, raw.json))).collect()
    }

    #[test]
    fn finds_fields_by_table() {
        for (line, want) in [
            ("{}", vec![]),
            (r#"{"v":1,"seq":20}"#, vec![("v", "1"), ("seq", "20")]),
            (r#"{"a":"x","b":"}, \" \\","c":true}"#, vec![("a", r#""x""#), ("b", r#""}, \" \\""#), ("c", "true")]),
            (
                r#"{"a":[],"b":{"c":[1,{"d":"]}"}]},"e":-1.5e+7}"#,
                vec![("a", "[]"), ("b", r#"{"c":[1,{"d":"]}"}]}"#), ("e", "-1.5e+7")],
            ),
            (r#"{"a":"\\"}"#, vec![("a", r#""\\""#)]),
            (r#"{"":"ü"}"#, vec![("", r#""ü""#)]),
        ] {
            assert_eq!(read(line), Ok(want), "{line}");
        }
    }

    #[test]
    fn what_is_no_object_of_ours_is_refused_where_it_goes_wrong() {
        for (name, line, at) in [
            ("nothing", "", 0),
            ("no object", "[1]", 0),
            ("half", r#"{"a":1"#, 0),
            ("half a text", r#"{"a":1,"b":"x"#, 6),
            ("an escape at the end", r#"{"a":"x\"#, 0),
            ("half a list", r#"{"a":[1,"#, 0),
            ("no key", r#"{"a":1,}"#, 6),
            ("no value", r#"{"a":}"#, 0),
            ("no colon", r#"{"a"1}"#, 0),
            ("no comma", r#"{"a":"b""c":1}"#, 8),
            ("another mark", r#"{"a":1;"b":2}"#, 6),
            ("another bracket", r#"["a":1}"#, 0),
            ("an escape in a key", r#"{"\u0061":1}"#, 0),
            ("a space before a key", r#"{ "a":1}"#, 0),
            ("a space before a value", r#"{"a": 1}"#, 0),
            ("a space behind a value", r#"{"a":1 }"#, 6),
            ("more behind the end", r#"{"a":1}{"#, 6),
            ("an empty object with a comma", "{,}", 0),
            ("a bracket that was never opened", r#"{"a":]}"#, 0),
            ("a key without quotes", r#"{a:1}"#, 0),
        ] {
            assert_eq!(read(line), Err(Malformed { at }), "{name}");
            assert!(Fields::of(line).filter(Result::is_err).count() == 1, "{name}: ends behind the error");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~\u{0}-\u{1f}\u{7f}-\u{10ffff}]{0,12}".prop_map(Value::from),
            Just(Value::Null),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a-z\"{]{0,3}", inner), 0..4)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_a_reader_that_decodes(pairs in prop::collection::vec(("[a-z_0-9]{0,8}", value()), 0..8)) {
            let object: Map<String, Value> = pairs.into_iter().collect();
            let line = serde_json::to_string(&object).unwrap();
            let mut found = Map::new();
            for field in Fields::of(&line) {
                let (key, raw) = field.unwrap();
                let value: Value = serde_json::from_slice(raw.json()).unwrap();
                let text = raw.text();
                prop_assert_eq!(text.as_deref(), value.as_str());
                prop_assert!(found.insert(key.to_owned(), value).is_none());
            }
            prop_assert_eq!(found, object);
        }

        #[test]
        fn whatever_comes_is_a_part_of_the_line(line in "[{}\\[\\],:\"\\\\a-b0-1 é]{0,40}") {
            let fields: Vec<_> = Fields::of(&line).take(100).collect();
            prop_assert!(fields.len() < 50, "it ends");
            for (key, raw) in fields.into_iter().flatten() {
                let whole = format!("\"{key}\":{}", raw.json);
                prop_assert!(line.contains(&whole), "{}", whole);
            }
        }
    }
}
