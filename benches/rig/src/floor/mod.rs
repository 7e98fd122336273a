//! Bare relays, the yardstick: accept, read the head, connect, 200, relay; one current-thread runtime a core.
//! Not here: policy, TLS checks, log, metrics, DNS (targets come from the name plan). They cost what kernel and runtime cost.

mod relay;

use std::net::SocketAddr;
use std::num::NonZero;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::{Args, ValueEnum};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

use crate::procfs::WORKER;
use crate::{names, net};

/// How bytes move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Relay {
    /// As tokio's `copy_bidirectional` comes: a buffer of 8 KiB each way and tunnel
    Copy8k,
    /// On readiness into one buffer of 64 KiB a thread: nothing kept for an idle tunnel
    Shared64k,
    /// splice(2) through pooled pipes
    Splice,
}

/// Where the relay listens, and how.
#[derive(Args)]
pub struct FloorArgs {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long, value_enum)]
    relay: Relay,
    /// Threads, each with a runtime and a listener of its own [default: the cores it may use]
    #[arg(long)]
    threads: Option<NonZero<usize>>,
}

/// Upper bound in bytes of a CONNECT's head, and its buffer.
const MAX_HEAD: usize = 2048;

/// After an accept that failed, most likely for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(5);

const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
const FORBIDDEN: &[u8] = b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Serves until it is ended.
///
/// # Errors
/// It can't listen, or a thread has stopped.
pub fn run(args: &FloorArgs) -> Result<()> {
    let count = args.threads.or_else(|| thread::available_parallelism().ok()).map_or(1, usize::from);
    let mut threads = Vec::new();
    for number in 0..count {
        let (listener, relay) = (net::listen(args.listen, count > 1)?, args.relay);
        let thread = thread::Builder::new().name(format!("{WORKER}{number}"));
        threads.push(thread.spawn(move || accept(listener, relay))?);
    }
    for thread in threads {
        thread.join().map_err(|_| anyhow!("a thread has stopped; this is a fault of the rig"))??;
    }
    Ok(())
}

fn accept(listener: std::net::TcpListener, relay: Relay) -> Result<()> {
    crate::block_on(LocalSet::new().run_until(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            match listener.accept().await {
                Ok((client, _)) => {
                    // A tunnel that breaks is the load's to report.
                    spawn_local(async move { tunnel(client, relay).await.ok() });
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }))
}

async fn tunnel(mut client: TcpStream, relay: Relay) -> Result<()> {
    client.set_nodelay(true)?;
    let Some(to) = read_head(&mut client).await? else { return Ok(()) };
    let Ok(to) = to else { return Ok(client.write_all(FORBIDDEN).await?) };
    let mut origin = TcpStream::connect(to).await?;
    origin.set_nodelay(true)?;
    client.write_all(ESTABLISHED).await?;
    match relay {
        Relay::Copy8k => tokio::io::copy_bidirectional(&mut client, &mut origin).await.map(drop)?,
        Relay::Shared64k => relay::both(&client, &origin, relay::shared).await?,
        Relay::Splice => relay::both(&client, &origin, relay::splice).await?,
    }
    Ok(())
}

/// Where a client wants to. `None`: it ended, or said too much. The buffer is gone before bytes are relayed.
async fn read_head(client: &mut TcpStream) -> Result<Option<Result<SocketAddr>>> {
    let mut bytes = Vec::with_capacity(MAX_HEAD);
    while bytes.len() < MAX_HEAD && client.read_buf(&mut bytes).await? > 0 {
        if let Some((head, _)) = net::split_head(&bytes) {
            return Ok(Some(parse_connect(head)));
        }
    }
    Ok(None)
}

/// `CONNECT HOST:PORT HTTP/1.1` as the target's address.
fn parse_connect(head: &[u8]) -> Result<SocketAddr> {
    let line = std::str::from_utf8(head)?.lines().next().context("an empty head")?;
    let authority = line.strip_prefix("CONNECT ").and_then(|rest| rest.strip_suffix(" HTTP/1.1"));
    let (host, port) = authority.and_then(|authority| authority.rsplit_once(':')).context("not a CONNECT")?;
    Ok(SocketAddr::new(names::address_of(host)?.into(), port.parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_targets_of_the_plan_are_connected_to() {
        for (line, want) in [
            ("CONNECT t0.customer.test:8444 HTTP/1.1", Some("127.0.1.1:8444")),
            ("CONNECT no0.evil.test:8444 HTTP/1.1", None),
            ("CONNECT 127.0.0.1:22 HTTP/1.1", None),
            ("GET / HTTP/1.1", None),
            ("", None),
        ] {
            let found = parse_connect(format!("{line}\r\nHost: x\r\n\r\n").as_bytes());
            assert_eq!(found.ok().map(|address| address.to_string()).as_deref(), want, "{line}");
        }
    }
}
