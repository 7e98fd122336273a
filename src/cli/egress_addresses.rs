//! `sallyport egress-addresses`: the addresses that customers must let in, for people, spreadsheets and programs.
//! Not here: which those are (`evidence`). Nothing is asked of the host: the list is what the configuration says.

use std::path::Path;

use clap::Args;

use super::output::{Format, aligned, complain, print, say};
use super::{Failure, Output, environment};
use crate::evidence::{EgressList, EgressRow};
use crate::runtime::load::{self, Loaded};

#[derive(Args)]
pub(super) struct EgressArgs {
    /// The form; by default as `--output` says
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// The columns of the table for people.
const COLUMNS: [&str; 3] = ["PREFIX", "POOL", "CUSTOMERS"];

pub(super) fn egress_addresses(config: &Path, args: &EgressArgs, output: Output) -> Result<(), Failure> {
    let Loaded { config, policy, .. } = load::load(config, &environment)?;
    let list = EgressList::new(config.pools_seen(), &policy).map_err(|error| Failure::Outside(error.into()))?;
    if !list.without_pool.is_empty() {
        let customers: Vec<&str> = list.without_pool.iter().map(|customer| &**customer).collect();
        let customers = customers.join(" ");
        complain(&format!("rules without `egress` leave from the system's address, which is not listed: {customers}"));
    }
    match Format::of(args.format, output) {
        Format::Text => say(&table(&list)),
        Format::Csv => print(&list.csv().map_err(|error| Failure::Outside(error.into()))?),
        // A plain struct of texts; if it cannot be written, nothing is.
        Format::Json => say(&serde_json::to_string(&list).unwrap_or_default()),
    }
}

fn table(list: &EgressList) -> String {
    let rows = || [COLUMNS.map(str::to_owned)].into_iter().chain(list.addresses.iter().map(EgressRow::cells));
    format!("{}\nserial {}", aligned(rows, usize::MAX), list.serial)
}
