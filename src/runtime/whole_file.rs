//! Small files that a restart must find: replaced whole or not at all, durably, and read only if they are files.
//! Not here: files of the log's directory (`journal`), which are opened below it.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::runtime::layout::UNFINISHED;

/// Mode bits with which everybody may write a file.
pub const EVERYBODY_WRITES: u32 = 0o002;

/// Puts `bytes` in place of what `path` held, readable for owner and group. A crash may leave [`begun`].
///
/// # Errors
/// What the file system gives; `path` holds what it held then.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let begun = begun(path);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&begun)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(begun, path)?;
    sync_parent(path)
}

/// A regular file, opened without waiting: a pipe has nobody at its other end.
///
/// # Errors
/// What the file system gives, or it is something else.
pub fn open_regular(path: &Path) -> io::Result<(File, Metadata)> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let meta = file.metadata()?;
    if meta.is_file() {
        Ok((file, meta))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
    }
}

/// The name under which a file is begun that will be `path`.
pub fn begun(path: &Path) -> PathBuf {
    beside(path, UNFINISHED)
}

/// The file whose name is that of `path` and `suffix`.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.into();
    name.push(suffix);
    name.into()
}

/// Makes durable that `path` is in its folder.
///
/// # Errors
/// What the file system gives.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// The folder that a file is in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
