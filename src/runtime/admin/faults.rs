//! What is wrong with the body of a call, field by field. Source: RFC 9457 (problems); RFC 6901 (pointers).
//! Not here: what a body must say (`explain`, `block`).

use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;

/// What is wrong with the body of a call.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    errors: Vec<Fault>,
}

/// What is wrong with a field.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Fault {
    detail: String,
    pointer: &'static str,
}

impl Faults {
    /// One fault.
    pub fn of(detail: String, pointer: &'static str) -> Self {
        Self { errors: vec![Fault { detail, pointer }] }
    }

    /// One more.
    pub fn add(&mut self, pointer: &'static str, detail: impl Into<String>) {
        self.errors.push(Fault { detail: detail.into(), pointer });
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// Each with its field.
    #[cfg(test)]
    pub fn lines(&self) -> Vec<String> {
        self.errors.iter().map(|fault| format!("{} {}", fault.pointer, fault.detail)).collect()
    }

    /// A field that must be there.
    pub fn needed<T>(&mut self, pointer: &'static str, read: Option<Option<T>>, write: &str) -> Option<T> {
        if read.is_none() {
            self.add(pointer, format!("not there; write {write}"));
        }
        self.given(pointer, read, write)
    }

    /// A field that is there or not; within, what could be read of it.
    pub fn given<T>(&mut self, pointer: &'static str, read: Option<Option<T>>, write: &str) -> Option<T> {
        let read = read?;
        if read.is_none() {
            self.add(pointer, format!("write {write}"));
        }
        read
    }
}

/// A text, if it is one.
pub fn text(value: Value) -> Option<String> {
    if let Value::String(text) = value { Some(text) } else { None }
}

/// What a text says, if it is one.
pub fn parsed<T: FromStr>(value: Value) -> Option<T> {
    text(value)?.parse().ok()
}
