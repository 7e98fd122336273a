//! Why a comparison doesn't begin, or is broken off, and the exit code that says so.
//! Not here: which subjects and loads failed; they are reported and the run goes on.

use std::path::PathBuf;

/// Something outside is missing or in use, or the command is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error(
        "needs root, for dnsmasq on port 53 and mount namespaces: run it with sudo, or in a container with CAP_SYS_ADMIN"
    )]
    NotRoot,
    #[error("cannot make mount namespaces (`unshare -m true` fails): give the container CAP_SYS_ADMIN")]
    NoNamespaces,
    #[error("`{0}` is missing: benches/setup.sh installs it")]
    Missing(&'static str),
    #[error("needs two cores, one for the subject and one for the load; `--cores {0}` can't be had here")]
    Cores(String),
    #[error("{what} is in use: {why}; end what listens there")]
    InUse { what: String, why: String },
    #[error("others use {cores:.2} cores{busiest}: end them or wait, or write `--anyway`, and the table will say so")]
    Busy { cores: f64, busiest: String },
    #[error("no program at `{0}`: `cargo build --release --locked` makes it")]
    NoProgram(PathBuf),
    #[error("nothing to measure: none of the subjects takes one of the shapes")]
    Nothing,
    #[error("some cells have no result: they stand above")]
    Gaps,
    #[error("broken off; what was measured is kept")]
    BrokenOff,
}

impl Refusal {
    /// 2: the command is wrong. 3: something outside is. 4: there are results, and gaps in them. 130: broken off, as shells say it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoProgram(_) | Self::Nothing => 2,
            Self::NotRoot
            | Self::NoNamespaces
            | Self::Missing(_)
            | Self::Cores(_)
            | Self::InUse { .. }
            | Self::Busy { .. } => 3,
            Self::Gaps => 4,
            Self::BrokenOff => 130,
        }
    }
}
