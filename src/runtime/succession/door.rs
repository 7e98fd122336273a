//! The door of a running proxy: who takes over knocks here, and so do old processes whose log this one has.
//! Not here: what then happens (`predecessor`, `heirs`). Source: unix(7).

use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::Identity;
use super::link::Notice;
use super::message::Message;
use super::wire::Wire;
use crate::runtime::budgets::Budgets;
use crate::runtime::listeners::{OwnPath, SocketName, bind_over};
use crate::runtime::shared::Shared;
use crate::runtime::whole_file::folder_of;

/// How long whoever knocks has to say who it is.
const KNOCK_DEADLINE: Duration = Duration::from_secs(2);

/// The door's mode: for processes of this user alone.
const DOOR_MODE: u32 = 0o600;

/// What a running proxy has to give, and what it needs for that.
pub struct Estate {
    /// The door's path.
    pub door: PathBuf,
    /// Who it is.
    pub own: Identity,
    /// What it shares with its workers.
    pub shared: Arc<Shared>,
    /// Its listening sockets, once more.
    pub sockets: Vec<(SocketName, OwnedFd)>,
    /// What has gone out today.
    pub budgets: Arc<Mutex<Budgets>>,
    /// Takes what it is told once it is old.
    pub notices: UnboundedSender<Notice>,
}

/// The door. Its path goes with it, unless another process has it then.
#[derive(Debug)]
pub struct Door {
    _path: OwnPath,
}

impl Door {
    /// Opens it, in place of one that may be there: whoever has the log has the door. What knocks is served on a thread of its own until
    /// the estate is handed over.
    ///
    /// # Errors
    /// It can't be bound there, or there is no thread.
    pub fn open(estate: Estate) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o750).create(folder_of(&estate.door))?;
        let (listener, path) = bind_over(&estate.door, DOOR_MODE)?;
        std::thread::Builder::new().name("take-over".to_owned()).spawn(move || attend(&listener, &estate))?;
        Ok(Self { _path: path })
    }
}

fn attend(listener: &UnixListener, estate: &Estate) {
    loop {
        let Ok((stream, _)) = listener.accept() else {
            // Out of descriptors: that passes, and nobody waits for an answer at this moment.
            std::thread::sleep(Duration::from_millis(50));
            continue;
        };
        let Ok(wire) = Wire::new(stream) else { continue };
        match wire.hear(Instant::now() + KNOCK_DEADLINE) {
            Ok(Some((Message::TakeOver(who), _))) => match estate.hand_over(wire, &who) {
                Ok(()) => return,
                Err(error) => tracing::error!(%error, "nobody took over; this process goes on"),
            },
            Ok(Some((Message::Relay(who), _))) if estate.own.meets(&who).is_ok() => {
                // One that is turned away knocks again.
                let _ = estate.shared.predecessors().serve(wire, Arc::clone(&estate.shared));
            }
            Ok(Some(_) | None) | Err(_) => {}
        }
    }
}
