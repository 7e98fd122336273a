//! The admin port: its address, its certificate and key, and the file of tokens that open `/v1` and `/log`.
//! Not here: reading those files (`runtime::admin`), what the file of tokens says (`tokens`).
//! Source: the contract: `admin`; PCI DSS 2.2.7 and 8.3.2 (administrators' secrets cross no network in the clear).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::bound::{Bound, socket_address};
use super::path;
use crate::yaml::{Faults, Field, Located};

/// The admin port's default: on loopback, so that nobody else reaches it.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901);

/// The admin port. Off loopback it has TLS, if it has tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Its address; port 0 takes a free one.
    pub address: SocketAddr,
    /// Certificate and key; without them it speaks plain HTTP.
    pub tls: Option<AdminTls>,
    /// The file of tokens, as written; without it `/v1` and `/log` are closed.
    pub tokens: Option<Located<String>>,
}

/// The admin port's files for TLS, as written: PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminTls {
    /// The certificate and those between it and its authority.
    pub certificate: Located<String>,
    /// Its private key.
    pub key: Located<String>,
}

/// Reads `admin`.
pub fn admin(field: Option<Field<'_>>, bound: &mut Bound, faults: &mut Faults) -> Admin {
    let closed = Admin { address: DEFAULT, tls: None, tokens: None };
    let Some(mut map) = field.and_then(|field| field.map("`admin`", faults)) else { return closed };
    let address = map.take("address").and_then(|field| socket_address(field, bound, faults)).unwrap_or(DEFAULT);
    let tls_field = map.take("tls");
    let tls = tls_field.and_then(|field| tls(field, faults));
    let tokens = map.take("tokens").and_then(|field| path(field, faults));
    map.finish(&[], faults);
    if let Some(tokens) = tokens.as_ref().filter(|_| tls_field.is_none() && !address.ip().is_loopback()) {
        let message = format!(
            "`tokens` would cross the network in the clear to `{address}`; write `tls: {{certificate: …, key: …}}` \
             beside them, or an address on loopback"
        );
        faults.at(tokens.place, message);
    }
    Admin { address, tls, tokens }
}

fn tls(field: Field<'_>, faults: &mut Faults) -> Option<AdminTls> {
    let mut map = field.map("`tls`", faults)?;
    let certificate = map.require("certificate", faults).and_then(|field| path(field, faults));
    let key = map.require("key", faults).and_then(|field| path(field, faults));
    map.finish(&[], faults);
    Some(AdminTls { certificate: certificate?, key: key? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn read(text: &str) -> (Admin, Vec<String>) {
        let mut faults = Faults::new();
        let root = yaml::parse(text, 0, &mut faults).unwrap();
        let field = Field::new("admin", root.place, &root);
        let admin = admin(Some(field), &mut Bound::default(), &mut faults);
        (admin, faults.iter().map(|fault| fault.line(&["f"])).collect())
    }

    #[test]
    fn what_is_given_is_kept_with_its_place() {
        let (admin, faults) =
            read("address: 192.0.2.1:9901\ntls: {certificate: a.pem, key: a.key}\ntokens: tokens.yaml\n");
        assert_eq!(faults, Vec::<String>::new());
        let tls = admin.tls.unwrap();
        let named = [&tls.certificate, &tls.key, admin.tokens.as_ref().unwrap()];
        let named = named.map(|path| (path.value.as_str(), path.place.line, path.place.column));
        assert_eq!(named, [("a.pem", 2, 20), ("a.key", 2, 32), ("tokens.yaml", 3, 9)]);
        assert_eq!(admin.address.to_string(), "192.0.2.1:9901");
    }

    #[test]
    fn tokens_do_not_cross_a_network_in_the_clear() {
        for (text, refused) in [
            ("{tokens: t}", false),
            ("{address: '127.8.8.8:1', tokens: t}", false),
            ("{address: '[::1]:1', tokens: t}", false),
            ("{address: '[::ffff:127.0.0.1]:1', tokens: t}", false),
            ("{address: '0.0.0.0:1'}", false),
            ("{address: '0.0.0.0:1', tls: {certificate: a, key: b}}", false),
            ("{address: '0.0.0.0:1', tls: {certificate: a, key: b}, tokens: t}", false),
            ("{address: '0.0.0.0:1', tokens: t}", true),
            ("{address: '192.0.2.1:1', tokens: t}", true),
            ("{address: '[::]:1', tls: none, tokens: t}", true),
        ] {
            let (_, faults) = read(text);
            let found = faults.iter().filter(|fault| fault.contains("`tokens` would cross the network")).count();
            assert_eq!((found == 1, faults.len()), (refused, usize::from(refused)), "`{text}`: {faults:?}");
        }
    }

    #[test]
    fn faults_of_tls() {
        for (text, want) in [
            ("{tls: {key: b}}", "f:1:7: `tls` lacks `certificate`; add it"),
            ("{tls: {certificate: a}}", "f:1:7: `tls` lacks `key`; add it"),
            ("{tls: a.pem}", "f:1:7: `tls` is `a.pem`; write a mapping, as `key: value`"),
            ("{tls: {certificate: a, keys: b}}", "f:1:24: unknown key `keys`; did you mean `key`?"),
            ("{tokens: [a]}", "f:1:10: `tokens` is a list; write a text"),
            ("{token: a}", "f:1:2: unknown key `token`; did you mean `tokens`?"),
        ] {
            let (_, faults) = read(text);
            assert!(faults.iter().any(|fault| fault == want), "`{text}`: {faults:?}");
        }
    }
}
