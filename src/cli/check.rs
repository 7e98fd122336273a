//! `sallyport check`: loads all that `run` would load and prints every fault.

use std::path::Path;
use std::{fs, io};

use anyhow::Context;
use serde::Serialize;

use super::{Failure, Output, environment};
use crate::decision_log::SigningKey;
use crate::runtime::load;

#[derive(Serialize)]
struct Checked<'a> {
    ok: bool,
    policy: &'a str,
    rules: usize,
    sources: usize,
}

pub(super) fn check(config: &Path, output: Output) -> Result<(), Failure> {
    let loaded = load::load(config, &environment)?;
    check_key(Path::new(&loaded.config.decision_log.key))?;
    let policy = &loaded.policy;
    let checked =
        Checked { ok: true, policy: policy.hash(), rules: policy.grants().len(), sources: policy.sources().len() };
    output.print(&checked, |checked| {
        format!("ok: {} rules, {} sources, policy {}", checked.rules, checked.sources, checked.policy)
    });
    Ok(())
}

/// The log's key, if it is there: `run` would make it.
fn check_key(path: &Path) -> Result<(), Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Failure::Outside(anyhow::anyhow!("{}: {error}", path.display()))),
    };
    let key = SigningKey::from_pem(&text).with_context(|| path.display().to_string());
    key.map(drop).map_err(Failure::Usage)
}
