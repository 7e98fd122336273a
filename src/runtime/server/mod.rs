//! Starts and stops the product: log first, then sockets, then workers.
//! Not here: what it does in between (`control`), serving (`worker`, `session`), signals (`cli::run` waits for them).

mod control;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use crate::policy::OwnAddresses;
use crate::runtime::admin::{Admin, Door, Installation};
use crate::runtime::budgets::{self, Budgets, BudgetsError};
use crate::runtime::canary::Canary;
use crate::runtime::egress::Pools;
use crate::runtime::entrance::Entrances;
use crate::runtime::journal::{Journal, JournalError};
use crate::runtime::lifecycle::Stage;
use crate::runtime::listeners::{BindError, Bound, Ear, OwnPath, Sockets};
use crate::runtime::load::{Environment, Inventory, Loaded, Running};
use crate::runtime::metrics::Metrics;
use crate::runtime::orders::{self, Ordered};
use crate::runtime::shared::Shared;
use crate::runtime::thread::{self, News, Post, WorkerError};
use crate::runtime::{balance, clock, events, sys};

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
    news: mpsc::UnboundedReceiver<News>,
    ordered: Ordered,
    canary: Option<Canary>,
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
    /// What has gone out today cannot be kept.
    #[error(transparent)]
    Budgets(#[from] BudgetsError),
    /// The metrics cannot be made: a fault of the program.
    #[error("cannot make the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl Server {
    /// Opens the log (its lock comes before any bind), binds, and starts the workers. `environment` answers for `${NAME}` in reloads.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing runs then.
    pub fn start(loaded: Loaded, environment: Environment) -> Result<Self, StartError> {
        let Loaded { config, policy, source, access, entrances, connections, path, inventory, .. } = loaded;
        sys::raise_descriptor_limit();
        let metrics = Arc::new(Metrics::new()?);
        let (journal, opening) = Journal::open(events::journal_setup(&config, &metrics))?;
        let budgets = Budgets::open((Path::new(&config.state), &config.instance), &policy, clock::now())?;
        let sockets = Sockets::bind(&config, &entrances, sys::workers())?;
        let pools = Pools::of(&config);
        let sockets_heard: Vec<SocketAddr> = sockets.addresses().collect();
        let own = own_addresses(&pools, sockets_heard.iter().copied())?;
        let (starter, news) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::new(&config, policy, (journal, metrics), (pools, own), connections));
        budgets.restore(shared.quotas());
        events::started(&shared, &opening);
        entrances.begin(&shared);
        let installation = Installation::new(&config, &sockets);
        let (orders, ordered) = orders::orders();
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
            running: Running { path, environment, config, source },
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

/// The addresses of this host and of the pools, and the proxy's own sockets.
///
/// # Errors
/// The host's addresses can't be listed.
pub fn own_addresses(pools: &Pools, sockets: impl IntoIterator<Item = SocketAddr>) -> io::Result<OwnAddresses> {
    let addresses = sys::interface_addresses()?.into_iter().chain(pools.addresses());
    Ok(OwnAddresses::new(addresses, sockets))
}
