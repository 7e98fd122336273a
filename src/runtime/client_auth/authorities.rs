//! The authorities of client certificates, checked whole: what can't be enforced is a fault at the start.
//! Not here: the files (`listener_tls`), their lists of revoked certificates (`revocation`), clients (`verifier`).
//! Source: RFC 5280 sections 4.2.1.9 (CA) and 4.2.1.3 (key usage).

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::KeyUsage;

use super::authority_fault::AuthorityFault;
use super::revocation::{Lists, Revocation};

/// Upper bound of authorities of one listener: clients get all their names in each handshake.
pub(super) const MAX_AUTHORITIES: usize = 64;

/// What clients' certificates are judged by.
pub struct Authorities {
    /// Where a chain may end. An authority that another one of the file has signed is none: it may be revoked.
    pub(super) anchors: Vec<TrustAnchor<'static>>,
    /// When each of these holds, in their order.
    pub(super) validities: Vec<Validity>,
    /// Those that others of the file have signed; a client need not show them.
    pub(super) between: Vec<CertificateDer<'static>>,
    /// `None`: no revocation is looked for.
    pub(super) revocation: Option<Revocation>,
}

/// When a certificate holds, both seconds included (RFC 5280 section 4.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

impl Authorities {
    /// Checks all of it at `now`; `lists`: `None` looks for no revocation.
    ///
    /// # Errors
    /// Every fault of both.
    pub fn new(
        certificates: &[CertificateDer<'static>],
        lists: Option<&Lists>,
        now: Timestamp,
    ) -> Result<Self, Vec<AuthorityFault>> {
        let mut faults = Vec::new();
        let read = authorities(certificates, lists.is_some(), now, &mut faults);
        // Without all of them each list would look like a stranger's.
        let are_all = !read.is_empty() && read.len() == certificates.len();
        let revocation = lists.filter(|_| are_all).map(|lists| Revocation::new(lists, &read, &mut faults));
        if !faults.is_empty() {
            return Err(faults);
        }
        let (tops, between): (Vec<_>, Vec<_>) = read.iter().partition(|one| is_top(one, &read));
        if tops.is_empty() {
            return Err(vec![AuthorityFault::NoTop]);
        }
        let (anchors, validities) = tops.into_iter().map(|top| (top.anchor.clone(), top.validity)).unzip();
        let between = between.into_iter().map(|authority| authority.der.clone()).collect();
        Ok(Self { anchors, validities, between, revocation: revocation.flatten() })
    }

    /// When the first of its lists is past its next update; `None`: it has none.
    pub fn next_update(&self) -> Option<Timestamp> {
        self.revocation.as_ref().map(|revocation| revocation.next_update)
    }
}

impl Validity {
    /// That of a certificate; `None`: beyond all calendars.
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Option<Self> {
        let second = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).ok();
        let validity = certificate.validity();
        Some(Self { from: second(validity.not_before)?, until: second(validity.not_after)? })
    }
}

/// The time as the libraries take it; before 1970 nothing is in force.
pub(super) fn unix_time(now: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(now.as_second()).unwrap_or_default()))
}

/// One authority, read.
pub(super) struct Authority<'a> {
    pub(super) position: usize,
    der: &'a CertificateDer<'static>,
    pub(super) parsed: X509Certificate<'a>,
    anchor: TrustAnchor<'static>,
    validity: Validity,
}

impl Authority<'_> {
    pub(super) fn subject(&self) -> &[u8] {
        self.parsed.subject().as_raw()
    }

    /// Whether its key usage, if it has one, lets it do this.
    fn may(&self, what: impl Fn(&KeyUsage) -> bool) -> bool {
        self.parsed.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| what(usage.value)))
    }
}

fn authorities<'a>(
    certificates: &'a [CertificateDer<'static>],
    signs_lists: bool,
    now: Timestamp,
    faults: &mut Vec<AuthorityFault>,
) -> Vec<Authority<'a>> {
    match certificates.len() {
        0 => faults.push(AuthorityFault::NoAuthority),
        1..=MAX_AUTHORITIES => {}
        count => faults.push(AuthorityFault::TooManyAuthorities(count)),
    }
    let mut read: Vec<Authority<'a>> = Vec::new();
    for (position, der) in (1..).zip(certificates.iter().take(MAX_AUTHORITIES)) {
        let Some(authority) = parsed(position, der) else {
            faults.push(AuthorityFault::Unreadable(position));
            continue;
        };
        if !authority.parsed.is_ca() || !authority.may(KeyUsage::key_cert_sign) {
            faults.push(AuthorityFault::NoCa(position));
        } else if signs_lists && !authority.may(KeyUsage::crl_sign) {
            faults.push(AuthorityFault::MayNotSignLists(position));
        }
        if now > authority.validity.until {
            faults.push(AuthorityFault::Ended(position));
        } else if now < authority.validity.from {
            faults.push(AuthorityFault::NotBegun(position));
        }
        if let Some(twin) = read.iter().find(|other| other.der == der) {
            faults.push(AuthorityFault::AuthorityTwice(position, twin.position));
        }
        read.push(authority);
    }
    read
}

fn parsed<'a>(position: usize, der: &'a CertificateDer<'static>) -> Option<Authority<'a>> {
    let (rest, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
    let anchor = webpki::anchor_from_trusted_cert(der).ok().filter(|_| rest.is_empty())?.to_owned();
    let validity = Validity::of(&parsed)?;
    Some(Authority { position, der, parsed, anchor, validity })
}

/// Whether none of the others has signed it, by their names.
fn is_top(authority: &Authority<'_>, all: &[Authority<'_>]) -> bool {
    let issuer = authority.parsed.issuer().as_raw();
    issuer == authority.subject() || all.iter().all(|other| other.subject() != issuer)
}
