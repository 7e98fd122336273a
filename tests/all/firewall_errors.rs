//! Ways round `sallyport firewall --mode only-way-out` that no connection takes: errors of ICMP that carry data, outsiders who call what is
//! excluded, rules of another way of capturing that are still there.
//! Not here: connections and datagrams (`firewall_namespaces`). Source: RFC 792, RFC 4443 (errors quote the packet that they are about).

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::firewall_namespaces::{CAPTURES, FORMATS, Loaded, OTHER, both, has_users, rules};
use super::gateways::{Gateway, OUTSIDE, at, call, six};
use super::namespaces::{Space, is_inner};
use super::programs::{self, program};

/// The client's addresses.
const CLIENT: [&str; 2] = ["10.20.0.7", "fd00:20::7"];

/// What must not get out, or in.
const SECRET: &[u8] = b"written behind the quoted packet";

/// As long as what never comes is waited for.
const SILENCE: Duration = Duration::from_millis(500);

#[test]
fn no_error_carries_anything_past_the_proxy() {
    if !is_inner("firewall_errors::no_error_carries_anything_past_the_proxy") || !has_users() {
        return;
    }
    let gateway = Gateway::new();
    await_neighbours(&gateway);
    for (word, capture) in CAPTURES {
        let port = if word == "tproxy" { 15002 } else { 15001 };
        for all in ["0.0.0.0", "::"] {
            gateway.take(at(all, port), capture);
        }
        for format in ["", FORMATS[0], FORMATS[1]] {
            let is_open = format.is_empty();
            let listeners = both(word).replace("15001", &port.to_string());
            let of = |mode| rules(&listeners, &["--mode", mode, "--format", if is_open { "nft" } else { format }]);
            let (captures, only) = (of(word), of("only-way-out"));
            let gateway = Loaded::new(&gateway, if is_open { "" } else { &captures });
            if !is_open {
                gateway.load(&only);
            }
            if word == "tproxy" {
                gateway.route(&captures);
            }
            for (client, outside) in CLIENT.into_iter().zip([OUTSIDE[0].to_owned(), six(OUTSIDE[0])]) {
                let (name, to) = (format!("{word}, {format}: {outside}"), at(&outside, 443));
                let (open, answer) = gateway.client.run_as(OTHER, || connected(to, &name));
                let captured = format!("{} {to}", if is_open { "origin" } else { "captured" });
                assert_eq!(answer, captured, "{name}");
                let from = open.local_addr().unwrap();
                let (here, there) = (hearing(None, to.ip()), hearing(Some(&gateway.client), from.ip()));
                gateway.client.run_as(0, || send_error(from, to));
                assert_eq!(hears(&here), is_open, "{name}: out of {client}");
                send_error(to, from);
                assert_eq!(hears(&there), is_open, "{name}: in to {client}");
            }
            if word == "tproxy" {
                gateway.unroute();
            }
        }
    }
}

/// Those of IPv6 find each other some time after their links are up.
fn await_neighbours(gateway: &Gateway) {
    let (to, end) = (at(&six(OUTSIDE[0]), 443), Instant::now() + Duration::from_secs(20));
    while gateway.client.run_as(OTHER, || call(to)) != format!("origin {to}") {
        assert!(Instant::now() < end, "{to} is not reached");
    }
}

/// An open connection, and what was said on it first.
fn connected(to: SocketAddr, name: &str) -> (TcpStream, String) {
    let mut socket = TcpStream::connect(to).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut said = String::new();
    socket.read_to_string(&mut said).unwrap();
    (socket, said)
}

/// A socket that has all of ICMP that comes to `ip`.
fn hearing(space: Option<&Space>, ip: IpAddr) -> Socket {
    let open = || {
        let socket = raw(ip);
        socket.bind(&SocketAddr::new(ip, 0).into()).unwrap();
        socket.set_read_timeout(Some(SILENCE)).unwrap();
        socket
    };
    space.map_or_else(open, |space| space.run_as(0, open))
}

fn raw(ip: IpAddr) -> Socket {
    let address = SocketAddr::new(ip, 0);
    let protocol = if ip.is_ipv4() { Protocol::ICMPV4 } else { Protocol::ICMPV6 };
    Socket::new(Domain::for_address(address), Type::RAW, Some(protocol)).unwrap()
}

fn hears(mut socket: &Socket) -> bool {
    let (mut packet, end) = ([0; 2048], Instant::now() + SILENCE);
    while let (Ok(length), true) = (socket.read(&mut packet), Instant::now() < end) {
        if packet[..length].windows(SECRET.len()).any(|part| part == SECRET) {
            return true;
        }
    }
    false
}

/// Unreachable: what `to` has sent to `from`, quoted, and a secret behind it.
fn send_error(from: SocketAddr, to: SocketAddr) {
    let quoted = [quoted(to, from), tcp(to.port(), from.port()), SECRET.to_vec()].concat();
    let (kind, code) = if to.is_ipv4() { (3, 3) } else { (1, 4) };
    let mut error = [&[kind, code, 0, 0, 0, 0, 0, 0][..], &quoted].concat();
    if to.is_ipv4() {
        // The kernel does that of ICMPv6.
        let sum = checksum(&error);
        error[2..4].copy_from_slice(&sum);
    }
    let socket = raw(to.ip());
    socket.bind(&SocketAddr::new(from.ip(), 0).into()).unwrap();
    socket.send_to(&error, &SocketAddr::new(to.ip(), 0).into()).unwrap();
}

/// The header of a packet of TCP.
fn quoted(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let start = [0x45, 0, 0, 40, 0, 9, 0, 0, 64, 6, 0, 0];
            let mut header = [&start[..], &from.octets(), &to.octets()].concat();
            let sum = checksum(&header);
            header[10..12].copy_from_slice(&sum);
            header
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            [&[0x60, 0, 0, 0, 0, 20, 6, 64][..], &from.octets(), &to.octets()].concat()
        }
        _ => panic!("two families"),
    }
}

/// The header of TCP.
fn tcp(from: u16, to: u16) -> Vec<u8> {
    let rest = [0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 3, 232, 0, 0, 0, 0];
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &rest].concat()
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    let sum: u32 = bytes.chunks(2).map(word).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    (!((folded & 0xffff) + (folded >> 16)) as u16).to_be_bytes()
}

/// What is excluded is for those within: who has a public address gets nowhere by it.
#[test]
fn nobody_comes_in_by_what_is_excluded() {
    if !is_inner("firewall_errors::nobody_comes_in_by_what_is_excluded") || !has_users() {
        return;
    }
    let gateway = Gateway::new();
    for client in CLIENT {
        let listening = gateway.client.run_as(0, || TcpListener::bind(at(client, 7777)).unwrap());
        std::thread::spawn(move || {
            while let Ok((mut accepted, _)) = listening.accept() {
                let _ = accepted.write_all(b"inside");
            }
        });
    }
    let exclude = ["--exclude", "10.20.0.0/16", "--exclude", "fd00:20::/32"];
    for format in ["", FORMATS[0], FORMATS[1]] {
        let words = [&["--mode", "only-way-out", "--format", format][..], &exclude].concat();
        let _loaded = (!format.is_empty()).then(|| Loaded::new(&gateway, &rules(&both("redirect"), &words)));
        for (client, outside, neighbour) in
            [(CLIENT[0], OUTSIDE[0].to_owned(), "10.78.0.1"), (CLIENT[1], six(OUTSIDE[0]), "fd00:78::1")]
        {
            let to = at(client, 7777);
            let want = if format.is_empty() { "inside" } else { "ConnectionRefused" };
            assert_eq!(call_from(&outside, to), want, "{format}: {outside}");
            assert_eq!(call_from(neighbour, to), "inside", "{format}: {neighbour}");
            assert_eq!(gateway.gate.run_as(OTHER, || call(to)), "inside", "{format}: the gateway");
        }
    }
}

fn call_from(ip: &str, to: SocketAddr) -> String {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    socket.bind(&at(ip, 0).into()).unwrap();
    let called = socket.connect_timeout(&to.into(), Duration::from_secs(10)).and_then(|()| {
        let mut said = String::new();
        TcpStream::from(socket).read_to_string(&mut said).map(|_| said)
    });
    called.unwrap_or_else(|error| format!("{:?}", error.kind()))
}

/// Whichever way was loaded before.
#[test]
fn one_way_of_capturing_replaces_the_other() {
    if !is_inner("firewall_errors::one_way_of_capturing_replaces_the_other") || !has_users() {
        return;
    }
    let gateway = Gateway::new();
    let of = |word| rules(&both(word), &["--mode", word, "--format", "iptables"]);
    let (redirect, tproxy) = (of("redirect"), of("tproxy"));
    for (rules, gone) in [(&redirect, "-j TPROXY"), (&tproxy, "-j REDIRECT"), (&redirect, "-j MARK")] {
        let before = in_force(&gateway);
        gateway.load(rules);
        let after = in_force(&gateway);
        assert!(before.is_empty() || before != after, "{gone}");
        assert!(!after.iter().any(|rule| rule.contains(gone)), "{gone}: {after:#?}");
        assert!(after.iter().any(|rule| rule.contains("-j REDIRECT") || rule.contains("-j TPROXY")), "{gone}");
    }
}

/// The rules of iptables, without jumps to chains.
fn in_force(gateway: &Gateway) -> Vec<String> {
    let ended = programs::finish(&mut gateway.gate.enter(&program("iptables-save")), "");
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let rules = ended.out.lines().filter(|line| line.starts_with("-A sallyport_"));
    rules.map(str::to_owned).collect()
}
