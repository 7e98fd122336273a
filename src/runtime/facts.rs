//! What a request has shown of itself so far: filled along the straight line, written once as a decision and once as a close.
//! Not here: deciding (`policy`), committing (`journal`). Every text from the client passes `redact` here.
//! Source: PCI DSS 10.2.2 (who, what, when, where, outcome).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::address;
use crate::decision_log::{Detail, Entry, Kind, Record, Value};
use crate::name::{Fqdn, Host, Identity, Target};
use crate::policy::{Admitted, Allowed, Decided, Denial, Ending, Identified, Origin, Reason, Rule, Source};
use crate::redact::{Cleaned, Redacted, Redactor};
use crate::runtime::client_auth::CertificateFault;
use crate::runtime::clock;
use crate::runtime::dial::Dialled;
use crate::runtime::dns::{Answer, LookupResult};
use crate::runtime::head_reader::Head;
use crate::runtime::journal::Unavailable;
use crate::runtime::metrics::{Metrics, SetupStep};
use crate::runtime::proxy_header::ProxyHeader;
use crate::runtime::shared::Shared;
use crate::runtime::tally::InForce;
use crate::runtime::tunnel::OpenTunnel;
use crate::tls::{ClientHello, ServerName};

/// Upper bound in bytes of a host in a record: no host name is longer.
const MAX_HOST: usize = 253;

/// Upper bound in bytes of a client's identity in a record; a SPIFFE ID may have 2048.
const MAX_IDENTITY: usize = 2048;

/// Upper bound in bytes of a method in a record.
const MAX_METHOD: usize = 32;

/// Upper bound in bytes of one ALPN id in a record; the wire allows 255.
const MAX_ALPN: usize = 64;

/// Upper bound of ALPN ids in a record: clients offer two or three.
const MAX_ALPN_IDS: usize = 16;

/// Where a connection came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// An address.
    Address(SocketAddr),
    /// A user of this host.
    User(u32),
}

/// How a connection came in, as far as every request on it has that in common.
#[derive(Clone, Copy)]
pub struct Came {
    peer: Peer,
    through: Option<ProxyHeader>,
    at: Instant,
}

impl Came {
    /// A connection of `peer`, just accepted.
    pub fn new(peer: Peer) -> Self {
        Self { peer, through: None, at: Instant::now() }
    }

    /// Who connected.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// When it connected.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// Notes whom the peer named as its client.
    pub fn through(&mut self, header: ProxyHeader) {
        self.through = Some(header);
    }

    /// The same connection, another request, now.
    pub fn again(&self) -> Self {
        Self { at: Instant::now(), ..*self }
    }

    /// Where the client comes from, for the policy.
    pub fn origin(&self) -> Origin {
        match (self.peer, self.client()) {
            (Peer::User(user), _) => Origin::User(user),
            (Peer::Address(_), Some(client)) => Origin::Address(address::canonical(client.ip())),
            (Peer::Address(_), None) => Origin::Unknown,
        }
    }

    /// The client's address: its own, or what the peer says of it.
    fn client(&self) -> Option<SocketAddr> {
        match (self.peer, self.through) {
            (_, Some(header)) => header.client,
            (Peer::Address(peer), None) => Some(peer),
            (Peer::User(_), None) => None,
        }
    }
}

/// Everything known of one request.
pub struct Facts {
    record: Box<Record>,
    redactor: Arc<Redactor>,
    /// What the decision is counted by, until it is: a tunnel must not keep an old policy.
    counted_by: Option<(Arc<InForce>, Option<Arc<Rule>>)>,
    /// Whether there is a permit for it.
    permitted: bool,
    last: Instant,
    started: Instant,
}

impl Facts {
    /// A request has come in.
    pub fn begin(shared: &Shared, listener: &Arc<str>, came: Came) -> Self {
        let mut record = Record::new(Kind::Decision, clock::now(), clock::new_id(), Arc::clone(shared.instance()));
        record.environment = shared.environment().cloned();
        record.listener = Some(Arc::clone(listener));
        record.client_ip = came.client().map(|client| client.ip().to_canonical());
        record.client_port = came.client().map(|client| client.port());
        let redactor = shared.redactor();
        match came.peer {
            Peer::Address(peer) => record.peer_ip = came.through.map(|_| peer.ip().to_canonical()),
            Peer::User(user) => {
                record.client_identity = Some(redactor.clean(format!("user:{user}").as_bytes(), MAX_IDENTITY).text)
            }
        }
        Self {
            record: Box::new(record),
            redactor: Arc::clone(redactor),
            counted_by: None,
            permitted: false,
            last: came.at,
            started: came.at,
        }
    }

    /// The client has proved to be one of these; the first stands in the record until a source asks for another one.
    pub fn proved(&mut self, identities: &[Identity]) {
        identities.first().into_iter().for_each(|identity| self.identity(identity));
    }

    fn identity(&mut self, identity: &Identity) {
        let cleaned = self.redactor.clean(identity.to_string().as_bytes(), MAX_IDENTITY);
        self.record.client_identity = Some(self.marked("client_identity", cleaned));
    }

    /// What a captured client wants, before anybody has judged that: the name in its hello, or else the address that it called.
    pub fn wanted(&mut self, original: SocketAddr, hello: &ClientHello) {
        let name = hello.server_name.as_ref().and_then(ServerName::name);
        let host = name.map_or_else(|| original.ip().to_canonical().to_string(), ToString::to_string);
        self.host(&host);
    }

    /// What is wrong with the client's certificate.
    pub fn certificate(&mut self, fault: CertificateFault) {
        self.record.detail = Detail::new().with("certificate", fault.as_str());
    }

    /// The error by which an HTTP/2 connection ends.
    pub fn http2_error(&mut self, word: Arc<str>) {
        self.record.detail = Detail::new().with("http2", Value::Name(word));
    }

    /// The source, if of those that it may be there is but one.
    pub fn may_be<'a>(&mut self, mut sources: impl Iterator<Item = &'a Arc<Source>>) {
        if let (Some(source), None) = (sources.next(), sources.next()) {
            self.record.source = Some(Arc::clone(&source.name));
        }
    }

    /// The kernel brought it, on its way to `original`.
    pub fn captured(&mut self, original: SocketAddr) {
        self.record.original_ip = Some(original.ip().to_canonical());
        self.record.port = Some(original.port());
    }

    /// The id that the client gets as `decision_id`.
    pub fn id(&self) -> Uuid {
        self.record.id
    }

    /// Ends one step of setting up and gives its duration.
    pub fn step(&mut self, metrics: &Metrics, step: SetupStep) -> Duration {
        let now = Instant::now();
        let took = now.saturating_duration_since(self.last);
        self.last = now;
        metrics.setup(step).observe(took.as_secs_f64());
        took
    }

    /// The policy that judges this request: the one in force when its head was complete.
    pub fn judged_by(&mut self, in_force: &Arc<InForce>) {
        self.record.policy = Some(Arc::clone(in_force.policy.hash()));
        self.counted_by = Some((Arc::clone(in_force), None));
    }

    /// What the head says. Of a target that does not parse only the host part is written, cleaned and bounded.
    pub fn read(&mut self, head: &Head) {
        let method = self.redactor.clean(head.method.as_str().as_bytes(), MAX_METHOD);
        self.record.method = Some(self.marked("method", method));
        let (host, port) = match (head.target.parse::<Target>(), &head.absolute) {
            (Ok(target), _) => (target.host().to_string(), Some(target.port())),
            (Err(_), Some((host, port))) => (host.clone(), *port),
            (Err(_), None) if head.request().is_connect() => (host_part(&head.target).to_owned(), None),
            // The path of an origin-form request: never written.
            (Err(_), None) => return,
        };
        if !host.is_empty() {
            self.host(&host);
        }
        self.record.port = port;
    }

    fn host(&mut self, host: &str) {
        let host = self.redactor.clean_name(host.as_bytes(), MAX_HOST);
        self.record.host = Some(self.marked("host", host));
    }

    /// The client's source is known.
    pub fn identified(&mut self, identified: &Identified) {
        identified.matched().into_iter().for_each(|identity| self.identity(identity));
        self.record.source = Some(Arc::clone(&identified.source().name));
    }

    /// A rule was chosen.
    pub fn admitted(&mut self, admitted: &Admitted) {
        admitted.chosen().into_iter().for_each(|rule| self.chosen(rule));
        if let Host::Address(address) = admitted.target().host() {
            self.record.addresses = vec![*address];
            // Where rules on networks let a captured request through, its name is not where it goes.
            if self.record.original_ip.is_some() {
                self.host(&admitted.target().host().to_string());
            }
        }
    }

    /// The name was looked up. Aliases come from outside, so they pass redaction.
    pub fn resolved(&mut self, answer: &Answer, result: LookupResult, took: Duration) {
        self.record.addresses.clone_from(&answer.addresses);
        self.record.dns_us = Some(micros(took));
        let mut detail = Detail::new();
        if result == LookupResult::Stale {
            detail = detail.with("dns", "stale");
        }
        if let Some(dnssec) = answer.dnssec {
            detail = detail.with("dnssec", dnssec.as_str());
        }
        if !answer.aliases.is_empty() {
            let clean = |alias: &Fqdn| self.redactor.clean_name(alias.as_str().as_bytes(), MAX_HOST);
            let cleaned: Vec<Cleaned> = answer.aliases.iter().map(clean).collect();
            let aliases = cleaned.into_iter().map(|alias| self.marked("aliases", alias).into()).collect::<Vec<Value>>();
            detail = detail.with("aliases", aliases);
        }
        self.record.detail = detail;
    }

    /// The upstream is connected.
    pub fn dialled(&mut self, dialled: &Dialled, pool: Option<&Arc<str>>, took: Duration) {
        self.record.upstream_ip = Some(dialled.upstream);
        self.record.egress_ip = Some(dialled.local);
        self.record.egress_pool = pool.cloned();
        self.record.dial_us = Some(micros(took));
    }

    /// The ClientHello is whole.
    pub fn heard(&mut self, hello: &ClientHello, took: Duration) {
        self.record.hello_us = Some(micros(took));
        self.record.ech = Some(hello.ech);
        if let Some(name) = &hello.server_name {
            let name = self.redactor.clean_name(name.raw(), MAX_HOST);
            self.record.sni = Some(self.marked("sni", name));
        }
        let ids = hello.alpn.iter().take(MAX_ALPN_IDS);
        self.record.alpn = ids.map(|id| self.marked("alpn", self.redactor.clean(id, MAX_ALPN))).collect();
    }

    /// The decision that lets the request through.
    pub fn allow(&mut self, allowed: &Allowed) -> Entry {
        self.decide(allowed.decided())
    }

    /// The client's source, if it is known.
    pub fn source(&self) -> Option<&Arc<str>> {
        self.record.source.as_ref()
    }

    /// The rule and the emergency block by which it is refused, if there are.
    pub fn refused(&mut self, denial: &Denial) {
        denial.rule().into_iter().for_each(|rule| self.chosen(rule));
        denial.block().into_iter().for_each(|block| self.record.detail.add("block", block.id));
    }

    /// The decision that refuses it.
    pub fn deny(&mut self, denial: &Denial) -> Entry {
        self.refused(denial);
        self.record.duration_us = Some(micros(self.started.elapsed()));
        self.decide(denial.reason().into())
    }

    /// What is written when the decision could not be, and so nothing is forwarded: a refusal; or, where the decision may still come
    /// to the log, an end without a byte.
    pub fn uncommitted(&mut self, error: Unavailable, allowed: &Allowed) -> Entry {
        match error {
            Unavailable::Late => {
                let record = self.ended(Ending::Reset);
                (record.bytes_out, record.bytes_in) = (Some(0), Some(0));
                record.line()
            }
            Unavailable::Ill | Unavailable::Full | Unavailable::Closed | Unavailable::NoPermit => {
                self.deny(&allowed.deny(Reason::DecisionLogUnavailable))
            }
        }
    }

    /// Counts what was decided.
    pub fn count(&mut self, shared: &Shared, decided: Decided) {
        let metrics = shared.metrics();
        let (in_force, rule) = self.counted_by.take().unwrap_or_else(|| (shared.in_force(), None));
        let listener = self.record.listener.as_deref().unwrap_or_default();
        in_force.count(metrics, (listener, rule.as_deref()), decided);
        for mark in &self.record.redacted {
            metrics.redactions(mark.detector).inc();
        }
    }

    /// The end of a tunnel that was let through.
    pub fn close(&mut self, ending: Ending, tunnel: &OpenTunnel) -> Entry {
        let chosen = tunnel.standing().server();
        let record = self.ended(ending);
        record.duration_us = Some(micros(tunnel.opened().elapsed()));
        record.tls_version = chosen.map(|hello| hello.version.as_str());
        record.tls_cipher = chosen.map(|hello| hello.cipher.to_string().into());
        record.bytes_out = Some(tunnel.bytes_out().get());
        record.bytes_in = Some(tunnel.bytes_in().get());
        record.line()
    }

    /// The decision has its permit: from now on the request has an end of its own.
    pub fn permitted(&mut self) {
        self.permitted = true;
        // It stands in the decision; the tunnel need not hold it.
        self.record.detail = Detail::new();
    }

    /// What a fault of the program leaves on record: the end of a tunnel that was let through, or else `denial`, which counts.
    pub fn fault(&mut self, shared: &Shared, denial: &Denial) -> Entry {
        if self.permitted {
            return self.ended(Ending::Reset).line();
        }
        self.count(shared, denial.reason().into());
        self.deny(denial)
    }

    fn chosen(&mut self, rule: &Arc<Rule>) {
        if let Some((_, chosen)) = &mut self.counted_by {
            *chosen = Some(Arc::clone(rule));
        }
        self.record.rule = Some(Arc::clone(&rule.id));
        self.record.customer = Some(Arc::clone(&rule.customer));
    }

    fn decide(&mut self, Decided { outcome, reason }: Decided) -> Entry {
        let record = &mut self.record;
        record.time = clock::now();
        record.outcome = Some(outcome);
        record.reason = Some(reason.as_str());
        record.line()
    }

    /// The record turned into that of the tunnel's end, now.
    fn ended(&mut self, ending: Ending) -> &mut Record {
        self.record.kind = Kind::Close;
        self.record.time = clock::now();
        self.record.reason = Some(ending.as_str());
        &mut self.record
    }

    fn marked(&mut self, field: &'static str, cleaned: Cleaned) -> Redacted {
        self.record.mark(field, cleaned.found);
        cleaned.text
    }
}

/// Of a target that is no `host:port`, what may be written: no user, password, path, query or fragment. Where an `@` comes behind
/// what would end the host, nothing: that host may be a password with such a character in it.
fn host_part(target: &str) -> &str {
    let (authority, rest) = target.split_at(target.find(['/', '?', '#', '\\']).unwrap_or(target.len()));
    if rest.contains('@') { "" } else { authority.rsplit('@').next().unwrap_or_default() }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
