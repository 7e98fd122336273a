//! How the proxy goes: who is told before requests are refused, and what a second signal does.
//! Not here: requests and tunnels during a drain (`limits`), a drain over the admin port (`admin`).

use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::harness::{PATIENCE, Proxy, Setup, eventually, records};
use super::origins::{self, Answer, Origin};

/// A proxy that lets through to the origin, with these limits.
fn going(origin: &Origin, limits: &str) -> Proxy {
    let port = origin.port();
    let rule = format!(
        "rules:\n  - {{id: o, customer: acme, sources: [tests], hosts: ['*.acme.test'], ports: [{port}], addresses: [127.0.0.1/32]}}\n"
    );
    let hosts: Vec<String> = (0..200).map(|number| format!("t{number}.acme.test: [127.0.0.1]")).collect();
    let more = format!("dns: {{hosts: {{{}}}}}\nlimits: {{{limits}}}\n", hosts.join(", "));
    Proxy::start(&Setup { policy: &rule, more: &more, ..Setup::default() })
}

#[test]
fn load_balancers_are_told_before_requests_are_refused() {
    let origin = Origin::start();
    let proxy = going(&origin, "drain_delay: 1s");
    let (mut tunnel, answer) = asked(&proxy, &origin, 0);
    assert_eq!(answer, Answer::Open);
    proxy.signal("TERM");
    let red =
        eventually("red", Instant::now() + PATIENCE, || (proxy.admin_page("/readyz").0 == 503).then(Instant::now));
    assert_eq!(asked(&proxy, &origin, 1).1, Answer::Open, "served as ever");
    let mut number = 1;
    let refused = eventually("refused", Instant::now() + PATIENCE, || {
        number += 1;
        match asked(&proxy, &origin, number % 200).1 {
            Answer::Open => None,
            Answer::Refused(text) => Some(text),
            other @ (Answer::Alert(_) | Answer::Gone) => panic!("{other:?}"),
        }
    });
    assert!(refused.contains("draining"), "{refused}");
    assert!(red.elapsed() >= Duration::from_millis(800), "{:?}", red.elapsed());
    assert!(origins::echoes(&mut tunnel, b"still open"));
    drop(tunnel);
    assert_eq!(proxy.wait().1, Some(0));
}

fn asked(proxy: &Proxy, origin: &Origin, number: usize) -> (TcpStream, Answer) {
    let mut socket = proxy.connect();
    let host = format!("t{number}.acme.test");
    let answer = origins::ask(&mut socket, &format!("{host}:{}", origin.port()), &origins::hello_for(&host));
    (socket, answer)
}

#[test]
fn a_second_signal_ends_the_wait() {
    let origin = Origin::start();
    for (limits, when) in [("drain_timeout: 10m", "draining"), ("drain_delay: 5m", "about to drain")] {
        let proxy = going(&origin, limits);
        let (mut tunnel, answer) = asked(&proxy, &origin, 0);
        assert_eq!(answer, Answer::Open);
        proxy.signal("TERM");
        eventually("red", Instant::now() + PATIENCE, || (proxy.admin_page("/readyz").0 == 503).then_some(()));
        assert!(origins::echoes(&mut tunnel, b"still open"), "{when}");
        proxy.signal("INT");
        assert!(origins::ends(&mut tunnel), "{when}: cut");
        let (dir, code) = proxy.wait();
        assert_eq!(code, Some(0), "{when}");
        let log = records(&dir.path().join("decisions"));
        let close = log.iter().find(|record| record["kind"] == "close").unwrap();
        assert_eq!((&close["reason"], &log.last().unwrap()["kind"]), (&"shutdown".into(), &"stop".into()), "{when}");
    }
}
