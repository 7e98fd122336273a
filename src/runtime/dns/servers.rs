//! Whom to ask, in which order, and when the next one is asked beside: several servers within one deadline.
//! Not here: what is asked (`lookup`), how a connection is made (`connect`).
//! Source: ours. The order is the operator's; RFC 1035 section 7.2 (servers that do not answer).

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ProtocolConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer};
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::{DnsRequest, DnsRequestOptions, Message, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, Record, RecordType};
use hickory_resolver::{NameServerPool, PoolContext};
use tokio::time::{Instant, sleep};

use super::chain::{Dnssec, Validator};
use super::connect::{self, Connector};
use super::evidence::Evidence;
use super::{Failure, Lookups};
use crate::config::{Dns as Settings, DnsServer};
use crate::name::Fqdn;

/// How long a server that did not answer, or not as a server should, is asked after the others. Each time that it is tried again and is
/// still dead costs one lookup [`MAX_PAUSE`] at most.
const ILL_TIME: Duration = Duration::from_secs(10);

/// Upper bound of the wait for one server before the next is asked beside it. With `dns.timeout` 3s and two servers it is 750 ms.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Upper bound of questions under way over one TCP connection.
const MAX_OVER_ONE: usize = 512;

/// Upper bound in characters of what is told about a server's failure: a certificate may name a lot.
const MAX_WHY: usize = 200;

/// The servers of one worker.
pub struct Servers {
    servers: Vec<Server>,
    health: Arc<Health>,
    context: Arc<PoolContext>,
    validator: Option<Validator>,
    pause: Duration,
}

/// One server and the connections to it.
pub struct Server {
    label: Arc<str>,
    config: NameServerConfig,
    connector: Connector,
    pool: Mutex<NameServerPool<Connector>>,
}

/// What a server said.
#[derive(Debug)]
pub enum Reply {
    /// These records.
    Records {
        /// The answer's.
        records: Vec<Record>,
        /// Whether the last name of the chain exists, as far as the server knows.
        exists: bool,
        /// How far that can be relied on, if answers are validated.
        dnssec: Option<Dnssec>,
    },
    /// Nothing, for so many seconds (RFC 2308 section 5), if it said.
    Absent(Option<u32>, Option<Dnssec>),
}

/// Why the resolver could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ResolverError {
    /// resolv.conf(5) cannot be read.
    #[error("cannot use the system's name servers: {0}; give `dns.servers` in the configuration")]
    System(#[from] NetError),
    /// No certificate of a server asked over TLS could be trusted.
    #[error(
        "cannot ask a name server over TLS: this host trusts no certificate authority ({0}); install `ca-certificates`, or name a file of \
         certificates in SSL_CERT_FILE"
    )]
    NoRoots(String),
}

/// Which servers are asked after the others, by label. All workers share it.
#[derive(Default)]
pub struct Health(Mutex<HashMap<Arc<str>, Illness>>);

struct Illness {
    until: Instant,
    /// When it was told last: a server that fails for one name and answers for the next must not fill the log.
    told: Instant,
    /// Whether that it answers is worth telling.
    is_open: bool,
}

impl Health {
    /// Notes that a server is of no use at `now`. Whether that is to be told.
    fn fell_ill(&self, server: &Arc<str>, now: Instant) -> bool {
        let until = now + ILL_TIME;
        match self.ill().entry(Arc::clone(server)) {
            Entry::Vacant(place) => {
                place.insert(Illness { until, told: now, is_open: true });
                true
            }
            Entry::Occupied(mut illness) => {
                let illness = illness.get_mut();
                illness.until = until;
                let is_news = illness.told + ILL_TIME <= now;
                if is_news {
                    (illness.told, illness.is_open) = (now, true);
                }
                is_news
            }
        }
    }

    fn is_ill(&self, server: &Arc<str>, now: Instant) -> bool {
        self.ill().get(server).is_some_and(|illness| illness.until > now)
    }

    /// Notes that a server answers at `now`. Whether that is to be told.
    fn is_well(&self, server: &Arc<str>, now: Instant) -> bool {
        self.ill().get_mut(server).is_some_and(|illness| {
            illness.until = now;
            std::mem::take(&mut illness.is_open)
        })
    }

    fn ill(&self) -> MutexGuard<'_, HashMap<Arc<str>, Illness>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How one try ended, if not with a reply.
pub struct Trouble {
    failure: Failure,
    /// Whether it is the server's, not the name's.
    is_ill: bool,
    error: NetError,
}

impl Trouble {
    /// What it says is not signed as it must be. Of the name: it may be the zone that is broken, wherever one asks.
    pub fn bogus() -> Self {
        Self { failure: Failure::Bogus, is_ill: false, error: DnsError::DnssecBogus.into() }
    }

    /// It does not say what it takes to validate what it has said. One that was silent has not said anything.
    pub fn without_proof(self) -> Self {
        if self.failure == Failure::TimedOut { self } else { Self { failure: Failure::Bogus, ..self } }
    }
}

impl Servers {
    /// The configured servers, in their order, nothing connected yet.
    ///
    /// # Errors
    /// `system` is asked for and resolv.conf(5) cannot be read.
    pub fn new(settings: &Settings, lookups: &Lookups) -> Result<Self, ResolverError> {
        let mut options = ResolverOpts::default();
        // Half of the whole: a server whose connection was dead has time for another.
        options.timeout = settings.timeout / 2;
        options.num_concurrent_reqs = 1;
        options.max_active_requests = MAX_OVER_ONE;
        options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        options.case_randomization = true;
        let is_encrypted = |server: &DnsServer| matches!(server, DnsServer::Tls { .. } | DnsServer::Https { .. });
        let tls = connect::tls(settings.servers.iter().any(is_encrypted))?;
        let context = Arc::new(PoolContext::new(options, tls));
        let mut servers = Vec::new();
        for (label, config) in configs(&settings.servers)? {
            let connector = Connector::default();
            let pool = Mutex::new(pool(&config, &connector, &context));
            servers.push(Server { label: label.into(), config, connector, pool });
        }
        let shares = u32::try_from(servers.len()).unwrap_or(u32::MAX).saturating_mul(2).max(1);
        let validator = settings.validation.as_ref().map(|how| Validator::new(how, Arc::clone(lookups.cuts())));
        let pause = (settings.timeout / shares).min(MAX_PAUSE);
        Ok(Self { servers, health: Arc::clone(lookups.health()), context, validator, pause })
    }

    /// Asks one server after another until one says something. The next one is asked once the one before has failed, or beside it once
    /// that has had its time. One that was silent is asked a second time. The caller bounds the whole.
    pub async fn ask(&self, name: &Fqdn, kind: RecordType) -> Result<Reply, Failure> {
        // The final dot makes the name absolute: no search domain is ever tried.
        let name = Name::from_ascii(format!("{name}.")).map_err(|_| Failure::Failed)?;
        let mut waiting = self.in_order(Instant::now());
        let (mut tries, mut asked, mut again) = (FuturesUnordered::new(), Vec::new(), Vec::new());
        let mut failure = Failure::Failed;
        loop {
            if let Some(server) = waiting.pop_front() {
                asked.push(&server.label);
                let query = Query::query(name.clone(), kind);
                tries.push(async move { (server, server.ask(query, self.validator.as_ref()).await) });
            }
            tokio::select! {
                ended = tries.next() => match ended {
                    Some((server, Ok(reply))) => {
                        self.answered(server, &asked);
                        return Ok(reply);
                    }
                    Some((server, Err(trouble))) => {
                        asked.retain(|label| **label != server.label);
                        failure = failure.max(trouble.failure);
                        if trouble.failure == Failure::TimedOut && !again.contains(&&server.label) {
                            again.push(&server.label);
                            waiting.push_back(server);
                        }
                        if trouble.is_ill {
                            let why = server.connector.failure().unwrap_or_else(|| trouble.error.to_string());
                            self.fell_ill(server, &why);
                        }
                    }
                    None => return Err(failure),
                },
                () = sleep(self.pause), if !waiting.is_empty() => {}
            }
        }
    }

    /// The operator's order, but those that are ill come last.
    fn in_order(&self, now: Instant) -> VecDeque<&Server> {
        let (ill, well): (Vec<_>, Vec<_>) =
            self.servers.iter().partition(|server| self.health.is_ill(&server.label, now));
        well.into_iter().chain(ill).collect()
    }

    /// Whoever was asked before `server` and has not answered yet, had its time.
    fn answered(&self, server: &Server, asked: &[&Arc<str>]) {
        if self.health.is_well(&server.label, Instant::now()) {
            tracing::info!(server = &*server.label, "a name server answers again");
        }
        let overtaken = asked.iter().take_while(|label| ***label != server.label);
        for label in overtaken {
            if let Some(silent) = self.servers.iter().find(|other| other.label == **label) {
                self.fell_ill(silent, "no answer in time");
            }
        }
    }

    fn fell_ill(&self, server: &Server, why: &str) {
        // A connection over which nothing comes back any more must not be asked over again.
        server.renew(&self.context);
        if self.health.fell_ill(&server.label, Instant::now()) {
            let why: String = why.chars().flat_map(char::escape_debug).take(MAX_WHY).collect();
            tracing::warn!(server = &*server.label, why, "a name server fails and is asked last for 10 s");
        }
    }
}

impl Server {
    async fn ask(&self, query: Query, validator: Option<&Validator>) -> Result<Reply, Trouble> {
        let Some(validator) = validator else {
            return Ok(match self.send(query, false).await? {
                Ok(message) => {
                    let exists = message.metadata.response_code != ResponseCode::NXDomain;
                    Reply::Records { records: message.answers, exists, dnssec: None }
                }
                Err(none) => Reply::Absent(none.negative_ttl, None),
            });
        };
        let evidence = self.fetch(query).await?;
        let (evidence, dnssec) = validator.judge(self, evidence).await?;
        Ok(if evidence.answers.is_empty() {
            Reply::Absent(evidence.negative_ttl, Some(dnssec))
        } else {
            Reply::Records { records: evidence.answers, exists: true, dnssec: Some(dnssec) }
        })
    }

    /// What the server says, with signatures, not validated yet.
    pub async fn fetch(&self, query: Query) -> Result<Evidence, Trouble> {
        let answered = self.send(query.clone(), true).await?;
        Evidence::of(query, answered).map_err(|_| Trouble::bogus())
    }

    /// `signed`: with signatures, and as it is: whether they hold is not left to the server.
    async fn send(&self, query: Query, signed: bool) -> Result<Result<Message, NoRecords>, Trouble> {
        let mut options = DnsRequestOptions::default();
        options.case_randomization = true;
        options.edns_set_dnssec_ok = signed;
        let mut request = DnsRequest::from_query(query, options);
        request.metadata.checking_disabled = signed;
        let pool = self.pool().clone();
        let trouble = |failure, is_ill, error| Err(Trouble { failure, is_ill, error });
        match pool.send(request).first_answer().await {
            Ok(response) => Ok(Ok(response.into_message())),
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => Ok(Err(none)),
            // Of the name, not of the server: others may know more, but this one is well.
            Err(error @ NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail))) => {
                trouble(Failure::Failed, false, error)
            }
            Err(error @ NetError::Timeout) => trouble(Failure::TimedOut, true, error),
            Err(error) => trouble(Failure::Failed, true, error),
        }
    }

    fn renew(&self, context: &Arc<PoolContext>) {
        *self.pool() = pool(&self.config, &self.connector, context);
    }

    fn pool(&self) -> MutexGuard<'_, NameServerPool<Connector>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pool(config: &NameServerConfig, connector: &Connector, context: &Arc<PoolContext>) -> NameServerPool<Connector> {
    NameServerPool::from_config([config.clone()], Arc::clone(context), connector.clone())
}

fn configs(servers: &[DnsServer]) -> Result<Vec<(String, NameServerConfig)>, ResolverError> {
    let mut configs = Vec::new();
    for server in servers {
        let (label, address, protocols) = match server {
            DnsServer::System => {
                configs.extend(system()?.into_iter().map(|config| (format!("system {}", config.ip), config)));
                continue;
            }
            DnsServer::Udp(address) => {
                (format!("udp://{address}"), address, vec![ProtocolConfig::Udp, ProtocolConfig::Tcp])
            }
            DnsServer::Tcp(address) => (format!("tcp://{address}"), address, vec![ProtocolConfig::Tcp]),
            DnsServer::Tls { name, address } => (
                format!("tls://{name}@{address}"),
                address,
                vec![ProtocolConfig::Tls { server_name: name.as_str().into() }],
            ),
            DnsServer::Https { name, address, path } => {
                let over = ProtocolConfig::Https { server_name: name.as_str().into(), path: Arc::clone(path) };
                (format!("https://{name}@{address}{path}"), address, vec![over])
            }
        };
        configs.push((label, name_server(*address, &protocols)));
    }
    Ok(configs)
}

/// resolv.conf(5)'s servers alone: its search list would turn one name into another.
fn system() -> Result<Vec<NameServerConfig>, ResolverError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_ill_comes_last_and_first_again_in_time() {
        let mut settings = crate::runtime::dns::settings();
        settings.servers = (1..=3).map(|last| DnsServer::Udp(SocketAddr::from(([192, 0, 2, last], 53)))).collect();
        let servers = Servers::new(&settings, &Lookups::new(&settings)).unwrap();
        let (health, now) = (&servers.health, Instant::now());
        let order =
            |at| servers.in_order(at).into_iter().map(|server| server.config.ip.to_string()).collect::<Vec<_>>();
        let [one, two, three] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
        let label = |number: usize| &servers.servers[number].label;
        assert_eq!(order(now), [one, two, three]);
        assert!(health.fell_ill(label(0), now) && !health.fell_ill(label(0), now), "told once");
        assert_eq!(order(now), [two, three, one]);
        assert!(health.fell_ill(label(1), now + Duration::from_secs(5)));
        assert_eq!(order(now + Duration::from_secs(5)), [three, one, two]);
        assert_eq!(order(now + ILL_TIME), [one, three, two]);
        let later = now + Duration::from_secs(6);
        assert!(health.is_well(label(1), later) && !health.is_well(label(1), later), "told once");
        assert_eq!(order(later), [two, three, one]);
        // In and out: told once in 10 s, and that it is well only if that it was ill was told.
        assert!(!health.fell_ill(label(1), later) && !health.is_well(label(1), later));
        let at = later + ILL_TIME;
        assert!(health.fell_ill(label(1), at) && health.is_well(label(1), at));
        for number in 0..3 {
            health.fell_ill(label(number), at);
        }
        assert_eq!(order(at), [one, two, three], "all of them");
    }
}
