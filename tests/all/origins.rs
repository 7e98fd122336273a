//! A customer's server as bytes, and clients that open tunnels to it: hellos are real TLS, what follows them is echoed.
//! Not here: origins that finish a handshake (`clients` runs nginx). Each client's hello carries a number, so that the origin can say
//! whose bytes it has seen. Source: RFC 8446 section 4.1.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection, RootCertStore};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream as TokioStream;

use super::harness::{PATIENCE, eventually, status_of};

/// The name that every hello carries unless a test says another.
pub const NAME: &str = "api.acme.test";

/// Where a hello's 32 random bytes begin: behind the record's and the message's header and the version.
const RANDOM: usize = 11;

/// Where the length of a hello's session id stands.
const SESSION_ID: usize = RANDOM + 32;

/// Clients that come all the time, each with one visit after the other.
const CLIENTS: u32 = 6;

/// An echo that begins with hellos, on a free port of 127.0.0.1.
pub struct Origin {
    pub address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    numbers: Mutex<BTreeSet<u64>>,
    peers: Mutex<BTreeMap<IpAddr, usize>>,
    open: AtomicUsize,
}

/// What came back to a client that asked for a tunnel and sent its hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The tunnel is open: a ServerHello came.
    Open,
    /// `200`, then a fatal TLS alert.
    Alert(u8),
    /// A refusal before the tunnel, whole.
    Refused(String),
    /// The connection ended without an answer.
    Gone,
}

impl Origin {
    /// Starts it; its thread ends with the process.
    pub fn start() -> Self {
        Self::on("127.0.0.1:0".parse().unwrap())
    }

    /// The same on an address of the test's own.
    pub fn on(address: SocketAddr) -> Self {
        let socket = std::net::TcpListener::bind(address).unwrap();
        socket.set_nonblocking(true).unwrap();
        let origin = Self { address: socket.local_addr().unwrap(), seen: Arc::default() };
        let seen = Arc::clone(&origin.seen);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(socket).unwrap();
                while let Ok((socket, peer)) = listener.accept().await {
                    *seen.peers.lock().unwrap().entry(peer.ip()).or_default() += 1;
                    tokio::spawn(serve(socket, Arc::clone(&seen)));
                }
            });
        });
        origin
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The numbers of all hellos of which a byte has come.
    pub fn numbers(&self) -> BTreeSet<u64> {
        self.seen.numbers.lock().unwrap().clone()
    }

    /// How many connections have come from each address.
    pub fn peers(&self) -> BTreeMap<IpAddr, usize> {
        self.seen.peers.lock().unwrap().clone()
    }

    /// Waits until every connection that it has accepted has ended.
    pub fn until_idle(&self) {
        eventually("the origin's connections end", Instant::now() + PATIENCE, || {
            (self.seen.open.load(Ordering::SeqCst) == 0).then_some(())
        });
    }
}

async fn serve(mut socket: TokioStream, seen: Arc<Seen>) {
    seen.open.fetch_add(1, Ordering::SeqCst);
    // How a connection ends is for the client to notice.
    let _ = talk(&mut socket, &seen).await;
    seen.open.fetch_sub(1, Ordering::SeqCst);
}

async fn talk(socket: &mut TokioStream, seen: &Seen) -> io::Result<()> {
    let mut hello = vec![0; 5];
    socket.read_exact(&mut hello).await?;
    let length = usize::from(u16::from_be_bytes([hello[3], hello[4]]));
    hello.resize(5 + length, 0);
    // The number is in the first bytes, so a hello of which only these come counts as well.
    socket.read_exact(&mut hello[5..RANDOM + 8]).await?;
    seen.numbers.lock().unwrap().insert(u64::from_be_bytes(hello[RANDOM..RANDOM + 8].try_into().unwrap()));
    socket.read_exact(&mut hello[RANDOM + 8..]).await?;
    let id = usize::from(hello[SESSION_ID]);
    socket.write_all(&server_hello(&hello[SESSION_ID + 1..SESSION_ID + 1 + id])).await?;
    let mut bytes = [0; 4096];
    loop {
        match socket.read(&mut bytes).await? {
            0 => return Ok(()),
            count => socket.write_all(&bytes[..count]).await?,
        }
    }
}

/// TLS 1.3 with TLS_AES_128_GCM_SHA256, in one record.
pub fn server_hello(session_id: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend_from_slice(&[7; 32]);
    body.push(u8::try_from(session_id.len()).unwrap());
    body.extend_from_slice(session_id);
    body.extend_from_slice(&[0x13, 0x01, 0, 0, 6, 0, 0x2b, 0, 2, 3, 4]);
    let length = u8::try_from(body.len()).unwrap();
    let mut record = vec![22, 3, 3, 0, length + 4, 2, 0, 0, length];
    record.extend(body);
    record
}

/// A whole ClientHello for [`NAME`], with `number` in its random bytes.
pub fn client_hello(number: u64) -> Vec<u8> {
    static HELLO: OnceLock<Vec<u8>> = OnceLock::new();
    let mut hello = HELLO.get_or_init(|| hello_for(NAME)).clone();
    hello[RANDOM..RANDOM + 8].copy_from_slice(&number.to_be_bytes());
    hello
}

/// A whole ClientHello with a name and nothing else of note.
pub fn hello_for(name: &str) -> Vec<u8> {
    hello(&Hello { name, ..Hello::default() })
}

/// What a hello says.
#[derive(Debug, Clone, Copy)]
pub struct Hello<'a> {
    /// Its server name; empty: it has none.
    pub name: &'a str,
    pub alpn: &'a [&'a str],
    /// Whether it offers TLS 1.2 at most.
    pub old: bool,
}

impl Default for Hello<'_> {
    fn default() -> Self {
        Self { name: NAME, alpn: &[], old: false }
    }
}

/// A whole ClientHello as rustls makes it.
pub fn hello(says: &Hello) -> Vec<u8> {
    let versions = if says.old { &[&rustls::version::TLS12][..] } else { rustls::ALL_VERSIONS };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let mut config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    config.alpn_protocols = says.alpn.iter().map(|id| id.as_bytes().to_vec()).collect();
    config.enable_sni = !says.name.is_empty();
    let name = if config.enable_sni { says.name } else { NAME };
    let mut client = ClientConnection::new(Arc::new(config), name.to_owned().try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// Asks `proxy` for a tunnel to [`NAME`] at `port`, the numbered hello in the same segment.
pub fn open(proxy: SocketAddr, port: u16, number: u64) -> (TcpStream, Answer) {
    let mut socket = TcpStream::connect(proxy).unwrap();
    let answer = ask(&mut socket, &format!("{NAME}:{port}"), &client_hello(number));
    (socket, answer)
}

/// A connection to a proxy from `source`.
pub fn connect_from(source: Ipv4Addr, proxy: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&proxy.into()).unwrap();
    socket.into()
}

/// Asks for a tunnel to `target` on a connection to a proxy and sends `hello` behind the head.
pub fn ask(socket: &mut TcpStream, target: &str, hello: &[u8]) -> Answer {
    ask_by("CONNECT", socket, target, hello)
}

/// The same by any method.
pub fn ask_by(method: &str, socket: &mut TcpStream, target: &str, hello: &[u8]) -> Answer {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = format!("{method} {target} HTTP/1.1\r\nHost: {NAME}\r\n\r\n").into_bytes();
    bytes.extend_from_slice(hello);
    if socket.write_all(&bytes).is_err() {
        return Answer::Gone;
    }
    answer(socket)
}

/// Reads what a proxy says to a CONNECT with a hello behind it.
pub fn answer(socket: &mut TcpStream) -> Answer {
    let Some(head) = read_head(socket) else { return Answer::Gone };
    match status_of(&head) {
        200 => first_record(socket),
        0 => Answer::Gone,
        _ => {
            let mut body = Vec::new();
            let _ = socket.read_to_end(&mut body);
            Answer::Refused(head + &String::from_utf8_lossy(&body))
        }
    }
}

/// Reads the first TLS record behind a `200`.
pub fn first_record(socket: &mut TcpStream) -> Answer {
    let mut header = [0; 5];
    if socket.read_exact(&mut header).is_err() {
        return Answer::Gone;
    }
    let mut body = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    match (socket.read_exact(&mut body), header[0]) {
        (Ok(()), 22) => Answer::Open,
        (Ok(()), 21) => Answer::Alert(body[1]),
        _ => Answer::Gone,
    }
}

/// A head byte by byte: what follows it stays in the socket.
fn read_head(socket: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

/// Sends `bytes` through an open tunnel and has them back: it lives.
pub fn echoes(socket: &mut TcpStream, bytes: &[u8]) -> bool {
    let mut back = vec![0; bytes.len()];
    socket.write_all(bytes).and_then(|()| socket.read_exact(&mut back)).is_ok() && back == bytes
}

/// Waits for the end of a tunnel: whether the other side has closed or reset it.
pub fn ends(socket: &mut TcpStream) -> bool {
    match socket.read(&mut [0; 4096]) {
        Ok(count) => count == 0,
        Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
    }
}

/// What clients that came all the time have found.
#[derive(Debug, Default)]
pub struct Visits {
    /// How many found what they should.
    pub good: u64,
    /// What others found.
    pub failed: Vec<String>,
}

/// Clients visit `rate` times a second, each time with another number, for as long as `meanwhile` takes.
pub fn while_clients_come<T>(
    rate: u32,
    visit: impl Fn(u64) -> Result<(), String> + Sync,
    meanwhile: impl FnOnce() -> T,
) -> (Visits, T) {
    let (is_over, number, found) = (AtomicBool::new(false), AtomicU64::new(0), Mutex::new(Visits::default()));
    let come = || {
        let mut next = Instant::now();
        while !is_over.load(Ordering::Relaxed) {
            let came = visit(number.fetch_add(1, Ordering::Relaxed));
            match (came, &mut *found.lock().unwrap()) {
                (Ok(()), visits) => visits.good += 1,
                (Err(what), visits) => visits.failed.push(what),
            }
            next += Duration::from_secs(1) * CLIENTS / rate;
            std::thread::park_timeout(next.saturating_duration_since(Instant::now()));
        }
    };
    let came_to = std::thread::scope(|scope| {
        let _over = Over(&is_over);
        for _ in 0..CLIENTS {
            scope.spawn(come);
        }
        meanwhile()
    });
    (found.into_inner().unwrap(), came_to)
}

/// Says that it is over, also when a test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
