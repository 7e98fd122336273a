//! What happens to the proxy itself: start, stop, reloads, the log's health. Each leaves a record, a metric and a line for the operator.
//! Not here: requests (`session`). Source: PCI DSS 10.2.1.6 (starting and stopping of logs), 10.7.2 (failures of a control).

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{self, Config};
use crate::decision_log::{Detail, Durability, Kind, Pace, Record};
use crate::policy::Policy;
use crate::redact;
use crate::runtime::clock;
use crate::runtime::journal::{Event, Opening, Setup};
use crate::runtime::load::LoadError;
use crate::runtime::metrics::Metrics;
use crate::runtime::shared::Shared;

/// Upper bound in bytes of an error's text in a record.
const MAX_ERROR: usize = 1000;

/// How the journal is to be opened.
pub fn journal_setup(config: &Config, metrics: &Arc<Metrics>) -> Setup {
    let log = &config.decision_log;
    let metrics = Arc::clone(metrics);
    Setup {
        instance: config.instance.as_str().into(),
        directory: PathBuf::from(&log.directory),
        key: PathBuf::from(&log.key),
        pace: Pace {
            durability: match log.durability {
                config::Durability::Sync => Durability::Sync,
                config::Durability::Async => Durability::Async,
            },
            commit_interval: log.commit_interval,
        },
        copy: log.stdout.then(|| Box::new(std::io::stdout()) as Box<dyn std::io::Write + Send>),
        watch: Box::new(move |event| watched(&metrics, event)),
    }
}

fn watched(metrics: &Metrics, event: Event<'_>) {
    match event {
        Event::Committed { kinds, took, size } => {
            for (kind, count) in kinds.iter().filter(|(_, count)| *count > 0) {
                metrics.log.records.with_label_values(&[kind.as_str()]).inc_by(*count);
            }
            metrics.log.commit.observe(took.as_secs_f64());
            metrics.log.size.set(i64::try_from(size).unwrap_or(i64::MAX));
        }
        Event::Failed(error) => {
            metrics.log.failures.inc();
            tracing::error!(error, "the decision log cannot be written; requests are refused until it can");
        }
        Event::Recovered(after) => {
            tracing::warn!(seconds = after.as_secs_f64(), "the decision log can be written again");
        }
        Event::NotCopied(lines) => tracing::warn!(lines, "stdout is too slow: records were not copied to it"),
    }
}

/// The proxy has opened its log and is about to serve: the first record of this run.
pub fn started(shared: &Shared, opening: &Opening) {
    let detail = Detail::new()
        .with("version", env!("CARGO_PKG_VERSION"))
        .with("torn_bytes", opening.torn)
        .with("key_made", opening.key_made)
        .with("vkey", Arc::<str>::from(opening.vkey.as_str()));
    note(shared, Kind::Start, detail);
    if opening.torn > 0 {
        tracing::warn!(bytes = opening.torn, "cut an unfinished commit off the decision log");
    }
    in_force(shared, &shared.policy());
}

/// The proxy serves.
pub fn serving(listeners: &[(Arc<str>, std::net::SocketAddr)], admin: std::net::SocketAddr) {
    let listeners: Vec<String> = listeners.iter().map(|(name, address)| format!("{name}={address}")).collect();
    tracing::info!(listeners = listeners.join(" "), %admin, "serving");
}

/// A new policy is in force.
pub fn reloaded(shared: &Shared, policy: Policy) {
    let policy = Arc::new(policy);
    // Counters first: a request of a new source must find its own.
    count_sources(shared, &policy);
    shared.set_policy(Arc::clone(&policy));
    shared.metrics().policy.reloads.with_label_values(&["ok"]).inc();
    in_force(shared, &policy);
    let detail = Detail::new().with("result", "in_force").with("rules", policy.rules().count() as u64);
    note(shared, Kind::Policy, detail.with("sources", policy.sources().len() as u64));
    tracing::info!(policy = &**policy.hash(), rules = policy.rules().count(), "policy reloaded");
}

/// A new policy was refused; the last good one stays.
pub fn not_reloaded(shared: &Shared, error: &LoadError) {
    shared.metrics().policy.reloads.with_label_values(&["refused"]).inc();
    let error = redact::clean(error.to_string().as_bytes(), MAX_ERROR).text;
    tracing::error!(error = error.as_str(), "policy not reloaded; the last good one stays in force");
    note(shared, Kind::Policy, Detail::new().with("result", "refused").with("error", error));
}

/// The last record of this run.
pub fn stopped(shared: &Shared) {
    note(shared, Kind::Stop, Detail::new());
    tracing::info!("stopped");
}

fn in_force(shared: &Shared, policy: &Policy) {
    count_sources(shared, policy);
    let metrics = &shared.metrics().policy;
    metrics.info.reset();
    metrics.info.with_label_values(&[&**policy.hash()]).set(1);
    metrics.rules.set(i64::try_from(policy.rules().count()).unwrap_or(i64::MAX));
    metrics.loaded.set(clock::now().as_second() as f64);
    metrics.reviews.reset();
    for rule in policy.rules() {
        if let Some(due) = rule.control.review_by.and_then(clock::end_of_day) {
            metrics.reviews.with_label_values(&[&rule.id]).set(due.as_second() as f64);
        }
    }
}

fn count_sources(shared: &Shared, policy: &Policy) {
    shared.gate().serve(policy.sources().iter().map(|source| &source.name));
}

fn note(shared: &Shared, kind: Kind, detail: Detail) {
    let mut record = Record::new(kind, clock::now(), clock::new_id(), Arc::clone(shared.instance()));
    record.environment = shared.environment().cloned();
    record.policy = Some(Arc::clone(shared.policy().hash()));
    record.detail = detail;
    shared.journal().note(record.line());
}
