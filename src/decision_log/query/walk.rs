//! Reads what may have records that are looked for, and nothing else: segments in order, each a plain one or a sealed one.
//! Not here: which there are (`runtime::archive`), what is looked for (`Query`).
//! Source: `sealed` has what can be skipped. Every line that is read must be the record that belongs there.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::io::{self, BufRead, Read, Seek};
use std::ops::ControlFlow;

use super::Query;
use crate::decision_log::entry::MAX_LINE;
use crate::decision_log::sealed::{Facets, LineError, LineFault, Sealed, SealedError, lines, next_lines, record};

/// A record that was looked for.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// Its line without the newline.
    pub line: &'a [u8],
    /// What was read of it.
    pub facets: &'a Facets<'a>,
}

/// A segment can't be looked through.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// A plain one can't be read.
    #[error("can't be read: {0}")]
    Read(#[from] io::Error),
    /// A sealed one can't be read.
    #[error(transparent)]
    Sealed(#[from] SealedError),
    /// It holds something else than records.
    #[error("{0}; see what `audit verify` says")]
    Line(#[from] LineError),
}

impl Query {
    /// Gives the records of a plain segment that are looked for, in order; its first has number `first`. An unfinished
    /// line at the end is left out: it is being written. Ends early when `each` says so.
    ///
    /// # Errors
    /// It can't be read, or a line is not the record that belongs there.
    pub fn walk_plain(
        &self,
        segment: &mut dyn BufRead,
        first: u64,
        each: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, WalkError> {
        let mut walk = Walk { query: self, first, next: first, each };
        let mut plain = Vec::new();
        while next_lines(segment, &mut plain)? {
            let is_unfinished = plain.last() != Some(&b'\n');
            let end = plain.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end.saturating_add(1));
            let (whole, rest) = plain.split_at(end);
            // One that is too long is no line under way, and is refused like other bad ones.
            let taken = if is_unfinished && rest.len() < MAX_LINE { whole } else { &plain };
            if walk.lines(taken)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The same of a sealed segment, of which only frames are read that may have such records.
    ///
    /// # Errors
    /// As above.
    pub fn walk_sealed<R: Read + Seek>(
        &self,
        segment: &mut Sealed<R>,
        each: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, WalkError> {
        let first = segment.summary().first_seq;
        let mut walk = Walk { query: self, first, next: first, each };
        for frame in self.frames(segment)? {
            walk.next = segment.summary().frames.get(frame).map_or(first, |frame| frame.first_seq);
            if walk.lines(&segment.frame(frame)?)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The frames that may have records that are looked for. Filters are read only if they can say more.
    fn frames<R: Read + Seek>(&self, segment: &mut Sealed<R>) -> Result<Vec<usize>, SealedError> {
        let summary = segment.summary();
        if !self.may_match(summary) {
            return Ok(Vec::new());
        }
        let frames = 0..summary.frames.len();
        let mut frames: Vec<usize> = frames.filter(|frame| self.may_match_frame(summary, *frame, None)).collect();
        if self.asks_filters() && !frames.is_empty() {
            let filters = segment.filters()?;
            frames.retain(|frame| self.may_hold(filters, *frame));
        }
        Ok(frames)
    }
}

struct Walk<'w> {
    query: &'w Query,
    /// Of the segment.
    first: u64,
    /// The number of the next record.
    next: u64,
    each: &'w mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
}

impl Walk<'_> {
    fn lines(&mut self, plain: &[u8]) -> Result<ControlFlow<()>, LineError> {
        for line in lines(plain) {
            let facets = record(line, self.next).map_err(|fault| self.error(fault))?;
            self.next = self.next.saturating_add(1);
            let found = Found { line: line.strip_suffix(b"\n").unwrap_or(line), facets: &facets };
            if self.query.fits(&facets) && (self.each)(found).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn error(&self, fault: LineFault) -> LineError {
        LineError { line: self.next.saturating_sub(self.first).saturating_add(1), seq: self.next, fault }
    }
}
