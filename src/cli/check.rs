//! `sallyport check`: loads all that `run` would load and prints every fault.
//! Not here: anything that writes, locks or binds.

use std::path::Path;

use serde::Serialize;

use super::{Failure, Output, environment};
use crate::runtime::{journal, load};

#[derive(Serialize)]
struct Checked<'a> {
    ok: bool,
    policy: &'a str,
    rules: usize,
    sources: usize,
}

pub(super) fn check(config: &Path, output: Output) -> Result<(), Failure> {
    let loaded = load::load(config, &environment)?;
    let log = &loaded.config.decision_log;
    journal::check(Path::new(&log.directory), Path::new(&log.key), &loaded.config.instance)?;
    let policy = &loaded.policy;
    let checked =
        Checked { ok: true, policy: policy.hash(), rules: policy.grants().len(), sources: policy.sources().len() };
    output.print(&checked, |checked| {
        format!("ok: {} rules, {} sources, policy {}", checked.rules, checked.sources, checked.policy)
    })
}
