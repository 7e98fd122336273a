//! The straight line that every request takes. Read `set_up` first, then `decide` and `carry`, which record what came out of it.
//! Not here: how any step works; each is one call. Whoever calls `set_up` records what came out of it, so every end of every request passes
//! the decision log once. Source: the contract's sections 5 and 6 (what the client sees, which reason if several).

use std::cell::Cell;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::Instant;

use crate::decision_log::Permit;
use crate::policy::{self, Admitted, Allowed, Answer, Denial, Ending, Identified, Policy, Reason, Routed, Standing};
use crate::runtime::circles::Own;
use crate::runtime::dial::{self, Dialled};
use crate::runtime::egress::Departure;
use crate::runtime::facts::Facts;
use crate::runtime::front::{Arrived, Asking, Asks, Known, Proof, Who};
use crate::runtime::head::{self, HeadError};
use crate::runtime::head_reader::Head;
use crate::runtime::hello::{self, Heard, HelloFailure};
use crate::runtime::metrics::SetupStep;
use crate::runtime::quota::Places;
use crate::runtime::stream::ClientStream;
use crate::runtime::tally::InForce;
use crate::runtime::tunnel::{self, Link, OpenTunnel, Opening, Place};
use crate::runtime::worker::{Unfinished, Worker};
use crate::runtime::{answer, clock, gate};

/// The client's end while a tunnel is set up.
struct ClientEnd {
    stream: ClientStream,
    /// What came behind the head: the start of the ClientHello.
    unread: Cell<Bytes>,
    /// Whether the client sends TLS by now: refusals are alerts then.
    established: Cell<bool>,
    /// Whether the method was HEAD, whose answers have no body.
    head_only: bool,
}

/// What is asked for, or why nothing is.
enum Asked {
    /// A head.
    Head(Result<Head, HeadError>),
    /// A connection to this address, with this hello.
    Captured(SocketAddr, Result<Heard, HelloFailure>),
    /// A connection of our own, captured on its way to a customer.
    Circle,
}

/// Everything that an allowed request has brought together.
struct Ready {
    allowed: Allowed,
    in_force: Arc<InForce>,
    dialled: Dialled,
    opening: Opening,
    departure: Leaving,
    places: Places,
}

/// The connection to the customer as the pool counts it, and as our own.
type Leaving = (Option<Departure>, Option<Box<Own>>);

/// What counts a tunnel for as long as it lives.
struct Guards {
    _unfinished: Unfinished,
    _departure: Leaving,
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

/// One request from its first word to its last record.
pub async fn serve(worker: Rc<Worker>, arrived: Arrived) {
    let Arrived { asking, mut known } = arrived;
    let Known { place, facts } = &mut *known;
    // What only setting up needs lives in this future and is freed before a byte is forwarded.
    let setting_up = Box::pin(decide(&worker, asking, place, facts));
    // A fault of the program ends this request alone, with a record like any other.
    let ended = match AssertUnwindSafe(setting_up).catch_unwind().await {
        Ok(Some(recorded)) => AssertUnwindSafe(carry(&worker, recorded, facts)).catch_unwind().await,
        Ok(None) => Ok(()),
        Err(fault) => Err(fault),
    };
    if ended.is_err() {
        worker.shared().journal().note(facts.fault(worker.shared(), &Denial::new(Reason::Internal)));
    }
}

/// Runs the line and records what came out of it. `None`: the request has been answered, or nothing was asked for.
async fn decide<'a>(
    worker: &'a Worker,
    asking: Box<Asking>,
    place: &mut gate::Place,
    facts: &mut Facts,
) -> Option<Recorded<'a>> {
    let unfinished = worker.begin();
    let Asking { stream, asks, mut who } = *asking;
    let (end, asked) = ask(worker, stream, asks, facts).await?;
    // At the end of a drain what is still being set up is refused, so that it has its record.
    let result = tokio::select! {
        biased;
        result = set_up(worker, (&end, asked), (&mut who, place), facts) => result,
        denial = worker.cut_off() => Err(denial),
        () = end.stream.end().left() => Err(Denial::new(Reason::ClientGone)),
    };
    match result {
        Ok(ready) => commit(worker, end, (ready, who.proof, unfinished), facts).await,
        Err(denial) => {
            refuse(worker, end, &denial, facts).await;
            None
        }
    }
}

/// Hears what is asked for, whichever way it is. `None`: the client has closed without a byte.
async fn ask(worker: &Worker, stream: ClientStream, asks: Asks, facts: &mut Facts) -> Option<(ClientEnd, Asked)> {
    let mut end = ClientEnd { stream, unread: Cell::default(), established: Cell::new(false), head_only: false };
    let asked = match asks {
        Asks::Head(deadline) => {
            let read = head::read(end.stream, &worker.lane, deadline, worker.stopped()).await;
            (end.stream, end.unread) = (read.stream, Cell::new(read.unread));
            Asked::Head(read.head)
        }
        Asks::Http2(head) => Asked::Head(Ok(head)),
        Asks::Captured { peer, original } => {
            facts.captured(original);
            end.established.set(true);
            let deadline = Instant::now() + worker.shared().limits().hello_timeout;
            let heard = hello::read_first(end.stream.end(), &worker.lane, deadline, worker.stopped()).await;
            // By now a connection of ours is on the list: its hello comes behind its dial.
            if worker.shared().circles().holds(peer) { Asked::Circle } else { Asked::Captured(original, heard) }
        }
    };
    match &asked {
        Asked::Head(Err(HeadError::Silent)) | Asked::Captured(_, Err(HelloFailure::Silent)) => {
            worker.metrics().silent.inc();
            return None;
        }
        Asked::Head(Ok(head)) => {
            facts.read(head);
            end.head_only = head.is_head();
        }
        Asked::Captured(original, Ok(heard)) => {
            let took = facts.step(worker.metrics(), SetupStep::Hello);
            facts.heard(&heard.hello, took);
            facts.wanted(*original, &heard.hello);
        }
        Asked::Head(Err(_)) | Asked::Captured(_, Err(_)) | Asked::Circle => {}
    }
    Some((end, asked))
}

/// The line: head → source → policy: request → log healthy? → resolve → policy: addresses → dial → 200 → ClientHello → policy: hello.
/// A captured request has its ClientHello in place of a head, and no 200.
async fn set_up(
    worker: &Worker,
    (end, asked): (&ClientEnd, Asked),
    (who, place): (&mut Who, &mut gate::Place),
    facts: &mut Facts,
) -> Result<Ready, Denial> {
    let in_force = worker.shared().in_force();
    facts.judged_by(&in_force);
    facts.step(worker.metrics(), SetupStep::Identify);
    let identified = identify(&in_force.policy, (who, &asked), facts).await;
    place.settle(worker.shared().gate(), identified.as_ref().ok().map(|identified| &*identified.source().name));
    // Also what is overloaded tells whose it was.
    match &identified {
        Ok(identified) => facts.identified(identified),
        Err(_) => facts.may_be(in_force.policy.candidates(who.client.origin)),
    }
    worker.open_for(place)?;
    let (admitted, heard) = admit(worker, &identified?, asked)?;
    facts.admitted(&admitted);
    worker.within_source_limit(place, &admitted)?;
    let places = worker.within_quotas(&admitted)?;
    worker.shared().log_is_healthy()?;
    facts.step(worker.metrics(), SetupStep::Policy);
    let routed = resolve(worker, &admitted, facts).await?;
    let (dialled, departure) = connect(worker, &routed, facts).await?;
    let patience = worker.shared().limits().hello_timeout;
    let heard = match heard {
        Some(heard) => heard,
        None => {
            let deadline = Instant::now() + patience;
            establish(end, &routed, deadline).await?;
            hear(worker, end, (&routed, deadline), facts).await?
        }
    };
    let allowed = routed.hello(&heard.hello)?;
    Ok(Ready { allowed, in_force, dialled, opening: Opening { heard, patience }, departure, places })
}

/// The client's source, by all that it has shown.
async fn identify(
    policy: &Arc<Policy>,
    (who, asked): (&mut Who, &Asked),
    facts: &mut Facts,
) -> Result<Identified, Denial> {
    if let Some(proof) = &who.proof {
        facts.proved(&who.client.identities);
        // Each stream of a connection is judged by the lists of its moment.
        proof.holds(clock::now()).map_err(|fault| {
            facts.certificate(fault);
            Denial::new(fault.reason())
        })?;
    }
    if let Asked::Head(Ok(head)) = asked {
        who.show(policy, head).await?;
    }
    policy.identify(&who.client)
}

/// What is asked for, if the policy lets it through; with the hello, if that has come before.
fn admit(worker: &Worker, identified: &Identified, asked: Asked) -> Result<(Admitted, Option<Heard>), Denial> {
    match asked {
        Asked::Head(head) => {
            let target = head.map_err(HeadError::denial)?.request().target()?;
            Ok((identified.request(&target, clock::now())?, None))
        }
        Asked::Circle => Err(policy::in_a_circle()),
        Asked::Captured(original, heard) => {
            let heard = heard.map_err(|failure| hello::early_denial(&failure))?;
            let own = worker.shared().own_addresses();
            Ok((identified.captured(original, &heard.hello, &own, clock::now())?, Some(heard)))
        }
    }
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
async fn connect(worker: &Worker, routed: &Routed, facts: &mut Facts) -> Result<(Dialled, Leaving), Denial> {
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
    let own = dialled.socket.local_addr().ok().and_then(|local| shared.circles().open(local));
    let departure = dialled.departure.take();
    Ok((dialled, (departure, own)))
}

/// Tells the client that the tunnel is open for its ClientHello.
async fn establish(client: &ClientEnd, routed: &Routed, deadline: Instant) -> Result<(), Denial> {
    // A client that does not read is as good as gone.
    answer::establish(&client.stream, deadline).await.map_err(|_| routed.deny(Reason::ClientGone))?;
    client.established.set(true);
    Ok(())
}

/// The whole ClientHello, from what came behind the head on.
async fn hear(
    worker: &Worker,
    client: &ClientEnd,
    (routed, deadline): (&Routed, Instant),
    facts: &mut Facts,
) -> Result<Heard, Denial> {
    let read = hello::read(client.stream.end(), client.unread.take(), &worker.lane, deadline).await;
    let heard = read.map_err(|failure| hello::denial(routed, &failure))?;
    let took = facts.step(worker.metrics(), SetupStep::Hello);
    facts.heard(&heard.hello, took);
    Ok(heard)
}

/// The record that lets the request through, and its permit. `None`: the log did not take it, so the tunnel ends here.
async fn commit<'a>(
    worker: &'a Worker,
    client: ClientEnd,
    (ready, proof, unfinished): (Ready, Option<Proof>, Unfinished),
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
            let standing = Standing::new(allowed, dialled.upstream);
            let tunnel = OpenTunnel::new(standing, meters, places).proved_by(proof);
            let open = worker.enter(tunnel, &in_force.policy);
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
    match ending {
        Ending::Refused(refused) => Box::pin(answer::end_with_alert(&client, refused.reason())).await,
        Ending::IdleTimeout
        | Ending::LifetimeExceeded
        | Ending::ByteBudgetSpent
        | Ending::Revoked
        | Ending::Shutdown => client.end().cut(),
        Ending::ClientClosed | Ending::ServerClosed | Ending::Reset => {}
    }
}

/// Record, then the answer. Refusals do not wait for the disk.
async fn refuse(worker: &Worker, client: ClientEnd, denial: &Denial, facts: &mut Facts) {
    record(worker, denial, facts);
    match (denial.reason(), client.established.get()) {
        (Reason::ClientGone, _) => {}
        (reason, true) => answer::end_with_alert(&client.stream, reason).await,
        (reason, false) => answer::refuse(&client.stream, reason, facts.id(), client.head_only).await,
    }
}

/// Records a refusal, or counts it for a summary, and counts it in the metrics.
pub fn record(worker: &Worker, denial: &Denial, facts: &mut Facts) {
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
    use crate::runtime::front::{self, Accepted};

    /// Bytes: two sockets, the facts for the last record, and what moves bytes. With the record, the sockets' own state and the tunnel's
    /// place among the open ones that makes some 3 KiB an idle tunnel.
    const MOST: usize = 1024;

    fn size<F: Future>(_: impl FnOnce(Rc<Worker>, Accepted) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn what_waits_for_a_tunnel_is_small() {
        let size = size(front::serve);
        assert!(size <= MOST, "an open tunnel's future has {size} bytes");
    }
}
