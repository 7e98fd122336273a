//! How each subject is configured and started: an allowlist of exact names, two ports, a log on disk; sallyport as in production.
//! Not here: Envoy's configuration (`envoy`), starting (`stage`).

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result};
use clap::ValueEnum;
use jiff::{ToSpan, Zoned};

use super::envoy;
use super::programs::Programs;
use crate::names::{FAKE_PORT, REAL_PORT, allowlist};
use crate::subject::{Kind, Subject};

/// Where a subject's admin address is.
const ADMIN: &str = "127.0.0.1:3105";

/// Rules of a policy: above so many names, they share them.
const MAX_RULES: usize = 10_000;

/// Days until a rule of the load must be reviewed.
const REVIEW: i64 = 180;

/// What a recipe works with.
pub struct Kitchen<'a> {
    /// The subject's folder, empty.
    pub folder: &'a Path,
    /// Paths of the programs.
    pub programs: &'a Programs,
    /// Where names are looked up.
    pub dns: Ipv4Addr,
    /// Cores of the subject.
    pub cores: usize,
    /// Tunnels that it must be able to hold.
    pub tunnels: u32,
}

/// Every address that a subject listens on.
pub fn addresses() -> Vec<String> {
    let ports = Kind::ALL.map(|kind| format!("127.0.0.1:{}", port(kind)));
    let mut all: Vec<String> = ports.into_iter().chain([ADMIN.to_owned()]).collect();
    all.sort();
    all.dedup();
    all
}

/// The port of a subject.
pub fn port(kind: Kind) -> u16 {
    match kind {
        Kind::Squid => 3101,
        Kind::Envoy => 3102,
        Kind::Tinyproxy => 3103,
        Kind::SallyportAsync | Kind::SallyportSync => 3104,
        Kind::FloorShared64k | Kind::FloorSplice | Kind::FloorCopy8k => 3110,
    }
}

impl Kitchen<'_> {
    /// Writes the subject's files and gives the words of its command.
    ///
    /// # Errors
    /// A file can't be written, a program is missing.
    pub fn prepare(&self, subject: Subject) -> Result<Vec<String>> {
        match subject.kind {
            Kind::FloorShared64k | Kind::FloorSplice | Kind::FloorCopy8k => self.floor(subject),
            Kind::SallyportAsync => self.sallyport(subject.names, "async"),
            Kind::SallyportSync => self.sallyport(subject.names, "sync"),
            Kind::Squid => self.squid(subject.names),
            Kind::Envoy => self.envoy(subject.names),
            Kind::Tinyproxy => self.tinyproxy(subject.names),
        }
    }

    fn write(&self, file: &str, lines: &[String]) -> Result<String> {
        let path = self.folder.join(file);
        fs::write(&path, lines.join("\n") + "\n").with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(path.to_string_lossy().into_owned())
    }

    fn floor(&self, subject: Subject) -> Result<Vec<String>> {
        let rig = std::env::current_exe()?.to_string_lossy().into_owned();
        let relay = subject.kind.relay().and_then(|relay| relay.to_possible_value()).context("no relay")?;
        Ok(vec![
            rig,
            "floor".to_owned(),
            format!("--listen=127.0.0.1:{}", port(subject.kind)),
            format!("--relay={}", relay.get_name()),
            format!("--threads={}", self.cores),
        ])
    }

    fn sallyport(&self, names: usize, durability: &str) -> Result<Vec<String>> {
        let review = Zoned::now().date().checked_add(REVIEW.days())?.to_string();
        self.write("policy.yaml", &policy(names, &review))?;
        let config = [
            "instance: bench".to_owned(),
            "environment: production".to_owned(),
            format!(
                "listeners: [{{name: edge, address: \"127.0.0.1:{}\", mode: connect}}]",
                port(Kind::SallyportAsync)
            ),
            "policy: policy.yaml".to_owned(),
            format!("dns: {{servers: [\"udp://{}\"]}}", self.dns),
            format!("limits: {{connections: {0}, connections_per_source: {0}}}", self.tunnels),
            format!(
                "decision_log: {{directory: decisions, key: log.key, durability: {durability}, denial_rate: none}}"
            ),
            format!("admin: {{address: \"{ADMIN}\"}}"),
        ];
        let config = self.write("sallyport.yaml", &config)?;
        Ok(vec![self.programs.path("sallyport")?, "run".to_owned(), "-c".to_owned(), config])
    }

    fn squid(&self, names: usize) -> Result<Vec<String>> {
        let (allow, folder) = (self.write("allow.txt", &allowlist(names))?, self.folder.display());
        let config = [
            format!("http_port 127.0.0.1:{}", port(Kind::Squid)),
            format!("workers {}", self.cores),
            format!("acl allowed dstdomain \"{allow}\""),
            "acl CONNECT method CONNECT".to_owned(),
            format!("acl ports port {REAL_PORT} {FAKE_PORT}"),
            "http_access deny !CONNECT".to_owned(),
            "http_access deny !ports".to_owned(),
            "http_access allow allowed".to_owned(),
            "http_access deny all".to_owned(),
            "cache deny all".to_owned(),
            "cache_mem 8 MB".to_owned(),
            format!("access_log daemon:{folder}/access.log squid"),
            format!("cache_log {folder}/cache.log"),
            "cache_store_log none".to_owned(),
            format!("pid_filename {folder}/squid.pid"),
            format!("coredump_dir {folder}"),
            "logfile_rotate 0".to_owned(),
            format!("dns_nameservers {}", self.dns),
            "hosts_file none".to_owned(),
            "pinger_enable off".to_owned(),
            format!("max_filedescriptors {}", self.tunnels.saturating_mul(2).saturating_add(800)),
            "shutdown_lifetime 1 second".to_owned(),
            "cache_effective_user proxy".to_owned(),
            "via off".to_owned(),
        ];
        let config = self.write("squid.conf", &config)?;
        let foreground = if self.cores == 1 { "-N" } else { "--foreground" };
        Ok(vec![self.programs.path("squid")?, foreground.to_owned(), "-f".to_owned(), config])
    }

    fn tinyproxy(&self, names: usize) -> Result<Vec<String>> {
        let (allow, folder) = (self.write("filter", &allowlist(names))?, self.folder.display());
        let config = [
            "User proxy".to_owned(),
            "Group proxy".to_owned(),
            format!("Port {}", port(Kind::Tinyproxy)),
            "Listen 127.0.0.1".to_owned(),
            "Timeout 600".to_owned(),
            format!("LogFile \"{folder}/tinyproxy.log\""),
            "LogLevel Connect".to_owned(),
            "MaxClients 20000".to_owned(),
            format!("ConnectPort {REAL_PORT}"),
            format!("ConnectPort {FAKE_PORT}"),
            format!("Filter \"{allow}\""),
            "FilterType fnmatch".to_owned(),
            "FilterDefaultDeny Yes".to_owned(),
            "DisableViaHeader Yes".to_owned(),
        ];
        let config = self.write("tinyproxy.conf", &config)?;
        Ok(vec![self.programs.path("tinyproxy")?, "-d".to_owned(), "-c".to_owned(), config])
    }

    fn envoy(&self, names: usize) -> Result<Vec<String>> {
        let log = self.folder.join("access.log");
        let config = envoy::config(&allowlist(names), self.dns, port(Kind::Envoy), &log.to_string_lossy());
        let config = self.write("envoy.json", &[config])?;
        let cores = self.cores.to_string();
        let own = [self.programs.path("envoy")?, "-c".to_owned(), config, "--concurrency".to_owned(), cores];
        let rest = ["--disable-hot-restart", "-l", "warn"].map(str::to_owned);
        Ok([own.as_slice(), &rest].concat())
    }
}

/// One name a rule up to a limit; then that many rules share them.
fn policy(names: usize, review: &str) -> Vec<String> {
    let head = [
        "version: 1",
        "require: [owner, purpose, ticket, review_by]",
        "sources:",
        "  - {name: load, subnets: [127.0.2.0/24], environment: production, class: cde}",
        "rules:",
    ];
    let names = allowlist(names);
    let rules = names.chunks(names.len().div_ceil(MAX_RULES).max(1)).enumerate().flat_map(|(number, hosts)| {
        [
            format!("  - id: c{number}/https"),
            format!("    customer: c{number}"),
            "    sources: [load]".to_owned(),
            format!("    hosts: [{}]", hosts.join(", ")),
            format!("    ports: [{REAL_PORT}, {FAKE_PORT}]"),
            "    addresses: [127.0.0.0/16]".to_owned(),
            "    tls: {verify: none}".to_owned(),
            "    owner: load@bench.test".to_owned(),
            "    purpose: side-by-side load".to_owned(),
            format!("    ticket: LOAD-{number}"),
            format!("    review_by: {review}"),
        ]
    });
    head.map(str::to_owned).into_iter().chain(rules).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_policy_shares_its_names_among_the_rules() {
        for (names, rules) in [(16, 16), (1_000, 1_000), (10_000, 10_000), (10_001, 5_001), (1_000_000, 10_000)] {
            let lines = policy(names, "2030-01-01");
            let hosts = lines.iter().filter(|line| line.contains("hosts:"));
            let counts: Vec<usize> = hosts.map(|line| line.matches(".customer.test").count()).collect();
            assert_eq!((counts.len(), counts.iter().sum::<usize>()), (rules, names), "{names} names");
        }
    }

    #[test]
    fn addresses_are_all_and_each_once() {
        assert_eq!(addresses(), [3101, 3102, 3103, 3104, 3105, 3110].map(|port| format!("127.0.0.1:{port}")));
    }
}
