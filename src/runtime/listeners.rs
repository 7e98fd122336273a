//! Listening sockets: one a worker for the same address, or one for all; accepted from for ever.
//! Not here: which worker serves a connection (`balance`), what becomes of it (`session`).
//! Source: listen(2), accept(2), epoll(7) on edges, socket(7) SO_REUSEPORT, unix(7) SO_PEERCRED.

mod inherited;
mod unix;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{SocketFlags, accept_with, acceptfrom_with};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::config::{self, Capture, Config, ListenAddress, Mode};
use crate::runtime::entrance::{Entrance, Entrances};
use crate::runtime::facts::Peer;
use crate::runtime::stream::ClientStream;
use crate::runtime::{captured, sys};

pub use inherited::{Inherited, SocketName};
pub use unix::{OwnPath, bind_over};

/// Connections that may wait to be accepted; the kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// How long accepting rests after an error: out of descriptors or memory passes by itself, and spinning on it helps nobody.
const REST: Duration = Duration::from_millis(5);

/// Connections accepted at one go, before the worker's open tunnels have their turn. Accepting one, admitting it and reading its head take
/// some tens of microseconds, so tunnels wait less than a millisecond; a worker that keeps up hardly ever finds more waiting.
const MAX_ACCEPTED: usize = 16;

/// A listening socket as one worker gets it.
pub struct Ear {
    /// What its clients go through.
    pub entrance: Arc<Entrance>,
    /// The socket.
    pub socket: Listening,
}

/// A listening socket, non-blocking.
pub enum Listening {
    /// On an address.
    Tcp(TcpListener),
    /// On a path.
    Unix(UnixListener),
}

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

impl AsRawFd for Listening {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// A connection that was accepted and that no runtime knows of yet, so that any worker can take it. Non-blocking.
pub enum Fresh {
    /// With where it came from.
    Tcp(TcpStream, SocketAddr),
    /// With the user it came from.
    Unix(UnixStream, u32),
}

impl Fresh {
    /// Where it came from.
    pub fn peer(&self) -> Peer {
        match self {
            Self::Tcp(_, peer) => Peer::Address(*peer),
            Self::Unix(_, user) => Peer::User(*user),
        }
    }
}

/// Must be made inside the runtime.
impl TryFrom<Fresh> for ClientStream {
    type Error = io::Error;

    fn try_from(fresh: Fresh) -> io::Result<Self> {
        match fresh {
            Fresh::Tcp(socket, _) => tokio::net::TcpStream::from_std(socket).map(Self::Tcp),
            Fresh::Unix(socket, _) => tokio::net::UnixStream::from_std(socket).map(Self::Unix),
        }
    }
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// An address, with the port that it has.
    Tcp(SocketAddr),
    /// A path.
    Unix(Box<str>),
}

impl Bound {
    /// The address, if there is one.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

/// Every socket that the configuration asks for, bound.
pub struct Sockets {
    /// The listeners and where they listen.
    pub listeners: Vec<(Arc<str>, Bound)>,
    /// For each worker its own socket of each listener. Where there is but one for all, the first worker has it and hands over.
    pub ears: Vec<Vec<Ear>>,
    /// Paths of Unix sockets, which go with these.
    pub paths: Vec<OwnPath>,
    /// The admin port's socket and the address that it has.
    pub admin: (TcpListener, SocketAddr),
    /// That of the probes, if they have one of their own.
    pub probes: Option<(TcpListener, SocketAddr)>,
}

/// It cannot be listened there.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {place}: {error}; free the address or write another one")]
pub struct BindError {
    /// The place as configured.
    pub place: Bound,
    /// What the system says.
    pub error: io::Error,
}

impl Sockets {
    /// Takes those that are inherited and binds the others, listeners once for each of so many workers.
    ///
    /// # Errors
    /// The first place that cannot be had.
    pub fn bind(
        config: &Config,
        entrances: &Entrances,
        workers: usize,
        inherited: &mut Inherited,
    ) -> Result<Self, BindError> {
        let mut ears: Vec<Vec<Ear>> = (0..workers.max(1)).map(|_| Vec::new()).collect();
        let mut listeners = Vec::with_capacity(config.listeners.len());
        let mut paths = Vec::new();
        for (listener, entrance) in config.listeners.iter().zip(entrances.iter()) {
            let (place, sockets, path) = listen(listener, workers, inherited)?;
            paths.extend(path);
            listeners.push((Arc::clone(&listener.name), place));
            // Another process may have had more workers: each socket must be heard.
            let whose = (0..ears.len()).cycle();
            for (number, socket) in whose.zip(sockets) {
                if let Some(own) = ears.get_mut(number) {
                    own.push(Ear { entrance: Arc::clone(entrance), socket });
                }
            }
        }
        let admin = bind_one(&SocketName::Admin, config.admin.address, inherited)?;
        let probes = config.probes.map(|address| bind_one(&SocketName::Probes, address, inherited)).transpose()?;
        Ok(Self { listeners, ears, paths, admin, probes })
    }

    /// All of them once more, for whoever takes over.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn copies(&self) -> io::Result<Vec<(SocketName, OwnedFd)>> {
        let ears = self.ears.iter().flatten();
        let ears = ears.map(|ear| (SocketName::Listener(ear.entrance.name.to_string()), ear.socket.as_fd()));
        let admin = [(SocketName::Admin, self.admin.0.as_fd())];
        let probes = self.probes.iter().map(|(socket, _)| (SocketName::Probes, socket.as_fd()));
        ears.chain(admin).chain(probes).map(|(name, socket)| Ok((name, inherited::copy(socket)?))).collect()
    }

    /// Every address that is listened on.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let others = std::iter::once(&self.admin).chain(&self.probes).map(|(_, address)| *address);
        self.listeners.iter().filter_map(|(_, place)| place.tcp()).chain(others)
    }
}

/// The sockets of one listener, one for each of so many workers or one for all.
fn listen(
    listener: &config::Listener,
    workers: usize,
    inherited: &mut Inherited,
) -> Result<(Bound, Vec<Listening>, Option<OwnPath>), BindError> {
    match &listener.address {
        ListenAddress::Tcp(address) => {
            let transparent = listener.mode == Mode::Transparent(Capture::Tproxy);
            let name = SocketName::Listener(listener.name.to_string());
            let sockets = bind_at(*address, (workers, transparent), inherited.take_tcp(&name, *address))?;
            let bound = sockets.first().map_or(*address, |(_, bound)| *bound);
            Ok((Bound::Tcp(bound), sockets.into_iter().map(|(socket, _)| Listening::Tcp(socket)).collect(), None))
        }
        ListenAddress::Unix(place) => {
            let bound = Bound::Unix(place.path.value.as_str().into());
            let path = Path::new(&place.path.value);
            match unix::bind(path, (place.permissions, BACKLOG), inherited.take_unix(path)) {
                Ok((socket, path)) => Ok((bound, vec![Listening::Unix(socket)], Some(path))),
                Err(error) => Err(BindError { place: bound, error }),
            }
        }
    }
}

fn bind_one(
    name: &SocketName,
    address: SocketAddr,
    inherited: &mut Inherited,
) -> Result<(TcpListener, SocketAddr), BindError> {
    let none = || BindError { place: Bound::Tcp(address), error: io::ErrorKind::AddrNotAvailable.into() };
    bind_at(address, (1, false), inherited.take_tcp(name, address))?.pop().ok_or_else(none)
}

/// The sockets that were inherited for an address, or so many new ones.
fn bind_at(
    address: SocketAddr,
    (count, transparent): (usize, bool),
    inherited: Vec<TcpListener>,
) -> Result<Vec<(TcpListener, SocketAddr)>, BindError> {
    let with_address = |socket: TcpListener| socket.local_addr().map(|address| (socket, address));
    let share = |socket: &Socket| socket.set_reuse_port(true);
    let prepare = |socket: &Socket| if transparent { captured::make_transparent(socket) } else { Ok(()) };
    let sockets = if inherited.is_empty() { bind(address, count, (prepare, share)) } else { Ok(inherited) };
    let bound = sockets.and_then(|sockets| sockets.into_iter().map(with_address).collect());
    bound.map_err(|error| BindError { place: Bound::Tcp(address), error })
}

/// `count` listening sockets for one address (port 0: one that is free), so that the kernel spreads connections and no worker is woken
/// for another's. The first is bound alone: an address that another process has, even one that would share it, is an error.
/// Each is `prepare`d before it is bound. Where the kernel lets no socket `share` its address, that first one is all there is.
///
/// # Errors
/// What socket(2), bind(2) and listen(2) give.
fn bind(
    address: SocketAddr,
    count: usize,
    (prepare, share): (impl Fn(&Socket) -> io::Result<()>, impl Fn(&Socket) -> io::Result<()>),
) -> io::Result<Vec<TcpListener>> {
    let first = unbound(address)?;
    prepare(&first)?;
    first.bind(&address.into())?;
    let bound = first.local_addr()?;
    let shared = count > 1 && share(&first).is_ok();
    let mut sockets = vec![first];
    if shared {
        for _ in 1..count {
            let socket = unbound(address)?;
            prepare(&socket)?;
            share(&socket)?;
            socket.bind(&bound)?;
            sockets.push(socket);
        }
    }
    sockets.into_iter().map(|socket| socket.listen(BACKLOG).map(|()| socket.into())).collect()
}

fn unbound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // What is accepted inherits it, which saves a call a connection.
    socket.set_tcp_nodelay(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// The next connection to the admin port. Errors of accept(2) are the kernel's or the peer's; none of them ends a listener.
pub async fn accept(listener: &tokio::net::TcpListener) -> (tokio::net::TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(_) => sleep(REST).await,
        }
    }
}

/// A listening socket in a worker's runtime.
pub struct Listener(AsyncFd<Listening>);

impl Listener {
    /// Must be made inside the runtime.
    ///
    /// # Errors
    /// The socket cannot be watched.
    pub fn new(socket: Listening) -> io::Result<Self> {
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for types that do not own their descriptor; this one does"
        )]
        AsyncFd::with_interest(socket, Interest::READABLE).map(Self)
    }

    /// Gives every connection to `take`, for ever. Errors as with [`accept`].
    pub async fn accept_all(self, mut take: impl FnMut(Fresh)) {
        loop {
            match self.accept_some(&mut take).await {
                Ok(MAX_ACCEPTED) => yield_now().await,
                Ok(_) => {}
                Err(_) => sleep(REST).await,
            }
        }
    }

    /// Waits for connections and takes all that are there, up to [`MAX_ACCEPTED`]; gives how many. The wake-up comes on an edge, so only
    /// a call that finds nothing shows that all are taken.
    async fn accept_some(&self, take: &mut impl FnMut(Fresh)) -> io::Result<usize> {
        let mut ready = self.0.readable().await?;
        for taken in 0..MAX_ACCEPTED {
            match ready.try_io(|listener| accept_one(listener.get_ref())) {
                Ok(accepted) => take(accepted?),
                Err(_nothing_waits) => return Ok(taken),
            }
        }
        Ok(MAX_ACCEPTED)
    }
}

fn accept_one(listener: &Listening) -> io::Result<Fresh> {
    match listener {
        Listening::Tcp(listener) => {
            let (socket, peer) = acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
            let peer = peer.ok_or(io::ErrorKind::InvalidData)?;
            Ok(Fresh::Tcp(socket.into(), peer.try_into()?))
        }
        Listening::Unix(listener) => {
            let socket: UnixStream = accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?.into();
            let user = sys::peer_user(&socket)?;
            Ok(Fresh::Unix(socket, user))
        }
    }
}

#[cfg(test)]
mod tests;
