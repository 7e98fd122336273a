//! Messages with descriptors over a Unix socket: a length of four bytes (big endian), then JSON. Blocks, within a deadline.
//! Not here: what is said (`message`). Source: unix(7) SCM_RIGHTS, SO_PEERCRED.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use rustix::process::geteuid;

use super::message::Message;
use crate::decision_log::MAX_BATCH;

/// Bytes of the longest message: one commit's records, and what stands around them.
const MAX_MESSAGE: usize = MAX_BATCH + 64 * 1024;

/// How long a message that has begun may take, where nobody waits for its beginning.
const REST_DEADLINE: Duration = Duration::from_secs(5);

/// Descriptors that come with one message; the kernel takes 253.
pub(super) const MAX_DESCRIPTORS: usize = 64;

/// One end of the way between two processes.
pub(super) struct Wire(UnixStream);

impl Wire {
    /// For a process of the same user, or root's; nobody else gets a word in.
    ///
    /// # Errors
    /// It is somebody else's.
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        let (peer, own) = (rustix::net::sockopt::socket_peercred(&stream)?.uid, geteuid());
        if peer != own && !peer.is_root() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "another user's process"));
        }
        Ok(Self(stream))
    }

    /// The process at the other end; `None`: it can't be seen from here.
    pub(super) fn peer(&self) -> Option<rustix::process::Pid> {
        rustix::net::sockopt::socket_peercred(&self.0).ok().map(|peer| peer.pid)
    }

    /// The same end, for another thread.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Ends both directions, for all who have this end.
    pub(super) fn close(&self) {
        // One that is closed already is as good.
        let _ = self.0.shutdown(std::net::Shutdown::Both);
    }

    /// Says something.
    ///
    /// # Errors
    /// It was not said by the deadline, or not whole; nothing more can be said.
    pub(super) fn say(&self, message: &Message, deadline: Instant) -> io::Result<()> {
        self.give(message, &[], deadline)
    }

    /// The same, with descriptors: at most [`MAX_DESCRIPTORS`].
    ///
    /// # Errors
    /// As [`Wire::say`].
    pub(super) fn give(&self, message: &Message, descriptors: &[BorrowedFd<'_>], deadline: Instant) -> io::Result<()> {
        let body = serde_json::to_vec(message)?;
        let length = u32::try_from(body.len()).map_err(io::Error::other)?.to_be_bytes();
        self.0.set_write_timeout(Some(left(deadline)?))?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other("too many descriptors for one message"));
        }
        let sent = sendmsg(&self.0, &[IoSlice::new(&length)], &mut ancillary, SendFlags::NOSIGNAL)?;
        if sent != length.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let mut rest = body.as_slice();
        while !rest.is_empty() {
            self.0.set_write_timeout(Some(left(deadline)?))?;
            match (&self.0).write(rest)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => rest = rest.get(written..).unwrap_or_default(),
            }
        }
        Ok(())
    }

    /// Hears something; `None`: the other has gone.
    ///
    /// # Errors
    /// Nothing came by the deadline, or nothing that is a message.
    pub(super) fn hear(&self, deadline: Instant) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
        self.0.set_read_timeout(Some(left(deadline)?))?;
        self.hear_next(Some(deadline))
    }

    /// The same, however long it takes until it begins.
    ///
    /// # Errors
    /// What came is no message, or takes longer than [`REST_DEADLINE`].
    pub(super) fn wait(&self) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
        self.0.set_read_timeout(None)?;
        self.hear_next(None)
    }

    fn hear_next(&self, deadline: Option<Instant>) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
        let mut length = [0; 4];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let got =
            recvmsg(self.0.as_fd(), &mut [IoSliceMut::new(&mut length)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        let mut descriptors = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(more) = message {
                descriptors.extend(more);
            }
        }
        let deadline = deadline.unwrap_or_else(|| Instant::now() + REST_DEADLINE);
        match length.get_mut(got.bytes..) {
            _ if got.bytes == 0 => return Ok(None),
            Some(rest) => self.fill(rest, deadline)?,
            None => return Err(io::ErrorKind::InvalidData.into()),
        }
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
        if length > MAX_MESSAGE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "too long a message"));
        }
        let mut body = vec![0; length];
        self.fill(&mut body, deadline)?;
        Ok(Some((serde_json::from_slice(&body)?, descriptors)))
    }

    /// Reads until it is full, whatever a piece takes.
    fn fill(&self, mut rest: &mut [u8], deadline: Instant) -> io::Result<()> {
        while !rest.is_empty() {
            self.0.set_read_timeout(Some(left(deadline)?))?;
            match (&self.0).read(rest)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => rest = rest.get_mut(count..).unwrap_or_default(),
            }
        }
        Ok(())
    }
}

/// What is left until then.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use serde_json::value::RawValue;

    use super::*;
    use crate::runtime::listeners::SocketName;
    use crate::runtime::succession::message::Records;

    fn pair() -> (Wire, Wire) {
        let (one, other) = UnixStream::pair().unwrap();
        (Wire::new(one).unwrap(), Wire::new(other).unwrap())
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn descriptors_come_with_their_message_and_not_with_the_next() {
        let (one, other) = pair();
        let files: Vec<File> = (0..MAX_DESCRIPTORS).map(|_| tempfile::tempfile().unwrap()).collect();
        files[1].set_len(7).unwrap();
        let borrowed: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
        one.say(&Message::Ready, soon()).unwrap();
        let names = vec![SocketName::Admin, SocketName::Listener("edge".to_owned())];
        one.give(&Message::Sockets(names.clone()), &borrowed[..2], soon()).unwrap();
        one.give(&Message::Log, &borrowed, soon()).unwrap();
        one.say(&Message::Go, soon()).unwrap();
        assert!(matches!(other.hear(soon()).unwrap().unwrap(), (Message::Ready, none) if none.is_empty()));
        let (message, got) = other.wait().unwrap().unwrap();
        assert!(matches!(message, Message::Sockets(found) if found == names));
        let length = |fd: &OwnedFd| File::from(fd.try_clone().unwrap()).metadata().unwrap().len();
        assert_eq!(got.iter().map(length).collect::<Vec<_>>(), [0, 7]);
        assert_eq!(other.wait().unwrap().unwrap().1.len(), MAX_DESCRIPTORS);
        assert!(matches!(other.wait().unwrap().unwrap(), (Message::Go, none) if none.is_empty()));
        drop(one);
        assert!(other.wait().unwrap().is_none(), "the other has gone");
    }

    #[test]
    fn a_batch_of_records_comes_as_it_was() {
        let (one, other) = pair();
        let records: Vec<String> =
            (0..500).map(|n| format!(r#"{{"time":1,  "n":{n}, "x":"{}"}}"#, "y".repeat(2000))).collect();
        let raw = |text: &String| RawValue::from_string(text.clone()).unwrap();
        let said = Records { again: true, records: records.iter().map(raw).collect() };
        let saying = std::thread::spawn(move || one.say(&Message::Records(said), soon()).unwrap());
        let (message, _) = other.hear(soon()).unwrap().unwrap();
        saying.join().unwrap();
        let Message::Records(heard) = message else { panic!("{message:?}") };
        assert!(heard.again && heard.records.iter().map(|raw| raw.get()).eq(&records), "byte for byte");
    }

    #[test]
    fn what_is_no_message_and_what_does_not_come() {
        let heard = |bytes: &[u8]| {
            let (one, other) = pair();
            (&one.0).write_all(bytes).unwrap();
            one.0.shutdown(std::net::Shutdown::Write).unwrap();
            other.hear(soon()).map(|heard| heard.is_some())
        };
        for (name, bytes, want) in [
            ("nothing", &b""[..], Ok(false)),
            ("half a length", b"\0\0", Err(io::ErrorKind::UnexpectedEof)),
            ("half a message", b"\0\0\0\x09\"rea", Err(io::ErrorKind::UnexpectedEof)),
            ("no message", b"\0\0\0\x06\"door\"", Err(io::ErrorKind::InvalidData)),
            ("too long", b"\xff\0\0\0", Err(io::ErrorKind::InvalidData)),
            ("a message", b"\0\0\0\x07\"ready\"", Ok(true)),
        ] {
            assert_eq!(heard(bytes).map_err(|error| error.kind()), want, "{name}");
        }
        let (one, _other) = pair();
        assert!(one.hear(Instant::now() + Duration::from_millis(1)).is_err(), "a deadline holds");
        assert_eq!(one.hear(Instant::now()).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
