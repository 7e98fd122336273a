//! Environments that never mix, and `profile: pci`, from outside.
//! Not here: what is forbidden, by table (`config::profile`, `policy::file`). Source: PCI DSS 6.5.3 and docs/auditors.md.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::harness::Proxy;
use crate::programs::{Finished, finish, sallyport};
use crate::reload::reload;

const SOURCES: &str = "version: 1\nsources: [{name: here, subnets: [127.0.0.1/32], environment: production}]\n";

const RULE: &str = "rules: [{id: r, customer: c, sources: [here], hosts: [api.acme.test]}]\n";

const CONTROL: &str = ", owner: o, purpose: p, ticket: t, review_by: ";

fn write(dir: &Path, config: &str, policy: &str) {
    let least = "instance: tests\nlisteners: [{name: edge, address: '127.0.0.1:0'}]\npolicy: policy.yaml\nadmin: {address: '127.0.0.1:0'}\n";
    fs::write(dir.join("sallyport.yaml"), format!("{least}{config}")).unwrap();
    fs::write(dir.join("policy.yaml"), policy).unwrap();
}

fn run(dir: &Path, command: &[&str]) -> Finished {
    finish(sallyport().args(command).arg("-c").arg(dir.join("sallyport.yaml")), "")
}

#[test]
fn a_log_and_a_state_take_one_environment_alone() {
    let dir = TempDir::new().unwrap();
    let policy = format!("{SOURCES}{RULE}");
    write(
        dir.path(),
        "state: state\ndecision_log: {directory: decisions, key: log.key}\nenvironment: production\n",
        &policy,
    );
    let (dir, code) = Proxy::start_in(dir).stop();
    assert_eq!(code, Some(0));
    let log = fs::read_dir(dir.path().join("decisions/segments")).unwrap().count();
    for (row, config, says) in [
        (
            "another",
            "state: state\ndecision_log: {directory: decisions, key: log.key}\nenvironment: test\n",
            "decisions is of environment `production`",
        ),
        (
            "none",
            "state: state\ndecision_log: {directory: decisions, key: log.key}\n",
            "the configuration says none; write `environment: production`",
        ),
        (
            "the state alone",
            "state: state\ndecision_log: {directory: new, key: log.key}\nenvironment: test\n",
            "environment.tests is of environment `production`",
        ),
        (
            "the log alone",
            "state: new\ndecision_log: {directory: decisions, key: log.key}\nenvironment: test\n",
            "decisions is of environment `production`",
        ),
    ] {
        write(dir.path(), config, &policy);
        for command in ["run", "check"] {
            let done = run(dir.path(), &[command]);
            assert_eq!(done.code, Some(2), "{row}: {command}: {done:?}");
            assert!(done.err.contains(says), "{row}: {command}: {done:?}");
        }
        assert!(!dir.path().join("new").exists(), "{row}: nothing is written");
    }
    assert_eq!(fs::read_dir(dir.path().join("decisions/segments")).unwrap().count(), log);
    write(
        dir.path(),
        "state: state\ndecision_log: {directory: decisions, key: log.key}\nenvironment: production\n",
        &policy,
    );
    assert_eq!(Proxy::start_in(dir).stop().1, Some(0), "its own");
}

#[test]
fn check_says_where_no_environment_is_compared_and_what_was_to_be_reviewed() {
    let dir = TempDir::new().unwrap();
    let rule = RULE.replace("}]", &format!("{CONTROL}2020-02-01}}]"));
    write(dir.path(), "state: state\n", &format!("{SOURCES}{rule}"));
    let done = run(dir.path(), &["check"]);
    assert_eq!(done.code, Some(0), "neither is a fault: {done:?}");
    for says in [
        "note: source `here`: its environment is not compared; state `environment` for it and in the configuration (PCI DSS 6.5.3)\n",
        "note: rule `r`: its review was due on 2020-02-01 (PCI DSS 1.2.7)\n",
    ] {
        assert!(done.out.contains(says), "{done:?}");
    }
    let json = run(dir.path(), &["check", "-o", "json"]).out;
    let told = "\"environment_unstated\":[\"here\"],\"review_overdue\":{\"r\":\"2020-02-01\"}";
    assert!(json.contains(told), "{json}");
    write(dir.path(), "state: state\nenvironment: production\n", &format!("{SOURCES}{RULE}"));
    assert!(!run(dir.path(), &["check"]).out.contains("note: "));
}

#[test]
fn the_profile_refuses_what_a_requirement_forbids_all_at_once_and_at_a_reload() {
    let dir = TempDir::new().unwrap();
    let policy = SOURCES.replace(", environment: production", "") + RULE;
    write(dir.path(), "state: state\nprofile: pci\ndecision_log: {durability: async}\n", &policy);
    for command in ["run", "check"] {
        let done = run(dir.path(), &[command]);
        assert_eq!(done.code, Some(2), "{command}: {done:?}");
        for (place, requirement) in [
            ("sallyport.yaml:1:1", "6.5.3"),
            ("sallyport.yaml:7:28", "10.2.1"),
            ("policy.yaml:2:11", "6.5.3"),
            ("policy.yaml:3:9", "1.2.5"),
            ("policy.yaml:3:9", "1.2.2"),
            ("policy.yaml:3:9", "1.2.7"),
        ] {
            let is_it = |line: &str| line.contains(place) && line.contains(&format!("(PCI DSS {requirement}: "));
            assert!(done.err.lines().any(is_it), "{command}: {place} {requirement}: {done:?}");
        }
    }
    let rule = RULE.replace("}]", &format!("{CONTROL}2020-02-01}}]"));
    write(
        dir.path(),
        "state: state\nprofile: pci\nenvironment: production\ndecision_log: {directory: decisions, key: log.key}\n",
        &format!("{SOURCES}{rule}"),
    );
    for command in ["run", "check"] {
        let done = run(dir.path(), &[command]);
        assert_eq!(done.code, Some(2), "no key: {command}: {done:?}");
        assert!(
            done.err.contains("log.key: no key is there") && done.err.contains("`sallyport keys new log`"),
            "{done:?}"
        );
    }
    assert_eq!(run(dir.path(), &["keys", "new", "log"]).code, Some(0));
    let proxy = Proxy::start_in(dir);
    let refused = reload(&proxy, &format!("{SOURCES}{}", rule.replace("}]", ", existing: keep}]")));
    let told = refused["detail"]["error"].as_str().unwrap_or_default();
    assert!(
        refused["detail"]["result"] == "refused" && told.contains("`existing: keep` is not for `profile: pci`"),
        "{refused}"
    );
    // What runs under the profile stays under it, whatever the file says.
    let of_standard = "state: state\nenvironment: production\ndecision_log: {directory: decisions, key: log.key";
    for (config, more, want) in [
        (format!("{of_standard}}}\n"), ", existing: keep}]", Err("`existing: keep` is not for `profile: pci`")),
        (format!("{of_standard}, durability: async}}\n"), "}]", Err("`durability: async` is not for `profile: pci`")),
        (format!("{of_standard}}}\n"), "}]", Ok("profile")),
    ] {
        check_reload(&proxy, &config, &format!("{SOURCES}{}", rule.replace("}]", more)), want);
    }
}

#[test]
fn the_stricter_of_two_profiles_judges_a_reload() {
    let dir = TempDir::new().unwrap();
    let config = "state: state\nenvironment: production\ndecision_log: {directory: decisions, key: log.key}\n";
    let policy = format!("{SOURCES}{RULE}");
    write(dir.path(), config, &policy);
    let proxy = Proxy::start_in(dir);
    let pci = format!("profile: pci\n{config}");
    check_reload(&proxy, &pci, &policy, Err("a rule without `owner` is not for `profile: pci`"));
    let rule = RULE.replace("}]", &format!("{CONTROL}2020-02-01}}]"));
    check_reload(&proxy, &pci, &format!("{SOURCES}{rule}"), Ok("profile"));
    check_reload(&proxy, config, &policy, Ok(""));
}

/// What a reload comes to: which key waits for a restart, or what the fault says.
fn check_reload(proxy: &Proxy, config: &str, policy: &str, want: Result<&str, &str>) {
    write(proxy.dir.path(), &format!("reload: {{on_change: false}}\n{config}"), policy);
    let detail = reload(proxy, policy)["detail"].clone();
    match want {
        Ok(waits) => {
            let told = detail["needs_restart"].to_string();
            assert!(detail["result"] == "in_force" && told.contains(waits), "{detail}");
            assert_eq!(told.contains("profile"), !waits.is_empty(), "{detail}");
        }
        Err(says) => assert!(detail["error"].as_str().unwrap_or_default().contains(says), "{detail}"),
    }
}
