//! What operators may do over the admin port: a reload, a drain; and the record that each of their calls leaves.
//! Not here: what a reload does to tunnels (`reload`), who may call (`access`). Source: PCI DSS 10.2.1.2.

use std::fs;
use std::time::Instant;

use serde_json::Value;

use super::access::Guarded;
use super::calls::start;
use crate::harness::{PATIENCE, eventually, records, status_of};
use crate::origins::{self, Answer, Origin};

impl Guarded {
    /// An operator's call, and what it gave.
    fn operate(&self, path: &str) -> (u16, String, Value) {
        let (head, body) = self.with(&self.operator, &["-X", "POST"], path);
        let value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {head}{body}"));
        (status_of(&head), head, value)
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
    assert_eq!((status, &half["policy"], &half["admin_files"]), (422, &"in_force".into(), &"refused".into()), "{half}");
    assert_eq!(guarded.status()["policy"]["sha256"], before, "each is good or bad by itself");
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
    assert_eq!(of_policy.collect::<Vec<_>>(), ["in_force", "refused", "in_force"]);
    let (_, page) = guarded.proxy.admin_page("/metrics");
    assert!(page.contains("policy_reloads_total{result=\"ok\"} 2\n"), "{page}");
    assert!(page.contains("policy_reloads_total{result=\"refused\"} 1\n"), "{page}");
    assert!(!serde_json::to_string(&log).unwrap().contains(&guarded.operator));
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
    let want = serde_json::json!({"result": "draining", "connections": 1, "drain_timeout": "30s"});
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
        (&guarded.operator, &["-X", "POST"], "/v1/block", 501),
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
            "ops POST /v1/block not_available 501",
        ]
    );
    let status = guarded.status();
    assert!(status["ready"] == true && status["policy"]["reload"].is_null(), "{status}");
}
