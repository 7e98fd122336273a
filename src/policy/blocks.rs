//! The emergency blocks in force, ready to judge: a few hash lookups, however many there are.
//! Not here: which stage asks (`request`, `addresses`, `hello`), keeping them (`runtime::blocks`).
//! Source: the contract's `POST /v1/block`: deny-only, timed; a block counts as `never` does and beats every rule.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use super::block::{Block, Blocked};
use super::decision::Denial;
use super::index::{HostIndex, Spot};
use super::reason::Reason;
use super::rule::Rule;
use crate::address::{self, PrefixMap};
use crate::name::{Fqdn, Host, HostPattern};

/// Blocks, each with its own end. Never changes; one more makes another.
#[derive(Debug, Default)]
pub struct Blocks {
    list: Box<[Arc<Block>]>,
    hosts: HostIndex,
    networks: PrefixMap<Vec<Arc<Block>>>,
    sources: HashMap<Arc<str>, Vec<Arc<Block>>>,
    customers: HashMap<Arc<str>, Vec<Arc<Block>>>,
}

impl Blocks {
    /// Of these, in any order.
    pub fn new(list: impl IntoIterator<Item = Arc<Block>>) -> Self {
        let mut blocks = Self { list: list.into_iter().collect(), ..Self::default() };
        blocks.hosts = HostIndex::new(hosts(&blocks.list));
        for block in &blocks.list {
            let same = match &block.what {
                Blocked::Host(_) => continue,
                Blocked::Network(network) => {
                    let mut same = blocks.networks.get_exact(network).cloned().unwrap_or_default();
                    same.push(Arc::clone(block));
                    blocks.networks.insert(*network, same);
                    continue;
                }
                Blocked::Source(name) => blocks.sources.entry(Arc::clone(name)),
                Blocked::Customer(name) => blocks.customers.entry(Arc::clone(name)),
            };
            same.or_default().push(Arc::clone(block));
        }
        blocks
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Block>> {
        self.list.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The block that a name falls under at `at`.
    pub(super) fn of_name(&self, name: &Fqdn, at: Timestamp) -> Option<&Arc<Block>> {
        let block = |spot: Spot| self.list.get(usize::try_from(spot.owner).ok()?);
        let matches = |block: &&Arc<Block>| pattern(block).is_some_and(|pattern| pattern.matches(name));
        self.hosts.candidates(name).filter_map(block).find(|block| block.holds(at) && matches(block))
    }

    /// The block that an address, or an IPv4 address within it, falls under at `at`.
    pub(super) fn of_address(&self, address: IpAddr, at: Timestamp) -> Option<&Arc<Block>> {
        let mut all = std::iter::once(address).chain(address::embedded(address).map(IpAddr::V4));
        all.find_map(|one| {
            let mut matching = self.networks.matching(one).flat_map(|(_, blocks)| blocks);
            matching.find(|block| block.holds(at))
        })
    }

    /// The block that a host falls under at `at`.
    pub(super) fn of_host(&self, host: &Host, at: Timestamp) -> Option<&Arc<Block>> {
        match host {
            Host::Name(name) => self.of_name(name, at),
            Host::Address(address) => self.of_address(*address, at),
        }
    }

    /// The block of a source at `at`.
    pub(super) fn of_source(&self, name: &str, at: Timestamp) -> Option<&Arc<Block>> {
        self.sources.get(name)?.iter().find(|block| block.holds(at))
    }

    /// The block of a customer at `at`.
    pub(super) fn of_customer(&self, name: &str, at: Timestamp) -> Option<&Arc<Block>> {
        self.customers.get(name)?.iter().find(|block| block.holds(at))
    }
}

impl Denial {
    /// The refusal of what a block hits; `rule` if one was chosen before.
    pub(super) fn blocked(rule: Option<&Arc<Rule>>, block: &Arc<Block>) -> Self {
        Self::of(rule, Reason::DestinationDenied).by_block(block)
    }
}

fn hosts(list: &[Arc<Block>]) -> impl Iterator<Item = (Spot, &HostPattern)> {
    (0..).zip(list).filter_map(|(owner, block)| Some((Spot { owner, item: 0 }, pattern(block)?)))
}

fn pattern(block: &Block) -> Option<&HostPattern> {
    match &block.what {
        Blocked::Host(pattern) => Some(pattern),
        Blocked::Network(_) | Blocked::Source(_) | Blocked::Customer(_) => None,
    }
}
