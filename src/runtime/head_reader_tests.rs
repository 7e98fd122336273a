//! What is a head and what is none, in any split, and what hyper would make of it.

use proptest::prelude::*;

use super::*;

fn seen(pieces: &[&[u8]]) -> (usize, bool, bool) {
    let mut watch = Watch::default();
    pieces.iter().for_each(|piece| watch.see(piece));
    (watch.seen, watch.ended, watch.broken)
}

#[test]
fn what_a_head_may_be_made_of() {
    for (head, want) in [
        ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", (35, true, false)),
        ("\r\nCONNECT a:443 HTTP/1.1\r\n\r\nmore\0", (28, true, false)),
        ("X: a\tb\u{e9}\r\n", (10, false, false)),
        ("a\n\r\n", (4, true, true)),
        ("a\rb\r\n\r\n", (7, true, true)),
        ("a\u{7f}\r\n\r\n", (6, true, true)),
        ("a\0\r\n", (4, false, true)),
    ] {
        assert_eq!(seen(&[head.as_bytes()]), want, "{head:?}");
    }
    let long = vec![b'a'; MAX_HEAD];
    assert_eq!(seen(&[&long]), (MAX_HEAD, false, false));
    assert_eq!(seen(&[&long, b"a"]), (MAX_HEAD + 1, false, true));
}

fn read(pieces: &[&[u8]]) -> Result<Option<Head>, Malformed> {
    let mut reader = HeadReader::default();
    pieces.iter().try_fold(None, |_, piece| reader.push(piece))
}

#[test]
fn what_shows_that_it_is_no_head() {
    for (name, bytes) in [
        ("tls", &b"\x16\x03\x01"[..]),
        ("socks 5", b"\x05\x01\x00"),
        ("not ascii", b"\xff"),
        ("a banner", b"SSH-2.0-OpenSSH_9.2\r\n"),
        ("http/2", b"PRI * HTTP/2.0\r\n"),
        ("a field without a colon", b"CONNECT a:1 HTTP/1.1\r\nHost\r\n"),
        ("a space before the colon", b"CONNECT a:1 HTTP/1.1\r\nHost : a\r\n"),
        ("a folded field", b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n b\r\n"),
        ("a line feed alone", b"CONNECT a:1 HTTP/1.1\n"),
        ("a length that is no number", b"CONNECT a:1 HTTP/1.1\r\nContent-Length: +1\r\n\r\n"),
        ("two lengths", b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        ("a length and a coding", b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("a coding without an end", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n"),
        ("a coding in http/1.0", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ] {
        assert_eq!(read(&[bytes]), Err(Malformed), "{name}");
        let (_, all_but_the_end) = bytes.split_last().unwrap();
        assert_eq!(read(&[all_but_the_end]).is_err(), bytes.len() < 4 && bytes.len() > 1, "{name}: too early");
    }
}

#[test]
fn what_is_behind_the_head_is_not_lost() {
    let mut reader = HeadReader::default();
    assert_eq!(
        reader.push(b"\r\nCONNECT a.example:443 HTTP/1.0\r\nhost: b\r\nHOST: c\r\nContent-Length: 0\r"),
        Ok(None)
    );
    let head = reader.push(b"\n\r\n\x16\x03\x01\0\n\r\n").unwrap().unwrap();
    assert_eq!((head.method.as_str(), head.target.as_str()), ("CONNECT", "a.example:443"));
    assert_eq!((head.hosts, head.has_body, &head.absolute), (2, false, &None));
    assert_eq!(&reader.into_unread()[..], b"\x16\x03\x01\0\n\r\n");
}

#[test]
fn a_body_is_seen_however_it_is_announced() {
    for (fields, want) in [
        ("", false),
        ("Content-Length: 0\r\n", false),
        ("content-length: 1\r\n", true),
        ("Content-Length: 0\r\nContent-Length: 0\r\n", true),
        ("Transfer-Encoding: gzip, Chunked\r\n", true),
    ] {
        let head = read(&[format!("POST http://a.example:80/x HTTP/1.1\r\n{fields}\r\n").as_bytes()]).unwrap().unwrap();
        assert_eq!(head.has_body, want, "{fields:?}");
        assert_eq!(head.absolute, Some(("a.example".to_owned(), Some(80))));
    }
}

/// What hyper makes of the bytes: method, target and Host fields. `None`: a refusal, or not enough.
fn by_hyper(bytes: &[u8]) -> Option<(String, String, usize)> {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    let seen = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&seen);
    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let hosts = request.headers().get_all("host").iter().count();
        let read = (request.method().to_string(), request.uri().to_string(), hosts);
        slot.lock().unwrap().get_or_insert(read);
        std::future::ready(Ok::<_, Infallible>(http::Response::new(http_body_util::Empty::<Bytes>::new())))
    });
    let io = hyper_util::rt::TokioIo::new(tokio::io::join(bytes, tokio::io::sink()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let served = hyper::server::conn::http1::Builder::new().max_headers(MAX_FIELDS).serve_connection(io, service);
    // How it ends says nothing: the bytes end where it looks for a second request.
    let _ = runtime.block_on(served);
    seen.lock().unwrap().take()
}

proptest! {
    #[test]
    fn what_is_taken_is_what_hyper_would_take(
        line in "(CONNECT|GET|get|HEAD) (a:443|a|/|http://a:80/b|\\*|a\u{e9}|a b) HTTP/1\\.[012]",
        fields in prop::collection::vec(
            "(host|Host|Content-Length|Transfer-Encoding|x|x y|)(: |:| :|)(a|0|1|00|chunked|gzip, chunked|\t|\u{e9}|)(\r\n|\n|\r)",
            0..4
        ),
    ) {
        let head = format!("{line}\r\n{}\r\n", fields.concat());
        if let Ok(Some(Head { method, target, hosts, .. })) = read(&[head.as_bytes()]) {
            let (by_hyper, uri, same) = by_hyper(head.as_bytes()).expect("hyper takes it");
            prop_assert_eq!((method.as_str(), hosts), (by_hyper.as_str(), same));
            prop_assert_eq!(target.parse::<Uri>().unwrap().to_string(), uri);
        }
    }

    #[test]
    fn no_split_changes_the_answer(head in "(GET / HTTP/1.1|CONNECT a:1 HTTP/1.0|x)?(\r\n|\n)?([Aa:0 \t]{0,3}(\r\n|\r)){0,6}.{0,3}") {
        fuzz_head(head.as_bytes());
    }

    #[test]
    fn no_split_changes_what_is_seen(head in "([ab\\t\\x00\\x7f]|\\r|\\n|\\r\\n|\\r\\n\\r\\n){0,12}") {
        let bytes = head.as_bytes();
        let each: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(seen(&[bytes]), seen(&each));
        for at in 0..=bytes.len() {
            let (first, second) = bytes.split_at(at);
            prop_assert_eq!(seen(&[bytes]), seen(&[first, second]), "split at {}", at);
        }
    }
}
