//! `sallyport explain`: the decision for one request, by the same stages as `run`, step by step.
//! Not here: limits, which depend on what else is going on and stay unjudged.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;

use super::output::complain;
use super::{Failure, Output, environment, own_addresses};
use crate::config::Config;
use crate::name::{Fqdn, Identity};
use crate::policy::{Admitted, Explanation, Found, Lookup, Offer, OfferedName, Origin, Policy, Question, Reason};
use crate::runtime::asking::Asking;
use crate::runtime::{blocks, clock, dns, load};
use crate::tls::ProtocolVersion;

#[derive(Args)]
pub(super) struct ExplainArgs {
    /// The client's address, or user:UID for a user over a Unix socket
    #[arg(long, value_name = "IP|user:UID")]
    source: Origin,
    /// What the client asks for; at a transparent listener the ADDRESS:PORT that it calls
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
    /// The identity in the client's certificate, or its credential
    #[arg(long, value_name = "URI|NAME|login:NAME")]
    identity: Option<Identity>,
    /// The listener that the client comes to; by default the first that takes CONNECT and such a client
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// The best TLS version that the client offers
    #[arg(long, value_name = "VERSION", default_value = "1.3")]
    tls: String,
    /// An application protocol that the client offers
    #[arg(long = "alpn", value_name = "ID")]
    alpn: Vec<String>,
    /// The HTTP method; by default CONNECT
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// When, as RFC 3339; by default now
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Look the name up as `run` would
    #[arg(long)]
    resolve: bool,
}

pub(super) fn explain(config: &Path, args: &ExplainArgs, output: Output) -> Result<(), Failure> {
    let loaded = load::load(config, &environment)?;
    let usage = |words: String| Err(Failure::Usage(anyhow::anyhow!(words)));
    let asking = Asking {
        origin: args.source,
        identity: args.identity.clone(),
        listener: args.listener.clone(),
        target: args.target.clone(),
        method: args.method.clone(),
    };
    let (client, wanted) = match asking.at(&loaded.config.listeners) {
        Ok(asked) => asked,
        Err(error) => return usage(error.to_string()),
    };
    let Some(version) = ProtocolVersion::of_tls(&args.tls) else {
        return usage(format!("no TLS version `{}`; write 1.0, 1.1, 1.2 or 1.3", args.tls.escape_debug()));
    };
    let name = match (args.no_sni, &args.sni) {
        (true, _) => OfferedName::Absent,
        (false, Some(text)) => OfferedName::Text(text.as_str().into()),
        (false, None) => OfferedName::Target,
    };
    let question = Question {
        client: &client,
        wanted: &wanted,
        offer: &Offer { version, name, alpn: args.alpn.iter().map(|id| id.as_str().into()).collect() },
        at: args.at.unwrap_or_else(clock::now),
        own: &own_addresses(&loaded.config)?,
    };
    let policy = Arc::new(with_blocks(loaded.policy, &loaded.config));
    let mut found = None;
    let ruling = question.ask(&policy, &mut |admitted, name| {
        let (told, lookup) = look_up(args, &loaded.config, (admitted, name))?;
        found = told;
        Ok(lookup)
    });
    let explained = Explanation::new(&question, &ruling, found.as_ref(), "give --address or --resolve");
    output.print(&explained, Explanation::to_string)?;
    if ruling.denial.is_none() { Ok(()) } else { Err(Failure::No) }
}

/// The policy with the emergency blocks that the instance keeps on this host, if that says so.
fn with_blocks(policy: Policy, config: &Config) -> Policy {
    let at = (Path::new(&config.state), config.instance.as_str());
    match blocks::read(at, &config.redaction.redactor(), clock::now()) {
        Ok((_, blocks)) if blocks.is_empty() => policy,
        Ok((path, blocks)) => {
            complain(&format!("with the emergency blocks of {}: {}", path.display(), blocks.len()));
            policy.with_blocks(Arc::new(blocks))
        }
        Err(error) => {
            complain(&format!("emergency blocks are unjudged: {error}"));
            policy
        }
    }
}

/// What a name resolves to, and who says so; neither: its addresses stay unjudged.
fn look_up(
    args: &ExplainArgs,
    config: &Config,
    (admitted, name): (&Admitted, &Fqdn),
) -> Result<(Option<Found>, Option<Lookup>), Reason> {
    if !args.addresses.is_empty() {
        return Ok((None, Some(Lookup { addresses: args.addresses.clone(), aliases: Vec::new() })));
    }
    if let Some(addresses) = config.dns.hosts.get(name) {
        return Ok((
            Some(Found::Hosts(addresses.clone())),
            Some(Lookup { addresses: addresses.clone(), aliases: Vec::new() }),
        ));
    }
    if !args.resolve {
        return Ok((None, None));
    }
    let found = dns::lookup_once(&config.dns, admitted)?;
    Ok((
        Some(Found::Lookup(found.addresses.clone())),
        Some(Lookup { addresses: found.addresses.clone(), aliases: found.aliases.clone() }),
    ))
}
