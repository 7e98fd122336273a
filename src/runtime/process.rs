//! What /proc says: of this process, the usual `process_*` metrics; of the one that writes a log, how it is guarded.
//! Source: proc(5), proc_locks(5); Prometheus client library guidelines.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::fs::{major, minor};
use rustix::net::sockopt;
use rustix::param::{clock_ticks_per_second, page_size};

use crate::runtime::sys;

/// The metrics as Prometheus text. What /proc does not give is left out.
pub fn page() -> String {
    let mut page = String::new();
    let mut row = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            // Writing to a String cannot fail.
            let _ =
                writeln!(page, "# HELP process_{name} {help}\n# TYPE process_{name} {kind}\nprocess_{name} {value}");
        }
    };
    let stat = Stat::read();
    let open = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64);
    row("cpu_seconds_total", "counter", "User and system time.", stat.as_ref().map(|stat| stat.cpu_seconds));
    row("resident_memory_bytes", "gauge", "Resident memory.", stat.as_ref().map(|stat| stat.resident_bytes));
    row("virtual_memory_bytes", "gauge", "Virtual memory.", stat.as_ref().map(|stat| stat.virtual_bytes));
    row("threads", "gauge", "Threads.", stat.as_ref().map(|stat| stat.threads));
    row("start_time_seconds", "gauge", "Start of the process since the epoch.", stat.as_ref().and_then(Stat::started));
    row("open_fds", "gauge", "Open descriptors.", open);
    row("max_fds", "gauge", "Most descriptors that may be open.", Some(sys::descriptor_limit() as f64));
    page
}

/// How the process that writes a log is guarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guarded {
    /// Its id.
    pub pid: u32,
    /// Whether it may leave core dumps.
    pub has_core_dumps: bool,
    /// Whether it is root's.
    pub is_root: bool,
}

impl Guarded {
    /// The process that listens at the instance's `door`, or else the one that holds the lock on the log's directory; `None`: there is
    /// none, or it can't be seen from here. Of a lock that was handed over the kernel knows only who took it first.
    pub fn of_writer(log: &Path, door: &Path) -> Option<Self> {
        let pid = listens(door).or_else(|| {
            let (directory, locks) = (fs::metadata(log).ok()?, fs::read_to_string("/proc/locks").ok()?);
            writer(&locks, &directory, &|pid| fs::read_to_string(format!("/proc/{pid}/comm")).ok())
        })?;
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let soft =
            limits.lines().find_map(|line| line.strip_prefix("Max core file size"))?.split_whitespace().next()?;
        let user = status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(1)?;
        Some(Self { pid, has_core_dumps: soft != "0", is_root: user == "0" })
    }
}

/// The process that listens on a Unix socket.
fn listens(path: &Path) -> Option<u32> {
    let peer = sockopt::socket_peercred(UnixStream::connect(path).ok()?).ok()?;
    peer.pid.as_raw_nonzero().get().try_into().ok()
}

/// The process that holds the lock on this directory. Other file systems have files with the same number, and some tell another device
/// in /proc/locks than stat(2) does: there it is the one that has this program's `name`.
fn writer(locks: &str, directory: &fs::Metadata, name: &dyn Fn(&str) -> Option<String>) -> Option<u32> {
    let device = format!("{:02x}:{:02x}", major(directory.dev()), minor(directory.dev()));
    let same: Vec<(&str, u32)> = locks.lines().filter_map(|line| holder(line, directory.ino())).collect();
    let here = same.iter().find(|(found, _)| *found == device);
    let ours = name("self");
    let named = || same.iter().find(|(_, pid)| ours.is_some() && name(&pid.to_string()) == ours);
    here.or_else(named).map(|(_, pid)| *pid)
}

/// The device and the process of which a line of /proc/locks says that it holds the file with this inode for itself.
fn holder(line: &str, inode: u64) -> Option<(&str, u32)> {
    let mut words = line.split_whitespace().skip(1);
    let [kind, _, access, pid, file] = std::array::from_fn(|_| words.next().unwrap_or_default());
    let (device, held) = file.rsplit_once(':')?;
    let is_held = kind == "FLOCK" && access == "WRITE" && held.parse() == Ok(inode);
    is_held.then(|| pid.parse().ok().map(|pid| (device, pid)))?
}

/// What /proc/self/stat says, in seconds and bytes.
struct Stat {
    cpu_seconds: f64,
    resident_bytes: f64,
    virtual_bytes: f64,
    threads: f64,
    start_seconds: f64,
}

impl Stat {
    fn read() -> Option<Self> {
        let text = fs::read_to_string("/proc/self/stat").ok()?;
        // The second field, in brackets, is the program's name, which may hold spaces: count from behind it, from field 3 on.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<f64> = rest.split_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect();
        let field = |number: usize| fields.get(number.checked_sub(3)?).copied();
        let ticks = clock_ticks_per_second() as f64;
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / ticks,
            threads: field(20)?,
            start_seconds: field(22)? / ticks,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * page_size() as f64,
        })
    }

    fn started(&self) -> Option<f64> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let boot: f64 = text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
        Some(boot + self.start_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_a_lock() {
        for (line, want) in [
            ("1: FLOCK  ADVISORY  WRITE 4711 fd:01:131090 0 EOF", Some(("fd:01", 4711))),
            ("1: FLOCK  ADVISORY  WRITE 4711 fd:01:131091 0 EOF", None),
            ("2: POSIX  ADVISORY  WRITE 4711 fd:01:131090 0 EOF", None),
            ("3: FLOCK  ADVISORY  READ  4711 fd:01:131090 0 EOF", None),
            ("1: -> FLOCK  ADVISORY  WRITE 4712 fd:01:131090 0 EOF", None),
            ("", None),
        ] {
            assert_eq!(holder(line, 131_090), want, "{line}");
        }
    }

    #[test]
    fn a_lock_is_told_by_device_and_inode_or_by_who_holds_it() {
        let directory = fs::metadata(env!("CARGO_MANIFEST_DIR")).unwrap();
        let (inode, device) = (directory.ino(), directory.dev());
        let here = format!("{:02x}:{:02x}", major(device), minor(device));
        let line = |pid: u32, device: &str| format!("1: FLOCK  ADVISORY  WRITE {pid} {device}:{inode} 0 EOF\n");
        let names = |pid: &str| Some(if pid == "self" || pid == "3" { "sallyport" } else { "other" }.to_owned());
        for (name, locks, want) in [
            ("nobody", String::new(), None),
            ("another file system's file of this number comes first", line(1, "ee:0f") + &line(2, &here), Some(2)),
            ("this program's, on another device", line(1, "ee:0f") + &line(3, "ee:10"), Some(3)),
            ("another program's, on another device", line(1, "ee:0f"), None),
        ] {
            assert_eq!(writer(&locks, &directory, &names), want, "{name}");
        }
        assert_eq!(writer(&line(1, "ee:0f"), &directory, &|_| None), None, "no name is no name alike");
    }

    #[test]
    fn whoever_listens_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("door");
        assert_eq!(listens(&path), None);
        let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(listens(&path), Some(std::process::id()));
        drop(socket);
        assert_eq!(listens(&path), None, "it is deserted");
    }

    #[test]
    fn the_usual_process_metrics_are_there() {
        let page = page();
        for name in ["cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds", "start_time_seconds"] {
            assert!(page.lines().any(|line| line.starts_with(&format!("process_{name} "))), "`{name}` in\n{page}");
        }
    }
}
