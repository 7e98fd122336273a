//! Moves bytes both ways once everything is judged: small messages by copy, bulk by splice(2), chosen by what a direction does.
//! Not here: judging the server's first flight (`first_flight`). While nothing moves, no buffer, pipe or timer is held.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use crate::policy::Ending;
use crate::runtime::lane::{COPY_SIZE, Lane, PIPE_SIZE, Pipe, Step};
use crate::runtime::tunnel::Link;
use crate::runtime::tunnel::open::OpenTunnel;

/// Full reads in a row after which a direction counts as bulk: 256 KiB.
const BULK_AFTER: u32 = 4;

/// A spliced piece below this many bytes ends bulk: two system calls a piece are then dearer than a copy.
const BULK_BELOW: usize = 4 * 1024;

/// Relays until both directions have ended, one has failed, or the tunnel is told to stop. Bytes are counted when the receiver takes them.
pub async fn relay(link: &Link, tunnel: &OpenTunnel, lane: &Lane) -> Ending {
    let Link { client, upstream } = link;
    let mut out_side = Direction::new();
    let mut back_side = Direction::new();
    let mut first = None;
    // One future for both directions, without a future for each wait: an idle tunnel is two small enums.
    let ending = poll_fn(|cx| {
        if let Poll::Ready(ending) = tunnel.poll_stopped(cx) {
            return Poll::Ready(Ok(ending));
        }
        if tunnel.is_to_be_looked_at() {
            broken(client)?;
            broken(upstream)?;
        }
        // Made anew for each poll: a tunnel that waits holds neither.
        let (out_flow, back_flow) = flows(link, tunnel, lane);
        let out = out_side.poll(&out_flow, cx)?;
        let back = back_side.poll(&back_flow, cx)?;
        tunnel.stall(out_side.waits_to_write() || back_side.waits_to_write());
        if first.is_none() && (out.is_ready() || back.is_ready()) {
            tunnel.half_close();
            first = Some(if out.is_ready() { Ending::ClientClosed } else { Ending::ServerClosed });
        }
        match (out, back, first) {
            (Poll::Ready(()), Poll::Ready(()), Some(first)) => Poll::Ready(Ok::<_, io::Error>(first)),
            _ => Poll::Pending,
        }
    });
    ending.await.unwrap_or_else(|_| {
        reset(client);
        reset(upstream);
        Ending::Reset
    })
}

/// Where a direction's bytes come from and go to, and what counts and bounds them.
struct Flow<'a> {
    from: &'a TcpStream,
    to: &'a TcpStream,
    /// What the receiver took.
    count: &'a Cell<u64>,
    /// The tunnel whose budgets bound it, if they do.
    budget: Option<&'a OpenTunnel>,
    lane: &'a Lane,
}

/// Client to server, which budgets bound, and server to client.
fn flows<'a>(link: &'a Link, tunnel: &'a OpenTunnel, lane: &'a Lane) -> (Flow<'a>, Flow<'a>) {
    let Link { client, upstream } = link;
    (
        Flow { from: client, to: upstream, count: tunnel.bytes_out(), budget: Some(tunnel), lane },
        Flow { from: upstream, to: client, count: tunnel.bytes_in(), budget: None, lane },
    )
}

impl Flow<'_> {
    /// Moves at most `most` bytes by `step`, which tells how many came, as far as the budgets go. `None`: nothing is left, or
    /// others have reserved it for a moment.
    fn within_budget<T>(
        &self,
        most: usize,
        step: impl FnOnce(usize) -> io::Result<T>,
        came: impl FnOnce(&T) -> usize,
    ) -> io::Result<Option<T>> {
        match self.budget {
            Some(tunnel) => tunnel.places().within(most, step, came),
            None => step(most).map(Some),
        }
    }

    /// What follows when the budgets give nothing: an end of the sender is passed on as ever; its next byte ends the tunnel.
    fn spent(&self, cx: &mut Context<'_>) -> Poll<io::Result<Mode>> {
        let mut byte = [0];
        if ready!(self.from.poll_peek(cx, &mut ReadBuf::new(&mut byte)))? == 0 {
            return Poll::Ready(end(self.to).map(|()| Mode::Done));
        }
        match self.budget.filter(|tunnel| tunnel.places().is_spent()) {
            Some(tunnel) => tunnel.stop(Ending::ByteBudgetSpent),
            // Another worker is about to send what is left, or to find that it has less: that takes it a call of the system.
            None => cx.waker().wake_by_ref(),
        }
        Poll::Pending
    }
}

/// One direction: what it is about to do next.
struct Direction {
    mode: Mode,
    /// Full reads in a row.
    full: u32,
}

enum Mode {
    /// Read into the shared buffer and write.
    Copy,
    /// Write what the receiver did not take.
    Rest { bytes: Box<[u8]>, sent: usize },
    /// Fill a pipe.
    Bulk,
    /// Empty it again: so many bytes came, so many are left.
    Drain { pipe: Pipe, filled: usize, left: usize },
    /// The sender has ended, and the receiver knows.
    Done,
}

impl Direction {
    fn new() -> Self {
        Self { mode: Mode::Copy, full: 0 }
    }

    /// Whether it holds bytes that the receiver does not take. Then nothing is read, and so no reset is seen.
    fn waits_to_write(&self) -> bool {
        matches!(self.mode, Mode::Rest { .. } | Mode::Drain { .. })
    }

    /// Moves what can be moved now. Ready: the sender has ended its direction and all of it is passed on.
    fn poll(&mut self, flow: &Flow<'_>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Flow { from, to, count, lane, .. } = *flow;
        loop {
            self.mode = match &mut self.mode {
                Mode::Done => return Poll::Ready(Ok(())),
                Mode::Copy => {
                    ready!(from.poll_read_ready(cx))?;
                    match flow.within_budget(COPY_SIZE, |most| lane.copy(from, to, most), Step::came)? {
                        Some(step) => self.copy(step, to, count)?,
                        None => ready!(flow.spent(cx))?,
                    }
                }
                Mode::Rest { bytes, sent } => {
                    ready!(to.poll_write_ready(cx))?;
                    *sent = sent.saturating_add(write(to, bytes.get(*sent..).unwrap_or_default(), count)?);
                    if *sent < bytes.len() {
                        continue;
                    }
                    self.next()
                }
                Mode::Bulk => {
                    ready!(from.poll_read_ready(cx))?;
                    match fill(flow)? {
                        Some(mode) => mode,
                        None => ready!(flow.spent(cx))?,
                    }
                }
                Mode::Drain { pipe, left, filled } => {
                    ready!(to.poll_write_ready(cx))?;
                    let gone = taken(pipe.drain(to, *left))?;
                    add(count, gone);
                    *left = left.saturating_sub(gone);
                    if *left > 0 {
                        continue;
                    }
                    let next = if *filled < BULK_BELOW { Mode::Copy } else { Mode::Bulk };
                    if let Mode::Drain { pipe, .. } = std::mem::replace(&mut self.mode, Mode::Done) {
                        lane.give_back(pipe);
                    }
                    next
                }
            };
        }
    }

    /// What follows a copy.
    fn copy(&mut self, step: Step, to: &TcpStream, count: &Cell<u64>) -> io::Result<Mode> {
        match step {
            Step::Empty => return Ok(Mode::Copy),
            Step::End => return end(to).map(|()| Mode::Done),
            Step::Moved(COPY_SIZE) | Step::Left(COPY_SIZE, _) => self.full = self.full.saturating_add(1),
            Step::Moved(_) | Step::Left(..) => self.full = 0,
        }
        match step {
            Step::Left(came, rest) => {
                add(count, came.saturating_sub(rest.len()));
                Ok(Mode::Rest { bytes: rest.into_boxed_slice(), sent: 0 })
            }
            Step::Moved(came) => {
                add(count, came);
                Ok(self.next())
            }
            Step::Empty | Step::End => Ok(Mode::Copy),
        }
    }

    /// Copy, or bulk once enough full reads have come in a row.
    fn next(&mut self) -> Mode {
        if self.full < BULK_AFTER {
            return Mode::Copy;
        }
        self.full = 0;
        Mode::Bulk
    }
}

/// The error that a socket has met while nobody read from it, such as a reset.
fn broken(socket: &TcpStream) -> io::Result<()> {
    socket.take_error()?.map_or(Ok(()), Err)
}

/// Takes what is there into a pipe. Without a pipe, copying goes on. `None`: the budgets are spent.
fn fill(flow: &Flow<'_>) -> io::Result<Option<Mode>> {
    let Flow { from, to, lane, .. } = *flow;
    let Some(pipe) = lane.take_pipe() else { return Ok(Some(Mode::Copy)) };
    let mode = match flow.within_budget(PIPE_SIZE, |most| pipe.fill(from, most), |filled| *filled) {
        Ok(Some(0)) => end(to).map(|()| Some(Mode::Done)),
        Ok(Some(filled)) => return Ok(Some(Mode::Drain { pipe, filled, left: filled })),
        Ok(None) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Some(Mode::Bulk)),
        Err(error) => return Err(error),
    };
    lane.give_back(pipe);
    mode
}

/// One write; what the receiver took is counted.
fn write(to: &TcpStream, bytes: &[u8], count: &Cell<u64>) -> io::Result<usize> {
    let gone = taken(to.try_write(bytes))?;
    add(count, gone);
    Ok(gone)
}

/// How much a receiver took: nothing if it is full for now. A receiver that takes nothing though it could is broken.
fn taken(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

/// Writes all of `bytes`, counting what the receiver takes.
///
/// # Errors
/// What the socket gives.
pub async fn write_all(to: &TcpStream, mut bytes: &[u8], count: &Cell<u64>) -> io::Result<()> {
    while !bytes.is_empty() {
        to.writable().await?;
        let gone = write(to, bytes, count)?;
        bytes = bytes.get(gone..).unwrap_or_default();
    }
    Ok(())
}

fn add(count: &Cell<u64>, bytes: usize) {
    count.set(count.get().saturating_add(bytes as u64));
}

/// Lets closing this socket reset its connection: a stream that was cut short must not look whole to the other peer.
fn reset(socket: &TcpStream) {
    // A socket that does not take the option is closed as usual.
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

/// Passes an end on: the other direction lives on (half-close).
fn end(to: &TcpStream) -> io::Result<()> {
    match SockRef::from(to).shutdown(std::net::Shutdown::Write) {
        // The receiver is gone already; the other direction will tell how.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        result => result,
    }
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
