//! Everything from outside: the real binary, real sockets on loopback, real clients and servers, the sources themselves.
//! One binary with modules, so that it links once.

#[cfg(test)]
mod admin;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod blocks;
#[cfg(test)]
mod canary;
#[cfg(test)]
mod captured;
#[cfg(test)]
mod certificates;
#[cfg(test)]
mod changes;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod commands;
#[cfg(test)]
#[path = "../corpus/mod.rs"]
mod corpus;
#[cfg(test)]
mod decision_log;
#[cfg(test)]
mod dials;
#[cfg(test)]
mod dns_server;
#[cfg(test)]
mod dnssec;
#[cfg(test)]
mod dnssec_lies;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod drains;
#[cfg(test)]
mod egress_namespaces;
#[cfg(test)]
mod encrypted_dns;
#[cfg(test)]
mod ends;
#[cfg(test)]
mod export;
#[cfg(test)]
mod firewall_errors;
#[cfg(test)]
mod firewall_namespaces;
#[cfg(test)]
mod foresight;
#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod gateways;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod heads;
#[cfg(test)]
mod hellos;
#[cfg(test)]
mod http2;
#[cfg(test)]
mod instructions;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod load_balancers;
#[cfg(test)]
mod lookups;
#[cfg(test)]
#[expect(dead_code, reason = "the page of `make accept` reads the rest of it")]
mod matrix;
#[cfg(test)]
mod names;
#[cfg(test)]
mod namespaces;
#[cfg(test)]
mod nginx;
#[cfg(test)]
mod origins;
#[cfg(test)]
mod pipes;
#[cfg(test)]
mod planted;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod profile;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod query;
#[cfg(test)]
mod quotas;
#[cfg(test)]
mod recall;
#[cfg(test)]
mod redact;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod report_mode;
#[cfg(test)]
mod repository;
#[cfg(test)]
mod secure_listeners;
#[cfg(test)]
mod server_side;
#[cfg(test)]
mod signed_zones;
#[cfg(test)]
mod sources;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod structure;
#[cfg(test)]
mod take_over;
#[cfg(test)]
mod taken_back;
#[cfg(test)]
mod tunnels;
#[cfg(test)]
mod unix_sockets;
#[cfg(test)]
mod ways;
#[cfg(test)]
mod wire;
