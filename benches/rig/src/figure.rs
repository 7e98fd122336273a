//! What is measured: every figure by name and unit, and what one load found.
//! Not here: which shape has which figures (`shape`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One measured quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// CPU of the subject, µs a tunnel.
    CpuPerTunnel,
    /// How even the worker threads of the subject were busy: their mean ÷ the busiest. Only where there are several.
    WorkerBalance,
    /// Tunnels opened, used and closed a second.
    TunnelsPerSecond,
    /// From the first SYN to the 200, µs.
    TunnelP50,
    /// The same, 99th percentile.
    TunnelP99,
    /// A whole tunnel with one exchange, µs.
    WholeP50,
    /// The same, 99th percentile.
    WholeP99,
    /// CPU of the subject, µs a refused CONNECT.
    CpuPerDenial,
    /// Refused CONNECTs a second.
    DenialsPerSecond,
    /// CPU of the subject, µs a request on an open tunnel.
    CpuPerRequest,
    /// Requests a second.
    RequestsPerSecond,
    /// Request to reply (or CONNECT to refusal), µs.
    RequestP50,
    /// The same, 99th percentile.
    RequestP99,
    /// CPU of the subject, s a GB (1e9 bytes).
    CpuPerGb,
    /// GB a second.
    GbPerSecond,
    /// Memory that each held tunnel adds, KiB (PSS).
    KibPerTunnel,
    /// Memory of the freshly started subject, MiB (PSS).
    MibAtStart,
    /// Memory with all tunnels held, MiB (PSS).
    MibHeld,
    /// Memory after all are closed, MiB (PSS).
    MibAfterClose,
    /// Tunnels held.
    Held,
}

impl Figure {
    /// As the head of a column.
    pub fn title(self) -> &'static str {
        match self {
            Self::CpuPerTunnel => "CPU µs/tunnel",
            Self::WorkerBalance => "balance of workers",
            Self::TunnelsPerSecond => "tunnels/s",
            Self::TunnelP50 => "200 after, p50 µs",
            Self::WholeP50 => "whole, p50 µs",
            Self::RequestP50 => "p50 µs",
            Self::TunnelP99 | Self::WholeP99 | Self::RequestP99 => "p99 µs",
            Self::CpuPerDenial => "CPU µs/refusal",
            Self::DenialsPerSecond => "refusals/s",
            Self::CpuPerRequest => "CPU µs/request",
            Self::RequestsPerSecond => "requests/s",
            Self::CpuPerGb => "CPU s/GB",
            Self::GbPerSecond => "GB/s",
            Self::KibPerTunnel => "KiB/tunnel",
            Self::MibAtStart => "MiB at start",
            Self::MibHeld => "MiB held",
            Self::MibAfterClose => "MiB after close",
            Self::Held => "tunnels held",
        }
    }
}

/// What one load found: one line of JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// What could be measured.
    pub figures: BTreeMap<Figure, f64>,
    /// Failures by kind.
    pub failures: BTreeMap<String, u64>,
}

impl Sample {
    /// Adds a figure.
    pub fn put(&mut self, figure: Figure, value: f64) {
        self.figures.insert(figure, value);
    }

    /// A figure, if it was measured.
    pub fn get(&self, figure: Figure) -> Option<f64> {
        self.figures.get(&figure).copied()
    }

    /// Adds `total` a unit; nothing, if there were no units.
    pub fn put_per(&mut self, figure: Figure, total: f64, units: u64) {
        if units > 0 {
            self.put(figure, total / count(units));
        }
    }
}

/// A count as a figure. Counts here are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of a load are far below 2^53")]
pub fn count(units: u64) -> f64 {
    units as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_survives_its_line_of_json() {
        let mut sample = Sample::default();
        sample.put_per(Figure::CpuPerTunnel, 3.0, 2);
        sample.put_per(Figure::CpuPerGb, 3.0, 0);
        sample.failures.insert("timeout".to_owned(), 3);
        let line = serde_json::to_string(&sample).unwrap();
        assert_eq!(line, r#"{"figures":{"cpu_per_tunnel":1.5},"failures":{"timeout":3}}"#);
        assert_eq!(serde_json::from_str::<Sample>(&line).unwrap(), sample);
    }
}
