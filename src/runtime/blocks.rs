//! Emergency blocks while the proxy runs: asked for, in force at once, kept over a restart, ended by the clock or by hand.
//! Not here: the judgement (`policy`), the calls that ask for them (`admin`).
//! Source: the contract's `POST /v1/block`: deny-only. Nothing that comes over the admin port lifts a block; whoever may change files on
//! the host takes it out of the file and reloads.

pub mod page;

use std::collections::HashSet;
use std::fs::DirBuilder;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use crate::decision_log::{Detail, Kind};
use crate::policy::{Block, Blocked, Blocks};
use crate::redact::{Redacted, Redactor, clean_name};
use crate::runtime::shared::Shared;
use crate::runtime::whole_file::{EVERYBODY_WRITES, folder_of, open_regular, replace};
use crate::runtime::{clock, events};

use page::PageError;

/// Upper bound of blocks at a time: an emergency that takes more is one for the policy.
pub const MAX_BLOCKS: usize = 1000;

/// Upper bound in bytes of the file; as many blocks as there may be, with all that a hand may add.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// How late a block's end is seen by whoever counts blocks; requests see it at once.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Upper bound in bytes of what a block hits, in a record: no host name is longer.
const MAX_WHAT: usize = 253;

/// Upper bound in bytes of an error's text in a record.
const MAX_ERROR: usize = 1000;

/// The file of an instance below `state`: several may share that.
fn name(instance: &str) -> String {
    format!("blocks.{instance}.json")
}

/// The blocks in force, and the file that keeps them.
pub struct BlockBook {
    path: PathBuf,
    /// Never held over a wait for the disk.
    list: Mutex<List>,
    kept: Mutex<Kept>,
    /// Whether open tunnels are to be judged for what a hand has added.
    judge: AtomicBool,
}

/// What is in force.
#[derive(Default)]
struct List {
    blocks: Vec<Arc<Block>>,
    /// The ids of those that were asked for and are not kept yet: a hand's edit is older, and takes nothing away from them.
    asked: HashSet<Uuid>,
}

/// What the file held when it was last read or written.
#[derive(Default)]
struct Kept {
    text: Option<String>,
    blocks: Vec<Arc<Block>>,
    /// Whether the last attempt failed.
    is_ill: bool,
}

/// Why blocks can't be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum BlocksError {
    /// The file or its folder can't be used.
    #[error("{}: {error}; emergency blocks are kept there, so check `state` and its permissions", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// What is in force can't be written there.
    #[error("{}: {error}; emergency blocks are kept there, so check `state`, its permissions and its disk", path.display())]
    NotKept {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Anybody could lift blocks.
    #[error("{}: everybody may write it, and so lift emergency blocks; take that away with `chmod o-w`", .0.display())]
    Exposed(PathBuf),
    /// The file is not what was written.
    #[error("{}: not what was written ({error}); correct it, or put a copy back: whoever removes it lifts all blocks that it held", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where and what.
        error: PageError,
    },
}

impl BlocksError {
    /// Whether the file is wrong, and not just the disk that takes nothing.
    pub fn is_of_file(&self) -> bool {
        !matches!(self, Self::NotKept { .. })
    }
}

/// There are as many blocks as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

/// What a block that was asked for came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The block, in force.
    pub block: Arc<Block>,
    /// Whether there was none of this before; else its end was put off, if the new one is later.
    pub is_new: bool,
}

impl BlockBook {
    /// Reads what is to hold from the start on; no file: nothing.
    ///
    /// # Errors
    /// The file is there, and does not say what is blocked: then nobody knows, and nothing may start.
    pub fn open(at: (&Path, &str), redactor: &Redactor, now: Timestamp) -> Result<Self, BlocksError> {
        let (path, kept) = found(at, redactor, now)?;
        let list = Mutex::new(List { blocks: kept.blocks.clone(), ..List::default() });
        Ok(Self { path, list, kept: Mutex::new(kept), judge: AtomicBool::new(false) })
    }

    /// Puts what was read in force.
    pub fn begin(&self, shared: &Shared) {
        let blocks = &self.list().blocks;
        shared.set_blocks(Blocks::new(blocks.iter().cloned()));
        if !blocks.is_empty() {
            tracing::warn!(blocks = blocks.len(), "emergency blocks are in force");
        }
    }

    /// Puts one more in force, at once. What is blocked already stays so under its id, until the later of the two ends, for the newer
    /// reason. The caller has open tunnels judged, and the file kept.
    ///
    /// # Errors
    /// There are [`MAX_BLOCKS`].
    pub fn add(&self, shared: &Shared, what: Blocked, reason: Redacted, until: Timestamp) -> Result<Added, TooMany> {
        let now = clock::now();
        let mut list = self.list();
        let List { blocks, asked } = &mut *list;
        let is_full = blocks.len() >= MAX_BLOCKS;
        let same = blocks.iter_mut().find(|block| block.what == what && block.holds(now));
        let (block, is_new) = match same {
            Some(before) => {
                let block = Block { reason, until: before.until.max(until), ..Block::clone(before) };
                *before = Arc::new(block);
                (Arc::clone(before), false)
            }
            None if is_full => return Err(TooMany),
            None => {
                let block = Arc::new(Block { id: clock::new_id(), what, reason, since: now, until });
                blocks.push(Arc::clone(&block));
                (block, true)
            }
        };
        asked.insert(block.id);
        shared.set_blocks(Blocks::new(blocks.iter().cloned()));
        Ok(Added { block, is_new })
    }

    /// Keeps what is in force. A file that a hand has changed since is read first: what was taken out of it is lifted, and what was added
    /// is in force; what was asked for and not kept yet holds whatever the file says. Not for threads that may not wait.
    ///
    /// # Errors
    /// The file can't be read or written, or says nothing that can be trusted; what is in force stays so. The first failure in a row is
    /// told, and so is its end.
    pub fn keep(&self, shared: &Shared) -> Result<(), BlocksError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.renew(shared, &mut kept);
        let was_ill = std::mem::replace(&mut kept.is_ill, result.is_err());
        match &result {
            Err(error) if !was_ill => {
                let error = shared.redactor().clean(error.to_string().as_bytes(), MAX_ERROR).text;
                tracing::error!(
                    error = error.as_str(),
                    "emergency blocks can't be kept; they hold until the proxy stops"
                );
                let detail = Detail::new().with("what", "emergency_blocks").with("error", error);
                events::note(shared, Kind::ControlFailure, detail);
            }
            Ok(()) if was_ill => tracing::warn!("emergency blocks can be kept again"),
            Err(_) | Ok(()) => {}
        }
        result
    }

    fn renew(&self, shared: &Shared, kept: &mut Kept) -> Result<(), BlocksError> {
        let text = text(&self.path)?;
        // A file that has gone is no hand's edit: what is in force is written again.
        if let Some(text) = text.as_ref().filter(|text| Some(*text) != kept.text.as_ref()) {
            let blocks = checked(&self.path, text, shared.redactor(), clock::now())?;
            self.follow(shared, &kept.blocks, &blocks)?;
            kept.blocks = blocks;
        }
        kept.text.clone_from(&text);
        let (blocks, asked) = {
            let mut list = self.list();
            (list.blocks.clone(), std::mem::take(&mut list.asked))
        };
        let want = page::written(&blocks);
        if text.as_ref() != Some(&want) && !(text.is_none() && blocks.is_empty()) {
            let write = || {
                DirBuilder::new().recursive(true).mode(0o750).create(folder_of(&self.path))?;
                replace(&self.path, want.as_bytes())
            };
            if let Err(error) = write() {
                self.list().asked.extend(asked);
                return Err(BlocksError::NotKept { path: self.path.clone(), error });
            }
            kept.text = Some(want);
        }
        kept.blocks = blocks;
        Ok(())
    }

    /// Reads what another process of this instance keeps now, which records it. Not for threads that may not wait.
    ///
    /// # Errors
    /// The file says nothing that can be trusted; what is in force stays so.
    pub fn read_again(&self, shared: &Shared) -> Result<(), BlocksError> {
        let text = text(&self.path)?;
        let blocks = text.map_or(Ok(Vec::new()), |text| checked(&self.path, &text, shared.redactor(), clock::now()))?;
        shared.set_blocks(Blocks::new(blocks.iter().cloned()));
        self.list().blocks = blocks;
        Ok(())
    }

    /// Does what a hand has done to the file. One id for something else than before is another block.
    fn follow(&self, shared: &Shared, before: &[Arc<Block>], found: &[Arc<Block>]) -> Result<(), BlocksError> {
        let mut list = self.list();
        let mut blocks = list.blocks.clone();
        let mut changes: Vec<(&'static str, Arc<Block>)> = Vec::new();
        let is_found = |block: &Block| found.iter().any(|other| other.id == block.id && other.what == block.what);
        for block in before.iter().filter(|block| !is_found(block) && !list.asked.contains(&block.id)) {
            blocks.retain(|other| other.id != block.id);
            changes.push(("block_lifted", Arc::clone(block)));
        }
        for block in found.iter().filter(|block| !before.contains(block)) {
            let place = blocks.iter().position(|other| other.id == block.id);
            let (word, block) = match place.map(|place| blocks.remove(place)) {
                None => ("block_added", Arc::clone(block)),
                Some(other) if other.what != block.what => {
                    blocks.push(other);
                    ("block_added", Arc::new(Block { id: clock::new_id(), ..Block::clone(block) }))
                }
                Some(other) if list.asked.contains(&block.id) && block.until <= other.until => {
                    blocks.push(other);
                    continue;
                }
                Some(other) if list.asked.contains(&block.id) => {
                    ("block_changed", Arc::new(Block { until: block.until, ..Block::clone(&other) }))
                }
                Some(_) => ("block_changed", Arc::clone(block)),
            };
            blocks.push(Arc::clone(&block));
            changes.push((word, block));
        }
        if blocks.len() > MAX_BLOCKS {
            let error = PageError::TooMany(blocks.len());
            return Err(BlocksError::Damaged { path: self.path.clone(), error });
        }
        list.blocks = blocks;
        shared.set_blocks(Blocks::new(list.blocks.iter().cloned()));
        drop(list);
        self.judge.store(true, Ordering::Relaxed);
        changes.iter().for_each(|(word, block)| tell(shared, word, block));
        Ok(())
    }

    /// Ends what is over, and tries again to keep what could not be kept. Not for threads that may not wait.
    fn look(&self, shared: &Shared, now: Timestamp) {
        let over: Vec<Arc<Block>> = self.list().blocks.extract_if(.., |block| !block.holds(now)).collect();
        if !over.is_empty() {
            shared.set_blocks(Blocks::new(self.list().blocks.iter().cloned()));
            over.iter().for_each(|block| tell(shared, "block_ended", block));
        }
        let is_ill = self.kept.lock().unwrap_or_else(PoisonError::into_inner).is_ill;
        // A process that was taken over may have kept one more until it left.
        let may_have_more = shared.predecessors().count() > 0;
        if is_ill || may_have_more || !over.is_empty() {
            // Told already.
            let _ = self.keep(shared);
        }
    }

    /// Nothing panics behind this lock.
    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at the clock each second until the task is dropped.
pub async fn keep_up(shared: Arc<Shared>, book: Arc<BlockBook>) {
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (first, at) = (Arc::clone(&shared), Arc::clone(&book));
    // A process that was taken over may have kept one more since the file was read.
    let _ = spawn_blocking(move || at.keep(&first)).await;
    loop {
        ticks.tick().await;
        let (looks, at) = (Arc::clone(&shared), Arc::clone(&book));
        // A disk may take its time; a task that panics has nothing left to keep.
        let _ = spawn_blocking(move || at.look(&looks, clock::now())).await;
        if book.judge.swap(false, Ordering::Relaxed) {
            let _judged = shared.lifecycle().judge_again().await;
        }
    }
}

/// What the file of an instance holds, for who only asks.
///
/// # Errors
/// As [`BlockBook::open`].
pub fn read(at: (&Path, &str), redactor: &Redactor, now: Timestamp) -> Result<(PathBuf, Blocks), BlocksError> {
    let (path, kept) = found(at, redactor, now)?;
    Ok((path, Blocks::new(kept.blocks)))
}

fn found(
    (state, instance): (&Path, &str),
    redactor: &Redactor,
    now: Timestamp,
) -> Result<(PathBuf, Kept), BlocksError> {
    let path = state.join(name(instance));
    let text = text(&path)?;
    let blocks = match &text {
        Some(text) => checked(&path, text, redactor, now)?,
        None => Vec::new(),
    };
    Ok((path, Kept { text, blocks, is_ill: false }))
}

/// What the file holds; `None`: there is none.
fn text(path: &Path) -> Result<Option<String>, BlocksError> {
    let failed = |error| BlocksError::Io { path: path.to_owned(), error };
    let (file, meta) = match open_regular(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    if meta.mode() & EVERYBODY_WRITES != 0 {
        return Err(BlocksError::Exposed(path.to_owned()));
    }
    let mut text = String::new();
    let length = file.take(MAX_FILE.saturating_add(1)).read_to_string(&mut text).map_err(failed)?;
    match u64::try_from(length) {
        Ok(length) if length <= MAX_FILE => Ok(Some(text)),
        Ok(_) | Err(_) => Err(failed(io::ErrorKind::FileTooLarge.into())),
    }
}

fn checked(path: &Path, text: &str, redactor: &Redactor, now: Timestamp) -> Result<Vec<Arc<Block>>, BlocksError> {
    page::read(text, redactor, now).map_err(|error| BlocksError::Damaged { path: path.to_owned(), error })
}

/// What a record says of a block.
pub fn detail(block: &Block) -> Detail {
    let Block { id, what, reason, until, .. } = block;
    let text = clean_name(what.text().as_bytes(), MAX_WHAT).text;
    let until: Arc<str> = until.to_string().into();
    Detail::new().with("id", *id).with(what.kind().as_str(), text).with("reason", reason.clone()).with("until", until)
}

/// A block is over, or a hand has taken it out of the file or put it there.
fn tell(shared: &Shared, result: &'static str, block: &Block) {
    tracing::warn!(id = %block.id, what = %block.what, until = %block.until, result, "an emergency block has changed");
    events::note(shared, Kind::Policy, Detail::new().with("result", result).with("block", detail(block)));
}

#[cfg(test)]
#[path = "blocks_tests.rs"]
mod tests;
