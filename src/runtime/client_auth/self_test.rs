//! The test that runs at each start: is a revoked certificate really refused? A list that looks loaded and is not looked at shows here.
//! Not here: the tests of the product. Everything is made on the spot and goes the way of a listener's own files.
//! Source: attack F4; PCI DSS 10.7.2 (failures of security controls are detected).

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use rustls::pki_types::CertificateDer;

use super::authorities::Authorities;
use super::fault::CertificateFault;
use super::revocation::Lists;
use super::verifier::Verifier;
use crate::config::StaleCrl;

/// The serial number of the good certificate.
const GOOD: u64 = 1;

/// That of the revoked one.
const REVOKED: u64 = 2;

/// When the test takes place, in seconds since 1970, whatever the host's clock says: 2026-06-01.
const NOW: i64 = 1_780_272_000;

/// Why client certificates can't be relied on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelfTestError {
    /// The fixtures can't be made.
    #[error("the self-test of revocation can't make its certificates; check the host's randomness")]
    NotMade,
    /// A revoked certificate passed.
    #[error("the self-test of revocation failed: a revoked certificate was let in; don't use this build")]
    RevokedPassed,
    /// A good one didn't.
    #[error("the self-test of revocation failed: a good certificate was refused as {0}; don't use this build")]
    GoodRefused(CertificateFault),
}

/// Makes an authority, two certificates and a list with one of them, and judges both as a listener would.
///
/// # Errors
/// See [`SelfTestError`]: then no client certificate may count.
pub(in crate::runtime) fn self_test() -> Result<(), SelfTestError> {
    let now = Timestamp::from_second(NOW).map_err(|_| SelfTestError::NotMade)?;
    let Fixture { authority, good, revoked, lists } = fixture().ok_or(SelfTestError::NotMade)?;
    let authorities = Authorities::new(&[authority], Some(&lists), now).map_err(|_| SelfTestError::NotMade)?;
    judge(&Verifier::new(authorities), &good, &revoked, now)
}

fn judge(
    verifier: &Verifier,
    good: &CertificateDer<'static>,
    revoked: &CertificateDer<'static>,
    now: Timestamp,
) -> Result<(), SelfTestError> {
    let check = |certificate: &CertificateDer<'static>| verifier.check(std::slice::from_ref(certificate), now);
    if check(revoked) != Err(CertificateFault::Revoked) {
        return Err(SelfTestError::RevokedPassed);
    }
    check(good).map(drop).map_err(SelfTestError::GoodRefused)
}

struct Fixture {
    authority: CertificateDer<'static>,
    good: CertificateDer<'static>,
    revoked: CertificateDer<'static>,
    lists: Lists,
}

fn fixture() -> Option<Fixture> {
    let mut params = named("self-test authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().ok()?).ok()?;
    let client = |serial: u64| {
        let mut params = named("self-test client");
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().ok()?;
        Some(params.signed_by(&key, &authority).ok()?.der().clone())
    };
    let (good, revoked) = (client(GOOD)?, client(REVOKED)?);
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 1, 1),
        next_update: date_time_ymd(2027, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: SerialNumber::from(REVOKED),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let lists = vec![list.signed_by(&authority).ok()?.der().clone()];
    let authority = authority.der().clone();
    Some(Fixture { authority, good, revoked, lists: Lists { lists, stale: StaleCrl::Refuse } })
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2027, 1, 1));
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verifier(fixture: &Fixture, lists: Option<&Lists>) -> Verifier {
        let now = Timestamp::from_second(NOW).unwrap();
        Verifier::new(Authorities::new(std::slice::from_ref(&fixture.authority), lists, now).unwrap())
    }

    #[test]
    fn this_build_passes() {
        assert_eq!(self_test(), Ok(()));
    }

    #[test]
    fn a_verifier_that_does_not_look_or_refuses_everybody_fails() {
        let now = Timestamp::from_second(NOW).unwrap();
        let fixture = fixture().unwrap();
        let (good, revoked) = (&fixture.good, &fixture.revoked);
        let looks = verifier(&fixture, Some(&fixture.lists));
        let blind = verifier(&fixture, None);
        let stale = now + jiff::SignedDuration::from_hours(24 * 365);
        for (row, verifier, good, revoked, now, want) in [
            ("right", &looks, good, revoked, now, Ok(())),
            ("lists are not looked at", &blind, good, revoked, now, Err(SelfTestError::RevokedPassed)),
            ("the wrong one is refused", &looks, revoked, good, now, Err(SelfTestError::RevokedPassed)),
            (
                "nobody passes",
                &looks,
                revoked,
                revoked,
                now,
                Err(SelfTestError::GoodRefused(CertificateFault::Revoked)),
            ),
            ("for another reason", &looks, good, revoked, stale, Err(SelfTestError::RevokedPassed)),
        ] {
            assert_eq!(judge(verifier, good, revoked, now), want, "{row}");
        }
    }
}
