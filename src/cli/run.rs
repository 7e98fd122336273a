//! `sallyport run`: serves until SIGTERM or SIGINT; SIGHUP reloads the policy.

use std::io::{self, IsTerminal};
use std::path::Path;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{Failure, environment};
use crate::runtime::load;
use crate::runtime::server::Server;

#[derive(Args)]
pub(super) struct RunArgs {
    /// Take listeners and log over from the running process
    #[arg(long)]
    take_over: bool,
}

pub(super) fn run(config: &Path, args: &RunArgs) -> Result<(), Failure> {
    if args.take_over {
        return Err(Failure::Usage(anyhow::anyhow!("`--take-over` is not available in this version")));
    }
    start_logging();
    let loaded = load::load(config, &environment)?;
    let mut server = Server::start(loaded).map_err(|error| Failure::Outside(error.into()))?;
    serve(&mut server).map_err(|error| Failure::Outside(error.into()))?;
    server.finish().map_err(|error| Failure::Outside(error.into()))
}

/// Serves until a signal says stop, and drains.
pub(super) fn serve(server: &mut Server) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut hangup = signal(SignalKind::hangup())?;
        let stop = async {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
        };
        let reload = async || {
            hangup.recv().await;
        };
        server.control(stop, reload).await
    })
}

/// The process's own log goes to stderr: text on a terminal, JSON otherwise. Decisions do not go here.
pub(super) fn start_logging() {
    let filter = EnvFilter::try_from_env("SALLYPORT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // A logger that stands already, as in tests, is as good.
    let _ = if io::stderr().is_terminal() { builder.try_init() } else { builder.json().try_init() };
}
