//! What is wrong with a log, and where: the one line that `audit verify` prints.
//! Not here: how it is found (`Verifier`).

use std::fmt;

use super::lines::LineFault;
use super::segment::SealFault;
use crate::decision_log::{KeyError, NoteError};

/// The first thing that is wrong with a log. Its text is `FILE:LINE: what`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// Below the log's directory, or as it was given.
    pub file: String,
    /// Counted from 1; of a sealed segment among its lines.
    pub line: Option<u64>,
    /// What is wrong with it.
    pub what: String,
}

/// What can be wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum Wrong {
    #[error("record {seq} {fault}")]
    Line { seq: u64, fault: LineFault },
    #[error("record {seq} was changed")]
    Changed { seq: u64 },
    #[error("record {seq} was put in before the one that was signed, in line {line}")]
    PutIn { seq: u64, line: u64 },
    #[error("record {seq} is missing: this is record {found}")]
    Missing { seq: u64, found: u64 },
    #[error("record {seq} is in line {line}: this is record {found}")]
    Moved { seq: u64, found: u64, line: u64 },
    #[error("record {found} stands here again; record {seq} belongs here")]
    Again { seq: u64, found: u64 },
    #[error("neither record {seq} nor its hash in {tile} makes the root that was signed")]
    Neither { seq: u64, tile: String },
    #[error("records {first} to {last} are missing before it")]
    Gap { first: u64, last: u64 },
    #[error("begins with a record that the segments before it have: they end with record {last}")]
    Overlap { last: u64 },
    #[error("the log ends with {has} records; `{by}` signs {signed}")]
    Short { has: u64, signed: u64, by: String },
    #[error(transparent)]
    Seal(#[from] SealFault),

    #[error("is missing")]
    FileMissing,
    #[error("has {bytes} bytes; a tile of this width has {want}")]
    TileLength { bytes: usize, want: usize },
    #[error("hash {place} is not that of the records")]
    TileHash { place: usize },
    #[error("has hashes of records that the log does not have")]
    TileBeyond,

    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Note(#[from] NoteError),
    #[error("is not the key that was given, and no record says that it follows that one")]
    OtherKey,
    #[error(
        "signed by a key that was not the log's: no record leads to it from the trusted one, or it was replaced before"
    )]
    UntrustedSigner,
    #[error("the first {size} records have another root than the one it signs: they were changed since")]
    Root { size: u64 },
    #[error("signs {signed} records, and record {seq} says that {size} were signed: it was put back")]
    PutBack { signed: u64, seq: u64, size: u64 },
    #[error("signs {signed} records, and `{by}` signs {size}: it was put back")]
    PutBackFrom { signed: u64, size: u64, by: String },

    #[error("record {seq} has a checkpoint that is not good: {error}")]
    HeldNote { seq: u64, error: NoteError },
    #[error("record {seq} has a checkpoint of {size} records, which were not there")]
    HeldSize { seq: u64, size: u64 },
    #[error("record {seq} has a checkpoint with another root of the first {size} records: they were changed since")]
    HeldRoot { seq: u64, size: u64 },
    #[error(
        "record {seq} has a checkpoint signed by a key that was not the log's: no record leads to it from the trusted one, or it was replaced before"
    )]
    HeldSigner { seq: u64 },
    #[error("record {seq} changes the key by a statement that is not good: {error}")]
    KeyChange { seq: u64, error: NoteError },
    #[error("record {seq} changes a key that does not lead to the trusted one")]
    UntrustedChange { seq: u64 },
    #[error("the log has had more keys than any has")]
    TooManyKeys,
}

impl Bad {
    /// A file, or a line of it.
    pub(super) fn new(file: impl Into<String>, line: Option<u64>, what: &Wrong) -> Self {
        Self { file: file.into(), line, what: what.to_string() }
    }
}

impl fmt::Display for Bad {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(out, "{}:{line}: {}", self.file, self.what),
            None => write!(out, "{}: {}", self.file, self.what),
        }
    }
}
