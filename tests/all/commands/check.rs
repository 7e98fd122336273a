//! `check`: every fault at its place, and the same answers as `run` has, without making, locking or waiting for anything.
//! Not here: what each key and rule may say, which the modules' own tables have.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::{good, run};
use crate::harness::{Proxy, Setup, write_setup};

const FAULTY: &str = r#"listeners:
  - {name: edge, address: 127.0.0.1}
policy: policies/
limits: {connections: many, head_timeout: 5}
decision_log: {durability: on, retention: 400d, colour: red}
"#;

const FAULTY_POLICY: &str = r#"version: 1
require: [owner]
sources:
  - {name: east, subnets: [10.0.0.1/24]}
rules:
  - id: acme/api
    customer: acme
    sources: [eas]
    hosts: ["*.co.uk"]
    portz: [443]
    tls: {min_version: "1.2"}
    owner: a@acme.example
"#;

#[test]
fn check_names_ten_faults_by_their_places() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("policies")).unwrap();
    fs::write(dir.path().join("sallyport.yaml"), FAULTY).unwrap();
    fs::write(dir.path().join("policies/a.yaml"), FAULTY_POLICY).unwrap();
    let checked = run(dir.path(), &["check"]);
    assert_eq!((checked.code, &*checked.out), (Some(2), ""), "{checked:?}");
    let want = [
        ("sallyport.yaml:2:27", "`127.0.0.1` is no address", "write `IP:PORT`"),
        ("sallyport.yaml:4:23", "`many`", "write a whole number"),
        ("sallyport.yaml:4:43", "without a unit", "such as `5s`"),
        ("sallyport.yaml:5:28", "`on`", "write one of `sync`, `async`"),
        ("sallyport.yaml:5:32", "not available in this version", "remove it"),
        ("sallyport.yaml:5:49", "unknown key `colour`", "remove it"),
        ("policies/a.yaml:4:28", "host bits in `10.0.0.1/24`", "write `10.0.0.0/24`"),
        ("policies/a.yaml:8:15", "unknown source `eas`", "did you mean `east`?"),
        ("policies/a.yaml:9:13", "right below a public suffix", "write a longer name"),
        ("policies/a.yaml:10:5", "unknown key `portz`", "did you mean `ports`?"),
    ];
    let lines: Vec<&str> = checked.err.lines().collect();
    assert_eq!(lines.len(), want.len(), "{}", checked.err);
    for (line, (place, wrong, instead)) in lines.into_iter().zip(want) {
        let start = format!("{}/{place}: ", dir.path().display());
        let Some((what, then)) = line.strip_prefix(&start).and_then(|rest| rest.split_once("; ")) else {
            panic!("{line}: not at {place}")
        };
        assert!(what.contains(wrong) && then.contains(instead), "{line}");
    }
    for command in ["run", "explain --source 127.0.0.1 --target a.example:443"] {
        let words: Vec<&str> = command.split(' ').collect();
        let ended = run(dir.path(), &words);
        assert_eq!((ended.code, &ended.err), (Some(2), &checked.err), "{command} says the same");
    }
}

#[test]
fn check_of_good_files_makes_nothing() {
    let dir = good(443);
    let text = run(dir.path(), &["check"]);
    assert_eq!((text.code, &*text.err), (Some(0), ""), "{text:?}");
    assert!(text.out.starts_with("ok: 8 rules, 2 sources, policy "), "{text:?}");
    let json = run(dir.path(), &["check", "-o", "json"]);
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&json["ok"], &json["rules"], &json["sources"]), (&true.into(), &8.into(), &2.into()), "{json}");
    assert!(text.out.contains(json["policy"].as_str().unwrap()), "{json}");
    assert_eq!(names(dir.path()), ["policy.yaml", "sallyport.yaml"]);
}

/// What lies in a folder, in order.
fn names(folder: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

/// Commands that load the same files, and so say the same of them.
const LOADING: [&str; 3] = ["check", "run", "explain --source 127.0.0.1 --target a.example:443"];

fn words(command: &str) -> Vec<&str> {
    command.split(' ').collect()
}

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success(), "mkfifo");
}

#[test]
fn a_file_that_cannot_be_read_hides_no_other_fault() {
    let dir = TempDir::new().unwrap();
    let policies = dir.path().join("policies");
    fs::create_dir_all(policies.join("deep")).unwrap();
    write_setup(dir.path(), &Setup { more: "colour: red\n", ..Setup::default() });
    let config = dir.path().join("sallyport.yaml");
    let text = fs::read_to_string(&config).unwrap().replace("policy: policy.yaml", "policy: policies/");
    fs::write(&config, &text).unwrap();
    symlink("nowhere", policies.join("gone.yaml")).unwrap();
    fifo(&policies.join("deep/pipe.yaml"));
    let rule = "{id: a, customer: a, sources: [east], hosts: [a.example], portz: [1]}";
    fs::write(policies.join("rules.yaml"), format!("version: 1\nrules:\n  - {rule}\n")).unwrap();
    let at = dir.path().display();
    let gone =
        format!("{at}/sallyport.yaml:3:9: {at}/policies/gone.yaml: No such file or directory (os error 2); check");
    let pipe = format!("{at}/sallyport.yaml:3:9: {at}/policies/deep/pipe.yaml: not a regular file; check the path and");
    let colour = format!("{at}/sallyport.yaml:6:1: unknown key `colour`");
    let portz = format!("{at}/policies/rules.yaml:3:63: unknown key `portz`; did you mean `ports`?");
    for command in LOADING {
        let ended = run(dir.path(), &words(command));
        assert_eq!(ended.code, Some(2), "{command}: {ended:?}");
        let lines: Vec<&str> = ended.err.lines().collect();
        let want = [&gone, &pipe, &colour, &portz];
        assert_eq!(lines.len(), want.len(), "{command}: the source `east` may stand in a missing file: {lines:#?}");
        want.iter().zip(&lines).for_each(|(want, line)| assert!(line.starts_with(*want), "{command}: {line}\n{want}"));
    }
    fs::write(&config, text.replace("colour: red\n", "")).unwrap();
    fs::write(policies.join("rules.yaml"), "version: 1\n").unwrap();
    for command in LOADING {
        let ended = run(dir.path(), &words(command));
        assert_eq!(
            (ended.code, ended.err.lines().count()),
            (Some(3), 2),
            "{command}, nothing else is wrong: {ended:?}"
        );
        assert!(ended.err.starts_with(&gone), "{command}: {ended:?}");
    }
}

#[test]
fn bytes_that_are_no_utf_8_have_a_place() {
    let dir = good(443);
    let spoil = |name: &str, line: &[u8]| {
        let path = dir.path().join(name);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole, line].concat()).unwrap();
        whole
    };
    let whole = spoil(
        "policy.yaml",
        b"  - {id: b, customer: b, sources: [near], hosts: [b.test], owner: M\xfcller, portz: [1]}\n",
    );
    let place = |name: &str, line: usize, column: usize| format!("{}/{name}:{line}:{column}: ", dir.path().display());
    let line = whole.iter().filter(|byte| **byte == b'\n').count() + 1;
    let want = [
        format!("{}the byte 0xfc is no UTF-8; save the file as UTF-8\n", place("policy.yaml", line, 68)),
        format!("{}unknown key `portz`; did you mean `ports`?\n", place("policy.yaml", line, 75)),
    ];
    for command in LOADING {
        let ended = run(dir.path(), &words(command));
        assert_eq!((ended.code, &ended.err), (Some(2), &want.concat()), "{command}");
    }
    fs::write(dir.path().join("policy.yaml"), whole).unwrap();
    let whole = spoil("sallyport.yaml", b"# \xe4\n");
    let line = whole.iter().filter(|byte| **byte == b'\n').count() + 1;
    for command in LOADING {
        let ended = run(dir.path(), &words(command));
        let want = format!("{}the byte 0xe4 is no UTF-8; save the file as UTF-8\n", place("sallyport.yaml", line, 3));
        assert_eq!((ended.code, ended.err), (Some(2), want), "{command}");
    }
}

#[test]
fn nothing_waits_for_a_pipe() {
    for name in ["sallyport.yaml", "policy.yaml", "log.key"] {
        let dir = good(443);
        let _ = fs::remove_file(dir.path().join(name));
        fifo(&dir.path().join(name));
        for command in LOADING {
            if (name, command) == ("log.key", LOADING[2]) {
                continue;
            }
            let ended = run(dir.path(), &words(command));
            assert_eq!(ended.code, Some(3), "{command} with a pipe as {name}: {ended:?}");
            assert!(ended.err.contains(name) && ended.err.contains("not a regular file"), "{command}: {ended:?}");
        }
    }
}

/// The folder of a proxy that has run and so has a key and a log.
fn begun() -> TempDir {
    let (dir, code) = Proxy::start_in(good(443)).stop();
    assert_eq!(code, Some(0));
    dir
}

#[test]
fn keys_are_judged_as_run_judges_them() {
    let mode = |dir: &Path, mode| fs::set_permissions(dir.join("log.key"), fs::Permissions::from_mode(mode)).unwrap();
    let write = |dir: &Path, text: &[u8]| {
        fs::write(dir.join("log.key"), text).unwrap();
        mode(dir, 0o600);
    };
    let configure = |dir: &Path, from: &str, to: &str| {
        let text = fs::read_to_string(dir.join("sallyport.yaml")).unwrap();
        fs::write(dir.join("sallyport.yaml"), text.replace(from, to)).unwrap();
    };
    type Spoil<'a> = &'a dyn Fn(&Path);
    let rows: [(&str, Spoil, i32, &str); 8] = [
        ("everybody may read it", &|dir| mode(dir, 0o644), 2, "everybody may read or write the key"),
        ("no key", &|dir| write(dir, b"no key"), 2, "not a private key in PEM"),
        ("not even text", &|dir| write(dir, b"\xff\xfe"), 2, "not a private key in PEM"),
        ("another name", &|dir| configure(dir, "instance: tests", "instance: other"), 2, "sallyport/other+"),
        ("the key is lost", &|dir| fs::remove_file(dir.join("log.key")).unwrap(), 2, "log.vkey"),
        ("a folder", &|dir| configure(dir, "key: log.key", "key: decisions"), 3, "not a regular file"),
        ("no folder for it", &|dir| configure(dir, "key: log.key", "key: no/log.key"), 3, "no/log.key"),
        ("all is well", &|_| {}, 0, ""),
    ];
    for (name, spoil, code, says) in rows {
        let dir = begun();
        spoil(dir.path());
        let before = names(dir.path());
        let checked = run(dir.path(), &["check"]);
        assert_eq!(checked.code, Some(code), "check: {name}: {checked:?}");
        assert!(checked.err.contains(says), "check: {name}: {checked:?}");
        assert_eq!(names(dir.path()), before, "check: {name}: it makes nothing");
        if code == 0 {
            Proxy::start_in(dir).stop();
            continue;
        }
        let ran = run(dir.path(), &["run"]);
        assert_eq!(ran.code, Some(code), "run: {name}: {ran:?}");
        assert!(ran.err.contains(says), "run: {name}: {ran:?}");
    }
}

#[test]
fn check_beside_a_running_proxy() {
    let proxy = Proxy::start_in(good(443));
    let checked = run(proxy.dir.path(), &["check"]);
    assert_eq!((checked.code, &*checked.err), (Some(0), ""), "{checked:?}");
    let second = run(proxy.dir.path(), &["run"]);
    assert_eq!(second.code, Some(3), "the log is locked: {second:?}");
}

#[test]
fn faults_that_name_another_place_name_it_in_full() {
    let dir = good(443);
    let path = dir.path().join("policy.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let rule = "  - {id: acme/again, customer: acme, sources: [near], hosts: [api.acme.test]}\n";
    fs::write(&path, format!("{text}{rule}{rule}")).unwrap();
    let checked = run(dir.path(), &["check"]);
    let (own, other) = (format!("{}:", path.display()), format!("at {}:", path.display()));
    let lines: Vec<&str> = checked.err.lines().collect();
    assert!(lines.len() >= 2 && lines.iter().any(|line| line.contains(" ties with ")), "{checked:?}");
    for line in lines {
        assert!(line.starts_with(&own) && line.contains(&other), "{line}");
    }
}
