//! What an answer says of its one question, and the signatures over that: all that validation looks at, and no more than it should.
//! Not here: asking (`servers`), whose keys hold (`chain`), whether a signature does (`proof`).
//! Source: RFC 4035 section 5; the bounds are against CVE-2023-50387, in which an answer costs seconds to validate.

use hickory_resolver::net::NoRecords;
use hickory_resolver::proto::dnssec::rdata::{DNSSECRData, RRSIG};
use hickory_resolver::proto::op::{Message, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// Upper bound of signatures in what is looked at: three proofs of absence and a SOA, each signed twice while keys change, are eight.
/// Each is tried with two keys at most, so that an answer costs 32 verifications, some milliseconds.
pub const MAX_SIGNATURES: usize = 16;

/// Upper bound of records in what is looked at: whoever has more addresses is refused anyway.
const MAX_RECORDS: usize = 96;

/// One question and what was said to it.
#[derive(Clone)]
pub struct Evidence {
    /// The question.
    pub query: Query,
    /// Whether the name exists or not; `NoError` if there is an answer, whatever stands behind its aliases.
    pub code: ResponseCode,
    /// Records of the name itself: of the kind that was asked for, or an alias; and their signatures.
    pub answers: Vec<Record>,
    /// With no such record: who says so, signed. Beside an answer made from a wildcard: that there is nothing closer, signed.
    pub authorities: Vec<Record>,
    /// For how long there is none, if somebody says.
    pub negative_ttl: Option<u32>,
    /// Who signs. All signatures are this zone's; `None`: there are none.
    pub signer: Option<Name>,
}

/// More records or signatures than anybody needs.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMuch;

impl Evidence {
    /// What a server answered, cut down. The rest of a chain of aliases is cut off too: each name is asked for on its own.
    ///
    /// # Errors
    /// It would cost too much to look at.
    pub fn of(query: Query, answered: Result<Message, NoRecords>) -> Result<Self, TooMuch> {
        let (code, answers, authorities, negative_ttl) = match answered {
            Ok(message) => (message.metadata.response_code, message.answers, message.authorities, None),
            Err(none) => {
                let authorities = none.authorities.map(|records| records.to_vec()).unwrap_or_default();
                (none.response_code, Vec::new(), authorities, none.negative_ttl)
            }
        };
        let is_wanted = |kind: RecordType| kind == query.query_type || kind == RecordType::CNAME;
        let mut answers: Vec<Record> = answers
            .into_iter()
            .filter(|record| record.name == query.name && is_wanted(kind_of(record)))
            .take(MAX_RECORDS.saturating_add(1))
            .collect();
        let has_answer = answers.iter().any(|record| signature(record).is_none());
        if !has_answer {
            answers.clear();
        }
        let is_proof = |kind| matches!(kind, RecordType::NSEC | RecordType::NSEC3);
        let is_wild = answers.iter().filter_map(signature).any(|sig| sig.input().num_labels < query.name.num_labels());
        let mut authorities: Vec<Record> = authorities
            .into_iter()
            .filter(|record| match (has_answer, kind_of(record)) {
                (true, kind) => is_wild && is_proof(kind),
                (false, kind) => kind == RecordType::SOA || is_proof(kind),
            })
            .take(MAX_RECORDS.saturating_add(1))
            .collect();
        let signer =
            answers.iter().chain(&authorities).find_map(|record| Some(signature(record)?.input().signer_name.clone()));
        let is_other =
            |record: &Record| signature(record).is_some_and(|sig| Some(&sig.input().signer_name) != signer.as_ref());
        answers.retain(|record| !is_other(record));
        authorities.retain(|record| !is_other(record));
        // What nobody signs says nothing there.
        let signed: Vec<(Name, RecordType)> =
            signatures(&authorities).map(|(name, sig)| (name.clone(), sig.input().type_covered)).collect();
        authorities.retain(|record| signed.iter().any(|(name, kind)| *name == record.name && *kind == kind_of(record)));
        let count = answers.len().saturating_add(authorities.len());
        let count_signed = signatures(&answers).chain(signatures(&authorities)).count();
        if count > MAX_RECORDS || count_signed > MAX_SIGNATURES {
            return Err(TooMuch);
        }
        let code = if has_answer { ResponseCode::NoError } else { code };
        Ok(Self { query, code, answers, authorities, negative_ttl, signer })
    }

    /// The records themselves, without signatures.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.answers.iter().filter(|record| signature(record).is_none())
    }
}

/// The signatures among `records`, each with the name that it is for.
pub fn signatures(records: &[Record]) -> impl Iterator<Item = (&Name, &RRSIG)> {
    records.iter().filter_map(|record| Some((&record.name, signature(record)?)))
}

/// The signature that a record is, if it is one.
fn signature(record: &Record) -> Option<&RRSIG> {
    if let RData::DNSSEC(DNSSECRData::RRSIG(signature)) = &record.data { Some(signature) } else { None }
}

/// Its kind; of a signature the kind that it is for.
fn kind_of(record: &Record) -> RecordType {
    signature(record).map_or_else(|| record.record_type(), |sig| sig.input().type_covered)
}
