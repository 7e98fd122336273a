//! Opens a log whose lock is held: its key, what was signed last, and whether the records are those that were signed.
//! Not here: which segments there are and where they end (`segments`), writing (`disk`, `keeper`). Nothing is changed before all is found
//! to be right, but for what a crash left of sealing.
//!
//! The tree is made anew: over the sealed records from their full tiles, which were made durable before, over the others from the
//! records themselves, and the root must be the signed one. If it is not, the whole tree is made from all records, which also heals
//! tiles that are gone; if that root is not the signed one either, the log is refused.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use super::disk::Disk;
use super::keeper::{Ends, Kept};
use super::key_change;
use super::key_file::{self, HeldKey};
use super::place::{self, Place};
use super::segments::{Segments, Tail};
use super::tree_files::TreeFiles;
use super::{JournalError, Opening, system};
use crate::decision_log::{Checkpoint, Hash, Tile, Tree, VerifierKey, origin};
use crate::runtime::layout::{CHECKPOINT, LOST_AND_FOUND, SEGMENTS, TILES, UNFINISHED, VKEY};

/// Tiles that are held in memory while all are made anew: 2 MiB.
const TILES_AT_ONCE: usize = 256;

/// A log that was found to be right.
pub(super) struct Opened {
    pub(super) place: Arc<Place>,
    pub(super) disk: Disk,
    pub(super) files: TreeFiles,
    pub(super) key: HeldKey,
    pub(super) verifier: VerifierKey,
    /// The tree that is signed, the one over the sealed records, and where segments end that are not sealed.
    pub(super) tree: Tree,
    pub(super) sealed: Tree,
    pub(super) ends: Ends,
    pub(super) opening: Opening,
}

/// Makes what is missing, finds the end of the log, and checks it against what was signed. Whoever holds `place` has the lock.
pub(super) fn open(
    place: Arc<Place>,
    key_path: &Path,
    instance: &str,
    kept: &Arc<Kept>,
) -> Result<Opened, JournalError> {
    let path = place.path();
    key_change::finish(key_path, path, &origin(instance))?;
    let key = key_file::read_or_make(key_path)?;
    let verifier = key.signs.verifier(&origin(instance)).map_err(JournalError::Name)?;
    let vkey = verifier.to_string();
    only_ours(path, &place.directory(), &[SEGMENTS, VKEY, CHECKPOINT, TILES, LOST_AND_FOUND])?;
    match place::folder(&*place.directory(), TILES, false) {
        Ok(tiles) => only_ours(&path.join(TILES), &tiles, &["0", "1", "2", "3", "4", "5", "6", "7"])?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(system("open", &path.join(TILES))(error)),
    }
    let is_published = key_file::is_published(&path.join(VKEY), &vkey)?;
    let files = TreeFiles::at(Arc::clone(&place));
    let note = files.checkpoint().map_err(system("read", &path.join(CHECKPOINT)))?;
    let is_new = !is_published && note.is_none();
    let segments = Segments::list(path, &place, is_new)?;
    let signed = signed(path, note.as_deref(), &verifier, is_new && segments.hold_nothing()?)?;
    let log_made = !is_published && signed.size == 0;
    key_file::is_newest(key_path, &signed, &verifier)?;
    let tail = segments.tail(signed.size)?;
    let found = Found { path, segments: &segments, files: &files };
    let Trees { signed: tree, sealed, ends, rebuilt } = found.trees(&signed, &tail)?;
    segments.cut(&tail)?;
    if !is_published {
        // Last, so that a crash never leaves a verifier key without a segment and a checkpoint.
        files.set_checkpoint(&signed.sign(&key.signs, &verifier)).map_err(system("make", path))?;
        key_file::publish(&path.join(VKEY), &vkey)?;
    }
    let unsigned = tail.unsigned(signed.size);
    kept.grow(unsigned);
    let opening = Opening {
        scan: tail.scan,
        unsigned: u64::try_from(unsigned.len()).unwrap_or(u64::MAX),
        head_kept: false,
        signed,
        rebuilt,
        key_made: key.made,
        key_changed: false,
        log_made,
        vkey,
    };
    let disk = Disk::new(Arc::clone(&place), segments.into_folder(), tail.newest, Arc::clone(kept));
    Ok(Opened { place, disk, files, key, verifier, tree, sealed, ends, opening })
}

/// What was signed last. A log that has records and no checkpoint is refused: else it would do to remove it.
fn signed(path: &Path, note: Option<&str>, key: &VerifierKey, is_begun: bool) -> Result<Checkpoint, JournalError> {
    let path = path.join(CHECKPOINT);
    match note {
        Some(note) => {
            let open = Checkpoint::open(note, std::slice::from_ref(key));
            open.map_err(|why| JournalError::Checkpoint { path, why })
        }
        None if is_begun => Ok(Checkpoint { origin: key.name().to_owned(), size: 0, root: Hash::EMPTY }),
        None => Err(JournalError::NoCheckpoint(path)),
    }
}

/// What the trees are made of.
struct Found<'a> {
    path: &'a Path,
    segments: &'a Segments,
    files: &'a TreeFiles,
}

/// The tree that is signed, and what it was on the way.
struct Trees {
    signed: Tree,
    sealed: Tree,
    ends: Ends,
    /// Whether tiles had to be made anew.
    rebuilt: bool,
}

impl Found<'_> {
    fn trees(&self, signed: &Checkpoint, tail: &Tail) -> Result<Trees, JournalError> {
        if let Some(sealed) = self.sealed(tail.first)? {
            let mut full = Vec::new();
            let mut trees = self.grown(sealed, tail.signed(signed.size), &mut full);
            if trees.signed.root() == signed.root {
                let path = self.path.join(TILES);
                let mended = self.files.mend(full.iter().chain(&trees.signed.edge()));
                trees.rebuilt = mended.map_err(system("write", &path))?;
                return Ok(trees);
            }
        }
        self.rebuilt(signed, tail)
    }

    /// The tree over the sealed records, of which there are `size`. `None`: tiles are missing.
    fn sealed(&self, size: u64) -> Result<Option<Tree>, JournalError> {
        let last = self.segments.leaves(size.saturating_sub(size % 256), size)?;
        let read = Tree::from_full(size, last, &mut |id| self.files.read(id));
        read.map_err(system("read", &self.path.join(TILES)))
    }

    /// Goes on from the sealed records.
    fn grown(&self, sealed: Tree, leaves: &[Hash], full: &mut Vec<Tile>) -> Trees {
        let mut ends = Ends { waiting: self.segments.ended().collect(), ..Ends::default() };
        let mut tree = sealed.clone();
        ends.grow(&mut tree, leaves, full);
        Trees { signed: tree, sealed, ends, rebuilt: false }
    }

    /// Makes all tiles anew from all records, if those make the signed root.
    fn rebuilt(&self, signed: &Checkpoint, tail: &Tail) -> Result<Trees, JournalError> {
        if self.whole(signed.size, &mut |_| Ok(()))?.root() != signed.root {
            return Err(JournalError::OtherRoot { path: self.path.to_owned(), size: signed.size });
        }
        let sealed = self.whole(tail.first, &mut |full| {
            self.files.mend(full)?;
            self.files.sync(full.iter().map(|tile| tile.id))
        })?;
        let mut full = Vec::new();
        let trees = self.grown(sealed, tail.signed(signed.size), &mut full);
        let mended = self.files.mend(full.iter().chain(&trees.signed.edge()));
        mended.map_err(system("write", &self.path.join(TILES)))?;
        Ok(Trees { rebuilt: true, ..trees })
    }

    /// The tree over the first `size` records, from all segments. `each` gets its full tiles, some at once.
    fn whole(&self, size: u64, each: &mut dyn FnMut(&[Tile]) -> io::Result<()>) -> Result<Tree, JournalError> {
        let mut tree = Tree::new();
        let mut full = Vec::new();
        self.segments.lines(&mut |line: &[u8]| {
            if tree.size() < size {
                tree.push(Hash::leaf(line), &mut full);
            }
            if full.len() >= TILES_AT_ONCE {
                each(&full)?;
                full.clear();
            }
            Ok(())
        })?;
        each(&full).map_err(system("write", &self.path.join(TILES)))?;
        Ok(tree)
    }
}

/// Whether a folder has nothing but what a log has there. Links are foreign whatever their name.
fn only_ours(path: &Path, directory: &OwnedFd, names: &[&str]) -> Result<(), JournalError> {
    for name in place::names(directory).map_err(system("list", path))? {
        let whole = name.strip_suffix(UNFINISHED).filter(|whole| [VKEY, CHECKPOINT].contains(whole)).unwrap_or(&name);
        let is_link = place::is_link(directory, &name).map_err(system("read", &path.join(&name)))?;
        if is_link || !names.contains(&whole) {
            return Err(JournalError::Foreign(path.join(name)));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "opening_tests.rs"]
mod tests;
