//! `audit export` from outside: what spreadsheets and schema validators of others make of it, what its manifest says, and the record
//! that it leaves. Not here: joining, columns and events one by one (`evidence`).
//! Source: RFC 4180; OCSF 1.8.0 by `ocsf-json-schema`; PCI DSS 10.2.1.3.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::ends::{Origin, Tunnel, established, finish as finish_tunnel, read_all};
use super::harness::{PATIENCE, Proxy, Setup, eventually, records, write_setup};
use super::kills::{HOSTS, policy};
use super::programs::{Finished, finish, program, sallyport};
use super::wire::Hello;

/// What a spreadsheet takes for a formula, as a target, and as the name in a hello, which holds what a head can't.
const FORMULA: &str = "=SUM(1,1)";
const COMMAND: &str = "=cmd|' /C calc'!Z9";

/// A log with a tunnel and refusals, two of them of formulas; the proxy has stopped.
fn stopped() -> TempDir {
    let origin = Origin::new();
    let dir = TempDir::new().unwrap();
    write_setup(dir.path(), &Setup { policy: &policy(origin.port()), more: HOSTS, ..Setup::default() });
    let proxy = Proxy::start_in(dir);
    let tunnel = Tunnel::open(&proxy, "api.acme.test", &origin);
    let client = finish_tunnel(tunnel);
    proxy.record("its close", |record| record["kind"] == "close" && record["client_port"] == client.port());
    for target in ["other.test:443", "other.test:443", FORMULA] {
        let (socket, _) = proxy.ask(format!("CONNECT {target} HTTP/1.1\r\n\r\n").as_bytes());
        proxy.decision_of(socket.local_addr().unwrap());
    }
    let mut socket = established(&proxy, &format!("api.acme.test:{}", origin.port()));
    socket.write_all(&Hello::to(COMMAND).record()).unwrap();
    read_all(&mut socket);
    let (dir, code) = proxy.stop();
    assert_eq!(code, Some(0));
    dir
}

/// Runs the command on the log of a folder; what it makes is `out` there.
fn export(dir: &Path, out: &str, args: &[&str]) -> (Finished, PathBuf) {
    let out = dir.join(out);
    let mut command = sallyport();
    command
        .env_remove("SALLYPORT_TOKEN")
        .args(["audit", "export", "-c"])
        .arg(dir.join("sallyport.yaml"))
        .arg("--out")
        .arg(&out);
    (finish(command.args(args), ""), out)
}

fn manifest(folder: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.join("manifest.json")).unwrap()).unwrap()
}

fn segment(dir: &Path) -> PathBuf {
    dir.join("decisions/segments/000000000000.jsonl")
}

/// Rows by a CSV reader that we did not write.
fn rows(file: &Path) -> Vec<Value> {
    let reader = "import csv, json, sys\nprint(json.dumps(list(csv.DictReader(open(sys.argv[1], newline='')))))";
    let read = finish(program("python3").args(["-c", reader]).arg(file), "");
    serde_json::from_str(&read.out).unwrap_or_else(|_| panic!("{read:?}"))
}

#[test]
fn a_table_joins_and_a_spreadsheet_shows_text() {
    let dir = stopped();
    let (done, folder) = export(dir.path(), "out", &["--format", "csv"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let read = fs::read_to_string(segment(dir.path())).unwrap().lines().count();
    assert_eq!(done.out, format!("{}: {read} records in 5 rows, of {read} that were read\n", folder.display()));
    let table = folder.join("decisions.csv");
    let rows = rows(&table);
    let shown: Vec<(&str, &str, &str)> = rows
        .iter()
        .map(|row| (row["state"].as_str().unwrap(), row["host"].as_str().unwrap(), row["ended_by"].as_str().unwrap()))
        .collect();
    let formula = format!("'{FORMULA}");
    assert_eq!(
        shown,
        [
            ("closed", "api.acme.test", "client_closed"),
            ("refused", "other.test", ""),
            ("refused", "other.test", ""),
            ("refused", &formula, ""),
            ("refused", "api.acme.test", "")
        ]
    );
    assert_eq!(rows[4]["sni"], format!("'{COMMAND}"));
    let log = records(&dir.path().join("decisions"));
    let close = log.iter().find(|record| record["kind"] == "close").unwrap();
    for (column, field) in [("bytes_in", "bytes_in"), ("duration_us", "duration_us"), ("close_seq", "seq")] {
        assert_eq!(rows[0][column], close[field].to_string(), "{column}");
    }
    assert_eq!(rows[0]["decision_time_utc"], log.iter().find(|record| record["id"] == close["id"]).unwrap()["time"]);
    for (name, mode) in [("decisions.csv", 0o640), ("manifest.json", 0o640), ("", 0o750)] {
        let kept = fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(kept & !mode, 0, "`{name}` is for owner and group alone: {kept:o}");
    }

    // The same host in a table that does not care is a formula, so what is looked for can be found.
    let careless = dir.path().join("careless.csv");
    fs::write(&careless, format!("host\r\n\"{FORMULA}\"\r\n")).unwrap();
    for (file, formulas) in [(&table, false), (&careless, true)] {
        let sheet = in_a_spreadsheet(file);
        assert_eq!(sheet.contains("<f>") || sheet.contains("<f "), formulas, "{sheet}");
        let texts = [FORMULA, COMMAND].map(|text| sheet.contains(&format!("<t>{text}</t>")));
        assert_eq!(texts, [!formulas; 2], "their texts are shown: {sheet}");
    }
}

/// The sheet and the texts of it that a spreadsheet of others makes of a file.
fn in_a_spreadsheet(file: &Path) -> String {
    let sheet = file.with_extension("xlsx");
    let made = finish(program("ssconvert").arg(file).arg(&sheet), "");
    assert_eq!(made.code, Some(0), "{made:?}");
    let reader = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\n\
                  print(*(z.read(n).decode() for n in ('xl/worksheets/sheet1.xml', 'xl/sharedStrings.xml') if n in z.namelist()))";
    finish(program("python3").args(["-c", reader]).arg(sheet), "").out.replace("&apos;", "'")
}

#[test]
fn lines_are_the_logs_own_and_the_manifest_says_what_is_whole() {
    let dir = stopped();
    let (done, folder) = export(dir.path(), "out", &["--format", "jsonl"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let log = fs::read(segment(dir.path())).unwrap();
    assert!(fs::read(folder.join("records.jsonl")).unwrap() == log, "byte by byte");
    let said = manifest(&folder);
    let count = log.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!((&said["read"]["records"], &said["exported"]["records"]), (&json!(count), &json!(count)));
    assert_eq!((&said["missing"], &said["exported"]["last_seq"]), (&json!([]), &json!(count - 1)));
    assert_eq!(said["rows"], json!({"closed": 1, "refused": 4}));
    assert_eq!((&said["runs"][0]["ended"], &said["runs"][0]["start_seq"]), (&json!("stopped"), &json!(0)));
    assert_eq!(said["unclosed"], json!({"unclosed": 0, "open": 0, "ids": [], "ids_left_out": 0}));
    assert_eq!((&said["heartbeats"]["complete"], &said["origin"]), (&json!(true), &json!("sallyport/tests")));
    let checkpoint = fs::read_to_string(dir.path().join("decisions/checkpoint")).unwrap();
    assert_eq!((&said["checkpoint_after"]["note"], &said["after_covers_all"]), (&json!(checkpoint), &json!(true)));
    let hash = finish(program("sha256sum").arg(folder.join("records.jsonl")), "").out;
    let file = json!([{"name": "records.jsonl", "bytes": log.len(), "sha256": hash.split(' ').next()}]);
    assert_eq!(said["files"], file);
    assert_eq!(said["export_record"]["left"], "no");
    assert!(done.err.contains("the log has no record of this export: there is no token; give"), "{done:?}");

    let filters = ["--format", "jsonl", "--since", "1h", "--host", "other.test", "--outcome", "deny"];
    let (done, folder) = export(dir.path(), "filtered", &filters);
    assert_eq!(done.code, Some(0), "{done:?}");
    let said = manifest(&folder);
    assert_eq!((&said["exported"]["kinds"], &said["read"]["records"]), (&json!({"decision": 2}), &json!(count)));
    assert_eq!(said["query"]["given"], json!(["--since 1h", "--host other.test", "--outcome deny"]));
    let used = said["query"]["used"].as_object().unwrap();
    assert!(used["since"][0].as_str().unwrap().ends_with('Z') && used.len() == 3, "{used:?}");
    let text = fs::read_to_string(folder.join("records.jsonl")).unwrap();
    assert!(text.lines().count() == 2 && text.lines().all(|line| line.contains("\"host\":\"other.test\"")), "{text}");
    let (done, folder) = export(dir.path(), "none", &["--format", "csv", "--until", "2020-01-01"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(
        (manifest(&folder)["exported"]["records"].clone(), rows(&folder.join("decisions.csv")).len()),
        (json!(0), 0)
    );
}

#[test]
fn events_fit_the_schema_and_broken_ones_do_not() {
    let dir = stopped();
    let (done, folder) = export(dir.path(), "out", &["--format", "ocsf"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let events = fs::read_to_string(folder.join("events.ocsf.jsonl")).unwrap();
    assert_eq!(events.lines().count(), fs::read_to_string(segment(dir.path())).unwrap().lines().count());
    let golden = include_str!("../../src/evidence/ocsf/golden.jsonl");
    let every_kind: String = golden.lines().step_by(2).map(|record| event(record) + "\n").collect();
    let every_reason: String = with_every_reason(golden).iter().map(|record| event(record) + "\n").collect();
    let all = events + &every_kind + &every_reason;
    let verdict = validated(&all);
    assert!(verdict.code == Some(0) && verdict.out == format!("{} fit\n", all.lines().count()), "{verdict:?}");

    for (name, change) in [
        ("an unknown field", json!({"colour": "red"})),
        ("no time", json!({"time": null})),
        ("a time that is a text", json!({"time": "2026-11-21T10:00:01Z"})),
        ("an activity that the class does not have", json!({"activity_id": 77})),
        ("another class's type", json!({"type_uid": 100_801})),
        ("no version of the schema", json!({"metadata": {"product": {"name": "x"}, "profiles": ["datetime"]}})),
    ] {
        for (event, line) in every_kind.lines().zip(1..) {
            let mut broken: Value = serde_json::from_str(event).unwrap();
            let (field, value) = change.as_object().unwrap().iter().next().unwrap();
            broken[field] = value.clone();
            if broken["class_uid"] == 1008 && broken["type_uid"] == 100_801 {
                continue;
            }
            let verdict = validated(&broken.to_string());
            assert_eq!((verdict.code, &*verdict.out), (Some(1), ""), "{name} in event {line}: {verdict:?}");
            break;
        }
    }
}

fn event(record: &str) -> String {
    sallyport::evidence::ocsf::event(record.as_bytes()).unwrap()
}

/// A decision for each reason and a close for each ending, made of the ones that are there.
fn with_every_reason(golden: &str) -> Vec<String> {
    use sallyport::policy::{Ending, Reason};
    let records: Vec<Value> = golden.lines().step_by(2).map(|record| serde_json::from_str(record).unwrap()).collect();
    let of = |kind: &str| records.iter().find(|record| record["kind"] == kind).unwrap();
    let with = |kind: &str, outcome: &str, reason: &str| {
        let mut record = of(kind).clone();
        (record["outcome"], record["reason"]) = (outcome.into(), reason.into());
        record.to_string()
    };
    let mut made = Vec::new();
    for reason in Reason::ALL {
        made.push(with("decision", reason.outcome().as_str(), reason.as_str()));
        if reason.as_str().parse::<Ending>().is_ok() {
            made.push(with("close", "allow", reason.as_str()));
        }
    }
    for ending in [
        "client_closed",
        "server_closed",
        "reset",
        "idle_timeout",
        "lifetime_exceeded",
        "byte_budget_spent",
        "revoked",
        "shutdown",
    ] {
        assert!(ending.parse::<Ending>().is_ok(), "{ending}");
        made.push(with("close", "observe", ending));
    }
    assert!(made.len() > 70, "{}", made.len());
    made
}

/// What the schema says of events, one a line: exit 0 if all fit.
fn validated(events: &str) -> Finished {
    let validator = r#"
import functools, json, sys
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
schema = OcsfJsonSchemaEmbedded(get_ocsf_schema("1.8.0"))
@functools.cache
def of_class(uid, profiles):
    return Draft202012Validator(schema.get_class_schema(schema.lookup_class_name_from_uid(uid), list(profiles)))
events = [json.loads(line) for line in sys.stdin]
faults = []
for number, event in enumerate(events, 1):
    for fault in of_class(event["class_uid"], tuple(event["metadata"]["profiles"])).iter_errors(event):
        faults.append(f"event {number}: {list(fault.absolute_path)}: {fault.message[:200]}")
if faults:
    sys.exit("\n".join(faults))
print(len(events), "fit")
"#;
    finish(program("python3").args(["-c", validator]), events)
}

#[test]
fn nothing_is_written_over_and_bad_calls_say_why() {
    let dir = stopped();
    fs::create_dir(dir.path().join("there")).unwrap();
    let empty = TempDir::new().unwrap();
    let no_log = empty.path().display().to_string();
    for (out, args, code, says) in [
        ("there", &["--format", "csv"][..], 2, "name a folder that is not there yet"),
        ("a/b", &["--format", "csv"], 3, "can't make"),
        ("x", &["--format", "csv", &no_log], 3, "name the directory of a log"),
        ("x", &["--format", "xml"], 2, "invalid value 'xml'"),
        ("x", &[], 2, "--format"),
        ("x", &["--format", "csv", "--since", "soon"], 2, "`--since`: `soon` is no time"),
        ("x", &["--format", "csv", "--reason", "sni_missmatch"], 2, "`sni_mismatch`"),
        ("x", &["--format", "csv", "--token-file", "missing"], 3, "missing"),
    ] {
        let (done, _) = export(dir.path(), out, args);
        assert!(done.code == Some(code) && done.err.contains(says) && done.out.is_empty(), "{args:?}: {done:?}");
    }
    assert_eq!(fs::read_dir(dir.path().join("there")).unwrap().count(), 0);
    assert!(!dir.path().join("x").exists(), "what can't be begun leaves nothing");
}

#[test]
fn a_segment_that_is_gone_is_named_and_tunnels_without_an_end_are_listed() {
    let dir = stopped();
    let text = fs::read_to_string(segment(dir.path())).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let close = lines.iter().position(|line| line.contains("\"kind\":\"close\"")).unwrap();
    let decision = lines.iter().position(|line| line.contains("\"outcome\":\"allow\"")).unwrap();
    fs::write(segment(dir.path()), lines[..close].concat()).unwrap();
    let rest = dir.path().join(format!("decisions/segments/{:012}.jsonl", close + 1));
    fs::write(rest, lines[close + 1..].concat()).unwrap();
    let (done, folder) = export(dir.path(), "out", &["--format", "csv", "-o", "json"]);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.err.contains("records are missing: see `missing` in the manifest"), "{done:?}");
    let said = manifest(&folder);
    assert_eq!(said["missing"], json!([{"from": close, "to": close}]));
    let id = serde_json::from_str::<Value>(lines[decision]).unwrap()["id"].clone();
    assert_eq!(said["unclosed"], json!({"unclosed": 0, "open": 1, "ids": [id], "ids_left_out": 0}));
    let printed: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((&printed["missing"], &printed["folder"]), (&said["missing"], &json!(folder.display().to_string())));

    fs::write(segment(dir.path()), text.replacen("\"seq\":2,", "\"seq\":3,", 1)).unwrap();
    let (done, folder) = export(dir.path(), "bad", &["--format", "csv"]);
    assert!(done.code == Some(3) && done.err.contains("segments/000000000000.jsonl"), "{done:?}");
    assert!(!folder.join("manifest.json").exists(), "without a manifest it is no export");
}

/// A proxy with a token, with or without TLS on its admin port, and a configuration that knows the port it got.
fn guarded(tls: bool) -> (Proxy, String) {
    let dir = TempDir::new().unwrap();
    let made = finish(sallyport().args(["keys", "new", "token", "--name", "qsa-2026", "--role", "auditor"]), "");
    let (token, line) = made.out.trim_end().split_once('\n').unwrap_or_else(|| panic!("{made:?}"));
    fs::write(dir.path().join("tokens.yaml"), format!("tokens:\n  {line}\n")).unwrap();
    fs::write(dir.path().join("token"), format!("{token}\n")).unwrap();
    for name in ["admin", "other"] {
        let mut openssl = program("openssl");
        openssl.args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=admin", "-newkey", "ed25519", "-keyout"]);
        openssl.arg(dir.path().join(format!("{name}.key"))).arg("-out").arg(dir.path().join(format!("{name}.pem")));
        let made = finish(&mut openssl, "");
        assert_eq!(made.code, Some(0), "{made:?}");
    }
    let keys = if tls { "tls: {certificate: admin.pem, key: admin.key}, " } else { "" };
    let admin = format!("{keys}tokens: tokens.yaml");
    write_setup(dir.path(), &Setup { policy: "rules: []\n", admin: &admin, ..Setup::default() });
    let proxy = Proxy::start_in(dir);
    let config = proxy.dir.path().join("sallyport.yaml");
    let text = fs::read_to_string(&config).unwrap();
    let address = format!("admin: {{address: \"{}\"", proxy.admin);
    fs::write(&config, text.replace("admin: {address: \"127.0.0.1:0\"", &address)).unwrap();
    (proxy, token.to_owned())
}

#[test]
fn a_running_instance_has_a_record_of_it() {
    for tls in [false, true] {
        let (proxy, token) = guarded(tls);
        let dir = proxy.dir.path();
        let token_file = dir.join("token").display().to_string();
        let (done, folder) = export(dir, "out", &["--format", "jsonl", "--kind", "start", "--token-file", &token_file]);
        assert!(done.code == Some(0) && done.err.is_empty(), "{done:?}");
        let said = manifest(&folder);
        let record = eventually("the record", Instant::now() + PATIENCE, || {
            proxy.records().into_iter().find(|record| record["kind"] == "export")
        });
        assert_eq!(said["export_record"], json!({"left": "yes", "id": record["id"]}), "tls: {tls}");
        assert_eq!(record["actor"], "qsa-2026");
        let what = &record["detail"]["what"];
        assert_eq!((&what["sha256"], &what["records"]), (&said["files"][0]["sha256"], &json!(1)), "{record}");
        assert_eq!((&what["query"], &what["first_seq"]), (&json!("--kind start"), &json!(0)), "{record}");

        let mut command = sallyport();
        command.args(["audit", "export", "--format", "csv", "-c"]).arg(dir.join("sallyport.yaml"));
        command.env("SALLYPORT_TOKEN", &token).current_dir(dir);
        let done = finish(&mut command, "");
        assert!(done.code == Some(0) && done.err.is_empty() && done.out.starts_with("sallyport-export-2"), "{done:?}");

        fs::write(dir.join("wrong"), format!("sallyport_{}", "A".repeat(43))).unwrap();
        let wrong = dir.join("wrong").display().to_string();
        let (done, folder) = export(dir, "wrong-token", &["--format", "csv", "--token-file", &wrong]);
        let why = manifest(&folder)["export_record"]["why"].as_str().unwrap().to_owned();
        assert!(done.code == Some(0) && why.contains("it answers 401") && done.err.contains(&why), "{done:?} {why}");
    }
}

#[test]
fn a_token_goes_to_the_instance_alone() {
    let (proxy, _) = guarded(true);
    let dir = proxy.dir.path();
    let token_file = dir.join("token").display().to_string();
    let config = dir.join("sallyport.yaml");
    let text = fs::read_to_string(&config).unwrap();
    for (name, from, to, says) in [
        (
            "other-certificate",
            "certificate: admin.pem, key: admin.key",
            "certificate: other.pem, key: other.key",
            "certificate",
        ),
        ("other-instance", "instance: tests", "instance: tests2", "is of the instance that writes `sallyport/tests2`"),
        ("closed", &*format!("\"{}\"", proxy.admin), "\"127.0.0.1:1\"", "127.0.0.1:1"),
        ("no-policy", "policy: policy.yaml", "policy: missing.yaml", "without its configuration"),
    ] {
        fs::write(&config, text.replace(from, to)).unwrap();
        let log = dir.join("decisions").display().to_string();
        let (done, folder) = export(dir, name, &["--format", "csv", "--token-file", &token_file, &log]);
        let why = manifest(&folder)["export_record"]["why"].as_str().unwrap().to_owned();
        assert!(done.code == Some(0) && why.contains(says), "{name}: {done:?} {why}");
    }
    let exports = proxy.records().into_iter().filter(|record| record["kind"] == "export");
    assert_eq!(exports.count(), 0);
}
