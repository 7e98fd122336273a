//! The policy in the form that answers a request with a few hash lookups, whatever its size.
//! Not here: reading and checking what is written (`file`), and the judgement itself (the stages).
//! Source: the contract's "Which source" and "Which rule". About 90 bytes a name (measured): the pattern, and its place in the index.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::blocks::Blocks;
use super::clients::Clients;
use super::index::{HostIndex, Spot};
use super::rule::{Rule, Source};
use super::ties::Ties;
use crate::address::{self, PrefixMap, PrefixSet};
use crate::name::{Fqdn, Host, HostPattern};
use crate::yaml::{Faults, Place};

/// A checked policy, ready to judge, with the emergency blocks beside it. Never changes; a reload or a block makes another. A copy is cheap.
#[derive(Clone, Debug)]
pub struct Policy {
    compiled: Arc<Compiled>,
    blocks: Arc<Blocks>,
}

/// What the files say.
#[derive(Debug)]
struct Compiled {
    hash: Arc<str>,
    environment: Option<Arc<str>>,
    sources: Box<[Arc<Source>]>,
    clients: Clients,
    grants: Box<[Grant]>,
    hosts: HostIndex,
    networks: PrefixMap<Box<[u32]>>,
    never: Never,
}

/// A rule with where it reaches and who may use it.
#[derive(Debug)]
pub struct Grant {
    rule: Arc<Rule>,
    /// Indexes of its sources, ascending.
    sources: Box<[u32]>,
    reach: Reach,
}

/// Where a rule reaches: names or literal addresses, never both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Names that match one of these.
    Hosts(Box<[HostPattern]>),
    /// Literal addresses within one of these.
    Networks(Box<[IpNet]>),
}

/// What no rule can allow.
#[derive(Debug)]
pub(super) struct Never {
    hosts: Box<[HostPattern]>,
    index: HostIndex,
    networks: PrefixSet,
}

/// A rule as it was checked, before the rules are seen together.
pub(super) struct CheckedRule {
    pub(super) rule: Rule,
    pub(super) sources: Vec<u32>,
    pub(super) reach: Reach,
    /// Where each pattern or network was written.
    pub(super) places: Vec<Place>,
}

/// All that the files say, checked one by one.
#[derive(Default)]
pub(super) struct Checked {
    pub(super) sources: Vec<Source>,
    pub(super) rules: Vec<CheckedRule>,
    pub(super) never_hosts: Vec<HostPattern>,
    pub(super) never_networks: Vec<IpNet>,
}

/// What a lookup of a rule came to.
pub(super) enum Found<'a> {
    /// The most specific rule that has the port.
    Grant(&'a Grant),
    /// Rules match, and this is the most specific; none has the port.
    OtherPort(&'a Grant),
    /// No rule matches.
    Nothing,
}

impl Policy {
    /// Compiles what was checked; rules that would tie are faults. `paths` are the files' names for those.
    pub(super) fn compile(
        checked: Checked,
        (hash, environment): (String, Option<&str>),
        paths: &[&str],
        faults: &mut Faults,
    ) -> Self {
        let clients = Clients::new(&checked.sources);
        let (mut grants, mut places) = (Vec::new(), Vec::new());
        for CheckedRule { mut rule, mut sources, reach, places: of_rule } in checked.rules {
            rule.number = grants.len();
            sources.sort_unstable();
            sources.dedup();
            grants.push(Grant { rule: Arc::new(rule), sources: sources.into(), reach });
            places.push(of_rule);
        }
        let hosts = HostIndex::new(patterns(&grants));
        let networks = networks(&grants);
        let ties = Ties { grants: &grants, places: &places, sources: &checked.sources, paths };
        hosts.alike().for_each(|group| ties.report(&group, faults));
        networks.values().for_each(|group| ties.report(group, faults));
        let compiled = Compiled {
            hash: hash.into(),
            environment: environment.map(Arc::from),
            sources: checked.sources.into_iter().map(Arc::new).collect(),
            clients,
            hosts,
            networks: by_prefix(networks),
            grants: grants.into(),
            never: Never::new(checked.never_hosts, checked.never_networks),
        };
        Self { compiled: Arc::new(compiled), blocks: Arc::default() }
    }

    /// The same rules with these emergency blocks.
    pub fn with_blocks(&self, blocks: Arc<Blocks>) -> Self {
        Self { compiled: Arc::clone(&self.compiled), blocks }
    }

    /// The emergency blocks that hold beside its rules.
    pub fn blocks(&self) -> &Arc<Blocks> {
        &self.blocks
    }

    /// The policy's hash in hexadecimal: SHA-256 over path, LF, length, LF, bytes of each file, in the order of their paths.
    pub fn hash(&self) -> &Arc<str> {
        &self.compiled.hash
    }

    /// The environment of the proxy that it was loaded for.
    pub(super) fn environment(&self) -> Option<&str> {
        self.compiled.environment.as_deref()
    }

    /// Its sources, in the order of the files.
    pub fn sources(&self) -> &[Arc<Source>] {
        &self.compiled.sources
    }

    /// Its rules with where they reach, in the order of the files.
    pub fn grants(&self) -> &[Grant] {
        &self.compiled.grants
    }

    /// Its rules, in the order of the files.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.compiled.grants.iter().map(|grant| &grant.rule)
    }

    /// Its customers, each once, in alphabetical order.
    pub fn customers(&self) -> Vec<Arc<str>> {
        let mut customers: Vec<Arc<str>> = self.rules().map(|rule| Arc::clone(&rule.customer)).collect();
        customers.sort_unstable();
        customers.dedup();
        customers
    }

    /// The sources that may use `grant`.
    pub fn sources_of<'a>(&'a self, grant: &'a Grant) -> impl Iterator<Item = &'a Arc<Source>> {
        grant.sources.iter().filter_map(|index| self.source(*index))
    }

    /// What no rule can allow, as it was written.
    pub(super) fn never(&self) -> &Never {
        &self.compiled.never
    }

    /// The source at `index`.
    pub(super) fn source(&self, index: u32) -> Option<&Arc<Source>> {
        self.compiled.sources.get(usize::try_from(index).ok()?)
    }

    /// Which source a client belongs to.
    pub(super) fn clients(&self) -> &Clients {
        &self.compiled.clients
    }

    /// The rule for `host` and `port`, of those that `source` may use: of the most specific pattern that has the port.
    pub(super) fn find<'a>(&'a self, source: u32, host: &'a Host, port: u16) -> Found<'a> {
        match host {
            Host::Name(name) => choose(self.matching_name(name), source, port),
            Host::Address(address) => choose(self.matching_address(*address), source, port),
        }
    }

    /// The rules with a pattern that matches `name`, the most specific first.
    pub(super) fn matching_name<'a>(&'a self, name: &'a Fqdn) -> impl Iterator<Item = &'a Grant> {
        self.compiled.hosts.candidates(name).filter_map(|spot| {
            let grant = self.grant(spot.owner)?;
            grant.host(spot.item)?.matches(name).then_some(grant)
        })
    }

    /// The rules with a network that holds `address`, the longest prefix first.
    pub(super) fn matching_address(&self, address: IpAddr) -> impl Iterator<Item = &Grant> {
        let mut lists: Vec<&Box<[u32]>> = self.compiled.networks.matching(address).map(|(_, owners)| owners).collect();
        lists.reverse();
        lists.into_iter().flatten().filter_map(|owner| self.grant(*owner))
    }

    /// The rules that match `host`, the most specific first.
    pub(super) fn matching<'a>(&'a self, host: &'a Host) -> Box<dyn Iterator<Item = &'a Grant> + 'a> {
        match host {
            Host::Name(name) => Box::new(self.matching_name(name)),
            Host::Address(address) => Box::new(self.matching_address(*address)),
        }
    }

    /// Whether some rule has exactly this name, or exactly this address as a network of its own.
    pub(super) fn names_exactly(&self, host: &Host) -> bool {
        match host {
            Host::Name(name) => self.compiled.hosts.exact(name).any(|spot| {
                let pattern = self.grant(spot.owner).and_then(|grant| grant.host(spot.item));
                pattern.is_some_and(|pattern| pattern.matches(name))
            }),
            Host::Address(address) => self.compiled.networks.get_exact(&IpNet::from(*address)).is_some(),
        }
    }

    fn grant(&self, index: u32) -> Option<&Grant> {
        self.compiled.grants.get(usize::try_from(index).ok()?)
    }
}

/// The first of `candidates`, the most specific, that `source` may use and that has the port.
fn choose<'a>(candidates: impl Iterator<Item = &'a Grant>, source: u32, port: u16) -> Found<'a> {
    let mut other_port = None;
    for grant in candidates.filter(|grant| grant.serves(source)) {
        if grant.rule.has_port(port) {
            return Found::Grant(grant);
        }
        other_port = other_port.or(Some(grant));
    }
    other_port.map_or(Found::Nothing, Found::OtherPort)
}

impl Grant {
    /// The rule.
    pub fn rule(&self) -> &Arc<Rule> {
        &self.rule
    }

    /// Where it reaches.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Whether the source with this index may use it.
    pub(super) fn serves(&self, source: u32) -> bool {
        self.sources.binary_search(&source).is_ok()
    }

    /// The indexes of its sources, ascending.
    pub(super) fn source_indexes(&self) -> &[u32] {
        &self.sources
    }

    /// Its patterns; none if it has networks.
    pub(super) fn hosts(&self) -> &[HostPattern] {
        match &self.reach {
            Reach::Hosts(hosts) => hosts,
            Reach::Networks(_) => &[],
        }
    }

    /// Its networks; none if it has patterns.
    pub(super) fn networks(&self) -> &[IpNet] {
        match &self.reach {
            Reach::Hosts(_) => &[],
            Reach::Networks(networks) => networks,
        }
    }

    /// One of its patterns.
    pub(super) fn host(&self, item: u32) -> Option<&HostPattern> {
        self.hosts().get(usize::try_from(item).ok()?)
    }
}

impl Never {
    fn new(hosts: Vec<HostPattern>, networks: Vec<IpNet>) -> Self {
        let spots = (0..).map(|item| Spot { owner: 0, item });
        let index = HostIndex::new(spots.zip(&hosts));
        Self { hosts: hosts.into(), index, networks: networks.into_iter().collect() }
    }

    /// Its patterns.
    pub(super) fn hosts(&self) -> &[HostPattern] {
        &self.hosts
    }

    /// Its networks.
    pub(super) fn networks(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.networks.iter()
    }

    /// Whether no rule can allow `name`.
    pub(super) fn holds_name(&self, name: &Fqdn) -> bool {
        let pattern = |spot: Spot| self.hosts.get(usize::try_from(spot.item).ok()?);
        self.index.candidates(name).filter_map(pattern).any(|pattern| pattern.matches(name))
    }

    /// Whether no rule can allow `address`, or an IPv4 address within it.
    pub(super) fn holds_address(&self, address: IpAddr) -> bool {
        let inner = address::embedded(address).any(|inner| self.networks.contains(inner.into()));
        inner || self.networks.contains(address)
    }
}

fn patterns(grants: &[Grant]) -> impl Iterator<Item = (Spot, &HostPattern)> {
    (0..).zip(grants).flat_map(|(owner, grant)| {
        let spots = (0..).map(move |item| Spot { owner, item });
        spots.zip(grant.hosts())
    })
}

fn networks(grants: &[Grant]) -> BTreeMap<IpNet, Vec<Spot>> {
    let mut found: BTreeMap<IpNet, Vec<Spot>> = BTreeMap::new();
    for (owner, grant) in (0..).zip(grants) {
        for (item, network) in (0..).zip(grant.networks()) {
            found.entry(*network).or_default().push(Spot { owner, item });
        }
    }
    found
}

fn by_prefix(networks: BTreeMap<IpNet, Vec<Spot>>) -> PrefixMap<Box<[u32]>> {
    let mut map = PrefixMap::new();
    for (network, spots) in networks {
        map.insert(network, spots.into_iter().map(|spot| spot.owner).collect());
    }
    map
}
