//! `sallyport audit query`: records that fit, as a table of connections, as the log's own lines, or counted.
//! Not here: what fits and what is skipped (`decision_log::Query`), connections (`connections`).
//! Source: the contract's table of commands.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Serialize;

use super::filters::FilterArgs;
use super::{Failure, Output, connections, directory, table};
use crate::cli::output::complain;
use crate::cli::progress::Progress;
use crate::decision_log::sealed::Facet;
use crate::decision_log::{Count, Counts, Query};
use crate::runtime::archive::{Archive, Segment};
use crate::runtime::clock;

#[derive(Args)]
pub(in crate::cli) struct QueryArgs {
    #[command(flatten)]
    filters: FilterArgs,
    /// Count records by this field, the most frequent value first. A tunnel has two, its decision and its close
    #[arg(long, value_name = "FIELD", value_parser = counted_by())]
    count: Option<Facet>,
    /// At most so many lines
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// The log's directory; by default the configuration's
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Every id stands once or twice; the other fields are worth counting.
fn counted_by() -> impl TypedValueParser<Value = Facet> {
    let fields = Facet::ALL.into_iter().filter(|facet| *facet != Facet::Id).map(Facet::as_str);
    PossibleValuesParser::new(fields).try_map(|word| Facet::named(&word).ok_or("no such field"))
}

/// Whether there is more to do; if not, whether that is good.
pub(super) type Flow = ControlFlow<anyhow::Result<()>>;

pub(super) const GO_ON: Flow = ControlFlow::Continue(());
const ENOUGH: Flow = ControlFlow::Break(Ok(()));

pub(super) fn query(config: &Path, args: &QueryArgs, output: Output) -> Result<(), Failure> {
    let criteria = args.filters.criteria(clock::now())?;
    let query = Query::new(criteria.clone()).map_err(|error| Failure::Usage(error.into()))?;
    let log = Log::open(&directory(args.directory.as_deref(), config)?).map_err(Failure::Outside)?;
    let mut page = Page::stdout(args.limit);
    let printed = match (args.count, output) {
        (Some(by), _) => log.counts(query, by).and_then(|counts| page.counts(&counts, by, output)),
        (None, Output::Json) => log.lines(&query, &mut page),
        (None, Output::Text) => connections::print(&log, &query, &criteria, &mut page),
    };
    printed.and_then(|()| page.finish()).map_err(Failure::Outside)?;
    if page.lines > 0 {
        return Ok(());
    }
    complain("no record fits");
    Err(Failure::No)
}

/// What is printed to, and how much of it may be.
pub(super) struct Page {
    out: Box<dyn Write>,
    is_terminal: bool,
    /// Stands above the first line, if there is any.
    pub(super) header: Option<String>,
    lines: u64,
    limit: u64,
}

impl Page {
    /// People see each line at once; others take many at a time.
    fn stdout(limit: Option<u64>) -> Self {
        let stdout = io::stdout().lock();
        let is_terminal = stdout.is_terminal();
        let out: Box<dyn Write> =
            if is_terminal { Box::new(stdout) } else { Box::new(BufWriter::with_capacity(64 * 1024, stdout)) };
        Self { out, is_terminal, header: None, lines: 0, limit: limit.unwrap_or(u64::MAX) }
    }

    /// How far the work is, if it can't be seen from the lines.
    pub(super) fn progress(&self) -> Option<Progress> {
        (!self.is_terminal).then(Progress::new)
    }

    /// Prints a line.
    pub(super) fn line(&mut self, line: &[u8]) -> Flow {
        let header = self.header.take().map(|header| header + "\n").unwrap_or_default();
        let written = [header.as_bytes(), line, b"\n"].into_iter().try_for_each(|part| self.out.write_all(part));
        self.lines = self.lines.saturating_add(1);
        match written {
            Ok(()) if self.lines < self.limit => GO_ON,
            Ok(()) => ENOUGH,
            Err(error) => ControlFlow::Break(said(Err(error))),
        }
    }

    fn counts(&mut self, counts: &Counts, by: Facet, output: Output) -> anyhow::Result<()> {
        let field = by.as_str();
        if output == Output::Text {
            self.header = Some(format!("{:>12}  {}", "RECORDS", field.to_uppercase()));
        }
        let rows = counts.rows.iter().map(|(value, count)| Counted {
            field,
            value: value.as_deref(),
            others: false,
            count: *count,
        });
        let others = Counted { field, value: None, others: true, count: counts.others };
        for row in rows.chain((counts.others > 0).then_some(others)) {
            let line = match output {
                Output::Text => row.text(),
                Output::Json => serde_json::to_string(&row)?,
            };
            if let ControlFlow::Break(end) = self.line(line.as_bytes()) {
                return end;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        said(self.out.flush())
    }
}

/// A reader that has gone away, as in `… | head -1`, has what it wants: that is no failure.
fn said(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::anyhow!("cannot write to stdout: {error}"))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// How many records have a value.
#[derive(Serialize)]
struct Counted<'a> {
    field: &'a str,
    /// `None`: they have none.
    value: Option<&'a str>,
    /// Records with values beyond the first 65,536.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    others: bool,
    count: u64,
}

impl Counted<'_> {
    fn text(&self) -> String {
        let value = if self.others { "(others)".into() } else { table::text(self.value) };
        format!("{:>12}  {value}", self.count)
    }
}

/// The log, and the segments that it had when that was asked.
pub(super) struct Log {
    pub(super) archive: Archive,
    segments: Vec<Segment>,
}

impl Log {
    pub(super) fn open(directory: &Path) -> anyhow::Result<Self> {
        let archive = Archive::open(directory)?;
        let segments = archive.segments()?;
        if segments.is_empty() {
            anyhow::bail!("`{}` has no segments; name the directory of a log", directory.display());
        }
        Ok(Self { archive, segments })
    }

    /// Its segments in their order; says meanwhile how far that is.
    pub(super) fn segments(&self, progress: Option<Progress>) -> impl Iterator<Item = Segment> {
        let mut progress = progress;
        let [oldest, newest] = [self.segments.first(), self.segments.last()].map(|end| end.map_or(0, |end| end.first));
        self.segments.iter().copied().inspect(move |segment| {
            if let Some(progress) = &mut progress {
                progress.at(segment.first.saturating_sub(oldest), newest.saturating_sub(oldest));
            }
        })
    }

    fn counts(&self, query: Query, by: Facet) -> anyhow::Result<Counts> {
        let mut count = Count::new(query, by);
        for segment in self.segments(Some(Progress::new())) {
            self.archive.count(segment, &mut count)?;
        }
        Ok(count.finish())
    }

    /// Prints the lines of the log that fit.
    fn lines(&self, query: &Query, page: &mut Page) -> anyhow::Result<()> {
        for segment in self.segments(page.progress()) {
            if let ControlFlow::Break(end) = self.archive.walk(segment, query, &mut |found| page.line(found.line))? {
                return end;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::decision_log::Criteria;

    /// What was printed to it; it takes so many bytes.
    #[derive(Clone)]
    struct Paper(Rc<RefCell<Vec<u8>>>, usize, io::ErrorKind);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut written = self.0.borrow_mut();
            if written.len() + bytes.len() > self.1 {
                return Err(self.2.into());
            }
            written.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn page(paper: &Paper, limit: u64) -> Page {
        Page { out: Box::new(paper.clone()), is_terminal: true, header: None, lines: 0, limit }
    }

    /// What `print` prints on a page for at most `limit` lines.
    pub(in super::super) fn printed(
        limit: u64,
        print: impl FnOnce(&mut Page) -> anyhow::Result<()>,
    ) -> anyhow::Result<String> {
        let paper = Paper(Rc::default(), usize::MAX, io::ErrorKind::Other);
        print(&mut page(&paper, limit))?;
        Ok(String::from_utf8(paper.0.take()).unwrap())
    }

    #[test]
    fn counts_for_people_and_programs() {
        let row = |value: Option<&str>, count| (value.map(str::to_owned), count);
        let rows = vec![row(Some("a.test"), 12), row(None, 3), row(Some("\u{1b}x"), 1)];
        let some = Counts { rows, others: 0 };
        let more = Counts { others: 7, ..some.clone() };
        let text = "     RECORDS  HOST\n          12  a.test\n           3  -\n           1  \\u{1b}x\n";
        let json = "{\"field\":\"host\",\"value\":\"a.test\",\"count\":12}\n\
                    {\"field\":\"host\",\"value\":null,\"count\":3}\n\
                    {\"field\":\"host\",\"value\":\"\\u001bx\",\"count\":1}\n";
        let others = "{\"field\":\"host\",\"value\":null,\"others\":true,\"count\":7}\n";
        let none = Counts { rows: Vec::new(), others: 0 };
        for (name, counts, output, limit, want) in [
            ("text", &some, Output::Text, 9, text.to_owned()),
            ("more text", &more, Output::Text, 9, format!("{text}           7  (others)\n")),
            ("json", &some, Output::Json, 9, json.to_owned()),
            ("more json", &more, Output::Json, 9, format!("{json}{others}")),
            ("two", &more, Output::Text, 2, text.split_inclusive('\n').take(3).collect()),
            ("none", &none, Output::Text, 9, String::new()),
        ] {
            let got = printed(limit, |page| page.counts(counts, Facet::Host, output));
            assert_eq!(got.unwrap(), want, "{name}");
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure_and_a_full_disk_is() {
        for (kind, is_good) in [(io::ErrorKind::BrokenPipe, true), (io::ErrorKind::StorageFull, false)] {
            let paper = Paper(Rc::default(), 4, kind);
            let mut page = page(&paper, 9);
            assert!(page.line(b"abc").is_continue(), "{kind}");
            let ControlFlow::Break(end) = page.line(b"d") else { panic!("{kind}: it goes on") };
            assert_eq!(end.is_ok(), is_good, "{kind}");
        }
    }

    #[test]
    fn a_directory_without_segments_is_no_log() {
        let folder = tempfile::tempdir().unwrap();
        let error = Log::open(folder.path()).err().unwrap().to_string();
        assert!(error.ends_with("has no segments; name the directory of a log"), "{error}");
        assert!(Log::open(&folder.path().join("missing")).is_err());
    }

    #[test]
    fn lines_are_the_log_s_own_and_end_at_the_limit() {
        let folder = connections::tests::log();
        let log = Log::open(folder.path()).unwrap();
        let lines = connections::tests::lines();
        let query = Query::new(Criteria { outcome: vec!["deny".to_owned()], ..Criteria::default() }).unwrap();
        let deny: Vec<&str> = lines.iter().filter(|line| line.contains("\"deny\"")).map(String::as_str).collect();
        for (limit, want) in [(1, &deny[..1]), (2, &deny[..2]), (3, &deny[..]), (99, &deny[..])] {
            assert_eq!(printed(limit, |page| log.lines(&query, page)).unwrap(), want.concat(), "{limit}");
        }
    }
}
