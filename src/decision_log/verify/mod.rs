//! Recomputes a log from its files: the hash of every line, every tile, every checkpoint. Finds the first thing that is wrong. Pure.
//! Not here: files and threads (`runtime::archive`). Segments may be read at once (`read_plain`, `read_sealed`); what they
//! give goes to one [`Verifier`], in order.
//!
//! The signed root decides who is right. When a record and its stored hash differ, and the stored hashes make the root that
//! was signed, the record was changed; if the records make it, the tile was.
//! Source: RFC 9162; C2SP tlog-tiles, tlog-checkpoint.

mod bad;
mod keys;
mod lines;
mod roots;
mod segment;
mod tiles;
mod verifier;

use std::io;

pub use bad::Bad;
pub use lines::Piece;
pub use segment::{End, SealFault, read_plain, read_sealed};
pub use tiles::ReadTile;
pub use verifier::Verifier;

use super::{Checkpoint, TileId, VerifierKey};

/// What a log has beside its segments.
#[derive(Debug, Default)]
pub struct Heads {
    /// The key that is trusted; if none is, the log's own.
    pub trusted: Option<VerifierKey>,
    /// The text of `log.vkey`.
    pub vkey: Option<String>,
    /// The text of `checkpoint`.
    pub checkpoint: Option<String>,
    /// The stored tiles, in the order of level, index and width.
    pub tiles: Vec<TileId>,
}

/// Why a log was not found good.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// This is wrong with it.
    #[error("{0}")]
    Bad(Bad),
    /// It can't be read.
    #[error(transparent)]
    Read(#[from] io::Error),
}

/// A log that is as it was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The log's signed tree head.
    pub checkpoint: Checkpoint,
    /// Records in its segments. Those beyond the signed size are whole and in order; nothing else is known of them.
    pub records: u64,
    /// What is behind the last whole record.
    pub torn: Option<Torn>,
    /// How many checkpoints within the records are good.
    pub held: u64,
    /// Records that the run which wrote them has not signed, but the next one, by what its `start` says: none but behind a crash.
    pub signed_late: u64,
    /// The changes of the key, by the numbers of their records, with the key that followed.
    pub key_changes: Vec<(u64, VerifierKey)>,
}

/// The end of the newest segment: a record that is being written, or what a crash left of some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The segment.
    pub file: String,
    /// Counted from 1.
    pub line: u64,
    /// How much it is.
    pub bytes: u64,
}

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
