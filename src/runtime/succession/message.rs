//! What two processes of one instance say to each other while one takes over from the other, and as long as the old one has tunnels.
//! Not here: bytes and descriptors (`wire`), who says what when (`predecessor`, `successor`).

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::runtime::listeners::SocketName;
use crate::runtime::quota::Spent;

/// The version of all this. Two processes that don't have the same one can't take over from each other.
pub(super) const PROTOCOL: u32 = 1;

/// A message.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    /// The new one wants all: the first message of a take-over.
    TakeOver(Newcomer),
    /// The old one gives its listening sockets, one descriptor for each, some at once.
    Sockets(Vec<SocketName>),
    /// These were all of them.
    AllSockets,
    /// The new one has all that it needs but the log.
    Ready,
    /// The old one's log rests; its lock comes with this.
    Log,
    /// The new one has opened the log and has written nothing to it.
    Taken,
    /// The log is the new one's.
    Go,
    /// The new one serves.
    Serving,
    /// It can't be done, and why. Whoever says this has no part in the log.
    Refused(String),
    /// An old one has records for whoever has the log: the first message where it was not it that took over.
    Relay(Newcomer),
    /// Records of an old one.
    Records(Records),
    /// They are durable.
    Kept,
    /// They are not, and are not going to be.
    NotKept,
    /// So many bytes have gone out of an old one since it last said so.
    Spent(Spent),
    /// What has gone out of all of them today, by the same rules and sources.
    Gone(Spent),
    /// Policy, lists or blocks have changed: an old one is to judge its tunnels again. The policy in force has this hash.
    Judge(String),
    /// An old one is to end as soon as it may.
    Drain,
}

/// Who speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Newcomer {
    pub(super) protocol: u32,
    pub(super) version: String,
    pub(super) instance: String,
    pub(super) environment: Option<String>,
}

/// Records, in their order, each the object without version and number.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Records {
    /// Whether some of them may be there already.
    pub(super) again: bool,
    pub(super) records: Vec<Box<RawValue>>,
}
