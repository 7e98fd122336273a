//! What a rule or a source may use up: tunnels, requests, bytes, time.
//! Not here: counting (`runtime::quota`), bounds of the whole instance (`config`).
//! Source: the contract's "Limits": a rule's count for all its sources together.

use std::time::Duration;

use super::words::Words;
use crate::yaml::{self, Rate};

/// Bounds of a rule or a source; what is `None` has none but the instance's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Tunnels at a time, those that are being set up included: 1 to 1,000,000.
    pub tunnels: Option<u32>,
    /// Requests that the policy lets through, with a burst of one second's worth, at least one.
    pub rate: Option<Rate>,
    /// Bytes that go to the destinations in one UTC day.
    pub bytes_out: Option<u64>,
    /// A tunnel without a byte in either direction; the instance's counts where it is shorter.
    pub idle_timeout: Option<Duration>,
    /// A tunnel, whatever it does; the instance's counts where it is shorter.
    pub lifetime: Option<Duration>,
}

impl Limits {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// In words, as they are written.
    pub fn words(&self) -> Words<5> {
        [
            ("limits.tunnels", self.tunnels.map(|tunnels| tunnels.to_string())),
            ("limits.rate", self.rate.map(|rate| rate.to_string())),
            ("limits.bytes_out", self.bytes_out.map(|bytes| format!("{}/day", yaml::size_text(bytes)))),
            ("limits.idle_timeout", self.idle_timeout.map(yaml::duration_text)),
            ("limits.lifetime", self.lifetime.map(yaml::duration_text)),
        ]
    }
}
