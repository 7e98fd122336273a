//! Programs that tests run: `sallyport` by its commands, and clients and servers of others.
//! Not here: a proxy that a test talks to (`harness`), but for one whose stdout and stderr a test reads.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

use super::harness::{PATIENCE, eventually, serving};

/// What a program left behind.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// The program under test, without the surroundings of whoever runs the tests.
pub fn sallyport() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sallyport"));
    command.env_remove("SALLYPORT_CONFIG").env_remove("SALLYPORT_LOG");
    command
}

/// A client or server of somebody else's. A missing one fails the test: what is not run proves nothing.
pub fn program(name: &str) -> Command {
    // Python with the packages of the tests comes first; nothing else is in its folder.
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/target/venv/bin");
    // Programs out of packages that are not installed.
    let tools = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools");
    let folders = [own, tools, "/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"];
    let found = folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists());
    let Some(path) = found else { panic!("`{name}` is not installed; `make test` installs what the tests drive") };
    let mut command = Command::new(path);
    for name in
        ["http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"]
    {
        command.env_remove(name);
    }
    command
}

/// Runs a program to its end, with `input` on its stdin.
pub fn finish(command: &mut Command, input: &str) -> Finished {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that ends without reading has no use for it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let (out, err) = (read_all(child.stdout.take().unwrap()), read_all(child.stderr.take().unwrap()));
    let code = ended(&mut child, &format!("{command:?} ends"));
    Finished { code, out: out.join().unwrap(), err: err.join().unwrap() }
}

fn read_all(mut stream: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn ended(child: &mut Child, what: &str) -> Option<i32> {
    let end = Instant::now() + PATIENCE;
    // Left behind, it would keep ports and locks.
    while Instant::now() < end {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    panic!("{what}: not in time");
}

/// A `sallyport run` whose stdout and stderr go to files.
pub struct Logged {
    pub dir: TempDir,
    pub edge: SocketAddr,
    pub admin: SocketAddr,
    child: Child,
}

impl Logged {
    /// Starts it on a folder with its files and waits until it serves.
    pub fn start_in(dir: TempDir) -> Self {
        Self::start_by(sallyport(), dir)
    }

    /// The same by a command that becomes `sallyport` once its arguments are added.
    pub fn start_by(mut command: Command, dir: TempDir) -> Self {
        let (out, err) = (File::create(dir.path().join("out")).unwrap(), File::create(dir.path().join("err")).unwrap());
        let config = dir.path().join("sallyport.yaml");
        let child = command.args(["run", "-c"]).arg(config).stdout(out).stderr(err).spawn().unwrap();
        let nowhere = "127.0.0.1:0".parse().unwrap();
        let mut logged = Self { dir, edge: nowhere, admin: nowhere, child };
        (logged.edge, logged.admin) =
            eventually("it serves", Instant::now() + PATIENCE, || logged.err().lines().find_map(serving));
        logged
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to stderr.
    pub fn err(&self) -> String {
        fs::read_to_string(self.dir.path().join("err")).unwrap()
    }

    /// What it has written to stdout.
    pub fn out(&self) -> String {
        fs::read_to_string(self.dir.path().join("out")).unwrap()
    }

    /// The first line of its own log that fits, once it is there.
    pub fn line(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        eventually(what, Instant::now() + PATIENCE, || {
            self.err().lines().filter_map(|line| serde_json::from_str(line).ok()).find(|line| fits(line))
        })
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "kill -{name}");
    }

    /// Asks it to drain and waits for its end.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal("TERM");
        self.wait()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> Option<i32> {
        ended(&mut self.child, "the proxy ends")
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
