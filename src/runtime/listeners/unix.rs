//! A listening Unix socket, and its path as long as it is heard: what a proxy left behind is taken away, what another one has is not.
//! Not here: which user is which source (`policy`). Source: unix(7), bind(2).

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use super::UnixListener;
use crate::runtime::whole_file::begun;

/// Binds `path` with these mode bits, or takes over the socket that has it.
///
/// # Errors
/// Another process listens there, something else is there, or what bind(2) and chmod(2) give.
pub(super) fn bind(
    path: &Path,
    (permissions, backlog): (u32, i32),
    inherited: Option<UnixListener>,
) -> io::Result<(UnixListener, OwnPath)> {
    if let Some(socket) = inherited {
        return Ok((socket, OwnPath { path: path.to_owned(), file: None, permissions }));
    }
    clear(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let own = OwnPath { path: path.to_owned(), file: Some(file(path)?), permissions };
    // Before it listens: nobody gets in meanwhile.
    fs::set_permissions(path, Permissions::from_mode(permissions))?;
    socket.listen(backlog)?;
    Ok((socket.into(), own))
}

/// Binds a socket with these mode bits at `path` in place of whatever socket has it; never without one in between.
///
/// # Errors
/// What bind(2), chmod(2) and rename(2) give.
pub fn bind_over(path: &Path, permissions: u32) -> io::Result<(UnixListener, OwnPath)> {
    let begun = begun(path);
    match fs::remove_file(&begun) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&begun)?;
    fs::set_permissions(&begun, Permissions::from_mode(permissions))?;
    fs::rename(&begun, path)?;
    Ok((listener, OwnPath { path: path.to_owned(), file: Some(file(path)?), permissions }))
}

/// A socket's path: taken away with this, if that socket is still what is there.
#[derive(Debug)]
pub struct OwnPath {
    path: PathBuf,
    /// `None`: it is another process's, or a service manager's.
    file: Option<(u64, u64, i64)>,
    permissions: u32,
}

impl OwnPath {
    /// The process that had it has left: it is this one's, and has the mode that is configured.
    ///
    /// # Errors
    /// It is not there any more, or its mode can't be set.
    pub fn claim(&mut self) -> io::Result<()> {
        fs::set_permissions(&self.path, Permissions::from_mode(self.permissions))?;
        self.file = Some(file(&self.path)?);
        Ok(())
    }

    /// Another process has the socket now, and the path with it.
    pub fn give_away(&mut self) {
        self.file = None;
    }
}

impl Drop for OwnPath {
    fn drop(&mut self) {
        if self.file.is_some_and(|own| file(&self.path).is_ok_and(|found| found == own)) {
            // What stays is taken away by the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Device, inode, and when it was made: an inode that is free is given again.
fn file(path: &Path) -> io::Result<(u64, u64, i64)> {
    fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino(), meta.mtime_nsec()))
}

/// Takes away a socket that nobody listens on any more.
fn clear(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(meta) if !meta.file_type().is_socket() => Err(io::ErrorKind::AlreadyExists.into()),
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
            Err(error) => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_socket_is_bound_where_nobody_listens() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("edge.sock");
        let (first, _) = bind(&path, (0o620, 4), None).unwrap();
        assert!(!path.exists(), "a path goes with its owner");
        drop(first);
        let (first, own) = bind(&path, (0o620, 4), None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o620);
        assert_eq!(bind(&path, (0o600, 4), None).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        // Somebody takes it away, and another socket has the path.
        fs::remove_file(&path).unwrap();
        let (second, newer) = bind(&path, (0o600, 4), None).unwrap();
        drop(own);
        let client = UnixStream::connect(&path).unwrap();
        // A proxy that was killed.
        std::mem::forget(newer);
        drop((first, second, client));
        let (third, last) = bind(&path, (0o600, 4), None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop((third, last));
        fs::write(&path, "kept").unwrap();
        assert_eq!(bind(&path, (0o600, 4), None).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"kept");
    }
}
