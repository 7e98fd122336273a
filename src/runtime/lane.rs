//! What one worker's connections share while bytes move: one buffer, for heads and hellos too, and a few empty pipes for bulk. Idle ones
//! hold neither. Not here: which bytes may move (`first_flight`, `relay`). Source: splice(2), pipe(7).

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;

use crate::runtime::stream::{End, Socket};

/// Bytes moved by one copy. Larger buffers brought nothing in measurements; below 64 KiB bulk gets dearer.
pub const COPY_SIZE: usize = 64 * 1024;

/// Bytes asked for one pipe. 1 MiB was not measurably better; with 256 KiB an unprivileged process has pipes for 256 directions
/// (pipe-user-pages-soft), and one that gets less still works.
pub const PIPE_SIZE: usize = 256 * 1024;

/// Upper bound of pipes a worker, in use or kept: so many directions move bulk by splice at one moment, others copy.
/// The descriptors are part of the reserve that the limit on connections leaves.
pub const MAX_PIPES: usize = 32;

/// The buffer and the pipes of one worker.
pub struct Lane {
    buffer: RefCell<Box<[u8]>>,
    pipes: RefCell<Vec<Pipe>>,
    /// Pipes in use or kept.
    live: Rc<Cell<usize>>,
}

/// What one step did.
#[derive(Debug)]
pub enum Step {
    /// So many bytes came and went.
    Moved(usize),
    /// So many bytes came; these of them the other side did not take yet.
    Left(usize, Vec<u8>),
    /// The sender has ended its direction.
    End,
}

impl Step {
    /// How many bytes came.
    pub fn came(&self) -> usize {
        match self {
            Self::Moved(count) | Self::Left(count, _) => *count,
            Self::End => 0,
        }
    }
}

/// An empty pipe, both ends non-blocking.
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    /// Counts it as long as it is there.
    live: Rc<Cell<usize>>,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            buffer: RefCell::new(vec![0; COPY_SIZE].into_boxed_slice()),
            pipes: RefCell::default(),
            live: Rc::default(),
        }
    }
}

impl Lane {
    /// One read of at most `most` bytes, into the shared buffer, and one write. Only what the receiver does not take is copied to the heap.
    ///
    /// # Errors
    /// What the ends give.
    pub fn poll_copy(
        &self,
        cx: &mut Context<'_>,
        (from, to): (End<'_>, End<'_>),
        most: usize,
    ) -> Poll<io::Result<Step>> {
        self.poll_read(cx, from, most, |cx, bytes| {
            if bytes.is_empty() {
                return Ok(Step::End);
            }
            let taken = match to.poll_write(cx, bytes)? {
                Poll::Ready(taken) => taken,
                Poll::Pending => 0,
            };
            match bytes.get(taken..) {
                Some(rest) if !rest.is_empty() => Ok(Step::Left(bytes.len(), rest.to_vec())),
                _ => Ok(Step::Moved(bytes.len())),
            }
        })?
    }

    /// Reads what is there, at most `most` bytes, and lends it to `see`; nothing to see: the sender has ended.
    ///
    /// # Errors
    /// What the end gives.
    pub fn poll_read<T>(
        &self,
        cx: &mut Context<'_>,
        from: End<'_>,
        most: usize,
        see: impl FnOnce(&mut Context<'_>, &[u8]) -> T,
    ) -> Poll<io::Result<T>> {
        let mut buffer = self.buffer.borrow_mut();
        let most = most.min(buffer.len());
        let count = ready!(from.poll_read(cx, buffer.get_mut(..most).unwrap_or_default()))?;
        Poll::Ready(Ok(see(cx, buffer.get(..count).unwrap_or_default())))
    }

    /// An empty pipe. `None`: none to be had now, so copy.
    pub fn take_pipe(&self) -> Option<Pipe> {
        let kept = self.pipes.borrow_mut().pop();
        kept.or_else(|| if self.live.get() < MAX_PIPES { Pipe::open(&self.live) } else { None })
    }

    /// Gives an empty pipe back.
    pub fn give_back(&self, pipe: Pipe) {
        self.pipes.borrow_mut().push(pipe);
    }
}

impl Pipe {
    fn open(live: &Rc<Cell<usize>>) -> Option<Self> {
        let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).ok()?;
        let size = fcntl_setpipe_size(&write, PIPE_SIZE).or_else(|_| fcntl_getpipe_size(&write)).ok()?;
        // Beyond pipe-user-pages-soft (pipe(7)) a pipe has two pages: copying is cheaper then.
        if size < COPY_SIZE {
            return None;
        }
        live.set(live.get().saturating_add(1));
        Some(Self { read, write, live: Rc::clone(live) })
    }

    /// Moves what `from` has, at most `most` bytes, into this empty pipe. 0: the sender has ended its direction.
    ///
    /// # Errors
    /// `WouldBlock`: nothing there now. Else what splice(2) gives.
    pub fn fill(&self, from: Socket<'_>, most: usize) -> io::Result<usize> {
        from.try_io(Interest::READABLE, || move_bytes(from, &self.write, most.min(PIPE_SIZE)))
    }

    /// Moves up to `left` bytes of this pipe to `to`.
    ///
    /// # Errors
    /// `WouldBlock`: `to` takes nothing now. Else what splice(2) gives.
    pub fn drain(&self, to: Socket<'_>, left: usize) -> io::Result<usize> {
        to.try_io(Interest::WRITABLE, || move_bytes(&self.read, to, left))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.live.set(self.live.get().saturating_sub(1));
    }
}

fn move_bytes(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
    loop {
        match splice(&from, None, &to, None, most, SpliceFlags::MOVE | SpliceFlags::NONBLOCK) {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}
