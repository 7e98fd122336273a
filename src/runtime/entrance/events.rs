//! What is told of listeners' files, at the start and after each reload: a record, metrics, and a line for the operator.
//! Not here: reading them (`super`). Source: PCI DSS 10.2.1.5 (changes to credentials).

use super::Entrance;
use crate::config::{Credential, StaleCrl};
use crate::decision_log::{Detail, Kind, Value};
use crate::redact::clean_name;
use crate::runtime::client_auth::Credentials;
use crate::runtime::shared::Shared;
use crate::runtime::{clock, events};

/// Names of credentials that a record of a change lists.
const MAX_NAMES: usize = 32;

/// Upper bound in bytes of a credential's name in a record; the file allows as many.
const MAX_NAME: usize = 128;

/// The files of a listener are in force from now on. Of one that has none there is nothing to tell.
pub(super) fn in_force(shared: &Shared, entrance: &Entrance, before: Option<&Credentials>) {
    let (tls, credentials) = (entrance.tls(), entrance.credentials());
    if tls.is_none() && credentials.is_none() {
        return;
    }
    let mut detail = Detail::new().with("what", "listener_files").with("listener", entrance.name.clone());
    detail = detail.with("result", "in_force");
    if let Some(credentials) = credentials {
        let (now, before): (Vec<_>, Vec<_>) =
            (credentials.iter().collect(), before.into_iter().flat_map(Credentials::iter).collect());
        detail = detail.with("credentials", now.len() as u64);
        detail = detail.with("added", only_in(&now, &before)).with("removed", only_in(&before, &now));
    }
    events::note(shared, Kind::Admin, detail);
    tracing::info!(listener = &*entrance.name, "the listener's files are in force");
    let Some(tls) = tls else { return };
    shared.metrics().certificates.set_expiry(&format!("listener:{}", entrance.name), Some(tls.expires()));
    let Some((next_update, stale)) = tls.next_update() else { return };
    shared.metrics().certificates.set_crl(&entrance.name, next_update);
    if next_update <= clock::now() {
        let follows = match stale {
            StaleCrl::Refuse => "its authority's clients are refused until a newer one is read",
            StaleCrl::Warn => "it still counts",
        };
        tracing::warn!(
            listener = &*entrance.name,
            next_update = %next_update,
            "a list of revoked certificates is past its next update; {follows}"
        );
    }
}

/// The names of the credentials that `other` does not have as they are here, the first of them.
fn only_in(credentials: &[&Credential], other: &[&Credential]) -> Vec<Value> {
    let new = credentials.iter().filter(|credential| !other.contains(credential));
    new.take(MAX_NAMES).map(|credential| Value::Text(clean_name(credential.name.as_bytes(), MAX_NAME).text)).collect()
}
