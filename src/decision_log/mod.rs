//! The decision log: what a record says, the order records stand in, and the permits that only a record gives. Pure.
//! Not here: files, threads and clocks (`runtime::journal`). What is written goes to a `Store`, what is read comes as `io::Read`.
//! Source: PCI DSS 10.2, 10.3, 10.5; C2SP signed-note for the key.

mod detail;
mod entry;
mod key;
mod log;
mod permit;
mod queue;
mod record;
mod scan;
mod tree;
mod unwritten;

pub use detail::{Detail, Value};
pub use entry::{Entry, MAX_BATCH, MAX_LINE};
pub use key::{KeyError, SigningKey, VerifierKey, origin};
pub use log::{CommitError, End, Log, Step, Store, StoreError};
pub use permit::Permit;
pub use queue::{Durability, MAX_QUEUED, MAX_QUEUED_BYTES, Pace, Push, Queue, Refusal, Settled, Ticket};
pub use record::{Kind, Mark, Record};
pub(crate) use scan::is_record;
pub use scan::{Damage, Last, Scan, scan};
pub use tree::{Hash, HashError, TILE_WIDTH, Tile, TileId, TilePathError, Tree};
pub use unwritten::Unwritten;

#[cfg(test)]
pub(crate) mod faulty;
