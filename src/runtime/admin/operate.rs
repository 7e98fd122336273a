//! What operators may do: read the policy again, and end the proxy. Each call is on record with what came of it.
//! Not here: reading (`load`), putting in force and draining (`server`). Source: the contract: "Admin port"; PCI DSS 10.2.1.2.

use std::sync::atomic::Ordering;

use http::{Response, StatusCode};
use serde::Serialize;

use super::body::Body;
use super::guarded::busy;
use super::problem::{json, problem};
use super::route::Guarded;
use super::{Connection, records};
use crate::runtime::reloads::{Busy, Outcome, Reload};
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

/// Reads the policy again, as SIGHUP does, and tells what that came to.
pub async fn reload(connection: &Connection, token: &str) -> Response<Body> {
    // A policy of a million names takes seconds.
    connection.deadline.extend();
    let (word, answer) = match connection.admin.orders.reload().await {
        Ok(reload) => reloaded(connection, &reload),
        Err(Busy) => ("busy", busy()),
    };
    records::operated(&connection.admin.shared, (Guarded::Reload, answer.status(), word), (token, connection.client));
    answer
}

fn reloaded(connection: &Connection, reload: &Reload) -> (&'static str, Response<Body>) {
    if reload.is_whole() {
        let policy = connection.admin.shared.policy();
        let (rules, sources) = (policy.grants().len(), policy.sources().len());
        let body = InForce { result: "ok", sha256: policy.hash(), rules, sources, reload };
        return ("ok", json(StatusCode::OK, JSON, &body));
    }
    if reload.policy == Outcome::Failed {
        let title = "reading the policy ended by a fault of the program; the last good one stays in force";
        return (
            "failed",
            problem(StatusCode::INTERNAL_SERVER_ERROR, "urn:sallyport:problem:reload_failed", title, reload),
        );
    }
    let title = "files have faults; what they were to replace stays in force";
    ("refused", problem(StatusCode::UNPROCESSABLE_ENTITY, "urn:sallyport:problem:reload_refused", title, reload))
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
