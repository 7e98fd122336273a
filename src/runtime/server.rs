//! Starts and stops the product: log first, then sockets, then workers; drains; reloads the policy whole or not at all.
//! Not here: serving (`worker`, `session`), signals (`cli::run` waits for them).

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::{Instant, interval, timeout_at};

use crate::policy::{OwnAddresses, Policy};
use crate::runtime::admin::{self, Access, AccessSource, Admin, Door, Installation};
use crate::runtime::budgets::{self, Budgets, BudgetsError};
use crate::runtime::canary::Canary;
use crate::runtime::denials;
use crate::runtime::egress::{self, Pools};
use crate::runtime::entrance::{self, Entrances};
use crate::runtime::heartbeat::{self, HEARTBEAT_INTERVAL};
use crate::runtime::journal::{Journal, JournalError};
use crate::runtime::listeners::{BindError, Bound, Ear, OwnPath, Sockets};
use crate::runtime::load::{LoadError, Loaded, PolicySource};
use crate::runtime::metrics::Metrics;
use crate::runtime::reloads::{self, NotRead, Order, Ordered, Reload};
use crate::runtime::shared::{Phase, Shared, Stage};
use crate::runtime::thread::{self, News, Post, WorkerError};
use crate::runtime::timed::Clockwork;
use crate::runtime::{balance, clock, events, sys};

/// How often a drain looks whether all connections have gone.
const DRAIN_TICK: Duration = Duration::from_millis(20);

/// How often the host's addresses are read again: a virtual address that moves here is the proxy's own within this time.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What a reload reads again, each good or bad by itself.
struct Reread {
    policy: Result<Policy, LoadError>,
    access: Result<Access, LoadError>,
    entrances: Result<entrance::Reread, LoadError>,
}

/// A running proxy.
pub struct Server {
    shared: Arc<Shared>,
    source: PolicySource,
    access_source: AccessSource,
    entrances: Arc<Entrances>,
    phase: watch::Sender<Phase>,
    workers: Vec<JoinHandle<Result<(), WorkerError>>>,
    listeners: Vec<(Arc<str>, Bound)>,
    admin: Arc<Admin>,
    doors: Vec<(std::net::TcpListener, Door)>,
    admin_address: SocketAddr,
    sockets: Vec<SocketAddr>,
    paths: Vec<OwnPath>,
    drain_timeout: Duration,
    budgets: Arc<Mutex<Budgets>>,
    news: mpsc::UnboundedReceiver<News>,
    ordered: Ordered,
    canary: Option<Canary>,
}

/// A reload under way, and the order for it; SIGHUP is none.
type UnderWay = (task::JoinHandle<Reread>, Option<Order>);

/// Why the proxy does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The decision log cannot be opened.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A worker cannot be started.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The host does not give what the proxy needs.
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
    /// What has gone out today cannot be kept.
    #[error(transparent)]
    Budgets(#[from] BudgetsError),
    /// The metrics cannot be made: a fault of the program.
    #[error("cannot make the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl Server {
    /// Opens the log (its lock comes before any bind), binds, and starts the workers.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing runs then.
    pub fn start(loaded: Loaded) -> Result<Self, StartError> {
        let Loaded { config, policy, source, access, access_source, entrances, connections, .. } = loaded;
        sys::raise_descriptor_limit();
        let metrics = Arc::new(Metrics::new()?);
        let (journal, opening) = Journal::open(events::journal_setup(&config, &metrics))?;
        let budgets = Budgets::open((Path::new(&config.state), &config.instance), &policy, clock::now())?;
        let sockets = Sockets::bind(&config, &entrances, sys::workers())?;
        let pools = Pools::of(&config);
        let sockets_heard: Vec<SocketAddr> = sockets.addresses().collect();
        let own = own_addresses(&pools, sockets_heard.iter().copied())?;
        let (phase, _) = watch::channel(Phase::default());
        let (starter, news) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::new(&config, policy, (journal, metrics), (pools, own), connections));
        budgets.restore(shared.quotas());
        events::started(&shared, &opening);
        entrances.begin(&shared);
        let installation = Installation::new(&config, &sockets, connections);
        let (orders, ordered) = reloads::orders();
        let admin = Arc::new(Admin::new(Arc::clone(&shared), access, installation, orders));
        let Sockets { listeners, ears, paths, admin: (all, admin_address), probes } = sockets;
        let probes = probes.map(|(socket, _)| (socket, Door::Probes));
        let plain = entrances.iter().zip(&listeners).find(|(entrance, _)| entrance.is_plain());
        let plain = plain.and_then(|(_, (_, place))| place.tcp());
        let canary = config.redaction.canary.zip(plain).map(|(every, proxy)| Canary {
            every,
            proxy,
            log: PathBuf::from(&config.decision_log.directory),
        });
        let mut server = Self {
            shared,
            source,
            access_source,
            entrances: Arc::new(entrances),
            phase,
            workers: Vec::new(),
            listeners,
            admin,
            doors: std::iter::once((all, Door::All)).chain(probes).collect(),
            admin_address,
            sockets: sockets_heard,
            paths,
            drain_timeout: config.limits.drain_timeout,
            budgets: Arc::new(Mutex::new(budgets)),
            news,
            ordered,
            canary,
        };
        server.start_workers(ears, starter)?;
        events::serving(&server.listeners, server.admin_address);
        Ok(server)
    }

    /// Starts them and waits until each serves. One that cannot ends them all.
    fn start_workers(&mut self, ears: Vec<Vec<Ear>>, starter: mpsc::UnboundedSender<News>) -> Result<(), StartError> {
        let count = ears.len();
        for (number, (ears, (balance, inbox))) in ears.into_iter().zip(balance::between(count)).enumerate() {
            let post = Post { ears, balance, inbox };
            let (shared, phase, starter) = (Arc::clone(&self.shared), self.phase.subscribe(), starter.clone());
            let builder = std::thread::Builder::new().name(format!("worker-{number}"));
            self.workers.push(builder.spawn(move || thread::run(shared, post, phase, starter))?);
        }
        drop(starter);
        for _ in 0..count {
            if self.news.blocking_recv() != Some(News::Serving) {
                self.end_workers()?;
                return Err(WorkerError::Broken.into());
            }
        }
        Ok(())
    }

    /// The listeners and where they listen.
    pub fn listeners(&self) -> &[(Arc<str>, Bound)] {
        &self.listeners
    }

    /// The admin port's address.
    pub fn admin(&self) -> SocketAddr {
        self.admin_address
    }

    /// Serves the admin port and the probes on this runtime until `stop` ends; `reload` asks for a new policy each time it is ready.
    ///
    /// # Errors
    /// The sockets do not fit this runtime.
    pub async fn control<F: Future<Output = ()>>(&mut self, stop: F, mut reload: impl AsyncFnMut()) -> io::Result<()> {
        let mut serving = JoinSet::new();
        for (socket, door) in self.doors.drain(..) {
            serving.spawn(admin::serve(tokio::net::TcpListener::from_std(socket)?, Arc::clone(&self.admin), door));
        }
        serving.spawn(heartbeat::beat(Arc::clone(&self.shared), HEARTBEAT_INTERVAL));
        serving.spawn(denials::summarise(Arc::clone(&self.shared)));
        serving.spawn(budgets::keep_up(Arc::clone(&self.shared), Arc::clone(&self.budgets)));
        serving.spawn(egress::watch::watch(Arc::clone(&self.shared)));
        if let Some(canary) = &self.canary {
            serving.spawn(canary.clone().watch(Arc::clone(&self.shared)));
        }
        let mut stop = std::pin::pin!(stop);
        let mut ordered_stop = std::pin::pin!(self.ordered.stopped());
        let mut reading: Option<UnderWay> = None;
        let mut looks = interval(LOOK_AGAIN);
        let mut clockwork = Clockwork::new(&self.shared.policy(), clock::now());
        let is_broken = loop {
            tokio::select! {
                _ = looks.tick() => {
                    self.look_at_addresses();
                    self.shared.free_replaced();
                    self.admin.tell_refused(false);
                    if clockwork.look(&self.shared, clock::now()) {
                        self.judge_again();
                    }
                }
                () = &mut stop => break false,
                () = &mut ordered_stop => break false,
                // Until the phase is `Stopping` no worker ends unless something is broken: then none may go on, and `finish` says so.
                _ = self.news.recv() => break true,
                () = reload(), if reading.is_none() => reading = Some((self.read_again(), None)),
                Some(order) = self.ordered.reload(), if reading.is_none() => reading = Some((self.read_again(), Some(order))),
                // A large policy takes seconds to read: probes and signals are served meanwhile.
                Some(read) = async { Some((&mut reading.as_mut()?.0).await) } => {
                    let came = Arc::new(self.put_in_force(read));
                    self.shared.set_reload(Arc::clone(&came));
                    if let Some((_, Some(order))) = reading.take() {
                        self.admin.close(order, Ok(came));
                    }
                }
            }
        };
        for order in reading.and_then(|(_, order)| order).into_iter().chain(self.ordered.close()) {
            self.admin.close(order, Err(NotRead::Draining));
        }
        if !is_broken {
            self.drain().await;
        }
        Ok(())
    }

    /// An error leaves what was seen before: the next look comes soon.
    fn look_at_addresses(&self) {
        if let Ok(own) = own_addresses(self.shared.pools(), self.sockets.iter().copied()) {
            self.shared.set_own_addresses(own);
        }
    }

    /// Reads policy, admin files and listeners' files on a thread of their own.
    fn read_again(&self) -> task::JoinHandle<Reread> {
        let (policy, access) = (self.source.clone(), self.access_source.clone());
        let entrances = Arc::clone(&self.entrances);
        task::spawn_blocking(move || Reread {
            policy: policy.reload(),
            access: access.reload(),
            entrances: entrances.reload(),
        })
    }

    /// Takes what was read again. A fault keeps the last good one; open tunnels are judged by what is in force then.
    fn put_in_force(&self, read: Result<Reread, JoinError>) -> Reload {
        self.look_at_addresses();
        let Ok(Reread { policy, access, entrances }) = read else {
            return events::reload_failed(&self.shared);
        };
        let access = (!self.access_source.is_empty()).then_some(access);
        let entrances = (!self.entrances.is_empty()).then_some(entrances);
        let came = Reload::new(clock::now(), (&policy, access.as_ref(), entrances.as_ref()), self.shared.redactor());
        let is_new = policy.is_ok() || entrances.as_ref().is_some_and(Result::is_ok);
        match policy {
            Ok(policy) => events::reloaded(&self.shared, policy),
            Err(error) => events::not_reloaded(&self.shared, &error.to_string()),
        }
        if let Some(entrances) = entrances {
            self.entrances.reloaded(&self.shared, entrances);
        }
        if is_new {
            self.judge_again();
        }
        if let Some(access) = access {
            self.admin.reloaded(access);
        }
        came
    }

    /// Lets workers judge their open tunnels by the policy in force.
    fn judge_again(&self) {
        self.phase.send_modify(|phase| phase.generation = phase.generation.wrapping_add(1));
    }

    /// Ready no more, then no new requests; tunnels may finish within `drain_timeout`.
    async fn drain(&self) {
        self.shared.drain();
        self.phase.send_modify(|phase| phase.stage = Stage::Draining);
        tracing::info!(connections = self.shared.gate().connections(), "draining");
        let mut ticks = interval(DRAIN_TICK);
        // At the deadline what is left is cut.
        let _ = timeout_at(Instant::now() + self.drain_timeout, async {
            while self.shared.gate().served() > 0 {
                ticks.tick().await;
            }
        })
        .await;
    }

    /// Cuts what is still open, ends the workers, and closes the log with a `stop` record.
    ///
    /// # Errors
    /// A worker had failed, or records could not be written.
    pub fn finish(mut self) -> Result<(), StartError> {
        // As long as the sockets are there, nobody else's file can be taken for one of them.
        self.paths.clear();
        let result = self.end_workers();
        self.admin.tell_refused(true);
        budgets::keep_last(&self.shared, &self.budgets);
        events::stopped(&self.shared);
        let lost = self.shared.journal().shutdown();
        events::closed(lost);
        if lost.any() { result.and(Err(JournalError::Unwritten(lost).into())) } else { result }
    }

    fn end_workers(&mut self) -> Result<(), StartError> {
        self.phase.send_modify(|phase| phase.stage = Stage::Stopping);
        let mut result = Ok(());
        for worker in self.workers.drain(..) {
            match worker.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => result = Err(error.into()),
                Err(_) => result = Err(io::Error::other("a worker ended by a panic").into()),
            }
        }
        result
    }
}

/// The addresses of this host and of the pools, and the proxy's own sockets.
///
/// # Errors
/// The host's addresses can't be listed.
pub fn own_addresses(pools: &Pools, sockets: impl IntoIterator<Item = SocketAddr>) -> io::Result<OwnAddresses> {
    let addresses = sys::interface_addresses()?.into_iter().chain(pools.addresses());
    Ok(OwnAddresses::new(addresses, sockets))
}
