//! What happens to the proxy itself: start, stop, reloads, the log's health. Each leaves a record, a metric and a line for the operator.
//! Not here: requests (`session`). Source: PCI DSS 10.2.1.6 (starting and stopping of logs), 10.7.2 (failures of a control).

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{self, Config};
use crate::decision_log::{Detail, Durability, Kind, Pace, Record, Scan, Unwritten, Value};
use crate::policy::Policy;
use crate::redact::{Redacted, clean_name};
use crate::runtime::clock;
use crate::runtime::denials;
use crate::runtime::egress;
use crate::runtime::journal::{Event, Opening, Setup};
use crate::runtime::lifecycle::Judged;
use crate::runtime::listeners::Bound;
use crate::runtime::metrics::Metrics;
use crate::runtime::reloads::{DiffTold, Outcome, RESTART, Reload};
use crate::runtime::shared::Shared;
use crate::runtime::sys;
use crate::runtime::timed;

/// Upper bound in bytes of an error's text in a record.
const MAX_ERROR: usize = 1000;

/// Upper bound in bytes of a token's name in a record; its file allows as many.
const MAX_NAME: usize = 128;

/// Keys in a record that wait for a restart; more stand in `/v1/status`.
const MAX_KEYS: usize = 32;

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
        watch: Arc::new(move |event| watched(&metrics, event)),
    }
}

fn watched(metrics: &Metrics, event: Event<'_>) {
    match event {
        Event::Committed { kinds, took, size } => {
            for (kind, count) in kinds.iter().filter(|(_, count)| *count > 0) {
                metrics.log.records.with_label_values(&[kind.as_str()]).inc_by(*count);
            }
            metrics.log.commit.observe(took.as_secs_f64());
            metrics.log.set_size(size);
        }
        Event::Failed(error) => {
            metrics.log.failures.inc();
            tracing::error!(error, "the decision log cannot be written; requests are refused until it can");
        }
        Event::Recovered(after) => {
            tracing::warn!(seconds = after.as_secs_f64(), "the decision log can be written again");
        }
        Event::Signed(_) => metrics.log.signed.set(clock::now().as_second() as f64),
        Event::Unsigned(error) => {
            metrics.log.failures.inc();
            tracing::error!(
                error,
                "the decision log's tree cannot be written; requests are refused soon if that goes on"
            );
        }
        Event::NotSealed(error) => {
            metrics.log.failures.inc();
            tracing::error!(
                error,
                "a segment of the decision log cannot be sealed; it stays as it is and is tried again"
            );
        }
        Event::Lost(lost) => metrics.log.count_lost(lost),
        Event::NotCopied(lines) => tracing::warn!(lines, "stdout is too slow: records were not copied to it"),
    }
}

/// The proxy has opened its log, or has taken it over, and is about to serve: the first record of this run.
pub fn started(shared: &Shared, opening: &Opening, took_over: bool) {
    let detail = timed::reporting(opened(opening), &shared.policy(), clock::now());
    note(shared, Kind::Start, if took_over { detail.with("took_over", true) } else { detail });
    shared.metrics().log.set_size(opening.scan.end.next);
    let Scan { end, torn, torn_lines, last } = opening.scan;
    if torn > 0 {
        tracing::warn!(
            bytes = torn,
            first_seq = end.next,
            whole_lines = torn_lines,
            "cut what a crash had torn off the decision log"
        );
    }
    if !took_over && last.is_some_and(|last| !last.is_stop) {
        tracing::warn!("the run before left no `stop` record: it was killed, or could not write its log");
    }
    if opening.unsigned > 0 {
        tracing::warn!(
            records = opening.unsigned,
            "records of the run before had no checkpoint yet: compare them with what others saw"
        );
    }
    if !opening.head_kept {
        tracing::warn!(
            "the newest checkpoint can't be kept beside the key: that an older log is put back shows to kept checkpoints alone"
        );
    }
    if opening.log_made && !opening.key_made {
        tracing::warn!(
            "began a new decision log with a key that was there before; if there was a log, stop and bring it back"
        );
    }
    in_force(shared, None);
}

/// What the `start` record says of the log.
fn opened(opening: &Opening) -> Detail {
    let Scan { end, torn, torn_lines, last } = opening.scan;
    let mut detail = Detail::new().with("version", env!("CARGO_PKG_VERSION")).with("torn_bytes", torn);
    if torn > 0 {
        detail = detail.with("torn_seq", end.next).with("torn_lines", torn_lines);
    }
    if let Some(last) = last {
        detail = detail.with("clean", last.is_stop);
    }
    detail
        .with("signed_size", opening.signed.size)
        .with("signed_root", Arc::<str>::from(opening.signed.root.to_string()))
        .with("unsigned", opening.unsigned)
        .with("head_kept", opening.head_kept)
        .with("tiles_rebuilt", opening.rebuilt)
        .with("key_made", opening.key_made)
        .with("key_changed", opening.key_changed)
        .with("log_made", opening.log_made)
        .with("vkey", Arc::<str>::from(opening.vkey.as_str()))
}

/// The proxy serves.
pub fn serving(listeners: &[(Arc<str>, Bound)], admin: std::net::SocketAddr) {
    let listeners: Vec<String> = listeners.iter().map(|(name, address)| format!("{name}={address}")).collect();
    tracing::info!(listeners = listeners.join(" "), %admin, "serving");
}

/// Puts a new policy in force.
pub fn put_in_force(shared: &Shared, policy: Arc<Policy>) {
    // Counters first: a request of a new source must find its own.
    count_sources(shared, &policy);
    let before = shared.policy();
    shared.set_policy(&policy);
    in_force(shared, Some(&before));
}

/// Everything that was read again is in force, and open tunnels were judged by it; `before` was in force, and so many files differ.
pub fn reloaded(shared: &Shared, came: &Reload, (before, judged, files): (&Arc<str>, Judged, usize)) {
    shared.metrics().policy.reloads.with_label_values(&["ok"]).inc();
    let policy = shared.policy();
    let (rules, sources) = (policy.rules().count() as u64, policy.sources().len() as u64);
    let detail = asked(Detail::new().with("result", "in_force"), came);
    let detail = detail.with("before", Arc::clone(before)).with("rules", rules).with("sources", sources);
    let detail = compared(timed::reporting(detail, &policy, clock::now()), came);
    let mut detail = tunnels(detail, judged).with("files", files as u64);
    if let Some(actor) = came.asked.actor.as_ref().filter(|_| came.confirmed) {
        detail = detail.with("confirmed_by", clean_name(actor.as_bytes(), MAX_NAME).text);
    }
    note_by(shared, (Kind::Policy, came), waiting(detail, came));
    tracing::info!(policy = &**policy.hash(), rules, tunnels_gone = judged.gone(), "policy reloaded");
    if !came.needs_restart.is_empty() {
        tracing::warn!(keys = came.needs_restart.join(" "), "what differs in these keys waits: {RESTART}");
    }
}

/// How a reload came about.
fn asked(detail: Detail, came: &Reload) -> Detail {
    detail.with("by", came.asked.by.as_str())
}

/// What a new policy changes.
fn compared(detail: Detail, came: &Reload) -> Detail {
    let Some(DiffTold { sha256, counts }) = &came.diff else { return detail };
    let count = |count: usize| count as u64;
    let changes = Detail::new()
        .with("reach_added", count(counts.reach_added))
        .with("reach_removed", count(counts.reach_removed))
        .with("reach_changed", count(counts.reach_changed))
        .with("sources_added", count(counts.sources_added))
        .with("sources_removed", count(counts.sources_removed))
        .with("sources_changed", count(counts.sources_changed))
        .with("clients_moved", count(counts.clients_moved))
        .with("never_added", count(counts.never_added))
        .with("never_removed", count(counts.never_removed))
        .with("rules_added", count(counts.rules_added))
        .with("rules_removed", count(counts.rules_removed))
        .with("rules_changed", count(counts.rules_changed));
    detail.with("changes", Value::Map(changes)).with("diff", Arc::<str>::from(sha256.as_str()))
}

/// The first keys that wait for a restart.
fn waiting(detail: Detail, came: &Reload) -> Detail {
    let keys = came.needs_restart.iter().take(MAX_KEYS);
    let keys: Vec<Value> = keys.map(|key| Value::Name(key.as_str().into())).collect();
    if keys.is_empty() { detail } else { detail.with("needs_restart", keys) }
}

/// What became of open tunnels that nothing allows any more.
fn tunnels(detail: Detail, Judged { kept, drained, cut }: Judged) -> Detail {
    detail.with("tunnels_kept", kept).with("tunnels_drained", drained).with("tunnels_cut", cut)
}

/// Nothing of what was read again is in force; the last good files stay. Of the faults the record has the first one and how many there are.
pub fn not_reloaded(shared: &Shared, came: &Reload) {
    let result = if came.result() == Outcome::Guarded { "guarded" } else { "refused" };
    shared.metrics().policy.reloads.with_label_values(&[result]).inc();
    let count = came.faults.len().saturating_add(came.faults_left_out) as u64;
    let detail = compared(asked(Detail::new().with("result", result), came), came);
    let detail = match came.faults.first() {
        Some(first) => detail.with("error", first.clone()).with("faults", count),
        None => detail.with("error", "reading it ended by a fault of the program"),
    };
    let error = came.faults.iter().map(Redacted::as_str).collect::<Vec<_>>().join("\n");
    tracing::error!(error, result, "not reloaded; what was last good stays in force");
    note_by(shared, (Kind::Policy, came), detail);
}

/// Another process takes over: the last record of this run, but for the ends of what it still serves.
pub fn hands_over(shared: &Shared) {
    denials::tell(shared);
    egress::watch::tell(shared);
    let stop = record(shared, Kind::Stop, Detail::new().with("handed_over", true));
    // Should it fail, so does handing over the log.
    let _ = shared.journal().keep_all(vec![stop.line()], false);
}

/// What the process that took over has put in force this one can't read: its tunnels are judged by what it had.
pub fn not_followed(shared: &Shared, error: &str) {
    let error = shared.redactor().clean(error.as_bytes(), MAX_ERROR).text;
    tracing::error!(error = error.as_str(), "can't judge the tunnels left here by the new policy");
    note(shared, Kind::ControlFailure, Detail::new().with("what", "predecessor_policy").with("error", error));
}

/// The process that was to take over did not: this one goes on, with a log that it has opened already or opens as soon as it can.
pub fn took_back(shared: &Shared, opening: Option<&Opening>) {
    note(shared, Kind::Start, opening.map_or_else(Detail::new, opened).with("taken_back", true));
}

/// The last record of this run.
pub fn stopped(shared: &Shared) {
    denials::tell(shared);
    egress::watch::tell(shared);
    note(shared, Kind::Stop, Detail::new());
}

/// The log is closed; `lost` is what it could not take.
pub fn closed(lost: Unwritten) {
    let Unwritten { withdrawn, refusals, closes, others } = lost;
    if lost.any() {
        tracing::error!(withdrawn, refusals, closes, others, "stopped, but records were not written and are lost");
    } else {
        tracing::info!("stopped");
    }
}

fn in_force(shared: &Shared, before: Option<&Policy>) {
    let in_force = shared.in_force();
    count_sources(shared, &in_force.policy);
    shared.metrics().policy.in_force(&in_force.policy, in_force.since, before);
    for (source, report) in in_force.policy.reporting(clock::now()) {
        let (source, until) = (&*source.name, report.until);
        tracing::warn!(source, %until, "report mode: what no rule lets through is let through and recorded");
    }
    sys::give_back_memory();
}

fn count_sources(shared: &Shared, policy: &Policy) {
    shared.quotas().serve(policy);
    shared.gate().serve(policy.sources().iter().map(|source| &source.name));
}

/// Leaves a record about the proxy itself.
pub fn note(shared: &Shared, kind: Kind, detail: Detail) {
    shared.journal().note(record(shared, kind, detail).line());
}

/// The same of what somebody asked for.
fn note_by(shared: &Shared, (kind, came): (Kind, &Reload), detail: Detail) {
    let mut record = record(shared, kind, detail);
    if let Some(actor) = &came.asked.actor {
        let actor = clean_name(actor.as_bytes(), MAX_NAME);
        record.mark("actor", actor.found);
        record.actor = Some(actor.text);
    }
    shared.journal().note(record.line());
}

fn record(shared: &Shared, kind: Kind, detail: Detail) -> Record {
    let mut record = Record::new(kind, clock::now(), clock::new_id(), Arc::clone(shared.instance()));
    record.environment = shared.environment().cloned();
    record.policy = Some(Arc::clone(shared.policy().hash()));
    record.detail = detail;
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision_log::{Checkpoint, End, Hash, Last};
    use crate::runtime::egress::Pools;
    use crate::runtime::reloads::{Asked, Cause, Parts};
    use crate::runtime::testing;

    #[test]
    fn a_reload_that_a_fault_of_the_program_ended_is_on_record_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let (shared, _) = testing::shared(folder.path(), "version: 1\nsources: []\nrules: []\n", Pools::default());
        let asked = Asked { by: Cause::Signal, actor: Some("ops".into()) };
        let parts = Parts { admin_files: false, listener_files: false };
        let kept = Reload::new(clock::now(), asked, parts, Outcome::Kept);
        not_reloaded(&shared, &Reload { policy: Outcome::Failed, ..kept });
        assert_eq!(shared.metrics().policy.reloads.with_label_values(&["refused"]).get(), 1);
        assert!(!shared.journal().shutdown().any());
        let records = testing::records(folder.path());
        let [record] = records.as_slice() else { panic!("{records:?}") };
        let want = serde_json::json!({"result": "refused", "by": "signal", "error": "reading it ended by a fault of the program"});
        assert_eq!((&record["kind"], &record["actor"]), (&"policy".into(), &"ops".into()));
        assert_eq!(record["detail"], want);
    }

    #[test]
    fn the_start_says_what_was_found() {
        let clean = |is_stop| Some(Last { time: None, is_stop });
        let rows: [(&str, u64, Option<Last>, &str); 4] = [
            ("nothing before", 0, None, r#""torn_bytes":0,"signed_size":7"#),
            ("a stop", 0, clean(true), r#""torn_bytes":0,"clean":true,"signed_size":7"#),
            ("no stop", 0, clean(false), r#""torn_bytes":0,"clean":false,"signed_size":7"#),
            ("torn", 9, clean(false), r#""torn_bytes":9,"torn_seq":7,"torn_lines":2,"clean":false"#),
        ];
        for (name, torn, last, want) in rows {
            let scan = Scan { end: End { next: 7, length: 1 }, torn, torn_lines: 2, last };
            let signed = Checkpoint { origin: "a".to_owned(), size: 7, root: Hash::EMPTY };
            let (rebuilt, key_made, key_changed, log_made) = (true, false, false, true);
            let (unsigned, head_kept) = (0, true);
            let opening = Opening {
                scan,
                signed,
                unsigned,
                head_kept,
                rebuilt,
                key_made,
                key_changed,
                log_made,
                vkey: "a+1+x".to_owned(),
            };
            let text = serde_json::to_string(&opened(&opening)).unwrap();
            assert!(text.contains(want), "{name}: {text}");
            let always = r#""unsigned":0,"head_kept":true,"tiles_rebuilt":true,"key_made":false,"key_changed":false,"log_made":true,"vkey":"a+1+x"}"#;
            assert!(text.ends_with(always), "{name}: {text}");
        }
    }
}
