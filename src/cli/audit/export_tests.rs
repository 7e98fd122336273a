//! Which segments an export reads, and what it reads beside what is asked for.

use std::fs;

use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::decision_log::{Detail, Kind, Record, SigningKey, seal};
use crate::evidence::testing::{allowed, closed, line, record};

fn at(mut record: Record, seconds: i64) -> Record {
    record.time = Timestamp::from_second(seconds).unwrap();
    record
}

fn heartbeat(seconds: i64, size: u64) -> Record {
    let mut record = at(record(Kind::Heartbeat, 900), seconds);
    let note = format!("sallyport/edge-1\n{size}\nAAAA=\n\n— sallyport/edge-1 BBBB\n");
    record.detail = Detail::new().with("checkpoint", std::sync::Arc::<str>::from(note));
    record
}

/// Five segments, an hour each, the last one not sealed. A tunnel of the third hour ends in the fourth.
fn directory() -> TempDir {
    let hours = [
        vec![at(record(Kind::Start, 800), 0), heartbeat(60, 1), heartbeat(120, 2)],
        vec![at(record(Kind::Decision, 1), 3_600)],
        vec![at(allowed(2), 7_200), at(record(Kind::Decision, 3), 7_201)],
        vec![at(closed(2), 10_800), at(allowed(4), 10_801)],
        vec![heartbeat(14_400, 8), at(record(Kind::Stop, 801), 14_401)],
    ];
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("segments")).unwrap();
    let vkey = SigningKey::from_seed(&[7; 32]).unwrap().verifier("sallyport/edge-1").unwrap();
    fs::write(dir.path().join("log.vkey"), format!("{vkey}\n")).unwrap();
    let mut first = 0;
    for (hour, records) in hours.iter().enumerate() {
        let lines: Vec<u8> = (first..).zip(records).flat_map(|(seq, record)| line(record, seq)).collect();
        let mut bytes = Vec::new();
        let name = if hour < 4 { "jsonl.zst" } else { "jsonl" };
        match hour {
            0..4 => drop(seal(&mut &lines[..], first, &mut bytes).unwrap()),
            _ => bytes = lines,
        }
        fs::write(dir.path().join(format!("segments/{first:012}.{name}")), bytes).unwrap();
        first += records.len() as u64;
    }
    dir
}

/// The manifest of an export, and its file.
fn taken(criteria: &Criteria, format: Format) -> (Manifest, String) {
    let dir = directory();
    let log = Log::open(dir.path()).unwrap();
    let folder = Folder::make(&dir.path().join("out")).unwrap();
    let taking = Taking::begin(&folder, format, Query::new(criteria.clone()).unwrap()).unwrap();
    let whole = taking.take(&log, criteria).unwrap();
    let text = fs::read_to_string(dir.path().join("out").join(format.file())).unwrap();
    let about = About {
        made_at: Timestamp::UNIX_EPOCH,
        origin: log.vkey.name().to_owned(),
        vkey: log.vkey.to_string(),
        format: format.word(),
        query: Queried::default(),
        checkpoint: whole.checkpoint,
        files: vec![whole.print],
        export_record: ExportRecord::No { why: String::new() },
    };
    (whole.survey.manifest(about), text)
}

#[test]
fn reads_what_the_time_asks_for_and_on_until_tunnels_end_by_table() {
    let hour = |hour: i64| Timestamp::from_second(hour * 3_600).ok();
    let span = |since, until| Criteria { since, until, ..Criteria::default() };
    // Numbers that were read, numbers that were asked for, the size of the tree head before.
    for (name, criteria, read, asked, before) in [
        ("all", span(None, None), (0, 9), (0, 9), None),
        ("an hour", span(hour(1), hour(2)), (3, 3), (3, 3), Some(2)),
        ("and on to the end of its tunnel", span(hour(2), hour(3)), (4, 7), (4, 5), Some(2)),
        ("with a tunnel that has no end", span(hour(3), hour(4)), (6, 9), (6, 7), Some(2)),
        ("until", span(None, hour(1)), (0, 2), (0, 2), None),
        ("since", span(hour(4), None), (8, 9), (8, 9), Some(8)),
        ("part of a segment", span(Timestamp::from_second(90).ok(), hour(1)), (0, 2), (2, 2), Some(2)),
    ] {
        for format in [Format::Csv, Format::Jsonl, Format::Ocsf] {
            let (manifest, _) = taken(&criteria, format);
            let ends = |range: &crate::evidence::Range| (range.first_seq.unwrap(), range.last_seq.unwrap());
            assert_eq!((ends(&manifest.read), ends(&manifest.exported)), (read, asked), "{name} {format:?}");
            assert_eq!(manifest.checkpoint_before.map(|head| head.size), before, "{name} {format:?}");
        }
    }
}

#[test]
fn a_tunnel_of_the_time_that_is_asked_for_has_its_end_in_the_table_alone() {
    let hour = |hour: i64| Timestamp::from_second(hour * 3_600).ok();
    let criteria =
        Criteria { since: hour(2), until: hour(3), outcome: vec!["allow".to_owned()], ..Criteria::default() };
    let (manifest, table) = taken(&criteria, Format::Csv);
    assert_eq!((table.lines().count(), manifest.rows["closed"], manifest.exported.records), (2, 1, 1), "{table}");
    assert!(table.contains(",client_closed,"), "{table}");
    let (_, lines) = taken(&criteria, Format::Jsonl);
    let kinds: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].clone()).collect();
    assert_eq!(kinds, ["decision"]);
    let (manifest, lines) = taken(&Criteria { reason: vec!["draining".to_owned()], ..criteria }, Format::Ocsf);
    assert_eq!((manifest.exported.records, manifest.read.records, &*lines), (0, 2, ""));
}
