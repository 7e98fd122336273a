//! The far end of a tunnel, played by the test itself: it sees every byte that leaves the proxy, and answers what it is told.
//! Not here: TLS libraries (real clients and servers are tried elsewhere).

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::SockRef;

use super::harness::{PATIENCE, Proxy, eventually};
use super::wire::{Hello, server_hello};

/// What a client gets before its hello is read.
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// A listening server.
pub struct Origin {
    listener: TcpListener,
}

impl Origin {
    /// On a free port of `127.0.0.1`.
    pub fn new() -> Self {
        Self::on(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0))
    }

    pub fn on(address: SocketAddr) -> Self {
        Self::try_on(address).unwrap()
    }

    /// A port that is free at one address may be taken at another.
    pub fn try_on(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        // On Linux it bounds accept(2) as well (socket(7), SO_RCVTIMEO).
        SockRef::from(&listener).set_read_timeout(Some(PATIENCE))?;
        Ok(Self { listener })
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub fn port(&self) -> u16 {
        self.address().port()
    }

    /// The next connection; fails when none comes in time.
    pub fn accept(&self) -> TcpStream {
        let (socket, _) = self.listener.accept().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        socket
    }

    /// Whether no connection waits.
    pub fn is_untouched(&self) -> bool {
        self.listener.set_nonblocking(true).unwrap();
        let accepted = self.listener.accept();
        self.listener.set_nonblocking(false).unwrap();
        matches!(accepted, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}

/// The head that asks for `target`.
pub fn head(target: &str) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")
}

/// A client that has its `200`.
pub fn established(proxy: &Proxy, target: &str) -> TcpStream {
    let (socket, answer) = proxy.ask(head(target).as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200 "), "{target}: {answer}");
    socket
}

/// The reason of a refusal before the tunnel, after its status is checked.
pub fn refusal(proxy: &Proxy, target: &str) -> (u16, String, TcpStream) {
    let (socket, answer) = proxy.ask(head(target).as_bytes());
    let mut words = answer.split([' ', '\r']).skip(1);
    let status = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
    (status, words.next().unwrap_or_default().to_owned(), socket)
}

/// A tunnel in which both hellos have passed: bytes are free.
pub struct Tunnel {
    pub client: TcpStream,
    pub server: TcpStream,
    /// Bytes of the two hellos.
    pub hello: u64,
    pub server_hello: u64,
    /// The client's address, which its records have.
    pub address: SocketAddr,
}

impl Tunnel {
    /// Opens one to `name` at `origin`. No other connection may come in between.
    pub fn open(proxy: &Proxy, name: &str, origin: &Origin) -> Self {
        let mut client = proxy.connect();
        let hello = Hello::to(name).record();
        let begin = [head(&format!("{name}:{}", origin.port())).as_bytes(), &hello].concat();
        client.write_all(&begin).unwrap();
        let answer = read_exactly(&mut client, ESTABLISHED.len());
        assert!(answer == ESTABLISHED, "{name}: {}", String::from_utf8_lossy(&answer));
        let mut server = origin.accept();
        assert_eq!(read_exactly(&mut server, hello.len()), hello, "the hello as it was sent");
        let chosen = server_hello(0x0304, 0x1301);
        server.write_all(&chosen).unwrap();
        assert_eq!(read_exactly(&mut client, chosen.len()), chosen, "the server's hello as it was sent");
        for end in [&client, &server] {
            // A peer that has failed takes nothing more: whoever writes to it must not wait for ever.
            end.set_write_timeout(Some(PATIENCE)).unwrap();
        }
        let address = client.local_addr().unwrap();
        Self { client, server, hello: hello.len() as u64, server_hello: chosen.len() as u64, address }
    }

    /// The record of its end.
    pub fn close_record(&self, proxy: &Proxy) -> Value {
        close_of(proxy, self.address)
    }

    /// Checks the reason and the counts of the close record: what was sent behind the hellos.
    pub fn assert_closed(&self, proxy: &Proxy, reason: &str, (out, back): (u64, u64)) {
        let record = self.close_record(proxy);
        assert_eq!(record["reason"], reason, "{record}");
        assert_eq!(record["bytes_out"], self.hello + out, "bytes_out: {record}");
        assert_eq!(record["bytes_in"], self.server_hello + back, "bytes_in: {record}");
    }
}

/// The close record of the tunnel from this client's address.
pub fn close_of(proxy: &Proxy, client: SocketAddr) -> Value {
    proxy.record("a close", |record| record["kind"] == "close" && record["client_port"] == client.port())
}

/// Exactly so many bytes; fewer if the peer ends.
pub fn read_exactly(socket: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    socket.take(count as u64).read_to_end(&mut bytes).unwrap();
    bytes
}

/// All that comes until the peer ends or resets.
pub fn read_all(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match socket.read_to_end(&mut bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("no end in time"),
        _ => bytes,
    }
}

/// Fails if a byte or an end comes within `time`.
pub fn assert_silent(socket: &mut TcpStream, time: Duration, what: &str) {
    socket.set_read_timeout(Some(time)).unwrap();
    let read = socket.read(&mut [0]);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(matches!(&read, Err(error) if error.kind() == ErrorKind::WouldBlock), "{what}: {read:?}");
}

/// Ends a connection with a reset (SO_LINGER of zero).
pub fn reset(socket: TcpStream) {
    SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
    drop(socket);
}

/// Both ends closed, the client first.
pub fn finish(mut tunnel: Tunnel) -> SocketAddr {
    tunnel.client.shutdown(Shutdown::Write).unwrap();
    read_all(&mut tunnel.server);
    tunnel.server.shutdown(Shutdown::Write).unwrap();
    read_all(&mut tunnel.client);
    tunnel.address
}

/// The local address of an accepted connection: the one that was dialled.
pub fn dialled(server: &TcpStream) -> IpAddr {
    server.local_addr().unwrap().ip()
}

/// The value of a metric's first row that begins with `row`, once it is `want`.
pub fn await_metric(proxy: &Proxy, row: &str, want: f64) {
    let end = Instant::now() + PATIENCE;
    eventually(&format!("{row} is {want}"), end, || metric(proxy, row).filter(|value| *value == want));
}

/// The value of a metric's first row that begins with `row`.
pub fn metric(proxy: &Proxy, row: &str) -> Option<f64> {
    let (_, page) = proxy.admin_page("/metrics");
    page.lines().find_map(|line| line.strip_prefix(row)?.trim().parse().ok())
}
