//! The usual `process_*` metrics, read from /proc when they are asked for. Source: proc(5); Prometheus client library guidelines.

use std::fmt::Write;
use std::fs;

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
    fn the_usual_process_metrics_are_there() {
        let page = page();
        for name in ["cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds", "start_time_seconds"] {
            assert!(page.lines().any(|line| line.starts_with(&format!("process_{name} "))), "`{name}` in\n{page}");
        }
    }
}
