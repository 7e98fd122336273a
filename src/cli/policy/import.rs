//! `sallyport policy import`: a policy from a peer's configuration on stdout, and in one line on stderr what it came to.
//! Not here: what the configuration means (`foresight::import`).

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use ipnet::IpNet;

use super::Failure;
use crate::address::parse_prefix;
use crate::cli::output::{complain, print};
use crate::foresight::import::{Draft, Given, smokescreen, squid};
use crate::yaml::{Faults, MAX_BYTES, decode};

#[derive(Args)]
pub(in crate::cli) struct ImportArgs {
    /// Whose configuration it is
    #[arg(value_name = "PEER")]
    peer: Peer,
    /// The configuration: Smokescreen's ACL, or a squid.conf; nothing that it includes is read
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where the clients of a source are; may be given several times
    #[arg(long, value_name = "NAME=PREFIX,…", value_parser = subnets)]
    subnets: Vec<(String, Vec<IpNet>)>,
    /// The customer of every rule
    #[arg(long, value_name = "NAME")]
    customer: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Peer {
    /// An ACL of version v1
    Smokescreen,
    /// The access rules of a squid.conf
    Squid,
}

fn subnets(text: &str) -> Result<(String, Vec<IpNet>), String> {
    let (name, list) = text.split_once('=').ok_or("write NAME=PREFIX, such as `ivr=10.20.0.0/24`")?;
    let prefixes = list.split(',').map(|prefix| parse_prefix(prefix).map_err(|error| error.to_string()));
    Ok((name.to_owned(), prefixes.collect::<Result<_, _>>()?))
}

pub(super) fn import(args: &ImportArgs) -> Result<(), Failure> {
    let text = text(&args.file)?;
    let given = Given { subnets: args.subnets.iter().cloned().collect(), customer: args.customer.clone() };
    let mut faults = Faults::new();
    let draft = match args.peer {
        Peer::Smokescreen => smokescreen(&text, &given, &mut faults),
        Peer::Squid => squid(&text, &given, &mut faults),
    };
    let file = [args.file.display().to_string()];
    let refused = || {
        let lines: Vec<String> = faults.iter().map(|fault| fault.line(&file)).collect();
        Failure::Usage(anyhow::anyhow!(lines.join("\n")))
    };
    let draft: Draft = draft.ok_or_else(refused)?;
    print(draft.to_string().as_bytes())?;
    complain(&draft.summary());
    Ok(())
}

fn text(path: &Path) -> Result<String, Failure> {
    let outside = |error: std::io::Error| Failure::Outside(anyhow::anyhow!("{}: {error}", path.display()));
    let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    File::open(path).map_err(outside)?.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(outside)?;
    let mut faults = Faults::new();
    let text = decode(bytes, 0, &mut faults);
    match faults.iter().next() {
        None => Ok(text),
        Some(fault) => Err(Failure::Usage(anyhow::anyhow!(fault.line(&[path.display().to_string()])))),
    }
}
