//! Lines to seal, as the log writes them: any, and some that are easy to count. Tests only.

use std::ops::Range;

use proptest::prelude::*;
use uuid::Uuid;

use crate::decision_log::{Kind, Record};
use crate::policy::Outcome;
use crate::redact::clean;

/// What differs between the records of a test.
#[derive(Debug, Clone)]
pub(crate) struct Sort {
    pub(crate) kind: Kind,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) customer: Option<u8>,
    pub(crate) host: Option<String>,
    /// In microseconds since 1970.
    pub(crate) time: i64,
    /// Bytes that it is made longer by.
    pub(crate) padding: usize,
}

/// So many records of any sort.
pub(crate) fn sorts(count: Range<usize>) -> impl Strategy<Value = Vec<Sort>> {
    let outcome = prop::option::of((0..Outcome::ALL.len()).prop_map(|place| Outcome::ALL[place]));
    let kind = (0..Kind::ALL.len()).prop_map(|place| Kind::ALL[place]);
    let parts = (
        kind,
        outcome,
        prop::option::of(0_u8..4),
        prop::option::of("[a-c]{1,2}(\\.test)?"),
        0_i64..5_000_000,
        0_usize..9_000,
    );
    let sort = parts.prop_map(|(kind, outcome, customer, host, time, padding)| Sort {
        kind,
        outcome,
        customer,
        host,
        time,
        padding,
    });
    prop::collection::vec(sort, count)
}

/// The lines of these records, numbered from `first` on. The id of each is its number.
pub(crate) fn lines(first: u64, sorts: &[Sort]) -> Vec<u8> {
    let mut lines = Vec::new();
    for (seq, sort) in (first..).zip(sorts) {
        let time = jiff::Timestamp::from_microsecond(sort.time).unwrap();
        let mut record = Record::new(sort.kind, time, Uuid::from_u128(seq.into()), "edge-1".into());
        record.outcome = sort.outcome;
        record.reason = [None, Some("allowed"), Some("a \"quoted\" reason")][sort.padding % 3];
        record.customer = sort.customer.map(|customer| format!("customer{customer}").into());
        record.rule = sort.customer.map(|customer| format!("rule \u{1}{customer}").into());
        record.source = sort.customer.filter(|customer| *customer > 1).map(|_| "ivr-east".into());
        record.host = sort.host.as_ref().map(|host| clean(host.as_bytes(), 253).text);
        record.tls_cipher = Some("x".repeat(sort.padding).into());
        record.line().write_as(seq, &mut lines);
    }
    lines
}

/// The id of record `seq`.
pub(crate) fn id(seq: u64) -> String {
    Uuid::from_u128(seq.into()).to_string()
}

/// So many small records: refusals of `customer0`, but each tenth an allowed one of `customer1`; each minute one.
pub(crate) fn usual(count: u64) -> Vec<Sort> {
    let sort = |number: u64| {
        let is_tenth = number % 10 == 9;
        Sort {
            kind: Kind::Decision,
            outcome: Some(if is_tenth { Outcome::Allow } else { Outcome::Deny }),
            customer: Some(u8::from(is_tenth)),
            host: Some(format!("h{number}.customer.test")),
            time: i64::try_from(number).unwrap() * 60_000_000,
            padding: 1,
        }
    };
    (0..count).map(sort).collect()
}
