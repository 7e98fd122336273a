//! What a replay came to: counts, and groups of records that would change alike.
//! Not here: judging (`judge`), gathering (`replay`), printing (`cli`). Field names are what programs rely on.
//! Source: the contract's `policy replay`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::judge::{Open, Ruled};
use super::window::Window;

/// What came of it. Field names are what programs rely on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReplayReport {
    /// The policy that judged.
    pub policy: Arc<str>,
    /// What was read.
    #[serde(flatten)]
    pub window: Window,
    /// Decisions in that time, those in summaries too.
    pub decisions: u64,
    /// Of them: decided by this very policy, so not judged again.
    pub same_policy: u64,
    /// Of them: would come out as they did.
    pub unchanged: u64,
    /// Let through then, refused now.
    pub refused: u64,
    /// Refused then, let through now.
    pub let_through: u64,
    /// The same outcome for another reason or by another rule.
    pub otherwise: u64,
    /// Tunnels that were let through and whose server chose a TLS version that is too low now; their decisions count elsewhere.
    pub tunnels: u64,
    /// What the record lacks → how many could not be judged for that.
    pub unjudged: BTreeMap<&'static str, u64>,
    /// Reasons that are not the policy's, and `emergency_block` → how many had them.
    pub not_replayed: BTreeMap<&'static str, u64>,
    /// What would change.
    pub changes: Vec<Change>,
    /// Records that would change and found no place in `changes`.
    pub others: u64,
}

/// Records that would change alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What kind of change.
    pub change: Kind,
    /// Whose requests; absent: of no source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Box<str>>,
    /// Where they went; `-`: they did not say.
    pub target: Box<str>,
    /// What was decided.
    pub before: Side,
    /// What would be.
    pub after: Side,
    /// How many records.
    pub count: u64,
    /// Time of the first.
    pub first: String,
    /// Time of the last.
    pub last: String,
    /// The first's id.
    pub id: String,
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Side {
    /// Its outcome.
    pub outcome: &'static str,
    /// Its reason.
    pub reason: &'static str,
    /// Its rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Arc<str>>,
    /// What no record says and could still refuse it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unjudged: Option<&'static str>,
}

/// What a change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Let through before, refused after.
    Refused,
    /// Refused before, let through after.
    LetThrough,
    /// Neither.
    Otherwise,
}

impl ReplayReport {
    /// Whether any decision would come out differently.
    pub fn differs(&self) -> bool {
        [self.refused, self.let_through, self.otherwise, self.tunnels].into_iter().any(|count| count > 0)
    }
}

impl Side {
    pub(super) fn new(ruled: Ruled) -> Self {
        let Ruled { outcome, reason, rule, open } = ruled;
        Self { outcome: outcome.as_str(), reason: reason.as_str(), rule, unjudged: open.map(Open::as_str) }
    }
}

impl Kind {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::LetThrough => "let_through",
            Self::Otherwise => "otherwise",
        }
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
