//! Every metric: name, help, labels. Labels come from the configuration or from closed lists, never from peers.
//! Not here: when something is counted. Source: Prometheus naming practice; the text format 0.0.4.

mod canary;
mod certificate;
mod egress;
mod policy;

use std::collections::BTreeMap;

use jiff::Timestamp;
use prometheus::core::Collector;
use prometheus::proto::Metric;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

use crate::decision_log::Unwritten;
use crate::policy::{Decided, Ending};
use crate::redact::Detector;
use crate::runtime::dns::LookupResult;
use crate::runtime::process;
use crate::runtime::tunnel::Meters;

pub use canary::{CanaryMetrics, CanaryResult};
pub use certificate::CertificateMetrics;
pub use egress::EgressMetrics;
pub use policy::PolicyMetrics;

/// Buckets in seconds for steps of setting a tunnel up: 50 µs to 10 s.
const SETUP_BUCKETS: [f64; 12] = [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.05, 0.25, 1.0, 3.0, 10.0];

/// Buckets in seconds for the life of a tunnel: 10 ms to a day.
const TUNNEL_BUCKETS: [f64; 9] = [0.01, 0.1, 1.0, 10.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0];

/// Buckets in seconds for one commit: 50 µs to 5 s.
const COMMIT_BUCKETS: [f64; 11] = [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.1, 1.0, 5.0];

/// The step of setting up that a duration belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetupStep {
    /// From accept to the whole head.
    Identify,
    /// Judging the request.
    Policy,
    /// Looking the name up.
    Dns,
    /// Connecting.
    Dial,
    /// From the `200` to the judged ClientHello.
    Hello,
    /// From the judged ClientHello to the permit.
    Record,
}

/// All metrics of one process.
pub struct Metrics {
    registry: Registry,
    decisions: IntCounterVec,
    tunnels: IntGaugeVec,
    tunnel_bytes: IntCounterVec,
    /// `sallyport_tunnel_duration_seconds`
    pub tunnel_duration: Histogram,
    /// `sallyport_tunnels_ended_total{reason}`
    ended: IntCounterVec,
    setup: [Histogram; 6],
    dns_lookups: [IntCounter; LookupResult::ALL.len()],
    /// Those of the egress pools.
    pub egress: EgressMetrics,
    /// `sallyport_connections`: client connections, tunnels included.
    pub connections: IntGauge,
    /// `sallyport_connections_silent_total`: closed without a byte, and so without a record.
    pub silent: IntCounter,
    /// `sallyport_connections_dropped_total`: closed unread: even refusals were too many, or the kernel had no memory left.
    pub dropped: IntCounter,
    /// Those of the decision log.
    pub log: LogMetrics,
    redactions: IntCounterVec,
    /// Those of the canary.
    pub canary: CanaryMetrics,
    /// Those of the policy in force.
    pub policy: PolicyMetrics,
    /// Those of certificates and lists of revoked ones.
    pub certificates: CertificateMetrics,
}

/// `sallyport_decision_log_*`.
pub struct LogMetrics {
    /// `sallyport_decision_log_records_total{kind}`
    pub records: IntCounterVec,
    /// `sallyport_decision_log_size`
    pub size: IntGauge,
    /// `sallyport_decision_log_commit_duration_seconds`
    pub commit: Histogram,
    /// `sallyport_decision_log_failures_total`
    pub failures: IntCounter,
    /// `sallyport_decision_log_checkpoint_timestamp_seconds`
    pub signed: Gauge,
    /// `sallyport_decision_log_lost_total{what}`
    pub lost: IntCounterVec,
}

impl Metrics {
    /// All metrics at zero.
    ///
    /// # Errors
    /// A name is registered twice: a fault of this file.
    pub fn new() -> prometheus::Result<Self> {
        let r = Registry::new();
        let setup = histogram_vec(
            &r,
            "setup_duration_seconds",
            "Duration of one step of setting a tunnel up.",
            "step",
            &SETUP_BUCKETS,
        )?;
        let step = |step: SetupStep| setup.with_label_values(&[step.as_str()]);
        let dns = counters(&r, "dns_lookups_total", "Lookups of names.", &["result"])?;
        let redactions = counters(
            &r,
            "redactions_total",
            "Texts from peers that were changed before they were written.",
            &["detector"],
        )?;
        let build = int_gauges(&r, "build_info", "The running version; always 1.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Self {
            decisions: counters(&r, "decisions_total", "Decisions.", &["listener", "customer", "outcome", "reason"])?,
            tunnels: int_gauges(&r, "tunnels", "Open tunnels.", &["customer"])?,
            tunnel_bytes: counters(
                &r,
                "tunnel_bytes_total",
                "Bytes moved; out is client to server.",
                &["customer", "direction"],
            )?,
            tunnel_duration: histogram(&r, "tunnel_duration_seconds", "Life of a tunnel.", &TUNNEL_BUCKETS)?,
            ended: known(
                counters(&r, "tunnels_ended_total", "Tunnels that have ended.", &["reason"])?,
                Ending::WORDS.iter().map(|ending| ending.as_str()),
            ),
            setup: SetupStep::ALL.map(step),
            dns_lookups: LookupResult::ALL.map(|result| dns.with_label_values(&[result.as_str()])),
            egress: EgressMetrics::new(&r)?,
            connections: int_gauge(&r, "connections", "Client connections, tunnels included.")?,
            silent: counter(
                &r,
                "connections_silent_total",
                "Connections closed by the client without a byte; they leave no record.",
            )?,
            dropped: counter(
                &r,
                "connections_dropped_total",
                "Connections closed unread: even refusals were too many, or the kernel had no memory left.",
            )?,
            redactions: known(redactions, Detector::ALL.iter().map(|detector| detector.name())),
            canary: CanaryMetrics::new(&r)?,
            log: LogMetrics::new(&r)?,
            policy: PolicyMetrics::new(&r)?,
            certificates: CertificateMetrics::new(&r)?,
            registry: r,
        })
    }

    /// The histogram of one step of setting up.
    pub fn setup(&self, step: SetupStep) -> &Histogram {
        let [identify, policy, dns, dial, hello, record] = &self.setup;
        match step {
            SetupStep::Identify => identify,
            SetupStep::Policy => policy,
            SetupStep::Dns => dns,
            SetupStep::Dial => dial,
            SetupStep::Hello => hello,
            SetupStep::Record => record,
        }
    }

    /// `sallyport_decisions_total` by outcome.
    pub fn decided(&self) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for family in self.decisions.collect() {
            for counted in family.get_metric() {
                let outcome = counted.get_label().iter().find(|label| label.name() == "outcome");
                let sum: &mut u64 = sums.entry(outcome.map_or("", |label| label.value()).to_owned()).or_default();
                *sum = sum.saturating_add(counted.get_counter().get_value() as u64);
            }
        }
        sums
    }

    /// `sallyport_tunnels` of all customers.
    pub fn open_tunnels(&self) -> u64 {
        let open = |gauge: &Metric| gauge.get_gauge().get_value().max(0.0) as u64;
        self.tunnels.collect().iter().flat_map(|family| family.get_metric()).map(open).sum()
    }

    /// `sallyport_decisions_total` of these labels.
    pub fn decisions(&self, listener: &str, customer: &str, decided: Decided) -> IntCounter {
        let Decided { outcome, reason } = decided;
        self.decisions.with_label_values(&[listener, customer, outcome.as_str(), reason.as_str()])
    }

    /// `sallyport_tunnels` and `sallyport_tunnel_bytes_total` of a customer.
    pub fn meters(&self, customer: &str) -> Meters {
        Meters {
            open: self.tunnels.with_label_values(&[customer]),
            bytes_out: self.tunnel_bytes.with_label_values(&[customer, "out"]),
            bytes_in: self.tunnel_bytes.with_label_values(&[customer, "in"]),
        }
    }

    /// Counts the end of a tunnel.
    pub fn ended(&self, ending: Ending) {
        self.ended.with_label_values(&[ending.as_str()]).inc();
    }

    /// `sallyport_dns_lookups_total{result}`.
    pub fn dns_lookups(&self, result: LookupResult) -> &IntCounter {
        let [hosts, stored, answered, stale, failed, timed_out, bogus] = &self.dns_lookups;
        match result {
            LookupResult::Hosts => hosts,
            LookupResult::Stored => stored,
            LookupResult::Answered => answered,
            LookupResult::Stale => stale,
            LookupResult::Failed => failed,
            LookupResult::TimedOut => timed_out,
            LookupResult::Bogus => bogus,
        }
    }

    /// `sallyport_redactions_total{detector}`.
    pub fn redactions(&self, detector: Detector) -> IntCounter {
        self.redactions.with_label_values(&[detector.name()])
    }

    /// The page of `/metrics`, process metrics included.
    ///
    /// # Errors
    /// A metric cannot be written as text: a fault of this file.
    pub fn page(&self) -> prometheus::Result<Vec<u8>> {
        let mut page = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut page)?;
        page.extend_from_slice(process::page().as_bytes());
        Ok(page)
    }
}

impl LogMetrics {
    /// What `lost` counts, in the words of a `control_failure`.
    const LOST: [&'static str; 4] = ["withdrawn", "refusals", "closes", "others"];

    /// Adds records that could not be written.
    pub fn count_lost(&self, lost: Unwritten) {
        for (what, count) in Self::LOST.into_iter().zip([lost.withdrawn, lost.refusals, lost.closes, lost.others]) {
            self.lost.with_label_values(&[what]).inc_by(count);
        }
    }

    /// When the newest checkpoint was written; `None`: not in this run.
    pub fn signed_at(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.signed.get() as i64).ok().filter(|time| *time > Timestamp::UNIX_EPOCH)
    }

    /// The number of records in the log.
    pub fn size(&self) -> u64 {
        u64::try_from(self.size.get()).unwrap_or_default()
    }

    /// Sets the number of records in the log.
    pub fn set_size(&self, records: u64) {
        self.size.set(i64::try_from(records).unwrap_or(i64::MAX));
    }

    fn new(r: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            records: counters(r, "decision_log_records_total", "Records made durable.", &["kind"])?,
            size: int_gauge(r, "decision_log_size", "Records in the decision log.")?,
            commit: histogram(r, "decision_log_commit_duration_seconds", "Duration of one commit.", &COMMIT_BUCKETS)?,
            failures: counter(
                r,
                "decision_log_failures_total",
                "Commits, tries to recover, checkpoints and seals that failed.",
            )?,
            signed: gauge(r, "decision_log_checkpoint_timestamp_seconds", "When the newest checkpoint was written.")?,
            lost: known(
                counters(r, "decision_log_lost_total", "Records that could not be written and are gone.", &["what"])?,
                LogMetrics::LOST,
            ),
        })
    }
}

impl SetupStep {
    const ALL: [Self; 6] = [Self::Identify, Self::Policy, Self::Dns, Self::Dial, Self::Hello, Self::Record];

    fn as_str(self) -> &'static str {
        match self {
            Self::Identify => "identify",
            Self::Policy => "policy",
            Self::Dns => "dns",
            Self::Dial => "dial",
            Self::Hello => "hello",
            Self::Record => "record",
        }
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("sallyport_{name}"), help)
}

fn add<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> prometheus::Result<C> {
    let metric = made?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counter(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    add(registry, IntCounter::with_opts(opts(name, help)))
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
    add(registry, IntCounterVec::new(opts(name, help), labels))
}

/// Makes the counters of these labels at once, at zero: what is not there can't be seen to rise.
fn known<'a>(counters: IntCounterVec, labels: impl IntoIterator<Item = &'a str>) -> IntCounterVec {
    for label in labels {
        counters.with_label_values(&[label]);
    }
    counters
}

fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<Gauge> {
    add(registry, Gauge::with_opts(opts(name, help)))
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<GaugeVec> {
    add(registry, GaugeVec::new(opts(name, help), labels))
}

fn int_gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    add(registry, IntGauge::with_opts(opts(name, help)))
}

fn int_gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    add(registry, IntGaugeVec::new(opts(name, help), labels))
}

fn histogram(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> prometheus::Result<Histogram> {
    add(registry, Histogram::with_opts(HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec())))
}

fn histogram_vec(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
    buckets: &[f64],
) -> prometheus::Result<HistogramVec> {
    add(registry, HistogramVec::new(HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec()), &[label]))
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
