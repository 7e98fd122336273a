//! One row a connection: a decision and its close, joined by id while the log is read in order.
//! Not here: which records are wanted (`decision_log::query`), what a row looks like (`csv`).
//! Source: the contract's section on records (`close` has the id of its decision).

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use uuid::Uuid;

use super::record::Head;
use crate::decision_log::Kind;

/// Bytes of decisions that wait for their close. 256 MiB are 300,000 tunnels with usual records, more than one process
/// may hold open with the largest usual descriptor limit; beyond it the oldest is given out as open.
pub const MAX_OPEN_BYTES: usize = 256 * 1024 * 1024;

/// What a waiting decision takes besides its line: its places in two maps.
const WAITING_BYTES: usize = 256;

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It was refused, or failed: nothing was forwarded.
    Refused,
    /// It was let through and has ended.
    Closed,
    /// It was let through, and the proxy started anew before it could write the end.
    Unclosed,
    /// It was let through, and what was read has no end of it.
    Open,
}

/// One connection. Both lines are as the log has them.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// How far it has come.
    pub state: State,
    /// The decision; `None`: it lies before what was read.
    pub decision: Option<Box<[u8]>>,
    /// The close; `None`: there is none.
    pub close: Option<Box<[u8]>>,
    /// Whether the decision or the close is asked for.
    pub wanted: bool,
    /// The id that both have.
    pub id: Uuid,
}

/// Joins records that come in the log's order.
#[derive(Debug)]
pub struct Joiner {
    /// By the number of the decision, so that the oldest comes first.
    open: BTreeMap<u64, Waiting>,
    numbers: HashMap<Uuid, u64>,
    bytes: usize,
    limit: usize,
}

#[derive(Debug)]
struct Waiting {
    line: Box<[u8]>,
    id: Uuid,
    time: Timestamp,
    wanted: bool,
}

impl State {
    /// All of them.
    pub const ALL: [State; 4] = [State::Refused, State::Closed, State::Unclosed, State::Open];

    /// Its word, as in tables and manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Refused => "refused",
            State::Closed => "closed",
            State::Unclosed => "unclosed",
            State::Open => "open",
        }
    }
}

impl Default for Joiner {
    fn default() -> Self {
        Self::with_limit(MAX_OPEN_BYTES)
    }
}

impl Joiner {
    /// One that keeps at most so many bytes of decisions.
    pub fn with_limit(limit: usize) -> Self {
        Self { open: BTreeMap::new(), numbers: HashMap::new(), bytes: 0, limit }
    }

    /// Takes the next record and returns the rows that it completes; `wanted`: it is asked for.
    pub fn push(&mut self, head: &Head, line: &[u8], wanted: bool) -> Vec<Row> {
        match head.kind {
            Kind::Decision if head.opens() => self.wait(head, line, wanted),
            Kind::Decision => {
                let decision = Some(line.into());
                vec![Row { state: State::Refused, decision, close: None, wanted, id: head.id }]
            }
            Kind::Close => vec![self.close(head, line, wanted)],
            Kind::Start => self.end(State::Unclosed),
            Kind::Summary | Kind::Policy | Kind::Admin | Kind::Stop => Vec::new(),
            Kind::Heartbeat | Kind::Export | Kind::ControlFailure => Vec::new(),
        }
    }

    /// Whether a wanted decision before `until` waits for its close.
    pub fn awaits(&self, until: Option<Timestamp>) -> bool {
        let before = |waiting: &Waiting| until.is_none_or(|until| waiting.time < until);
        self.open.values().any(|waiting| waiting.wanted && before(waiting))
    }

    /// Nothing follows: what still waits.
    pub fn finish(mut self) -> Vec<Row> {
        self.end(State::Open)
    }

    fn wait(&mut self, head: &Head, line: &[u8], wanted: bool) -> Vec<Row> {
        self.bytes = self.bytes.saturating_add(line.len()).saturating_add(WAITING_BYTES);
        self.numbers.insert(head.id, head.seq);
        self.open.insert(head.seq, Waiting { line: line.into(), id: head.id, time: head.time, wanted });
        let mut over = Vec::new();
        while self.bytes > self.limit {
            let Some((_, oldest)) = self.open.pop_first() else { break };
            over.push(self.without_close(oldest, State::Open));
        }
        over
    }

    fn close(&mut self, head: &Head, line: &[u8], wanted: bool) -> Row {
        let decision = self.numbers.get(&head.id).and_then(|number| self.open.remove(number));
        let wanted = wanted || decision.as_ref().is_some_and(|decision| decision.wanted);
        let decision = decision.map(|decision| {
            self.forget(&decision);
            decision.line
        });
        Row { state: State::Closed, decision, close: Some(line.into()), wanted, id: head.id }
    }

    /// All that wait, the oldest first.
    fn end(&mut self, state: State) -> Vec<Row> {
        let open = std::mem::take(&mut self.open);
        open.into_values().map(|waiting| self.without_close(waiting, state)).collect()
    }

    fn without_close(&mut self, waiting: Waiting, state: State) -> Row {
        self.forget(&waiting);
        Row { state, decision: Some(waiting.line), close: None, wanted: waiting.wanted, id: waiting.id }
    }

    fn forget(&mut self, waiting: &Waiting) {
        self.numbers.remove(&waiting.id);
        self.bytes = self.bytes.saturating_sub(waiting.line.len()).saturating_sub(WAITING_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision_log::Record;
    use crate::evidence::testing::{allowed, closed, line, record};
    use crate::policy::Outcome;

    /// The rows of these records, in order: state, number of the decision, number of the close, wanted.
    fn rows(joiner: Joiner, records: &[Record], wanted: &[u64]) -> Vec<(State, Option<u64>, Option<u64>, bool)> {
        let mut joiner = joiner;
        let mut rows = Vec::new();
        for (record, seq) in records.iter().zip(0..) {
            let line = line(record, seq);
            rows.extend(joiner.push(&Head::read(&line).unwrap(), &line, wanted.contains(&seq)));
        }
        assert_eq!(joiner.open.len(), joiner.numbers.len());
        assert_eq!(joiner.bytes == 0, joiner.open.is_empty());
        rows.extend(joiner.finish());
        let seq = |line: &Option<Box<[u8]>>| line.as_ref().map(|line| Head::read(line).unwrap().seq);
        rows.iter().map(|row| (row.state, seq(&row.decision), seq(&row.close), row.wanted)).collect()
    }

    #[test]
    fn joins_by_table() {
        use State::{Closed, Open, Refused, Unclosed};
        let refused = |number| record(Kind::Decision, number);
        let mut observed = allowed(1);
        observed.outcome = Some(Outcome::Observe);
        let mut failed = allowed(1);
        failed.outcome = Some(Outcome::Error);
        for (name, records, want) in [
            ("a refusal", vec![refused(1)], vec![(Refused, Some(0), None)]),
            ("a failure", vec![failed], vec![(Refused, Some(0), None)]),
            ("a tunnel", vec![allowed(1), closed(1)], vec![(Closed, Some(0), Some(1))]),
            ("an observed one", vec![observed, closed(1)], vec![(Closed, Some(0), Some(1))]),
            (
                "a refusal between",
                vec![allowed(1), refused(2), closed(1)],
                vec![(Refused, Some(1), None), (Closed, Some(0), Some(2))],
            ),
            (
                "closed in another order",
                vec![allowed(1), allowed(2), closed(2), closed(1)],
                vec![(Closed, Some(1), Some(2)), (Closed, Some(0), Some(3))],
            ),
            ("begun before", vec![closed(1)], vec![(Closed, None, Some(0))]),
            (
                "still open",
                vec![allowed(2), allowed(1), refused(3)],
                vec![(Refused, Some(2), None), (Open, Some(0), None), (Open, Some(1), None)],
            ),
            (
                "a crash",
                vec![allowed(1), record(Kind::Start, 9), allowed(2), closed(2)],
                vec![(Unclosed, Some(0), None), (Closed, Some(2), Some(3))],
            ),
            (
                "kinds that are no rows",
                {
                    let kinds = [
                        Kind::Summary,
                        Kind::Policy,
                        Kind::Admin,
                        Kind::Start,
                        Kind::Stop,
                        Kind::Heartbeat,
                        Kind::Export,
                    ];
                    kinds.into_iter().chain([Kind::ControlFailure]).map(|kind| record(kind, 1)).collect()
                },
                vec![],
            ),
        ] {
            let want: Vec<_> =
                want.into_iter().map(|(state, decision, close)| (state, decision, close, false)).collect();
            assert_eq!(rows(Joiner::default(), &records, &[]), want, "{name}");
        }
    }

    #[test]
    fn a_row_is_wanted_if_either_record_is() {
        let records = [allowed(1), closed(1)];
        for (wanted, want) in [(&[0][..], true), (&[1], true), (&[0, 1], true), (&[], false)] {
            assert_eq!(
                rows(Joiner::default(), &records, wanted),
                [(State::Closed, Some(0), Some(1), want)],
                "{wanted:?}"
            );
        }
    }

    #[test]
    fn beyond_the_bound_the_oldest_is_given_out() {
        let size = line(&allowed(1), 0).len() + WAITING_BYTES;
        let records: Vec<Record> = (1..=4).map(allowed).chain([closed(1), closed(4)]).collect();
        let got = rows(Joiner::with_limit(size * 3), &records, &[]);
        let want = [
            (State::Open, Some(0), None, false),
            (State::Closed, None, Some(4), false),
            (State::Closed, Some(3), Some(5), false),
            (State::Open, Some(1), None, false),
            (State::Open, Some(2), None, false),
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn awaits_what_is_wanted_and_early_enough() {
        let second = |second| Timestamp::from_second(second).ok();
        let mut joiner = Joiner::default();
        let push = |joiner: &mut Joiner, record: &Record, seq, wanted| {
            let line = line(record, seq);
            joiner.push(&Head::read(&line).unwrap(), &line, wanted);
        };
        push(&mut joiner, &allowed(5), 0, false);
        assert!(!joiner.awaits(None), "nobody asked for it");
        push(&mut joiner, &allowed(7), 1, true);
        assert!(joiner.awaits(None) && joiner.awaits(second(8)));
        assert!(!joiner.awaits(second(7)), "it began too late");
        push(&mut joiner, &closed(7), 2, false);
        assert!(!joiner.awaits(None), "its close has come");
    }
}
