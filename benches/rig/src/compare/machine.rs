//! What stands at the head of results: machine, programs, command. Not here: how busy the machine is (`busy`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::thread;

use jiff::Timestamp;

use super::programs::{self, Programs};
use super::stage::Cores;
use super::{CompareArgs, Plan};
use crate::results::Run;

/// The head of this comparison's results.
pub fn describe(args: &CompareArgs, plan: &Plan, programs: &Programs, folder: &Path) -> Run {
    let named: BTreeSet<&str> = plan.subjects.iter().filter_map(|subject| programs::of(subject.kind)).collect();
    let versions: BTreeMap<String, String> =
        named.into_iter().map(|name| (name.to_owned(), programs.version(name))).collect();
    let Cores { subject, rig } = args.cores();
    Run {
        time: Timestamp::now().strftime("%F %H:%M UTC").to_string(),
        command: args.command.clone().unwrap_or_else(|| command(std::env::args())),
        cpu: cpu_model(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
        cores: thread::available_parallelism().map_or(1, usize::from),
        siblings: siblings(Path::new("/sys/devices/system/cpu")),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        log_filesystem: filesystem(&fs::read_to_string("/proc/self/mounts").unwrap_or_default(), folder),
        versions,
        subject_cores: subject,
        rig_cores: rig,
        rounds: args.rounds,
        rate: args.rate,
        quick: args.quick,
        busy: None,
    }
}

/// The words of a command, to be typed again. The program's folder is the build's affair.
fn command(words: impl Iterator<Item = String>) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=@".contains(c);
    let quote = |word: String| if word.chars().all(plain) { word } else { format!("'{word}'") };
    let mut words = words.map(quote);
    let program = words.next().and_then(|program| Some(Path::new(&program).file_name()?.to_str()?.to_owned()));
    program.into_iter().chain(words).collect::<Vec<_>>().join(" ")
}

fn cpu_model(cpuinfo: &str) -> String {
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, model)| model.trim().to_owned())
}

/// The sets of cores that are threads of one core.
fn siblings(cpus: &Path) -> Vec<String> {
    let entries = fs::read_dir(cpus).into_iter().flatten().flatten();
    let lists = entries.filter_map(|entry| fs::read_to_string(entry.path().join("topology/thread_siblings_list")).ok());
    let shared = lists.map(|list| list.trim().to_owned()).filter(|list| list.contains([',', '-']));
    shared.collect::<BTreeSet<String>>().into_iter().collect()
}

/// The kind of file system that holds `folder`, of all that are mounted: the one whose place is its longest beginning.
fn filesystem(mounts: &str, folder: &Path) -> String {
    let mounted = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((Path::new(fields.next()?), fields.next()?))
    });
    let holding = mounted.filter(|(place, _)| folder.starts_with(place));
    holding
        .max_by_key(|(place, _)| place.components().count())
        .map_or_else(|| "?".to_owned(), |(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_can_be_typed_again() {
        let words = ["/opt/bin/rig", "compare", "--rounds=3", "--work", "a b"].map(str::to_owned);
        assert_eq!(command(words.into_iter()), "rig compare --rounds=3 --work 'a b'");
    }

    #[test]
    fn the_processor_is_named_or_its_architecture() {
        assert_eq!(cpu_model("processor\t: 0\nmodel name\t: A Processor 7\nflags\t: x\n"), "A Processor 7");
        assert_eq!(cpu_model("processor\t: 0\n"), std::env::consts::ARCH);
    }

    #[test]
    fn cores_that_share_one_are_told() {
        let cpus = tempfile::tempdir().unwrap();
        for (cpu, list) in [("cpu0", "0,2\n"), ("cpu1", "1\n"), ("cpu2", "0,2\n"), ("cpu3", "3\n")] {
            let folder = cpus.path().join(cpu).join("topology");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("thread_siblings_list"), list).unwrap();
        }
        assert_eq!(siblings(cpus.path()), ["0,2"]);
        assert_eq!(siblings(&cpus.path().join("none")), [""; 0]);
    }

    #[test]
    fn the_file_system_is_that_of_the_longest_place() {
        let mounts = "/dev/a / ext4 rw 0 0\nproc /proc proc rw 0 0\nb /var/tmp xfs rw 0 0\n/dev/a / overlay rw 0 0\n";
        for (folder, want) in [("/var/tmp/x", "xfs"), ("/var/tmpx", "overlay"), ("/srv", "overlay"), ("x", "?")] {
            assert_eq!(filesystem(mounts, Path::new(folder)), want, "{folder}");
        }
    }
}
