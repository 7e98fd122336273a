//! `sallyport doctor`: is the running proxy as it should be? Requests with test card numbers, which must be refused and found nowhere,
//! and what of the hardening can be seen from here.
//! Not here: the requests and the search (`runtime::canary`). Source: the contract's `doctor`; PCI DSS 2.2, 3.5.1.

mod hardening;
mod places;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::{Failure, Output, environment};
use crate::runtime::load;
use places::Seen;

#[derive(Args)]
pub(super) struct DoctorArgs {
    /// The file with a token of an auditor: what the admin port gives out is searched too
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Try the catalogue of attacks
    #[arg(long)]
    attack: bool,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    /// Worth knowing; nothing is wrong.
    Note,
    Failed,
}

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Check {
    check: &'static str,
    result: Verdict,
    /// What was found, and what to do about it.
    found: String,
}

#[derive(Serialize)]
struct Examined {
    ok: bool,
    checks: Vec<Check>,
}

impl Check {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, result: Verdict::Ok, found: found.into() }
    }

    fn note(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, result: Verdict::Note, found: found.into() }
    }

    fn failed(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, result: Verdict::Failed, found: found.into() }
    }
}

pub(super) fn doctor(config: &Path, args: &DoctorArgs, output: Output) -> Result<(), Failure> {
    if args.attack {
        return Err(Failure::Usage(anyhow::anyhow!("`--attack` is not available in this version")));
    }
    let loaded = load::load(config, &environment)?;
    let token = token(args).map_err(Failure::Outside)?;
    let Seen { mut checks, unreachable } = places::searched(&loaded.config, token.as_deref())?;
    checks.extend(hardening::seen(&loaded));
    let ok = checks.iter().all(|check| check.result != Verdict::Failed);
    output.print(&Examined { ok, checks }, text)?;
    match unreachable {
        Some(error) => Err(Failure::Outside(error.into())),
        None if ok => Ok(()),
        None => Err(Failure::No),
    }
}

fn token(args: &DoctorArgs) -> anyhow::Result<Option<String>> {
    let Some(path) = &args.token_file else { return Ok(None) };
    let text = std::fs::read_to_string(path).with_context(|| format!("`{}`", path.display()))?;
    Ok(Some(text.trim_end().to_owned()))
}

fn text(examined: &Examined) -> String {
    let line = |check: &Check| {
        let word = match check.result {
            Verdict::Ok => "ok",
            Verdict::Note => "note",
            Verdict::Failed => "FAILED",
        };
        format!("{word:<7} {}: {}", check.check, check.found)
    };
    examined.checks.iter().map(line).collect::<Vec<_>>().join("\n")
}
