//! What is known of a policy before anybody relies on it: which rules nobody uses, which decisions another policy would change, which
//! rules report mode has found, and what a peer's configuration comes to.
//! Not here: reading the log (`runtime::archive`), the stages that judge (`policy`), printing (`cli`). Pure.
//! Source: PCI DSS 1.2.5 (what is allowed is needed), 1.2.7 (review of rules), 6.5.1 (changes are assessed before they are made).
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub mod import;
mod judge;
mod observed;
mod replay;
mod replay_report;
mod seen;
mod stale;
mod suggest;
#[cfg(test)]
mod testing;
mod usage;
mod window;

pub use observed::Observed;
pub use replay::Replay;
pub use replay_report::{Change, Kind, ReplayReport, Side};
pub use stale::{Finding, RuleUse, Sort, Staleness, Times};
pub use suggest::{Suggested, SuggestedHost, Suggestion};
pub use usage::{Counts, Usage};
pub use window::Window;
