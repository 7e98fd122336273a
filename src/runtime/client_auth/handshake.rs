//! A TLS handshake with a client: the stream and who it is, or why there is none, and the alert that says so to the client.
//! Not here: whether a certificate is good (`verifier`), records (`facts`).
//! Source: RFC 8446 sections 4 and 6; the contract: a handshake that fails is a record too.

use std::io;
use std::time::Duration;

use rustls::server::{Accepted, Acceptor};
use rustls::{Error, PeerIncompatible};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;

use super::fault::CertificateFault;
use super::listener_tls::{ClientCertificate, ListenerTls};
use crate::policy::{Denial, Origin, Reason};
use crate::runtime::clock;
use crate::tls;

/// Size in bytes of what a hello is read through; most come whole.
const HELLO_BUFFER: usize = 4096;

/// How long a client may take to read the alert and close, and so how long a refused one keeps its socket.
const LINGER_DEADLINE: Duration = Duration::from_secs(1);

/// Upper bound in bytes of what is read and thrown away meanwhile, so that closing does not reset the connection under the alert.
const MAX_LINGER_BYTES: usize = 64 * 1024;

/// The first byte of each TLS handshake: the content type of its record (RFC 8446 section 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// A client behind its handshake.
pub struct Shaken<S> {
    /// What is said from now on.
    pub stream: TlsStream<S>,
    /// What it has shown; `None`: the listener asks for none.
    pub certificate: Option<ClientCertificate>,
    /// Whether it speaks HTTP/2; else HTTP/1.1.
    pub is_h2: bool,
}

/// Why there was no handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeFailure {
    /// The client closed without a byte: counted, not recorded.
    #[error("closed without a byte")]
    Silent,
    /// The client closed in the middle, or sent an alert: it may not trust the listener's certificate.
    #[error("the client went away")]
    Gone,
    /// It took too long.
    #[error("not whole in time")]
    Late,
    /// So many others were under way.
    #[error("too many at a time")]
    TooMany,
    /// What came first was no TLS.
    #[error("not TLS")]
    NotTls,
    /// The client's best version is below TLS 1.2.
    #[error("no common version")]
    VersionTooLow,
    /// It offers protocols, but neither `h2` nor `http/1.1`.
    #[error("no common application protocol")]
    NoProtocol,
    /// It shows no certificate where one is required.
    #[error("no certificate")]
    NoCertificate,
    /// Its certificate is not good.
    #[error("certificate {0}")]
    Certificate(CertificateFault),
    /// Anything else.
    #[error("malformed")]
    Malformed,
}

impl HandshakeFailure {
    /// The refusal that is recorded; `None`: there is no record.
    pub fn denial(self) -> Option<Denial> {
        let reason = match self {
            Self::Silent => return None,
            Self::Gone => Reason::ClientGone,
            Self::Late => Reason::HeadTimeout,
            Self::TooMany => Reason::Overloaded,
            Self::NotTls => Reason::NotTls,
            Self::VersionTooLow => Reason::TlsVersionTooLow,
            Self::NoProtocol => Reason::AlpnNotAllowed,
            Self::NoCertificate => Reason::IdentityRequired,
            Self::Certificate(fault) => fault.reason(),
            Self::Malformed => Reason::HelloMalformed,
        };
        Some(Denial::new(reason))
    }

    /// What is wrong with the client's certificate, if that was it: `detail.certificate` of the record.
    pub fn certificate(self) -> Option<CertificateFault> {
        match self {
            Self::Certificate(fault) => Some(fault),
            Self::Silent
            | Self::Gone
            | Self::Late
            | Self::TooMany
            | Self::NotTls
            | Self::VersionTooLow
            | Self::NoProtocol
            | Self::NoCertificate
            | Self::Malformed => None,
        }
    }

    fn of(error: &Error) -> Self {
        use PeerIncompatible::{
            SignatureAlgorithmsExtensionRequired, SupportedVersionsExtensionRequired, Tls12NotOffered,
            Tls12NotOfferedOrEnabled,
        };
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the library's list is open; what is not known is malformed"
        )]
        match error {
            Error::InvalidCertificate(error) => Self::Certificate(error.into()),
            Error::NoCertificatesPresented => Self::NoCertificate,
            // Clients of TLS 1.0 and 1.1 name no signature algorithms, which is what the library notices first.
            Error::PeerIncompatible(
                SignatureAlgorithmsExtensionRequired
                | SupportedVersionsExtensionRequired
                | Tls12NotOffered
                | Tls12NotOfferedOrEnabled,
            ) => Self::VersionTooLow,
            Error::NoApplicationProtocol => Self::NoProtocol,
            Error::AlertReceived(_) => Self::Gone,
            _ => Self::Malformed,
        }
    }
}

/// Shakes hands with a client that comes from `origin`, from its first byte on. Whoever is refused gets its alert before the socket is closed.
///
/// # Errors
/// See [`HandshakeFailure`]; the socket is gone then.
pub async fn handshake<S>(
    socket: S,
    tls: &ListenerTls,
    origin: Origin,
    deadline: Instant,
) -> Result<Shaken<S>, HandshakeFailure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let shaken = {
        let _place = tls.handshakes.begin(origin).ok_or(HandshakeFailure::TooMany)?;
        timeout_at(deadline, shake(socket, tls)).await.map_err(|_| HandshakeFailure::Late)?
    };
    match shaken {
        Ok(shaken) => Ok(shaken),
        Err((failure, socket)) => {
            // A client that does not read its alert has forgone it.
            let _ = timeout(LINGER_DEADLINE, linger(socket)).await;
            Err(failure)
        }
    }
}

async fn shake<S>(mut socket: S, tls: &ListenerTls) -> Result<Shaken<S>, (HandshakeFailure, S)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let accepted = match hear(&mut socket).await {
        Ok(accepted) => accepted,
        Err(failure) => return Err((failure, socket)),
    };
    let accept = StartHandshake::from_parts(accepted, socket).into_stream(tls.server_config()).into_fallible();
    let stream = accept.await.map_err(|(error, socket)| {
        let failure = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        (failure.map_or(HandshakeFailure::Gone, HandshakeFailure::of), socket)
    })?;
    let (_, session) = stream.get_ref();
    let certificate = tls.certificate(session.peer_certificates().unwrap_or_default(), clock::now());
    let is_h2 = session.alpn_protocol() == Some(b"h2");
    Ok(Shaken { stream, certificate, is_h2 })
}

/// The whole ClientHello; the library bounds it to 64 KiB.
async fn hear<S>(socket: &mut S) -> Result<Accepted, HandshakeFailure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut acceptor = Acceptor::default();
    let mut buffer = vec![0_u8; HELLO_BUFFER].into_boxed_slice();
    let mut is_first = true;
    loop {
        let gone = if is_first { HandshakeFailure::Silent } else { HandshakeFailure::Gone };
        let count = socket.read(&mut buffer).await.map_err(|_| gone)?;
        let mut bytes = buffer.get(..count).unwrap_or_default();
        let first = *bytes.first().ok_or(gone)?;
        if is_first && first != HANDSHAKE_RECORD {
            return Err(refuse(socket, HandshakeFailure::NotTls).await);
        }
        is_first = false;
        while !bytes.is_empty() {
            match acceptor.read_tls(&mut bytes) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Err(HandshakeFailure::Malformed),
            }
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) => {}
            Err((error, _)) => return Err(refuse(socket, HandshakeFailure::of(&error)).await),
        }
    }
}

/// The alert of its reason; the library has none for some. A client that can't be written to has gone, which changes nothing.
async fn refuse<S: AsyncWrite + Unpin>(socket: &mut S, failure: HandshakeFailure) -> HandshakeFailure {
    if let Some(denial) = failure.denial() {
        let _ = socket.write_all(&tls::alert(denial.reason().facts().alert)).await;
    }
    failure
}

/// Waits until the client has closed too: what it sent unread would reset the connection, and the alert with it.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut socket: S) -> io::Result<()> {
    socket.shutdown().await?;
    let mut buffer = vec![0_u8; HELLO_BUFFER].into_boxed_slice();
    let mut left = MAX_LINGER_BYTES;
    while left > 0 {
        match socket.read(&mut buffer).await? {
            0 => break,
            count => left = left.saturating_sub(count),
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
