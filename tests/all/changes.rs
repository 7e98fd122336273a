//! How files come into force while the proxy runs: all or nothing, by themselves, within the guard.
//! Not here: what becomes of open tunnels then (`reload`), tokens and certificates one by one (`admin`, `secure_listeners`).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

use super::admin::access::new_token;
use super::harness::{PATIENCE, Proxy, SOURCE, Setup, eventually, records, write_setup};
use super::origins::Origin;
use super::programs::{Finished, finish, program, sallyport};

/// A proxy with an operator's token in `ops.token`.
struct Operated {
    proxy: Proxy,
}

/// A rule for each name, on port 443.
fn rules(names: &[&str]) -> String {
    let rule = |name: &&str| {
        format!("  - {{id: acme/{name}, customer: acme, sources: [tests], hosts: ['{name}.acme.test']}}\n")
    };
    let rules: String = names.iter().map(rule).collect();
    format!("rules:\n{rules}")
}

fn folder(names: &[&str], more: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    let (token, line) = new_token("ops", "operator");
    fs::write(dir.path().join("ops.token"), token).unwrap();
    fs::write(dir.path().join("tokens.yaml"), format!("tokens:\n  {line}\n")).unwrap();
    write_setup(dir.path(), &Setup { policy: &rules(names), more, admin: "tokens: tokens.yaml", ..Setup::default() });
    dir
}

fn start(names: &[&str], more: &str) -> Operated {
    Operated { proxy: Proxy::start_in(folder(names, more)) }
}

impl Operated {
    fn path(&self, name: &str) -> PathBuf {
        self.proxy.dir.path().join(name)
    }

    fn edit(&self, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(self.path(name), text.replace(from, to)).unwrap();
    }

    fn write_policy(&self, names: &[&str]) {
        fs::write(self.path("policy.yaml"), format!("{SOURCE}{}", rules(names))).unwrap();
    }

    fn curl(&self, args: &[&str], path: &str) -> (String, Value) {
        let token = fs::read_to_string(self.path("ops.token")).unwrap();
        let mut curl = program("curl");
        curl.args(["-s", "--max-time", "20", "-w", "\n%{http_code}", "-H", &format!("Authorization: Bearer {token}")]);
        let told = finish(curl.args(args).arg(format!("http://{}{path}", self.proxy.admin)), "");
        let (body, status) = told.out.rsplit_once('\n').unwrap();
        (status.to_owned(), serde_json::from_str(body).unwrap_or_else(|_| body.into()))
    }

    fn reload(&self) -> (String, Value) {
        self.curl(&["-X", "POST"], "/v1/policy/reload")
    }

    fn status(&self) -> Value {
        self.curl(&[], "/v1/status").1
    }

    /// The command, which asks where the proxy really is.
    fn command(&self, args: &[&str]) -> Finished {
        let text = fs::read_to_string(self.path("sallyport.yaml")).unwrap();
        let there =
            text.replace("admin: {address: \"127.0.0.1:0\"", &format!("admin: {{address: \"{}\"", self.proxy.admin));
        fs::write(self.path("there.yaml"), there).unwrap();
        let mut command = sallyport();
        command.arg("reload").args(args).arg("-c").arg(self.path("there.yaml"));
        finish(command.arg("--token-file").arg(self.path("ops.token")), "")
    }

    /// The details of the `policy` records, once there are so many.
    fn reloads(&self, count: usize) -> Vec<Value> {
        eventually("reloads", Instant::now() + PATIENCE, || {
            let all = of_policy(self.proxy.dir.path());
            (all.len() >= count).then_some(all)
        })
    }
}

fn of_policy(dir: &Path) -> Vec<Value> {
    let all = records(&dir.join("decisions")).into_iter().filter(|record| record["kind"] == "policy");
    all.map(|record| record["detail"].clone()).collect()
}

/// How each came about, and what came of it.
fn told(reloads: &[Value]) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    reloads.iter().map(|detail| format!("{} {}", word(&detail["by"]), word(&detail["result"]))).collect()
}

const BY_HAND: &str = "reload: {on_change: false}\n";

#[test]
fn one_fault_anywhere_keeps_everything() {
    let operated = start(&["a"], BY_HAND);
    let good = ["sallyport.yaml", "policy.yaml", "tokens.yaml"]
        .map(|name| (name, fs::read_to_string(operated.path(name)).unwrap()));
    let before = operated.status()["policy"]["sha256"].clone();
    let spoilt = [("sallyport.yaml", "instanze: x"), ("policy.yaml", "nevr: {}"), ("tokens.yaml", "tokenz: []")];
    for (name, line) in spoilt {
        // The others are good, and new.
        for (file, text) in &good {
            let more = if *file == name { line } else { "# new" };
            fs::write(operated.path(file), format!("{text}{more}\n")).unwrap();
        }
        let (status, answer) = operated.reload();
        let parts = [("sallyport.yaml", "configuration"), ("policy.yaml", "policy"), ("tokens.yaml", "admin_files")];
        for (file, part) in parts {
            assert_eq!(answer[part], if file == name { "refused" } else { "kept" }, "{name}: {answer}");
        }
        let faults = answer["faults"].as_array().unwrap();
        assert!(
            status == "422" && faults.len() == 1 && faults[0].as_str().unwrap().contains(&format!("{name}:")),
            "{answer}"
        );
        assert_eq!(operated.status()["policy"]["sha256"], before, "{name}");
    }
    for ((file, text), (_, line)) in good.iter().zip(spoilt) {
        fs::write(operated.path(file), format!("{text}{line}\n")).unwrap();
    }
    assert_eq!(operated.reload().1["faults"].as_array().unwrap().len(), 3, "all at once");
    fs::write(operated.path("sallyport.yaml"), "no: [").unwrap();
    let (_, answer) = operated.reload();
    assert_eq!(answer["faults"].as_array().unwrap().len(), 3, "where it can't be read, what it named is: {answer}");
    // A token in a wrong place stands in no answer, and not in the status.
    let secret = fs::read_to_string(operated.path("ops.token")).unwrap();
    fs::write(operated.path("tokens.yaml"), format!("tokens: [{}]\n", secret.trim())).unwrap();
    for told in [operated.reload().1.to_string(), operated.status().to_string()] {
        assert!(told.contains("tokens.yaml:1:10: a token is `…`") && !told.contains(secret.trim()), "{told}");
    }
    fs::write(operated.path("sallyport.yaml"), &good[0].1).unwrap();
    let check = finish(sallyport().arg("check").arg("-c").arg(operated.path("sallyport.yaml")), "");
    assert!(check.err.contains("a token is `…`") && !check.err.contains(secret.trim()), "{check:?}");
    for (file, text) in &good {
        fs::write(operated.path(file), format!("{text}# new\n")).unwrap();
    }
    let (status, answer) = operated.reload();
    assert_eq!(
        (status.as_str(), &answer["configuration"], &answer["admin_files"]),
        ("200", &"in_force".into(), &"in_force".into())
    );
    let all = operated.reloads(7);
    assert_eq!(told(&all)[3..], ["admin refused", "admin refused", "admin refused", "admin in_force"]);
    assert_eq!((&all[3]["faults"], all[6]["files"].as_u64()), (&3.into(), Some(3)), "{all:#?}");
    assert!(all[3]["error"].as_str().unwrap().contains("did you mean"), "the first: {}", all[3]);
}

#[test]
fn what_waits_for_a_restart_is_named() {
    let origin = Origin::start();
    let limits = "limits: {connections_per_source: 7}\n";
    let operated = start(&["a"], &format!("{BY_HAND}{limits}dns: {{hosts: {{127.test: [127.0.0.1]}}}}\n"));
    let port = origin.port();
    operated.edit("sallyport.yaml", limits, "limits: {connections_per_source: 9, idle_timeout: 1s}\n");
    operated.edit("sallyport.yaml", "127.test", "128.test");
    operated.edit("sallyport.yaml", "mode: connect", "mode: connect, proxy_protocol: {from: [10.0.0.0/28]}");
    fs::rename(operated.path("policy.yaml"), operated.path("other.yaml")).unwrap();
    let at = format!("hosts: ['*.origin.test'], ports: [{port}], addresses: [127.0.0.1/32]");
    let rule = format!("rules:\n  - {{id: o, customer: acme, sources: [tests], {at}}}\n");
    fs::write(operated.path("other.yaml"), format!("{SOURCE}{rule}")).unwrap();
    operated.edit("sallyport.yaml", "policy: policy.yaml", "policy: other.yaml");
    let said = operated.command(&[]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let want = "waits for a restart: dns.hosts, listeners.edge.proxy_protocol; restart, or `sallyport run --take-over`, which loses nothing\n";
    assert!(said.out.ends_with(want) && said.out.contains("rules added 1, rules removed 1"), "{said:?}");
    let status = operated.status();
    let waits = serde_json::json!(["dns.hosts", "listeners.edge.proxy_protocol"]);
    assert_eq!(status["policy"]["reload"]["needs_restart"], waits, "{status}");
    assert_eq!(
        (&status["limits"]["connections_per_source"], &status["limits"]["idle_timeout"]),
        (&9.into(), &"1s".into())
    );
    let record = &operated.reloads(1)[0];
    assert_eq!((&record["needs_restart"], &record["rules"]), (&waits, &1.into()), "{record}");
    let log = operated.proxy.log().join("\n");
    assert!(log.contains("dns.hosts listeners.edge.proxy_protocol") && log.contains("--take-over"), "{log}");
}

#[test]
fn changed_files_are_read_by_themselves_and_once() {
    let operated = start(&["a"], "");
    operated.write_policy(&["a", "b"]);
    let first = operated.reloads(1);
    assert_eq!(told(&first), ["file_change in_force"]);
    assert_eq!(first[0]["changes"]["reach_added"], 1, "{}", first[0]);
    // As editors do it; and a signal beside it.
    fs::write(operated.path("new"), format!("{SOURCE}{}", rules(&["a"]))).unwrap();
    fs::rename(operated.path("new"), operated.path("policy.yaml")).unwrap();
    operated.proxy.signal("HUP");
    assert_eq!(told(&operated.reloads(2))[1], "signal in_force");
    // The same once more changes nothing.
    operated.write_policy(&["a"]);
    // A fault is told once, and what mends it is taken.
    fs::write(operated.path("policy.yaml"), "version: 2\n").unwrap();
    operated.reloads(3);
    operated.write_policy(&["c"]);
    operated.reloads(4);
    // Tokens are files like others.
    operated.edit("tokens.yaml", "tokens:", "tokens: # changed");
    let all = operated.reloads(5);
    assert_eq!(told(&all)[2..], ["file_change refused", "file_change in_force", "file_change in_force"]);
    assert_eq!((&all[4]["changes"]["reach_added"], &all[4]["files"]), (&0.into(), &1.into()));
    assert_eq!(operated.status()["reload"]["folders"], 2);
    let (dir, _) = operated.proxy.stop();
    assert_eq!(of_policy(dir.path()).len(), 5);
}

#[test]
fn checkouts_and_swapped_links_are_changes() {
    let dir = folder(&["a"], "");
    let at = |name: &str| dir.path().join(name);
    let policy = |names: &[&str]| format!("{SOURCE}{}", rules(names));
    // As Kubernetes lays a ConfigMap.
    for (version, names) in [("..1", &["a"][..]), ("..2", &["a", "b"])] {
        fs::create_dir_all(at("map").join(version)).unwrap();
        fs::write(at("map").join(version).join("policy.yaml"), policy(names)).unwrap();
    }
    symlink("..1", at("map/..data")).unwrap();
    symlink("..data/policy.yaml", at("map/policy.yaml")).unwrap();
    let config = fs::read_to_string(at("sallyport.yaml")).unwrap().replace("policy: policy.yaml", "policy: map");
    fs::write(at("sallyport.yaml"), config).unwrap();
    let operated = Operated { proxy: Proxy::start_in(dir) };
    let at = |name: &str| operated.path(name);
    symlink("..2", at("map/..next")).unwrap();
    fs::rename(at("map/..next"), at("map/..data")).unwrap();
    fs::remove_dir_all(at("map/..1")).unwrap();
    assert_eq!(operated.reloads(1)[0]["rules"], 2);
    // A folder that another one replaces, with one more below it.
    fs::create_dir_all(at("next/deep/er")).unwrap();
    for (name, names) in [("next/one.yaml", &["x"][..]), ("next/deep/er/two.yaml", &["y", "z"])] {
        let rules = rules(names);
        let text = if names == ["x"] { format!("{SOURCE}{rules}") } else { format!("version: 1\n{rules}") };
        fs::write(at(name), text).unwrap();
    }
    fs::rename(at("map"), at("before")).unwrap();
    fs::rename(at("next"), at("map")).unwrap();
    assert_eq!(operated.reloads(2)[1]["rules"], 3);
    // What comes and goes in the new folders.
    fs::remove_file(at("map/deep/er/two.yaml")).unwrap();
    assert_eq!(operated.reloads(3)[2]["rules"], 1);
    assert!(told(&operated.reloads(3)).iter().all(|how| how == "file_change in_force"));
    // A pipe, to which nobody writes, is a fault and keeps nothing waiting.
    assert_eq!(finish(program("mkfifo").arg(at("map/pipe.yaml")), "").code, Some(0));
    assert_eq!(told(&operated.reloads(4))[3], "file_change refused");
    fs::write(at("file"), format!("version: 1\n{}", rules(&["p"]))).unwrap();
    fs::rename(at("file"), at("map/pipe.yaml")).unwrap();
    assert_eq!(operated.reloads(5)[4]["rules"], 2);
}

#[test]
fn what_the_kernel_does_not_tell_is_found_by_looking() {
    let dir = folder(&["a"], "reload: {poll: 1s}\n");
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("up/per/policies")).unwrap();
    fs::rename(at("policy.yaml"), at("up/per/policies/p.yaml")).unwrap();
    let config =
        fs::read_to_string(at("sallyport.yaml")).unwrap().replace("policy: policy.yaml", "policy: up/per/policies");
    fs::write(at("sallyport.yaml"), config).unwrap();
    let operated = Operated { proxy: Proxy::start_in(dir) };
    let at = |name: &str| operated.path(name);
    fs::create_dir_all(at("new/per/policies")).unwrap();
    fs::write(at("new/per/policies/p.yaml"), format!("{SOURCE}{}", rules(&["a", "b"]))).unwrap();
    // Two folders up nobody watches.
    fs::rename(at("up"), at("down")).unwrap();
    fs::rename(at("new"), at("up")).unwrap();
    let reloads = operated.reloads(1);
    assert_eq!((told(&reloads), &reloads[0]["rules"]), (vec!["file_change in_force".to_owned()], &2.into()));
}

#[test]
fn what_the_guard_stops_needs_the_word_of_an_operator() {
    let operated =
        start(&["a", "b", "c"], &format!("{BY_HAND}policy_guard: {{max_removed: 50%, no_new_wildcards: true}}\n"));
    let old = operated.path("old.yaml");
    fs::copy(operated.path("policy.yaml"), &old).unwrap();
    operated.write_policy(&["a"]);
    let said = operated.command(&[]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let rail = "`policy_guard.max_removed: 50%`: 2 rows of what is reached go; of 3 rows 1 may\n";
    assert!(said.err.contains(rail) && said.err.contains("what was last good stays in force"), "{said:?}");
    let diff =
        finish(sallyport().args(["policy", "diff", "-o", "json"]).arg(&old).arg(operated.path("policy.yaml")), "");
    let diff: Value = serde_json::from_str(&diff.out).unwrap();
    let hash = diff["sha256"].as_str().unwrap();
    assert!(said.err.contains(hash), "an approver can work it out: {said:?}");
    assert_eq!(operated.status()["policy"]["rules"], 3);

    // Another change than the one that was looked at.
    operated.edit("policy.yaml", "['a.acme.test']", "['a.acme.test', '*.acme.test']");
    let said = operated.command(&["--confirm", hash]);
    assert!(said.code == Some(1) && said.err.contains("another diff was confirmed"), "{said:?}");
    assert!(
        said.err.contains("`policy_guard.no_new_wildcards: true`: tests → *.acme.test:443 by `acme/a`"),
        "{said:?}"
    );
    operated.write_policy(&["a"]);
    let (status, answer) = operated.reload();
    assert_eq!(
        (status.as_str(), &answer["policy"], &answer["type"]),
        ("409", &"guarded".into(), &"urn:sallyport:problem:reload_guarded".into())
    );
    assert_eq!(answer["diff"]["sha256"], hash, "{answer}");
    let said = operated.command(&["--confirm", hash]);
    assert!(said.code == Some(0) && said.out.contains("reach removed 2"), "{said:?}");
    let last = operated.reloads(1).pop().unwrap();
    assert_eq!(
        (&last["result"], &last["confirmed_by"], &last["diff"]),
        (&"in_force".into(), &"ops".into(), &hash.into())
    );
    assert_eq!(last["changes"]["reach_removed"], 2);
    let page = operated.proxy.admin_page("/metrics").1;
    assert!(page.contains("sallyport_policy_reloads_total{result=\"guarded\"} "), "{page}");
}

#[test]
fn what_an_order_says_is_read_whole_or_refused() {
    let operated = start(&["a"], BY_HAND);
    let long = format!("{{\"confirm\": \"{}\"}}", "a".repeat(2000));
    for (name, body, status) in [
        ("nothing", "", "200"),
        ("nothing to confirm", "{}", "200"),
        ("no JSON", "confirm", "400"),
        ("no hash", "{\"confirm\": \"abc\"}", "400"),
        ("another key", "{\"confirmed\": \"\"}", "400"),
        ("too long", long.as_str(), "400"),
    ] {
        assert_eq!(operated.curl(&["-d", body], "/v1/policy/reload").0, status, "{name}");
    }
    assert_eq!(operated.reloads(2).len(), 2);
    let closed = finish(sallyport().args(["reload", "-c"]).arg(operated.path("sallyport.yaml")), "");
    assert!(closed.code == Some(2) && closed.err.contains("port 0"), "{closed:?}");
}

#[test]
fn nobody_who_answers_is_no_answer() {
    let operated = start(&["a"], BY_HAND);
    assert_eq!(operated.command(&[]).code, Some(0));
    let there = fs::read_to_string(operated.path("there.yaml")).unwrap();
    let dir = operated.proxy.kill();
    fs::write(dir.path().join("there.yaml"), there).unwrap();
    let said = finish(sallyport().args(["reload", "-c"]).arg(dir.path().join("there.yaml")), "");
    assert!(said.code == Some(3) && said.err.contains("the admin port at 127.0.0.1:"), "{said:?}");
}
