//! What auditors ask the admin port: how the proxy stands, what its policy allows, what it would decide; each against what is so.
//! Not here: who may ask (`access`), what operators do (`operate`).

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::access::{Guarded, new_token};
use crate::harness::{PATIENCE, Proxy, SOURCE, Setup, eventually, status_of, write_setup};
use crate::origins::{self, Answer, Origin};
use crate::programs::{finish, sallyport};

const HOSTS: &str = "environment: trial\ndns: {hosts: {api.acme.test: [127.0.0.1]}}\nlimits: {connections_per_source: 7, lifetime: 90m}\n";

/// A proxy with a rule, a wildcard and a network, for an origin on this port; and its two tokens.
pub fn start(port: u16, more: &str) -> Guarded {
    let dir = TempDir::new().unwrap();
    let ((auditor, first), (operator, second)) = (new_token("qsa-2026", "auditor"), new_token("ops", "operator"));
    fs::write(dir.path().join("tokens.yaml"), format!("tokens:\n  {first}\n  {second}\n")).unwrap();
    let policy = format!(
        "rules:
  - {{id: acme/api, customer: acme, sources: [tests], hosts: [api.acme.test, '*.pay.test'], ports: [{port}, 443], addresses: [127.0.0.1/32]}}
  - {{id: beta/net, customer: beta, sources: [tests], networks: [198.51.100.0/28], tls: {{sni: absent}}, owner: '=x', purpose: 'a, b'}}
"
    );
    let more = format!("{HOSTS}{more}");
    write_setup(dir.path(), &Setup { policy: &policy, more: &more, admin: "tokens: tokens.yaml", ..Setup::default() });
    Guarded { proxy: Proxy::start_in(dir), auditor, operator }
}

impl Guarded {
    /// What an auditor gets as JSON.
    fn json(&self, args: &[&str], path: &str, status: u16) -> Value {
        let (head, body) = self.with(&self.auditor, args, path);
        assert_eq!(status_of(&head), status, "{path}: {head}{body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    pub fn status(&self) -> Value {
        self.json(&[], "/v1/status", 200)
    }

    fn until(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        eventually(what, Instant::now() + PATIENCE, || Some(self.status()).filter(&fits))
    }
}

#[test]
fn the_status_is_what_is_so() {
    let origin = Origin::start();
    let guarded = start(origin.port(), "probes: {address: \"127.0.0.1:0\"}\n");
    let (mut tunnel, answer) = origins::open(guarded.proxy.edge, origin.port(), 1);
    assert_eq!(answer, Answer::Open);
    assert!(origins::echoes(&mut tunnel, b"0123456789"));
    guarded.proxy.ask(b"CONNECT peer-made-name.test:443 HTTP/1.1\r\nUser-Agent: peer-made-name\r\n\r\n");
    let status = guarded.until("a checkpoint", |status| status["log"]["checkpoint"]["size"].as_u64() >= Some(2));
    let started = guarded.proxy.record("the start", |record| record["kind"] == "start");
    for (pointer, want) in [
        ("/instance", "tests".into()),
        ("/environment", "trial".into()),
        ("/version", env!("CARGO_PKG_VERSION").into()),
        ("/ready", true.into()),
        ("/draining", false.into()),
        ("/policy/sha256", started["policy"].clone()),
        ("/policy/rules", 2.into()),
        ("/policy/sources", 2.into()),
        ("/log/healthy", true.into()),
        ("/log/durability", "sync".into()),
        ("/log/commit_interval", "2ms".into()),
        ("/connections", 1.into()),
        ("/tunnels", 1.into()),
        ("/limits/connections", 8000.into()),
        ("/limits/connections_per_source", 7.into()),
        ("/limits/head_timeout", "10s".into()),
        ("/limits/lifetime", "90m".into()),
        ("/limits/drain_delay", "0s".into()),
        ("/limits/drain_timeout", "30s".into()),
        ("/reload/on_change", true.into()),
        ("/reload/poll", "30s".into()),
        ("/listeners/0/name", "edge".into()),
        ("/listeners/0/address", guarded.proxy.edge.to_string().into()),
        ("/admin/address", guarded.proxy.admin.to_string().into()),
        ("/admin/tls", false.into()),
        ("/admin/tokens", 2.into()),
    ] {
        assert_eq!(status.pointer(pointer), Some(&want), "{pointer} in {status:#}");
    }
    assert!(status["not_ready"].is_null() && status["policy"]["reload"].is_null(), "{status:#}");
    assert!(status["probes"].as_str().unwrap().starts_with("127.0.0.1:"), "{status:#}");
    let time = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let before = time(&started["time"]) - jiff::SignedDuration::from_secs(5);
    for pointer in ["/started", "/policy/loaded", "/log/checkpoint/time"] {
        let found = time(status.pointer(pointer).unwrap());
        assert!(found > before && found <= jiff::Timestamp::now(), "{pointer}: {found}");
    }
    let (_, note) = guarded.with(&guarded.auditor, &[], "/log/checkpoint");
    let signed = guarded.status()["log"]["checkpoint"].clone();
    assert!(signed["size"].as_u64() >= note.lines().nth(1).unwrap().parse().ok(), "{signed} {note}");
    assert!(!status.to_string().contains("peer-made"), "no text of a peer: {status:#}");
    drop(tunnel);
    guarded.until("the tunnel is gone", |status| status["tunnels"] == 0 && status["connections"] == 0);
}

#[test]
fn the_status_tells_of_reloads_drains_and_a_log_that_is_gone() {
    let guarded = start(443, "egress: {pools: {pool: {bind: [127.0.0.1/32]}}}\n");
    let first = guarded.status();
    let policy = guarded.proxy.dir.path().join("policy.yaml");
    let good = fs::read_to_string(&policy).unwrap();
    fs::write(&policy, "version: 1\nsuorces: []\n").unwrap();
    guarded.proxy.signal("HUP");
    let refused = guarded.until("a refused reload", |status| !status["policy"]["reload"].is_null());
    let reload = &refused["policy"]["reload"];
    let parts = ["result", "by", "policy", "configuration", "admin_files"].map(|key| reload[key].as_str().unwrap());
    assert_eq!(parts, ["refused", "signal", "refused", "kept", "kept"], "{reload}");
    let fault = reload["faults"][0].as_str().unwrap();
    assert!(fault.ends_with("policy.yaml:2:1: unknown key `suorces`; did you mean `sources`?"), "{fault}");
    assert_eq!(refused["policy"]["sha256"], first["policy"]["sha256"], "the last good one stays");
    fs::write(&policy, format!("{good}# the same\n")).unwrap();
    guarded.proxy.signal("HUP");
    let taken = guarded.until("a reload", |status| status["policy"]["reload"]["policy"] == "in_force");
    assert!(taken["policy"]["reload"]["faults"].is_null() && taken["policy"]["loaded"] != first["policy"]["loaded"]);
    assert_ne!(taken["policy"]["sha256"], first["policy"]["sha256"]);
    assert!(taken["policy"]["reporting"].is_null(), "{taken}");

    let until = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().tomorrow().unwrap();
    let general =
        format!("name: general, subnets: [127.9.0.0/16], class: general, mode: report, report_until: {until}");
    fs::write(&policy, good.replace("rules:\n", &format!("  - {{{general}, egress: pool}}\nrules:\n"))).unwrap();
    guarded.proxy.signal("HUP");
    let reporting = guarded.until("report mode", |status| status["policy"]["sources"] == 3);
    let want = serde_json::json!([{"source": "general", "until": until.to_string()}]);
    assert_eq!(reporting["policy"]["reporting"], want, "{reporting}");
    assert_eq!(guarded.json(&[], "/v1/policy", 200)["reporting"], want, "beside the matrix");

    let log = guarded.proxy.dir.path().join("decisions");
    let away = guarded.proxy.dir.path().join("away");
    fs::rename(&log, &away).unwrap();
    guarded.proxy.ask(b"GET http://x.test/ HTTP/1.1\r\nHost: x.test\r\n\r\n");
    let ill = guarded.until("the log is gone", |status| status["log"]["healthy"] == false);
    assert_eq!((&ill["ready"], &ill["not_ready"]), (&false.into(), &"the decision log cannot be written".into()));
    fs::rename(&away, &log).unwrap();
    guarded.until("it is back", |status| status["ready"] == true);

    let _open = guarded.proxy.connect();
    guarded.until("a connection", |status| status["connections"] == 1);
    guarded.proxy.signal("TERM");
    let draining = guarded.until("a drain", |status| status["draining"] == true);
    assert_eq!((&draining["ready"], &draining["not_ready"]), (&false.into(), &"draining".into()));
}

#[test]
fn the_policy_in_force_is_its_matrix() {
    let guarded = start(8443, "");
    let path = guarded.proxy.dir.path().join("policy.yaml");
    let matrix = |format: &str| {
        let done = finish(sallyport().args(["policy", "matrix", "--format", format]).arg(&path), "");
        assert_eq!(done.code, Some(0), "{done:?}");
        done.out
    };
    let answer = guarded.json(&[], "/v1/policy", 200);
    assert_eq!(answer["matrix"], serde_json::from_str::<Value>(&matrix("json")).unwrap());
    assert_eq!((answer["matrix"].as_array().unwrap().len(), &answer["reporting"]), (5, &serde_json::json!([])));
    assert_eq!(
        (&answer["sha256"], &answer["loaded"]),
        (&guarded.status()["policy"]["sha256"], &guarded.status()["policy"]["loaded"])
    );
    let (head, table) = guarded.with(&guarded.auditor, &["-H", "Accept: text/csv"], "/v1/policy");
    assert!(head.contains("content-type: text/csv; charset=utf-8; header=present"), "{head}");
    assert_eq!(table, matrix("csv"));
    assert!(table.contains("'=x,\"a, b\""), "{table}");
    // What is on disk and not in force is not told.
    fs::write(&path, format!("{SOURCE}rules: []\n")).unwrap();
    assert_eq!(guarded.json(&[], "/v1/policy", 200), answer);
}

#[test]
fn egress_addresses_are_those_of_the_command() {
    let pools = "egress: {pools: {static-a: {bind: [127.0.0.40/31], public: [203.0.113.8/31]}}}\n";
    let guarded = start(8443, pools);
    let policy = guarded.proxy.dir.path().join("policy.yaml");
    let rules =
        fs::read_to_string(&policy).unwrap().replacen("customer: acme,", "customer: acme, egress: static-a,", 1);
    fs::write(&policy, rules).unwrap();
    guarded.proxy.signal("HUP");
    guarded.until("the reload", |status| status["policy"]["reload"]["policy"] == "in_force");
    let printed = |format: &str| {
        let config = guarded.proxy.dir.path().join("sallyport.yaml");
        let done = finish(sallyport().args(["egress-addresses", "--format", format, "-c"]).arg(config), "");
        assert_eq!(done.code, Some(0), "{done:?}");
        done.out
    };
    let (head, list) = guarded.with(&guarded.auditor, &[], "/v1/egress-addresses");
    assert!(head.contains("content-type: application/json") && head.contains("cache-control: no-store"), "{head}");
    assert_eq!(list, printed("json"));
    let list: Value = serde_json::from_str(&list).unwrap();
    let row = serde_json::json!({"prefix": "203.0.113.8/31", "pool": "static-a", "customers": ["acme"]});
    assert_eq!((&list["addresses"], &list["without_pool"]), (&serde_json::json!([row]), &serde_json::json!(["beta"])));
    let (head, table) = guarded.with(&guarded.operator, &["-H", "Accept: text/csv"], "/v1/egress-addresses");
    assert!(head.contains("content-type: text/csv; charset=utf-8; header=present"), "{head}");
    assert_eq!(table, printed("csv"));
}

#[test]
fn one_matrix_is_made_at_a_time() {
    let guarded = start(8443, "");
    // More than a small socket and what stands before it hold: about 5 MB.
    let names: Vec<String> = (0..20_000).map(|number| format!("n{number}.acme.test")).collect();
    let rule = format!("  - {{id: many, customer: acme, sources: [tests], hosts: [{}]}}\n", names.join(", "));
    fs::write(guarded.proxy.dir.path().join("policy.yaml"), format!("{SOURCE}rules:\n{rule}")).unwrap();
    guarded.proxy.signal("HUP");
    guarded.until("the reload", |status| status["policy"]["rules"] == 1);
    let slow = guarded.slow("/v1/policy");
    let (head, _) = guarded.with(&guarded.auditor, &[], "/v1/policy");
    assert!(status_of(&head) == 503 && head.contains("retry-after: 1"), "{head}");
    assert_eq!(guarded.status()["ready"], true);
    drop(slow);
    let answer = eventually("there is room again", Instant::now() + PATIENCE, || {
        let (head, body) = guarded.with(&guarded.auditor, &[], "/v1/policy");
        (status_of(&head) == 200).then_some(body)
    });
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["matrix"].as_array().unwrap().len(), names.len());
}

#[test]
fn auditors_who_wait_leave_room_for_probes_and_operators() {
    let guarded = start(8443, "");
    // Twice as many as may, each with a question of which only the head comes.
    let ask = || {
        let mut socket = TcpStream::connect(guarded.proxy.admin).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let token = &guarded.auditor;
        let head = "POST /v1/explain HTTP/1.1\r\nHost: admin\r\nContent-Length: 9";
        write!(socket, "{head}\r\nAuthorization: Bearer {token}\r\n\r\n").unwrap();
        socket
    };
    let mut waiting: Vec<TcpStream> = (0..128).map(|_| ask()).collect();
    for mut beyond in waiting.split_off(64) {
        let mut answer = [0; 13];
        beyond.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 503 ");
    }
    let begun = Instant::now();
    assert_eq!(guarded.proxy.admin_page("/readyz").0, 200);
    assert_eq!(status_of(&guarded.with(&guarded.auditor, &[], "/v1/status").0), 503);
    assert_eq!(status_of(&guarded.with(&guarded.operator, &["-X", "POST"], "/v1/policy/reload").0), 200);
    assert!(begun.elapsed() < Duration::from_secs(5), "nobody waited for a call to be cut: {:?}", begun.elapsed());
    drop(waiting);
    eventually("there is room again", Instant::now() + PATIENCE, || {
        (status_of(&guarded.with(&guarded.auditor, &[], "/v1/status").0) == 200).then_some(())
    });
}

#[test]
fn explain_answers_as_on_the_command_line() {
    let guarded = start(8443, "");
    let config = guarded.proxy.dir.path().join("sallyport.yaml");
    for (question, args) in [
        (r#"{"source":"127.0.0.1","target":"api.acme.test:443"}"#, "--target api.acme.test:443"),
        (
            r#"{"source":"127.0.0.1","target":"x.pay.test:443","addresses":["127.0.0.1"],"alpn":["h2","http/1.1"]}"#,
            "--target x.pay.test:443 --address 127.0.0.1 --alpn h2 --alpn http/1.1",
        ),
        (
            r#"{"source":"127.0.0.1","target":"x.pay.test:443","addresses":["192.0.2.1"]}"#,
            "--target x.pay.test:443 --address 192.0.2.1",
        ),
        (r#"{"source":"127.0.0.1","target":"api.acme.test:80"}"#, "--target api.acme.test:80"),
        (r#"{"source":"127.0.0.1","target":"api.acme.tset:443"}"#, "--target api.acme.tset:443"),
        (r#"{"source":"127.0.0.1","target":"api.acme.test:443","sni":"none"}"#, "--target api.acme.test:443 --no-sni"),
        (
            r#"{"source":"127.0.0.1","target":"api.acme.test:443","sni":"b.test"}"#,
            "--target api.acme.test:443 --sni b.test",
        ),
        (r#"{"source":"127.0.0.1","target":"api.acme.test:443","tls":"1.1"}"#, "--target api.acme.test:443 --tls 1.1"),
        (r#"{"source":"127.0.0.1","target":"198.51.100.3:443"}"#, "--target 198.51.100.3:443"),
        (
            r#"{"source":"127.0.0.1","target":"http://api.acme.test/","method":"GET"}"#,
            "--target http://api.acme.test/ --method GET",
        ),
        (
            r#"{"source":"127.0.0.1","target":"a:443","at":"2027-01-01T00:00:00Z"}"#,
            "--target a:443 --at 2027-01-01T00:00:00Z",
        ),
        (r#"{"source":"192.0.2.9","target":"api.acme.test:443"}"#, "--source 192.0.2.9 --target api.acme.test:443"),
    ] {
        let mut command = sallyport();
        command.args(["explain", "-o", "json", "-c"]).arg(&config).args(args.split(' '));
        if !args.starts_with("--source") {
            command.args(["--source", "127.0.0.1"]);
        }
        let done = finish(&mut command, "");
        let want: Value = serde_json::from_str(&done.out).unwrap_or_else(|error| panic!("{error}: {done:?}"));
        assert_eq!(guarded.json(&["-d", question], "/v1/explain", 200), want, "{question}");
    }
    let unjudged = guarded.json(&["-d", r#"{"source":"127.0.0.1","target":"x.pay.test:443"}"#], "/v1/explain", 200);
    assert!(unjudged.to_string().contains("unjudged; give `addresses`"), "no name is looked up: {unjudged}");
    // Which sockets are its own the command line can't know.
    let (admin, path) = (guarded.proxy.admin.port(), guarded.proxy.dir.path().join("policy.yaml"));
    let with_its_port = fs::read_to_string(&path).unwrap().replace("8443", &admin.to_string());
    fs::write(&path, with_its_port).unwrap();
    guarded.proxy.signal("HUP");
    guarded.until("the reload", |status| status["policy"]["reload"]["policy"] == "in_force");
    let own = format!(r#"{{"source":"127.0.0.1","target":"api.acme.test:{admin}"}}"#);
    assert_eq!(guarded.json(&["-d", &own], "/v1/explain", 200)["reason"], "address_forbidden");
    assert!(guarded.proxy.records().iter().all(|record| record["kind"] != "decision"), "a question is no decision");
}

#[test]
fn a_question_that_cannot_be_asked_is_told_what_is_wrong_with_it() {
    let guarded = start(8443, "");
    let long = "x".repeat(70_000);
    for (question, pointers) in [
        ("{}", &["#/source", "#/target"][..]),
        ("", &["#"]),
        (r#"{"source":"secret","target":"a:1","tls":"9"}"#, &["#/source", "#/tls"]),
        (r#"{"source":"::1","target":"a:1","scret":"secret"}"#, &["#"]),
        (&format!(r#"{{"source":"::1","target":"{long}"}}"#), &["#"]),
    ] {
        let (head, body) = guarded.with(&guarded.auditor, &["-d", question], "/v1/explain");
        assert_eq!(status_of(&head), 400, "{head}{body}");
        assert!(head.contains("content-type: application/problem+json"), "{head}");
        let problem: Value = serde_json::from_str(&body).unwrap();
        let found: Vec<&str> =
            problem["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect();
        assert_eq!(found, pointers, "{body}");
        assert!(problem["type"] == "urn:sallyport:problem:bad_question" && problem["status"] == 400, "{body}");
        assert!(!body.contains("secret"), "nothing is repeated: {body}");
    }
}
