//! The front doors: what a connection goes through until its request can be asked for, whichever way it came in.
//! Not here: the line that every request takes from then on (`session`), what a listener is set to (`entrance`).
//! Source: the contract's `listeners` and section 5; proxy-protocol.txt 2 (the header comes first), RFC 9113 3.2 (ALPN).
//!
//! ```text
//! TCP ─┬───────────────────────────────────────────→ CONNECT ────┐
//!      ├─ [PROXY header] ─ [TLS] ─┬─ HTTP/1.1 ─────→ CONNECT ────┤
//!      │                          └─ HTTP/2, each stream ────────┼─→ the line
//!      └─ captured ────────────────────────────────→ ClientHello ┤
//! Unix socket ─────────────────────────────────────→ CONNECT ────┘
//! ```

mod http2;
mod proxied;

use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::config::Mode;
use crate::name::Identity;
use crate::policy::{Certificate, Client, Denial, Policy};
use crate::runtime::authorization::Authorization;
use crate::runtime::captured::original_destination;
use crate::runtime::client_auth::{CertificateFault, ClientCertificate, Shaken, ShownCredential, handshake};
use crate::runtime::entrance::Entrance;
use crate::runtime::facts::{Came, Facts, Peer};
use crate::runtime::gate::{Connection, Place};
use crate::runtime::head_reader::Head;
use crate::runtime::stream::{ClientStream, TlsEnd};
use crate::runtime::worker::Worker;
use crate::runtime::{answer, session};

/// A connection as a listener gives it.
pub struct Accepted {
    /// The client's socket, nothing read yet.
    pub stream: ClientStream,
    /// Where it came from.
    pub peer: Peer,
    /// The listener.
    pub entrance: Arc<Entrance>,
    /// Its place among the connections of this instance.
    pub connection: Connection,
}

/// A request that can be asked for: all that the line begins with. On the heap, as what waits for a tunnel must be small.
pub struct Arrived {
    /// What is gone once it is answered.
    pub asking: Box<Asking>,
    /// What stays until its last record.
    pub known: Box<Known>,
}

/// Who asks, and how.
pub struct Asking {
    /// The client's end.
    pub stream: ClientStream,
    /// How the client says where it wants to go.
    pub asks: Asks,
    /// Who asks.
    pub who: Who,
}

/// What is known of a request.
pub struct Known {
    /// Its place among the connections of this instance.
    pub place: Place,
    /// What its records say.
    pub facts: Facts,
}

/// Who asks.
#[derive(Clone)]
pub struct Who {
    /// The client, as the policy knows it.
    pub client: Client,
    /// The certificate and the credential that it has shown, if any.
    pub proof: Option<Proof>,
    /// The listener.
    entrance: Arc<Entrance>,
}

/// How a client says where it wants to go.
pub enum Asks {
    /// By an HTTP/1 head, which is still to be read until this deadline.
    Head(Instant),
    /// By an HTTP/2 head.
    Http2(Head),
    /// By the address that it connected to and its ClientHello.
    Captured {
        /// The client's own address.
        peer: SocketAddr,
        /// The address that it called.
        original: SocketAddr,
    },
}

/// What let a client in, and the listener that must still take it.
#[derive(Clone)]
pub struct Proof {
    certificate: Option<Rc<ClientCertificate>>,
    credential: Option<ShownCredential>,
    entrance: Arc<Entrance>,
}

impl Proof {
    /// Whether the listener would take the certificate at `now`, for one more request.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn holds(&self, now: Timestamp) -> Result<(), CertificateFault> {
        let asked = self.certificate.as_ref().zip(self.entrance.tls());
        asked.map_or(Ok(()), |(certificate, tls)| tls.still_holds(certificate, now))
    }

    /// Whether any of it has been taken back since, and with it what it opened.
    pub fn is_taken_back(&self, now: Timestamp) -> bool {
        let asked = self.certificate.as_ref().zip(self.entrance.tls());
        let is_revoked = asked.is_some_and(|(certificate, tls)| tls.has_revoked(certificate, now));
        let is_removed = |shown| self.entrance.credentials().is_none_or(|credentials| !credentials.have(shown));
        is_revoked || self.credential.as_ref().is_some_and(is_removed)
    }
}

impl Who {
    /// Takes the credential that a head shows, where the listener takes any and a source of this client asks for one.
    ///
    /// # Errors
    /// `credentials_wrong`, `rate_limited`.
    pub async fn show(&mut self, policy: &Policy, head: &Head) -> Result<(), Denial> {
        let Some(credentials) = self.entrance.credentials() else { return Ok(()) };
        self.client.takes_credentials = true;
        let origin = self.client.origin;
        // Whoever needs none has no guesses, and costs no hash.
        let Some(source) = policy.candidates(origin).next().filter(|_| policy.asks_credential(origin)) else {
            return Ok(());
        };
        let field = match &head.authorization {
            Authorization::Absent => return Ok(()),
            Authorization::Field(secret) => secret.as_bytes(),
            // Which of them would count is nobody's to say: as wrong as none of any scheme.
            Authorization::Several => b"",
        };
        let shown = credentials.check(field, &source.name).await.map_err(Denial::new)?;
        let identity = Identity::Credential(Arc::clone(shown.name()));
        self.client.identities = self.client.identities.iter().cloned().chain([identity]).collect();
        let certificate = self.proof.take().and_then(|proof| proof.certificate);
        self.proof = Some(Proof { certificate, credential: Some(shown), entrance: Arc::clone(&self.entrance) });
        Ok(())
    }
}

/// A connection on its way through a front door.
struct Coming {
    came: Came,
    entrance: Arc<Entrance>,
    connection: Connection,
    /// From accept to the end of the first head.
    deadline: Instant,
}

/// Why a connection comes no further.
enum Turned {
    /// It ended without a byte: counted, not recorded.
    Silent,
    /// It is refused.
    Refused(Box<Refusal>),
}

/// A refusal at a front door.
struct Refusal {
    denial: Denial,
    /// What is wrong with the client's certificate, if it is that.
    certificate: Option<CertificateFault>,
    /// The client's socket, if it can still be answered in plain HTTP.
    socket: Option<TcpStream>,
}

/// What a connection speaks.
enum Speaks {
    /// Plain HTTP/1.
    Plain(TcpStream),
    /// What its handshake came to.
    Tls(Box<Shaken<TcpStream>>),
}

/// What a connection comes to.
enum Entered {
    /// One request.
    Request(Arrived),
    /// Any number of them.
    Http2(Box<http2::Streams>),
}

/// What a connection begins with.
enum First {
    /// Its request, before which nothing stands.
    Request(Arrived),
    /// A way through the door.
    Door(Pin<Box<dyn Future<Output = Option<Entered>>>>),
}

/// One connection from accept to the last record of its last request.
pub fn serve(worker: Rc<Worker>, accepted: Accepted) -> impl Future<Output = ()> {
    let first = first(&worker, accepted);
    async move {
        let arrived = match first {
            First::Request(arrived) => arrived,
            First::Door(entering) => match entering.await {
                Some(Entered::Request(arrived)) => arrived,
                Some(Entered::Http2(streams)) => return Box::pin(streams.serve(worker)).await,
                None => return,
            },
        };
        session::serve(worker, arrived).await;
    }
}

fn first(worker: &Rc<Worker>, accepted: Accepted) -> First {
    let Accepted { stream, peer, entrance, connection } = accepted;
    let came = Came::new(peer);
    let coming = Coming { came, entrance, connection, deadline: came.at() + worker.shared().limits().head_timeout };
    match stream {
        ClientStream::Tcp(socket) if !coming.entrance.is_plain() => {
            First::Door(Box::pin(enter(Rc::clone(worker), socket, coming)))
        }
        stream @ (ClientStream::Tcp(_) | ClientStream::Unix(_) | ClientStream::Tls(_) | ClientStream::Http2(_)) => {
            let asks = Asks::Head(coming.deadline);
            First::Request(coming.asks(worker, stream, asks))
        }
    }
}

/// A TCP connection up to its request. `None`: it has been refused, or was silent.
async fn enter(worker: Rc<Worker>, socket: TcpStream, mut coming: Coming) -> Option<Entered> {
    let worker = &*worker;
    let _unfinished = worker.begin();
    if let Mode::Transparent(capture) = coming.entrance.mode {
        // A connection that is gone has no address any more.
        let original = original_destination(&socket, capture).ok()?;
        let asks = Asks::Captured { peer: socket.peer_addr().ok()?, original };
        return Some(coming.request(worker, ClientStream::Tcp(socket), asks));
    }
    let spoken = tokio::select! {
        biased;
        spoken = open(socket, &mut coming) => spoken,
        denial = worker.cut_off() => Err(Turned::refused(denial)),
    };
    match spoken {
        Ok(Speaks::Plain(socket)) => {
            let asks = Asks::Head(coming.deadline);
            Some(coming.request(worker, ClientStream::Tcp(socket), asks))
        }
        Ok(Speaks::Tls(shaken)) => Some(coming.shaken(worker, *shaken)),
        Err(Turned::Silent) => {
            worker.metrics().silent.inc();
            None
        }
        Err(Turned::Refused(refusal)) => {
            refuse(worker, &coming, *refusal).await;
            None
        }
    }
}

/// PROXY header and TLS, as far as the listener asks for them.
async fn open(socket: TcpStream, coming: &mut Coming) -> Result<Speaks, Turned> {
    let socket = proxied::open(socket, coming).await?;
    let Some(tls) = coming.entrance.tls() else { return Ok(Speaks::Plain(socket)) };
    match handshake(socket, &tls, coming.came.origin(), coming.deadline).await {
        Ok(shaken) => Ok(Speaks::Tls(Box::new(shaken))),
        Err(failure) => Err(failure.denial().map_or(Turned::Silent, |denial| {
            let certificate = failure.certificate();
            Turned::Refused(Box::new(Refusal { denial, certificate, socket: None }))
        })),
    }
}

impl Turned {
    fn refused(denial: Denial) -> Self {
        Self::Refused(Box::new(Refusal { denial, certificate: None, socket: None }))
    }
}

impl Coming {
    /// The one request of a client that has shown no certificate.
    fn asks(self, worker: &Worker, stream: ClientStream, asks: Asks) -> Arrived {
        let facts = Facts::begin(worker.shared(), &self.entrance.name, self.came);
        let who = Who { client: Client::new(self.came.origin()), proof: None, entrance: self.entrance };
        let known = Known { place: Place::own(self.connection), facts };
        Arrived { asking: Box::new(Asking { stream, asks, who }), known: Box::new(known) }
    }

    fn request(self, worker: &Worker, stream: ClientStream, asks: Asks) -> Entered {
        Entered::Request(self.asks(worker, stream, asks))
    }

    /// What follows behind a handshake.
    fn shaken(self, worker: &Worker, shaken: Shaken<TcpStream>) -> Entered {
        let Shaken { stream, certificate, is_h2 } = shaken;
        let mut client = Client::new(self.came.origin());
        let proof = certificate.map(|certificate| {
            (client.identities, client.certificate) = (Arc::clone(certificate.identities()), Certificate::Shown);
            Proof { certificate: Some(Rc::new(certificate)), credential: None, entrance: Arc::clone(&self.entrance) }
        });
        let who = Who { client, proof, entrance: Arc::clone(&self.entrance) };
        if is_h2 {
            return Entered::Http2(Box::new(http2::Streams::new(self, stream, who)));
        }
        let asks = Asks::Head(self.deadline);
        let stream = ClientStream::Tls(Box::new(TlsEnd::new(stream)));
        let mut arrived = self.asks(worker, stream, asks);
        arrived.asking.who = who;
        Entered::Request(arrived)
    }
}

/// What is known of a connection that comes to no request.
fn refused(worker: &Worker, entrance: &Entrance, came: Came) -> Facts {
    let mut facts = Facts::begin(worker.shared(), &entrance.name, came);
    let in_force = worker.shared().in_force();
    facts.judged_by(&in_force);
    facts.may_be(in_force.policy.candidates(came.origin()));
    facts
}

/// Record, then the answer, where there is one: a failed handshake has had its alert.
async fn refuse(worker: &Worker, coming: &Coming, refusal: Refusal) {
    let Refusal { denial, certificate, socket } = refusal;
    let mut facts = refused(worker, &coming.entrance, coming.came);
    certificate.into_iter().for_each(|fault| facts.certificate(fault));
    session::record(worker, &denial, &mut facts);
    if let Some(socket) = socket {
        answer::refuse(&ClientStream::Tcp(socket), denial.reason(), facts.id(), false).await;
    }
}
