//! Clients that do not speak plain TCP: over a Unix socket, TLS, or one stream of an HTTP/2 connection. Each is a plain socket to the test
//! and something that speaks between it and the relay.

use std::future::poll_fn;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::spawn_local;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::connected;
use crate::runtime::stream::{ClientStream, Http2End, Meter, TlsEnd};

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// Nothing but TCP.
    Tcp,
    /// A Unix socket's stream.
    Unix,
    /// TLS.
    Tls,
    /// A stream of an HTTP/2 connection.
    Http2,
}

impl Speaks {
    /// The client's socket, and the relay's end of what it speaks. The buffers are those of the connection with the relay.
    pub async fn connect(self, buffer: Option<u32>) -> (TcpStream, ClientStream) {
        if self == Self::Tcp {
            let (client, near) = connected(buffer).await;
            return (client, ClientStream::Tcp(near));
        }
        let (client, inner) = connected(None).await;
        let end = match self {
            Self::Tcp | Self::Unix => {
                let (outer, near) = UnixStream::pair().unwrap();
                between(inner, outer);
                ClientStream::Unix(near)
            }
            Self::Tls => {
                let (outer, near) = connected(buffer).await;
                let (client, server) =
                    tokio::join!(TLS.1.connect(ServerName::try_from("proxy.test").unwrap(), outer), TLS.0.accept(near));
                between(inner, client.unwrap());
                ClientStream::Tls(Box::new(TlsEnd::new(server.unwrap())))
            }
            Self::Http2 => {
                let (outer, near) = connected(buffer).await;
                let (from, to, end) = stream(outer, near).await;
                carry(inner, from, to);
                ClientStream::Http2(Box::new(end))
            }
        };
        (client, end)
    }
}

/// Carries both directions until both have ended.
fn between(mut inner: TcpStream, mut outer: impl AsyncRead + AsyncWrite + Unpin + 'static) {
    spawn_local(async move {
        // What goes wrong shows in what arrives.
        let _ = copy_bidirectional(&mut inner, &mut outer).await;
    });
}

/// One open tunnel on a connection of its own: what the client reads and writes, and the relay's end.
async fn stream(outer: TcpStream, near: TcpStream) -> (RecvStream, SendStream<Bytes>, Http2End) {
    let serving = async {
        let mut connection = h2::server::handshake(near).await.unwrap();
        let (request, answer) = connection.accept().await.unwrap().unwrap();
        let end = Http2End::new(request.into_body(), answer, Meter::new());
        end.answer(Response::new(()), false).unwrap();
        spawn_local(async move { while poll_fn(|cx| connection.poll_accept(cx)).await.is_some() {} });
        end
    };
    let asking = async {
        let (mut client, connection) = h2::client::handshake(outer).await.unwrap();
        spawn_local(async move { connection.await.ok() });
        let request = Request::connect("a.example:443").body(()).unwrap();
        let (answer, to) = client.send_request(request, false).unwrap();
        (answer.await.unwrap().into_body(), to)
    };
    let (end, (from, to)) = tokio::join!(serving, asking);
    (from, to, end)
}

fn carry(inner: TcpStream, mut from: RecvStream, mut to: SendStream<Bytes>) {
    let (mut read, mut write) = inner.into_split();
    spawn_local(async move {
        while let Some(Ok(bytes)) = from.data().await {
            write.write_all(&bytes).await.unwrap();
            from.flow_control().release_capacity(bytes.len()).unwrap();
        }
        write.shutdown().await.ok();
    });
    spawn_local(async move {
        let mut buffer = vec![0; 32 * 1024];
        loop {
            let count = read.read(&mut buffer).await.unwrap_or(0);
            let mut left = &buffer[..count];
            while !left.is_empty() {
                to.reserve_capacity(left.len());
                let room = poll_fn(|cx| to.poll_capacity(cx)).await.unwrap().unwrap();
                let (part, rest) = left.split_at(room.min(left.len()));
                to.send_data(Bytes::copy_from_slice(part), false).unwrap();
                left = rest;
            }
            if count == 0 {
                to.send_data(Bytes::new(), true).ok();
                return;
            }
        }
    });
}

/// Who accepts, and who trusts it.
static TLS: LazyLock<(TlsAcceptor, TlsConnector)> = LazyLock::new(|| {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec!["proxy.test".to_owned()]).unwrap();
    let provider = || Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let server = server.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    (TlsAcceptor::from(Arc::new(server)), TlsConnector::from(Arc::new(client)))
});
