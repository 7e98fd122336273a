//! What is taken for a refusal, and what for a number; a run against a proxy is tried from outside.

use tokio::time::sleep;

use super::*;
use crate::redact::{clean, clean_name};
use crate::runtime::egress::Pools;
use crate::runtime::testing;

const REFUSAL: &str = "HTTP/1.1 403 plaintext_http\r\nContent-Length: 9\r\n\r\n{\"reason\":\"plaintext_http\",\"decision_id\":\"0199aa00-0000-7000-8000-000000000007\"}";

#[test]
fn each_request_holds_numbers_that_redaction_finds() {
    for place in Place::ALL {
        let request = place.request();
        assert!(holds_number(request.as_bytes()), "{place:?}");
        for number in NUMBERS.iter().filter(|number| request.contains(*number)) {
            assert!(!holds_number(clean(number.as_bytes(), 100).text.as_str().as_bytes()), "{place:?}: {number}");
        }
    }
    assert_eq!(clean_name(b"4111111111111111.canary.invalid", 100).text.as_str(), "[PAN:visa:16].canary.invalid");
}

#[test]
fn a_number_is_found_in_each_form_that_is_sent() {
    for (text, want) in [
        ("x4111111111111111x", true),
        ("5555-5555-5555-4444", true),
        ("4111 1111 1111 1111", true),
        ("3782 8224 6310 005", true),
        ("%35%35%35%35%35%35%35%35%35%35%35%35%34%34%34%34", true),
        ("Basic Mzc4MjgyMjQ2MzEwMDA1", true),
        ("[PAN:visa:16] 4111 1111 2222 3333", false),
        ("", false),
    ] {
        assert_eq!(holds_number(text.as_bytes()), want, "{text}");
        assert_eq!(holds_number(format!("\u{fffd}{text}").as_bytes()), want, "{text}");
    }
}

#[test]
fn answers_by_table() {
    let repeats = REFUSAL.replace("plaintext_http", "5555555555554444");
    let [no_id, other] = ["", "7"].map(|id| REFUSAL.replace("0199aa00-0000-7000-8000-000000000007", id));
    let unknown = REFUSAL.replace("plaintext_http", "no_such_reason");
    for (answer, want) in [
        (REFUSAL, ""),
        (&repeats, "the answer to the request with a number in its name repeats the number"),
        ("HTTP/1.1 200 Connection established\r\n\r\n", "was not refused"),
        (&REFUSAL.replace("403", "200"), "was not refused"),
        (&no_id, "was not refused"),
        (&other, "was not refused"),
        (&unknown, "was not refused"),
        ("HTTP/1.1 403 Forbidden\r\n\r\nAccess denied", "was not refused"),
        ("SSH-2.0-x\r\n", "was not refused"),
        ("", "was not refused"),
    ] {
        match judged(answer.as_bytes(), Place::Name) {
            Ok(refused) => {
                let found = (refused.reason, refused.decision_id.to_string());
                assert_eq!(
                    (want, found),
                    ("", (Reason::PlaintextHttp, "0199aa00-0000-7000-8000-000000000007".to_owned()))
                );
            }
            Err(error) => assert!(!want.is_empty() && error.to_string().contains(want), "{answer}: {error}"),
        }
    }
}

/// A peer that answers each connection with these bytes.
fn answering(bytes: &'static [u8]) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for mut socket in listener.incoming().flatten() {
            // The client sees how it ends.
            let _ = socket.read(&mut [0; 4096]).and_then(|_| socket.write_all(bytes));
        }
    });
    address
}

#[test]
fn a_run_that_fails_is_on_record_and_counted() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (proxy, want) in [
        (closed, "can't be reached"),
        (answering(b"HTTP/1.1 200 OK\r\n\r\n"), "the request with a number in its name was not refused"),
        (answering(b"4111111111111111"), "repeats the number"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (shared, _) = testing::shared(folder.path(), "version: 1\n", Pools::default());
        let log = folder.path().join("state/decisions");
        let canary = Canary { every: Duration::from_secs(60), proxy, log };
        let told = async {
            loop {
                let found =
                    testing::records(folder.path()).into_iter().find(|record| record["detail"]["what"] == "canary");
                if let Some(record) = found {
                    return record;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let record = runtime.block_on(async {
            tokio::select! {
                told = timeout(Duration::from_secs(20), told) => told.unwrap(),
                () = canary.watch(std::sync::Arc::clone(&shared)) => unreachable!("it goes on until it is dropped"),
            }
        });
        assert_eq!(record["kind"], "control_failure", "{record}");
        assert!(record["detail"]["error"].as_str().unwrap().contains(want), "{record}");
        assert_eq!((&record["detail"]["result"], &record["detail"]["ids"]), (&"failed".into(), &serde_json::json!([])));
        let page = String::from_utf8(shared.metrics_page().unwrap()).unwrap();
        for line in ["runs_total{result=\"failed\"} 1", "runs_total{result=\"ok\"} 0", "timestamp_seconds 0"] {
            assert!(page.contains(&format!("sallyport_canary_{line}\n")), "{line}");
        }
        assert!(!shared.journal().shutdown().any());
    }
}

#[test]
fn all_addresses_are_reached_on_loopback() {
    for (address, want) in [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:2", "[::1]:2"), ("192.0.2.1:3", "192.0.2.1:3")] {
        assert_eq!(reachable(address.parse().unwrap()).to_string(), want);
    }
}
