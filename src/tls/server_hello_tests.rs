//! What a server chose, how its hello comes in, and what may stand before it.
//! Not here: the order of the hellos (`exchange_tests`).
//! Source: as `server_hello`; rows named after the attacks that they try.

use super::*;
use crate::tls::fixtures;
use crate::tls::testing::{Server, record, records, unhex};
use proptest::prelude::*;

fn read(bytes: &[u8]) -> Result<ServerProgress, ServerHelloError> {
    ServerHelloReader::new().push(bytes)
}

fn complete(version: ProtocolVersion, cipher: u16, retry: bool) -> Result<ServerProgress, ServerHelloError> {
    Ok(ServerProgress::Complete(ServerHello { version, cipher: CipherSuite(cipher), retry }))
}

fn retry() -> Server {
    Server { random: RETRY_RANDOM.to_vec(), ..Server::tls13(0x1301) }
}

#[test]
fn what_was_chosen() {
    use ProtocolVersion::{Ssl30, Tls10, Tls11, Tls12, Tls13};
    let old = |legacy_version| Server { legacy_version, ..Server::tls12(0x002f) }.record();
    let extended = Server::tls12(0xc02f).with(0xff01, vec![0]).with(16, vec![0, 3, 2, b'h', b'2']);
    let rows = [
        ("openssl 1.3", unhex(fixtures::SERVER_TLS13), complete(Tls13, 0x1302, false)),
        ("openssl 1.2", unhex(fixtures::SERVER_TLS12), complete(Tls12, 0xc02c, false)),
        ("openssl retry", unhex(fixtures::RETRY_REQUEST), complete(Tls13, 0x1302, true)),
        ("openssl alert", unhex(fixtures::SERVER_ALERT), Ok(ServerProgress::Alert)),
        ("ssl 3.0", old(0x0300), complete(Ssl30, 0x002f, false)),
        ("tls 1.0", old(0x0301), complete(Tls10, 0x002f, false)),
        ("tls 1.1", old(0x0302), complete(Tls11, 0x002f, false)),
        ("no extensions", Server::tls12(0xc02f).record(), complete(Tls12, 0xc02f, false)),
        ("extensions of 1.2", extended.record(), complete(Tls12, 0xc02f, false)),
        ("1.3", Server::tls13(0x1301).record(), complete(Tls13, 0x1301, false)),
        ("retry", retry().record(), complete(Tls13, 0x1301, true)),
        ("unknown suite", Server::tls12(0x5555).record(), complete(Tls12, 0x5555, false)),
    ];
    for (row, bytes, want) in rows {
        assert_eq!(read(&bytes), want, "{row}");
        fuzz_server_hello(&bytes);
    }
}

#[test]
fn malformed_parts() {
    let tls12 = || Server::tls12(0xc02f);
    let rows = [
        ("version 2", Server { legacy_version: 0x0002, ..tls12() }, "legacy version"),
        ("1.3 as legacy version", Server { legacy_version: 0x0304, ..Server::tls12(0x1301) }, "legacy version"),
        ("1.2 in supported_versions", tls12().with(43, vec![3, 3]), "supported_versions"),
        ("a list in supported_versions", tls12().with(43, vec![2, 3, 4]), "supported_versions"),
        ("1.3 on top of 1.1", Server { legacy_version: 0x0302, ..Server::tls13(0x1301) }, "supported_versions"),
        ("suite of 1.2 in 1.3", Server::tls13(0xc02f), "cipher suite of another version"),
        ("unknown suite in 1.3", Server::tls13(0x5555), "cipher suite of another version"),
        ("suite of 1.3 in 1.2", Server::tls12(0x1301), "cipher suite of another version"),
        ("retry in 1.2", Server { random: RETRY_RANDOM.to_vec(), ..tls12() }, "HelloRetryRequest below TLS 1.3"),
        ("deflate", Server { compression: 1, ..tls12() }, "compression method"),
        ("twice", tls12().with(16, vec![]).with(16, vec![]), "duplicate extension"),
    ];
    for (row, server, want) in rows {
        assert_eq!(read(&server.record()), Err(ServerHelloError::Malformed(want)), "{row}");
        fuzz_server_hello(&server.record());
    }
    let body = Server::tls13(0x1301).body();
    let bare_end = Server::tls12(0x1301).body().len();
    for end in 0..body.len() {
        let want =
            if end == bare_end { Err("cipher suite of another version") } else { ServerHello::parse(&body[..end]) };
        assert!(want.is_err() && ServerHello::parse(&body[..end]) == want, "cut at {end}");
    }
}

#[test]
fn what_may_come_before_and_behind() {
    let hello = Server::tls12(0xc02f);
    let (warning, fatal, ccs) = (record(21, &[1, 112]), record(21, &[2, 112]), record(20, &[1]));
    let malformed = |place| Err(ServerHelloError::Malformed(place));
    let before = "a record before the hello";
    let whole = || complete(ProtocolVersion::Tls12, 0xc02f, false);
    let start = record(22, &hello.message()[..9]);
    let flight = record(22, &[hello.message(), vec![11, 0, 0, 0]].concat());
    let flight13 = record(22, &[Server::tls13(0x1301).message(), vec![8, 0, 0, 0]].concat());
    let rows = [
        ("D5 ssh", b"SSH-2.0-x\r\n".to_vec(), Err(ServerHelloError::NotTls)),
        ("http", b"HTTP/1.1 400 Bad Request\r\n".to_vec(), Err(ServerHelloError::NotTls)),
        ("sslv2", vec![0x80, 0x2e, 4, 0, 0], Err(ServerHelloError::NotTls)),
        ("a client hello", record(22, &[1, 0, 0]), Err(ServerHelloError::NotTls)),
        ("an empty record", vec![22, 3, 3, 0, 0], malformed("length of a record")),
        ("fatal alert", fatal.clone(), Ok(ServerProgress::Alert)),
        ("close_notify", record(21, &[1, 0]), Ok(ServerProgress::Alert)),
        ("half an alert", fatal[..6].to_vec(), Ok(ServerProgress::Incomplete)),
        ("alert of level 3", record(21, &[3, 40]), malformed(before)),
        ("long alert", record(21, &[2, 40, 0]), malformed(before)),
        ("warning, hello", [warning.clone(), hello.record()].concat(), whole()),
        ("warning, alert", [warning.clone(), fatal.clone()].concat(), Ok(ServerProgress::Alert)),
        ("three warnings", [&warning[..], &warning, &warning].concat(), malformed(before)),
        ("alert within", [start, fatal].concat(), malformed("another record within the hello")),
        ("change_cipher_spec first", ccs.clone(), Err(ServerHelloError::NotTls)),
        ("1.2 with its certificate", flight, whole()),
        ("1.3 with more in its record", flight13, malformed("bytes behind the hello in its record")),
        ("too long", record(22, &[2, 0, 0x40, 0]), Err(ServerHelloError::TooLong)),
    ];
    for (row, bytes, want) in rows {
        assert_eq!(read(&bytes), want, "{row}");
        fuzz_server_hello(&bytes);
    }
    let after = |bytes: &[u8]| ServerHelloReader::after_retry().push(bytes);
    assert_eq!(after(&[ccs.clone(), hello.record()].concat()), whole());
    assert_eq!(after(&hello.record()), whole());
    assert_eq!(after(&[ccs.clone(), ccs].concat()), malformed(before));
    assert_eq!(after(&record(20, &[2])), malformed(before));
}

#[test]
fn bytes_are_kept_apart() {
    let (hello, behind) = (Server::tls12(0xc02f).record(), record(22, &[11, 0, 0, 0]));
    let mut reader = ServerHelloReader::default();
    assert_eq!(reader.push(&hello[..30]), Ok(ServerProgress::Incomplete));
    assert!(reader.push(&[&hello[30..], &behind].concat()).is_ok());
    assert_eq!((reader.bytes(), reader.trailing()), (&hello[..], &behind[..]));
    assert!(reader.push(&[]).is_err(), "a whole hello takes no more");
    assert_eq!(reader.into_parts(), (hello, behind));
}

proptest! {
    #[test]
    fn any_split_of_records_reads_the_same(size in 1_usize..200) {
        for server in [Server::tls12(0xc02f), Server::tls13(0x1303), retry()] {
            let stream = records(&server.message(), size);
            prop_assert_eq!(read(&stream), read(&server.record()));
            fuzz_server_hello(&stream);
        }
    }

    #[test]
    fn holds_for_any_bytes(data in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz_server_hello(&data);
        fuzz_server_hello(&record(22, &data));
    }
}
