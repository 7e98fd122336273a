//! A YAML document as a tree with places, and takers that report every fault, not only the first. Pure.
//! Not here: what any key means (`config`, `policy`). Anchors, tags, merge keys and YAML 1.1 booleans are refused.
//! Source: YAML 1.2.2 with its core schema; the contract's page on `sallyport.yaml`.
#![warn(clippy::arithmetic_side_effects)]

mod encoding;
mod fault;
mod field;
mod map;
mod node;
mod read;
mod scalar;
mod syntax;
mod units;

pub use encoding::decode;
pub use fault::{Fault, Faults, Located, Place, shown};
pub use field::Field;
pub use map::{MapReader, nearest, not_available};
pub use node::{Entry, Node, Style, Value};
pub use read::{MAX_BYTES, MAX_DEPTH, MAX_NODES, parse};
pub use units::{Rate, UnitError, duration, duration_text, rate, size, size_text, whole};
