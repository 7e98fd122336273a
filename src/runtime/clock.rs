//! The wall clock and decision ids: the only place that asks for either. Source: RFC 9562 section 5.7 (UUIDv7).

use jiff::Timestamp;
use uuid::{ContextV7, Uuid};

/// Now, by the wall clock.
pub fn now() -> Timestamp {
    Timestamp::now()
}

thread_local! {
    /// Counts the ids of one thread within a millisecond. The crate's own is one for all threads, behind a lock.
    static CONTEXT: ContextV7 = const { ContextV7::new() };
}

/// A new id for one decision: a UUIDv7, so ids sort by time, and those of one worker in the order in which they were made.
pub fn new_id() -> Uuid {
    CONTEXT.with(|context| Uuid::new_v7(uuid::Timestamp::now(context)))
}

/// The last second of a day, UTC.
pub fn end_of_day(day: jiff::civil::Date) -> Option<Timestamp> {
    let end = day.at(23, 59, 59, 0).to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(end.timestamp())
}
