//! The relay between real sockets on loopback: whatever the chunks, pauses and buffers, every byte arrives once and in its place.
//! Not here: peers that reset (`faults`), tunnels through the whole proxy (`tests/all/tunnels.rs`).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounter, IntGauge};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{JoinSet, LocalSet, spawn_local, yield_now};
use tokio::time::timeout;

use self::plans::{Later, Plan, Progress, plan, receive, send};
use self::speaks::Speaks;
use super::*;
use crate::policy::{Answer, OwnAddresses, Standing, testing};
use crate::runtime::lane::MAX_PIPES;
use crate::runtime::quota::Quotas;
use crate::runtime::tunnel::Meters;
use crate::tls::{ClientHello, ProtocolVersion, ServerName};

#[path = "relay_tests/budgets.rs"]
mod budgets;
#[path = "relay_tests/faults.rs"]
mod faults;
#[path = "relay_tests/plans.rs"]
mod plans;
#[path = "relay_tests/speaks.rs"]
mod speaks;

/// No wait in these tests is longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Plans that the property tries. Each runs twice: together about three seconds in a debug build.
const CASES: u32 = 256;

/// Both ends of one connection through the relay, and what is between them.
struct Ends {
    client: Rc<TcpStream>,
    origin: Rc<TcpStream>,
    link: Link,
}

impl Ends {
    /// Buffers of the client's connection, then of the origin's.
    async fn new(buffers: [Option<u32>; 2], speaks: Speaks) -> Self {
        let (client, near) = speaks.connect(buffers[0]).await;
        let (far, origin) = connected(buffers[1]).await;
        Self { client: Rc::new(client), origin: Rc::new(origin), link: Link { client: near, upstream: far } }
    }
}

/// A connection on loopback: who connected, who accepted.
async fn connected(buffer: Option<u32>) -> (TcpStream, TcpStream) {
    let socket = || {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = buffer {
            socket.set_send_buffer_size(bytes).unwrap();
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        socket
    };
    let listener = socket();
    listener.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let listener = listener.listen(1).unwrap();
    let from = socket().connect(listener.local_addr().unwrap()).await.unwrap();
    let (to, _) = listener.accept().await.unwrap();
    for end in [&from, &to] {
        end.set_nodelay(true).unwrap();
    }
    (from, to)
}

/// A tunnel that a policy allows, not counted anywhere else.
fn tunnel() -> OpenTunnel {
    tunnel_within("")
}

/// The same, by a rule with these limits.
fn tunnel_within(limits: &str) -> OpenTunnel {
    let text = format!(
        "version: 1\nsources: [{{name: a, subnets: [10.0.0.0/24]}}]\n\
         rules: [{{id: r, customer: c, sources: [a], hosts: [a.example], limits: {{{limits}}}}}]\n"
    );
    let policy = Arc::new(testing::policy(&text));
    let upstream: IpAddr = "8.8.8.8".parse().unwrap();
    let identified = policy.identify(&"10.0.0.7".parse::<IpAddr>().unwrap().into()).unwrap();
    let admitted = identified.request(&"a.example:443".parse().unwrap(), "2027-01-01T12:00:00Z".parse().unwrap());
    let answer = Answer { addresses: &[upstream], cnames: &[] };
    let routed = admitted.unwrap().addresses(&answer, &OwnAddresses::default()).unwrap();
    let hello = ClientHello {
        server_name: Some(ServerName::Name("a.example".parse().unwrap())),
        max_version: ProtocolVersion::Tls13,
        alpn: Vec::new(),
        ech: false,
        esni: false,
        early_data: false,
    };
    let counter = || IntCounter::new("bytes", "Bytes.").unwrap();
    let meters = Meters { open: IntGauge::new("open", "Open.").unwrap(), bytes_out: counter(), bytes_in: counter() };
    let quotas = Quotas::default();
    quotas.serve(&policy);
    let places = quotas.enter(routed.rule(), identified.source()).unwrap();
    OpenTunnel::new(Standing::new(routed.hello(&hello).unwrap(), upstream), meters, places)
}

/// Takes all pipes out of a lane but so many.
fn leave(lane: &Lane, pipes: usize) -> Vec<Pipe> {
    (pipes..MAX_PIPES).map(|_| lane.take_pipe().unwrap()).collect()
}

/// How many of `pipes` pipes are in use.
fn in_use(lane: &Lane, pipes: usize) -> usize {
    let free: Vec<Pipe> = (0..pipes).map_while(|_| lane.take_pipe()).collect();
    let in_use = pipes - free.len();
    free.into_iter().for_each(|pipe| lane.give_back(pipe));
    in_use
}

/// Fails unless all `pipes` are back and empty, and there are no more.
async fn assert_back(lane: &Lane, pipes: usize) {
    let (socket, _other) = connected(None).await;
    socket.writable().await.unwrap();
    let back: Vec<Pipe> = (0..pipes).map_while(|_| lane.take_pipe()).collect();
    assert_eq!((back.len(), lane.take_pipe().is_some()), (pipes, false), "pipes that are back, and one too many");
    for pipe in &back {
        let drained = pipe.drain(Socket::Tcp(&socket), 1).map_err(|error| error.kind());
        assert_eq!(drained, Err(io::ErrorKind::WouldBlock), "a pipe that is not empty");
    }
}

/// What has been seen of the relay over all plans.
#[derive(Default)]
struct Seen {
    /// Polls of the relay that left a pipe in use.
    pipes: Cell<u64>,
    copies: Cell<u64>,
    rests: Cell<u64>,
    bulk: Cell<u64>,
    drains: Cell<u64>,
    /// From copying to bulk and back.
    to_bulk: Cell<u64>,
    to_copy: Cell<u64>,
    /// Directions that ended while the other had not.
    half_closed: Cell<u64>,
}

fn count_up(count: &Cell<u64>) {
    count.set(count.get() + 1);
}

impl Seen {
    /// Looks at a direction between two polls.
    fn look(&self, mode: &Mode, was_bulk: &mut bool) {
        let is_bulk = match mode {
            Mode::Done | Mode::End => return,
            Mode::Copy | Mode::Rest { .. } => false,
            Mode::Bulk | Mode::Drain { .. } => true,
        };
        count_up(match mode {
            Mode::Done | Mode::End | Mode::Copy => &self.copies,
            Mode::Rest { .. } => &self.rests,
            Mode::Bulk => &self.bulk,
            Mode::Drain { .. } => &self.drains,
        });
        match (*was_bulk, is_bulk) {
            (false, true) => count_up(&self.to_bulk),
            (true, false) => count_up(&self.to_copy),
            (true, true) | (false, false) => {}
        }
        *was_bulk = is_bulk;
    }
}

/// Who moves the bytes of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mover {
    /// The relay as it is.
    Relay,
    /// Its two directions, whose modes are looked at after each poll.
    Directions,
}

/// The relay's two directions alone.
async fn directions(link: &Link, tunnel: &OpenTunnel, lane: &Lane, seen: &Seen) {
    let (out_flow, back_flow) = flows(link, tunnel, lane);
    let (mut out_side, mut back_side) = (Direction::new(), Direction::new());
    let (mut out_bulk, mut back_bulk) = (false, false);
    poll_fn(|cx| {
        let out = out_side.poll(&out_flow, cx).map(Result::unwrap);
        let back = back_side.poll(&back_flow, cx).map(Result::unwrap);
        seen.look(&out_side.mode, &mut out_bulk);
        seen.look(&back_side.mode, &mut back_bulk);
        if out.is_ready() && back.is_ready() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Moves what is planned. Each party is a task of its own, so that the relay is polled only when its sockets wake it.
async fn carry_out(plan: Plan, (mover, speaks): (Mover, Speaks), seen: Rc<Seen>) {
    let lane = Rc::new(Lane::default());
    let held = leave(&lane, plan.pipes);
    let Ends { client, origin, link } = Ends::new(plan.buffers, speaks).await;
    let tunnel = Rc::new(tunnel());
    let ending = spawn_local({
        let (lane, tunnel, seen) = (Rc::clone(&lane), Rc::clone(&tunnel), Rc::clone(&seen));
        async move {
            let mut relaying: Pin<Box<dyn Future<Output = Option<Ending>>>> = match mover {
                Mover::Relay => Box::pin(async { Some(relay(&link, &tunnel, &lane).await) }),
                Mover::Directions => Box::pin(async {
                    directions(&link, &tunnel, &lane, &seen).await;
                    None
                }),
            };
            poll_fn(|cx| {
                let polled = relaying.as_mut().poll(cx);
                if mover == Mover::Relay && in_use(&lane, plan.pipes) > 0 {
                    count_up(&seen.pipes);
                }
                polled
            })
            .await
        }
    });
    let (out, back) = (Rc::new(Progress::default()), Rc::new(Progress::default()));
    let mut parties = JoinSet::new();
    for (way, own, other, (from, to), is_later) in [
        (&plan.out, &out, &back, (&client, &origin), plan.later == Later::Out),
        (&plan.back, &back, &out, (&origin, &client), plan.later == Later::Back),
    ] {
        let sending = send(Rc::clone(from), way.clone(), Rc::clone(own));
        let (begun, earlier) = (Rc::clone(own), Rc::clone(other));
        parties.spawn_local(async move {
            begun.waits.set(is_later);
            while is_later && !earlier.through.get() {
                yield_now().await;
            }
            begun.waits.set(false);
            sending.await;
        });
        parties.spawn_local(receive(Rc::clone(to), way.clone(), Rc::clone(own), Rc::clone(other)));
    }
    while let Some(party) = parties.join_next().await {
        party.unwrap();
    }
    let ending = ending.await.unwrap();
    assert_eq!(tunnel.bytes_out().get(), out.received.get(), "bytes_out");
    assert_eq!(tunnel.bytes_in().get(), back.received.get(), "bytes_in");
    for (way, closed) in [(&out, Ending::ClientClosed), (&back, Ending::ServerClosed)] {
        if way.first.get() {
            count_up(&seen.half_closed);
            assert!(ending.is_none_or(|ending| ending == closed), "{ending:?} instead of {closed:?}");
        }
    }
    assert_back(&lane, plan.pipes).await;
    drop(held);
}

/// Runs to its end on a thread of its own kind; fails when that takes too long.
fn block_on(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let all = LocalSet::new();
    let done = runtime.block_on(all.run_until(async { timeout(PATIENCE, future).await }));
    done.expect("the relay stands still");
}

#[test]
fn every_byte_arrives_whatever_the_client_speaks() {
    for speaks in [Speaks::Unix, Speaks::Tls, Speaks::Http2] {
        let config =
            ProptestConfig { cases: 32, max_shrink_time: 30_000, failure_persistence: None, ..Default::default() };
        let seen = Rc::new(Seen::default());
        let tried = TestRunner::new(config).run(&plan(), |plan| {
            block_on(carry_out(plan, (Mover::Relay, speaks), Rc::clone(&seen)));
            Ok(())
        });
        tried.unwrap_or_else(|error| panic!("{speaks:?}: {error}"));
        // The kernel moves what flows between sockets, and nothing else.
        assert_eq!(seen.pipes.get() > 0, speaks == Speaks::Unix, "{speaks:?}");
    }
}

#[test]
fn every_byte_arrives_once_and_in_its_place() {
    // A plan that stands still costs all patience, so only a few simpler ones are tried.
    let config =
        ProptestConfig { cases: CASES, max_shrink_time: 30_000, failure_persistence: None, ..Default::default() };
    let seen = Rc::new(Seen::default());
    let tried = TestRunner::new(config).run(&plan(), |plan| {
        for mover in [Mover::Relay, Mover::Directions] {
            block_on(carry_out(plan.clone(), (mover, Speaks::Tcp), Rc::clone(&seen)));
        }
        Ok(())
    });
    tried.unwrap_or_else(|error| panic!("{error}"));
    // Else the plans would not try what they are for.
    for (what, count, least) in [
        ("copies", &seen.copies, 100),
        ("rests", &seen.rests, 100),
        ("bulk", &seen.bulk, 20),
        ("drains", &seen.drains, 100),
        ("switches to bulk", &seen.to_bulk, 20),
        ("switches to copying", &seen.to_copy, 20),
        ("half-closed", &seen.half_closed, 20),
        ("polls of the relay that left a pipe in use", &seen.pipes, 20),
    ] {
        println!("{what}: {}", count.get());
        assert!(count.get() >= least, "{what}: {}, not {least}", count.get());
    }
}
