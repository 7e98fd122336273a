//! CPU and memory of a process and all its descendants, and of the machine. Source: proc(5).
//! Not here: what counts as somebody else's load (`busy`).

use std::collections::BTreeMap;
use std::fs;

use rustix::param::clock_ticks_per_second;

use crate::figure::count;

/// What `/proc/PID/stat` says of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its program, shortened by the kernel.
    pub name: String,
    /// The parent's id.
    pub parent: u32,
    /// Its process group.
    pub group: u32,
    /// Clock ticks on the CPU.
    pub ticks: u64,
    /// The same of its ended and awaited descendants.
    pub children: u64,
    /// When it started, in ticks since boot: with its id, which process it is.
    pub started: u64,
}

/// Every process by its id.
pub type Processes = BTreeMap<u32, Stat>;

/// One line of `/proc/PID/stat`.
pub fn parse_stat(line: &str) -> Option<Stat> {
    let (before, rest) = line.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // Fields 14 to 17: user and system time, the same of awaited children. The first of `rest` is field 3.
    let tick = |place: usize| fields.get(place)?.parse::<u64>().ok();
    Some(Stat {
        name: before.split_once('(')?.1.to_owned(),
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        ticks: tick(11)?.saturating_add(tick(12)?),
        children: tick(13)?.saturating_add(tick(14)?),
        started: fields.get(19)?.parse().ok()?,
    })
}

/// All processes of now.
pub fn processes() -> Processes {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let read = |id: u32| Some((id, parse_stat(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)?));
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(read)).collect()
}

/// Of `all`, the process `root` and its descendants.
pub fn tree(all: &Processes, root: u32) -> Processes {
    let mut found = Processes::new();
    let mut open = vec![root];
    while let Some(id) = open.pop() {
        let Some(stat) = all.get(&id).filter(|_| !found.contains_key(&id)) else { continue };
        found.insert(id, stat.clone());
        open.extend(all.iter().filter(|(_, stat)| stat.parent == id).map(|(id, _)| *id));
    }
    found
}

/// Seconds on the CPU of `root` and all its descendants, those that have ended included.
pub fn cpu_seconds(all: &Processes, root: u32) -> f64 {
    seconds(tree(all, root).values().map(|stat| stat.ticks.saturating_add(stat.children)).sum())
}

/// Memory in KiB of `root` and its descendants: PSS, so that pages which forked workers share count once.
pub fn memory_kib(root: u32) -> f64 {
    let of = |id: &u32| {
        let read = |file: &str, key: &str| field(&fs::read_to_string(format!("/proc/{id}/{file}")).ok()?, key);
        read("smaps_rollup", "Pss:").or_else(|| read("status", "VmRSS:")).unwrap_or_default()
    };
    count(tree(&processes(), root).keys().map(of).sum())
}

/// The number behind `key` at the begin of a line.
pub fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.split_ascii_whitespace().next()?.parse().ok()
}

/// Seconds that all cores together were busy since boot: everything but idle, waiting for disks, and stolen.
pub fn busy_seconds() -> f64 {
    seconds(busy_ticks(&fs::read_to_string("/proc/stat").unwrap_or_default()))
}

fn busy_ticks(stat: &str) -> u64 {
    let first = stat.lines().next().unwrap_or_default();
    // user, nice, system, (idle, iowait,) irq, softirq.
    let ticks = first.split_ascii_whitespace().skip(1).take(7).enumerate();
    ticks.filter(|(place, _)| !matches!(place, 3 | 4)).filter_map(|(_, ticks)| ticks.parse::<u64>().ok()).sum()
}

/// Ticks as seconds.
pub fn seconds(ticks: u64) -> f64 {
    count(ticks) / count(clock_ticks_per_second())
}

/// CPU of a process tree over a span.
pub struct Meter {
    root: u32,
    before: f64,
}

impl Meter {
    /// From now on.
    pub fn start(root: u32) -> Self {
        Self { root, before: cpu_seconds(&processes(), root) }
    }

    /// Seconds on the CPU since.
    pub fn seconds(&self) -> f64 {
        cpu_seconds(&processes(), self.root) - self.before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "42 (a b) c) S 7 42 42 0 -1 4194560 1 0 0 0 10 20 3 4 20 0 1 0 9876 1 2 3";

    #[test]
    fn a_stat_is_read_whatever_the_name_is() {
        let want = Stat { name: "a b) c".to_owned(), parent: 7, group: 42, ticks: 30, children: 7, started: 9876 };
        assert_eq!(parse_stat(LINE), Some(want));
        for broken in ["", "42 (x) S", "42 x S 7", &LINE.replace(" 20 3", " x 3")] {
            assert_eq!(parse_stat(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_tree_has_all_descendants_and_nobody_else() {
        let stat = |parent| Stat { name: String::new(), parent, group: 0, ticks: 0, children: 0, started: 0 };
        let all = Processes::from([(1, stat(0)), (2, stat(1)), (3, stat(2)), (4, stat(1)), (5, stat(3))]);
        for (root, want) in [(1, vec![1, 2, 3, 4, 5]), (2, vec![2, 3, 5]), (4, vec![4]), (9, vec![])] {
            assert_eq!(tree(&all, root).into_keys().collect::<Vec<_>>(), want, "of {root}");
        }
    }

    #[test]
    fn busy_is_neither_idle_nor_waiting_nor_stolen() {
        assert_eq!(busy_ticks("cpu  1 2 4 1000 2000 8 16 4000 0 0\ncpu0 5 5 5 5 5 5 5 5\n"), 31);
        assert_eq!(busy_ticks(""), 0);
    }

    #[test]
    fn our_own_process_is_there() {
        let own = std::process::id();
        let all = processes();
        assert!(all.get(&own).is_some_and(|stat| all.contains_key(&stat.parent)), "no parent of {own}");
        assert!(memory_kib(own) > 100.0);
        assert_eq!(field("Rss:   7 kB\nPss:  12 kB\n", "Pss:"), Some(12));
    }
}
