//! Real clients through the real binary to a real HTTPS origin: curl, OpenSSL's s_client and Python's requests, over IPv4 and IPv6 on both
//! sides. What is allowed works; what is refused shows each client's user the reason. Not here: crafted bytes (`heads`, `hellos`).

use std::fs;
use std::net::SocketAddr;
use std::time::Instant;

use serde_json::Value;

use super::harness::{PATIENCE, Proxy, Setup, eventually};
use super::matrix::clients::{ALL, STATUS, client};
use super::matrix::{self, Case, Client, REASON};
use super::nginx::{FILE_SIZE, Nginx, contents};
use super::programs::{Finished, finish, program};

/// What the origin's certificate is for: names and literals, one of each family.
const NAMES: [&str; 4] = ["api.acme.test", "six.acme.test", "127.0.0.1", "::1"];

/// The same as a URL writes them.
const HOSTS: [&str; 4] = ["api.acme.test", "six.acme.test", "127.0.0.1", "[::1]"];

const LISTENERS: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

/// Those that distributions install in seconds; `make accept` runs the others.
const FEW: [Client; 7] = [
    client("curl", &["curl.sh"], STATUS),
    client("Wget", &["wget.sh"], REASON),
    client("OpenSSL s_client", &["openssl.sh"], REASON),
    client("requests", &["python.sh", "venv/bin/python", "requests"], REASON),
    client("Git", &["git.sh"], STATUS),
    client("pip", &["pip.sh", "venv/bin/python"], REASON),
    Client { tunnels: Some(2), ..client("apt", &["apt.sh"], REASON) },
];

#[test]
fn a_few_clients_work_in_every_case_that_is_theirs() {
    let rows = matrix::run(&FEW, &Case::ALL);
    assert_eq!(rows.len(), FEW.len());
}

#[test]
fn the_page_has_every_client() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/clients.md")).unwrap();
    for table in ["what works", "refusals", "alerts"] {
        let rest = page.split_once(&format!("<!-- {table}: written by `make accept` -->")).unwrap().1;
        let rows = rest.split_once(&format!("<!-- end of {table} -->")).unwrap().0.lines().filter_map(|line| {
            let (name, _) = line.strip_prefix("| ")?.split_once(" | ")?;
            Some(name).filter(|name| *name != "client")
        });
        let names: Vec<&str> = rows.collect();
        assert_eq!(names, ALL.map(|client| client.name), "docs/clients.md, {table}: `make accept` writes it anew");
    }
}

fn proxy(nginx: &Nginx, listen: &str) -> Proxy {
    let port = nginx.port;
    let policy = format!(
        "rules:
  - id: acme/names
    customer: acme
    sources: [tests, tests6]
    hosts: [api.acme.test, six.acme.test]
    ports: [{port}]
    addresses: [127.0.0.1/32, \"::1/128\"]
  - id: acme/literals
    customer: acme
    sources: [tests, tests6]
    networks: [127.0.0.1/32, \"::1/128\"]
    ports: [{port}]
    tls: {{sni: optional}}
"
    );
    let more = "dns: {hosts: {api.acme.test: [127.0.0.1], six.acme.test: [\"::1\"]}}\n";
    Proxy::start(&Setup { policy: &policy, more, listen, ..Setup::default() })
}

/// curl with the origin's authority, quiet but for errors.
fn curl(nginx: &Nginx, proxy: (&str, SocketAddr), args: &[&str]) -> Finished {
    let mut command = program("curl");
    command.args(["-q", "-sS", "--max-time", "15", "--cacert"]).arg(nginx.authority());
    finish(command.args([proxy.0, &format!("http://{}", proxy.1)]).args(args), "")
}

#[test]
fn curl_gets_and_posts_over_both_families_and_both_http_versions() {
    let nginx = Nginx::start(&NAMES);
    let (got, sent) = (nginx.dir.path().join("got"), nginx.dir.path().join("www/file"));
    for listen in LISTENERS {
        let proxy = proxy(&nginx, listen);
        let mut tunnels = 0;
        for host in HOSTS {
            for (flag, version, says) in
                [("-x", "--http1.1", "1.1"), ("-x", "--http2", "2"), ("--proxy1.0", "--http1.1", "1.1")]
            {
                let row = format!("{listen} {flag} {version} {host}");
                let base = format!("https://{host}:{}", nginx.port);
                let seen = "%{http_connect} %{response_code} %{http_version} %{size_download}";
                let file = format!("{base}/file");
                let args = [version, "-o", got.to_str().unwrap(), "-w", seen, &file];
                let get = curl(&nginx, (flag, proxy.edge), &args);
                assert_eq!((get.code, &*get.out), (Some(0), &*format!("200 200 {says} {FILE_SIZE}")), "{row}: {get:?}");
                assert_eq!(fs::read(&got).unwrap(), contents(), "{row}: the file arrives as it is");
                let (data, sink) = (format!("@{}", sent.display()), format!("{base}/sink"));
                let post = curl(&nginx, (flag, proxy.edge), &[version, "--data-binary", &data, &sink]);
                assert_eq!((post.code, &*post.out), (Some(0), "taken\n"), "{row}: {post:?}");
                tunnels += 2;
            }
        }
        check_records(&proxy, tunnels);
    }
    let posted = nginx.log().lines().filter(|line| line.starts_with("POST /sink")).count();
    assert_eq!(posted, 24);
}

/// A decision and a close for each tunnel; half of them moved the file in, half moved it out.
fn check_records(proxy: &Proxy, tunnels: usize) {
    let of = |kind: &str| proxy.records().into_iter().filter(|record| record["kind"] == kind).collect::<Vec<_>>();
    let closes = eventually("all tunnels are closed", Instant::now() + PATIENCE, || {
        Some(of("close")).filter(|closes| closes.len() == tunnels)
    });
    let decisions = of("decision");
    assert!(decisions.iter().all(|decision| decision["reason"] == "allowed"), "{decisions:#?}");
    assert_eq!(decisions.len(), tunnels);
    for field in ["bytes_in", "bytes_out"] {
        let large = |close: &&Value| close[field].as_u64().unwrap() >= FILE_SIZE as u64;
        assert_eq!(closes.iter().filter(large).count(), tunnels / 2, "{field}");
    }
    assert!(closes.iter().all(|close| close["tls_version"] == "1.3" && close["tls_cipher"].is_string()), "{closes:#?}");
}

#[test]
fn curl_shows_its_user_why_it_is_refused() {
    let nginx = Nginx::start(&NAMES);
    let port = nginx.port;
    let rows = [
        ("an unlisted name", "https://unlisted.example/".to_owned(), "destination_not_listed"),
        ("an unlisted literal", format!("https://127.0.0.2:{port}/"), "destination_not_listed"),
        ("another port", "https://api.acme.test:22/".to_owned(), "port_not_allowed"),
        ("a card number", "https://4111111111111111.example/".to_owned(), "sensitive_data_in_target"),
    ];
    for listen in LISTENERS {
        let proxy = proxy(&nginx, listen);
        for (name, url, reason) in &rows {
            for flag in ["-x", "--proxy1.0"] {
                let seen = curl(&nginx, (flag, proxy.edge), &["-v", "-w", "%{http_connect}", url]);
                assert_eq!((seen.code, &*seen.out), (Some(56), "403"), "{name} {flag}: {seen:?}");
                assert!(seen.err.contains("CONNECT tunnel failed, response 403"), "{name} {flag}: {seen:?}");
                assert!(seen.err.contains(&format!("< HTTP/1.1 403 {reason}\r\n")), "{name} {flag}: {seen:?}");
            }
        }
        for (args, code) in
            [(["-X", "GET"], 0), (["-f", "--no-progress-meter"], 22), (["-d", "pan=4111111111111111"], 0)]
        {
            let seen =
                curl(&nginx, ("-x", proxy.edge), &[args[0], args[1], "http://api.acme.test/a?b=4111111111111111"]);
            assert_eq!(seen.code, Some(code), "{args:?}: {seen:?}");
            if code == 0 {
                let problem: Value = serde_json::from_str(&seen.out).unwrap();
                assert_eq!(
                    (&problem["reason"], &problem["status"]),
                    (&"plaintext_http".into(), &403.into()),
                    "{problem}"
                );
                assert!(problem["detail"].as_str().unwrap().contains("https"), "{problem}");
                assert!(!seen.out.contains("41111111"), "{seen:?}");
            }
        }
        assert!(proxy.records().iter().all(|record| record["outcome"] != "allow"));
    }
    assert_eq!(nginx.log(), "", "nothing came to the origin");
}

fn s_client(nginx: &Nginx, proxy: &Proxy, target: &str, args: &[&str]) -> Finished {
    let mut command = program("openssl");
    command.args(["s_client", "-quiet", "-verify_return_error", "-CAfile"]).arg(nginx.authority());
    command.args(["-proxy", &proxy.edge.to_string(), "-connect", target]).args(args);
    finish(&mut command, "GET /file HTTP/1.0\r\nHost: api.acme.test\r\n\r\n")
}

#[test]
fn openssl_talks_through_the_proxy_and_shows_alerts() {
    let nginx = Nginx::start(&NAMES);
    let port = nginx.port;
    let api = format!("api.acme.test:{port}");
    for listen in LISTENERS {
        let proxy = proxy(&nginx, listen);
        for (name, target, args, version) in [
            ("TLS 1.3", api.clone(), vec!["-servername", "api.acme.test", "-tls1_3"], "1.3"),
            ("TLS 1.2", api.clone(), vec!["-servername", "api.acme.test", "-tls1_2"], "1.2"),
            ("IPv6", format!("six.acme.test:{port}"), vec!["-servername", "six.acme.test"], "1.3"),
            ("a literal", format!("127.0.0.1:{port}"), vec!["-noservername"], "1.3"),
        ] {
            let seen = s_client(&nginx, &proxy, &target, &args);
            assert_eq!(seen.code, Some(0), "{listen} {name}: {}", seen.err);
            assert!(seen.out.starts_with("HTTP/1.1 200 OK\r\n"), "{listen} {name}: {}", seen.err);
            let of_it = |record: &Value| record["kind"] == "close" && record["tls_version"] == version;
            proxy.record(name, of_it);
        }
        for (name, target, args, says) in [
            ("an unlisted name", "unlisted.example:443", vec![], "403 destination_not_listed"),
            // It asks for `::1:443`, and where an address ends and its port begins is never guessed.
            ("a literal of IPv6", "[::1]:443", vec![], "400 malformed_"),
            ("another name inside", &api, vec!["-servername", "evil.example"], "SSL alert number 112"),
            ("no name inside", &api, vec!["-noservername"], "SSL alert number 112"),
            ("another protocol", &api, vec!["-servername", "api.acme.test", "-alpn", "ftp"], "SSL alert number 120"),
            (
                "an old version",
                &api,
                vec!["-servername", "api.acme.test", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
                "SSL alert number 70",
            ),
        ] {
            let seen = s_client(&nginx, &proxy, target, &args);
            assert_eq!(seen.code, Some(1), "{listen} {name}: {seen:?}");
            assert!(seen.err.contains(says), "{listen} {name}: {seen:?}");
        }
    }
    assert_eq!(nginx.log().lines().count(), 8, "the allowed alone came to the origin");
}

/// Prints one JSON object a request: what a user of requests sees.
const SCRIPT: &str = r#"
import json, sys, requests
proxy, authority, port = sys.argv[1:]
session = requests.Session()
session.trust_env = False
session.proxies = {"http": "http://" + proxy, "https": "http://" + proxy}
session.verify = authority

def show(name, ask):
    try:
        answer = ask()
        seen = {"status": answer.status_code, "reason": answer.reason, "type": answer.headers.get("content-type"),
                "length": len(answer.content)}
        if answer.status_code != 200:
            seen["problem"] = answer.json()
    except requests.exceptions.RequestException as error:
        seen = {"error": type(error).__name__, "text": str(error)}
    print(json.dumps({"name": name, **seen}))

show("get", lambda: session.get(f"https://api.acme.test:{port}/file"))
show("again", lambda: session.get(f"https://api.acme.test:{port}/file"))
show("six", lambda: session.get(f"https://six.acme.test:{port}/file"))
show("literal", lambda: session.get(f"https://127.0.0.1:{port}/file"))
show("literal six", lambda: session.get(f"https://[::1]:{port}/file"))
show("post", lambda: session.post(f"https://api.acme.test:{port}/sink", data=b"x" * 1048576))
show("plaintext", lambda: session.get("http://api.acme.test/a?b=c"))
show("unlisted", lambda: session.get("https://unlisted.example/"))
show("port", lambda: session.get("https://api.acme.test:22/"))
"#;

#[test]
fn requests_works_and_raises_an_error_with_the_reason() {
    let nginx = Nginx::start(&NAMES);
    for listen in LISTENERS {
        let proxy = proxy(&nginx, listen);
        let mut command = program("python");
        command.args(["-c", SCRIPT, &proxy.edge.to_string()]).arg(nginx.authority()).arg(nginx.port.to_string());
        let ended = finish(&mut command, "");
        assert_eq!(ended.code, Some(0), "{}; `make test` installs what the tests drive", ended.err);
        let seen: Vec<Value> = ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of = |name: &str| seen.iter().find(|seen| seen["name"] == name).unwrap();
        for name in ["get", "again", "six", "literal", "literal six"] {
            assert_eq!((&of(name)["status"], &of(name)["length"]), (&200.into(), &FILE_SIZE.into()), "{}", of(name));
        }
        assert_eq!((&of("post")["status"], &of("post")["length"]), (&200.into(), &6.into()), "{}", of("post"));
        let plaintext = of("plaintext");
        assert_eq!(
            (&plaintext["status"], &plaintext["reason"]),
            (&403.into(), &"plaintext_http".into()),
            "{plaintext}"
        );
        assert_eq!(plaintext["type"], "application/problem+json", "{plaintext}");
        assert_eq!(plaintext["problem"]["reason"], "plaintext_http", "{plaintext}");
        for (name, reason) in [("unlisted", "destination_not_listed"), ("port", "port_not_allowed")] {
            assert_eq!(of(name)["error"], "ProxyError", "{}", of(name));
            let text = of(name)["text"].as_str().unwrap();
            assert!(text.contains(&format!("Tunnel connection failed: 403 {reason}")), "{text}");
        }
    }
}
