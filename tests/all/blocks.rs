//! Emergency blocks from outside: each kind cuts and refuses at once, outlives a crash and a reload, ends by itself or by hand; who may ask.
//! Not here: what a block hits at which stage (`policy`), its file by table (`runtime::blocks`).
//! Source: the promise that a block cuts within a second, and that nothing over the admin port lifts one.

mod command;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::admin::access::{Guarded, new_token};
use crate::certificates::{Client, Dial, REQUIRED, folder};
use crate::harness::{PATIENCE, Proxy, Setup, eventually, status_of, write_setup};
use crate::origins::{self, Answer, Origin, ask, connect_from, echoes, hello_for};
use crate::programs::{finish, sallyport};

/// A block cuts what it hits within this time (SPECIFICATION.md).
const AT_ONCE: Duration = Duration::from_secs(1);

/// Where the clients of the other source come from.
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// Where `net.test` is.
const NET: &str = "127.0.0.3";

const NAMES: [&str; 5] = ["host", "net", "source", "customer", "stay"];

/// Two origins on one port, and a proxy for them whose rules would keep every tunnel.
struct Scene {
    guarded: Guarded,
    port: u16,
}

impl Scene {
    fn new() -> Self {
        let origin = Origin::start();
        let port = origin.port();
        let _net = Origin::on(SocketAddr::new(NET.parse().unwrap(), port));
        let dir = TempDir::new().unwrap();
        let ((auditor, first), (operator, second)) = (new_token("qsa-2026", "auditor"), new_token("ops", "operator"));
        fs::write(dir.path().join("tokens.yaml"), format!("tokens:\n  {first}\n  {second}\n")).unwrap();
        let address = |name: &str| if name == "net" { NET } else { "127.0.0.1" };
        let hosts: Vec<String> = NAMES.iter().map(|name| format!("{name}.test: [{}]", address(name))).collect();
        let more = format!("state: state\ndns: {{hosts: {{{}}}}}\n", hosts.join(", "));
        write_setup(dir.path(), &Setup { more: &more, admin: "tokens: tokens.yaml", ..Setup::default() });
        fs::write(dir.path().join("policy.yaml"), policy(port)).unwrap();
        Self { guarded: Guarded { proxy: Proxy::start_in(dir), auditor, operator }, port }
    }

    fn proxy(&self) -> &Proxy {
        &self.guarded.proxy
    }

    fn request(&self, name: &str) -> (TcpStream, Answer) {
        let from = if name == "source" { OTHER } else { Ipv4Addr::LOCALHOST };
        let mut socket = connect_from(from, self.proxy().edge);
        let answer = ask(&mut socket, &format!("{name}.test:{}", self.port), &hello_for(&format!("{name}.test")));
        (socket, answer)
    }

    fn tunnel(&self, name: &str) -> TcpStream {
        let (mut socket, answer) = self.request(name);
        assert_eq!(answer, Answer::Open, "{name}");
        assert!(echoes(&mut socket, b"before"), "{name}");
        socket
    }

    /// Asks for a block with this body: status and answer.
    fn block(&self, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let (head, answer) = self.guarded.with(&self.guarded.operator, &["-d", &body], "/v1/block");
        (status_of(&head), serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {head}{answer}")))
    }

    fn list(&self) -> Vec<Value> {
        let (head, body) = self.guarded.with(&self.guarded.auditor, &[], "/v1/block");
        assert_eq!(status_of(&head), 200, "{head}{body}");
        serde_json::from_str::<Value>(&body).unwrap()["blocks"].as_array().unwrap().clone()
    }

    /// Asserts that a request is refused for the block with this id.
    fn is_refused(&self, name: &str, id: &Value) {
        let (socket, answer) = self.request(name);
        assert!(matches!(&answer, Answer::Refused(text) if text.contains("destination_denied")), "{name}: {answer:?}");
        let decision = self.proxy().decision_of(socket.local_addr().unwrap());
        assert_eq!(
            (&decision["reason"], &decision["detail"]["block"]),
            (&"destination_denied".into(), id),
            "{decision}"
        );
    }

    fn file(&self) -> PathBuf {
        self.proxy().dir.path().join("state/blocks.tests.json")
    }

    fn reload(&self) {
        let reloads = || self.proxy().records().iter().filter(|record| record["detail"]["rules"].is_u64()).count();
        let before = reloads();
        self.proxy().signal("HUP");
        eventually("the reload", Instant::now() + PATIENCE, || (reloads() > before).then_some(()));
    }

    fn restart(self) -> Self {
        let Guarded { proxy, auditor, operator } = self.guarded;
        Self { guarded: Guarded { proxy: Proxy::start_in(proxy.kill()), auditor, operator }, port: self.port }
    }
}

fn policy(port: u16) -> String {
    let rule = |name: &&str| {
        let source = if *name == "source" { "other" } else { "tests" };
        format!(
            "  - {{id: {name}, customer: c-{name}, sources: [{source}], hosts: [{name}.test], ports: [{port}], addresses: [127.0.0.0/29], existing: keep}}\n"
        )
    };
    let rules: String = NAMES.iter().map(rule).collect();
    format!(
        "version: 1\nsources:\n  - {{name: tests, subnets: [127.0.0.1/32]}}\n  - {{name: other, subnets: [{OTHER}/32]}}\nrules:\n{rules}"
    )
}

fn a_block(kind: &str, text: &str) -> Value {
    json!({kind: text, "reason": "a leak", "duration": "2h"})
}

/// One of each kind, and the name whose tunnels it hits.
const EACH: [(&str, &str, &str); 4] = [
    ("host", "*.test", "host"),
    ("network", NET, "net"),
    ("source", "other", "source"),
    ("customer", "c-customer", "customer"),
];

#[test]
fn a_block_reaches_the_tunnels_that_an_old_process_still_has() {
    let mut scene = Scene::new();
    let mut tunnels = ["host", "customer", "stay"].map(|name| scene.tunnel(name));
    let old = scene.guarded.proxy.upgrade_in_place();
    for (tunnel, body) in tunnels.iter_mut().zip([json!({"host": "host.test"}), json!({"customer": "c-customer"})]) {
        let mut body = body;
        body["reason"] = "leak".into();
        body["duration"] = "1h".into();
        assert_eq!(scene.block(&body).0, 201, "{body}");
        let began = Instant::now();
        assert!(origins::ends(tunnel) && began.elapsed() < AT_ONCE, "{body}");
    }
    assert!(echoes(&mut tunnels[2], b"after"), "the others go on");
    assert_eq!(scene.list().len(), 2);
    let olds = || {
        let (_, body) = scene.guarded.with(&scene.guarded.auditor, &[], "/v1/status");
        serde_json::from_str::<Value>(&body).unwrap()["old_processes"].as_u64().unwrap()
    };
    assert_eq!(olds(), 1);
    drop(tunnels);
    assert_eq!(old.wait(), Some(0));
    eventually("it is gone", Instant::now() + PATIENCE, || (olds() == 0).then_some(()));
}

#[test]
fn each_kind_cuts_open_tunnels_at_once_and_refuses_what_comes() {
    let scene = Scene::new();
    let mut stay = scene.tunnel("stay");
    for (kind, text, name) in EACH {
        let text = if kind == "host" { "host.test" } else { text };
        let mut tunnel = scene.tunnel(name);
        let port = tunnel.local_addr().unwrap().port();
        let begun = Instant::now();
        let (status, answer) = scene.block(&a_block(kind, text));
        assert!(origins::ends(&mut tunnel), "{kind}");
        assert!(begun.elapsed() < AT_ONCE, "{kind}: {:?}", begun.elapsed());
        assert_eq!(
            (status, &answer["tunnels_cut"], &answer["kept"]),
            (201, &1.into(), &true.into()),
            "{kind}: {answer}"
        );
        let close = scene.proxy().record(kind, |record| record["kind"] == "close" && record["client_port"] == port);
        assert_eq!(close["reason"], "revoked", "{close}");
        scene.is_refused(name, &answer["id"]);
        let call = scene.proxy().record("the call", |record| record["detail"]["block"]["id"] == answer["id"]);
        assert_eq!((&call["kind"], &call["actor"]), (&"admin".into(), &"ops".into()), "{call}");
        let detail = &call["detail"];
        assert_eq!(
            (&detail["call"], &detail["status"], &detail["tunnels_cut"]),
            (&"POST /v1/block".into(), &201.into(), &1.into())
        );
        let block = &detail["block"];
        let want = if kind == "network" { "127.0.0.3/32" } else { text };
        assert_eq!(
            (&block[kind], &block["reason"], &block["until"]),
            (&want.into(), &"a leak".into(), &answer["until"])
        );
    }
    assert!(echoes(&mut stay, &[b'x'; 100_000]), "what no block hits goes on");
    let status = scene.guarded.status();
    assert_eq!(status["blocks"]["count"], 4, "{status}");
    assert_eq!(
        status["blocks"]["next_end"].as_str().and_then(|end| Some(end.get(..16)?.to_owned())),
        scene.list()[0]["until"].as_str().and_then(|end| Some(end.get(..16)?.to_owned()))
    );
    assert!(scene.proxy().admin_page("/metrics").1.contains("\nsallyport_blocks 4\n"));
    let question = json!({"source": OTHER.to_string(), "target": "x.test:443"}).to_string();
    let (_, explained) = scene.guarded.with(&scene.guarded.auditor, &["-d", &question], "/v1/explain");
    assert!(
        explained.contains("source `other` is blocked until ") && explained.contains(": a leak (block "),
        "{explained}"
    );
}

#[test]
fn blocks_outlive_a_crash_and_a_reload_and_are_taken_out_by_hand_alone() {
    let scene = Scene::new();
    let (_, answer) = scene.block(&a_block("host", "host.test"));
    let (_, other) = scene.block(&a_block("customer", "c-customer"));
    let scene = scene.restart();
    scene.is_refused("host", &answer["id"]);
    fs::write(scene.proxy().dir.path().join("policy.yaml"), policy(scene.port) + "# new\n").unwrap();
    scene.reload();
    scene.is_refused("host", &answer["id"]);
    assert_eq!(scene.list().len(), 2);

    let mut page: Value = serde_json::from_str(&fs::read_to_string(scene.file()).unwrap()).unwrap();
    page["blocks"].as_array_mut().unwrap().retain(|block| block["id"] != answer["id"]);
    let until = &other["until"];
    page["blocks"].as_array_mut().unwrap().push(json!({"network": NET, "reason": "by hand", "until": until}));
    fs::write(scene.file(), page.to_string()).unwrap();
    scene.is_refused("host", &answer["id"]);
    let mut net = scene.tunnel("net");
    scene.reload();
    scene.tunnel("host");
    assert!(origins::ends(&mut net), "what a hand adds cuts as well");
    scene.is_refused("customer", &other["id"]);
    for (result, kind, text) in [("block_lifted", "host", "host.test"), ("block_added", "network", "127.0.0.3/32")] {
        let record = scene.proxy().record(result, |record| record["detail"]["result"] == result);
        assert_eq!((&record["kind"], &record["detail"]["block"][kind]), (&"policy".into(), &text.into()), "{record}");
    }

    fs::write(scene.file(), "{\"blocks\": [").unwrap();
    fs::write(scene.proxy().dir.path().join("policy.yaml"), policy(scene.port) + "# newer\n").unwrap();
    let page = |path: &str, args: &[&str]| -> (u16, Value) {
        let (head, body) = scene.guarded.with(&scene.guarded.operator, args, path);
        (status_of(&head), serde_json::from_str(&body).unwrap())
    };
    let in_force = page("/v1/status", &[]).1["policy"]["sha256"].clone();
    let (code, told) = page("/v1/policy/reload", &["-X", "POST"]);
    assert!(code == 422 && told["faults"][0].as_str().unwrap().contains("blocks.tests.json: not what was"), "{told}");
    let status = page("/v1/status", &[]).1;
    for told in [&told, &status["policy"]["reload"]] {
        assert_eq!((&told["blocks"], &told["policy"]), (&"refused".into(), &"kept".into()), "{told}");
    }
    assert!(in_force.is_string() && status["policy"]["sha256"] == in_force, "{status}");
    let failure = scene.proxy().record("the failure", |record| record["kind"] == "control_failure");
    assert_eq!(failure["detail"]["what"], "emergency_blocks", "{failure}");
    scene.is_refused("customer", &other["id"]);
    let dir = scene.guarded.proxy.kill();
    let run = finish(sallyport().args(["run", "-c"]).arg(dir.path().join("sallyport.yaml")), "");
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(
        run.err.contains("blocks.tests.json: not what was written") && run.err.contains("lifts all blocks"),
        "{run:?}"
    );
}

#[test]
fn a_block_ends_by_itself() {
    let scene = Scene::new();
    let (status, answer) = scene.block(&json!({"host": "host.test", "reason": "a leak", "duration": "1500ms"}));
    assert_eq!(status, 201);
    scene.is_refused("host", &answer["id"]);
    let record = scene.proxy().record("the end", |record| record["detail"]["result"] == "block_ended");
    assert_eq!(record["detail"]["block"]["id"], answer["id"], "{record}");
    let (ended, until) = (record["time"].as_str().unwrap(), answer["until"].as_str().unwrap());
    assert!(ended >= until, "{ended} {until}");
    scene.tunnel("host");
    assert!(scene.list().is_empty());
    assert_eq!(fs::read_to_string(scene.file()).unwrap().split_whitespace().collect::<String>(), "{\"blocks\":[]}");
}

#[test]
fn the_same_again_is_one_block_with_the_later_end() {
    let scene = Scene::new();
    let (_, first) = scene.block(&a_block("host", "host.test"));
    let (status, shorter) = scene.block(&json!({"host": "HOST.test.", "reason": "again", "duration": "1h"}));
    assert_eq!((status, &shorter["id"], &shorter["until"]), (200, &first["id"], &first["until"]), "{shorter}");
    let (_, longer) = scene.block(&json!({"host": "host.test", "reason": "again", "duration": "3h"}));
    assert!(longer["until"].as_str() > first["until"].as_str(), "{longer}");
    assert_eq!((scene.list().len(), &scene.list()[0]["reason"]), (1, &"again".into()));
}

#[test]
fn who_may_not_and_what_is_none_block_nothing() {
    let scene = Scene::new();
    let body = a_block("host", "host.test").to_string();
    let (head, _) = scene.guarded.with(&scene.guarded.auditor, &["-d", &body], "/v1/block");
    assert_eq!(status_of(&head), 403);
    let (head, _) = scene.guarded.with(&scene.guarded.operator, &["-X", "DELETE"], "/v1/block");
    assert!(status_of(&head) == 405 && head.contains("allow: get, head, post"), "{head}");
    for (body, status, word) in [
        (json!({"host": "host.test", "reason": "x"}), 400, "bad_block"),
        (json!({"host": "host.test", "reason": "x", "duration": "31d"}), 400, "bad_block"),
        (json!({"host": "host.test", "reason": "x", "duration": "2h", "lift": true}), 400, "bad_block"),
        (json!({"reason": "x", "duration": "2h"}), 400, "bad_block"),
        (a_block("source", "tset"), 422, "unknown_name"),
        (a_block("customer", "acme"), 422, "unknown_name"),
    ] {
        let (found, problem) = scene.block(&body);
        let kind = format!("urn:sallyport:problem:{word}");
        assert_eq!(
            (found, &problem["type"], &problem["status"]),
            (status, &kind.into(), &status.into()),
            "{body}: {problem}"
        );
    }
    assert!(scene.list().is_empty() && !scene.file().exists());
    scene.tunnel("host");
    let told =
        |record: &Value| format!("{} {} {}", record["actor"], record["detail"]["call"], record["detail"]["result"]);
    let calls: Vec<String> = eventually("the calls", Instant::now() + PATIENCE, || {
        let calls: Vec<String> = scene.guarded.refused().iter().map(told).collect();
        (calls.len() >= 7).then_some(calls)
    });
    assert_eq!(calls[0], "\"qsa-2026\" \"POST /v1/block\" \"role_too_small\"");
    assert!(calls[1..5].iter().all(|call| call == "\"ops\" \"POST /v1/block\" \"bad_request\""), "{calls:?}");
    assert!(calls[5..].iter().all(|call| call == "\"ops\" \"POST /v1/block\" \"unknown_name\""), "{calls:?}");
    let mut forced = a_block("customer", "acme");
    forced["force"] = true.into();
    assert_eq!(scene.block(&forced).0, 201, "whoever insists");
}

#[test]
fn a_log_that_is_ill_and_a_state_that_takes_nothing_hold_no_block_up() {
    let scene = Scene::new();
    let mut tunnel = scene.tunnel("host");
    let dir = scene.proxy().dir.path().to_owned();
    fs::rename(dir.join("decisions"), dir.join("away")).unwrap();
    fs::rename(dir.join("state"), dir.join("gone")).unwrap();
    fs::write(dir.join("state"), "a file where the folder should be").unwrap();
    scene.proxy().ask(b"GET http://x.test/ HTTP/1.1\r\nHost: x.test\r\n\r\n");
    eventually("the log is ill", Instant::now() + PATIENCE, || {
        (scene.guarded.status()["log"]["healthy"] == false).then_some(())
    });
    let (status, answer) = scene.block(&a_block("host", "host.test"));
    assert!(origins::ends(&mut tunnel));
    assert_eq!((status, &answer["type"]), (500, &"urn:sallyport:problem:block_not_kept".into()), "{answer}");
    assert_eq!(
        (&answer["kept"], &answer["recorded"], &answer["tunnels_cut"]),
        (&false.into(), &false.into(), &1.into())
    );
    fs::rename(dir.join("away"), dir.join("decisions")).unwrap();
    fs::remove_file(dir.join("state")).unwrap();
    fs::rename(dir.join("gone"), dir.join("state")).unwrap();
    let call = scene.proxy().record("the call", |record| record["detail"]["block"]["id"] == answer["id"]);
    assert_eq!(call["detail"]["result"], "not_kept", "{call}");
    eventually("the file", Instant::now() + PATIENCE, || scene.file().exists().then_some(()));
    scene.restart().is_refused("host", &answer["id"]);
}

#[test]
fn a_tunnel_of_an_http2_connection_is_cut_and_the_others_go_on() {
    let origin = Origin::start();
    let (dir, _) = folder(REQUIRED, &["spiffe://voice.test/ivr/*"], origin.port(), "");
    let ((auditor, first), (operator, second)) = (new_token("qsa-2026", "auditor"), new_token("ops", "operator"));
    fs::write(dir.path().join("tokens.yaml"), format!("tokens:\n  {first}\n  {second}\n")).unwrap();
    for (file, from, to) in [
        (
            "sallyport.yaml",
            "hosts: {api.acme.test: [127.0.0.1]",
            "hosts: {other.test: [127.0.0.1], api.acme.test: [127.0.0.1]",
        ),
        (
            "sallyport.yaml",
            "admin: {address: \"127.0.0.1:0\", ",
            "admin: {address: \"127.0.0.1:0\", tokens: tokens.yaml",
        ),
        ("policy.yaml", "hosts: [api.acme.test]", "hosts: [api.acme.test, other.test]"),
    ] {
        let text = fs::read_to_string(dir.path().join(file)).unwrap();
        assert!(text.contains(from), "{file}: {text}");
        fs::write(dir.path().join(file), text.replace(from, to)).unwrap();
    }
    let scene = Scene { guarded: Guarded { proxy: Proxy::start_in(dir), auditor, operator }, port: origin.port() };
    let mut client = Client::connect(scene.proxy().dir.path(), scene.proxy().edge, &Dial::default());
    let stays = client.open(origin.port());
    let other = client.order(&json!(["open", format!("other.test:{}", origin.port()), "other.test"]));
    assert_eq!((&other["status"], &other["end"]), (&json!(200), &Value::Null), "{other}");
    let (_, answer) = scene.block(&a_block("host", "other.test"));
    assert_eq!(answer["tunnels_cut"], 1, "{answer}");
    let close = scene.proxy().record("the close", |record| record["kind"] == "close");
    assert_eq!((&close["reason"], &close["host"]), (&"revoked".into(), &"other.test".into()), "{close}");
    assert!(client.echoes(stays, 10_000), "the connection lives");
    let refused = client.order(&json!(["open", format!("other.test:{}", origin.port()), "other.test"]));
    assert_eq!((&refused["status"], &refused["reason"]), (&json!(403), &json!("destination_denied")), "{refused}");
}
