//! What tokens open: each call's answer, or why there is none.
//! Not here: which call a request is (`route`), whose it is (`access`), what is answered (`log`, `decisions`, `status`, `explain`, …).
//! Source: the contract: "Admin port"; RFC 6750 section 3 (401 and 403); RFC 9111 (caches).

use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::access::{Access, Refused};
use super::body::{Body, Chunks};
use super::decisions::{Form, Wanted};
use super::log::{Bundle, LogError};
use super::problem::{json, problem};
use super::route::Guarded;
use super::status::Status;
use super::{
    Admin, Connection, PLAIN_TEXT, block, egress, explain, export, operate, other_method, records, text, typed,
};
use crate::config::Role;
use crate::decision_log::{Detail, TileId};
use crate::runtime::archive::Archive;
use crate::runtime::clock;
use crate::runtime::sys;

/// Queries that run at a time; more are refused. Each has a thread, which reads as fast as the disk gives.
const MAX_QUERIES: usize = 2;

/// Bundles of lines that are read at a time; more wait.
const MAX_BUNDLES: usize = 8;

/// Questions that are judged at a time; more are refused. Each may go through all names of the policy.
const MAX_QUESTIONS: usize = 2;

/// Auditors' calls that are under way at a time; more are refused. Half of the port's connections: whatever they wait for, probes and
/// operators find room.
const MAX_CALLS: usize = 64;

/// Matrices and lists of egress addresses that are made at a time; more are refused. A matrix takes memory for the names of a customer.
const MAX_MATRICES: usize = 1;

/// Upper bound in bytes of what is said of a call that can't be answered.
const MAX_SAID: usize = 2000;

const TABLE: &str = "text/csv; charset=utf-8; header=present";

const BYTES: &str = "application/octet-stream";

const NO_TILE: &str = "the signed log has no such tile (yet)\n";

/// Where the log is, and how many read it or ask what takes long.
pub struct Reading {
    directory: PathBuf,
    calls: Arc<Semaphore>,
    bundles: Arc<Semaphore>,
    queries: Arc<Semaphore>,
    questions: Arc<Semaphore>,
    matrices: Arc<Semaphore>,
}

impl Reading {
    /// Nobody yet.
    pub fn new(directory: PathBuf) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self {
            directory,
            calls: places(MAX_CALLS),
            bundles: places(MAX_BUNDLES),
            queries: places(MAX_QUERIES),
            questions: places(MAX_QUESTIONS),
            matrices: places(MAX_MATRICES),
        }
    }
}

/// The answer to a call that needs a token.
pub async fn guarded(request: Request<Incoming>, call: Guarded, connection: Connection) -> Response<Body> {
    let access = connection.admin.access.load_full();
    let token = match access.caller(request.headers(), call.role()) {
        Ok(token) => token,
        Err(why) => {
            let Admin { shared, refusals, .. } = &*connection.admin;
            records::refused(shared, refusals, (call, &why), connection.client);
            return refusal(&why);
        }
    };
    if !connection.has_place(call.role()) {
        return busy();
    }
    match call {
        Guarded::Unknown => text(StatusCode::NOT_FOUND, "there is no such call\n"),
        Guarded::Method(methods, _) => other_method(methods),
        Guarded::Status => status(&connection, &access),
        Guarded::Policy => policy(&connection, &request),
        Guarded::EgressAddresses => egress_addresses(&connection, &request),
        Guarded::Explain => explained(&connection, request.into_body()).await,
        Guarded::Blocks => cached("no-store", block::list(&connection)),
        Guarded::Block => block::block(&connection, request.into_body(), &token.name).await,
        Guarded::Reload => operate::reload(&connection, &token.name, request.into_body()).await,
        Guarded::Drain => operate::drain(&connection, &token.name),
        Guarded::Checkpoint => checkpoint(&connection).await,
        Guarded::Tile(id) => tile(&connection, id).await,
        Guarded::Entries(id) => {
            let Admin { shared, readers, .. } = &*connection.admin;
            records::reads(shared, readers, call, (&token.name, connection.client));
            entries(&connection, id).await
        }
        Guarded::Decisions => query(&connection, &request, &token.name).await.unwrap_or_else(|refused| refused),
        Guarded::Export => match export::described(request.into_body(), connection.admin.shared.redactor()).await {
            Ok(detail) => recorded(&connection, call, (&token.name, detail)).await.unwrap_or_else(|refused| refused),
            Err(error) => bad_request(&connection, &error),
        },
    }
}

fn status(connection: &Connection, access: &Access) -> Response<Body> {
    let Admin { shared, installation, .. } = &*connection.admin;
    cached("no-store", json(StatusCode::OK, "application/json", &Status::now(shared, installation, access)))
}

fn policy(connection: &Connection, request: &Request<Incoming>) -> Response<Body> {
    let in_force = connection.admin.shared.in_force();
    listed(connection, request, move |form, out| super::policy::write(&in_force, form, out))
}

fn egress_addresses(connection: &Connection, request: &Request<Incoming>) -> Response<Body> {
    let admin = Arc::clone(&connection.admin);
    let write =
        move |form, out: &mut Chunks| egress::write(&admin.installation.pools, &admin.shared.policy(), form, out);
    listed(connection, request, write)
}

/// What is made from a whole policy, in the form that was asked for.
fn listed(
    connection: &Connection,
    request: &Request<Incoming>,
    write: impl FnOnce(Form, &mut Chunks) -> io::Result<()> + Send + 'static,
) -> Response<Body> {
    let Ok(place) = Arc::clone(&connection.admin.log.matrices).try_acquire_owned() else { return busy() };
    let form = Form::accepted(request.headers());
    let kind = match form {
        Form::Lines => "application/json",
        Form::Table => TABLE,
    };
    cached("no-store", connection.stream(place, kind, move |out| Ok(write(form, out)?)))
}

async fn explained(connection: &Connection, body: Incoming) -> Response<Body> {
    let asked = match explain::asked(body, connection.admin.shared.listeners()).await {
        Ok(asked) => asked,
        Err(faults) => {
            let title = "the question cannot be asked";
            return problem(StatusCode::BAD_REQUEST, "urn:sallyport:problem:bad_question", title, &faults);
        }
    };
    let Ok(place) = Arc::clone(&connection.admin.log.questions).try_acquire_owned() else { return busy() };
    let admin = Arc::clone(&connection.admin);
    let write = move |out: &mut Chunks| {
        serde_json::to_writer(&mut *out, &explain::explain(&asked, &admin.shared)).map_err(io::Error::from)?;
        Ok(out.write_all(b"\n")?)
    };
    cached("no-store", connection.stream(place, "application/json", write))
}

async fn checkpoint(connection: &Connection) -> Response<Body> {
    match connection.of_log(|archive| Ok(archive.checkpoint()?)).await {
        Ok(Some(note)) => cached("no-cache", typed(StatusCode::OK, PLAIN_TEXT, note)),
        Ok(None) => text(StatusCode::NOT_FOUND, "the log has no checkpoint yet\n"),
        Err(refused) => refused,
    }
}

async fn tile(connection: &Connection, id: TileId) -> Response<Body> {
    match connection.of_log(move |archive| Ok(archive.tile(id)?)).await {
        Ok(Some(tile)) => cached(FOR_EVER, typed(StatusCode::OK, BYTES, tile.bytes())),
        Ok(None) => text(StatusCode::NOT_FOUND, NO_TILE),
        Err(refused) => refused,
    }
}

async fn entries(connection: &Connection, id: TileId) -> Response<Body> {
    // Closed never; the wait is the connection's.
    let Ok(place) = Arc::clone(&connection.admin.log.bundles).acquire_owned().await else { return busy() };
    match connection.of_log(move |archive| Bundle::find(archive, id)).await {
        Ok(Some(bundle)) => cached(FOR_EVER, connection.stream(place, BYTES, |out| bundle.write(out))),
        Ok(None) => text(StatusCode::NOT_FOUND, NO_TILE),
        Err(refused) => refused,
    }
}

async fn query(
    connection: &Connection,
    request: &Request<Incoming>,
    token: &str,
) -> Result<Response<Body>, Response<Body>> {
    let asked = request.uri().query().unwrap_or("");
    let wanted = Wanted::read(asked, Form::accepted(request.headers()), clock::now())
        .map_err(|error| bad_request(connection, &error))?;
    let place = Arc::clone(&connection.admin.log.queries).try_acquire_owned().map_err(|_| busy())?;
    let archive = connection.of_log(Ok).await?;
    let (word, kind) = match wanted.form {
        Form::Lines => ("jsonl", "application/x-ndjson"),
        Form::Table => ("csv", TABLE),
    };
    let asked = connection.admin.shared.redactor().clean(wanted.asked.as_bytes(), export::MAX_QUERY).text;
    let detail = Detail::new().with("format", word).with("query", asked);
    recorded(connection, Guarded::Decisions, (token, detail)).await?;
    Ok(cached("no-store", connection.stream(place, kind, move |out| wanted.write(&archive, out))))
}

/// Puts on record who has taken what, and answers with the record's id once that is durable.
async fn recorded(
    connection: &Connection,
    call: Guarded,
    (token, detail): (&str, Detail),
) -> Result<Response<Body>, Response<Body>> {
    let shared = &connection.admin.shared;
    let record = records::export(shared, call, (token, connection.client), detail);
    match shared.journal().record(record.line()).await {
        Ok(()) => Ok(typed(StatusCode::OK, "application/json", format!("{{\"id\":\"{}\"}}\n", record.id))),
        Err(_) => Err(text(
            StatusCode::SERVICE_UNAVAILABLE,
            "the decision log can't record this call now, so it is refused\n",
        )),
    }
}

impl Connection {
    /// Whether a call of this role may go on. An auditor's then has a place until the connection ends.
    fn has_place(&self, role: Role) -> bool {
        match role {
            Role::Operator => true,
            Role::Auditor => {
                let place = Arc::clone(&self.admin.log.calls).try_acquire_owned();
                place.is_ok_and(|place| self.place.set(place).is_ok())
            }
        }
    }

    /// What `read` finds in the log, on a thread that may wait for the disk.
    async fn of_log<T: Send + 'static>(
        &self,
        read: impl FnOnce(Archive) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, Response<Body>> {
        let directory = self.admin.log.directory.clone();
        let reading = tokio::task::spawn_blocking(move || read(Archive::open(&directory)?));
        match reading.await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => {
                tell(&error);
                Err(unreadable())
            }
            Err(_) => Err(unreadable()),
        }
    }

    /// An answer that `write` makes on a thread of its own, which has `place` for as long. The process's end does not wait for it.
    fn stream(
        &self,
        place: OwnedSemaphorePermit,
        kind: &'static str,
        write: impl FnOnce(&mut Chunks) -> Result<(), LogError> + Send + 'static,
    ) -> Response<Body> {
        let (mut chunks, body) = Body::stream(self.deadline.clone());
        let thread = std::thread::Builder::new().name("admin-answer".to_owned()).spawn(move || {
            // Whoever is to be let through goes first.
            sys::give_way();
            match write(&mut chunks) {
                // A client that has gone misses nothing.
                Ok(()) => drop(chunks.end()),
                Err(LogError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
                Err(error) => {
                    tell(&error);
                    chunks.fail();
                }
            }
            drop(place);
        });
        if thread.is_err() {
            return busy();
        }
        let mut response = Response::new(body);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }
}

fn tell(error: &LogError) {
    let error = error.to_string();
    tracing::error!(error, "the log cannot be read for a call to the admin port");
}

fn unreadable() -> Response<Body> {
    text(StatusCode::INTERNAL_SERVER_ERROR, "the log cannot be read; the messages of the process say why\n")
}

/// What is wrong with a call. It may repeat a piece of what was sent, so it passes redaction.
fn bad_request(connection: &Connection, error: &dyn Display) -> Response<Body> {
    let said = connection.admin.shared.redactor().clean(error.to_string().as_bytes(), MAX_SAID).text;
    typed(StatusCode::BAD_REQUEST, PLAIN_TEXT, format!("{said}\n"))
}

/// As much as may be done at a time is being done.
pub fn busy() -> Response<Body> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, "as many such calls as may run at a time are running\n");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// Only for the caller's own cache: others need a token of their own.
const FOR_EVER: &str = "private, max-age=31536000, immutable";

fn cached(how: &'static str, mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(how));
    response
}

fn refusal(why: &Refused) -> Response<Body> {
    let (challenge, body) = match why {
        Refused::Closed => {
            (None, "closed: /v1 and /log need `admin.tokens` in the configuration, and off loopback `admin.tls`\n")
        }
        Refused::NoToken => (Some("Bearer realm=\"sallyport\""), "send `Authorization: Bearer TOKEN`\n"),
        Refused::WrongToken => {
            (Some("Bearer realm=\"sallyport\", error=\"invalid_token\""), "this token is not known here\n")
        }
        Refused::RoleTooSmall(_) => (
            Some("Bearer realm=\"sallyport\", error=\"insufficient_scope\""),
            "this call needs a token of the role operator\n",
        ),
    };
    let mut response = text(why.status(), body);
    if let Some(challenge) = challenge {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}
