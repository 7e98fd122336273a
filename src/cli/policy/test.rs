//! `sallyport policy test`, and the cases of `check`.
//! Not here: what a case is (`policy::Case`), where cases are found (`runtime::load`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::{Failure, Output, environment, own_addresses};
use crate::config::Config;
use crate::policy::{Case, OwnAddresses, Policy, Surroundings};
use crate::runtime::clock;
use crate::runtime::load::{self, Suite, Suites};
use crate::yaml::Fault;

#[derive(Args)]
pub(in crate::cli) struct TestArgs {
    /// A policy's file or folder, or a file of cases, which is for the policy of its folder; no configuration is read then. By default
    /// the configuration's policy
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// What came of all cases.
#[derive(Default, Serialize)]
pub(in crate::cli) struct Report {
    pub(in crate::cli) passed: usize,
    pub(in crate::cli) failed: usize,
    pub(in crate::cli) cases: Vec<Outcome>,
}

/// What came of one.
#[derive(Serialize)]
pub(in crate::cli) struct Outcome {
    place: String,
    name: Arc<str>,
    passed: bool,
    outcome: &'static str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<Arc<str>>,
    /// What was expected instead, and what comes nearest.
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<String>,
}

pub(super) fn test(config: &Path, args: &TestArgs, output: Output) -> Result<(), Failure> {
    let mut report = Report::default();
    if args.paths.is_empty() {
        let (loaded, cases, files) = load::load_with_cases(config, &environment)?;
        report = of_config(&loaded.config, Suite { policy: loaded.policy, cases }, &files)?;
    } else {
        let (own, hosts) = (OwnAddresses::default(), BTreeMap::new());
        let surroundings = Surroundings { own: &own, hosts: &hosts, now: clock::now() };
        let Suites { list, files } = load::suites(&args.paths)?;
        for Suite { policy, cases } in list {
            report.add(&Arc::new(policy), &cases, (&surroundings, &files));
        }
    }
    output.print(&report, Report::text)?;
    if report.failed == 0 { Ok(()) } else { Err(Failure::No) }
}

/// Tries a configuration's cases on its policy as it would run here: with its own addresses and `dns.hosts`.
pub(in crate::cli) fn of_config(config: &Config, suite: Suite, files: &[String]) -> Result<Report, Failure> {
    let mut report = Report::default();
    if !suite.cases.is_empty() {
        let own = own_addresses(config)?;
        let surroundings = Surroundings { own: &own, hosts: &config.dns.hosts, now: clock::now() };
        report.add(&Arc::new(suite.policy), &suite.cases, (&surroundings, files));
    }
    Ok(report)
}

impl Report {
    fn add(&mut self, policy: &Arc<Policy>, cases: &[Case], (surroundings, files): (&Surroundings<'_>, &[String])) {
        for case in cases {
            let tried = case.try_on(policy, surroundings);
            let count = if tried.difference.is_none() { &mut self.passed } else { &mut self.failed };
            *count = count.saturating_add(1);
            // The form of a fault, as editors know it.
            let place = Fault { place: Some(case.place), message: String::new() }.line(files);
            self.cases.push(Outcome {
                place: place.trim_end_matches(": ").to_owned(),
                name: Arc::clone(&case.name),
                passed: tried.difference.is_none(),
                outcome: tried.decided.outcome.as_str(),
                reason: tried.decided.reason.as_str(),
                rule: tried.rule,
                difference: tried.difference.map(|difference| difference.to_string()),
            });
        }
    }

    /// A line for each case that failed: where it stands, what was expected, what came.
    pub(in crate::cli) fn failures(&self) -> impl Iterator<Item = String> + '_ {
        self.cases.iter().filter_map(|Outcome { place, name, difference, .. }| {
            Some(format!("{place}: case `{name}`: {}", difference.as_ref()?))
        })
    }

    fn text(&self) -> String {
        self.failures().chain([self.summary()]).collect::<Vec<_>>().join("\n")
    }

    /// How many there were of each.
    pub(in crate::cli) fn summary(&self) -> String {
        match (self.passed, self.failed) {
            (0, 0) => "no cases".to_owned(),
            (passed, 0) => format!("{} passed", cases(passed)),
            (passed, failed) => format!("{} failed, {passed} passed", cases(failed)),
        }
    }
}

fn cases(count: usize) -> String {
    format!("{count} {}", if count == 1 { "case" } else { "cases" })
}
