//! Mixed load for minutes: short tunnels, refusals, bulk both ways, tunnels that idle, are reset or never begin, all at once.
//! Memory stays flat, no descriptor stays open, and the log has every tunnel once. Not here: how fast it is.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::ends::{Origin, Tunnel, await_metric, established, finish, metric, read_all, refusal, reset};
use crate::harness::{PATIENCE, Proxy, eventually, lines};
use crate::streams::{self, MIB, NAME, Numbers, Stream, exchange};

/// Parties at once, each with an origin of its own.
const PARTIES: usize = 7;

/// Directions that may move bulk at one moment: two tunnels both ways, and one that is reset.
const BULK: usize = 5;

/// Tunnels that are open and idle at one moment, and connections that say nothing.
const IDLE: usize = 100;
const SILENT: usize = 20;

/// The first tenth of the load warms up: what is made once and kept is made in it. At least so long, until all idle tunnels are open.
const WARM_UP: Duration = Duration::from_secs(6);

/// By how many bytes memory may be above its peak in that part. The allocator has play, 1 MiB for what it keeps of bursts; each
/// direction of bulk may hold a rest of 64 KiB, all of them just when one looks; and sealing the first segment takes 2 MiB, which the
/// allocator keeps for the next one. A leak of 50 bytes a tunnel shows in ten minutes.
const GROWTH: u64 = 3 * 1024 * 1024 + BULK as u64 * 65_536;

/// The load and what its parties have done.
struct Load<'a> {
    proxy: &'a Proxy,
    stream: Stream,
    end: Instant,
    opened: AtomicU64,
    refused: AtomicU64,
    /// Of tunnels that ended well: the client's port, bytes out, bytes in.
    whole: Mutex<Vec<Whole>>,
}

type Whole = (u64, u64, u64);

impl Load<'_> {
    /// Turns of one party, so long apart, until the end.
    fn turns(&self, apart: Duration, mut turn: impl FnMut(u64)) {
        let mut next = Instant::now();
        for number in 0.. {
            while let Some(early) = next.checked_duration_since(Instant::now()).filter(|early| !early.is_zero()) {
                std::thread::park_timeout(early);
            }
            if Instant::now() >= self.end {
                return;
            }
            turn(number);
            next = (next + apart).max(Instant::now());
        }
    }

    fn open(&self, origin: &Origin) -> Tunnel {
        let tunnel = Tunnel::open(self.proxy, NAME, origin);
        self.opened.fetch_add(1, Ordering::Relaxed);
        tunnel
    }

    /// Ends a tunnel through which so much went.
    fn finish(&self, tunnel: Tunnel, (out, back): (u64, u64)) {
        let (out, back) = (tunnel.hello + out, tunnel.server_hello + back);
        let address = finish(tunnel);
        self.whole.lock().unwrap().push((address.port().into(), out, back));
    }

    /// Ends of all kinds in turn.
    fn end(&self, number: u64, tunnel: Tunnel, moved: (u64, u64)) {
        match number % 4 {
            0 => self.finish(tunnel, moved),
            1 => reset(tunnel.client),
            2 => reset(tunnel.server),
            _ => drop(tunnel),
        }
    }

    fn short(&self, origin: &Origin) {
        self.turns(Duration::from_millis(20), |number| {
            let tunnel = self.open(origin);
            let moved = (1 + number % 3_000, 1 + number % 7_000);
            exchange(&tunnel, &self.stream, ((0, moved.0), (0, moved.1)), number);
            self.end(number, tunnel, moved);
        });
    }

    fn refused(&self, origin: &Origin) {
        let target = format!("{NAME}:{}", origin.port());
        self.turns(Duration::from_millis(20), |number| {
            match number % 3 {
                0 => assert_eq!(refusal(self.proxy, "evil.example:443").1, "destination_not_listed"),
                1 => assert!(self.proxy.ask(b"no head at all\r\n\r\n").1.starts_with("HTTP/1.1 400 ")),
                _ => {
                    let mut client = established(self.proxy, &target);
                    client.write_all(b"not tls at all").unwrap();
                    read_all(&mut client);
                    assert_eq!(read_all(&mut origin.accept()), b"");
                }
            }
            self.refused.fetch_add(1, Ordering::Relaxed);
        });
    }

    fn bulk(&self, origin: &Origin) {
        let mut numbers = Numbers(u64::from(origin.port()));
        self.turns(Duration::from_millis(100), |number| {
            let tunnel = self.open(origin);
            let moved = (numbers.below(16 * MIB), numbers.below(16 * MIB));
            exchange(&tunnel, &self.stream, ((0, moved.0), (0, moved.1)), number);
            self.finish(tunnel, moved);
        });
    }

    /// Bulk that one side resets while the other sends.
    fn reset_in_bulk(&self, origin: &Origin) {
        self.turns(Duration::from_millis(250), |number| {
            let Tunnel { client, server, .. } = self.open(origin);
            let (mut who, mut other) = if number % 2 == 0 { (client, server) } else { (server, client) };
            std::thread::scope(|scope| {
                scope.spawn(|| while other.write_all(self.stream.at(0, MIB)).is_ok() {});
                who.read_exact(&mut vec![0; 3 * 1024 * 1024]).unwrap();
                reset(who);
            });
        });
    }

    /// The oldest goes when a new one comes.
    fn idle(&self, origin: &Origin) {
        let mut open = VecDeque::new();
        self.turns(Duration::from_millis(40), |number| {
            open.push_back(self.open(origin));
            if open.len() > IDLE {
                self.end(number, open.pop_front().unwrap(), (0, 0));
            }
        });
        open.into_iter().for_each(|tunnel| self.finish(tunnel, (0, 0)));
    }

    /// Nothing is said, or half a head.
    fn silent(&self) {
        let mut open = VecDeque::new();
        self.turns(Duration::from_millis(50), |number| {
            let mut socket = self.proxy.connect();
            if number % 4 == 0 {
                socket.write_all(b"CONNECT api.").unwrap();
            }
            open.push_back(socket);
            if open.len() > SILENT {
                open.pop_front();
            }
        });
    }
}

/// What the process holds at one moment.
struct Sample {
    after: Duration,
    memory: u64,
}

/// Takes samples until the end and prints a row of each.
fn watch(load: &Load, length: Duration) -> Vec<Sample> {
    let begin = load.end - length;
    let apart = (length / 60).max(Duration::from_secs(1));
    let mut samples = Vec::new();
    println!("  minute  memory KiB  descriptors  open tunnels  tunnels so far  refusals so far");
    load.turns(apart, |_| {
        let (after, memory) = (begin.elapsed(), memory(load.proxy));
        let shown = |row| metric(load.proxy, row).unwrap_or(0.0);
        println!(
            "{:8.2}{:12}{:13}{:14}{:16}{:17}",
            after.as_secs_f64() / 60.0,
            memory / 1024,
            shown("process_open_fds"),
            shown("sallyport_tunnels{customer=\"acme\"}"),
            load.opened.load(Ordering::Relaxed),
            load.refused.load(Ordering::Relaxed),
        );
        samples.push(Sample { after, memory });
    });
    samples
}

/// Pages of its own that it has written. Only who may trace it can read that; for others its resident memory stands in, which has
/// pages of the program's file as well.
fn memory(proxy: &Proxy) -> u64 {
    let Ok(text) = fs::read_to_string(format!("/proc/{}/smaps_rollup", proxy.pid())) else {
        return metric(proxy, "process_resident_memory_bytes").unwrap() as u64;
    };
    let kib = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:")?.trim().strip_suffix(" kB"));
    kib.unwrap().parse::<u64>().unwrap() * 1024
}

/// Runs the load for so long, and checks what it leaves.
pub fn leaves_nothing_behind(length: Duration) {
    let origins: Vec<Origin> = (0..PARTIES).map(|_| Origin::new()).collect();
    let proxy = streams::proxy_for(&origins.iter().collect::<Vec<_>>(), "");
    let before = metric(&proxy, "process_open_fds").unwrap();
    let load = Load {
        proxy: &proxy,
        stream: Stream::new(43),
        end: Instant::now() + length,
        opened: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        whole: Mutex::default(),
    };
    let samples = std::thread::scope(|scope| {
        scope.spawn(|| load.short(&origins[0]));
        scope.spawn(|| load.short(&origins[1]));
        scope.spawn(|| load.refused(&origins[2]));
        scope.spawn(|| load.bulk(&origins[3]));
        scope.spawn(|| load.bulk(&origins[4]));
        scope.spawn(|| load.reset_in_bulk(&origins[5]));
        scope.spawn(|| load.idle(&origins[6]));
        scope.spawn(|| load.silent());
        watch(&load, length)
    });
    let (opened, whole) = (load.opened.into_inner(), load.whole.into_inner().unwrap());
    assert_flat(&samples, length);
    await_metric(&proxy, "sallyport_connections", 0.0);
    await_metric(&proxy, "sallyport_tunnels{customer=\"acme\"}", 0.0);
    let kept = 2.0 * (BULK * std::thread::available_parallelism().unwrap().get()) as f64;
    eventually("no descriptor stays but of kept pipes", Instant::now() + PATIENCE, || {
        let stayed = metric(&proxy, "process_open_fds")? - before;
        (0.0..=kept).contains(&stayed).then(|| println!("  {stayed} descriptors of pipes are kept"))
    });
    let (dir, code) = proxy.stop();
    assert_eq!(code, Some(0));
    verify(&dir.path().join("decisions"), opened, whole);
}

/// Fails if memory is ever more than it was at most while the load began, and its play.
fn assert_flat(samples: &[Sample], length: Duration) {
    let warm = WARM_UP.max(length / 10);
    let peak =
        |late: bool| samples.iter().filter(|sample| (sample.after > warm) == late).map(|sample| sample.memory).max();
    let (first, later) = (peak(false).unwrap(), peak(true).unwrap());
    println!("  at most {} KiB in the first {warm:?}, {} KiB later", first / 1024, later / 1024);
    assert!(later <= first + GROWTH, "memory grew from {first} to {later} bytes");
}

/// Reads the log line by line: numbers without a gap, each allowed decision closed once, and the counts of what ended well.
fn verify(directory: &Path, opened: u64, mut whole: Vec<Whole>) {
    let mut open: HashMap<String, u64> = HashMap::new();
    let (mut next, mut allowed, mut closed) = (0, 0, Vec::new());
    for line in lines(directory) {
        let record: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(record["seq"], next, "numbers in sequence: {record}");
        next += 1;
        let number = |field: &str| record[field].as_u64().unwrap();
        let id = record["id"].as_str().unwrap();
        match (record["kind"].as_str().unwrap(), record["outcome"].as_str()) {
            ("decision", Some("allow")) => {
                allowed += 1;
                assert_eq!(open.insert(id.to_owned(), number("client_port")), None, "an id twice: {record}");
            }
            ("close", Some("allow")) => {
                assert_eq!(open.remove(id), Some(number("client_port")), "an end without its decision: {record}");
                closed.push((number("client_port"), number("bytes_out"), number("bytes_in")));
            }
            ("decision", _) | ("start" | "stop" | "heartbeat", _) => {}
            _ => panic!("{record}"),
        }
    }
    assert!(open.is_empty(), "without an end: {open:?}");
    assert_eq!(allowed, opened, "a decision for each tunnel");
    closed.sort_unstable();
    whole.sort_unstable();
    let mut closes = closed.iter();
    let missing = whole.iter().find(|tunnel| !closes.any(|close| close == *tunnel));
    assert_eq!(missing, None, "a tunnel that ended well, and no close record has its counts");
    println!("  {next} records, {allowed} tunnels, {} of them with exact counts", whole.len());
}
