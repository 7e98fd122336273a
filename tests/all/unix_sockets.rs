//! Clients over a Unix socket: users of this host, each of which a source has or has not.
//! Not here: what `check` says of such listeners (`ways`). Source: the contract's `address: unix:PATH`; unix(7), SO_PEERCRED.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::harness::{PATIENCE, Proxy};
use super::origins::{Origin, hello_for};

/// A proxy with a socket, whose one source has the user `uid`.
fn proxy(uid: u32, port: u16) -> Proxy {
    let dir = TempDir::new().unwrap();
    fs::write(
        dir.path().join("sallyport.yaml"),
        "instance: tests\npolicy: policy.yaml\nlisteners:\n  - {name: edge, address: '127.0.0.1:0'}\n\
         \x20 - {name: local, address: 'unix:edge.sock', permissions: '0600'}\n\
         dns: {hosts: {api.acme.test: [127.0.0.1]}}\ndecision_log: {directory: decisions, key: log.key}\n\
         admin: {address: '127.0.0.1:0'}\n",
    )
    .unwrap();
    fs::write(
        dir.path().join("policy.yaml"),
        format!(
            "version: 1\nsources: [{{name: batch, uids: [{uid}]}}]\nrules:\n  - {{id: api, customer: acme, sources: [batch], \
             hosts: [api.acme.test], ports: [{port}], addresses: [127.0.0.1/32]}}\n"
        ),
    )
    .unwrap();
    Proxy::start_in(dir)
}

/// Sends a CONNECT over the socket and reads the head of the answer.
fn ask(proxy: &Proxy, port: u16) -> (UnixStream, String) {
    let mut socket = UnixStream::connect(proxy.dir.path().join("edge.sock")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(socket, "CONNECT api.acme.test:{port} HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    (socket, String::from_utf8(answer).unwrap())
}

#[test]
fn a_user_is_a_client_and_others_are_strangers() {
    let origin = Origin::start();
    let own = fs::metadata("/proc/self").unwrap().uid();
    for (uid, status, reason) in [(own, 200, "allowed"), (own + 1, 403, "source_unknown")] {
        let proxy = proxy(uid, origin.port());
        let mode = fs::metadata(proxy.dir.path().join("edge.sock")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (mut socket, answer) = ask(&proxy, origin.port());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        if status == 200 {
            socket.write_all(&hello_for("api.acme.test")).unwrap();
            let mut record = [0; 5];
            socket.read_exact(&mut record).unwrap();
            assert_eq!(record[0], 22, "the server's hello");
        }
        let decision = proxy.record("a decision", |record| record["kind"] == "decision");
        let told = (&decision["reason"], &decision["client_identity"], &decision["client_ip"], &decision["listener"]);
        assert_eq!(told, (&json!(reason), &json!(format!("user:{own}")), &Value::Null, &json!("local")), "{decision}");
        drop(socket);
        let (dir, code) = proxy.stop();
        assert_eq!(code, Some(0));
        assert!(!dir.path().join("edge.sock").exists(), "the socket is taken away");
    }
}
