//! `POST /v1/explain`: the decision for one request by the policy in force, as `sallyport explain` tells it.
//! Not here: the judgement (`policy::ask`). No name is looked up: a caller of this port is no reason to ask a name server.
//! Source: the contract: `explain`, "Cases"; RFC 9457 (problems); RFC 6901 (pointers).

use std::net::IpAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::faults::{Faults, parsed, text};
use crate::config::Listener;
use crate::policy::{Client, Explanation, Found, Lookup, Offer, OfferedName, Question, Wanted};
use crate::runtime::asking::Asking;
use crate::runtime::clock;
use crate::runtime::shared::Shared;
use crate::tls::ProtocolVersion;

/// Bytes of the longest question: a target, a name, and lists of addresses and protocols, all of them short.
const MAX_QUESTION: usize = 64 * 1024;

/// Upper bound of addresses in a question; as many as an answer of a name server may have.
const MAX_ADDRESSES: usize = 64;

/// Upper bound of protocols in a question; as many as a ClientHello may have.
const MAX_PROTOCOLS: usize = 64;

/// A question as it is written: the fields of a case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    source: Option<Value>,
    target: Option<Value>,
    sni: Option<Value>,
    addresses: Option<Value>,
    tls: Option<Value>,
    alpn: Option<Value>,
    method: Option<Value>,
    at: Option<Value>,
    identity: Option<Value>,
    listener: Option<Value>,
}

/// A question that can be asked.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    client: Client,
    wanted: Wanted,
    offer: Offer,
    addresses: Option<Vec<IpAddr>>,
    /// `None`: now.
    at: Option<Timestamp>,
}

/// Reads the body of a call.
///
/// # Errors
/// All that is wrong with it.
pub async fn asked(body: Incoming, listeners: &[Listener]) -> Result<Asked, Faults> {
    match Limited::new(body, MAX_QUESTION).collect().await {
        Ok(body) => read(&body.to_bytes(), listeners),
        Err(_) => Err(Faults::of(format!("the question did not come, or has more than {MAX_QUESTION} bytes"), "#")),
    }
}

/// Asks the policy in force. May look at every name of it.
pub fn explain(asked: &Asked, shared: &Shared) -> Explanation {
    let question = Question {
        client: &asked.client,
        wanted: &asked.wanted,
        offer: &asked.offer,
        at: asked.at.unwrap_or_else(clock::now),
        own: &shared.own_addresses(),
    };
    let mut found = None;
    let ruling = question.ask(&shared.policy(), &mut |_, name| {
        let known = || {
            let addresses = shared.dns().hosts.get(name)?;
            found = Some(Found::Hosts(addresses.clone()));
            Some(addresses.clone())
        };
        let addresses = asked.addresses.clone().or_else(known);
        Ok(addresses.map(|addresses| Lookup { addresses, aliases: Vec::new() }))
    });
    Explanation::new(&question, &ruling, found.as_ref(), "give `addresses`")
}

fn read(body: &Bytes, listeners: &[Listener]) -> Result<Asked, Faults> {
    let written: Written = serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let fields =
            "source, target, and as you like sni, addresses, tls, alpn, method, at, listener, identity, each once";
        Faults::of(format!("not a question at line {line}, column {column}; write a JSON object with {fields}"), "#")
    })?;
    let mut faults = Faults::default();
    let origin =
        faults.needed("#/source", written.source.map(parsed), "an address, such as \"10.20.0.7\", or \"user:1000\"");
    let target = faults.needed("#/target", written.target.map(text), "a text, such as \"api.acme.example:443\"");
    let name = faults.given("#/sni", written.sni.map(text), "a text, or \"none\" for no name in the hello");
    let list = format!("a list of at most {MAX_ADDRESSES} addresses, such as [\"203.0.113.7\"]");
    let addresses =
        faults.given("#/addresses", written.addresses.map(|list| some(list, MAX_ADDRESSES, address)), &list);
    let tls = |value| ProtocolVersion::of_tls(&text(value)?);
    let version = faults.given("#/tls", written.tls.map(tls), "\"1.0\", \"1.1\", \"1.2\" or \"1.3\"");
    let list = format!("a list of at most {MAX_PROTOCOLS} texts of 1 to 255 bytes, such as [\"h2\"]");
    let alpn = faults.given("#/alpn", written.alpn.map(|list| some(list, MAX_PROTOCOLS, protocol)), &list);
    let method = faults.given("#/method", written.method.map(text), "a text, such as \"CONNECT\"");
    let at = faults.given("#/at", written.at.map(parsed), "a point in time, such as \"2027-05-03T23:00:00Z\"");
    let wanted = "a SPIFFE ID, a DNS name, or \"login:NAME\"";
    let identity = faults.given("#/identity", written.identity.map(parsed), wanted);
    let listener = faults.given("#/listener", written.listener.map(text), "the name of a listener");
    let (Some(origin), Some(target), true) = (origin, target, faults.is_empty()) else { return Err(faults) };
    let name = match name {
        None => OfferedName::Target,
        Some(none) if none == "none" => OfferedName::Absent,
        Some(text) => OfferedName::Text(text.into()),
    };
    let version = version.unwrap_or(ProtocolVersion::Tls13);
    let offer = Offer { version, name, alpn: alpn.unwrap_or_default().into() };
    let asking = Asking { origin, identity, listener, target, method };
    let (client, wanted) = asking.at(listeners).map_err(|error| Faults::of(error.to_string(), "#"))?;
    Ok(Asked { client, wanted, offer, addresses, at })
}

fn address(value: Value) -> Option<IpAddr> {
    parsed(value)
}

/// What a ClientHello can carry (RFC 7301 section 3.1).
fn protocol(value: Value) -> Option<Box<str>> {
    text(value).filter(|id| (1..=255).contains(&id.len())).map(Into::into)
}

fn some<T>(value: Value, most: usize, one: impl Fn(Value) -> Option<T>) -> Option<Vec<T>> {
    let Value::Array(values) = value else { return None };
    (values.len() <= most).then(|| values.into_iter().map(one).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::policy::Certificate;

    fn asked(body: &str) -> Result<Asked, Vec<String>> {
        let text = "policy: p\nlisteners: [{name: edge, address: '0.0.0.0:1', tls: {certificate: c, key: k, client_auth: required, \
                    client_ca: a}}, {name: sock, address: 'unix:/s'}]\n";
        let config = config::load(text, 0, &|_| None, "a", &mut crate::yaml::Faults::new()).unwrap();
        read(&Bytes::copy_from_slice(body.as_bytes()), &config.listeners).map_err(|faults| faults.lines())
    }

    #[test]
    fn what_is_written_is_asked_and_the_rest_is_as_on_the_command_line() {
        let least = asked(r#"{"source":"10.20.0.7","target":"api.acme.example:443"}"#).unwrap();
        let offer = Offer { version: ProtocolVersion::Tls13, name: OfferedName::Target, alpn: Box::default() };
        let from = |origin: &str, certificate| Client { certificate, ..Client::new(origin.parse().unwrap()) };
        let (client, wanted) = (from("10.20.0.7", Certificate::Missing), Wanted::connect("api.acme.example:443"));
        assert_eq!(least, Asked { client, wanted, offer, addresses: None, at: None });
        let all = asked(
            r#"{"source":"::1","target":"x","sni":"none","addresses":["203.0.113.7"],"tls":"1.2","alpn":["h2"],"method":"GET",
                "at":"2027-05-03T23:00:00Z","identity":"a.example","listener":"edge"}"#,
        );
        let offer = Offer { version: ProtocolVersion::Tls12, name: OfferedName::Absent, alpn: ["h2".into()].into() };
        let client = Client { identities: ["a.example".parse().unwrap()].into(), ..from("::1", Certificate::Shown) };
        let wanted = Wanted::Asked { method: "GET".into(), target: "x".into() };
        let addresses = Some(vec!["203.0.113.7".parse().unwrap()]);
        let at = Some("2027-05-03T23:00:00Z".parse().unwrap());
        assert_eq!(all, Ok(Asked { client, wanted, offer, addresses, at }));
        let user = asked(r#"{"source":"user:7","target":"x"}"#).unwrap();
        assert_eq!(user.client, from("user:7", Certificate::NotAsked));
        let nothing = asked(r#"{"source":"::1","target":"x","sni":null,"addresses":null,"at":null}"#).unwrap();
        assert_eq!((nothing.offer.name, nothing.addresses, nothing.at), (OfferedName::Target, None, None));
    }

    #[test]
    fn each_fault_names_its_field_and_repeats_nothing() {
        let many = |one: &str, count| format!("[{}]", vec![one; count].join(","));
        let good = |rest: &str| format!(r#"{{"source":"::1","target":"x",{rest}}}"#);
        for (body, want) in [
            (String::new(), &["# not a question at line 1, column 0"][..]),
            ("[]".into(), &["# not a question"]),
            (good(r#""secret":1"#), &["# not a question at line 1, column 37"]),
            (good(r#""tls":"1.2","tls":"1.3""#), &["# not a question"]),
            ("{}".into(), &["#/source not there; write an address", "#/target not there; write a text"]),
            (
                r#"{"source":"secret","target":1,"sni":[],"addresses":["secret"],"tls":"secret","alpn":[""],"method":1,"at":"secret"}"#.into(),
                &[
                    "#/source write an address", "#/target write a text", "#/sni write a text", "#/addresses write a list", "#/tls write \"1.0\"",
                    "#/alpn write a list", "#/method write a text", "#/at write a point in time",
                ],
            ),
            (good(r#""identity":"spiffe://secret/*""#), &["#/identity write a SPIFFE ID"]),
            (good(r#""listener":1"#), &["#/listener write the name of a listener"]),
            (good(r#""listener":"secret""#), &["# no listener of that name; write one of `edge`, `sock`"]),
            (good(r#""identity":"login:secret""#), &["# listener `edge` takes no credentials; leave"]),
            (good(r#""tls":"ssl3.0""#), &["#/tls"]),
            (good(&format!(r#""addresses":{}"#, many("\"::2\"", MAX_ADDRESSES + 1))), &["#/addresses write a list of at most 64"]),
            (good(&format!(r#""alpn":{}"#, many("\"h2\"", MAX_PROTOCOLS + 1))), &["#/alpn write a list of at most 64"]),
            (good(&format!(r#""alpn":["{}"]"#, "x".repeat(256))), &["#/alpn"]),
        ] {
            let faults = asked(&body).unwrap_err();
            assert_eq!(faults.len(), want.len(), "{body}: {faults:?}");
            assert!(faults.iter().zip(want).all(|(fault, want)| fault.starts_with(want)), "{body}: {faults:?}");
            assert!(!faults.concat().contains("secret"), "{body}: {faults:?}");
        }
        let most = [
            good(&format!(r#""addresses":{}"#, many("\"::2\"", MAX_ADDRESSES))),
            good(&format!(r#""alpn":["{}"]"#, "x".repeat(255))),
        ];
        assert!(most.iter().all(|body| asked(body).is_ok()));
    }
}
