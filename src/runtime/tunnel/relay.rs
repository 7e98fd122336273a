//! Moves bytes both ways once everything is judged: small messages by copy, bulk by splice(2), chosen by what a direction does.
//! Not here: judging the server's first flight (`exchange`). No buffer, pipe or timer is held while nothing moves.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;

use crate::policy::Ending;
use crate::runtime::tunnel::Link;
use crate::runtime::tunnel::lane::{COPY_SIZE, Lane, Pipe, Step};
use crate::runtime::tunnel::open::OpenTunnel;

/// Full reads in a row after which a direction counts as bulk: 256 KiB.
const BULK_AFTER: u32 = 4;

/// A spliced piece below this many bytes ends bulk: two system calls a piece are then dearer than a copy.
const BULK_BELOW: usize = 4 * 1024;

/// Relays until both directions have ended, one has failed, or the tunnel is told to stop. Bytes are counted when the receiver takes them.
pub async fn relay(link: &Link, tunnel: &OpenTunnel, lane: &Lane) -> Ending {
    let Link { client, upstream } = link;
    let first = Cell::new(None);
    let out = async {
        pump(client, upstream, tunnel.bytes_out(), lane).await?;
        tunnel.half_close();
        first.set(first.get().or(Some(Ending::ClientClosed)));
        Ok::<_, io::Error>(())
    };
    let back = async {
        pump(upstream, client, tunnel.bytes_in(), lane).await?;
        tunnel.half_close();
        first.set(first.get().or(Some(Ending::ServerClosed)));
        Ok(())
    };
    tokio::select! {
        both = async { tokio::try_join!(out, back) } => match both {
            Ok(_) => first.get().unwrap_or(Ending::ClientClosed),
            Err(_) => {
                reset(client);
                reset(upstream);
                Ending::Reset
            }
        },
        ending = tunnel.stopped() => ending,
    }
}

/// One direction until its sender ends it; the end is passed on.
async fn pump(from: &TcpStream, to: &TcpStream, count: &Cell<u64>, lane: &Lane) -> io::Result<()> {
    let mut full = 0_u32;
    loop {
        from.readable().await?;
        let moved = match lane.copy(from, to)? {
            Step::Empty => continue,
            Step::End => return end(to),
            Step::Left(came, rest) => {
                add(count, came.saturating_sub(rest.len()));
                write_all(to, &rest, count).await?;
                came
            }
            Step::Moved(moved) => {
                add(count, moved);
                tokio::task::consume_budget().await;
                moved
            }
        };
        full = if moved == COPY_SIZE { full.saturating_add(1) } else { 0 };
        if full >= BULK_AFTER {
            full = 0;
            if let Bulk::Ended = bulk(from, to, count, lane).await? {
                return end(to);
            }
        }
    }
}

enum Bulk {
    Ended,
    Over,
}

/// Splices until the sender ends its direction, pieces get small, or there is no pipe. Waiting holds no pipe.
async fn bulk(from: &TcpStream, to: &TcpStream, count: &Cell<u64>, lane: &Lane) -> io::Result<Bulk> {
    loop {
        from.readable().await?;
        let Some(pipe) = lane.take_pipe() else { return Ok(Bulk::Over) };
        match pipe.fill(from) {
            Ok(filled) => {
                drain(&pipe, to, filled, count).await?;
                lane.give_back(pipe);
                match filled {
                    0 => return Ok(Bulk::Ended),
                    1..BULK_BELOW => return Ok(Bulk::Over),
                    BULK_BELOW.. => tokio::task::consume_budget().await,
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => lane.give_back(pipe),
            Err(error) => return Err(error),
        }
    }
}

/// Empties the pipe. On an error or when the tunnel is stopped, the pipe is dropped with what it holds and never used again.
async fn drain(pipe: &Pipe, to: &TcpStream, mut left: usize, count: &Cell<u64>) -> io::Result<()> {
    while left > 0 {
        match pipe.drain(to, left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(gone) => {
                left = left.saturating_sub(gone);
                add(count, gone);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes all of `bytes`, counting what the receiver takes.
///
/// # Errors
/// What the socket gives.
pub async fn write_all(to: &TcpStream, mut bytes: &[u8], count: &Cell<u64>) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(taken) => {
                add(count, taken);
                bytes = bytes.get(taken..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.writable().await?,
            Err(error) => return Err(error),
        }
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
