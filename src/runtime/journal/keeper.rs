//! The thread that keeps the tree: takes the leaves of durable records, writes tiles, signs checkpoints, and has segments sealed.
//! Not here: the records (`writer`), the files (`tree_files`), sealing (`sealer`). No decision waits for any of it.
//!
//! One that fails goes on trying; what it has not written stays in memory, within bounds, and behind them the log is ill.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::key_file::{self, HeldKey};
use super::sealer::{Due, Ended};
use super::shared::micros;
use super::tree_files::TreeFiles;
use super::{Event, Recorder, Watch};
use crate::decision_log::{Checkpoint, Detail, Hash, Note, SigningKey, Tile, TileId, Tree, VerifierKey};
use crate::redact::clean;

/// From the first record that is not signed to the next checkpoint. Half of the second by which a checkpoint may be behind; the rest is
/// for writing it.
const SIGN_INTERVAL: Duration = Duration::from_millis(500);

/// A checkpoint is written anew after so long without a record: its age says that the log is kept.
const RENEW_INTERVAL: Duration = Duration::from_secs(45);

/// A checkpoint that is late by so much makes the log ill: what nobody signs can be rewritten.
const SIGN_DEADLINE: Duration = Duration::from_secs(10);

/// Records that may wait for their checkpoint, of 32 bytes each: 50 seconds of 20,000 a second.
const MAX_UNSIGNED: usize = 1_048_576;

/// After a failure the next try comes so much later.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// What the writer and the keeper share.
pub(super) struct Kept {
    state: Mutex<State>,
    news: Condvar,
    epoch: Instant,
    /// Since when there are records without a checkpoint, in microseconds since `epoch`; [`NEVER`]: there are none.
    waits_since: AtomicU64,
    /// Whether a segment is being sealed.
    sealing: AtomicBool,
}

const NEVER: u64 = u64::MAX;

#[derive(Default)]
struct State {
    leaves: Vec<Hash>,
    /// How many leaves no checkpoint covers: those above, and those that the keeper has.
    unsigned: usize,
    since: Option<Instant>,
    ended: Vec<Ended>,
    checkpoint: Option<Arc<str>>,
    closing: bool,
}

/// What the keeper is to do at once.
struct Round {
    leaves: Vec<Hash>,
    ended: Vec<Ended>,
    taken: Instant,
    closing: bool,
}

impl Kept {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            news: Condvar::new(),
            epoch: Instant::now(),
            waits_since: AtomicU64::new(NEVER),
            sealing: AtomicBool::new(false),
        }
    }

    /// Whether a segment is being sealed, which nothing interrupts.
    pub(super) fn is_sealing(&self) -> bool {
        self.sealing.load(Ordering::Relaxed)
    }

    /// A segment is being sealed, or no more.
    pub(super) fn set_sealing(&self, sealing: bool) {
        self.sealing.store(sealing, Ordering::Relaxed);
    }

    /// These are the leaves of the next records, which are durable.
    pub(super) fn grow(&self, leaves: &[Hash]) {
        if leaves.is_empty() {
            return;
        }
        let mut state = self.lock();
        state.leaves.extend_from_slice(leaves);
        state.unsigned = state.unsigned.saturating_add(leaves.len());
        let is_first = state.since.is_none();
        if is_first {
            self.set_since(&mut state, Some(Instant::now()));
        }
        drop(state);
        if is_first {
            self.news.notify_one();
        }
    }

    /// The segment whose first record is `first` will get no more; `next` is the number behind its last record.
    pub(super) fn ended(&self, first: u64, next: u64) {
        self.lock().ended.push(Ended { first, next });
    }

    /// Whether more leaves may wait.
    pub(super) fn has_room(&self) -> bool {
        self.lock().unsigned < MAX_UNSIGNED
    }

    /// Whether records wait too long for their checkpoint.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        let since = self.waits_since.load(Ordering::Relaxed);
        since != NEVER
            && micros(now.saturating_duration_since(self.epoch)).saturating_sub(since) >= micros(SIGN_DEADLINE)
    }

    /// The newest checkpoint.
    pub(super) fn checkpoint(&self) -> Option<Arc<str>> {
        self.lock().checkpoint.clone()
    }

    /// Whether nothing will come any more.
    pub(super) fn is_closing(&self) -> bool {
        self.lock().closing
    }

    /// Nothing will come any more.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.news.notify_one();
    }

    /// As at the beginning, for a keeper that begins anew. Nobody keeps meanwhile.
    pub(super) fn begin_anew(&self) {
        let mut state = self.lock();
        *state = State { checkpoint: state.checkpoint.take(), ..State::default() };
        self.set_since(&mut state, None);
    }

    /// Waits until a checkpoint is due: soon behind the first record that has none, or at `renew`; not before `earliest`.
    fn next(&self, renew: Instant, earliest: Instant) -> Round {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let due = state.since.map_or(renew, |since| since + SIGN_INTERVAL).max(earliest);
            if due <= now || state.closing {
                return Round::of(&mut state);
            }
            let waited = self.news.wait_timeout(state, due.saturating_duration_since(now));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// `leaves` more have a checkpoint, and those that came since `taken` do not.
    fn signed(&self, leaves: usize, taken: Instant, checkpoint: Arc<str>) {
        let mut state = self.lock();
        state.unsigned = state.unsigned.saturating_sub(leaves);
        state.checkpoint = Some(checkpoint);
        let since = (state.unsigned > 0).then_some(taken);
        self.set_since(&mut state, since);
    }

    fn set_since(&self, state: &mut State, since: Option<Instant>) {
        state.since = since;
        let at = since.map_or(NEVER, |since| micros(since.saturating_duration_since(self.epoch)));
        self.waits_since.store(at, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Round {
    fn of(state: &mut State) -> Self {
        let (leaves, ended) = (std::mem::take(&mut state.leaves), std::mem::take(&mut state.ended));
        Self { leaves, ended, taken: Instant::now(), closing: state.closing }
    }
}

/// The tree and what signs it.
pub(super) struct Keeper {
    pub(super) kept: Arc<Kept>,
    pub(super) files: TreeFiles,
    pub(super) tree: Tree,
    pub(super) key: HeldKey,
    /// The key's file, beside which the newest checkpoint is kept; `None`: that folder can't be written.
    pub(super) beside: Option<PathBuf>,
    pub(super) verifier: VerifierKey,
    pub(super) sealer: (mpsc::Sender<Due>, JoinHandle<()>),
    pub(super) watch: Watch,
    /// Takes a record of a failure that is over.
    pub(super) record: Recorder,
    pub(super) ends: Ends,
    pub(super) left: Left,
}

/// What is not done yet, and what need not be done again.
#[derive(Default)]
pub(super) struct Left {
    /// Full tiles that are not written.
    full: Vec<Tile>,
    /// Partial tiles that are written.
    edge: Vec<TileId>,
    /// Leaves in the tree that no checkpoint covers.
    leaves: usize,
    failing: Option<(Instant, String)>,
}

/// Where segments end in the tree.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// Those that the tree does not reach yet, in order.
    pub(super) waiting: VecDeque<Ended>,
    /// Those that it has reached, with its root there.
    pub(super) met: Vec<Due>,
}

impl Ends {
    /// Adds leaves to the tree. The tiles that this fills are added to `full`.
    pub(super) fn grow(&mut self, tree: &mut Tree, leaves: &[Hash], full: &mut Vec<Tile>) {
        // An end may come a round behind its last leaf.
        self.meet(tree);
        for leaf in leaves {
            tree.push(*leaf, full);
            self.meet(tree);
        }
    }

    fn meet(&mut self, tree: &Tree) {
        while let Some(ended) = self.waiting.pop_front_if(|ended| ended.next <= tree.size()) {
            self.met.push(Due { ended, root: tree.root() });
        }
    }
}

impl Keeper {
    /// Until the log is closed.
    pub(super) fn run(mut self) {
        let (mut renew, mut earliest) = (Instant::now(), Instant::now());
        loop {
            let round = self.kept.next(renew, earliest);
            let (taken, closing) = (round.taken, round.closing);
            self.take(round);
            match self.sign(None) {
                Ok(checkpoint) => {
                    self.kept.signed(std::mem::take(&mut self.left.leaves), taken, checkpoint);
                    renew = Instant::now() + RENEW_INTERVAL;
                    self.succeeded();
                }
                Err(error) => {
                    earliest = Instant::now() + RETRY_INTERVAL;
                    self.failed(error.to_string());
                }
            }
            if closing {
                break;
            }
        }
        let (sender, thread) = self.sealer;
        drop(sender);
        // A panic there was reported there.
        let _ = thread.join();
    }

    /// Signs what there is, with another key too. Nobody else signs or writes meanwhile.
    pub(super) fn sign_with(&mut self, other: (&SigningKey, &VerifierKey)) -> io::Result<()> {
        let round = Round::of(&mut self.kept.lock());
        let taken = round.taken;
        self.take(round);
        let checkpoint = self.sign(Some(other))?;
        self.kept.signed(std::mem::take(&mut self.left.leaves), taken, checkpoint);
        Ok(())
    }

    fn take(&mut self, round: Round) {
        self.left.leaves = self.left.leaves.saturating_add(round.leaves.len());
        self.ends.waiting.extend(round.ended);
        self.ends.grow(&mut self.tree, &round.leaves, &mut self.left.full);
    }

    /// Writes the tiles, then the checkpoint over them.
    fn sign(&mut self, other: Option<(&SigningKey, &VerifierKey)>) -> io::Result<Arc<str>> {
        let edge = self.tree.edge();
        // A partial tile of the same place and width is the same.
        let grown = edge.iter().filter(|tile| !self.left.edge.contains(&tile.id));
        let tiles = self.left.full.iter().chain(grown);
        // At first there may be what the run before wrote and did not sign: parts that a power failure emptied.
        if self.left.edge.is_empty() { self.files.mend(tiles).map(drop) } else { self.files.write(tiles) }?;
        self.left.edge = edge.iter().map(|tile| tile.id).collect();
        let (origin, size, root) = (self.verifier.name().to_owned(), self.tree.size(), self.tree.root());
        let head = Checkpoint { origin, size, root }.text();
        let keys: Vec<_> = other.into_iter().chain([(&self.key.signs, &self.verifier)]).collect();
        let note = Note::sign(&head, &keys);
        self.files.set_checkpoint(&note)?;
        self.beside.iter().try_for_each(|key| key_file::set_head(key, &note))?;
        self.left.full.drain(..).for_each(|tile| self.files.remove_partial(tile.id));
        Ok(note.into())
    }

    fn succeeded(&mut self) {
        let size = self.tree.size();
        (self.watch)(Event::Signed(size));
        for due in self.ends.met.drain(..) {
            // The sealer ends behind the keeper.
            let _ = self.sealer.0.send(due);
        }
        if let Some((since, error)) = self.left.failing.take() {
            let lasted = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            let error = clean(error.as_bytes(), 300).text;
            (self.record)(Detail::new().with("what", "checkpoint").with("error", error).with("lasted_ms", lasted));
        }
    }

    fn failed(&mut self, error: String) {
        if self.left.failing.is_none() {
            (self.watch)(Event::Unsigned(&error));
            self.left.failing = Some((Instant::now(), error));
        }
    }
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
