//! The old one's part of a take-over: gives away sockets and log, or goes on as before.
//! Not here: the other part (`successor`).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::door::Estate;
use super::link::{Ends, Link};
use super::message::{Message, Newcomer};
use super::wire::{MAX_DESCRIPTORS, Wire};
use crate::runtime::journal::JournalError;
use crate::runtime::{budgets, events};

/// How long the new one may take until all but the log is ready. Nothing waits for it.
const READY_DEADLINE: Duration = Duration::from_secs(30);

/// How long it may take to open the log. Records wait for it, and nobody waits for one longer than five seconds.
const TAKEN_DEADLINE: Duration = Duration::from_secs(4);

/// How long it may take from there until it serves: it has all that it needs. Records are relayed meanwhile, if it takes them.
const SERVING_DEADLINE: Duration = Duration::from_secs(5);

/// How long anything that is said to it may take.
const SAY_DEADLINE: Duration = Duration::from_secs(2);

/// Why nobody took over. This process goes on as before.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotHandedOver {
    /// It must not.
    #[error("{0}")]
    Refused(String),
    /// The new one says that it can't.
    #[error("the new process can't: {0}")]
    Fails(String),
    /// The new one is gone, or says nothing, or something else.
    #[error("the new process did not say `{0}` in time")]
    Silent(&'static str),
    /// The log can't be handed over, or taken back.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The system does not give what it needs.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl Estate {
    /// Hands all over to the process at the other end; then this one has left, which its notices say.
    pub(super) fn hand_over(&self, wire: Wire, who: &Newcomer) -> Result<(), NotHandedOver> {
        let heir = match self.may_have(&wire, who) {
            Ok(heir) => heir,
            Err(why) => {
                // It may have gone already.
                let _ = wire.say(&Message::Refused(why.clone()), soon());
                return Err(NotHandedOver::Refused(why));
            }
        };
        tracing::info!(version = who.version, "another process takes over");
        self.give_sockets(&wire)?;
        expect(&wire, READY_DEADLINE, "ready", |message| matches!(message, Message::Ready))?;
        if self.shared.is_withdrawn() {
            let why = "this process drains".to_owned();
            let _ = wire.say(&Message::Refused(why.clone()), soon());
            return Err(NotHandedOver::Refused(why));
        }
        let left = self.give_log(wire, &heir)?;
        // Until it serves both accept. One that dies before that leaves this one as it was, which takes the log back by itself.
        left.recv_timeout(SERVING_DEADLINE).map_err(|_| {
            end(&heir);
            events::took_back(&self.shared, None);
            NotHandedOver::Silent("serving")
        })
    }

    /// Whether the other may have it all; a descriptor by which it can be ended.
    fn may_have(&self, wire: &Wire, who: &Newcomer) -> Result<OwnedFd, String> {
        self.own.meets(who)?;
        if self.shared.is_withdrawn() {
            return Err("this process drains".to_owned());
        }
        if !self.shared.journal().healthy() {
            return Err("the decision log can't be written".to_owned());
        }
        let watched = wire.peer().and_then(|peer| pidfd_open(peer, PidfdFlags::empty()).ok());
        watched.ok_or_else(|| "the other process can't be seen: both must be in one PID namespace".to_owned())
    }

    fn give_sockets(&self, wire: &Wire) -> Result<(), NotHandedOver> {
        for some in self.sockets.chunks(MAX_DESCRIPTORS) {
            let names = some.iter().map(|(name, _)| name.clone()).collect();
            let descriptors: Vec<BorrowedFd<'_>> = some.iter().map(|(_, socket)| socket.as_fd()).collect();
            wire.give(&Message::Sockets(names), &descriptors, soon())?;
        }
        Ok(wire.say(&Message::AllSockets, soon())?)
    }

    /// The log, as the last. What the way back says ends once the new one serves or is gone.
    fn give_log(&self, wire: Wire, heir: &OwnedFd) -> Result<Receiver<()>, NotHandedOver> {
        let shared = &self.shared;
        // Rather counted twice than not at all.
        let spent = shared.quotas().spent();
        budgets::keep(shared, &self.budgets);
        events::hands_over(shared);
        let resting = shared.predecessors().rest();
        let handed = shared.journal().hand_over()?;
        let has_left = Arc::new(AtomicBool::new(false));
        let give = || {
            let lock = handed.lock()?;
            wire.give(&Message::Log, &[lock.as_fd()], soon())?;
            expect(&wire, TAKEN_DEADLINE, "taken", |message| matches!(message, Message::Taken))?;
            let (door, own, notices) = (self.door.clone(), self.own.clone(), self.notices.clone());
            let (voice, spent, has_left) = (self.voice.clone(), spent.clone(), Arc::clone(&has_left));
            let ends = Ends { door, own, voice, spent, notices, has_left };
            let link = Link::new(ends, wire.try_clone()?)?;
            wire.say(&Message::Go, soon())?;
            Ok(link)
        };
        match give() {
            Ok((link, left)) => {
                // Those whose log this one had have another way now, and knock there.
                shared.predecessors().send_away();
                drop(resting);
                handed.relay(Box::new(link), has_left);
                Ok(left)
            }
            Err(error) => {
                // One that says so has no part in the log, and has words for its operator.
                if !matches!(error, NotHandedOver::Fails(_)) {
                    end(heir);
                }
                wire.close();
                events::took_back(shared, Some(&handed.take_back()?));
                Err(error)
            }
        }
    }
}

/// Waits for a message.
fn expect(
    wire: &Wire,
    within: Duration,
    word: &'static str,
    fits: impl Fn(&Message) -> bool,
) -> Result<(), NotHandedOver> {
    match wire.hear(Instant::now() + within) {
        Ok(Some((message, _))) if fits(&message) => Ok(()),
        Ok(Some((Message::Refused(why), _))) => Err(NotHandedOver::Fails(why)),
        Ok(Some(_) | None) | Err(_) => Err(NotHandedOver::Silent(word)),
    }
}

/// Ends the process, whatever it is at, and waits until it has: from then on it writes nothing.
fn end(process: &OwnedFd) {
    loop {
        // It may have ended by itself.
        let _ = pidfd_send_signal(process, Signal::KILL);
        let mut ended = [PollFd::new(process, PollFlags::IN)];
        let within = Timespec { tv_sec: 1, tv_nsec: 0 };
        if poll(&mut ended, Some(&within)).is_ok_and(|ready| ready > 0) {
            return;
        }
        tracing::error!("the process that was to take over can't be ended; nothing is recorded until it is");
    }
}

fn soon() -> Instant {
    Instant::now() + SAY_DEADLINE
}
