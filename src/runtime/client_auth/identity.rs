//! What a client's certificate says who it is: its SPIFFE ID, or its DNS names. Pure: bytes in, identities out.
//! Not here: whether the certificate is good (`verifier`), which source that is (`policy`). The subject, and so the CN, is never read.
//! Source: the contract's "Which source"; RFC 5280 section 4.2.1.6; SPIFFE X509-SVID section 2 (one URI, and it is the identity).

use std::sync::Arc;

use x509_parser::extensions::GeneralName;

use crate::name::{Fqdn, Identity, SpiffeId};

/// Upper bound of DNS names of one certificate that count; those behind them don't. A client has one or two.
const MAX_NAMES: usize = 16;

/// The identities of a certificate in DER. With a SPIFFE ID that is the only one; with two URIs, or where anything can't be read, there is
/// none. Names that aren't plain host names, as those with a wildcard, don't count.
pub fn identities(certificate: &[u8]) -> Arc<[Identity]> {
    read(certificate).unwrap_or_default()
}

fn read(certificate: &[u8]) -> Option<Arc<[Identity]>> {
    let (rest, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    if !rest.is_empty() {
        return None;
    }
    let mut uris = Vec::new();
    let mut hosts = Vec::new();
    for name in &names.value.general_names {
        if let GeneralName::URI(uri) = name {
            uris.push(*uri);
        } else if let GeneralName::DNSName(host) = name {
            hosts.push(*host);
        } else if let GeneralName::Invalid(..) = name {
            return None;
        }
    }
    if uris.len() > 1 {
        return None;
    }
    let id = uris.first().and_then(|uri| uri.parse::<SpiffeId>().ok());
    Some(match id {
        Some(id) => Arc::new([Identity::Spiffe(id)]),
        None => {
            hosts.into_iter().filter_map(|host| host.parse::<Fqdn>().ok()).take(MAX_NAMES).map(Identity::Name).collect()
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::SanType;

    use super::super::testing::{Client, dns, uri};
    use super::*;

    const ID: &str = "spiffe://voice.example/ivr/east";

    fn told(certificate: &[u8]) -> String {
        identities(certificate).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    fn with(names: &[SanType]) -> Vec<u8> {
        Client::self_signed(names).chain.swap_remove(0).to_vec()
    }

    #[test]
    fn certificates_by_table() {
        let many: Vec<SanType> = (0..20).map(|number| dns(&format!("h{number}.voice.example"))).collect();
        let wildcards: Vec<SanType> =
            std::iter::repeat_n(dns("*.voice.example"), 20).chain([dns("a.voice.example")]).collect();
        let sixteen: Vec<String> = (0..16).map(|number| format!("h{number}.voice.example")).collect();
        let address = SanType::IpAddress("10.0.0.1".parse().unwrap());
        for (row, names, want) in [
            ("nothing", vec![], ""),
            ("a SPIFFE ID", vec![uri(ID)], ID),
            ("the same twice", vec![uri(ID), uri(ID)], ""),
            ("a SPIFFE ID and another URI", vec![uri("urn:x"), uri(ID)], ""),
            ("a SPIFFE ID in capitals", vec![uri("SPIFFE://voice.example/a")], ""),
            ("another URI alone", vec![uri("https://voice.example/a")], ""),
            ("names before a SPIFFE ID", vec![dns("a.example"), uri(ID)], ID),
            ("a name", vec![dns("A.Voice.example")], "a.voice.example"),
            ("an address as a name", vec![dns("10.0.0.1")], ""),
            (
                "an address and a mail address",
                vec![address, SanType::Rfc822Name("a@b.example".try_into().unwrap())],
                "",
            ),
            ("what looks like a credential", vec![dns("login:batch-1")], ""),
            ("sixteen of twenty", many, &sixteen.join(" ")),
            ("wildcards don't count", wildcards, "a.voice.example"),
        ] {
            assert_eq!(told(&with(&names)), want, "{row}");
        }
        assert_eq!(told(b""), "");
        assert_eq!(told(&[with(&[uri(ID)]), vec![0]].concat()), "", "something behind it");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Whatever a byte becomes, there are no more identities than the one, and nothing fails.
        #[test]
        fn a_certificate_that_was_changed_has_no_more(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
            thread_local! {
                static WHOLE: Vec<u8> = with(&[uri(ID)]);
            }
            let mut changed = WHOLE.with(Clone::clone);
            let place = place.index(changed.len());
            changed[place] = byte;
            prop_assert!(identities(&changed).len() <= 1);
            prop_assert!(identities(&changed[..place]).is_empty());
        }
    }
}
