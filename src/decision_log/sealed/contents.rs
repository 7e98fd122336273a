//! Finds out what a segment has, frame by frame: its summary and its filters. The sealer writes them; `audit verify` makes them anew.
//! Not here: compression and files (`seal`, `reader`).
//! Source: own format, version 1.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::HashMap;

use memchr::memchr_iter;

use super::facets::{Facet, Facets, LineFault};
use super::filter::{Filters, Key};
use super::summary::{Frame, Group, Summary, VERSION};
use super::time::RecordTime;

/// Groups that a summary tells apart. A policy of 500 customers makes some 2,000; more would make the summary longer than it saves.
pub(super) const MAX_GROUPS: usize = 4096;

/// Bytes of all texts of these groups together: names of 128 bytes in all of them.
pub(super) const MAX_GROUP_TEXT: usize = 512 * 1024;

/// Groups that all frames together may list: as many as there are, in each of the 64 frames of a usual segment.
const MAX_LISTED: usize = 64 * MAX_GROUPS;

/// What the frames so far have.
#[derive(Debug)]
pub struct Contents {
    first: u64,
    next: u64,
    bytes: u64,
    times: Option<Times>,
    groups: Groups,
    frames: Vec<Frame>,
    filters: Filters,
    /// Of the frame under way; kept to be used again.
    keys: Vec<Key>,
}

/// Where a frame stands in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Its bytes there.
    pub compressed: u64,
}

/// A line that is not the record that belongs there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not record {seq}: it {fault}")]
pub struct LineError {
    /// Counted from 1, in the segment.
    pub line: u64,
    /// The number that its record should have.
    pub seq: u64,
    /// What is wrong with it.
    pub fault: LineFault,
}

#[derive(Debug, Clone, Copy)]
struct Times {
    first: RecordTime,
    last: RecordTime,
    earliest: RecordTime,
    latest: RecordTime,
}

#[derive(Debug, Default)]
struct Groups {
    /// The texts of a group, one behind the other → its place in the list.
    places: HashMap<Vec<u8>, usize>,
    list: Vec<Group>,
    /// Which of them the frame under way has.
    in_frame: Vec<bool>,
    text: usize,
    is_full: bool,
    /// For looking up; kept to be used again.
    key: Vec<u8>,
}

impl Contents {
    /// Nothing yet; `first` is the number of the first record.
    pub fn new(first: u64) -> Self {
        Self {
            first,
            next: first,
            bytes: 0,
            times: None,
            groups: Groups::default(),
            frames: Vec::new(),
            filters: Filters::default(),
            keys: Vec::new(),
        }
    }

    /// Adds the next frame, which has the lines `plain` and stands at `place`.
    ///
    /// # Errors
    /// A line is not the record that belongs there. What was added so far is then of no use.
    pub fn frame(&mut self, plain: &[u8], place: Place) -> Result<(), LineError> {
        let first_seq = self.next;
        let mut times: Option<Times> = None;
        for line in lines(plain) {
            let facets = record(line, self.next).map_err(|fault| self.error(fault))?;
            let time = facets.time();
            times = Some(times.map_or(Times::at(time), |times| times.and(Times::at(time))));
            self.keys.extend(Key::of(&facets));
            self.groups.count(&facets);
            self.next = self.next.saturating_add(1);
        }
        let Some(times) = times else { return Ok(()) };
        let plain = u64::try_from(plain.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(plain);
        self.times = Some(self.times.map_or(times, |before| before.and(times)));
        self.filters.push(&mut self.keys);
        self.keys.clear();
        let groups = self.groups.end_frame();
        let (earliest, latest) = (times.earliest, times.latest);
        let Place { offset, compressed } = place;
        self.frames.push(Frame { first_seq, offset, compressed, plain, earliest, latest, groups });
        Ok(())
    }

    /// All of it; `None`: there were no records.
    pub fn finish(mut self) -> Option<(Summary, Filters)> {
        let times = self.times?;
        let listed = self.frames.iter().fold(0_usize, |sum, frame| sum.saturating_add(frame.groups.len()));
        let complete = !self.groups.is_full && listed <= MAX_LISTED;
        if !complete {
            self.frames.iter_mut().for_each(|frame| frame.groups.clear());
        }
        let summary = Summary {
            version: VERSION,
            first_seq: self.first,
            last_seq: self.next.saturating_sub(1),
            first_time: times.first,
            last_time: times.last,
            earliest: times.earliest,
            latest: times.latest,
            bytes: self.bytes,
            complete,
            groups: self.groups.list,
            frames: self.frames,
        };
        Some((summary, self.filters))
    }

    fn error(&self, fault: LineFault) -> LineError {
        LineError { line: self.next.saturating_sub(self.first).saturating_add(1), seq: self.next, fault }
    }
}

impl Times {
    fn at(time: RecordTime) -> Self {
        Self { first: time, last: time, earliest: time, latest: time }
    }

    /// These, and `next` behind them.
    fn and(self, next: Self) -> Self {
        Self {
            first: self.first,
            last: next.last,
            earliest: self.earliest.min(next.earliest),
            latest: self.latest.max(next.latest),
        }
    }
}

impl Groups {
    fn count(&mut self, record: &Facets<'_>) {
        if self.look_up(&Facet::COUNTED, record) {
            return;
        }
        self.is_full |= !self.has_room();
        let told: &[Facet] = if self.is_full { &[Facet::Kind, Facet::Outcome] } else { &Facet::COUNTED };
        if !self.look_up(told, record) {
            self.add(told, record);
        }
    }

    /// Counts a record in the group that agrees with it in `told` and has nothing else, if there is one.
    fn look_up(&mut self, told: &[Facet], record: &Facets<'_>) -> bool {
        self.key.clear();
        for facet in told {
            // No text has these bytes: 0xff ends one, 0xfe stands for none.
            let text = record.get(*facet).map_or(b"\xfe".as_slice(), str::as_bytes);
            self.key.extend_from_slice(text);
            self.key.push(0xff);
        }
        let Some(place) = self.places.get(&self.key).copied() else { return false };
        if let (Some(group), Some(is_in_frame)) = (self.list.get_mut(place), self.in_frame.get_mut(place)) {
            group.count = group.count.saturating_add(1);
            *is_in_frame = true;
        }
        true
    }

    /// The places of the groups that the frame has; the next one has none yet.
    fn end_frame(&mut self) -> Vec<u32> {
        let found = (0_u32..).zip(&self.in_frame).filter(|(_, is_in_frame)| **is_in_frame).map(|(place, _)| place);
        let found = found.collect();
        self.in_frame.fill(false);
        found
    }

    fn has_room(&self) -> bool {
        !self.is_full && self.list.len() < MAX_GROUPS && self.text.saturating_add(self.key.len()) <= MAX_GROUP_TEXT
    }

    /// Adds the group that was looked up in vain, with its first record.
    fn add(&mut self, told: &[Facet], record: &Facets<'_>) {
        let get = |facet| record.get(facet).filter(|_| told.contains(&facet)).map(str::to_owned);
        self.places.insert(self.key.clone(), self.list.len());
        self.text = self.text.saturating_add(self.key.len());
        self.in_frame.push(true);
        self.list.push(Group {
            kind: get(Facet::Kind).unwrap_or_default(),
            outcome: get(Facet::Outcome),
            reason: get(Facet::Reason),
            customer: get(Facet::Customer),
            source: get(Facet::Source),
            rule: get(Facet::Rule),
            count: 1,
        });
    }
}

/// The lines of a frame, with their newlines; the last may lack it.
pub(in crate::decision_log) fn lines(plain: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = memchr_iter(b'\n', plain).map(|end| end.saturating_add(1)).chain([plain.len()]);
    ends.scan(0, |start, end| {
        let line = plain.get(*start..end);
        *start = end;
        line
    })
    .filter(|line| !line.is_empty())
}

/// Reads a line with its newline as record `seq`.
pub(in crate::decision_log) fn record(line: &[u8], seq: u64) -> Result<Facets<'_>, LineFault> {
    let facets = Facets::of(line.strip_suffix(b"\n").ok_or(LineFault::Text)?)?;
    if facets.seq() == seq { Ok(facets) } else { Err(LineFault::Number { seq: facets.seq() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_groups_are_bounded() {
        let line = br#"{"v":1,"seq":0,"time":"2026-11-21T10:00:00.000001Z","kind":"close"}"#;
        for (listed, complete) in [(MAX_LISTED - 1, true), (MAX_LISTED, false)] {
            let mut contents = Contents::new(0);
            contents.frame(&[&line[..], b"\n"].concat(), Place { offset: 0, compressed: 1 }).unwrap();
            let more = Frame { groups: vec![0; listed], ..contents.frames[0].clone() };
            contents.frames.push(more);
            let (summary, _) = contents.finish().unwrap();
            let lists: Vec<usize> = summary.frames.iter().map(|frame| frame.groups.len()).collect();
            assert_eq!(summary.complete, complete, "{listed} and 1");
            assert_eq!(lists, if complete { [1, listed] } else { [0, 0] }, "{listed} and 1");
        }
    }

    #[test]
    fn lines_are_cut_by_table() {
        for (plain, want) in
            [("", vec![]), ("a\n", vec!["a\n"]), ("a\nb", vec!["a\n", "b"]), ("\n\nb\n", vec!["\n", "\n", "b\n"])]
        {
            let cut: Vec<&[u8]> = lines(plain.as_bytes()).collect();
            assert_eq!(cut, want.iter().map(|line| line.as_bytes()).collect::<Vec<_>>(), "{plain:?}");
        }
    }
}
