//! Names against a name server of the test's own: what is asked, when, and what becomes of each answer.
//! Not here: dialling what was judged (`dials`).
//! Source: the contract's words on names and addresses; IDs such as C4 are those of `docs/attacks.md`.

use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::dns_server::{A, AAAA, Data, DnsServer, NXDOMAIN, Question, REFUSED, Reply, SERVFAIL, of_kind, table};
use super::ends::{Origin, Tunnel, dialled, established, finish, refusal};
use super::harness::{Proxy, Setup, write_setup};

/// Rules for `*.here.test` (may lead to loopback) and `*.out.test` (only to what is global).
fn policy(port: u16) -> String {
    format!(
        "never: {{hosts: [\"**.never.test\"], networks: [127.0.0.66/32]}}
rules:
  - {{id: here, customer: acme, sources: [tests], hosts: [\"*.here.test\", db], ports: [{port}], addresses: [127.0.0.0/25, \"::1/128\"]}}
  - {{id: out, customer: acme, sources: [tests], hosts: [\"*.out.test\"], ports: [{port}]}}
  - {{id: old, customer: acme, sources: [tests], hosts: [old.here.test], ports: [{port}], expires: 2020-01-01}}
"
    )
}

fn proxy(dns: &DnsServer, port: u16, more: &str) -> Proxy {
    Proxy::start(&Setup { policy: &policy(port), more: &dns.settings("udp", more), ..Setup::default() })
}

/// C4, rows 26 to 32: a name that the policy does not admit is never asked for.
#[test]
fn nothing_is_asked_before_the_policy_admits_it() {
    let origin = Origin::new();
    let dns = DnsServer::start(table(&[("api.here.test", &["127.0.0.1"])]));
    let (proxy, port) = (proxy(&dns, origin.port(), ""), origin.port());
    for (target, reason) in [
        (format!("secret-1.evil.example:{port}"), "destination_not_listed"),
        (format!("a.b.here.test:{port}"), "destination_not_listed"),
        (format!("here.test:{port}"), "destination_not_listed"),
        ("api.here.test:1".into(), "port_not_allowed"),
        (format!("a.never.test:{port}"), "destination_denied"),
        (format!("old.here.test:{port}"), "rule_expired"),
        (format!("4111111111111111.here.test:{port}"), "sensitive_data_in_target"),
        ("127.0.0.1:443".into(), "destination_not_listed"),
        ("api.here.test".into(), "malformed_target"),
    ] {
        assert_eq!(refusal(&proxy, &target).1, reason, "{target}");
    }
    let get = format!("GET http://api.here.test:{port}/ HTTP/1.1\r\nHost: api.here.test\r\n\r\n");
    assert!(proxy.ask(get.as_bytes()).1.starts_with("HTTP/1.1 403 plaintext_http"));
    assert_eq!(dns.asked(), [], "asked for what was refused");
    finish(Tunnel::open(&proxy, "api.here.test", &origin));
    assert_eq!(asked_for(&dns), ["api.here.test", "api.here.test"], "A and AAAA, absolute");
}

/// Attack H2: a card number is refused before anybody outside hears of it, however the name is written, but for a host that a rule
/// lists as it is.
#[test]
fn a_card_number_in_a_name_is_told_to_no_name_server() {
    let origin = Origin::new();
    let listed = "4012888888881881.there.test";
    let dns = DnsServer::start(|question| of_kind(question.kind, &["127.0.0.1".parse().unwrap()]));
    let port = origin.port();
    let policy = format!(
        "rules:
  - {{id: below, customer: acme, sources: [tests], hosts: [\"**.here.test\", \"**.there.test\"], ports: [{port}], addresses: [127.0.0.1/32]}}
  - {{id: exact, customer: acme, sources: [tests], hosts: [{listed}], ports: [{port}], addresses: [127.0.0.1/32]}}
"
    );
    let more = dns.settings("udp", "");
    let proxy = Proxy::start(&Setup { policy: &policy, more: &more, ..Setup::default() });
    for (name, reason) in [
        ("4012888888881881.here.test", "sensitive_data_in_target"),
        ("4012888888881881.here.test.", "sensitive_data_in_target"),
        ("a.4012888888881881.HERE.test", "sensitive_data_in_target"),
        ("PAN4012888888881881X.here.test", "sensitive_data_in_target"),
        ("4012-8888-8888-1881.here.test", "sensitive_data_in_target"),
        ("4012.8888.8888.1881.here.test", "sensitive_data_in_target"),
        ("4012_8888_8888_1881.here.test", "sensitive_data_in_target"),
        ("xn--4012888888881881-gva.here.test", "sensitive_data_in_target"),
        ("x.4012888888881881.there.test", "sensitive_data_in_target"),
        ("4012888888881881", "malformed_target"),
        ("me:x@4012888888881881.here.test", "malformed_target"),
        ("4012888888881881%2ehere.test", "malformed_request"),
    ] {
        let (_, refused, socket) = refusal(&proxy, &format!("{name}:{port}"));
        assert_eq!(refused, reason, "{name}");
        let record = proxy.decision_of(socket.local_addr().unwrap());
        let host = record["host"].as_str().unwrap_or_default();
        assert!(
            !host.contains("4012") && (host.contains("[PAN:visa:16]") || reason == "malformed_request"),
            "{record}"
        );
    }
    let get = format!("GET http://4012888888881881.here.test:{port}/ HTTP/1.1\r\n\r\n");
    assert!(proxy.ask(get.as_bytes()).1.starts_with("HTTP/1.1 403 plaintext_http"));
    assert_eq!(dns.asked(), []);
    let tunnel = Tunnel::open(&proxy, listed, &origin);
    let record = proxy.decision_of(tunnel.address);
    assert_eq!(
        (&record["rule"], &record["host"], &record["sni"]),
        (&json!("exact"), &json!("[PAN:visa:16].there.test"), &json!("[PAN:visa:16].there.test"))
    );
    assert_eq!(record["redacted"], json!(["host:pan", "sni:pan"]));
    finish(tunnel);
    assert_eq!(asked_for(&dns), [listed, listed]);
}

fn asked_for(dns: &DnsServer) -> Vec<String> {
    dns.asked().into_iter().map(|question| question.name).collect()
}

/// Row 32: an unknown source makes no query either.
#[test]
fn an_unknown_source_asks_nothing() {
    let dns = DnsServer::start(table(&[("api.here.test", &["127.0.0.1"])]));
    let dir = TempDir::new().unwrap();
    write_setup(dir.path(), &Setup { more: &dns.settings("udp", ""), ..Setup::default() });
    let policy = policy(443).replace("[tests]", "[others]");
    let sources = "version: 1\nsources: [{name: others, subnets: [10.20.0.0/24]}]\n";
    fs::write(dir.path().join("policy.yaml"), format!("{sources}{policy}")).unwrap();
    let proxy = Proxy::start_in(dir);
    let (status, reason, socket) = refusal(&proxy, "api.here.test:443");
    assert_eq!((status, reason.as_str()), (403, "source_unknown"));
    let record = proxy.decision_of(socket.local_addr().unwrap());
    assert_eq!((&record["host"], &record["source"]), (&"api.here.test".into(), &json!(null)), "{record}");
    assert_eq!(dns.asked(), []);
}

/// A24: names are absolute. What does not exist is not tried with a suffix, with one label or with more.
#[test]
fn no_search_domain_is_tried() {
    let dns = DnsServer::start(|_| Reply::Code(NXDOMAIN));
    let proxy = proxy(&dns, 443, "");
    for name in ["db", "api.here.test"] {
        let (status, reason, _) = refusal(&proxy, &format!("{name}:443"));
        assert_eq!((status, reason.as_str()), (502, "dns_failure"), "{name}");
    }
    let mut names = asked_for(&dns);
    names.dedup();
    assert_eq!(names, ["db", "api.here.test"]);
}

/// Addresses that no rule of `*.out.test` may reach, and those that the rule of `*.here.test` does not list (B2 to B6, rows 26 to 29).
#[test]
fn one_bad_address_refuses_the_whole_answer() {
    let forbidden = "address_forbidden";
    let rows: [(&str, &[&str], &str); 21] = [
        ("mixed.out.test", &["9.9.9.9", "10.0.0.1"], forbidden),
        ("mixed-six.out.test", &["9.9.9.9", "fd00::1"], forbidden),
        ("private.out.test", &["10.0.0.5"], forbidden),
        ("loopback.out.test", &["127.0.0.1"], forbidden),
        ("zero.out.test", &["0.0.0.0"], forbidden),
        ("shared.out.test", &["100.64.0.1"], forbidden),
        ("link.out.test", &["169.254.1.1"], forbidden),
        ("multicast.out.test", &["224.0.0.1"], forbidden),
        ("broadcast.out.test", &["255.255.255.255"], forbidden),
        ("metadata.out.test", &["169.254.169.254"], forbidden),
        ("wire.out.test", &["168.63.129.16"], forbidden),
        ("metadata-six.out.test", &["fd00:ec2::254"], forbidden),
        ("loopback-six.out.test", &["::1"], forbidden),
        ("mapped.out.test", &["::ffff:127.0.0.1"], forbidden),
        ("mapped-private.out.test", &["::ffff:10.0.0.5"], forbidden),
        ("nat64.out.test", &["64:ff9b::a00:5"], forbidden),
        ("six-to-four.out.test", &["2002:a00:5::1"], forbidden),
        ("mixed.here.test", &["127.0.0.1", "127.0.0.200"], forbidden),
        ("global.here.test", &["9.9.9.9"], forbidden),
        ("metadata.here.test", &["127.0.0.1", "169.254.169.254"], forbidden),
        ("never.here.test", &["127.0.0.1", "127.0.0.66"], "destination_denied"),
    ];
    let answers: Vec<(&str, &[&str])> = rows.iter().map(|(name, addresses, _)| (*name, *addresses)).collect();
    let origin = Origin::new();
    let dns = DnsServer::start(table(&answers));
    let proxy = proxy(&dns, origin.port(), "");
    for (name, addresses, reason) in rows {
        let (status, word, socket) = refusal(&proxy, &format!("{name}:{}", origin.port()));
        assert_eq!((status, word.as_str()), (403, reason), "{name}");
        let record = proxy.decision_of(socket.local_addr().unwrap());
        assert_eq!(record["addresses"].as_array().unwrap().len(), addresses.len(), "{name}: {record}");
        assert_eq!(record["upstream_ip"], json!(null), "{name}: {record}");
    }
    assert!(origin.is_untouched(), "a judged answer was dialled");
}

/// The name server's odd answers, by name.
fn odd(question: &Question) -> Reply {
    let here = |alias| Reply::Records(vec![Data::Alias(alias), Data::Address([127, 0, 0, 1].into())]);
    let none = || Reply::Records(Vec::new());
    match (question.name.split('.').next().unwrap_or_default(), question.kind) {
        ("nxdomain", _) => Reply::Code(NXDOMAIN),
        ("servfail", _) => Reply::Code(SERVFAIL),
        ("refused", _) => Reply::Code(REFUSED),
        ("empty", _) => none(),
        ("crowd", A) => Reply::Records((1..=65).map(|last| Data::Address([127, 0, 0, last].into())).collect()),
        ("loop", _) => Reply::Records(vec![Data::Alias("loop.here.test")]),
        ("many-aliases" | "again", _) => Reply::Records(vec![
            Data::Alias("one.again.test"),
            Data::Alias("two.again.test"),
            Data::Alias("again.here.test"),
        ]),
        // An alias with its address in one answer, and one that has to be followed.
        ("alias", A) => here("target.cdn.example"),
        ("chain", _) => Reply::Records(vec![Data::Alias("link.cdn.example")]),
        ("link", A) => here("end.cdn.example"),
        ("denied", A) => here("x.never.test"),
        ("denied-chain", _) => Reply::Records(vec![Data::Alias("denied-link.cdn.example")]),
        // Nothing behind it yet: it would have to be asked for.
        ("denied-hop", _) => Reply::Records(vec![Data::Alias("hop.never.test")]),
        ("denied-link", A) => here("deep.x.never.test"),
        // The resolver asks again for what an alias of an alias leads to.
        ("end" | "deep", A) => of_kind(A, &[IpAddr::from([127, 0, 0, 1])]),
        ("alias-private", A) => {
            Reply::Records(vec![Data::Alias("db.internal.example"), Data::Address([10, 0, 0, 5].into())])
        }
        ("good" | "no-v6" | "v6-servfail" | "big", A) if question.tcp || !question.name.starts_with("big") => {
            of_kind(A, &[IpAddr::from([127, 0, 0, 1])])
        }
        ("big", A) => Reply::Truncated,
        ("v6-servfail", AAAA) => Reply::Code(SERVFAIL),
        ("garbage", _) => Reply::Garbage,
        ("silent", _) | ("v6-silent", AAAA) => Reply::Silence,
        ("v6-silent", A) => of_kind(A, &[IpAddr::from([127, 0, 0, 1])]),
        _ => none(),
    }
}

#[test]
fn every_failure_of_a_lookup_has_its_reason() {
    let origin = Origin::new();
    let dns = DnsServer::start(odd);
    let proxy = proxy(&dns, origin.port(), ", timeout: 1s");
    for (name, status, reason) in [
        ("nxdomain", 502, "dns_failure"),
        ("servfail", 502, "dns_failure"),
        ("refused", 502, "dns_failure"),
        ("empty", 502, "dns_failure"),
        ("crowd", 502, "dns_failure"),
        ("loop", 502, "dns_failure"),
        ("silent", 504, "dns_timeout"),
        ("garbage", 504, "dns_timeout"),
        // A23, row 31: every alias is judged, and the address behind it.
        ("denied", 403, "destination_denied"),
        ("denied-chain", 403, "destination_denied"),
        ("denied-hop", 403, "destination_denied"),
        ("many-aliases", 502, "dns_failure"),
        ("alias-private", 403, "address_forbidden"),
    ] {
        let begin = Instant::now();
        let (got, word, socket) = refusal(&proxy, &format!("{name}.here.test:{}", origin.port()));
        assert_eq!((got, word.as_str()), (status, reason), "{name}");
        assert!(begin.elapsed() < Duration::from_millis(2_500), "{name}: {:?}, dns.timeout is 1s", begin.elapsed());
        let record = proxy.decision_of(socket.local_addr().unwrap());
        let outcome = if status == 403 { "deny" } else { "error" };
        assert_eq!((&record["reason"], &record["outcome"]), (&reason.into(), &outcome.into()), "{name}: {record}");
        assert_eq!(record["rule"], "here", "{name}: {record}");
    }
    assert!(origin.is_untouched(), "a failed lookup was dialled");
    let denied = asked_for(&dns).into_iter().filter(|name| name.ends_with("never.test")).collect::<Vec<_>>();
    assert_eq!(denied, Vec::<String>::new(), "an alias is judged before it is asked for");
}

#[test]
fn answers_of_every_right_kind_are_used() {
    let origin = Origin::new();
    let dns = DnsServer::start(odd);
    let proxy = proxy(&dns, origin.port(), ", timeout: 2s");
    for name in ["good", "alias", "chain", "v6-servfail", "v6-silent", "big"] {
        let name = format!("{name}.here.test");
        let begin = Instant::now();
        let tunnel = Tunnel::open(&proxy, &name, &origin);
        assert!(begin.elapsed() < Duration::from_millis(2_500), "{name}: {:?}", begin.elapsed());
        let record = proxy.decision_of(tunnel.address);
        assert_eq!(record["addresses"], json!(["127.0.0.1"]), "{name}: {record}");
        finish(tunnel);
    }
    let over_tcp = |question: &Question| question.name == "big.here.test" && question.tcp && question.kind == A;
    assert!(dns.asked().iter().any(over_tcp), "a truncated answer is asked for again over TCP");
}

#[test]
fn a_server_given_as_tcp_is_asked_over_tcp_alone() {
    let origin = Origin::new();
    let dns = DnsServer::start(table(&[("api.here.test", &["127.0.0.1"])]));
    let setup = Setup { policy: &policy(origin.port()), more: &dns.settings("tcp", ""), ..Setup::default() };
    finish(Tunnel::open(&Proxy::start(&setup), "api.here.test", &origin));
    assert!(!dns.asked().is_empty() && dns.asked().iter().all(|question| question.tcp), "{:?}", dns.asked());
}

/// C1, C3, row 30: what a TTL of 0 would have asked for again is kept for `min_ttl`, by one worker for all; and the address that was
/// judged is the one that is dialled, whatever the next answer says.
#[test]
fn an_answer_is_kept_for_its_least_time_though_it_flips() {
    let origin = Origin::on("0.0.0.0:0".parse().unwrap());
    let flips = |question: &Question| of_kind(question.kind, &[IpAddr::from([127, 0, 0, 1 + question.turn as u8])]);
    let dns = DnsServer::start(flips);
    let proxy = proxy(&dns, origin.port(), ", min_ttl: 1h");
    let mut seen = Vec::new();
    for _ in 0..40 {
        let tunnel = Tunnel::open(&proxy, "api.here.test", &origin);
        let record = proxy.decision_of(tunnel.address);
        let address = dialled(&tunnel.server).to_string();
        assert_eq!(record["addresses"], json!([address]), "{record}");
        assert_eq!(record["upstream_ip"], address, "{record}");
        seen.push(address);
        finish(tunnel);
    }
    seen.sort();
    seen.dedup();
    assert_eq!((seen.len(), dns.times("api.here.test", A)), (1, 1), "one lookup serves all workers");
}

#[test]
fn without_a_least_time_each_request_asks_once_and_judges_what_it_got() {
    let origin = Origin::on("0.0.0.0:0".parse().unwrap());
    // In turn an address that may be reached and one that may not: rebinding.
    let flips = |question: &Question| {
        let last = if question.turn.is_multiple_of(2) { 1 } else { 200 };
        of_kind(question.kind, &[IpAddr::from([127, 0, 0, last])])
    };
    let dns = DnsServer::start(flips);
    let proxy = proxy(&dns, origin.port(), ", min_ttl: 0s");
    for round in 0..10 {
        let target = format!("api.here.test:{}", origin.port());
        if round % 2 == 0 {
            let client = established(&proxy, &target);
            assert_eq!(dialled(&origin.accept()).to_string(), "127.0.0.1", "round {round}");
            drop(client);
        } else {
            assert_eq!(refusal(&proxy, &target).1, "address_forbidden", "round {round}");
        }
        assert_eq!(dns.times("api.here.test", A), round + 1, "one lookup a request");
    }
    assert!(origin.is_untouched());
}
