//! Workers on their threads, with one listening socket for all of them: who serves what, and what becomes of it when one stops.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::iter;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::{Domain, SockRef, Socket, Type};
use tempfile::TempDir;

use super::*;
use crate::policy::OwnAddresses;
use crate::runtime::balance::between;
use crate::runtime::egress::Pools;
use crate::runtime::journal::Journal;
use crate::runtime::listeners::{Inherited, Listening, Sockets};
use crate::runtime::load::{self, Loaded};
use crate::runtime::metrics::Metrics;
use crate::runtime::{events, sys};

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(20);

const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

const CONFIG: &str = "instance: edge-1
environment: production
listeners: [{name: edge, address: \"127.0.0.1:0\", mode: connect}]
policy: policy.yaml
limits: {connections_per_source: 1000, head_timeout: 60s}
decision_log: {directory: decisions, key: log.key, durability: async}
admin: {address: \"127.0.0.1:0\"}
";

const POLICY: &str = "version: 1
sources: [{name: tests, subnets: [127.0.0.1/32]}]
rules:
  - {id: api, customer: acme, sources: [tests], hosts: [api.acme.test], ports: [443]}
";

/// What workers share, with the listener's sockets that so many workers would get, each with its worker.
struct Scene {
    shared: Arc<Shared>,
    sockets: Sockets,
    dir: TempDir,
}

/// A worker on its thread.
struct Running {
    phase: watch::Sender<Phase>,
    thread: JoinHandle<Result<(), WorkerError>>,
    news: mpsc::UnboundedReceiver<News>,
}

impl Scene {
    fn new(sockets: usize) -> Self {
        sys::raise_descriptor_limit();
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("sallyport.yaml");
        fs::write(&path, CONFIG).unwrap();
        fs::write(dir.path().join("policy.yaml"), POLICY).unwrap();
        let Loaded { config, policy, entrances, connections, .. } = load::load(&path, &|_| None).unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        let (journal, opening) = Journal::open(events::journal_setup(&config, &metrics)).unwrap();
        let sockets = Sockets::bind(&config, &entrances, sockets, &mut Inherited::default()).unwrap();
        let own = OwnAddresses::new([], sockets.addresses());
        let shared = Shared::new(&config, policy, (journal, metrics), (Pools::default(), own), connections);
        events::started(&shared, &opening, false);
        Self { shared: Arc::new(shared), sockets, dir }
    }

    fn address(&self) -> SocketAddr {
        self.sockets.listeners[0].1.tcp().unwrap()
    }

    /// Starts a worker. `ears` may be empty: then it serves what is handed to it.
    fn start(&self, ears: Vec<Ear>, (balance, inbox): (Balance, Inbox), stage: Stage) -> Running {
        let (phase, told) = watch::channel(Phase::default());
        phase.send_modify(|phase| phase.stage = stage);
        let (starter, news) = mpsc::unbounded_channel();
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::spawn(move || run(shared, Post { ears, balance, inbox }, told, starter));
        Running { phase, thread, news }
    }

    /// A client that has sent the beginning of a request, from `own` address; port 0: any.
    fn client(&self, own: SocketAddr) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.bind(&own.into())?;
        socket.connect(&self.address().into())?;
        let mut client = TcpStream::from(socket);
        client.write_all(b"CONNECT api.beta.test:443 HTTP/1.1\r\n")?;
        Ok(client)
    }

    fn clients(&self, count: usize) -> Vec<TcpStream> {
        (0..count).map(|_| self.client(ANY).unwrap()).collect()
    }

    /// Clients that all come to the first of two sockets: the kernel's choice follows from the addresses, so it is tried out before.
    fn clients_of_the_first(&self, count: usize) -> Vec<TcpStream> {
        let mut addresses = Vec::new();
        while addresses.len() < count {
            let client = self.client(ANY).unwrap();
            let heard = |ears: &Vec<Ear>| tcp(&ears[0]).accept().is_ok();
            let first = iter::repeat_with(|| self.sockets.ears.iter().position(heard)).flatten().next().unwrap();
            addresses.extend((first == 0).then(|| client.local_addr().unwrap()));
            // A reset, so that the address is free at once.
            SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        }
        // Somebody else may have taken one.
        addresses.into_iter().filter_map(|own| self.client(own).ok()).collect()
    }

    /// All decisions in the log, which is closed: the port and the reason of each client.
    fn decisions(self) -> Vec<(u64, String)> {
        let Self { shared, dir, .. } = self;
        assert!(!shared.journal().shutdown().any());
        let text = fs::read_to_string(dir.path().join("decisions/segments/000000000000.jsonl")).unwrap();
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let decisions = records.filter(|record| record["kind"] == "decision");
        let facts =
            |record: Value| (record["client_port"].as_u64().unwrap(), record["reason"].as_str().unwrap().to_owned());
        decisions.map(facts).collect()
    }
}

impl Running {
    /// Stops it; what it answers is read meanwhile, and those clients leave `clients`.
    fn stop(mut self, clients: &mut Vec<TcpStream>) -> Vec<(SocketAddr, String)> {
        self.phase.send_modify(|phase| phase.stage = Stage::Stopping);
        let mut answers = Vec::new();
        eventually("the end of a worker", || {
            answers.extend(answered(clients));
            self.thread.is_finished()
        });
        answers.extend(answered(clients));
        self.thread.join().unwrap().unwrap();
        let told = [self.news.blocking_recv(), self.news.blocking_recv(), self.news.blocking_recv()];
        assert_eq!(told, [Some(News::Serving), Some(News::Ended), None]);
        answers
    }
}

fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what}: not in time");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Takes those out of `clients` that have been answered, and their answers.
fn answered(clients: &mut Vec<TcpStream>) -> Vec<(SocketAddr, String)> {
    let mut answers = Vec::new();
    clients.retain_mut(|client| {
        client.set_nonblocking(true).unwrap();
        let waits = client.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        client.set_nonblocking(false).unwrap();
        if !waits {
            let mut answer = String::new();
            // The end may be a reset: what was sent after the answer is not read.
            let _ = client.read_to_string(&mut answer);
            answers.push((client.local_addr().unwrap(), answer));
        }
        waits
    });
    answers
}

/// So many workers serve these clients, which all come to the first one's socket. Then they stop, one after the other.
fn share(mut scene: Scene, workers: usize, mut clients: Vec<TcpStream>) {
    let crew = between(workers);
    let loads: Vec<_> = crew.iter().map(|(balance, _)| balance.watch()).collect();
    let ears = std::mem::take(&mut scene.sockets.ears).into_iter().chain(iter::repeat_with(Vec::new));
    let workers: Vec<Running> =
        crew.into_iter().zip(ears).map(|(seat, ears)| scene.start(ears, seat, Stage::Serving)).collect();
    let count = clients.len();
    eventually("all connections", || loads.iter().map(|load| load()).sum::<usize>() == count);
    let shares: Vec<usize> = loads.iter().map(|load| load()).collect();
    let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
    assert!(*least > 64 && most - least <= least / 8 + 1, "{shares:?}");
    assert_eq!(scene.shared.gate().served(), count);
    let reason = |client: &TcpStream, reason: &str| (client.local_addr().unwrap().port().into(), reason.to_owned());
    // The first of them are with all workers; they end their requests and get their answers.
    let mut expected = Vec::new();
    for mut client in clients.drain(..100) {
        client.write_all(b"Host: api.beta.test:443\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        expected.push(reason(&client, "destination_not_listed"));
    }
    expected.extend(clients.iter().map(|client| reason(client, "draining")));
    eventually("the ends of those", || loads.iter().map(|load| load()).sum::<usize>() == clients.len());
    let shares: Vec<usize> = loads.iter().map(|load| load()).collect();
    scene.shared.drain();
    // What each worker really serves shows when it stops: its clients get their answers, the others none.
    for (worker, share) in workers.into_iter().zip(shares) {
        let answers = worker.stop(&mut clients);
        assert_eq!(answers.len(), share);
        for (client, answer) in answers {
            assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("draining"), "{client}: {answer}");
        }
    }
    assert_eq!((clients.len(), scene.shared.gate().connections()), (0, 0));
    assert_eq!(sorted(scene.decisions()), sorted(expected));
}

#[test]
fn one_socket_for_all_gives_each_worker_its_share_and_loses_nothing_when_they_stop() {
    let scene = Scene::new(1);
    let clients = scene.clients(400);
    share(scene, 3, clients);
}

#[test]
fn where_the_kernel_gives_all_to_one_of_two_sockets_both_workers_have_their_share() {
    let scene = Scene::new(2);
    let clients = scene.clients_of_the_first(200);
    assert!(clients.len() > 150, "only {} addresses were free again", clients.len());
    share(scene, 2, clients);
}

#[test]
fn what_waits_for_a_worker_that_stops_is_answered_and_recorded() {
    let mut scene = Scene::new(1);
    let mut crew = between(2);
    let idle = crew.pop().unwrap();
    let (busy, _) = crew.pop().unwrap();
    let load = idle.0.watch();
    let ear = scene.sockets.ears.remove(0).remove(0);
    let mut clients = scene.clients(200);
    let mut kept = Vec::new();
    for _ in 0..clients.len() {
        let (socket, peer) = accept(tcp(&ear));
        let connection = scene.shared.gate().enter(Some("tests")).unwrap();
        kept.extend(busy.seat(Arrival {
            socket: Fresh::Tcp(socket, peer),
            entrance: Arc::clone(&ear.entrance),
            connection,
        }));
    }
    let handed = load();
    assert!(handed > 60, "only {handed} were handed over");
    scene.shared.drain();
    // It is told to stop before it has taken any.
    let answers = scene.start(Vec::new(), idle, Stage::Stopping).stop(&mut clients);
    assert_eq!(load(), 0);
    assert!(answers.iter().all(|(_, answer)| answer.starts_with("HTTP/1.1 503 ")), "{answers:?}");
    assert_eq!((answers.len(), clients.len()), (handed, kept.len()));
    let decisions = scene.decisions();
    assert_eq!(decisions.len(), handed);
    assert!(decisions.iter().all(|(_, reason)| reason == "draining"), "{decisions:?}");
}

fn tcp(ear: &Ear) -> &std::net::TcpListener {
    match &ear.socket {
        Listening::Tcp(listener) => listener,
        Listening::Unix(_) => panic!("a Unix socket"),
    }
}

fn accept(listener: &std::net::TcpListener) -> (TcpStream, SocketAddr) {
    let end = Instant::now() + PATIENCE;
    loop {
        match listener.accept() {
            Ok((socket, peer)) => {
                socket.set_nonblocking(true).unwrap();
                return (socket, peer);
            }
            Err(error) => assert!(error.kind() == ErrorKind::WouldBlock && Instant::now() < end, "{error}"),
        }
    }
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list
}
