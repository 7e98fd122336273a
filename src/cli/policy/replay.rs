//! `sallyport policy replay`: which recorded decisions another policy would change.
//! Not here: the judgement (`foresight`), reading the log (`swept`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::swept::{Swept, WindowArgs};
use super::{Failure, Output};
use crate::foresight::{Change, Replay, ReplayReport, Side};
use crate::runtime::archive::Gather;
use crate::runtime::load;

#[derive(Args)]
pub(in crate::cli) struct ReplayArgs {
    /// The policy that judges: a file, or a folder
    #[arg(value_name = "NEW")]
    new: PathBuf,
    #[command(flatten)]
    window: WindowArgs,
}

/// Changes that are printed for people; the others are counted. `-o json` has all.
const MAX_PRINTED: usize = 200;

pub(super) fn replay(config: &Path, args: &ReplayArgs, output: Output) -> Result<(), Failure> {
    let [policy] = load::policies([&args.new])?;
    let policy = Arc::new(policy);
    let swept = Swept::open(config, &args.window)?;
    let gather = Gather { begin: &|| Replay::new(&policy), take: &|replay: &mut Replay, found| replay.add(found) };
    let mut all = Replay::new(&policy);
    swept.gather(Replay::kinds(&policy), &gather)?.into_iter().for_each(|part| all.merge(part));
    let report = all.finish();
    output.print(&report, text)?;
    if report.differs() { Err(Failure::No) } else { Ok(()) }
}

fn text(report: &ReplayReport) -> String {
    let ReplayReport { decisions, same_policy, unchanged, refused, let_through, otherwise, tunnels, .. } = report;
    let mut lines = vec![
        format!("log          {}", report.window.text()),
        format!("decisions    {decisions}: {same_policy} by this very policy, {unchanged} unchanged"),
        format!("differ       {refused} refused, {let_through} let through, {otherwise} by another reason or rule"),
    ];
    if *tunnels > 0 {
        lines.push(format!("tunnels      {tunnels} whose server chose a TLS version that is too low now"));
    }
    let counted = |(what, count): (&&str, &u64)| format!("{count} {what}");
    let list = |counts: &std::collections::BTreeMap<_, _>| counts.iter().map(counted).collect::<Vec<_>>().join(", ");
    if !report.unjudged.is_empty() {
        lines.push(format!("unjudged     the record lacks: {}", list(&report.unjudged)));
    }
    if !report.not_replayed.is_empty() {
        lines.push(format!("not replayed {}", list(&report.not_replayed)));
    }
    lines.extend(report.changes.iter().take(MAX_PRINTED).map(line));
    let more: u64 =
        report.changes.iter().skip(MAX_PRINTED).fold(report.others, |sum, change| sum.saturating_add(change.count));
    if more > 0 {
        lines.push(format!("and {more} more records; `-o json` has {} groups", report.changes.len()));
    }
    lines.push("no hash was checked; `sallyport audit verify` proves the log".to_owned());
    lines.join("\n")
}

fn line(change: &Change) -> String {
    let Change { change: kind, source, target, before, after, count, first, last, id } = change;
    let source = source.as_deref().unwrap_or("-");
    let kind = kind.as_str().replace('_', " ");
    let when = if first == last { first.clone() } else { format!("{first} to {last}") };
    format!("{kind}: {count} × {source} → {target}: {} → {}; {when}; first {id}", side(before), side(after))
}

fn side(side: &Side) -> String {
    let Side { outcome, reason, rule, unjudged } = side;
    let outcome = if outcome == reason || *outcome == "allow" { "" } else { *outcome };
    let rule = rule.as_ref().map(|rule| format!("by `{rule}`"));
    let unjudged = unjudged.map(|what| format!("({what} unjudged)"));
    let parts = [Some(outcome.to_owned()).filter(|word| !word.is_empty()), Some((*reason).to_owned()), rule, unjudged];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}
