//! `rig`: load, an origin and bare relays for HTTP CONNECT proxies on loopback, and the comparison of all of them in one run.
//! Not here: anything of the product, which is measured from outside. How to use it: `README.md` beside the manifest.

mod compare;
mod figure;
mod floor;
mod latency;
mod load;
mod names;
mod net;
mod origin;
mod procfs;
mod report;
mod results;
mod shape;
mod subject;
mod tls;
mod wire;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::compare::Refusal;

#[derive(Parser)]
#[command(name = "rig", about = "Side-by-side load for HTTP CONNECT proxies on loopback")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure all subjects side by side
    Compare(compare::CompareArgs),
    /// Write results as Markdown and SVG
    Report(report::ReportArgs),
    /// Serve the targets, with real and with fake TLS
    Origin(origin::OriginArgs),
    /// A bare relay for CONNECT: no policy, no log
    Floor(floor::FloorArgs),
    /// Drive one proxy; prints one line of JSON
    #[command(subcommand)]
    Load(load::Load),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Compare(args) => compare::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Report(args) => report::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Origin(args) => origin::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Floor(args) => floor::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Load(load) => load::run(&load).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("rig: {error:#}");
        error.downcast_ref().map_or(ExitCode::FAILURE, |refusal: &Refusal| refusal.exit_code().into())
    })
}

/// Runs `future` on this thread.
///
/// # Errors
/// Those of the runtime and of the future.
fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}
