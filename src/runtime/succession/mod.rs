//! One process takes over from another of the same instance, and nothing is lost: neither a connection, nor a tunnel, nor a record.
//! Not here: how the log changes hands within a process (`journal::hand_over`), listening (`listeners`).
//!
//! Each running proxy has a door, a Unix socket below `state`, where processes of the same user may knock:
//! ```text
//! new                                old
//!  │ TakeOver ───────────────────────▶ │ same instance, environment and protocol?
//!  │ ◀───────────── Sockets, AllSockets│ all listening sockets, by SCM_RIGHTS; the old one goes on accepting
//!  │ binds what is new, reads all files│
//!  │ Ready ──────────────────────────▶ │ byte budgets to disk, `stop` record; the log's threads come to rest, records wait
//!  │ ◀────────────────────────── Log   │ with the descriptor that holds the log's lock
//!  │ opens and checks the log          │
//!  │ Taken ──────────────────────────▶ │
//!  │ ◀──────────────────────────── Go  │ from here on the log is the new one's, and the old one relays: Records ─▶, ◀─ Kept
//!  │ `start` record, accepts           │
//!  │ Serving ────────────────────────▶ │ stops accepting; serves what it has accepted, and its tunnels until they end
//!  │ ◀────────────── Records … Kept ──▶│ Judge, Drain ◀─
//! ```
//! Before `Go` the old one takes the log back from a new one that says `Refused` or is gone; one that says nothing is killed first, so
//! there is one writer at every moment. Between `Go` and `Serving` it takes the log back if the new one dies, by its lock. After
//! `Serving` an old one whose heir is gone knocks at the door until there is another, which gets what was not acknowledged once more
//! and leaves out what the log has.

mod door;
mod heirs;
mod link;
mod message;
mod predecessor;
mod successor;
mod wire;

use std::path::{Path, PathBuf};

pub use door::{Door, Estate};
pub use heirs::Predecessors;
pub use link::Notice;
pub use successor::{Predecessor, TakeOverError};

use crate::config::Config;
use message::{Newcomer, PROTOCOL};

/// Who this process is, for the one at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity(Newcomer);

impl Identity {
    /// A process with this configuration.
    pub fn of(config: &Config) -> Self {
        Self(Newcomer {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance: config.instance.clone(),
            environment: config.environment.clone(),
        })
    }

    /// Whether the other is of the same instance and understands the same.
    ///
    /// # Errors
    /// What differs, and what to do.
    fn meets(&self, other: &Newcomer) -> Result<(), String> {
        let own = &self.0;
        if own.protocol != other.protocol {
            let (own, other) = (&own.version, &other.version);
            return Err(format!("{other} can't take over from {own}: stop the one and start the other"));
        }
        if own.instance != other.instance {
            return Err(format!("this is instance `{}`, not `{}`", own.instance, other.instance));
        }
        let name = |environment: &Option<String>| environment.clone().unwrap_or_else(|| "none".to_owned());
        if own.environment != other.environment {
            let (own, other) = (name(&own.environment), name(&other.environment));
            return Err(format!("this is environment `{own}`, not `{other}`: they never mix"));
        }
        Ok(())
    }
}

/// Where the door of an instance is.
pub fn door(config: &Config) -> PathBuf {
    Path::new(&config.state).join(format!("take-over.{}.sock", config.instance))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processes_of_one_instance_and_environment_meet() {
        let who = |protocol, instance: &str, environment: Option<&str>| Newcomer {
            protocol,
            version: "9.9.9".to_owned(),
            instance: instance.to_owned(),
            environment: environment.map(str::to_owned),
        };
        let own = Identity(who(1, "edge-1", Some("production")));
        for (other, want) in [
            (who(1, "edge-1", Some("production")), Ok(())),
            (
                who(2, "edge-1", Some("production")),
                Err("9.9.9 can't take over from 9.9.9: stop the one and start the other"),
            ),
            (who(1, "edge-2", Some("production")), Err("this is instance `edge-1`, not `edge-2`")),
            (who(1, "edge-1", Some("test")), Err("this is environment `production`, not `test`: they never mix")),
            (who(1, "edge-1", None), Err("this is environment `production`, not `none`: they never mix")),
        ] {
            assert_eq!(own.meets(&other), want.map_err(str::to_owned), "{other:?}");
        }
    }
}
