//! Rows as CSV that a spreadsheet shows as it is: no cell of it is a formula.
//! Not here: joining (`rows`). Source: RFC 4180; OWASP, "CSV Injection".

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write};

use super::record::{Line, LineError};
use super::rows::{Row, State};

/// The names of the columns, in their order; added at the end, never renamed. Times are UTC, `_us` are microseconds,
/// `bytes_out` goes from the client to the server; lists have spaces between their elements.
#[rustfmt::skip]
pub const COLUMNS: [&str; 43] = [
    "state", "id", "parent_id", "decision_seq", "decision_time_utc", "close_seq", "close_time_utc",
    "instance", "environment", "listener", "outcome", "reason", "ended_by", "rule", "customer", "source", "policy_sha256",
    "client_ip", "client_port", "peer_ip", "client_identity", "method", "host", "port", "path_template", "original_ip",
    "addresses", "upstream_ip", "egress_ip", "egress_pool", "sni", "tls_version", "tls_cipher", "alpn", "ech", "verify",
    "bytes_out", "bytes_in", "duration_us", "dns_us", "dial_us", "hello_us", "redacted",
];

/// Rows of cells as they are written: RFC 4180, and no cell a formula.
pub struct Sheet<W: Write>(::csv::Writer<W>);

impl<W: Write> Sheet<W> {
    /// Without a row yet.
    pub fn new(to: W) -> Self {
        Self(::csv::WriterBuilder::new().terminator(::csv::Terminator::CRLF).from_writer(to))
    }

    /// Writes a row.
    ///
    /// # Errors
    /// It can't be written.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl AsRef<str>>) -> Result<(), ::csv::Error> {
        for cell in cells {
            self.0.write_field(safe(cell.as_ref()).as_bytes())?;
        }
        // Ends the row.
        self.0.write_record(None::<&[u8]>)
    }

    /// Hands on what was written so far.
    ///
    /// # Errors
    /// It can't be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }

    /// Ends it and gives back what it was written to.
    ///
    /// # Errors
    /// The rest can't be written.
    pub fn finish(self) -> Result<W, ::csv::Error> {
        self.0.into_inner().map_err(|error| io::Error::from(error.error().kind()).into())
    }
}

/// A table of connections as it is written.
pub struct Table<W: Write>(Sheet<W>);

/// A row was not written.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// A record of it can't be read.
    #[error(transparent)]
    Line(#[from] LineError),
    /// The file can't be written.
    #[error("can't write: {0}")]
    Write(#[from] ::csv::Error),
}

impl<W: Write> Table<W> {
    /// Begins with the row of the columns' names.
    ///
    /// # Errors
    /// [`TableError::Write`].
    pub fn begin(to: W) -> Result<Self, TableError> {
        let mut sheet = Sheet::new(to);
        sheet.row(COLUMNS)?;
        Ok(Self(sheet))
    }

    /// Writes a row.
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn write(&mut self, row: &Row) -> Result<(), TableError> {
        let decision = row.decision.as_deref().map(Line::read).transpose()?;
        let close = row.close.as_deref().map(Line::read).transpose()?;
        Ok(self.0.row(cells(row.state, decision.as_ref(), close.as_ref()))?)
    }

    /// Hands on what was written so far.
    ///
    /// # Errors
    /// It can't be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }

    /// Ends it and gives back what it was written to.
    ///
    /// # Errors
    /// [`TableError::Write`].
    pub fn finish(self) -> Result<W, TableError> {
        Ok(self.0.finish()?)
    }
}

/// What stands in a row. A close repeats its decision, but for reason and time, and knows more.
fn cells<'a>(state: State, decision: Option<&'a Line>, close: Option<&'a Line>) -> Vec<Cow<'a, str>> {
    let Some(both) = close.or(decision) else { return Vec::new() };
    let time = |line: Option<&Line>| shown(line.map(|line| format_args!("{:.6}", line.time).to_string()));
    vec![
        state.as_str().into(),
        shown(Some(both.id)),
        shown(both.parent_id),
        shown(decision.map(|line| line.seq)),
        time(decision),
        shown(close.map(|line| line.seq)),
        time(close),
        both.instance.as_str().into(),
        text(&both.environment),
        text(&both.listener),
        shown(both.outcome),
        decision.map(|line| text(&line.reason)).unwrap_or_default(),
        close.map(|line| text(&line.reason)).unwrap_or_default(),
        text(&both.rule),
        text(&both.customer),
        text(&both.source),
        text(&both.policy),
        shown(both.client_ip),
        shown(both.client_port),
        shown(both.peer_ip),
        text(&both.client_identity),
        text(&both.method),
        text(&both.host),
        shown(both.port),
        text(&both.path_template),
        shown(both.original_ip),
        both.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ").into(),
        shown(both.upstream_ip),
        shown(both.egress_ip),
        text(&both.egress_pool),
        text(&both.sni),
        text(&both.tls_version),
        text(&both.tls_cipher),
        both.alpn.join(" ").into(),
        shown(both.ech),
        text(&both.verify),
        shown(both.bytes_out),
        shown(both.bytes_in),
        shown(both.duration_us),
        shown(both.dns_us),
        shown(both.dial_us),
        shown(both.hello_us),
        both.redacted.join(" ").into(),
    ]
}

fn text(text: &Option<String>) -> Cow<'_, str> {
    text.as_deref().unwrap_or_default().into()
}

fn shown<'a>(value: Option<impl Display>) -> Cow<'a, str> {
    value.map(|value| value.to_string()).unwrap_or_default().into()
}

/// The cell with a `'` before whatever would begin a formula: at its own beginning, and behind what a reader with other
/// habits takes for the end of a cell, such as the `;` of spreadsheets in much of Europe. Spaces and quotes do not protect.
fn safe(cell: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut kept = 0;
    let mut begins = true;
    for (at, character) in cell.char_indices() {
        if begins && FORMULA.contains(&character) {
            out.push_str(cell.get(kept..at).unwrap_or_default());
            out.push('\'');
            kept = at;
        }
        begins = SEPARATORS.contains(&character) || (begins && (character.is_whitespace() || character == '"'));
    }
    if kept == 0 && out.is_empty() {
        return cell.into();
    }
    out.push_str(cell.get(kept..).unwrap_or_default());
    out.into()
}

/// What begins a formula, its full-width forms too.
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

/// What some reader takes for the end of a cell, within quotes too. Commas are safe there (RFC 4180, section 2).
const SEPARATORS: [char; 4] = [';', '\t', '\r', '\n'];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decision_log::{Kind, Record};
    use crate::evidence::testing;

    fn table(rows: &[Row]) -> String {
        let mut table = Table::begin(Vec::new()).unwrap();
        rows.iter().for_each(|row| table.write(row).unwrap());
        String::from_utf8(table.finish().unwrap()).unwrap()
    }

    fn row(state: State, decision: Option<&Record>, close: Option<&Record>) -> Row {
        let line = |record: &Record, seq| testing::line(record, seq).into_boxed_slice();
        let (decision, close) = (decision.map(|record| line(record, 7)), close.map(|record| line(record, 9)));
        Row { state, decision, close, wanted: true, id: uuid::Uuid::nil() }
    }

    #[test]
    fn every_field_has_its_column() {
        let mut close = testing::full(Kind::Close);
        close.time = "2026-11-21T10:00:04.000302Z".parse().unwrap();
        let text = table(&[row(State::Closed, Some(&testing::full(Kind::Decision)), Some(&close))]);
        let mut lines = text.split("\r\n");
        assert_eq!(lines.next().unwrap(), COLUMNS.join(","));
        assert_eq!(
            lines.next().unwrap(),
            "closed,01920000-0000-7000-8000-000000000001,00000000-0000-0000-0000-000000000002,7,2026-11-21T10:00:01.000002Z,\
             9,2026-11-21T10:00:04.000302Z,edge-1,production,edge,allow,allowed,client_closed,acme/payments,acme,ivr-east,5f0c,\
             192.0.2.1,40001,192.0.2.2,spiffe://voice.example/ivr/7,CONNECT,api.acme.example,443,/v1/charges/{id},192.0.2.3,\
             203.0.113.4,203.0.113.5,192.0.2.6,static-a,pay.acme.example,1.3,TLS_AES_128_GCM_SHA256,h2,true,require,\
             1001,20002,3000300,404,505,606,host:pan"
        );
        assert_eq!(lines.collect::<Vec<_>>(), [""], "no line of totals");
    }

    #[test]
    fn half_a_connection_leaves_cells_empty() {
        let (decision, close) = (testing::allowed(1), testing::closed(1));
        let names = [
            "state",
            "decision_seq",
            "decision_time_utc",
            "reason",
            "close_seq",
            "close_time_utc",
            "ended_by",
            "bytes_out",
        ];
        for (name, row, want) in [
            (
                "open",
                row(State::Open, Some(&decision), None),
                ["open", "7", "1970-01-01T00:00:01.000000Z", "allowed", "", "", "", ""],
            ),
            (
                "begun before",
                row(State::Closed, None, Some(&close)),
                ["closed", "", "", "", "9", "1970-01-01T00:00:02.000000Z", "client_closed", "100"],
            ),
        ] {
            let text = table(&[row]);
            let cells: Vec<&str> = text.lines().nth(1).unwrap().split(',').collect();
            assert_eq!(cells.len(), COLUMNS.len(), "{name}");
            let got = names.map(|name| cells[COLUMNS.iter().position(|column| *column == name).unwrap()]);
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn what_can_not_be_read_is_no_row() {
        let mut table = Table::begin(Vec::new()).unwrap();
        let broken = Row { decision: Some(b"{}".as_slice().into()), ..row(State::Open, None, None) };
        assert!(matches!(table.write(&broken), Err(TableError::Line(_))));
    }

    #[test]
    fn no_cell_is_a_formula_by_table() {
        for (cell, want) in [
            ("=cmd|' /C calc'!Z9", "'=cmd|' /C calc'!Z9"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(1)", "'@SUM(1)"),
            ("\t=1", "'\t'=1"),
            ("\r=1", "'\r'=1"),
            ("\n", "'\n"),
            ("\u{ff1d}1", "'\u{ff1d}1"),
            ("\u{ff0b}1", "'\u{ff0b}1"),
            ("\u{ff0d}1", "'\u{ff0d}1"),
            ("\u{ff20}1", "'\u{ff20}1"),
            ("  =1", "  '=1"),
            ("\"=1\"", "\"'=1\""),
            ("a;=1;b;\u{a0}@c", "a;'=1;b;\u{a0}'@c"),
            ("a\t-1", "a\t'-1"),
            ("==1", "'==1"),
            ("a=1", "a=1"),
            ("pay-1.acme.example", "pay-1.acme.example"),
            ("'=1", "'=1"),
            ("::1", "::1"),
            ("", ""),
        ] {
            assert_eq!(safe(cell), want, "{cell:?}");
        }
    }

    proptest! {
        /// What a reader of RFC 4180 finds is what was written, with marks; and taken away, the marks leave the text.
        #[test]
        fn a_reader_finds_the_cells_again(host in "[ -~=+@;\"',\u{ff1d}é-]{0,40}") {
            let mut record = testing::allowed(1);
            record.host = Some(testing::text(&host));
            let host = testing::text(&host).as_str().to_owned();
            let text = table(&[row(State::Open, Some(&record), None)]);
            let read = ::csv::Reader::from_reader(text.as_bytes()).into_records().next().unwrap().unwrap();
            let got = &read[COLUMNS.iter().position(|name| *name == "host").unwrap()];
            prop_assert_eq!(got.replace('\'', ""), host.replace('\'', ""));
            for cell in got.split(';') {
                let shown = cell.trim_start_matches(|c: char| c.is_whitespace() || c == '"');
                prop_assert!(!shown.starts_with(FORMULA), "{got:?}");
            }
            prop_assert_eq!(safe(got), got, "marks are set once");
        }
    }
}
