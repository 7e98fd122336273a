//! The rig from outside: a trial of a comparison with real programs, its report, and its end by a signal.
//! Not here: figures; a trial has none. Needs root, dnsmasq and ip(8); without them it says so and shows nothing.
#![expect(clippy::unwrap_used, reason = "functions of a test that can't go on stop")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::Value;

/// The tests of this file spend cores: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs its words in a network of their own, so that no port is in use.
const OWN_NETWORK: &str = "ip link set lo up && exec \"$@\"";

/// Why nothing can be tried here.
fn obstacle() -> Option<&'static str> {
    let there =
        |program: &str| ["/usr/sbin", "/usr/bin", "/sbin"].iter().any(|dir| Path::new(dir).join(program).exists());
    let mut unshare = Command::new("unshare");
    if !geteuid().is_root() {
        return Some("needs root");
    }
    if !unshare.args(["-mn", "true"]).status().is_ok_and(|status| status.success()) {
        return Some("namespaces can't be made");
    }
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return Some("needs two cores");
    }
    ["dnsmasq", "ip"].into_iter().find(|program| !there(program))
}

/// The product, if the same target directory has it.
fn sallyport() -> Option<PathBuf> {
    Some(Path::new(env!("CARGO_BIN_EXE_rig")).with_file_name("sallyport")).filter(|path| path.is_file())
}

/// Starts the rig. Its process id is that of the child: each word before it replaces itself.
fn rig(words: &[&str]) -> Child {
    Command::new("unshare")
        .args(["-n", "sh", "-c", OWN_NETWORK, "sh", env!("CARGO_BIN_EXE_rig")])
        .args(words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Nothing that this run started is there any more, nor is its folder.
fn assert_all_gone(id: u32) {
    let folder = format!("/var/tmp/sallyport-bench-{id}");
    assert!(!Path::new(&folder).exists(), "{folder} is left");
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        let is_ours = words.contains(&folder) || words.starts_with(env!("CARGO_BIN_EXE_rig"));
        assert!(!is_ours, "still running: {words}");
    }
}

fn records(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn a_trial_gives_every_cell_and_a_page() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(obstacle) = obstacle() {
        return println!("skipped: {obstacle}");
    }
    let folder = tempfile::tempdir().unwrap();
    let [out, page, chart] = ["results", "page.md", "chart.svg"].map(|file| folder.path().join(file));
    let (out_text, ours) = (out.to_str().unwrap(), sallyport());
    let mut words =
        vec!["compare", "--quick", "--anyway", "--rounds=1", "--shapes=connect,deny,down", "--out", out_text];
    let mut subjects = vec!["floor-shared64k"];
    if let Some(path) = ours.as_ref().and_then(|path| path.to_str()) {
        words.extend(["--sallyport", path, "--subjects=floor-shared64k,sallyport-async"]);
        subjects.push("sallyport-async");
    } else {
        words.push("--subjects=floor-shared64k");
    }
    let child = rig(&words);
    let id = child.id();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_all_gone(id);
    let records = records(&out);
    for subject in &subjects {
        for (shape, figure) in [("connect", "cpu_per_tunnel"), ("deny", "cpu_per_denial"), ("down", "cpu_per_gb")] {
            let cell = records.iter().find(|record| record["subject"] == *subject && record["shape"] == shape);
            let sample = &cell.unwrap()["sample"];
            assert!(sample["figures"][figure].as_f64().is_some_and(|value| value > 0.0), "{subject} {shape}: {sample}");
            assert_eq!(sample["failures"], serde_json::json!({}), "{subject} {shape}");
        }
    }
    fs::write(&page, "before\n<!-- bench:begin -->\n<!-- bench:end -->\nafter\n").unwrap();
    let report = ["report", out_text, "--page", page.to_str().unwrap(), "--chart", chart.to_str().unwrap()];
    assert_eq!(rig(&report).wait_with_output().unwrap().status.code(), Some(0));
    let page = fs::read_to_string(&page).unwrap();
    assert!(page.starts_with("before\n") && page.ends_with("after\n"), "{page}");
    for part in ["no figures", "| floor-shared64k | 1", "### `down`", "](chart.svg)"] {
        assert!(page.contains(part), "`{part}` is not in {page}");
    }
    assert_eq!(fs::read_to_string(&chart).unwrap().contains("sallyport-async"), subjects.len() == 2);
}

#[test]
fn a_signal_ends_all_that_was_started() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(obstacle) = obstacle() {
        return println!("skipped: {obstacle}");
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("results");
    let common = ["compare", "--quick", "--anyway", "--subjects=floor-shared64k", "--shapes=rr1,idle"];
    let mut child = rig(&[&common[..], &["--out", out.to_str().unwrap()]].concat());
    let id = child.id();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line.contains("rr1: 0 failures")), "no cell");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert_all_gone(id);
}

/// A program of this name that is busy until it is dropped. It is no child of the rig's.
struct Busy(Child);

const BUSY: &str = "no-part-of-rig";

impl Busy {
    fn start(folder: &Path) -> Self {
        let program = folder.join(BUSY);
        std::os::unix::fs::symlink("/bin/sh", &program).unwrap();
        Self(Command::new(program).args(["-c", "while :; do :; done"]).spawn().unwrap())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_busy_machine_is_refused_or_told() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(obstacle) = obstacle() {
        return println!("skipped: {obstacle}");
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("results");
    let busy = Busy::start(folder.path());
    let quick = ["compare", "--quick", "--rounds=1", "--subjects=floor-shared64k", "--shapes=rr1", "--out"];
    let words = [&quick[..], &[out.to_str().unwrap()]].concat();
    for more in [&[][..], &["--check"]] {
        let output = rig(&[&words[..], more].concat()).wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{more:?}: {said}");
        let named = format!("`{BUSY}` ({})", busy.0.id());
        assert!(said.contains(&named) && said.contains("--anyway"), "{more:?}: {said}");
    }
    assert!(!out.exists(), "a refusal writes results");
    let anyway = [&words[..], &["--anyway", "--command", "make bench"]].concat();
    let output = rig(&anyway).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let records = records(&out);
    assert!(records[0]["busy"].as_f64().is_some_and(|cores| cores > 0.25), "{:?}", records[0]);
    assert_eq!(records[0]["command"], "make bench");
    let output = rig(&[&words[..], &["--anyway", "--check"]].concat()).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What has no result is told by a code of its own, from all that ends a run.
#[test]
fn gaps_have_an_exit_code_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("results");
    let failed = r#"{"kind":"failed","subject":"envoy","shape":null,"round":1,"why":"it ended"}"#;
    for (what, text, want) in [("a gap", failed, 4), ("nonsense", "nonsense", 1), ("nothing", "", 0)] {
        fs::write(&file, text).unwrap();
        let rig = Command::new(env!("CARGO_BIN_EXE_rig")).arg("report").arg(&file).output().unwrap();
        assert_eq!(rig.status.code(), Some(want), "{what}: {}", String::from_utf8_lossy(&rig.stderr));
    }
}

#[test]
fn a_wrong_command_is_told_from_a_wrong_machine() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(obstacle) = obstacle() {
        return println!("skipped: {obstacle}");
    }
    let common = ["compare", "--out", "/dev/null"];
    for (words, want, hint) in [
        (&["--subjects=sallyport"][..], 2, "sallyport-async"),
        (&["--shapes=sideways"], 2, "connect-paced"),
        (&["--subjects=floor-shared64k@2cores", "--shapes=idle"], 2, "nothing to measure"),
        (&["--sallyport=no/such/file"], 2, "`no/such/file`"),
        (&["--check", "--subjects=floor-shared64k@2cores", "--shapes=idle"], 2, "nothing to measure"),
        (&["--cores=0", "--rig-cores=0"], 3, "two cores"),
        (&["--cores=4095"], 3, "4095"),
    ] {
        let output = rig(&[&common[..], words].concat()).wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(want), "{words:?}: {said}");
        assert!(said.contains(hint), "{words:?}: {said}");
    }
}
