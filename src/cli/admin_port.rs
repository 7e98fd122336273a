//! Calls of a running instance's admin port, as commands make them: over TLS with the certificate that the configuration names.
//! Not here: the other end (`runtime::admin`), what is asked. Source: RFC 9112; RFC 6750 section 2.1.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::AdminTls;

/// Sends `request` and gives the whole answer, of which at most so many bytes are read. The caller bounds the time.
///
/// # Errors
/// The port can't be reached, or shows another certificate than the configuration names.
pub(super) async fn call(
    address: SocketAddr,
    tls: Option<&AdminTls>,
    (request, most): (&str, u64),
) -> anyhow::Result<String> {
    let socket = TcpStream::connect(address).await?;
    let Some(tls) = tls else { return exchange(socket, request, most).await };
    let name = ServerName::from(address.ip());
    exchange(TlsConnector::from(client(&tls.certificate.value)?).connect(name, socket).await?, request, most).await
}

/// What an answer says, if it is a `200`.
///
/// # Errors
/// It is another one, or no HTTP.
pub(super) fn body(answer: &str) -> anyhow::Result<&str> {
    match status(answer)? {
        (200, body) => Ok(body),
        (status, body) => bail!("it answers {status}: {}", body.lines().next().unwrap_or_default().escape_debug()),
    }
}

/// An answer's status, and what it says.
///
/// # Errors
/// It is no HTTP.
pub(super) fn status(answer: &str) -> anyhow::Result<(u16, &str)> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.context("the answer is not HTTP; does the port belong to a sallyport?")?, body))
}

/// The header field that shows the token in a file, which it fills alone; without a file none.
///
/// # Errors
/// The file can't be read, or holds something else.
pub(super) fn bearer(file: Option<&Path>) -> anyhow::Result<String> {
    let Some(path) = file else { return Ok(String::new()) };
    let text = std::fs::read_to_string(path).with_context(|| format!("`{}`", path.display()))?;
    let token = text.trim_end();
    if !is_token(token) {
        bail!("`{}` holds other characters than tokens have; write the token alone, on one line", path.display());
    }
    Ok(format!("Authorization: Bearer {token}\r\n"))
}

/// RFC 6750, section 2.1; so nothing in it ends the header.
pub(super) fn is_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte))
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str, most: u64) -> anyhow::Result<String> {
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(most).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
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
    fn answers_have_a_status() {
        assert_eq!(status("HTTP/1.1 409 Conflict\r\na: b\r\n\r\n{}").unwrap(), (409, "{}"));
        for answer in ["", "SSH-2.0-x\r\n", "HTTP/1.1 x\r\n\r\n"] {
            assert!(status(answer).is_err(), "{answer:?}");
        }
    }

    #[test]
    fn a_token_stands_alone_in_its_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, want) in [("ab.c\n", Some("Authorization: Bearer ab.c\r\n")), ("a\r\nX: y", None), ("", None)] {
            std::fs::write(file.path(), text).unwrap();
            assert_eq!(bearer(Some(file.path())).ok().as_deref(), want, "{text:?}");
        }
        assert_eq!(bearer(None).unwrap(), "");
    }

    #[test]
    fn tokens_stay_within_their_header() {
        for (token, want) in
            [("sallyport_Ab-9_", true), ("", false), ("a b", false), ("a\r\nX: y", false), ("ä", false)]
        {
            assert_eq!(is_token(token), want, "{token:?}");
        }
    }
}
