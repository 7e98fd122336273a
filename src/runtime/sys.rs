//! The one place with `unsafe`, and what the process asks of the kernel: descriptor limit, core dumps, socket options.
//! Not here: anything that knows what a policy or a tunnel is. Source: ip(7), getrlimit(2), prctl(2).

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::unix::AsyncFd;

/// Lets the kernel choose the source port at `connect` and not at `bind`, so that one source address serves some 28,000 tunnels a
/// destination instead of 28,000 in all (ip(7), IP_BIND_ADDRESS_NO_PORT).
///
/// # Errors
/// What setsockopt(2) gives.
pub fn bind_address_no_port(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).map_err(io::Error::other)?;
    #[expect(unsafe_code, reason = "no kept crate wraps IP_BIND_ADDRESS_NO_PORT")]
    // SAFETY: the descriptor is borrowed and so open for the call; the option takes one int, whose address and size are given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets the calling thread run only when threads that serve tunnels leave time for it (sched(7): a nice value is a thread's own).
pub fn give_way() {
    // Without it the thread merely competes.
    let _ = rustix::process::nice(NICE);
}

/// The lowest priority.
const NICE: i32 = 19;

/// Gives memory back that is free: reading a policy of a million names takes several times what the policy keeps, and glibc holds on to it.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "no kept crate wraps malloc_trim")]
    // SAFETY: malloc_trim(3) is thread-safe and touches free memory alone.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// How the kernel's clock is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockDiscipline {
    /// Whether a time service keeps it.
    pub synchronized: bool,
    /// What the service still has to correct, in microseconds.
    pub offset_us: i64,
    /// The most by which it may be wrong, in microseconds, as the service tells the kernel.
    pub max_error_us: i64,
}

/// Asks the kernel how its clock is kept (adjtimex(2) with nothing to change).
///
/// # Errors
/// What adjtimex(2) gives; some sandboxes forbid it.
pub fn clock_discipline() -> io::Result<ClockDiscipline> {
    #[expect(unsafe_code, reason = "no kept crate wraps adjtimex")]
    // SAFETY: a timex of zeros is one that changes nothing; the kernel fills it in, and it outlives the call.
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex)
    };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    let nanoseconds = timex.status & libc::STA_NANO != 0;
    let offset = timex.offset;
    Ok(ClockDiscipline {
        synchronized: timex.status & libc::STA_UNSYNC == 0,
        offset_us: if nanoseconds { offset / 1000 } else { offset },
        max_error_us: timex.maxerror,
    })
}

/// Raises the soft descriptor limit to the hard one and gives the limit in force.
pub fn raise_descriptor_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // A refusal leaves the old limit, which is read below.
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The hard descriptor limit: what [`raise_descriptor_limit`] would reach.
pub fn descriptor_limit() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Turns core dumps off: a dump would hold what redaction keeps out of the logs (PCI DSS 3.3.1).
///
/// # Errors
/// What prctl(2) or setrlimit(2) gives.
pub fn forbid_core_dumps() -> io::Result<()> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    let mut limit = getrlimit(Resource::Core);
    (limit.current, limit.maximum) = (Some(0), Some(0));
    Ok(setrlimit(Resource::Core, limit)?)
}

/// The user id of the process at the other end of a Unix socket, as it was when it connected (unix(7), SO_PEERCRED).
///
/// # Errors
/// What getsockopt(2) gives.
pub fn peer_user(socket: impl AsFd) -> io::Result<u32> {
    Ok(rustix::net::sockopt::socket_peercred(socket)?.uid.as_raw())
}

/// Has a descriptor watched by this thread's runtime.
///
/// # Errors
/// There is no runtime, or epoll(7) doesn't take it.
pub fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    #[expect(unsafe_code, reason = "tokio has no safe way for descriptors that are no sockets and no pipes")]
    // SAFETY: the descriptor is owned, and whoever has the result for reading only can neither close nor replace it.
    let watched = unsafe { AsyncFd::register(descriptor) };
    Ok(watched?)
}

/// Takes a descriptor that a service manager has opened for this process, and that nothing else here knows of: to be called once for each.
///
/// # Errors
/// It is not open.
pub fn adopt(descriptor: RawFd) -> io::Result<OwnedFd> {
    #[expect(unsafe_code, reason = "no kept crate gives an owned descriptor for a number")]
    // SAFETY: it is not -1 and is open, as the call shows; the caller is the only one that owns it.
    unsafe {
        if descriptor < 0 || libc::fcntl(descriptor, libc::F_GETFD) < 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(OwnedFd::from_raw_fd(descriptor))
    }
}

/// The addresses of this host's interfaces, for the rule that the proxy is never its own destination.
///
/// # Errors
/// What getifaddrs(3) gives.
pub fn interface_addresses() -> io::Result<Vec<IpAddr>> {
    Ok(if_addrs::get_if_addrs()?.into_iter().map(|interface| interface.ip()).collect())
}

/// The host's name, for the default `instance`.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// How many workers to run: the processors that this process may use.
pub fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_of_a_unix_socket_has_its_user() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(peer_user(&one).unwrap(), rustix::process::geteuid().as_raw());
    }
}
