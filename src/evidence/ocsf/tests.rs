//! One record of each kind, and what it becomes. That the events fit the schema is tried from outside.

use std::collections::BTreeSet;

use super::*;

/// A record, then its event, and so on. `VERSION` is this program's.
const GOLDEN: &str = include_str!("golden.jsonl");

#[test]
fn records_become_these_events() {
    let lines: Vec<&str> = GOLDEN.lines().collect();
    let mut kinds = BTreeSet::new();
    for pair in lines.chunks(2) {
        let [record, want] = pair else { panic!("a record without an event") };
        let event = event(record.as_bytes()).unwrap();
        assert_eq!(event, want.replace("\"VERSION\"", &format!("{:?}", env!("CARGO_PKG_VERSION"))), "of {record}");
        kinds.insert(Line::read(record.as_bytes()).unwrap().kind.as_str());
    }
    assert_eq!(kinds, Kind::ALL.into_iter().map(Kind::as_str).collect(), "each kind is tried");
}

#[test]
fn what_is_no_record_is_no_event() {
    assert!(matches!(event(b"{}"), Err(LineError::NotARecord(_))));
}

/// Every outcome with every reason, and every ending: the numbers agree with one another.
#[test]
fn what_was_refused_is_never_shown_as_allowed() {
    let records: Vec<&str> = GOLDEN.lines().step_by(2).collect();
    let of = |kind: &str| *records.iter().find(|record| record.contains(&format!("\"kind\":\"{kind}\""))).unwrap();
    for reason in crate::policy::Reason::ALL {
        for (kind, outcome) in [("decision", reason.outcome()), ("close", Outcome::Allow)] {
            let mut record: Value = serde_json::from_str(of(kind)).unwrap();
            (record["outcome"], record["reason"]) = (outcome.as_str().into(), reason.as_str().into());
            let event: Value = serde_json::from_str(&event(record.to_string().as_bytes()).unwrap()).unwrap();
            let numbers =
                ["activity_id", "action_id", "disposition_id", "status_id"].map(|name| event[name].as_u64().unwrap());
            let want = match (kind, outcome, reason.as_str()) {
                ("decision", Outcome::Allow, _) => [1, 1, 1, 1],
                ("decision", Outcome::Deny, _) => [5, 2, 2, 2],
                ("decision", Outcome::Error, _) => [4, 99, 27, 2],
                (_, _, word) if word.parse::<crate::policy::Ending>().is_ok() => [3, 2, 2, 2],
                // No tunnel ends so: a record of a later version, which is shown as cut short.
                _ => [3, 1, 1, 2],
            };
            assert_eq!(numbers, want, "{kind} {outcome} {reason}");
            assert_eq!(event["status_detail"], reason.facts().title, "{reason}");
        }
    }
}
