//! Secrets in every place that somebody outside chooses the bytes of, then a search for them in everything that the product wrote and
//! answered: with its own log at its most talkative, in both forms of it, and after a fault of the program.
//! Not here: which forms of a secret are found (`redact`). Source: PCI DSS 3.3.1, 3.4.1, 3.5.1; `docs/attacks.md`, H2 and 6.4.

mod places;
mod secrets;
mod surroundings;

use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::Value;
use tempfile::TempDir;

use super::admin::access::new_token;
use super::dns_server::DnsServer;
use super::ends::head;
use super::harness::{PATIENCE, Setup, eventually, records, status_of, write_setup};
use super::programs::{Logged, finish, program, sallyport};
use super::wire::{self, Hello};
use places::{CALLS, HEADS, QUESTIONS};
use secrets::{SECRETS, Secret, held, in_percent};
use surroundings::{ALIAS, admin_tls, fault, name_server, on_a_terminal, talkative};

/// Each has something to find among the secrets.
const DETECTORS: [&str; 10] =
    ["pan", "security_code", "pin", "track", "ssn", "iban", "credential", "jwt", "api_key", "private_field"];

/// What is found at each place. A method has no signs but those of a token (RFC 9110), a host no blanks; a name in a hello is written in
/// lower case, in which keys and tokens are others; an alias holds a card number alone.
const MARKED: [(&str, &[&str]); 5] = [
    ("host", &["pan", "security_code", "pin", "track", "ssn", "iban", "jwt", "api_key", "private_field"]),
    ("method", &["pan", "iban", "jwt", "api_key"]),
    ("sni", &["pan", "security_code", "pin", "track", "ssn", "iban", "credential", "private_field"]),
    ("alpn", &DETECTORS),
    ("aliases", &["pan"]),
];

/// A proxy with all of its outputs on, and everything that it has answered.
struct Watched {
    proxy: Logged,
    token: String,
    origin: SocketAddr,
    dns: DnsServer,
    /// How its admin port is spoken to, if not in the clear.
    tls: Option<Arc<ClientConfig>>,
    answers: Vec<(String, Vec<u8>)>,
}

/// A folder with everything that the product can be told to write.
fn folder(origin: SocketAddr, dns: &DnsServer, tls: bool) -> (TempDir, String) {
    let dir = TempDir::new().unwrap();
    let policy = format!(
        "rules:\n  - {{id: acme/api, customer: acme, sources: [tests], hosts: [\"*.acme.test\"], ports: [{}], addresses: [127.0.0.1/32]}}\n",
        origin.port()
    );
    let more = format!("{}redaction: {{private_fields: [account_number]}}\n", dns.settings("udp", ""));
    let files = if tls { "tls: {certificate: admin.pem, key: admin.key}, " } else { "" };
    let admin = format!("{files}tokens: tokens.yaml");
    write_setup(dir.path(), &Setup { policy: &policy, more: &more, admin: &admin, ..Setup::default() });
    let config = fs::read_to_string(dir.path().join("sallyport.yaml")).unwrap();
    fs::write(dir.path().join("sallyport.yaml"), config.replace("key: log.key}", "key: log.key, stdout: true}"))
        .unwrap();
    let (token, line) = new_token("qsa", "auditor");
    fs::write(dir.path().join("tokens.yaml"), format!("tokens:\n  {line}\n")).unwrap();
    (dir, token)
}

impl Watched {
    fn start(mut command: Command, level: &str, tls: bool) -> Self {
        let (origin, dns) = (talkative(), name_server());
        let (dir, token) = folder(origin, &dns, tls);
        let tls = tls.then(|| admin_tls(dir.path()));
        command.env("SALLYPORT_LOG", level);
        command.env("LD_PRELOAD", fault(dir.path())).env("FAULT", dir.path().join("fault"));
        Self { proxy: Logged::start_by(command, dir), token, origin, dns, tls, answers: Vec::new() }
    }

    fn filled(&self, template: &str, secret: &Secret) -> String {
        let in_json = serde_json::to_string(secret.text).unwrap();
        template
            .replace("{t}", &format!("Authorization: Bearer {}", self.token))
            .replace("{o}", &self.origin.port().to_string())
            .replace("{j}", in_json.trim_matches('"'))
            .replace("{p}", &in_percent(secret.text))
            .replace("{s}", secret.text)
    }

    /// Sends `bytes`, then `behind` once a tunnel is open, and keeps what comes back.
    fn send(&mut self, what: &str, to: SocketAddr, (bytes, behind): (&[u8], Option<&[u8]>)) -> String {
        let mut socket = TcpStream::connect(to).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        if let Some(behind) = behind {
            let mut head = [0; 39];
            socket.read_exact(&mut head).unwrap_or_else(|error| panic!("{what}: no tunnel: {error}"));
            assert_eq!(status_of(&String::from_utf8_lossy(&head)), 200, "{what}");
            // It may have been refused and closed before all was sent.
            let _ = socket.write_all(behind);
        }
        // A caller of the admin port who ends is not answered; a client of the proxy has nothing more to say.
        if to == self.proxy.edge {
            let _ = socket.shutdown(Shutdown::Write);
        }
        // A reset behind a refusal is an end like another.
        let _ = socket.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer).into_owned();
        self.answers.push((what.to_owned(), answer));
        text
    }

    /// A call of the admin port, once there is room for it.
    fn call(&mut self, what: &str, bytes: &str) -> String {
        let admin = self.proxy.admin;
        eventually(what, Instant::now() + PATIENCE, || {
            let answer = match self.tls.clone() {
                None => self.send(what, admin, (bytes.as_bytes(), None)),
                Some(tls) => self.send_sealed(what, tls, bytes),
            };
            Some(answer).filter(|answer| status_of(answer) != 503)
        })
    }

    /// The same over TLS.
    fn send_sealed(&mut self, what: &str, tls: Arc<ClientConfig>, bytes: &str) -> String {
        let socket = TcpStream::connect(self.proxy.admin).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let client = ClientConnection::new(tls, self.proxy.admin.ip().into()).unwrap();
        let mut stream = StreamOwned::new(client, socket);
        stream.write_all(bytes.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // The end of a connection is an end, with its alert or without.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.starts_with(b"HTTP/1.1 "), "{what}: no answer over TLS");
        let text = String::from_utf8_lossy(&answer).into_owned();
        self.answers.push((what.to_owned(), answer));
        text
    }

    fn plant_everywhere(&mut self) {
        let edge = self.proxy.edge;
        for secret in &SECRETS {
            let may_stand = |within: bool| secret.within || !within;
            for (place, _, template) in HEADS.iter().filter(|(_, within, _)| may_stand(*within)) {
                let bytes = self.filled(template, secret);
                self.send(&format!("{} as {place}", secret.kind), edge, (bytes.as_bytes(), None));
            }
            for (place, _, template) in CALLS.iter().filter(|(_, within, _)| may_stand(*within)) {
                let call = self.filled(template, secret);
                let bytes = match call.split_once(" {") {
                    Some((line, body)) => self.post(line, &format!("{{{body}")),
                    None => call.replacen("\r\n", "\r\nHost: admin\r\nConnection: close\r\n", 1),
                };
                self.call(&format!("{} as {place} of a call", secret.kind), &bytes);
            }
            for (place, _, template) in QUESTIONS.iter().filter(|(_, within, _)| may_stand(*within)) {
                let bytes = self.post("POST /v1/explain", &self.filled(template, secret));
                self.call(&format!("{} as {place} in a question", secret.kind), &bytes);
            }
            self.plant_in_tunnels(secret);
            if self.tls.is_some() {
                let (what, admin) = (format!("{} as no TLS", secret.kind), self.proxy.admin);
                self.send(&what, admin, (format!("{}\r\n\r\n", secret.text).as_bytes(), None));
            }
        }
        self.plant_in_names();
    }

    fn post(&self, line: &str, body: &str) -> String {
        let length = body.len();
        format!(
            "{line} HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}",
            self.token
        )
    }

    /// Behind the `200`: what is no hello, and hellos.
    fn plant_in_tunnels(&mut self, secret: &Secret) {
        let target = head(&format!("api.acme.test:{}", self.origin.port()));
        let offer = |name: &str| Hello::to(name).with(wire::ALPN, wire::alpn(&[secret.text])).record();
        let mut inside = vec![("no hello", format!("{}\r\n", secret.text).into_bytes())];
        inside.push(("a broken hello", wire::record(wire::HANDSHAKE, secret.text.as_bytes())));
        inside.push(("a name in a hello", Hello::to(secret.text).record()));
        inside.push(("a protocol", offer("api.acme.test")));
        if secret.within {
            inside.push(("a host in a hello", Hello::to(&format!("{}.acme.test", secret.text)).record()));
        }
        for (place, bytes) in inside {
            self.send(&format!("{} as {place}", secret.kind), self.proxy.edge, (target.as_bytes(), Some(&bytes)));
        }
    }

    /// What servers and name servers send.
    fn plant_in_names(&mut self) {
        for turn in 0..8 {
            let target = head(&format!("alias.acme.test:{}", self.origin.port()));
            let hello = Hello::to("alias.acme.test").with(wire::ALPN, wire::alpn(&["h2"])).record();
            self.send(&format!("server's bytes {turn}"), self.proxy.edge, (target.as_bytes(), Some(&hello)));
        }
        let lost = head(&format!("lost.acme.test:{}", self.origin.port()));
        self.send("an alias that is not there", self.proxy.edge, (lost.as_bytes(), None));
        assert!(self.dns.asked().iter().any(|question| question.name == ALIAS), "the alias was not asked for");
        // A card number is refused before anybody is asked for it.
        let is_card = |kind: &&str| SECRETS.iter().any(|secret| secret.kind == *kind && secret.is_card());
        let asked: Vec<String> = self.dns.asked().into_iter().map(|question| question.name).collect();
        let holds_card = |name: &&String| *name != ALIAS && held(name.as_bytes()).iter().any(is_card);
        let told: Vec<&String> = asked.iter().filter(holds_card).collect();
        assert_eq!(told, [""; 0], "a name server was told");
    }

    /// Files with secrets in them, which faults repeat: of a reload, and of a command, which does not know the private fields of a
    /// configuration that it can't load.
    fn plant_in_files(&mut self) {
        let path = self.proxy.dir.path().join("policy.yaml");
        let good = fs::read_to_string(&path).unwrap();
        let rule = |secret: &Secret| format!("  - {{id: \"{}\", \"{}\": 1}}\n", secret.text, secret.text);
        let rules = |builtin: bool| -> String {
            SECRETS.iter().filter(|secret| !(builtin && secret.kind == "private field")).map(rule).collect()
        };
        fs::write(&path, format!("version: 1\nrules:\n{}", rules(false))).unwrap();
        self.proxy.signal("HUP");
        eventually("the reload is refused", Instant::now() + PATIENCE, || {
            self.records()
                .into_iter()
                .find(|record| record["kind"] == "policy" && record["detail"]["result"] == "refused")
        });
        fs::write(&path, format!("version: 1\nrules:\n{}", rules(true))).unwrap();
        let checked = finish(sallyport().args(["check", "-c"]).arg(path.with_file_name("sallyport.yaml")), "");
        assert!(checked.code == Some(2) && checked.err.contains("unknown key `[PAN:visa:16]`"), "{checked:?}");
        self.answers.push(("check".to_owned(), (checked.out + &checked.err).into_bytes()));
        fs::write(&path, good).unwrap();
    }

    /// A fault of the program while a request is read that is full of secrets.
    fn fail(&mut self) {
        let head: String = SECRETS.iter().map(|secret| format!("X-Secret: {}\r\n", secret.text)).collect();
        let mut socket = TcpStream::connect(self.proxy.edge).unwrap();
        write!(socket, "CONNECT 4012888888881881.acme.test:443 HTTP/1.1\r\n{head}").unwrap();
        fs::write(self.proxy.dir.path().join("fault"), "").unwrap();
        // The proxy may be gone by now.
        let _ = write!(socket, "\r\n");
        eventually("the fault", Instant::now() + PATIENCE, || {
            self.proxy.err().contains("a fault of the program").then_some(())
        });
    }

    fn records(&self) -> Vec<Value> {
        records(&self.proxy.dir.path().join("decisions"))
    }

    /// Every page of the admin port, and what auditors' commands print and write.
    fn read_back(&mut self) {
        for path in [
            "/metrics",
            "/readyz",
            "/v1/status",
            "/v1/policy",
            "/v1/decisions",
            "/v1/egress-addresses",
            "/log/checkpoint",
        ] {
            for accept in ["*/*", "text/csv"] {
                let token = &self.token;
                let ask = format!(
                    "GET {path} HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
                );
                let answer = self.call(&format!("{path} as {accept}"), &ask);
                assert_eq!(status_of(&answer), 200, "{path}: {answer}");
            }
        }
        let config = self.proxy.dir.path().join("sallyport.yaml");
        for format in ["csv", "jsonl", "ocsf"] {
            let out = self.proxy.dir.path().join(format!("export-{format}"));
            let done = finish(
                sallyport().args(["audit", "export", "--format", format, "-c"]).arg(&config).arg("--out").arg(out),
                "",
            );
            assert_eq!(done.code, Some(0), "{done:?}");
            self.answers.push((format!("audit export as {format}"), (done.out + &done.err).into_bytes()));
        }
    }

    /// Nothing that was written or answered holds a secret.
    fn assert_clean(&self) {
        let files = files(self.proxy.dir.path());
        for path in &files {
            let name = path.strip_prefix(self.proxy.dir.path()).unwrap().to_string_lossy();
            assert_eq!(held(name.as_bytes()), [""; 0], "a file's name: {name}");
        }
        let written: Vec<(String, Vec<u8>)> =
            files.iter().map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect();
        for name in ["segments/000000000000.jsonl", "/out", "/err", "checkpoint", "decisions.csv", "events.ocsf.jsonl"]
        {
            let found = written.iter().find(|(path, _)| path.ends_with(name));
            assert!(found.is_some_and(|(_, bytes)| !bytes.is_empty()), "`{name}` was not written, so not searched");
        }
        // The log's lines are in many places; each is searched once.
        let mut seen = HashSet::new();
        for (what, bytes) in written.iter().chain(&self.answers) {
            let new: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').filter(|line| seen.insert(*line)).collect();
            if !held(&new.join(&b'\n')).is_empty() {
                let line = new.iter().find(|line| !held(line).is_empty()).unwrap();
                panic!("{what} holds {:?}: {}", held(line), String::from_utf8_lossy(line));
            }
        }
    }

    /// It did come to the places where something is written, and was marked there.
    fn assert_marked(&self) {
        // The record of an end has its decision's marks again.
        let records: Vec<Value> = self.records().into_iter().filter(|record| record["kind"] == "decision").collect();
        let marks: Vec<&str> = records
            .iter()
            .filter_map(|record| record["redacted"].as_array())
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for (field, detectors) in MARKED {
            for detector in detectors {
                let mark = format!("{field}:{detector}");
                assert!(marks.contains(&mark.as_str()), "no record has `{mark}`");
            }
        }
        let (_, metrics) = self.answers.iter().find(|(what, _)| what == "/metrics as */*").unwrap();
        let metrics = String::from_utf8_lossy(metrics);
        let counted = |detector: &str| marks.iter().filter(|mark| mark.ends_with(&format!(":{detector}"))).count();
        for detector in DETECTORS {
            let line = format!("sallyport_redactions_total{{detector=\"{detector}\"}} {}\n", counted(detector));
            assert!(metrics.contains(&line), "not {line}in {metrics}");
        }
        assert!(
            self.proxy.err().contains("what was last good stays in force"),
            "the process's own log says what happened"
        );
    }
}

/// All files below a folder, but for those that the test itself has written.
fn files(folder: &Path) -> Vec<PathBuf> {
    let inside = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let all = inside.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] });
    all.filter(|path| !path.ends_with("policy.yaml") && !path.ends_with("fault.so")).collect()
}

#[test]
fn nothing_that_is_planted_is_written_or_answered() {
    for (command, level, form, tls) in
        [(sallyport(), "trace", "{\"timestamp\":\"", true), (on_a_terminal(), "debug", "20", false)]
    {
        let mut watched = Watched::start(command, level, tls);
        watched.plant_everywhere();
        watched.plant_in_files();
        watched.read_back();
        watched.fail();
        // A fault of one request is its own end; one of a worker is that of the proxy.
        let ended = watched.proxy.stop();
        assert!(matches!(ended, Some(0 | 3)), "{ended:?}: {}", watched.proxy.err());
        let err = watched.proxy.err();
        // The last line is the command's own: why it ended.
        assert!(err.lines().all(|line| line.starts_with(form) || line.starts_with("cannot start: ")), "{err}");
        watched.assert_marked();
        watched.assert_clean();
    }
}

#[test]
fn a_proxy_that_is_killed_leaves_no_core() {
    let dir = TempDir::new().unwrap();
    write_setup(dir.path(), &Setup { policy: "rules: []\n", ..Setup::default() });
    let mut command = program("sh");
    command.current_dir(dir.path()).env_remove("SALLYPORT_CONFIG");
    command.args(["-c", "ulimit -c unlimited && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_sallyport")]);
    let mut proxy = Logged::start_by(command, dir);
    let limits = fs::read_to_string(format!("/proc/{}/limits", proxy.pid())).unwrap();
    let limit: Vec<&str> =
        limits.lines().find(|line| line.starts_with("Max core file size")).unwrap().split_whitespace().collect();
    assert_eq!(limit[4..6], ["0", "0"], "{limits}");
    proxy.signal("ABRT");
    assert_eq!(proxy.wait(), None, "a signal ended it");
    let left: Vec<PathBuf> =
        files(proxy.dir.path()).into_iter().filter(|path| path.to_string_lossy().contains("core")).collect();
    assert!(left.is_empty(), "{left:?}");
}
