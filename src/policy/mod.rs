//! Who may reach what. One file a stage, in the order of a request: `identify` and `request` (source, never, rule, port,
//! expiry, hours) → `addresses` (the answer of the lookup) → `hello` (what TLS offers and chooses). Pure: no clock, no sockets.
//! Not here: counting what limits bound, records, the lookup itself. Source: the contract's pages on policy files and reasons.
//!
//! ```text
//! files → file (as written → checked) → compile (Policy) → Identified → Admitted → Routed → Allowed
//!                                                              └──────────┴─ Denial ─┴─────────┘
//! ```
//! What the kernel captured has no head: there the ClientHello comes first, and `captured` stands where `request` does.
//!
//! Each stage is a type that only the stage before it makes, so none can be skipped; whatever no stage allows is refused.

mod addresses;
mod ask;
mod block;
mod blocks;
mod captured;
mod cases;
mod classes;
mod client;
mod clients;
mod compile;
mod decision;
mod diff;
mod explanation;
mod file;
mod head;
mod hello;
mod hours;
mod index;
mod limits;
mod matrix;
mod nearest;
mod reason;
mod reload;
mod request;
mod rule;
mod ties;
mod touched;
mod ways;
mod words;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use addresses::{Answer, OwnAddresses, Routed, in_a_circle};
pub use ask::{Judged, Lookup, Offer, OfferedName, Question, Resolve, Ruling, Wanted};
pub use block::{Block, BlockKind, Blocked, BlockedError};
pub use blocks::Blocks;
pub use cases::{Case, Difference, Surroundings, Tried};
pub use classes::Destination;
pub use client::{Certificate, Client, Origin, OriginError};
pub use compile::{Grant, Policy, Reach};
pub use decision::{Decided, Denial, Ending, InTunnel, Outcome};
pub use diff::{Change, Diff, DiffCounts, Edit, Mark, ReachEdit};
pub use explanation::{Explanation, Found};
pub use file::{PolicyFile, Setting};
pub use head::RequestHead;
pub use hello::{Allowed, hello_reason};
pub use hours::Hours;
pub use limits::Limits;
pub use matrix::{Matrix, Row};
pub use nearest::Nearest;
pub use reason::{Facts, Reason, UnknownWord};
pub use reload::{Standing, Verdict};
pub use request::{Admitted, Identified};
pub use rule::{Class, ControlRecord, Ech, Existing, Report, Rule, Sni, Source, TlsTerms, WordError};
pub use ways::Ways;
pub use words::{Words, control, terms};
