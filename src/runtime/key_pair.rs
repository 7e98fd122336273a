//! A certificate with its key, read from their two files: what this proxy shows of itself, on the admin port and to clients.
//! Not here: certificates of clients (`client_auth`). Messages are our own: those of the libraries may repeat what a key's file holds.
//! Source: RFC 8446, RFC 7468 (PEM), RFC 5280 (certificates).

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ResolvesServerCert;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ConfigBuilder, ServerConfig, WantsVerifier, crypto};

use crate::runtime::load::Reading;
use crate::yaml::Located;

/// Mode bits for everybody; the group may be let in (keys from a volume of an orchestrator come so).
const EVERYBODY: u32 = 0o007;

/// A certificate, those between it and its authority, and its key.
pub struct KeyPair {
    shown: Arc<dyn ResolvesServerCert>,
    builder: ConfigBuilder<ServerConfig, WantsVerifier>,
    /// When the certificate ends; that of whoever signed it does not count.
    pub expires: Timestamp,
}

impl KeyPair {
    /// Reads both files. `None`: `reading` says why.
    pub(in crate::runtime) fn read(
        certificate: &Located<String>,
        key: &Located<String>,
        reading: &mut Reading,
    ) -> Option<Self> {
        let read = private_key(key, reading);
        reading.named = Some(certificate.place);
        let path = Path::new(&certificate.value);
        let (bytes, _) = reading.bytes(path)?;
        let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let chain = chain.unwrap_or_default();
        let Some(expires) = chain.first().and_then(expiry) else {
            reading.wrong(path, "not a certificate in PEM; write one that begins `-----BEGIN CERTIFICATE-----`");
            return None;
        };
        let pair = Self::new(chain, read?, expires);
        if let Err(error) = &pair {
            let key = &key.value;
            let message = format!("it cannot be used with the key `{key}`: {error}; write two that belong together");
            reading.wrong(path, &message);
        }
        pair.ok()
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        expires: Timestamp,
    ) -> Result<Self, rustls::Error> {
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let shown = Arc::new(SingleCertAndKey::from(CertifiedKey::from_der(chain, key, &provider)?));
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(Self { shown, builder, expires })
    }

    /// A server that shows it: TLS 1.2 and 1.3 with the library's own choice of suites, all of them ECDHE and AEAD.
    pub fn server(self, clients: Arc<dyn ClientCertVerifier>, alpn: &[&[u8]]) -> ServerConfig {
        let mut config = self.builder.with_client_cert_verifier(clients).with_cert_resolver(self.shown);
        config.alpn_protocols = alpn.iter().map(|id| id.to_vec()).collect();
        config
    }
}

fn private_key(file: &Located<String>, reading: &mut Reading) -> Option<PrivateKeyDer<'static>> {
    reading.named = Some(file.place);
    let path = Path::new(&file.value);
    let (bytes, mode) = reading.bytes(path)?;
    if mode & EVERYBODY != 0 {
        reading.wrong(path, "everybody may read or write the key; take that away with `chmod o=`");
    }
    let key = PrivateKeyDer::from_pem_slice(&bytes).ok();
    if key.is_none() {
        reading.wrong(path, "not a private key in PEM; write one that begins `-----BEGIN PRIVATE KEY-----`");
    }
    key
}

/// The last second of a certificate (RFC 5280 section 4.1.2.5). `None`: it is none.
fn expiry(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}
