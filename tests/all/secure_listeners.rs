//! TLS to the proxy from outside, with curl, OpenSSL and Python: whose certificate counts, what a reload takes back, credentials.
//! Not here: every way in which a certificate can be wrong (`runtime::client_auth`), HTTP/2 itself (`http2`).
//! Source: the contract's section 4; RFC 8446 section 6 and RFC 5246 section 7.2 (alerts).

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::certificates::{Client, Dial, NAMED, PROXY, REQUIRED, RIGHT, SERIALS, folder};
use super::harness::{PATIENCE, Proxy, eventually};
use super::nginx::{FILE_SIZE, Nginx};
use super::origins::Origin;
use super::programs::{Finished, finish, program, sallyport};

pub const IDENTITIES: [&str; 2] = ["spiffe://voice.test/ivr/*", NAMED];

/// A listener that asks nobody for a certificate, but for credentials.
pub const CREDENTIALS: &str = "tls: {certificate: proxy.pem, key: proxy.key}, credentials: credentials.yaml";

/// curl through the proxy's listener with TLS, as a client with this certificate, if any.
fn curl(proxy: &Proxy, nginx: &Nginx, certificate: &str, args: &[&str]) -> Finished {
    let dir = proxy.dir.path();
    let mut command = curl_of(nginx);
    command.args(["--proxy", &format!("https://{PROXY}:{}", proxy.edge.port())]);
    command.args(["--resolve", &format!("{PROXY}:{}:127.0.0.1", proxy.edge.port())]);
    command.arg("--proxy-cacert").arg(dir.join("ca.pem"));
    if !certificate.is_empty() {
        command.arg("--proxy-cert").arg(dir.join(format!("{certificate}.pem")));
        command.arg("--proxy-key").arg(dir.join(format!("{certificate}.key")));
    }
    finish(command.args(args), "")
}

fn curl_of(nginx: &Nginx) -> Command {
    let mut command = program("curl");
    command.args(["-q", "-sS", "--max-time", "15", "-o", "/dev/null", "-w", "%{http_connect} %{size_download}"]);
    command.arg("--cacert").arg(nginx.authority()).arg(format!("https://api.acme.test:{}/file", nginx.port));
    command
}

/// OpenSSL's client at the listener itself, with a head for it to send.
fn s_client(proxy: &Proxy, certificate: &str, args: &[&str]) -> Finished {
    let dir = proxy.dir.path();
    let mut command = program("openssl");
    command.args(["s_client", "-quiet", "-verify_return_error", "-verify_hostname", PROXY, "-servername", PROXY]);
    command.arg("-CAfile").arg(dir.join("ca.pem")).args(["-connect", &proxy.edge.to_string()]).args(args);
    if !certificate.is_empty() {
        command.arg("-cert").arg(dir.join(format!("{certificate}.pem")));
        command.arg("-key").arg(dir.join(format!("{certificate}.key")));
    }
    finish(&mut command, "CONNECT evil.example:443 HTTP/1.1\r\n\r\n")
}

/// The next decision behind the first so many.
fn decision(proxy: &Proxy, before: &mut usize) -> Value {
    let record = eventually("a decision", Instant::now() + PATIENCE, || {
        proxy.records().into_iter().filter(|record| record["kind"] == "decision").nth(*before)
    });
    *before += 1;
    record
}

#[test]
fn each_certificate_gets_its_answer_and_its_record() {
    let nginx = Nginx::start(&["api.acme.test"]);
    let proxy = Proxy::start_in(folder(REQUIRED, &IDENTITIES, nginx.port, "").0);
    let mut before = 0;
    for (certificate, identity) in [("right", RIGHT), ("named", NAMED)] {
        for version in ["--tlsv1.2", "--tlsv1.3"] {
            let seen = curl(&proxy, &nginx, certificate, &[version]);
            assert_eq!((seen.code, &*seen.out), (Some(0), &*format!("200 {FILE_SIZE}")), "{certificate}: {seen:?}");
            let record = decision(&proxy, &mut before);
            assert_eq!(
                (&record["outcome"], &record["client_identity"]),
                (&json!("allow"), &json!(identity)),
                "{record}"
            );
        }
    }
    for certificate in ["common", "other"] {
        let seen = curl(&proxy, &nginx, certificate, &[]);
        assert_eq!((seen.code, &*seen.out), (Some(56), "403 0"), "{certificate}: {seen:?}");
        let record = decision(&proxy, &mut before);
        let told = (&record["outcome"], &record["reason"]);
        assert_eq!(told, (&json!("deny"), &json!("identity_not_allowed")), "{certificate}: {record}");
    }
    let invalid = "client_certificate_invalid";
    for (certificate, reason, fault, alert) in [
        ("revoked", "client_certificate_revoked", Some("revoked"), 44),
        ("expired", invalid, Some("expired"), 45),
        ("stranger", invalid, Some("unknown_issuer"), 48),
        ("", "identity_required", None, 116),
    ] {
        for version in ["-tls1_3", "-tls1_2"] {
            let seen = s_client(&proxy, certificate, &[version]);
            assert!(seen.err.contains(&format!("SSL alert number {alert}\n")), "{certificate} {version}: {seen:?}");
            assert!(!seen.out.contains("HTTP/1.1"), "{certificate} {version}: {seen:?}");
            let record = decision(&proxy, &mut before);
            let told = (&record["outcome"], &record["reason"], &record["detail"]["certificate"]);
            assert_eq!(told, (&json!("deny"), &json!(reason), &json!(fault)), "{certificate} {version}: {record}");
        }
        let seen = curl(&proxy, &nginx, certificate, &[]);
        assert!(seen.code != Some(0) && seen.out == "000 0", "{certificate}: {seen:?}");
        assert_eq!(decision(&proxy, &mut before)["reason"], reason, "{certificate} by curl");
    }
    assert_eq!(nginx.log().lines().count(), 4, "the right ones alone came to the origin");
}

#[test]
fn only_tls_of_today_comes_in() {
    let nginx = Nginx::start(&["api.acme.test"]);
    let proxy = Proxy::start_in(folder(REQUIRED, &IDENTITIES, nginx.port, "").0);
    let mut before = 0;
    let old = ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"];
    let cbc = ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"];
    for (name, args, alert, reason) in [
        ("TLS 1.1", &old[..], 70, "tls_version_too_low"),
        ("no AEAD", &cbc[..], 40, "hello_malformed"),
        ("another protocol", &["-alpn", "ftp"][..], 120, "alpn_not_allowed"),
    ] {
        let seen = s_client(&proxy, "right", args);
        assert!(seen.err.contains(&format!("SSL alert number {alert}\n")), "{name}: {seen:?}");
        assert_eq!(decision(&proxy, &mut before)["reason"], reason, "{name}");
    }
    let plain = finish(curl_of(&nginx).args(["--proxy", &format!("http://{}", proxy.edge)]), "");
    assert!(plain.code != Some(0) && plain.out == "000 0", "{plain:?}");
    assert_eq!(decision(&proxy, &mut before)["reason"], "not_tls", "a plain client");
    for (alpn, version) in [("h2", "1.2"), ("h2", "1.3"), ("http/1.1", "1.2"), ("http/1.1", "1.3")] {
        let client = Client::connect(proxy.dir.path(), proxy.edge, &Dial { alpn, version, ..Dial::default() });
        let spoken = json!([alpn, format!("TLSv{version}")]);
        assert_eq!(json!([client.connected["alpn"], client.connected["version"]]), spoken);
    }
    assert_eq!(nginx.log(), "", "nothing came to the origin");
}

/// Sends SIGHUP and waits until the listeners' files have been read.
pub fn reload(proxy: &Proxy) -> Value {
    let of_files = || {
        let told = |record: &Value| record["kind"] == "admin" || record["detail"]["result"] == "refused";
        proxy.records().into_iter().filter(told).collect::<Vec<_>>()
    };
    let before = of_files().len();
    proxy.signal("HUP");
    eventually("a record of the reload", Instant::now() + PATIENCE, || of_files().into_iter().nth(before))
}

pub fn close_of(proxy: &Proxy, port: u16) -> Value {
    proxy.record("a close", |record| record["kind"] == "close" && record["client_port"] == port)
}

/// How a tunnel that is cut short ends for its client: on HTTP/2 by CONNECT_ERROR (RFC 9113 sections 7 and 8.5).
fn cut(alpn: &str) -> Value {
    if alpn == "h2" { json!(["reset", 10]) } else { json!(["gone", null]) }
}

#[test]
fn a_revocation_cuts_its_tunnels_and_no_others() {
    let origin = Origin::start();
    let (dir, authority) = folder(REQUIRED, &IDENTITIES, origin.port(), "");
    let proxy = Proxy::start_in(dir);
    let mut clients: Vec<(&str, &str, Client)> = Vec::new();
    for (certificate, alpn) in [("right", "http/1.1"), ("right", "h2"), ("named", "http/1.1"), ("named", "h2")] {
        let dial = Dial { certificate, alpn, ..Dial::default() };
        clients.push((certificate, alpn, Client::connect(proxy.dir.path(), proxy.edge, &dial)));
    }
    let streams: Vec<u64> = clients.iter_mut().map(|(.., client)| client.open(origin.port())).collect();
    fs::write(proxy.dir.path().join("ca.crl"), authority.list(&[SERIALS[0], SERIALS[2]])).unwrap();
    let record = reload(&proxy);
    assert_eq!(record["detail"]["result"], "in_force", "{record}");
    let order = json!(["open", format!("api.acme.test:{}", origin.port()), "api.acme.test"]);
    for ((certificate, alpn, client), stream) in clients.iter_mut().zip(streams) {
        let name = format!("{certificate} {alpn}");
        if *certificate == "named" {
            assert!(client.echoes(stream, 100_000), "{name} lives");
            continue;
        }
        let seen = client.order(&json!(["wait", stream]));
        assert_eq!(json!([seen["end"], seen["code"]]), cut(alpn), "{name}: {seen}");
        let close = close_of(&proxy, client.port());
        assert_eq!(
            (&close["reason"], &close["client_identity"]),
            (&json!("revoked"), &json!(RIGHT)),
            "{name}: {close}"
        );
        if *alpn == "h2" {
            let seen = client.order(&order);
            assert_eq!(
                (&seen["status"], &seen["reason"]),
                (&json!(403), &json!("client_certificate_revoked")),
                "{seen}"
            );
            let its = |record: &Value| record["client_port"] == client.port() && record["outcome"] == "deny";
            assert_eq!(proxy.record("its refusal", its)["reason"], "client_certificate_revoked");
        }
    }
    let seen = s_client(&proxy, "right", &[]);
    assert!(seen.err.contains("SSL alert number 44\n"), "a new handshake: {seen:?}");
}

/// The certificate was good when the head was judged, and is not when the tunnel opens.
#[test]
fn a_revocation_before_the_hello_cuts_the_tunnel_as_it_opens() {
    let origin = Origin::start();
    let (dir, authority) = folder(REQUIRED, &IDENTITIES, origin.port(), "hello_timeout: 60s");
    let proxy = Proxy::start_in(dir);
    let mut clients = ["http/1.1", "h2"].map(|alpn| {
        let mut client = Client::connect(proxy.dir.path(), proxy.edge, &Dial { alpn, ..Dial::default() });
        let asked = client.order(&json!(["ask", format!("api.acme.test:{}", origin.port())]));
        assert_eq!((&asked["status"], &asked["end"]), (&json!(200), &Value::Null), "{alpn}: {asked}");
        (alpn, client, asked["stream"].clone())
    });
    fs::write(proxy.dir.path().join("ca.crl"), authority.list(&[SERIALS[0], SERIALS[2]])).unwrap();
    assert_eq!(reload(&proxy)["detail"]["result"], "in_force");
    for (alpn, client, stream) in &mut clients {
        let seen = client.order(&json!(["greet", stream, "api.acme.test"]));
        assert_eq!(json!([seen["end"], seen["code"]]), cut(alpn), "{alpn}: {seen}");
        let close = close_of(&proxy, client.port());
        assert_eq!((&close["reason"], &close["bytes_out"]), (&json!("revoked"), &json!(0)), "{alpn}: {close}");
    }
    assert_eq!(origin.numbers().len(), 0, "nothing came to the origin");
}

#[test]
fn a_new_certificate_of_the_listener_loses_no_tunnel() {
    let origin = Origin::start();
    let (dir, authority) = folder(REQUIRED, &IDENTITIES, origin.port(), "");
    let proxy = Proxy::start_in(dir);
    let serial = || {
        let shown = Command::new("sh")
            .args(["-c", "openssl s_client -connect $0 </dev/null 2>/dev/null | openssl x509 -noout -serial"])
            .arg(proxy.edge.to_string())
            .output()
            .unwrap();
        String::from_utf8(shown.stdout).unwrap()
    };
    let dials = ["http/1.1", "h2"].map(|alpn| Dial { alpn, ..Dial::default() });
    let mut clients = dials.map(|dial| Client::connect(proxy.dir.path(), proxy.edge, &dial));
    let streams = clients.each_mut().map(|client| client.open(origin.port()));
    assert_eq!(serial(), "serial=02\n");
    authority.write_listener(proxy.dir.path(), 3);
    assert_eq!(reload(&proxy)["detail"]["result"], "in_force");
    assert_eq!(serial(), "serial=03\n");
    for (client, stream) in clients.iter_mut().zip(streams) {
        assert!(client.echoes(stream, 100_000));
    }
    assert!(!proxy.records().iter().any(|record| record["kind"] == "close"), "no tunnel has ended");
    // A file that is no certificate changes nothing.
    fs::write(proxy.dir.path().join("proxy.pem"), "not a certificate").unwrap();
    assert_eq!(reload(&proxy)["detail"]["result"], "refused");
    assert_eq!(serial(), "serial=03\n");
}

/// Makes a credential as an operator would, and gives its secret.
fn credential(dir: &Path) -> String {
    let made = finish(sallyport().args(["keys", "new", "credential", "batch-1"]), "");
    let (secret, line) = made.out.split_once('\n').unwrap();
    fs::write(dir.join("credentials.yaml"), format!("credentials:\n{line}")).unwrap();
    secret.to_owned()
}

/// Whether a text stands in any file below a folder.
fn is_anywhere(folder: &Path, text: &str) -> bool {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            return is_anywhere(&path, text);
        }
        let bytes = fs::read(&path).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

/// Each request of a connection has its own credential, whatever became of the one before.
#[test]
fn each_stream_is_let_in_by_its_own_credential() {
    let origin = Origin::start();
    let (dir, _) = folder(CREDENTIALS, &["login:batch-1"], origin.port(), "");
    // Where there is another source at the same address, only the credential tells which one it is.
    let policy = dir.path().join("policy.yaml");
    let text = fs::read_to_string(&policy).unwrap();
    let another = "sources: [{name: web, subnets: [127.0.0.1/32], identities: [\"login:batch-2\"]}, ";
    fs::write(policy, text.replacen("sources: [", another, 1)).unwrap();
    let bearer = format!("Bearer batch-1.{}", credential(dir.path()));
    let proxy = Proxy::start_in(dir);
    let target = format!("api.acme.test:{}", origin.port());
    let right = json!(["open", target, "api.acme.test", [["proxy-authorization", bearer]]]);
    for (name, first) in [("the right ones alone", None), ("behind one without", Some(407))] {
        let mut client = Client::connect(proxy.dir.path(), proxy.edge, &Dial { certificate: "", ..Dial::default() });
        if let Some(status) = first {
            assert_eq!(client.order(&json!(["open", target, "api.acme.test"]))["status"], status, "{name}");
        }
        let opened = [0; 2].map(|_| client.order(&right));
        for opened in &opened {
            assert_eq!((&opened["status"], &opened["end"]), (&json!(200), &Value::Null), "{name}: {opened}");
            assert!(client.echoes(opened["stream"].as_u64().unwrap(), 10_000), "{name}");
        }
    }
}

#[test]
fn credentials_let_a_client_in_and_stand_nowhere() {
    let nginx = Nginx::start(&["api.acme.test"]);
    let (dir, _) = folder(CREDENTIALS, &["login:batch-1"], nginx.port, "");
    let secret = credential(dir.path());
    let proxy = Proxy::start_in(dir);
    let bearer = |secret: &str| format!("Proxy-Authorization: Bearer batch-1.{secret}");
    let wrong = format!("{secret}x");
    let mut before = 0;
    for (name, args, code, out, reason) in [
        ("none", vec![], 56, "407 0", "credentials_missing"),
        ("Basic", vec!["--proxy-user".to_owned(), format!("batch-1:{secret}")], 0, "200 1048576", "allowed"),
        ("Bearer", vec!["--proxy-header".to_owned(), bearer(&secret)], 0, "200 1048576", "allowed"),
        (
            "a wrong secret",
            vec!["--proxy-user".to_owned(), format!("batch-1:{wrong}")],
            56,
            "403 0",
            "credentials_wrong",
        ),
        (
            "a wrong name",
            vec!["--proxy-user".to_owned(), format!("batch-2:{secret}")],
            56,
            "403 0",
            "credentials_wrong",
        ),
        ("a wrong Bearer", vec!["--proxy-header".to_owned(), bearer(&wrong)], 56, "403 0", "credentials_wrong"),
    ] {
        let args: Vec<&str> = args.iter().map(String::as_str).chain(["-v"]).collect();
        let seen = curl(&proxy, &nginx, "", &args);
        assert_eq!((seen.code, &*seen.out), (Some(code), out), "{name}: {seen:?}");
        assert_eq!(seen.err.contains("< Proxy-Authenticate: Bearer\r\n"), reason == "credentials_missing", "{name}");
        let record = decision(&proxy, &mut before);
        let identity = if reason == "allowed" { json!("login:batch-1") } else { Value::Null };
        assert_eq!((&record["reason"], &record["client_identity"]), (&json!(reason), &identity), "{name}: {record}");
    }
    assert_eq!(nginx.log().lines().count(), 2);
    let told = proxy.log().join("\n") + &proxy.admin_page("/metrics").1;
    let (dir, code) = proxy.stop();
    assert_eq!(code, Some(0));
    assert!(is_anywhere(dir.path(), "login:batch-1"), "the test sees the files");
    for written in [secret.clone(), STANDARD.encode(format!("batch-1:{secret}"))] {
        assert!(!is_anywhere(dir.path(), &written) && !told.contains(&written), "the secret is written somewhere");
    }
}
