//! `sallyport explain`: the decision for one request, by the same stages as `run`, step by step.
//! Not here: limits, which depend on what else is going on and stay unjudged.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::{Failure, Output, environment, own_addresses};
use crate::config::Config;
use crate::name::Fqdn;
use crate::policy::{Admitted, Decided, Identified, Judged, Lookup, Offer, OfferedName, Question, Reason, Ruling};
use crate::runtime::{clock, dns, load};
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
#[derive(Serialize)]
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
    let name = match (args.no_sni, &args.sni) {
        (true, _) => OfferedName::Absent,
        (false, Some(text)) => OfferedName::Text(text.as_str().into()),
        (false, None) => OfferedName::Target,
    };
    let question = Question {
        client: args.source,
        method: &args.method,
        target: &args.target,
        offer: &Offer { version, name, alpn: args.alpn.iter().map(|id| id.as_str().into()).collect() },
        at: args.at.unwrap_or_else(clock::now),
        own: &own_addresses(&loaded.config)?,
    };
    let mut found = None;
    let ruling = question.ask(&Arc::new(loaded.policy), &mut |admitted, name| {
        let (told, lookup) = look_up(args, &loaded.config, (admitted, name))?;
        found = told;
        Ok(lookup)
    });
    let explained = Explained::new(args, &ruling, found);
    output.print(&explained, Explained::text)?;
    if ruling.denial.is_none() { Ok(()) } else { Err(Failure::No) }
}

/// What a name resolves to, and how to tell it; neither: its addresses stay unjudged.
fn look_up(
    args: &ExplainArgs,
    config: &Config,
    (admitted, name): (&Admitted, &Fqdn),
) -> Result<(Option<String>, Option<Lookup>), Reason> {
    if !args.addresses.is_empty() {
        return Ok((None, Some(Lookup { addresses: args.addresses.clone(), aliases: Vec::new() })));
    }
    if let Some(addresses) = config.dns.hosts.get(name) {
        let told = format!("`dns.hosts` has {}", list(addresses));
        return Ok((Some(told), Some(Lookup { addresses: addresses.clone(), aliases: Vec::new() })));
    }
    if !args.resolve {
        return Ok((None, None));
    }
    let found = dns::lookup_once(&config.dns, admitted)?;
    let told = list(&found.addresses);
    Ok((Some(told), Some(Lookup { addresses: found.addresses.clone(), aliases: found.aliases.clone() })))
}

impl Explained {
    /// `found`: what a lookup found, in words.
    fn new(args: &ExplainArgs, ruling: &Ruling, found: Option<String>) -> Self {
        let Decided { outcome, reason } = ruling.decided();
        let source = ruling.identified.as_ref().map(Identified::source);
        let mut explained = Self {
            outcome: outcome.as_str(),
            reason: reason.as_str(),
            source: source.map(|source| Arc::clone(&source.name)),
            rule: ruling.rule.as_ref().map(|rule| Arc::clone(&rule.id)),
            customer: ruling.rule.as_ref().map(|rule| Arc::clone(&rule.customer)),
            nearest: ruling
                .nearest()
                .map(|nearest| Near { rule: Arc::clone(&nearest.rule.id), differs: nearest.differs }),
            steps: Vec::new(),
        };
        let rule = ruling.rule.as_ref().map(|rule| format!("`{}` of customer `{}`", rule.id, rule.customer));
        let addresses = ruling.addresses.as_ref().map(|judged| match judged {
            Judged::Good(addresses) => list(addresses),
            Judged::Unknown => "unjudged; give --address or --resolve".to_owned(),
        });
        explained.step("source", source.map(|source| format!("{} is of `{}`", args.source, source.name)));
        explained.step("target", ruling.target.as_ref().map(ToString::to_string));
        explained.step("rule", rule);
        explained.step("dns", found);
        explained.step("addresses", addresses);
        explained.step("hello", ruling.hello.as_ref().map(|hello| passes(hello, &args.alpn)));
        explained.step("decision", Some(format!("{}: {reason}; {}", explained.outcome, reason.facts().title)));
        explained
    }

    /// A stage that was not reached has found nothing.
    fn step(&mut self, stage: &'static str, finding: Option<String>) {
        self.steps.extend(finding.map(|finding| Step { stage, finding }));
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

fn passes(hello: &ClientHello, alpn: &[String]) -> String {
    let name = hello.server_name.as_ref().and_then(ServerName::name);
    let name = name.map_or("no name".to_owned(), |name| format!("name `{name}`"));
    let alpn = if alpn.is_empty() { "no ALPN".to_owned() } else { format!("ALPN {}", alpn.join(", ")) };
    format!("TLS {}, {name}, {alpn}: passes", hello.max_version)
}

fn version(text: &str) -> Option<ProtocolVersion> {
    [ProtocolVersion::Tls10, ProtocolVersion::Tls11, ProtocolVersion::Tls12, ProtocolVersion::Tls13]
        .into_iter()
        .find(|version| version.as_str() == text)
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
