//! `/v1/status`: how this proxy stands, read from what it works with at that moment.
//! Not here: what only counts (`metrics`). No text of a client or server is in it. Source: the contract: "Admin port".

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::access::Access;
use crate::config::{Config, Durability, Limits};
use crate::evidence::TreeHead;
use crate::policy::{Blocks, Policy};
use crate::runtime::clock;
use crate::runtime::listeners::{Bound, Sockets};
use crate::runtime::reloads::{Reload, time};
use crate::runtime::shared::Shared;
use crate::runtime::watch::Watching;
use crate::yaml::duration_text;

/// What stays as it is while the proxy runs.
pub struct Installation {
    /// The log's directory.
    pub log: String,
    /// The egress pools, each with the prefixes that customers see.
    pub pools: Vec<(Arc<str>, Vec<IpNet>)>,
    durability: Durability,
    commit_interval: Duration,
    listeners: Vec<(Arc<str>, Bound)>,
    admin: SocketAddr,
    probes: Option<SocketAddr>,
}

impl Installation {
    /// Of a configuration and the sockets that were bound for it.
    pub fn new(config: &Config, sockets: &Sockets) -> Self {
        let log = &config.decision_log;
        Self {
            log: log.directory.clone(),
            pools: config.pools_seen().collect(),
            durability: log.durability,
            commit_interval: log.commit_interval,
            listeners: sockets.listeners.clone(),
            admin: sockets.admin.1,
            probes: sockets.probes.as_ref().map(|(_, address)| *address),
        }
    }
}

/// How the proxy stands.
#[derive(Serialize)]
pub struct Status<'a> {
    instance: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<&'a str>,
    version: &'static str,
    #[serde(serialize_with = "time")]
    started: Timestamp,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_ready: Option<&'static str>,
    draining: bool,
    policy: PolicyStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    reload: Option<WatchStatus>,
    log: LogStatus,
    blocks: BlocksStatus,
    connections: usize,
    /// Those that this one took over from and whose tunnels still run; their connections are not counted here.
    old_processes: usize,
    tunnels: u64,
    limits: LimitsStatus,
    listeners: Vec<ListenerStatus<'a>>,
    admin: AdminStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    probes: Option<SocketAddr>,
}

#[derive(Serialize)]
struct PolicyStatus {
    sha256: Arc<str>,
    rules: usize,
    sources: usize,
    #[serde(serialize_with = "time")]
    loaded: Timestamp,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reporting: Vec<ReportStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reload: Option<ReloadStatus>,
}

/// The newest reload.
#[derive(Serialize)]
struct ReloadStatus {
    result: &'static str,
    #[serde(flatten)]
    reload: Arc<Reload>,
}

/// How files are watched.
#[derive(Serialize)]
struct WatchStatus {
    on_change: bool,
    poll: String,
    folders: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

/// A source that is in report mode, through this day.
#[derive(Serialize)]
pub struct ReportStatus {
    source: Arc<str>,
    until: String,
}

/// The emergency blocks in force.
#[derive(Serialize)]
struct BlocksStatus {
    count: usize,
    /// When the first of them ends.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "some_time")]
    next_end: Option<Timestamp>,
}

#[derive(Serialize)]
struct LogStatus {
    healthy: bool,
    size: u64,
    durability: &'static str,
    commit_interval: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<CheckpointStatus>,
}

#[derive(Serialize)]
struct CheckpointStatus {
    size: u64,
    root: String,
    #[serde(serialize_with = "time")]
    time: Timestamp,
}

#[derive(Serialize)]
struct LimitsStatus {
    connections: usize,
    connections_per_source: u64,
    head_timeout: String,
    hello_timeout: String,
    dial_timeout: String,
    idle_timeout: String,
    lifetime: String,
    drain_delay: String,
    drain_timeout: String,
}

#[derive(Serialize)]
struct ListenerStatus<'a> {
    name: &'a str,
    address: String,
}

#[derive(Serialize)]
struct AdminStatus {
    address: SocketAddr,
    tls: bool,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "some_time")]
    certificate_expires: Option<Timestamp>,
    tokens: usize,
}

impl<'a> Status<'a> {
    /// As it is now, and who has `access` to the admin port.
    pub fn now(shared: &'a Shared, installation: &'a Installation, access: &Access) -> Self {
        let not_ready = shared.not_ready().map(str::trim_end);
        let listeners = installation.listeners.iter();
        Self {
            instance: shared.instance(),
            environment: shared.environment().map(|environment| &**environment),
            version: env!("CARGO_PKG_VERSION"),
            started: shared.started(),
            ready: not_ready.is_none(),
            not_ready,
            draining: shared.is_withdrawn(),
            policy: policy(shared),
            reload: shared.watching().as_deref().map(watching),
            log: log(shared, installation),
            blocks: blocks(shared.policy().blocks()),
            connections: shared.gate().connections(),
            old_processes: shared.predecessors().count(),
            tunnels: shared.metrics().open_tunnels(),
            limits: limits(&shared.limits(), shared.gate().limit()),
            listeners: listeners.map(|(name, address)| ListenerStatus { name, address: address.to_string() }).collect(),
            admin: AdminStatus {
                address: installation.admin,
                tls: access.tls().is_some(),
                certificate_expires: access.expires(),
                tokens: access.tokens().map_or(0, |tokens| tokens.iter().count()),
            },
            probes: installation.probes,
        }
    }
}

fn some_time<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => time(at, serializer),
        None => serializer.serialize_none(),
    }
}

fn policy(shared: &Shared) -> PolicyStatus {
    let in_force = shared.in_force();
    let policy = &in_force.policy;
    PolicyStatus {
        sha256: Arc::clone(policy.hash()),
        rules: policy.grants().len(),
        sources: policy.sources().len(),
        loaded: in_force.since,
        reporting: reporting(policy),
        reload: shared.reload().map(|reload| ReloadStatus { result: reload.result().as_str(), reload }),
    }
}

fn watching(Watching { settings, folders, fault }: &Watching) -> WatchStatus {
    let (on_change, poll) = (settings.on_change, duration_text(settings.poll));
    WatchStatus { on_change, poll, folders: *folders, fault: fault.clone() }
}

/// The sources of a policy that are in report mode now.
pub fn reporting(policy: &Policy) -> Vec<ReportStatus> {
    let reporting = policy.reporting(clock::now());
    reporting
        .map(|(source, report)| ReportStatus { source: Arc::clone(&source.name), until: report.until.to_string() })
        .collect()
}

fn blocks(blocks: &Blocks) -> BlocksStatus {
    BlocksStatus { count: blocks.len(), next_end: blocks.iter().map(|block| block.until).min() }
}

fn log(shared: &Shared, installation: &Installation) -> LogStatus {
    let metrics = &shared.metrics().log;
    let head = shared.journal().checkpoint().and_then(|note| TreeHead::read(&note));
    let checkpoint = head.zip(metrics.signed_at());
    LogStatus {
        healthy: shared.journal().healthy(),
        size: metrics.size(),
        durability: match installation.durability {
            Durability::Sync => "sync",
            Durability::Async => "async",
        },
        commit_interval: duration_text(installation.commit_interval),
        checkpoint: checkpoint.map(|(head, time)| CheckpointStatus { size: head.size, root: head.root, time }),
    }
}

fn limits(limits: &Limits, connections: usize) -> LimitsStatus {
    LimitsStatus {
        connections,
        connections_per_source: limits.connections_per_source,
        head_timeout: duration_text(limits.head_timeout),
        hello_timeout: duration_text(limits.hello_timeout),
        dial_timeout: duration_text(limits.dial_timeout),
        idle_timeout: duration_text(limits.idle_timeout),
        lifetime: duration_text(limits.lifetime),
        drain_delay: duration_text(limits.drain_delay),
        drain_timeout: duration_text(limits.drain_timeout),
    }
}
