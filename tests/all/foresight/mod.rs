//! `policy stale`, `replay`, `suggest` and `import` from outside: on logs that the real binary wrote, also while it writes them, and on
//! configurations of peers. Not here: what they find by table (`foresight`), report mode through the whole proxy (`report_mode`), ten million
//! records (the acceptance tests). Source: the contract's table of commands.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::harness::{Proxy, SOURCE, Setup, write_setup};
use super::origins::{self, Answer, Origin};
use super::programs::{Finished, finish, sallyport};

fn policy(words: &[&str]) -> Finished {
    finish(sallyport().arg("policy").args(words), "")
}

/// Its rules: one that is used, on one of two ports, and one that nobody uses.
fn rules(port: u16) -> String {
    let rule = |id: &str, host: &str, rest: &str| {
        format!(
            "  - {{id: {id}, customer: acme, sources: [tests], hosts: [{host}], ports: [{port}{rest}], addresses: [127.0.0.1/32]}}\n"
        )
    };
    format!("rules:\n{}{}", rule("acme/api", "'*.acme.test'", ", 8443"), rule("acme/old", "old.acme.test", ""))
}

struct Day {
    proxy: Proxy,
    port: u16,
    _origin: Origin,
}

impl Day {
    /// A proxy that has let a tunnel through, refused two requests, and goes on.
    fn new() -> Self {
        let origin = Origin::start();
        let port = origin.port();
        let more = "dns: {hosts: {api.acme.test: [127.0.0.1]}}\n";
        let proxy = Proxy::start(&Setup { policy: &rules(port), more, ..Setup::default() });
        let (socket, answer) = origins::open(proxy.edge, port, 1);
        assert_eq!(answer, Answer::Open);
        drop(socket);
        proxy.record("its close", |record| record["kind"] == "close");
        for target in ["x.other.test:443", "api.acme.test:22"] {
            let (_, answer) = proxy.ask(format!("CONNECT {target} HTTP/1.1\r\n\r\n").as_bytes());
            assert!(answer.starts_with("HTTP/1.1 403"), "{target}: {answer}");
        }
        Self { proxy, port, _origin: origin }
    }

    fn log(&self) -> String {
        self.proxy.dir.path().join("decisions").display().to_string()
    }

    /// A policy file beside the proxy's, with these rules.
    fn policy(&self, rules: &str) -> String {
        let path = self.proxy.dir.path().join("new.yaml");
        fs::write(&path, format!("{SOURCE}{rules}")).unwrap();
        path.display().to_string()
    }
}

fn json(finished: &Finished) -> Value {
    serde_json::from_str(&finished.out).unwrap_or_else(|error| panic!("{error}: {finished:?}"))
}

#[test]
fn a_replay_names_the_decisions_that_would_change() {
    let day = Day::new();
    let log = day.log();
    let config = day.proxy.dir.path().join("sallyport.yaml");
    // By the configuration, and by the same policy that is in force.
    let own = day.proxy.dir.path().join("policy.yaml").display().to_string();
    let same = policy(&["replay", &own, "-c", config.to_str().unwrap(), "-o", "json"]);
    assert_eq!(same.code, Some(0), "{same:?}");
    assert_eq!((&json(&same)["decisions"], &json(&same)["same_policy"]), (&3.into(), &3.into()), "{same:?}");
    for (name, rules, code, want) in [
        (
            "the same in other words",
            format!("{}# again\n", rules(day.port)),
            0,
            vec!["3: 0 by this very policy, 3 unchanged"],
        ),
        (
            "no rule",
            String::new(),
            1,
            vec![
                "differ       1 refused, 0 let through, 1 by another reason or rule",
                "× tests → api.acme.test:",
                "allowed by `acme/api` → deny destination_not_listed",
                "deny port_not_allowed → deny destination_not_listed",
            ],
        ),
        (
            "one more",
            format!("{}  - {{id: other/x, customer: o, sources: [tests], hosts: [x.other.test]}}\n", rules(day.port)),
            1,
            vec![
                "differ       0 refused, 1 let through, 0 by another reason or rule",
                "let through: 1 × tests → x.other.test:443: deny destination_not_listed → allowed by `other/x` (addresses, hello unjudged)",
            ],
        ),
    ] {
        let told = policy(&["replay", &day.policy(&rules), "--since", "30d", "--log", &log]);
        assert_eq!(told.code, Some(code), "{name}: {told:?}");
        assert!(want.iter().all(|want| told.out.contains(want)), "{name}: {told:?}");
        assert!(
            told.out.ends_with("no hash was checked; `sallyport audit verify` proves the log\n"),
            "{name}: {told:?}"
        );
    }
    let before = policy(&["replay", &day.policy(""), "--since", "2999-01-01", "--log", &log]);
    assert_eq!((before.code, before.out.contains("decisions    0:")), (Some(0), true), "{before:?}");
}

#[test]
fn what_nobody_uses_is_stale() {
    let day = Day::new();
    let config = day.proxy.dir.path().join("sallyport.yaml");
    let told = policy(&["stale", "--since", "90d", "-c", config.to_str().unwrap()]);
    assert_eq!(told.code, Some(1), "{told:?}");
    for want in [
        "rule `acme/old`: never used, as far as the log goes back",
        "rule `acme/api`: `*.acme.test` was used for these alone: api.acme.test; write them instead",
        "rule `acme/api`: port 8443 was not used",
    ] {
        assert!(told.out.contains(want), "{want}: {told:?}");
    }
    // A policy that was never in force: nobody can say how old its rules are.
    let other = format!("{}# another\n", rules(day.port));
    let told = json(&policy(&["stale", &day.policy(&other), "--log", &day.log(), "-o", "json"]));
    assert_eq!((&told["young"][0], told.get("in_force_since")), (&"acme/old".into(), None), "{told}");
    let exact = format!(
        "rules:\n  - {{id: acme/api, customer: acme, sources: [tests], hosts: [api.acme.test], ports: [{}], addresses: [127.0.0.1/32], \
         tls: {{alpn: [h2, http/1.1]}}}}\n",
        day.port
    );
    let told = policy(&["stale", &day.policy(&exact), "--log", &day.log(), "-o", "json"]);
    let unused: Vec<Value> = json(&told)["findings"].as_array().unwrap().clone();
    assert!(unused.iter().all(|finding| finding["finding"] == "alpn_unused"), "{unused:?}");
}

#[test]
fn without_report_mode_there_is_nothing_to_suggest() {
    let day = Day::new();
    let told = policy(&["suggest", "--log", &day.log()]);
    assert_eq!((told.code, told.err.starts_with("report mode observed nothing")), (Some(1), true), "{told:?}");
}

#[test]
fn what_is_no_log_and_no_time_is_told() {
    let dir = TempDir::new().unwrap();
    let empty = dir.path().display().to_string();
    let file = dir.path().join("p.yaml");
    fs::write(&file, SOURCE).unwrap();
    let file = file.display().to_string();
    for (words, code, want) in [
        (vec!["replay", &file, "--log", &empty], 3, "segments"),
        (vec!["stale", &file, "--log", "/missing"], 3, "/missing"),
        (vec!["suggest", "--log", &empty, "--since", "yesterday"], 2, "`--since`: `yesterday` is no time"),
        (vec!["replay", "/missing", "--log", &empty], 3, "/missing"),
        (vec!["import", "squid", "/missing"], 3, "/missing"),
        (vec!["import", "smokescreen", &file], 2, ":1:1: not a Smokescreen ACL of `version: v1`"),
        (vec!["import", "nginx", &file], 2, "smokescreen, squid"),
        (vec!["import", "squid", &file, "--subnets", "a"], 2, "write NAME=PREFIX"),
    ] {
        let told = policy(&words);
        assert_eq!((told.code, &*told.out), (Some(code), ""), "{words:?}: {told:?}");
        assert!(told.err.contains(want), "{words:?}: {told:?}");
    }
}

const SERVICES: [(&str, &str); 5] = [
    ("checkout", "10.1.0.0/16"),
    ("webhooks", "10.2.0.0/16"),
    ("mail", "10.3.0.0/16"),
    ("closed", "10.4.0.0/16"),
    ("default", "10.0.0.0/8"),
];

/// Imports the ACL with its subnets, and fills in what only people know.
fn imported(dir: &Path) {
    let acl = dir.join("acl.yaml");
    fs::write(&acl, include_str!("acl.yaml")).unwrap();
    let subnets: Vec<String> = SERVICES.iter().map(|(name, net)| format!("{name}={net}")).collect();
    let mut words = vec!["import", "smokescreen", acl.to_str().unwrap(), "--customer", "several"];
    subnets.iter().for_each(|subnets| words.extend(["--subnets", subnets]));
    let told = policy(&words);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.err.starts_with("5 sources, ") && told.err.contains(" 2 fields are to be filled in"), "{told:?}");
    let blank = told.out;
    write_setup(dir, &Setup { more: "egress: {pools: {office: {bind: [127.0.0.1/32]}}}\n", ..Setup::default() });
    fs::write(dir.join("policy.yaml"), &blank).unwrap();
    let check = finish(sallyport().args(["check", "-c"]).arg(dir.join("sallyport.yaml")), "");
    let faults = ["`report_until`", "`egress`"].iter().all(|key| check.err.contains(key));
    assert!(check.code == Some(2) && faults && check.err.lines().count() == 2, "{check:?}");
    let until = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().tomorrow().unwrap();
    let filled =
        blank.replace("report_until: ", &format!("report_until: {until} ")).replace("egress: ", "egress: office ");
    fs::write(dir.join("policy.yaml"), filled).unwrap();
}

/// By the real binary's `explain`, on names alone.
#[test]
fn an_imported_acl_gives_smokescreen_s_answers() {
    let dir = TempDir::new().unwrap();
    imported(dir.path());
    let config = dir.path().join("sallyport.yaml");
    let check = finish(sallyport().args(["check", "-c"]).arg(&config), "");
    assert_eq!(check.code, Some(0), "{check:?}");
    let rows = include_str!("answers.txt").lines().filter(|line| !line.starts_with('#'));
    let mut cases = String::from("cases:\n");
    for row in rows {
        let [service, host, answer] = row.split(' ').collect::<Vec<_>>()[..] else { panic!("{row}") };
        let net = SERVICES.iter().find(|(name, _)| *name == service).unwrap().1;
        let client = if service == "default" { "10.200.0.9".to_owned() } else { net.replace("0.0/16", "0.9") };
        let target = format!("{host}:443");
        let words = ["explain", "--source", &client, "--target", &target, "-o", "json", "-c", config.to_str().unwrap()];
        let told = finish(sallyport().args(words), "");
        assert_eq!(
            (&json(&told)["outcome"], &json(&told)["source"]),
            (&answer.into(), &service.into()),
            "{row}: {told:?}"
        );
        cases.push_str(&format!(
            "  - {{name: '{row}', source: {client}, target: '{target}', expect: {{outcome: {answer}}}}}\n"
        ));
    }
    fs::write(dir.path().join("policy.cases.yaml"), cases).unwrap();
    let tested = policy(&["test", "-c", config.to_str().unwrap()]);
    assert_eq!(tested.code, Some(0), "{tested:?}");
}

#[test]
fn an_imported_squid_conf_loads_and_explains() {
    let dir = TempDir::new().unwrap();
    let conf = dir.path().join("squid.conf");
    let text = "acl localnet src 10.0.0.0/8 # RFC 1918
acl lab src 10.9.0.0/16
acl SSL_ports port 443
acl CONNECT method CONNECT
acl partners dstdomain .processor.example api.bank.example
acl blocked dstdomain old.processor.example
acl staff proxy_auth REQUIRED
http_access deny CONNECT !SSL_ports
http_access deny blocked
http_access deny lab
http_access allow localnet partners
http_access allow localnet staff
http_access deny all
";
    fs::write(&conf, text).unwrap();
    let told = policy(&["import", "squid", conf.to_str().unwrap(), "--customer", "several"]);
    assert_eq!((told.code, told.err.lines().count()), (Some(0), 1), "{told:?}");
    assert!(
        told.out.contains("# line 12, `http_access allow localnet staff`: a list of it has no equal; left out"),
        "{told:?}"
    );
    write_setup(dir.path(), &Setup::default());
    fs::write(dir.path().join("policy.yaml"), &told.out).unwrap();
    let config = dir.path().join("sallyport.yaml");
    for (client, target, outcome) in [
        ("10.1.0.1", "processor.example:443", "allow"),
        ("10.1.0.1", "a.b.processor.example:443", "allow"),
        ("10.1.0.1", "api.bank.example:443", "allow"),
        ("10.1.0.1", "x.api.bank.example:443", "deny"),
        ("10.1.0.1", "old.processor.example:443", "deny"),
        ("10.1.0.1", "processor.example:8443", "deny"),
        ("10.9.0.1", "processor.example:443", "deny"),
        ("10.1.0.1", "other.example:443", "deny"),
    ] {
        let words = ["explain", "--source", client, "--target", target, "-o", "json", "-c", config.to_str().unwrap()];
        let told = finish(sallyport().args(words), "");
        assert_eq!(json(&told)["outcome"], outcome, "{client} {target}: {told:?}");
    }
}
