//! Commands: arguments as typed → arguments as used → one file a command.
//! Not here: what the commands do beyond printing. Exit codes: 0 yes, 1 no, 2 wrong usage or configuration, 3 something outside failed.

mod admin_port;
mod audit;
mod block;
mod check;
mod demo;
mod doctor;
mod egress_addresses;
mod explain;
mod firewall;
mod keys;
mod manual;
mod output;
mod policy;
mod progress;
mod redact;
mod reload;
mod run;
mod version;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Listener};
use crate::policy::OwnAddresses;
use crate::runtime::egress::Pools;
use crate::runtime::journal::JournalError;
use crate::runtime::load::LoadError;
use crate::runtime::server::{self, StartError};
use crate::runtime::{process_log, sys};

pub use output::Output;

/// The one guarded way out of a payment-card network.
#[derive(Parser)]
#[command(name = "sallyport", version, propagate_version = true, max_term_width = 120)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// The configuration, if none is named.
const DEFAULT_CONFIG: &str = "/etc/sallyport/sallyport.yaml";

/// Flags of every command.
#[derive(Args)]
struct Common {
    /// The configuration [default: /etc/sallyport/sallyport.yaml]
    #[arg(short, long, global = true, value_name = "FILE", env = "SALLYPORT_CONFIG")]
    config: Option<PathBuf>,
    /// How results are printed
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT; SIGHUP reads everything again
    Run(run::RunArgs),
    /// Have the running instance read its configuration and all that it names again, and say what that came to
    ///
    /// Exit 0: it is in force. 1: it has faults, or changes more than `policy_guard` lets through; what was last good stays in force.
    Reload(reload::ReloadArgs),
    /// Show the whole product on loopback: origin, policy, proxy, allowed and refused requests
    Demo(demo::DemoArgs),
    /// Load configuration, policy and key as `run` would and print every fault
    Check,
    /// Send the running proxy requests that must be refused, search all that it wrote for what was in them, and look at its hardening
    Doctor(doctor::DoctorArgs),
    /// Say what would be decided for one request, step by step, and why
    Explain(Box<explain::ExplainArgs>),
    /// Verify a decision log and work with it, from its files alone
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Work with policies: run their cases, print all that they allow, compare two, hold them against the log, import them
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Ask the running instance for an emergency block: in force at once, until it ends by itself; nothing over the admin port lifts it
    ///
    /// Cuts open tunnels that it hits. Exit 0 blocked, 1 refused, 3 no answer, or not kept over a restart.
    Block(Box<block::BlockArgs>),
    /// Copy a file or stdin to stdout with marks in place of card numbers and other secrets; counts on stderr
    ///
    /// Exit 0 also where something was found. What is found beside the built-in detectors, the configuration says, if there is one.
    Redact(redact::RedactArgs),
    /// Print the addresses that customers must let in
    ///
    /// Each prefix of each pool as customers see it (`public`, else `bind`), with the customers whose rules leave from it. The list's serial
    /// is the first 16 hexadecimal digits of the SHA-256 over its CSV rows, without header and serial: the same list has the same serial
    /// everywhere, and another list another one.
    EgressAddresses(egress_addresses::EgressArgs),
    /// Print the kernel's rules that go with the configuration: to bring connections to the proxy, or to let nothing else out
    ///
    /// They are printed, not loaded. Their first lines say what they stop and what they don't.
    Firewall(firewall::FirewallArgs),
    /// Make keys, tokens and credentials
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Print what a shell needs to complete commands and flags
    Completions(manual::CompletionsArgs),
    /// Print the manual page, or write the pages of all commands
    Man(manual::ManArgs),
    /// Print the version
    Version,
    /// Commands of the contract that this version does not have yet.
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// Commands that are named for users already and not built yet.
const NOT_YET: &[&str] = &["reach"];

/// Why a command ended without a yes.
#[derive(Debug)]
pub enum Failure {
    /// A plain no: denied, or a difference found. All that is to be said has been printed.
    No,
    /// Wrong usage or configuration.
    Usage(anyhow::Error),
    /// A file, socket or other outside thing failed.
    Outside(anyhow::Error),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::No => 1,
            Self::Usage(_) => 2,
            Self::Outside(_) => 3,
        }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Faults(_) => Self::Usage(error.into()),
            LoadError::Unreadable(_) => Self::Outside(error.into()),
        }
    }
}

impl From<JournalError> for Failure {
    /// A key that is wrong, or wrong for its log, is one of the files that the configuration names.
    fn from(error: JournalError) -> Self {
        let configuration = matches!(
            error,
            JournalError::Key { .. }
                | JournalError::KeyExposed(_)
                | JournalError::OtherKey { .. }
                | JournalError::Name(_)
        );
        if configuration { Self::Usage(error.into()) } else { Self::Outside(error.into()) }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Journal(error) => error.into(),
            StartError::Environment(error) => Self::Usage(error.into()),
            StartError::NoKey(error) => Self::Usage(error.into()),
            StartError::Budgets(_)
            | StartError::Blocks(_)
            | StartError::TakeOver(_)
            | StartError::Unheard(_)
            | StartError::Bind(_)
            | StartError::Worker(_)
            | StartError::Io(_)
            | StartError::Metrics(_) => Self::Outside(error.into()),
        }
    }
}

/// Runs the command that the arguments name. What a command reads, keys and card numbers among it, is in no core dump and in no
/// message of a fault.
pub fn main() -> ExitCode {
    process_log::tell_panics_by_place();
    let guarded = sys::forbid_core_dumps().map_err(|error| Failure::Outside(error.into()));
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return output::answer_arguments(&error),
    };
    match guarded.and_then(|()| command(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Failure::Usage(error) | Failure::Outside(error) = &failure {
                output::complain_of(error);
            }
            ExitCode::from(failure.code())
        }
    }
}

fn command(cli: Cli) -> Result<(), Failure> {
    let Common { config: named, output } = cli.common;
    let named = named.as_deref();
    let config = named.unwrap_or(Path::new(DEFAULT_CONFIG));
    match cli.command {
        Command::Run(args) => run::run(config, &args),
        Command::Reload(args) => reload::reload(config, &args, output),
        Command::Demo(args) => demo::demo(&args),
        Command::Check => check::check(config, output),
        Command::Doctor(args) => doctor::doctor(config, &args, output),
        Command::Explain(args) => explain::explain(config, &args, output),
        Command::Audit(command) => audit::audit(named, &command, output),
        Command::Policy(command) => policy::policy(config, &command, output),
        Command::Block(args) => block::block(config, &args, output),
        Command::Redact(args) => redact::redact(named, &args, output),
        Command::EgressAddresses(args) => egress_addresses::egress_addresses(config, &args, output),
        Command::Firewall(args) => firewall::firewall(config, &args, output),
        Command::Keys(command) => keys::keys(config, &command, output),
        Command::Completions(args) => manual::completions(&args),
        Command::Man(args) => manual::man(&args),
        Command::Version => version::version(output),
        Command::Other(words) => Err(unknown("", &words, NOT_YET)),
    }
}

/// No command of this version. `behind`: the command that it would belong to, and a space.
fn unknown(behind: &str, words: &[String], not_yet: &[&str]) -> Failure {
    let word = words.first().map_or("", String::as_str);
    Failure::Usage(if not_yet.contains(&word) {
        anyhow::anyhow!("`{behind}{word}` is not available in this version")
    } else {
        let word = word.escape_debug();
        anyhow::anyhow!("unknown command `{behind}{word}`; `sallyport {behind}--help` lists them")
    })
}

/// `${NAME}` in the configuration: the process's environment.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The addresses and sockets of the proxy that `config` makes, on this host.
fn own_addresses(config: &Config) -> Result<OwnAddresses, Failure> {
    let listeners = config.listeners.iter().filter_map(Listener::tcp);
    let sockets = listeners.chain([config.admin.address]).chain(config.probes);
    server::own_addresses(&Pools::of(config), sockets).map_err(|error| Failure::Outside(error.into()))
}
