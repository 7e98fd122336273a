//! Starts the real binary on free ports with a configuration of the test's own, and reads what it left behind.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// No wait in these tests is longer.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running `sallyport run`, ended when it is dropped.
pub struct Proxy {
    pub dir: TempDir,
    pub edge: SocketAddr,
    pub admin: SocketAddr,
    child: Child,
    /// The decisions that a test has asked for: a later client may get the same port.
    told: Mutex<HashSet<String>>,
    /// What it has written to stderr since it serves.
    log: Arc<Mutex<Vec<String>>>,
}

/// What a test sets up: a policy, and what the configuration says beyond the defaults of the harness.
pub struct Setup<'a> {
    /// The rules' part of the policy file, from `rules:` on or with other sources.
    pub policy: &'a str,
    /// More lines of the configuration, at the top level.
    pub more: &'a str,
    /// What `admin` says beside its address.
    pub admin: &'a str,
    /// The client's side: the address to listen on.
    pub listen: &'a str,
    /// Where the log goes; by default below the test's folder.
    pub log_directory: Option<&'a Path>,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self { policy: "", more: "", admin: "", listen: "127.0.0.1:0", log_directory: None }
    }
}

/// One source, all of loopback.
pub const SOURCE: &str = "version: 1
sources:
  - {name: tests, subnets: [127.0.0.0/8], wide: true}
  - {name: tests6, subnets: [\"::1/128\"]}
";

impl Proxy {
    /// Starts it and waits until it serves.
    pub fn start(setup: &Setup) -> Self {
        let dir = TempDir::new().unwrap();
        write_setup(dir.path(), setup);
        Self::start_in(dir)
    }

    /// Starts it on a folder that is there, such as one whose log has records.
    pub fn start_in(dir: TempDir) -> Self {
        Self::start_with(dir, &[])
    }

    /// The same, with more in its environment.
    pub fn start_with(dir: TempDir, environment: &[(&str, &Path)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sallyport"));
        command.env_remove("SSL_CERT_DIR").envs(environment.iter().copied());
        Self::start_by(command, dir)
    }

    /// The same by a command that becomes `sallyport` once its arguments are added.
    pub fn start_by(mut command: Command, dir: TempDir) -> Self {
        command.args(["run", "-c"]).arg(dir.path().join("sallyport.yaml"));
        Self::serving(command, dir)
    }

    /// Starts a command on a folder and waits until it serves.
    pub fn serving(mut command: Command, dir: TempDir) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = lines_of(child.stderr.take().unwrap());
        let mut seen = Vec::new();
        let (edge, admin) = loop {
            let Ok(line) = lines.recv_timeout(PATIENCE) else {
                panic!("the proxy did not come up: {seen:#?}");
            };
            if let Some(addresses) = serving(&line) {
                break addresses;
            }
            seen.push(line);
        };
        // Goes on reading, so that the proxy never waits for its own log.
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&log);
        std::thread::spawn(move || lines.iter().for_each(|line| kept.lock().unwrap().push(line)));
        Self { dir, edge, admin, child, told: Mutex::default(), log }
    }

    /// Another process takes over from this one, which goes on with its tunnels.
    pub fn upgrade(mut self) -> (Self, Old) {
        let old = self.upgrade_in_place();
        (self, old)
    }

    /// The same where this stands for whichever process serves.
    pub fn upgrade_in_place(&mut self) -> Old {
        let dir = std::mem::replace(&mut self.dir, TempDir::new().unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_sallyport"));
        command.args(["run", "--take-over", "-c"]).arg(dir.path().join("sallyport.yaml"));
        Old(std::mem::replace(self, Self::serving(command, dir)))
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to stderr since it serves.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Sends a signal by name, such as `HUP`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(sent.success(), "kill -{name}");
    }

    /// Waits for the process to end and gives its folder and exit code.
    pub fn wait(mut self) -> (TempDir, Option<i32>) {
        let end = Instant::now() + PATIENCE;
        let status = eventually("the proxy ends", end, || self.child.try_wait().unwrap());
        let dir = std::mem::replace(&mut self.dir, TempDir::new().unwrap());
        (dir, status.code())
    }

    /// Asks it to drain and waits for the end.
    pub fn stop(self) -> (TempDir, Option<i32>) {
        self.signal("TERM");
        self.wait()
    }

    /// Kills it as a power cut would end it, seen from the process.
    pub fn kill(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.dir, TempDir::new().unwrap())
    }

    /// All records so far.
    pub fn records(&self) -> Vec<Value> {
        records(&self.dir.path().join("decisions"))
    }

    /// The first record that fits, once it is there.
    pub fn record(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        eventually(what, Instant::now() + PATIENCE, || self.records().into_iter().find(|record| fits(record)))
    }

    /// The decision on the connection from this client port; each is told once.
    pub fn decision_of(&self, client: SocketAddr) -> Value {
        let mut told = self.told.lock().unwrap();
        let found = self.record("a decision", |record| {
            let is_its = record["kind"] == "decision" && record["client_port"] == client.port();
            is_its && !told.contains(record["id"].as_str().unwrap())
        });
        told.insert(found["id"].as_str().unwrap().to_owned());
        found
    }

    /// A page of the admin port: status and body.
    pub fn admin_page(&self, path: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(self.admin).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (status_of(head), body.to_owned())
    }

    /// A connection to the proxy.
    pub fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.edge).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        socket
    }

    /// Sends `bytes` and reads the whole answer until the proxy closes, or until the head of a `200` is there.
    pub fn ask(&self, bytes: &[u8]) -> (TcpStream, String) {
        let mut socket = self.connect();
        socket.write_all(bytes).unwrap();
        let answer = read_answer(&mut socket);
        (socket, answer)
    }
}

/// A process from which another has taken over. Its folder is the other's.
pub struct Old(Proxy);

impl Old {
    /// What it has written to stderr since it served.
    pub fn log(&self) -> Vec<String> {
        self.0.log()
    }

    /// Waits for its end and gives its exit code.
    pub fn wait(self) -> Option<i32> {
        self.0.wait().1
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes configuration and policy of a test into `dir`.
pub fn write_setup(dir: &Path, setup: &Setup) {
    let log = setup.log_directory.map_or_else(|| dir.join("decisions"), PathBuf::from);
    // Last, as tests name lines.
    let state = if setup.more.contains("state:") { "" } else { "state: state\n" };
    let end = if setup.more.is_empty() || setup.more.ends_with('\n') { "" } else { "\n" };
    let config = format!(
        "instance: tests
listeners: [{{name: edge, address: \"{}\", mode: connect}}]
policy: policy.yaml
decision_log: {{directory: {}, key: log.key}}
admin: {{address: \"127.0.0.1:0\", {}}}
{}{end}{state}",
        setup.listen,
        log.display(),
        setup.admin,
        setup.more
    );
    fs::write(dir.join("sallyport.yaml"), config).unwrap();
    fs::write(dir.join("policy.yaml"), format!("{SOURCE}{}", setup.policy)).unwrap();
}

/// Reads until the peer closes, or until a `200` head is whole.
pub fn read_answer(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = socket.read(&mut piece).unwrap_or(0);
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes);
        if count == 0 || (text.starts_with("HTTP/1.1 200") && text.ends_with("\r\n\r\n")) {
            return text.into_owned();
        }
    }
}

/// The status of an answer's first line; 0 if there is none.
pub fn status_of(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// All records below a log's directory, in their order. A torn last line is left out.
pub fn records(directory: &Path) -> Vec<Value> {
    records_from(directory, 0)
}

/// The same without the first ones.
pub fn records_from(directory: &Path, first: usize) -> Vec<Value> {
    let lines = lines(directory).skip(first);
    lines.map(|line| serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Their lines, with their newlines.
pub fn lines(directory: &Path) -> impl Iterator<Item = String> + use<> {
    let folder = directory.join("segments");
    let names =
        fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let segments: BTreeSet<String> = names.filter_map(|name| Some(name.split_once(".jsonl")?.0.to_owned())).collect();
    segments.into_iter().flat_map(move |name| {
        let mut segment = segment(&folder, &name);
        std::iter::from_fn(move || {
            let mut line = String::new();
            segment.read_line(&mut line).unwrap();
            line.ends_with('\n').then_some(line)
        })
    })
}

/// A segment, sealed or not. While it is sealed both are there.
fn segment(folder: &Path, name: &str) -> Box<dyn BufRead> {
    match File::open(folder.join(format!("{name}.jsonl"))) {
        Ok(plain) => Box::new(BufReader::new(plain)),
        Err(_) => {
            let sealed = File::open(folder.join(format!("{name}.jsonl.zst"))).unwrap();
            Box::new(BufReader::new(zstd::Decoder::new(sealed).unwrap()))
        }
    }
}

/// `look` until it finds something; a panic with `what` once `end` has come.
pub fn eventually<T>(what: &str, end: Instant, mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not in time");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn lines_of(stream: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The addresses in the log line that says that the proxy serves, in either form of the log.
pub fn serving(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (listeners, admin) = match serde_json::from_str::<Value>(line) {
        Ok(line) if line["fields"]["message"] == "serving" => {
            let field = |name: &str| line["fields"][name].as_str().map(str::to_owned);
            (field("listeners")?, field("admin")?)
        }
        Ok(_) => return None,
        Err(_) => {
            let rest = line.split_once(": serving ")?.1;
            let field = |name: &str| Some(rest.split_once(&format!("{name}=\""))?.1.split_once('"')?.0.to_owned());
            (field("listeners")?, field("admin")?)
        }
    };
    let edge = listeners.split_once('=')?.1.split(' ').next()?.parse().ok()?;
    Some((edge, admin.parse().ok()?))
}
