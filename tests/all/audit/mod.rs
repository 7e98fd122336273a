//! `audit verify` from outside, on a log that the real binary wrote: damage, kept checkpoints, keys, a proxy that goes on writing.
//! Also a verifier that somebody else wrote. Not here: every row of damage (`decision_log::verify`).
//! Source: C2SP tlog-tiles, tlog-checkpoint, tlog-proof, by `aics-tlog`.

mod scan;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tempfile::TempDir;

use crate::harness::{PATIENCE, Proxy, Setup, eventually, records, write_setup};
use crate::programs::{Finished, finish, program, sallyport};

/// Enough for two full tiles.
const REFUSALS: usize = 600;

fn verify(log: &Path, args: &[&str]) -> Finished {
    finish(sallyport().args(["audit", "verify"]).args(args).arg(log), "")
}

fn folder() -> TempDir {
    let dir = TempDir::new().unwrap();
    write_setup(dir.path(), &Setup::default());
    dir
}

/// Refusals, which leave a record each.
fn refuse(proxy: &Proxy, count: usize) {
    for _ in 0..count {
        let (_, answer) = proxy.ask(b"CONNECT other.test:443 HTTP/1.1\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    }
}

/// A log of two runs that has ended, and the checkpoint as it was behind the first.
fn log() -> (TempDir, String) {
    let proxy = Proxy::start_in(folder());
    refuse(&proxy, 20);
    let (dir, code) = proxy.stop();
    assert_eq!(code, Some(0));
    let kept = fs::read_to_string(dir.path().join("decisions/checkpoint")).unwrap();
    let proxy = Proxy::start_in(dir);
    refuse(&proxy, REFUSALS);
    let (dir, code) = proxy.stop();
    assert_eq!(code, Some(0));
    (dir, kept)
}

/// The log's directory copied, so that it can be damaged.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

const SEGMENT: &str = "segments/000000000000.jsonl";

fn rewrite(log: &Path, change: impl FnOnce(&mut Vec<String>)) {
    let path = log.join(SEGMENT);
    let mut lines: Vec<String> = fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
    change(&mut lines);
    fs::write(path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

fn flip(path: PathBuf, at: usize) {
    let mut bytes = fs::read(&path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

type Damage = fn(&Path);

const ROWS: [(&str, Damage, &str); 13] = [
    ("flip", |log| flip(log.join(SEGMENT), 300), "bad segments/000000000000.jsonl:1: record 0 was changed\n"),
    (
        "delete",
        |log| rewrite(log, |lines| drop(lines.remove(400))),
        "bad segments/000000000000.jsonl:401: record 400 is missing: this is record 401\n",
    ),
    (
        "swap",
        |log| rewrite(log, |lines| lines.swap(400, 401)),
        "bad segments/000000000000.jsonl:401: record 400 is in line 402: this is record 401\n",
    ),
    (
        "put in",
        |log| rewrite(log, |lines| lines.insert(400, lines[400].replace("other.test", "0ther.test"))),
        "bad segments/000000000000.jsonl:401: record 400 was put in before the one that was signed, in line 402\n",
    ),
    (
        "truncate",
        |log| rewrite(log, |lines| lines.truncate(500)),
        "bad segments/000000000000.jsonl: the log ends with 500 records; `checkpoint` signs ",
    ),
    (
        "no segment",
        |log| fs::remove_file(log.join(SEGMENT)).unwrap(),
        "bad segments: the log ends with 0 records; `checkpoint` signs ",
    ),
    ("a tile", |log| flip(log.join("tile/0/001"), 33), "bad tile/0/001: hash 1 is not that of the records\n"),
    ("no tile", |log| fs::remove_file(log.join("tile/0/000")).unwrap(), "bad tile/0/000: is missing\n"),
    (
        "a foreign file",
        |log| fs::write(log.join("tile/notes"), "").unwrap(),
        "bad tile/notes: does not belong to a log",
    ),
    (
        "a link",
        |log| {
            fs::rename(log.join("tile"), log.with_file_name("tiles")).unwrap();
            symlink(log.with_file_name("tiles"), log.join("tile")).unwrap();
        },
        "bad tile: is a symbolic link",
    ),
    (
        "the checkpoint",
        |log| {
            let text = fs::read_to_string(log.join("checkpoint")).unwrap();
            fs::write(log.join("checkpoint"), text.replacen("sallyport/tests\n6", "sallyport/tests\n5", 1)).unwrap();
        },
        "bad checkpoint: the signature of `sallyport/tests+",
    ),
    ("no checkpoint", |log| fs::remove_file(log.join("checkpoint")).unwrap(), "bad checkpoint: is missing\n"),
    (
        "the key",
        |log| fs::write(log.join("log.vkey"), "sallyport/tests+1+x\n").unwrap(),
        "bad log.vkey: not a verifier key",
    ),
];

#[test]
fn a_log_is_verified_and_every_damage_is_named() {
    let (dir, kept) = log();
    let log = dir.path().join("decisions");
    let count = records(&log).len();
    let kept_path = dir.path().join("kept");
    fs::write(&kept_path, &kept).unwrap();
    let kept_path = kept_path.to_str().unwrap();

    let checkpoint = fs::read_to_string(log.join("checkpoint")).unwrap();
    let root = checkpoint.lines().nth(2).unwrap();
    let good = verify(&log, &["--checkpoint", kept_path]);
    assert_eq!((good.code, good.out.as_str()), (Some(0), format!("ok {count} {root}\n").as_str()), "{good:?}");

    for (name, damage, want) in ROWS {
        let damaged = dir.path().join(name).join("log");
        copy(&log, &damaged);
        damage(&damaged);
        let bad = verify(&damaged, &[]);
        assert_eq!(bad.code, Some(1), "{name}: {bad:?}");
        assert!(bad.out.starts_with(want) && bad.out.lines().count() == 1, "{name}: {bad:?}");
    }
}

/// Cut back to what the first run left: nothing in the log itself shows it, a checkpoint that was kept does.
#[test]
fn a_log_that_was_cut_back_is_found_by_a_checkpoint_that_was_kept() {
    let proxy = Proxy::start_in(folder());
    refuse(&proxy, 20);
    let (dir, _) = proxy.stop();
    let (log, early) = (dir.path().join("decisions"), dir.path().join("early"));
    copy(&log, &early);
    let proxy = Proxy::start_in(dir);
    refuse(&proxy, 20);
    let (dir, _) = proxy.stop();
    let kept = dir.path().join("decisions/checkpoint");
    let kept = kept.to_str().unwrap();
    assert_eq!(verify(&early, &[]).code, Some(0));
    let signed = fs::read_to_string(kept).unwrap().lines().nth(1).unwrap().to_owned();
    let bad = verify(&early, &["--checkpoint", kept]);
    let has = records(&early).len();
    let want = format!("bad {SEGMENT}: the log ends with {has} records; `{kept}` signs {signed}\n");
    assert_eq!((bad.code, bad.out), (Some(1), want));
    // The same name and size, another history.
    let (other, _) = Proxy::start_in(folder()).stop();
    let others = other.path().join("decisions/checkpoint");
    let bad = verify(&log, &["--checkpoint", others.to_str().unwrap()]);
    assert_eq!(bad.code, Some(1), "{bad:?}");
    assert!(bad.out.starts_with(&format!("bad {}: not signed by", others.display())), "{bad:?}");
}

#[test]
fn keys_forms_and_exit_codes() {
    let (dir, _) = Proxy::start_in(folder()).stop();
    let log = dir.path().join("decisions");
    let path = log.join("log.vkey").display().to_string();
    let vkey = fs::read_to_string(&path).unwrap().trim_end().to_owned();
    let (other, _) = Proxy::start_in(folder()).stop();
    let stranger = other.path().join("decisions/log.vkey").display().to_string();
    let missing = dir.path().join("missing").display().to_string();
    for (name, args, code, says) in [
        ("its own key", vec![], 0, "compare it with one that you keep"),
        ("the key as text", vec!["--key", &vkey], 0, "checkpoints within the records are good"),
        ("the key in a file", vec!["--key", &path], 0, "checkpoints within the records are good"),
        ("another's key", vec!["--key", &stranger], 1, ""),
        ("no key", vec!["--key", "x+y"], 2, "`--key`: not a verifier key"),
        ("no file", vec!["--key", &missing], 3, "missing: "),
        ("no checkpoint", vec!["--checkpoint", &missing], 3, "missing: "),
        ("no such flag", vec!["--nope"], 2, "--nope"),
    ] {
        let ended = verify(&log, &args);
        assert_eq!(ended.code, Some(code), "{name}: {ended:?}");
        assert!(ended.err.contains(says), "{name}: {ended:?}");
        assert!(args.is_empty() || !ended.err.contains("the log's own"), "{name}: {ended:?}");
        assert_eq!(ended.out.lines().count(), usize::from(code < 2), "{name}: {ended:?}");
    }
    let ended = verify(&dir.path().join("nowhere"), &[]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(3), ""), "{ended:?}");

    let config = dir.path().join("sallyport.yaml");
    let ended = finish(sallyport().args(["audit", "verify", "-o", "json", "-c"]).arg(&config), "");
    let answer: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&answer["ok"], &answer["size"]), (&true.into(), &records(&log).len().into()), "{ended:?}");
    rewrite(&log, |lines| lines[0] = lines[0].replace("tests", "tasts"));
    let ended = finish(sallyport().args(["audit", "verify", "-o", "json", "-c"]).arg(&config), "");
    let answer: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    let want = serde_json::json!({"ok": false, "file": SEGMENT, "line": 1, "what": "record 0 was changed"});
    assert_eq!((ended.code, answer), (Some(1), want));
}

#[test]
fn a_log_is_good_while_a_proxy_writes_it() {
    let proxy = Proxy::start_in(folder());
    let log = proxy.dir.path().join("decisions");
    eventually("a checkpoint", Instant::now() + PATIENCE, || log.join("checkpoint").exists().then_some(()));
    let mut sizes = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| refuse(&proxy, REFUSALS));
        for _ in 0..10 {
            let ended = verify(&log, &[]);
            assert_eq!(ended.code, Some(0), "{ended:?}");
            sizes.push(ended.out.split(' ').nth(1).unwrap().parse::<u64>().unwrap());
        }
    });
    assert!(sizes.is_sorted(), "{sizes:?}");
    // A record that is half written.
    let (dir, _) = proxy.stop();
    let log = dir.path().join("decisions");
    let mut segment = OpenOptions::new().append(true).open(log.join(SEGMENT)).unwrap();
    segment.write_all(b"{\"v\":1,\"seq\":").unwrap();
    let ended = verify(&log, &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.err.contains("13 bytes are no whole record"), "{ended:?}");
}

#[test]
fn a_verifier_that_others_wrote_agrees() {
    let (dir, _) = log();
    let log = dir.path().join("decisions");
    let vkey = fs::read_to_string(log.join("log.vkey")).unwrap();
    let all = records(&log);
    let refused = all.iter().rfind(|record| record["kind"] == "decision").unwrap();
    let proved = finish(sallyport().args(["audit", "prove", refused["id"].as_str().unwrap()]).arg(&log), "");
    assert_eq!(proved.code, Some(0), "{proved:?}");
    let proof = dir.path().join("record.tlog-proof");
    fs::write(&proof, &proved.out).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tlog.py");
    let check = |log: &Path| finish(program("python").arg(script).arg(log).arg(vkey.trim_end()).arg(&proof), "");
    let checked = check(&log);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.out.contains(&format!("{} records", all.len())), "{checked:?}");
    for (name, damage) in
        [("tile", (|log| flip(log.join("tile/0/001"), 33)) as Damage), ("record", |log| flip(log.join(SEGMENT), 300))]
    {
        let damaged = dir.path().join(name);
        copy(&log, &damaged);
        damage(&damaged);
        let checked = check(&damaged);
        assert_eq!(checked.code, Some(1), "{name}: {checked:?}");
    }
}
