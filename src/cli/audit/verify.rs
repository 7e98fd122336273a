//! `sallyport audit verify`: recomputes a log from its files alone and says `ok`, or the first thing that is wrong.
//! Not here: what is checked (`decision_log::verify`), threads (`runtime::archive`).

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::{Failure, Output, directory, text_of, unreadable, verifier_key};
use crate::cli::output::complain;
use crate::cli::progress::Progress;
use crate::decision_log::verify::{Bad, VerifyError};
use crate::runtime::archive::Archive;
use crate::runtime::archive::verify::{self, Report, Trust};

#[derive(Args)]
pub(in crate::cli) struct VerifyArgs {
    /// The log's directory; by default the configuration's
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// The log's verifier key, or a file that holds it; by default the log's own `log.vkey`
    #[arg(long, value_name = "VKEY")]
    key: Option<String>,
    /// A checkpoint that was kept elsewhere: the log must hold all that it signed
    #[arg(long = "checkpoint", value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
}

/// The answer, as JSON.
#[derive(Default, Serialize)]
struct Answer {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<String>,
    /// Records in the log, signed or not yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<u64>,
    /// Records that were signed only by the run behind theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_late: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<String>,
}

pub(super) fn verify(config: &Path, args: &VerifyArgs, output: Output) -> Result<(), Failure> {
    let path = directory(args.directory.as_deref(), config)?;
    let key = args.key.as_deref().map(verifier_key).transpose()?;
    let kept: Result<Vec<_>, Failure> = args.checkpoints.iter().map(|file| kept(file)).collect();
    let (trust, is_own) = (Trust { key, kept: kept? }, args.key.is_none());
    let outside = |error: &dyn std::error::Error| Failure::Outside(anyhow::anyhow!("{error}"));
    let archive = Archive::open(&path).map_err(|error| outside(&error))?;
    let mut progress = Progress::new();
    let verified = verify::verify(&archive, trust, &mut |records, of| progress.at(records, of));
    drop(progress);
    match verified {
        Ok(report) => {
            notes(&report, is_own.then(|| archive.vkey().ok().flatten()).flatten().as_deref());
            good(&report, output)
        }
        Err(VerifyError::Bad(bad)) => {
            no(bad, output)?;
            Err(Failure::No)
        }
        Err(VerifyError::Read(error)) => Err(outside(&error)),
    }
}

/// A checkpoint that was kept, with its name.
fn kept(file: &Path) -> Result<(String, String), Failure> {
    let note = text_of(file).map_err(|error| unreadable(file, &error))?;
    Ok((file.display().to_string(), note))
}

fn good(report: &Report, output: Output) -> Result<(), Failure> {
    let verified = &report.verified;
    let (size, root) = (verified.checkpoint.size, verified.checkpoint.root.to_string());
    let text = format!("ok {size} {root}");
    let answer = Answer {
        ok: true,
        size: Some(size),
        root: Some(root),
        records: Some(verified.records),
        signed_late: Some(verified.signed_late),
        ..Answer::default()
    };
    output.print(&answer, |_| text)
}

fn no(bad: Bad, output: Output) -> Result<(), Failure> {
    let text = format!("bad {bad}");
    let Bad { file, line, what } = bad;
    output.print(&Answer { file: Some(file), line, what: Some(what), ..Answer::default() }, |_| text)
}

/// What is good to know and not wrong. `own`: the log's own key, if that was trusted.
fn notes(report: &Report, own: Option<&str>) {
    let verified = &report.verified;
    if let Some(vkey) = own {
        complain(&format!("the key is the log's own: compare it with one that you keep: {}", vkey.trim_end()));
    }
    for (seq, key) in &verified.key_changes {
        complain(&format!("record {seq} changed the key; {key} follows"));
    }
    match verified.records.saturating_sub(verified.checkpoint.size) {
        0 => {}
        unsigned => complain(&format!("{unsigned} records behind the signed size: not signed yet")),
    }
    if verified.signed_late > 0 {
        complain(&format!(
            "{} records were signed not by the run that wrote them but by the next: `audit query --kind start` says behind which crash; \
             compare them with what others saw",
            verified.signed_late
        ));
    }
    if let Some(torn) = &verified.torn {
        let (file, line, bytes) = (&torn.file, torn.line, torn.bytes);
        complain(&format!("{file}:{line}: {bytes} bytes are no whole record: one that is being written, or a crash"));
    }
    for file in &report.doubled {
        complain(&format!("{file}: there in both forms, as while it is sealed; the plain one was read"));
    }
    complain(&format!("{} checkpoints within the records are good", verified.held));
}
