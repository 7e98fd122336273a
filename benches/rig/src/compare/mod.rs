//! `rig compare`: all subjects under all shapes of load, interleaved round by round, one line of results a cell.
//! Not here: what the results mean (`report`). Everything that was started is ended, on errors and signals too.

mod busy;
mod cell;
mod envoy;
mod machine;
mod process;
mod programs;
mod recipe;
mod refusal;
mod stage;

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;
use jiff::Timestamp;
use rustix::process::{Resource, geteuid, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

pub use self::refusal::Refusal;

use self::programs::Programs;
use self::stage::{Cores, Stage};
use crate::results::{Failed, Record};
use crate::shape::{Dose, Shape};
use crate::subject::Subject;

/// Who is compared if nothing else is said: yardsticks, peers, the product; and the last three beside their usual selves.
const SUBJECTS: &str = "floor-shared64k,floor-splice,squid,envoy,tinyproxy,sallyport-async,sallyport-sync,\
                        floor-shared64k@2cores,sallyport-async@2cores,sallyport-async@1000000";

/// Upper bound of tunnels held at once; fewer where the limit on descriptors does not suffice.
const MAX_TUNNELS: u32 = 9_600;

/// Of them, not held by `idle`: for probes.
const SPARE_TUNNELS: u32 = 100;

/// Descriptors that a subject needs besides two a tunnel.
const SPARE_DESCRIPTORS: u64 = 800;

/// What is compared, and how.
#[derive(Args)]
pub struct CompareArgs {
    /// Who: names with commas between, `@2cores` or a number of names behind each
    #[arg(long, value_delimiter = ',', default_value = SUBJECTS)]
    subjects: Vec<Subject>,
    /// How: names with commas between [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    shapes: Vec<Shape>,
    /// How often; each round begins with another subject, and every other one goes backwards
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// The sallyport that is measured; without it, none is
    #[arg(long)]
    sallyport: Option<PathBuf>,
    /// A folder with programs that aren't in PATH
    #[arg(long, default_value = "target/bench/bin")]
    programs: PathBuf,
    /// Results, one JSON object a line, are appended here
    #[arg(long, default_value = "target/bench/results.jsonl")]
    out: PathBuf,
    /// Folder for configurations and logs of the subjects: on a disk, and open to other users
    #[arg(long, default_value = "/var/tmp")]
    work: PathBuf,
    /// Cores of the subject, as taskset takes them
    #[arg(long, default_value = "0")]
    cores: String,
    /// Cores of load, origin and dnsmasq
    #[arg(long, default_value = "1")]
    rig_cores: String,
    /// Tunnels a second of the paced shapes
    #[arg(long, default_value_t = 500.0)]
    rate: f64,
    /// Loopback address for dnsmasq
    #[arg(long, default_value = "127.0.1.53")]
    dns: Ipv4Addr,
    /// A fifth of each load, one try: shows that everything works, gives no figures
    #[arg(long)]
    quick: bool,
    /// Only see whether a comparison can begin; the sallyport need not be built yet
    #[arg(long)]
    check: bool,
    /// The command that results name, instead of this one
    #[arg(long)]
    command: Option<String>,
    /// Measure though others use the machine; the table says so
    #[arg(long)]
    anyway: bool,
    /// Keep configurations and logs
    #[arg(long)]
    keep: bool,
}

/// What is left of the arguments once programs were looked for.
pub struct Plan {
    subjects: Vec<Subject>,
    shapes: Vec<Shape>,
    dose: Dose,
    /// How often a noisy cell is taken, and how long a quiet machine is waited for.
    patience: cell::Patience,
}

/// The results' file, and how many cells have none.
struct Results {
    file: File,
    failed: u32,
}

/// Compares.
///
/// # Errors
/// [`Refusal`] above all: [`Refusal::Gaps`] once all is over and a subject or cell has no result.
pub fn run(args: &CompareArgs) -> Result<()> {
    crate::block_on(async {
        let (mut terminated, mut hung_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
        // What is dropped unfinished ends all that it started.
        tokio::select! {
            done = compare(args) => done,
            _ = tokio::signal::ctrl_c() => Err(Refusal::BrokenOff.into()),
            _ = terminated.recv() => Err(Refusal::BrokenOff.into()),
            _ = hung_up.recv() => Err(Refusal::BrokenOff.into()),
        }
    })
}

async fn compare(args: &CompareArgs) -> Result<()> {
    check_outside(args)?;
    let path = env::var_os("PATH");
    let programs = Programs::new(args.sallyport.clone(), &args.programs, path.as_deref());
    for name in ["dnsmasq", "taskset", "unshare"] {
        programs.find(name).ok_or(Refusal::Missing(name))?;
    }
    let plan = args.plan(&programs)?;
    stage::check_free(args.dns)?;
    let busy = busy::refuse(args.anyway).await?;
    if args.check {
        return Ok(());
    }
    let folder = Folder::make(&args.work, args.keep)?;
    let mut run = machine::describe(args, &plan, &programs, &folder.path);
    run.busy = busy;
    if let Some(parent) = args.out.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make `{}`", parent.display()))?;
    }
    let file = OpenOptions::new().create(true).append(true).open(&args.out);
    let file = file.with_context(|| format!("cannot write `{}`", args.out.display()))?;
    let tunnels = plan.dose.tunnels.saturating_add(SPARE_TUNNELS);
    let stage = Stage::set_up(&folder.path, args.dns, tunnels, args.cores(), programs).await?;
    let mut results = Results { file, failed: 0 };
    results.add(&Record::Run(run))?;
    for round in 1..=args.rounds {
        for subject in order(&plan.subjects, round) {
            measure(&stage, &plan, subject, round, &mut results).await?;
        }
    }
    if results.failed == 0 { Ok(()) } else { Err(Refusal::Gaps.into()) }
}

/// Who comes when in a round, counted from 1: each begins with another subject, so that none is always first, and every other one goes
/// backwards, so that none always follows the same.
fn order(subjects: &[Subject], round: u32) -> Vec<Subject> {
    let turn = usize::try_from(round.saturating_sub(1)).unwrap_or_default();
    let first = turn.checked_rem(subjects.len()).unwrap_or_default();
    let (before, from) = subjects.split_at(first);
    let mut order: Vec<Subject> = from.iter().chain(before).copied().collect();
    if !turn.is_multiple_of(2) {
        // The first stays the first.
        order.get_mut(1..).unwrap_or_default().reverse();
    }
    order
}

/// All shapes on one subject. `idle` gets a process of its own, so that memory at start is just that.
async fn measure(stage: &Stage, plan: &Plan, subject: Subject, round: u32, results: &mut Results) -> Result<()> {
    let shapes = plan.shapes_of(subject);
    let (idle, others): (Vec<Shape>, Vec<Shape>) = shapes.into_iter().partition(|shape| *shape == Shape::Idle);
    for shapes in [others, idle].into_iter().filter(|shapes| !shapes.is_empty()) {
        let mut running = match stage.start(subject).await {
            Ok(running) => running,
            Err(error) => {
                let why = format!("{error:#}");
                return results.add(&Record::Failed(Failed { subject, shape: None, round, why }));
            }
        };
        for shape in shapes {
            for record in cell::take(stage, plan, &mut running, (subject, shape, round)).await {
                results.add(&record)?;
            }
        }
    }
    Ok(())
}

/// Root, namespaces, two cores; and as many descriptors as may be.
fn check_outside(args: &CompareArgs) -> Result<(), Refusal> {
    if !geteuid().is_root() {
        return Err(Refusal::NotRoot);
    }
    if !succeeds("unshare", &["-m", "true"]) {
        return Err(Refusal::NoNamespaces);
    }
    let both = format!("{},{}", args.cores, args.rig_cores);
    if stage::core_count(&both).is_none() || !succeeds("taskset", &["-c", &args.cores, "true"]) {
        return Err(Refusal::Cores(args.cores.clone()));
    }
    if args.cores == args.rig_cores || !succeeds("taskset", &["-c", &args.rig_cores, "true"]) {
        return Err(Refusal::Cores(both));
    }
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // A refusal leaves the old limit, which is read for the number of tunnels.
    let _ = setrlimit(Resource::Nofile, limit);
    Ok(())
}

fn succeeds(program: &str, words: &[&str]) -> bool {
    Command::new(program).args(words).output().is_ok_and(|output| output.status.success())
}

impl CompareArgs {
    fn cores(&self) -> Cores {
        Cores { subject: self.cores.clone(), rig: self.rig_cores.clone() }
    }

    /// What can be measured. Says what is skipped since its program is missing.
    fn plan(&self, programs: &Programs) -> Result<Plan, Refusal> {
        let absent = self.sallyport.as_ref().filter(|path| !path.is_file());
        if let Some(path) = absent.filter(|_| !self.check) {
            return Err(Refusal::NoProgram(path.clone()));
        }
        let there = |subject: &&Subject| {
            let is_to_be_built = subject.kind.is_ours() && absent.is_some();
            let missing = programs::of(subject.kind).filter(|name| programs.find(name).is_none() && !is_to_be_built);
            if let Some(name) = missing {
                let hint = if name == "sallyport" { "`--sallyport PATH`" } else { "benches/setup.sh" };
                println!("skipped: {subject}: `{name}` is missing; {hint} gives it");
            }
            missing.is_none()
        };
        let shapes = if self.shapes.is_empty() { Shape::ALL.to_vec() } else { self.shapes.clone() };
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let tunnels = u32::try_from(descriptors.saturating_sub(SPARE_DESCRIPTORS) / 2).unwrap_or(MAX_TUNNELS);
        let tunnels = tunnels.min(MAX_TUNNELS).saturating_sub(SPARE_TUNNELS);
        let plan = Plan {
            subjects: self.subjects.iter().filter(there).copied().collect(),
            shapes,
            dose: Dose { share: if self.quick { 0.2 } else { 1.0 }, rate: self.rate, tunnels },
            patience: if self.quick { cell::Patience::TRIAL } else { cell::Patience::USUAL },
        };
        let any = plan.subjects.iter().any(|subject| !plan.shapes_of(*subject).is_empty());
        if any { Ok(plan) } else { Err(Refusal::Nothing) }
    }
}

impl Plan {
    /// The shapes that a subject takes in this run.
    fn shapes_of(&self, subject: Subject) -> Vec<Shape> {
        self.shapes.iter().copied().filter(|shape| subject.shapes().contains(shape)).collect()
    }
}

impl Results {
    /// Writes a line, and tells who watches.
    fn add(&mut self, record: &Record) -> Result<()> {
        writeln!(self.file, "{}", serde_json::to_string(record)?).context("cannot write results")?;
        let clock = Timestamp::now().strftime("%T");
        match record {
            Record::Run(run) => println!("{clock} begins: {}, {} cores, Linux {}", run.cpu, run.cores, run.kernel),
            Record::Cell(cell) => {
                let failures: u64 = cell.sample.failures.values().sum();
                let noisy = if cell.is_noisy() { ", NOISY" } else { "" };
                let (shape, round, foreign) = (cell.shape.name(), cell.round, cell.foreign);
                println!(
                    "{clock} round {round} {} {shape}: {failures} failures, foreign {foreign:.2}{noisy}",
                    cell.subject
                );
            }
            Record::Failed(failed) => {
                self.failed = self.failed.saturating_add(1);
                let shape = failed.shape.map_or("start", Shape::name);
                println!("{clock} round {} {} {shape}: FAILED: {}", failed.round, failed.subject, failed.why);
            }
        }
        Ok(())
    }
}

/// The folder of a run, gone afterwards unless it is kept.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn make(work: &Path, keep: bool) -> Result<Self> {
        let path = work.join(format!("sallyport-bench-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make `{}`", path.display()))?;
        Ok(Self { path: path.canonicalize()?, keep })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.keep {
            println!("kept: {}", self.path.display());
        } else if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("rig: cannot remove `{}`: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_begin_with_another_and_every_other_goes_backwards() {
        let subjects = ["squid", "envoy", "tinyproxy"].map(|name| name.parse::<Subject>().unwrap());
        for (round, want) in [
            (1, "squid envoy tinyproxy"),
            (2, "envoy squid tinyproxy"),
            (3, "tinyproxy squid envoy"),
            (4, "squid tinyproxy envoy"),
        ] {
            let names: Vec<String> = order(&subjects, round).iter().map(Subject::to_string).collect();
            assert_eq!(names.join(" "), want, "round {round}");
        }
    }
}
