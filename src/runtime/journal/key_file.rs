//! The files of the log's key: the secret one, made on the first run, and `log.vkey` for whoever verifies.
//! Not here: what the key does (`decision_log`).

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, RenameFlags, flock, renameat_with};
use rustix::io::Errno;

use super::{JournalError, system};
use crate::decision_log::{Checkpoint, KeyError, SigningKey, VerifierKey};
use crate::runtime::whole_file::{begun, beside, folder_of, replace, sync_parent};

/// Bytes of the largest key file that is read; a key has about 120.
const MAX_FILE: u64 = 16 * 1024;

/// Mode bits for everybody; the group may be let in (keys from a volume of an orchestrator come so).
const EVERYBODY: u32 = 0o007;

/// The key. As long as this lives, no other process writes a log with it: that would be a second history of one name.
pub(super) struct HeldKey {
    pub(super) signs: SigningKey,
    /// Whether it was made just now.
    pub(super) made: bool,
    /// Has the lock.
    _file: File,
}

/// Reads the key, or makes one.
pub(super) fn read_or_make(path: &Path) -> Result<HeldKey, JournalError> {
    match open(path, OFlags::empty()) {
        Ok(file) => hold(file, path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write_new(path, &new_key(path)?)?;
            Ok(HeldKey { made: true, ..read(path)? })
        }
        Err(error) => Err(system("read", path)(error)),
    }
}

/// Reads a key that is there.
pub(super) fn read(path: &Path) -> Result<HeldKey, JournalError> {
    hold(open(path, OFlags::empty()).map_err(system("read", path))?, path)
}

fn hold(file: File, path: &Path) -> Result<HeldKey, JournalError> {
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(JournalError::KeyInUse(path.to_owned())),
        Err(errno) => return Err(system("lock", path)(errno.into())),
    }
    Ok(HeldKey { signs: key_in(&file, path)?, made: false, _file: file })
}

/// Makes a key for the log called `name`, in a file that is not there yet, and gives its verifier key.
pub(super) fn make(path: &Path, name: &str) -> Result<String, JournalError> {
    let key = new_key(path)?;
    let vkey = key.verifier(name).map_err(JournalError::Name)?;
    write_new(path, &key)?;
    Ok(vkey.to_string())
}

fn new_key(path: &Path) -> Result<SigningKey, JournalError> {
    let seed = seed().map_err(system("make", path))?;
    SigningKey::from_seed(&seed).map_err(|why| JournalError::Key { path: path.to_owned(), why })
}

fn write_new(path: &Path, key: &SigningKey) -> Result<(), JournalError> {
    let pem = key.to_pem().map_err(|why| JournalError::Key { path: path.to_owned(), why })?;
    create(path, pem.as_bytes(), 0o600).map_err(system("make", path))
}

/// Whether [`read_or_make`] and [`is_published`] would go well, for a log in `directory` whose verifier key stands in
/// `vkey`. Only reads: a key that would be made is not, and nothing is locked.
pub(super) fn check((directory, vkey): (&Path, &Path), key: &Path, name: &str) -> Result<(), JournalError> {
    let made = match open(key, OFlags::empty()) {
        Ok(file) => key_in(&file, key)?.verifier(name).map_err(JournalError::Name)?.to_string(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = folder_of(key);
            if !parent.is_dir() && !directory.starts_with(parent) {
                return Err(system("make", key)(error));
            }
            "a new key".to_owned()
        }
        Err(error) => return Err(system("read", key)(error)),
    };
    is_published(vkey, &made).map(drop)
}

fn key_in(file: &File, path: &Path) -> Result<SigningKey, JournalError> {
    let bad = |why| JournalError::Key { path: path.to_owned(), why };
    if file.metadata().map_err(system("read", path))?.mode() & EVERYBODY != 0 {
        return Err(JournalError::KeyExposed(path.to_owned()));
    }
    match text_of(file) {
        Ok(text) => SigningKey::from_pem(&text).map_err(bad),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(bad(KeyError::Pem)),
        Err(error) => Err(system("read", path)(error)),
    }
}

/// Behind the name of the key's file: the newest checkpoint, kept where who may write the log need not write. So an older one can't be
/// put back for other records to be signed behind it.
const HEAD: &str = ".head";

/// The file of the newest checkpoint beside the key.
pub(super) fn head_path(key: &Path) -> PathBuf {
    beside(key, HEAD)
}

/// Whether nothing newer than `signed` was signed. One of another log, which had the key before, says nothing.
pub(super) fn is_newest(key: &Path, signed: &Checkpoint, verifier: &VerifierKey) -> Result<(), JournalError> {
    let path = head_path(key);
    let note = match open(&path, OFlags::empty()).and_then(|file| text_of(&file)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        note => note.map_err(system("read", &path))?,
    };
    if note.lines().next().is_some_and(|origin| origin != verifier.name()) {
        return Ok(());
    }
    let head = Checkpoint::open(&note, std::slice::from_ref(verifier));
    let head = head.map_err(|why| JournalError::Checkpoint { path: path.clone(), why })?;
    if signed.size < head.size || (signed.size == head.size && signed.root != head.root) {
        return Err(JournalError::PutBack { path, signed: signed.size, head: head.size });
    }
    Ok(())
}

/// Puts a checkpoint in place of the one before, beside the key.
pub(super) fn set_head(key: &Path, note: &str) -> io::Result<()> {
    replace(&head_path(key), note.as_bytes())
}

/// Whether the file is there; it says `vkey` then.
pub(super) fn is_published(path: &Path, vkey: &str) -> Result<bool, JournalError> {
    match open(path, OFlags::NOFOLLOW).and_then(|file| text_of(&file)) {
        Ok(text) if text.trim_end() == vkey => Ok(true),
        Ok(text) => Err(JournalError::OtherKey {
            path: path.to_owned(),
            found: text.trim_end().chars().filter(|c| !c.is_control()).take(200).collect(),
            made: vkey.to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(system("read", path)(error)),
    }
}

/// Makes the file that says `vkey`.
pub(super) fn publish(path: &Path, vkey: &str) -> Result<(), JournalError> {
    create(path, format!("{vkey}\n").as_bytes(), 0o640).map_err(system("make", path))
}

/// The key may be a link (volumes of an orchestrator are full of them), but to a regular file.
fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | flags;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

fn text_of(file: &File) -> io::Result<String> {
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text)?;
    Ok(text)
}

fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed).map_err(|_| io::Error::other("no randomness"))?;
    Ok(seed)
}

/// Makes a file whole or not at all, durably, and never over another.
fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let begun = begun(path);
    match std::fs::remove_file(&begun) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&begun)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    renameat_with(CWD, &begun, CWD, path, RenameFlags::NOREPLACE)?;
    sync_parent(path)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn makes_a_key_once_and_keeps_it_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.key");
        fs::write(begun(&path), "left by a crash").unwrap();
        let key = read_or_make(&path).unwrap();
        assert!(key.made);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(!begun(&path).exists());
        let of = |key: &HeldKey| key.signs.verifier("a").unwrap();
        let first = of(&key);
        assert!(matches!(read_or_make(&path), Err(JournalError::KeyInUse(_))), "held by one");
        drop(key);
        let again = read_or_make(&path).unwrap();
        assert!(!again.made);
        assert_eq!(of(&again), first);
    }

    #[test]
    fn refuses_keys_that_are_none_or_that_everybody_may_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.key");
        fs::write(&path, "nothing").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(read_or_make(&path), Err(JournalError::Key { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        assert!(matches!(read_or_make(&path), Err(JournalError::KeyExposed(_))));
        let missing = folder.path().join("no/log.key");
        assert!(matches!(read_or_make(&missing), Err(JournalError::System { doing: "make", .. })));
    }

    #[test]
    fn says_whose_log_it_is_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.vkey");
        assert!(!is_published(&path, "sallyport/a+1+x").unwrap());
        publish(&path, "sallyport/a+1+x").unwrap();
        assert!(publish(&path, "sallyport/b+1+x").is_err(), "never over another");
        assert!(is_published(&path, "sallyport/a+1+x").unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "sallyport/a+1+x\n");
        let error = is_published(&path, "sallyport/b+1+x").unwrap_err();
        assert!(matches!(&error, JournalError::OtherKey { found, .. } if found == "sallyport/a+1+x"), "{error}");
        let linked = folder.path().join("linked");
        std::os::unix::fs::symlink(&path, &linked).unwrap();
        assert!(is_published(&linked, "sallyport/a+1+x").is_err(), "a link");
    }

    #[test]
    fn a_check_makes_nothing_and_says_what_opening_would() {
        let folder = tempfile::tempdir().unwrap();
        let (path, log) = (folder.path().join("log.key"), folder.path().join("log"));
        let vkey = folder.path().join("log.vkey");
        let check = |key: &Path, name: &str| check((&log, &vkey), key, name);
        check(&path, "a").unwrap();
        check(&log.join("log.key"), "a").unwrap();
        assert!(matches!(check(&folder.path().join("no/log.key"), "a"), Err(JournalError::System { .. })), "no folder");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made");
        let key = read_or_make(&path).unwrap();
        check(&path, "a").expect("held by a running proxy");
        publish(&vkey, &key.signs.verifier("a").unwrap().to_string()).unwrap();
        check(&path, "a").unwrap();
        assert!(matches!(check(&path, "b"), Err(JournalError::OtherKey { .. })));
        assert!(matches!(check(&path, "a b"), Err(JournalError::Name(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        assert!(matches!(check(&path, "a"), Err(JournalError::KeyExposed(_))));
        fs::remove_file(&path).unwrap();
        assert!(matches!(check(&path, "a"), Err(JournalError::OtherKey { .. })), "a new key for an old log");
        fs::write(&path, b"\xff").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(check(&path, "a"), Err(JournalError::Key { .. })));
        assert!(matches!(read_or_make(&path), Err(JournalError::Key { .. })));
        assert!(matches!(check(folder.path(), "a"), Err(JournalError::System { .. })), "a folder");
        assert!(matches!(check(Path::new("/dev/null"), "a"), Err(JournalError::System { .. })), "a device");
    }
}
