//! The lists of revoked certificates: each is read, placed with its authority, and its signature checked, before any client comes.
//! Not here: the files (`listener_tls`), looking a client up (`verifier`).
//! Source: RFC 5280 section 5 (CRLs).

use jiff::Timestamp;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateRevocationListDer;
use webpki::{CertRevocationList, OwnedCertRevocationList};
use x509_parser::oid_registry::OID_X509_EXT_ISSUER_DISTRIBUTION_POINT;
use x509_parser::revocation_list::CertificateRevocationList;

use super::authorities::Authority;
use super::authority_fault::AuthorityFault;
use crate::config::StaleCrl;

/// Upper bound of lists of one listener: each authority has one, or a few parts of one.
pub(super) const MAX_CRLS: usize = 256;

/// Upper bound in bytes of all lists of one listener: at each handshake the signature over a client's list is checked, some 0.5 ms a MiB.
pub(super) const MAX_CRL_BYTES: usize = 16 * 1024 * 1024;

/// Lists in DER, and what follows when one is past its next update.
pub struct Lists {
    /// Each in DER.
    pub lists: Vec<CertificateRevocationListDer<'static>>,
    /// When a list is past its next update.
    pub stale: StaleCrl,
}

/// The lists of revoked certificates, checked.
pub(super) struct Revocation {
    pub(super) lists: Vec<CertRevocationList<'static>>,
    /// The earliest of their next updates.
    pub(super) next_update: Timestamp,
    pub(super) stale: StaleCrl,
}

/// One list, as both libraries read it: one for paths, the other for its parts.
struct List<'a> {
    list: CertRevocationList<'static>,
    next_update: Timestamp,
    parsed: CertificateRevocationList<'a>,
}

impl Revocation {
    /// All lists, each of one of the authorities, and each authority with one. Valid only if there are no faults then.
    pub(super) fn new(
        Lists { lists, stale }: &Lists,
        authorities: &[Authority<'_>],
        faults: &mut Vec<AuthorityFault>,
    ) -> Option<Self> {
        let bytes = lists.iter().map(|list| list.len()).fold(0, usize::saturating_add);
        if lists.is_empty() {
            faults.push(AuthorityFault::NoList);
            return None;
        }
        if lists.len() > MAX_CRLS || bytes > MAX_CRL_BYTES {
            faults.push(AuthorityFault::TooManyLists(lists.len(), bytes));
            return None;
        }
        let read = read(lists, authorities, faults);
        let has_list = |authority: &Authority<'_>| read.iter().any(|list| list.issuer() == authority.subject());
        if read.len() == lists.len() {
            let without = authorities.iter().filter(|authority| !has_list(authority));
            faults.extend(without.map(|authority| AuthorityFault::NoListOf(authority.position)));
        }
        let next_update = read.iter().map(|list| list.next_update).min()?;
        Some(Self { lists: read.into_iter().map(|list| list.list).collect(), next_update, stale: *stale })
    }
}

impl<'a> List<'a> {
    fn read(der: &'a [u8]) -> Option<Self> {
        let (rest, parsed) = x509_parser::parse_x509_crl(der).ok()?;
        let list = OwnedCertRevocationList::from_der(der).ok().filter(|_| rest.is_empty())?.into();
        let next_update = Timestamp::from_second(parsed.next_update()?.timestamp()).ok()?;
        Some(Self { list, next_update, parsed })
    }

    fn issuer(&self) -> &[u8] {
        self.parsed.issuer().as_raw()
    }

    /// Which certificates it speaks of: all of its issuer's, or a part of them.
    fn scope(&self) -> (&[u8], &[u8]) {
        let is_part = |oid: &_| *oid == OID_X509_EXT_ISSUER_DISTRIBUTION_POINT;
        let part = self.parsed.extensions().iter().find(|extension| is_part(&extension.oid));
        (self.issuer(), part.map_or(&[], |part| part.value))
    }

    /// Whether it has another issuer than the authorities, or a signature that none of that name has made.
    fn wrong_issuer(&self, position: usize, authorities: &[Authority<'_>]) -> Option<AuthorityFault> {
        let mut named = authorities.iter().filter(|authority| authority.subject() == self.issuer()).peekable();
        if named.peek().is_none() {
            return Some(AuthorityFault::ForeignList(position));
        }
        let algorithms = default_provider().signature_verification_algorithms.all;
        let (signed, signature) = (self.parsed.tbs_cert_list.as_ref(), &self.parsed.signature_value.data);
        // Which of the algorithms it names is compared at each handshake; here a key that fits is enough.
        let has_signed = |authority: &Authority<'_>| {
            let key = &authority.parsed.public_key().subject_public_key.data;
            algorithms.iter().any(|algorithm| algorithm.verify_signature(key, signed, signature).is_ok())
        };
        (!named.any(has_signed)).then_some(AuthorityFault::UnsignedList(position))
    }
}

fn read<'a>(
    lists: &'a [CertificateRevocationListDer<'static>],
    authorities: &[Authority<'_>],
    faults: &mut Vec<AuthorityFault>,
) -> Vec<List<'a>> {
    let mut read: Vec<List<'a>> = Vec::new();
    for (position, der) in (1..).zip(lists) {
        let Some(list) = List::read(der) else {
            faults.push(AuthorityFault::UnreadableList(position));
            continue;
        };
        faults.extend(list.wrong_issuer(position, authorities));
        // Only the first of two would ever be looked at.
        if let Some((twin, _)) = (1..).zip(&read).find(|(_, other)| other.scope() == list.scope()) {
            faults.push(AuthorityFault::ListTwice(position, twin));
        }
        read.push(list);
    }
    read
}
