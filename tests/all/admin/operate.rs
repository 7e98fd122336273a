//! What operators may do over the admin port: a reload, a drain; and the record that each of their calls leaves.
//! Not here: what a reload does to tunnels (`reload`), who may call (`access`). Source: PCI DSS 10.2.1.2.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use serde_json::Value;

use super::access::Guarded;
use super::calls::start;
use crate::harness::{PATIENCE, SOURCE, eventually, records, status_of};
use crate::origins::{self, Answer, Origin};

impl Guarded {
    /// An operator's call, and what it gave.
    fn operate(&self, path: &str) -> (u16, String, Value) {
        let (head, body) = self.with(&self.operator, &["-X", "POST"], path);
        let value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {head}{body}"));
        (status_of(&head), head, value)
    }

    /// A reload that is ordered, by somebody who does not wait for the answer yet.
    fn order_reload(&self) -> TcpStream {
        let mut socket = TcpStream::connect(self.proxy.admin).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let token = &self.operator;
        write!(socket, "POST /v1/policy/reload HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {token}\r\n\r\n")
            .unwrap();
        socket
    }

    /// The records of operators' calls, once there are so many.
    fn operated(&self, count: usize) -> Vec<Value> {
        eventually("records of operators' calls", Instant::now() + PATIENCE, || {
            let calls = self.refused();
            (calls.len() >= count).then_some(calls)
        })
    }
}

/// Actor, call, result and status of a record.
fn told(record: &Value) -> String {
    let detail = &record["detail"];
    let word = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
    [&record["actor"], &detail["call"], &detail["result"], &detail["status"]].map(word).join(" ")
}

#[test]
fn a_reload_tells_what_it_came_to_and_is_on_record() {
    let guarded = start(443, "");
    let dir = guarded.proxy.dir.path();
    let (policy, tokens) = (dir.join("policy.yaml"), dir.join("tokens.yaml"));
    let (good, all) = (fs::read_to_string(&policy).unwrap(), fs::read_to_string(&tokens).unwrap());
    let before = guarded.status()["policy"]["sha256"].clone();

    fs::write(&policy, good.replace("beta/net", "beta/other")).unwrap();
    let (status, _, taken) = guarded.operate("/v1/policy/reload");
    assert_eq!(
        (status, &taken["result"], &taken["rules"], &taken["sources"]),
        (200, &"ok".into(), &2.into(), &2.into())
    );
    assert_eq!((&taken["policy"], &taken["admin_files"]), (&"in_force".into(), &"in_force".into()), "{taken}");
    assert!(taken["sha256"] != before && taken["sha256"] == guarded.status()["policy"]["sha256"], "{taken}");

    fs::write(&policy, "version: 1\nsuorces: []\n").unwrap();
    let (status, head, refused) = guarded.operate("/v1/policy/reload");
    assert!(status == 422 && head.contains("content-type: application/problem+json"), "{head}");
    let fault = refused["faults"][0].as_str().unwrap();
    assert!(fault.ends_with("policy.yaml:2:1: unknown key `suorces`; did you mean `sources`?"), "{fault}");
    assert_eq!(
        (&refused["type"], &refused["status"], &refused["policy"]),
        (&"urn:sallyport:problem:reload_refused".into(), &422.into(), &"refused".into())
    );
    assert_eq!(guarded.status()["policy"]["sha256"], taken["sha256"], "the last good one stays");

    fs::write(&policy, &good).unwrap();
    fs::write(&tokens, "tokens: [{name: x}]\n").unwrap();
    let (status, _, half) = guarded.operate("/v1/policy/reload");
    assert_eq!((status, &half["policy"], &half["admin_files"]), (422, &"kept".into(), &"refused".into()), "{half}");
    assert_eq!(guarded.status()["policy"]["sha256"], taken["sha256"], "whole or not at all");
    fs::write(&tokens, &all).unwrap();

    let calls = guarded.operated(3);
    assert_eq!(
        calls.iter().map(told).collect::<Vec<_>>(),
        [
            "ops POST /v1/policy/reload ok 200",
            "ops POST /v1/policy/reload refused 422",
            "ops POST /v1/policy/reload refused 422"
        ]
    );
    assert!(calls.iter().all(|call| call["client_ip"] == "127.0.0.1"));
    let log = guarded.proxy.records();
    let of_policy = log.iter().filter(|record| record["kind"] == "policy").map(|record| &record["detail"]["result"]);
    assert_eq!(of_policy.collect::<Vec<_>>(), ["in_force", "refused", "refused"]);
    let (_, page) = guarded.proxy.admin_page("/metrics");
    assert!(page.contains("policy_reloads_total{result=\"ok\"} 1\n"), "{page}");
    assert!(page.contains("policy_reloads_total{result=\"refused\"} 2\n"), "{page}");
    assert!(!serde_json::to_string(&log).unwrap().contains(&guarded.operator));
}

/// A policy that takes its time to be read.
fn large_policy() -> String {
    let names: Vec<String> = (0..100_000).map(|number| format!("n{number}.acme.test")).collect();
    format!("{SOURCE}rules:\n  - {{id: many, customer: acme, sources: [tests], hosts: [{}]}}\n", names.join(", "))
}

#[test]
fn a_reload_whose_caller_hangs_up_is_carried_out_and_on_record() {
    let guarded = start(443, "");
    fs::write(guarded.proxy.dir.path().join("policy.yaml"), large_policy()).unwrap();
    drop(guarded.order_reload());
    let calls = guarded.operated(1);
    assert_eq!(told(&calls[0]), "ops POST /v1/policy/reload ok 200");
    assert_eq!(guarded.status()["policy"]["rules"], 1);
}

/// The calls that wait for one reload at most, one that reads and one too many.
const ORDERS: usize = 6;

#[test]
fn a_reload_that_an_end_overtakes_is_on_record() {
    let guarded = start(443, "");
    fs::write(guarded.proxy.dir.path().join("policy.yaml"), large_policy()).unwrap();
    let mut callers: Vec<TcpStream> = (0..ORDERS).map(|_| guarded.order_reload()).collect();
    for caller in &callers {
        caller.set_nonblocking(true).unwrap();
    }
    // Once one is told that so many wait already, that many are taken.
    eventually("a call too many", Instant::now() + PATIENCE, || {
        callers.iter_mut().any(|caller| caller.read(&mut [0; 1]).is_ok()).then_some(())
    });
    let (dir, code) = guarded.proxy.stop();
    assert_eq!(code, Some(0));
    let log = records(&dir.path().join("decisions"));
    let calls: Vec<String> = log.iter().filter(|record| record["detail"]["call"].is_string()).map(told).collect();
    let count = |result: &str| calls.iter().filter(|call| call.ends_with(result)).count();
    let (overtaken, carried_out) = (count(" draining 503"), count(" ok 200"));
    assert_eq!(overtaken + carried_out + count(" busy 503"), calls.len(), "{calls:?}");
    assert!(overtaken >= 1 && overtaken + carried_out >= ORDERS - 2, "each that was taken: {calls:?}");
    let in_force = log.iter().filter(|record| record["kind"] == "policy").count();
    assert_eq!(in_force, carried_out, "what was overtaken put nothing in force");
}

#[test]
fn while_the_proxy_ends_no_policy_is_read() {
    let origin = Origin::start();
    let guarded = start(origin.port(), "");
    let (tunnel, answer) = origins::open(guarded.proxy.edge, origin.port(), 1);
    assert_eq!(answer, Answer::Open);
    assert_eq!(guarded.operate("/v1/drain").0, 202);
    let mut answer = String::new();
    guarded.order_reload().read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("nothing is read any more\n"), "{answer}");
    let calls = guarded.operated(2);
    assert_eq!(
        calls.iter().map(told).collect::<Vec<_>>(),
        ["ops POST /v1/drain ok 202", "ops POST /v1/policy/reload draining 503"]
    );
    for _ in 0..60 {
        guarded.order_reload().read_to_string(&mut answer).unwrap();
    }
    drop(tunnel);
    let (dir, code) = guarded.proxy.wait();
    assert_eq!(code, Some(0));
    let log = records(&dir.path().join("decisions"));
    let details: Vec<&Value> = log.iter().map(|record| &record["detail"]).collect();
    let own = details.iter().filter(|detail| detail["result"] == "draining").count() as u64;
    let others: u64 = details.iter().filter_map(|detail| detail["unrecorded"].as_u64()).sum();
    assert!(own < 61 && others > 0, "refusals fill no disk: {details:?}");
    assert_eq!(own + others, 61, "and are counted to the last");
}

#[test]
fn an_ill_log_stops_no_reload_and_has_its_records_once_it_is_well() {
    let guarded = start(443, "");
    guarded.proxy.record("the start", |record| record["kind"] == "start");
    let dir = guarded.proxy.dir.path();
    let (log, away, policy) = (dir.join("decisions"), dir.join("away"), dir.join("policy.yaml"));
    fs::rename(&log, &away).unwrap();
    guarded.proxy.ask(b"GET http://x.test/ HTTP/1.1\r\nHost: x.test\r\n\r\n");
    eventually("the log is ill", Instant::now() + PATIENCE, || {
        (guarded.status()["log"]["healthy"] == false).then_some(())
    });
    fs::write(&policy, format!("{SOURCE}rules: []\n")).unwrap();
    let (status, _, taken) = guarded.operate("/v1/policy/reload");
    assert_eq!((status, &taken["rules"]), (200, &0.into()), "whoever takes rights away need not wait for a disk");
    fs::rename(&away, &log).unwrap();
    let failure = guarded.proxy.record("the failure", |record| record["kind"] == "control_failure");
    assert_eq!(failure["detail"]["others"], 0, "{failure}");
    assert_eq!(told(&guarded.operated(1)[0]), "ops POST /v1/policy/reload ok 200");
    let policy = guarded.proxy.record("the policy", |record| record["kind"] == "policy");
    assert_eq!(policy["detail"]["result"], "in_force");
}

#[test]
fn reloads_at_the_same_time_are_all_answered() {
    let guarded = start(443, "");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..4).map(|_| scope.spawn(|| guarded.operate("/v1/policy/reload").0)).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(statuses, [200; 4]);
    assert_eq!(guarded.operated(4).len(), 4);
}

#[test]
fn a_drain_lets_tunnels_end_and_then_the_proxy_does() {
    let origin = Origin::start();
    let guarded = start(origin.port(), "");
    let (mut tunnel, answer) = origins::open(guarded.proxy.edge, origin.port(), 1);
    assert_eq!(answer, Answer::Open);
    let (status, _, draining) = guarded.operate("/v1/drain");
    let want = serde_json::json!({"result": "draining", "connections": 1, "drain_delay": "0s", "drain_timeout": "30s"});
    assert_eq!((status, &draining), (202, &want));
    assert_eq!(guarded.proxy.admin_page("/readyz"), (503, "draining\n".into()), "at once");
    let (_, answer) = origins::open(guarded.proxy.edge, origin.port(), 2);
    assert!(matches!(&answer, Answer::Refused(text) if text.starts_with("HTTP/1.1 503 draining")), "{answer:?}");
    assert!(origins::echoes(&mut tunnel, b"still open"));
    assert_eq!(guarded.operate("/v1/drain").0, 202, "again is the same");
    drop(tunnel);
    let (dir, code) = guarded.proxy.wait();
    assert_eq!(code, Some(0));
    let log = records(&dir.path().join("decisions"));
    let calls: Vec<String> = log.iter().filter(|record| record["detail"]["call"].is_string()).map(told).collect();
    assert_eq!(calls, ["ops POST /v1/drain ok 202", "ops POST /v1/drain ok 202"]);
    assert_eq!(log.last().unwrap()["kind"], "stop");
}

#[test]
fn whoever_ends_an_idle_proxy_gets_the_whole_answer() {
    for _ in 0..5 {
        let guarded = start(443, "");
        let (status, _, draining) = guarded.operate("/v1/drain");
        assert_eq!((status, &draining["connections"]), (202, &0.into()));
        assert_eq!(guarded.proxy.wait().1, Some(0));
    }
}

#[test]
fn who_may_not_changes_nothing_and_what_is_not_there_is_on_record() {
    let guarded = start(443, "");
    for (token, args, path, status) in [
        (&guarded.auditor, &["-X", "POST"][..], "/v1/policy/reload", 403),
        (&guarded.auditor, &["-X", "POST"], "/v1/drain", 403),
        (&guarded.auditor, &[], "/v1/drain", 403),
        (&guarded.operator, &[], "/v1/drain", 405),
        (&guarded.operator, &["-I"], "/v1/drain", 405),
        (&guarded.operator, &["-X", "PUT"], "/v1/policy/reload", 405),
        (&guarded.operator, &["-X", "POST"], "/v1/block", 400),
    ] {
        let (head, body) = guarded.with(token, args, path);
        assert_eq!(status_of(&head), status, "{args:?} {path}: {head}{body}");
    }
    let calls: Vec<String> = guarded.operated(4).iter().map(told).collect();
    assert_eq!(
        calls,
        [
            "qsa-2026 POST /v1/policy/reload role_too_small 403",
            "qsa-2026 POST /v1/drain role_too_small 403",
            "qsa-2026 unknown role_too_small 403",
            "ops POST /v1/block bad_request 400",
        ]
    );
    let status = guarded.status();
    assert!(status["ready"] == true && status["policy"]["reload"].is_null(), "{status}");
}
