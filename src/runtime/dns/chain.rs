//! Validation: from a key that is trusted down to the zone that signs an answer, or to the one above it that says that nobody does.
//! Not here: signatures (`proof`), proofs of absence (`denial`), what is asked (`lookup`). Each server is asked for its own proofs: one
//! that lies has only itself to blame, and the next one is asked.
//! Source: RFC 4035 section 5, top down, so that no zone's word counts below the next one; RFC 6840 section 5.9 (checking disabled).

use std::sync::Arc;

use hickory_resolver::proto::dnssec::rdata::{DNSSECRData, DS};
use hickory_resolver::proto::dnssec::{Algorithm, DigestType, PublicKeyBuf, TrustAnchors};
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::time::Instant;

use super::cuts::{Cut, Cuts};
use super::denial;
use super::evidence::Evidence;
use super::proof::{Trusted, Zone};
use super::servers::{Server, Trouble};
use crate::config::{AnchorKey, TrustAnchor, Validation};
use crate::runtime::clock;

/// Upper bound of digests of keys (DS) for one zone: a zone has two while its key changes, of two kinds at most.
const MAX_DIGESTS: usize = 16;

/// Upper bound of questions for keys and zones that one answer may lead to: two for each zone above it, one for each name between zones.
/// `api.example.co.uk`, all signed, has seven. The next time most are known.
pub const MAX_CHAIN: usize = 24;

/// How far an answer can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dnssec {
    /// A zone above says that nobody signs it.
    Insecure,
    /// Signed, all the way from a key that is trusted.
    Secure,
}

impl Dnssec {
    /// Its word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insecure => "insecure",
            Self::Secure => "secure",
        }
    }
}

/// Validates answers.
pub struct Validator {
    anchors: Vec<(Name, Trusted)>,
    cuts: Arc<Cuts>,
}

/// Where a walk has come to.
enum Reached {
    /// The last zone on the way.
    Zone(Arc<Zone>),
    /// A zone that nobody signs.
    Insecure,
}

impl Validator {
    /// One that begins with the keys of `validation`, and shares what it finds out.
    pub fn new(validation: &Validation, cuts: Arc<Cuts>) -> Self {
        let anchors = match &validation.file {
            Some(_) => validation.anchors.iter().filter_map(trusted).collect(),
            None => {
                let root = TrustAnchors::default();
                let keys = (0..root.len()).filter_map(|index| root.get(index).cloned());
                keys.map(|key| (Name::root(), Trusted::Key(key))).collect()
            }
        };
        Self { anchors, cuts }
    }

    /// `evidence`, as far as it can be relied on, with what it takes from the server that gave it.
    pub async fn judge(&self, server: &Server, evidence: Evidence) -> Result<(Evidence, Dnssec), Trouble> {
        let name = evidence.query.name.to_lowercase();
        let to = evidence.signer.as_ref().map_or_else(|| name.clone(), Name::to_lowercase);
        if !to.zone_of(&name) {
            return Err(Trouble::bogus());
        }
        match (self.walk(server, &name, &to).await?, &evidence.signer) {
            (Reached::Insecure, _) => Ok((evidence, Dnssec::Insecure)),
            (Reached::Zone(zone), Some(_)) if zone.name == to => {
                let judged = zone.verify(&evidence).await.ok_or_else(Trouble::bogus)?;
                Ok((judged, Dnssec::Secure))
            }
            (Reached::Zone(_), _) => Err(Trouble::bogus()),
        }
    }

    /// From the nearest key that is trusted for `name` down to `to`, which signs for it, zone by zone. Who answers chooses `to`; what stands
    /// above the nearest key has no say.
    async fn walk(&self, server: &Server, name: &Name, to: &Name) -> Result<Reached, Trouble> {
        let above = self.anchors.iter().filter(|(anchor, _)| anchor.zone_of(name));
        let nearest = above.max_by_key(|(anchor, _)| anchor.num_labels());
        let Some((top, _)) = nearest.filter(|(top, _)| top.zone_of(to)) else { return Err(Trouble::bogus()) };
        let mut left = MAX_CHAIN;
        let mut zone = match self.top(server, top, &mut left).await? {
            Cut::Zone(zone) => zone,
            Cut::Insecure | Cut::Inside | Cut::Nothing => return Err(Trouble::bogus()),
        };
        for labels in usize::from(top.num_labels())..usize::from(to.num_labels()) {
            let name = to.trim_to(labels.saturating_add(1));
            match self.cut(server, &zone, &name, &mut left).await? {
                Cut::Zone(below) => zone = below,
                Cut::Insecure => return Ok(Reached::Insecure),
                Cut::Inside => {}
                Cut::Nothing => break,
            }
        }
        Ok(Reached::Zone(zone))
    }

    /// The zone whose keys are trusted beforehand.
    async fn top(&self, server: &Server, name: &Name, left: &mut usize) -> Result<Cut, Trouble> {
        if let Some(cut) = self.cuts.get(name, Instant::now()) {
            return Ok(cut);
        }
        let anchors = self.anchors.iter().filter(|(zone, _)| zone == name);
        let trusted: Vec<Trusted> = anchors.map(|(_, trusted)| trusted.clone()).collect();
        self.zone(server, name, (&trusted, u32::MAX), left).await
    }

    /// What there is at `name`, right below which `zone` is the last one known.
    async fn cut(&self, server: &Server, zone: &Zone, name: &Name, left: &mut usize) -> Result<Cut, Trouble> {
        if let Some(cut) = self.cuts.get(name, Instant::now()) {
            return Ok(cut);
        }
        let evidence = ask(server, name, RecordType::DS, left).await?;
        if evidence.signer.as_ref() != Some(&zone.name) {
            return Err(Trouble::bogus());
        }
        let evidence = zone.verify(&evidence).await.ok_or_else(Trouble::bogus)?;
        let ttl =
            evidence.answers.iter().chain(&evidence.authorities).map(|record| record.ttl).min().unwrap_or_default();
        let below: Vec<Trusted> = evidence.records().filter_map(digest).map(Trusted::Digest).collect();
        if below.len() > MAX_DIGESTS {
            return Err(Trouble::bogus());
        }
        let cut = if evidence.answers.is_empty() {
            denial::cut(&evidence)
        } else if below.is_empty() {
            // An alias: no zone begins there.
            Cut::Inside
        } else if below.iter().any(Trusted::is_usable) {
            return self.zone(server, name, (&below, ttl), left).await;
        } else {
            // RFC 4035 section 5.2: signed in ways that nobody here can check is not signed.
            Cut::Insecure
        };
        self.cuts.keep(name, &cut, ttl, Instant::now());
        Ok(cut)
    }

    /// The zone with its keys, of which one must be trusted. What trusts it holds for so many seconds.
    async fn zone(
        &self,
        server: &Server,
        name: &Name,
        (trusted, most): (&[Trusted], u32),
        left: &mut usize,
    ) -> Result<Cut, Trouble> {
        let evidence = ask(server, name, RecordType::DNSKEY, left).await?;
        let now = u32::try_from(clock::now().as_second()).unwrap_or(u32::MAX);
        let (zone, ttl) = Zone::new(&evidence, trusted, now).ok_or_else(Trouble::bogus)?;
        let cut = Cut::Zone(Arc::new(zone));
        self.cuts.keep(name, &cut, ttl.min(most), Instant::now());
        Ok(cut)
    }
}

async fn ask(server: &Server, name: &Name, kind: RecordType, left: &mut usize) -> Result<Evidence, Trouble> {
    *left = left.checked_sub(1).ok_or_else(Trouble::bogus)?;
    server.fetch(Query::query(name.clone(), kind)).await.map_err(Trouble::without_proof)
}

fn digest(record: &Record) -> Option<DS> {
    if let RData::DNSSEC(DNSSECRData::DS(ds)) = &record.data { Some(ds.clone()) } else { None }
}

/// A key of the operator's own, in hickory's terms.
fn trusted(anchor: &TrustAnchor) -> Option<(Name, Trusted)> {
    let zone = match &anchor.zone {
        Some(zone) => Name::from_ascii(format!("{zone}.")).ok()?,
        None => Name::root(),
    };
    let trusted = match &anchor.key {
        AnchorKey::Whole { algorithm, key } => {
            Trusted::Key(PublicKeyBuf::new(key.to_vec(), Algorithm::from_u8(*algorithm)))
        }
        AnchorKey::Digest { tag, algorithm, digest_type, digest } => Trusted::Digest(DS::new(
            *tag,
            Algorithm::from_u8(*algorithm),
            DigestType::from(*digest_type),
            digest.to_vec(),
        )),
    };
    Some((zone, trusted))
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::dnssec::rdata::DNSKEY;

    use super::*;
    use crate::config::trust_anchors;
    use crate::yaml::Faults;

    /// What IANA publishes (`root-anchors.xml`), against what is built in.
    #[test]
    fn what_is_built_in_are_the_roots_keys() {
        let published = ". DS 20326 8 2 e06d44b80b8f1d39a95c0b0d7c65d08458e880409bbc683457104237c7f8ec8d
                         . DS 38696 8 2 683d2d0acb8c9b712a1948b27f741219298d0a450d612c483af444a4c0fb2b16";
        let published: Vec<_> = trust_anchors(published, 0, &mut Faults::new())
            .iter()
            .filter_map(|anchor| Some(trusted(anchor)?.1))
            .collect();
        let validator = Validator::new(&Validation::default(), Arc::default());
        assert_eq!((validator.anchors.len(), published.len()), (2, 2));
        for ((zone, key), published) in validator.anchors.iter().zip(&published) {
            let (Trusted::Key(key), Trusted::Digest(published)) = (key, published) else { panic!("not a key") };
            let key = DNSKEY::new(true, true, false, key.clone());
            assert!(zone.is_root() && published.covers(zone, &key).unwrap(), "{}", published.key_tag());
            assert_eq!(key.calculate_key_tag().unwrap(), published.key_tag());
        }
    }
}
