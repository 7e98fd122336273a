//! Whole handshakes of a live TLS library on both sides of an `Exchange`, joined in memory.
//! Not here: captured and made-up bytes (`exchange_tests`).
//! Source: rustls as client, server and, with its `Acceptor`, as a second opinion on each ClientHello.

use super::{ClientHello, ClientStep, Exchange, HelloReader, Progress, ProtocolVersion, ServerHello, ServerStep};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{SupportedKxGroup, aws_lc_rs as provider};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, ServerConnection, SignatureScheme};
use std::io::{Cursor, Read, Write};
use std::sync::Arc;

const NAME: &str = "api.acme.example";
const EARLY: &[u8] = b"early data";

#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn crypto(groups: &[&'static dyn SupportedKxGroup]) -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::CryptoProvider { kx_groups: groups.to_vec(), ..provider::default_provider() })
}

fn client(
    groups: &[&'static dyn SupportedKxGroup],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(crypto(groups)).with_protocol_versions(versions).unwrap();
    let verifier = Arc::new(AnyCertificate);
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.enable_early_data = true;
    config
}

fn server(groups: &[&'static dyn SupportedKxGroup]) -> ServerConfig {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let builder = ServerConfig::builder_with_provider(crypto(groups)).with_protocol_versions(rustls::ALL_VERSIONS);
    let mut config = builder.unwrap().with_no_client_auth().with_single_cert(vec![made.cert.into()], key).unwrap();
    config.max_early_data_size = 4096;
    config
}

/// Both ends, and what the exchange between them showed.
struct Wire {
    client: ClientConnection,
    server: ServerConnection,
    step: usize,
    retry: Option<ServerHello>,
    second: Option<ClientHello>,
}

struct Seen {
    first: ClientHello,
    retry: Option<ServerHello>,
    second: Option<ClientHello>,
    chosen: ServerHello,
    early: Vec<u8>,
}

/// A handshake in pushes of `step` bytes, until both ends have finished it.
fn handshake(client: &ClientConfig, server: &ServerConfig, step: usize) -> Seen {
    let client = ClientConnection::new(Arc::new(client.clone()), NAME.try_into().unwrap()).unwrap();
    let server = ServerConnection::new(Arc::new(server.clone())).unwrap();
    let mut wire = Wire { client, server, step, retry: None, second: None };
    if let Some(mut early) = wire.client.early_data() {
        early.write_all(EARLY).unwrap();
    }
    let (first, mut exchange, behind) = wire.first_hello();
    wire.client_turn(&mut exchange, &behind);
    let chosen = loop {
        if let Some(chosen) = wire.server_turn(&mut exchange) {
            break chosen;
        }
        let bytes = wire.client_bytes();
        wire.client_turn(&mut exchange, &bytes);
    };
    while wire.client.is_handshaking() || wire.server.is_handshaking() {
        let bytes = wire.client_bytes();
        wire.give_server(&bytes);
        let bytes = wire.server_bytes();
        wire.give_client(&bytes);
    }
    let mut early = Vec::new();
    if let Some(mut data) = wire.server.early_data() {
        data.read_to_end(&mut early).unwrap();
    }
    Seen { first, retry: wire.retry, second: wire.second, chosen, early }
}

impl Wire {
    fn client_bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    fn server_bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.server.wants_write() {
            self.server.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    fn give_client(&mut self, bytes: &[u8]) {
        let mut bytes = Cursor::new(bytes);
        while self.client.read_tls(&mut bytes).unwrap() > 0 {
            self.client.process_new_packets().unwrap();
        }
    }

    fn give_server(&mut self, bytes: &[u8]) {
        let mut bytes = Cursor::new(bytes);
        while self.server.read_tls(&mut bytes).unwrap() > 0 {
            self.server.process_new_packets().unwrap();
        }
    }

    /// The first hello, on its way to the server, and what the client sent behind it.
    fn first_hello(&mut self) -> (ClientHello, Exchange, Vec<u8>) {
        let bytes = self.client_bytes();
        let mut reader = HelloReader::new();
        let mut pushed = 0;
        for chunk in bytes.chunks(self.step) {
            pushed += chunk.len();
            if let Progress::Complete(hello) = reader.push(chunk).unwrap() {
                second_opinion(&hello, reader.bytes());
                self.give_server(reader.bytes());
                let exchange = Exchange::new(&hello);
                return (hello, exchange, [reader.trailing(), &bytes[pushed..]].concat());
            }
        }
        panic!("no hello in {bytes:?}")
    }

    fn client_turn(&mut self, exchange: &mut Exchange, bytes: &[u8]) {
        for chunk in bytes.chunks(self.step) {
            match exchange.client(chunk).unwrap() {
                ClientStep::Forward(passed) => self.give_server(&passed),
                ClientStep::Hello { hello, held } => {
                    self.second = Some(hello);
                    self.give_server(&held.release());
                }
            }
        }
    }

    /// With `Some` the exchange is over, and all that the server sent is with the client.
    fn server_turn(&mut self, exchange: &mut Exchange) -> Option<ServerHello> {
        let bytes = self.server_bytes();
        let mut pushed = 0;
        for chunk in bytes.chunks(self.step) {
            pushed += chunk.len();
            match exchange.server(chunk).unwrap() {
                ServerStep::Hold => {}
                ServerStep::Retry { hello, held } => {
                    self.retry = Some(hello);
                    self.give_client(&held.release());
                }
                ServerStep::Hello { hello, to_client, to_server } => {
                    self.give_server(&to_server.release());
                    self.give_client(&to_client.release());
                    self.give_client(&bytes[pushed..]);
                    return Some(hello);
                }
                ServerStep::Alert(alert) => panic!("alert {alert:?}"),
            }
        }
        assert!(!bytes.is_empty(), "both ends wait");
        None
    }
}

/// What rustls reads in the same bytes.
fn second_opinion(hello: &ClientHello, bytes: &[u8]) {
    let mut acceptor = rustls::server::Acceptor::default();
    acceptor.read_tls(&mut Cursor::new(bytes)).unwrap();
    let accepted = acceptor.accept().map_err(|_| "refused").unwrap().unwrap();
    let theirs = accepted.client_hello();
    let ours = hello.server_name.as_ref().and_then(|name| name.name()).map(|name| name.as_str());
    assert_eq!(ours, theirs.server_name());
    let ids: Vec<&[u8]> = hello.alpn.iter().map(AsRef::as_ref).collect();
    assert_eq!(ids, theirs.alpn().into_iter().flatten().collect::<Vec<_>>());
}

#[test]
fn of_both_versions_and_with_a_retry() {
    let (x25519, p384, hybrid) =
        (provider::kx_group::X25519, provider::kx_group::SECP384R1, provider::kx_group::X25519MLKEM768);
    let (all, old) = (rustls::ALL_VERSIONS, &[&rustls::version::TLS12][..]);
    for step in [1, 50, 100_000] {
        // Made anew for each step: a client remembers which group a server wanted.
        let rows = [
            ("1.3", client(&[x25519], all), server(&[x25519]), ProtocolVersion::Tls13, false),
            ("1.3, post-quantum", client(&[hybrid], all), server(&[hybrid]), ProtocolVersion::Tls13, false),
            ("1.3, retry", client(&[x25519, p384], all), server(&[p384]), ProtocolVersion::Tls13, true),
            ("1.2", client(&[x25519], old), server(&[x25519]), ProtocolVersion::Tls12, false),
        ];
        for (row, client, server, version, retried) in rows {
            let seen = handshake(&client, &server, step);
            assert_eq!((seen.first.max_version, seen.chosen.version), (version, version), "{row}");
            assert!(seen.chosen.cipher.is_strong() && !seen.chosen.retry, "{row}");
            assert_eq!((seen.retry.is_some(), seen.second.is_some()), (retried, retried), "{row}");
            assert!(seen.second.is_none_or(|second| seen.first.check_second(&second) == Ok(())), "{row}");
        }
    }
}

#[test]
fn with_early_data_accepted_and_with_early_data_before_a_retry() {
    let (x25519, p384) = (provider::kx_group::X25519, provider::kx_group::SECP384R1);
    for step in [1, 50, 100_000] {
        let (client, server) = (client(&[x25519, p384], rustls::ALL_VERSIONS), server(&[x25519]));
        assert!(!handshake(&client, &server, step).first.early_data, "nothing to resume");
        let resumed = handshake(&client, &server, step);
        assert!(resumed.first.early_data);
        assert_eq!(resumed.early, EARLY, "{step} bytes at a time");
        handshake(&client, &server, step);
        let mut retrying = self::server(&[p384]);
        retrying.session_storage = server.session_storage.clone();
        let retried = handshake(&client, &retrying, step);
        assert!(retried.first.early_data && retried.retry.is_some());
        let second = retried.second.unwrap();
        assert_eq!((second.early_data, retried.first.check_second(&second)), (false, Ok(())));
        assert_eq!(retried.early, b"");
    }
}
