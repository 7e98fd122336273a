//! Connections for `audit query`: finds the decision and the close that belong to what fits, and prints both as one line.
//! Not here: joining itself (`evidence::Joiner`), columns (`table`).

use std::collections::VecDeque;
use std::ops::ControlFlow;

use super::query::{Flow, GO_ON, Log, Page};
use super::table;
use crate::decision_log::{Criteria, Found, Kind, Query};
use crate::evidence::{Head, Joiner, Row};
use crate::policy::Outcome;

/// Prints connections of which a record fits, each where it ended, and other records that fit.
pub(super) fn print(log: &Log, query: &Query, criteria: &Criteria, page: &mut Page) -> anyhow::Result<()> {
    page.header = Some(table::header());
    let (read, starts) = match partners(criteria)? {
        Some(of_tunnels) if criteria.reason.is_empty() || has_any(log, &of_tunnels.fit)? => {
            (of_tunnels.read, starts(log, criteria)?)
        }
        Some(_) | None => (query.clone(), VecDeque::new()),
    };
    let mut rows = Rows { wanted: query, joiner: Joiner::default(), starts, page };
    for segment in log.segments(rows.page.progress()) {
        // Behind `until` there is nothing but the ends of what began before.
        if criteria.until.is_some() && !rows.joiner.awaits(None) && !log.archive.may_match(segment, query)? {
            continue;
        }
        let flow = log.archive.walk(segment, &read, &mut |found| match rows.take(found) {
            Ok(flow) => flow,
            Err(error) => ControlFlow::Break(Err(error)),
        })?;
        if let ControlFlow::Break(end) = flow {
            return end;
        }
    }
    rows.finish()
}

/// Queries that find what belongs together.
struct Partners {
    /// The records of tunnels that fit.
    fit: Query,
    /// They, what belongs to them, and whatever else fits.
    read: Query,
}

/// How decisions and closes that fit are found with those that belong to them, which differ in kind, reason and time, and in no other
/// field that is asked for. `None`: no record of a tunnel fits.
fn partners(criteria: &Criteria) -> anyhow::Result<Option<Partners>> {
    let words = [Outcome::Allow, Outcome::Observe].map(|outcome| outcome.as_str().to_owned());
    let outcomes = words.into_iter().filter(|word| criteria.outcome.is_empty() || criteria.outcome.contains(word));
    let outcome: Vec<String> = outcomes.collect();
    let kinds = [Kind::Decision, Kind::Close].map(|kind| kind.as_str().to_owned());
    let mut kind = criteria.kind.clone();
    if outcome.is_empty() || !(kind.is_empty() || kinds.iter().any(|word| kind.contains(word))) {
        return Ok(None);
    }
    if !kind.is_empty() {
        kind.extend(kinds);
    }
    let fit = Query::new(Criteria { outcome, ..criteria.clone() })?;
    let read = Query::new(Criteria { kind, reason: Vec::new(), until: None, ..criteria.clone() })?;
    Ok(Some(Partners { fit, read }))
}

/// Whether anything fits. Refusals are asked for by their reason, and to read all records of a log for those would take long.
fn has_any(log: &Log, query: &Query) -> anyhow::Result<bool> {
    for segment in log.segments(None) {
        if log.archive.walk(segment, query, &mut |_| ControlFlow::Break(()))?.is_break() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where the proxy started anew: what was open before has no close.
fn starts(log: &Log, criteria: &Criteria) -> anyhow::Result<VecDeque<Head>> {
    let kind = vec![Kind::Start.as_str().to_owned()];
    let query = Query::new(Criteria { kind, since: criteria.since, ..Criteria::default() })?;
    let mut starts = VecDeque::new();
    for segment in log.segments(None) {
        let flow = log.archive.walk(segment, &query, &mut |found| match Head::read(found.line) {
            Ok(head) => {
                starts.push_back(head);
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        })?;
        if let ControlFlow::Break(error) = flow {
            return Err(error.into());
        }
    }
    Ok(starts)
}

/// Lines under way.
struct Rows<'r> {
    wanted: &'r Query,
    joiner: Joiner,
    /// Those that the records so far have not come to.
    starts: VecDeque<Head>,
    page: &'r mut Page,
}

impl Rows<'_> {
    /// Prints what a record completes, and itself if it is no part of a connection.
    fn take(&mut self, found: Found<'_>) -> anyhow::Result<Flow> {
        let head = Head::read(found.line)?;
        let is_wanted = self.wanted.fits(found.facets);
        let mut flow = self.start_before(head.seq)?;
        if flow.is_continue() {
            let rows = self.joiner.push(&head, found.line, is_wanted);
            flow = self.print(&rows)?;
        }
        if flow.is_continue() && is_wanted && !matches!(head.kind, Kind::Decision | Kind::Close) {
            flow = self.page.line(table::record(found.line)?.as_bytes());
        }
        Ok(flow)
    }

    /// Nothing follows.
    fn finish(mut self) -> anyhow::Result<()> {
        let mut flow = self.start_before(u64::MAX)?;
        if flow.is_continue() {
            let open = std::mem::take(&mut self.joiner).finish();
            flow = self.print(&open)?;
        }
        flow.break_value().unwrap_or(Ok(()))
    }

    /// The proxy has started anew, unless it did so at record `seq` or behind it.
    fn start_before(&mut self, seq: u64) -> anyhow::Result<Flow> {
        while let Some(start) = self.starts.pop_front_if(|start| start.seq < seq) {
            let unclosed = self.joiner.push(&start, &[], false);
            let flow = self.print(&unclosed)?;
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(GO_ON)
    }

    fn print(&mut self, rows: &[Row]) -> anyhow::Result<Flow> {
        for row in rows.iter().filter(|row| row.wanted) {
            let flow = self.page.line(table::connection(row)?.as_bytes());
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(GO_ON)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::super::query::tests::printed;
    use super::*;
    use crate::decision_log::seal;

    /// Tunnel 1 and 4 are closed, 3 was cut off by a crash, 6 is open; 2, 5 and 7 are refused, and 4 would have been.
    pub(in super::super) fn lines() -> Vec<String> {
        let host = |number: u64| format!(",\"customer\":\"c{}\",\"host\":\"h{number}.test\"", number % 2);
        let line = |seq: u64, kind: &str, id: u64, rest: &str| {
            format!(
                "{{\"v\":1,\"seq\":{seq},\"time\":\"2026-03-01T00:{seq:02}:00.000000Z\",\"kind\":\"{kind}\",\
                 \"id\":\"01a200a0-035a-7608-913d-{id:012}\",\"instance\":\"a\"{rest}}}\n"
            )
        };
        let of =
            |outcome: &str, reason: &str, id| format!(",\"outcome\":\"{outcome}\",\"reason\":\"{reason}\"{}", host(id));
        let (allow, refuse) = (|id| of("allow", "allowed", id), |id| of("deny", "destination_not_listed", id));
        let close = |outcome, id| of(outcome, "client_closed", id);
        vec![
            line(0, "start", 100, ""),
            line(1, "decision", 1, &allow(1)),
            line(2, "decision", 2, &refuse(2)),
            line(3, "decision", 3, &allow(3)),
            line(4, "close", 1, &close("allow", 1)),
            line(5, "start", 101, ""),
            line(6, "decision", 4, &of("observe", "port_not_allowed", 4)),
            line(7, "decision", 5, &refuse(5)),
            line(8, "heartbeat", 102, ""),
            line(9, "decision", 6, &allow(6)),
            line(10, "close", 4, &close("observe", 4)),
            line(11, "decision", 7, &refuse(7)),
        ]
    }

    /// The first three in a sealed segment, the next five in another, the rest in a plain one.
    pub(in super::super) fn log() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("segments")).unwrap();
        let lines = lines();
        for (first, lines) in [(0, &lines[..3]), (3, &lines[3..8])] {
            let mut sealed = Vec::new();
            seal(&mut lines.concat().as_bytes(), first, &mut sealed).unwrap();
            fs::write(folder.path().join(format!("segments/{first:012}.jsonl.zst")), sealed).unwrap();
        }
        fs::write(folder.path().join("segments/000000000008.jsonl"), lines[8..].concat()).unwrap();
        folder
    }

    /// What is printed: number of the record, outcome and end of each line.
    fn connections(folder: &TempDir, criteria: &Criteria, limit: u64) -> anyhow::Result<Vec<String>> {
        let log = Log::open(folder.path())?;
        let query = Query::new(criteria.clone())?;
        let text = printed(limit, |page| print(&log, &query, criteria, page))?;
        let lines = text.lines().map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            [words[11], words[1], words[3]].join(" ")
        });
        let mut lines: Vec<String> = lines.collect();
        if lines.first().is_some_and(|line| line == "SEQ OUTCOME ENDED") {
            lines.remove(0);
            assert!(!lines.is_empty(), "a header needs lines");
        }
        Ok(lines)
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn joins_what_fits_with_what_belongs_to_it() {
        let all = Criteria::default;
        let (first, third) = ("1 allow client_closed", "3 allow (unclosed)");
        let (fourth, sixth) = ("6 observe client_closed", "9 allow (open)");
        let [second, fifth, seventh] = ["2 deny -", "7 deny -", "11 deny -"];
        let starts = ["0 (start) -", "5 (start) -"];
        let time = |minute| format!("2026-03-01T00:{minute:02}:00Z").parse().ok();
        let id = |id| vec![format!("01a200a0-035a-7608-913d-{id:012}")];
        let folder = log();
        for (name, criteria, want) in [
            (
                "all",
                all(),
                vec![starts[0], second, first, third, starts[1], fifth, "8 (heartbeat) -", fourth, seventh, sixth],
            ),
            ("by outcome", Criteria { outcome: words(&["allow"]), ..all() }, vec![first, third, sixth]),
            ("refusals", Criteria { outcome: words(&["deny"]), ..all() }, vec![second, fifth, seventh]),
            ("by customer", Criteria { customer: words(&["c1"]), ..all() }, vec![first, third, fifth, seventh]),
            ("by host", Criteria { host: words(&["h3.test", "h4.test"]), ..all() }, vec![third, fourth]),
            ("by id", Criteria { id: id(3), ..all() }, vec![third]),
            (
                "by decision",
                Criteria { kind: words(&["decision"]), customer: words(&["c0"]), ..all() },
                vec![second, fourth, sixth],
            ),
            ("by close", Criteria { kind: words(&["close"]), ..all() }, vec![first, fourth]),
            (
                "by close and more",
                Criteria { kind: words(&["start", "close"]), ..all() },
                vec![starts[0], first, starts[1], fourth],
            ),
            (
                "by another kind",
                Criteria { kind: words(&["heartbeat", "start"]), ..all() },
                vec![starts[0], starts[1], "8 (heartbeat) -"],
            ),
            ("by a decision's reason", Criteria { reason: words(&["allowed"]), ..all() }, vec![first, third, sixth]),
            ("by a close's reason", Criteria { reason: words(&["client_closed"]), ..all() }, vec![first, fourth]),
            ("by what would refuse", Criteria { reason: words(&["port_not_allowed"]), ..all() }, vec![fourth]),
            (
                "by what refuses",
                Criteria { reason: words(&["destination_not_listed"]), ..all() },
                vec![second, fifth, seventh],
            ),
            (
                "since",
                Criteria { since: time(4), outcome: words(&["allow"]), ..all() },
                vec!["4 allow client_closed", sixth],
            ),
            (
                "until",
                Criteria { until: time(7), kind: words(&["decision"]), ..all() },
                vec![second, first, third, fourth],
            ),
            ("until the first", Criteria { until: time(2), kind: words(&["decision"]), ..all() }, vec![first]),
            ("none", Criteria { customer: words(&["c9"]), ..all() }, vec![]),
        ] {
            are(&folder, &criteria, &want, name);
        }
    }

    /// Whether these are the connections, however few are asked for.
    fn are(folder: &tempfile::TempDir, criteria: &Criteria, want: &[&str], name: &str) {
        let got = connections(folder, criteria, u64::MAX).unwrap();
        assert_eq!(got, want, "{name}");
        for limit in 1..=want.len() {
            let got = connections(folder, criteria, limit.try_into().unwrap()).unwrap();
            assert_eq!(got, want[..limit], "{name}: at most {limit}");
        }
    }

    /// The second segment can't be decompressed: whoever reads it fails.
    #[test]
    fn what_need_not_be_read_is_not() {
        let folder = log();
        let path = folder.path().join("segments/000000000003.jsonl.zst");
        let mut sealed = fs::read(&path).unwrap();
        sealed[20] ^= 0xff;
        fs::write(&path, sealed).unwrap();
        let time = |minute| format!("2026-03-01T00:{minute:02}:00Z").parse().ok();
        for (name, criteria, is_read) in [
            ("all", Criteria::default(), true),
            ("refusals before", Criteria { until: time(3), outcome: words(&["deny"]), ..Criteria::default() }, false),
            ("refusals", Criteria { outcome: words(&["deny"]), ..Criteria::default() }, true),
            ("a kind it lacks", Criteria { kind: words(&["heartbeat"]), ..Criteria::default() }, false),
            ("errors", Criteria { reason: words(&["internal"]), ..Criteria::default() }, false),
            ("behind it", Criteria { since: time(8), ..Criteria::default() }, false),
            ("before it", Criteria { until: time(1), ..Criteria::default() }, true),
        ] {
            assert_eq!(connections(&folder, &criteria, u64::MAX).is_err(), is_read, "{name}");
        }
    }
}
