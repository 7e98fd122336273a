//! Looks names up: static hosts, then a store of answers, then the configured servers. One resolver and one store a worker.
//! Not here: whether an address may be used (`policy::addresses`), nor whether a name may be asked for: the policy has said so before.
//! Source: RFC 1034 section 3.6, RFC 2308 (no answer at all), RFC 8767 (not used: nothing stale is served).

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{Resolver, TokioResolver};
use tokio::time::{Instant, timeout};

use crate::config::{Dns as Settings, DnsServer};
use crate::name::Fqdn;
use crate::policy::Reason;

/// Upper bound of answers kept a worker: some 200 bytes each.
const MAX_ANSWERS: usize = 10_000;

/// Upper bound of addresses taken from one answer. A whole UDP answer of 1,232 bytes holds fewer than 80.
const MAX_ADDRESSES: usize = 64;

/// How long the second family may still take once the first has addresses (RFC 8305 section 3 has 50 ms; every address that comes is
/// judged, so a little more patience is worth having). A server that never answers for one family costs no more.
const FAMILY_DELAY: Duration = Duration::from_millis(250);

/// What a name resolved to. All of it is judged before any of it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Every address of the A and AAAA answers, as given.
    pub addresses: Vec<IpAddr>,
    /// Every name that the chain of CNAME records led to.
    pub aliases: Vec<Fqdn>,
}

impl Answer {
    /// Addresses that are known without a lookup.
    pub fn of(addresses: &[IpAddr]) -> Self {
        Self { addresses: addresses.to_vec(), aliases: Vec::new() }
    }
}

/// The lookups of one worker.
pub struct Names {
    hosts: BTreeMap<Fqdn, Vec<IpAddr>>,
    resolver: TokioResolver,
    store: RefCell<HashMap<Fqdn, Stored>>,
    settings: Bounds,
}

/// What the servers said of a name.
struct Found {
    lookups: Vec<Lookup>,
    /// Whether both families were answered. One that failed may have addresses: so half an answer is kept only briefly.
    whole: bool,
}

struct Stored {
    answer: Rc<Answer>,
    until: Instant,
}

struct Bounds {
    timeout: Duration,
    min_ttl: Duration,
    max_ttl: Duration,
}

/// How a lookup ended, for `sallyport_dns_lookups_total{result}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupResult {
    /// From `dns.hosts`.
    Hosts,
    /// From the worker's store.
    Stored,
    /// From a server.
    Answered,
    /// No answer that can be used.
    Failed,
    /// No answer in time.
    TimedOut,
}

impl LookupResult {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Hosts, Self::Stored, Self::Answered, Self::Failed, Self::TimedOut];

    /// The metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hosts => "hosts",
            Self::Stored => "stored",
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::TimedOut => "timeout",
        }
    }
}

/// Why the resolver could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the system's name servers: {0}; give `dns.servers` in the configuration")]
pub struct ResolverError(#[from] hickory_resolver::net::NetError);

impl Names {
    /// A resolver of its own, with an empty store. Must be called inside the worker's runtime.
    ///
    /// # Errors
    /// `system` is asked for and resolv.conf(5) cannot be read.
    pub fn new(settings: &Settings) -> Result<Self, ResolverError> {
        let mut builder = Resolver::builder_with_config(servers(settings)?, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        options.use_hosts_file = ResolveHosts::Never;
        options.ndots = 0;
        options.cache_size = 0;
        options.attempts = 1;
        options.timeout = settings.timeout / 2;
        options.case_randomization = true;
        Ok(Self {
            hosts: settings.hosts.clone(),
            resolver: builder.build()?,
            store: RefCell::default(),
            settings: Bounds { timeout: settings.timeout, min_ttl: settings.min_ttl, max_ttl: settings.max_ttl },
        })
    }

    /// Every address of `name`. The whole step is bounded by `dns.timeout`.
    pub async fn lookup(&self, name: &Fqdn) -> (Result<Rc<Answer>, Reason>, LookupResult) {
        if let Some(addresses) = self.hosts.get(name) {
            return (Ok(Rc::new(Answer::of(addresses))), LookupResult::Hosts);
        }
        if let Some(answer) = self.stored(name) {
            return (Ok(answer), LookupResult::Stored);
        }
        // The final dot makes the name absolute: no search domain is ever tried.
        match timeout(self.settings.timeout, self.ask(&format!("{name}."))).await {
            Err(_) => (Err(Reason::DnsTimeout), LookupResult::TimedOut),
            Ok(Err(error)) if is_timeout(&error) => (Err(Reason::DnsTimeout), LookupResult::TimedOut),
            Ok(Err(_)) => (Err(Reason::DnsFailure), LookupResult::Failed),
            Ok(Ok(found)) => match read(&found) {
                Some((answer, valid_until)) => (Ok(self.keep(name, answer, valid_until)), LookupResult::Answered),
                None => (Err(Reason::DnsFailure), LookupResult::Failed),
            },
        }
    }

    /// Both families at once. A failure only if there is no answer for either: then the first one.
    async fn ask(&self, name: &str) -> Result<Found, NetError> {
        let family = |kind| Box::pin(self.resolver.lookup(name, kind));
        let (first, second) = match select(family(RecordType::A), family(RecordType::AAAA)).await {
            Either::Left((first, rest)) | Either::Right((first, rest)) => match first {
                Ok(_) => (first, timeout(FAMILY_DELAY, rest).await.unwrap_or(Err(NetError::Timeout))),
                Err(_) => (first, rest.await),
            },
        };
        match (first, second) {
            (Ok(first), Ok(second)) => Ok(Found { lookups: vec![first, second], whole: true }),
            (Ok(only), Err(error)) | (Err(error), Ok(only)) => {
                Ok(Found { lookups: vec![only], whole: error.is_no_records_found() || error.is_nx_domain() })
            }
            (Err(error), Err(_)) => Err(error),
        }
    }

    fn stored(&self, name: &Fqdn) -> Option<Rc<Answer>> {
        let store = self.store.borrow();
        let stored = store.get(name)?;
        (stored.until > Instant::now()).then(|| Rc::clone(&stored.answer))
    }

    fn keep(&self, name: &Fqdn, answer: Answer, valid_until: std::time::Instant) -> Rc<Answer> {
        let now = Instant::now();
        let ttl = Instant::from_std(valid_until).saturating_duration_since(now);
        let until = now + ttl.clamp(self.settings.min_ttl, self.settings.max_ttl);
        let answer = Rc::new(answer);
        let mut store = self.store.borrow_mut();
        if store.len() >= MAX_ANSWERS {
            store.retain(|_, stored| stored.until > now);
        }
        // Still full of valid answers: this one is used once and looked up again next time.
        if store.len() < MAX_ANSWERS {
            store.insert(name.clone(), Stored { answer: Rc::clone(&answer), until });
        }
        answer
    }
}

/// `None`: no address, more than are taken, or an alias that is no host name.
fn read(found: &Found) -> Option<(Answer, std::time::Instant)> {
    let (mut addresses, mut aliases) = (Vec::new(), Vec::new());
    for record in found.lookups.iter().flat_map(Lookup::answers) {
        if let Some(address) = record.data.ip_addr() {
            addresses.push(address);
        } else if let RData::CNAME(alias) = &record.data {
            aliases.push(alias.0.to_string().parse().ok()?);
        }
    }
    let valid_until = found.lookups.iter().map(Lookup::valid_until).min()?;
    let valid_until = if found.whole { valid_until } else { std::time::Instant::now() };
    (!addresses.is_empty() && addresses.len() <= MAX_ADDRESSES).then_some((Answer { addresses, aliases }, valid_until))
}

fn is_timeout(error: &NetError) -> bool {
    matches!(error, NetError::Timeout)
}

fn servers(settings: &Settings) -> Result<ResolverConfig, ResolverError> {
    let mut servers = Vec::new();
    for server in &settings.servers {
        match *server {
            DnsServer::System => servers.extend(system_servers()?),
            DnsServer::Udp(address) => {
                servers.push(name_server(address, &[ProtocolConfig::Udp, ProtocolConfig::Tcp]));
            }
            DnsServer::Tcp(address) => servers.push(name_server(address, &[ProtocolConfig::Tcp])),
        }
    }
    Ok(ResolverConfig::from_parts(None, Vec::new(), servers))
}

/// resolv.conf(5)'s servers alone: its search list would turn one name into another.
fn system_servers() -> Result<Vec<NameServerConfig>, ResolverError> {
    let (config, _) = hickory_resolver::system_conf::read_system_conf()?;
    Ok(config.name_servers().to_vec())
}

fn name_server(address: SocketAddr, protocols: &[ProtocolConfig]) -> NameServerConfig {
    let connections = protocols
        .iter()
        .map(|protocol| {
            let mut connection = ConnectionConfig::new(protocol.clone());
            connection.port = address.port();
            connection
        })
        .collect();
    NameServerConfig::new(address.ip(), true, connections)
}

/// One lookup outside any worker, as a worker would do it: for `explain --resolve`.
///
/// # Errors
/// `dns_failure`, `dns_timeout`; a resolver that cannot be made counts as a failure.
pub fn lookup_once(settings: &Settings, name: &Fqdn) -> Result<Answer, Reason> {
    let failed = |_| Reason::DnsFailure;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let names = Names::new(settings).map_err(|_| Reason::DnsFailure)?;
        names.lookup(name).await.0.map(|answer| Answer::clone(&answer))
    })
}
