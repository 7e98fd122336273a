//! The commands by their words and exit codes: `check`, `explain`, `version`, `demo`, and what is wrong usage.
//! Not here: `run` as it serves, which every other module runs. Source: the promise of exit codes: 0 yes, 1 no, 2 usage or configuration, 3 outside.

mod check;
mod egress;
mod streams;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::harness::{Proxy, Setup, write_setup};
use super::origins::{self, Hello, Origin};
use super::programs::{Finished, finish, sallyport};

fn run(dir: &Path, args: &[&str]) -> Finished {
    finish(sallyport().args(args).arg("-c").arg(dir.join("sallyport.yaml")), "")
}

/// A policy with a case for every reason that a request alone can have.
fn good(port: u16) -> TempDir {
    let dir = TempDir::new().unwrap();
    let more = "dns:
  hosts:
    api.acme.test: [127.0.0.1]
    strict.acme.test: [127.0.0.1]
    meta.acme.test: [169.254.169.254]
    inner.acme.test: [10.0.0.1]
    mixed.acme.test: [127.0.0.1, 192.0.2.1]
";
    write_setup(dir.path(), &Setup { more, ..Setup::default() });
    let rule = |id: &str, rest: &str| format!("  - {{id: acme/{id}, customer: acme, sources: [near], {rest}}}\n");
    let loopback = "addresses: [127.0.0.1/32]";
    let rules = [
        rule("api", &format!("hosts: [api.acme.test], ports: [{port}], {loopback}")),
        rule(
            "strict",
            &format!(
                "hosts: [strict.acme.test], ports: [{port}], {loopback}, tls: {{min_version: \"1.3\", alpn: [h2]}}"
            ),
        ),
        rule("meta", "hosts: [meta.acme.test], addresses: [169.254.0.0/16]"),
        rule("inner", "hosts: [inner.acme.test]"),
        rule("mixed", &format!("hosts: [mixed.acme.test], {loopback}")),
        rule("old", "hosts: [old.acme.test], expires: 2020-01-01"),
        rule("never", "hosts: [\"**.never.test\"]"),
        rule(
            "literal",
            &format!("networks: [127.0.0.1/32], ports: [{port}], tls: {{sni: optional, sni_names: [gw.acme.test]}}"),
        ),
    ];
    let policy = format!(
        "version: 1\nnever: {{hosts: [\"**.never.test\"]}}\nsources:\n  - {{name: near, subnets: [127.0.0.0/24]}}\n  - {{name: far, subnets: [127.0.9.0/24]}}\nrules:\n{}",
        rules.concat()
    );
    fs::write(dir.path().join("policy.yaml"), policy).unwrap();
    dir
}

/// One request, for `explain` and for a running proxy.
struct Row {
    name: &'static str,
    source: [u8; 4],
    method: &'static str,
    target: String,
    hello: Hello<'static>,
    reason: &'static str,
    nearest: Option<&'static str>,
}

const NEAR: [u8; 4] = [127, 0, 0, 1];

fn row(name: &'static str, target: &str, reason: &'static str, nearest: Option<&'static str>) -> Row {
    let hello = Hello { name: "api.acme.test", ..Hello::default() };
    Row { name, source: NEAR, method: "CONNECT", target: target.to_owned(), hello, reason, nearest }
}

fn rows(port: u16) -> Vec<Row> {
    let api = &format!("api.acme.test:{port}");
    let strict = &format!("strict.acme.test:{port}");
    let hello = Hello { name: "strict.acme.test", ..Hello::default() };
    let (api_rule, literal) = (Some("acme/api"), Some("acme/literal"));
    vec![
        row("a listed name", api, "allowed", None),
        row("capitals and a final dot", &format!("API.Acme.Test.:{port}"), "allowed", None),
        Row {
            hello: Hello { alpn: &["h2", "http/1.1"], ..Hello::default() },
            ..row("usual protocols", api, "allowed", None)
        },
        Row { hello, ..row("TLS 1.3 where it must be", strict, "allowed", None) },
        row("a literal", &format!("127.0.0.1:{port}"), "sni_mismatch", literal),
        Row {
            hello: Hello { name: "", ..hello },
            ..row("a literal without a name", &format!("127.0.0.1:{port}"), "allowed", None)
        },
        Row {
            hello: Hello { name: "gw.acme.test", ..hello },
            ..row("a literal with its name", &format!("127.0.0.1:{port}"), "allowed", None)
        },
        row("an unlisted name", "evil.example:443", "destination_not_listed", Some("acme/never")),
        row("a slip of the pen", &format!("api.acme.tset:{port}"), "destination_not_listed", api_rule),
        row("below a listed name", &format!("x.api.acme.test:{port}"), "destination_not_listed", api_rule),
        row("an unlisted literal", &format!("127.0.0.2:{port}"), "destination_not_listed", Some("acme/literal")),
        row("another port", "api.acme.test:22", "port_not_allowed", api_rule),
        row("on the never list", "a.never.test:443", "destination_denied", None),
        row("an expired rule", "old.acme.test:443", "rule_expired", Some("acme/old")),
        row("cloud metadata", "meta.acme.test:443", "address_forbidden", Some("acme/meta")),
        row("a private address", "inner.acme.test:443", "address_forbidden", Some("acme/inner")),
        row("one bad address of two", "mixed.acme.test:443", "address_forbidden", Some("acme/mixed")),
        Row { source: [127, 0, 9, 1], ..row("another source's rule", api, "destination_not_listed", api_rule) },
        Row { source: [127, 7, 7, 7], ..row("no source", api, "source_unknown", None) },
        Row {
            hello: Hello { name: "evil.example", ..hello },
            ..row("another name in the hello", api, "sni_mismatch", api_rule)
        },
        Row { hello: Hello { name: "", ..hello }, ..row("no name in the hello", api, "sni_missing", api_rule) },
        Row {
            hello: Hello { old: true, ..hello },
            ..row("TLS 1.2 where 1.3 must be", strict, "tls_version_too_low", Some("acme/strict"))
        },
        Row {
            hello: Hello { alpn: &["http/1.1"], ..hello },
            ..row("an unlisted protocol", strict, "alpn_not_allowed", Some("acme/strict"))
        },
        row("no port", "api.acme.test", "malformed_target", None),
        row("a port with a zero", "api.acme.test:0443", "malformed_target", None),
        row("an octal address", "0177.0.0.1:443", "malformed_target", None),
        row("a card number", "4111-1111-1111-1111.evil.example:443", "sensitive_data_in_target", None),
        Row { method: "GET", ..row("plaintext", "http://api.acme.test/", "plaintext_http", None) },
        Row { method: "POST", ..row("another method", "/", "method_not_allowed", None) },
    ]
}

/// `explain`'s arguments for a row.
fn arguments(row: &Row) -> Vec<String> {
    let source = Ipv4Addr::from(row.source).to_string();
    let mut args: Vec<String> =
        ["explain", "-o", "json", "--source", &source, "--target", &row.target].map(str::to_owned).into();
    args.extend(["--method", row.method, "--tls", if row.hello.old { "1.2" } else { "1.3" }].map(str::to_owned));
    match row.hello.name {
        "" => args.push("--no-sni".to_owned()),
        name => args.extend(["--sni".to_owned(), name.to_owned()]),
    }
    args.extend(row.hello.alpn.iter().flat_map(|id| ["--alpn".to_owned(), (*id).to_owned()]));
    args
}

#[test]
fn explain_says_what_a_running_proxy_decides() {
    let origin = Origin::start();
    let dir = good(origin.port());
    let proxy = Proxy::start_in(dir);
    for row in rows(origin.port()) {
        let name = row.name;
        let mut socket = origins::connect_from(row.source.into(), proxy.edge);
        origins::ask_by(row.method, &mut socket, &row.target, &origins::hello(&row.hello));
        let record = proxy.decision_of(socket.local_addr().unwrap());
        assert_eq!(record["reason"], row.reason, "{name}: {record}");
        let args = arguments(&row);
        let ended = run(proxy.dir.path(), &args.iter().map(String::as_str).collect::<Vec<_>>());
        let said: Value = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{name}: {error}: {ended:?}"));
        for field in ["reason", "outcome", "rule", "source", "customer"] {
            assert_eq!(said[field], record[field], "{name}: `{field}` of {said} and {record}");
        }
        assert_eq!(ended.code, Some(i32::from(row.reason != "allowed")), "{name}: {ended:?}");
        assert_eq!(said["nearest"]["rule"].as_str(), row.nearest, "{name}: {said}");
        assert_eq!(said["nearest"]["differs"].is_string(), row.nearest.is_some(), "{name}: {said}");
        let last = said["steps"].as_array().unwrap().last().unwrap();
        assert_eq!(last["stage"], "decision", "{name}: {said}");
    }
}

#[test]
fn explain_for_people_and_with_more_arguments() {
    let dir = good(443);
    let explain = |more: &[&str]| {
        let args: Vec<&str> = ["explain", "--source", "127.0.0.1"].iter().chain(more).copied().collect();
        run(dir.path(), &args)
    };
    let rows: [(&str, &[&str], i32, &str); 8] = [
        ("allowed", &["--target", "api.acme.test:443"], 0, "decision   allow: allowed"),
        (
            "denied",
            &["--target", "api.acme.test:22"],
            1,
            "nearest    `acme/api`; what differs: the port: the rule has 443, not 22",
        ),
        ("an address", &["--target", "api.acme.test:443", "--address", "192.0.2.1"], 1, "deny: address_forbidden"),
        (
            "addresses",
            &["--target", "api.acme.test:443", "--address", "127.0.0.1", "--address", "::1"],
            1,
            "address_forbidden",
        ),
        ("unjudged", &["--target", "a.never.acme.test:443"], 1, "destination_not_listed"),
        (
            "before it expired",
            &["--target", "old.acme.test:443", "--at", "2020-01-01T23:59:59Z"],
            0,
            "addresses  unjudged",
        ),
        ("after it expired", &["--target", "old.acme.test:443", "--at", "2020-01-02T00:00:00Z"], 1, "rule_expired"),
        ("a listener", &["--target", "api.acme.test:443", "--listener", "edge"], 0, "allow: allowed"),
    ];
    for (name, args, code, says) in rows {
        let ended = explain(args);
        assert_eq!(ended.code, Some(code), "{name}: {ended:?}");
        assert!(ended.out.contains(says), "{name}: {ended:?}");
    }
}

#[test]
fn what_is_not_built_yet_is_said() {
    let dir = good(443);
    for words in ["audit report --from a --to b", "reach --customer acme", "doctor --attack"] {
        let ended = run(dir.path(), &words.split(' ').collect::<Vec<_>>());
        assert_eq!((ended.code, &*ended.out), (Some(2), ""), "{words}: {ended:?}");
        assert!(ended.err.contains("not available in this version"), "{words}: {ended:?}");
    }
}

#[test]
fn wrong_usage_is_2_and_a_missing_file_is_3() {
    let dir = good(443);
    let explain = "explain --source 127.0.0.1 --target a.example:443";
    for (words, code, says) in [
        ("frobnicate", 2, "unknown command `frobnicate`"),
        ("check --nope", 2, "--nope"),
        ("firewall --mode redirect", 2, "no listener has `mode: transparent` and `capture: redirect`"),
        ("firewall --mode sideways", 2, "only-way-out"),
        ("firewall --mode only-way-out --user a;b", 2, "bad user"),
        ("firewall --mode only-way-out --exclude 10.0.0.1/8", 2, "10.0.0.0/8"),
        ("firewall --mode only-way-out --exclude ::/0", 2, "shorter than /16"),
        ("firewall --mode only-way-out --listener edge", 2, "leave `--listener edge` out"),
        ("check -o xml", 2, "xml"),
        ("explain --target a.example:443", 2, "--source"),
        ("explain --source nowhere --target a.example:443", 2, "nowhere"),
        (&format!("{explain} --tls 9"), 2, "no TLS version `9`"),
        (&format!("{explain} --listener back"), 2, "no listener of that name; write one of `edge`"),
        (&format!("{explain} --sni a --no-sni"), 2, "--no-sni"),
        (&format!("{explain} --at yesterday"), 2, "yesterday"),
    ] {
        let ended = run(dir.path(), &words.split(' ').collect::<Vec<_>>());
        assert_eq!((ended.code, &*ended.out), (Some(code), ""), "{words}: {ended:?}");
        assert!(ended.err.contains(says), "{words}: {ended:?}");
    }
    assert_eq!(finish(&mut sallyport(), "").code, Some(2), "no command");
    fs::remove_file(dir.path().join("policy.yaml")).unwrap();
    for (gone, name) in [("policy.yaml", "policy.yaml"), ("sallyport.yaml", "sallyport.yaml")] {
        let _ = fs::remove_file(dir.path().join(gone));
        for words in ["check", "run", explain] {
            let ended = run(dir.path(), &words.split(' ').collect::<Vec<_>>());
            assert_eq!((ended.code, &*ended.out), (Some(3), ""), "{words} without {name}: {ended:?}");
            assert!(ended.err.contains(name), "{words} without {name}: {ended:?}");
        }
    }
}

#[test]
fn rules_for_a_proxy_that_is_root_come_with_a_warning() {
    let dir = TempDir::new().unwrap();
    let text = "policy: policy.yaml\nlisteners: [{name: edge, address: '0.0.0.0:3128'}]\n";
    fs::write(dir.path().join("sallyport.yaml"), text).unwrap();
    for (user, want) in [("root", "the proxy's user is root: everything that runs as root here goes past"), ("990", "")]
    {
        let ended = run(dir.path(), &["firewall", "--mode", "only-way-out", "--user", user]);
        assert!(ended.code == Some(0) && ended.out.contains("policy drop"), "{user}: {ended:?}");
        assert!(ended.err.starts_with(want) && ended.err.is_empty() == want.is_empty(), "{user}: {ended:?}");
    }
}

#[test]
fn what_is_said_of_arguments_repeats_no_card_number() {
    let dir = good(443);
    let card = "4111111111111111";
    for args in [
        vec!["explain", "--source", card, "--target", "a.example:443"],
        vec!["explain", "--source", "10.0.0.1", "--target", "a.example:443", "--address", card],
        vec!["audit", "query", "--limit", "4111 1111 1111 1111"],
        vec!["check", card],
        vec!["check", "--4111111111111111"],
        vec!["check", "-o", "4111-1111-1111-1111"],
    ] {
        let ended = run(dir.path(), &args);
        assert_eq!((ended.code, &*ended.out), (Some(2), ""), "{args:?}: {ended:?}");
        assert!(ended.err.contains("[PAN:visa:16]") && !ended.err.contains("1111"), "{args:?}: {ended:?}");
        assert!(ended.err.starts_with("error: ") && ended.err.contains("\n\nFor more information, try"), "{ended:?}");
    }
    for (args, code, says) in
        [(&["--help"][..], 0, "Usage: sallyport"), (&["--version"], 0, "sallyport "), (&[], 2, "")]
    {
        let ended = finish(sallyport().args(args), "");
        assert!(
            ended.code == Some(code) && ended.out.contains(says) && ended.out.is_empty() == (code != 0),
            "{ended:?}"
        );
        assert!(
            ended.err.is_empty() == (code == 0) && (code == 0 || ended.err.contains("Usage: sallyport")),
            "{ended:?}"
        );
    }
}

#[test]
fn version_and_the_configuration_from_the_environment() {
    let version = env!("CARGO_PKG_VERSION");
    let text = finish(sallyport().arg("version"), "");
    assert_eq!((text.code, text.out), (Some(0), format!("sallyport {version}\n")));
    let json: Value = serde_json::from_str(&finish(sallyport().args(["version", "-o", "json"]), "").out).unwrap();
    assert_eq!((&json["name"], &json["version"]), (&"sallyport".into(), &version.into()), "{json}");
    let dir = good(443);
    let config = dir.path().join("sallyport.yaml");
    let ended = finish(sallyport().arg("check").env("SALLYPORT_CONFIG", &config), "");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let ended = finish(sallyport().arg("check").env("SALLYPORT_CONFIG", "/nowhere.yaml").arg("-c").arg(&config), "");
    assert_eq!(ended.code, Some(0), "`-c` comes first: {ended:?}");
    let ended = finish(sallyport().arg("check").env("SALLYPORT_CONFIG", "/nowhere.yaml"), "");
    assert_eq!(ended.code, Some(3), "{ended:?}");
}

#[test]
fn demo_shows_the_product_and_ends() {
    let dir = TempDir::new().unwrap();
    let ended = finish(sallyport().args(["demo", "--once"]).env("TMPDIR", dir.path()), "");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let folder = ended.out.lines().find_map(|line| line.strip_prefix("folder ")).unwrap().trim();
    assert!(
        Path::new(folder).starts_with(dir.path()) && Path::new(folder).join("decisions/segments").is_dir(),
        "{folder}"
    );
    for reason in
        ["allowed", "destination_not_listed", "plaintext_http", "sni_mismatch", "not_tls", "address_forbidden"]
    {
        let shown = |line: &str| line.starts_with("ok ") && line.split(' ').any(|word| word == reason);
        assert!(ended.out.lines().any(shown), "{reason}: {}", ended.out);
    }
    assert!(!ended.out.contains("BAD"), "{}", ended.out);
}

#[test]
fn demo_needs_its_ports() {
    // Somebody else's socket there does as well.
    let _taken = TcpListener::bind("127.0.0.1:3128");
    let dir = TempDir::new().unwrap();
    let ended = finish(sallyport().arg("demo").env("TMPDIR", dir.path()), "");
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.err.contains("cannot listen on 127.0.0.1:3128"), "{ended:?}");
}

#[test]
fn a_shell_completes_what_there_is() {
    let script = finish(sallyport().args(["completions", "bash"]), "");
    assert_eq!((script.code, script.err.as_str()), (Some(0), ""));
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("sallyport.bash"), &script.out).unwrap();
    for (typed, want) in
        [("sallyport au", "audit"), ("sallyport audit ver", "verify"), ("sallyport check --conf", "--config")]
    {
        let complete = format!(
            ". ./sallyport.bash; COMP_WORDS=({typed}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _sallyport sallyport \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        let completed = finish(std::process::Command::new("bash").args(["-c", &complete]).current_dir(dir.path()), "");
        assert_eq!(completed.out.trim(), want, "`{typed}`: {}", completed.err);
    }
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let script = finish(sallyport().args(["completions", shell]), "");
        assert!(script.code == Some(0) && script.out.contains("explain"), "{shell}");
    }
    assert_eq!(finish(sallyport().args(["completions", "csh"]), "").code, Some(2));
}

#[test]
fn every_command_has_a_page() {
    let page = finish(sallyport().arg("man"), "");
    assert_eq!(page.code, Some(0));
    assert!(page.out.contains(".TH sallyport 1") && page.out.contains("sallyport\\-explain(1)"), "{}", page.out);
    let dir = TempDir::new().unwrap();
    let written = finish(sallyport().args(["man", "--out"]).arg(dir.path()), "");
    assert_eq!((written.code, written.out.as_str()), (Some(0), ""));
    for name in ["sallyport", "sallyport-run", "sallyport-audit-verify", "sallyport-policy-diff"] {
        let page = fs::read_to_string(dir.path().join(format!("{name}.1"))).unwrap();
        assert!(page.contains(&format!(".TH {name} 1")), "{page}");
    }
    let missing = finish(sallyport().args(["man", "--out"]).arg(dir.path().join("no")), "");
    assert!(missing.code == Some(3) && missing.err.starts_with("cannot write pages into `"), "{}", missing.err);
}
