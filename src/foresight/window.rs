//! What of a log was read: how many records, and from when to when.
//! Not here: which were to be read (`decision_log::Query`).

use serde::Serialize;

use crate::decision_log::sealed::RecordTime;

/// The records that were read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Window {
    /// How many.
    pub records: u64,
    /// The earliest time of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub earliest: Option<RecordTime>,
    /// The latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest: Option<RecordTime>,
}

impl Window {
    /// One more.
    pub(super) fn add(&mut self, time: RecordTime) {
        self.merge(&Self { records: 1, earliest: Some(time), latest: Some(time) });
    }

    /// Another's.
    pub(super) fn merge(&mut self, other: &Self) {
        self.records = self.records.saturating_add(other.records);
        self.earliest = self.earliest.into_iter().chain(other.earliest).min();
        self.latest = self.latest.into_iter().chain(other.latest).max();
    }

    /// For people: `REC records, TIME to TIME`.
    pub fn text(&self) -> String {
        match (self.earliest, self.latest) {
            (Some(earliest), Some(latest)) => format!("{} records, {earliest} to {latest}", self.records),
            _ => "no records".to_owned(),
        }
    }
}
