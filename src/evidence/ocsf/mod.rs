//! Records as events of the Open Cybersecurity Schema Framework, version 1.8.0: what SIEMs and security lakes read.
//! Not here: the form in which records are kept and hashed (`decision_log`): an event proves nothing by itself.
//! Source: schema.ocsf.io/1.8.0; classes 4001, 1008, 3004 and 2003.
//!
//! What the schema has no place for stands in `unmapped` under its own name. Times are milliseconds since the epoch,
//! `time_dt` has all six decimals; `duration` is in milliseconds. A decision and its close are two events with one
//! `metadata.correlation_uid`; `metadata.uid` is the log's name and the record's number.

mod activity;
mod network;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::record::{Line, LineError};
use crate::decision_log::{Kind, origin};
use crate::policy::Outcome;

/// The version of the schema.
pub const VERSION: &str = "1.8.0";

/// A class of the schema.
struct Class {
    uid: u64,
    category: u64,
    profiles: &'static [&'static str],
}

/// An event before what all have in common.
struct Event {
    class: &'static Class,
    activity: u64,
    /// `status_id`.
    status: Status,
    /// `severity_id`.
    severity: Severity,
    /// What its class has of its own, with `unmapped` fields that only it has. `null` is left out.
    fields: Value,
}

/// How it came out; the numbers are the schema's.
#[derive(Clone, Copy)]
enum Status {
    Success = 1,
    Failure = 2,
}

/// How much it matters; the numbers are the schema's.
#[derive(Clone, Copy)]
enum Severity {
    Informational = 1,
    Low = 2,
    Medium = 3,
    High = 4,
}

/// The activity, and the type, for which the schema has no number.
const OTHER: u64 = 99;

/// A record's line as one event, without a newline.
///
/// # Errors
/// The line is not a record, see [`LineError`].
pub fn event(line: &[u8]) -> Result<String, LineError> {
    let line = Line::read(line)?;
    let event = match line.kind {
        Kind::Decision | Kind::Close | Kind::Summary => network::event(&line),
        Kind::Start | Kind::Stop | Kind::Heartbeat | Kind::Export => activity::of_the_log(&line),
        Kind::Policy | Kind::Admin => activity::of_an_entity(&line),
        Kind::ControlFailure => activity::of_a_control(&line),
    };
    let mut fields = common(&line, &event);
    merge(&mut fields, event.fields);
    prune(&mut fields);
    // As it is: what is empty there says something.
    if let (Some(unmapped), false) =
        (fields.pointer_mut("/unmapped").and_then(Value::as_object_mut), line.detail.is_null())
    {
        unmapped.insert("detail".to_owned(), line.detail);
    }
    Ok(fields.to_string())
}

/// What every event has.
fn common(line: &Line, event: &Event) -> Value {
    let log = origin(&line.instance);
    json!({
        "activity_id": event.activity,
        "category_uid": event.class.category,
        "class_uid": event.class.uid,
        "type_uid": event.class.uid.saturating_mul(100).saturating_add(event.activity),
        "severity_id": event.severity as u64,
        "status_id": event.status as u64,
        "status_code": line.reason,
        "time": line.time.as_millisecond(),
        "time_dt": exact(line.time),
        "metadata": {
            "version": VERSION,
            "product": {"name": "sallyport", "vendor_name": "sallyport", "version": env!("CARGO_PKG_VERSION")},
            "profiles": event.class.profiles,
            "uid": format!("{log}/{}", line.seq),
            "correlation_uid": line.id,
            "sequence": line.seq,
            "event_code": line.kind.as_str(),
            "log_name": log,
            "log_version": line.v.to_string(),
        },
        "unmapped": {
            "kind": line.kind.as_str(),
            "parent_id": line.parent_id,
            "environment": line.environment,
            "outcome": line.outcome.map(Outcome::as_str),
            "redacted": line.redacted,
        },
    })
}

/// Adds fields; those of an object come to the ones that are there.
fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(fields), Value::Object(more)) => {
            for (name, value) in more {
                merge(fields.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

/// Takes away what is unknown: the schema has no nulls, and wants no empty objects.
fn prune(value: &mut Value) {
    let Value::Object(fields) = value else { return };
    fields.values_mut().for_each(prune);
    fields.retain(|_, value| match value {
        Value::Null => false,
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    });
}

/// RFC 3339 with all that the record has.
fn exact(time: Timestamp) -> String {
    format!("{time:.6}")
}

/// A field of `detail`, if it is a text.
fn said<'a>(line: &'a Line, word: &str) -> Option<&'a str> {
    line.detail.get(word).and_then(Value::as_str)
}

#[cfg(test)]
mod tests;
