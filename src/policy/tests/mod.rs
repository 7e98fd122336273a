//! The policy from its files to its last stage, through the doors that the proxy uses.
//! Not here: tests of single parts, which stand beside them.

mod addresses;
mod ask;
mod attacks;
mod blocks;
mod captured;
mod cases;
mod clients;
mod compile;
mod diff;
mod diff_laws;
mod hello;
mod laws;
mod matrix;
mod nearest;
mod reload;
mod report;
mod request;

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use super::*;
use crate::name::{Fqdn, Target};
use crate::tls::{ClientHello, ProtocolVersion, ServerName};
use crate::yaml::Faults;

/// A moment in all tests that do not care: a Friday.
const AT: &str = "2027-01-01T12:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

fn name(text: &str) -> Fqdn {
    text.parse().unwrap()
}

fn file(path: &str, text: &str) -> PolicyFile {
    PolicyFile { path: path.to_owned(), shown: path.to_owned(), text: text.to_owned() }
}

/// Loads files for a proxy of `production` with a pool `static-a`; or every fault, with its place.
fn load(files: &[PolicyFile]) -> Result<Arc<Policy>, Vec<String>> {
    let mut faults = Faults::new();
    let setting = Setting { environment: Some("production"), pools: &["static-a"], now: at(AT), ..Setting::default() };
    let policy = Policy::load(files, &setting, &mut faults);
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let lines: Vec<String> = faults.iter().map(|fault| fault.line(&paths)).collect();
    assert_eq!(policy.is_some(), lines.is_empty(), "a policy, or faults: {lines:#?}");
    policy.map(Arc::new).ok_or(lines)
}

/// A policy of one file; `version` is put in front.
fn policy(text: &str) -> Arc<Policy> {
    load(&[file("p.yaml", &format!("version: 1\n{text}"))]).unwrap_or_else(|faults| panic!("{faults:#?}\n{text}"))
}

/// A policy with source `a` (10.20.0.0/24) and one rule `r` of customer `c`; `rest` is what else the rule says, on one line.
fn one_rule(rest: &str) -> Arc<Policy> {
    policy(&format!(
        "sources: [{{name: a, subnets: [10.20.0.0/24]}}]\nrules: [{{id: r, customer: c, sources: [a], {rest}}}]\n"
    ))
}

const CLIENT: &str = "10.20.0.7";

/// The first stage for the client of source `a`.
fn admit(policy: &Arc<Policy>, to: &str) -> Result<Admitted, Denial> {
    policy.identify(&ip(CLIENT).into())?.request(&target(to), at(AT))
}

/// The first two stages, with an answer of these addresses.
fn route(policy: &Arc<Policy>, to: &str, answer: &[&str]) -> Result<Routed, Denial> {
    let addresses: Vec<IpAddr> = answer.iter().copied().map(ip).collect();
    admit(policy, to)?.addresses(&Answer { addresses: &addresses, cnames: &[] }, &OwnAddresses::default())
}

/// What a stage came to, as a word: `allowed`, or the reason.
fn word<T>(result: &Result<T, Denial>) -> &'static str {
    match result {
        Ok(_) => "allowed",
        Err(denial) => denial.reason().as_str(),
    }
}

/// A TLS 1.3 hello for `server`, without ALPN.
fn client_hello(server: Option<&str>) -> ClientHello {
    ClientHello {
        server_name: server.map(|server| ServerName::Name(name(server))),
        max_version: ProtocolVersion::Tls13,
        alpn: Vec::new(),
        ech: false,
        esni: false,
        early_data: false,
    }
}
