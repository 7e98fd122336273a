//! A listening Unix socket: what a proxy left behind that has gone is taken away, what another one has is not.
//! Not here: which user is which source (`policy`). Source: unix(7), bind(2).

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};

use super::UnixListener;

/// Binds `path` with these mode bits.
///
/// # Errors
/// Another process listens there, something else is there, or what bind(2) and chmod(2) give.
pub(super) fn bind(path: &Path, permissions: u32, backlog: i32) -> io::Result<UnixListener> {
    clear(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Before it listens: nobody gets in meanwhile.
    fs::set_permissions(path, Permissions::from_mode(permissions))?;
    socket.listen(backlog)?;
    Ok(socket.into())
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
        let first = bind(&path, 0o620, 4).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o620);
        assert_eq!(bind(&path, 0o600, 4).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        let again = bind(&path, 0o600, 4).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let client = UnixStream::connect(&path).unwrap();
        drop((again, client));
        fs::remove_file(&path).unwrap();
        fs::write(&path, "kept").unwrap();
        assert_eq!(bind(&path, 0o600, 4).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"kept");
    }
}
