//! The old processes whose tunnels still run, as the one sees them that has the log: takes their records, and tells them what they must
//! know. Not here: the other end (`link`).

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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

/// The old processes.
#[derive(Default)]
pub struct Predecessors {
    all: Mutex<Vec<(u64, Arc<Mutex<Wire>>)>>,
    fewer: Condvar,
    /// The hash of the policy in force.
    policy: Mutex<Arc<str>>,
    next: AtomicU64,
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

    /// Waits until they have ended, which they have been told to, and whether they have. Blocks for at most [`END_DEADLINE`].
    pub fn have_ended(&self) -> bool {
        let waited = self.fewer.wait_timeout_while(self.all(), END_DEADLINE, |all| !all.is_empty());
        waited.unwrap_or_else(PoisonError::into_inner).0.is_empty()
    }

    /// The log goes to another: they are to knock there.
    pub(super) fn send_away(&self) {
        self.all().iter().for_each(|(_, wire)| lock(wire).close());
    }

    fn tell(&self, message: &Message) {
        for (_, wire) in &*self.all() {
            let wire = lock(wire);
            if wire.say(message, Instant::now() + SAY_DEADLINE).is_err() {
                wire.close();
            }
        }
    }

    /// This process serves: the one that it took over from accepts no more, and relays.
    ///
    /// # Errors
    /// It is gone, or as [`Predecessors::serve`].
    pub fn succeed(self: &Arc<Self>, predecessor: Predecessor, shared: &Arc<Shared>) -> Result<(), TakeOverError> {
        let wire = predecessor.serving()?;
        self.serve(wire, Arc::clone(shared)).map_err(TakeOverError::Thread)
    }

    /// Takes the records of one until it is gone, on a thread of its own.
    ///
    /// # Errors
    /// There are too many, or there is no thread for it.
    pub(super) fn serve(self: &Arc<Self>, wire: Wire, shared: Arc<Shared>) -> io::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let says = Arc::new(Mutex::new(wire.try_clone()?));
        {
            let mut all = self.all();
            if all.len() >= MAX_PREDECESSORS {
                return Err(io::Error::other("too many old processes"));
            }
            all.push((number, Arc::clone(&says)));
        }
        let place = Place { among: Arc::clone(self), number };
        std::thread::Builder::new().name("predecessor".to_owned()).spawn(move || {
            // Whatever ends it, it is counted no more.
            let place = place;
            // What was told before was told to nobody.
            let judge = place.among.judge();
            if lock(&says).say(&judge, Instant::now() + SAY_DEADLINE).is_err() {
                return;
            }
            while let Ok(Some((message, _))) = wire.wait() {
                let Some(answer) = answer(message, &shared) else { break };
                if lock(&says).say(&answer, Instant::now() + SAY_DEADLINE).is_err() {
                    break;
                }
            }
            wire.close();
        })?;
        Ok(())
    }

    fn all(&self) -> MutexGuard<'_, Vec<(u64, Arc<Mutex<Wire>>)>> {
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
        self.among.all().retain(|(number, _)| *number != self.number);
        self.among.fewer.notify_all();
    }
}

fn lock(wire: &Mutex<Wire>) -> MutexGuard<'_, Wire> {
    wire.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is to be said to what an old process says; `None`: it says something else than it may.
fn answer(message: Message, shared: &Shared) -> Option<Message> {
    if let Message::Records(records) = message {
        return Some(if keep(records, shared).is_ok() { Message::Kept } else { Message::NotKept });
    }
    let Message::Spent(more) = message else { return None };
    shared.quotas().add(&more);
    Some(Message::Gone(shared.quotas().spent().of(&more)))
}

fn keep(Records { again, records }: Records, shared: &Shared) -> Result<(), Unavailable> {
    // One that says what is no record has a fault; nobody waits for a permit here, and nothing else of it is lost.
    let entries = records.iter().filter_map(|raw| Entry::relayed(raw.get()).ok()).collect();
    shared.journal().keep_all(entries, again)
}
