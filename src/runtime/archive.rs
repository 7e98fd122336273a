//! A log's directory, read by whoever did not write it: segments in their order, tiles, checkpoint, verifier key.
//! Not here: writing and locking (`journal`), what the files mean (`decision_log`). Works while a proxy writes.
//! Every name below the directory is opened relative to it, a folder at a time, and no symbolic link is followed.

mod sweep;
pub mod verify;
mod walk;

use std::collections::HashSet;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

pub use crate::runtime::layout::Segment;
pub use sweep::Gather;
pub use walk::SegmentError;

use crate::decision_log::{Hash, MAX_NOTE, TILE_WIDTH, Tile, TileId};
use crate::runtime::layout::{CHECKPOINT, LOST_AND_FOUND, SEGMENTS, TILES, UNFINISHED, VKEY};

/// A log's directory, open for reading.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    directory: OwnedFd,
}

/// A segment, open.
#[derive(Debug)]
pub enum Opened {
    /// JSON lines; the last one may still be written.
    Plain(File),
    /// A sealed segment: the same lines, compressed.
    Sealed(File),
}

/// All that is below a log's directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// In the order of their first records.
    pub segments: Vec<Segment>,
    /// In the order of level, index and width.
    pub tiles: Vec<TileId>,
    /// What does not belong to a log, by its name below the directory, with what it is.
    pub foreign: Vec<(String, Foreign)>,
    /// Segments that are there in both forms.
    pub doubled: Vec<u64>,
}

/// What is in a log's directory and does not belong there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// It could lead anywhere.
    #[error("is a symbolic link; put the file itself there")]
    Link,
    /// A device, a pipe, a socket; or a folder where a file belongs, or the other way round.
    #[error("is not a regular file or folder of a log; remove it")]
    Kind,
    /// A name that no log makes.
    #[error("does not belong to a log; move it elsewhere")]
    Name,
}

/// A file or folder of the log can't be read.
#[derive(Debug, thiserror::Error)]
#[error("can't read {}: {why}", path.display())]
pub struct ArchiveError {
    path: PathBuf,
    why: io::Error,
}

impl Archive {
    /// Opens the directory, which may itself be named by a link.
    ///
    /// # Errors
    /// It can't be opened, or is no directory.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(directory) => Ok(Self { path: path.to_owned(), directory }),
            Err(errno) => Err(ArchiveError { path: path.to_owned(), why: errno.into() }),
        }
    }

    /// Its segments in the order of their first records. Other files there are left out.
    ///
    /// # Errors
    /// The folder can't be listed.
    pub fn segments(&self) -> Result<Vec<Segment>, ArchiveError> {
        let mut contents = Contents::default();
        self.list(SEGMENTS, &mut contents)?;
        contents.order();
        Ok(contents.segments)
    }

    /// Adds what is in a folder. Gives the folders in it that are to be listed too.
    ///
    /// Segments are listed twice: one that is sealed meanwhile changes its name, and a listing may meet neither. It can't miss the same
    /// one two times.
    fn list(&self, folder: &str, contents: &mut Contents) -> Result<Vec<String>, ArchiveError> {
        let mut names = self.names(folder)?;
        if folder == SEGMENTS {
            let first = |name: &str| Segment::of_file(name).map(|segment| segment.first);
            let before = names;
            names = self.names(folder)?;
            let there: HashSet<u64> = names.iter().filter_map(|(name, _)| first(name)).collect();
            let is_gone = |name: &str| first(name).is_some_and(|first| !there.contains(&first));
            names.extend(before.into_iter().filter(|(name, _)| is_gone(name)));
        }
        let below = |name| if folder == "." { name } else { format!("{folder}/{name}") };
        Ok(names.into_iter().filter_map(|(name, kind)| contents.add(below(name), kind)).collect())
    }

    /// All that is in the directory. Tiles are listed before segments: while a proxy writes, each tile that is listed
    /// has its records in the segments that are.
    ///
    /// # Errors
    /// A folder can't be listed.
    pub fn contents(&self) -> Result<Contents, ArchiveError> {
        let mut contents = Contents::default();
        let mut folders = self.list(".", &mut contents)?;
        // Taken from the end: `tile` comes behind `segments`, and what lies below it before either.
        folders.sort_unstable();
        while let Some(folder) = folders.pop() {
            folders.extend(self.list(&folder, &mut contents)?);
        }
        contents.order();
        Ok(contents)
    }

    /// Opens a segment. One that was sealed since it was listed is found in its new form.
    ///
    /// # Errors
    /// It can't be opened, or is no regular file.
    pub fn read(&self, segment: Segment) -> Result<Opened, ArchiveError> {
        let name = segment.name();
        match self.file(&name) {
            Ok(file) if segment.is_sealed => Ok(Opened::Sealed(file)),
            Ok(file) => Ok(Opened::Plain(file)),
            Err(error) if error.is_missing() && !segment.is_sealed => {
                self.file(&Segment { is_sealed: true, ..segment }.name()).map(Opened::Sealed)
            }
            Err(error) => Err(error),
        }
    }

    /// The bytes of a tile's file; `None`: there is none. One that is too long is given with a byte too many.
    ///
    /// # Errors
    /// It can't be read.
    pub fn tile_file(&self, id: TileId) -> Result<Option<Vec<u8>>, ArchiveError> {
        self.bytes(&id.to_string(), TILE_WIDTH.saturating_mul(Hash::BYTES))
    }

    /// A tile of this width, out of its file or out of the full tile that has followed it; `None`: there is neither.
    ///
    /// # Errors
    /// It can't be read, or has another length than a tile.
    pub fn tile(&self, id: TileId) -> Result<Option<Tile>, ArchiveError> {
        for stored in [id, id.full()] {
            if let Some(bytes) = self.tile_file(stored)? {
                let length = || io::Error::new(io::ErrorKind::InvalidData, "not as long as a tile is");
                let mut tile = Tile::read(stored, &bytes).ok_or_else(|| self.error(&stored.to_string(), length()))?;
                tile.hashes.truncate(id.width());
                return Ok(Some(Tile { id, hashes: tile.hashes }));
            }
        }
        Ok(None)
    }

    /// The signed tree head; `None`: there is none.
    ///
    /// # Errors
    /// It can't be read, or is no text.
    pub fn checkpoint(&self) -> Result<Option<String>, ArchiveError> {
        self.text(CHECKPOINT)
    }

    /// The line of `log.vkey`; `None`: there is no such file.
    ///
    /// # Errors
    /// It can't be read, or is no text.
    pub fn vkey(&self) -> Result<Option<String>, ArchiveError> {
        self.text(VKEY)
    }

    fn text(&self, name: &str) -> Result<Option<String>, ArchiveError> {
        let Some(bytes) = self.bytes(name, MAX_NOTE)? else { return Ok(None) };
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(self.error(name, io::Error::new(io::ErrorKind::InvalidData, "not UTF-8"))),
        }
    }

    /// A small file, with a byte more than `most` if it has more; `None`: there is none.
    fn bytes(&self, name: &str, most: usize) -> Result<Option<Vec<u8>>, ArchiveError> {
        let file = match self.file(name) {
            Err(error) if error.is_missing() => return Ok(None),
            file => file?,
        };
        let mut bytes = Vec::with_capacity(most.min(TILE_WIDTH.saturating_mul(Hash::BYTES)).saturating_add(1));
        let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        file.take(bound).read_to_end(&mut bytes).map_err(|error| self.error(name, error))?;
        Ok(Some(bytes))
    }

    fn file(&self, name: &str) -> Result<File, ArchiveError> {
        let open = || {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = match name.rsplit_once('/') {
                Some((folder, name)) => rustix::fs::openat(self.folder(folder)?, name, flags, Mode::empty())?,
                None => rustix::fs::openat(&self.directory, name, flags, Mode::empty())?,
            };
            let file = File::from(file);
            if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
        };
        open().map_err(|error| self.error(name, error))
    }

    /// A folder below the directory, or `.` for the directory itself.
    fn folder(&self, name: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut folder: Option<OwnedFd> = None;
        for part in name.split('/') {
            let above = folder.as_ref().unwrap_or(&self.directory);
            folder = Some(rustix::fs::openat(above, part, flags, Mode::empty())?);
        }
        folder.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Names and kinds of what is in a folder; nothing, if it is not there.
    fn names(&self, folder: &str) -> Result<Vec<(String, FileType)>, ArchiveError> {
        match self.folder(folder).and_then(list) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            names => names.map_err(|error| self.error(folder, error)),
        }
    }

    fn error(&self, name: &str, why: io::Error) -> ArchiveError {
        ArchiveError { path: self.path.join(name), why }
    }
}

impl ArchiveError {
    /// Whether it is not there at all.
    pub fn is_missing(&self) -> bool {
        self.why.kind() == io::ErrorKind::NotFound
    }

    /// Whether it is there and is not what it should be, whoever reads it.
    pub fn is_malformed(&self) -> bool {
        self.why.kind() == io::ErrorKind::InvalidData
    }
}

impl Contents {
    /// Takes what was found under a name below the directory; gives it back if it is a folder to look into.
    fn add(&mut self, name: String, kind: FileType) -> Option<String> {
        let is_folder = name == SEGMENTS || name == TILES || is_tile_folder(&name);
        let finished = name.strip_suffix(UNFINISHED).unwrap_or(&name);
        let (tile, segment) = (finished.parse::<TileId>().ok(), Segment::named(finished));
        let is_file = tile.is_some() || segment.is_some() || finished == CHECKPOINT || finished == VKEY;
        if kind == FileType::Directory && is_folder {
            return Some(name);
        }
        if kind == FileType::RegularFile && is_file {
            if finished.len() == name.len() {
                self.tiles.extend(tile);
                self.segments.extend(segment);
            }
            return None;
        }
        let foreign = match (kind == FileType::Symlink, is_file || is_folder) {
            (true, _) => Foreign::Link,
            (false, true) => Foreign::Kind,
            (false, false) => Foreign::Name,
        };
        if kind != FileType::Directory || name != LOST_AND_FOUND {
            self.foreign.push((name, foreign));
        }
        None
    }

    fn order(&mut self) {
        self.tiles.sort_unstable();
        self.foreign.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        // Of two with the same first record the plain one comes first, and stays.
        self.segments.sort_unstable();
        let doubled = &mut self.doubled;
        self.segments.dedup_by(|later, earlier| {
            let is_same = later.first == earlier.first;
            if is_same {
                doubled.push(later.first);
            }
            is_same
        });
    }
}

/// Whether tiles may lie below a folder of this name.
fn is_tile_folder(name: &str) -> bool {
    ["000", "1"].iter().any(|file| format!("{name}/{file}").parse::<TileId>().is_ok())
}

fn list(folder: OwnedFd) -> io::Result<Vec<(String, FileType)>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() == FileType::Unknown {
            // Some file systems don't say. What has gone meanwhile is not there.
            true => kind_of(&folder, name)?,
            false => Some(entry.file_type()),
        };
        names.extend(kind.map(|kind| (name.to_string_lossy().into_owned(), kind)));
    }
    Ok(names)
}

fn kind_of(folder: impl AsFd, name: &CStr) -> io::Result<Option<FileType>> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests;
