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
