//! One request asked of a policy without a connection: all stages in the order of `runtime::session`.
//! Not here: the lookup, which the caller brings; limits, which depend on what else is going on; what the server would choose.
//! Source: the contract's `explain` and cases.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use jiff::Timestamp;

use super::addresses::{Answer, OwnAddresses};
use super::client::Client;
use super::compile::Policy;
use super::decision::{Decided, Denial};
use super::head::RequestHead;
use super::nearest::Nearest;
use super::reason::Reason;
use super::request::{Admitted, Identified};
use super::rule::{Rule, Source};
use crate::name::{Fqdn, Host, Target};
use crate::tls::{ClientHello, ProtocolVersion, ServerName};

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The client.
    pub client: &'a Client,
    /// Where it wants to go.
    pub wanted: &'a Wanted,
    /// What the client would offer in TLS.
    pub offer: &'a Offer,
    /// When.
    pub at: Timestamp,
    /// The proxy's own addresses.
    pub own: &'a OwnAddresses,
}

/// How a client says where it wants to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// By a head.
    Asked {
        /// The method; its case counts.
        method: Box<str>,
        /// The request target as sent.
        target: Box<str>,
    },
    /// By calling an address: the kernel captured its connection.
    Called(SocketAddr),
}

impl Wanted {
    /// By CONNECT.
    pub fn connect(target: &str) -> Self {
        Self::Asked { method: "CONNECT".into(), target: target.into() }
    }
}

/// What a client would offer in TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The best version.
    pub version: ProtocolVersion,
    /// The server's name.
    pub name: OfferedName,
    /// The application protocols.
    pub alpn: Box<[Box<str>]>,
}

/// The name in a hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfferedName {
    /// The target's, if that has one; of a client that called an address, none.
    Target,
    /// None.
    Absent,
    /// This text, whether it is a name or not.
    Text(Box<str>),
}

/// What a lookup found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lookup {
    /// The addresses.
    pub addresses: Vec<IpAddr>,
    /// Every name that the answer went through.
    pub aliases: Vec<Fqdn>,
}

/// Looks up the name of a request that was admitted; `None` leaves the addresses unjudged.
pub type Resolve<'a> = dyn FnMut(&Admitted, &Fqdn) -> Result<Option<Lookup>, Reason> + 'a;

/// What came out, and how far the request got: what is `None` was not reached.
#[derive(Debug)]
pub struct Ruling {
    /// The refusal; none: allowed, or observed.
    pub denial: Option<Denial>,
    /// What would have refused it but for report mode.
    pub observed: Option<Denial>,
    /// The sources that the client could be of, before its identities were looked at.
    pub candidates: Vec<Arc<Source>>,
    /// The client's source.
    pub identified: Option<Identified>,
    /// The target that was read.
    pub target: Option<Target>,
    /// The rule that was chosen.
    pub rule: Option<Arc<Rule>>,
    /// The addresses that passed.
    pub addresses: Option<Judged>,
    /// The hello that passed.
    pub hello: Option<ClientHello>,
}

/// What was found out about addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// Nobody knows them.
    Unknown,
    /// All of these may be dialled.
    Good(Box<[IpAddr]>),
}

impl Question<'_> {
    /// Asks `policy`; `resolve` is called once the request itself is allowed, and for names alone.
    pub fn ask(&self, policy: &Arc<Policy>, resolve: &mut Resolve<'_>) -> Ruling {
        let mut ruling = Ruling {
            denial: None,
            observed: None,
            candidates: policy.candidates(self.client.origin).map(Arc::clone).collect(),
            identified: None,
            target: None,
            rule: None,
            addresses: None,
            hello: None,
        };
        ruling.denial = self.judge(policy, resolve, &mut ruling).err();
        ruling
    }

    fn judge(&self, policy: &Arc<Policy>, resolve: &mut Resolve<'_>, ruling: &mut Ruling) -> Result<(), Denial> {
        let identified = policy.identify(self.client)?;
        ruling.identified = Some(identified.clone());
        let (hello, admitted) = match *self.wanted {
            Wanted::Asked { ref method, ref target } => {
                let target = RequestHead { method, target, hosts: 1, has_body: false, is_extended: false }.target()?;
                let hello = self.offer.hello(target.host());
                (hello, identified.request(ruling.target.insert(target), self.at))
            }
            Wanted::Called(original) => {
                let hello = self.offer.hello(&Host::Address(original.ip()));
                let name = hello.server_name.as_ref().and_then(ServerName::name);
                let host = name.map_or(Host::Address(original.ip()), |name| Host::Name(name.clone()));
                ruling.target = Target::new(host, original.port());
                let admitted = identified.captured(original, &hello, self.own, self.at);
                (hello, admitted)
            }
        };
        let admitted = admitted.inspect_err(|denial| ruling.rule = denial.rule().cloned())?;
        ruling.target = Some(admitted.target().clone());
        ruling.rule = admitted.chosen().cloned();
        ruling.observed = admitted.observed().cloned();
        match lookup(&admitted, resolve)? {
            Some(Lookup { addresses, aliases }) => {
                let routed = admitted.addresses(&Answer { addresses: &addresses, cnames: &aliases }, self.own)?;
                ruling.addresses = Some(Judged::Good(routed.addresses().into()));
                routed.hello(&hello)?;
            }
            None => {
                ruling.addresses = Some(Judged::Unknown);
                admitted.judge_hello(&hello)?;
            }
        }
        ruling.hello = Some(hello);
        Ok(())
    }
}

/// A literal address needs no lookup: the next stage judges the literal itself.
fn lookup(admitted: &Admitted, resolve: &mut Resolve<'_>) -> Result<Option<Lookup>, Denial> {
    match admitted.lookup() {
        Some(name) => resolve(admitted, name).map_err(|reason| admitted.deny(reason)),
        None => Ok(Some(Lookup::default())),
    }
}

impl Offer {
    fn hello(&self, host: &Host) -> ClientHello {
        let server_name = match (&self.name, host) {
            (OfferedName::Absent, Host::Name(_) | Host::Address(_)) | (OfferedName::Target, Host::Address(_)) => None,
            (OfferedName::Target, Host::Name(name)) => Some(ServerName::Name(name.clone())),
            (OfferedName::Text(text), Host::Name(_) | Host::Address(_)) => Some(match text.parse() {
                Ok(name) => ServerName::Name(name),
                Err(_) => ServerName::Unusable { raw: text.as_bytes().into() },
            }),
        };
        ClientHello {
            server_name,
            max_version: self.version,
            alpn: self.alpn.iter().map(|id| id.as_bytes().into()).collect(),
            ech: false,
            esni: false,
            early_data: false,
        }
    }
}

impl Ruling {
    /// Outcome and reason in a word each.
    pub fn decided(&self) -> Decided {
        match (&self.denial, &self.observed) {
            (Some(denial), _) => denial.reason().into(),
            (None, Some(observed)) => Decided::observed(observed.reason()),
            (None, None) => Decided::ALLOWED,
        }
    }

    /// For a request that could be read and that no rule lets through: the rule that comes nearest. May look at every name of the policy.
    pub fn nearest(&self) -> Option<Nearest> {
        let denial = self.denial.as_ref().or(self.observed.as_ref());
        self.identified.as_ref()?.nearest(self.target.as_ref()?, denial?)
    }
}
