//! `sallyport audit`: what an auditor does with a decision log, from its files alone.
//! Not here: what a log holds and proves (`decision_log`), how its files are read (`runtime::archive`).

mod check_proof;
mod connections;
mod export;
mod export_file;
mod export_record;
mod filters;
mod prove;
mod query;
mod scan;
mod scan_files;
mod scan_source;
mod table;
mod verify;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::{DEFAULT_CONFIG, Failure, Output, environment, unknown};
use crate::decision_log::{MAX_NOTE, VerifierKey};
use crate::runtime::load;

#[derive(Subcommand)]
pub(super) enum Audit {
    /// Recompute every hash and check every checkpoint
    Verify(verify::VerifyArgs),
    /// Print a proof that one record stands in the log, for whoever has the verifier key and not the log
    Prove(prove::ProveArgs),
    /// Say whether a proof and the log's verifier key are enough to believe a record; needs no log
    CheckProof(check_proof::CheckProofArgs),
    /// Write records into a new folder, in a form that others read, with a manifest of what is whole
    Export(Box<export::ExportArgs>),
    /// Print records that fit: connections as a table, the log's lines with `-o json`, or counts. Exit 1: none does
    Query(Box<query::QueryArgs>),
    /// Search files for card numbers and what else should not be there: places without values. Exit 1: something was found
    Scan(scan::ScanArgs),
    /// Commands of the contract that this version does not have yet.
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// Commands that are named for users already and not built yet.
const NOT_YET: &[&str] = &["report"];

pub(super) fn audit(named: Option<&Path>, command: &Audit, output: Output) -> Result<(), Failure> {
    let config = named.unwrap_or(Path::new(DEFAULT_CONFIG));
    match command {
        Audit::Verify(args) => verify::verify(config, args, output),
        Audit::Prove(args) => prove::prove(config, args),
        Audit::CheckProof(args) => check_proof::check_proof(args, output),
        Audit::Export(args) => export::export(config, args, output),
        Audit::Query(args) => query::query(config, args, output),
        Audit::Scan(args) => scan::scan(named, args, output),
        Audit::Other(words) => Err(unknown("audit ", words, NOT_YET)),
    }
}

/// The log's directory: as given, or as the configuration says.
pub(in crate::cli) fn directory(given: Option<&Path>, config: &Path) -> Result<PathBuf, Failure> {
    match given {
        Some(given) => Ok(given.to_owned()),
        None => Ok(load::load(config, &environment)?.config.decision_log.directory.into()),
    }
}

/// A verifier key: its text, or the file that holds it. An existing file comes first.
fn verifier_key(given: &str) -> Result<VerifierKey, Failure> {
    let text = match text_of(Path::new(given)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && given.contains('+') => given.to_owned(),
        Err(error) if error.kind() == io::ErrorKind::InvalidFilename => given.to_owned(),
        Err(error) => return Err(unreadable(Path::new(given), &error)),
    };
    text.trim_end().parse().map_err(|error| Failure::Usage(anyhow::anyhow!("`--key`: {error}")))
}

/// A small file that the arguments name: a note or a key. What is no UTF-8 is neither, and no key signed its replacement.
fn text_of(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_NOTE).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::Outside(anyhow::anyhow!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// From the text of signed-note.
    const KNOWN: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    #[test]
    fn a_key_is_its_text_or_a_file_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        for given in [KNOWN.to_owned(), file("log.vkey", &format!("{KNOWN}\n")), file("a+b+c", KNOWN)] {
            assert_eq!(verifier_key(&given).unwrap().to_string(), KNOWN, "{given}");
        }
        let missing = folder.path().join("missing").display().to_string();
        for (given, code) in [
            (file("bad", "nothing"), 2),
            (file("long", &format!("{KNOWN}{}", " ".repeat(70_000))), 0),
            (KNOWN.replace("530d", "530e"), 2),
            ("x+".repeat(3000), 2),
            (missing, 3),
            (folder.path().display().to_string(), 3),
        ] {
            let got = verifier_key(&given).map_err(|failure| failure.code());
            assert_eq!(got.err().unwrap_or(0), code, "{given:.80}");
        }
    }
}
