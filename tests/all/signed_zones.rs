//! Zones of the test's own, signed on the spot with keys that are made from their names: what an honest resolver would answer.
//! Not here: sockets (`dns_server`), lies (each test spoils the answers that it wants spoiled).
//! Source: RFC 4034 (records), RFC 4035 section 3 (answers), RFC 5155 section 7 (hashed names).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hickory_resolver::proto::dnssec::rdata::{DNSKEY, DNSSECRData, DS, NSEC, NSEC3, RRSIG, SigInput};
use hickory_resolver::proto::dnssec::{Algorithm, DigestType, Nsec3HashAlgorithm, PublicKeyBuf, TBS};
use hickory_resolver::proto::op::{Message, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::{CNAME, SOA};
use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record, RecordType, SerialNumber};
use jiff::Timestamp;

use super::dns_server::{DnsServer, Question, Reply};

const TTL: u32 = 300;

/// Where the test's own server is.
const HERE: [u8; 4] = [127, 0, 0, 1];

/// How a zone says what is not there.
#[derive(Clone, Copy, PartialEq)]
pub enum Denial {
    /// Not signed at all.
    Unsigned,
    Names,
    Hashes {
        opt_out: bool,
        iterations: u16,
    },
}

/// One zone. Its records are signed from an hour ago to an hour ahead, but for those in `signed`.
pub struct Zone {
    pub name: Name,
    key: Key,
    pub denial: Denial,
    sets: BTreeMap<(Name, RecordType), Vec<RData>>,
    /// Other times of signatures, in seconds from now.
    signed: BTreeMap<Name, (i64, i64)>,
}

/// Those that zones are signed with in the world.
enum Key {
    Ed25519(Ed25519KeyPair),
    P256,
    Rsa,
}

/// One key for all zones of an algorithm: making one takes a while.
static P256: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
static RSA: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());

impl Key {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ed25519(_) => Algorithm::ED25519,
            Self::P256 => Algorithm::ECDSAP256SHA256,
            Self::Rsa => Algorithm::RSASHA256,
        }
    }

    /// RFC 8080, RFC 6605 (without the 4 of uncompressed points), RFC 3110 (the exponent with its length, then the modulus).
    fn public(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.public_key().as_ref().to_vec(),
            Self::P256 => P256.public_key().as_ref()[1..].to_vec(),
            Self::Rsa => {
                let (exponent, modulus) = (RSA.public_key().exponent(), RSA.public_key().modulus());
                let exponent = exponent.big_endian_without_leading_zero();
                [&[u8::try_from(exponent.len()).unwrap()], exponent, modulus.big_endian_without_leading_zero()].concat()
            }
        }
    }

    fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.sign(bytes).as_ref().to_vec(),
            Self::P256 => P256.sign(&SystemRandom::new(), bytes).unwrap().as_ref().to_vec(),
            Self::Rsa => {
                let mut signature = vec![0; RSA.public_modulus_len()];
                RSA.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), bytes, &mut signature).unwrap();
                signature
            }
        }
    }
}

pub struct World(Vec<Zone>);

pub fn name(text: &str) -> Name {
    Name::from_ascii(format!("{}.", text.trim_end_matches('.'))).unwrap()
}

fn now() -> i64 {
    Timestamp::now().as_second()
}

/// The root and `test`, which says nothing of zones that are not signed, and zones of each kind below.
pub fn world() -> World {
    let signed = Zone::new("signed.test", Denial::Names)
        .address("api.signed.test", HERE)
        .address("one.signed.test", HERE)
        .address("other.signed.test", [127, 0, 0, 2])
        .address("*.w.signed.test", HERE)
        .address("here.w.signed.test", HERE)
        .alias("alias.signed.test", "api.plain.test")
        .alias("near.signed.test", "x.w.hashed.test")
        .address("old.signed.test", HERE)
        .signed("old.signed.test", -7200, -60)
        .address("new.signed.test", HERE)
        .signed("new.signed.test", 60, 7200);
    let hashes = |text, opt_out, iterations| Zone::new(text, Denial::Hashes { opt_out, iterations });
    let hashed = hashes("hashed.test", false, 100)
        .address("api.hashed.test", HERE)
        .address("*.w.hashed.test", HERE)
        .below("below.hashed.test", None);
    let slow = hashes("slow.test", false, 101).address("api.slow.test", HERE);
    let plain = Zone::new("plain.test", Denial::Unsigned).address("api.plain.test", HERE);
    let deep = Zone::new("below.hashed.test", Denial::Unsigned).address("api.below.hashed.test", HERE);
    let broken = Zone::new("broken.test", Denial::Names).address("api.broken.test", HERE);
    let dated = Zone::new("dated.test", Denial::Names).address("api.dated.test", HERE);
    let sha1 = DS::new(dated.ds().key_tag(), Algorithm::from_u8(5), DigestType::SHA256, vec![1; 32]);
    let test = hashes("test", true, 0)
        .below("signed.test", Some(signed.ds()))
        .below("hashed.test", Some(hashed.ds()))
        .below("slow.test", Some(slow.ds()))
        .below("plain.test", None)
        .below("broken.test", Some(signed.ds()))
        .below("dated.test", Some(sha1));
    let root = Zone::new("", Denial::Names).below("test", Some(test.ds()));
    World::new([root, test, signed, hashed, slow, plain, deep, broken, dated])
}

impl Zone {
    pub fn new(text: &str, denial: Denial) -> Self {
        let mut seed = [7; 32];
        seed.iter_mut().zip(text.bytes()).for_each(|(seed, byte)| *seed = byte);
        let key = match text {
            "" => Key::Rsa,
            "hashed.test" => Key::P256,
            _ => Key::Ed25519(Ed25519KeyPair::from_seed_unchecked(&seed).unwrap()),
        };
        let apex = name(text);
        let soa = SOA::new(apex.clone(), apex.clone(), 1, 7200, 900, 86_400, TTL);
        let mut sets = BTreeMap::from([((apex.clone(), RecordType::SOA), vec![RData::SOA(soa)])]);
        if denial != Denial::Unsigned {
            let key = PublicKeyBuf::new(key.public(), key.algorithm());
            let key = RData::DNSSEC(DNSSECRData::DNSKEY(DNSKEY::new(true, true, false, key)));
            sets.insert((apex.clone(), RecordType::DNSKEY), vec![key]);
        }
        Self { name: apex, key, denial, sets, signed: BTreeMap::new() }
    }

    pub fn address(mut self, owner: &str, address: [u8; 4]) -> Self {
        self.sets.entry((name(owner), RecordType::A)).or_default().push(RData::A(Ipv4Addr::from(address).into()));
        self
    }

    pub fn alias(mut self, owner: &str, to: &str) -> Self {
        self.sets.insert((name(owner), RecordType::CNAME), vec![RData::CNAME(CNAME(name(to)))]);
        self
    }

    /// Signatures of one name's addresses with other times.
    pub fn signed(mut self, owner: &str, from: i64, to: i64) -> Self {
        self.signed.insert(name(owner), (from, to));
        self
    }

    /// Hands a name over, with the digest of the key that signs there, if any.
    pub fn below(mut self, owner: &str, ds: Option<DS>) -> Self {
        let ns = RData::NS(hickory_resolver::proto::rr::rdata::NS(name(&format!("ns.{owner}"))));
        self.sets.insert((name(owner), RecordType::NS), vec![ns]);
        if let Some(ds) = ds {
            self.sets.insert((name(owner), RecordType::DS), vec![RData::DNSSEC(DNSSECRData::DS(ds))]);
        }
        self
    }

    fn public(&self) -> PublicKeyBuf {
        PublicKeyBuf::new(self.key.public(), self.key.algorithm())
    }

    pub fn ds(&self) -> DS {
        DS::from_key(&self.public(), &self.name, DigestType::SHA256).unwrap()
    }

    /// The key as a file of trust anchors has it.
    pub fn anchor(&self) -> String {
        let ds = self.ds();
        let digest: String = ds.digest().iter().map(|byte| format!("{byte:02X}")).collect();
        format!("{} IN DS {} {} 2 {digest}\n", self.name, ds.key_tag(), u8::from(ds.algorithm()))
    }

    /// The same with the key itself.
    pub fn dnskey(&self) -> String {
        format!(
            "{} IN DNSKEY 257 3 {} {}\n",
            self.name,
            u8::from(self.key.algorithm()),
            STANDARD.encode(self.key.public())
        )
    }

    /// These records of `owner`, and their signature. `labels`: of the wildcard that they were made from.
    pub fn sign(&self, owner: &Name, data: &[RData], labels: u8) -> Vec<Record> {
        let mut records: Vec<_> =
            data.iter().map(|data| Record::from_rdata(owner.clone(), TTL, data.clone())).collect();
        if self.denial == Denial::Unsigned || records.is_empty() {
            return records;
        }
        let other = self.signed.get(owner).filter(|_| records[0].record_type() == RecordType::A);
        let (from, to) = other.copied().unwrap_or((-3600, 3600));
        let at = |seconds: i64| SerialNumber::new(u32::try_from(now() + seconds).unwrap());
        let input = SigInput {
            type_covered: records[0].record_type(),
            algorithm: self.key.algorithm(),
            num_labels: labels,
            original_ttl: TTL,
            sig_expiration: at(to),
            sig_inception: at(from),
            key_tag: self.ds().key_tag(),
            signer_name: self.name.clone(),
        };
        let tbs = TBS::from_input(owner, DNSClass::IN, &input, records.iter()).unwrap();
        let signature = RRSIG::from_sig(input, self.key.sign(tbs.as_ref()));
        records.push(Record::from_rdata(owner.clone(), TTL, RData::DNSSEC(DNSSECRData::RRSIG(signature))));
        records
    }

    fn set(&self, owner: &Name, kind: RecordType) -> Option<&[RData]> {
        self.sets.get(&(owner.clone(), kind)).map(Vec::as_slice)
    }

    /// Every name that has records, and with `empty` those that only have names below.
    fn names(&self, empty: bool) -> BTreeSet<Name> {
        let mut names: BTreeSet<Name> = self.sets.keys().map(|(owner, _)| owner.clone()).collect();
        for owner in names.clone() {
            let mut above = owner.base_name();
            while empty && self.name.zone_of(&above) && names.insert(above.clone()) {
                above = above.base_name();
            }
        }
        names
    }

    fn types(&self, owner: &Name) -> BTreeSet<RecordType> {
        let here = self.sets.keys().filter(|(name, _)| name == owner);
        here.map(|(_, kind)| *kind)
            .chain(self.sets.keys().any(|(name, _)| name == owner).then_some(RecordType::RRSIG))
            .collect()
    }

    /// The closest name above `owner` that is there.
    fn encloser(&self, owner: &Name) -> Name {
        let names = self.names(true);
        (0..).map(|up| owner.trim_to(usize::from(owner.num_labels()) - up)).find(|above| names.contains(above)).unwrap()
    }

    /// That `owner` has no such record, or that it was made from a wildcard.
    pub fn deny(&self, owner: &Name) -> Vec<Record> {
        let encloser = self.encloser(owner);
        let closer = owner.trim_to(usize::from(encloser.num_labels()) + 1);
        let wildcard = encloser.prepend_label("*").unwrap();
        let about: Vec<Name> = match self.denial {
            Denial::Unsigned => Vec::new(),
            Denial::Names => vec![owner.clone(), wildcard],
            Denial::Hashes { .. } => vec![owner.clone(), encloser, closer, wildcard],
        };
        let mut seen = BTreeSet::new();
        let proofs = about.iter().map(|name| self.proof(name)).filter(|(owner, _)| seen.insert(owner.clone()));
        proofs
            .collect::<Vec<_>>()
            .into_iter()
            .flat_map(|(owner, data)| self.sign(&owner, &[data], owner.num_labels()))
            .collect()
    }

    /// The record that stands at `about` or before it.
    pub fn proof(&self, about: &Name) -> (Name, RData) {
        let Denial::Hashes { opt_out, iterations } = self.denial else {
            let names = self.names(false);
            let owner = names.range(..=about).next_back().or(names.last()).unwrap();
            let next = names.range(owner..).nth(1).or(names.first()).unwrap();
            let nsec = NSEC::new(next.clone(), self.types(owner).into_iter().chain([RecordType::NSEC]));
            return (owner.clone(), RData::DNSSEC(DNSSECRData::NSEC(nsec)));
        };
        let hash = |name: &Name| Nsec3HashAlgorithm::SHA1.hash(b"salt", name, iterations).unwrap().as_ref().to_vec();
        let is_left_out = |name: &Name| {
            opt_out && self.set(name, RecordType::NS).is_some() && self.set(name, RecordType::DS).is_none()
        };
        let names: BTreeMap<Vec<u8>, Name> =
            self.names(true).into_iter().filter(|name| !is_left_out(name)).map(|name| (hash(&name), name)).collect();
        let wanted = hash(about);
        let (at, name) = names.range(..=wanted).next_back().or(names.last_key_value()).unwrap();
        let next = names.range(at.clone()..).nth(1).or(names.first_key_value()).unwrap().0.clone();
        let nsec3 = NSEC3::new(Nsec3HashAlgorithm::SHA1, opt_out, iterations, b"salt".into(), next, self.types(name));
        let owner = self.name.prepend_label(base32(at)).unwrap();
        (owner, RData::DNSSEC(DNSSECRData::NSEC3(nsec3)))
    }
}

impl World {
    pub fn new(zones: impl Into<Vec<Zone>>) -> Self {
        Self(zones.into())
    }

    pub fn zone(&self, text: &str) -> &Zone {
        self.0.iter().find(|zone| zone.name == name(text)).unwrap()
    }

    /// The zone that answers: for a DS record the one above.
    fn zone_of(&self, owner: &Name, kind: RecordType) -> &Zone {
        let is_its = |zone: &&Zone| zone.name.zone_of(owner) && (kind != RecordType::DS || zone.name != *owner);
        self.0.iter().filter(is_its).max_by_key(|zone| zone.name.num_labels()).unwrap_or(&self.0[0])
    }

    /// The whole answer, along its aliases.
    pub fn answer(&self, question: &Question) -> Message {
        let (mut owner, kind) = (name(&question.name), RecordType::from(question.kind));
        let mut message = Message::query();
        message.add_query(Query::query(owner.clone(), kind));
        let mut message = message.into_response();
        loop {
            let zone = self.zone_of(&owner, kind);
            let wildcard = zone.encloser(&owner).prepend_label("*").unwrap();
            let is_there = zone.names(true).contains(&owner);
            let from = if is_there { &owner } else { &wildcard };
            let found = [RecordType::CNAME, kind].into_iter().find_map(|kind| Some((kind, zone.set(from, kind)?)));
            let Some((found_kind, data)) = found else {
                let soa = zone.set(&zone.name, RecordType::SOA).unwrap();
                message.add_authorities(zone.sign(&zone.name, soa, zone.name.num_labels()));
                message.add_authorities(zone.deny(&owner));
                let is_wild = zone.names(false).contains(&wildcard);
                message.metadata.response_code =
                    if is_there || is_wild { ResponseCode::NoError } else { ResponseCode::NXDomain };
                return message;
            };
            message.add_answers(zone.sign(&owner, data, from.num_labels()));
            if !is_there {
                message.add_authorities(zone.deny(&owner));
            }
            let (RData::CNAME(alias), true) = (&data[0], found_kind != kind) else { return message };
            owner = alias.0.clone();
        }
    }

    /// An answer that this zone signs, although the name is not its own.
    pub fn forge(&self, question: &Question, zone: &str) -> Message {
        let (owner, zone) = (name(&question.name), self.zone(zone));
        let mut message = Message::query();
        message.add_query(Query::query(owner.clone(), RecordType::from(question.kind)));
        message.add_answers(zone.sign(&owner, &[data("127.0.0.1")], owner.num_labels()));
        message.into_response()
    }

    /// A server that answers so, once `spoil` has had its way with each answer. `None`: silence.
    pub fn serve(
        self,
        spoil: impl Fn(&Self, &Question, Message) -> Option<Message> + Send + Sync + 'static,
    ) -> DnsServer {
        DnsServer::start(move |question| {
            let spoiled = spoil(&self, question, self.answer(question));
            spoiled.map_or(Reply::Silence, |message| Reply::Whole(message.to_vec().unwrap()))
        })
    }
}

/// Whether a record is a signature.
pub fn is_signature(record: &Record) -> bool {
    record.record_type() == RecordType::RRSIG
}

/// An address as record data.
pub fn data(address: &str) -> RData {
    match address.parse().unwrap() {
        IpAddr::V4(address) => RData::A(address.into()),
        IpAddr::V6(address) => RData::AAAA(address.into()),
    }
}

/// RFC 4648 section 7, as RFC 5155 section 3.3 wants it.
fn base32(bytes: &[u8]) -> String {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let digit = |five: &[u8]| {
        char::from(b"0123456789abcdefghijklmnopqrstuv"[usize::from(five.iter().fold(0, |sum, bit| sum << 1 | bit))])
    };
    bits.chunks(5).map(digit).collect()
}
