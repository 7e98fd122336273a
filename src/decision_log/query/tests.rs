//! What a query finds is what reading everything finds, and it reads no more than it must.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::ops::ControlFlow;

use proptest::prelude::*;
use serde_json::Value;

use super::count::MAX_VALUES;
use super::*;
use crate::decision_log::MAX_LINE;
use crate::decision_log::sealed::testing::{Sort, id, lines, sorts, usual};
use crate::decision_log::sealed::{Sealed, seal};

pub(super) fn sealed(first: u64, plain: &[u8]) -> Sealed<Cursor<Vec<u8>>> {
    let mut file = Vec::new();
    seal(&mut &plain[..], first, &mut file).unwrap();
    Sealed::open(Cursor::new(file)).unwrap()
}

pub(super) fn list(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

pub(super) fn query(change: impl FnOnce(&mut Criteria)) -> Query {
    let mut criteria = Criteria::default();
    change(&mut criteria);
    Query::new(criteria).unwrap()
}

/// The numbers of the records found, each line checked to be the one that was written.
pub(super) fn found(query: &Query, sealed: &mut Sealed<impl Read + Seek>) -> Vec<u64> {
    let mut seqs = Vec::new();
    let mut each = |found: Found<'_>| {
        assert!(found.line.starts_with(format!(r#"{{"v":1,"seq":{},"#, found.facets.seq()).as_bytes()));
        assert!(found.line.ends_with(b"}"));
        seqs.push(found.facets.seq());
        ControlFlow::Continue(())
    };
    assert!(query.walk_sealed(sealed, &mut each).unwrap().is_continue());
    seqs
}

pub(super) fn found_plain(query: &Query, first: u64, mut plain: &[u8]) -> Vec<u64> {
    let mut seqs = Vec::new();
    let mut each = |found: Found<'_>| {
        seqs.push(found.facets.seq());
        ControlFlow::Continue(())
    };
    assert!(query.walk_plain(&mut plain, first, &mut each).unwrap().is_continue());
    seqs
}

/// Whether a record fits, by a reader that decodes everything.
fn fits(criteria: &Criteria, line: &[u8]) -> bool {
    let record: Value = serde_json::from_slice(line).unwrap();
    let time: Timestamp = record["time"].as_str().unwrap().parse().unwrap();
    let is_one = |field: &str, words: &Vec<String>| {
        words.is_empty() || words.iter().any(|word| record[field].as_str() == Some(word))
    };
    criteria.since.is_none_or(|since| time >= since)
        && criteria.until.is_none_or(|until| time < until)
        && [("kind", &criteria.kind), ("outcome", &criteria.outcome), ("customer", &criteria.customer)]
            .into_iter()
            .chain([("reason", &criteria.reason), ("source", &criteria.source), ("rule", &criteria.rule)])
            .chain([("host", &criteria.host), ("id", &criteria.id)])
            .all(|(field, words)| is_one(field, words))
}

fn wanted(criteria: &Criteria, first: u64, plain: &[u8]) -> Vec<u64> {
    let lines = plain.split_inclusive(|byte| *byte == b'\n');
    (first..).zip(lines).filter(|(_, line)| fits(criteria, line)).map(|(seq, _)| seq).collect()
}

/// How many of each value, counted by that reader.
fn counts(criteria: &Criteria, by: Facet, plain: &[u8]) -> BTreeMap<Option<String>, u64> {
    let mut counts = BTreeMap::new();
    for line in plain.split_inclusive(|byte| *byte == b'\n').filter(|line| fits(criteria, line)) {
        let record: Value = serde_json::from_slice(line).unwrap();
        *counts.entry(record[by.as_str()].as_str().map(str::to_owned)).or_default() += 1;
    }
    counts
}

fn some(words: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    prop_oneof![3 => Just(Vec::new()), 1 => prop::sample::subsequence(words, 1..words.len()).prop_map(|words| list(&words))]
}

fn criteria() -> impl Strategy<Value = Criteria> {
    let time =
        || prop::option::weighted(0.3, (0_i64..5_000_000).prop_map(|time| Timestamp::from_microsecond(time).unwrap()));
    let words = (
        some(&["decision", "close", "stop"]),
        some(&["allow", "deny", "error"]),
        some(&["allowed", "draining"]),
        some(&["customer0", "customer1", "nobody"]),
        some(&["ivr-east", "ivr-west"]),
        some(&["rule \u{1}0", "rule \u{1}2", "rule 1"]),
        some(&["a.test", "bc.test", "cc.test", "zz.test"]),
    );
    let id = prop_oneof![4 => Just(Vec::new()), 1 => (0_u64..200).prop_map(|seq| vec![id(seq)])];
    (time(), time(), words, id).prop_filter_map("no time in between", |(since, until, words, id)| {
        let (kind, outcome, reason, customer, source, rule, host) = words;
        let is_empty = since.zip(until).is_some_and(|(since, until)| since >= until);
        (!is_empty).then_some(Criteria { since, until, kind, outcome, reason, customer, source, rule, host, id })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn nothing_is_missed_and_nothing_added(first in 0_u64..100, sorts in sorts(1..200), criteria in criteria()) {
        let plain = lines(first, &sorts);
        let query = Query::new(criteria.clone()).unwrap();
        let want = wanted(&criteria, first, &plain);
        let mut sealed = sealed(first, &plain);
        prop_assert_eq!(&found(&query, &mut sealed), &want);
        prop_assert_eq!(&found_plain(&query, first, &plain), &want);
        for line in plain.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            prop_assert_eq!(query.matches(line), Ok(fits(&criteria, line)));
        }
    }

    #[test]
    fn counts_are_those_of_reading_everything(sorts in sorts(1..200), criteria in criteria(), by in 0..Facet::ALL.len()) {
        let (plain, by) = (lines(7, &sorts), Facet::ALL[by]);
        let query = Query::new(criteria.clone()).unwrap();
        let mut count = Count::new(query, by);
        count.sealed(&mut sealed(7, &plain)).unwrap();
        count.plain(&mut &plain[..], 7).unwrap();
        let Counts { rows, others } = count.finish();
        prop_assert!(rows.is_sorted_by(|(_, one), (_, next)| one >= next), "the most frequent first: {:?}", rows);
        let want: BTreeMap<_, _> = counts(&criteria, by, &plain).into_iter().map(|(value, count)| (value, 2 * count)).collect();
        prop_assert_eq!((rows.into_iter().collect::<BTreeMap<_, _>>(), others), (want, 0));
    }
}

/// Counts what is read.
struct Watched {
    file: Cursor<Vec<u8>>,
    read: usize,
}

impl Read for &mut Watched {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(into)?;
        self.read += read;
        Ok(read)
    }
}

impl Seek for &mut Watched {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[test]
fn only_what_may_match_is_read() {
    // Nine frames or so, of which each has 1,000 records; one customer after the other.
    let sorts: Vec<Sort> = usual(9_000)
        .into_iter()
        .zip(0_u64..)
        .map(|(sort, number)| Sort { customer: Some(u8::try_from(number / 1000).unwrap()), padding: 750, ..sort })
        .collect();
    let mut plain = Cursor::new(Vec::new());
    seal(&mut &lines(0, &sorts)[..], 0, &mut plain).unwrap();
    let summary = Sealed::open(plain.clone()).unwrap().summary().clone();
    assert!(summary.frames.len() > 6, "{} frames", summary.frames.len());
    let filters = 9_000 * 2 * 2 + 200;
    let frame = usize::try_from(summary.frames.iter().map(|frame| frame.compressed).max().unwrap()).unwrap();
    let time = |minute: i64| Some(Timestamp::from_second(minute * 60).unwrap());
    for (name, query, most, want) in [
        ("everything", query(|_| ()), usize::MAX, 9_000),
        ("one id", query(|criteria| criteria.id = vec![id(4_321)]), filters + frame, 1),
        ("one host", query(|criteria| criteria.host = list(&["h77.customer.test"])), filters + frame, 1),
        ("an id of no record", query(|criteria| criteria.id = vec![id(9_321)]), filters + frame, 0),
        ("one customer", query(|criteria| criteria.customer = list(&["customer3"])), 3 * frame, 1_000),
        ("no customer", query(|criteria| criteria.customer = list(&["customer9"])), 0, 0),
        ("no outcome of these", query(|criteria| criteria.outcome = list(&["error"])), 0, 0),
        ("ten minutes", query(|criteria| (criteria.since, criteria.until) = (time(500), time(510))), 2 * frame, 10),
        ("before all", query(|criteria| criteria.until = time(0)), 0, 0),
        ("after all", query(|criteria| criteria.since = time(9_000)), 0, 0),
        (
            "an id at another time",
            query(|criteria| (criteria.id, criteria.since) = (vec![id(4)], time(8_999))),
            filters + frame,
            0,
        ),
    ] {
        let mut watched = Watched { file: plain.clone(), read: 0 };
        let mut sealed = Sealed::open(&mut watched).unwrap();
        assert_eq!(found(&query, &mut sealed).len(), want, "{name}");
        assert!(watched.read <= most.saturating_add(opened(&plain)), "{name}: {} read, at most {most}", watched.read);
    }
}

/// Bytes that opening reads.
fn opened(file: &Cursor<Vec<u8>>) -> usize {
    let mut watched = Watched { file: file.clone(), read: 0 };
    Sealed::open(&mut watched).unwrap();
    watched.read
}

#[test]
fn summaries_alone_answer_what_they_can() {
    let plain = lines(0, &usual(100));
    let mut file = Vec::new();
    let summary = seal(&mut &plain[..], 0, &mut file).unwrap();
    // Whoever reads a frame of this one fails.
    let data = usize::try_from(summary.frames[0].compressed).unwrap();
    file[..data].fill(0);
    let time = |minute: i64| Some(Timestamp::from_second(minute * 60).unwrap());
    for (name, by, query, want) in [
        ("outcomes", Facet::Outcome, query(|_| ()), Some(vec![("deny", 90), ("allow", 10)])),
        (
            "customers of denials",
            Facet::Customer,
            query(|criteria| criteria.outcome = list(&["deny"])),
            Some(vec![("customer0", 90)]),
        ),
        (
            "all times",
            Facet::Kind,
            query(|criteria| (criteria.since, criteria.until) = (time(0), time(100))),
            Some(vec![("decision", 100)]),
        ),
        ("a minute less", Facet::Kind, query(|criteria| criteria.since = time(1)), None),
        ("a minute less at the end", Facet::Kind, query(|criteria| criteria.until = time(99)), None),
        ("hosts", Facet::Host, query(|_| ()), None),
        ("of a host", Facet::Kind, query(|criteria| criteria.host = list(&["**.test"])), None),
        ("of an id", Facet::Kind, query(|criteria| criteria.id = vec![id(7)]), None),
    ] {
        let mut count = Count::new(query, by);
        let counted = count.sealed(&mut Sealed::open(Cursor::new(file.clone())).unwrap());
        let rows = counted.ok().map(|()| count.finish().rows);
        let want = want.map(|rows| rows.into_iter().map(|(value, count)| (Some(value.to_owned()), count)).collect());
        assert_eq!(rows, want, "{name}");
    }
}

#[test]
fn a_summary_that_is_not_complete_answers_less_and_hides_nothing() {
    let line = |seq: u64| {
        let outcome = if seq.is_multiple_of(3) { "allow" } else { "deny" };
        format!(
            r#"{{"v":1,"seq":{seq},"time":"2026-11-21T10:00:00.000001Z","kind":"close","outcome":"{outcome}","rule":"r{seq}"}}"#
        ) + "\n"
    };
    let plain: String = (0..6_000).map(line).collect();
    let mut sealed = sealed(0, plain.as_bytes());
    assert!(!sealed.summary().complete);
    for rule in ["r0", "r5999"] {
        assert_eq!(found(&query(|criteria| criteria.rule = list(&[rule])), &mut sealed).len(), 1, "{rule}");
    }
    assert_eq!(found(&query(|criteria| criteria.outcome = list(&["error"])), &mut sealed), [0_u64; 0]);
    let mut rules = Count::new(query(|criteria| criteria.outcome = list(&["allow"])), Facet::Rule);
    rules.sealed(&mut sealed).unwrap();
    assert_eq!(rules.finish().rows.len(), 2_000, "read, as the summary does not have them all");
    let mut outcomes = Count::new(query(|_| ()), Facet::Outcome);
    outcomes.sealed(&mut sealed).unwrap();
    assert_eq!(outcomes.finish().rows, [(Some("deny".to_owned()), 4_000), (Some("allow".to_owned()), 2_000)]);
}

#[test]
fn a_plain_segment_may_be_growing_but_not_broken() {
    let plain = lines(7, &usual(3));
    let every = query(|_| ());
    for cut in 0..=plain.len() {
        let whole = plain[..cut].iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(found_plain(&every, 7, &plain[..cut]).len(), whole, "cut at {cut}");
    }
    let end = [&plain[..], &vec![b'x'; MAX_LINE + 1]].concat();
    for (name, first, bytes, want) in [
        ("a line too many", 8, &plain, "line 1 is not record 8: it has number 7; see what `audit verify` says"),
        (
            "a line that never ends",
            7,
            &end,
            "line 4 is not record 10: it is not one line of UTF-8 that ends in `}`, without control characters and of at most 16 KiB; see what `audit verify` says",
        ),
    ] {
        let error = every.walk_plain(&mut &bytes[..], first, &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert_eq!(error.to_string(), want, "{name}");
    }
}

#[test]
fn a_walk_ends_when_told_to() {
    let plain = lines(7, &usual(3));
    let mut seen = 0;
    let mut each = |_: Found<'_>| {
        seen += 1;
        if seen % 2 == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let every = query(|_| ());
    assert!(every.walk_plain(&mut &plain[..], 7, &mut each).unwrap().is_break());
    assert!(every.walk_sealed(&mut sealed(7, &plain), &mut each).unwrap().is_break());
    assert_eq!(seen, 4);
}

#[test]
fn values_that_clients_choose_are_bounded() {
    let line = |seq: usize| {
        format!(
            r#"{{"v":1,"seq":{seq},"time":"2026-11-21T10:00:00.000001Z","kind":"close","host":"h{}"}}"#,
            seq % (MAX_VALUES + 5)
        ) + "\n"
    };
    let plain: String = (0..MAX_VALUES + 8).map(line).collect();
    let mut count = Count::new(query(|_| ()), Facet::Host);
    count.plain(&mut plain.as_bytes(), 0).unwrap();
    let Counts { rows, others } = count.finish();
    assert_eq!((rows.len(), others), (MAX_VALUES, 5));
    assert_eq!(
        rows[..4].iter().map(|(_, count)| *count).collect::<Vec<_>>(),
        [2, 2, 2, 1],
        "known ones go on counting"
    );
}
