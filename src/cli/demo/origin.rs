//! The demo's customer: a throwaway HTTPS server with a certificate of its own.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Every name that the origin answers to.
const NAMES: [&str; 2] = ["api.acme.test", "eu.pay.acme.test"];

/// What it answers to whatever it is asked.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 22\r\nConnection: close\r\n\r\nhello from the origin\n";

/// Longest request head that it reads.
const MAX_REQUEST: usize = 16 * 1024;

/// A running origin; its thread ends with the process.
pub(super) struct Origin {
    /// Its port on 127.0.0.1.
    pub(super) port: u16,
    /// The authority of its certificate, as PEM, for curl.
    pub(super) authority_pem: String,
    /// The same, for the demo's own client.
    pub(super) roots: RootCertStore,
}

impl Origin {
    /// Starts it on a free port, in a thread of its own.
    pub(super) fn start() -> anyhow::Result<Self> {
        let authority = authority()?;
        let key = KeyPair::generate()?;
        let leaf = CertificateParams::new(NAMES.map(str::to_owned))?.signed_by(&key, &authority)?;
        let chain = vec![leaf.der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| anyhow::anyhow!("{error}"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen")?;
        socket.set_nonblocking(true)?;
        let port = socket.local_addr()?.port();
        std::thread::Builder::new().name("origin".to_owned()).spawn(move || serve(socket, tls))?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::clone(authority.der()))?;
        Ok(Self { port, authority_pem: authority.pem(), roots })
    }
}

fn authority() -> anyhow::Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "sallyport demo authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn serve(socket: std::net::TcpListener, tls: ServerConfig) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(socket)?;
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        loop {
            let (socket, _) = listener.accept().await?;
            // A client that goes away is no concern of the origin's.
            tokio::spawn(answer(acceptor.clone(), socket));
        }
    })
}

async fn answer(acceptor: TlsAcceptor, socket: TcpStream) -> std::io::Result<()> {
    let mut stream = acceptor.accept(socket).await?;
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < MAX_REQUEST {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    stream.write_all(ANSWER).await?;
    stream.shutdown().await
}
