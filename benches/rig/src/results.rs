//! What comparisons found: one JSON object a line, and medians over rounds.
//! Not here: measuring (`compare`), showing (`report`).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::figure::{Figure, Sample};
use crate::shape::Shape;
use crate::subject::Subject;

/// More foreign load than this, in cores, makes a cell noisy.
pub const FOREIGN_LIMIT: f64 = 0.10;

/// One line of results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Record {
    /// A comparison began.
    Run(Run),
    /// A load was taken.
    Cell(Cell),
    /// A subject did not start, or a load has no result.
    Failed(Failed),
}

/// Where and how a comparison was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// When, UTC.
    pub time: String,
    /// The command.
    pub command: String,
    /// The processor's name.
    pub cpu: String,
    /// How many cores the machine has.
    pub cores: usize,
    /// Cores that share one with another, as the kernel lists them: `0-1` and `2-3`. Empty: none does.
    #[serde(default)]
    pub siblings: Vec<String>,
    /// The kernel's release.
    pub kernel: String,
    /// The file system with the subjects' logs.
    pub log_filesystem: String,
    /// Versions of the programs.
    pub versions: BTreeMap<String, String>,
    /// Cores of the subject, as taskset takes them.
    pub subject_cores: String,
    /// Cores of load, origin and dnsmasq.
    pub rig_cores: String,
    /// How often everything was measured.
    pub rounds: u32,
    /// Tunnels a second of the paced shapes.
    pub rate: f64,
    /// Whether it was a trial with small loads: then there are no figures.
    pub quick: bool,
    /// Cores that others used when it began, if they were too many.
    pub busy: Option<f64>,
}

/// One load on one subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Who was measured.
    pub subject: Subject,
    /// How.
    pub shape: Shape,
    /// In which round, from 1.
    pub round: u32,
    /// Cores that were busy with what is not ours.
    pub foreign: f64,
    /// What was found.
    pub sample: Sample,
}

/// A subject or load without a result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// Who should have been measured.
    pub subject: Subject,
    /// How; nothing, if it did not even start.
    pub shape: Option<Shape>,
    /// In which round, from 1.
    pub round: u32,
    /// Why not.
    pub why: String,
}

impl Cell {
    /// Whether somebody else disturbed it.
    pub fn is_noisy(&self) -> bool {
        self.foreign > FOREIGN_LIMIT
    }
}

/// All results of a file.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// The comparisons.
    pub runs: Vec<Run>,
    /// What has no result.
    pub failed: Vec<Failed>,
    cells: BTreeMap<(Shape, Subject), Vec<Cell>>,
}

impl Results {
    /// Reads a file.
    ///
    /// # Errors
    /// It can't be read, or a line is no record.
    pub fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = fs::read_to_string(path).with_context(|| format!("cannot read `{shown}`"))?;
        let mut results = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let record = serde_json::from_str(line).with_context(|| format!("`{shown}`, line {number}: no record"))?;
            results.add(record);
        }
        Ok(results)
    }

    /// Adds a record.
    pub fn add(&mut self, record: Record) {
        match record {
            Record::Run(run) => self.runs.push(run),
            Record::Failed(failed) => self.failed.push(failed),
            Record::Cell(cell) => self.cells.entry((cell.shape, cell.subject)).or_default().push(cell),
        }
    }

    /// Who has a result in this shape, in the order of tables.
    pub fn subjects(&self, shape: Shape) -> Vec<Subject> {
        self.cells.keys().filter(|(of, _)| *of == shape).map(|(_, subject)| *subject).collect()
    }

    /// The cells that count: the noisy ones only where there is no other.
    pub fn cells(&self, shape: Shape, subject: Subject) -> Vec<&Cell> {
        let all: Vec<&Cell> = self.cells.get(&(shape, subject)).into_iter().flatten().collect();
        let quiet: Vec<&Cell> = all.iter().copied().filter(|cell| !cell.is_noisy()).collect();
        if quiet.is_empty() { all } else { quiet }
    }

    /// Units that failed in all cells that count. What failed is not in the figures: they say nothing of a subject that fails.
    pub fn failures(&self, shape: Shape, subject: Subject) -> u64 {
        self.cells(shape, subject).iter().flat_map(|cell| cell.sample.failures.values()).sum()
    }

    /// Whether a subject should have a result in this shape, and has none in some round.
    pub fn has_gap(&self, shape: Shape, subject: Subject) -> bool {
        let is_of = |failed: &Failed| failed.subject == subject && failed.shape.is_none_or(|of| of == shape);
        self.failed.iter().any(is_of)
    }

    /// A figure in all cells that count, from least to most.
    pub fn values(&self, shape: Shape, subject: Subject, figure: Figure) -> Vec<f64> {
        let cells = self.cells(shape, subject);
        let mut values: Vec<f64> = cells.iter().filter_map(|cell| cell.sample.get(figure)).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    /// The median of a figure.
    pub fn median(&self, shape: Shape, subject: Subject, figure: Figure) -> Option<f64> {
        median(&self.values(shape, subject, figure))
    }

    /// The best peer and its median, where less is better.
    pub fn best_peer(&self, shape: Shape, figure: Figure) -> Option<(Subject, f64)> {
        self.peers(shape, figure).into_iter().min_by(|(_, a), (_, b)| a.total_cmp(b))
    }

    /// All peers as they are usually run, and their medians.
    pub fn peers(&self, shape: Shape, figure: Figure) -> Vec<(Subject, f64)> {
        let peers = self.subjects(shape).into_iter().filter(|subject| subject.kind.is_peer() && subject.is_usual());
        peers.filter_map(|peer| Some((peer, self.median(shape, peer, figure)?))).collect()
    }
}

/// The middle of sorted values, or the mean of the two in the middle.
fn median(sorted: &[f64]) -> Option<f64> {
    let half = sorted.len() / 2;
    let upper = sorted.get(half)?;
    if sorted.len() % 2 == 1 { Some(*upper) } else { Some((sorted.get(half.checked_sub(1)?)? + upper) / 2.0) }
}

/// Made-up results: one cell a value.
#[cfg(test)]
pub fn made_up(rows: &[(&str, Shape, Figure, &[f64])]) -> Results {
    let mut results = Results::default();
    for (subject, shape, figure, values) in rows {
        for (round, value) in (1..).zip(values.iter()) {
            let sample = Sample { figures: [(*figure, *value)].into(), ..Sample::default() };
            let subject = subject.parse().unwrap();
            results.add(Record::Cell(Cell { subject, shape: *shape, round, foreign: 0.0, sample }));
        }
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::Kind;

    #[test]
    fn a_median_is_the_middle() {
        for (values, want) in [
            (vec![], None),
            (vec![3.0], Some(3.0)),
            (vec![1.0, 2.0], Some(1.5)),
            (vec![1.0, 2.0, 9.0], Some(2.0)),
            (vec![1.0, 2.0, 4.0, 9.0], Some(3.0)),
        ] {
            assert_eq!(median(&values), want, "{values:?}");
        }
    }

    #[test]
    fn noisy_cells_count_only_where_there_is_no_other() {
        for (foreign, want) in [([0.0, 0.5, 0.0], 2.0), ([0.5, 0.5, 0.5], 3.0), ([0.1, 0.5, 0.5], 1.0)] {
            let mut results = Results::default();
            for (foreign, value) in foreign.into_iter().zip([1.0, 20.0, 3.0]) {
                let sample = Sample { figures: [(Figure::CpuPerGb, value)].into(), ..Sample::default() };
                let subject = Subject::usual(Kind::Squid);
                results.add(Record::Cell(Cell { subject, shape: Shape::Up, round: 1, foreign, sample }));
            }
            let found = results.median(Shape::Up, Subject::usual(Kind::Squid), Figure::CpuPerGb);
            assert_eq!(found, Some(want), "{foreign:?}");
        }
    }

    #[test]
    fn the_best_peer_is_a_usual_one() {
        let results = made_up(&[
            ("squid", Shape::Connect, Figure::CpuPerTunnel, &[130.0]),
            ("envoy", Shape::Connect, Figure::CpuPerTunnel, &[155.0]),
            ("envoy@2cores", Shape::Connect, Figure::CpuPerTunnel, &[1.0]),
            ("floor-splice", Shape::Connect, Figure::CpuPerTunnel, &[1.0]),
        ]);
        let best = results.best_peer(Shape::Connect, Figure::CpuPerTunnel);
        assert_eq!(best, Some((Subject::usual(Kind::Squid), 130.0)));
        assert_eq!(results.best_peer(Shape::Up, Figure::CpuPerGb), None);
    }

    #[test]
    fn records_survive_their_line() {
        let failed = Failed { subject: Subject::usual(Kind::Envoy), shape: None, round: 1, why: "no `x`".to_owned() };
        let line = serde_json::to_string(&Record::Failed(failed.clone())).unwrap();
        assert_eq!(line, r#"{"kind":"failed","subject":"envoy","shape":null,"round":1,"why":"no `x`"}"#);
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), Record::Failed(failed));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results");
        fs::write(&path, format!("{line}\nnonsense\n")).unwrap();
        let error = format!("{:#}", Results::read(&path).unwrap_err());
        assert!(error.contains("line 2: no record"), "{error}");
    }
}
