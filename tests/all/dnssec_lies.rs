//! Whoever stands between a name server and the proxy can take away, change, forge, and repeat what was said elsewhere: none of it passes.
//! Not here: what passes (`dnssec`). Each lie is told of a name that is served, or known not to be there, as long as nobody lies.
//! Source: RFC 4035 section 5, RFC 5155 section 8, RFC 6840 section 4; C5 and G9 of `docs/attacks.md`; CVE-2023-50387.

use hickory_resolver::proto::dnssec::rdata::DNSSECRData;
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{RData, Record, RecordType};

use super::dns_server::{A, AAAA, Question};
use super::dnssec::{DNSKEY, DS_KIND, VALIDATE, decided, refused, start, stripped};
use super::ends::Origin;
use super::signed_zones::{Denial, World, Zone, data, is_signature, name, world};

/// The victim of most.
const API: &str = "api.signed.test";

/// What is told, to whoever asks for which name, and what becomes of the answer.
type Lie = (&'static str, &'static str, fn(&World, &Question, Message) -> Message);

fn none_passes(lies: &[Lie]) {
    let origin = Origin::new();
    let keys = world().zone("").anchor();
    for (what, host, lie) in lies.iter().copied() {
        let dns = world().serve(move |world, question, message| Some(lie(world, question, message)));
        // Over TCP: no lie is too long.
        let proxy = start(&keys, origin.port(), &dns.settings("tcp", VALIDATE));
        assert_eq!(decided(&proxy, host, &origin, false), refused("dnssec_bogus"), "{what}");
    }
}

fn is_for(question: &Question, host: &str, kind: u16) -> bool {
    question.name == host && question.kind == kind
}

fn is_of(record: &Record, kind: RecordType) -> bool {
    if let RData::DNSSEC(DNSSECRData::RRSIG(signature)) = &record.data {
        return signature.input().type_covered == kind;
    }
    record.record_type() == kind
}

/// Nothing, and nobody signs that.
fn empty(message: Message) -> Message {
    let mut message = stripped(message);
    message.answers.clear();
    message
}

/// What is true of another name and kind, as if it were said to this question.
fn instead(world: &World, asked: &Question, host: &str, kind: u16) -> Message {
    let mut said = world.answer(&Question { name: host.into(), kind, ..asked.clone() });
    said.queries = world.answer(asked).queries;
    said
}

/// As many signatures or keys as nobody needs.
fn many(mut message: Message, is_one: fn(&Record) -> bool) -> Message {
    let one = message.answers.iter().find(|record| is_one(record)).unwrap().clone();
    message.add_answers(std::iter::repeat_n(one, 17));
    message
}

#[test]
fn nothing_passes_without_its_signatures() {
    none_passes(&[
        ("of anything", API, |_, _, message| stripped(message)),
        ("of the answer", API, |_, asked, message| if is_for(asked, API, A) { stripped(message) } else { message }),
        ("of the keys", API, |_, asked, message| if asked.kind == DNSKEY { stripped(message) } else { message }),
        ("of the digest", API, |_, asked, message| if asked.kind == DS_KIND { stripped(message) } else { message }),
        ("the zone as if it had none", API, |_, asked, message| match asked.kind {
            DS_KIND if asked.name == "signed.test" => empty(message),
            _ if asked.name.ends_with("signed.test") => stripped(message),
            _ => message,
        }),
        ("of the proof that nobody signs", "api.plain.test", |_, asked, message| {
            if is_for(asked, "plain.test", DS_KIND) { stripped(message) } else { message }
        }),
        ("no keys at all", API, |_, asked, mut message| {
            if asked.kind == DNSKEY {
                message = empty(message);
                message.metadata.response_code = ResponseCode::ServFail;
            }
            message
        }),
    ]);
}

#[test]
fn nothing_passes_with_another_signature() {
    none_passes(&[
        ("another address", API, |_, _, mut message| {
            let addresses = message.answers.iter_mut().filter(|record| record.record_type() == RecordType::A);
            addresses.for_each(|record| record.data = data("127.0.0.9"));
            message
        }),
        ("one address more", API, |_, asked, mut message| {
            if asked.kind == A {
                message.add_answer(Record::from_rdata(name(API), 300, data("127.0.0.9")));
            }
            message
        }),
        ("an alias more", API, |_, asked, mut message| {
            if asked.kind == A {
                message.add_answer(Record::from_rdata(name(API), 300, RData::CNAME(CNAME(name("api.plain.test")))));
            }
            message
        }),
        ("that of another name", API, |world, asked, message| {
            if !is_for(asked, API, A) {
                return message;
            }
            let mut lie = stripped(message);
            for mut signature in instead(world, asked, "other.signed.test", A).answers.into_iter().filter(is_signature)
            {
                signature.name = name(API);
                lie.add_answer(signature);
            }
            lie
        }),
        ("by a zone that nobody signs", API, |_, asked, message| {
            let own = World::new([Zone::new("plain.test", Denial::Names)]);
            if is_for(asked, API, A) { own.forge(asked, "plain.test") } else { message }
        }),
        ("by a key of the liar's", API, |_, asked, message| {
            let own = World::new([Zone::new(API, Denial::Names).address(API, [127, 0, 0, 1])]);
            if asked.name == API && [A, DNSKEY].contains(&asked.kind) { own.answer(asked) } else { message }
        }),
        ("by the name's own zone, for a zone above", API, |world, asked, message| {
            if is_for(asked, API, A) { world.forge(asked, "hashed.test") } else { message }
        }),
    ]);
}

#[test]
fn nothing_is_absent_without_its_proof() {
    none_passes(&[
        ("no such name", API, |_, asked, mut message| {
            if asked.name == API {
                message = empty(message);
                message.metadata.response_code = ResponseCode::NXDomain;
            }
            message
        }),
        ("the proof for another name", API, |world, asked, message| {
            if asked.name == API { instead(world, asked, "none.signed.test", asked.kind) } else { message }
        }),
        ("the proof for another kind", API, |world, asked, message| {
            if is_for(asked, API, A) { instead(world, asked, API, AAAA) } else { message }
        }),
        ("none", "none.signed.test", |_, _, mut message| {
            message.authorities.retain(|record| !is_of(record, RecordType::NSEC));
            message
        }),
        ("none, hashed", "none.hashed.test", |_, _, mut message| {
            message.authorities.retain(|record| !is_of(record, RecordType::NSEC3));
            message
        }),
        ("a wildcard's", "x.w.signed.test", |_, asked, mut message| {
            if asked.kind == A {
                message.authorities.clear();
            }
            message
        }),
        ("a wildcard's, hashed", "x.w.hashed.test", |_, asked, mut message| {
            if asked.kind == A {
                message.authorities.clear();
            }
            message
        }),
        ("a wildcard over a name that is there", "here.w.signed.test", |world, asked, message| {
            if !is_for(asked, "here.w.signed.test", A) {
                return message;
            }
            let zone = world.zone("signed.test");
            let mut lie = stripped(message);
            lie.answers = zone.sign(&name(&asked.name), &[data("127.0.0.1")], 3);
            lie.add_authorities(zone.deny(&name("x.w.signed.test")));
            lie
        }),
    ]);
}

/// `test` may have unsigned zones anywhere between its hashed names. That is true, signed, and says nothing of what is below a signed one.
#[test]
fn no_zone_above_denies_what_is_signed_below() {
    none_passes(&[
        ("the proof for an unsigned zone", API, |world, asked, message| match asked.kind {
            DS_KIND if asked.name == "signed.test" => instead(world, asked, "plain.test", DS_KIND),
            _ if asked.name.ends_with("signed.test") => stripped(message),
            _ => message,
        }),
        ("unsigned zones may be where the name's hash would be", API, |world, asked, message| {
            let zone = world.zone("test");
            let (owner, proof) = zone.proof(&name(API));
            match asked.kind {
                DS_KIND if asked.name == API => {
                    let mut lie = empty(message);
                    lie.add_authorities(zone.sign(&owner, &[proof], 2));
                    lie
                }
                A | AAAA => stripped(message),
                _ => message,
            }
        }),
    ]);
}

#[test]
fn what_costs_too_much_is_not_looked_at() {
    none_passes(&[
        (
            "signatures",
            API,
            |_, asked, message| if is_for(asked, API, A) { many(message, is_signature) } else { message },
        ),
        ("keys", API, |_, asked, message| {
            let is_key = |record: &Record| record.record_type() == RecordType::DNSKEY;
            if asked.kind == DNSKEY { many(message, is_key) } else { message }
        }),
    ]);
}
