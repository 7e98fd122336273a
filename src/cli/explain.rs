//! `sallyport explain`: the decision for one request, by the same stages as `run`, step by step.
//! Not here: limits, which depend on what else is going on and stay unjudged.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::{Failure, Output, environment};
use crate::config::Config;
use crate::name::{Host, Target};
use crate::policy::{Admitted, Answer, Denial, Identified, OwnAddresses, Policy, Reason, RequestHead, Rule};
use crate::runtime::{clock, dns, egress::Pools, load, sys};
use crate::tls::{ClientHello, ProtocolVersion, ServerName};

#[derive(Args)]
pub(super) struct ExplainArgs {
    /// The client's address
    #[arg(long, value_name = "IP")]
    source: IpAddr,
    /// What the client asks for
    #[arg(long, value_name = "HOST:PORT")]
    target: String,
    /// The name in the TLS hello; by default the target's
    #[arg(long, value_name = "NAME", conflicts_with = "no_sni")]
    sni: Option<String>,
    /// No name in the TLS hello
    #[arg(long)]
    no_sni: bool,
    /// What the target's name resolves to; by default what `dns.hosts` says
    #[arg(long = "address", value_name = "IP")]
    addresses: Vec<IpAddr>,
    /// The identity in the client's certificate
    #[arg(long, value_name = "URI")]
    identity: Option<String>,
    /// The listener that the client comes to
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// The best TLS version that the client offers
    #[arg(long, value_name = "VERSION", default_value = "1.3")]
    tls: String,
    /// An application protocol that the client offers
    #[arg(long = "alpn", value_name = "ID")]
    alpn: Vec<String>,
    /// The HTTP method
    #[arg(long, value_name = "METHOD", default_value = "CONNECT")]
    method: String,
    /// When, as RFC 3339; by default now
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Look the name up as `run` would
    #[arg(long)]
    resolve: bool,
}

/// The decision and how it came about.
#[derive(Default, Serialize)]
struct Explained {
    outcome: &'static str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nearest: Option<Near>,
    steps: Vec<Step>,
}

#[derive(Serialize)]
struct Near {
    rule: Arc<str>,
    differs: String,
}

#[derive(Serialize)]
struct Step {
    stage: &'static str,
    finding: String,
}

/// The request as the stages take it.
struct Request<'a> {
    args: &'a ExplainArgs,
    hello: Hello,
    own: OwnAddresses,
    config: &'a Config,
}

/// The hello that is asked about; its name may be that of the target.
struct Hello {
    version: ProtocolVersion,
    sni: Option<String>,
}

pub(super) fn explain(config: &Path, args: &ExplainArgs, output: Output) -> Result<(), Failure> {
    let loaded = load::load(config, &environment)?;
    let usage = |words: String| Err(Failure::Usage(anyhow::anyhow!(words)));
    if args.identity.is_some() {
        return usage("`--identity` is not available in this version".to_owned());
    }
    if let Some(name) = &args.listener
        && !loaded.config.listeners.iter().any(|listener| *listener.name == **name)
    {
        return usage(format!("no listener `{}`; write one of the configuration's", name.escape_debug()));
    }
    let Some(version) = version(&args.tls) else {
        return usage(format!("no TLS version `{}`; write 1.0, 1.1, 1.2 or 1.3", args.tls.escape_debug()));
    };
    let request = Request {
        args,
        hello: Hello { version, sni: args.sni.clone() },
        own: own_addresses(&loaded.config).map_err(|error| Failure::Outside(error.into()))?,
        config: &loaded.config,
    };
    let mut explained = Explained::default();
    let decided = request.decide(&Arc::new(loaded.policy), &mut explained);
    let reason = decided.as_ref().err().map_or(Reason::Allowed, Denial::reason);
    explained.outcome = reason.outcome().as_str();
    explained.reason = reason.as_str();
    explained.step("decision", format!("{}: {}; {}", explained.outcome, reason, reason.facts().title));
    output.print(&explained, Explained::text)?;
    if decided.is_ok() { Ok(()) } else { Err(Failure::No) }
}

impl Request<'_> {
    /// The stages in the order of `runtime::session`.
    fn decide(&self, policy: &Arc<Policy>, explained: &mut Explained) -> Result<(), Denial> {
        let head = RequestHead { method: &self.args.method, target: &self.args.target, hosts: 1, has_body: false };
        let identified = policy.identify(self.args.source)?;
        explained.source = Some(Arc::clone(&identified.source().name));
        explained.step("source", format!("{} is of `{}`", self.args.source, identified.source().name));
        let target = head.target()?;
        explained.step("target", target.to_string());
        let judged = self.judge(&identified, &target, explained);
        if let Err(denial) = &judged {
            explained.nearest = identified
                .nearest(&target, denial)
                .map(|nearest| Near { rule: Arc::clone(&nearest.rule.id), differs: nearest.differs });
        }
        judged
    }

    fn judge(&self, identified: &Identified, target: &Target, explained: &mut Explained) -> Result<(), Denial> {
        let at = self.args.at.unwrap_or_else(clock::now);
        let admitted =
            identified.request(target, at).inspect_err(|denial| explained.chosen(denial.rule().map(Arc::as_ref)))?;
        explained.chosen(Some(admitted.rule()));
        let hello = self.hello(target);
        match self.answer(&admitted, explained)? {
            Some(found) => {
                let answer = Answer { addresses: &found.addresses, cnames: &found.aliases };
                let routed = admitted.addresses(&answer, &self.own)?;
                explained.step("addresses", list(routed.addresses()));
                routed.hello(&hello)?;
            }
            None => {
                explained.step("addresses", "unjudged; give --address or --resolve".to_owned());
                admitted.judge_hello(&hello)?;
            }
        }
        let name = hello.server_name.as_ref().and_then(ServerName::name);
        let name = name.map_or("no name".to_owned(), |name| format!("name `{name}`"));
        let alpn = if self.args.alpn.is_empty() {
            "no ALPN".to_owned()
        } else {
            format!("ALPN {}", self.args.alpn.join(", "))
        };
        explained.step("hello", format!("TLS {}, {name}, {alpn}: passes", hello.max_version));
        Ok(())
    }

    /// Addresses and aliases to judge; `None`: they stay unjudged.
    fn answer(&self, admitted: &Admitted, explained: &mut Explained) -> Result<Option<Arc<dns::Answer>>, Denial> {
        let Some(name) = admitted.lookup() else { return Ok(Some(Arc::default())) };
        if !self.args.addresses.is_empty() {
            return Ok(Some(dns::Answer::of(&self.args.addresses).into()));
        }
        if let Some(addresses) = self.config.dns.hosts.get(name) {
            explained.step("dns", format!("`dns.hosts` has {}", list(addresses)));
            return Ok(Some(dns::Answer::of(addresses).into()));
        }
        if !self.args.resolve {
            return Ok(None);
        }
        let found = dns::lookup_once(&self.config.dns, admitted).map_err(|reason| admitted.deny(reason))?;
        explained.step("dns", list(&found.addresses));
        Ok(Some(found))
    }

    fn hello(&self, target: &Target) -> ClientHello {
        let server_name = match (self.args.no_sni, &self.hello.sni, target.host()) {
            (true, _, _) => None,
            (false, Some(sni), _) => Some(match sni.parse() {
                Ok(name) => ServerName::Name(name),
                Err(_) => ServerName::Unusable { raw: sni.as_bytes().into() },
            }),
            (false, None, Host::Name(name)) => Some(ServerName::Name(name.clone())),
            (false, None, Host::Address(_)) => None,
        };
        ClientHello {
            server_name,
            max_version: self.hello.version,
            alpn: self.args.alpn.iter().map(|id| id.as_bytes().into()).collect(),
            ech: false,
            esni: false,
            early_data: false,
        }
    }
}

impl Explained {
    fn step(&mut self, stage: &'static str, finding: String) {
        self.steps.push(Step { stage, finding });
    }

    fn chosen(&mut self, rule: Option<&Rule>) {
        if let Some(rule) = rule {
            self.step("rule", format!("`{}` of customer `{}`", rule.id, rule.customer));
            self.rule = Some(Arc::clone(&rule.id));
            self.customer = Some(Arc::clone(&rule.customer));
        }
    }

    fn text(&self) -> String {
        let mut rows: Vec<String> =
            self.steps.iter().map(|step| format!("{:<10} {}", step.stage, step.finding)).collect();
        if let Some(near) = &self.nearest {
            rows.push(format!("{:<10} `{}`; what differs: {}", "nearest", near.rule, near.differs));
        }
        rows.join("\n")
    }
}

fn own_addresses(config: &Config) -> std::io::Result<OwnAddresses> {
    let pools = Pools::new(config.pools.iter().map(|(name, pool)| (name.as_str(), pool.bind.as_slice())));
    let listeners = config.listeners.iter().map(|listener| listener.address);
    let sockets = listeners.chain([config.admin.address]).chain(config.probes);
    Ok(OwnAddresses::new(sys::interface_addresses()?.into_iter().chain(pools.addresses()), sockets))
}

fn version(text: &str) -> Option<ProtocolVersion> {
    [ProtocolVersion::Tls10, ProtocolVersion::Tls11, ProtocolVersion::Tls12, ProtocolVersion::Tls13]
        .into_iter()
        .find(|version| version.as_str() == text)
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
