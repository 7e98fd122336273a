//! Bytes of a day by what counts them, as they are kept over a restart and told to another process.
//! Not here: counting them (`ledger`), what bounds them (`quota`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Bytes that have gone out today, by what counts them; what has sent none is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// By the rule's id.
    pub rules: BTreeMap<String, u64>,
    /// By the source's name.
    pub sources: BTreeMap<String, u64>,
}

impl Spent {
    /// What this is more than `before`, of at most so many rules and as many sources.
    pub fn beyond(&self, before: &Self, most: usize) -> Self {
        let more = |now: &BTreeMap<String, u64>, before: &BTreeMap<String, u64>| {
            let of = |(name, bytes): (&String, &u64)| {
                let more = bytes.saturating_sub(before.get(name).copied().unwrap_or_default());
                (more > 0).then(|| (name.clone(), more))
            };
            now.iter().filter_map(of).take(most).collect()
        };
        Self { rules: more(&self.rules, &before.rules), sources: more(&self.sources, &before.sources) }
    }

    /// What this says of the rules and sources that `others` names.
    pub fn of(&self, others: &Self) -> Self {
        let of = |all: &BTreeMap<String, u64>, others: &BTreeMap<String, u64>| {
            others.keys().filter_map(|name| Some((name.clone(), *all.get(name)?))).collect()
        };
        Self { rules: of(&self.rules, &others.rules), sources: of(&self.sources, &others.sources) }
    }

    /// Adds what `more` says.
    pub fn add(&mut self, more: &Self) {
        let add = |all: &mut BTreeMap<String, u64>, more: &BTreeMap<String, u64>| {
            for (name, bytes) in more {
                let sum = all.entry(name.clone()).or_default();
                *sum = sum.saturating_add(*bytes);
            }
        };
        add(&mut self.rules, &more.rules);
        add(&mut self.sources, &more.sources);
    }

    /// Whether nothing has gone out.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.sources.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(rules: &[(&str, u64)]) -> Spent {
        Spent { rules: rules.iter().map(|(name, bytes)| ((*name).to_owned(), *bytes)).collect(), ..Spent::default() }
    }

    #[test]
    fn what_is_more_is_told_and_no_more_than_may() {
        let (before, now) = (spent(&[("a", 1), ("b", 5), ("c", 9)]), spent(&[("a", 4), ("b", 5), ("c", 2), ("d", 7)]));
        for (most, want) in [(9, &[("a", 3), ("d", 7)][..]), (1, &[("a", 3)]), (0, &[])] {
            assert_eq!(now.beyond(&before, most), spent(want), "{most}");
        }
        assert!(now.beyond(&now, 9).is_empty());
        let mut sum = before;
        sum.add(&spent(&[("a", 3), ("d", 7)]));
        assert_eq!(sum, spent(&[("a", 4), ("b", 5), ("c", 9), ("d", 7)]));
        assert_eq!(sum.of(&spent(&[("d", 1), ("e", 1)])), spent(&[("d", 7)]));
    }
}
