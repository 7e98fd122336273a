//! `Target`: where a CONNECT wants to go, from its authority `host:port`. Pure.
//! Not here: Host headers (they decide nothing), which target is allowed (`policy`).
//! Source: RFC 9110 9.3.6 and RFC 9112 3.2.3, narrowed: no guessed port, no second spelling of an address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use thiserror::Error;

use super::{Fqdn, NameError, shown};

/// The host part of a target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A name, to be resolved.
    Name(Fqdn),
    /// A literal address; an IPv4-mapped one has become IPv4.
    Address(IpAddr),
}

/// A host and a port from 1 to 65535, canonical.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    host: Host,
    port: u16,
}

/// Why an authority is no target. Holds the input escaped and cut to 64 characters.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TargetError {
    /// No `:port` at the end; it is never guessed.
    #[error("no port in `{target}`; write `host:port`, such as `api.acme.example:443`")]
    NoPort {
        /// The whole authority.
        target: String,
    },
    /// A port in another spelling, or out of range.
    #[error("bad port `{port}`; write 1 to 65535 in decimal digits without sign or leading zero")]
    Port {
        /// What stands after the last colon.
        port: String,
    },
    /// Brackets around something else than an IPv6 address; a zone counts.
    #[error("no IPv6 address in `[{host}]`; write brackets only around an IPv6 address without zone")]
    Brackets {
        /// What stands in the brackets.
        host: String,
    },
    /// A second colon outside brackets.
    #[error("colon in host `{host}`; write an IPv6 address in brackets, such as `[2001:db8::1]:443`")]
    Colon {
        /// The host.
        host: String,
    },
    /// The host is neither an address nor a name.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl Target {
    /// A host and a port as they are known from elsewhere than a head. `None`: the port is 0.
    pub fn new(host: Host, port: u16) -> Option<Self> {
        let host = match host {
            Host::Name(name) => Host::Name(name),
            Host::Address(address) => Host::Address(address.to_canonical()),
        };
        (port != 0).then_some(Self { host, port })
    }

    /// The name or literal address.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let no_port = || TargetError::NoPort { target: shown(text) };
        if let Some(rest) = text.strip_prefix('[') {
            let (literal, rest) = rest.split_once(']').ok_or_else(|| TargetError::Brackets { host: shown(rest) })?;
            let host = parse_literal(literal)?;
            let port = parse_port(rest.strip_prefix(':').ok_or_else(no_port)?)?;
            return Ok(Self { host, port });
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(no_port)?;
        if host.contains(':') {
            return Err(TargetError::Colon { host: shown(host) });
        }
        let port = parse_port(port)?;
        let host = match host.parse::<Ipv4Addr>() {
            Ok(address) => Host::Address(address.into()),
            Err(_) => Host::Name(host.parse()?),
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for Host {
    /// Without brackets, as records hold it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::Address(address) => SocketAddr::new(*address, self.port).fmt(f),
        }
    }
}

fn parse_literal(text: &str) -> Result<Host, TargetError> {
    match text.parse::<Ipv6Addr>() {
        Ok(address) => Ok(Host::Address(address.to_canonical())),
        Err(_) => Err(TargetError::Brackets { host: shown(text) }),
    }
}

fn parse_port(text: &str) -> Result<u16, TargetError> {
    let is_plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port) if is_plain => Ok(port),
        _ => Err(TargetError::Port { port: shown(text) }),
    }
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
