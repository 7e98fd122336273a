//! HTTP/2 from outside: many tunnels on one connection, each judged and recorded by itself, and none in another's way.
//! Not here: what the policy says (`policy`), certificates (`secure_listeners`). Clients are curl, Python's h2 and Node's http2.
//! Source: RFC 9113 sections 5.1.2, 5.2, 6.8, 8.5 and 10.5; RFC 8441.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::certificates::{Client, Dial, REQUIRED, RIGHT, folder};
use crate::dials::BlackHole;
use crate::harness::{PATIENCE, Proxy, eventually, records};
use crate::nginx::{FILE_SIZE, Nginx};
use crate::origins::Origin;
use crate::programs::{finish, program};

#[path = "../accept/many_tunnels.rs"]
mod many_tunnels;

/// What a connection may have at once (SPECIFICATION.md).
const MAX_STREAMS: usize = 256;

/// RFC 9113 section 7.
const REFUSED_STREAM: u64 = 7;
const ENHANCE_YOUR_CALM: u64 = 11;

/// A proxy that asks for certificates and has a rule for one origin.
fn proxy(port: u16, limits: &str) -> Proxy {
    Proxy::start_in(folder(REQUIRED, &["spiffe://voice.test/ivr/*"], port, limits).0)
}

fn connect(proxy: &Proxy) -> Client {
    let client = Client::connect(proxy.dir.path(), proxy.edge, &Dial::default());
    assert_eq!((&client.connected["alpn"], &client.connected["version"]), (&json!("h2"), &json!("TLSv1.3")));
    client
}

/// The records of a kind about one client's port, once there are so many.
fn of_kind(proxy: &Proxy, kind: &str, port: Option<u64>, count: usize) -> Vec<Value> {
    let is_its = |record: &Value| record["kind"] == kind && record["client_port"].as_u64() == port;
    eventually(&format!("{count} of {kind}"), Instant::now() + PATIENCE, || {
        let found: Vec<Value> = proxy.records().into_iter().filter(is_its).collect();
        (found.len() >= count).then_some(found)
    })
}

#[test]
fn curl_and_node_tunnel_over_http2() {
    let nginx = Nginx::start(&["api.acme.test"]);
    let proxy = proxy(nginx.port, "");
    let script = |name: &str| format!("{}/tests/clients/{name}", env!("CARGO_MANIFEST_DIR"));
    let target = format!("api.acme.test:{}", nginx.port);
    let url = format!("https://{target}/file");
    for (name, runs, script, what, connections) in [
        ("libcurl", "python", script("curl_http2.py"), &url, 5),
        ("Node", "node", script("http2_tunnels.mjs"), &target, 1),
    ] {
        let mut command = program(runs);
        command.arg(script).arg(proxy.edge.to_string()).arg(proxy.dir.path()).arg(nginx.authority()).arg(what).arg("5");
        let ended = finish(&mut command, "");
        let told: Vec<Value> = ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((ended.code, told.len()), (Some(0), 5), "{name}: {ended:?}");
        let ports: BTreeSet<u64> = told.iter().map(|told| told[2].as_u64().unwrap()).collect();
        let is_right = |told: &Value| (&told[0], &told[1], &told[3]) == (&json!(200), &json!(200), &json!(FILE_SIZE));
        assert!(told.iter().all(is_right) && ports.len() == connections, "{name}: {ended:?}");
        for (kind, port) in ports.iter().flat_map(|port| [("decision", port), ("close", port)]) {
            let found = of_kind(&proxy, kind, Some(*port), 5 / connections);
            let is_right = |record: &Value| {
                record["client_identity"] == RIGHT && record["outcome"] == "allow" && record["reason"] != "reset"
            };
            assert!(found.iter().all(is_right) && found.len() == 5 / connections, "{name}: {found:#?}");
        }
    }
}

#[test]
fn a_hundred_tunnels_do_not_wait_for_one_that_stalls() {
    many_tunnels::do_not_wait_for_one_that_stalls(320 * 1024);
}

#[test]
fn what_is_refused_is_refused_on_its_stream_alone() {
    let origin = Origin::start();
    let proxy = proxy(origin.port(), "");
    let mut client = connect(&proxy);
    let stream = client.open(origin.port());
    let target = format!("api.acme.test:{}", origin.port());
    let connect = |more: &[[&str; 2]]| json!(["request", ([&[[":method", "CONNECT"]], more].concat())]);
    let extended = [[":protocol", "websocket"], [":scheme", "https"], [":path", "/"], [":authority", target.as_str()]];
    let get = [[":method", "GET"], [":scheme", "https"], [":authority", "api.acme.test"], [":path", "/"]];
    let mut told = 1;
    for (name, order, status, alert, reason) in [
        ("another host", json!(["open", "evil.example:443", "evil.example"]), 403, None, "destination_not_listed"),
        ("another port", json!(["open", "api.acme.test:22", "api.acme.test"]), 403, None, "port_not_allowed"),
        ("a late refusal", json!(["open", target, "evil.example"]), 200, Some(112), "sni_mismatch"),
        ("a GET", json!(["request", get]), 403, None, "method_not_allowed"),
        ("no authority", connect(&[]), 400, None, "malformed_target"),
        ("no port", connect(&[[":authority", "api.acme.test"]]), 400, None, "malformed_target"),
        ("extended CONNECT", connect(&extended), 403, None, "method_not_allowed"),
        (
            "a card number",
            json!(["open", "4111111111111111.example:443", "x.example"]),
            403,
            None,
            "sensitive_data_in_target",
        ),
    ] {
        let seen = client.order(&order);
        assert_eq!((&seen["status"], &seen["alert"]), (&json!(status), &json!(alert)), "{name}: {seen}");
        assert!(!seen["end"].is_null() && seen["goaway"].is_null(), "{name}: {seen}");
        assert!(status == 200 || seen["reason"] == reason, "{name}: {seen}");
        told += 1;
        let record = of_kind(&proxy, "decision", Some(client.port().into()), told).pop().unwrap();
        assert_eq!((&record["outcome"], &record["reason"]), (&json!("deny"), &json!(reason)), "{name}: {record}");
        assert_eq!(record["client_identity"], RIGHT, "{name}: {record}");
        assert!(client.echoes(stream, 1_000), "{name}: the connection lives");
    }
    assert_eq!(client.order(&json!(["end", stream]))["end"], "end");
    assert_eq!(of_kind(&proxy, "close", Some(client.port().into()), 1)[0]["reason"], "client_closed");
}

#[test]
fn streams_beyond_the_bound_are_refused_and_the_others_live() {
    let origin = Origin::start();
    let proxy = proxy(origin.port(), "connections_per_source: 1000");
    let mut client = connect(&proxy);
    let (target, name) = (format!("api.acme.test:{}", origin.port()), "api.acme.test");
    let opened = client.order(&json!(["open_all", MAX_STREAMS, target, name]));
    let is_shut = |stream: &&Value| stream["status"] != 200 || !stream["end"].is_null();
    let shut: Vec<&Value> = opened.as_array().unwrap().iter().filter(is_shut).collect();
    assert!(shut.is_empty(), "{shut:?}");
    let streams = [0, MAX_STREAMS - 1].map(|place| opened[place]["stream"].as_u64().unwrap());
    let order = json!(["open", target, name]);
    for _ in 0..3 {
        let seen = client.order(&order);
        assert_eq!((&seen["end"], &seen["code"]), (&json!("reset"), &json!(REFUSED_STREAM)), "{seen}");
    }
    for stream in streams {
        assert!(client.echoes(stream, 1_000), "stream {stream}");
    }
    assert_eq!(client.order(&json!(["end", streams[0]]))["end"], "end");
    client.open(origin.port());
}

#[test]
fn limits_count_tunnels() {
    let origin = Origin::start();
    let proxy = proxy(origin.port(), "connections_per_source: 10");
    let mut client = connect(&proxy);
    let streams: Vec<u64> = (0..10).map(|_| client.open(origin.port())).collect();
    let order = json!(["open", format!("api.acme.test:{}", origin.port()), "api.acme.test"]);
    for place in 0..3 {
        let seen = client.order(&order);
        assert_eq!((&seen["status"], &seen["reason"]), (&json!(429), &json!("connection_limit")), "{seen}");
        let record = of_kind(&proxy, "decision", Some(client.port().into()), 11 + place).pop().unwrap();
        assert_eq!(record["reason"], "connection_limit", "{record}");
    }
    assert_eq!(client.order(&json!(["end", streams[4]]))["end"], "end");
    of_kind(&proxy, "close", Some(client.port().into()), 1);
    client.open(origin.port());
    assert!(client.echoes(streams[0], 1_000));
}

#[test]
fn floods_end_their_connection_with_one_record_and_nobody_elses() {
    let origin = Origin::start();
    let proxy = proxy(origin.port(), "");
    let mut good = connect(&proxy);
    let stream = good.open(origin.port());
    let target = format!("api.acme.test:{}", origin.port());
    for kind in ["ping", "settings", "reset", "continuation", "empty", "unknown"] {
        let mut client = connect(&proxy);
        client.begin(&json!(["flood", kind, target]));
        assert!(good.echoes(stream, 50_000), "{kind}: another client, while it lasts");
        let seen = client.answer(kind);
        assert_eq!((&seen["goaway"], &seen["gone"]), (&json!(ENHANCE_YOUR_CALM), &json!(true)), "{kind}: {seen}");
        let is_refusal = |record: &&Value| record["outcome"] == "deny";
        let records = of_kind(&proxy, "decision", Some(client.port().into()), if kind == "empty" { 2 } else { 1 });
        let refusals: Vec<&Value> = records.iter().filter(is_refusal).collect();
        assert_eq!(refusals.len(), 1, "{kind}: {records:#?}");
        let told = (&refusals[0]["reason"], &refusals[0]["detail"]["http2"], &refusals[0]["client_identity"]);
        let want = (&json!("malformed_request"), &json!("ENHANCE_YOUR_CALM"), &json!(RIGHT));
        assert_eq!(told, want, "{kind}: {}", refusals[0]);
        assert!(good.echoes(stream, 50_000), "{kind}: another client, behind it");
    }
}

#[test]
fn a_drain_says_goodbye_and_lets_tunnels_finish() {
    let origin = Origin::start();
    let proxy = proxy(origin.port(), "");
    let mut client = connect(&proxy);
    let streams = [client.open(origin.port()), client.open(origin.port())];
    let port = client.port();
    proxy.signal("TERM");
    let seen = client.order(&json!(["goodbye"]));
    assert_eq!((&seen["goaway"], &seen["gone"]), (&json!(0), &json!(false)), "{seen}");
    for stream in streams {
        assert!(client.echoes(stream, 100_000), "stream {stream} may finish");
        assert_eq!(client.order(&json!(["end", stream]))["end"], "end");
    }
    assert_eq!(client.order(&json!(["gone"]))["gone"], true);
    let (dir, code) = proxy.wait();
    assert_eq!(code, Some(0));
    let is_close = |record: &Value| record["kind"] == "close" && record["client_port"] == port;
    let closes: Vec<Value> = records(&dir.path().join("decisions")).into_iter().filter(is_close).collect();
    assert!(closes.len() == 2 && closes.iter().all(|close| close["reason"] == "client_closed"), "{closes:#?}");
}

/// Whether a connection to this port of 127.0.0.1 is waiting for its answer (proc_pid_net(5): SYN_SENT is 02).
fn is_dialled(port: u16) -> bool {
    let remote = format!("0100007F:{port:04X}");
    let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
    sockets
        .lines()
        .map(|line| line.split_whitespace().collect())
        .any(|words: Vec<&str>| words[2..4] == [&*remote, "02"])
}

#[test]
fn a_stream_that_leaves_while_it_is_dialled_gives_its_place_back() {
    let hole = BlackHole::at(([127, 0, 0, 1], 0).into());
    let (origin, dark) = (Origin::start(), hole.address.port());
    let limits = "connections_per_source: 1, dial_timeout: 300s";
    let (dir, _) = folder(REQUIRED, &["spiffe://voice.test/ivr/*"], origin.port(), limits);
    let policy = dir.path().join("policy.yaml");
    let text = fs::read_to_string(&policy).unwrap();
    fs::write(policy, text.replace("ports: [", &format!("ports: [{dark}, "))).unwrap();
    let proxy = Proxy::start_in(dir);
    let mut client = connect(&proxy);
    let stream = client.order(&json!(["start", format!("api.acme.test:{dark}")]))["stream"].clone();
    eventually("it is dialled", Instant::now() + PATIENCE, || is_dialled(dark).then_some(()));
    let another = json!(["open", format!("api.acme.test:{}", origin.port()), "api.acme.test"]);
    assert_eq!(client.order(&another)["reason"], "connection_limit");
    client.order(&json!(["leave", stream]));
    let is_its = |record: &Value| record["client_port"] == client.port() && record["reason"] == "client_gone";
    let record = proxy.record("the end of what was dialled", is_its);
    assert_eq!((&record["outcome"], &record["port"]), (&json!("error"), &json!(dark)), "{record}");
    eventually("its place is free", Instant::now() + PATIENCE, || {
        (client.order(&another)["status"] == 200).then_some(())
    });
    assert!(!is_dialled(dark), "nobody waits for it");
}

/// How long a proxy that ends waits for last records (SPECIFICATION.md): for what it does not end itself.
const LAST_WORDS: Duration = Duration::from_secs(5);

#[test]
fn who_says_nothing_does_not_keep_the_proxy_from_its_end() {
    let proxy = Proxy::start_in(folder(REQUIRED, &[RIGHT], 443, "drain_timeout: 0s, head_timeout: 300s").0);
    // In TLS 1.2 the handshake ends with the proxy's word: it waits for HTTP/2 by now.
    let dial = Dial { version: "1.2", is_silent: true, ..Dial::default() };
    let client = Client::connect(proxy.dir.path(), proxy.edge, &dial);
    assert_eq!(client.connected["alpn"], "h2");
    let told = Instant::now();
    let (dir, code) = proxy.stop();
    assert!(told.elapsed() < LAST_WORDS, "{:?}", told.elapsed());
    assert_eq!(code, Some(0));
    let records = records(&dir.path().join("decisions"));
    assert!(!records.iter().any(|record| record["kind"] == "decision"), "it has asked for nothing: {records:#?}");
}
