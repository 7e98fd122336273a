//! `/v1/decisions`: records by a query, as the lines that the log has or as a table of connections.
//! Not here: what is looked for and what is skipped (`decision_log::Query`), joining and columns (`evidence`).
//! Source: the contract: "Admin port"; RFC 4180 (CSV); WHATWG URL, section 5.1 (how queries are written).

use std::io::{self, Write};
use std::ops::ControlFlow;

use http::{HeaderMap, header};
use jiff::Timestamp;

use super::log::LogError;
use crate::decision_log::{Criteria, Found, Query, QueryError};
use crate::evidence::{Head, Joiner, Table};
use crate::runtime::archive::Archive;
use crate::runtime::clock::{TimeError, when};

/// Bytes of decisions that wait for their close while a table is made, so that queries take little from a proxy that serves.
const MAX_JOINED: usize = 32 * 1024 * 1024;

/// The parameters, for who wrote another one.
const PARAMETERS: &str = "since, until, customer, source, host, outcome, reason, rule, id, kind";

/// What a call asks for.
#[derive(Debug)]
pub struct Wanted {
    query: Query,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    /// How it is to be written.
    pub form: Form,
    /// The parameters in the clear, for the record of the call.
    pub asked: String,
}

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One record a line, as the log has it.
    Lines,
    /// One connection a row, decision and close joined.
    Table,
}

/// Why a call asks for nothing that could be given.
#[derive(Debug, thiserror::Error)]
pub enum WantedError {
    /// A parameter that there is none of.
    #[error("unknown parameter; there are {PARAMETERS}, each but the times as often as you like")]
    Parameter,
    /// A time twice.
    #[error("`{0}` is given twice; write it once")]
    Twice(&'static str),
    /// Bytes that are no text.
    #[error("a value is not UTF-8, or a `%` is without two hexadecimal digits behind it; write `%25` for a `%`")]
    Encoding,
    /// No time.
    #[error("{0}")]
    Time(#[from] TimeError),
    /// A value that no record has.
    #[error("{0}")]
    Query(#[from] QueryError),
}

impl Form {
    /// What the `Accept` field asks for.
    pub fn accepted(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("");
        if accept.to_ascii_lowercase().contains("text/csv") { Self::Table } else { Self::Lines }
    }
}

impl Wanted {
    /// What a call's query asks for.
    ///
    /// # Errors
    /// See [`WantedError`].
    pub fn read(query: &str, form: Form, now: Timestamp) -> Result<Self, WantedError> {
        let (mut criteria, mut asked) = (Criteria::default(), Vec::new());
        for (key, value) in
            query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        {
            let value = decoded(value).ok_or(WantedError::Encoding)?;
            asked.push(format!("{key}={value}"));
            match key {
                "since" => once(&mut criteria.since, "since", when(&value, now)?)?,
                "until" => once(&mut criteria.until, "until", when(&value, now)?)?,
                "customer" => criteria.customer.push(value),
                "source" => criteria.source.push(value),
                "host" => criteria.host.push(value),
                "outcome" => criteria.outcome.push(value),
                "reason" => criteria.reason.push(value),
                "rule" => criteria.rule.push(value),
                "id" => criteria.id.push(value),
                "kind" => criteria.kind.push(value),
                _ => return Err(WantedError::Parameter),
            }
        }
        let (since, until) = (criteria.since, criteria.until);
        Ok(Self { query: Query::new(criteria)?, since, until, form, asked: asked.join("&") })
    }

    /// Writes what the log has of it.
    ///
    /// # Errors
    /// The log can't be read, or `out` takes no more.
    pub fn write(&self, archive: &Archive, out: &mut dyn Write) -> Result<(), LogError> {
        match self.form {
            Form::Lines => walk(archive, &self.query, &mut Lines(out)),
            Form::Table => {
                // A row is asked for if its decision or its close is, so all records from the first time on are read.
                let all = Criteria { since: self.since, ..Criteria::default() };
                let all = Query::new(all).map_err(WantedError::from)?;
                let mut rows = Rows { wanted: self, joiner: Joiner::with_limit(MAX_JOINED), table: Table::begin(out)? };
                walk(archive, &all, &mut rows)?;
                let Rows { joiner, mut table, .. } = rows;
                for row in joiner.finish().iter().filter(|row| row.wanted) {
                    table.write(row)?;
                }
                Ok(table.flush()?)
            }
        }
    }
}

/// Takes what is found, in the log's order.
trait Sink {
    /// One record; says whether there is an end.
    fn record(&mut self, found: Found<'_>) -> Result<ControlFlow<()>, LogError>;

    /// Hands on what came so far; an error if nobody waits for it.
    fn flush(&mut self) -> io::Result<()>;
}

struct Lines<'a>(&'a mut dyn Write);

impl Sink for Lines<'_> {
    fn record(&mut self, found: Found<'_>) -> Result<ControlFlow<()>, LogError> {
        self.0.write_all(found.line)?;
        self.0.write_all(b"\n")?;
        Ok(ControlFlow::Continue(()))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

struct Rows<'q, 'o> {
    wanted: &'q Wanted,
    joiner: Joiner,
    table: Table<&'o mut dyn Write>,
}

impl Sink for Rows<'_, '_> {
    /// Behind the last time it goes on only until each decision that is asked for has its close.
    fn record(&mut self, found: Found<'_>) -> Result<ControlFlow<()>, LogError> {
        let head = Head::read(found.line)?;
        let until = self.wanted.until;
        if until.is_some_and(|until| head.time >= until) && !self.joiner.awaits(until) {
            return Ok(ControlFlow::Break(()));
        }
        let rows = self.joiner.push(&head, found.line, self.wanted.query.fits(found.facets));
        for row in rows.iter().filter(|row| row.wanted) {
            self.table.write(row)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.table.flush()
    }
}

/// Goes through the segments that may have what is looked for. A reader that has gone ends it behind one of them.
fn walk(archive: &Archive, query: &Query, sink: &mut dyn Sink) -> Result<(), LogError> {
    for segment in archive.segments()? {
        let walked = archive.walk(segment, query, &mut |found| match sink.record(found) {
            Ok(ControlFlow::Continue(())) => ControlFlow::Continue(()),
            Ok(ControlFlow::Break(())) => ControlFlow::Break(Ok(())),
            Err(error) => ControlFlow::Break(Err(error)),
        })?;
        if let ControlFlow::Break(end) = walked {
            return end;
        }
        sink.flush()?;
    }
    Ok(())
}

fn once(to: &mut Option<Timestamp>, key: &'static str, value: Timestamp) -> Result<(), WantedError> {
    if to.replace(value).is_some() { Err(WantedError::Twice(key)) } else { Ok(()) }
}

/// `+` is a space, `%41` is an `A`.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high.checked_mul(16)?.checked_add(low)?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::decision_log::seal;

    /// Ids are 36 characters long, whatever the number.
    fn record(seq: u64, kind: &str, id: u64, rest: &str) -> String {
        format!(
            "{{\"v\":1,\"seq\":{seq},\"time\":\"2026-03-01T00:{seq:02}:00.000000Z\",\"kind\":\"{kind}\",\
             \"id\":\"01a200a0-035a-7608-913d-{id:012}\",\"instance\":\"a\"{rest}}}\n"
        )
    }

    const ALLOW: &str =
        ",\"outcome\":\"allow\",\"reason\":\"allowed\",\"customer\":\"acme\",\"host\":\"api.acme.test\"";
    const CLOSE: &str =
        ",\"outcome\":\"allow\",\"reason\":\"client_closed\",\"customer\":\"acme\",\"host\":\"api.acme.test\"";
    const DENY: &str = ",\"outcome\":\"deny\",\"reason\":\"destination_not_listed\",\"host\":\"=cmd.test\"";

    /// A sealed segment with the first four of these records, and a plain one with the rest.
    fn log() -> (tempfile::TempDir, Archive, Vec<String>) {
        let lines = vec![
            record(0, "start", 100, ""),
            record(1, "decision", 1, ALLOW),
            record(2, "decision", 2, DENY),
            record(3, "decision", 3, ALLOW),
            record(4, "close", 1, CLOSE),
            record(5, "decision", 4, DENY),
            record(6, "close", 3, CLOSE),
            record(7, "stop", 101, ""),
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("segments")).unwrap();
        let mut sealed = Vec::new();
        seal(&mut lines[..4].concat().as_bytes(), 0, &mut sealed).unwrap();
        fs::write(path("segments/000000000000.jsonl.zst"), sealed).unwrap();
        fs::write(path("segments/000000000004.jsonl"), lines[4..].concat() + "{\"v\":1,\"seq\":8,").unwrap();
        let archive = Archive::open(folder.path()).unwrap();
        (folder, archive, lines)
    }

    fn asked(query: &str, accept: &str) -> Result<Wanted, WantedError> {
        let headers = [(header::ACCEPT, accept.parse().unwrap())].into_iter().collect();
        Wanted::read(query, Form::accepted(&headers), "2026-03-02T00:00:00Z".parse().unwrap())
    }

    fn written(archive: &Archive, query: &str, accept: &str) -> String {
        let mut out = Vec::new();
        asked(query, accept).unwrap().write(archive, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_those_of_the_log() {
        let (_folder, archive, lines) = log();
        for (query, want) in [
            ("", &[0, 1, 2, 3, 4, 5, 6, 7][..]),
            ("&", &[0, 1, 2, 3, 4, 5, 6, 7]),
            ("outcome=deny", &[2, 5]),
            ("outcome=deny&since=2026-03-01T00:05:00Z", &[5]),
            ("since=2026-03-01T00%3A02%3A00%2B00:00&until=2026-03-01T00:04:00Z", &[2, 3]),
            ("since=1d", &[0, 1, 2, 3, 4, 5, 6, 7]),
            ("until=1d", &[]),
            ("host=API.acme.test.&kind=close", &[4, 6]),
            ("host=*.acme.test&kind=close&kind=decision", &[1, 3, 4, 6]),
            ("id=01a200a0-035a-7608-913d-000000000003", &[3, 6]),
            ("customer=acme&reason=allowed", &[1, 3]),
            ("customer=acm%65+", &[]),
            ("kind=stop&kind=start", &[0, 7]),
        ] {
            let want: String = want.iter().map(|number: &usize| lines[*number].as_str()).collect();
            assert_eq!(written(&archive, query, "*/*"), want, "`{query}`");
        }
        assert_eq!(asked("&host=%34%31.test&&customer=a+b", "").unwrap().asked, "host=41.test&customer=a b");
    }

    #[test]
    fn a_table_has_a_row_for_each_connection_that_is_asked_for() {
        let (_folder, archive, _) = log();
        for (query, want) in [
            ("", &["refused 2 -", "closed 1 4", "refused 5 -", "closed 3 6"][..]),
            ("outcome=deny", &["refused 2 -", "refused 5 -"]),
            ("reason=client_closed", &["closed 1 4", "closed 3 6"]),
            ("since=2026-03-01T00:02:00Z", &["refused 2 -", "closed - 4", "refused 5 -", "closed 3 6"]),
            ("until=2026-03-01T00:04:00Z", &["refused 2 -", "closed 1 4", "closed 3 6"]),
            ("until=2026-03-01T00:03:00Z", &["refused 2 -", "closed 1 4"]),
            ("until=2026-03-01T00:03:00Z&reason=allowed", &["closed 1 4"]),
            ("kind=start", &[]),
        ] {
            let table = written(&archive, query, "Text/CSV, */*;q=0.1");
            let rows: Vec<Vec<&str>> = table.split("\r\n").map(|row| row.split(',').collect()).collect();
            let column = |name| rows[0].iter().position(|column| *column == name).unwrap();
            let (state, decision, close) = (column("state"), column("decision_seq"), column("close_seq"));
            let filled = |cell: &str| if cell.is_empty() { "-".to_owned() } else { cell.to_owned() };
            let rows = rows[1..].iter().filter(|row| row.len() > 1);
            let rows: Vec<String> =
                rows.map(|row| [state, decision, close].map(|column| filled(row[column])).join(" ")).collect();
            assert_eq!(rows, want, "`{query}`");
        }
        assert!(written(&archive, "", "text/csv").contains(",'=cmd.test,"), "a host is no formula");
    }

    #[test]
    fn what_nobody_can_ask_for() {
        let (_folder, archive, _) = log();
        for (query, want) in [
            ("hosts=a", "unknown parameter; there are since, until, customer"),
            ("=a", "unknown parameter"),
            ("Host=a", "unknown parameter"),
            ("since=1d&since=2d", "`since` is given twice"),
            ("until=soon", "`soon` is no time; write"),
            ("since=1d&until=2d", "since 2026-03-01T00:00:00Z is not before until 2026-02-28T00:00:00Z"),
            ("outcome=denied", "unknown outcome `denied`; "),
            ("reason=allow", "unknown reason `allow`; "),
            ("kind=decisions", "unknown kind `decisions`; "),
            ("id=1", "bad id `1`"),
            ("host=a%20b", "bad host"),
            ("host=%ff", "a value is not UTF-8"),
            ("host=a%2", "a value is not UTF-8"),
            ("host=a%+41", "a value is not UTF-8"),
        ] {
            let refused = asked(query, "").unwrap_err().to_string();
            assert!(refused.starts_with(want), "`{query}`: {refused}");
        }
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        for accept in ["", "text/csv"] {
            let ended = asked("id=01a200a0-035a-7608-913d-000000000999", accept).unwrap().write(&archive, &mut Gone);
            assert!(matches!(ended, Err(LogError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe), "{accept}");
        }
    }

    #[test]
    fn a_damaged_segment_is_an_error_and_no_end() {
        let (folder, archive, lines) = log();
        fs::write(folder.path().join("segments/000000000004.jsonl"), lines[5..].concat()).unwrap();
        for accept in ["", "text/csv"] {
            let ended = asked("", accept).unwrap().write(&archive, &mut Vec::new());
            assert!(
                matches!(&ended, Err(LogError::Segment { name, .. }) if name.contains("000000000004")),
                "{ended:?}"
            );
        }
    }
}
