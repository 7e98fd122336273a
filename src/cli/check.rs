//! `sallyport check`: loads all that `run` would load and prints every fault.
//! Not here: anything that writes, locks or binds.

use std::path::Path;

use serde::Serialize;

use super::policy::test::{self, Report};
use super::{Failure, Output, environment};
use crate::runtime::load::Suite;
use crate::runtime::{journal, load};

#[derive(Serialize)]
struct Checked {
    ok: bool,
    policy: String,
    rules: usize,
    sources: usize,
    cases: Report,
}

pub(super) fn check(config: &Path, output: Output) -> Result<(), Failure> {
    let (loaded, cases, files) = load::load_with_cases(config, &environment)?;
    let log = &loaded.config.decision_log;
    journal::check(Path::new(&log.directory), Path::new(&log.key), &loaded.config.instance)?;
    let policy = &loaded.policy;
    let (hash, rules, sources) = (policy.hash().to_string(), policy.grants().len(), policy.sources().len());
    let cases = test::of_config(&loaded.config, Suite { policy: loaded.policy, cases }, &files)?;
    let checked = Checked { ok: cases.failed == 0, policy: hash, rules, sources, cases };
    output.print(&checked, text)?;
    if checked.ok { Ok(()) } else { Err(Failure::No) }
}

fn text(checked: &Checked) -> String {
    let Checked { ok, policy, rules, sources, cases } = checked;
    let state = if *ok { "ok" } else { "not ok" };
    let summary = format!("{state}: {rules} rules, {sources} sources, policy {policy}, {}", cases.summary());
    cases.failures().chain([summary]).collect::<Vec<_>>().join("\n")
}
