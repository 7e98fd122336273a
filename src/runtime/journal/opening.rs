//! Opens a log: which files it has, where its records end, and whether they are those that were signed.
//! Not here: writing (`disk`, `keeper`). Nothing is changed before all is found to be right, but for what a crash left of sealing.
//!
//! The tree is made anew from the segment that holds the end of what was signed: its left side comes from the tiles, the rest from the
//! records themselves, and the root must be the signed one. If it is not, the whole tree is made from all records, which also heals
//! tiles that are gone; if that root is not the signed one either, the log is refused.

use std::io::{self, BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;

use super::disk::{Disk, Segment, name};
use super::keeper::Kept;
use super::key_change;
use super::key_file::{self, HeldKey};
use super::place::{self, Place};
use super::tree_files::TreeFiles;
use super::{JournalError, Opening, system};
use crate::decision_log::{Checkpoint, Damage, Hash, Scan, Tile, Tree, VerifierKey, origin, scan};
use crate::runtime::layout::{self, CHECKPOINT, LOST_AND_FOUND, SEGMENTS, TILES, UNFINISHED, VKEY};

/// A log that was found to be right.
pub(super) struct Opened {
    pub(super) place: Arc<Place>,
    pub(super) disk: Disk,
    pub(super) files: TreeFiles,
    pub(super) key: HeldKey,
    pub(super) verifier: VerifierKey,
    /// The tree that is signed.
    pub(super) tree: Tree,
    pub(super) opening: Opening,
}

/// The log's directory as it is found.
struct Found<'a> {
    path: &'a Path,
    segments: OwnedFd,
    files: TreeFiles,
    /// The first records of the segments that may be written to, and of the sealed ones, in order.
    open: Vec<u64>,
    sealed: Vec<u64>,
}

/// The newest records: from the segment that holds the end of what was signed.
struct Tail {
    first: u64,
    leaves: Vec<Hash>,
    newest: Segment,
    scan: Scan,
}

/// Takes the lock, makes what is missing, finds the end of the log, and checks it against what was signed.
pub(super) fn open(path: &Path, key_path: &Path, instance: &str, kept: &Arc<Kept>) -> Result<Opened, JournalError> {
    let place = Arc::new(Place::lock(path)?);
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
    let log_made = !key_file::is_published(&path.join(VKEY), &vkey)?;
    let found = Found::list(path, &place, log_made)?;
    let signed = found.signed(&verifier, log_made)?;
    key_file::is_newest(key_path, &signed, &verifier)?;
    let tail = found.tail(signed.size)?;
    let (tree, rebuilt) = found.tree(&signed, &tail)?;
    tail.newest.cut(tail.scan.end).map_err(system("cut", &found.segments_path().join(tail.newest.name())))?;
    rustix::fs::fsync(&found.segments).map_err(|errno| system("sync", &found.segments_path())(errno.into()))?;
    if log_made {
        // Last, so that a crash never leaves a verifier key without a segment and a checkpoint.
        found.files.set_checkpoint(&signed.sign(&key.signs, &verifier)).map_err(system("make", path))?;
        key_file::publish(&path.join(VKEY), &vkey)?;
    }
    kept.grow(tail.unsigned(signed.size));
    for (first, next) in found.ended() {
        kept.ended(first, next);
    }
    let unsigned = tail.scan.end.next.saturating_sub(signed.size);
    let opening = Opening {
        scan: tail.scan,
        unsigned,
        head_kept: false,
        signed,
        rebuilt,
        key_made: key.made,
        key_changed: false,
        log_made,
        vkey,
    };
    let Found { segments, files, .. } = found;
    let disk = Disk::new(Arc::clone(&place), segments, tail.newest, Arc::clone(kept));
    Ok(Opened { place, disk, files, key, verifier, tree, opening })
}

impl<'a> Found<'a> {
    /// Lists the segments; what a crash left of sealing one is removed.
    fn list(path: &'a Path, place: &Arc<Place>, log_made: bool) -> Result<Self, JournalError> {
        let folder = path.join(SEGMENTS);
        let segments = match place::folder(&*place.directory(), SEGMENTS, log_made) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(JournalError::Lost(path.to_owned())),
            opened => opened.map_err(system("open", &folder))?,
        };
        let (mut open, mut sealed) = (Vec::new(), Vec::new());
        for found in place::names(&segments).map_err(system("list", &folder))? {
            let begun = found.strip_suffix(UNFINISHED).and_then(layout::Segment::of_file);
            let path = folder.join(&found);
            if place::is_link(&segments, &found).map_err(system("read", &path))? {
                return Err(JournalError::Foreign(path));
            }
            match layout::Segment::of_file(&found) {
                Some(segment) if segment.is_sealed => sealed.push(segment.first),
                Some(segment) => open.push(segment.first),
                None if begun.is_some_and(|segment| segment.is_sealed) => {
                    place::remove(&segments, &found).map_err(system("remove", &path))?;
                }
                None => return Err(JournalError::Foreign(path)),
            }
        }
        open.sort_unstable();
        sealed.sort_unstable();
        // Between the sealed one's coming and the open one's going there was a crash: it is sealed again.
        for both in sealed.extract_if(.., |first| open.contains(first)) {
            let name = layout::Segment::sealed(both).file();
            if !is_doubled(&segments, both).map_err(system("read", &folder.join(&name)))? {
                return Err(JournalError::Differ(folder.join(name)));
            }
            place::remove(&segments, &name).map_err(system("remove", &folder.join(&name)))?;
        }
        if let Some(first) = open.iter().chain(&sealed).min().copied().filter(|first| *first > 0) {
            let path = folder.join(name(first));
            return Err(JournalError::Damaged { path, why: Damage::Gap { first, before: 0 } });
        }
        if open.is_empty() && (!log_made || !sealed.is_empty()) {
            return Err(JournalError::Lost(path.to_owned()));
        }
        Ok(Self { path, segments, files: TreeFiles::at(Arc::clone(place)), open, sealed })
    }

    /// What was signed last. A log that has records and no checkpoint is refused: else it would do to remove it.
    fn signed(&self, key: &VerifierKey, log_made: bool) -> Result<Checkpoint, JournalError> {
        let path = self.path.join(CHECKPOINT);
        match self.files.checkpoint().map_err(system("read", &path))? {
            Some(note) => {
                let open = Checkpoint::open(&note, std::slice::from_ref(key));
                open.map_err(|why| JournalError::Checkpoint { path, why })
            }
            None if log_made && self.holds_nothing().map_err(system("read", &self.segments_path()))? => {
                Ok(Checkpoint { origin: key.name().to_owned(), size: 0, root: Hash::EMPTY })
            }
            None => Err(JournalError::NoCheckpoint(path)),
        }
    }

    /// Whether there is no record yet: a log that is being begun, perhaps for a second time behind a crash.
    fn holds_nothing(&self) -> io::Result<bool> {
        let mut lengths = self.open.iter().map(|first| place::length(&self.segments, &name(*first)));
        Ok(self.sealed.is_empty() && lengths.try_fold(0, |sum, length| Ok::<_, io::Error>(length? | sum))? == 0)
    }

    /// Reads the segments from the one that holds the end of what was signed.
    fn tail(&self, signed: u64) -> Result<Tail, JournalError> {
        let from = self.open.iter().rposition(|first| *first <= signed);
        let mut create = false;
        let firsts = match (from.and_then(|from| self.open.get(from..)), self.open.first()) {
            (Some(firsts), _) => firsts,
            (None, None) => {
                create = true;
                &[0]
            }
            (None, Some(first)) => {
                let path = self.segments_path().join(name(*first));
                return Err(JournalError::Damaged { path, why: Damage::Gap { first: *first, before: signed } });
            }
        };
        let mut tail: Option<Tail> = None;
        for first in firsts.iter().copied() {
            let path = self.segments_path().join(name(first));
            let segment = Segment::open(&self.segments, first, create).map_err(system("open", &path))?;
            let mut leaves = tail.as_mut().map(|tail| std::mem::take(&mut tail.leaves)).unwrap_or_default();
            let read = segment.scan(&mut |line| leaves.push(Hash::leaf(line)));
            let mut scan = read.map_err(|why| JournalError::Damaged { path: path.clone(), why })?;
            if let Some(before) = &tail {
                let end = before.scan.end.next;
                if end != first || before.scan.torn > 0 {
                    return Err(JournalError::Damaged { path, why: Damage::Gap { first, before: end } });
                }
                scan.last = scan.last.or(before.scan.last);
            }
            let begins = tail.map_or(first, |tail| tail.first);
            tail = Some(Tail { first: begins, leaves, newest: segment, scan });
        }
        let tail = tail.ok_or_else(|| JournalError::Lost(self.path.to_owned()))?;
        if tail.scan.end.next < signed {
            let (has, path) = (tail.scan.end.next, self.path.to_owned());
            return Err(JournalError::Short { path, has, signed });
        }
        Ok(tail)
    }

    /// The tree that is signed, and whether its tiles had to be made anew.
    fn tree(&self, signed: &Checkpoint, tail: &Tail) -> Result<(Tree, bool), JournalError> {
        let path = self.path.join(TILES);
        let tiles = system("write", &path);
        if let Some(mut tree) = self.files.tree_of(tail.first, signed.size).map_err(&tiles)? {
            let mut full = Vec::new();
            tail.signed(signed.size).iter().for_each(|leaf| tree.push(*leaf, &mut full));
            if tree.root() == signed.root {
                // What was written behind the last sync may be gone.
                let mended = self.mend(full.iter().chain(&tree.edge())).map_err(tiles)?;
                return Ok((tree, mended));
            }
        }
        let tree = self.whole(signed.size, &mut |_| Ok(()))?;
        if tree.root() != signed.root {
            return Err(JournalError::OtherRoot { path: self.path.to_owned(), size: signed.size });
        }
        self.whole(signed.size, &mut |tile| self.mend([tile]).map(drop))?;
        self.mend(&tree.edge()).map_err(tiles)?;
        Ok((tree, true))
    }

    /// The tree over the first `size` records, from all segments. `each` gets its full tiles.
    fn whole(&self, size: u64, each: &mut dyn FnMut(&Tile) -> io::Result<()>) -> Result<Tree, JournalError> {
        let mut tree = Tree::new();
        let mut firsts: Vec<(u64, bool)> = self.open.iter().map(|first| (*first, false)).collect();
        firsts.extend(self.sealed.iter().map(|first| (*first, true)));
        firsts.sort_unstable();
        for (first, is_sealed) in firsts {
            let name = layout::Segment { first, is_sealed }.file();
            let path = self.segments_path().join(&name);
            let file = place::open(&self.segments, &name, OFlags::RDONLY).map_err(system("open", &path))?;
            let mut done = Ok(());
            let mut full = Vec::new();
            let mut push = |line: &[u8]| {
                if tree.size() < size && done.is_ok() {
                    tree.push(Hash::leaf(line), &mut full);
                    done = full.drain(..).try_for_each(|tile| each(&tile));
                }
            };
            let scanned = if is_sealed {
                let lines = zstd::Decoder::new(file).map_err(system("read", &path))?;
                scan(&mut BufReader::new(lines), first, &mut push)
            } else {
                scan(&mut BufReader::new(file), first, &mut push)
            };
            scanned.map_err(|why| JournalError::Damaged { path, why })?;
            done.map_err(system("write", &self.path.join(TILES)))?;
        }
        Ok(tree)
    }

    /// Writes the tiles that are not there as they should be. Whether there were any.
    fn mend<'t>(&self, tiles: impl IntoIterator<Item = &'t Tile>) -> io::Result<bool> {
        let mut mended = false;
        for tile in tiles {
            if self.files.read(tile.id)?.as_ref() != Some(tile) {
                self.files.write(tile)?;
                mended = true;
            }
        }
        Ok(mended)
    }

    /// Segments that no record will be added to and that are not sealed, each with the number behind its last record.
    fn ended(&self) -> Vec<(u64, u64)> {
        let mut all: Vec<u64> = self.open.iter().chain(&self.sealed).copied().collect();
        all.sort_unstable();
        let pairs = all.windows(2).filter_map(|pair| Some((*pair.first()?, *pair.last()?)));
        pairs.filter(|(first, _)| self.open.contains(first)).collect()
    }

    fn segments_path(&self) -> std::path::PathBuf {
        self.path.join(SEGMENTS)
    }
}

impl Tail {
    /// Its leaves below `size`.
    fn signed(&self, size: u64) -> &[Hash] {
        self.leaves.split_at(self.place_of(size)).0
    }

    /// Its leaves from `size` on.
    fn unsigned(&self, size: u64) -> &[Hash] {
        self.leaves.split_at(self.place_of(size)).1
    }

    fn place_of(&self, size: u64) -> usize {
        usize::try_from(size.saturating_sub(self.first)).unwrap_or(usize::MAX).min(self.leaves.len())
    }
}

/// Whether both forms of a segment have the same lines.
fn is_doubled(segments: &OwnedFd, first: u64) -> io::Result<bool> {
    let read = |name: &str| place::open(segments, name, OFlags::RDONLY);
    let mut plain = BufReader::new(read(&name(first))?);
    let mut sealed = BufReader::new(zstd::Decoder::new(read(&layout::Segment::sealed(first).file())?)?);
    loop {
        // What can't be decompressed is not the same.
        let (one, Ok(other)) = (plain.fill_buf()?, sealed.fill_buf()) else { return Ok(false) };
        let both = one.len().min(other.len());
        if both == 0 || one.get(..both) != other.get(..both) {
            return Ok(one.is_empty() && other.is_empty());
        }
        plain.consume(both);
        sealed.consume(both);
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
