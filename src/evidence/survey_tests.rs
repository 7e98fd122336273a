//! What a manifest says of logs that are whole, and of logs that are not.

use super::*;
use crate::decision_log::{Detail, Record};
use crate::evidence::testing::{allowed, closed, line, record};
use crate::evidence::{Joiner, MAX_OPEN_BYTES};

fn about() -> About {
    About {
        made_at: Timestamp::from_second(9_000).unwrap(),
        origin: "sallyport/edge-1".to_owned(),
        vkey: "sallyport/edge-1+00000000+AAAA".to_owned(),
        format: "csv",
        query: Queried::default(),
        checkpoint: None,
        files: Vec::new(),
        export_record: ExportRecord::No { why: "not asked".to_owned() },
    }
}

fn at(kind: Kind, seconds: i64) -> Record {
    let mut record = record(kind, 0);
    record.time = Timestamp::from_second(seconds).unwrap();
    record
}

fn heartbeat(seconds: i64, detail: Detail) -> Record {
    let mut record = at(Kind::Heartbeat, seconds);
    record.detail = detail;
    record
}

/// The survey of these records, numbered, with those `from..to` asked for.
fn survey(records: &[(u64, Record)], wanted: std::ops::Range<u64>) -> Survey {
    let (mut survey, mut joiner) = (Survey::default(), Joiner::default());
    for (seq, record) in records {
        let line = line(record, *seq);
        let head = Head::read(&line).unwrap();
        survey.read(&head, &line).unwrap();
        if wanted.contains(seq) {
            survey.exported(&head);
        }
        joiner.push(&head, &line, wanted.contains(seq)).iter().filter(|row| row.wanted).for_each(|row| survey.row(row));
    }
    joiner.finish().iter().filter(|row| row.wanted).for_each(|row| survey.row(row));
    survey
}

fn numbered(records: Vec<Record>) -> Vec<(u64, Record)> {
    (0..).zip(records).collect()
}

#[test]
fn says_what_was_read_and_what_was_asked_for() {
    let records =
        numbered(vec![at(Kind::Start, 0), record(Kind::Decision, 1), allowed(2), closed(2), at(Kind::Stop, 4)]);
    let manifest = survey(&records, 1..4).manifest(about());
    assert_eq!(manifest.read.kinds, BTreeMap::from([("start", 1), ("decision", 2), ("close", 1), ("stop", 1)]));
    assert_eq!((manifest.read.records, manifest.read.first_seq, manifest.read.last_seq), (5, Some(0), Some(4)));
    assert_eq!(
        (manifest.exported.records, manifest.exported.first_seq, manifest.exported.last_seq),
        (3, Some(1), Some(3))
    );
    assert_eq!(manifest.exported.first_time.as_deref(), Some("1970-01-01T00:00:01.000000Z"));
    assert_eq!(manifest.exported.last_time.as_deref(), Some("1970-01-01T00:00:03.000000Z"));
    assert_eq!(manifest.rows, BTreeMap::from([("refused", 1), ("closed", 1)]));
    assert_eq!((manifest.missing, manifest.instance.as_deref()), (vec![], Some("edge-1")));
}

#[test]
fn nothing_has_a_manifest_too() {
    let manifest = Survey::default().manifest(about());
    assert_eq!((manifest.read, manifest.exported), (Range::default(), Range::default()));
    assert!(manifest.heartbeats.complete && manifest.runs.is_empty());
    assert!(!manifest.after_covers_all, "there is no checkpoint");
}

#[test]
fn gaps_are_named() {
    let records = [4_u64, 5, 9, 10, 12].map(|seq| (seq, record(Kind::Decision, 1)));
    let manifest = survey(&records, 0..99).manifest(about());
    assert_eq!(manifest.missing, [Missing { from: 6, to: 8 }, Missing { from: 11, to: 11 }]);
}

#[test]
fn heartbeats_are_owed_by_each_run_by_table() {
    let beats = |times: &[i64]| times.iter().map(|time| heartbeat(*time, Detail::new())).collect::<Vec<_>>();
    let run = |first: i64, beats: Vec<Record>, last: Record| [vec![at(Kind::Start, first)], beats, vec![last]].concat();
    for (name, records, expected, found, complete, ends) in [
        ("a whole run", run(0, beats(&[60, 120]), at(Kind::Stop, 150)), 2, 2, true, vec!["stopped"]),
        ("one that is late", run(0, beats(&[61]), at(Kind::Stop, 120)), 2, 1, true, vec!["stopped"]),
        ("two that are missing", run(0, beats(&[60]), at(Kind::Stop, 180)), 3, 1, false, vec!["stopped"]),
        ("a run that goes on", run(0, beats(&[60]), at(Kind::Decision, 61)), 1, 1, true, vec!["goes_on"]),
        ("begun before", beats(&[60, 120, 180]), 2, 3, true, vec!["goes_on"]),
        (
            "a crash, an hour, a run",
            [run(0, beats(&[60]), at(Kind::Decision, 90)), run(3690, beats(&[3750]), at(Kind::Stop, 3760))].concat(),
            2,
            2,
            true,
            vec!["cut_off", "stopped"],
        ),
        (
            "what one run lacks, the other does not make up for",
            [run(0, beats(&[]), at(Kind::Stop, 180)), run(200, beats(&[201, 202, 203]), at(Kind::Stop, 210))].concat(),
            3,
            3,
            false,
            vec!["stopped", "stopped"],
        ),
        ("a clock that stepped back", run(600, beats(&[60]), at(Kind::Stop, 70)), 0, 1, true, vec!["stopped"]),
    ] {
        let manifest = survey(&numbered(records), 0..0).manifest(about());
        assert_eq!(manifest.heartbeats, Heartbeats { expected, found, complete }, "{name}");
        assert_eq!(manifest.runs.iter().map(|run| run.ended).collect::<Vec<_>>(), ends, "{name}");
    }
}

#[test]
fn runs_have_their_ends() {
    let records = vec![at(Kind::Decision, 5), at(Kind::Stop, 6), at(Kind::Start, 70), at(Kind::Decision, 131)];
    let runs = survey(&numbered(records), 0..0).manifest(about()).runs;
    let want = |start_seq, stop_seq, first_time: &str, last_time: &str, ended, heartbeats_expected| Run {
        start_seq,
        stop_seq,
        first_time: first_time.to_owned(),
        last_time: last_time.to_owned(),
        ended,
        heartbeats_expected,
        heartbeats_found: 0,
    };
    assert_eq!(
        runs,
        [
            want(None, Some(1), "1970-01-01T00:00:05.000000Z", "1970-01-01T00:00:06.000000Z", "stopped", 0),
            want(Some(2), None, "1970-01-01T00:01:10.000000Z", "1970-01-01T00:02:11.000000Z", "goes_on", 1),
        ]
    );
}

fn note(size: u64) -> String {
    format!("sallyport/edge-1\n{size}\nAAAA=\n\n— sallyport/edge-1 BBBB\n")
}

#[test]
fn tree_heads_stand_at_both_ends() {
    let signed = |seconds, size: u64| {
        heartbeat(seconds, Detail::new().with("checkpoint", std::sync::Arc::<str>::from(note(size))))
    };
    let records = numbered(vec![
        signed(0, 0),
        signed(60, 1),
        record(Kind::Decision, 61),
        signed(120, 3),
        record(Kind::Decision, 121),
    ]);
    let head = |size| TreeHead { size, root: "AAAA=".to_owned(), note: note(size) };
    for (name, wanted, before) in [
        ("all", 0..9, Some(head(0))),
        ("from the decision on", 2..9, Some(head(1))),
        ("the last", 4..9, Some(head(3))),
        ("none", 0..0, Some(head(3))),
    ] {
        assert_eq!(survey(&records, wanted).manifest(about()).checkpoint_before, before, "{name}");
    }
    // One that claims to cover its own record is none.
    assert_eq!(survey(&[(0, signed(0, 1))], 0..0).manifest(about()).checkpoint_before, None);

    let mut looked_back = Survey::default();
    looked_back.looked_back(head(7));
    assert_eq!(looked_back.manifest(about()).checkpoint_before, Some(head(7)));

    for (size, covers) in [(4, false), (5, true)] {
        let about = About { checkpoint: Some(note(size)), ..about() };
        let manifest = survey(&records, 0..9).manifest(about);
        assert_eq!((manifest.checkpoint_after, manifest.after_covers_all), (Some(head(size)), covers), "{size}");
    }
    for bad in ["", "a\n1\nb", "a\n-1\nb\n\n", "a\n1\n\n"] {
        assert_eq!(TreeHead::read(bad), None, "{bad:?}");
    }
}

#[test]
fn what_lacks_at_the_ends_is_missing_too() {
    let records: Vec<Record> = (0..9).map(|second| at(Kind::Close, second)).collect();
    let lacks = |from, to| vec![Missing { from, to }];
    for (name, from, to, want) in [
        ("nothing is expected", None, None, vec![]),
        ("all is there", Some(3), Some(6), vec![]),
        ("more is there", Some(3), Some(5), vec![]),
        ("the beginning", Some(0), Some(6), lacks(0, 2)),
        ("the end", Some(3), Some(9), lacks(6, 8)),
        ("the end alone", None, Some(7), lacks(6, 6)),
    ] {
        let mut survey = Survey::default();
        survey.expect(from, to);
        for (seq, record) in (3..6).zip(&records) {
            let line = line(record, seq);
            survey.read(&Head::read(&line).unwrap(), &line).unwrap();
        }
        assert_eq!(survey.manifest(about()).missing, want, "{name}");
    }
    let mut survey = Survey::default();
    survey.expect(Some(0), Some(4));
    assert_eq!(survey.manifest(about()).missing, lacks(0, 3), "all of it");
}

#[test]
fn tunnels_without_an_end_are_listed() {
    let records = numbered(vec![allowed(1), at(Kind::Start, 2), allowed(3), allowed(4), closed(4)]);
    let unclosed = survey(&records, 0..9).manifest(about()).unclosed;
    let ids = [1, 3].map(|number| record(Kind::Close, number).id.to_string()).to_vec();
    assert_eq!(unclosed, Unclosed { unclosed: 1, open: 1, ids, ids_left_out: 0 });
    assert_eq!(survey(&records, 4..9).manifest(about()).unclosed, Unclosed::default(), "nobody asked for them");
}

#[test]
fn lists_have_an_end() {
    let extra = 7;
    let count = u32::try_from(MAX_LISTED).unwrap() + extra;
    let waiting = u64::from(count) * 700;
    assert!(waiting < u64::try_from(MAX_OPEN_BYTES).unwrap());
    let records: Vec<_> = (1..=count).map(|number| (u64::from(number) * 2, allowed(number))).collect();
    let manifest = survey(&records, 0..u64::MAX).manifest(about());
    assert_eq!((manifest.unclosed.ids.len(), manifest.unclosed.ids_left_out), (MAX_LISTED, u64::from(extra)));
    assert_eq!((manifest.missing.len(), manifest.missing_left_out), (MAX_LISTED, u64::from(extra) - 1));
    let starts: Vec<_> = (0..u64::from(count)).map(|seq| (seq, at(Kind::Start, 1))).collect();
    let manifest = survey(&starts, 0..0).manifest(about());
    assert_eq!((manifest.runs.len(), manifest.runs_left_out), (MAX_LISTED, u64::from(extra)));
}

#[test]
fn the_clock_is_what_heartbeats_say() {
    let clock = |synchronized: bool, offset: i64| {
        let clock =
            Detail::new().with("synchronized", synchronized).with("offset_us", offset).with("max_error_us", 9_u64);
        heartbeat(0, Detail::new().with("clock", clock))
    };
    let mut step = at(Kind::ControlFailure, 1);
    step.detail = Detail::new().with("what", "clock").with("offset_ms", -3_i64);
    let mut other = step.clone();
    other.detail = Detail::new().with("what", "decision_log");
    let records = numbered(vec![clock(true, 12), clock(false, -40), clock(true, 3), step, other]);
    let said = survey(&records, 0..0).manifest(about()).clock;
    assert_eq!(said, Clock { min_offset_us: Some(-40), max_offset_us: Some(12), unsynchronized: 1, steps_back: 1 });
}

#[test]
fn the_text_is_json_with_every_field() {
    let text = survey(&numbered(vec![allowed(1)]), 0..9).manifest(about()).text();
    assert!(text.ends_with("}\n"));
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["manifest"], 1);
    assert_eq!(value["missing"], serde_json::json!([]));
    assert_eq!(value["export_record"], serde_json::json!({"left": "no", "why": "not asked"}));
    assert_eq!(value["made_at"], "1970-01-01T02:30:00.000000Z");
    assert_eq!(value.as_object().unwrap().len(), 23);
}
