//! `/v1/decisions` from outside: records and tables by a query, who is on record for it, and what a slow reader can hold up.
//! Not here: every filter (the route's own tables). Source: the contract: "Admin port"; RFC 4180.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::access::{Guarded, start};
use crate::harness::{PATIENCE, eventually, status_of};
use crate::programs::{finish, program};

fn deny(guarded: &Guarded, host: &str) {
    let (socket, _) = guarded.proxy.ask(format!("CONNECT {host}:443 HTTP/1.1\r\n\r\n").as_bytes());
    guarded.proxy.decision_of(socket.local_addr().unwrap());
}

#[test]
fn records_by_a_query_as_the_log_has_them_and_as_a_table() {
    let guarded = start();
    for host in ["a.example", "b.example", "a.example"] {
        deny(&guarded, host);
    }
    let (head, body) =
        guarded.with(&guarded.auditor, &["--raw"], "/v1/decisions?host=a.example&kind=decision&since=1h");
    assert!(
        status_of(&head) == 200
            && head.contains("content-type: application/x-ndjson")
            && head.contains("cache-control: no-store"),
        "{head}"
    );
    // Chunked: the end is seen, so a short answer is not taken for a whole one.
    assert!(head.contains("transfer-encoding: chunked") && body.ends_with("\r\n0\r\n\r\n"), "{head}{body}");
    let (_, body) = guarded.with(&guarded.auditor, &[], "/v1/decisions?host=a.example&kind=decision");
    let lines: Vec<Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let own: Vec<Value> = guarded.proxy.records().into_iter().filter(|record| record["host"] == "a.example").collect();
    assert_eq!((lines.len(), &lines), (2, &own));
    let reader = r#"
import csv, io, sys
rows = list(csv.DictReader(io.StringIO(sys.stdin.read(), newline="")))
print([(row["state"], row["host"], row["reason"]) for row in rows])
"#;
    let (head, table) = guarded.with(&guarded.operator, &["-H", "Accept: text/csv"], "/v1/decisions?outcome=deny");
    assert!(head.contains("content-type: text/csv; charset=utf-8; header=present"), "{head}");
    let read = finish(program("python3").args(["-c", reader]), &table);
    let row = |host: &str| format!("('refused', '{host}.example', 'destination_not_listed')");
    assert_eq!(read.out.trim_end(), format!("[{}, {}, {}]", row("a"), row("b"), row("a")), "{read:?}");

    let exports: Vec<Value> = guarded.proxy.records().into_iter().filter(|record| record["kind"] == "export").collect();
    let told: Vec<(&str, &str, &str)> = exports
        .iter()
        .map(|record| {
            let what = &record["detail"]["what"];
            (record["actor"].as_str().unwrap(), what["format"].as_str().unwrap(), what["query"].as_str().unwrap())
        })
        .collect();
    let query = "host=a.example&kind=decision";
    assert_eq!(
        told,
        [
            ("qsa-2026", "jsonl", &*format!("{query}&since=1h")),
            ("qsa-2026", "jsonl", query),
            ("ops", "csv", "outcome=deny")
        ]
    );
    for (query, says) in
        [("since=soon", "`soon` is no time"), ("hots=a", "unknown parameter"), ("reason=alowed", "unknown reason")]
    {
        let (head, body) = guarded.with(&guarded.auditor, &[], &format!("/v1/decisions?{query}"));
        assert_eq!((status_of(&head), body.contains(says)), (400, true), "{query}: {body}");
    }
    let (head, body) = guarded.with(&guarded.auditor, &["-I"], "/v1/decisions");
    assert_eq!((status_of(&head), &*body), (200, ""), "HEAD");
}

impl Guarded {
    /// An auditor's call whose answer has begun and is not read any further.
    pub fn slow(&self, path: &str) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&self.proxy.admin.into()).unwrap();
        let mut socket = TcpStream::from(socket);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let token = &self.auditor;
        write!(socket, "GET {path} HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {token}\r\n\r\n").unwrap();
        let mut first = [0; 15];
        socket.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200 OK");
        socket
    }
}

#[test]
fn two_queries_run_at_a_time_and_who_goes_away_makes_room() {
    let guarded = start();
    // More than two small sockets and what stands before them hold: about 2 MB.
    let name = vec!["a".repeat(60); 4].join(".");
    for _ in 0..1000 {
        // Of each reason a thousand a second are on record.
        guarded.proxy.ask(format!("CONNECT {name}:443 HTTP/1.1\r\n\r\n").as_bytes());
        guarded.proxy.ask(format!("GET http://{name}/ HTTP/1.1\r\nHost: {name}\r\n\r\n").as_bytes());
    }
    let slow: Vec<TcpStream> = (0..2).map(|_| guarded.slow("/v1/decisions")).collect();
    let (head, _) = guarded.with(&guarded.auditor, &[], "/v1/decisions");
    assert!(status_of(&head) == 503 && head.contains("retry-after: 1"), "{head}");
    for path in ["/livez", "/log/checkpoint"] {
        assert_eq!(status_of(&guarded.with(&guarded.auditor, &[], path).0), 200, "{path}");
    }
    drop(slow);
    eventually("there is room again", Instant::now() + PATIENCE, || {
        (status_of(&guarded.with(&guarded.auditor, &[], "/v1/decisions?kind=start").0) == 200).then_some(())
    });
}
