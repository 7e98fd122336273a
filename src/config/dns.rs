//! How names are looked up: whom to ask, what is known already, how long to wait and to remember.
//! Not here: how a server is written (`name_server`), asking (`runtime::dns`), nor whether an address may be used (`policy`).
//! Source: the contract: `dns`.

use std::collections::{BTreeMap, btree_map};
use std::net::IpAddr;
use std::time::Duration;

use super::{Dns, DnsServer, Validation, path};
use crate::address::canonical;
use crate::name::Fqdn;
use crate::yaml::{Faults, Field, MapReader, duration_text, shown};

/// Long enough for a retry at a second server; a client waits at most ten seconds or so.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Spares resolvers from names with a TTL of zero.
const MIN_TTL: Duration = Duration::from_secs(5);

/// A customer who moves waits at most this long.
const MAX_TTL: Duration = Duration::from_secs(3600);

/// Long enough for a resolver's restart, short against the times at which customers move.
const SERVE_STALE: Duration = Duration::from_secs(300);

/// Upper bound for `serve_stale`: RFC 8767, section 5, has one to three days.
const MOST_STALE: Duration = Duration::from_secs(3 * 86_400);

/// Below, every lookup over a network fails; above, the client is gone.
const TIMEOUT_RANGE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(60));

/// Upper bound for what an answer may be kept: RFC 8767, section 4, has a week.
const MOST_TTL: Duration = Duration::from_secs(7 * 86_400);

/// Reads `dns`.
pub fn dns(field: Option<Field<'_>>, faults: &mut Faults) -> Dns {
    let defaults = Dns {
        servers: vec![DnsServer::System],
        hosts: BTreeMap::new(),
        timeout: TIMEOUT,
        min_ttl: MIN_TTL,
        max_ttl: MAX_TTL,
        serve_stale: SERVE_STALE,
        validation: None,
    };
    let Some(mut map) = field.and_then(|field| field.map("`dns`", faults)) else { return defaults };
    let servers = map.take("servers").and_then(|field| servers(field, faults));
    let hosts = map.take("hosts").map(|field| hosts(field, faults));
    let timeout = map.take("timeout").and_then(|field| field.duration(TIMEOUT_RANGE.0..=TIMEOUT_RANGE.1, faults));
    let (min_ttl, max_ttl) = ttls(&mut map, faults);
    let validation = validation(&mut map, faults);
    let least = Duration::from_secs(1);
    let serve_stale = map.take("serve_stale").and_then(|field| field.duration(least..=MOST_STALE, faults));
    let no_stale = map.is_none("serve_stale").then_some(Duration::ZERO);
    map.finish(&[], faults);
    Dns {
        servers: servers.unwrap_or(defaults.servers),
        hosts: hosts.unwrap_or_default(),
        timeout: timeout.unwrap_or(TIMEOUT),
        min_ttl,
        max_ttl,
        serve_stale: no_stale.or(serve_stale).unwrap_or(SERVE_STALE),
        validation,
    }
}

/// `dnssec`, and the file of keys that goes with it.
fn validation(map: &mut MapReader<'_>, faults: &mut Faults) -> Option<Validation> {
    let words = [("none", false), ("validate", true)];
    let is_on = map.take("dnssec").and_then(|field| field.word(&words, faults)).unwrap_or(false);
    let field = map.take("trust_anchor");
    if let Some(field) = field.filter(|_| !is_on) {
        field.fault(
            "`trust_anchor` is used with `dnssec: validate` alone; write that beside it, or leave it out",
            faults,
        );
    }
    let file = field.and_then(|field| path(field, faults));
    is_on.then_some(Validation { file, anchors: Vec::new() })
}

/// One of the two alone moves the other's default, if it must.
fn ttls(map: &mut MapReader<'_>, faults: &mut Faults) -> (Duration, Duration) {
    let min_field = map.take("min_ttl");
    let min = min_field.and_then(|field| field.duration(Duration::ZERO..=MOST_TTL, faults));
    let max = map.take("max_ttl").and_then(|field| field.duration(Duration::ZERO..=MOST_TTL, faults));
    if let (Some(field), Some(min), Some(max)) = (min_field, min, max)
        && min > max
    {
        let (min, max) = (duration_text(min), duration_text(max));
        field.fault(format!("`min_ttl: {min}` is more than `max_ttl: {max}`; write at most `{max}`"), faults);
    }
    let lowest = min.unwrap_or_else(|| max.map_or(MIN_TTL, |max| MIN_TTL.min(max)));
    (lowest, max.unwrap_or_else(|| MAX_TTL.max(lowest)))
}

fn servers(field: Field<'_>, faults: &mut Faults) -> Option<Vec<DnsServer>> {
    let items = field.list(faults)?;
    if items.len() == 0 {
        field.fault("`servers` is empty; write `[system]`, or `udp://IP` and `tcp://IP`", faults);
    }
    Some(items.filter_map(|item| item.parse(faults)).collect())
}

fn hosts(field: Field<'_>, faults: &mut Faults) -> BTreeMap<Fqdn, Vec<IpAddr>> {
    let mut hosts = BTreeMap::new();
    let Some(entries) = field.entries(faults) else { return hosts };
    for entry in entries {
        let name = entry.name().parse::<Fqdn>().map_err(|error| faults.at(entry.key_place(), error.to_string())).ok();
        let Some(addresses) = entry.list_of(faults, address) else { continue };
        if entry.list(faults).is_some_and(|items| items.len() == 0) {
            entry.fault(format!("{} has no address; write at least one", shown(entry.name())), faults);
        }
        let Some(name) = name else { continue };
        match hosts.entry(name) {
            btree_map::Entry::Vacant(place) => {
                place.insert(addresses);
            }
            btree_map::Entry::Occupied(first) => {
                let message = format!("a second entry for `{}`; put all its addresses into one", first.key());
                faults.at(entry.key_place(), message);
            }
        }
    }
    hosts
}

fn address(field: Field<'_>, faults: &mut Faults) -> Option<IpAddr> {
    let text = field.text(faults)?;
    match text.parse::<IpAddr>() {
        Ok(address) => Some(canonical(address)),
        Err(_) => {
            let message = format!("{} is no IP address; write one such as `192.0.2.1` or `2001:db8::1`", shown(text));
            field.fault(message, faults);
            None
        }
    }
}
