//! Stage 3: what clients offer and servers choose.

use super::*;
use crate::tls::{CipherSuite, ExchangeError, HelloError, ServerHello, ServerHelloError};

/// What a hello comes to under `r`, whose destination is a name (`a.example`) or a literal (198.51.100.7).
fn judge(rule: &str, change: impl Fn(&mut ClientHello)) -> &'static str {
    let literal = rule.contains("networks");
    let (to, answer) = if literal { ("198.51.100.7:443", "198.51.100.7") } else { ("a.example:443", "8.8.8.8") };
    let routed = route(&one_rule(rule), to, &[answer]).unwrap();
    let mut hello = client_hello(Some("a.example"));
    change(&mut hello);
    word(&routed.hello(&hello))
}

fn named(text: &'static str) -> impl Fn(&mut ClientHello) {
    move |hello| hello.server_name = Some(ServerName::Name(name(text)))
}

fn nameless(hello: &mut ClientHello) {
    hello.server_name = None;
}

fn unusable(hello: &mut ClientHello) {
    hello.server_name = Some(ServerName::Unusable { raw: Box::from(*b"198.51.100.7") });
}

#[test]
fn names() {
    const HOST: &str = "hosts: [a.example]";
    const MORE: &str = "hosts: [a.example], tls: {sni_names: [b.example]}";
    const LITERAL: &str = "networks: [198.51.100.7/32], tls: {sni_names: [gw.example]}";
    const OPTIONAL: &str = "networks: [198.51.100.7/32], tls: {sni: optional, sni_names: [gw.example]}";
    const OPTIONAL_ALONE: &str = "networks: [198.51.100.7/32], tls: {sni: optional}";
    const ABSENT: &str = "networks: [198.51.100.7/32], tls: {sni: absent}";
    for (row, rule, found, want) in [
        ("the target's", HOST, judge(HOST, named("a.example")), "allowed"),
        ("upper case and a dot", HOST, judge(HOST, named("A.Example.")), "allowed"),
        ("another", HOST, judge(HOST, named("b.example")), "sni_mismatch"),
        ("none", HOST, judge(HOST, nameless), "sni_missing"),
        ("not a name", HOST, judge(HOST, unusable), "sni_mismatch"),
        ("the target's", MORE, judge(MORE, named("a.example")), "allowed"),
        ("listed", MORE, judge(MORE, named("b.example")), "allowed"),
        ("below a listed one", MORE, judge(MORE, named("x.b.example")), "sni_mismatch"),
        ("listed", LITERAL, judge(LITERAL, named("gw.example")), "allowed"),
        ("unlisted", LITERAL, judge(LITERAL, named("a.example")), "sni_mismatch"),
        ("none", LITERAL, judge(LITERAL, nameless), "sni_missing"),
        ("listed", OPTIONAL, judge(OPTIONAL, named("gw.example")), "allowed"),
        ("none", OPTIONAL, judge(OPTIONAL, nameless), "allowed"),
        ("unlisted", OPTIONAL, judge(OPTIONAL, named("a.example")), "sni_mismatch"),
        ("the address", OPTIONAL, judge(OPTIONAL, unusable), "sni_mismatch"),
        ("none", OPTIONAL_ALONE, judge(OPTIONAL_ALONE, nameless), "allowed"),
        ("any", OPTIONAL_ALONE, judge(OPTIONAL_ALONE, named("a.example")), "sni_mismatch"),
        ("none", ABSENT, judge(ABSENT, nameless), "allowed"),
        ("any", ABSENT, judge(ABSENT, named("a.example")), "sni_mismatch"),
        ("the address", ABSENT, judge(ABSENT, unusable), "sni_mismatch"),
    ] {
        assert_eq!(found, want, "{row}: {rule}");
    }
}

#[test]
fn a_name_of_never_is_denied() {
    let text = "sources: [{name: a, subnets: [10.20.0.0/24]}]\nnever: {hosts: [b.example]}\n\
                rules: [{id: r, customer: c, sources: [a], hosts: [a.example], tls: {sni_names: [b.example]}}]\n";
    let routed = route(&policy(text), "a.example:443", &["8.8.8.8"]).unwrap();
    assert_eq!(word(&routed.hello(&client_hello(Some("b.example")))), "destination_denied");
    assert_eq!(word(&routed.hello(&client_hello(Some("c.example")))), "sni_mismatch");
}

#[test]
fn versions_ech_and_alpn() {
    use ProtocolVersion::{Ssl30, Tls11, Tls12, Tls13};
    let version = |version| move |hello: &mut ClientHello| hello.max_version = version;
    let ech = |hello: &mut ClientHello| hello.ech = true;
    let esni = |hello: &mut ClientHello| hello.esni = true;
    let alpn = |ids: &'static [&'static str]| {
        move |hello: &mut ClientHello| hello.alpn = ids.iter().map(|id| id.as_bytes().into()).collect()
    };
    let with = |tls: &str| format!("hosts: [a.example], tls: {{{tls}}}");
    let (plain, strict, open) = (with(""), with("min_version: '1.3'"), with("ech: allow"));
    let (own, none) = (with("alpn: [x]"), with("alpn: []"));
    for (row, found, want) in [
        ("1.3", judge(&plain, version(Tls13)), "allowed"),
        ("1.2", judge(&plain, version(Tls12)), "allowed"),
        ("1.1", judge(&plain, version(Tls11)), "tls_version_too_low"),
        ("SSL 3.0", judge(&plain, version(Ssl30)), "tls_version_too_low"),
        ("1.2 where 1.3 is the least", judge(&strict, version(Tls12)), "tls_version_too_low"),
        ("1.3 where 1.3 is the least", judge(&strict, version(Tls13)), "allowed"),
        ("ECH", judge(&plain, ech), "ech_present"),
        ("ECH allowed", judge(&open, ech), "allowed"),
        ("ESNI", judge(&plain, esni), "ech_present"),
        ("ESNI where ECH is allowed", judge(&open, esni), "ech_present"),
        ("both listed", judge(&plain, alpn(&["h2", "http/1.1"])), "allowed"),
        ("one listed", judge(&plain, alpn(&["http/1.1"])), "allowed"),
        ("one not listed", judge(&plain, alpn(&["h2", "ssh/2.0"])), "alpn_not_allowed"),
        ("upper case", judge(&plain, alpn(&["H2"])), "alpn_not_allowed"),
        ("own list", judge(&own, alpn(&["x"])), "allowed"),
        ("own list without h2", judge(&own, alpn(&["h2"])), "alpn_not_allowed"),
        ("empty list, some", judge(&none, alpn(&["h2"])), "alpn_not_allowed"),
        ("empty list, none", judge(&none, alpn(&[])), "allowed"),
    ] {
        assert_eq!(found, want, "{row}");
    }
}

#[test]
fn which_reason_if_several() {
    let rule = "hosts: [a.example]";
    let all = |hello: &mut ClientHello| {
        *hello = ClientHello {
            server_name: None,
            max_version: ProtocolVersion::Tls10,
            alpn: vec![Box::from(*b"x")],
            ech: true,
            ..hello.clone()
        };
    };
    type Mend = fn(&mut ClientHello);
    let steps: [(&str, Mend); 4] = [
        ("tls_version_too_low", |_| {}),
        ("ech_present", |hello| hello.max_version = ProtocolVersion::Tls13),
        ("sni_missing", |hello| hello.ech = false),
        ("alpn_not_allowed", |hello| hello.server_name = Some(ServerName::Name(name("a.example")))),
    ];
    for (index, (want, _)) in steps.iter().enumerate() {
        let found = judge(rule, |hello| {
            all(hello);
            steps.iter().take(index + 1).for_each(|(_, mend)| mend(hello));
        });
        assert_eq!(found, *want);
    }
}

#[test]
fn a_hello_may_be_judged_before_the_addresses_are_known() {
    let admitted = admit(&one_rule("hosts: [a.example]"), "a.example:443").unwrap();
    assert_eq!(word(&admitted.judge_hello(&client_hello(Some("a.example")))), "allowed");
    assert_eq!(word(&admitted.judge_hello(&client_hello(None))), "sni_missing");
}

#[test]
fn hellos_that_cannot_be_read() {
    let routed = route(&one_rule("hosts: [a.example]"), "a.example:443", &["8.8.8.8"]).unwrap();
    for (error, want) in [
        (HelloError::NotTls, Reason::NotTls),
        (HelloError::SslV2, Reason::NotTls),
        (HelloError::Malformed("x"), Reason::HelloMalformed),
        (HelloError::TooLong, Reason::HelloMalformed),
    ] {
        let denial = routed.hello_error(&error);
        assert_eq!((denial.reason(), denial.rule().is_some()), (want, true), "{error}");
    }
}

#[test]
fn what_the_server_chooses() {
    use ProtocolVersion::{Tls11, Tls12, Tls13};
    const GCM: u16 = 0xc02f; // TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    for (row, rule, version, cipher, want) in [
        ("1.3", "", Tls13, 0x1301, "allowed"),
        ("1.2 with ECDHE and AEAD", "", Tls12, GCM, "allowed"),
        ("1.2 with CBC", "", Tls12, 0xc013, "server_cipher_weak"),
        ("1.2 with RSA key exchange", "", Tls12, 0x009c, "server_cipher_weak"),
        ("1.2 with an unknown suite", "", Tls12, 0xfefe, "server_cipher_weak"),
        ("1.1", "", Tls11, GCM, "server_tls_version_too_low"),
        ("1.2 where 1.3 is the least", "min_version: '1.3'", Tls12, GCM, "server_tls_version_too_low"),
        ("version comes before cipher", "", Tls11, 0x0005, "server_tls_version_too_low"),
    ] {
        let policy = one_rule(&format!("hosts: [a.example], tls: {{{rule}}}"));
        let routed = route(&policy, "a.example:443", &["8.8.8.8"]).unwrap();
        let allowed = routed.hello(&client_hello(Some("a.example"))).unwrap();
        let chosen = ServerHello { version, cipher: CipherSuite(cipher), retry: false };
        assert_eq!(word(&allowed.server(&chosen)), want, "{row}");
    }
}

#[test]
fn what_may_not_come_before_the_server_hello() {
    let routed = route(&one_rule("hosts: [a.example]"), "a.example:443", &["8.8.8.8"]).unwrap();
    let allowed = routed.hello(&client_hello(Some("a.example"))).unwrap();
    for (error, want) in [
        (ExchangeError::Client("x"), Reason::HelloMalformed),
        (ExchangeError::Over, Reason::HelloMalformed),
        (ExchangeError::SecondHello(HelloError::TooLong), Reason::SecondHelloMismatch),
        (ExchangeError::Server(ServerHelloError::NotTls), Reason::ServerNotTls),
        (ExchangeError::Server(ServerHelloError::Malformed("x")), Reason::ServerNotTls),
    ] {
        let denial = allowed.exchange_error(&error);
        assert_eq!((denial.reason(), denial.rule().is_some()), (want, true), "{error}");
    }
    assert_eq!(allowed.deny(Reason::HelloTimeout).reason(), Reason::HelloTimeout);
}

#[test]
fn a_second_hello_offers_what_the_first_did() {
    let routed = route(&one_rule("hosts: [a.example], tls: {sni_names: [b.example]}"), "a.example:443", &["8.8.8.8"]);
    let first = client_hello(Some("a.example"));
    let allowed = routed.unwrap().hello(&first).unwrap();
    assert_eq!(word(&allowed.second_hello(&first)), "allowed");
    assert_eq!(allowed.client_hello(), &first);
    let changes: [fn(&mut ClientHello); 4] = [
        |hello| hello.server_name = Some(ServerName::Name(name("b.example"))),
        |hello| hello.alpn = vec![Box::from(*b"h2")],
        |hello| hello.ech = true,
        |hello| hello.early_data = true,
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut second = first.clone();
        change(&mut second);
        let denial = allowed.second_hello(&second).unwrap_err();
        assert_eq!(denial.reason(), Reason::SecondHelloMismatch, "change {index}");
        assert_eq!(denial.rule().map(|rule| &*rule.id), Some("r"), "change {index}");
    }
}
