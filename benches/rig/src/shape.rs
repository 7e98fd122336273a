//! The shapes of load that a comparison takes: their arguments for `rig load`, and their figures.
//! Not here: what the loads do (`load`).

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::figure::Figure;
use crate::names::{DOMAIN, FAKE_PORT, REAL_PORT, TARGETS};

/// One shape of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Short tunnels, 64 at once, as fast as they go
    Connect,
    /// Short tunnels, so many a second
    ConnectPaced,
    /// The same with real TLS on both ends
    ConnectReal,
    /// Refused names, 64 at once, as fast as they go
    Deny,
    /// Small messages over one open tunnel
    Rr1,
    /// Small messages over 64 open tunnels
    Rr64,
    /// Bulk to the client over 4 tunnels
    Down,
    /// Bulk to the origin over 4 tunnels
    Up,
    /// Tunnels held without traffic, on a freshly started subject
    Idle,
}

/// How much of each load.
#[derive(Clone, Copy, Debug)]
pub struct Dose {
    /// Of the usual times and amounts: 1, or less for a trial.
    pub share: f64,
    /// Tunnels a second of the paced shapes.
    pub rate: f64,
    /// Tunnels held by `idle`.
    pub tunnels: u32,
}

impl Shape {
    /// All, in the order of a run.
    pub const ALL: [Self; 9] = [
        Self::Connect,
        Self::ConnectPaced,
        Self::ConnectReal,
        Self::Deny,
        Self::Rr1,
        Self::Rr64,
        Self::Down,
        Self::Up,
        Self::Idle,
    ];

    /// As it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::ConnectPaced => "connect-paced",
            Self::ConnectReal => "connect-real",
            Self::Deny => "deny",
            Self::Rr1 => "rr1",
            Self::Rr64 => "rr64",
            Self::Down => "down",
            Self::Up => "up",
            Self::Idle => "idle",
        }
    }

    /// What it does, in words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Connect => "short tunnels, 64 at once, as fast as they go",
            Self::ConnectPaced => "short tunnels at a fixed rate, fake TLS",
            Self::ConnectReal => "short tunnels at a fixed rate, real TLS on both ends",
            Self::Deny => "refused names, a connection each, 64 at once",
            Self::Rr1 => "120 bytes to and fro, 1 open tunnel",
            Self::Rr64 => "120 bytes to and fro, 64 open tunnels",
            Self::Down => "bulk to the client, 4 tunnels",
            Self::Up => "bulk to the origin, 4 tunnels",
            Self::Idle => "tunnels that carried one exchange, then nothing",
        }
    }

    /// Its figures. The first is the one that is compared; the less, the better.
    pub fn figures(self) -> &'static [Figure] {
        use Figure::*;
        match self {
            Self::Connect => &[CpuPerTunnel, TunnelsPerSecond, TunnelP50, TunnelP99],
            Self::ConnectPaced | Self::ConnectReal => &[CpuPerTunnel, TunnelP50, TunnelP99, WholeP50, WholeP99],
            Self::Deny => &[CpuPerDenial, DenialsPerSecond, RequestP50, RequestP99],
            Self::Rr1 | Self::Rr64 => &[CpuPerRequest, RequestsPerSecond, RequestP50, RequestP99],
            Self::Down | Self::Up => &[CpuPerGb, GbPerSecond],
            Self::Idle => &[KibPerTunnel, MibAtStart, MibHeld, MibAfterClose, Held],
        }
    }

    /// The arguments of `rig load`, without the proxy's.
    pub fn arguments(self, dose: Dose) -> Vec<String> {
        let last = TARGETS.saturating_sub(1);
        let fake = format!("--target=t{{0..{last}}}.{DOMAIN}:{FAKE_PORT}");
        let real = format!("--target=t{{0..{last}}}.{DOMAIN}:{REAL_PORT}");
        let refused = format!("--target=no{{0..{last}}}.evil.test:{FAKE_PORT}");
        let seconds = |most: f64| format!("--seconds={}", most * dose.share);
        let mib = |most: f64| format!("--mib={}", (most * dose.share).round());
        let paced = [seconds(5.0), format!("--rate={}", dose.rate), "--concurrency=200".to_owned()];
        let list = |load: &str, more: &[String]| [&[load.to_owned()], more].concat();
        match self {
            Self::Connect => list("connect", &[fake, seconds(2.5)]),
            Self::ConnectPaced => [list("connect", &[fake]), paced.to_vec()].concat(),
            Self::ConnectReal => [list("connect", &[real, "--tls=real".to_owned()]), paced.to_vec()].concat(),
            Self::Deny => list("deny", &[refused, seconds(2.0)]),
            Self::Rr1 => list("requests", &[fake, seconds(1.5), "--tunnels=1".to_owned()]),
            Self::Rr64 => list("requests", &[fake, seconds(2.0)]),
            Self::Down => list("bulk", &[fake, mib(384.0)]),
            Self::Up => list("bulk", &[fake, mib(256.0), "--direction=up".to_owned()]),
            Self::Idle => {
                let tunnels = (f64::from(dose.tunnels) * dose.share).round();
                list("idle", &[fake, format!("--tunnels={tunnels}"), format!("--hold={}", 4.0 * dose.share)])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::load::Load;

    #[derive(Parser)]
    struct Cli {
        #[command(subcommand)]
        _load: Load,
    }

    #[test]
    fn every_shape_is_a_load_with_a_figure_and_one_name() {
        for shape in Shape::ALL {
            let dose = Dose { share: 0.2, rate: 500.0, tunnels: 9500 };
            let own = ["--proxy=127.0.0.1:1", "--pid=1"].map(str::to_owned);
            let all = [&["load".to_owned()], shape.arguments(dose).as_slice(), &own].concat();
            assert!(Cli::try_parse_from(&all).is_ok(), "{all:?}");
            assert!(!shape.figures().is_empty());
            assert_eq!(Shape::from_str(shape.name(), false), Ok(shape), "on the command line");
            assert_eq!(serde_json::to_string(&shape).unwrap(), format!("\"{}\"", shape.name()), "in results");
        }
        assert_eq!(Shape::ALL.len(), Shape::value_variants().len());
    }
}
