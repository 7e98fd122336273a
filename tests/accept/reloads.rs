//! Reloads while clients come and go: no request fails but those of a rule that was taken away, each reload is on record, memory stays.
//! Not here: what becomes of open tunnels (`reload`), faulty files (`changes`). Source: the promise that a reload disturbs nobody.

use std::fmt::Write;
use std::fs;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use serde_json::Value;

use crate::ends::{await_metric, metric};
use crate::harness::{Proxy, SOURCE, Setup, records};
use crate::origins::{Answer, Origin, Visits, ask, echoes, hello_for, while_clients_come};

/// What is allowed all the time, and what a part of the versions does not allow.
const NAMES: [&str; 2] = ["stays.acme.test", "goes.acme.test"];

/// The reloads before this one make what is kept from then on.
const WARM: u32 = 10;

/// By how many bytes the process may have grown since: the allocator has play, and so has the load. Policies of two hundred rules that
/// each of forty reloads left behind would come to twice as much.
const GROWTH: f64 = 3.0 * 1024.0 * 1024.0;

/// How much happens at once.
pub struct Load {
    /// Reloads, one after the other.
    pub reloads: u32,
    /// Each so many of them comes about by the file alone; of others a signal tells.
    pub by_file: u32,
    /// New tunnels each second.
    pub rate: u32,
    /// Rules beside those of the clients.
    pub others: u32,
}

impl Load {
    /// Whether the version of this number lets clients reach the second name: not in the middle.
    fn lets_all(&self, number: u32) -> bool {
        !(self.reloads / 3..self.reloads / 3 * 2).contains(&number)
    }

    /// A policy whose other rules and sources come, go and stand at other places from version to version.
    fn version(&self, number: u32, port: u16) -> String {
        let mut text = format!("{SOURCE}  - {{name: of-{number}, subnets: [10.0.0.{}/32]}}\nrules:\n", number % 250);
        for other in 0..self.others {
            let (id, of) = ((other + number) % (self.others + self.others / 2), number % 3);
            let rule = format!("{{id: o/{id}, customer: o, sources: [of-{number}], hosts: [o{id}.v{of}.test]}}");
            writeln!(text, "  - {rule}").unwrap();
            if other != number % self.others {
                continue;
            }
            for name in NAMES.iter().take(if self.lets_all(number) { 2 } else { 1 }) {
                let at = format!("hosts: [{name}], ports: [{port}], addresses: [127.0.0.1/32]");
                writeln!(text, "  - {{id: {name}, customer: acme, sources: [tests], {at}}}").unwrap();
            }
        }
        text
    }
}

/// Reloads under load; every client and every record is looked at.
pub fn disturb_nobody(load: &Load) {
    let origin = Origin::start();
    let hosts = NAMES.map(|name| format!("{name}: [127.0.0.1]")).join(", ");
    let limits = "limits: {connections_per_source: 8000}";
    let proxy = Proxy::start(&Setup { more: &format!("dns: {{hosts: {{{hosts}}}}}\n{limits}\n"), ..Setup::default() });
    reload(&proxy, load, (0, origin.port()));
    // Even: the version of this half is in force; odd: another one is about to be.
    let (twice, began) = (AtomicU32::new(0), Instant::now());
    let hellos = NAMES.map(hello_for);
    let visit = |number: u64| {
        let which = usize::from(number % 2 == 1);
        let before = twice.load(Ordering::SeqCst);
        let mut socket = TcpStream::connect(proxy.edge).unwrap();
        let answer = ask(&mut socket, &format!("{}:{}", NAMES[which], origin.port()), &hellos[which]);
        let after = twice.load(Ordering::SeqCst);
        let versions = before / 2..=after.div_ceil(2);
        let let_in = versions.clone().any(|version| which == 0 || load.lets_all(version));
        let refused = versions.clone().any(|version| which == 1 && !load.lets_all(version));
        match answer {
            Answer::Open if let_in && echoes(&mut socket, b"new") => Ok(()),
            Answer::Refused(text) if refused && text.contains("destination_not_listed") => Ok(()),
            other @ (Answer::Open | Answer::Refused(_) | Answer::Alert(_) | Answer::Gone) => {
                Err(format!("{} by {versions:?}: {other:?}", NAMES[which]))
            }
        }
    };
    let (Visits { good, failed }, grown) = while_clients_come(load.rate, visit, || {
        let memory = || metric(&proxy, "process_resident_memory_bytes").unwrap();
        let mut warm = 0.0;
        for number in 1..load.reloads {
            twice.fetch_add(1, Ordering::SeqCst);
            reload(&proxy, load, (number, origin.port()));
            twice.fetch_add(1, Ordering::SeqCst);
            if number == WARM {
                warm = memory();
            }
        }
        memory() - warm
    });
    let (reloads, seconds) = (load.reloads, began.elapsed().as_secs_f64());
    println!("{reloads} reloads, {good} requests in {seconds:.1} s, {} failed, {grown} bytes more", failed.len());
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(grown < GROWTH, "{grown} bytes more than after {WARM} reloads");
    let (dir, code) = proxy.stop();
    assert_eq!(code, Some(0));
    each_is_on_record(load, &records(&dir.path().join("decisions")));
}

/// Writes a version and waits until it is in force.
fn reload(proxy: &Proxy, load: &Load, (number, port): (u32, u16)) {
    let (new, file) = (proxy.dir.path().join("new.yaml"), proxy.dir.path().join("policy.yaml"));
    fs::write(&new, load.version(number, port)).unwrap();
    fs::rename(new, file).unwrap();
    if !comes_by_file(load, number) {
        proxy.signal("HUP");
    }
    await_metric(proxy, "sallyport_policy_reloads_total{result=\"ok\"}", f64::from(number) + 1.0);
}

fn comes_by_file(load: &Load, number: u32) -> bool {
    number % load.by_file == 1
}

/// One record of each reload, which names the policy before; all decisions are by a policy that was in force, and none is refused but
/// what was taken away.
fn each_is_on_record(load: &Load, records: &[Value]) {
    let mut before = records[0]["policy"].clone();
    let mut number = 0;
    for (seq, record) in records.iter().enumerate() {
        assert_eq!(record["seq"], u64::try_from(seq).unwrap(), "{record}");
        if record["kind"] == "policy" {
            let (detail, by) = (&record["detail"], if comes_by_file(load, number) { "file_change" } else { "signal" });
            let told = (&detail["result"], &detail["by"], &detail["before"], &detail["files"]);
            assert_eq!(told, (&"in_force".into(), &by.into(), &before, &1.into()), "{record}");
            before.clone_from(&record["policy"]);
            number += 1;
        } else if record["kind"] == "decision" && record["outcome"] == "deny" {
            let told = (&record["host"], &record["reason"]);
            assert_eq!(told, (&NAMES[1].into(), &"destination_not_listed".into()), "{record}");
        }
    }
    assert_eq!(number, load.reloads, "one record each");
}
