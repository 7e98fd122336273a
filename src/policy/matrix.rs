//! All that a policy allows: a row for each source, destination and port, made one after the other.
//! Not here: printing (`evidence::matrix`). What `never` or a source without clients makes impossible has no row; hours and last days are
//! terms of a row. Source: PCI DSS 1.2.5 (services, protocols and ports allowed, with their business need).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::classes::{self, Classes, Destination, DestinationRef};
use super::compile::{Grant, Policy};
use super::request::Identified;
use super::rule::Rule;
use crate::name::Target;

/// What one source may reach on one port.
#[derive(Clone, Debug)]
pub struct Row {
    /// The source's name.
    pub source: Arc<str>,
    /// What the rule has: a name with or without wildcard, or a network.
    pub destination: Destination,
    /// The port.
    pub port: u16,
    /// The rule that allows it.
    pub rule: Arc<Rule>,
}

/// The rows of a policy. Beside the policy it takes 32 bytes for each destination of one customer, and little more: a policy may have a
/// million names, and a proxy that serves has no memory to spare for as many rows.
pub struct Matrix {
    policy: Arc<Policy>,
    classes: Classes,
    /// By name.
    sources: Vec<Identified>,
}

/// A destination and the rule that has it.
type Reached<'a> = (DestinationRef<'a>, &'a Grant);

impl Matrix {
    /// Of this policy.
    pub fn new(policy: &Arc<Policy>) -> Self {
        let classes = Classes::new(|| DestinationRef::all(policy));
        let mut sources = classes::members(policy);
        sources.sort_by(|one, two| one.source().name.cmp(&two.source().name));
        Self { policy: Arc::clone(policy), classes, sources }
    }

    /// The rows, by source, customer, destination and port.
    pub fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        self.sources.iter().flat_map(|source| {
            let mut customers: BTreeMap<&str, Vec<&Grant>> = BTreeMap::new();
            for grant in self.policy.grants().iter().filter(|grant| grant.serves(source.index())) {
                customers.entry(&grant.rule().customer).or_default().push(grant);
            }
            customers.into_values().flat_map(|grants| self.of_customer(source, grants))
        })
    }

    fn of_customer<'a>(&'a self, source: &'a Identified, grants: Vec<&'a Grant>) -> impl Iterator<Item = Row> + 'a {
        let of = |grant: &'a Grant| DestinationRef::of(grant).map(move |destination| (destination, grant));
        let mut reached: Vec<Reached<'a>> = grants.into_iter().flat_map(of).collect();
        reached.sort_unstable_by_key(|(destination, _)| *destination);
        let mut begin = 0;
        std::iter::from_fn(move || {
            let rest = reached.get(begin..)?;
            let (first, _) = rest.first()?;
            let alike = rest.partition_point(|(destination, _)| destination <= first);
            begin = begin.saturating_add(alike);
            Some(self.of_destination(source, rest.get(..alike)?))
        })
        .flatten()
    }

    /// The ports of one destination. Several rules may have it, each with ports of its own, and one of them twice.
    fn of_destination(&self, source: &Identified, reached: &[Reached<'_>]) -> Vec<Row> {
        let Some((destination, _)) = reached.first() else { return Vec::new() };
        let destination = destination.owned();
        let Some(host) = self.classes.anyone(&destination) else { return Vec::new() };
        let ports = |(_, grant): &Reached<'_>| {
            grant.rule().ports.iter().map(|port| (*port, Arc::clone(grant.rule()))).collect()
        };
        let ports: BTreeMap<u16, Arc<Rule>> = reached.iter().flat_map::<Vec<_>, _>(ports).collect();
        let open = ports.into_iter().filter(|(port, _)| {
            Target::new(host.clone(), *port).is_some_and(|target| classes::reaches(source, &target).is_ok())
        });
        let name = &source.source().name;
        open.map(|(port, rule)| Row { source: Arc::clone(name), destination: destination.clone(), port, rule })
            .collect()
    }
}
