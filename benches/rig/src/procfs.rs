//! CPU and memory of processes and all their descendants, in the scheduler's nanoseconds. Source: proc(5).
//! Not here: what counts as somebody else's load (`busy`). The machine's busy time is sampled at clock ticks: it is not used.

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
    /// Whether it is a thread of the kernel.
    pub kernel: bool,
    /// Nanoseconds on the CPU.
    pub cpu: u64,
    /// The same of its ended and awaited descendants.
    pub children: u64,
    /// When it started, in ticks since boot: with its id, which process it is.
    pub started: u64,
}

/// Every process by its id.
pub type Processes = BTreeMap<u32, Stat>;

/// Names of threads that serve connections begin so, in sallyport and in the floors.
pub const WORKER: &str = "worker-";

/// PF_KTHREAD of the kernel's include/linux/sched.h.
const KERNEL_THREAD: u64 = 0x0020_0000;

const NANOSECONDS: u64 = 1_000_000_000;

impl Stat {
    /// Nanoseconds on the CPU, with those of its ended descendants.
    pub fn total(&self) -> u64 {
        self.cpu.saturating_add(self.children)
    }

    /// Whether `id` still means this process.
    pub fn is_in(&self, all: &Processes, id: u32) -> bool {
        all.get(&id).is_some_and(|now| now.started == self.started)
    }
}

/// One line of `/proc/PID/stat`.
pub fn parse_stat(line: &str) -> Option<Stat> {
    let (before, rest) = line.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // Fields 14 to 17: user and system time, the same of awaited children. The first of `rest` is field 3.
    let field = |place: usize| fields.get(place)?.parse::<u64>().ok();
    let time = |ticks: u64| ticks.saturating_mul(NANOSECONDS).checked_div(clock_ticks_per_second());
    Some(Stat {
        name: before.split_once('(')?.1.to_owned(),
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        kernel: field(6)? & KERNEL_THREAD != 0,
        cpu: time(field(11)?.saturating_add(field(12)?))?,
        children: time(field(13)?.saturating_add(field(14)?))?,
        started: field(19)?,
    })
}

/// All processes of now, with times in whole clock ticks.
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

/// With times as the scheduler counts them. Clock ticks are its count rounded down: they are more only where threads have ended.
pub fn exact(mut all: Processes) -> Processes {
    for (id, stat) in &mut all {
        stat.cpu = stat.cpu.max(threads(*id).iter().map(|thread| thread.cpu).sum());
    }
    all
}

/// A thread that runs.
struct Thread {
    id: u32,
    /// Nanoseconds on the CPU.
    cpu: u64,
}

/// All threads of a process. None, where the kernel does not count for itself (CONFIG_SCHED_INFO).
fn threads(process: u32) -> Vec<Thread> {
    let entries = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let read = |id: u32| Some(Thread { id, cpu: field(&read_task(process, id, "schedstat")?, "")? });
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(read)).collect()
}

fn read_task(process: u32, thread: u32, file: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{process}/task/{thread}/{file}")).ok()
}

/// Nanoseconds on the CPU of each thread of `root` and its descendants that serves connections.
fn workers(root: u32) -> BTreeMap<u32, u64> {
    let tree = tree(&processes(), root);
    let threads = tree.keys().flat_map(|process| threads(*process).into_iter().map(|thread| (*process, thread)));
    let is_worker = |(process, thread): &(u32, Thread)| {
        read_task(*process, thread.id, "comm").is_some_and(|name| name.starts_with(WORKER))
    };
    threads.filter(is_worker).map(|(_, thread)| (thread.id, thread.cpu)).collect()
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

/// Seconds that the hypervisor took from all cores together.
pub fn stolen_seconds() -> f64 {
    let ticks = stolen_ticks(&fs::read_to_string("/proc/stat").unwrap_or_default()).unwrap_or_default();
    count(ticks) / count(clock_ticks_per_second())
}

/// user, nice, system, idle, iowait, irq, softirq, steal.
fn stolen_ticks(stat: &str) -> Option<u64> {
    stat.lines().next()?.split_ascii_whitespace().nth(8)?.parse().ok()
}

/// Nanoseconds as seconds.
pub fn seconds(nanoseconds: u64) -> f64 {
    count(nanoseconds) / count(NANOSECONDS)
}

/// CPU of a process tree over a span.
pub struct Meter {
    root: u32,
    before: u64,
    workers: BTreeMap<u32, u64>,
}

impl Meter {
    /// From now on.
    pub fn start(root: u32) -> Self {
        Self { root, before: nanoseconds(root), workers: workers(root) }
    }

    /// Seconds on the CPU since, of the process and all its descendants, those that have ended included.
    pub fn seconds(&self) -> f64 {
        seconds(nanoseconds(self.root).saturating_sub(self.before))
    }

    /// How evenly the workers' threads were busy since: their mean, as a share of the busiest. `None`: there is one at most, or no work.
    pub fn balance(&self) -> Option<f64> {
        let spent = |(id, cpu): (u32, u64)| cpu.saturating_sub(self.workers.get(&id).copied().unwrap_or_default());
        evenness(&workers(self.root).into_iter().map(spent).collect::<Vec<_>>())
    }
}

fn nanoseconds(root: u32) -> u64 {
    exact(tree(&processes(), root)).values().map(Stat::total).sum()
}

fn evenness(spent: &[u64]) -> Option<f64> {
    let most = spent.iter().copied().max().filter(|most| *most > 0 && spent.len() > 1)?;
    let number = u64::try_from(spent.len()).ok()?;
    Some(count(spent.iter().sum()) / count(number) / count(most))
}

/// A process that has done nothing.
#[cfg(test)]
pub fn made_up(parent: u32) -> Stat {
    Stat { name: String::new(), parent, group: 0, kernel: false, cpu: 0, children: 0, started: 0 }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    const LINE: &str = "42 (a b) c) S 7 42 42 0 -1 4194560 1 0 0 0 10 20 3 4 20 0 1 0 9876 1 2 3";

    #[test]
    fn a_stat_is_read_whatever_the_name_is() {
        let second = u32::try_from(clock_ticks_per_second()).unwrap();
        let [cpu, children] = [30, 7].map(|ticks| 1_000_000_000 / u64::from(second) * ticks);
        let name = "a b) c".to_owned();
        let want = Stat { name, parent: 7, group: 42, kernel: false, cpu, children, started: 9876 };
        assert_eq!(parse_stat(LINE), Some(want));
        let kernel = "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 1 0 0 0 20 0 1 0 2 0";
        assert!(parse_stat(kernel).is_some_and(|stat| stat.kernel));
        for broken in ["", "42 (x) S", "42 x S 7", &LINE.replace(" 20 3", " x 3")] {
            assert_eq!(parse_stat(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_tree_has_all_descendants_and_nobody_else() {
        let all = Processes::from([(1, 0), (2, 1), (3, 2), (4, 1), (5, 3)].map(|(id, parent)| (id, made_up(parent))));
        for (root, want) in [(1, vec![1, 2, 3, 4, 5]), (2, vec![2, 3, 5]), (4, vec![4]), (9, vec![])] {
            assert_eq!(tree(&all, root).into_keys().collect::<Vec<_>>(), want, "of {root}");
        }
    }

    #[test]
    fn stolen_is_the_eighth_time() {
        assert_eq!(stolen_ticks("cpu  1 2 4 1000 2000 8 16 4000 0 0\ncpu0 5 5 5 5 5 5 5 5\n"), Some(4000));
        assert_eq!(stolen_ticks(""), None);
    }

    #[test]
    fn our_own_process_is_there() {
        let own = std::process::id();
        let all = processes();
        assert!(all.get(&own).is_some_and(|stat| all.contains_key(&stat.parent)), "no parent of {own}");
        assert!(memory_kib(own) > 100.0);
        assert_eq!(field("Rss:   7 kB\nPss:  12 kB\n", "Pss:"), Some(12));
    }

    /// Of a process of one thread: where threads have ended, ticks are all there is.
    #[test]
    fn the_schedulers_count_is_finer_than_a_tick() {
        let pipe = std::process::Stdio::piped;
        let mut child = std::process::Command::new("cat").stdin(pipe()).stdout(pipe()).spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let spent = nanoseconds(child.id());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_ne!(spent % (NANOSECONDS / clock_ticks_per_second()), 0, "{spent} ns");
    }

    #[test]
    fn workers_are_as_even_as_their_mean_is_to_the_busiest() {
        for (spent, want) in
            [(vec![], None), (vec![7], None), (vec![0, 0], None), (vec![3, 3], Some(1.0)), (vec![4, 0], Some(0.5))]
        {
            assert_eq!(evenness(&spent), want, "{spent:?}");
        }
    }

    /// Burns CPU, by the kernel's count, until this thread has spent so much more.
    fn spend(nanoseconds: u64) {
        let spent = || field(&fs::read_to_string("/proc/thread-self/schedstat").unwrap(), "").unwrap();
        let end = spent() + nanoseconds;
        while spent() < end {}
    }

    /// The balance is that of workers alone, and what an ended thread did is not lost.
    #[test]
    fn a_meter_counts_threads_that_live_and_that_have_ended() {
        const LIVING: u64 = 60_000_000;
        const ENDED: u64 = 200_000_000;
        let meter = Meter::start(std::process::id());
        let begin = |name: &str, nanoseconds| {
            let (done, is_done) = std::sync::mpsc::channel();
            let (free, is_free) = std::sync::mpsc::channel::<()>();
            let work = move || {
                spend(nanoseconds);
                done.send(()).unwrap();
                is_free.recv().ok();
            };
            let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work).unwrap();
            is_done.recv().unwrap();
            (free, thread)
        };
        let living = [begin("worker-0", LIVING), begin("worker-1", 2 * LIVING)];
        let other = begin("other", 6 * LIVING);
        let balance = meter.balance().unwrap();
        assert!((0.6..0.9).contains(&balance), "(1 + 2) ÷ 2 ÷ 2, to a tick: {balance}");
        let (free, thread) = begin("worker-2", ENDED);
        drop(free);
        thread.join().unwrap();
        // What ended is counted in ticks: user and system time, each rounded down.
        assert!(meter.seconds() > seconds(ENDED + 9 * LIVING) - 0.02, "{}", meter.seconds());
        drop((living, other));
    }
}
