//! What a policy must know of the listeners.
//! Not here: what is made of it (`policy`).

use crate::config::{ListenAddress, Listener, Mode};
use crate::policy::Ways;
use crate::yaml::Fault;

/// Of these listeners, whose places are in `files`.
pub(super) fn of(listeners: &[Listener], files: &[String]) -> Ways {
    let told = |listener: &Listener| {
        let fault = Fault { place: Some(listener.place), message: String::new() };
        format!("`{}` at {}", listener.name, fault.line(files).trim_end_matches(": "))
    };
    let asks = |listener: &Listener| listener.tls.as_ref().is_some_and(|tls| tls.client_auth.is_some());
    let proxies = |listener: &Listener| {
        let at = told(listener);
        listener.proxy_protocol.iter().map(|from| (*from, at.clone())).collect::<Vec<_>>()
    };
    Ways {
        transparent: listeners.iter().find(|listener| listener.mode != Mode::Connect).map(told),
        certificates: listeners.iter().any(asks),
        credentials: listeners.iter().any(|listener| listener.credentials.is_some()),
        users: listeners.iter().any(|listener| matches!(listener.address, ListenAddress::Unix(_))),
        proxies: listeners.iter().flat_map(proxies).collect(),
    }
}
