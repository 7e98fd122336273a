//! Pools before anything runs: what `egress-addresses` prints for customers, and what `check` says of addresses that this host lacks.
//! Not here: the list itself (`evidence`), connections (`dials`).

use serde_json::{Value, json};
use tempfile::TempDir;

use super::run;
use crate::harness::{Setup, write_setup};

/// Two pools of addresses that are no host's, one behind a NAT, and one that every host has.
const POOLS: &str = "egress:
  pools:
    static-b: {bind: [192.0.2.16/29]}
    static-a: {bind: [192.0.2.8/30, \"2001:db8::8/127\"], public: [203.0.113.8/30]}
    here: {bind: [127.0.0.40/31]}
";

const RULES: &str = "rules:
  - {id: acme/api, customer: acme, sources: [tests], hosts: [api.acme.test], egress: static-a}
  - {id: acme/old, customer: acme, sources: [tests], hosts: [old.acme.test], egress: static-b}
  - {id: bank/api, customer: bank, sources: [tests], hosts: [api.bank.test], egress: static-a}
  - {id: post/api, customer: post, sources: [tests], hosts: [api.post.test]}
";

fn folder(pools: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    write_setup(dir.path(), &Setup { policy: RULES, more: pools, ..Setup::default() });
    dir
}

#[test]
fn the_list_for_customers_in_each_form() {
    let dir = folder(POOLS);
    let text = run(dir.path(), &["egress-addresses"]);
    let words: Vec<String> =
        text.out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let serial = words[5].strip_prefix("serial ").unwrap().to_owned();
    let want = [
        "PREFIX POOL CUSTOMERS",
        "127.0.0.40/31 here",
        "203.0.113.8/30 static-a acme bank",
        "2001:db8::8/127 static-a acme bank",
        "192.0.2.16/29 static-b acme",
    ];
    assert_eq!((text.code, &words[..5]), (Some(0), &want.map(str::to_owned)[..]), "{text:?}");
    assert_eq!(text.err, "rules without `egress` leave from the system's address, which is not listed: post\n");
    let csv = run(dir.path(), &["egress-addresses", "--format", "csv"]);
    assert!(csv.out.starts_with("prefix,pool,customers,serial\r\n127.0.0.40/31,here,,"), "{csv:?}");
    assert!(csv.out.ends_with(&format!("192.0.2.16/29,static-b,acme,{serial}\r\n")), "{csv:?}");
    let json = run(dir.path(), &["egress-addresses", "-o", "json"]);
    let object: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&object["serial"], &object["without_pool"]), (&json!(serial), &json!(["post"])), "{object}");
    assert_eq!(
        object["addresses"][1],
        json!({"prefix": "203.0.113.8/30", "pool": "static-a", "customers": ["acme", "bank"]})
    );
    assert_eq!(json.out, run(dir.path(), &["egress-addresses", "--format", "json"]).out, "the same bytes");
}

#[test]
fn check_says_which_addresses_this_host_lacks_and_is_content() {
    let dir = folder(POOLS);
    let text = run(dir.path(), &["check"]);
    let lines: Vec<&str> = text.out.lines().collect();
    let note = |pool: &str, prefixes: &str| {
        format!("note: pool `{pool}`: this host can't bind {prefixes}; where the proxy runs, give them to it")
    };
    let want = [note("static-a", "192.0.2.8/30 2001:db8::8/127"), note("static-b", "192.0.2.16/29")];
    assert_eq!(
        (text.code, &*text.err, &lines[..2]),
        (Some(0), "", &want.each_ref().map(String::as_str)[..]),
        "{text:?}"
    );
    assert!(lines[2].starts_with("ok: 4 rules, "), "{text:?}");
    let json: Value = serde_json::from_str(&run(dir.path(), &["check", "-o", "json"]).out).unwrap();
    let missing = json!({"static-a": ["192.0.2.8/30", "2001:db8::8/127"], "static-b": ["192.0.2.16/29"]});
    assert_eq!((&json["ok"], &json["egress_missing"]), (&json!(true), &missing));
    let here = folder("egress: {pools: {static-a: {bind: [127.0.0.40/31]}, static-b: {bind: [\"::1/128\"]}}}\n");
    let text = run(here.path(), &["check"]);
    assert!(text.out.starts_with("ok: "), "{text:?}");
}
