//! Loads on one proxy. Each prints one line of JSON, a `Sample`.
//! Not here: which loads a comparison takes, and with what arguments (`shape`).

mod bulk;
mod conn;
mod connect;
mod deny;
mod idle;
mod requests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use tokio_rustls::TlsConnector;

use crate::figure::Sample;
use crate::latency::Failures;
use crate::names::{self, Target};
use crate::net::Sources;
use crate::tls;

/// Time for the proxy to end its work on what is closed, before its CPU time is read.
const SETTLE: Duration = Duration::from_millis(400);

/// Upper bound of one tunnel, exchange or refusal: later it is a failure.
const UNIT_DEADLINE: Duration = Duration::from_secs(10);

/// The loads.
#[derive(Subcommand)]
pub enum Load {
    /// Short tunnels: TCP, CONNECT, TLS, one exchange, close
    Connect(connect::ConnectArgs),
    /// Refused CONNECTs, a new connection each
    Deny(deny::DenyArgs),
    /// Small messages to and fro over open tunnels
    Requests(requests::RequestsArgs),
    /// Bytes through a few tunnels
    Bulk(bulk::BulkArgs),
    /// Many tunnels that carried one exchange, then nothing
    Idle(idle::IdleArgs),
}

/// What the tunnels carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Tls {
    /// rustls on both ends
    Real,
    /// A genuine ClientHello, then records without cryptography
    Fake,
}

/// What every load needs to know.
#[derive(Args)]
struct Common {
    /// The proxy
    #[arg(long)]
    proxy: SocketAddr,
    /// The proxy's process id: it and its descendants are accounted for
    #[arg(long)]
    pid: u32,
    /// NAME:PORT; {FIRST..LAST} in it stands for several
    #[arg(long)]
    target: String,
    #[arg(long, value_enum, default_value_t = Tls::Fake)]
    tls: Tls,
}

/// What the workers of a load share.
struct Shared {
    proxy: SocketAddr,
    targets: Vec<(Target, Vec<u8>)>,
    connector: TlsConnector,
    tls: Tls,
    sources: Sources,
}

impl Common {
    fn shared(&self) -> Result<Arc<Shared>> {
        let config = tls::client_config()?;
        let targets = names::targets(&self.target)?.into_iter();
        let with_hello = |target: Target| tls::client_hello(&config, &target.host).map(|hello| (target, hello));
        Ok(Arc::new(Shared {
            proxy: self.proxy,
            targets: targets.map(with_hello).collect::<Result<_>>()?,
            connector: TlsConnector::from(config),
            tls: self.tls,
            sources: Sources::default(),
        }))
    }
}

impl Shared {
    /// The target of unit `number`, and a ClientHello for it.
    fn target(&self, number: usize) -> Result<&(Target, Vec<u8>)> {
        let place = number.checked_rem(self.targets.len()).unwrap_or_default();
        self.targets.get(place).ok_or_else(|| anyhow::anyhow!("no-target"))
    }
}

/// Runs a load and prints what it found.
///
/// # Errors
/// The load can't begin.
pub fn run(load: &Load) -> Result<()> {
    let sample = match load {
        Load::Connect(args) => crate::block_on(connect::run(args))?,
        Load::Deny(args) => crate::block_on(deny::run(args))?,
        Load::Requests(args) => crate::block_on(requests::run(args))?,
        Load::Bulk(args) => crate::block_on(bulk::run(args))?,
        Load::Idle(args) => crate::block_on(idle::run(args))?,
    };
    println!("{}", serde_json::to_string(&sample)?);
    Ok(())
}

/// A sample with these failures, and no figure yet.
fn sample(failures: Failures) -> Sample {
    Sample { failures: failures.0, ..Sample::default() }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use clap::Parser;

    use super::*;
    use crate::figure::Figure;

    #[derive(Parser)]
    struct Cli {
        #[command(subcommand)]
        load: Load,
    }

    /// A proxy that answers every CONNECT with this status, until the test ends.
    fn answering(status: u16) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let _ = client.read(&mut [0; 1024]);
                let _ = write!(client, "HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
            }
        });
        address
    }

    /// Only what was wanted is a unit. What failed is told, and makes nobody cheap.
    #[test]
    fn another_answer_than_the_wanted_one_is_a_failure_and_no_unit() {
        for (load, status, figure, want) in [
            ("deny", 403, Figure::CpuPerDenial, None),
            ("deny", 503, Figure::CpuPerDenial, Some("refused-with-status-503")),
            ("deny", 200, Figure::CpuPerDenial, Some("tunnel-was-opened")),
            ("connect", 503, Figure::CpuPerTunnel, Some("connect-status-503")),
        ] {
            let (proxy, pid) = (format!("--proxy={}", answering(status)), format!("--pid={}", std::process::id()));
            let words =
                ["load", load, &proxy, &pid, "--target=t0.customer.test:8444", "--seconds=0.05", "--concurrency=1"];
            let sample = match Cli::parse_from(words).load {
                Load::Deny(args) => crate::block_on(deny::run(&args)),
                Load::Connect(args) => crate::block_on(connect::run(&args)),
                Load::Requests(_) | Load::Bulk(_) | Load::Idle(_) => unreachable!(),
            };
            let sample = sample.unwrap();
            let failures: Vec<&str> = sample.failures.keys().map(String::as_str).collect();
            assert_eq!(failures, want.into_iter().collect::<Vec<_>>(), "{load} {status}");
            assert_eq!(sample.get(figure).is_some(), want.is_none(), "{load} {status}: {sample:?}");
        }
    }
}
