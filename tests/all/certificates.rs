//! An authority, certificates of clients, right and wrong ones, and a proxy that asks for them; a client that shows them.
//! Not here: what follows from it (`secure_listeners`, `http2`). Source: the contract's section 4 (SPIFFE IDs, DNS names, lists).

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::harness::{Setup, write_setup};
use super::programs::program;

/// The listener's name.
pub const PROXY: &str = "proxy.test";

/// Who has the certificate `right`, and of whom the source is.
pub const RIGHT: &str = "spiffe://voice.test/ivr/east";

/// Who has `named`, of the same source.
pub const NAMED: &str = "ivr-1.voice.test";

/// The serial numbers of `right` and `named`, and of `revoked`.
pub const SERIALS: [u64; 3] = [11, 12, 13];

/// No answer of the client takes longer: bytes by the megabyte in a debug build.
const PATIENCE: Duration = Duration::from_secs(200);

const DAY: i64 = 86_400;

/// When a certificate holds, in seconds from now.
type Span = (i64, i64);

const TODAY: Span = (-DAY, DAY);

/// One that signs itself.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

fn params(name: &str, (from, until): Span) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(1970, 1, 1) + since_1970(from);
    params.not_after = date_time_ymd(1970, 1, 1) + since_1970(until);
    // Python 3.13 and later insist on it (RFC 5280 section 4.2.1.1).
    params.use_authority_key_identifier_extension = true;
    params
}

/// A time in seconds from now, counted from 1970.
fn since_1970(seconds: i64) -> Duration {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    if seconds < 0 {
        now - Duration::from_secs(seconds.unsigned_abs())
    } else {
        now + Duration::from_secs(seconds as u64)
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

impl Authority {
    /// With a key of its own.
    pub fn new(name: &str) -> Self {
        let mut params = params(name, TODAY);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its list of these serial numbers.
    pub fn list(&self, revoked: &[u64]) -> String {
        self.list_until(revoked, DAY)
    }

    /// The same, with its next update in seconds from now.
    pub fn list_until(&self, revoked: &[u64], next_update: i64) -> String {
        let begun = date_time_ymd(1970, 1, 1) + since_1970(-2 * DAY);
        let revoked_certs = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: begun,
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: begun,
            next_update: date_time_ymd(1970, 1, 1) + since_1970(next_update),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).unwrap().pem().unwrap()
    }

    /// Writes `FILE.pem` and `FILE.key` of a certificate.
    fn write(&self, folder: &Path, (file, common_name): (&str, &str), names: &[SanType], (serial, span): (u64, Span)) {
        let mut params = params(common_name, span);
        params.subject_alt_names = names.to_vec();
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(folder, file, &params);
    }

    /// Writes a certificate for the listener.
    pub fn write_listener(&self, folder: &Path, serial: u64) {
        let mut params = params("a listener", TODAY);
        params.subject_alt_names = vec![dns(PROXY), SanType::IpAddress([127, 0, 0, 1].into())];
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(folder, "proxy", &params);
    }

    fn sign(&self, folder: &Path, file: &str, params: &CertificateParams) {
        let key = KeyPair::generate().unwrap();
        let own = params.signed_by(&key, &self.0).unwrap();
        fs::write(folder.join(format!("{file}.pem")), own.pem()).unwrap();
        let path = folder.join(format!("{file}.key"));
        fs::write(&path, key.serialize_pem()).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// Writes all of it into `folder`: `ca.pem`, `ca.crl`, the listener's and each client's.
pub fn write_all(folder: &Path) -> Authority {
    let (authority, stranger) = (Authority::new("an authority of the tests"), Authority::new("somebody else's"));
    fs::write(folder.join("ca.pem"), authority.0.pem()).unwrap();
    fs::write(folder.join("ca.crl"), authority.list(&[SERIALS[2]])).unwrap();
    authority.write_listener(folder, 2);
    let nobody = "a client, whose name counts for nothing";
    authority.write(folder, ("right", nobody), &[uri(RIGHT)], (SERIALS[0], TODAY));
    authority.write(folder, ("named", nobody), &[dns(NAMED)], (SERIALS[1], TODAY));
    authority.write(folder, ("revoked", nobody), &[uri(RIGHT)], (SERIALS[2], TODAY));
    authority.write(folder, ("expired", nobody), &[uri(RIGHT)], (14, (-DAY, -60)));
    authority.write(folder, ("other", nobody), &[uri("spiffe://voice.test/web/east")], (15, TODAY));
    authority.write(folder, ("common", NAMED), &[], (16, TODAY));
    stranger.write(folder, ("stranger", nobody), &[uri(RIGHT)], (17, TODAY));
    authority
}

/// What a listener with certificates is set to.
pub const REQUIRED: &str =
    "tls: {certificate: proxy.pem, key: proxy.key, client_auth: required, client_ca: ca.pem, crl: ca.crl}";

/// A folder with a proxy whose one listener says `listener` and whose one source has `identities`, with a rule for `api.acme.test`.
pub fn folder(listener: &str, identities: &[&str], port: u16, limits: &str) -> (TempDir, Authority) {
    let dir = TempDir::new().unwrap();
    let more = format!("dns: {{hosts: {{api.acme.test: [127.0.0.1]}}}}\nlimits: {{{limits}}}\n");
    write_setup(dir.path(), &Setup { more: &more, ..Setup::default() });
    let path = dir.path().join("sallyport.yaml");
    let text = fs::read_to_string(&path).unwrap().replace("mode: connect", listener);
    fs::write(path, text).unwrap();
    let policy = format!(
        "version: 1
sources: [{{name: ivr, subnets: [127.0.0.1/32], identities: {}}}]
rules:
  - {{id: acme, customer: acme, sources: [ivr], hosts: [api.acme.test], ports: [{port}], addresses: [127.0.0.1/32]}}
",
        json!(identities)
    );
    fs::write(dir.path().join("policy.yaml"), policy).unwrap();
    let authority = write_all(dir.path());
    (dir, authority)
}

/// How a client comes.
pub struct Dial<'a> {
    /// Its certificate; empty: none.
    pub certificate: &'a str,
    /// The one protocol that it offers.
    pub alpn: &'a str,
    /// Its highest version of TLS.
    pub version: &'a str,
    /// What it sends in front of everything.
    pub first: &'a str,
    /// Whether it says nothing behind the handshake.
    pub is_silent: bool,
}

impl Default for Dial<'_> {
    fn default() -> Self {
        Self { certificate: "right", alpn: "h2", version: "1.3", first: "", is_silent: false }
    }
}

/// A client's connection through a TLS listener, with Python's TLS and HTTP/2 (`tests/clients/tunnels.py`).
pub struct Client {
    /// What it said of its connection.
    pub connected: Value,
    child: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
}

impl Client {
    /// Comes through the handshake.
    pub fn connect(folder: &Path, proxy: SocketAddr, dial: &Dial) -> Self {
        let Dial { certificate, alpn, version, first, is_silent } = dial;
        let in_folder = |name: &str| folder.join(name).display().to_string();
        let own = if certificate.is_empty() { String::new() } else { in_folder(certificate) };
        let says = json!({"proxy": proxy.to_string(), "authority": in_folder("ca.pem"), "certificate": own, "alpn": alpn, "version": version, "first": first, "silent": is_silent});
        let mut command = program("python");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/tunnels.py")).arg(says.to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (sender, answers) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            let _ = out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line));
        });
        let orders = child.stdin.take().unwrap();
        let mut client = Self { connected: Value::Null, child, orders, answers };
        client.connected = client.answer("connect");
        client
    }

    /// Has it do one thing, named with its words, and gives what it saw.
    pub fn order(&mut self, order: &Value) -> Value {
        self.begin(order);
        self.answer(&order.to_string())
    }

    /// Has it begin.
    pub fn begin(&mut self, order: &Value) {
        // A client that has ended says so by no answer.
        let _ = writeln!(self.orders, "{order}");
    }

    /// What it saw.
    pub fn answer(&self, what: &str) -> Value {
        let Ok(line) = self.answers.recv_timeout(PATIENCE) else { panic!("{what}: no answer; its stderr says why") };
        serde_json::from_str(&line).unwrap()
    }

    /// The port that it comes from, which its records have.
    pub fn port(&self) -> u16 {
        self.connected["port"].as_u64().unwrap().try_into().unwrap()
    }

    /// Opens a tunnel to `api.acme.test` and gives its stream.
    pub fn open(&mut self, port: u16) -> u64 {
        let opened = self.order(&json!(["open", format!("api.acme.test:{port}"), "api.acme.test"]));
        assert_eq!((&opened["status"], &opened["end"]), (&json!(200), &Value::Null), "{opened}");
        opened["stream"].as_u64().unwrap_or_default()
    }

    /// Whether a tunnel gives back what is sent through it.
    pub fn echoes(&mut self, stream: u64, bytes: usize) -> bool {
        self.order(&json!(["echo", stream, bytes]))["echoes"] == true
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
