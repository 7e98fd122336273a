//! What waits for the disk: a bounded queue, who is told what, and when the next batch is due. Pure.
//! Not here: threads and wake-ups (`runtime::journal`). Time comes as an argument.
//! Source: the promises of `sync` (a permit waits for its commit) and `async` (what a crash loses is younger than one
//! commit interval).

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::entry::{Entry, MAX_BATCH, MAX_LINE};
use super::permit::Permit;
use super::record::Kind;
use super::unwritten::Unwritten;

/// Records that may wait: more than three seconds of 20,000 a second.
pub const MAX_QUEUED: usize = 65_536;

/// Bytes of the records that may wait; at 600 bytes each this and [`MAX_QUEUED`] are reached at about the same time.
pub const MAX_QUEUED_BYTES: usize = 32 * 1024 * 1024;

/// Of four parts of the queue, those that decisions may fill; the last is for what is said of decisions already made.
const DECISIONS: usize = 3;

/// When a decision may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Once its record is on disk.
    Sync,
    /// At once, as long as all that is not yet on disk is younger than the commit interval.
    Async,
}

/// How batches are gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// When a decision may go on.
    pub durability: Durability,
    /// `sync`: from a batch's first record to its commit. `async`: the age of what a crash may lose.
    pub commit_interval: Duration,
}

/// Records on their way to the log, in order.
#[derive(Debug)]
pub struct Queue {
    pace: Pace,
    waiting: VecDeque<Waiting>,
    /// What became of the batch that was taken, entry by entry.
    in_flight: Vec<Claim>,
    in_flight_since: Option<Instant>,
    /// What a commit takes on this disk: the longest of late.
    disk: Duration,
    /// What the batch counts as should it be lost.
    flying: Unwritten,
    size: usize,
    waiting_size: usize,
    tickets: u64,
    ill: bool,
    closed: bool,
    unwritten: Unwritten,
    lost: Unwritten,
    /// Decisions that the last failure took from who waited for them, until it is noted what became of each. At most
    /// as many as may be queued.
    withdrawn: BTreeSet<Uuid>,
}

#[derive(Debug)]
struct Waiting {
    entry: Entry,
    claim: Claim,
    since: Instant,
}

/// Who waits for a record.
#[derive(Debug, Clone, Copy)]
enum Claim {
    Nobody,
    Holder { ticket: Ticket, owed: bool },
}

/// What came of asking for a record.
#[derive(Debug)]
pub enum Push {
    /// Go on at once.
    Granted(Permit),
    /// Wait until [`Queue::settled`] or [`Queue::failed`] names this ticket. Tickets are settled in order.
    Wait(Ticket),
    /// No.
    Refused(Refusal),
}

/// Stands for one wait. Later tickets are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Why nothing was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The log is ill.
    Ill,
    /// The queue is full.
    Full,
}

/// A ticket whose record is durable, with its permit if the record lets something through.
#[derive(Debug)]
pub struct Settled {
    /// Whose.
    pub ticket: Ticket,
    /// `None` for records that let nothing through.
    pub permit: Option<Permit>,
}

impl Queue {
    /// An empty queue.
    pub fn new(pace: Pace) -> Self {
        Self {
            pace,
            waiting: VecDeque::new(),
            in_flight: Vec::new(),
            in_flight_since: None,
            disk: Duration::ZERO,
            flying: Unwritten::default(),
            size: 0,
            waiting_size: 0,
            tickets: 0,
            ill: false,
            closed: false,
            unwritten: Unwritten::default(),
            lost: Unwritten::default(),
            withdrawn: BTreeSet::new(),
        }
    }

    /// Queues a record that nobody waits for; `false`: it was counted instead. While the log is ill decisions are
    /// counted, and the rest waits. The end of a tunnel whose decision was withdrawn is no end of anything: somebody
    /// gave up waiting, and the decision failed after all. It counts as the refusal that it was.
    pub fn note(&mut self, entry: Entry, now: Instant) -> bool {
        let entry = entry.without_permit();
        if self.withdrawn.remove(&entry.id()) && entry.kind() == Kind::Close {
            self.lose(Unwritten::REFUSAL);
            return false;
        }
        let taken = self.admit(&entry).is_ok();
        if taken {
            self.push(entry, Claim::Nobody, now);
        } else {
            self.lose(Unwritten::of(&entry));
        }
        taken
    }

    /// Queues a record that somebody waits for: for a permit, or to know that it is durable. A decision that is
    /// refused here counts as nothing yet: what it turns into is noted, and counts then.
    pub fn request(&mut self, entry: Entry, now: Instant) -> Push {
        let refusal = if self.ill { Err(Refusal::Ill) } else { self.admit(&entry) };
        if let Err(refusal) = refusal {
            if !entry.is_owed() {
                self.lose(Unwritten::of(&entry));
            }
            return Push::Refused(refusal);
        }
        if entry.is_owed() && self.grants_at_once(now) {
            let permit = Permit::new(entry.id());
            self.push(entry.without_permit(), Claim::Nobody, now);
            return Push::Granted(permit);
        }
        let ticket = Ticket(self.tickets);
        self.tickets = self.tickets.saturating_add(1);
        let owed = entry.is_owed();
        self.push(entry, Claim::Holder { ticket, owed }, now);
        Push::Wait(ticket)
    }

    /// When the next batch is to be taken; `None`: nothing waits.
    pub fn due(&self) -> Option<Instant> {
        let first = self.waiting.front()?.since;
        if self.waiting_size >= MAX_BATCH {
            return Some(first);
        }
        Some(first.checked_add(self.window()).unwrap_or(first))
    }

    /// How long a batch is gathered. With `async` the rest of the interval is for the disk: what is granted at once is durable within
    /// the whole, or the next one waits. Twice what the disk takes is kept for it, at most half.
    fn window(&self) -> Duration {
        let interval = self.pace.commit_interval;
        match self.pace.durability {
            Durability::Sync => interval,
            Durability::Async => interval.saturating_sub(self.disk.saturating_mul(2)).max(interval / 2),
        }
    }

    /// Notes what a commit took. One that took longer than usual is forgotten over the next dozen or two.
    pub fn took(&mut self, time: Duration) {
        self.disk = time.max(self.disk.saturating_sub(self.disk / 8));
    }

    /// Whether the last push is news for whoever waits for [`Queue::due`]: it began a batch or filled one.
    pub fn changed_due(&self) -> bool {
        self.waiting.len() == 1 || self.waiting_size >= MAX_BATCH
    }

    /// Takes the next batch; [`Queue::settled`] or [`Queue::failed`] must follow. It leaves two lines of
    /// [`MAX_BATCH`] free, for what the log has to say of itself.
    pub fn take(&mut self) -> Vec<Entry> {
        let mut batch = Vec::with_capacity(self.waiting.len());
        let mut size: usize = 0;
        self.in_flight_since = self.waiting.front().map(|first| first.since);
        while let Some(next) = self.waiting.front() {
            size = size.saturating_add(next.entry.size());
            if size > MAX_BATCH - 2 * MAX_LINE {
                break;
            }
            if let Some(Waiting { entry, claim, .. }) = self.waiting.pop_front() {
                self.waiting_size = self.waiting_size.saturating_sub(entry.size());
                self.flying.add(Unwritten::of(&entry));
                self.in_flight.push(claim);
                batch.push(entry);
            }
        }
        batch
    }

    /// The batch is durable, with these permits. Whoever waited for it is named in order.
    pub fn settled(&mut self, permits: Vec<Permit>) -> Vec<Settled> {
        let mut permits = permits.into_iter();
        let claims = std::mem::take(&mut self.in_flight).into_iter();
        self.in_flight_since = None;
        self.flying = Unwritten::default();
        self.size = self.waiting_size;
        let settle = |claim| match claim {
            Claim::Nobody => None,
            Claim::Holder { ticket, owed } => Some(Settled { ticket, permit: owed.then(|| permits.next()).flatten() }),
        };
        claims.filter_map(settle).collect()
    }

    /// The batch came back. Everybody who waits, in it and behind it, is named in order and gets nothing; their records
    /// are counted, the others wait for recovery. The log is ill until [`Queue::recovered`].
    pub fn failed(&mut self, batch: Vec<Entry>, now: Instant) -> Vec<Ticket> {
        self.ill = true;
        let since = self.in_flight_since.take().unwrap_or(now);
        self.flying = Unwritten::default();
        let claims = std::mem::take(&mut self.in_flight);
        let returned = batch.into_iter().zip(claims).map(|(entry, claim)| Waiting { entry, claim, since });
        let (mut tickets, mut withdrawn) = (Vec::new(), BTreeSet::new());
        let mut kept = VecDeque::new();
        for waiting in returned.chain(std::mem::take(&mut self.waiting)) {
            match waiting.claim {
                // Who gave up waiting has noted an end already, behind the decision.
                Claim::Nobody if waiting.entry.kind() == Kind::Close && withdrawn.remove(&waiting.entry.id()) => {
                    self.lose(Unwritten::REFUSAL);
                }
                Claim::Nobody => kept.push_back(waiting),
                Claim::Holder { ticket, owed } => {
                    self.lose(Unwritten::of(&waiting.entry));
                    tickets.push(ticket);
                    withdrawn.extend(owed.then(|| waiting.entry.id()));
                }
            }
        }
        if !tickets.is_empty() {
            self.withdrawn = withdrawn;
        }
        self.waiting = kept;
        self.waiting_size = self.waiting.iter().map(|waiting| waiting.entry.size()).sum();
        self.size = self.waiting_size;
        tickets
    }

    /// The log can be written again.
    pub fn recovered(&mut self) {
        self.ill = false;
    }

    /// Nothing will be taken any more: what waits or was taken is counted as unwritten, and so is what comes.
    pub fn close(&mut self) {
        self.ill = true;
        self.closed = true;
        let flying = std::mem::take(&mut self.flying);
        self.lose(flying);
        for waiting in std::mem::take(&mut self.waiting) {
            self.lose(Unwritten::of(&waiting.entry));
        }
    }

    /// Whether the log is ill.
    pub fn is_ill(&self) -> bool {
        self.ill
    }

    /// Whether a batch was taken and has come to no end.
    pub fn is_in_flight(&self) -> bool {
        self.in_flight_since.is_some()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What could not be written since [`Queue::reported`].
    pub fn unwritten(&self) -> Unwritten {
        self.unwritten
    }

    /// What could not be written since the beginning.
    pub fn lost(&self) -> Unwritten {
        self.lost
    }

    /// This much of [`Queue::unwritten`] has its record.
    pub fn reported(&mut self, counts: Unwritten) {
        self.unwritten = self.unwritten.without(counts);
    }

    fn lose(&mut self, counts: Unwritten) {
        self.unwritten.add(counts);
        self.lost.add(counts);
    }

    fn grants_at_once(&self, now: Instant) -> bool {
        let oldest = self.in_flight_since.or_else(|| self.waiting.front().map(|first| first.since));
        let is_young = |since| now.saturating_duration_since(since) < self.pace.commit_interval;
        self.pace.durability == Durability::Async && oldest.is_none_or(is_young)
    }

    fn admit(&self, entry: &Entry) -> Result<(), Refusal> {
        let parts = match entry.kind() {
            Kind::Decision if self.ill => return Err(Refusal::Ill),
            Kind::Decision => DECISIONS,
            Kind::Close | Kind::Summary | Kind::Policy | Kind::Admin | Kind::Start => 4,
            Kind::Stop | Kind::Heartbeat | Kind::Export | Kind::ControlFailure => 4,
        };
        let count = self.waiting.len().saturating_add(self.in_flight.len());
        let room = !self.closed
            && count < MAX_QUEUED / 4 * parts
            && self.size.saturating_add(entry.size()) <= MAX_QUEUED_BYTES / 4 * parts;
        if room { Ok(()) } else { Err(Refusal::Full) }
    }

    fn push(&mut self, entry: Entry, claim: Claim, since: Instant) {
        self.size = self.size.saturating_add(entry.size());
        self.waiting_size = self.waiting_size.saturating_add(entry.size());
        self.waiting.push_back(Waiting { entry, claim, since });
    }
}

#[cfg(test)]
mod tests;
