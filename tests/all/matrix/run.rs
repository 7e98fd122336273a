//! One client in one case: its script is run, then what it got and what was recorded of it is judged.
//! Not here: which clients and cases there are (`matrix`).

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;

use super::{Case, Client, EVENTS, LARGE, REASON, World};
use crate::harness::{PATIENCE, eventually};

/// A browser begins slowly where others work too.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a script says when its client cannot do that: automake's code for a skipped test.
const NOT: i32 = 77;

/// How a case came out, if as it should.
pub enum Outcome {
    Works,
    /// The client cannot do that: why.
    Not(String),
    /// What its user reads, and the exit code.
    Refused(String, i32),
}

/// A client with a folder of its own.
pub struct Place<'a> {
    world: &'a World,
    client: &'a Client,
    work: PathBuf,
}

/// What a script left behind.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl<'a> Place<'a> {
    /// Makes the folder and lets the script prepare what it needs.
    pub fn new(world: &'a World, client: &'a Client) -> Self {
        let work = world.path(&client.script.join("-").replace('/', "-"));
        fs::create_dir(&work).unwrap();
        let place = Self { world, client, work };
        let ended = place.call("prepare", Case::Get);
        assert_eq!(ended.code, Some(0), "{}: {ended:?}; `make accept` installs what it needs", client.name);
        place
    }

    pub fn version(&self) -> String {
        let ended = self.call("version", Case::Get);
        assert!(ended.code == Some(0) && !ended.out.trim().is_empty(), "{}: {ended:?}", self.client.name);
        ended.out.trim().to_owned()
    }

    /// Runs a case and says what is wrong with what came of it.
    pub fn judge(&self, case: Case) -> Result<Outcome, String> {
        let (world, proxy) = (self.world, self.world.proxy(case));
        for file in [self.out(), world.path("uploaded")] {
            let _ = fs::remove_file(file);
        }
        world.live.seen(false);
        let (records, requests) = (proxy.records().len(), world.nginx.log().lines().count());
        let ended = self.call(case.word(), case);
        if ended.code == Some(NOT) {
            return Ok(Outcome::Not(ended.out.lines().last().unwrap_or_default().to_owned()));
        }
        let told = |fault: String| format!("{fault}\n{ended:?}");
        if matches!(case, Case::Refused | Case::Alert) {
            self.judge_refusal(case, &ended, records).map_err(told)
        } else {
            self.judge_result(case, &ended).map_err(told)?;
            self.judge_log(case, requests).map_err(told)?;
            self.judge_records(case, records).map_err(told)?;
            Ok(Outcome::Works)
        }
    }

    /// Where rules say nothing of encrypted hellos it is refused, and its user sees that TLS failed.
    pub fn judge_ech(&self) -> Result<(), String> {
        let before = self.world.four.records().len();
        let ended = self.call(Case::Refused.word(), Case::Get);
        ensure(ended.out.contains("ERR_SSL_PROTOCOL_ERROR"), || format!("{ended:?}"))?;
        let refused = |record: &Value| record["reason"] == "ech_present" && record["outcome"] == "deny";
        let found = self.until(|| self.world.four.records().into_iter().skip(before).find(refused));
        found.map(|_| ()).ok_or_else(|| "its hello has no ECH".to_owned())
    }

    fn out(&self) -> PathBuf {
        self.work.join("out")
    }

    /// What the client got, or the origin.
    fn judge_result(&self, case: Case, ended: &Ended) -> Result<(), String> {
        let (world, says) = (self.world, |text: &str| ended.out.lines().any(|line| line.ends_with(text)));
        ensure(ended.code == Some(0), || "it failed".to_owned())?;
        match case {
            Case::Events => ensure(EVENTS.into_iter().all(says), || "the events did not come".to_owned()),
            Case::WebSocket => ensure(says("over a websocket"), || "no echo".to_owned()),
            Case::Up => {
                let uploaded = fs::read(world.path("uploaded")).unwrap_or_default();
                let whole = uploaded == fs::read(world.path("www/large")).unwrap();
                ensure(whole, || format!("{} other bytes came to the origin", uploaded.len()))
            }
            Case::Get | Case::Http2 | Case::Down | Case::Six | Case::Literal | Case::KeepAlive => {
                let file = if case == Case::Down { "www/large" } else { "www/small" };
                let expected = fs::read(world.path(file)).unwrap();
                let hash: String =
                    digest(&SHA256, &expected).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
                let got = fs::read(self.out()).unwrap_or_default();
                let whole = got == expected || says(&format!("sha256 {hash}"));
                ensure(whole, || format!("{} other bytes came", got.len()))
            }
            Case::Refused | Case::Alert => Ok(()),
        }
    }

    /// What the origin says of the requests: their HTTP version, and that two of them came.
    fn judge_log(&self, case: Case, before: usize) -> Result<(), String> {
        // Elsewhere it is the client's choice.
        let version = [(Case::Get, "HTTP/1.1"), (Case::Http2, "HTTP/2.0")].into_iter().find(|(its, _)| *its == case);
        let version = version.map_or("HTTP/", |(_, version)| version);
        let least = if case == Case::KeepAlive { 2 } else { 1 };
        // Its line may come after the answer.
        let lines = self.until(|| {
            let log = self.world.nginx.log();
            let lines: Vec<String> = log.lines().skip(before).map(str::to_owned).collect();
            (lines.len() >= least).then_some(lines)
        });
        let lines = lines.ok_or("the origin saw too few requests")?;
        ensure(lines.iter().all(|line| line.contains(version)), || format!("not {version}: {lines:#?}"))
    }

    /// A decision and a close with the bytes of each tunnel.
    fn judge_records(&self, case: Case, before: usize) -> Result<(), String> {
        let host = case.target().0.trim_matches(['[', ']']);
        let of = |kind: &str| -> Vec<Value> {
            let records = self.world.proxy(case).records().into_iter().skip(before);
            records.filter(|record| record["kind"] == kind && record["host"] == host).collect()
        };
        let ended = self.until(|| {
            // A browser opens connections ahead and closes some of them unused.
            let (decisions, closes) = (of("decision"), of("close"));
            let (allowed, others): (Vec<_>, Vec<_>) =
                decisions.into_iter().partition(|decision| decision["reason"] == "allowed");
            let all_ended = !allowed.is_empty() && allowed.len() == closes.len();
            let expected = others.iter().all(|other| self.client.tunnels.is_none() && other["reason"] == "client_gone");
            (all_ended && expected).then_some(closes)
        });
        let told = || -> Vec<String> {
            let of = of("decision").into_iter().chain(of("close"));
            of.map(|record| format!("{} {} {}", record["kind"], record["reason"], record["bytes_in"])).collect()
        };
        let closes = ended.ok_or_else(|| format!("records of {host}: {:#?}", told()))?;
        let moved = |field: &str| closes.iter().filter_map(|close| close[field].as_u64()).sum::<u64>();
        let least = LARGE as u64;
        ensure(case != Case::Down || moved("bytes_in") >= least, || format!("bytes_in {}", moved("bytes_in")))?;
        ensure(case != Case::Up || moved("bytes_out") >= least, || format!("bytes_out {}", moved("bytes_out")))?;
        let tunnels = closes.len();
        let expected = self.client.tunnels.unwrap_or(tunnels);
        ensure(case != Case::KeepAlive || tunnels == expected, || format!("{tunnels} tunnels"))
    }

    /// What its user reads, and the record of it.
    fn judge_refusal(&self, case: Case, ended: &Ended, before: usize) -> Result<Outcome, String> {
        let shown = self.shown(ended);
        ensure(!shown.is_empty(), || "it shows nothing".to_owned())?;
        // Some write the address where a name belongs.
        let reasons = if case == Case::Alert { &["sni_missing", "sni_mismatch"][..] } else { &[REASON] };
        // Behind the `200` there is nothing but an alert that could name it.
        let shows = if case == Case::Alert { "" } else { self.client.shows };
        ensure(shown.contains(shows), || format!("it does not show `{shows}`"))?;
        let names = reasons.iter().any(|reason| shown.contains(reason));
        ensure(names == (shows == REASON), || "it shows the reason, which is not expected".to_owned())?;
        let of = |record: &Value| record["kind"] == "decision" && record["host"] == case.target().0;
        let decisions = self.until(|| {
            let decisions: Vec<Value> = self.world.proxy(case).records().into_iter().skip(before).filter(of).collect();
            (!decisions.is_empty()).then_some(decisions)
        });
        let decisions = decisions.ok_or("no record of it")?;
        let is_among = |reason: &str| reasons.contains(&reason);
        let denied =
            |decision: &Value| decision["outcome"] == "deny" && decision["reason"].as_str().is_some_and(is_among);
        // A browser opens connections ahead and closes some of them unused.
        let expected = |decision: &Value| {
            denied(decision) || (self.client.tunnels.is_none() && decision["reason"] == "client_gone")
        };
        ensure(decisions.iter().all(expected) && decisions.iter().any(denied), || format!("{decisions:#?}"))?;
        Ok(Outcome::Refused(shown, ended.code.unwrap_or(-1)))
    }

    /// What it shows, without what is another one each time.
    fn shown(&self, ended: &Ended) -> String {
        let edge = self.world.four.edge.to_string();
        without_ids(format!("{}{}", ended.out, ended.err).trim())
            .replace(&edge, "127.0.0.1:3128")
            .replace(&edge.replace(':', " "), "127.0.0.1 3128")
            .replace(&format!(":{}", self.world.nginx.port), ":443")
            .replace(&format!("={}", self.world.nginx.port), "=443")
            .replace(&self.work.display().to_string(), "/tmp")
    }

    fn until<T>(&self, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        let end = Instant::now() + PATIENCE;
        eventually(self.client.name, end + PATIENCE, || look().map(Some).or((Instant::now() > end).then_some(None)))
    }

    /// Runs the script. Whatever it says goes on: an event that it prints has been seen.
    fn call(&self, word: &str, case: Case) -> Ended {
        let mut command = self.command(case);
        command.arg(word).current_dir(&self.work).process_group(0);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = Arc::new(Mutex::new(String::new()));
        let (stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let err = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = stderr.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let code = std::thread::scope(|scope| {
            scope.spawn(|| {
                for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                    let line = String::from_utf8_lossy(&line).into_owned();
                    if line.contains(EVENTS[0]) {
                        self.world.live.seen(true);
                    }
                    out.lock().unwrap().push_str(&format!("{}\n", line.trim_end_matches('\r')));
                }
            });
            let end = Instant::now() + DEADLINE;
            let code = loop {
                match child.try_wait().unwrap() {
                    Some(status) => break status.code(),
                    None if Instant::now() < end => std::thread::park_timeout(Duration::from_millis(5)),
                    None => break None,
                }
            };
            // What it left running goes with it; both streams end then.
            let group = format!("-{}", child.id());
            let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
            let _ = child.wait();
            code
        });
        let out = out.lock().unwrap().clone();
        Ended { code, out, err: err.join().unwrap() }
    }

    /// The script with what it is given, and nothing of the surroundings of whoever runs the tests.
    fn command(&self, case: Case) -> Command {
        let (world, root) = (self.world, Path::new(env!("CARGO_MANIFEST_DIR")));
        let (host, path) = case.target();
        let port = if case == Case::Refused { 443 } else { world.nginx.port };
        // As a user writes it.
        let authority = if port == 443 { host.to_owned() } else { format!("{host}:{port}") };
        let scheme = if case == Case::WebSocket { "wss" } else { "https" };
        let url = format!("{scheme}://{authority}/{path}");
        let scripts = root.join("tests/clients");
        let (script, before) = self.client.script.split_first().unwrap();
        let mut command = Command::new(scripts.join(script));
        command.args(before);
        command.env_clear().env("LANG", "C.UTF-8").env("HOME", &self.work);
        command.env("TMPDIR", &self.work).env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin");
        command.envs([
            ("URL", url),
            ("BASE", format!("https://{authority}")),
            ("NAME", host.to_owned()),
            ("PORT", port.to_string()),
        ]);
        command.env("PROXY", format!("http://{}", world.proxy(case).edge));
        command.envs([("CA", world.nginx.authority()), ("IN", world.path("www/large")), ("OUT", self.out())]);
        command.envs([("UPLOADED", world.path("uploaded")), ("WWW", world.path("www")), ("WORK", self.work.clone())]);
        command.envs([("SCRIPTS", scripts), ("TARGET", root.join("target"))]);
        command
    }
}

/// A text without what differs from run to run: ids of decisions, the thread that OpenSSL writes before an error, where Python keeps an object.
fn without_ids(text: &str) -> String {
    let is_id = |c: char| c.is_ascii_hexdigit() || c == '-';
    let mut text = text.to_owned();
    for mark in ["\"decision_id\":\"", " at 0x"] {
        let mut parts = text.split(mark);
        let first = parts.next().unwrap_or_default().to_owned();
        text = parts.fold(first, |text, part| format!("{text}{mark}…{}", part.trim_start_matches(is_id)));
    }
    let parts: Vec<&str> = text.split(":error:").collect();
    let (last, before) = parts.split_last().unwrap();
    before.iter().map(|part| format!("{}error:", part.trim_end_matches(is_id))).collect::<String>() + last
}

fn ensure(holds: bool, fault: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(fault()) }
}
