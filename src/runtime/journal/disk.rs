//! The log's directory: lock, segments, and the store on them.
//! Not here: when what is written (`decision_log`, `writer`), the key (`key_file`).
//! Every name below the directory is opened relative to it, and no symbolic link is followed.

use std::fs::{DirBuilder, File};
use std::io::{self, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::key_file::{self, HeldKey};
use super::{JournalError, Opening, system};
use crate::decision_log::{Damage, End, MAX_LINE, Scan, Store, is_record, origin, scan};

const SEGMENTS: &str = "segments";
pub(super) const VKEY: &str = "log.vkey";
/// What a file system makes by itself.
const LOST_AND_FOUND: &str = "lost+found";

/// The newest segment, open for appending.
pub(super) struct Disk {
    path: PathBuf,
    /// Holds the lock.
    directory: OwnedFd,
    segments: OwnedFd,
    segment: Segment,
    _key: HeldKey,
}

struct Segment {
    name: String,
    file: File,
}

impl Disk {
    /// Takes the lock, makes what is missing, and finds the end of the log.
    pub(super) fn open(path: &Path, key: &Path, instance: &str) -> Result<(Self, Opening), JournalError> {
        make(path).map_err(system("make", path))?;
        let directory = lock(path)?;
        let key = key_file::read_or_make(key)?;
        let vkey = key.signs.verifier(&origin(instance)).map_err(JournalError::Name)?.to_string();
        for name in names(&directory).map_err(system("list", path))? {
            if ![SEGMENTS, VKEY, LOST_AND_FOUND].contains(&name.as_str()) && path.join(&name) != unfinished_vkey(path) {
                return Err(JournalError::Foreign(path.join(name)));
            }
        }
        let log_made = !key_file::is_published(&path.join(VKEY), &vkey)?;
        let folder = path.join(SEGMENTS);
        let segments = match open_segments(&directory, log_made) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(JournalError::Lost(path.to_owned())),
            opened => opened.map_err(system("open", &folder))?,
        };
        let firsts = firsts(&segments, &folder)?;
        if firsts.is_empty() && !log_made {
            return Err(JournalError::Lost(path.to_owned()));
        }
        let (segment, scan) = Segment::newest(&segments, &folder, &firsts)?;
        segment.cut(scan.end).map_err(system("cut", &folder.join(&segment.name)))?;
        rustix::fs::fsync(&segments).map_err(|errno| system("sync", &folder)(errno.into()))?;
        if log_made {
            // Last, so that a crash never leaves a verifier key without a segment.
            rustix::fs::fsync(&directory).map_err(|errno| system("sync", path)(errno.into()))?;
            key_file::publish(&path.join(VKEY), &vkey)?;
        }
        let opening = Opening { scan, key_made: key.made, log_made, vkey };
        Ok((Self { path: path.to_owned(), directory, segments, segment, _key: key }, opening))
    }

    /// Whether directory, segments and segment stand where the configuration says. What was moved aside or replaced
    /// takes everything, but another process may begin a second log in its place, and what was removed keeps nothing.
    fn stands(&self) -> io::Result<()> {
        let moved = |what| Err(io::Error::other(format!("{what} was moved or replaced; put it back")));
        if !is_at(&self.directory, CWD, &self.path)? {
            return moved("the log's directory");
        }
        if !is_at(&self.segments, &self.directory, Path::new(SEGMENTS))? {
            return moved("the folder of the segments");
        }
        if !is_at(&self.segment.file, &self.segments, Path::new(&self.segment.name))? {
            return moved("the segment");
        }
        Ok(())
    }
}

impl Store for Disk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        (&self.segment.file).write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.segment.file.sync_data()?;
        self.stands()
    }

    fn reopen(&mut self, end: End) -> io::Result<()> {
        // The directory may be another by now: mounted anew, or brought back.
        let directory = open_directory(&self.path)?;
        if !is_at(&self.directory, CWD, &self.path)? {
            rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive)?;
            self.directory = directory;
        }
        self.segments = open_segments(&self.directory, false)?;
        let first = self.segment.name.trim_end_matches(SUFFIX).parse().map_err(io::Error::other)?;
        let segment = Segment::open(&self.segments, first, false)?;
        segment.check(end)?;
        segment.cut(end)?;
        segment.check(end)?;
        self.segment = segment;
        Ok(())
    }

    fn roll(&mut self, first: u64) -> io::Result<()> {
        let segment = Segment::open(&self.segments, first, true)?;
        if segment.file.metadata()?.len() > 0 {
            return Err(io::Error::other("the next segment is not empty"));
        }
        segment.file.sync_all()?;
        rustix::fs::fsync(&self.segments)?;
        self.segment = segment;
        Ok(())
    }
}

impl Segment {
    /// The one to go on with, and what it holds.
    fn newest(segments: &OwnedFd, folder: &Path, firsts: &[u64]) -> Result<(Self, Scan), JournalError> {
        let mut newest_first = firsts.iter().rev().copied();
        let first = newest_first.next().unwrap_or(0);
        let (segment, mut found) = Self::read(segments, folder, first)?;
        if found.end.next == first && first > 0 {
            // A crash between making a segment and its first record leaves it so, behind a whole one.
            let before = newest_first.next().map(|before| Self::read(segments, folder, before)).transpose()?;
            match before {
                Some((_, whole)) if whole.end.next == first && whole.torn == 0 => found.last = whole.last,
                before => {
                    let before = before.map_or(0, |(_, scan)| scan.end.next);
                    return Err(JournalError::Damaged {
                        path: folder.join(&segment.name),
                        why: Damage::Gap { first, before },
                    });
                }
            }
        }
        Ok((segment, found))
    }

    fn read(segments: &OwnedFd, folder: &Path, first: u64) -> Result<(Self, Scan), JournalError> {
        let path = folder.join(name(first));
        let segment = Self::open(segments, first, true).map_err(system("open", &path))?;
        let found = scan(&mut BufReader::with_capacity(256 * 1024, &segment.file), first)
            .map_err(|why| JournalError::Damaged { path, why })?;
        Ok((segment, found))
    }

    fn open(segments: &OwnedFd, first: u64, create: bool) -> io::Result<Self> {
        let name = name(first);
        let mut flags = OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        flags.set(OFlags::CREATE, create);
        let fd = rustix::fs::openat(segments, &name, flags, Mode::from_raw_mode(0o640))?;
        if FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("not a regular file"));
        }
        Ok(Self { name, file: fd.into() })
    }

    /// Whether it is as long as is durable, and ends in the right record there.
    fn check(&self, end: End) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        if length < end.length {
            return Err(io::Error::other(format!("the segment has {length} bytes of {}; restore it", end.length)));
        }
        let mut tail = vec![0; MAX_LINE.min(usize::try_from(end.length).unwrap_or(usize::MAX))];
        let start = end.length.saturating_sub(u64::try_from(tail.len()).unwrap_or_default());
        self.file.read_exact_at(&mut tail, start)?;
        let last = tail.split_inclusive(|byte| *byte == b'\n').next_back();
        match last {
            Some(last) if !is_record(last, end.next.saturating_sub(1)) => {
                Err(io::Error::other("the segment does not end in its last record; restore it"))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn cut(&self, end: End) -> io::Result<()> {
        self.file.set_len(end.length)?;
        self.file.sync_all()
    }
}

const SUFFIX: &str = ".jsonl";

fn name(first: u64) -> String {
    format!("{first:012}{SUFFIX}")
}

/// The first records of all segments, in order.
fn firsts(segments: &OwnedFd, folder: &Path) -> Result<Vec<u64>, JournalError> {
    let mut firsts = Vec::new();
    for found in names(segments).map_err(system("list", folder))? {
        let first = found.strip_suffix(SUFFIX).and_then(|digits| digits.parse().ok());
        match first.filter(|first| name(*first) == found) {
            Some(first) => firsts.push(first),
            None => return Err(JournalError::Foreign(folder.join(found))),
        }
    }
    firsts.sort_unstable();
    Ok(firsts)
}

/// Makes the directory and what is missing above it, durably. Gives what it made.
fn make(path: &Path) -> io::Result<Vec<PathBuf>> {
    let missing = path.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    let missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
    DirBuilder::new().recursive(true).mode(0o750).create(path)?;
    missing.iter().try_for_each(|made| key_file::sync_parent(made))?;
    Ok(missing)
}

fn lock(path: &Path) -> Result<OwnedFd, JournalError> {
    let directory = open_directory(path).map_err(system("open", path))?;
    match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(directory),
        Err(Errno::WOULDBLOCK) => Err(JournalError::Locked(path.to_owned())),
        Err(errno) => Err(system("lock", path)(errno.into())),
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, DIRECTORY, Mode::empty())?)
}

fn open_segments(directory: &OwnedFd, create: bool) -> io::Result<OwnedFd> {
    if create {
        match rustix::fs::mkdirat(directory, SEGMENTS, Mode::from_raw_mode(0o750)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(rustix::fs::openat(directory, SEGMENTS, DIRECTORY, Mode::empty())?)
}

fn names(directory: &OwnedFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    Ok(names)
}

fn unfinished_vkey(path: &Path) -> PathBuf {
    key_file::unfinished(&path.join(VKEY))
}

/// Whether what is open is what `folder` has under this name.
fn is_at(open: impl AsFd, folder: impl AsFd, name: &Path) -> io::Result<bool> {
    let identity = |stat: Stat| (stat.st_dev, stat.st_ino);
    let there = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(identity(there) == identity(rustix::fs::fstat(open)?))
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
