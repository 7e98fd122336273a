//! One tunnel of a load, with real or fake TLS, and what loads do with it.
//! Not here: how many, how often (the loads).

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{Shared, Tls};
use crate::net;
use crate::wire::{self, Command, FakeConn};

/// Upper bound in bytes of the head of the origin's reply.
const MAX_HEAD: usize = 16 * 1024;

/// Bytes of one write or read on bulk with real TLS.
const CHUNK: usize = 64 * 1024;

/// An open tunnel.
pub enum Conn {
    Real(Box<TlsStream<TcpStream>>),
    Fake(FakeConn),
}

impl Conn {
    /// Opens tunnel `number` and makes one exchange over it. Also: how long it took from the first SYN to the 200.
    pub async fn open(shared: &Shared, number: usize) -> Result<(Self, Duration)> {
        let (target, hello) = shared.target(number)?;
        let began = Instant::now();
        let stream = net::tunnel(shared.proxy, shared.sources.next(), target).await?;
        let stood_after = began.elapsed();
        let conn = match shared.tls {
            Tls::Real => {
                let name = ServerName::try_from(target.host.clone()).context("server name")?;
                let mut stream = shared.connector.connect(name, stream).await?;
                get(&mut stream, &target.host).await?;
                Self::Real(Box::new(stream))
            }
            Tls::Fake => Self::Fake(exchange(FakeConn::new(stream), hello).await?),
        };
        Ok((conn, stood_after))
    }

    /// A small message and its reply; of `size` bytes both with fake TLS.
    pub async fn ping(&mut self, size: usize) -> Result<()> {
        match self {
            Self::Real(stream) => get(stream, "ping").await,
            Self::Fake(conn) => {
                conn.send(&Command::Ping.record(size)).await?;
                conn.record().await?;
                Ok(())
            }
        }
    }

    /// Receives `count` bytes.
    pub async fn download(&mut self, count: u64) -> Result<()> {
        match self {
            Self::Real(stream) => {
                let request = format!("GET /bytes/{count} HTTP/1.1\r\nHost: bulk\r\n\r\n");
                stream.write_all(request.as_bytes()).await?;
                if reply(stream).await? != count {
                    bail!("short-download");
                }
            }
            Self::Fake(conn) => {
                conn.send(&Command::Down(count).record(wire::COMMAND)).await?;
                conn.drain(count).await?;
            }
        }
        Ok(())
    }

    /// Sends `count` bytes of `block` and waits until all have come.
    pub async fn upload(&mut self, count: u64, block: &[u8]) -> Result<()> {
        match self {
            Self::Real(stream) => {
                let head = format!("POST /sink HTTP/1.1\r\nHost: bulk\r\nContent-Length: {count}\r\n\r\n");
                stream.write_all(head.as_bytes()).await?;
                let mut left = usize::try_from(count).unwrap_or(usize::MAX);
                while left > 0 {
                    let part = block.get(..left.min(CHUNK)).unwrap_or(block);
                    stream.write_all(part).await?;
                    left = left.saturating_sub(part.len());
                }
                stream.flush().await?;
                reply(stream).await?;
            }
            Self::Fake(conn) => {
                conn.send(&Command::Up(count).record(wire::COMMAND)).await?;
                conn.send_bulk(block, count).await?;
                conn.record().await?;
            }
        }
        Ok(())
    }

    /// The orderly end: with real TLS a close_notify goes ahead of the FIN.
    pub async fn close(self) {
        if let Self::Real(mut stream) = self {
            // Who has gone already needs no good-bye.
            let _ = stream.shutdown().await;
        }
    }
}

/// The turns of a handshake, and one exchange; the client's second flight leaves together with its request.
async fn exchange(mut conn: FakeConn, hello: &[u8]) -> Result<FakeConn> {
    conn.send(hello).await?;
    for _ in wire::SERVER_FLIGHT {
        conn.record().await?;
    }
    let request = [wire::flight(&wire::CLIENT_FLIGHT), Command::Get.record(wire::COMMAND)].concat();
    conn.send(&request).await?;
    let (_, payload) = conn.record().await?;
    if payload.len() != wire::GET_REPLY {
        bail!("short-reply");
    }
    Ok(conn)
}

async fn get(stream: &mut TlsStream<TcpStream>, host: &str) -> Result<()> {
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    reply(stream).await.map(drop)
}

/// Reads a reply to its end: how long its body was.
async fn reply(stream: &mut TlsStream<TcpStream>) -> Result<u64> {
    let mut bytes = Vec::with_capacity(CHUNK);
    let (head, rest) = loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            bail!("eof-in-reply");
        }
        if let Some(parts) = net::split_head(&bytes) {
            break parts;
        }
        if bytes.len() > MAX_HEAD {
            bail!("reply-head-too-long");
        }
    };
    if net::status(head) != Some(200) {
        bail!("origin-status");
    }
    let length = net::content_length(head).context("no-content-length")?;
    let mut left = length.saturating_sub(u64::try_from(rest.len()).unwrap_or(length));
    bytes.resize(CHUNK, 0);
    while left > 0 {
        let count = stream.read(&mut bytes).await?;
        if count == 0 {
            bail!("eof-in-body");
        }
        left = left.saturating_sub(u64::try_from(count).unwrap_or(left));
    }
    Ok(length)
}
