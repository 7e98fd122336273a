//! Finds the patterns that may match a name by hash: one look for the name and one for each of its parents.
//! Not here: whether a pattern matches (`HostPattern::matches` has the last word) and what it belongs to.
//! Source: ours. A static table: entries sorted by hash, and where each bucket starts; 20 bytes a pattern.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::iter;

use crate::name::{Fqdn, HostPattern};

/// Where a pattern stands: the index of its rule, and its own among that rule's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Spot {
    /// Index of the rule.
    pub(super) owner: u32,
    /// Index of the pattern in the rule.
    pub(super) item: u32,
}

/// Patterns by kind and hash.
#[derive(Debug, Default)]
pub(super) struct HostIndex {
    exact: Table,
    one_label: Table,
    any_labels: Table,
}

impl HostIndex {
    /// Indexes `patterns`.
    pub(super) fn new<'a>(patterns: impl Iterator<Item = (Spot, &'a HostPattern)>) -> Self {
        let (mut exact, mut one_label, mut any_labels) = (Vec::new(), Vec::new(), Vec::new());
        for (spot, pattern) in patterns {
            let list = match pattern {
                HostPattern::Exact(_) => &mut exact,
                HostPattern::OneLabel(_) => &mut one_label,
                HostPattern::AnyLabels(_) => &mut any_labels,
            };
            list.push(Slot { hash: hash(pattern.base().as_str()), spot });
        }
        Self { exact: Table::new(exact), one_label: Table::new(one_label), any_labels: Table::new(any_labels) }
    }

    /// Where patterns stand that may match `name`, the most specific first: exact, `*.`, then `**.` from long to short.
    pub(super) fn candidates<'a>(&'a self, name: &'a Fqdn) -> impl Iterator<Item = Spot> + 'a {
        let one_label = name.parent().into_iter().flat_map(|parent| self.one_label.spots(parent));
        let any_labels = parents(name).flat_map(|parent| self.any_labels.spots(parent));
        self.exact(name).chain(one_label).chain(any_labels)
    }

    /// Where patterns stand that may be exactly `name`.
    pub(super) fn exact<'a>(&'a self, name: &Fqdn) -> impl Iterator<Item = Spot> + 'a {
        self.exact.spots(name.as_str())
    }

    /// Groups of two or more spots whose patterns are of one kind and look alike.
    pub(super) fn alike(&self) -> impl Iterator<Item = Vec<Spot>> + '_ {
        [&self.exact, &self.one_label, &self.any_labels].into_iter().flat_map(Table::alike)
    }
}

/// The names above `name`, the longest first.
pub(super) fn parents(name: &Fqdn) -> impl Iterator<Item = &str> {
    iter::successors(name.parent(), |parent| parent.split_once('.').map(|(_, rest)| rest))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    hash: u64,
    spot: Spot,
}

#[derive(Debug, Default)]
struct Table {
    slots: Box<[Slot]>,
    /// Index of the first slot of each bucket, and the end of the last; a power of two of them, and one.
    starts: Box<[u32]>,
    /// How many of a hash's high bits give its bucket.
    bits: u32,
}

impl Table {
    fn new(mut slots: Vec<Slot>) -> Self {
        slots.sort_unstable();
        // About one slot a bucket.
        let bits = slots.len().checked_ilog2().unwrap_or(0);
        let mut starts = Vec::with_capacity((1_usize << bits).saturating_add(1));
        let mut at = 0_usize;
        for bucket in 0..1_u64 << bits {
            while slots.get(at).is_some_and(|slot| bucket_of(slot.hash, bits) < bucket) {
                at = at.saturating_add(1);
            }
            starts.push(u32::try_from(at).unwrap_or(u32::MAX));
        }
        starts.push(u32::try_from(slots.len()).unwrap_or(u32::MAX));
        Self { slots: slots.into(), starts: starts.into(), bits }
    }

    fn spots(&self, base: &str) -> impl Iterator<Item = Spot> + '_ {
        // Most policies have no wildcards and no `never`: nothing to hash for.
        let hash = if self.slots.is_empty() { 0 } else { hash(base) };
        let of_bucket = self.bucket(hash).unwrap_or_default();
        of_bucket.iter().filter(move |slot| slot.hash == hash).map(|slot| slot.spot)
    }

    fn bucket(&self, hash: u64) -> Option<&[Slot]> {
        let bucket = usize::try_from(bucket_of(hash, self.bits)).ok()?;
        let start = *self.starts.get(bucket)?;
        let end = *self.starts.get(bucket.checked_add(1)?)?;
        self.slots.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    }

    fn alike(&self) -> impl Iterator<Item = Vec<Spot>> + '_ {
        let groups = self.slots.chunk_by(|a, b| a.hash == b.hash).filter(|group| group.len() > 1);
        groups.map(|group| group.iter().map(|slot| slot.spot).collect())
    }
}

fn bucket_of(hash: u64, bits: u32) -> u64 {
    hash.checked_shr(u64::BITS.saturating_sub(bits)).unwrap_or(0)
}

/// The same in every run, so that the same policy compiles to the same table. Who writes a policy has no use for
/// collisions, and a pattern still has to match.
fn hash(base: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(base.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn index(patterns: &[HostPattern]) -> HostIndex {
        let spots = (0..).map(|item| Spot { owner: 0, item });
        HostIndex::new(spots.zip(patterns))
    }

    fn found<'a>(patterns: &'a [HostPattern], name: &Fqdn) -> Vec<&'a HostPattern> {
        let at = |spot: Spot| &patterns[spot.item as usize];
        index(patterns).candidates(name).map(at).filter(|pattern| pattern.matches(name)).collect()
    }

    #[test]
    fn the_most_specific_comes_first() {
        let texts = ["**.example", "*.b.example", "a.b.example", "**.b.example", "x.example", "*.example"];
        let patterns: Vec<HostPattern> = texts.iter().map(|text| text.parse().unwrap()).collect();
        for (name, want) in [
            ("a.b.example", &["a.b.example", "*.b.example", "**.b.example", "**.example"][..]),
            ("b.example", &["*.example", "**.example"]),
            ("x.y.b.example", &["**.b.example", "**.example"]),
            ("example", &[]),
            ("b.exampl", &[]),
        ] {
            let found: Vec<String> = found(&patterns, &name.parse().unwrap()).iter().map(ToString::to_string).collect();
            assert_eq!(found, want, "{name}");
        }
    }

    #[test]
    fn an_empty_index_finds_nothing() {
        assert_eq!(HostIndex::default().candidates(&"a.example".parse().unwrap()).count(), 0);
        assert_eq!(index(&[]).candidates(&"a.example".parse().unwrap()).count(), 0);
    }

    #[test]
    fn patterns_that_look_alike_are_grouped() {
        let texts = ["a.example", "*.a.example", "b.example", "a.example", "**.a.example"];
        let patterns: Vec<HostPattern> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let groups: Vec<Vec<u32>> =
            index(&patterns).alike().map(|group| group.iter().map(|spot| spot.item).collect()).collect();
        assert_eq!(groups, [[0, 3]]);
    }

    proptest! {
        #[test]
        fn what_matches_is_found(
            patterns in prop::collection::vec("(\\*\\.|\\*\\*\\.)?([ab]\\.){0,3}x", 0..40),
            name in "([ab]\\.){0,4}x",
        ) {
            let patterns: Vec<HostPattern> = patterns.iter().map(|text| text.parse().unwrap()).collect();
            let name: Fqdn = name.parse().unwrap();
            let mut want: Vec<&HostPattern> = patterns.iter().filter(|pattern| pattern.matches(&name)).collect();
            let mut found = found(&patterns, &name);
            want.sort_by_key(ToString::to_string);
            found.sort_by_key(ToString::to_string);
            prop_assert_eq!(found, want);
        }
    }
}
