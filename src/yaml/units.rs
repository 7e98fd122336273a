//! Durations, sizes and rates as people write them. Pure.
//! Not here: which of them a key accepts (`field`).
//! Source: the contract: durations `500ms 10s 5m 2h 30d`, sizes `64KiB 2GiB`, rates `100/s 20/m 5/h`.

use std::fmt;
use std::time::Duration;

/// Why a text is not a duration or size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// No whole number with one of the units.
    #[error(
        "{} is not a duration; write a whole number with `ms`, `s`, `m`, `h` or `d`, such as `10s`",
        super::shown(text)
    )]
    Duration {
        /// What was written.
        text: String,
    },
    /// No whole number with one of the units.
    #[error(
        "{} is not a size; write a whole number with `B`, `KiB`, `MiB`, `GiB` or `TiB`, such as `64KiB`",
        super::shown(text)
    )]
    Size {
        /// What was written.
        text: String,
    },
    /// No whole number a second, minute or hour.
    #[error(
        "{} is not a rate; write `1/s` to `{MAX_RATE}/s`, or the same a minute (`/m`) or an hour (`/h`)",
        super::shown(text)
    )]
    Rate {
        /// What was written.
        text: String,
    },
}

/// So many in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many: 1 to 1,000,000.
    pub count: u32,
    /// In which time: a second, a minute or an hour.
    pub period: Duration,
}

/// Upper bound of a rate's number: more than one instance can answer in a second.
const MAX_RATE: u32 = 1_000_000;

/// Units of duration in milliseconds, the largest first.
const DURATIONS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of size in bytes.
const SIZES: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A duration: a whole number and `ms`, `s`, `m`, `h` or `d`, without a space.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    let milliseconds = read(text, &DURATIONS).ok_or_else(|| UnitError::Duration { text: text.to_owned() })?;
    Ok(Duration::from_millis(milliseconds))
}

/// A size in bytes: a whole number and `B`, `KiB`, `MiB`, `GiB` or `TiB`, without a space.
pub fn size(text: &str) -> Result<u64, UnitError> {
    read(text, &SIZES).ok_or_else(|| UnitError::Size { text: text.to_owned() })
}

/// A rate: a whole number, `/`, and `s`, `m` or `h`.
pub fn rate(text: &str) -> Result<Rate, UnitError> {
    let read = || {
        let (count, unit) = text.split_once('/')?;
        let (_, length) = DURATIONS.iter().find(|(name, _)| *name == unit && matches!(unit, "s" | "m" | "h"))?;
        let count = whole(count).filter(|count| (1..=u64::from(MAX_RATE)).contains(count))?;
        Some(Rate { count: u32::try_from(count).ok()?, period: Duration::from_millis(*length) })
    };
    read().ok_or_else(|| UnitError::Rate { text: text.to_owned() })
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = duration_text(self.period);
        write!(f, "{}/{}", self.count, unit.trim_start_matches('1'))
    }
}

/// A duration in the largest unit that leaves a whole number; below a millisecond nothing is left.
pub fn duration_text(value: Duration) -> String {
    let milliseconds = value.as_millis();
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    let (unit, length) =
        DURATIONS.iter().find(|(_, length)| milliseconds.is_multiple_of(u128::from(*length))).unwrap_or(&("ms", 1));
    format!("{}{unit}", milliseconds.checked_div(u128::from(*length)).unwrap_or_default())
}

/// A size in the largest unit that leaves a whole number.
pub fn size_text(bytes: u64) -> String {
    let (unit, length) =
        SIZES.iter().find(|(_, length)| bytes != 0 && bytes.is_multiple_of(*length)).unwrap_or(&("B", 1));
    format!("{}{unit}", bytes.checked_div(*length).unwrap_or_default())
}

fn read(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = text.strip_suffix(unit)?;
    let (_, length) = units.iter().find(|(name, _)| *name == unit)?;
    whole(digits)?.checked_mul(*length)
}

/// A whole number in decimal digits, without sign or leading zero.
pub fn whole(digits: &str) -> Option<u64> {
    let plain = digits == "0" || (!digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()));
    digits.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        for (text, want) in
            [("500ms", 500), ("10s", 10_000), ("5m", 300_000), ("2h", 7_200_000), ("30d", 2_592_000_000), ("0s", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(want)), "`{text}`");
        }
        for text in [
            "",
            "5",
            "s",
            "05s",
            "5 s",
            "+5s",
            "-5s",
            "1.5s",
            "5S",
            "5min",
            "5us",
            "1h30m",
            "99999999999999999999s",
            "9999999999999999d",
        ] {
            assert_eq!(duration(text), Err(UnitError::Duration { text: text.to_owned() }), "`{text}`");
        }
    }

    #[test]
    fn sizes() {
        for (text, want) in [("64KiB", 65_536), ("2GiB", 2 << 30), ("1B", 1), ("3MiB", 3 << 20), ("1TiB", 1 << 40)] {
            assert_eq!(size(text), Ok(want), "`{text}`");
        }
        for text in ["64", "64kb", "64KB", "64K", "1.5GiB", "99999999TiB", "KiB"] {
            assert_eq!(size(text), Err(UnitError::Size { text: text.to_owned() }), "`{text}`");
        }
    }

    #[test]
    fn rates() {
        for (text, count, seconds) in
            [("1/s", 1, 1), ("100/s", 100, 1), ("20/m", 20, 60), ("1000000/h", 1_000_000, 3600)]
        {
            let want = Rate { count, period: Duration::from_secs(seconds) };
            assert_eq!(rate(text), Ok(want), "`{text}`");
            assert_eq!(want.to_string(), text);
        }
        for text in ["", "/s", "0/s", "1000001/s", "+5/s", "5", "5/d", "5/ms", "5 /s", "5/S", "05/s", "99999999999/s"] {
            assert_eq!(rate(text), Err(UnitError::Rate { text: text.to_owned() }), "`{text}`");
        }
    }

    proptest! {
        #[test]
        fn texts_are_read_back(milliseconds in 0..u64::from(u32::MAX), bytes: u64) {
            let value = Duration::from_millis(milliseconds);
            prop_assert_eq!(duration(&duration_text(value)), Ok(value));
            prop_assert_eq!(size(&size_text(bytes)), Ok(bytes));
        }

        #[test]
        fn any_text_is_safe(text: String) {
            let _ = (duration(&text), size(&text), rate(&text));
        }
    }
}
