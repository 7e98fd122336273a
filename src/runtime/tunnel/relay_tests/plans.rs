//! What the property of the relay tries: random chunks, pauses and reads for both directions, and who carries them out.
//! Not here: the relay between them (`relay_tests`).

use std::cell::Cell;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::task::yield_now;

use super::super::taken;

/// The longest chunk that is sent at once: more than two pipes hold.
pub const MAX_CHUNK: usize = 600 * 1024;

/// After so many bytes the pattern repeats: a prime number, so that nothing lost, doubled or swapped in units of buffers looks right.
const PERIOD: usize = 1_048_583;

/// SplitMix64 from a fixed seed, one period and one chunk long.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x5a11_7907_u64;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).to_le_bytes()
    };
    let once: Vec<u8> = (0..PERIOD.div_ceil(8)).flat_map(|_| next()).take(PERIOD).collect();
    [&once[..], &once[..MAX_CHUNK]].concat()
});

/// The bytes of a stream from a place on.
pub fn pattern(place: u64, count: usize) -> &'static [u8] {
    let start = usize::try_from(place).unwrap() % PERIOD;
    &PATTERN[start..start + count]
}

/// What a sender does next.
#[derive(Debug, Clone)]
pub enum Act {
    Send(usize),
    /// Lets the others run so many times.
    Yield(usize),
    /// Waits until the receiver has all of it, so that the next chunk comes alone.
    Meet,
}

/// What a receiver does next; after the last it begins anew.
#[derive(Debug, Clone)]
pub enum Take {
    /// One read into so much room.
    Read(usize),
    Yield(usize),
    /// Reads nothing until the sender has not got on for so many turns.
    Stall(usize),
}

/// One direction.
#[derive(Debug, Clone)]
pub struct Way {
    pub acts: Vec<Act>,
    pub takes: Vec<Take>,
    /// Where in the pattern it begins.
    pub start: usize,
}

/// Which direction begins only when the other has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Later {
    Neither,
    Out,
    Back,
}

#[derive(Debug, Clone)]
pub struct Plan {
    pub out: Way,
    pub back: Way,
    pub later: Later,
    /// SO_SNDBUF and SO_RCVBUF of the client's connection and of the origin's.
    pub buffers: [Option<u32>; 2],
    /// How many pipes the lane may have.
    pub pipes: usize,
}

fn phase() -> impl Strategy<Value = Vec<Act>> {
    let small = (1..3_000_usize).prop_map(|count| vec![Act::Send(count), Act::Meet]);
    let any = prop_oneof![
        3 => (1..=MAX_CHUNK).prop_map(Act::Send),
        2 => (1..5_000_usize).prop_map(Act::Send),
        2 => (1..20_usize).prop_map(Act::Yield),
        1 => Just(Act::Meet),
    ];
    prop_oneof![
        vec((64 * 1024..=MAX_CHUNK).prop_map(Act::Send), 1..5),
        vec(small, 1..6).prop_map(|pairs| pairs.concat()),
        vec(any, 1..8),
    ]
}

fn way() -> impl Strategy<Value = Way> {
    let take = prop_oneof![
        4 => prop_oneof![1..100_usize, 1..70_000_usize, 1..=MAX_CHUNK].prop_map(Take::Read),
        1 => (1..20_usize).prop_map(Take::Yield),
        1 => (1..40_usize).prop_map(Take::Stall),
    ];
    // Many reads of single bytes take long; the largest one keeps the mean up.
    let takes = vec(take, 0..8).prop_map(|takes| [takes, vec![Take::Read(MAX_CHUNK)]].concat());
    (vec(phase(), 0..6), takes, 0..PERIOD).prop_map(|(phases, takes, start)| Way {
        acts: phases.concat(),
        takes,
        start,
    })
}

pub fn plan() -> impl Strategy<Value = Plan> {
    let later = prop_oneof![2 => Just(Later::Neither), 1 => Just(Later::Out), 1 => Just(Later::Back)];
    let buffer = || prop_oneof![3 => Just(None), 2 => Just(Some(128 * 1024)), 1 => Just(Some(16 * 1024))];
    (way(), way(), later, [buffer(), buffer()], 0..3_usize).prop_map(|(out, back, later, buffers, pipes)| Plan {
        out,
        back,
        later,
        buffers,
        pipes,
    })
}

/// How far a direction has got.
#[derive(Default)]
pub struct Progress {
    pub sent: Cell<u64>,
    pub received: Cell<u64>,
    /// The sender waits, for room or for the receiver.
    pub waits: Cell<bool>,
    /// The sender has ended it.
    pub ended: Cell<bool>,
    /// The receiver has seen the end.
    pub through: Cell<bool>,
    /// Whether the other direction had not been ended yet when this one was through.
    pub first: Cell<bool>,
}

/// Sends what is planned and ends the direction.
pub async fn send(socket: Rc<TcpStream>, way: Way, own: Rc<Progress>) {
    for act in &way.acts {
        match *act {
            Act::Send(count) => {
                let mut rest = pattern(way.start as u64 + own.sent.get(), count);
                while !rest.is_empty() {
                    let gone = taken(socket.try_write(rest)).unwrap();
                    own.sent.set(own.sent.get() + gone as u64);
                    rest = &rest[gone..];
                    if gone == 0 {
                        own.waits.set(true);
                        socket.writable().await.unwrap();
                        own.waits.set(false);
                    }
                }
            }
            Act::Yield(turns) => turns_of_others(turns).await,
            Act::Meet => {
                own.waits.set(true);
                while own.received.get() < own.sent.get() {
                    yield_now().await;
                }
                own.waits.set(false);
            }
        }
    }
    own.waits.set(true);
    own.ended.set(true);
    SockRef::from(&*socket).shutdown(Shutdown::Write).unwrap();
}

async fn turns_of_others(turns: usize) {
    for _ in 0..turns {
        yield_now().await;
    }
}

/// Receives as planned until the end, and compares every byte.
pub async fn receive(socket: Rc<TcpStream>, way: Way, own: Rc<Progress>, other: Rc<Progress>) {
    let mut buffer = vec![0; MAX_CHUNK];
    for take in way.takes.iter().cycle() {
        match *take {
            Take::Yield(turns) => turns_of_others(turns).await,
            Take::Stall(turns) => {
                let mut still = 0;
                while still < turns {
                    yield_now().await;
                    still = if own.waits.get() { still + 1 } else { 0 };
                }
            }
            Take::Read(room) => {
                socket.readable().await.unwrap();
                let count = match socket.try_read(&mut buffer[..room]) {
                    Ok(0) => break,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    count => count.unwrap(),
                };
                let place = own.received.get();
                assert!(buffer[..count] == *pattern(way.start as u64 + place, count), "wrong bytes behind {place}");
                own.received.set(place + count as u64);
            }
        }
    }
    assert!(own.ended.get(), "an end that the sender did not make");
    assert_eq!(own.received.get(), own.sent.get(), "all bytes before the end");
    own.first.set(!other.ended.get());
    own.through.set(true);
}
