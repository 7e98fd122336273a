//! The straight line that every request takes. Read `set_up` first, then `decide` and `carry`, which record what came out of it.
//! Not here: how any step works; each is one call. Whoever calls `set_up` records what came out of it, so every end of every request passes
//! the decision log once. Source: the contract's sections 5 and 6 (what the client sees, which reason if several).

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::decision_log::Permit;
use crate::policy::{Admitted, Allowed, Answer, Denial, Ending, Reason, Routed, Standing};
use crate::runtime::dial::{self, Dialled};
use crate::runtime::egress::Departure;
use crate::runtime::facts::Facts;
use crate::runtime::gate::Connection;
use crate::runtime::head::{self, HeadError, Reading};
use crate::runtime::head_reader::Head;
use crate::runtime::hello::{self, Heard};
use crate::runtime::metrics::SetupStep;
use crate::runtime::quota::Places;
use crate::runtime::stream::ClientStream;
use crate::runtime::tally::InForce;
use crate::runtime::tunnel::{self, Link, OpenTunnel, Opening, Place};
use crate::runtime::worker::{Unfinished, Worker};
use crate::runtime::{answer, clock};

/// A connection as a listener gives it.
pub struct Accepted {
    /// The socket, nothing read yet.
    pub socket: TcpStream,
    /// Where it came from.
    pub peer: SocketAddr,
    /// The listener's name.
    pub listener: Arc<str>,
    /// Its place among the connections of this instance.
    pub connection: Connection,
}

/// The client's end while a tunnel is set up.
struct Client {
    stream: ClientStream,
    /// What came behind the head: the start of the ClientHello.
    unread: Bytes,
    /// Whether the `200` has gone out: refusals are alerts from then on.
    established: bool,
    /// Whether the method was HEAD, whose answers have no body.
    head_only: bool,
}

/// Everything that an allowed request has brought together.
struct Ready {
    allowed: Allowed,
    in_force: Arc<InForce>,
    dialled: Dialled,
    opening: Opening,
    departure: Option<Departure>,
    places: Places,
}

/// What counts a tunnel for as long as it lives.
struct Guards {
    _unfinished: Unfinished,
    _departure: Option<Departure>,
}

/// An allowed request with its record: all that is left is to forward.
struct Recorded<'a> {
    permit: Permit,
    /// On the heap: the future that carries it would hold it several times.
    link: Box<Link>,
    opening: Box<Opening>,
    open: Place<'a>,
    guards: Guards,
}

/// One connection from accept to its last record.
pub async fn serve(worker: Rc<Worker>, accepted: Accepted) {
    let Accepted { socket, peer, listener, connection } = accepted;
    let mut facts = Facts::begin(worker.shared(), listener, peer);
    // What only setting up needs lives in this future and is freed before a byte is forwarded.
    let setting_up = Box::pin(decide(&worker, ClientStream::Tcp(socket), &connection, &mut facts));
    // A fault of the program ends this request alone, with a record like any other.
    let ended = match AssertUnwindSafe(setting_up).catch_unwind().await {
        Ok(Some(recorded)) => AssertUnwindSafe(carry(&worker, recorded, &mut facts)).catch_unwind().await,
        Ok(None) => Ok(()),
        Err(fault) => Err(fault),
    };
    if ended.is_err() {
        worker.shared().journal().note(facts.fault(worker.shared(), &Denial::new(Reason::Internal)));
    }
    drop(connection);
}

/// Runs the line and records what came out of it. `None`: the request has been answered.
async fn decide<'a>(
    worker: &'a Worker,
    stream: ClientStream,
    connection: &Connection,
    facts: &mut Facts,
) -> Option<Recorded<'a>> {
    let unfinished = worker.begin();
    let deadline = Instant::now() + worker.shared().limits().head_timeout;
    let Reading { stream, unread, head } = head::read(stream, &worker.lane, deadline, worker.stopped()).await;
    if matches!(head, Err(HeadError::Silent)) {
        worker.metrics().silent.inc();
        return None;
    }
    let mut client = Client { stream, unread, established: false, head_only: false };
    // At the end of a drain what is still being set up is refused, so that it has its record.
    let result = tokio::select! {
        biased;
        result = set_up(worker, &mut client, (head, connection), facts) => result,
        denial = worker.cut_off() => Err(denial),
    };
    match result {
        Ok(ready) => commit(worker, client, (ready, unfinished), facts).await,
        Err(denial) => {
            refuse(worker, client, &denial, facts).await;
            None
        }
    }
}

/// The line: head → source → policy: request → log healthy? → resolve → policy: addresses → dial → 200 → ClientHello → policy: hello.
async fn set_up(
    worker: &Worker,
    client: &mut Client,
    (head, connection): (Result<Head, HeadError>, &Connection),
    facts: &mut Facts,
) -> Result<Ready, Denial> {
    let in_force = worker.shared().in_force();
    facts.judged_by(&in_force);
    if let Ok(head) = &head {
        facts.read(head);
        client.head_only = head.is_head();
    }
    facts.step(worker.metrics(), SetupStep::Identify);
    let identified = in_force.policy.identify(&facts.client_ip().into());
    // Also what is overloaded tells whose it was.
    identified.iter().for_each(|identified| facts.identified(identified));
    worker.open_for(connection)?;
    let identified = identified?;
    let target = head.map_err(HeadError::denial)?.request().target()?;
    let admitted = identified.request(&target, clock::now())?;
    facts.admitted(&admitted);
    worker.within_source_limit(connection, &admitted)?;
    let places = worker.within_quotas(&admitted)?;
    worker.shared().log_is_healthy()?;
    facts.step(worker.metrics(), SetupStep::Policy);
    let routed = resolve(worker, &admitted, facts).await?;
    let (dialled, departure) = connect(worker, &routed, facts).await?;
    let deadline = Instant::now() + worker.shared().limits().hello_timeout;
    establish(client, &routed, deadline).await?;
    let heard = hear(worker, client, (&routed, deadline), facts).await?;
    let allowed = routed.hello(&heard.hello)?;
    let opening = Opening { heard, patience: worker.shared().limits().hello_timeout };
    Ok(Ready { allowed, in_force, dialled, opening, departure, places })
}

/// The name's addresses, every one of them judged. A literal is judged without a lookup.
async fn resolve(worker: &Worker, admitted: &Admitted, facts: &mut Facts) -> Result<Routed, Denial> {
    let own = &*worker.shared().own_addresses();
    if admitted.lookup().is_none() {
        return admitted.addresses(&Answer { addresses: &[], cnames: &[] }, own);
    }
    let (found, result) = worker.names.lookup(admitted).await;
    worker.metrics().dns_lookups(result).inc();
    let took = facts.step(worker.metrics(), SetupStep::Dns);
    let found = found.map_err(|failure| admitted.deny(failure.reason()))?;
    facts.resolved(&found, result, took);
    admitted.addresses(&Answer { addresses: &found.addresses, cnames: &found.aliases }, own)
}

/// A connection to one of the judged addresses, from the rule's pool.
async fn connect(worker: &Worker, routed: &Routed, facts: &mut Facts) -> Result<(Dialled, Option<Departure>), Denial> {
    let shared = worker.shared();
    let pool = match routed.egress() {
        Some(name) => Some(shared.pools().pool(name).ok_or_else(|| routed.deny(Reason::Internal))?),
        None => None,
    };
    let deadline = Instant::now() + shared.limits().dial_timeout;
    let dialled = dial::dial(routed.addresses(), routed.target().port(), pool, deadline);
    let mut dialled = dialled.await.map_err(|reason| routed.deny(reason))?;
    let took = facts.step(worker.metrics(), SetupStep::Dial);
    facts.dialled(&dialled, pool.map(|pool| pool.name()), took);
    routed.connected(dialled.local, dialled.upstream, &shared.own_addresses())?;
    let departure = dialled.departure.take();
    Ok((dialled, departure))
}

/// Tells the client that the tunnel is open for its ClientHello.
async fn establish(client: &mut Client, routed: &Routed, deadline: Instant) -> Result<(), Denial> {
    // A client that does not read is as good as gone.
    answer::establish(&client.stream, deadline).await.map_err(|_| routed.deny(Reason::ClientGone))?;
    client.established = true;
    Ok(())
}

/// The whole ClientHello, from what came behind the head on.
async fn hear(
    worker: &Worker,
    client: &mut Client,
    (routed, deadline): (&Routed, Instant),
    facts: &mut Facts,
) -> Result<Heard, Denial> {
    let read = hello::read(client.stream.end(), std::mem::take(&mut client.unread), &worker.lane, deadline).await;
    let heard = read.map_err(|failure| hello::denial(routed, &failure))?;
    let took = facts.step(worker.metrics(), SetupStep::Hello);
    facts.heard(&heard.hello, took);
    Ok(heard)
}

/// The record that lets the request through, and its permit. `None`: the log did not take it, so the tunnel ends here.
async fn commit<'a>(
    worker: &'a Worker,
    client: Client,
    (ready, unfinished): (Ready, Unfinished),
    facts: &mut Facts,
) -> Option<Recorded<'a>> {
    let Ready { allowed, in_force, dialled, opening, departure, places } = ready;
    let guards = Guards { _unfinished: unfinished, _departure: departure };
    match worker.shared().journal().commit(facts.allow(&allowed)).await {
        Ok(permit) => {
            facts.permitted();
            facts.step(worker.metrics(), SetupStep::Record);
            let meters = in_force.meters(worker.metrics(), allowed.rule());
            facts.count(worker.shared(), allowed.decided());
            let link = Box::new(Link { client: client.stream, upstream: dialled.socket });
            let tunnel = OpenTunnel::new(Standing::new(allowed, dialled.upstream), meters, places);
            let open = worker.enter(tunnel, in_force.policy.hash());
            Some(Recorded { permit, link, opening: Box::new(opening), open, guards })
        }
        Err(error) => {
            worker.shared().journal().note(facts.uncommitted(error, &allowed));
            facts.count(worker.shared(), Reason::DecisionLogUnavailable.into());
            answer::end_with_alert(&client.stream, Reason::DecisionLogUnavailable).await;
            None
        }
    }
}

/// Bytes, then the record of the end.
async fn carry(worker: &Worker, recorded: Recorded<'_>, facts: &mut Facts) {
    let Recorded { permit, link, opening, open, guards } = recorded;
    let ending = tunnel::forward(permit, &link, opening, open.tunnel(), &worker.lane).await;
    worker.metrics().ended(ending);
    worker.metrics().tunnel_duration.observe(open.tunnel().opened().elapsed().as_secs_f64());
    worker.shared().journal().note(facts.close(ending, open.tunnel()));
    drop((open, guards));
    let Link { client, upstream } = *link;
    drop(upstream);
    if let Ending::Refused(refused) = ending {
        Box::pin(answer::end_with_alert(&client, refused.reason())).await;
    }
}

/// Record, then the answer. Refusals do not wait for the disk.
async fn refuse(worker: &Worker, client: Client, denial: &Denial, facts: &mut Facts) {
    record(worker, denial, facts);
    match (denial.reason(), client.established) {
        (Reason::ClientGone, _) => {}
        (reason, true) => answer::end_with_alert(&client.stream, reason).await,
        (reason, false) => answer::refuse(&client.stream, reason, facts.id(), client.head_only).await,
    }
}

fn record(worker: &Worker, denial: &Denial, facts: &mut Facts) {
    let shared = worker.shared();
    if shared.denials().is_recorded(facts.source(), denial.reason()) {
        shared.journal().note(facts.deny(denial));
    } else {
        facts.refused(denial);
    }
    facts.count(shared, denial.reason().into());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes: two sockets, the facts for the last record, and what moves bytes. With the record, the sockets' own state and the tunnel's
    /// place among the open ones that makes some 3 KiB an idle tunnel.
    const MOST: usize = 1024;

    fn size<F: Future>(_: impl FnOnce(Rc<Worker>, Accepted) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn what_waits_for_a_tunnel_is_small() {
        let size = size(serve);
        assert!(size <= MOST, "an open tunnel's future has {size} bytes");
    }
}
