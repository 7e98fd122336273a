//! A name server as it is written: `udp://`, `tcp://`, `tls://` (RFC 7858) and `https://` (RFC 8484), each with an address.
//! Not here: asking (`runtime::dns`), whose certificate is trusted. An address is always given: no name is looked up to look names up.
//! Source: the contract: `dns.servers`.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use crate::name::{Fqdn, NameError};
use crate::yaml::shown;

/// Upper bound in bytes of the path of a server asked over HTTPS.
const MAX_PATH: usize = 255;

/// A resolver to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsServer {
    /// Those of the system (`/etc/resolv.conf`).
    System,
    /// This one over UDP, and TCP for long answers.
    Udp(SocketAddr),
    /// This one over TCP.
    Tcp(SocketAddr),
    /// This one over TLS.
    Tls {
        /// What its certificate must name.
        name: Fqdn,
        /// Where it is.
        address: SocketAddr,
    },
    /// This one over HTTPS, HTTP/2 alone.
    Https {
        /// What its certificate must name.
        name: Fqdn,
        /// Where it is.
        address: SocketAddr,
        /// Where it answers, from `/` on.
        path: Arc<str>,
    },
}

/// Why a text is no server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// Another scheme, or no address.
    #[error(
        "{} is no DNS server; write `system`, `udp://IP`, `tcp://IP`, `tls://NAME@IP` or `https://NAME@IP/PATH`, with `:PORT` behind \
         the address if it is another one",
        shown(text)
    )]
    Bad {
        /// What was written.
        text: String,
    },
    /// Nothing that the certificate must name.
    #[error("{} says no name for the certificate; write `{scheme}://NAME@IP`", shown(text))]
    NoName {
        /// What was written.
        text: String,
        /// `tls` or `https`.
        scheme: &'static str,
    },
    /// Something else before the `@`.
    #[error("{} must name a host before `@`: {error}", shown(text))]
    BadName {
        /// What was written.
        text: String,
        /// What is wrong with the name.
        error: NameError,
    },
    /// None, or with other characters.
    #[error(
        "{} has no usable path; write the server's, such as `/dns-query`: at most {MAX_PATH} of A-Z a-z 0-9 and `/ - . _ ~`",
        shown(text)
    )]
    Path {
        /// What was written.
        text: String,
    },
}

impl FromStr for DnsServer {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Self, ServerError> {
        let bad = || ServerError::Bad { text: text.to_owned() };
        if text == "system" {
            return Ok(Self::System);
        }
        match text.split_once("://") {
            Some(("udp", rest)) => address(rest, 53).map(Self::Udp).ok_or_else(bad),
            Some(("tcp", rest)) => address(rest, 53).map(Self::Tcp).ok_or_else(bad),
            Some(("tls", rest)) => {
                let (name, rest) = named(text, "tls", rest)?;
                Ok(Self::Tls { name, address: address(rest, 853).ok_or_else(bad)? })
            }
            Some(("https", rest)) => {
                let (name, rest) = named(text, "https", rest)?;
                let (rest, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                let address = address(rest, 443).ok_or_else(bad)?;
                if !is_path(path) {
                    return Err(ServerError::Path { text: text.to_owned() });
                }
                Ok(Self::Https { name, address, path: path.into() })
            }
            Some(_) | None => Err(bad()),
        }
    }
}

/// What stands before the `@`, and what behind it.
fn named<'a>(text: &str, scheme: &'static str, rest: &'a str) -> Result<(Fqdn, &'a str), ServerError> {
    let (name, rest) = rest.split_once('@').ok_or_else(|| ServerError::NoName { text: text.to_owned(), scheme })?;
    let name = name.parse().map_err(|error| ServerError::BadName { text: text.to_owned(), error })?;
    Ok((name, rest))
}

/// `IP`, `[IP]`, `IP:PORT` or `[IP]:PORT`.
fn address(text: &str, port: u16) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = match bare.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port),
        Err(_) => text.parse().ok()?,
    };
    (address.port() != 0 && !address.ip().is_unspecified()).then_some(address)
}

fn is_path(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    text.starts_with('/') && text.len() <= MAX_PATH && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn tls(address: &str) -> DnsServer {
        DnsServer::Tls { name: "dns.example".parse().unwrap(), address: at(address) }
    }

    fn https(address: &str, path: &str) -> DnsServer {
        DnsServer::Https { name: "dns.example".parse().unwrap(), address: at(address), path: path.into() }
    }

    #[test]
    fn servers() {
        for (text, want) in [
            ("system", DnsServer::System),
            ("udp://192.0.2.1", DnsServer::Udp(at("192.0.2.1:53"))),
            ("udp://192.0.2.1:5353", DnsServer::Udp(at("192.0.2.1:5353"))),
            ("tcp://2001:db8::1", DnsServer::Tcp(at("[2001:db8::1]:53"))),
            ("tcp://[2001:db8::1]", DnsServer::Tcp(at("[2001:db8::1]:53"))),
            ("tcp://[2001:db8::1]:5353", DnsServer::Tcp(at("[2001:db8::1]:5353"))),
            ("tls://dns.example@192.0.2.1", tls("192.0.2.1:853")),
            ("tls://DNS.example.@192.0.2.1:8853", tls("192.0.2.1:8853")),
            ("tls://dns.example@2001:db8::1", tls("[2001:db8::1]:853")),
            ("https://dns.example@192.0.2.1/dns-query", https("192.0.2.1:443", "/dns-query")),
            ("https://dns.example@[2001:db8::1]:8443/a/b", https("[2001:db8::1]:8443", "/a/b")),
            ("https://dns.example@192.0.2.1/", https("192.0.2.1:443", "/")),
        ] {
            assert_eq!(text.parse(), Ok(want), "`{text}`");
        }
    }

    #[test]
    fn what_is_none_is_told_why() {
        let (none, name) = ("is no DNS server; write `system`", "says no name for the certificate; write `");
        let (host, path) = ("must name a host before `@`: ", "has no usable path; write the server's");
        let long = format!("https://dns.example@192.0.2.1/{}", "a".repeat(MAX_PATH));
        for (text, why) in [
            ("", none),
            ("192.0.2.1", none),
            ("udp://", none),
            ("udp://dns.example", none),
            ("udp://192.0.2.1:0", none),
            ("udp://0.0.0.0", none),
            ("System", none),
            ("ftp://192.0.2.1", none),
            ("udp://192.0.2.1/", none),
            ("udp://[192.0.2.1:53", none),
            ("udp://dns.example@192.0.2.1", none),
            ("tls://dns.example@dns.example", none),
            ("tls://dns.example@192.0.2.1/", none),
            ("tls://dns.example@", none),
            ("https://dns.example@/dns-query", none),
            ("tls://192.0.2.1", name),
            ("https://192.0.2.1/dns-query", name),
            ("tls://@192.0.2.1", host),
            ("tls://192.0.2.1@192.0.2.1", host),
            ("tls://dns example@192.0.2.1", host),
            ("https://*.example@192.0.2.1/dns-query", host),
            ("https://dns.example@192.0.2.1", path),
            ("https://dns.example@192.0.2.1/dns query", path),
            ("https://dns.example@192.0.2.1/dns-query{?dns}", path),
            (&long, path),
        ] {
            let error = text.parse::<DnsServer>().unwrap_err().to_string();
            assert!(error.contains(why), "`{text}`: {error}");
        }
    }
}
