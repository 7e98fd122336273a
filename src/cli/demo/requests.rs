//! The demo's requests: what is sent, and what must come of it.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::PATIENCE;
use super::origin::Origin;

/// One request and the reason that its decision must have.
pub(super) struct Case {
    pub(super) what: &'static str,
    pub(super) reason: &'static str,
    head: String,
    inside: Inside,
}

/// What is sent once the tunnel is open.
enum Inside {
    /// TLS with this name, then a GET.
    Tls(&'static str),
    /// Bytes that are no TLS.
    Plain(&'static [u8]),
    /// Nothing: the request is refused before.
    Nothing,
}

/// What the client got.
pub(super) struct Seen {
    /// The port that the proxy saw the client come from.
    pub(super) client_port: u16,
    /// The id in the problem document, if one came.
    pub(super) decision_id: Option<String>,
    status: u16,
    origin_answered: bool,
}

#[derive(Deserialize)]
struct Problem {
    decision_id: String,
}

impl Seen {
    /// Whether the client got what the decision stands for: the origin's answer if and only if it is allowed.
    pub(super) fn fits(&self, case: &Case) -> bool {
        let tunnelled = !matches!(case.inside, Inside::Nothing);
        self.origin_answered == (case.reason == "allowed") && (self.status == 200) == tunnelled
    }
}

/// All requests of the demo.
pub(super) fn cases(port: u16) -> Vec<Case> {
    let connect = |target: String| format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    let case = |what, reason, head, inside| Case { what, reason, head, inside };
    let listed = || connect(format!("api.acme.test:{port}"));
    vec![
        case("a listed host over TLS", "allowed", listed(), Inside::Tls("api.acme.test")),
        case(
            "a host that a wildcard lists",
            "allowed",
            connect(format!("eu.pay.acme.test:{port}")),
            Inside::Tls("eu.pay.acme.test"),
        ),
        case(
            "a host that nothing lists",
            "destination_not_listed",
            connect("evil.example:443".into()),
            Inside::Nothing,
        ),
        case("another port of a listed host", "port_not_allowed", connect("api.acme.test:22".into()), Inside::Nothing),
        case(
            "http in the clear",
            "plaintext_http",
            "GET http://api.acme.test/ HTTP/1.1\r\nHost: api.acme.test\r\n\r\n".into(),
            Inside::Nothing,
        ),
        case("a target without a port", "malformed_target", connect("api.acme.test".into()), Inside::Nothing),
        case(
            "a card number in the target's name",
            "sensitive_data_in_target",
            connect("4111-1111-1111-1111.evil.example:443".into()),
            Inside::Nothing,
        ),
        case(
            "a name that resolves to cloud metadata",
            "address_forbidden",
            connect("metadata.acme.test:443".into()),
            Inside::Nothing,
        ),
        case("another name inside the tunnel", "sni_mismatch", listed(), Inside::Tls("evil.example")),
        case("no TLS inside the tunnel", "not_tls", listed(), Inside::Plain(b"SSH-2.0-demo\r\n")),
    ]
}

/// Sends them one after the other.
pub(super) fn send_all(proxy: SocketAddr, origin: &Origin, cases: &[Case]) -> anyhow::Result<Vec<Seen>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(origin.roots.clone())
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(tls));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut all = Vec::with_capacity(cases.len());
        for case in cases {
            let seen = timeout(PATIENCE, send(proxy, &connector, case)).await;
            all.push(seen.ok().with_context(|| format!("{}: no end within {PATIENCE:?}", case.what))??);
        }
        Ok(all)
    })
}

async fn send(proxy: SocketAddr, connector: &TlsConnector, case: &Case) -> anyhow::Result<Seen> {
    let mut stream = TcpStream::connect(proxy).await?;
    let client_port = stream.local_addr()?.port();
    stream.write_all(case.head.as_bytes()).await?;
    let answer = answer(&mut stream).await?;
    let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok()).context("no status line")?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let decision_id = serde_json::from_str::<Problem>(body).ok().map(|problem| problem.decision_id);
    let origin_answered = match case.inside {
        Inside::Nothing => false,
        Inside::Tls(name) => get(connector, stream, name).await,
        Inside::Plain(bytes) => {
            stream.write_all(bytes).await?;
            let mut rest = Vec::new();
            // An alert and a close, or a reset: either way no origin.
            let _ = stream.read_to_end(&mut rest).await;
            rest.windows(5).any(|word| word == b"hello")
        }
    };
    Ok(Seen { client_port, decision_id, status, origin_answered })
}

/// The head of a `200`, or a whole refusal.
async fn answer(stream: &mut TcpStream) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    loop {
        let ended = stream.read_buf(&mut bytes).await? == 0;
        let text = String::from_utf8_lossy(&bytes);
        if ended || (text.starts_with("HTTP/1.1 200") && text.ends_with("\r\n\r\n")) {
            return Ok(text.into_owned());
        }
    }
}

/// Whether the origin's own answer came through TLS.
async fn get(connector: &TlsConnector, stream: TcpStream, name: &'static str) -> bool {
    let exchange = async {
        let mut tls = connector.connect(ServerName::try_from(name)?, stream).await?;
        tls.write_all(format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
        let mut text = Vec::new();
        tls.read_to_end(&mut text).await?;
        anyhow::Ok(text)
    };
    exchange.await.is_ok_and(|text| text.ends_with(b"hello from the origin\n"))
}
