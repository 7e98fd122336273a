//! `sallyport audit scan`: looks through files for what should not be there, and says where without saying what.
//! Not here: what is found (`redact`), which files there are (`scan_files`), the report (`evidence::search`).
//! Source: PCI DSS 3.3.1, 3.5.1.

use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::scan_files::{self, Visited};
use super::scan_source::{Digest, Source};
use super::{DEFAULT_CONFIG, Failure, Output};
use crate::cli::output::{complain, say};
use crate::cli::progress::Progress;
use crate::cli::redact::redactor;
use crate::evidence::{FoundAt, FoundInName, MAX_PLACES, Search, Searched};
use crate::redact::{Piece, Redacted, Redactor, Stream};
use crate::runtime::clock;

#[derive(Args)]
pub(in crate::cli) struct ScanArgs {
    /// Files, and folders with all regular files below them; `-` is stdin. What is compressed with zstd is decompressed
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Print a report instead: what was searched, with digests, what was found, a verdict for each requirement
    #[arg(long, value_name = "FORM")]
    report: Option<Form>,
}

/// The form of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    Text,
    /// One JSON object
    Json,
}

/// Bytes that are read at once.
const READ_AT_ONCE: usize = 256 * 1024;

/// Upper bound in bytes of a file's name as it is shown.
const MAX_NAME: usize = 4096;

/// A search under way.
struct Scan {
    redactor: Redactor,
    search: Search,
    progress: Progress,
    bytes: u64,
    /// Whether finds are printed as they come.
    is_listing: bool,
    /// The last path: what the next one begins with of it was searched as a name.
    last: PathBuf,
}

pub(super) fn scan(config: Option<&Path>, args: &ScanArgs, output: Output) -> Result<(), Failure> {
    let report = args.report.or((output == Output::Json).then_some(Form::Json));
    let (redactor, config) = redactor(config, Path::new(DEFAULT_CONFIG))?;
    let given = args.files.iter().map(|file| shown(&redactor, file)).collect();
    let made_by = format!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    let search = Search::new(clock::now().to_string(), made_by, given, config);
    let progress = Progress::counting("bytes");
    let (last, is_listing) = (PathBuf::new(), report.is_none());
    let mut scan = Scan { redactor, search, progress, bytes: 0, is_listing, last };
    for file in &args.files {
        scan_files::visit(file, &mut |path, visited| scan.take(path, visited))?;
    }
    let Scan { search, progress, .. } = scan;
    drop(progress);
    let search = search.finish();
    match report {
        None => say(&search.summary())?,
        Some(Form::Text) => say(&search.text())?,
        Some(Form::Json) => Output::Json.print(&search, Search::text)?,
    }
    match (search.total.finds.total(), search.total.unreadable) {
        (0, 0) => Ok(()),
        (0, unreadable) => Err(Failure::Outside(anyhow::anyhow!("{unreadable} could not be searched to the end"))),
        _ => Err(Failure::No),
    }
}

/// A name as it may be printed: it can hold a card number, or what moves a cursor.
fn shown(redactor: &Redactor, path: &Path) -> Redacted {
    redactor.clean(path.as_os_str().as_encoded_bytes(), MAX_NAME).text
}

impl Scan {
    /// Takes what a path leads to.
    fn take(&mut self, path: &Path, visited: io::Result<Visited>) -> Result<(), Failure> {
        let name = shown(&self.redactor, path);
        self.search_name(&name, path)?;
        match visited {
            Ok(Visited::Other(what)) => self.search.skip(name, what),
            Ok(Visited::File(file)) => match self.read(&name, file) {
                Ok((searched, ended)) => {
                    if self.is_listing && searched.places_left_out > 0 {
                        say(&format!("{name}: {} more", searched.places_left_out))?;
                    }
                    match ended {
                        None => self.search.add(searched),
                        Some(error) => {
                            complain(&format!("{name}: {error}"));
                            self.search.add_part(searched, &format!("not read to its end: {error}"));
                        }
                    }
                }
                Err(Ended::Reader(error)) => self.fail(name, &error),
                Err(Ended::Printer(failure)) => return Err(failure),
            },
            Err(error) => self.fail(name, &error),
        }
        Ok(())
    }

    fn fail(&mut self, name: Redacted, error: &io::Error) {
        complain(&format!("{name}: {error}"));
        self.search.fail(name, &error.to_string());
    }

    /// Searches what of a path's names is not the last path's.
    fn search_name(&mut self, name: &Redacted, path: &Path) -> Result<(), Failure> {
        let known = path.components().zip(self.last.components()).take_while(|(one, other)| one == other).count();
        let new: PathBuf = path.components().skip(known).collect();
        self.last = path.to_owned();
        let mut stream = Stream::new(&self.redactor);
        let mut found = Vec::new();
        let mut each = |piece: Piece<'_, '_>| {
            if let Piece::Found(find) = piece {
                found.push(FoundInName { name: name.clone(), what: find.words() });
            }
        };
        stream.push(new.as_os_str().as_bytes(), &mut each);
        stream.finish(&mut each);
        if self.is_listing {
            found.iter().try_for_each(|found| say(&found.to_string()))?;
        }
        self.search.add_name(stream.counts(), found);
        Ok(())
    }

    /// Searches a file to its end, or to where it can be read no more, and why.
    fn read(&mut self, name: &Redacted, file: Box<dyn Read>) -> Result<(Searched, Option<io::Error>), Ended> {
        let mut source = Source::open(file)?;
        let redactor = self.redactor.clone();
        let mut stream = Stream::new(&redactor);
        let mut places = Places { has_lines: source.has_lines(), ..Places::default() };
        let mut chunk = vec![0; READ_AT_ONCE];
        let ended = loop {
            let (read, ended) = source.read(&mut chunk).map_or_else(|error| (0, Some(error)), |read| (read, None));
            let mut each = |piece: Piece<'_, '_>| places.add(piece);
            match chunk.get(..read).filter(|bytes| !bytes.is_empty()) {
                Some(bytes) => stream.push(bytes, &mut each),
                None => stream.finish(&mut each),
            }
            if self.is_listing {
                places.print(name)?;
            }
            if read == 0 {
                break ended;
            }
            self.bytes = self.bytes.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            self.progress.at(self.bytes, 0);
        };
        let Digest { bytes, sha256, decompressed } = source.finish();
        let searched = Searched {
            name: name.clone(),
            bytes,
            sha256: ended.is_none().then_some(sha256),
            decompressed,
            finds: stream.counts().clone(),
            places: places.first,
            places_left_out: places.left_out,
            marks: stream.marks(),
        };
        Ok((searched, ended))
    }
}

/// Why a file is not searched at all, or the search ends.
enum Ended {
    Reader(io::Error),
    Printer(Failure),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Reader(error)
    }
}

/// The first places of a file's finds.
#[derive(Default)]
struct Places {
    has_lines: bool,
    /// Those that have not been printed.
    first: Vec<FoundAt>,
    printed: usize,
    left_out: u64,
}

impl Places {
    fn add(&mut self, piece: Piece<'_, '_>) {
        let Piece::Found(find) = piece else { return };
        if self.first.len().saturating_add(self.printed) < MAX_PLACES {
            self.first.push(FoundAt::new(&find, self.has_lines));
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    /// Those that came since; they are kept no longer.
    fn print(&mut self, name: &Redacted) -> Result<(), Ended> {
        for place in self.first.drain(..) {
            say(&format!("{name}{place}")).map_err(Ended::Printer)?;
            self.printed = self.printed.saturating_add(1);
        }
        Ok(())
    }
}
