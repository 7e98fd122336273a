//! The table that `audit query` prints: a line for each connection, decision and close joined, and for each other record.
//! Not here: which of them (`query`), tables for programs (`evidence::Table`).
//!
//! The columns have fixed widths, so that lines come out as they are found; a longer value pushes the rest of its line. In parentheses
//! stands what is no value of the field: the kind of a record that is no connection, `(open)`, `(unclosed)`.

use std::borrow::Cow;
use std::fmt::{Display, Write};

use crate::evidence::{Line, LineError, Row, State};

/// The names of the columns and their widths in characters; negative: numbers, set to the right.
const COLUMNS: [(&str, i8); 14] = [
    ("TIME", 27),
    ("OUTCOME", 7),
    ("REASON", 22),
    ("ENDED", 13),
    ("SOURCE", 12),
    ("CUSTOMER", 12),
    ("DESTINATION", 30),
    ("RULE", 18),
    ("BYTES_OUT", -10),
    ("BYTES_IN", -10),
    ("SECONDS", -10),
    ("SEQ", -9),
    ("CLIENT", 15),
    ("ID", 36),
];

/// The line above the others.
pub(super) fn header() -> String {
    joined(COLUMNS.map(|(name, _)| name.into()))
}

/// A connection.
pub(super) fn connection(row: &Row) -> Result<String, LineError> {
    let decision = row.decision.as_deref().map(Line::read).transpose()?;
    let close = row.close.as_deref().map(Line::read).transpose()?;
    // One of them is always there.
    let Some(first) = decision.as_ref().or(close.as_ref()) else { return Ok(String::new()) };
    let ended: Cow<'_, str> = match (row.state, &close) {
        (State::Closed | State::Refused, close) => text(close.as_ref().and_then(|close| close.reason.as_deref())),
        (State::Open | State::Unclosed, _) => format!("({})", row.state.as_str()).into(),
    };
    let reason = text(decision.as_ref().and_then(|decision| decision.reason.as_deref()));
    let outcome = shown(first.outcome);
    Ok(line([outcome, reason, ended], first, close.as_ref().unwrap_or(first)))
}

/// A record that is no connection.
pub(super) fn record(record: &[u8]) -> Result<String, LineError> {
    let record = Line::read(record)?;
    let kind = format!("({})", record.kind.as_str());
    Ok(line([kind.into(), text(record.reason.as_deref()), text(None)], &record, &record))
}

/// `first` says when it began, `last` how much went through.
fn line([outcome, reason, ended]: [Cow<'_, str>; 3], first: &Line, last: &Line) -> String {
    joined([
        format!("{:.6}", first.time).into(),
        outcome,
        reason,
        ended,
        text(last.source.as_deref()),
        text(last.customer.as_deref()),
        destination(last),
        text(last.rule.as_deref()),
        shown(last.bytes_out),
        shown(last.bytes_in),
        last.duration_us.map_or("-".into(), seconds),
        shown(Some(first.seq)),
        shown(last.client_ip),
        shown(Some(first.id)),
    ])
}

fn joined(cells: [Cow<'_, str>; COLUMNS.len()]) -> String {
    let mut line = String::with_capacity(256);
    for (cell, (_, width)) in cells.iter().zip(COLUMNS) {
        let (to_right, width) = (width < 0, usize::from(width.unsigned_abs()));
        let gap = if line.is_empty() { "" } else { "  " };
        // Writing to memory doesn't fail.
        let _ = if to_right { write!(line, "{gap}{cell:>width$}") } else { write!(line, "{gap}{cell:<width$}") };
    }
    line.truncate(line.trim_end().len());
    line
}

/// A text of a record, such that it can do nothing to a terminal, and is one word: records that were tampered with are shown too.
pub(super) fn text(text: Option<&str>) -> Cow<'_, str> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return "-".into() };
    let is_plain = |character: char| !character.is_control() && !character.is_whitespace();
    if text.chars().all(is_plain) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len().saturating_mul(2));
    for character in text.chars() {
        if is_plain(character) { out.push(character) } else { out.extend(character.escape_unicode()) }
    }
    out.into()
}

fn shown<'a>(value: Option<impl Display>) -> Cow<'a, str> {
    value.map_or("-".into(), |value| value.to_string().into())
}

fn destination(line: &Line) -> Cow<'_, str> {
    let host = text(line.host.as_deref());
    match line.port {
        Some(port) if host.contains(':') => format!("[{host}]:{port}").into(),
        Some(port) => format!("{host}:{port}").into(),
        None => host,
    }
}

fn seconds<'a>(micros: u64) -> Cow<'a, str> {
    let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
    format!("{seconds}.{rest:06}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "019a0000-0000-7000-8000-000000000007";

    fn record_line(seq: u64, kind: &str, rest: &str) -> Box<[u8]> {
        let time = format!("2026-11-21T10:00:0{seq}.000302Z");
        format!(r#"{{"v":1,"seq":{seq},"time":"{time}","kind":"{kind}","id":"{ID}","instance":"a"{rest}}}"#)
            .into_bytes()
            .into()
    }

    fn row(state: State, decision: Option<&str>, close: Option<&str>) -> Row {
        let decision = decision.map(|rest| record_line(3, "decision", rest));
        let close = close.map(|rest| record_line(8, "close", rest));
        Row { state, decision, close, wanted: true, id: ID.parse().unwrap() }
    }

    const ALLOW: &str = r#","outcome":"allow","reason":"allowed","rule":"acme/a","customer":"acme","source":"ivr","client_ip":"10.0.0.9","host":"api.acme.test","port":443"#;
    const CLOSE: &str = r#","outcome":"allow","reason":"client_closed","rule":"acme/a","customer":"acme","source":"ivr","client_ip":"10.0.0.9","host":"api.acme.test","port":443,"bytes_out":17,"bytes_in":4096,"duration_us":5000123"#;
    const DENY: &str = r#","outcome":"deny","reason":"destination_not_listed","client_ip":"10.0.0.9","host":"2001:db8::1","port":8443,"duration_us":42"#;

    #[test]
    fn what_stands_in_a_line_by_table() {
        let connection = |row: Row| connection(&row).unwrap();
        for (name, line, want) in [
            (
                "closed",
                connection(row(State::Closed, Some(ALLOW), Some(CLOSE))),
                "2026-11-21T10:00:03.000302Z allow allowed client_closed ivr acme api.acme.test:443 acme/a 17 4096 5.000123 3 10.0.0.9",
            ),
            (
                "open",
                connection(row(State::Open, Some(ALLOW), None)),
                "2026-11-21T10:00:03.000302Z allow allowed (open) ivr acme api.acme.test:443 acme/a - - - 3 10.0.0.9",
            ),
            (
                "unclosed",
                connection(row(State::Unclosed, Some(ALLOW), None)),
                "2026-11-21T10:00:03.000302Z allow allowed (unclosed) ivr acme api.acme.test:443 acme/a - - - 3 10.0.0.9",
            ),
            (
                "begun before",
                connection(row(State::Closed, None, Some(CLOSE))),
                "2026-11-21T10:00:08.000302Z allow - client_closed ivr acme api.acme.test:443 acme/a 17 4096 5.000123 8 10.0.0.9",
            ),
            (
                "refused",
                connection(row(State::Refused, Some(DENY), None)),
                "2026-11-21T10:00:03.000302Z deny destination_not_listed - - - [2001:db8::1]:8443 - - - 0.000042 3 10.0.0.9",
            ),
            (
                "another record",
                record(&record_line(1, "heartbeat", "")).unwrap(),
                "2026-11-21T10:00:01.000302Z (heartbeat) - - - - - - - - - 1 -",
            ),
        ] {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(words.join(" "), format!("{want} {ID}"), "{name}");
            assert_eq!(words.len(), COLUMNS.len(), "{name}");
        }
    }

    #[test]
    fn columns_stand_below_their_names_and_long_values_push() {
        let (header, line) = (header(), connection(&row(State::Closed, Some(ALLOW), Some(CLOSE))).unwrap());
        for (name, value) in [("OUTCOME", "allow "), ("DESTINATION", "api.acme.test:443 "), ("ID", ID)] {
            assert_eq!(line.find(value), header.find(name), "{name}\n{header}\n{line}");
        }
        let end = |text: &str, word: &str| text.find(word).unwrap() + word.len();
        for (name, value) in [("BYTES_OUT", " 17"), ("BYTES_IN", " 4096"), ("SECONDS", " 5.000123"), ("SEQ", " 3")] {
            assert_eq!(end(&line, value), end(&header, name), "{name}\n{header}\n{line}");
        }
        let host = format!("{}.test", "x".repeat(60));
        let long = DENY.replace("2001:db8::1", &host);
        let line = connection(&row(State::Refused, Some(&long), None)).unwrap();
        assert!(line.contains(&format!("  {host}:8443  -")), "{line}");
    }

    #[test]
    fn nothing_of_a_record_reaches_the_terminal_as_a_command() {
        for (given, want) in [
            (None, "-"),
            (Some(""), "-"),
            (Some("api.acme.test"), "api.acme.test"),
            (Some("a b\u{a0}c"), r"a\u{20}b\u{a0}c"),
            (Some("\u{1b}[2Jä\u{9b}1m\n"), r"\u{1b}[2Jä\u{9b}1m\u{a}"),
        ] {
            assert_eq!(text(given), want, "{given:?}");
        }
        let host = DENY.replace("2001:db8::1", r"\u001b]0;x\u0007");
        let line = connection(&row(State::Refused, Some(&host), None)).unwrap();
        assert!(!line.contains('\u{1b}') && line.contains(r"\u{1b}]0;x\u{7}:8443"), "{line}");
    }

    #[test]
    fn what_is_no_record_is_no_line() {
        assert!(record(b"{}").is_err());
        let broken = Row { decision: Some(b"{}".as_slice().into()), ..row(State::Open, None, None) };
        assert!(connection(&broken).is_err());
    }
}
