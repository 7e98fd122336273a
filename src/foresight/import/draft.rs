//! A policy file made from a peer's configuration: sources, rules, what is never reached, and each line that has no equal.
//! Not here: reading those configurations (`smokescreen`, `squid`). What only people know is left empty, and an empty field makes the load
//! fail at its place. Texts of others pass `redact`. Source: the contract's page on policy files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ipnet::IpNet;

use crate::address;
use crate::name::HostPattern;
use crate::redact::{clean, holds_card_number};

/// Upper bound in bytes of a line of the original that is repeated.
const MAX_SHOWN: usize = 200;

/// Upper bound in bytes of a name made here: room for what tells it apart, below the bound of names.
const MAX_NAME: usize = 96;

/// What the command line fills in.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The subnets of sources, by their names in the policy.
    pub subnets: BTreeMap<String, Vec<IpNet>>,
    /// The customer of every rule.
    pub customer: Option<String>,
}

/// The policy under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// Whose configuration it was.
    pub(super) origin: &'static str,
    /// What is to be known of all of it.
    pub(super) remarks: Vec<&'static str>,
    pub(super) sources: Vec<DraftSource>,
    pub(super) rules: Vec<DraftRule>,
    pub(super) never_hosts: BTreeSet<HostPattern>,
    pub(super) never_networks: BTreeSet<IpNet>,
    notes: Vec<Note>,
    customer: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DraftSource {
    pub(super) name: String,
    /// Empty: nobody has said.
    pub(super) subnets: Vec<IpNet>,
    pub(super) report: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DraftRule {
    pub(super) id: String,
    pub(super) sources: Vec<String>,
    pub(super) hosts: Vec<HostPattern>,
    /// Instead of hosts.
    pub(super) networks: Vec<IpNet>,
    pub(super) addresses: Vec<IpNet>,
    pub(super) ports: Vec<u16>,
    pub(super) owner: Option<String>,
}

/// A line that has no equal.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Note {
    line: u32,
    text: String,
    why: String,
}

impl Draft {
    /// Nothing yet.
    pub(super) fn new(origin: &'static str, given: &Given) -> Self {
        Self { origin, customer: given.customer.clone(), ..Self::default() }
    }

    /// Notes that a line of the original has no equal.
    pub(super) fn note(&mut self, (line, text): (u32, &str), why: impl Into<String>) {
        let text = clean(text.trim().as_bytes(), MAX_SHOWN).text.to_string();
        let note = Note { line, text, why: why.into() };
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// In one line, for people.
    pub fn summary(&self) -> String {
        let blanks = self.blanks();
        format!(
            "{} sources, {} rules, {} hosts and {} networks never reached; {} lines have no equal, {blanks} fields are to be filled in",
            self.sources.len(),
            self.rules.len(),
            self.never_hosts.len(),
            self.never_networks.len(),
            self.notes.len(),
        )
    }

    /// How many fields are empty.
    fn blanks(&self) -> usize {
        let subnets = self.sources.iter().filter(|source| source.subnets.is_empty()).count();
        let report = self.sources.iter().filter(|source| source.report).count().saturating_mul(2);
        let customers = if self.customer.is_none() { self.rules.len() } else { 0 };
        subnets.saturating_add(report).saturating_add(customers)
    }
}

/// A name fit for a policy, out of any text: other characters become `-`.
pub(super) fn name(text: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || "._-/:@+".contains(c) { c } else { '-' };
    let name: String = text.chars().map(fit).take(MAX_NAME).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    if name.is_empty() || holds_card_number(name) { "unnamed".to_owned() } else { name.to_owned() }
}

/// The same, and none of those that are taken.
pub(super) fn fresh(text: &str, taken: &mut BTreeSet<String>) -> String {
    let base = name(text);
    let mut numbered = (2_u32..).map(|number| format!("{base}-{number}"));
    let free = std::iter::once(base.clone()).chain(&mut numbered).find(|name| !taken.contains(name)).unwrap_or(base);
    taken.insert(free.clone());
    free
}

/// Whether some name is held by both. There are no one-label wildcards here.
pub(super) fn overlap(one: &HostPattern, other: &HostPattern) -> bool {
    covers(one, other) || covers(other, one)
}

/// Whether every name of `inner` is one of `outer`. There are no one-label wildcards here.
pub(super) fn covers(outer: &HostPattern, inner: &HostPattern) -> bool {
    let is_exact = |pattern: &HostPattern| matches!(pattern, HostPattern::Exact(_));
    outer == inner || (!is_exact(outer) && outer.matches(inner.base()))
}

impl fmt::Display for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# From a configuration of {}: {}.", self.origin, self.summary())?;
        self.remarks.iter().try_for_each(|remark| writeln!(f, "# {remark}"))?;
        for Note { line, text, why } in &self.notes {
            writeln!(f, "# line {line}, `{text}`: {why}")?;
        }
        writeln!(f, "version: 1")?;
        if !self.sources.is_empty() {
            writeln!(f, "sources:")?;
        }
        self.sources.iter().try_for_each(|source| write!(f, "{source}"))?;
        if !self.never_hosts.is_empty() || !self.never_networks.is_empty() {
            writeln!(f, "never:")?;
            write_list(f, "  hosts", &self.never_hosts)?;
            write_list(f, "  networks", &self.never_networks)?;
        }
        if !self.rules.is_empty() {
            writeln!(f, "rules:")?;
        }
        self.rules.iter().try_for_each(|rule| rule.write(f, self.customer.as_deref()))
    }
}

impl fmt::Display for DraftSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  - name: \"{}\"", self.name)?;
        if self.subnets.is_empty() {
            writeln!(f, "    subnets:         # where its clients are; or --subnets {}=PREFIX", self.name)?;
        }
        write_list(f, "    subnets", &self.subnets)?;
        if self.subnets.iter().any(address::is_wide) {
            writeln!(f, "    wide: true")?;
        }
        if self.report {
            writeln!(f, "    class: general   # report mode is not for sources with card data")?;
            writeln!(f, "    mode: report")?;
            writeln!(f, "    report_until:    # YYYY-MM-DD, at most 30 days ahead")?;
            writeln!(f, "    egress:          # the pool that its unlisted connections leave from")?;
        }
        Ok(())
    }
}

impl DraftRule {
    fn write(&self, f: &mut fmt::Formatter<'_>, customer: Option<&str>) -> fmt::Result {
        writeln!(f, "  - id: \"{}\"", self.id)?;
        match customer {
            Some(customer) => writeln!(f, "    customer: \"{}\"", name(customer))?,
            None => writeln!(f, "    customer:        # whom these destinations belong to; or --customer NAME")?,
        }
        write_list(f, "    sources", &self.sources)?;
        write_list(f, "    hosts", &self.hosts)?;
        if self.hosts.iter().any(HostPattern::is_public_suffix_wide) {
            writeln!(f, "    public_suffix: true   # strangers have names there")?;
        }
        write_list(f, "    networks", &self.networks)?;
        write_list(f, "    addresses", &self.addresses)?;
        if self.networks.iter().chain(&self.addresses).any(address::is_wide) {
            writeln!(f, "    wide: true")?;
        }
        let ports: Vec<String> = self.ports.iter().map(ToString::to_string).collect();
        writeln!(f, "    ports: [{}]", ports.join(", "))?;
        if !self.networks.is_empty() {
            writeln!(f, "    tls: {{sni: absent}}")?;
        }
        match &self.owner {
            Some(owner) => writeln!(f, "    owner: \"{}\"", name(owner)),
            None => Ok(()),
        }
    }
}

fn write_list<'a, T: fmt::Display + 'a>(
    f: &mut fmt::Formatter<'_>,
    key: &str,
    list: impl IntoIterator<Item = &'a T>,
) -> fmt::Result {
    let items: Vec<String> = list.into_iter().map(|item| format!("\"{item}\"")).collect();
    if items.is_empty() { Ok(()) } else { writeln!(f, "{key}: [{}]", items.join(", ")) }
}
