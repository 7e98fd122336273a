//! The addresses that customers must let in: every prefix of every pool as they see it, and which customers' rules leave from it.
//! Not here: which address a connection leaves from (`runtime::egress`). The same configuration and policy give the same bytes.
//! Source: the contract: `egress-addresses`; RFC 4180.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use ipnet::IpNet;
use serde::Serialize;

use super::csv::Sheet;
use crate::policy::Policy;

/// The names of the columns, in their order; added at the end, never renamed.
const COLUMNS: [&str; 4] = ["prefix", "pool", "customers", "serial"];

/// Bytes of the hash that make the serial: enough to tell lists apart, short enough to read out.
const SERIAL: usize = 8;

/// The whole list.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct EgressList {
    /// The first 16 hexadecimal digits of the SHA-256 over the rows as CSV, without header and this column: another list has another one.
    pub serial: String,
    /// By pool and prefix.
    pub addresses: Vec<EgressRow>,
    /// Customers with rules that leave from the system's address: nothing that could be told here. In alphabetical order.
    pub without_pool: BTreeSet<Arc<str>>,
}

/// One prefix of a pool.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct EgressRow {
    /// As customers see it.
    pub prefix: IpNet,
    /// The pool's name.
    pub pool: Arc<str>,
    /// Whose rules name the pool, whether they are in force today or not. In alphabetical order.
    pub customers: BTreeSet<Arc<str>>,
}

impl EgressList {
    /// Joins `pools`, each with the prefixes that customers see, in their order, with the rules of `policy`.
    ///
    /// # Errors
    /// The rows cannot be written as CSV: there is no memory for them.
    pub fn new(pools: impl Iterator<Item = (Arc<str>, Vec<IpNet>)>, policy: &Policy) -> Result<Self, ::csv::Error> {
        let (mut by_pool, mut without_pool) = (BTreeMap::<Arc<str>, BTreeSet<_>>::new(), BTreeSet::new());
        for rule in policy.rules() {
            match &rule.egress {
                Some(pool) => by_pool.entry(Arc::clone(pool)).or_default().insert(Arc::clone(&rule.customer)),
                None => without_pool.insert(Arc::clone(&rule.customer)),
            };
        }
        let row = |pool: &Arc<str>, prefix| EgressRow {
            prefix,
            pool: Arc::clone(pool),
            customers: by_pool.get(pool).cloned().unwrap_or_default(),
        };
        let rows =
            pools.flat_map(|(pool, prefixes)| prefixes.into_iter().map(move |prefix| (Arc::clone(&pool), prefix)));
        let mut addresses: Vec<EgressRow> = rows.map(|(pool, prefix)| row(&pool, prefix)).collect();
        addresses.sort_by(|one, other| (&one.pool, one.prefix).cmp(&(&other.pool, other.prefix)));
        let serial = serial(&addresses)?;
        Ok(Self { serial, addresses, without_pool })
    }

    /// The rows as CSV with a header; each has the serial.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn csv(&self) -> Result<Vec<u8>, ::csv::Error> {
        let mut sheet = Sheet::new(Vec::new());
        sheet.row(COLUMNS)?;
        for row in &self.addresses {
            sheet.row(row.cells().into_iter().chain([self.serial.clone()]))?;
        }
        sheet.finish()
    }
}

impl EgressRow {
    /// Prefix, pool and customers, with spaces between these.
    pub fn cells(&self) -> [String; 3] {
        let customers: Vec<&str> = self.customers.iter().map(|customer| &**customer).collect();
        [self.prefix.to_string(), self.pool.to_string(), customers.join(" ")]
    }
}

fn serial(rows: &[EgressRow]) -> Result<String, ::csv::Error> {
    let mut sheet = Sheet::new(Vec::new());
    for row in rows {
        sheet.row(row.cells())?;
    }
    let mut text = String::new();
    for byte in digest(&SHA256, &sheet.finish()?).as_ref().iter().take(SERIAL) {
        // A `String` takes everything.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing;

    const RULES: [&str; 4] = [
        "{id: a, customer: acme, sources: [s], hosts: [a.example], egress: static-a}",
        "{id: b, customer: beta, sources: [s], hosts: [b.example], egress: static-a, expires: 2020-01-01}",
        "{id: b2, customer: beta, sources: [s], hosts: [b2.example]}",
        "{id: c, customer: beta, sources: [s], hosts: [c.example], egress: static-a}",
    ];

    fn list(pools: &[(&str, &[&str])], rules: &[&str]) -> EgressList {
        let text =
            format!("version: 1\nsources: [{{name: s, subnets: [10.20.0.0/24]}}]\nrules: [{}]\n", rules.join(", "));
        let policy = testing::policy(&text);
        let prefixes = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        EgressList::new(pools.iter().map(|(name, seen)| ((*name).into(), prefixes(seen))), &policy).unwrap()
    }

    const POOLS: [(&str, &[&str]); 2] =
        [("-b", &["198.51.100.16/29"]), ("static-a", &["2001:db8::/125", "203.0.113.8/29", "203.0.113.0/30"])];

    #[test]
    fn a_row_for_each_prefix_with_those_who_leave_from_it() {
        let list = list(&POOLS, &RULES);
        let text = String::from_utf8(list.csv().unwrap()).unwrap();
        let serial = &list.serial;
        let want = [
            "prefix,pool,customers,serial".to_owned(),
            format!("198.51.100.16/29,'-b,,{serial}"),
            format!("203.0.113.0/30,static-a,acme beta,{serial}"),
            format!("203.0.113.8/29,static-a,acme beta,{serial}"),
            format!("2001:db8::/125,static-a,acme beta,{serial}"),
        ];
        assert_eq!(text, want.map(|line| line + "\r\n").concat());
        assert_eq!(list.without_pool.iter().map(|name| &**name).collect::<Vec<_>>(), ["beta"]);
        let json = serde_json::to_value(&list).unwrap();
        assert_eq!(
            json["addresses"][0],
            serde_json::json!({"prefix": "198.51.100.16/29", "pool": "-b", "customers": []})
        );
        assert_eq!((&json["serial"], &json["without_pool"]), (&serial.as_str().into(), &serde_json::json!(["beta"])));
    }

    #[test]
    fn a_list_has_its_own_serial_in_whatever_order_it_was_written() {
        let first = list(&POOLS, &RULES);
        let mut rules = RULES;
        rules.reverse();
        let turned: [(&str, &[&str]); 2] =
            [("static-a", &["203.0.113.0/30", "2001:db8::/125", "203.0.113.8/29"]), POOLS[0]];
        assert_eq!(list(&turned, &rules), first);
        // What `sha256sum` makes of the rows as they stand above.
        assert_eq!(first.serial, "5b80948e7a305601");
        for (name, other) in
            [("a prefix less", list(&[POOLS[1]], &RULES)), ("a customer less", list(&POOLS, &RULES[1..]))]
        {
            assert_ne!(other.serial, first.serial, "{name}");
        }
        let said = list(&POOLS, &RULES[..2]);
        assert_eq!(said.serial, first.serial, "who has no pool is not in the list");
    }
}
