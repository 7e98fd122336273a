//! The decision log: what a record says, the order records stand in, and the permits that only a record gives. Pure.
//! Not here: files, threads and clocks (`runtime::journal`). What is written goes to a `Store`, what is read comes as `io::Read`.
//! Source: PCI DSS 10.2, 10.3, 10.5; C2SP signed-note for the key.

mod checkpoint;
mod detail;
mod entry;
mod key;
pub mod key_change;
mod log;
mod note;
mod permit;
mod proof_file;
mod query;
mod queue;
mod record;
mod relay;
mod scan;
pub mod sealed;
mod tree;
mod unwritten;
pub mod verify;

pub use checkpoint::Checkpoint;
pub use detail::{Detail, Value};
pub use entry::{Entry, MAX_BATCH, MAX_LINE, NotARecord};
pub use key::{KeyError, SigningKey, VerifierKey, origin};
pub use log::{CommitError, End, Log, Step, Store, StoreError};
pub use note::{MAX_NOTE, MAX_SIGNATURES, Note, NoteError};
pub use permit::Permit;
pub use proof_file::{MAX_PROOF_FILE, ProofError, ProofFile};
pub use query::{Count, Counts, Criteria, Found, Query, QueryError, WalkError};
pub use queue::{Durability, MAX_QUEUED, MAX_QUEUED_BYTES, Pace, Push, Queue, Refusal, Settled, Ticket};
pub use record::{Kind, Mark, Record};
pub use relay::{Relay, Successor};
pub(crate) use scan::is_record;
pub use scan::{Damage, Last, Scan, scan};
pub use sealed::{SealError, Sealed, SealedError, Summary, seal};
pub use tree::{Hash, HashError, TILE_WIDTH, Tile, TileId, TilePathError, Tree, inclusion, root_of};
pub use unwritten::Unwritten;

#[cfg(test)]
pub(crate) mod faulty;
#[cfg(test)]
pub(crate) use key::known as known_key;
#[cfg(test)]
mod interop_tests;
