//! Listening sockets that this process did not bind: another one hands them over, or a service manager made them.
//! Not here: how they come (`succession`, `activation`), accepting (`listeners`). Source: socket(7) SO_ACCEPTCONN.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::net::{AddressFamily, SocketType, sockopt};
use serde::{Deserialize, Serialize};
use socket2::SockRef;

use super::Listening;

/// What a listening socket is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketName {
    /// The listener with this name.
    Listener(String),
    /// The admin port.
    Admin,
    /// The probes' port.
    Probes,
}

impl fmt::Display for SocketName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener(name) => write!(out, "listener `{name}`"),
            Self::Admin => out.write_str("the admin port"),
            Self::Probes => out.write_str("the probes' port"),
        }
    }
}

/// Sockets that nobody has taken yet.
#[derive(Default)]
pub struct Inherited(Vec<Heirloom>);

struct Heirloom {
    /// What it was for, if that is known; else its address alone tells.
    name: Option<SocketName>,
    socket: Listening,
}

impl Inherited {
    /// One more.
    ///
    /// # Errors
    /// It is no listening stream socket on an address or a path.
    pub fn add(&mut self, name: Option<SocketName>, descriptor: OwnedFd) -> io::Result<()> {
        if sockopt::socket_type(&descriptor)? != SocketType::STREAM || !sockopt::socket_acceptconn(&descriptor)? {
            return Err(io::Error::other("not a listening stream socket"));
        }
        let family = sockopt::socket_domain(&descriptor)?;
        rustix::io::ioctl_fionbio(&descriptor, true)?;
        let socket = if family == AddressFamily::UNIX {
            Listening::Unix(descriptor.into())
        } else if family == AddressFamily::INET || family == AddressFamily::INET6 {
            // What is accepted inherits it.
            SockRef::from(&descriptor).set_tcp_nodelay(true)?;
            Listening::Tcp(descriptor.into())
        } else {
            return Err(io::Error::other("neither TCP nor a Unix socket"));
        };
        self.0.push(Heirloom { name, socket });
        Ok(())
    }

    /// Those on an address; of port 0 those that had the same name.
    pub(super) fn take_tcp(&mut self, name: &SocketName, address: SocketAddr) -> Vec<TcpListener> {
        let fits = |heirloom: &mut Heirloom| {
            let Listening::Tcp(socket) = &heirloom.socket else { return false };
            socket.local_addr().is_ok_and(|bound| {
                let is_named = || heirloom.name.as_ref() == Some(name) && bound.ip() == address.ip();
                bound == address || (address.port() == 0 && is_named())
            })
        };
        let taken = self.0.extract_if(.., fits).map(|heirloom| heirloom.socket);
        taken.filter_map(|socket| if let Listening::Tcp(socket) = socket { Some(socket) } else { None }).collect()
    }

    /// The one on a path.
    pub(super) fn take_unix(&mut self, path: &Path) -> Option<UnixListener> {
        let fits = |heirloom: &mut Heirloom| {
            let Listening::Unix(socket) = &heirloom.socket else { return false };
            socket.local_addr().is_ok_and(|bound| bound.as_pathname() == Some(path))
        };
        let taken = self.0.extract_if(.., fits).map(|heirloom| heirloom.socket).next();
        taken.and_then(|socket| if let Listening::Unix(socket) = socket { Some(socket) } else { None })
    }

    /// What nobody has taken: where it listens.
    pub fn left(&self) -> Vec<String> {
        let place = |socket: &Listening| match socket {
            Listening::Tcp(socket) => socket.local_addr().map(|address| address.to_string()),
            Listening::Unix(socket) => socket.local_addr().map(|address| format!("unix:{:?}", address.as_pathname())),
        };
        self.0.iter().map(|heirloom| place(&heirloom.socket).unwrap_or_else(|error| error.to_string())).collect()
    }
}

/// A listening socket once more, for whoever takes over.
pub fn copy(socket: impl AsFd) -> io::Result<OwnedFd> {
    socket.as_fd().try_clone_to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use socket2::{Domain, Socket, Type};

    use super::*;

    #[test]
    fn sockets_are_found_by_address_or_path_and_with_port_0_by_name() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("edge.sock");
        let tcp: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let address = |at: usize| tcp[at].local_addr().unwrap();
        let mut inherited = Inherited::default();
        let edge = SocketName::Listener("edge".to_owned());
        for (at, name) in [(0, Some(edge.clone())), (0, None), (1, Some(SocketName::Admin)), (2, Some(edge.clone()))] {
            inherited.add(name, copy(&tcp[at]).unwrap()).unwrap();
        }
        inherited.add(None, copy(UnixListener::bind(&path).unwrap()).unwrap()).unwrap();
        let mut count = |name: &SocketName, address: SocketAddr| inherited.take_tcp(name, address).len();
        assert_eq!(count(&edge, "127.0.0.1:1".parse().unwrap()), 0);
        assert_eq!(count(&SocketName::Probes, "127.0.0.1:0".parse().unwrap()), 0, "another's");
        assert_eq!(count(&edge, address(0)), 2, "by address, whatever the name");
        assert_eq!(count(&edge, "[::1]:0".parse().unwrap()), 0);
        assert_eq!(count(&edge, "127.0.0.1:0".parse().unwrap()), 1, "by name");
        assert!(inherited.take_unix(Path::new("/other")).is_none() && inherited.take_unix(&path).is_some());
        assert_eq!(inherited.left(), [address(1).to_string()]);
    }

    #[test]
    fn what_does_not_listen_is_refused() {
        let datagram = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let (stream, _other) = UnixStream::pair().unwrap();
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let file = tempfile::tempfile().unwrap();
        for (name, descriptor) in [
            ("UDP", copy(&datagram)),
            ("a connection", copy(&stream)),
            ("not listening", copy(&bound)),
            ("a file", copy(&file)),
        ] {
            assert!(Inherited::default().add(None, descriptor.unwrap()).is_err(), "{name}");
        }
    }
}
