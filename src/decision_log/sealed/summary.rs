//! What a sealed segment says about itself: numbers, times, frames, and how many records of each sort there are.
//! Not here: how it is found out (`contents`), where it stands in the file (`seal`, `reader`).
//! Source: own format, version 1. JSON, so that it can be read without this program.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use serde::{Deserialize, Serialize};

use super::MAX_PLAIN;
use super::facets::Facet;
use super::time::RecordTime;

/// The version that is written and read.
pub(super) const VERSION: u32 = 1;

/// The summary of a segment. One that [`Sealed::open`](super::Sealed::open) read is consistent in itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Of this format.
    pub version: u32,
    /// Number of the first record.
    pub first_seq: u64,
    /// Number of the last record.
    pub last_seq: u64,
    /// Time of the first record.
    pub first_time: RecordTime,
    /// Time of the last record.
    pub last_time: RecordTime,
    /// The earliest time of all; clocks may step back.
    pub earliest: RecordTime,
    /// The latest time of all.
    pub latest: RecordTime,
    /// Bytes of all lines with their newlines.
    pub bytes: u64,
    /// Whether `groups` has each sort. If not, the sorts that found no place are counted by kind and outcome alone.
    pub complete: bool,
    /// The sorts of records in the order in which they first occur.
    pub groups: Vec<Group>,
    /// The frames in their order.
    pub frames: Vec<Frame>,
}

/// How many records agree in the fields of [`Facet::COUNTED`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of records")]
pub struct Group {
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// How many.
    pub count: u64,
}

/// One data frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// Number of its first record.
    pub first_seq: u64,
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// Its bytes in the file.
    pub compressed: u64,
    /// Bytes of its lines.
    pub plain: u64,
    /// The earliest time of its records.
    pub earliest: RecordTime,
    /// The latest time of its records.
    pub latest: RecordTime,
    /// Which of the groups it has records of, by their places in the list; none if the summary is not complete.
    pub groups: Vec<u32>,
}

impl Group {
    /// What its records have there; `None`: nothing, or the field is none of [`Facet::COUNTED`].
    pub fn get(&self, facet: Facet) -> Option<&str> {
        match facet {
            Facet::Kind => Some(&self.kind),
            Facet::Outcome => self.outcome.as_deref(),
            Facet::Reason => self.reason.as_deref(),
            Facet::Customer => self.customer.as_deref(),
            Facet::Source => self.source.as_deref(),
            Facet::Rule => self.rule.as_deref(),
            Facet::Host | Facet::Id => None,
        }
    }
}

impl Summary {
    /// The frame that has record `seq`.
    pub fn frame_of(&self, seq: u64) -> Option<usize> {
        let behind = self.frames.partition_point(|frame| frame.first_seq <= seq);
        behind.checked_sub(1).filter(|_| seq <= self.last_seq)
    }

    /// How many records there are.
    pub fn records(&self) -> u64 {
        self.last_seq.saturating_sub(self.first_seq).saturating_add(1)
    }

    /// What of a summary that was read contradicts itself; what it says about records is not judged here.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let frames = &self.frames;
        let starts = frames.iter().map(|frame| frame.first_seq);
        let ends = starts.clone().skip(1).chain(self.last_seq.checked_add(1));
        let follow = starts.zip(ends.clone()).all(|(start, end)| start < end) && ends.count() == frames.len();
        let bytes = frames.iter().try_fold(0_u64, |sum, frame| sum.checked_add(frame.plain));
        let numbers = frames.iter().flat_map(|frame| &frame.groups);
        let has = |number: &u32| usize::try_from(*number).is_ok_and(|number| number < self.groups.len());
        [
            (self.version == VERSION, "version"),
            (frames.first().is_some_and(|frame| frame.first_seq == self.first_seq) && follow, "numbers"),
            (frames.iter().all(|frame| (1..=MAX_PLAIN).contains(&frame.plain)) && bytes == Some(self.bytes), "lengths"),
            (numbers.copied().all(|number| has(&number)), "groups"),
        ]
        .into_iter()
        .find_map(|(holds, what)| (!holds).then_some(what))
    }
}
