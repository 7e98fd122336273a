//! Batches, grants and refusals by a clock that the test owns.

use super::*;
use crate::decision_log::faulty::entry;
use crate::policy::Outcome;

const INTERVAL: Duration = Duration::from_millis(2);
const MS: Duration = Duration::from_millis(1);

fn queue(durability: Durability) -> Queue {
    Queue::new(Pace { durability, commit_interval: INTERVAL })
}

fn allow(id: u128) -> Entry {
    entry(Kind::Decision, Some(Outcome::Allow), id)
}

fn deny(id: u128) -> Entry {
    entry(Kind::Decision, Some(Outcome::Deny), id)
}

fn close(id: u128) -> Entry {
    entry(Kind::Close, Some(Outcome::Allow), id)
}

fn ids(batch: &[Entry]) -> Vec<u128> {
    batch.iter().map(|entry| entry.id().as_u128()).collect()
}

#[test]
fn a_batch_is_due_an_interval_after_its_first_record() {
    let start = Instant::now();
    for (durability, disk, window) in [
        (Durability::Sync, Duration::ZERO, INTERVAL),
        (Durability::Sync, MS, INTERVAL),
        (Durability::Async, Duration::ZERO, INTERVAL),
        (Durability::Async, MS / 4, INTERVAL - MS / 2),
        (Durability::Async, MS / 2, INTERVAL / 2),
        (Durability::Async, 10 * MS, INTERVAL / 2),
    ] {
        let mut queue = queue(durability);
        queue.took(disk);
        assert_eq!(queue.due(), None, "{durability:?}");
        queue.note(deny(1), start);
        assert!(queue.changed_due(), "{durability:?}");
        queue.note(deny(2), start + MS);
        assert!(!queue.changed_due(), "{durability:?}");
        assert_eq!(queue.due(), Some(start + window), "{durability:?}");
        assert_eq!(ids(&queue.take()), [1, 2], "{durability:?}");
        queue.note(deny(3), start + 3 * MS);
        assert_eq!(queue.due(), Some(start + 3 * MS + window), "{durability:?}");
    }
}

#[test]
fn a_slow_commit_is_forgotten_little_by_little() {
    let start = Instant::now();
    let mut queue = queue(Durability::Async);
    queue.note(deny(1), start);
    queue.took(MS);
    let mut windows = Vec::new();
    for _ in 0..24 {
        windows.push(queue.due().unwrap().saturating_duration_since(start));
        queue.took(MS / 100);
    }
    assert_eq!(windows.first(), Some(&(INTERVAL / 2)));
    assert!(windows.is_sorted(), "{windows:?}");
    assert!(windows.last().is_some_and(|window| *window > INTERVAL - MS / 8), "{windows:?}");
}

#[test]
fn a_full_batch_is_due_at_once_and_bounded() {
    let start = Instant::now();
    let mut queue = queue(Durability::Sync);
    let each = close(1).size();
    let count = MAX_BATCH / each + 1;
    for id in 0..=count {
        assert!(queue.note(close(id as u128), start));
    }
    assert_eq!(queue.due(), Some(start));
    assert!(queue.changed_due());
    let batch = queue.take();
    assert_eq!(batch.len(), (MAX_BATCH - 2 * MAX_LINE) / each);
    assert!(!queue.is_empty());
}

#[test]
fn sync_permits_wait_for_their_commit() {
    let now = Instant::now();
    let mut queue = queue(Durability::Sync);
    let Push::Wait(first) = queue.request(allow(1), now) else { panic!("waits") };
    queue.note(deny(2), now);
    let Push::Wait(second) = queue.request(close(3), now) else { panic!("waits") };
    let Push::Wait(third) = queue.request(allow(4), now) else { panic!("waits") };
    assert!(first < second && second < third);
    let permits = queue.take().iter().filter(|entry| entry.is_owed()).map(|entry| Permit::new(entry.id())).collect();
    assert!(queue.is_in_flight());
    let settled: Vec<_> = queue
        .settled(permits)
        .into_iter()
        .map(|settled| (settled.ticket, settled.permit.map(|permit| permit.id().as_u128())))
        .collect();
    assert_eq!(settled, [(first, Some(1)), (second, None), (third, Some(4))]);
    assert!(!queue.is_in_flight());
}

#[test]
fn async_grants_at_once_while_all_that_is_not_durable_is_young() {
    let start = Instant::now();
    for (name, in_flight, age, want) in [
        ("nothing before", None, Duration::ZERO, true),
        ("young, waiting", Some(false), INTERVAL - Duration::from_nanos(1), true),
        ("old, waiting", Some(false), INTERVAL, false),
        ("young, in flight", Some(true), INTERVAL - Duration::from_nanos(1), true),
        ("old, in flight", Some(true), INTERVAL, false),
    ] {
        let mut queue = queue(Durability::Async);
        if let Some(in_flight) = in_flight {
            assert!(matches!(queue.request(allow(1), start), Push::Granted(_)), "{name}");
            if in_flight {
                assert_eq!(queue.take().len(), 1, "{name}");
                queue.note(deny(2), start + age);
            }
        }
        let push = queue.request(allow(3), start + age);
        assert_eq!(matches!(push, Push::Granted(_)), want, "{name}: {push:?}");
        assert_eq!(matches!(push, Push::Wait(_)), !want, "{name}: {push:?}");
    }
}

#[test]
fn async_grants_again_once_the_late_commit_is_through() {
    let start = Instant::now();
    let mut queue = queue(Durability::Async);
    assert!(matches!(queue.request(allow(1), start), Push::Granted(_)));
    queue.take();
    let Push::Wait(ticket) = queue.request(allow(2), start + INTERVAL) else { panic!("waits") };
    assert!(queue.settled(Vec::new()).is_empty(), "what was granted at once is not named again");
    assert!(matches!(queue.request(allow(3), start + INTERVAL + MS), Push::Granted(_)));
    let batch = queue.take();
    assert_eq!(ids(&batch), [2, 3]);
    let settled = queue.settled(vec![Permit::new(batch[0].id())]);
    assert_eq!(settled.iter().map(|settled| settled.ticket).collect::<Vec<_>>(), [ticket]);
}

#[test]
fn failure_refuses_who_waits_and_keeps_what_nobody_waits_for() {
    let now = Instant::now();
    for (durability, kept, withdrawn) in
        [(Durability::Sync, vec![2, 3, 5], 2), (Durability::Async, vec![1, 2, 3, 4, 5], 0)]
    {
        let mut queue = queue(durability);
        let mut tickets = Vec::new();
        let ask = |queue: &mut Queue, id, tickets: &mut Vec<Ticket>| match queue.request(allow(id), now) {
            Push::Wait(ticket) => tickets.push(ticket),
            Push::Granted(_) | Push::Refused(_) => {}
        };
        ask(&mut queue, 1, &mut tickets);
        queue.note(deny(2), now);
        queue.note(close(3), now);
        let batch = queue.take();
        ask(&mut queue, 4, &mut tickets);
        queue.note(close(5), now);
        assert_eq!(queue.failed(batch, now), tickets, "{durability:?}");
        assert_eq!(queue.unwritten(), Unwritten { withdrawn, ..Unwritten::default() }, "{durability:?}");

        assert!(queue.is_ill());
        assert!(matches!(queue.request(allow(6), now), Push::Refused(Refusal::Ill)), "{durability:?}");
        assert!(!queue.note(deny(6), now), "{durability:?}: what it turned into counts");
        assert!(queue.note(close(7), now), "{durability:?}: ends wait");
        assert!(matches!(queue.request(close(8), now), Push::Refused(Refusal::Ill)), "{durability:?}");
        assert_eq!(queue.unwritten(), Unwritten { withdrawn, refusals: 1, closes: 1, others: 0 }, "{durability:?}");

        let kept: Vec<u128> = kept.into_iter().chain([7]).collect();
        assert_eq!(ids(&queue.take()), kept, "{durability:?}");
        queue.settled(Vec::new());
        queue.reported(queue.unwritten());
        queue.recovered();
        assert!(!queue.unwritten().any() && !queue.is_ill() && queue.is_empty(), "{durability:?}");
    }
}

#[test]
fn the_end_of_a_decision_that_failed_after_all_is_no_end_but_a_refusal() {
    let now = Instant::now();
    for (name, in_flight, before, want) in [
        ("the decision in flight, its end before the failure", true, true, 1),
        ("the decision in flight, its end after it", true, false, 1),
        ("the decision waiting", false, true, 1),
    ] {
        let mut queue = queue(Durability::Sync);
        assert!(matches!(queue.request(allow(1), now), Push::Wait(_)), "{name}");
        let batch = if in_flight { queue.take() } else { Vec::new() };
        queue.note(close(7), now);
        if before {
            assert!(queue.note(close(1), now), "{name}: it may yet be written");
        }
        assert_eq!(queue.failed(batch, now).len(), 1, "{name}");
        if !before {
            assert!(!queue.note(close(1), now), "{name}");
        }
        assert_eq!(queue.unwritten(), Unwritten { withdrawn: 1, refusals: want, closes: 0, others: 0 }, "{name}");
        assert_eq!(ids(&queue.take()), [7], "{name}: another end stays");
    }
}

#[test]
fn an_end_behind_a_decision_that_is_written_stays() {
    let now = Instant::now();
    let mut queue = queue(Durability::Sync);
    queue.request(allow(1), now);
    queue.take();
    queue.note(close(1), now);
    queue.settled(vec![Permit::new(allow(1).id())]);
    assert_eq!((ids(&queue.take()), queue.lost().any()), (vec![1], false));
}

#[test]
fn a_batch_that_nobody_ends_is_lost_when_it_closes() {
    let now = Instant::now();
    let mut queue = queue(Durability::Sync);
    queue.request(allow(1), now);
    queue.note(close(2), now);
    queue.take();
    queue.note(deny(3), now);
    queue.close();
    let lost = Unwritten { withdrawn: 1, refusals: 1, closes: 1, others: 0 };
    assert_eq!((queue.unwritten(), queue.lost()), (lost, lost));
    queue.reported(lost);
    assert_eq!((queue.unwritten(), queue.lost()), (Unwritten::default(), lost), "the sum stays");
}

#[test]
fn decisions_leave_room_for_the_ends_of_tunnels() {
    let now = Instant::now();
    let mut queue = queue(Durability::Async);
    let decisions = (0..).take_while(|id| queue.note(deny(*id), now)).count();
    assert_eq!(decisions, MAX_QUEUED / 4 * 3);
    assert!(matches!(queue.request(allow(1), now), Push::Refused(Refusal::Full)));
    assert_eq!(queue.unwritten().refusals, 1, "the one that found no room; what the request turns into counts later");
    let ends = (0..).take_while(|id| queue.note(close(*id), now)).count();
    assert_eq!(decisions + ends, MAX_QUEUED);
    assert_eq!(queue.unwritten().closes, 1);
    // What is in flight counts until it is durable.
    let batch = queue.take();
    assert!(!queue.note(close(1), now));
    queue.settled(Vec::new());
    assert_eq!((0..).take_while(|id| queue.note(close(*id), now)).count(), batch.len());
}

#[test]
fn bytes_are_bounded_too() {
    let now = Instant::now();
    let mut queue = queue(Durability::Sync);
    let mut record =
        crate::decision_log::Record::new(Kind::Close, jiff::Timestamp::UNIX_EPOCH, uuid::Uuid::nil(), "i".into());
    record.host = Some(crate::redact::clean(&[b'a'; 15_000], 15_000).text);
    let big = record.line();
    let count = (0..).take_while(|_| queue.note(big.clone(), now)).count();
    assert_eq!(count, MAX_QUEUED_BYTES / big.size());
}

#[test]
fn a_closed_queue_counts_what_it_has_and_what_comes() {
    let now = Instant::now();
    let mut queue = queue(Durability::Sync);
    queue.note(close(1), now);
    queue.note(deny(2), now);
    assert!(matches!(queue.request(allow(3), now), Push::Wait(_)));
    queue.close();
    assert!(!queue.note(close(4), now) && queue.is_empty());
    assert_eq!(queue.unwritten(), Unwritten { withdrawn: 1, refusals: 1, closes: 2, others: 0 });
}
