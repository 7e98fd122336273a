//! All that a policy allows: a row for each source, destination and port.
//! Not here: printing (`cli`). What `never` or a source without clients makes impossible has no row; hours and last days are terms of a row.
//! Source: PCI DSS 1.2.5 (services, protocols and ports allowed, with their business need).

use std::collections::HashMap;
use std::sync::Arc;

use super::classes::{self, Classes, Destination};
use super::compile::Policy;
use super::rule::Rule;

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

/// The rows, by source, customer, destination and port.
pub fn matrix(policy: &Arc<Policy>) -> Vec<Row> {
    let all: Vec<Destination> = Destination::all(policy).collect();
    let classes = Classes::new(all.iter());
    let identities = classes::identities(policy);
    let by_name: HashMap<&str, _> = identities.iter().map(|one| (&*one.source().name, one)).collect();
    let mut rows = Vec::new();
    for grant in policy.grants() {
        let sources: Vec<_> = policy.sources_of(grant).filter_map(|source| by_name.get(&*source.name)).collect();
        for destination in Destination::of(grant) {
            let Some(host) = classes.anyone(&destination) else { continue };
            let targets: Vec<_> = grant.rule().ports.iter().filter_map(|port| classes::target(&host, *port)).collect();
            for (identified, target) in sources.iter().flat_map(|source| targets.iter().map(move |to| (source, to))) {
                if classes::reaches(identified, target).is_ok() {
                    rows.push(Row {
                        source: Arc::clone(&identified.source().name),
                        destination: destination.clone(),
                        port: target.port(),
                        rule: Arc::clone(grant.rule()),
                    });
                }
            }
        }
    }
    rows.sort_by(|one, two| key(one).cmp(&key(two)));
    // A rule may name the same destination twice.
    rows.dedup_by(|one, two| key(one) == key(two));
    rows
}

/// What rows are told apart by: two rules with the same would tie.
fn key(row: &Row) -> (&str, &str, &Destination, u16) {
    (&row.source, &row.rule.customer, &row.destination, row.port)
}
