//! The admin port: `/livez`, `/readyz` and `/metrics` for everybody; the log and its records for whoever has a token.
//! Not here: what is counted (`metrics`), how records are read (`archive`). The port is never reachable through the proxy: its address
//! counts as the proxy's own. Source: the contract: "Admin port"; RFC 6750 section 3 (401 and 403).

pub mod access;
mod block;
mod body;
mod decisions;
mod egress;
mod explain;
mod export;
mod faults;
mod guarded;
mod log;
mod operate;
mod policy;
mod problem;
mod records;
mod route;
mod status;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::Either;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use access::Access;
use body::{Body, Deadline, reached};
use guarded::{Reading, guarded};
use records::{Readers, Refusals};
use route::{Call, Guarded, NoCall, Page};
pub use status::Installation;

use crate::runtime::blocks::BlockBook;
use crate::runtime::listeners;
use crate::runtime::orders::Orders;
use crate::runtime::shared::Shared;

/// Upper bound of admin connections at one moment: a scraper, a few probes, an operator.
const MAX_CONNECTIONS: usize = 128;

/// How long a TLS handshake may take. Short, as the next one.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(2);

/// How long a head may take. Short, so that silent connections cannot keep probes out for long.
const HEAD_TIMEOUT: Duration = Duration::from_secs(1);

/// The content type that Prometheus asks for (text format 0.0.4).
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// What the admin port serves from, and for whom.
pub struct Admin {
    shared: Arc<Shared>,
    access: ArcSwap<Access>,
    refusals: Refusals,
    readers: Readers,
    log: Reading,
    installation: Installation,
    orders: Orders,
    blocks: Arc<BlockBook>,
}

/// What one of the two ports serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The admin port: everything, with TLS if it is configured.
    All,
    /// The probes' port: what needs no token, in the clear.
    Probes,
}

/// One connection, as its requests see it.
#[derive(Clone)]
struct Connection {
    admin: Arc<Admin>,
    client: SocketAddr,
    door: Door,
    deadline: Deadline,
    /// That of its call, if it needs one.
    place: Arc<OnceLock<OwnedSemaphorePermit>>,
    /// Whether the proxy ends once this connection has.
    is_last: Arc<AtomicBool>,
}

impl Admin {
    /// The port's state from the start on.
    pub fn new(
        shared: Arc<Shared>,
        access: Access,
        installation: Installation,
        (orders, blocks): (Orders, Arc<BlockBook>),
    ) -> Self {
        records::in_force(&shared, &Access::default(), &access);
        shared.metrics().certificates.set_expiry("admin", access.expires());
        let directory = PathBuf::from(&installation.log);
        Self {
            shared,
            access: ArcSwap::from_pointee(access),
            refusals: Refusals::default(),
            readers: Readers::default(),
            log: Reading::new(directory),
            installation,
            orders,
            blocks,
        }
    }

    /// Takes what was read again.
    pub fn reloaded(&self, access: Access) {
        let before = self.access.swap(Arc::new(access));
        let now = self.access.load();
        records::in_force(&self.shared, &before, &now);
        self.shared.metrics().certificates.set_expiry("admin", now.expires());
    }

    /// Refused calls that were too many for records of their own: once a second, and at the end.
    pub fn tell_refused(&self, at_end: bool) {
        records::refused_unrecorded(&self.shared, &self.refusals, at_end);
    }
}

/// Serves until the task is dropped.
pub async fn serve(listener: TcpListener, admin: Arc<Admin>, door: Door) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (socket, client): (TcpStream, SocketAddr) = listeners::accept(&listener).await;
        let admin = Arc::clone(&admin);
        tokio::spawn(async move {
            attend(socket, client, admin, door).await;
            drop(place);
        });
    }
}

/// How an admin connection ends concerns nobody else.
async fn attend(socket: TcpStream, client: SocketAddr, admin: Arc<Admin>, door: Door) {
    let access = admin.access.load_full();
    match access.tls().filter(|_| door == Door::All) {
        None => converse(TokioIo::new(socket), (admin, client, door)).await,
        Some(tls) => {
            if let Ok(Ok(stream)) = timeout(HANDSHAKE_DEADLINE, tls.accept(socket)).await {
                converse(TokioIo::new(stream), (admin, client, door)).await;
            }
        }
    }
}

async fn converse(io: impl Read + Write + Unpin, (admin, client, door): (Arc<Admin>, SocketAddr, Door)) {
    let (deadline, at) = Deadline::new();
    let connection = Connection { admin, client, door, deadline, place: Arc::default(), is_last: Arc::default() };
    let service = service_fn(|request: Request<Incoming>| {
        let answering = answer_whole(request, connection.clone());
        async move { Ok::<_, Infallible>(answering.await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .keep_alive(false)
        .serve_connection(io, service);
    tokio::select! {
        _ = serving => {}
        () = reached(at) => {}
    }
    if connection.is_last.load(Ordering::Relaxed) {
        connection.admin.orders.stop();
    }
}

/// An order is judged, carried out and recorded from here on, also for a caller who has gone already; of other calls nothing is left then.
fn answer_whole(request: Request<Incoming>, connection: Connection) -> impl Future<Output = Response<Body>> + use<> {
    let call = route::route(request.method(), request.uri());
    let is_order = matches!(call, Ok(Call::Guarded(Guarded::Reload | Guarded::Drain | Guarded::Block)));
    let answering = answer(request, connection);
    let answering = if is_order { Either::Left(tokio::spawn(answering)) } else { Either::Right(answering) };
    async move {
        match answering {
            Either::Left(task) => task.await.unwrap_or_else(|_| failed()),
            Either::Right(answering) => answering.await,
        }
    }
}

async fn answer(request: Request<Incoming>, connection: Connection) -> Response<Body> {
    match route::route(request.method(), request.uri()) {
        Ok(Call::Open(page)) => open(page, &connection.admin.shared),
        Ok(Call::Guarded(call)) if connection.door == Door::All => guarded(request, call, connection).await,
        Ok(Call::Guarded(_)) | Err(NoCall::Unknown) => {
            text(StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics, and on the admin port /v1 and /log\n")
        }
        Err(NoCall::Method(methods)) => other_method(methods),
    }
}

fn failed() -> Response<Body> {
    text(StatusCode::INTERNAL_SERVER_ERROR, "the proxy failed\n")
}

fn open(page: Page, shared: &Shared) -> Response<Body> {
    match page {
        Page::Live => text(StatusCode::OK, "ok\n"),
        Page::Ready => match shared.not_ready() {
            None => text(StatusCode::OK, "ok\n"),
            Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, why),
        },
        Page::Metrics => match shared.metrics_page() {
            Ok(page) => typed(StatusCode::OK, PROMETHEUS_TEXT, page),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be written as text\n"),
        },
    }
}

fn other_method(methods: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "this path has other methods; see `Allow`\n");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}

fn text(status: StatusCode, body: &'static str) -> Response<Body> {
    typed(status, PLAIN_TEXT, body)
}

fn typed(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
