//! Lines of a `squid.conf`, and what its lists of access ask for, as far as that is known here.
//! Not here: what lines of these lists allow and deny (`squid`). A value that is not known makes its list open.
//! Source: Squid's `squid.conf` documentation: `acl`; lists of one name, in any case, add up; `.x` is x and all below it; methods may be in any case.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::region::{Ports, Prefixes, range};
use crate::name::HostPattern;

/// A line with its continuations, without comments.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) number: u32,
    pub(super) text: String,
    pub(super) words: Vec<String>,
}

/// What an `acl` asks for.
#[derive(Clone, Debug)]
pub(super) enum Test {
    All,
    /// What no CONNECT is.
    Nothing,
    Client(Prefixes),
    /// The address of the destination.
    Address(Prefixes),
    /// Its name; whether a literal address is never looked up for it.
    Name(Vec<HostPattern>, bool),
    Port(Ports),
    /// Whether it has CONNECT.
    Method(bool),
    /// Something that has no equal here.
    Unknown,
}

#[derive(Clone, Debug)]
pub(super) struct Acl {
    pub(super) test: Test,
    /// Whether it has values that are not known.
    pub(super) is_open: bool,
}

/// Lines as Squid joins them: comments and empty lines among continuations are skipped, and a word may go on behind one. A `\` that
/// nothing follows stays a word, which names no list and is no value.
pub(super) fn lines(text: &str) -> Vec<Line> {
    let mut found: Vec<Line> = Vec::new();
    let mut begun: Option<(u32, String)> = None;
    for (number, raw) in (1..).zip(text.lines()) {
        let part = raw.split_once('\r').map_or(raw, |(before, _)| before).trim_start();
        if part.is_empty() || part.starts_with('#') {
            continue;
        }
        let (first, mut joined) = begun.take().unwrap_or((number, String::new()));
        joined.push_str(part);
        match joined.strip_suffix('\\') {
            Some(joined) => begun = Some((first, joined.to_owned())),
            None => found.push(line(first, &joined)),
        }
    }
    found.extend(begun.map(|(first, joined)| line(first, &format!("{joined} \\"))));
    found.retain(|line| !line.words.is_empty());
    found
}

fn line(number: u32, joined: &str) -> Line {
    let words = joined.split([' ', '\t']).filter(|word| !word.is_empty()).take_while(|word| !word.starts_with('#'));
    let words: Vec<String> = words.map(str::to_owned).collect();
    Line { number, text: words.join(" "), words }
}

/// What a list asks for, and whether some of it is not known.
pub(super) fn read(kind: &str, values: &[String]) -> (Test, bool) {
    let flags = values.iter().take_while(|value| value.starts_with('-')).count();
    let (flags, values) = values.split_at_checked(flags).unwrap_or((&[], values));
    // What another flag changes is not known here, nor is what a file's name with blanks in it leaves of itself.
    let is_known = flags.iter().all(|flag| kind == "dstdomain" && flag == "-n");
    if !is_known || values.iter().any(|value| is_cut(value)) {
        return (Test::Unknown, true);
    }
    let mut is_open = false;
    let mut each = |read: &mut dyn FnMut(&str) -> bool| values.iter().for_each(|value| is_open |= !read(value));
    let test = match kind {
        "src" | "dst" => {
            let mut prefixes = Prefixes::default();
            each(&mut |value| prefixes_of(value).map(|more| prefixes.0.extend(more)).is_some());
            if kind == "src" { Test::Client(prefixes) } else { Test::Address(prefixes) }
        }
        "dstdomain" => {
            let mut patterns = Vec::new();
            each(&mut |value| patterns_of(value).map(|more| patterns.extend(more)).is_some());
            Test::Name(patterns, !flags.is_empty())
        }
        "port" => {
            let mut ports = Ports::default();
            each(&mut |value| ports_of(value).map(|(first, last)| ports.add(first, last)).is_some());
            Test::Port(ports)
        }
        "method" => {
            each(&mut |value| value.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-'));
            let has_connect = values.iter().any(|value| value.eq_ignore_ascii_case("CONNECT"));
            if is_open && !has_connect { Test::Unknown } else { Test::Method(has_connect) }
        }
        "proto" if values.iter().all(|value| value.as_str() == "cache_object") => Test::Nothing,
        _ => Test::Unknown,
    };
    (test, is_open)
}

/// Whether it is a part of a text in quotes.
fn is_cut(value: &str) -> bool {
    value.contains('"') && !value.strip_prefix('"').is_some_and(|rest| rest.ends_with('"'))
}

fn prefixes_of(value: &str) -> Option<Vec<IpNet>> {
    match value {
        "all" => return Some(Prefixes::all().0),
        "ipv4" => return Some(vec![IpNet::V4(Ipv4Net::default())]),
        _ => {}
    }
    let address = |text: &str| text.parse::<IpAddr>().ok().filter(|address| *address == address.to_canonical());
    if let Some((first, last)) = value.split_once('-') {
        return range(address(first)?, address(last)?);
    }
    let Some((base, length)) = value.split_once('/') else { return Some(vec![IpNet::from(address(value)?)]) };
    let base = address(base)?;
    let net = match length.parse::<u8>() {
        Ok(length) => IpNet::new(base, length).ok()?,
        Err(_) => IpNet::with_netmask(base, address(length)?).ok()?,
    };
    Some(vec![net.trunc()])
}

/// `.x` is x and all below it.
fn patterns_of(value: &str) -> Option<Vec<HostPattern>> {
    if value.parse::<IpAddr>().is_ok() || value.contains('*') {
        return None;
    }
    match value.strip_prefix('.') {
        Some(base) => Some(vec![base.parse().ok()?, format!("**.{base}").parse().ok()?]),
        None => Some(vec![value.parse().ok()?]),
    }
}

fn ports_of(value: &str) -> Option<(u16, u16)> {
    let (first, last) = value.split_once('-').unwrap_or((value, value));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first.max(1), last))
}

impl Acl {
    /// Lines of one name add up, if they are of one sort.
    pub(super) fn and_also(self, more: Self) -> Self {
        let is_open = self.is_open || more.is_open;
        let test = match (self.test, more.test) {
            (Test::Client(one), Test::Client(other)) => Test::Client(Prefixes([one.0, other.0].concat())),
            (Test::Address(one), Test::Address(other)) => Test::Address(Prefixes([one.0, other.0].concat())),
            (Test::Name(one, is_one), Test::Name(other, is_other)) => {
                Test::Name([one, other].concat(), is_one && is_other)
            }
            (Test::Port(mut one), Test::Port(other)) => {
                other.iter().for_each(|port| one.add(port, port));
                Test::Port(one)
            }
            (Test::Method(one), Test::Method(other)) => Test::Method(one || other),
            (Test::Nothing, Test::Nothing) => Test::Nothing,
            (
                Test::All
                | Test::Nothing
                | Test::Client(_)
                | Test::Address(_)
                | Test::Name(..)
                | Test::Port(_)
                | Test::Method(_)
                | Test::Unknown,
                _,
            ) => Test::Unknown,
        };
        Self { test, is_open }
    }
}
