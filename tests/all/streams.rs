//! Streams through tunnels whose every byte is known by its place, in writes and reads of many sizes.
//! Not here: how much is moved, and how tunnels end (`tunnels`, and the acceptance tests).

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use super::ends::{Origin, Tunnel, close_of, finish, reset};
use super::harness::{Proxy, Setup};

/// The name that the rule of the tests lists.
pub const NAME: &str = "api.acme.test";

pub const MIB: u64 = 1024 * 1024;

/// A proxy with one rule, for that name at the origin.
pub fn proxy(origin: &Origin, limits: &str) -> Proxy {
    proxy_for(&[origin], limits)
}

/// The same for several origins, which differ in their ports.
pub fn proxy_for(origins: &[&Origin], limits: &str) -> Proxy {
    let ports: Vec<String> = origins.iter().map(|origin| origin.port().to_string()).collect();
    let policy = format!(
        "rules:\n  - {{id: api, customer: acme, sources: [tests], hosts: [{NAME}], ports: [{}], addresses: [127.0.0.1/32]}}\n",
        ports.join(", ")
    );
    let more = format!("dns: {{hosts: {{{NAME}: [127.0.0.1]}}}}\nlimits: {{{limits}}}\n");
    Proxy::start(&Setup { policy: &policy, more: &more, ..Setup::default() })
}

/// Moves so many bytes out and back through a tunnel of its own, both at once; compares each byte, and the counts of the record.
pub fn arrive_whole(proxy: &Proxy, origin: &Origin, (out, back): (u64, u64)) {
    let stream = Stream::new(7);
    let tunnel = Tunnel::open(proxy, NAME, origin);
    exchange(&tunnel, &stream, ((0, out), (0, back)), out ^ back);
    let (hello, server_hello) = (tunnel.hello, tunnel.server_hello);
    let close = close_of_finished(proxy, tunnel);
    assert_eq!(close["bytes_out"], hello + out, "{out} out, {back} back: {close}");
    assert_eq!(close["bytes_in"], server_hello + back, "{out} out, {back} back: {close}");
}

/// A few bytes through each of these, then an end of each kind in turn.
pub fn move_a_little_and_end(mut tunnels: Vec<Tunnel>) {
    let stream = Stream::new(19);
    for (number, tunnel) in (1_u64..).zip(&mut tunnels) {
        stream.send(&mut tunnel.client, (number, number + 64), &mut Numbers(number));
        stream.receive(&mut tunnel.server, (number, number + 64), &mut Numbers(number));
    }
    for (number, tunnel) in tunnels.into_iter().enumerate() {
        match number % 4 {
            0 => {
                finish(tunnel);
            }
            1 => reset(tunnel.client),
            2 => reset(tunnel.server),
            _ => drop(tunnel),
        }
    }
}

/// SplitMix64: the same numbers from the same seed.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Sizes that a relay may treat differently: single bytes, below and above a buffer of 64 KiB, several of them.
    pub fn size(&mut self) -> u64 {
        let most = [2, 100, 5_000, 65_537, 300_000, MIB][usize::try_from(self.below(6)).unwrap()];
        1 + self.below(most)
    }
}

/// A stream whose every byte is known by its place: it repeats after a prime number of bytes, so nothing lost, doubled or swapped
/// in units of buffers looks right.
pub struct Stream(Vec<u8>);

const PERIOD: usize = 1_048_583;

impl Stream {
    pub fn new(seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let once: Vec<u8> = (0..PERIOD.div_ceil(8)).flat_map(|_| numbers.next().to_le_bytes()).take(PERIOD).collect();
        Self([once.as_slice(), once.as_slice()].concat())
    }

    pub fn at(&self, place: u64, count: u64) -> &[u8] {
        let start = usize::try_from(place).unwrap() % PERIOD;
        &self.0[start..start + usize::try_from(count).unwrap()]
    }

    /// Sends the bytes from `from` to `to` in chunks of random sizes.
    pub fn send(&self, socket: &mut TcpStream, (from, to): (u64, u64), numbers: &mut Numbers) {
        let mut place = from;
        while place < to {
            let count = numbers.size().min(to - place);
            socket.write_all(self.at(place, count)).unwrap();
            place += count;
        }
    }

    /// Receives them in reads of random sizes and compares every one.
    pub fn receive(&self, socket: &mut TcpStream, (from, to): (u64, u64), numbers: &mut Numbers) {
        let mut place = from;
        let mut buffer = vec![0; usize::try_from(MIB).unwrap()];
        while place < to {
            let room = usize::try_from(numbers.size().min(to - place)).unwrap();
            let count = socket.read(&mut buffer[..room]).unwrap();
            assert!(count > 0, "ended at {place} of {to}");
            assert!(buffer[..count] == *self.at(place, count as u64), "wrong bytes between {place} and +{count}");
            place += count as u64;
        }
    }
}

/// Moves so many bytes each way, both at once.
pub fn exchange(tunnel: &Tunnel, stream: &Stream, (out, back): ((u64, u64), (u64, u64)), seed: u64) {
    std::thread::scope(|scope| {
        for (from, to, range, salt) in
            [(&tunnel.client, &tunnel.server, out, 1), (&tunnel.server, &tunnel.client, back, 2)]
        {
            let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            scope.spawn(move || stream.send(&mut from, range, &mut Numbers(seed ^ salt)));
            scope.spawn(move || stream.receive(&mut to, range, &mut Numbers(seed ^ salt ^ 4)));
        }
    });
}

/// Ends a tunnel from the client on and gives the record of it.
pub fn close_of_finished(proxy: &Proxy, tunnel: Tunnel) -> Value {
    let address = finish(tunnel);
    close_of(proxy, address)
}
