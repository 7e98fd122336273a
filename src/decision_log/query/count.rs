//! Counts what is looked for by one field, from summaries alone where they say enough.
//! Not here: which segments there are (`runtime::archive`).
//! Source: the contract, section 2.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::HashMap;
use std::io::{BufRead, Read, Seek};
use std::ops::ControlFlow;

use super::{Query, WalkError};
use crate::decision_log::sealed::{Facet, Sealed, Summary};

/// Values that are told apart. Clients choose the hosts of refused requests, so there may be as many as refusals.
pub(super) const MAX_VALUES: usize = 65_536;

/// A count under way.
#[derive(Debug)]
pub struct Count {
    query: Query,
    by: Facet,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    values: HashMap<String, u64>,
    /// Records without a value.
    none: u64,
    others: u64,
}

/// What was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// How many records have each value, `None` for those that have none: the most frequent first, then by value.
    pub rows: Vec<(Option<String>, u64)>,
    /// Records with values beyond the first 65,536.
    pub others: u64,
}

impl Count {
    /// Of the records that `query` looks for, by their values of `by`.
    pub fn new(query: Query, by: Facet) -> Self {
        Self { query, by, tally: Tally::default() }
    }

    /// Counts those of a plain segment whose first record is number `first`.
    ///
    /// # Errors
    /// See [`Query::walk_plain`].
    pub fn plain(&mut self, segment: &mut dyn BufRead, first: u64) -> Result<(), WalkError> {
        let Self { query, by, tally } = self;
        let mut each = |found: super::Found<'_>| {
            tally.add(found.facets.get(*by), 1);
            ControlFlow::Continue(())
        };
        query.walk_plain(segment, first, &mut each).map(|_| ())
    }

    /// Counts those of a sealed segment.
    ///
    /// # Errors
    /// See [`Query::walk_sealed`].
    pub fn sealed<R: Read + Seek>(&mut self, segment: &mut Sealed<R>) -> Result<(), WalkError> {
        if self.query.is_answered_by(segment.summary(), self.by) {
            self.summarised(segment.summary());
            return Ok(());
        }
        let Self { query, by, tally } = self;
        let mut each = |found: super::Found<'_>| {
            tally.add(found.facets.get(*by), 1);
            ControlFlow::Continue(())
        };
        query.walk_sealed(segment, &mut each).map(|_| ())
    }

    /// What was counted.
    pub fn finish(self) -> Counts {
        let Tally { values, none, others } = self.tally;
        let values = values.into_iter().map(|(value, count)| (Some(value), count));
        let mut rows: Vec<_> = values.chain((none > 0).then_some((None, none))).collect();
        rows.sort_unstable_by(|(value, count), (other_value, other)| other.cmp(count).then(value.cmp(other_value)));
        Counts { rows, others }
    }

    fn summarised(&mut self, summary: &Summary) {
        for group in summary.groups.iter().filter(|group| self.query.fits_group(group, summary.complete)) {
            self.tally.add(group.get(self.by), group.count);
        }
    }
}

impl Tally {
    fn add(&mut self, value: Option<&str>, count: u64) {
        let has_room = self.values.len() < MAX_VALUES;
        let known = match value {
            None => &mut self.none,
            Some(value) => match self.values.get_mut(value) {
                Some(known) => known,
                None if has_room => self.values.entry(value.to_owned()).or_default(),
                None => &mut self.others,
            },
        };
        *known = known.saturating_add(count);
    }
}
