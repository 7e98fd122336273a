//! The files of the log's key: the secret one, made on the first run, and `log.vkey` for whoever verifies.
//! Not here: what the key does (`decision_log`).

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, renameat_with};

use super::{JournalError, system};
use crate::decision_log::SigningKey;

/// Bytes of the largest key file that is read; a key has about 120.
const MAX_FILE: u64 = 16 * 1024;

/// Mode bits for everybody; the group may be let in (keys from a volume of an orchestrator come so).
const EVERYBODY: u32 = 0o007;

/// Reads the key, or makes one; `true`: it was made.
pub(super) fn read_or_make(path: &Path) -> Result<(SigningKey, bool), JournalError> {
    let bad = |source| JournalError::Key { path: path.to_owned(), source };
    match read(path, OFlags::empty()) {
        Ok((text, mode)) if mode & EVERYBODY == 0 => Ok((SigningKey::from_pem(&text).map_err(bad)?, false)),
        Ok(_) => Err(JournalError::KeyExposed(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = SigningKey::from_seed(&seed().map_err(system("make", path))?).map_err(bad)?;
            create(path, key.to_pem().map_err(bad)?.as_bytes(), 0o600).map_err(system("make", path))?;
            Ok((key, true))
        }
        Err(error) => Err(system("read", path)(error)),
    }
}

/// Checks that the file says `vkey`, or makes it.
pub(super) fn publish(path: &Path, vkey: &str) -> Result<(), JournalError> {
    match read(path, OFlags::NOFOLLOW) {
        Ok((text, _)) if text.trim_end() == vkey => Ok(()),
        Ok((text, _)) => Err(JournalError::OtherKey {
            path: path.to_owned(),
            found: text.trim_end().chars().filter(|c| !c.is_control()).take(200).collect(),
            made: vkey.to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create(path, format!("{vkey}\n").as_bytes(), 0o640).map_err(system("make", path))
        }
        Err(error) => Err(system("read", path)(error)),
    }
}

/// The name under which [`create`] begins a file; a crash may leave it.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// The text of a small file, and its mode. The key may be a link (volumes of an orchestrator are full of them).
fn read(path: &Path, flags: OFlags) -> io::Result<(String, u32)> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | flags;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let mode = file.metadata()?.mode();
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text)?;
    Ok((text, mode))
}

fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed).map_err(|_| io::Error::other("no randomness"))?;
    Ok(seed)
}

/// Makes a file whole or not at all, durably, and never over another.
fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let begun = unfinished(path);
    match std::fs::remove_file(&begun) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&begun)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    renameat_with(CWD, &begun, CWD, path, RenameFlags::NOREPLACE)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
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
        fs::write(unfinished(&path), "left by a crash").unwrap();
        let (key, made) = read_or_make(&path).unwrap();
        assert!(made);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(!unfinished(&path).exists());
        let (again, made) = read_or_make(&path).unwrap();
        assert!(!made);
        assert_eq!(key.verifier("a").unwrap(), again.verifier("a").unwrap());
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
        publish(&path, "sallyport/a+1+x").unwrap();
        publish(&path, "sallyport/a+1+x").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "sallyport/a+1+x\n");
        let error = publish(&path, "sallyport/b+1+x").unwrap_err();
        assert!(matches!(&error, JournalError::OtherKey { found, .. } if found == "sallyport/a+1+x"), "{error}");
        let linked = folder.path().join("linked");
        std::os::unix::fs::symlink(&path, &linked).unwrap();
        assert!(publish(&linked, "sallyport/a+1+x").is_err(), "a link");
    }
}
