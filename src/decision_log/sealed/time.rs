//! The time of a record as it is written, which sorts as it is.
//! Not here: arithmetic on times (`jiff`). Source: RFC 3339, in UTC with six decimals, as the contract has it.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Such as `2026-11-21T10:00:00.000001Z`. Of texts in this one form the earlier time is the lesser text, so no query decodes them.
/// Whether there is such a day is not judged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordTime([u8; LENGTH]);

const LENGTH: usize = FORM.len();
/// `0` stands for any digit.
const FORM: &[u8] = b"0000-00-00T00:00:00.000000Z";

/// A text is no time as records have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a time such as `2026-11-21T10:00:00.000001Z`")]
pub struct NotATime;

impl RecordTime {
    /// The first time that a record can have at or after `time`: nothing is finer than a microsecond.
    /// Before the year 0 there is none, so it is the first.
    pub fn at_or_after(time: Timestamp) -> Self {
        let rest = time.subsec_nanosecond().rem_euclid(1000);
        let up = if rest == 0 { 0 } else { 1000_i32.saturating_sub(rest) };
        let whole = time.saturating_add(jiff::SignedDuration::from_nanos(i64::from(up))).unwrap_or(time);
        format!("{whole:.6}").parse().unwrap_or(Self(*b"0000-00-00T00:00:00.000000Z"))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for RecordTime {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let bytes: [u8; LENGTH] = text.as_bytes().try_into().map_err(|_| NotATime)?;
        // Without an early end, so that it is done in wide registers.
        let fits = |fits: bool, (byte, form): (&u8, &u8)| {
            fits & if *form == b'0' { byte.is_ascii_digit() } else { byte == form }
        };
        if bytes.iter().zip(FORM).fold(true, fits) { Ok(Self(bytes)) } else { Err(NotATime) }
    }
}

impl fmt::Display for RecordTime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl fmt::Debug for RecordTime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl Serialize for RecordTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for RecordTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_form_alone() {
        for (text, want) in [
            ("2026-11-21T10:00:00.000001Z", true),
            ("9999-12-31T23:59:59.999999Z", true),
            ("2026-11-21T10:00:00.00001Z", false),
            ("2026-11-21T10:00:00.0000001Z", false),
            ("2026-11-21t10:00:00.000001Z", false),
            ("2026-11-21T10:00:00.000001z", false),
            ("2026-11-21T10:00:00+00:00.0", false),
            ("2026-11-21T10:00:00.00000:Z", false),
            ("2026-11-21T10:00:00.00000/Z", false),
            ("002026-11-21T10:00:00.0001Z", false),
            ("", false),
        ] {
            let read = text.parse::<RecordTime>();
            assert_eq!(read.is_ok(), want, "`{text}`");
            assert!(read.is_err() || read.unwrap().to_string() == text, "`{text}`");
        }
    }

    #[test]
    fn bounds_are_rounded_up_and_never_fail() {
        for (time, want) in [
            ("2026-11-21T10:00:00Z", "2026-11-21T10:00:00.000000Z"),
            ("2026-11-21T10:00:00.000001Z", "2026-11-21T10:00:00.000001Z"),
            ("2026-11-21T10:00:00.000001001Z", "2026-11-21T10:00:00.000002Z"),
            ("2026-11-21T10:00:00.999999999Z", "2026-11-21T10:00:01.000000Z"),
            ("1969-12-31T23:59:59.999999999Z", "1970-01-01T00:00:00.000000Z"),
            ("1969-12-31T23:59:58.000000001Z", "1969-12-31T23:59:58.000001Z"),
            ("-000001-12-31T23:59:58Z", "0000-00-00T00:00:00.000000Z"),
        ] {
            assert_eq!(RecordTime::at_or_after(time.parse().unwrap()).as_str(), want, "{time}");
        }
        assert!(RecordTime::at_or_after(Timestamp::MAX).as_str().starts_with("9999-"));
    }

    proptest! {
        #[test]
        fn texts_sort_as_times_do(one in 0_i64..1 << 53, other in 0_i64..1 << 53) {
            let [a, b] = [one, other].map(|micros| Timestamp::from_microsecond(micros).unwrap());
            let [x, y] = [a, b].map(|time| format!("{time:.6}").parse::<RecordTime>().unwrap());
            prop_assert_eq!(a.cmp(&b), x.cmp(&y));
            prop_assert_eq!(RecordTime::at_or_after(a), x);
        }
    }
}
