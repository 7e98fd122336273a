//! What operators may do: read the policy again, and end the proxy. Each call is on record with what came of it.
//! Not here: reading (`load`), putting in force and draining (`server`). Source: the contract: "Admin port"; PCI DSS 10.2.1.2.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{Response, StatusCode};
use serde::Serialize;

use super::body::Body;
use super::guarded::busy;
use super::problem::{json, problem};
use super::route::Guarded;
use super::{Admin, Connection, records, text};
use crate::runtime::reloads::{Came, NotRead, Order, Outcome, Reload};
use crate::yaml::duration_text;

const JSON: &str = "application/json";

/// What a reload was good for.
#[derive(Serialize)]
struct InForce<'a> {
    result: &'static str,
    sha256: &'a str,
    rules: usize,
    sources: usize,
    #[serde(flatten)]
    reload: &'a Reload,
}

/// What a drain begins with.
#[derive(Serialize)]
struct Draining {
    result: &'static str,
    connections: usize,
    drain_timeout: String,
}

/// Orders that the policy is read again, as by SIGHUP, and tells what that came to. A caller who goes away ends nothing.
pub async fn reload(connection: &Connection, token: &Arc<str>) -> Response<Body> {
    // A policy of a million names takes seconds.
    connection.deadline.extend();
    let Connection { admin, client, .. } = connection;
    let ordered = match admin.shared.is_draining() {
        true => Err(NotRead::Draining),
        false => admin.orders.reload(Arc::clone(token), *client),
    };
    let came = match ordered {
        Ok(told) => told.await.unwrap_or(Err(NotRead::Draining)),
        Err(why) => {
            record(admin, &Err(why), (token, *client));
            Err(why)
        }
    };
    answer(admin, &came)
}

impl Admin {
    /// An order to reload is carried out, or never will be: that is on record before the caller hears of it.
    pub fn close(&self, order: Order, came: Came) {
        record(self, &came, (&order.actor, order.client));
        order.tell(came);
    }
}

fn record(admin: &Admin, came: &Came, who: (&str, SocketAddr)) {
    let Admin { shared, refusals, .. } = admin;
    let (status, result) = facts(came);
    match came {
        Ok(_) => records::operated(shared, (Guarded::Reload, status, result), who),
        Err(_) => records::not_operated(shared, refusals, (Guarded::Reload, status, result), who),
    }
}

/// The answer's status, and the record's word for it.
fn facts(came: &Came) -> (StatusCode, &'static str) {
    match came {
        Ok(reload) if reload.is_whole() => (StatusCode::OK, "ok"),
        Ok(reload) if reload.policy == Outcome::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
        Ok(_) => (StatusCode::UNPROCESSABLE_ENTITY, "refused"),
        Err(NotRead::Busy) => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        Err(NotRead::Draining) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
    }
}

fn answer(admin: &Admin, came: &Came) -> Response<Body> {
    let (status, result) = facts(came);
    let reload = match came {
        Ok(reload) => reload,
        Err(NotRead::Busy) => return busy(),
        Err(NotRead::Draining) => return text(status, "the proxy ends; no policy is read any more\n"),
    };
    if reload.is_whole() {
        let policy = admin.shared.policy();
        let (rules, sources) = (policy.grants().len(), policy.sources().len());
        return json(status, JSON, &InForce { result, sha256: policy.hash(), rules, sources, reload });
    }
    let (kind, title) = match reload.policy {
        Outcome::Failed => (
            "urn:sallyport:problem:reload_failed",
            "reading the policy ended by a fault of the program; the last good one stays in force",
        ),
        Outcome::InForce | Outcome::Refused => {
            ("urn:sallyport:problem:reload_refused", "files have faults; what they were to replace stays in force")
        }
    };
    problem(status, kind, title, &**reload)
}

/// Refuses new requests from now on. Once this answer is sent the proxy goes on as after SIGTERM: tunnels may end, then it does.
pub fn drain(connection: &Connection, token: &str) -> Response<Body> {
    let shared = &connection.admin.shared;
    shared.drain();
    connection.is_last.store(true, Ordering::Relaxed);
    let answer = json(
        StatusCode::ACCEPTED,
        JSON,
        &Draining {
            result: "draining",
            connections: shared.gate().connections(),
            drain_timeout: duration_text(shared.limits().drain_timeout),
        },
    );
    records::operated(shared, (Guarded::Drain, answer.status(), "ok"), (token, connection.client));
    answer
}
