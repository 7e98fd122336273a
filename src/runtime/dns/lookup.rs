//! One name to its addresses: both families at once, each along its chain of aliases, every alias judged before it is followed.
//! Not here: which server is asked (`servers`), what is kept (`store`).
//! Source: RFC 1034 section 3.6.2 (aliases), RFC 2181 section 10.1, RFC 8305 section 3 (how long the second family may take).

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::{Either, select};
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use tokio::time::timeout;

use super::chain::Dnssec;
use super::servers::{Reply, Servers};
use super::store::Said;
use super::{Answer, Failure};
use crate::name::Fqdn;
use crate::policy::Admitted;

/// Upper bound of addresses taken from one answer. A whole UDP answer of 1,232 bytes holds fewer than 80.
const MAX_ADDRESSES: usize = 64;

/// Upper bound of aliases on the way to an address. Content networks need three or four; unbound stops at 11.
const MAX_ALIASES: usize = 10;

/// How long the second family may still take once the first has addresses (RFC 8305 section 3 has 50 ms; every address that comes is
/// judged, so a little more patience is worth having). A server that never answers for one family costs no more.
const FAMILY_DELAY: Duration = Duration::from_millis(250);

/// What one family came to.
struct Family {
    addresses: Vec<IpAddr>,
    aliases: Vec<Fqdn>,
    /// The least of all that led here. `None`: there is nothing, and no time for it.
    ttl: Option<Duration>,
    /// Whether the policy denies the last alias, so that nothing was asked behind it.
    denied: bool,
    /// How far all of that can be relied on; `None`: nothing was validated.
    dnssec: Option<Dnssec>,
}

/// Asks for `name` and for what it leads to.
pub async fn lookup(servers: &Servers, name: &Fqdn, admitted: &Admitted) -> Said {
    let family = |kind| Box::pin(follow(servers, name, kind, admitted));
    let has_addresses =
        |family: &Result<Family, Failure>| family.as_ref().is_ok_and(|family| !family.addresses.is_empty());
    let both = match select(family(RecordType::A), family(RecordType::AAAA)).await {
        Either::Left((first, rest)) | Either::Right((first, rest)) => {
            let second = if has_addresses(&first) {
                timeout(FAMILY_DELAY, rest).await.unwrap_or(Err(Failure::TimedOut))
            } else {
                rest.await
            };
            [first, second]
        }
    };
    together(both)
}

/// Addresses of either family are an answer; that there are none both must have said.
fn together(families: [Result<Family, Failure>; 2]) -> Said {
    let (mut answer, mut failure, mut denied) = (Answer::default(), None, false);
    let (mut found, mut absent) = (Vec::new(), Vec::new());
    for family in families {
        match family {
            Ok(family) => {
                if family.addresses.is_empty() { &mut absent } else { &mut found }.extend(family.ttl);
                denied |= family.denied;
                answer.dnssec = weaker(answer.dnssec, family.dnssec);
                answer.addresses.extend(family.addresses);
                let new: Vec<_> = family.aliases.into_iter().filter(|alias| !answer.aliases.contains(alias)).collect();
                answer.aliases.extend(new);
            }
            Err(other) => failure = failure.max(Some(other)),
        }
    }
    // The policy refuses it; what is behind the alias was not asked for.
    if denied {
        return Said { outcome: Ok(Answer { addresses: Vec::new(), ..answer }.into()), ttl: None };
    }
    match (answer.addresses.len(), failure) {
        (0, Some(failure)) => Said::failed(failure),
        (0, None) => Said { outcome: Err(Failure::Absent), ttl: absent.into_iter().min() },
        (1..=MAX_ADDRESSES, None) => Said { outcome: Ok(answer.into()), ttl: found.into_iter().min() },
        // The family that failed may have addresses: so half an answer is kept only briefly.
        (1..=MAX_ADDRESSES, Some(_)) => Said { outcome: Ok(answer.into()), ttl: None },
        (_, _) => Said::failed(Failure::Failed),
    }
}

/// One family along its chain. Servers give the chain as far as they know it; the rest is asked for.
async fn follow(servers: &Servers, name: &Fqdn, kind: RecordType, admitted: &Admitted) -> Result<Family, Failure> {
    let mut family = Family { addresses: Vec::new(), aliases: Vec::new(), ttl: None, denied: false, dnssec: None };
    let mut ttl = u32::MAX;
    let mut owner = name.clone();
    loop {
        let asked = owner.clone();
        let (records, is_last) = match servers.ask(&asked, kind).await? {
            Reply::Records { records, exists, dnssec } => {
                family.dnssec = weaker(family.dnssec, dnssec);
                (records, !exists)
            }
            Reply::Absent(absent, dnssec) => {
                family.dnssec = weaker(family.dnssec, dnssec);
                family.ttl = absent.map(|absent| seconds(absent.min(ttl)));
                return Ok(family);
            }
        };
        while let Some((alias, time)) = alias_of(&owner, &records)? {
            if family.aliases.len() >= MAX_ALIASES || alias == *name || family.aliases.contains(&alias) {
                return Err(Failure::Failed);
            }
            ttl = ttl.min(time);
            family.denied = !admitted.may_follow(&alias);
            family.aliases.push(alias.clone());
            if family.denied {
                return Ok(family);
            }
            owner = alias;
        }
        for record in records.iter().filter(|record| owns(&owner, record)) {
            if let Some(address) = record.data.ip_addr().filter(|address| address.is_ipv4() == (kind == RecordType::A))
            {
                ttl = ttl.min(time_of(record));
                family.addresses.push(address);
            }
        }
        if !family.addresses.is_empty() {
            family.ttl = Some(seconds(ttl));
            return Ok(family);
        }
        if is_last || owner == asked {
            return Ok(family);
        }
    }
}

/// A chain is as strong as its weakest link.
fn weaker(one: Option<Dnssec>, other: Option<Dnssec>) -> Option<Dnssec> {
    one.into_iter().chain(other).min()
}

/// What `owner` is an alias of, if it is one, and for how many seconds.
fn alias_of(owner: &Fqdn, records: &[Record]) -> Result<Option<(Fqdn, u32)>, Failure> {
    for record in records.iter().filter(|record| owns(owner, record)) {
        if let RData::CNAME(alias) = &record.data {
            // No host name, so nothing that the policy could judge.
            let alias = alias.0.to_string().parse().map_err(|_| Failure::Failed)?;
            return Ok(Some((alias, time_of(record))));
        }
    }
    Ok(None)
}

/// Servers keep the case of the question, or not.
fn owns(owner: &Fqdn, record: &Record) -> bool {
    record.name.to_string().parse::<Fqdn>().is_ok_and(|name| name == *owner)
}

/// RFC 2181 section 8: a time with the highest bit set is none.
fn time_of(record: &Record) -> u32 {
    i32::try_from(record.ttl).map_or(0, i32::unsigned_abs)
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}
