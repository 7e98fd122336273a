//! A proxy without its threads: settings, policy and log from files as in production, one worker, and sockets on loopback.
//! Not here: what is done with it (`walk`, `session`).

use std::fs;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use sallyport::policy::OwnAddresses;
use sallyport::runtime::egress::Pools;
use sallyport::runtime::entrance::Entrance;
use sallyport::runtime::journal::Journal;
use sallyport::runtime::load::{self, Loaded};
use sallyport::runtime::metrics::Metrics;
use sallyport::runtime::shared::Shared;
use sallyport::runtime::worker::Worker;
use sallyport::runtime::{events, sys};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

use crate::client_hello::client_hello;
use crate::policy::policy;

/// The names that the policy has.
const NAMES: usize = 1000;

/// The name that is asked for: one of them.
const NAME: &str = "h7.c5.customer.example";

/// What the proxy is set up with, and what its client sends.
pub struct Setting {
    /// The one worker.
    pub worker: Rc<Worker>,
    /// The listener.
    pub entrance: Arc<Entrance>,
    /// The request's head, as curl writes it.
    pub head: Vec<u8>,
    /// The client's first flight.
    pub hello: Vec<u8>,
    edge: TcpListener,
    /// The customer's server.
    pub origin: TcpListener,
    _dir: TempDir,
}

/// A connection that has been accepted.
pub struct Connected {
    /// The client's end.
    pub client: TcpStream,
    /// The proxy's end.
    pub accepted: TcpStream,
    /// Where it came from.
    pub peer: SocketAddr,
}

impl Setting {
    /// Sets all of it up in a new folder.
    pub async fn new() -> Self {
        let dir = TempDir::new().expect("a folder");
        let edge = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let origin = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let port = origin.local_addr().expect("an address").port();
        let terms = format!(", ports: [{port}], addresses: [127.0.0.1/32]");
        let config = dir.path().join("sallyport.yaml");
        fs::write(dir.path().join("policy.yaml"), policy(NAMES, "127.0.0.1/32", &terms)).expect("a policy");
        fs::write(&config, CONFIG.replace("NAME", NAME)).expect("a configuration");
        let loaded = load::load(&config, &|_| None).expect("a configuration without faults");
        let entrance = loaded.entrances.iter().next().map(Arc::clone).expect("a listener");
        let heard = edge.local_addr().expect("an address");
        let worker = Worker::new(shared(loaded, heard)).expect("a worker");
        let head = format!(
            "CONNECT {NAME}:{port} HTTP/1.1\r\nHost: {NAME}:{port}\r\nUser-Agent: curl/8.5.0\r\nProxy-Connection: Keep-Alive\r\n\r\n"
        );
        Self {
            worker: Rc::new(worker),
            entrance,
            head: head.into_bytes(),
            hello: client_hello(NAME),
            edge,
            origin,
            _dir: dir,
        }
    }

    /// A client connects.
    pub async fn connect(&self) -> Connected {
        let address = self.edge.local_addr().expect("an address");
        let client = TcpStream::connect(address).await.expect("a connection");
        let (accepted, peer) = self.edge.accept().await.expect("a connection");
        Connected { client, accepted, peer }
    }

    /// Closes the log, before its folder goes.
    pub fn close(self) {
        assert!(!self.worker.shared().journal().shutdown().any(), "every record is written");
    }
}

/// As in production but for `hosts`, so that no name server is asked, and for the interval: a commit under a profiler takes long, and
/// is not to make decisions wait.
const CONFIG: &str = "instance: edge-1
environment: production
listeners: [{name: edge, address: \"127.0.0.1:0\", mode: connect}]
policy: policy.yaml
dns: {servers: [\"udp://127.0.0.1\"], hosts: {NAME: [127.0.0.1]}}
decision_log: {directory: decisions, key: log.key, durability: async, commit_interval: 1s}
admin: {address: \"127.0.0.1:0\"}
";

fn shared(loaded: Loaded, heard: SocketAddr) -> Arc<Shared> {
    let Loaded { config, policy, connections, .. } = loaded;
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let (journal, opening) = Journal::open(events::journal_setup(&config, &metrics)).expect("a log");
    let own = OwnAddresses::new(sys::interface_addresses().expect("addresses"), [heard]);
    let shared = Arc::new(Shared::new(&config, policy, (journal, metrics), (Pools::default(), own), connections));
    events::started(&shared, &opening, false);
    shared
}
