//! Pools: the static addresses from which a customer's connections leave, and what the customer sees.
//! Not here: choosing and binding one (`runtime::egress`).
//! Source: the contract: `egress.pools`.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;

use super::{Config, Pool, label_of};
use crate::address::{is_wide, parse_prefix};
use crate::yaml::{Faults, Field, Place};

/// Upper bound for the addresses of one pool: each is bound by itself, and has its own metrics.
const MAX_ADDRESSES: u128 = 1024;

/// Upper bound for those of all pools: every one of them is bound once a second, which takes 7 µs.
const MAX_ALL: u128 = 4096;

/// A prefix of some pool, for finding the second one.
#[derive(Clone, Copy)]
struct Taken<'a> {
    prefix: IpNet,
    pool: &'a str,
    place: Place,
    is_public: bool,
}

/// The prefixes of all pools.
#[derive(Default)]
struct All<'a> {
    bound: Vec<Taken<'a>>,
    /// As customers see them.
    seen: Vec<Taken<'a>>,
}

impl Config {
    /// The egress pools, each with the prefixes that customers see.
    pub fn pools_seen(&self) -> impl Iterator<Item = (Arc<str>, Vec<IpNet>)> {
        self.pools.iter().map(|(name, pool)| (name.as_str().into(), pool.seen()))
    }
}

impl Pool {
    /// The prefixes that customers see: those of `public`, and of a family of which it has none those that are bound. In the order of their
    /// addresses.
    pub fn seen(&self) -> Vec<IpNet> {
        let mut prefixes = seen(&self.bind, &self.public, |prefix| *prefix);
        prefixes.sort_unstable();
        prefixes
    }
}

fn seen<T: Copy>(bind: &[T], public: &[T], prefix: impl Fn(&T) -> IpNet) -> Vec<T> {
    let is_v4 = |one: &&T| prefix(one).addr().is_ipv4();
    let (has_v4, has_v6) = (public.iter().any(|one| is_v4(&one)), public.iter().any(|one| !is_v4(&one)));
    let as_bound = bind.iter().filter(|one| if is_v4(one) { !has_v4 } else { !has_v6 });
    public.iter().chain(as_bound).copied().collect()
}

/// Reads `egress`.
pub fn pools(field: Option<Field<'_>>, faults: &mut Faults) -> BTreeMap<String, Pool> {
    let mut pools = BTreeMap::new();
    let Some(mut map) = field.and_then(|field| field.map("`egress`", faults)) else { return pools };
    let field = map.take("pools");
    let entries = field.and_then(|field| field.entries(faults));
    map.finish(&[], faults);
    let mut all = All::default();
    for entry in entries.into_iter().flatten() {
        // A faulty pool is kept by its name, lest each rule that names it be a fault as well.
        let pool = pool(entry, &mut all, faults).unwrap_or(Pool { bind: Vec::new(), public: Vec::new() });
        pools.insert(entry.name().to_owned(), pool);
    }
    let count = count(all.bound.iter().map(|taken| &taken.prefix));
    if let Some(field) = field.filter(|_| count > MAX_ALL) {
        field.fault(format!("the pools have {count} addresses; write at most {MAX_ALL} for all of them"), faults);
    }
    overlaps(all.bound, faults, |_, _| true);
    // What is bound by both is told already.
    overlaps(all.seen, faults, |one, other| one.is_public || other.is_public);
    pools
}

fn pool<'a>(entry: Field<'a>, all: &mut All<'a>, faults: &mut Faults) -> Option<Pool> {
    if entry.name() == "none" {
        let message = "a pool named `none` could not be told from no pool; write another name";
        faults.at(entry.key_place(), message);
    } else {
        label_of("a pool's name", entry.name(), entry.key_place(), faults);
    }
    let mut map = entry.map("a pool", faults)?;
    let bind = map.require("bind", faults).and_then(|field| bound(field, faults));
    let public = map.take("public").and_then(|field| prefixes(field, faults, can_be_seen));
    map.finish(&[], faults);
    let (bind, public) = (bind?, public.unwrap_or_default());
    let taken = |is_public| move |&(prefix, place): &_| Taken { prefix, pool: entry.name(), place, is_public };
    let bound: Vec<_> = bind.iter().map(taken(false)).collect();
    let of_nat: Vec<_> = public.iter().map(taken(true)).collect();
    all.seen.extend(seen(&bound, &of_nat, |taken| taken.prefix));
    all.bound.extend(bound);
    let plain = |prefixes: Vec<(IpNet, Place)>| prefixes.into_iter().map(|(prefix, _)| prefix).collect();
    Some(Pool { bind: plain(bind), public: plain(public) })
}

fn bound(field: Field<'_>, faults: &mut Faults) -> Option<Vec<(IpNet, Place)>> {
    let prefixes = prefixes(field, faults, can_be_bound)?;
    let count = count(prefixes.iter().map(|(prefix, _)| prefix));
    if count > MAX_ADDRESSES {
        field.fault(format!("`{}` has {count} addresses; write at most {MAX_ADDRESSES}", field.name()), faults);
    }
    Some(prefixes)
}

/// A list of prefixes of which `wrong` says nothing.
fn prefixes(
    field: Field<'_>,
    faults: &mut Faults,
    wrong: fn(&IpNet) -> Option<&'static str>,
) -> Option<Vec<(IpNet, Place)>> {
    if field.list(faults)?.len() == 0 {
        let example = "`[198.51.100.8/29]`";
        field.fault(format!("`{}` is empty; write at least one prefix, such as {example}", field.name()), faults);
    }
    field.list_of(faults, |item, faults| {
        let prefix = item.read(parse_prefix, faults)?;
        if let Some(wrong) = wrong(&prefix) {
            item.fault(format!("`{prefix}` {wrong}"), faults);
            return None;
        }
        Some((prefix, item.place()))
    })
}

fn can_be_bound(prefix: &IpNet) -> Option<&'static str> {
    let address = prefix.addr();
    let wrong = address.is_unspecified() || address.is_multicast();
    wrong.then_some("cannot be an address of its own; write static addresses")
}

/// A private address may be seen, over a line of one's own. A customer that lets a whole /8 in lets others in as well.
fn can_be_seen(prefix: &IpNet) -> Option<&'static str> {
    let stays_here = match prefix {
        IpNet::V4(prefix) => {
            let first = prefix.network();
            first.octets().starts_with(&[0]) || first.is_loopback() || first.is_link_local()
        }
        IpNet::V6(prefix) => {
            let first = prefix.network();
            first.is_unspecified() || first.is_loopback() || first.is_unicast_link_local()
        }
    };
    if stays_here || prefix.addr().is_multicast() {
        Some("is nothing that a customer can see; write the addresses that the NAT gives")
    } else {
        is_wide(prefix).then_some("is shorter than /16 (/32 for IPv6); write only the addresses that the NAT gives")
    }
}

fn count<'a>(prefixes: impl Iterator<Item = &'a IpNet>) -> u128 {
    prefixes.fold(0, |sum, prefix| sum.saturating_add(size(prefix)))
}

fn size(prefix: &IpNet) -> u128 {
    let free = prefix.max_prefix_len().saturating_sub(prefix.prefix_len());
    1_u128.checked_shl(u32::from(free)).unwrap_or(u128::MAX)
}

/// An address in two pools would make the customer of the one look like the customer of the other.
/// In the order of their first addresses, a prefix overlaps only those that hold it, which come before it.
fn overlaps(mut taken: Vec<Taken<'_>>, faults: &mut Faults, is_fault: fn(&Taken<'_>, &Taken<'_>) -> bool) {
    taken.sort_by_key(|taken| (taken.prefix.network(), taken.prefix.prefix_len(), taken.place));
    let mut holding: Option<&Taken<'_>> = None;
    for taken in &taken {
        match holding {
            Some(holder) if holder.prefix.contains(&taken.prefix) && !is_fault(holder, taken) => {}
            Some(holder) if holder.prefix.contains(&taken.prefix) => {
                let (first, second) = if holder.place < taken.place { (holder, taken) } else { (taken, holder) };
                let message = format!(
                    "`{}` holds addresses of `{}`, in line {} for pool `{}`; write each address once",
                    second.prefix, first.prefix, first.place.line, first.pool
                );
                faults.at(second.place, message);
            }
            Some(_) | None => holding = Some(taken),
        }
    }
}

#[cfg(test)]
#[path = "pools_tests.rs"]
mod tests;
