//! The old processes whose tunnels still run, as the one sees them that has the log: takes their records, and tells them what they must
//! know. Not here: the other end (`link`).

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::message::{Message, Records};
use super::successor::{Predecessor, TakeOverError};
use super::wire::Wire;
use crate::decision_log::Entry;
use crate::runtime::journal::Unavailable;
use crate::runtime::shared::Shared;

/// Upper bound of old processes at once: upgrades that come faster than tunnels end.
const MAX_PREDECESSORS: usize = 32;

/// How long saying anything to one of them may take. One that hears nothing is cut off, and knocks again.
const SAY_DEADLINE: Duration = Duration::from_secs(1);

/// How long the end of this process waits for theirs, beside what it waits for its own tunnels: what they cut they must still record.
const END_DEADLINE: Duration = Duration::from_secs(10);

/// How long after a take-over old processes of that one may come: they knock twenty times a second.
const ARRIVAL: Duration = Duration::from_secs(1);

/// The old processes.
#[derive(Default)]
pub struct Predecessors {
    all: Mutex<Vec<Old>>,
    /// Held while records of any of them are written, so that what is said again finds what was said before.
    keeping: Mutex<()>,
    fewer: Condvar,
    /// When this process took over, if it did.
    since: Mutex<Option<Instant>>,
    /// The hash of the policy in force.
    policy: Mutex<Arc<str>>,
    next: AtomicU64,
}

/// One of them.
struct Old {
    number: u64,
    process: Option<Pid>,
    says: Arc<Mutex<Wire>>,
    /// Whether it speaks on another way now: what still stands on this one it says there again.
    is_over: Arc<AtomicBool>,
}

impl Predecessors {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.all().len()
    }

    /// Open tunnels are to be judged again: theirs too.
    pub fn judge_again(&self) {
        self.tell(&self.judge());
    }

    /// A policy with this hash is in force from now on.
    pub fn set_policy(&self, hash: &Arc<str>) {
        *self.policy.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(hash);
    }

    fn judge(&self) -> Message {
        Message::Judge(self.policy.lock().unwrap_or_else(PoisonError::into_inner).to_string())
    }

    /// They are to end as soon as they may.
    pub fn drain(&self) {
        self.tell(&Message::Drain);
    }

    /// Waits until they have ended, which they have been told to, and whether they have. Blocks for at most eleven seconds.
    pub fn have_ended(&self) -> bool {
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = since {
            // Those of the process that this one took over from may be on their way here.
            std::thread::sleep((since + ARRIVAL).saturating_duration_since(Instant::now()));
        }
        let waited = self.fewer.wait_timeout_while(self.all(), END_DEADLINE, |all| !all.is_empty());
        waited.unwrap_or_else(PoisonError::into_inner).0.is_empty()
    }

    /// As long as this is held none of their records is written, and none is on its way to be: what is not acknowledged then was not
    /// taken, and nobody else relays it.
    pub(super) fn rest(&self) -> MutexGuard<'_, ()> {
        self.keeping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log goes to another: they are to knock there, with all that was not acknowledged here. To be called while they rest.
    pub(super) fn send_away(&self) {
        for old in &*self.all() {
            old.is_over.store(true, Ordering::Release);
            lock(&old.says).close();
        }
    }

    fn tell(&self, message: &Message) {
        for old in &*self.all() {
            let wire = lock(&old.says);
            if wire.say(message, Instant::now() + SAY_DEADLINE).is_err() {
                wire.close();
            }
        }
    }

    /// This process serves: the one that it took over from accepts no more, and relays.
    ///
    /// # Errors
    /// It is gone, there are too many old ones, or there is no thread.
    pub fn succeed(self: &Arc<Self>, predecessor: Predecessor, shared: &Arc<Shared>) -> Result<(), TakeOverError> {
        let wire = predecessor.serving()?;
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.serve(wire, Arc::clone(shared)).map_err(TakeOverError::Thread)
    }

    /// Takes the records of one until it is gone, on a thread of its own.
    ///
    /// # Errors
    /// There are too many, or there is no thread for it.
    pub(super) fn serve(self: &Arc<Self>, wire: Wire, shared: Arc<Shared>) -> io::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (process, says) = (wire.peer(), Arc::new(Mutex::new(wire.try_clone()?)));
        let is_over = Arc::new(AtomicBool::new(false));
        {
            let mut all = self.all();
            if all.len() >= MAX_PREDECESSORS {
                return Err(io::Error::other("too many old processes"));
            }
            for old in all.iter().filter(|old| old.process == process) {
                old.is_over.store(true, Ordering::Release);
            }
            all.push(Old { number, process, says: Arc::clone(&says), is_over: Arc::clone(&is_over) });
        }
        let place = Place { among: Arc::clone(self), number };
        std::thread::Builder::new().name("predecessor".to_owned()).spawn(move || {
            // Whatever ends it, it is counted no more.
            let place = place;
            // What was told before was told to nobody.
            let drain = shared.is_draining().then_some(Message::Drain);
            for message in [place.among.judge()].into_iter().chain(drain) {
                if lock(&says).say(&message, Instant::now() + SAY_DEADLINE).is_err() {
                    return;
                }
            }
            while let Ok(Some((message, _))) = wire.wait() {
                let Some(answer) = place.among.answer(message, &shared, &is_over) else { break };
                if lock(&says).say(&answer, Instant::now() + SAY_DEADLINE).is_err() {
                    break;
                }
            }
            wire.close();
        })?;
        Ok(())
    }

    /// What is to be said to what an old process says; `None`: it says something else than it may, or says it elsewhere.
    fn answer(&self, message: Message, shared: &Shared, is_over: &AtomicBool) -> Option<Message> {
        if let Message::Records(records) = message {
            let _keeping = self.rest();
            if is_over.load(Ordering::Acquire) {
                return None;
            }
            return Some(if keep(records, shared).is_ok() { Message::Kept } else { Message::NotKept });
        }
        let Message::Spent(more) = message else { return None };
        shared.quotas().add(&more);
        Some(Message::Gone(shared.quotas().spent().of(&more)))
    }

    fn all(&self) -> MutexGuard<'_, Vec<Old>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One's place among the others.
struct Place {
    among: Arc<Predecessors>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.among.all().retain(|old| old.number != self.number);
        self.among.fewer.notify_all();
    }
}

fn lock(wire: &Mutex<Wire>) -> MutexGuard<'_, Wire> {
    wire.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keep(Records { again, records }: Records, shared: &Shared) -> Result<(), Unavailable> {
    // One that says what is no record has a fault; nobody waits for a permit here, and nothing else of it is lost.
    let entries = records.iter().filter_map(|raw| Entry::relayed(raw.get()).ok()).collect();
    shared.journal().keep_all(entries, again)
}
