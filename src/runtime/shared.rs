//! What all workers and the admin port share: settings, policy, log, metrics, counters. Reading any of it takes no lock.
//! Not here: what happens at start, reload and stop (`server`, `events`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use jiff::Timestamp;

use crate::config::{Config, Dns, Limits, Listener, Mode};
use crate::policy::{Blocks, Denial, OwnAddresses, Policy, Reason};
use crate::redact::Redactor;
use crate::runtime::circles::Circles;
use crate::runtime::clock;
use crate::runtime::denials::Denials;
use crate::runtime::dns::Lookups;
use crate::runtime::egress::Pools;
use crate::runtime::gate::Gate;
use crate::runtime::journal::Journal;
use crate::runtime::lifecycle::{Lifecycle, Stage};
use crate::runtime::metrics::Metrics;
use crate::runtime::quota::Quotas;
use crate::runtime::reloads::Reload;
use crate::runtime::succession::Predecessors;
use crate::runtime::sys;
use crate::runtime::tally::InForce;
use crate::runtime::watch::Watching;

/// What all threads share.
pub struct Shared {
    instance: Arc<str>,
    environment: Option<Arc<str>>,
    started: Timestamp,
    limits: ArcSwap<Limits>,
    dns: Dns,
    listeners: Vec<Listener>,
    lookups: Arc<Lookups>,
    in_force: ArcSwap<InForce>,
    /// Policies that were replaced, until nobody judges by them any more: a worker must not be the one who frees a million names.
    replaced: Mutex<Vec<Arc<InForce>>>,
    reload: ArcSwapOption<Reload>,
    journal: Journal,
    metrics: Arc<Metrics>,
    pools: Pools,
    own: ArcSwap<OwnAddresses>,
    gate: Gate,
    quotas: Quotas,
    denials: Denials,
    redactor: Arc<Redactor>,
    circles: Circles,
    lifecycle: Lifecycle,
    leaving: AtomicBool,
    draining: AtomicBool,
    withdrawn: AtomicBool,
    watching: ArcSwapOption<Watching>,
}

impl Shared {
    /// All of it, at the start.
    pub fn new(
        config: &Config,
        policy: Policy,
        (journal, metrics): (Journal, Arc<Metrics>),
        (pools, own): (Pools, OwnAddresses),
        connections: usize,
    ) -> Self {
        let lifecycle = Lifecycle::default();
        lifecycle.predecessors().set_policy(policy.hash());
        Self {
            instance: config.instance.as_str().into(),
            environment: config.environment.as_deref().map(Arc::from),
            started: clock::now(),
            limits: ArcSwap::from_pointee(config.limits.clone()),
            dns: config.dns.clone(),
            listeners: config.listeners.clone(),
            lookups: Arc::new(Lookups::new(&config.dns)),
            in_force: ArcSwap::from_pointee(InForce::new(
                Arc::new(policy),
                &config.listeners.iter().map(|listener| Arc::clone(&listener.name)).collect::<Vec<_>>(),
            )),
            replaced: Mutex::default(),
            reload: ArcSwapOption::empty(),
            gate: Gate::new(connections, source_limit(config)),
            quotas: Quotas::default(),
            denials: Denials::new(config.decision_log.denial_rate),
            journal,
            metrics,
            pools,
            own: ArcSwap::from_pointee(own),
            redactor: Arc::new(config.redaction.redactor()),
            circles: Circles::new(config.listeners.iter().any(|listener| listener.mode != Mode::Connect)),
            lifecycle,
            leaving: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            withdrawn: AtomicBool::new(false),
            watching: ArcSwapOption::empty(),
        }
    }

    /// The instance's name, for records.
    pub fn instance(&self) -> &Arc<str> {
        &self.instance
    }

    /// The environment, for records.
    pub fn environment(&self) -> Option<&Arc<str>> {
        self.environment.as_ref()
    }

    /// When this run began.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// Deadlines and bounds.
    pub fn limits(&self) -> Guard<Arc<Limits>> {
        self.limits.load()
    }

    /// Takes what of another configuration needs no restart; so many connections there may be. To be called before [`Self::set_policy`].
    pub fn take(&self, config: &Config, connections: usize) {
        self.limits.store(Arc::new(config.limits.clone()));
        self.gate.set_limits(connections, source_limit(config));
        self.denials.set_rate(config.decision_log.denial_rate);
    }

    /// How names are looked up.
    pub fn dns(&self) -> &Dns {
        &self.dns
    }

    /// Where clients come in.
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// The lookups under way and what they have said.
    pub fn lookups(&self) -> &Arc<Lookups> {
        &self.lookups
    }

    /// The policy in force, with its counters.
    pub fn in_force(&self) -> Arc<InForce> {
        self.in_force.load_full()
    }

    /// The policy in force.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.in_force.load().policy)
    }

    /// Puts the rules of a policy in force, with the emergency blocks that are in force already.
    pub fn set_policy(&self, policy: &Policy) {
        self.predecessors().set_policy(policy.hash());
        self.replace(|before| {
            let policy = policy.with_blocks(Arc::clone(before.policy.blocks()));
            InForce::new(Arc::new(policy), before.listeners())
        });
    }

    /// Puts these emergency blocks in force, beside the rules that are in force already.
    pub fn set_blocks(&self, blocks: Blocks) {
        self.replace(|before| before.with_blocks(Arc::new(blocks)));
    }

    /// One at a time: rules and blocks come from different hands.
    fn replace(&self, with: impl FnOnce(&InForce) -> InForce) {
        let mut replaced = self.replaced();
        let before = self.in_force();
        self.in_force.store(Arc::new(with(&before)));
        replaced.push(before);
    }

    /// What the newest reload came to; `None`: there was none.
    pub fn reload(&self) -> Option<Arc<Reload>> {
        self.reload.load_full()
    }

    /// How files are watched; `None`: nothing is yet.
    pub fn watching(&self) -> Option<Arc<Watching>> {
        self.watching.load_full()
    }

    /// Keeps how files are watched.
    pub fn set_watching(&self, watching: Watching) {
        self.watching.store(Some(Arc::new(watching)));
    }

    /// Keeps what a reload came to.
    pub fn set_reload(&self, reload: Arc<Reload>) {
        self.reload.store(Some(reload));
    }

    /// Frees replaced policies that nobody judges by any more, and gives their memory back. Not for workers.
    pub fn free_replaced(&self) {
        let mut replaced = self.replaced();
        let count = replaced.len();
        replaced.retain(|in_force| Arc::strong_count(in_force) > 1);
        if replaced.len() < count {
            drop(replaced);
            sys::give_back_memory();
        }
    }

    fn replaced(&self) -> MutexGuard<'_, Vec<Arc<InForce>>> {
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which denials are recorded one by one.
    pub fn denials(&self) -> &Denials {
        &self.denials
    }

    /// The decision log.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The egress pools.
    pub fn pools(&self) -> &Pools {
        &self.pools
    }

    /// The proxy's own addresses and sockets, as last seen.
    pub fn own_addresses(&self) -> Arc<OwnAddresses> {
        self.own.load_full()
    }

    /// Addresses come and go while the proxy runs; it is its own destination under none of them.
    pub fn set_own_addresses(&self, own: OwnAddresses) {
        self.own.store(Arc::new(own));
    }

    /// What makes texts from peers fit to be written.
    pub fn redactor(&self) -> &Arc<Redactor> {
        &self.redactor
    }

    /// Our own connections to customers, where they could be captured.
    pub fn circles(&self) -> &Circles {
        &self.circles
    }

    /// The connection counters.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// What rules and sources with limits have used up.
    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// What workers are told, and how open tunnels are judged again.
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    /// Old processes of this instance whose log this one has.
    pub fn predecessors(&self) -> &Arc<Predecessors> {
        self.lifecycle.predecessors()
    }

    /// Is ready no more from now on: it is about to refuse requests.
    pub fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::Relaxed);
    }

    /// Whether the proxy is about to refuse requests, or does.
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Ordering::Relaxed)
    }

    /// Refuses new requests from now on.
    pub fn drain(&self) {
        self.withdraw();
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Another process accepts in this one's place from now on.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        self.lifecycle.enter(Stage::Leaving);
    }

    /// Whether clients are to go elsewhere with what they have next: to the process that has taken over, or away.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed) || self.is_draining()
    }

    /// Whether new requests are refused.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether a record could be written.
    ///
    /// # Errors
    /// `decision_log_unavailable`, before anything leaves the proxy.
    pub fn log_is_healthy(&self) -> Result<(), Denial> {
        if self.journal.healthy() { Ok(()) } else { Err(Denial::new(Reason::DecisionLogUnavailable)) }
    }

    /// Why the proxy should get no requests; `None`: it should.
    pub fn not_ready(&self) -> Option<&'static str> {
        if self.is_withdrawn() {
            Some("draining\n")
        } else if !self.journal.healthy() {
            Some("the decision log cannot be written\n")
        } else {
            None
        }
    }

    /// The page of `/metrics`.
    ///
    /// # Errors
    /// A metric cannot be written as text.
    pub fn metrics_page(&self) -> prometheus::Result<Vec<u8>> {
        self.metrics.connections.set(i64::try_from(self.gate.connections()).unwrap_or(i64::MAX));
        self.metrics.policy.set_blocks(self.in_force.load().policy.blocks().len());
        self.metrics.policy.set_limits(&self.quotas.rows());
        self.pools.show(&self.metrics.egress);
        self.metrics.page()
    }
}

fn source_limit(config: &Config) -> usize {
    usize::try_from(config.limits.connections_per_source).unwrap_or(usize::MAX)
}
