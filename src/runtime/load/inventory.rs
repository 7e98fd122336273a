//! Which files were read and what they held, so that a change can be told from a file that was only touched.
//! Not here: when to look (`watch`). Of keys and tokens too there is a hash alone: no content stays in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, Digest, SHA256, digest};
use zeroize::Zeroizing;

use super::{MAX_FILE, Reading, source};
use crate::runtime::whole_file::open_regular;

/// Bytes that are hashed at a go.
const PIECE: usize = 64 * 1024;

/// Files that were read or looked for.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// What each holds; `None`: it can't be read.
    files: BTreeMap<PathBuf, Option<Content>>,
    /// The folders of the policy.
    pub(super) folders: BTreeSet<PathBuf>,
    /// Where the policy is.
    pub(super) policy: Option<PathBuf>,
}

/// A file's length and SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    length: u64,
    sha256: Box<[u8]>,
}

impl Content {
    fn new(length: u64, sha256: &Digest) -> Self {
        Self { length, sha256: sha256.as_ref().into() }
    }

    /// What a file holds, of which no more than a piece is in memory at a time. One that grows beyond what is read anyway is not read on.
    fn of(path: &Path) -> io::Result<Self> {
        let (file, _) = open_regular(path)?;
        let mut rest = file.take(MAX_FILE.saturating_add(1));
        let mut piece = Zeroizing::new(vec![0; PIECE]);
        let (mut context, mut length) = (Context::new(&SHA256), 0_u64);
        loop {
            let count = rest.read(&mut piece)?;
            let Some(bytes) = piece.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            context.update(bytes);
            length = length.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        }
        Ok(Self::new(length, &context.finish()))
    }
}

impl Inventory {
    /// Notes what a file held, or that it could not be read.
    pub(super) fn note(&mut self, path: &Path, bytes: Option<&[u8]>) {
        let content = bytes.map(|bytes| {
            let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            Content::new(length, &digest(&SHA256, bytes))
        });
        self.files.insert(path.to_owned(), content);
    }

    /// What the same files hold now, and those that have joined the policy. Reads all of them.
    pub fn look(&self) -> Self {
        let mut reading = Reading::default();
        let joined = self.policy.as_ref().map(|policy| source::find(policy, &mut reading)).unwrap_or_default();
        let paths: BTreeSet<&PathBuf> = self.files.keys().chain(&joined).collect();
        let files = paths.into_iter().map(|path| (path.clone(), Content::of(path).ok())).collect();
        Self { files, folders: reading.inventory.folders, policy: self.policy.clone() }
    }

    /// Whether the files are the same, and hold the same.
    pub fn is_same(&self, other: &Self) -> bool {
        self.files == other.files
    }

    /// Whether there is a file that can't be read.
    pub fn lacks_any(&self) -> bool {
        self.files.values().any(Option::is_none)
    }

    /// The files.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    /// The folders of the policy: in these, any file may join.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        self.folders.iter().map(PathBuf::as_path)
    }

    /// How many files differ.
    pub fn differing(&self, other: &Self) -> usize {
        let paths: BTreeSet<&PathBuf> = self.files.keys().chain(other.files.keys()).collect();
        paths.into_iter().filter(|path| self.files.get(*path) != other.files.get(*path)).count()
    }
}

#[cfg(test)]
impl Inventory {
    /// Of one file.
    pub fn of(path: &str, bytes: Option<&[u8]>) -> Self {
        let mut inventory = Self::default();
        inventory.note(Path::new(path), bytes);
        inventory
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::Mode;

    use super::*;

    #[test]
    fn a_change_is_told_from_a_touch() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("policies")).unwrap();
        for name in ["sallyport.yaml", "policies/a.yaml", "policies/b.yaml"] {
            fs::write(at(name), name).unwrap();
        }
        let mut known = Inventory { policy: Some(at("policies")), ..Inventory::default() };
        for name in ["sallyport.yaml", "policies/a.yaml", "policies/b.yaml"] {
            known.note(&at(name), Some(name.as_bytes()));
        }
        known.note(&at("none"), None);
        let pipe = || rustix::fs::mkfifoat(rustix::fs::CWD, at("policies/e.yaml"), Mode::RWXU).unwrap();
        let rows: [(&str, &dyn Fn(), usize); 10] = [
            ("nothing", &|| {}, 0),
            ("written anew, the same", &|| fs::write(at("sallyport.yaml"), "sallyport.yaml").unwrap(), 0),
            ("what is no policy joins", &|| fs::write(at("policies/c.cases.yaml"), "").unwrap(), 0),
            ("a folder joins", &|| fs::create_dir(at("policies/sub")).unwrap(), 0),
            ("a file is longer", &|| fs::write(at("sallyport.yaml"), "sallyport.yaml\n").unwrap(), 1),
            ("another one changes", &|| fs::write(at("policies/a.yaml"), "policies/a.yamL").unwrap(), 2),
            ("one joins", &|| fs::write(at("policies/sub/d.yaml"), "").unwrap(), 3),
            ("one goes", &|| fs::remove_file(at("policies/b.yaml")).unwrap(), 4),
            ("one comes that was missing", &|| fs::write(at("none"), "").unwrap(), 5),
            ("a pipe joins, which keeps nobody waiting", &pipe, 6),
        ];
        for (name, change, count) in rows {
            change();
            let now = known.look();
            assert_eq!((known.differing(&now), known.is_same(&now)), (count, count == 0), "{name}");
            assert!(now.is_same(&now.look()), "{name}: seen again");
        }
        assert!(known.look().lacks_any(), "b.yaml");
        assert_eq!(known.look().folders().count(), 2);
    }
}
