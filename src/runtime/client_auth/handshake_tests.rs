//! Whole handshakes over real sockets, and what is no handshake at all.
//! Not here: every kind of certificate (`certificates`).

#[path = "handshake_tests/certificates.rs"]
mod certificates;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme,
    SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::super::testing::*;
use super::super::under_way::UnderWay;
use super::*;
use crate::config::StaleCrl;

/// Where the client comes from.
const CLIENT: Origin = Origin::Address(IpAddr::V4(Ipv4Addr::LOCALHOST));

/// The listener's own certificate is not what is tried here.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Shows what it has, whatever it is asked for.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn client_config(client: Option<&Client>, version: &'static SupportedProtocolVersion, alpn: &[&str]) -> ClientConfig {
    let crypto = Arc::new(provider::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&crypto)).with_protocol_versions(&[version]).unwrap();
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyServer));
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let key = crypto.key_provider.load_private_key(client.key.clone_key()).unwrap();
            let shown = Arc::new(CertifiedKey::new(client.chain.clone(), key));
            builder.with_client_cert_resolver(Arc::new(Shows(shown)))
        }
    };
    config.alpn_protocols = alpn.iter().map(|id| id.as_bytes().to_vec()).collect();
    config
}

/// Two ends of one connection.
async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

/// What both ends see: the listener's side, and the alert that the client got, if it got one.
async fn meet(
    config: ClientConfig,
    tls: &ListenerTls,
) -> (Result<Shaken<TcpStream>, HandshakeFailure>, Option<AlertDescription>) {
    let (client, server) = sockets().await;
    let connector = TlsConnector::from(Arc::new(config));
    let alert = async {
        let connected = connector.connect(ServerName::try_from(PROXY).unwrap(), client).await;
        let mut said = [0; 1];
        // With TLS 1.3 the client is through before its certificate is looked at.
        let error = match connected {
            Ok(mut stream) => {
                // What it sends at once must not cost it the alert.
                let _ = stream.write_all(b"CONNECT api.acme.example:443 HTTP/1.1\r\n\r\n").await;
                let _ = stream.flush().await;
                stream.read(&mut said).await.err()
            }
            Err(error) => Some(error),
        };
        let error = error?.into_inner()?.downcast::<Error>().ok()?;
        if let Error::AlertReceived(alert) = *error { Some(alert) } else { None }
    };
    let shaken = async {
        let mut shaken = handshake(server, tls, CLIENT, soon()).await;
        if let Ok(shaken) = &mut shaken {
            shaken.stream.shutdown().await.unwrap();
        }
        shaken
    };
    tokio::join!(shaken, alert)
}

#[tokio::test]
async fn protocols_are_agreed_upon() {
    for asks in [true, false] {
        let authority = Authority::new("top");
        let tls = if asks { listener(&authority.pem(), None, StaleCrl::Refuse) } else { anonymous() };
        let client = authority.client(&[], &Terms::default());
        for (alpn, want) in [
            (&["h2", "http/1.1"][..], Ok(true)),
            (&["http/1.1", "h2"], Ok(true)),
            (&["http/1.1"], Ok(false)),
            (&[], Ok(false)),
            (&["ssh/2.0"], Err(HandshakeFailure::NoProtocol)),
        ] {
            for version in [&TLS12, &TLS13] {
                let (shaken, _) = meet(client_config(Some(&client), version, alpn), &tls).await;
                let shown = shaken.as_ref().ok().map(|shaken| shaken.certificate.is_some());
                assert_eq!(shown, want.is_ok().then_some(asks), "{alpn:?}, {version:?}");
                assert_eq!(shaken.map(|shaken| shaken.is_h2), want, "{alpn:?}, {version:?}");
            }
        }
    }
}

/// Whoever resumed a session would not show its certificate again.
#[tokio::test]
async fn nobody_resumes_a_session_who_has_shown_a_certificate() {
    let authority = Authority::new("top");
    let client = authority.client(&[], &Terms::default());
    let (asking, other) = (listener(&authority.pem(), None, StaleCrl::Refuse), anonymous());
    for version in [&TLS12, &TLS13] {
        for (tls, resumes) in [(&asking, HandshakeKind::Full), (&other, HandshakeKind::Resumed)] {
            let config = client_config(Some(&client), version, &[]);
            let mut kinds = Vec::new();
            for _ in 0..2 {
                let (shaken, _) = meet(config.clone(), tls).await;
                kinds.extend(shaken.unwrap().stream.get_ref().1.handshake_kind());
            }
            assert_eq!(kinds, [HandshakeKind::Full, resumes], "{version:?}");
        }
    }
}

/// Writes `bytes`, then closes or waits; gives how the handshake came out, and all that came back.
async fn send(bytes: &[u8], closes: bool, deadline: Instant) -> (Result<(), HandshakeFailure>, Vec<u8>) {
    let tls = anonymous();
    let (mut client, server) = sockets().await;
    let talk = async move {
        client.write_all(bytes).await.unwrap();
        if closes {
            client.shutdown().await.unwrap();
        }
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        answer
    };
    let (shaken, answer) = tokio::join!(handshake(server, &tls, CLIENT, deadline), talk);
    (shaken.map(drop), answer)
}

#[tokio::test]
async fn what_is_no_handshake_has_its_reason_and_its_alert() {
    use HandshakeFailure::{Gone, Malformed, NotTls, Silent, VersionTooLow};
    let alert = |number: u8| vec![21, 3, 3, 0, 2, 2, number];
    let old = [&[22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2][..], &[7; 32], &[0, 0, 2, 0xc0, 0x2f, 1, 0]].concat();
    let later = [0, 13, 0, 4, 0, 2, 4, 3, 0, 43, 0, 3, 2, 3, 2];
    let odd =
        [&[22, 3, 1, 0, 62, 1, 0, 0, 58, 3, 3][..], &[7; 32], &[0, 0, 2, 0xc0, 0x2f, 1, 0, 0, 15], &later].concat();
    for (row, bytes, closes, want, answer) in [
        ("nothing", &b""[..], true, Silent, vec![]),
        ("HTTP", b"CONNECT api.acme.example:443 HTTP/1.1\r\n\r\n", false, NotTls, alert(10)),
        ("SSH", b"SSH-2.0-x\r\n", false, NotTls, alert(10)),
        ("an SSL 2 hello", &[0x80, 46, 1, 0, 2], false, NotTls, alert(10)),
        ("another record first", &[23, 3, 3, 0, 1, 0], false, NotTls, alert(10)),
        ("half a hello", &[22, 3, 1, 0, 200, 1], true, Gone, vec![]),
        ("a record of nothing", &[22, 3, 1, 0, 0], false, Malformed, alert(50)),
        ("no hello", &[22, 3, 1, 0, 4, 14, 0, 0, 0], false, Malformed, alert(50)),
        ("TLS 1.1", &old, false, VersionTooLow, alert(70)),
        ("TLS 1.1 with what came later", &odd, false, VersionTooLow, alert(70)),
    ] {
        let (came, heard) = send(bytes, closes, soon()).await;
        assert_eq!((came, heard), (Err(want), answer), "{row}");
    }
}

#[tokio::test]
async fn a_handshake_ends_at_its_deadline() {
    for bytes in [&b""[..], &[22, 3, 1, 0, 200, 1]] {
        let (came, heard) = send(bytes, false, Instant::now() + Duration::from_millis(50)).await;
        assert_eq!((came, heard), (Err(HandshakeFailure::Late), vec![]), "{bytes:?}");
    }
}

#[tokio::test]
async fn there_is_an_end_to_handshakes_at_a_time() {
    let tls = anonymous();
    let slow: Vec<_> = std::iter::repeat_with(|| tls.handshakes.begin(CLIENT)).map_while(|place| place).collect();
    let config = || client_config(None, &TLS13, &[]);
    assert_eq!(meet(config(), &tls).await.0.map(drop), Err(HandshakeFailure::TooMany));
    let other = tls.handshakes.begin(Origin::User(7));
    assert!(other.is_some(), "others come through");
    drop(slow);
    assert_eq!(meet(config(), &tls).await.0.map(drop), Ok(()));
    drop(other);
    assert_eq!(format!("{:?}", tls.handshakes), format!("{:?}", UnderWay::default()), "each gives its place back");
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_listener_has_gone() {
    let authority = Authority::new("top");
    for version in [&TLS12, &TLS13] {
        let mut config = client_config(None, version, &[]);
        let roots = rustls::RootCertStore {
            roots: vec![webpki::anchor_from_trusted_cert(&authority.der()).unwrap().to_owned()],
        };
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(
            roots.into(),
            Arc::new(provider::default_provider()),
        );
        config.dangerous().set_certificate_verifier(verifier.build().unwrap());
        let (shaken, _) = meet(config, &anonymous()).await;
        assert_eq!(shaken.map(drop), Err(HandshakeFailure::Gone), "{version:?}");
    }
}

#[test]
fn each_failure_has_its_reason() {
    use HandshakeFailure::*;
    for (failure, want) in [
        (Silent, None),
        (Gone, Some(Reason::ClientGone)),
        (Late, Some(Reason::HeadTimeout)),
        (TooMany, Some(Reason::Overloaded)),
        (NotTls, Some(Reason::NotTls)),
        (VersionTooLow, Some(Reason::TlsVersionTooLow)),
        (NoProtocol, Some(Reason::AlpnNotAllowed)),
        (NoCertificate, Some(Reason::IdentityRequired)),
        (Malformed, Some(Reason::HelloMalformed)),
        (Certificate(CertificateFault::Revoked), Some(Reason::ClientCertificateRevoked)),
        (Certificate(CertificateFault::Expired), Some(Reason::ClientCertificateInvalid)),
    ] {
        assert_eq!(failure.denial().map(|denial| denial.reason()), want, "{failure}");
    }
}
