//! Authorities, certificates and lists made on the spot, and a listener's files of them.
//! Not here: the tests (`*_tests`).

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use super::listener_tls::ListenerTls;
use crate::config::{self, ClientAuth, StaleCrl};
use crate::runtime::clock;
use crate::runtime::load::Reading;
use crate::yaml::{Located, Place};

/// Seconds of a day.
pub const DAY: i64 = 86_400;

/// The listener's own name.
pub const PROXY: &str = "proxy.test";

/// When something holds, in seconds from now.
pub type Span = (i64, i64);

/// Now, and for a while.
pub const TODAY: Span = (-DAY, DAY);

/// An authority with its key.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Those between it and the top, which its clients show behind it.
    above: Vec<CertificateDer<'static>>,
}

/// What a client shows, and its key.
pub struct Client {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

/// Everything but the names of a client's certificate.
pub struct Terms {
    pub serial: u64,
    pub span: Span,
    pub purposes: Vec<ExtendedKeyUsagePurpose>,
    pub is_authority: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Self { serial: 7, span: TODAY, purposes: vec![ExtendedKeyUsagePurpose::ClientAuth], is_authority: false }
    }
}

/// A time in seconds from now, counted from 1970.
fn since_1970(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(clock::now().as_second() + seconds).unwrap())
}

fn params(name: &str, (from, until): Span) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(1970, 1, 1) + since_1970(from);
    params.not_after = date_time_ymd(1970, 1, 1) + since_1970(until);
    params
}

fn authority(name: &str, span: Span, serial: u64) -> CertificateParams {
    let mut params = params(name, span);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(SerialNumber::from(serial));
    params
}

pub fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

pub fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

impl Authority {
    /// One that signs itself.
    pub fn new(name: &str) -> Self {
        Self::with(authority(name, TODAY, 1))
    }

    /// One that signs itself, of these terms.
    pub fn with(params: CertificateParams) -> Self {
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, above: Vec::new() }
    }

    /// The terms of an authority, to be changed.
    pub fn params(name: &str, span: Span) -> CertificateParams {
        authority(name, span, 1)
    }

    /// The same, at the top, with its key, of these terms.
    pub fn renewed(&self, params: CertificateParams) -> Self {
        let key = KeyPair::try_from(self.issuer.key().serialize_der()).unwrap();
        Self { issuer: CertifiedIssuer::self_signed(params, key).unwrap(), above: Vec::new() }
    }

    /// One below this one.
    pub fn below(&self, name: &str, serial: u64) -> Self {
        self.below_with(authority(name, TODAY, serial))
    }

    /// One below this one, of these terms.
    pub fn below_with(&self, params: CertificateParams) -> Self {
        let issuer = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.issuer).unwrap();
        let above = std::iter::once(issuer.der().clone()).chain(self.above.iter().cloned()).collect();
        Self { issuer, above }
    }

    /// Its certificate.
    pub fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// Its certificate as text.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate with these names, and the authorities between.
    pub fn client(&self, names: &[SanType], terms: &Terms) -> Client {
        let mut params = params("a client, whose name counts for nothing", terms.span);
        params.subject_alt_names = names.to_vec();
        params.serial_number = Some(SerialNumber::from(terms.serial));
        params.extended_key_usages = terms.purposes.clone();
        if terms.is_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let key = KeyPair::generate().unwrap();
        let own = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let chain = std::iter::once(own).chain(self.above.iter().cloned()).collect();
        Client { chain, key: PrivateKeyDer::Pkcs8(key.serialize_der().into()) }
    }

    /// The list of these serial numbers, with its next update in seconds from now.
    pub fn list_der(&self, revoked: &[u64], next_update: i64) -> CertificateRevocationListDer<'static> {
        self.rcgen_list(revoked, next_update).der().clone()
    }

    /// The same as text.
    pub fn list_pem(&self, revoked: &[u64], next_update: i64) -> String {
        self.rcgen_list(revoked, next_update).pem().unwrap()
    }

    fn rcgen_list(&self, revoked: &[u64], next_update: i64) -> rcgen::CertificateRevocationList {
        let begun = date_time_ymd(1970, 1, 1) + since_1970(-2 * DAY);
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: begun,
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: begun,
            next_update: date_time_ymd(1970, 1, 1) + since_1970(next_update),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap()
    }
}

impl Client {
    /// One that signed its own certificate.
    pub fn self_signed(names: &[SanType]) -> Self {
        let mut params = params("nobody's", TODAY);
        params.subject_alt_names = names.to_vec();
        let key = KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap().der().clone();
        Self { chain: vec![own], key: PrivateKeyDer::Pkcs8(key.serialize_der().into()) }
    }
}

/// Bytes as text, under this label.
pub fn pem(label: &str, bytes: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(bytes))
}

fn located(path: &Path) -> Located<String> {
    Located { value: path.display().to_string(), place: Place { file: 0, line: 1, column: 1 } }
}

/// Writes the listener's own certificate and key, and what its clients are judged by; no lists if there is no text of any.
pub fn files(folder: &Path, authorities: &str, lists: Option<&str>, stale: StaleCrl) -> config::ListenerTls {
    let own = rcgen::generate_simple_self_signed([PROXY.to_owned()]).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        located(&path)
    };
    let key = write("proxy.key", &own.signing_key.serialize_pem());
    let private = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
    fs::set_permissions(&key.value, private).unwrap();
    config::ListenerTls {
        certificate: write("proxy.pem", &own.cert.pem()),
        key,
        client_auth: Some(ClientAuth {
            ca: write("clients.pem", authorities),
            crl: lists.map(|text| write("clients.crl", text)),
            stale_crl: stale,
        }),
    }
}

/// Reads a listener's files, or says what is wrong with them.
pub fn read(files: &config::ListenerTls) -> Result<Arc<ListenerTls>, Vec<String>> {
    let mut reading = Reading::behind("sallyport.yaml".to_owned());
    let tls = ListenerTls::read(files, &Arc::default(), clock::now(), &mut reading);
    match tls.filter(|_| reading.faults.is_empty()) {
        Some(tls) => Ok(Arc::new(tls)),
        None => Err(reading.end().lines().to_vec()),
    }
}

/// A listener that asks clients for nothing.
pub fn anonymous() -> Arc<ListenerTls> {
    let folder = tempfile::tempdir().unwrap();
    read(&config::ListenerTls { client_auth: None, ..files(folder.path(), "", None, StaleCrl::Refuse) }).unwrap()
}

/// A listener for clients of these authorities.
pub fn listener(authorities: &str, lists: Option<&str>, stale: StaleCrl) -> Arc<ListenerTls> {
    let folder = tempfile::tempdir().unwrap();
    read(&files(folder.path(), authorities, lists, stale)).unwrap()
}
