//! `sallyport policy diff`: a line for each thing that differs.
//! Not here: what differs (`policy::Diff`).

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{Failure, Output};
use crate::policy::{Change, Diff, Edit, Mark, ReachEdit};
use crate::runtime::load;

#[derive(Args)]
pub(in crate::cli) struct DiffArgs {
    /// The policy as it was: a file, or a folder
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The policy as it shall be
    #[arg(value_name = "NEW")]
    new: PathBuf,
}

/// The diff with its name: what `sallyport reload --confirm` takes.
#[derive(Serialize)]
struct Named<'a> {
    sha256: String,
    #[serde(flatten)]
    diff: &'a Diff,
}

pub(super) fn diff(args: &DiffArgs, output: Output) -> Result<(), Failure> {
    let [old, new] = load::policies([&args.old, &args.new])?;
    let diff = Diff::between(&old.into(), &new.into());
    output.print(&Named { sha256: diff.sha256(), diff: &diff }, |named| text(named.diff))?;
    if diff.is_empty() { Ok(()) } else { Err(Failure::No) }
}

fn text(diff: &Diff) -> String {
    let Diff { reach, sources, clients, never, rules } = diff;
    let sections = [("source", sources), ("clients", clients), ("never", never), ("rule", rules)];
    let others = sections.into_iter().flat_map(|(what, edits)| edits.iter().map(move |edit| other(what, edit)));
    let lines: Vec<String> = reach.iter().map(reached).chain(others).collect();
    if lines.is_empty() { "no difference".to_owned() } else { lines.join("\n") }
}

fn sign(mark: Mark) -> char {
    match mark {
        Mark::Added => '+',
        Mark::Removed => '-',
        Mark::Changed => '~',
    }
}

fn reached(edit: &ReachEdit) -> String {
    let ReachEdit { mark, source, destination, port, rule, customer, refused, changes } = edit;
    let to = if destination.contains(':') { format!("[{destination}]") } else { destination.clone() };
    let why = match (mark, refused) {
        (Mark::Added, Some(reason)) => format!(": was {reason}"),
        (Mark::Removed, Some(reason)) => format!(": now {reason}"),
        (Mark::Added | Mark::Removed | Mark::Changed, _) => listed(changes),
    };
    format!("{} {source} → {to}:{port}  {rule} ({customer}){why}", sign(*mark))
}

fn other(what: &str, edit: &Edit) -> String {
    format!("{} {what} {}{}", sign(edit.mark), edit.name, listed(&edit.changes))
}

/// `: FIELD OLD → NEW, …`; nothing if there are none.
fn listed(changes: &[Change]) -> String {
    let value = |value: &Option<String>| value.as_ref().map_or("none".to_owned(), |value| format!("`{value}`"));
    let fields: Vec<String> =
        changes.iter().map(|Change { field, old, new }| format!("{field} {} → {}", value(old), value(new))).collect();
    if fields.is_empty() { String::new() } else { format!(": {}", fields.join(", ")) }
}
