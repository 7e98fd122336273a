//! One cell: one load on one subject, again if others disturbed it. Not here: the load itself (`load`), which runs as a process of
//! its own on the rig's cores.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::process::Started;
use super::stage::{Running, Stage};
use super::{Plan, busy};
use crate::figure::Sample;
use crate::results::{Cell, Failed, Record};
use crate::shape::Shape;
use crate::subject::Subject;

/// Upper bound of one load. The longest, `idle` on a slow peer, takes some 20 s.
const LOAD_DEADLINE: Duration = Duration::from_secs(120);

/// How much is done for a quiet machine.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    tries: u32,
    calm: Duration,
}

impl Patience {
    /// For figures.
    pub const USUAL: Self = Self { tries: 3, calm: Duration::from_secs(15) };
    /// To see that everything works.
    pub const TRIAL: Self = Self { tries: 1, calm: Duration::ZERO };
}

/// Takes a cell until it is quiet or the tries are over: every one that was taken, and what failed.
pub async fn take(stage: &Stage, plan: &Plan, running: &mut Running, which: (Subject, Shape, u32)) -> Vec<Record> {
    let (subject, shape, round) = which;
    let mut records = Vec::new();
    for _ in 0..plan.patience.tries {
        busy::calm(plan.patience.calm).await;
        match load(stage, running, &shape.arguments(plan.dose)).await {
            Ok((sample, foreign)) => {
                let cell = Cell { subject, shape, round, foreign, sample };
                let noisy = cell.is_noisy();
                records.push(Record::Cell(cell));
                if !noisy {
                    break;
                }
            }
            Err(error) => {
                let why = format!("{error:#}");
                records.push(Record::Failed(Failed { subject, shape: Some(shape), round, why }));
                break;
            }
        }
    }
    records
}

/// One load: what it found, and the cores that others used meanwhile.
async fn load(stage: &Stage, running: &mut Running, arguments: &[String]) -> Result<(Sample, f64)> {
    let rig = std::env::current_exe()?.to_string_lossy().into_owned();
    let own = [format!("--proxy={}", running.proxy), format!("--pid={}", running.process.id())];
    let words = [&[rig, "load".to_owned()], arguments, &own].concat();
    let (output, log) = (stage.file("load.json"), stage.file("load.log"));
    let span = busy::Span::begin();
    let mut load = Started::spawn(&stage.cores.rig, &words, &log, Some(&output))?;
    let status = load.end(LOAD_DEADLINE).await.context("the load")?;
    let foreign = span.foreign();
    if let Some(status) = running.process.ended() {
        bail!("it ended during the load ({status}): {}", running.process.tail());
    }
    let found = fs::read_to_string(&output).context("cannot read what the load found")?;
    let sample = serde_json::from_str(&found);
    Ok((sample.with_context(|| format!("the load ended without a result ({status}): {}", load.tail()))?, foreign))
}
