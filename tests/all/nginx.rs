//! A real HTTPS origin: nginx from the distribution's package, in a folder of its own, with an authority that the test makes.
//! Not here: what is asked of it (`clients`).

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Instant;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;

use super::harness::{PATIENCE, eventually};
use super::programs::program;

/// Bytes of the file that it serves as `/file`.
pub const FILE_SIZE: usize = 1024 * 1024;

/// Ports below those that the kernel gives away by itself, so that no other test has one by chance.
const PORTS: std::ops::Range<u16> = 21_000..29_000;

/// A running nginx on one port of 127.0.0.1 and [::1].
pub struct Nginx {
    pub dir: TempDir,
    pub port: u16,
    child: Child,
}

impl Nginx {
    /// Starts it with a certificate for `names` (addresses too) and waits until it answers on both families.
    pub fn start(names: &[&str]) -> Self {
        Self::start_with(names, |_| String::new())
    }

    /// The same, with what `more` writes about its folder in the configuration of the server.
    pub fn start_with(names: &[&str], more: impl FnOnce(&Path) -> String) -> Self {
        let dir = TempDir::new().unwrap();
        // Started by root, nginx serves as nobody, who must be able to read.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(dir.path().join("www")).unwrap();
        fs::write(dir.path().join("www/file"), contents()).unwrap();
        write_certificates(&dir, names);
        let port = free_port();
        fs::write(dir.path().join("nginx.conf"), configuration(port, dir.path(), &more(dir.path()))).unwrap();
        let mut command = program("nginx");
        command.arg("-p").arg(dir.path()).args(["-c", "nginx.conf", "-e", "error.log"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let nginx = Self { dir, port, child };
        for host in ["127.0.0.1", "::1"] {
            eventually(&format!("nginx on {host}"), Instant::now() + PATIENCE, || {
                TcpStream::connect((host, port)).ok()
            });
        }
        nginx
    }

    /// The authority that a client must trust.
    pub fn authority(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// What it says of the requests that it has answered, a line each.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("access.log")).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The served file: every byte is known by its place.
pub fn contents() -> Vec<u8> {
    (0..FILE_SIZE).map(|place| u8::try_from(place * 31 % 251).unwrap()).collect()
}

/// `return` alone would answer before the body has come, so `/sink` hands it to a second server.
fn configuration(port: u16, folder: &Path, more: &str) -> String {
    let folder = folder.display();
    format!(
        "daemon off;
master_process off;
pid nginx.pid;
events {{}}
http {{
    log_format line '$request_method $uri $server_protocol $request_length';
    access_log access.log line;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    client_max_body_size 8m;
    server {{
        listen 127.0.0.1:{port} ssl http2;
        listen [::1]:{port} ssl http2;
        ssl_certificate leaf.pem;
        ssl_certificate_key leaf.key;
        ssl_protocols TLSv1.2 TLSv1.3;
        root www;
        location = /sink {{ proxy_pass http://unix:{folder}/sink.sock:/taken; }}
        {more}
    }}
    server {{
        listen unix:{folder}/sink.sock;
        access_log off;
        location = /taken {{ return 200 \"taken\\n\"; }}
    }}
}}
"
    )
}

fn write_certificates(dir: &TempDir, names: &[&str]) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "an authority of the tests");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    // Python 3.13 and later insist on both (RFC 5280 sections 4.2.1.1 and 4.2.1.3).
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.use_authority_key_identifier_extension = true;
    let leaf = params.signed_by(&key, &authority).unwrap();
    for (name, text) in [("ca.pem", authority.pem()), ("leaf.pem", leaf.pem()), ("leaf.key", key.serialize_pem())] {
        fs::write(dir.path().join(name), text).unwrap();
    }
}

/// A port of both loopback addresses that nobody has.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let spread = u16::try_from(std::process::id() % u32::from(PORTS.end - PORTS.start)).unwrap();
    let free = |port: &u16| ["127.0.0.1", "::1"].iter().all(|host| TcpListener::bind((*host, *port)).is_ok());
    let start = spread.wrapping_add(NEXT.fetch_add(97, Ordering::SeqCst));
    (0..PORTS.end - PORTS.start)
        .map(|step| PORTS.start + start.wrapping_add(step) % (PORTS.end - PORTS.start))
        .find(free)
        .unwrap()
}
