//! The log's directory: its lock, and its folders and files, opened relative to it. No symbolic link is followed.
//! Not here: what stands in the files (`disk`, `tree_files`), which may be there (`opening`).

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{JournalError, system};
use crate::runtime::layout::UNFINISHED;
use crate::runtime::whole_file::sync_parent;

/// Mode of every file: the group may read what an auditor is let into.
pub(super) const FILE_MODE: Mode = Mode::from_raw_mode(0o640);
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o750);

/// The directory, open and locked; for all who write below it.
pub(super) struct Place {
    path: PathBuf,
    /// Holds the lock.
    directory: Mutex<Arc<OwnedFd>>,
}

impl Place {
    /// Makes the directory if it is missing, and takes the lock.
    pub(super) fn lock(path: &Path) -> Result<Self, JournalError> {
        make(path).map_err(system("make", path))?;
        let directory = open_directory(path).map_err(system("open", path))?;
        match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), directory: Mutex::new(Arc::new(directory)) }),
            Err(Errno::WOULDBLOCK) => Err(JournalError::Locked(path.to_owned())),
            Err(errno) => Err(system("lock", path)(errno.into())),
        }
    }

    /// One whose lock another process had and has handed over with the descriptor that holds it. It must be the directory at `path`.
    pub(super) fn inherited(path: &Path, directory: OwnedFd) -> Result<Self, JournalError> {
        let place = Self { path: path.to_owned(), directory: Mutex::new(Arc::new(directory)) };
        if !place.stands().map_err(system("open", path))? {
            return Err(JournalError::Moved(path.to_owned()));
        }
        // The lock is that of the open file, which the two have in common: this is refused to everybody else.
        match rustix::fs::flock(&*place.directory(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(place),
            Err(Errno::WOULDBLOCK) => Err(JournalError::Locked(path.to_owned())),
            Err(errno) => Err(system("lock", path)(errno.into())),
        }
    }

    /// Where the configuration says that it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory.
    pub(super) fn directory(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.held())
    }

    /// Whether the directory stands where the configuration says. What was moved aside or replaced takes everything, but another
    /// process may begin a second log in its place.
    pub(super) fn stands(&self) -> io::Result<bool> {
        is_at(&*self.directory(), CWD, &self.path)
    }

    /// Opens and locks what stands there now: it may be another by now, mounted anew or brought back.
    pub(super) fn reopen(&self) -> io::Result<()> {
        if !self.stands()? {
            let directory = open_directory(&self.path)?;
            rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive)?;
            *self.held() = Arc::new(directory);
        }
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, Arc<OwnedFd>> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the directory and what is missing above it, durably. Gives what it made.
pub(super) fn make(path: &Path) -> io::Result<Vec<PathBuf>> {
    let missing = path.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    let missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
    DirBuilder::new().recursive(true).mode(0o750).create(path)?;
    missing.iter().try_for_each(|made| sync_parent(made))?;
    Ok(missing)
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, DIRECTORY, Mode::empty())?)
}

/// Opens the folder at `path` below `directory`, name by name, and makes what is missing if told to.
pub(super) fn folder(directory: impl AsFd, path: &str, create: bool) -> io::Result<OwnedFd> {
    let mut folder = rustix::io::fcntl_dupfd_cloexec(directory, 0)?;
    for name in path.split('/') {
        if create {
            match rustix::fs::mkdirat(&folder, name, FOLDER_MODE) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        folder = rustix::fs::openat(&folder, name, DIRECTORY, Mode::empty())?;
    }
    Ok(folder)
}

/// Opens a regular file in `folder`.
pub(super) fn open(folder: impl AsFd, name: &str, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(folder, name, flags, FILE_MODE)?;
    if FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(fd.into())
}

/// Reads a file of at most `most` bytes. `None`: there is none.
pub(super) fn read(folder: impl AsFd, name: &str, most: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match open(folder, name, OFlags::RDONLY) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Writes a file whole or not at all, durably but for its name, in place of one that is there.
pub(super) fn write(folder: impl AsFd, name: &str, bytes: &[u8]) -> io::Result<()> {
    begin(&folder, name, bytes)?.sync_data()?;
    finish(folder, name)
}

/// The same, but not durably: a power failure may leave it empty.
pub(super) fn put(folder: impl AsFd, name: &str, bytes: &[u8]) -> io::Result<()> {
    begin(&folder, name, bytes)?;
    finish(folder, name)
}

fn begin(folder: impl AsFd, name: &str, bytes: &[u8]) -> io::Result<File> {
    let begun = format!("{name}{UNFINISHED}");
    remove(&folder, &begun)?;
    let mut file = open(&folder, &begun, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
    file.write_all(bytes)?;
    Ok(file)
}

fn finish(folder: impl AsFd, name: &str) -> io::Result<()> {
    Ok(rustix::fs::renameat(&folder, format!("{name}{UNFINISHED}"), &folder, name)?)
}

/// Removes a file, if there is one.
pub(super) fn remove(folder: impl AsFd, name: &str) -> io::Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// The names in a folder.
pub(super) fn names(folder: impl AsFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// Bytes of a file.
pub(super) fn length(folder: impl AsFd, name: &str) -> io::Result<u64> {
    open(folder, name, OFlags::RDONLY)?.metadata().map(|file| file.len())
}

/// Whether the name is a symbolic link.
pub(super) fn is_link(folder: impl AsFd, name: &str) -> io::Result<bool> {
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

/// Whether what is open is what `folder` has under this name.
pub(super) fn is_at(open: impl AsFd, folder: impl AsFd, name: &Path) -> io::Result<bool> {
    let identity = |stat: Stat| (stat.st_dev, stat.st_ino);
    let there = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(identity(there) == identity(rustix::fs::fstat(open)?))
}
