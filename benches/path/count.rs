//! Counts what each step takes: this program under callgrind with N requests and with twice as many, so that setting up falls out.
//! Not here: which count is too many (`tests/all/instructions.rs`). Source: the callgrind profile format of the Valgrind manual.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::step::Step;

/// Requests of the shorter run: what grows now and then, such as a buffer, counts little for each.
const TIMES: u64 = 200;

/// What the table says of itself.
const HEADER: &str = "\
# Instructions in user space that one allowed request takes, counted by callgrind. `make instructions` writes this file anew;
# a test fails when `total` or `session` is off by more than 10 %. The last one is the product's session as a whole, the others
# are its steps from head to records without metrics, timers and relay; `total` is their sum. The log's store is in memory.
";

/// The table as it stands in `benches/instructions.txt`.
pub fn table() -> String {
    let folder = TempDir::new().expect("a folder");
    let (once, twice) = (profile(folder.path(), TIMES), profile(folder.path(), 2 * TIMES));
    let each: BTreeMap<&str, u64> =
        Step::ALL.into_iter().map(|step| (step.name(), each(&once, &twice, step))).collect();
    let row = |name: &str, count: u64| format!("{name:<9}{count:>8}\n");
    let mut table = format!("{HEADER}compiler {}\n", compiler());
    let mut total = 0;
    for step in Step::ALL.into_iter().filter(|step| *step != Step::Session) {
        let count = each.get(step.name()).copied().unwrap_or_default();
        total += count;
        table.push_str(&row(step.name(), count));
    }
    table.push_str(&row("total", total));
    table.push_str(&row("session", each.get("session").copied().unwrap_or_default()));
    table
}

/// Instructions of one request in `step`.
fn each(once: &Profile, twice: &Profile, step: Step) -> u64 {
    let (calls, cost) = once.of(step);
    let (more_calls, more_cost) = twice.of(step);
    assert!(calls >= TIMES && more_calls >= calls + TIMES, "{step:?} was run {calls} and {more_calls} times");
    (more_cost - cost) / TIMES
}

/// Calls and instructions of functions, with what they call, by the function's name.
struct Profile(BTreeMap<String, (u64, u64)>);

impl Profile {
    /// Reads a profile: `cfn=` names who is called, `calls=` how often, and the line behind it the cost, its position first.
    fn read(text: &str) -> Self {
        let mut functions: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        let (mut called, mut calls) = ("", None);
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("cfn=") {
                called = name;
            } else if let Some(count) = line.strip_prefix("calls=") {
                calls = Some(number(count, 0));
            } else if let Some(calls) = calls.take() {
                let (all_calls, all_cost) = functions.entry(called.to_owned()).or_default();
                *all_calls += calls;
                *all_cost += number(line, 1);
            }
        }
        Self(functions)
    }

    /// Calls and instructions of one step. A build without symbols has none.
    fn of(&self, step: Step) -> (u64, u64) {
        let symbol = step.symbol();
        let found = self.0.iter().filter(|(name, _)| name.contains(&symbol)).map(|(_, counts)| *counts);
        found.fold((0, 0), |sum, more| (sum.0 + more.0, sum.1 + more.1))
    }
}

/// The word of a line of a profile that has this index, which is a number.
fn number(line: &str, index: usize) -> u64 {
    let word = line.split(' ').nth(index).and_then(|word| word.parse().ok());
    word.expect("a profile in callgrind's format")
}

/// Runs this program with so many requests under callgrind.
fn profile(folder: &Path, times: u64) -> Profile {
    let file = folder.join(format!("profile.{times}"));
    let program = std::env::current_exe().expect("a path of this program");
    let ran = Command::new("valgrind")
        .args(["--tool=callgrind", "--compress-strings=no", "--compress-pos=no"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .arg(times.to_string())
        .output()
        .expect("valgrind, which tests/setup.sh installs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    Profile::read(&fs::read_to_string(file).expect("a profile"))
}

/// The compiler's name and version: counts of two compilers differ.
fn compiler() -> String {
    let said = Command::new("rustc").arg("--version").output().expect("rustc");
    String::from_utf8_lossy(&said.stdout).trim().to_owned()
}
