//! The wall clock and decision ids: the only place that asks for either. Source: RFC 9562 section 5.7 (UUIDv7).

use jiff::Timestamp;
use uuid::Uuid;

/// Now, by the wall clock.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// A new id for one decision: a UUIDv7, so ids sort by time.
pub fn new_id() -> Uuid {
    Uuid::now_v7()
}

/// The last second of a day, UTC.
pub fn end_of_day(day: jiff::civil::Date) -> Option<Timestamp> {
    let end = day.at(23, 59, 59, 0).to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(end.timestamp())
}
