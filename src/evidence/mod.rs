//! What an assessor gets out of the log: one row a connection, tables, events of other schemas, and the manifest that says what is whole.
//! Not here: reading the log (`runtime::archive`), the filters (`decision_log::query`), files and folders (`cli`). Pure.
//! Source: PCI DSS 10.2.2, 10.4.1 and 10.5.1 (what assessors ask logs for); RFC 4180; OCSF 1.8.0.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod csv;
mod egress;
mod manifest;
mod matrix;
pub mod ocsf;
mod record;
mod rows;
mod search;
mod survey;
#[cfg(test)]
pub(crate) mod testing;

pub use self::csv::{COLUMNS, Sheet, Table, TableError};
pub use egress::{EgressList, EgressRow};
pub use manifest::{
    Clock, ExportRecord, Fileprint, Heartbeats, MANIFEST_VERSION, Manifest, Missing, Queried, Range, Run, TreeHead,
    Unclosed,
};
pub use matrix::MatrixRow;
pub use record::{Head, Line, LineError};
pub use rows::{Joiner, MAX_OPEN_BYTES, Row, State};
pub use search::{FoundAt, FoundInName, MAX_PLACES, NotSearched, Search, Searched, Total, Verdict};
pub use survey::{About, MAX_LISTED, Survey};
