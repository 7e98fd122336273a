//! Looks names up: static hosts, then what the process remembers, then the servers; one lookup a name at a time.
//! Not here: whether an address may be used (`policy::addresses`), nor whether a name may be asked for: the policy has said so before.
//! Source: RFC 1034 section 3.6; RFC 2308, RFC 8767 and RFC 9520 at `store`.

mod chain;
mod connect;
mod cuts;
mod denial;
mod evidence;
mod flights;
mod lookup;
mod proof;
mod servers;
mod store;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::config::Dns as Settings;
use crate::name::Fqdn;
use crate::policy::{Admitted, Reason};
pub use chain::Dnssec;
pub use flights::Lookups;
use flights::{Begun, Flight};
pub use servers::ResolverError;
use servers::Servers;

/// What a name resolved to. All of it is judged before any of it is used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Every address of the A and AAAA answers, as given. None, if the policy denies one of the aliases: behind that nothing was asked.
    pub addresses: Vec<IpAddr>,
    /// Every name that the chain of CNAME records led to.
    pub aliases: Vec<Fqdn>,
    /// How far all of it can be relied on; `None`: nothing was validated.
    pub dnssec: Option<Dnssec>,
}

impl Answer {
    /// Addresses that are known without a lookup.
    pub fn of(addresses: &[IpAddr]) -> Self {
        Self { addresses: addresses.to_vec(), ..Self::default() }
    }
}

/// Why there is no answer; of several the last one here is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// The servers say that there is none: no such name, or no address of it.
    Absent,
    /// They refuse, fail, or say what cannot be used.
    Failed,
    /// Not in time; or so many lookups wait for them already that one more is not begun.
    TimedOut,
    /// What they say is not signed as it must be, or cannot be validated.
    Bogus,
}

impl Failure {
    /// The reason that a request is refused for.
    pub fn reason(self) -> Reason {
        match self {
            Self::Absent | Self::Failed => Reason::DnsFailure,
            Self::TimedOut => Reason::DnsTimeout,
            Self::Bogus => Reason::DnssecBogus,
        }
    }
}

/// What a lookup ends with, for all who wait for it.
type Outcome = Result<Arc<Answer>, Failure>;

/// How a lookup ended, for `sallyport_dns_lookups_total{result}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupResult {
    /// From `dns.hosts`.
    Hosts,
    /// From the store, whatever it was.
    Stored,
    /// From a server.
    Answered,
    /// From the store, over, because the servers fail.
    Stale,
    /// No answer that can be used.
    Failed,
    /// No answer in time.
    TimedOut,
    /// An answer that does not validate.
    Bogus,
}

impl LookupResult {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Hosts, Self::Stored, Self::Answered, Self::Stale, Self::Failed, Self::TimedOut, Self::Bogus];

    /// The metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hosts => "hosts",
            Self::Stored => "stored",
            Self::Answered => "answered",
            Self::Stale => "stale",
            Self::Failed => "failed",
            Self::TimedOut => "timeout",
            Self::Bogus => "bogus",
        }
    }

    fn of(outcome: &Outcome) -> Self {
        match outcome {
            Ok(_) => Self::Answered,
            Err(Failure::Absent | Failure::Failed) => Self::Failed,
            Err(Failure::TimedOut) => Self::TimedOut,
            Err(Failure::Bogus) => Self::Bogus,
        }
    }
}

/// The lookups of one worker: its own connections to the servers, and the process's store.
pub struct Names {
    hosts: BTreeMap<Fqdn, Vec<IpAddr>>,
    servers: Arc<Servers>,
    lookups: Arc<Lookups>,
    timeout: Duration,
}

impl Names {
    /// Servers of its own, beside what all share. Must be called inside the worker's runtime.
    ///
    /// # Errors
    /// `system` is asked for and resolv.conf(5) cannot be read.
    pub fn new(settings: &Settings, lookups: &Arc<Lookups>) -> Result<Self, ResolverError> {
        Ok(Self {
            hosts: settings.hosts.clone(),
            servers: Arc::new(Servers::new(settings, lookups)?),
            lookups: Arc::clone(lookups),
            timeout: settings.timeout,
        })
    }

    /// Every address of the name that was admitted. The whole step is bounded by `dns.timeout`. A literal address has none to look up.
    pub async fn lookup(&self, admitted: &Admitted) -> (Outcome, LookupResult) {
        let Some(name) = admitted.lookup() else { return (Err(Failure::Absent), LookupResult::Failed) };
        if let Some(addresses) = self.hosts.get(name) {
            return (Ok(Arc::new(Answer::of(addresses))), LookupResult::Hosts);
        }
        let late = (Err(Failure::TimedOut), LookupResult::TimedOut);
        let (outcome, result) = timeout(self.timeout, self.shared(name, admitted)).await.unwrap_or(late);
        match outcome {
            Err(Failure::Failed | Failure::TimedOut) if admitted.is_listed_exactly() => {
                let stale = self.lookups.stale(name, Instant::now());
                stale.map_or((outcome, result), |answer| (Ok(answer), LookupResult::Stale))
            }
            Ok(_) | Err(_) => (outcome, result),
        }
    }

    /// What is remembered, or what the one lookup of this name ends with, whoever began it.
    async fn shared(&self, name: &Fqdn, admitted: &Admitted) -> (Outcome, LookupResult) {
        loop {
            let is_listed = || admitted.is_listed_exactly();
            let landing = match self.lookups.begin(name, &admitted.source().name, is_listed, Instant::now()) {
                Begun::Known(outcome) => return (outcome, LookupResult::Stored),
                Begun::Crowded => return (Err(Failure::TimedOut), LookupResult::TimedOut),
                Begun::UnderWay(landing) => landing,
                Begun::First(flight, landing) => {
                    // A task of its own: it goes on for the others when the client that began it has gone.
                    tokio::spawn(fly(flight, Arc::clone(&self.servers), admitted.clone(), self.timeout));
                    landing
                }
            };
            // A worker that ends takes its lookups with it: then somebody else begins anew.
            if let Some(outcome) = landing.outcome().await {
                let result = LookupResult::of(&outcome);
                return (outcome, result);
            }
        }
    }
}

/// One lookup from its question to the store.
async fn fly(flight: Flight, servers: Arc<Servers>, admitted: Admitted, most: Duration) {
    let looked_up = timeout(most, lookup::lookup(&servers, flight.name(), &admitted)).await;
    flight.land(looked_up.unwrap_or_else(|_| store::Said::failed(Failure::TimedOut)), Instant::now());
}

/// One lookup outside any worker, as a worker would do it: for `explain --resolve`.
///
/// # Errors
/// `dns_failure`, `dns_timeout`; a resolver that cannot be made counts as a failure.
pub fn lookup_once(settings: &Settings, admitted: &Admitted) -> Result<Arc<Answer>, Reason> {
    let failed = |_| Failure::Failed.reason();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let lookups = Arc::new(Lookups::new(settings));
        let names = Names::new(settings, &lookups).map_err(|_| Failure::Failed.reason())?;
        names.lookup(admitted).await.0.map_err(Failure::reason)
    })
}

#[cfg(test)]
fn settings() -> Settings {
    let seconds = Duration::from_secs;
    Settings {
        servers: Vec::new(),
        hosts: BTreeMap::new(),
        timeout: seconds(3),
        min_ttl: seconds(5),
        max_ttl: seconds(3600),
        serve_stale: seconds(300),
        validation: None,
    }
}
