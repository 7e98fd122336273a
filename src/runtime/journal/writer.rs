//! The one thread that writes the log: gathers batches, commits them, tells who waits, and recovers.
//! Not here: what is due and who is told what (`decision_log::Queue`), the disk (`disk`).

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;

use super::book::{Book, Turn};
use super::copy::Copier;
use super::keeper::Kept;
use super::shared::{IDLE, Shared};
use super::{Event, Watch};
use crate::decision_log::{CommitError, Detail, Entry, Hash, Kind, Permit, Record, Settled, Ticket, Unwritten};
use crate::redact::clean;
use crate::runtime::clock;

/// First wait before a try to recover; doubles up to [`MAX_BACKOFF`].
const MIN_BACKOFF: Duration = Duration::from_millis(100);

/// A disk that is back is noticed within this.
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// How long the end of this process looks for whoever has its log: less than it is waited for.
const LAST_TRIES: Duration = Duration::from_secs(8);

/// A healthy log reports what found no room at most this often.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The clock may step back by so much without a record; time services correct by less.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(1);

/// The writer's side.
pub(super) struct Writer {
    shared: Arc<Shared>,
    kept: Arc<Kept>,
    /// The leaves of the last batch.
    leaves: Vec<Hash>,
    book: Book,
    instance: Arc<str>,
    copier: Option<Copier>,
    watch: Watch,
    illness: Option<Illness>,
    reported: Option<Instant>,
    /// What [`Event::Lost`] has told.
    told: Unwritten,
    latest: Option<Latest>,
    /// When it was told that nothing comes any more.
    closing: Option<Instant>,
}

/// The latest record by both clocks, of which the first one never steps.
#[derive(Debug, Clone, Copy)]
struct Latest(Instant, Timestamp);

struct Illness {
    since: Instant,
    error: String,
    backoff: Duration,
}

/// Name, copy and observer of a log.
pub(super) type Company = (Arc<str>, Option<Copier>, Watch);

impl Writer {
    pub(super) fn new(
        (shared, kept): (Arc<Shared>, Arc<Kept>),
        book: Book,
        (instance, copier, watch): Company,
    ) -> Self {
        let (leaves, told) = (Vec::new(), Unwritten::default());
        let (illness, reported, latest, closing) = (None, None, None, None);
        Self { shared, kept, leaves, book, instance, copier, watch, illness, reported, told, latest, closing }
    }

    /// The log's last record has this time.
    pub(super) fn after(self, time: Option<Timestamp>) -> Self {
        Self { latest: time.map(|time| Latest(Instant::now(), time)), ..self }
    }

    /// Until the journal is closed and nothing waits.
    pub(super) fn run(mut self) {
        // However this ends, nobody must wait for it or believe in it.
        let end = End(Arc::clone(&self.shared));
        loop {
            let goes_on = if self.book.is_ill() { self.recover() } else { self.write_next() };
            self.tell_lost();
            if !goes_on {
                break;
            }
        }
        drop(end);
        self.tell_lost();
        let not_copied = self.copier.take().map_or(0, Copier::finish);
        self.tell_not_copied(not_copied);
    }

    fn tell_lost(&mut self) {
        let lost = self.shared.lock().queue.lost();
        let news = lost.without(self.told);
        if news.any() {
            self.told = lost;
            (self.watch)(Event::Lost(news));
        }
    }

    /// Waits for a batch and commits it; `false`: there will be none.
    fn write_next(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        let batch = loop {
            if let Some(turn) = state.turn.take() {
                drop(state);
                self.change(turn);
                return true;
            }
            if std::mem::take(&mut state.seeks) {
                break Vec::new();
            }
            let now = Instant::now();
            state = match state.queue.due() {
                Some(due) if due <= now || state.closing => break state.queue.take(),
                Some(due) => {
                    let waited = shared.news.wait_timeout(state, due.saturating_duration_since(now));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None if state.closing && !state.queue.unwritten().any() => return false,
                None if state.closing => break Vec::new(),
                None => shared.news.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        };
        let (unwritten, closing) = (state.queue.unwritten(), state.closing);
        drop(state);
        let is_time = closing || self.reported.is_none_or(|at| at.elapsed() >= REPORT_INTERVAL);
        self.commit(batch, Some(unwritten).filter(|unwritten| unwritten.any() && is_time));
        true
    }

    /// Touches the book no more, and goes on with the next one. Meanwhile records wait.
    fn change(&mut self, Turn { yielded, next }: Turn) {
        if yielded.send(self.book.size()).is_ok()
            && let Ok(book) = next.recv()
        {
            if book.is_ill() {
                self.shared.healthy.store(false, Ordering::Release);
            }
            self.book = book;
        }
    }

    /// Waits a little, then tries once; `false`: the journal is closed and the last try failed.
    fn recover(&mut self) -> bool {
        let fresh = || Illness { since: Instant::now(), error: "it is not open".to_owned(), backoff: MIN_BACKOFF };
        let illness = self.illness.get_or_insert_with(fresh);
        let backoff = illness.backoff;
        illness.backoff = (backoff * 2).min(MAX_BACKOFF);
        let until = Instant::now() + backoff;
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        let may_come = self.book.is_anothers();
        while (!state.closing || may_come) && Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            state = shared.news.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let closing = state.closing;
        drop(state);
        if let Err(error) = self.book.recover(closing) {
            (self.watch)(Event::Failed(&error.to_string()));
            return !closing || (may_come && self.closing.get_or_insert_with(Instant::now).elapsed() < LAST_TRIES);
        }
        let mut state = shared.lock();
        let (batch, unwritten) = (state.queue.take(), state.queue.unwritten());
        drop(state);
        self.commit(batch, Some(unwritten)) || !closing
    }

    /// Commits a batch behind what the log has to say of itself: counts of what could not be written, a clock that
    /// stepped back. So a `stop` is the last record of its run.
    fn commit(&mut self, taken: Vec<Entry>, report: Option<Unwritten>) -> bool {
        let (start, time) = (Instant::now(), clock::now());
        if self.latest.is_some_and(|Latest(_, latest)| hour(latest) != hour(time)) {
            self.book.end_segment();
        }
        let mut batch: Vec<Entry> = report.map(|counts| self.unwritten(time, counts)).into_iter().collect();
        batch.extend(self.clock_step(start, time));
        let own = batch.len();
        batch.extend(taken);
        let kinds = Kind::ALL.map(|kind| (kind, count(&batch, kind)));
        self.shared.begins(start);
        match self.book.commit(batch) {
            Ok(permits) => {
                let size = self.book.size();
                (self.watch)(Event::Committed { kinds: &kinds, took: start.elapsed(), size });
                self.latest = Some(Latest(start, time));
                self.reported = report.map(|_| start).or(self.reported);
                self.settle(permits, report.unwrap_or_default(), start.elapsed());
                self.hash();
                self.copy();
                true
            }
            Err(CommitError { mut batch, source }) => {
                let error = source.to_string();
                (self.watch)(Event::Failed(&error));
                batch.drain(..own);
                self.fail(batch);
                let fresh = Illness { since: start, error, backoff: MIN_BACKOFF };
                self.illness.get_or_insert(fresh);
                false
            }
        }
    }

    fn settle(&mut self, permits: Vec<Permit>, reported: Unwritten, took: Duration) {
        let mut told = Vec::new();
        let mut state = self.shared.lock();
        for Settled { ticket, permit } in state.queue.settled(permits) {
            told.extend(holder(&mut state.holders, ticket).map(|holder| (holder, permit)));
        }
        state.queue.took(took);
        state.queue.recovered();
        state.queue.reported(reported);
        self.shared.committing.store(IDLE, Ordering::Relaxed);
        self.shared.healthy.store(true, Ordering::Release);
        drop(state);
        for (holder, permit) in told {
            // Whoever waited may be gone: then the permit is dropped.
            let _ = holder.send(permit);
        }
        if let Some(illness) = self.illness.take() {
            (self.watch)(Event::Recovered(illness.since.elapsed()));
        }
    }

    fn fail(&mut self, batch: Vec<Entry>) {
        let mut state = self.shared.lock();
        self.shared.healthy.store(false, Ordering::Release);
        self.shared.committing.store(IDLE, Ordering::Relaxed);
        for ticket in state.queue.failed(batch, Instant::now()) {
            drop(holder(&mut state.holders, ticket));
        }
    }

    /// Behind the permits: nobody waits for it.
    fn hash(&mut self) {
        self.book.leaves(&mut self.leaves);
        self.kept.grow(&self.leaves);
    }

    fn copy(&mut self) {
        let dropped = self.copier.as_ref().map_or(0, |copier| copier.copy(self.book.committed()));
        self.tell_not_copied(dropped);
    }

    fn tell_not_copied(&mut self, lines: u64) {
        if lines > 0 {
            (self.watch)(Event::NotCopied(lines));
        }
    }

    fn unwritten(&self, time: Timestamp, counts: Unwritten) -> Entry {
        let mut detail = Detail::new().with("what", "decision_log");
        if let Some(illness) = &self.illness {
            let lasted = u64::try_from(illness.since.elapsed().as_millis()).unwrap_or(u64::MAX);
            detail = detail.with("error", clean(illness.error.as_bytes(), 300).text).with("lasted_ms", lasted);
        }
        let detail = detail
            .with("withdrawn", counts.withdrawn)
            .with("refusals", counts.refusals)
            .with("closes", counts.closes)
            .with("others", counts.others);
        failure(time, Arc::clone(&self.instance), detail)
    }

    fn clock_step(&self, now: Instant, time: Timestamp) -> Option<Entry> {
        let Latest(then, latest) = self.latest?;
        let passed = SignedDuration::try_from(now.saturating_duration_since(then)).unwrap_or(SignedDuration::MAX);
        let back = latest.duration_since(time).saturating_add(passed);
        let offset = i64::try_from(back.as_millis()).unwrap_or(i64::MAX);
        let detail = || Detail::new().with("what", "clock").with("offset_ms", offset.saturating_neg());
        (back > CLOCK_TOLERANCE).then(|| failure(time, Arc::clone(&self.instance), detail()))
    }
}

/// The record of a control that did not work.
pub(super) fn failure(time: Timestamp, instance: Arc<str>, detail: Detail) -> Entry {
    let mut record = Record::new(Kind::ControlFailure, time, clock::new_id(), instance);
    record.detail = detail;
    record.line()
}

/// The hour of a time, UTC: records of two hours share no segment.
fn hour(time: Timestamp) -> i64 {
    time.as_second().div_euclid(3600)
}

/// Nobody waits for a writer that has ended.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closing = true;
        state.queue.close();
        state.holders.clear();
        self.0.healthy.store(false, Ordering::Release);
    }
}

type Holder = oneshot::Sender<Option<Permit>>;

/// Takes the holder of `ticket` out; tickets come in order.
fn holder(holders: &mut VecDeque<(Ticket, Holder)>, ticket: Ticket) -> Option<Holder> {
    holders.pop_front_if(|(next, _)| *next == ticket).map(|(_, holder)| holder)
}

fn count(batch: &[Entry], kind: Kind) -> u64 {
    batch.iter().fold(0, |count, entry| count + u64::from(entry.kind() == kind))
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
