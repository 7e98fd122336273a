//! `rig report`: results as one page of Markdown and one chart.
//! Not here: measuring (`compare`). What stands outside the page's markers is left as it is.

mod chart;
mod table;
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use crate::compare::Refusal;
use crate::results::{FOREIGN_LIMIT, Results, Run};

/// The report stands between these lines of a page.
const BEGIN: &str = "<!-- bench:begin -->";
const END: &str = "<!-- bench:end -->";

/// Where results are, and where they go.
#[derive(Args)]
pub struct ReportArgs {
    /// Results of `rig compare`
    #[arg(default_value = "target/bench/results.jsonl")]
    results: PathBuf,
    /// Page whose part between the markers is written anew; without it, the report is printed
    #[arg(long)]
    page: Option<PathBuf>,
    /// SVG chart, in the page's folder
    #[arg(long, requires = "page")]
    chart: Option<PathBuf>,
}

/// Reports.
///
/// # Errors
/// A file can't be read or written, or the page has no place for the report. [`Refusal::Gaps`] once all is written, if a subject or cell
/// has no result.
pub fn run(args: &ReportArgs) -> Result<()> {
    let results = Results::read(&args.results)?;
    if let Some(path) = &args.chart {
        write(path, &chart::draw(&results))?;
    }
    let link = args.chart.as_ref().and_then(|chart| chart.file_name()?.to_str());
    let report = markdown(&results, link);
    match &args.page {
        None => print!("{report}"),
        Some(path) => {
            let shown = path.display();
            let page = fs::read_to_string(path).with_context(|| format!("cannot read `{shown}`"))?;
            let page = between_markers(&page, &report)
                .with_context(|| format!("`{shown}` has no line `{BEGIN}` with a line `{END}` below it"))?;
            write(path, &page)?;
        }
    }
    if results.failed.is_empty() { Ok(()) } else { Err(Refusal::Gaps.into()) }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
}

/// The page with the report in its place. `None`: it has no place.
fn between_markers(page: &str, report: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{report}{END}{after}"))
}

/// The whole report.
fn markdown(results: &Results, chart: Option<&str>) -> String {
    let mut text: String = results.runs.iter().map(head).collect();
    text.push_str(&format!(
        "A `*` marks figures that were taken only while others used more than {FOREIGN_LIMIT:.1} cores. A gap under 10 % (bulk and \
         requests: 15 %) is no result. Units that failed count as work, not as units. The floors are built as the product is \
         (overflow checks, thin LTO, one codegen unit). Decision records are those of production: hashed into the \
         tree, with tiles and a checkpoint each half second.\n\n"
    ));
    if let Some(chart) = chart {
        text.push_str(&format!("![CPU and memory as multiples of the floor]({chart})\n\n"));
    }
    text.push_str(&targets::section(results));
    text.push_str(&table::sections(results));
    for failed in &results.failed {
        let what = failed.shape.map_or("start", |shape| shape.name());
        text.push_str(&format!("- no result: {}, {what}, round {}: {}\n", failed.subject, failed.round, failed.why));
    }
    text
}

/// When, where and with what a run was taken.
fn head(run: &Run) -> String {
    let versions: Vec<String> = run.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let quick = if run.quick { " **A trial with small loads: these are no figures.**" } else { "" };
    let siblings = match run.siblings.as_slice() {
        [] => String::new(),
        pairs => format!(" (threads of one core: {})", pairs.join("; ")),
    };
    let busy = run.busy.map_or_else(String::new, |cores| {
        format!(" **Taken on a busy machine:** others used {cores:.2} cores when it began.")
    });
    format!(
        "{}, {}, {} cores{siblings}, Linux {}, log on {}; {}. Subject on core {}, load on {}; paced at {} tunnels a second; rounds: {}, figures are medians.{quick}{busy}\n\n\
         ```console\n$ {}\n```\n\n",
        run.time,
        run.cpu,
        run.cores,
        run.kernel,
        run.log_filesystem,
        versions.join(", "),
        run.subject_cores,
        run.rig_cores,
        run.rate,
        run.rounds,
        run.command,
    )
}

/// A number with about three digits.
fn show(value: f64) -> String {
    match value {
        value if value >= 10_000.0 => format!("{:.1}k", value / 1000.0),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value >= 1.0 => format!("{value:.2}"),
        value => format!("{value:.3}"),
    }
}

/// What stands where there is no value.
fn nothing() -> String {
    "–".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_about_three_digits() {
        for (value, want) in [
            (12_345.0, "12.3k"),
            (9_999.0, "9999"),
            (123.4, "123"),
            (12.34, "12.3"),
            (1.234, "1.23"),
            (0.1551, "0.155"),
            (0.0, "0.000"),
        ] {
            assert_eq!(show(value), want);
        }
    }

    #[test]
    fn only_what_is_between_the_markers_is_written() {
        let page = format!("# Title\n\n{BEGIN}\nold\n{END}\n\n## Tried\n");
        let once = between_markers(&page, "new\n").unwrap();
        assert_eq!(once, format!("# Title\n\n{BEGIN}\nnew\n{END}\n\n## Tried\n"));
        assert_eq!(between_markers(&once, "new\n").unwrap(), once, "again");
        for page in ["", BEGIN, END, &format!("{END}\n{BEGIN}\n")] {
            assert_eq!(between_markers(page, "new"), None, "{page}");
        }
    }

    #[test]
    fn a_trial_and_a_busy_machine_are_told() {
        let mut run = Run {
            time: "2030-01-02 03:04 UTC".to_owned(),
            command: "rig compare".to_owned(),
            cpu: "A Processor 7".to_owned(),
            cores: 2,
            siblings: Vec::new(),
            kernel: "6.1".to_owned(),
            log_filesystem: "ext4".to_owned(),
            versions: [("squid".to_owned(), "5.7".to_owned())].into(),
            subject_cores: "0".to_owned(),
            rig_cores: "1".to_owned(),
            rounds: 3,
            rate: 500.0,
            quick: false,
            busy: None,
        };
        let text = head(&run);
        for fact in
            ["2030-01-02 03:04 UTC", "A Processor 7, 2 cores", "Linux 6.1", "log on ext4", "squid 5.7", "$ rig compare"]
        {
            assert!(text.contains(fact), "`{fact}` is not in {text}");
        }
        assert!(!text.contains("trial") && !text.contains("busy"), "{text}");
        (run.quick, run.busy, run.siblings) = (true, Some(0.5), vec!["0-1".to_owned()]);
        let text = head(&run);
        assert!(text.contains("2 cores (threads of one core: 0-1), Linux"), "{text}");
        assert!(text.contains("no figures") && text.contains("busy machine:** others used 0.50 cores"), "{text}");
    }
}
