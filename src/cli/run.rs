//! `sallyport run`: serves until SIGTERM or SIGINT; SIGHUP reloads the policy.

use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use clap::Args;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;

use super::{Failure, environment};
use crate::config::Config;
use crate::redact::Redactor;
use crate::runtime::load;
use crate::runtime::process_log::{Form, ProcessLog};
use crate::runtime::server::{Begins, Server};
use crate::runtime::service_manager;
use crate::runtime::succession::{self, Identity, Predecessor, TakeOverError};

#[derive(Args)]
pub(super) struct RunArgs {
    /// Take listeners and log over from the running process, which goes on with its tunnels; start anew if there is none
    #[arg(long)]
    take_over: bool,
}

pub(super) fn run(config: &Path, args: &RunArgs) -> Result<(), Failure> {
    let level = ours(std::env::var_os(LEVEL).as_deref())?;
    let outside = |error: io::Error| Failure::Outside(error.into());
    let control = Control::new().map_err(outside)?;
    let loaded = load::load(config, &environment)?;
    start_logging(level, loaded.config.redaction.redactor());
    let begins = begins(&loaded.config, args.take_over)?;
    let mut server = Server::start(loaded, begins, environment)?;
    service_manager::serves();
    control.serve(&mut server).map_err(outside)?;
    server.finish().map_err(|error| Failure::Outside(error.into()))
}

/// Where sockets and log come from.
fn begins(config: &Config, take_over: bool) -> Result<Begins, Failure> {
    let refused = |error: TakeOverError| Failure::Outside(error.into());
    if take_over {
        if let Some(predecessor) =
            Predecessor::find(&succession::door(config), &Identity::of(config)).map_err(refused)?
        {
            return Ok(Begins::After(predecessor));
        }
        tracing::info!("nobody to take over from; starting anew");
    }
    service_manager::sockets().map(Begins::Anew).map_err(|error| Failure::Outside(error.into()))
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

    /// Serves until a signal says stop, and drains until another one does.
    pub(super) fn serve(self, server: &mut Server) -> io::Result<()> {
        let Self { runtime, mut term, mut int, mut hangup } = self;
        let served = runtime.block_on(async {
            let stop = async || {
                tokio::select! {
                    _ = term.recv() => {}
                    _ = int.recv() => {}
                }
            };
            let reload = async || {
                hangup.recv().await;
            };
            server.control(stop, reload).await
        });
        // A thread that still reads, as a policy of a million names, holds up no end.
        runtime.shutdown_background();
        served
    }
}

/// The environment variable that names the level of the process's own log.
const LEVEL: &str = "SALLYPORT_LOG";

/// Its words.
const LEVELS: [(&str, LevelFilter); 5] = [
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

/// The process's own log goes to stderr: text on a terminal, JSON otherwise. Decisions do not go here.
fn start_logging(level: Targets, redactor: Redactor) {
    let form = if io::stderr().is_terminal() { Form::Text } else { Form::Json };
    let log = ProcessLog::new(redactor, form, |line| {
        // A stderr that is full or gone is no reason to end a worker.
        let _ = io::stderr().write_all(line.as_bytes());
    });
    // A logger that stands already, as in tests, is as good.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(level).with(log));
}

/// What is written: our own messages at the level named, `info` by default, and never those of libraries, which repeat
/// what peers sent.
fn ours(level: Option<&OsStr>) -> Result<Targets, Failure> {
    let named = |level: &OsStr| LEVELS.iter().find(|(word, _)| level == *word).map(|(_, filter)| *filter);
    let filter = level.map_or(Some(LevelFilter::INFO), named).ok_or_else(|| {
        let level = level.unwrap_or_default().to_string_lossy();
        let words = "`error`, `warn`, `info`, `debug` or `trace`";
        Failure::Usage(anyhow::anyhow!("`{LEVEL}` is `{}`; write {words}, or unset it", level.escape_debug()))
    })?;
    Ok(Targets::new().with_target(env!("CARGO_CRATE_NAME"), filter))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn only_our_own_messages_are_written() {
        for (level, most) in [
            (None, Level::INFO),
            (Some("error"), Level::ERROR),
            (Some("warn"), Level::WARN),
            (Some("info"), Level::INFO),
            (Some("debug"), Level::DEBUG),
            (Some("trace"), Level::TRACE),
        ] {
            let filter = ours(level.map(OsStr::new)).unwrap();
            for line in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE] {
                assert_eq!(filter.would_enable(module_path!(), &line), line <= most, "{level:?}: {line}");
                for target in ["hickory_proto::xfer", "hyper", "rustls::conn", "tokio", ""] {
                    assert!(!filter.would_enable(target, &line), "{level:?}: {line} of `{target}`");
                }
            }
        }
    }

    #[test]
    fn a_level_that_is_none() {
        for level in ["", "INFO", "off", "hickory_proto=warn", "info,hyper=trace", "1"] {
            let failure = ours(Some(OsStr::new(level))).unwrap_err();
            assert!(matches!(failure, Failure::Usage(_)), "`{level}`: {failure:?}");
        }
    }
}
