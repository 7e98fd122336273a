//! Which source a client belongs to: one longest match, whatever the policy's size, then its identities.
//! Not here: what a source may reach (`request`), what is said of sources that no client could be told apart by (`file::source`).
//! Source: the contract's "Which source": the longest subnet, then a matching identity; no wider source is tried.

use std::collections::HashMap;
use std::sync::Arc;

use ipnet::IpNet;

use super::client::{Certificate, Client, Origin};
use super::compile::Policy;
use super::reason::Reason;
use super::rule::Source;
use crate::address::PrefixMap;
use crate::name::{Identity, IdentityPattern};

/// Sources by where clients come from.
#[derive(Debug, Default)]
pub(super) struct Clients {
    subnets: PrefixMap<Owner>,
    /// The sources of subnets that several share. All of those have identities.
    shared: Vec<Vec<u32>>,
    users: HashMap<u32, u32>,
}

/// Whose a subnet is.
#[derive(Clone, Copy, Debug)]
enum Owner {
    /// One source's, with this index.
    Source(u32),
    /// That of several, with this index among the shared ones.
    Several(usize),
}

/// A client's source, and which of its identities made it that one's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Belongs<'a> {
    /// Index of the source.
    pub(super) index: u32,
    /// The source.
    pub(super) source: &'a Arc<Source>,
    /// Index among the client's identities; `None`: the source asks for none.
    pub(super) identity: Option<usize>,
}

impl Clients {
    /// Indexes `sources`.
    pub(super) fn new(sources: &[Source]) -> Self {
        let mut clients = Self::default();
        for (index, source) in (0..).zip(sources) {
            source.subnets.iter().for_each(|subnet| clients.add(*subnet, index));
            clients.users.extend(source.uids.iter().map(|uid| (*uid, index)));
        }
        clients
    }

    fn add(&mut self, subnet: IpNet, source: u32) {
        let owner = match self.subnets.get_exact(&subnet) {
            None => Owner::Source(source),
            Some(Owner::Source(first)) => {
                self.shared.push(vec![*first, source]);
                Owner::Several(self.shared.len().saturating_sub(1))
            }
            Some(Owner::Several(index)) => {
                self.shared.get_mut(*index).into_iter().for_each(|several| several.push(source));
                return;
            }
        };
        self.subnets.insert(subnet, owner);
    }

    /// The sources that a client from there may be of.
    fn candidates(&self, origin: Origin) -> impl Iterator<Item = u32> + '_ {
        let owner = match origin {
            Origin::Address(address) => self.subnets.longest(address).map(|(_, owner)| *owner),
            Origin::User(uid) => self.users.get(&uid).map(|source| Owner::Source(*source)),
            Origin::Unknown => None,
        };
        let (one, several) = match owner {
            Some(Owner::Source(source)) => (Some(source), None),
            Some(Owner::Several(index)) => (None, self.shared.get(index)),
            None => (None, None),
        };
        one.into_iter().chain(several.into_iter().flatten().copied())
    }

    /// The users that sources have.
    pub(super) fn users(&self) -> impl Iterator<Item = u32> + '_ {
        self.users.keys().copied()
    }
}

impl Policy {
    /// The sources that a client from there may turn out to be of, once its identities are known: one; or several, which all ask for some.
    pub fn candidates(&self, origin: Origin) -> impl Iterator<Item = &Arc<Source>> {
        self.clients().candidates(origin).filter_map(|index| self.source(index))
    }

    /// Whether one of these takes a credential as an identity: a client from there may be asked for one.
    pub fn asks_credential(&self, origin: Origin) -> bool {
        self.candidates(origin).any(|source| source.takes_credentials())
    }

    /// The source that a client belongs to. One whose identities are those of two sources belongs to neither: nobody could say whose it is.
    pub(super) fn belongs(&self, client: &Client) -> Result<Belongs<'_>, Reason> {
        if client.certificate == Certificate::Missing {
            return Err(Reason::IdentityRequired);
        }
        let mut found = None;
        for index in self.clients().candidates(client.origin) {
            let Some(source) = self.source(index) else { continue };
            if source.identities.is_empty() {
                return Ok(Belongs { index, source, identity: None });
            }
            let identity = client.identities.iter().position(|identity| source.is_of(identity));
            if identity.is_some() && found.is_some() {
                return Err(Reason::IdentityNotAllowed);
            }
            found = found.or(identity.map(|identity| Belongs { index, source, identity: Some(identity) }));
        }
        found.ok_or_else(|| self.missing(client))
    }

    /// What a client lacks that belongs to no source.
    fn missing(&self, client: &Client) -> Reason {
        let shows_credential = || client.identities.iter().any(|identity| matches!(identity, Identity::Credential(_)));
        if self.candidates(client.origin).next().is_none() {
            return Reason::SourceUnknown;
        }
        if client.takes_credentials && !shows_credential() && self.asks_credential(client.origin) {
            return Reason::CredentialsMissing;
        }
        let has_shown = client.certificate == Certificate::Shown || !client.identities.is_empty();
        if has_shown { Reason::IdentityNotAllowed } else { Reason::IdentityRequired }
    }
}

impl Source {
    /// Whether an identity is one of those that it lists.
    fn is_of(&self, identity: &Identity) -> bool {
        self.identities.iter().any(|pattern| pattern.matches(identity))
    }

    fn takes_credentials(&self) -> bool {
        self.identities.iter().any(|pattern| matches!(pattern, IdentityPattern::Credential(_)))
    }
}
