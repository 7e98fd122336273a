//! `sallyport check`: loads all that `run` would load and prints every fault.
//! Not here: anything that writes, locks or listens.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::civil::Date;
use serde::Serialize;

use super::policy::test::{self, Report};
use super::{Failure, Output};
use crate::policy::Policy;
use crate::runtime::egress::Pools;
use crate::runtime::load::Suite;
use crate::runtime::{blocks, budgets, clock, environment, journal, load, profile};

#[derive(Serialize)]
struct Checked {
    ok: bool,
    policy: String,
    rules: usize,
    sources: usize,
    /// Sources in report mode, with their last days.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    reporting: BTreeMap<String, String>,
    /// Sources whose environment is not compared, since they or the configuration state none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    environment_unstated: Vec<Arc<str>>,
    /// Rules whose review was due, with the day. No fault: a date that passes must not keep a proxy from starting.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    review_overdue: BTreeMap<Arc<str>, String>,
    cases: Report,
    /// What this host can't bind of each pool. No fault: a policy may be checked elsewhere than where it runs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    egress_missing: BTreeMap<Arc<str>, Vec<IpNet>>,
}

pub(super) fn check(config: &Path, output: Output) -> Result<(), Failure> {
    let (loaded, cases, files) = load::load_with_cases(config, &super::environment)?;
    profile::check(&loaded.config).map_err(|error| Failure::Usage(error.into()))?;
    environment::check(&loaded.config).map_err(|error| Failure::Usage(error.into()))?;
    let log = &loaded.config.decision_log;
    journal::check(Path::new(&log.directory), Path::new(&log.key), &loaded.config.instance)?;
    let policy = &loaded.policy;
    let state = (Path::new(&loaded.config.state), loaded.config.instance.as_str());
    budgets::check(state, policy, clock::now()).map_err(|error| Failure::Outside(error.into()))?;
    let redactor = loaded.config.redaction.redactor();
    blocks::read(state, &redactor, clock::now()).map_err(|error| Failure::Outside(error.into()))?;
    let (hash, rules, sources) = (policy.hash().to_string(), policy.grants().len(), policy.sources().len());
    let reporting = policy.reporting(clock::now());
    let reporting = reporting.map(|(source, report)| (source.name.to_string(), report.until.to_string())).collect();
    let environment_unstated = unstated(policy, loaded.config.environment.is_some());
    let review_overdue = overdue(policy);
    let egress_missing = Pools::of(&loaded.config).missing();
    let cases = test::of_config(&loaded.config, Suite { policy: loaded.policy, cases }, &files)?;
    let ok = cases.failed == 0;
    let checked = Checked {
        ok,
        policy: hash,
        rules,
        sources,
        reporting,
        environment_unstated,
        review_overdue,
        cases,
        egress_missing,
    };
    output.print(&checked, text)?;
    if checked.ok { Ok(()) } else { Err(Failure::No) }
}

/// The sources for which only one of the two sides states an environment.
fn unstated(policy: &Policy, is_stated: bool) -> Vec<Arc<str>> {
    let sources = policy.sources().iter().filter(|source| source.environment.is_some() != is_stated);
    sources.map(|source| Arc::clone(&source.name)).collect()
}

fn overdue(policy: &Policy) -> BTreeMap<Arc<str>, String> {
    let now = clock::now();
    let is_over = |day: &Date| clock::end_of_day(*day).is_some_and(|end| end < now);
    let due = policy.rules().filter_map(|rule| Some((rule, rule.control.review_by.filter(is_over)?)));
    due.map(|(rule, day)| (Arc::clone(&rule.id), day.to_string())).collect()
}

fn text(checked: &Checked) -> String {
    let Checked { ok, policy, rules, sources, reporting, environment_unstated, review_overdue, cases, egress_missing } =
        checked;
    let state = if *ok { "ok" } else { "not ok" };
    let summary = format!("{state}: {rules} rules, {sources} sources, policy {policy}, {}", cases.summary());
    let reporting = reporting.iter().map(|(source, until)| {
        format!("report mode: source `{source}` is let through where no rule does, until {until}")
    });
    let missing = egress_missing.iter().map(|(pool, prefixes)| {
        let prefixes: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
        format!(
            "note: pool `{pool}`: this host can't bind {}; where the proxy runs, give them to it",
            prefixes.join(" ")
        )
    });
    let unstated = environment_unstated.iter().map(|source| {
        format!(
            "note: source `{source}`: its environment is not compared; state `environment` for it and in the configuration (PCI DSS 6.5.3)"
        )
    });
    let overdue = review_overdue
        .iter()
        .map(|(rule, day)| format!("note: rule `{rule}`: its review was due on {day} (PCI DSS 1.2.7)"));
    let notes = unstated.chain(overdue);
    cases.failures().chain(reporting).chain(notes).chain(missing).chain([summary]).collect::<Vec<_>>().join("\n")
}
