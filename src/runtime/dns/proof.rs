//! Whether what an answer says is signed by a zone's keys, and whether those keys are the zone's.
//! Not here: from where the keys come (`chain`), what absence says of zones below (`denial`). The rules of absence are hickory's, which is
//! shown this zone's keys and one answer, and has no way to ask for more: left to itself it takes the word of any zone above, such as
//! "there may be unsigned zones here", for a name in a signed one.
//! Source: RFC 4035 section 5.3, RFC 5155 section 8, RFC 6840; CVE-2023-50387 (many keys and signatures).

use std::future::{Ready, ready};
use std::sync::Arc;

use futures_util::stream::{self, Once};
use hickory_resolver::net::dnssec::DnssecDnsHandle;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::dnssec::rdata::{DNSKEY, DNSSECRData, DS};
use hickory_resolver::proto::dnssec::{Algorithm, DigestType, PublicKey, PublicKeyBuf, TrustAnchors, Verifier};
use hickory_resolver::proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Message, Query};
use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record, RecordType, SerialNumber};

use super::denial::{self, MAX_ITERATIONS};
use super::evidence::{Evidence, signatures};

/// Upper bound in bytes of a key: RSA with 4096 bits, the longest that anybody uses, has 516.
const MAX_KEY_BYTES: usize = 1024;

/// Upper bound of a zone's keys: two of two algorithms, each twice while they change.
const MAX_KEYS: usize = 16;

/// Upper bound of keys that one signature is tried with: tags are 16 bits, and collide by accident now and then. Hickory has the same.
const MAX_TRIES: usize = 2;

/// A zone whose keys are known to be its own.
pub struct Zone {
    /// Its name.
    pub name: Name,
    anchors: Arc<TrustAnchors>,
    keys: DnsResponse,
}

/// A key that is trusted before it is seen.
#[derive(Clone)]
pub enum Trusted {
    /// The key itself.
    Key(PublicKeyBuf),
    /// Its digest.
    Digest(DS),
}

impl Trusted {
    /// Whether it can be used at all. SHA-1 is not trusted any more (RFC 9905), and what is unknown cannot be.
    pub fn is_usable(&self) -> bool {
        match self {
            Self::Key(key) => is_usable(key.algorithm()),
            Self::Digest(ds) => {
                is_usable(ds.algorithm()) && matches!(ds.digest_type(), DigestType::SHA256 | DigestType::SHA384)
            }
        }
    }

    fn is_for(&self, zone: &Name, key: &DNSKEY, tag: u16) -> bool {
        self.is_usable()
            && match self {
                Self::Key(trusted) => {
                    trusted.algorithm() == key.algorithm() && trusted.public_bytes() == key.public_key().public_bytes()
                }
                Self::Digest(ds) => {
                    ds.key_tag() == tag && ds.algorithm() == key.algorithm() && ds.covers(zone, key).unwrap_or(false)
                }
            }
    }
}

fn is_usable(algorithm: Algorithm) -> bool {
    matches!(
        algorithm,
        Algorithm::RSASHA256
            | Algorithm::RSASHA512
            | Algorithm::ECDSAP256SHA256
            | Algorithm::ECDSAP384SHA384
            | Algorithm::ED25519
    )
}

impl Zone {
    /// The keys in `evidence`, if one that is trusted signs them all at `now` (seconds since 1970); and for how many seconds.
    pub fn new(evidence: &Evidence, trusted: &[Trusted], now: u32) -> Option<(Self, u32)> {
        let name = evidence.query.name.to_lowercase();
        let records: Vec<&Record> = evidence.records().collect();
        let keys = || records.iter().filter_map(|record| Some((*record, usable_key(record)?)));
        if records.len() > MAX_KEYS {
            return None;
        }
        let ttl = signatures(&evidence.answers).find_map(|(owner, signature)| {
            let input = signature.input();
            let is_fit = *owner == name
                && input.type_covered == RecordType::DNSKEY
                && input.signer_name == name
                && input.num_labels == name.num_labels()
                && holds(input.sig_inception, input.sig_expiration, now);
            let with = keys().filter(|(_, key)| key.algorithm() == input.algorithm);
            let with =
                with.filter(|(_, key)| key.calculate_key_tag().is_ok_and(|tag| tag == input.key_tag)).take(MAX_TRIES);
            let mut with = with.filter(|(_, key)| trusted.iter().any(|one| one.is_for(&name, key, input.key_tag)));
            let is_signed = is_fit
                && with
                    .any(|(_, key)| key.verify_rrsig(&name, DNSClass::IN, signature, records.iter().copied()).is_ok());
            is_signed.then(|| records.iter().map(|record| signature.authenticated_ttl(record, now)).min())?
        })?;
        let mut anchors = TrustAnchors::empty();
        let mut message = answer_to(Query::query(name.clone(), RecordType::DNSKEY));
        for (record, key) in keys() {
            anchors.insert_with_name(key.public_key(), (&name).into());
            message.add_answer(record.clone());
        }
        let keys = DnsResponse::from_message(message).ok()?;
        Some((Self { name, anchors: Arc::new(anchors), keys }, ttl))
    }

    /// What of `evidence` this zone's keys sign, its times bounded by the signatures'. `None`: not all of it, or not what it takes for
    /// that there is nothing.
    pub async fn verify(&self, evidence: &Evidence) -> Option<Evidence> {
        let mut message = answer_to(evidence.query.clone());
        message.metadata.response_code = evidence.code;
        message.add_answers(evidence.answers.iter().cloned());
        message.add_authorities(evidence.authorities.iter().cloned());
        let closed = Closed {
            query: evidence.query.clone(),
            said: Arc::new(DnsResponse::from_message(message).ok()?),
            zone: self.name.clone(),
            keys: Arc::new(self.keys.clone()),
        };
        // Its store of verdicts goes by a hash that whoever chooses the records can make collide: so it has none.
        let handle = DnssecDnsHandle::with_trust_anchor(closed, Arc::clone(&self.anchors))
            .validation_cache_size(0)
            .nsec3_iteration_limits(Some(MAX_ITERATIONS), Some(MAX_ITERATIONS));
        let judged = handle.lookup(evidence.query.clone(), DnsRequestOptions::default()).first_answer().await;
        let (response, is_denied) = match judged {
            Ok(response) => (response, true),
            Err(NetError::Dns(DnsError::Nsec { response, .. })) => (*response, false),
            Err(_) => return None,
        };
        let negative_ttl = response.negative_ttl().min(evidence.negative_ttl);
        let message = response.into_message();
        let is_secure = |record: &Record| record.proof.is_secure();
        let judged = Evidence {
            answers: message.answers,
            authorities: message.authorities.into_iter().filter(is_secure).collect(),
            negative_ttl,
            ..evidence.clone()
        };
        let is_proven = if judged.answers.is_empty() {
            is_denied && judged.authorities.iter().any(is_proof)
        } else {
            judged.records().all(is_secure) && denial::nothing_closer(&judged)
        };
        is_proven.then_some(judged)
    }
}

/// Whether a record says what is not there.
fn is_proof(record: &Record) -> bool {
    matches!(record.record_type(), RecordType::NSEC | RecordType::NSEC3)
}

/// RFC 4034 section 2.1.1: what has no such flag signs no zone; RFC 5011 section 2.1: what is revoked signs nothing.
fn usable_key(record: &Record) -> Option<&DNSKEY> {
    let RData::DNSSEC(DNSSECRData::DNSKEY(key)) = &record.data else { return None };
    let is_short = key.public_key().public_bytes().len() <= MAX_KEY_BYTES;
    (key.zone_key() && !key.revoke() && is_usable(key.algorithm()) && is_short).then_some(key)
}

/// RFC 4034 section 3.1.5: both ends included, by serial number arithmetic.
fn holds(from: SerialNumber, to: SerialNumber, now: u32) -> bool {
    let now = SerialNumber::new(now);
    from <= now && now <= to
}

fn answer_to(query: Query) -> Message {
    let mut message = Message::query();
    message.add_query(query);
    message.into_response()
}

/// All that hickory may know: one answer, and one zone's keys.
#[derive(Clone)]
struct Closed {
    query: Query,
    said: Arc<DnsResponse>,
    zone: Name,
    keys: Arc<DnsResponse>,
}

impl DnsHandle for Closed {
    type Response = Once<Ready<Result<DnsResponse, NetError>>>;
    type Runtime = TokioRuntimeProvider;

    fn send(&self, request: DnsRequest) -> Self::Response {
        let known = match request.queries.first() {
            Some(query) if *query == self.query => Ok(DnsResponse::clone(&self.said)),
            Some(query) if query.query_type == RecordType::DNSKEY && query.name == self.zone => {
                Ok(DnsResponse::clone(&self.keys))
            }
            Some(_) | None => Err(NetError::from("nothing else is known")),
        };
        stream::once(ready(known))
    }
}
