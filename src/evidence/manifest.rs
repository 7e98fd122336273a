//! The manifest of an export: what was asked for, what was read, what is whole and what is missing, and the digests of its files.
//! Not here: gathering it (`survey`), writing it (`cli`). It is not signed: its checkpoints are, and the files' digests stand in
//! the `export` record that the log may have of it.
//! Source: PCI DSS 10.2.1.1, 10.4.1; what assessors ask of information produced by the entity: complete, accurate, its query known.

use std::collections::BTreeMap;

use serde::Serialize;

/// The version of this form.
pub const MANIFEST_VERSION: u64 = 1;

/// All that is said about an export. Field names are what its readers rely on; times are RFC 3339 in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the manual describes the manifest, field by field")]
pub struct Manifest {
    pub manifest: u64,
    pub made_at: String,
    pub made_by: String,
    pub instance: Option<String>,
    pub origin: String,
    pub vkey: String,
    pub format: String,
    pub query: Queried,
    pub read: Range,
    pub missing: Vec<Missing>,
    pub missing_left_out: u64,
    pub exported: Range,
    pub rows: BTreeMap<&'static str, u64>,
    pub checkpoint_before: Option<TreeHead>,
    pub checkpoint_after: Option<TreeHead>,
    pub after_covers_all: bool,
    pub heartbeats: Heartbeats,
    pub runs: Vec<Run>,
    pub runs_left_out: u64,
    pub unclosed: Unclosed,
    pub clock: Clock,
    pub files: Vec<Fileprint>,
    pub export_record: ExportRecord,
}

/// The query: what was typed, and what it came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Queried {
    /// The arguments as typed.
    pub given: Vec<String>,
    /// Each filter with its values, ages turned into times.
    pub used: BTreeMap<String, Vec<String>>,
}

/// Some records of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Range {
    /// How many.
    pub records: u64,
    /// The number of the first; absent if there are none.
    pub first_seq: Option<u64>,
    /// The number of the last.
    pub last_seq: Option<u64>,
    /// The time of the first.
    pub first_time: Option<String>,
    /// The time of the last.
    pub last_time: Option<String>,
    /// How many of each kind; kinds without any are left out.
    pub kinds: BTreeMap<&'static str, u64>,
}

/// Numbers that should have been there. Both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The first.
    pub from: u64,
    /// The last.
    pub to: u64,
}

/// A signed tree head, as the log has it. Its signature is not checked here: `audit verify --checkpoint` does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TreeHead {
    /// How many records it covers.
    pub size: u64,
    /// The root over them, in base64.
    pub root: String,
    /// The whole signed note.
    pub note: String,
}

/// The proxy writes a heartbeat each minute: fewer mean that it did not run, or could not write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Heartbeats {
    /// By the time from the first record of each run to its last.
    pub expected: u64,
    /// What is there.
    pub found: u64,
    /// Whether each run has what is expected of it, give or take one.
    pub complete: bool,
}

/// From a start to a stop, as far as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Run {
    /// The number of the `start`; absent: it lies before what was read.
    pub start_seq: Option<u64>,
    /// The number of the `stop`; absent: the run was cut off, or goes on.
    pub stop_seq: Option<u64>,
    /// The time of its first record.
    pub first_time: String,
    /// The time of its last record.
    pub last_time: String,
    /// How it ended: `stopped`, `cut_off` (another start came), or `goes_on` behind what was read.
    pub ended: &'static str,
    /// Heartbeats that its time asks for.
    pub heartbeats_expected: u64,
    /// Heartbeats that it has.
    pub heartbeats_found: u64,
}

/// Tunnels of the export that were let through and have no `close` in what was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Unclosed {
    /// The proxy started anew before it could write their end.
    pub unclosed: u64,
    /// What was read ended first: they may be open still.
    pub open: u64,
    /// Their ids, as far as there is room.
    pub ids: Vec<String>,
    /// Ids for which there was none.
    pub ids_left_out: u64,
}

/// What the heartbeats say of the host's clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Clock {
    /// The smallest offset from true time that the kernel reported, in microseconds.
    pub min_offset_us: Option<i64>,
    /// The largest.
    pub max_offset_us: Option<i64>,
    /// Heartbeats whose clock was not synchronised.
    pub unsynchronized: u64,
    /// Times that the clock stepped back.
    pub steps_back: u64,
}

/// A file of the export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fileprint {
    /// Its name beside the manifest.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
}

/// Whether the log has a record of the export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "left")]
pub enum ExportRecord {
    /// It has.
    Yes {
        /// The record's id.
        id: String,
    },
    /// It has not.
    No {
        /// Why.
        why: String,
    },
}

impl TreeHead {
    /// What a signed note claims; `None`: it is no tree head.
    pub fn read(note: &str) -> Option<Self> {
        let mut lines = note.split_once("\n\n")?.0.split('\n').skip(1);
        let (size, root) = (lines.next()?, lines.next()?);
        Some(Self { size: size.parse().ok()?, root: root.to_owned(), note: note.to_owned() })
    }
}

impl Manifest {
    /// The file's text.
    pub fn text(&self) -> String {
        // Our own plain struct: every key is a string.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}
