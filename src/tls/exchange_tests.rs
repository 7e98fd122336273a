//! The order of the hellos: captured exchanges, each in several splits, and what may not happen.
//! Not here: live TLS libraries at both ends (`live_tests`).
//! Source: as `exchange`; rows named after the attacks that they try.

use super::*;
use crate::tls::fixtures;
use crate::tls::testing::{Client, Server, record, unhex};
use crate::tls::{CipherSuite, HelloReader, Progress, SecondHelloDiffers};
use proptest::prelude::*;

fn first(hello: &[u8]) -> ClientHello {
    match HelloReader::new().push(hello) {
        Ok(Progress::Complete(hello)) => hello,
        other => panic!("{other:?}"),
    }
}

fn exchange() -> Exchange {
    Exchange::new(&first(&Client::new().record()))
}

fn malformed<T>(place: &'static str) -> Result<T, ExchangeError> {
    Err(ExchangeError::Server(ServerHelloError::Malformed(place)))
}

/// The first step that is not `Hold`, when `bytes` come in pushes of `step`; and what was not pushed.
fn serve<'a>(exchange: &mut Exchange, bytes: &'a [u8], step: usize) -> (Result<ServerStep, ExchangeError>, &'a [u8]) {
    let mut pushed = 0;
    for chunk in bytes.chunks(step) {
        pushed += chunk.len();
        match exchange.server(chunk) {
            Ok(ServerStep::Hold) => {}
            done => return (done, &bytes[pushed..]),
        }
    }
    (Ok(ServerStep::Hold), &[])
}

#[test]
fn captured_answers() {
    for (row, hello, answer, version) in [
        ("1.3", fixtures::OPENSSL_TLS13, fixtures::SERVER_TLS13, ProtocolVersion::Tls13),
        ("1.2", fixtures::OPENSSL_TLS12, fixtures::SERVER_TLS12, ProtocolVersion::Tls12),
    ] {
        let bytes = unhex(answer);
        for step in [1, 7, bytes.len()] {
            let mut exchange = Exchange::new(&first(&unhex(hello)));
            let (done, later) = serve(&mut exchange, &bytes, step);
            let Ok(ServerStep::Hello { hello, to_client, to_server }) = done else { panic!("{row}: {done:?}") };
            assert_eq!((hello.version, hello.retry, hello.cipher.is_strong()), (version, false, true), "{row}");
            assert_eq!([&to_client.release()[..], later].concat(), bytes, "{row}, {step} at a time");
            assert!(to_server.release().is_empty(), "{row}");
            assert_eq!(exchange.server(&[1]), Err(ExchangeError::Over), "{row}");
            assert_eq!(exchange.client(&[1]), Err(ExchangeError::Over), "{row}");
        }
    }
}

#[test]
fn captured_retry() {
    let (request, second) = (unhex(fixtures::RETRY_REQUEST), unhex(fixtures::RETRY_SECOND));
    let answer = unhex(fixtures::RETRY_SERVER);
    let opening = first(&unhex(fixtures::RETRY_FIRST));
    for step in [1, 10, 500] {
        let mut exchange = Exchange::new(&opening);
        let (done, later) = serve(&mut exchange, &request, step);
        let Ok(ServerStep::Retry { hello, held }) = done else { panic!("{done:?}") };
        assert!(hello.retry && hello.version == ProtocolVersion::Tls13);
        assert_eq!(held.release(), request[..request.len() - 6], "the HelloRetryRequest and nothing behind it");
        assert!(matches!(serve(&mut exchange, later, step).0, Ok(ServerStep::Hold)));
        let mut to_server = Vec::new();
        let mut found = None;
        for chunk in second.chunks(step) {
            match exchange.client(chunk).unwrap() {
                ClientStep::Forward(passed) => to_server.extend(passed),
                ClientStep::Hello { hello, held } => {
                    found = Some(hello);
                    to_server.extend(held.release());
                }
            }
        }
        assert_eq!(found.map(|hello| opening.check_second(&hello)), Some(Ok(())));
        assert_eq!(to_server, second);
        let (done, later) = serve(&mut exchange, &answer, step);
        let Ok(ServerStep::Hello { to_client, .. }) = done else { panic!("{done:?}") };
        let ccs = &request[request.len() - 6..];
        assert_eq!([&to_client.release()[..], later].concat(), [ccs, &answer].concat());
    }
}

fn retry() -> Vec<u8> {
    let random = unhex(fixtures::RETRY_REQUEST)[11..43].to_vec();
    Server { random, ..Server::tls13(0x1301) }.record()
}

#[test]
fn a8_a_second_hello_for_another_name_is_held() {
    let mut exchange = exchange();
    assert!(matches!(exchange.server(&retry()), Ok(ServerStep::Retry { .. })));
    let evil = Client::bare().with(0, crate::tls::testing::names(&[(0, b"evil.example")]));
    let evil = evil.with(43, crate::tls::testing::versions(&[0x0304]));
    let bytes = [record(20, &[1]), evil.record()].concat();
    let Ok(ClientStep::Hello { hello, held }) = exchange.client(&bytes) else { panic!("no hello") };
    assert_eq!(held, Held(bytes), "its change_cipher_spec is held too");
    assert_eq!(first(&Client::new().record()).check_second(&hello), Err(SecondHelloDiffers::ServerName));
}

#[test]
fn what_may_not_come_from_the_server() {
    let (hello, alert) = (Server::tls13(0x1301).record(), record(21, &[2, 40]));
    let rows = [
        ("D4 banner", b"220 mail ESMTP\r\n".to_vec(), Err(ExchangeError::Server(ServerHelloError::NotTls))),
        (
            "answer before the second hello",
            [retry(), hello.clone()].concat(),
            malformed("an answer before the second ClientHello"),
        ),
        ("two retries at once", [retry(), retry()].concat(), malformed("an answer before the second ClientHello")),
        (
            "alert right behind a retry",
            [retry(), alert.clone()].concat(),
            malformed("an answer before the second ClientHello"),
        ),
        (
            "data behind a retry",
            [retry(), record(23, &[1])].concat(),
            Err(ExchangeError::Server(ServerHelloError::NotTls)),
        ),
        ("alert", [&alert[..], b"more"].concat(), Ok(ServerStep::Alert(alert.clone()))),
    ];
    for (row, bytes, want) in rows {
        let mut exchange = exchange();
        assert_eq!(exchange.server(&bytes), want, "{row}");
        assert_eq!(exchange.server(&hello), Err(ExchangeError::Over), "{row}: afterwards");
        assert_eq!(exchange.client(&[]), Err(ExchangeError::Over), "{row}: afterwards");
    }
    let mut later = exchange();
    assert!(matches!(later.server(&retry()), Ok(ServerStep::Retry { .. })));
    assert_eq!(later.server(&hello), malformed("an answer before the second ClientHello"));
    let mut refused = exchange();
    assert!(matches!(refused.server(&retry()), Ok(ServerStep::Retry { .. })));
    assert_eq!(refused.server(&alert), Ok(ServerStep::Alert(alert)), "an alert after a retry");
    let mut twice = exchange();
    assert!(matches!(twice.server(&retry()), Ok(ServerStep::Retry { .. })));
    assert!(matches!(twice.client(&Client::new().record()), Ok(ClientStep::Hello { .. })));
    assert_eq!(twice.server(&retry()), malformed("a second HelloRetryRequest"));
}

#[test]
fn a_cut_client_record_goes_on_with_the_server_hello() {
    let mut exchange = exchange();
    assert_eq!(exchange.client(&[20, 3, 3]), Ok(ClientStep::Forward(vec![])));
    let Ok(ServerStep::Hello { hello, to_server, .. }) = exchange.server(&Server::tls12(0xc02f).record()) else {
        panic!("no hello")
    };
    assert_eq!((hello.cipher, to_server.release()), (CipherSuite(0xc02f), vec![20, 3, 3]));
}

#[test]
fn a_wrong_record_ends_it() {
    let mut exchange = exchange();
    let wrong = exchange.client(&record(23, b"GET / HTTP/1.1"));
    assert_eq!(wrong, Err(ExchangeError::Client("a record that may not come before the ServerHello")));
    assert_eq!(exchange.server(&Server::tls13(0x1301).record()), Err(ExchangeError::Over));
}

proptest! {
    #[test]
    fn holds_for_any_script(data in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzz_exchange(&data);
    }

    #[test]
    fn holds_for_scripts_of_right_parts(parts in prop::collection::vec((0_u8..7, any::<u8>()), 1..8), early in any::<u8>()) {
        let mut script = vec![early];
        for (part, cut) in parts {
            let (side, bytes) = match part {
                0 => (0, record(20, &[1])),
                1 => (0, record(23, &[0; 40])),
                2 => (0, Client::new().record()),
                3 => (1, retry()),
                4 => (1, record(20, &[1])),
                5 => (1, record(21, &[1, 112])),
                _ => (1, Server::tls13(0x1301).record()),
            };
            let size = usize::from(cut % 20) * 8 + 1;
            let turn = (cut % 20) * 2 + side;
            for chunk in bytes.chunks_exact(size) {
                script.push(turn);
                script.extend(chunk);
            }
            for byte in bytes.chunks_exact(size).remainder() {
                script.extend([side, *byte]);
            }
        }
        fuzz_exchange(&script);
    }
}
