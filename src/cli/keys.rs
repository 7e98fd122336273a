//! `sallyport keys new`: a token for the admin port, a client's credential, or a key for the log.
//! Not here: where tokens and credentials are kept (the operator pastes the line), changing over to a new key (`run` does at its next start).

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::output::complain;
use super::{Failure, Output, environment};
use crate::config::{Credential, NewCredentialError, Role, Token};
use crate::runtime::{journal, load};

#[derive(Subcommand)]
pub(super) enum Keys {
    /// Make a new key or token
    #[command(subcommand)]
    New(New),
}

#[derive(Subcommand)]
pub(super) enum New {
    /// Make a token for the admin port; it is printed this once, and its line for the file of tokens
    Token(TokenArgs),
    /// Make a credential for a client that can show no certificate; its secret is printed this once, and its line for the file of credentials
    Credential(CredentialArgs),
    /// Make a key for the decision log: the first one, or one that the next start changes over to
    Log(LogArgs),
}

#[derive(Args)]
pub(super) struct TokenArgs {
    /// Whose token it is, for records; one for each person or program
    #[arg(long)]
    name: String,
    /// What it may do
    #[arg(long, value_enum)]
    role: RoleWord,
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleWord {
    /// Reads
    Auditor,
    /// Reads and changes
    Operator,
}

#[derive(Args)]
pub(super) struct CredentialArgs {
    /// Whose credential it is: the identity `login:NAME`; one for each client
    name: String,
}

#[derive(Args)]
pub(super) struct LogArgs {
    /// Where to write it; else where the configuration says, or beside that with `.next`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Serialize)]
struct NewToken<'a> {
    token: &'a str,
    line: String,
}

#[derive(Serialize)]
struct NewSecret<'a> {
    secret: &'a str,
    line: String,
}

#[derive(Serialize)]
struct NewKey {
    path: String,
    vkey: String,
    next: String,
}

pub(super) fn keys(config: &Path, command: &Keys, output: Output) -> Result<(), Failure> {
    match command {
        Keys::New(New::Token(args)) => token(args, output),
        Keys::New(New::Credential(args)) => credential(args, output),
        Keys::New(New::Log(args)) => log(config, args, output),
    }
}

fn token(args: &TokenArgs, output: Output) -> Result<(), Failure> {
    let role = match args.role {
        RoleWord::Auditor => Role::Auditor,
        RoleWord::Operator => Role::Operator,
    };
    let (token, text) = Token::new(&args.name, role, &random::<32>()?).map_err(|error| Failure::Usage(error.into()))?;
    output
        .print(&NewToken { token: &text, line: format!("- {token}") }, |new| format!("{}\n{}", new.token, new.line))?;
    complain(
        "the first line is the token, printed this once: give it to who uses it; put the second one below `tokens:` in the file that \
         `admin.tokens` names, then send SIGHUP",
    );
    Ok(())
}

fn credential(args: &CredentialArgs, output: Output) -> Result<(), Failure> {
    let made = Credential::new(&args.name, &random::<32>()?, &random::<16>()?);
    let (credential, secret) = made.map_err(|error| match error {
        NewCredentialError::Name => Failure::Usage(error.into()),
        NewCredentialError::Memory => Failure::Outside(error.into()),
    })?;
    let new = NewSecret { secret: &secret, line: format!("- {credential}") };
    output.print(&new, |new| format!("{}\n{}", new.secret, new.line))?;
    complain(
        "the first line is the secret, printed this once: the client sends it in Proxy-Authorization, as Basic with the name as user, or as \
         `Bearer NAME.SECRET`; put the second line below `credentials:` in the file that the listener's `credentials` names, then send SIGHUP",
    );
    Ok(())
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut random = [0; N];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| Failure::Outside(anyhow::anyhow!("no randomness")))?;
    Ok(random)
}

fn log(config: &Path, args: &LogArgs, output: Output) -> Result<(), Failure> {
    let config = load::settings(config, &environment)?;
    let (instance, settings) = (&config.instance, &config.decision_log);
    let (directory, key) = (Path::new(&settings.directory), Path::new(&settings.key));
    let follower = journal::next_key_path(key);
    let (path, next) = match &args.out {
        Some(out) => {
            let next = format!(
                "for a new log put it at `{}`, to change over at the next start at `{}`",
                key.display(),
                follower.display()
            );
            (out.as_path(), next)
        }
        None if key.exists() => {
            let next = "stop `sallyport run` and start it again: it signs with this key from then on, and the old one signs the change";
            (follower.as_path(), next.to_owned())
        }
        None => {
            // A log that was begun with another key can't go on with this one.
            journal::check(directory, key, instance)?;
            (key, "the first `sallyport run` begins the log with it".to_owned())
        }
    };
    if path.exists() {
        return Err(Failure::Usage(anyhow::anyhow!(
            "`{}` is there already; use that one, or move it away first",
            path.display()
        )));
    }
    let vkey = journal::make_key(path, instance)?;
    let next = format!(
        "{next}; it must belong to the user who runs it; keep a copy of it, and give the vkey to your auditors"
    );
    output.print(&NewKey { path: path.display().to_string(), vkey, next }, |made| {
        format!("made {}\nvkey {}\nnext {}", made.path, made.vkey, made.next)
    })
}
