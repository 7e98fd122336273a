//! One line on a terminal that says how far long work is: rewritten in place, gone at the end. Nothing where stderr is no terminal.
//! Not here: results. Source: clig.dev.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often the line is rewritten at most; more can't be read.
const PAUSE: Duration = Duration::from_millis(200);

/// Work under way. Its line goes when this does.
pub(super) struct Progress {
    /// `None`: nobody looks.
    line: Option<Line>,
    /// What is counted.
    unit: &'static str,
}

struct Line {
    begun: Instant,
    shown: Option<Instant>,
}

impl Progress {
    /// Begins; records are counted.
    pub(super) fn new() -> Self {
        Self::counting("records")
    }

    /// Begins; `unit` is what is counted.
    pub(super) fn counting(unit: &'static str) -> Self {
        let line = io::stderr().is_terminal().then(|| Line { begun: Instant::now(), shown: None });
        Self { line, unit }
    }

    /// So many `of` all are done; 0: it is not known how many there are.
    pub(super) fn at(&mut self, done: u64, of: u64) {
        let Some(line) = &mut self.line else { return };
        let now = Instant::now();
        if line.shown.is_some_and(|shown| now.saturating_duration_since(shown) < PAUSE) {
            return;
        }
        line.shown = Some(now);
        let text = text((done, of), self.unit, now.saturating_duration_since(line.begun));
        // There is nobody to tell that it can't be shown.
        let _ = write!(io::stderr().lock(), "\r{CLEAR}{text}");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.line.as_ref().is_some_and(|line| line.shown.is_some()) {
            let _ = write!(io::stderr().lock(), "\r{CLEAR}");
        }
    }
}

/// Clears what is right of the cursor (ECMA-48, EL).
const CLEAR: &str = "\u{1b}[K";

fn text((done, of): (u64, u64), unit: &str, took: Duration) -> String {
    let a_second = u128::from(done).saturating_mul(1000).checked_div(took.as_millis()).unwrap_or_default();
    match u128::from(done).saturating_mul(100).checked_div(u128::from(of)) {
        Some(percent) => format!("{}% of {of} {unit}, {a_second} a second", percent.min(100)),
        None => format!("{done} {unit}, {a_second} a second"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_far_it_is() {
        for (records, of, millis, want) in [
            (0, 1000, 0, "0% of 1000 records, 0 a second"),
            (500, 1000, 250, "50% of 1000 records, 2000 a second"),
            (1005, 1000, 1000, "100% of 1000 records, 1005 a second"),
            (7, 0, 1000, "7 records, 7 a second"),
            (u64::MAX, u64::MAX, 1, "100% of 18446744073709551615 records, 18446744073709551615000 a second"),
        ] {
            assert_eq!(text((records, of), "records", Duration::from_millis(millis)), want);
        }
    }
}
