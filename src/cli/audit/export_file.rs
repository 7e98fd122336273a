//! The files of an export: new ones in a new folder, hashed while they are written, durable before they are named.
//! Not here: what stands in them (`evidence`).

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;

use crate::evidence::Fileprint;

/// For the owner and the group alone, like the log.
const FOLDER_MODE: u32 = 0o750;
const FILE_MODE: u32 = 0o640;

/// A new folder.
pub(super) struct Folder {
    path: PathBuf,
}

/// A new file in it.
pub(super) struct Hashed {
    name: &'static str,
    file: BufWriter<File>,
    digest: digest::Context,
    bytes: u64,
}

impl Folder {
    /// Makes it; what is there already is an error.
    pub(super) fn make(path: &Path) -> io::Result<Self> {
        DirBuilder::new().mode(FOLDER_MODE).create(path)?;
        Ok(Self { path: path.to_owned() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a file.
    pub(super) fn file(&self, name: &'static str) -> io::Result<Hashed> {
        let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(self.path.join(name))?;
        Ok(Hashed { name, file: BufWriter::new(file), digest: digest::Context::new(&digest::SHA256), bytes: 0 })
    }

    /// Makes the names of the files, and its own, durable.
    pub(super) fn finish(self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()?;
        let above = self.path.parent().filter(|above| !above.as_os_str().is_empty());
        File::open(above.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Hashed {
    /// Makes its bytes durable.
    pub(super) fn finish(self) -> io::Result<Fileprint> {
        self.file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok(Fileprint { name: self.name.to_owned(), bytes: self.bytes, sha256: hex(self.digest.finish().as_ref()) })
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.digest.update(bytes.get(..count).unwrap_or(bytes));
        self.bytes = self.bytes.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// In hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn nothing_is_written_over() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("new");
        let folder = Folder::make(&path).unwrap();
        let mut file = folder.file("a").unwrap();
        file.write_all(b"ab").unwrap();
        file.write_all(b"c").unwrap();
        let print = file.finish().unwrap();
        // FIPS 180-2, appendix B.1.
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned();
        assert_eq!(print, Fileprint { name: "a".to_owned(), bytes: 3, sha256 });
        assert_eq!(folder.file("a").err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        folder.finish().unwrap();
        assert_eq!(Folder::make(&path).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(path.join("a")).unwrap(), b"abc");
        // The umask may take more away, and never gives.
        for (path, mode) in [(path.clone(), FOLDER_MODE), (path.join("a"), FILE_MODE)] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o7777 & !mode, 0);
        }
    }
}
