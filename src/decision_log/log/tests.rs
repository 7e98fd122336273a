//! Numbering, commits and recovery over a store that fails on purpose.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::*;
use crate::decision_log::faulty::{Fault, FaultyStore, entry};
use crate::decision_log::{Durability, Kind, Pace, Push, Queue, scan};
use crate::policy::Outcome;

const INTERVAL: Duration = Duration::from_millis(2);

/// The writer and its workers in one thread, with a clock of their own.
struct Rig {
    store: FaultyStore,
    log: Log,
    queue: Queue,
    now: Instant,
    ids: u128,
    waiting: Vec<(crate::decision_log::Ticket, Uuid)>,
    /// Granted at once, not yet known to be durable.
    at_once: HashSet<Uuid>,
    permitted: HashSet<Uuid>,
}

impl Rig {
    fn new(durability: Durability, store: FaultyStore) -> Self {
        Self {
            store,
            log: Log::resume(End::default(), 700),
            queue: Queue::new(Pace { durability, commit_interval: INTERVAL }),
            now: Instant::now(),
            ids: 0,
            waiting: Vec::new(),
            at_once: HashSet::new(),
            permitted: HashSet::new(),
        }
    }

    fn entry(&mut self, kind: Kind, outcome: Outcome) -> Entry {
        self.ids += 1;
        entry(kind, Some(outcome), self.ids)
    }

    fn request(&mut self) {
        let entry = self.entry(Kind::Decision, Outcome::Allow);
        let id = entry.id();
        match self.queue.request(entry, self.now) {
            Push::Granted(permit) => {
                assert_eq!(permit.id(), id);
                self.at_once.insert(id);
                self.permitted.insert(id);
            }
            Push::Wait(ticket) => self.waiting.push((ticket, id)),
            Push::Refused(_) => {}
        }
    }

    /// One turn of the writer: recovers if need be, then commits what waits.
    fn turn(&mut self, name: &str) {
        self.now += INTERVAL;
        if self.log.is_ill() && self.log.recover(&mut self.store).is_err() {
            return;
        }
        let batch = self.queue.take();
        if batch.is_empty() {
            return self.queue.recovered();
        }
        match self.log.commit(batch, &mut self.store) {
            Ok(permits) => {
                self.queue.recovered();
                for settled in self.queue.settled(permits) {
                    let (ticket, id) = self.waiting.remove(0);
                    assert_eq!(ticket, settled.ticket, "{name}: tickets are settled in order");
                    let permit = settled.permit.unwrap();
                    assert_eq!(permit.id(), id, "{name}: each gets its own permit");
                    self.permitted.insert(id);
                }
                let durable = self.store.durable();
                self.at_once.retain(|id| !durable.contains(&id.to_string()));
            }
            Err(error) => {
                for ticket in self.queue.failed(error.batch, self.now) {
                    assert_eq!(ticket, self.waiting.remove(0).0, "{name}: tickets fail in order");
                }
                assert!(self.waiting.is_empty(), "{name}: nobody waits for an ill log");
            }
        }
        self.check(name);
    }

    fn check(&self, name: &str) {
        let durable = self.store.durable();
        for id in self.permitted.difference(&self.at_once) {
            assert!(durable.contains(&id.to_string()), "{name}: permit {id} without its record");
        }
        // A crash now: what is found on opening begins with all that was acknowledged.
        for lucky in [0, 1, 100, 10_000] {
            let (first, bytes) = self.store.crashed(lucky);
            let found = scan(&mut bytes.as_slice(), first, &mut |_| ()).unwrap();
            assert!(found.end.next >= self.log.end().next, "{name}: an acknowledged record is lost");
            assert_eq!(found.end.length + found.torn, u64::try_from(bytes.len()).unwrap(), "{name}");
        }
    }

    fn run(&mut self, name: &str) {
        for round in 0..6 {
            for _ in 0..round % 3 + 1 {
                self.request();
            }
            let refusal = self.entry(Kind::Decision, Outcome::Deny);
            self.queue.note(refusal, self.now);
            let close = self.entry(Kind::Close, Outcome::Allow);
            assert!(self.queue.note(close, self.now), "{name}: an end has room");
            self.turn(name);
        }
        for _ in 0..6 {
            self.turn(name);
        }
    }
}

#[test]
fn holds_its_promises_whatever_call_fails() {
    for durability in [Durability::Sync, Durability::Async] {
        let mut calm = Rig::new(durability, FaultyStore::failing(usize::MAX, 0, Fault::Nothing));
        calm.run("calm");
        let calls = calm.store.calls();
        assert!(calls > 12, "the run rolls segments too: {calls}");
        let closes = calm.store.durable().matches(r#""kind":"close""#).count();
        for at in 0..calls {
            for (fault, times) in Fault::ALL.into_iter().flat_map(|fault| [(fault, 1), (fault, 2), (fault, 4)]) {
                let name = format!("{durability:?}, call {at}, {times} times, {fault:?}");
                let mut rig = Rig::new(durability, FaultyStore::failing(at, times, fault));
                rig.run(&name);
                rig.store.check(&name);
                assert!(!rig.log.is_ill(), "{name}: recovers");
                assert!(rig.at_once.is_empty(), "{name}: what was granted at once is written at last");
                assert!(rig.queue.is_empty(), "{name}");
                let durable = rig.store.durable();
                assert_eq!(durable.matches(r#""kind":"close""#).count(), closes, "{name}: no end is lost");
                let unwritten = rig.queue.unwritten();
                let lines = u64::try_from(durable.lines().count()).unwrap();
                assert_eq!(rig.log.end().next, lines, "{name}");
                assert!(unwritten.withdrawn + unwritten.refusals + lines <= u64::try_from(rig.ids).unwrap(), "{name}");
            }
        }
    }
}

#[test]
fn an_ill_log_leaves_the_store_alone() {
    let mut store = FaultyStore::failing(1, 1, Fault::Nothing);
    let mut log = Log::resume(End::default(), 1 << 20);
    let batch = |id| vec![entry(Kind::Decision, Some(Outcome::Allow), id)];
    let error = log.commit(batch(1), &mut store).unwrap_err();
    assert_eq!((error.source.step, error.batch), (Step::Sync, batch(1)));
    assert_eq!(error.source.to_string(), "decision log can't sync: I/O error");
    let calls = store.calls();
    let error = log.commit(batch(2), &mut store).unwrap_err();
    assert_eq!((error.source.step, store.calls()), (Step::Ill, calls));
    log.recover(&mut store).unwrap();
    let permits = log.commit(batch(3), &mut store).unwrap();
    assert_eq!(permits.iter().map(|permit| permit.id().as_u128()).collect::<Vec<_>>(), [3]);
    assert_eq!(log.end().next, 1);
    assert_eq!(log.committed(), store.durable().as_bytes());
}

#[test]
fn a_segment_ends_when_told_to_but_not_an_empty_one() {
    let mut store = FaultyStore::failing(usize::MAX, 0, Fault::Nothing);
    let mut log = Log::resume(End::default(), 1 << 20);
    let mut one = |log: &mut Log, id| {
        let before = log.end();
        log.commit(vec![entry(Kind::Close, None, id)], &mut store).unwrap();
        log.end().length > before.length
    };
    log.end_segment();
    assert!(one(&mut log, 1), "the first segment is empty");
    assert!(one(&mut log, 2));
    log.end_segment();
    assert!(!one(&mut log, 3), "a new segment");
    assert!(one(&mut log, 4), "one alone");
    let leaves: Vec<Hash> = log.leaves().collect();
    assert_eq!(leaves, [Hash::leaf(log.committed().strip_suffix(b"\n").unwrap())]);
    store.check("rolled");
}

#[test]
fn gives_permits_for_what_lets_through_and_for_nothing_else() {
    let mut store = FaultyStore::failing(usize::MAX, 0, Fault::Nothing);
    let batch = vec![
        entry(Kind::Decision, Some(Outcome::Deny), 1),
        entry(Kind::Decision, Some(Outcome::Observe), 2),
        entry(Kind::Close, Some(Outcome::Allow), 3),
        entry(Kind::Decision, Some(Outcome::Allow), 4).without_permit(),
        entry(Kind::Decision, Some(Outcome::Allow), 5),
    ];
    let permits = Log::resume(End::default(), 1 << 20).commit(batch, &mut store).unwrap();
    assert_eq!(permits.iter().map(|permit| permit.id().as_u128()).collect::<Vec<_>>(), [2, 5]);
    store.check("mixed");
    assert_eq!(store.durable().lines().count(), 5);
}
