//! The log's directory: lock, segments, and the store on them.
//! Not here: when what is written (`decision_log`, `writer`), the key (`key_file`).
//! Every name below the directory is opened relative to it, and no symbolic link is followed.

use std::fs::{DirBuilder, File};
use std::io::{self, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::key_file;
use super::{JournalError, Opening, system};
use crate::decision_log::{End, KeyError, MAX_LINE, Scan, Store, is_record, origin, scan};

const SEGMENTS: &str = "segments";
const VKEY: &str = "log.vkey";
/// What a file system makes by itself.
const LOST_AND_FOUND: &str = "lost+found";

/// The newest segment, open for appending.
pub(super) struct Disk {
    path: PathBuf,
    /// Holds the lock.
    directory: OwnedFd,
    segments: OwnedFd,
    segment: Segment,
}

struct Segment {
    name: String,
    file: File,
    identity: (u64, u64),
}

impl Disk {
    /// Takes the lock, makes what is missing, and finds the end of the log.
    pub(super) fn open(path: &Path, key: &Path, instance: &str) -> Result<(Self, Opening), JournalError> {
        DirBuilder::new().recursive(true).mode(0o750).create(path).map_err(system("make", path))?;
        let directory = lock(path)?;
        let (key, key_made) = key_file::read_or_make(key)?;
        let vkey = key.verifier(&origin(instance)).map_err(bad_name)?.to_string();
        for name in names(&directory).map_err(system("list", path))? {
            if ![SEGMENTS, VKEY, LOST_AND_FOUND].contains(&name.as_str()) && path.join(&name) != unfinished_vkey(path) {
                return Err(JournalError::Foreign(path.join(name)));
            }
        }
        key_file::publish(&path.join(VKEY), &vkey)?;
        let folder = path.join(SEGMENTS);
        let segments = open_segments(&directory, true).map_err(system("open", &folder))?;
        rustix::fs::fsync(&directory).map_err(|errno| system("sync", path)(errno.into()))?;
        let first = newest(&segments, &folder)?;
        let file = folder.join(name(first));
        let segment = Segment::open(&segments, first, true).map_err(system("open", &file))?;
        rustix::fs::fsync(&segments).map_err(|errno| system("sync", &folder)(errno.into()))?;
        let Scan { end, torn } = scan(&mut BufReader::with_capacity(256 * 1024, &segment.file), first)
            .map_err(|source| JournalError::Damaged { path: file.clone(), source })?;
        segment.cut(end).map_err(system("cut", &file))?;
        let disk = Self { path: path.to_owned(), directory, segments, segment };
        Ok((disk, Opening { end, torn, key_made, vkey }))
    }
}

impl Store for Disk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        (&self.segment.file).write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.segment.file.sync_data()?;
        // A file that was removed or replaced takes everything and keeps nothing.
        let there = rustix::fs::statat(&self.segments, &self.segment.name, AtFlags::SYMLINK_NOFOLLOW)?;
        if identity(&there) == self.segment.identity {
            Ok(())
        } else {
            Err(io::Error::other("the segment was replaced"))
        }
    }

    fn reopen(&mut self, end: End) -> io::Result<()> {
        // The directory may be another by now: mounted anew, or brought back.
        let directory = open_directory(&self.path)?;
        if identity(&rustix::fs::fstat(&directory)?) != identity(&rustix::fs::fstat(&self.directory)?) {
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
    fn open(segments: &OwnedFd, first: u64, create: bool) -> io::Result<Self> {
        let name = name(first);
        let mut flags = OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        flags.set(OFlags::CREATE, create);
        let fd = rustix::fs::openat(segments, &name, flags, Mode::from_raw_mode(0o640))?;
        let stat = rustix::fs::fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("not a regular file"));
        }
        Ok(Self { name, file: fd.into(), identity: identity(&stat) })
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

/// The first record of the newest segment; 0 if there is none.
fn newest(segments: &OwnedFd, folder: &Path) -> Result<u64, JournalError> {
    let mut newest = 0;
    for found in names(segments).map_err(system("list", folder))? {
        let first = found.strip_suffix(SUFFIX).and_then(|digits| digits.parse().ok());
        match first.filter(|first| name(*first) == found) {
            Some(first) => newest = first.max(newest),
            None => return Err(JournalError::Foreign(folder.join(found))),
        }
    }
    Ok(newest)
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

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn bad_name(error: KeyError) -> JournalError {
    JournalError::Name(error)
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
