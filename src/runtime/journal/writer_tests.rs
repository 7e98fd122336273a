//! The writer's thread over a store that fails on purpose.

use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, mpsc};

use super::*;
use crate::decision_log::faulty::{Fault, FaultyStore, entry};
use crate::decision_log::{Durability, End as LogEnd, Log, Pace};
use crate::policy::Outcome;
use crate::runtime::journal::house::House;
use crate::runtime::journal::{COMMIT_DEADLINE, Journal, Unavailable};

const DEADLINE: Duration = Duration::from_secs(10);

fn journal(durability: Durability, store: &FaultyStore) -> (Journal, mpsc::Receiver<String>) {
    let (says, said) = mpsc::channel();
    let house = House {
        instance: "edge-1".into(),
        key: "unused".into(),
        watch: Arc::new(move |event| drop(says.send(format!("{event:?}")))),
        place: Mutex::default(),
        given: AtomicBool::new(false),
        shared: Arc::new(Shared::new(Pace { durability, commit_interval: Duration::from_millis(1) })),
        kept: Arc::new(Kept::new()),
    };
    let book = Book::own(Log::resume(LogEnd::default(), 1 << 20), store.clone());
    (Journal::start(house, (book, None), None).unwrap(), said)
}

fn allow(id: u128) -> Entry {
    entry(Kind::Decision, Some(Outcome::Allow), id)
}

fn until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < DEADLINE, "{what}");
        std::thread::yield_now();
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

#[test]
fn every_permit_has_its_record_and_each_its_own() {
    for durability in [Durability::Sync, Durability::Async] {
        let store = FaultyStore::failing(usize::MAX, 0, Fault::Nothing);
        let (journal, _said) = journal(durability, &store);
        let journal = Arc::new(journal);
        runtime().block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            let local = tokio::task::LocalSet::new();
            for id in 0..500 {
                let (journal, store) = (Arc::clone(&journal), store.clone());
                tasks.spawn_local_on(
                    async move {
                        journal.note(entry(Kind::Decision, Some(Outcome::Deny), 10_000 + id));
                        let permit = journal.commit(allow(id)).await.unwrap();
                        assert_eq!(permit.id().as_u128(), id);
                        let is_durable = store.durable().contains(&permit.id().to_string());
                        assert!(is_durable || durability == Durability::Async, "{id}");
                        journal.note(entry(Kind::Close, Some(Outcome::Allow), id));
                    },
                    &local,
                );
            }
            local
                .run_until(async {
                    while let Some(done) = tasks.join_next().await {
                        done.unwrap()
                    }
                })
                .await;
        });
        assert!(!journal.shutdown().any(), "{durability:?}");
        store.check("all");
        assert_eq!(store.durable().lines().count(), 1500, "{durability:?}");
    }
}

#[test]
fn a_call_that_fails_refuses_turns_red_and_heals() {
    let mut calls = 0;
    for durability in [Durability::Sync, Durability::Async] {
        for (at, fault) in (0..4).flat_map(|at| Fault::ALL.map(|fault| (at, fault))) {
            let name = format!("{durability:?}, call {at}, {fault:?}");
            let store = FaultyStore::failing(at, usize::MAX, fault);
            let (journal, said) = journal(durability, &store);
            runtime().block_on(async {
                let mut id = 0;
                // Until the fault has struck; the first and the second commit have calls 0 to 3.
                while journal.healthy() && id < 100_000 {
                    id += 1;
                    if let Ok(permit) = journal.commit(allow(id)).await {
                        let is_durable = store.durable().contains(&permit.id().to_string());
                        assert!(is_durable || durability == Durability::Async, "{name}");
                    }
                }
                assert!(id < 100_000, "{name}: turns red");
                assert_eq!(journal.commit(allow(0xbad)).await.err(), Some(Unavailable::Ill), "{name}");
            });
            journal.note(entry(Kind::Decision, Some(Outcome::Deny), 0xbad));
            journal.note(entry(Kind::Close, Some(Outcome::Allow), 0xc105e));
            store.heal();
            until("heals", || journal.healthy());
            // It is told behind the moment at which the log is well again.
            let mut told = std::iter::from_fn(|| said.recv_timeout(DEADLINE).ok());
            assert!(told.any(|event| event.starts_with("Recovered")), "{name}");
            assert!(!journal.shutdown().any(), "{name}");
            store.check(&name);
            let durable = store.durable();
            let reports = durable.lines().filter(|line| line.contains(r#""kind":"control_failure""#));
            assert_eq!(reports.clone().count(), 1, "{name}: {durable}");
            let wanted = r#""refusals":1,"closes":0,"others":0"#;
            assert!(reports.clone().all(|line| line.contains(wanted)), "{name}: {durable}");
            assert!(durable.contains("c105e"), "{name}: the end is kept");
            assert!(!durable.contains(&uuid::Uuid::from_u128(0xbad).to_string()), "{name}");
            calls += 1;
        }
    }
    assert_eq!(calls, 24);
}

#[test]
fn what_async_granted_is_written_after_recovery() {
    let store = FaultyStore::failing(0, 1, Fault::Half);
    let (journal, _said) = journal(Durability::Async, &store);
    let granted = runtime().block_on(async { journal.commit(allow(1)).await.unwrap().id() });
    until("turns red", || !journal.healthy());
    until("heals", || journal.healthy());
    assert!(store.durable().contains(&granted.to_string()));
}

#[test]
fn a_commit_that_hangs_turns_it_red_until_it_ends() {
    let store = FaultyStore::failing(usize::MAX, 0, Fault::Nothing);
    let shared = Arc::new(Shared::new(Pace { durability: Durability::Sync, commit_interval: Duration::ZERO }));
    let log = Log::resume(LogEnd::default(), 1 << 20);
    let mut writer = Writer::new(
        (Arc::clone(&shared), Arc::new(Kept::new())),
        Book::own(log, store),
        ("edge-1".into(), None, Arc::new(|_| ())),
    );
    let is_healthy = || shared.is_healthy(Instant::now());
    shared.stalled();
    assert!(is_healthy(), "nothing is under way: the wait ended just now");
    shared.lock().queue.note(allow(1), Instant::now());
    let batch = shared.lock().queue.take();
    shared.stalled();
    assert!(!is_healthy());
    assert!(writer.commit(batch, None) && is_healthy());
}

#[test]
fn a_commit_that_hangs_turns_it_red_though_nobody_waits() {
    let shared = Shared::new(Pace { durability: Durability::Async, commit_interval: Duration::ZERO });
    let start = Instant::now();
    assert!(shared.is_healthy(start + DEADLINE), "nothing is under way");
    shared.begins(start);
    let almost = COMMIT_DEADLINE - Duration::from_millis(1);
    assert!(shared.is_healthy(start + almost) && !shared.is_healthy(start + COMMIT_DEADLINE));
    let store = FaultyStore::failing(usize::MAX, 0, Fault::Nothing);
    let log = Log::resume(LogEnd::default(), 1 << 20);
    let shared = Arc::new(shared);
    let mut writer = Writer::new(
        (Arc::clone(&shared), Arc::new(Kept::new())),
        Book::own(log, store),
        ("edge-1".into(), None, Arc::new(|_| ())),
    );
    assert!(writer.commit(Vec::new(), None) && shared.is_healthy(Instant::now() + DEADLINE), "its end");
}

#[test]
fn a_wait_in_vain_that_meets_the_end_of_the_commit_leaves_no_red() {
    for round in 0..200 {
        let store = FaultyStore::failing(usize::MAX, 0, Fault::Nothing);
        let shared = Arc::new(Shared::new(Pace { durability: Durability::Sync, commit_interval: Duration::ZERO }));
        let log = Log::resume(LogEnd::default(), 1 << 20);
        let mut writer = Writer::new(
            (Arc::clone(&shared), Arc::new(Kept::new())),
            Book::own(log, store),
            ("edge-1".into(), None, Arc::new(|_| ())),
        );
        shared.lock().queue.note(allow(1), Instant::now());
        let batch = shared.lock().queue.take();
        std::thread::scope(|scope| {
            scope.spawn(|| shared.stalled());
            writer.commit(batch, None);
        });
        assert!(shared.is_healthy(Instant::now()), "round {round}");
    }
}

#[test]
fn lost_records_are_told_once() {
    let store = FaultyStore::failing(0, usize::MAX, Fault::Nothing);
    let (journal, said) = journal(Durability::Sync, &store);
    runtime().block_on(async { assert!(journal.commit(allow(1)).await.is_err()) });
    until("turns red", || !journal.healthy());
    journal.note(entry(Kind::Decision, Some(Outcome::Deny), 1));
    journal.note(entry(Kind::Close, Some(Outcome::Allow), 2));
    assert_eq!(journal.shutdown().sum(), 3);
    let lost: Vec<String> = said.try_iter().filter(|event| event.starts_with("Lost")).collect();
    for word in ["withdrawn: 1", "refusals: 1", "closes: 1"] {
        assert_eq!(lost.iter().filter(|event| event.contains(word)).count(), 1, "`{word}` in {lost:?}");
    }
}

#[test]
fn a_stop_is_the_last_record_also_of_a_log_that_was_ill() {
    let store = FaultyStore::failing(0, usize::MAX, Fault::Nothing);
    let (journal, _said) = journal(Durability::Sync, &store);
    journal.note(entry(Kind::Close, Some(Outcome::Allow), 1));
    until("turns red", || !journal.healthy());
    journal.note(entry(Kind::Decision, Some(Outcome::Deny), 2));
    journal.note(entry(Kind::Stop, None, 3));
    store.heal();
    assert!(!journal.shutdown().any());
    let kinds: Vec<bool> = ["control_failure", "close", "stop"]
        .iter()
        .zip(store.durable().lines())
        .map(|(kind, line)| line.contains(&format!(r#""kind":"{kind}""#)))
        .collect();
    assert_eq!(kinds, [true; 3], "{}", store.durable());
}

#[test]
fn a_log_that_ends_reports_what_found_no_room_just_now() {
    let store = FaultyStore::failing(usize::MAX, 0, Fault::Nothing);
    let shared = Arc::new(Shared::new(Pace { durability: Durability::Sync, commit_interval: Duration::ZERO }));
    let log = Log::resume(LogEnd::default(), 1 << 20);
    let mut writer = Writer::new(
        (Arc::clone(&shared), Arc::new(Kept::new())),
        Book::own(log, store.clone()),
        ("edge-1".into(), None, Arc::new(|_| ())),
    );
    writer.reported = Some(Instant::now());
    let now = Instant::now();
    let refusals =
        (0..).take_while(|id| shared.lock().queue.note(entry(Kind::Decision, Some(Outcome::Deny), *id), now));
    assert!(refusals.count() > 0);
    shared.close();
    writer.run();
    assert_eq!(store.durable().matches(r#""what":"decision_log","withdrawn":0,"refusals":1"#).count(), 1);
    assert!(!shared.lock().queue.unwritten().any());
}

#[test]
fn dropping_a_wait_harms_nobody() {
    let store = FaultyStore::failing(usize::MAX, 0, Fault::Nothing);
    let (journal, _said) = journal(Durability::Sync, &store);
    runtime().block_on(async {
        {
            let mut wait = std::pin::pin!(journal.commit(allow(1)));
            assert!(futures_poll(wait.as_mut()).is_pending());
        }
        assert_eq!(journal.commit(allow(2)).await.unwrap().id().as_u128(), 2);
    });
    journal.shutdown();
    assert_eq!(store.durable().lines().count(), 2, "the record stays");
}

fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

#[test]
fn a_closed_journal_refuses_and_counts() {
    let store = FaultyStore::failing(usize::MAX, 0, Fault::Nothing);
    let (journal, _said) = journal(Durability::Sync, &store);
    journal.note(entry(Kind::Stop, None, 1));
    assert!(!journal.shutdown().any());
    assert!(!journal.healthy());
    assert_eq!(store.durable().lines().count(), 1, "what waited is written");
    assert_eq!(runtime().block_on(journal.commit(allow(2))).err(), Some(Unavailable::Closed));
    journal.note(entry(Kind::Close, Some(Outcome::Allow), 3));
    assert_eq!(journal.shutdown(), Unwritten { closes: 1, ..Unwritten::default() });
}

#[test]
fn a_journal_that_ends_ill_says_what_is_lost() {
    let store = FaultyStore::failing(0, usize::MAX, Fault::Nothing);
    let (journal, _said) = journal(Durability::Sync, &store);
    journal.note(entry(Kind::Close, Some(Outcome::Allow), 1));
    until("turns red", || !journal.healthy());
    assert_eq!(journal.shutdown(), Unwritten { closes: 1, ..Unwritten::default() });
}

#[test]
fn a_record_that_lets_nothing_through_gives_no_permit_but_can_be_waited_for() {
    let store = FaultyStore::failing(usize::MAX, 0, Fault::Nothing);
    let (journal, _said) = journal(Durability::Async, &store);
    runtime().block_on(async {
        journal.record(entry(Kind::Start, None, 1)).await.unwrap();
        assert_eq!(store.durable().lines().count(), 1);
        let denied = journal.commit(entry(Kind::Decision, Some(Outcome::Deny), 2)).await;
        assert_eq!(denied.err(), Some(Unavailable::NoPermit));
    });
}

#[test]
fn a_clock_that_steps_back_leaves_a_record() {
    let store = FaultyStore::failing(usize::MAX, 0, Fault::Nothing);
    let shared = Arc::new(Shared::new(Pace { durability: Durability::Sync, commit_interval: Duration::ZERO }));
    let log = Log::resume(LogEnd::default(), 1 << 20);
    let mut writer = Writer::new(
        (shared, Arc::new(Kept::new())),
        Book::own(log, store.clone()),
        ("edge-1".into(), None, Arc::new(|_| ())),
    );
    let now = clock::now();
    let (half, hour) = (SignedDuration::from_millis(500), SignedDuration::from_hours(1));
    let idle = Duration::from_secs(3600);
    for (name, latest, want) in [
        ("nothing before", None, 0),
        ("half a second back", Some(Latest(Instant::now(), now + half)), 0),
        ("an hour back", Some(Latest(Instant::now(), now + hour)), 1),
        ("an hour without a record", Some(Latest(Instant::now() - idle, now - hour)), 1),
        ("an hour without a record, and back by as much", Some(Latest(Instant::now() - idle, now)), 2),
    ] {
        writer.latest = latest;
        writer.commit(vec![entry(Kind::Heartbeat, None, 1)], None);
        let found = store.durable().matches(r#""what":"clock","offset_ms":-3"#).count();
        assert_eq!(found, want, "{name}: {}", store.durable());
    }
    assert!(writer.latest.is_some_and(|Latest(_, time)| time < now + hour), "one step, one record");
}
