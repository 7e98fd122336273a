//! What the kernel tells of files: inotify on the folders in which they lie, and in which the links to them do.
//! Not here: whether anything has changed (`settling`, `load::Inventory`); changes that the kernel doesn't tell of, as on another host's side of
//! NFS, are found by looking. Source: inotify(7), path_resolution(7); Kubernetes swaps the link `..data` beside the files of a ConfigMap.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf, absolute};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use tokio::io::unix::AsyncFd;

use crate::runtime::load::Inventory;
use crate::runtime::sys;

/// Upper bound of folders that are watched, about 1 KiB of the kernel's memory each; of what lies beyond, changes are found by looking.
const MAX_FOLDERS: usize = 1024;

/// How many links one path may lead through (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Bytes of events that are read at a go: some hundred.
const EVENTS: usize = 16 * 1024;

/// What changes what a path leads to.
const PATHS: WatchFlags =
    WatchFlags::CREATE.union(WatchFlags::DELETE).union(WatchFlags::MOVE).union(WatchFlags::ONLYDIR);

/// What changes what a file holds. Not each write: a log that is open beside the files would wake the proxy with every line.
const FILES: WatchFlags = WatchFlags::CLOSE_WRITE;

/// What of a folder is watched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Interest {
    names: BTreeSet<OsString>,
    /// Files lie there, and not only folders or links on the way to them.
    has_files: bool,
    /// Any file may join: a policy's folder.
    is_whole: bool,
}

impl Interest {
    fn has(&self, name: &OsStr) -> bool {
        self.is_whole || self.names.contains(name)
    }

    fn join(&mut self, other: Self) {
        self.names.extend(other.names);
        self.is_whole |= other.is_whole;
        self.has_files |= other.has_files;
    }

    fn flags(&self) -> WatchFlags {
        if self.has_files { PATHS | FILES } else { PATHS }
    }
}

/// The watched folders.
pub struct Eyes {
    kernel: AsyncFd<OwnedFd>,
    watched: HashMap<i32, Interest>,
}

impl Eyes {
    /// None yet.
    ///
    /// # Errors
    /// The kernel has no inotify, or no more of it for this user.
    pub fn open() -> io::Result<Self> {
        let kernel = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self { kernel: sys::watch(kernel)?, watched: HashMap::new() })
    }

    /// Watches the folders of these files and no others; gives how many those are.
    ///
    /// # Errors
    /// The first folder that can't be watched, and why. The others are.
    pub fn watch(&mut self, inventory: &Inventory) -> (usize, io::Result<()>) {
        let mut watched: HashMap<i32, Interest> = HashMap::new();
        let wanted = folders(inventory);
        let mut result = match wanted.len() > MAX_FOLDERS {
            true => Err(io::Error::other(format!("more than {MAX_FOLDERS} folders"))),
            false => Ok(()),
        };
        for (folder, interest) in wanted.into_iter().take(MAX_FOLDERS) {
            match inotify::add_watch(&self.kernel, &folder, interest.flags()) {
                Ok(number) => watched.entry(number).or_default().join(interest),
                Err(error) => {
                    let error =
                        io::Error::new(io::Error::from(error).kind(), format!("`{}`: {error}", folder.display()));
                    result = result.and(Err(error));
                }
            }
        }
        for gone in self.watched.keys().filter(|number| !watched.contains_key(number)) {
            // A folder that is gone has no watch any more.
            let _ = inotify::remove_watch(&self.kernel, *gone);
        }
        self.watched = watched;
        (self.watched.len(), result)
    }

    /// Ends once something stirs in what is watched.
    ///
    /// # Errors
    /// The kernel tells nothing any more.
    pub async fn stirred(&self) -> io::Result<()> {
        loop {
            let mut ready = self.kernel.readable().await?;
            match ready.try_io(|kernel| self.read(kernel.get_ref())) {
                Ok(Ok(true)) => return Ok(()),
                Ok(Ok(false)) | Err(_) => {}
                Ok(Err(error)) => return Err(error),
            }
        }
    }

    /// Takes the events that are there, as many as there is room for; whether any matters. `WouldBlock` if there were none.
    fn read(&self, kernel: &OwnedFd) -> io::Result<bool> {
        let mut room = [MaybeUninit::uninit(); EVENTS];
        let mut reader = Reader::new(kernel, &mut room);
        let mut matters = false;
        loop {
            let event = reader.next()?;
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            let interest = self.watched.get(&event.wd());
            let is_ours = interest.zip(name).is_some_and(|(interest, name)| interest.has(name));
            // Too many at once, or a folder that has gone: what became of it is seen by looking.
            let is_gone = event.events().contains(ReadFlags::IGNORED) && interest.is_some();
            matters |= is_ours || is_gone || event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            if reader.is_buffer_empty() {
                return Ok(matters);
            }
        }
    }
}

/// The folders to watch: of each file that of each link on the way to it, and the folder above, in which a whole folder may be replaced.
fn folders(inventory: &Inventory) -> BTreeMap<PathBuf, Interest> {
    let mut wanted: BTreeMap<PathBuf, Interest> = BTreeMap::new();
    let mut want = |folder: &Path, name: &OsStr, is_file: bool| {
        let interest = wanted.entry(folder.to_owned()).or_default();
        interest.names.insert(name.to_owned());
        interest.has_files |= is_file;
    };
    for path in inventory.files().chain(inventory.folders()) {
        steps(path, &mut want);
    }
    for folder in inventory.folders() {
        let whole = Interest { names: BTreeSet::new(), has_files: true, is_whole: true };
        wanted.entry(folder.to_owned()).or_default().join(whole);
    }
    wanted
}

/// Tells of each link on the way to `path`, of `path` itself and of its folder where they stand. What is not there is looked for in the
/// nearest folder that is.
fn steps(path: &Path, want: &mut dyn FnMut(&Path, &OsStr, bool)) {
    let mut links = 0_usize;
    let Ok(mut rest) = absolute(path) else { return };
    'from_the_root: while links <= MAX_LINKS {
        let mut at = PathBuf::new();
        let mut parts = rest.components();
        while let Some(part) = parts.next() {
            let Component::Normal(name) = part else {
                if part == Component::ParentDir {
                    at.pop();
                } else {
                    at.push(part);
                }
                continue;
            };
            let folder = at.clone();
            at.push(name);
            let left = parts.clone().count();
            match fs::symlink_metadata(&at) {
                Ok(meta) if meta.is_symlink() => {
                    want(&folder, name, false);
                    let Ok(to) = fs::read_link(&at) else { return };
                    links = links.saturating_add(1);
                    rest = folder.join(to).join(parts.as_path());
                    continue 'from_the_root;
                }
                Ok(meta) if left <= 1 => want(&folder, name, meta.is_file()),
                Ok(_) => {}
                Err(_) => return want(&folder, name, true),
            }
        }
        return;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn told(path: &Path, base: &Path) -> Vec<String> {
        let mut told = Vec::new();
        steps(path, &mut |folder, name, _| {
            if let Ok(folder) = folder.strip_prefix(base) {
                told.push(format!("{}: {}", folder.display(), name.display()));
            }
        });
        told
    }

    #[test]
    fn the_way_to_a_file_is_watched_at_each_link() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        let at = |name: &str| base.join(name);
        fs::create_dir_all(at("etc/..2027")).unwrap();
        fs::write(at("etc/..2027/policy.yaml"), "").unwrap();
        symlink("..2027", at("etc/..data")).unwrap();
        symlink("..data/policy.yaml", at("etc/policy.yaml")).unwrap();
        symlink("loop", at("loop")).unwrap();
        fs::create_dir_all(at("a/b/c")).unwrap();
        fs::write(at("a/b/c/plain"), "").unwrap();
        for (name, path, want) in [
            (
                "as Kubernetes lays it",
                "etc/policy.yaml",
                &[": etc", "etc: policy.yaml", "etc: ..data", "etc: ..2027", "etc/..2027: policy.yaml"][..],
            ),
            ("no link", "a/b/c/plain", &["a/b: c", "a/b/c: plain"]),
            ("a way back", "a/b/../b/c/plain", &["a/b: c", "a/b/c: plain"]),
            ("not there", "a/b/x/plain", &["a/b: x"]),
        ] {
            assert_eq!(told(&at(path), &base), want, "{name}");
        }
        assert!(told(&at("loop/x"), &base).len() <= MAX_LINKS + 1, "a link to itself ends");
    }

    #[test]
    fn what_stirs_is_told_and_nothing_else() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        fs::write(at("policy.yaml"), "").unwrap();
        let inventory = Inventory::of(&at("policy.yaml").display().to_string(), Some(b""));
        runtime.block_on(async {
            let mut eyes = Eyes::open().unwrap();
            let (folders, result) = eyes.watch(&inventory);
            result.unwrap();
            assert_eq!(folders, 2, "its own and the one above");
            fs::write(at("other"), "x").unwrap();
            let silence = tokio::time::timeout(std::time::Duration::from_millis(100), eyes.stirred());
            assert!(silence.await.is_err(), "another file");
            fs::write(at("new"), "x").unwrap();
            fs::rename(at("new"), at("policy.yaml")).unwrap();
            eyes.stirred().await.unwrap();
            fs::write(at("policy.yaml"), "y").unwrap();
            eyes.stirred().await.unwrap();
            fs::remove_file(at("policy.yaml")).unwrap();
            eyes.stirred().await.unwrap();
            assert_eq!(eyes.watch(&Inventory::default()).0, 0);
            fs::write(at("policy.yaml"), "z").unwrap();
            let silence = tokio::time::timeout(std::time::Duration::from_millis(100), eyes.stirred());
            assert!(silence.await.is_err(), "nobody asks for it any more");
        });
    }
}
