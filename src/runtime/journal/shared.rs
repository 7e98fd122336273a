//! What workers and the log's writer share: the queue, who waits for what, and whether records can be written.
//! Not here: the writer (`writer`), what is queued and due (`decision_log::Queue`).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::COMMIT_DEADLINE;
use super::book::Turn;
use crate::decision_log::{Entry, Pace, Permit, Queue, Ticket};

/// What workers and the writer share.
pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) news: Condvar,
    pub(super) healthy: AtomicBool,
    epoch: Instant,
    /// When the commit under way began, in microseconds since `epoch`; [`IDLE`]: there is none.
    pub(super) committing: AtomicU64,
}

pub(super) const IDLE: u64 = u64::MAX;

pub(super) struct State {
    pub(super) queue: Queue,
    /// Who waits for which ticket, in order.
    pub(super) holders: VecDeque<(Ticket, oneshot::Sender<Option<Permit>>)>,
    pub(super) closing: bool,
    /// The log changes hands, once no commit is under way.
    pub(super) turn: Option<Turn>,
    /// The writer is to look for whoever has the log.
    pub(super) seeks: bool,
}

impl Shared {
    pub(super) fn new(pace: Pace) -> Self {
        let state =
            State { queue: Queue::new(pace), holders: VecDeque::new(), closing: false, turn: None, seeks: false };
        Self {
            state: Mutex::new(state),
            news: Condvar::new(),
            healthy: AtomicBool::new(true),
            epoch: Instant::now(),
            committing: AtomicU64::new(IDLE),
        }
    }

    /// Whether records can be written: the log is not ill, nobody waited in vain, and no commit takes too long.
    pub(super) fn is_healthy(&self, now: Instant) -> bool {
        let began = self.committing.load(Ordering::Relaxed);
        let hangs = began != IDLE && self.micros(now).saturating_sub(began) >= micros(COMMIT_DEADLINE);
        self.healthy.load(Ordering::Acquire) && !hangs
    }

    pub(super) fn begins(&self, now: Instant) {
        self.committing.store(self.micros(now), Ordering::Relaxed);
    }

    fn micros(&self, now: Instant) -> u64 {
        micros(now.saturating_duration_since(self.epoch))
    }

    /// Held for a push or a hand-over only.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tell_writer(&self, news: bool) {
        if news {
            self.news.notify_one();
        }
    }

    /// Somebody waited in vain. If a commit is under way, it is that which hangs; its end makes the log healthy again.
    pub(super) fn stalled(&self) {
        let state = self.lock();
        if state.queue.is_in_flight() {
            // Under the lock, or else the end of that commit could come in between.
            self.healthy.store(false, Ordering::Release);
        }
    }

    /// Queues a record that nobody waits for.
    pub(super) fn note(&self, entry: Entry) {
        let mut state = self.lock();
        let news = state.queue.note(entry, Instant::now()) && state.queue.changed_due();
        drop(state);
        self.tell_writer(news);
    }

    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.news.notify_one();
    }
}

/// Whole microseconds.
pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
