//! The canary: the proxy's test of itself, and `sallyport doctor` against a running proxy.
//! Not here: what a run that fails leaves (`runtime::canary`). Source: the contract's `doctor`; PCI DSS 10.7.2.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::admin::access::new_token;
use super::harness::{Proxy, SOURCE, Setup, write_setup};
use super::programs::{Finished, finish, sallyport};

#[test]
fn a_proxy_tests_itself_whatever_its_policy() {
    let strangers = "version: 1\nsources: [{name: others, subnets: [10.20.0.0/24]}]\nrules: []\n";
    for (name, policy, rate, reasons) in [
        (
            "its own source",
            format!("{SOURCE}rules: []\n"),
            "none",
            ["sensitive_data_in_target", "plaintext_http", "plaintext_http"],
        ),
        ("no source", strangers.to_owned(), "none", ["source_unknown"; 3]),
        ("denials that are counted", strangers.to_owned(), "1/s", ["source_unknown"; 3]),
    ] {
        let dir = TempDir::new().unwrap();
        write_setup(dir.path(), &Setup { more: "redaction: {canary: 1m}\n", ..Setup::default() });
        fs::write(dir.path().join("policy.yaml"), policy).unwrap();
        change(dir.path(), "key: log.key}", &format!("key: log.key, denial_rate: {rate}}}"));
        let proxy = Proxy::start_in(dir);
        let came = proxy.record(name, |record| record["detail"]["what"] == "canary");
        let detail = &came["detail"];
        assert_eq!((&came["kind"], &detail["result"]), (&json!("admin"), &json!("ok")), "{name}: {came}");
        assert_eq!(detail["places"], json!(["answers", "records", "metrics"]), "{name}");
        assert_eq!(detail["reasons"], json!(reasons), "{name}");
        // Who reads the records can tell by the ids which were its own.
        let records = proxy.records();
        let own = |id: &Value| records.iter().find(|record| record["id"] == *id);
        let own: Vec<&Value> = detail["ids"].as_array().unwrap().iter().filter_map(own).collect();
        let recorded = if rate == "none" { 3 } else { 1 };
        assert_eq!((own.len(), &detail["recorded"]), (recorded, &json!(recorded)), "{name}: {came}");
        assert_eq!(detail["counted"], 3 - recorded, "{name}: {came}");
        let found: Vec<&str> = own.iter().map(|record| record["reason"].as_str().unwrap()).collect();
        assert_eq!(found, reasons[..recorded], "{name}");
        assert_eq!(own[0]["host"], "[PAN:visa:16].canary.invalid", "{name}");
        let (_, metrics) = proxy.admin_page("/metrics");
        assert!(metrics.contains("sallyport_canary_runs_total{result=\"ok\"} 1\n"), "{name}: {metrics}");
        let at = metrics.lines().find_map(|line| line.strip_prefix("sallyport_canary_timestamp_seconds ")).unwrap();
        assert!(at.parse::<f64>().unwrap() > 1_700_000_000.0, "{name}: {at}");
    }
}

/// Replaces a part of a folder's configuration, which must be there.
fn change(dir: &Path, from: &str, to: &str) {
    let path = dir.join("sallyport.yaml");
    let before = fs::read_to_string(&path).unwrap();
    assert!(before.contains(from), "{before}");
    fs::write(path, before.replace(from, to)).unwrap();
}

/// A proxy whose configuration names the ports that it has, with an auditor's token in `qsa.token`.
fn started() -> Proxy {
    let dir = TempDir::new().unwrap();
    let (token, line) = new_token("qsa", "auditor");
    fs::write(dir.path().join("tokens.yaml"), format!("tokens:\n  {line}\n")).unwrap();
    fs::write(dir.path().join("qsa.token"), token).unwrap();
    write_setup(dir.path(), &Setup { policy: "rules: []\n", admin: "tokens: tokens.yaml", ..Setup::default() });
    let proxy = Proxy::start_in(dir);
    change(
        proxy.dir.path(),
        "{name: edge, address: \"127.0.0.1:0\"",
        &format!("{{name: edge, address: \"{}\"", proxy.edge),
    );
    change(proxy.dir.path(), "admin: {address: \"127.0.0.1:0\"", &format!("admin: {{address: \"{}\"", proxy.admin));
    proxy
}

fn doctor(dir: &Path, args: &[&str]) -> Finished {
    finish(sallyport().args(["doctor", "-c"]).arg(dir.join("sallyport.yaml")).current_dir(dir).args(args), "")
}

/// The checks with this result.
fn with(done: &Finished, result: &str) -> Vec<(String, String)> {
    let examined: Value = serde_json::from_str(&done.out).unwrap_or_else(|_| panic!("{done:?}"));
    assert_eq!(examined["ok"], done.code == Some(0), "{done:?}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let checks = examined["checks"].as_array().unwrap().iter().filter(|check| check["result"] == result);
    checks.map(|check| (text(&check["check"]), text(&check["found"]))).collect()
}

/// What fails though all is well: who runs these tests as root runs the proxy so.
fn expected() -> Vec<&'static str> {
    if fs::metadata("/proc/self").unwrap().uid() == 0 { vec!["user"] } else { Vec::new() }
}

#[test]
fn the_doctor_finds_a_proxy_in_order() {
    let proxy = started();
    let done = doctor(proxy.dir.path(), &["-o", "json", "--token-file", "qsa.token"]);
    let failed: Vec<String> = with(&done, "failed").into_iter().map(|(check, _)| check).collect();
    assert_eq!(failed, expected(), "{done:?}");
    let ok: Vec<String> = with(&done, "ok").into_iter().map(|(check, found)| format!("{check}: {found}")).collect();
    for want in [
        "a card number in a name: refused with `sensitive_data_in_target`, decision ",
        "a card number in header fields: refused with `plaintext_http`, decision ",
        "a card number in a path: refused with `plaintext_http`, decision ",
        "the decision log: has the 3 refusals, and no number",
        "metrics: no number",
        "the admin port: its answers hold no number",
        &format!("core dumps: are off for process {}", proxy.pid()),
        "the log's key: is closed to others (mode 600)",
        "report mode: no source is in it",
    ] {
        assert!(ok.iter().any(|found| found.starts_with(want)), "no `{want}` in {ok:#?}");
    }
    let text = doctor(proxy.dir.path(), &[]);
    assert!(
        text.out.starts_with("ok      a card number in a name: refused with `sensitive_data_in_target`, "),
        "{text:?}"
    );
    assert!(text.out.contains("\nnote    the admin port: not searched; give `--token-file FILE`"), "{text:?}");
    assert_eq!(text.code, Some(i32::from(!expected().is_empty())), "{text:?}");
}

#[test]
fn the_doctor_says_what_is_wrong() {
    let proxy = started();
    let dir = proxy.dir.path();
    let echo = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = echo.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut socket in echo.incoming().flatten() {
            let mut bytes = [0; 4096];
            // The client sees how it ends.
            let _ = socket.read(&mut bytes).and_then(|count| socket.write_all(&bytes[..count]));
        }
    });
    let failed = |args: &[&str]| {
        let done = doctor(dir, &[&["-o", "json"], args].concat());
        let failed = with(&done, "failed").into_iter().filter(|(check, _)| !expected().contains(&check.as_str()));
        failed.map(|(check, found)| format!("{check}: {found}")).collect::<Vec<_>>()
    };
    fs::write(dir.join("wrong.token"), "sallyport_x").unwrap();
    let [found] = failed(&["--token-file", "wrong.token"]).try_into().unwrap();
    assert!(
        found.starts_with("the admin port: `/v1/status` of the admin port at ") && found.contains("it answers 401: "),
        "{found}"
    );
    for (file, mode) in [("policy.yaml", 0o644), ("sallyport.yaml", 0o644)] {
        fs::set_permissions(dir.join(file), fs::Permissions::from_mode(0o666)).unwrap();
        let [found] = failed(&[]).try_into().unwrap();
        let path = dir.join(file);
        let want = format!("the files that were read: everybody may write some; chmod o-w {}", path.display());
        assert_eq!(found, want);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    change(dir, &proxy.edge.to_string(), &address);
    let found = failed(&[]);
    let (log, requests) = found.split_last().unwrap();
    assert!(requests.len() == 3 && requests.iter().all(|found| found.contains("repeats the number")), "{found:?}");
    assert_eq!(log, "the decision log: was not searched: no request was refused");
    change(dir, &address, &proxy.edge.to_string());
    assert_eq!(failed(&[]), [""; 0]);
}

/// What stands in a longer word is no card number in text, and redaction leaves it. It is on record, but of another's request.
#[test]
fn no_client_can_make_the_canary_fail() {
    let proxy = started();
    let host = "99994111111111111111777.evil.example";
    for head in [
        "deadbeef4111111111111111deadbeef http://canary.invalid/ HTTP/1.1\r\n\r\n".to_owned(),
        format!("CONNECT {host}:443 HTTP/1.1\r\n\r\n"),
    ] {
        let mut socket = TcpStream::connect(proxy.edge).unwrap();
        socket.write_all(head.as_bytes()).unwrap();
        socket.read_to_end(&mut Vec::new()).unwrap();
    }
    proxy
        .record("what looks like a number", |record| record["method"].as_str().is_some_and(|it| it.contains("411111")));
    let done = doctor(proxy.dir.path(), &["-o", "json", "--token-file", "qsa.token"]);
    let failed: Vec<String> = with(&done, "failed").into_iter().map(|(check, _)| check).collect();
    assert_eq!(failed, expected(), "{done:?}");
}

#[test]
fn the_doctor_notes_that_no_name_was_judged() {
    let proxy = started();
    let path = proxy.dir.path().join("policy.yaml");
    fs::write(path, "version: 1\nsources: [{name: others, subnets: [10.20.0.0/24]}]\nrules: []\n").unwrap();
    proxy.signal("HUP");
    proxy.record("the reload", |record| record["kind"] == "policy" && record["detail"]["result"] == "in_force");
    let notes = with(&doctor(proxy.dir.path(), &["-o", "json"]), "note");
    let (_, found) = notes.iter().find(|(check, _)| check == "a card number in a name").unwrap();
    assert!(
        found.starts_with("refused with `source_unknown`, decision ") && found.contains("no name was judged"),
        "{found}"
    );
}

#[test]
fn the_doctor_needs_a_proxy_that_runs() {
    let proxy = started();
    let dir = proxy.stop().0;
    for (args, code, says) in [
        (&[][..], 3, "can't be reached"),
        (&["--token-file", "none.token"], 3, "none.token"),
        (&["--attack"], 2, "`--attack` is not available in this version"),
    ] {
        let done = doctor(dir.path(), args);
        assert!(done.code == Some(code) && done.err.contains(says), "{args:?}: {done:?}");
        // What can be seen without it is told.
        let told =
            done.out.contains("FAILED  a card number in a name: was not sent\n") && done.out.contains("the log's key");
        assert_eq!((told, done.out.is_empty()), (args.is_empty(), !args.is_empty()), "{args:?}: {done:?}");
    }
    write_setup(dir.path(), &Setup { policy: "rules: []\n", ..Setup::default() });
    let done = doctor(dir.path(), &[]);
    assert!(
        done.code == Some(2)
            && done.err.contains("no listener takes CONNECT without TLS and PROXY header at a port of its own"),
        "{done:?}"
    );
}
