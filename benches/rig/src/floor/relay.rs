//! Relays that hold no memory for an idle direction: one buffer a thread, or pooled pipes.
//! Not here: switching between the two by what a tunnel does; that is the product's. Source: splice(2), pipe(7).

use std::cell::RefCell;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice as splice_bytes};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Bytes of a thread's buffer.
const BUFFER: usize = 64 * 1024;

/// Bytes asked for one pipe; one that gets less works too.
const PIPE: usize = 1024 * 1024;

/// Upper bound of empty pipes that a thread keeps.
const MAX_KEPT_PIPES: usize = 64;

/// An empty pipe, both ends non-blocking.
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

enum Step {
    Moved,
    /// What the receiver did not take: all that is ever copied to the heap.
    Left(Vec<u8>),
    Empty,
    End,
}

thread_local! {
    static SHARED: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER]);
    static PIPES: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// Runs `direction` both ways until each has ended; an error ends the tunnel.
pub async fn both<'a, F, Moved>(client: &'a TcpStream, origin: &'a TcpStream, direction: F) -> io::Result<()>
where
    F: Fn(&'a TcpStream, &'a TcpStream) -> Moved,
    Moved: Future<Output = io::Result<()>>,
{
    tokio::try_join!(direction(client, origin), direction(origin, client)).map(drop)
}

/// One direction through the thread's buffer.
pub async fn shared(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    loop {
        from.readable().await?;
        match step(from, to)? {
            Step::Moved => tokio::task::consume_budget().await,
            Step::Left(rest) => write_rest(to, &rest).await?,
            Step::Empty => {}
            Step::End => break,
        }
    }
    half_close(to);
    Ok(())
}

/// One read and one write.
fn step(from: &TcpStream, to: &TcpStream) -> io::Result<Step> {
    SHARED.with_borrow_mut(|buffer| {
        let count = match from.try_read(buffer) {
            Ok(0) => return Ok(Step::End),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Step::Empty),
            Err(error) => return Err(error),
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        let taken = match to.try_write(bytes) {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        Ok(match bytes.get(taken..) {
            Some(rest) if !rest.is_empty() => Step::Left(rest.to_vec()),
            _ => Step::Moved,
        })
    })
}

async fn write_rest(to: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        to.writable().await?;
        match to.try_write(rest) {
            Ok(taken) => rest = rest.get(taken..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The peer may have gone; then there is nothing to close.
fn half_close(to: &TcpStream) {
    let _ = SockRef::from(to).shutdown(Shutdown::Write);
}

/// One direction through a pipe, which is given back while there is nothing to move.
pub async fn splice(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    let mut kept: Option<Pipe> = None;
    loop {
        from.readable().await?;
        let pipe = kept.take().map_or_else(Pipe::take, Ok)?;
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let got = from.try_io(Interest::READABLE, || Ok(splice_bytes(from, None, &pipe.write, None, PIPE, flags)?));
        let mut left = match got {
            Ok(0) => {
                pipe.give_back();
                half_close(to);
                return Ok(());
            }
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                pipe.give_back();
                continue;
            }
            Err(error) => return Err(error),
        };
        while left > 0 {
            let put = to.try_io(Interest::WRITABLE, || Ok(splice_bytes(&pipe.read, None, to, None, left, flags)?));
            match put {
                Ok(count) => left = left.saturating_sub(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.writable().await?,
                Err(error) => return Err(error),
            }
        }
        kept = Some(pipe);
        tokio::task::consume_budget().await;
    }
}

impl Pipe {
    fn take() -> io::Result<Self> {
        if let Some(pipe) = PIPES.with_borrow_mut(Vec::pop) {
            return Ok(pipe);
        }
        let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        // A smaller pipe than asked for works too.
        let _ = fcntl_setpipe_size(&write, PIPE);
        Ok(Self { read, write })
    }

    /// Only an empty pipe may serve another tunnel.
    fn give_back(self) {
        PIPES.with_borrow_mut(|pipes| {
            if pipes.len() < MAX_KEPT_PIPES {
                pipes.push(self);
            }
        });
    }
}
