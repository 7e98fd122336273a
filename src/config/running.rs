//! What of a configuration that was read again a running proxy takes, and what waits for a restart.
//! Not here: reading it, the files that it names, putting it in force (`runtime`).
//! Source: the contract's "Reload": what can't change without a restart is said by name.

use super::{Admin, Config, ListenAddress, Listener};

impl Config {
    /// What is in force once `new` is read while this is: all of `new` that can change, and the rest as it is; with the keys whose new values
    /// wait for a restart, by their paths.
    pub fn followed_by(&self, new: &Self) -> (Self, Vec<String>) {
        let mut config = self.clone();
        config.policy = new.policy.clone();
        config.policy_guard = new.policy_guard.clone();
        config.reload = new.reload;
        config.limits = new.limits.clone();
        config.decision_log.denial_rate = new.decision_log.denial_rate;
        let mut waits: Vec<String> = fixed(self, new).map(str::to_owned).collect();
        for running in &mut config.listeners {
            match new.listeners.iter().find(|listener| listener.name == running.name) {
                Some(listener) => waits.extend(follow(running, listener)),
                None => waits.push(format!("listeners.{}", running.name)),
            }
        }
        let is_new = |listener: &&Listener| !self.listeners.iter().any(|running| running.name == listener.name);
        waits.extend(new.listeners.iter().filter(is_new).map(|listener| format!("listeners.{}", listener.name)));
        waits.extend(administer(&mut config.admin, &new.admin).map(str::to_owned));
        (config, waits)
    }
}

/// What differs of what never changes while the proxy runs.
fn fixed(running: &Config, new: &Config) -> impl Iterator<Item = &'static str> {
    let (dns, log) = ((&running.dns, &new.dns), (&running.decision_log, &new.decision_log));
    let validation = |config: &Config| config.dns.validation.as_ref().map(|validation| validation.anchors.clone());
    [
        ("profile", running.profile == new.profile),
        ("instance", running.instance == new.instance),
        ("state", running.state == new.state),
        ("environment", running.environment == new.environment),
        ("dns.servers", dns.0.servers == dns.1.servers),
        ("dns.hosts", dns.0.hosts == dns.1.hosts),
        ("dns.timeout", dns.0.timeout == dns.1.timeout),
        ("dns.min_ttl", dns.0.min_ttl == dns.1.min_ttl),
        ("dns.max_ttl", dns.0.max_ttl == dns.1.max_ttl),
        ("dns.serve_stale", dns.0.serve_stale == dns.1.serve_stale),
        ("dns.dnssec", validation(running) == validation(new)),
        ("egress.pools", running.pools == new.pools),
        ("decision_log.directory", log.0.directory == log.1.directory),
        ("decision_log.durability", log.0.durability == log.1.durability),
        ("decision_log.commit_interval", log.0.commit_interval == log.1.commit_interval),
        ("decision_log.key", log.0.key == log.1.key),
        ("decision_log.stdout", log.0.stdout == log.1.stdout),
        ("redaction", running.redaction == new.redaction),
        ("admin.address", running.admin.address == new.admin.address),
        ("probes", running.probes == new.probes),
    ]
    .into_iter()
    .filter_map(|(key, is_same)| (!is_same).then_some(key))
}

/// Takes the files of a listener; whether it has any stays as it is.
fn follow(running: &mut Listener, new: &Listener) -> impl Iterator<Item = String> + use<> {
    let asks = |listener: &Listener| listener.tls.as_ref().map(|tls| tls.client_auth.is_some());
    let (has_tls, asks_alike) = (running.tls.is_some() == new.tls.is_some(), asks(running) == asks(new));
    let is_guarded_alike = running.credentials.is_some() == new.credentials.is_some();
    let differing = [
        ("address", running.address.is_same(&new.address)),
        ("mode", running.mode == new.mode),
        ("proxy_protocol", running.proxy_protocol == new.proxy_protocol),
        ("tls", has_tls),
        ("tls.client_auth", asks_alike || !has_tls),
        ("credentials", is_guarded_alike),
    ];
    if asks_alike {
        running.tls.clone_from(&new.tls);
    }
    if is_guarded_alike {
        running.credentials.clone_from(&new.credentials);
    }
    running.place = new.place;
    let name = running.name.clone();
    let waits = differing.into_iter().filter(|(_, is_same)| !is_same);
    waits.map(move |(key, _)| format!("listeners.{name}.{key}"))
}

impl ListenAddress {
    /// Whether both name one place with the same permissions, wherever they were written.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(two)) => one == two,
            (Self::Unix(one), Self::Unix(two)) => {
                one.path.value == two.path.value && one.permissions == two.permissions
            }
            (Self::Tcp(_), Self::Unix(_)) | (Self::Unix(_), Self::Tcp(_)) => false,
        }
    }
}

/// Takes the admin port's files. Whether it speaks TLS stays as it is, and tokens don't cross a network in the clear: the new configuration
/// was checked with its own address, not with the one that runs.
fn administer(running: &mut Admin, new: &Admin) -> impl Iterator<Item = &'static str> {
    let has_tls = running.tls.is_some() == new.tls.is_some();
    if has_tls {
        running.tls.clone_from(&new.tls);
    }
    let is_private = running.tls.is_some() || running.address.ip().is_loopback();
    let may_have_tokens = is_private || new.tokens.is_none();
    if may_have_tokens {
        running.tokens.clone_from(&new.tokens);
    }
    [("admin.tls", has_tls), ("admin.tokens", may_have_tokens)]
        .into_iter()
        .filter_map(|(key, same)| (!same).then_some(key))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::config;
    use crate::yaml::Faults;

    /// `key: value` lines, those of `changed` in place of the same keys.
    fn config(changed: &[(&str, &str)]) -> Config {
        let base = [
            (
                "listeners",
                "[{name: edge, address: '127.0.0.1:1', tls: {certificate: a, key: b}}, {name: in, address: 'unix:s'}]",
            ),
            ("policy", "p"),
            ("instance", "edge-1"),
            ("admin", "{address: '192.0.2.1:9901', tls: {certificate: a, key: b}, tokens: t}"),
        ];
        let mut lines = String::new();
        let kept = base.iter().filter(|(key, _)| !changed.iter().any(|(changed, _)| changed == key));
        for (key, value) in kept.chain(changed) {
            writeln!(lines, "{key}: {value}").unwrap();
        }
        let mut faults = Faults::new();
        let config = config::load(&lines, 0, &|_| None, "host", &mut faults);
        assert!(faults.is_empty(), "{lines}: {faults:?}");
        config.unwrap()
    }

    #[test]
    fn what_waits_for_a_restart_is_named_and_stays() {
        for (key, value, want) in [
            ("profile", "pci\nenvironment: test", &["profile", "environment"][..]),
            ("instance", "edge-2", &["instance"]),
            ("state", "/srv", &["state", "decision_log.directory", "decision_log.key"]),
            ("environment", "test", &["environment"]),
            ("dns", "{servers: ['udp://192.0.2.53'], min_ttl: 6s}", &["dns.servers", "dns.min_ttl"]),
            ("dns", "{hosts: {a.test: [127.0.0.1]}, timeout: 4s}", &["dns.hosts", "dns.timeout"]),
            (
                "dns",
                "{max_ttl: 2h, serve_stale: 1m, dnssec: validate}",
                &["dns.max_ttl", "dns.serve_stale", "dns.dnssec"],
            ),
            ("egress", "{pools: {a: {bind: [192.0.2.1/32]}}}", &["egress.pools"]),
            ("decision_log", "{durability: async}", &["decision_log.durability", "decision_log.commit_interval"]),
            ("decision_log", "{stdout: true, key: k}", &["decision_log.key", "decision_log.stdout"]),
            ("redaction", "{private_fields: [a]}", &["redaction"]),
            ("probes", "{address: '127.0.0.1:9'}", &["probes"]),
            ("admin", "{address: '192.0.2.2:9901', tls: {certificate: a, key: b}, tokens: t}", &["admin.address"]),
            ("listeners", "[{name: edge, address: '127.0.0.1:1', tls: {certificate: a, key: b}}]", &["listeners.in"]),
            (
                "listeners",
                "[{name: edge, address: '127.0.0.1:2', proxy_protocol: {from: [10.0.0.0/28]}}, {name: in, address: 'unix:t'}, {name: x, address: '127.0.0.1:3'}]",
                &[
                    "listeners.edge.address",
                    "listeners.edge.proxy_protocol",
                    "listeners.edge.tls",
                    "listeners.in.address",
                    "listeners.x",
                ],
            ),
            (
                "listeners",
                "[{name: edge, address: '127.0.0.1:1', credentials: c, tls: {certificate: a, key: b, client_auth: required, client_ca: ca}}, \
                  {name: in, address: 'unix:s'}]",
                &["listeners.edge.tls.client_auth", "listeners.edge.credentials"],
            ),
        ] {
            let (running, new) = (config(&[]), config(&[(key, value)]));
            let (mut next, waits) = running.followed_by(&new);
            assert_eq!(waits, want, "{key}: {value}");
            // Where they stand in the file is all that is new of those.
            for (listener, before) in next.listeners.iter_mut().zip(&running.listeners) {
                listener.place = before.place;
            }
            next.policy.place = running.policy.place;
            next.limits.connections.place = running.limits.connections.place;
            next.admin.clone_from(&running.admin);
            assert_eq!(next.listeners.iter().map(|one| one.tls.is_some()).collect::<Vec<_>>(), [true, false]);
            next.listeners.clone_from(&running.listeners);
            assert_eq!(next, running, "{key}: {value}");
        }
    }

    #[test]
    fn what_can_change_does() {
        let running = config(&[]);
        for (key, value) in [
            ("policy", "q"),
            ("policy_guard", "{max_added: 1}"),
            ("reload", "{on_change: false}"),
            ("limits", "{connections: 7, drain_delay: 1s}"),
            ("decision_log", "{denial_rate: none}"),
            ("admin", "{address: '192.0.2.1:9901', tls: {certificate: c, key: d}, tokens: u}"),
            (
                "listeners",
                "[{name: edge, address: '127.0.0.1:1', tls: {certificate: c, key: d}}, {name: in, address: 'unix:s'}]",
            ),
        ] {
            let new = config(&[(key, value)]);
            let (mut next, waits) = running.followed_by(&new);
            // The path of a socket keeps the place where it was read first.
            next.listeners[1].address.clone_from(&new.listeners[1].address);
            assert_eq!((next, waits), (new, Vec::new()), "{key}: {value}");
        }
    }

    #[test]
    fn tokens_stay_off_a_network_in_the_clear() {
        let clear = config(&[("admin", "{address: '192.0.2.1:9901'}")]);
        let new = config(&[("admin", "{address: '127.0.0.1:9901', tokens: t}")]);
        let (next, waits) = clear.followed_by(&new);
        assert_eq!((next.admin.tokens, waits), (None, vec!["admin.address".to_owned(), "admin.tokens".to_owned()]));
        let (next, waits) = config(&[]).followed_by(&new);
        assert!(next.admin.tls.is_some() && next.admin.tokens.is_some(), "it still speaks TLS");
        assert_eq!(waits, ["admin.address", "admin.tls"]);
    }
}
