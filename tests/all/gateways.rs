//! A gateway between clients and customers, each in a network namespace, IPv4 and IPv6; and who answers whom across it.
//! Not here: what is tried (`firewall_namespaces`), namespaces themselves (`namespaces`).

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use sallyport::address::canonical;
use sallyport::config::Capture;
use sallyport::runtime::captured::{make_transparent, original_destination};
use socket2::{Domain, Protocol, Socket, Type};

use super::namespaces::{Space, ip};
use super::programs::{self, program};

/// Two customers, a resolver, and one whom the tests exclude; each has an IPv6 address that ends alike.
pub const OUTSIDE: [&str; 4] = ["198.51.100.1", "198.51.100.2", "198.51.100.53", "198.51.100.9"];

/// Ports of each of them that answer, over TCP and UDP.
const PORTS: [u16; 4] = [53, 443, 5353, 8443];

/// The gateway as its clients see it.
pub const INSIDE: [&str; 2] = ["10.20.0.1", "fd00:20::1"];

/// Longer than an answer takes on a busy machine; only what is dropped without a word takes so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// As long as what never comes is waited for.
const SILENCE: Duration = Duration::from_millis(500);

/// The gateway and a client behind it; the test itself runs among the customers.
pub struct Gateway {
    /// Between them.
    pub gate: Space,
    /// Behind it.
    pub client: Space,
}

/// `198.51.100.1` → `2001:db8:100::1`.
pub fn six(four: &str) -> String {
    format!("2001:db8:100::{}", four.rsplit('.').next().unwrap())
}

/// An address to call.
pub fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse::<IpAddr>().unwrap(), port)
}

impl Gateway {
    /// Addresses, routes, and customers that answer.
    pub fn new() -> Self {
        let (gate, client) = (Space::new(), Space::new());
        ip(&["link", "set", "lo", "up"]);
        for four in OUTSIDE {
            ip(&["addr", "add", &format!("{four}/32"), "dev", "lo"]);
            ip(&["addr", "add", &format!("{}/128", six(four)), "dev", "lo", "nodad"]);
        }
        ip(&["link", "add", "gate", "type", "veth", "peer", "name", "out", "netns", &gate.pid()]);
        gate.ip(&["link", "add", "in", "type", "veth", "peer", "name", "gate", "netns", &client.pid()]);
        let here: &dyn Fn(&[&str]) = &|words| ip(words);
        let (in_gate, in_client) = (|words: &[&str]| gate.ip(words), |words: &[&str]| client.ip(words));
        for (space, device, four, six) in [
            (here, "gate", "10.78.0.1/24", "fd00:78::1/64"),
            (&in_gate, "out", "10.78.0.2/24", "fd00:78::2/64"),
            (&in_gate, "in", "10.20.0.1/24", "fd00:20::1/64"),
            (&in_client, "gate", "10.20.0.7/24", "fd00:20::7/64"),
        ] {
            space(&["addr", "add", four, "dev", device]);
            space(&["addr", "add", six, "dev", device, "nodad"]);
            space(&["link", "set", device, "up"]);
        }
        ip(&["route", "add", "10.20.0.0/24", "via", "10.78.0.2"]);
        ip(&["route", "add", "fd00:20::/64", "via", "fd00:78::2"]);
        gate.ip(&["route", "add", "default", "via", "10.78.0.1"]);
        gate.ip(&["-6", "route", "add", "default", "via", "fd00:78::1"]);
        client.ip(&["route", "add", "default", "via", INSIDE[0]]);
        client.ip(&["-6", "route", "add", "default", "via", INSIDE[1]]);
        gate.set("ipv4/ip_forward", "1");
        gate.set("ipv6/conf/all/forwarding", "1");
        // Every refusal is told, not so many a second.
        gate.set("ipv4/icmp_ratelimit", "0");
        gate.set("ipv6/icmp/ratelimit", "0");
        let outside = || OUTSIDE.into_iter().flat_map(|four| [four.to_owned(), six(four)]);
        for (ip, port) in outside().flat_map(|ip| PORTS.map(|port| (ip.clone(), port))) {
            answer(at(&ip, port));
        }
        Self { gate, client }
    }

    /// Loads rules as `nft` or both `iptables-restore` do, and the routes that their comments ask for.
    pub fn load(&self, rules: &str) {
        let nft: &[&[&str]] = &[&["nft", "-c", "-f", "-"], &["nft", "-f", "-"]];
        let iptables: &[&[&str]] = &[&["iptables-restore", "--noflush"], &["ip6tables-restore", "--noflush"]];
        for words in if rules.contains("COMMIT") { iptables } else { nft } {
            let ended = programs::finish(self.gate.enter(&program(words[0])).args(&words[1..]), rules);
            assert_eq!(ended.code, Some(0), "{words:?}: {}\n{rules}", ended.err);
        }
    }

    /// Runs the lines for ip(8) that stand in the comments of rules.
    pub fn route(&self, rules: &str) {
        let lines: Vec<Vec<&str>> = rules
            .lines()
            .filter_map(|line| line.strip_prefix("#   ip "))
            .map(|line| line.split(' ').collect())
            .collect();
        assert_eq!(lines.len(), 4, "a rule and a route for each family");
        lines.iter().for_each(|words| self.gate.ip(words));
    }

    /// Takes those of IPv4 and IPv6 away again.
    pub fn unroute(&self) {
        for family in ["-4", "-6"] {
            self.gate.ip(&[family, "rule", "del", "fwmark", "0x5a1"]);
            self.gate.ip(&[family, "route", "flush", "table", "1441"]);
        }
    }

    /// Takes connections in the gateway, and tells each where it had wanted to go.
    pub fn take(&self, address: SocketAddr, capture: Capture) {
        let socket = self.gate.run_as(0, || {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)).unwrap();
            if capture == Capture::Tproxy {
                make_transparent(&socket).unwrap();
            }
            if address.is_ipv6() {
                socket.set_only_v6(true).unwrap();
            }
            socket.bind(&address.into()).unwrap();
            socket.listen(16).unwrap();
            TcpListener::from(socket)
        });
        tell(socket, move |accepted| format!("captured {}", original_destination(accepted, capture).unwrap()));
    }
}

/// Answers over TCP and UDP.
fn answer(address: SocketAddr) {
    tell(TcpListener::bind(address).unwrap(), |accepted| {
        let local = accepted.local_addr().unwrap();
        format!("origin {}", SocketAddr::new(canonical(local.ip()), local.port()))
    });
    let socket = UdpSocket::bind(address).unwrap();
    std::thread::spawn(move || {
        let mut bytes = [0; 16];
        while let Ok((length, peer)) = socket.recv_from(&mut bytes) {
            let _ = socket.send_to(&bytes[..length], peer);
        }
    });
}

/// Tells each who connects something, and hangs up. Ends with the test.
fn tell(socket: TcpListener, what: impl Fn(&TcpStream) -> String + Send + 'static) {
    std::thread::spawn(move || {
        while let Ok((mut accepted, _)) = socket.accept() {
            let told = what(&accepted);
            let _ = accepted.write_all(told.as_bytes());
        }
    });
}

/// What who is called over TCP says, or why nobody does.
pub fn call(address: SocketAddr) -> String {
    let called = TcpStream::connect_timeout(&address, PATIENCE).and_then(|mut socket| {
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut said = String::new();
        socket.read_to_string(&mut said).map(|_| said)
    });
    called.unwrap_or_else(|error| format!("{:?}", error.kind()))
}

/// Whether nothing comes back from a call over TCP, not even a refusal.
pub fn is_silent(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, SILENCE).is_err_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// Whether a datagram comes back. One that is refused is told at once, and one that was lost is sent again.
pub fn echoes(address: SocketAddr) -> bool {
    let all = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(all).unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    let end = Instant::now() + PATIENCE;
    let tried = socket.connect(address).and_then(|()| {
        loop {
            socket.send(b"x")?;
            match socket.recv(&mut [0; 16]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < end => {}
                done => return done,
            }
        }
    });
    match tried {
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("{address}: neither an answer nor a refusal"),
        Err(_) => false,
    }
}

/// Whether a packet of another protocol can be sent: ICMP, GRE and the like.
pub fn sends(protocol: i32, address: SocketAddr) -> bool {
    let socket = Socket::new(Domain::for_address(address), Type::RAW, Some(Protocol::from(protocol))).unwrap();
    let mut to = address;
    to.set_port(0);
    // An echo request, as ICMP and ICMPv6 have it; what other protocols make of it is of no matter.
    let kind = if protocol == 58 { 128 } else { 8 };
    socket.send_to(&[kind, 0, 0, 0, 0, 1, 0, 1], &to.into()).is_ok()
}
