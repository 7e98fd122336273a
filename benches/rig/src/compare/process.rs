//! Programs that the comparison starts: pinned to cores, in a process group of their own, ended with all they started.
//! Not here: which programs (`recipe`, `stage`).

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use crate::procfs::{self, Processes};

/// Upper bound of the orderly end of a program; then it is killed. Peers end within 2 s.
const END_DEADLINE: Duration = Duration::from_secs(8);

/// Between two looks at a program: fine enough for starts and ends, and no load.
const LOOK: Duration = Duration::from_millis(20);

/// Upper bound of what is told of a program's output, in characters.
const MAX_TAIL: usize = 600;

/// A running program. Dropped, it and all that it started are ended.
pub struct Started {
    child: Child,
    log: PathBuf,
}

impl Started {
    /// Starts `words` on `cores` (as taskset takes them). Standard output goes to `output`, or with the errors to `log`.
    ///
    /// # Errors
    /// A file can't be made, or taskset does not start.
    pub fn spawn(cores: &str, words: &[String], log: &Path, output: Option<&Path>) -> Result<Self> {
        let create = |path: &Path| File::create(path).with_context(|| format!("cannot make `{}`", path.display()));
        let errors = create(log)?;
        let output = output.map_or_else(|| errors.try_clone().context("cannot share a file"), create)?;
        let child = Command::new("taskset")
            .args(["-c", cores])
            .args(words)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .context("cannot start taskset")?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It has not ended after `deadline`.
    pub async fn end(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + deadline;
        loop {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            if Instant::now() > end {
                bail!("no end after {} s", deadline.as_secs());
            }
            sleep(LOOK).await;
        }
    }

    /// Waits until `probe` finds no fault.
    ///
    /// # Errors
    /// It ends before that, or `deadline` passes; with the last lines of what it printed.
    pub async fn ready(&mut self, deadline: Duration, probe: impl AsyncFn() -> Result<()>) -> Result<()> {
        let end = Instant::now() + deadline;
        loop {
            if let Some(status) = self.ended() {
                bail!("ended before it was ready ({status}): {}", self.tail());
            }
            let Err(fault) = probe().await else { return Ok(()) };
            if Instant::now() > end {
                bail!("not ready after {} s: {fault:#}; {}", deadline.as_secs(), self.tail());
            }
            sleep(LOOK).await;
        }
    }

    /// The last that it printed, on one line.
    pub fn tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).trim().replace('\n', " | ");
        let from = text.chars().count().saturating_sub(MAX_TAIL);
        if text.is_empty() { "it printed nothing".to_owned() } else { text.chars().skip(from).collect() }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let ours = ours(&procfs::processes(), self.id());
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let end = Instant::now() + END_DEADLINE;
        while self.ended().is_none() {
            if Instant::now() > end {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
            thread::sleep(LOOK);
        }
        for id in same(&ours, &procfs::processes()) {
            if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// What `root`, which leads a process group, has started: its descendants, and who stayed in the group when a parent ended.
fn ours(all: &Processes, root: u32) -> Processes {
    let mut ours = procfs::tree(all, root);
    ours.extend(all.iter().filter(|(_, stat)| stat.group == root).map(|(id, stat)| (*id, stat.clone())));
    ours
}

/// Of `before`, the ids that still mean the same process.
fn same(before: &Processes, now: &Processes) -> Vec<u32> {
    before.iter().filter(|(id, stat)| stat.is_in(now, **id)).map(|(id, _)| *id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        ["sh", "-c", text].map(str::to_owned).to_vec()
    }

    #[test]
    fn what_a_program_started_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let (log, ids) = (folder.path().join("log"), folder.path().join("ids"));
        let script = format!("trap '' TERM; sleep 60 & echo $! >{0}.new; mv {0}.new {0}; exec sleep 60", ids.display());
        let started = Started::spawn("0", &words(&script), &log, None).unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while !ids.exists() && Instant::now() < end {
            thread::yield_now();
        }
        let child: u32 = fs::read_to_string(&ids).unwrap().trim().parse().unwrap();
        let before = procfs::processes();
        assert!(before.contains_key(&child));
        let _ = kill_process(Pid::from_child(&started.child), Signal::KILL);
        drop(started);
        let end = Instant::now() + Duration::from_secs(10);
        while !same(&Processes::from([(child, before[&child].clone())]), &procfs::processes()).is_empty() {
            assert!(Instant::now() < end, "process {child} is still there");
        }
    }

    #[test]
    fn an_id_that_was_given_again_is_left_alone() {
        let stat = |started| procfs::Stat { started, ..procfs::made_up(1) };
        let before = Processes::from([(7, stat(1)), (8, stat(2)), (9, stat(3))]);
        let now = Processes::from([(7, stat(1)), (8, stat(5))]);
        assert_eq!(same(&before, &now), [7]);
    }

    #[test]
    fn a_start_that_fails_says_what_was_printed() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut started = Started::spawn("0", &words("echo no such option; exit 3"), &log, None).unwrap();
        let ready = started.ready(Duration::from_secs(10), async || bail!("it does not listen"));
        let error = crate::block_on(ready).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("no such option"), "{error}");
    }
}
