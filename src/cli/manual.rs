//! `sallyport completions` and `sallyport man`: what a shell and man(1) need to know of all commands and flags.
//! Not here: the commands themselves; both are made from their definitions.

use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::output::print;
use super::{Cli, Failure};

#[derive(Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

#[derive(Args)]
pub(super) struct ManArgs {
    /// Write a page for each command into this folder, such as `/usr/local/share/man/man1`; without it sallyport(1) is printed
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "sallyport", &mut script);
    print(&script)
}

pub(super) fn man(args: &ManArgs) -> Result<(), Failure> {
    match &args.out {
        Some(folder) => clap_mangen::generate_to(Cli::command(), folder).map_err(|error| cannot(folder, &error)),
        None => {
            let mut page = Vec::new();
            // Memory does not fail.
            let _ = Man::new(Cli::command()).render(&mut page);
            print(&page)
        }
    }
}

fn cannot(folder: &Path, error: &std::io::Error) -> Failure {
    Failure::Outside(anyhow::anyhow!("cannot write pages into `{}`: {error}", folder.display()))
}
