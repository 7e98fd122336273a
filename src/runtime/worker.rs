//! One worker: a thread with a runtime of its own, its share of the connections, and all that they need without a lock.
//! Not here: what a connection goes through (`session`), starting and stopping (`server`).

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, LocalSet, spawn_local};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::policy::{Admitted, Denial, Ending, Policy, Reason};
use crate::runtime::clock;
use crate::runtime::dns::{Names, ResolverError};
use crate::runtime::gate::{Connection, SourcePlace};
use crate::runtime::listeners::{self, Ear};
use crate::runtime::metrics::Metrics;
use crate::runtime::session::{self, Accepted};
use crate::runtime::shared::{Phase, Shared, Stage};
use crate::runtime::tunnel::{Deadlines, Lane, OpenTunnel, OpenTunnels, Place, SWEEP};

/// How long the sessions of a stopping worker may take to write their last records and alerts.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(5);

/// What the sessions of one thread share.
pub struct Worker {
    shared: Arc<Shared>,
    /// The lookups of this worker.
    pub names: Names,
    /// Its open tunnels.
    tunnels: OpenTunnels,
    /// Its buffer and pipes.
    pub lane: Lane,
    /// Requests whose last record is not written yet.
    open: Rc<Cell<usize>>,
    /// Told to end what is being set up.
    stop: watch::Sender<bool>,
}

/// A request whose last record is still to come; a stopping worker waits for it.
pub struct Unfinished(Rc<Cell<usize>>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// Why a worker could not start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// No runtime, or a socket that it does not take.
    #[error("cannot start a worker: {0}")]
    Io(#[from] std::io::Error),
    /// Accepting or sweeping has ended: a fault of the program.
    #[error("a worker has stopped accepting by itself; this is a fault of the program")]
    Broken,
    /// No resolver.
    #[error(transparent)]
    Resolver(#[from] ResolverError),
}

/// What a worker tells its starter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It accepts connections.
    Serving,
    /// It has ended, whatever the cause.
    Ended,
}

/// Tells the end of a worker, also when it is a panic.
struct Farewell(mpsc::UnboundedSender<News>);

impl Drop for Farewell {
    fn drop(&mut self) {
        // The starter may have gone before.
        let _ = self.0.send(News::Ended);
    }
}

/// Runs one worker on this thread until the phase is `Stopping` and its tunnels have ended. Sends one `Serving` and one `Ended`.
///
/// # Errors
/// It could not start.
pub fn run(
    shared: Arc<Shared>,
    ears: Vec<Ear>,
    phase: watch::Receiver<Phase>,
    news: mpsc::UnboundedSender<News>,
) -> Result<(), WorkerError> {
    let farewell = Farewell(news);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    runtime.block_on(local.run_until(serve(shared, ears, phase, &farewell)))
}

async fn serve(
    shared: Arc<Shared>,
    ears: Vec<Ear>,
    mut phase: watch::Receiver<Phase>,
    starter: &Farewell,
) -> Result<(), WorkerError> {
    let names = Names::new(shared.dns())?;
    let (stop, _) = watch::channel(false);
    let (tunnels, lane, open) = (OpenTunnels::default(), Lane::default(), Rc::default());
    let worker = Rc::new(Worker { shared, names, tunnels, lane, open, stop });
    let mut tasks = JoinSet::new();
    for ear in ears {
        let listener = TcpListener::from_std(ear.socket)?;
        tasks.spawn_local(hear(Rc::clone(&worker), listener, ear.name));
    }
    tasks.spawn_local(sweep(Rc::clone(&worker)));
    // A starter that has gone stops this worker through the phase.
    let _ = starter.0.send(News::Serving);
    let broken = loop {
        tokio::select! {
            changed = phase.changed() => match changed {
                Ok(()) if phase.borrow_and_update().stage != Stage::Stopping => worker.judge_again(),
                Ok(()) | Err(_) => break false,
            },
            // Accepting and sweeping never end by themselves.
            _ = tasks.join_next() => break true,
        }
    };
    drop(tasks);
    worker.stop.send_replace(true);
    worker.tunnels.stop_all(Ending::Shutdown);
    // A client that reads neither its alert nor its answer is not waited for longer.
    let _ = timeout(LAST_WORDS, worker.idle()).await;
    if broken { Err(WorkerError::Broken) } else { Ok(()) }
}

/// Accepts for ever.
async fn hear(worker: Rc<Worker>, listener: TcpListener, name: Arc<str>) {
    loop {
        let (socket, peer) = listeners::accept(&listener).await;
        let Some(connection) = worker.shared.gate().enter() else {
            worker.metrics().dropped.inc();
            continue;
        };
        // A socket that does not take the option is closed already; reading from it will tell.
        let _ = socket.set_nodelay(true);
        let accepted = Accepted { socket, peer, listener: Arc::clone(&name), connection };
        spawn_local(session::serve(Rc::clone(&worker), accepted));
    }
}

/// Holds the open tunnels to their deadlines.
async fn sweep(worker: Rc<Worker>) {
    let mut ticks = interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let limits = worker.shared.limits();
        worker.tunnels.sweep(Instant::now(), Deadlines { idle: limits.idle_timeout, lifetime: limits.lifetime });
    }
}

impl Worker {
    /// What all workers share.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The metrics.
    pub fn metrics(&self) -> &Metrics {
        self.shared.metrics()
    }

    /// The policy in force.
    pub fn policy(&self) -> Arc<Policy> {
        self.shared.policy()
    }

    /// Whether a request on this connection is served at all.
    ///
    /// # Errors
    /// `draining`, `overloaded`.
    pub fn open_for(&self, connection: &Connection) -> Result<(), Denial> {
        if self.shared.is_draining() {
            Err(Denial::new(Reason::Draining))
        } else if !connection.is_within_limit() {
            Err(Denial::new(Reason::Overloaded))
        } else {
            Ok(())
        }
    }

    /// A place among the requests of the source.
    ///
    /// # Errors
    /// `connection_limit`.
    pub fn enter_source(&self, admitted: &Admitted) -> Result<SourcePlace, Denial> {
        let place = self.shared.gate().enter_source(&admitted.source().name);
        place.ok_or_else(|| Denial::by(admitted.rule(), Reason::ConnectionLimit))
    }

    /// Puts a tunnel among the open ones. One that was set up while another policy came into force is judged by that at once.
    pub fn enter(&self, tunnel: OpenTunnel, judged_by: &Arc<str>) -> Place<'_> {
        let place = self.tunnels.enter(tunnel);
        let policy = self.shared.policy();
        if policy.hash() != judged_by {
            let standing = place.tunnel().standing();
            let verdict = policy.judge_again(standing, self.shared.own_addresses(), clock::now());
            place.tunnel().obey(Instant::now(), verdict);
        }
        place
    }

    /// Judges every open tunnel by the policy in force.
    fn judge_again(&self) {
        let (policy, now) = (self.policy(), clock::now());
        let gone = self
            .tunnels
            .judge_again(Instant::now(), |standing| policy.judge_again(standing, self.shared.own_addresses(), now));
        if gone > 0 {
            tracing::info!(tunnels = gone, "open tunnels are no longer allowed");
        }
    }

    /// Counts a request until its last record is written.
    pub fn begin(&self) -> Unfinished {
        self.open.set(self.open.get().saturating_add(1));
        Unfinished(Rc::clone(&self.open))
    }

    /// Ends once this worker is told to stop: what it still sets up is then refused.
    pub async fn cut_off(&self) {
        // The sender lives as long as the worker, so this cannot fail.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Ends once every request has its last record. A tunnel that opened after the stop is stopped here.
    async fn idle(&self) {
        let mut ticks = interval(std::time::Duration::from_millis(5));
        while self.open.get() > 0 {
            self.tunnels.stop_all(Ending::Shutdown);
            ticks.tick().await;
        }
    }
}
