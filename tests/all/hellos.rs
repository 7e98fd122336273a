//! ClientHellos of every kind through real sockets: each bad one gets its alert and its record, and no byte reaches the origin.
//! Not here: which bytes are which (`wire`); the server's side (`server_side`).
//! Source: the proxy's promises on hellos; IDs such as D2 are those of `docs/attacks.md`.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::ends::{Origin, Tunnel, assert_silent, close_of, established, finish, head, read_all, read_exactly};
use super::harness::{PATIENCE, Proxy, Setup, records};
use super::wire::{
    ALERT, ALPN, ECH, ESNI, HANDSHAKE, Hello, KEY_SHARE, SERVER_NAME, SUPPORTED_VERSIONS, alert, alpn, names, record,
    server_hello, versions,
};

const NAME: &str = "api.acme.test";
const HOSTS: &str = "dns: {hosts: {api.acme.test: [127.0.0.1], ech.acme.test: [127.0.0.1]}}\n";

/// How long the proxies with a short deadline wait for a hello.
const HELLO_TIMEOUT: Duration = Duration::from_millis(300);

fn proxy(origin: &Origin, limits: &str) -> Proxy {
    let port = origin.port();
    let policy = format!(
        "never: {{hosts: [never.acme.test]}}
rules:
  - {{id: api, customer: acme, sources: [tests], hosts: [{NAME}], ports: [{port}], addresses: [127.0.0.1/32]}}
  - {{id: ech, customer: acme, sources: [tests], hosts: [ech.acme.test], ports: [{port}], addresses: [127.0.0.1/32], tls: {{ech: allow}}}}
  - {{id: literal, customer: acme, sources: [tests], networks: [127.0.0.1/32], ports: [{port}], tls: {{sni: optional, sni_names: [gw.acme.test]}}}}
"
    );
    Proxy::start(&Setup { policy: &policy, more: &format!("{HOSTS}{limits}"), ..Setup::default() })
}

/// A hello to `api.acme.test` with this as the body of its server_name extension.
fn sni(body: Vec<u8>) -> Vec<u8> {
    Hello::bare().with(SERVER_NAME, body).with(SUPPORTED_VERSIONS, versions(&[0x0304])).record()
}

/// One hello for each of these names.
fn named(name: &[u8]) -> Vec<u8> {
    sni(names(&[name]))
}

fn with(number: u16, body: Vec<u8>) -> Vec<u8> {
    Hello::to(NAME).with(number, body).record()
}

/// The body of an outer ECH extension (RFC 9849 section 5): made-up, as GREASE is.
fn ech() -> Vec<u8> {
    vec![0, 0, 1, 0, 1, 0x2a, 0, 0, 0, 0]
}

/// How a hello is sent: in pieces with their own segments, as far as the kernel keeps them apart.
type Pieces = Vec<Vec<u8>>;

fn bytes_apart(bytes: &[u8]) -> Pieces {
    bytes.iter().map(|byte| vec![*byte]).collect()
}

/// Hellos that are let through: name, target, pieces.
fn good() -> Vec<(&'static str, &'static str, Pieces)> {
    let hello = Hello::to(NAME);
    // X25519MLKEM768 makes a key share of 1,216 bytes (D1).
    let quantum = hello.clone().with(KEY_SHARE, vec![3; 1_222]);
    let one = hello.record();
    let many_records = hello.message().len().div_ceil(64);
    let mut rows = vec![
        ("whole", NAME, vec![one.clone()]),
        ("1-byte segments (D1)", NAME, bytes_apart(&one)),
        ("post-quantum", NAME, vec![quantum.record()]),
        ("post-quantum in two segments (D1)", NAME, quantum.record().chunks(1_400).map(<[u8]>::to_vec).collect()),
        ("2 records (D2)", NAME, vec![hello.records(hello.message().len().div_ceil(2))]),
        ("64 records (D2)", NAME, vec![hello.records(many_records)]),
        ("a record a byte (D2)", NAME, vec![hello.records(1)]),
        ("a record a byte, a segment a byte (D2)", NAME, bytes_apart(&hello.records(1))),
        ("upper case (A10)", NAME, vec![named(b"API.Acme.TEST")]),
        ("final dot (A10)", NAME, vec![named(b"api.acme.test.")]),
        ("tls 1.2 alone", NAME, vec![Hello::bare().with(SERVER_NAME, names(&[NAME.as_bytes()])).record()]),
        ("alpn of the web", NAME, vec![with(ALPN, alpn(&["h2", "http/1.1"]))]),
        ("alpn with grease", NAME, vec![with(ALPN, alpn(&["\n\n", "http/1.1"]))]),
        ("ech where allowed (A6)", "ech.acme.test", vec![Hello::to("ech.acme.test").with(ECH, ech()).record()]),
        ("literal, no sni (B9)", "127.0.0.1", vec![Hello::bare().record()]),
        ("literal, listed sni (B9)", "127.0.0.1", vec![Hello::to("gw.acme.test").record()]),
    ];
    let longest = 16 * 1024 - 5 - hello.message().len() - 4;
    rows.push(("16 KiB (D11)", NAME, vec![with(0x5555, vec![0; longest])]));
    rows
}

#[test]
fn good_hellos_reach_the_origin_byte_for_byte() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "");
    for (name, target, pieces) in good() {
        let mut client = established(&proxy, &format!("{target}:{}", origin.port()));
        pieces.iter().for_each(|piece| client.write_all(piece).unwrap());
        let sent = pieces.concat();
        let mut server = origin.accept();
        assert_eq!(read_exactly(&mut server, sent.len()), sent, "{name}");
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut server), b"", "{name}: more than was sent");
        assert_eq!(read_all(&mut client), b"", "{name}: bytes from nowhere");
        let address = client.local_addr().unwrap();
        assert_eq!(proxy.decision_of(address)["reason"], "allowed", "{name}");
        let close = close_of(&proxy, address);
        assert_eq!((&close["reason"], &close["bytes_in"]), (&"client_closed".into(), &0.into()), "{name}: {close}");
        assert_eq!(close["bytes_out"], sent.len(), "{name}: {close}");
    }
    assert_one_decision_each(proxy, good().len(), good().len());
}

#[test]
fn a_hello_in_the_segment_of_the_head_is_judged_like_any_other() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "");
    let head = head(&format!("{NAME}:{}", origin.port()));
    let rows = [
        ("whole (E3)", Hello::to(NAME).record(), None),
        ("other name (E3)", Hello::to("evil.example").record(), Some((112, "sni_mismatch"))),
        ("not tls (E3)", b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(), Some((10, "not_tls"))),
        ("a second request (E3)", head.clone().into_bytes(), Some((10, "not_tls"))),
    ];
    for (name, hello, refused) in rows {
        for cut in [0, 1, 5, hello.len() / 2, hello.len()] {
            let (mut client, answer) = proxy.ask(&[head.as_bytes(), &hello[..cut]].concat());
            assert!(answer.starts_with("HTTP/1.1 200 "), "{name}, {cut}: {answer}");
            let _ = client.write_all(&hello[cut..]);
            let mut server = origin.accept();
            match refused {
                None => {
                    assert_eq!(read_exactly(&mut server, hello.len()), hello, "{name}, {cut}");
                    client.shutdown(Shutdown::Write).unwrap();
                }
                Some((number, _)) => {
                    // What is refused at its first byte may have its alert right behind the 200.
                    let behind = answer.split_once("\r\n\r\n").unwrap().1.as_bytes();
                    assert_eq!([behind, &read_all(&mut client)].concat(), alert(number), "{name}, {cut}");
                }
            }
            assert_eq!(read_all(&mut server), b"", "{name}, {cut}");
            let reason = refused.map_or("allowed", |(_, reason)| reason);
            assert_eq!(proxy.decision_of(client.local_addr().unwrap())["reason"], reason, "{name}, {cut}");
        }
    }
    assert_one_decision_each(proxy, 20, 5);
}

/// Hellos that are refused: name, bytes, reason, alert.
fn bad() -> Vec<(&'static str, Vec<u8>, &'static str, u8)> {
    let hello = Hello::to(NAME);
    let message = hello.message();
    let (half, rest) = message.split_at(40);
    let within = |inner: Vec<u8>| [record(HANDSHAKE, half), inner, record(HANDSHAKE, rest)].concat();
    let long = format!("{}.test", "a".repeat(300));
    let two_lists = Hello::to(NAME).with(SERVER_NAME, names(&[NAME.as_bytes()])).record();
    vec![
        ("empty record within (D2)", within(record(HANDSHAKE, b"")), "hello_malformed", 50),
        ("empty record first (D2)", [record(HANDSHAKE, b""), hello.record()].concat(), "hello_malformed", 50),
        ("alert within (D2)", within(record(ALERT, &[1, 0])), "hello_malformed", 50),
        ("alert instead", record(ALERT, &[2, 40]), "not_tls", 10),
        (
            "bytes behind it in its record",
            record(HANDSHAKE, &[hello.message(), vec![0]].concat()),
            "hello_malformed",
            50,
        ),
        (">16 KiB (D11)", with(0x5555, vec![0; 16_300]), "hello_malformed", 50),
        (">16 KiB by its length alone (D11)", record(HANDSHAKE, &[1, 0xff, 0xff, 0xff]), "hello_malformed", 50),
        ("129 extensions (D11)", many_extensions(), "hello_malformed", 50),
        ("no sni (A2)", Hello::bare().with(SUPPORTED_VERSIONS, versions(&[0x0304])).record(), "sni_missing", 112),
        ("empty sni list (A9)", sni(names(&[])), "hello_malformed", 50),
        ("empty name (A9)", named(b""), "hello_malformed", 50),
        ("two names (A9)", sni(names(&[NAME.as_bytes(), b"evil.example"])), "hello_malformed", 50),
        ("duplicate sni (A9)", two_lists, "hello_malformed", 50),
        ("nul in the sni (A10, A11)", named(b"api.acme.test\0.evil.example"), "sni_mismatch", 112),
        ("nul behind the sni (A11)", named(b"api.acme.test\0"), "sni_mismatch", 112),
        ("slash (A10)", named(b"api.acme.test/"), "sni_mismatch", 112),
        ("percent (A10)", named(b"api%2eacme.test"), "sni_mismatch", 112),
        ("space (A10)", named(b" api.acme.test"), "sni_mismatch", 112),
        ("line feed (A10, H1)", named(b"api.acme.test\n"), "sni_mismatch", 112),
        ("utf-8 (A10, A16)", named("\u{430}pi.acme.test".as_bytes()), "sni_mismatch", 112),
        ("invalid utf-8 (A10)", named(b"\xff\xfe.acme.test"), "sni_mismatch", 112),
        ("two final dots (A12)", named(b"api.acme.test.."), "sni_mismatch", 112),
        ("wildcard (A10)", named(b"*.acme.test"), "sni_mismatch", 112),
        ("over 253 bytes (A10)", named(long.as_bytes()), "sni_mismatch", 112),
        ("card number (H2)", named(b"4111111111111111.acme.test"), "sni_mismatch", 112),
        ("ip (A10)", named(b"127.0.0.1"), "sni_mismatch", 112),
        ("other name (A1)", Hello::to("evil.example").record(), "sni_mismatch", 112),
        ("longer name (A17)", Hello::to("evilapi.acme.test").record(), "sni_mismatch", 112),
        ("name on the never list", Hello::to("never.acme.test").record(), "destination_denied", 49),
        ("ech (A6)", with(ECH, ech()), "ech_present", 49),
        ("ech, inner form (A6)", with(ECH, vec![1]), "hello_malformed", 50),
        ("esni (A7)", with(ESNI, vec![0; 40]), "ech_present", 49),
        ("tls 1.1 (D8)", old(&[0x0302, 0x0301]), "tls_version_too_low", 70),
        ("tls 1.1 behind grease (D8)", old(&[0x7a7a, 0x0302]), "tls_version_too_low", 70),
        ("tls 1.0 by its legacy field (D8)", legacy(0x0301), "tls_version_too_low", 70),
        ("ssl 3.0 (D7)", legacy(0x0300), "tls_version_too_low", 70),
        ("sslv2 (D7)", b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10".to_vec(), "not_tls", 10),
        ("sslv2 for tls 1.0 (D7)", b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10".to_vec(), "not_tls", 10),
        ("alpn ssh (D9)", with(ALPN, alpn(&["ssh/2.0"])), "alpn_not_allowed", 120),
        ("alpn with one too many (D9)", with(ALPN, alpn(&["h2", "acme-tls/1"])), "alpn_not_allowed", 120),
        ("ssh (D5)", b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(), "not_tls", 10),
        ("http (D5)", b"GET / HTTP/1.1\r\nHost: api.acme.test\r\n\r\n".to_vec(), "not_tls", 10),
        ("smtp (D6)", b"EHLO relay\r\nSTARTTLS\r\n".to_vec(), "not_tls", 10),
        ("server's hello", server_hello(0x0304, 0x1301), "not_tls", 10),
        ("application data", record(23, &[0; 40]), "not_tls", 10),
    ]
}

fn many_extensions() -> Vec<u8> {
    (0..129).fold(Hello::to(NAME), |hello, number| hello.with(0x4000 + number, Vec::new())).record()
}

fn old(numbers: &[u16]) -> Vec<u8> {
    Hello::bare().with(SERVER_NAME, names(&[NAME.as_bytes()])).with(SUPPORTED_VERSIONS, versions(numbers)).record()
}

fn legacy(version: u16) -> Vec<u8> {
    Hello { legacy_version: version, ..Hello::bare() }.with(SERVER_NAME, names(&[NAME.as_bytes()])).record()
}

#[test]
fn bad_hellos_get_an_alert_and_no_byte_leaves() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "");
    let target = format!("{NAME}:{}", origin.port());
    for (name, bytes, reason, number) in bad() {
        let mut client = established(&proxy, &target);
        client.write_all(&bytes).unwrap();
        assert_eq!(read_all(&mut client), alert(number), "{name}");
        assert_eq!(read_all(&mut origin.accept()), b"", "{name}: the origin got something");
        let decision = proxy.decision_of(client.local_addr().unwrap());
        assert_eq!((&decision["reason"], &decision["outcome"]), (&reason.into(), &"deny".into()), "{name}: {decision}");
        assert_eq!(decision["rule"], "api", "{name}: {decision}");
        assert!(!decision.to_string().contains("411111111111"), "{name}: {decision}");
    }
    assert_one_decision_each(proxy, bad().len(), 0);
}

#[test]
fn what_the_hello_said_is_in_the_record() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "");
    let hello = Hello::to("ech.acme.test").with(ALPN, alpn(&["h2", "http/1.1"])).with(ECH, ech()).record();
    let mut client = established(&proxy, &format!("ech.acme.test:{}", origin.port()));
    client.write_all(&hello).unwrap();
    let decision = proxy.decision_of(client.local_addr().unwrap());
    assert_eq!(decision["sni"], "ech.acme.test", "{decision}");
    assert_eq!(decision["alpn"], serde_json::json!(["h2", "http/1.1"]), "{decision}");
    assert_eq!(decision["ech"], true, "{decision}");
    assert_eq!(decision["upstream_ip"], "127.0.0.1", "{decision}");
    for field in ["dns_us", "dial_us", "hello_us"] {
        assert!(decision[field].is_u64(), "{field} in {decision}");
    }
}

#[test]
fn a_hello_that_does_not_come_meets_one_deadline_for_all_of_it() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "limits: {hello_timeout: 300ms}\n");
    let hello = Hello::to(NAME).record();
    // What is sent: at once, and byte by byte from then on (D3).
    for (name, at_once, drip) in [("silence (D4)", 0, 0), ("half a hello", 60, 0), ("1-byte drip (D3)", 1, 100)] {
        let begin = Instant::now();
        let mut client = established(&proxy, &format!("{NAME}:{}", origin.port()));
        client.write_all(&hello[..at_once]).unwrap();
        // The reading takes the place of a pause between two bytes.
        client.set_read_timeout(Some(Duration::from_millis(40))).unwrap();
        let mut answer = [0; 7];
        let mut bytes = hello[at_once..at_once + drip].iter();
        let came = loop {
            match client.read(&mut answer) {
                Ok(count) => break count,
                Err(_) => assert!(begin.elapsed() < PATIENCE, "{name}: no answer"),
            }
            if let Some(byte) = bytes.next() {
                client.write_all(&[*byte]).unwrap();
            }
        };
        assert!(begin.elapsed() >= HELLO_TIMEOUT, "{name}: too early");
        assert!(begin.elapsed() < HELLO_TIMEOUT + Duration::from_secs(3), "{name}: {:?}", begin.elapsed());
        assert_eq!(answer[..came], alert(40), "{name}");
        assert_eq!(read_all(&mut origin.accept()), b"", "{name}");
        assert_eq!(proxy.decision_of(client.local_addr().unwrap())["reason"], "hello_timeout", "{name}");
    }
    assert_one_decision_each(proxy, 3, 0);
}

#[test]
fn a_client_that_goes_away_in_its_hello_is_recorded() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "");
    let client = established(&proxy, &format!("{NAME}:{}", origin.port()));
    client.shutdown(Shutdown::Write).unwrap();
    let decision = proxy.decision_of(client.local_addr().unwrap());
    assert_eq!((&decision["reason"], &decision["outcome"]), (&"client_gone".into(), &"error".into()), "{decision}");
    assert_eq!(read_all(&mut origin.accept()), b"");
}

/// D4: banners of servers that speak first, and a server's hello sent too early, wait for the client's hello to be judged.
#[test]
fn nothing_of_the_server_reaches_the_client_before_its_hello_is_judged() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "");
    let (good, evil) = (Hello::to(NAME).record(), Hello::to("evil.example").record());
    let chosen = server_hello(0x0304, 0x1301);
    let rows = [
        ("ssh banner, good hello", b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(), &good, alert(10), "server_not_tls"),
        ("ssh banner, bad hello", b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(), &evil, alert(112), "sni_mismatch"),
        ("early server hello, bad hello", chosen.clone(), &evil, alert(112), "sni_mismatch"),
        ("early server hello, good hello", chosen.clone(), &good, chosen, "server_closed"),
    ];
    for (name, banner, hello, seen, reason) in rows {
        let mut client = established(&proxy, &format!("{NAME}:{}", origin.port()));
        let mut server = origin.accept();
        server.write_all(&banner).unwrap();
        assert_silent(&mut client, Duration::from_millis(150), name);
        client.write_all(hello).unwrap();
        let got = read_exactly(&mut client, seen.len());
        assert_eq!(got, seen, "{name}");
        // Where the banner was never read, the proxy's close has reset this connection already.
        let _ = server.shutdown(Shutdown::Write);
        assert_eq!(read_all(&mut client), b"", "{name}");
        client.shutdown(Shutdown::Write).unwrap();
        let passed = if hello == &good { good.as_slice() } else { b"" };
        assert_eq!(read_all(&mut server), passed, "{name}");
        let last = |record: &serde_json::Value| {
            record["client_port"] == client.local_addr().unwrap().port() && record["reason"] == reason
        };
        proxy.record(&format!("{name}: {reason}"), last);
    }
}

#[test]
fn a_tunnel_serves_on_after_refusals() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "");
    for (_, bytes, _, _) in bad().into_iter().take(5) {
        let mut client = established(&proxy, &format!("{NAME}:{}", origin.port()));
        client.write_all(&bytes).unwrap();
        read_all(&mut client);
        drop(origin.accept());
    }
    let address = finish(Tunnel::open(&proxy, NAME, &origin));
    assert_eq!(close_of(&proxy, address)["reason"], "client_closed");
}

/// Stops the proxy and counts: one decision a connection, one close an allowed one, with its decision's id.
fn assert_one_decision_each(proxy: Proxy, connections: usize, allowed: usize) {
    let (dir, code) = proxy.stop();
    assert_eq!(code, Some(0));
    let written = records(&dir.path().join("decisions"));
    let ids = |kind: &str| -> Vec<String> {
        let of_kind = written.iter().filter(|record| record["kind"] == kind);
        of_kind.map(|record| record["id"].as_str().unwrap().to_owned()).collect()
    };
    let (decisions, closes) = (ids("decision"), ids("close"));
    assert_eq!((decisions.len(), closes.len()), (connections, allowed), "decisions and closes");
    let distinct: BTreeSet<&String> = decisions.iter().collect();
    assert_eq!(distinct.len(), connections, "one decision a connection");
    assert!(closes.iter().all(|id| distinct.contains(id)), "each close belongs to a decision");
}
