//! `sallyport policy stale`: rules that nobody used, and what goes beyond its use.
//! Not here: what is found (`foresight`), reading the log (`swept`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::swept::{Swept, WindowArgs};
use super::{Failure, Output, environment};
use crate::decision_log::Criteria;
use crate::foresight::{Counts, Finding, Sort, Staleness, Times, Usage};
use crate::policy::Policy;
use crate::runtime::archive::Gather;
use crate::runtime::load;

#[derive(Args)]
pub(in crate::cli) struct StaleArgs {
    /// A policy's file or folder; by default the configuration's policy
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    #[command(flatten)]
    window: WindowArgs,
}

/// Unused rules whose last use before the window is looked for: each is compared with every sort of record of every segment.
const MAX_LOOKED_BACK: usize = 1_000;

pub(super) fn stale(config: &Path, args: &StaleArgs, output: Output) -> Result<(), Failure> {
    let policy = match &args.path {
        Some(path) => {
            let [policy] = load::policies([path])?;
            policy
        }
        None => load::load(config, &environment)?.policy,
    };
    let swept = Swept::open(config, &args.window)?;
    let staleness = found(&swept, &Arc::new(policy))?;
    output.print(&staleness, text)?;
    if staleness.findings.is_empty() { Ok(()) } else { Err(Failure::No) }
}

fn found(swept: &Swept, policy: &Arc<Policy>) -> Result<Staleness, Failure> {
    let usage = Usage::new(policy);
    let gathered = |criteria| {
        let gather = Gather { begin: &|| usage.another(), take: &|usage: &mut Usage, found| usage.add(found) };
        let mut all = usage.another();
        swept.all(criteria, &gather)?.into_iter().for_each(|part| all.merge(part));
        Ok::<_, Failure>(all)
    };
    let kinds = |kinds: &[&str]| kinds.iter().map(|kind| (*kind).to_owned()).collect();
    let since = gathered(Criteria { since: swept.since, kind: kinds(&["decision"]), ..Criteria::default() })?;
    let mut before = gathered(Criteria { kind: kinds(&["start", "policy"]), ..Criteria::default() })?;
    let unused = since.unused(MAX_LOOKED_BACK);
    if let Some(until) = swept.since.filter(|_| !unused.is_empty()) {
        let earlier = Criteria { until: Some(until), kind: kinds(&["decision"]), rule: unused, ..Criteria::default() };
        before.merge(gathered(earlier)?);
    }
    let times = Times { now: swept.now, since: swept.since, log_begins: swept.begin()? };
    Ok(Staleness::new(&since, &before, times))
}

fn text(staleness: &Staleness) -> String {
    let Staleness { policy, window, since, log_begins, in_force_since, findings, young, rules } = staleness;
    let in_force =
        in_force_since.map_or("not in force in this log".to_owned(), |time| format!("in force since {time} at least"));
    let mut lines = vec![
        format!("log      {}; it begins {log_begins}, use counts from {since}", window.text()),
        format!("policy   {policy}, {} rules, {in_force}", rules.len()),
    ];
    lines.extend(findings.iter().map(line));
    if !young.is_empty() {
        let names: Vec<&str> = young.iter().map(|id| &**id).collect();
        lines.push(format!("not used, and perhaps younger than that: {}", names.join(", ")));
    }
    if findings.is_empty() {
        lines.push("nothing stale".to_owned());
    }
    lines.push("no hash was checked; `sallyport audit verify` proves the log".to_owned());
    lines.join("\n")
}

fn line(finding: &Finding) -> String {
    let Finding { finding: sort, rule, source, what, used, before } = finding;
    let what = what.as_deref().unwrap_or_default();
    let used = used.join(", ");
    let said = match sort {
        Sort::Expired => format!("its last day was {what}; remove it, or renew it"),
        Sort::ReviewOverdue => format!("its review was due by {what}"),
        Sort::Unused => before.as_ref().map_or("never used, as far as the log goes back".to_owned(), earlier),
        Sort::WildcardUnused | Sort::HostUnused | Sort::NetworkUnused => format!("nothing went to `{what}`"),
        Sort::WildcardFew => format!("`{what}` was used for these alone: {used}; write them instead"),
        Sort::NetworkWide => format!("`{what}` is wider than its use: {used}"),
        Sort::AddressesUnused => format!("no answer had an address of `{what}`"),
        Sort::AddressesWide => format!("`{what}` is wider than the addresses in answers: {used}"),
        Sort::PortUnused => format!("port {what} was not used"),
        Sort::SourceUnused => format!("source `{what}` did not use it"),
        Sort::AlpnUnused => format!("no client offered `{what}`"),
        Sort::IdentityUnused => format!("no client showed `{what}`"),
        Sort::WideUnneeded => "`wide: true` is not needed".to_owned(),
        Sort::PublicSuffixUnneeded => "`public_suffix: true` is not needed".to_owned(),
    };
    let of = match (rule, source) {
        (Some(rule), _) => format!("rule `{rule}`"),
        (None, Some(source)) => format!("source `{source}`"),
        (None, None) => String::new(),
    };
    format!("{:<22} {of}: {said}", sort.as_str())
}

fn earlier(counts: &Counts) -> String {
    let Counts { allowed, observed, refused, failed, last } = counts;
    let last = last.map(|time| time.to_string()).unwrap_or_default();
    format!("last used {last}; before: {allowed} allowed, {observed} observed, {refused} refused, {failed} failed")
}
