//! What operators may do: read the policy again, and end the proxy. Each call is on record with what came of it.
//! Not here: reading (`load`), putting in force and draining (`server`). Source: the contract: "Admin port"; PCI DSS 10.2.1.2.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::guarded::busy;
use super::problem::{json, problem};
use super::route::Guarded;
use super::{Admin, Connection, records, text};
use crate::runtime::orders::{Came, NotRead, Order};
use crate::runtime::reloads::{Outcome, Reload};
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
    drain_delay: String,
    drain_timeout: String,
}

/// What an order may say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    /// The diff that is confirmed.
    confirm: Option<String>,
}

/// Upper bound in bytes of what an order says.
const MAX_SAID: usize = 1024;

/// Orders that everything is read again, as by SIGHUP, and tells what that came to. A caller who goes away ends nothing.
pub async fn reload(connection: &Connection, token: &Arc<str>, body: Incoming) -> Response<Body> {
    let confirm = match confirmed(body).await {
        Ok(confirm) => confirm,
        Err(why) => return text(StatusCode::BAD_REQUEST, why),
    };
    // A policy of a million names takes seconds.
    connection.deadline.extend();
    let Connection { admin, client, .. } = connection;
    let ordered = match admin.shared.is_withdrawn() {
        true => Err(NotRead::Draining),
        false => admin.orders.reload((Arc::clone(token), *client), confirm),
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

/// The diff that an order confirms, if it says anything.
async fn confirmed(body: Incoming) -> Result<Option<String>, &'static str> {
    let body = Limited::new(body, MAX_SAID).collect().await.map_err(|_| "the order did not come, or is too long\n")?;
    let body = body.to_bytes();
    if body.is_empty() {
        return Ok(None);
    }
    let said: Result<Said, _> = serde_json::from_slice(&body);
    let is_hash = |text: &String| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match said.map(|said| said.confirm) {
        Ok(None) => Ok(None),
        Ok(Some(hash)) if is_hash(&hash) => Ok(Some(hash)),
        Ok(Some(_)) | Err(_) => Err("send nothing, or {\"confirm\": \"SHA256\"} with the diff's hash\n"),
    }
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
        Ok(reload) => match reload.result() {
            Outcome::InForce => (StatusCode::OK, "ok"),
            Outcome::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
            Outcome::Guarded => (StatusCode::CONFLICT, "guarded"),
            Outcome::Refused | Outcome::Kept => (StatusCode::UNPROCESSABLE_ENTITY, "refused"),
        },
        Err(NotRead::Busy) => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        Err(NotRead::Draining) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
    }
}

fn answer(admin: &Admin, came: &Came) -> Response<Body> {
    let (status, result) = facts(came);
    let reload = match came {
        Ok(reload) => reload,
        Err(NotRead::Busy) => return busy(),
        Err(NotRead::Draining) => return text(status, "the proxy ends; nothing is read any more\n"),
    };
    if reload.is_whole() {
        let policy = admin.shared.policy();
        let (rules, sources) = (policy.grants().len(), policy.sources().len());
        return json(status, JSON, &InForce { result, sha256: policy.hash(), rules, sources, reload });
    }
    let (kind, title) = match reload.result() {
        Outcome::Failed => (
            "urn:sallyport:problem:reload_failed",
            "reading the files ended by a fault of the program; what was last good stays in force",
        ),
        Outcome::Guarded => (
            "urn:sallyport:problem:reload_guarded",
            "the policy changes more than `policy_guard` lets through; confirm this diff by its SHA-256, or leave it",
        ),
        Outcome::InForce | Outcome::Kept | Outcome::Refused => {
            ("urn:sallyport:problem:reload_refused", "files have faults; what they were to replace stays in force")
        }
    };
    problem(status, kind, title, &**reload)
}

/// Is ready no more from now on. Once this answer is sent the proxy goes on as after SIGTERM: tunnels may end, then it does.
pub fn drain(connection: &Connection, token: &str) -> Response<Body> {
    let shared = &connection.admin.shared;
    shared.withdraw();
    connection.is_last.store(true, Ordering::Relaxed);
    let answer = json(
        StatusCode::ACCEPTED,
        JSON,
        &Draining {
            result: "draining",
            connections: shared.gate().connections(),
            drain_delay: duration_text(shared.limits().drain_delay),
            drain_timeout: duration_text(shared.limits().drain_timeout),
        },
    );
    records::operated(shared, (Guarded::Drain, answer.status(), "ok"), (token, connection.client));
    answer
}
