//! `sallyport policy matrix`: all that a policy allows, for people, spreadsheets and programs.
//! Not here: which rows there are (`policy::matrix`). The same policy gives the same bytes.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::{Failure, Output, environment};
use crate::cli::output::say;
use crate::evidence::Sheet;
use crate::policy::{self, Row};
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

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// A table for people
    Text,
    /// RFC 4180, safe in spreadsheets
    Csv,
    /// One array, an object a row
    Json,
}

/// The names of the fields, in their order; added at the end, never renamed. Lists have spaces between their elements.
#[rustfmt::skip]
const FIELDS: [&str; 25] = [
    "source", "customer", "destination", "port", "rule", "addresses", "tls.min_version", "tls.alpn", "tls.sni", "tls.sni_names", "tls.ech",
    "egress", "existing", "hours", "expires", "owner", "purpose", "ticket", "review_by", "location",
    "limits.tunnels", "limits.rate", "limits.bytes_out", "limits.idle_timeout", "limits.lifetime",
];

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
    let rows = policy::matrix(&policy.into());
    let format = args.format.unwrap_or(match output {
        Output::Text => Format::Text,
        Output::Json => Format::Json,
    });
    match format {
        Format::Text => say(&table(&rows)),
        // Plain maps of texts and numbers; if one cannot be written, nothing is.
        Format::Json => say(&serde_json::to_string(&Objects(&rows)).unwrap_or_default()),
        Format::Csv => say(sheet(&rows).map_err(Failure::Outside)?.trim_end_matches('\n')),
    }
}

/// What stands in a row, by [`FIELDS`].
struct Fields {
    port: u16,
    cells: [(&'static str, Option<String>); FIELDS.len()],
}

impl Fields {
    fn of(row: &Row) -> Self {
        let Row { source, destination, port, rule } = row;
        let own = [
            source.to_string(),
            rule.customer.to_string(),
            destination.to_string(),
            port.to_string(),
            rule.id.to_string(),
        ];
        let said = policy::terms(rule)
            .into_iter()
            .chain(policy::control(rule))
            .chain(rule.limits.words())
            .map(|(_, value)| value);
        let mut values = own.into_iter().map(Some).chain(said);
        Self { port: *port, cells: FIELDS.map(|name| (name, values.next().flatten())) }
    }

    fn value(&self, name: &str) -> &str {
        let found = self.cells.iter().find(|(field, _)| *field == name);
        found.and_then(|(_, value)| value.as_deref()).unwrap_or("-")
    }

    /// The lowest version, the protocols, and what is not the default of names: `1.2+ h2,http/1.1 sni:optional(gw.acme.example) ech`.
    fn tls(&self) -> String {
        let mut text = format!("{}+ {}", self.value("tls.min_version"), self.value("tls.alpn").replace(' ', ","));
        match (self.value("tls.sni"), self.value("tls.sni_names")) {
            ("required", "-") => {}
            (sni, "-") => text.push_str(&format!(" sni:{sni}")),
            (sni, names) => text.push_str(&format!(" sni:{sni}({})", names.replace(' ', ","))),
        }
        if self.value("tls.ech") == "allow" {
            text.push_str(" ech");
        }
        text
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in &self.cells {
            match value {
                Some(_) if *name == "port" => map.serialize_entry(name, &self.port)?,
                Some(text) => map.serialize_entry(name, text)?,
                None => {}
            }
        }
        map.end()
    }
}

/// All rows as one array. Cells are made when they are written: a large policy has many.
struct Objects<'a>(&'a [Row]);

impl Serialize for Objects<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Fields::of))
    }
}

fn table(rows: &[Row]) -> String {
    let cells = |row: &Row| {
        let row = Fields::of(row);
        COLUMNS.map(|name| match name {
            "TLS" => row.tls(),
            other => row.value(&other.to_lowercase()).to_owned(),
        })
    };
    let lines = || [COLUMNS.map(str::to_owned)].into_iter().chain(rows.iter().map(cells));
    let mut widths = [0; COLUMNS.len()];
    for line in lines() {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().clamp(*width, MAX_WIDTH.max(*width));
        }
    }
    let padded = |line: [String; COLUMNS.len()]| {
        let cells: Vec<String> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    lines().map(padded).collect::<Vec<_>>().join("\n")
}

fn sheet(rows: &[Row]) -> anyhow::Result<String> {
    let mut sheet = Sheet::new(Vec::new());
    sheet.row(FIELDS)?;
    for row in rows {
        sheet.row(Fields::of(row).cells.iter().map(|(_, value)| value.as_deref().unwrap_or_default()))?;
    }
    Ok(String::from_utf8(sheet.finish()?)?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::policy::{Policy, PolicyFile, Setting};
    use crate::yaml::Faults;

    const POLICY: &str = "version: 1
sources: [{name: a, subnets: [10.20.0.0/24]}]
rules:
  - {id: c/names, customer: c, sources: [a], hosts: [api.c.example], owner: '=1+1', purpose: 'first, and last'}
  - {id: c/net, customer: c, sources: [a], networks: [198.51.100.0/28], ports: [8443], egress: pool, location: DEU,
     limits: {tunnels: 5, rate: 10/m, bytes_out: 1GiB/day, idle_timeout: 10m, lifetime: 1h},
     tls: {min_version: '1.3', alpn: [h2, a], sni: optional, sni_names: [y.example, x.example], ech: allow}, expires: 2027-12-31,
     hours: {days: [fri], from: '22:00', to: '06:00', zone: UTC}, review_by: 2027-05-01, ticket: T-1, existing: cut}
";

    fn rows() -> Vec<Row> {
        let file = PolicyFile { path: "p".into(), shown: "p".into(), text: POLICY.into() };
        let setting = Setting { any_pool: true, ..Setting::default() };
        let policy = Policy::load(&[file], &setting, &mut Faults::new()).unwrap();
        policy::matrix(&Arc::new(policy))
    }

    #[test]
    fn every_field_stands_under_its_name() {
        let row = &policy::matrix(&Arc::new(load_one())).remove(0);
        let said = policy::terms(&row.rule).map(|(name, _)| name).into_iter();
        let names: Vec<&str> = said
            .chain(policy::control(&row.rule).map(|(name, _)| name))
            .chain(row.rule.limits.words().map(|(name, _)| name))
            .collect();
        assert_eq!(names, FIELDS[5..]);
    }

    fn load_one() -> Policy {
        let text = "version: 1\nsources: [{name: a, subnets: [10.20.0.0/24]}]\nrules: [{id: r, customer: c, sources: [a], hosts: [a.example]}]\n";
        let file = PolicyFile { path: "p".into(), shown: "p".into(), text: text.into() };
        Policy::load(&[file], &Setting::default(), &mut Faults::new()).unwrap()
    }

    #[test]
    fn the_table_for_people() {
        let text = table(&rows());
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

    #[test]
    fn the_sheet_and_the_objects_hold_the_same() {
        let rows = rows();
        let text = sheet(&rows).unwrap();
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines[0], FIELDS.join(","));
        assert_eq!(
            lines[1],
            "a,c,api.c.example,443,c/names,,1.2,h2 http/1.1,required,,deny,,drain 5m,,,'=1+1,\"first, and last\",,,,,,,,",
            "no cell is a formula"
        );
        assert_eq!(
            lines[2],
            "a,c,198.51.100.0/28,8443,c/net,,1.3,a h2,optional,x.example y.example,allow,pool,cut,fri 22:00-06:00 UTC,\
             2027-12-31,,,T-1,2027-05-01,DEU,5,10/m,1GiB/day,10m,1h"
        );
        assert_eq!(lines[3..], [""]);
        let objects: Vec<serde_json::Value> =
            serde_json::from_str(&serde_json::to_string(&Objects(&rows)).unwrap()).unwrap();
        let mut read = ::csv::Reader::from_reader(text.as_bytes());
        for (record, object) in read.records().zip(&objects) {
            for (name, cell) in FIELDS.iter().zip(&record.unwrap()) {
                let value = object[name].as_str().map_or(object[name].to_string(), str::to_owned).replace("null", "");
                assert_eq!(cell.trim_start_matches('\''), value, "{name}");
            }
        }
        assert_eq!(objects[0]["port"], 443);
    }
}
