//! Starts and stops the product: log first, then sockets, then workers.
//! Not here: what it does in between (`control`), serving (`worker`, `session`), signals (`cli::run` waits for them).

mod begin;
mod control;
mod leaving;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use self::begin::Had;
use crate::config::Config;
use crate::policy::OwnAddresses;
use crate::runtime::admin::{Admin, Door, Installation};
use crate::runtime::blocks::{BlockBook, BlocksError};
use crate::runtime::budgets::{self, Budgets, BudgetsError};
use crate::runtime::canary::Canary;
use crate::runtime::egress::Pools;
use crate::runtime::entrance::Entrances;
use crate::runtime::environment::EnvironmentError;
use crate::runtime::journal::JournalError;
use crate::runtime::lifecycle::Stage;
use crate::runtime::listeners::{BindError, Bound, Ear, Inherited, OwnPath, SocketName, Sockets};
use crate::runtime::load::{Environment, Inventory, Loaded, Running};
use crate::runtime::metrics::Metrics;
use crate::runtime::orders::{self, Ordered};
use crate::runtime::profile::NoKey;
use crate::runtime::shared::Shared;
use crate::runtime::succession::{self, Estate, Identity, Notice, Predecessor, TakeOverError, Voice};
use crate::runtime::thread::{self, News, Post, WorkerError};
use crate::runtime::{balance, events, sys};

/// A running proxy.
pub struct Server {
    shared: Arc<Shared>,
    running: Running,
    inventory: Inventory,
    entrances: Arc<Entrances>,
    workers: Vec<JoinHandle<Result<(), WorkerError>>>,
    listeners: Vec<(Arc<str>, Bound)>,
    admin: Arc<Admin>,
    doors: Vec<(std::net::TcpListener, Door)>,
    admin_address: SocketAddr,
    sockets: Vec<SocketAddr>,
    paths: Vec<OwnPath>,
    budgets: Arc<Mutex<Budgets>>,
    blocks: Arc<BlockBook>,
    news: mpsc::UnboundedReceiver<News>,
    ordered: Ordered,
    canary: Option<Canary>,
    /// Where whoever takes over knocks.
    back_door: Option<succession::Door>,
    notices: mpsc::UnboundedReceiver<Notice>,
    /// What speaks to it then.
    voice: Voice,
    /// Whether another process has taken over.
    has_left: bool,
}

/// Where a proxy's sockets and its log come from.
pub enum Begins {
    /// It opens them, but for sockets that a service manager has made.
    Anew(Inherited),
    /// From another process, which goes on with its tunnels.
    After(Predecessor),
}

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
    /// Another process does not hand over.
    #[error(transparent)]
    TakeOver(#[from] TakeOverError),
    /// A service manager has made sockets that no listener is configured for.
    #[error("no listener, admin port or probes' port is configured for the socket{} {} that the service manager gives; configure one, or take the socket out of its unit", if .0.len() == 1 { "" } else { "s" }, .0.join(", "))]
    Unheard(Vec<String>),
    /// What has gone out today cannot be kept.
    #[error(transparent)]
    Budgets(#[from] BudgetsError),
    /// Log or state are another environment's.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The log's key is not there, and the profile wants it to be.
    #[error(transparent)]
    NoKey(#[from] NoKey),
    /// What is blocked is not known.
    #[error(transparent)]
    Blocks(#[from] BlocksError),
    /// The metrics cannot be made: a fault of the program.
    #[error("cannot make the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl Server {
    /// Opens the log (its lock comes before any bind), binds, and starts the workers; or takes all that over from another process.
    /// `environment` answers for `${NAME}` in reloads.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing runs then.
    pub fn start(loaded: Loaded, begins: Begins, environment: Environment) -> Result<Self, StartError> {
        sys::raise_descriptor_limit();
        let metrics = Arc::new(Metrics::new()?);
        let had = Had::begin(begins, &loaded, &metrics)?;
        let Loaded { config, policy, source, access, entrances, connections, path, inventory, .. } = loaded;
        let Had { journal, opening, budgets, blocks, sockets, predecessor } = had;
        let copies = sockets.copies()?;
        let pools = Pools::of(&config);
        let sockets_heard: Vec<SocketAddr> = sockets.addresses().collect();
        let own = own_addresses(&pools, sockets_heard.iter().copied())?;
        let (starter, news) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::new(&config, policy, (journal, metrics), (pools, own), connections));
        budgets.restore(shared.quotas());
        blocks.begin(&shared);
        events::started(&shared, &opening, predecessor.is_some());
        entrances.begin(&shared);
        let installation = Installation::new(&config, &sockets);
        let (orders, ordered) = orders::orders();
        let admin = Arc::new(Admin::new(Arc::clone(&shared), access, installation, (orders, Arc::clone(&blocks))));
        let Sockets { listeners, ears, paths, admin: (all, admin_address), probes } = sockets;
        let probes = probes.map(|(socket, _)| (socket, Door::Probes));
        let canary = canary(&config, &entrances, &listeners);
        let (notes, notices) = mpsc::unbounded_channel();
        let mut server = Self {
            shared,
            running: Running { path, environment, config: config.clone(), source },
            inventory,
            entrances: Arc::new(entrances),
            workers: Vec::new(),
            listeners,
            admin,
            doors: std::iter::once((all, Door::All)).chain(probes).collect(),
            admin_address,
            sockets: sockets_heard,
            paths,
            budgets: Arc::new(Mutex::new(budgets)),
            blocks,
            news,
            ordered,
            canary,
            back_door: None,
            notices,
            voice: Voice::default(),
            has_left: false,
        };
        server.start_workers(ears, starter)?;
        events::serving(&server.listeners, server.admin_address);
        server.succeed(&config, (copies, notes), predecessor);
        Ok(server)
    }

    /// Opens the door to whoever takes over one day, and tells the one that this process took over from that it serves.
    fn succeed(
        &mut self,
        config: &Config,
        (sockets, notices): (Vec<(SocketName, OwnedFd)>, mpsc::UnboundedSender<Notice>),
        predecessor: Option<Predecessor>,
    ) {
        let (shared, budgets) = (Arc::clone(&self.shared), Arc::clone(&self.budgets));
        let (door, own, voice) = (succession::door(config), Identity::of(config), self.voice.clone());
        match succession::Door::open(Estate { door, own, shared, sockets, budgets, voice, notices }) {
            Ok(door) => self.back_door = Some(door),
            Err(error) => tracing::warn!(%error, "no other process can take over from this one"),
        }
        let Some(predecessor) = predecessor else { return };
        for path in &mut self.paths {
            if let Err(error) = path.claim() {
                tracing::warn!(%error, "a Unix socket that was taken over is not as it is configured");
            }
        }
        if let Err(error) = self.shared.predecessors().succeed(predecessor, &self.shared) {
            tracing::warn!(%error, "the process that ran before is gone, and its tunnels with it");
        }
    }

    /// Starts them and waits until each serves. One that cannot ends them all.
    fn start_workers(&mut self, ears: Vec<Vec<Ear>>, starter: mpsc::UnboundedSender<News>) -> Result<(), StartError> {
        let count = ears.len();
        for (number, (ears, (balance, inbox))) in ears.into_iter().zip(balance::between(count)).enumerate() {
            let post = Post { ears, balance, inbox };
            let (shared, phase, starter) =
                (Arc::clone(&self.shared), self.shared.lifecycle().subscribe(), starter.clone());
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

    /// Cuts what is still open, ends the workers, and closes the log with a `stop` record.
    ///
    /// # Errors
    /// A worker had failed, or records could not be written.
    pub fn finish(mut self) -> Result<(), StartError> {
        if self.shared.journal().is_anothers() {
            self.part();
        }
        // As long as the sockets are there, nobody else's file can be taken for one of them.
        self.paths.clear();
        let result = self.end_workers();
        if !self.shared.predecessors().have_ended() {
            tracing::error!("an old process still has tunnels, and finds no log for their ends");
        }
        if !self.has_left {
            self.admin.tell_refused(true);
            budgets::keep_last(&self.shared, &self.budgets);
            events::stopped(&self.shared);
        }
        let lost = self.shared.journal().shutdown();
        events::closed(lost);
        if lost.any() { result.and(Err(JournalError::Unwritten(lost).into())) } else { result }
    }

    fn end_workers(&mut self) -> Result<(), StartError> {
        self.shared.lifecycle().enter(Stage::Stopping);
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

/// The canary, if there is one and a listener that it can ask.
fn canary(config: &Config, entrances: &Entrances, listeners: &[(Arc<str>, Bound)]) -> Option<Canary> {
    let plain = entrances.iter().zip(listeners).find(|(entrance, _)| entrance.is_plain());
    let proxy = plain.and_then(|(_, (_, place))| place.tcp())?;
    Some(Canary { every: config.redaction.canary?, proxy, log: PathBuf::from(&config.decision_log.directory) })
}

/// The addresses of this host and of the pools, and the proxy's own sockets.
///
/// # Errors
/// The host's addresses can't be listed.
pub fn own_addresses(pools: &Pools, sockets: impl IntoIterator<Item = SocketAddr>) -> io::Result<OwnAddresses> {
    let addresses = sys::interface_addresses()?.into_iter().chain(pools.addresses());
    Ok(OwnAddresses::new(addresses, sockets))
}
