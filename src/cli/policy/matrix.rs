//! `sallyport policy matrix`: all that a policy allows, for people, spreadsheets and programs.
//! Not here: which rows there are (`policy::Matrix`), their fields (`evidence`). The same policy gives the same bytes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::{Failure, Output, environment};
use crate::cli::output::{Format, aligned, complain, say, stream};
use crate::evidence::MatrixRow;
use crate::policy::{Matrix, Policy, Row};
use crate::runtime::load;

#[derive(Args)]
pub(in crate::cli) struct MatrixArgs {
    /// A policy's file or folder; no configuration is read then. By default the configuration's policy
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// The form; by default as `--output` says
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// The columns of the table for people. What stands under another name than its field's is put together from several.
#[rustfmt::skip]
const COLUMNS: [&str; 12] = [
    "SOURCE", "CUSTOMER", "DESTINATION", "PORT", "RULE", "TLS", "EGRESS", "HOURS", "EXPIRES", "REVIEW_BY", "OWNER", "TICKET",
];

/// Upper bound in characters for a column: a longer value pushes the rest of its line, and not of all lines.
const MAX_WIDTH: usize = 48;

pub(super) fn matrix(config: &Path, args: &MatrixArgs, output: Output) -> Result<(), Failure> {
    let policy = match &args.path {
        Some(path) => {
            let [policy] = load::policies([path])?;
            policy
        }
        None => load::load(config, &environment)?.policy,
    };
    let reporting = reporting(&policy);
    let matrix = Matrix::new(&Arc::new(policy));
    let format = Format::of(args.format, output);
    if !matches!(format, Format::Text) {
        // A row is what a rule allows: there is none for this.
        reporting.iter().for_each(|line| complain(line));
    }
    match format {
        Format::Text => {
            let table = table(&matrix.rows().collect::<Vec<_>>());
            say(&std::iter::once(table).chain(reporting).collect::<Vec<_>>().join("\n"))
        }
        Format::Json => stream(|out| MatrixRow::write_json(matrix.rows(), out)),
        Format::Csv => stream(|out| MatrixRow::write_csv(matrix.rows(), out)),
    }
}

/// What is let through beside the rows. The clock has no say: the same policy gives the same line.
fn reporting(policy: &Policy) -> Option<String> {
    let sources = policy.sources().iter();
    let mut reporting: Vec<String> = sources
        .filter_map(|source| Some(format!("`{}` through {}", source.name, source.report.as_ref()?.until)))
        .collect();
    reporting.sort();
    (!reporting.is_empty()).then(|| format!("report mode lets through what no row has: {}", reporting.join(", ")))
}

fn table(rows: &[Row]) -> String {
    let cells = |row: &Row| {
        let row = MatrixRow::of(row);
        COLUMNS.map(|name| match name {
            "TLS" => tls(&row),
            other => row.value(&other.to_lowercase()).to_owned(),
        })
    };
    aligned(|| [COLUMNS.map(str::to_owned)].into_iter().chain(rows.iter().map(cells)), MAX_WIDTH)
}

/// The lowest version, the protocols, and what is not the default of names: `1.2+ h2,http/1.1 sni:optional(gw.acme.example) ech`.
fn tls(row: &MatrixRow) -> String {
    let mut text = format!("{}+ {}", row.value("tls.min_version"), row.value("tls.alpn").replace(' ', ","));
    match (row.value("tls.sni"), row.value("tls.sni_names")) {
        ("required", "-") => {}
        (sni, "-") => text.push_str(&format!(" sni:{sni}")),
        (sni, names) => text.push_str(&format!(" sni:{sni}({})", names.replace(' ', ","))),
    }
    if row.value("tls.ech") == "allow" {
        text.push_str(" ech");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::testing::matrix;

    #[test]
    fn the_table_for_people() {
        let text = table(&matrix().rows().collect::<Vec<_>>());
        let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let [header, names, net] = words.as_slice() else { panic!("{text}") };
        assert_eq!(header[..], COLUMNS);
        let want = "a c api.c.example 443 c/names 1.2+ h2,http/1.1 - - - - =1+1 -";
        assert_eq!(names.join(" "), want);
        let want = "a c 198.51.100.0/28 8443 c/net 1.3+ a,h2 sni:optional(x.example,y.example) ech pool fri 22:00-06:00 UTC \
                    2027-12-31 2027-05-01 - T-1";
        assert_eq!(net.join(" "), want);
        let column = |line: &str, word: &str| line.find(word).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(column(lines[0], "RULE"), column(lines[1], "c/names"), "{text}");
        assert_eq!(column(lines[0], "EGRESS"), column(lines[2], "pool "), "{text}");
    }
}
