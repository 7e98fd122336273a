//! Records as a busy proxy writes them: connections of 50 customers in their order, one in ten refused, and the ends of the others.
//! Not here: the log that they are written to (`ten_million`).

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use sallyport::decision_log::{Kind, Record};
use sallyport::policy::Outcome;
use sallyport::redact::{Redacted, clean, clean_name};
use uuid::Builder;

use crate::chance::Chance;

/// Tunnels that are open at once: a close comes so many connections behind its decision.
const OPEN: usize = 2_000;

/// The time of the first record, and from one to the next: 100 a second, so ten million are 28 hours.
const BEGIN: &str = "2026-03-01T00:00:00Z";
const APART: i64 = 10_000;

/// One connection in ten is refused, for one of these.
const REFUSALS: [&str; 6] = [
    "destination_not_listed",
    "port_not_allowed",
    "sni_mismatch",
    "address_forbidden",
    "tls_version_too_low",
    "plaintext_http",
];

const CUSTOMERS: u64 = 50;

/// When the record with this number is written.
pub fn time(seq: u64) -> Timestamp {
    BEGIN.parse::<Timestamp>().unwrap() + SignedDuration::from_micros(i64::try_from(seq).unwrap() * APART)
}

/// Makes the records: connections in their order, and the closes of those that were let through.
pub struct Source {
    chance: Chance,
    open: VecDeque<Record>,
    clean: BTreeMap<u64, Redacted>,
    names: Vec<[Arc<str>; 3]>,
}

impl Source {
    /// From the first record on.
    pub fn new() -> Self {
        let names = (0..CUSTOMERS).map(|customer| {
            [
                format!("customer{customer}").into(),
                format!("customer{customer}/payments").into(),
                format!("ivr-{}", customer % 5).into(),
            ]
        });
        Self {
            chance: Chance(0x5a11_7907),
            open: VecDeque::with_capacity(OPEN + 1),
            clean: BTreeMap::new(),
            names: names.collect(),
        }
    }

    /// The record with this number; they are asked for in order.
    pub fn record(&mut self, seq: u64) -> Record {
        let time = time(seq);
        if self.open.len() > OPEN { self.close(time) } else { self.decide(time) }
    }

    fn decide(&mut self, time: Timestamp) -> Record {
        let (customer, host, client) = (self.chance.below(CUSTOMERS), self.chance.below(6), self.chance.below(60_000));
        let random: [u8; 10] = std::array::from_fn(|_| self.chance.below(256) as u8);
        let id = Builder::from_unix_timestamp_millis(time.as_millisecond() as u64, &random).into_uuid();
        let mut record = Record::new(Kind::Decision, time, id, "edge-1".into());
        let [name, rule, source] = self.names[customer as usize].clone();
        record.environment = Some("production".into());
        record.listener = Some("edge".into());
        record.source = Some(source);
        record.policy = Some("2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881".into());
        let [_, _, high, low] = (client as u32).to_be_bytes();
        record.client_ip = Some(IpAddr::from([10, 20, high, low]));
        record.client_port = Some(1024 + client as u16);
        record.method = Some(clean(b"CONNECT", 32).text);
        let key = customer * 6 + host;
        let host = self
            .clean
            .entry(key)
            .or_insert_with(|| clean_name(format!("h{host}.api.customer{customer}.example").as_bytes(), 253).text);
        record.host = Some(host.clone());
        record.port = Some(443);
        if self.chance.below(10) == 0 {
            record.outcome = Some(Outcome::Deny);
            record.reason = Some(REFUSALS[self.chance.below(6) as usize]);
            record.duration_us = Some(self.chance.below(900));
            return record;
        }
        let upstream = IpAddr::from(Ipv4Addr::from(0xcb00_7100 + self.chance.below(200) as u32));
        record.outcome = Some(Outcome::Allow);
        record.reason = Some("allowed");
        (record.rule, record.customer) = (Some(rule), Some(name));
        record.addresses = vec![upstream];
        record.upstream_ip = Some(upstream);
        record.egress_ip = Some(IpAddr::from([198, 51, 100, 9]));
        record.egress_pool = Some("static-a".into());
        record.sni = record.host.clone();
        record.alpn = vec![clean(b"h2", 16).text, clean(b"http/1.1", 16).text];
        record.ech = Some(false);
        record.verify = Some("none");
        record.dns_us = Some(self.chance.below(900));
        record.dial_us = Some(self.chance.below(90_000));
        record.hello_us = Some(self.chance.below(9_000));
        self.open.push_back(record.clone());
        record
    }

    fn close(&mut self, time: Timestamp) -> Record {
        let mut record = self.open.pop_front().unwrap();
        (record.kind, record.time) = (Kind::Close, time);
        record.reason = Some(["client_closed", "server_closed", "idle_timeout"][self.chance.below(3) as usize]);
        let bytes = self.chance.below(1 << 20);
        (record.bytes_out, record.bytes_in) = (Some(bytes), Some(bytes * 7));
        record.duration_us = Some(bytes * 31);
        (record.tls_version, record.tls_cipher) = (Some("1.3"), Some("TLS_AES_128_GCM_SHA256".into()));
        record
    }
}
