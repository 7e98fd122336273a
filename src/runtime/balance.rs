//! Evens out connections between workers: each publishes how many it has, and the one that accepts hands a new one to the least loaded.
//! Not here: accepting (`listeners`), serving (`thread`), limits (`gate`). Counting takes no lock; handing over takes only those of the runtime's wake-up.
//! Source: socket(7) SO_REUSEPORT, which spreads by hash and not by load; sd_listen_fds(3), which gives one socket for all workers.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc::{self, error::TrySendError};

use crate::runtime::entrance::Entrance;
use crate::runtime::gate::Connection;
use crate::runtime::listeners::Fresh;

/// How many connections more than the least loaded worker one may have, however few there are. A hand-over costs a wake-up of
/// that worker, a small part of a tunnel. Where SO_REUSEPORT spreads 4 to 1,000 connections a worker by chance, it hands over at most one of
/// 25 (2 workers) or of 12 (64 workers) with 8; with 4 twice as many, with 16 hardly any, but then 16 bulk transfers share a processor
/// beside one that has nothing to do.
const SLACK: usize = 8;

/// The same, as a part of the least loaded worker's: an eighth. Of hundreds of connections chance alone leaves workers less far apart.
const SLACK_PART: usize = 8;

/// Connections that may wait for a worker to take them. One that is so far behind gets no more: they are served where they were accepted.
const MAX_HANDED: usize = 256;

/// A connection that has been accepted and has its place in the gate; no worker has registered its socket yet.
pub struct Arrival {
    /// The socket, nothing read yet, non-blocking.
    pub socket: Fresh,
    /// The listener.
    pub entrance: Arc<Entrance>,
    /// Its place among the connections of this instance.
    pub connection: Connection,
}

/// A connection and its place among those of the worker that serves it.
pub struct Seated {
    /// The connection.
    pub arrival: Arrival,
    /// To be kept for as long as it is served.
    pub seat: Seat,
}

/// How many connections a worker has. 128 bytes, so that no two share a cache line, nor a pair of them that is fetched together.
#[derive(Default)]
#[repr(align(128))]
struct Load(AtomicUsize);

/// A connection's place among those of its worker; it is given back when this is dropped. A worker that is alone doesn't count.
pub struct Seat(Option<Arc<Load>>);

/// A worker as another sees it.
struct Peer {
    load: Arc<Load>,
    door: mpsc::Sender<Seated>,
}

/// One worker's view of all. A worker that is alone has neither count nor peers.
pub struct Balance(Option<Scales>);

struct Scales {
    own: Arc<Load>,
    others: Box<[Peer]>,
}

/// What others hand to one worker.
pub struct Inbox(Option<mpsc::Receiver<Seated>>);

/// For each of so many workers its view and its inbox.
pub fn between(workers: usize) -> Vec<(Balance, Inbox)> {
    if workers <= 1 {
        return (0..workers).map(|_| (Balance(None), Inbox(None))).collect();
    }
    let (doors, inboxes): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(MAX_HANDED)).unzip();
    let loads: Vec<Arc<Load>> = (0..workers).map(|_| Arc::default()).collect();
    let peer = |(load, door): (&Arc<Load>, &mpsc::Sender<Seated>)| Peer { load: Arc::clone(load), door: door.clone() };
    let others =
        |own: &Arc<Load>| loads.iter().zip(&doors).filter(|(load, _)| !Arc::ptr_eq(load, own)).map(peer).collect();
    let scales = loads.iter().map(|own| Scales { own: Arc::clone(own), others: others(own) });
    scales.zip(inboxes).map(|(scales, inbox)| (Balance(Some(scales)), Inbox(Some(inbox)))).collect()
}

impl Balance {
    /// Gives a new connection its place. `None`: another worker has far fewer and gets it.
    pub fn seat(&self, arrival: Arrival) -> Option<Seated> {
        let Some(scales) = &self.0 else { return Some(Seated { arrival, seat: Seat(None) }) };
        let arrival = match scales.lighter() {
            None => arrival,
            Some(peer) => match peer.door.try_send(Seated { arrival, seat: Seat::new(&peer.load) }) {
                Ok(()) => return None,
                // It is far behind, or it has stopped: the place there is given back.
                Err(TrySendError::Full(back) | TrySendError::Closed(back)) => back.arrival,
            },
        };
        Some(Seated { arrival, seat: Seat::new(&scales.own) })
    }
}

#[cfg(test)]
impl Balance {
    /// Tells how many connections this worker has, whatever thread it runs on. One that is alone has no count.
    pub fn watch(&self) -> impl Fn() -> usize + 'static {
        let load = self.0.as_ref().map(|scales| Arc::clone(&scales.own)).unwrap_or_default();
        move || load.connections()
    }
}

impl Scales {
    /// The least loaded worker, if this one has more than the slack beyond it.
    fn lighter(&self) -> Option<&Peer> {
        let own = self.own.connections();
        // The counts of others lie in other processors' caches: below this none of them can matter.
        if own <= SLACK {
            return None;
        }
        let (least, peer) =
            self.others.iter().map(|peer| (peer.load.connections(), peer)).min_by_key(|(load, _)| *load)?;
        (own > most_beside(least)).then_some(peer)
    }
}

/// How many connections a worker may have beside one with `least`.
fn most_beside(least: usize) -> usize {
    least.saturating_add(SLACK.max(least / SLACK_PART))
}

impl Inbox {
    /// The next connection that another worker hands over. Loses none when it is cancelled.
    pub async fn next(&mut self) -> Seated {
        let next = match &mut self.0 {
            Some(inbox) => inbox.recv().await,
            None => None,
        };
        match next {
            Some(seated) => seated,
            // Nobody is there who could hand anything over.
            None => pending().await,
        }
    }

    /// Takes no more, and gives what has been handed over already.
    pub async fn close(self) -> Vec<Seated> {
        let mut left = Vec::new();
        if let Some(mut inbox) = self.0 {
            inbox.close();
            // Ends with the last one: a sender that has begun has its place in the queue and finishes at once.
            while let Some(seated) = inbox.recv().await {
                left.push(seated);
            }
        }
        left
    }
}

impl Load {
    fn connections(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Seat {
    fn new(load: &Arc<Load>) -> Self {
        load.0.fetch_add(1, Ordering::Relaxed);
        Self(Some(Arc::clone(load)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(load) = &self.0 {
            load.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
#[path = "balance_tests.rs"]
mod tests;
