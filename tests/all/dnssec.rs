//! `dnssec: validate`: what is signed, what nobody signs, and every way of an answer to be neither.
//! Not here: the rest of looking up (`lookups`, `names`).
//! Source: the contract's `dns`; RFC 4035 section 5, RFC 5155 section 8; IDs such as C5 are those of `docs/attacks.md`.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hickory_resolver::proto::dnssec::rdata::{DNSSECRData, DS};
use hickory_resolver::proto::dnssec::{Algorithm, DigestType};
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::dns_server::{A, DnsServer, Question};
use super::ends::{Origin, Tunnel, finish, metric, refusal};
use super::harness::{Proxy, Setup, write_setup};
use super::signed_zones::{Denial, World, Zone, data, is_signature, name};

const DS_KIND: u16 = 43;
const DNSKEY: u16 = 48;
const HERE: [u8; 4] = [127, 0, 0, 1];

/// The root and `test`, which says nothing of zones that are not signed, and zones of each kind below.
fn world() -> World {
    let signed = Zone::new("signed.test", Denial::Names)
        .address("api.signed.test", HERE)
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

/// A proxy that validates from these keys.
fn start(keys: &str, port: u16, dns: &str) -> Proxy {
    let dir = TempDir::new().unwrap();
    let hosts = "[one.signed.test, \"**.test\"]";
    let policy = format!(
        "rules:\n  - {{id: here, customer: acme, sources: [tests], hosts: {hosts}, ports: [{port}], addresses: [127.0.0.0/25], public_suffix: true}}\n"
    );
    write_setup(dir.path(), &Setup { policy: &policy, more: dns, ..Setup::default() });
    fs::write(dir.path().join("keys"), keys).unwrap();
    Proxy::start_in(dir)
}

const VALIDATE: &str = ", dnssec: validate, trust_anchor: keys";

/// Outcome, reason and detail of the record.
fn decided(proxy: &Proxy, host: &str, origin: &Origin, is_allowed: bool) -> Value {
    let client = if is_allowed {
        let tunnel = Tunnel::open(proxy, host, origin);
        let address = tunnel.address;
        finish(tunnel);
        address
    } else {
        refusal(proxy, &format!("{host}:{}", origin.port())).2.local_addr().unwrap()
    };
    let record = proxy.decision_of(client);
    json!([record["outcome"], record["reason"], record["detail"]])
}

fn allowed(detail: Value) -> Value {
    json!(["allow", "allowed", detail])
}

fn refused(reason: &str) -> Value {
    json!(["error", reason, null])
}

type Spoil = fn(&World, &Question, Message) -> Option<Message>;

fn honest(_: &World, _: &Question, message: Message) -> Option<Message> {
    Some(message)
}

/// What is signed passes, and what a zone above says that nobody signs; the record tells which.
#[test]
fn what_is_signed_passes_and_what_nobody_signs() {
    let origin = Origin::new();
    let keys = world().zone("").anchor();
    let dns = world().serve(honest);
    let proxy = start(&keys, origin.port(), &dns.settings("udp", VALIDATE));
    let (secure, insecure) = (json!({"dnssec": "secure"}), json!({"dnssec": "insecure"}));
    for (host, want) in [
        ("api.signed.test", allowed(secure.clone())),
        ("x.w.signed.test", allowed(secure.clone())),
        ("a.b.w.signed.test", allowed(secure.clone())),
        ("here.w.signed.test", allowed(secure.clone())),
        ("api.hashed.test", allowed(secure.clone())),
        ("x.w.hashed.test", allowed(secure.clone())),
        ("a.b.w.hashed.test", allowed(secure.clone())),
        ("near.signed.test", allowed(json!({"dnssec": "secure", "aliases": ["x.w.hashed.test"]}))),
        ("alias.signed.test", allowed(json!({"dnssec": "insecure", "aliases": ["api.plain.test"]}))),
        ("api.plain.test", allowed(insecure.clone())),
        ("api.below.hashed.test", allowed(insecure.clone())),
        ("api.dated.test", allowed(insecure)),
        ("none.signed.test", refused("dns_failure")),
        ("a.none.signed.test", refused("dns_failure")),
        ("w.signed.test", refused("dns_failure")),
        ("none.hashed.test", refused("dns_failure")),
        ("a.none.hashed.test", refused("dns_failure")),
        ("w.hashed.test", refused("dns_failure")),
        ("none.plain.test", refused("dns_failure")),
        ("none.test", refused("dns_failure")),
        ("api.broken.test", refused("dnssec_bogus")),
        ("none.broken.test", refused("dnssec_bogus")),
        ("none.slow.test", refused("dnssec_bogus")),
        ("old.signed.test", refused("dnssec_bogus")),
        ("new.signed.test", refused("dnssec_bogus")),
    ] {
        let is_allowed = want[0] == "allow";
        assert_eq!(decided(&proxy, host, &origin, is_allowed), want, "{host}");
    }
    assert!(dns.asked().iter().all(|question| question.signed), "each answer is asked for with its signatures");
    let bogus = metric(&proxy, "sallyport_dns_lookups_total{result=\"bogus\"}");
    assert_eq!(bogus, Some(5.0));
}

fn is_for(question: &Question, host: &str, kind: u16) -> bool {
    question.name == host && question.kind == kind
}

/// The answer to one question as it would be without signatures.
fn stripped(mut message: Message) -> Message {
    message.answers.retain(|record| !is_signature(record));
    message.authorities.clear();
    message
}

/// C5: whoever stands between can take away, change, forge and repeat what was said elsewhere; none of it passes.
#[test]
fn no_lie_passes() {
    let origin = Origin::new();
    let keys = world().zone("").anchor();
    let lies: [(&str, &str, Spoil); 22] = [
        ("no signature", "api.signed.test", |_, _, message| Some(stripped(message))),
        ("no signature of the answer", "api.signed.test", |_, question, message| {
            Some(if is_for(question, "api.signed.test", A) { stripped(message) } else { message })
        }),
        ("another address", "api.signed.test", |_, _, mut message| {
            message.answers.iter_mut().filter(|record| record.record_type() == RecordType::A).for_each(|record| record.data = data("127.0.0.9"));
            Some(message)
        }),
        ("one address more", "api.signed.test", |_, question, mut message| {
            if question.kind == A {
                message.add_answer(Record::from_rdata(name("api.signed.test"), 300, data("127.0.0.9")));
            }
            Some(message)
        }),
        ("an alias more", "api.signed.test", |_, question, mut message| {
            if question.kind == A {
                let alias = RData::CNAME(CNAME(name("api.plain.test")));
                message.add_answer(Record::from_rdata(name("api.signed.test"), 300, alias));
            }
            Some(message)
        }),
        ("another's signature", "api.signed.test", |world, question, message| {
            let other = Question { name: "other.signed.test".into(), ..question.clone() };
            Some(if is_for(question, "api.signed.test", A) {
                let mut lie = stripped(message);
                lie.add_answers(world.answer(&other).answers.into_iter().filter(is_signature).map(|mut record| {
                    record.name = name("api.signed.test");
                    record
                }));
                lie
            } else {
                message
            })
        }),
        ("signed by a zone that nobody signs", "api.signed.test", |_, question, message| {
            let own = World::new([Zone::new("plain.test", Denial::Names)]);
            Some(if is_for(question, "api.signed.test", A) { own.forge(question, "plain.test") } else { message })
        }),
        ("signed by a key of the liar's", "api.signed.test", |_, question, message| {
            let own = World::new([Zone::new("api.signed.test", Denial::Names).address("api.signed.test", HERE)]);
            Some(match question.kind {
                A | DNSKEY if question.name == "api.signed.test" => own.answer(question),
                _ => message,
            })
        }),
        ("no such name", "api.signed.test", |_, question, mut message| {
            if question.name == "api.signed.test" {
                message = stripped(message);
                message.answers.clear();
                message.metadata.response_code = ResponseCode::NXDomain;
            }
            Some(message)
        }),
        ("no such name, by the proof for another", "api.signed.test", |world, question, message| {
            let none = Question { name: "none.signed.test".into(), ..question.clone() };
            Some(if question.name == "api.signed.test" { question_of(&message, world.answer(&none)) } else { message })
        }),
        ("no address, by the proof for another kind", "api.signed.test", |world, question, message| {
            let none = Question { kind: 28, ..question.clone() };
            Some(if is_for(question, "api.signed.test", A) { question_of(&message, world.answer(&none)) } else { message })
        }),
        ("no proof of absence", "none.signed.test", |_, _, mut message| {
            message.authorities.retain(|record| record.record_type() == RecordType::SOA);
            Some(message)
        }),
        ("no proof of absence, hashed", "none.hashed.test", |_, _, mut message| {
            message.authorities.retain(|record| !is_of(record, RecordType::NSEC3));
            Some(message)
        }),
        ("a wildcard without proof", "x.w.signed.test", |_, question, mut message| {
            if question.kind == A {
                message.authorities.clear();
            }
            Some(message)
        }),
        ("a wildcard over a name that is there", "here.w.signed.test", wildcard_over_a_name),
        ("no digest of the zone's key", "api.signed.test", |_, question, message| {
            Some(if question.kind == DS_KIND && question.name == "signed.test" {
                let mut lie = stripped(message);
                lie.answers.clear();
                lie
            } else if question.name.ends_with("signed.test") {
                stripped(message)
            } else {
                message
            })
        }),
        ("the digest denied by the proof for another zone", "api.signed.test", |world, question, message| {
            let other = Question { name: "plain.test".into(), ..question.clone() };
            Some(match question.kind {
                DS_KIND if question.name == "signed.test" => question_of(&message, world.answer(&other)),
                _ if question.name.ends_with("signed.test") => stripped(message),
                _ => message,
            })
        }),
        ("a zone above denies what is below", "api.signed.test", |world, question, message| {
            // `test` may have unsigned zones anywhere between its hashed names: also where this name's hash would be.
            let (owner, proof) = world.zone("test").proof(&name("api.signed.test"));
            let mut lie = stripped(message.clone());
            lie.answers.clear();
            lie.add_authorities(world.zone("test").sign(&owner, &[proof], 2));
            Some(match question.kind {
                DS_KIND if question.name == "api.signed.test" => lie,
                A => stripped(message),
                _ => message,
            })
        }),
        ("signatures by the thousand", "api.signed.test", |world, question, mut message| {
            if is_for(question, "api.signed.test", A) {
                let own = world.answer(question).answers;
                let more = own.iter().filter(|record| is_signature(record));
                (0..17).for_each(|_| { message.add_answers(more.clone().cloned()); });
            }
            Some(message)
        }),
        ("keys by the thousand", "api.signed.test", |world, question, mut message| {
            if question.kind == DNSKEY && question.name == "signed.test" {
                let own = world.answer(question).answers;
                (0..17).for_each(|_| { message.add_answer(own[0].clone()); });
            }
            Some(message)
        }),
        ("an address of nobody's", "api.plain.test", |_, question, message| {
            // The proof that nobody signs is taken away.
            Some(if question.kind == DS_KIND && question.name == "plain.test" { stripped(message) } else { message })
        }),
        ("no keys", "api.signed.test", |_, question, mut message| {
            if question.kind == DNSKEY {
                message = stripped(message);
                message.answers.clear();
                message.metadata.response_code = ResponseCode::ServFail;
            }
            Some(message)
        }),
    ];
    for (what, host, spoil) in lies {
        let dns = world().serve(spoil);
        let proxy = start(&keys, origin.port(), &dns.settings("tcp", VALIDATE));
        assert_eq!(decided(&proxy, host, &origin, false), refused("dnssec_bogus"), "{what}");
    }
}

fn is_of(record: &Record, kind: RecordType) -> bool {
    match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(signature)) => signature.input().type_covered == kind,
        _ => record.record_type() == kind,
    }
}

/// What was said to another question, as if it were to this one.
fn question_of(asked: &Message, mut said: Message) -> Message {
    said.queries.clone_from(&asked.queries);
    said
}

fn wildcard_over_a_name(world: &World, question: &Question, message: Message) -> Option<Message> {
    if !is_for(question, "here.w.signed.test", A) {
        return Some(message);
    }
    let zone = world.zone("signed.test");
    let mut lie = stripped(message);
    lie.answers = zone.sign(&name("here.w.signed.test"), &[data("127.0.0.1")], 3);
    lie.add_authorities(zone.deny(&name("x.w.signed.test")));
    Some(lie)
}
