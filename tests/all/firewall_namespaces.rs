//! `sallyport firewall` in network namespaces: its rules load, bring what they say to the proxy, and let nothing past it.
//! Not here: which rules there are (`firewall`'s own tests), what the proxy does with what it gets.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use sallyport::config::Capture;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use super::gateways::{Gateway, INSIDE, OUTSIDE, at, call, echoes, is_silent, sends, six};
use super::namespaces::is_inner;
use super::programs::{self, sallyport};

/// The proxy's user, and another one.
pub const PROXY: u32 = 990;
pub const OTHER: u32 = 1000;

/// What `sallyport firewall` prints for these listeners.
pub fn rules(listeners: &str, words: &[&str]) -> String {
    let dir = TempDir::new().unwrap();
    let config = dir.path().join("sallyport.yaml");
    let dns = "{servers: ['udp://198.51.100.53', 'udp://[2001:db8:100::53]']}";
    fs::write(&config, format!("listeners: [{listeners}]\npolicy: policy.yaml\ndns: {dns}\n")).unwrap();
    let user = PROXY.to_string();
    let mut command = sallyport();
    command.arg("-c").arg(&config).args(["firewall", "--user", &user]).args(words);
    let ended = programs::finish(&mut command, "");
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    ended.out
}

/// A transparent listener as it is configured.
fn listener(name: &str, address: &str, capture: &str) -> String {
    format!("{{name: {name}, address: '{address}', mode: transparent, capture: {capture}}}")
}

/// Transparent listeners of both families.
pub fn both(capture: &str) -> String {
    format!("{}, {}", listener("four", "0.0.0.0:15001", capture), listener("six", "[::]:15001", capture))
}

pub const CAPTURES: [(&str, Capture); 2] = [("redirect", Capture::Redirect), ("tproxy", Capture::Tproxy)];

pub const FORMATS: [&str; 2] = ["nft", "iptables"];

/// Users of namespaces that are not root's have no other users.
pub fn has_users() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    let has = map.split_whitespace().next_back() != Some("1");
    if !has {
        println!("skipped: only one user is to be had here; run the tests as root");
    }
    has
}

#[test]
fn all_rules_load_however_often() {
    if !is_inner("firewall_namespaces::all_rules_load_however_often") || !has_users() {
        return;
    }
    let gateway = Gateway::new();
    for format in FORMATS {
        for mode in ["redirect", "tproxy", "only-way-out"] {
            let capture = if mode == "tproxy" { "tproxy" } else { "redirect" };
            for (four, six) in [
                ("0.0.0.0:15001", "[::]:15001"),
                ("10.20.0.1:15001", "[fd00:20::1]:15001"),
                ("127.0.0.1:15001", "[::1]:15001"),
            ] {
                let listeners = format!("{}, {}", listener("four", four, capture), listener("six", six, capture));
                let words = ["--mode", mode, "--format", format];
                let exclude = ["--exclude", "198.51.100.9/32", "--exclude", "2001:db8:100::9/128"];
                let text = rules(&listeners, &[&words[..], &exclude].concat());
                gateway.load(&text);
                gateway.load(&text);
            }
        }
    }
}

/// Of a gateway's clients and of its own processes, to any port, in both families.
#[test]
fn every_connection_is_brought_to_the_proxy_and_says_where_it_wanted_to_go() {
    let test = "firewall_namespaces::every_connection_is_brought_to_the_proxy_and_says_where_it_wanted_to_go";
    if !is_inner(test) || !has_users() {
        return;
    }
    let gateway = Gateway::new();
    for (word, capture) in CAPTURES {
        let port = if word == "tproxy" { 15002 } else { 15001 };
        for all in ["0.0.0.0", "::"] {
            gateway.take(at(all, port), capture);
        }
        for format in FORMATS {
            let listeners = both(word).replace("15001", &port.to_string());
            let exclude = ["--exclude", "198.51.100.9/32", "--exclude", "2001:db8:100::9/128"];
            let text = rules(&listeners, &[&["--mode", word, "--format", format][..], &exclude].concat());
            let gateway = Loaded::new(&gateway, &text);
            if word == "tproxy" {
                gateway.route(&text);
            }
            captures_all_but(&gateway, port, &format!("{word}, {format}"));
            if word == "tproxy" {
                gateway.unroute();
                for four in [OUTSIDE[0].to_owned(), six(OUTSIDE[0])] {
                    assert!(
                        gateway.gate.run_as(OTHER, || is_silent(at(&four, 443))),
                        "{word}, {format}: {four} without the route"
                    );
                }
            }
        }
    }
}

/// Rules that are gone again with this.
pub struct Loaded<'a>(&'a Gateway);

impl<'a> Loaded<'a> {
    pub fn new(gateway: &'a Gateway, text: &str) -> Self {
        gateway.load(text);
        Self(gateway)
    }
}

impl std::ops::Deref for Loaded<'_> {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        self.0
    }
}

impl Drop for Loaded<'_> {
    fn drop(&mut self) {
        // Those of iptables too, which are tables of nft.
        let _ = programs::finish(self.0.gate.enter(&programs::program("nft")).args(["flush", "ruleset"]), "");
    }
}

fn captures_all_but(gateway: &Gateway, port: u16, name: &str) {
    let addresses =
        |fours: &[&str]| -> Vec<String> { fours.iter().flat_map(|four| [(*four).to_owned(), six(four)]).collect() };
    let (captured, excluded) = (addresses(&OUTSIDE[..2]), addresses(&OUTSIDE[3..]));
    for (who, space) in [("a client", &gateway.client), ("a process", &gateway.gate)] {
        for (ip, port) in captured.iter().flat_map(|ip| [(ip, 443), (ip, 8443), (ip, 53)]) {
            let to = at(ip, port);
            assert_eq!(space.run_as(OTHER, || call(to)), format!("captured {to}"), "{name}: {who}");
        }
        for ip in &captured {
            let (quic, other) = (at(ip, 443), at(ip, 5353));
            assert!(!space.run_as(OTHER, || echoes(quic)), "{name}: {who}, QUIC to {ip}");
            assert!(space.run_as(OTHER, || echoes(other)), "{name}: {who}, other UDP to {ip}");
        }
        for ip in &excluded {
            let to = at(ip, 443);
            assert_eq!(space.run_as(OTHER, || call(to)), format!("origin {to}"), "{name}: {who}, excluded");
            assert!(space.run_as(OTHER, || echoes(to)), "{name}: {who}, excluded, QUIC to {ip}");
        }
        // Who comes by itself to the listener wanted the listener.
        for own in INSIDE.map(|ip| at(ip, port)) {
            assert_eq!(space.run_as(OTHER, || call(own)), format!("captured {own}"), "{name}: {who}");
        }
    }
    for to in captured.iter().map(|ip| at(ip, 443)) {
        assert_eq!(gateway.gate.run_as(PROXY, || call(to)), format!("origin {to}"), "{name}: the proxy itself");
    }
}

#[test]
fn a_family_without_a_listener_is_refused() {
    if !is_inner("firewall_namespaces::a_family_without_a_listener_is_refused") || !has_users() {
        return;
    }
    let gateway = Gateway::new();
    let (four, six) = (at(OUTSIDE[0], 443), at(&six(OUTSIDE[0]), 443));
    for (word, capture) in CAPTURES {
        let port = if word == "tproxy" { 15002 } else { 15001 };
        gateway.take(at("0.0.0.0", port), capture);
        for format in FORMATS {
            let text =
                rules(&listener("four", &format!("0.0.0.0:{port}"), word), &["--mode", word, "--format", format]);
            let _loaded = Loaded::new(&gateway, &text);
            for (who, space) in [("a client", &gateway.client), ("a process", &gateway.gate)] {
                let said = space.run_as(OTHER, || call(six));
                assert_eq!(said, "ConnectionRefused", "{word}, {format}: {who}");
            }
            assert_eq!(gateway.gate.run_as(PROXY, || call(six)), format!("origin {six}"), "{word}, {format}");
        }
    }
    assert_eq!(gateway.client.run_as(OTHER, || call(four)), format!("origin {four}"), "without rules");
}

/// Everything that leaves the gateway, or goes through it, by others than the proxy.
#[test]
fn nothing_leaves_but_by_the_proxy_and_nobody_comes_in_but_to_it() {
    let test = "firewall_namespaces::nothing_leaves_but_by_the_proxy_and_nobody_comes_in_but_to_it";
    if !is_inner(test) || !has_users() {
        return;
    }
    let gateway = Gateway::new();
    let (edge, other) = (at(INSIDE[0], 3128), at(INSIDE[0], 2222));
    for address in [edge, other] {
        gateway.take(address, Capture::Redirect);
    }
    let edge_alone = format!("{{name: edge, address: '{edge}'}}");
    for format in ["", "nft", "iptables"] {
        let is_open = format.is_empty();
        let words = ["--mode", "only-way-out", "--format", format, "--exclude", "198.51.100.9/32"];
        let _loaded = (!is_open).then(|| Loaded::new(&gateway, &rules(&edge_alone, &words)));
        for ip in [OUTSIDE[0].to_owned(), six(OUTSIDE[0]), OUTSIDE[2].to_owned(), six(OUTSIDE[2])] {
            for port in [53, 443, 5353, 8443] {
                let to = at(&ip, port);
                let origin = format!("origin {to}");
                for (who, space, user) in [
                    ("a process", &gateway.gate, OTHER),
                    ("root", &gateway.gate, 0),
                    ("a client", &gateway.client, OTHER),
                ] {
                    assert_eq!(space.run_as(user, || call(to)) == origin, is_open, "{format}: {who}, {to}");
                    assert_eq!(space.run_as(user, || echoes(to)), is_open, "{format}: {who}, {to} by UDP");
                }
                assert_eq!(gateway.gate.run_as(PROXY, || call(to)), origin, "{format}: the proxy");
                let is_question = to.port() == 53 && ip.ends_with("53");
                let asks = gateway.gate.run_as(PROXY, || echoes(to));
                assert_eq!(asks, is_open || is_question, "{format}: the proxy, {to} by UDP");
            }
        }
        for (name, protocol, ip) in
            [("ICMP", 1, OUTSIDE[0].to_owned()), ("GRE", 47, OUTSIDE[0].to_owned()), ("ICMPv6", 58, six(OUTSIDE[0]))]
        {
            assert_eq!(gateway.gate.run_as(0, || sends(protocol, at(&ip, 0))), is_open, "{format}: {name}");
        }
        let excluded = at(OUTSIDE[3], 443);
        for space in [&gateway.gate, &gateway.client] {
            assert_eq!(space.run_as(OTHER, || call(excluded)), format!("origin {excluded}"), "{format}: excluded");
        }
        let call = |to| gateway.client.run_as(OTHER, move || call(to));
        assert_eq!(call(edge), format!("captured {edge}"), "{format}: the listener");
        if is_open {
            assert_eq!(call(other), format!("captured {other}"), "another port of the gateway");
        } else {
            assert!(gateway.client.run_as(OTHER, || is_silent(other)), "{format}: another port of the gateway");
        }
    }
}

/// What a process has sent before it closed, the kernel sends for nobody: no rule may take it for somebody else's.
#[test]
fn what_was_sent_before_the_end_arrives() {
    if !is_inner("firewall_namespaces::what_was_sent_before_the_end_arrives") || !has_users() {
        return;
    }
    const BYTES: usize = 512 * 1024;
    let gateway = Gateway::new();
    for (mode, capture) in [("redirect", "redirect"), ("tproxy", "tproxy"), ("only-way-out", "tproxy")] {
        for format in FORMATS {
            let text = rules(&both(capture), &["--mode", mode, "--format", format]);
            let _loaded = Loaded::new(&gateway, &text);
            for ip in [OUTSIDE[0].to_owned(), six(OUTSIDE[0])] {
                let origin = TcpListener::bind(at(&ip, 0)).unwrap();
                let to: SocketAddr = origin.local_addr().unwrap();
                gateway.gate.run_as(PROXY, || {
                    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
                    socket.set_send_buffer_size(2 * BYTES).unwrap();
                    socket.connect(&to.into()).unwrap();
                    (&socket).write_all(&vec![0; BYTES]).unwrap();
                });
                let (mut accepted, _) = origin.accept().unwrap();
                accepted.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
                let mut all = Vec::new();
                accepted.read_to_end(&mut all).unwrap();
                assert_eq!(all.len(), BYTES, "{mode}, {format}: {to}");
            }
        }
    }
}
