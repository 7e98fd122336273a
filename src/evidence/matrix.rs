//! All that a policy allows as a table for programs: a field for each term of a row.
//! Not here: which rows there are (`policy::Matrix`), the table for people (`cli`). Source: PCI DSS 1.2.5; RFC 4180; RFC 8259.

use std::io::{self, Write};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::Sheet;
use crate::policy::{self, Row};

/// The names of the fields, in their order; added at the end, never renamed. Lists have spaces between their elements.
#[rustfmt::skip]
const FIELDS: [&str; 25] = [
    "source", "customer", "destination", "port", "rule", "addresses", "tls.min_version", "tls.alpn", "tls.sni", "tls.sni_names", "tls.ech",
    "egress", "existing", "hours", "expires", "owner", "purpose", "ticket", "review_by", "location",
    "limits.tunnels", "limits.rate", "limits.bytes_out", "limits.idle_timeout", "limits.lifetime",
];

/// What stands in a row of the matrix.
pub struct MatrixRow {
    port: u16,
    cells: [(&'static str, Option<String>); FIELDS.len()],
}

impl MatrixRow {
    /// Of this row.
    pub fn of(row: &Row) -> Self {
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

    /// What stands under a name; `-` for nothing.
    pub fn value(&self, name: &str) -> &str {
        let found = self.cells.iter().find(|(field, _)| *field == name);
        found.and_then(|(_, value)| value.as_deref()).unwrap_or("-")
    }

    /// Writes rows as CSV, their fields' names first. No cell is a formula.
    ///
    /// # Errors
    /// `out` takes no more.
    pub fn write_csv(rows: impl Iterator<Item = Row>, out: &mut dyn Write) -> io::Result<()> {
        let mut sheet = Sheet::new(out);
        sheet.row(FIELDS)?;
        for row in rows {
            sheet.row(Self::of(&row).cells.iter().map(|(_, value)| value.as_deref().unwrap_or_default()))?;
        }
        sheet.flush()
    }

    /// Writes rows as one JSON array, an object a row, and ends the line.
    ///
    /// # Errors
    /// `out` takes no more.
    pub fn write_json(rows: impl Iterator<Item = Row>, out: &mut dyn Write) -> io::Result<()> {
        let mut between = "[";
        for row in rows {
            out.write_all(between.as_bytes())?;
            serde_json::to_writer(&mut *out, &Self::of(&row))?;
            between = ",";
        }
        out.write_all(if between == "[" { b"[]\n" } else { b"]\n" })
    }
}

impl Serialize for MatrixRow {
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::evidence::testing::matrix;

    fn written(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_field_stands_under_its_name() {
        let row = matrix().rows().next().unwrap();
        let said = policy::terms(&row.rule).map(|(name, _)| name).into_iter();
        let names: Vec<&str> = said
            .chain(policy::control(&row.rule).map(|(name, _)| name))
            .chain(row.rule.limits.words().map(|(name, _)| name))
            .collect();
        assert_eq!(names, FIELDS[5..]);
        assert_eq!(FIELDS.iter().collect::<HashSet<_>>().len(), FIELDS.len());
    }

    #[test]
    fn the_sheet_and_the_objects_hold_the_same() {
        let matrix = matrix();
        let text = written(|out| MatrixRow::write_csv(matrix.rows(), out));
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
        let objects = written(|out| MatrixRow::write_json(matrix.rows(), out));
        assert!(objects.ends_with("}]\n"), "{objects}");
        let objects: Vec<serde_json::Value> = serde_json::from_str(&objects).unwrap();
        let mut read = ::csv::Reader::from_reader(text.as_bytes());
        for (record, object) in read.records().zip(&objects) {
            for (name, cell) in FIELDS.iter().zip(&record.unwrap()) {
                let value = object[name].as_str().map_or(object[name].to_string(), str::to_owned).replace("null", "");
                assert_eq!(cell.trim_start_matches('\''), value, "{name}");
            }
        }
        assert_eq!(objects[0]["port"], 443);
        assert_eq!(written(|out| MatrixRow::write_json(std::iter::empty(), out)), "[]\n");
    }
}
