//! How a ClientHello comes in: splits of segments and records, what is no hello, and the bounds.
//! Not here: what it says (`client_hello_tests`).
//! Source: as `hello_reader`; rows named after the attacks that they try.

use super::*;
use crate::tls::fixtures;
use crate::tls::testing::{Client, message, record, records, unhex, vec16};
use proptest::prelude::*;

/// The first answer that is not `Incomplete`, and the bytes that had been pushed by then.
fn drip(bytes: &[u8]) -> (Result<Progress, HelloError>, usize) {
    let mut reader = HelloReader::new();
    for (at, byte) in bytes.iter().enumerate() {
        match reader.push(&[*byte]) {
            Ok(Progress::Incomplete) => {}
            answer => return (answer, at + 1),
        }
    }
    (Ok(Progress::Incomplete), bytes.len())
}

/// A right hello whose records come to `size` bytes, with the padding extension (21) to fill it.
fn of_size(size: usize) -> Vec<u8> {
    let least = Client::new().with(21, vec![]).record().len();
    Client::new().with(21, vec![0; size - least]).record()
}

#[test]
fn refuses_at_the_first_byte_that_shows_it() {
    let malformed = HelloError::Malformed;
    let sslv2 = [0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10];
    let start = &Client::new().message()[..40];
    let interleaved = [record(22, start), record(21, &[2, 40])].concat();
    let data_within = [record(22, start), record(23, &[0; 9])].concat();
    let other_version = [&record(22, start)[..], &[22, 2]].concat();
    let empty_within = [&record(22, start)[..], &[22, 3, 1, 0, 0]].concat();
    let behind = record(22, &[Client::new().message(), vec![20]].concat());
    let rows: [(&str, &[u8], HelloError, usize); 18] = [
        ("D5 ssh", b"SSH-2.0-OpenSSH", HelloError::NotTls, 1),
        ("D5 http", b"GET / HTTP/1.1\r\n", HelloError::NotTls, 1),
        ("D6 starttls", b"EHLO mail", HelloError::NotTls, 1),
        ("an alert first", &[21, 3, 1, 0, 2, 2, 40], HelloError::NotTls, 1),
        ("application data first", &[23, 3, 3, 0, 9], HelloError::NotTls, 1),
        ("a NUL", &[0], HelloError::NotTls, 1),
        ("D7 sslv2", &sslv2, HelloError::SslV2, 5),
        ("D7 sslv2 with version 3", &[0x80, 0x2e, 1, 3, 1], HelloError::SslV2, 5),
        ("high byte, other type", &[0x80, 0x2e, 4, 0, 2], HelloError::NotTls, 3),
        ("high byte, other version", &[0xff, 0xff, 1, 4, 0], HelloError::NotTls, 5),
        ("record version 2", &[22, 2, 0, 0, 9], HelloError::NotTls, 2),
        ("D2 empty record", &[22, 3, 1, 0, 0, 1], malformed("length of a record"), 5),
        ("long record", &[22, 3, 1, 0x40, 1, 1], malformed("length of a record"), 5),
        ("server hello", &[22, 3, 1, 0, 9, 2], HelloError::NotTls, 6),
        ("D2 interleaved alert", &interleaved, malformed("another record within the hello"), 46),
        ("D2 interleaved data", &data_within, malformed("another record within the hello"), 46),
        ("second record of version 2", &other_version, malformed("version of a record"), 47),
        ("D2 empty record within", &empty_within, malformed("length of a record"), 50),
    ];
    for (row, bytes, want, at) in rows {
        assert_eq!(HelloReader::new().push(bytes), Err(want), "{row}, whole");
        assert_eq!(drip(bytes), (Err(want), at), "{row}, byte by byte");
    }
    assert_eq!(HelloReader::new().push(&behind), Err(malformed("bytes behind the hello in its record")));
    assert_eq!(HelloReader::new().push(&[0x80, 0x2e, 1]), Ok(Progress::Incomplete), "not yet sure that it is sslv2");
}

#[test]
fn sixteen_kib_and_no_more() {
    assert!(matches!(HelloReader::new().push(&of_size(MAX_HELLO)), Ok(Progress::Complete(_))));
    let rows = [
        ("one byte more, known from its length", of_size(MAX_HELLO + 1), 9),
        ("24 bits of length", record(22, &[1, 0xff, 0xff, 0xff]), 9),
        ("records of one byte", records(&of_size(MAX_HELLO / 4)[5..], 1), MAX_HELLO - 4),
    ];
    for (row, bytes, at) in rows {
        let (answer, pushed) = drip(&bytes);
        assert_eq!(answer, Err(HelloError::TooLong), "{row}");
        assert!(pushed == at || pushed.abs_diff(at) < 6 && at > 9, "{row}: known after {pushed} bytes");
        assert_eq!(HelloReader::new().push(&bytes), Err(HelloError::TooLong), "{row}, whole");
    }
}

#[test]
fn keeps_the_bytes_and_what_is_behind() {
    let hello = unhex(fixtures::CURL);
    let behind = [record(20, &[1]), record(23, &[0; 40])].concat();
    for cut in [0, 1, 5, 6, hello.len() - 1, hello.len()] {
        let mut reader = HelloReader::new();
        let stream = [&hello[..], &behind].concat();
        let early = reader.push(&stream[..cut]);
        let done = if cut == hello.len() { early } else { reader.push(&stream[cut..]) };
        assert!(matches!(done, Ok(Progress::Complete(_))), "cut at {cut}");
        assert_eq!(reader.bytes(), hello, "cut at {cut}");
        assert_eq!(reader.trailing(), if cut == hello.len() { &[][..] } else { &behind }, "cut at {cut}");
        assert_eq!(reader.push(b"x"), Err(HelloError::Malformed("bytes pushed after the whole hello")));
        assert_eq!(reader.into_bytes(), hello);
    }
    let mut reader = HelloReader::default();
    assert_eq!(reader.push(b"SSH"), Err(HelloError::NotTls));
    assert_eq!(reader.push(&hello), Err(HelloError::NotTls), "an error stays");
}

#[test]
fn a_post_quantum_hello_in_few_and_many_records() {
    let share = [vec![0x11, 0xec], vec16(vec![6; 1216])].concat();
    let client = Client::new().with(0x3a3a, vec![]).with(51, vec16(share)).with(0xfe0d, vec![0; 186]);
    let message = client.message();
    assert!(message.len() > 1400);
    let want = client.read();
    assert!(matches!(&want, Ok(Progress::Complete(hello)) if hello.ech));
    for count in [1, 2, 64, 65] {
        let bytes = records(&message, message.len().div_ceil(count));
        assert_eq!(HelloReader::new().push(&bytes), want, "{count} records");
        assert_eq!(drip(&bytes).0, want, "{count} records, byte by byte");
    }
}

fn split(bytes: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % bytes.len()).chain([0, bytes.len()]).collect();
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| bytes[pair[0]..pair[1]].to_vec()).collect()
}

proptest! {
    #[test]
    fn any_split_of_segments_and_records_reads_the_same(
        fixture in prop::sample::select(vec![fixtures::OPENSSL_TLS12, fixtures::OPENSSL_TLS13, fixtures::CURL]),
        record_cuts in prop::collection::vec(any::<usize>(), 0..20),
        segment_cuts in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let whole = unhex(fixture);
        let fragments = split(&whole[5..], &record_cuts);
        let stream: Vec<u8> = fragments.iter().filter(|it| !it.is_empty()).flat_map(|it| record(22, it)).collect();
        let mut reader = HelloReader::new();
        let mut answer = Ok(Progress::Incomplete);
        for segment in split(&stream, &segment_cuts) {
            prop_assert_eq!(&answer, &Ok(Progress::Incomplete));
            answer = reader.push(&segment);
        }
        prop_assert_eq!(answer, HelloReader::new().push(&whole));
        prop_assert_eq!(reader.bytes(), stream);
    }

    #[test]
    fn holds_for_any_bytes(data in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz_client_hello(&data);
        fuzz_client_hello(&record(22, &message(1, &data)));
    }

    #[test]
    fn holds_for_a_hello_with_a_few_bytes_changed(
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4),
        size in 1_usize..600,
    ) {
        let mut bytes = records(&unhex(fixtures::CURL)[5..], size);
        let length = bytes.len();
        for (at, byte) in changes {
            bytes[at % length] = byte;
        }
        fuzz_client_hello(&bytes);
    }
}
