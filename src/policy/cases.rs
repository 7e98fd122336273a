//! Cases: requests written down with what must come of them, tried on a policy as `explain` judges.
//! Not here: which files hold them (`runtime::load`), printing (`cli`).
//! Source: the contract's "Cases".
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use super::addresses::OwnAddresses;
use super::ask::{Lookup, Offer, OfferedName, Question, Wanted};
use super::client::{Client, Origin};
use super::compile::Policy;
use super::decision::{Decided, Outcome};
use super::file::{some_of, terms};
use super::nearest::Nearest;
use super::reason::Reason;
use super::rule::Word;
use crate::name::Fqdn;
use crate::tls::ProtocolVersion;
use crate::yaml::{self, Faults, Field, MapReader, Place, shown};

/// A request, and what must come of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Its name, unique in its file.
    pub name: Arc<str>,
    /// Where it stands.
    pub place: Place,
    client: Client,
    wanted: Wanted,
    offer: Offer,
    /// What the target's name resolves to; `None`: what is known, else unjudged.
    addresses: Option<Box<[IpAddr]>>,
    /// When; `None`: now.
    at: Option<Timestamp>,
    expected: Expected,
}

/// What must come; what is `None` may be anything, and one of them is there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Expected {
    outcome: Option<Outcome>,
    reason: Option<Reason>,
    /// The rule that was chosen.
    rule: Option<Arc<str>>,
}

/// What a case is tried with, beside the policy.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The proxy's own addresses.
    pub own: &'a OwnAddresses,
    /// Names whose addresses are known.
    pub hosts: &'a BTreeMap<Fqdn, Vec<IpAddr>>,
    /// The moment for cases without one of their own.
    pub now: Timestamp,
}

/// What came of a case.
#[derive(Clone, Debug)]
pub struct Tried {
    /// What was decided.
    pub decided: Decided,
    /// The rule that was chosen.
    pub rule: Option<Arc<str>>,
    /// Of a case that failed: what was expected, and what came.
    pub difference: Option<Difference>,
}

/// How a case failed.
#[derive(Clone, Debug)]
pub struct Difference {
    expected: Expected,
    decided: Decided,
    rule: Option<Arc<str>>,
    nearest: Option<Nearest>,
}

impl Case {
    /// Reads a file of cases, with every fault. `file` is the caller's index of it and its name in faults.
    pub fn read_all(text: &str, (file, path): (u32, &str), faults: &mut Faults) -> Vec<Case> {
        let Some(tree) = yaml::parse(text, file, faults) else { return Vec::new() };
        let Some(mut map) = MapReader::new(&tree, "a file of cases", faults) else { return Vec::new() };
        let mut names = HashMap::new();
        let list = map.require("cases", faults);
        let cases = list.and_then(|list| list.list_of(faults, |field, faults| case(field, (&mut names, path), faults)));
        map.finish(&[], faults);
        cases.unwrap_or_default()
    }

    /// Asks `policy` and compares.
    pub fn try_on(&self, policy: &Arc<Policy>, surroundings: &Surroundings<'_>) -> Tried {
        let question = Question {
            client: &self.client,
            wanted: &self.wanted,
            offer: &self.offer,
            at: self.at.unwrap_or(surroundings.now),
            own: surroundings.own,
        };
        let ruling = question.ask(policy, &mut |_, name| {
            let known = || surroundings.hosts.get(name).map(Vec::as_slice);
            let addresses = self.addresses.as_deref().or_else(known);
            Ok(addresses.map(|addresses| Lookup { addresses: addresses.to_vec(), aliases: Vec::new() }))
        });
        let (decided, rule) = (ruling.decided(), ruling.rule.as_ref().map(|rule| Arc::clone(&rule.id)));
        let fits = self.expected.fits(decided, rule.as_deref());
        let difference = (!fits).then(|| Difference {
            expected: self.expected.clone(),
            decided,
            rule: rule.clone(),
            nearest: ruling.nearest(),
        });
        Tried { decided, rule, difference }
    }
}

impl Expected {
    fn fits(&self, decided: Decided, rule: Option<&str>) -> bool {
        self.outcome.is_none_or(|expected| expected == decided.outcome)
            && self.reason.is_none_or(|expected| expected == decided.reason)
            && self.rule.as_deref().is_none_or(|expected| Some(expected) == rule)
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.outcome.map(|outcome| format!("outcome `{outcome}`")),
            self.reason.map(|reason| format!("reason `{reason}`")),
            self.rule.as_ref().map(|rule| format!("rule `{rule}`")),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { expected, decided: Decided { outcome, reason }, rule, nearest } = self;
        write!(f, "expected {expected}; came outcome `{outcome}`, reason `{reason}`, ")?;
        match rule {
            Some(rule) => write!(f, "rule `{rule}`"),
            None => f.write_str("no rule"),
        }?;
        match nearest {
            Some(nearest) if rule.is_none() => {
                write!(f, "; nearest is rule `{}`, what differs: {}", nearest.rule.id, nearest.differs)
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// The names of a file's cases so far, and the file's own.
type Names<'a> = (&'a mut HashMap<Arc<str>, Place>, &'a str);

/// Every part is read, whatever is wrong with the others.
fn case(field: Field<'_>, names: Names<'_>, faults: &mut Faults) -> Option<Case> {
    let mut map = field.map("a case", faults)?;
    let name = map.require("name", faults).and_then(|field| name(field, names, faults));
    let origin = map.require("source", faults).and_then(|field| origin(field, faults));
    let identities = map.take("identity").map(|field| field.parse(faults));
    let target = map.require("target", faults).and_then(|field| field.text(faults));
    let offered = match map.written("sni") {
        None => Some(OfferedName::Target),
        Some(field) if field.node().is_none() => Some(OfferedName::Absent),
        Some(field) => field.text(faults).map(|text| OfferedName::Text(text.into())),
    };
    let addresses = map.take("addresses").map(|field| some_of(field, faults, address).into());
    let version = match map.take("tls") {
        Some(field) => field.word(VERSIONS, faults),
        None => Some(ProtocolVersion::Tls13),
    };
    let alpn = map.take("alpn").and_then(|field| field.list_of(faults, terms::alpn)).unwrap_or_default();
    let at = map.take("at").and_then(|field| moment(field, faults));
    let expected = map.require("expect", faults).and_then(|field| expected(field, faults));
    let place = map.place();
    map.finish(&[], faults);
    Some(Case {
        name: name?,
        place,
        client: Client { identities: identities.into_iter().flatten().collect(), ..Client::new(origin?) },
        wanted: Wanted::connect(target?),
        offer: Offer { version: version?, name: offered?, alpn: alpn.into() },
        addresses,
        at,
        expected: expected?,
    })
}

/// The best versions that a client may offer.
const VERSIONS: &[(&str, ProtocolVersion)] = &[
    ("1.0", ProtocolVersion::Tls10),
    ("1.1", ProtocolVersion::Tls11),
    ("1.2", ProtocolVersion::Tls12),
    ("1.3", ProtocolVersion::Tls13),
];

fn name(field: Field<'_>, (names, path): Names<'_>, faults: &mut Faults) -> Option<Arc<str>> {
    let name = terms::text(field, faults)?;
    match names.get(&name) {
        Some(Place { line, column, .. }) => {
            let text = shown(&name);
            field.fault(format!("case {text} stands at {path}:{line}:{column} already; give it another name"), faults);
        }
        None => {
            names.insert(Arc::clone(&name), field.place());
        }
    }
    Some(name)
}

fn origin(field: Field<'_>, faults: &mut Faults) -> Option<Origin> {
    field.read(|text| text.parse::<Origin>().map_err(|error| format!("{} is {error}", shown(text))), faults)
}

fn address(field: Field<'_>, faults: &mut Faults) -> Option<IpAddr> {
    let read = |text: &str| {
        let wrong = |_| format!("{} is no address; write one such as `192.0.2.1` or `\"2001:db8::1\"`", shown(text));
        text.parse::<IpAddr>().map_err(wrong)
    };
    field.read(read, faults)
}

fn moment(field: Field<'_>, faults: &mut Faults) -> Option<Timestamp> {
    let read = |text: &str| {
        let wrong = |_| format!("{} is no point in time; write one such as `2027-05-03T23:00:00Z`", shown(text));
        text.parse::<Timestamp>().map_err(wrong)
    };
    field.read(read, faults)
}

fn expected(field: Field<'_>, faults: &mut Faults) -> Option<Expected> {
    let mut map = field.map("`expect`", faults)?;
    let outcome = map.take("outcome").and_then(|field| field.word(OUTCOMES, faults));
    let told = map.take("reason");
    let reason = told.and_then(|field| reason(field, faults));
    let rule = map.take("rule").and_then(|field| field.parse::<Word>(faults)).map(|word| word.0);
    if let (Some(told), Some(outcome), Some(reason)) = (told, outcome, reason)
        && reason.outcome() != outcome
        && !(outcome == Outcome::Observe && reason.is_observable())
    {
        let its = reason.outcome();
        told.fault(format!("reason `{reason}` has outcome `{its}`, not `{outcome}`; correct one of the two"), faults);
    }
    let says_nothing = ["outcome", "reason", "rule"].into_iter().all(|key| map.take(key).is_none());
    if says_nothing {
        faults.at(map.place(), "`expect` says nothing; write `outcome`, `reason` or `rule`");
    }
    map.finish(&[], faults);
    Some(Expected { outcome, reason, rule })
}

const OUTCOMES: &[(&str, Outcome)] =
    &[("allow", Outcome::Allow), ("deny", Outcome::Deny), ("observe", Outcome::Observe), ("error", Outcome::Error)];

/// There are too many words for a fault to list.
fn reason(field: Field<'_>, faults: &mut Faults) -> Option<Reason> {
    let read = |text: &str| {
        text.parse::<Reason>().map_err(|_| {
            let instead = match yaml::nearest(text, Reason::ALL.iter().map(|reason| reason.as_str())) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "write one that `explain` prints, such as `destination_not_listed`".to_owned(),
            };
            format!("unknown reason {}; {instead}", shown(text))
        })
    };
    field.read(read, faults)
}
