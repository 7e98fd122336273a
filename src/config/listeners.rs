//! Where clients connect and how they come in, and what does not go together.
//! Not here: which of them a policy needs (`policy::Ways`), files that are named (`runtime`), binding (`runtime::listeners`).
//! Source: the contract: `listeners`; unix(7), RFC 8446 4.4.2 (client certificates), the PROXY protocol, 2 (who may send its header).

use std::sync::Arc;

use ipnet::IpNet;

use super::bound::{Bound, socket_address};
use super::{Capture, ClientAuth, ListenAddress, Listener, ListenerTls, Mode, StaleCrl, UnixAddress, label, path};
use crate::address;
use crate::yaml::{Faults, Field, MapReader, shown};

/// How the address of a Unix socket begins.
const UNIX: &str = "unix:";

/// The proxy's own user and its group may connect: whoever owns the host puts a client's user into that group, and nobody else has
/// a way in that only a rule would close.
const PERMISSIONS: u32 = 0o660;

/// All mode bits that say who may connect; whoever has a uid of a source is told apart behind them.
const EVERYBODY: u32 = 0o777;

/// Those without which nobody may (unix(7): connecting takes the right to write).
const TO_WRITE: u32 = 0o222;

const MODES: &[(&str, Entry)] = &[("connect", Entry::Connect), ("transparent", Entry::Transparent)];

const CAPTURES: &[(&str, Capture)] = &[("redirect", Capture::Redirect), ("tproxy", Capture::Tproxy)];

const CLIENT_AUTH: &[(&str, Asks)] = &[("none", Asks::Nothing), ("required", Asks::Certificate)];

const STALE_CRL: &[(&str, StaleCrl)] = &[("refuse", StaleCrl::Refuse), ("warn", StaleCrl::Warn)];

/// What `mode` says, before `capture` is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    Connect,
    Transparent,
}

/// What `client_auth` says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    Nothing,
    Certificate,
}

/// The client listeners.
pub fn listeners(field: Field<'_>, bound: &mut Bound, faults: &mut Faults) -> Vec<Listener> {
    let Some(items) = field.list(faults) else { return Vec::new() };
    if items.len() == 0 {
        field.fault("`listeners` is empty; write at least one `{name: …, address: …}`", faults);
    }
    let mut listeners: Vec<Listener> = Vec::with_capacity(items.len());
    for item in items {
        let Some(map) = item.map("a listener", faults) else { continue };
        let read = listener(map, &listeners, bound, faults);
        listeners.extend(read);
    }
    listeners
}

/// One of them. Every key is read, whatever is wrong with the others.
fn listener(mut map: MapReader<'_>, others: &[Listener], bound: &mut Bound, faults: &mut Faults) -> Option<Listener> {
    let place = map.place();
    let name = map.require("name", faults).and_then(|field| name(field, others, faults));
    let permissions = map.take("permissions").and_then(|field| permissions(field, faults));
    let address = map.require("address", faults).and_then(|field| match unix_path(field) {
        Some(path) => unix_address(field, (path, permissions), faults),
        None => socket_address(field, bound, faults).map(ListenAddress::Tcp),
    });
    let mode = mode(&mut map, faults);
    let tls = map.take("tls").and_then(|field| tls(field, faults));
    let proxy_protocol = map.take("proxy_protocol").map(|field| proxy_protocol(field, faults));
    let credentials = map.take("credentials").and_then(|field| path(field, faults));
    together(&mut map, address.as_ref(), mode, faults);
    map.finish(&[], faults);
    // What is refused here is not asked for its files as well.
    let has_more = mode == Mode::Connect && !matches!(address, Some(ListenAddress::Unix(_)));
    Some(Listener {
        name: name?,
        place,
        address: address?,
        mode,
        tls: tls.filter(|_| has_more),
        proxy_protocol: proxy_protocol.unwrap_or_default().into(),
        credentials: credentials.filter(|_| has_more),
    })
}

fn name(field: Field<'_>, others: &[Listener], faults: &mut Faults) -> Option<Arc<str>> {
    let name = label(field, faults)?;
    if others.iter().any(|other| *other.name == *name) {
        field.fault(format!("a second listener `{name}`; write another name"), faults);
        return None;
    }
    Some(name.into())
}

/// The path of a Unix socket, if it is one.
fn unix_path(field: Field<'_>) -> Option<&str> {
    field.text(&mut Faults::new())?.strip_prefix(UNIX)
}

fn unix_address(
    field: Field<'_>,
    (path, permissions): (&str, Option<u32>),
    faults: &mut Faults,
) -> Option<ListenAddress> {
    if path.is_empty() || path.contains('\0') {
        field.fault("`unix:` needs a path; write one such as `unix:/run/sallyport/edge.sock`", faults);
        return None;
    }
    let permissions = permissions.unwrap_or(PERMISSIONS);
    Some(ListenAddress::Unix(UnixAddress { path: field.located(path.to_owned()), permissions }))
}

/// As chmod(1) has them, in quotes: YAML readers differ on what a number with a zero in front is.
fn permissions(field: Field<'_>, faults: &mut Faults) -> Option<u32> {
    let text = field.text(faults)?;
    let octal = text.bytes().all(|byte| (b'0'..=b'7').contains(&byte)).then(|| u32::from_str_radix(text, 8).ok());
    let bits = octal.flatten().filter(|bits| *bits <= EVERYBODY);
    if bits.is_some_and(|bits| bits & TO_WRITE == 0) {
        let found = shown(text);
        field.fault(format!("`permissions` is {found}, and nobody may connect; write some such as `\"0660\"`"), faults);
    }
    if bits.is_none() {
        field.fault(
            format!("`permissions` is {}; write octal digits up to `\"0777\"`, such as `\"0660\"`", shown(text)),
            faults,
        );
    }
    bits
}

fn mode(map: &mut MapReader<'_>, faults: &mut Faults) -> Mode {
    let transparent = map.take("mode").and_then(|field| field.word(MODES, faults)) == Some(Entry::Transparent);
    let written = map.take("capture");
    let capture = written.and_then(|field| field.word(CAPTURES, faults)).unwrap_or_default();
    if let Some(field) = written.filter(|_| !transparent) {
        faults.at(field.key_place(), "`capture` goes with `mode: transparent` alone; remove it");
    }
    if transparent { Mode::Transparent(capture) } else { Mode::Connect }
}

fn tls(field: Field<'_>, faults: &mut Faults) -> Option<ListenerTls> {
    let mut map = field.map("`tls`", faults)?;
    let certificate = map.require("certificate", faults).and_then(|field| path(field, faults));
    let key = map.require("key", faults).and_then(|field| path(field, faults));
    let client_auth = client_auth(&mut map, faults);
    map.finish(&[], faults);
    Some(ListenerTls { certificate: certificate?, key: key?, client_auth })
}

/// Authorities without `client_auth: required` are a fault, not a default: who names them believes that certificates are checked.
fn client_auth(map: &mut MapReader<'_>, faults: &mut Faults) -> Option<ClientAuth> {
    let asks = map.take("client_auth").filter(|field| field.word(CLIENT_AUTH, faults) == Some(Asks::Certificate));
    let authorities = map.take("client_ca");
    let ca = authorities.and_then(|field| path(field, faults));
    let lists = map.take("crl");
    let crl = lists.and_then(|field| path(field, faults));
    let stale = map.take("stale_crl");
    let stale_crl = stale.and_then(|field| field.word(STALE_CRL, faults)).unwrap_or_default();
    match (asks, authorities) {
        (Some(field), None) => {
            field.fault("`client_auth: required` needs `client_ca`, the authorities of the clients; add it", faults);
        }
        (None, Some(field)) => {
            faults.at(
                field.key_place(),
                "`client_ca` goes with `client_auth: required` alone; write that beside it, or remove this",
            );
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    let without = [(lists, "crl", authorities, "client_ca"), (stale, "stale_crl", lists, "crl")];
    for (field, key, needed, other) in without {
        if let (Some(field), None) = (field, needed) {
            faults.at(
                field.key_place(),
                format!("`{key}` goes with `{other}` alone; write that beside it, or remove this"),
            );
        }
    }
    asks.and(ca).map(|ca| ClientAuth { ca, crl, stale_crl })
}

/// Who must send the header, and is believed whatever address it says: so no wide prefix, with no way to own up to it.
fn proxy_protocol(field: Field<'_>, faults: &mut Faults) -> Vec<IpNet> {
    let Some(mut map) = field.map("`proxy_protocol`", faults) else { return Vec::new() };
    let from = map.require("from", faults);
    map.finish(&[], faults);
    let Some((field, items)) = from.and_then(|field| Some((field, field.list(faults)?))) else { return Vec::new() };
    if items.len() == 0 {
        field.fault("`from` is empty; write at least one prefix, such as `10.0.0.0/28`", faults);
    }
    items.filter_map(|item| prefix(item, faults)).collect()
}

fn prefix(field: Field<'_>, faults: &mut Faults) -> Option<IpNet> {
    let prefix = field.read(address::parse_prefix, faults)?;
    if address::is_wide(&prefix) {
        let why = "whoever is in it may speak for any client";
        field.fault(
            format!("`{prefix}` is shorter than /16 (/32 for IPv6), and {why}; write the load balancers alone"),
            faults,
        );
    }
    Some(prefix)
}

/// What goes with some listeners alone.
fn together(map: &mut MapReader<'_>, address: Option<&ListenAddress>, mode: Mode, faults: &mut Faults) {
    let is_unix = matches!(address, Some(ListenAddress::Unix(_)));
    if let Some(field) = map.take("permissions").filter(|_| matches!(address, Some(ListenAddress::Tcp(_)))) {
        faults.at(field.key_place(), "`permissions` goes with a Unix socket alone; remove it");
    }
    let with = match mode {
        Mode::Connect if is_unix => "a Unix socket",
        Mode::Transparent(_) => "`mode: transparent`",
        Mode::Connect => {
            let credentials = map.take("credentials").filter(|_| map.take("tls").is_none());
            if let Some(field) = credentials {
                field.fault("`credentials` would cross the network in the clear; write `tls: {certificate: …, key: …}` beside them", faults);
            }
            return;
        }
    };
    if let Some(field) = map.take("mode").filter(|_| is_unix && mode != Mode::Connect) {
        field.fault("`mode: transparent` does not go with a Unix socket; write `connect`, or an address", faults);
    }
    for key in ["tls", "proxy_protocol", "credentials"] {
        if let Some(field) = map.take(key) {
            faults.at(field.key_place(), format!("`{key}` does not go with {with}; remove it"));
        }
    }
}

#[cfg(test)]
#[path = "listeners_tests.rs"]
mod tests;
