//! `sallyport redact`: a file or stdin again on stdout, with marks in place of what must not be written; counts on stderr.
//! Not here: what is found (`redact`). Works without a configuration; with one its private fields are found too.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::output::{self, complain};
use super::{DEFAULT_CONFIG, Failure, Output, environment};
use crate::redact::{Counts, Piece, Redactor, Stream};
use crate::runtime::load;

#[derive(Args)]
pub(super) struct RedactArgs {
    /// The file to clean; without it, or with `-`, stdin
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Bytes that are read at once.
const READ_AT_ONCE: usize = 256 * 1024;

/// What was done, as JSON.
#[derive(Serialize)]
struct Redacted<'a> {
    #[serde(flatten)]
    counts: &'a Counts,
    /// Whose private fields were found too.
    config: Option<String>,
}

pub(super) fn redact(config: Option<&Path>, args: &RedactArgs, output: Output) -> Result<(), Failure> {
    let (redactor, config) = redactor(config, Path::new(DEFAULT_CONFIG))?;
    let counts = match args.file.as_deref().filter(|file| *file != Path::new("-")) {
        Some(path) => File::open(path)
            .map_err(|error| unreadable(path, &error))
            .and_then(|mut file| copy(&redactor, &mut file, path))?,
        None => copy(&redactor, &mut io::stdin().lock(), Path::new("stdin"))?,
    };
    complain(&match output {
        Output::Text => {
            let as_in = config.map(|config| format!(" (redaction as in {config})")).unwrap_or_default();
            format!("redacted {counts}{as_in}")
        }
        Output::Json => serde_json::to_string(&Redacted { counts: &counts, config }).unwrap_or_default(),
    });
    Ok(())
}

/// As the configuration says, and its name. Without one only if none was named and the default one is surely not there: one that
/// can't be read may name private fields.
pub(super) fn redactor(named: Option<&Path>, default: &Path) -> Result<(Redactor, Option<String>), Failure> {
    let is_missing = || fs::symlink_metadata(default).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    if named.is_none() && is_missing() {
        return Ok((Redactor::default(), None));
    }
    let config = named.unwrap_or(default);
    let settings = load::settings(config, &environment)?;
    Ok((settings.redaction.redactor(), Some(config.display().to_string())))
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::Outside(anyhow::anyhow!("{}: {error}; check the path and its permissions", path.display()))
}

/// Copies all of `from` to stdout. A reader that has gone away has what it wants.
fn copy(redactor: &Redactor, from: &mut dyn Read, name: &Path) -> Result<Counts, Failure> {
    let mut stream = Stream::new(redactor);
    let mut failed = None;
    output::stream(|out| {
        failed = clean(&mut stream, from, out)?.err();
        Ok(())
    })?;
    failed.map_or(Ok(stream.counts().clone()), |error| Err(unreadable(name, &error)))
}

/// What has come is written before more is waited for; of a line, what may go on is held. The inner error is the reader's.
fn clean(stream: &mut Stream<'_>, from: &mut dyn Read, out: &mut dyn Write) -> io::Result<io::Result<()>> {
    let mut chunk = vec![0; READ_AT_ONCE];
    loop {
        let mut written = Ok(());
        let mut each = |piece: Piece<'_, '_>| {
            if written.is_ok() {
                written = match piece {
                    Piece::Text(text) => out.write_all(text),
                    Piece::Found(find) => out.write_all(find.mark().as_bytes()),
                };
            }
        };
        let read = match from.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Ok(Err(error)),
            Ok(bytes) => bytes,
        };
        match chunk.get(..read).filter(|bytes| !bytes.is_empty()) {
            Some(bytes) => stream.push(bytes, &mut each),
            None => stream.finish(&mut each),
        }
        written?;
        out.flush()?;
        if read == 0 {
            return Ok(Ok(()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its pieces, one a read, with an interruption before each; then fails or ends.
    struct Pieces<'a>(Vec<&'a [u8]>, bool, Option<io::ErrorKind>);

    impl Read for Pieces<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            match (self.0.is_empty(), self.2) {
                (false, _) => self.0.remove(0).read(into),
                (true, None) => Ok(0),
                (true, Some(kind)) => Err(kind.into()),
            }
        }
    }

    #[test]
    fn only_a_default_configuration_that_is_not_there_is_done_without() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink(at("nowhere"), at("dangling")).unwrap();
        fs::write(at("file"), "listeners: nothing\n").unwrap();
        for (name, named, default, want) in [
            ("none", None, at("missing"), Ok(None)),
            ("one that is named and missing", Some(at("missing")), at("missing"), Err(3)),
            ("a link that leads nowhere", None, at("dangling"), Err(3)),
            ("what can't be asked for", None, at("file/below"), Err(3)),
            ("a bad one", None, at("file"), Err(2)),
        ] {
            let got = redactor(named.as_deref(), &default).map(|(_, config)| config).map_err(|failure| failure.code());
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn what_has_come_is_written_before_a_read_fails() {
        let redactor = Redactor::default();
        for (end, want) in [(None, "a\npan=[PAN:visa:16]"), (Some(io::ErrorKind::TimedOut), "a\n")] {
            let mut out = Vec::new();
            let mut pieces = Pieces(vec![b"a\npan=4111", b"111111111111"], false, end);
            let ended = clean(&mut Stream::new(&redactor), &mut pieces, &mut out).unwrap();
            assert_eq!((str::from_utf8(&out).unwrap(), ended.err().map(|error| error.kind())), (want, end));
        }
    }
}
