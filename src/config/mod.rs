//! `sallyport.yaml`: as written → checked, with every fault at its place. Pure: the environment is a closure, paths stay texts.
//! Not here: the policy (`policy`), what paths point at and what the host can hold (`runtime`).
//! Source: the contract's page on `sallyport.yaml`. Keys of a later version are refused, never ignored.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod admin;
mod bound;
mod credentials;
mod dns;
mod expand;
mod limits;
mod listeners;
mod log;
#[cfg(test)]
mod misplaced;
mod name_server;
mod pools;
mod profile;
mod redaction;
mod reload;
mod running;
mod tokens;
mod trust_anchor;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::name::Fqdn;
use crate::redact::holds_card_number;
use crate::yaml::{self, Faults, Field, Located, MapReader, Place, shown};

pub use admin::{Admin, AdminTls};
pub use credentials::{Credential, NewCredentialError, credentials};
pub use name_server::{DnsServer, ServerError};
pub use profile::{Profile, judge_as_pci};
pub use redaction::Redaction;
pub use reload::{MaxRows, PolicyGuard, Reload};
pub use tokens::{Role, Token, TokenNameError, Tokens, tokens};
pub use trust_anchor::{AnchorKey, TrustAnchor, trust_anchors};

/// How this proxy runs, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Which settings are refused.
    pub profile: Profile,
    /// Name of this instance in records, metrics and the log's origin: 1 to 128 of `A-Z a-z 0-9 . _ -`.
    pub instance: String,
    /// Folder for what must survive a restart, as written.
    pub state: String,
    /// The environment; sources of another one are refused.
    pub environment: Option<String>,
    /// Where clients connect: at least one, no two alike.
    pub listeners: Vec<Listener>,
    /// The policy's file or folder, as written.
    pub policy: Located<String>,
    /// How much a new policy may change.
    pub policy_guard: PolicyGuard,
    /// When files are read again.
    pub reload: Reload,
    /// How names are looked up.
    pub dns: Dns,
    /// The addresses from which connections leave, by the pool's name.
    pub pools: BTreeMap<String, Pool>,
    /// Bounds on connections and waits.
    pub limits: Limits,
    /// Where and how decisions are recorded.
    pub decision_log: DecisionLog,
    /// What must not be written beside what is known everywhere.
    pub redaction: Redaction,
    /// The admin port.
    pub admin: Admin,
    /// The port for probes and metrics alone, if any.
    pub probes: Option<SocketAddr>,
}

/// Where clients connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name in records and metrics.
    pub name: Arc<str>,
    /// Where it was written.
    pub place: Place,
    /// Where it listens.
    pub address: ListenAddress,
    /// How clients come in.
    pub mode: Mode,
    /// TLS towards the clients; `None`: they speak plain HTTP. Not with Unix sockets or in transparent mode.
    pub tls: Option<ListenerTls>,
    /// The addresses that must send a PROXY header; from all others it is refused. Not with Unix sockets or in transparent mode.
    pub proxy_protocol: Box<[IpNet]>,
    /// The file of credentials, as written: what clients may show in `Proxy-Authorization`. With TLS alone.
    pub credentials: Option<Located<String>>,
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An address; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(UnixAddress),
}

/// A Unix socket to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixAddress {
    /// Its path, as written.
    pub path: Located<String>,
    /// Its mode bits: who on this host may connect at all. Which source that is, their uid says.
    pub permissions: u32,
}

/// How clients come in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They ask with CONNECT.
    #[default]
    Connect,
    /// They don't know of the proxy: the kernel brings their connections.
    Transparent(Capture),
}

/// How the kernel brings connections, and so where it says what their clients wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Capture {
    /// By NAT: the original address is that of the connection's tracking (SO_ORIGINAL_DST).
    #[default]
    Redirect,
    /// By TPROXY: the original address is the socket's own (IP_TRANSPARENT).
    Tproxy,
}

/// A listener's files for TLS, as written: PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// The certificate and those between it and its authority.
    pub certificate: Located<String>,
    /// Its private key.
    pub key: Located<String>,
    /// Whether and how clients must show a certificate.
    pub client_auth: Option<ClientAuth>,
}

/// What a client's certificate must be: the files as written, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuth {
    /// The authorities.
    pub ca: Located<String>,
    /// Their lists of revoked certificates, one for each issuer of a chain; `None`: none is looked for.
    pub crl: Option<Located<String>>,
    /// What follows when a list is past its next update.
    pub stale_crl: StaleCrl,
}

/// What follows when a list of revoked certificates is past its next update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StaleCrl {
    /// Every client certificate that it would speak of is refused: it may be revoked since.
    #[default]
    Refuse,
    /// It still counts; a warning and a metric say that it is stale.
    Warn,
}

impl Listener {
    /// Whether nothing stands before a request's head: CONNECT over TCP, without TLS and PROXY header.
    pub fn is_plain(&self) -> bool {
        let is_bare = self.tls.is_none() && self.proxy_protocol.is_empty();
        self.mode == Mode::Connect && is_bare && self.tcp().is_some()
    }

    /// Its address, if it has one that others can connect to.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self.address {
            ListenAddress::Tcp(address) => Some(address),
            ListenAddress::Unix(_) => None,
        }
    }
}

/// How names are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Whom to ask: at least one.
    pub servers: Vec<DnsServer>,
    /// Names that are not looked up; each with at least one address, IPv4-mapped ones as IPv4.
    pub hosts: BTreeMap<Fqdn, Vec<IpAddr>>,
    /// For one lookup as a whole, CNAMEs and retries included.
    pub timeout: Duration,
    /// Answers are kept at least this long.
    pub min_ttl: Duration,
    /// Answers are kept at most this long; not below `min_ttl`.
    pub max_ttl: Duration,
    /// How long an answer that is over still serves while its servers fail; zero: not at all.
    pub serve_stale: Duration,
    /// How answers are validated; `None`: not at all.
    pub validation: Option<Validation>,
}

/// Where validation of DNS answers begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validation {
    /// The file of keys, as written; `None`: the root's keys, which are built in.
    pub file: Option<Located<String>>,
    /// What that file says, once it is read.
    pub anchors: Vec<TrustAnchor>,
}

/// Addresses from which connections leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Every address of these is bound: at least one, at most 1024, none of another pool.
    pub bind: Vec<IpNet>,
    /// What customers see, if a NAT stands between; else empty. None of what customers see of another pool.
    pub public: Vec<IpNet>,
}

/// Bounds for this instance as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at a time. By default at the place of `limits`, or of the file.
    pub connections: Located<u64>,
    /// Whether `connections` was written, and so must hold.
    pub connections_given: bool,
    /// Client connections at a time from one source.
    pub connections_per_source: u64,
    /// From accept to the head's end.
    pub head_timeout: Duration,
    /// From the `200` to the ClientHello's end.
    pub hello_timeout: Duration,
    /// For one connection to be dialled, all addresses together.
    pub dial_timeout: Duration,
    /// A tunnel without a byte in either direction.
    pub idle_timeout: Duration,
    /// A tunnel, whatever it does.
    pub lifetime: Duration,
    /// From SIGTERM, when the proxy is ready no more, until it takes no new requests.
    pub drain_delay: Duration,
    /// Open tunnels after that.
    pub drain_timeout: Duration,
}

/// Where and how decisions are recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionLog {
    /// The log's folder, as written; by default `decisions` below `state`.
    pub directory: String,
    /// When a record counts as written.
    pub durability: Durability,
    /// How long the first record of a batch waits for others.
    pub commit_interval: Duration,
    /// The file of the signing key, as written; by default `log.key` below `state`.
    pub key: String,
    /// Whether a copy of each record goes to stdout.
    pub stdout: bool,
    /// Denials of one source and reason that are recorded one by one, a second; `None`: all.
    pub denial_rate: Option<u32>,
}

/// When a record counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On disk before a client byte is forwarded.
    Sync,
    /// On disk within the commit interval.
    Async,
}

/// The state folder's default.
const STATE: &str = "/var/lib/sallyport";

/// Reads the configuration. `file` is its index in places, `env` answers for `${NAME}`, `host_name` is the default of `instance`.
///
/// Valid only if `faults` is still empty. With faults there may be a configuration too, with defaults for what was
/// wrong, so that the policy can be checked in the same go; `None` if not even the policy's path is known.
pub fn load(
    text: &str,
    file: u32,
    env: &dyn Fn(&str) -> Option<String>,
    host_name: &str,
    faults: &mut Faults,
) -> Option<Config> {
    let mut root = yaml::parse(text, file, faults)?;
    expand::expand(&mut root, env, faults);
    let mut map = MapReader::new(&root, "the configuration", faults)?;
    let profile = map.take("profile").and_then(|field| field.word(profile::PROFILES, faults)).unwrap_or_default();
    if profile == Profile::Pci {
        profile::judge(&root, faults);
    }
    let instance = instance(&mut map, host_name, faults);
    let state = map.take("state").and_then(|field| field.text(faults)).unwrap_or(STATE);
    let environment = map.take("environment").and_then(|field| label(field, faults));
    let mut bound = bound::Bound::default();
    let listeners = map.require("listeners", faults).map(|field| listeners::listeners(field, &mut bound, faults));
    let policy = map.require("policy", faults).and_then(|field| path(field, faults));
    let policy_guard = reload::policy_guard(map.take("policy_guard"), faults);
    let reload = reload::reload(map.take("reload"), faults);
    let dns = dns::dns(map.take("dns"), faults);
    let pools = pools::pools(map.take("egress"), faults);
    let limits = limits::limits(map.take("limits"), map.place(), faults);
    let decision_log = log::decision_log(map.take("decision_log"), state, faults);
    let of_redaction = map.take("redaction");
    let redaction = redaction::redaction(of_redaction, faults);
    let has_plain = listeners.iter().flatten().any(Listener::is_plain);
    if let Some(field) = of_redaction.filter(|_| redaction.canary.is_some() && !has_plain) {
        let message = "`canary` asks a listener that takes CONNECT without TLS or a PROXY header, and there is none; add one on \
                       loopback, or remove `canary`";
        field.fault(message, faults);
    }
    let admin = admin::admin(map.take("admin"), &mut bound, faults);
    let probes = map.take("probes").and_then(|field| bound::probes(field, &mut bound, faults));
    map.finish(&[], faults);
    Some(Config {
        profile,
        instance,
        state: state.to_owned(),
        environment,
        listeners: listeners.unwrap_or_default(),
        policy: policy?,
        policy_guard,
        reload,
        dns,
        pools,
        limits,
        decision_log,
        redaction,
        admin,
        probes,
    })
}

/// The log's origin and metrics carry it, so the host's name must fit as well when nothing else is given.
fn instance(map: &mut MapReader<'_>, host_name: &str, faults: &mut Faults) -> String {
    match map.take("instance") {
        Some(field) => label(field, faults).unwrap_or_default(),
        None if is_label(host_name) => host_name.to_owned(),
        None => {
            let name = shown(host_name);
            let message = format!("the host's name {name} cannot name this instance; write `instance: {LABEL}`");
            faults.at(map.place(), message);
            String::new()
        }
    }
}

/// Upper bound in characters for a name given by the operator: it stands in every record and metric.
const MAX_LABEL: usize = 128;

/// What a label looks like, for faults.
const LABEL: &str = "edge-1";

/// A name that metrics, records and the log's origin can carry: no space, no `+`, nothing to escape, no card number.
fn is_label(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=MAX_LABEL).contains(&text.len()) && text.bytes().all(plain) && !holds_card_number(text)
}

/// A file or folder, as written.
fn path(field: Field<'_>, faults: &mut Faults) -> Option<Located<String>> {
    Some(field.located(field.text(faults)?.to_owned()))
}

fn label(field: Field<'_>, faults: &mut Faults) -> Option<String> {
    let text = field.text(faults)?;
    label_of(&shown(field.name()), text, field.place(), faults).map(str::to_owned)
}

fn label_of<'a>(what: &str, text: &'a str, place: Place, faults: &mut Faults) -> Option<&'a str> {
    if is_label(text) {
        return Some(text);
    }
    if holds_card_number(text) {
        faults.at(place, format!("{what} holds what looks like a card number; use another name"));
        return None;
    }
    let text = faults.shown(text);
    let allowed = "letters, digits, `.`, `_` and `-`";
    faults.at(place, format!("{what} is {text}; write 1 to {MAX_LABEL} {allowed}, such as `{LABEL}`"));
    None
}

#[cfg(test)]
mod tests;
