//! `sallyport policy`: what can be said of policies before anything runs.
//! Not here: what they mean (`policy`), how their files are read (`runtime::load`).

mod diff;
mod import;
mod matrix;
mod replay;
mod stale;
mod suggest;
mod swept;
pub(super) mod test;

use std::path::Path;

use clap::Subcommand;

use super::{Failure, Output, environment, own_addresses, unknown};

#[derive(Subcommand)]
pub(super) enum PolicyCommand {
    /// Run the cases that lie beside policies. Exit 1: one of them failed
    Test(test::TestArgs),
    /// Say what becomes reachable, what stops being, and what else changes between two policies. Exit 1: they differ
    Diff(diff::DiffArgs),
    /// Print all that a policy allows: a row for each source, destination and port
    Matrix(matrix::MatrixArgs),
    /// Name rules that no recorded decision used, and what goes beyond its use. Exit 1: something was found
    Stale(stale::StaleArgs),
    /// Judge recorded decisions again by another policy and name those that would come out differently. Exit 1: one would
    Replay(replay::ReplayArgs),
    /// Print least-privilege rules for what report mode observed, as a policy file to be filled in. Exit 1: nothing was observed
    Suggest(suggest::SuggestArgs),
    /// Print a policy made from a configuration of Smokescreen or Squid: never more than that allows, with what has no equal as comments
    Import(import::ImportArgs),
    /// No command of this version.
    #[command(external_subcommand)]
    Other(Vec<String>),
}

pub(super) fn policy(config: &Path, command: &PolicyCommand, output: Output) -> Result<(), Failure> {
    match command {
        PolicyCommand::Test(args) => test::test(config, args, output),
        PolicyCommand::Diff(args) => diff::diff(args, output),
        PolicyCommand::Matrix(args) => matrix::matrix(config, args, output),
        PolicyCommand::Stale(args) => stale::stale(config, args, output),
        PolicyCommand::Suggest(args) => suggest::suggest(config, args, output),
        PolicyCommand::Replay(args) => replay::replay(config, args, output),
        PolicyCommand::Import(args) => import::import(args),
        PolicyCommand::Other(words) => Err(unknown("policy ", words, &[])),
    }
}
