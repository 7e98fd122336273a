//! Faulty configurations and their faults, good ones and their defaults.

use crate::redact::FieldName;
use proptest::prelude::*;

use super::*;

fn env(name: &str) -> Option<String> {
    [("POD", "edge-7"), ("MAX", "100"), ("PORT", "3129"), ("YES", "true")]
        .iter()
        .find(|(key, _)| *key == name)
        .map(|(_, value)| (*value).to_owned())
}

/// The configuration and its faults.
pub(super) fn read(text: &str) -> (Option<Config>, Vec<String>) {
    let mut faults = Faults::new();
    let config = load(text, 0, &env, "host-1", &mut faults);
    (config, faults.iter().map(|fault| fault.line(&["f"])).collect())
}

/// A configuration without faults.
pub(super) fn valid(text: &str) -> Config {
    let (config, faults) = read(text);
    assert_eq!(faults, Vec::<String>::new(), "{text}");
    config.unwrap()
}

/// Two lines that are a whole configuration; what a test is about goes before or after.
pub(super) const LEAST: &str = "listeners: [{name: edge, address: '127.0.0.1:3128'}]\npolicy: policies/\n";

const WHOLE: &str = r#"profile: standard
instance: edge-1
state: /srv/sallyport
environment: production
listeners:
  - name: edge
    address: 0.0.0.0:3128
    mode: connect
  - {name: six, address: "[::]:3128"}
policy: policies/
dns:
  servers: [udp://192.0.2.53, tcp://192.0.2.53:5353]
  hosts: {API.acme.test: [127.0.0.1, "::ffff:127.0.0.2"]}
  timeout: 2s
  min_ttl: 1s
  max_ttl: 2h
  dnssec: none
egress:
  pools: {static-a: {bind: [198.51.100.8/29, 2001:db8::8/125], public: [203.0.113.8/29]}}
limits:
  connections: 500
  connections_per_source: 400
  head_timeout: 1s
  hello_timeout: 2s
  dial_timeout: 3s
  idle_timeout: 4m
  lifetime: 5h
  drain_delay: 5s
  drain_timeout: 0s
decision_log:
  directory: log
  durability: async
  commit_interval: 5ms
  stdout: true
  key: log.key
redaction: {private_fields: [account_number], patterns: [{name: order_id, pattern: 'ORD-[0-9]{8}'}], canary: 1d}
admin: {address: 0.0.0.0:9901}
probes: {address: 0.0.0.0:9902}
"#;

#[test]
fn the_whole() {
    let config = valid(WHOLE);
    assert_eq!((config.instance.as_str(), config.state.as_str()), ("edge-1", "/srv/sallyport"));
    assert_eq!(config.environment.as_deref(), Some("production"));
    let listeners: Vec<String> = config.listeners.iter().map(|l| format!("{} {}", l.name, l.tcp().unwrap())).collect();
    assert_eq!(listeners, ["edge 0.0.0.0:3128", "six [::]:3128"]);
    assert_eq!((config.policy.value.as_str(), config.policy.place.line), ("policies/", 10));
    let server = |text: &str| text.parse::<DnsServer>().unwrap();
    assert_eq!(config.dns.servers, [server("udp://192.0.2.53"), server("tcp://192.0.2.53:5353")]);
    let hosts: Vec<String> = config.dns.hosts.iter().map(|(name, addresses)| format!("{name} {addresses:?}")).collect();
    assert_eq!(hosts, ["api.acme.test [127.0.0.1, 127.0.0.2]"]);
    let seconds = [config.dns.timeout, config.dns.min_ttl, config.dns.max_ttl].map(|wait| wait.as_secs());
    assert_eq!(seconds, [2, 1, 7200]);
    let pool = &config.pools["static-a"];
    assert_eq!(pool.bind, ["198.51.100.8/29".parse().unwrap(), "2001:db8::8/125".parse().unwrap()]);
    assert_eq!(pool.public, ["203.0.113.8/29".parse().unwrap()]);
    let limits = &config.limits;
    assert_eq!((limits.connections.value, limits.connections.place.line), (500, 21));
    assert_eq!((limits.connections_given, limits.connections_per_source), (true, 400));
    let waits = [limits.head_timeout, limits.hello_timeout, limits.dial_timeout, limits.idle_timeout];
    assert_eq!(waits.map(|wait| wait.as_secs()), [1, 2, 3, 240]);
    assert_eq!((limits.lifetime.as_secs(), limits.drain_timeout.as_secs()), (18_000, 0));
    assert_eq!(limits.drain_delay.as_secs(), 5);
    let log = &config.decision_log;
    assert_eq!((log.directory.as_str(), log.key.as_str()), ("log", "log.key"));
    assert_eq!((log.durability, log.commit_interval, log.stdout), (Durability::Async, Duration::from_millis(5), true));
    assert!(config.redaction.private_fields.iter().map(FieldName::as_str).eq(["account_number"]));
    assert!(config.redaction.patterns.iter().map(|pattern| pattern.name().as_str()).eq(["order_id"]));
    assert_eq!(
        (config.admin.address.to_string(), config.probes.unwrap().to_string()),
        ("0.0.0.0:9901".into(), "0.0.0.0:9902".into())
    );
}

#[test]
fn the_defaults() {
    let config = valid(LEAST);
    assert_eq!(config.instance, "host-1");
    assert_eq!((config.state.as_str(), config.environment, config.probes), ("/var/lib/sallyport", None, None));
    assert_eq!(config.admin.address.to_string(), "127.0.0.1:9901");
    assert_eq!(config.dns.servers, [DnsServer::System]);
    let seconds = [config.dns.timeout, config.dns.min_ttl, config.dns.max_ttl].map(|wait| wait.as_secs());
    assert_eq!(seconds, [3, 5, 3600]);
    let limits = &config.limits;
    assert_eq!(
        (limits.connections.value, limits.connections_given, limits.connections_per_source),
        (8000, false, 4000)
    );
    let waits = [limits.head_timeout, limits.hello_timeout, limits.dial_timeout, limits.idle_timeout, limits.lifetime];
    assert_eq!(waits.map(|wait| wait.as_secs()), [10, 10, 10, 3600, 86_400]);
    assert_eq!((limits.drain_delay.as_secs(), limits.drain_timeout.as_secs()), (0, 30));
    let log = &config.decision_log;
    assert_eq!(
        (log.directory.as_str(), log.key.as_str()),
        ("/var/lib/sallyport/decisions", "/var/lib/sallyport/log.key")
    );
    assert_eq!((log.durability, log.commit_interval, log.stdout), (Durability::Sync, Duration::from_millis(2), false));
    assert!(config.pools.is_empty() && config.redaction == Redaction::default() && config.dns.hosts.is_empty());
}

#[test]
fn what_depends_on_other_things() {
    let log = valid(&format!("{LEAST}decision_log: {{durability: async}}\n")).decision_log;
    assert_eq!(log.commit_interval, Duration::from_millis(20));
    let log = valid(&format!("{LEAST}state: state/\n")).decision_log;
    assert_eq!((log.directory.as_str(), log.key.as_str()), ("state/decisions", "state/log.key"));
    let log = valid(&format!("{LEAST}state: /s\ndecision_log: {{key: k}}\n")).decision_log;
    assert_eq!((log.directory.as_str(), log.key.as_str()), ("/s/decisions", "k"));
    for (ttl, want) in [("max_ttl: 2s", (2, 2)), ("min_ttl: 2h", (7200, 7200)), ("min_ttl: 1s", (1, 3600))] {
        let dns = valid(&format!("{LEAST}dns: {{{ttl}}}\n")).dns;
        assert_eq!((dns.min_ttl.as_secs(), dns.max_ttl.as_secs()), want, "`{ttl}`");
    }
    let text = "instance: ${POD}\nlisteners: [{name: a, address: '127.0.0.1:${PORT}'}]\npolicy: p-${POD}.yaml\n\
                limits: {connections: '${MAX}'}\ndecision_log: {stdout: \"${YES}\"}\n";
    let config = valid(text);
    assert_eq!((config.instance.as_str(), config.policy.value.as_str()), ("edge-7", "p-edge-7.yaml"));
    assert_eq!((config.listeners[0].tcp().unwrap().port(), config.limits.connections.value), (3129, 100));
    assert!(config.decision_log.stdout);
}

/// Keys that `none` turns off, because their default is something.
#[test]
fn denial_rate_is_turned_off_by_none() {
    for (text, want) in [("stdout: true", Some(1000)), ("denial_rate: 5/s", Some(5)), ("denial_rate: none", None)] {
        assert_eq!(valid(&format!("{LEAST}decision_log: {{{text}}}\n")).decision_log.denial_rate, want, "`{text}`");
    }
}

#[test]
fn serve_stale_is_turned_off_by_none() {
    for (text, want) in [("timeout: 2s", 300), ("serve_stale: 1h", 3600), ("serve_stale: none", 0)] {
        assert_eq!(valid(&format!("{LEAST}dns: {{{text}}}\n")).dns.serve_stale.as_secs(), want, "`{text}`");
    }
    assert_eq!(valid(&format!("{LEAST}dns: none\n")).dns.serve_stale.as_secs(), 300);
}

#[test]
fn answers_are_validated_from_built_in_keys_or_those_of_a_file() {
    let of = |text: &str| valid(&format!("{LEAST}dns: {{{text}}}\n")).dns.validation;
    assert_eq!(of("dnssec: none"), None);
    assert_eq!(of("dnssec: validate"), Some(Validation::default()));
    let file = of("dnssec: validate, trust_anchor: root.key").unwrap().file.unwrap();
    assert_eq!(file.value, "root.key");
}

#[test]
fn absence_is_always_accepted() {
    let absent = "profile: standard\nstate: none\nenvironment: none\nredaction: none\nprobes: none\negress: none\n\
                  dns: {hosts: none, dnssec: none}\ndecision_log: {retention: none}\n\
                  admin: {tls: none, tokens: none}\n";
    assert_eq!(valid(&format!("{LEAST}{absent}")), valid(LEAST));
    let none = "permissions: none, mode: none, capture: none, tls: none, proxy_protocol: none, credentials: none";
    let listener = format!("listeners: [{{name: edge, address: '127.0.0.1:3128', {none}}}]");
    assert_eq!(valid(&format!("{listener}\npolicy: policies/\n")), valid(LEAST));
    for key in [
        "profile",
        "instance",
        "state",
        "policy_guard",
        "reload",
        "dns",
        "egress",
        "limits",
        "decision_log",
        "redaction",
        "admin",
        "probes",
    ] {
        assert_eq!(valid(&format!("{LEAST}{key}: none\n")), valid(LEAST), "`{key}`");
    }
    for (key, inner) in [
        ("dns", &["servers", "hosts", "timeout", "min_ttl", "max_ttl", "dnssec", "trust_anchor"][..]),
        ("egress", &["pools"]),
        ("limits", &["connections", "connections_per_source", "head_timeout", "hello_timeout", "dial_timeout"]),
        ("limits", &["idle_timeout", "lifetime", "drain_delay", "drain_timeout"]),
        ("decision_log", &["directory", "durability", "commit_interval", "stdout", "key", "retention"]),
        ("redaction", &["private_fields", "patterns", "canary"]),
        ("admin", &["address", "tls", "tokens"]),
    ] {
        let all: Vec<String> = inner.iter().map(|inner| format!("{inner}: none")).collect();
        let config = valid(&format!("{LEAST}{key}: {{{}}}\n", all.join(", ")));
        // What `limits` says nothing about is placed at the key.
        let mut want = valid(LEAST);
        want.limits.connections.place = config.limits.connections.place;
        assert_eq!(config, want, "{all:?}");
    }
    let config = valid(&format!("{LEAST}dns: {{hosts: {{a.test: none}}}}\negress: {{pools: {{a: none}}}}\n"));
    assert_eq!(config, valid(LEAST), "entries of mappings with free keys");
}

/// One line behind the least configuration, so at line 3, and its only fault.
#[test]
fn faults_of_one_line() {
    let later = "is not available in this version; remove it";
    for (line, column, want) in [
        ("decision_log: {retention: 400d}", 16, format!("`retention` {later}")),
        ("profil: standard", 1, "unknown key `profil`; did you mean `profile`?".into()),
        ("secrets: x", 1, "unknown key `secrets` in the configuration; remove it".into()),
        ("policy: x", 1, "`policy` is given twice, first in line 2; remove one of the two".into()),
        ("<<: {instance: a}", 1, "merge keys (`<<`) are not accepted; write the keys out".into()),
        (
            "instance: a b",
            11,
            "`instance` is `a b`; write 1 to 128 letters, digits, `.`, `_` and `-`, such as `edge-1`".into(),
        ),
        ("instance: 7", 11, "`instance` is a number, `7`; write it in quotes: `\"7\"`".into()),
        ("instance: ${NO}", 11, "the environment variable `NO` is not set; set it, or write the value itself".into()),
        ("state: []", 8, "`state` is a list; write a text".into()),
        ("environment: a+b", 14, "`environment` is `a+b`; write 1 to 128 letters,".into()),
        ("dns: {servers: []}", 16, "`servers` is empty; write `[system]`, or `udp://IP`".into()),
        ("dns: {servers: system}", 16, "`servers` is `system`; write a list, as `[…]` or".into()),
        ("dns: {servers: [udp://192.0.2.1, tls://192.0.2.1]}", 34, "`tls://192.0.2.1` says no name for the".into()),
        ("dns: {servers: [\"https://a@192.0.2.1\"]}", 17, "`https://a@192.0.2.1` has no usable path; write".into()),
        ("dns: {servers: [192.0.2.1]}", 17, "`192.0.2.1` is no DNS server; write `system`, `udp://IP`".into()),
        ("dns: {hosts: {a.test: []}}", 23, "`a.test` has no address; write at least one".into()),
        ("dns: {hosts: {a.test: [b.test]}}", 24, "`b.test` is no IP address; write one such as".into()),
        ("dns: {hosts: {A.test: [127.0.0.1], a.test: [127.0.0.2]}}", 36, "a second entry for `a.test`; put all".into()),
        ("dns: {timeout: 2m}", 16, "`timeout` is `2m`; write from `10ms` to `1m`".into()),
        ("dns: {timeout: 3}", 16, "`timeout` is `3`, without a unit; write a duration such as `3s`".into()),
        ("dns: {min_ttl: 2s, max_ttl: 1s}", 16, "`min_ttl: 2s` is more than `max_ttl: 1s`; write at most `1s`".into()),
        ("dns: {trust_anchor: root.key}", 21, "`trust_anchor` is used with `dnssec: validate` alone; write".into()),
        ("dns: {dnssec: none, trust_anchor: root.key}", 35, "`trust_anchor` is used with `dnssec: validate`".into()),
        ("dns: {serve_stale: 0s}", 20, "`serve_stale` is `0s`; write from `1s` to `3d`".into()),
        ("egress: {pools: {a: {}}}", 21, "a pool lacks `bind`; add it".into()),
        ("egress: {pools: {a: {bind: []}}}", 28, "`bind` is empty; write at least one prefix".into()),
        ("egress: {pools: {a: {bind: [198.51.100.9/29]}}}", 29, "host bits in `198.51.100.9/29`; write".into()),
        ("egress: {pools: {a: {bind: [198.51.96.0/20]}}}", 28, "`bind` has 4096 addresses; write at most 1024".into()),
        ("egress: {pools: {a: {bind: ['::/0']}}}", 29, "`::/0` cannot be an address of its own; write static".into()),
        ("egress: {pools: {none: {bind: [198.51.100.9/32]}}}", 18, "a pool named `none` could not be told".into()),
        ("egress: {pools: {a b: {bind: [198.51.100.9/32]}}}", 18, "a pool's name is `a b`; write 1 to 128".into()),
        ("limits: {connections: 0}", 23, "`connections` is `0`; write a whole number from 1 to 1000000".into()),
        ("limits: {head_timeout: 50ms}", 24, "`head_timeout` is `50ms`; write from `100ms` to `5m`".into()),
        ("limits: {tunnels: 5}", 10, "unknown key `tunnels` in `limits`; remove it".into()),
        ("limits:", 7, "`limits` is empty; write its keys, one a line, as `key: value`".into()),
        (
            "decision_log: {durability: off}",
            28,
            "`durability` is `off`, which many YAML readers take for a boolean; write".into(),
        ),
        ("decision_log: {commit_interval: 2s}", 33, "`commit_interval` is `2s`; write from `0s` to `1s`".into()),
        ("decision_log: {stdout: yes}", 24, "`stdout` is `yes`; write `true` or `false`, without quotes".into()),
        ("decision_log: {retention: 400d}", 16, format!("`retention` {later}")),
        ("redaction: {private_fields: [1]}", 30, "`private_fields` is a number, `1`; write it in quotes".into()),
        ("admin: {address: '0.0.0.0:1', tokens: t.yaml}", 39, "`tokens` would cross the network in the clear".into()),
        ("admin: {address: 127.0.0.1:3128}", 18, "`127.0.0.1:3128` is taken by `127.0.0.1:3128` in line 1;".into()),
        ("admin: {address: 127.0.0.1}", 18, "`127.0.0.1` is no address; write `IP:PORT`, such as".into()),
        ("probes: {}", 9, "`probes` lacks `address`; add it".into()),
    ] {
        let (_, faults) = read(&format!("{LEAST}{line}\n"));
        assert_eq!(faults.len(), 1, "`{line}`: {faults:#?}");
        let want = format!("f:3:{column}: {want}");
        assert!(faults[0].starts_with(&want), "`{line}`:\n  {}\n  {want}", faults[0]);
    }
}

#[test]
fn words_that_nobody_knows() {
    for (line, want) in [
        ("profile: pcl", "f:3:10: `profile` is `pcl`; write one of `standard`, `pci`"),
        (
            "dns: {dnssec: no}",
            "`dnssec` is `no`, which many YAML readers take for a boolean; write one of `none`, `validate`",
        ),
        ("instance: pan-4111111111111111", "f:3:11: `instance` holds what looks like a card number; use another name"),
        ("decision_log: {durability: asinc}", "f:3:28: `durability` is `asinc`; write one of `sync`, `async`"),
    ] {
        let (_, faults) = read(&format!("{LEAST}{line}\n"));
        assert!(faults.len() == 1 && faults[0].contains(want), "`{line}`: {faults:#?}");
    }
}

#[test]
fn the_host_must_have_a_name_that_fits() {
    let mut faults = Faults::new();
    load(LEAST, 0, &env, "a b", &mut faults);
    let lines: Vec<String> = faults.iter().map(|fault| fault.line(&["f"])).collect();
    assert_eq!(lines, ["f:1:1: the host's name `a b` cannot name this instance; write `instance: edge-1`"]);
}

#[test]
fn ten_faults_in_their_order() {
    let text = "profile: pc\ninstance: a b\nlisteners:\n  - {name: a, address: x}\n  - {nam: b, address: '127.0.0.1:1'}\n\
                dns:\n  timeout: 3\n  max_tll: 3s\nlimits: {connections: many}\nadmin: {tls: {key: k}}\npolicy: 7\n";
    let (config, faults) = read(text);
    assert_eq!(config, None);
    let places: Vec<&str> = faults.iter().filter_map(|fault| fault.split(": ").next()).collect();
    let want = ["f:1:10", "f:2:11", "f:4:24", "f:5:5", "f:5:6", "f:7:12", "f:8:3", "f:9:23", "f:10:14", "f:11:9"];
    assert_eq!(places, want, "{faults:#?}");
}

#[test]
fn with_faults_the_policy_is_still_known() {
    let (config, faults) =
        read(&format!("{LEAST}egress: {{pools: {{a: {{bind: [x]}}}}}}\nlimits: {{head_timeout: 1}}\n"));
    let config = config.unwrap();
    assert_eq!((faults.len(), config.policy.value.as_str()), (2, "policies/"));
    assert!(config.pools.contains_key("a"), "rules may name it");
}

#[test]
fn no_configuration_at_all() {
    for (text, want) in [
        ("", "f:1:1: the configuration is empty; write its keys, one a line, as `key: value`"),
        ("- a\n", "f:1:1: the configuration is a list; write a mapping, as `key: value`"),
        ("a: [\n", "f:1:4: unclosed bracket `[`; close each `[` with `]` and each `{` with `}`"),
    ] {
        assert_eq!(read(text), (None, vec![want.to_owned()]), "{text:?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_safe(text: String) {
        read(&text);
    }

    /// Any one line changed: either it is valid, or there is a fault with a place.
    #[test]
    fn any_value_is_safe(line in 0..36_usize, value in r#"[a-z0-9.:/\[\]{}, "'$*&!%-]{0,12}"#) {
        let text: String = WHOLE.lines().enumerate().map(|(n, old)| {
            let key = old.split_once(": ").map_or(old, |(key, _)| key);
            if n == line { format!("{key}: {value}\n") } else { format!("{old}\n") }
        }).collect();
        let mut faults = Faults::new();
        let config = load(&text, 0, &env, "host-1", &mut faults);
        prop_assert!(config.is_some() || !faults.is_empty());
        prop_assert!(faults.iter().all(|fault| fault.place.is_some() && fault.message.contains([';', '?'])), "{faults:?}");
    }
}
