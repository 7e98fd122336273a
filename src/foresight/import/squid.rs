//! The access rules of a `squid.conf`, as regions of what CONNECT may reach; in doubt less.
//! Not here: regions (`region`), lines and lists (`squid_lists`), the rules that say them (`squid_rules`), what else Squid does. Nothing is read but this one file.
//! Source: Squid's `squid.conf` documentation: `acl`, `http_access`: the first line that matches decides; all of its lists must match.

use std::collections::BTreeMap;

use super::draft::{Draft, Given};
use super::region::{Names, Ports, Prefixes, Region, Torn};
use super::squid_lists::{Acl, Line, Test, lines, read};
use super::squid_rules::{Allowed, write};
use crate::yaml::{Faults, Place};

/// Regions that one line may be cut into; one that would be more is left out.
const MAX_REGIONS: usize = 1_000;

/// Reads a configuration. `None`: it can't be, and the faults say why.
pub fn squid(text: &str, given: &Given, faults: &mut Faults) -> Option<Draft> {
    let mut reader =
        Reader { draft: Draft::new("Squid", given), acls: BTreeMap::new(), access: Vec::new(), beside: Vec::new() };
    reader.predefine();
    for line in lines(text) {
        if line.words.first().is_some_and(|word| word == "if") {
            let place = Place { file: 0, line: line.number, column: 1 };
            faults.at(place, "what stands behind `if` may hold or not; write out the configuration as it is in force");
            return None;
        }
        reader.line(&line);
    }
    reader.last();
    let Reader { mut draft, acls, access, beside } = reader;
    draft.remarks = vec![
        "Only CONNECT is asked for here. What Squid allows without naming the destination has no equal: report mode and `policy suggest` find",
        "the names. Nothing is looked up: a name that resolves to what Squid denies by address is refused by `never`.",
    ];
    let judge = Judge { acls, draft: &mut draft };
    let allowed = judge.allowed(&access, &beside);
    write(allowed, &mut draft);
    Some(draft)
}

/// A line that allows or denies.
#[derive(Clone, Debug)]
struct Access {
    line: Line,
    allows: bool,
}

struct Reader {
    draft: Draft,
    /// By their names in lower case: Squid tells no cases apart.
    acls: BTreeMap<String, Acl>,
    access: Vec<Access>,
    /// Lines of other lists that deny, whatever `http_access` says.
    beside: Vec<Access>,
}

/// Lists that a request must pass beside `http_access`.
const BESIDE: &[&str] = &["adapted_http_access", "http_access2", "miss_access", "http_reply_access"];

/// Directives whose arguments are repeated in notes: they name lists and files. Those of others may be passwords, or commands with some.
const PLAIN: &[&str] = &["http_access", "include", "ssl_bump"];

/// Kinds of lists whose values are repeated: no users, headers or arguments of programs.
const PLAIN_LISTS: &[&str] = &["src", "dst", "dstdomain", "dstdom_regex", "port", "method", "proto", "time"];

impl Reader {
    fn predefine(&mut self) {
        let nets = |texts: &[&str]| Prefixes(texts.iter().filter_map(|text| text.parse().ok()).collect());
        let known = [
            ("all", Test::All),
            ("manager", Test::Nothing),
            ("localhost", Test::Client(nets(&["127.0.0.1/32", "::1/128"]))),
            ("to_localhost", Test::Address(nets(&["127.0.0.0/8", "0.0.0.0/32", "::1/128", "::/128"]))),
            ("to_linklocal", Test::Address(nets(&["169.254.0.0/16", "fe80::/10"]))),
            ("connect", Test::Method(true)),
        ];
        self.acls.extend(known.map(|(name, test)| (name.to_owned(), Acl { test, is_open: false })));
    }

    fn line(&mut self, line: &Line) {
        let Some((directive, rest)) = line.words.split_first() else { return };
        match (directive.as_str(), rest) {
            ("acl", [name, kind, values @ ..]) => self.acl(name, kind, values, line),
            ("http_access", [action, ..]) => self.access.extend(access(line, action)),
            (list, [action, ..]) if BESIDE.contains(&list) => {
                self.beside.extend(access(line, action).filter(|access| !access.allows));
            }
            ("ssl_bump", [action, ..]) if action == "terminate" => {
                self.beside.push(Access { line: line.clone(), allows: false });
                self.note(line, "what it may end is denied, even where an `ssl_bump` line before it decides");
            }
            ("include", _) => {
                self.note(line, "not followed; what it has may refuse more, so import the whole configuration")
            }
            _ => self.note(line, "no equal; left out"),
        }
    }

    fn acl(&mut self, name: &str, kind: &str, values: &[String], line: &Line) {
        let name = name.to_ascii_lowercase();
        if matches!(name.as_str(), "all" | "manager") {
            return;
        }
        let (test, is_open) = read(kind, values);
        if is_open || matches!(test, Test::Unknown) {
            self.note(line, "not all of it is known here; what it allows is left out, and what it may deny is denied");
        }
        let acl = Acl { test, is_open };
        let joined = match self.acls.remove(&name) {
            None => acl,
            Some(before) => before.and_also(acl),
        };
        self.acls.insert(name, joined);
    }

    /// Notes that a line has no equal. Of lines that may hold passwords or keys only the beginning is repeated.
    fn note(&mut self, line: &Line, why: &str) {
        let (kept, is_plain) = match line.words.as_slice() {
            [directive, _, kind, ..] if directive == "acl" => (3, PLAIN_LISTS.contains(&kind.as_str())),
            [directive, ..] => (1, PLAIN.contains(&directive.as_str())),
            [] => (0, true),
        };
        let beginning = line.words.iter().take(kept).map(String::as_str).collect::<Vec<_>>().join(" ");
        let is_directive =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || b"0123456789_".contains(&byte));
        let text = if is_plain {
            line.text.as_str()
        } else if kept == 1 && !is_directive(&beginning) {
            "no directive"
        } else {
            &beginning
        };
        let not_repeated = if is_plain { "" } else { " (its arguments are not repeated)" };
        self.draft.note((line.number, text), format!("{why}{not_repeated}"));
    }

    /// What no line matches is the opposite of the last one.
    fn last(&mut self) {
        if let Some(last) = self
            .access
            .last()
            .filter(|last| !last.allows && last.line.words.get(2).is_none_or(|word| !word.eq_ignore_ascii_case("all")))
        {
            let line = last.line.clone();
            self.draft.note(
                (line.number, &line.text),
                "Squid allows what no line matches, because the last one denies: no equal; end with `deny all`",
            );
        }
    }
}

fn access(line: &Line, action: &str) -> Option<Access> {
    let allows = match action {
        "allow" => true,
        "deny" => false,
        _ => return None,
    };
    (line.words.len() > 2).then(|| Access { line: line.clone(), allows })
}

/// Which requests a line matches: at least these if it allows, at most these if it denies.
struct Matched {
    region: Region,
    /// Where addresses of names must lie.
    addresses: Option<Prefixes>,
    /// Addresses that are refused, whatever name leads to them.
    never: Prefixes,
    /// The lists of clients, for a name.
    clients: Vec<String>,
}

struct Judge<'d> {
    acls: BTreeMap<String, Acl>,
    draft: &'d mut Draft,
}

impl Judge<'_> {
    fn allowed(mut self, access: &[Access], beside: &[Access]) -> Vec<Allowed> {
        let denied = |judge: &Self, access: &Access| judge.denied(&access.line);
        let mut denials: Vec<Matched> = beside.iter().filter_map(|access| denied(&self, access)).collect();
        let mut found = Vec::new();
        for one in access {
            if !one.allows {
                denials.extend(denied(&self, one));
                continue;
            }
            match self.one(&one.line) {
                Ok(Some(matched)) => found.extend(self.rest(&one.line, matched, &denials)),
                Ok(None) => {}
                Err(why) => self.draft.note((one.line.number, &one.line.text), format!("{why}; left out")),
            }
        }
        for Matched { never, .. } in &denials {
            self.draft.never_networks.extend(&never.0);
        }
        found
    }

    /// What a line that allows is sure to match; nothing: no CONNECT.
    fn one(&self, line: &Line) -> Result<Option<Matched>, &'static str> {
        let mut matched =
            Matched { region: Region::all(), addresses: None, never: Prefixes::default(), clients: Vec::new() };
        let (mut not_names, mut names_no_address) = (Vec::new(), true);
        let mut is_literal = false;
        for (name, acl, is_not) in self.lists(line) {
            let Some(acl) = acl else { return Err("a list of it is not defined") };
            let region = &mut matched.region;
            match (&acl.test, is_not) {
                (Test::Unknown, _) => return Err("a list of it has no equal"),
                (_, true) if acl.is_open => return Err("not all of what it excludes is known"),
                (Test::All, true)
                | (Test::Nothing, false)
                | (Test::Method(false), false)
                | (Test::Method(true), true) => return Ok(None),
                (Test::All, false)
                | (Test::Nothing, true)
                | (Test::Method(true), false)
                | (Test::Method(false), true) => {}
                (Test::Client(prefixes), false) => {
                    region.clients = region.clients.and(prefixes);
                    matched.clients.push(name.to_owned());
                }
                (Test::Client(prefixes), true) => region.clients = region.clients.without(prefixes),
                (Test::Port(ports), false) => region.ports = region.ports.and(ports),
                (Test::Port(ports), true) => region.ports = region.ports.without(ports),
                (Test::Name(patterns, _), false) => {
                    region.names = region.names.and(patterns);
                    region.literals = Prefixes::default();
                }
                (Test::Name(patterns, is_never_looked_up), true) => {
                    not_names.extend(patterns.iter().cloned());
                    if !is_never_looked_up {
                        region.literals = Prefixes::default();
                    }
                }
                (Test::Address(prefixes), false) => {
                    region.literals = region.literals.and(prefixes);
                    let before = matched.addresses.take();
                    matched.addresses = Some(before.map_or_else(|| prefixes.clone(), |before| before.and(prefixes)));
                    is_literal = true;
                }
                (Test::Address(prefixes), true) => {
                    region.literals = region.literals.without(prefixes);
                    names_no_address = false;
                }
            }
        }
        let region = &mut matched.region;
        region.names = region.names.without(&Names::Some(not_names), false).names;
        if !names_no_address || matched.addresses.as_ref().is_some_and(|prefixes| prefixes.0.is_empty()) {
            region.names = Names::Some(Vec::new());
        }
        if !is_literal {
            region.literals = Prefixes::default();
        }
        Ok(Some(matched))
    }

    /// All that a line that denies may match.
    fn denied(&self, line: &Line) -> Option<Matched> {
        let mut matched =
            Matched { region: Region::all(), addresses: None, never: Prefixes::default(), clients: Vec::new() };
        for (_, acl, is_not) in self.lists(line) {
            let region = &mut matched.region;
            let Some(acl) = acl else { continue };
            match (&acl.test, is_not) {
                (Test::All, true)
                | (Test::Nothing, false)
                | (Test::Method(false), false)
                | (Test::Method(true), true) => return None,
                (Test::Client(prefixes), true) => region.clients = region.clients.without(prefixes),
                (Test::Port(ports), true) => region.ports = region.ports.without(ports),
                (Test::Name(patterns, _), true) => region.names = Names::AllBut(patterns.clone()),
                (Test::Address(prefixes), true) => region.literals = region.literals.without(prefixes),
                (_, false) if acl.is_open => {}
                (Test::Client(prefixes), false) => region.clients = region.clients.and(prefixes),
                (Test::Port(ports), false) => region.ports = region.ports.and(ports),
                (Test::Name(patterns, is_never_looked_up), false) => {
                    // What is taken out of these by another list stays in: a wildcard in part would be none.
                    region.names = match &region.names {
                        names @ Names::Some(_) => names.and(patterns),
                        Names::AllBut(_) => Names::Some(patterns.clone()),
                    };
                    if *is_never_looked_up {
                        region.literals = Prefixes::default();
                    }
                }
                (Test::Address(prefixes), false) => {
                    region.literals = region.literals.and(prefixes);
                    region.names = Names::Some(Vec::new());
                    matched.never.0.extend(&prefixes.0);
                }
                (Test::Unknown | Test::All, _)
                | (Test::Nothing, true)
                | (Test::Method(true), false)
                | (Test::Method(false), true) => {}
            }
        }
        Some(matched)
    }

    fn lists<'s>(&'s self, line: &'s Line) -> impl Iterator<Item = (&'s str, Option<&'s Acl>, bool)> {
        line.words.iter().skip(2).map(|word| {
            let name = word.strip_prefix('!').unwrap_or(word);
            (name, self.acls.get(&name.to_ascii_lowercase()), word.starts_with('!'))
        })
    }

    /// What is left of a line behind all that was denied before it.
    fn rest(&mut self, line: &Line, matched: Matched, denials: &[Matched]) -> Vec<Allowed> {
        let place = (line.number, line.text.as_str());
        let mut regions = vec![matched.region];
        for denied in denials {
            // Denied for all clients and ports, so it may be denied for ever.
            let is_for_all = denied.region.clients == Prefixes::all() && denied.region.ports == Ports::all();
            let mut next = Vec::new();
            for region in &regions {
                let (pieces, torn) = region.without(&denied.region, is_for_all);
                for Torn { wildcard, parts } in torn {
                    if is_for_all {
                        self.draft.never_hosts.extend(parts);
                    } else if let [part, more @ ..] = parts.as_slice() {
                        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
                        let why = format!("`{wildcard}` without `{part}`{more}, which a line before denies for some");
                        self.draft.note(place, format!("{why}: no equal; left out"));
                    }
                }
                next.extend(pieces);
            }
            regions = next;
            if regions.len() > MAX_REGIONS {
                self.draft.note(place, "the lines before it cut it into too many parts; left out");
                return Vec::new();
            }
        }
        if regions.is_empty() {
            self.draft.note(place, "lines before it deny all of it, or may; left out");
        }
        let allowed = |region| Allowed {
            line: line.number,
            text: line.text.clone(),
            region,
            addresses: matched.addresses.clone(),
            clients: matched.clients.clone(),
        };
        regions.into_iter().map(allowed).collect()
    }
}

#[cfg(test)]
#[path = "squid_tests.rs"]
mod tests;
