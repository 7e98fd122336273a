//! Bounds on connections and waits, for the instance as a whole.
//! Not here: limits of a rule (`policy`), nor what the descriptor limit holds (`runtime`).
//! Source: the contract: `limits`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Limits;
use crate::yaml::{Faults, Field, Located, MapReader, Place};

/// An idle tunnel takes two descriptors and about 3 KiB: a million is 3 GiB, more than one host should bear.
const CONNECTIONS: RangeInclusive<u64> = 1..=1_000_000;

/// What a busy site needs several times over, and what 16,384 descriptors hold.
const DEFAULT_CONNECTIONS: u64 = 8000;

/// Half of the whole, so that one source that runs wild leaves room for the others.
const DEFAULT_CONNECTIONS_PER_SOURCE: u64 = 4000;

/// Below, an honest client on a slow line fails; above, an attacker holds descriptors for nothing.
const SETUP: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(300);

/// Ten seconds is three retransmissions of a lost SYN (RFC 6298: after 1, 3 and 7 seconds).
const DEFAULT_SETUP: Duration = Duration::from_secs(10);

/// Above a month nobody can tell a tunnel from one that was forgotten.
const IDLE: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(30 * 86_400);

/// Long polls and quiet database links live through an hour; forgotten ones do not.
const DEFAULT_IDLE: Duration = Duration::from_secs(3600);

/// A year, for links that only a restart may break.
const LIFETIME: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(365 * 86_400);

/// A day: every tunnel is judged anew daily.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(86_400);

/// Zero cuts at once; service managers kill what takes longer than an hour.
const DRAIN: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);

/// Kubernetes' `terminationGracePeriodSeconds` has this default.
const DEFAULT_DRAIN: Duration = Duration::from_secs(30);

/// Load balancers ask every few seconds; longer than five minutes nobody waits for them.
const DRAIN_DELAY: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(300);

/// Nobody has to be waited for where no load balancer asks `/readyz`.
const DEFAULT_DRAIN_DELAY: Duration = Duration::ZERO;

/// Reads `limits`. `root` is where the default of `connections` is placed if there are none.
pub fn limits(field: Option<Field<'_>>, root: Place, faults: &mut Faults) -> Limits {
    let place = field.map_or(root, |field| field.key_place());
    let mut limits = Limits {
        connections: Located { value: DEFAULT_CONNECTIONS, place },
        connections_given: false,
        connections_per_source: DEFAULT_CONNECTIONS_PER_SOURCE,
        head_timeout: DEFAULT_SETUP,
        hello_timeout: DEFAULT_SETUP,
        dial_timeout: DEFAULT_SETUP,
        idle_timeout: DEFAULT_IDLE,
        lifetime: DEFAULT_LIFETIME,
        drain_delay: DEFAULT_DRAIN_DELAY,
        drain_timeout: DEFAULT_DRAIN,
    };
    let Some(mut map) = field.and_then(|field| field.map("`limits`", faults)) else { return limits };
    if let Some(field) = map.take("connections")
        && let Some(value) = field.number(CONNECTIONS, faults)
    {
        limits.connections = field.located(value);
        limits.connections_given = true;
    }
    if let Some(value) = map.take("connections_per_source").and_then(|field| field.number(CONNECTIONS, faults)) {
        limits.connections_per_source = value;
    }
    limits.head_timeout = wait(&mut map, "head_timeout", (DEFAULT_SETUP, SETUP), faults);
    limits.hello_timeout = wait(&mut map, "hello_timeout", (DEFAULT_SETUP, SETUP), faults);
    limits.dial_timeout = wait(&mut map, "dial_timeout", (DEFAULT_SETUP, SETUP), faults);
    limits.idle_timeout = wait(&mut map, "idle_timeout", (DEFAULT_IDLE, IDLE), faults);
    limits.lifetime = wait(&mut map, "lifetime", (DEFAULT_LIFETIME, LIFETIME), faults);
    limits.drain_delay = wait(&mut map, "drain_delay", (DEFAULT_DRAIN_DELAY, DRAIN_DELAY), faults);
    limits.drain_timeout = wait(&mut map, "drain_timeout", (DEFAULT_DRAIN, DRAIN), faults);
    map.finish(&[], faults);
    limits
}

fn wait(
    map: &mut MapReader<'_>,
    key: &'static str,
    (default, range): (Duration, RangeInclusive<Duration>),
    faults: &mut Faults,
) -> Duration {
    map.take(key).and_then(|field| field.duration(range, faults)).unwrap_or(default)
}
