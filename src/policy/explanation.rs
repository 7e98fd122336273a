//! A ruling in words, stage by stage: what `explain` answers, on the command line and over the admin port.
//! Not here: the judgement (`ask`), lookups, limits, which stay unjudged. Source: the contract's `explain`.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

use super::ask::{Judged, Question, Ruling, Wanted};
use super::block::Block;
use super::decision::{Decided, Denial};
use super::request::Identified;
use crate::name::Target;
use crate::redact::{Redacted, clean_name};
use crate::tls::{ClientHello, ServerName};

/// Upper bound in bytes of what one stage has found: 64 addresses, or as many protocols.
const MAX_FINDING: usize = 32 * 1024;

/// The decision and how it came about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    outcome: &'static str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<InTheWay>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nearest: Option<Near>,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Near {
    rule: Arc<str>,
    differs: Redacted,
}

/// The emergency block that refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct InTheWay {
    id: Uuid,
    until: String,
    reason: Redacted,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Step {
    stage: &'static str,
    finding: Redacted,
}

/// Where addresses came from that the question did not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// From `dns.hosts`.
    Hosts(Vec<IpAddr>),
    /// From a lookup.
    Lookup(Vec<IpAddr>),
}

impl Explanation {
    /// Of what was asked and what came out. `unjudged` says how to have addresses judged that nobody knew.
    /// May look at every name of the policy.
    pub fn new(question: &Question<'_>, ruling: &Ruling, found: Option<&Found>, unjudged: &str) -> Self {
        let Decided { outcome, reason } = ruling.decided();
        let source = ruling.identified.as_ref().map(Identified::source);
        let block = ruling.denial.as_ref().and_then(Denial::block);
        let mut explained = Self {
            outcome: outcome.as_str(),
            reason: reason.as_str(),
            source: source.map(|source| Arc::clone(&source.name)),
            rule: ruling.rule.as_ref().map(|rule| Arc::clone(&rule.id)),
            customer: ruling.rule.as_ref().map(|rule| Arc::clone(&rule.customer)),
            block: block.map(|block| InTheWay {
                id: block.id,
                until: block.until.to_string(),
                reason: block.reason.clone(),
            }),
            nearest: ruling
                .nearest()
                .map(|nearest| Near { rule: Arc::clone(&nearest.rule.id), differs: cleaned(&nearest.differs) }),
            steps: Vec::new(),
        };
        let rule = ruling.rule.as_ref().map(|rule| format!("`{}` of customer `{}`", rule.id, rule.customer));
        let judged = ruling.addresses.as_ref().map(|judged| match judged {
            Judged::Good(addresses) => list(addresses),
            Judged::Unknown => format!("unjudged; {unjudged}"),
        });
        explained.step("source", told_source(question, ruling));
        explained.step("identity", told_identity(question, ruling));
        explained.step("target", ruling.target.as_ref().map(|target| told_target(question, target)));
        explained.step("rule", rule);
        explained.step("dns", found.map(ToString::to_string));
        explained.step("addresses", judged);
        explained.step("hello", ruling.hello.as_ref().map(|hello| passes(hello, &question.offer.alpn)));
        explained.step("block", block.map(|block| told_block(block)));
        explained.step("decision", Some(format!("{}: {reason}; {}", explained.outcome, reason.facts().title)));
        explained
    }

    /// A stage that was not reached has found nothing.
    fn step(&mut self, stage: &'static str, finding: Option<String>) {
        self.steps.extend(finding.map(|finding| Step { stage, finding: cleaned(&finding) }));
    }
}

fn told_block(block: &Block) -> String {
    let Block { id, what, reason, until, .. } = block;
    format!("{what} is blocked until {until}: {reason} (block {id})")
}

/// Most names or patterns that a line lists.
const MOST_LISTED: usize = 8;

/// Whose the client is, or could be.
fn told_source(question: &Question<'_>, ruling: &Ruling) -> Option<String> {
    let origin = question.client.origin;
    let names = ruling.candidates.iter().map(|source| source.name.to_string());
    match &ruling.identified {
        Some(identified) => Some(format!("{origin} is of `{}`", identified.source().name)),
        None => listed(names).map(|names| format!("{origin} may be of {names}")),
    }
}

/// What made the client its source's, or what that asks for instead. Nothing if none is asked for and none shown.
fn told_identity(question: &Question<'_>, ruling: &Ruling) -> Option<String> {
    let shown = listed(question.client.identities.iter().map(ToString::to_string));
    if let Some(identified) = &ruling.identified {
        let source = &identified.source().name;
        return match identified.matched() {
            Some(identity) => Some(format!("`{identity}` is one of `{source}`")),
            None => shown.map(|shown| format!("{shown} shown; `{source}` asks for none")),
        };
    }
    let asked = ruling.candidates.iter().flat_map(|source| &source.identities).map(ToString::to_string);
    listed(asked).map(|asked| format!("{} shown; asked for is {asked}", shown.as_deref().unwrap_or("none")))
}

fn told_target(question: &Question<'_>, target: &Target) -> String {
    match question.wanted {
        Wanted::Asked { .. } => target.to_string(),
        Wanted::Called(original) => format!("{target}; the client called {original}"),
    }
}

/// The first of them in backticks, and how many more there are.
fn listed(words: impl Iterator<Item = String>) -> Option<String> {
    let mut words = words.map(|word| format!("`{word}`"));
    let first: Vec<String> = words.by_ref().take(MOST_LISTED).collect();
    let more = match words.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!first.is_empty()).then(|| format!("{}{more}", first.join(", ")))
}

/// What was asked is told in its words, and they may hold a card number.
fn cleaned(text: &str) -> Redacted {
    clean_name(text.as_bytes(), MAX_FINDING).text
}

/// A line a step.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = self.steps.iter().map(|step| format!("{:<10} {}", step.stage, step.finding));
        let near = self
            .nearest
            .iter()
            .map(|near| format!("{:<10} `{}`; what differs: {}", "nearest", near.rule, near.differs));
        f.write_str(&steps.chain(near).collect::<Vec<_>>().join("\n"))
    }
}

fn passes(hello: &ClientHello, alpn: &[Box<str>]) -> String {
    let name = hello.server_name.as_ref().and_then(ServerName::name);
    let name = name.map_or("no name".to_owned(), |name| format!("name `{name}`"));
    let alpn = if alpn.is_empty() { "no ALPN".to_owned() } else { format!("ALPN {}", alpn.join(", ")) };
    format!("TLS {}, {name}, {alpn}: passes", hello.max_version)
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hosts(addresses) => write!(f, "`dns.hosts` has {}", list(addresses)),
            Self::Lookup(addresses) => f.write_str(&list(addresses)),
        }
    }
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::ask::{Lookup, Offer, OfferedName};
    use super::super::{OwnAddresses, testing};
    use super::*;
    use crate::tls::ProtocolVersion;

    const POLICY: &str = "version: 1
sources: [{name: ivr, subnets: [10.20.0.0/24]}]
rules: [{id: acme/api, customer: acme, sources: [ivr], hosts: [api.acme.example]}]
";

    fn explained(client: &str, target: &str, alpn: &[&str], found: Option<Found>) -> Explanation {
        let policy = Arc::new(testing::policy(POLICY));
        let alpn = alpn.iter().map(|id| (*id).into()).collect();
        let question = Question {
            client: &client.parse::<std::net::IpAddr>().unwrap().into(),
            wanted: &Wanted::connect(target),
            offer: &Offer { version: ProtocolVersion::Tls13, name: OfferedName::Target, alpn },
            at: "2027-01-01T00:00:00Z".parse().unwrap(),
            own: &OwnAddresses::default(),
        };
        let ruling = question.ask(&policy, &mut |_, _| {
            let Some(Found::Hosts(addresses) | Found::Lookup(addresses)) = &found else { return Ok(None) };
            Ok(Some(Lookup { addresses: addresses.clone(), aliases: Vec::new() }))
        });
        Explanation::new(&question, &ruling, found.as_ref(), "ask the resolver")
    }

    #[test]
    fn each_stage_that_was_reached_has_its_finding() {
        let addresses = vec!["203.0.113.7".parse().unwrap(), "93.184.216.34".parse().unwrap()];
        for (name, explained, want) in [
            (
                "allowed",
                explained("10.20.0.1", "api.acme.example:443", &["h2"], Some(Found::Lookup(addresses[1..].to_vec()))),
                "source target rule dns addresses hello decision | allow allowed",
            ),
            (
                "an address that nobody may reach",
                explained("10.20.0.1", "api.acme.example:443", &[], Some(Found::Hosts(addresses))),
                "source target rule dns decision | deny address_forbidden",
            ),
            (
                "addresses that nobody knows",
                explained("10.20.0.1", "api.acme.example:443", &[], None),
                "source target rule addresses hello decision | allow allowed",
            ),
            (
                "the wrong port",
                explained("10.20.0.1", "api.acme.example:444", &[], None),
                "source target decision | deny port_not_allowed",
            ),
            ("a stranger", explained("192.0.2.1", "a", &[], None), "decision | deny source_unknown"),
        ] {
            let stages: Vec<&str> = explained.steps.iter().map(|step| step.stage).collect();
            let found = format!("{} | {} {}", stages.join(" "), explained.outcome, explained.reason);
            assert_eq!(found, want, "{name}");
        }
    }

    #[test]
    fn long_lists_are_cut() {
        let words = |count: usize| super::listed((1..=count).map(|number| number.to_string()));
        assert_eq!(words(0), None);
        assert_eq!(words(2).as_deref(), Some("`1`, `2`"));
        assert_eq!(words(8).as_deref(), Some("`1`, `2`, `3`, `4`, `5`, `6`, `7`, `8`"));
        assert_eq!(words(11).as_deref(), Some("`1`, `2`, `3`, `4`, `5`, `6`, `7`, `8` and 3 more"));
    }

    #[test]
    fn a_card_number_in_the_question_is_not_repeated() {
        let target = "4111111111111111.acme.example:443";
        let json = serde_json::to_string(&explained("10.20.0.1", target, &[], None)).unwrap();
        assert!(json.contains("sensitive_data_in_target") && json.contains("[PAN:visa:16].acme.example:443"), "{json}");
        assert!(!json.contains("4111"), "{json}");
        assert_eq!(cleaned(&"x".repeat(MAX_FINDING)).as_str().len(), MAX_FINDING);
    }

    #[test]
    fn for_people_it_is_a_line_a_step() {
        let text = explained("10.20.0.1", "api.acme.example:443", &["h2", "http/1.1"], None).to_string();
        let want = "source     10.20.0.1 is of `ivr`
target     api.acme.example:443
rule       `acme/api` of customer `acme`
addresses  unjudged; ask the resolver
hello      TLS 1.3, name `api.acme.example`, ALPN h2, http/1.1: passes
decision   allow: allowed; the request is allowed";
        assert_eq!(text, want);
        let text = explained("10.20.0.1", "api.acme.example:444", &[], None).to_string();
        let last = text.lines().last().unwrap();
        assert_eq!(last, "nearest    `acme/api`; what differs: the port: the rule has 443, not 444");
    }

    #[test]
    fn as_json_what_is_unknown_is_absent() {
        let json = |explained: &Explanation| serde_json::to_string(explained).unwrap();
        assert_eq!(
            json(&explained("192.0.2.1", "a", &[], None)),
            "{\"outcome\":\"deny\",\"reason\":\"source_unknown\",\"steps\":[{\"stage\":\"decision\",\
             \"finding\":\"deny: source_unknown; the client belongs to no source\"}]}"
        );
        let found = json(&explained("10.20.0.1", "api.acme.example:443", &[], None));
        let want = "{\"outcome\":\"allow\",\"reason\":\"allowed\",\"source\":\"ivr\",\"rule\":\"acme/api\",\"customer\":\"acme\",\"steps\":[";
        assert!(found.starts_with(want), "{found}");
    }
}
