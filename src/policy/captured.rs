//! Stage 1 for connections that the kernel captured: their clients asked for nothing, they called an address and named a server in TLS.
//! Not here: how they come (`runtime`), and the stages behind, which are those of every request.
//! Source: the contract's `mode: transparent`: by name rules on hosts hold first, and our answer for the name is dialled; the address that the
//! client chose counts for rules on networks alone.

use std::net::SocketAddr;

use jiff::Timestamp;

use super::addresses::OwnAddresses;
use super::decision::Denial;
use super::hello::{self, Allowed};
use super::reason::Reason;
use super::request::{Admitted, Identified};
use crate::address;
use crate::name::{Host, Target};
use crate::tls::ClientHello;

impl Identified {
    /// Whether a rule lets the source reach what a client wants that called `original` and sent `hello`. The same CONNECT would be let
    /// through as well.
    ///
    /// # Errors
    /// `destination_denied` for name and address; `address_forbidden` for the proxy's own sockets; `sni_mismatch` for what is no name; else
    /// that of the rules.
    pub fn captured(
        &self,
        original: SocketAddr,
        hello: &ClientHello,
        own: &OwnAddresses,
        at: Timestamp,
    ) -> Result<Admitted, Denial> {
        let original = SocketAddr::new(address::canonical(original.ip()), original.port());
        self.wanted(original, hello, own, at).map(|admitted| admitted.of_captured(original))
    }

    fn wanted(
        &self,
        original: SocketAddr,
        offered: &ClientHello,
        own: &OwnAddresses,
        at: Timestamp,
    ) -> Result<Admitted, Denial> {
        let target = |host| Target::new(host, original.port()).ok_or_else(|| Denial::new(Reason::MalformedTarget));
        let called = target(Host::Address(original.ip()))?;
        let by_network = self.enforce(&called, at);
        let name = hello::server_name(offered);
        let named = name.as_ref().ok().copied().flatten().map(|name| target(Host::Name(name.clone()))).transpose()?;
        let by_name = named.as_ref().map(|named| self.enforce(named, at));
        // What is never allowed is not allowed by the other of the two either. A customer's block is for the rule that is chosen.
        let denials = [by_network.as_ref().err(), by_name.as_ref().and_then(|found| found.as_ref().err())];
        if let Some(denial) = denials.into_iter().flatten().find(|denial| is_for_all(denial)) {
            return Err(denial.clone());
        }
        own.judge_captured(original)?;
        name?;
        match (named.as_ref().zip(by_name), by_network) {
            (None, by_network) => Ok(self.admit(by_network?, None, &called, Some(at))),
            (Some((named, Ok(rule))), _) => Ok(self.admit(rule, None, named, Some(at))),
            (Some((named, Err(denial))), by_network) if denial.reason() == Reason::DestinationNotListed => {
                match by_network {
                    Ok(rule) => Ok(self.admit(rule, None, &called, Some(at))),
                    Err(other) if other.block().is_some() => Err(other),
                    Err(other) => self
                        .observe(denial, named, at)
                        .map_err(|found| if found.block().is_some() { found } else { other }),
                }
            }
            (Some((named, Err(denial))), _) => self.observe(denial, named, at),
        }
    }

    /// The same for an open tunnel. It must lead where it has led: another way in which the hello would be let through is another
    /// tunnel's.
    pub(super) fn captured_again(
        &self,
        original: SocketAddr,
        allowed: &Allowed,
        own: &OwnAddresses,
        at: Timestamp,
    ) -> Result<Admitted, Denial> {
        let admitted = self.captured(original, allowed.client_hello(), own, at)?;
        if admitted.target() == allowed.target() {
            Ok(admitted)
        } else {
            Err(admitted.deny(Reason::DestinationNotListed))
        }
    }
}

/// Whether whatever rule is chosen is denied: by `never`, or by a block of the source, the name or the address.
fn is_for_all(denial: &Denial) -> bool {
    denial.reason() == Reason::DestinationDenied && denial.rule().is_none()
}
