//! Connections that the kernel brings without their clients' knowledge: where they wanted to go, and the sockets that take them.
//! Not here: the rules that bring them (`firewall`), whether an address may be reached (`policy`).
//! Source: ip(7) IP_TRANSPARENT, the kernel's Documentation/networking/tproxy.rst, getsockopt SO_ORIGINAL_DST of netfilter's tracking.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use rustix::net::getsockname;
use rustix::net::sockopt::{ip_original_dst, ipv6_original_dst};
use socket2::{Domain, Socket};

use crate::config::Capture;

/// The address that the client of an accepted connection wanted to reach. The socket's own address: nobody brought it here, its client
/// came by itself, and to go there would be to go round in a circle.
///
/// # Errors
/// What the kernel gives; the connection may be gone.
pub fn original_destination(socket: impl AsFd, capture: Capture) -> io::Result<SocketAddr> {
    let own = SocketAddr::try_from(getsockname(&socket)?)?;
    match capture {
        Capture::Redirect => Ok(tracked(socket.as_fd(), own)?.unwrap_or(own)),
        Capture::Tproxy => Ok(own),
    }
}

/// What the tracking of connections has as this one's destination before NAT.
fn tracked(socket: BorrowedFd<'_>, own: SocketAddr) -> io::Result<Option<SocketAddr>> {
    let tracked = match own {
        SocketAddr::V4(_) => ip_original_dst(socket).map(SocketAddr::V4),
        SocketAddr::V6(_) => ipv6_original_dst(socket).map(|address| SocketAddr::from((*address.ip(), address.port()))),
    };
    match tracked {
        Ok(address) => Ok(Some(address)),
        // It is not tracked, or this kernel tracks none.
        Err(Errno::NOENT | Errno::NOPROTOOPT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Lets a socket that is not bound yet take connections to addresses that are not this host's, as TPROXY brings them.
///
/// # Errors
/// What setsockopt(2) gives, with the capability that is missing.
pub fn make_transparent(socket: &Socket) -> io::Result<()> {
    let set = match socket.domain()? {
        Domain::IPV6 => socket.set_ip_transparent_v6(true),
        _ => socket.set_ip_transparent_v4(true),
    };
    set.map_err(|error| {
        if error.kind() == io::ErrorKind::PermissionDenied { io::Error::new(error.kind(), NEEDS) } else { error }
    })
}

/// What is missing where a socket must not be transparent.
const NEEDS: &str =
    "a listener with `capture: tproxy` needs CAP_NET_ADMIN (systemd: `AmbientCapabilities=CAP_NET_ADMIN`)";

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use socket2::Type;

    use super::*;

    #[test]
    fn who_comes_by_itself_wanted_the_sockets_own_address() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let own = listener.local_addr().unwrap();
            let _client = TcpStream::connect(own).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            for capture in [Capture::Redirect, Capture::Tproxy] {
                assert_eq!(original_destination(&accepted, capture).unwrap(), own, "{capture:?}");
            }
        }
    }

    #[test]
    fn without_the_capability_the_error_names_it() {
        for domain in [Domain::IPV4, Domain::IPV6] {
            let socket = Socket::new(domain, Type::STREAM, None).unwrap();
            match make_transparent(&socket) {
                Ok(()) if domain == Domain::IPV4 => assert!(socket.ip_transparent_v4().unwrap()),
                Ok(()) => assert!(socket.ip_transparent_v6().unwrap()),
                Err(error) => assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}"),
            }
        }
    }
}
