//! What a log's threads have in common, and how they begin: with a log that was just opened, at a start or when it is taken back.
//! Not here: the threads (`writer`, `keeper`, `sealer`), which files a log has (`opening`).

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::disk::Disk;
use super::keeper::{self, Keeper, Kept};
use super::key_change::NextKey;
use super::opening::{self, Opened};
use super::place::Place;
use super::sealer::{self, Sealer};
use super::shared::Shared;
use super::writer;
use super::{JournalError, Opening, Recorder, SEGMENT_LIMIT, Watch, key_file, system};
use crate::decision_log::Log;
use crate::runtime::clock;

/// What the threads have in common.
pub(super) struct House {
    pub(super) instance: Arc<str>,
    pub(super) key: PathBuf,
    pub(super) watch: Watch,
    /// Holds the lock; `None`: this process does not have the log, or no more.
    pub(super) place: Mutex<Option<Arc<Place>>>,
    /// Whether it was given to another process.
    pub(super) given: AtomicBool,
    pub(super) shared: Arc<Shared>,
    pub(super) kept: Arc<Kept>,
}

/// A log that was opened, before its threads run.
pub(super) struct Begun {
    pub(super) log: Log,
    pub(super) disk: Disk,
    pub(super) keeper: Keeper,
    /// The time of its last record.
    pub(super) latest: Option<Timestamp>,
    pub(super) opening: Opening,
}

impl House {
    /// Opens the log, whose lock is held, and starts its sealer.
    pub(super) fn open(&self) -> Result<Begun, JournalError> {
        let place = self.place().clone().ok_or(JournalError::Kept("another process has it"))?;
        let Self { instance, key: key_path, watch, shared, kept, .. } = self;
        let opened = opening::open(place, key_path, instance, kept)?;
        let Opened { place, mut disk, files, key, verifier, tree, sealed, ends, mut opening } = opened;
        let mut log = Log::resume(opening.scan.end, SEGMENT_LIMIT);
        let latest = opening.scan.last.and_then(|last| last.time);
        let (noted, named) = (Arc::clone(shared), Arc::clone(instance));
        let record: Recorder =
            Arc::new(move |detail| noted.note(writer::failure(clock::now(), Arc::clone(&named), detail)));
        let sealer = Sealer {
            place: Arc::clone(&place),
            tree: sealed,
            kept: Arc::clone(kept),
            watch: Arc::clone(watch),
            record: Arc::clone(&record),
        };
        let sealer = sealer::start(sealer).map_err(system("start the threads of", place.path()))?;
        let (left, kept, watch) = (keeper::Left::default(), Arc::clone(kept), Arc::clone(watch));
        let head = opening.signed.sign(&key.signs, &verifier);
        let beside = key_file::set_head(key_path, &head).is_ok().then(|| key_path.clone());
        opening.head_kept = beside.is_some();
        let mut keeper = Keeper { kept, files, tree, key, beside, verifier, sealer, watch, record, ends, left };
        if let Some(next) = NextKey::find(key_path)? {
            let changed = next.change_over(key_path, (&mut log, &mut disk), &mut keeper, instance)?;
            opening.vkey = changed.to_string();
            opening.key_changed = true;
        }
        Ok(Begun { log, disk, keeper, latest, opening })
    }

    pub(super) fn is_anothers(&self) -> bool {
        self.given.load(Ordering::Acquire)
    }

    /// The directory, whose lock is held.
    pub(super) fn place(&self) -> MutexGuard<'_, Option<Arc<Place>>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
