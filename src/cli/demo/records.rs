//! Finds the record of one request in the log's files, as an auditor could with nothing but a JSON reader.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use serde::Deserialize;

use crate::decision_log::Checkpoint;
use crate::runtime::archive::Archive;
use crate::runtime::archive::verify::{Trust, verify};

/// The fields of a decision that the demo looks at.
#[derive(Deserialize)]
pub(super) struct Decision {
    pub(super) seq: u64,
    pub(super) id: String,
    pub(super) outcome: String,
    pub(super) reason: String,
}

#[derive(Deserialize)]
struct Line {
    kind: String,
    client_port: Option<u16>,
    #[serde(flatten)]
    decision: Option<Decision>,
}

/// How often the files are read again until the record is there.
const AGAIN: Duration = Duration::from_millis(20);

/// The decision on the connection that came from `client_port`.
pub(super) fn find(log: &Path, client_port: u16, patience: Duration) -> anyhow::Result<Decision> {
    let (end, segments) = (Instant::now() + patience, log.join("segments"));
    loop {
        if let Some(decision) = look(&segments, client_port)? {
            return Ok(decision);
        }
        if Instant::now() >= end {
            bail!("no record for the client at port {client_port} in {}", segments.display());
        }
        std::thread::sleep(AGAIN);
    }
}

/// Waits until the records are signed, and verifies the log as `audit verify` does.
pub(super) fn verified(log: &Path, patience: Duration) -> anyhow::Result<Checkpoint> {
    let end = Instant::now() + patience;
    loop {
        let report = verify(&Archive::open(log)?, Trust::default(), &mut |_, _| ())?;
        let unsigned = report.verified.records.saturating_sub(report.verified.checkpoint.size);
        if unsigned == 0 {
            return Ok(report.verified.checkpoint);
        }
        if Instant::now() >= end {
            bail!("{unsigned} records in {} are not signed", log.display());
        }
        std::thread::sleep(AGAIN);
    }
}

fn look(segments: &Path, client_port: u16) -> anyhow::Result<Option<Decision>> {
    for entry in fs::read_dir(segments)? {
        let text = fs::read_to_string(entry?.path())?;
        // The last line may be half written while the log grows: it is read whole next time.
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        let mut mine = lines.filter(|line| line.kind == "decision" && line.client_port == Some(client_port));
        if let Some(decision) = mine.find_map(|line| line.decision) {
            return Ok(Some(decision));
        }
    }
    Ok(None)
}
