//! Scripted servers behind an allowed hello: what they choose is judged, and until then nothing of theirs reaches the client.
//! Not here: the client's first hello (`hellos`), bytes after both hellos (`tunnels`).
//! Source: RFC 8446 sections 4.1.3, 4.1.4 and D.4; IDs such as A8 are those of `docs/attacks.md`.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::ends::{Origin, assert_silent, close_of, established, read_all, read_exactly, reset};
use super::harness::{Proxy, Setup};
use super::wire::{
    ALPN, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, Hello, SERVER_NAME, SUPPORTED_VERSIONS, alert, alpn, names,
    record, retry_request, server_hello, versions,
};

const NAME: &str = "api.acme.test";

/// TLS_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, and their names in records.
const STRONG_13: u16 = 0x1301;
const STRONG_12: u16 = 0xc02f;

fn proxy(origin: &Origin, limits: &str) -> Proxy {
    let port = origin.port();
    let rule = |id: &str, tls: &str| {
        format!(
            "  - {{id: {id}, customer: acme, sources: [tests], hosts: [{id}.acme.test], ports: [{port}], addresses: [127.0.0.1/32]{tls}}}\n"
        )
    };
    let policy = format!("rules:\n{}{}", rule("api", ""), rule("new", ", tls: {min_version: \"1.3\"}"));
    let more = format!("dns: {{hosts: {{{NAME}: [127.0.0.1], new.acme.test: [127.0.0.1]}}}}\n{limits}");
    Proxy::start(&Setup { policy: &policy, more: &more, ..Setup::default() })
}

/// A client whose hello has reached the server, and the server.
fn begun(proxy: &Proxy, origin: &Origin, name: &str) -> (TcpStream, TcpStream, u64) {
    let mut client = established(proxy, &format!("{name}:{}", origin.port()));
    let hello = Hello::to(name).record();
    client.write_all(&hello).unwrap();
    let mut server = origin.accept();
    assert_eq!(read_exactly(&mut server, hello.len()), hello);
    (client, server, hello.len() as u64)
}

fn send(to: &mut TcpStream, pieces: &[Vec<u8>]) {
    // What is refused early may close before the last piece.
    let _ = pieces.iter().try_for_each(|piece| to.write_all(piece));
}

/// Checks a close record: reason, the counts, and what the server chose.
fn assert_close(name: &str, close: &Value, reason: &str, (out, back): (u64, usize)) {
    assert_eq!(close["reason"], reason, "{name}: {close}");
    assert_eq!((&close["bytes_out"], &close["bytes_in"]), (&json!(out), &json!(back)), "{name}: {close}");
    assert_eq!(close["outcome"], "allow", "{name}: it repeats its decision's: {close}");
}

fn apart(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.iter().map(|byte| vec![*byte]).collect()
}

/// The ServerHello's message in records of `size` bytes.
fn in_records(hello: &[u8], size: usize) -> Vec<u8> {
    hello[5..].chunks(size).flat_map(|part| record(HANDSHAKE, part)).collect()
}

/// One row: what the server sends, how the tunnel ends, the alert, and the version and suite that the record names.
type Refused = (&'static str, &'static str, Vec<Vec<u8>>, &'static str, u8, Option<(&'static str, &'static str)>);

fn refused() -> Vec<Refused> {
    let tls12 = |suite| vec![server_hello(0x0303, suite)];
    let cbc = Some(("1.2", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"));
    let rsa = Some(("1.2", "TLS_RSA_WITH_AES_128_GCM_SHA256"));
    let strong = Some(("1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"));
    let old = Some(("1.1", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"));
    let too_low = "server_tls_version_too_low";
    let long = record(HANDSHAKE, &[&[2, 0, 0x41, 0][..], &vec![0; 16_000]].concat());
    vec![
        ("tls 1.1 (D8)", NAME, vec![server_hello(0x0302, 0xc013)], too_low, 70, old),
        ("tls 1.1 in pieces (D8)", NAME, apart(&server_hello(0x0302, 0xc013)), too_low, 70, old),
        ("tls 1.2 below the rule's 1.3 (D8)", "new.acme.test", tls12(STRONG_12), too_low, 70, strong),
        ("cbc (D8)", NAME, tls12(0xc013), "server_cipher_weak", 71, cbc),
        ("rsa key exchange (D8)", NAME, tls12(0x009c), "server_cipher_weak", 71, rsa),
        ("null (D8)", NAME, tls12(0x0000), "server_cipher_weak", 71, Some(("1.2", "0x0000"))),
        ("tls 1.3 with a suite of 1.2", NAME, vec![server_hello(0x0304, STRONG_12)], "server_not_tls", 10, None),
        ("tls 1.2 with a suite of 1.3", NAME, tls12(STRONG_13), "server_not_tls", 10, None),
        ("plain text (D5)", NAME, vec![b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()], "server_not_tls", 10, None),
        ("ssh (D4)", NAME, vec![b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()], "server_not_tls", 10, None),
        ("application data", NAME, vec![record(APPLICATION_DATA, b"hi")], "server_not_tls", 10, None),
        ("a client's hello", NAME, vec![Hello::to(NAME).record()], "server_not_tls", 10, None),
        ("an empty record", NAME, vec![record(HANDSHAKE, b"")], "server_not_tls", 10, None),
        ("longer than 16 KiB (D11)", NAME, vec![long], "server_not_tls", 10, None),
        ("two retries (A8)", NAME, vec![[retry_request(), retry_request()].concat()], "server_not_tls", 10, None),
    ]
}

#[test]
fn a_bad_choice_ends_the_tunnel_and_none_of_it_reaches_the_client() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "");
    for (name, host, pieces, reason, number, chosen) in refused() {
        let (mut client, mut server, out) = begun(&proxy, &origin, host);
        send(&mut server, &pieces);
        assert_eq!(read_all(&mut client), alert(number), "{name}");
        assert_eq!(read_all(&mut server), b"", "{name}: more than the hello");
        let close = close_of(&proxy, client.local_addr().unwrap());
        assert_close(name, &close, reason, (out, 0));
        let recorded = close["tls_version"].as_str().zip(close["tls_cipher"].as_str());
        assert_eq!(recorded, chosen, "{name}: {close}");
    }
}

#[test]
fn a_good_choice_in_any_pieces_sets_the_bytes_free() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "");
    let (tls13, tls12) = (server_hello(0x0304, STRONG_13), server_hello(0x0303, STRONG_12));
    let names = ["TLS_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"];
    let behind = record(APPLICATION_DATA, &[7; 3_000]);
    let warned = [vec![21, 3, 3, 0, 2, 1, 112], tls12.clone()].concat();
    let flight = [tls13.clone(), CHANGE_CIPHER_SPEC.to_vec(), behind.clone()].concat();
    let rows: Vec<(&str, Vec<Vec<u8>>, &str, &str)> = vec![
        ("tls 1.3", vec![tls13.clone()], "1.3", names[0]),
        ("tls 1.3, more in the segment", vec![flight.clone()], "1.3", names[0]),
        ("tls 1.3, 1-byte segments", apart(&tls13), "1.3", names[0]),
        ("tls 1.3, two records", vec![in_records(&tls13, 20), behind.clone()], "1.3", names[0]),
        ("tls 1.3, a record a byte", vec![in_records(&tls13, 1)], "1.3", names[0]),
        ("tls 1.3, cut within its header", vec![flight[..3].to_vec(), flight[3..].to_vec()], "1.3", names[0]),
        ("tls 1.2", vec![tls12.clone()], "1.2", names[1]),
        ("tls 1.2, a warning first", vec![warned], "1.2", names[1]),
    ];
    for (name, pieces, version, cipher) in rows {
        let (mut client, mut server, hello) = begun(&proxy, &origin, NAME);
        send(&mut server, &pieces);
        let sent = pieces.concat();
        assert_eq!(read_exactly(&mut client, sent.len()), sent, "{name}");
        client.write_all(b"anything at all").unwrap();
        assert_eq!(read_exactly(&mut server, 15), b"anything at all", "{name}");
        server.write_all(b"and back").unwrap();
        assert_eq!(read_exactly(&mut client, 8), b"and back", "{name}");
        server.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut client), b"", "{name}");
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut server), b"", "{name}");
        let close = close_of(&proxy, client.local_addr().unwrap());
        assert_close(name, &close, "server_closed", (hello + 15, sent.len() + 8));
        assert_eq!((&close["tls_version"], &close["tls_cipher"]), (&json!(version), &json!(cipher)), "{name}");
    }
}

#[test]
fn a_server_that_refuses_or_goes_is_passed_on_as_it_is() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "");
    let begin = server_hello(0x0304, STRONG_13)[..30].to_vec();
    // What is sent, whether a reset follows, what the client sees, the reason.
    for (name, sent, resets, seen, reason) in [
        ("handshake_failure", alert(40), false, alert(40), "server_closed"),
        ("end at once", vec![], false, vec![], "server_closed"),
        ("end within its hello", begin.clone(), false, vec![], "server_closed"),
        ("reset within its hello", begin, true, vec![], "reset"),
    ] {
        let (mut client, mut server, out) = begun(&proxy, &origin, NAME);
        server.write_all(&sent).unwrap();
        if resets {
            reset(server);
        } else {
            server.shutdown(Shutdown::Write).unwrap();
        }
        assert_eq!(read_all(&mut client), seen, "{name}");
        let close = close_of(&proxy, client.local_addr().unwrap());
        assert_close(name, &close, reason, (out, seen.len()));
    }
}

/// A second hello with these changes: name, server name, ALPN ids, versions.
fn second(name: Option<&str>, ids: &[&str], numbers: &[u16]) -> Vec<u8> {
    let mut hello = Hello::bare();
    if let Some(name) = name {
        hello = hello.with(SERVER_NAME, names(&[name.as_bytes()]));
    }
    if !ids.is_empty() {
        hello = hello.with(ALPN, alpn(ids));
    }
    hello.with(SUPPORTED_VERSIONS, versions(numbers)).record()
}

/// What a client sends behind a HelloRetryRequest, and the reason and alert if it is refused.
type Second = (&'static str, Vec<Vec<u8>>, Option<(&'static str, u8)>);

/// A8: after a HelloRetryRequest the second hello is judged too, and compared with the first.
#[test]
fn a_second_hello_must_be_the_first_one_again() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "");
    let all = [0x0304, 0x0303];
    let good = second(Some(NAME), &[], &all);
    let behind_ccs = [CHANGE_CIPHER_SPEC.to_vec(), good.clone()].concat();
    let mismatch = "second_hello_mismatch";
    let rows: Vec<Second> = vec![
        ("good", vec![good.clone()], None),
        ("good, behind change_cipher_spec", vec![behind_ccs.clone()], None),
        ("good, 1-byte segments", apart(&behind_ccs), None),
        ("good, in records", vec![Hello::to(NAME).records(9)], None),
        ("other name", vec![second(Some("evil.example"), &[], &all)], Some((mismatch, 47))),
        ("other name, 1-byte segments", apart(&second(Some("evil.example"), &[], &all)), Some((mismatch, 47))),
        ("no name", vec![second(None, &[], &all)], Some((mismatch, 47))),
        ("other alpn", vec![second(Some(NAME), &["h2"], &all)], Some((mismatch, 47))),
        ("lower version", vec![second(Some(NAME), &[], &[0x0303])], Some((mismatch, 47))),
        ("malformed", vec![record(HANDSHAKE, &[1, 0, 0, 2, 0, 0])], Some((mismatch, 47))),
        ("application data", vec![record(APPLICATION_DATA, b"hi")], Some(("hello_malformed", 50))),
        ("plain text", vec![b"GET / HTTP/1.1\r\n\r\n".to_vec()], Some(("hello_malformed", 50))),
    ];
    for (name, pieces, refused) in rows {
        let (mut client, mut server, first) = begun(&proxy, &origin, NAME);
        let retry = retry_request();
        server.write_all(&retry).unwrap();
        assert_eq!(read_exactly(&mut client, retry.len()), retry, "{name}");
        send(&mut client, &pieces);
        let close =
            |reason, counts| assert_close(name, &close_of(&proxy, client.local_addr().unwrap()), reason, counts);
        if let Some((reason, number)) = refused {
            assert_eq!(read_all(&mut client.try_clone().unwrap()), alert(number), "{name}");
            assert_eq!(read_all(&mut server), b"", "{name}: no byte of a refused second hello goes on");
            close(reason, (first, retry.len()));
            continue;
        }
        let sent = pieces.concat();
        assert_eq!(read_exactly(&mut server, sent.len()), sent, "{name}");
        let chosen = server_hello(0x0304, STRONG_13);
        server.write_all(&chosen).unwrap();
        server.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut client.try_clone().unwrap()), chosen, "{name}");
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut server), b"", "{name}");
        close("server_closed", (first + sent.len() as u64, retry.len() + chosen.len()));
    }
}

/// E3: a client that does not wait for the server's hello sends nothing but what TLS lets it.
#[test]
fn the_client_sends_nothing_of_its_own_before_the_servers_hello() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "");
    for (name, more) in [
        ("application data", record(APPLICATION_DATA, b"data without a key")),
        ("a second hello unasked", Hello::to(NAME).record()),
        ("plain text", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
    ] {
        let hello = Hello::to(NAME).record();
        for together in [true, false] {
            let mut client = established(&proxy, &format!("{NAME}:{}", origin.port()));
            let pieces = if together { vec![[&*hello, &*more].concat()] } else { vec![hello.clone(), more.clone()] };
            send(&mut client, &pieces);
            assert_eq!(read_all(&mut client), alert(50), "{name}, together: {together}");
            assert_eq!(read_all(&mut origin.accept()), hello, "{name}, together: {together}");
            let close = close_of(&proxy, client.local_addr().unwrap());
            assert_close(name, &close, "hello_malformed", (hello.len() as u64, 0));
        }
    }
}

#[test]
fn a_silent_server_meets_the_deadline_and_what_it_began_is_not_passed_on() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "limits: {hello_timeout: 300ms}\n");
    let chosen = server_hello(0x0304, STRONG_13);
    for (name, sent) in [("silence", 0), ("half a header", 3), ("all but a byte", chosen.len() - 1)] {
        let (mut client, mut server, out) = begun(&proxy, &origin, NAME);
        let begin = Instant::now();
        server.write_all(&chosen[..sent]).unwrap();
        assert_eq!(read_all(&mut client), alert(40), "{name}");
        assert!(begin.elapsed() < Duration::from_secs(4), "{name}: {:?}", begin.elapsed());
        let close = close_of(&proxy, client.local_addr().unwrap());
        assert_close(name, &close, "hello_timeout", (out, 0));
    }
    // A ServerHello that lacks a byte is held, and passes whole once that has come.
    let (mut client, mut server, _) = begun(&proxy, &origin, NAME);
    server.write_all(&chosen[..chosen.len() - 1]).unwrap();
    assert_silent(&mut client, Duration::from_millis(50), "held");
    server.write_all(&chosen[chosen.len() - 1..]).unwrap();
    assert_eq!(read_exactly(&mut client, chosen.len()), chosen);
}
