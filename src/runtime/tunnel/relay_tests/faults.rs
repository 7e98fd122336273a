//! Peers that reset the relay's connections, whatever it is doing: it ends at once or with the next sweep, and never as if all had come.
//! Not here: streams that end well (`relay_tests`).

use std::io::{self, Read};
use std::rc::Rc;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, spawn_local, yield_now};

use super::super::{Ending, relay};
use super::plans::{MAX_CHUNK, pattern};
use super::speaks::Speaks;
use super::{Ends, PATIENCE, assert_back, block_on, in_use, leave, tunnel};
use crate::runtime::lane::{Lane, Pipe};
use crate::runtime::tunnel::{Deadlines, OpenTunnels, Place};

/// No sweep of these tests ends a tunnel.
const NEVER: Deadlines = Deadlines { idle: Duration::from_secs(3600), lifetime: Duration::from_secs(3600) };

/// What is moved before bulk counts as under way.
const UNDER_WAY: u64 = 4 * 1024 * 1024;

/// Turns without a byte after which the receiver counts as one that takes nothing.
const STILL: usize = 100;

/// What the relay is doing when a peer resets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// Waits for the next small message.
    Waiting,
    /// Copies as fast as it can, for want of pipes.
    Copying,
    /// Moves bulk through a pipe.
    Splicing,
    /// Holds copied bytes that the receiver does not take.
    HoldingRest,
    /// Holds a pipe that the receiver does not empty.
    HoldingPipe,
}

const ALL: [Doing; 5] = [Doing::Waiting, Doing::Copying, Doing::Splicing, Doing::HoldingRest, Doing::HoldingPipe];

impl Doing {
    fn pipes(self) -> usize {
        match self {
            Self::Waiting | Self::Splicing | Self::HoldingPipe => 1,
            Self::Copying | Self::HoldingRest => 0,
        }
    }
}

/// A relay at work, and the sender and the receiver of the direction that is looked at.
struct Case {
    tunnels: &'static OpenTunnels,
    place: Rc<Place<'static>>,
    lane: Rc<Lane>,
    ending: JoinHandle<Ending>,
    sender: Option<Rc<TcpStream>>,
    receiver: Option<Rc<TcpStream>>,
    sent: u64,
    received: u64,
    is_out: bool,
    doing: Doing,
    /// Pipes that are kept from the relay.
    _held: Vec<Pipe>,
}

impl Case {
    async fn new(doing: Doing, is_out: bool) -> Self {
        let lane = Rc::new(Lane::default());
        let held = leave(&lane, doing.pipes());
        let Ends { client, origin, link } = Ends::new([None, None], Speaks::Tcp).await;
        // Leaked, so that the relay's task may borrow it.
        let tunnels: &'static OpenTunnels = Box::leak(Box::default());
        let place = Rc::new(tunnels.enter(tunnel()));
        let ending = spawn_local({
            let (lane, place) = (Rc::clone(&lane), Rc::clone(&place));
            async move { relay(&link, place.tunnel(), &lane).await }
        });
        let (sender, receiver) = if is_out { (client, origin) } else { (origin, client) };
        let (sender, receiver) = (Some(sender), Some(receiver));
        Self { tunnels, place, lane, ending, sender, receiver, sent: 0, received: 0, is_out, doing, _held: held }
    }

    /// The tunnel's counts: of the direction that is looked at, and of the other one.
    fn counts(&self) -> (u64, u64) {
        let tunnel = self.place.tunnel();
        let (out, back) = (tunnel.bytes_out().get(), tunnel.bytes_in().get());
        if self.is_out { (out, back) } else { (back, out) }
    }

    /// Sends what the sender's socket takes of one chunk.
    fn send(&mut self, count: usize) -> usize {
        let gone = match self.sender.as_ref().unwrap().try_write(pattern(self.sent, count)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            gone => gone.unwrap(),
        };
        self.sent += gone as u64;
        gone
    }

    /// Receives what is there, compared byte by byte.
    fn receive(&mut self, room: usize) -> io::Result<usize> {
        let mut buffer = vec![0; room];
        match self.receiver.as_ref().unwrap().try_read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Ok(0) => panic!("{:?}: a stream that was cut short ends as if it were whole", self.doing),
            Ok(count) => {
                assert!(buffer[..count] == *pattern(self.received, count), "behind {}", self.received);
                self.received += count as u64;
                Ok(count)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the relay holds bytes that its receiver does not take: then a sweep asks it to look at its sockets.
    fn holds(&self) -> bool {
        self.tunnels.sweep(Instant::now().into(), NEVER);
        self.place.tunnel().is_to_be_looked_at()
    }

    /// Whether the relay does it, after the sender has got nowhere for so many turns.
    fn is_brought_about(&self, still: usize) -> bool {
        let pipes = in_use(&self.lane, self.doing.pipes());
        match self.doing {
            Doing::Waiting => self.received >= 100 && self.received == self.sent,
            Doing::Copying => self.received >= UNDER_WAY,
            Doing::Splicing => self.received >= UNDER_WAY && pipes == 1,
            Doing::HoldingRest => still >= STILL,
            Doing::HoldingPipe => still >= STILL && pipes == 1,
        }
    }

    /// Brings the relay to what it is to be doing.
    async fn bring_about(&mut self) {
        let end = Instant::now() + PATIENCE;
        let mut still = 0;
        while !self.is_brought_about(still) {
            let gone = match self.doing {
                Doing::Waiting if self.sent > self.received => 0,
                Doing::Waiting => self.send(10),
                Doing::Copying | Doing::Splicing | Doing::HoldingRest | Doing::HoldingPipe => self.send(MAX_CHUNK),
            };
            yield_now().await;
            still = if gone == 0 && self.holds() { still + 1 } else { 0 };
            if self.doing == Doing::Waiting || self.received < UNDER_WAY || still > STILL {
                self.receive(MAX_CHUNK).unwrap();
            }
            assert!(Instant::now() < end, "{:?}: does not come about", self.doing);
        }
    }

    /// How the relay ends. The sweeps come as often as they can.
    async fn end(&mut self) -> Ending {
        let end = Instant::now() + PATIENCE;
        while !self.ending.is_finished() {
            self.tunnels.sweep(Instant::now().into(), NEVER);
            yield_now().await;
            assert!(Instant::now() < end, "{:?}: the relay goes on", self.doing);
        }
        (&mut self.ending).await.unwrap()
    }
}

/// The socket closed with a reset.
fn reset(socket: &mut Option<Rc<TcpStream>>) {
    let socket = Rc::into_inner(socket.take().unwrap()).unwrap();
    SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
    drop(socket);
}

#[test]
fn a_reset_ends_both_connections_whatever_the_relay_is_doing() {
    for doing in ALL {
        for (sender_resets, is_out) in [(true, true), (true, false), (false, true), (false, false)] {
            let row = format!("{doing:?}, out: {is_out}, the sender resets: {sender_resets}");
            block_on(async {
                let mut case = Case::new(doing, is_out).await;
                case.bring_about().await;
                reset(if sender_resets { &mut case.sender } else { &mut case.receiver });
                assert_eq!(case.end().await, Ending::Reset, "{row}");
                let end = if sender_resets { end_of_receiver(&mut case).await } else { end_of_sender(&case).await };
                assert_eq!(end, io::ErrorKind::ConnectionReset, "{row}");
                let (counted, other) = case.counts();
                assert!((case.received..=case.sent).contains(&counted), "{row}: {counted} of {}", case.sent);
                assert_eq!(other, 0, "{row}");
                assert_back(&case.lane, doing.pipes()).await;
            });
        }
    }
}

/// What the receiver gets behind all bytes that came.
async fn end_of_receiver(case: &mut Case) -> io::ErrorKind {
    loop {
        case.receiver.as_ref().unwrap().readable().await.unwrap();
        if let Err(error) = case.receive(MAX_CHUNK) {
            return error.kind();
        }
    }
}

/// What the sender gets that reads.
async fn end_of_sender(case: &Case) -> io::ErrorKind {
    loop {
        let sender = case.sender.as_ref().unwrap();
        sender.readable().await.unwrap();
        match sender.try_read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return error.kind(),
            Ok(count) => panic!("{count} bytes instead of a reset"),
        }
    }
}

/// A receiver that takes nothing for long and then all: nothing is lost, and the relay does not end by itself.
#[test]
fn a_receiver_that_stops_for_long_gets_everything_after_all() {
    for doing in [Doing::HoldingRest, Doing::HoldingPipe] {
        block_on(async {
            let mut case = Case::new(doing, false).await;
            case.bring_about().await;
            for _ in 0..50 {
                assert!(case.holds(), "{doing:?}");
                yield_now().await;
            }
            while case.received < case.sent {
                case.receiver.as_ref().unwrap().readable().await.unwrap();
                case.receive(MAX_CHUNK).unwrap();
            }
            assert!(!case.ending.is_finished(), "{doing:?}");
            assert_eq!(case.counts(), (case.sent, 0), "{doing:?}");
            assert_back(&case.lane, doing.pipes()).await;
        });
    }
}

/// All that the relay has handed over, and so counted, arrives without it; what it holds does not count.
#[test]
fn a_byte_counts_when_the_receivers_socket_has_taken_it() {
    for doing in [Doing::HoldingRest, Doing::HoldingPipe] {
        block_on(async {
            let mut case = Case::new(doing, true).await;
            case.bring_about().await;
            let (counted, _) = case.counts();
            assert!(counted < case.sent, "{doing:?}: it holds something");
            let receiver = Rc::clone(case.receiver.as_ref().unwrap());
            let mut buffer = vec![0; MAX_CHUNK];
            let end = Instant::now() + PATIENCE;
            // Nothing is awaited here, so the relay does not run.
            while case.received < counted {
                assert!(Instant::now() < end, "{doing:?}: {} of {counted}", case.received);
                if let Ok(count) = (&*SockRef::from(&*receiver)).read(&mut buffer) {
                    assert!(buffer[..count] == *pattern(case.received, count), "{doing:?}: behind {}", case.received);
                    case.received += count as u64;
                }
            }
            assert_eq!(case.received, counted, "{doing:?}");
            let more = (&*SockRef::from(&*receiver)).read(&mut buffer).map_err(|error| error.kind());
            assert_eq!(more, Err(io::ErrorKind::WouldBlock), "{doing:?}");
        });
    }
}
