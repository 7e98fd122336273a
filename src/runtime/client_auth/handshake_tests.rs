//! Whole handshakes over real sockets: every kind of certificate, with TLS 1.2 and 1.3, and what is no handshake at all.

use std::fmt::Debug;
use std::time::Duration;

use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa};
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig, DigitallySignedStruct, Error, SignatureScheme, SupportedProtocolVersion};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::super::testing::*;
use super::*;
use crate::config::StaleCrl;

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
        let mut shaken = handshake(server, tls, soon()).await;
        if let Ok(shaken) = &mut shaken {
            shaken.stream.shutdown().await.unwrap();
        }
        shaken
    };
    tokio::join!(shaken, alert)
}

fn told(shaken: &Result<Shaken<TcpStream>, HandshakeFailure>) -> String {
    match shaken {
        Ok(shaken) => {
            let identities = shaken.certificate.as_ref().map(|shown| shown.identities().to_vec()).unwrap_or_default();
            identities.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
        Err(failure) => {
            let reason = failure.denial().map(|denial| denial.reason().as_str());
            let fault = failure.certificate().map(CertificateFault::as_str);
            [reason, fault].into_iter().flatten().collect::<Vec<_>>().join(" ")
        }
    }
}

const ID: &str = "spiffe://voice.example/ivr/east";

#[tokio::test]
async fn every_kind_of_certificate_by_table() {
    use AlertDescription::*;
    let top = Authority::new("top");
    let east = top.below("east", 20);
    let withdrawn = top.below("withdrawn", 21);
    let (other, namesake) = (Authority::new("other"), Authority::new("top"));
    let deep = (30..34).fold(Authority::new("deep"), |above, serial| above.below(&format!("level {serial}"), serial));
    let narrow = top.below_with({
        let mut params = Authority::params("narrow", TODAY);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params
    });
    let listed = [&top, &east, &withdrawn, &narrow];
    let authorities: String = listed.iter().map(|one| one.pem()).collect();
    let lists = [
        top.list_pem(&[13, 21], DAY),
        east.list_pem(&[14], DAY),
        withdrawn.list_pem(&[], DAY),
        narrow.list_pem(&[], DAY),
    ];
    let tls = listener(&authorities, Some(&lists.concat()), StaleCrl::Refuse);
    let good = Terms::default;
    let terms = |serial| Terms { serial, ..Terms::default() };
    let span = |span| Terms { span, ..Terms::default() };
    let purposes = |purposes| Terms { purposes, ..Terms::default() };
    let strangers_key = |mut client: Client| {
        client.key = other.client(&[], &Terms::default()).key;
        client
    };
    let alone = |mut client: Client| {
        client.chain.truncate(1);
        client
    };
    let ivr = "ivr-1.voice.example";
    let rows: Vec<(&str, Option<Client>, &str, Option<AlertDescription>)> = vec![
        ("none", None, "identity_required", Some(CertificateRequired)),
        ("SPIFFE", Some(top.client(&[uri(ID)], &good())), ID, None),
        ("DNS", Some(top.client(&[dns(ivr)], &good())), ivr, None),
        (
            "two DNS names",
            Some(top.client(&[dns("A.voice.example"), dns("b.voice.example")], &good())),
            "a.voice.example b.voice.example",
            None,
        ),
        ("a wildcard", Some(top.client(&[dns("*.voice.example"), dns(ivr)], &good())), ivr, None),
        ("a CN alone", Some(top.client(&[], &good())), "", None),
        ("two URIs", Some(top.client(&[uri(ID), uri("spiffe://voice.example/b")], &good())), "", None),
        ("two URIs and a name", Some(top.client(&[uri(ID), uri("https://b.example"), dns(ivr)], &good())), "", None),
        ("a SPIFFE ID and a name", Some(top.client(&[uri(ID), dns(ivr)], &good())), ID, None),
        ("another URI and a name", Some(top.client(&[uri("https://b.example/"), dns(ivr)], &good())), ivr, None),
        ("any purpose", Some(top.client(&[uri(ID)], &purposes(vec![]))), ID, None),
        ("of an authority between", Some(east.client(&[uri(ID)], &good())), ID, None),
        ("of one between that it does not show", Some(alone(east.client(&[uri(ID)], &good()))), ID, None),
        (
            "ended",
            Some(top.client(&[uri(ID)], &span((-2 * DAY, -1)))),
            "client_certificate_invalid expired",
            Some(CertificateExpired),
        ),
        (
            "not begun",
            Some(top.client(&[uri(ID)], &span((DAY, 2 * DAY)))),
            "client_certificate_invalid not_yet_valid",
            Some(CertificateExpired),
        ),
        (
            "another authority",
            Some(other.client(&[uri(ID)], &good())),
            "client_certificate_invalid unknown_issuer",
            Some(UnknownCA),
        ),
        (
            "another authority of the name",
            Some(namesake.client(&[uri(ID)], &good())),
            "client_certificate_invalid bad_signature",
            Some(DecryptError),
        ),
        (
            "signed by itself",
            Some(Client::self_signed(&[uri(ID)])),
            "client_certificate_invalid unknown_issuer",
            Some(UnknownCA),
        ),
        (
            "revoked",
            Some(top.client(&[uri(ID)], &terms(13))),
            "client_certificate_revoked revoked",
            Some(CertificateRevoked),
        ),
        (
            "revoked below",
            Some(east.client(&[uri(ID)], &terms(14))),
            "client_certificate_revoked revoked",
            Some(CertificateRevoked),
        ),
        ("the number of another authority's", Some(east.client(&[uri(ID)], &terms(13))), ID, None),
        (
            "of a revoked authority",
            Some(withdrawn.client(&[uri(ID)], &good())),
            "client_certificate_revoked revoked",
            Some(CertificateRevoked),
        ),
        (
            "of one without a list",
            Some(top.below("unlisted", 22).client(&[uri(ID)], &good())),
            "client_certificate_invalid revocation_unknown",
            Some(UnknownCA),
        ),
        (
            "for servers",
            Some(top.client(&[uri(ID)], &purposes(vec![ExtendedKeyUsagePurpose::ServerAuth]))),
            "client_certificate_invalid not_for_clients",
            Some(UnsupportedCertificate),
        ),
        (
            "too long",
            Some(deep.below("level 34", 34).client(&[uri(ID)], &good())),
            "client_certificate_invalid chain_too_long",
            Some(CertificateUnknown),
        ),
        (
            "an authority's own",
            Some(top.client(&[uri(ID)], &Terms { is_authority: true, ..good() })),
            "client_certificate_invalid not_permitted",
            Some(CertificateUnknown),
        ),
        (
            "below one that must be the last",
            Some(narrow.below("too deep", 23).client(&[uri(ID)], &good())),
            "client_certificate_invalid not_permitted",
            Some(CertificateUnknown),
        ),
        (
            "without its key",
            Some(strangers_key(top.client(&[uri(ID)], &good()))),
            "client_certificate_invalid bad_signature",
            Some(DecryptError),
        ),
    ];
    for version in [&TLS12, &TLS13] {
        for (row, client, want, alert) in &rows {
            let (shaken, heard) = meet(client_config(client.as_ref(), version, &[]), &tls).await;
            assert_eq!(told(&shaken), *want, "{row}, {version:?}");
            assert_eq!(heard, *alert, "{row}, {version:?}");
        }
    }
}
