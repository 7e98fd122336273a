//! How results are printed. Source: clig.dev (results to stdout, words to stderr).

use std::io::{self, Write};
use std::process::ExitCode;

use clap::ValueEnum;
use serde::Serialize;

use super::Failure;
use crate::redact;

/// The form of a command's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

impl Output {
    /// Prints `value`: as JSON, or as the text that `text` makes of it.
    pub fn print<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        say(&match self {
            Self::Text => text(value),
            // Values printed here are our own plain structs; if one cannot be written, nothing is.
            Self::Json => serde_json::to_string(value).unwrap_or_default(),
        })
    }
}

/// The form of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A table for people
    Text,
    /// RFC 4180, safe in spreadsheets
    Csv,
    /// One JSON value
    Json,
}

impl Format {
    /// The one that was asked for, by default as results are printed.
    pub(super) fn of(asked: Option<Self>, output: Output) -> Self {
        asked.unwrap_or(match output {
            Output::Text => Self::Text,
            Output::Json => Self::Json,
        })
    }
}

/// Rows as lines, their columns below one another. What has more than `most` characters pushes the rest of its line, and not of all lines.
pub(super) fn aligned<const N: usize, I: Iterator<Item = [String; N]>>(rows: impl Fn() -> I, most: usize) -> String {
    let mut widths = [0; N];
    for row in rows() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().clamp(*width, most.max(*width));
        }
    }
    let padded = |row: [String; N]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows().map(padded).collect::<Vec<_>>().join("\n")
}

/// Prints a line to stdout. A reader that has gone away, as in `… | head -1`, has what it wants: that is no failure.
pub(super) fn say(line: &str) -> Result<(), Failure> {
    write_line(&mut io::stdout().lock(), line)
}

/// Prints a text that has its line ends to stdout.
pub(super) fn print(text: &[u8]) -> Result<(), Failure> {
    written(io::stdout().lock().write_all(text).and_then(|()| io::stdout().flush()))
}

/// Prints what `write` writes to stdout, in pieces.
pub(super) fn stream(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    written(write(&mut out).and_then(|()| out.flush()))
}

/// Upper bound in bytes of one line of an error.
const MAX_LINE: usize = 16 * 1024;

/// Prints an error to stderr. It may repeat what a file or a peer says, so each line of it passes redaction.
pub(super) fn complain_of(error: &anyhow::Error) {
    complain_cleaned(&format!("{error:#}"));
}

/// Prints what is said of arguments: help and version to stdout, what is wrong with them, which repeats them, cleaned to stderr.
pub(super) fn answer_arguments(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        complain_cleaned(&error.render().to_string());
    } else {
        // A reader that has gone away has what it wants.
        let _ = error.print();
    }
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn complain_cleaned(text: &str) {
    text.lines().for_each(|line| complain(redact::clean(line.as_bytes(), MAX_LINE).text.as_str()));
}

/// Prints a line to stderr. There is nowhere left to say that it failed; the exit code still tells.
pub(super) fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

fn write_line(out: &mut impl Write, line: &str) -> Result<(), Failure> {
    written(writeln!(out, "{line}").and_then(|()| out.flush()))
}

fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Outside(anyhow::anyhow!("cannot write to stdout: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure_and_a_full_disk_is() {
        let mut out = Vec::new();
        assert!(write_line(&mut out, "ok").is_ok());
        assert_eq!(out, b"ok\n");
        assert!(write_line(&mut Broken(io::ErrorKind::BrokenPipe), "ok").is_ok());
        let failure = write_line(&mut Broken(io::ErrorKind::StorageFull), "ok").unwrap_err();
        assert!(matches!(failure, Failure::Outside(_)), "{failure:?}");
    }
}
