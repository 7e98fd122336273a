//! The files that `audit scan` is to search: those that are named, and all regular files below the folders that are named.
//! Not here: what is in them. No symbolic link below a folder is followed, and nothing is opened that could block or act.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How many folders deep files are looked for below one that is named.
const MAX_DEPTH: usize = 64;

/// Upper bound of names in one folder: they are put in order.
const MAX_ENTRIES: usize = 1_000_000;

/// Why what is named is not opened, and what is read instead.
const NOT_REGULAR: &str = "is a pipe, socket or device; name a regular file, or `-` for stdin";

/// What a path leads to.
pub(super) enum Visited {
    /// To be searched.
    File(Box<dyn Read>),
    /// Nothing to search, and what it is.
    Other(&'static str),
}

/// Takes a path and what it leads to.
pub(super) type Each<'a, E> = &'a mut dyn FnMut(&Path, io::Result<Visited>) -> Result<(), E>;

/// Gives all that a path leads to, in the order of names, to `each`, until that fails.
pub(super) fn visit<E>(given: &Path, each: Each<'_, E>) -> Result<(), E> {
    if given == Path::new("-") {
        return each(Path::new("stdin"), Ok(Visited::File(Box::new(io::stdin().lock()))));
    }
    match fs::metadata(given) {
        Ok(there) if there.is_dir() => folder(given, 0, each),
        Ok(there) if there.is_file() => each(given, regular(given, 0)),
        Ok(_) => each(given, Err(io::Error::other(NOT_REGULAR))),
        Err(error) => each(given, Err(error)),
    }
}

fn folder<E>(path: &Path, depth: usize, each: Each<'_, E>) -> Result<(), E> {
    let entries = match entries(path, depth) {
        Ok(entries) => entries,
        Err(error) => return each(path, Err(error)),
    };
    for entry in entries {
        match fs::symlink_metadata(&entry).map(|there| there.file_type()) {
            Ok(kind) if kind.is_dir() => folder(&entry, depth.saturating_add(1), each)?,
            Ok(kind) if kind.is_file() => each(&entry, regular(&entry, libc::O_NOFOLLOW))?,
            Ok(kind) if kind.is_symlink() => each(&entry, Ok(Visited::Other("is a symbolic link")))?,
            Ok(_) => each(&entry, Ok(Visited::Other("is no regular file")))?,
            Err(error) => each(&entry, Err(error))?,
        }
    }
    Ok(())
}

fn entries(path: &Path, depth: usize) -> io::Result<Vec<PathBuf>> {
    if depth > MAX_DEPTH {
        return Err(io::Error::other(format!("lies more than {MAX_DEPTH} folders deep; name it by itself")));
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        if entries.len() == MAX_ENTRIES {
            return Err(io::Error::other(format!("holds more than {MAX_ENTRIES} names; search its parts")));
        }
        entries.push(entry?.path());
    }
    entries.sort();
    Ok(entries)
}

/// A regular file as long as it is now: one that grows as fast as it is read would have no end.
fn regular(path: &Path, flags: i32) -> io::Result<Visited> {
    let file: File = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | flags).open(path)?;
    let there = file.metadata()?;
    if !there.is_file() {
        return Err(io::Error::other(NOT_REGULAR));
    }
    let length = if there.len() == 0 && is_kernels(&file) { u64::MAX } else { there.len() };
    Ok(Visited::File(Box::new(file.take(length))))
}

/// Whether the kernel makes the file's text when it is read (proc, sysfs); such a file says that its length is 0.
fn is_kernels(file: &File) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|there| [libc::PROC_SUPER_MAGIC, SYSFS_MAGIC].contains(&there.f_type))
}

/// From Linux' `magic.h`.
const SYSFS_MAGIC: i64 = 0x6265_6572;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    /// Every path below `given` and what is read there, or what it is, or why it is not read.
    fn visited(given: &Path, root: &Path) -> Vec<(String, String)> {
        let mut all = Vec::new();
        let each = &mut |path: &Path, visited: io::Result<Visited>| {
            let name = path.strip_prefix(root).unwrap_or(path).display().to_string();
            let what = match visited {
                Ok(Visited::File(mut file)) => {
                    let mut text = String::new();
                    file.read_to_string(&mut text).unwrap();
                    text
                }
                Ok(Visited::Other(what)) => what.to_owned(),
                Err(error) => error.to_string(),
            };
            all.push((name, what));
            Ok::<(), ()>(())
        };
        visit(given, each).unwrap();
        all
    }

    #[test]
    fn regular_files_are_read_and_nothing_else_is_followed() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/b/one"), "1").unwrap();
        fs::write(at("a/two"), "2").unwrap();
        fs::write(at("three"), "3").unwrap();
        symlink(at("three"), at("a/link")).unwrap();
        symlink(root.path(), at("a/b/up")).unwrap();
        mknodat(CWD, at("a/pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let row = |name: &str, what: &str| (name.to_owned(), what.to_owned());
        let below = [
            row("a/b/one", "1"),
            row("a/b/up", "is a symbolic link"),
            row("a/link", "is a symbolic link"),
            row("a/pipe", "is no regular file"),
            row("a/two", "2"),
        ];
        assert_eq!(visited(&at("a"), root.path()), below);
        assert_eq!(visited(&at("a/link"), root.path()), [row("a/link", "3")], "a link that is named leads on");
        let pipe = "is a pipe, socket or device; name a regular file, or `-` for stdin";
        assert_eq!(visited(&at("a/pipe"), root.path()), [row("a/pipe", pipe)]);
        assert_eq!(visited(&at("none"), root.path()), [row("none", "No such file or directory (os error 2)")]);
        assert!(!visited(Path::new("/proc/self/status"), root.path())[0].1.is_empty());
    }

    #[test]
    fn folders_too_deep_are_told() {
        let root = tempfile::tempdir().unwrap();
        let deep = (0..=MAX_DEPTH).fold(root.path().to_owned(), |path, _| path.join("d"));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("f"), "x").unwrap();
        let got = visited(root.path(), root.path());
        let want = format!("lies more than {MAX_DEPTH} folders deep; name it by itself");
        assert_eq!(got.iter().map(|(_, what)| what.as_str()).collect::<Vec<_>>(), [want]);
    }
}
