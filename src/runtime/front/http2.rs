//! One HTTP/2 connection: each CONNECT on it is a request of its own, judged by the policy and the lists of its moment.
//! Not here: a tunnel's bytes and their flow control (`stream::http2`), the line (`session`). Frames are read by `h2`, within its bounds:
//! streams that are reset before they are looked at, heads, CONTINUATION, small DATA frames. Source: RFC 9113 8.5, 10.5; RFC 8441.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::ext::Protocol;
use h2::server::{Builder, SendResponse};
use h2::{Reason as Code, RecvStream};
use http::request::Parts;
use http::{HeaderValue, Method, Request, header};
use tokio::net::TcpStream;
use tokio::task::{spawn_local, unconstrained};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use tokio_rustls::server::TlsStream;

use super::{Arrived, Asking, Asks, Coming, Known, Who, refused};
use crate::runtime::authorization::Authorization;
use crate::runtime::facts::{Came, Facts};
use crate::runtime::gate::{Connection, Place};
use crate::runtime::head::HeadError;
use crate::runtime::head_reader::{Head, MAX_HEAD};
use crate::runtime::session;
use crate::runtime::stream::{ClientStream, Http2End, Meter, Metered, STREAM_WINDOW};
use crate::runtime::worker::Worker;

/// Upper bound of tunnels on one connection; a client that wants more waits or opens another. curl uses 100.
const MAX_STREAMS: u32 = 256;

/// Bytes of a connection's window: all of its streams' together, so that tunnels that stall leave the others theirs.
const CONNECTION_WINDOW: u32 = MAX_STREAMS * STREAM_WINDOW;

/// Upper bound in bytes of what one stream has to send and its client does not take: what a stalled tunnel holds the other way.
const MAX_UNSENT: usize = 64 * 1024;

/// Upper bound of streams that were refused or reset and about which frames may still come.
const MAX_RESET_STREAMS: usize = 64;

/// How often a connection is looked at: whether it is idle, over its measure, or to end.
const LOOK: Duration = Duration::from_millis(500);

/// How long a connection without a tunnel stays: a client with more to do comes back within, and idle ones are in nobody's way for long.
const IDLE_CONNECTION: Duration = Duration::from_secs(60);

/// How long a connection that was told to end may take when no tunnel is left on it.
const GOODBYE: Duration = Duration::from_secs(2);

/// A connection whose client speaks HTTP/2, nothing read of that yet.
pub(super) struct Streams {
    stream: TlsStream<TcpStream>,
    deadline: Instant,
    on: On,
}

/// What every request of one connection has in common.
struct On {
    came: Came,
    who: Who,
    /// The connection's place, which one tunnel at a time may have.
    home: Rc<RefCell<Connection>>,
    meter: Rc<Meter>,
}

/// Why a connection ends before its client wants it to, or without its client.
enum End {
    /// It is gone, or over by the rules.
    Over,
    /// The client has broken the protocol.
    Broken(Code),
}

/// What a client does.
enum Turn {
    Request(Box<Request<RecvStream>>, SendResponse<Bytes>),
    End(End),
    /// It sends more beside its tunnels than it may.
    Flood,
}

/// How far a connection's end has come.
#[derive(Default)]
struct Ending {
    /// Since when there is no tunnel.
    idle: Option<Instant>,
    /// Since when it is told to end.
    told: Option<Instant>,
}

type Served = h2::server::Connection<Metered<TlsStream<TcpStream>>, Bytes>;

impl Streams {
    /// A connection that has come through the door.
    pub(super) fn new(coming: Coming, stream: TlsStream<TcpStream>, who: Who) -> Self {
        let Coming { came, connection, deadline, .. } = coming;
        let home = Rc::new(RefCell::new(connection));
        Self { stream, deadline, on: On { came, who, home, meter: Meter::new() } }
    }

    /// Serves every request until the connection ends. Its tunnels end with it, each by itself.
    pub(super) async fn serve(self, worker: Rc<Worker>) {
        let worker = &worker;
        // The end of the worker waits for the last frames.
        let _unfinished = worker.begin();
        let Self { stream, deadline, on } = self;
        let shaking = settings().handshake(Metered::new(stream, Rc::clone(&on.meter)));
        let shaken = tokio::select! {
            biased;
            shaken = timeout_at(deadline, shaking) => shaken,
            () = worker.stopped() => return on.silent(worker),
        };
        let end = match shaken {
            Ok(Ok(mut connection)) => on.serve(worker, &mut connection).await,
            Ok(Err(_)) if on.meter.is_silent() => return on.silent(worker),
            Ok(Err(error)) => End::of(&error),
            Err(_) => return on.record(worker, HeadError::Late, None),
        };
        if let End::Broken(code) = end {
            on.record(worker, HeadError::Malformed, Some(code));
        }
    }
}

/// The connection's own settings.
fn settings() -> Builder {
    let mut settings = Builder::new();
    settings
        .max_concurrent_streams(MAX_STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .max_send_buffer_size(MAX_UNSENT)
        .max_concurrent_reset_streams(MAX_RESET_STREAMS)
        .max_local_error_reset_streams(Some(MAX_RESET_STREAMS))
        // Not to serve it: a request for it is seen then, refused like any other and put on record, not reset behind our back.
        .enable_connect_protocol();
    settings
}

impl On {
    async fn serve(&self, worker: &Rc<Worker>, connection: &mut Served) -> End {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ending = Ending::default();
        loop {
            tokio::select! {
                biased;
                // First, and whatever the client sends: one that floods would leave it no turn.
                _ = unconstrained(looks.tick()) => {
                    if ending.look(worker, &self.meter, connection) {
                        return End::Over;
                    }
                }
                turn = poll_fn(|cx| self.poll_turn(connection, cx)) => match turn {
                    Turn::Request(request, answer) => self.begin(worker, *request, answer),
                    Turn::End(end) => return end,
                    Turn::Flood => return flooded(connection).await,
                }
            }
        }
    }

    /// What the client does next. Its measure is looked at each time, also while it leaves no time for anything else.
    fn poll_turn(&self, connection: &mut Served, cx: &mut Context<'_>) -> Poll<Turn> {
        let turn = match connection.poll_accept(cx) {
            Poll::Ready(Some(Ok((request, answer)))) => Poll::Ready(Turn::Request(Box::new(request), answer)),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Turn::End(End::of(&error))),
            Poll::Ready(None) => Poll::Ready(Turn::End(End::Over)),
            Poll::Pending => Poll::Pending,
        };
        if turn.is_pending() && self.meter.is_over(Instant::now()) { Poll::Ready(Turn::Flood) } else { turn }
    }

    /// A connection without a byte of HTTP/2 is counted, not recorded.
    fn silent(&self, worker: &Worker) {
        if self.meter.is_silent() {
            worker.metrics().silent.inc();
        } else {
            self.record(worker, HeadError::Gone, None);
        }
    }

    /// One request, in a task of its own.
    fn begin(&self, worker: &Rc<Worker>, request: Request<RecvStream>, mut answer: SendResponse<Bytes>) {
        let lent = Place::lend(&self.home, self.who.entrance.credentials().is_some());
        let own = || worker.admit_more(&self.who.entrance, &self.who.client).map(Place::own);
        let Some(place) = lent.or_else(own) else {
            worker.metrics().dropped.inc();
            return answer.send_reset(Code::REFUSED_STREAM);
        };
        let (parts, body) = request.into_parts();
        let meter = Rc::clone(&self.meter);
        meter.begin();
        let stream = ClientStream::Http2(Box::new(Http2End::new(body, answer, Rc::clone(&meter))));
        let asking = Asking { stream, asks: Asks::Http2(head(&parts)), who: self.who.clone() };
        let known = Known { place, facts: Facts::begin(worker.shared(), &self.who.entrance.name, self.came.again()) };
        let arrived = Arrived { asking: Box::new(asking), known: Box::new(known) };
        let serving = session::serve(Rc::clone(worker), arrived);
        spawn_local(async move {
            serving.await;
            meter.end();
        });
    }

    /// The one record of a connection that has broken the protocol.
    fn record(&self, worker: &Worker, error: HeadError, code: Option<Code>) {
        let mut facts = refused(worker, &self.who.entrance, self.came);
        facts.proved(&self.who.client.identities);
        code.into_iter().for_each(|code| facts.http2_error(format!("{code:?}").into()));
        session::record(worker, &error.denial(), &mut facts);
    }
}

impl Ending {
    /// Tells the client to come no more, once it is idle or the proxy drains or leaves; true: it was told, and has not gone by itself.
    fn look(&mut self, worker: &Worker, meter: &Meter, connection: &mut Served) -> bool {
        let now = Instant::now();
        let idle = *self.idle.get_or_insert(now);
        if !meter.is_idle() {
            self.idle = None;
        }
        let is_idle = meter.is_idle() && now.saturating_duration_since(idle) >= IDLE_CONNECTION;
        if self.told.is_none() && (is_idle || worker.shared().is_leaving()) {
            self.told = Some(now);
            connection.graceful_shutdown();
        }
        meter.is_idle() && self.told.is_some_and(|told| now.saturating_duration_since(told) >= GOODBYE)
    }
}

impl End {
    fn of(error: &h2::Error) -> Self {
        match error.reason() {
            Some(code) if !error.is_io() && !error.is_remote() && code != Code::NO_ERROR => Self::Broken(code),
            Some(_) | None => Self::Over,
        }
    }
}

/// Tells the client so, if it still reads.
async fn flooded(connection: &mut Served) -> End {
    connection.abrupt_shutdown(Code::ENHANCE_YOUR_CALM);
    let _ = timeout_at(Instant::now() + GOODBYE, poll_fn(|cx| connection.poll_closed(cx))).await;
    End::Broken(Code::ENHANCE_YOUR_CALM)
}

/// The head as HTTP/1 would have it: the authority of CONNECT, or else the whole URI.
fn head(parts: &Parts) -> Head {
    let Parts { method, uri, headers, extensions, .. } = parts;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let is_extended = extensions.get::<Protocol>().is_some();
    Head {
        method: method.clone(),
        target: if *method == Method::CONNECT { authority.to_owned() } else { uri.to_string() },
        absolute: uri.host().filter(|_| uri.scheme().is_some()).map(|host| (host.to_owned(), uri.port_u16())),
        hosts: headers.get_all(header::HOST).iter().count(),
        has_body: headers.get_all(header::CONTENT_LENGTH).iter().any(|length| length.as_bytes() != b"0"),
        is_extended,
        authorization: Authorization::of(
            headers.get_all(header::PROXY_AUTHORIZATION).iter().map(HeaderValue::as_bytes),
        ),
    }
}
