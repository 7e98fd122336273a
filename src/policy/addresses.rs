//! Stage 2: may all of these addresses be reached? One bad address refuses the whole answer.
//! Not here: the lookup, and dialling, which takes these addresses and no others.
//! Source: the contract's "Addresses"; the IANA special-purpose registries through `address::classify`.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::decision::Denial;
use super::reason::Reason;
use super::request::Admitted;
use super::rule::Rule;
use crate::address::{self, AddressClass};
use crate::name::{Fqdn, Host, Target};

/// What a lookup found.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The addresses, in the order to try them.
    pub addresses: &'a [IpAddr],
    /// Every name that the answer went through.
    pub cnames: &'a [Fqdn],
}

/// The proxy's own addresses and listening sockets: it must not be made to call itself.
#[derive(Clone, Debug, Default)]
pub struct OwnAddresses {
    addresses: HashSet<IpAddr>,
    sockets: Vec<SocketAddr>,
}

impl OwnAddresses {
    /// All addresses of this host (and of its pools), and all sockets that it listens on, the admin port's too.
    pub fn new(addresses: impl IntoIterator<Item = IpAddr>, sockets: impl IntoIterator<Item = SocketAddr>) -> Self {
        let canonical = |socket: SocketAddr| SocketAddr::new(address::canonical(socket.ip()), socket.port());
        Self {
            addresses: addresses.into_iter().map(address::canonical).collect(),
            sockets: sockets.into_iter().map(canonical).collect(),
        }
    }

    /// Whether `address` is one of the proxy's.
    pub fn holds(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address::canonical(address))
    }

    /// Whether one of the proxy's sockets hears `port` on an address of this host.
    fn hears(&self, address: IpAddr, port: u16) -> bool {
        let heard = |socket: &&SocketAddr| socket.ip().is_unspecified() || socket.ip() == address;
        self.sockets.iter().filter(heard).any(|socket| socket.port() == port)
    }

    /// A client whose connection was captured must not have called the proxy itself: its connections would come back for ever.
    pub(super) fn judge_captured(&self, original: SocketAddr) -> Result<(), Denial> {
        let address = original.ip();
        let mut all = std::iter::once(address).chain(address::embedded(address).map(IpAddr::V4));
        if all.any(|one| self.listens(one, original.port())) {
            return Err(Denial::new(Reason::AddressForbidden));
        }
        Ok(())
    }

    /// Whether the proxy listens where a connection to `address` and `port` would arrive.
    /// A wildcard socket hears all own and all loopback addresses; a connection to the wildcard address arrives on any of these.
    pub fn listens(&self, address: IpAddr, port: u16) -> bool {
        let address = address::canonical(address);
        let local = address.is_unspecified() || address.is_loopback() || self.addresses.contains(&address);
        self.sockets
            .iter()
            .filter(|socket| socket.port() == port)
            .any(|socket| socket.ip() == address || address.is_unspecified() || (socket.ip().is_unspecified() && local))
    }
}

/// The refusal of what the proxy itself would ask for: rules that capture its own connections lead in a circle.
pub fn in_a_circle() -> Denial {
    Denial::new(Reason::AddressForbidden)
}

/// A request whose addresses have all been judged: those may be dialled, and no others.
#[derive(Clone, Debug)]
pub struct Routed {
    admitted: Admitted,
    addresses: Box<[IpAddr]>,
    cnames: Box<[Fqdn]>,
}

impl Admitted {
    /// Judges every address and every name of an answer. For a literal target the literal itself is judged, whatever is passed.
    pub fn addresses(&self, answer: &Answer<'_>, own: &OwnAddresses) -> Result<Routed, Denial> {
        let literal = match self.target().host() {
            Host::Name(_) => None,
            Host::Address(literal) => Some([*literal]),
        };
        let given = literal.as_ref().map_or(answer.addresses, |literal| literal.as_slice());
        let mut addresses: Vec<IpAddr> = Vec::with_capacity(given.len());
        for address in given.iter().copied().map(address::canonical) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let never = self.policy().never();
        let mut blocks = answer.cnames.iter().filter_map(|name| self.name_block(name));
        let block = blocks.next().or_else(|| addresses.iter().find_map(|address| self.address_block(*address)));
        if let Some(block) = block {
            return Err(self.deny_blocked(block));
        }
        // Aliases first: behind one that is denied no address was asked for.
        if !answer.cnames.iter().all(|name| self.may_follow(name))
            || addresses.iter().any(|address| never.holds_address(*address))
        {
            return Err(self.deny(Reason::DestinationDenied));
        }
        if addresses.is_empty() {
            return Err(self.deny(Reason::DnsFailure));
        }
        if !addresses.iter().all(|address| self.may_reach(*address, own)) {
            return Err(self.deny(Reason::AddressForbidden));
        }
        Ok(Routed { admitted: self.clone(), addresses: addresses.into(), cnames: answer.cnames.into() })
    }

    /// Whether one address may be reached, and every IPv4 address within it.
    fn may_reach(&self, address: IpAddr, own: &OwnAddresses) -> bool {
        let port = self.target().port();
        let class = address::classify(address);
        let all = || std::iter::once(address).chain(address::embedded(address).map(IpAddr::V4));
        if matches!(class, AddressClass::Metadata(_)) || all().any(|one| own.listens(one, port)) {
            return false;
        }
        match (self.target().host(), &self.rule().addresses) {
            (Host::Address(_), _) => all().all(|one| self.lists_network(one)),
            (Host::Name(_), Some(nets)) => all().all(|one| nets.iter().any(|net| net.contains(&one))),
            (Host::Name(_), None) => class == AddressClass::Global && !all().any(|one| own.holds(one)),
        }
    }

    /// Whether the rule's own `networks` hold an address.
    fn lists_network(&self, address: IpAddr) -> bool {
        self.policy().matching_address(address).any(|grant| Arc::ptr_eq(grant.rule(), self.rule()))
    }
}

impl Routed {
    /// The addresses that may be dialled, each once, in the order of the answer; at least one.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// The names that the answer went through.
    pub(super) fn cnames(&self) -> &[Fqdn] {
        &self.cnames
    }

    /// Judges a connection that stands: one from an address to itself arrived on this host, whatever was known of its addresses, and must
    /// not have arrived at the proxy.
    pub fn connected(&self, local: IpAddr, upstream: IpAddr, own: &OwnAddresses) -> Result<(), Denial> {
        let upstream = address::canonical(upstream);
        if address::canonical(local) == upstream && own.hears(upstream, self.target().port()) {
            return Err(self.deny(Reason::AddressForbidden));
        }
        Ok(())
    }

    /// The pool to leave from; none: the system's address.
    pub fn egress(&self) -> Option<&str> {
        self.rule().egress.as_deref()
    }

    /// The rule that was chosen.
    pub fn rule(&self) -> &Arc<Rule> {
        self.admitted.rule()
    }

    /// Where the client wants to go.
    pub fn target(&self) -> &Target {
        self.admitted.target()
    }

    /// A refusal of this request for what happened outside the policy, such as a connection that failed.
    pub fn deny(&self, reason: Reason) -> Denial {
        self.admitted.deny(reason)
    }

    /// The stage before.
    pub(super) fn admitted(&self) -> &Admitted {
        &self.admitted
    }
}
