//! From an old process to the one that has its log now: relays records and hears what becomes of them, and what else there is to know.
//! Not here: what is relayed when (`journal`), the other end (`heirs`).

use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use tokio::sync::mpsc::UnboundedSender;

use super::Identity;
use super::message::{Message, Records};
use super::spending::Voice;
use super::wire::Wire;
use crate::decision_log::{Entry, Successor};
use crate::runtime::quota::Spent;

/// How long a batch may take until it is durable at the other end: as long as anybody waits for a commit.
const KEEP_DEADLINE: Duration = Duration::from_secs(5);

/// How often an old process knocks where nobody is.
const KNOCK_AGAIN: Duration = Duration::from_millis(50);

/// What an old process is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The new one serves: this one accepts no more. It knows that so many bytes have gone out.
    Left(Spent),
    /// Open tunnels are to be judged again by what the files say now, if their policy is the one with this hash.
    Judge(String),
    /// So many bytes have gone out of all processes of the instance today.
    Gone(Spent),
    /// Whoever had the log is gone, or has sent this process away.
    Lost,
    /// The new one drains.
    Drain,
}

/// What belongs to every way to whoever has the log, one after the other.
#[derive(Clone)]
pub(super) struct Ends {
    /// The door of whoever has it.
    pub(super) door: PathBuf,
    pub(super) own: Identity,
    /// Speaks to whoever has it.
    pub(super) voice: Voice,
    /// What the new one knows to have gone out today.
    pub(super) spent: Spent,
    /// Takes what is told.
    pub(super) notices: UnboundedSender<Notice>,
    /// Whether this process accepts no more, and so never takes the log back while it has tunnels.
    pub(super) has_left: Arc<AtomicBool>,
}

/// The way there.
pub(super) struct Link {
    ends: Ends,
    /// Whether the records that were said last are kept.
    kept: mpsc::Receiver<bool>,
}

impl Link {
    /// Over the way that there is already. The receiver is told once the new one serves, and dropped by one that is gone before.
    ///
    /// # Errors
    /// There is no thread to listen on.
    pub(super) fn new(ends: Ends, wire: Wire) -> io::Result<(Self, mpsc::Receiver<()>)> {
        let (left, has_left) = mpsc::channel();
        let kept = listen(&ends, wire.try_clone()?, Some(left))?;
        ends.voice.turn_to(wire);
        Ok((Self { ends, kept }, has_left))
    }
}

impl Successor for Link {
    fn keep(&mut self, batch: &[Entry], again: bool) -> io::Result<()> {
        let raw = |entry: &Entry| {
            let object = std::str::from_utf8(entry.object()).map_err(io::Error::other)?;
            RawValue::from_string(object.to_owned()).map_err(io::Error::other)
        };
        let records = batch.iter().map(raw).collect::<io::Result<Vec<_>>>()?;
        let deadline = Instant::now() + KEEP_DEADLINE;
        let mut again = again;
        loop {
            let said = self.give(Records { again, records: records.clone() }, deadline);
            let Err(Lost::Gone(error)) = said else { return said.map_err(Lost::into) };
            // Whoever has the log may just be handing it over: its heir opens the door within moments.
            again = true;
            self.look(deadline).map_err(|_| error)?;
        }
    }

    fn find(&mut self) -> io::Result<()> {
        if !self.ends.has_left.load(Ordering::Acquire) {
            // The door is still this process's own.
            return Err(io::ErrorKind::NotFound.into());
        }
        let wire = Wire::new(UnixStream::connect(&self.ends.door)?)?;
        wire.say(&Message::Relay(self.ends.own.0.clone()), Instant::now() + KEEP_DEADLINE)?;
        self.ends.voice.close();
        self.kept = listen(&self.ends, wire.try_clone()?, None)?;
        self.ends.voice.turn_to(wire);
        Ok(())
    }
}

/// Why records were not kept.
enum Lost {
    /// Whoever had the log is gone, or has sent this process away.
    Gone(io::Error),
    /// It takes too long, or can't write.
    Kept(io::Error),
}

impl From<Lost> for io::Error {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Gone(error) | Lost::Kept(error) => error,
        }
    }
}

impl Link {
    /// Says records once, and waits for the answer. Without records: whether there is somebody to say them to.
    fn give(&mut self, records: Records, deadline: Instant) -> Result<(), Lost> {
        // An answer to what was given up before is none to this.
        loop {
            match self.kept.try_recv() {
                Ok(_) => {}
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err(Lost::Gone(io::ErrorKind::BrokenPipe.into())),
            }
        }
        if records.records.is_empty() {
            return Ok(());
        }
        self.ends.voice.say(&Message::Records(records), deadline).map_err(Lost::Gone)?;
        match self.kept.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Lost::Kept(io::Error::other("whoever has the log can't write it"))),
            Err(RecvTimeoutError::Disconnected) => Err(Lost::Gone(io::ErrorKind::BrokenPipe.into())),
            Err(RecvTimeoutError::Timeout) => {
                self.ends.voice.close();
                Err(Lost::Kept(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    /// Knocks until somebody is there.
    fn look(&mut self, deadline: Instant) -> io::Result<()> {
        loop {
            match self.find() {
                Err(_) if self.ends.has_left.load(Ordering::Acquire) && Instant::now() < deadline => {
                    std::thread::sleep(KNOCK_AGAIN);
                }
                found => return found,
            }
        }
    }
}

/// Hears what the other end says, on a thread of its own, until it is gone. `left` is dropped then, or told that the new one serves.
fn listen(ends: &Ends, wire: Wire, mut left: Option<mpsc::Sender<()>>) -> io::Result<mpsc::Receiver<bool>> {
    let (keeps, kept) = mpsc::channel();
    let ends = ends.clone();
    let hear = move || {
        while let Ok(Some((message, _))) = wire.wait() {
            let notice = match message {
                Message::Kept | Message::NotKept => {
                    // The link may be gone: then nobody waits.
                    let _ = keeps.send(matches!(message, Message::Kept));
                    continue;
                }
                Message::Serving => {
                    ends.has_left.store(true, Ordering::Release);
                    if let Some(left) = left.take() {
                        let _ = left.send(());
                    }
                    Notice::Left(ends.spent.clone())
                }
                Message::Judge(policy) => Notice::Judge(policy),
                Message::Gone(all) => Notice::Gone(all),
                Message::Drain => Notice::Drain,
                Message::TakeOver(_)
                | Message::Sockets(_)
                | Message::AllSockets
                | Message::Ready
                | Message::Log
                | Message::Taken
                | Message::Go
                | Message::Refused(_)
                | Message::Relay(_)
                | Message::Records(_)
                | Message::Spent(_) => break,
            };
            let _ = ends.notices.send(notice);
        }
        wire.close();
        drop(keeps);
        if ends.has_left.load(Ordering::Acquire) {
            // Nobody need wait for a record to find out.
            let _ = ends.notices.send(Notice::Lost);
        }
    };
    std::thread::Builder::new().name("succession".to_owned()).spawn(hear)?;
    Ok(kept)
}
