//! Proxies killed under load, over and over on the same log: whatever reached the origin has its record, and what each kill leaves
//! verifies, with all that was ever signed. Not here: how often (`decision_log`, and the acceptance tests).
//! Source: the promise that the record comes first.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpStream;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::harness::{PATIENCE, Proxy, Setup, eventually, lines, records_from, write_setup};
use super::origins::{self, Answer, Origin};

/// Where the name of the tests leads.
pub const HOSTS: &str = "dns: {hosts: {api.acme.test: [127.0.0.1]}}\n";

/// Over how many open tunnels a proxy is killed: from the first number on, three more each time, then from the first again, so that
/// the kill comes at many moments and the sockets of both ends fit the usual limit of 1,024 descriptors.
const OPEN: usize = 200;
const STEPS: usize = 20;

/// Threads that go on while the kill comes. Once there are enough tunnels, of so many requests of each one opens another, some in all,
/// and the others are refused, so far apart: records go on to come, and the log of many kills stays small.
const CLIENTS: u64 = 8;
const REFUSED: usize = 16;
const MORE: usize = 60;
const APART: Duration = Duration::from_millis(4);

/// How long they go on at most. The log signs twice a second: so the kill comes in every part of that.
const LATEST: u64 = 600;

/// Kills a proxy so many times, each time with the log that the one before it left.
pub fn leave_a_record_for_every_tunnel_that_reached_the_origin(kills: usize) {
    let origin = Origin::start();
    let numbers = AtomicU64::new(1);
    let mut dir = folder(origin.port(), "");
    let (mut known, mut has) = (BTreeSet::new(), 0);
    for round in 0..kills {
        let proxy = Proxy::start_in(dir);
        verify(&proxy.dir, round);
        // Multiples of a number without a common divisor: each part of the time comes once in so many kills.
        let late = Duration::from_millis(round as u64 * 227 % LATEST);
        let (left, ports) = load_and_kill(proxy, &origin, &numbers, (OPEN + 3 * (round % STEPS), late));
        dir = left;
        verify(&dir, round);
        origin.until_idle();
        let log = records_from(&dir.path().join("decisions"), has);
        has += log.len();
        let recorded: BTreeSet<u16> = log
            .iter()
            .filter(|record| record["kind"] == "decision" && record["outcome"] == "allow")
            .map(|record| u16::try_from(record["client_port"].as_u64().unwrap()).unwrap())
            .collect();
        let seen = origin.numbers();
        let reached: Vec<u64> = seen.difference(&known).copied().collect();
        assert!(reached.len() >= OPEN, "kill {round}: {} tunnels", reached.len());
        for number in reached {
            assert!(recorded.contains(&ports[&number]), "kill {round}: tunnel {number} has no record");
        }
        known = seen;
    }
    let (dir, code) = Proxy::start_in(dir).stop();
    assert_eq!(code, Some(0));
    verify(&dir, kills);
    let (mut counts, mut ids) = (BTreeMap::new(), BTreeSet::new());
    for (line, seq) in lines(&dir.path().join("decisions")).zip(0..) {
        let record: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(record["seq"], seq, "numbers without gaps");
        *counts.entry(record["kind"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        assert!(
            ids.insert(record["id"].as_str().unwrap().to_owned()),
            "no tunnel was closed, so every id stands once: {record}"
        );
    }
    assert_eq!((counts["start"], counts["stop"]), (kills + 1, 1));
}

/// The log verifies, and holds what was signed when it was last verified.
fn verify(dir: &TempDir, round: usize) {
    let (log, kept) = (dir.path().join("decisions"), dir.path().join("kept"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_sallyport"));
    command.args(["audit", "verify"]).arg(&log);
    if kept.exists() {
        command.arg("--checkpoint").arg(&kept);
    }
    let newest = fs::read(log.join("checkpoint")).unwrap();
    let said = command.output().unwrap();
    assert_eq!(said.status.code(), Some(0), "kill {round}: {said:?}");
    fs::write(kept, newest).unwrap();
}

/// Opens tunnels until the proxy is gone, and kills it so long after there are so many. Which client port each number had.
fn load_and_kill(
    proxy: Proxy,
    origin: &Origin,
    numbers: &AtomicU64,
    (tunnels, late): (usize, Duration),
) -> (TempDir, BTreeMap<u64, u16>) {
    let ports = Mutex::new(BTreeMap::new());
    let (edge, open) = (proxy.edge, AtomicUsize::new(0));
    let client = || {
        let mut held = Vec::new();
        for turn in 0_usize.. {
            let has = open.load(Ordering::SeqCst);
            if has >= tunnels && (turn % REFUSED > 0 || has >= tunnels + MORE) {
                std::thread::park_timeout(APART);
                let Ok(mut socket) = TcpStream::connect(edge) else { break };
                match origins::ask(&mut socket, "other.test:443", &[]) {
                    Answer::Refused(_) => continue,
                    Answer::Gone => break,
                    answer @ (Answer::Open | Answer::Alert(_)) => panic!("a refusal: {answer:?}"),
                }
            }
            let number = numbers.fetch_add(1, Ordering::SeqCst);
            let Ok(mut socket) = TcpStream::connect(edge) else { break };
            ports.lock().unwrap().insert(number, socket.local_addr().unwrap().port());
            let target = format!("{}:{}", origins::NAME, origin.port());
            match origins::ask(&mut socket, &target, &origins::client_hello(number)) {
                Answer::Open => open.fetch_add(1, Ordering::SeqCst),
                Answer::Gone => break,
                answer @ (Answer::Alert(_) | Answer::Refused(_)) => panic!("tunnel {number}: {answer:?}"),
            };
            held.push(socket);
        }
        held
    };
    let dir = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        eventually("enough tunnels", Instant::now() + PATIENCE, || {
            (open.load(Ordering::SeqCst) >= tunnels).then_some(())
        });
        let moment = Instant::now() + late;
        while let Some(early) = moment.checked_duration_since(Instant::now()).filter(|early| !early.is_zero()) {
            std::thread::park_timeout(early);
        }
        let dir = proxy.kill();
        let held: Vec<Vec<TcpStream>> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        assert!(held.iter().map(Vec::len).sum::<usize>() >= tunnels);
        dir
    });
    (dir, ports.into_inner().unwrap())
}

/// One rule, for the name of the tests.
pub fn policy(port: u16) -> String {
    format!(
        "rules:
  - {{id: acme/api, customer: acme, sources: [tests], hosts: [api.acme.test], ports: [{port}], addresses: [127.0.0.0/8], wide: true}}
"
    )
}

/// A folder with that rule and more lines of the configuration.
pub fn folder(port: u16, more: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    write_setup(dir.path(), &Setup { policy: &policy(port), more: &format!("{HOSTS}{more}"), ..Setup::default() });
    dir
}
