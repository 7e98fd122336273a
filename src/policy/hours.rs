//! When a rule holds: days of the week and a span of the local day, in a named time zone.
//! Not here: a clock; the moment is an argument. Zones come from the database that is built in.
//! Source: the contract (`hours`, `expires`): `to` before `from` is over midnight and counts to the day it began on.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// The days of the week by the words of a policy.
pub(super) const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// When a rule holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Hours {
    days: Box<[Weekday]>,
    from: Time,
    to: Time,
    zone: TimeZone,
}

impl Hours {
    /// From `from` (within) to `to` (without) on `days`. None if the two are the same: a whole day and none look alike.
    pub(super) fn new(days: &[Weekday], from: Time, to: Time, zone: TimeZone) -> Option<Self> {
        let days = DAYS.iter().map(|(_, day)| *day).filter(|day| days.contains(day)).collect();
        (from != to).then_some(Self { days, from, to, zone })
    }

    /// Whether the rule holds at `at`.
    pub fn hold(&self, at: Timestamp) -> bool {
        let local = at.to_zoned(self.zone.clone()).datetime();
        let (today, time) = (local.weekday(), local.time());
        if self.from < self.to {
            return self.days.contains(&today) && self.from <= time && time < self.to;
        }
        let began_today = self.from <= time && self.days.contains(&today);
        let began_yesterday = time < self.to && self.days.contains(&today.previous());
        began_today || began_yesterday
    }
}

impl fmt::Display for Hours {
    /// `mon,tue 06:00-22:00 UTC`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = DAYS.iter().filter(|(_, day)| self.days.contains(day)).map(|(word, _)| *word);
        let (from, to) = (self.from.strftime("%H:%M"), self.to.strftime("%H:%M"));
        let zone = self.zone.iana_name().unwrap_or("UTC");
        write!(f, "{} {from}-{to} {zone}", words.collect::<Vec<_>>().join(","))
    }
}

impl fmt::Debug for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hours({self})")
    }
}

/// A zone of the IANA database, by its name.
pub(super) fn zone(name: &str) -> Option<TimeZone> {
    if name == "UTC" {
        return Some(TimeZone::UTC);
    }
    TimeZoneDatabase::bundled().get(name).ok()
}

/// A time of day written `HH:MM`, 00:00 to 23:59.
pub(super) fn time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let two = |part: &str| (part.len() == 2).then(|| digits(part)).flatten();
    Time::new(two(hour)?, two(minute)?, 0, 0).ok()
}

/// A day written `YYYY-MM-DD`.
pub(super) fn date(text: &str) -> Option<Date> {
    let mut parts = text.splitn(3, '-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if (year.len(), month.len(), day.len()) != (4, 2, 2) {
        return None;
    }
    Date::new(digits(year)?, digits(month)?, digits(day)?).ok()
}

/// Whether the last day `expires` (UTC) is over at `at`.
pub(super) fn is_over(expires: Date, at: Timestamp) -> bool {
    at.to_zoned(TimeZone::UTC).date() > expires
}

/// A number of digits alone: no sign, no blank.
fn digits<N: std::str::FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(days: &[Weekday], from: &str, to: &str, name: &str) -> Hours {
        Hours::new(days, time(from).unwrap(), time(to).unwrap(), zone(name).unwrap()).unwrap()
    }

    #[test]
    fn spans_hold_on_the_day_they_began() {
        use Weekday::{Friday, Monday, Sunday};
        let office = hours(&[Monday, Friday], "06:00", "22:00", "UTC");
        let night = hours(&[Friday], "22:00", "06:00", "UTC");
        let sunday = hours(&[Sunday], "22:00", "06:00", "UTC");
        let berlin = hours(&[Monday], "06:00", "22:00", "Europe/Berlin");
        // 2027-01-01 is a Friday.
        for (row, hours, at, want) in [
            ("first minute", &office, "2027-01-01T06:00:00Z", true),
            ("before", &office, "2027-01-01T05:59:59Z", false),
            ("last second", &office, "2027-01-01T21:59:59Z", true),
            ("end is without", &office, "2027-01-01T22:00:00Z", false),
            ("other day", &office, "2027-01-02T12:00:00Z", false),
            ("night, evening", &night, "2027-01-01T23:00:00Z", true),
            ("night, next morning", &night, "2027-01-02T05:59:59Z", true),
            ("night, over", &night, "2027-01-02T06:00:00Z", false),
            ("night, same morning belongs to Thursday", &night, "2027-01-01T05:00:00Z", false),
            ("night, next evening", &night, "2027-01-02T23:00:00Z", false),
            ("over the week's end", &sunday, "2027-01-04T05:00:00Z", true),
            ("winter, zone ahead of UTC", &berlin, "2027-01-04T05:00:00Z", true),
            ("winter, before", &berlin, "2027-01-04T04:59:59Z", false),
            ("summer, zone ahead of UTC", &berlin, "2027-07-05T04:00:00Z", true),
            ("summer, end", &berlin, "2027-07-05T20:00:00Z", false),
        ] {
            assert_eq!(hours.hold(at.parse().unwrap()), want, "{row}");
        }
    }

    #[test]
    fn texts_are_read() {
        for (text, ok) in [
            ("00:00", true),
            ("23:59", true),
            ("24:00", false),
            ("6:00", false),
            ("06:60", false),
            ("+6:00", false),
            ("06:00:00", false),
            ("", false),
        ] {
            assert_eq!(time(text).is_some(), ok, "{text:?}");
        }
        for (text, ok) in [
            ("2027-05-01", true),
            ("2028-02-29", true),
            ("2027-02-29", false),
            ("2027-5-1", false),
            ("20270501", false),
            ("2027-05-01T00:00", false),
            ("-027-05-01", false),
            ("tomorrow", false),
        ] {
            assert_eq!(date(text).is_some(), ok, "{text:?}");
        }
        for (name, ok) in [("UTC", true), ("Europe/Berlin", true), ("Mars/Base", false), ("", false)] {
            assert_eq!(zone(name).is_some(), ok, "{name:?}");
        }
    }

    #[test]
    fn shown_in_the_words_of_a_policy() {
        let shown = hours(&[Weekday::Friday, Weekday::Monday], "22:00", "06:00", "America/New_York");
        assert_eq!(shown.to_string(), "mon,fri 22:00-06:00 America/New_York");
        assert_eq!(format!("{:?}", hours(&[Weekday::Monday], "01:00", "02:00", "UTC")), "Hours(mon 01:00-02:00 UTC)");
        let noon = time("12:00").unwrap();
        assert_eq!(Hours::new(&[], noon, noon, TimeZone::UTC), None, "an empty span");
    }

    #[test]
    fn the_last_day_counts_whole() {
        let last = date("2027-06-30").unwrap();
        for (at, over) in [
            ("2027-06-29T23:59:59Z", false),
            ("2027-06-30T23:59:59.999999Z", false),
            ("2027-07-01T00:00:00Z", true),
            ("2027-06-30T23:30:00-05:00", true),
        ] {
            assert_eq!(is_over(last, at.parse().unwrap()), over, "{at}");
        }
    }
}
