//! How often what was found: by detector, and by the mark that stands for it. Pure.
//! Not here: finding (`scan`), the counters of a running proxy (`runtime::metrics`).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

use super::Detector;
use super::kind::Kind;

/// How often what was found. Bounded by what marks there are: brands with lengths, countries, names of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    marks: BTreeMap<(Detector, String), u64>,
}

impl Counts {
    /// Of everything.
    pub fn total(&self) -> u64 {
        self.marks.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// By detector, in the order of [`Detector::ALL`].
    pub fn detectors(&self) -> BTreeMap<Detector, u64> {
        let mut detectors = BTreeMap::<Detector, u64>::new();
        for ((detector, _), count) in &self.marks {
            let sum = detectors.entry(*detector).or_default();
            *sum = sum.saturating_add(*count);
        }
        detectors
    }

    /// By mark, such as `[PAN:visa:16]`.
    pub fn marks(&self) -> impl Iterator<Item = (&str, u64)> {
        self.marks.iter().map(|((_, mark), count)| (mark.as_str(), *count))
    }

    /// Adds what another text had.
    pub fn add(&mut self, other: &Counts) {
        for (key, count) in &other.marks {
            let sum = self.marks.entry(key.clone()).or_default();
            *sum = sum.saturating_add(*count);
        }
    }

    pub(super) fn count(&mut self, kind: Kind<'_>) {
        let sum = self.marks.entry((kind.detector(), kind.to_string())).or_default();
        *sum = sum.saturating_add(1);
    }
}

/// `2: 1 pan, 1 security_code`; nothing: `0`.
impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.total())?;
        for (at, (detector, count)) in self.detectors().into_iter().enumerate() {
            let before = if at == 0 { ":" } else { "," };
            write!(out, "{before} {count} {}", detector.name())?;
        }
        Ok(())
    }
}

/// `{"total":1,"detectors":{"pan":1},"marks":{"[PAN:visa:16]":1}}`
impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shape<'a> {
            total: u64,
            detectors: BTreeMap<&'static str, u64>,
            marks: BTreeMap<&'a str, u64>,
        }
        let detectors = self.detectors().into_iter().map(|(detector, count)| (detector.name(), count)).collect();
        Shape { total: self.total(), detectors, marks: self.marks().collect() }.serialize(serializer)
    }
}
