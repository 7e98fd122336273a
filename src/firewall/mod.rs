//! The kernel's rules that go with a configuration: what is brought to the proxy, and what else is stopped. Pure: a text comes out.
//! Not here: loading them (the operator does), asking the kernel where a captured connection wanted to go (`runtime::captured`).
//! Source: the contract: `firewall`; nft(8), iptables-restore(8), the kernel's Documentation/networking/tproxy.rst.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod capture;
mod iptables;
mod nft;
mod only_way_out;
mod rule;
mod user;

use std::net::SocketAddr;

use ipnet::IpNet;

use crate::address::is_wide;
use crate::config::{self, Capture, Config, Listener};
use rule::{Family, Ruleset};

pub use user::{User, UserError};

/// What the rules are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Bring TCP connections to the proxy, by NAT.
    Redirect,
    /// Bring them as they are, by TPROXY.
    Tproxy,
    /// Let nothing out but the proxy.
    OnlyWayOut,
}

impl Mode {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Redirect => "redirect",
            Self::Tproxy => "tproxy",
            Self::OnlyWayOut => "only-way-out",
        }
    }
}

/// Whose language they are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// That of `nft -f`.
    Nft,
    /// That of `iptables-restore` and `ip6tables-restore`: one file for both.
    Iptables,
}

/// Which rules are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What they are for.
    pub mode: Mode,
    /// The proxy's own user: what its processes send is never captured.
    pub user: User,
    /// Destinations that are left alone: neither captured nor stopped.
    pub exclude: Vec<IpNet>,
    /// The transparent listeners to bring connections to, one of each address family; none: those that there are.
    pub listeners: Vec<String>,
}

/// Why there are no rules for a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FirewallError {
    /// Nobody takes what would be captured.
    #[error("no listener has `mode: transparent` and `capture: {0}`; write one, or ask for another mode")]
    NoListener(&'static str),
    /// There is no such listener.
    #[error("no listener is called `{0}`; name one that has `mode: transparent` and `capture: {1}`")]
    Unknown(String, &'static str),
    /// The named listener takes connections of another kind.
    #[error("listener `{0}` is none with `mode: transparent` and `capture: {1}`; name one that is")]
    Other(String, &'static str),
    /// Connections can be brought to one listener alone.
    #[error("`{0}` and `{1}` both take captured {2} connections; name one of them with `--listener`")]
    Several(String, String, &'static str),
    /// Each start has another one.
    #[error("port 0 of {0} is another one at each start, and no rule can name it; write a port of its own")]
    FreePort(String),
    /// So much is left alone that hardly anything is captured, or stopped.
    #[error(
        "`--exclude {0}` is shorter than /16 (/32 for IPv6), and all of it would go past the proxy; write the hosts that are meant"
    )]
    Wide(IpNet),
    /// Every listener is reached.
    #[error("`--mode only-way-out` is for all listeners; leave `--listener {0}` out")]
    Named(String),
}

/// The rules for a configuration, as a file with comments.
///
/// # Errors
/// The configuration has nothing that such rules could lead to.
pub fn rules(config: &Config, wanted: &Wanted, format: Format) -> Result<String, FirewallError> {
    if let Some(prefix) = wanted.exclude.iter().find(|prefix| is_wide(prefix)) {
        return Err(FirewallError::Wide(*prefix));
    }
    let mut ruleset = match wanted.mode {
        Mode::Redirect => capture::redirect(&Doors::of(config, wanted, Capture::Redirect)?, wanted),
        Mode::Tproxy => capture::tproxy(&Doors::of(config, wanted, Capture::Tproxy)?, wanted),
        Mode::OnlyWayOut => only_way_out::ruleset(config, wanted)?,
    };
    ruleset.told.extend(wanted.user.warning().map(str::to_owned));
    Ok(write(&ruleset, format))
}

fn write(ruleset: &Ruleset, format: Format) -> String {
    match format {
        Format::Nft => nft::write(ruleset),
        Format::Iptables => iptables::write(ruleset),
    }
}

/// Where captured connections are brought to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Doors {
    four: Option<SocketAddr>,
    six: Option<SocketAddr>,
}

impl Doors {
    fn of(config: &Config, wanted: &Wanted, capture: Capture) -> Result<Self, FirewallError> {
        let word = wanted.mode.word();
        let is_right = |listener: &Listener| listener.mode == config::Mode::Transparent(capture);
        for name in &wanted.listeners {
            match config.listeners.iter().find(|listener| *listener.name == **name) {
                Some(listener) if is_right(listener) => {}
                Some(_) => return Err(FirewallError::Other(name.clone(), word)),
                None => return Err(FirewallError::Unknown(name.clone(), word)),
            }
        }
        let is_named = |listener: &&Listener| {
            wanted.listeners.is_empty() || wanted.listeners.iter().any(|name| **name == *listener.name)
        };
        let mut doors = [None::<(&Listener, SocketAddr)>; 2];
        for listener in config.listeners.iter().filter(|listener| is_right(listener)).filter(is_named) {
            let Some(address) = listener.tcp() else { continue };
            let [four, six] = &mut doors;
            let (door, family) = if address.is_ipv4() { (four, "IPv4") } else { (six, "IPv6") };
            if let Some((other, _)) = door {
                let (first, second) = (other.name.to_string(), listener.name.to_string());
                return Err(FirewallError::Several(first, second, family));
            }
            with_port(&format!("listener `{}`", listener.name), address)?;
            *door = Some((listener, address));
        }
        match doors.map(|door| door.map(|(_, address)| address)) {
            [None, None] => Err(FirewallError::NoListener(word)),
            [four, six] => Ok(Self { four, six }),
        }
    }

    /// Those that there are.
    fn each(self) -> impl Iterator<Item = (Family, SocketAddr)> {
        self.four.map(|at| (Family::Four, at)).into_iter().chain(self.six.map(|at| (Family::Six, at)))
    }
}

/// An address that rules can name.
fn with_port(whose: &str, address: SocketAddr) -> Result<SocketAddr, FirewallError> {
    if address.port() == 0 { Err(FirewallError::FreePort(whose.to_owned())) } else { Ok(address) }
}

#[cfg(test)]
mod tests;
