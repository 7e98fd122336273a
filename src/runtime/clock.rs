//! The wall clock and decision ids: the only place that asks for either. Source: RFC 9562 section 5.7 (UUIDv7).

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use uuid::{ContextV7, Uuid};

use crate::yaml::{duration, shown};

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

/// A time as people write it: a point in time, the beginning of a day (UTC), or how long ago it was.
///
/// # Errors
/// It is none of them.
pub fn when(text: &str, now: Timestamp) -> Result<Timestamp, TimeError> {
    let ago = || now.checked_sub(jiff::SignedDuration::try_from(duration(text).ok()?).ok()?).ok();
    let day = || Some(text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp());
    let looks_like_day = text.len() == 10;
    let time = if looks_like_day { day() } else { text.parse().ok().or_else(ago) };
    time.ok_or_else(|| TimeError(shown(text)))
}

/// Not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is no time; write one such as `2026-03-01T08:00:00Z`, a day such as `2026-03-01`, or an age such as `30d`"
)]
pub struct TimeError(String);

/// The last second of a day, UTC.
pub fn end_of_day(day: Date) -> Option<Timestamp> {
    let end = day.at(23, 59, 59, 0).to_zoned(TimeZone::UTC).ok()?;
    Some(end.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_write_them() {
        let now: Timestamp = "2026-03-31T12:00:00Z".parse().unwrap();
        for (text, want) in [
            ("2026-03-01T08:00:00Z", Some("2026-03-01T08:00:00Z")),
            ("2026-03-01T08:00:00.5+02:00", Some("2026-03-01T06:00:00.5Z")),
            ("2026-03-01", Some("2026-03-01T00:00:00Z")),
            ("30d", Some("2026-03-01T12:00:00Z")),
            ("90s", Some("2026-03-31T11:58:30Z")),
            ("0s", Some("2026-03-31T12:00:00Z")),
            ("2026-03-01T08:00:00", None),
            ("2026-02-30", None),
            ("2026-3-1", None),
            ("yesterday", None),
            ("30", None),
            ("-30d", None),
            ("", None),
        ] {
            let read = when(text, now);
            assert_eq!(read.as_ref().ok().map(ToString::to_string).as_deref(), want, "`{text}`: {read:?}");
        }
        assert!(when("a\n", now).unwrap_err().to_string().starts_with("`a\\u{a}` is no time; write"));
    }
}
