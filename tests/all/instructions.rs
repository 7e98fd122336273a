//! The instruction count of the path from head to records stands in the repository, and moves only with the change that says so.
//! Not here: the counting (`benches/path`), time (`make bench`).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Where the figures stand.
const FILE: &str = "benches/instructions.txt";

/// The rows that are held; the others tell where a difference comes from.
const HELD: [&str; 2] = ["total", "session"];

/// By how many parts in a hundred a count may be off. Five counts of one build lay within one part of each other.
const PLAY: u64 = 10;

/// A table of figures.
#[derive(Debug, Default, PartialEq, Eq)]
struct Table {
    compiler: String,
    counts: BTreeMap<String, u64>,
}

impl Table {
    fn read(text: &str) -> Self {
        let mut table = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            match line.split_once(' ') {
                Some(("compiler", version)) => table.compiler = version.to_owned(),
                Some((name, count)) => {
                    let count = count.trim().parse().unwrap_or_else(|_| panic!("`{line}` has no count"));
                    table.counts.insert(name.to_owned(), count);
                }
                None => panic!("`{line}` is no row"),
            }
        }
        table
    }

    /// What is wrong with these figures, now that `counted` has been counted.
    fn faults(&self, counted: &Self) -> Vec<String> {
        let mut faults: Vec<String> = HELD.iter().filter_map(|row| self.fault(row, counted)).collect();
        if !faults.is_empty() && self.compiler != counted.compiler {
            faults.push(format!("the figures are of `{}`, and this is `{}`", self.compiler, counted.compiler));
        }
        faults
    }

    fn fault(&self, row: &str, counted: &Self) -> Option<String> {
        let (Some(figure), Some(count)) = (self.counts.get(row), counted.counts.get(row)) else {
            return Some(format!("there is no `{row}`; run `make instructions`"));
        };
        (figure.abs_diff(*count) * 100 > figure * PLAY).then(|| {
            format!(
                "`{row}` is {figure} in {FILE}, counted {count}; if that is meant, run `make instructions`, which writes {FILE}, and say why \
                 in the same commit"
            )
        })
    }
}

#[test]
fn the_path_from_head_to_records_takes_the_instructions_that_it_took() {
    let counted = count();
    let figures = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE)).unwrap();
    let faults = Table::read(&figures).faults(&Table::read(&counted));
    assert!(faults.is_empty(), "{}\n\n{FILE}:\n{figures}\ncounted:\n{counted}", faults.join("\n"));
}

/// Builds the path as it is released, beside this build, and has it counted.
fn count() -> String {
    let target = Path::new(env!("CARGO_BIN_EXE_sallyport")).ancestors().nth(2).unwrap();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--bench", "path", "--message-format", "json", "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let messages = String::from_utf8(built.stdout).unwrap();
    let program = messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == "path").then(|| message["executable"].as_str().map(str::to_owned)).flatten()
    });
    let counted = Command::new(program.expect("a program")).arg("count").output().unwrap();
    assert!(counted.status.success(), "{}", String::from_utf8_lossy(&counted.stderr));
    String::from_utf8(counted.stdout).unwrap()
}

#[test]
fn a_tenth_more_or_less_is_noticed() {
    let table = |compiler: &str, total: u64, session: u64| Table {
        compiler: compiler.to_owned(),
        counts: BTreeMap::from([("head".to_owned(), 7), ("total".to_owned(), total), ("session".to_owned(), session)]),
    };
    let figures = table("rustc 1", 1000, 2000);
    assert_eq!(Table::read("# a remark\ncompiler rustc 1\nhead      7\ntotal  1000\nsession 2000\n"), figures);
    let rows: [(&str, Table, &[&str]); 8] = [
        ("the same", table("rustc 1", 1000, 2000), &[]),
        ("a tenth more", table("rustc 1", 1100, 2200), &[]),
        ("a tenth less", table("rustc 1", 900, 1800), &[]),
        ("more", table("rustc 1", 1101, 2000), &["`total` is 1000"]),
        ("less", table("rustc 1", 1000, 1799), &["`session` is 2000"]),
        ("another compiler, as many", table("rustc 2", 1050, 2050), &[]),
        ("another compiler, more", table("rustc 2", 1000, 2201), &["counted 2201", "`rustc 1`, and this is `rustc 2`"]),
        ("nothing counted", Table::default(), &["no `total`", "no `session`", "of `rustc 1`"]),
    ];
    for (name, counted, want) in rows {
        let faults = figures.faults(&counted);
        assert_eq!(faults.len(), want.len(), "{name}: {faults:?}");
        for (fault, want) in faults.iter().zip(want) {
            assert!(fault.contains(want), "{name}: `{fault}` lacks `{want}`");
        }
    }
}
