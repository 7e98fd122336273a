//! The life of one worker's thread: a runtime of its own, its sockets, until the proxy stops.
//! Not here: what a connection goes through (`session`), what its sessions share (`worker`), starting all threads (`server`).

use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, LocalSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval};

use crate::runtime::dns::ResolverError;
use crate::runtime::listeners::{self, Ear};
use crate::runtime::session::{self, Accepted};
use crate::runtime::shared::{Phase, Shared, Stage};
use crate::runtime::tunnel::SWEEP;
use crate::runtime::worker::Worker;

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
    let worker = Rc::new(Worker::new(shared)?);
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
    worker.wind_up().await;
    if broken { Err(WorkerError::Broken) } else { Ok(()) }
}

/// Accepts for ever.
async fn hear(worker: Rc<Worker>, listener: TcpListener, name: Arc<str>) {
    loop {
        let (socket, peer) = listeners::accept(&listener).await;
        let Some(connection) = worker.admit(peer.ip()) else {
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
        worker.sweep();
    }
}
