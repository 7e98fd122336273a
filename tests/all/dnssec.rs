//! `dnssec: validate`: what is signed, what nobody signs, whose keys count, and what is asked for.
//! Not here: lies (`dnssec_lies`), the rest of looking up (`lookups`, `names`).
//! Source: the contract's `dns`; RFC 4035 section 5, RFC 5155 section 8.

use std::fs;
use std::io::Write;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hickory_resolver::proto::op::Message;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::dns_server::{A, DnsServer, Question, Reply, SERVFAIL};
use super::ends::{Origin, Tunnel, finish, metric, refusal};
use super::harness::{PATIENCE, Proxy, Setup, eventually, read_answer, status_of, write_setup};
use super::signed_zones::{World, is_signature, world};

pub const DS_KIND: u16 = 43;
pub const DNSKEY: u16 = 48;

/// A proxy that validates from these keys.
pub fn start(keys: &str, port: u16, dns: &str) -> Proxy {
    let dir = TempDir::new().unwrap();
    let hosts = "[one.signed.test, \"**.test\"]";
    let policy = format!(
        "rules:\n  - {{id: here, customer: acme, sources: [tests], hosts: {hosts}, ports: [{port}], addresses: [127.0.0.0/25], public_suffix: true}}\n"
    );
    write_setup(dir.path(), &Setup { policy: &policy, more: dns, ..Setup::default() });
    fs::write(dir.path().join("keys"), keys).unwrap();
    Proxy::start_in(dir)
}

pub const VALIDATE: &str = ", dnssec: validate, trust_anchor: keys";

/// Outcome, reason and detail of the record.
pub fn decided(proxy: &Proxy, host: &str, origin: &Origin, is_allowed: bool) -> Value {
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

pub fn refused(reason: &str) -> Value {
    json!(["error", reason, null])
}

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

/// The answer as it would be without signatures.
pub fn stripped(mut message: Message) -> Message {
    message.answers.retain(|record| !is_signature(record));
    message.authorities.clear();
    message
}

/// A server that lies is one that fails: the next one is asked, and what it says is validated as well.
#[test]
fn a_second_server_that_does_not_lie_is_believed() {
    let origin = Origin::new();
    let keys = world().zone("").anchor();
    let first = world().serve(|_, question, message| {
        let is_ours = question.name == "api.signed.test";
        Some(if is_ours { stripped(message) } else { message })
    });
    let second = world().serve(honest);
    let proxy = start(&keys, origin.port(), &DnsServer::several(&[&first, &second], VALIDATE));
    let want = allowed(json!({"dnssec": "secure"}));
    assert_eq!(decided(&proxy, "api.signed.test", &origin, true), want);
    assert_eq!((first.times("api.signed.test", A), second.times("api.signed.test", A)), (1, 1));
    // It lied of one name: for the others it is still the first.
    assert_eq!(decided(&proxy, "x.w.signed.test", &origin, true), want);
    assert_eq!((first.times("x.w.signed.test", A), second.times("x.w.signed.test", A)), (1, 0));
}

/// What is known of zones is not asked for again; and what nobody validates is asked for as ever.
#[test]
fn keys_are_asked_for_once_and_only_to_validate() {
    let origin = Origin::new();
    let keys = world().zone("").anchor();
    let dns = world().serve(honest);
    let proxy = start(&keys, origin.port(), &dns.settings("udp", VALIDATE));
    let chain = || {
        let asked = dns.asked().into_iter().filter(|question| [DS_KIND, DNSKEY].contains(&question.kind));
        asked.map(|question| question.name).collect::<Vec<_>>()
    };
    for host in ["api.signed.test", "api.plain.test"] {
        decided(&proxy, host, &origin, true);
    }
    let before = chain();
    for host in ["x.w.signed.test", "y.w.signed.test", "z.plain.test"] {
        decided(&proxy, host, &origin, !host.starts_with('z'));
    }
    assert_eq!(chain(), before);
    for zone in ["", "test", "signed.test", "plain.test"] {
        assert!(before.iter().any(|name| name == zone), "{zone} in {before:?}");
    }
    let dns = world().serve(honest);
    let proxy = start(&keys, origin.port(), &dns.settings("udp", ", dnssec: none"));
    decided(&proxy, "api.signed.test", &origin, true);
    let asked = dns.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked.iter().all(|question| !question.signed), "{asked:?}");
}

/// Whichever form the keys have; and a key that is not the zone's, or none for the name, trusts nobody.
#[test]
fn trust_begins_with_the_operators_keys() {
    let origin = Origin::new();
    let zones = world();
    let (root, signed, plain) = (zones.zone(""), zones.zone("signed.test"), zones.zone("plain.test"));
    let dns = world().serve(honest);
    let secure = allowed(json!({"dnssec": "secure"}));
    for (what, keys, want) in [
        ("a digest", root.anchor(), secure.clone()),
        ("a key", root.dnskey(), secure.clone()),
        ("of the zone itself", signed.dnskey(), secure.clone()),
        ("an old one beside", format!("{}{}", plain.anchor().replace("plain.test.", "."), root.anchor()), secure),
        (
            "a nearer one that did not sign",
            format!("{}{}", root.anchor(), plain.anchor().replace("plain.test.", "api.signed.test.")),
            refused("dnssec_bogus"),
        ),
        ("of another zone", root.anchor().replacen(". ", "plain.test. ", 1), refused("dnssec_bogus")),
        ("another's", plain.anchor().replace("plain.test.", "."), refused("dnssec_bogus")),
    ] {
        let proxy = start(&keys, origin.port(), &dns.settings("udp", VALIDATE));
        assert_eq!(decided(&proxy, "api.signed.test", &origin, want[0] == "allow"), want, "{what}");
    }
    // Without a file it is the root's own keys, which never signed this world.
    let proxy = start("", origin.port(), &dns.settings("udp", ", dnssec: validate"));
    assert_eq!(decided(&proxy, "api.signed.test", &origin, false), refused("dnssec_bogus"));
}

/// A server that does not give what it takes to validate has not answered; one that is silent is late, as ever.
#[test]
fn silence_is_no_proof() {
    let origin = Origin::new();
    let keys = world().zone("").anchor();
    for (what, kind, is_silent, reason) in [
        ("silent on keys", DNSKEY, true, "dns_timeout"),
        ("silent on digests", DS_KIND, true, "dns_timeout"),
        ("fails on keys", DNSKEY, false, "dnssec_bogus"),
        ("fails on digests", DS_KIND, false, "dnssec_bogus"),
    ] {
        let world = world();
        let dns = DnsServer::start(move |question| match (question.kind == kind, is_silent) {
            (true, true) => Reply::Silence,
            (true, false) => Reply::Code(SERVFAIL),
            (false, _) => Reply::Whole(world.answer(question).to_vec().unwrap()),
        });
        let proxy = start(&keys, origin.port(), &dns.settings("udp", &format!("{VALIDATE}, timeout: 500ms")));
        assert_eq!(decided(&proxy, "api.signed.test", &origin, false), refused(reason), "{what}");
    }
}

/// A listed name that was served once: lies are refused, not served stale; and they end when the lies end.
#[test]
fn a_lie_is_not_covered_by_what_is_stale() {
    let origin = Origin::new();
    let keys = world().zone("").anchor();
    let is_lying = Arc::new(AtomicBool::new(false));
    let lies = Arc::clone(&is_lying);
    let dns = world()
        .serve(move |_, _, message| Some(if lies.load(Ordering::Relaxed) { stripped(message) } else { message }));
    let more = format!("{VALIDATE}, min_ttl: 0s, max_ttl: 0s, serve_stale: 1h");
    let proxy = start(&keys, origin.port(), &dns.settings("udp", &more));
    let secure = allowed(json!({"dnssec": "secure"}));
    assert_eq!(decided(&proxy, "one.signed.test", &origin, true), secure);
    is_lying.store(true, Ordering::Relaxed);
    assert_eq!(decided(&proxy, "one.signed.test", &origin, false), refused("dnssec_bogus"));
    is_lying.store(false, Ordering::Relaxed);
    eventually("an honest answer is believed again", Instant::now() + PATIENCE, || {
        let mut client = proxy.connect();
        client
            .write_all(format!("CONNECT one.signed.test:{0} HTTP/1.1\r\nHost: x\r\n\r\n", origin.port()).as_bytes())
            .unwrap();
        (status_of(&read_answer(&mut client)) == 200).then_some(())
    });
}

/// `check` reads the file of keys, and tells what is wrong with it where it is.
#[test]
fn a_fault_in_the_file_of_keys_is_told_with_its_place() {
    let dir = TempDir::new().unwrap();
    let dns = "dns: {dnssec: validate, trust_anchor: keys}\n";
    write_setup(dir.path(), &Setup { policy: "rules: []\n", more: dns, ..Setup::default() });
    let check = || {
        let mut check = Command::new(env!("CARGO_BIN_EXE_sallyport"));
        let output = check.args(["check", "-c"]).arg(dir.path().join("sallyport.yaml")).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let keys = dir.path().join("keys");
    let (code, said) = check();
    assert!(code == Some(3) && said.contains("sallyport.yaml:6:39: ") && said.contains("keys: "), "{code:?} {said}");
    fs::write(&keys, "; ours\n. IN DS 1 5 2 00\n").unwrap();
    let (code, said) = check();
    assert!(code == Some(2) && said.contains("keys:2:1: a digest of type 2 has 32 bytes"), "{code:?} {said}");
    fs::write(&keys, world().zone("").anchor()).unwrap();
    assert_eq!(check().0, Some(0));
}
