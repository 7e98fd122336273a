//! What a client may send before the ServerHello: tables of records, and any split of them.
//! Not here: the server's side (`exchange_tests`).
//! Source: as `gate`.

use super::*;
use crate::tls::HelloError;
use crate::tls::testing::{Client, record};
use proptest::prelude::*;

const REFUSED: ExchangeError = ExchangeError::Client("a record that may not come before the ServerHello");

fn gate(early_data: bool, second: bool) -> Gate {
    let psk = Client::new().with(42, vec![]).with(41, vec![]);
    let client = if early_data { psk } else { Client::new() };
    let Ok(Progress::Complete(first)) = client.read() else { panic!("a right hello") };
    let mut gate = Gate::new(&first);
    if second {
        gate.await_second();
    }
    gate
}

/// What passed, and the second hello, when `bytes` come in pushes of `step`.
fn pass(mut gate: Gate, bytes: &[u8], step: usize) -> Result<(Vec<u8>, Option<ClientHello>), ExchangeError> {
    let (mut out, mut second) = (Vec::new(), None);
    for chunk in bytes.chunks(step) {
        if let Some(hello) = gate.push(chunk, &mut out)? {
            second = Some(hello);
        }
    }
    assert_eq!([&out[..], gate.held()].concat(), bytes, "a byte was lost");
    Ok((out, second))
}

#[test]
fn records_before_the_server_hello() {
    let (ccs, alert, data) = (record(20, &[1]), record(21, &[2, 80]), record(23, &[0; 300]));
    let hello = Client::new().record();
    let five = ccs.repeat(5);
    let client = ExchangeError::Client;
    let rows = [
        ("nothing", false, false, vec![], None),
        ("change_cipher_spec", false, false, ccs.clone(), None),
        ("fatal alert", false, false, alert.clone(), None),
        ("user_canceled, close_notify", false, false, [record(21, &[1, 90]), record(21, &[1, 0])].concat(), None),
        ("early data", true, false, [&ccs[..], &data, &data].concat(), None),
        ("early data until the retry comes", true, true, [&data[..], &ccs, &hello].concat(), None),
        ("second hello", false, true, hello.clone(), None),
        ("change_cipher_spec, second hello", false, true, [&ccs[..], &hello].concat(), None),
        ("second hello, alert", false, true, [&hello[..], &alert].concat(), None),
        ("early data that was not offered", false, false, data.clone(), Some(REFUSED)),
        ("a hello nobody asked for", false, false, hello.clone(), Some(REFUSED)),
        ("a third hello", false, true, hello.repeat(2), Some(REFUSED)),
        ("early data behind the second hello", true, true, [&hello[..], &data].concat(), Some(REFUSED)),
        ("text", true, true, b"GET /".to_vec(), Some(REFUSED)),
        ("version 2", false, false, vec![20, 2, 0, 0, 1, 1], Some(client("version of a record"))),
        ("empty early data", true, false, vec![23, 3, 3, 0, 0], Some(client("length of a record"))),
        ("change_cipher_spec of 2", false, false, record(20, &[2]), Some(SMALL_FAULT)),
        ("long alert", false, false, record(21, &[2, 80, 0]), Some(SMALL_FAULT)),
        ("short alert", false, false, record(21, &[2]), Some(SMALL_FAULT)),
        ("a flood", false, false, five, Some(SMALL_FAULT)),
    ];
    for (row, early_data, second, bytes, error) in rows {
        for step in [1, 3, 7, 4096] {
            let got = pass(gate(early_data, second), &bytes, step);
            assert_eq!(got.as_ref().err(), error.as_ref(), "{row}, {step} at a time");
            if let Ok((out, _)) = got {
                assert_eq!(out, bytes, "{row}, {step} at a time");
            }
        }
    }
}

#[test]
fn a_second_hello_is_read_like_the_first() {
    let wrong = [
        ("empty record", vec![22, 3, 1, 0, 0], ExchangeError::Client("length of a record")),
        ("other message", record(22, &[20, 0, 0, 0]), ExchangeError::SecondHello(HelloError::NotTls)),
        ("too long", record(22, &[1, 1, 0, 0]), ExchangeError::SecondHello(HelloError::TooLong)),
    ];
    for (row, bytes, want) in wrong {
        assert_eq!(pass(gate(false, true), &bytes, 1), Err(want), "{row}");
    }
    let message = Client::new().message();
    let split = [record(22, &message[..9]), record(22, &message[9..])].concat();
    let interleaved = [record(22, &message[..9]), record(20, &[1])].concat();
    assert!(matches!(pass(gate(false, true), &split, 4), Ok((_, Some(_)))));
    assert!(matches!(pass(gate(false, true), &interleaved, 4), Err(ExchangeError::SecondHello(_))));
}

#[test]
fn nothing_of_a_small_record_passes_before_it_is_whole() {
    let mut gate = gate(true, false);
    let mut out = Vec::new();
    assert_eq!(gate.push(&[21, 3, 3, 0, 2, 2], &mut out), Ok(None));
    assert_eq!((out.len(), gate.held().len()), (0, 6));
    assert_eq!(gate.push(&[80, 23, 3, 3, 0, 9, 1], &mut out), Ok(None));
    assert_eq!((out.len(), gate.held().len()), (13, 0), "early data streams");
}

proptest! {
    #[test]
    fn any_split_passes_the_same(
        kinds in prop::collection::vec(0_u8..4, 0..6),
        early_data in any::<bool>(),
        second in any::<bool>(),
        step in 1_usize..50,
    ) {
        let records = kinds.iter().map(|kind| match kind {
            0 => record(20, &[1]),
            1 => record(21, &[1, 0]),
            2 => record(23, &[1; 40]),
            _ => Client::new().record(),
        });
        let bytes: Vec<u8> = records.flatten().collect();
        let whole = pass(gate(early_data, second), &bytes, bytes.len().max(1));
        prop_assert_eq!(pass(gate(early_data, second), &bytes, step), whole);
    }
}

#[test]
fn early_data_is_bounded() {
    let full = record(23, &[0; 16 * 1024]);
    let too_much = ExchangeError::Client("more early data than may come before the ServerHello");
    for (row, bytes, want) in [
        ("64 KiB", full.repeat(4), None),
        ("one byte more", [&full.repeat(4)[..], &record(23, &[0])].concat(), Some(too_much)),
    ] {
        for step in [1, 1000, bytes.len()] {
            assert_eq!(pass(gate(true, false), &bytes, step).err(), want, "{row} in pieces of {step}");
        }
    }
}
