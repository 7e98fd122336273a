//! What a manifest says about the records that were read and exported, gathered while they pass by.
//! Not here: its form (`manifest`), joining (`rows`). Memory is bounded by [`MAX_LISTED`] for each list.
//! Source: the contract's section on records (`seq` without gaps, a heartbeat a minute, `start` and `stop`).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::manifest::{
    Clock, ExportRecord, Fileprint, Heartbeats, MANIFEST_VERSION, Manifest, Missing, Queried, Range, Run, TreeHead,
    Unclosed,
};
use super::record::{Head, Line, LineError};
use super::rows::{Row, State};
use crate::decision_log::Kind;

/// Entries of each list in a manifest; beyond it they are counted. A log of 400 days that starts anew twice a day fits.
pub const MAX_LISTED: usize = 1_000;

/// Seconds between two heartbeats.
const HEARTBEAT: i64 = 60;

/// Gathers. Everything that is read goes to [`Survey::read`] in the log's order; what is asked for to
/// [`Survey::exported`] as well, and each wanted row to [`Survey::row`].
#[derive(Debug, Default)]
pub struct Survey {
    instance: Option<String>,
    read: Passed,
    exported: Passed,
    missing: Listed<Missing>,
    /// The first record that must be there, and the number behind the last.
    from: Option<u64>,
    to: Option<u64>,
    before: Option<TreeHead>,
    run: Option<Running>,
    runs: Listed<Run>,
    heartbeats: Heartbeats,
    short_runs: u64,
    rows: BTreeMap<&'static str, u64>,
    unclosed: [u64; 2],
    ids: Listed<String>,
    clock: Clock,
}

/// What a manifest says beside what was gathered.
#[derive(Debug, Clone)]
pub struct About {
    /// When it is made.
    pub made_at: Timestamp,
    /// The log's name.
    pub origin: String,
    /// The log's verifier key.
    pub vkey: String,
    /// The format's word.
    pub format: &'static str,
    /// The query.
    pub query: Queried,
    /// The log's newest checkpoint, if it has one.
    pub checkpoint: Option<String>,
    /// The files beside the manifest.
    pub files: Vec<Fileprint>,
    /// Whether the log has a record of it.
    pub export_record: ExportRecord,
}

/// A run that has not ended yet.
#[derive(Debug)]
struct Running {
    start: Option<u64>,
    first: Timestamp,
    last: Timestamp,
    heartbeats: u64,
}

/// A list with an end, and how many did not fit.
#[derive(Debug)]
struct Listed<T> {
    items: Vec<T>,
    left_out: u64,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { items: Vec::new(), left_out: 0 }
    }
}

impl<T> Listed<T> {
    fn push(&mut self, item: T) {
        if self.items.len() < MAX_LISTED {
            self.items.push(item);
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
    }
}

/// Records that have passed by.
#[derive(Debug, Default)]
struct Passed {
    first: Option<Head>,
    last: Option<Head>,
    records: u64,
    kinds: BTreeMap<&'static str, u64>,
}

impl Survey {
    /// What must be read: from the first record of all, if no earlier time is left out, and up to what was signed, if no later one is.
    pub fn expect(&mut self, from: Option<u64>, to: Option<u64>) {
        (self.from, self.to) = (from, to);
    }

    /// A record was read.
    ///
    /// # Errors
    /// It is one that says something of the whole, and can't be read.
    pub fn read(&mut self, head: &Head, line: &[u8]) -> Result<(), LineError> {
        let next = self.read.last.map_or(self.from, |last| Some(last.seq.saturating_add(1)));
        if let Some(next) = next.filter(|next| head.seq > *next) {
            self.missing.push(Missing { from: next, to: head.seq.saturating_sub(1) });
        }
        if self.instance.is_none() {
            self.instance = Some(Line::read(line)?.instance);
        }
        self.read.push(head);
        self.runs(head);
        match head.kind {
            Kind::Heartbeat => self.heartbeat(&Line::read(line)?),
            Kind::ControlFailure if is_clock(&Line::read(line)?) => {
                self.clock.steps_back = self.clock.steps_back.saturating_add(1);
            }
            Kind::Decision | Kind::Close | Kind::Summary | Kind::Policy | Kind::Admin => {}
            Kind::Start | Kind::Stop | Kind::Export | Kind::ControlFailure => {}
        }
        Ok(())
    }

    /// The record that was read last is asked for.
    pub fn exported(&mut self, head: &Head) {
        self.exported.push(head);
    }

    /// A row that is asked for is complete.
    pub fn row(&mut self, row: &Row) {
        add(&mut self.rows, row.state.as_str());
        let [unclosed, open] = &mut self.unclosed;
        match row.state {
            State::Refused | State::Closed => return,
            State::Unclosed => *unclosed = unclosed.saturating_add(1),
            State::Open => *open = open.saturating_add(1),
        }
        self.ids.push(row.id.to_string());
    }

    /// A tree head that lies before everything that is read.
    pub fn looked_back(&mut self, checkpoint: TreeHead) {
        self.before = Some(checkpoint);
    }

    /// How many records were asked for.
    pub fn records(&self) -> u64 {
        self.exported.records
    }

    /// The numbers of the first and the last of them.
    pub fn span(&self) -> (Option<u64>, Option<u64>) {
        (self.exported.first.map(|head| head.seq), self.exported.last.map(|head| head.seq))
    }

    /// What was gathered, and this.
    pub fn manifest(mut self, about: About) -> Manifest {
        self.end_run("goes_on", None);
        let next = self.read.last.map_or(self.from, |last| Some(last.seq.saturating_add(1)));
        if let Some((next, to)) = next.zip(self.to).filter(|(next, to)| next < to) {
            self.missing.push(Missing { from: next, to: to.saturating_sub(1) });
        }
        let after = about.checkpoint.as_deref().and_then(TreeHead::read);
        let last = self.exported.last.map(|head| head.seq);
        let complete = self.short_runs == 0;
        let [unclosed, open] = self.unclosed;
        Manifest {
            manifest: MANIFEST_VERSION,
            made_at: shown(about.made_at),
            made_by: concat!("sallyport ", env!("CARGO_PKG_VERSION")).to_owned(),
            instance: self.instance,
            origin: about.origin,
            vkey: about.vkey,
            format: about.format.to_owned(),
            query: about.query,
            read: self.read.range(),
            missing: self.missing.items,
            missing_left_out: self.missing.left_out,
            exported: self.exported.range(),
            rows: self.rows,
            checkpoint_before: self.before,
            after_covers_all: after.as_ref().is_some_and(|after| last.is_none_or(|last| last < after.size)),
            checkpoint_after: after,
            heartbeats: Heartbeats { complete, ..self.heartbeats },
            runs: self.runs.items,
            runs_left_out: self.runs.left_out,
            unclosed: Unclosed { unclosed, open, ids: self.ids.items, ids_left_out: self.ids.left_out },
            clock: self.clock,
            files: about.files,
            export_record: about.export_record,
        }
    }

    /// A start begins a run, as does what follows a stop, or nothing.
    fn runs(&mut self, head: &Head) {
        if head.kind == Kind::Start {
            self.end_run("cut_off", None);
        }
        let start = (head.kind == Kind::Start).then_some(head.seq);
        let new = Running { start, first: head.time, last: head.time, heartbeats: 0 };
        let run = self.run.get_or_insert(new);
        run.last = head.time;
        run.heartbeats = run.heartbeats.saturating_add(u64::from(head.kind == Kind::Heartbeat));
        if head.kind == Kind::Stop {
            self.end_run("stopped", Some(head.seq));
        }
    }

    fn end_run(&mut self, ended: &'static str, stop: Option<u64>) {
        let Some(run) = self.run.take() else { return };
        let lasted = run.last.duration_since(run.first).as_secs();
        let expected = u64::try_from(lasted.div_euclid(HEARTBEAT)).unwrap_or(0);
        self.heartbeats.expected = self.heartbeats.expected.saturating_add(expected);
        self.heartbeats.found = self.heartbeats.found.saturating_add(run.heartbeats);
        self.short_runs = self.short_runs.saturating_add(u64::from(run.heartbeats.saturating_add(1) < expected));
        self.runs.push(Run {
            start_seq: run.start,
            stop_seq: stop,
            first_time: shown(run.first),
            last_time: shown(run.last),
            ended,
            heartbeats_expected: expected,
            heartbeats_found: run.heartbeats,
        });
    }

    fn heartbeat(&mut self, line: &Line) {
        if let Some(checkpoint) = line.tree_head().filter(|_| self.exported.records == 0) {
            self.before = Some(checkpoint);
        }
        let clock = |word: &str| line.detail.get("clock").and_then(|clock| clock.get(word));
        if clock("synchronized").and_then(Value::as_bool) == Some(false) {
            self.clock.unsynchronized = self.clock.unsynchronized.saturating_add(1);
        }
        if let Some(offset) = clock("offset_us").and_then(Value::as_i64) {
            let (min, max) = (self.clock.min_offset_us, self.clock.max_offset_us);
            self.clock.min_offset_us = Some(min.map_or(offset, |min| min.min(offset)));
            self.clock.max_offset_us = Some(max.map_or(offset, |max| max.max(offset)));
        }
    }
}

impl Passed {
    fn push(&mut self, head: &Head) {
        self.first.get_or_insert(*head);
        self.last = Some(*head);
        self.records = self.records.saturating_add(1);
        add(&mut self.kinds, head.kind.as_str());
    }

    fn range(self) -> Range {
        Range {
            records: self.records,
            first_seq: self.first.map(|head| head.seq),
            last_seq: self.last.map(|head| head.seq),
            first_time: self.first.map(|head| shown(head.time)),
            last_time: self.last.map(|head| shown(head.time)),
            kinds: self.kinds,
        }
    }
}

/// Of a failed control: the clock that has stepped back.
fn is_clock(line: &Line) -> bool {
    line.detail.get("what").and_then(Value::as_str) == Some("clock")
}

fn add(counts: &mut BTreeMap<&'static str, u64>, word: &'static str) {
    let count = counts.entry(word).or_default();
    *count = count.saturating_add(1);
}

fn shown(time: Timestamp) -> String {
    format!("{time:.6}")
}

#[cfg(test)]
#[path = "survey_tests.rs"]
mod tests;
