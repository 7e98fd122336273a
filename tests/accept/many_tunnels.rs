//! Bulk through a hundred tunnels of one HTTP/2 connection, of which one is not read: the others don't wait for it.
//! Not here: how fast it is. Source: RFC 9113 section 5.2 (each stream has a window of its own).

use std::time::Instant;

use serde_json::{Value, json};

use crate::certificates::{Client, Dial, REQUIRED, folder};
use crate::harness::{PATIENCE, Proxy, eventually};
use crate::origins::Origin;

/// On one connection.
const TUNNELS: u64 = 100;

/// Upper bound of what one tunnel holds for a client that takes nothing: the window that Python's h2 gives a stream.
const WINDOW: u64 = 65_535;

/// Moves `each` bytes through every tunnel and back; every byte is compared.
pub fn do_not_wait_for_one_that_stalls(each: u64) {
    let origin = Origin::start();
    let limits = "connections_per_source: 100";
    let proxy = Proxy::start_in(folder(REQUIRED, &["spiffe://voice.test/ivr/*"], origin.port(), limits).0);
    let mut client = Client::connect(proxy.dir.path(), proxy.edge, &Dial::default());
    let target = format!("api.acme.test:{}", origin.port());
    let moved = client.order(&json!(["many", TUNNELS, each, target, "api.acme.test"]));
    let others = 2 * (TUNNELS - 1) * each;
    assert_eq!((&moved["moved"], &moved["ends"]), (&json!(others), &json!(["end"])), "{moved}");
    let full = moved["full"].as_u64().unwrap();
    assert_eq!(moved["back"], full, "what was held comes in the end: {moved}");
    let held = moved["held"].as_u64().unwrap();
    assert!((WINDOW / 2..=WINDOW).contains(&held), "the client that took nothing was sent {held} bytes");
    println!("{others} bytes through {TUNNELS} tunnels but one in {} s; that one held {full}", moved["seconds"]);
    let closes = eventually("their ends", Instant::now() + PATIENCE, || {
        let closes = |record: &Value| record["kind"] == "close" && record["client_port"] == client.port();
        let found: Vec<Value> = proxy.records().into_iter().filter(closes).collect();
        (found.len() == usize::try_from(TUNNELS).unwrap()).then_some(found)
    });
    for close in closes {
        let in_order = close["reason"] == "client_closed" || close["reason"] == "server_closed";
        let moved = ["bytes_out", "bytes_in"].map(|field| close[field].as_u64().unwrap());
        // The hellos come to a few hundred bytes.
        let is_whole = |moved: &u64| [each, full].iter().any(|size| (*size..size + 2_000).contains(moved));
        assert!(in_order && moved.iter().all(is_whole), "{close}");
    }
}
