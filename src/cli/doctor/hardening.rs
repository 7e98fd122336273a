//! What of the hardening baseline can be seen from the proxy's host: its process, its files, its configuration.
//! Not here: what the configuration refuses by itself. Source: proc(5); PCI DSS 2.2.6, 3.3.1, 7.2.5.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Check;
use crate::config::{Config, Durability};
use crate::runtime::load::Loaded;
use crate::runtime::{clock, process, succession};

/// All of it.
pub(super) fn seen(loaded: &Loaded) -> Vec<Check> {
    let config = &loaded.config;
    let mut checks = of_process(Path::new(&config.decision_log.directory), &succession::door(config));
    checks.push(key(Path::new(&config.decision_log.key)));
    checks.push(files(loaded));
    checks.push(admin(config));
    let reporting = loaded.policy.reporting(clock::now());
    let reporting: Vec<String> =
        reporting.map(|(source, report)| format!("`{}` until {}", source.name, report.until)).collect();
    checks.push(match reporting.as_slice() {
        [] => Check::ok("report mode", "no source is in it"),
        some => Check::note("report mode", format!("lets through what no rule does: {}", some.join(", "))),
    });
    checks.push(match config.decision_log.durability {
        Durability::Sync => Check::ok("durability", "a record is on disk before a byte is forwarded"),
        Durability::Async => Check::note(
            "durability",
            "`async`: a crash may lose the last `commit_interval`; write `sync` if none may be lost",
        ),
    });
    checks.push(match config.redaction.canary {
        Some(_) => Check::ok("canary", "the proxy tests its redaction on itself"),
        None => Check::note("canary", "the proxy does not test itself; write `redaction: {canary: 1d}`"),
    });
    checks
}

/// The process that writes the log, if it can be seen from here.
fn of_process(log: &Path, door: &Path) -> Vec<Check> {
    let Some(status) = process::Guarded::of_writer(log, door) else {
        let found =
            "the process that writes the log is not seen from here; run this on the proxy's host, as its user or root";
        return vec![Check::failed("process", found)];
    };
    let pid = status.pid;
    let core = match status.has_core_dumps {
        false => Check::ok("core dumps", format!("are off for process {pid}")),
        true => Check::failed("core dumps", format!("process {pid} may leave one; find out what has raised its limit")),
    };
    let user = match status.is_root {
        false => Check::ok("user", format!("process {pid} is not root's")),
        true => Check::failed("user", format!("process {pid} is root's; run it as a user of its own")),
    };
    vec![core, user]
}

fn key(path: &Path) -> Check {
    let check = "the log's key";
    match fs::metadata(path).map(|file| file.mode()) {
        Ok(mode) if mode & 0o007 == 0 => Check::ok(check, format!("is closed to others (mode {:o})", mode & 0o777)),
        Ok(_) => Check::failed(check, format!("others may read or write it; chmod 600 {}", path.display())),
        Err(error) => Check::failed(check, format!("{}: {error}", path.display())),
    }
}

/// All that was read, and the policy's folder, where a file may be added. Of keys that the load reads it has looked at the mode itself.
fn files(loaded: &Loaded) -> Check {
    let check = "the files that were read";
    let certificate = loaded.config.admin.tls.iter().map(|tls| &tls.certificate.value);
    let mut files: Vec<&String> = loaded.files.iter().chain([&loaded.config.policy.value]).chain(certificate).collect();
    files.sort_unstable();
    files.dedup();
    let mut open = Vec::new();
    for file in &files {
        match fs::metadata(file).map(|file| file.mode()) {
            Ok(mode) if mode & 0o002 == 0 => {}
            Ok(_) => open.push(file.as_str()),
            Err(error) => return Check::failed(check, format!("{file}: {error}")),
        }
    }
    match open.as_slice() {
        [] => Check::ok(check, format!("are closed to writing by others, all {}", files.len())),
        some => Check::failed(check, format!("everybody may write some; chmod o-w {}", some.join(" "))),
    }
}

fn admin(config: &Config) -> Check {
    match (config.admin.address.ip().is_loopback(), &config.admin.tls) {
        (true, _) => Check::ok("the admin port's door", "is on loopback"),
        (false, Some(_)) => Check::ok("the admin port's door", "has TLS"),
        (false, None) => Check::failed(
            "the admin port's door",
            "is off loopback without TLS; write `admin.tls`, and `probes` for what may be in the clear",
        ),
    }
}
