//! A listener's TLS, read from its files: what it shows, and how it judges clients' certificates, now and again later.
//! Not here: the handshake (`handshake`), when files are read (`entrance`).
//! Source: the contract: `listeners`; RFC 8446 section 2.2 (resumption leaves certificates out).

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};

use super::authorities::Authorities;
use super::authority_fault::AuthorityFile;
use super::fault::CertificateFault;
use super::identity::identities;
use super::revocation::Lists;
use super::under_way::UnderWay;
use super::verifier::Verifier;
use crate::config::{self, ClientAuth, StaleCrl};
use crate::name::Identity;
use crate::runtime::key_pair::KeyPair;
use crate::runtime::load::Reading;
use crate::yaml::Located;

/// The protocols that clients may speak behind TLS.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// How a sequence begins in DER: what begins so is no PEM.
const DER_SEQUENCE: u8 = 0x30;

/// A listener's TLS, as it is in force.
pub struct ListenerTls {
    server: Arc<ServerConfig>,
    verifier: Option<Arc<Verifier>>,
    expires: Timestamp,
    stale: Option<StaleCrl>,
    pub(super) handshakes: Arc<UnderWay>,
}

/// A client's certificate, which was good in its handshake.
#[derive(Debug)]
pub struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    identities: Arc<[Identity]>,
    /// When it was shown, and so good.
    shown: Timestamp,
    last: Mutex<Look>,
}

/// The last looks at a certificate that found it good.
#[derive(Debug, Default)]
struct Look {
    /// Who looked. Weak: what was replaced must not live as long as its tunnels.
    by: Weak<Verifier>,
    at: Timestamp,
    /// Until when another look by the same would find the same.
    until: Timestamp,
    /// Who looked only whether it is revoked, and found that it is not.
    not_revoked_by: Weak<Verifier>,
}

impl ListenerTls {
    /// Reads the files. `None`: `reading` says why. `handshakes` counts those under way, over reloads.
    pub(in crate::runtime) fn read(
        files: &config::ListenerTls,
        handshakes: &Arc<UnderWay>,
        now: Timestamp,
        reading: &mut Reading,
    ) -> Option<Self> {
        let pair = KeyPair::read(&files.certificate, &files.key, reading);
        let authorities = files.client_auth.as_ref().map(|files| authorities(files, now, reading));
        let verifier = match authorities {
            None => None,
            Some(read) => Some(Arc::new(Verifier::new(read?))),
        };
        let stale = files.client_auth.as_ref().filter(|files| files.crl.is_some()).map(|files| files.stale_crl);
        let pair = pair?;
        let (expires, handshakes) = (pair.expires, Arc::clone(handshakes));
        let server = match &verifier {
            None => pair.server(WebPkiClientVerifier::no_client_auth(), &ALPN),
            Some(verifier) => {
                let mut server = pair.server(verifier.clone(), &ALPN);
                // Whoever resumes a session does not show a certificate again: one that has ended or was revoked since would pass.
                server.session_storage = Arc::new(NoServerSessionStorage {});
                server.send_tls13_tickets = 0;
                server
            }
        };
        Some(Self { server: Arc::new(server), verifier, expires, stale, handshakes })
    }

    /// What handshakes are made with: TLS 1.2 and 1.3, AEAD suites, `h2` and `http/1.1`, no early data, and where clients show
    /// certificates no resumption.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// When the listener's own certificate ends.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// When the first of its lists of revoked certificates is past its next update, and what follows then; `None`: it has none.
    pub fn next_update(&self) -> Option<(Timestamp, StaleCrl)> {
        self.verifier.as_ref().and_then(|verifier| verifier.authorities().next_update()).zip(self.stale)
    }

    /// The certificate that a client has shown at `now` in a handshake with this. `None`: none was asked for.
    pub(in crate::runtime) fn certificate(
        &self,
        chain: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Option<ClientCertificate> {
        self.verifier.as_ref()?;
        let chain: Vec<_> = chain.iter().map(|der| der.clone().into_owned()).collect();
        let identities = chain.first().map(|own| identities(own)).unwrap_or_default();
        Some(ClientCertificate { chain, identities, shown: now, last: Mutex::default() })
    }

    /// Whether a client that has shown this certificate, maybe before a reload, would be let in with it at `now`. Costs next to nothing
    /// as long as nothing was read again and nothing has ended since the last look.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn still_holds(&self, certificate: &ClientCertificate, now: Timestamp) -> Result<(), CertificateFault> {
        let Some(verifier) = &self.verifier else { return Ok(()) };
        let mut last = certificate.last.lock().unwrap_or_else(PoisonError::into_inner);
        if is_by(&last.by, verifier) && (last.at..last.until).contains(&now) {
            return Ok(());
        }
        let until = verifier.check(&certificate.chain, now)?;
        *last = Look { by: Arc::downgrade(verifier), at: now, until, not_revoked_by: Arc::downgrade(verifier) };
        Ok(())
    }

    /// Whether what this certificate opened must end at `now`: it is revoked, or its authority is none any more. What has merely ended, a
    /// certificate or a list, cuts nothing. Costs next to nothing as long as nothing was read again.
    pub fn has_revoked(&self, certificate: &ClientCertificate, now: Timestamp) -> bool {
        let Some(verifier) = &self.verifier else { return false };
        let mut last = certificate.last.lock().unwrap_or_else(PoisonError::into_inner);
        if is_by(&last.not_revoked_by, verifier) {
            return false;
        }
        let is_revoked = verifier.has_revoked(&certificate.chain, certificate.shown, now);
        if !is_revoked {
            last.not_revoked_by = Arc::downgrade(verifier);
        }
        is_revoked
    }
}

impl ClientCertificate {
    /// What it proves; may be nothing.
    pub fn identities(&self) -> &Arc<[Identity]> {
        &self.identities
    }

    /// As it was shown, the client's own first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }
}

fn is_by(last: &Weak<Verifier>, verifier: &Arc<Verifier>) -> bool {
    std::ptr::eq(last.as_ptr(), Arc::as_ptr(verifier))
}

fn authorities(files: &ClientAuth, now: Timestamp, reading: &mut Reading) -> Option<Authorities> {
    let certificates = sections(&files.ca, reading, |bytes| {
        CertificateDer::pem_slice_iter(bytes).collect::<Result<Vec<_>, _>>().unwrap_or_default()
    });
    let lists = files.crl.as_ref().map(|file| sections(file, reading, lists));
    let (certificates, lists) = match lists {
        None => (certificates?, None),
        Some(lists) => (certificates?, Some(Lists { lists: lists?, stale: files.stale_crl })),
    };
    let faults = match Authorities::new(&certificates, lists.as_ref(), now) {
        Ok(authorities) => return Some(authorities),
        Err(faults) => faults,
    };
    for fault in faults {
        let file = match fault.file() {
            AuthorityFile::Authorities => &files.ca,
            AuthorityFile::Lists => files.crl.as_ref().unwrap_or(&files.ca),
        };
        reading.named = Some(file.place);
        reading.wrong(Path::new(&file.value), &fault.to_string());
    }
    None
}

fn sections<T>(file: &Located<String>, reading: &mut Reading, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
    reading.named = Some(file.place);
    let (bytes, _) = reading.bytes(Path::new(&file.value))?;
    Some(read(&bytes))
}

/// In PEM, or one as authorities publish it: in DER.
fn lists(bytes: &[u8]) -> Vec<CertificateRevocationListDer<'static>> {
    if bytes.first() == Some(&DER_SEQUENCE) {
        return vec![CertificateRevocationListDer::from(bytes.to_vec())];
    }
    CertificateRevocationListDer::pem_slice_iter(bytes).collect::<Result<Vec<_>, _>>().unwrap_or_default()
}

#[cfg(test)]
#[path = "listener_tls_tests.rs"]
mod tests;
