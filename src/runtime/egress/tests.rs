//! Which address is next, which are left out, and what is told of them.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::runtime::metrics::Metrics;

const TO: &str = "198.51.100.1:443";
const TO_V6: &str = "[2001:db8:1::1]:443";

fn pools(bind: &[&str]) -> Pools {
    let bind: Vec<IpNet> = bind.iter().map(|prefix| prefix.parse().unwrap()).collect();
    Pools::new([("static-a", bind.as_slice())].into_iter())
}

fn depart(pools: &Pools, to: &str) -> Option<Departure> {
    pools.pool("static-a").unwrap().depart(to.parse().unwrap(), Instant::now())
}

/// The last byte or group of the address that is next.
fn next(pools: &Pools, to: &str) -> Option<(String, Departure)> {
    let departure = depart(pools, to)?;
    let ip = departure.ip().to_string();
    Some((ip.rsplit(['.', ':']).next().unwrap().to_owned(), departure))
}

#[test]
fn the_one_with_the_fewest_connections_is_next_and_ties_take_turns() {
    let pools = pools(&["192.0.2.8/30", "2001:db8::7/128"]);
    let mut open = Vec::new();
    for round in 0..3 {
        let mut used: Vec<String> = Vec::new();
        for _ in 0..4 {
            let (last, departure) = next(&pools, TO).unwrap();
            used.push(last);
            open.push(departure);
        }
        used.sort();
        assert_eq!(used, ["10", "11", "8", "9"], "round {round}: each once");
    }
    // Three connections each. Those of one address end: it is next until it has as many as the others.
    open.retain(|departure| departure.ip().to_string() != "192.0.2.10");
    for _ in 0..3 {
        let (last, departure) = next(&pools, TO).unwrap();
        assert_eq!(last, "10");
        open.push(departure);
    }
    assert_eq!(next(&pools, TO_V6).unwrap().0, "7");
    assert_eq!(pools.addresses().count(), 5);
    drop(open);
    let turns: Vec<String> = (0..4).map(|_| next(&pools, TO).unwrap().0).collect();
    let mut each = turns.clone();
    each.sort();
    assert_eq!(each, ["10", "11", "8", "9"], "nobody has a connection, and yet all have their turns: {turns:?}");
}

#[test]
fn a_pool_without_the_family_gives_nothing() {
    let pools = pools(&["192.0.2.8/32"]);
    assert!(next(&pools, TO_V6).is_none());
    assert!(pools.pool("other").is_none());
}

#[test]
fn what_is_out_or_full_is_left_out() {
    let pools = pools(&["192.0.2.8/31"]);
    let pool = pools.pool("static-a").unwrap();
    let (to, now) = (TO.parse().unwrap(), Instant::now());
    let first = pool.depart(to, now).unwrap();
    pool.exhausted(&first, to, now);
    let other = pool.depart(to, now).unwrap();
    assert_ne!(first.ip(), other.ip());
    assert_eq!(pool.depart(to, now).unwrap().ip(), other.ip(), "though it has a connection more");
    pool.lose(&other);
    assert!(pool.depart(to, now).is_none(), "one is full, the other out");
    assert_eq!(pool.depart("198.51.100.2:443".parse().unwrap(), now).unwrap().ip(), first.ip());
    assert_eq!(pool.depart(to, now + Duration::from_secs(1)).unwrap().ip(), first.ip(), "ports come free");
    assert_eq!(pools.out(), 1);
}

#[test]
fn a_loss_is_told_once_and_what_is_back_is_used_again() {
    // The first can be bound on every host, the second on none.
    let pools = pools(&["127.0.0.40/32", "192.0.2.8/32"]);
    let lost = || pools.lost().into_iter().map(|(pool, lost)| format!("{pool} {lost:?}")).collect::<Vec<_>>();
    assert!(pools.look().is_empty());
    assert_eq!(lost(), ["static-a [192.0.2.8/32]"]);
    assert!(pools.look().is_empty() && lost().is_empty(), "told once");
    let departure = depart(&pools, TO).unwrap();
    pools.pool("static-a").unwrap().lose(&departure);
    pools.pool("static-a").unwrap().lose(&departure);
    assert!(depart(&pools, TO).is_none());
    assert!(pools.look().is_empty(), "it is not back before it was told that it was lost");
    assert_eq!(lost(), ["static-a [127.0.0.40/32]"]);
    let back: Vec<IpAddr> = pools.look().into_iter().map(|(_, ip)| ip).collect();
    assert_eq!((back, lost()), (vec![departure.ip()], vec![]));
    assert_eq!(depart(&pools, TO).unwrap().ip(), departure.ip());
    assert_eq!(pools.out(), 1);
}

#[test]
fn metrics_have_every_address_from_the_beginning() {
    let pools = pools(&["192.0.2.8/31"]);
    let pool = pools.pool("static-a").unwrap();
    let metrics = Metrics::new().unwrap();
    let page = || {
        pools.show(&metrics.egress);
        let page = String::from_utf8(metrics.page().unwrap()).unwrap();
        let rows = page.lines().filter_map(|line| line.strip_prefix("sallyport_egress_")?.rsplit_once(' '));
        rows.map(|(row, value)| (row.replace("address=\"192.0.2.", "\""), value.to_owned())).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(page().into_values().collect::<Vec<_>>(), ["1", "1", "0", "0", "0", "0", "0", "0"]);
    let departure = pool.depart(TO.parse().unwrap(), Instant::now()).unwrap();
    pool.exhausted(&departure, TO.parse().unwrap(), Instant::now());
    pool.unroutable(&departure, TO.parse().unwrap(), Instant::now());
    pool.lose(&departure);
    page();
    let last = departure.ip().to_string().replace("192.0.2.", "");
    let of = |name: &str| page()[&format!("{name}{{\"{last}\",pool=\"static-a\"}}")].clone();
    assert_eq!(
        [of("connections"), of("address_up"), of("exhausted_total"), of("unroutable_total")],
        ["1", "0", "1", "1"]
    );
    drop(departure);
    assert_eq!(of("connections"), "0");
}

#[test]
fn an_address_is_gone_if_it_cant_be_bound() {
    for (address, want) in [("127.0.0.40", false), ("192.0.2.8", true), ("2001:db8::8", true)] {
        assert_eq!(is_gone(address.parse().unwrap()), want, "{address}");
    }
}

#[test]
fn what_this_host_cant_bind_is_told_in_few_prefixes() {
    let bind =
        ["127.0.0.40/31", "192.0.2.8/30", "192.0.2.13/32", "2001:db8::8/127"].map(|prefix| prefix.parse().unwrap());
    let here = ["127.0.0.0/31".parse().unwrap()];
    let missing = Pools::new([("static-a", &bind[..]), ("here", &here[..])].into_iter()).missing();
    let told = missing.iter().map(|(pool, prefixes)| {
        let prefixes: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
        format!("{pool} {}", prefixes.join(" "))
    });
    assert_eq!(told.collect::<Vec<_>>(), ["static-a 192.0.2.8/30 192.0.2.13/32 2001:db8::8/127"]);
}

proptest! {
    /// However connections come and go, the next one leaves from an address that has no more than any other.
    #[test]
    fn nobody_has_fewer_than_the_one_that_is_chosen(size in 28_u8..=32, steps: Vec<Option<u8>>) {
        let pools = pools(&[&format!("192.0.2.0/{size}")]);
        let mut open: Vec<Departure> = Vec::new();
        for step in steps {
            match step {
                Some(which) if !open.is_empty() => drop(open.swap_remove(usize::from(which) % open.len())),
                _ => {
                    let count = |ip| open.iter().filter(|departure| departure.ip() == ip).count();
                    let departure = depart(&pools, TO).unwrap();
                    prop_assert!(pools.addresses().all(|ip| count(ip) >= count(departure.ip())));
                    open.push(departure);
                }
            }
        }
    }
}
