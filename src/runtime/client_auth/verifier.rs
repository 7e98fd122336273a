//! Whether a client's certificate is good now: its chain, its time, its purpose, and that nobody has revoked any of it.
//! Not here: the authorities (`authorities`), what the certificate says who the client is (`identity`).
//! Source: RFC 5280 section 6; attacks F3 to F5 and G5: certificates are required, lists are enforced, the way to an authority is short.

use std::fmt;

use jiff::Timestamp;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use webpki::{
    EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy,
    VerifiedPath,
};

use super::authorities::{Authorities, Validity, unix_time};
use super::fault::CertificateFault;
use crate::config::StaleCrl;

/// Upper bound of certificates that a client shows: its own, three authorities between, and one at the top that it need not show.
/// More are refused before any signature is looked at.
const MAX_CLIENT_CHAIN: usize = 5;

/// What a way to an authority must be beyond what the library looks at.
type PathCheck<'a> = &'a dyn Fn(&VerifiedPath<'_>) -> Result<(), webpki::Error>;

/// Judges clients' certificates by authorities and lists that don't change; a reload makes another one.
pub struct Verifier {
    authorities: Authorities,
    /// The names of all authorities, by which clients choose a certificate.
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// By these authorities.
    pub fn new(authorities: Authorities) -> Self {
        let name = |anchor: &TrustAnchor<'_>| DistinguishedName::in_sequence(&anchor.subject);
        let between = authorities.between.iter().filter_map(|der| webpki::anchor_from_trusted_cert(der).ok());
        let hints = authorities.anchors.iter().map(name).chain(between.map(|anchor| name(&anchor))).collect();
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        Self { authorities, hints, algorithms }
    }

    /// The authorities.
    pub fn authorities(&self) -> &Authorities {
        &self.authorities
    }

    /// Judges a chain, the client's own certificate first. Gives until when it would come out the same.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> Result<Timestamp, CertificateFault> {
        let in_date = |path: &VerifiedPath<'_>| self.anchor_in_date(path, now);
        self.path(chain, now, (self.expiration_policy(), &in_date), |path| self.until(path))?
            .ok_or(CertificateFault::Malformed)
    }

    /// Whether a chain that was good at `then` has been revoked since, or none of these authorities has signed it. What has ended or
    /// begun meanwhile, be it a certificate or a list, says nothing of that.
    pub fn has_revoked(&self, chain: &[CertificateDer<'_>], then: Timestamp, now: Timestamp) -> bool {
        // One between that was renewed since may hold now alone.
        for at in [then, now] {
            match self.path(chain, at, (ExpirationPolicy::Ignore, &|_| Ok(())), |_| ()) {
                Ok(()) => return false,
                Err(fault) if !fault.is_of_time() => return true,
                Err(_) => {}
            }
        }
        false
    }

    /// The way from a chain to an authority, and what `read` finds on it.
    fn path<T>(
        &self,
        chain: &[CertificateDer<'_>],
        at: Timestamp,
        (lists_end, is_good): (ExpirationPolicy, PathCheck<'_>),
        read: impl FnOnce(&VerifiedPath<'_>) -> T,
    ) -> Result<T, CertificateFault> {
        if chain.len() > MAX_CLIENT_CHAIN {
            return Err(CertificateFault::ChainTooLong);
        }
        let (own, shown) = chain.split_first().ok_or(CertificateFault::Malformed)?;
        let own = EndEntityCert::try_from(own)?;
        let known = &self.authorities.between;
        let between: Vec<CertificateDer<'_>> =
            shown.iter().chain(known).map(|der| CertificateDer::from(der.as_ref())).collect();
        let lists: Vec<_> = self.authorities.revocation.iter().flat_map(|revocation| &revocation.lists).collect();
        // Without lists there is nothing to build from.
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|builder| {
            builder
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(lists_end)
                .build()
        });
        let path = own.verify_for_usage(
            self.algorithms.all,
            &self.authorities.anchors,
            &between,
            unix_time(at),
            KeyUsage::client_auth(),
            revocation,
            Some(is_good),
        )?;
        Ok(read(&path))
    }

    fn expiration_policy(&self) -> ExpirationPolicy {
        match self.authorities.revocation.as_ref().map(|revocation| revocation.stale) {
            Some(StaleCrl::Warn) => ExpirationPolicy::Ignore,
            Some(StaleCrl::Refuse) | None => ExpirationPolicy::Enforce,
        }
    }

    /// The library for paths does not look at the time of what it is told to trust.
    fn anchor_in_date(&self, path: &VerifiedPath<'_>, now: Timestamp) -> Result<(), webpki::Error> {
        let second = now.as_second();
        let holds = |validity: Validity| (validity.from.as_second()..=validity.until.as_second()).contains(&second);
        if self.validities(path.anchor()).any(holds) {
            return Ok(());
        }
        let until = self.validities(path.anchor()).map(|validity| validity.until).max().unwrap_or_default();
        Err(webpki::Error::CertExpired { time: unix_time(now), not_after: unix_time(until) })
    }

    /// When an authority holds. It may have been renewed with the same key, and so stand there twice.
    fn validities(&self, anchor: &TrustAnchor<'_>) -> impl Iterator<Item = Validity> {
        let Authorities { anchors, validities, .. } = &self.authorities;
        anchors.iter().zip(validities).filter(move |(one, _)| *one == anchor).map(|(_, validity)| *validity)
    }

    /// The first end of anything that it took for this path to be good. Certificates hold through their last second.
    fn until(&self, path: &VerifiedPath<'_>) -> Option<Timestamp> {
        let shown = std::iter::once(path.end_entity().der());
        let shown = shown.chain(path.intermediate_certificates().map(|certificate| certificate.der()));
        let mut until = self.validities(path.anchor()).map(|validity| validity.until).max()?;
        for der in shown {
            let (_, parsed) = x509_parser::parse_x509_certificate(&der).ok()?;
            until = until.min(Validity::of(&parsed)?.until);
        }
        let revocation = self.authorities.revocation.as_ref();
        let next_update = revocation.filter(|one| one.stale == StaleCrl::Refuse).map(|one| one.next_update);
        Some(next_update.map_or(until, |next_update| until.min(next_update)))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain: Vec<CertificateDer<'_>> =
            std::iter::once(own).chain(between).map(|der| CertificateDer::from(der.as_ref())).collect();
        let now = i64::try_from(now.as_secs()).ok().and_then(|second| Timestamp::from_second(second).ok());
        let now = now.ok_or(Error::FailedToGetCurrentTime)?;
        self.check(&chain, now).map_err(|fault| Error::InvalidCertificate(CertificateError::from(fault)))?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
