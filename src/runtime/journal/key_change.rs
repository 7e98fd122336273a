//! Changes over to a new key, at a start: the old key records the new one and signs a last checkpoint, which both sign.
//! Not here: making the new key (`sallyport keys new log`), the statement (`decision_log::key_change`).
//!
//! The order is such that a crash at any step leaves a log that the next start goes on with: the record, the checkpoint, `log.vkey`,
//! the key's file. Until `log.vkey` is written the change begins anew, and a second record of it does no harm.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::Disk;
use super::keeper::Keeper;
use super::key_file::{self, HeldKey};
use super::{JournalError, system};
use crate::decision_log::{Detail, Kind, Log, Record, VerifierKey, key_change};
use crate::runtime::clock;
use crate::runtime::layout::VKEY;
use crate::runtime::whole_file::{beside, sync_parent};

/// Behind the name of the key's file: the key that the next start changes over to, and one that is no more in use.
const NEXT: &str = ".next";
const RETIRED: &str = ".retired";

/// The key to change over to.
pub(super) struct NextKey {
    path: PathBuf,
    key: HeldKey,
}

/// The file of the key that the next start changes over to.
pub fn next_path(key: &Path) -> PathBuf {
    beside(key, NEXT)
}

/// Finishes a change that a crash has stopped behind writing `log.vkey`: the next key is the log's already.
pub(super) fn finish(key: &Path, directory: &Path, origin: &str) -> Result<(), JournalError> {
    let Some(next) = NextKey::find(key)? else { return Ok(()) };
    let vkey = next.key.signs.verifier(origin).map_err(JournalError::Name)?.to_string();
    // Says another key where nothing was changed yet, and is asked again by who can tell what that means.
    let is_done = key_file::is_published(&directory.join(VKEY), &vkey).is_ok_and(|published| published);
    if !is_done {
        return Ok(());
    }
    let old = key.exists().then(|| key_file::read(key)).transpose()?;
    let old = old.map(|old| old.signs.verifier(origin)).transpose().map_err(JournalError::Name)?;
    next.take_place(key, old.as_ref()).map(drop)
}

impl NextKey {
    /// The key beside `key`, if there is one.
    pub(super) fn find(key: &Path) -> Result<Option<Self>, JournalError> {
        let path = next_path(key);
        match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(system("read", &path)(error)),
            Ok(_) => Ok(Some(Self { key: key_file::read(&path)?, path })),
        }
    }

    /// Changes over: `keeper` has the old key, and nobody else writes yet. Gives the new verifier key.
    pub(super) fn change_over(
        self,
        key: &Path,
        (log, disk): (&mut Log, &mut Disk),
        keeper: &mut Keeper,
        instance: &Arc<str>,
    ) -> Result<VerifierKey, JournalError> {
        let cannot = system("record the new key of", &self.path);
        let verifier = self.key.signs.verifier(keeper.verifier.name()).map_err(JournalError::Name)?;
        let statement = key_change::make(&keeper.key.signs, &keeper.verifier, &verifier);
        let mut record = Record::new(Kind::Admin, clock::now(), clock::new_id(), Arc::clone(instance));
        record.detail = Detail::new()
            .with("what", "log_key_rotated")
            .with("from", Arc::<str>::from(keeper.verifier.to_string()))
            .with("to", Arc::<str>::from(verifier.to_string()))
            .with("statement", Arc::<str>::from(statement));
        log.commit(vec![record.line()], disk).map_err(|error| cannot(std::io::Error::other(error.to_string())))?;
        keeper.kept.grow(&log.leaves().collect::<Vec<_>>());
        keeper.sign_with((&self.key.signs, &verifier)).map_err(&cannot)?;
        keeper.files.set_vkey(&verifier.to_string()).map_err(cannot)?;
        keeper.key = self.take_place(key, Some(&keeper.verifier))?;
        keeper.verifier = verifier.clone();
        Ok(verifier)
    }

    /// Becomes the log's key; the old one is kept beside it under another name, for the operator to destroy.
    fn take_place(self, key: &Path, old: Option<&VerifierKey>) -> Result<HeldKey, JournalError> {
        if let Some(old) = old {
            let retired = beside(key, &format!("{RETIRED}.{:08x}", old.id()));
            match std::fs::hard_link(key, &retired) {
                // Of a change that a crash has stopped: it is named by the key that it holds.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                linked => linked.map_err(system("keep the old key as", &retired))?,
            }
        }
        std::fs::rename(&self.path, key).map_err(system("replace", key))?;
        sync_parent(key).map_err(system("sync", key))?;
        Ok(self.key)
    }
}
