//! `limits` of a rule or a source as written → checked.
//! Not here: what they bound (`runtime::quota`). Source: the contract's page on policy files.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::limits::Limits;
use crate::yaml::{self, Faults, Field, MapReader, shown};

/// As many as an instance may have connections.
const TUNNELS: RangeInclusive<u64> = 1..=1_000_000;

/// As the instance's: above a month nobody can tell a tunnel from one that was forgotten.
const IDLE: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(30 * 86_400);

/// As the instance's: a year.
const LIFETIME: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(365 * 86_400);

/// Reads `limits`, if it is there.
pub(super) fn limits(map: &mut MapReader<'_>, faults: &mut Faults) -> Limits {
    let Some(mut map) = map.take("limits").and_then(|field| field.map("`limits`", faults)) else {
        return Limits::default();
    };
    let mut take = |key| map.take(key);
    let tunnels = take("tunnels").and_then(|field| field.number(TUNNELS, faults));
    let limits = Limits {
        tunnels: tunnels.and_then(|tunnels| u32::try_from(tunnels).ok()),
        rate: take("rate").and_then(|field| field.read(yaml::rate, faults)),
        bytes_out: take("bytes_out").and_then(|field| bytes_a_day(field, faults)),
        idle_timeout: take("idle_timeout").and_then(|field| field.duration(IDLE, faults)),
        lifetime: take("lifetime").and_then(|field| field.duration(LIFETIME, faults)),
    };
    map.finish(&[], faults);
    limits
}

/// `SIZE/day`, more than nothing: who wants to let nothing out removes the rule.
fn bytes_a_day(field: Field<'_>, faults: &mut Faults) -> Option<u64> {
    let read = |text: &str| {
        let size = text.strip_suffix("/day").and_then(|size| yaml::size(size).ok()).filter(|size| *size > 0);
        size.ok_or_else(|| format!("{} is no size a day; write one such as `10GiB/day`", shown(text)))
    };
    field.read(read, faults)
}
