//! Rules that would tie: the same pattern and a port for the same source. Each is a fault that names both places.
//! Not here: which rule answers where none tie (`compile`). Source: the contract's "Which rule".

use std::collections::HashMap;

use super::compile::Grant;
use super::index::Spot;
use super::rule::Source;
use crate::yaml::{Faults, Place};

/// Finds rules that would tie: the same pattern and a port for the same source.
pub(super) struct Ties<'a> {
    /// The rules.
    pub(super) grants: &'a [Grant],
    /// For each of them where each pattern or network was written.
    pub(super) places: &'a [Vec<Place>],
    /// The sources.
    pub(super) sources: &'a [Source],
    /// The files' names.
    pub(super) paths: &'a [&'a str],
}

/// What only one rule may answer for: a name below which the pattern stands, a source, a port.
type Claim<'a> = (&'a str, u32, u16);

impl<'a> Ties<'a> {
    /// Reports each spot of a group that claims what an earlier one of another rule has claimed. Linear in the claims.
    pub(super) fn report(&self, group: &[Spot], faults: &mut Faults) {
        if group.len() < 2 {
            return;
        }
        let mut claims: HashMap<Claim<'a>, Spot> = HashMap::new();
        for spot in group {
            let mut tie = None;
            for claim in self.claims(*spot) {
                let first = *claims.entry(claim).or_insert(*spot);
                if first.owner != spot.owner {
                    tie = tie.or(Some((claim, first)));
                }
            }
            if let Some((claim, first)) = tie {
                self.fault(*spot, first, claim, faults);
            }
        }
    }

    fn grant(&self, spot: Spot) -> Option<&'a Grant> {
        self.grants.get(usize::try_from(spot.owner).ok()?)
    }

    fn place(&self, spot: Spot) -> Option<Place> {
        let places = self.places.get(usize::try_from(spot.owner).ok()?)?;
        places.get(usize::try_from(spot.item).ok()?).copied()
    }

    fn claims(&self, spot: Spot) -> impl Iterator<Item = Claim<'a>> + use<'a> {
        self.grant(spot).into_iter().flat_map(move |grant| {
            let base = grant.host(spot.item).map_or("", |pattern| pattern.base().as_str());
            let sources = grant.source_indexes().iter();
            sources.flat_map(move |source| grant.rule().ports.iter().map(move |port| (base, *source, *port)))
        })
    }

    fn fault(&self, spot: Spot, first: Spot, (_, source, port): Claim<'_>, faults: &mut Faults) {
        let (Some(grant), Some(earlier)) = (self.grant(spot), self.grant(first)) else { return };
        let (Some(place), Some(at)) = (self.place(spot), self.place(first)) else { return };
        let source = self.sources.get(usize::try_from(source).unwrap_or(usize::MAX)).map_or("", |source| &source.name);
        let what = match (grant.host(spot.item), grant.networks().get(usize::try_from(spot.item).unwrap_or(usize::MAX)))
        {
            (Some(pattern), _) => pattern.to_string(),
            (None, network) => network.map(ToString::to_string).unwrap_or_default(),
        };
        let path = usize::try_from(at.file).ok().and_then(|file| self.paths.get(file)).copied().unwrap_or_default();
        faults.at(
            place,
            format!(
                "rule `{}` ties with rule `{}` at {path}:{}:{}: both have `{what}` with port {port} for source `{source}`; \
                 remove it from one of the two",
                grant.rule().id, earlier.rule().id, at.line, at.column
            ),
        );
    }
}
