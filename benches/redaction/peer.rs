//! Presidio's recogniser over the same texts, in its own interpreter.
//! Not here: installing it (`benches/setup.sh`), asking it (`benches/presidio.py`).

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{Figures, RECORD, Texts};

const INTERPRETER: &str = "target/bench/presidio/bin/python";
const SCRIPT: &str = "benches/presidio.py";
const FOLDER: &str = "target/bench/redaction";

/// Its figures; none if it is not installed, which is said.
pub fn presidio(texts: &Texts) -> Option<Figures> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if !root.join(INTERPRETER).exists() {
        println!("Presidio is not installed (`benches/setup.sh` does it) and left out");
        return None;
    }
    let folder = root.join(FOLDER);
    fs::create_dir_all(&folder).expect("a folder below target");
    let files = [
        ("positives.jsonl", positives(texts)),
        ("clean.log", texts.clean.join("\n")),
        ("timed.jsonl", texts.timed.clone()),
        ("record.txt", RECORD.join("\n")),
    ];
    let mut python = Command::new(root.join(INTERPRETER));
    python.arg(root.join(SCRIPT)).stderr(Stdio::inherit());
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text).expect("room below target");
        python.arg(path);
    }
    let done = python.output().expect("an interpreter");
    assert!(done.status.success(), "{SCRIPT} failed: {:?}", done.status);
    let said: Value = serde_json::from_slice(&done.stdout).expect("one JSON object");
    let found = said["found"].as_object().expect("counts by form");
    Some(Figures {
        name: said["name"].as_str().expect("a name").to_owned(),
        found: found.iter().map(|(form, count)| (form.clone(), count.as_u64().expect("a count"))).collect(),
        false_hits: said["false_hits"].as_u64().expect("a count"),
        mb_per_s: said["mb_per_s"].as_f64().expect("a rate"),
        ns_per_record: said["ns_per_record"].as_f64().expect("a time"),
    })
}

/// One a line; places in characters, as it counts.
fn positives(texts: &Texts) -> String {
    let mut lines = String::new();
    for positive in &texts.positives {
        let characters =
            |end: usize| positive.text.as_bytes()[..end].utf8_chunks().map(|chunk| chunk.valid().chars().count());
        let [start, end] = [positive.start, positive.end].map(|end| characters(end).sum::<usize>());
        let line = json!({"text": positive.text, "start": start, "end": end, "form": positive.form});
        writeln!(lines, "{line}").expect("a string takes everything");
    }
    lines
}
