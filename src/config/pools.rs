//! Pools: the static addresses from which a customer's connections leave, and what the customer sees.
//! Not here: choosing and binding one (`runtime::egress`).
//! Source: the contract: `egress.pools`.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::{Pool, label_of};
use crate::address::parse_prefix;
use crate::yaml::{Faults, Field, Place};

/// Upper bound for the addresses of one pool: each is bound by itself, and has its own metric.
const MAX_ADDRESSES: u128 = 1024;

/// A prefix that some pool binds, for finding the second one.
struct Taken<'a> {
    prefix: IpNet,
    pool: &'a str,
    place: Place,
}

/// Reads `egress`.
pub fn pools(field: Option<Field<'_>>, faults: &mut Faults) -> BTreeMap<String, Pool> {
    let mut pools = BTreeMap::new();
    let Some(mut map) = field.and_then(|field| field.map("`egress`", faults)) else { return pools };
    let entries = map.take("pools").and_then(|field| field.entries(faults));
    map.finish(&[], faults);
    let mut taken = Vec::new();
    for entry in entries.into_iter().flatten() {
        // A faulty pool is kept by its name, lest each rule that names it be a fault as well.
        let pool = pool(entry, &mut taken, faults).unwrap_or(Pool { bind: Vec::new(), public: Vec::new() });
        pools.insert(entry.name().to_owned(), pool);
    }
    overlaps(taken, faults);
    pools
}

fn pool<'a>(entry: Field<'a>, taken: &mut Vec<Taken<'a>>, faults: &mut Faults) -> Option<Pool> {
    if entry.name() == "none" {
        let message = "a pool named `none` could not be told from no pool; write another name";
        faults.at(entry.key_place(), message);
    } else {
        label_of("a pool's name", entry.name(), entry.key_place(), faults);
    }
    let mut map = entry.map("a pool", faults)?;
    let bind = map.require("bind", faults).and_then(|field| prefixes(field, faults));
    let public = map.take("public").and_then(|field| prefixes(field, faults));
    map.finish(&[], faults);
    let bind = bind?;
    taken.extend(bind.iter().map(|&(prefix, place)| Taken { prefix, pool: entry.name(), place }));
    let plain = |prefixes: Vec<(IpNet, Place)>| prefixes.into_iter().map(|(prefix, _)| prefix).collect();
    Some(Pool { bind: plain(bind), public: public.map(plain).unwrap_or_default() })
}

fn prefixes(field: Field<'_>, faults: &mut Faults) -> Option<Vec<(IpNet, Place)>> {
    if field.list(faults)?.len() == 0 {
        let example = "`[198.51.100.8/29]`";
        field.fault(format!("`{}` is empty; write at least one prefix, such as {example}", field.name()), faults);
    }
    let prefixes = field.list_of(faults, |item, faults| {
        let prefix = item.read(parse_prefix, faults)?;
        let address = prefix.addr();
        if address.is_unspecified() || address.is_multicast() {
            item.fault(format!("`{prefix}` cannot be an address of its own; write static addresses"), faults);
            return None;
        }
        Some((prefix, item.place()))
    })?;
    let count = prefixes.iter().fold(0_u128, |sum, (prefix, _)| sum.saturating_add(size(prefix)));
    if count > MAX_ADDRESSES {
        let message = format!("`{}` has {count} addresses; write at most {MAX_ADDRESSES}", field.name());
        field.fault(message, faults);
    }
    Some(prefixes)
}

fn size(prefix: &IpNet) -> u128 {
    let free = prefix.max_prefix_len().saturating_sub(prefix.prefix_len());
    1_u128.checked_shl(u32::from(free)).unwrap_or(u128::MAX)
}

/// An address in two pools would make the customer of the one look like the customer of the other.
/// In the order of their first addresses, a prefix overlaps only those that hold it, which come before it.
fn overlaps(mut taken: Vec<Taken<'_>>, faults: &mut Faults) {
    taken.sort_by_key(|taken| (taken.prefix.network(), taken.prefix.prefix_len(), taken.place));
    let mut holding: Option<&Taken<'_>> = None;
    for taken in &taken {
        match holding {
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
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (prefix, want) in
            [("192.0.2.1/32", 1), ("192.0.2.0/24", 256), ("2001:db8::/64", 1 << 64), ("::/0", u128::MAX)]
        {
            assert_eq!(size(&prefix.parse().unwrap()), want, "`{prefix}`");
        }
    }
}
