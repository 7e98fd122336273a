//! The log over the admin port, read by a verifier of this test's own in Python: checkpoint, tiles and entries belong together.
//! Not here: the same by verifiers that others wrote (`audit`). Source: C2SP tlog-tiles, tlog-checkpoint; RFC 9162 section 2.1.1.

use std::time::Instant;

use serde_json::Value;

use super::access::{Guarded, start};
use crate::harness::{PATIENCE, eventually, status_of};
use crate::programs::{finish, program};

/// Records that a test makes: more than a full tile has.
const DENIALS: usize = 300;

/// A proxy with so many records, and how many are signed at least.
fn with_records() -> (Guarded, usize) {
    let guarded = start();
    for _ in 0..DENIALS {
        guarded.proxy.ask(b"CONNECT api.acme.test:443 HTTP/1.1\r\n\r\n");
    }
    let signed = eventually("they are signed", Instant::now() + PATIENCE, || {
        let (head, note) = guarded.with(&guarded.auditor, &[], "/log/checkpoint");
        let size: usize = note.lines().nth(1)?.parse().ok()?;
        (status_of(&head) == 200 && size > DENIALS).then_some(size)
    });
    (guarded, signed)
}

/// Fetches the newest checkpoint and all that it covers, and recomputes its root from the entries.
const VERIFIER: &str = r#"
import base64, hashlib, os, sys, urllib.request
base, token = sys.argv[1], os.environ["SALLYPORT_TOKEN"]
def get(path):
    request = urllib.request.Request(base + path, headers={"Authorization": "Bearer " + token})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read()
sha = lambda data: hashlib.sha256(data).digest()
_, size, root = get("/log/checkpoint").decode().split("\n")[:3]
leaves, hashes = [], []
for first in range(0, int(size), 256):
    width = min(256, int(size) - first)
    name = "%03d" % (first // 256) + ("" if width == 256 else ".p/%d" % width)
    bundle, tile = get("/log/tile/entries/" + name), get("/log/tile/0/" + name)
    while bundle:
        length = int.from_bytes(bundle[:2], "big")
        leaves.append(sha(b"\0" + bundle[2:2 + length]))
        bundle = bundle[2 + length:]
    hashes += [tile[at:at + 32] for at in range(0, len(tile), 32)]
def tree(part):
    if len(part) == 1:
        return part[0]
    half = 1
    while half * 2 < len(part):
        half *= 2
    return sha(b"\1" + tree(part[:half]) + tree(part[half:]))
assert leaves == hashes, "the tiles are not those of the entries"
assert len(leaves) == int(size), "not as many entries as the checkpoint has"
assert base64.b64encode(tree(leaves)).decode() == root, "the root is another one"
print(size)
"#;

#[test]
fn what_is_served_makes_the_signed_root() {
    let (guarded, _) = with_records();
    let mut python = program("python3");
    python
        .env("SALLYPORT_TOKEN", &guarded.auditor)
        .args(["-c", VERIFIER])
        .arg(format!("http://{}", guarded.proxy.admin));
    let verified = finish(&mut python, "");
    assert_eq!(verified.code, Some(0), "{}", verified.err);
    assert!(verified.out.trim_end().parse::<usize>().unwrap() > DENIALS);
    let readers: Vec<Value> = guarded.proxy.records().into_iter().filter(|record| record["kind"] == "export").collect();
    let [reader] = readers.as_slice() else { panic!("once a minute: {readers:#?}") };
    assert_eq!((&reader["actor"], &reader["detail"]["call"]), (&"qsa-2026".into(), &"GET /log/tile/entries".into()));
}

#[test]
fn heads_and_bounds_of_what_is_served() {
    let (guarded, size) = with_records();
    let newest = format!("/log/tile/0/001.p/{}", size - 256);
    for (path, status, content, cache) in [
        ("/log/checkpoint", 200, "text/plain; charset=utf-8", "cache-control: no-cache"),
        ("/log/tile/0/000", 200, "application/octet-stream", "content-length: 8192\r\n"),
        ("/log/tile/0/000.p/5", 200, "application/octet-stream", "content-length: 160\r\n"),
        (newest.as_str(), 200, "application/octet-stream", "cache-control: private, max-age=31536000, immutable"),
        ("/log/tile/entries/000", 200, "application/octet-stream", "immutable"),
        ("/log/tile/entries/001.p/3", 200, "application/octet-stream", "immutable"),
        ("/log/tile/0/001", 404, "text/plain; charset=utf-8", ""),
        ("/log/tile/0/x999/999", 404, "text/plain; charset=utf-8", ""),
        ("/log/tile/entries/001", 404, "text/plain; charset=utf-8", ""),
        ("/log/tile/entries/x001/000.p/1", 404, "text/plain; charset=utf-8", ""),
        ("/log/tile/0/0", 404, "text/plain; charset=utf-8", ""),
        ("/log/tile/../log.vkey", 404, "text/plain; charset=utf-8", ""),
        ("/log/segments/000000000000.jsonl", 404, "text/plain; charset=utf-8", ""),
    ] {
        let (head, _) = guarded.with(&guarded.auditor, &[], path);
        assert_eq!((status_of(&head), head.contains(cache)), (status, true), "{path}: {head}");
        assert!(head.contains(&format!("content-type: {content}")), "{path}: {head}");
    }
}

#[test]
fn an_export_is_on_record_before_it_is_acknowledged() {
    let guarded = start();
    let hash = "ab".repeat(32);
    let body = format!(
        "{{\"sha256\":\"{hash}\",\"format\":\"csv\",\"query\":\"host=4111111111111111.test\",\"records\":7,\"first_seq\":1,\"last_seq\":9}}"
    );
    let (head, answer) = guarded.with(&guarded.auditor, &["--data-binary", &body], "/v1/export");
    assert_eq!(status_of(&head), 200, "{head}{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let records = guarded.proxy.records();
    let record = records
        .iter()
        .find(|record| record["id"] == answer["id"])
        .unwrap_or_else(|| panic!("{answer} is not there: {records:#?}"));
    assert_eq!(
        (&record["kind"], &record["actor"], &record["client_ip"]),
        (&"export".into(), &"qsa-2026".into(), &"127.0.0.1".into())
    );
    let what = &record["detail"]["what"];
    assert_eq!(
        (&what["sha256"], &what["records"], &what["query"]),
        (&hash.into(), &7.into(), &"host=[PAN:visa:16].test".into()),
        "{record}"
    );
    let long = format!("{{\"sha256\":\"{}\"}}", "a".repeat(70_000));
    let file = guarded.proxy.dir.path().join("long");
    std::fs::write(&file, long).unwrap();
    for (data, says) in [("{}", "not a description"), (&format!("@{}", file.display()), "more than 65536 bytes")] {
        let (head, answer) = guarded.with(&guarded.auditor, &["--data-binary", data, "-H", "Expect:"], "/v1/export");
        assert_eq!((status_of(&head), answer.contains(says)), (400, true), "{head}{answer}");
    }
}
