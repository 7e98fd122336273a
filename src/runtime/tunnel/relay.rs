//! Moves bytes both ways once everything is judged: small messages by copy, bulk by splice(2), chosen by what a direction does.
//! Not here: judging the server's first flight (`first_flight`). While nothing moves, no buffer, pipe or timer is held.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use crate::policy::Ending;
use crate::runtime::lane::{COPY_SIZE, Lane, PIPE_SIZE, Pipe, Step};
use crate::runtime::stream::{End, GOODBYE, Socket};
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
            client.end().broken(cx)?;
            End::from(upstream).broken(cx)?;
        }
        // What TLS has taken and its socket has not: pending, it wakes this task, and there is nothing to wait for here.
        let _ = client.end().poll_flush(cx)?;
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
    ending.await.unwrap_or_else(|error| {
        if error.kind() == GOODBYE {
            return Ending::ClientClosed;
        }
        client.end().reset();
        End::from(upstream).reset();
        Ending::Reset
    })
}

/// Where a direction's bytes come from and go to, and what counts and bounds them.
struct Flow<'a> {
    from: End<'a>,
    to: End<'a>,
    /// What the receiver took.
    count: &'a Cell<u64>,
    /// The tunnel whose budgets bound it, if they do.
    budget: Option<&'a OpenTunnel>,
    lane: &'a Lane,
}

/// Client to server, which budgets bound, and server to client.
fn flows<'a>(link: &'a Link, tunnel: &'a OpenTunnel, lane: &'a Lane) -> (Flow<'a>, Flow<'a>) {
    let (client, upstream) = (link.client.end(), End::from(&link.upstream));
    (
        Flow { from: client, to: upstream, count: tunnel.bytes_out(), budget: Some(tunnel), lane },
        Flow { from: upstream, to: client, count: tunnel.bytes_in(), budget: None, lane },
    )
}

impl<'a> Flow<'a> {
    /// Both ends, if the kernel can move what flows.
    fn sockets(&self) -> Option<(Socket<'a>, Socket<'a>)> {
        self.from.socket().zip(self.to.socket())
    }

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
        if !ready!(self.from.poll_more(cx))? {
            return Poll::Ready(Ok(Mode::End));
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
    /// The sender has ended; the receiver is to be told.
    End,
    /// The receiver knows.
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
                Mode::End => {
                    ready!(to.poll_end(cx))?;
                    Mode::Done
                }
                Mode::Copy => {
                    let came = |step: &Poll<Step>| match step {
                        Poll::Ready(step) => step.came(),
                        Poll::Pending => 0,
                    };
                    match flow.within_budget(COPY_SIZE, |most| Ok(lane.poll_copy(cx, (from, to), most)?), came)? {
                        Some(step) => self.copy(ready!(step), flow),
                        None => ready!(flow.spent(cx))?,
                    }
                }
                Mode::Rest { bytes, sent } => {
                    let gone = ready!(to.poll_write(cx, bytes.get(*sent..).unwrap_or_default()))?;
                    add(count, gone);
                    *sent = sent.saturating_add(gone);
                    if *sent < bytes.len() {
                        continue;
                    }
                    self.next(flow)
                }
                Mode::Bulk => match flow.sockets() {
                    None => Mode::Copy,
                    Some((from, _)) => {
                        ready!(from.poll_read_ready(cx))?;
                        match fill(flow, from)? {
                            Some(mode) => mode,
                            None => ready!(flow.spent(cx))?,
                        }
                    }
                },
                Mode::Drain { pipe, left, filled } => {
                    let Some((_, to)) = flow.sockets() else {
                        return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
                    };
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
    fn copy(&mut self, step: Step, flow: &Flow<'_>) -> Mode {
        match step {
            Step::End => return Mode::End,
            Step::Moved(COPY_SIZE) | Step::Left(COPY_SIZE, _) => self.full = self.full.saturating_add(1),
            Step::Moved(_) | Step::Left(..) => self.full = 0,
        }
        match step {
            Step::Left(came, rest) => {
                add(flow.count, came.saturating_sub(rest.len()));
                Mode::Rest { bytes: rest.into_boxed_slice(), sent: 0 }
            }
            Step::Moved(came) => {
                add(flow.count, came);
                self.next(flow)
            }
            Step::End => Mode::End,
        }
    }

    /// Copy, or bulk once enough full reads have come in a row and the kernel can move it.
    fn next(&mut self, flow: &Flow<'_>) -> Mode {
        if self.full < BULK_AFTER || flow.sockets().is_none() {
            return Mode::Copy;
        }
        self.full = 0;
        Mode::Bulk
    }
}

/// Takes what is there into a pipe. Without a pipe, copying goes on. `None`: the budgets are spent.
fn fill(flow: &Flow<'_>, from: Socket<'_>) -> io::Result<Option<Mode>> {
    let lane = flow.lane;
    let Some(pipe) = lane.take_pipe() else { return Ok(Some(Mode::Copy)) };
    let mode = match flow.within_budget(PIPE_SIZE, |most| pipe.fill(from, most), |filled| *filled) {
        Ok(Some(0)) => Ok(Some(Mode::End)),
        Ok(Some(filled)) => return Ok(Some(Mode::Drain { pipe, filled, left: filled })),
        Ok(None) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Some(Mode::Bulk)),
        Err(error) => Err(error),
    };
    lane.give_back(pipe);
    mode
}

/// How much a socket took: nothing if it is full for now. One that takes nothing though it could is broken.
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
/// What the end gives.
pub async fn write_all(to: End<'_>, bytes: &[u8], count: &Cell<u64>) -> io::Result<()> {
    to.write_all(bytes, |gone| add(count, gone)).await
}

fn add(count: &Cell<u64>, bytes: usize) {
    count.set(count.get().saturating_add(bytes as u64));
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
