//! The life of one worker's thread: a runtime of its own, its sockets, until the proxy stops.
//! Not here: what a connection goes through (`session`), what its sessions share (`worker`), starting all threads (`server`).

use std::rc::Rc;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::lazy;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, LocalSet, spawn_local, yield_now};
use tokio::time::{MissedTickBehavior, interval};

use crate::runtime::balance::{Arrival, Balance, Inbox, Seat, Seated};
use crate::runtime::dns::ResolverError;
use crate::runtime::entrance::Entrance;
use crate::runtime::front::{self, Accepted};
use crate::runtime::lifecycle::{Phase, Stage};
use crate::runtime::listeners::{Ear, Fresh, Listener};
use crate::runtime::shared::Shared;
use crate::runtime::stream::ClientStream;
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

/// Where a worker's connections come from.
pub struct Post {
    /// Its listening sockets. One without any serves what is handed to it.
    pub ears: Vec<Ear>,
    /// Its view of the others.
    pub balance: Balance,
    /// What the others hand to it.
    pub inbox: Inbox,
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
    post: Post,
    phase: watch::Receiver<Phase>,
    news: mpsc::UnboundedSender<News>,
) -> Result<(), WorkerError> {
    let farewell = Farewell(news);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // `LocalRuntime` saves 0.2 % of a tunnel's instructions, and then writes to its eventfd for every permit that the log's thread gives,
    // where this one wakes up once for all of them.
    let local = LocalSet::new();
    runtime.block_on(local.run_until(serve(shared, post, phase, &farewell)))
}

async fn serve(
    shared: Arc<Shared>,
    post: Post,
    mut phase: watch::Receiver<Phase>,
    starter: &Farewell,
) -> Result<(), WorkerError> {
    let Post { ears, balance, mut inbox } = post;
    let (worker, balance) = (Rc::new(Worker::new(shared)?), Rc::new(balance));
    let (mut hearing, mut tasks) = (JoinSet::new(), JoinSet::new());
    for ear in ears {
        let Ear { entrance, socket } = ear;
        hearing.spawn_local(hear(Rc::clone(&worker), Rc::clone(&balance), Listener::new(socket)?, entrance));
    }
    tasks.spawn_local(sweep(Rc::clone(&worker)));
    // A starter that has gone stops this worker through the phase.
    let _ = starter.0.send(News::Serving);
    let broken = loop {
        tokio::select! {
            changed = phase.changed() => {
                let phase = phase.borrow_and_update().clone();
                if changed.is_err() || phase.stage == Stage::Stopping {
                    break false;
                }
                if phase.stage == Stage::Leaving {
                    // What waits there another process accepts, which has the sockets too.
                    hearing.abort_all();
                }
                phase.tell(worker.judge_again().await);
            }
            seated = inbox.next() => begin(&worker, seated),
            // Accepting and sweeping never end by themselves.
            _ = tasks.join_next() => break true,
            Some(ended) = hearing.join_next() => if !ended.is_err_and(|error| error.is_cancelled()) { break true },
        }
    };
    drop((hearing, tasks));
    let left: Vec<_> = inbox.close().await.into_iter().filter_map(|seated| register(&worker, seated)).collect();
    // One look at their sockets before they are told of the stop: a request that is there already gets its refusal and its record.
    yield_now().await;
    left.into_iter().for_each(|(accepted, seat)| attend(&worker, accepted, seat));
    worker.wind_up().await;
    if broken { Err(WorkerError::Broken) } else { Ok(()) }
}

/// Accepts for ever. Whoever serves a connection, it is admitted here: while it waits it has its place, and one that gets none wakes nobody.
async fn hear(worker: Rc<Worker>, balance: Rc<Balance>, listener: Listener, entrance: Arc<Entrance>) {
    let take = |socket: Fresh| {
        let Some(connection) = worker.admit(&entrance, socket.peer()) else {
            worker.metrics().dropped.inc();
            return;
        };
        let arrival = Arrival { socket, entrance: Arc::clone(&entrance), connection };
        if let Some(seated) = balance.seat(arrival) {
            begin(&worker, seated);
        }
    };
    listener.accept_all(take).await;
}

/// Serves a connection on this worker.
fn begin(worker: &Rc<Worker>, seated: Seated) {
    if let Some((accepted, seat)) = register(worker, seated) {
        attend(worker, accepted, seat);
    }
}

/// Watches a connection's socket. `None`: the kernel has no memory for that, and nothing can be read from it.
fn register(worker: &Worker, seated: Seated) -> Option<(Accepted, Seat)> {
    let Seated { arrival: Arrival { socket, entrance, connection }, seat } = seated;
    let peer = socket.peer();
    match ClientStream::try_from(socket) {
        Ok(stream) => Some((Accepted { stream, peer, entrance, connection }, seat)),
        Err(_) => {
            worker.metrics().dropped.inc();
            None
        }
    }
}

/// Serves it in a task of its own, counted among this worker's. From now on the worker's end waits for it.
fn attend(worker: &Rc<Worker>, accepted: Accepted, seat: Seat) {
    let waiting = worker.begin();
    let worker = Rc::clone(worker);
    // Combined and not awaited in a block, which would keep room for what it has handed on: 150 bytes a tunnel.
    let serving = lazy(move |_| {
        // It counts itself from its first step on, which is in this turn.
        drop(waiting);
        front::serve(worker, accepted)
    });
    spawn_local(serving.flatten().map(move |()| drop(seat)));
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

#[cfg(test)]
#[path = "thread_tests.rs"]
mod tests;
