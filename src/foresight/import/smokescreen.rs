//! A Smokescreen ACL, version v1: services with the domains that each may reach, and lists for all of them.
//! Not here: its other settings (ranges of addresses, certificates). Its ACL has no ports.
//! Source: Smokescreen's `acl/v1`: a service's own domains come first, then the global deny list, then the global allow list, then its
//! action; `*.x` holds the names at any depth below x, and not x.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::draft::{self, Draft, DraftRule, DraftSource, Given, covers, overlap};
use crate::address::{self, AddressClass};
use crate::name::HostPattern;
use crate::yaml::{self, Entry, Faults, Node, Value, shown};

/// Reads an ACL. `None`: it is none, and the faults say why.
pub fn smokescreen(text: &str, given: &Given, faults: &mut Faults) -> Option<Draft> {
    let tree = yaml::parse(text, 0, faults)?;
    let mut reader = Reader { lines: text.lines().collect(), draft: Draft::new("Smokescreen", given), faults };
    let acl = reader.acl(&tree);
    let Reader { mut draft, .. } = reader;
    if !faults.is_empty() {
        return None;
    }
    draft.remarks = vec![
        "Its ACL has no ports: rules have 443 alone, and `ports` is where others are added.",
        "Smokescreen knows a service by its client certificate's common name, which is never read here: sources are told apart by subnets, and \
         may ask for `identities` too.",
    ];
    acl.into_draft(given, &mut draft);
    Some(draft)
}

/// The ACL as it was read.
#[derive(Default)]
struct Acl {
    services: Vec<Service>,
    deny: Vec<Listed>,
    deny_networks: Vec<Network>,
    allow: Vec<Listed>,
}

struct Service {
    name: String,
    line: u32,
    project: Option<String>,
    action: Action,
    allowed: Vec<Listed>,
    networks: Vec<Network>,
}

/// An address as a network, and its line.
type Network = (IpNet, u32);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Enforce,
    Report,
    Open,
}

/// A domain where it was written.
#[derive(Clone, PartialEq, Eq)]
struct Listed {
    pattern: HostPattern,
    line: u32,
    text: String,
}

struct Reader<'a, 'f> {
    lines: Vec<&'a str>,
    draft: Draft,
    faults: &'f mut Faults,
}

/// Why something is left out.
const NO_EQUAL: &str = "no equal; left out";

impl Reader<'_, '_> {
    fn acl(&mut self, tree: &Node) -> Acl {
        let mut acl = Acl::default();
        let mut version = None;
        for Entry { key, node } in self.map(tree, "an ACL") {
            match &*key.value {
                "version" => version = self.text(node),
                "services" => acl.services.extend(self.list(node).iter().filter_map(|node| self.service(node, None))),
                "default" => acl.services.extend(self.service(node, Some("default"))),
                "global_deny_list" => (acl.deny, acl.deny_networks) = self.domains(node),
                "global_allow_list" => acl.allow = self.allowed_for_all(node),
                _ => self.left_out(key.place.line, NO_EQUAL),
            }
        }
        if version.as_deref() != Some("v1") {
            self.faults.at(tree.place, "not a Smokescreen ACL of `version: v1`; name that file");
        }
        acl
    }

    fn service(&mut self, node: &Node, name: Option<&str>) -> Option<Service> {
        let line = node.place.line;
        let mut service = Service {
            name: name.unwrap_or_default().to_owned(),
            line,
            project: None,
            action: Action::Enforce,
            allowed: Vec::new(),
            networks: Vec::new(),
        };
        let (mut action, mut has_action) = (None, false);
        for Entry { key, node } in self.map(node, "a service") {
            match &*key.value {
                "name" if name.is_none() => service.name = self.text(node)?,
                "name" => {}
                "project" => service.project = self.text(node),
                "action" => (action, has_action) = (self.action(node), true),
                "allowed_domains" => (service.allowed, service.networks) = self.domains(node),
                "mitm_domains" | "allowed_domains_mitm" => {
                    self.left_out(
                        key.place.line,
                        "no inspection in this version; its domains are tunnelled like the others",
                    );
                }
                _ => self.left_out(key.place.line, NO_EQUAL),
            }
        }
        if !has_action {
            self.faults.at(node.place, "a service without `action`; write `enforce`, `report` or `open`");
        }
        service.action = action?;
        Some(service).filter(|service| !service.name.is_empty())
    }

    fn action(&mut self, node: &Node) -> Option<Action> {
        let word = self.text(node)?;
        match word.as_str() {
            "enforce" => Some(Action::Enforce),
            "report" => Some(Action::Report),
            "open" => Some(Action::Open),
            other => {
                self.faults
                    .at(node.place, format!("unknown action {}; write `enforce`, `report` or `open`", shown(other)));
                None
            }
        }
    }

    /// Names alone.
    fn allowed_for_all(&mut self, node: &Node) -> Vec<Listed> {
        let (names, networks) = self.domains(node);
        for (_, line) in networks {
            self.left_out(line, "an address for every service: no equal; list it as a service's own; left out");
        }
        names
    }

    /// Names, and addresses of the network that are listed among them.
    fn domains(&mut self, node: &Node) -> (Vec<Listed>, Vec<Network>) {
        let (mut names, mut networks) = (Vec::new(), Vec::new());
        for item in self.list(node) {
            let Some(text) = self.text(item) else { continue };
            let line = item.place.line;
            if let Ok(address) = text.parse::<IpAddr>() {
                let address = address::canonical(address);
                match address::classify(address) {
                    AddressClass::Global => networks.push((IpNet::from(address), line)),
                    AddressClass::Special(_) | AddressClass::Metadata(_) => {
                        self.left_out(line, "not a public address, which Smokescreen refuses by default; left out")
                    }
                }
                continue;
            }
            let deep = text.strip_prefix("*.").map(|base| format!("**.{base}"));
            match deep.as_deref().unwrap_or(&text).parse::<HostPattern>() {
                Ok(pattern) => names.push(Listed { pattern, line, text }),
                Err(_) => self.left_out(line, "not a name, or one with `*` elsewhere than in front; left out"),
            }
        }
        (names, networks)
    }

    fn left_out(&mut self, line: u32, why: &str) {
        let place = usize::try_from(line).unwrap_or_default().saturating_sub(1);
        let text = self.lines.get(place).copied().unwrap_or_default();
        self.draft.note((line, text), why);
    }

    fn map<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Entry] {
        match &node.value {
            Value::Map(entries) => entries,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(..) | Value::List(_) | Value::Refused => {
                self.faults.at(node.place, format!("not {what}; write a mapping"));
                &[]
            }
        }
    }

    fn list<'n>(&mut self, node: &'n Node) -> &'n [Node] {
        match &node.value {
            Value::List(items) => items,
            Value::Null => &[],
            Value::Map(_) | Value::Bool(_) | Value::Number(_) | Value::Text(..) | Value::Refused => {
                self.faults.at(node.place, "not a list; write one");
                &[]
            }
        }
    }

    fn text(&mut self, node: &Node) -> Option<String> {
        match &node.value {
            Value::Text(text, _) | Value::Number(text) => Some(text.to_string()),
            Value::Null => None,
            Value::Map(_) | Value::Bool(_) | Value::List(_) | Value::Refused => {
                self.faults.at(node.place, "not a text; write one");
                None
            }
        }
    }
}

impl Acl {
    fn into_draft(self, given: &Given, draft: &mut Draft) {
        let mut taken = BTreeSet::new();
        let names: Vec<String> = self.services.iter().map(|service| draft::fresh(&service.name, &mut taken)).collect();
        let is_partly_denied = self.never(draft);
        for (service, name) in self.services.iter().zip(&names) {
            let report = match service.action {
                Action::Report if is_partly_denied => {
                    let why = "`report` would let through what the global deny list has and another service's domains keep from `never`; it enforces";
                    draft.note((service.line, &service.name), why);
                    false
                }
                Action::Report => true,
                Action::Open => {
                    draft.note(
                        (service.line, &service.name),
                        "`open`, every destination: no equal; what is not listed is refused",
                    );
                    false
                }
                Action::Enforce => false,
            };
            let subnets = given.subnets.get(name).cloned().unwrap_or_default();
            draft.sources.push(DraftSource { name: name.clone(), subnets, report });
            service.rules(name, draft);
        }
        self.for_all(&names, draft);
    }

    /// What no service lists is never reached; whether there is something else on the deny list.
    fn never(&self, draft: &mut Draft) -> bool {
        let mut is_partly = false;
        for denied in &self.deny {
            let listed = self.services.iter().flat_map(|service| &service.allowed);
            if listed.clone().any(|listed| overlap(&listed.pattern, &denied.pattern)) {
                is_partly = true;
                draft.note((denied.line, &denied.text), "a service lists it, or some of it, which comes first: not in `never`, and refused where no rule has it");
            } else {
                draft.never_hosts.insert(denied.pattern.clone());
            }
        }
        for (network, line) in &self.deny_networks {
            let mut listed = self.services.iter().flat_map(|service| &service.networks);
            let why = if listed.any(|(listed, _)| listed == network) {
                is_partly = true;
                "a service lists it, which comes first: not in `never`, and refused where no rule has it"
            } else {
                draft.never_networks.insert(*network);
                "in `never`, where names that resolve to it are refused too"
            };
            draft.note((*line, &network.addr().to_string()), why);
        }
        is_partly
    }

    /// The global allow list, for each service that does not list the same itself: two rules with one pattern would tie.
    fn for_all(&self, names: &[String], draft: &mut Draft) {
        let mut rules: BTreeMap<Vec<String>, BTreeSet<HostPattern>> = BTreeMap::new();
        for listed in &self.allow {
            let denied = self.deny.iter().filter(|denied| overlap(&denied.pattern, &listed.pattern));
            let mut refused = denied.filter(|denied| {
                covers(&denied.pattern, &listed.pattern) || !draft.never_hosts.contains(&denied.pattern)
            });
            if let Some(denied) = refused.next() {
                let why = format!("line {} of the global deny list comes before it; left out", denied.line);
                draft.note((listed.line, &listed.text), why);
                continue;
            }
            let others = self.services.iter().zip(names).filter(|(service, _)| !service.lists(&listed.pattern));
            let sources: Vec<String> = others.map(|(_, name)| name.clone()).collect();
            if !sources.is_empty() {
                rules.entry(sources).or_default().insert(listed.pattern.clone());
            }
        }
        let mut taken = draft.rules.iter().map(|rule| rule.id.clone()).collect();
        for (sources, hosts) in rules {
            push(
                draft,
                &mut taken,
                &DraftRule { id: "global/allowed".to_owned(), sources, ..DraftRule::default() },
                hosts,
            );
        }
    }
}

impl Service {
    fn lists(&self, pattern: &HostPattern) -> bool {
        self.allowed.iter().any(|listed| listed.pattern == *pattern)
    }

    fn rules(&self, name: &str, draft: &mut Draft) {
        let mut taken = draft.rules.iter().map(|rule| rule.id.clone()).collect();
        let base = DraftRule {
            id: format!("{name}/allowed"),
            sources: vec![name.to_owned()],
            owner: self.project.clone(),
            ..DraftRule::default()
        };
        push(draft, &mut taken, &base, self.allowed.iter().map(|listed| listed.pattern.clone()).collect());
        if !self.networks.is_empty() {
            let id = draft::fresh(&format!("{name}/addresses"), &mut taken);
            let networks: BTreeSet<IpNet> = self.networks.iter().map(|(network, _)| *network).collect();
            draft.rules.push(DraftRule { id, networks: networks.into_iter().collect(), ports: vec![443], ..base });
        }
    }
}

/// Adds the rule for these names; those right below a public suffix in a rule of their own, which says so.
fn push(draft: &mut Draft, taken: &mut BTreeSet<String>, base: &DraftRule, hosts: BTreeSet<HostPattern>) {
    let (open, hosts): (Vec<_>, Vec<_>) = hosts.into_iter().partition(HostPattern::is_public_suffix_wide);
    for (id, hosts) in [(base.id.clone(), hosts), (format!("{}/public-suffix", base.id), open)] {
        if !hosts.is_empty() {
            let id = draft::fresh(&id, taken);
            draft.rules.push(DraftRule { id, hosts, ports: vec![443], ..base.clone() });
        }
    }
}

#[cfg(test)]
#[path = "smokescreen_tests.rs"]
mod tests;
