//! `sallyport audit export`: records in a form that others read, in a new folder, with a manifest of what is whole.
//! Not here: the forms and the manifest (`evidence`), which records are meant (`decision_log::query`).
//!
//! Everything in the time that is asked for is read, whatever else is asked for, so that the manifest can say what is missing; and
//! beyond it, until each tunnel of the export has its close.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::export_file::{Folder, Hashed};
use super::export_record::{self, Taken};
use super::filters::{FilterArgs, used};
use super::{Failure, Output, directory, environment, text_of};
use crate::cli::output::complain;
use crate::cli::progress::Progress;
use crate::decision_log::{Criteria, Found, Query, VerifierKey};
use crate::evidence::{
    About, ExportRecord, Fileprint, Head, Joiner, Line, Manifest, Queried, Row, Survey, Table, TreeHead, ocsf,
};
use crate::runtime::archive::{Archive, Segment};
use crate::runtime::clock;

#[derive(Args)]
pub(in crate::cli) struct ExportArgs {
    /// The form of the records
    #[arg(long, value_enum)]
    format: Format,
    /// The folder to make; by default `sallyport-export-` and the time, here
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The file with a token for the admin port of the running instance, which then has an `export` record of this; else $SALLYPORT_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    filters: FilterArgs,
    /// The log's directory; by default the configuration's
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table with a row for each connection
    Csv,
    /// The log's own lines, byte by byte
    Jsonl,
    /// Events of the Open Cybersecurity Schema Framework 1.8.0
    Ocsf,
}

impl Format {
    fn word(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
            Self::Ocsf => "ocsf",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Csv => "decisions.csv",
            Self::Jsonl => "records.jsonl",
            Self::Ocsf => "events.ocsf.jsonl",
        }
    }
}

/// The log, as an export needs it.
struct Log {
    archive: Archive,
    vkey: VerifierKey,
}

pub(in crate::cli) fn export(config: &Path, args: &ExportArgs, output: Output) -> Result<(), Failure> {
    let now = clock::now();
    let criteria = args.filters.criteria(now)?;
    let query = Query::new(criteria.clone()).map_err(|error| Failure::Usage(error.into()))?;
    let token = token(args)?;
    let log = Log::open(&directory(args.directory.as_deref(), config)?)?;
    let name = || PathBuf::from(format!("sallyport-export-{}", now.strftime("%Y%m%dT%H%M%SZ")));
    let folder = args.out.clone().unwrap_or_else(name);
    let folder = Folder::make(&folder).map_err(|error| {
        let why = anyhow::anyhow!("can't make `{}`: {error}; name a folder that is not there yet", folder.display());
        if error.kind() == std::io::ErrorKind::AlreadyExists { Failure::Usage(why) } else { Failure::Outside(why) }
    })?;
    let taken = Taking::begin(&folder, args.format, query).and_then(|taking| taking.take(&log, &criteria));
    let taken = taken.map_err(Failure::Outside)?;
    let typed = args.filters.typed();
    let (first_seq, last_seq) = taken.survey.span();
    let record = Taken {
        sha256: taken.print.sha256.clone(),
        format: args.format.word(),
        query: typed.join(" "),
        records: taken.survey.records(),
        first_seq,
        last_seq,
    };
    let export_record = export_record::leave(config, &environment, token, (log.vkey.name(), &record));
    let about = About {
        made_at: now,
        origin: log.vkey.name().to_owned(),
        vkey: log.vkey.to_string(),
        format: args.format.word(),
        query: Queried { given: typed, used: used(&criteria) },
        checkpoint: taken.checkpoint,
        files: vec![taken.print],
        export_record,
    };
    finish(folder, &taken.survey.manifest(about), output)
}

/// Writes the manifest, by which the export is complete, and says what it says.
fn finish(folder: Folder, manifest: &Manifest, output: Output) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Exported<'a> {
        folder: String,
        #[serde(flatten)]
        manifest: &'a Manifest,
    }
    let path = folder.path().display().to_string();
    let written = folder.file("manifest.json").and_then(|mut file| {
        file.write_all(manifest.text().as_bytes())?;
        file.finish()?;
        folder.finish()
    });
    written.map_err(|error| Failure::Outside(anyhow::anyhow!("can't write `{path}`: {error}")))?;
    if let ExportRecord::No { why } = &manifest.export_record {
        complain(&format!("the log has no record of this export: {why}"));
    }
    let rows: u64 = manifest.rows.values().sum();
    output.print(&Exported { folder: path, manifest }, |exported| {
        let (records, read) = (exported.manifest.exported.records, exported.manifest.read.records);
        let rows = if exported.manifest.format == "csv" { format!(" in {rows} rows") } else { String::new() };
        format!("{}: {records} records{rows}, of {read} that were read", exported.folder)
    })?;
    if manifest.missing.is_empty() {
        return Ok(());
    }
    complain("records are missing: see `missing` in the manifest, and what `sallyport audit verify` says");
    Err(Failure::No)
}

fn token(args: &ExportArgs) -> Result<Option<String>, Failure> {
    let Some(path) = &args.token_file else { return Ok(environment("SALLYPORT_TOKEN")) };
    let text = text_of(path).map_err(|error| super::unreadable(path, &error))?;
    Ok(Some(text.trim_end().to_owned()))
}

impl Log {
    fn open(directory: &Path) -> Result<Self, Failure> {
        let archive = Archive::open(directory).map_err(|error| Failure::Outside(error.into()))?;
        let text = archive.vkey().map_err(|error| Failure::Outside(error.into()))?;
        let shown = directory.join("log.vkey");
        let Some(text) = text else {
            return Err(Failure::Outside(anyhow::anyhow!("no `{}`; name the directory of a log", shown.display())));
        };
        let vkey = text.trim_end().parse();
        let vkey = vkey.map_err(|error| Failure::Outside(anyhow::anyhow!("`{}`: {error}", shown.display())))?;
        Ok(Self { archive, vkey })
    }

    /// Gives the records of a segment that `query` asks for.
    fn walk(
        &self,
        segment: Segment,
        query: &Query,
        each: &mut dyn FnMut(Found<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut each = |found: Found<'_>| each(found).map_or_else(ControlFlow::Break, ControlFlow::Continue);
        match self.archive.walk(segment, query, &mut each)? {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    /// Whether a segment may have what `query` asks for. One that is not sealed has no summary and is looked through.
    fn may_have(&self, segment: Segment, query: &Query) -> anyhow::Result<bool> {
        if segment.is_sealed {
            return Ok(self.archive.may_match(segment, query)?);
        }
        Ok(self.archive.walk(segment, query, &mut |_| ControlFlow::Break(()))?.is_break())
    }

    /// The newest tree head in these segments' records.
    fn newest_head(&self, segments: &[Segment]) -> anyhow::Result<Option<TreeHead>> {
        let heartbeats = Query::new(Criteria { kind: vec!["heartbeat".to_owned()], ..Criteria::default() })?;
        for segment in segments.iter().rev() {
            let mut newest = None;
            self.walk(*segment, &heartbeats, &mut |found| {
                let head = Line::read(found.line)?.tree_head();
                newest = head.or(newest.take());
                Ok(())
            })?;
            if newest.is_some() {
                return Ok(newest);
            }
        }
        Ok(None)
    }
}

/// An export on its way.
struct Taking {
    query: Query,
    survey: Survey,
    joiner: Joiner,
    sink: Sink,
    read: u64,
    progress: Progress,
}

enum Sink {
    Table(Box<Table<Hashed>>),
    Lines(Hashed),
    Events(Hashed),
}

/// What came out.
struct Whole {
    survey: Survey,
    print: Fileprint,
    checkpoint: Option<String>,
}

impl Taking {
    fn begin(folder: &Folder, format: Format, query: Query) -> anyhow::Result<Self> {
        let file = folder.file(format.file()).with_context(|| format!("`{}`", folder.path().display()))?;
        let sink = match format {
            Format::Csv => Sink::Table(Box::new(Table::begin(file)?)),
            Format::Jsonl => Sink::Lines(file),
            Format::Ocsf => Sink::Events(file),
        };
        Ok(Self {
            query,
            survey: Survey::default(),
            joiner: Joiner::default(),
            sink,
            read: 0,
            progress: Progress::new(),
        })
    }

    /// Reads all segments from the first to the last that may have records of the time that is asked for, and those behind until each
    /// tunnel has its end.
    fn take(mut self, log: &Log, criteria: &Criteria) -> anyhow::Result<Whole> {
        let all = Query::new(Criteria::default())?;
        let span = Query::new(Criteria { since: criteria.since, until: criteria.until, ..Criteria::default() })?;
        let signed = log.archive.checkpoint()?.as_deref().and_then(TreeHead::read);
        let signed = signed.filter(|_| criteria.until.is_none()).map(|head| head.size);
        self.survey.expect(criteria.since.is_none().then_some(0), signed);
        let segments = log.archive.segments()?;
        let timed = criteria.since.is_some() || criteria.until.is_some();
        let mut within = Vec::with_capacity(segments.len());
        for segment in &segments {
            within.push(!timed || log.may_have(*segment, &span)?);
        }
        let first = within.iter().position(|within| *within).unwrap_or(segments.len());
        let (before, rest) = segments.split_at(first);
        if let Some(head) = log.newest_head(before)? {
            self.survey.looked_back(head);
        }
        let last = within.iter().rposition(|within| *within).unwrap_or(0);
        for (segment, place) in rest.iter().zip(first..) {
            if place > last && !self.joiner.awaits(None) {
                break;
            }
            log.walk(*segment, &all, &mut |found| self.record(found))?;
        }
        // Read behind the records: while a proxy writes, it covers them but for those of the last second.
        let checkpoint = log.archive.checkpoint()?;
        for row in std::mem::take(&mut self.joiner).finish() {
            self.row(&row)?;
        }
        Ok(Whole { survey: self.survey, print: self.sink.finish()?, checkpoint })
    }

    fn record(&mut self, found: Found<'_>) -> anyhow::Result<()> {
        let head = Head::read(found.line)?;
        self.survey.read(&head, found.line)?;
        self.read = self.read.saturating_add(1);
        self.progress.at(self.read, 0);
        let wanted = self.query.fits(found.facets);
        if wanted {
            self.survey.exported(&head);
            self.sink.record(found.line)?;
        }
        for row in self.joiner.push(&head, found.line, wanted) {
            self.row(&row)?;
        }
        Ok(())
    }

    fn row(&mut self, row: &Row) -> anyhow::Result<()> {
        if !row.wanted {
            return Ok(());
        }
        self.survey.row(row);
        if let Sink::Table(table) = &mut self.sink {
            table.write(row)?;
        }
        Ok(())
    }
}

impl Sink {
    fn record(&mut self, line: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::Table(_) => {}
            Self::Lines(file) => {
                file.write_all(line)?;
                file.write_all(b"\n")?;
            }
            Self::Events(file) => writeln!(file, "{}", ocsf::event(line)?)?,
        }
        Ok(())
    }

    fn finish(self) -> anyhow::Result<Fileprint> {
        let file = match self {
            Self::Table(table) => table.finish()?,
            Self::Lines(file) | Self::Events(file) => file,
        };
        Ok(file.finish()?)
    }
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;
