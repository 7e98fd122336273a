//! Upgrades in place while clients come and go: no connection is refused, no tunnel is lost, and each record is there once.
//! Not here: take-overs that fail (`take_over`). Source: the promise that a change of the program loses nothing.

use std::collections::HashMap;
use std::net::TcpStream;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::harness::{PATIENCE, Proxy, Setup, eventually};
use crate::origins::{Answer, NAME, Origin, Visits, echoes, open, while_clients_come};

/// How much happens at once.
pub struct Load {
    /// Upgrades, one after the other.
    pub upgrades: usize,
    /// Tunnels that are open from the beginning to the end.
    pub tunnels: u64,
    /// New ones each second.
    pub rate: u32,
}

/// A proxy that lets all of loopback reach an origin.
pub fn proxy(origin: &Origin, more: &str) -> Proxy {
    let policy = format!(
        "rules:\n  - {{id: acme/api, customer: acme, sources: [tests], hosts: [{NAME}], ports: [{}], addresses: [127.0.0.1/32]}}\n",
        origin.port()
    );
    Proxy::start(&Setup {
        policy: &policy,
        more: &format!("dns: {{hosts: {{{NAME}: [127.0.0.1]}}}}\n{more}"),
        ..Setup::default()
    })
}

/// Upgrades under load; every client and every record is looked at.
pub fn lose_nothing(load: &Load) {
    let origin = Origin::start();
    let mut proxy = proxy(&origin, "limits: {connections_per_source: 8000}\n");
    let tunnel = |number| {
        let (socket, answer) = open(proxy.edge, origin.port(), number);
        assert_eq!(answer, Answer::Open, "tunnel {number}");
        socket
    };
    let mut held: Vec<TcpStream> = (0..load.tunnels).map(tunnel).collect();
    let (edge, port, began) = (proxy.edge, origin.port(), Instant::now());
    let visit = |number| {
        let (mut socket, answer) = open(edge, port, number);
        if answer == Answer::Open && echoes(&mut socket, b"new") { Ok(()) } else { Err(format!("{answer:?}")) }
    };
    let (Visits { good: opened, failed }, olds) = while_clients_come(load.rate, visit, || {
        let mut olds = Vec::new();
        for round in 0..load.upgrades {
            olds.push(proxy.upgrade_in_place());
            for (number, tunnel) in held.iter_mut().enumerate() {
                assert!(echoes(tunnel, b"still here"), "tunnel {number} after upgrade {round}");
            }
        }
        olds
    });
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{} upgrades, {} tunnels held, {opened} opened in {seconds:.1} s, {} failed",
        load.upgrades,
        load.tunnels,
        failed.len()
    );
    assert!(failed.is_empty(), "{failed:#?}");
    drop(held);
    for (round, old) in olds.into_iter().enumerate() {
        assert_eq!(old.wait(), Some(0), "the process of round {round}");
    }
    let (dir, code) = proxy.stop();
    assert_eq!(code, Some(0));
    each_tunnel_is_on_record_once(dir.path(), load.tunnels + opened);
}

/// Numbers without a gap, a log that verifies, and of each tunnel one decision and one end.
pub fn each_tunnel_is_on_record_once(dir: &std::path::Path, tunnels: u64) {
    let directory = dir.join("decisions");
    let records = crate::harness::records(&directory);
    for (seq, record) in records.iter().enumerate() {
        assert_eq!(record["seq"], u64::try_from(seq).unwrap(), "{record}");
    }
    let mut seen: HashMap<&str, [u64; 2]> = HashMap::new();
    for record in &records {
        let kind = record["kind"].as_str().unwrap();
        if let Some(place) = ["decision", "close"].iter().position(|word| *word == kind) {
            assert_eq!(record["outcome"], "allow", "{record}");
            seen.entry(record["id"].as_str().unwrap()).or_default()[place] += 1;
        }
    }
    let odd: Vec<_> = seen.iter().filter(|(_, counts)| **counts != [1, 1]).collect();
    assert!(odd.is_empty(), "{odd:?}");
    assert_eq!(u64::try_from(seen.len()).unwrap(), tunnels);
    let verified =
        Command::new(env!("CARGO_BIN_EXE_sallyport")).args(["audit", "verify"]).arg(&directory).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

/// The kinds of records about the process itself, in order, with what the detail says of a take-over.
pub fn life(proxy: &Proxy) -> Vec<(String, Value)> {
    let records = eventually("records", Instant::now() + PATIENCE, || Some(proxy.records()));
    let own = records.into_iter().filter(|record| record["kind"] == "start" || record["kind"] == "stop");
    let told = |record: &Value| {
        let detail = ["took_over", "taken_back", "handed_over"].into_iter().find(|word| record["detail"][word] == true);
        detail.map_or(Value::Null, Value::from)
    };
    own.map(|record| (record["kind"].as_str().unwrap().to_owned(), told(&record))).collect()
}
