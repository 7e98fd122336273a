//! Why a log can't be opened, or was closed with a loss, and what an operator can do about it.
//! Not here: why one record was not made durable (`Unavailable`).

use std::io;
use std::path::{Path, PathBuf};

use crate::decision_log::{Damage, KeyError, NoteError, SealedError, Unwritten};

/// The log can't be opened, or was closed with a loss. Each text says all there is; none has a source behind it that would say it again.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has it.
    #[error("another process writes the decision log in `{0}`; stop it, or give this one a directory of its own")]
    Locked(PathBuf),
    /// What another process hands over is another directory.
    #[error("the running process writes another decision log than `{0}`; take over with its configuration, or stop it")]
    Moved(PathBuf),
    /// The log can't change hands now.
    #[error("the decision log can't be handed over: {0}")]
    Kept(&'static str),
    /// The directory holds something else.
    #[error("`{0}` does not belong to a decision log; remove it, or choose another directory")]
    Foreign(PathBuf),
    /// Its segments are gone.
    #[error(
        "the log in `{0}` was begun, and has no segment any more; records would be numbered from 0 a second time: bring back \
         `segments`, or begin a new log in another directory under another `instance` or with another key"
    )]
    Lost(PathBuf),
    /// It has records and no checkpoint.
    #[error(
        "the log has records but no `{0}`, so nothing says which they were; bring it back, or begin a new log in another directory \
         under another `instance` or with another key"
    )]
    NoCheckpoint(PathBuf),
    /// The checkpoint is none of this log.
    #[error("`{path}` is not this log's checkpoint: {why}; bring back the newest one")]
    Checkpoint {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong with it.
        why: NoteError,
    },
    /// An older state was put back.
    #[error(
        "the log is signed up to record {signed}, and `{path}` says that {head} were: an older state was put back; bring back the newest, \
         or begin a new log under another `instance` or with another key"
    )]
    PutBack {
        /// The newest checkpoint, beside the key.
        path: PathBuf,
        /// Records that `checkpoint` signs.
        signed: u64,
        /// Records that were signed.
        head: u64,
    },
    /// Both forms of a segment are there.
    #[error(
        "`{0}` and the segment that is not sealed have other records; `sallyport audit verify` on a copy with one of them says which is right"
    )]
    Differ(PathBuf),
    /// Records are gone.
    #[error(
        "of the {signed} records that were signed, the log in `{path}` has the first {has}, and what follows is missing or was changed: \
         `sallyport audit verify {path}` says where. Bring it back, or begin a new log in another directory under another `instance` or \
         with another key"
    )]
    Short {
        /// The log's directory.
        path: PathBuf,
        /// Records that it has.
        has: u64,
        /// Records that were signed.
        signed: u64,
    },
    /// Records are others.
    #[error(
        "the first {size} records of the log in `{path}` are not those that were signed; `sallyport audit verify {path}` names the first \
         that was changed: bring it back, or begin a new log in another directory under another `instance` or with another key"
    )]
    OtherRoot {
        /// The log's directory.
        path: PathBuf,
        /// Records that were signed.
        size: u64,
    },
    /// A segment can't be continued.
    #[error("`{path}` {why}")]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// What is wrong with it.
        why: Damage,
    },
    /// The newest segment is gone.
    #[error("`{0}` is gone, the newest segment; bring it back, or make it as an empty file if no record is missing")]
    NoNewest(PathBuf),
    /// A sealed segment can't be read.
    #[error("`{path}` {why}")]
    Sealed {
        /// The segment.
        path: PathBuf,
        /// What is wrong with it.
        why: SealedError,
    },
    /// The key's file holds no key.
    #[error("`{path}` is {why}")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: KeyError,
    },
    /// The name of the instance can't name a log.
    #[error("{0}")]
    Name(KeyError),
    /// Another process signs with the key.
    #[error("another process holds the key `{0}`; stop it, or give this one a key of its own")]
    KeyInUse(PathBuf),
    /// Everybody may read the key.
    #[error("everybody may read or write the key `{0}`; take that away with `chmod o=`")]
    KeyExposed(PathBuf),
    /// The log was begun with another key or under another name.
    #[error("`{path}` says `{found}`, but key and instance make `{made}`; bring back the old ones, or begin a new log")]
    OtherKey {
        /// `log.vkey`.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What it would say.
        made: String,
    },
    /// It was closed while these could not be written.
    #[error("{} records could not be written to the decision log and are lost; free or repair its disk", .0.sum())]
    Unwritten(Unwritten),
    /// The system said no.
    #[error("can't {doing} `{path}`: {why}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
}

/// The system said no, while doing this with that.
pub(super) fn system(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> JournalError {
    move |why| JournalError::System { doing, path: path.to_owned(), why }
}
