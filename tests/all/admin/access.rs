//! Tokens and roles, with curl: whose call is answered, which record a refused one leaves, and that a flood of them fills no disk.
//! Not here: the files of tokens and TLS (`files`). Source: RFC 6750 section 3; PCI DSS 10.2.1.4.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{PATIENCE, Proxy, Setup, eventually, status_of, write_setup};
use crate::programs::{finish, program, sallyport};

/// A proxy with two tokens that the command made, of an auditor and of an operator.
pub struct Guarded {
    pub proxy: Proxy,
    pub auditor: String,
    pub operator: String,
}

/// A token and its line for the file.
pub fn new_token(name: &str, role: &str) -> (String, String) {
    let made = finish(sallyport().args(["keys", "new", "token", "--name", name, "--role", role]), "");
    assert_eq!(made.code, Some(0), "{made:?}");
    let (token, line) = made.out.trim_end().split_once('\n').unwrap();
    (token.to_owned(), line.to_owned())
}

pub fn start() -> Guarded {
    let dir = TempDir::new().unwrap();
    let ((auditor, first), (operator, second)) = (new_token("qsa-2026", "auditor"), new_token("ops", "operator"));
    fs::write(dir.path().join("tokens.yaml"), format!("tokens:\n  {first}\n  {second}\n")).unwrap();
    write_setup(dir.path(), &Setup { policy: "rules: []\n", admin: "tokens: tokens.yaml", ..Setup::default() });
    Guarded { proxy: Proxy::start_in(dir), auditor, operator }
}

impl Guarded {
    /// What curl gets: head and body.
    pub fn curl(&self, args: &[&str], path: &str) -> (String, String) {
        let url = format!("http://{}{path}", self.proxy.admin);
        let done = finish(
            program("curl").args(["-s", "-S", "-i", "--path-as-is", "--max-time", "20"]).args(args).arg(url),
            "",
        );
        assert_eq!(done.code, Some(0), "{path}: {done:?}");
        let (head, body) = done.out.split_once("\r\n\r\n").unwrap();
        (head.to_lowercase(), body.to_owned())
    }

    /// The same with a token.
    pub fn with(&self, token: &str, args: &[&str], path: &str) -> (String, String) {
        let bearer = format!("Authorization: Bearer {token}");
        self.curl(&[&["-H", &bearer], args].concat(), path)
    }

    pub fn refused(&self) -> Vec<Value> {
        let all = self.proxy.records();
        all.into_iter().filter(|record| record["kind"] == "admin" && record["detail"]["call"] != Value::Null).collect()
    }
}

impl Guarded {
    /// A call with this `Authorization`, and its answer.
    fn call(&self, call: &str, authorization: &str) -> (String, String) {
        let (method, path) = call.split_once(' ').unwrap();
        let field = format!("Authorization: {authorization}");
        let field: &[&str] = if authorization.is_empty() { &[] } else { &["-H", &field] };
        let (head, body) = self.curl(&[&["-X", method], field].concat(), path);
        (head + "\r\n", body)
    }
}

#[test]
fn a_call_that_is_refused_is_on_record_and_its_token_is_not() {
    let guarded = start();
    let auditor = guarded.auditor.as_str();
    let (cut, wrong) = (auditor.get(..52).unwrap(), format!("sallyport_{}", "A".repeat(43)));
    let none = "www-authenticate: bearer realm=\"sallyport\"\r\n";
    let invalid = "www-authenticate: bearer realm=\"sallyport\", error=\"invalid_token\"\r\n";
    let small = "www-authenticate: bearer realm=\"sallyport\", error=\"insufficient_scope\"\r\n";
    let rows = [
        ("GET /v1/status", "", none, "GET /v1/status"),
        ("GET /v1/status", &*format!("Basic {auditor}"), none, "GET /v1/status"),
        ("POST /v1/policy/reload", &format!("Bearer {wrong}"), invalid, "POST /v1/policy/reload"),
        ("GET /log/checkpoint", &format!("Bearer {wrong}"), invalid, "GET /log/checkpoint"),
        ("GET /log/tile/0/000", &format!("Bearer {cut}"), invalid, "GET /log/tile"),
        ("GET /log/tile/entries/000.p/1", "", none, "GET /log/tile/entries"),
        ("GET /v1/decisions", "Bearer", none, "GET /v1/decisions"),
        ("POST /v1/export", "", none, "POST /v1/export"),
        ("GET /v1/4111111111111111", "", none, "unknown"),
        ("POST /v1/drain", &format!("Bearer {auditor}"), small, "POST /v1/drain"),
    ];
    for (call, authorization, challenge, _) in rows {
        let (head, body) = guarded.call(call, authorization);
        let status = if challenge == small { 403 } else { 401 };
        assert_eq!(
            (status_of(&head), head.contains(challenge)),
            (status, true),
            "{call} {authorization}: {head}{body}"
        );
    }
    let records = eventually("records of refused calls", Instant::now() + PATIENCE, || {
        Some(guarded.refused()).filter(|records| records.len() >= rows.len())
    });
    assert_eq!(records.len(), rows.len());
    for (record, (call, _, challenge, word)) in records.iter().zip(rows) {
        let result = [(none, "no_token"), (invalid, "wrong_token"), (small, "role_too_small")];
        let result = result.iter().find(|(other, _)| *other == challenge).unwrap().1;
        let actor = if challenge == small { "qsa-2026".into() } else { Value::Null };
        let detail = &record["detail"];
        assert_eq!(
            (&detail["call"], &detail["result"], &record["actor"]),
            (&word.into(), &result.into(), &actor),
            "{call}"
        );
        assert_eq!(detail["status"], if challenge == small { 403 } else { 401 }, "{call}");
        assert!(record["client_ip"] == "127.0.0.1" && record["client_port"].is_u64(), "{record}");
    }
    let log = serde_json::to_string(&guarded.proxy.records()).unwrap();
    for secret in [auditor, cut, &wrong, "4111111111111111", "Basic"] {
        assert!(!log.contains(secret), "`{secret}` is in the log");
    }
}

#[test]
fn each_role_has_its_calls() {
    let guarded = start();
    let (auditor, operator) = (format!("Bearer {}", guarded.auditor), format!("bearer  {}", guarded.operator));
    for (call, authorization, status, says) in [
        ("GET /v1/egress-addresses", &auditor, 200, "\"addresses\":[]"),
        ("GET /v1/status", &auditor, 200, "\"instance\":\"tests\""),
        ("GET /v1/status", &operator, 200, ""),
        ("GET /v1/policy", &operator, 200, "\"matrix\":[]"),
        ("POST /v1/explain", &operator, 400, "not a question"),
        ("GET /v1/decisions?kind=start", &operator, 200, "\"kind\":\"start\""),
        ("DELETE /v1/status", &auditor, 405, ""),
        ("POST /log/checkpoint", &auditor, 405, ""),
        ("GET /v1/../livez", &auditor, 404, ""),
        ("GET /v1/nothing", &operator, 404, ""),
        ("GET /v1", &operator, 404, ""),
    ] {
        let (head, body) = guarded.call(call, authorization);
        assert_eq!((status_of(&head), body.contains(says)), (status, true), "{call}: {head}{body}");
        assert_eq!(status == 405, head.contains("\r\nallow: get, head\r\n"), "{call}: {head}");
    }
    assert_eq!(guarded.refused(), Vec::<Value>::new());
}

#[test]
fn a_flood_of_wrong_tokens_leaves_few_records_that_count_all_of_them() {
    const CALLS: u64 = 400;
    let guarded = start();
    let begun = Instant::now();
    let wrong = format!("http://{}/log/checkpoint?[1-{CALLS}]", guarded.proxy.admin);
    let done = finish(
        program("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}\n", "-H", "Authorization: Bearer x"])
            .arg(wrong),
        "",
    );
    assert_eq!(done.out.lines().filter(|status| *status == "401").count() as u64, CALLS, "{}", done.err);
    let told = |records: &[Value]| -> u64 {
        let own = |record: &Value| u64::from(record["detail"]["call"] != "several");
        records.iter().map(|record| own(record) + record["detail"]["unrecorded"].as_u64().unwrap_or(0)).sum()
    };
    let records = eventually("all calls are told", Instant::now() + PATIENCE, || {
        Some(guarded.refused()).filter(|records| told(records) >= CALLS)
    });
    assert_eq!(told(&records), CALLS);
    let most = 10 * (begun.elapsed().as_secs() + 2);
    assert!(records.len() as u64 <= most && (records.len() as u64) < CALLS, "{} records", records.len());
    let (head, _) = guarded.with(&guarded.auditor, &[], "/v1/status");
    assert_eq!(status_of(&head), 200, "whoever has a token is served");
}

#[test]
fn what_was_left_out_is_told_before_the_stop() {
    let guarded = start();
    let urls = format!("http://{}/v1/[1-60]", guarded.proxy.admin);
    let done = finish(program("curl").args(["-s", "-o", "/dev/null", "-w", "%{http_code}\n"]).arg(urls), "");
    assert_eq!(done.out.matches("401").count(), 60, "{done:?}");
    let (dir, code) = guarded.proxy.stop();
    assert_eq!(code, Some(0));
    let records = crate::harness::records(&dir.path().join("decisions"));
    let admin = records.iter().filter(|record| record["kind"] == "admin" && record["detail"]["result"] != "in_force");
    let own: u64 = admin
        .map(|r| u64::from(r["detail"]["call"] != "several") + r["detail"]["unrecorded"].as_u64().unwrap_or(0))
        .sum();
    assert_eq!(own, 60);
    assert_eq!(records.last().unwrap()["kind"], "stop");
}

#[test]
fn the_port_of_the_probes_has_no_log() {
    let dir = TempDir::new().unwrap();
    let ((auditor, first), (operator, second)) = (new_token("qsa", "auditor"), new_token("ops", "operator"));
    fs::write(dir.path().join("tokens.yaml"), format!("tokens:\n{first}\n{second}\n")).unwrap();
    let probes = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let more = format!("probes: {{address: \"{probes}\"}}\n");
    let admin = "tokens: tokens.yaml";
    write_setup(dir.path(), &Setup { policy: "rules: []\n", more: &more, admin, ..Setup::default() });
    let mut proxy = Proxy::start_in(dir);
    proxy.admin = probes;
    let guarded = Guarded { proxy, auditor, operator };
    for (path, status) in [
        ("/livez", 200),
        ("/readyz", 200),
        ("/metrics", 200),
        ("/v1/status", 404),
        ("/v1/policy", 404),
        ("/v1/decisions", 404),
        ("/log/checkpoint", 404),
        ("/log/tile/0/000.p/1", 404),
        ("/v1", 404),
        ("/", 404),
    ] {
        let (head, _) = guarded.with(&guarded.auditor, &[], path);
        assert_eq!(status_of(&head), status, "{path}: {head}");
    }
    for path in ["/v1/export", "/v1/explain", "/v1/policy/reload", "/v1/drain", "/v1/block", "/v1/nothing"] {
        let (head, _) = guarded.with(&guarded.operator, &["-X", "POST"], path);
        assert_eq!(status_of(&head), 404, "POST {path}: {head}");
    }
    assert_eq!(guarded.refused(), Vec::<Value>::new(), "there is no call to refuse");
}

#[test]
fn a_call_that_does_not_come_to_an_end_is_cut() {
    let guarded = start();
    let bearer = format!("Authorization: Bearer {}", guarded.auditor);
    let url = format!("http://{}/v1/export", guarded.proxy.admin);
    let begun = Instant::now();
    // A body that is announced and does not come.
    let args = ["-s", "-X", "POST", "-H", &bearer, "-H", "Content-Length: 100", "--max-time", "20"];
    let done = finish(program("curl").args(args).arg(url), "");
    assert!(matches!(done.code, Some(52 | 56)), "{done:?}: an empty answer, or a reset");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}
