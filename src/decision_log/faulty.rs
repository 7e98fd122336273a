//! A store in memory that fails on purpose, at the call that the test names and in the way that it names.
//! Not here: the disk (`runtime::journal`). It keeps apart what was written and what a crash would leave.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use super::entry::Entry;
use super::log::{End, Store};
use super::record::{Kind, Record};
use super::scan::is_record;
use crate::policy::Outcome;

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing is done.
    Nothing,
    /// Half is done: half of the bytes are written, or durable.
    Half,
    /// All is done, and an error reported nevertheless.
    Whole,
}

impl Fault {
    pub(crate) const ALL: [Fault; 3] = [Fault::Nothing, Fault::Half, Fault::Whole];

    fn of(self, count: usize) -> usize {
        match self {
            Fault::Nothing => 0,
            Fault::Half => count / 2,
            Fault::Whole => count,
        }
    }
}

/// Shared with the writer's thread; clones are the same store.
#[derive(Debug, Clone, Default)]
pub(crate) struct FaultyStore(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    segments: Vec<Segment>,
    calls: usize,
    /// From this call on, so many calls fail.
    faults: Option<(usize, usize, Fault)>,
    /// Since the last error but `reopen` was no call.
    sync_forbidden: bool,
}

#[derive(Debug, Default)]
struct Segment {
    first: u64,
    written: Vec<u8>,
    durable: usize,
}

impl FaultyStore {
    /// Calls `at`, `at + 1`, … (`times` of them, counted from 0) fail.
    pub(crate) fn failing(at: usize, times: usize, fault: Fault) -> Self {
        let state = State { faults: Some((at, times, fault)), segments: vec![Segment::default()], ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// From now on no call fails.
    pub(crate) fn heal(&self) {
        self.state().faults = None;
    }

    pub(crate) fn calls(&self) -> usize {
        self.state().calls
    }

    /// What a crash now would surely leave: the lines of all segments, in order.
    pub(crate) fn durable(&self) -> String {
        let bytes =
            self.state().segments.iter().flat_map(|segment| segment.written[..segment.durable].to_vec()).collect();
        String::from_utf8(bytes).unwrap()
    }

    /// What a crash now might leave of the newest segment, if `lucky` bytes more than the durable ones got there.
    pub(crate) fn crashed(&self, lucky: usize) -> (u64, Vec<u8>) {
        let state = self.state();
        let segment = state.segments.last().unwrap();
        let end = segment.durable.saturating_add(lucky).min(segment.written.len());
        (segment.first, segment.written[..end].to_vec())
    }

    /// Checks what always holds: whole records, numbered without gap or repeat, each segment named by its first.
    pub(crate) fn check(&self, name: &str) {
        let state = self.state();
        let mut next = 0;
        for segment in &state.segments {
            assert_eq!(segment.first, next, "{name}: segments follow each other");
            for line in segment.written[..segment.durable].split_inclusive(|byte| *byte == b'\n') {
                assert!(is_record(line, next), "{name}: record {next} is `{}`", line.escape_ascii());
                next += 1;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    fn fault(&mut self) -> Option<Fault> {
        let call = self.calls;
        self.calls += 1;
        let (at, times, fault) = self.faults?;
        (at..at.saturating_add(times)).contains(&call).then_some(fault)
    }

    fn newest(&mut self) -> &mut Segment {
        self.segments.last_mut().unwrap()
    }
}

impl Store for FaultyStore {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        assert!(!state.sync_forbidden, "nothing may be appended behind an error");
        let fault = state.fault();
        state.sync_forbidden = fault.is_some();
        let count = fault.map_or(bytes.len(), |fault| fault.of(bytes.len()));
        state.newest().written.extend_from_slice(&bytes[..count]);
        fault.map_or(Ok(()), |_| Err(ErrorKind::StorageFull.into()))
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.state();
        assert!(!state.sync_forbidden, "a descriptor that failed must not be synced again");
        let fault = state.fault();
        state.sync_forbidden = fault.is_some();
        let segment = state.newest();
        let dirty = segment.written.len() - segment.durable;
        segment.durable += fault.map_or(dirty, |fault| fault.of(dirty));
        fault.map_or(Ok(()), |_| Err(io::Error::other("I/O error")))
    }

    fn reopen(&mut self, end: End) -> io::Result<()> {
        let mut state = self.state();
        let fault = state.fault();
        let length = usize::try_from(end.length).unwrap();
        let segment = state.newest();
        assert!(segment.durable >= length, "what was acknowledged is durable");
        if fault != Some(Fault::Nothing) {
            segment.written.truncate(length);
            segment.durable = length;
        }
        state.sync_forbidden = fault.is_some();
        fault.map_or(Ok(()), |_| Err(ErrorKind::ReadOnlyFilesystem.into()))
    }

    fn roll(&mut self, first: u64) -> io::Result<()> {
        let mut state = self.state();
        assert!(!state.sync_forbidden, "nothing may be started behind an error");
        let fault = state.fault();
        state.sync_forbidden = fault.is_some();
        if let Some(fault) = fault {
            // The name may be there or not; the segment before is still the newest.
            return Err(io::Error::other(format!("{fault:?}")));
        }
        state.segments.push(Segment { first, ..Segment::default() });
        Ok(())
    }
}

/// A small record; its id is `id`.
pub(crate) fn entry(kind: Kind, outcome: Option<Outcome>, id: u128) -> Entry {
    let mut record = Record::new(kind, jiff::Timestamp::UNIX_EPOCH, uuid::Uuid::from_u128(id), "edge-1".into());
    record.outcome = outcome;
    record.line()
}
