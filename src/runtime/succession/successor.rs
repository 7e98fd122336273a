//! The new one's part of a take-over: gets sockets and log from the process that runs.
//! Not here: the other part (`predecessor`), what it then serves with them (`server`).

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, pidfd_open};

use super::Identity;
use super::message::Message;
use super::wire::Wire;
use crate::runtime::listeners::Inherited;

/// How long each step of the old one may take: it stops its log within five seconds, and keeps its byte budgets before.
const STEP_DEADLINE: Duration = Duration::from_secs(20);

/// Why this process can't take over. The old one goes on as it was.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    /// The old one says no.
    #[error("the running process does not let this one take over: {0}")]
    Refused(String),
    /// It is gone, or says something else.
    #[error("the running process has ended the take-over; its own log says why")]
    Ended,
    /// The way there is broken.
    #[error("cannot take over by `{door}`: {error}")]
    Io {
        /// The door's path.
        door: String,
        /// What the system says.
        error: io::Error,
    },
    /// There is no thread for what it relays.
    #[error("cannot take what the old process records: {0}")]
    Thread(io::Error),
    /// A socket that it gives is none that can be served.
    #[error("the running process gives a socket that can't be used: {0}")]
    Socket(io::Error),
}

/// The old one, as the new one sees it.
pub struct Predecessor {
    wire: Wire,
    /// By which its end is seen.
    process: Option<OwnedFd>,
    door: String,
}

impl Predecessor {
    /// Knocks. `None`: nobody is there to take over from.
    ///
    /// # Errors
    /// Somebody is, and can't be spoken to.
    pub fn find(door: &Path, own: &Identity) -> Result<Option<Self>, TakeOverError> {
        let name = door.display().to_string();
        let failed = |error| TakeOverError::Io { door: name.clone(), error };
        let stream = match UnixStream::connect(door) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            stream => stream.map_err(failed)?,
        };
        let wire = Wire::new(stream).map_err(failed)?;
        wire.say(&Message::TakeOver(own.0.clone()), soon()).map_err(failed)?;
        let process = wire.peer().and_then(|peer| pidfd_open(peer, PidfdFlags::empty()).ok());
        Ok(Some(Self { wire, process, door: name }))
    }

    /// Its listening sockets.
    ///
    /// # Errors
    /// It says no, or what it gives can't be used.
    pub fn sockets(&self) -> Result<Inherited, TakeOverError> {
        let mut inherited = Inherited::default();
        loop {
            match self.hear()? {
                (Message::Sockets(names), descriptors) if names.len() == descriptors.len() => {
                    for (name, descriptor) in names.into_iter().zip(descriptors) {
                        inherited.add(Some(name), descriptor).map_err(TakeOverError::Socket)?;
                    }
                }
                (Message::AllSockets, _) => return Ok(inherited),
                _ => return Err(TakeOverError::Ended),
            }
        }
    }

    /// All is ready but the log: the descriptor that holds its lock.
    ///
    /// # Errors
    /// It keeps the log.
    pub fn log(&self) -> Result<OwnedFd, TakeOverError> {
        self.say(&Message::Ready)?;
        match self.hear()? {
            (Message::Log, descriptors) => descriptors.into_iter().next().ok_or(TakeOverError::Ended),
            _ => Err(TakeOverError::Ended),
        }
    }

    /// The log is open, and nothing is written to it. Once this comes back it is this process's.
    ///
    /// # Errors
    /// It has taken it back: nothing may be written.
    pub fn taken(&self) -> Result<(), TakeOverError> {
        let answer = self.say(&Message::Taken).and_then(|()| self.hear());
        match answer {
            Ok((Message::Go, _)) => Ok(()),
            // Nobody else has the log then.
            Err(TakeOverError::Io { .. } | TakeOverError::Ended) if self.has_died() => Ok(()),
            Ok(_) => Err(TakeOverError::Ended),
            Err(error) => Err(error),
        }
    }

    /// Whether the old process is no more.
    fn has_died(&self) -> bool {
        let Some(process) = &self.process else { return false };
        let within = Timespec { tv_sec: 1, tv_nsec: 0 };
        poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&within)).is_ok_and(|ready| ready > 0)
    }

    /// This process can't go on, and has no part in the log any more.
    pub fn refuse(&self, why: &str) {
        // It may be gone.
        let _ = self.wire.say(&Message::Refused(why.to_owned()), soon());
    }

    /// This process serves. What is left of the old one is the way on which it relays.
    ///
    /// # Errors
    /// It is gone.
    pub(super) fn serving(self) -> Result<Wire, TakeOverError> {
        self.say(&Message::Serving)?;
        Ok(self.wire)
    }

    fn say(&self, message: &Message) -> Result<(), TakeOverError> {
        self.wire.say(message, soon()).map_err(|error| self.failed(error))
    }

    fn hear(&self) -> Result<(Message, Vec<OwnedFd>), TakeOverError> {
        match self.wire.hear(soon()).map_err(|error| self.failed(error))? {
            Some((Message::Refused(why), _)) => Err(TakeOverError::Refused(why)),
            Some(heard) => Ok(heard),
            None => Err(TakeOverError::Ended),
        }
    }

    fn failed(&self, error: io::Error) -> TakeOverError {
        TakeOverError::Io { door: self.door.clone(), error }
    }
}

fn soon() -> Instant {
    Instant::now() + STEP_DEADLINE
}
