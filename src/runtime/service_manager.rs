//! What a service manager such as systemd gives and wants to know: sockets that it has made, and whether this process serves.
//! Not here: serving. Source: sd_listen_fds(3), sd_notify(3).

use std::io;

use sd_notify::{NotifyState, listen_fds_with_names, notify};

use crate::runtime::listeners::{Inherited, SocketName};
use crate::runtime::sys;

/// The name of a socket for the admin port, in `FileDescriptorName=`.
const ADMIN: &str = "admin";

/// That of one for the probes.
const PROBES: &str = "probes";

/// The sockets that it has made for this process; none if there is no such manager. One that is called `admin` or `probes` is for that
/// port, any other name is a listener's; where a socket's address is that of another one, the address counts.
///
/// # Errors
/// The manager says something that makes no sense, or gives what is no listening socket.
pub fn sockets() -> io::Result<Inherited> {
    let mut inherited = Inherited::default();
    for (descriptor, name) in listen_fds_with_names()? {
        let place = |error: io::Error| {
            io::Error::new(error.kind(), format!("the service manager's socket `{name}` can't be used: {error}"))
        };
        let socket = sys::adopt(descriptor).map_err(place)?;
        let role = match name.as_str() {
            ADMIN => SocketName::Admin,
            PROBES => SocketName::Probes,
            _ => SocketName::Listener(name.clone()),
        };
        inherited.add(Some(role), socket).map_err(place)?;
    }
    Ok(inherited)
}

/// This process serves from now on, and is the service's main one.
pub fn serves() {
    tell(&[NotifyState::Ready, NotifyState::MainPid(std::process::id())]);
}

/// It is about to end.
pub fn stops() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    // Without a manager this does nothing; one that doesn't listen is no reason to stop.
    if let Err(error) = notify(states) {
        tracing::warn!(%error, "the service manager can't be told");
    }
}
