//! Handshakes of a listener that are under way: how many there may be of all clients, and how many of one.
//! Not here: handshakes (`handshake`).
//! Source: a client can be as slow as its deadline, so that many slow ones must not keep others out; RFC 6177 (a site has a /64 at least).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::policy::Origin;

/// Handshakes of one listener that are under way at a time; more clients are refused. Each holds some 64 KiB at most.
const MAX_HANDSHAKES: usize = 4096;

/// Those of one client: it takes eight clients at the least to keep others out. Many that come together from one address, as behind a
/// load balancer that names nobody, take some milliseconds each.
const MAX_CLIENT_HANDSHAKES: usize = MAX_HANDSHAKES / 8;

/// Bits of an IPv6 address that one client can't choose.
const IPV6_NETWORK: u128 = !(u64::MAX as u128);

/// The handshakes of one listener that are under way.
#[derive(Debug, Default)]
pub struct UnderWay(Mutex<Counts>);

/// How many there are.
#[derive(Debug, Default)]
struct Counts {
    all: usize,
    /// Those of each client that has any.
    by_client: HashMap<Origin, usize>,
}

/// One handshake that is under way.
#[derive(Debug)]
pub(super) struct Place<'a> {
    under_way: &'a UnderWay,
    client: Origin,
}

impl UnderWay {
    /// Begins one, of a client that comes from there. `None`: so many others are under way.
    pub(super) fn begin(&self, origin: Origin) -> Option<Place<'_>> {
        let client = client(origin);
        let mut counts = self.counts();
        let own = counts.by_client.get(&client).copied().unwrap_or_default();
        if counts.all >= MAX_HANDSHAKES || own >= MAX_CLIENT_HANDSHAKES {
            return None;
        }
        counts.all = counts.all.saturating_add(1);
        counts.by_client.insert(client, own.saturating_add(1));
        Some(Place { under_way: self, client })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut counts = self.under_way.counts();
        counts.all = counts.all.saturating_sub(1);
        let own = counts.by_client.get(&self.client).copied().unwrap_or_default().saturating_sub(1);
        if own == 0 {
            counts.by_client.remove(&self.client);
        } else {
            counts.by_client.insert(self.client, own);
        }
    }
}

/// Whom handshakes are counted for: with IPv6 a network, as whoever has one address of it has all of them.
fn client(origin: Origin) -> Origin {
    match origin {
        Origin::Address(IpAddr::V6(address)) => {
            Origin::Address(Ipv6Addr::from_bits(address.to_bits() & IPV6_NETWORK).into())
        }
        Origin::Address(IpAddr::V4(_)) | Origin::User(_) | Origin::Unknown => origin,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn begin<'a>(under_way: &'a UnderWay, client: &str, count: usize) -> Vec<Place<'a>> {
        let origin = if client.is_empty() { Origin::Unknown } else { client.parse().unwrap() };
        std::iter::repeat_with(|| under_way.begin(origin)).take(count).map_while(|place| place).collect()
    }

    #[test]
    fn one_client_does_not_shut_out_the_others() {
        let under_way = UnderWay::default();
        for (full, same, others) in [
            ("192.0.2.1", vec!["192.0.2.1"], vec!["192.0.2.2", "2001:db8::1", ""]),
            ("2001:db8::1", vec!["2001:db8::1", "2001:db8::ffff:1:2:3"], vec!["2001:db8:0:1::1", "192.0.2.1"]),
            ("", vec![""], vec!["192.0.2.1"]),
        ] {
            let places = begin(&under_way, full, MAX_HANDSHAKES);
            assert_eq!(places.len(), MAX_CLIENT_HANDSHAKES, "`{full}`");
            for client in same {
                assert!(begin(&under_way, client, 1).is_empty(), "`{client}` beside `{full}`");
            }
            for client in others {
                assert_eq!(begin(&under_way, client, 1).len(), 1, "`{client}` beside `{full}`");
            }
        }
        assert!(under_way.counts().by_client.is_empty(), "who has none under way is not kept");
    }

    #[test]
    fn there_is_an_end_to_all_of_them() {
        let under_way = UnderWay::default();
        let mut places: Vec<_> = (0..MAX_HANDSHAKES)
            .filter_map(|number| under_way.begin(Origin::User(number.try_into().unwrap())))
            .collect();
        assert_eq!(places.len(), MAX_HANDSHAKES);
        assert!(begin(&under_way, "192.0.2.1", 1).is_empty());
        places.pop();
        assert_eq!(begin(&under_way, "192.0.2.1", 1).len(), 1, "each gives its place back");
    }

    proptest! {
        /// However they come and go, the counts are those of the places there are.
        #[test]
        fn what_is_counted_is_what_is_under_way(steps in proptest::collection::vec((0_u32..4, any::<bool>()), 0..100)) {
            let under_way = UnderWay::default();
            let mut places: Vec<Place<'_>> = Vec::new();
            for (user, comes) in steps {
                if comes {
                    places.extend(under_way.begin(Origin::User(user)));
                } else if let Some(index) = places.iter().position(|place| place.client == Origin::User(user)) {
                    places.swap_remove(index);
                }
                let counts = under_way.counts();
                prop_assert_eq!(counts.all, places.len());
                for user in 0..4 {
                    let own = places.iter().filter(|place| place.client == Origin::User(user)).count();
                    prop_assert_eq!(counts.by_client.get(&Origin::User(user)).copied(), (own > 0).then_some(own));
                }
            }
        }
    }
}
