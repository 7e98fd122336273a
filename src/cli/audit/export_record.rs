//! Asks the running instance to put an export on record.
//! Not here: what is exported (`export`), the call at the other end (`runtime::admin`).
//! Source: PCI DSS 10.2.1.3 (access to the log is itself on record); RFC 9112.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::config::AdminTls;
use crate::decision_log::origin;
use crate::evidence::ExportRecord;
use crate::runtime::load;

/// The whole call: connection, handshake, answer. The record is durable before the answer.
const RECORD_DEADLINE: Duration = Duration::from_secs(10);

/// Upper bound in bytes of the answer: an id, or a line of text.
const MAX_ANSWER: u64 = 16 * 1024;

/// What the record says of the export.
#[derive(Debug, Serialize)]
pub(super) struct Taken {
    /// Of the file with the records.
    pub(super) sha256: String,
    pub(super) format: &'static str,
    pub(super) query: String,
    pub(super) records: u64,
    pub(super) first_seq: Option<u64>,
    pub(super) last_seq: Option<u64>,
}

#[derive(Deserialize)]
struct Recorded {
    id: String,
}

/// Whether the instance that writes the log called `log` has put it on record, or why not.
pub(super) fn leave(
    config: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
    token: Option<String>,
    about: (&str, &Taken),
) -> ExportRecord {
    let left = token.context("there is no token; give `--token-file FILE`, or set SALLYPORT_TOKEN");
    match left.and_then(|token| ask(config, environment, &token, about)) {
        Ok(id) => ExportRecord::Yes { id },
        Err(error) => ExportRecord::No { why: format!("{error:#}") },
    }
}

fn ask(
    config: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
    token: &str,
    (log, taken): (&str, &Taken),
) -> anyhow::Result<String> {
    let config = load::load(config, environment).context("without its configuration the instance is not known")?.config;
    let own = origin(&config.instance);
    ensure!(own == log, "the log is `{log}`, and the configuration is of the instance that writes `{own}`");
    ensure!(is_token(token), "the token has other characters than tokens have; write it alone, on one line");
    let address = reachable(config.admin.address);
    let body = serde_json::to_string(taken)?;
    let request = format!(
        "POST /v1/export HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let call = async { timeout(RECORD_DEADLINE, call(address, config.admin.tls.as_ref(), &request)).await };
    let answer = runtime.block_on(call).context("the instance took too long").flatten();
    id(&answer.with_context(|| format!("the admin port at {address}"))?)
}

/// RFC 6750, section 2.1; so nothing in it ends the header.
fn is_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte))
}

/// An address that stands for all of the host's is reached on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
}

async fn call(address: SocketAddr, tls: Option<&AdminTls>, request: &str) -> anyhow::Result<String> {
    let socket = TcpStream::connect(address).await?;
    let Some(tls) = tls else { return exchange(socket, request).await };
    let name = ServerName::from(address.ip());
    exchange(TlsConnector::from(client(&tls.certificate.value)?).connect(name, socket).await?, request).await
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> anyhow::Result<String> {
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The record's id, out of the whole answer.
fn id(answer: &str) -> anyhow::Result<String> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    match head.split(' ').nth(1) {
        Some("200") => Ok(serde_json::from_str::<Recorded>(body).context("the answer is not the instance's")?.id),
        Some(status) => bail!("it answers {status}: {}", body.lines().next().unwrap_or_default().escape_debug()),
        None => bail!("the answer is not HTTP; does the port belong to a sallyport?"),
    }
}

/// Speaks TLS with whoever has the certificate that the configuration names, whatever names that has.
fn client(certificate: &str) -> anyhow::Result<Arc<ClientConfig>> {
    let shown = || format!("`{certificate}`");
    let certificate = CertificateDer::from_pem_file(certificate).with_context(shown)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let pinned = Arc::new(Pinned { certificate, provider });
    Ok(Arc::new(config.dangerous().with_custom_certificate_verifier(pinned).with_no_client_auth()))
}

/// One certificate, known beforehand: whoever proves to have its key is the instance.
#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.certificate {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_by_table() {
        for (answer, want) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"id\":\"7\"}\n", Ok("7")),
            ("HTTP/1.1 200 OK\r\n\r\n<html>", Err("the answer is not the instance's")),
            ("HTTP/1.1 401 Unauthorized\r\n\r\nno\u{7}\nmore", Err("it answers 401: no\\u{7}")),
            ("HTTP/1.1 503 x\r\n\r\n", Err("it answers 503: ")),
            ("", Err("the answer is not HTTP")),
            ("SSH-2.0-x", Err("the answer is not HTTP")),
        ] {
            let got = id(answer).map_err(|error| error.to_string());
            match want {
                Ok(want) => assert_eq!(got.as_deref(), Ok(want), "{answer}"),
                Err(want) => assert!(got.as_ref().is_err_and(|got| got.starts_with(want)), "{answer}: {got:?}"),
            }
        }
    }

    #[test]
    fn tokens_stay_within_their_header() {
        for (token, want) in
            [("sallyport_Ab-9_", true), ("", false), ("a b", false), ("a\r\nX: y", false), ("ä", false)]
        {
            assert_eq!(is_token(token), want, "{token:?}");
        }
    }

    #[test]
    fn all_addresses_are_reached_on_loopback() {
        for (address, want) in [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:2", "[::1]:2"), ("192.0.2.1:3", "192.0.2.1:3")] {
            assert_eq!(reachable(address.parse().unwrap()).to_string(), want);
        }
    }
}
