//! Open tunnels: bytes arrive whole in every size and direction, every end has its reason and exact counts.
//! Not here: what has to pass before bytes are free (`hellos`, `server_side`).

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::ends::{Origin, Tunnel, await_metric, close_of, finish, metric, read_all, read_exactly, reset};
use super::harness::{PATIENCE, eventually, records};
use super::streams::{self, MIB, NAME, Numbers, Stream, close_of_finished, exchange, proxy};

#[path = "../accept/mixed.rs"]
mod mixed;

#[test]
fn a_hundred_mebibytes_arrive_whole_down_up_and_both_ways() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "");
    for (out, back) in [(0, 100 * MIB), (100 * MIB + 1, 0), (30 * MIB + 3, 30 * MIB + 5)] {
        streams::arrive_whole(&proxy, &origin, (out, back));
    }
}

/// Small messages and bulk in turn, so that a direction changes between copying and splicing many times.
#[test]
fn any_order_of_small_and_large_messages_arrives_whole() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "");
    let stream = Stream::new(11);
    let end = Instant::now() + Duration::from_secs(4);
    for seed in 0..8 {
        let mut numbers = Numbers(seed);
        let tunnel = Tunnel::open(&proxy, NAME, &origin);
        let (mut out, mut back) = (0, 0);
        for _ in 0..40 {
            let piece = |numbers: &mut Numbers| match numbers.below(3) {
                0 => 0,
                1 => numbers.size(),
                _ => numbers.below(3 * MIB),
            };
            let (more_out, more_back) = (piece(&mut numbers), piece(&mut numbers));
            exchange(&tunnel, &stream, ((out, out + more_out), (back, back + more_back)), seed);
            (out, back) = (out + more_out, back + more_back);
            if Instant::now() > end {
                break;
            }
        }
        let (hello, server_hello) = (tunnel.hello, tunnel.server_hello);
        let close = close_of_finished(&proxy, tunnel);
        assert_eq!(close["bytes_out"], hello + out, "seed {seed}: {close}");
        assert_eq!(close["bytes_in"], server_hello + back, "seed {seed}: {close}");
    }
}

#[test]
fn one_direction_may_end_before_the_other() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "");
    let stream = Stream::new(13);
    for (name, client_first, reason) in [("client", true, "client_closed"), ("server", false, "server_closed")] {
        let mut tunnel = Tunnel::open(&proxy, NAME, &origin);
        let (first, second) = match client_first {
            true => (&mut tunnel.client, &mut tunnel.server),
            false => (&mut tunnel.server, &mut tunnel.client),
        };
        first.write_all(b"last words").unwrap();
        first.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(second), b"last words", "{name}");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                stream.send(second, (0, 3 * MIB), &mut Numbers(1));
                second.shutdown(Shutdown::Write).unwrap();
            });
            stream.receive(first, (0, 3 * MIB), &mut Numbers(2));
            assert_eq!(read_all(first), b"", "{name}");
        });
        tunnel.assert_closed(&proxy, reason, if client_first { (10, 3 * MIB) } else { (3 * MIB, 10) });
    }
}

#[test]
fn a_reset_ends_both_sides() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "");
    for (name, client_resets) in [("client", true), ("server", false)] {
        let Tunnel { mut client, mut server, hello, server_hello, address } = Tunnel::open(&proxy, NAME, &origin);
        client.write_all(b"out").unwrap();
        assert_eq!(read_exactly(&mut server, 3), b"out", "{name}");
        let (who, mut other) = if client_resets { (client, server) } else { (server, client) };
        reset(who);
        assert_eq!(read_all(&mut other), b"", "{name}");
        let close = close_of(&proxy, address);
        assert_eq!(close["reason"], "reset", "{name}: {close}");
        assert_eq!((&close["bytes_out"], &close["bytes_in"]), (&(hello + 3).into(), &server_hello.into()), "{name}");
    }
}

#[test]
fn a_reset_in_the_middle_of_bulk_ends_both_sides() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "");
    let stream = Stream::new(17);
    for (name, client_resets) in [("client", true), ("server", false)] {
        let Tunnel { client, server, address, .. } = Tunnel::open(&proxy, NAME, &origin);
        let (mut who, mut other) = if client_resets { (client, server) } else { (server, client) };
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| {
                let end = (0..512).find_map(|turn| other.write_all(stream.at(turn * MIB, MIB)).err());
                end.map(|error| error.kind())
            });
            stream.receive(&mut who, (0, 8 * MIB), &mut Numbers(3));
            reset(who);
            let end = sending.join().unwrap();
            assert!(matches!(end, Some(ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)), "{name}: {end:?}");
        });
        let close = close_of(&proxy, address);
        assert_eq!(close["reason"], "reset", "{name}: {close}");
        let moved = &close[if client_resets { "bytes_in" } else { "bytes_out" }];
        assert!(moved.as_u64().unwrap() >= 8 * MIB, "{name}: {close}");
    }
    await_metric(&proxy, "sallyport_tunnels{customer=\"acme\"}", 0.0);
}

/// While a receiver takes nothing the proxy reads nothing: it sees the sender's reset with the next sweep.
#[test]
fn a_reset_is_seen_while_the_other_side_takes_nothing() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "");
    let stream = Stream::new(29);
    for (name, client_sends) in [("client", true), ("server", false)] {
        let Tunnel { client, server, hello, server_hello, address } = Tunnel::open(&proxy, NAME, &origin);
        let (mut sender, mut receiver) = if client_sends { (client, server) } else { (server, client) };
        let sent = fill(&mut sender, &stream);
        reset(sender);
        let close = close_of(&proxy, address);
        assert_eq!(close["reason"], "reset", "{name}: {close}");
        let (moved, before) = if client_sends { ("bytes_out", hello) } else { ("bytes_in", server_hello) };
        let moved = close[moved].as_u64().unwrap() - before;
        let came = until_reset(&mut receiver, &stream);
        assert!(0 < came && came <= moved && moved < sent, "{name}: {came} of {moved} of {sent}");
    }
}

/// Writes until the other side has taken nothing for a while, and says how much went.
fn fill(sender: &mut TcpStream, stream: &Stream) -> u64 {
    sender.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut sent = 0;
    loop {
        match sender.write(stream.at(sent, MIB)) {
            Ok(count) => sent += count as u64,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return sent,
            Err(error) => panic!("behind {sent}: {error}"),
        }
    }
}

/// Compares all that comes before a reset. A stream that was cut short must not end as if it were whole.
fn until_reset(receiver: &mut TcpStream, stream: &Stream) -> u64 {
    let (mut place, mut buffer) = (0, vec![0; 65_536]);
    loop {
        match receiver.read(&mut buffer) {
            Ok(0) => panic!("an end behind {place}"),
            Ok(count) => {
                assert!(buffer[..count] == *stream.at(place, count as u64), "wrong bytes behind {place}");
                place += count as u64;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "behind {place}");
                return place;
            }
        }
    }
}

#[test]
fn idle_and_overlong_tunnels_are_closed() {
    let origin = Origin::new();
    for (limits, reason) in [("idle_timeout: 300ms", "idle_timeout"), ("lifetime: 500ms", "lifetime_exceeded")] {
        let proxy = proxy(&origin, limits);
        let begin = Instant::now();
        let mut tunnel = Tunnel::open(&proxy, NAME, &origin);
        assert_eq!(read_all(&mut tunnel.client), b"", "{reason}");
        assert_eq!(read_all(&mut tunnel.server), b"", "{reason}");
        assert!(begin.elapsed() >= Duration::from_millis(300), "{reason}: too early");
        assert!(begin.elapsed() < Duration::from_secs(6), "{reason}: {:?}", begin.elapsed());
        tunnel.assert_closed(&proxy, reason, (0, 0));
    }
}

#[test]
fn a_tunnel_that_moves_bytes_is_not_idle_but_grows_old() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "idle_timeout: 1200ms, lifetime: 4s");
    let begin = Instant::now();
    let mut tunnel = Tunnel::open(&proxy, NAME, &origin);
    tunnel.client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut sent = 0;
    // A byte every 200 ms, until the proxy ends it. The reading takes the place of a pause.
    while tunnel.client.read(&mut [0]).is_err() {
        assert!(begin.elapsed() < PATIENCE, "it never ends");
        sent += u64::from(tunnel.client.write_all(b"x").is_ok());
    }
    assert!(begin.elapsed() >= Duration::from_millis(3_900), "cut after {:?}", begin.elapsed());
    let close = tunnel.close_record(&proxy);
    assert_eq!(close["reason"], "lifetime_exceeded", "{close}");
    assert!(close["bytes_out"].as_u64().unwrap() + 2 >= tunnel.hello + sent, "{close}");
}

/// G2, G3: neither sockets nor pipes stay behind, however a tunnel ended. The proxy counts its own descriptors: as it cannot be
/// dumped, only root may list them from outside.
#[test]
fn five_hundred_tunnels_leave_no_descriptor_behind() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    let origin = Origin::new();
    let proxy = proxy(&origin, "");
    finish(Tunnel::open(&proxy, NAME, &origin));
    await_metric(&proxy, "sallyport_connections", 0.0);
    let before = metric(&proxy, "process_open_fds").unwrap();
    let tunnels: Vec<Tunnel> = (0..500).map(|_| Tunnel::open(&proxy, NAME, &origin)).collect();
    await_metric(&proxy, "sallyport_tunnels{customer=\"acme\"}", 500.0);
    await_metric(&proxy, "process_open_fds", before + 1_000.0);
    streams::move_a_little_and_end(tunnels);
    await_metric(&proxy, "sallyport_connections", 0.0);
    await_metric(&proxy, "process_open_fds", before);
    let (dir, code) = proxy.stop();
    assert_eq!(code, Some(0));
    let written = records(&dir.path().join("decisions"));
    let closes = written.iter().filter(|record| record["kind"] == "close");
    let counts: Vec<bool> = closes.map(|record| record["bytes_out"].as_u64() > Some(64)).collect();
    assert_eq!((counts.len(), counts.iter().all(|counted| *counted)), (501, true), "a close record each");
}

#[test]
fn pipes_are_bounded_and_given_back() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "");
    let stream = Stream::new(23);
    let before = metric(&proxy, "process_open_fds").unwrap();
    for round in 0..3 {
        let tunnels: Vec<Tunnel> = (0..8).map(|_| Tunnel::open(&proxy, NAME, &origin)).collect();
        std::thread::scope(|scope| {
            for tunnel in &tunnels {
                scope.spawn(|| exchange(tunnel, &stream, ((0, 2 * MIB), (0, 2 * MIB)), round));
            }
        });
        for tunnel in tunnels {
            finish(tunnel);
        }
        await_metric(&proxy, "sallyport_connections", 0.0);
        let end = Instant::now() + PATIENCE;
        // Two descriptors a pipe, one pipe a direction that has moved bulk at one moment, kept for the next one.
        eventually("no more pipes than directions", end, || {
            metric(&proxy, "process_open_fds").filter(|open| *open <= before + 2.0 * 16.0)
        });
    }
}

/// G2, G3: what `make accept` does for ten minutes.
#[test]
fn twenty_seconds_of_mixed_load_leave_nothing_behind() {
    mixed::leaves_nothing_behind(Duration::from_secs(20));
}
