//! Every way in, as `check` and `explain` know it: which source, captured connections, and what does not go together.
//! Not here: the ways themselves, over sockets. Source: the contract's "Which source", `listeners`, `explain`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::Value;
use tempfile::TempDir;

use super::programs::{Finished, finish, sallyport};

const TLS: &str = "tls: {certificate: cert.pem, key: key.pem, client_auth: required, client_ca: ca.pem}";

/// A configuration with these listeners, and a policy.
fn written(listeners: &str, policy: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(["proxy.test".to_owned()]).unwrap();
    fs::write(dir.path().join("cert.pem"), made.cert.pem()).unwrap();
    let key = dir.path().join("key.pem");
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = authority.self_signed(&KeyPair::generate().unwrap()).unwrap();
    fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
    let config = format!(
        "instance: a\npolicy: policy.yaml\ndns: {{hosts: {{api.acme.test: [8.8.8.8]}}}}\nlisteners:\n{listeners}"
    );
    fs::write(dir.path().join("sallyport.yaml"), config).unwrap();
    fs::write(dir.path().join("policy.yaml"), format!("version: 1\n{policy}")).unwrap();
    dir
}

fn run(dir: &Path, words: &str) -> Finished {
    finish(sallyport().args(words.split(' ')).arg("-c").arg(dir.join("sallyport.yaml")), "")
}

const RULES: &str = "rules:
  - {id: acme/api, customer: acme, sources: [ivr, batch, jobs], hosts: [api.acme.test]}
";

#[test]
fn explain_says_which_identity_made_a_client_its_sources() {
    let dir = written(
        &format!(
            "  - {{name: edge, address: '127.0.0.1:3128', {TLS}}}\n  - {{name: local, address: 'unix:edge.sock'}}\n"
        ),
        &format!(
            "sources:
  - {{name: ivr, subnets: [10.20.0.0/24], identities: ['spiffe://voice.example/ivr/*']}}
  - {{name: batch, subnets: [10.20.0.0/24], identities: [batch.voice.example]}}
  - {{name: jobs, uids: [1000], subnets: [10.30.0.0/24]}}
{RULES}"
        ),
    );
    for (words, code, says) in [
        (
            "--source 10.20.0.7 --identity spiffe://voice.example/ivr/east",
            0,
            &["source     10.20.0.7 is of `ivr`", "identity   `spiffe://voice.example/ivr/east` is one of `ivr`"][..],
        ),
        ("--source 10.20.0.7 --identity batch.voice.example", 0, &["is one of `batch`", "allow: allowed"]),
        (
            "--source 10.20.0.7",
            1,
            &[
                "source     10.20.0.7 may be of `ivr`, `batch`",
                "identity   none shown; asked for is `spiffe://voice.example/ivr/*`, `batch.voice.example`",
                "deny: identity_required",
            ],
        ),
        (
            "--source 10.20.0.7 --identity x.voice.example",
            1,
            &["`x.voice.example` shown; asked for is", "deny: identity_not_allowed"],
        ),
        (
            "--source 10.30.0.7 --identity x.voice.example",
            0,
            &["identity   `x.voice.example` shown; `jobs` asks for none"],
        ),
        ("--source user:1000", 0, &["source     user:1000 is of `jobs`", "allow: allowed"]),
        ("--source user:1000 --listener local", 0, &["allow: allowed"]),
        ("--source user:1001", 1, &["deny: source_unknown; the client belongs to no source"]),
    ] {
        let ended = run(dir.path(), &format!("explain --target api.acme.test:443 {words}"));
        assert_eq!(ended.code, Some(code), "{words}: {ended:?}");
        assert!(says.iter().all(|says| ended.out.contains(says)), "{words}: {ended:?}");
    }
    for (words, says) in [
        ("--source user:1000 --listener edge", "listener `edge` is no Unix socket; write an address for the source"),
        ("--source 10.20.0.7 --listener local", "listener `local` is a Unix socket; write `user:UID` for the source"),
        ("--source user:1000 --identity a.example", "listener `local` asks for no client certificate; leave"),
        ("--source 10.20.0.7 --identity login:a", "listener `edge` takes no credentials; leave"),
        ("--source user:root", "or `user:1000` for a user who comes over a Unix socket"),
        ("--source 10.20.0.7 --identity spiffe://voice.example/*", "bad SPIFFE ID `spiffe://voice.example/*`; write"),
    ] {
        let ended = run(dir.path(), &format!("explain --target api.acme.test:443 {words}"));
        assert_eq!((ended.code, &*ended.out), (Some(2), ""), "{words}: {ended:?}");
        assert!(ended.err.contains(says), "{words}: {ended:?}");
    }
}

#[test]
fn explain_judges_what_a_transparent_listener_captures() {
    let dir = written(
        "  - {name: nat, address: '127.0.0.1:3129', mode: transparent}\n  - {name: edge, address: '127.0.0.1:3128'}\n",
        "sources: [{name: ivr, subnets: [10.20.0.0/24]}]
rules:
  - {id: acme/api, customer: acme, sources: [ivr], hosts: [api.acme.test]}
  - {id: acme/gw, customer: acme, sources: [ivr], networks: [198.51.100.77/32], tls: {sni: optional, sni_names: [gw.acme.test]}}
",
    );
    for (words, code, says) in [
        (
            "--target 203.0.113.9:443 --sni api.acme.test",
            0,
            &["target     api.acme.test:443; the client called 203.0.113.9:443", "addresses  8.8.8.8"][..],
        ),
        ("--target 198.51.100.77:443", 0, &["rule       `acme/gw`", "hello      TLS 1.3, no name"]),
        ("--target 198.51.100.77:443 --sni gw.acme.test", 0, &["target     198.51.100.77:443; the client called"]),
        ("--target 198.51.100.77:443 --sni x.acme.test", 1, &["deny: sni_mismatch", "nearest    `acme/gw`"]),
        ("--target 203.0.113.9:443", 1, &["deny: destination_not_listed"]),
        ("--target 203.0.113.9:443 --sni api.acme.tset", 1, &["deny: destination_not_listed", "nearest    `acme/api`"]),
        ("--target 127.0.0.1:3129 --sni api.acme.test", 1, &["deny: address_forbidden"]),
    ] {
        let ended = run(dir.path(), &format!("explain --source 10.20.0.7 --listener nat {words}"));
        assert_eq!(ended.code, Some(code), "{words}: {ended:?}");
        assert!(says.iter().all(|says| ended.out.contains(says)), "{words}: {ended:?}");
    }
    let by_default = run(dir.path(), "explain --source 10.20.0.7 --target api.acme.test:443");
    assert!(by_default.code == Some(0) && !by_default.out.contains("called"), "{by_default:?}");
    for (words, says) in [
        ("--target api.acme.test:443", "listener `nat` is transparent; write `ADDRESS:PORT`, which the client called"),
        ("--target 198.51.100.77:443 --method GET", "listener `nat` is transparent, and its clients send no head"),
    ] {
        let ended = run(dir.path(), &format!("explain --source 10.20.0.7 --listener nat {words}"));
        assert!(ended.code == Some(2) && ended.err.contains(says), "{words}: {ended:?}");
    }
}

/// A listener and a policy, each good alone.
#[test]
fn check_tells_what_of_listeners_and_policy_does_not_go_together() {
    let identities = "sources: [{name: a, subnets: [10.20.0.0/24], identities: [a.example]}]\n";
    for (row, listeners, policy, want) in [
        (
            "no certificates",
            "  - {name: e, address: '127.0.0.1:1'}\n",
            identities,
            "policy.yaml:2:59: `a.example`: no listener asks",
        ),
        (
            "transparent",
            &*format!(
                "  - {{name: e, address: '127.0.0.1:1', {TLS}}}\n  - {{name: n, address: '127.0.0.1:2', mode: transparent}}\n"
            ),
            identities,
            "clients of listener `n` at DIR/sallyport.yaml:6:5, which is `mode: transparent`, can show no identity; remove",
        ),
        (
            "no socket",
            "  - {name: e, address: '127.0.0.1:1'}\n",
            "sources: [{name: a, uids: [7]}]\n",
            "no listener is a Unix socket; write",
        ),
        (
            "behind a load balancer",
            "  - {name: e, address: '127.0.0.1:1', proxy_protocol: {from: [10.20.0.0/28]}}\n",
            "sources: [{name: a, subnets: [10.20.0.0/24]}]\n",
            "policy.yaml:2:31: `10.20.0.0/24` overlaps `10.20.0.0/28`, from which listener `e` at DIR/sallyport.yaml:5:5 takes",
        ),
    ] {
        let dir = written(listeners, policy);
        let ended = run(dir.path(), "check");
        assert_eq!((ended.code, ended.err.lines().count()), (Some(2), 1), "{row}: {ended:?}");
        let want = want.replace("DIR", &dir.path().display().to_string());
        assert!(ended.err.contains(&want), "{row}: {ended:?}");
    }
}

/// Cases need no listener: what a client shows is theirs to say.
#[test]
fn cases_have_identities_and_users() {
    let dir = TempDir::new().unwrap();
    let policy = "version: 1
sources: [{name: ivr, subnets: [10.20.0.0/24], identities: ['spiffe://v.example/*', 'login:c']}, {name: batch, subnets: [10.20.0.0/24], identities: [b.example]}, {name: jobs, uids: [1000]}]
";
    fs::write(dir.path().join("policy.yaml"), format!("{policy}{RULES}")).unwrap();
    let case = |name: &str, who: &str, reason: &str| {
        format!("  - {{name: {name}, {who}, target: 'api.acme.test:443', expect: {{reason: {reason}}}}}\n")
    };
    let cases = [
        case("a SPIFFE ID", "source: 10.20.0.7, identity: 'spiffe://v.example/a'", "allowed"),
        case("a credential", "source: 10.20.0.7, identity: 'login:c'", "allowed"),
        case("a name", "source: 10.20.0.7, identity: b.example", "allowed"),
        case("nothing shown", "source: 10.20.0.7", "identity_required"),
        case("another", "source: 10.20.0.7, identity: x.example", "identity_not_allowed"),
        case("a user", "source: 'user:1000'", "allowed"),
        case("another user", "source: user:7", "source_unknown"),
        case("wrong", "source: user:7", "allowed"),
    ];
    fs::write(dir.path().join("policy.cases.yaml"), format!("cases:\n{}", cases.concat())).unwrap();
    let ended = finish(sallyport().args(["policy", "test", "-o", "json"]).arg(dir.path()), "");
    let said: Value = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    assert_eq!((ended.code, &said["passed"], &said["failed"]), (Some(1), &7.into(), &1.into()), "{said}");
}
