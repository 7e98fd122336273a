//! What a ClientHello says: captured ones, and tables of right and wrong parts.
//! Not here: splits (`hello_reader_tests`).
//! Source: as `client_hello`; rows named after the attacks that they try.

use super::*;
use crate::tls::fixtures;
use crate::tls::testing::{Client, alpn, names, unhex, vec8, vec16, versions};
use crate::tls::{HelloError, HelloReader, Progress};

fn hello(client: &Client) -> ClientHello {
    match client.read() {
        Ok(Progress::Complete(hello)) => hello,
        other => panic!("{other:?}"),
    }
}

fn name(text: &str) -> ServerName {
    ServerName::Name(text.parse().unwrap())
}

#[test]
fn captured_hellos() {
    let rows = [
        ("openssl 1.3", fixtures::OPENSSL_TLS13, ProtocolVersion::Tls13, &["h2", "http/1.1"][..]),
        ("openssl 1.2", fixtures::OPENSSL_TLS12, ProtocolVersion::Tls12, &["h2", "http/1.1"]),
        ("curl", fixtures::CURL, ProtocolVersion::Tls13, &["h2", "http/1.1"]),
        ("openssl groups", fixtures::RETRY_FIRST, ProtocolVersion::Tls13, &[]),
    ];
    for (row, hex, max_version, ids) in rows {
        let want = ClientHello {
            server_name: Some(name("api.acme.example")),
            max_version,
            alpn: ids.iter().map(|id| id.as_bytes().into()).collect(),
            ech: false,
            esni: false,
            early_data: false,
        };
        assert_eq!(HelloReader::new().push(&unhex(hex)), Ok(Progress::Complete(want)), "{row}");
    }
}

#[test]
fn best_version_on_offer() {
    use ProtocolVersion::{Ssl30, Tls10, Tls11, Tls12, Tls13};
    let rows = [
        ("ssl 3.0", 0x0300, None, Ssl30),
        ("tls 1.0", 0x0301, None, Tls10),
        ("tls 1.1", 0x0302, None, Tls11),
        ("tls 1.2", 0x0303, None, Tls12),
        ("1.3 only by its legacy version", 0x0304, None, Tls12),
        ("4.0 by its legacy version", 0x0400, None, Tls12),
        ("worst first", 0x0303, Some(&[0x0301, 0x0303, 0x0304][..]), Tls13),
        ("grease, which is above 1.3", 0x0303, Some(&[0xcaca, 0x0303]), Tls12),
        ("drafts", 0x0303, Some(&[0x7f1c, 0x0302]), Tls11),
        ("1.1 at best", 0x0303, Some(&[0x0302, 0x0301]), Tls11),
    ];
    for (row, legacy_version, list, want) in rows {
        let mut client = Client { legacy_version, ..Client::bare() };
        if let Some(list) = list {
            client = client.with(43, versions(list));
        }
        assert_eq!(hello(&client).max_version, want, "{row}");
    }
}

#[test]
fn server_names() {
    let unusable = |raw: &[u8]| ServerName::Unusable { raw: raw.into() };
    let long = vec![b'a'; 300];
    let rows: [(&str, &[u8], ServerName); 13] = [
        ("plain", b"api.acme.example", name("api.acme.example")),
        ("A10 upper case", b"API.Acme.Example", name("api.acme.example")),
        ("A10 final dot", b"api.acme.example.", name("api.acme.example")),
        ("A10 underscore", b"_x.acme.example", name("_x.acme.example")),
        ("two final dots", b"api.acme.example..", unusable(b"api.acme.example..")),
        ("A11 NUL", b"evil.example\0.acme.example", unusable(b"evil.example\0.acme.example")),
        ("A10 slash", b"a/b.example", unusable(b"a/b.example")),
        ("A10 percent", b"a%62.example", unusable(b"a%62.example")),
        ("A10 space", b"a b.example", unusable(b"a b.example")),
        ("A10 not UTF-8", b"\xff.example", unusable(b"\xff.example")),
        ("IPv4 literal", b"192.0.2.1", unusable(b"192.0.2.1")),
        ("IPv6 literal", b"2001:db8::1", unusable(b"2001:db8::1")),
        ("too long", &long, unusable(&long[..255])),
    ];
    for (row, raw, want) in rows {
        let got = hello(&Client::bare().with(0, names(&[(0, raw)]))).server_name;
        assert_eq!(got.as_ref(), Some(&want), "{row}");
        assert_eq!(got.and_then(|got| got.name().cloned()).is_some(), matches!(want, ServerName::Name(_)), "{row}");
    }
    assert_eq!(hello(&Client::bare()).server_name, None);
    assert_eq!((name("a.example").raw(), unusable(b"\x01").raw()), (&b"a.example"[..], &b"\x01"[..]));
}

#[test]
fn flags_and_grease() {
    let psk = || (41, vec![1]);
    let early = Client::new().with(42, vec![]).with(psk().0, psk().1);
    let rows = [
        ("none", Client::new(), (false, false, false)),
        ("A6 ech", Client::new().with(0xfe0d, vec![0, 0, 1]), (true, false, false)),
        ("A7 esni", Client::new().with(0xffce, vec![]), (false, true, false)),
        ("early data", early, (false, false, true)),
        ("grease extensions", Client::new().with(0x1a1a, vec![]).with(0xfafa, vec![0]), (false, false, false)),
    ];
    for (row, client, want) in rows {
        let hello = hello(&client);
        assert_eq!((hello.ech, hello.esni, hello.early_data), want, "{row}");
    }
    let ids: [&[u8]; 5] = [&[0x8a, 0x8a], b"h2", &[0xfa, 0xfa], &[0x0a, 0x1a], &[0x0a]];
    let kept: Vec<Box<[u8]>> = vec![b"h2"[..].into(), [0x0a, 0x1a].into(), [0x0a].into()];
    assert_eq!(hello(&Client::new().with(16, alpn(&ids))).alpn, kept);
}

#[test]
fn malformed_parts() {
    let bare = Client::bare;
    let with = |number, body: &[u8]| Client::bare().with(number, body.to_vec());
    let many: Vec<&[u8]> = vec![b"x"; 65];
    let rows: Vec<(&str, Client, &str)> = vec![
        ("D7 version 2", Client { legacy_version: 0x0002, ..bare() }, "legacy version"),
        ("session id of 33", Client { session_id: vec8(vec![0; 33]), ..bare() }, "session id"),
        ("no suites", Client { suites: vec16(vec![]), ..bare() }, "number of cipher suites"),
        ("odd suites", Client { suites: vec16(vec![1; 3]), ..bare() }, "number of cipher suites"),
        ("D11 suites", Client { suites: vec16(vec![1; 1026]), ..bare() }, "number of cipher suites"),
        ("no compression methods", Client { compression: vec![0], ..bare() }, "no null compression"),
        ("deflate only", Client { compression: vec![1, 1], ..bare() }, "no null compression"),
        ("A9 duplicate", Client::new().with(0, names(&[(0, b"b.example")])), "duplicate extension"),
        ("A9 two names", with(0, &names(&[(0, b"a.example"), (0, b"b.example")])), "more than one server name"),
        ("empty list", with(0, &names(&[])), "entry of server_name"),
        ("empty extension", with(0, &[]), "server_name"),
        ("empty name", with(0, &names(&[(0, b"")])), "empty server name"),
        ("other type", with(0, &names(&[(1, b"a.example")])), "server_name of an unknown type"),
        ("cut name", with(0, &vec16(vec![0, 0, 9, b'a'])), "entry of server_name"),
        ("bytes behind the name", with(0, &[names(&[(0, b"a.example")]), vec![0]].concat()), "length of server_name"),
        ("no versions", with(43, &[0]), "length of supported_versions"),
        ("half a version", with(43, &[3, 3, 4, 3]), "length of supported_versions"),
        ("bytes behind the versions", with(43, &[2, 3, 4, 0]), "length of supported_versions"),
        ("cut versions", with(43, &[4, 3, 4]), "supported_versions"),
        ("unknown versions", with(43, &versions(&[0x0a0a, 0x0305])), "no known version in supported_versions"),
        ("empty alpn list", with(16, &alpn(&[])), "length of alpn"),
        ("empty alpn id", with(16, &alpn(&[b"h2", b""])), "empty or too many ids in alpn"),
        ("D11 alpn", with(16, &alpn(&many)), "empty or too many ids in alpn"),
        ("cut alpn id", with(16, &vec16(vec![3, b'h', b'2'])), "id in alpn"),
        ("bytes behind alpn", with(16, &[alpn(&[b"h2"]), vec![0]].concat()), "length of alpn"),
        ("cut alpn", with(16, &[0]), "alpn"),
        ("inner ech", with(0xfe0d, &[1]), "ech that is not of the outer form"),
        ("empty ech", with(0xfe0d, &[]), "ech that is not of the outer form"),
        ("early data with a body", with(42, &[0]), "early_data with a body"),
        ("early data alone", Client::new().with(42, vec![]), "early_data without pre_shared_key in TLS 1.3"),
        ("early data in 1.2", with(42, &[]).with(41, vec![]), "early_data without pre_shared_key in TLS 1.3"),
        ("key before the end", with(41, &[]).with(16, alpn(&[b"h2"])), "pre_shared_key is not the last extension"),
    ];
    for (row, client, want) in rows {
        assert_eq!(client.read(), Err(HelloError::Malformed(want)), "{row}");
    }
}

#[test]
fn every_cut_and_every_tail_is_malformed() {
    let body = Client::new().with(16, alpn(&[b"h2"])).body();
    let bare_end = Client::bare().body().len();
    for end in 0..body.len() {
        assert_eq!(ClientHello::parse(&body[..end]).is_ok(), end == bare_end, "cut at {end}");
    }
    assert_eq!(ClientHello::parse(&[&body[..], &[0]].concat()), Err("bytes behind the extensions"));
}

#[test]
fn a_second_hello_may_not_stray() {
    let first = hello(&Client::new().with(16, alpn(&[b"h2"])));
    let other = |change: fn(&mut ClientHello)| {
        let mut second = first.clone();
        change(&mut second);
        second
    };
    let rows = [
        ("same", other(|_| {}), Ok(())),
        ("A8 name", other(|it| it.server_name = Some(name("evil.example"))), Err(SecondHelloDiffers::ServerName)),
        ("A8 no name", other(|it| it.server_name = None), Err(SecondHelloDiffers::ServerName)),
        ("alpn", other(|it| it.alpn.push(b"ssh"[..].into())), Err(SecondHelloDiffers::Alpn)),
        ("version", other(|it| it.max_version = ProtocolVersion::Tls12), Err(SecondHelloDiffers::Version)),
        ("ech", other(|it| it.ech = true), Err(SecondHelloDiffers::Ech)),
        ("esni", other(|it| it.esni = true), Err(SecondHelloDiffers::Ech)),
        ("early data", other(|it| it.early_data = true), Err(SecondHelloDiffers::EarlyData)),
    ];
    for (row, second, want) in rows {
        assert_eq!(first.check_second(&second), want, "{row}");
    }
    let offered_early = other(|it| it.early_data = true);
    assert_eq!(offered_early.check_second(&first), Ok(()));
}
