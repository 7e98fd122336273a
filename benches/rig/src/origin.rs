//! The origin of all targets: HTTP/1.1 over real TLS, and its twin over fake TLS. Not here: anything a proxy does.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::wire::{self, Command, FakeConn};
use crate::{names, net, tls};

/// Where the origin listens.
#[derive(Args)]
pub struct OriginArgs {
    /// Real TLS: ADDRESS:PORT or 127.0.1.1-16:PORT
    #[arg(long)]
    listen: String,
    /// Fake TLS: the same
    #[arg(long)]
    fake_tls: String,
}

/// About as long as a small JSON reply.
const SMALL_BODY: &str = "ok: this is the small body of the origin, as long as a small JSON reply is\n";

/// Upper bound in bytes of a request's head.
const MAX_HEAD: usize = 16 * 1024;

/// After an accept that failed, most likely for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(5);

/// Serves until it is ended.
///
/// # Errors
/// An address can't be listened on.
pub fn run(args: &OriginArgs) -> Result<()> {
    let acceptor = TlsAcceptor::from(tls::server_config()?);
    let block: Arc<[u8]> = wire::bulk().into();
    crate::block_on(async {
        let mut all = JoinSet::new();
        for address in names::addresses(&args.listen)? {
            let (acceptor, block) = (acceptor.clone(), Arc::clone(&block));
            all.spawn(accept(listener(address)?, move |stream| {
                let (acceptor, block) = (acceptor.clone(), Arc::clone(&block));
                async move { serve_real(acceptor.accept(stream).await?, &block).await }
            }));
        }
        for address in names::addresses(&args.fake_tls)? {
            let block = Arc::clone(&block);
            all.spawn(accept(listener(address)?, move |stream| {
                let block = Arc::clone(&block);
                async move { serve_fake(stream, &block).await }
            }));
        }
        all.join_all().await;
        Ok(())
    })
}

fn listener(address: SocketAddr) -> Result<TcpListener> {
    Ok(TcpListener::from_std(net::listen(address, false)?)?)
}

async fn accept<F, Served>(listener: TcpListener, serve: F)
where
    F: Fn(TcpStream) -> Served,
    Served: Future<Output = io::Result<()>> + Send + 'static,
{
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // A connection that breaks is the load's to report.
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn serve_real(mut stream: TlsStream<TcpStream>, block: &[u8]) -> io::Result<()> {
    let mut request = Vec::with_capacity(1024);
    loop {
        request.clear();
        let (head, rest) = loop {
            if let Some(parts) = net::split_head(&request) {
                break parts;
            }
            if request.len() > MAX_HEAD || stream.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        };
        let path = std::str::from_utf8(head).ok().and_then(|head| head.split(' ').nth(1)).unwrap_or_default();
        if let Some(count) = net::content_length(head) {
            let left = count.saturating_sub(u64::try_from(rest.len()).unwrap_or(count));
            if tokio::io::copy(&mut (&mut stream).take(left), &mut tokio::io::sink()).await? < left {
                return Ok(());
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await?;
        } else if let Some(count) = path.strip_prefix("/bytes/").and_then(|count| count.parse().ok()) {
            stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {count}\r\n\r\n").as_bytes()).await?;
            send_bulk(&mut stream, block, count).await?;
        } else {
            let length = SMALL_BODY.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all([head.as_bytes(), SMALL_BODY.as_bytes()].concat().as_slice()).await?;
        }
        stream.flush().await?;
    }
}

async fn send_bulk(stream: &mut TlsStream<TcpStream>, block: &[u8], count: u64) -> io::Result<()> {
    let mut left = usize::try_from(count).unwrap_or(usize::MAX);
    while left > 0 {
        let part = block.get(..left).unwrap_or(block);
        stream.write_all(part).await?;
        left = left.saturating_sub(part.len());
    }
    Ok(())
}

async fn serve_fake(stream: TcpStream, block: &[u8]) -> io::Result<()> {
    let mut conn = FakeConn::new(stream);
    let (kind, hello) = conn.record().await?;
    if kind != wire::HANDSHAKE || hello.first() != Some(&1) {
        return Ok(());
    }
    let flight = wire::server_flight(wire::session_id(hello));
    conn.send(&flight).await?;
    for _ in wire::CLIENT_FLIGHT {
        conn.record().await?;
    }
    loop {
        let (_, payload) = conn.record().await?;
        let size = payload.len();
        match Command::parse(payload) {
            Some(Command::Get) => conn.send(&wire::record(wire::APPLICATION_DATA, wire::GET_REPLY)).await?,
            Some(Command::Ping) => conn.send(&wire::record(wire::APPLICATION_DATA, size)).await?,
            Some(Command::Down(count)) => conn.send_bulk(block, count).await?,
            Some(Command::Up(count)) => {
                conn.drain(count).await?;
                conn.send(&wire::record(wire::APPLICATION_DATA, wire::UP_REPLY)).await?;
            }
            None => return Ok(()),
        }
    }
}
