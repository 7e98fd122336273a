//! `sallyport run`: serves until SIGTERM or SIGINT; SIGHUP reloads the policy.

use std::io::{self, IsTerminal};
use std::path::Path;

use clap::Args;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
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
    let outside = |error: io::Error| Failure::Outside(error.into());
    let control = Control::new().map_err(outside)?;
    let loaded = load::load(config, &environment)?;
    let mut server = Server::start(loaded).map_err(|error| Failure::Outside(error.into()))?;
    control.serve(&mut server).map_err(outside)?;
    server.finish().map_err(|error| Failure::Outside(error.into()))
}

/// The signals and the thread that waits for them. Made before anything is served: until then a signal ends the process at once.
pub(super) struct Control {
    runtime: Runtime,
    term: Signal,
    int: Signal,
    hangup: Signal,
}

impl Control {
    pub(super) fn new() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let inside = runtime.enter();
        let (term, int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let hangup = signal(SignalKind::hangup())?;
        drop(inside);
        Ok(Self { runtime, term, int, hangup })
    }

    /// Serves until a signal says stop, and drains.
    pub(super) fn serve(self, server: &mut Server) -> io::Result<()> {
        let Self { runtime, mut term, mut int, mut hangup } = self;
        runtime.block_on(async {
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
}

/// The process's own log goes to stderr: text on a terminal, JSON otherwise. Decisions do not go here.
pub(super) fn start_logging() {
    let filter = EnvFilter::try_from_env("SALLYPORT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // A logger that stands already, as in tests, is as good.
    let _ = if io::stderr().is_terminal() { builder.try_init() } else { builder.json().try_init() };
}
