//! `policy test`, `policy diff`, `policy matrix` and the cases of `check`, by the real binary: what they print and their exit codes.
//! Not here: which faults cases may have and what differs between policies, which the modules' own tables have.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::programs::{Finished, finish, sallyport};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/policies");

/// Runs `sallyport policy …` in a folder.
fn policy(dir: &Path, words: &str) -> Finished {
    finish(sallyport().arg("policy").args(words.split(' ')).current_dir(dir), "")
}

const SOURCES: &str = "version: 1\nsources: [{name: here, subnets: [127.0.0.0/16]}]\n";

const RULES: &str = "version: 1
rules:
  - {id: acme/api, customer: acme, sources: [here], hosts: [api.acme.test], egress: static-a}
  - {id: acme/old, customer: acme, sources: [here], hosts: [old.acme.test], expires: 2020-01-01}
";

const GOOD: &str = "cases:
  - {name: the API, source: 127.0.0.1, target: 'api.acme.test:443', expect: {outcome: allow, rule: acme/api}}
  - {name: another port, source: 127.0.0.1, target: 'api.acme.test:22', expect: {reason: port_not_allowed}}
";

const BAD: &str = "cases:
  - {name: the old one, source: 127.0.0.1, target: 'old.acme.test:443', expect: {outcome: allow}}
  - {name: it was, source: 127.0.0.1, target: 'old.acme.test:443', at: 2020-01-01T23:00:00Z, expect: {outcome: allow}}
";

const CONFIG: &str = "instance: tests
listeners: [{name: edge, address: '127.0.0.1:0'}]
policy: policies/
state: state
dns: {hosts: {api.acme.test: [127.0.0.1]}}
egress: {pools: {static-a: {bind: [127.0.0.40/29]}}}
";

/// A configuration whose policy is a folder with a folder in it; cases lie in both.
fn setup(cases: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::create_dir_all(dir.path().join("policies/acme")).unwrap();
    let files = [("sallyport.yaml", CONFIG), ("policies/sources.yaml", SOURCES), ("policies/acme/rules.yaml", RULES)];
    for (path, text) in files.iter().chain(cases) {
        fs::write(dir.path().join(path), text).unwrap();
    }
    dir
}

#[test]
fn a_case_that_fails_makes_check_and_test_end_with_1_and_says_where() {
    let dir = setup(&[("policies/a.cases.yaml", GOOD), ("policies/acme/b.cases.yaml", BAD)]);
    // Without the configuration addresses are not judged; with it `dns.hosts` leads to loopback.
    let old = "policies/acme/b.cases.yaml:2:5: case `the old one`: expected outcome `allow`; came outcome `deny`, reason \
               `rule_expired`, rule `acme/old`";
    let api = "policies/a.cases.yaml:2:5: case `the API`: expected outcome `allow`, rule `acme/api`; came outcome `deny`, reason \
               `address_forbidden`, rule `acme/api`";
    for (words, failures, summary) in [
        ("test policies", &[old][..], "1 case failed, 3 passed"),
        ("test policies/acme/b.cases.yaml policies", &[old][..], ""),
        ("test policies/a.cases.yaml", &[], "2 cases passed"),
        ("test -c sallyport.yaml", &[api, old], "2 cases failed, 2 passed"),
    ] {
        let ended = policy(dir.path(), words);
        if summary.is_empty() {
            // The folder of those cases is no whole policy.
            assert_eq!((ended.code, &*ended.out), (Some(2), ""), "{words}: {ended:?}");
            assert!(ended.err.contains("unknown source `here`"), "{words}: {ended:?}");
            continue;
        }
        let want: Vec<&str> = failures.iter().chain([&summary]).copied().collect();
        assert_eq!(ended.out.lines().collect::<Vec<_>>(), want, "{words}: {ended:?}");
        assert_eq!((ended.code, &*ended.err), (Some(i32::from(!failures.is_empty())), ""), "{words}");
    }
    let checked = finish(sallyport().args(["check", "-c", "sallyport.yaml"]).current_dir(dir.path()), "");
    let lines: Vec<&str> = checked.out.lines().collect();
    assert_eq!((checked.code, &lines[..2]), (Some(1), &[api, old][..]), "{checked:?}");
    assert!(
        lines[2].starts_with("not ok: 2 rules, 1 sources, policy ") && lines[2].ends_with(", 2 cases failed, 2 passed"),
        "{lines:?}"
    );
}

#[test]
fn check_counts_cases_that_pass() {
    for (cases, says) in [
        (&[][..], ", no cases\n"),
        (
            &[(
                "policies/a.cases.yaml",
                "cases:\n  - {name: n, source: 10.0.0.1, target: x, expect: {outcome: deny}}\n",
            )],
            ", 1 case passed\n",
        ),
    ] {
        let dir = setup(cases);
        let checked = finish(sallyport().args(["check", "-c", "sallyport.yaml"]).current_dir(dir.path()), "");
        assert_eq!((checked.code, &*checked.err), (Some(0), ""), "{checked:?}");
        assert!(
            checked.out.starts_with("ok: 2 rules, 1 sources, policy ") && checked.out.ends_with(says),
            "{checked:?}"
        );
    }
}

#[test]
fn faults_of_cases_are_told_with_those_of_the_policy() {
    let dir = setup(&[
        ("policies/a.cases.yaml", "cases: [{name: n}]\n"),
        ("policies/acme/more.yaml", "versoin: 1\n"),
        ("policies/.hidden.cases.yaml", "no cases\n"),
    ]);
    for words in ["check -c sallyport.yaml", "policy test policies", "policy test"] {
        let mut command = sallyport();
        command.args(words.split(' ')).current_dir(dir.path()).env("SALLYPORT_CONFIG", "sallyport.yaml");
        let ended = finish(&mut command, "");
        assert_eq!((ended.code, &*ended.out), (Some(2), ""), "{words}: {ended:?}");
        for fault in [
            "policies/a.cases.yaml:1:9: a case lacks `expect`; add it",
            "policies/acme/more.yaml:1:1: unknown key `versoin`; did you mean `version`?",
        ] {
            assert!(ended.err.lines().any(|line| line == fault), "{words}: {ended:?}");
        }
        assert_eq!(ended.err.lines().count(), 5, "{words}: {ended:?}");
    }
    // What runs does not read them.
    fs::remove_file(dir.path().join("policies/acme/more.yaml")).unwrap();
    let explained = "explain -c sallyport.yaml --source 127.0.0.1 --target old.acme.test:443";
    let ended = finish(sallyport().args(explained.split(' ')).current_dir(dir.path()), "");
    assert_eq!((ended.code, &*ended.err), (Some(1), ""), "{ended:?}");
}

#[test]
fn a_policy_of_one_file_has_the_cases_beside_it() {
    let dir = TempDir::new().unwrap();
    let rules = RULES.replace("version: 1\n", "");
    fs::create_dir(dir.path().join("below")).unwrap();
    for (path, text) in
        [("p.yaml", &*format!("{SOURCES}{rules}")), ("good.cases.yaml", GOOD), ("below/bad.cases.yaml", BAD)]
    {
        fs::write(dir.path().join(path), text).unwrap();
    }
    let ended = policy(dir.path(), "test p.yaml -o json");
    assert_eq!((ended.code, &*ended.err), (Some(0), ""), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&report["passed"], &report["failed"]), (&2.into(), &0.into()), "{report}");
    let first = &report["cases"][0];
    let fields = ["place", "name", "passed", "outcome", "reason", "rule"].map(|field| first[field].to_string());
    assert_eq!(fields, ["\"good.cases.yaml:2:5\"", "\"the API\"", "true", "\"allow\"", "\"allowed\"", "\"acme/api\""]);
    for (words, code, says) in [
        ("test nowhere.yaml", 3, "nowhere.yaml: No such file"),
        ("test nowhere.cases.yaml", 3, "nowhere.cases.yaml: No such file"),
        ("test below", 2, "no policy file"),
        ("matrix nowhere.yaml", 3, "nowhere.yaml: No such file"),
        ("diff p.yaml nowhere.yaml", 3, "nowhere.yaml: No such file"),
        ("diff p.yaml", 2, "<NEW>"),
        ("frobnicate", 2, "unknown command `policy frobnicate`"),
    ] {
        let ended = policy(dir.path(), words);
        assert_eq!((ended.code, &*ended.out), (Some(code), ""), "{words}: {ended:?}");
        assert!(ended.err.contains(says), "{words}: {ended:?}");
    }
    let alone = finish(sallyport().arg("policy"), "");
    assert_eq!(alone.code, Some(2), "{alone:?}");
    assert!(["test", "diff", "matrix"].iter().all(|word| alone.err.contains(word)), "{alone:?}");
}

#[test]
fn the_matrix_names_who_reaches_more_than_its_rows() {
    let dir = TempDir::new().unwrap();
    let report = "class: general, mode: report, report_until: 2020-01-01, egress: pool";
    let sources = format!("{{name: a, subnets: [10.0.0.0/24], {report}}}, {{name: b, subnets: [10.0.1.0/24]}}");
    let rules = "{id: r, customer: c, sources: [a, b], hosts: [a.example]}";
    let policy_file = format!("version: 1\nsources: [{sources}]\nrules: [{rules}]\n");
    fs::write(dir.path().join("p.yaml"), policy_file).unwrap();
    let line = "report mode lets through what no row has: `a` through 2020-01-01\n";
    let text = policy(dir.path(), "matrix p.yaml");
    assert!(text.code == Some(0) && text.err.is_empty() && text.out.ends_with(line), "{text:?}");
    for format in ["csv", "json"] {
        let rows = policy(dir.path(), &format!("matrix p.yaml --format {format}"));
        assert_eq!((rows.code, &*rows.err), (Some(0), line), "{rows:?}");
        assert!(!rows.out.contains("report"), "a row is what a rule allows: {rows:?}");
    }
}

#[test]
fn the_examples_load_and_their_cases_pass() {
    for (path, least) in [("starter.yaml", 9), ("platform", 16)] {
        let ended = policy(Path::new(EXAMPLES), &format!("test {path} -o json"));
        let report: Value = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
        assert_eq!((ended.code, &report["failed"]), (Some(0), &0.into()), "{path}: {report}");
        assert!(report["passed"].as_u64() >= Some(least), "{path}: {report}");
    }
}

#[test]
fn a_matrix_of_the_examples() {
    let matrix = |words: &str| {
        let ended = policy(Path::new(EXAMPLES), &format!("matrix {words}"));
        assert_eq!(ended.code, Some(0), "{words}: {ended:?}");
        let report = ended.out.lines().chain(ended.err.lines()).filter(|line| line.starts_with("report mode lets "));
        assert_eq!(report.count(), 1, "{words}: {ended:?}");
        ended.out
    };
    let text = matrix("platform");
    assert_eq!(text, matrix("platform/"), "the same policy, the same bytes");
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 16, "{text}");
    let row = rows.iter().find(|row| row[2] == "203.0.113.64/28").unwrap();
    assert_eq!(row[..5], ["ivr-east", "northbank", "203.0.113.64/28", "9443", "northbank/switch"]);
    let objects: Vec<Value> = serde_json::from_str(&matrix("platform -o json")).unwrap();
    assert_eq!((objects.len(), &objects[0]["port"]), (14, &443.into()));
    let sheet = matrix("platform --format csv");
    assert_eq!(sheet.lines().count(), 15);
    assert!(
        sheet.starts_with("source,customer,destination,port,rule,") && sheet.ends_with(",DEU,,,,,\r\n"),
        "{sheet:?}"
    );
    let dir = setup(&[]);
    let own = policy(dir.path(), "matrix -c sallyport.yaml");
    assert_eq!((own.code, own.out.lines().count()), (Some(0), 3), "{own:?}");
}

#[test]
fn a_difference_between_examples() {
    let same = policy(Path::new(EXAMPLES), "diff platform platform/");
    assert_eq!((same.code, &*same.out), (Some(0), "no difference\n"), "{same:?}");
    let dir = TempDir::new().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    let starter = fs::read_to_string(format!("{EXAMPLES}/starter.yaml")).unwrap();
    write("old.yaml", &starter);
    write("same.yaml", &format!("{starter}\n# A remark\n"));
    let changed = starter
        .replace("hosts: [api.acme.example, \"*.pay.acme.example\"]", "hosts: [api.acme.example, new.acme.example]")
        .replace("min_version: \"1.3\"", "min_version: \"1.2\"")
        .replace("ticket: CHG-1042", "ticket: CHG-1300")
        .replace("hosts: [\"**.onion.example\"]", "hosts: [\"**.onion.example\", \"old.mirror.example\"]")
        .replace("10.30.0.0/24", "10.30.0.0/25");
    write("new.yaml", &changed);
    let same = policy(dir.path(), "diff old.yaml same.yaml");
    assert_eq!((same.code, &*same.out), (Some(0), "no difference\n"), "{same:?}");
    let diff = policy(dir.path(), "diff old.yaml new.yaml");
    assert_eq!((diff.code, &*diff.err), (Some(1), ""), "{diff:?}");
    assert_eq!(
        diff.out.lines().collect::<Vec<_>>(),
        [
            "- build-servers → old.mirror.example:443  mirror/packages (mirror): now destination_denied",
            "~ payments → api.acme.example:443  acme/authorisation (acme): tls.min_version `1.3` → `1.2`",
            "+ payments → new.acme.example:443  acme/authorisation (acme): was destination_not_listed",
            "- payments → *.pay.acme.example:443  acme/authorisation (acme): now destination_not_listed",
            "~ source build-servers: subnets `10.30.0.0/24` → `10.30.0.0/25`",
            "~ clients 10.30.0.0/24: source `build-servers` → none",
            "+ never old.mirror.example",
            "~ rule acme/authorisation: ticket `CHG-1042` → `CHG-1300`",
        ]
    );
    let json = policy(dir.path(), "diff old.yaml new.yaml -o json");
    let json: Value = serde_json::from_str(&json.out).unwrap();
    let added = json["reach"].as_array().unwrap().iter().find(|row| row["mark"] == "added").unwrap();
    assert_eq!((&added["source"], &added["destination"]), (&"payments".into(), &"new.acme.example".into()), "{json}");
    assert_eq!(json["rules"][0]["changes"][0]["field"], "ticket", "{json}");
}
