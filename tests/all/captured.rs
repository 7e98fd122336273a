//! Clients that know of no proxy: captured by either way in network namespaces, judged by name or address, and nothing past the proxy.
//! Not here: which connections the rules bring (`firewall_namespaces`), every way in which a hello can be bad (`hellos`).

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::chown;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::dns_server::{self, DnsServer};
use super::firewall_namespaces::{Loaded, OTHER, PROXY, has_users};
use super::gateways::{Gateway, INSIDE, OUTSIDE, at, echoes, sends, six};
use super::harness::{PATIENCE, Proxy, Setup, write_setup};
use super::namespaces::{Space, is_inner};
use super::origins::{self, Answer, Origin, hello_for};
use super::programs::{self, program, sallyport};

/// Who serves what: two customers by name, each with both families, and one who is known by its address alone.
struct Customers {
    acme: [Origin; 2],
    bank: [Origin; 2],
    bare: Origin,
    resolver: DnsServer,
}

impl Customers {
    fn new() -> Self {
        let both = |four: &str| {
            let first = Origin::on(at(four, 0));
            let second = Origin::on(at(&six(four), first.port()));
            [first, second]
        };
        let names = [("api.acme.test", OUTSIDE[0]), ("api.bank.test", OUTSIDE[1])];
        let rows = names.map(|(name, four)| (name, [four.to_owned(), six(four)]));
        let rows = rows.each_ref().map(|(name, both)| (*name, both.each_ref().map(String::as_str)));
        let rows = rows.each_ref().map(|(name, both)| (*name, &both[..]));
        let resolver = DnsServer::on(OUTSIDE[2].parse().unwrap(), dns_server::table(&rows));
        Self { acme: both(OUTSIDE[0]), bank: both(OUTSIDE[1]), bare: Origin::on(at(OUTSIDE[3], 0)), resolver }
    }

    fn policy(&self) -> String {
        let rule = |id: &str, four: &str, port: u16| {
            let addresses = format!("[{four}/32, \"{}/128\"]", six(four));
            format!(
                "  - {{id: {id}, customer: {id}, sources: [behind, beside], hosts: [api.{id}.test], ports: [{port}], addresses: {addresses}}}\n"
            )
        };
        let rules = rule("acme", OUTSIDE[0], self.acme[0].port()) + &rule("bank", OUTSIDE[1], self.bank[0].port());
        let bare = format!("networks: [{}/32], ports: [{}], tls: {{sni: absent}}", OUTSIDE[3], self.bare.port());
        format!(
            "  - {{name: behind, subnets: [10.20.0.0/24, \"fd00:20::/64\"]}}
  - {{name: beside, subnets: [10.78.0.2/32, \"fd00:78::2/128\"]}}
rules:
{rules}  - {{id: bare, customer: bare, sources: [behind, beside], {bare}}}
"
        )
    }

    /// How many hellos they have had a byte of.
    fn hellos(&self) -> usize {
        self.acme.iter().chain(&self.bank).chain([&self.bare]).map(|origin| origin.numbers().len()).sum()
    }
}

/// A proxy in the gateway, as a user of its own, and its rules in force.
fn start<'a>(gateway: &'a Gateway, customers: &Customers, capture: &str) -> (Proxy, Loaded<'a>) {
    let dir = TempDir::new().unwrap();
    let (policy, more) = (customers.policy(), customers.resolver.settings("udp", ""));
    write_setup(dir.path(), &Setup { policy: &policy, more: &more, ..Setup::default() });
    let config = dir.path().join("sallyport.yaml");
    let ways = ["0.0.0.0:15001", "[::]:15001"].map(|address| {
        format!(", {{name: \"w{}\", address: \"{address}\", mode: transparent, capture: {capture}}}", address.len())
    });
    let text =
        fs::read_to_string(&config).unwrap().replace("mode: connect}]", &format!("mode: connect}}{}]", ways.concat()));
    fs::write(&config, text).unwrap();
    let user = PROXY.to_string();
    let rules = |mode| {
        let mut command = sallyport();
        let ended =
            programs::finish(command.arg("-c").arg(&config).args(["firewall", "--mode", mode, "--user", &user]), "");
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        ended.out
    };
    let captures = rules(capture);
    let loaded = Loaded::new(gateway, &captures);
    gateway.load(&rules("only-way-out"));
    if capture == "tproxy" {
        gateway.route(&captures);
    }
    for path in [dir.path().to_owned(), config.clone(), dir.path().join("policy.yaml")] {
        chown(path, Some(PROXY), None).unwrap();
    }
    let mut command = gateway.gate.enter(&program("setpriv"));
    command.args(["--reuid", &user, "--clear-groups", "--inh-caps=+net_admin", "--ambient-caps=+net_admin"]);
    command.arg(sallyport().get_program());
    (Proxy::start_by(command, dir), loaded)
}

/// A client's connection to where it thinks that its server is, and what came of it.
fn open(space: &Space, to: SocketAddr, bytes: &[u8]) -> (TcpStream, Answer) {
    let mut socket = space.run_as(OTHER, || TcpStream::connect_timeout(&to, PATIENCE)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(bytes).unwrap();
    let answer = origins::first_record(&mut socket);
    (socket, answer)
}

/// The fields of a record that a test is about.
fn fields(record: &Value, names: &[&str]) -> Value {
    names.iter().map(|name| ((*name).to_owned(), record[*name].clone())).collect::<serde_json::Map<_, _>>().into()
}

#[test]
fn listed_names_are_reached_by_either_way_of_capturing_and_nothing_else_is() {
    let test = "captured::listed_names_are_reached_by_either_way_of_capturing_and_nothing_else_is";
    if !is_inner(test) || !has_users() {
        return;
    }
    let (gateway, customers) = (Gateway::new(), Customers::new());
    for capture in ["redirect", "tproxy"] {
        let (proxy, _loaded) = start(&gateway, &customers, capture);
        for (who, space, client) in [("a client", &gateway.client, "behind"), ("a process", &gateway.gate, "beside")] {
            let name = format!("{capture}, {who}");
            listed_names(&proxy, &customers, (space, client), &name);
            others(&proxy, &customers, (space, client), &name);
            for ip in OUTSIDE.into_iter().flat_map(|four| [four.to_owned(), six(four)]) {
                for port in [53, 443, 5353] {
                    assert!(!space.run_as(OTHER, || echoes(at(&ip, port))), "{name}: UDP {ip} {port}");
                }
            }
            // Who has no route to it sends nothing either.
            for (protocol, ip) in [(1, OUTSIDE[0].to_owned()), (47, OUTSIDE[0].to_owned()), (58, six(OUTSIDE[0]))] {
                assert!(!gateway.gate.run_as(0, || sends(protocol, at(&ip, 0))), "{name}: protocol {protocol}");
            }
        }
        let (_, code) = proxy.stop();
        assert_eq!(code, Some(0), "{capture}");
        if capture == "tproxy" {
            gateway.unroute();
        }
    }
}

/// The name decides where it goes; the address that the client had is on record and nothing more.
fn listed_names(proxy: &Proxy, customers: &Customers, (space, source): (&Space, &str), name: &str) {
    let (acme, bank) = (customers.acme[0].port(), customers.bank[0].port());
    for (original, sni, customer) in [
        (at(OUTSIDE[0], acme), "api.acme.test", OUTSIDE[0]),
        (at(&six(OUTSIDE[0]), acme), "api.acme.test", OUTSIDE[0]),
        (at(OUTSIDE[1], bank), "api.bank.test", OUTSIDE[1]),
        // Nobody listens there: another address than the client's is dialled.
        (at(OUTSIDE[1], acme), "api.acme.test", OUTSIDE[0]),
        (at("192.0.2.1", bank), "api.bank.test", OUTSIDE[1]),
    ] {
        let (mut socket, answer) = open(space, original, &hello_for(sni));
        assert_eq!(answer, Answer::Open, "{name}: {sni} by {original}");
        assert!(origins::echoes(&mut socket, b"hello"), "{name}: {sni} by {original}");
        let record = proxy.decision_of(socket.local_addr().unwrap());
        let want = json!({"outcome": "allow", "reason": "allowed", "source": source, "original_ip": original.ip(), "host": sni, "sni": sni, "port": original.port()});
        let told = fields(&record, &["outcome", "reason", "source", "original_ip", "host", "sni", "port"]);
        assert_eq!(told, want, "{name}: {sni} by {original}: {record}");
        let reached = record["upstream_ip"].as_str().unwrap();
        assert!([customer, &six(customer)].contains(&reached), "{name}: {record}");
    }
    let original = at(OUTSIDE[3], customers.bare.port());
    let (mut socket, answer) = open(space, original, &hello_for(""));
    assert_eq!(answer, Answer::Open, "{name}: an address without a name");
    assert!(origins::echoes(&mut socket, b"hello"), "{name}: an address without a name");
    let record = proxy.decision_of(socket.local_addr().unwrap());
    assert_eq!(
        fields(&record, &["rule", "upstream_ip", "original_ip"]),
        json!({"rule": "bare", "upstream_ip": OUTSIDE[3], "original_ip": OUTSIDE[3]}),
        "{name}"
    );
}

/// What no rule lists, and what is no TLS: none of it reaches anybody.
fn others(proxy: &Proxy, customers: &Customers, (space, _): (&Space, &str), name: &str) {
    let acme = customers.acme[0].port();
    let (before, named, bare) = (customers.hellos(), hello_for("api.acme.test"), hello_for(""));
    for (original, bytes, want) in [
        (at(OUTSIDE[0], acme), &hello_for("api.other.test"), "destination_not_listed"),
        (at(&six(OUTSIDE[0]), acme), &hello_for("api.other.test"), "destination_not_listed"),
        (at(OUTSIDE[0], acme), &bare, "destination_not_listed"),
        (at(OUTSIDE[0], 8443), &named, "port_not_allowed"),
        (at(&six(OUTSIDE[0]), 53), &named, "port_not_allowed"),
        (at(OUTSIDE[0], acme), &b"GET / HTTP/1.1\r\nHost: api.acme.test\r\n\r\n".to_vec(), "not_tls"),
        (at(OUTSIDE[3], customers.bare.port()), &named, "port_not_allowed"),
        (at(OUTSIDE[3], customers.bare.port()), &hello_for("api.other.test"), "sni_mismatch"),
        (at(INSIDE[0], 15001), &named, "address_forbidden"),
        (at(INSIDE[1], 15001), &named, "address_forbidden"),
    ] {
        let (socket, answer) = open(space, original, bytes);
        assert!(matches!(answer, Answer::Alert(_) | Answer::Gone), "{name}: {original}: {answer:?}");
        let record = proxy.decision_of(socket.local_addr().unwrap());
        assert_eq!(
            (&record["outcome"], &record["reason"]),
            (&json!("deny"), &json!(want)),
            "{name}: {original}: {record}"
        );
        assert_eq!(record["original_ip"], json!(original.ip()), "{name}: {record}");
    }
    assert_eq!(customers.hellos(), before, "{name}: a byte has come through");
}
